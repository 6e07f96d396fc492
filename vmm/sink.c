// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Where a guest's console output goes. It never blocks the thread that writes:
 * what a slow reader's pipe has no room for is dropped, as on a serial line
 * that nobody listens to. It ends for good at SINK_MAX_BYTES, with one line that
 * says so, so that no guest fills the host's disk.
 */
#include "vmm/sink.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"

/* A pipe that polls writable takes that much without blocking (pipe(7)). */
#define PIECE_BYTES 4096

static const char full_text[] = "\n[podvm: console output ends here: limit reached]\n";

static bool writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

/**
 * sink_write() - append output, or drop it
 */
void sink_write(struct sink *s, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len && !s->full) {
		size_t n = len < PIECE_BYTES ? len : PIECE_BYTES;

		if (s->written + n > SINK_MAX_BYTES) {
			s->full = true;
			p = (const uint8_t *)full_text;
			n = sizeof(full_text) - 1;
		}
		if (s->fd < 0 || !writable(s->fd) || write(s->fd, p, n) < 0)
			return;
		s->written += n;
		p += n;
		len -= n;
	}
}

/**
 * sink_done() - close; twice is fine
 */
void sink_done(struct sink *s)
{
	fd_close(&s->fd);
}
