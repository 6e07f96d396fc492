// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The storage suites compare what podvm makes of a stack of layers with what the
 * kernel's overlayfs makes of it, and what the kernel's EROFS reads from it. Each
 * test has a mount namespace and a directory of its own; both go with it.
 */
#include "tests/kit/storage.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "storage/cmd.h"
#include "storage/disk.h"

#define LIST_BYTES 65536
#define PIECE_BYTES 65536

static char home[200];

/* Where layers may lie: needs trusted and user attributes. */
static void home_pattern(char *dst, size_t room)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dst, room, "%.100s/podvm-storage.XXXXXX", tmp ? tmp : "/tmp");
}

/**
 * kit_storage_enter() - set up: namespace, directory, working directory
 */
void kit_storage_enter(void)
{
	home_pattern(home, sizeof(home));
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert_ptr_nonnull(mkdtemp(home));
	ck_assert_int_eq(chdir(home), 0);
	umask(022);
}

/**
 * kit_storage_leave() - tear down: mounts below the directory, and itself
 */
void kit_storage_leave(void)
{
	struct err e = { 0 };
	struct dirent *d;
	DIR *dir = opendir(home);
	int i;

	ck_assert_int_eq(chdir("/"), 0);
	while (dir && (d = readdir(dir)))
		for (i = 0; i < 8 && d->d_name[0] != '.'; i++)
			if (chdir(home) || umount2(d->d_name, MNT_DETACH | UMOUNT_NOFOLLOW))
				break;
	if (dir)
		closedir(dir);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_msg(dir_remove(AT_FDCWD, home, &e) == 0, "%s", e.text);
}

/* Runs in a child: 0, or the number of the step that is not possible here. */
static int probe(bool erofs)
{
	char dir[200], image[300], opts[1024];
	int step = 0;
	struct err e;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 1;
	home_pattern(dir, sizeof(dir));
	if (!mkdtemp(dir) || chdir(dir))
		return 2;
	if (mkdir("l", 0755) || mkdir("u", 0755) || mkdir("w", 0755) || mkdir("m", 0755))
		step = 2;
	snprintf(opts, sizeof(opts), "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w", dir, dir, dir);
	snprintf(image, sizeof(image), "%s/img", dir);
	if (!step && mount("overlay", "m", "overlay", 0, opts))
		step = 3;
	if (!step && erofs && (kit_export("m", image, &e) < 0 || umount("m")))
		step = 4;
	if (!step && erofs && kit_erofs(image, "m"))
		step = 5;
	umount2("m", MNT_DETACH);
	if (!chdir("/"))
		dir_remove(AT_FDCWD, dir, &e);
	return step;
}

/**
 * kit_storage_missing() - whether the suites can run here
 * @erofs: also mount what was exported
 *
 * Return: NULL when they can; else the reason
 */
const char *kit_storage_missing(bool erofs)
{
	static const char *const why[] = {
		NULL, "no private mount namespace: needs root", "no temporary directory",
		"cannot mount overlayfs", NULL, "cannot mount EROFS from a file",
	};
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(probe(erofs));
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return "cannot fork";
	/* A failing export is a bug that the tests shall show, no reason to skip. */
	return WEXITSTATUS(status) < 6 ? why[WEXITSTATUS(status)] : "unknown";
}

/**
 * kit_overlay() - mount an overlay
 * @options: as for mount(2)
 */
int kit_overlay(const char *options, const char *point)
{
	return mount("overlay", point, "overlay", 0, options);
}

/**
 * kit_export_cached() - map a rootfs with a cache of layers, write its disk into a new file
 * @cache:      directory; NULL: none
 * @ret_cached: layers that came from it; may be NULL
 */
int kit_export_cached(const char *rootfs, const char *cache, const char *image,
		      uint64_t *ret_cached, struct err *e)
{
	struct storage_request req = { .rootfs = rootfs, .serial_stem = "t", .cache_dir = cache };
	_cleanup_close_ int fd = -1;
	struct storage_map *m;
	int rc = storage_map_rootfs(&req, &m, e);

	if (rc < 0)
		return rc;
	if (ret_cached)
		*ret_cached = storage_map_stats(m)->cached;
	fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = fd < 0 ? err_sys(e, "%s", image) : export_image(m, fd, e);
	storage_map_free(m);
	return rc;
}

/**
 * kit_export() - map a rootfs and write its disk into a new file
 */
int kit_export(const char *rootfs, const char *image, struct err *e)
{
	return kit_export_cached(rootfs, NULL, image, NULL, e);
}

static int64_t time_shift;

time_t __wrap_time(time_t *t);
time_t __real_time(time_t *t);

/* What time() says to our objects. */
time_t __wrap_time(time_t *t)
{
	time_t now = __real_time(NULL) + time_shift;

	if (t)
		*t = now;
	return now;
}

/**
 * kit_time_shift() - let time() be so much later: what was just made becomes old
 */
void kit_time_shift(int64_t seconds)
{
	time_shift = seconds;
}

static bool no_tmpfile;

int __wrap_openat64(int fd, const char *path, int flags, ...);
int __real_openat64(int fd, const char *path, int flags, ...);

/* Only what makes a file has a mode; reading it otherwise does no harm. */
int __wrap_openat64(int fd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return __real_openat64(fd, path, flags, mode);
}

/**
 * kit_no_tmpfile() - from now on the file system has no files without a name
 */
void kit_no_tmpfile(void)
{
	no_tmpfile = true;
}

/**
 * kit_erofs() - mount an image, from the file itself or by a loop device
 * @image: absolute path
 */
int kit_erofs(const char *image, const char *point)
{
	char *const argv[] = { strdup("mount"), strdup("-t"), strdup("erofs"), strdup("-o"),
			       strdup("loop,ro"), strdup(image), strdup(point), NULL };
	struct err e;
	size_t i;
	int rc;

	rc = mount(image, point, "erofs", MS_RDONLY, NULL);
	if (rc)
		rc = proc_run("/bin/mount", argv, &e);
	for (i = 0; argv[i]; i++)
		free(argv[i]);
	return rc;
}

/**
 * kit_fsck() - fsck.erofs on an image
 */
int kit_fsck(const char *image, struct err *e)
{
	char *const argv[] = { strdup("fsck.erofs"), strdup(image), NULL };
	int rc = proc_run("/usr/bin/fsck.erofs", argv, e);

	free(argv[0]);
	free(argv[1]);
	return rc;
}

/**
 * kit_dump() - dump.erofs on an image: superblock and statistics of all files
 */
int kit_dump(const char *image, struct err *e)
{
	char *const argv[] = { strdup("dump.erofs"), strdup("-s"), strdup("-S"), strdup(image), NULL };
	int rc = proc_run("/usr/bin/dump.erofs", argv, e);
	size_t i;

	for (i = 0; argv[i]; i++)
		free(argv[i]);
	return rc;
}

/**
 * kit_file() - make a file with content
 */
void kit_file(const char *path, const void *data, size_t len)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct err e = { 0 };

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_msg(write_full(fd, data, len, &e) == 0, "%s", e.text);
}

/**
 * kit_dirs() - make a directory and those above it
 */
void kit_dirs(const char *path)
{
	struct err e = { 0 };

	ck_assert_msg(dir_make(path, 0755, &e) == 0, "%s", e.text);
}

/**
 * kit_kernel() - whether the kernel is at least so new
 */
bool kit_kernel(unsigned int major, unsigned int minor)
{
	unsigned int a, b;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &a, &b) != 2)
		return false;
	return a > major || (a == major && b >= minor);
}

/**
 * kit_random() - splitmix64
 */
uint64_t kit_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* ---- comparing two trees ------------------------------------------------- */

struct names {
	char **v;
	size_t n;
};

/* How many names each inode has in each tree: filled first, compared after. */
struct link {
	uint64_t ino_a, ino_b, count_a, nlink_b;
};

struct compare {
	struct link *links;
	size_t n_links, room;
	struct err *e;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(struct names *l)
{
	while (l->n)
		free(l->v[--l->n]);
	free(l->v);
}

/* Names in a directory. A whiteout may be listed by overlayfs, but is not there. */
static struct names list_dir(int fd)
{
	struct names l = { 0 };
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(again);
	struct dirent *d;
	struct stat st;

	ck_assert_ptr_nonnull(dir);
	while ((d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT))
			continue;
		l.v = realloc(l.v, (l.n + 1) * sizeof(char *));
		ck_assert_ptr_nonnull(l.v);
		l.v[l.n++] = strdup(d->d_name);
	}
	closedir(dir);
	if (l.n)
		qsort(l.v, l.n, sizeof(char *), by_name);
	return l;
}

/* Attributes as sorted "name=length:value" with values in hexadecimal. */
static struct names list_xattrs(const char *path, bool overlay)
{
	static char list[LIST_BYTES], value[LIST_BYTES];
	ssize_t len = llistxattr(path, list, sizeof(list)), n, k;
	struct names l = { 0 };
	char *a;

	for (a = list; len > 0 && a < list + len; a += strlen(a) + 1) {
		struct strbuf b = { 0 };

		n = lgetxattr(path, a, value, sizeof(value));
		if (overlay && str_starts(a, "trusted.overlay."))
			strbuf_add(&b, "trusted.overlay.overlay.%s", a + 16);
		else
			strbuf_add(&b, "%s", a);
		strbuf_add(&b, "=%zd:", n);
		for (k = 0; k < n; k++)
			strbuf_add(&b, "%02x", (unsigned char)value[k]);
		l.v = realloc(l.v, (l.n + 1) * sizeof(char *));
		ck_assert_ptr_nonnull(l.v);
		l.v[l.n++] = b.text;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(char *), by_name);
	return l;
}

static int differ(struct compare *c, const char *path, const char *what)
{
	char shown[300];

	str_quote(shown, sizeof(shown), path);
	return err_set(c->e, EILSEQ, "%s: %s differs", shown, what);
}

static int same_names(struct compare *c, const char *path, const char *what,
		      const struct names *a, const struct names *b)
{
	char text[600];
	size_t i;

	for (i = 0; i < a->n || i < b->n; i++)
		if (i >= a->n || i >= b->n || strcmp(a->v[i], b->v[i])) {
			snprintf(text, sizeof(text), "%s (%.200s, %.200s)", what,
				 i < a->n ? a->v[i] : "-", i < b->n ? b->v[i] : "-");
			return differ(c, path, text);
		}
	return 0;
}

static int same_xattrs(struct compare *c, const char *pa, const char *pb)
{
	struct names a = list_xattrs(pa, true), b = list_xattrs(pb, false);
	int rc = same_names(c, pb, "an attribute", &a, &b);

	names_free(&a);
	names_free(&b);
	return rc;
}

/* Reads of @len bytes at @at are the same. */
static bool same_bytes(int a, int b, off_t at, size_t len)
{
	static char ba[PIECE_BYTES], bb[PIECE_BYTES];
	ssize_t na = pread(a, ba, len, at), nb = pread(b, bb, len, at);

	return na >= 0 && na == nb && !memcmp(ba, bb, (size_t)na);
}

/* Data is compared whole; of a hole, the beginning and the end. */
static int same_content(struct compare *c, const char *pa, const char *pb, off_t size)
{
	_cleanup_close_ int a = open(pa, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int b = open(pb, O_RDONLY | O_CLOEXEC);
	off_t at = 0, data;

	if (a < 0 || b < 0)
		return differ(c, pb, "opening");
	while (at <= size) {
		if (!same_bytes(a, b, at, PIECE_BYTES))
			return differ(c, pb, "content");
		at += PIECE_BYTES;
		data = size > 1 << 20 ? lseek(a, at, SEEK_DATA) : at;
		if (data < 0 && errno == ENXIO)
			data = size;
		if (data - PIECE_BYTES > at)
			at = data - PIECE_BYTES;
	}
	return 0;
}

static int same_target(struct compare *c, const char *pa, const char *pb)
{
	char a[PATH_MAX + 1], b[PATH_MAX + 1];
	ssize_t na = readlink(pa, a, sizeof(a)), nb = readlink(pb, b, sizeof(b));

	if (na < 0 || na != nb || memcmp(a, b, (size_t)na))
		return differ(c, pb, "symlink target");
	return 0;
}

static int count_link(struct compare *c, const char *path, const struct stat *a,
		      const struct stat *b)
{
	size_t i;

	for (i = 0; i < c->n_links; i++) {
		struct link *l = &c->links[i];

		if ((l->ino_a == a->st_ino) != (l->ino_b == b->st_ino))
			return differ(c, path, "identity of hard links");
		if (l->ino_a == a->st_ino) {
			l->count_a++;
			return 0;
		}
	}
	if (c->n_links == c->room) {
		c->room = c->room ? 2 * c->room : 256;
		c->links = realloc(c->links, c->room * sizeof(*c->links));
		ck_assert_ptr_nonnull(c->links);
	}
	c->links[c->n_links++] = (struct link){ a->st_ino, b->st_ino, 1, b->st_nlink };
	return 0;
}

static int same_entry(struct compare *c, const char *pa, const char *pb)
{
	struct stat a, b;
	int rc;

	if (lstat(pa, &a) || lstat(pb, &b))
		return differ(c, pb, "presence");
	if (a.st_mode != b.st_mode)
		return differ(c, pb, "mode");
	if (a.st_uid != b.st_uid || a.st_gid != b.st_gid)
		return differ(c, pb, "owner");
	if (a.st_mtim.tv_sec != b.st_mtim.tv_sec || a.st_mtim.tv_nsec != b.st_mtim.tv_nsec)
		return differ(c, pb, "mtime");
	if ((S_ISCHR(a.st_mode) || S_ISBLK(a.st_mode)) && a.st_rdev != b.st_rdev)
		return differ(c, pb, "device number");
	if (!S_ISDIR(a.st_mode) && a.st_size != b.st_size)
		return differ(c, pb, "size");
	rc = same_xattrs(c, pa, pb);
	if (!rc && S_ISREG(a.st_mode))
		rc = same_content(c, pa, pb, a.st_size);
	if (!rc && S_ISLNK(a.st_mode))
		rc = same_target(c, pa, pb);
	if (!rc && !S_ISDIR(a.st_mode))
		rc = count_link(c, pb, &a, &b);
	return rc;
}

static int same_dir(struct compare *c, const char *pa, const char *pb)
{
	_cleanup_close_ int a = open(pa, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int b = open(pb, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct names na, nb;
	struct stat st;
	size_t i, subdirs = 0;
	int rc;

	if (a < 0 || b < 0)
		return differ(c, pb, "opening");
	na = list_dir(a);
	nb = list_dir(b);
	rc = same_entry(c, pa, pb);
	if (!rc)
		rc = same_names(c, pb, "a name", &na, &nb);
	for (i = 0; !rc && i < na.n; i++) {
		char ca[PATH_MAX], cb[PATH_MAX];

		snprintf(ca, sizeof(ca), "%s/%s", pa, na.v[i]);
		snprintf(cb, sizeof(cb), "%s/%s", pb, na.v[i]);
		if (!lstat(ca, &st) && S_ISDIR(st.st_mode)) {
			subdirs++;
			rc = same_dir(c, ca, cb);
		} else {
			rc = same_entry(c, ca, cb);
		}
	}
	if (!rc && !fstat(b, &st) && st.st_nlink != 2 + subdirs)
		rc = differ(c, pb, "nlink of a directory");
	names_free(&na);
	names_free(&nb);
	return rc;
}

/**
 * kit_same_tree() - compare an overlay with the EROFS that was made of it
 *
 * Names, types, modes, owners, times of modification, sizes, device numbers,
 * attributes, targets, contents, and which names are the same file. The link
 * count must be that of the names in the tree: overlayfs shows the layer's.
 *
 * Return: 0; -EILSEQ with the first difference
 */
int kit_same_tree(const char *overlay, const char *erofs, struct err *e)
{
	struct compare c = { .e = e };
	size_t i;
	int rc = same_dir(&c, overlay, erofs);

	for (i = 0; !rc && i < c.n_links; i++)
		if (c.links[i].count_a != c.links[i].nlink_b)
			rc = err_set(e, EILSEQ, "inode %llu: %llu names, nlink %llu",
				     (unsigned long long)c.links[i].ino_b,
				     (unsigned long long)c.links[i].count_a,
				     (unsigned long long)c.links[i].nlink_b);
	free(c.links);
	return rc;
}
