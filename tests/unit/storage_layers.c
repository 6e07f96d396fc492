// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The oracle for merging is the kernel: random stacks of layers are mounted by
 * overlayfs, mapped, exported, mounted as EROFS, and the two mounts compared
 * entry by entry. Names come from a small set, so that layers collide often.
 * What the kernel cannot be asked about (refusals) has tests of its own.
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

#define ROUNDS 25
#define LAYERS_MAX 6

static uint64_t first_seed;

/* ---- random layers -------------------------------------------------------- */

struct maker {
	uint64_t rng;
	const char *own;	/* prefix of overlayfs's attributes */
	bool lower;		/* not the upper directory */
	bool modern;		/* attributes of Linux 6.8 */
	char links[32][PATH_MAX];
	unsigned int n_links;
	unsigned int left;	/* entries still to be made */
};

static unsigned int pick(struct maker *k, unsigned int n)
{
	return (unsigned int)(kit_random(&k->rng) >> 11) % n;
}

static const char *pick_name(struct maker *k)
{
	static char longest[256];
	static const char *const names[] = {
		"a", "b", "c", "dd", "ee", "usr", "etc", "sp ace", "new\nline", "\xff\xfe",
		"!", "-", "..x", ".h", "~", "\xc3\xa4", "a.b", "abcdefgh", "abcdefghi",
		"abcdefgh\x01", longest,
	};

	memset(longest, 'L', 255);
	return names[pick(k, ARRAY_LEN(names))];
}

static void put_xattr(const char *path, const char *name, const void *v, size_t len)
{
	/* User attributes are for files and directories, and room is short on ext4. */
	if (lsetxattr(path, name, v, len, 0))
		ck_assert_msg(errno == EPERM || errno == ENOSPC || errno == EOPNOTSUPP,
			      "%s: %s", name, strerror(errno));
}

static void random_xattrs(struct maker *k, const char *path)
{
	/* ACL: version 2; user::rwx, user:1000:r-x, group::r-x, mask::r-x, other::--- */
	static const unsigned char acl[] = {
		2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 232, 3, 0, 0,
		4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255,
		32, 0, 0, 0, 255, 255, 255, 255,
	};
	/* cap_net_raw+ep, version 2 */
	static const unsigned char cap[] = { 1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	char value[1500], name[256];
	struct stat st;
	unsigned int i;

	ck_assert_int_eq(lstat(path, &st), 0);
	for (i = 0; i < sizeof(value); i++)
		value[i] = (char)pick(k, 256);
	for (i = pick(k, 4); i; i--) {
		memset(name, 0, sizeof(name));
		snprintf(name, 40, pick(k, 2) ? "trusted.n%u" : "user.n%u", pick(k, 1000));
		if (!pick(k, 20))
			memset(name + strlen(name), 'x', 255 - strlen(name));
		put_xattr(path, name, value, pick(k, 5) ? pick(k, 40) : pick(k, sizeof(value)));
	}
	if (!S_ISLNK(st.st_mode) && !pick(k, 6))
		put_xattr(path, "system.posix_acl_access", acl, sizeof(acl));
	if (S_ISDIR(st.st_mode) && !pick(k, 6))
		put_xattr(path, "system.posix_acl_default", acl, sizeof(acl));
	if (S_ISREG(st.st_mode) && !pick(k, 6))
		put_xattr(path, "security.capability", cap, sizeof(cap));
	if (!pick(k, 6)) {
		snprintf(name, sizeof(name), "%sorigin", k->own);
		put_xattr(path, name, value, 8);
	}
	if (k->modern && !pick(k, 6)) {
		snprintf(name, sizeof(name), "%soverlay.opaque", k->own);
		put_xattr(path, name, "y", 1);
	}
}

static void random_owner(struct maker *k, const char *path)
{
	static const uid_t ids[] = { 0, 1, 1000, 65534, 100000, 4294967294u };
	struct timespec t[2] = { { 0, UTIME_OMIT }, { 0, 0 } };
	struct stat st;

	ck_assert_int_eq(lchown(path, ids[pick(k, 6)], ids[pick(k, 6)]), 0);
	ck_assert_int_eq(lstat(path, &st), 0);
	if (!S_ISLNK(st.st_mode))
		ck_assert_int_eq(chmod(path, pick(k, 3) ? 0755 : pick(k, 010000)), 0);
	random_xattrs(k, path);
	t[1].tv_sec = pick(k, 8) ? (time_t)pick(k, 2000000000) :
				   pick(k, 2) ? -(time_t)pick(k, 2000000000) : 5000000000;
	t[1].tv_nsec = pick(k, 1000000000);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static void random_file(struct maker *k, const char *path)
{
	static const unsigned int sizes[] = { 0, 1, 100, 4095, 4096, 4097, 8192, 20000 };
	static char data[20000];
	unsigned int i, n = sizes[pick(k, ARRAY_LEN(sizes))];

	for (i = 0; i < n; i += 1 + pick(k, 50))
		data[i] = (char)pick(k, 256);
	kit_file(path, data, n);
	if (!pick(k, 10))
		ck_assert_int_eq(truncate(path, n + pick(k, 100000)), 0);
	if (k->n_links < ARRAY_LEN(k->links))
		snprintf(k->links[k->n_links++], PATH_MAX, "%s", path);
}

static void random_symlink(struct maker *k, const char *path)
{
	char target[4096];
	size_t n = pick(k, 6) ? 1 + pick(k, 60) : 1 + pick(k, 4000);

	memset(target, 't', n);
	target[n] = 0;
	ck_assert_int_eq(symlink(target, path), 0);
}

static void random_dir(struct maker *k, const char *path, unsigned int depth, bool x);

static void random_entry(struct maker *k, const char *path, unsigned int depth, bool x)
{
	const dev_t devs[] = { 0x103, makedev(8, 1), makedev(4095, 1048575), makedev(0, 5) };
	char name[64];

	switch (pick(k, 16)) {
	case 0: case 1: case 2: case 3: case 4:
		ck_assert_int_eq(mkdir(path, 0755), 0);
		random_dir(k, path, depth + 1, x);
		break;
	case 5: case 6: case 7:
		ck_assert_int_eq(mknod(path, S_IFCHR | 0600, makedev(0, 0)), 0);
		return;
	case 8:
		random_symlink(k, path);
		break;
	case 9:
		ck_assert_int_eq(mknod(path, (pick(k, 2) ? S_IFCHR : S_IFBLK) | 0600, devs[pick(k, 4)]), 0);
		break;
	case 10:
		ck_assert_int_eq(mknod(path, (pick(k, 2) ? S_IFIFO : S_IFSOCK) | 0600, 0), 0);
		break;
	case 11:
		if (k->n_links && !link(k->links[pick(k, k->n_links)], path))
			return;
		random_file(k, path);
		break;
	case 12:
		if (x) {
			kit_file(path, "", 0);
			snprintf(name, sizeof(name), "%swhiteout", k->own);
			ck_assert_int_eq(lsetxattr(path, name, "", 0, 0), 0);
			return;
		}
		/* fall through */
	default:
		random_file(k, path);
	}
	random_owner(k, path);
}

/* @x: the layer uses attributes as whiteouts. */
static void random_dir(struct maker *k, const char *path, unsigned int depth, bool x)
{
	unsigned int i, n = depth > 3 ? 0 : pick(k, depth ? 7 : 14);
	char child[PATH_MAX], name[64];
	struct stat st;

	snprintf(name, sizeof(name), "%sopaque", k->own);
	if (x)
		ck_assert_int_eq(lsetxattr(path, name, "x", 1, 0), 0);
	for (i = 0; i < n && k->left; i++) {
		snprintf(child, sizeof(child), "%s/%s", path, pick_name(k));
		if (!lstat(child, &st))
			continue;
		k->left--;
		random_entry(k, child, depth, x);
	}
	if (depth && !x && !pick(k, 5))
		ck_assert_int_eq(lsetxattr(path, name, "y", 1, 0), 0);
}

/* Makes a stack below the working directory and mounts it on "m". */
static void random_stack(uint64_t seed)
{
	struct maker *k = mem_new(struct maker);
	char opts[4096], cwd[256];
	unsigned int n, i;
	bool upper, user;
	size_t at;

	ck_assert_ptr_nonnull(k);
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	k->rng = seed;
	k->modern = kit_kernel(6, 8);
	n = 2 + pick(k, LAYERS_MAX - 1);
	upper = pick(k, 2);
	user = !pick(k, 4);
	k->own = user ? "user.overlay." : "trusted.overlay.";
	at = (size_t)snprintf(opts, sizeof(opts), "%slowerdir=", user ? "userxattr," : "");
	for (i = 0; i < n; i++) {
		char dir[300];

		snprintf(dir, sizeof(dir), "%s/L%u", cwd, i);
		kit_dirs(dir);
		k->lower = !upper || i;
		k->left = 60;
		k->n_links = 0;
		random_dir(k, dir, 0, k->modern && k->lower && !pick(k, 4));
		random_owner(k, dir);
		if (!upper || i)
			at += (size_t)snprintf(opts + at, sizeof(opts) - at, "%s:", dir);
	}
	opts[--at] = 0;
	if (upper)
		snprintf(opts + at, sizeof(opts) - at, ",upperdir=%s/L0,workdir=%s/w", cwd, cwd);
	kit_dirs("w");
	kit_dirs("m");
	kit_dirs("e");
	ck_assert_msg(kit_overlay(opts, "m") == 0, "%s: %s", opts, strerror(errno));
	free(k);
}

START_TEST(random_stacks)
{
	uint64_t seed = first_seed + (uint64_t)_i;
	char image[300], cwd[256];
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	random_stack(seed);
	ck_assert_msg(kit_export("m", image, &e) == 0, "SEED=%llu: %s",
		      (unsigned long long)seed, e.text);
	ck_assert_msg(kit_fsck(image, &e) == 0, "SEED=%llu: %s", (unsigned long long)seed, e.text);
	ck_assert_int_eq(kit_erofs(image, "e"), 0);
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, "SEED=%llu: %s",
		      (unsigned long long)seed, e.text);
}
END_TEST

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

START_TEST(redirect_is_named)
{
	struct err e = { 0 };

	kit_dirs("up/some/dir");
	ck_assert_int_eq(setxattr("up/some/dir", "trusted.overlay.redirect", "/x", 2, 0), 0);
	two_layers();
	ck_assert_int_eq(map(&e), -EOPNOTSUPP);
	ck_assert_msg(strstr(e.text, "some/dir") && strstr(e.text, "redirect"), "%s", e.text);
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
	first_seed = kit_seed("storage_layers");
	t = tcase_create("random");
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_loop_test(t, random_stacks, 0, getenv("SEED") ? 1 : ROUNDS);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	t = tcase_create("limits");
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_test(t, redirect_is_named);
	tcase_add_test(t, metacopy);
	tcase_add_test(t, stale_options);
	tcase_add_test(t, mount_in_layer);
	tcase_add_test(t, deep_tree);
	tcase_add_test(t, many_levels);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
