// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The relay's listening sockets: one on 127.0.0.1 or ::1 of the pod's network namespace
 * for each port that has a listener on the guest's. A list of the agent replaces the one
 * before. A port that something of the host has there already is left to it, and tried
 * again with the next list. Addresses need not be there yet (IP_FREEBIND): loopback may
 * come up later.
 *
 * RELAY_PORTS_MAX of each family are listened on, those with the lowest numbers that the
 * agent tells first; each takes a socket and no memory of ours to speak of.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/supervisor/relay.h"

#define BACKLOG 256

/* Callers that one event takes before others get their turn. */
#define TURNS 32

struct port {
	LIST_ENTRY(port) all;
	struct relayd *d;
	uint16_t number;
	bool ipv6;
	int fd; /* owned */
	struct loop_src *src;
};

typedef uint64_t port_set[65536 / 64];

static bool has(const port_set s, unsigned int n)
{
	return s[n / 64] >> n % 64 & 1;
}

static void set(port_set s, unsigned int n)
{
	s[n / 64] |= 1ull << n % 64;
}

static void port_free(struct port *p)
{
	LIST_REMOVE(p, all);
	p->d->have[p->ipv6][p->number / 64] &= ~(1ull << p->number % 64);
	loop_del(p->src);
	fd_close(&p->fd);
	free(p);
}

static void on_call(void *arg, uint32_t events)
{
	struct port *p = arg;
	struct relayd *d = p->d;
	struct err e = { 0 };
	int i, fd;

	(void)events;
	for (i = 0; i < TURNS && d->n_callers < RELAYD_CALLERS_MAX; i++) {
		fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			break;
		if (caller_new(d, fd, p->number, p->ipv6, &e) < 0)
			relayd_log(d, "port %u: %s", p->number, e.text);
	}
	if (d->n_callers >= RELAYD_CALLERS_MAX)
		ports_pause(d, true);
}

/**
 * ports_pause() - take no callers for the time; they wait in the kernel
 */
void ports_pause(struct relayd *d, bool pause)
{
	struct port *p;

	if (d->paused == pause)
		return;
	d->paused = pause;
	if (pause)
		relayd_log(d, "%d connections at a time: further ones wait", RELAYD_CALLERS_MAX);
	LIST_FOREACH(p, &d->ports, all)
	loop_mod(p->src, pause ? 0 : EPOLLIN);
}

static int listen_on(bool ipv6, uint16_t number, int *ret_fd, struct err *e)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				  .sin6_port = htons(number),
				  .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				 .sin_port = htons(number),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd =
		socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, rc;

	if (fd < 0)
		return err_sys(e, "socket");
	/* What is left of connections of an earlier listener is in nobody's way. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ipv6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
		rc = bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
		rc = bind(fd, (struct sockaddr *)&v4, sizeof(v4));
	}
	if (rc < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, "bind");
	*ret_fd = fd_steal(&fd);
	return 0;
}

static int port_new(struct relayd *d, bool ipv6, uint16_t number, struct err *e)
{
	struct port *p = mem_new(struct port);
	int rc;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	*p = (struct port){ .d = d, .number = number, .ipv6 = ipv6, .fd = -1 };
	rc = listen_on(ipv6, number, &p->fd, e);
	if (rc >= 0)
		rc = loop_add(d->loop, p->fd, d->paused ? 0 : EPOLLIN, on_call, p, &p->src, e);
	if (rc < 0) {
		fd_close(&p->fd);
		free(p);
		return rc;
	}
	LIST_INSERT_HEAD(&d->ports, p, all);
	set(d->have[ipv6], number);
	return 0;
}

static void open_new(struct relayd *d, bool ipv6, const uint32_t *list, size_t n)
{
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < n; i++) {
		int rc = 0;

		if (list[i] && list[i] <= UINT16_MAX && !has(d->have[ipv6], list[i]))
			rc = port_new(d, ipv6, (uint16_t)list[i], &e);
		if (rc < 0)
			relayd_log(d, "%s port %u of the guest cannot be reached: %s",
				   ipv6 ? "IPv6" : "IPv4", list[i],
				   rc == -EADDRINUSE ? "something of the host has it in the pod's "
						       "network namespace"
						     : e.text);
	}
}

/**
 * ports_apply() - listen on these ports, and on no others
 * @m: guest data
 */
void ports_apply(struct relayd *d, const Podvm__Relay *m)
{
	const uint32_t *list[2] = { m->ipv4, m->ipv6 };
	size_t n[2] = { m->n_ipv4, m->n_ipv6 }, i;
	struct port *p, *next;
	port_set want[2];
	int f;

	memset(want, 0, sizeof(want));
	for (f = 0; f < 2; f++) {
		if (n[f] > RELAY_PORTS_MAX)
			n[f] = RELAY_PORTS_MAX;
		for (i = 0; i < n[f]; i++)
			if (list[f][i] <= UINT16_MAX)
				set(want[f], list[f][i]);
	}
	for (p = LIST_FIRST(&d->ports); p; p = next) {
		next = LIST_NEXT(p, all);
		if (!has(want[p->ipv6], p->number))
			port_free(p);
	}
	open_new(d, false, m->ipv4, n[0]);
	open_new(d, true, m->ipv6, n[1]);
}

/**
 * ports_done() - listen on none
 */
void ports_done(struct relayd *d)
{
	while (!LIST_EMPTY(&d->ports))
		port_free(LIST_FIRST(&d->ports));
}
