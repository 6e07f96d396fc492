// SPDX-License-Identifier: Apache-2.0
/*
 * The name of a pod's own network namespace: made, undone, undone twice, and after
 * damage.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/netns.h"
#include "tests/kit/dir.h"
#include "tests/kit/kit.h"

Suite *runtime_netns_suite(void);

static struct journal *j;
static int dir = -1;

static void setup(void)
{
	struct err e = {0};

	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	kit_dir_enter();
	dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_msg(!journal_open(dir, "journal", &j, &e), "%s", e.text);
}

static void teardown(void)
{
	journal_free(j);
	fd_close(&dir);
	kit_dir_leave();
}

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	ck_assert_str_eq(r->word[0], "netns");
	return netns_undo(r, e);
}

static ino_t inode(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_ino;
}

START_TEST(named)
{
	_cleanup_free_ char *path = NULL;
	struct err e = {0};
	struct stat st;
	int fd = -1;

	ck_assert_msg(!netns_new(&fd, &e), "%s", e.text);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_ne(st.st_ino, inode("/proc/self/ns/net"));
	ck_assert_msg(!netns_name(fd, dir, j, &path, &e), "%s", e.text);
	ck_assert_int_eq(path[0], '/');
	ck_assert_uint_eq(inode(path), st.st_ino);
	fd_close(&fd);
	/* The namespace lives by its name alone. */
	ck_assert_uint_eq(inode(path), st.st_ino);
	ck_assert_msg(!journal_undo(j, undo, NULL, &e), "%s", e.text);
	ck_assert_uint_ne(inode(path), st.st_ino);
	/* A second time, and without the file. */
	ck_assert_int_eq(netns_undo(&(struct journal_rec){{"netns", path}, 2}, &e), 0);
	ck_assert_int_eq(unlink("netns"), 0);
	ck_assert_int_eq(netns_undo(&(struct journal_rec){{"netns", path}, 2}, &e), 0);
}
END_TEST

START_TEST(taken)
{
	char *path = NULL;
	struct err e = {0};
	int fd = -1;

	kit_put("netns", "somebody else's");
	ck_assert_int_eq(netns_new(&fd, &e), 0);
	ck_assert_int_eq(netns_name(fd, dir, j, &path, &e), -EEXIST);
	ck_assert_ptr_null(path);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	fd_close(&fd);
}
END_TEST

static const struct journal_rec damaged[] = {
	{{"netns"}, 1},
	{{"netns", ""}, 2},
	{{"netns", "/netns"}, 2},
	{{"netns", "run/netns"}, 2},
	{{"netns", "/run/other"}, 2},
	{{"netns", "/run/netns", "x"}, 3},
};

START_TEST(damage)
{
	struct err e = {0};

	ck_assert_int_eq(netns_undo(&damaged[_i], &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "damaged netns record"));
}
END_TEST

Suite *runtime_netns_suite(void)
{
	Suite *s = suite_create("runtime_netns");
	TCase *t = tcase_create("netns");

	if (geteuid()) {
		kit_skip("runtime_netns", "cannot make a network namespace: needs root");
		return s;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, named);
	tcase_add_test(t, taken);
	tcase_add_loop_test(t, damage, 0, (int)ARRAY_LEN(damaged));
	suite_add_tcase(s, t);
	return s;
}
