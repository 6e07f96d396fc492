// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-blk device (virtio 1.2, section 5.2) over a raw file, a block
 * device (raw.c), or a synthetic disk (synth.c). This file is the device: its
 * queues, configuration and limits. A request comes from blk-pool.c, is read by
 * blk-parse.c, and carried out by blk-req.c.
 *
 * There is one queue per vCPU, up to BLK_QUEUES_MAX, all served by the I/O thread.
 * @pending tells which of them may have something. run() takes requests from them in
 * turn, QUEUE_TURN at a time, while
 *
 *   - the disk has less than BLK_DEPTH under way,
 *   - vmm/aio.c has a place,
 *   - there are tokens (limit.c),
 *   - this round, BLK_ROUND requests or BLK_ROUND_BYTES, is not over.
 *
 * What cannot be taken stays in the guest's ring: nothing is queued here. Each of
 * the four reasons calls run() again when it has gone: requests that come back
 * (@user), a place (@user), the timer, @wake. A round's requests go to the kernel
 * together, and what is done by then, such as a read of cached data, is given back at
 * once; each queue gets one interrupt at most.
 *
 * The capacity is what the disk had when it was plugged, or at the last RESIZE. No
 * request reaches behind it, so a file never grows by a guest.
 *
 * Owners: struct blk owns the disk's descriptor (raw), the synthetic disk, the pool,
 * @wake and @timer. start and stop run on vCPU threads and so touch neither the loop
 * nor vmm/aio.c: a reset waits for requests that are under way, since they write to
 * guest memory.
 */
#include "vmm/virtio/blk.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/virtio/config.h"
#include "vmm/vmm.h"

/* Requests that are taken in one go, and from one queue before the next one's turn. */
#define BLK_ROUND 128
#define BLK_ROUND_BYTES (8ull << 20)
#define QUEUE_TURN 16

/* How often a round looks for requests that are done already. */
#define COLLECT_MAX 4

/* Header and status need a descriptor each. */
#define SEG_MAX (VIRTQ_SIZE_MAX - 2)

static struct blk *blk_of(struct virtio_dev *d)
{
	return (struct blk *)d;
}

/* ---- taking requests ---- */

/* No tokens: until the timer fires. */
static bool must_pause(struct blk *b)
{
	uint64_t ms;

	if (b->paused)
		return true;
	if (!limit_is_set(&b->limit))
		return false;
	ms = limit_wait_ms(&b->limit, limit_now_ns());
	if (!ms)
		return false;
	timer_set(b->timer, ms, NULL);
	b->paused = true;
	return true;
}

/* One request. Return: false when the queue has none, or none may be taken. */
static bool take(struct blk *b, uint16_t i, uint64_t *bytes)
{
	struct virtq *q = &b->d.q[i];
	struct err e = { 0 };
	int rc;

	if (blk_pool_full(b) || must_pause(b) || !aio_hold(b->aio, &b->user))
		return false;
	rc = virtq_take(q, &b->chain, &e);
	if (rc > 0) {
		*bytes += blk_begin(b, i);
		return true;
	}
	aio_release(b->aio);
	b->pending &= ~(1u << i);
	if (rc < 0)
		virtio_broken(&b->d, e.text);
	return false;
}

/* Return: whether the round is over and something may be left. */
static bool fill(struct blk *b)
{
	uint64_t bytes = 0;
	unsigned int n = 0;

	while (b->pending) {
		uint32_t before = b->pending;
		uint16_t i = b->turn, k;

		b->turn = (uint16_t)((i + 1) % b->d.n_queues);
		if (!(b->pending & 1u << i))
			continue;
		virtq_disable_kicks(&b->d.q[i]);
		for (k = 0; k < QUEUE_TURN && take(b, i, &bytes); k++)
			n++;
		if (b->d.q[i].broken)
			b->pending = 0;
		/* It has something, but it may not be taken. */
		if (k < QUEUE_TURN && b->pending == before)
			return false;
		if (n >= BLK_ROUND || bytes >= BLK_ROUND_BYTES)
			return b->pending;
	}
	return false;
}

static void notify(struct blk *b)
{
	uint16_t i;

	for (i = 0; b->notify; i++) {
		if (b->notify & 1u << i)
			virtio_notify(&b->d, i);
		b->notify &= ~(1u << i);
	}
}

static void run(struct blk *b)
{
	bool more = false;
	int i;

	for (i = 0; i < COLLECT_MAX && b->d.running; i++) {
		more = fill(b);
		aio_submit(b->aio, &b->user);
		if (!blk_collect(b))
			break;
	}
	aio_submit(b->aio, NULL);
	if (more || (i == COLLECT_MAX && b->pending))
		eventfd_write(b->wake, 1);
	notify(b);
}

/* Requests came back, or there is a place again. */
static void on_done(struct aio_user *u)
{
	struct blk *b = (struct blk *)((char *)u - offsetof(struct blk, user));

	pthread_mutex_lock(&b->d.lock);
	blk_collect(b);
	if (b->d.resetting && !b->busy) {
		blk_pool_trim(b);
		virtio_reset_done(&b->d);
	}
	run(b);
	pthread_mutex_unlock(&b->d.lock);
}

static void on_wake(void *arg, uint32_t events)
{
	struct blk *b = arg;
	eventfd_t n;

	(void)events;
	pthread_mutex_lock(&b->d.lock);
	eventfd_read(b->wake, &n);
	run(b);
	pthread_mutex_unlock(&b->d.lock);
}

static void on_timer(void *arg, uint32_t events)
{
	struct blk *b = arg;

	(void)events;
	timer_ack(b->timer);
	pthread_mutex_lock(&b->d.lock);
	b->paused = false;
	run(b);
	pthread_mutex_unlock(&b->d.lock);
}

/* ---- what the transport calls ---- */

static void blk_kick(struct virtio_dev *d, uint16_t q)
{
	blk_of(d)->pending |= 1u << q;
	run(blk_of(d));
}

static void blk_config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	config_copy(&blk_of(d)->config, sizeof(blk_of(d)->config), offset, buf, len);
}

/* What the driver put in the queues before DRIVER_OK may come without a kick. */
static void blk_start(struct virtio_dev *d)
{
	blk_of(d)->pending = (1u << d->n_queues) - 1;
	eventfd_write(blk_of(d)->wake, 1);
}

static bool blk_stop(struct virtio_dev *d)
{
	struct blk *b = blk_of(d);

	b->pending = 0;
	b->chain.n_out = b->chain.n_in = 0;
	if (b->busy)
		return false;
	blk_pool_trim(b);
	return true;
}

static int set_limit(struct blk *b, const struct vmm_limit *cfg, struct err *e)
{
	struct limit l;
	int rc;

	if ((rc = limit_init(&l, cfg, limit_now_ns(), e)) < 0)
		return rc;
	if (limit_is_set(&l) && b->timer < 0) {
		if ((rc = timer_new(e)) < 0)
			return rc;
		b->timer = rc;
		rc = loop_add(b->d.loop, b->timer, EPOLLIN, on_timer, b, &b->timer_src, e);
		if (rc < 0) {
			fd_close(&b->timer);
			return rc;
		}
	}
	l.waits = b->limit.waits;
	b->limit = l;
	return 0;
}

static int blk_limit(struct virtio_dev *d, const struct vmm_set_limit *cfg, struct err *e)
{
	static const struct vmm_limit none;
	struct blk *b = blk_of(d);
	int rc;

	if (memcmp(&cfg->tx, &none, sizeof(none)) != 0)
		return err_set(e, EINVAL, "tx: a disk has one limit for both ways");
	rc = set_limit(b, &cfg->limit, e);
	if (rc < 0)
		return rc;
	/* Who waits, asks again. */
	b->paused = false;
	eventfd_write(b->wake, 1);
	return 0;
}

static void set_capacity(struct blk *b, uint64_t bytes)
{
	b->sectors = bytes / SECTOR_BYTES;
	b->config.capacity = b->sectors;
}

static int blk_resize(struct virtio_dev *d, struct err *e)
{
	struct blk *b = blk_of(d);
	uint64_t before = b->raw.bytes;
	int rc;

	if (b->synth)
		return err_set(e, ENOTSUP, "a synthetic disk keeps its size");
	rc = raw_grow(b->fd, &b->raw, e);
	if (rc < 0 || b->raw.bytes == before)
		return rc;
	set_capacity(b, b->raw.bytes);
	virtio_config_changed(d);
	return 0;
}

static void blk_free(struct virtio_dev *d)
{
	struct blk *b = blk_of(d);

	while (b->busy && aio_wait(b->aio, -1, NULL) >= 0)
		;
	aio_leave(b->aio, &b->user);
	loop_del(b->wake_src);
	loop_del(b->timer_src);
	fd_close(&b->wake);
	fd_close(&b->timer);
	fd_close(&b->fd);
	synth_free(b->synth);
	blk_pool_done(b);
	free(b);
}

static const struct virtio_ops blk_ops = {
	.name = "blk",
	.device_id = VIRTIO_ID_BLOCK,
	.pci_class = 0x018000,
	.config_read = blk_config_read,
	.start = blk_start,
	.stop = blk_stop,
	.kick = blk_kick,
	.free = blk_free,
	.resize = blk_resize,
	.limit = blk_limit,
};

/* ---- making one ---- */

static uint8_t exponent(uint32_t n)
{
	uint8_t i = 0;

	while (n >>= 1)
		i++;
	return i;
}

static void fill_config(struct blk *b, uint16_t n_queues)
{
	struct virtio_blk_config *c = &b->config;
	const struct raw *r = &b->raw;

	set_capacity(b, r->bytes);
	c->blk_size = r->block;
	c->seg_max = SEG_MAX;
	c->num_queues = n_queues;
	c->physical_block_exp = exponent(r->physical / r->block);
	c->min_io_size = (uint16_t)(r->min_io / r->block);
	c->opt_io_size = r->opt_io / r->block;
	if (b->readonly)
		return;
	c->max_discard_sectors = BLK_DISCARD_SECTORS_MAX;
	c->max_discard_seg = BLK_RANGES_MAX;
	c->discard_sector_alignment = r->discard / SECTOR_BYTES;
	c->max_write_zeroes_sectors = BLK_ZEROES_SECTORS_MAX;
	c->max_write_zeroes_seg = BLK_RANGES_MAX;
	c->write_zeroes_may_unmap = 1;
}

static uint64_t features(const struct blk *b, uint16_t n_queues)
{
	uint64_t f = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
		     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_SEG_MAX |
		     1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH |
		     1ull << VIRTIO_BLK_F_TOPOLOGY;

	if (n_queues > 1)
		f |= 1ull << VIRTIO_BLK_F_MQ;
	if (b->readonly)
		return f | 1ull << VIRTIO_BLK_F_RO;
	return f | 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

static int open_back_end(struct blk *b, const struct vmm_disk *cfg, int fd, int broker_fd,
			 struct err *e)
{
	int rc;

	if (cfg->synthetic && !cfg->readonly)
		return err_set(e, EINVAL, "a synthetic disk is read-only: plug it so");
	if (strnlen(cfg->serial, sizeof(cfg->serial)) > sizeof(b->serial))
		return err_set(e, EINVAL, "serial longer than %zu bytes", sizeof(b->serial));
	memcpy(b->serial, cfg->serial, strnlen(cfg->serial, sizeof(b->serial)));
	b->readonly = cfg->readonly;
	if (!cfg->synthetic)
		return raw_probe(fd, b->readonly, &b->raw, e);
	rc = synth_new(fd, broker_fd, cfg->number, &b->synth, e);
	if (rc < 0)
		return rc;
	b->raw = (struct raw){ .bytes = synth_bytes(b->synth), .block = RAW_BLOCK_MAX,
			       .physical = RAW_BLOCK_MAX, .discard = RAW_BLOCK_MAX };
	return 0;
}

static int make_device(struct blk *b, const struct vmm_disk *cfg, const struct blk_host *h,
		       struct err *e)
{
	uint16_t n = h->vcpus < BLK_QUEUES_MAX ? (uint16_t)h->vcpus : BLK_QUEUES_MAX;
	int rc;

	n = n ? n : 1;
	fill_config(b, n);
	rc = virtio_init(&b->d, &blk_ops, features(b, n), h->mem, h->loop);
	if (rc < 0)
		return err_set(e, -rc, "virtio device");
	virtio_set_queues(&b->d, n);
	if (h->one_vector && n > 1)
		b->d.vectors = 2;
	b->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->wake < 0)
		return err_sys(e, "eventfd");
	if ((rc = blk_pool_init(b, e)) < 0 || (rc = set_limit(b, &cfg->limit, e)) < 0)
		return rc;
	return loop_add(h->loop, b->wake, EPOLLIN, on_wake, b, &b->wake_src, e);
}

/**
 * blk_new() - make a disk
 * @cfg:  copied
 * @fd:   raw: file or block device, taken over on success; synthetic: the
 *        sealed table, taken over and closed on success
 * @host: copied
 * @ret:  owned by the caller, freed by its ops
 *
 * Return: 0; -EINVAL with what is wrong with the disk; else minus errno
 * Context: I/O thread, or before it runs
 * Source: virtio 1.2, section 5.2
 *
 * #syscalls statx fstat ioctl fcntl mmap munmap madvise eventfd2 timerfd_create
 * #syscalls timerfd_settime epoll_ctl close read write
 */
int blk_new(const struct vmm_disk *cfg, int fd, const struct blk_host *host,
	    struct virtio_dev **ret, struct err *e)
{
	struct blk *b = mem_new(struct blk);
	int rc;

	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	b->fd = b->wake = b->timer = -1;
	b->aio = host->aio;
	b->user.done = on_done;
	aio_join(b->aio, &b->user);
	rc = open_back_end(b, cfg, fd, host->broker_fd, e);
	if (rc >= 0)
		rc = make_device(b, cfg, host, e);
	if (rc < 0) {
		blk_free(&b->d);
		return rc;
	}
	if (b->synth)
		close(fd);
	else
		b->fd = fd;
	*ret = &b->d;
	return 0;
}
