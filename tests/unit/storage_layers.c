// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What random stacks (storage_property) do not reach: single marks of overlayfs in
 * all their meanings, what is refused, and what is bounded. Where the kernel can be
 * asked, its overlay and the EROFS that was made of it are compared.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "storage/disk.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *storage_layers_suite(void);

/* ---- what is refused, and what is bounded -------------------------------------- */

/* Mounts "up" over "low" (and "low2") on "m". */
static void two_layers(void)
{
	char opts[1200], cwd[256];

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(opts, sizeof(opts), "lowerdir=%s/low:%s/low2,upperdir=%s/up,workdir=%s/w",
		 cwd, cwd, cwd, cwd);
	kit_dirs("up");
	kit_dirs("low");
	kit_dirs("low2");
	kit_dirs("w");
	kit_dirs("m");
	kit_dirs("e");
	ck_assert_msg(kit_overlay(opts, "m") == 0, "%s", strerror(errno));
}

static int map(struct err *e)
{
	struct storage_request req = { .rootfs = "m", .serial_stem = "t" };
	struct storage_map *m = NULL;
	int rc = storage_map_rootfs(&req, &m, e);

	storage_map_free(m);
	return rc;
}

/* Mounts @dirs, topmost first, with options before them, on "m". */
static void stack(const char *more, const char *const *dirs)
{
	char opts[2000], cwd[256];
	size_t at;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("m");
	kit_dirs("e");
	at = (size_t)snprintf(opts, sizeof(opts), "%slowerdir=", more);
	for (; *dirs; dirs++)
		at += (size_t)snprintf(opts + at, sizeof(opts) - at, "%s/%s:", cwd, *dirs);
	opts[at - 1] = 0;
	ck_assert_msg(kit_overlay(opts, "m") == 0, "%s: %s", opts, strerror(errno));
}

static void redirect(const char *path, const char *to)
{
	ck_assert_int_eq(setxattr(path, "trusted.overlay.redirect", to, strlen(to), 0), 0);
}

static void opaque(const char *path)
{
	ck_assert_int_eq(setxattr(path, "trusted.overlay.opaque", "y", 1, 0), 0);
}

/* What is mounted on "m" is what we make of it. */
static void same_as_kernel(void)
{
	char image[300], cwd[256];
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_msg(kit_fsck(image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(kit_erofs(image, "e"), 0);
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, "%s", e.text);
}

/* Three layers; the lowest has files f1..f3 in o1/o2/o3, in o1/x and in y. */
static void redirect_layers(void)
{
	kit_dirs("L0");
	kit_dirs("L1");
	kit_dirs("L2/o1/o2/o3");
	kit_dirs("L2/o1/x");
	kit_dirs("L2/y");
	kit_file("L2/o1/o2/o3/f1", "1", 1);
	kit_file("L2/o1/x/f2", "2", 1);
	kit_file("L2/y/f3", "3", 1);
}

static const char *const three[] = { "L0", "L1", "L2", NULL };

/* How redirects meet opaque directories, other redirects and gaps between layers. */
static const struct {
	const char *dir, *to, *opaque, *dir2, *to2, *probe;
} redirects[] = {
	{ "L0/n", "/o1/x", NULL, NULL, NULL, "e/n/f2" },
	{ "L0/n", "y", NULL, NULL, NULL, "e/n/f3" },
	{ "L1/n", "/o1/o2", NULL, NULL, NULL, "e/n/o3/f1" },
	{ "L0/a/b/c", "/o1/o2/o3", NULL, NULL, NULL, "e/a/b/c/f1" },
	{ "L0/a/b", "/o1/o2/o3", "L0/a", NULL, NULL, "e/a/b/f1" },
	/* Moved twice, and moved within what was moved. */
	{ "L0/n2", "/n1", NULL, "L1/n1", "/o1/x", "e/n2/f2" },
	{ "L0/n2", "n1", NULL, "L1/n1", "y", "e/n2/f3" },
	{ "L0/top", "/n1/o2/o3", NULL, "L1/n1", "/o1", "e/top/f1" },
	{ "L0/top", "/n1/z", NULL, "L1/n1/z", "/o1/x", "e/top/f2" },
	{ "L0/top", "/n1/z", "L1/n1", "L1/n1/z", "/o1/x", "e/top/f2" },
	{ "L0/top", "/n1/z", NULL, "L1/n1/z", "q", NULL },
	{ "L0/o1/o2", "x", NULL, NULL, NULL, "e/o1/o2/f2" },
	/* Leads nowhere, or to a file. */
	{ "L0/n", "/nowhere/at/all", NULL, NULL, NULL, NULL },
	{ "L0/n", "/y/f3", NULL, NULL, NULL, NULL },
	{ "L0/n", "/y/f3/deeper", NULL, NULL, NULL, NULL },
	/* Opaque itself: not followed. */
	{ "L0/n", "/o1/x", "L0/n", NULL, NULL, NULL },
};

START_TEST(redirect_is_followed)
{
	const char *dir = redirects[_i].dir, *dir2 = redirects[_i].dir2;
	const char *origin = redirects[_i].to;
	struct stat st;

	redirect_layers();
	kit_dirs(dir);
	redirect(dir, origin);
	kit_dirs("L0/added");
	if (dir2) {
		kit_dirs(dir2);
		redirect(dir2, redirects[_i].to2);
	}
	if (redirects[_i].opaque)
		opaque(redirects[_i].opaque);
	stack("redirect_dir=follow,", three);
	same_as_kernel();
	if (redirects[_i].probe)
		ck_assert_msg(lstat(redirects[_i].probe, &st) == 0, "%s", redirects[_i].probe);
	ck_assert_int_eq(umount("e"), 0);
}
END_TEST

static const char *const damaged[] = { "", "a/b", "//a", "/a//b", "/a/", "/", ".", "..", "/../a", "/a/." };

START_TEST(redirect_damaged)
{
	struct err e = { 0 };

	redirect_layers();
	kit_dirs("L0/some/dir");
	redirect("L0/some/dir", damaged[_i]);
	stack("redirect_dir=follow,", three);
	ck_assert_int_eq(map(&e), -EINVAL);
	ck_assert_msg(strstr(e.text, "some/dir") && strstr(e.text, "redirect"), "%s", e.text);
}
END_TEST

START_TEST(redirect_not_followed)
{
	struct err e = { 0 };

	redirect_layers();
	kit_dirs("L0/n");
	redirect("L0/n", "/o1/x");
	stack("redirect_dir=nofollow,", three);
	ck_assert_int_eq(map(&e), -EPERM);
	ck_assert_msg(strstr(e.text, "\"n\"") && strstr(e.text, "redirect_dir=follow"), "%s", e.text);
	/* Where nothing is behind it, there is nothing to follow. */
	ck_assert_int_eq(umount("m"), 0);
	ck_assert_int_eq(setxattr("L0/n", "trusted.overlay.redirect", "/none", 5, 0), 0);
	stack("redirect_dir=nofollow,", three);
	ck_assert_msg(map(&e) == 0, "%s", e.text);
}
END_TEST

/* A path that is longer in the merged tree than in any layer. */
/* Makes @n directories of 200 bytes each below @top and gives the path of the last. */
static const char *long_path(const char *top, char letter, unsigned int n)
{
	static char path[4096];
	size_t len = (size_t)snprintf(path, sizeof(path), "%s", top);

	for (; n; n--) {
		path[len++] = '/';
		memset(path + len, letter, 200);
		len += 200;
		path[len] = 0;
	}
	kit_dirs(path);
	return path;
}

START_TEST(redirect_too_deep)
{
	struct err e = { 0 };
	char to[202] = "/";

	redirect_layers();
	memset(to + 1, 'd', 200);
	long_path("L2", 'd', 15);
	redirect(long_path("L0", 'u', 9), to);
	stack("redirect_dir=follow,", three);
	ck_assert_int_eq(map(&e), -ENAMETOOLONG);
}
END_TEST

START_TEST(metacopy_not_followed)
{
	struct err e = { 0 };

	redirect_layers();
	kit_dirs("L0/y");
	kit_file("L0/y/f3", "x", 1);
	ck_assert_int_eq(setxattr("L0/y/f3", "trusted.overlay.metacopy", "", 0, 0), 0);
	stack("metacopy=off,", three);
	ck_assert_int_eq(map(&e), -EPERM);
	ck_assert_msg(strstr(e.text, "y/f3") && strstr(e.text, "metacopy=on"), "%s", e.text);
}
END_TEST

/* A data-only layer's file, by a path; then without it. */
START_TEST(data_only)
{
	char opts[1200], cwd[256];
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("L0/d");
	kit_dirs("L1");
	kit_dirs("D0/obj/ff");
	kit_dirs("D1/obj/ff");
	kit_dirs("m");
	kit_dirs("e");
	kit_file("D1/obj/ff/11", "content", 7);
	kit_dirs("D0/obj/ff/11");
	kit_file("D1/hidden", "x", 1);
	kit_file("L0/d/f", "", 0);
	ck_assert_int_eq(truncate("L0/d/f", 7), 0);
	ck_assert_int_eq(link("L0/d/f", "L0/d/g"), 0);
	ck_assert_int_eq(setxattr("L0/d/f", "trusted.overlay.metacopy", "", 0, 0), 0);
	redirect("L0/d/f", "/obj/ff/11");
	snprintf(opts, sizeof(opts), "metacopy=on,redirect_dir=follow,lowerdir=%s/L0:%s/L1::%s/D0::%s/D1",
		 cwd, cwd, cwd, cwd);
	ck_assert_msg(kit_overlay(opts, "m") == 0, "%s: %s", opts, strerror(errno));
	same_as_kernel();
	ck_assert_int_ne(access("e/hidden", F_OK), 0);
	ck_assert_int_eq(umount("e"), 0);
	kit_file("D1/obj/ff/11", "longer content", 14);
	ck_assert_int_eq(map(&e), -EIO);
	ck_assert_msg(strstr(e.text, "d/f"), "%s", e.text);
	ck_assert_int_eq(unlink("D1/obj/ff/11"), 0);
	ck_assert_int_eq(symlink("../../hidden", "D1/obj/ff/11"), 0);
	ck_assert_int_eq(map(&e), -EIO);
}
END_TEST

/* As many layers as the kernel takes, by names that fit its page of options. */
START_TEST(most_layers)
{
	char opts[4096], path[64], cwd[256];
	unsigned int i;
	size_t at;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("m");
	kit_dirs("e");
	at = (size_t)snprintf(opts, sizeof(opts), "lowerdir=");
	for (i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "%u/d%u", i, i % 50);
		kit_dirs(path);
		snprintf(path, sizeof(path), "%u/d%u/f%u", i, i % 50, i % 100);
		kit_file(path, path, strlen(path));
		snprintf(path, sizeof(path), "%u/w%u", i, i);
		/* Each hides what the next one has. */
		kit_file(path, "", 0);
		snprintf(path, sizeof(path), "%u/w%u", i, i + 1);
		ck_assert_int_eq(mknod(path, S_IFCHR, 0), 0);
		at += (size_t)snprintf(opts + at, sizeof(opts) - at, "%u:", i);
	}
	opts[at - 1] = 0;
	ck_assert_msg(kit_overlay(opts, "m") == 0, "%s", strerror(errno));
	same_as_kernel();
	ck_assert_int_ne(access("e/w1", F_OK), 0);
	ck_assert_int_eq(access("e/w0", F_OK), 0);
}
END_TEST

/* index=on shows a changed file of several names under all of them. */
START_TEST(index_in_use)
{
	char opts[1200], cwd[256];
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("low");
	kit_file("low/f", "old", 3);
	ck_assert_int_eq(link("low/f", "low/g"), 0);
	two_layers();
	ck_assert_int_eq(umount("m"), 0);
	snprintf(opts, sizeof(opts), "index=on,lowerdir=%s/low:%s/low2,upperdir=%s/up,workdir=%s/w",
		 cwd, cwd, cwd, cwd);
	if (kit_overlay(opts, "m"))
		return;
	ck_assert_msg(map(&e) == 0, "%s", e.text);
	kit_file("m/f", "new", 3);
	ck_assert_int_eq(map(&e), -EOPNOTSUPP);
	ck_assert_msg(strstr(e.text, "index=off"), "%s", e.text);
	ck_assert_int_eq(umount("m"), 0);
	ck_assert_int_eq(kit_overlay("index=on,lowerdir=low:low2,upperdir=up,workdir=w", "m"), 0);
	ck_assert_int_eq(map(&e), -EOPNOTSUPP);
	ck_assert_msg(strstr(e.text, "absolute workdir"), "%s", e.text);
}
END_TEST

START_TEST(metacopy)
{
	char image[300], cwd[256], opts[1200];
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	kit_dirs("low/d");
	kit_file("low/d/f", "content", 7);
	ck_assert_int_eq(link("low/d/f", "low/d/g"), 0);
	two_layers();
	ck_assert_int_eq(umount("m"), 0);
	snprintf(opts, sizeof(opts), "metacopy=on,lowerdir=%s/low:%s/low2,upperdir=%s/up,workdir=%s/w",
		 cwd, cwd, cwd, cwd);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
	ck_assert_int_eq(chmod("m/d/f", 0600), 0);
	ck_assert_int_ge((int)getxattr("up/d/f", "trusted.overlay.metacopy", NULL, 0), 0);
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(kit_erofs(image, "e"), 0);
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, "%s", e.text);
	ck_assert_int_eq(umount("m"), 0);
	/* Its content is gone: the kernel refuses the file, and so do we. */
	ck_assert_int_eq(unlink("low/d/f"), 0);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
	ck_assert_int_eq(map(&e), -EIO);
	ck_assert_msg(strstr(e.text, "d/f"), "%s", e.text);
}
END_TEST

START_TEST(stale_options)
{
	struct err e = { 0 };

	kit_file("x", "", 0);
	kit_dirs("low/etc");
	two_layers();
	ck_assert_int_eq(map(&e), 0);
	ck_assert_int_eq(rename("low", "old"), 0);
	kit_dirs("low");
	ck_assert_int_eq(map(&e), -ESTALE);
	ck_assert_msg(strstr(e.text, "etc"), "%s", e.text);
	kit_dirs("low/etc");
	kit_dirs("low/more");
	ck_assert_int_eq(map(&e), -ESTALE);
	ck_assert_int_eq(rmdir("low/more"), 0);
	ck_assert_int_eq(map(&e), 0);
	ck_assert_int_eq(chmod("up", 0700), 0);
	ck_assert_int_eq(map(&e), 0);
}
END_TEST

START_TEST(mount_in_layer)
{
	struct err e = { 0 };

	kit_dirs("low/etc/in");
	kit_file("low/file", "x", 1);
	kit_file("other", "y", 1);
	two_layers();
	ck_assert_int_eq(mount("t", "low/etc/in", "tmpfs", 0, NULL), 0);
	ck_assert_int_eq(map(&e), -EXDEV);
	ck_assert_msg(strstr(e.text, "etc/in"), "%s", e.text);
	ck_assert_int_eq(umount("low/etc/in"), 0);
	ck_assert_int_eq(mount("other", "low/file", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(map(&e), -EXDEV);
	ck_assert_msg(strstr(e.text, "\"file\""), "%s", e.text);
	ck_assert_int_eq(umount("low/file"), 0);
}
END_TEST

/* Deeper than any path: neither descriptors nor stack nor time may run out. */
START_TEST(deep_tree)
{
	char name[201], cwd[256];
	struct err e = { 0 };
	int i;

	memset(name, 'd', 200);
	name[200] = 0;
	two_layers();
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	ck_assert_int_eq(chdir("low"), 0);
	for (i = 0; i < 60; i++) {
		ck_assert_int_eq(mkdir(name, 0755), 0);
		ck_assert_int_eq(chdir(name), 0);
	}
	ck_assert_int_eq(chdir(cwd), 0);
	ck_assert_int_eq(umount("m"), 0);
	two_layers();
	ck_assert_int_eq(map(&e), -ENAMETOOLONG);
}
END_TEST

/* Level by level: a recursion with open directories would need too many. */
static void remove_levels(const char *top, const char *home)
{
	ck_assert_int_eq(chdir(top), 0);
	while (!chdir("d"))
		;
	while (!chdir("..") && !rmdir("d"))
		;
	ck_assert_int_eq(chdir(home), 0);
}

START_TEST(many_levels)
{
	char image[300], cwd[256];
	struct err e = { 0 };
	int i;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	kit_dirs("low");
	kit_dirs("low2");
	for (i = 0; i < 3600; i++) {
		if (i == 1800)
			ck_assert_int_eq(chdir(cwd), 0);
		if (i % 1800 == 0)
			ck_assert_int_eq(chdir(i ? "low2" : "low"), 0);
		ck_assert_int_eq(mkdir("d", 0755), 0);
		ck_assert_int_eq(chdir("d"), 0);
	}
	ck_assert_int_eq(chdir(cwd), 0);
	two_layers();
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(umount("m"), 0);
	remove_levels("low", cwd);
	remove_levels("low2", cwd);
}
END_TEST

START_TEST(budget)
{
	atomic_llong room = 3u << 20;
	struct arena a = { .budget = &room };
	int i;

	for (i = 0; arena_alloc(&a, 1000); i++)
		ck_assert_int_lt(i, 4000);
	ck_assert_int_gt(i, 1000);
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX / 2));
	arena_done(&a);
}
END_TEST

Suite *storage_layers_suite(void)
{
	Suite *s = suite_create("storage_layers");
	const char *why = kit_storage_missing(true);
	TCase *t = tcase_create("memory");

	tcase_add_test(t, budget);
	suite_add_tcase(s, t);
	if (why) {
		kit_skip("storage_layers mounts", why);
		return s;
	}
	t = tcase_create("limits");
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_loop_test(t, redirect_is_followed, 0, (int)ARRAY_LEN(redirects));
	tcase_add_loop_test(t, redirect_damaged, 0, (int)ARRAY_LEN(damaged));
	tcase_add_test(t, redirect_not_followed);
	tcase_add_test(t, redirect_too_deep);
	tcase_add_test(t, metacopy_not_followed);
	if (kit_kernel(6, 5))
		tcase_add_test(t, data_only);
	else
		kit_skip("storage_layers data_only", "needs Linux 6.5");
	tcase_add_test(t, most_layers);
	tcase_add_test(t, index_in_use);
	tcase_add_test(t, metacopy);
	tcase_add_test(t, stale_options);
	tcase_add_test(t, mount_in_layer);
	tcase_add_test(t, deep_tree);
	tcase_add_test(t, many_levels);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
