// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A relay copies one stream in one direction on a thread of its own, with
 * blocking reads and writes: the shim's stdio is shared with other processes,
 * so it must not be made non-blocking. Back-pressure comes by itself.
 *
 * When the process has ended, its streams are at their end, too, but for what is still
 * on its way. The guest may hold them open all the same, or never cease: so a source that
 * stays silent for too long, or has more than can have been on its way, is cut off. Time
 * in which the other side does not read is not the guest's.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/pod.h"
#include "lib/proc.h"
#include "runtime/shim/shim.h"

#define RELAY_BYTES 32768

/* More than the sockets and buffers between a process and us hold. */
#define RELAY_REST_BYTES (4u << 20)

/**
 * struct relay - one direction
 * @from, @to: borrowed
 * @since_ms:  clock_ms() since when the thread waits for @from; 0: it does not
 * @ending:    the process has ended
 */
struct relay {
	pthread_t thread;
	int from, to;
	bool half_close;
	atomic_ullong since_ms;
	atomic_bool ending;
};

/* Return: bytes; 0: the end */
static size_t get(struct relay *r, char buf[RELAY_BYTES])
{
	ssize_t n;

	atomic_store(&r->since_ms, clock_ms());
	do {
		n = read(r->from, buf, RELAY_BYTES);
	} while (n < 0 && errno == EINTR);
	atomic_store(&r->since_ms, 0);
	return n < 0 ? 0 : (size_t)n;
}

static void *copy(void *arg)
{
	size_t n, left = RELAY_REST_BYTES;
	struct relay *r = arg;
	char buf[RELAY_BYTES];

	while ((n = get(r, buf)) && write_full(r->to, buf, n, NULL) >= 0) {
		if (!atomic_load(&r->ending))
			continue;
		if (n > left)
			break;
		left -= n;
	}
	if (r->half_close)
		shutdown(r->to, SHUT_WR);
	return NULL;
}

/* A stream of a process in the guest. @ret_fd: owned by the caller */
static int stream_open(int control, const char *id, const char *exec_id, Podvm__StreamOpen__Kind kind,
		       int *ret_fd, struct err *e)
{
	Podvm__StreamOpen open = PODVM__STREAM_OPEN__INIT;
	Podvm__Request rq = AGENT_REQUEST(stream_open = &open, STREAM_OPEN);
	struct agent a = { .fd = -1 };
	int rc = pod_stream(control, &a.fd, e);

	if (rc < 0)
		return rc;
	open.id = strdupa(id);
	open.exec_id = strdupa(exec_id);
	open.kind = kind;
	rc = agent_call(&a, &rq, SHIM_ANSWER_MS, NULL, e);
	if (!rc)
		*ret_fd = fd_steal(&a.fd);
	agent_done(&a);
	return rc;
}

/**
 * shim_streams_join() - join a process without a terminal to our standard streams
 * @control: connection to the pod's supervisor, borrowed
 * @exec_id: empty: the container's init
 * @s:       nothing is open
 *
 * What copies our input is left to our end.
 *
 * Return: 0 or minus errno; what is open by then is @s's
 */
int shim_streams_join(int control, const char *id, const char *exec_id, struct shim_streams *s,
		      struct err *e)
{
	struct relay *in;
	int rc = stream_open(control, id, exec_id, PODVM__STREAM_OPEN__KIND__STDIN, &s->in, e);

	if (!rc)
		rc = stream_open(control, id, exec_id, PODVM__STREAM_OPEN__KIND__STDOUT, &s->out, e);
	if (!rc)
		rc = stream_open(control, id, exec_id, PODVM__STREAM_OPEN__KIND__STDERR, &s->err, e);
	if (!rc)
		rc = relay_start(0, s->in, true, &in, e);
	if (!rc)
		rc = relay_start(s->out, 1, false, &s->relay_out, e);
	return rc ? rc : relay_start(s->err, 2, false, &s->relay_err, e);
}

/**
 * shim_terminal_join() - join a process with a terminal to ours
 * @control, @id, @exec_id: as shim_streams_join()
 * @from, @to:  what is read and written of our terminal
 * @half_close: the process is told when @from has come to its end
 * @s:          nothing is open
 *
 * What copies our input is left to our end.
 *
 * Return: 0 or minus errno; what is open by then is @s's
 */
int shim_terminal_join(int control, const char *id, const char *exec_id, int from, int to,
		       bool half_close, struct shim_streams *s, struct err *e)
{
	struct relay *in;
	int rc = stream_open(control, id, exec_id, PODVM__STREAM_OPEN__KIND__TERMINAL, &s->in, e);

	if (!rc)
		rc = relay_start(from, s->in, half_close, &in, e);
	return rc ? rc : relay_start(s->in, to, false, &s->relay_out, e);
}

/**
 * relay_start() - copy @from to @to until end of file or error
 * @from, @to:  borrowed until relay_finish(), or the process's end
 * @half_close: @to is a socket: shut its sending side down afterwards
 * @ret:        relay_finish() frees it; a relay that may block for ever is left
 *              to the process's end
 *
 * Return: 0 or minus errno
 */
int relay_start(int from, int to, bool half_close, struct relay **ret,
		struct err *e)
{
	struct relay *r = mem_new(struct relay);
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->from = from;
	r->to = to;
	r->half_close = half_close;
	rc = pthread_create(&r->thread, NULL, copy, r);
	if (rc) {
		free(r);
		return err_set(e, rc, "cannot start a thread");
	}
	*ret = r;
	return 0;
}

/* Whether the thread ends within @ms. */
static bool ends_within(struct relay *r, uint64_t ms)
{
	uint64_t end = clock_ms() + ms;
	struct timespec t = { .tv_sec = (time_t)(end / 1000),
			      .tv_nsec = (long)(end % 1000) * 1000000 };

	return !pthread_clockjoin_np(r->thread, NULL, CLOCK_MONOTONIC, &t);
}

/**
 * relay_finish() - the process has ended: copy what is on its way, and free; NULL is fine
 * @quiet_ms: longest silence of the source, a socket, until it is cut off
 */
void relay_finish(struct relay *r, uint32_t quiet_ms)
{
	uint64_t left = quiet_ms;

	if (!r)
		return;
	atomic_store(&r->ending, true);
	while (!ends_within(r, left)) {
		uint64_t since = atomic_load(&r->since_ms), now = clock_ms();

		left = since && now - since < quiet_ms ? quiet_ms - (now - since) : quiet_ms;
		if (!since || now - since < quiet_ms)
			continue;
		shutdown(r->from, SHUT_RD);
		pthread_join(r->thread, NULL);
		break;
	}
	free(r);
}
