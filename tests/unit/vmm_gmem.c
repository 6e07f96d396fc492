// SPDX-License-Identifier: Apache-2.0
/* Guest memory: sizes that are taken, and ranges that a guest may name. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "vmm/gmem.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

Suite *vmm_gmem_suite(void);

static const struct {
	uint64_t bytes;
	int rc;
} sizes[] = {
	{ 0, -EINVAL }, { 32 * MIB - 1, -EINVAL }, { 30 * MIB, -EINVAL },
	{ 33 * MIB, -EINVAL }, { UINT64_MAX, -EINVAL }, { UINT64_MAX & ~(2 * MIB - 1), -EINVAL },
	{ 1024 * GIB + 2 * MIB, -EINVAL },
	{ 32 * MIB, 0 }, { 34 * MIB, 0 }, { 3 * GIB, 0 }, { 3 * GIB + 2 * MIB, 0 },
	{ 64 * GIB, 0 },
};

START_TEST(size)
{
	struct gmem m = { 0 };
	struct err e = { 0 };
	uint64_t sum = 0;
	size_t i;

	ck_assert_int_eq(gmem_init(&m, sizes[_i].bytes, &e), sizes[_i].rc);
	if (sizes[_i].rc) {
		ck_assert(e.text[0]);
		ck_assert_ptr_null(m.map);
	}
	for (i = 0; i < m.n; i++) {
		sum += m.r[i].len;
		ck_assert_uint_eq((uintptr_t)m.r[i].hva % (2 * MIB), m.r[i].gpa % (2 * MIB));
	}
	if (!sizes[_i].rc)
		ck_assert_uint_eq(sum, sizes[_i].bytes);
	gmem_done(&m);
	gmem_done(&m);
}
END_TEST

/* RAM of 3 GiB + 4 MiB: two regions. */
#define HIGH GMEM_HIGH_GPA

static const struct {
	uint64_t gpa, len;
	int rc;
} spans[] = {
	{ 0, 1, 0 }, { 0, 3 * GIB, 0 }, { 3 * GIB - 1, 1, 0 }, { HIGH, 4 * MIB, 0 },
	{ HIGH + 4 * MIB - 8, 8, 0 },
	{ 0, 0, -EINVAL }, { 3 * GIB, 1, -EFAULT }, { 3 * GIB - 1, 2, -EFAULT },
	{ 0, 3 * GIB + 1, -EFAULT }, { HIGH - 1, 1, -EFAULT }, { HIGH - 1, 2, -EFAULT },
	{ HIGH + 4 * MIB, 1, -EFAULT }, { HIGH, 4 * MIB + 1, -EFAULT },
	{ UINT64_MAX, 1, -EFAULT }, { UINT64_MAX, UINT64_MAX, -EFAULT },
	{ 1, UINT64_MAX, -EFAULT }, { HIGH, UINT64_MAX - HIGH + 1, -EFAULT },
	{ 3 * GIB - 1, GIB + 2, -EFAULT },
};

START_TEST(span)
{
	struct gmem m;
	struct err e;
	void *hva = &m;

	ck_assert_int_eq(gmem_init(&m, 3 * GIB + 4 * MIB, &e), 0);
	ck_assert_int_eq(gmem_span(&m, spans[_i].gpa, spans[_i].len, &hva), spans[_i].rc);
	if (spans[_i].rc)
		ck_assert_ptr_eq(hva, &m);
	else if (spans[_i].gpa < HIGH)
		ck_assert_ptr_eq(hva, m.r[0].hva + spans[_i].gpa);
	else
		ck_assert_ptr_eq(hva, m.r[1].hva + (spans[_i].gpa - HIGH));
	gmem_done(&m);
}
END_TEST

START_TEST(copy)
{
	char in[16] = "across the end", out[16] = "untouched";
	struct gmem m;
	struct err e;

	ck_assert_int_eq(gmem_init(&m, 32 * MIB, &e), 0);
	ck_assert_int_eq(gmem_write(&m, 32 * MIB - 16, in, 16), 0);
	ck_assert_int_eq(gmem_read(&m, 32 * MIB - 16, out, 16), 0);
	ck_assert_str_eq(in, out);
	strcpy(out, "untouched");
	ck_assert_int_eq(gmem_read(&m, 32 * MIB - 15, out, 16), -EFAULT);
	ck_assert_str_eq(out, "untouched");
	ck_assert_int_eq(gmem_write(&m, 32 * MIB - 15, in, 16), -EFAULT);
	ck_assert_int_eq(gmem_read(&m, 0, out, 0), 0);
	gmem_done(&m);
}
END_TEST

/* A run off either end of RAM meets the guard. */
START_TEST(guard)
{
	struct gmem m;
	struct err e;

	ck_assert_int_eq(gmem_init(&m, 32 * MIB, &e), 0);
	signal(SIGSEGV, SIG_DFL);
	*(volatile uint8_t *)(_i ? m.r[0].hva + m.r[0].len : m.r[0].hva - 1) = 1;
}
END_TEST

Suite *vmm_gmem_suite(void)
{
	Suite *s = suite_create("vmm_gmem");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, size, 0, (int)(sizeof(sizes) / sizeof(*sizes)));
	tcase_add_loop_test(t, span, 0, (int)(sizeof(spans) / sizeof(*spans)));
	tcase_add_test(t, copy);
	tcase_add_loop_test_raise_signal(t, guard, SIGSEGV, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
