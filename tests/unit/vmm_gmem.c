// SPDX-License-Identifier: Apache-2.0
/*
 * Guest memory: sizes that are taken, ranges that a guest may name, blocks that
 * come and go while others use them.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/str.h"
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

static const struct {
	struct gmem_policy p;
	const char *text;	/* NULL: taken */
} policies[] = {
	{ { .ram_bytes = 32 * MIB, .pages = VMM_PAGES_NEVER }, NULL },
	{ { .ram_bytes = 32 * MIB, .pages = VMM_PAGES_ALWAYS }, NULL },
	{ { .ram_bytes = 32 * MIB, .merge = true }, NULL },
	{ { .ram_bytes = 32 * MIB, .prefault = true }, NULL },
	{ { .ram_bytes = 32 * MIB, .hotplug_bytes = 128 * MIB, .merge = true,
	    .pages = VMM_PAGES_NEVER }, NULL },
	{ { .ram_bytes = 32 * MIB, .hotplug_bytes = 1024 * GIB }, NULL },
	{ { .ram_bytes = 32 * MIB, .pages = VMM_PAGES_KINDS }, "kind of pages 5" },
	{ { .ram_bytes = 32 * MIB, .pages = VMM_PAGES_2M, .merge = true }, "cannot be merged" },
	{ { .ram_bytes = 32 * MIB, .pages = VMM_PAGES_2M, .hotplug_bytes = 128 * MIB },
	  "cannot grow" },
	{ { .ram_bytes = 1026 * MIB, .pages = VMM_PAGES_1G }, "multiple of 1024 MiB" },
	{ { .ram_bytes = 32 * MIB, .pages = VMM_PAGES_2M, .clone = true },
	  "neither of reserved huge pages nor prefaulted" },
	{ { .ram_bytes = 32 * MIB, .prefault = true, .clone = true },
	  "neither of reserved huge pages nor prefaulted" },
	{ { .ram_bytes = 32 * MIB, .hotplug_bytes = 2 * MIB }, "multiple of 128 MiB" },
	{ { .ram_bytes = 32 * MIB, .hotplug_bytes = 1025 * GIB }, "up to 1 TiB" },
	{ { .ram_bytes = 32 * MIB, .hotplug_bytes = UINT64_MAX & ~(128 * MIB - 1) },
	  "up to 1 TiB" },
};

START_TEST(policy)
{
	struct gmem m = { 0 };
	struct err e = { 0 };
	int rc = gmem_init_policy(&m, &policies[_i].p, &e);

	if (policies[_i].text) {
		ck_assert_int_eq(rc, -EINVAL);
		ck_assert_msg(strstr(e.text, policies[_i].text) != NULL, "%s", e.text);
		ck_assert_ptr_null(m.map);
	} else {
		ck_assert_msg(!rc, "%s", e.text);
		ck_assert_uint_eq(gmem_ram_bytes(&m), 32 * MIB);
		ck_assert_uint_eq(m.hot.r.len, policies[_i].p.hotplug_bytes);
		ck_assert_uint_le(m.hot.n, GMEM_BLOCKS_MAX);
	}
	gmem_done(&m);
}
END_TEST

/* Pages that are in memory of [hva, hva + len). */
static size_t resident(uint8_t *hva, uint64_t len)
{
	static unsigned char v[128 * MIB / 4096];
	size_t i, n = 0;

	ck_assert_uint_le(len, 128 * MIB);
	ck_assert_int_eq(mincore(hva, len, v), 0);
	for (i = 0; i < len / 4096; i++)
		n += v[i] & 1;
	return n;
}

START_TEST(prefaulted)
{
	struct gmem_policy p = { .ram_bytes = 32 * MIB, .prefault = true };
	struct gmem m;
	struct err e;

	ck_assert_int_eq(gmem_init_policy(&m, &p, &e), 0);
	ck_assert_uint_eq(resident(m.r[0].hva, 32 * MIB), 32 * MIB / 4096);
	gmem_done(&m);
}
END_TEST

/* ---- memory that is a file ------------------------------------------------------- */
/* @bytes: of RAM that it is for */
static int memory_file(uint64_t bytes)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	struct err e;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(gmem_file_make(fd, bytes, &e), 0);
	return fd;
}

static uint64_t file_blocks(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* A template of @p's size with a number at each of @n places. Return: its file */
static int template_of(const struct gmem_policy *p, const uint64_t *at, size_t n)
{
	int fd = memory_file(p->ram_bytes);
	struct gmem m;
	struct err e;
	uint64_t v;
	size_t i;

	ck_assert_int_eq(gmem_init_policy(&m, p, &e), 0);
	for (i = 0; i < n; i++) {
		v = 0x1111 * (i + 1);
		ck_assert_int_eq(gmem_write(&m, at[i], &v, sizeof(v)), 0);
	}
	ck_assert_msg(!gmem_file_write(&m, fd, n % 2, &e), "%s", e.text);
	ck_assert_int_eq(gmem_file_check(fd, p->ram_bytes, &e), 0);
	gmem_done(&m);
	return fd;
}

static void copy_of(struct gmem *m, const struct gmem_policy *of, int fd)
{
	struct gmem_policy p = *of;
	struct err e;

	p.clone = true;
	p.fd = fd;
	ck_assert_msg(!gmem_init_policy(m, &p, &e), "%s", e.text);
	ck_assert_uint_eq(gmem_ram_bytes(m), p.ram_bytes);
}

/* Of two regions: two copies that see what the template had, and not each other. */
START_TEST(clones)
{
	static const uint64_t at[] = { 0, MIB, 5 * MIB, 3 * GIB - 4096, GMEM_HIGH_GPA,
				       GMEM_HIGH_GPA + 4 * MIB - 8 };
	struct gmem_policy p = { .ram_bytes = 3 * GIB + 4 * MIB,
				 .pages = _i ? VMM_PAGES_ALWAYS : VMM_PAGES_NEVER };
	int fd = template_of(&p, at, ARRAY_LEN(at));
	struct gmem c[2];
	uint64_t i, k, v;

	/* One page each, whatever pages RAM was made of. */
	ck_assert_uint_eq(file_blocks(fd), ARRAY_LEN(at) * 4096);
	for (k = 0; k < 2; k++)
		copy_of(&c[k], &p, fd);
	for (k = 0; k < 2; k++)
		for (i = 0; i < ARRAY_LEN(at); i++) {
			ck_assert_int_eq(gmem_read(&c[k], at[i], &v, sizeof(v)), 0);
			ck_assert_uint_eq(v, 0x1111 * (i + 1));
			v = ~0ull;
			ck_assert_int_eq(gmem_write(&c[k], at[i], &v, sizeof(v)), 0);
			ck_assert_int_eq(gmem_write(&c[k], at[i] ^ 0x10000, &v, sizeof(v)), 0);
		}
	ck_assert_uint_eq(file_blocks(fd), ARRAY_LEN(at) * 4096);
	for (k = 0; k < 2; k++)
		gmem_done(&c[k]);
	close(fd);
}
END_TEST

/* What lies between is anonymous, or filled: no access of a copy makes the file grow. */
START_TEST(gaps)
{
	struct gmem_policy p = { .ram_bytes = 32 * MIB };
	const uint64_t at[] = { 0, _i ? MIB : 128 << 10, 32 * MIB - 8 };
	int fd = template_of(&p, at, 3);
	uint64_t v, bytes = file_blocks(fd);
	struct gmem m;

	ck_assert_uint_eq(bytes, _i ? 3 * 4096 : (128 << 10) + 2 * 4096);
	copy_of(&m, &p, fd);
	ck_assert_int_eq(gmem_read(&m, at[1] / 2, &v, sizeof(v)), 0);
	ck_assert_uint_eq(v, 0);
	ck_assert_int_eq(gmem_write(&m, at[1] / 4, &bytes, sizeof(bytes)), 0);
	ck_assert_uint_eq(file_blocks(fd), bytes);
	gmem_done(&m);
	close(fd);
}
END_TEST

/* A copy that gives a page back has the template's again. */
START_TEST(clone_discard)
{
	struct gmem_policy p = { .ram_bytes = 32 * MIB };
	const uint64_t at[] = { 4096 };
	int fd = template_of(&p, at, 1);
	uint64_t v = 7;
	struct gmem m;

	copy_of(&m, &p, fd);
	ck_assert_int_eq(gmem_write(&m, 4096, &v, sizeof(v)), 0);
	ck_assert_int_eq(gmem_discard(&m, m.r[0].hva + 4096, 4096), 0);
	ck_assert_int_eq(gmem_read(&m, 4096, &v, sizeof(v)), 0);
	ck_assert_uint_eq(v, 0x1111);
	gmem_done(&m);
	close(fd);
}
END_TEST

/* Pages that were written and are zeros again, or were only read, are not in the file. */
START_TEST(zeros)
{
	struct gmem_policy p = { .ram_bytes = 32 * MIB };
	int fd = memory_file(p.ram_bytes);
	struct gmem m;
	struct err e;
	uint64_t v = 1, i;

	ck_assert_int_eq(gmem_init_policy(&m, &p, &e), 0);
	for (i = 0; i < 4 * MIB; i += 4096)
		ck_assert_int_eq(gmem_write(&m, i, &v, sizeof(v)), 0);
	v = 0;
	for (i = 0; i < 4 * MIB; i += 4096)
		ck_assert_int_eq(gmem_write(&m, i, &v, sizeof(v)), 0);
	ck_assert_int_eq(gmem_read(&m, 8 * MIB, &v, sizeof(v)), 0);
	v = 1;
	ck_assert_int_eq(gmem_write(&m, MIB + 4088, &v, sizeof(v)), 0);
	ck_assert_int_eq(gmem_file_write(&m, fd, false, &e), 0);
	ck_assert_uint_eq(file_blocks(fd), 4096);
	gmem_done(&m);
	close(fd);
}
END_TEST

START_TEST(no_memory_file)
{
	static const struct {
		off_t bytes;
		const char *text;
	} bad[] = {
		{ 0, "0 bytes, not 33554432" }, { (32 << 20) - 1, "not 33554432" },
		{ (32 << 20) + 4096, "not 33554432" }, { -1, "not a regular file" },
	};
	struct gmem_policy p = { .ram_bytes = 32 * MIB, .clone = true };
	struct gmem m = { 0 };
	struct err e = { 0 };

	p.fd = bad[_i].bytes < 0 ? open("/dev/zero", O_RDWR | O_CLOEXEC)
				 : memory_file((uint64_t)bad[_i].bytes);
	if (bad[_i].bytes) {
		ck_assert_int_eq(gmem_file_make(p.fd, p.ram_bytes, &e), -EINVAL);
		ck_assert(str_starts(e.text, "memory file"));
	}
	ck_assert_int_eq(gmem_init_policy(&m, &p, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, bad[_i].text) != NULL, "%s", e.text);
	ck_assert_ptr_null(m.map);
	close(p.fd);
}
END_TEST

/* No room for all of it: said, and no template. */
START_TEST(file_full)
{
	struct gmem_policy p = { .ram_bytes = 32 * MIB };
	struct gmem m;
	struct err e = { 0 };
	uint64_t v = 1;
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(gmem_init_policy(&m, &p, &e), 0);
	ck_assert_int_eq(gmem_write(&m, MIB, &v, sizeof(v)), 0);
	ck_assert_int_eq(gmem_file_write(&m, fd, false, &e), -ENOSPC);
	ck_assert(str_starts(e.text, "memory file"));
	gmem_done(&m);
	close(fd);
}
END_TEST

/* Free pages that the host has reserved of 2 MiB; 0 where it has no such pool. */
static unsigned long reserved_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	unsigned long n = 0;

	if (f && fscanf(f, "%lu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

/* Either the pages are there, or the error says how to get them. */
START_TEST(reserved)
{
	struct gmem_policy p = { .ram_bytes = 32 * MIB, .pages = VMM_PAGES_2M };
	struct gmem m = { 0 };
	struct err e = { 0 };
	bool enough = reserved_pages() >= 16;
	int rc = gmem_init_policy(&m, &p, &e);

	if (!enough) {
		ck_assert_int_eq(rc, -ENOMEM);
		ck_assert_msg(strstr(e.text, "has not 16 free pages of 2 MiB") != NULL &&
			      strstr(e.text, "hugepages-2048kB/nr_hugepages") != NULL,
			      "%s", e.text);
		return;
	}
	ck_assert_msg(!rc, "%s", e.text);
	m.r[0].hva[5] = 7;
	ck_assert_int_eq(gmem_discard(&m, m.r[0].hva, 2 * MIB), -EOPNOTSUPP);
	ck_assert_int_eq(m.r[0].hva[5], 7);
	gmem_done(&m);
}
END_TEST

START_TEST(discard)
{
	struct gmem m;
	struct err e;

	ck_assert_int_eq(gmem_init(&m, 32 * MIB, &e), 0);
	memset(m.r[0].hva, 1, 64 << 10);
	ck_assert_int_eq(gmem_discard(&m, m.r[0].hva + 4096, 8192), 0);
	ck_assert_uint_eq(resident(m.r[0].hva, 64 << 10), 14);
	ck_assert_int_eq(m.r[0].hva[4095], 1);
	ck_assert_int_eq(m.r[0].hva[4096], 0);
	ck_assert_int_eq(m.r[0].hva[4096 + 8191], 0);
	ck_assert_int_eq(m.r[0].hva[4096 + 8192], 1);
	gmem_done(&m);
}
END_TEST

/* ---- blocks ------------------------------------------------------------------- */
static struct gmem hot;
#define BLOCK GMEM_BLOCK_MIN_BYTES

static void hot_setup(void)
{
	struct gmem_policy p = { .ram_bytes = 3 * GIB + 4 * MIB, .hotplug_bytes = 128 * MIB };
	struct err e = { 0 };

	ck_assert_msg(!gmem_init_policy(&hot, &p, &e), "%s", e.text);
	hot.hot.sweep_fd = timer_new(&e);
	ck_assert_int_ge(hot.hot.sweep_fd, 0);
	ck_assert_uint_eq(hot.hot.block_bytes, BLOCK);
	ck_assert_uint_eq(hot.hot.n, 64);
	ck_assert_uint_eq(hot.hot.r.gpa, 6 * GIB);
}

static void hot_teardown(void)
{
	fd_close(&hot.hot.sweep_fd);
	gmem_done(&hot);
}

/* Blocks 2, 3, 4 and 63 are plugged; addresses relative to the region. */
static const struct {
	uint64_t at, len;
	int rc;
} hot_spans[] = {
	{ 2 * BLOCK, 1, 0 }, { 2 * BLOCK, 3 * BLOCK, 0 }, { 3 * BLOCK - 1, 2, 0 },
	{ 5 * BLOCK - 1, 1, 0 }, { 63 * BLOCK, BLOCK, 0 },
	{ 0, 1, -EFAULT }, { 2 * BLOCK - 1, 1, -EFAULT }, { 2 * BLOCK - 1, 2, -EFAULT },
	{ 2 * BLOCK, 3 * BLOCK + 1, -EFAULT }, { 5 * BLOCK - 1, 2, -EFAULT },
	{ 5 * BLOCK, 1, -EFAULT }, { 4 * BLOCK, 60 * BLOCK, -EFAULT },
	{ 63 * BLOCK, BLOCK + 1, -EFAULT }, { 64 * BLOCK, 1, -EFAULT },
	{ 64 * BLOCK - 1, UINT64_MAX, -EFAULT }, { 63 * BLOCK, UINT64_MAX - 63 * BLOCK, -EFAULT },
	{ -1ull, 1, -EFAULT }, { -1ull, 2, -EFAULT }, { -(6 * GIB), 6 * GIB + BLOCK * 3, -EFAULT },
	{ 2 * BLOCK, 0, -EINVAL },
};

START_TEST(hot_span)
{
	void *hva = NULL;

	ck_assert_int_eq(gmem_hot_plug(&hot, 2, 3), 0);
	ck_assert_int_eq(gmem_hot_plug(&hot, 63, 1), 0);
	ck_assert_uint_eq(gmem_hot_count(&hot, 0, 64), 4);
	ck_assert_uint_eq(gmem_hot_count(&hot, 4, 60), 2);
	ck_assert_int_eq(gmem_span(&hot, 6 * GIB + hot_spans[_i].at, hot_spans[_i].len, &hva),
			 hot_spans[_i].rc);
	if (hot_spans[_i].rc)
		ck_assert_ptr_null(hva);
	else
		ck_assert_ptr_eq(hva, hot.hot.r.hva + hot_spans[_i].at);
}
END_TEST

/* What was in an unplugged block is gone, from the host too. */
START_TEST(hot_unplug)
{
	uint8_t *hva = hot.hot.r.hva;

	ck_assert_int_eq(gmem_hot_plug(&hot, 0, 64), 0);
	memset(hva, 1, 3 * BLOCK);
	ck_assert_int_eq(gmem_hot_unplug(&hot, 1, 1), 0);
	ck_assert_uint_eq(resident(hva, 128 * MIB), 2 * BLOCK / 4096);
	ck_assert_int_eq(hva[BLOCK - 1], 1);
	ck_assert_int_eq(hva[2 * BLOCK], 1);
	ck_assert_int_eq(gmem_hot_plug(&hot, 1, 1), 0);
	ck_assert_int_eq(hva[BLOCK], 0);
	hva[BLOCK] = 1;
	ck_assert_int_eq(gmem_hot_unplug(&hot, 0, 64), 0);
	ck_assert_uint_eq(resident(hva, 128 * MIB), 0);
	ck_assert_uint_eq(gmem_hot_count(&hot, 0, 64), 0);
}
END_TEST

/* Whoever still holds an address can go on; the memory does not stay. */
START_TEST(hot_late)
{
	struct itimerspec t;
	void *hva;

	ck_assert_int_eq(gmem_hot_plug(&hot, 8, 2), 0);
	ck_assert_int_eq(gmem_span(&hot, 6 * GIB + 9 * BLOCK - 8, 16, &hva), 0);
	ck_assert_int_eq(gmem_hot_unplug(&hot, 8, 2), 0);
	ck_assert_int_eq(*(volatile uint8_t *)hva, 0);
	ck_assert(!hot.hot.astray);
	memset(hva, 1, 16);
	ck_assert(hot.hot.astray);
	ck_assert_int_eq(timerfd_gettime(hot.hot.sweep_fd, &t), 0);
	ck_assert(t.it_value.tv_sec || t.it_value.tv_nsec);
	ck_assert_uint_eq(resident(hot.hot.r.hva, 128 * MIB), 2);
	gmem_hot_sweep(&hot);
	ck_assert_uint_eq(resident(hot.hot.r.hva, 128 * MIB), 0);
	ck_assert(!hot.hot.astray);
	memset(hva, 1, 16);		/* and again */
	ck_assert_uint_eq(resident(hot.hot.r.hva, 128 * MIB), 2);
	ck_assert_int_eq(gmem_span(&hot, 6 * GIB + 8 * BLOCK, 1, &hva), -EFAULT);
}
END_TEST

/* A stray block that is plugged before the sweep keeps what it has. */
START_TEST(hot_late_then_plugged)
{
	void *hva;

	ck_assert_int_eq(gmem_hot_plug(&hot, 0, 1), 0);
	ck_assert_int_eq(gmem_span(&hot, 6 * GIB, 1, &hva), 0);
	ck_assert_int_eq(gmem_hot_unplug(&hot, 0, 1), 0);
	*(volatile uint8_t *)hva = 5;
	ck_assert_int_eq(gmem_hot_plug(&hot, 0, 1), 0);
	gmem_hot_sweep(&hot);
	ck_assert_int_eq(*(volatile uint8_t *)hva, 5);
	*(volatile uint8_t *)hva = 6;
	ck_assert_int_eq(gmem_hot_unplug(&hot, 0, 1), 0);
	ck_assert_uint_eq(resident(hot.hot.r.hva, BLOCK), 0);
}
END_TEST

/* System calls get an error, as the devices' requests do. */
START_TEST(hot_late_syscall)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	void *hva;

	ck_assert_int_eq(gmem_hot_plug(&hot, 0, 1), 0);
	ck_assert_int_eq(gmem_span(&hot, 6 * GIB, 4096, &hva), 0);
	ck_assert_int_eq(read(zero, hva, 4096), 4096);
	ck_assert_int_eq(gmem_hot_unplug(&hot, 0, 1), 0);
	errno = 0;
	ck_assert_int_lt(read(zero, hva, 4096), 1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert(!hot.hot.astray);
	fd_close(&zero);
}
END_TEST

/* Threads that write wherever they were once let to, while blocks come and go. */
#define ROUNDS 300
static bool stop_threads;

static void *writer(void *arg)
{
	uintptr_t seed = (uintptr_t)arg;

	while (!__atomic_load_n(&stop_threads, __ATOMIC_RELAXED)) {
		uint64_t block = (seed = seed * 1103515245u + 12345) >> 16 & 7;
		uint8_t *p;
		void *hva;

		/* Across a boundary; what the bytes are is nobody's business. */
		if (gmem_span(&hot, 6 * GIB + (block + 1) * BLOCK - 4, 8, &hva) < 0)
			continue;
		ck_assert_ptr_eq(hva, hot.hot.r.hva + (block + 1) * BLOCK - 4);
		for (p = hva; p < (uint8_t *)hva + 8; p++)
			__atomic_fetch_add(p, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

START_TEST(hot_threads)
{
	pthread_t t[3];
	uint32_t i;

	stop_threads = false;
	for (i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, writer, (void *)(uintptr_t)(i + 1)), 0);
	for (i = 0; i < ROUNDS; i++) {
		ck_assert_int_eq(gmem_hot_plug(&hot, i % 3, 6), 0);
		ck_assert_int_eq(gmem_hot_unplug(&hot, i % 3 + 1, 4), 0);
		if (i % 4 == 0)
			gmem_hot_sweep(&hot);
		ck_assert_int_eq(gmem_hot_unplug(&hot, i % 3, 1), 0);
		ck_assert_int_eq(gmem_hot_unplug(&hot, i % 3 + 5, 1), 0);
	}
	__atomic_store_n(&stop_threads, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	gmem_hot_sweep(&hot);
	ck_assert_uint_eq(resident(hot.hot.r.hva, 128 * MIB), 0);
}
END_TEST

/* Each block apart from its neighbours: as many mappings as there can be. */
START_TEST(hot_fragments)
{
	struct gmem_policy p = { .ram_bytes = 32 * MIB, .hotplug_bytes = 32 * GIB };
	struct gmem m;
	struct err e;
	uint32_t i;
	void *hva;

	ck_assert_int_eq(gmem_init_policy(&m, &p, &e), 0);
	ck_assert_uint_eq(m.hot.n, GMEM_BLOCKS_MAX);
	for (i = 0; i < m.hot.n; i += 2)
		ck_assert_int_eq(gmem_hot_plug(&m, i, 1), 0);
	ck_assert_uint_eq(gmem_hot_count(&m, 0, m.hot.n), m.hot.n / 2);
	for (i = 0; i < m.hot.n; i += 1001)
		ck_assert_int_eq(gmem_span(&m, m.hot.r.gpa + i * BLOCK, BLOCK, &hva),
				 i % 2 ? -EFAULT : 0);
	ck_assert_int_eq(gmem_hot_unplug(&m, 0, m.hot.n), 0);
	gmem_done(&m);
}
END_TEST

/* A sanitizer's handler would be the one that ours hands other faults on to. */
static void guard_setup(void)
{
	signal(SIGSEGV, SIG_DFL);
	hot_setup();
}

/* The handler of late writes has nothing to do with other faults. */
START_TEST(hot_guard)
{
	uint8_t *const at[] = { hot.hot.r.hva - 1, hot.hot.r.hva + hot.hot.r.len,
				hot.r[1].hva + hot.r[1].len, (uint8_t *)4096 };

	*(volatile uint8_t *)at[_i] = 1;
}
END_TEST

Suite *vmm_gmem_suite(void)
{
	Suite *s = suite_create("vmm_gmem");
	TCase *t = tcase_create("all"), *h = tcase_create("hot"), *g = tcase_create("guard");

	tcase_add_loop_test(t, size, 0, (int)(sizeof(sizes) / sizeof(*sizes)));
	tcase_add_loop_test(t, span, 0, (int)(sizeof(spans) / sizeof(*spans)));
	tcase_add_test(t, copy);
	tcase_add_loop_test_raise_signal(t, guard, SIGSEGV, 0, 2);
	tcase_add_loop_test(t, policy, 0, ARRAY_LEN(policies));
	tcase_add_test(t, prefaulted);
	tcase_add_test(t, reserved);
	tcase_add_test(t, discard);
	tcase_add_loop_test(t, clones, 0, 2);
	tcase_add_loop_test(t, gaps, 0, 2);
	tcase_add_test(t, clone_discard);
	tcase_add_test(t, zeros);
	tcase_add_loop_test(t, no_memory_file, 0, 4);
	tcase_add_test(t, file_full);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(h, hot_setup, hot_teardown);
	tcase_set_timeout(h, 60);
	tcase_add_loop_test(h, hot_span, 0, ARRAY_LEN(hot_spans));
	tcase_add_test(h, hot_unplug);
	tcase_add_test(h, hot_late);
	tcase_add_test(h, hot_late_then_plugged);
	tcase_add_test(h, hot_late_syscall);
	tcase_add_test(h, hot_threads);
	tcase_add_test(h, hot_fragments);
	suite_add_tcase(s, h);
	tcase_add_checked_fixture(g, guard_setup, hot_teardown);
	tcase_add_loop_test_raise_signal(g, hot_guard, SIGSEGV, 0, 4);
	suite_add_tcase(s, g);
	return s;
}
