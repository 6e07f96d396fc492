// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The cache of layers: what is kept and what is not, that a change is noticed, that
 * damage does no harm, and that nothing about it can fail a map. That a disk from the
 * cache is the same disk is shown by storage_property for all shapes of layers.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "storage/cache.h"
#include "storage/cachefile.h"
#include "storage/disk.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *storage_cache_suite(void);

/* Longer ago than what a file system's grain of times could hide. */
#define OLD 10

static void layers(void)
{
	kit_dirs("low/etc/conf.d");
	kit_dirs("low/empty");
	kit_file("low/etc/a", "aaa", 3);
	kit_file("low/etc/none", "", 0);
	kit_file("low/etc/zz", "zzz", 3);
	ck_assert_int_eq(symlink("a", "low/etc/s"), 0);
	ck_assert_int_eq(link("low/etc/a", "low/etc/conf.d/b"), 0);
	ck_assert_int_eq(setxattr("low/etc", "trusted.x", "value", 5, 0), 0);
	kit_dirs("low2/usr");
	kit_file("low2/usr/c", "ccc", 3);
	kit_dirs("up");
	kit_file("up/u", "u", 1);
}

static void mount_layers(void)
{
	char opts[1200], cwd[256];

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("m");
	kit_dirs("w");
	snprintf(opts, sizeof(opts), "lowerdir=%s/low:%s/low2,upperdir=%s/up,workdir=%s/w", cwd, cwd,
		 cwd, cwd);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
}

static struct storage_map *map(const char *cache)
{
	struct storage_request req = { .rootfs = "m", .serial_stem = "t", .cache_dir = cache };
	struct storage_map *m = NULL;
	struct err e = { 0 };

	ck_assert_msg(storage_map_rootfs(&req, &m, &e) == 0, "%s", e.text);
	return m;
}

/* How many layers a map takes from the cache. */
static uint64_t known(const char *cache)
{
	struct storage_map *m = map(cache);
	uint64_t n = storage_map_stats(m)->cached;

	storage_map_free(m);
	return n;
}

static int count_entry(void *arg, const struct cache_entry *x, struct err *e)
{
	(void)e;
	ck_assert_int_ne(x->name[0], 0);
	++*(int *)arg;
	return 0;
}

static int entries(const char *path)
{
	struct cache *c = NULL;
	struct err e = { 0 };
	int n = 0;

	ck_assert_msg(cache_open(path, &c, &e) == 0, "%s", e.text);
	ck_assert_int_eq(cache_each(c, count_entry, &n, &e), 0);
	cache_free(c);
	return n;
}

START_TEST(kept)
{
	struct stat st;

	layers();
	mount_layers();
	/* Too new: a change now could have the same time. */
	ck_assert_uint_eq(known("c/layers"), 0);
	ck_assert_int_eq(entries("c/layers"), 0);
	kit_time_shift(OLD);
	ck_assert_uint_eq(known("c/layers"), 0);
	ck_assert_int_eq(entries("c/layers"), 2);
	ck_assert_uint_eq(known("c/layers"), 2);
	ck_assert_int_eq(stat("c/layers", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_uint_eq(known(NULL), 0);
}
END_TEST

/* The upper directory changes all the time and is never kept. */
START_TEST(upper_is_read)
{
	struct storage_map *m;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	kit_file("m/new", "new", 3);
	m = map("c");
	ck_assert_uint_eq(storage_map_stats(m)->cached, 2);
	/* a, b: one file; zz, c, u, new. */
	ck_assert_uint_eq(storage_map_stats(m)->files, 5);
	storage_map_free(m);
}
END_TEST

static void add_name(void)
{
	kit_file("low/etc/new", "x", 1);
}

static void remove_name(void)
{
	ck_assert_int_eq(unlink("low/etc/none"), 0);
}

static void rename_name(void)
{
	ck_assert_int_eq(rename("low/etc/none", "low/etc/nine"), 0);
}

static void swap_names(void)
{
	ck_assert_int_eq(rename("low/etc/none", "low/etc/t"), 0);
	ck_assert_int_eq(rename("low/etc/a", "low/etc/none"), 0);
	ck_assert_int_eq(rename("low/etc/t", "low/etc/a"), 0);
}

static void replace_file(void)
{
	kit_file("low/t", "bbb", 3);
	ck_assert_int_eq(rename("low/t", "low/etc/a"), 0);
}

static void deep_name(void)
{
	kit_file("low/etc/conf.d/c", "", 0);
}

static void dir_mode(void)
{
	ck_assert_int_eq(chmod("low/empty", 0711), 0);
}

static void dir_attribute(void)
{
	ck_assert_int_eq(setxattr("low/empty", "trusted.y", "1", 1, 0), 0);
}

static void dir_opaque(void)
{
	ck_assert_int_eq(setxattr("low/etc", "trusted.overlay.opaque", "y", 1, 0), 0);
}

static void dir_becomes_link(void)
{
	ck_assert_int_eq(rename("low/etc", "low/was"), 0);
	ck_assert_int_eq(symlink("was", "low/etc"), 0);
}

static void another_layer(void)
{
	ck_assert_int_eq(rename("low", "old"), 0);
	kit_dirs("low/etc/conf.d");
	kit_dirs("low/empty");
}

static void root_mode(void)
{
	ck_assert_int_eq(chmod("low", 0711), 0);
}

static void (*const changes[])(void) = {
	add_name, remove_name, rename_name, swap_names, replace_file, deep_name, dir_mode,
	dir_attribute, dir_opaque, dir_becomes_link, another_layer, root_mode,
};

/* A changed layer is read anew, at once, and the disk is that of the changed layer. */
START_TEST(change_noticed)
{
	char cached[300], plain[300], cwd[256];
	struct err e = { 0 };
	uint64_t n;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(cached, sizeof(cached), "%s/cached", cwd);
	snprintf(plain, sizeof(plain), "%s/plain", cwd);
	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	ck_assert_uint_eq(known("c"), 2);
	ck_assert_int_eq(umount("m"), 0);
	changes[_i]();
	mount_layers();
	ck_assert_msg(kit_export_cached("m", "c", cached, &n, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(kit_export("m", plain, &e), 0);
	ck_assert_int_eq(kit_erofs(plain, "m"), 0);
	kit_dirs("e");
	ck_assert_int_eq(kit_erofs(cached, "e"), 0);
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, "%s", e.text);
	ck_assert_int_eq(umount("m"), 0);
	ck_assert_uint_eq(known("c"), 2);
}
END_TEST

/* A file that was changed in place shows when it is opened; then the layer is read anew. */
START_TEST(change_in_place)
{
	struct storage_map *m;
	struct err e = { 0 };
	uint32_t i, stale = 0;
	int fd;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	kit_file("low/etc/zz", "new", 3);
	m = map("c");
	ck_assert_uint_eq(storage_map_stats(m)->cached, 2);
	for (i = 0; i < storage_map_stats(m)->files; i++) {
		int rc = storage_map_open(m, i, &fd, &e);

		if (!rc)
			close(fd);
		else
			ck_assert_int_eq(rc, -ESTALE);
		stale += rc == -ESTALE;
	}
	ck_assert_uint_eq(stale, 1);
	storage_map_free(m);
	m = map("c");
	ck_assert_uint_eq(storage_map_stats(m)->cached, 1);
	for (i = 0; i < storage_map_stats(m)->files; i++) {
		ck_assert_msg(storage_map_open(m, i, &fd, &e) == 0, "%s", e.text);
		close(fd);
	}
	storage_map_free(m);
}
END_TEST

/* One of those that are compared with what is mounted: all is read anew at once. */
START_TEST(change_in_place_seen)
{
	struct storage_map *m;
	struct err e = { 0 };
	uint32_t i;
	int fd;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	kit_file("low/etc/a", "new", 3);
	m = map("c");
	ck_assert_uint_eq(storage_map_stats(m)->cached, 0);
	for (i = 0; i < storage_map_stats(m)->files; i++) {
		ck_assert_msg(storage_map_open(m, i, &fd, &e) == 0, "%s", e.text);
		close(fd);
	}
	storage_map_free(m);
	ck_assert_uint_eq(known("c"), 2);
}
END_TEST

START_TEST(mount_in_layer)
{
	struct storage_request req = { .rootfs = "m", .serial_stem = "t", .cache_dir = "c" };
	struct storage_map *m = NULL;
	struct err e = { 0 };

	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	ck_assert_int_eq(mount("t", "low/empty", "tmpfs", 0, NULL), 0);
	ck_assert_int_eq(storage_map_rootfs(&req, &m, &e), -EXDEV);
	ck_assert_msg(strstr(e.text, "empty"), "%s", e.text);
	ck_assert_int_eq(umount("low/empty"), 0);
}
END_TEST

static char *first_entry(void)
{
	static char path[300];
	struct dirent *d;
	DIR *dir = opendir("c");

	while ((d = readdir(dir)) && d->d_name[0] == '.')
		;
	ck_assert_ptr_nonnull(d);
	snprintf(path, sizeof(path), "c/%s", d->d_name);
	closedir(dir);
	return path;
}

/* Every byte wrong, every length: read anew, and written anew. */
START_TEST(damaged)
{
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	size_t len, at;
	const char *path;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	path = first_entry();
	ck_assert_int_eq(file_read(AT_FDCWD, path, 1 << 20, &text, &len, &e), 0);
	for (at = 0; at < len; at += 1 + len / kit_rounds(100)) {
		text[at] ^= 0x40;
		ck_assert_int_eq(file_replace(AT_FDCWD, path, text, len, 0600, &e), 0);
		ck_assert_uint_eq(known("c"), 1);
		ck_assert_uint_eq(known("c"), 2);
		text[at] ^= 0x40;
		ck_assert_int_eq(file_replace(AT_FDCWD, path, text, at, 0600, &e), 0);
		ck_assert_uint_eq(known("c"), 1);
	}
	ck_assert_uint_eq(known("c"), 2);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_uint_eq(known("c"), 1);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_uint_eq(known("c"), 1);
}
END_TEST

/* One that is whole, but another layer's. */
START_TEST(of_another_layer)
{
	char a[300], b[300];

	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	snprintf(a, sizeof(a), "%s", first_entry());
	ck_assert_int_eq(rename(a, "c/.a"), 0);
	snprintf(b, sizeof(b), "%s", first_entry());
	ck_assert_int_eq(rename(b, a), 0);
	ck_assert_int_eq(rename("c/.a", b), 0);
	ck_assert_uint_eq(known("c"), 0);
	ck_assert_uint_eq(known("c"), 2);
}
END_TEST

START_TEST(unsafe_directory)
{
	struct cache *c = NULL;
	struct err e = { 0 };

	layers();
	mount_layers();
	kit_time_shift(OLD);
	ck_assert_int_eq(mkdir("open", 0755), 0);
	ck_assert_int_eq(cache_open("open", &c, &e), -EPERM);
	ck_assert_msg(strstr(e.text, "0700"), "%s", e.text);
	ck_assert_uint_eq(known("open"), 0);
	ck_assert_uint_eq(known("open"), 0);
	ck_assert_int_eq(mkdir("other", 0700), 0);
	ck_assert_int_eq(chown("other", 1, 1), 0);
	ck_assert_int_eq(cache_open("other", &c, &e), -EPERM);
	ck_assert_int_eq(mkdir("own", 0700), 0);
	ck_assert_int_eq(symlink("own", "link"), 0);
	ck_assert_int_lt(cache_open("link", &c, &e), 0);
	kit_file("file", "x", 1);
	ck_assert_int_lt(cache_open("file", &c, &e), 0);
	ck_assert_int_lt(cache_open("file/below", &c, &e), 0);
	ck_assert_uint_eq(known("file/below"), 0);
	ck_assert_ptr_null(c);
}
END_TEST

/* No space, too little of it, and files that can only be read. */
START_TEST(full_disk)
{
	layers();
	mount_layers();
	kit_time_shift(OLD);
	kit_dirs("c");
	ck_assert_int_eq(mount("t", "c", "tmpfs", 0, "size=1m,mode=0700"), 0);
	ck_assert_uint_eq(known("c"), 0);
	ck_assert_int_eq(entries("c"), 0);
	ck_assert_int_eq(mount("t", "c", "tmpfs", MS_REMOUNT | MS_RDONLY, "size=1g,mode=0700"), 0);
	ck_assert_uint_eq(known("c"), 0);
	ck_assert_uint_eq(known("c"), 0);
	ck_assert_int_eq(umount("c"), 0);
}
END_TEST

/* The n-th write or allocation fails: the map is made, or fails for another reason. */
START_TEST(faults)
{
	struct storage_request req = { .rootfs = "m", .serial_stem = "t", .cache_dir = "c" };
	unsigned int n;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	for (n = 1;; n++) {
		struct storage_map *m = NULL;
		struct err e = { 0 };
		int rc;

		kit_fault_arm(KIT_FAULT_FILES, n, ENOSPC);
		rc = storage_map_rootfs(&req, &m, &e);
		/* The size of the disk's table is no matter of the cache. */
		ck_assert_msg(rc == 0 || strstr(e.text, "disk table"), "%s", e.text);
		storage_map_free(m);
		if (!kit_fault_fired())
			break;
		dir_remove(AT_FDCWD, "c", &e);
	}
	ck_assert_uint_gt(n, 2);
	for (n = 1; n < 2000; n++) {
		struct storage_map *m = NULL;
		struct err e = { 0 };

		kit_fault_arm(KIT_FAULT_MEMORY, n, 0);
		ck_assert(storage_map_rootfs(&req, &m, &e) == 0 || e.text[0]);
		storage_map_free(m);
		if (!kit_fault_fired())
			break;
		if (n % 2)
			dir_remove(AT_FDCWD, "c", &e);
	}
	ck_assert_uint_eq(known("c"), 2);
}
END_TEST

static void *map_often(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 40; i++) {
		known("c");
		if (i % 7 == 0) {
			struct cache *c = NULL;
			struct err e;
			int fd = open("low", O_PATH | O_DIRECTORY | O_CLOEXEC);

			if (!cache_open("c", &c, &e))
				cache_drop(c, fd, false);
			cache_free(c);
			close(fd);
		}
	}
	return NULL;
}

/* Pods that start at the same time, and one that forgets. */
START_TEST(concurrent)
{
	pthread_t id[4];
	int i;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&id[i], NULL, map_often, NULL), 0);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(id[i], NULL), 0);
	known("c");
	ck_assert_uint_eq(known("c"), 2);
	ck_assert_int_eq(entries("c"), 2);
}
END_TEST

/* A file system that has no files without a name, and what a crash leaves there. */
START_TEST(no_tmpfile)
{
	const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	char path[300], hidden[320];
	struct stat st;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	kit_no_tmpfile();
	known("c");
	ck_assert_int_eq(entries("c"), 2);
	ck_assert_uint_eq(known("c"), 2);
	snprintf(path, sizeof(path), "%s", first_entry());
	snprintf(hidden, sizeof(hidden), "c/.%s", path + 2);
	ck_assert_int_ne(lstat(hidden, &st), 0);
	/* Another writer is at it: it is left alone. */
	ck_assert_int_eq(rename(path, hidden), 0);
	ck_assert_uint_eq(known("c"), 1);
	ck_assert_int_eq(lstat(hidden, &st), 0);
	/* It is long dead. */
	ck_assert_int_eq(utimensat(AT_FDCWD, hidden, old, 0), 0);
	ck_assert_uint_eq(known("c"), 1);
	ck_assert_int_ne(lstat(hidden, &st), 0);
	ck_assert_uint_eq(known("c"), 1);
	ck_assert_uint_eq(known("c"), 2);
}
END_TEST

static int good_entry(void *arg, const struct cache_entry *x, struct err *e)
{
	(void)arg;
	(void)e;
	ck_assert_msg(!x->gone && x->layer[0] == '/', "%s", x->name);
	return 0;
}

/* SIGKILL at any moment: a file is there whole or not at all. */
START_TEST(killed)
{
	struct cache *c = NULL;
	struct err e = { 0 };
	unsigned int i;

	layers();
	mount_layers();
	kit_time_shift(OLD);
	for (i = 0; i < 60; i++) {
		pid_t pid = fork();

		if (!pid) {
			known("c");
			_exit(0);
		}
		usleep(200 * i);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		ck_assert_int_eq(cache_open("c", &c, &e), 0);
		ck_assert_int_eq(cache_each(c, good_entry, NULL, &e), 0);
		cache_free(c);
		if (i % 3 == 0)
			dir_remove(AT_FDCWD, "c", &e);
	}
	known("c");
	ck_assert_uint_eq(known("c"), 2);
}
END_TEST

struct seen {
	int gone, there, damaged;
};

static int sweep(void *arg, const struct cache_entry *x, struct err *e)
{
	struct seen *s = arg;

	(void)e;
	ck_assert_int_gt(x->used_s, 0);
	s->damaged += !x->layer[0];
	s->gone += x->gone;
	s->there += !x->gone;
	return x->gone;
}

START_TEST(swept)
{
	struct cache *c = NULL;
	struct seen s = { 0 };
	struct err e = { 0 };

	layers();
	mount_layers();
	kit_time_shift(OLD);
	known("c");
	kit_file("c/junk", "junk", 4);
	ck_assert_int_eq(umount("m"), 0);
	ck_assert_int_eq(cache_open("c", &c, &e), 0);
	ck_assert_int_eq(cache_each(c, sweep, &s, &e), 0);
	ck_assert(s.gone == 1 && s.damaged == 1 && s.there == 2);
	ck_assert_int_eq(entries("c"), 2);
	/* Another directory of the same name is another layer. */
	ck_assert_int_eq(rename("low", "moved"), 0);
	kit_dirs("low");
	ck_assert_int_eq(rename("low2", "moved2"), 0);
	memset(&s, 0, sizeof(s));
	ck_assert_int_eq(cache_each(c, sweep, &s, &e), 0);
	ck_assert(s.gone == 2 && !s.damaged);
	ck_assert_int_eq(entries("c"), 0);
	cache_free(c);
}
END_TEST

Suite *storage_cache_suite(void)
{
	Suite *s = suite_create("storage_cache");
	const char *why = kit_storage_missing(true);
	TCase *t = tcase_create("cache");

	if (why) {
		kit_skip("storage_cache", why);
		return s;
	}
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_test(t, kept);
	tcase_add_test(t, upper_is_read);
	tcase_add_loop_test(t, change_noticed, 0, (int)ARRAY_LEN(changes));
	tcase_add_test(t, change_in_place);
	tcase_add_test(t, change_in_place_seen);
	tcase_add_test(t, mount_in_layer);
	tcase_add_test(t, damaged);
	tcase_add_test(t, of_another_layer);
	tcase_add_test(t, unsafe_directory);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, faults);
	tcase_add_test(t, concurrent);
	tcase_add_test(t, no_tmpfile);
	tcase_add_test(t, killed);
	tcase_add_test(t, swept);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
