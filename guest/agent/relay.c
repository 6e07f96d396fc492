// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The guest's end of the host's relay. One connection of the host is its own: there the
 * agent tells which ports of localhost have a listener (ports.c), and what programs ask
 * the engine's DNS stub (dns.c). For each caller on the host there is one more, which
 * names a port: the agent connects to it on localhost, answers how that went, and
 * carries the bytes (lib/pump.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/pump.h"

/**
 * struct relay - the host's relay
 * @control: its own connection, borrowed
 * @dns:     owned; NULL: not wanted yet
 */
struct relay {
	struct conn *control;
	struct ports_watch *watch; /* owned */
	struct dns *dns;
};

/**
 * struct opening - a connection to localhost that is being made
 * @conn: that waits for it, busy; borrowed
 * @fd:   owned
 */
struct opening {
	struct opening *next;
	struct conn *conn;
	int fd;
	struct loop_src *src;
};

static size_t list(const struct ports *p, int family6, uint32_t *to)
{
	unsigned int port;
	size_t n = 0;

	for (port = 1; port < 65536 && n < RELAY_PORTS_MAX; port++)
		if (ports_has(p, family6, port))
			to[n++] = port;
	return n;
}

static void tell(void *arg, const struct ports *now)
{
	uint32_t v4[RELAY_PORTS_MAX], v6[RELAY_PORTS_MAX];
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Relay m = PODVM__RELAY__INIT;
	struct relay *relay = arg;

	m.ipv4 = v4;
	m.ipv6 = v6;
	m.n_ipv4 = list(now, 0, v4);
	m.n_ipv6 = list(now, 1, v6);
	r.body_case = PODVM__RESPONSE__BODY_RELAY;
	r.relay = &m;
	conn_send(relay->control, &r);
}

static int begin(struct agent *a, struct conn *c, struct err *e)
{
	struct relay *r = mem_new(struct relay);
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->control = c;
	rc = ports_watch_new(a, tell, r, &r->watch, e);
	if (rc < 0) {
		free(r);
		return rc;
	}
	a->relay = r;
	return 0;
}

/**
 * relay_watch() - a request of the host's relay on its own connection
 * @c: busy; answered here
 *
 * Another connection that was the relay's is so no more.
 *
 * Return: 0 or minus errno
 */
int relay_watch(struct conn *c, const Podvm__RelayWatch *m, struct err *e)
{
	struct agent *a = c->agent;
	int rc = 0;

	if (c->main || c->owner)
		return err_set(e, EINVAL, "the relay has a connection of its own");
	/* The host's new one may be faster than the end of the one before. */
	if (a->relay && a->relay->control != c)
		relay_forget_conn(a, a->relay->control);
	if (!a->relay)
		rc = begin(a, c, e);
	if (rc >= 0 && m->dns && !a->relay->dns)
		rc = dns_new(a, c, &a->relay->dns, e);
	if (rc < 0)
		return rc;
	c->busy = false;
	if (!m->answer)
		tell(a->relay, ports_watch_now(a->relay->watch));
	else if (a->relay->dns)
		dns_answer(a->relay->dns, m->answer);
	return 0;
}

static void forget(struct agent *a, struct opening *o)
{
	struct opening **at = &a->openings;

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	loop_del(o->src);
	fd_close(&o->fd);
	free(o);
}

static void on_ended(void *arg)
{
	(void)arg;
}

/* Answers, and turns the connection into a link. */
static void carry(struct conn *c, int tcp)
{
	Podvm__Response ok = PODVM__RESPONSE__INIT;
	struct agent *a = c->agent;
	struct pump *p;
	struct err e = { 0 };
	int link, rc = frame_send(c->fd, &ok.base, 1000, &e);

	link = conn_take_fd(c);
	conn_free(c);
	if (rc >= 0)
		rc = pump_new(a->loop, tcp, link, on_ended, NULL, &p, &e);
	if (rc >= 0) {
		pump_start(p);
		return;
	}
	log_warn("agent: relay: %s", e.text);
	pump_reset(&tcp);
	close(link);
}

static void on_connected(void *arg, uint32_t events)
{
	struct opening *o = arg;
	struct conn *c = o->conn;
	struct err e = { 0 };
	socklen_t len = sizeof(int);
	int tcp, code = 0;

	(void)events;
	if (getsockopt(o->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	tcp = code ? -1 : fd_steal(&o->fd);
	if (tcp >= 0)
		loop_del(mem_steal(o->src));
	forget(c->agent, o);
	if (tcp >= 0) {
		carry(c, tcp);
		return;
	}
	err_set(&e, code, "connect: %s", strerror(code));
	conn_answer(c, &e);
}

static int call(bool ipv6, uint16_t port, int *ret_fd, struct err *e)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				  .sin6_port = htons(port),
				  .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd =
		socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return err_sys(e, "socket");
	rc = ipv6 ? connect(fd, (struct sockaddr *)&v6, sizeof(v6))
		  : connect(fd, (struct sockaddr *)&v4, sizeof(v4));
	if (rc < 0 && errno != EINPROGRESS)
		return err_sys(e, "connect");
	*ret_fd = fd_steal(&fd);
	return 0;
}

/**
 * relay_open() - the host has a caller for a port of localhost
 * @c: busy; answered when it is connected, and becomes the link then
 *
 * Return: 0; minus errno of connect(2)
 */
int relay_open(struct conn *c, const Podvm__RelayOpen *m, struct err *e)
{
	struct agent *a = c->agent;
	struct opening *o;
	int rc;

	if (c->main || c->owner || (a->relay && a->relay->control == c))
		return err_set(e, EINVAL, "a link has a connection of its own");
	if (!m->port || m->port > UINT16_MAX)
		return err_set(e, EINVAL, "port %u: not 1 to 65535", m->port);
	o = mem_new(struct opening);
	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	o->conn = c;
	o->fd = -1;
	rc = call(m->ipv6, (uint16_t)m->port, &o->fd, e);
	if (rc >= 0)
		rc = loop_add(a->loop, o->fd, EPOLLOUT, on_connected, o, &o->src, e);
	if (rc < 0) {
		fd_close(&o->fd);
		free(o);
		return rc;
	}
	o->next = a->openings;
	a->openings = o;
	return 0;
}

/**
 * relay_forget_conn() - a connection is being closed
 */
void relay_forget_conn(struct agent *a, const struct conn *c)
{
	struct opening *o;

	for (o = a->openings; o && o->conn != c; o = o->next)
		;
	if (o)
		forget(a, o);
	if (!a->relay || a->relay->control != c)
		return;
	ports_watch_free(a->relay->watch);
	dns_free(a->relay->dns);
	free(mem_steal(a->relay));
}
