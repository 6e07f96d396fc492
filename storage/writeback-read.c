// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Takes a delta (lib/delta.h) off its connection, record by record. Lengths are checked
 * before they are waited for. The other end is a guest, which may be slow but not for
 * ever: it gets a grace, and more time with what it brings, so that one that drips ends
 * as one that stops does; and all of it has an end, whatever it brings, since somebody
 * waits for it. The buffer is the only memory that it takes.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "storage/writeback.h"

/* A guest gets this long, and one millisecond more for so many bytes. */
#define GRACE_MS 60000
#define BYTES_PER_MS 256

#define BUF_BYTES (2 * (DELTA_DATA_MAX + 1024))

/**
 * struct delta_reader - a delta that arrives
 * @stream:   borrowed
 * @buf:      bytes that have arrived, [off, have) not used yet
 * @waited_ms, @received: for the time that is left; what we take ourselves does not count
 * @end_ms:   of clock_ms(): for what both take; 0: none
 */
struct delta_reader {
	int stream;
	size_t off, have;
	uint64_t waited_ms, received, end_ms;
	uint8_t buf[BUF_BYTES];
};

/**
 * delta_reader_new() - begin to read
 * @stream: connection, borrowed; blocking or not
 * @ms_max: until all must have come and been used, from now on; 0: no such limit
 * @ret:    owned by the caller, delta_reader_free(); untouched on failure
 *
 * Return: 0 or -ENOMEM
 */
int delta_reader_new(int stream, uint64_t ms_max, struct delta_reader **ret, struct err *e)
{
	struct delta_reader *r = mem_new(struct delta_reader);

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->stream = stream;
	r->end_ms = ms_max ? clock_ms() + ms_max : 0;
	*ret = r;
	return 0;
}

/**
 * delta_reader_free() - the stream stays open; NULL is fine
 */
void delta_reader_free(struct delta_reader *r)
{
	free(r);
}

/* Return: milliseconds that the guest has left; at most what poll(2) takes. */
static int time_left(const struct delta_reader *r)
{
	uint64_t may = GRACE_MS + r->received / BYTES_PER_MS, took = r->waited_ms;

	return took >= may ? 0 : may - took > GRACE_MS ? GRACE_MS : (int)(may - took);
}

static int over(struct err *e)
{
	return err_set(e, ETIMEDOUT, "the changes take longer than they may");
}

static bool is_over(const struct delta_reader *r)
{
	return r->end_ms && clock_ms() >= r->end_ms;
}

/* Waits until @n bytes have arrived; they are at the returned place until the next call. */
static int need(struct delta_reader *r, size_t n, const uint8_t **ret, struct err *e)
{
	struct pollfd f = { .fd = r->stream, .events = POLLIN };
	ssize_t got;

	if (r->have - r->off < n && r->off) {
		memmove(r->buf, r->buf + r->off, r->have - r->off);
		r->have -= r->off;
		r->off = 0;
	}
	while (r->have - r->off < n) {
		uint64_t before = clock_ms();
		int left = time_left(r), rc;

		if (r->end_ms && before + (uint64_t)left > r->end_ms)
			left = before < r->end_ms ? (int)(r->end_ms - before) : 0;
		rc = poll(&f, 1, left);
		r->waited_ms += clock_ms() - before;
		if (!rc && is_over(r))
			return over(e);
		if (!rc)
			return err_set(e, ETIMEDOUT, "the guest brings its changes too slowly");
		got = rc < 0 ? -1 : read(r->stream, r->buf + r->have, BUF_BYTES - r->have);
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			return err_sys(e, "the guest's changes: read");
		if (!got)
			return err_set(e, EPIPE, "the guest's changes end in the middle");
		if (got > 0) {
			r->have += (size_t)got;
			r->received += (uint64_t)got;
		}
	}
	*ret = r->buf + r->off;
	r->off += n;
	return 0;
}

/**
 * delta_read() - the next record
 * @ret:      its head
 * @ret_name: its name, NUL-terminated; it may hold NULs
 * @ret_data: @ret->len bytes, until the next call
 *
 * Return: 0; -EPROTO for lengths that cannot be; -EPIPE at the end; -ETIMEDOUT; minus
 * errno
 */
int delta_read(struct delta_reader *r, struct delta_head *ret, char ret_name[DELTA_NAME_MAX + 1],
	       const uint8_t **ret_data, struct err *e)
{
	const uint8_t *p = NULL;
	int rc = is_over(r) ? over(e) : need(r, sizeof(*ret), &p, e);

	if (rc < 0)
		return rc;
	memcpy(ret, p, sizeof(*ret));
	if (ret->name_len > DELTA_NAME_MAX || ret->len > DELTA_DATA_MAX + 64)
		return err_set(e, EPROTO,
			       "the guest's changes make no sense: the length of a record");
	rc = need(r, ret->name_len + (size_t)ret->len, &p, e);
	if (rc < 0)
		return rc;
	memcpy(ret_name, p, ret->name_len);
	ret_name[ret->name_len] = 0;
	*ret_data = p + ret->name_len;
	return 0;
}
