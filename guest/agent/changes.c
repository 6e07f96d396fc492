// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a container changed, after its end. Its mounts go with its last process, but
 * the child has sent us a descriptor of the upper directory, which keeps the writable
 * disk's file system (or memory) alive until the container is deleted. When the host
 * asks, a child of our own waits until the container's cgroup is empty, makes sure that
 * no write was lost, and tells the changes (guest/agent/delta.c) over the connection
 * that the question came by. Without a descriptor there is nothing to ask for.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

#define EMPTY_MS 10000
#define POLL_MS 2

#define UPPER_FD 3
#define OUT_FD 4
#define CGROUP_FD 5

#define LIST_BYTES 65536

static int copy_xattrs(const char *from, const char *to, struct err *e)
{
	_cleanup_free_ char *list = malloc(LIST_BYTES), *value = malloc(LIST_BYTES);
	ssize_t n, len;
	char *x;

	if (!list || !value)
		return err_set(e, ENOMEM, "out of memory");
	n = listxattr(from, list, LIST_BYTES);
	for (x = list; n > 0 && x < list + n; x += strlen(x) + 1) {
		len = str_starts(x, "trusted.") ? -1 : getxattr(from, x, value, LIST_BYTES);
		/* Memory takes not all of them. */
		if (len >= 0 && setxattr(to, x, value, (size_t)len, 0) < 0 && errno != EOPNOTSUPP)
			return err_sys(e, "scratch: %s", x);
	}
	return 0;
}

/**
 * changes_root() - make the upper directory like the image's root, which shows through it
 *
 * Return: 0 or minus errno
 * Context: the child
 */
int changes_root(const char *lower, const char *upper, struct err *e)
{
	struct timespec t[2];
	struct stat st;
	int rc;

	if (stat(lower, &st) < 0)
		return err_sys(e, "image");
	if (chown(upper, st.st_uid, st.st_gid) < 0 || chmod(upper, st.st_mode & 07777) < 0)
		return err_sys(e, "scratch");
	rc = copy_xattrs(lower, upper, e);
	if (rc < 0)
		return rc;
	t[0] = st.st_atim;
	t[1] = st.st_mtim;
	return utimensat(AT_FDCWD, upper, t, 0) < 0 ? err_sys(e, "scratch") : 0;
}

static int wait_empty(struct err *e)
{
	const struct timespec nap = { 0, POLL_MS * 1000000 };
	uint64_t end = clock_ms() + EMPTY_MS;

	while (cgroup_populated(CGROUP_FD)) {
		if (clock_ms() > end)
			return err_set(e, EBUSY, "processes of the container do not end");
		nanosleep(&nap, NULL);
	}
	/* Also tells of writes that failed since the descriptor was opened. */
	if (syncfs(UPPER_FD) < 0)
		return err_sys(e, "the writable disk has lost writes");
	return 0;
}

__attribute__((noreturn)) static void teller(int upper, int out, int cgroup)
{
	struct err e = { 0 };
	int rc;

	if (dup2(upper, UPPER_FD) < 0 || dup2(out, OUT_FD) < 0 || dup2(cgroup, CGROUP_FD) < 0)
		_exit(1);
	syscall(SYS_close_range, CGROUP_FD + 1, ~0u, 0);
	signal(SIGPIPE, SIG_IGN);
	rc = wait_empty(&e);
	rc = rc < 0 ? delta_fail(OUT_FD, &e) : delta_tell(UPPER_FD, OUT_FD, &e);
	_exit(rc < 0);
}

/**
 * changes_tell() - begin to tell what a container changed over this connection
 * @c: gives its descriptor away on success
 *
 * Return: 0; -ESRCH; -EBUSY while it runs, or is told already; -ENODATA when nothing was
 * kept; minus errno
 */
int changes_tell(struct conn *c, const char *id, struct err *e)
{
	struct container *ctr = container_find(c->agent, id);
	Podvm__Response ok = PODVM__RESPONSE__INIT;
	_cleanup_close_ int fd = -1;
	pid_t pid;
	int rc;

	if (!ctr || ctr->deleting)
		return err_set(e, ESRCH, "container %s does not exist", id);
	if (c->main || c->owner)
		return err_set(e, EINVAL, "changes have a connection of their own");
	if (ctr->upper < 0)
		return err_set(e, ENODATA, "container %s: its changes were not kept", id);
	if (ctr->init->state != TASK_ENDED || ctr->teller)
		return err_set(e, EBUSY, "container %s: runs, or tells its changes already", id);
	/* The answer comes before any record; it is small. */
	rc = frame_send(c->fd, &ok.base, 1000, e);
	if (rc < 0)
		return rc;
	fd = conn_take_fd(c);
	pid = fork();
	if (!pid)
		teller(ctr->upper, fd, ctr->cgroup_fd);
	if (pid < 0)
		log_error("agent: container %s: fork: %m", id); /* the connection closes */
	else
		ctr->teller = pid;
	return 0;
}

/**
 * changes_reaped() - a child of ours has ended
 *
 * Return: whether it told changes
 */
bool changes_reaped(struct agent *a, pid_t pid)
{
	struct container *c;

	for (c = a->containers; c && c->teller != pid; c = c->next)
		;
	if (c)
		c->teller = 0;
	return c;
}

/**
 * changes_forget() - nobody wants them any more: let go of the writable disk
 */
void changes_forget(struct container *c)
{
	if (c->teller)
		kill(c->teller, SIGKILL);
	fd_close(&c->upper);
}
