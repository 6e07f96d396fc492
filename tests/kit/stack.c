// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Makes a stack of layers from a seed, below the working directory, and mounts it
 * with overlayfs. There are three kinds:
 *
 *	written    the layers are written as engines unpack them: all types of files,
 *	           whiteouts of both kinds, opaque directories, owners, times, attributes
 *	lived      the lowest layer is written; each other one is what overlayfs itself
 *	           wrote while the stack so far was mounted and its tree was changed at
 *	           random: redirects, metadata-only copies, whiteouts, copied-up links
 *	data-only  metadata-only files with redirects into data-only layers, below a
 *	           layer that overlayfs wrote
 *
 * Names come from a small set, so that layers collide often. The layers lie on the
 * file system of the working directory or on a tmpfs, which takes long attributes
 * and any time. What an operation on a merged tree cannot do is no failure: only what
 * the layers look like in the end counts.
 */
#include "tests/kit/stack.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "tests/kit/storage.h"

#define LAYERS_MAX 7
#define GIB (1ll << 30)

/**
 * struct maker - state of making a stack
 * @own:    prefix of overlayfs's attributes
 * @base:   directory below all layers of the last mount; NULL: none
 * @modern: the kernel knows attributes as whiteouts (Linux 6.8)
 * @roomy:  the layers are on a tmpfs that takes long attributes
 * @links:  files of the layer that may get another name
 * @left:   entries that the layer may still get
 */
struct maker {
	uint64_t rng;
	const char *own, *base;
	bool modern, roomy, user;
	char links[32][PATH_MAX];
	unsigned int n_links, left;
	struct stack_made *made;
	char cwd[256], point[PATH_MAX];
};

static unsigned int pick(struct maker *k, unsigned int n)
{
	return (unsigned int)(kit_random(&k->rng) >> 11) % n;
}

static bool one_in(struct maker *k, unsigned int n)
{
	return !pick(k, n);
}

static const char *pick_name(struct maker *k)
{
	static char longest[256], ugly[256];
	static const char *const names[] = {
		"a", "b", "c", "dd", "ee", "usr", "etc", "sp ace", "new\nline", "\xff\xfe",
		"!", "-", "..x", ".h", "~", "\xc3\xa4", "a.b", "abcdefgh", "abcdefghi",
		"abcdefgh\x01", "back\\slash", "co:lon", "com,ma", "\\054", "...", "a", "b", "c",
		"usr", "etc", longest, ugly,
	};

	memset(longest, 'L', 255);
	memset(ugly, '\x80', 255);
	return names[pick(k, ARRAY_LEN(names))];
}

/* ---- attributes ---------------------------------------------------------------- */

static void put_xattr(const char *path, const char *name, const void *v, size_t len)
{
	/* User attributes are for files and directories, and room is short on ext4. */
	if (lsetxattr(path, name, v, len, 0))
		ck_assert_msg(errno == EPERM || errno == ENOSPC || errno == EOPNOTSUPP ||
			      errno == E2BIG || errno == ERANGE || errno == ENODATA ||
			      errno == ENOENT,
			      "%s: %s", name, strerror(errno));
}

static void many_xattrs(struct maker *k, const char *path)
{
	char name[64], value[200];
	unsigned int i, n = 5 + pick(k, 60);

	for (i = 0; i < n; i++) {
		memset(value, (int)i, sizeof(value));
		snprintf(name, sizeof(name), "trusted.many-%u", i);
		put_xattr(path, name, value, pick(k, sizeof(value)));
	}
}

static void random_xattrs(struct maker *k, const char *path)
{
	/* ACL: version 2; user::rwx, user:1000:r-x, group::r-x, mask::r-x, other::--- */
	static const unsigned char acl[] = {
		2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 232, 3, 0, 0,
		4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255,
		32, 0, 0, 0, 255, 255, 255, 255,
	};
	/* cap_net_raw+ep, version 2 */
	static const unsigned char cap[] = { 1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	static const char label[] = "system_u:object_r:container_file_t:s0:c1,c2";
	static char value[60000];
	char name[256];
	struct stat st;
	unsigned int i, room = k->roomy && one_in(k, 20) ? sizeof(value) : 1500;

	if (lstat(path, &st))
		return;
	for (i = 0; i < room; i++)
		value[i] = (char)pick(k, 256);
	/* A full inode could not be looked up: overlayfs notes the origin of directories. */
	if (!k->roomy && lsetxattr(path, "trusted.spare", value, 300, 0))
		return;
	for (i = pick(k, 4); i; i--) {
		memset(name, 0, sizeof(name));
		snprintf(name, 40, pick(k, 2) ? "trusted.n%u" : "user.n%u", pick(k, 1000));
		if (one_in(k, 20))
			memset(name + strlen(name), 'x', 255 - strlen(name));
		put_xattr(path, name, value, pick(k, 5) ? pick(k, 40) : pick(k, room));
	}
	if (one_in(k, 30))
		many_xattrs(k, path);
	if (one_in(k, 4))
		put_xattr(path, "security.selinux", label, sizeof(label));
	if (!S_ISLNK(st.st_mode) && one_in(k, 6))
		put_xattr(path, "system.posix_acl_access", acl, sizeof(acl));
	if (S_ISDIR(st.st_mode) && one_in(k, 6))
		put_xattr(path, "system.posix_acl_default", acl, sizeof(acl));
	if (S_ISREG(st.st_mode) && one_in(k, 6))
		put_xattr(path, "security.capability", cap, sizeof(cap));
	if (!k->roomy)
		ck_assert_int_eq(lremovexattr(path, "trusted.spare"), 0);
}

/* What only layers have, not merged trees. */
static void layer_xattrs(struct maker *k, const char *path)
{
	char name[64];

	if (one_in(k, 6)) {
		snprintf(name, sizeof(name), "%sorigin", k->own);
		put_xattr(path, name, "notahandle", 10);
	}
	if (k->modern && one_in(k, 6)) {
		snprintf(name, sizeof(name), "%soverlay.opaque", k->own);
		put_xattr(path, name, "y", 1);
	}
}

/* @made: in a merged tree, where some of it may fail. */
static void random_owner(struct maker *k, const char *path, bool made)
{
	static const uid_t ids[] = { 0, 1, 1000, 65534, 65536, 100000, 4294967294u };
	struct timespec t[2] = { { 0, UTIME_OMIT }, { 0, 0 } };
	struct stat st;
	int rc = lchown(path, ids[pick(k, 7)], ids[pick(k, 7)]);

	ck_assert(made || !rc);
	if (lstat(path, &st))
		return;
	if (!S_ISLNK(st.st_mode))
		rc = chmod(path, pick(k, 3) ? 0755 : pick(k, 010000));
	ck_assert(made || !rc);
	random_xattrs(k, path);
	if (!made)
		layer_xattrs(k, path);
	t[1].tv_sec = pick(k, 8) ? (time_t)pick(k, 2000000000) :
				   pick(k, 2) ? -(time_t)pick(k, 2000000000) : 5000000000;
	if (k->roomy && one_in(k, 16))
		t[1].tv_sec = one_in(k, 2) ? 1ll << 40 : -(1ll << 40);
	t[1].tv_nsec = pick(k, 1000000000);
	rc = utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW);
	ck_assert(made || !rc);
}

/* ---- files --------------------------------------------------------------------- */

static void sparse_file(struct maker *k, const char *path)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	off_t size = one_in(k, 4) ? 4 * GIB + 1 + pick(k, 1 << 30) : 1 + pick(k, 8 << 20);
	unsigned int i;

	ck_assert(fd >= 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	for (i = pick(k, 3); i; i--)
		ck_assert_int_eq(pwrite(fd, "data", 4, (off_t)(kit_random(&k->rng) % (uint64_t)size)), 4);
}

static void random_file(struct maker *k, const char *path)
{
	static const unsigned int sizes[] = { 0, 1, 100, 4095, 4096, 4097, 8192, 20000 };
	static char data[20000];
	unsigned int i, n = sizes[pick(k, ARRAY_LEN(sizes))];

	if (one_in(k, 12)) {
		sparse_file(k, path);
	} else {
		for (i = 0; i < n; i += 1 + pick(k, 50))
			data[i] = (char)pick(k, 256);
		kit_file(path, data, n);
	}
	if (k->n_links < ARRAY_LEN(k->links))
		snprintf(k->links[k->n_links++], PATH_MAX, "%s", path);
}

static void random_symlink(struct maker *k, const char *path)
{
	char target[4096];
	size_t n = pick(k, 6) ? 1 + pick(k, 60) : 1 + pick(k, 4000);

	memset(target, 't', n);
	target[n] = 0;
	ck_assert(!symlink(target, path) || errno == ENAMETOOLONG || errno == ENOSPC);
}

static void random_special(struct maker *k, const char *path)
{
	const dev_t devs[] = { 0x103, makedev(8, 1), makedev(4095, 1048575), makedev(0, 5) };
	mode_t type = (mode_t[]){ S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK }[pick(k, 4)];

	ck_assert_int_eq(mknod(path, type | 0600, devs[pick(k, 4)]), 0);
}

static void random_dir(struct maker *k, const char *path, unsigned int depth, bool x);

/* Names in a row, so that the directory has several blocks. */
static void large_dir(struct maker *k, const char *path)
{
	unsigned int i, n = 100 + pick(k, 500);
	char child[PATH_MAX + 80];

	for (i = 0; i < n; i++) {
		snprintf(child, sizeof(child), "%s/%0*u", path, (int)(1 + pick(k, 60)), i);
		if (one_in(k, 2))
			kit_file(child, "", 0);
		else
			ck_assert(!mkdir(child, 0755) || errno == EEXIST);
	}
	k->made->entries += n;
}

static void deep_dir(struct maker *k, char *path, size_t room)
{
	unsigned int i, n = 1 + pick(k, 40);
	size_t len = strlen(path);

	for (i = 0; i < n && len + 4 < room; i++) {
		snprintf(path + len, room - len, "/d%u", pick(k, 3));
		len = strlen(path);
		ck_assert(!mkdir(path, 0755) || errno == EEXIST);
	}
}

static void new_dir(struct maker *k, const char *path, unsigned int depth, bool x)
{
	char deep[PATH_MAX];

	ck_assert_int_eq(mkdir(path, 0755), 0);
	if (depth < 2 && one_in(k, 60))
		large_dir(k, path);
	if (one_in(k, 60)) {
		snprintf(deep, sizeof(deep), "%s", path);
		deep_dir(k, deep, 1000);
	}
	random_dir(k, path, depth + 1, x);
}

/* Return: whether something was made that takes attributes. */
static bool random_entry(struct maker *k, const char *path, unsigned int depth, bool x)
{
	char name[64];

	switch (pick(k, 16)) {
	case 0: case 1: case 2: case 3: case 4:
		new_dir(k, path, depth, x);
		return true;
	case 5: case 6: case 7:
		if (depth < UINT_MAX)
			ck_assert_int_eq(mknod(path, S_IFCHR | 0600, makedev(0, 0)), 0);
		return false;
	case 8:
		random_symlink(k, path);
		return true;
	case 9: case 10:
		random_special(k, path);
		return true;
	case 11:
		if (k->n_links && !link(k->links[pick(k, k->n_links)], path))
			return false;
		break;
	case 12:
		if (!x)
			break;
		kit_file(path, "", 0);
		snprintf(name, sizeof(name), "%swhiteout", k->own);
		ck_assert_int_eq(lsetxattr(path, name, "", 0, 0), 0);
		return false;
	default:
		break;
	}
	random_file(k, path);
	return true;
}

/* @x: the layer uses attributes as whiteouts. */
static void random_dir(struct maker *k, const char *path, unsigned int depth, bool x)
{
	unsigned int i, n = depth > 3 ? 0 : pick(k, depth ? 7 : 14);
	char child[PATH_MAX], name[64];
	struct stat st;

	snprintf(name, sizeof(name), "%sopaque", k->own);
	if (x)
		ck_assert_int_eq(lsetxattr(path, name, "x", 1, 0), 0);
	for (i = 0; i < n && k->left; i++) {
		snprintf(child, sizeof(child), "%s/%s", path, pick_name(k));
		if (!lstat(child, &st))
			continue;
		k->left--;
		k->made->entries++;
		if (random_entry(k, child, depth, x))
			random_owner(k, child, false);
	}
	if (depth && !x && one_in(k, 5))
		ck_assert_int_eq(lsetxattr(path, name, "y", 1, 0), 0);
}

static void random_layer(struct maker *k, const char *dir, bool lower)
{
	kit_dirs(dir);
	k->left = 60;
	k->n_links = 0;
	random_dir(k, dir, 0, k->modern && lower && one_in(k, 4));
	random_owner(k, dir, false);
}

/* ---- mounting ------------------------------------------------------------------- */

/* Mounts layers @first..@n - 1 (0 is the topmost); @first is the upper one if @upper. */
static void mount_stack(struct maker *k, unsigned int first, unsigned int n, bool upper,
			const char *more, const char *point)
{
	char opts[4096];
	size_t at;
	unsigned int i;

	at = (size_t)snprintf(opts, sizeof(opts), "%s%slowerdir=", k->user ? "userxattr," : "", more);
	for (i = first + upper; i < n; i++)
		at += (size_t)snprintf(opts + at, sizeof(opts) - at, "%s/L%u:", k->cwd, i);
	if (k->base && !strcmp(point, k->point))
		at += (size_t)snprintf(opts + at, sizeof(opts) - at, "%s:", k->base);
	opts[--at] = 0;
	if (upper) {
		char work[16];

		snprintf(work, sizeof(work), "w%u", first);
		kit_dirs(work);
		snprintf(opts + at, sizeof(opts) - at, ",upperdir=%s/L%u,workdir=%s/%s", k->cwd,
			 first, k->cwd, work);
	}
	ck_assert_msg(kit_overlay(opts, point) == 0, "%s: %s", opts, strerror(errno));
}

static void written(struct maker *k, const char *point)
{
	unsigned int n = 2 + pick(k, LAYERS_MAX - 2), i;
	bool upper = one_in(k, 2);
	char dir[16];

	k->made->kind = "written";
	k->made->layers = n;
	k->made->lower = n - upper;
	for (i = 0; i < n; i++) {
		snprintf(dir, sizeof(dir), "L%u", i);
		random_layer(k, dir, !upper || i);
	}
	mount_stack(k, 0, n, upper, "", point);
}

/* ---- changing a merged tree -------------------------------------------------------- */

/* Some entry of a directory, NULL if it has none. */
static char *pick_entry(struct maker *k, const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;
	char *name = NULL;
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (one_in(k, ++n)) {
			free(name);
			name = strdup(d->d_name);
		}
	}
	if (dir)
		closedir(dir);
	return name;
}

/* Some path of the tree at @point; of a directory if @dir. */
static void pick_path(struct maker *k, const char *point, bool dir, char *dst)
{
	size_t len = (size_t)snprintf(dst, PATH_MAX, "%s", point);
	struct stat st;

	for (;;) {
		_cleanup_free_ char *name = pick_entry(k, dst);

		if (!name || len + strlen(name) + 2 > 3000)
			return;
		snprintf(dst + len, PATH_MAX - len, "/%s", name);
		if (lstat(dst, &st) || (dir && !S_ISDIR(st.st_mode))) {
			dst[len] = 0;
			return;
		}
		len += strlen(name) + 1;
		if (!S_ISDIR(st.st_mode) || one_in(k, 3))
			return;
	}
}

/* A path for something new, often one that is there. */
static void pick_new(struct maker *k, const char *point, char *dst)
{
	char dir[PATH_MAX];

	pick_path(k, point, true, dir);
	if (snprintf(dst, PATH_MAX, "%s/%s", dir, pick_name(k)) >= PATH_MAX)
		snprintf(dst, PATH_MAX, "%s/z", point);
}

static void write_some(struct maker *k, const char *path)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(path, &st) || !S_ISREG(st.st_mode) || st.st_size > 1 << 24)
		return;
	fd = open(path, O_WRONLY | O_CLOEXEC | (one_in(k, 4) ? O_TRUNC : O_APPEND));
	if (fd >= 0 && pick(k, 3))
		ck_assert_int_eq(write(fd, "more", 4), 4);
}

static void change(struct maker *k, const char *point)
{
	char path[PATH_MAX], to[PATH_MAX];
	struct stat st;
	int rc = 0;

	pick_path(k, point, false, path);
	pick_new(k, point, to);
	if (!strcmp(path, point))
		snprintf(path, sizeof(path), "%s", to);
	switch (pick(k, 12)) {
	case 0: case 1: case 2:
		/* Directories most of all: they get redirects. */
		if (one_in(k, 2))
			pick_path(k, point, true, path);
		rc = rename(path, to);
		break;
	case 3:
		rc = unlink(path);
		break;
	case 4:
		if (strcmp(path, point) && one_in(k, 2))
			rc = dir_remove(AT_FDCWD, path, NULL);
		else
			rc = rmdir(path);
		break;
	case 5: case 6:
		random_owner(k, path, true);
		break;
	case 7:
		rc = link(path, to);
		break;
	case 8:
		write_some(k, path);
		break;
	case 9:
		if (lstat(to, &st))
			rc = mkdir(to, 0755);
		break;
	case 10:
		rc = symlink("target", to);
		break;
	default:
		if (!lstat(to, &st))
			break;
		random_file(k, to);
		random_owner(k, to, true);
	}
	k->made->entries++;
	(void)rc;
}

/* What the first mount of a stack writes by itself goes with it. */
static void live(struct maker *k, unsigned int first, unsigned int n, const char *more)
{
	unsigned int i, turns = 5 + pick(k, 30);
	char dir[16];

	snprintf(dir, sizeof(dir), "L%u", first);
	kit_dirs(dir);
	kit_dirs("live");
	mount_stack(k, first, n, true, more, "live");
	k->n_links = 0;
	for (i = 0; i < turns; i++)
		change(k, "live");
	ck_assert_int_eq(umount("live"), 0);
}

static void lived(struct maker *k, const char *point)
{
	unsigned int n = 2 + pick(k, LAYERS_MAX - 2), i;
	const char *more = k->user ? "" : (const char *const[]){
		"redirect_dir=on,metacopy=on,index=off,", "redirect_dir=on,metacopy=on,index=off,",
		"redirect_dir=on,", "metacopy=on,redirect_dir=on,xino=on,", "" }[pick(k, 5)];
	bool upper = one_in(k, 2);
	char dir[16];

	k->made->kind = "lived";
	k->made->layers = n;
	k->made->lower = n - upper;
	snprintf(dir, sizeof(dir), "L%u", n - 1);
	random_layer(k, dir, true);
	if (n > 2 && one_in(k, 2)) {
		snprintf(dir, sizeof(dir), "L%u", n - 2);
		random_layer(k, dir, true);
		i = n - 2;
	} else {
		i = n - 1;
	}
	while (i--)
		live(k, i, n, more);
	/* One layer is not enough for a mount without an upper one. */
	mount_stack(k, 0, n, upper, more, point);
}

static void put_data(struct maker *k, unsigned int i)
{
	static char data[5000];
	char path[64], layer[32], redirect[64];
	unsigned int size = pick(k, sizeof(data)), n = pick(k, 2);

	memset(data, (int)('a' + i % 26), sizeof(data));
	snprintf(layer, sizeof(layer), "D%u/obj/%u", n, i % 4);
	kit_dirs(layer);
	snprintf(path, sizeof(path), "%s/o%u", layer, i);
	kit_file(path, data, size);
	snprintf(redirect, sizeof(redirect), "/obj/%u/o%u", i % 4, i);
	snprintf(path, sizeof(path), "L1/d%u", i % 3);
	kit_dirs(path);
	snprintf(path, sizeof(path), "L1/d%u/f%u", i % 3, i);
	kit_file(path, "", 0);
	ck_assert_int_eq(truncate(path, size), 0);
	ck_assert_int_eq(setxattr(path, "trusted.overlay.metacopy", "", 0, 0), 0);
	ck_assert_int_eq(setxattr(path, "trusted.overlay.redirect", redirect, strlen(redirect), 0), 0);
	random_owner(k, path, false);
}

static void data_only(struct maker *k, const char *point)
{
	unsigned int i, n = 3 + pick(k, 20);
	char opts[2000];

	k->made->kind = "data-only";
	k->made->layers = 4;
	k->made->lower = 1;
	k->made->entries = n;
	kit_dirs("L0");
	kit_dirs("L1");
	kit_dirs("D0");
	kit_dirs("D1");
	kit_dirs("live");
	kit_dirs("w");
	for (i = 0; i < n; i++)
		put_data(k, i);
	if (one_in(k, 2))
		kit_dirs("L1/d0/more");
	snprintf(opts, sizeof(opts), "metacopy=on,redirect_dir=on,lowerdir=%s/L1::%s/D0::%s/D1,upperdir=%s/L0,workdir=%s/w",
		 k->cwd, k->cwd, k->cwd, k->cwd, k->cwd);
	ck_assert_msg(kit_overlay(opts, "live") == 0, "%s: %s", opts, strerror(errno));
	for (i = pick(k, 20); i; i--)
		change(k, "live");
	ck_assert_int_eq(umount("live"), 0);
	if (one_in(k, 2)) {
		snprintf(opts, sizeof(opts), "metacopy=on,redirect_dir=follow,lowerdir=%s/L0:%s/L1::%s/D0::%s/D1",
			 k->cwd, k->cwd, k->cwd, k->cwd);
		k->made->lower = 2;
	}
	ck_assert_msg(kit_overlay(opts, point) == 0, "%s: %s", opts, strerror(errno));
}

/**
 * stack_make() - make and mount a stack
 * @seed:  decides everything, with what the kernel can do
 * @point: directory to mount it on, absolute or in the working directory; the layers
 *         are made beside it or on a tmpfs at "t" that becomes the working directory
 * @base:  one more layer below all, absolute; not for data-only stacks, which are not
 *         made then; NULL: none
 */
void stack_make(uint64_t seed, const char *point, const char *base, struct stack_made *ret)
{
	struct maker *k = mem_new(struct maker);
	const char *at;

	ck_assert_ptr_nonnull(k);
	ck_assert_ptr_nonnull(realpath(point, k->point));
	at = k->point;
	k->base = base;
	k->rng = seed;
	k->made = ret;
	*ret = (struct stack_made){ .kind = "" };
	k->modern = kit_kernel(6, 8);
	if (one_in(k, 2)) {
		kit_dirs("t");
		ck_assert_int_eq(mount("t", "t", "tmpfs", 0, NULL), 0);
		ck_assert_int_eq(chdir("t"), 0);
		k->roomy = kit_kernel(6, 6);
	}
	ck_assert_ptr_nonnull(getcwd(k->cwd, sizeof(k->cwd)));
	k->user = one_in(k, 6) && (k->roomy || !base);
	k->own = k->user ? "user.overlay." : "trusted.overlay.";
	if (one_in(k, 8) && !k->user && !base && kit_kernel(6, 5))
		data_only(k, at);
	else if (one_in(k, 2))
		lived(k, at);
	else
		written(k, at);
	free(k);
}
