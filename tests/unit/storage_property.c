// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The oracle for merging layers and for the disk's format is the kernel: random
 * stacks are mounted by overlayfs, mapped, exported, accepted by fsck.erofs and
 * dump.erofs, mounted as EROFS, and the two mounts are compared entry by entry. The
 * disk that comes from a filled cache of layers must be the same, byte by byte.
 *
 * Most of the seeds are always the same, the others come from the time; all are
 * printed with a failure. PROPERTY_RUNS=N makes N of the latter kind, and
 * PROPERTY_SEED=S begins with that seed (and is one run unless PROPERTY_RUNS says more).
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/kit/kit.h"
#include "tests/kit/stack.h"
#include "tests/kit/storage.h"

Suite *storage_property_suite(void);

#define FIXED_RUNS 50
#define RANDOM_RUNS 25

static uint64_t first_seed;

/* Sparse files of gigabytes: holes are holes in both. */
static bool same_images(const char *pa, const char *pb)
{
	static char a[65536], b[65536];
	_cleanup_close_ int fa = open(pa, O_RDONLY | O_CLOEXEC), fb = open(pb, O_RDONLY | O_CLOEXEC);
	off_t at = 0, end = lseek(fa, 0, SEEK_END);
	ssize_t n;

	if (lseek(fb, 0, SEEK_END) != end)
		return false;
	while ((at = lseek(fa, at, SEEK_DATA)) >= 0) {
		n = pread(fa, a, sizeof(a), at);
		if (n <= 0 || pread(fb, b, sizeof(b), at) != n || memcmp(a, b, (size_t)n))
			return false;
		at += n;
	}
	return true;
}

static void compare(uint64_t seed)
{
	char image[300], cached[300], cwd[256];
	struct stack_made made;
	uint64_t known;
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	snprintf(cached, sizeof(cached), "%s/cached", cwd);
	kit_dirs("m");
	kit_dirs("e");
	stack_make(seed, "m", NULL, &made);
	ck_assert_int_eq(chdir(cwd), 0);
#define WHICH "PROPERTY_SEED=%llu (%s, %u layers): "
#define WHICH_ARGS (unsigned long long)seed, made.kind, made.layers
	ck_assert_msg(kit_export("m", image, &e) == 0, WHICH "%s", WHICH_ARGS, e.text);
	ck_assert_msg(kit_fsck(image, &e) == 0, WHICH "%s", WHICH_ARGS, e.text);
	ck_assert_msg(kit_dump(image, &e) == 0, WHICH "%s", WHICH_ARGS, e.text);
	ck_assert_msg(kit_erofs(image, "e") == 0, WHICH "mounting it: %s", WHICH_ARGS, strerror(errno));
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, WHICH "%s", WHICH_ARGS, e.text);
	kit_time_shift(10);
	ck_assert_int_eq(kit_export_cached("m", "cache", cached, &known, &e), 0);
	ck_assert_uint_eq(known, 0);
	ck_assert_int_eq(unlink(cached), 0);
	ck_assert_msg(kit_export_cached("m", "cache", cached, &known, &e) == 0, WHICH "%s", WHICH_ARGS, e.text);
	ck_assert_msg(known == made.lower, WHICH "%llu layers from the cache", WHICH_ARGS, (unsigned long long)known);
	ck_assert_msg(same_images(image, cached), WHICH "another disk from the cache", WHICH_ARGS);
}

START_TEST(fixed_stacks)
{
	compare((uint64_t)_i);
}
END_TEST

START_TEST(random_stacks)
{
	compare(first_seed + (uint64_t)_i);
}
END_TEST

Suite *storage_property_suite(void)
{
	const char *seed = getenv("PROPERTY_SEED"), *runs = getenv("PROPERTY_RUNS");
	int n = runs ? (int)strtol(runs, NULL, 10) : seed ? 1 : RANDOM_RUNS;
	const char *why = kit_storage_missing(true);
	Suite *s = suite_create("storage_property");
	TCase *t = tcase_create("stacks");

	if (why) {
		kit_skip("storage_property", why);
		return s;
	}
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	first_seed = seed ? strtoull(seed, NULL, 0) : kit_seed("storage_property");
	if (!seed && !runs)
		tcase_add_loop_test(t, fixed_stacks, 0, FIXED_RUNS);
	tcase_add_loop_test(t, random_stacks, 0, n);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
