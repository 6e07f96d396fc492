// SPDX-License-Identifier: Apache-2.0
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "storage/mountinfo.h"
#include "storage/overlay.h"
#include "storage/source.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *storage_source_suite(void);

static const struct {
	const char *line;
	int rc;
	const char *point, *source;
} lines[] = {
	{ "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
	  0, "/mnt2", "/dev/root" },
	{ "36 35 98:0 / /a\\040b\\134 rw shared:1 master:2 propagate_from:3 - ext4 x rw",
	  0, "/a b\\", "x" },
	{ "1 0 0:1 / / rw - overlay  rw,lowerdir=a", 0, "/", "" },
	{ "18446744073709551615 0 0:1 / /\\377 rw - t s o", 0, "/\377", "s" },
	{ "1 0 0:1 / /\\04 rw - t s o", 0, "/\\04", "s" },
	{ "", -EINVAL, NULL, NULL },
	{ "1", -EINVAL, NULL, NULL },
	{ "1 0", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / / rw", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / / rw -", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / / rw - t", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / / rw - t s", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / / rw - t s o more", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / / rw t s o", -EINVAL, NULL, NULL },
	{ "-1 0 0:1 / / rw - t s o", -EINVAL, NULL, NULL },
	{ "1x 0 0:1 / / rw - t s o", -EINVAL, NULL, NULL },
	{ "1 0 01 / / rw - t s o", -EINVAL, NULL, NULL },
	{ "1 0 0: / / rw - t s o", -EINVAL, NULL, NULL },
	{ "1 0 4294967296:0 / / rw - t s o", -EINVAL, NULL, NULL },
	{ "99999999999999999999 0 0:1 / / rw - t s o", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / /\\000 rw - t s o", -EINVAL, NULL, NULL },
	{ "1 0 0:1 / /\\777 rw - t s o", -EINVAL, NULL, NULL },
};

START_TEST(mountinfo_line)
{
	_cleanup_free_ char *text = strdup(lines[_i].line);
	struct mount_entry m;

	ck_assert_int_eq(mountinfo_parse(text, &m), lines[_i].rc);
	if (lines[_i].rc)
		return;
	ck_assert_str_eq(m.point, lines[_i].point);
	ck_assert_str_eq(m.source, lines[_i].source);
}
END_TEST

START_TEST(mountinfo_search)
{
	char text[] = "21 1 0:1 / /a rw - t s o\nbroken\n\n"
		      "2 1 0:2 / /b rw - t s o\n3 2 0:3 / /c rw - t s o";
	char again[sizeof(text)], third[sizeof(text)];
	struct mount_entry m;

	memcpy(again, text, sizeof(text));
	memcpy(third, text, sizeof(text));
	ck_assert_int_eq(mountinfo_find(text, 2, &m), 0);
	ck_assert_str_eq(m.point, "/b");
	ck_assert_int_eq(mountinfo_child(again, 2, &m), 0);
	ck_assert_str_eq(m.point, "/c");
	ck_assert_int_eq(mountinfo_child(third, 3, &m), -ENOENT);
	ck_assert_int_eq(mountinfo_find(third, 4, &m), -ENOENT);
}
END_TEST

static const struct {
	const char *options;
	int rc;
	const char *layers[4];	/* topmost first */
	bool upper, userxattr;
	size_t n_data;
} stacks[] = {
	{ "rw,lowerdir=/a:/b,upperdir=/u,workdir=/w", 0, { "/u", "/a", "/b" }, true, false, 0 },
	{ "ro,lowerdir=/a:/b,userxattr", 0, { "/a", "/b" }, false, true, 0 },
	{ "rw,lowerdir=l/A:l/B,upperdir=u,workdir=w,index=off,metacopy=on,volatile,xino=on",
	  0, { "u", "l/A", "l/B" }, true, false, 0 },
	/* The engine's "/a\:b", "/c\\d" and "/e,f", as the kernel shows them. */
	{ "rw,lowerdir=/a\\134:b:/c\\134\\134d:/e\\054f", 0, { "/a:b", "/c\\d", "/e,f" }, false, false, 0 },
	{ "rw,lowerdir=/sp\\040ace\\011\\012", 0, { "/sp ace\t\n" }, false, false, 0 },
	{ "rw,lowerdir+=/x\\134:y,lowerdir+=/z", 0, { "/x\\:y", "/z" }, false, false, 0 },
	{ "rw,context=\"u:o:t:s0:c1,c2\",lowerdir=/a", 0, { "/a" }, false, false, 0 },
	{ "rw,context=u:o:t:s0,seclabel,lowerdir=/a", 0, { "/a" }, false, false, 0 },
	{ "rw,lowerdir=\"a", 0, { "\"a" }, false, false, 0 },
	{ "rw,context=\"open,lowerdir=/a", 0, { "/a" }, false, false, 0 },
	{ "rw,lowerdir=/a::/d1::/d\\134:2", 0, { "/a", "/d1", "/d:2" }, false, false, 2 },
	{ "rw,lowerdir=/a:/b::/d,upperdir=u,workdir=w", 0, { "u", "/a", "/b", "/d" }, true, false, 1 },
	{ "rw,lowerdir+=/b,datadir+=/a:b", 0, { "/b", "/a:b" }, false, false, 1 },
	{ "rw,lowerdir=/a::/data:/b", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=::/data", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a::", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a:::/b", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,datadir+=/a,lowerdir+=/b", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,datadir+=/a", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a,verity=require", -EOPNOTSUPP, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a,verity=off,nfs_export=off,uuid=auto,override_creds", 0, { "/a" }, false, false, 0 },
	{ "rw,lowerdir=/a,redirect_dir=follow,metacopy=on,index=on", 0, { "/a" }, false, false, 0 },
	{ "rw,lowerdir=/a,redirect_dir=sometimes", -EOPNOTSUPP, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a,metacopy", -EOPNOTSUPP, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a,brandnew", -EOPNOTSUPP, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a,upperdir=/u", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a,workdir=/u", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a,upperdir=/u,upperdir=/v,workdir=/w", -EOPNOTSUPP, { NULL }, false, false, 0 },
	{ "rw,lowerdir=:/a", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a:", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir=", -EINVAL, { NULL }, false, false, 0 },
	{ "rw,lowerdir", -EOPNOTSUPP, { NULL }, false, false, 0 },
	{ "rw,lowerdir=/a\\000", -EINVAL, { NULL }, false, false, 0 },
	{ "rw", -EINVAL, { NULL }, false, false, 0 },
	{ "", -EINVAL, { NULL }, false, false, 0 },
};

START_TEST(overlay_options)
{
	struct overlay *o = NULL;
	struct err e = { 0 };
	size_t i, n = 0;

	ck_assert_msg(overlay_parse(stacks[_i].options, &o, &e) == stacks[_i].rc,
		      "%s: %s", stacks[_i].options, e.text);
	if (stacks[_i].rc) {
		ck_assert_ptr_null(o);
		ck_assert_int_ne(e.text[0], 0);
		return;
	}
	while (n < 4 && stacks[_i].layers[n])
		n++;
	ck_assert_uint_eq(o->n_layers, n);
	for (i = 0; i < n; i++)
		ck_assert_str_eq(o->layer[i].path, stacks[_i].layers[i]);
	ck_assert_int_eq(o->has_upper, stacks[_i].upper);
	ck_assert_int_eq(o->userxattr, stacks[_i].userxattr);
	ck_assert_uint_eq(o->n_data, stacks[_i].n_data);
	overlay_free(o);
}
END_TEST

START_TEST(overlay_many_layers)
{
	char text[16 + 3 * (OVERLAY_LAYERS_MAX + 1)] = "rw,lowerdir=a";
	size_t i, at = strlen(text);
	struct overlay *o = NULL;
	struct err e = { 0 };

	for (i = 1; i < OVERLAY_LAYERS_MAX + 1; i++, at += 2)
		memcpy(text + at, ":a", 3);
	ck_assert_int_eq(overlay_parse(text, &o, &e), -E2BIG);
	text[at - 2] = 0;
	ck_assert_int_eq(overlay_parse(text, &o, &e), 0);
	overlay_free(o);
}
END_TEST

static void same_dir(int fd, const char *path)
{
	struct stat a, b;

	ck_assert_int_eq(fstat(fd, &a), 0);
	ck_assert_int_eq(stat(path, &b), 0);
	ck_assert(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* The kernel must show what we gave in such a way that we get back to it. */
START_TEST(real_escapes)
{
	char cwd[256], opts[2048];
	struct source *s = NULL;
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("a:b");
	kit_dirs("c,d e\\f");
	kit_dirs("up\\,:\n#");
	kit_dirs("work,");
	kit_dirs("m \\x");
	snprintf(opts, sizeof(opts), "lowerdir=%s/a\\:b:%s/c\\,d e\\\\f,upperdir=%s/up\\\\\\,\\:\n#,workdir=%s/work\\,",
		 cwd, cwd, cwd, cwd);
	ck_assert_msg(kit_overlay(opts, "m \\x") == 0, "%s", strerror(errno));
	ck_assert_msg(source_probe("m \\x", &s, &e) == 0, "%s", e.text);
	ck_assert_int_eq(s->kind, SOURCE_OVERLAY);
	ck_assert_uint_eq(s->overlay->n_layers, 3);
	same_dir(s->overlay->layer[0].fd, "up\\,:\n#");
	same_dir(s->overlay->layer[1].fd, "a:b");
	same_dir(s->overlay->layer[2].fd, "c,d e\\f");
	ck_assert_int_eq(source_check(s, &e), 0);
	source_free(s);
}
END_TEST

START_TEST(real_relative)
{
	struct source *s = NULL;
	struct err e = { 0 };
	char cwd[256];

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("graph/l");
	kit_dirs("graph/A/diff");
	kit_dirs("graph/B/diff");
	kit_dirs("graph/C/diff");
	kit_dirs("graph/C/work");
	kit_dirs("graph/C/merged");
	ck_assert_int_eq(symlink("../A/diff", "graph/l/AAA"), 0);
	ck_assert_int_eq(symlink("../B/diff", "graph/l/BBB"), 0);
	ck_assert_int_eq(chdir("graph"), 0);
	ck_assert_int_eq(kit_overlay("lowerdir=l/AAA:l/BBB,upperdir=C/diff,workdir=C/work", "C/merged"), 0);
	ck_assert_int_eq(chdir(cwd), 0);
	ck_assert_msg(source_probe("graph/C/merged", &s, &e) == 0, "%s", e.text);
	same_dir(s->overlay->layer[0].fd, "graph/C/diff");
	same_dir(s->overlay->layer[1].fd, "graph/A/diff");
	same_dir(s->overlay->layer[2].fd, "graph/B/diff");
	source_free(s);
	/* Another directory above holds the same names, but other layers. */
	kit_dirs("l/AAA");
	kit_dirs("l/BBB");
	kit_dirs("C/diff");
	ck_assert_int_eq(source_probe("graph/C/merged", &s, &e), -ENOTUNIQ);
	ck_assert_int_eq(umount("graph/C/merged"), 0);
}
END_TEST

START_TEST(real_lowerdir_plus)
{
	char cwd[256], a[300], b[300], c[300];
	struct source *s = NULL;
	struct err e = { 0 };
	int fs, fd;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("a:\\b");
	kit_dirs("c,d");
	kit_dirs("m");
	kit_dirs("data::x");
	snprintf(a, sizeof(a), "%s/a:\\b", cwd);
	snprintf(b, sizeof(b), "%s/c,d", cwd);
	snprintf(c, sizeof(c), "%s/data::x", cwd);
	fs = (int)syscall(SYS_fsopen, "overlay", 1);
	ck_assert_int_ge(fs, 0);
	ck_assert_int_eq(syscall(SYS_fsconfig, fs, 1, "lowerdir+", a, 0), 0);
	ck_assert_int_eq(syscall(SYS_fsconfig, fs, 1, "lowerdir+", b, 0), 0);
	ck_assert_int_eq(syscall(SYS_fsconfig, fs, 1, "metacopy", "on", 0), 0);
	ck_assert_int_eq(syscall(SYS_fsconfig, fs, 1, "datadir+", c, 0), 0);
	ck_assert_int_eq(syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0), 0);
	fd = (int)syscall(SYS_fsmount, fs, 1, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(syscall(SYS_move_mount, fd, "", AT_FDCWD, "m", 4), 0);
	ck_assert_msg(source_probe("m", &s, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(s->overlay->n_layers, 3);
	ck_assert_uint_eq(s->overlay->n_data, 1);
	same_dir(s->overlay->layer[0].fd, "a:\\b");
	same_dir(s->overlay->layer[1].fd, "c,d");
	same_dir(s->overlay->layer[2].fd, "data::x");
	ck_assert_int_eq(s->overlay->metacopy, OVERLAY_ON);
	source_free(s);
	close(fd);
	close(fs);
}
END_TEST

static void expect(const char *path, enum source_kind kind, int rc, const char *says)
{
	struct source *s = NULL;
	struct err e = { 0 };

	ck_assert_msg(source_probe(path, &s, &e) == 0, "%s", e.text);
	ck_assert_int_eq(s->kind, kind);
	ck_assert_int_eq(source_check(s, &e), rc);
	ck_assert_msg(!rc || strstr(e.text, says), "%s", e.text);
	source_free(s);
}

START_TEST(refused)
{
	struct source *s = NULL;
	struct err e = { 0 };
	char opts[1024], cwd[256];

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("l/sub");
	kit_dirs("u");
	kit_dirs("w");
	kit_dirs("m");
	kit_dirs("bind");
	kit_dirs("tmp");
	kit_file("file", "x", 1);
	snprintf(opts, sizeof(opts), "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w", cwd, cwd, cwd);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
	expect("m", SOURCE_OVERLAY, 0, "");
	expect("m/sub", SOURCE_PLAIN, -EOPNOTSUPP, "not the root of a mount");
	expect("l", SOURCE_PLAIN, -EOPNOTSUPP, "no disk of it");
	ck_assert_int_eq(mount("m/sub", "bind", NULL, MS_BIND, NULL), 0);
	expect("bind", SOURCE_PLAIN, -EOPNOTSUPP, "not the root of a mount");
	ck_assert_int_eq(mount("t", "tmp", "tmpfs", 0, NULL), 0);
	expect("tmp", SOURCE_OTHER, -EOPNOTSUPP, "tmpfs");
	ck_assert_int_eq(mount("t", "m/sub", "tmpfs", 0, NULL), 0);
	expect("m", SOURCE_OVERLAY, -EOPNOTSUPP, "m/sub");
	ck_assert_int_eq(umount("m/sub"), 0);
	ck_assert_int_eq(source_probe("file", &s, &e), -ENOTDIR);
	ck_assert_int_eq(source_probe("none", &s, &e), -ENOENT);
	ck_assert_int_eq(rename("l", "moved"), 0);
	ck_assert_int_eq(source_probe("m", &s, &e), -ENOENT);
	ck_assert_ptr_null(s);
}
END_TEST

Suite *storage_source_suite(void)
{
	const char *why = kit_storage_missing(false);
	Suite *s = suite_create("storage_source");
	TCase *t = tcase_create("parse");

	tcase_add_loop_test(t, mountinfo_line, 0, (int)ARRAY_LEN(lines));
	tcase_add_test(t, mountinfo_search);
	tcase_add_loop_test(t, overlay_options, 0, (int)ARRAY_LEN(stacks));
	tcase_add_test(t, overlay_many_layers);
	suite_add_tcase(s, t);
	if (why) {
		kit_skip("storage_source mounts", why);
		return s;
	}
	t = tcase_create("mounts");
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_test(t, real_escapes);
	tcase_add_test(t, real_relative);
	if (kit_kernel(6, 8))
		tcase_add_test(t, real_lowerdir_plus);
	else
		kit_skip("storage_source lowerdir+", "needs Linux 6.8");
	tcase_add_test(t, refused);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
