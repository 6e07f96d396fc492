// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The commands' side of a shim: start it with the command's own stdio, or with none where
 * the process has a terminal of the engine's; wait until it has its connections, and, for a
 * foreground run or exec, stand in front of it: pass signals on, wait, give back its exit
 * status.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/pod.h"
#include "runtime/shim/shim.h"

static int process_fd(const Podvm__Process *p, int *ret_fd, struct err *e)
{
	size_t len = podvm__process__get_packed_size(p);
	_cleanup_free_ uint8_t *buf = malloc(len + 1);
	_cleanup_close_ int fd = memfd_create("process", MFD_CLOEXEC);
	int rc;

	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	if (fd < 0)
		return err_sys(e, "memfd_create");
	podvm__process__pack(p, buf);
	rc = write_full(fd, buf, len, e);
	if (rc < 0)
		return rc;
	*ret_fd = fd_steal(&fd);
	return 0;
}

static int console_connect(const char *path, int *ret_fd, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, "socket");
	if (str_copy(sa.sun_path, sizeof(sa.sun_path), path) < 0)
		return err_set(e, ENAMETOOLONG, "--console-socket: path longer than %zu bytes",
			       sizeof(sa.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "--console-socket %s", path);
	*ret_fd = fd_steal(&fd);
	return 0;
}

static int die_with_parent(void *arg)
{
	if (*(const bool *)arg && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return 0;
}

/*
 * An engine that gave a console socket may read the command's output to its end: nobody
 * else's is to keep that open.
 */
static size_t map_stdio(const struct shim_start *s, struct proc_fd *map)
{
	int fd;

	for (fd = 0; fd < 3 && !s->console_socket; fd++)
		map[fd] = (struct proc_fd){ fd, fd };
	return (size_t)fd;
}

/**
 * shim_spawn() - start the shim of a container's init or of an exec
 * @s:         what is wanted, borrowed
 * @ret_pid:   its pid
 * @ret_pidfd: owned by the caller
 *
 * Return: 0 once the process exists in the guest and its streams are joined;
 * else what failed, and the shim has ended
 */
int shim_spawn(const struct shim_start *s, pid_t *ret_pid, int *ret_pidfd,
	       struct err *e)
{
	_cleanup_close_ int rd = -1, wr = -1, proc = -1, console = -1, pidfd = -1;
	bool foreground = s->foreground;
	char *argv[] = { strdupa("podvm-shim"), strdupa("shim"), strdupa(s->id),
			 strdupa(s->exec_id ? s->exec_id : ""),
			 strdupa(!s->terminal ? "pipes" : s->console_socket ? "console" : "terminal"),
			 strdupa(log_get_fd() < 0 ? "silent" : log_is_json() ? "json" : "text"),
			 NULL };
	struct proc_fd map[8];
	struct proc_spec spec = { .path = "/proc/self/exe", .argv = argv,
				  .fds = map, .n_fds = map_stdio(s, map), .setsid = 1,
				  .before_exec = die_with_parent,
				  .arg = &foreground };
	int p[2], rc, status;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe2");
	rd = p[0];
	wr = p[1];
	map[spec.n_fds++] = (struct proc_fd){ s->control, SHIM_CONTROL_FD };
	map[spec.n_fds++] = (struct proc_fd){ wr, SHIM_READY_FD };
	if (s->process) {
		rc = process_fd(s->process, &proc, e);
		if (rc < 0)
			return rc;
		map[spec.n_fds++] = (struct proc_fd){ proc, SHIM_PROCESS_FD };
	}
	if (s->console_socket) {
		rc = console_connect(s->console_socket, &console, e);
		if (rc < 0)
			return rc;
		map[spec.n_fds++] = (struct proc_fd){ console, SHIM_CONSOLE_FD };
	}
	if (log_get_fd() >= 0)
		map[spec.n_fds++] = (struct proc_fd){ log_get_fd(), SHIM_LOG_FD };
	rc = proc_spawn(&spec, ret_pid, &pidfd, e);
	if (rc < 0)
		return rc;
	fd_close(&wr);
	rc = pod_wait_ready(rd, e);
	if (rc < 0) {
		proc_kill(pidfd, SIGKILL);
		proc_wait(pidfd, -1, &status, NULL);
		return rc;
	}
	*ret_pidfd = fd_steal(&pidfd);
	return 0;
}

/* Passes signals on until the shim has ended. */
static int stand_in_front(int pidfd, int sigfd, int *ret_status, struct err *e)
{
	struct pollfd f[2] = { { .fd = pidfd, .events = POLLIN },
			       { .fd = sigfd, .events = POLLIN } };
	struct signalfd_siginfo si;

	for (;;) {
		if (poll(f, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (f[0].revents)
			return proc_wait(pidfd, -1, ret_status, e);
		if (f[1].revents && read(sigfd, &si, sizeof(si)) == sizeof(si) &&
		    si.ssi_signo != SIGCHLD && si.ssi_signo != SIGPIPE)
			proc_kill(pidfd, (int)si.ssi_signo);
	}
}

/**
 * shim_foreground() - wait for a foreground shim, passing signals on
 * @pidfd:      from shim_spawn(), borrowed
 * @terminal:   standard input is a terminal: raw for the time
 * @ret_status: exit status, 128 + signal for a signal
 *
 * Return: 0 or minus errno
 */
int shim_foreground(int pidfd, bool terminal, int *ret_status, struct err *e)
{
	_cleanup_close_ int sigfd = -1;
	bool restore = terminal && isatty(0);
	struct termios saved;
	sigset_t all;
	int rc;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	sigfd = signalfd(-1, &all, SFD_CLOEXEC);
	if (sigfd < 0)
		return err_sys(e, "signalfd");
	restore = restore && !tcgetattr(0, &saved);
	if (restore)
		terminal_raw(0);
	rc = stand_in_front(pidfd, sigfd, ret_status, e);
	if (restore)
		tcsetattr(0, TCSANOW, &saved);
	return rc;
}
