// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Parts of podvm-storage by themselves. The comparison must see each kind of
 * difference: a row makes two trees that are the same, changes one thing in the
 * second, and names what has to be told. The report must not turn what failed, or
 * could not be tested, into what passed. Stale sockets and places of dead tests are
 * told from living ones.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "storage/bundle.h"
#include "storage/compare.h"
#include "storage/outfile.h"
#include "storage/report.h"
#include "storage/socket.h"
#include "tests/kit/dir.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"

Suite *storage_tool_suite(void);

static void make_tree(const char *at)
{
	const struct timespec then[2] = { { 1000, 1 }, { 1000, 1 } };
	static const char *const names[] = { "file", "hard", "other", "dir/in", "dir", "." };
	size_t i;

	ck_assert_int_eq(mkdir(at, 0755), 0);
	ck_assert_int_eq(chdir(at), 0);
	ck_assert_int_eq(mkdir("dir", 0755), 0);
	kit_put("file", "content");
	ck_assert_int_eq(link("file", "hard"), 0);
	kit_put("other", "content");
	kit_put("dir/in", "in");
	ck_assert_int_eq(symlink("file", "link"), 0);
	for (i = 0; i < 6; i++)
		ck_assert_int_eq(utimensat(AT_FDCWD, names[i], then, 0), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, "link", then, AT_SYMLINK_NOFOLLOW), 0);
	ck_assert_int_eq(chdir(".."), 0);
}

static void back(const char *path)
{
	const struct timespec then[2] = { { 1000, 1 }, { 1000, 1 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, path, then, AT_SYMLINK_NOFOLLOW), 0);
}

static void nothing(void)
{
}

static void add_name(void)
{
	kit_put("b/dir/new", "");
	back("b/dir");
}

static void lose_name(void)
{
	ck_assert_int_eq(unlink("b/dir/in"), 0);
	back("b/dir");
}

static void change_mode(void)
{
	ck_assert_int_eq(chmod("b/dir", 0700), 0);
}

static void change_root(void)
{
	ck_assert_int_eq(chmod("b", 0700), 0);
}

static void change_owner(void)
{
	ck_assert_int_eq(chown("b/other", 1, 2), 0);
}

static void change_time(void)
{
	const struct timespec t[2] = { { 1000, 1 }, { 1000, 2 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, "b/other", t, 0), 0);
}

static void change_size(void)
{
	kit_put("b/other", "content!");
	back("b/other");
	back("b");
}

static void change_content(void)
{
	kit_put("b/other", "Content");
	ck_assert_int_eq(chmod("b/other", 0600), 0);
	back("b/other");
	back("b");
}

static void change_target(void)
{
	ck_assert_int_eq(unlink("b/link"), 0);
	ck_assert_int_eq(symlink("hard", "b/link"), 0);
	back("b/link");
	back("b");
}

static void change_kind(void)
{
	ck_assert_int_eq(unlink("b/other"), 0);
	ck_assert_int_eq(mkfifo("b/other", 0600), 0);
	back("b/other");
	back("b");
}

static void change_attribute(void)
{
	ck_assert_int_eq(setxattr("b/other", "trusted.test", "x", 1, 0), 0);
}

static void break_link(void)
{
	ck_assert_int_eq(unlink("b/hard"), 0);
	kit_put("b/hard", "content");
	back("b/hard");
	back("b");
}

static void make_link(void)
{
	ck_assert_int_eq(unlink("b/other"), 0);
	ck_assert_int_eq(link("b/file", "b/other"), 0);
	back("b");
}

static const struct {
	void (*change)(void);
	const char *told;	/* NULL: they are the same */
} changes[] = {
	{ nothing, NULL },
	{ add_name, "\"new\": being there" },
	{ lose_name, "\"in\": being there" },
	{ change_mode, "\"dir\": type or mode" },
	{ change_root, "\".\": type or mode" },
	{ change_owner, "\"other\": owner" },
	{ change_time, "\"other\": time" },
	{ change_size, "\"other\": size" },
	{ change_content, "\"other\": content" },
	{ change_target, "\"link\": target" },
	{ change_kind, "\"other\": type or mode" },
	{ change_attribute, "\"other\": attribute trusted.test" },
	{ break_link, "one file" },
	{ make_link, "one file" },
};

START_TEST(differences)
{
	struct compare c = { 0 };
	struct err e = { 0 };
	size_t before = kit_fds();
	int a, b;

	make_tree("a");
	make_tree("b");
	changes[_i].change();
	a = open("a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b = open("b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_msg(compare_trees(&c, a, b, &e) == 0, "%s", e.text);
	close(a);
	close(b);
	ck_assert_uint_eq(kit_fds(), before);
	if (changes[_i].told) {
		ck_assert_uint_ge(c.differ, 1);
		ck_assert_msg(strstr(c.first, changes[_i].told) != NULL, "%s", c.first);
	} else {
		ck_assert_msg(!c.differ, "%s", c.first);
		ck_assert_uint_eq(c.entries, 7);
		ck_assert_uint_eq(c.bytes, 23);
	}
}
END_TEST

/* Memory is short at each place: an error, never a difference or the lack of one. */
START_TEST(memory_is_short)
{
	size_t before = kit_fds();
	bool fired = true;
	unsigned int n;
	int a, b;

	make_tree("a");
	make_tree("b");
	change_attribute();
	a = open("a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b = open("b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (n = 1; fired; n++) {
		struct compare c = { 0 };
		struct err e = { 0 };
		int rc;

		kit_fault_arm(KIT_FAULT_MEMORY, n, ENOMEM);
		rc = compare_trees(&c, a, b, &e);
		fired = kit_fault_fired();
		ck_assert_msg(rc == (fired ? -ENOMEM : 0), "%u: %d %s", n, rc, e.text);
	}
	ck_assert_uint_ge(n, 10);
	close(a);
	close(b);
	kit_put("b/config.json", "{\"root\": {\"path\": \"dir\"}}");
	for (n = 1, fired = true; fired; n++) {
		struct bundle found;
		struct err e = { 0 };
		int rc;

		kit_fault_arm(KIT_FAULT_MEMORY, n, ENOMEM);
		rc = bundle_find("b", &found, &e);
		fired = kit_fault_fired();
		ck_assert_msg(fired ? rc < 0 : !rc, "%u: %d %s", n, rc, e.text);
	}
	ck_assert_uint_ge(n, 2);
	ck_assert_uint_eq(kit_fds(), before);
}
END_TEST

START_TEST(report)
{
	struct err why = { .code = EOPNOTSUPP, .text = "no <kernel> & \"such\"" }, e = { 0 };
	struct report r;
	char *text;
	int i;

	report_begin(&r, "subject");
	ck_assert_int_eq(report_status(&r), 1); /* nothing tested is no success */
	report_result(&r, 0, "one", &why, "fine %d", 1);
	ck_assert_int_eq(report_status(&r), 0);
	report_result(&r, -EOPNOTSUPP, "two", &why, "unseen");
	ck_assert_int_eq(report_status(&r), 3);
	report_result(&r, -EIO, "three", &why, "unseen");
	ck_assert_int_eq(report_status(&r), 1);
	ck_assert_uint_eq(report_count(&r, VERDICT_PASS), 1);
	ck_assert_msg(report_junit(&r, "junit", &e) == 0, "%s", e.text);
	text = kit_get("junit");
	ck_assert_ptr_nonnull(strstr(text, "tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""));
	ck_assert_ptr_nonnull(strstr(text, "no &#60;kernel&#62; &#38; &#34;such&#34;"));
	ck_assert_ptr_null(strstr(text, "unseen"));
	free(text);
	report_done(&r);
	/* What does not fit is no success either. */
	report_begin(&r, "subject");
	for (i = 0; i <= REPORT_ROWS_MAX; i++)
		report_add(&r, VERDICT_PASS, "row", "x");
	ck_assert_int_eq(report_status(&r), 1);
	report_done(&r);
}
END_TEST

static const struct {
	const char *config;	/* of the bundle b */
	const char *told;	/* NULL: it leads to b/root */
} bundles[] = {
	{ "{\"root\": {\"path\": \"root\"}}", NULL },
	{ "{\"root\": {\"path\": \"./root\"}}", NULL },
	/* By the runtime's own rule: what it refuses, the command does not call fine. */
	{ "{\"root\": {\"path\": \"./root/../root\"}}", "out of the bundle" },
	{ "{\"root\": {\"path\": \"/\"}}", "the host's own root" },
	{ "{\"root\": {\"path\": \"/proc/self/root\"}}", "/root/path" },
	{ "{\"root\": {\"path\": \"root\\nx\"}}", "root\\x0ax" },
	{ "{\"root\": {}}", "/root/path" },
	{ "{\"root\": {\"path\": null}}", "/root/path" },
	{ "{\"root\": {\"path\": 7}}", "/root/path" },
	{ "{\"root\": {\"path\": \"\"}}", "/root/path" },
	{ "{\"root\": {\"path\": \"..\"}}", "/root/path" },
	{ "{\"root\": {\"path\": \"config.json\"}}", "/root/path" },
	{ "{\"root\": {\"path\": \"root\", \"readonly\": 1}}", "readonly" },
	{ "{\"root\": 3}", "/root" },
	{ "{}", "/root" },
	{ "[]", "object" },
	{ "{", "config.json" },
	{ "", "config.json" },
};

START_TEST(bundle)
{
	struct bundle b = { .bundle = "untouched" };
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(mkdir("b", 0755), 0);
	ck_assert_int_eq(mkdir("b/root", 0755), 0);
	kit_put("b/config.json", bundles[_i].config);
	rc = bundle_find("b", &b, &e);
	if (!bundles[_i].told) {
		ck_assert_msg(!rc, "%s", e.text);
		ck_assert_str_eq(b.bundle, "b");
		ck_assert_msg(strstr(b.root.path, "/b/root") != NULL, "%s", b.root.path);
		ck_assert(!b.root.readonly);
	} else {
		ck_assert_int_lt(rc, 0);
		ck_assert_msg(strstr(e.text, bundles[_i].told) != NULL, "%s", e.text);
		ck_assert_str_eq(b.bundle, "untouched");
	}
}
END_TEST

START_TEST(sockets)
{
	struct socket_place p, q;
	struct err e = { 0 };
	size_t before = kit_fds();

	ck_assert_msg(socket_listen(&p, "sock", &e) == 0, "%s", e.text);
	ck_assert_int_eq(socket_dead(p.dir_fd, "none", true), 0);
	ck_assert_int_eq(socket_listen(&q, "sock", &e), -EADDRINUSE);
	socket_done(&q);
	ck_assert_int_eq(access("sock", F_OK), 0);
	/* A server that died leaves the name. */
	close(p.fd);
	p.fd = -1;
	ck_assert_int_eq(socket_dead(p.dir_fd, "sock", false), 1);
	ck_assert_msg(socket_listen(&q, "./sock", &e) == 0, "%s", e.text);
	ck_assert_int_eq(socket_dead(q.dir_fd, "sock", true), -EADDRINUSE);
	/* Its end must not take the name of the one that came after. */
	socket_done(&p);
	ck_assert_int_eq(access("sock", F_OK), 0);
	socket_done(&q);
	ck_assert_int_ne(access("sock", F_OK), 0);
	kit_put("sock", "a file");
	ck_assert_int_eq(socket_listen(&q, "sock", &e), -EEXIST);
	socket_done(&q);
	ck_assert_int_eq(access("sock", F_OK), 0);
	ck_assert_uint_eq(kit_fds(), before);
}
END_TEST

START_TEST(outfile)
{
	struct outfile o, p;
	struct err e = { 0 };
	size_t before = kit_fds();
	char *text;

	ck_assert_msg(outfile_open(&o, "image", false, &e) == 0, "%s", e.text);
	ck_assert_int_eq(write(o.fd, "new", 3), 3);
	ck_assert_uint_eq(kit_count("."), 0);
	/* Somebody makes it meanwhile. */
	ck_assert_msg(outfile_open(&p, "image", false, &e) == 0, "%s", e.text);
	ck_assert_int_eq(write(p.fd, "old", 3), 3);
	ck_assert_msg(outfile_commit(&p, &e) == 0, "%s", e.text);
	outfile_done(&p);
	ck_assert_int_eq(outfile_commit(&o, &e), -EEXIST);
	outfile_done(&o);
	text = kit_get("image");
	ck_assert_str_eq(text, "old");
	free(text);
	ck_assert_int_eq(outfile_open(&o, "image", false, &e), -EEXIST);
	outfile_done(&o);
	ck_assert_msg(outfile_open(&o, "image", true, &e) == 0, "%s", e.text);
	ck_assert_int_eq(write(o.fd, "new", 3), 3);
	ck_assert_msg(outfile_commit(&o, &e) == 0, "%s", e.text);
	outfile_done(&o);
	text = kit_get("image");
	ck_assert_str_eq(text, "new");
	free(text);
	ck_assert_int_lt(outfile_open(&o, "dir/", true, &e), 0);
	outfile_done(&o);
	ck_assert_uint_eq(kit_count("."), 1);
	ck_assert_uint_eq(kit_fds(), before);
}
END_TEST

Suite *storage_tool_suite(void)
{
	Suite *s = suite_create("storage_tool");
	TCase *t = tcase_create("parts");

	tcase_add_checked_fixture(t, kit_dir_enter, kit_dir_leave);
	if (geteuid())
		kit_skip("storage_tool", "differences need root");
	else
		tcase_add_loop_test(t, differences, 0, sizeof(changes) / sizeof(changes[0]));
	if (!geteuid())
		tcase_add_test(t, memory_is_short);
	tcase_add_loop_test(t, bundle, 0, sizeof(bundles) / sizeof(bundles[0]));
	tcase_add_test(t, report);
	tcase_add_test(t, sockets);
	tcase_add_test(t, outfile);
	suite_add_tcase(s, t);
	return s;
}
