// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One request of a disk, from its chain to its status. blk-parse.c has read what the
 * driver asks; here it is carried out.
 *
 * A request takes one operation of vmm/aio.c after the other:
 *
 *   go_on() -> prepare: what is next?  START: it is started, and its result comes to
 *                                      come_back(), which goes on
 *                                      WAIT: for the bounce buffer; go_on() when it is free
 *                                      DONE: finish(): status, used ring
 *
 * Whatever moves only a part (a short read or write, more than BLK_PART_BYTES, the
 * next file of a synthetic disk) is continued that way. What the host answers with
 * EINTR or EAGAIN is done again, TRIES_MAX times. Requests are independent of each
 * other and may finish in any order; FLUSH makes safe what was finished before it
 * came (section 5.2.6.2), which is what fdatasync does, so it waits for nobody.
 *
 * When the driver resets the device or breaks a rule, requests that are under way
 * end with their operation; nothing is written to guest memory any more by us.
 *
 * Buffers that O_DIRECT cannot take are copied through one buffer per disk, by one
 * request at a time; others wait for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/log.h"
#include "vmm/virtio/blk.h"

/* Zeros to write where the host has no better way. */
#define ZERO_BYTES 65536u

/* How often the host may say EINTR or EAGAIN to one request. */
#define TRIES_MAX 10

/* Failures of the host that are logged, per disk. */
#define LOG_MAX 20

enum step { STEP_START, STEP_WAIT, STEP_DONE };

/* Never written to; not const, so that it takes no room in the program's file. */
static _Alignas(4096) uint8_t zeros[ZERO_BYTES];

/* ---- small things ---- */

static uint8_t host_failed(struct blk *b, const struct err *e)
{
	if (b->n_logged < LOG_MAX) {
		log_warn("blk: %.20s: %s", b->serial, e->text);
		if (++b->n_logged == LOG_MAX)
			log_warn("blk: %.20s: further failures are not logged", b->serial);
	}
	return VIRTIO_BLK_S_IOERR;
}

static uint8_t op_failed(struct blk *b, const struct aio_op *op)
{
	static const char *const names[] = { "nothing", "read", "write", "flush", "discard" };
	struct err e;

	errno = -op->result;
	if (op->result < 0)
		err_sys(&e, "%s", names[op->kind]);
	else
		err_set(&e, EIO, "%s: the disk has shrunk", names[op->kind]);
	return host_failed(b, &e);
}

static bool flush_acked(const struct blk *b)
{
	return b->d.s.acked & 1ull << VIRTIO_BLK_F_FLUSH;
}

/* Does the driver still want the answer? */
static bool wanted(const struct blk *b, const struct blk_req *r)
{
	return b->d.running && !b->d.q[r->queue].broken;
}

/* The first @bytes of the buffers become those of the operation. */
static void cut(struct blk_req *r, uint64_t bytes)
{
	uint64_t sum = 0;
	uint16_t i;

	for (i = 0; sum < bytes; i++)
		sum += r->v[i].iov_len;
	r->n_part = i;
	r->cut = sum - bytes;
	r->v[i - 1].iov_len -= r->cut;
	r->op.iov = r->v;
	r->op.n_iov = i;
}

static void uncut(struct blk_req *r)
{
	if (r->n_part)
		r->v[r->n_part - 1].iov_len += r->cut;
	r->n_part = 0;
	r->cut = 0;
}

static void advance(struct blk_req *r, uint64_t bytes)
{
	uncut(r);
	r->offset += bytes;
	r->left -= bytes;
	if (!r->writing)
		r->n = (uint16_t)iov_trim(r->v, r->n, bytes, UINT64_MAX);
}

/* Copies between a flat buffer and the first @bytes of the guest's; NULL: zeros. */
static void copy(struct blk_req *r, const uint8_t *from, uint8_t *to, uint64_t bytes)
{
	uint16_t i;

	for (i = 0; bytes; i++) {
		size_t part = r->v[i].iov_len < bytes ? r->v[i].iov_len : bytes;

		if (to) {
			memcpy(to, r->v[i].iov_base, part);
			to += part;
		} else if (from) {
			memcpy(r->v[i].iov_base, from, part);
			from += part;
		} else {
			memset(r->v[i].iov_base, 0, part);
		}
		bytes -= part;
	}
}

static uint64_t part_of(uint64_t bytes, uint64_t most)
{
	return bytes < most ? bytes : most;
}

/* ---- what is next ---- */

static void op_fill(struct blk *b, struct blk_req *r, enum aio_kind kind)
{
	r->op.kind = kind;
	r->op.fd = b->fd;
	r->op.offset = r->offset;
	/* Without FLUSH, what was written must be safe (section 5.2.6.2). */
	r->op.flags = kind == AIO_WRITE && !flush_acked(b) ? RWF_DSYNC : 0;
}

/* Makes @r the user of the bounce buffer, or lets it wait for it. */
static bool get_bounce(struct blk *b, struct blk_req *r)
{
	if (b->bounce_user == r)
		return true;
	if (!b->bounce_user) {
		b->bounce_user = r;
		return true;
	}
	r->next = NULL;
	if (b->waiting)
		b->waiting_last->next = r;
	else
		b->waiting = r;
	b->waiting_last = r;
	return false;
}

static enum step prepare_raw(struct blk *b, struct blk_req *r)
{
	if (!r->left)
		return STEP_DONE;
	op_fill(b, r, r->kind == BLK_WRITE ? AIO_WRITE : AIO_READ);
	if (!r->bounce) {
		cut(r, part_of(r->left, BLK_PART_BYTES));
		return STEP_START;
	}
	if (!get_bounce(b, r))
		return STEP_WAIT;
	b->bounce_v = (struct iovec){ b->bounce, part_of(r->left, BLK_BOUNCE_BYTES) };
	if (r->kind == BLK_WRITE)
		copy(r, NULL, b->bounce, b->bounce_v.iov_len);
	r->op.iov = &b->bounce_v;
	r->op.n_iov = 1;
	return STEP_START;
}

/* Memory and zeros at once, up to the first piece that is in a file. */
static enum step prepare_synth(struct blk *b, struct blk_req *r)
{
	uint64_t room = BLK_PART_BYTES;
	struct err e = { 0 };

	while (r->left && room) {
		struct synth_piece *p = &r->piece;

		if (synth_get(b->synth, r->offset, part_of(r->left, room), p, &e) < 0) {
			r->status = host_failed(b, &e);
			return STEP_DONE;
		}
		if (p->fd >= 0) {
			cut(r, p->len);
			r->op.kind = AIO_READ;
			r->op.fd = p->fd;
			r->op.offset = p->offset;
			r->op.flags = 0;
			return STEP_START;
		}
		copy(r, p->src, NULL, p->len);
		room -= p->len;
		advance(r, p->len);
	}
	if (!r->left)
		return STEP_DONE;
	r->op.kind = AIO_NOTHING;
	return STEP_START;
}

static enum step prepare_flush(struct blk *b, struct blk_req *r)
{
	if (!r->sync_due)
		return STEP_DONE;
	op_fill(b, r, AIO_SYNC);
	return STEP_START;
}

static enum step write_zeros(struct blk *b, struct blk_req *r)
{
	uint64_t part = part_of(r->left, BLK_PART_BYTES), sum;

	op_fill(b, r, AIO_WRITE);
	r->op.iov = r->v;
	r->op.n_iov = 0;
	for (sum = 0; sum < part; sum += ZERO_BYTES)
		r->v[r->op.n_iov++] = (struct iovec){ zeros, part_of(part - sum, ZERO_BYTES) };
	return STEP_START;
}

static enum step prepare_clear(struct blk *b, struct blk_req *r)
{
	const struct virtio_blk_discard_write_zeroes *x;
	bool unmap;

	if (r->writing && r->left)
		return write_zeros(b, r);
	if (r->writing)
		r->range++;
	r->writing = false;
	while (r->range < r->n_ranges && !r->ranges[r->range].num_sectors)
		r->range++;
	if (r->range == r->n_ranges)
		return prepare_flush(b, r);
	x = &r->ranges[r->range];
	unmap = !r->zeroes || x->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	r->offset = x->sector * SECTOR_BYTES;
	r->left = (uint64_t)x->num_sectors * SECTOR_BYTES;
	op_fill(b, r, AIO_ALLOCATE);
	r->op.len = r->left;
	r->op.flags = FALLOC_FL_KEEP_SIZE | (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	return STEP_START;
}

static enum step prepare(struct blk *b, struct blk_req *r)
{
	switch (r->kind) {
	case BLK_READ:
	case BLK_WRITE:
		return b->synth ? prepare_synth(b, r) : prepare_raw(b, r);
	case BLK_FLUSH:
		return prepare_flush(b, r);
	case BLK_CLEAR:
		return prepare_clear(b, r);
	}
	return STEP_DONE;
}

/* ---- the end of it ---- */

static void go_on(struct blk *b, struct blk_req *r);

/* The bounce buffer is free: the next request, or all if the driver wants none. */
static void pass_bounce(struct blk *b)
{
	struct blk_req *r;

	b->bounce_user = NULL;
	while (!b->bounce_user && (r = b->waiting)) {
		b->waiting = r->next;
		if (wanted(b, r))
			go_on(b, r);
		else
			blk_pool_put(b, r);
	}
}

static void drop(struct blk *b, struct blk_req *r)
{
	bool had = b->bounce_user == r;

	blk_pool_put(b, r);
	if (had)
		pass_bounce(b);
}

static void finish(struct blk *b, struct blk_req *r)
{
	struct virtq *q = &b->d.q[r->queue];
	bool ok = r->status == VIRTIO_BLK_S_OK;

	*r->status_at = r->status;
	/* After a failure nothing but the status is promised to be there. */
	virtq_push(q, r->head, ok && r->used_bytes <= UINT32_MAX ? (uint32_t)r->used_bytes : 1);
	b->notify |= 1u << r->queue;
	drop(b, r);
}

static void go_on(struct blk *b, struct blk_req *r)
{
	switch (prepare(b, r)) {
	case STEP_START:
		aio_start(b->aio, &b->user, &r->op);
		break;
	case STEP_WAIT:
		break;
	case STEP_DONE:
		finish(b, r);
	}
}

/* ---- results ---- */

static void moved(struct blk *b, struct blk_req *r, uint64_t bytes)
{
	if (r->kind == BLK_WRITE)
		b->d.q[r->queue].count.out_bytes += bytes;
	else if (b->bounce_user == r)
		copy(r, b->bounce, NULL, bytes);
	advance(r, bytes);
}

static void data_result(struct blk *b, struct blk_req *r)
{
	if (r->op.result > 0) {
		moved(b, r, (uint64_t)r->op.result);
	} else if (b->synth && r->op.kind == AIO_READ) {
		/* The file has become shorter: zeros, as behind every end. */
		uncut(r);
		copy(r, NULL, NULL, r->piece.len);
		advance(r, r->piece.len);
	} else if (r->op.kind != AIO_NOTHING) {
		r->status = op_failed(b, &r->op);
	}
}

static void clear_failed(struct blk *b, struct blk_req *r, int code)
{
	if (code != EOPNOTSUPP && code != ENOSYS && code != EINVAL) {
		r->status = op_failed(b, &r->op);
	} else if (r->zeroes) {
		r->writing = true;
		limit_take(&b->limit, r->left);
	} else {
		/* A discard is a hint that the back end may not understand. */
		r->range++;
	}
}

static void clear_result(struct blk *b, struct blk_req *r)
{
	switch (r->op.kind) {
	case AIO_ALLOCATE:
		if (r->op.result < 0) {
			clear_failed(b, r, -r->op.result);
			break;
		}
		r->sync_due = !flush_acked(b);
		r->range++;
		break;
	case AIO_WRITE:
		if (r->op.result > 0)
			advance(r, (uint64_t)r->op.result);
		else
			r->status = op_failed(b, &r->op);
		break;
	default:
		r->sync_due = false;
		if (r->op.result < 0)
			r->status = op_failed(b, &r->op);
	}
}

static void take_result(struct blk *b, struct blk_req *r)
{
	if (r->kind == BLK_CLEAR) {
		clear_result(b, r);
	} else if (r->op.result < 0) {
		r->status = op_failed(b, &r->op);
	} else if (r->kind == BLK_FLUSH) {
		r->sync_due = false;
	} else {
		data_result(b, r);
	}
}

static void come_back(struct blk *b, struct blk_req *r)
{
	bool again = r->op.result == -EINTR || r->op.result == -EAGAIN;

	if (again && wanted(b, r) && r->tries++ < TRIES_MAX) {
		r->op.patient = true;
		aio_start(b->aio, &b->user, &r->op);
		return;
	}
	if (wanted(b, r))
		take_result(b, r);
	if (b->synth)
		synth_put(b->synth, &r->piece);
	r->piece.slot = -1;
	if (!wanted(b, r))
		drop(b, r);
	else if (r->status != VIRTIO_BLK_S_OK)
		finish(b, r);
	else
		go_on(b, r);
}

/**
 * blk_collect() - go on with requests whose operation has come back
 *
 * Return: whether there was one
 * Context: I/O thread
 *
 * #syscalls as of vmm/aio.c
 */
bool blk_collect(struct blk *b)
{
	struct aio_op *op = aio_collect(b->aio, &b->user), *next;
	bool some = op;

	for (; op; op = next) {
		next = op->next;
		come_back(b, (struct blk_req *)op);
	}
	return some;
}

/**
 * blk_begin() - begin the request that is in @b->chain
 *
 * The pool is not full, and the caller holds a place of @b->aio, which is the
 * request's from now on.
 *
 * Return: bytes of data that it moves; nothing if it broke a rule
 * Context: I/O thread
 *
 * #syscalls as of vmm/aio.c and synth.c
 */
uint64_t blk_begin(struct blk *b, uint16_t queue)
{
	struct blk_req *r = blk_pool_get(b);
	uint64_t bytes;

	r->queue = queue;
	if (!blk_parse(b, r)) {
		blk_pool_put(b, r);
		virtio_broken(&b->d, "a request without room for its status");
		return 0;
	}
	bytes = r->left;
	limit_take(&b->limit, bytes);
	if (r->status != VIRTIO_BLK_S_OK)
		finish(b, r);
	else
		go_on(b, r);
	return bytes;
}
