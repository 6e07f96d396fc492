// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/blk.c: many requests in many queues, resets while they are under way,
 * limits, growing disks, and disks that want aligned buffers.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "tests/kit/aio.h"
#include "tests/kit/fakeblk.h"
#include "tests/kit/kit.h"
#include "vmm/virtio/blk.h"

#define SECTORS 32768u
#define QUEUES 4
#define MQ_FEATURES (FAKEBLK_RAW | 1ull << VIRTIO_BLK_F_MQ)

Suite *virtio_blk_queues_suite(void);

static struct fakeblk k;
static int disk = -1;

static void attach(const struct vmm_disk *cfg, uint64_t features)
{
	fakedrv_attach(&k.f, fakeblk_new(&k, cfg, dup(disk)), features, 256);
}

static void setup(bool use_ring, uint32_t vcpus)
{
	struct vmm_disk cfg = { .serial = "queues" };

	fakeblk_init(&k, use_ring);
	k.host.vcpus = vcpus;
	disk = fakeblk_file(SECTORS * 512);
	attach(&cfg, vcpus > 1 ? MQ_FEATURES : FAKEBLK_RAW);
}

static void setup_ring(void)
{
	setup(true, QUEUES);
}

static void setup_plain(void)
{
	setup(false, QUEUES);
}

static void setup_one_ring(void)
{
	setup(true, 1);
}

static void setup_one_plain(void)
{
	setup(false, 1);
}

static void teardown(void)
{
	kit_aio_hold(false);
	fakeblk_done(&k);
	fd_close(&disk);
}

static struct blk *blk(void)
{
	return (struct blk *)k.f.d;
}

static unsigned int n_used(uint16_t q)
{
	unsigned int n = 0;

	while (fakedrv_used(&k.f, q, NULL, NULL))
		n++;
	return n;
}

static void kick_only(uint16_t q)
{
	pthread_mutex_lock(&k.f.d->lock);
	k.f.d->ops->kick(k.f.d, q);
	pthread_mutex_unlock(&k.f.d->lock);
}

/* ---- queues ---- */

static const struct {
	uint32_t vcpus;
	uint16_t queues;
} sizes[] = { { 0, 1 }, { 1, 1 }, { 2, 2 }, { 16, 16 }, { 17, 16 }, { 64, 16 } };

START_TEST(test_number)
{
	struct vmm_disk cfg = { .serial = "x" };
	struct virtio_blk_config c;
	struct virtio_dev *d;

	k.host.vcpus = sizes[_i].vcpus;
	d = fakeblk_new(&k, &cfg, dup(disk));
	d->ops->config_read(d, 0, &c, sizeof(c));
	ck_assert_uint_eq(d->n_queues, sizes[_i].queues);
	ck_assert_uint_eq(c.num_queues, sizes[_i].queues);
	ck_assert_int_eq(!!(d->s.offered & 1ull << VIRTIO_BLK_F_MQ), sizes[_i].queues > 1);
	d->ops->free(d);
}
END_TEST

/* Each queue gets its own requests back, and its own interrupt. */
START_TEST(test_each)
{
	unsigned int i, q;

	for (i = 0; i < 40 * QUEUES; i++) {
		q = i % QUEUES;
		memset(fakedrv_ptr(&k.f, k.data + 512 * i, 512), (int)i, 512);
		fakeblk_add(&k, (uint16_t)q, i, VIRTIO_BLK_T_OUT, i, k.data + 512 * i, 512);
	}
	for (q = 0; q < QUEUES; q++)
		kick_only((uint16_t)q);
	for (i = 0; i < 40 * QUEUES; i++)
		fakeblk_wait(&k, i % QUEUES, NULL);
	for (i = 0; i < 40 * QUEUES; i++) {
		uint8_t back[512];

		ck_assert_uint_eq(fakeblk_status(&k, i), VIRTIO_BLK_S_OK);
		ck_assert_int_eq(pread(disk, back, 512, 512 * i), 512);
		ck_assert_uint_eq(back[0], (uint8_t)i);
	}
	for (q = 0; q < QUEUES; q++) {
		ck_assert_uint_ge(k.f.irq[q], 1);
		ck_assert_uint_eq(n_used((uint16_t)q), 0);
		ck_assert_uint_eq(k.f.d->q[q].count.requests, 40);
		ck_assert_uint_eq(k.f.d->q[q].count.out_bytes, 40 * 512);
	}
}
END_TEST

/* A batch of requests costs one io_uring_enter. */
START_TEST(test_one_submission)
{
	unsigned int i;

	kit_aio_submits();
	for (i = 0; i < 64; i++)
		fakeblk_add(&k, 2, i, VIRTIO_BLK_T_OUT, 8 * i, k.data + 512 * i, 512);
	kick_only(2);
	ck_assert_uint_eq(kit_aio_submits(), 1);
	for (i = 0; i < 64; i++)
		fakeblk_wait(&k, 2, NULL);
	ck_assert_uint_eq(kit_aio_submits(), 0);
}
END_TEST

/* Many small requests in one kick; interrupts are fewer than requests. */
START_TEST(test_many_in_one_kick)
{
	unsigned int i;

	for (i = 0; i < 128; i++)
		fakeblk_add(&k, 0, i, VIRTIO_BLK_T_GET_ID, 0, 0, 0);
	kick_only(0);
	fakedrv_poll(&k.f);
	ck_assert_uint_eq(n_used(0), 128);
	ck_assert_uint_le(k.f.irq[0], 2);
	for (i = 0; i < 128; i++)
		ck_assert_uint_eq(fakeblk_status(&k, i), VIRTIO_BLK_S_IOERR);
}
END_TEST

/* A full queue does not keep the last one from its turn. */
START_TEST(test_fair)
{
	unsigned int i;

	kit_aio_hold(true);
	for (i = 0; i < 85; i++)
		fakeblk_add(&k, 0, i, VIRTIO_BLK_T_OUT, 0, k.data, 512);
	for (i = 85; i < 170; i++)
		fakeblk_add(&k, 1, i, VIRTIO_BLK_T_OUT, 0, k.data, 512);
	fakeblk_add(&k, 3, 170, VIRTIO_BLK_T_OUT, 8, k.data, 512);
	pthread_mutex_lock(&k.f.d->lock);
	k.f.d->ops->start(k.f.d);
	pthread_mutex_unlock(&k.f.d->lock);
	fakedrv_poll(&k.f);
	ck_assert_uint_eq(blk()->busy, BLK_DEPTH);
	ck_assert_uint_eq(k.f.d->q[3].s.next_avail, 1);
	kit_aio_hold(false);
	for (i = 0; i < 170; i++)
		fakeblk_wait(&k, i < 85 ? 0 : 1, NULL);
	fakeblk_wait(&k, 3, NULL);
	ck_assert_uint_eq(blk()->busy, 0);
}
END_TEST

/* What is under way is bounded; the rest waits in the guest's rings. */
START_TEST(test_depth)
{
	unsigned int i;

	kit_aio_hold(true);
	for (i = 0; i < 85 * QUEUES; i++)
		fakeblk_add(&k, i % QUEUES, i, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	for (i = 0; i < QUEUES; i++)
		fakedrv_kick(&k.f, (uint16_t)i);
	ck_assert_uint_eq(blk()->busy, BLK_DEPTH);
	ck_assert_uint_eq(aio_held(k.aio), BLK_DEPTH);
	kit_aio_hold(false);
	for (i = 0; i < 85 * QUEUES; i++)
		fakeblk_wait(&k, i % QUEUES, NULL);
	for (i = 0; i < 85 * QUEUES; i++)
		ck_assert_uint_eq(fakeblk_status(&k, i), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(aio_held(k.aio), 0);
}
END_TEST

/* No place in vmm/aio.c: requests wait until there is one. */
START_TEST(test_no_place)
{
	struct aio_user other = { 0 };
	unsigned int i;

	for (i = 0; i < AIO_DEPTH - 2; i++)
		ck_assert(aio_hold(k.aio, &other));
	for (i = 0; i < 20; i++)
		fakeblk_add(&k, 1, i, VIRTIO_BLK_T_OUT, i, k.data, 512);
	kick_only(1);
	ck_assert_uint_le(aio_held(k.aio), AIO_DEPTH);
	for (i = 0; i < 20; i++)
		fakeblk_wait(&k, 1, NULL);
	/* Now there is none at all. */
	ck_assert(aio_hold(k.aio, &other) && aio_hold(k.aio, &other));
	fakeblk_add(&k, 1, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	fakedrv_kick(&k.f, 1);
	ck_assert_uint_eq(n_used(1), 0);
	for (i = 0; i < AIO_DEPTH; i++)
		aio_release(k.aio);
	fakeblk_wait(&k, 1, NULL);
}
END_TEST

/* A rule that is broken in one queue stops the device, with requests under way. */
START_TEST(test_broken_while_busy)
{
	struct fakebuf b[1] = { { k.hdr, 16, false } };
	unsigned int i;

	kit_aio_hold(true);
	for (i = 0; i < 10; i++)
		fakeblk_add(&k, 1, i, VIRTIO_BLK_T_OUT, i, k.data, 512);
	kick_only(1);
	fakedrv_add(&k.f, 2, b, 1);
	kick_only(2);
	ck_assert(fakedrv_is_broken(&k.f));
	kit_aio_hold(false);
	while (blk()->busy)
		loop_step(k.f.loop, 1000, NULL);
	ck_assert_uint_eq(n_used(1), 0);
	for (i = 0; i < 10; i++)
		ck_assert_uint_eq(fakeblk_status(&k, i), 0xee);
	fakedrv_reset(&k.f);
	ck_assert_uint_eq(k.f.d->s.status, 0);
}
END_TEST

/* The driver uses one queue only, and not the first; the others do not exist. */
START_TEST(test_one_of_many)
{
	struct virtio_dev *d = k.f.d;
	uint64_t features = MQ_FEATURES | FAKE_F_VERSION_1;

	fakedrv_reset(&k.f);
	pthread_mutex_lock(&d->lock);
	virtio_status_write(d, 1);
	virtio_status_write(d, 3);
	virtio_features_write(d, 0, (uint32_t)features);
	virtio_features_write(d, 1, (uint32_t)(features >> 32));
	virtio_status_write(d, 11);
	fakedrv_ring(&k.f, 2, 64, &d->q[2].s);
	virtio_status_write(d, 15);
	pthread_mutex_unlock(&d->lock);
	ck_assert(d->running);
	fakeblk_add(&k, 2, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	fakedrv_kick(&k.f, 2);
	fakeblk_wait(&k, 2, NULL);
	kick_only(0);
	kick_only(3);
	fakedrv_poll(&k.f);
	ck_assert(!fakedrv_is_broken(&k.f));
}
END_TEST

/* ---- resets ---- */

static void begin_some(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		fakeblk_add(&k, i % QUEUES, i, i % 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_FLUSH, 8 * i,
			    k.data + 4096 * i, i % 3 ? 4096 : 0);
	for (i = 0; i < QUEUES; i++)
		kick_only((uint16_t)i);
}

START_TEST(test_reset_while_busy)
{
	unsigned int i;

	kit_aio_hold(true);
	begin_some(40);
	ck_assert_uint_eq(blk()->busy, 40);
	fakedrv_reset(&k.f);
	/* The driver waits for status 0, and what it writes meanwhile is nothing. */
	ck_assert(k.f.d->resetting);
	ck_assert_uint_eq(k.f.d->s.status, 15);
	fakedrv_reset(&k.f);
	kick_only(1);
	pthread_mutex_lock(&k.f.d->lock);
	virtio_status_write(k.f.d, 1);
	pthread_mutex_unlock(&k.f.d->lock);
	fakedrv_poll(&k.f);
	ck_assert_uint_eq(k.f.d->s.status, 15);
	kit_aio_hold(false);
	while (k.f.d->resetting)
		loop_step(k.f.loop, 1000, NULL);
	ck_assert_uint_eq(k.f.d->s.status, 0);
	ck_assert_uint_eq(blk()->busy, 0);
	for (i = 0; i < QUEUES; i++)
		ck_assert_uint_eq(n_used((uint16_t)i), 0);
	for (i = 0; i < 40; i++)
		ck_assert_uint_eq(fakeblk_status(&k, i), 0xee);
	fakedrv_attach(&k.f, k.f.d, MQ_FEATURES, 256);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* A large request is cut off by a reset, by either engine. */
START_TEST(test_reset_within_request)
{
	fakeblk_add(&k, 0, 0, VIRTIO_BLK_T_OUT, 0, k.data, 8 << 20);
	kick_only(0);
	fakedrv_reset(&k.f);
	while (k.f.d->resetting)
		loop_step(k.f.loop, 1000, NULL);
	ck_assert_uint_eq(blk()->busy, 0);
	fakedrv_attach(&k.f, k.f.d, MQ_FEATURES, 256);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(test_many_resets)
{
	unsigned int i;

	for (i = 0; i < 200; i++) {
		begin_some(1 + i % 60);
		fakedrv_reset(&k.f);
		while (k.f.d->resetting)
			loop_step(k.f.loop, 1000, NULL);
		fakedrv_attach(&k.f, k.f.d, MQ_FEATURES, 256);
	}
	ck_assert_uint_eq(aio_held(k.aio), 0);
}
END_TEST

/* The device's end waits, with and without a reset before. */
START_TEST(test_free_while_busy)
{
	begin_some(40);
	if (_i)
		fakedrv_reset(&k.f);
	pthread_mutex_lock(&k.f.d->lock);
	k.f.d->ops->stop(k.f.d);
	k.f.d->running = false;
	pthread_mutex_unlock(&k.f.d->lock);
	k.f.d->ops->free(k.f.d);
	k.f.d = NULL;
	ck_assert_uint_eq(aio_held(k.aio), 0);
}
END_TEST

/* ---- limits ---- */

static int limit(uint64_t bytes, uint64_t ops, uint64_t burst_bytes, uint64_t burst_ops)
{
	struct vmm_set_limit l = { .limit = { bytes, ops, burst_bytes, burst_ops } };
	struct err e = { 0 };
	int rc;

	pthread_mutex_lock(&k.f.d->lock);
	rc = k.f.d->ops->limit(k.f.d, &l, &e);
	pthread_mutex_unlock(&k.f.d->lock);
	return rc;
}

static unsigned int done_of(unsigned int n)
{
	unsigned int i, done = 0;

	for (i = 0; i < n; i++)
		done += fakeblk_status(&k, i) != 0xee;
	return done;
}

static void wait_done(unsigned int n, unsigned int want)
{
	while (done_of(n) < want)
		loop_step(k.f.loop, 1000, NULL);
}

START_TEST(test_limit_ops)
{
	const struct vmm_set_limit two = { .tx = { .ops_per_s = 1 } };
	unsigned int i;

	/* So slow that no token comes while this test runs. */
	ck_assert_int_eq(limit(0, 1, 0, 3), 0);
	ck_assert_int_eq(limit(0, 1, 0, 1ull << 51), -EINVAL);
	pthread_mutex_lock(&k.f.d->lock);
	ck_assert_int_eq(k.f.d->ops->limit(k.f.d, &two, NULL), -EINVAL);
	pthread_mutex_unlock(&k.f.d->lock);
	for (i = 0; i < 12; i++)
		fakeblk_add(&k, 0, i, VIRTIO_BLK_T_GET_ID, 0, k.data, 512);
	kick_only(0);
	kick_only(0);
	ck_assert_uint_ge(done_of(12), 3);
	ck_assert_uint_le(done_of(12), 4);
	ck_assert_uint_eq(k.f.d->q[0].s.next_avail, done_of(12));
	/* The limit goes, and what waits comes without a kick. */
	ck_assert_int_eq(limit(0, 0, 0, 0), 0);
	wait_done(12, 12);
	ck_assert_uint_eq(n_used(0), 12);
}
END_TEST

START_TEST(test_limit_bytes)
{
	unsigned int i;

	ck_assert_int_eq(limit(1, 0, 10000, 0), 0);
	for (i = 0; i < 6; i++)
		fakeblk_add(&k, 0, i, VIRTIO_BLK_T_OUT, 8 * i, k.data, 4096);
	fakedrv_kick(&k.f, 0);
	wait_done(6, 3);
	fakedrv_kick(&k.f, 0);
	/* 10000 tokens are three requests: the third one makes a debt. */
	ck_assert_uint_eq(done_of(6), 3);
	ck_assert_int_eq(limit(1 << 30, 0, 0, 0), 0);
	wait_done(6, 6);
}
END_TEST

/* Tokens come by themselves: no kick, no request is forgotten, in any queue. */
START_TEST(test_limit_timer)
{
	unsigned int i;

	ck_assert_int_eq(limit(0, 1000, 0, 1), 0);
	for (i = 0; i < 40; i++)
		fakeblk_add(&k, i % k.f.d->n_queues, i, VIRTIO_BLK_T_OUT, i, k.data, 512);
	for (i = 0; i < k.f.d->n_queues; i++)
		kick_only((uint16_t)i);
	ck_assert_uint_lt(done_of(40), 40);
	wait_done(40, 40);
	ck_assert_uint_gt(blk()->limit.waits, 0);
}
END_TEST

/* A reset while requests wait for tokens has nothing to wait for. */
START_TEST(test_limit_reset)
{
	unsigned int i;

	ck_assert_int_eq(limit(0, 1, 0, 1), 0);
	for (i = 0; i < 8; i++)
		fakeblk_add(&k, 0, i, VIRTIO_BLK_T_GET_ID, 0, k.data, 512);
	fakedrv_kick(&k.f, 0);
	fakedrv_reset(&k.f);
	ck_assert(!k.f.d->resetting);
	ck_assert_int_eq(limit(0, 0, 0, 0), 0);
	fakedrv_attach(&k.f, k.f.d, FAKEBLK_RAW, 64);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(test_limit_at_plug)
{
	struct vmm_disk cfg = { .serial = "x", .limit = { 0, 1, 0, 2 } };
	unsigned int i;

	fakeblk_done(&k);
	fakeblk_init(&k, true);
	attach(&cfg, FAKEBLK_RAW);
	for (i = 0; i < 8; i++)
		fakeblk_add(&k, 0, i, VIRTIO_BLK_T_GET_ID, 0, k.data, 512);
	kick_only(0);
	ck_assert_uint_ge(done_of(8), 2);
	ck_assert_uint_le(done_of(8), 3);
	cfg.limit.burst_bytes = 5;
	fakeblk_refuse(&k, &cfg, disk, "limit of bytes: a burst without a rate");
}
END_TEST

/* Where vectors are short the queues are as many, and share one. */
START_TEST(test_one_vector)
{
	struct vmm_disk cfg = { .serial = "x" };

	ck_assert_uint_eq(k.f.d->vectors, k.f.d->n_queues + 1);
	fakeblk_done(&k);
	fakeblk_init(&k, true);
	k.host.one_vector = true;
	k.host.vcpus = _i ? 4 : 1;
	attach(&cfg, FAKEBLK_RAW);
	ck_assert_uint_eq(k.f.d->n_queues, _i ? 4 : 1);
	ck_assert_uint_eq(k.f.d->vectors, 2);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}
END_TEST

/* ---- size ---- */

static int resize(struct err *e)
{
	int rc;

	pthread_mutex_lock(&k.f.d->lock);
	rc = k.f.d->ops->resize(k.f.d, e);
	pthread_mutex_unlock(&k.f.d->lock);
	return rc;
}

static uint64_t capacity(void)
{
	uint64_t c;

	k.f.d->ops->config_read(k.f.d, 0, &c, sizeof(c));
	return c;
}

START_TEST(test_resize)
{
	uint8_t generation = k.f.d->s.config_generation;
	struct err e = { 0 };

	k.f.d->s.config_vector = 16;
	ck_assert_int_eq(resize(&e), 0);
	ck_assert_uint_eq(k.f.irq[16], 0);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, SECTORS, 512), VIRTIO_BLK_S_IOERR);
	ck_assert(!ftruncate(disk, 2 * SECTORS * 512));
	/* Nothing is different before the supervisor says so. */
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, SECTORS, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(resize(&e), 0);
	ck_assert_uint_eq(k.f.irq[16], 1);
	ck_assert_uint_ne(k.f.d->s.config_generation, generation);
	ck_assert_uint_eq(capacity(), 2 * SECTORS);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, 2 * SECTORS - 1, 512), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, 2 * SECTORS, 512), VIRTIO_BLK_S_IOERR);
}
END_TEST

static const struct {
	off_t bytes;
	const char *text;
} wrong_sizes[] = {
	{ SECTORS * 512 - 512, "shrunk" },
	{ 0, "multiple" },
	{ SECTORS * 512 + 1, "multiple" },
};

START_TEST(test_resize_refused)
{
	struct err e = { 0 };

	ck_assert(!ftruncate(disk, wrong_sizes[_i].bytes));
	ck_assert_int_eq(resize(&e), -EINVAL);
	ck_assert_msg(strstr(e.text, wrong_sizes[_i].text) != NULL, "%s", e.text);
	ck_assert_uint_eq(capacity(), SECTORS);
	/* A read of what is not there any more fails, and that is all. */
	if (wrong_sizes[_i].bytes < SECTORS * 512)
		ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, SECTORS - 1, 512),
				 VIRTIO_BLK_S_IOERR);
}
END_TEST

/* ---- direct ---- */

static void setup_direct(bool use_ring)
{
	struct vmm_disk cfg = { .serial = "direct" };

	fakeblk_init(&k, use_ring);
	disk = fakeblk_file(SECTORS * 512);
	ck_assert(!fcntl(disk, F_SETFL, O_DIRECT));
	attach(&cfg, FAKEBLK_RAW);
}

static void setup_direct_ring(void)
{
	setup_direct(true);
}

static void setup_direct_plain(void)
{
	setup_direct(false);
}

static bool direct_works(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Through the page cache, to compare. */
static void compare(off_t at, const uint8_t *want, size_t n)
{
	char path[40];
	uint8_t *back = malloc(n);
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, back, n, at), (ssize_t)n);
	ck_assert(!memcmp(back, want, n));
	close(fd);
	free(back);
}

START_TEST(test_direct_config)
{
	const struct raw *r = &blk()->raw;
	struct virtio_blk_config c;

	ck_assert(r->direct);
	k.f.d->ops->config_read(k.f.d, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.blk_size, r->block);
	ck_assert_uint_ge(r->block, 512);
	ck_assert_uint_ge(r->mem_align, 1);
	ck_assert_uint_eq(r->block << c.physical_block_exp, r->physical);
}
END_TEST

START_TEST(test_direct)
{
	const uint32_t bytes = 3 << 20;
	uint8_t *want = malloc(bytes);

	memset(want, 0x3c, bytes);
	memcpy(fakeblk_mem(&k, bytes), want, bytes);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, 64, bytes), VIRTIO_BLK_S_OK);
	memset(fakeblk_mem(&k, bytes), 0, bytes);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 64, bytes), VIRTIO_BLK_S_OK);
	ck_assert(!memcmp(fakeblk_mem(&k, bytes), want, bytes));
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	compare(64 * 512, want, bytes);
	free(want);
}
END_TEST

/* Buffers as no direct I/O takes them: odd places and odd lengths. */
static void add_odd(unsigned int slot, bool out, uint64_t sector, uint64_t data, uint32_t bytes)
{
	struct fakebuf b[5] = { { k.hdr + 16 * slot, 16, false },
				{ data + 1, 513, !out },
				{ data + 515, 7, !out },
				{ data + 522, bytes - 520, !out },
				{ k.status + 16 * slot, 1, true } };

	fakeblk_header(&k, slot, out ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, sector);
	*(uint8_t *)fakedrv_ptr(&k.f, k.status + 16 * slot, 1) = 0xee;
	fakedrv_add(&k.f, 0, b, 5);
}

START_TEST(test_direct_odd)
{
	/* Several pieces of the bounce buffer, and a tail. */
	const uint32_t bytes = 3 * BLK_BOUNCE_BYTES + 4096;
	uint8_t *p = fakeblk_mem(&k, bytes + 4096), *want = malloc(bytes);
	uint32_t i;

	for (i = 0; i < bytes; i++)
		want[i] = (uint8_t)(i * 7 + i / 251);
	memcpy(p + 1, want, 513);
	memcpy(p + 515, want + 513, 7);
	memcpy(p + 522, want + 520, bytes - 520);
	add_odd(0, true, 8, k.data, bytes);
	fakedrv_kick(&k.f, 0);
	fakeblk_wait(&k, 0, NULL);
	ck_assert_uint_eq(fakeblk_status(&k, 0), VIRTIO_BLK_S_OK);
	compare(8 * 512, want, bytes);

	memset(p, 0, bytes + 4096);
	kit_aio_fault(AIO_READ, 2, 1, 4096); /* a short one in between */
	add_odd(0, false, 8, k.data, bytes);
	fakedrv_kick(&k.f, 0);
	fakeblk_wait(&k, 0, NULL);
	ck_assert_uint_eq(fakeblk_status(&k, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(kit_aio_fired(), 1);
	ck_assert(!memcmp(p + 1, want, 513) && !memcmp(p + 515, want + 513, 7) &&
		  !memcmp(p + 522, want + 520, bytes - 520));
	ck_assert_uint_eq(p[0] | p[514], 0);
	ck_assert_ptr_null(blk()->bounce_user);
	free(want);
}
END_TEST

/* Many that need the one buffer, good ones between them. */
START_TEST(test_direct_queue)
{
	unsigned int i;

	for (i = 0; i < 30; i++) {
		uint64_t at = k.data + 8192 * i;

		memset(fakedrv_ptr(&k.f, at, 8192), (int)i + 1, 8192);
		if (i % 3)
			add_odd(i, true, 8 * i, at, 4096);
		else
			fakeblk_add(&k, 0, i, VIRTIO_BLK_T_OUT, 8 * i, at, 4096);
	}
	fakedrv_kick(&k.f, 0);
	for (i = 0; i < 30; i++)
		fakeblk_wait(&k, 0, NULL);
	for (i = 0; i < 30; i++) {
		uint8_t want[4096];

		ck_assert_uint_eq(fakeblk_status(&k, i), VIRTIO_BLK_S_OK);
		memset(want, (int)i + 1, sizeof(want));
		compare(4096 * (off_t)i, want, sizeof(want));
	}
	ck_assert_ptr_null(blk()->bounce_user);
	ck_assert_ptr_null(blk()->waiting);
}
END_TEST

/* A reset, or a broken rule, while requests wait for the buffer. */
START_TEST(test_direct_reset)
{
	struct fakebuf b = { k.hdr, 16, false };
	unsigned int i;

	kit_aio_hold(true);
	for (i = 0; i < 10; i++)
		add_odd(i, false, 8 * i, k.data + 8192 * i, 4096);
	kick_only(0);
	ck_assert_ptr_nonnull(blk()->waiting);
	ck_assert_uint_eq(blk()->busy, 10);
	if (_i) {
		fakedrv_add(&k.f, 0, &b, 1);
		kick_only(0);
		ck_assert(fakedrv_is_broken(&k.f));
	}
	fakedrv_reset(&k.f);
	kit_aio_hold(false);
	while (k.f.d->resetting)
		loop_step(k.f.loop, 1000, NULL);
	ck_assert_ptr_null(blk()->waiting);
	ck_assert_ptr_null(blk()->bounce_user);
	for (i = 0; i < 10; i++)
		ck_assert_uint_eq(fakeblk_status(&k, i), 0xee);
	fakedrv_attach(&k.f, k.f.d, FAKEBLK_RAW, 64);
	add_odd(0, true, 0, k.data, 4096);
	fakedrv_kick(&k.f, 0);
	fakeblk_wait(&k, 0, NULL);
	ck_assert_uint_eq(fakeblk_status(&k, 0), VIRTIO_BLK_S_OK);
}
END_TEST

/* What is no multiple of the block that the driver was told. */
START_TEST(test_direct_place)
{
	uint32_t block = blk()->raw.block;
	bool small = block == 512;

	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, 0, 513), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, 1, block),
			 small ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 0, 512),
			 small ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, SECTORS - block / 512, block),
			 VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(test_direct_clear)
{
	struct virtio_blk_discard_write_zeroes r = { .sector = 8, .num_sectors = 256 };
	static const uint8_t none[256 * 512];

	memset(fakeblk_mem(&k, 1 << 20), 0x55, 1 << 20);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, 0, 1 << 20), VIRTIO_BLK_S_OK);
	kit_aio_fault(AIO_ALLOCATE, 1, _i ? 99 : 0, -EOPNOTSUPP);
	memcpy(fakeblk_mem(&k, sizeof(r)), &r, sizeof(r));
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(r)), VIRTIO_BLK_S_OK);
	compare(4096, none, sizeof(none));
}
END_TEST

static TCase *make_case(Suite *s, const char *name, void (*fixture)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, fixture, teardown);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return t;
}

static void add_queues(TCase *t, bool ring)
{
	tcase_add_loop_test(t, test_number, 0, (int)ARRAY_LEN(sizes));
	tcase_add_test(t, test_each);
	tcase_add_test(t, test_many_in_one_kick);
	tcase_add_test(t, test_no_place);
	tcase_add_test(t, test_one_of_many);
	tcase_add_test(t, test_reset_within_request);
	tcase_add_test(t, test_many_resets);
	tcase_add_loop_test(t, test_free_while_busy, 0, 2);
	if (!ring)
		return;
	tcase_add_test(t, test_one_submission);
	tcase_add_test(t, test_fair);
	tcase_add_test(t, test_depth);
	tcase_add_test(t, test_broken_while_busy);
	tcase_add_test(t, test_reset_while_busy);
}

static void add_single(TCase *t)
{
	tcase_add_test(t, test_limit_ops);
	tcase_add_test(t, test_limit_bytes);
	tcase_add_test(t, test_limit_reset);
	tcase_add_test(t, test_limit_at_plug);
	tcase_add_loop_test(t, test_one_vector, 0, 2);
	tcase_add_test(t, test_resize);
	tcase_add_loop_test(t, test_resize_refused, 0, (int)ARRAY_LEN(wrong_sizes));
}

static void add_direct(TCase *t, bool ring)
{
	tcase_add_test(t, test_direct_config);
	tcase_add_test(t, test_direct);
	tcase_add_test(t, test_direct_odd);
	tcase_add_test(t, test_direct_queue);
	tcase_add_test(t, test_direct_place);
	tcase_add_loop_test(t, test_direct_clear, 0, 2);
	if (ring)
		tcase_add_loop_test(t, test_direct_reset, 0, 2);
}

Suite *virtio_blk_queues_suite(void)
{
	Suite *s = suite_create("virtio_blk_queues");
	TCase *t;

	t = make_case(s, "queues ring", setup_ring);
	add_queues(t, true);
	tcase_add_test(t, test_limit_timer);
	t = make_case(s, "queues plain", setup_plain);
	add_queues(t, false);
	tcase_add_test(t, test_limit_timer);
	add_single(make_case(s, "limits and size ring", setup_one_ring));
	add_single(make_case(s, "limits and size plain", setup_one_plain));
	if (direct_works()) {
		add_direct(make_case(s, "direct ring", setup_direct_ring), true);
		add_direct(make_case(s, "direct plain", setup_direct_plain), false);
	} else {
		kit_skip("virtio_blk_queues", "no direct I/O in the current folder");
	}
	return s;
}
