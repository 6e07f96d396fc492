// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-agent: PID 1 of a pod's VM. One thread, one loop, nothing in it waits:
 * what takes long happens in children (a container's setup) or is polled by a
 * timer (its end). Order: boot, listen, call the host, hello, loop. The agent
 * does not outlive its supervisor: when the main connection closes, everything
 * is killed, written out, and the machine goes off.
 *
 * Only the host may call (vsock CID 2); a container's process cannot, whatever
 * its privileges.
 *
 * PODVM_LOG=debug|info|warning in the environment, which the kernel takes from
 * its command line, sets what is written to the console; default: warning.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"

#define BACKLOG 128

/* The VMM answers at once; a host that does not for so long has no pod for us. */
#define CALL_MS 30000
#define CALL_AGAIN_MS 2

/* Bounded wait for the end of everything when the supervisor is lost. */
#define LOST_MS 3000

/* Descriptors below are placed by children, child.c; nothing else may have them. */
#define LOW_FDS 5

static uint64_t boot_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int occupy_low_fds(struct err *e)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = open("/", O_PATH | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, "/dev/null");
	} while (fd < LOW_FDS);
	close(fd);
	return 0;
}

static void open_log(void)
{
	const char *level = getenv("PODVM_LOG");
	enum log_level max = LOG_LEVEL_WARN;

	if (level && !strcmp(level, "debug"))
		max = LOG_LEVEL_DEBUG;
	else if (level && !strcmp(level, "info"))
		max = LOG_LEVEL_INFO;
	log_open(2, max, false);
}

static struct task *find_pid(struct agent *a, pid_t pid)
{
	struct container *c;
	struct task *t;

	for (c = a->containers; c; c = c->next) {
		if (c->init && c->init->pid == pid)
			return c->init;
		for (t = c->execs; t; t = t->next)
			if (t->pid == pid)
				return t;
	}
	return NULL;
}

/* A full signalfd is no loss: waitpid() tells who has ended, not the signal. */
static void on_sigchld(void *arg, uint32_t events)
{
	struct signalfd_siginfo si;
	struct agent *a = arg;
	pid_t pid;
	int status;

	(void)events;
	while (read(a->signal_fd, &si, sizeof(si)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct task *t = find_pid(a, pid);

		if (t)
			task_reaped(t, status);
		else if (!changes_reaped(a, pid) && !capture_reaped(pid) &&
			 pid == a->pause_pid) {
			fd_close(&a->pause_pidfd);
			a->pause_pid = 0;
		}
	}
}

static void on_listen(void *arg, uint32_t events)
{
	struct agent *a = arg;
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	_cleanup_close_ int fd = -1;
	struct conn *c;
	struct err e;

	(void)events;
	fd = accept4(a->listen_fd, (struct sockaddr *)&peer, &len,
		     SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (peer.svm_cid != VMADDR_CID_HOST) {
		log_warn("agent: call from CID %u refused", peer.svm_cid);
		return;
	}
	if (conn_new(a, fd, false, &c, &e) < 0) {
		log_error("agent: call: %s", e.text);
		return;
	}
	fd_steal(&fd);
}

static int listen_vsock(struct err *e)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY,
				  .svm_port = AGENT_PORT };
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(e, "vsock (does the kernel have CONFIG_VIRTIO_VSOCKETS?)");
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, "vsock: listen on port %u", AGENT_PORT);
	return fd_steal(&fd);
}

/* The device may be probed after us, and the host may listen later. */
static int call_host(struct err *e)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST,
				  .svm_port = AGENT_PORT };
	const struct timespec nap = { 0, CALL_AGAIN_MS * 1000000 };
	uint64_t end = clock_ms() + CALL_MS;

	for (;;) {
		_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd >= 0 && !connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
			return fd_steal(&fd);
		if (clock_ms() > end)
			return err_sys(e, "vsock: call of the host, port %u", AGENT_PORT);
		nanosleep(&nap, NULL);
	}
}

static void say_hello(struct agent *a)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Hello h = PODVM__HELLO__INIT;
	struct utsname u;

	uname(&u);
	h.protocol = AGENT_PROTOCOL;
	h.kernel = u.release;
	h.init_ns = a->init_ns;
	h.boot_ns = boot_ns();
	r.body_case = PODVM__RESPONSE__BODY_HELLO;
	r.hello = &h;
	conn_send(a->main, &r);
}

static void on_off_timer(void *arg, uint32_t events)
{
	(void)events;
	request_shutdown_poll(arg);
}

static int watch_children(struct agent *a, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, "sigprocmask");
	signal(SIGPIPE, SIG_IGN);
	a->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signal_fd < 0)
		return err_sys(e, "signalfd");
	return loop_add(a->loop, a->signal_fd, EPOLLIN, on_sigchld, a, &a->signal_src, e);
}

static int agent_run(struct agent *a, struct err *e)
{
	int main_fd, rc;

	rc = loop_new(&a->loop, e);
	if (rc >= 0)
		rc = watch_children(a, e);
	if (rc >= 0)
		rc = a->off_timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(a->loop, a->off_timer, EPOLLIN, on_off_timer, a, &a->off_src, e);
	if (rc < 0)
		return rc;
	a->pidns_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (a->pidns_fd < 0)
		return err_sys(e, "/proc/self/ns/pid");
	rc = a->listen_fd = listen_vsock(e);
	if (rc >= 0)
		rc = main_fd = call_host(e);
	if (rc < 0)
		return rc;
	rc = loop_add(a->loop, a->listen_fd, EPOLLIN, on_listen, a, &a->listen_src, e);
	if (rc >= 0)
		rc = conn_new(a, main_fd, true, &a->main, e);
	if (rc < 0)
		return rc;
	say_hello(a);
	return loop_run(a->loop, e);
}

/* No container may run on, and what they wrote must be on their disks. */
static void end_all(struct agent *a)
{
	const struct timespec nap = { 0, 5000000 };
	uint64_t end = clock_ms() + LOST_MS;
	struct container *c;
	bool held = true;
	size_t i;

	for (c = a->containers; c; c = c->next) {
		changes_forget(c);
		cgroup_kill(c->cgroup_fd, NULL);
	}
	while (held && clock_ms() < end) {
		held = false;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		for (c = a->containers; c; c = c->next) {
			held |= cgroup_populated(c->cgroup_fd);
			for (i = 0; i < c->n_disks; i++)
				held |= disk_busy(c->disks[i]);
		}
		if (held)
			nanosleep(&nap, NULL);
	}
	sync();
}

int main(void)
{
	struct agent a = { .init_ns = boot_ns(), .listen_fd = -1, .pidns_fd = -1,
			   .pause_pidfd = -1, .off_timer = -1 };
	struct err e = { 0 };
	int rc;

	if (getpid() != 1) {
		fprintf(stderr, "podvm-agent: this is the first process of a pod's virtual machine; "
				"it does nothing elsewhere\n");
		return 1;
	}
	prctl(PR_SET_NAME, "podvm-agent", 0, 0, 0);
	open_log();
	rc = occupy_low_fds(&e);
	if (rc >= 0)
		rc = boot_init(&e);
	if (rc >= 0)
		rc = agent_run(&a, &e);
	if (rc < 0)
		log_error("agent: %s", e.text);
	end_all(&a);
	boot_power_off();
}
