// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/{blk,blk-req,raw}.c: single requests against a raw file, good ones and
 * hostile ones, and a host that fails; by io_uring and without it.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "tests/kit/aio.h"
#include "tests/kit/fakeblk.h"
#include "tests/kit/kit.h"

#define SECTORS 32768u

Suite *virtio_blk_suite(void);

static struct fakeblk k;
static int disk = -1;

static void attach(bool readonly, uint64_t features)
{
	struct vmm_disk cfg = { .serial = "serial-of-twenty-ch", .readonly = readonly };

	fakedrv_attach(&k.f, fakeblk_new(&k, &cfg, dup(disk)), features, 128);
}

static void setup(bool use_ring, bool readonly)
{
	fakeblk_init(&k, use_ring);
	disk = fakeblk_file(SECTORS * 512);
	attach(readonly, readonly ? FAKEBLK_RO : FAKEBLK_RAW);
}

static void setup_ring(void)
{
	setup(true, false);
}

static void setup_plain(void)
{
	setup(false, false);
}

static void setup_ro_ring(void)
{
	setup(true, true);
}

static void setup_ro_plain(void)
{
	setup(false, true);
}

static void teardown(void)
{
	fakeblk_done(&k);
	fd_close(&disk);
}

static int request(uint32_t type, uint64_t sector, uint32_t len)
{
	return fakeblk_do(&k, type, sector, len);
}

static uint8_t *mem(uint32_t len)
{
	return fakeblk_mem(&k, len);
}

static void offer(const struct fakebuf *b, size_t n)
{
	*(uint8_t *)fakedrv_ptr(&k.f, k.status, 1) = 0xee;
	fakedrv_add(&k.f, 0, b, n);
	fakedrv_kick(&k.f, 0);
}

/* The answer to the latest offer, of @want_len bytes. */
static int answer(uint32_t want_len)
{
	uint32_t len;

	fakeblk_wait(&k, 0, &len);
	ck_assert_uint_eq(len, want_len);
	return fakeblk_status(&k, 0);
}

START_TEST(test_write_read)
{
	uint8_t back[4096];

	memset(mem(4096), 0x5a, 4096);
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 8, 4096), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(pread(disk, back, 4096, 4096), 4096);
	ck_assert_mem_eq(back, mem(4096), 4096);
	memset(mem(4096), 0, 4096);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 8, 4096), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(back, mem(4096), 4096);
	ck_assert_int_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(kit_aio_count(AIO_SYNC), 1);
	ck_assert_int_eq(kit_aio_flags(AIO_WRITE), 0);
}
END_TEST

/* A driver that does not take FLUSH: each write is safe by itself. */
START_TEST(test_write_through)
{
	struct virtio_blk_discard_write_zeroes r = { .sector = 0, .num_sectors = 8 };

	fakedrv_reset(&k.f);
	fakedrv_attach(&k.f, k.f.d, FAKEBLK_RAW & ~(1ull << VIRTIO_BLK_F_FLUSH), 128);
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 8, 4096), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(kit_aio_flags(AIO_WRITE), RWF_DSYNC);
	ck_assert_uint_eq(kit_aio_count(AIO_SYNC), 0);
	memcpy(mem(sizeof(r)), &r, sizeof(r));
	ck_assert_int_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(r)), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(kit_aio_count(AIO_SYNC), 1);
}
END_TEST

static void pattern(uint8_t *p, size_t n, uint32_t seed)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

/* Larger than one operation, in buffers whose sizes fit nothing. */
/* First bytes of disk images that name other files or sizes. A guest can write them. */
static const struct {
	uint8_t bytes[32];
} images[] = {
	{ "QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x14\0\0\0\x0b/etc/passwd" }, /* qcow2, backing file */
	{ "KDMV\1\0\0\0\3\0\0\0" }, { "vhdxfile" }, { "conectix" }, { "QED\0" },
	{ "# Disk DescriptorFile\n" },
};

/* What a disk holds is never looked at: size and content stay what they are. */
START_TEST(test_image_header)
{
	struct vmm_disk cfg = { .serial = "again" };
	struct virtio_blk_config c;
	struct virtio_dev *again;

	memset(mem(512), 0, 512);
	memcpy(mem(512), images[_i].bytes, sizeof(images[_i].bytes));
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
	again = fakeblk_new(&k, &cfg, dup(disk));
	again->ops->config_read(again, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.capacity, SECTORS);
	again->ops->free(again);
	memset(mem(512), 1, 512);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(mem(512), images[_i].bytes, sizeof(images[_i].bytes));
}
END_TEST

START_TEST(test_large)
{
	const uint32_t bytes = 5 * (1 << 20) + 512, odd = 54321;
	struct fakebuf b[120];
	uint8_t *want = malloc(bytes), *back = malloc(bytes);
	size_t n = 0, at;

	pattern(want, bytes, 7);
	memcpy(mem(bytes), want, bytes);
	fakeblk_header(&k, 0, VIRTIO_BLK_T_OUT, 3);
	b[n++] = (struct fakebuf){ k.hdr, 16, false };
	for (at = 0; at < bytes; at += odd)
		b[n++] = (struct fakebuf){ k.data + at, at + odd < bytes ? odd
							: (uint32_t)(bytes - at), false };
	b[n++] = (struct fakebuf){ k.status, 1, true };
	offer(b, n);
	ck_assert_int_eq(answer(1), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(pread(disk, back, bytes, 1536), bytes);
	ck_assert(!memcmp(back, want, bytes));
	ck_assert_uint_ge(kit_aio_count(AIO_WRITE), 6);

	memset(mem(bytes), 0, bytes);
	fakeblk_header(&k, 0, VIRTIO_BLK_T_IN, 3);
	for (at = 1; at < n; at++)
		b[at].in = true;
	offer(b, n);
	ck_assert_int_eq(answer(bytes + 1), VIRTIO_BLK_S_OK);
	ck_assert(!memcmp(mem(bytes), want, bytes));
	free(want);
	free(back);
}
END_TEST

/* A hole of the file reads as zeros. */
START_TEST(test_hole)
{
	static const uint8_t none[8192];
	struct stat st;

	memset(mem(8192), 0xcc, 8192);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 1024, 8192), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(mem(8192), none, 8192);
	ck_assert(!fstat(disk, &st));
	ck_assert_int_eq(st.st_blocks, 0);
}
END_TEST

struct place {
	const char *name;
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	int status;
};

static const struct place places[] = {
	{ "last sector", VIRTIO_BLK_T_OUT, SECTORS - 1, 512, VIRTIO_BLK_S_OK },
	{ "last sector read", VIRTIO_BLK_T_IN, SECTORS - 1, 512, VIRTIO_BLK_S_OK },
	{ "one behind", VIRTIO_BLK_T_OUT, SECTORS, 512, VIRTIO_BLK_S_IOERR },
	{ "one behind read", VIRTIO_BLK_T_IN, SECTORS, 512, VIRTIO_BLK_S_IOERR },
	{ "over the end", VIRTIO_BLK_T_OUT, SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR },
	{ "over the end read", VIRTIO_BLK_T_IN, SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR },
	{ "sector wraps", VIRTIO_BLK_T_OUT, UINT64_MAX, 1024, VIRTIO_BLK_S_IOERR },
	{ "bytes wrap to 0", VIRTIO_BLK_T_OUT, 1ull << 55, 512, VIRTIO_BLK_S_IOERR },
	{ "bytes wrap to 0 read", VIRTIO_BLK_T_IN, 1ull << 55, 512, VIRTIO_BLK_S_IOERR },
	{ "crooked length", VIRTIO_BLK_T_OUT, 0, 513, VIRTIO_BLK_S_IOERR },
	{ "crooked length read", VIRTIO_BLK_T_IN, 0, 511, VIRTIO_BLK_S_IOERR },
	{ "no data at the end", VIRTIO_BLK_T_IN, SECTORS, 0, VIRTIO_BLK_S_OK },
	{ "unknown type", 77, 0, 512, VIRTIO_BLK_S_UNSUPP },
	{ "scsi", VIRTIO_BLK_T_SCSI_CMD, 0, 512, VIRTIO_BLK_S_UNSUPP },
	{ "secure erase", 14, 0, 16, VIRTIO_BLK_S_UNSUPP },
	{ "short discard", VIRTIO_BLK_T_DISCARD, 0, 15, VIRTIO_BLK_S_IOERR },
	{ "empty discard", VIRTIO_BLK_T_DISCARD, 0, 0, VIRTIO_BLK_S_IOERR },
	{ "too many ranges", VIRTIO_BLK_T_DISCARD, 0, 17 * 16, VIRTIO_BLK_S_IOERR },
	{ "short id", VIRTIO_BLK_T_GET_ID, 0, 19, VIRTIO_BLK_S_IOERR },
};

START_TEST(test_place)
{
	const struct place *p = &places[_i];
	struct stat st;

	memset(mem(4096), 0, 4096);
	ck_assert_msg(request(p->type, p->sector, p->len) == p->status, "%s", p->name);
	ck_assert(!fakedrv_is_broken(&k.f));
	ck_assert(!fstat(disk, &st));
	ck_assert_int_eq(st.st_size, SECTORS * 512);
}
END_TEST

START_TEST(test_get_id)
{
	ck_assert_int_eq(request(VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(mem(20), "serial-of-twenty-ch\0", 20);
}
END_TEST

/* The header in bytes of their own, data and status in one buffer. */
START_TEST(test_any_layout)
{
	struct fakebuf b[20];
	int i;

	ck_assert_int_eq(pwrite(disk, "the sector", 10, 1024), 10);
	fakeblk_header(&k, 0, VIRTIO_BLK_T_IN, 2);
	for (i = 0; i < 16; i++)
		b[i] = (struct fakebuf){ k.hdr + (unsigned int)i, 1, false };
	b[16] = (struct fakebuf){ k.data, 3, true };
	b[17] = (struct fakebuf){ k.data + 3, 510, true };
	*(mem(513) + 512) = 0xee;
	offer(b, 18);
	answer(513);
	ck_assert_mem_eq(mem(10), "the sector", 10);
	ck_assert_uint_eq(*(mem(513) + 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* The last byte of the last writable buffer is the status, wherever data ends. */
START_TEST(test_status_split)
{
	struct fakebuf b[4] = { { k.hdr, 16, false },
				{ k.data, 511, true },
				{ k.data + 511, 1, true },
				{ k.data + 512, 1, true } };

	ck_assert_int_eq(pwrite(disk, "0123456789", 10, 502), 10);
	fakeblk_header(&k, 0, VIRTIO_BLK_T_IN, 0);
	*(mem(513) + 512) = 0xee;
	offer(b, 4);
	answer(513);
	ck_assert_mem_eq(mem(512) + 502, "0123456789", 10);
	ck_assert_uint_eq(*(mem(513) + 512), VIRTIO_BLK_S_OK);
	/* Two bytes for the status: the first is data, and that is no sector. */
	b[1] = (struct fakebuf){ k.data, 2, true };
	offer(b, 2);
	answer(1);
	ck_assert_uint_eq(*(mem(2) + 1), VIRTIO_BLK_S_IOERR);
}
END_TEST

/* Header and data of a write in one buffer. */
START_TEST(test_joined_write)
{
	struct fakebuf b[2] = { { k.hdr, 16 + 512, false }, { k.status, 1, true } };
	char back[5];

	fakeblk_header(&k, 0, VIRTIO_BLK_T_OUT, 3);
	memcpy(fakedrv_ptr(&k.f, k.hdr + 16, 5), "hello", 5);
	offer(b, 2);
	ck_assert_int_eq(answer(1), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(pread(disk, back, 5, 1536), 5);
	ck_assert_mem_eq(back, "hello", 5);
}
END_TEST

/* A write whose data is on the wrong side: it has none. */
START_TEST(test_wrong_side)
{
	struct fakebuf b[3] = { { k.hdr, 16, false }, { k.data, 512, true },
				{ k.status, 1, true } };

	memset(mem(512), 0x33, 512);
	fakeblk_header(&k, 0, VIRTIO_BLK_T_OUT, 0);
	offer(b, 3);
	ck_assert_int_eq(answer(513), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(kit_aio_count(AIO_WRITE), 0);
	ck_assert_uint_eq(mem(1)[0], 0x33);
	/* Data of a read in front of the header is the header. */
	b[0] = (struct fakebuf){ k.data, 512, false };
	offer(b, 1);
	fakedrv_poll(&k.f);
	ck_assert(fakedrv_is_broken(&k.f));
}
END_TEST

START_TEST(test_no_status)
{
	struct fakebuf b[2] = { { k.hdr, 16, false }, { k.data, 512, false } };

	fakeblk_header(&k, 0, VIRTIO_BLK_T_OUT, 0);
	offer(b, 2);
	ck_assert(fakedrv_is_broken(&k.f));
	ck_assert(!fakedrv_used(&k.f, 0, NULL, NULL));
	/* A reset mends it. */
	fakedrv_reset(&k.f);
	fakedrv_attach(&k.f, k.f.d, FAKEBLK_RAW, 8);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(test_short_header)
{
	struct fakebuf b[2] = { { k.hdr, 15, false }, { k.status, 1, true } };

	offer(b, 2);
	ck_assert_int_eq(answer(1), VIRTIO_BLK_S_IOERR);
	offer(b + 1, 1);
	ck_assert_int_eq(answer(1), VIRTIO_BLK_S_IOERR);
}
END_TEST

START_TEST(test_broken_ring)
{
	fakedrv_desc(&k.f, 0, 0, k.hdr, 16, VRING_DESC_F_NEXT, 0);
	fakedrv_avail(&k.f, 0, 0);
	fakedrv_kick(&k.f, 0);
	ck_assert(fakedrv_is_broken(&k.f));
}
END_TEST

/* What is there at DRIVER_OK needs no kick. */
START_TEST(test_before_start)
{
	fakedrv_reset(&k.f);
	fakedrv_poll(&k.f);
	fakedrv_attach(&k.f, k.f.d, FAKEBLK_RAW, 8);
	fakeblk_add(&k, 0, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	pthread_mutex_lock(&k.f.d->lock);
	k.f.d->ops->start(k.f.d);
	pthread_mutex_unlock(&k.f.d->lock);
	fakeblk_wait(&k, 0, NULL);
	ck_assert_uint_eq(fakeblk_status(&k, 0), VIRTIO_BLK_S_OK);
}
END_TEST

static int ranges(uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes r[2] = {
		{ .sector = 0, .num_sectors = 8, .flags = 0 },
		{ .sector = sector, .num_sectors = n, .flags = flags },
	};

	memcpy(mem(sizeof(r)), r, sizeof(r));
	return request(type, 0, sizeof(r));
}

static void fill_disk(uint8_t with)
{
	uint8_t *full = malloc(SECTORS * 512);

	memset(full, with, SECTORS * 512);
	ck_assert_int_eq(pwrite(disk, full, SECTORS * 512, 0), SECTORS * 512);
	free(full);
}

/* Bytes of the disk in [from, from + n) are all @want. */
static void holds(off_t from, size_t n, uint8_t want)
{
	uint8_t *back = malloc(n);
	size_t i;

	ck_assert_int_eq(pread(disk, back, n, from), (ssize_t)n);
	for (i = 0; i < n && back[i] == want; i++)
		;
	free(back);
	ck_assert_msg(i == n, "byte %zu behind %lld", i, (long long)from);
}

START_TEST(test_discard)
{
	struct stat before, st;

	fill_disk(0x77);
	ck_assert(!fsync(disk) && !fstat(disk, &before));
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 1024, 2048, 0), VIRTIO_BLK_S_OK);
	ck_assert(!fsync(disk) && !fstat(disk, &st));
	/* Two ranges of 8 and 2048 sectors are given back to the file system. */
	ck_assert_int_eq(before.st_blocks - st.st_blocks, 2056);
	holds(0, 4096, 0);
	holds(4096, 1020 * 512 - 4096, 0x77);
	holds(1024 * 512, 2048 * 512, 0);
	ck_assert_int_eq(st.st_size, SECTORS * 512);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 16, 3, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 32, 8, 1), VIRTIO_BLK_S_OK);
	holds(16 * 512, 3 * 512, 0);
	holds(19 * 512, 512, 0x77);
	holds(32 * 512, 4096, 0);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, SECTORS - 8, 8, 0), VIRTIO_BLK_S_OK);
	ck_assert(!fstat(disk, &st));
	ck_assert_int_eq(st.st_size, SECTORS * 512);
}
END_TEST

static const struct {
	uint32_t type, n, flags;
	uint64_t sector;
	int status;
} clears[] = {
	{ VIRTIO_BLK_T_DISCARD, 1, 0, SECTORS, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 2, 0, UINT64_MAX, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 512, 0, 1ull << 55, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, UINT32_MAX, 0, 1, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 9, 0, SECTORS - 8, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 1, 1, 1, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 1, 2, 1, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 1, UINT32_MAX, 1, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 1, 0, SECTORS, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 32769, 0, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0, VIRTIO_BLK_S_OK },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, SECTORS, VIRTIO_BLK_S_OK },
};

START_TEST(test_clears)
{
	fill_disk(0x77);
	ck_assert_int_eq(ranges(clears[_i].type, clears[_i].sector, clears[_i].n,
				clears[_i].flags), clears[_i].status);
	/* A wrong range spoils the request before anything is done. */
	holds(0, 4096, clears[_i].status == VIRTIO_BLK_S_OK ? 0 : 0x77);
}
END_TEST

/* A host that can make no zeros: they are written, a discard is left out. */
START_TEST(test_no_fallocate)
{
	fill_disk(0x77);
	kit_aio_fault(AIO_ALLOCATE, 1, 99, -EOPNOTSUPP);
	/* What the fault reports as failed has happened: make the content anew. */
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 4096, 8, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(kit_aio_count(AIO_WRITE), 0);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 4096, 5000, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(kit_aio_fired(), 4);
	/* 8 sectors by one write, 5000 by three of 1 MiB at most. */
	ck_assert_uint_eq(kit_aio_count(AIO_WRITE), 4);
	holds(4096 * 512, 5000 * 512, 0);
	holds(9096 * 512, 512, 0x77);
	kit_aio_fault(AIO_ALLOCATE, 2, 1, -EIO);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 4096, 8, 0), VIRTIO_BLK_S_IOERR);
	kit_aio_fault(AIO_ALLOCATE, 1, 1, -EINTR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 4096, 8, 0), VIRTIO_BLK_S_OK);
}
END_TEST

/* ---- a host that fails ---- */

static const struct {
	enum aio_kind kind;
	unsigned int nth, times;
	int result;
	int status;
} faults[] = {
	{ AIO_READ, 1, 1, 512, VIRTIO_BLK_S_OK },
	{ AIO_READ, 1, 20, 4000, VIRTIO_BLK_S_OK },
	{ AIO_READ, 2, 1, 1, VIRTIO_BLK_S_OK },
	{ AIO_READ, 1, 1, -EINTR, VIRTIO_BLK_S_OK },
	{ AIO_READ, 1, 9, -EAGAIN, VIRTIO_BLK_S_OK },
	{ AIO_READ, 1, 99, -EAGAIN, VIRTIO_BLK_S_IOERR },
	{ AIO_READ, 1, 1, -EIO, VIRTIO_BLK_S_IOERR },
	{ AIO_READ, 2, 1, -EIO, VIRTIO_BLK_S_IOERR },
	{ AIO_READ, 1, 1, 0, VIRTIO_BLK_S_IOERR },
	{ AIO_WRITE, 1, 1, 512, VIRTIO_BLK_S_OK },
	{ AIO_WRITE, 1, 20, 4000, VIRTIO_BLK_S_OK },
	{ AIO_WRITE, 1, 1, -EINTR, VIRTIO_BLK_S_OK },
	{ AIO_WRITE, 1, 3, -EAGAIN, VIRTIO_BLK_S_OK },
	{ AIO_WRITE, 1, 1, -ENOSPC, VIRTIO_BLK_S_IOERR },
	{ AIO_WRITE, 2, 1, -EDQUOT, VIRTIO_BLK_S_IOERR },
	{ AIO_WRITE, 1, 1, 0, VIRTIO_BLK_S_IOERR },
	{ AIO_SYNC, 1, 1, -EIO, VIRTIO_BLK_S_IOERR },
	{ AIO_SYNC, 1, 1, -EINTR, VIRTIO_BLK_S_OK },
};

START_TEST(test_faults)
{
	const uint32_t bytes = 3 << 20;
	uint8_t *want = malloc(bytes), *back = malloc(bytes);
	enum aio_kind kind = faults[_i].kind;

	pattern(want, bytes, 11);
	memcpy(mem(bytes), want, bytes);
	if (kind == AIO_READ) {
		ck_assert_int_eq(pwrite(disk, want, bytes, 8192), bytes);
		memset(mem(bytes), 0, bytes);
	}
	kit_aio_fault(kind, faults[_i].nth, faults[_i].times, faults[_i].result);
	ck_assert_int_eq(kind == AIO_SYNC ? request(VIRTIO_BLK_T_FLUSH, 0, 0) :
			 request(kind == AIO_READ ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 16, bytes),
			 faults[_i].status);
	ck_assert_uint_ge(kit_aio_fired(), 1);
	if (kind != AIO_SYNC && faults[_i].status == VIRTIO_BLK_S_OK) {
		ck_assert_int_eq(pread(disk, back, bytes, 8192), bytes);
		ck_assert(!memcmp(back, want, bytes) && !memcmp(mem(bytes), want, bytes));
	}
	/* The next one is none the worse for it. */
	kit_aio_fault(kind, 1, 0, 0);
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	free(want);
	free(back);
}
END_TEST

START_TEST(test_host_shrinks_file)
{
	ck_assert(!ftruncate(disk, 512));
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 8, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 1024), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(test_size_limit)
{
	struct rlimit r = { 8192, 8192 };

	signal(SIGXFSZ, SIG_IGN); /* as main() does */
	ck_assert(!setrlimit(RLIMIT_FSIZE, &r));
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 16, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 14, 2048), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 14, 1024), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 16, 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* As root: a disk on a file system that is full. */
START_TEST(test_no_space)
{
	int i, failed = 0;

	ck_assert(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ck_assert(!mount("none", "/mnt", "tmpfs", 0, "size=256k"));
	fakeblk_done(&k);
	fd_close(&disk);
	fakeblk_init(&k, _i);
	disk = open("/mnt/disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(disk >= 0 && !ftruncate(disk, SECTORS * 512));
	attach(false, FAKEBLK_RAW);
	for (i = 0; i < 100; i++)
		failed += request(VIRTIO_BLK_T_OUT, 8 * (unsigned int)i, 4096) == VIRTIO_BLK_S_IOERR;
	ck_assert_int_gt(failed, 30);
	ck_assert_int_lt(failed, 70);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
	/* What is freed can be used. */
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 8, 64, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 8 * 99, 4096), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(test_bounded_log)
{
	int fd = memfd_create("log", MFD_CLOEXEC), i, lines = 0;
	static char text[1 << 16];
	ssize_t n;

	log_open(fd, LOG_LEVEL_INFO, false);
	ck_assert(!ftruncate(disk, 0));
	for (i = 0; i < 300; i++)
		ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 8, 512), VIRTIO_BLK_S_IOERR);
	log_open(2, LOG_LEVEL_INFO, false);
	n = pread(fd, text, sizeof(text) - 1, 0);
	for (i = 0; i < n; i++)
		lines += text[i] == '\n';
	ck_assert_int_eq(lines, 21);
	ck_assert_ptr_nonnull(strstr(text, "serial-of-twenty-ch: read: the disk has shrunk"));
	close(fd);
}
END_TEST

/* ---- a driver that changes its mind ---- */

static atomic_bool stop_flipping;
static atomic_uint n_flips;

/* Changes headers, ranges and descriptors while the device looks at them. */
static void *flip(void *arg)
{
	volatile struct virtio_blk_outhdr *h = fakedrv_ptr(&k.f, k.hdr, sizeof(*h));
	volatile struct virtio_blk_discard_write_zeroes *r =
		fakedrv_ptr(&k.f, k.data, sizeof(*r));
	volatile struct vring_desc *d = fakedrv_ptr(&k.f, k.f.q[0].desc, 16 * 128);
	uint32_t i;

	(void)arg;
	for (i = 0; !atomic_load(&stop_flipping); i++) {
		h->sector = i & 1 ? UINT64_MAX - 6 : SECTORS - 8;
		h->type = i & 2 ? VIRTIO_BLK_T_OUT : i & 4 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_DISCARD;
		r->sector = i & 1 ? 1ull << 54 : SECTORS - 8;
		r->num_sectors = i & 2 ? 8 : UINT32_MAX;
		d[1].len = i & 1 ? 4096 : 0xfffffe00;
		d[1].addr = i & 2 ? k.data : UINT64_MAX - 4095;
		atomic_store(&n_flips, i);
	}
	return NULL;
}

START_TEST(test_flip)
{
	struct fakebuf b[3] = { { k.hdr, 16, false }, { k.data, 4096, false },
				{ k.status, 1, true } };
	pthread_t t;
	struct stat st;
	int i;

	fakeblk_header(&k, 0, VIRTIO_BLK_T_OUT, 0);
	ck_assert(!pthread_create(&t, NULL, flip, NULL));
	for (i = 0; i < 3000 || atomic_load(&n_flips) < 100000; i++) {
		fakedrv_add(&k.f, 0, b, 3);
		fakedrv_kick(&k.f, 0);
		while (!fakedrv_is_broken(&k.f) && !fakedrv_used(&k.f, 0, NULL, NULL))
			loop_step(k.f.loop, 1000, NULL);
		if (!fakedrv_is_broken(&k.f)) {
			ck_assert_int_le(fakeblk_status(&k, 0), VIRTIO_BLK_S_UNSUPP);
			continue;
		}
		fakedrv_reset(&k.f);
		while (k.f.d->resetting)
			loop_step(k.f.loop, 1000, NULL);
		/* The rings go to one place, over and over. */
		k.f.brk = k.status + (1 << 16);
		memset(fakedrv_ptr(&k.f, k.f.brk, 1 << 16), 0, 1 << 16);
		fakedrv_attach(&k.f, k.f.d, FAKEBLK_RAW, 128);
	}
	atomic_store(&stop_flipping, true);
	pthread_join(t, NULL);
	ck_assert(!fstat(disk, &st));
	ck_assert_int_eq(st.st_size, SECTORS * 512);
}
END_TEST

START_TEST(test_config)
{
	struct virtio_blk_config c;
	uint8_t tail[8];

	k.f.d->ops->config_read(k.f.d, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.capacity, SECTORS);
	ck_assert_uint_eq(c.seg_max, 254);
	ck_assert_uint_eq(c.blk_size, 512);
	ck_assert_uint_eq(c.num_queues, 1);
	ck_assert_uint_eq(512u << c.physical_block_exp, 4096);
	ck_assert_uint_eq(c.discard_sector_alignment, 8);
	ck_assert(!(k.f.d->s.offered & 1ull << VIRTIO_BLK_F_MQ));
	memset(tail, 1, 8);
	k.f.d->ops->config_read(k.f.d, UINT32_MAX - 3, tail, 8);
	ck_assert_uint_eq(tail[0] | tail[7], 0);
	k.f.d->ops->config_read(k.f.d, sizeof(c) - 2, tail, 8);
	ck_assert_uint_eq(tail[2] | tail[7], 0);
}
END_TEST

START_TEST(test_readonly)
{
	ck_assert(!(k.f.d->s.offered & 1ull << VIRTIO_BLK_F_DISCARD));
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(kit_aio_count(AIO_WRITE) + kit_aio_count(AIO_ALLOCATE) +
			  kit_aio_count(AIO_SYNC), 0);
}
END_TEST

START_TEST(test_refused)
{
	struct vmm_disk cfg = { .serial = "x" };
	struct vmm_disk endless = { .readonly = 1 };
	struct vmm_disk lie = { .synthetic = 1 };
	int fd, p[2];

	memset(endless.serial, 'a', sizeof(endless.serial));
	fd = fakeblk_file(1000);
	fakeblk_refuse(&k, &cfg, fd, "multiple");
	ck_assert(!ftruncate(fd, 0));
	fakeblk_refuse(&k, &cfg, fd, "size of 0");
	ck_assert(!ftruncate(fd, 512));
	fakeblk_refuse(&k, &endless, fd, "serial");
	fakeblk_refuse(&k, &lie, fd, "read-only");
	ck_assert(!fcntl(fd, F_SETFL, O_APPEND));
	fakeblk_refuse(&k, &cfg, fd, "O_APPEND");
	close(fd);
	ck_assert(!pipe2(p, O_CLOEXEC));
	cfg.readonly = 1;
	fakeblk_refuse(&k, &cfg, p[0], "neither");
	fakeblk_refuse(&k, &cfg, p[1], "read");
	close(p[0]);
	close(p[1]);
	fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	fakeblk_refuse(&k, &cfg, fd, "read");
	close(fd);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cfg.readonly = 0;
	fakeblk_refuse(&k, &cfg, fd, "read-write");
	close(fd);
}
END_TEST

static TCase *raw_case(const char *name, void (*fixture)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, fixture, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_write_read);
	tcase_add_test(t, test_write_through);
	tcase_add_loop_test(t, test_image_header, 0, (int)ARRAY_LEN(images));
	tcase_add_test(t, test_large);
	tcase_add_test(t, test_hole);
	tcase_add_loop_test(t, test_place, 0, (int)ARRAY_LEN(places));
	tcase_add_test(t, test_get_id);
	tcase_add_test(t, test_any_layout);
	tcase_add_test(t, test_status_split);
	tcase_add_test(t, test_joined_write);
	tcase_add_test(t, test_wrong_side);
	tcase_add_test(t, test_no_status);
	tcase_add_test(t, test_short_header);
	tcase_add_test(t, test_broken_ring);
	tcase_add_test(t, test_before_start);
	tcase_add_test(t, test_discard);
	tcase_add_loop_test(t, test_clears, 0, (int)ARRAY_LEN(clears));
	tcase_add_test(t, test_no_fallocate);
	tcase_add_loop_test(t, test_faults, 0, (int)ARRAY_LEN(faults));
	tcase_add_test(t, test_host_shrinks_file);
	tcase_add_test(t, test_size_limit);
	tcase_add_test(t, test_bounded_log);
	tcase_add_test(t, test_flip);
	tcase_add_test(t, test_config);
	tcase_add_test(t, test_refused);
	return t;
}

static TCase *readonly_case(const char *name, void (*fixture)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, fixture, teardown);
	tcase_add_test(t, test_readonly);
	return t;
}

Suite *virtio_blk_suite(void)
{
	Suite *s = suite_create("virtio_blk");
	TCase *t;

	suite_add_tcase(s, raw_case("ring", setup_ring));
	suite_add_tcase(s, raw_case("plain", setup_plain));
	suite_add_tcase(s, readonly_case("readonly ring", setup_ro_ring));
	suite_add_tcase(s, readonly_case("readonly plain", setup_ro_plain));
	if (geteuid()) {
		kit_skip("virtio_blk", "a full file system is made as root");
		return s;
	}
	t = tcase_create("full");
	tcase_add_checked_fixture(t, setup_plain, teardown);
	tcase_add_loop_test(t, test_no_space, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
