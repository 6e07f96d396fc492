// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of the relay: what the guest's agent, the supervisor, callers of ports and the
 * engine's DNS stub can do to it, in any order. The relay runs on this thread, in a
 * network namespace of its own; all connections to the agent are pairs of sockets whose
 * other ends are here. An input begins with
 *
 *	2 bytes  which call of CALLS fails; 0: none
 *
 * and goes on with steps, after each of which the relay takes what there is. Time passes
 * only in steps.
 *
 * A find is a crash, a leak, a descriptor that is left, a bound that does not hold, an end
 * without a reason.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/relay.h"
#include "tests/fuzz/drive.h"
#include "tests/fuzz/fails.h"

#define STEPS_MAX 64
#define LINKS_MAX 64
#define CALLERS_MAX 32

/* Ports of the guest that steps speak of: these, and the stub's of the namespace. */
#define FIRST_PORT 8000
#define PORTS 8

static struct relayd *relay;
static int sup = -1, stub_udp = -1, stub_tcp = -1;
static int link_of[LINKS_MAX], caller[CALLERS_MAX];
static size_t n_links, n_callers;
static uint64_t now_ms;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_relay: %s\n", what);
	abort();
}

/* ---- calls that fail ------------------------------------------------------------------ */

#define CALLS(X) \
	X(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL) \
	X(void *, malloc, (size_t n), (n), ENOMEM, NULL) \
	X(void *, realloc, (void *p, size_t n), (p, n), ENOMEM, NULL) \
	X(int, socket, (int f, int t, int p), (f, t, p), EMFILE, -1) \
	X(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), EACCES, -1) \
	X(int, listen, (int fd, int n), (fd, n), EADDRINUSE, -1) \
	X(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int f), (fd, a, n, f), EMFILE, -1) \
	X(int, epoll_ctl, (int ep, int op, int fd, struct epoll_event *ev), (ep, op, fd, ev), ENOSPC, -1) \
	X(int, timerfd_settime, (int fd, int f, const struct itimerspec *a, struct itimerspec *b), \
	  (fd, f, a, b), EINVAL, -1) \
	X(ssize_t, send, (int fd, const void *p, size_t n, int f), (fd, p, n, f), ENOBUFS, -1) \
	X(ssize_t, recv, (int fd, void *p, size_t n, int f), (fd, p, n, f), ENOMEM, -1) \
	X(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f), ENOBUFS, -1)

CALLS(WRAP)

uint64_t __wrap_clock_ms(void);
uint64_t __wrap_clock_ms(void)
{
	return now_ms;
}

/* ---- the world around ------------------------------------------------------------------ */

static void lo_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = __real_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	check(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &r), "lo");
	close(fd);
}

static int open_stub(int type)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(RELAY_DNS_PORT) };
	int fd = __real_socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET, RELAY_DNS_IP, &sa.sin_addr);
	check(fd >= 0 && !__real_bind(fd, (struct sockaddr *)&sa, sizeof(sa)) &&
	      (type == SOCK_DGRAM || !__real_listen(fd, 16)), "stub");
	return fd;
}

static void begin(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_open(-1, LOG_LEVEL_ERROR, false);
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		fprintf(stderr, "fuzz_relay: a network namespace of its own is needed\n");
		exit(1);
	}
	lo_up();
	stub_udp = open_stub(SOCK_DGRAM);
	stub_tcp = open_stub(SOCK_STREAM);
}

/* Answers the relay's wishes for a connection to the agent, the last one by an error. */
static void give_links(bool refuse)
{
	struct relayd_msg m = { 0 };
	int s[2];

	while (__real_recv(sup, &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
		struct err e;

		if (m.what != RELAYD_LINK)
			continue;
		m.error = 0;
		if (refuse || n_links == LINKS_MAX ||
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0) {
			m.error = ECONNREFUSED;
			fd_send(sup, &m, sizeof(m), NULL, 0, &e);
			continue;
		}
		fd_send(sup, &m, sizeof(m), &s[1], 1, &e);
		close(s[1]);
		link_of[n_links++] = s[0];
	}
}

/* Reads what is there, so that nothing waits for us. */
static void drain(int fd)
{
	char buf[4096];

	while (fd >= 0 && __real_recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void settle(void)
{
	struct err e;
	int i;

	for (i = 0; i < 12 && !relay->done && !relay->failed; i++)
		if (loop_step(relay->loop, 0, &e) < 0)
			relayd_fail(relay, -EIO, &e);
	check(relay->n_opening <= RELAYD_OPENING_MAX, "too many are opening");
	check(relay->n_callers <= RELAYD_CALLERS_MAX, "too many callers");
	check(relay->out_len <= RELAYD_OUT_BYTES, "too much waits");
	check(relay->lines <= RELAYD_LINES_MAX, "too many lines");
	check(!relay->failed || relay->why.text[0], "an end without a reason");
}

/* ---- steps ----------------------------------------------------------------------------- */

static void put(int fd, const void *data, size_t len)
{
	if (fd >= 0 && __real_send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static void put_response(int fd, const Podvm__Response *rs)
{
	uint8_t buf[16384];
	size_t len = podvm__response__get_packed_size(rs);

	check(len + 4 <= sizeof(buf), "a response that is too long");
	buf[0] = (uint8_t)len;
	buf[1] = (uint8_t)(len >> 8);
	buf[2] = buf[3] = 0;
	podvm__response__pack(rs, buf + 4);
	put(fd, buf, len + 4);
}

/* The link that a step speaks of: mostly the first one, which is the control's. */
static int *some_link(struct fuzz *f)
{
	static int none = -1;
	size_t i = (size_t)fuzz_take(f, 1);

	return n_links ? &link_of[i % n_links] : &none;
}

static void tell_ports(struct fuzz *f)
{
	Podvm__Relay m = PODVM__RELAY__INIT;
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	uint32_t v4[PORTS], v6[PORTS];
	uint16_t which = (uint16_t)fuzz_take(f, 2);
	int i;

	for (i = 0; i < PORTS; i++) {
		if (which >> i & 1)
			v4[m.n_ipv4++] = FIRST_PORT + (uint32_t)i;
		if (which >> (i + PORTS) & 1)
			v6[m.n_ipv6++] = FIRST_PORT + (uint32_t)i;
	}
	if (fuzz_odd(f))
		v4[0] = (uint32_t)fuzz_take(f, 4);
	m.ipv4 = v4;
	m.ipv6 = v6;
	rs.relay = &m;
	rs.body_case = PODVM__RESPONSE__BODY_RELAY;
	put_response(n_links ? link_of[0] : -1, &rs);
}

static void ask_stub(struct fuzz *f)
{
	static uint8_t data[RELAY_QUERY_BYTES + 64];
	Podvm__DnsMessage q = PODVM__DNS_MESSAGE__INIT;
	Podvm__Relay m = PODVM__RELAY__INIT;
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	uint8_t how = (uint8_t)fuzz_take(f, 1);

	q.id = how;
	q.tcp = how & 1;
	q.data.data = data;
	q.data.len = how & 2 ? (size_t)fuzz_take(f, 2) % sizeof(data) : 12u + how;
	m.query = &q;
	rs.relay = &m;
	rs.body_case = PODVM__RESPONSE__BODY_RELAY;
	put_response(n_links ? link_of[0] : -1, &rs);
}

/* What the engine's stub does with what it is asked. */
static void answer_stub(struct fuzz *f)
{
	uint8_t buf[4096];
	struct sockaddr_in who;
	socklen_t len = sizeof(who);
	ssize_t n = recvfrom(stub_udp, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&who, &len);
	size_t out = fuzz_take_bytes(f, buf, (size_t)fuzz_take(f, 1));
	int fd;

	if (n >= 0)
		sendto(stub_udp, buf, out, MSG_DONTWAIT, (struct sockaddr *)&who, len);
	fd = __real_accept4(stub_tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	put(fd, buf, out);
	fd_close(&fd);
}

/* One of the agent's plain answers, or an error of it. */
static void answer(struct fuzz *f)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	char text[] = "no";
	int *l = some_link(f);

	rs.error = (int32_t)fuzz_take(f, 1) - 128;
	rs.error = rs.error < 0 ? 0 : rs.error;
	rs.text = rs.error ? text : rs.text;
	put_response(*l, &rs);
}

static void raw(struct fuzz *f, int fd)
{
	uint8_t buf[512];
	size_t n = fuzz_take_bytes(f, buf, (size_t)fuzz_take(f, 2) % sizeof(buf));

	put(fd, buf, n);
}

/* Bytes behind the right length of a message. */
static void framed(struct fuzz *f, int fd)
{
	uint8_t buf[260];
	size_t n = fuzz_take_bytes(f, buf + 4, (size_t)fuzz_take(f, 1));

	memset(buf, 0, 4);
	buf[0] = (uint8_t)n;
	put(fd, buf, n + 4);
}

static void call_port(struct fuzz *f)
{
	uint8_t how = (uint8_t)fuzz_take(f, 1);
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct linger hard = { .l_onoff = 1 };
	int fd = __real_socket(how & 1 ? AF_INET6 : AF_INET,
			       SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	v4.sin_port = v6.sin6_port = htons((uint16_t)(FIRST_PORT + (how >> 1) % PORTS));
	if (n_callers == CALLERS_MAX || fd < 0 ||
	    (connect(fd, how & 1 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
		     how & 1 ? sizeof(v6) : sizeof(v4)) < 0 && errno != EINPROGRESS)) {
		fd_close(&fd);
		return;
	}
	/* Nothing of it stays in the kernel for the next input. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	caller[n_callers++] = fd;
}

static int *some_caller(struct fuzz *f)
{
	static int none = -1;
	size_t i = (size_t)fuzz_take(f, 1);

	return n_callers ? &caller[i % n_callers] : &none;
}

static void end_one(struct fuzz *f, int *fd)
{
	if (fuzz_odd(f) && *fd >= 0)
		shutdown(*fd, SHUT_WR);
	else
		fd_close(fd);
}

static void pass_time(struct fuzz *f)
{
	now_ms += fuzz_take(f, 2);
	callers_expire(relay, now_ms);
	stub_expire(relay, now_ms);
}

static void tell(uint32_t what)
{
	struct relayd_msg m = { .what = what };
	struct err e;

	fd_send(sup, &m, sizeof(m), NULL, 0, &e);
}

static void step(struct fuzz *f)
{
	uint8_t what = (uint8_t)fuzz_take(f, 1) % 16;

	switch (what) {
	case 0: tell_ports(f); break;
	case 1: ask_stub(f); break;
	case 2: answer_stub(f); break;
	case 3: answer(f); break;
	case 4: raw(f, *some_link(f)); break;
	case 5: framed(f, *some_link(f)); break;
	case 6: call_port(f); break;
	case 7: raw(f, *some_caller(f)); break;
	case 8: end_one(f, some_caller(f)); break;
	case 9: end_one(f, some_link(f)); break;
	case 10: pass_time(f); break;
	case 11: tell(RELAYD_DNS); break;
	case 12: raw(f, sup); break;
	case 13: give_links(true); break;
	case 14: drain(*some_link(f)); break;
	default: drain(*some_caller(f));
	}
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;
	int fd;

	for (fd = 0; fd < 512; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void live(struct fuzz *f)
{
	int i;

	control_start(relay);
	give_links(false);
	settle();
	for (i = 0; i < STEPS_MAX && f->len && !relay->done && !relay->failed; i++) {
		step(f);
		settle();
		give_links(false);
		settle();
	}
}

/**
 * LLVMFuzzerTestOneInput() - a life of a relay
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, size };
	unsigned int failing = (unsigned int)fuzz_take(&f, 2), fds;
	struct err e = { 0 };
	int s[2], rc;

	if (stub_udp < 0)
		begin();
	fds = count_fds();
	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), "socketpair");
	sup = s[0];
	calls_left = failing;
	rc = relayd_new(s[1], &relay, &e);
	check(rc >= 0 || e.text[0], "an error without text");
	if (rc < 0)
		close(s[1]);
	else
		live(&f);
	calls_left = 0;
	if (rc >= 0)
		relayd_free(relay);
	fd_close(&sup);
	while (n_links)
		fd_close(&link_of[--n_links]);
	while (n_callers)
		fd_close(&caller[--n_callers]);
	while ((rc = __real_accept4(stub_tcp, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(rc);
	drain(stub_udp);
	check(count_fds() == fds, "descriptors are left");
	return 0;
}
