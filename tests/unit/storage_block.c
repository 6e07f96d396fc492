// SPDX-License-Identifier: Apache-2.0
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/mem.h"
#include "storage/blockdev.h"

Suite *storage_block_suite(void);

static const struct {
	const char *params;
	int rc;
	struct dm_pool pool;
} pools[] = {
	{ "1 14/4161600 2/3 - rw discard_passdown queue_if_no_space - 1024 ", 0,
	  { 14, 4161600, 2, 3, DM_POOL_RW, false } },
	{ "0 1/2 3/3 - out_of_data_space discard_passdown error_if_no_space - 1", 0,
	  { 1, 2, 3, 3, DM_POOL_NO_SPACE, false } },
	{ "0 2/2 3/4 - ro no_discard_passdown queue_if_no_space needs_check 1", 0,
	  { 2, 2, 3, 4, DM_POOL_RO, true } },
	{ "0 2/2 3/4 7 rw discard_passdown", 0, { 2, 2, 3, 4, DM_POOL_RW, false } },
	{ "Fail", 0, { 0, 0, 0, 0, DM_POOL_FAILED, false } },
	{ "Error", 0, { 0, 0, 0, 0, DM_POOL_FAILED, false } },
	{ "", -EINVAL, { 0 } },
	{ "0", -EINVAL, { 0 } },
	{ "0 1/2 3/4 -", -EINVAL, { 0 } },
	{ "0 1/2 3 - rw", -EINVAL, { 0 } },
	{ "0 1/ 3/4 - rw", -EINVAL, { 0 } },
	{ "0 -1/2 3/4 - rw", -EINVAL, { 0 } },
	{ "0 1/2/3 3/4 - rw", -EINVAL, { 0 } },
	{ "0 1/2 3/4 - other", -EINVAL, { 0 } },
	{ "0 111111111111111111111111111/2 3/4 - rw", -EINVAL, { 0 } },
	{ "0 99999999999999999999/2 3/4 - rw", -EINVAL, { 0 } },
};

START_TEST(pool_line)
{
	struct dm_pool p = { .meta_used = 77 };

	ck_assert_int_eq(dm_pool_parse(pools[_i].params, &p), pools[_i].rc);
	if (pools[_i].rc) {
		ck_assert_uint_eq(p.meta_used, 77);
		return;
	}
	ck_assert_uint_eq(p.meta_used, pools[_i].pool.meta_used);
	ck_assert_uint_eq(p.meta_total, pools[_i].pool.meta_total);
	ck_assert_uint_eq(p.data_used, pools[_i].pool.data_used);
	ck_assert_uint_eq(p.data_total, pools[_i].pool.data_total);
	ck_assert_int_eq((int)p.mode, (int)pools[_i].pool.mode);
	ck_assert_int_eq(p.needs_check, pools[_i].pool.needs_check);
}
END_TEST

START_TEST(pool_line_long)
{
	char text[2000];
	struct dm_pool p;

	memset(text, ' ', sizeof(text));
	text[sizeof(text) - 1] = 0;
	ck_assert_int_eq(dm_pool_parse(text, &p), -EINVAL);
	text[300] = 0;
	ck_assert_int_eq(dm_pool_parse(text, &p), -EINVAL);
}
END_TEST

static const struct {
	const char *mnt, *super;
	int rc;
	unsigned long mnt_flags, sb_flags;
	const char *data;
} options[] = {
	{ "rw,relatime", "rw", 0, MS_RELATIME, 0, "" },
	{ "rw", "rw", 0, MS_STRICTATIME, 0, "" },
	{ "ro,nosuid,nodev,noexec,noatime,nodiratime", "ro,sync,dirsync,lazytime,mand", 0,
	  MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME,
	  MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME | MS_MANDLOCK, "" },
	{ "rw,noatime", "rw,discard,stripe=16,data=ordered", 0, MS_NOATIME, 0,
	  "discard,stripe=16,data=ordered" },
	{ "rw,relatime", "rw,,x", 0, MS_RELATIME, 0, "x" },
	{ "rw,relatime", "rw,journal_path=/a\\040b", 0, MS_RELATIME, 0, "journal_path=/a b" },
	{ "rw,relatime", "rw,a=b\\054c", -EOPNOTSUPP, 0, 0, NULL },
	{ "rw,relatime", "rw,a=b\\012c", -EOPNOTSUPP, 0, 0, NULL },
	{ "rw,relatime", "rw,a=\\000", -EOPNOTSUPP, 0, 0, NULL },
	{ "rw,relatime,idmapped", "rw", -EOPNOTSUPP, 0, 0, NULL },
	{ "", "rw", -EOPNOTSUPP, 0, 0, NULL },
};

START_TEST(mount_options)
{
	struct mount_opts o = { 0 };
	struct err e = { 0 };

	ck_assert_msg(mountopt_parse(options[_i].mnt, options[_i].super, &o, &e) == options[_i].rc,
		      "%s", e.text);
	if (options[_i].rc) {
		ck_assert(e.text[0] && !o.data);
		return;
	}
	ck_assert_uint_eq(o.mnt, options[_i].mnt_flags);
	ck_assert_uint_eq(o.sb, options[_i].sb_flags);
	ck_assert_str_eq(o.data, options[_i].data);
	free(o.data);
}
END_TEST

START_TEST(mount_options_long)
{
	struct mount_opts o = { 0 };
	struct err e = { 0 };
	char text[4200];

	memset(text, 'x', sizeof(text));
	text[4095] = 0;
	ck_assert_int_eq(mountopt_parse("rw", text, &o, &e), 0);
	free(o.data);
	text[4095] = 'x';
	text[4096] = 0;
	ck_assert_int_eq(mountopt_parse("rw", text, &o, &e), -EOPNOTSUPP);
}
END_TEST

/* A thin device that could be handed over, and what is different about each row. */
#define POOL .has_pool = true, .pool_name = "p", .pool = { 1, 9, 1, 9, DM_POOL_RW, false }
#define THIN .kind = BLOCKDEV_DM, .size_bytes = 4096
#define RO MS_RDONLY

static char none[] = "", other[] = "/other", sleeper[] = "sleeper", md0[] = "md0";
static char devices[] = "device=/dev/loop1";

static const struct {
	const char *what;
	struct blockdev dev;
	const char *fstype;
	unsigned long mnt, sb;
	char *data, *other;
	bool readonly, stacked;
	int rc;
	const char *text;
	enum blockplan_mode mode;
	bool readonly_root;
} plans[] = {
	{ "thin", { THIN, .dm = { .name = "d", .type = "thin", POOL } }, "ext4",
	  .mode = BLOCKPLAN_EXCLUSIVE },
	{ "linear", { THIN, .dm = { .name = "d", .type = "linear" } }, "ext4",
	  .mode = BLOCKPLAN_EXCLUSIVE },
	{ "disk", { .kind = BLOCKDEV_DISK, .size_bytes = 512 }, "ext4", .mode = BLOCKPLAN_EXCLUSIVE },
	{ "read-only root", { .kind = BLOCKDEV_LOOP, .size_bytes = 512 }, "ext4", .readonly = true,
	  .mode = BLOCKPLAN_READONLY },
	{ "read-only mount", { .kind = BLOCKDEV_LOOP, .size_bytes = 512 }, "ext4", .mnt = RO,
	  .mode = BLOCKPLAN_READONLY, .readonly_root = true },
	{ "read-only file system", { .kind = BLOCKDEV_LOOP, .size_bytes = 512 }, "ext4", .sb = RO,
	  .mnt = RO, .mode = BLOCKPLAN_READONLY, .readonly_root = true },
	{ "read-only device", { .kind = BLOCKDEV_LOOP, .size_bytes = 512, .readonly = true }, "ext4",
	  .sb = RO, .mnt = RO, .mode = BLOCKPLAN_SHARED, .readonly_root = true },
	{ "image", { .kind = BLOCKDEV_LOOP, .size_bytes = 512, .readonly = true }, "erofs", .sb = RO,
	  .mnt = RO, .mode = BLOCKPLAN_SHARED, .readonly_root = true },
	{ "image, mounted twice", { .kind = BLOCKDEV_LOOP, .size_bytes = 512, .readonly = true },
	  "erofs", .sb = RO, .mnt = RO, .other = other, .readonly = true,
	  .mode = BLOCKPLAN_SHARED },
	{ "image on a device that can be written", { .kind = BLOCKDEV_LOOP, .size_bytes = 512 },
	  "erofs", .sb = RO, .mnt = RO, .mode = BLOCKPLAN_READONLY, .readonly_root = true },
	{ "image on more devices", { .kind = BLOCKDEV_LOOP, .size_bytes = 512, .readonly = true },
	  "erofs", .sb = RO, .data = devices, .rc = -EOPNOTSUPP, .text = "further devices" },
	{ "xfs", { THIN, .dm = { .name = "d", .type = "thin", POOL } }, "xfs", .rc = -EOPNOTSUPP,
	  .text = "file system \"xfs\"" },
	{ "mounted twice", { THIN, .dm = { .name = "d", .type = "linear" } }, "ext4",
	  .other = other, .rc = -EBUSY, .text = "/other" },
	{ "mounted over another", { THIN, .dm = { .name = "d", .type = "linear" } }, "ext4",
	  .stacked = true, .rc = -EBUSY, .text = "below it at the same place" },
	{ "image over another", { .kind = BLOCKDEV_LOOP, .size_bytes = 512, .readonly = true },
	  "erofs", .sb = RO, .mnt = RO, .stacked = true, .mode = BLOCKPLAN_SHARED,
	  .readonly_root = true },
	{ "suspended", { THIN, .asleep = sleeper, .dm = { .name = "d", .type = "linear" } }, "ext4",
	  .rc = -EBUSY, .text = "\"sleeper\" is suspended" },
	{ "no table", { THIN, .dm = { .name = "d" } }, "ext4", .rc = -ENXIO, .text = "no table" },
	{ "a pool", { THIN, .dm = { .name = "d", .type = "thin-pool" } }, "ext4", .rc = -EINVAL,
	  .text = "thin-pool" },
	{ "error", { THIN, .dm = { .name = "d", .type = "error" } }, "ext4", .rc = -EINVAL,
	  .text = "type error" },
	{ "deferred", { THIN, .dm = { .name = "d", .type = "linear", .deferred = true } }, "ext4",
	  .rc = -EBUSY, .text = "deferred" },
	{ "invalid", { THIN, .dm = { .name = "d", .type = "snapshot", .invalid = true } }, "ext4",
	  .rc = -EIO, .text = "lost its data" },
	{ "pool unknown", { THIN, .dm = { .name = "d", .type = "thin" } }, "ext4", .rc = -EIO,
	  .text = "does not say" },
	{ "pool failed", { THIN, .dm = { .name = "d", .type = "thin", .has_pool = true,
	  .pool = { 0, 0, 0, 0, DM_POOL_FAILED, false } } }, "ext4", .rc = -EIO, .text = "failed" },
	{ "pool needs check", { THIN, .dm = { .name = "d", .type = "thin", .has_pool = true,
	  .pool = { 1, 9, 1, 9, DM_POOL_RO, true } } }, "ext4", .rc = -EUCLEAN, .text = "thin_check" },
	{ "pool read-only", { THIN, .dm = { .name = "d", .type = "thin", .has_pool = true,
	  .pool = { 1, 9, 1, 9, DM_POOL_RO, false } } }, "ext4", .rc = -EROFS, .text = "read-only" },
	{ "pool read-only, for a reader", { THIN, .dm = { .name = "d", .type = "thin",
	  .has_pool = true, .pool = { 1, 9, 1, 9, DM_POOL_RO, true } } }, "ext4", .readonly = true,
	  .mode = BLOCKPLAN_READONLY },
	{ "pool full", { THIN, .dm = { .name = "d", .type = "thin", .has_pool = true,
	  .pool = { 1, 9, 9, 9, DM_POOL_RW, false } } }, "ext4", .rc = -ENOSPC, .text = "data space" },
	{ "pool without space", { THIN, .dm = { .name = "d", .type = "thin", .has_pool = true,
	  .pool = { 1, 9, 8, 9, DM_POOL_NO_SPACE, false } } }, "ext4", .rc = -ENOSPC,
	  .text = "data space" },
	{ "pool metadata full", { THIN, .dm = { .name = "d", .type = "thin", .has_pool = true,
	  .pool = { 9, 9, 1, 9, DM_POOL_RW, false } } }, "ext4", .rc = -ENOSPC, .text = "metadata" },
	{ "in a RAID", { .kind = BLOCKDEV_DISK, .size_bytes = 512, .holder = md0 }, "ext4",
	  .rc = -EBUSY, .text = "md0" },
	{ "no medium", { .kind = BLOCKDEV_DISK }, "ext4", .rc = -ENXIO, .text = "no size" },
	{ "read-only device, writable mount", { .kind = BLOCKDEV_DISK, .size_bytes = 512,
	  .readonly = true }, "ext4", .rc = -EROFS, .text = "read-only" },
};

START_TEST(plan)
{
	char *fstype = strdup(plans[_i].fstype);
	struct blockmount m = { .dev = plans[_i].dev, .fstype = fstype, .other = plans[_i].other,
				.stacked = plans[_i].stacked,
				.opts = { .mnt = plans[_i].mnt, .sb = plans[_i].sb,
					  .data = plans[_i].data ? plans[_i].data : none } };
	struct blockplan p = { 0 };
	struct err e = { 0 };
	int rc = blockplan_make(&m, plans[_i].readonly, &p, &e);

	ck_assert_msg(rc == plans[_i].rc, "%s: %d: %s", plans[_i].what, rc, e.text);
	if (rc) {
		ck_assert_msg(strstr(e.text, plans[_i].text), "%s: %s", plans[_i].what, e.text);
	} else {
		ck_assert_msg(p.mode == plans[_i].mode, "%s: %s", plans[_i].what,
			      blockplan_mode_name(p.mode));
		ck_assert_int_eq(p.readonly_root, plans[_i].readonly_root);
		ck_assert_str_eq(p.guest_type, plans[_i].fstype);
		ck_assert_str_eq(p.guest_data, p.mode == BLOCKPLAN_EXCLUSIVE ||
				 !strcmp(p.guest_type, "erofs") ? "" : "noload");
	}
	free(fstype);
}
END_TEST

START_TEST(plan_keeps_what_it_could_not_restore)
{
	struct blockmount m = { .dev = { .kind = BLOCKDEV_DISK, .size_bytes = 512 },
				.fstype = strdup(_i ? "erofs" : "ext4") };
	struct blockplan p = { 0 };
	struct err e = { 0 };

	m.opts_rc = err_set(&m.opts_why, EOPNOTSUPP, "its mount has the option x");
	ck_assert_int_eq(blockplan_make(&m, false, &p, &e), -EOPNOTSUPP);
	ck_assert(strstr(e.text, "option x"));
	free(m.fstype);
}
END_TEST

START_TEST(no_such_device)
{
	struct blockdev d = { .major = 7777, .minor = 1 };
	struct err e = { 0 };
	int fd = -1;

	ck_assert_int_eq(blockdev_probe(7777, 1, &d, &e), -ENODEV);
	ck_assert(!blockdev_same(7777, 1, 0));
	/* A node that is something else, and none at all. */
	snprintf(d.node, sizeof(d.node), "/dev/null");
	ck_assert_int_eq(blockdev_open(&d, O_RDONLY, &fd, &e), -ENODEV);
	snprintf(d.node, sizeof(d.node), "/dev/none-of-that-name");
	ck_assert_int_eq(blockdev_open(&d, O_RDONLY, &fd, &e), -ENOENT);
	ck_assert_int_eq(fd, -1);
}
END_TEST

/* What holders.c finds of a process that we know. */
START_TEST(holders)
{
	char who[200], pid[24], c;
	int up[2], down[2];
	struct stat st;
	pid_t child;

	ck_assert(!pipe(up) && !pipe(down) && !stat("/tmp", &st));
	child = fork();
	if (!child) {
		if (chdir("/tmp") || write(up[1], "x", 1) != 1 || read(down[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(read(up[0], &c, 1), 1);
	snprintf(pid, sizeof(pid), "(pid %d)", child);
	/* Among those who use the file system of /tmp, unless more than three do. */
	holders_name(major(st.st_dev), minor(st.st_dev), true, who, sizeof(who));
	ck_assert_msg(strstr(who, pid) || strstr(who, "…"), "%s", who);
	holders_name(7777, 1, true, who, sizeof(who));
	ck_assert_str_eq(who, "");
	ck_assert_uint_eq(holders_count(7777, 1), 0);
	holders_mount(7777, 1, who, sizeof(who));
	ck_assert_str_eq(who, "");
	ck_assert_int_eq(write(down[1], "x", 1), 1);
}
END_TEST

Suite *storage_block_suite(void)
{
	Suite *s = suite_create("storage_block");
	TCase *t = tcase_create("block");

	tcase_add_loop_test(t, pool_line, 0, (int)ARRAY_LEN(pools));
	tcase_add_test(t, pool_line_long);
	tcase_add_loop_test(t, mount_options, 0, (int)ARRAY_LEN(options));
	tcase_add_test(t, mount_options_long);
	tcase_add_loop_test(t, plan, 0, (int)ARRAY_LEN(plans));
	tcase_add_loop_test(t, plan_keeps_what_it_could_not_restore, 0, 2);
	tcase_add_test(t, no_such_device);
	tcase_add_test(t, holders);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	return s;
}
