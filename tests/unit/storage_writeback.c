// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container's changes and their way back, with the kernel as the judge. "m" is the
 * engine's overlay; "g" an overlay over it, as the guest has one; "r" a copy of the
 * engine's, in which the same is done by overlayfs itself. What the agent tells of g's
 * upper directory is carried out in m's: then m must look as g did, and m's upper
 * directory as r's. Then deltas that no agent tells, and the n-th call failing.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define failed tell_failed
#define flush tell_flush
#include "guest/agent/delta.c"
#undef failed
#undef flush

#include "lib/journal.h"
#include "lib/proc.h"
#include "storage/writeback.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakehost.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *storage_writeback_suite(void);

static const struct writeback_config all = {
	.bytes_max = 64u << 20, .names_max = 100000, .devices = true, .file_caps = true};

static void shell(const char *dir, const char *script)
{
	struct strbuf b = { 0 };
	char *argv[4] = { strdup("sh"), strdup("-ec"), NULL, NULL };
	struct err e = { 0 };

	strbuf_add(&b, "cd %s\n%s", dir, script);
	argv[2] = b.text;
	ck_assert_msg(proc_run("/bin/sh", argv, &e) == 0, "%s: %s", script, e.text);
	free(argv[0]);
	free(argv[1]);
	strbuf_done(&b);
}

/* ---- a tree as text --------------------------------------------------------------- */

struct dump {
	struct strbuf text;
	bool times; /* instead of which names are one file */
	uint64_t ino[4000];
	char *first[4000];
	size_t n_ino;
};

/* From an upper directory: a moved directory is opaque also where nothing is below. */
static bool in_lower(const char *path)
{
	char low[5000];
	int i;

	for (i = 1; i <= 2; i++) {
		snprintf(low, sizeof(low), "../../low%d/%s", i, path);
		if (!access(low, F_OK))
			return true;
	}
	return false;
}

static void dump_xattrs(struct dump *d, const char *path)
{
	static char list[65536], value[65536];
	ssize_t n = llistxattr(path, list, sizeof(list)), k, i;
	char *sorted[64], *x;
	size_t count = 0, j;

	for (x = list; n > 0 && x < list + n; x += strlen(x) + 1) {
		/* What overlayfs keeps for itself, and nobody can see in the tree. */
		if (str_starts(x, "trusted.overlay.") &&
		    (strcmp(x, "trusted.overlay.opaque") || !in_lower(path)))
			continue;
		for (j = count++; j && strcmp(sorted[j - 1], x) > 0; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = x;
	}
	for (j = 0; j < count; j++) {
		k = lgetxattr(path, sorted[j], value, sizeof(value));
		strbuf_add(&d->text, " %s=", sorted[j]);
		for (i = 0; i < k; i++)
			strbuf_add(&d->text, "%02x", (unsigned char)value[i]);
	}
}

static uint64_t hash_file(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t h = 0xcbf29ce484222325ull;
	uint8_t buf[4096];
	ssize_t n, i;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (i = 0; i < n; i++)
			h = (h ^ buf[i]) * 0x100000001b3ull;
	return h;
}

static void dump_names(struct dump *d, const char *path, const struct stat *st)
{
	size_t i;

	/* A file that was copied up may keep the number that it had below. */
	if (S_ISDIR(st->st_mode) || d->times)
		return;
	for (i = 0; i < d->n_ino && d->ino[i] != st->st_ino; i++)
		;
	if (i < d->n_ino) {
		strbuf_add(&d->text, " same-as %s", d->first[i]);
		return;
	}
	d->ino[d->n_ino] = st->st_ino;
	d->first[d->n_ino++] = strdup(path);
}

static int no_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void dump_one(struct dump *d, const char *path)
{
	char target[4096] = "", child[5000], shown[5000];
	struct dirent **v = NULL;
	struct stat st;
	ssize_t n;
	int i, count;

	ck_assert_msg(lstat(path, &st) == 0, "%s: %s", path, strerror(errno));
	str_quote(shown, sizeof(shown), path);
	if (S_ISCHR(st.st_mode) && !st.st_rdev) {
		strbuf_add(&d->text, "%s whiteout\n", shown);
		return;
	}
	strbuf_add(&d->text, "%s %o %u:%u", shown, st.st_mode, st.st_uid, st.st_gid);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		strbuf_add(&d->text, " dev %x", (unsigned int)st.st_rdev);
	if (d->times)
		strbuf_add(&d->text, " %lld.%09ld", (long long)st.st_mtim.tv_sec,
			   st.st_mtim.tv_nsec);
	if (S_ISREG(st.st_mode))
		strbuf_add(&d->text, " %lld %llx", (long long)st.st_size,
			   (unsigned long long)hash_file(path));
	if (S_ISLNK(st.st_mode)) {
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = 0;
		strbuf_add(&d->text, " -> %s", target);
	}
	dump_names(d, path, &st);
	dump_xattrs(d, path);
	strbuf_add(&d->text, "\n");
	if (!S_ISDIR(st.st_mode))
		return;
	count = scandir(path, &v, no_dots, by_bytes);
	for (i = 0; i < count; i++) {
		snprintf(child, sizeof(child), "%s/%s", path, v[i]->d_name);
		/* overlayfs may list a whiteout that is not there. */
		if (lstat(child, &st) == 0)
			dump_one(d, child);
		free(v[i]);
	}
	free(v);
}

static char *dump(const char *dir, bool times)
{
	struct dump *d = mem_new(struct dump);
	char back[4096], *text;

	ck_assert_ptr_nonnull(getcwd(back, sizeof(back)));
	ck_assert_int_eq(chdir(dir), 0);
	d->times = times;
	dump_one(d, ".");
	ck_assert_msg(chdir(back) == 0, "%s: %s", back, strerror(errno));
	while (d->n_ino)
		free(d->first[--d->n_ino]);
	text = d->text.text;
	free(d);
	return text;
}

static void same(const char *a, const char *b, const char *what)
{
	size_t i = 0, line = 0;

	while (a[i] && a[i] == b[i]) {
		if (a[i] == '\n')
			line = i + 1;
		i++;
	}
	ck_assert_msg(a[i] == b[i], "%s:\n got:  %.400s\n want: %.400s", what, a + line, b + line);
}

/* ---- overlays ---------------------------------------------------------------------- */

static void over(const char *point, const char *lower, const char *upper, const char *work,
		 const char *extra)
{
	char opts[2000], cwd[256];
	struct strbuf b = { 0 };
	const char *s;

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs(point);
	kit_dirs(upper);
	kit_dirs(work);
	for (s = lower; *s;) {
		size_t n = strcspn(s, ":");

		strbuf_add(&b, "%s%s/%.*s", s == lower ? "" : ":", cwd, (int)n, s);
		s += n + (s[n] == ':');
	}
	snprintf(opts, sizeof(opts), "lowerdir=%s,upperdir=%s/%s,workdir=%s/%s,%s", b.text, cwd,
		 upper, cwd, work, extra);
	strbuf_done(&b);
	ck_assert_msg(kit_overlay(opts, point) == 0, "%s: %s", opts, strerror(errno));
}

static const char base[] =
	"mkdir -p low1 low2/d/sub low2/gone low2/opq eng/up\n"
	"mkdir -p low1/d low1/opq\n"
	"echo one > low1/d/a; echo two > low2/d/b; echo deep > low2/d/sub/x\n"
	"echo lower > low2/file; echo mode > low2/mode; chmod 4755 low2/mode\n"
	"echo h > low2/hard; ln low2/hard low2/hard2; ln -s file low2/link; mkfifo low2/fifo\n"
	"echo x > low2/gone/y; echo old > low2/opq/old; echo old > low1/opq/old1\n"
	"chown -h 1000:2000 low2/link; touch -d '2001-02-03 04:05:06.789' low2/d/b\n"
	"echo upper > eng/up/mine; mkdir -p eng/up/own/in eng/up/d\n"
	"echo 1 > eng/up/own/1; echo 2 > eng/up/own/in/2; echo over > eng/up/d/a\n"
	"echo l > eng/up/l1; ln eng/up/l1 eng/up/l2; chmod 700 eng/up/d; chown 5:6 eng/up/own\n"
	"mknod eng/up/d/b c 0 0\n";

/* m: the engine's; r: the same again, for reference; g: the guest's, over m. */
static void mount_all(const char *extra)
{
	shell(".", base);
	ck_assert_int_eq(setxattr("eng/up/own", "user.old", "1", 1, 0), 0);
	shell(".", "mkdir ref; cp -a eng/up ref/up");
	over("m", "low1:low2", "eng/up", "eng/work", extra);
	over("r", "low1:low2", "ref/up", "ref/work", extra);
	over("g", "m", "gu", "gw", "redirect_dir=off,metacopy=off,index=off");
}

static int tell_all(void)
{
	_cleanup_close_ int upper = open("gu", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = memfd_create("delta", MFD_CLOEXEC);
	struct err e = { 0 };

	ck_assert_msg(delta_tell(upper, fd, &e) == 0, "%s", e.text);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void nothing_left(void)
{
	struct dirent **v = NULL;
	int i, n = scandir("eng", &v, no_dots, by_bytes);

	for (i = 0; i < n; i++) {
		ck_assert_msg(!str_starts(v[i]->d_name, WRITEBACK_PREFIX), "%s stays",
			      v[i]->d_name);
		free(v[i]);
	}
	free(v);
}

static int come_back(int stream, const struct writeback_config *c, struct writeback_stats *st,
		     struct err *e)
{
	struct writeback *w = NULL;
	int rc = writeback_new("m", &w, e);

	ck_assert_msg(rc == 0, "%s", e->text);
	rc = writeback_run(w, stream, c, st, e);
	writeback_free(w);
	return rc;
}

/* ---- each rule of overlayfs ----------------------------------------------------------- */

static const char *const rules[] = {
	"true",
	"echo new > new",
	"echo more >> file",
	"rm file",
	"rm mine",
	"rm mine; echo other > mine",
	"rm file; mkdir file; echo in > file/in",
	"rm -r gone",
	"rm -r gone; mkdir gone",
	"rm -r gone; echo file > gone",
	"rm -r opq; mkdir opq; echo new > opq/new",
	"rm -r own",
	"rm -r own; mkdir own; echo z > own/z",
	"rm -r own/in; mkdir own/in",
	"rm -r d",
	"rm -r d; mkdir d; echo only > d/only",
	"rm d/a",
	"rm d/a d/sub/x",
	"echo back > d/b",
	"rm d/a; echo again > d/a; rm d/a",
	"chmod 600 file; chmod 2755 d; chown 7:8 d/sub",
	"chmod u+s file; chown 9:9 mode; chmod 6755 mode",
	"touch -d '1999-12-31 23:59:59.123456789' file d",
	"touch -d '1960-01-02 03:04:05.6' file; touch -d '2400-01-01' new",
	"mv file moved",
	"mv mine moved",
	"mv file mine",
	"mv own owned",
	"mkdir t; mv t d/t; echo x > d/t/x",
	"mkdir t; rm -r gone; mv t gone",
	"ln file filelink",
	"ln mine minelink; echo more >> minelink",
	"echo a > a; ln a b; ln a d/c; mkdir z; ln a z/d",
	"rm l1",
	"rm l1; ln l2 l3",
	"ln hard hard3",
	"ln -sf nowhere link; ln -s /abs/olute abs; ln -s l sl; ln sl sl2",
	"mkfifo p; ln p p2; rm fifo; mkfifo fifo; chmod 611 fifo",
	"chown -h 3:4 link; touch -h -d 2010-10-10 link",
	"truncate -s 20M sparse; echo end >> sparse; truncate -s 0 file",
	"seq 400000 > big",
	"printf x | dd of=hole bs=1 seek=1000000 2> /dev/null; truncate -s 3000001 hole",
	"touch -- -dash ' blank' \"$(printf 'new\\nline')\" \"$(printf '\\377\\376')\" \"$(printf "
	"%255s x)\"",
	"i=0; while [ $i -lt 300 ]; do echo $i > many-$i; i=$((i + 1)); done; rm many-27* d/sub/x",
	"i=0; p=.; while [ $i -lt 150 ]; do p=$p/deep; mkdir $p; i=$((i + 1)); done; echo x > $p/x",
	"i=0; while [ $i -lt 60 ]; do ln -s sy$i sy$((i + 1)); i=$((i + 1)); done; ln -s loop loop; "
	"ln -s ../../../../../../etc/passwd up",
	"chmod 0 d; chmod 1777 . ; chown 11:12 .; touch -d 2011-11-11 .",
	"python3 -c 'import socket as s; s.socket(s.AF_UNIX).bind(\"sock\")' || mkfifo sock",
};

static void check_same(const char *script)
{
	char *want = dump("g", true), *ref, *got, *up;
	_cleanup_close_ int stream = tell_all();
	struct writeback_stats st;
	struct err e = { 0 };
	int rc;

	rc = come_back(stream, &all, &st, &e);
	ck_assert_msg(rc == 0, "%s: %s", script, e.text);
	ck_assert_uint_eq(st.no_attrs, 0);
	nothing_left();
	ck_assert_int_eq(umount2("g", 0), 0);
	ck_assert_int_eq(umount2("m", 0), 0);
	ck_assert_int_eq(umount2("r", 0), 0);
	ref = dump("ref/up", false);
	up = dump("eng/up", false);
	same(up, ref, script);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	got = dump("m", true);
	same(got, want, script);
	free(want);
	free(ref);
	free(got);
	free(up);
}

START_TEST(each_rule)
{
	kit_no_sync = _i > 3;
	mount_all("index=off");
	shell("g", rules[_i]);
	shell("r", rules[_i]);
	check_same(rules[_i]);
}
END_TEST

/* Many of them, one after the other, and coming back after each. */
START_TEST(again_and_again)
{
	size_t i, n = kit_rounds(16);

	kit_no_sync = true;
	shell(".", base);
	shell(".", "mkdir ref; cp -a eng/up ref/up");
	n = n < ARRAY_LEN(rules) ? n : ARRAY_LEN(rules);
	for (i = 0; i < n; i++) {
		const char *rule = rules[i * ARRAY_LEN(rules) / n];
		char script[600];

		snprintf(script, sizeof(script), "( set +e; exec 2> /dev/null; %s; true )", rule);
		over("m", "low1:low2", "eng/up", "eng/work", "index=off");
		over("r", "low1:low2", "ref/up", "ref/work", "index=off");
		/* As the agent makes it: the root is like the one below. */
		shell(".", "mkdir gu; chmod --reference=m gu; chown --reference=m gu");
		over("g", "m", "gu", "gw", "redirect_dir=off,metacopy=off,index=off");
		shell("g", script);
		shell("r", script);
		check_same(rule);
		ck_assert_int_eq(umount2("m", 0), 0);
		shell(".", "rm -rf gu gw");
	}
}
END_TEST

static ino_t upper_inode(void)
{
	struct stat st;

	ck_assert_int_eq(stat("eng/up", &st), 0);
	return st.st_ino;
}

/* Without a change the engine's mount goes on; each change of the root counts. */
START_TEST(nothing_changed)
{
	static const char *const scripts[] = { "true", "ls -lR . > /dev/null; cat file > /dev/null",
					       "chmod 711 .", "chown 1:0 .", "touch .",
					       "python3 -c 'import os; os.setxattr(\".\", \"user.a\", b\"1\")'" };
	struct writeback_stats st;
	struct err e = { 0 };
	ino_t before;
	int stream;

	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	shell(".", "mkdir gu; chmod --reference=m gu; chown --reference=m gu; touch -r m gu");
	over("g", "m", "gu", "gw", "redirect_dir=off,metacopy=off,index=off");
	shell("g", scripts[_i]);
	stream = tell_all();
	before = upper_inode();
	ck_assert_msg(come_back(stream, &all, &st, &e) == 0, "%s", e.text);
	ck_assert_int_eq(st.changed, _i > 1);
	ck_assert_int_eq(upper_inode() != before, _i > 1);
	close(stream);
}
END_TEST

/* Names of one file in the engine's layer part when one is written, as in any layer. */
START_TEST(old_links)
{
	char *want, *got;
	_cleanup_close_ int stream = -1;
	struct writeback_stats st;
	struct err e = { 0 };

	mount_all("index=off");
	shell("g", "echo p > l2");
	want = dump("g", true);
	stream = tell_all();
	ck_assert_msg(come_back(stream, &all, &st, &e) == 0, "%s", e.text);
	umount2("g", 0);
	umount2("m", 0);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	got = dump("m", true);
	same(got, want, "old links");
	free(want);
	free(got);
}
END_TEST

/* An upper directory with redirects and metacopy keeps them. */
START_TEST(engine_options)
{
	char *want, *got;
	struct writeback_stats st;
	struct err e = { 0 };
	int stream;

	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "redirect_dir=on,metacopy=on,index=off");
	shell("m", "mv d e; chmod 711 file; mv gone d");
	over("g", "m", "gu", "gw", "redirect_dir=off,metacopy=off,index=off");
	shell("g", "rm e/a; echo new > d/new; chmod 755 e; rm d/y");
	want = dump("g", true);
	stream = tell_all();
	ck_assert_msg(come_back(stream, &all, &st, &e) == 0, "%s", e.text);
	close(stream);
	umount2("g", 0);
	umount2("m", 0);
	over("m", "low1:low2", "eng/up", "eng/work", "redirect_dir=on,metacopy=on,index=off");
	got = dump("m", true);
	same(got, want, "redirects");
	free(want);
	free(got);
}
END_TEST

/* ---- attributes --------------------------------------------------------------------- */

static const uint8_t caps[XATTR_CAPS_SZ_2] = { 1, 0, 0, 2, 0, 0x20 };

START_TEST(attributes)
{
	static const uint8_t acl[] = { 2,   0,	0,   0,	  1,   0,   7,	0,   255, 255, 255,
				      255, 2,	0,   6,	  0,   9,   0,	0,   0,	  4,   0,
				      5,   0,	255, 255, 255, 255, 16, 0,   7,	  0,   255,
				      255, 255, 255, 32,  0,   1,   0,	255, 255, 255, 255};
	static char big[3000];
	const char *const roots[] = { "g", "r" };
	char path[64];
	size_t i;

	mount_all("index=off");
	memset(big, 'b', sizeof(big));
	for (i = 0; i < ARRAY_LEN(roots); i++) {
		shell(roots[i], "mkdir acl; echo x > prog; chmod 755 prog; echo u > u");
#define SET(name, attr, v, n)                                                                      \
	do {                                                                                       \
		snprintf(path, sizeof(path), "%s/%s", roots[i], name);                             \
		ck_assert_msg(setxattr(path, attr, v, n, 0) == 0, "%s: %s", path,                  \
			      strerror(errno));                                                    \
	} while (0)
		SET("u", "user.big", big, sizeof(big));
		SET("u", "user.empty", "", 0);
		SET("d", "user.dir", "x", 1);
		SET("own", "user.new", "y", 1);
		SET("prog", "security.capability", caps, sizeof(caps));
		SET("acl", "system.posix_acl_default", acl, sizeof(acl));
		SET("u", "system.posix_acl_access", acl, sizeof(acl));
		snprintf(path, sizeof(path), "%s/own", roots[i]);
		ck_assert_int_eq(removexattr(path, "user.old"), 0);
		shell(roots[i], "echo y > acl/in; mkdir acl/dir; touch -d 2000-01-01 acl/in");
	}
	check_same("attributes");
}
END_TEST

static uint64_t left_out(const struct writeback_config *c, bool nodes)
{
	_cleanup_close_ int stream = tell_all();
	struct writeback_stats st = { 0 };
	struct err e = { 0 };

	ck_assert_msg(come_back(stream, c, &st, &e) == 0, "%s", e.text);
	return nodes ? st.no_nodes : st.no_attrs;
}

START_TEST(capabilities)
{
	struct writeback_config none = all;
	uint8_t got[64];

	none.file_caps = false;
	mount_all("index=off");
	shell("m", "echo p > prog");
	ck_assert_int_eq(setxattr("m/prog", "security.capability", caps, sizeof(caps), 0), 0);
	/* Copied up with the file, not given by the container: stays. */
	shell("g", "chmod 700 prog; echo other > other");
	ck_assert_int_eq(getxattr("g/prog", "security.capability", got, sizeof(got)), sizeof(caps));
	ck_assert_int_eq(setxattr("g/other", "security.capability", caps, sizeof(caps), 0), 0);
	ck_assert_int_eq(setxattr("gu/other", "trusted.mine", "x", 1, 0), 0);
	ck_assert_int_eq(setxattr("gu/other", "trusted.overlay.origin", "x", 1, 0), 0);
	ck_assert_uint_eq(left_out(&none, false), 2);
	ck_assert_int_eq(getxattr("eng/up/prog", "security.capability", got, sizeof(got)),
			 sizeof(caps));
	ck_assert_int_eq(getxattr("eng/up/other", "security.capability", got, sizeof(got)), -1);
	ck_assert_int_eq(getxattr("eng/up/other", "trusted.mine", got, sizeof(got)), -1);
}
END_TEST

START_TEST(devices)
{
	struct writeback_config none = all;
	struct stat st;

	none.devices = false;
	mount_all("index=off");
	shell("g", "mknod null c 1 3; ln null null2; mknod disk b 8 0; echo x > file");
	/* The file system has devices: none is made, whoever may. */
	ck_assert_uint_eq(left_out(_i ? &all : &none, true), 3);
	ck_assert_int_eq(lstat("eng/up/null", &st), -1);
	ck_assert_int_eq(lstat("eng/up/disk", &st), -1);
	ck_assert_int_eq(lstat("eng/up/file", &st), 0);
}
END_TEST

/* On nodev they are, if the container may. */
START_TEST(devices_nodev)
{
	struct writeback_config none = all;
	struct stat st;

	none.devices = false;
	kit_dirs("nodev");
	ck_assert_int_eq(mount("t", "nodev", "tmpfs", MS_NODEV, NULL), 0);
	ck_assert_int_eq(chdir("nodev"), 0);
	mount_all("index=off");
	shell("gu", "mknod null c 1 3; ln null null2; mknod disk b 8 300; chmod 640 disk");
	ck_assert_uint_eq(left_out(_i ? &all : &none, true), _i ? 0 : 3);
	ck_assert_int_eq(lstat("eng/up/null", &st), _i - 1);
	if (_i) {
		ck_assert_uint_eq(st.st_rdev, makedev(1, 3));
		ck_assert_uint_eq(st.st_nlink, 2);
		ck_assert_int_eq(lstat("eng/up/disk", &st), 0);
		ck_assert_uint_eq(st.st_rdev, makedev(8, 300));
		ck_assert_uint_eq(st.st_mode, S_IFBLK | 0640);
	}
	umount2("g", MNT_DETACH);
	umount2("m", MNT_DETACH);
	umount2("r", MNT_DETACH);
	ck_assert_int_eq(chdir(".."), 0);
}
END_TEST

/* ---- refusals --------------------------------------------------------------------------- */

static int refusal(const char *what)
{
	struct writeback *w = NULL;
	struct err e = { 0 };
	int rc = writeback_new("m", &w, &e);

	ck_assert_ptr_null(w);
	ck_assert_msg(strstr(e.text, what), "%s", e.text);
	return rc;
}

START_TEST(refuse_index_on)
{
	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", _i ? "nfs_export=on,index=on" : "index=on");
	ck_assert_int_eq(refusal("=on, which ties it"), -EOPNOTSUPP);
}
END_TEST

START_TEST(moved_meanwhile)
{
	struct writeback *w = NULL;
	struct writeback_stats st;
	struct err e = { 0 };
	int stream;

	mount_all("index=off");
	stream = tell_all();
	ck_assert_int_eq(writeback_new("m", &w, &e), 0);
	shell(".", "mv eng/up eng/elsewhere; mkdir eng/up; touch eng/up/other");
	ck_assert_int_eq(writeback_run(w, stream, &all, &st, &e), -ESTALE);
	writeback_free(w);
	close(stream);
	nothing_left();
	shell(".", "test -e eng/up/other -a -e eng/elsewhere/mine");
}
END_TEST

START_TEST(refuse_volume)
{
	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	ck_assert_int_eq(mount("eng/up", "eng/up", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(refusal("a mount of its own"), -EXDEV);
	ck_assert_int_eq(umount2("eng/up", MNT_DETACH), 0);
}
END_TEST

START_TEST(refuse_readonly)
{
	char opts[700], cwd[256];

	shell(".", "mkdir -p low1 low2 m");
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(opts, sizeof(opts), "lowerdir=%s/low1:%s/low2", cwd, cwd);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
	ck_assert_int_eq(refusal("no overlay with an upper"), -EOPNOTSUPP);
}
END_TEST

/* ---- deltas that no agent tells ------------------------------------------------------------ */

struct delta {
	int fd;
};

static void rec(const struct delta *d, int kind, int flags, const char *name, size_t name_len,
		const void *a, size_t a_len, const void *b, size_t b_len)
{
	struct delta_head h = { .kind = (uint8_t)kind,
			       .flags = (uint8_t)flags,
			       .name_len = (uint16_t)name_len,
			       .len = (uint32_t)(a_len + b_len)};
	struct err e = { 0 };

	ck_assert_int_eq(write_full(d->fd, &h, sizeof(h), &e), 0);
	ck_assert_int_eq(write_full(d->fd, name, name_len, &e), 0);
	ck_assert_int_eq(write_full(d->fd, a, a_len, &e), 0);
	ck_assert_int_eq(write_full(d->fd, b, b_len, &e), 0);
}

static void obj(const struct delta *d, int kind, const char *name, uint32_t mode, uint64_t size,
		const char *target)
{
	struct delta_attr a = { .mode = mode, .size = size, .mtime_s = 1 };

	rec(d, kind, 0, name, strlen(name), &a, sizeof(a), target ? target : "",
	    target ? strlen(target) : 0);
}

static void end(const struct delta *d)
{
	rec(d, DELTA_END, 0, "", 0, "", 0, "", 0);
}
static void dir(const struct delta *d, const char *name)
{
	obj(d, DELTA_DIR, name, 040755, 0, NULL);
}
static void file(const struct delta *d, const char *name)
{
	obj(d, DELTA_FILE, name, 0100644, 0, NULL);
}

static void data(const struct delta *d, uint64_t at, size_t n)
{
	static const char bytes[70000];

	rec(d, DELTA_DATA, 0, "", 0, &at, sizeof(at), bytes, n);
}

static void bad_begin(const struct delta *d)
{
	file(d, "x");
}
static void bad_second_root(const struct delta *d)
{
	dir(d, "");
	dir(d, "");
}
static void bad_slash(const struct delta *d)
{
	dir(d, "");
	file(d, "a/b");
}
static void bad_dot(const struct delta *d)
{
	dir(d, "");
	dir(d, ".");
}
static void bad_dotdot(const struct delta *d)
{
	dir(d, "");
	dir(d, "..");
}
static void bad_up_white(const struct delta *d)
{
	dir(d, "");
	rec(d, DELTA_WHITEOUT, 0, "..", 2, "", 0, "", 0);
}
static void bad_absolute(const struct delta *d)
{
	dir(d, "");
	file(d, "/etc/passwd");
}
static void bad_nul(const struct delta *d)
{
	struct delta_attr a = { .mode = 0100644 };

	dir(d, "");
	rec(d, DELTA_FILE, 0, "a\0b", 3, &a, sizeof(a), "", 0);
}
static void bad_empty(const struct delta *d)
{
	dir(d, "");
	file(d, "");
}
static void bad_type(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_FILE, "x", 040755, 0, NULL);
}
static void bad_type_dir(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_DIR, "x", 0120777, 0, NULL);
}
static void bad_whiteout_node(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_NODE, "x", S_IFCHR | 0600, 0, NULL);
}
static void bad_node_reg(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_NODE, "x", 0100644, 0, NULL);
}
static void bad_data(const struct delta *d)
{
	dir(d, "");
	data(d, 0, 10);
}
static void bad_data_link(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_SYMLINK, "x", 0120777, 0, "file");
	data(d, 0, 10);
}
static void bad_data_end(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_FILE, "x", 0100644, 9, NULL);
	data(d, 0, 10);
}
static void bad_data_wrap(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_FILE, "x", 0100644, 100, NULL);
	data(d, UINT64_MAX - 2, 10);
}
static void bad_data_back(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_FILE, "x", 0100644, 100, NULL);
	data(d, 50, 10);
	data(d, 40, 10);
}
static void bad_size(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_FILE, "x", 0100644, UINT64_MAX, NULL);
}
static void bad_nested(const struct delta *d)
{
	dir(d, "");
	file(d, "x");
	file(d, "y");
}
static void bad_after(const struct delta *d)
{
	dir(d, "");
	end(d);
	file(d, "x");
}
static void bad_kind(const struct delta *d)
{
	dir(d, "");
	rec(d, 77, 0, "", 0, "", 0, "", 0);
}
static void bad_end_twice(const struct delta *d)
{
	dir(d, "");
	end(d);
	end(d);
}
static void bad_link(const struct delta *d)
{
	uint64_t id = 5;

	dir(d, "");
	rec(d, DELTA_LINK, 0, "x", 1, &id, sizeof(id), "", 0);
}
static void bad_link_len(const struct delta *d)
{
	dir(d, "");
	rec(d, DELTA_LINK, 0, "x", 1, "ab", 2, "", 0);
}
static void bad_long(const struct delta *d)
{
	struct delta_head h = { .kind = DELTA_DIR, .len = UINT32_MAX };
	struct err e;

	write_full(d->fd, &h, sizeof(h), &e);
}
static void bad_long_name(const struct delta *d)
{
	struct delta_head h = { .kind = DELTA_DIR, .name_len = 256, .len = 56 };
	struct err e;

	dir(d, "");
	write_full(d->fd, &h, sizeof(h), &e);
}
static void bad_attr_name(const struct delta *d)
{
	dir(d, "");
	rec(d, DELTA_XATTR, 0, "", 0, "x", 1, "", 0);
}
static void bad_target(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_SYMLINK, "x", 0120777, 0, NULL);
}
static void bad_cut(const struct delta *d)
{
	dir(d, "");
	file(d, "x");
	end(d);
	end(d);
}
static void bad_empty_stream(const struct delta *d)
{
	(void)d;
}
static void bad_fail(const struct delta *d)
{
	dir(d, "");
	rec(d, DELTA_FAIL, 0, "", 0, "no\nidea", 7, "", 0);
}
static void bad_deep(const struct delta *d)
{
	unsigned int i;

	for (i = 0; i <= DELTA_DEPTH_MAX + 1; i++)
		dir(d, i ? "d" : "");
}
static void bad_many(const struct delta *d)
{
	unsigned int i;
	char name[20];

	dir(d, "");
	for (i = 0; i < 1001; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		file(d, name);
		end(d);
	}
}
static void bad_bytes(const struct delta *d)
{
	unsigned int i;

	dir(d, "");
	obj(d, DELTA_FILE, "x", 0100644, 1u << 30, NULL);
	for (i = 0; i < 17; i++)
		data(d, i * 65536u, 65536);
}
/* A byte in each block takes the block. */
static void bad_bytes_blocks(const struct delta *d)
{
	unsigned int i;

	dir(d, "");
	obj(d, DELTA_FILE, "x", 0100644, 1u << 30, NULL);
	for (i = 0; i < 257; i++)
		data(d, i * 4096u + 17, 1);
}
static void bad_bytes_attrs(const struct delta *d)
{
	static const char value[60000];
	unsigned int i;

	dir(d, "");
	file(d, "x");
	for (i = 0; i < 20; i++)
		rec(d, DELTA_XATTR, 0, "trusted.x", 9, value, sizeof(value), "", 0);
}

static const struct {
	const char *what;
	void (*tell)(const struct delta *d);
	int code;
} hostile[] = {
#define BAD(name, code)                                                                            \
	{                                                                                          \
#name, bad_##name, code                                                            \
	}
	BAD(begin, EPROTO),	  BAD(second_root, EPROTO), BAD(slash, EPROTO),
	BAD(dot, EPROTO),	  BAD(dotdot, EPROTO),	    BAD(up_white, EPROTO),
	BAD(absolute, EPROTO),	  BAD(nul, EPROTO),	    BAD(empty, EPROTO),
	BAD(type, EPROTO),	  BAD(type_dir, EPROTO),    BAD(whiteout_node, EPROTO),
	BAD(node_reg, EPROTO),	  BAD(data, EPROTO),	    BAD(data_link, EPROTO),
	BAD(data_end, EPROTO),	  BAD(data_wrap, EPROTO),   BAD(data_back, EPROTO),
	BAD(size, EPROTO),	  BAD(nested, EPROTO),	    BAD(after, EPROTO),
	BAD(kind, EPROTO),	  BAD(end_twice, EPROTO),   BAD(link, EPROTO),
	BAD(link_len, EPROTO),	  BAD(long, EPROTO),	    BAD(long_name, EPROTO),
	BAD(attr_name, EPROTO),	  BAD(target, EPROTO),	    BAD(cut, EPIPE),
	BAD(empty_stream, EPIPE), BAD(fail, EREMOTEIO),	    BAD(deep, ELOOP),
	BAD(many, EDQUOT),	  BAD(bytes, EDQUOT),	    BAD(bytes_attrs, EDQUOT),
	BAD(bytes_blocks, EDQUOT),
};

static int stream_of(void (*tell_it)(const struct delta *d))
{
	struct delta d = { memfd_create("delta", MFD_CLOEXEC) };

	tell_it(&d);
	ck_assert_int_eq(lseek(d.fd, 0, SEEK_SET), 0);
	return d.fd;
}

START_TEST(hostile_deltas)
{
	static const struct writeback_config tight = { .bytes_max = 1u << 20, .names_max = 1000 };
	_cleanup_close_ int stream = stream_of(hostile[_i].tell);
	struct writeback_stats st;
	struct err e = { 0 };
	char *before, *after;
	size_t fds;

	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	before = dump("eng/up", true);
	fds = kit_fds();
	ck_assert_int_eq(come_back(stream, &tight, &st, &e), -hostile[_i].code);
	ck_assert_uint_eq(kit_fds(), fds);
	nothing_left();
	after = dump("eng/up", true);
	same(after, before, hostile[_i].what);
	free(before);
	free(after);
}
END_TEST

#define PIECE 1000u
#define BLOCKS 100u

/* A block is paid for once, however many pieces it comes in. */
static void pieces(const struct delta *d)
{
	uint64_t at;

	dir(d, "");
	obj(d, DELTA_FILE, "x", 0100644, BLOCKS * 4096, NULL);
	for (at = 0; at + PIECE <= BLOCKS * 4096; at += PIECE)
		data(d, at, PIECE);
	end(d);
	end(d);
	rec(d, DELTA_DONE, 0, "", 0, "", 0, "", 0);
}

START_TEST(blocks_are_paid_once)
{
	_cleanup_close_ int stream = stream_of(pieces);
	/* Its name is 256. */
	struct writeback_config c = { .bytes_max = BLOCKS * 4096 + 256 - (unsigned int)_i,
				      .names_max = 1 };
	struct writeback_stats s = { 0 };
	struct err e = { 0 };

	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	ck_assert_int_eq(come_back(stream, &c, &s, &e), _i ? -EDQUOT : 0);
	ck_assert_uint_eq(s.bytes, _i ? 0 : BLOCKS * 4096 / PIECE * PIECE);
}
END_TEST

/* ---- time and rights ------------------------------------------------------------------ */

static void *send_names(void *arg)
{
	struct delta_head h = { .kind = DELTA_WHITEOUT, .name_len = 1 };
	char whiteout[sizeof(h) + 1];
	int fd = *(int *)arg;

	memcpy(whiteout, &h, sizeof(h));
	whiteout[sizeof(h)] = 'x';
	while (send(fd, whiteout, sizeof(whiteout), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

/* A guest that always brings something, and one that brings nothing more. */
START_TEST(takes_too_long)
{
	struct writeback_config c = { .bytes_max = UINT64_MAX, .names_max = UINT64_MAX,
				      .ms_max = 100 };
	struct writeback_stats s;
	struct err e = { 0 };
	struct delta d;
	int pair[2];
	pthread_t t;

	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	d.fd = pair[1];
	dir(&d, "");
	if (_i)
		ck_assert_int_eq(pthread_create(&t, NULL, send_names, &pair[1]), 0);
	ck_assert_int_eq(come_back(pair[0], &c, &s, &e), -ETIMEDOUT);
	ck_assert_msg(strstr(e.text, "longer than they may"), "%s", e.text);
	nothing_left();
	shutdown(pair[0], SHUT_RDWR);
	if (_i)
		pthread_join(t, NULL);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

struct worker {
	int stream;
	const struct writeback_config *config;
	pid_t tid;
	uint64_t before, after;
	int rc;
};

static uint64_t effective(pid_t tid)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	struct err e = { 0 };

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	ck_assert_msg(!file_read(AT_FDCWD, path, 65536, &text, NULL, &e), "%s", e.text);
	return strtoull(strstr(text, "CapEff:") + 7, NULL, 16);
}

static void *work(void *arg)
{
	_cleanup_close_ int root = open("tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct worker *w = arg;
	struct writeback_stats s;
	struct err e = { 0 };

	w->before = effective(gettid());
	__atomic_store_n(&w->tid, gettid(), __ATOMIC_RELEASE);
	w->rc = delta_apply(root, w->stream, w->config, &s, &e);
	w->after = effective(gettid());
	return NULL;
}

/* While a guest's records are carried out; before and afterwards the thread has all. */
START_TEST(rights_while_applying)
{
	struct writeback_config c = all;
	struct worker w = { .config = &c };
	uint64_t got, files = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER |
			      1ull << CAP_FSETID | 1ull << CAP_SETFCAP;
	struct delta d;
	struct stat st;
	int pair[2];
	pthread_t t;

	c.devices = _i;
	kit_dirs("tree");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	d.fd = pair[1];
	w.stream = pair[0];
	ck_assert_int_eq(pthread_create(&t, NULL, work, &w), 0);
	dir(&d, "");
	file(&d, "x");
	while (stat("tree/x", &st))
		sched_yield();
	got = effective(w.tid);
	end(&d);
	end(&d);
	rec(&d, DELTA_DONE, 0, "", 0, "", 0, "", 0);
	pthread_join(t, NULL);
	ck_assert_int_eq(w.rc, 0);
	ck_assert_uint_eq(got, w.before & (files | (_i ? 1ull << CAP_MKNOD : 0)));
	ck_assert_uint_eq(w.after, w.before);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

/* Symbolic links as directories: what lies behind them is not reached. */
static void through_links(const struct delta *d)
{
	dir(d, "");
	obj(d, DELTA_SYMLINK, "esc", 0120777, 0, "../../..");
	end(d);
	dir(d, "esc");
	file(d, "inside");
	end(d);
	end(d);
	obj(d, DELTA_SYMLINK, "esc2", 0120777, 0, "/");
	end(d);
	file(d, "esc2");
	end(d);
	/* d is a directory in two layers: becomes a link, then a directory again. */
	obj(d, DELTA_SYMLINK, "d", 0120777, 0, "own");
	end(d);
	dir(d, "d");
	rec(d, DELTA_WHITEOUT, 0, "1", 1, "", 0, "", 0);
	end(d);
	end(d);
	rec(d, DELTA_DONE, 0, "", 0, "", 0, "", 0);
}

START_TEST(links_are_not_followed)
{
	_cleanup_close_ int stream = stream_of(through_links);
	struct writeback_stats s;
	struct err e = { 0 };
	struct stat st;

	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	ck_assert_msg(come_back(stream, &all, &s, &e) == 0, "%s", e.text);
	ck_assert_int_eq(lstat("eng/up/esc/inside", &st), 0);
	ck_assert_int_eq(lstat("inside", &st), -1);
	ck_assert_int_eq(lstat("eng/up/own/1", &st), 0);
	ck_assert_int_eq(lstat("eng/up/esc2", &st), 0);
	ck_assert(S_ISREG(st.st_mode));
}
END_TEST

/* A guest that stops in the middle: whoever waits can give up. */
START_TEST(stalled)
{
	struct delta d;
	struct writeback_stats s;
	struct err e = { 0 };
	int pair[2];

	shell(".", base);
	over("m", "low1:low2", "eng/up", "eng/work", "index=off");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	d.fd = pair[1];
	dir(&d, "");
	file(&d, "x");
	shutdown(pair[0], SHUT_RDWR);
	ck_assert_int_eq(come_back(pair[0], &all, &s, &e), -EPIPE);
	nothing_left();
	close(pair[0]);
	close(pair[1]);
}
END_TEST

/* Any change of a good stream is either a good one or refused, and nothing is left. */
START_TEST(noise)
{
	_cleanup_close_ int stream = -1;
	uint64_t seed = 7919u * (uint64_t)(_i + 1);
	struct writeback_stats s;
	struct stat st;
	uint8_t *map;
	unsigned int i;

	kit_no_sync = true;
	mount_all("index=off");
	shell("g", "echo a > a; ln a b; rm -r gone d/sub; mkdir -p x/y/z; ln -s t l; mkfifo p");
	stream = tell_all();
	ck_assert_int_eq(fstat(stream, &st), 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, stream, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	for (i = 0; i < kit_rounds(20); i++) {
		struct err e = { 0 };
		size_t at = kit_random(&seed) % (uint64_t)st.st_size;
		uint8_t old = map[at];

		map[at] = (uint8_t)kit_random(&seed);
		ck_assert_int_eq(lseek(stream, 0, SEEK_SET), 0);
		/* A new root is exchanged each time: the mount has the old one. */
		if (come_back(stream, &all, &s, &e) == 0) {
			umount2("g", MNT_DETACH);
			umount2("m", MNT_DETACH);
			over("m", "low1:low2", "eng/up", "eng/work", "index=off");
		}
		nothing_left();
		map[at] = old;
	}
	munmap(map, (size_t)st.st_size);
}
END_TEST

/* ---- the n-th call fails ----------------------------------------------------------------------
 */

static int undo_it(const struct writeback *w)
{
	struct journal_rec r = { .word = { "writeback", writeback_dir(w), writeback_name(w)}, .n = 3};
	struct err e = { 0 };
	int rc = writeback_undo(&r, &e);

	ck_assert_msg(rc == 0, "%s", e.text);
	return rc;
}

static const char changes[] =
	"echo a > a; ln a b; rm -r gone own; chmod 711 d; rm d/a; mkdir -p x/y; ln -s t l\n"
	"mkfifo p; rm -r opq; mkdir opq; echo o > opq/o; rm file; mkdir file";

/* Old or new, never between; and what could not be removed is by the undo. */
START_TEST(failing_calls)
{
	_cleanup_close_ int stream = -1;
	char *old_state, *new_state, *now;
	struct writeback_stats s;
	unsigned int n, failed_ones = 0;
	bool fired = true;
	size_t fds = 0;

	mount_all("index=off");
	shell("g", changes);
	ck_assert_int_eq(setxattr("g/a", "user.x", "y", 1, 0), 0);
	stream = tell_all();
	old_state = dump("eng/up", true);
	new_state = NULL;
	for (n = 1; fired; n++) {
		struct writeback *w = NULL;
		struct err e = { 0 };
		int rc;

		ck_assert_int_eq(lseek(stream, 0, SEEK_SET), 0);
		rc = writeback_new("m", &w, &e);
		ck_assert_msg(rc == 0, "%s", e.text);
		kit_fault_arm((unsigned int)_i, n, ENOSPC);
		rc = writeback_run(w, stream, &all, &s, &e);
		fired = kit_fault_fired();
		undo_it(w);
		undo_it(w);
		writeback_free(w);
		nothing_left();
		now = dump("eng/up", true);
		if (rc < 0) {
			same(now, old_state, "a call has failed");
			failed_ones++;
		} else {
			new_state = new_state ? new_state : strdup(now);
			same(now, new_state, "the new state");
			/* Back to the beginning. */
			umount2("m", MNT_DETACH);
			shell(".", "rm -rf eng; mkdir -p eng; cp -a ref/up eng/up; mkdir eng/work");
			over("m", "low1:low2", "eng/up", "eng/work", "index=off");
			free(old_state);
			old_state = dump("eng/up", true);
		}
		free(now);
		if (!fds)
			fds = kit_fds();
		ck_assert_uint_eq(kit_fds(), fds);
	}
	ck_assert_ptr_nonnull(new_state);
	ck_assert_uint_gt(failed_ones, _i == KIT_FAULT_TREE ? 60 : 5);
	free(old_state);
	free(new_state);
}
END_TEST

START_TEST(undo_refuses)
{
	static const char *const names[] = { "up",
					    "..",
					    ".podvm-writeback.",
					    "x/.podvm-writeback.0123456789abcdef",
					    ".podvm-writeback.0123456789abcdeg",
					    ".podvm-writeback.0123456789abcde/"};
	struct journal_rec r = { .word = { "writeback", ".", names[_i]}, .n = 3};
	struct err e = { 0 };

	shell(".", "mkdir up; touch up/kept");
	ck_assert_int_eq(writeback_undo(&r, &e), -EINVAL);
	shell(".", "test -e up/kept");
	r.word[1] = "/no/such/dir";
	r.word[2] = ".podvm-writeback.0123456789abcdef";
	ck_assert_int_eq(writeback_undo(&r, &e), 0);
	r.n = 2;
	ck_assert_int_eq(writeback_undo(&r, &e), -EINVAL);
}
END_TEST

Suite *storage_writeback_suite(void)
{
	Suite *s = suite_create("storage_writeback");
	const char *why = kit_storage_missing(false);
	TCase *t = tcase_create("writeback");

	if (why) {
		kit_skip("storage_writeback", why);
		return s;
	}
	tcase_add_checked_fixture(t, kit_storage_enter, kit_storage_leave);
	tcase_add_loop_test(t, each_rule, 0, (int)ARRAY_LEN(rules));
	tcase_add_test(t, again_and_again);
	tcase_add_loop_test(t, nothing_changed, 0, 6);
	tcase_add_test(t, old_links);
	tcase_add_test(t, engine_options);
	tcase_add_test(t, attributes);
	tcase_add_test(t, capabilities);
	tcase_add_loop_test(t, devices, 0, 2);
	tcase_add_loop_test(t, devices_nodev, 0, 2);
	tcase_add_loop_test(t, refuse_index_on, 0, 2);
	tcase_add_test(t, moved_meanwhile);
	tcase_add_test(t, refuse_volume);
	tcase_add_test(t, refuse_readonly);
	tcase_add_loop_test(t, hostile_deltas, 0, (int)ARRAY_LEN(hostile));
	tcase_add_loop_test(t, blocks_are_paid_once, 0, 2);
	tcase_add_loop_test(t, takes_too_long, 0, 2);
	tcase_add_loop_test(t, rights_while_applying, 0, 2);
	tcase_add_test(t, links_are_not_followed);
	tcase_add_test(t, stalled);
	tcase_add_loop_test(t, noise, 0, 4);
	tcase_add_loop_test(t, failing_calls, KIT_FAULT_TREE, KIT_FAULT_TREE + 1);
	tcase_add_loop_test(t, failing_calls, KIT_FAULT_MEMORY, KIT_FAULT_MEMORY + 1);
	tcase_add_loop_test(t, undo_refuses, 0, 6);
	tcase_set_timeout(t, 300);
	suite_add_tcase(s, t);
	return s;
}
