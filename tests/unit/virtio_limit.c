// SPDX-License-Identifier: Apache-2.0
/* Rate limits: averages over long times, bursts, debts, odd figures and clocks. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/kit/kit.h"
#include "vmm/virtio/limit.h"

#define S 1000000000ull
#define MS 1000000ull
#define START (5 * S + 7)

Suite *virtio_limit_suite(void);

static void set(struct limit *l, uint64_t bytes, uint64_t ops, uint64_t burst_bytes,
		uint64_t burst_ops)
{
	struct vmm_limit c = {bytes, ops, burst_bytes, burst_ops};
	struct err e = {0};

	ck_assert_int_eq(limit_init(l, &c, START, &e), 0);
}

START_TEST(none)
{
	struct limit l;
	int i;

	set(&l, 0, 0, 0, 0);
	ck_assert(!limit_is_set(&l));
	for (i = 0; i < 1000; i++) {
		ck_assert_uint_eq(limit_wait_ms(&l, START), 0);
		limit_take(&l, UINT64_MAX);
	}
	ck_assert_uint_eq(l.waits, 0);
}
END_TEST

static const struct vmm_limit bad[] = {
	{0, 0, 1, 0},	       {0, 0, 0, 1},	      {1, 0, 0, 1},
	{UINT64_MAX, 0, 0, 0}, {1, 0, UINT64_MAX, 0}, {0, (1ull << 50) + 1, 0, 0},
};

START_TEST(refused)
{
	struct limit l;
	struct err e = {0};

	memset(&l, 7, sizeof(l));
	ck_assert_int_eq(limit_init(&l, &bad[_i], START, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "limit of"));
	ck_assert_uint_eq(l.waits, 0x0707070707070707ull);
}
END_TEST

/* Bytes and operations that pass within a time when somebody asks every step. */
static void flow(struct limit *l, uint64_t ns, uint64_t step, uint64_t size, uint64_t *ret_bytes,
		 uint64_t *ret_ops)
{
	uint64_t t;

	*ret_bytes = *ret_ops = 0;
	for (t = 0; t < ns; t += step) {
		while (!limit_wait_ms(l, START + t)) {
			limit_take(l, size);
			*ret_bytes += size;
			++*ret_ops;
		}
	}
}

/* rates, step of asking, size of a request */
static const struct {
	uint64_t bytes, ops, step, size;
} flows[] = {
	{1 << 20, 0, MS, 4096},	     {1 << 20, 0, 37, 100},	{1000, 0, 10 * MS, 1},
	{3, 0, 333 * MS, 1},	     {1 << 20, 0, MS, 1 << 22}, {0, 7, 11 * MS, 99},
	{0, 1000000, MS / 10, 1},    {1 << 20, 100, MS, 4096},	{1 << 16, 100, MS, 4096},
	{1, 1ull << 50, 50 * MS, 1},
};

START_TEST(average)
{
	uint64_t ns = flows[_i].step < MS ? S / 50 : 20 * S, bytes, ops, most;
	struct limit l;

	set(&l, flows[_i].bytes, flows[_i].ops, 0, 0);
	flow(&l, ns, flows[_i].step, flows[_i].size, &bytes, &ops);
	if (flows[_i].bytes) {
		most = flows[_i].bytes / 10 + 1 + flows[_i].bytes * (ns / MS) / 1000 +
		       flows[_i].size;
		ck_assert_uint_le(bytes, most);
	}
	if (flows[_i].ops) {
		most = flows[_i].ops / 10 + 1 + flows[_i].ops * (ns / MS) / 1000 + 1;
		ck_assert_uint_le(ops, most);
	}
	/* One of the two is used up to what it allows, but for the last tenth. */
	ck_assert((flows[_i].bytes && bytes * 10 >= flows[_i].bytes * (ns / MS) / 1000 * 9) ||
		  (flows[_i].ops && ops * 10 >= flows[_i].ops * (ns / MS) / 1000 * 9));
}
END_TEST

START_TEST(burst_then_wait)
{
	struct limit l;
	uint64_t bytes, ops;

	set(&l, 1000, 0, 5000, 0);
	flow(&l, 1, 1, 100, &bytes, &ops);
	ck_assert_uint_eq(bytes, 5000);
	ck_assert_uint_ge(limit_wait_ms(&l, START), 1);
	/* A long pause gives the burst and no more. */
	ck_assert_uint_eq(limit_wait_ms(&l, START + 3600 * S), 0);
	ck_assert_int_eq(l.bytes.left, 5000);
}
END_TEST

START_TEST(debt_is_paid_before_the_next)
{
	struct limit l;
	uint64_t waited = 0, t = START;

	set(&l, 1000, 0, 1, 0);
	ck_assert_uint_eq(limit_wait_ms(&l, t), 0);
	limit_take(&l, 10001);
	for (;;) {
		uint64_t ms = limit_wait_ms(&l, t);

		if (!ms)
			break;
		ck_assert_uint_le(ms, 1000);
		t += ms * MS;
		waited += ms;
	}
	ck_assert_uint_ge(waited, 10000);
	ck_assert_uint_le(waited, 10012);
}
END_TEST

START_TEST(clock_that_stands_or_jumps)
{
	struct limit l;

	set(&l, 1, 1, 1, 1);
	limit_take(&l, 1 << 20);
	ck_assert_uint_eq(limit_wait_ms(&l, START), 1000);
	ck_assert_uint_eq(limit_wait_ms(&l, 0), 1000);
	limit_take(&l, 1 << 20);
	ck_assert_uint_eq(limit_wait_ms(&l, START + 1), 1000);
	ck_assert_uint_eq(limit_wait_ms(&l, UINT64_MAX), 0);
	ck_assert_uint_eq(limit_wait_ms(&l, UINT64_MAX), 0);
}
END_TEST

Suite *virtio_limit_suite(void)
{
	Suite *s = suite_create("virtio_limit");
	TCase *t = tcase_create("limit");

	tcase_add_test(t, none);
	tcase_add_loop_test(t, refused, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_loop_test(t, average, 0, (int)(sizeof(flows) / sizeof(flows[0])));
	tcase_add_test(t, burst_then_wait);
	tcase_add_test(t, debt_is_paid_before_the_next);
	tcase_add_test(t, clock_that_stands_or_jumps);
	suite_add_tcase(s, t);
	return s;
}
