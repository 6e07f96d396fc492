// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: the device's side of a split virtqueue (virtio 1.2, section 2.7)
 * against a driver that lies. The rings stay in guest memory and may change at
 * any instant, so each word is read once: a descriptor is copied out, the copy
 * is checked, and only the copy is used. What virtq_pop() hands out are host
 * addresses and lengths that no guest can change any more; the bytes that they
 * point to stay the guest's, and whoever reads a header from them does that
 * once, with chain_read().
 *
 * A rule that the driver broke is -EPROTO with the rule as text. The queue is
 * broken from then on and gives nothing until virtq_reset(); the device tells
 * its driver with virtio_broken().
 *
 * Objects: struct virtq belongs to its device, and so does its lock. Guest
 * memory is borrowed; the spans of the three parts are looked up once, by
 * virtq_start(), since RAM does not move while a device runs.
 *
 * Order of memory operations: the driver publishes with its write of the
 * available index, which we read with acquire; we publish with our write of
 * the used index, with release. EVENT_IDX and NO_NOTIFY need store-then-load
 * order between two parties, which only a full barrier gives (section 2.7.7).
 *
 * Limits: a chain has at most as many descriptors as the queue has, direct and
 * indirect together; its buffers sum up to 4 GiB at most (section 2.7.5).
 */
#include "vmm/virtio/queue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define CHAIN_BYTES_MAX (1ull << 32)

/* Offsets in the available and the used ring (sections 2.7.6 and 2.7.8). */
#define RING_FLAGS 0
#define RING_IDX 2
#define RING_ENTRIES 4
#define USED_ENTRY_BYTES 8

static uint16_t *ring_u16(void *ring, size_t offset)
{
	return (uint16_t *)((uint8_t *)ring + offset);
}

static uint16_t avail_idx(const struct virtq *q)
{
	return __atomic_load_n(ring_u16(q->avail_hva, RING_IDX), __ATOMIC_ACQUIRE);
}

static uint16_t *used_event(const struct virtq *q)
{
	return ring_u16(q->avail_hva, RING_ENTRIES + 2u * q->s.size);
}

static uint16_t *avail_event(const struct virtq *q)
{
	return ring_u16(q->used_hva, RING_ENTRIES + (size_t)USED_ENTRY_BYTES * q->s.size);
}

static bool usable(const struct virtq *q)
{
	return q->desc_hva && !q->broken;
}

static bool flight_test(const struct virtq *q, uint16_t head)
{
	return q->in_flight[head / 64] >> (head % 64) & 1;
}

static void flight_set(struct virtq *q, uint16_t head, bool on)
{
	uint64_t bit = 1ull << (head % 64);

	if (on)
		q->in_flight[head / 64] |= bit;
	else
		q->in_flight[head / 64] &= ~bit;
}

/**
 * virtq_start() - check where the driver put the rings and begin to use them
 * @q:         @q->s filled in; next_avail and next_used are kept, for restore
 * @mem:       borrowed until virtq_reset()
 * @event_idx: VIRTIO_F_EVENT_IDX was negotiated
 *
 * Return: 0; -EINVAL for a size or an alignment that virtio forbids, -EFAULT
 * for a part that is not wholly in RAM: the queue then stays unusable
 * Context: the device's lock; does not block
 * Source: virtio 1.2, section 2.7
 *
 * #syscalls none
 */
int virtq_start(struct virtq *q, const struct gmem *mem, bool event_idx,
		struct err *e)
{
	uint64_t n = q->s.size;
	void *desc, *avail, *used;

	if (!n || n > VIRTQ_SIZE_MAX || (n & (n - 1)))
		return err_set(e, EINVAL, "queue size %u is not a power of two up to %d",
			       q->s.size, VIRTQ_SIZE_MAX);
	if (q->s.desc % 16 || q->s.avail % 2 || q->s.used % 4)
		return err_set(e, EINVAL, "queue parts are not aligned to 16, 2 and 4 bytes");
	if (gmem_span(mem, q->s.desc, n * sizeof(struct vring_desc), &desc) < 0)
		return err_set(e, EFAULT, "descriptor table is not in RAM");
	if (gmem_span(mem, q->s.avail, 6 + 2 * n, &avail) < 0)
		return err_set(e, EFAULT, "available ring is not in RAM");
	if (gmem_span(mem, q->s.used, 6 + USED_ENTRY_BYTES * n, &used) < 0)
		return err_set(e, EFAULT, "used ring is not in RAM");
	q->mem = mem;
	q->event_idx = event_idx;
	q->broken = false;
	q->desc_hva = desc;
	q->avail_hva = avail;
	q->used_hva = used;
	memset(q->in_flight, 0, sizeof(q->in_flight));
	q->signalled_valid = false;
	return 0;
}

/**
 * virtq_reset() - forget everything that the driver has set up
 * @q: its state is zero afterwards, with no vector and nothing in flight; only
 *     its counters go on
 *
 * Context: the device's lock; may be called at any time, also twice
 *
 * #syscalls none
 */
void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){ .s.vector = VIRTQ_NO_VECTOR, .count = q->count };
}

/**
 * virtq_resume() - go on where somebody else has stopped, who served the queue
 * @q: started; the other one took and gave back in order
 *
 * What was taken and not given back is taken again. How far that was is in the used
 * ring; a driver that changed it finds its requests in disorder, or breaks the
 * queue, which is its own loss.
 *
 * Context: the device's lock
 *
 * #syscalls none
 */
void virtq_resume(struct virtq *q)
{
	if (!q->desc_hva)
		return;
	q->s.next_used = __atomic_load_n(ring_u16(q->used_hva, RING_IDX), __ATOMIC_ACQUIRE);
	q->s.next_avail = q->s.next_used;
	q->signalled_valid = false;
}

/**
 * struct walk - where virtq_pop() is in a chain
 * @table: current descriptor table, in guest memory
 * @n:     its entries
 * @i:     next entry
 * @left:  descriptors that the chain may still have
 * @indirect: @table is an indirect one
 */
struct walk {
	const uint8_t *table;
	uint32_t n;
	uint32_t i;
	uint32_t left;
	bool indirect;
};

/* The barrier keeps the compiler from reading guest memory again later. */
static struct vring_desc load_desc(const struct walk *w)
{
	struct vring_desc d;

	memcpy(&d, w->table + (size_t)w->i * sizeof(d), sizeof(d));
	__asm__ volatile("" ::: "memory");
	return d;
}

static int enter_indirect(const struct virtq *q, struct walk *w,
			  const struct vring_desc *d, struct err *e)
{
	void *hva;

	if (w->indirect)
		return err_set(e, EPROTO, "an indirect table inside an indirect table");
	if (d->flags & VRING_DESC_F_NEXT)
		return err_set(e, EPROTO, "an indirect descriptor with a next one");
	if (!d->len || d->len % sizeof(*d))
		return err_set(e, EPROTO, "indirect table of %u bytes", d->len);
	if (d->len / sizeof(*d) > q->s.size)
		return err_set(e, EPROTO, "indirect table of %zu entries, queue of %u",
			       d->len / sizeof(*d), q->s.size);
	if (gmem_span(q->mem, d->addr, d->len, &hva) < 0)
		return err_set(e, EPROTO, "indirect table is not in RAM");
	w->table = hva;
	w->n = d->len / (uint32_t)sizeof(*d);
	w->i = 0;
	w->indirect = true;
	return 0;
}

static int add_buffer(const struct virtq *q, struct virtq_chain *c,
		      const struct vring_desc *d, struct err *e)
{
	struct iovec v = { .iov_len = d->len };

	if (!d->len)
		return err_set(e, EPROTO, "a buffer of no bytes");
	if (gmem_span(q->mem, d->addr, d->len, &v.iov_base) < 0)
		return err_set(e, EPROTO, "a buffer that is not in RAM");
	if (c->out_bytes + c->in_bytes + d->len > CHAIN_BYTES_MAX)
		return err_set(e, EPROTO, "a chain above 4 GiB");
	if (d->flags & VRING_DESC_F_WRITE) {
		c->in[c->n_in++] = v;
		c->in_bytes += d->len;
		return 0;
	}
	if (c->n_in)
		return err_set(e, EPROTO, "a readable buffer behind a writable one");
	c->out[c->n_out++] = v;
	c->out_bytes += d->len;
	return 0;
}

static int walk_chain(const struct virtq *q, struct virtq_chain *c, struct err *e)
{
	struct walk w = { .table = q->desc_hva, .n = q->s.size, .i = c->head,
			  .left = q->s.size };

	for (;;) {
		struct vring_desc d;
		int rc;

		if (w.i >= w.n)
			return err_set(e, EPROTO, "descriptor %u of %u", w.i, w.n);
		if (!w.left)
			return err_set(e, EPROTO, "a chain longer than its queue, or a loop");
		d = load_desc(&w);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			rc = enter_indirect(q, &w, &d, e);
			if (rc < 0)
				return rc;
			continue;
		}
		w.left--;
		rc = add_buffer(q, c, &d, e);
		if (rc < 0)
			return rc;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		w.i = d.next;
	}
}

static int pop_checked(struct virtq *q, struct virtq_chain *c, struct err *e)
{
	uint16_t ahead = (uint16_t)(avail_idx(q) - q->s.next_avail);
	size_t slot = q->s.next_avail & (q->s.size - 1u);
	int rc;

	if (!ahead)
		return 0;
	if (ahead > q->s.size)
		return err_set(e, EPROTO, "available index %u ahead of a queue of %u",
			       ahead, q->s.size);
	c->head = __atomic_load_n(ring_u16(q->avail_hva, RING_ENTRIES + 2 * slot),
				  __ATOMIC_RELAXED);
	c->n_out = c->n_in = 0;
	c->out_bytes = c->in_bytes = 0;
	if (c->head >= q->s.size)
		return err_set(e, EPROTO, "head %u of a queue of %u", c->head, q->s.size);
	if (flight_test(q, c->head))
		return err_set(e, EPROTO, "head %u is in flight already", c->head);
	rc = walk_chain(q, c, e);
	if (rc < 0)
		return rc;
	flight_set(q, c->head, true);
	q->s.next_avail++;
	return 1;
}

/**
 * virtq_pop() - take the next request
 * @q:   started; one that is not, or is broken, has nothing
 * @ret: filled on 1; undefined otherwise
 *
 * Return: 1 with a request; 0 if there is none; -EPROTO with the broken rule:
 * the caller calls virtio_broken(), and the queue gives nothing more
 * Context: the device's lock; does not block
 * Source: virtio 1.2, sections 2.7.5, 2.7.6, 2.7.13
 *
 * #syscalls none
 */
int virtq_pop(struct virtq *q, struct virtq_chain *ret, struct err *e)
{
	int rc;

	if (!usable(q))
		return 0;
	rc = pop_checked(q, ret, e);
	if (rc < 0)
		q->broken = true;
	return rc;
}

/**
 * virtq_push_batch() - give several requests back so that the driver sees all or none
 * @heads:   as virtq_pop() gave them
 * @written: bytes written into each one's writable buffers, from their beginning
 * @n:       at most the queue's size; 0 does nothing
 *
 * A packet that spans several receive buffers must appear at once
 * (virtio 1.2, section 5.1.6.4).
 *
 * Return: 0; -EINVAL if a head is not in flight (nothing is given back then);
 * on a broken or stopped queue 0, and nothing happens
 * Context: the device's lock; does not block
 *
 * #syscalls none
 */
int virtq_push_batch(struct virtq *q, const uint16_t *heads,
		     const uint32_t *written, uint16_t n)
{
	uint16_t i;

	if (!usable(q))
		return 0;
	for (i = 0; i < n; i++)
		if (heads[i] >= q->s.size || !flight_test(q, heads[i]))
			return -EINVAL;
	for (i = 0; i < n; i++) {
		size_t slot = (uint16_t)(q->s.next_used + i) & (q->s.size - 1u);
		struct vring_used_elem u = { .id = heads[i], .len = written[i] };

		memcpy((uint8_t *)q->used_hva + RING_ENTRIES + slot * USED_ENTRY_BYTES,
		       &u, sizeof(u));
		flight_set(q, heads[i], false);
		q->count.in_bytes += written[i];
	}
	q->s.next_used = (uint16_t)(q->s.next_used + n);
	q->count.requests += n;
	__atomic_store_n(ring_u16(q->used_hva, RING_IDX), q->s.next_used,
			 __ATOMIC_RELEASE);
	return 0;
}

/**
 * virtq_push() - give a request back
 * @head:    of a chain from virtq_pop()
 * @written: bytes written into its writable buffers, from their beginning
 *
 * Return, Context: as virtq_push_batch()
 *
 * #syscalls none
 */
int virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	return virtq_push_batch(q, &head, &written, 1);
}

/**
 * virtq_unpop() - undo the latest virtq_pop(); the next one reads the chain anew
 * @c: only its head is looked at; several are undone in reverse order
 *
 * Context: the device's lock
 *
 * #syscalls none
 */
void virtq_unpop(struct virtq *q, const struct virtq_chain *c)
{
	if (!usable(q) || c->head >= q->s.size || !flight_test(q, c->head))
		return;
	flight_set(q, c->head, false);
	q->s.next_avail--;
}

/**
 * virtq_should_notify() - does the driver want an interrupt for what was pushed?
 *
 * Each call covers the pushes since the call before.
 *
 * Context: the device's lock
 * Source: virtio 1.2, sections 2.7.7 and 2.7.10
 *
 * #syscalls none
 */
bool virtq_should_notify(struct virtq *q)
{
	uint16_t old = q->signalled, now = q->s.next_used, event;
	bool valid = q->signalled_valid;

	if (!usable(q))
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(__atomic_load_n(ring_u16(q->avail_hva, RING_FLAGS),
					 __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
	q->signalled = now;
	q->signalled_valid = true;
	event = __atomic_load_n(used_event(q), __ATOMIC_RELAXED);
	return !valid || vring_need_event(event, now, old);
}

/**
 * virtq_enable_kicks() - ask for a notification with the next request
 *
 * Return: true if a request came in before the driver could have seen that:
 * take it, no kick will come for it
 * Context: the device's lock
 * Source: virtio 1.2, section 2.7.10
 *
 * #syscalls none
 */
bool virtq_enable_kicks(struct virtq *q)
{
	if (!usable(q))
		return false;
	if (q->event_idx)
		__atomic_store_n(avail_event(q), q->s.next_avail, __ATOMIC_RELAXED);
	else
		__atomic_store_n(ring_u16(q->used_hva, RING_FLAGS), 0,
				 __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return avail_idx(q) != q->s.next_avail;
}

/**
 * virtq_take() - virtq_pop(), and ask for a kick when there is nothing
 * @ret: as for virtq_pop()
 *
 * Return: 1 with a request; 0 there is none, and the next one is notified;
 * -EPROTO as virtq_pop()
 * Context: the device's lock
 *
 * #syscalls none
 */
int virtq_take(struct virtq *q, struct virtq_chain *ret, struct err *e)
{
	for (;;) {
		int rc = virtq_pop(q, ret, e);

		if (rc || !virtq_enable_kicks(q))
			return rc;
	}
}

/**
 * virtq_disable_kicks() - requests are being taken: notifications are not needed
 *
 * With EVENT_IDX nothing is written: the old event index does the same.
 *
 * Context: the device's lock
 *
 * #syscalls none
 */
void virtq_disable_kicks(struct virtq *q)
{
	if (usable(q) && !q->event_idx)
		__atomic_store_n(ring_u16(q->used_hva, RING_FLAGS),
				 VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

/* Copies between a flat buffer and a list of buffers, from @offset of the list. */
static size_t iov_copy(const struct iovec *v, size_t n, size_t offset,
		       void *flat, size_t len, bool to_iov)
{
	size_t i, done = 0;

	for (i = 0; i < n && done < len; i++) {
		size_t part;
		uint8_t *at;

		if (offset >= v[i].iov_len) {
			offset -= v[i].iov_len;
			continue;
		}
		at = (uint8_t *)v[i].iov_base + offset;
		part = v[i].iov_len - offset;
		if (part > len - done)
			part = len - done;
		if (to_iov)
			memcpy(at, (uint8_t *)flat + done, part);
		else
			memcpy((uint8_t *)flat + done, at, part);
		done += part;
		offset = 0;
	}
	__asm__ volatile("" ::: "memory");
	return done;
}

/**
 * chain_read() - copy out of the device-readable buffers
 * @offset: bytes into them
 * @dst:    room for @len bytes; untouched behind what is returned
 *
 * Return: bytes copied, less than @len where the buffers end
 *
 * #syscalls none
 */
size_t chain_read(const struct virtq_chain *c, size_t offset, void *dst,
		  size_t len)
{
	return iov_copy(c->out, c->n_out, offset, dst, len, false);
}

/**
 * chain_write() - copy into the device-writable buffers
 * @offset: bytes into them
 *
 * Return: bytes copied, less than @len where the buffers end
 *
 * #syscalls none
 */
size_t chain_write(const struct virtq_chain *c, size_t offset, const void *src,
		   size_t len)
{
	return iov_copy(c->in, c->n_in, offset, (void *)(uintptr_t)src, len, true);
}

/**
 * iov_trim() - keep a part of a list of buffers
 * @v:    changed in place
 * @n:    entries
 * @skip: bytes to drop at the front
 * @len:  bytes to keep behind them; what is less is kept whole
 *
 * Return: entries that are left, at the front of @v, none of them empty
 *
 * #syscalls none
 */
size_t iov_trim(struct iovec *v, size_t n, uint64_t skip, uint64_t len)
{
	size_t i, kept = 0;

	for (i = 0; i < n && len; i++) {
		struct iovec part = v[i];

		if (skip >= part.iov_len) {
			skip -= part.iov_len;
			continue;
		}
		part.iov_base = (uint8_t *)part.iov_base + skip;
		part.iov_len -= skip;
		skip = 0;
		if (part.iov_len > len)
			part.iov_len = len;
		len -= part.iov_len;
		v[kept++] = part;
	}
	return kept;
}
