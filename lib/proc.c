// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The only fork on the host side. A child gets exactly the descriptors that
 * its map names. Failures before exec, the exec's own included, come back
 * through a close-on-exec pipe as the errno and step, so that the caller of
 * proc_spawn() has one place to look. A child that shall be in another cgroup is
 * born there (clone3), so that nothing of it is ever accounted to ours; where
 * clone3 is hidden, as by some container engines, it moves there before its exec.
 * A process is known by its pidfd; one
 * that another command started is known by pid and start time (field 22 of
 * /proc/PID/stat), which a reused pid does not share.
 */
#include "lib/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

/* Of /proc/self/cgroup. */
#define CGROUP_MAX_BYTES (1u << 20)

/* First number for descriptors on their way to their place in the child. */
#define PARK_BASE 512

/**
 * clock_ms() - milliseconds of the monotonic clock
 */
uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct spawn_failure {
	int code;
	char step[16];
};

__attribute__((noreturn)) static void child_fail(int pipe_fd, int code,
						 const char *step)
{
	struct spawn_failure f = { .code = code };

	strncpy(f.step, step, sizeof(f.step) - 1);
	if (write(pipe_fd, &f, sizeof(f)) < 0)
		_exit(126);
	_exit(127);
}

/*
 * Places the map. Sources are first parked above every target, so that no
 * target overwrites a source that is still needed.
 */
static int place_fds(const struct proc_spec *s, int *pipe_fd)
{
	int parked[PROC_FDS_MAX], null_fd, i, top = 2;
	size_t k;

	for (k = 0; k < s->n_fds; k++) {
		parked[k] = fcntl(s->fds[k].fd, F_DUPFD_CLOEXEC, PARK_BASE);
		if (parked[k] < 0)
			return -errno;
		if (s->fds[k].child > top)
			top = s->fds[k].child;
	}
	i = fcntl(*pipe_fd, F_DUPFD_CLOEXEC, PARK_BASE);
	if (i < 0)
		return -errno;
	*pipe_fd = i;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	null_fd = null_fd < 0 ? -1 : fcntl(null_fd, F_DUPFD_CLOEXEC, PARK_BASE);
	if (null_fd < 0)
		return -errno;
	for (i = 0; i <= top; i++) {
		int from = -1;

		for (k = 0; k < s->n_fds; k++)
			if (s->fds[k].child == i)
				from = parked[k];
		if (from < 0 && i <= 2)
			from = null_fd;
		if (from < 0)
			close(i);
		else if (dup2(from, i) < 0)
			return -errno;
	}
	/* What is above the map closes at exec, the failure pipe too. */
	if (syscall(SYS_close_range, top + 1, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */))
		return -errno;
	return 0;
}

/* Moves itself into a cgroup. */
static int enter_cgroup(int cgroup_fd)
{
	int fd = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	int rc = fd < 0 || write(fd, "0", 1) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return rc;
}

/*
 * fork() into a cgroup. In the child only async-signal-safe calls are fine, also
 * without other threads: the C library does not know of it.
 * @ret_moved: false if the child has to move itself
 */
static pid_t fork_into(int cgroup_fd, bool *ret_moved)
{
	struct clone_args a = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD,
				.cgroup = (uint64_t)cgroup_fd };
	pid_t pid;

	*ret_moved = true;
	if (cgroup_fd <= 0)
		return fork();
	pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
	if (pid >= 0 || errno != ENOSYS)
		return pid;
	*ret_moved = false;
	return fork();
}

__attribute__((noreturn)) static void child(const struct proc_spec *s,
					    int pipe_fd, bool moved)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int rc, i;

	rc = moved ? 0 : enter_cgroup(s->cgroup_fd);
	if (rc < 0)
		child_fail(pipe_fd, -rc, "cgroup");
	rc = place_fds(s, &pipe_fd);
	if (rc < 0)
		child_fail(pipe_fd, -rc, "fds");
	for (i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (s->setsid && setsid() < 0)
		child_fail(pipe_fd, errno, "setsid");
	if (s->before_exec) {
		rc = s->before_exec(s->arg);
		if (rc < 0)
			child_fail(pipe_fd, -rc, "prepare");
	}
	if (s->envp)
		execve(s->path, s->argv, s->envp);
	else
		execv(s->path, s->argv);
	child_fail(pipe_fd, errno, "exec");
}

/**
 * proc_reap() - wait for the end of a child that has no pidfd, or none that could be waited for
 */
void proc_reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/**
 * proc_spawn() - start a program; returns when its exec has succeeded
 * @s:         what to start, borrowed
 * @ret_pid:   child's pid; may be NULL
 * @ret_pidfd: owned by the caller
 *
 * Return: 0; minus errno of fork, of a step in the child or of its exec
 */
int proc_spawn(const struct proc_spec *s, pid_t *ret_pid, int *ret_pidfd,
	       struct err *e)
{
	_cleanup_close_ int rd = -1, wr = -1, pidfd = -1;
	struct spawn_failure f;
	int p[2], code;
	pid_t pid;
	ssize_t n;
	size_t k;
	bool moved;

	for (k = 0; k < s->n_fds; k++)
		if (s->fds[k].child < 0 || s->fds[k].child >= PARK_BASE)
			return err_set(e, EINVAL, "%s: descriptor %d in the child, at most %d",
				       s->path, s->fds[k].child, PARK_BASE - 1);
	if (s->n_fds > PROC_FDS_MAX)
		return err_set(e, EINVAL, "%s: %zu descriptors, at most %d",
			       s->path, s->n_fds, PROC_FDS_MAX);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe2");
	rd = p[0];
	wr = p[1];
	pid = fork_into(s->cgroup_fd, &moved);
	if (pid < 0)
		return err_sys(e, s->cgroup_fd > 0 ? "%s: start in its cgroup" : "%s: fork",
			       s->path);
	if (!pid) {
		close(rd);
		child(s, wr, moved);
	}
	fd_close(&wr);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	code = pidfd < 0 ? errno : EIO;
	do {
		n = read(rd, &f, sizeof(f));
	} while (n < 0 && errno == EINTR);
	if (pidfd < 0 || n) {
		kill(pid, SIGKILL);
		proc_reap(pid);
		errno = n == sizeof(f) ? f.code : code;
		return err_sys(e, "%s: %.15s", s->path, n == sizeof(f) ? f.step : "start");
	}
	if (ret_pid)
		*ret_pid = pid;
	*ret_pidfd = fd_steal(&pidfd);
	return 0;
}

/**
 * proc_wait() - wait for a child's end and reap it
 * @pidfd:      of a child of ours, borrowed
 * @timeout_ms: -1 waits for ever
 * @ret_status: exit status 0-255, or 128 + signal
 *
 * Return: 0; -ETIMEDOUT; minus errno
 */
int proc_wait(int pidfd, int timeout_ms, int *ret_status, struct err *e)
{
	uint64_t end = clock_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	siginfo_t si = { 0 };
	int n, rc;

	for (;;) {
		int left = -1;

		if (timeout_ms >= 0) {
			uint64_t now = clock_ms();

			left = now >= end ? 0 : (int)(end - now);
		}
		n = poll(&p, 1, left);
		if (n > 0)
			break;
		if (!n)
			return err_set(e, ETIMEDOUT, "process did not end within %d ms",
				       timeout_ms);
		if (errno != EINTR)
			return err_sys(e, "poll");
	}
	do {
		rc = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &si, WEXITED);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return err_sys(e, "waitid");
	*ret_status = si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
	return 0;
}

/**
 * proc_run() - run a program to its end; its standard error is ours, the rest /dev/null
 * @path: program
 * @argv: NULL-terminated
 *
 * Return: 0; -EIO naming its exit status; minus errno
 */
int proc_run(const char *path, char *const *argv, struct err *e)
{
	struct proc_fd map[] = { { 2, 2 } };
	struct proc_spec s = { .path = path, .argv = argv, .fds = map, .n_fds = 1 };
	_cleanup_close_ int pidfd = -1;
	int rc, status;

	rc = proc_spawn(&s, NULL, &pidfd, e);
	if (rc < 0)
		return rc;
	rc = proc_wait(pidfd, -1, &status, e);
	if (rc < 0)
		return rc;
	if (status)
		return err_set(e, EIO, "%s: exit status %d", path, status);
	return 0;
}

/**
 * proc_stat() - what the kernel says of a process in one line
 * @ret:        owned by the caller
 * @ret_fields: in @ret, from field 3, the state, on
 *
 * Return: 0; -ESRCH when there is no such process; -EIO
 * Source: proc(5), /proc/PID/stat
 */
int proc_stat(pid_t pid, char **ret, const char **ret_fields)
{
	_cleanup_free_ char *text = NULL;
	char path[40], *s;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return -ESRCH;
	s = strrchr(text, ')'); /* the name before it may hold anything */
	if (!s || s[1] != ' ')
		return -EIO;
	*ret_fields = s + 2;
	*ret = mem_steal(text);
	return 0;
}

/**
 * proc_start_ticks() - a process's start time, to tell it from a later one with its pid
 * @ret: clock ticks since boot
 *
 * Return: 0; -ESRCH when there is no such process
 * Source: proc(5), /proc/PID/stat field 22
 */
int proc_start_ticks(pid_t pid, uint64_t *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long ticks;
	const char *s;
	int field, rc = proc_stat(pid, &text, &s);

	if (rc == -ESRCH)
		return err_set(e, ESRCH, "no process %d", pid);
	for (field = 3; !rc && s && field < 22; field++) {
		s = strchr(s, ' ');
		if (s)
			s++;
	}
	if (rc < 0 || !s || sscanf(s, "%llu", &ticks) != 1)
		return err_set(e, EIO, "/proc/%d/stat: unknown format", pid);
	*ret = ticks;
	return 0;
}

/**
 * proc_pidfd() - a descriptor for a process that another command started
 * @start_ticks: from proc_start_ticks() when it was known; 0 takes any
 *
 * Return: descriptor owned by the caller; -ESRCH when it has ended, also when
 * its pid has another process now
 */
int proc_pidfd(pid_t pid, uint64_t start_ticks, struct err *e)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	uint64_t now;

	if (fd < 0)
		return err_sys(e, "process %d", pid);
	if (start_ticks && (proc_start_ticks(pid, &now, NULL) < 0 || now != start_ticks))
		return err_set(e, ESRCH, "process %d has ended", pid);
	return fd_steal(&fd);
}

/**
 * proc_cgroup() - where the calling process is in the hierarchy of cgroup version 2
 * @path: from its root on, "/" at least; untouched on failure
 *
 * Return: 0; -ENOENT: of version 1 only, or outside of what can be seen here
 * Source: cgroups(7), /proc/PID/cgroup
 */
int proc_cgroup(char path[PATH_MAX])
{
	_cleanup_free_ char *text = NULL;
	char *own;
	int rc = file_read(AT_FDCWD, "/proc/self/cgroup", CGROUP_MAX_BYTES, &text, NULL, NULL);

	if (rc < 0)
		return rc;
	own = str_starts(text, "0::/") ? text : strstr(text, "\n0::/");
	if (!own)
		return -ENOENT;
	own = strchr(own, '/');
	own[strcspn(own, "\n")] = 0;
	if (path_climbs(own) || str_copy(path, PATH_MAX, own) < 0)
		return -ENOENT;
	return 0;
}

/**
 * proc_boot_id() - which boot of the host this is: pids and start times are told apart by it
 *
 * Return: 0 or minus errno
 * Source: random(4)
 */
int proc_boot_id(char ret[PROC_BOOT_ID_BYTES], struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 4096, &text, &len, e);

	if (rc < 0)
		return rc;
	text[strcspn(text, "\n")] = 0;
	if (!*text || strlen(text) >= PROC_BOOT_ID_BYTES)
		return err_set(e, EPROTO, "/proc/sys/kernel/random/boot_id: unknown format");
	strcpy(ret, text); /* its length is checked */
	return 0;
}

/**
 * proc_kill() - send a signal
 *
 * Return: 0 or minus errno (-ESRCH when it has ended)
 */
int proc_kill(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}
