// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/synth.c behind a disk: reads over tables, holes and files, by io_uring
 * and without, and tables and brokers that lie. The broker is a thread.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
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
#include "lib/mem.h"
#include "tests/kit/aio.h"
#include "tests/kit/fakeblk.h"

Suite *virtio_synth_suite(void);

static struct fakeblk k;

#define FILES 400
#define BLOCKS 2000

struct fixture {
	struct disktab_head h;
	struct disktab_extent x[FILES + 8];
};

static struct fixture fix;
static int broker[2] = { -1, -1 };
static pthread_t broker_thread;
static unsigned int broker_asked;
static enum { HONEST, STALE, OTHER_FILE, NO_FD, PIPE_FD, POSITIVE, SHORT, HANG_UP } broker_mood;

static int layer_file(uint32_t file)
{
	char text[64];
	int fd = fakeblk_file(0), n = snprintf(text, sizeof(text), "file %u.", file);

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

static void setup(bool use_ring, uint32_t vcpus)
{
	fakeblk_init(&k, use_ring);
	broker_mood = HONEST;
	broker_asked = 0;
	ck_assert(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker));
	k.host.broker_fd = broker[0];
	k.host.vcpus = vcpus;
	honest_fixture();
	fakedrv_attach(&k.f, fakeblk_new(&k, &synth_cfg, seal(table_fd())),
		       FAKEBLK_RO | (vcpus > 1 ? 1ull << VIRTIO_BLK_F_MQ : 0), 256);
	ck_assert(!pthread_create(&broker_thread, NULL, serve_broker, NULL));
}

static void setup_ring(void)
{
	setup(true, 1);
}

static void setup_plain(void)
{
	setup(false, 1);
}

static void setup_many(void)
{
	setup(true, 2);
}

static void teardown(void)
{
	shutdown(broker[0], SHUT_RDWR);
	pthread_join(broker_thread, NULL);
	fakeblk_done(&k);
	fd_close(&broker[0]);
	fd_close(&broker[1]);
}

/* One assertion at most: each is a message to the runner. */
static void all(const uint8_t *p, size_t n, uint8_t want)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i] != want)
			ck_abort_msg("byte %zu is %u, not %u", i, p[i], want);
}

/* One read over the table, a hole, files, a tail and holes again. */
START_TEST(test_synth_span)
{
	const uint8_t *p = fakeblk_mem(&k, 40960);

	memset(fakeblk_mem(&k, 40960), 0xcc, 40960);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 0, 40960), VIRTIO_BLK_S_OK);
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
	memset(fakeblk_mem(&k, 1024), 0xcc, 1024);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 24 + 24, 512), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(fakeblk_mem(&k, 4), "tail", 4);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 23, 1024), VIRTIO_BLK_S_OK);
	all(fakeblk_mem(&k, 512), 512, 0);
	ck_assert_mem_eq(fakeblk_mem(&k, 1024) + 512, "file 1.", 7);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, BLOCKS * 8 - 1, 512), VIRTIO_BLK_S_OK);
	all(fakeblk_mem(&k, 512), 512, 0);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, BLOCKS * 8 - 1, 1024),
			 VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
}
END_TEST

/* Buffers of odd sizes, so that extents end in their middle. */
START_TEST(test_synth_scatter)
{
	struct fakebuf b[80];
	size_t n = 0, at = 0;
	uint32_t len;

	fakeblk_header(&k, 0, VIRTIO_BLK_T_IN, 0);
	b[n++] = (struct fakebuf){ k.hdr, 16, false };
	while (at < 40960) {
		uint32_t part = at + 777 < 40960 ? 777 : (uint32_t)(40960 - at);

		b[n++] = (struct fakebuf){ k.data + at, part, true };
		at += part;
	}
	b[n++] = (struct fakebuf){ k.status, 1, true };
	memset(fakeblk_mem(&k, 40960), 0xcc, 40960);
	fakedrv_add(&k.f, 0, b, n);
	fakedrv_kick(&k.f, 0);
	fakeblk_wait(&k, 0, &len);
	ck_assert_uint_eq(len, 40961);
	ck_assert_int_eq(fakeblk_status(&k, 0), VIRTIO_BLK_S_OK);
	all(fakeblk_mem(&k, 8192), 8192, 'M');
	ck_assert_mem_eq(fakeblk_mem(&k, 40960) + 24576, "tail", 4);
	all(fakeblk_mem(&k, 40960) + 24576 + 4, 4092, 0);
	ck_assert_mem_eq(fakeblk_mem(&k, 40960) + 28672, "2.", 2);
}
END_TEST

/* More files than descriptors are kept; twice, so that old ones come back. */
START_TEST(test_synth_cache)
{
	unsigned int round, i;
	char want[32];

	for (round = 0; round < 2; round++) {
		for (i = 0; i < FILES; i++) {
			ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, (10 + i) * 8, 4096),
					 VIRTIO_BLK_S_OK);
			snprintf(want, sizeof(want), "file %u.", i);
			ck_assert_mem_eq(fakeblk_mem(&k, 32), want, strlen(want));
		}
	}
	ck_assert_uint_eq(broker_asked, 2 * FILES);
	for (i = FILES - 100; i < FILES; i++)
		fakeblk_do(&k, VIRTIO_BLK_T_IN, (10 + i) * 8, 512);
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

	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 24, 512), VIRTIO_BLK_S_OK);
	before = count_fds();
	broker_mood = STALE + _i;
	for (i = 0; i < 20; i++)
		ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 7 * 8, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 24, 512), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert(!fakedrv_is_broken(&k.f));
	/* The broker's own descriptor may come and go in between. */
	ck_assert_int_le(count_fds(), before + 1);
	if (broker_mood != HANG_UP) {
		broker_mood = HONEST;
		ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 7 * 8, 512), VIRTIO_BLK_S_OK);
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
		fakeblk_refuse(&k, &synth_cfg, fd, t[i].text);
		close(fd);
	}
	honest_fixture();
	fix.h.reserved = 1;
	fakeblk_refuse(&k, &synth_cfg, seal(table_fd()), "flag");
	honest_fixture();
	k.host.broker_fd = -1;
	fakeblk_refuse(&k, &synth_cfg, seal(table_fd()), "no broker");
}
END_TEST

START_TEST(test_synth_seals)
{
	int fd = table_fd();

	fakeblk_refuse(&k, &synth_cfg, fd, "sealed");
	ck_assert(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	fakeblk_refuse(&k, &synth_cfg, fd, "sealed");
	fakeblk_refuse(&k, &synth_cfg, fakeblk_file(65536), "memfd");
	fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fakeblk_refuse(&k, &synth_cfg, seal(fd), "shorter");
}
END_TEST

/* Results that the host may give for the file's part of test_synth_span. */
static const struct {
	int result;
	unsigned int times;
	int status;
} answers[] = {
	{ 1, 1, VIRTIO_BLK_S_OK },	  { 511, 3, VIRTIO_BLK_S_OK },
	{ -EINTR, 1, VIRTIO_BLK_S_OK },	  { -EAGAIN, 5, VIRTIO_BLK_S_OK },
	{ -EAGAIN, 99, VIRTIO_BLK_S_IOERR }, { -EIO, 1, VIRTIO_BLK_S_IOERR },
};

START_TEST(test_synth_faults)
{
	int status;

	memset(fakeblk_mem(&k, 40960), 0xcc, 40960);
	kit_aio_fault(AIO_READ, 1, answers[_i].times, answers[_i].result);
	status = fakeblk_do(&k, VIRTIO_BLK_T_IN, 0, 40960);
	ck_assert_int_eq(status, answers[_i].status);
	ck_assert_uint_ge(kit_aio_fired(), 1);
	kit_aio_fault(AIO_READ, 1, 0, 0);
	if (status == VIRTIO_BLK_S_OK) {
		ck_assert_mem_eq(fakeblk_mem(&k, 40960) + 12288, "file 1.", 7);
		ck_assert_mem_eq(fakeblk_mem(&k, 40960) + 24576, "tail", 4);
		ck_assert_mem_eq(fakeblk_mem(&k, 40960) + 28672, "2.", 2);
		all(fakeblk_mem(&k, 40960) + 28674, 4094, 0);
	}
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 24, 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* A file that ends before what the broker's descriptor said: zeros. */
START_TEST(test_synth_shrunk)
{
	memset(fakeblk_mem(&k, 16384), 0xcc, 16384);
	kit_aio_fault(AIO_READ, 1, 1, 0);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 24, 4096), VIRTIO_BLK_S_OK);
	all(fakeblk_mem(&k, 4096), 4096, 0);
}
END_TEST

/* More zeros than one step gives. */
START_TEST(test_synth_large_hole)
{
	memset(fakeblk_mem(&k, 5 << 20), 0xcc, 5 << 20);
	ck_assert_int_eq(fakeblk_do(&k, VIRTIO_BLK_T_IN, 420 * 8, 5 << 20), VIRTIO_BLK_S_OK);
	all(fakeblk_mem(&k, 5 << 20), 5 << 20, 0);
}
END_TEST

/*
 * Reads of as many files as descriptors are kept are under way when more come: none of
 * them may lose its descriptor to another.
 */
START_TEST(test_synth_pinned)
{
	unsigned int i, n = 160;
	char want[32];

	kit_aio_hold(true);
	for (i = 0; i < n; i++)
		fakeblk_add(&k, i % 2, i, VIRTIO_BLK_T_IN, (10 + i) * 8, k.data + 4096 * i, 4096);
	fakedrv_kick(&k.f, 0);
	fakedrv_kick(&k.f, 1);
	ck_assert(!fakedrv_used(&k.f, 0, NULL, NULL));
	kit_aio_hold(false);
	for (i = 0; i < n; i++)
		fakeblk_wait(&k, i % 2, NULL);
	for (i = 0; i < n; i++) {
		ck_assert_uint_eq(fakeblk_status(&k, i), VIRTIO_BLK_S_OK);
		snprintf(want, sizeof(want), "file %u.", i);
		ck_assert_mem_eq(fakedrv_ptr(&k.f, k.data + 4096 * i, 32), want, strlen(want));
	}
	ck_assert_uint_eq(broker_asked, n);
}
END_TEST

static TCase *both(const char *name, void (*fixture)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, fixture, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_synth_span);
	tcase_add_test(t, test_synth_sectors);
	tcase_add_test(t, test_synth_scatter);
	tcase_add_test(t, test_synth_cache);
	tcase_add_loop_test(t, test_synth_broker, 0, 7);
	tcase_add_loop_test(t, test_synth_faults, 0, (int)ARRAY_LEN(answers));
	tcase_add_test(t, test_synth_shrunk);
	tcase_add_test(t, test_synth_large_hole);
	return t;
}

Suite *virtio_synth_suite(void)
{
	Suite *s = suite_create("virtio_synth");
	TCase *t;

	suite_add_tcase(s, both("ring", setup_ring));
	suite_add_tcase(s, both("plain", setup_plain));
	t = tcase_create("table");
	tcase_add_checked_fixture(t, setup_plain, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_synth_table);
	tcase_add_test(t, test_synth_seals);
	suite_add_tcase(s, t);
	t = tcase_create("many");
	tcase_add_checked_fixture(t, setup_many, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_synth_pinned);
	suite_add_tcase(s, t);
	return s;
}
