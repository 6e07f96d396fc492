// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container in which the guest's kernel has killed for want of memory. Engines learn of that
 * by the events of the container's cgroup on the host (containerd and docker by
 * memory.events, conmon as well), where nothing but shims are. So the event is repeated there:
 * the cgroup gets a limit a little above what it uses, and a child of the shim that is the
 * kernel's first choice asks for more. The kernel counts the event and ends the child; then
 * the limit is as it was.
 *
 * The files are opened while the shim still has the host's; without a memory controller in
 * the cgroup, or with cgroup v1, there are none, and nothing is told.
 *
 * Source: Linux Documentation/admin-guide/cgroup-v2.rst, "memory.max", "memory.events".
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/shim/shim.h"

/* What is left to those that live, and what the child asks for. */
#define SPARE_BYTES (2ull << 20)
#define ASKED_BYTES (2 * SPARE_BYTES)

/* Path of the process's cgroup (v2) on the host's hierarchy; false: it has none. */
static bool own_cgroup(char *dst, size_t room)
{
	_cleanup_free_ char *text = NULL;
	char *path;

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &text, NULL, NULL) < 0)
		return false;
	path = !strncmp(text, "0::/", 4) ? text : strstr(text, "\n0::/");
	if (!path)
		return false;
	path = strchr(path, '/');
	*strchrnul(path, '\n') = 0;
	/* The root has no limit, and is nobody's container. */
	return path[1] && snprintf(dst, room, "/sys/fs/cgroup%s", path) < (int)room;
}

/**
 * shim_oom_open() - prepare for shim_oom_tell()
 * @o: gets descriptors, or -1
 *
 * Context: in the container's cgroup, with the host's files
 */
void shim_oom_open(struct shim_oom *o)
{
	_cleanup_close_ int dir = -1;
	char path[PATH_MAX];

	*o = (struct shim_oom){-1, -1, -1};
	if (!own_cgroup(path, sizeof(path)))
		return;
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	o->limit = openat(dir, "memory.max", O_RDWR | O_CLOEXEC);
	o->current = openat(dir, "memory.current", O_RDONLY | O_CLOEXEC);
	o->score = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
}

static int read_value(int fd, char text[32])
{
	ssize_t n = pread(fd, text, 31, 0);

	if (n <= 0)
		return -EIO;
	text[n - (text[n - 1] == '\n')] = 0;
	return 0;
}

/* Locked, so that it cannot go to the host's swap. */
__attribute__((noreturn)) static void ask_for_more(void)
{
	(void)mmap(NULL, ASKED_BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	_exit(0);
}

/* A child that the kernel ends before all others; it inherits that. */
static pid_t first_choice(const struct shim_oom *o, const char *score)
{
	pid_t pid;

	if (pwrite(o->score, "1000", 4, 0) != 4)
		return -1;
	pid = fork();
	if (!pid)
		ask_for_more();
	if (pwrite(o->score, score, strlen(score), 0) < 0)
		log_warn("oom_score_adj: %m");
	return pid;
}

/**
 * shim_oom_tell() - let the kernel count an event in the container's cgroup
 *
 * Return: whether it has
 */
bool shim_oom_tell(const struct shim_oom *o)
{
	char limit[32], used[32], score[32], text[32];
	uint64_t bytes;
	int status = 0;
	pid_t pid;

	if (o->limit < 0 || o->current < 0 || o->score < 0 || read_value(o->limit, limit) < 0 ||
	    read_value(o->current, used) < 0 || read_value(o->score, score) < 0 ||
	    parse_u64(used, &bytes) < 0)
		return false;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(bytes + SPARE_BYTES));
	if (write_full(o->limit, text, strlen(text), NULL) < 0)
		return false;
	pid = first_choice(o, score);
	if (pid > 0)
		waitpid(pid, &status, 0);
	write_full(o->limit, limit, strlen(limit), NULL);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}
