// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The relay's own connection to the agent. What comes are lists of ports and DNS
 * queries (message Relay); all of it is guest data. What goes are the request for
 * them, and answers of the DNS stub: never waited for, kept up to RELAYD_OUT_BYTES when
 * the agent does not read, then dropped as UDP drops them.
 *
 * An error as the first message is that of an agent which knows no relay; a later one
 * is the answer to what the agent could not do, and is told. Everything else ends the
 * process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/agent.h"
#include "runtime/supervisor/relay.h"

/* Messages that are taken before others get their turn. */
#define ROUND 64

static void update(struct relayd *d)
{
	loop_mod(d->control_src, EPOLLIN | (d->out_len ? EPOLLOUT : 0u));
}

/* Sends what waits, as far as it goes. */
static int flush(struct relayd *d)
{
	while (d->out_len > d->out_off) {
		ssize_t n = send(d->control, d->out + d->out_off, d->out_len - d->out_off,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		d->out_off += (size_t)n;
	}
	free(mem_steal(d->out));
	d->out_len = d->out_off = 0;
	return 0;
}

/* A message that does not fit is dropped. */
static void say(struct relayd *d, const Podvm__Request *rq)
{
	size_t len = podvm__request__get_packed_size(rq);
	struct err e = { 0 };
	uint8_t *more;
	int rc;

	if (d->control < 0 || len + 4 > RELAYD_OUT_BYTES - d->out_len)
		return;
	more = realloc(d->out, d->out_len + len + 4);
	if (!more)
		return;
	d->out = more;
	more += d->out_len;
	more[0] = (uint8_t)len;
	more[1] = (uint8_t)(len >> 8);
	more[2] = (uint8_t)(len >> 16);
	more[3] = 0;
	podvm__request__pack(rq, more + 4);
	d->out_len += len + 4;
	rc = flush(d);
	if (rc < 0)
		relayd_fail(d, err_set(&e, -rc, "the guest's agent is gone"), &e);
	else
		update(d);
}

static void watch(struct relayd *d)
{
	Podvm__RelayWatch m = PODVM__RELAY_WATCH__INIT;
	Podvm__Request rq = AGENT_REQUEST(relay = &m, RELAY);

	m.dns = d->dns;
	d->dns_told = d->dns;
	say(d, &rq);
}

/**
 * control_dns() - have the agent serve the stub's address, once that is wanted
 *
 * Each request is answered with the list of ports, which leads here again.
 */
void control_dns(struct relayd *d)
{
	if (d->known && d->dns && !d->dns_told)
		watch(d);
}

/**
 * control_answer() - pass an answer of the stub on, or drop it
 */
void control_answer(struct relayd *d, const Podvm__DnsMessage *m)
{
	Podvm__RelayWatch w = PODVM__RELAY_WATCH__INIT;
	Podvm__Request rq = AGENT_REQUEST(relay = &w, RELAY);

	w.answer = (Podvm__DnsMessage *)(uintptr_t)m;
	say(d, &rq);
}

static void know(struct relayd *d, const Podvm__Relay *m)
{
	ports_apply(d, m);
	if (!d->known)
		relayd_tell(d, RELAYD_READY);
	d->known = true;
	control_dns(d);
}

static int handle(struct relayd *d, const Podvm__Response *rs, struct err *e)
{
	if (rs->error && d->known) {
		relayd_log(d, "the guest's agent: %s", rs->text);
		return 0;
	}
	if (rs->error)
		return err_set(e, EPROTO, "the guest's agent: %s", rs->text);
	if (rs->body_case != PODVM__RESPONSE__BODY_RELAY)
		return err_set(e, EPROTO,
			       "the guest's agent sent something else than ports and queries");
	if (rs->relay->query)
		stub_ask(d, rs->relay->query);
	else
		know(d, rs->relay);
	return 0;
}

static void on_control(void *arg, uint32_t events)
{
	struct relayd *d = arg;
	int left = ROUND, rc = 0;
	struct err e = { 0 };

	if (events & EPOLLOUT) {
		rc = flush(d);
		if (rc < 0)
			err_set(&e, -rc, "the guest's agent is gone");
		update(d);
	}
	while (rc >= 0 && left-- && (rc = frame_feed(&d->control_rx, d->control, &e)) == 1) {
		Podvm__Response *rs =
			podvm__response__unpack(NULL, d->control_rx.len, d->control_rx.buf);

		rc = rs ? handle(d, rs, &e)
			: err_set(&e, EPROTO,
				  "the guest's agent sent a message that does not parse");
		if (rs)
			podvm__response__free_unpacked(rs, NULL);
	}
	if (rc < 0)
		relayd_fail(d, rc, &e);
}

static void on_link(void *arg, int fd, const struct err *why)
{
	struct relayd *d = arg;
	struct err e = { 0 };
	int rc;

	if (fd < 0) {
		relayd_fail(d, why->code ? -why->code : -EIO, why);
		return;
	}
	rc = loop_add(d->loop, fd, EPOLLIN, on_control, d, &d->control_src, &e);
	if (rc < 0) {
		fd_close(&fd);
		relayd_fail(d, rc, &e);
		return;
	}
	d->control = fd;
	watch(d);
}

/**
 * control_start() - get the connection
 */
void control_start(struct relayd *d)
{
	relayd_want(d, &d->control_want, on_link, d);
}

/**
 * control_done() - close the connection
 */
void control_done(struct relayd *d)
{
	loop_del(d->control_src);
	fd_close(&d->control);
	frame_done(&d->control_rx);
	free(mem_steal(d->out));
}
