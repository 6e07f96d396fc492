// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Corners of the EROFS format: what the random stacks of storage_layers rarely or
 * never hit. Each disk is checked by fsck.erofs, mounted, and compared with the
 * overlay; what the format cannot hold must be refused by name.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "storage/erofs.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *storage_erofs_suite(void);

static char cwd[256], image[300];

static void mount_layers(void)
{
	char opts[1200];

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	kit_dirs("low");
	kit_dirs("up");
	kit_dirs("w");
	kit_dirs("m");
	kit_dirs("e");
	snprintf(opts, sizeof(opts), "lowerdir=%s/low,upperdir=%s/up,workdir=%s/w", cwd, cwd, cwd);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
}

static void round_trip(void)
{
	struct err e = { 0 };

	mount_layers();
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_msg(kit_fsck(image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(kit_erofs(image, "e"), 0);
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, "%s", e.text);
}

static void refused(int rc, const char *path, const char *why)
{
	struct err e = { 0 };

	mount_layers();
	ck_assert_int_eq(kit_export("m", image, &e), rc);
	ck_assert_msg(strstr(e.text, path) && strstr(e.text, why), "%s", e.text);
	ck_assert_int_ne(access(image, F_OK), 0);
}

START_TEST(empty)
{
	round_trip();
}
END_TEST

/* Entries around each border of a block, and what sorts before "." and between dots. */
START_TEST(directory_sizes)
{
	char path[600], name[256];
	unsigned int i, n, at;

	for (n = 0; n < 60; n++) {
		for (i = 0; i < n; i++) {
			memset(name, (int)('a' + i % 26), sizeof(name));
			at = 1 + (n * 7 + i * 31) % 250;
			snprintf(name + at, sizeof(name) - at, "%u", i);
			snprintf(path, sizeof(path), "low/d%u", n);
			kit_dirs(path);
			snprintf(path, sizeof(path), "low/d%u/%s", n, name);
			kit_file(path, "", 0);
		}
	}
	kit_dirs("low/dots");
	kit_file("low/dots/!", "", 0);
	kit_file("low/dots/-", "", 0);
	kit_file("low/dots/.!", "", 0);
	kit_file("low/dots/.-", "", 0);
	kit_file("low/dots/..!", "", 0);
	kit_file("low/dots/...", "", 0);
	kit_file("low/dots/.a", "", 0);
	kit_file("low/dots/\x01", "", 0);
	kit_file("low/dots/\xff", "", 0);
	round_trip();
}
END_TEST

START_TEST(full_blocks)
{
	char path[400], name[256];
	int k, i;

	/* 4096 = 13 + 14 for the dots + the rest: exactly full, one less, one more. */
	for (k = -1; k <= 1; k++) {
		snprintf(path, sizeof(path), "low/full%d", k);
		kit_dirs(path);
		for (i = 0; i < 16; i++) {
			int len = i < 15 ? 255 : (4096 - 27 - 15 * 267 - 12) + k;

			memset(name, 'n', sizeof(name));
			name[0] = (char)('a' + i);
			name[len] = 0;
			snprintf(path, sizeof(path), "low/full%d/%s", k, name);
			kit_file(path, "x", 1);
		}
	}
	round_trip();
}
END_TEST

START_TEST(large_directory)
{
	struct err e = { 0 };
	char path[64];
	struct stat st;
	int i;

	kit_dirs("low/big");
	kit_file("low/big/0", "x", 1);
	for (i = 1; i < 100000; i++) {
		snprintf(path, sizeof(path), "low/big/%d", i);
		/* Quicker than files; one has at most 65000 names on ext4. */
		if (link(i < 50000 ? "low/big/0" : "low/big/50000", path)) {
			ck_assert_int_eq(errno, ENOENT);
			kit_file(path, "y", 1);
		}
	}
	mount_layers();
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_msg(kit_fsck(image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(kit_erofs(image, "e"), 0);
	for (i = 0; i < 100000; i++) {
		snprintf(path, sizeof(path), "e/big/%d", i);
		ck_assert_msg(lstat(path, &st) == 0, "%s", path);
	}
	ck_assert_int_ne(lstat("e/big/100000", &st), 0);
}
END_TEST

START_TEST(symlink_lengths)
{
	char target[4096], path[64];
	int i;

	memset(target, 'x', sizeof(target));
	kit_dirs("low");
	/* Around what fits behind an inode, and the longest. */
	for (i = 0; i < 90; i++) {
		int len = i < 80 ? 3990 + i : 4095 - (i - 80);

		target[len] = 0;
		snprintf(path, sizeof(path), "low/s%d", i);
		ck_assert_int_eq(symlink(target, path), 0);
		target[len] = 'x';
	}
	round_trip();
}
END_TEST

START_TEST(devices)
{
	kit_dirs("low");
	ck_assert_int_eq(mknod("low/null", S_IFCHR | 0666, makedev(1, 3)), 0);
	ck_assert_int_eq(mknod("low/most", S_IFBLK | 0666, makedev(4095, 1048575)), 0);
	ck_assert_int_eq(mknod("low/minor", S_IFCHR | 0666, makedev(0, 256)), 0);
	ck_assert_int_eq(mknod("low/fifo", S_IFIFO | 04777, 0), 0);
	ck_assert_int_eq(mknod("low/sock", S_IFSOCK | 0777, 0), 0);
	round_trip();
}
END_TEST

/* tmpfs has room for long attributes, which ext4 keeps in one block. */
static bool layers_on_tmpfs(void)
{
	char value[1] = { 0 };
	bool ok;

	kit_dirs("t");
	ck_assert_int_eq(mount("t", "t", "tmpfs", 0, NULL), 0);
	ck_assert_int_eq(chdir("t"), 0);
	kit_file("probe", "", 0);
	ok = !setxattr("probe", "trusted.x", value, 1, 0);
	unlink("probe");
	return ok;
}

START_TEST(attribute_sizes)
{
	static char value[65536];
	char path[64], name[32];
	int i, k;

	ck_assert(layers_on_tmpfs());
	memset(value, 'v', sizeof(value));
	kit_dirs("low");
	for (i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "low/f%d", i);
		kit_file(path, "x", 1);
		for (k = 0; k <= i % 4; k++) {
			snprintf(name, sizeof(name), "trusted.%.*s", 1 + k, "abcde");
			ck_assert_int_eq(setxattr(path, name, value, (size_t)(i * 1700 % 65536), 0), 0);
		}
		snprintf(path, sizeof(path), "low/d%d", i);
		kit_dirs(path);
		ck_assert_int_eq(setxattr(path, "trusted.d", value, (size_t)(3900 + i * 5), 0), 0);
	}
	ck_assert_int_eq(setxattr("low", "trusted.root", value, 65535, 0), 0);
	round_trip();
}
END_TEST

START_TEST(attribute_too_long)
{
	static char value[65536];

	ck_assert(layers_on_tmpfs());
	kit_dirs("low/etc");
	kit_file("low/etc/long", "", 0);
	ck_assert_int_eq(setxattr("low/etc/long", "trusted.x", value, 65536, 0), 0);
	refused(-EOPNOTSUPP, "etc/long", "65535");
}
END_TEST

START_TEST(attributes_too_many)
{
	static char value[65535];
	char name[32];
	int i;

	ck_assert(layers_on_tmpfs());
	kit_dirs("low/etc");
	kit_file("low/etc/many", "", 0);
	for (i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "trusted.n%d", i);
		if (setxattr("low/etc/many", name, value, sizeof(value), 0))
			return;
	}
	refused(-EOPNOTSUPP, "etc/many", "256 KiB");
}
END_TEST

/* Files with the same label: it is there once, and each file refers to it. */
START_TEST(shared_attributes)
{
	static const char label[] = "system_u:object_r:container_file_t:s0:c1,c2";
	struct stat with, without;
	struct err e = { 0 };
	char path[64];
	int i;

	for (i = 0; i < 2000; i++) {
		snprintf(path, sizeof(path), "low/d%d", i % 10);
		kit_dirs(path);
		snprintf(path, sizeof(path), "low/d%d/f%d", i % 10, i);
		kit_file(path, "", 0);
	}
	mount_layers();
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(stat(image, &without), 0);
	ck_assert_int_eq(unlink(image), 0);
	for (i = 0; i < 2000; i++) {
		snprintf(path, sizeof(path), "low/d%d/f%d", i % 10, i);
		ck_assert_int_eq(setxattr(path, "security.selinux", label, sizeof(label), 0), 0);
		if (i == 7)
			ck_assert_int_eq(setxattr(path, "trusted.own", "1", 1, 0), 0);
	}
	ck_assert_int_eq(umount("m"), 0);
	round_trip();
	ck_assert_int_eq(stat(image, &with), 0);
	/* A head and a number for each, rounded up to what inodes are aligned to. */
	ck_assert_int_le(with.st_size, without.st_size + 2000 * 32 + 8192);
}
END_TEST

/* More than an inode can refer to. */
START_TEST(many_shared_attributes)
{
	char path[64], name[32], value[100];
	int i, k;

	ck_assert(layers_on_tmpfs());
	kit_dirs("low");
	memset(value, 'v', sizeof(value));
	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "low/f%d", i);
		kit_file(path, "", 0);
		for (k = 0; k < 300; k++) {
			snprintf(name, sizeof(name), "trusted.%d", k);
			if (setxattr(path, name, value, sizeof(value), 0))
				break;
		}
	}
	/* A short one is shorter than a number. */
	ck_assert_int_eq(setxattr("low/f0", "user.a", "", 0, 0), 0);
	ck_assert_int_eq(setxattr("low/f1", "user.a", "", 0, 0), 0);
	round_trip();
}
END_TEST

START_TEST(disk_too_large)
{
	_cleanup_close_ int fd = -1;

	/* tmpfs takes the size; ext4 does not. */
	layers_on_tmpfs();
	kit_dirs("low/var");
	fd = open("low/var/sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, INT64_MAX), 0);
	refused(-EFBIG, "var/sparse", "16 TiB");
}
END_TEST

START_TEST(sparse_file)
{
	_cleanup_close_ int fd = -1;
	struct err e = { 0 };
	struct stat st;

	kit_dirs("low");
	fd = open("low/sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, 64 << 20), 0);
	ck_assert_int_eq(pwrite(fd, "end", 3, (64 << 20) - 3), 3);
	mount_layers();
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(stat(image, &st), 0);
	ck_assert_int_eq(st.st_size % EROFS_BLOCK_BYTES, 0);
	ck_assert_msg(kit_fsck(image, &e) == 0, "%s", e.text);
}
END_TEST

/* The same tree must give the same disk: templates and caches depend on it. */
START_TEST(deterministic)
{
	char other[310];
	struct err e = { 0 };
	_cleanup_close_ int a = -1, b = -1;
	char ba[4096], bb[4096];
	ssize_t n;

	kit_dirs("low/a/b/c");
	kit_file("low/a/x", "1", 1);
	kit_file("low/y", "2", 1);
	mount_layers();
	snprintf(other, sizeof(other), "%s.2", image);
	ck_assert_int_eq(kit_export("m", image, &e), 0);
	ck_assert_int_eq(kit_export("m", other, &e), 0);
	a = open(image, O_RDONLY | O_CLOEXEC);
	b = open(other, O_RDONLY | O_CLOEXEC);
	do {
		n = read(a, ba, sizeof(ba));
		ck_assert_int_eq(read(b, bb, sizeof(bb)), n);
		ck_assert_int_eq(memcmp(ba, bb, (size_t)n), 0);
	} while (n);
}
END_TEST

/* A bit that flips in the first block must be noticed by the checksum. */
START_TEST(checksum)
{
	_cleanup_close_ int fd = -1;
	struct err e = { 0 };

	mount_layers();
	ck_assert_int_eq(kit_export("m", image, &e), 0);
	fd = open(image, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "X", 1, 4000), 1);
	ck_assert_int_ne(mount(image, "e", "erofs", MS_RDONLY, NULL), 0);
}
END_TEST

Suite *storage_erofs_suite(void)
{
	Suite *s = suite_create("storage_erofs");
	const char *why = kit_storage_missing(true);
	TCase *t = tcase_create("corners");

	if (why) {
		kit_skip("storage_erofs", why);
		return s;
	}
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_test(t, empty);
	tcase_add_test(t, directory_sizes);
	tcase_add_test(t, full_blocks);
	tcase_add_test(t, large_directory);
	tcase_add_test(t, symlink_lengths);
	tcase_add_test(t, devices);
	tcase_add_test(t, shared_attributes);
	if (kit_kernel(6, 6)) {
		tcase_add_test(t, attribute_sizes);
		tcase_add_test(t, many_shared_attributes);
		tcase_add_test(t, attribute_too_long);
		tcase_add_test(t, attributes_too_many);
	} else {
		kit_skip("storage_erofs attributes", "tmpfs takes long ones since Linux 6.6");
	}
	tcase_add_test(t, disk_too_large);
	tcase_add_test(t, sparse_file);
	tcase_add_test(t, deterministic);
	tcase_add_test(t, checksum);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
