// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Trees that change while they are used, and names that are made to confuse. What a
 * broker hands out must be the file that was mapped, or -ESTALE; never another file,
 * least of all one outside of the layer.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "storage/disk.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *storage_hostile_suite(void);

#define OPENS 3000

static void mount_layers(const char *lower)
{
	char opts[1200], cwd[256];

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("low2");
	kit_dirs("up");
	kit_dirs("w");
	kit_dirs("m");
	kit_dirs("e");
	snprintf(opts, sizeof(opts), "lowerdir=%s/%s:%s/low2,upperdir=%s/up,workdir=%s/w", cwd,
		 lower, cwd, cwd, cwd);
	ck_assert_msg(kit_overlay(opts, "m") == 0, "%s", strerror(errno));
}

static int try_map(struct storage_map **ret, struct err *e)
{
	struct storage_request req = { .rootfs = "m", .serial_stem = "t", .cache_dir = "c" };

	return storage_map_rootfs(&req, ret, e);
}

static struct storage_map *map(void)
{
	struct storage_map *m = NULL;
	struct err e = { 0 };

	ck_assert_msg(try_map(&m, &e) == 0, "%s", e.text);
	return m;
}

/* ---- changing while the broker runs ------------------------------------------------ */

static void exchange(const char *a, const char *b)
{
	ck_assert_int_eq(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
}

/* The file becomes a symlink to the secret and is itself again. */
static void swap_file(void)
{
	exchange("low/dir/sub/file", "link");
}

/* A directory on the way becomes a symlink to where the secret has the same name. */
static void swap_dir(void)
{
	exchange("low/dir", "dirlink");
}

/* The directory is moved out of the layer: what is looked up below it then escapes. */
static void swap_out(void)
{
	exchange("low/dir", "outside/dir");
}

/* Another file of the same size and time. */
static void swap_twin(void)
{
	exchange("low/dir/sub/file", "low/dir/sub/twin");
}

static void (*const swaps[])(void) = { swap_file, swap_dir, swap_out, swap_twin };

struct swapper {
	void (*swap)(void);
	atomic_bool stop;
	atomic_uint turns;
};

static void *swap_thread(void *arg)
{
	struct swapper *s = arg;

	while (!atomic_load(&s->stop)) {
		s->swap();
		atomic_fetch_add(&s->turns, 1);
	}
	return NULL;
}

static void make_secret(const char *dir)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/sub", dir);
	kit_dirs(path);
	snprintf(path, sizeof(path), "%s/sub/file", dir);
	kit_file(path, "secret", 6);
}

START_TEST(race_open)
{
	struct swapper s = { .swap = swaps[_i] };
	struct timespec t[2] = { { 1000, 0 }, { 1000, 0 } };
	unsigned int right = 0, stale = 0, i;
	struct storage_map *m;
	pthread_t id;

	kit_dirs("low/dir/sub");
	kit_file("low/dir/sub/file", "public", 6);
	kit_file("low/dir/sub/twin", "", 0);
	make_secret("outside/dir");
	ck_assert_int_eq(symlink("../../outside/dir/sub/file", "link"), 0);
	ck_assert_int_eq(symlink("outside/dir", "dirlink"), 0);
	mount_layers("low");
	ck_assert_int_eq(utimensat(AT_FDCWD, "low/dir/sub/file", t, 0), 0);
	m = map();
	ck_assert_uint_eq(storage_map_stats(m)->files, 1);
	kit_file("low/dir/sub/twin", "secret", 6);
	ck_assert_int_eq(utimensat(AT_FDCWD, "low/dir/sub/twin", t, 0), 0);
	ck_assert_int_eq(pthread_create(&id, NULL, swap_thread, &s), 0);
	for (i = 0; i < OPENS || atomic_load(&s.turns) < 100; i++) {
		char got[8] = "";
		struct err e = { 0 };
		int fd, rc = storage_map_open(m, 0, &fd, &e);

		/* EAGAIN: the kernel could not be sure that the path stayed inside. */
		if (rc < 0) {
			ck_assert_msg(rc == -ESTALE || rc == -EAGAIN, "%s", e.text);
			stale++;
			continue;
		}
		ck_assert_int_eq(pread(fd, got, sizeof(got), 0), 6);
		ck_assert_mem_eq(got, "public", 6);
		close(fd);
		right++;
	}
	atomic_store(&s.stop, true);
	ck_assert_int_eq(pthread_join(id, NULL), 0);
	ck_assert_uint_eq(right + stale, i);
	storage_map_free(m);
}
END_TEST

/* Mapping while names come and go: a disk or an error, nothing else. */
START_TEST(race_map)
{
	struct swapper s = { .swap = swaps[_i] };
	unsigned int i;
	pthread_t id;

	kit_dirs("low/dir/sub");
	kit_file("low/dir/sub/file", "public", 6);
	kit_file("low/dir/sub/twin", "public", 6);
	make_secret("outside/dir");
	ck_assert_int_eq(symlink("../../outside/dir/sub/file", "link"), 0);
	ck_assert_int_eq(symlink("outside/dir", "dirlink"), 0);
	mount_layers("low");
	kit_time_shift(10);
	ck_assert_int_eq(pthread_create(&id, NULL, swap_thread, &s), 0);
	for (i = 0; i < kit_rounds(30); i++) {
		struct storage_map *m = NULL;
		struct err e = { 0 };
		int rc = try_map(&m, &e);

		ck_assert(!rc == !!m && !rc == !e.text[0]);
		storage_map_free(m);
	}
	atomic_store(&s.stop, true);
	ck_assert_int_eq(pthread_join(id, NULL), 0);
}
END_TEST

/* The layer's directory is another one by now: the map keeps that which was mounted. */
START_TEST(layer_replaced)
{
	struct storage_map *m;
	char got[8] = "";
	struct err e = { 0 };
	int fd;

	kit_dirs("low/dir");
	kit_file("low/dir/file", "public", 6);
	mount_layers("low");
	m = map();
	ck_assert_int_eq(rename("low", "was"), 0);
	kit_dirs("low/dir");
	kit_file("low/dir/file", "secret", 6);
	ck_assert_msg(storage_map_open(m, 0, &fd, &e) == 0, "%s", e.text);
	ck_assert_int_eq(pread(fd, got, sizeof(got), 0), 6);
	ck_assert_mem_eq(got, "public", 6);
	close(fd);
	storage_map_free(m);
	/* What is at the path now is not what is mounted, though it has the same names. */
	m = NULL;
	ck_assert_int_eq(try_map(&m, &e), -ESTALE);
	ck_assert_ptr_null(m);
	ck_assert_msg(strstr(e.text, "dir/file"), "%s", e.text);
}
END_TEST

/* One of many layers, and none of its names is in the root directory alone. */
START_TEST(lower_layer_replaced)
{
	struct storage_map *m = NULL;
	struct err e = { 0 };
	struct stat st;

	kit_dirs("low/usr");
	kit_file("low/usr/a", "aaa", 3);
	kit_dirs("low2/usr");
	kit_file("low2/usr/b", "bbb", 3);
	mount_layers("low");
	storage_map_free(map());
	ck_assert_int_eq(stat("low2/usr/b", &st), 0);
	ck_assert_int_eq(rename("low2", "was"), 0);
	kit_dirs("low2/usr");
	kit_file("low2/usr/b", "BBB", 3);
	ck_assert_int_eq(utimensat(AT_FDCWD, "low2/usr/b", (struct timespec[]){ st.st_atim, st.st_mtim }, 0), 0);
	ck_assert_int_eq(try_map(&m, &e), -ESTALE);
	ck_assert_msg(strstr(e.text, "usr/b"), "%s", e.text);
}
END_TEST

/* ---- names -------------------------------------------------------------------------- */

START_TEST(odd_names)
{
	static const char *const names[] = {
		"new\nline", "tab\t", "back\\slash", "\\012", "co:lon", "com,ma", "quo\"te", "\x01\x7f",
		"\xff\xfe\xfd", "-rf", "a b", "$(id)", "...", "..a", "\xe2\x80\xae", "%s%n",
	};
	char path[600], longest[256], image[300], cwd[256];
	struct err e = { 0 };
	size_t i;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	for (i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "low/%s/%s", names[i], names[ARRAY_LEN(names) - 1 - i]);
		kit_dirs(path);
		snprintf(path, sizeof(path), "low/%s/f%s", names[i], names[i]);
		kit_file(path, names[i], strlen(names[i]));
		snprintf(path, sizeof(path), "low/%s/s", names[i]);
		ck_assert_int_eq(symlink(names[i], path), 0);
	}
	memset(longest, '\n', 255);
	longest[255] = 0;
	snprintf(path, sizeof(path), "low/%s", longest);
	kit_file(path, "x", 1);
	mount_layers("low");
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(kit_erofs(image, "e"), 0);
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, "%s", e.text);
	/* An error about one of them is one line. */
	ck_assert_int_eq(umount("m"), 0);
	snprintf(path, sizeof(path), "low/%s", names[0]);
	ck_assert_int_eq(mount("t", path, "tmpfs", 0, NULL), 0);
	mount_layers("low");
	ck_assert_int_eq(kit_export("m", "img2", &e), -EXDEV);
	ck_assert_ptr_null(strchr(e.text, '\n'));
	ck_assert_int_eq(umount(path), 0);
}
END_TEST

/* A layer behind 39 symlinks is one that the kernel mounts; a tree of 40 and loops is data. */
START_TEST(deep_symlinks)
{
	char from[32], to[32], image[300], cwd[256];
	struct err e = { 0 };
	int i;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(image, sizeof(image), "%s/img", cwd);
	kit_dirs("low/chain");
	kit_file("low/chain/0", "end", 3);
	for (i = 1; i <= 60; i++) {
		snprintf(from, sizeof(from), "%d", i - 1);
		snprintf(to, sizeof(to), "low/chain/%d", i);
		ck_assert_int_eq(symlink(from, to), 0);
	}
	ck_assert_int_eq(symlink("loop", "low/loop"), 0);
	ck_assert_int_eq(symlink("/", "low/root"), 0);
	ck_assert_int_eq(symlink("../../../../../..", "low/up"), 0);
	ck_assert_int_eq(symlink("low", "s0"), 0);
	for (i = 1; i < 39; i++) {
		snprintf(from, sizeof(from), "s%d", i - 1);
		snprintf(to, sizeof(to), "s%d", i);
		ck_assert_int_eq(symlink(from, to), 0);
	}
	mount_layers("s38");
	ck_assert_msg(kit_export("m", image, &e) == 0, "%s", e.text);
	ck_assert_int_eq(kit_erofs(image, "e"), 0);
	ck_assert_msg(kit_same_tree("m", "e", &e) == 0, "%s", e.text);
	/* One of them leads elsewhere by now: another tree, and that is noticed. */
	ck_assert_int_eq(unlink("s7"), 0);
	kit_dirs("other/chain");
	ck_assert_int_eq(symlink("other", "s7"), 0);
	ck_assert_int_eq(kit_export("m", "img2", &e), -ESTALE);
}
END_TEST

Suite *storage_hostile_suite(void)
{
	Suite *s = suite_create("storage_hostile");
	const char *why = kit_storage_missing(true);
	TCase *t = tcase_create("hostile");

	if (why) {
		kit_skip("storage_hostile", why);
		return s;
	}
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_loop_test(t, race_open, 0, (int)ARRAY_LEN(swaps));
	tcase_add_loop_test(t, race_map, 0, (int)ARRAY_LEN(swaps));
	tcase_add_test(t, layer_replaced);
	tcase_add_test(t, lower_layer_replaced);
	tcase_add_test(t, odd_names);
	tcase_add_test(t, deep_symlinks);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
