// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/queue.c against drivers that lie, by a table of single lies, and
 * against an honest one over wrap-arounds, both kinds of notification, and
 * batches.
 */
#include <check.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/fakedrv.h"
#include "tests/kit/kit.h"

#define N 8
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define IND VRING_DESC_F_INDIRECT
#define HIGH_END (GMEM_HIGH_GPA + FAKEDRV_HIGH_BYTES)

Suite *virtio_queue_suite(void);

static struct fakedrv f;
static struct virtq q;
static struct virtq_chain chain;
static uint64_t page, table;

static void start(bool event_idx, uint16_t index)
{
	struct err e = { 0 };

	virtq_reset(&q);
	fakedrv_ring(&f, 0, N, &q.s);
	q.s.next_avail = q.s.next_used = index;
	f.q[0].avail_idx = f.q[0].seen_used = index;
	memcpy(fakedrv_ptr(&f, f.q[0].avail + 2, 2), &index, 2);
	memcpy(fakedrv_ptr(&f, f.q[0].used + 2, 2), &index, 2);
	ck_assert_msg(!virtq_start(&q, &f.mem, event_idx, &e), "%s", e.text);
}

static void setup(void)
{
	fakedrv_init(&f);
	page = fakedrv_alloc(&f, 0x10000);
	table = fakedrv_alloc(&f, 0x10000);
	start(false, 0);
}

static void teardown(void)
{
	fakedrv_done(&f);
}

struct lie {
	const char *name;
	const char *text;	/* part of the reason */
	struct vring_desc d[4];
	struct vring_desc t[4];	/* table; addr 1 stands for it, 0 for the page */
	uint16_t head;
	uint16_t ahead;		/* how far the index goes */
};

static const struct lie lies[] = {
	{ "index far ahead", "ahead", { { 0, 16, 0, 0 } }, .ahead = N + 1 },
	{ "index went back", "ahead", { { 0, 16, 0, 0 } }, .ahead = 0xffff },
	{ "head out of range", "head", .head = N, .ahead = 1 },
	{ "head far out of range", "head", .head = 0xffff, .ahead = 1 },
	{ "next out of range", "descriptor", { { 0, 16, NEXT, N } }, .ahead = 1 },
	{ "loop to itself", "loop", { { 0, 16, NEXT, 0 } }, .ahead = 1 },
	{ "loop of two", "loop", { { 0, 16, NEXT, 1 }, { 0, 16, NEXT, 0 } }, .ahead = 1 },
	{ "no bytes", "no bytes", { { 0, 0, 0, 0 } }, .ahead = 1 },
	{ "no bytes, writable", "no bytes", { { 0, 0, WRITE, 0 } }, .ahead = 1 },
	{ "in the hole", "RAM", { { GMEM_LOW_MAX_BYTES, 16, 0, 0 } }, .ahead = 1 },
	{ "into the hole", "RAM", { { GMEM_LOW_MAX_BYTES - 8, 16, 0, 0 } }, .ahead = 1 },
	{ "out of the hole", "RAM", { { GMEM_HIGH_GPA - 8, 16, 0, 0 } }, .ahead = 1 },
	{ "across the hole", "RAM",
	  { { GMEM_LOW_MAX_BYTES - 16, 0x40000020, 0, 0 } }, .ahead = 1 },
	{ "behind the end", "RAM", { { HIGH_END, 1, 0, 0 } }, .ahead = 1 },
	{ "over the end", "RAM", { { HIGH_END - 1, 2, WRITE, 0 } }, .ahead = 1 },
	{ "address wraps", "RAM", { { UINT64_MAX - 7, 16, 0, 0 } }, .ahead = 1 },
	{ "length wraps", "RAM", { { 0x1000, UINT32_MAX, 0, 0 } }, .ahead = 1 },
	{ "readable behind writable", "behind a writable",
	  { { 0, 16, WRITE | NEXT, 1 }, { 0, 16, 0, 0 } }, .ahead = 1 },
	{ "above 4 GiB", "4 GiB", { { 0x1000, 0x80000000, NEXT, 1 },
	  { 0x1000, 0x80000000, NEXT, 2 }, { 0, 1, 0, 0 } }, .ahead = 1 },
	{ "above 4 GiB, both ways", "4 GiB", { { 0x1000, 0x80000000, NEXT, 1 },
	  { 0x1000, 0x80000000, NEXT | WRITE, 2 }, { 0, 1, WRITE, 0 } }, .ahead = 1 },
	{ "nested tables", "inside", { { 1, 16, IND, 0 } }, { { 1, 16, IND, 0 } },
	  .ahead = 1 },
	{ "table with a next", "with a next", { { 1, 16, IND | NEXT, 1 }, { 0, 8, 0, 0 } },
	  { { 0, 8, 0, 0 } }, .ahead = 1 },
	{ "empty table", "table of 0", { { 1, 0, IND, 0 } }, .ahead = 1 },
	{ "crooked table", "table of 17", { { 1, 17, IND, 0 } }, .ahead = 1 },
	{ "short table", "table of 15", { { 1, 15, IND, 0 } }, .ahead = 1 },
	{ "large table", "entries", { { 1, 16 * (N + 1), IND, 0 } }, .ahead = 1 },
	{ "huge table", "entries", { { 1, 0xfffffff0, IND, 0 } }, .ahead = 1 },
	{ "table in the hole", "RAM", { { GMEM_LOW_MAX_BYTES, 16, IND, 0 } }, .ahead = 1 },
	{ "table over the end", "RAM", { { HIGH_END - 16, 32, IND, 0 } }, .ahead = 1 },
	{ "table address wraps", "RAM", { { UINT64_MAX - 15, 32, IND, 0 } }, .ahead = 1 },
	{ "next leaves table", "descriptor", { { 1, 32, IND, 0 } },
	  { { 0, 8, NEXT, 2 } }, .ahead = 1 },
	{ "loop in table", "loop", { { 1, 32, IND, 0 } },
	  { { 0, 8, NEXT, 1 }, { 0, 8, NEXT, 0 } }, .ahead = 1 },
	{ "order across table", "behind a writable",
	  { { 0, 8, WRITE | NEXT, 1 }, { 1, 16, IND, 0 } }, { { 0, 8, 0, 0 } }, .ahead = 1 },
	{ "no bytes in table", "no bytes", { { 1, 16, IND, 0 } }, { { 0, 0, 0, 0 } },
	  .ahead = 1 },
};

static uint64_t place(uint64_t addr)
{
	return addr == 0 ? page : addr == 1 ? table : addr;
}

START_TEST(test_lie)
{
	const struct lie *l = &lies[_i];
	struct err e = { 0 };
	uint16_t i, idx;

	for (i = 0; i < 4; i++) {
		struct vring_desc t = l->t[i];

		fakedrv_desc(&f, 0, i, place(l->d[i].addr), l->d[i].len, l->d[i].flags,
			     l->d[i].next);
		t.addr = place(t.addr);
		memcpy(fakedrv_ptr(&f, table + 16u * i, 16), &t, 16);
	}
	fakedrv_avail(&f, 0, l->head);
	idx = l->ahead;
	memcpy(fakedrv_ptr(&f, f.q[0].avail + 2, 2), &idx, 2);
	ck_assert_msg(virtq_pop(&q, &chain, &e) == -EPROTO, "%s", l->name);
	ck_assert_msg(strstr(e.text, l->text), "%s: %s", l->name, e.text);
	ck_assert(q.broken);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
	ck_assert(!virtq_enable_kicks(&q));
	ck_assert(!virtq_should_notify(&q));
	ck_assert_int_eq(virtq_push(&q, 0, 0), 0);
	ck_assert_uint_eq(q.s.next_used, 0);
}
END_TEST

struct layout {
	const char *name;
	struct virtq_state s;
	int rc;
};

static const struct layout layouts[] = {
	{ "size 0", { 0x1000, 0x2000, 0x3000, 0, 1, 0, 0, 0 }, -EINVAL },
	{ "size 3", { 0x1000, 0x2000, 0x3000, 3, 1, 0, 0, 0 }, -EINVAL },
	{ "size 512", { 0x10000, 0x20000, 0x30000, 512, 1, 0, 0, 0 }, -EINVAL },
	{ "size 32768", { 0x10000, 0x20000, 0x30000, 32768, 1, 0, 0, 0 }, -EINVAL },
	{ "desc crooked", { 0x1008, 0x2000, 0x3000, 8, 1, 0, 0, 0 }, -EINVAL },
	{ "avail crooked", { 0x1000, 0x2001, 0x3000, 8, 1, 0, 0, 0 }, -EINVAL },
	{ "used crooked", { 0x1000, 0x2000, 0x3002, 8, 1, 0, 0, 0 }, -EINVAL },
	{ "desc in hole", { GMEM_LOW_MAX_BYTES - 16, 0x2000, 0x3000, 8, 1, 0, 0, 0 },
	  -EFAULT },
	{ "avail at end", { 0x1000, HIGH_END - 16, 0x3000, 8, 1, 0, 0, 0 }, -EFAULT },
	{ "used wraps", { 0x1000, 0x2000, UINT64_MAX - 3, 8, 1, 0, 0, 0 }, -EFAULT },
	{ "exactly at the end", { 0x1000, HIGH_END - 22, HIGH_END - 92, 8, 1, 0, 0, 0 }, 0 },
	{ "largest", { 0x1000, 0x4000, 0x6000, 256, 1, 0, 0, 0 }, 0 },
	{ "smallest", { 0x1000, 0x4000, 0x6000, 1, 1, 0, 0, 0 }, 0 },
};

START_TEST(test_layout)
{
	const struct layout *l = &layouts[_i];
	struct err e = { 0 };

	virtq_reset(&q);
	q.s = l->s;
	ck_assert_msg(virtq_start(&q, &f.mem, false, &e) == l->rc, "%s: %s", l->name,
		      e.text);
	if (l->rc < 0)
		ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
}
END_TEST

START_TEST(test_unstarted)
{
	struct err e = { 0 };

	virtq_reset(&q);
	ck_assert_uint_eq(q.s.vector, VIRTQ_NO_VECTOR);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
	ck_assert_int_eq(virtq_take(&q, &chain, &e), 0);
	ck_assert_int_eq(virtq_push(&q, 3, 0), 0);
	ck_assert(!virtq_should_notify(&q));
	virtq_disable_kicks(&q);
	virtq_unpop(&q, &chain);
}
END_TEST

/* Thousands of requests, so that indexes wrap around 65536. */
START_TEST(test_wrap)
{
	struct fakebuf b[2] = { { page, 100, false }, { page + 0x1000, 50, true } };
	struct err e = { 0 };
	uint32_t id, len, i;

	start(_i, 65530);
	for (i = 0; i < 100; i++) {
		uint16_t head = fakedrv_add(&f, 0, b, 2);

		ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
		ck_assert_uint_eq(chain.head, head);
		ck_assert_uint_eq(chain.n_out, 1);
		ck_assert_uint_eq(chain.n_in, 1);
		ck_assert_uint_eq(chain.out_bytes, 100);
		ck_assert_uint_eq(chain.in_bytes, 50);
		ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
		ck_assert_int_eq(virtq_push(&q, head, i), 0);
		ck_assert(fakedrv_used(&f, 0, &id, &len));
		ck_assert_uint_eq(id, head);
		ck_assert_uint_eq(len, i);
	}
}
END_TEST

START_TEST(test_full)
{
	struct fakebuf b = { page, 1, true };
	struct err e = { 0 };
	int i;

	for (i = 0; i < N; i++)
		fakedrv_add(&f, 0, &b, 1);
	for (i = 0; i < N; i++)
		ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
	for (i = N - 1; i >= 0; i--)
		ck_assert_int_eq(virtq_push(&q, (uint16_t)i, 0), 0);
	for (i = N - 1; i >= 0; i--) {
		uint32_t id;

		ck_assert(fakedrv_used(&f, 0, &id, NULL));
		ck_assert_int_eq((int)id, i);
	}
}
END_TEST

START_TEST(test_duplicate_head)
{
	struct err e = { 0 };

	fakedrv_desc(&f, 0, 0, page, 8, 0, 0);
	fakedrv_avail(&f, 0, 0);
	fakedrv_avail(&f, 0, 0);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), -EPROTO);
	ck_assert_ptr_nonnull(strstr(e.text, "in flight"));
}
END_TEST

START_TEST(test_push_twice)
{
	struct err e = { 0 };

	fakedrv_desc(&f, 0, 2, page, 8, 0, 0);
	fakedrv_avail(&f, 0, 2);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_int_eq(virtq_push(&q, 1, 0), -EINVAL);
	ck_assert_int_eq(virtq_push(&q, N, 0), -EINVAL);
	ck_assert_int_eq(virtq_push(&q, 2, 0), 0);
	ck_assert_int_eq(virtq_push(&q, 2, 0), -EINVAL);
	ck_assert_uint_eq(q.s.next_used, 1);
}
END_TEST

START_TEST(test_unpop)
{
	struct fakebuf b = { page, 8, false };
	struct err e = { 0 };

	fakedrv_add(&f, 0, &b, 1);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	virtq_unpop(&q, &chain);
	virtq_unpop(&q, &chain);
	ck_assert_uint_eq(q.s.next_avail, 0);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
}
END_TEST

/* The driver changes a descriptor that has been taken: nobody looks again. */
/* Another one, the kernel, has served the queue for a while. */
START_TEST(test_resume)
{
	struct fakebuf b = { page, 16, false };
	uint16_t index = 0xffff, lie;
	struct err e;
	int i;

	start(true, 0xfffe);
	for (i = 0; i < 4; i++)
		fakedrv_add(&f, 0, &b, 1);
	/* It has taken three, and given one back. */
	memcpy(fakedrv_ptr(&f, f.q[0].used + 2, 2), &index, 2);
	virtq_resume(&q);
	ck_assert_uint_eq(q.s.next_used, 0xffff);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
		ck_assert_uint_eq(chain.head, i + 1);
		ck_assert_int_eq(virtq_push(&q, chain.head, 0), 0);
	}
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
	/* A driver that has changed the index breaks its own queue. */
	lie = 100;
	memcpy(fakedrv_ptr(&f, f.q[0].used + 2, 2), &lie, 2);
	virtq_resume(&q);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), -EPROTO);
	virtq_reset(&q);
	virtq_resume(&q);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 0);
}
END_TEST

START_TEST(test_change_after_check)
{
	struct err e = { 0 };
	uint8_t *mine;

	fakedrv_desc(&f, 0, 0, page, 8, 0, 0);
	fakedrv_avail(&f, 0, 0);
	mine = fakedrv_ptr(&f, page, 8);
	memcpy(mine, "original", 8);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	fakedrv_desc(&f, 0, 0, UINT64_MAX, UINT32_MAX, WRITE | NEXT, 0xffff);
	ck_assert_ptr_eq(chain.out[0].iov_base, mine);
	ck_assert_uint_eq(chain.out[0].iov_len, 8);
	ck_assert_int_eq(virtq_push(&q, 0, 0), 0);
}
END_TEST

START_TEST(test_indirect)
{
	struct vring_desc t[N];
	struct err e = { 0 };
	int i;

	for (i = 0; i < N; i++)
		t[i] = (struct vring_desc){ page + 64u * (unsigned int)i, 64,
			(uint16_t)((i < N - 1 ? NEXT : 0) | (i >= 3 ? WRITE : 0)),
			(uint16_t)(i + 1) };
	memcpy(fakedrv_ptr(&f, table + 8, sizeof(t)), t, sizeof(t));
	/* The table's own WRITE flag has no meaning, nor need it be aligned. */
	fakedrv_desc(&f, 0, 5, table + 8, sizeof(t), IND | WRITE, 0);
	fakedrv_avail(&f, 0, 5);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_uint_eq(chain.n_out, 3);
	ck_assert_uint_eq(chain.n_in, N - 3);
	ck_assert_uint_eq(chain.in_bytes, 64 * (N - 3));
}
END_TEST

START_TEST(test_direct_then_indirect)
{
	struct vring_desc t = { page + 64, 64, WRITE, 0 };
	struct err e = { 0 };

	memcpy(fakedrv_ptr(&f, table, sizeof(t)), &t, sizeof(t));
	fakedrv_desc(&f, 0, 0, page, 16, NEXT, 1);
	fakedrv_desc(&f, 0, 1, table, 16, IND, 0);
	fakedrv_avail(&f, 0, 0);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_uint_eq(chain.out_bytes, 16);
	ck_assert_uint_eq(chain.in_bytes, 64);
}
END_TEST

/* Direct ones count for a table's chain as well. */
START_TEST(test_mixed_too_long)
{
	struct vring_desc t[N];
	struct err e = { 0 };
	int i;

	for (i = 0; i < N; i++)
		t[i] = (struct vring_desc){ page, 8, (uint16_t)(i < N - 1 ? NEXT : 0),
					    (uint16_t)(i + 1) };
	memcpy(fakedrv_ptr(&f, table, sizeof(t)), t, sizeof(t));
	fakedrv_desc(&f, 0, 0, page, 16, NEXT, 1);
	fakedrv_desc(&f, 0, 1, table, sizeof(t), IND, 0);
	fakedrv_avail(&f, 0, 0);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), -EPROTO);
}
END_TEST

START_TEST(test_longest_direct)
{
	struct fakebuf b[N];
	struct err e = { 0 };
	int i;

	for (i = 0; i < N; i++)
		b[i] = (struct fakebuf){ HIGH_END - 16u * (unsigned int)(i + 1), 16, i > 3 };
	fakedrv_add(&f, 0, b, N);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_uint_eq(chain.n_out + chain.n_in, N);
}
END_TEST

START_TEST(test_kick_flag)
{
	struct fakebuf b = { page, 8, false };
	struct err e = { 0 };
	uint16_t *flags = fakedrv_ptr(&f, f.q[0].used, 2);

	virtq_disable_kicks(&q);
	ck_assert_uint_eq(*flags, VRING_USED_F_NO_NOTIFY);
	ck_assert(!virtq_enable_kicks(&q));
	ck_assert_uint_eq(*flags, 0);
	fakedrv_add(&f, 0, &b, 1);
	ck_assert(virtq_enable_kicks(&q));
	ck_assert_int_eq(virtq_take(&q, &chain, &e), 1);
	ck_assert_int_eq(virtq_take(&q, &chain, &e), 0);
}
END_TEST

START_TEST(test_kick_event)
{
	struct fakebuf b = { page, 8, false };
	struct err e = { 0 };
	uint16_t *event;

	start(true, 65535);
	event = fakedrv_ptr(&f, f.q[0].used + 4 + 8 * N, 2);
	fakedrv_add(&f, 0, &b, 1);
	ck_assert_int_eq(virtq_take(&q, &chain, &e), 1);
	ck_assert_int_eq(virtq_take(&q, &chain, &e), 0);
	ck_assert_uint_eq(*event, 0);
}
END_TEST

START_TEST(test_interrupt_flag)
{
	uint16_t *flags = fakedrv_ptr(&f, f.q[0].avail, 2);

	ck_assert(virtq_should_notify(&q));
	*flags = VRING_AVAIL_F_NO_INTERRUPT;
	ck_assert(!virtq_should_notify(&q));
}
END_TEST

/* The driver asks for an interrupt with the third of five. */
START_TEST(test_interrupt_event)
{
	static const bool want[] = { true, false, true, false, false };
	struct fakebuf b = { page, 8, false };
	struct err e = { 0 };
	uint16_t *event, i;

	start(true, 65534);
	event = fakedrv_ptr(&f, f.q[0].avail + 4 + 2 * N, 2);
	*event = 0;
	for (i = 0; i < 5; i++) {
		fakedrv_add(&f, 0, &b, 1);
		ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
		virtq_push(&q, chain.head, 0);
		ck_assert_int_eq(virtq_should_notify(&q), want[i]);
	}
	ck_assert(!virtq_should_notify(&q));
}
END_TEST

START_TEST(test_batch)
{
	struct fakebuf b = { page, 8, true };
	uint16_t heads[3] = { 0, 1, 2 };
	uint32_t len[3] = { 10, 20, 30 }, id, got;
	struct err e = { 0 };
	int i;

	start(false, 65534);
	for (i = 0; i < 3; i++) {
		fakedrv_add(&f, 0, &b, 1);
		ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	}
	heads[2] = 5;
	ck_assert_int_eq(virtq_push_batch(&q, heads, len, 3), -EINVAL);
	ck_assert(!fakedrv_used(&f, 0, NULL, NULL));
	heads[2] = 2;
	ck_assert_int_eq(virtq_push_batch(&q, heads, len, 3), 0);
	for (i = 0; i < 3; i++) {
		ck_assert(fakedrv_used(&f, 0, &id, &got));
		ck_assert_uint_eq(id, (unsigned int)i);
		ck_assert_uint_eq(got, len[i]);
	}
}
END_TEST

START_TEST(test_chain_copy)
{
	struct fakebuf b[4] = { { page, 3, false }, { page + 16, 5, false },
				{ page + 32, 2, true }, { page + 48, 6, true } };
	struct err e = { 0 };
	char buf[16] = "";

	memcpy(fakedrv_ptr(&f, page, 3), "abc", 3);
	memcpy(fakedrv_ptr(&f, page + 16, 5), "defgh", 5);
	fakedrv_add(&f, 0, b, 4);
	ck_assert_int_eq(virtq_pop(&q, &chain, &e), 1);
	ck_assert_uint_eq(chain_read(&chain, 0, buf, 16), 8);
	ck_assert_str_eq(buf, "abcdefgh");
	ck_assert_uint_eq(chain_read(&chain, 2, buf, 3), 3);
	ck_assert_mem_eq(buf, "cde", 3);
	ck_assert_uint_eq(chain_read(&chain, 8, buf, 3), 0);
	ck_assert_uint_eq(chain_read(&chain, SIZE_MAX, buf, 3), 0);
	ck_assert_uint_eq(chain_write(&chain, 1, "123456789", 9), 7);
	ck_assert_mem_eq(fakedrv_ptr(&f, page + 33, 1), "1", 1);
	ck_assert_mem_eq(fakedrv_ptr(&f, page + 48, 6), "234567", 6);
}
END_TEST

START_TEST(test_trim)
{
	uint8_t room[32];
	struct iovec v[3] = { { room, 4 }, { room + 8, 4 }, { room + 16, 4 } };

	ck_assert_uint_eq(iov_trim(v, 3, 5, 5), 2);
	ck_assert_ptr_eq(v[0].iov_base, room + 9);
	ck_assert_uint_eq(v[0].iov_len, 3);
	ck_assert_ptr_eq(v[1].iov_base, room + 16);
	ck_assert_uint_eq(v[1].iov_len, 2);
	ck_assert_uint_eq(iov_trim(v, 2, 5, 1), 0);
	ck_assert_uint_eq(iov_trim(v, 2, 0, 0), 0);
	ck_assert_uint_eq(iov_trim(v, 2, UINT64_MAX, UINT64_MAX), 0);
}
END_TEST

/* A thread that scribbles over the rings: whatever comes out is inside RAM. */
static volatile bool scribbling;

static void *scribble(void *arg)
{
	uint64_t x = *(uint64_t *)arg | 1;
	uint8_t *desc = fakedrv_ptr(&f, f.q[0].desc, 16 * N);
	uint16_t *avail = fakedrv_ptr(&f, f.q[0].avail, 6 + 2 * N);

	while (scribbling) {
		struct vring_desc d;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		d = (struct vring_desc){ x & 8 ? page : x, (uint32_t)(x >> 40) & 0xffff,
					 (uint16_t)(x >> 5) & 7, (uint16_t)(x >> 9) & 15 };
		memcpy(desc + 16 * (x >> 61), &d, sizeof(d));
		avail[2 + (x >> 50) % N] = (uint16_t)(x >> 12) % (N + 1);
		avail[1] = (uint16_t)(q.s.next_avail + (x >> 20) % (N + 1));
	}
	return NULL;
}

START_TEST(test_scribble)
{
	uint64_t seed = kit_seed("virtio_queue"), popped = 0;
	volatile uint8_t sink;
	int i;
	pthread_t t;

	scribbling = true;
	ck_assert_int_eq(pthread_create(&t, NULL, scribble, &seed), 0);
	for (i = 0; i < 50000 || popped < 100; i++) {
		struct err e = { 0 };
		int rc = virtq_pop(&q, &chain, &e), k;

		if (rc > 0) {
			popped++;
			for (k = 0; k < chain.n_out; k++)
				sink = *(uint8_t *)chain.out[k].iov_base;
			for (k = 0; k < chain.n_in; k++)
				memset(chain.in[k].iov_base, 0, 1);
			virtq_push(&q, chain.head, 0);
		}
		q.broken = false;
	}
	scribbling = false;
	(void)sink;
	pthread_join(t, NULL);
}
END_TEST

Suite *virtio_queue_suite(void)
{
	Suite *s = suite_create("virtio_queue");
	TCase *t = tcase_create("queue");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, test_lie, 0, (int)(sizeof(lies) / sizeof(lies[0])));
	tcase_add_loop_test(t, test_layout, 0, (int)(sizeof(layouts) / sizeof(layouts[0])));
	tcase_add_test(t, test_unstarted);
	tcase_add_loop_test(t, test_wrap, 0, 2);
	tcase_add_test(t, test_full);
	tcase_add_test(t, test_duplicate_head);
	tcase_add_test(t, test_push_twice);
	tcase_add_test(t, test_unpop);
	tcase_add_test(t, test_resume);
	tcase_add_test(t, test_change_after_check);
	tcase_add_test(t, test_indirect);
	tcase_add_test(t, test_direct_then_indirect);
	tcase_add_test(t, test_mixed_too_long);
	tcase_add_test(t, test_longest_direct);
	tcase_add_test(t, test_kick_flag);
	tcase_add_test(t, test_kick_event);
	tcase_add_test(t, test_interrupt_flag);
	tcase_add_test(t, test_interrupt_event);
	tcase_add_test(t, test_batch);
	tcase_add_test(t, test_chain_copy);
	tcase_add_test(t, test_trim);
	tcase_add_test(t, test_scribble);
	suite_add_tcase(s, t);
	return s;
}
