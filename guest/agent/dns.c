// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The engine's DNS stub, as the guest's programs see it: UDP and TCP on RELAY_DNS_IP.
 * Each query goes to the host as one message with a number; the answer comes back with
 * the same number, whenever that is. The messages themselves are not looked at.
 *
 * RELAY_QUERIES_MAX are remembered; a further one takes the place of the oldest, whose
 * answer is then nobody's. While much waits for the host, queries are dropped, as UDP
 * drops them. A TCP client is read again when its last query is answered; of clients
 * beyond CLIENTS_MAX the oldest is closed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

#define CLIENTS_MAX 32

/* Header of a message (RFC 1035, section 4.1.1), bytes. */
#define HEADER_BYTES 12

/* Bytes for the host that may wait before queries are dropped. */
#define BACKLOG_BYTES 131072

/* Queries that are taken before others get their turn. */
#define TURNS 32

/**
 * struct client - one TCP client
 * @have:    bytes of its query, with the length before it, that have come
 * @waiting: its query is with the host
 * @out:     its answer, with the length before it, owned; NULL: none
 */
struct client {
	TAILQ_ENTRY(client) all;
	struct dns *dns;
	int fd; /* owned */
	struct loop_src *src;
	uint8_t in[2 + RELAY_QUERY_BYTES];
	size_t have;
	bool waiting;
	uint8_t *out;
	size_t out_off, out_len;
};

/* A query that is with the host; @client NULL: of @peer, by UDP. */
struct query {
	bool used;
	uint32_t id;
	struct client *client;
	struct sockaddr_in peer;
};

struct dns {
	struct loop *loop;
	struct conn *to; /* borrowed */
	int udp, tcp;	 /* owned */
	struct loop_src *udp_src, *tcp_src;
	uint32_t last_id;
	struct query query[RELAY_QUERIES_MAX];
	TAILQ_HEAD(, client) clients;
	size_t n_clients;
};

static void client_free(struct client *c)
{
	struct dns *d = c->dns;
	size_t i;

	for (i = 0; i < RELAY_QUERIES_MAX; i++)
		if (d->query[i].client == c)
			d->query[i] = (struct query){ 0 };
	TAILQ_REMOVE(&d->clients, c, all);
	d->n_clients--;
	loop_del(c->src);
	fd_close(&c->fd);
	free(c->out);
	free(c);
}

/* Return: false if it was dropped */
static bool ask(struct dns *d, uint8_t *data, size_t len, struct client *c,
		const struct sockaddr_in *peer)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Relay relay = PODVM__RELAY__INIT;
	Podvm__DnsMessage m = PODVM__DNS_MESSAGE__INIT;
	struct query *q;

	if (len < HEADER_BYTES || len > RELAY_QUERY_BYTES || d->to->out_len > BACKLOG_BYTES)
		return false;
	m.id = ++d->last_id;
	m.tcp = c != NULL;
	m.data.data = data;
	m.data.len = len;
	q = &d->query[m.id % RELAY_QUERIES_MAX];
	if (q->client)
		client_free(q->client);
	*q = (struct query){ .used = true, .id = m.id, .client = c };
	if (peer)
		q->peer = *peer;
	relay.query = &m;
	r.body_case = PODVM__RESPONSE__BODY_RELAY;
	r.relay = &relay;
	conn_send(d->to, &r);
	return true;
}

static void on_udp(void *arg, uint32_t events)
{
	uint8_t buf[RELAY_QUERY_BYTES];
	struct dns *d = arg;
	int i;

	(void)events;
	for (i = 0; i < TURNS; i++) {
		struct sockaddr_in peer = { 0 };
		socklen_t len = sizeof(peer);
		ssize_t n = recvfrom(d->udp, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC,
				     (struct sockaddr *)&peer, &len);

		if (n < 0)
			return;
		ask(d, buf, (size_t)n, NULL, &peer);
	}
}

/* A whole query goes to the host. Return: false if the client is to be closed */
static bool client_read(struct client *c)
{
	size_t want;
	ssize_t n;

	for (;;) {
		want = c->have < 2 ? 2 : 2 + ((size_t)c->in[0] << 8 | c->in[1]);
		if (want > sizeof(c->in))
			return false;
		if (c->have >= 2 && c->have == want)
			break;
		n = recv(c->fd, c->in + c->have, want - c->have, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		c->have += (size_t)n;
	}
	c->have = 0;
	c->waiting = true;
	return ask(c->dns, c->in + 2, want - 2, c, NULL);
}

static bool client_write(struct client *c)
{
	ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->out_off += (size_t)n;
	if (c->out_off == c->out_len)
		free(mem_steal(c->out));
	return true;
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	bool fine = !(events & (EPOLLHUP | EPOLLERR));

	if (fine && c->out)
		fine = client_write(c);
	if (fine && !c->out && !c->waiting)
		fine = client_read(c);
	if (fine)
		loop_mod(c->src, c->out ? EPOLLOUT : c->waiting ? 0 : EPOLLIN);
	else
		client_free(c);
}

static void on_tcp(void *arg, uint32_t events)
{
	struct dns *d = arg;
	struct client *c;
	struct err e;
	int fd = accept4(d->tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	c = mem_new(struct client);
	if (!c || loop_add(d->loop, fd, EPOLLIN, on_client, c, &c->src, &e) < 0) {
		close(fd);
		free(c);
		return;
	}
	c->dns = d;
	c->fd = fd;
	TAILQ_INSERT_TAIL(&d->clients, c, all);
	if (++d->n_clients > CLIENTS_MAX)
		client_free(TAILQ_FIRST(&d->clients));
}

/**
 * dns_answer() - the host's answer to a query; one that nobody waits for is dropped
 */
void dns_answer(struct dns *d, const Podvm__DnsMessage *m)
{
	struct query *q = &d->query[m->id % RELAY_QUERIES_MAX], was = *q;
	struct client *c = was.client;

	if (!was.used || was.id != m->id || m->data.len > UINT16_MAX)
		return;
	*q = (struct query){ 0 };
	if (!c) {
		sendto(d->udp, m->data.data, m->data.len, MSG_DONTWAIT | MSG_NOSIGNAL,
		       (struct sockaddr *)&was.peer, sizeof(was.peer));
		return;
	}
	c->out = malloc(m->data.len + 2);
	if (!c->out) {
		client_free(c);
		return;
	}
	c->waiting = false;
	c->out_off = 0;
	c->out_len = m->data.len + 2;
	c->out[0] = (uint8_t)(m->data.len >> 8);
	c->out[1] = (uint8_t)m->data.len;
	memcpy(c->out + 2, m->data.data, m->data.len);
	on_client(c, 0);
}

static int listen_on(int type, int *ret_fd, struct err *e)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(RELAY_DNS_PORT) };
	_cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	inet_pton(AF_INET, RELAY_DNS_IP, &sa.sin_addr);
	if (fd < 0)
		return err_sys(e, "DNS stub: socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, CLIENTS_MAX) < 0))
		return err_sys(e, "DNS stub: %s, port %d", RELAY_DNS_IP, RELAY_DNS_PORT);
	*ret_fd = fd_steal(&fd);
	return 0;
}

/**
 * dns_new() - answer the guest's queries
 * @to:  connection that they go to, borrowed; outlives it
 * @ret: owned by the caller, dns_free()
 *
 * Return: 0; -EADDRINUSE while a program of the guest has the port; minus errno
 */
int dns_new(struct agent *a, struct conn *to, struct dns **ret, struct err *e)
{
	struct dns *d = mem_new(struct dns);
	int rc;

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	d->loop = a->loop;
	d->to = to;
	d->udp = d->tcp = -1;
	TAILQ_INIT(&d->clients);
	rc = listen_on(SOCK_DGRAM, &d->udp, e);
	if (rc >= 0)
		rc = listen_on(SOCK_STREAM, &d->tcp, e);
	if (rc >= 0)
		rc = loop_add(a->loop, d->udp, EPOLLIN, on_udp, d, &d->udp_src, e);
	if (rc >= 0)
		rc = loop_add(a->loop, d->tcp, EPOLLIN, on_tcp, d, &d->tcp_src, e);
	if (rc < 0) {
		dns_free(d);
		return rc;
	}
	*ret = d;
	return 0;
}

/**
 * dns_free() - stop answering; NULL is fine
 */
void dns_free(struct dns *d)
{
	if (!d)
		return;
	while (!TAILQ_EMPTY(&d->clients))
		client_free(TAILQ_FIRST(&d->clients));
	loop_del(d->udp_src);
	loop_del(d->tcp_src);
	fd_close(&d->udp);
	fd_close(&d->tcp);
	free(d);
}
