// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The memory that the requests of a disk need, set aside when the disk is plugged, so
 * that a guest cannot make it grow. Requests are large, since each has room for the
 * longest chain, so memory is touched only up to the most that were under way at a
 * time, and is given back when the driver goes.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/virtio/blk.h"

static size_t pool_bytes(void)
{
	return BLK_DEPTH * sizeof(struct blk_req);
}

/**
 * blk_pool_init() - room for BLK_DEPTH requests, and the bounce buffer if needed
 *
 * Return: 0 or -ENOMEM; blk_pool_done() is fine in both cases
 *
 * #syscalls mmap
 */
int blk_pool_init(struct blk *b, struct err *e)
{
	int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *p = mmap(NULL, pool_bytes(), prot, flags, -1, 0);

	if (p == MAP_FAILED)
		return err_set(e, ENOMEM, "out of memory");
	b->pool = p;
	if (!b->raw.direct)
		return 0;
	p = mmap(NULL, BLK_BOUNCE_BYTES, prot, flags, -1, 0);
	if (p == MAP_FAILED)
		return err_set(e, ENOMEM, "out of memory");
	b->bounce = p;
	return 0;
}

/**
 * blk_pool_trim() - give back what memory the pool used
 * Context: no request is under way; any thread
 *
 * #syscalls madvise
 */
void blk_pool_trim(struct blk *b)
{
	if (!b->fresh)
		return;
	madvise(b->pool, pool_bytes(), MADV_DONTNEED);
	b->fresh = 0;
	b->free = NULL;
}

/**
 * blk_pool_done() - free the pool
 *
 * #syscalls munmap
 */
void blk_pool_done(struct blk *b)
{
	if (b->pool)
		munmap(b->pool, pool_bytes());
	if (b->bounce)
		munmap(b->bounce, BLK_BOUNCE_BYTES);
	b->pool = NULL;
	b->bounce = NULL;
}

/**
 * blk_pool_full() - whether BLK_DEPTH requests are under way
 */
bool blk_pool_full(const struct blk *b)
{
	return b->busy == BLK_DEPTH;
}

/**
 * blk_pool_get() - a request: the one that was used last, whose memory is there
 *
 * Return: the request, with nothing in it
 * Context: the pool is not full, and a place of @b->aio is held, which is now its own
 */
struct blk_req *blk_pool_get(struct blk *b)
{
	struct blk_req *r = b->free;

	if (r)
		b->free = r->next;
	else
		r = &b->pool[b->fresh++];
	memset(r, 0, offsetof(struct blk_req, ranges));
	r->piece.slot = -1;
	b->busy++;
	return r;
}

/**
 * blk_pool_put() - a request is over; its place of @b->aio is given back
 * Context: I/O thread
 */
void blk_pool_put(struct blk *b, struct blk_req *r)
{
	r->next = b->free;
	b->free = r;
	b->busy--;
	aio_release(b->aio);
}
