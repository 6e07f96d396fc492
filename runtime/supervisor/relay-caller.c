// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One caller of a port, from accept to its end. States, each a list of the relay:
 * waiting (for a turn: RELAYD_OPENING_MAX are served at a time, RELAYD_OPENING_PORT_MAX of
 * a port; the others' bytes stay in the kernel), opening (the supervisor has to make a connection to the agent, then the
 * agent one to the guest's localhost), carried (lib/pump.c). What fails gets RST: the
 * kernel has accepted for us, so it is too late to refuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/pump.h"
#include "lib/agent.h"
#include "runtime/supervisor/relay.h"

/**
 * struct caller - a connection to one of our ports
 * @in:    the list that it is in
 * @tcp:   owned until it is carried
 * @link:  to the agent, owned until it is carried; -1: none yet
 * @since_ms: clock_ms() when @link was asked for
 * @wanted: the supervisor has to answer, so @want must stay
 * @ended:  nobody is there any more but @want
 */
struct caller {
	TAILQ_ENTRY(caller) all;
	struct callers *in;
	struct relayd *d;
	struct relayd_want want;
	int tcp, link;
	struct loop_src *src;
	struct frame_rx rx;
	struct pump *pump;
	uint16_t port;
	bool ipv6, wanted, ended;
	uint64_t since_ms;
};

static void serve(struct relayd *d);

static void move_to(struct caller *c, struct callers *to)
{
	struct relayd *d = c->d;

	if (c->in) {
		TAILQ_REMOVE(c->in, c, all);
		d->n_opening -= c->in == &d->opening;
	}
	c->in = to;
	if (to) {
		TAILQ_INSERT_TAIL(to, c, all);
		d->n_opening += to == &d->opening;
	}
}

/* Closes everything; the caller gets RST unless its pump has ended by itself. */
static void caller_end(struct caller *c)
{
	if (!c->ended) {
		move_to(c, NULL);
		c->d->n_callers--;
	}
	c->ended = true;
	loop_del(c->src);
	c->src = NULL;
	pump_reset(&c->tcp);
	fd_close(&c->link);
	frame_done(&c->rx);
	pump_free(c->pump);
	c->pump = NULL;
	if (!c->wanted)
		free(c);
}

/* One place is free: whoever waits comes next. */
static void caller_next(struct caller *c)
{
	struct relayd *d = c->d;

	caller_end(c);
	if (d->n_callers < RELAYD_CALLERS_MAX)
		ports_pause(d, false);
	serve(d);
}

static void on_end(void *arg)
{
	struct caller *c = arg;

	c->pump = NULL;
	caller_next(c);
}

static void carry(struct caller *c)
{
	struct relayd *d = c->d;
	struct err e = { 0 };

	loop_del(c->src);
	c->src = NULL;
	if (pump_new(d->loop, c->tcp, c->link, on_end, c, &c->pump, &e) < 0) {
		relayd_log(d, "port %u: %s", c->port, e.text);
		caller_next(c);
		return;
	}
	c->tcp = c->link = -1;
	move_to(c, &d->carried);
	pump_start(c->pump);
	serve(d);
}

/* Return: 0 it has not answered yet; 1 the guest's port is connected; minus errno */
static int take_answer(struct caller *c, struct err *e)
{
	int rc = frame_feed(&c->rx, c->link, e);
	Podvm__Response *rs;

	if (rc != 1)
		return rc;
	rs = podvm__response__unpack(NULL, c->rx.len, c->rx.buf);
	if (!rs)
		return err_set(e, EPROTO, "the guest's agent sent a message that does not parse");
	if (rs->error)
		rc = err_set(e, rs->error > 0 && rs->error < 4096 ? rs->error : EPROTO,
			     "in the guest: %s", rs->text);
	podvm__response__free_unpacked(rs, NULL);
	frame_done(&c->rx);
	return rc;
}

static void on_answer(void *arg, uint32_t events)
{
	struct caller *c = arg;
	struct err e = { 0 };
	int rc = take_answer(c, &e);

	(void)events;
	if (rc > 0)
		carry(c);
	if (rc >= 0)
		return;
	/* A port that was closed just now is what happens to anybody. */
	if (rc != -ECONNREFUSED)
		relayd_log(c->d, "port %u: %s", c->port, e.text);
	caller_next(c);
}

static int open_port(struct caller *c, struct err *e)
{
	Podvm__RelayOpen m = PODVM__RELAY_OPEN__INIT;
	Podvm__Request rq = AGENT_REQUEST(relay_open = &m, RELAY_OPEN);
	int rc;

	m.port = c->port;
	m.ipv6 = c->ipv6;
	/* A new connection has room for so few bytes. */
	rc = frame_send(c->link, &rq.base, 0, e);
	return rc < 0 ? rc : loop_add(c->d->loop, c->link, EPOLLIN, on_answer, c, &c->src, e);
}

static void on_link(void *arg, int fd, const struct err *why)
{
	struct caller *c = arg;
	struct err e = *why;

	c->wanted = false;
	c->link = fd;
	if (c->ended) {
		caller_end(c);
		return;
	}
	if (fd >= 0 && open_port(c, &e) >= 0)
		return;
	relayd_log(c->d, "port %u: %s", c->port, e.text);
	caller_next(c);
}

/* How many of a port are opening. */
static unsigned int opening_of(const struct relayd *d, uint16_t port, bool ipv6)
{
	const struct caller *c;
	unsigned int n = 0;

	for (c = TAILQ_FIRST(&d->opening); c; c = TAILQ_NEXT(c, all))
		n += c->port == port && c->ipv6 == ipv6;
	return n;
}

/* Return: who comes next; NULL: nobody now */
static struct caller *next_of(struct relayd *d)
{
	struct caller *c;

	if (d->n_opening >= RELAYD_OPENING_MAX || d->failed)
		return NULL;
	for (c = TAILQ_FIRST(&d->waiting); c; c = TAILQ_NEXT(c, all))
		if (opening_of(d, c->port, c->ipv6) < RELAYD_OPENING_PORT_MAX)
			break;
	return c;
}

static void serve(struct relayd *d)
{
	struct caller *c;

	while ((c = next_of(d))) {
		relayd_tick(d);
		c->since_ms = clock_ms();
		c->wanted = true;
		move_to(c, &d->opening);
		relayd_want(d, &c->want, on_link, c);
	}
}

/**
 * caller_new() - somebody has called
 * @tcp: accepted socket, taken over also on failure
 *
 * Return: 0 or minus errno
 */
int caller_new(struct relayd *d, int tcp, uint16_t port, bool ipv6, struct err *e)
{
	struct caller *c = mem_new(struct caller);

	if (!c) {
		pump_reset(&tcp);
		return err_set(e, ENOMEM, "out of memory");
	}
	*c = (struct caller){ .d = d, .tcp = tcp, .link = -1, .port = port, .ipv6 = ipv6 };
	d->n_callers++;
	move_to(c, &d->waiting);
	serve(d);
	return 0;
}

/**
 * callers_expire() - end those that the guest has not answered in time
 *
 * Return: whether some are still to be answered
 */
bool callers_expire(struct relayd *d, uint64_t now_ms)
{
	struct caller *c;

	while ((c = TAILQ_FIRST(&d->opening)) && now_ms >= c->since_ms + RELAYD_OPEN_MS) {
		relayd_log(d, "port %u: the guest did not answer in %d s", c->port,
			   RELAYD_OPEN_MS / 1000);
		caller_next(c);
	}
	return c;
}

/**
 * callers_done() - end all
 */
void callers_done(struct relayd *d)
{
	struct callers *const lists[] = { &d->waiting, &d->opening, &d->carried };
	struct relayd_want *w;
	struct caller *c;
	size_t i;

	/* Nobody answers any more; the first want may be the control's. */
	while ((w = TAILQ_FIRST(&d->wants))) {
		TAILQ_REMOVE(&d->wants, w, all);
		c = w == &d->control_want ? NULL : w->arg;
		if (!c)
			continue;
		c->wanted = false;
		if (c->ended)
			caller_end(c);
	}
	for (i = 0; i < ARRAY_LEN(lists); i++)
		while ((c = TAILQ_FIRST(lists[i])))
			caller_end(c);
}
