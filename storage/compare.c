// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Compares a tree that overlayfs shows with the one on the disk that was made of it,
 * entry by entry: names, types, modes, owners, times of modification, sizes, device
 * numbers, targets, extended attributes, contents, and which names are one file. Link
 * counts are left out: overlayfs shows those of the layer.
 *
 * Both trees are walked by descriptors, and no symbolic link is followed. A guest's
 * overlayfs takes one "overlay." away from its own attributes, so that on the disk
 * trusted.overlay.x is called trusted.overlay.overlay.x.
 */
#include "storage/compare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/stop.h"

#define CHUNK (1u << 20)

/* Linux: names of all attributes of a file, and a value, are at most so long. */
#define XATTR_BYTES 65536

/* An entry in both trees. */
struct pair {
	int a_dir, b_dir; /* borrowed */
	const char *name;
	struct stat a, b;
};

struct link {
	ino_t ino, other;
};

static void differ(struct compare *c, const char *name, const char *what)
{
	char shown[300];

	if (c->differ++)
		return;
	str_quote(shown, sizeof(shown), name);
	snprintf(c->first, sizeof(c->first), "%s: %s differs", shown, what);
}

static int by_ino(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Whether @ino was paired with @other each time. */
static int same_link(void **tree, ino_t ino, ino_t other, bool *ret, struct err *e)
{
	struct link *l = mem_new(struct link), **found;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->ino = ino;
	l->other = other;
	found = tsearch(l, tree, by_ino);
	if (!found || *found != l)
		free(l);
	if (!found)
		return err_set(e, ENOMEM, "out of memory");
	*ret = found && (*found)->other == other;
	return 0;
}

struct names {
	char **v;
	size_t n, room;
};

static void names_free(struct names *l)
{
	while (l->n)
		free(l->v[--l->n]);
	free(l->v);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* @text: owned by the list, or freed on failure; NULL is short memory */
static int names_add(struct names *l, char *text, struct err *e)
{
	if (text && l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		char **v = realloc(l->v, room * sizeof(*v));

		if (v) {
			l->v = v;
			l->room = room;
		}
	}
	if (!text || l->n == l->room) {
		free(text);
		return err_set(e, ENOMEM, "out of memory");
	}
	l->v[l->n++] = text;
	return 0;
}

static void names_sort(struct names *l)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_name);
}

/* Names in a directory. Overlayfs may list a whiteout, which is not there. */
static int list(int fd, struct names *l, struct err *e)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	struct dirent *d;
	struct stat st;

	if (!dir) {
		rc = err_sys(e, "directory");
		fd_close(&again);
		return rc;
	}
	while (!rc && (errno = 0, d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT))
			continue;
		rc = names_add(l, strdup(d->d_name), e);
	}
	if (!rc && errno)
		rc = err_sys(e, "readdir");
	closedir(dir);
	names_sort(l);
	return rc;
}

/* Attributes as "name=value" with values in hexadecimal, sorted. */
static int list_xattrs(int dir, const char *name, bool overlay, struct names *l, struct err *e)
{
	static char all[XATTR_BYTES], value[XATTR_BYTES];
	char path[PATH_MAX];
	ssize_t len, n, k;
	char *a;
	int rc = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	len = llistxattr(path, all, sizeof(all));
	if (len < 0)
		return errno == EOPNOTSUPP ? 0 : err_sys(e, "listxattr");
	for (a = all; !rc && a < all + len; a += strlen(a) + 1) {
		struct strbuf b = {0};

		n = lgetxattr(path, a, value, sizeof(value));
		if (n < 0)
			return err_sys(e, "getxattr");
		if (overlay && str_starts(a, "trusted.overlay."))
			strbuf_add(&b, "trusted.overlay.overlay.%s=", a + 16);
		else
			strbuf_add(&b, "%s=", a);
		for (k = 0; k < n; k++)
			strbuf_add(&b, "%02x", (unsigned char)value[k]);
		if (b.failed)
			strbuf_done(&b);
		rc = names_add(l, b.text, e);
	}
	names_sort(l);
	return rc;
}

/* The first name that only one list has; NULL when they are the same. */
static const char *odd_one(const struct names *a, const struct names *b)
{
	size_t i;

	for (i = 0; i < a->n || i < b->n; i++) {
		int d = i >= a->n ? 1 : i >= b->n ? -1 : strcmp(a->v[i], b->v[i]);

		if (d)
			return d < 0 ? a->v[i] : b->v[i];
	}
	return NULL;
}

static int same_xattrs(struct compare *c, const struct pair *p, struct err *e)
{
	struct names a = {0}, b = {0};
	int rc = list_xattrs(p->a_dir, p->name, true, &a, e);
	const char *odd;
	char what[200];

	if (!rc)
		rc = list_xattrs(p->b_dir, p->name, false, &b, e);
	odd = rc ? NULL : odd_one(&a, &b);
	if (odd) {
		snprintf(what, sizeof(what), "attribute %.100s", odd);
		differ(c, p->name, what);
	}
	names_free(&a);
	names_free(&b);
	return rc;
}

static int same_target(struct compare *c, const struct pair *p, struct err *e)
{
	char a[PATH_MAX], b[PATH_MAX];
	ssize_t na = readlinkat(p->a_dir, p->name, a, sizeof(a));
	ssize_t nb = readlinkat(p->b_dir, p->name, b, sizeof(b));

	if (na < 0 || nb < 0)
		return err_sys(e, "readlink");
	if (na != nb || memcmp(a, b, (size_t)na))
		differ(c, p->name, "target");
	return 0;
}

static ssize_t read_some(int fd, char *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int same_content(struct compare *c, const struct pair *p, struct err *e)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	_cleanup_close_ int a = openat(p->a_dir, p->name, flags);
	_cleanup_close_ int b = openat(p->b_dir, p->name, flags);
	static char ba[CHUNK], bb[CHUNK];
	ssize_t na, nb;
	int rc;

	if (a < 0 || b < 0)
		return err_sys(e, "open");
	do {
		rc = stop_check(e);
		if (rc < 0)
			return rc;
		na = read_some(a, ba, sizeof(ba));
		nb = na < 0 ? -1 : read_some(b, bb, sizeof(bb));
		if (na < 0 || nb < 0)
			return err_sys(e, na < 0 ? "read of the mount" : "read of the disk");
		if (na != nb || memcmp(ba, bb, (size_t)na)) {
			differ(c, p->name, "content");
			return 0;
		}
		c->bytes += (uint64_t)na;
	} while (na == sizeof(ba));
	return 0;
}

static int same_links(struct compare *c, const struct pair *p, struct err *e)
{
	bool one, two;
	int rc;

	if (S_ISDIR(p->a.st_mode) || (p->a.st_nlink < 2 && p->b.st_nlink < 2))
		return 0;
	rc = same_link(&c->links_a, p->a.st_ino, p->b.st_ino, &one, e);
	if (!rc)
		rc = same_link(&c->links_b, p->b.st_ino, p->a.st_ino, &two, e);
	if (!rc && (!one || !two))
		differ(c, p->name, "which names are one file");
	return rc;
}

static int same_entry(struct compare *c, const struct pair *p, struct err *e)
{
	const struct stat *a = &p->a, *b = &p->b;
	int rc;

	if (a->st_mode != b->st_mode)
		differ(c, p->name, "type or mode");
	else if (a->st_uid != b->st_uid || a->st_gid != b->st_gid)
		differ(c, p->name, "owner");
	else if (a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec)
		differ(c, p->name, "time of modification");
	else if (!S_ISDIR(a->st_mode) && a->st_size != b->st_size)
		differ(c, p->name, "size");
	else if ((S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode)) && a->st_rdev != b->st_rdev)
		differ(c, p->name, "device number");
	if (a->st_mode != b->st_mode)
		return 0;
	rc = same_xattrs(c, p, e);
	if (!rc)
		rc = same_links(c, p, e);
	if (!rc && S_ISLNK(a->st_mode))
		rc = same_target(c, p, e);
	if (!rc && S_ISREG(a->st_mode) && a->st_size == b->st_size)
		rc = same_content(c, p, e);
	return rc;
}

static int same_dir(struct compare *c, int a_fd, int b_fd, const char *name, struct err *e);

static int below(struct compare *c, const struct pair *p, struct err *e)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_close_ int a = openat(p->a_dir, p->name, flags);
	_cleanup_close_ int b = openat(p->b_dir, p->name, flags);

	if (a < 0 || b < 0)
		return err_sys(e, "open");
	return same_dir(c, a, b, p->name, e);
}

static int same_name(struct compare *c, int a_fd, int b_fd, const char *name, struct err *e)
{
	struct pair p = {.a_dir = a_fd, .b_dir = b_fd, .name = name};
	char shown[300];
	int rc = stop_check(e);

	if (rc < 0)
		return rc;
	c->entries++;
	if (c->progress)
		progress_add(c->progress, 1);
	if (fstatat(a_fd, name, &p.a, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(b_fd, name, &p.b, AT_SYMLINK_NOFOLLOW) < 0)
		rc = err_sys(e, "stat");
	if (!rc)
		rc = same_entry(c, &p, e);
	if (!rc && S_ISDIR(p.a.st_mode) && S_ISDIR(p.b.st_mode) && strcmp(name, "."))
		return below(c, &p, e);
	str_quote(shown, sizeof(shown), name);
	return rc < 0 && rc != -EINTR ? err_wrap(e, "%s", shown) : rc;
}

static int same_dir(struct compare *c, int a_fd, int b_fd, const char *name, struct err *e)
{
	struct names a = {0}, b = {0};
	size_t i = 0, k = 0;
	int rc = list(a_fd, &a, e);

	if (!rc)
		rc = list(b_fd, &b, e);
	if (rc < 0)
		err_wrap(e, "%.200s", name);
	while (!rc && (i < a.n || k < b.n)) {
		int d = i >= a.n ? 1 : k >= b.n ? -1 : strcmp(a.v[i], b.v[k]);

		if (d)
			differ(c, d < 0 ? a.v[i] : b.v[k], "being there");
		else
			rc = same_name(c, a_fd, b_fd, a.v[i], e);
		i += d <= 0;
		k += d >= 0;
	}
	names_free(&a);
	names_free(&b);
	return rc;
}

/**
 * compare_trees() - compare
 * @c:    zero-initialised but for @progress; results are set
 * @a_fd: root of what overlayfs shows, borrowed
 * @b_fd: root of the disk
 *
 * Return: 0, also when they differ; -EINTR (storage/stop.h); minus errno when they
 * could not be read
 */
int compare_trees(struct compare *c, int a_fd, int b_fd, struct err *e)
{
	struct rlimit files;
	int rc;

	/* Two descriptors for each directory on the way down. */
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	rc = same_name(c, a_fd, b_fd, ".", e);
	if (!rc)
		rc = same_dir(c, a_fd, b_fd, "the root", e);
	tdestroy(c->links_a, free);
	tdestroy(c->links_b, free);
	c->links_a = c->links_b = NULL;
	return rc;
}
