// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Shares that are sets of trees (storage/share-tree.c), as a hostile monitor would use
 * them: nodes of one tree in requests about another, of trees that were removed, numbers
 * that were never given out. Each message is served by a thread of its own that
 * share_thread() has prepared; the test's thread is the host.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/share.h"
#include "storage/share.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

#define ROOT FUSE_ROOT_ID

Suite *storage_trees_suite(void);

/* One message and its answer; @fd is closed by the next one. */
struct ask {
	struct share_request rq;
	struct share_reply rp;
	int fd;
	uint8_t msg[4096];
	uint8_t answer[SHARE_MSG_BYTES];
};

static struct share *set;
static struct ask a = { .fd = -1 };
static char no_rights[] = "share_thread() failed";

static void *serve(void *arg)
{
	struct ask *k = arg;
	struct err e = { 0 };
	ssize_t n;

	if (share_thread(&e) < 0)
		return no_rights;
	n = share_call(set, k->msg, sizeof(k->rq) + k->rq.len, k->answer, &k->fd);
	ck_assert_int_ge(n, 0);
	memcpy(&k->rp, k->answer, sizeof(k->rp));
	return NULL;
}

/* Asks with what else is in @a.rq, which is then cleared. Return: error of the answer */
static int ask(uint32_t op, uint64_t node, const void *data, size_t len)
{
	pthread_t t;
	void *why;

	fd_close(&a.fd);
	a.rq.op = op;
	a.rq.node = node;
	a.rq.len = (uint32_t)len;
	memcpy(a.msg, &a.rq, sizeof(a.rq));
	memcpy(a.msg + sizeof(a.rq), data, len);
	ck_assert_int_eq(pthread_create(&t, NULL, serve, &a), 0);
	ck_assert_int_eq(pthread_join(t, &why), 0);
	ck_assert_msg(!why, "%s", (char *)why);
	a.rq = (struct share_request){ 0 };
	return a.rp.error;
}

static int ask_name(uint32_t op, uint64_t node, const char *name)
{
	return ask(op, node, name, strlen(name) + 1);
}

static struct share_entry entry(void)
{
	struct share_entry x;

	ck_assert_uint_ge(a.rp.len, sizeof(x));
	memcpy(&x, a.answer + sizeof(a.rp), sizeof(x));
	return x;
}

/* Looks a name up. Return: 0, or the error */
static int look(uint64_t dir, const char *name, struct share_entry *ret)
{
	int rc = ask_name(SHARE_LOOKUP, dir, name);

	if (rc < 0)
		return rc;
	*ret = entry();
	return ret->error;
}

static uint64_t node(uint64_t dir, const char *name)
{
	struct share_entry x = { 0 };
	int rc = look(dir, name, &x);

	ck_assert_msg(!rc, "%s: %s", name, strerror(-rc));
	return x.node;
}

static int lookup_error(uint64_t dir, const char *name)
{
	struct share_entry x;

	return look(dir, name, &x);
}

static int add_flags(const char *path, unsigned int flags, uint32_t *ret)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct err e = { 0 };

	ck_assert_int_ge(fd, 0);
	return share_add(set, fd, flags, ret, &e);
}

/* Adds a tree. Return: node of its root */
static uint64_t add(const char *path, unsigned int flags, uint32_t *ret_number)
{
	uint32_t number = 0;
	char name[16];
	int rc = add_flags(path, flags, &number);

	ck_assert_msg(!rc, "%s: %s", path, strerror(-rc));
	if (ret_number)
		*ret_number = number;
	snprintf(name, sizeof(name), "%u", number);
	return node(ROOT, name);
}

static void setup(void)
{
	struct share_config c = { .nodes_max = 1000, .fds_max = 100 };
	struct err e = { 0 };

	kit_storage_enter();
	kit_dirs("one/dir");
	kit_dirs("two/dir");
	kit_file("one/file", "one", 3);
	kit_file("two/file", "two", 3);
	kit_file("alone", "alone", 5);
	kit_file("secret", "secret", 6);
	ck_assert_int_eq(symlink("../secret", "one/out"), 0);
	ck_assert_msg(!share_new_set(&c, &set, &e), "%s", e.text);
}

static void teardown(void)
{
	share_free(set);
	fd_close(&a.fd);
	kit_storage_leave();
}

static void expect_content(uint64_t id, const char *want)
{
	char got[64] = "";

	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	ck_assert_int_ge(read(a.fd, got, sizeof(got) - 1), 0);
	ck_assert_str_eq(got, want);
}

/* ---- the root --------------------------------------------------------------------- */

static const char *const no_numbers[] = {
	"0", "3",  "01", "+1", "-1", " 1", "1 ", "0x1", "4294967297", "18446744073709551617",
	"x", "1x",
};

START_TEST(root_names)
{
	add("one", 0, NULL);
	add("alone", 0, NULL);
	ck_assert_int_eq(lookup_error(ROOT, no_numbers[_i]), -ENOENT);
}
END_TEST

START_TEST(root_list)
{
	unsigned int dirs = 0, files = 0;
	uint32_t number;
	struct dirent *d;
	DIR *list;

	add("one", 0, NULL);
	add("two", 0, &number);
	add("alone", 0, NULL);
	share_remove(set, number);
	ck_assert_int_eq(ask(SHARE_OPENDIR, ROOT, "", 0), 0);
	list = fdopendir(fd_steal(&a.fd));
	ck_assert_ptr_nonnull(list);
	while ((d = readdir(list))) {
		if (d->d_name[0] == '.')
			continue;
		dirs += d->d_type == DT_DIR && !strcmp(d->d_name, "1");
		files += d->d_type == DT_REG && !strcmp(d->d_name, "3");
		ck_assert_str_ne(d->d_name, "2");
	}
	ck_assert_int_lt(mkdirat(dirfd(list), "new", 0755), 0);
	ck_assert_int_eq(errno, EROFS);
	closedir(list);
	ck_assert_uint_eq(dirs, 1);
	ck_assert_uint_eq(files, 1);
}
END_TEST

/* What would change the set's root, or a read-only tree. */
static const struct {
	uint32_t op;
	const char *data;
	size_t len;
} changes[] = {
	{ SHARE_MKDIR, "new", 4 },
	{ SHARE_MKNOD, "new", 4 },
	{ SHARE_SYMLINK, "new\0there", 10 },
	{ SHARE_UNLINK, "file", 5 },
	{ SHARE_RMDIR, "dir", 4 },
	{ SHARE_RENAME, "file\0new", 9 },
	{ SHARE_LINK, "new", 4 },
	{ SHARE_CREATE, "new", 4 },
	{ SHARE_TMPFILE, "", 0 },
	{ SHARE_SETXATTR, "user.x\0y", 8 },
	{ SHARE_REMOVEXATTR, "user.x", 7 },
};

START_TEST(root_is_readonly)
{
	add("one", 0, NULL);
	a.rq.node2 = ROOT;
	a.rq.mode = S_IFREG | 0644;
	ck_assert_int_eq(ask(changes[_i].op, ROOT, changes[_i].data, changes[_i].len), -EROFS);
}
END_TEST

START_TEST(tree_is_readonly)
{
	uint64_t ro = add("one", SHARE_READONLY, NULL), rw = add("one", 0, NULL), id;

	id = node(ro, "file");
	a.rq.node2 = ro;
	a.rq.mode = S_IFREG | 0644;
	ck_assert_int_eq(ask(changes[_i].op, ro, changes[_i].data, changes[_i].len), -EROFS);
	a.rq.flags = O_WRONLY;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), -EROFS);
	a.rq.flags = O_RDWR | O_TRUNC;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), -EROFS);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, rw, "new"), 0);
	expect_content(node(ro, "file"), "one");
}
END_TEST

/* ---- trees --------------------------------------------------------------------------- */

START_TEST(file)
{
	uint64_t id = add("alone", 0, NULL), ro = add("alone", SHARE_READONLY, NULL);

	expect_content(id, "alone");
	a.rq.flags = O_WRONLY;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	ck_assert_int_eq(write(a.fd, "ALONE", 5), 5);
	expect_content(ro, "ALONE");
	a.rq.flags = O_WRONLY;
	ck_assert_int_eq(ask(SHARE_OPEN, ro, "", 0), -EROFS);
	ck_assert_int_eq(lookup_error(id, "secret"), -ENOTDIR);
	ck_assert_int_eq(ask(SHARE_OPENDIR, id, "", 0), -ENOTDIR);
	/* Another file by that name is another file. */
	kit_file("alone.new", "new", 3);
	ck_assert_int_eq(rename("alone.new", "alone"), 0);
	expect_content(id, "ALONE");
	ck_assert_int_eq(ask(SHARE_SYNCFS, ROOT, "", 0), 0);
}
END_TEST

START_TEST(escapes)
{
	uint64_t one = add("one", 0, NULL), out = node(one, "out");
	int up;

	ck_assert_int_eq(ask(SHARE_OPEN, out, "", 0), -ELOOP);
	ck_assert_int_eq(lookup_error(out, "secret"), -ENOTDIR);
	ck_assert_int_eq(ask_name(SHARE_LOOKUP, one, ".."), -EINVAL);
	ck_assert_int_eq(ask(SHARE_OPENDIR, one, "", 0), 0);
	up = openat(a.fd, "../secret", O_RDONLY | O_CLOEXEC);
	ck_assert_int_lt(up, 0);
	ck_assert_int_eq(ask(SHARE_OPENDIR, ROOT, "", 0), 0);
	up = openat(a.fd, "../secret", O_RDONLY | O_CLOEXEC);
	ck_assert_int_lt(up, 0);
	/* Its directory is empty in the list, whoever holds that. */
	up = openat(a.fd, "1/file", O_RDONLY | O_CLOEXEC);
	ck_assert_int_lt(up, 0);
}
END_TEST

START_TEST(trees_do_not_mix)
{
	uint64_t one = add("one", 0, NULL), two = add("two", 0, NULL), same = add("one", 0, NULL);

	a.rq.node2 = two;
	ck_assert_int_eq(ask(SHARE_RENAME, one, "file\0new", 9), -EXDEV);
	a.rq.node2 = same;
	ck_assert_int_eq(ask(SHARE_RENAME, one, "file\0new", 9), -EXDEV);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask(SHARE_RENAME, one, "file\0new", 9), -EXDEV);
	a.rq.node2 = node(one, "file");
	ck_assert_int_eq(ask(SHARE_LINK, two, "new", 4), -EXDEV);
	a.rq.node2 = node(same, "file");
	ck_assert_int_eq(ask(SHARE_LINK, one, "new", 4), -EXDEV);
	a.rq.node2 = node(one, "file");
	ck_assert_int_eq(ask(SHARE_LINK, one, "new", 4), 0);
	ck_assert_uint_ne(node(one, "file"), node(same, "file"));
	ck_assert_uint_eq(node(one, "file"), node(one, "new"));
}
END_TEST

START_TEST(removed)
{
	uint32_t number, other, nodes, fds;
	uint64_t one = add("one", 0, &number), kept = add("two", 0, &other), dir, id;
	_cleanup_close_ int open_file = -1;
	char text[8] = "";

	dir = node(one, "dir");
	id = node(one, "file");
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	open_file = fd_steal(&a.fd);
	share_remove(set, number);
	share_remove(set, number);
	share_remove(set, 77);
	ck_assert_int_eq(lookup_error(ROOT, "1"), -ENOENT);
	ck_assert_int_eq(ask(SHARE_GETATTR, one, "", 0), -ESTALE);
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), -ESTALE);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, dir, "new"), -ESTALE);
	ck_assert_int_eq(ask_name(SHARE_LOOKUP, dir, "x"), -ESTALE);
	a.rq.node2 = dir;
	ck_assert_int_eq(ask(SHARE_RENAME, kept, "file\0new", 9), -ESTALE);
	expect_content(node(kept, "file"), "two");
	ck_assert_int_eq(read(open_file, text, sizeof(text)), 3);
	share_remove(set, other);
	share_count(set, &nodes, &fds);
	ck_assert_uint_eq(nodes, 1);
	ck_assert_uint_eq(fds, 1);
	/* Its number is nobody's again. */
	add("one", 0, &other);
	ck_assert_uint_eq(other, 3);
	ck_assert_int_eq(ask(SHARE_GETATTR, one, "", 0), -ESTALE);
}
END_TEST

START_TEST(reset_keeps_trees)
{
	uint64_t one = add("one", 0, NULL);

	ck_assert_int_eq(ask(SHARE_RESET, 0, "", 0), 0);
	ck_assert_int_eq(ask(SHARE_GETATTR, one, "", 0), -ESTALE);
	expect_content(node(node(ROOT, "1"), "file"), "one");
}
END_TEST

/* ---- mounts inside ------------------------------------------------------------------------ */

START_TEST(mounts_inside)
{
	uint64_t plain, deep, ro, id;

	ck_assert_int_eq(mount("x", "one/dir", "tmpfs", 0, NULL), 0);
	kit_file("one/dir/inside", "inside", 6);
	plain = add("one", 0, NULL);
	deep = add("one", SHARE_RECURSIVE, NULL);
	ro = add("one", SHARE_RECURSIVE | SHARE_READONLY, NULL);
	ck_assert_int_eq(lookup_error(node(plain, "dir"), "inside"), -ENOENT);
	expect_content(node(node(deep, "dir"), "inside"), "inside");
	ck_assert_int_eq(ask_name(SHARE_MKDIR, node(deep, "dir"), "new"), 0);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, node(ro, "dir"), "newer"), -EROFS);
	id = node(node(ro, "dir"), "inside");
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), -EROFS);
	a.rq.node2 = node(deep, "dir");
	ck_assert_int_eq(ask(SHARE_RENAME, deep, "file\0new", 9), -EXDEV);
	/* A later one is not there. */
	ck_assert_int_eq(mount("x", "one/dir", "tmpfs", 0, NULL), 0);
	expect_content(node(node(deep, "dir"), "inside"), "inside");
	ck_assert_int_eq(umount("one/dir"), 0);
	ck_assert_int_eq(umount("one/dir"), 0);
	expect_content(node(node(deep, "dir"), "inside"), "inside");
}
END_TEST

/* The host's mounts are shared as a rule: one inside can be unmounted there while the guest
 * has a file of it, and what comes later does not come to the guest. */
START_TEST(mounts_are_private)
{
	uint64_t deep;

	kit_dirs("peers");
	ck_assert_int_eq(mount("x", "peers", "tmpfs", 0, NULL), 0);
	ck_assert_int_eq(mount(NULL, "peers", NULL, MS_SHARED, NULL), 0);
	kit_dirs("peers/dir");
	kit_dirs("peers/later");
	ck_assert_int_eq(mount("x", "peers/dir", "tmpfs", 0, NULL), 0);
	kit_file("peers/dir/inside", "inside", 6);
	deep = add("peers", SHARE_RECURSIVE, NULL);
	expect_content(node(node(deep, "dir"), "inside"), "inside");
	ck_assert_msg(umount("peers/dir") == 0, "%s", strerror(errno));
	ck_assert_int_eq(mount("x", "peers/later", "tmpfs", 0, NULL), 0);
	kit_file("peers/later/late", "late", 4);
	ck_assert_int_eq(lookup_error(node(deep, "later"), "late"), -ENOENT);
	expect_content(node(node(deep, "dir"), "inside"), "inside");
	ck_assert_int_eq(umount("peers/later"), 0);
	ck_assert_int_eq(umount("peers"), 0);
}
END_TEST

/* The same directory by two mounts of one tree: the read-only one stays so. */
START_TEST(mount_of_its_own_rights)
{
	uint64_t deep, dir;

	kit_dirs("one/again");
	ck_assert_int_eq(mount("one/dir", "one/again", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(mount(NULL, "one/again", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	deep = add("one", SHARE_RECURSIVE, NULL);
	dir = node(deep, "dir");
	ck_assert_uint_ne(dir, node(deep, "again"));
	ck_assert_int_eq(ask_name(SHARE_MKDIR, dir, "new"), 0);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, node(deep, "again"), "newer"), -EROFS);
	ck_assert_int_eq(ask_name(SHARE_RMDIR, node(deep, "again"), "new"), -EROFS);
	ck_assert_int_eq(umount("one/again"), 0);
}
END_TEST

START_TEST(kernel_is_not_shown)
{
	uint64_t deep;
	uint32_t n;

	ck_assert_int_eq(mount("x", "one/dir", "proc", 0, NULL), 0);
	ck_assert_int_eq(add_flags("one/dir", 0, &n), -EACCES);
	ck_assert_int_eq(add_flags("one/dir/self", 0, &n), -EINVAL);
	ck_assert_int_eq(add_flags("one/dir/version", 0, &n), -EACCES);
	deep = add("one", SHARE_RECURSIVE, NULL);
	ck_assert_int_eq(lookup_error(deep, "dir"), -EACCES);
	expect_content(node(deep, "file"), "one");
	ck_assert_int_eq(umount("one/dir"), 0);
}
END_TEST

/* ---- what is no tree --------------------------------------------------------------------------
 */

START_TEST(kinds_refused)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "socket" };
	_cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t n = 0;

	ck_assert_int_eq(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	ck_assert_int_eq(add_flags("socket", 0, &n), -EINVAL);
	ck_assert_int_eq(add_flags("fifo", 0, &n), -EINVAL);
	ck_assert_int_eq(add_flags("/dev/null", 0, &n), -EINVAL);
	ck_assert_int_eq(add_flags("one/out", 0, &n), -EINVAL);
	ck_assert_int_eq(lookup_error(ROOT, "1"), -ENOENT);
}
END_TEST

/* ---- inode numbers ------------------------------------------------------------------------------
 */

START_TEST(inode_numbers)
{
	struct share_entry x, y;
	struct stat st, other;
	uint64_t one, two;

	/* Two file systems that count alike. */
	ck_assert_int_eq(mount("x", "one", "tmpfs", 0, NULL), 0);
	ck_assert_int_eq(mount("y", "two", "tmpfs", 0, NULL), 0);
	kit_file("one/file", "1", 1);
	kit_file("two/file", "2", 1);
	ck_assert(!stat("one/file", &st) && !stat("two/file", &other));
	ck_assert_uint_eq(st.st_ino, other.st_ino);
	one = add("one", 0, NULL);
	two = add("two", 0, NULL);
	ck_assert_int_eq(look(one, "file", &x), 0);
	ck_assert_int_eq(look(two, "file", &y), 0);
	ck_assert_uint_ne(x.attr.ino, y.attr.ino);
	ck_assert_uint_eq(x.attr.ino, st.st_ino);
	ck_assert_int_eq(ask(SHARE_OPEN, y.node, "", 0), 0);
	ck_assert_uint_eq(share_ino(a.rp.n, 0, other.st_ino), y.attr.ino);
	ck_assert_int_eq(ask(SHARE_OPENDIR, two, "", 0), 0);
	ck_assert_uint_eq(a.rp.n, y.dev_index);
	ck_assert_int_eq(ask_name(SHARE_CREATE, two, "made"), 0);
	ck_assert_uint_eq(a.rp.n, y.dev_index);
	/* The same file in two trees has one number. */
	ck_assert_int_eq(look(add("two", 0, NULL), "file", &x), 0);
	ck_assert_uint_eq(x.attr.ino, y.attr.ino);
	fd_close(&a.fd);
	ck_assert_int_eq(umount("one"), 0);
	ck_assert_int_eq(umount("two"), 0);
}
END_TEST

static const struct {
	uint32_t index;
	uint64_t dev, ino;
} numbers[] = {
	{ 0, 1, 1 },
	{ 1, 1, 1 },
	{ 1, 1, 2 },
	{ 2, 1, 1 },
	{ 0, 1, 1ull << 48 },
	{ 1, 1, 1ull << 48 },
	{ 0, 1, UINT64_MAX },
	{ 1, 1, UINT64_MAX },
	{ 0, 1, (1ull << 48) - 1 },
	{ 0x7ffd, 1, (1ull << 48) - 1 },
	{ SHARE_DEV_ROOT, 1, 1 },
	{ SHARE_DEV_OTHER, 1, 1 },
	{ SHARE_DEV_OTHER, 2, 1 },
	{ SHARE_DEV_OTHER, 1, 2 },
};

START_TEST(numbers_differ)
{
	uint64_t n = share_ino(numbers[_i].index, numbers[_i].dev, numbers[_i].ino);
	size_t i;

	ck_assert_uint_ne(n, 0);
	for (i = 0; i < ARRAY_LEN(numbers); i++)
		if (i != (size_t)_i)
			ck_assert_uint_ne(
				n, share_ino(numbers[i].index, numbers[i].dev, numbers[i].ino));
}
END_TEST

/* ---- at once, and out of memory
 * ------------------------------------------------------------------- */

static atomic_bool stop;

/* A monitor that uses a tree, whatever becomes of it. */
static void *hammer(void *arg)
{
	uint8_t *answer = malloc(SHARE_MSG_BYTES);
	struct {
		struct share_request rq;
		char name[8];
	} m = { 0 };
	unsigned int i, *seed = arg;
	struct err e = { 0 };
	uint64_t tree = 0, f = 0;

	ck_assert_int_eq(share_thread(&e), 0);
	for (i = 0; !stop; i++) {
		struct share_reply rp;
		struct share_entry x;
		int fd = -1;

		m.rq = (struct share_request){ .op = SHARE_LOOKUP, .node = ROOT };
		snprintf(m.name, sizeof(m.name), "%u", (*seed + i) % 200 + 1);
		if (i % 3 == 1) {
			m.rq.node = tree;
			strcpy(m.name, "file");
		} else if (i % 3 == 2) {
			m.rq.node = f;
			m.rq.op = SHARE_OPEN;
			m.name[0] = 0;
		}
		m.rq.len = m.rq.op == SHARE_OPEN ? 0 : (uint32_t)strlen(m.name) + 1;
		ck_assert_int_gt(share_call(set, &m, sizeof(m.rq) + m.rq.len, answer, &fd), 0);
		memcpy(&rp, answer, sizeof(rp));
		memcpy(&x, answer + sizeof(rp), sizeof(x));
		if (!rp.error && m.rq.op == SHARE_LOOKUP && !x.error)
			*(i % 3 ? &f : &tree) = x.node;
		fd_close(&fd);
	}
	free(answer);
	return NULL;
}

START_TEST(removed_under_use)
{
	unsigned int seed[3] = { 0, 50, 120 }, i;
	uint32_t number, nodes, fds, at[4] = { 0 };
	pthread_t t[3];

	stop = false;
	for (i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, hammer, &seed[i]), 0);
	for (i = 0; i < 200; i++) {
		share_remove(set, at[i % 4]);
		ck_assert_int_eq(add_flags(i % 2 ? "one" : "two", 0, &number), 0);
		at[i % 4] = number;
	}
	for (i = 0; i < 4; i++)
		share_remove(set, at[i]);
	stop = true;
	for (i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	share_count(set, &nodes, &fds);
	ck_assert_uint_eq(nodes, 1);
	ck_assert_uint_eq(fds, 1);
}
END_TEST

static unsigned int open_fds(void)
{
	unsigned int n = 0;
	DIR *d = opendir("/proc/self/fd");

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

START_TEST(out_of_memory)
{
	_cleanup_close_ int fd = open("one", O_PATH | O_CLOEXEC);
	struct share_config c = { .nodes_max = 10, .fds_max = 10 };
	struct share *s = NULL;
	unsigned int nth, before = open_fds();
	struct err e = { 0 };
	uint32_t n = 0;
	bool fired;
	int rc;

	for (nth = 1;; nth++) {
		kit_fault_arm(KIT_FAULT_MEMORY, nth, 0);
		rc = share_new_set(&c, &s, &e);
		fired = kit_fault_fired();
		if (!fired)
			break;
		ck_assert_int_eq(rc, -ENOMEM);
		ck_assert_ptr_null(s);
		ck_assert_uint_eq(open_fds(), before);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_gt(nth, 3);
	before = open_fds();
	kit_fault_arm(KIT_FAULT_MEMORY, 1, 0);
	rc = share_add(s, fd, 0, &n, &e);
	ck_assert(kit_fault_fired());
	ck_assert_int_eq(rc, -ENOMEM);
	ck_assert_uint_eq(open_fds(), before);
	ck_assert_int_eq(share_add(s, fd, 0, &n, &e), 0);
	ck_assert_uint_eq(n, 1);
	share_free(s);
}
END_TEST

/* Nodes of a file system without lasting handles, or on mounts inside, keep descriptors. */
START_TEST(descriptors_are_bounded)
{
	struct share_config c = { .nodes_max = 1000, .fds_max = 8 };
	struct err e = { 0 };
	uint64_t dir, deep;
	unsigned int i;
	char name[16];
	int rc = 0;

	share_free(set);
	ck_assert_msg(!share_new_set(&c, &set, &e), "%s", e.text);
	ck_assert_int_eq(mount("x", "one/dir", "tmpfs", 0, NULL), 0);
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "one/f%u", i);
		kit_file(name, "x", 1);
		snprintf(name, sizeof(name), "one/dir/f%u", i);
		kit_file(name, "x", 1);
	}
	deep = add("one", SHARE_RECURSIVE, NULL);
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		node(deep, name);
	}
	dir = node(deep, "dir");
	for (i = 0; i < 10 && !rc; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		rc = lookup_error(dir, name);
	}
	ck_assert_int_eq(rc, -ENFILE);
	ck_assert_uint_ge(i, 4);
	ck_assert_int_eq(umount("one/dir"), 0);
}
END_TEST

Suite *storage_trees_suite(void)
{
	Suite *s = suite_create("storage_trees");
	const char *why = kit_storage_missing(false);
	TCase *t = tcase_create("trees");

	if (why)
		kit_skip("storage_trees", why);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, root_names, 0, (int)ARRAY_LEN(no_numbers));
	tcase_add_test(t, root_list);
	tcase_add_loop_test(t, root_is_readonly, 0, (int)ARRAY_LEN(changes));
	tcase_add_loop_test(t, tree_is_readonly, 0, (int)ARRAY_LEN(changes));
	tcase_add_test(t, file);
	tcase_add_test(t, escapes);
	tcase_add_test(t, trees_do_not_mix);
	tcase_add_test(t, removed);
	tcase_add_test(t, reset_keeps_trees);
	tcase_add_test(t, mounts_inside);
	tcase_add_test(t, mounts_are_private);
	tcase_add_test(t, mount_of_its_own_rights);
	tcase_add_test(t, kernel_is_not_shown);
	tcase_add_test(t, kinds_refused);
	tcase_add_test(t, inode_numbers);
	tcase_add_loop_test(t, numbers_differ, 0, (int)ARRAY_LEN(numbers));
	tcase_add_test(t, removed_under_use);
	tcase_add_test(t, out_of_memory);
	tcase_add_test(t, descriptors_are_bounded);
	if (!why)
		suite_add_tcase(s, t);
	return s;
}
