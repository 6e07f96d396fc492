// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A message on a stream is a 32-bit little-endian length and that many bytes
 * of protobuf. The length is checked before anything is allocated. Reading is
 * incremental: what is there is taken, a rest waits for the next call; so a
 * peer that stalls in the middle of a message blocks nobody.
 */
#include "lib/frame.h"

#include <errno.h>
#include <poll.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/proc.h"

/* Waits for @events until @end (clock_ms(); 0 waits for ever). */
static int wait_for(int fd, short events, uint64_t end, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = clock_ms();
		int n, left = !end ? -1 : now >= end ? 0 : (int)(end - now);

		n = poll(&p, 1, left);
		if (n > 0)
			return 0;
		if (!n)
			return err_set(e, ETIMEDOUT, "no answer in time");
		if (errno != EINTR)
			return err_sys(e, "poll");
	}
}

static uint64_t deadline(int timeout_ms)
{
	return timeout_ms < 0 ? 0 : clock_ms() + (uint64_t)timeout_ms;
}

/**
 * frame_send() - send one message whole
 * @fd:         stream socket, blocking or not, borrowed
 * @m:          &message.base of any protobuf-c message, borrowed
 * @timeout_ms: for the whole message; -1 waits for ever
 *
 * Return: 0; -EMSGSIZE above FRAME_MAX_BYTES; -ETIMEDOUT (the stream is then
 * broken: close it); else minus errno; never raises SIGPIPE
 */
int frame_send(int fd, const struct ProtobufCMessage *m, int timeout_ms,
	       struct err *e)
{
	size_t len = protobuf_c_message_get_packed_size(m), done = 0;
	uint64_t end = deadline(timeout_ms);
	_cleanup_free_ uint8_t *buf = NULL;

	if (len > FRAME_MAX_BYTES)
		return err_set(e, EMSGSIZE, "message of %zu bytes, at most %u", len,
			       FRAME_MAX_BYTES);
	buf = malloc(len + 4);
	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	buf[0] = (uint8_t)len;
	buf[1] = (uint8_t)(len >> 8);
	buf[2] = (uint8_t)(len >> 16);
	buf[3] = (uint8_t)(len >> 24);
	protobuf_c_message_pack(m, buf + 4);
	while (done < len + 4) {
		ssize_t n = send(fd, buf + done, len + 4 - done,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			done += (size_t)n;
		} else if (errno == EAGAIN) {
			int rc = wait_for(fd, POLLOUT, end, e);

			if (rc < 0)
				return rc;
		} else if (errno != EINTR) {
			return err_sys(e, "send");
		}
	}
	return 0;
}

/**
 * frame_feed() - take what has arrived, without blocking
 * @rx: zero-initialised or used before; after a complete message its @buf and
 *      @len hold it until the next call
 * @fd: stream socket, borrowed
 *
 * Return: 1 a message is complete; 0 more must arrive; -EPIPE the peer closed;
 * -EMSGSIZE the length is a lie; else minus errno
 */
int frame_feed(struct frame_rx *rx, int fd, struct err *e)
{
	if (rx->have >= 4 && rx->have == (size_t)rx->len + 4)
		frame_done(rx);
	for (;;) {
		bool in_head = rx->have < 4;
		uint8_t *to;
		size_t want;
		ssize_t n;

		/* Before receiving: a reader that has failed here fails again. */
		if (rx->have == 4 && !rx->buf) {
			rx->len = (uint32_t)rx->head[0] | (uint32_t)rx->head[1] << 8 |
				  (uint32_t)rx->head[2] << 16 |
				  (uint32_t)rx->head[3] << 24;
			if (rx->len > FRAME_MAX_BYTES)
				return err_set(e, EMSGSIZE, "message of %u bytes, at most %u",
					       rx->len, FRAME_MAX_BYTES);
			rx->buf = malloc((size_t)rx->len + 1);
			if (!rx->buf)
				return err_set(e, ENOMEM, "out of memory");
		}
		if (rx->have >= 4 && rx->have == (size_t)rx->len + 4)
			return 1;
		to = in_head ? rx->head + rx->have : rx->buf + rx->have - 4;
		want = in_head ? 4 - rx->have : rx->len + 4 - rx->have;
		n = recv(fd, to, want, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != ECONNRESET)
			return err_sys(e, "recv");
		if (n <= 0) /* a reset: it closed with something of ours unread */
			return err_set(e, EPIPE, "the peer closed the connection");
		rx->have += (size_t)n;
	}
}

/**
 * frame_recv() - wait for one whole message
 * @rx:         as for frame_feed(), which it calls
 * @timeout_ms: -1 waits for ever
 *
 * Return: 0; -ETIMEDOUT; or as frame_feed()
 */
int frame_recv(int fd, struct frame_rx *rx, int timeout_ms, struct err *e)
{
	uint64_t end = deadline(timeout_ms);
	int rc;

	for (;;) {
		rc = frame_feed(rx, fd, e);
		if (rc)
			return rc < 0 ? rc : 0;
		rc = wait_for(fd, POLLIN, end, e);
		if (rc < 0)
			return rc;
	}
}

/**
 * frame_done() - free what a reader holds; it can be used again
 */
void frame_done(struct frame_rx *rx)
{
	free(rx->buf);
	memset(rx, 0, sizeof(*rx));
}
