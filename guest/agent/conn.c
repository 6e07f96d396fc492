// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Connections that carry frames. Requests of one connection are answered in
 * order, one at a time: the next one is read when the answer to the last is
 * written, so a host that does not read its answers stops itself only. Answers
 * are queued, never waited for; events on the main connection go the same way,
 * up to a bound, above which the supervisor counts as dead.
 *
 * A connection that becomes a raw stream gives its descriptor away
 * (conn_take_fd()) and is freed.
 */
#include <errno.h>
#include <poll.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"

static void on_conn(void *arg, uint32_t events);

/**
 * conn_new() - serve a connection
 * @fd:   stream socket, owned by the connection on success
 * @main: the supervisor's; the agent does not outlive it
 *
 * Return: 0 or minus errno
 */
int conn_new(struct agent *a, int fd, bool main, struct conn **ret, struct err *e)
{
	struct conn *c;
	int rc;

	if (a->n_conns >= AGENT_CONNS_MAX)
		return err_set(e, EMFILE, "more than %d connections", AGENT_CONNS_MAX);
	c = mem_new(struct conn);
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->agent = a;
	c->fd = fd;
	c->program = -1;
	c->main = main;
	rc = loop_add(a->loop, fd, EPOLLIN, on_conn, c, &c->src, e);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->next = a->conns;
	if (c->next)
		c->next->prev = c;
	a->conns = c;
	a->n_conns++;
	*ret = c;
	return 0;
}

/**
 * conn_free() - close a connection; its process, if it owns one, is killed
 */
void conn_free(struct conn *c)
{
	struct agent *a = c->agent;

	if (c->prev)
		c->prev->next = c->next;
	else
		a->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	a->n_conns--;
	loop_del(c->src);
	fd_close(&c->fd);
	fd_close(&c->program);
	frame_done(&c->rx);
	free(c->out);
	container_forget_conn(a, c);
	relay_forget_conn(a, c);
	if (a->off_conn == c)
		a->off_conn = NULL;
	if (c->owner)
		task_owner_lost(c->owner);
	if (c->main) {
		a->main = NULL;
		a->lost = true;
		loop_stop(a->loop);
	}
	free(c);
}

/**
 * conn_take_fd() - the connection turns into something else
 *
 * Return: its descriptor, owned by the caller; conn_free() is still to be called
 */
int conn_take_fd(struct conn *c)
{
	loop_del(c->src);
	c->src = NULL;
	return fd_steal(&c->fd);
}

static int write_out(struct conn *c)
{
	while (c->out_len > c->out_off) {
		ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->out_off += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_off = 0;
	return 0;
}

static void update(struct conn *c)
{
	uint32_t want = 0;

	if (!c->src)
		return;
	if (c->out_len)
		want |= EPOLLOUT;
	else if (!c->busy)
		want |= EPOLLIN;
	loop_mod(c->src, want);
}

static uint8_t *reserve(struct conn *c, size_t more)
{
	uint8_t *out;

	if (more > CONN_OUT_MAX || c->out_len + more > CONN_OUT_MAX)
		return NULL;
	out = realloc(c->out, c->out_len + more);
	if (!out)
		return NULL;
	c->out = out;
	c->out_len += more;
	return out + c->out_len - more;
}

/**
 * conn_send() - queue a message; what can be written at once is
 *
 * A connection that cannot take it is closed in the loop's next round.
 */
void conn_send(struct conn *c, const Podvm__Response *r)
{
	size_t len = podvm__response__get_packed_size(r);
	uint8_t *to = len <= FRAME_MAX_BYTES ? reserve(c, len + 4) : NULL;

	if (!to) {
		log_error("agent: connection: %zu bytes to send, %zu waiting: closed", len,
			  c->out_len);
		shutdown(c->fd, SHUT_RDWR);
		return;
	}
	to[0] = (uint8_t)len;
	to[1] = (uint8_t)(len >> 8);
	to[2] = (uint8_t)(len >> 16);
	to[3] = (uint8_t)(len >> 24);
	podvm__response__pack(r, to + 4);
	if (write_out(c) < 0)
		shutdown(c->fd, SHUT_RDWR);
	update(c);
}

/**
 * conn_answer() - answer the request under way: success, or a failure
 * @c:       NULL: nobody waits any more
 * @failure: NULL or code 0: success
 */
void conn_answer(struct conn *c, const struct err *failure)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	char text[ERR_TEXT_BYTES];

	if (!c)
		return;
	c->busy = false;
	if (failure && failure->code) {
		snprintf(text, sizeof(text), "%s", failure->text);
		r.error = failure->code;
		r.text = text;
	}
	conn_send(c, &r);
}

/**
 * conn_flushed() - wait until what is queued is written; for the last answer of all
 */
void conn_flushed(struct conn *c, int timeout_ms)
{
	uint64_t end = clock_ms() + (uint64_t)timeout_ms;
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };

	while (c->out_len && clock_ms() < end)
		if (poll(&p, 1, 50) > 0 && write_out(c) < 0)
			return;
}

/* One request. Returns false when the connection is not to be read any more. */
static bool handle(struct conn *c)
{
	Podvm__Request *r;
	struct err e = { 0 };
	int rc;

	r = podvm__request__unpack(NULL, c->rx.len, c->rx.buf);
	if (!r) {
		log_error("agent: connection: message of %u bytes is not a request", c->rx.len);
		conn_free(c);
		return false;
	}
	c->busy = true;
	rc = request_handle(c, r, &e);
	podvm__request__free_unpacked(r, NULL);
	if (c->fd < 0) { /* it is a stream now */
		conn_free(c);
		return false;
	}
	if (rc < 0) {
		if (!e.code)
			e.code = -rc;
		conn_answer(c, &e);
	}
	update(c);
	return !c->busy && !c->out_len;
}

static void on_conn(void *arg, uint32_t events)
{
	struct conn *c = arg;
	struct err e;
	int rc;

	if (c->out_len && write_out(c) < 0) {
		conn_free(c);
		return;
	}
	update(c);
	if (c->busy || c->out_len) {
		if (events & (EPOLLHUP | EPOLLERR))
			conn_free(c);
		return;
	}
	do {
		rc = frame_feed(&c->rx, c->fd, &e);
		if (rc < 0) {
			if (rc != -EPIPE && rc != -ECONNRESET)
				log_warn("agent: connection: %s", e.text);
			conn_free(c);
			return;
		}
	} while (rc && handle(c));
}
