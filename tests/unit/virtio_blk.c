// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/{blk,synth}.c: good and hostile requests against a raw file, and
 * synthetic disks whose table or whose broker lies. The broker is a thread.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/broker.h"
#include "lib/disktab.h"
#include "lib/fd.h"
#include "tests/kit/fakedrv.h"
#include "vmm/vmm.h"

#define SECTORS 2048u
#define SYNTH_FEATURES (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_RO)
#define RAW_FEATURES (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH | \
		      1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)

Suite *virtio_blk_suite(void);

static struct fakedrv f;
static int disk = -1;
static uint64_t hdr, data, status;

static int scratch_file(off_t size)
{
	char name[] = "/tmp/virtio-blk-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert(!ftruncate(fd, size));
	return fd;
}

static void buffers(void)
{
	hdr = fakedrv_alloc(&f, 4096);
	data = fakedrv_alloc(&f, 1 << 20);
	status = fakedrv_alloc(&f, 4096);
}

static void attach_raw(bool readonly, uint64_t features)
{
	struct vmm_disk cfg = { .serial = "serial-of-twenty-ch", .readonly = readonly };
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	ck_assert_msg(!blk_new(&cfg, dup(disk), -1, &f.mem, f.loop, &d, &e), "%s", e.text);
	fakedrv_attach(&f, d, features, 128);
}

static void setup(void)
{
	fakedrv_init(&f);
	buffers();
	disk = scratch_file(SECTORS * 512);
	attach_raw(false, RAW_FEATURES);
}

static void teardown(void)
{
	fakedrv_done(&f);
	fd_close(&disk);
}

static void header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	memcpy(fakedrv_ptr(&f, hdr, sizeof(h)), &h, sizeof(h));
}

static int finish(uint32_t want_len)
{
	uint8_t *s = fakedrv_ptr(&f, status, 1);
	uint32_t len;

	fakedrv_kick(&f, 0);
	ck_assert(fakedrv_used(&f, 0, NULL, &len));
	if (want_len)
		ck_assert_uint_eq(len, want_len);
	return *s;
}

/* One request with header, data and status in a buffer each. */
static int request(uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct fakebuf b[3] = { { hdr, 16, false }, { data, len, in }, { status, 1, true } };

	header(type, sector);
	*(uint8_t *)fakedrv_ptr(&f, status, 1) = 0xee;
	if (!len)
		b[1] = b[2];
	fakedrv_add(&f, 0, b, len ? 3 : 2);
	return finish(0);
}

static uint8_t *mem(uint32_t len)
{
	return fakedrv_ptr(&f, data, len);
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
	ck_assert(!fakedrv_is_broken(&f));
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
	header(VIRTIO_BLK_T_IN, 2);
	for (i = 0; i < 16; i++)
		b[i] = (struct fakebuf){ hdr + (unsigned int)i, 1, false };
	b[16] = (struct fakebuf){ data, 3, true };
	b[17] = (struct fakebuf){ data + 3, 510, true };
	*(mem(513) + 512) = 0xee;
	fakedrv_add(&f, 0, b, 18);
	finish(513);
	ck_assert_mem_eq(mem(10), "the sector", 10);
	ck_assert_uint_eq(*(mem(513) + 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* Header and data of a write in one buffer. */
START_TEST(test_joined_write)
{
	struct fakebuf b[2] = { { hdr, 16 + 512, false }, { status, 1, true } };
	char back[5];

	header(VIRTIO_BLK_T_OUT, 3);
	memcpy(fakedrv_ptr(&f, hdr + 16, 5), "hello", 5);
	fakedrv_add(&f, 0, b, 2);
	ck_assert_int_eq(finish(1), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(pread(disk, back, 5, 1536), 5);
	ck_assert_mem_eq(back, "hello", 5);
}
END_TEST

START_TEST(test_no_status)
{
	struct fakebuf b[2] = { { hdr, 16, false }, { data, 512, false } };

	header(VIRTIO_BLK_T_OUT, 0);
	fakedrv_add(&f, 0, b, 2);
	fakedrv_kick(&f, 0);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert(!fakedrv_used(&f, 0, NULL, NULL));
	/* A reset mends it. */
	fakedrv_reset(&f);
	fakedrv_attach(&f, f.d, RAW_FEATURES, 8);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(test_short_header)
{
	struct fakebuf b[2] = { { hdr, 15, false }, { status, 1, true } };

	fakedrv_add(&f, 0, b, 2);
	ck_assert_int_eq(finish(1), VIRTIO_BLK_S_IOERR);
	fakedrv_add(&f, 0, b + 1, 1);
	ck_assert_int_eq(finish(1), VIRTIO_BLK_S_IOERR);
}
END_TEST

START_TEST(test_broken_ring)
{
	fakedrv_desc(&f, 0, 0, hdr, 16, VRING_DESC_F_NEXT, 0);
	fakedrv_avail(&f, 0, 0);
	fakedrv_kick(&f, 0);
	ck_assert(fakedrv_is_broken(&f));
}
END_TEST

START_TEST(test_many_in_one_kick)
{
	struct fakebuf b[2] = { { hdr, 16, false }, { status, 1, true } };
	int i, done = 0;

	header(VIRTIO_BLK_T_FLUSH, 0);
	for (i = 0; i < 64; i++)
		fakedrv_add(&f, 0, b, 2);
	fakedrv_kick(&f, 0);
	while (fakedrv_used(&f, 0, NULL, NULL))
		done++;
	ck_assert_int_eq(done, 64);
	ck_assert_uint_ge(f.irq[0], 1);
}
END_TEST

/* What is there at DRIVER_OK needs no kick. */
START_TEST(test_before_start)
{
	fakedrv_reset(&f);
	fakedrv_poll(&f);
	fakedrv_attach(&f, f.d, RAW_FEATURES, 8);
	header(VIRTIO_BLK_T_FLUSH, 0);
	fakedrv_add(&f, 0, (struct fakebuf[]){ { hdr, 16, false }, { status, 1, true } }, 2);
	pthread_mutex_lock(&f.d->lock);
	f.d->ops->start(f.d);
	pthread_mutex_unlock(&f.d->lock);
	fakedrv_poll(&f);
	ck_assert(fakedrv_used(&f, 0, NULL, NULL));
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

START_TEST(test_discard)
{
	static uint8_t full[SECTORS * 512], back[4096];
	struct stat st;
	size_t i;

	memset(full, 0x77, sizeof(full));
	ck_assert_int_eq(pwrite(disk, full, sizeof(full), 0), sizeof(full));
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, SECTORS - 8, 8, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 16, 3, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 32, 8, 1), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(pread(disk, back, 3 * 512, 16 * 512), 3 * 512);
	for (i = 0; i < 3 * 512; i++)
		ck_assert_uint_eq(back[i], 0);
	ck_assert_int_eq(pread(disk, back, 512, 19 * 512), 512);
	ck_assert_uint_eq(back[0], 0x77);
	ck_assert(!fstat(disk, &st));
	ck_assert_int_eq(st.st_size, SECTORS * 512);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 1, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 1, 1, 1), VIRTIO_BLK_S_UNSUPP);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 1, 1, 2), VIRTIO_BLK_S_UNSUPP);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0), VIRTIO_BLK_S_OK);
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

START_TEST(test_config)
{
	struct virtio_blk_config c;
	uint8_t tail[8];

	f.d->ops->config_read(f.d, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.capacity, SECTORS);
	ck_assert_uint_eq(c.seg_max, 254);
	ck_assert_uint_eq(c.blk_size, 512);
	memset(tail, 1, 8);
	f.d->ops->config_read(f.d, UINT32_MAX - 3, tail, 8);
	ck_assert_uint_eq(tail[0] | tail[7], 0);
	f.d->ops->config_read(f.d, sizeof(c) - 2, tail, 8);
	ck_assert_uint_eq(tail[2] | tail[7], 0);
}
END_TEST

static void setup_ro(void)
{
	fakedrv_init(&f);
	buffers();
	disk = scratch_file(SECTORS * 512);
	attach_raw(true, SYNTH_FEATURES);
}

START_TEST(test_readonly)
{
	ck_assert(!(f.d->s.offered & 1ull << VIRTIO_BLK_F_DISCARD));
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}
END_TEST

static void refuse(const struct vmm_disk *cfg, int fd, int broker, const char *text)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	ck_assert_int_lt(blk_new(cfg, fd, broker, &f.mem, f.loop, &d, &e), 0);
	ck_assert_msg(strstr(e.text, text), "%s", e.text);
	ck_assert_ptr_null(d);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
}

START_TEST(test_refused_raw)
{
	struct vmm_disk cfg = { .serial = "x" };
	struct vmm_disk endless = { .readonly = 1 };
	struct vmm_disk lie = { .synthetic = 1 };
	int fd, p[2];

	memset(endless.serial, 'a', sizeof(endless.serial));
	fd = scratch_file(1000);
	refuse(&cfg, fd, -1, "multiple");
	ck_assert(!ftruncate(fd, 0));
	refuse(&cfg, fd, -1, "size of 0");
	ck_assert(!ftruncate(fd, 512));
	refuse(&endless, fd, -1, "serial");
	refuse(&lie, fd, -1, "read-only");
	close(fd);
	ck_assert(!pipe2(p, O_CLOEXEC));
	cfg.readonly = 1;
	refuse(&cfg, p[0], -1, "neither");
	refuse(&cfg, p[1], -1, "read");
	close(p[0]);
	close(p[1]);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cfg.readonly = 0;
	refuse(&cfg, fd, -1, "read-write");
	close(fd);
}
END_TEST

/* ---- synthetic disks ---- */

#define FILES 400
#define BLOCKS 2000

struct fixture {
	struct disktab_head h;
	struct disktab_extent x[FILES + 8];
};

static struct fixture fix;
static int broker[2] = { -1, -1 };
static pthread_t broker_thread;
static bool broker_runs;
static unsigned int broker_asked;
static enum { HONEST, STALE, OTHER_FILE, NO_FD, PIPE_FD, POSITIVE, SHORT, HANG_UP } broker_mood;

static int layer_file(uint32_t file)
{
	char text[64];
	int fd = scratch_file(0), n = snprintf(text, sizeof(text), "file %u.", file);

	/* File 1 has three blocks and a bit; the others one line. */
	ck_assert_int_eq(pwrite(fd, text, (size_t)n, 0), n);
	if (file == 1)
		ck_assert_int_eq(pwrite(fd, "tail", 4, 3 * 4096), 4);
	return fd;
}

static void *serve_broker(void *arg)
{
	struct broker_request rq;
	struct err e = { 0 };
	size_t n_fds;

	(void)arg;
	while (fd_recv(broker[1], &rq, sizeof(rq), NULL, 0, &n_fds, &e) == sizeof(rq)) {
		struct broker_reply re = { .error = 0, .file = rq.file };
		_cleanup_close_ int fd = broker_mood == PIPE_FD ? dup(broker[1])
								: layer_file(rq.file);

		broker_asked++;
		ck_assert_uint_eq(rq.disk, 5);
		if (broker_mood == STALE)
			re.error = -ESTALE;
		if (broker_mood == POSITIVE)
			re.error = ESTALE;
		if (broker_mood == OTHER_FILE)
			re.file++;
		if (broker_mood == HANG_UP)
			break;
		fd_send(broker[1], &re, broker_mood == SHORT ? 4 : sizeof(re), &fd,
			re.error || broker_mood == NO_FD ? 0 : 1, &e);
	}
	shutdown(broker[1], SHUT_RDWR);
	return NULL;
}

static int seal(int fd)
{
	ck_assert(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
	return fd;
}

/*
 * Blocks: 0-1 in the table; 2 a hole; 3-6 file 1; 7 file 2 at an odd offset;
 * 8-9 holes; from 10 on one block of each file; the rest is a hole.
 */
static void honest_fixture(void)
{
	uint32_t i, n = 0;

	memset(&fix, 0, sizeof(fix));
	fix.h = (struct disktab_head){ .magic = DISKTAB_MAGIC, .n_blocks = BLOCKS,
				       .extents_offset = offsetof(struct fixture, x),
				       .n_files = FILES };
	fix.x[n++] = (struct disktab_extent){ 0, 2, 16384, DISKTAB_FILE_SELF, 0 };
	fix.x[n++] = (struct disktab_extent){ 3, 4, 0, 1, 0 };
	fix.x[n++] = (struct disktab_extent){ 7, 1, 5, 2, 0 };
	for (i = 0; i < FILES; i++)
		fix.x[n++] = (struct disktab_extent){ 10 + i, 1, 0, i, 0 };
	fix.h.n_extents = n;
}

static int table_fd(void)
{
	int fd = memfd_create("table", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	static uint8_t self[8192];

	ck_assert_int_ge(fd, 0);
	memset(self, 'M', sizeof(self));
	ck_assert_int_eq(pwrite(fd, &fix, sizeof(fix), 0), sizeof(fix));
	ck_assert_uint_le(sizeof(fix), 16384);
	ck_assert_int_eq(pwrite(fd, self, sizeof(self), 16384), sizeof(self));
	return fd;
}

static const struct vmm_disk synth_cfg = { .serial = "synth", .synthetic = 1,
					   .readonly = 1, .number = 5 };

static void setup_synth(void)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	fakedrv_init(&f);
	buffers();
	broker_mood = HONEST;
	broker_asked = 0;
	ck_assert(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker));
	honest_fixture();
	ck_assert_msg(!blk_new(&synth_cfg, seal(table_fd()), broker[0], &f.mem, f.loop, &d,
			       &e), "%s", e.text);
	fakedrv_attach(&f, d, SYNTH_FEATURES, 128);
	ck_assert(!pthread_create(&broker_thread, NULL, serve_broker, NULL));
	broker_runs = true;
}

static void teardown_synth(void)
{
	shutdown(broker[0], SHUT_RDWR);
	if (broker_runs)
		pthread_join(broker_thread, NULL);
	fakedrv_done(&f);
	fd_close(&broker[0]);
	fd_close(&broker[1]);
}

static void all(const uint8_t *p, size_t n, uint8_t want)
{
	size_t i;

	for (i = 0; i < n; i++)
		ck_assert_uint_eq(p[i], want);
}

/* One read over the table, a hole, files, a tail and holes again. */
START_TEST(test_synth_span)
{
	const uint8_t *p = mem(40960);

	memset(mem(40960), 0xcc, 40960);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 40960), VIRTIO_BLK_S_OK);
	all(p, 8192, 'M');
	all(p + 8192, 4096, 0);
	ck_assert_mem_eq(p + 12288, "file 1.", 7);
	all(p + 12288 + 7, 3 * 4096 - 7, 0);
	ck_assert_mem_eq(p + 24576, "tail", 4);
	all(p + 24576 + 4, 4092, 0);
	ck_assert_mem_eq(p + 28672, "2.", 2);
	all(p + 28672 + 2, 4094, 0);
	all(p + 32768, 8192, 0);
	ck_assert_uint_eq(broker_asked, 2);
}
END_TEST

START_TEST(test_synth_sectors)
{
	memset(mem(1024), 0xcc, 1024);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 24 + 24, 512), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(mem(4), "tail", 4);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 23, 1024), VIRTIO_BLK_S_OK);
	all(mem(512), 512, 0);
	ck_assert_mem_eq(mem(1024) + 512, "file 1.", 7);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, BLOCKS * 8 - 1, 512), VIRTIO_BLK_S_OK);
	all(mem(512), 512, 0);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, BLOCKS * 8 - 1, 1024),
			 VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(request(VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
}
END_TEST

/* Buffers of odd sizes, so that extents end in their middle. */
START_TEST(test_synth_scatter)
{
	struct fakebuf b[80];
	size_t n = 0, at = 0;

	header(VIRTIO_BLK_T_IN, 0);
	b[n++] = (struct fakebuf){ hdr, 16, false };
	while (at < 40960) {
		uint32_t part = at + 777 < 40960 ? 777 : (uint32_t)(40960 - at);

		b[n++] = (struct fakebuf){ data + at, part, true };
		at += part;
	}
	b[n++] = (struct fakebuf){ status, 1, true };
	memset(mem(40960), 0xcc, 40960);
	fakedrv_add(&f, 0, b, n);
	ck_assert_int_eq(finish(40961), VIRTIO_BLK_S_OK);
	all(mem(8192), 8192, 'M');
	ck_assert_mem_eq(mem(40960) + 24576, "tail", 4);
	all(mem(40960) + 24576 + 4, 4092, 0);
	ck_assert_mem_eq(mem(40960) + 28672, "2.", 2);
}
END_TEST

/* More files than descriptors are kept; twice, so that old ones come back. */
START_TEST(test_synth_cache)
{
	unsigned int round, i;
	char want[32];

	for (round = 0; round < 2; round++) {
		for (i = 0; i < FILES; i++) {
			ck_assert_int_eq(request(VIRTIO_BLK_T_IN, (10 + i) * 8, 4096),
					 VIRTIO_BLK_S_OK);
			snprintf(want, sizeof(want), "file %u.", i);
			ck_assert_mem_eq(mem(32), want, strlen(want));
		}
	}
	ck_assert_uint_eq(broker_asked, 2 * FILES);
	for (i = FILES - 100; i < FILES; i++)
		request(VIRTIO_BLK_T_IN, (10 + i) * 8, 512);
	ck_assert_uint_eq(broker_asked, 2 * FILES);
}
END_TEST

static int count_fds(void)
{
	int i, n = 0;

	for (i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* The broker says no or lies: that request fails, no other, and no fd is left. */
START_TEST(test_synth_broker)
{
	int before, i;

	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 24, 512), VIRTIO_BLK_S_OK);
	before = count_fds();
	broker_mood = STALE + _i;
	for (i = 0; i < 20; i++)
		ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 7 * 8, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 24, 512), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert(!fakedrv_is_broken(&f));
	/* The broker's own descriptor may come and go in between. */
	ck_assert_int_le(count_fds(), before + 1);
	if (broker_mood != HANG_UP) {
		broker_mood = HONEST;
		ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 7 * 8, 512), VIRTIO_BLK_S_OK);
	}
}
END_TEST

struct table_lie {
	const char *name;
	const char *text;
	uint64_t *field;
	uint64_t value;
};

static uint64_t *file_of(unsigned int i)
{
	return (uint64_t *)(void *)&fix.x[i].file;
}

START_TEST(test_synth_table)
{
	const struct table_lie t[] = {
		{ "magic", "version", &fix.h.magic, 1 },
		{ "no blocks", "0 blocks", &fix.h.n_blocks, 0 },
		{ "many blocks", "blocks", &fix.h.n_blocks, UINT64_MAX / 4096 },
		{ "disk too small", "leaves the disk", &fix.h.n_blocks, 5 },
		{ "extents outside", "inside", &fix.h.extents_offset, 1 << 20 },
		{ "extents at 0", "inside", &fix.h.extents_offset, 0 },
		{ "extents crooked", "inside", &fix.h.extents_offset, 44 },
		{ "extents wrap", "inside", &fix.h.extents_offset, UINT64_MAX - 7 },
		{ "too many extents", "inside", &fix.h.n_extents, 1 << 20 },
		{ "extents' size wraps", "inside", &fix.h.n_extents, 1ull << 59 },
		{ "empty extent", "unsorted", &fix.x[1].n_blocks, 0 },
		{ "overlap", "unsorted", &fix.x[1].first_block, 1 },
		{ "unsorted", "unsorted", &fix.x[2].first_block, 0 },
		{ "first wraps", "unsorted", &fix.x[2].first_block, UINT64_MAX },
		{ "length wraps", "unsorted", &fix.x[2].n_blocks, UINT64_MAX },
		{ "self outside", "leaves the table", &fix.x[0].offset, 1 << 20 },
		{ "self over the end", "leaves the table", &fix.x[0].offset, 20480 },
		{ "self crooked", "leaves the table", &fix.x[0].offset, 1 },
		{ "self wraps", "leaves the table", &fix.x[0].offset, UINT64_MAX - 4095 },
		{ "offset negative", "too large", &fix.x[1].offset, 1ull << 63 },
		{ "offset wraps", "too large", &fix.x[1].offset, INT64_MAX - 4095 },
		{ "no such file", "names file", file_of(1), FILES },
		{ "extent's flag", "flag", file_of(1), 1ull << 32 | 1 },
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int fd;

		honest_fixture();
		*t[i].field = t[i].value;
		fd = seal(table_fd());
		refuse(&synth_cfg, fd, broker[0], t[i].text);
		close(fd);
	}
	honest_fixture();
	fix.h.reserved = 1;
	refuse(&synth_cfg, seal(table_fd()), broker[0], "flag");
	honest_fixture();
	refuse(&synth_cfg, seal(table_fd()), -1, "no broker");
}
END_TEST

START_TEST(test_synth_seals)
{
	int fd = table_fd();

	refuse(&synth_cfg, fd, broker[0], "sealed");
	ck_assert(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	refuse(&synth_cfg, fd, broker[0], "sealed");
	refuse(&synth_cfg, scratch_file(65536), broker[0], "memfd");
	fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	refuse(&synth_cfg, seal(fd), broker[0], "shorter");
}
END_TEST

Suite *virtio_blk_suite(void)
{
	Suite *s = suite_create("virtio_blk");
	TCase *t = tcase_create("raw");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, test_write_read);
	tcase_add_loop_test(t, test_place, 0, (int)(sizeof(places) / sizeof(places[0])));
	tcase_add_test(t, test_get_id);
	tcase_add_test(t, test_any_layout);
	tcase_add_test(t, test_joined_write);
	tcase_add_test(t, test_no_status);
	tcase_add_test(t, test_short_header);
	tcase_add_test(t, test_broken_ring);
	tcase_add_test(t, test_many_in_one_kick);
	tcase_add_test(t, test_before_start);
	tcase_add_test(t, test_discard);
	tcase_add_test(t, test_host_shrinks_file);
	tcase_add_test(t, test_config);
	tcase_add_test(t, test_refused_raw);
	suite_add_tcase(s, t);
	t = tcase_create("readonly");
	tcase_add_checked_fixture(t, setup_ro, teardown);
	tcase_add_test(t, test_readonly);
	suite_add_tcase(s, t);
	t = tcase_create("synthetic");
	tcase_add_checked_fixture(t, setup_synth, teardown_synth);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_synth_span);
	tcase_add_test(t, test_synth_sectors);
	tcase_add_test(t, test_synth_scatter);
	tcase_add_test(t, test_synth_cache);
	tcase_add_loop_test(t, test_synth_broker, 0, 7);
	tcase_add_test(t, test_synth_table);
	tcase_add_test(t, test_synth_seals);
	suite_add_tcase(s, t);
	return s;
}
