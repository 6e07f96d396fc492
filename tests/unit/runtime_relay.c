// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The relay from end to end, without a machine: the agent's part of it, in a process
 * and network namespace of its own, stands for the guest; the relay's process is in the
 * pod's namespace; a third process stands for the supervisor and connects the two by unix
 * sockets, as the monitor would by vsock. The test itself is the engine and, by entering
 * the other namespace, the guest's programs. Hostile agents are scripts in the place of
 * the guest.
 */
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define on_link agent_on_link
#include "guest/agent/conn.c"
#include "guest/agent/ports.c"
#include "guest/agent/dns.c"
#include "guest/agent/relay.c"
#undef on_link

#include "lib/loop.h"
#include "runtime/spec.h"
#include "runtime/supervisor/relay.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *runtime_relay_suite(void);
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

#define WAIT_MS 10000
#define BIG (10u << 20)

/* ---- what the agent's files need of the rest of it ---------------------------------- */

int request_handle(struct conn *c, const Podvm__Request *r, struct err *e)
{
	if (r->body_case == PODVM__REQUEST__BODY_RELAY_OPEN)
		return relay_open(c, r->relay_open, e);
	if (r->body_case == PODVM__REQUEST__BODY_RELAY)
		return relay_watch(c, r->relay, e);
	return err_set(e, ENOSYS, "unknown request");
}

void container_forget_conn(struct agent *a, const struct conn *c)
{
	(void)a;
	(void)c;
}

void task_owner_lost(struct task *t)
{
	(void)t;
}

/* ---- processes ------------------------------------------------------------------------ */

static int pod_ns, guest_ns, call_fd; /* call_fd: listening socket of the "guest" */
static pid_t relay_pid, guest_pid, sup_pid;
static int sup_end;		/* supervisor's end of the relay's socket */
static unsigned int fault_kind;	/* of the call that fails */
static int fault_code;
static struct sockaddr_un guest_at;
static socklen_t guest_at_len;

static void lo_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

static int new_netns(void)
{
	int fd;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	lo_up();
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Ends with the test; a leak is a failure of its own. */
static pid_t child_begin(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
	}
	return pid;
}

__attribute__((noreturn)) static void child_end(int rc)
{
	if (!rc && __lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
		rc = 77;
	_exit(rc);
}

static int reap(pid_t *pid)
{
	int status = 0;

	if (*pid <= 0)
		return 0;
	ck_assert_int_eq(waitpid(*pid, &status, 0), *pid);
	*pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void stop(pid_t *pid)
{
	if (*pid > 0)
		kill(*pid, SIGKILL);
	reap(pid);
}

static volatile sig_atomic_t told_to_end;

static void block_term(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(how, &set, NULL);
}

static void on_term(int sig)
{
	told_to_end = sig;
}

static void on_call(void *arg, uint32_t events)
{
	struct agent *a = arg;
	struct conn *c;
	struct err e;
	int fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0 && conn_new(a, fd, false, &c, &e) < 0)
		close(fd);
}

/* The agent's loop, in the guest's namespace; its cgroup is ours. */
__attribute__((noreturn)) static void run_guest(unsigned int nth)
{
	struct agent a = { .listen_fd = call_fd };
	struct err e = { 0 };

	if (nth)
		kit_fault_arm(fault_kind, nth, fault_code);
	if (setns(guest_ns, CLONE_NEWNET) < 0 || loop_new(&a.loop, &e) < 0 ||
	    loop_add(a.loop, call_fd, EPOLLIN, on_call, &a, &a.listen_src, &e) < 0)
		told_to_end = 1;
	signal(SIGTERM, on_term);
	block_term(SIG_UNBLOCK);
	while (!told_to_end)
		loop_step(a.loop, -1, &e);
	while (a.conns)
		conn_free(a.conns);
	loop_free(a.loop);
	if (nth && !kit_fault_fired())
		_exit(42);
	child_end(0);
}

static void start_guest(unsigned int nth)
{
	/* Until the child has a handler of its own it has Check's, which ends the test. */
	block_term(SIG_BLOCK);
	guest_pid = child_begin();
	if (!guest_pid)
		run_guest(nth);
	block_term(SIG_UNBLOCK);
}

static int dial_guest(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&guest_at, guest_at_len) < 0)
		fd_close(&fd);
	return fd;
}

/* The supervisor: connects when asked to, until the relay is gone. */
__attribute__((noreturn)) static void run_supervisor(void)
{
	struct relayd_msg m;
	struct err e;
	size_t n;

	while (fd_recv(sup_end, &m, sizeof(m), NULL, 0, &n, &e) == sizeof(m)) {
		int fd;

		if (m.what != RELAYD_LINK)
			continue;
		fd = dial_guest();
		m.error = fd < 0 ? ECONNREFUSED : 0;
		fd_send(sup_end, &m, sizeof(m), &fd, fd >= 0, &e);
		fd_close(&fd);
	}
	_exit(0);
}

__attribute__((noreturn)) static void run_relay(int sup, bool isolated, unsigned int nth)
{
	struct relayd *d = NULL;
	struct err e = { 0 };
	int rc = 0;

	if (isolated)
		rc = relayd_isolate(dup(pod_ns), &e);
	if (nth)
		kit_fault_arm(fault_kind, nth, fault_code);
	if (!rc)
		rc = relayd_new(sup, &d, &e);
	if (!rc && isolated)
		rc = relayd_filter(&e);
	if (!rc)
		rc = relayd_run(d, &e);
	relayd_free(d);
	/* What the sanitizer does at an end is not on the list. */
	if (isolated)
		syscall(SYS_exit_group, rc < 0);
	if (nth && !kit_fault_fired())
		_exit(42);
	if (rc < 0)
		fprintf(stderr, "relay: %s\n", e.text);
	child_end(rc < 0 && !nth);
}

static void start_relay(bool isolated, unsigned int nth)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	sup_end = sv[0];
	relay_pid = child_begin();
	if (!relay_pid) {
		close(sup_end);
		run_relay(sv[1], isolated, nth);
	}
	close(sv[1]);
}

static void start_supervisor(void)
{
	sup_pid = child_begin();
	if (!sup_pid)
		run_supervisor();
}

static void setup(void)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };

	guest_ns = new_netns();
	pod_ns = new_netns();
	/* An abstract name that the kernel picks, in the pod's namespace. */
	call_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(call_fd, (struct sockaddr *)&any, sizeof(sa_family_t)), 0);
	guest_at_len = sizeof(guest_at);
	ck_assert_int_eq(getsockname(call_fd, (struct sockaddr *)&guest_at, &guest_at_len), 0);
	ck_assert_int_eq(listen(call_fd, 128), 0);
}

static void setup_all(void)
{
	setup();
	start_guest(0);
	start_relay(false, 0);
	start_supervisor();
}

/* The relay's way down is a part of each test: it frees all that it has. */
static void teardown(void)
{
	stop(&sup_pid);
	fd_close(&sup_end);
	ck_assert_int_eq(reap(&relay_pid), 0);
	stop(&guest_pid);
	fd_close(&call_fd);
}

/* ---- programs of both sides --------------------------------------------------------------- */

union addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union addr addr_of(const char *ip, unsigned int port, socklen_t *len)
{
	union addr a = { .sa.sa_family = strchr(ip, ':') ? AF_INET6 : AF_INET };

	if (a.sa.sa_family == AF_INET6) {
		a.v6.sin6_port = htons((uint16_t)port);
		ck_assert_int_eq(inet_pton(AF_INET6, ip, &a.v6.sin6_addr), 1);
		*len = sizeof(a.v6);
	} else {
		a.v4.sin_port = htons((uint16_t)port);
		ck_assert_int_eq(inet_pton(AF_INET, ip, &a.v4.sin_addr), 1);
		*len = sizeof(a.v4);
	}
	return a;
}

static int serve_in(int ns, const char *ip, unsigned int port, int type, bool v6only)
{
	int one = 1, only = v6only, fd;
	socklen_t len;
	union addr a = addr_of(ip, port, &len);

	kit_net_enter(ns);
	fd = socket(a.sa.sa_family, type | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	ck_assert_msg(!bind(fd, &a.sa, len), "bind %s %u: %m", ip, port);
	if (type == SOCK_STREAM)
		ck_assert_int_eq(listen(fd, 512), 0);
	kit_net_enter(pod_ns);
	return fd;
}

/* Return: a socket with a time limit, or minus errno */
static int dial_in(int ns, const char *ip, unsigned int port, int type)
{
	struct timeval limit = { .tv_sec = WAIT_MS / 1000 };
	socklen_t len;
	union addr a = addr_of(ip, port, &len);
	int fd, rc;

	kit_net_enter(ns);
	fd = socket(a.sa.sa_family, type | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	rc = connect(fd, &a.sa, len) < 0 ? -errno : fd;
	if (rc < 0)
		close(fd);
	kit_net_enter(pod_ns);
	return rc;
}

static void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* Until a port is there, or not there any more. */
static int dial_until(const char *ip, unsigned int port, bool there)
{
	uint64_t end = clock_ms() + WAIT_MS;
	int fd;

	for (;;) {
		fd = dial_in(pod_ns, ip, port, SOCK_STREAM);
		if (there ? fd >= 0 : fd == -ECONNREFUSED)
			return fd;
		if (fd >= 0)
			close(fd);
		ck_assert_msg(clock_ms() < end, "%s port %u: %s", ip, port,
			      fd < 0 ? strerror(-fd) : "it is still there");
		pause_ms(5);
	}
}

static int take(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int fd;

	ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* A connection from the pod's localhost to the guest's. */
static void pair(const char *ip, unsigned int port, int *ret_client, int *ret_server)
{
	int l = serve_in(guest_ns, ip, port, SOCK_STREAM, false);
	struct timeval limit = { .tv_sec = WAIT_MS / 1000 };

	*ret_client = dial_until(ip, port, true);
	*ret_server = take(l);
	setsockopt(*ret_server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	close(l);
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

static void hear(int fd, const char *text)
{
	char got[64] = "";
	size_t len = strlen(text), n = 0;

	while (n < len) {
		ssize_t k = recv(fd, got + n, len - n, 0);

		ck_assert_msg(k > 0, "%s after \"%s\"", k ? strerror(errno) : "end of file", got);
		n += (size_t)k;
	}
	ck_assert_str_eq(got, text);
}

/* 0: end of file; minus errno */
static int end_of(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return n < 0 ? -errno : (int)n;
}

static void reset(int fd)
{
	pump_reset(&fd);
}

static size_t count_fds(pid_t pid)
{
	char path[32];
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* What it has when nothing is going on. */
static size_t settled_fds(pid_t pid)
{
	size_t n = 0, was;
	int same;

	for (same = 0; same < 10; same = n == was ? same + 1 : 0) {
		pause_ms(10);
		was = n;
		n = count_fds(pid);
	}
	return n;
}

static void until_fds(pid_t pid, size_t n)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (count_fds(pid) > n) {
		ck_assert_msg(clock_ms() < end, "%zu descriptors, not %zu", count_fds(pid), n);
		pause_ms(10);
	}
}

/* ---- ports -------------------------------------------------------------------------------- */

static const struct {
	const char *ip;
	bool v6only;
	bool v4, v6;	/* reached by */
} binds[] = {
	{ "127.0.0.1", false, true, false }, { "0.0.0.0", false, true, false },
	{ "::1", false, false, true },	     { "::", false, true, true },
	{ "::", true, false, true },	     { "::ffff:127.0.0.1", false, true, false },
	{ "127.0.0.2", false, false, false },
};

START_TEST(reached_as_in_the_guest)
{
	int l = serve_in(guest_ns, binds[_i].ip, 80, SOCK_STREAM, binds[_i].v6only);
	int mark4 = serve_in(guest_ns, "127.0.0.1", 81, SOCK_STREAM, false);
	int mark6 = serve_in(guest_ns, "::1", 82, SOCK_STREAM, false), fd;

	close(dial_until("127.0.0.1", 81, true));
	close(dial_until("::1", 82, true));
	fd = dial_until("127.0.0.1", 80, binds[_i].v4);
	fd_close(&fd);
	fd = dial_until("::1", 80, binds[_i].v6);
	fd_close(&fd);
	close(l);
	dial_until("127.0.0.1", 80, false);
	dial_until("::1", 80, false);
	close(mark4);
	close(mark6);
}
END_TEST

static void on_change(void *arg, const struct ports *now)
{
	*(struct ports *)arg = *now;
}

/* The program and its ring, which need a cgroup2 where the agent has it. */
START_TEST(told_by_the_kernel)
{
	struct ports now = { 0 };
	struct ports_watch *w = NULL;
	struct agent a = { 0 };
	struct err e = { 0 };
	int l, i;

	pod_ns = new_netns();
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert_int_eq(syscall(SYS_mount, "cgroup2", AGENT_CGROUP, "cgroup2", 0, NULL), 0);
	ck_assert_int_eq(loop_new(&a.loop, &e), 0);
	ck_assert_msg(!ports_watch_new(&a, on_change, &now, &w, &e), "%s", e.text);
	ck_assert_msg(w->ring_src != NULL, "it is polled");
	/* Nothing comes by itself. */
	ck_assert_int_eq(loop_step(a.loop, 2 * POLL_MS, &e), 0);
	l = serve_in(pod_ns, "127.0.0.1", 8080, SOCK_STREAM, false);
	for (i = 0; i < 10 && !ports_has(&now, 0, 8080); i++)
		ck_assert_int_ge(loop_step(a.loop, WAIT_MS, &e), 1);
	ck_assert(ports_has(&now, 0, 8080));
	close(dial_in(pod_ns, "127.0.0.1", 8080, SOCK_STREAM));
	close(l);
	for (i = 0; i < 10 && ports_has(&now, 0, 8080); i++)
		ck_assert_int_ge(loop_step(a.loop, WAIT_MS, &e), 1);
	ck_assert(!ports_has(&now, 0, 8080));
	ports_watch_free(w);
	loop_free(a.loop);
}
END_TEST

START_TEST(namespace_is_as_before)
{
	_cleanup_free_ char *before = kit_net_state(), *after = NULL, *sockets = NULL;
	int l = serve_in(guest_ns, "::", 8080, SOCK_STREAM, false);

	close(dial_until("127.0.0.1", 8080, true));
	kill(relay_pid, SIGKILL);
	ck_assert_int_eq(reap(&relay_pid), 128 + SIGKILL);
	ck_assert_int_eq(dial_in(pod_ns, "127.0.0.1", 8080, SOCK_STREAM), -ECONNREFUSED);
	sockets = kit_output("cat /proc/thread-self/net/tcp /proc/thread-self/net/tcp6 | "
			     "awk '$4 == \"0A\"'");
	ck_assert_str_eq(sockets, "");
	after = kit_net_state();
	kit_same_text(after, before);
	close(l);
}
END_TEST

START_TEST(port_of_the_host_stays_its_own)
{
	int own = serve_in(pod_ns, "127.0.0.1", 53, SOCK_STREAM, false), a, b, fd;
	int theirs = serve_in(guest_ns, "0.0.0.0", 53, SOCK_STREAM, false);
	int mark = serve_in(guest_ns, "127.0.0.1", 81, SOCK_STREAM, false);

	close(dial_until("127.0.0.1", 81, true));
	fd = dial_in(pod_ns, "127.0.0.1", 53, SOCK_STREAM);
	a = take(own);
	say(a, "mine");
	hear(fd, "mine");
	close(a);
	close(fd);
	close(own);
	/* With the next list it is the guest's. */
	b = serve_in(guest_ns, "127.0.0.1", 82, SOCK_STREAM, false);
	close(dial_until("127.0.0.1", 53, true));
	close(b);
	close(mark);
	close(theirs);
}
END_TEST

START_TEST(many_ports)
{
	int fd[600], i;

	for (i = 0; i < 600; i++)
		fd[i] = serve_in(guest_ns, "127.0.0.1", 2000 + (unsigned int)i, SOCK_STREAM, false);
	close(dial_until("127.0.0.1", 2000 + RELAY_PORTS_MAX - 1, true));
	/* A list that was read while they came may have had it. */
	dial_until("127.0.0.1", 2000 + RELAY_PORTS_MAX, false);
	close(fd[0]);
	close(dial_until("127.0.0.1", 2000 + RELAY_PORTS_MAX, true));
	for (i = 1; i < 600; i++)
		close(fd[i]);
	dial_until("127.0.0.1", 2100, false);
}
END_TEST

/* ---- bytes ---------------------------------------------------------------------------------- */

static const char *const families[] = { "127.0.0.1", "::1" };

START_TEST(half_close_both_ways)
{
	int c, s;

	pair(families[_i], 8080, &c, &s);
	say(c, "question");
	hear(s, "question");
	shutdown(c, SHUT_WR);
	ck_assert_int_eq(end_of(s), 0);
	say(s, "answer");
	hear(c, "answer");
	shutdown(s, SHUT_WR);
	ck_assert_int_eq(end_of(c), 0);
	close(c);
	close(s);
	pair(families[_i], 8081, &c, &s);
	say(s, "220 hello");
	shutdown(s, SHUT_WR);
	hear(c, "220 hello");
	ck_assert_int_eq(end_of(c), 0);
	say(c, "late");
	shutdown(c, SHUT_WR);
	hear(s, "late");
	ck_assert_int_eq(end_of(s), 0);
	close(c);
	close(s);
}
END_TEST

/* Before and after either side has ended; by either side. */
START_TEST(reset_is_a_reset)
{
	bool by_server = _i & 1;
	int c, s, from, to;

	pair("127.0.0.1", 8080, &c, &s);
	from = by_server ? s : c;
	to = by_server ? c : s;
	say(from, "last words");
	hear(to, "last words");
	if (_i & 2) {
		shutdown(to, SHUT_WR);
		ck_assert_int_eq(end_of(from), 0);
	}
	if (_i & 4) {
		shutdown(from, SHUT_WR);
		ck_assert_int_eq(end_of(to), 0);
		reset(from);
		/* Of one that has ended both ways nothing is left to reset. */
		if (!(_i & 2)) {
			struct pollfd p = { .fd = to, .events = POLLRDHUP };

			while (poll(&p, 1, WAIT_MS) == 1 && !(p.revents & POLLERR))
				pause_ms(1);
		}
	} else {
		reset(from);
		ck_assert_int_eq(end_of(to), -ECONNRESET);
	}
	close(to);
}
END_TEST

START_TEST(what_came_before_a_reset_is_delivered)
{
	int c, s;

	pair("127.0.0.1", 8080, &c, &s);
	say(s, "413 too large");
	say(c, "x");
	hear(c, "413 too large");
	say(s, "bye");
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = s, .events = POLLIN }, 1, WAIT_MS), 1);
	close(s); /* with a byte unread, which is a reset */
	hear(c, "bye");
	ck_assert_int_eq(end_of(c), -ECONNRESET);
	close(c);
}
END_TEST

static uint8_t pattern(size_t at, unsigned int seed)
{
	return (uint8_t)((at * 2654435761u + seed) >> 13 ^ at >> 7);
}

/* Sends and receives BIG bytes at the same time, checking each; then the ends. */
static bool exchange(int fd, unsigned int out_seed, unsigned int in_seed)
{
	size_t sent = 0, got = 0;
	uint8_t buf[65536];
	bool fine = true, shut = false;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct pollfd p = { .fd = fd,
				    .events = (short)(POLLIN | (sent < BIG ? POLLOUT : 0)) };
		size_t i, part = BIG - sent < sizeof(buf) ? BIG - sent : sizeof(buf);
		ssize_t n;

		if (poll(&p, 1, WAIT_MS) != 1)
			return false;
		for (i = 0; i < part; i++)
			buf[i] = pattern(sent + i, out_seed);
		n = part ? send(fd, buf, part, MSG_NOSIGNAL) : 0;
		sent += n > 0 ? (size_t)n : 0;
		if (sent == BIG && !shut)
			shut = !shutdown(fd, SHUT_WR);
		n = recv(fd, buf, sizeof(buf), 0);
		for (i = 0; n > 0 && i < (size_t)n; i++)
			fine &= buf[i] == pattern(got + i, in_seed);
		got += n > 0 ? (size_t)n : 0;
		if (!n || (n < 0 && errno != EAGAIN))
			return fine && !n && got == BIG && sent == BIG;
	}
}

START_TEST(ten_megabytes_both_ways)
{
	int c, s;
	pid_t pid;

	pair(families[_i], 8080, &c, &s);
	pid = child_begin();
	if (!pid)
		_exit(!exchange(s, 1, 2));
	close(s);
	ck_assert(exchange(c, 2, 1));
	ck_assert_int_eq(reap(&pid), 0);
	close(c);
}
END_TEST

/* Writes until nothing more is taken. Return: bytes */
static size_t fill(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	char *buf = calloc(1, 65536);
	size_t sent = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (poll(&p, 1, 300) == 1) {
		ssize_t n = send(fd, buf, 65536, MSG_NOSIGNAL);

		ck_assert_msg(n > 0 || errno == EAGAIN, "%m after %zu bytes", sent);
		sent += n > 0 ? (size_t)n : 0;
		ck_assert_uint_lt(sent, 256u << 20);
	}
	free(buf);
	return sent;
}

START_TEST(slow_reader_stops_the_writer)
{
	char *buf = calloc(1, 65536);
	size_t sent, got = 0;
	int c, s;
	ssize_t n;

	pair("127.0.0.1", 8080, &c, &s);
	sent = fill(c);
	shutdown(c, SHUT_WR);
	while ((n = recv(s, buf, 65536, 0)) > 0)
		got += (size_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, sent);
	free(buf);
	close(c);
	close(s);
}
END_TEST

/* A caller that resets while its server reads nothing leaves nothing behind. */
START_TEST(reset_behind_what_waits)
{
	char *buf = calloc(1, 65536);
	size_t fds;
	int c, s;

	pair("127.0.0.1", 8080, &c, &s);
	close(c);
	close(s);
	dial_until("127.0.0.1", 8080, false);
	fds = settled_fds(relay_pid);
	pair("127.0.0.1", 8081, &c, &s);
	fill(c);
	reset(c);
	until_fds(relay_pid, fds);
	while (recv(s, buf, 65536, 0) > 0)
		;
	ck_assert_int_eq(errno, ECONNRESET);
	free(buf);
	close(s);
}
END_TEST

static void echo_one(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		send(fd, buf, (size_t)n, MSG_NOSIGNAL);
	close(fd);
}

/* Hundreds at a time; beyond the limit callers wait, and come when others have gone. */
START_TEST(more_than_the_limit)
{
	enum { N = RELAYD_CALLERS_MAX + 40 };
	int l = serve_in(guest_ns, "127.0.0.1", 8080, SOCK_STREAM, false), c[N], i;
	char text[32];
	size_t fds;

	close(dial_until("127.0.0.1", 8080, true));
	close(take(l));
	fds = settled_fds(relay_pid);
	for (i = 0; i < N; i++) {
		c[i] = dial_in(pod_ns, "127.0.0.1", 8080, SOCK_STREAM);
		ck_assert_int_ge(c[i], 0);
		snprintf(text, sizeof(text), "%d", 1000 + i);
		say(c[i], text);
		shutdown(c[i], SHUT_WR);
	}
	for (i = 0; i < N; i++)
		echo_one(take(l));
	for (i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "%d", 1000 + i);
		hear(c[i], text);
		ck_assert_int_eq(end_of(c[i]), 0);
		close(c[i]);
	}
	until_fds(relay_pid, fds);
	close(l);
}
END_TEST

START_TEST(works_without_privilege)
{
	int l = serve_in(guest_ns, "::", 80, SOCK_STREAM, false), c, s;

	fd_close(&sup_end);
	stop(&sup_pid);
	ck_assert_int_eq(reap(&relay_pid), 0);
	start_relay(true, 0);
	start_supervisor();
	c = dial_until("::1", 80, true);
	s = take(l);
	say(c, "in");
	hear(s, "in");
	close(s);
	ck_assert_int_eq(end_of(c), 0);
	close(c);
	close(l);
}
END_TEST

static void forbidden(int i)
{
	int fd = -1;

	switch (i) {
	case 0: fd = open("/dev/null", O_RDONLY | O_CLOEXEC); break;
	case 1: fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); break;
	case 2: fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0); break;
	case 3: fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); break;
	case 4: fd = fork(); break;
	case 5: fd = setns(pod_ns, 0); break;
	default: execl("/bin/true", "true", NULL);
	}
	(void)fd;
}

START_TEST(everything_else_is_fatal)
{
	struct err e = { 0 };
	pid_t pid;

	pod_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	pid = child_begin();
	if (!pid) {
		if (relayd_isolate(dup(pod_ns), &e) < 0 || relayd_filter(&e) < 0)
			_exit(5);
		forbidden(_i);
		_exit(6);
	}
	ck_assert_int_eq(reap(&pid), 128 + SIGSYS);
}
END_TEST

/* ---- hostile agents ----------------------------------------------------------------------- */

static int link_fd; /* the agent's end of the relay's own connection */

static int give_link(void)
{
	struct relayd_msg m;
	struct err e;
	size_t n;
	int sv[2];

	ck_assert_int_eq(fd_recv(sup_end, &m, sizeof(m), NULL, 0, &n, &e), sizeof(m));
	while (m.what != RELAYD_LINK)
		ck_assert_int_eq(fd_recv(sup_end, &m, sizeof(m), NULL, 0, &n, &e), sizeof(m));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	m.error = 0;
	ck_assert_int_eq(fd_send(sup_end, &m, sizeof(m), &sv[1], 1, &e), 0);
	close(sv[1]);
	return sv[0];
}

static void setup_hostile(void)
{
	setup();
	start_relay(false, 0);
	link_fd = give_link();
}

static int tell_ports(uint32_t *v, size_t n)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Relay m = PODVM__RELAY__INIT;

	m.ipv4 = v;
	m.n_ipv4 = n;
	r.body_case = PODVM__RESPONSE__BODY_RELAY;
	r.relay = &m;
	return frame_send(link_fd, &r.base, WAIT_MS, NULL);
}

/* As many bytes as the row says of what no agent would send. */
static void lie(int i)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;

	r.error = i == 1 ? ENOSYS : 0;
	switch (i) {
	case 0: say(link_fd, "\x05"); send(link_fd, "\0\0\0\xff\xff\xff\xff\xff", 8, 0); break;
	case 1: frame_send(link_fd, &r.base, WAIT_MS, NULL); break;
	case 2: send(link_fd, "\xff\xff\xff\xff", 4, 0); break;
	case 3: frame_send(link_fd, &r.base, WAIT_MS, NULL); break;
	case 4:
		r.body_case = PODVM__RESPONSE__BODY_EVENT;
		r.event = &x;
		frame_send(link_fd, &r.base, WAIT_MS, NULL);
		break;
	default: send(link_fd, "\x10\0\0\0", 4, 0); close(link_fd); link_fd = -1;
	}
}

START_TEST(agent_that_breaks_the_rules)
{
	lie(_i);
	ck_assert_int_eq(reap(&relay_pid), 1);
	fd_close(&link_fd);
	fd_close(&sup_end);
}
END_TEST

START_TEST(ports_that_are_none)
{
	uint32_t v[20000], odd[] = { 0, 65536, UINT32_MAX, 8080, 8080, 8080 };
	size_t i;

	ck_assert_int_eq(tell_ports(odd, ARRAY_LEN(odd)), 0);
	close(dial_until("127.0.0.1", 8080, true));
	for (i = 0; i < ARRAY_LEN(v); i++)
		v[i] = (uint32_t)(10000 + i);
	ck_assert_int_eq(tell_ports(v, ARRAY_LEN(v)), 0);
	dial_until("127.0.0.1", 8080, false);
	close(dial_until("127.0.0.1", 10000 + RELAY_PORTS_MAX - 1, true));
	ck_assert_int_eq(dial_in(pod_ns, "127.0.0.1", 10000 + RELAY_PORTS_MAX, SOCK_STREAM),
			 -ECONNREFUSED);
	/* A flood of lists holds up nothing. */
	for (i = 0; i < 200; i++)
		ck_assert_int_eq(tell_ports(v + i % 7, 40), 0);
	ck_assert_int_eq(tell_ports(odd, ARRAY_LEN(odd)), 0);
	close(dial_until("127.0.0.1", 8080, true));
	fd_close(&sup_end);
	ck_assert_int_eq(reap(&relay_pid), 0);
	close(link_fd);
}
END_TEST

/* One request for the list; that it comes asks for nothing. */
START_TEST(lists_are_not_asked_for_again)
{
	uint32_t port = 8080, len = 0;
	char buf[4096];
	int i;

	ck_assert_int_eq(recv(link_fd, &len, 4, MSG_WAITALL), 4);
	ck_assert_uint_lt(len, sizeof(buf));
	ck_assert_int_eq(recv(link_fd, buf, len, MSG_WAITALL), len);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(tell_ports(&port, 1), 0);
	close(dial_until("127.0.0.1", port, true));
	ck_assert_int_eq(recv(link_fd, buf, sizeof(buf), MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	fd_close(&sup_end);
	ck_assert_int_eq(reap(&relay_pid), 0);
	close(link_fd);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	const char *first; /* that the caller gets before its RST; NULL: nothing */
	bool stays;	   /* the link is not closed by the agent */
} links[] = {
	{ "", 0, NULL, false },				 /* closed at once */
	{ "\xff\xff\xff\xff", 4, NULL, true },		 /* a length that is a lie */
	{ "\3\0\0\0xyz", 7, NULL, true },		 /* no message */
	{ "\2\0\0\0\x08\x6f", 6, NULL, true },		 /* the error of a refused connection */
	{ "\0\0\0\0", 4, NULL, false },			 /* connected, and cut */
	{ "\0\0\0\0\3\0abc", 9, "abc", false },		 /* cut behind a chunk */
	{ "\0\0\0\0\3\0ab", 8, "ab", false },		 /* and inside */
	{ "\0\0\0\0\3\0abc\3", 10, "abc", false },	 /* inside a length */
	{ "\0\0\0\0\0\0", 6, "", false },		 /* END, and closed without ours */
	{ "\0\0\0\0\0\0x", 7, NULL, true },		 /* bytes behind END */
	{ "\0\0\0\0\3\0abc\0\0\0\0", 13, NULL, true },   /* twice END */
};

START_TEST(links_that_break_the_rules)
{
	uint32_t port = 8080;
	char buf[64];
	int c, l, n;

	ck_assert_int_eq(tell_ports(&port, 1), 0);
	c = dial_until("127.0.0.1", 8080, true);
	l = give_link();
	ck_assert_int_gt(recv(l, buf, sizeof(buf), 0), 4); /* the request */
	ck_assert_int_eq(send(l, links[_i].bytes, links[_i].len, MSG_NOSIGNAL),
			 (int)links[_i].len);
	if (!links[_i].stays)
		fd_close(&l);
	if (links[_i].first && *links[_i].first)
		hear(c, links[_i].first);
	n = end_of(c);
	/* What came with a broken rule may be delivered, but an end is no end. */
	while (n > 0)
		n = end_of(c);
	if (links[_i].first && !*links[_i].first && !n)
		n = send(c, "x", 1, MSG_NOSIGNAL) < 0 || end_of(c) < 0 ||
		    (pause_ms(20), send(c, "x", 1, MSG_NOSIGNAL)) < 0 ? -ECONNRESET : 0;
	ck_assert_int_eq(n, -ECONNRESET);
	close(c);
	fd_close(&l);
	/* The relay goes on. */
	c = dial_in(pod_ns, "127.0.0.1", 8080, SOCK_STREAM);
	ck_assert_int_ge(c, 0);
	l = give_link();
	close(l);
	ck_assert_int_eq(end_of(c), -ECONNRESET);
	close(c);
	fd_close(&sup_end);
	ck_assert_int_eq(reap(&relay_pid), 0);
	close(link_fd);
}
END_TEST

/* An agent that answers no caller of a port holds up these only; the way down ends all. */
START_TEST(agent_that_stalls)
{
	enum { N = RELAYD_OPENING_PORT_MAX };
	uint32_t ports[] = { 8080, 8081 };
	int c[100], l[N], i, other;

	ck_assert_int_eq(tell_ports(ports, 2), 0);
	c[0] = dial_until("127.0.0.1", 8080, true);
	for (i = 1; i < 100; i++)
		c[i] = dial_in(pod_ns, "127.0.0.1", 8080, SOCK_STREAM);
	for (i = 0; i < N; i++)
		l[i] = give_link();
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = sup_end, .events = POLLIN }, 1, 50), 0);
	other = dial_in(pod_ns, "127.0.0.1", 8081, SOCK_STREAM);
	close(give_link());
	ck_assert_int_eq(end_of(other), -ECONNRESET);
	close(other);
	close(l[0]); /* whoever waits comes next */
	close(give_link());
	fd_close(&sup_end);
	ck_assert_int_eq(reap(&relay_pid), 0);
	for (i = 0; i < 100; i++) {
		ck_assert_int_eq(end_of(c[i]), -ECONNRESET);
		close(c[i]);
	}
	for (i = 1; i < N; i++)
		close(l[i]);
	close(link_fd);
}
END_TEST

/* A caller comes and goes; the relay may have given up before. Return: its exit status */
static int session(void)
{
	int l = serve_in(guest_ns, "0.0.0.0", 8080, SOCK_STREAM, false), c = -1, i, status = -1;

	for (i = 0; i < 60 && c < 0 && status < 0; i++) {
		c = dial_in(pod_ns, "127.0.0.1", 8080, SOCK_STREAM);
		if (waitpid(relay_pid, &status, WNOHANG) == relay_pid)
			relay_pid = 0;
		if (c < 0)
			pause_ms(5);
	}
	if (c >= 0)
		send(c, "x", 1, MSG_NOSIGNAL);
	if (c >= 0 && relay_pid)
		poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 100);
	close(l);
	fd_close(&c);
	stop(&sup_pid);
	fd_close(&sup_end);
	return relay_pid ? reap(&relay_pid) : WEXITSTATUS(status);
}

/* Whose calls fail, and which. */
static const struct {
	bool agent;
	unsigned int kind;
	int code;
} failing[] = {
	{ false, KIT_FAULT_MEMORY, ENOMEM },
	{ true, KIT_FAULT_MEMORY, ENOMEM },
	{ false, KIT_FAULT_SOCKETS, EMFILE },
	{ true, KIT_FAULT_SOCKETS, EMFILE },
};

/* With the n-th call failing: no crash, no leak. 42: none failed. */
START_TEST(calls_that_fail)
{
	bool agent = failing[_i].agent;
	unsigned int n;
	int rc = 0;

	fault_kind = failing[_i].kind;
	fault_code = failing[_i].code;
	setup();
	for (n = 1; rc != 42; n++) {
		start_guest(agent ? n : 0);
		start_relay(false, agent ? 0 : n);
		start_supervisor();
		rc = session();
		/* Without an agent the relay has nothing to do. */
		ck_assert_msg(!rc || rc == (agent ? 1 : 42), "call %u: relay: %d", n, rc);
		kill(guest_pid, SIGTERM);
		if (agent)
			rc = reap(&guest_pid);
		else
			stop(&guest_pid);
		ck_assert_msg(!rc || rc == 42, "call %u: agent: %d", n, rc);
		ck_assert_uint_lt(n, 100);
	}
	ck_assert_uint_gt(n, 8);
}
END_TEST

/* ---- DNS ----------------------------------------------------------------------------------- */

/*
 * The engine's stub: byte 12 of a query says what becomes of it. e: it comes back as an
 * answer; t: by UDP truncated, by TCP 60000 bytes long; b: 40000 bytes; s: nothing.
 */
static size_t stub_answer(uint8_t *b, size_t n, bool tcp)
{
	b[2] |= 0x80;
	if (b[12] == 's')
		return 0;
	if (b[12] == 't' && !tcp)
		b[2] |= 0x02;
	else if (b[12] == 't' || b[12] == 'b')
		n = b[12] == 't' ? 60000 : 40000;
	return n;
}

static void stub_tcp(int l)
{
	int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	static uint8_t b[2 + 65535];
	size_t n = recv(fd, b, 2, MSG_WAITALL) == 2 ? (size_t)b[0] << 8 | b[1] : 0;

	if (n && recv(fd, b + 2, n, MSG_WAITALL) == (ssize_t)n)
		n = stub_answer(b + 2, n, true);
	if (n) {
		b[0] = (uint8_t)(n >> 8);
		b[1] = (uint8_t)n;
		write_full(fd, b, n + 2, NULL);
	}
	close(fd);
}

static pid_t run_stub(void)
{
	int udp = serve_in(pod_ns, RELAY_DNS_IP, 53, SOCK_DGRAM, false);
	int tcp = serve_in(pod_ns, RELAY_DNS_IP, 53, SOCK_STREAM, false);
	static uint8_t b[65535];
	pid_t pid = child_begin();

	if (pid) {
		close(udp);
		close(tcp);
		return pid;
	}
	for (;;) {
		struct pollfd p[] = { { .fd = udp, .events = POLLIN },
				      { .fd = tcp, .events = POLLIN } };
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n;

		poll(p, 2, -1);
		if (p[1].revents)
			stub_tcp(tcp);
		if (!p[0].revents)
			continue;
		n = recvfrom(udp, b, sizeof(b), 0, (struct sockaddr *)&from, &len);
		n = n > 12 ? (ssize_t)stub_answer(b, (size_t)n, false) : 0;
		if (n)
			sendto(udp, b, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

/* The supervisor's word; then the guest's socket is there after a while. */
static void dns_on(void)
{
	struct relayd_msg m = { .what = RELAYD_DNS };
	uint64_t end = clock_ms() + WAIT_MS;
	struct err e;
	int fd;

	ck_assert_int_eq(fd_send(sup_end, &m, sizeof(m), NULL, 0, &e), 0);
	while ((fd = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_STREAM)) < 0) {
		ck_assert_int_lt(clock_ms(), end);
		pause_ms(5);
	}
	close(fd);
}

static void query(uint8_t *q, size_t len, uint16_t id, char what)
{
	memset(q, 0, len);
	q[0] = (uint8_t)(id >> 8);
	q[1] = (uint8_t)id;
	q[12] = (uint8_t)what;
}

/* Return: bytes of the answer, which has the query's id; -1 */
static ssize_t ask_within(int wait_ms, size_t len, uint16_t id, char what, uint8_t *ret)
{
	int fd = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_DGRAM);
	uint8_t q[8192];
	ssize_t n;

	query(q, len, id, what);
	ck_assert_int_eq(send(fd, q, len, 0), (ssize_t)len);
	n = poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, wait_ms) == 1 ?
		    recv(fd, ret, 65535, 0) : -1;
	close(fd);
	if (n >= 0)
		ck_assert(ret[0] == (uint8_t)(id >> 8) && ret[1] == (uint8_t)id);
	return n;
}

static ssize_t ask_udp(size_t len, uint16_t id, char what, uint8_t *ret)
{
	return ask_within(what == 's' ? 100 : WAIT_MS, len, id, what, ret);
}

static ssize_t ask_tcp(int fd, size_t len, uint16_t id, char what, uint8_t *ret)
{
	uint8_t q[2 + 8192];
	size_t n;

	q[0] = (uint8_t)(len >> 8);
	q[1] = (uint8_t)len;
	query(q + 2, len, id, what);
	if (send(fd, q, len + 2, MSG_NOSIGNAL) < 0 || recv(fd, ret, 2, MSG_WAITALL) != 2)
		return -1;
	n = (size_t)ret[0] << 8 | ret[1];
	if (recv(fd, ret, n, MSG_WAITALL) != (ssize_t)n)
		return -1;
	ck_assert(ret[0] == (uint8_t)(id >> 8) && ret[1] == (uint8_t)id);
	return (ssize_t)n;
}

START_TEST(names_are_resolved)
{
	static uint8_t b[65535];
	pid_t stub = run_stub();
	int fd;

	dns_on();
	ck_assert_int_eq(ask_udp(40, 0x1234, 'e', b), 40);
	ck_assert_int_eq(b[2], 0x80);
	ck_assert_int_eq(ask_udp(RELAY_QUERY_BYTES, 1, 'e', b), RELAY_QUERY_BYTES);
	ck_assert_int_eq(ask_udp(40, 2, 'b', b), 40000);
	/* Truncated, so by TCP; the connection serves again. */
	ck_assert_int_eq(ask_udp(40, 3, 't', b), 40);
	ck_assert_int_eq(b[2], 0x82);
	fd = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_STREAM);
	ck_assert_int_eq(ask_tcp(fd, 40, 3, 't', b), 60000);
	ck_assert_int_eq(ask_tcp(fd, 50, 4, 'e', b), 50);
	close(fd);
	/* What is not answered, and what is too long or no query. */
	ck_assert_int_eq(ask_udp(40, 5, 's', b), -1);
	fd = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_STREAM);
	ck_assert_int_eq(ask_tcp(fd, RELAY_QUERY_BYTES + 1, 6, 'e', b), -1);
	close(fd);
	fd = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_DGRAM);
	ck_assert_int_eq(send(fd, b, RELAY_QUERY_BYTES + 1, 0), RELAY_QUERY_BYTES + 1);
	ck_assert_int_eq(send(fd, b, 11, 0), 11);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 50), 0);
	close(fd);
	ck_assert_int_eq(ask_udp(40, 7, 'e', b), 40);
	/* Without a stub: SERVFAIL, by both. */
	stop(&stub);
	ck_assert_int_eq(ask_udp(40, 8, 'e', b), 40);
	ck_assert(b[2] == 0x80 && b[3] == 2);
	fd = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_STREAM);
	ck_assert_int_eq(ask_tcp(fd, 40, 9, 'e', b), 40);
	ck_assert(b[2] == 0x80 && b[3] == 2);
	close(fd);
}
END_TEST

START_TEST(queries_in_parallel)
{
	enum { N = 60 };
	pid_t stub = run_stub();
	uint8_t q[40], b[600];
	int fd[N], i;

	dns_on();
	for (i = 0; i < N; i++) {
		fd[i] = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_DGRAM);
		query(q, sizeof(q), (uint16_t)(i * 7), 'e');
		ck_assert_int_eq(send(fd[i], q, sizeof(q), 0), sizeof(q));
	}
	for (i = 0; i < N; i++) {
		ck_assert_int_eq(recv(fd[i], b, sizeof(b), 0), sizeof(q));
		ck_assert(b[0] << 8 == ((i * 7) & 0xff00) && b[1] == ((i * 7) & 0xff));
		close(fd[i]);
	}
	stop(&stub);
}
END_TEST

START_TEST(flood_of_queries)
{
	static uint8_t b[65535];
	pid_t stub = run_stub();
	uint8_t q[40];
	int fd, i, tcp[80];

	dns_on();
	fd = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_DGRAM);
	for (i = 0; i < 20000; i++) {
		query(q, sizeof(q), (uint16_t)i, i % 100 ? 'e' : 'b');
		send(fd, q, sizeof(q), MSG_DONTWAIT);
	}
	close(fd);
	while (ask_within(200, 40, 2, 'e', b) < 0)
		;
	/* TCP clients that ask nothing: the oldest go. */
	for (i = 0; i < 80; i++)
		tcp[i] = dial_in(guest_ns, RELAY_DNS_IP, 53, SOCK_STREAM);
	ck_assert_int_eq(end_of(tcp[0]), 0);
	ck_assert_int_eq(ask_tcp(tcp[79], 40, 1, 'e', b), 40);
	for (i = 0; i < 80; i++)
		close(tcp[i]);
	ck_assert_int_eq(ask_udp(40, 2, 'e', b), 40);
	ck_assert_uint_lt(count_fds(relay_pid), 100);
	stop(&stub);
}
END_TEST

static int ask_as_agent(uint32_t id, bool tcp, uint8_t *data, size_t len)
{
	Podvm__DnsMessage q = PODVM__DNS_MESSAGE__INIT;
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Relay m = PODVM__RELAY__INIT;

	q.id = id;
	q.tcp = tcp;
	q.data.data = data;
	q.data.len = len;
	m.query = &q;
	r.body_case = PODVM__RESPONSE__BODY_RELAY;
	r.relay = &m;
	return frame_send(link_fd, &r.base, WAIT_MS, NULL);
}

/* An agent that asks without end, and reads nothing, does not fill the host. */
START_TEST(agent_that_floods)
{
	struct relayd_msg m = { .what = RELAYD_DNS };
	_cleanup_free_ char *rss = NULL;
	pid_t stub = run_stub();
	static uint8_t q[65536];
	uint32_t none = 0;
	struct err e;
	int i, fd;

	/* Nobody has said that there is a stub. */
	query(q, 40, 1, 'e');
	ck_assert_int_eq(tell_ports(&none, 0), 0);
	ck_assert_int_eq(ask_as_agent(1, false, q, 40), 0);
	ck_assert_int_eq(fd_send(sup_end, &m, sizeof(m), NULL, 0, &e), 0);
	ck_assert_int_eq(ask_as_agent(2, false, q, 11), 0);
	ck_assert_int_eq(ask_as_agent(2, false, q, 0), 0);
	ck_assert_int_eq(ask_as_agent(2, true, q, sizeof(q)), 0);
	for (i = 0; i < 5000; i++) {
		query(q, 40, (uint16_t)i, i % 10 ? 'b' : 's');
		ck_assert_int_eq(ask_as_agent((uint32_t)i % 3, i & 1, q, 40), 0);
	}
	ck_assert_int_eq(tell_ports(&none, 0), 0);
	rss = kit_output("awk '/VmRSS/ {print $2}' /proc/%d/status", relay_pid);
	ck_assert_uint_lt(strtoul(rss, NULL, 10), 512u << 10);
	ck_assert_uint_lt(count_fds(relay_pid), RELAY_QUERIES_MAX + 30);
	/* It still serves. */
	none = 8080;
	ck_assert_int_eq(tell_ports(&none, 1), 0);
	fd = dial_until("127.0.0.1", 8080, true);
	close(fd);
	stop(&stub);
	close(link_fd);
	fd_close(&sup_end);
	reap(&relay_pid);
}
END_TEST

static const struct {
	const char *text;
	bool named;
} confs[] = {
	{ "nameserver 127.0.0.11\noptions ndots:0\n", true },
	{ "# engine\nsearch a.b\nnameserver\t127.0.0.11", true },
	{ "nameserver 10.0.0.1\nnameserver 127.0.0.11 \n", true },
	{ "nameserver 127.0.0.11\r\n", true },
	{ "nameserver 127.0.0.111\n", false },
	{ "nameserver 127.0.0.1\n", false },
	{ "#nameserver 127.0.0.11\n", false },
	{ " nameserver 127.0.0.11\n", false },
	{ "nameserver127.0.0.11\n", false },
	{ "nameservers 127.0.0.11\n", false },
	{ "", false },
};

START_TEST(resolv_conf_names_the_stub)
{
	Podvm__ContainerCreate create = PODVM__CONTAINER_CREATE__INIT;
	Podvm__Mount hosts = PODVM__MOUNT__INIT, m = PODVM__MOUNT__INIT;
	Podvm__Mount *mounts[] = { &hosts, &m };
	struct spec spec = { .create = &create };
	char path[] = "/tmp/relay-unit-XXXXXX", dir[] = "/tmp";
	int fd = mkstemp(path);

	create.mounts = mounts;
	create.n_mounts = 2;
	hosts.destination = (char[]){ "/etc/hosts" };
	m.destination = (char[]){ "/etc/resolv.conf" };
	hosts.source = m.source = path;
	ck_assert_int_eq(write(fd, confs[_i].text, strlen(confs[_i].text)),
			 (int)strlen(confs[_i].text));
	ck_assert_str_eq(spec_resolv_conf(&spec), path);
	ck_assert_int_eq(spec_names_stub(path), confs[_i].named);
	create.n_mounts = 1;
	ck_assert_ptr_null(spec_resolv_conf(&spec));
	unlink(path);
	ck_assert(!spec_names_stub(path));
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert(!spec_names_stub(path));
	unlink(path);
	ck_assert(!spec_names_stub(dir));
	close(fd);
}
END_TEST

Suite *runtime_relay_suite(void)
{
	Suite *s = suite_create("runtime_relay");
	TCase *whole = tcase_create("whole"), *hostile = tcase_create("hostile");
	TCase *other = tcase_create("other");
	const char *missing = kit_net_missing(false);

	if (missing) {
		kit_skip("runtime_relay", missing);
		return s;
	}
	tcase_add_checked_fixture(whole, setup_all, teardown);
	tcase_set_timeout(whole, 60);
	tcase_add_loop_test(whole, reached_as_in_the_guest, 0, ARRAY_LEN(binds));
	tcase_add_test(whole, namespace_is_as_before);
	tcase_add_test(whole, port_of_the_host_stays_its_own);
	tcase_add_test(whole, many_ports);
	tcase_add_loop_test(whole, half_close_both_ways, 0, ARRAY_LEN(families));
	tcase_add_loop_test(whole, reset_is_a_reset, 0, 8);
	tcase_add_test(whole, what_came_before_a_reset_is_delivered);
	tcase_add_loop_test(whole, ten_megabytes_both_ways, 0, ARRAY_LEN(families));
	tcase_add_test(whole, slow_reader_stops_the_writer);
	tcase_add_test(whole, reset_behind_what_waits);
	tcase_add_test(whole, more_than_the_limit);
	tcase_add_test(whole, works_without_privilege);
	tcase_add_test(whole, names_are_resolved);
	tcase_add_test(whole, queries_in_parallel);
	tcase_add_test(whole, flood_of_queries);
	suite_add_tcase(s, whole);
	tcase_add_checked_fixture(hostile, setup_hostile, NULL);
	tcase_set_timeout(hostile, 60);
	tcase_add_loop_test(hostile, agent_that_breaks_the_rules, 0, 6);
	tcase_add_test(hostile, ports_that_are_none);
	tcase_add_test(hostile, lists_are_not_asked_for_again);
	tcase_add_loop_test(hostile, links_that_break_the_rules, 0, ARRAY_LEN(links));
	tcase_add_test(hostile, agent_that_stalls);
	tcase_add_test(hostile, agent_that_floods);
	suite_add_tcase(s, hostile);
	tcase_set_timeout(other, 60);
	tcase_add_test(other, told_by_the_kernel);
	tcase_add_loop_test(other, everything_else_is_fatal, 0, 7);
	tcase_add_loop_test(other, calls_that_fail, 0, ARRAY_LEN(failing));
	tcase_add_loop_test(other, resolv_conf_names_the_stub, 0, ARRAY_LEN(confs));
	suite_add_tcase(s, other);
	return s;
}
