// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The table as a monitor sees it, the files as a broker opens them (also when a
 * layer changes under it, or tries to lead out), and the scratch disk.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/disktab.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "storage/disk.h"
#include "storage/scratch.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *storage_disk_suite(void);

static void mount_layers(const char *extra)
{
	char opts[1200], cwd[256];

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("low");
	kit_dirs("low2");
	kit_dirs("up");
	kit_dirs("w");
	kit_dirs("m");
	kit_dirs("e");
	if (extra)
		snprintf(opts, sizeof(opts), "lowerdir=%s/low:%s/low2%s", cwd, cwd, extra);
	else
		snprintf(opts, sizeof(opts), "lowerdir=%s/low:%s/low2,upperdir=%s/up,workdir=%s/w",
			 cwd, cwd, cwd, cwd);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
}

static struct storage_map *map(uint64_t scratch)
{
	struct storage_request req = { .rootfs = "m", .serial_stem = "0123456789abcdef",
				       .scratch_bytes = scratch };
	struct storage_map *m = NULL;
	struct err e = { 0 };

	ck_assert_msg(storage_map_rootfs(&req, &m, &e) == 0, "%s", e.text);
	return m;
}

static size_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

START_TEST(table)
{
	const struct disktab_extent *x;
	const struct storage_disk *d;
	const struct disktab_head *h;
	struct storage_map *m;
	uint64_t i, at = 0;
	size_t before = open_fds();
	char path[64];
	struct stat st;

	for (i = 0; i < 50; i++) {
		snprintf(path, sizeof(path), "low%s/f%llu", i % 2 ? "" : "2", (unsigned long long)i);
		kit_dirs(i % 2 ? "low" : "low2");
		kit_file(path, path, i % 5 ? strlen(path) : 0);
	}
	mount_layers(NULL);
	m = map(0);
	ck_assert_uint_eq(storage_map_disks(m, &d), 1);
	ck_assert_int_eq(d->kind, STORAGE_DISK_SYNTHETIC);
	ck_assert(d->readonly);
	ck_assert_str_eq(d->serial, "0123456789abcdef-ro");
	ck_assert_int_eq(fcntl(d->fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ck_assert_int_lt(pwrite(d->fd, "x", 1, 0), 0);
	ck_assert_int_eq(fstat(d->fd, &st), 0);
	h = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, d->fd, 0);
	ck_assert_ptr_ne(h, MAP_FAILED);
	ck_assert_uint_eq(h->magic, DISKTAB_MAGIC);
	ck_assert_uint_eq(h->n_files, 40);
	ck_assert_uint_eq(h->n_extents, 41);
	ck_assert_uint_eq(h->n_blocks * DISKTAB_BLOCK_BYTES, d->size_bytes);
	ck_assert_uint_eq(h->extents_offset % 8, 0);
	x = (const void *)((const char *)h + h->extents_offset);
	for (i = 0; i < h->n_extents; i++) {
		ck_assert_uint_ge(x[i].first_block, at);
		ck_assert_uint_ge(x[i].n_blocks, 1);
		at = x[i].first_block + x[i].n_blocks;
		ck_assert_uint_le(at, h->n_blocks);
		ck_assert_uint_eq(x[i].reserved, 0);
		if (x[i].file == DISKTAB_FILE_SELF) {
			ck_assert_uint_eq(x[i].offset % 4096, 0);
			ck_assert_uint_le(x[i].offset + x[i].n_blocks * 4096, (uint64_t)st.st_size);
		} else {
			ck_assert_uint_lt(x[i].file, h->n_files);
		}
	}
	munmap((void *)(uintptr_t)h, (size_t)st.st_size);
	storage_map_free(m);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

/* The file with content @text; there are few. */
static uint32_t find_file(struct storage_map *m, const char *text)
{
	char got[64];
	uint32_t i;

	for (i = 0; i < storage_map_stats(m)->files; i++) {
		struct err e = { 0 };
		int fd = -1;
		ssize_t n;

		if (storage_map_open(m, i, &fd, &e))
			continue;
		n = pread(fd, got, sizeof(got), 0);
		ck_assert_int_eq(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);
		if (n == (ssize_t)strlen(text) && !memcmp(got, text, (size_t)n))
			return i;
	}
	ck_abort_msg("no file has this content");
	return 0;
}

static void stale(const struct storage_map *m, uint32_t file)
{
	struct err e = { 0 };
	int fd = -7;

	ck_assert_msg(storage_map_open(m, file, &fd, &e) == -ESTALE, "%s", e.text);
	ck_assert_int_eq(fd, -7);
	ck_assert_int_ne(e.text[0], 0);
}

START_TEST(changed_files)
{
	struct storage_map *m;
	struct err e = { 0 };
	uint32_t f, up;
	int fd = -7;

	kit_dirs("low/etc");
	kit_file("secret", "host secret", 11);
	kit_file("low/etc/a", "aaa", 3);
	kit_dirs("up");
	kit_file("up/u", "uuu", 3);
	mount_layers(NULL);
	m = map(0);
	ck_assert_int_eq(storage_map_open(m, 2, &fd, &e), -EINVAL);
	ck_assert_int_eq(storage_map_open(m, UINT32_MAX, &fd, &e), -EINVAL);
	ck_assert_int_eq(fd, -7);
	f = find_file(m, "aaa");
	up = find_file(m, "uuu");
	/* Modes may change in the upper directory, contents may not. */
	ck_assert_int_eq(chmod("up/u", 0600), 0);
	ck_assert_int_eq(storage_map_open(m, up, &fd, &e), 0);
	close(fd);
	kit_file("up/u", "vvv", 3);
	stale(m, up);
	ck_assert_int_eq(rename("low/etc/a", "low/etc/kept"), 0);
	stale(m, f);
	kit_file("low/etc/a", "aaa", 3);
	stale(m, f);
	ck_assert_int_eq(unlink("low/etc/a"), 0);
	ck_assert_int_eq(mkfifo("low/etc/a", 0600), 0);
	stale(m, f);
	ck_assert_int_eq(unlink("low/etc/a"), 0);
	ck_assert_int_eq(symlink("../../secret", "low/etc/a"), 0);
	stale(m, f);
	ck_assert_int_eq(unlink("low/etc/a"), 0);
	ck_assert_int_eq(rename("low/etc", "low/was"), 0);
	ck_assert_int_eq(symlink("was", "low/etc"), 0);
	stale(m, f);
	storage_map_free(m);
}
END_TEST

static void *open_many(void *arg)
{
	const struct storage_map *m = arg;
	uintptr_t bad = 0;
	uint32_t i;
	int fd;

	for (i = 0; i < 3000; i++) {
		struct err e;

		if (storage_map_open(m, i % 64, &fd, &e))
			bad++;
		else
			close(fd);
	}
	return (void *)bad;
}

START_TEST(threads)
{
	struct storage_map *m;
	pthread_t id[4];
	char path[64];
	void *bad;
	int i;

	kit_dirs("low");
	for (i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "low/%d", i);
		kit_file(path, "x", 1);
	}
	mount_layers(NULL);
	m = map(0);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&id[i], NULL, open_many, m), 0);
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(id[i], &bad), 0);
		ck_assert_ptr_null(bad);
	}
	storage_map_free(m);
}
END_TEST

/* The mapped rootfs must not change our working directory, nor leave a thread. */
START_TEST(side_effects)
{
	char before[256], after[256];
	struct stat a, b;

	mount_layers(NULL);
	ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
	ck_assert_int_eq(stat("/proc/self/task", &a), 0);
	storage_map_free(map(0));
	ck_assert_ptr_nonnull(getcwd(after, sizeof(after)));
	ck_assert_int_eq(stat("/proc/self/task", &b), 0);
	ck_assert_str_eq(before, after);
	ck_assert_int_eq(a.st_nlink, b.st_nlink);
}
END_TEST

/* ---- scratch ------------------------------------------------------------------- */

static void e2fsck(int fd)
{
	char *const argv[] = { strdup("e2fsck"), strdup("-fn"), strdup("/proc/self/fd/3"), NULL };
	struct proc_fd map_fds[] = { { fd, 3 } };
	struct proc_spec spec = { .path = "/sbin/e2fsck", .argv = argv, .fds = map_fds, .n_fds = 1 };
	_cleanup_close_ int pidfd = -1;
	struct err e = { 0 };
	int status = -1, i;

	ck_assert_msg(proc_spawn(&spec, NULL, &pidfd, &e) == 0, "%s", e.text);
	ck_assert_int_eq(proc_wait(pidfd, -1, &status, &e), 0);
	ck_assert_int_eq(status, 0);
	for (i = 0; argv[i]; i++)
		free(argv[i]);
}

static const uint64_t scratch_sizes[] = {
	4u << 20, (4u << 20) + 4095, 100u << 20, 128u << 20, (128u << 20) + 4096, 1ull << 30,
	10ull << 30, 1ull << 40,
};

START_TEST(scratch_clean)
{
	uint64_t size = scratch_sizes[_i];
	const struct storage_disk *d;
	struct storage_map *m;
	struct stat st;

	mount_layers(NULL);
	m = map(size);
	ck_assert_uint_eq(storage_map_disks(m, &d), 2);
	d++;
	ck_assert_int_eq(d->kind, STORAGE_DISK_RAW);
	ck_assert(!d->readonly);
	ck_assert_str_eq(d->serial, "0123456789abcdef-rw");
	ck_assert_uint_eq(d->size_bytes, size & ~4095ull);
	ck_assert_int_eq(fstat(d->fd, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, d->size_bytes);
	ck_assert_int_eq(st.st_nlink, 0);
	ck_assert_uint_lt((uint64_t)st.st_blocks * 512, (2u << 20) + size / 4096);
	e2fsck(d->fd);
	storage_map_free(m);
}
END_TEST

START_TEST(scratch_works)
{
	const struct storage_disk *d;
	struct storage_map *m;
	char dev[64], big[4096] = "data";
	struct stat st;
	int i;

	mount_layers(NULL);
	m = map(64u << 20);
	storage_map_disks(m, &d);
	snprintf(dev, sizeof(dev), "/proc/self/fd/%d", d[1].fd);
	char *const argv[] = { strdup("mount"), strdup("-o"), strdup("loop"), strdup("-t"),
			       strdup("ext4"), strdup("scratch.link"), strdup("e"), NULL };
	struct err e = { 0 };

	/* mount(8) runs as another process: give it a path of the file for the while. */
	ck_assert_int_eq(access(dev, R_OK), 0);
	snprintf(dev, sizeof(dev), "/proc/%d/fd/%d", getpid(), d[1].fd);
	free(argv[5]);
	((char **)(uintptr_t)argv)[5] = strdup(dev);
	ck_assert_msg(proc_run("/bin/mount", argv, &e) == 0, "%s", e.text);
	kit_dirs("e/upper/x");
	kit_dirs("e/work");
	for (i = 0; i < 200; i++) {
		char path[64];

		snprintf(path, sizeof(path), "e/upper/x/%d", i);
		kit_file(path, big, sizeof(big));
	}
	ck_assert_int_eq(stat("e/upper/x/199", &st), 0);
	ck_assert_int_eq(umount("e"), 0);
	e2fsck(d[1].fd);
	storage_map_free(m);
	for (i = 0; argv[i]; i++)
		free(argv[i]);
}
END_TEST

START_TEST(scratch_refused)
{
	static const uint64_t bad[] = { 1, 4096, (4u << 20) - 1, 16ull << 40, UINT64_MAX };
	struct storage_request req = { .rootfs = "m", .serial_stem = "t" };
	struct storage_map *m = NULL;
	struct err e = { 0 };
	size_t i, before;

	mount_layers(NULL);
	before = open_fds();
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		req.scratch_bytes = bad[i];
		ck_assert_int_eq(storage_map_rootfs(&req, &m, &e), -ERANGE);
	}
	ck_assert_int_eq(umount("m"), 0);
	mount_layers("");
	req.scratch_bytes = 10u << 20;
	ck_assert_int_eq(storage_map_rootfs(&req, &m, &e), -EOPNOTSUPP);
	ck_assert_msg(strstr(e.text, "read-only overlay"), "%s", e.text);
	req.scratch_bytes = 0;
	req.serial_stem = "0123456789abcdefgh";
	ck_assert_int_eq(storage_map_rootfs(&req, &m, &e), -ENAMETOOLONG);
	ck_assert_ptr_null(m);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(scratch_without_tmpfile)
{
	_cleanup_close_ int dir = -1;
	struct err e = { 0 };
	int fd = -7;

	dir = open("/sys/kernel", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir, 0);
	ck_assert_int_eq(scratch_make(dir, 10u << 20, &fd, &e), -EOPNOTSUPP);
	ck_assert_int_eq(fd, -7);
}
END_TEST

Suite *storage_disk_suite(void)
{
	Suite *s = suite_create("storage_disk");
	const char *why = kit_storage_missing(false);
	TCase *t = tcase_create("map");

	if (why) {
		kit_skip("storage_disk", why);
		return s;
	}
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_test(t, table);
	tcase_add_test(t, changed_files);
	tcase_add_test(t, threads);
	tcase_add_test(t, side_effects);
	tcase_add_loop_test(t, scratch_clean, 0, (int)ARRAY_LEN(scratch_sizes));
	if (access("/dev/loop-control", F_OK))
		kit_skip("storage_disk scratch_works", "no loop devices");
	else
		tcase_add_test(t, scratch_works);
	tcase_add_test(t, scratch_refused);
	tcase_add_test(t, scratch_without_tmpfile);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
