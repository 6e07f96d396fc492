// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a driver asks of a disk: reads a chain, and checks it.
 *
 * A request is a chain: 16 bytes of header, data, and one status byte that is
 * the last writable one; the device cuts it at these places whatever the
 * driver's descriptors are (virtio 1.2, section 5.2.6.4). The header is copied out
 * once, and so are the ranges of DISCARD and WRITE_ZEROES. A chain without room for a
 * status breaks the device, since nothing could be answered; whatever else is wrong
 * with a request is answered in its status: IOERR for a wrong length or place, UNSUPP
 * for what we do not know.
 *
 * The driver of a disk with O_DIRECT was told a block (blk_size); places and lengths
 * that are no multiple of it are answered with IOERR. Buffers may be anywhere.
 */
#include <string.h>

#include "vmm/virtio/blk.h"

static bool in_range(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	return sector <= b->sectors && sectors <= b->sectors - sector;
}

static bool aligned(const struct blk *b, const struct iovec *v, uint16_t n)
{
	uint16_t i;

	for (i = 0; i < n; i++)
		if ((uintptr_t)v[i].iov_base % b->raw.mem_align || v[i].iov_len % b->raw.block)
			return false;
	return true;
}

/* IN and OUT: the chain's lists have been cut down to the data. */
static uint8_t parse_data(struct blk *b, struct blk_req *r, bool to_disk, uint64_t sector)
{
	const struct virtq_chain *c = &b->chain;
	const struct iovec *v = to_disk ? c->out : c->in;
	uint64_t bytes = to_disk ? c->out_bytes : c->in_bytes;

	if (to_disk && b->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (bytes % SECTOR_BYTES || !in_range(b, sector, bytes / SECTOR_BYTES))
		return VIRTIO_BLK_S_IOERR;
	r->kind = to_disk ? BLK_WRITE : BLK_READ;
	r->offset = sector * SECTOR_BYTES;
	r->left = bytes;
	r->n = to_disk ? c->n_out : c->n_in;
	if (b->raw.direct) {
		if (r->offset % b->raw.block || bytes % b->raw.block)
			return VIRTIO_BLK_S_IOERR;
		r->bounce = !aligned(b, v, r->n);
	}
	memcpy(r->v, v, r->n * sizeof(*v));
	return VIRTIO_BLK_S_OK;
}

static uint8_t check_range(const struct blk *b, bool zeroes,
			   const struct virtio_blk_discard_write_zeroes *x)
{
	uint32_t known = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (x->flags & ~known)
		return VIRTIO_BLK_S_UNSUPP;
	if (x->num_sectors > (zeroes ? BLK_ZEROES_SECTORS_MAX : BLK_DISCARD_SECTORS_MAX) ||
	    !in_range(b, x->sector, x->num_sectors))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse_clear(struct blk *b, struct blk_req *r, bool zeroes)
{
	uint64_t bytes = b->chain.out_bytes;
	uint8_t status = VIRTIO_BLK_S_OK;
	uint16_t i;

	if (b->readonly || !bytes || bytes % sizeof(r->ranges[0]) || bytes > sizeof(r->ranges))
		return VIRTIO_BLK_S_IOERR;
	r->kind = BLK_CLEAR;
	r->zeroes = zeroes;
	r->n_ranges = (uint16_t)(bytes / sizeof(r->ranges[0]));
	chain_read(&b->chain, 0, r->ranges, bytes);
	for (i = 0; i < r->n_ranges && status == VIRTIO_BLK_S_OK; i++)
		status = check_range(b, zeroes, &r->ranges[i]);
	return status;
}

static uint8_t parse_flush(struct blk *b, struct blk_req *r)
{
	r->kind = BLK_FLUSH;
	r->sync_due = !b->readonly;
	return VIRTIO_BLK_S_OK;
}

static uint8_t get_id(struct blk *b, struct blk_req *r)
{
	r->kind = BLK_FLUSH;
	if (b->chain.in_bytes < sizeof(b->serial))
		return VIRTIO_BLK_S_IOERR;
	chain_write(&b->chain, 0, b->serial, sizeof(b->serial));
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse_kind(struct blk *b, struct blk_req *r, const struct virtio_blk_outhdr *h)
{
	switch (h->type) {
	case VIRTIO_BLK_T_IN:
		return parse_data(b, r, false, h->sector);
	case VIRTIO_BLK_T_OUT:
		return parse_data(b, r, true, h->sector);
	case VIRTIO_BLK_T_FLUSH:
		return parse_flush(b, r);
	case VIRTIO_BLK_T_GET_ID:
		return get_id(b, r);
	case VIRTIO_BLK_T_DISCARD:
		return parse_clear(b, r, false);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return parse_clear(b, r, true);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Cuts the status off the chain's end, and the header off its front. */
static bool split(struct virtq_chain *c, struct virtio_blk_outhdr *h)
{
	c->in_bytes--;
	c->n_in = (uint16_t)iov_trim(c->in, c->n_in, 0, c->in_bytes);
	if (chain_read(c, 0, h, sizeof(*h)) < sizeof(*h))
		return false;
	c->out_bytes -= sizeof(*h);
	c->n_out = (uint16_t)iov_trim(c->out, c->n_out, sizeof(*h), UINT64_MAX);
	return true;
}

/**
 * blk_parse() - what does the driver ask?
 * @r: filled in from @b->chain. Where its status is something else than OK, it is
 *     answered with that
 *
 * Return: false if there is no room for an answer
 * Context: the device's lock
 *
 * #syscalls none
 */
bool blk_parse(struct blk *b, struct blk_req *r)
{
	struct virtq_chain *c = &b->chain;
	struct virtio_blk_outhdr h;
	const struct iovec *last;

	if (!c->in_bytes)
		return false;
	r->head = c->head;
	r->used_bytes = c->in_bytes;
	last = &c->in[c->n_in - 1];
	r->status_at = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->status = split(c, &h) ? parse_kind(b, r, &h) : VIRTIO_BLK_S_IOERR;
	return true;
}
