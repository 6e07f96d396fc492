// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The side that answers native-traffic where it cannot be in the same process: it sends
 * back what it gets, connections by a process each, and datagrams from the address that
 * they came to, of which a pod may have several.
 */
#include "tests/native/traffic.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"

/* A datagram of many fragments, and its address. */
#define DATAGRAM_BYTES 65536
#define CONTROL_BYTES 256

static int open_server(int family, int type, uint16_t port, struct err *e)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	_cleanup_close_ int fd = socket(family, type | SOCK_CLOEXEC, 0);
	int one = 1, rc;

	if (fd < 0)
		return err_sys(e, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
		rc = bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		rc = bind(fd, (struct sockaddr *)&v4, sizeof(v4));
	}
	if (rc < 0 || (type == SOCK_STREAM && listen(fd, 8) < 0))
		return err_sys(e, "port %u", port);
	return fd_steal(&fd);
}

/* In a process of its own, to the end of the connection. Does not return. */
static void send_back_all(int fd)
{
	static char buf[65536];
	ssize_t n, k, done;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		for (done = 0; done < n; done += k) {
			k = send(fd, buf + done, (size_t)(n - done), MSG_NOSIGNAL);
			if (k <= 0)
				_exit(1);
		}
	_exit(n < 0);
}

static void take_call(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && !fork())
		send_back_all(fd);
	if (fd >= 0)
		close(fd);
}

/* What it came with says which address and interface it leaves by. */
static void send_back(int fd)
{
	static char buf[DATAGRAM_BYTES];
	union {
		char room[CONTROL_BYTES];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct sockaddr_in6 who;
	struct msghdr m = {.msg_name = &who, .msg_namelen = sizeof(who), .msg_iov = &iov,
			   .msg_iovlen = 1, .msg_control = control.room,
			   .msg_controllen = sizeof(control.room)};
	ssize_t n = recvmsg(fd, &m, 0);

	if (n < 0)
		return;
	iov.iov_len = (size_t)n;
	m.msg_flags = 0;
	sendmsg(fd, &m, 0);
}

/**
 * traffic_serve() - answer, in the caller's network namespace
 *
 * Return: minus errno; not while all goes well
 */
int traffic_serve(uint16_t port, struct err *e)
{
	static const struct {
		int family, type;
	} kinds[] = {{AF_INET, SOCK_STREAM}, {AF_INET6, SOCK_STREAM}, {AF_INET, SOCK_DGRAM},
		     {AF_INET6, SOCK_DGRAM}};
	struct pollfd p[4];
	int i;

	signal(SIGCHLD, SIG_IGN);
	for (i = 0; i < 4; i++) {
		p[i] = (struct pollfd){.events = POLLIN};
		p[i].fd = open_server(kinds[i].family, kinds[i].type, port, e);
		if (p[i].fd < 0)
			return p[i].fd;
	}
	for (;;) {
		if (poll(p, 4, -1) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		for (i = 0; i < 4; i++)
			if (p[i].revents && i < 2)
				take_call(p[i].fd);
			else if (p[i].revents)
				send_back(p[i].fd);
	}
}
