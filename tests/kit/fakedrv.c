// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A virtio driver without a guest: it lays rings out in the memory of a struct
 * gmem, of 3 GiB and a bit, so that there is a hole and a second region, and
 * talks to a device through its ops as the transport does. It can be honest
 * (fakedrv_add(), fakedrv_used()) and it can write any word of a ring, which is
 * what the tests of hostile drivers do. The I/O thread is fakedrv_poll().
 */
#include "tests/kit/fakedrv.h"

#include <check.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "lib/fd.h"

/* A poll round that never ends would hang the test without a word. */
#define POLL_ROUNDS 20000

/* How long the kernel may take to serve a queue. */
#define WAIT_MS 10000

/**
 * fakedrv_init() - memory and a loop; fails the test if there are none
 */
void fakedrv_init(struct fakedrv *f)
{
	struct err e = { 0 };

	int i;

	memset(f, 0, sizeof(*f));
	f->brk = 0x1000;
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++)
		f->kick_fd[i] = f->call_fd[i] = -1;
	ck_assert_msg(!gmem_init(&f->mem, GMEM_LOW_MAX_BYTES + FAKEDRV_HIGH_BYTES, &e),
		      "%s", e.text);
	ck_assert_msg(!loop_new(&f->loop, &e), "%s", e.text);
}

/**
 * fakedrv_done() - reset and free the device, free the memory
 */
void fakedrv_done(struct fakedrv *f)
{
	int i;

	if (f->d) {
		fakedrv_reset(f);
		f->d->ops->free(f->d);
	}
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++)
		fd_close(&f->kick_fd[i]);
	loop_free(f->loop);
	gmem_done(&f->mem);
}

/**
 * fakedrv_ring() - lay out queue @q with @size entries
 */
void fakedrv_ring(struct fakedrv *f, uint16_t q, uint16_t size, struct virtq_state *ret)
{
	struct fakeq *k = &f->q[q];

	memset(k, 0, sizeof(*k));
	k->size = size;
	k->desc = fakedrv_alloc(f, 16u * size);
	k->avail = fakedrv_alloc(f, 6u + 2u * size);
	k->used = fakedrv_alloc(f, 6u + 8u * size);
	memset(fakedrv_ptr(f, k->avail, 6u + 2u * size), 0, 6u + 2u * size);
	memset(fakedrv_ptr(f, k->used, 6u + 8u * size), 0, 6u + 8u * size);
	*ret = (struct virtq_state){ .desc = k->desc, .avail = k->avail, .used = k->used,
				     .size = size, .enabled = 1, .vector = q };
}

static void interrupt(void *transport, uint16_t vector)
{
	struct fakedrv *f = transport;

	if (vector < VIRTIO_QUEUES_MAX + 1)
		f->irq[vector]++;
}

static int lend(void *transport, uint16_t q, int call_fd)
{
	struct fakedrv *f = transport;

	ck_assert_int_lt(f->call_fd[q], 0);
	if (f->kick_fd[q] < 0)
		f->kick_fd[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(f->kick_fd[q], 0);
	f->call_fd[q] = call_fd;
	return f->kick_fd[q];
}

static void take_back(void *transport, uint16_t q)
{
	struct fakedrv *f = transport;

	f->call_fd[q] = -1;
}

/**
 * fakedrv_attach() - drive @d up to DRIVER_OK
 * @features: to accept; the device must offer them
 * @size:     of every queue
 */
void fakedrv_attach(struct fakedrv *f, struct virtio_dev *d, uint64_t features,
		    uint16_t size)
{
	uint16_t i;

	features |= FAKE_F_VERSION_1;
	f->d = d;
	d->interrupt = interrupt;
	d->transport = f;
	d->lend = f->lends ? lend : NULL;
	d->take_back = take_back;
	pthread_mutex_lock(&d->lock);
	virtio_status_write(d, 1);
	virtio_status_write(d, 3);
	virtio_features_write(d, 0, (uint32_t)features);
	virtio_features_write(d, 1, (uint32_t)(features >> 32));
	virtio_status_write(d, 11);
	ck_assert_uint_eq(d->s.status, 11);
	for (i = 0; i < d->n_queues; i++)
		if (!(f->off >> i & 1))
			fakedrv_ring(f, i, size, &d->q[i].s);
	virtio_status_write(d, 15);
	pthread_mutex_unlock(&d->lock);
	ck_assert(d->running);
	fakedrv_poll(f);
}

/**
 * fakedrv_reset() - the driver writes status 0
 */
void fakedrv_reset(struct fakedrv *f)
{
	pthread_mutex_lock(&f->d->lock);
	virtio_status_write(f->d, 0);
	pthread_mutex_unlock(&f->d->lock);
}

/**
 * fakedrv_is_broken() - has the device set NEEDS_RESET?
 */
bool fakedrv_is_broken(struct fakedrv *f)
{
	return f->d->s.status & 64;
}

/**
 * fakedrv_alloc() - @len bytes of RAM below the hole, on a page of their own
 */
uint64_t fakedrv_alloc(struct fakedrv *f, uint64_t len)
{
	uint64_t at = f->brk;

	f->brk += (len + 0xfff) & ~0xfffull;
	ck_assert_uint_lt(f->brk, GMEM_LOW_MAX_BYTES);
	return at;
}

/**
 * fakedrv_ptr() - the guest's view of its memory
 */
void *fakedrv_ptr(struct fakedrv *f, uint64_t gpa, uint64_t len)
{
	void *p = NULL;

	ck_assert(!gmem_span(&f->mem, gpa, len, &p));
	return p;
}

/**
 * fakedrv_desc() - write descriptor @i of queue @q, whatever it says
 */
void fakedrv_desc(struct fakedrv *f, uint16_t q, uint16_t i, uint64_t gpa,
		  uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = { .addr = gpa, .len = len, .flags = flags, .next = next };

	memcpy(fakedrv_ptr(f, f->q[q].desc + 16u * i, 16), &d, sizeof(d));
}

/**
 * fakedrv_avail() - offer @head to the device, whatever it is
 */
void fakedrv_avail(struct fakedrv *f, uint16_t q, uint16_t head)
{
	struct fakeq *k = &f->q[q];
	uint16_t *ring = fakedrv_ptr(f, k->avail, 6u + 2u * k->size);

	ring[2 + k->avail_idx % k->size] = head;
	k->avail_idx++;
	__atomic_store_n(&ring[1], k->avail_idx, __ATOMIC_RELEASE);
}

/**
 * fakedrv_add() - offer an honest request of @n buffers, readable ones first
 *
 * Return: its head; the test fails if the queue has no room
 */
uint16_t fakedrv_add(struct fakedrv *f, uint16_t q, const struct fakebuf *b, size_t n)
{
	struct fakeq *k = &f->q[q];
	uint16_t got[VIRTQ_SIZE_MAX], i;
	size_t have = 0;

	for (i = 0; i < k->size && have < n; i++)
		if (!k->busy[i])
			got[have++] = i;
	ck_assert_uint_eq(have, n);
	for (i = 0; i < n; i++) {
		bool last = i + 1u == n;

		k->busy[got[i]] = true;
		k->next[got[i]] = last ? k->size : got[i + 1];
		fakedrv_desc(f, q, got[i], b[i].gpa, b[i].len,
			     (uint16_t)((b[i].in ? VRING_DESC_F_WRITE : 0) |
					(last ? 0 : VRING_DESC_F_NEXT)),
			     last ? 0 : got[i + 1]);
	}
	fakedrv_avail(f, q, got[0]);
	return got[0];
}

/**
 * fakedrv_kick() - notify the device of queue @q, and let its I/O thread work
 */
void fakedrv_kick(struct fakedrv *f, uint16_t q)
{
	if (f->call_fd[q] >= 0) {
		eventfd_write(f->kick_fd[q], 1);
	} else {
		pthread_mutex_lock(&f->d->lock);
		f->d->ops->kick(f->d, q);
		pthread_mutex_unlock(&f->d->lock);
	}
	fakedrv_poll(f);
}

/**
 * fakedrv_used() - take the next request that the device gave back
 * @ret_id:  its head; may be NULL
 * @ret_len: bytes written; may be NULL
 *
 * Return: false if there is none
 */
bool fakedrv_used(struct fakedrv *f, uint16_t q, uint32_t *ret_id, uint32_t *ret_len)
{
	struct fakeq *k = &f->q[q];
	uint8_t *used = fakedrv_ptr(f, k->used, 6u + 8u * k->size);
	struct vring_used_elem u;
	uint16_t idx, i;

	idx = __atomic_load_n((uint16_t *)(void *)(used + 2), __ATOMIC_ACQUIRE);
	if (idx == k->seen_used)
		return false;
	memcpy(&u, used + 4 + 8u * (k->seen_used % k->size), sizeof(u));
	k->seen_used++;
	ck_assert_uint_lt(u.id, k->size);
	for (i = (uint16_t)u.id; i < k->size && k->busy[i]; i = k->next[i])
		k->busy[i] = false;
	if (ret_id)
		*ret_id = u.id;
	if (ret_len)
		*ret_len = u.len;
	return true;
}

/**
 * fakedrv_poll() - run the I/O thread's loop until nothing is left to do
 */
void fakedrv_poll(struct fakedrv *f)
{
	int rounds = 0;

	while (loop_step(f->loop, 0, NULL) > 0)
		ck_assert_msg(++rounds < POLL_ROUNDS, "the loop spins");
}

/**
 * fakedrv_want() - ask for an interrupt with the next request that is given back
 *
 * Return: whether there is one already
 */
bool fakedrv_want(struct fakedrv *f, uint16_t q)
{
	struct fakeq *k = &f->q[q];
	uint16_t *avail = fakedrv_ptr(f, k->avail, 6u + 2u * k->size);
	uint16_t *used = fakedrv_ptr(f, k->used, 4);

	__atomic_store_n(&avail[2 + k->size], k->seen_used, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&used[1], __ATOMIC_ACQUIRE) != k->seen_used;
}

/**
 * fakedrv_wait() - wait until the kernel has given a request of a lent queue back
 */
void fakedrv_wait(struct fakedrv *f, uint16_t q)
{
	struct pollfd p = { .fd = f->call_fd[q], .events = POLLIN };
	eventfd_t n;

	ck_assert_int_ge(f->call_fd[q], 0);
	while (!fakedrv_want(f, q)) {
		ck_assert_msg(poll(&p, 1, WAIT_MS) == 1, "the kernel does not serve queue %u", q);
		if (!eventfd_read(f->call_fd[q], &n))
			f->irq[q] += (unsigned int)n;
	}
	fakedrv_poll(f);
}
