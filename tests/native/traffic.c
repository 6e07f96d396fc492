// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Both sides of connections between two network namespaces, in one process: a socket
 * belongs to the namespace in which it was made, so no program has to be started on
 * the other side, and nobody waits for one to be ready.
 *
 *   native-traffic [OPTION]... FROM TO ADDRESS
 *
 * FROM calls ADDRESS, and TO answers: a TCP connection on which both send at once, of
 * which each compares a hash of what it got with that of what was sent; datagrams
 * that fit into a frame, and ones that do not, which come back as they are. With
 * --path-mtu the caller must find out that larger packets do not get through: by the
 * route that it has, or by the first one that a router refuses.
 *
 * "-" for FROM is the caller's own namespace. Where the other side is another kernel's, TO
 * is "-", and there a second process serves: native-traffic --serve. What it gets by TCP it
 * sends back (traffic-serve.c), so that one hash is of both ways.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/proc.h"
#include "tests/native/traffic.h"

/* The first packets of a path wait for neighbours to be resolved, at most so long. */
#define ANSWER_MS 10000
#define TRIES 4

/* FROM: the caller's namespace; TO: somebody serves there. */
#define HERE "-"

/* A datagram in one frame, and one of many fragments. */
#define SMALL_BYTES 1000
#define LARGE_BYTES 9000

struct options {
	const char *from, *to, *address, *source;
	uint64_t port, dial, bytes, path_mtu;
	bool no_udp, no_tcp, refused, serve, help;
};

/**
 * struct side - one end of a TCP connection
 * @seed: of the bytes that it sends
 * @sum:  of what it got, FNV-1a
 */
struct side {
	int fd;
	uint32_t seed;
	uint64_t sent, got, sum;
	bool shut;
};

static uint64_t fnv(uint64_t sum, const uint8_t *p, size_t n)
{
	while (n--)
		sum = (sum ^ *p++) * 0x100000001b3ull;
	return sum;
}

/* Bytes [@at, @at + @n) of a stream. */
static void fill(uint8_t *p, size_t n, uint32_t seed, uint64_t at)
{
	for (; n--; at++)
		*p++ = (uint8_t)((at * 2654435761u + seed) >> 13 ^ at >> 7);
}

static uint64_t sum_of(uint32_t seed, uint64_t bytes)
{
	uint8_t buf[4096];
	uint64_t at, sum = 0;

	for (at = 0; at < bytes; at += sizeof(buf)) {
		size_t n = bytes - at < sizeof(buf) ? (size_t)(bytes - at) : sizeof(buf);

		fill(buf, n, seed, at);
		sum = fnv(sum, buf, n);
	}
	return sum;
}

static int new_socket(const char *netns, int family, int type, struct err *e)
{
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		return err_sys(e, "socket in %s", netns);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd;
}

/* A socket of another namespace. */
static int socket_in(const char *netns, int family, int type, struct err *e)
{
	_cleanup_close_ int back = -1, there = -1;
	int fd;

	if (!strcmp(netns, HERE))
		return new_socket(netns, family, type, e);
	back = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	there = open(netns, O_RDONLY | O_CLOEXEC);
	if (back < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
		return err_sys(e, "namespace %s", netns);
	fd = new_socket(netns, family, type, e);
	if (setns(back, CLONE_NEWNET) < 0)
		abort();
	return fd;
}

static int address(const char *text, uint64_t port, struct sockaddr_in6 *ret, struct err *e)
{
	struct sockaddr_in *v4 = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		v4->sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &ret->sin6_addr) == 1)
		ret->sin6_family = AF_INET6;
	else
		return err_set(e, EINVAL, "%s: no address", text);
	/* The port is at the same place in both. */
	ret->sin6_port = htons((uint16_t)port);
	return 0;
}

static socklen_t address_len(const struct sockaddr_in6 *a)
{
	return a->sin6_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*a);
}

/*
 * A socket in TO that takes what comes to the port: of datagrams at the address, so that
 * answers leave by it, of connections at any, which may be called by another one.
 */
static int server(const struct options *o, const struct sockaddr_in6 *to, int type, struct err *e)
{
	struct sockaddr_in6 any = {.sin6_family = to->sin6_family};
	_cleanup_close_ int fd = socket_in(o->to, to->sin6_family, type, e);

	if (fd < 0)
		return fd;
	if (type == SOCK_DGRAM)
		any = *to;
	any.sin6_port = htons((uint16_t)o->port);
	if (bind(fd, (void *)&any, address_len(&any)) < 0)
		return err_sys(e, "bind in %s", o->to);
	if (type == SOCK_STREAM && listen(fd, 1) < 0)
		return err_sys(e, "listen in %s", o->to);
	return fd_steal(&fd);
}

static int wait_for(int fd, short events, int ms, struct err *e, const char *what)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, ms);

	if (n < 0)
		return err_sys(e, "poll");
	return n ? 0 : err_set(e, ETIMEDOUT, "%s: nothing for %d ms", what, ms);
}

/* A call from FROM. Return: descriptor, or minus errno */
static int client(const struct options *o, const struct sockaddr_in6 *to, int type, struct err *e)
{
	_cleanup_close_ int fd = socket_in(o->from, to->sin6_family, type, e);
	socklen_t len = sizeof(int);
	struct sockaddr_in6 me;
	int code = 0, rc;

	if (fd < 0)
		return fd;
	if (o->source) {
		rc = address(o->source, 0, &me, e);
		if (rc < 0)
			return rc;
		if (bind(fd, (void *)&me, address_len(&me)) < 0)
			return err_sys(e, "bind to %s", o->source);
	}
	if (connect(fd, (const void *)to, address_len(to)) < 0 && errno != EINPROGRESS)
		return err_sys(e, "connect to %s", o->address);
	if (type != SOCK_STREAM)
		return fd_steal(&fd);
	rc = wait_for(fd, POLLOUT, ANSWER_MS, e, "connect");
	if (rc < 0)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 || code)
		return err_set(e, code ? code : EIO, "connect to %s: %s", o->address,
			       strerror(code ? code : EIO));
	return fd_steal(&fd);
}

static int send_some(struct side *s, uint64_t bytes, struct err *e)
{
	uint8_t buf[16384];
	size_t n = bytes - s->sent < sizeof(buf) ? (size_t)(bytes - s->sent) : sizeof(buf);
	ssize_t k;

	fill(buf, n, s->seed, s->sent);
	k = send(s->fd, buf, n, MSG_NOSIGNAL);
	if (k < 0)
		return errno == EAGAIN ? 0 : err_sys(e, "send");
	s->sent += (uint64_t)k;
	if (s->sent == bytes)
		s->shut = !shutdown(s->fd, SHUT_WR);
	return 0;
}

/* Return: 1 at the end of what the other side sends */
static int take_some(struct side *s, struct err *e)
{
	uint8_t buf[16384];
	ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

	if (n < 0)
		return errno == EAGAIN ? 0 : err_sys(e, "receive");
	s->sum = fnv(s->sum, buf, (size_t)n);
	s->got += (uint64_t)n;
	return !n;
}

/* All @n, one or two, send and receive until they have all. */
static int exchange(struct side s[2], int n, uint64_t bytes, struct err *e)
{
	bool end[2] = {false, n == 1};
	int i, rc = 0;

	while (rc >= 0 && (!end[0] || !end[1])) {
		struct pollfd p[2];

		for (i = 0; i < n; i++)
			p[i] = (struct pollfd){.fd = s[i].fd,
					       .events = (short)((end[i] ? 0 : POLLIN) |
								 (s[i].shut ? 0 : POLLOUT))};
		rc = poll(p, (nfds_t)n, ANSWER_MS);
		if (rc <= 0)
			return err_set(e, ETIMEDOUT, "TCP: stuck after %llu bytes to it, %llu back",
				       (unsigned long long)(n > 1 ? s[1].got : s[0].sent),
				       (unsigned long long)s[0].got);
		for (i = 0; i < n && rc >= 0; i++) {
			if (p[i].revents & (POLLIN | POLLERR) && !end[i]) {
				rc = take_some(&s[i], e);
				end[i] = rc == 1;
			}
			if (rc >= 0 && p[i].revents & POLLOUT && !s[i].shut)
				rc = send_some(&s[i], bytes, e);
		}
	}
	return rc < 0 ? rc : 0;
}

/* Whether @s got what @from sent. */
static int compare(const struct side *s, const struct side *from, uint64_t bytes, struct err *e)
{
	if (s->got == bytes && s->sum == sum_of(from->seed, bytes))
		return 0;
	return err_set(e, EBADMSG, "TCP: %llu of %llu bytes arrived, hash %s",
		       (unsigned long long)s->got, (unsigned long long)bytes,
		       s->got == bytes ? "differs" : "of fewer");
}

/* With who serves elsewhere. */
static int tcp_echo(const struct options *o, const struct sockaddr_in6 *to, struct err *e)
{
	_cleanup_close_ int caller = client(o, to, SOCK_STREAM, e);
	struct side s[2] = {{.seed = 0x1234567, .fd = caller}};
	int rc = caller < 0 ? caller : exchange(s, 1, o->bytes, e);

	return rc < 0 ? rc : compare(s, s, o->bytes, e);
}

static int tcp(const struct options *o, struct err *e)
{
	_cleanup_close_ int listener = -1, caller = -1, answerer = -1;
	struct sockaddr_in6 to;
	struct side s[2] = {{.seed = 0x1234567}, {.seed = 0x7654321}};
	int rc = address(o->address, o->dial, &to, e);

	if (!rc && !strcmp(o->to, HERE))
		return tcp_echo(o, &to, e);
	if (!rc)
		rc = listener = server(o, &to, SOCK_STREAM, e);
	if (rc >= 0)
		rc = caller = client(o, &to, SOCK_STREAM, e);
	if (rc >= 0)
		rc = wait_for(listener, POLLIN, ANSWER_MS, e, "accept");
	if (rc < 0)
		return rc;
	answerer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (answerer < 0)
		return err_sys(e, "accept");
	s[0].fd = caller;
	s[1].fd = answerer;
	rc = exchange(s, 2, o->bytes, e);
	if (!rc)
		rc = compare(&s[0], &s[1], o->bytes, e);
	return rc ? rc : compare(&s[1], &s[0], o->bytes, e);
}

/* The side that answers: takes a datagram and sends it back. */
static int bounce(int answerer, const uint8_t *data, size_t size, uint8_t *buf, struct err *e)
{
	struct sockaddr_in6 who;
	socklen_t len = sizeof(who);
	int rc = wait_for(answerer, POLLIN, ANSWER_MS / TRIES, e, "datagram");

	if (rc < 0)
		return rc;
	if (recvfrom(answerer, buf, size + 1, 0, (void *)&who, &len) != (ssize_t)size ||
	    memcmp(buf, data, size))
		return err_set(e, EBADMSG, "datagram of %zu bytes: it changed on its way", size);
	if (sendto(answerer, buf, size, 0, (void *)&who, len) != (ssize_t)size)
		return err_sys(e, "send %zu bytes back", size);
	return 0;
}

/* Sends one datagram there and back. @answerer: -1: somebody else's */
static int echo(int caller, int answerer, const uint8_t *data, size_t size, struct err *e)
{
	_cleanup_free_ uint8_t *buf = malloc(size + 1);
	int rc = 0;

	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	if (send(caller, data, size, 0) != (ssize_t)size)
		return err_sys(e, "send of %zu bytes", size);
	if (answerer >= 0)
		rc = bounce(answerer, data, size, buf, e);
	if (!rc)
		rc = wait_for(caller, POLLIN, ANSWER_MS / TRIES, e, "datagram back");
	if (rc < 0)
		return rc;
	if (recv(caller, buf, size + 1, 0) != (ssize_t)size || memcmp(buf, data, size))
		return err_set(e, EBADMSG, "datagram of %zu bytes: it changed on its way back",
			       size);
	return 0;
}

static int udp(const struct options *o, size_t size, struct err *e)
{
	_cleanup_close_ int caller = -1, answerer = -1;
	_cleanup_free_ uint8_t *data = malloc(size);
	struct sockaddr_in6 to;
	int rc = address(o->address, o->dial, &to, e), i;

	if (!data)
		return err_set(e, ENOMEM, "out of memory");
	if (!rc && strcmp(o->to, HERE) != 0)
		rc = answerer = server(o, &to, SOCK_DGRAM, e);
	if (rc >= 0)
		rc = caller = client(o, &to, SOCK_DGRAM, e);
	for (i = 0; i < TRIES && (!i || rc == -ETIMEDOUT); i++) {
		fill(data, size, 7 + (uint32_t)i, size);
		if (rc >= 0 || i)
			rc = echo(caller, answerer, data, size, e);
	}
	return rc < 0 ? err_wrap(e, "UDP, %zu bytes", size) : 0;
}

static int path_mtu(int fd, int family)
{
	socklen_t len = sizeof(int);
	int mtu = 0;

	if (getsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
		       family == AF_INET ? IP_MTU : IPV6_MTU, &mtu, &len) < 0)
		return -errno;
	return mtu;
}

/* Sends what does not fit until it is refused here, as it then is by the path's MTU. */
static int discover(const struct options *o, struct err *e)
{
	const char big[2000] = {0};
	_cleanup_close_ int fd = -1;
	struct sockaddr_in6 to;
	int rc = address(o->address, o->dial, &to, e), i, mtu, always;
	bool v4;
	size_t head;

	if (!rc)
		rc = fd = client(o, &to, SOCK_DGRAM, e);
	if (rc < 0)
		return rc;
	v4 = to.sin6_family == AF_INET;
	head = v4 ? 28 : 48;
	always = v4 ? IP_PMTUDISC_DO : IPV6_PMTUDISC_DO;
	if (setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
		       &always, sizeof(always)) < 0)
		return err_sys(e, "MTU discovery");
	for (i = 0; i < 50; i++) {
		mtu = path_mtu(fd, to.sin6_family);
		if (mtu == (int)o->path_mtu)
			return 0;
		/* The refusal comes as an error of the socket, at the next send. */
		if (mtu > (int)o->path_mtu && (size_t)mtu - head <= sizeof(big))
			send(fd, big, (size_t)mtu - head, 0);
		poll(NULL, 0, i < 10 ? 5 : 50);
	}
	return err_set(e, EMSGSIZE, "the path's MTU is %d here, not %llu", mtu,
		       (unsigned long long)o->path_mtu);
}

static int all(const struct options *o, struct err *e)
{
	int rc = 0;

	if (o->path_mtu)
		rc = discover(o, e);
	if (!rc && !o->no_tcp)
		rc = tcp(o, e);
	if (o->refused)
		return rc == -ECONNREFUSED || rc == -EHOSTUNREACH || rc == -ENETUNREACH ||
				       rc == -EACCES
			       ? 0
			       : err_set(e, EIO, "%s answers", o->address);
	if (!rc && !o->no_udp)
		rc = udp(o, SMALL_BYTES, e);
	if (!rc && !o->no_udp)
		rc = udp(o, LARGE_BYTES, e);
	return rc;
}

int main(int argc, char **argv)
{
	struct options o = {.port = 7777, .bytes = 500000};
	const struct opt table[] = {
		OPT_U64(0, "port", &o.port, "PORT", "that TO listens on (7777)"),
		OPT_STR(0, "source", &o.source, "ADDRESS", "that FROM calls from"),
		OPT_U64(0, "dial", &o.dial, "PORT", "that FROM calls, if it is another one"),
		OPT_U64(0, "bytes", &o.bytes, "N", "each way of a TCP connection"),
		OPT_U64(0, "path-mtu", &o.path_mtu, "N", "that FROM must come to know"),
		OPT_FLAG(0, "no-tcp", &o.no_tcp, "no TCP"),
		OPT_FLAG(0, "no-udp", &o.no_udp, "no UDP"),
		OPT_FLAG(0, "refused", &o.refused, "the connection must be refused"),
		OPT_FLAG(0, "serve", &o.serve, "answer in this namespace, until killed"),
		OPT_FLAG('h', "help", &o.help, "this text"),
		OPT_END};
	struct err e = {0};
	int first, rc = opt_parse(table, argc, argv, &first, &e);

	if (o.help) {
		puts("usage: native-traffic [OPTION]... FROM TO ADDRESS\n"
		     "       native-traffic --serve [--port PORT]");
		opt_help(stdout, table);
		return 0;
	}
	if (!rc && o.serve)
		rc = traffic_serve((uint16_t)o.port, &e);
	if (!rc && argc - first != 3)
		rc = err_set(&e, EINVAL, "FROM, TO and ADDRESS are needed");
	if (!rc) {
		o.from = argv[first];
		o.to = argv[first + 1];
		o.address = argv[first + 2];
		o.dial = o.dial ? o.dial : o.port;
		rc = all(&o, &e);
	}
	if (rc < 0)
		fprintf(stderr, "native-traffic: %s to %s: %s\n", o.from ? o.from : "",
			o.address ? o.address : "", e.text);
	return rc < 0;
}
