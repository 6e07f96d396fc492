// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/balloon.c: pages that are given back and their neighbours that are not,
 * page numbers and ranges that lie, statistics, and a driver that leaves in between.
 */
#include <check.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/mem.h"
#include "tests/kit/fakedrv.h"
#include "vmm/vmm.h"

enum { INFLATE, DEFLATE, STATS, REPORT_LINUX, REPORT };

#define F(bit) (1ull << VIRTIO_BALLOON_F_##bit)
#define FEATURES (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | F(STATS_VQ) | F(DEFLATE_ON_OOM) | \
		  F(REPORTING))
#define PAGE 4096u
#define PAGES 4096u	/* of @area */
#define WAIT_MS 10000

Suite *virtio_balloon_suite(void);

static struct fakedrv f;
static uint64_t list, area;

static void attach(uint64_t features)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	ck_assert_msg(!balloon_new(true, &f.mem, f.loop, &d, &e), "%s", e.text);
	fakedrv_attach(&f, d, features, 64);
}

static void setup(void)
{
	fakedrv_init(&f);
	list = fakedrv_alloc(&f, 256 << 10);
	area = fakedrv_alloc(&f, PAGES * PAGE);
	attach(FEATURES);
}

static void teardown(void)
{
	fakedrv_done(&f);
}

static struct vmm_memory told(void)
{
	struct vmm_memory m = { 0 };

	balloon_state(f.d, &m);
	return m;
}

/* Takes an answer; requests that take long go on by a timer. */
static void answered(uint16_t q)
{
	uint32_t len;

	while (!fakedrv_used(&f, q, NULL, &len)) {
		ck_assert_int_gt(loop_step(f.loop, WAIT_MS, NULL), 0);
		ck_assert(!fakedrv_is_broken(&f));
	}
	ck_assert_uint_eq(len, 0);
	ck_assert_uint_gt(f.irq[q], 0);
}

static void fill(uint32_t from, uint32_t n)
{
	memset(fakedrv_ptr(&f, area + (uint64_t)from * PAGE, (uint64_t)n * PAGE), 0x5a,
	       (size_t)n * PAGE);
}

static bool is_there(uint32_t page)
{
	unsigned char in;

	ck_assert_int_eq(mincore(fakedrv_ptr(&f, area + (uint64_t)page * PAGE, PAGE), PAGE, &in), 0);
	return in & 1;
}

/* A list of page numbers of @area, as 32-bit words. */
static uint32_t *pfns(void)
{
	return fakedrv_ptr(&f, list, 256 << 10);
}

static void send_list(uint16_t q, uint32_t bytes)
{
	struct fakebuf b = { list, bytes, false };

	fakedrv_add(&f, q, &b, 1);
	fakedrv_kick(&f, q);
}

START_TEST(test_features)
{
	struct virtio_dev *d = NULL;
	struct err e;

	ck_assert_uint_eq(f.d->n_queues, 5);
	ck_assert(f.d->s.offered & F(PAGE_POISON));
	ck_assert(!(f.d->s.offered & (F(MUST_TELL_HOST) | F(FREE_PAGE_HINT))));
	ck_assert_int_eq(balloon_new(false, &f.mem, f.loop, &d, &e), 0);
	ck_assert_uint_eq(d->n_queues, 3);
	ck_assert(!(d->s.offered & (F(PAGE_POISON) | F(REPORTING))));
	ck_assert(d->s.offered & F(DEFLATE_ON_OOM));
	d->ops->free(d);
}
END_TEST

START_TEST(test_inflate)
{
	static const uint32_t pages[] = { 9, 3, 4, 100, 5, 4, 8, 3, 102, 6 };
	uint64_t base = area / PAGE;
	struct vmm_memory m;
	uint32_t i, k;

	fill(0, 128);
	for (i = 0; i < ARRAY_LEN(pages); i++)
		pfns()[i] = (uint32_t)base + pages[i];
	send_list(INFLATE, sizeof(pages));
	answered(INFLATE);
	for (i = 0; i < 128; i++) {
		for (k = 0; k < ARRAY_LEN(pages) && pages[k] != i; k++)
			;
		ck_assert_msg(is_there(i) == (k == ARRAY_LEN(pages)), "page %u", i);
	}
	m = told();
	ck_assert_uint_eq(m.inflated, 8 * PAGE);
	ck_assert_uint_eq(m.discards, 4);	/* 3 to 6, 8 to 9, 100, 102 */
	ck_assert_uint_eq(m.reported, 0);
}
END_TEST

/* Buffers may be cut anywhere, also within a number. */
START_TEST(test_inflate_in_parts)
{
	struct fakebuf b[4] = { { list, 1, false }, { list + 1, 6, false },
				{ list + 7, 1, false }, { list + 8, 4, false } };
	uint32_t i;

	fill(0, 4);
	for (i = 0; i < 3; i++)
		pfns()[i] = (uint32_t)(area / PAGE) + i;
	fakedrv_add(&f, INFLATE, b, 4);
	fakedrv_kick(&f, INFLATE);
	answered(INFLATE);
	ck_assert(!is_there(0) && !is_there(1) && !is_there(2) && is_there(3));
}
END_TEST

/* Every second page: as many ranges as can be, over several rounds and pauses. */
START_TEST(test_inflate_long)
{
	uint32_t i;

	fill(0, PAGES);
	for (i = 0; i < PAGES / 2; i++)
		pfns()[i] = (uint32_t)(area / PAGE) + 2 * (PAGES / 2 - 1 - i);
	send_list(INFLATE, PAGES / 2 * 4);
	answered(INFLATE);
	for (i = 0; i < PAGES; i++)
		ck_assert_msg(is_there(i) == (i & 1), "page %u", i);
	ck_assert_uint_eq(told().discards, PAGES / 2);
}
END_TEST

/* Page numbers of RAM of 3 GiB + 2 MiB. */
#define LAST_LOW 0xbffffu
#define FIRST_HIGH 0x100000u
#define LAST_HIGH 0x1001ffu

static const struct {
	uint32_t pfn[3];
	uint32_t n;
	bool broken;
} numbers[] = {
	{ { LAST_LOW }, 1, false }, { { FIRST_HIGH }, 1, false }, { { LAST_HIGH }, 1, false },
	{ { LAST_HIGH - 1, LAST_HIGH }, 2, false }, { { LAST_LOW, FIRST_HIGH }, 2, false },
	{ { LAST_LOW + 1 }, 1, true }, { { FIRST_HIGH - 1 }, 1, true },
	{ { LAST_HIGH + 1 }, 1, true }, { { UINT32_MAX }, 1, true },
	{ { LAST_LOW, LAST_LOW + 1 }, 2, true }, { { FIRST_HIGH - 1, FIRST_HIGH }, 2, true },
	{ { LAST_HIGH + 1, LAST_HIGH }, 2, true }, { { UINT32_MAX, UINT32_MAX - 1, 0xfffff }, 3, true },
	{ { LAST_LOW, UINT32_MAX, FIRST_HIGH }, 3, true }, { { 0x80000000 }, 1, true },
};

START_TEST(test_numbers)
{
	memcpy(pfns(), numbers[_i].pfn, sizeof(numbers[_i].pfn));
	send_list(INFLATE, numbers[_i].n * 4);
	if (!numbers[_i].broken) {
		answered(INFLATE);
		return;
	}
	ck_assert(fakedrv_is_broken(&f));
	ck_assert(!fakedrv_used(&f, INFLATE, NULL, NULL));
	/* A reset mends it. */
	fakedrv_reset(&f);
	fakedrv_attach(&f, f.d, FEATURES, 16);
	pfns()[0] = (uint32_t)(area / PAGE);
	send_list(INFLATE, 4);
	answered(INFLATE);
}
END_TEST

static const uint32_t cuts[] = { 1, 2, 3, 5, 7, 1021, 4098 };

START_TEST(test_cut_list)
{
	uint32_t i;

	for (i = 0; i < 1025; i++)
		pfns()[i] = (uint32_t)(area / PAGE) + i;
	send_list(INFLATE, cuts[_i]);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert_uint_eq(told().discards, 0);
}
END_TEST

START_TEST(test_no_list)
{
	struct fakebuf b = { list, 8, true };

	fakedrv_add(&f, INFLATE, &b, 1);
	fakedrv_kick(&f, INFLATE);
	ck_assert(fakedrv_is_broken(&f));
}
END_TEST

START_TEST(test_deflate)
{
	fill(0, 2);
	pfns()[0] = (uint32_t)(area / PAGE);
	pfns()[1] = UINT32_MAX;		/* of no interest */
	send_list(DEFLATE, 8);
	answered(DEFLATE);
	ck_assert(is_there(0) && is_there(1));
}
END_TEST

/* ---- reports ---------------------------------------------------------------------- */
static void send_ranges(uint16_t q, const struct fakebuf *b, size_t n)
{
	fakedrv_add(&f, q, b, n);
	fakedrv_kick(&f, q);
}

START_TEST(test_report)
{
	uint16_t q = (uint16_t)_i;
	struct fakebuf b[] = { { area, 2 * PAGE, true }, { area + 2 * PAGE, PAGE, true },
			       { area + 8 * PAGE, PAGE, true }, { area + 7 * PAGE, PAGE, true } };
	struct vmm_memory m;
	uint32_t i;

	fill(0, 16);
	send_ranges(q, b, ARRAY_LEN(b));
	answered(q);
	for (i = 0; i < 16; i++)
		ck_assert_msg(is_there(i) == !(i < 3 || i == 7 || i == 8), "page %u", i);
	m = told();
	ck_assert_uint_eq(m.reported, 5 * PAGE);
	ck_assert_uint_eq(m.discards, 3);
	ck_assert_uint_eq(m.inflated, 0);
}
END_TEST

/* Parts of pages stay. */
static const struct {
	uint32_t from, len;
	uint32_t gone, n;	/* pages */
} odd[] = {
	{ 0, 1, 0, 0 }, { 0, PAGE - 1, 0, 0 }, { 1, PAGE, 0, 0 }, { 1, 2 * PAGE - 2, 0, 0 },
	{ 1, 2 * PAGE - 1, 1, 1 }, { PAGE - 1, PAGE + 2, 1, 1 }, { 0, 2 * PAGE + 1, 0, 2 },
	{ 4000, 5 * PAGE, 1, 4 },
};

START_TEST(test_report_odd)
{
	struct fakebuf b = { area + odd[_i].from, odd[_i].len, true };
	uint32_t i;

	fill(0, 8);
	send_ranges(REPORT, &b, 1);
	answered(REPORT);
	for (i = 0; i < 8; i++)
		ck_assert_msg(is_there(i) == !(i >= odd[_i].gone && i < odd[_i].gone + odd[_i].n),
			      "page %u", i);
}
END_TEST

/* All of the low RAM in one range: slices, rounds, pauses. */
START_TEST(test_report_long)
{
	struct fakebuf b = { area, (uint32_t)(GMEM_LOW_MAX_BYTES - area), true };

	fill(0, PAGES);
	send_ranges(REPORT, &b, 1);
	answered(REPORT);
	ck_assert(!is_there(0) && !is_there(PAGES - 1));
	ck_assert_uint_eq(told().reported, GMEM_LOW_MAX_BYTES - area);
}
END_TEST

static const struct fakebuf beyond[] = {
	{ GMEM_LOW_MAX_BYTES - PAGE, 2 * PAGE, true }, { GMEM_LOW_MAX_BYTES, PAGE, true },
	{ GMEM_HIGH_GPA - 1, 2, true }, { GMEM_HIGH_GPA + FAKEDRV_HIGH_BYTES - PAGE, PAGE + 1, true },
	{ UINT64_MAX - PAGE + 1, PAGE, true }, { UINT64_MAX, 2, true }, { 1ull << 63, PAGE, true },
	{ GMEM_HIGH_GPA, UINT32_MAX, true },
	{ 0x1000, PAGE, false },	/* no range at all */
};

START_TEST(test_report_beyond)
{
	send_ranges(REPORT, &beyond[_i], 1);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert_uint_eq(told().discards, 0);
}
END_TEST

/* ---- configuration ------------------------------------------------------------------ */
static struct virtio_balloon_config config(void)
{
	struct virtio_balloon_config c;

	f.d->ops->config_read(f.d, 0, &c, sizeof(c));
	return c;
}

static void config_write(uint32_t offset, uint64_t v, uint32_t len)
{
	pthread_mutex_lock(&f.d->lock);
	f.d->ops->config_write(f.d, offset, &v, len);
	pthread_mutex_unlock(&f.d->lock);
}

static const struct {
	uint32_t offset;
	uint64_t v;
	uint32_t len;
	uint32_t actual;
} writes[] = {
	{ 4, 0x12345678, 4, 0x12345678 }, { 4, 0x34, 1, 0x34 }, { 6, 0x1234, 2, 0x12340000 },
	{ 7, 0xff, 1, 0xff000000 }, { 0, 7, 4, 0 }, { 0, 0x700000007, 8, 7 }, { 8, 7, 4, 0 },
	{ 12, 7, 4, 0 }, { 3, 0xffff, 2, 0xff }, { 7, 0xffff, 2, 0xff000000 }, { 15, 0xffff, 2, 0 },
	{ 16, 7, 4, 0 }, { 508, 7, 4, 0 }, { 0xfffffffe, 7, 4, 0 },
};

START_TEST(test_config_write)
{
	struct virtio_balloon_config c;

	config_write(writes[_i].offset, writes[_i].v, writes[_i].len);
	c = config();
	ck_assert_uint_eq(c.num_pages, 0);
	ck_assert_uint_eq(c.actual, writes[_i].actual);
	ck_assert_uint_eq(c.free_page_hint_cmd_id, 0);
	ck_assert_uint_eq(c.poison_val, 0);
	ck_assert_uint_eq(told().balloon_actual, (uint64_t)writes[_i].actual * PAGE);
}
END_TEST

START_TEST(test_target)
{
	unsigned int before = f.irq[0];
	struct err e = { 0 };

	f.d->s.config_vector = 0;
	ck_assert_int_eq(balloon_target(f.d, 5 * PAGE, &e), 0);
	ck_assert_uint_eq(config().num_pages, 5);
	ck_assert_uint_eq(f.irq[0], before + 1);
	ck_assert_int_eq(balloon_target(f.d, 5 * PAGE + 1, &e), -EINVAL);
	ck_assert_int_eq(balloon_target(f.d, gmem_ram_bytes(&f.mem), &e), -EINVAL);
	ck_assert_int_eq(balloon_target(f.d, UINT64_MAX & ~(PAGE - 1ull), &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "multiple of 4096 below") != NULL, "%s", e.text);
	ck_assert_uint_eq(config().num_pages, 5);
	/* It outlives the driver; what the driver said does not. */
	config_write(4, 5, 4);
	fakedrv_reset(&f);
	ck_assert_uint_eq(config().num_pages, 5);
	ck_assert_uint_eq(config().actual, 0);
	ck_assert_uint_eq(told().balloon_bytes, 5 * PAGE);
	ck_assert_int_eq(balloon_target(f.d, 0, &e), 0);
}
END_TEST

/* A driver that fills free pages: with zeros they may go, with anything else not. */
START_TEST(test_poison)
{
	struct fakebuf b = { area, PAGE, true };

	fakedrv_reset(&f);
	pthread_mutex_lock(&f.d->lock);
	virtio_status_write(f.d, 3);
	virtio_features_write(f.d, 0, (uint32_t)(F(PAGE_POISON) | F(REPORTING)));
	virtio_features_write(f.d, 1, 1);
	virtio_status_write(f.d, 11);
	pthread_mutex_unlock(&f.d->lock);
	config_write(12, _i ? 0xaaaaaaaa : 0, 4);
	pthread_mutex_lock(&f.d->lock);
	fakedrv_ring(&f, INFLATE, 16, &f.d->q[INFLATE].s);
	fakedrv_ring(&f, REPORT, 16, &f.d->q[REPORT].s);
	virtio_status_write(f.d, 15);
	pthread_mutex_unlock(&f.d->lock);
	config_write(12, _i ? 0 : 7, 4);	/* too late */
	fill(0, 1);
	send_ranges(REPORT, &b, 1);
	answered(REPORT);
	ck_assert_int_eq(is_there(0), _i);
	pfns()[0] = (uint32_t)(area / PAGE);
	send_list(INFLATE, 4);
	answered(INFLATE);
	ck_assert(!is_there(0));
}
END_TEST

/* ---- statistics ------------------------------------------------------------------- */
static void put_stat(uint32_t i, uint16_t tag, uint64_t val)
{
	struct virtio_balloon_stat s = { .tag = tag, .val = val };

	memcpy(fakedrv_ptr(&f, list + i * sizeof(s), sizeof(s)), &s, sizeof(s));
}

START_TEST(test_stats)
{
	struct vmm_memory m = told();

	ck_assert_uint_eq(m.stats_ns, 0);
	ck_assert_uint_eq(m.stats_mask, 0);
	put_stat(0, VIRTIO_BALLOON_S_MEMTOT, 1000);
	put_stat(1, 16, 1);			/* tags that nobody knows */
	put_stat(2, UINT16_MAX, UINT64_MAX);
	put_stat(3, VIRTIO_BALLOON_S_MEMFREE, 1);
	put_stat(4, VIRTIO_BALLOON_S_MEMFREE, UINT64_MAX);	/* the last one counts */
	put_stat(5, VMM_STAT_DIRECT_RECLAIM, 15);
	send_list(STATS, 6 * 10 + 9);		/* and a part of one */
	ck_assert(!fakedrv_used(&f, STATS, NULL, NULL));	/* held */
	m = told();
	ck_assert_uint_gt(m.stats_ns, 0);
	ck_assert_uint_eq(m.stats_mask, 1u << VMM_STAT_TOTAL | 1u << VMM_STAT_FREE |
					1u << VMM_STAT_DIRECT_RECLAIM);
	ck_assert_uint_eq(m.stat[VMM_STAT_TOTAL], 1000);
	ck_assert_uint_eq(m.stat[VMM_STAT_FREE], UINT64_MAX);
	ck_assert_uint_eq(m.stat[VMM_STAT_DIRECT_RECLAIM], 15);
	/* Asked for anew: the buffer is back, the old numbers stay until it returns. */
	answered(STATS);
	ck_assert_uint_eq(told().stats_mask, m.stats_mask);
	ck_assert(!fakedrv_used(&f, STATS, NULL, NULL));
	put_stat(0, VIRTIO_BALLOON_S_MEMTOT, 2000);
	send_list(STATS, 10);
	m = told();
	ck_assert_uint_eq(m.stats_mask, 1u << VMM_STAT_TOTAL);
	ck_assert_uint_eq(m.stat[VMM_STAT_TOTAL], 2000);
}
END_TEST

static const uint32_t stat_bytes[] = { 1, 9, 10, 640, 650, 65536 };

START_TEST(test_stats_size)
{
	uint32_t i;

	for (i = 0; i < 6000; i++)
		put_stat(i, (uint16_t)i, i);
	put_stat(64, 0, 99);		/* behind those that are looked at */
	send_list(STATS, stat_bytes[_i]);
	ck_assert_uint_eq(told().stats_mask, stat_bytes[_i] < 10 ? 0
					     : stat_bytes[_i] < 160 ? 1 : 0xffff);
	ck_assert_uint_eq(told().stat[0], 0);
	answered(STATS);
}
END_TEST

/* One at a time: others wait, however many there are. */
START_TEST(test_stats_flood)
{
	uint32_t i;

	for (i = 0; i < 60; i++) {
		put_stat(0, 0, i);
		send_list(STATS, 10);
	}
	ck_assert(!fakedrv_used(&f, STATS, NULL, NULL));
	for (i = 0; i < 60; i++) {
		told();
		answered(STATS);
		ck_assert(!fakedrv_used(&f, STATS, NULL, NULL));
	}
}
END_TEST

/* A buffer that is only writable says nothing, and is held like any. */
START_TEST(test_stats_in)
{
	struct fakebuf b = { list, 100, true };

	fakedrv_add(&f, STATS, &b, 1);
	fakedrv_kick(&f, STATS);
	ck_assert_uint_eq(told().stats_mask, 0);
	answered(STATS);
}
END_TEST

/* ---- the driver leaves ------------------------------------------------------------ */
START_TEST(test_reset_while_held)
{
	put_stat(0, 4, 1);
	send_list(STATS, 10);
	fakedrv_reset(&f);
	told();
	fakedrv_attach(&f, f.d, FEATURES, 16);
	ck_assert(!fakedrv_used(&f, STATS, NULL, NULL));
	send_list(STATS, 10);
	told();
	answered(STATS);
}
END_TEST

/* In the middle of a request: it is dropped, the next driver has a device like new. */
START_TEST(test_reset_while_busy)
{
	struct fakebuf b[48];
	uint32_t i;

	for (i = 0; i < ARRAY_LEN(b); i++)
		b[i] = (struct fakebuf){ area + i % 2 * (64u << 20), 60u << 20, true };
	send_ranges(REPORT, b, ARRAY_LEN(b));
	ck_assert(!fakedrv_used(&f, REPORT, NULL, NULL));
	fakedrv_reset(&f);
	fakedrv_poll(&f);
	fakedrv_attach(&f, f.d, FEATURES, 16);
	fakedrv_poll(&f);
	ck_assert(!fakedrv_used(&f, REPORT, NULL, NULL));
	fill(0, 1);
	send_ranges(REPORT_LINUX, &(struct fakebuf){ area, PAGE, true }, 1);
	answered(REPORT_LINUX);
	ck_assert(!is_there(0));
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* What was in the queue before DRIVER_OK needs no notification. */
START_TEST(test_early_request)
{
	fakedrv_reset(&f);
	pthread_mutex_lock(&f.d->lock);
	virtio_status_write(f.d, 3);
	virtio_features_write(f.d, 1, 1);
	virtio_status_write(f.d, 11);
	fakedrv_ring(&f, INFLATE, 16, &f.d->q[INFLATE].s);
	pfns()[0] = (uint32_t)(area / PAGE);
	fakedrv_add(&f, INFLATE, &(struct fakebuf){ list, 4, false }, 1);
	virtio_status_write(f.d, 15);
	pthread_mutex_unlock(&f.d->lock);
	fill(0, 1);
	answered(INFLATE);
	ck_assert(!is_there(0));
}
END_TEST

/* Queues that are never enabled, and notifications that mean nothing. */
START_TEST(test_kicks)
{
	uint16_t q;

	for (q = 0; q < 5; q++)
		fakedrv_kick(&f, q);
	fakedrv_reset(&f);
	told();
	for (q = 0; q < 5; q++)
		fakedrv_kick(&f, q);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* Every queue busy at once: each gets its turn. */
START_TEST(test_turns)
{
	uint32_t i, k;

	fill(0, PAGES);
	for (i = 0; i < PAGES; i++)
		pfns()[i] = (uint32_t)(area / PAGE) + (i * 2) % PAGES;
	for (k = 0; k < 8; k++) {
		fakedrv_add(&f, INFLATE, &(struct fakebuf){ list + k * 1024, 1024, false }, 1);
		fakedrv_add(&f, DEFLATE, &(struct fakebuf){ list, 1024, false }, 1);
		fakedrv_add(&f, REPORT, &(struct fakebuf){ area + k * 512 * PAGE, 512 * PAGE, true }, 1);
		fakedrv_add(&f, REPORT_LINUX, &(struct fakebuf){ area, PAGE, true }, 1);
	}
	fakedrv_kick(&f, INFLATE);
	for (k = 0; k < 8; k++) {
		answered(INFLATE);
		answered(DEFLATE);
		answered(REPORT);
		answered(REPORT_LINUX);
	}
	for (i = 0; i < PAGES; i++)
		ck_assert(!is_there(i));
}
END_TEST

Suite *virtio_balloon_suite(void)
{
	Suite *s = suite_create("virtio_balloon");
	TCase *t = tcase_create("balloon");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_features);
	tcase_add_test(t, test_inflate);
	tcase_add_test(t, test_inflate_in_parts);
	tcase_add_test(t, test_inflate_long);
	tcase_add_loop_test(t, test_numbers, 0, ARRAY_LEN(numbers));
	tcase_add_loop_test(t, test_cut_list, 0, ARRAY_LEN(cuts));
	tcase_add_test(t, test_no_list);
	tcase_add_test(t, test_deflate);
	tcase_add_loop_test(t, test_report, REPORT_LINUX, REPORT + 1);
	tcase_add_loop_test(t, test_report_odd, 0, ARRAY_LEN(odd));
	tcase_add_test(t, test_report_long);
	tcase_add_loop_test(t, test_report_beyond, 0, ARRAY_LEN(beyond));
	tcase_add_loop_test(t, test_config_write, 0, ARRAY_LEN(writes));
	tcase_add_test(t, test_target);
	tcase_add_loop_test(t, test_poison, 0, 2);
	tcase_add_test(t, test_stats);
	tcase_add_loop_test(t, test_stats_size, 0, ARRAY_LEN(stat_bytes));
	tcase_add_test(t, test_stats_flood);
	tcase_add_test(t, test_stats_in);
	tcase_add_test(t, test_reset_while_held);
	tcase_add_test(t, test_reset_while_busy);
	tcase_add_test(t, test_early_request);
	tcase_add_test(t, test_kicks);
	tcase_add_test(t, test_turns);
	suite_add_tcase(s, t);
	return s;
}
