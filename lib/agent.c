// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The host's side of lib/agent.proto. Everything that comes back is guest
 * data: a message that does not parse, is out of turn or claims to be too long
 * ends the connection's use with an error; texts are masked by struct err.
 *
 * Answers carry no number. A call that has timed out is owed its answer: it is
 * dropped when it comes, else the next call would take it for its own. Where a message
 * has begun by then and not ended, nothing can follow it: the connection is shut down.
 */
#include "lib/agent.h"

#include <errno.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/proc.h"

static int unpack(struct agent *a, Podvm__Response **ret, struct err *e)
{
	*ret = podvm__response__unpack(NULL, a->rx.len, a->rx.buf);
	if (!*ret)
		return err_set(e, EPROTO, "the guest's agent sent a message that does not parse");
	return 0;
}

/* Whether a message answers a call that did not wait for it any longer. */
static bool is_late(struct agent *a, const Podvm__Response *rs)
{
	if (!a->owed || rs->body_case == PODVM__RESPONSE__BODY_EVENT)
		return false;
	a->owed--;
	return true;
}

/**
 * agent_take() - one message if a whole one has arrived; does not block
 * @ret: podvm__response__free_unpacked(); set when 1 is returned
 *
 * Return: 1, 0 nothing whole yet, or minus errno (-EPIPE: the agent is gone)
 */
int agent_take(struct agent *a, Podvm__Response **ret, struct err *e)
{
	Podvm__Response *rs;
	int rc;

	while ((rc = frame_feed(&a->rx, a->fd, e)) == 1) {
		rc = unpack(a, &rs, e);
		if (rc < 0)
			return rc;
		if (!is_late(a, rs)) {
			*ret = rs;
			return 1;
		}
		podvm__response__free_unpacked(rs, NULL);
	}
	return rc < 0 ? err_wrap(e, "the guest's agent") : 0;
}

/* What has begun and not ended in all that time never will. */
static void cut(struct agent *a)
{
	const struct frame_rx *rx = &a->rx;

	if (rx->have && (rx->have < 4 || rx->have < (size_t)rx->len + 4))
		shutdown(a->fd, SHUT_RDWR);
}

/*
 * Waits for the next message that is no event and no late answer. The time
 * counts for all of them: a guest that keeps on sending must not hold us.
 */
static int next(struct agent *a, int timeout_ms, Podvm__Response **ret,
		struct err *e)
{
	uint64_t now = clock_ms(), end = now + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	Podvm__Response *rs;

	for (;; now = clock_ms()) {
		int left = timeout_ms < 0 ? -1 : now >= end ? 0 : (int)(end - now);
		int rc = timeout_ms >= 0 && now > end
				 ? err_set(e, ETIMEDOUT, "no answer in time")
				 : frame_recv(a->fd, &a->rx, left, e);

		if (rc == -ETIMEDOUT)
			cut(a);
		if (rc < 0) {
			err_wrap(e, "the guest's agent"); /* which loses the code without @e */
			return rc;
		}
		rc = unpack(a, &rs, e);
		if (rc < 0)
			return rc;
		if (rs->body_case == PODVM__RESPONSE__BODY_EVENT) {
			if (a->on_event)
				a->on_event(a->arg, rs->event);
		} else if (!is_late(a, rs)) {
			*ret = rs;
			return 0;
		}
		podvm__response__free_unpacked(rs, NULL);
	}
}

/**
 * agent_call() - ask and wait for the answer
 * @timeout_ms: for the request, and again until its answer; -1 waits for ever
 * @ret: the answer, podvm__response__free_unpacked(); NULL if it does not matter
 *
 * Return: 0; minus the errno that the agent answered, with its text; minus
 * errno of the connection: after -ETIMEDOUT in the middle of a message, the
 * request's or the answer's, it has ended
 */
int agent_call(struct agent *a, const Podvm__Request *rq, int timeout_ms,
	       Podvm__Response **ret, struct err *e)
{
	Podvm__Response *rs;
	int rc = frame_send(a->fd, &rq->base, timeout_ms, e);

	/* A request that was cut has no end: nothing can follow it. */
	if (rc == -ETIMEDOUT)
		shutdown(a->fd, SHUT_RDWR);
	if (rc < 0)
		return err_wrap(e, "the guest's agent");
	rc = next(a, timeout_ms, &rs, e);
	if (rc == -ETIMEDOUT)
		a->owed++;
	if (rc < 0)
		return rc;
	if (rs->error) {
		int code = rs->error > 0 && rs->error < 4096 ? rs->error : EPROTO;

		rc = err_set(e, code, "%s", rs->text && *rs->text ? rs->text
							: "the guest's agent failed");
	}
	if (rc < 0 || !ret)
		podvm__response__free_unpacked(rs, NULL);
	else
		*ret = rs;
	return rc;
}

/**
 * agent_hello() - wait for the agent's first message on the main connection
 * @ret: the message with its hello, podvm__response__free_unpacked()
 *
 * Return: 0; -EPROTO when it is something else or of another protocol version
 */
int agent_hello(struct agent *a, int timeout_ms, Podvm__Response **ret,
		struct err *e)
{
	Podvm__Response *rs;
	int rc = next(a, timeout_ms, &rs, e);

	if (rc < 0)
		return rc;
	if (rs->body_case != PODVM__RESPONSE__BODY_HELLO)
		rc = err_set(e, EPROTO, "the guest's agent did not say hello");
	else if (rs->hello->protocol != AGENT_PROTOCOL)
		rc = err_set(e, EPROTO,
			     "the guest's agent speaks protocol %u, podvm %d: rebuild the initramfs",
			     rs->hello->protocol, AGENT_PROTOCOL);
	if (rc < 0)
		podvm__response__free_unpacked(rs, NULL);
	else
		*ret = rs;
	return rc;
}

/**
 * agent_done() - close a connection; fine when it was never open (@fd -1)
 */
void agent_done(struct agent *a)
{
	frame_done(&a->rx);
	fd_close(&a->fd);
}
