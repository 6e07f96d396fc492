// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Queries of the guest to the engine's DNS stub. Each gets a socket of its own that is
 * connected to RELAY_DNS_IP in the pod's network namespace, and goes there as it came, by
 * UDP or TCP; the first answer goes back with the query's number. There is no way to
 * name another destination. Messages are not looked at, but for their length; where the
 * stub cannot be reached, the query comes back as the answer SERVFAIL.
 *
 * RELAY_QUERIES_MAX at a time; more are dropped, and so is what is not answered in
 * RELAYD_DNS_MS.
 *
 * Source: RFC 1035, sections 4.1.1, 4.2.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/relay.h"

#define HEADER_BYTES 12
#define ANSWER_BYTES 65535

/**
 * struct ask - one query
 * @slot:  where the relay has it
 * @query: with the length before it, owned
 * @answer: room for one with the length before it, owned; by TCP only
 * @have:  bytes of @answer that have come
 * @sent:  by TCP: the query is sent
 */
struct ask {
	struct relayd *d;
	struct ask **slot;
	uint32_t id;
	bool tcp, sent;
	int fd; /* owned */
	struct loop_src *src;
	uint8_t query[2 + RELAY_QUERY_BYTES];
	size_t len;
	uint8_t *answer;
	size_t have;
	uint64_t since_ms;
};

static void ask_free(struct ask *a)
{
	*a->slot = NULL;
	loop_del(a->src);
	fd_close(&a->fd);
	free(a->answer);
	free(a);
}

/* Passes it on; the query is over. */
static void reply(struct ask *a, uint8_t *data, size_t len)
{
	Podvm__DnsMessage m = PODVM__DNS_MESSAGE__INIT;

	m.id = a->id;
	m.tcp = a->tcp;
	m.data.data = data;
	m.data.len = len;
	control_answer(a->d, &m);
	ask_free(a);
}

/* QR, and RCODE 2; what else is in the flags stays. */
static void fail(struct ask *a)
{
	a->query[2 + 2] |= 0x80;
	a->query[2 + 3] = (uint8_t)((a->query[2 + 3] & 0xf0) | 2);
	reply(a, a->query + 2, a->len);
}

static void on_udp(void *arg, uint32_t events)
{
	uint8_t buf[ANSWER_BYTES];
	struct ask *a = arg;
	ssize_t n = recv(a->fd, buf, sizeof(buf), MSG_DONTWAIT);

	(void)events;
	if (n >= HEADER_BYTES)
		reply(a, buf, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail(a);
}

/* Return: 1 with a whole answer; 0 more must come; -1 it failed */
static int take_tcp(struct ask *a)
{
	for (;;) {
		size_t want = a->have < 2 ? 2 : 2 + ((size_t)a->answer[0] << 8 | a->answer[1]);
		ssize_t n;

		if (a->have >= 2 && a->have == want)
			return want >= 2 + HEADER_BYTES ? 1 : -1;
		n = recv(a->fd, a->answer + a->have, want - a->have, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return -1;
		a->have += (size_t)n;
	}
}

static void on_tcp(void *arg, uint32_t events)
{
	struct ask *a = arg;
	int rc = 0;

	if (!a->sent && events & EPOLLOUT) {
		/* It fits into the buffer of a new connection. */
		a->sent = true;
		loop_mod(a->src, EPOLLIN);
		if (send(a->fd, a->query, a->len + 2, MSG_NOSIGNAL | MSG_DONTWAIT) !=
		    (ssize_t)a->len + 2)
			rc = -1;
	} else {
		rc = a->sent ? take_tcp(a) : -1;
	}
	if (rc > 0)
		reply(a, a->answer + 2, a->have - 2);
	else if (rc < 0)
		fail(a);
}

static int call(struct ask *a)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(RELAY_DNS_PORT) };
	struct err e;

	inet_pton(AF_INET, RELAY_DNS_IP, &sa.sin_addr);
	a->fd = socket(AF_INET, (a->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0);
	if (a->fd < 0 ||
	    (connect(a->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno != EINPROGRESS) ||
	    loop_add(a->d->loop, a->fd, a->tcp ? EPOLLOUT : EPOLLIN, a->tcp ? on_tcp : on_udp, a,
		     &a->src, &e) < 0)
		return -1;
	if (!a->tcp && send(a->fd, a->query + 2, a->len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -1;
	return 0;
}

/**
 * stub_ask() - a query of the guest
 * @m: guest data; one of a wrong length, or one too many, is dropped
 */
void stub_ask(struct relayd *d, const Podvm__DnsMessage *m)
{
	struct ask **slot = d->asks, *a;

	if (!d->dns || m->data.len < HEADER_BYTES || m->data.len > RELAY_QUERY_BYTES)
		return;
	while (slot < d->asks + RELAY_QUERIES_MAX && *slot)
		slot++;
	if (slot == d->asks + RELAY_QUERIES_MAX)
		return;
	a = mem_new(struct ask);
	if (a && m->tcp)
		a->answer = malloc(2 + ANSWER_BYTES);
	if (!a || (m->tcp && !a->answer)) {
		free(a);
		return;
	}
	a->d = d;
	a->slot = slot;
	*slot = a;
	a->id = m->id;
	a->tcp = m->tcp;
	a->fd = -1;
	a->len = m->data.len;
	a->query[0] = (uint8_t)(a->len >> 8);
	a->query[1] = (uint8_t)a->len;
	memcpy(a->query + 2, m->data.data, a->len);
	a->since_ms = clock_ms();
	relayd_tick(d);
	if (call(a) < 0)
		fail(a);
}

/**
 * stub_expire() - forget queries that the stub has not answered in time
 *
 * Return: whether some are still to be answered
 */
bool stub_expire(struct relayd *d, uint64_t now_ms)
{
	bool more = false;
	size_t i;

	for (i = 0; i < RELAY_QUERIES_MAX; i++) {
		if (d->asks[i] && now_ms >= d->asks[i]->since_ms + RELAYD_DNS_MS)
			ask_free(d->asks[i]);
		more |= d->asks[i] != NULL;
	}
	return more;
}

/**
 * stub_done() - forget all queries
 */
void stub_done(struct relayd *d)
{
	size_t i;

	for (i = 0; i < RELAY_QUERIES_MAX; i++)
		if (d->asks[i])
			ask_free(d->asks[i]);
}
