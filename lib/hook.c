// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Runs one hook, on the host or in a guest: it gets the container's state on its
 * standard input, its own environment and nothing else of ours. What it writes is read
 * all the time, so that it never waits for us, and the end of that is part of the error
 * when it fails. It is waited for, not for what it may have left running, which may hold
 * its output. When its time is over, its whole session is killed.
 *
 * Source: OCI runtime-spec config.md, "POSIX-platform Hooks".
 */
#include "lib/hook.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"

/* What is kept of a hook's output, bytes: the last of it, and room for a path beside it. */
#define TAIL_BYTES 320

/* Rounds of reading what is still in the pipe when the hook has ended. */
#define DRAIN_MAX 64

struct tail {
	char text[TAIL_BYTES + 1];
	size_t len;
};

/* Return: false when there is nothing more to read, now or for ever */
static bool take(int fd, struct tail *t)
{
	char buf[1024];
	ssize_t n = read(fd, buf, sizeof(buf));
	size_t len, keep;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	len = (size_t)n < TAIL_BYTES ? (size_t)n : TAIL_BYTES;
	keep = t->len < TAIL_BYTES - len ? t->len : TAIL_BYTES - len;
	memmove(t->text, t->text + t->len - keep, keep);
	memcpy(t->text + keep, buf + (size_t)n - len, len);
	t->len = keep + len;
	return true;
}

/* One line: what ends it goes, what is between lines becomes a blank. */
static const char *tail_text(struct tail *t)
{
	size_t i;

	while (t->len && isspace((unsigned char)t->text[t->len - 1]))
		t->len--;
	t->text[t->len] = 0;
	for (i = 0; i < t->len; i++)
		if (isspace((unsigned char)t->text[i]) || !t->text[i])
			t->text[i] = ' ';
	return t->text;
}

/* Return: 0 when it has ended; -ETIMEDOUT; minus errno */
static int follow(int pidfd, int out, uint64_t timeout_s, struct tail *t, struct err *e)
{
	uint64_t now = clock_ms(), end = UINT64_MAX;
	struct pollfd f[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = out, .events = POLLIN } };
	int i, n;

	if (timeout_s && timeout_s < (UINT64_MAX - now) / 1000)
		end = now + timeout_s * 1000;
	while (now < end) {
		uint64_t left = end - now;

		n = poll(f, 2, end == UINT64_MAX ? -1 : left > INT_MAX ? INT_MAX : (int)left);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (n > 0 && f[1].revents && !take(out, t))
			f[1].fd = -1;
		if (n > 0 && f[0].revents)
			break;
		now = clock_ms();
	}
	for (i = 0; i < DRAIN_MAX && take(out, t); i++)
		;
	return now < end ? 0 : -ETIMEDOUT;
}

static int state_fd(const char *state, int *ret, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_sys(e, "memfd_create");
	rc = write_full(fd, state, strlen(state), e);
	if (rc < 0)
		return rc;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "lseek");
	*ret = fd_steal(&fd);
	return 0;
}

static void end_session(pid_t pid, int pidfd)
{
	kill(-pid, SIGKILL);
	proc_kill(pidfd, SIGKILL);
}

/* One that cannot be waited for by its descriptor does not go on, nor stay as a zombie. */
static int reap(pid_t pid, int pidfd, int *ret_status, struct err *e)
{
	int rc = proc_wait(pidfd, -1, ret_status, e);

	if (rc < 0) {
		end_session(pid, pidfd);
		proc_reap(pid);
	}
	return rc;
}

static int judge(const struct hook *h, pid_t pid, int pidfd, int rc, struct tail *t, struct err *e)
{
	int status = 0, waited;
	const char *said;

	if (rc < 0)
		end_session(pid, pidfd);
	waited = reap(pid, pidfd, &status, rc < 0 ? NULL : e);
	if (waited < 0 && !rc)
		return waited;
	said = tail_text(t);
	if (rc == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "%s: killed after its time-out of %llu s%s%s", h->path,
			       (unsigned long long)h->timeout_s, *said ? ": " : "", said);
	if (rc < 0)
		return rc;
	if (status)
		return err_set(e, ECANCELED, "%s: exit status %d%s%s", h->path, status,
			       *said ? ": " : "", said);
	return 0;
}

/**
 * hook_run() - run a hook and wait for its end
 *
 * Return: 0; -ECANCELED with its exit status (128 and the signal) and the end of what it
 * wrote; -ETIMEDOUT; minus errno when it cannot be started
 * Context: blocks; the caller reaps no child of its own meanwhile
 */
int hook_run(const struct hook *h, struct err *e)
{
	char *own[] = { (char *)(uintptr_t)h->path, NULL }, *none[] = { NULL };
	_cleanup_close_ int in = -1, rd = -1, wr = -1, pidfd = -1;
	struct proc_fd map[3];
	struct proc_spec s = { .path = h->path,
			       .argv = h->argv && h->argv[0] ? h->argv : own,
			       .envp = h->envp ? h->envp : none,
			       .fds = map, .n_fds = ARRAY_LEN(map), .setsid = 1,
			       .before_exec = h->before_exec, .arg = h->arg };
	struct tail t = { .len = 0 };
	int p[2], rc = state_fd(h->state, &in, e);
	pid_t pid;

	if (rc < 0)
		return rc;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe2");
	rd = p[0];
	wr = p[1];
	/* Only our end: the hook's own waits when we are slow. */
	if (fcntl(rd, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, "fcntl");
	map[0] = (struct proc_fd){ in, 0 };
	map[1] = (struct proc_fd){ wr, 1 };
	map[2] = (struct proc_fd){ wr, 2 };
	rc = proc_spawn(&s, &pid, &pidfd, e);
	if (rc < 0)
		return rc;
	fd_close(&wr);
	rc = follow(pidfd, rd, h->timeout_s, &t, e);
	return judge(h, pid, pidfd, rc, &t, e);
}
