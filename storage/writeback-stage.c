// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The copy of an upper directory that a write-back starts from: directories are made
 * anew, with all of their attributes, overlayfs's own included; everything else is one
 * more name of the same file. So it costs no content, and the old tree stays as it was
 * as long as nobody writes into a file of the copy.
 *
 * Whiteouts are made, not linked: overlayfs itself gives one whiteout as many names as
 * the file system allows.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/delta.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/writeback.h"

#define LIST_BYTES_MAX 65536

static int named(struct err *e, const char *name, const char *what)
{
	int code = errno;
	char shown[256];

	str_quote(shown, sizeof(shown), name);
	return err_set(e, code, "%s: %s: %s", shown, what, strerror(code));
}

static int copy_xattrs(int from, int to, const char *name, struct err *e)
{
	_cleanup_free_ char *list = malloc(LIST_BYTES_MAX), *value = malloc(DELTA_VALUE_MAX);
	ssize_t n, len;
	const char *a;

	if (!list || !value)
		return err_set(e, ENOMEM, "out of memory");
	n = flistxattr(from, list, LIST_BYTES_MAX);
	if (n < 0 && errno != EOPNOTSUPP)
		return named(e, name, "attributes");
	for (a = list; n > 0 && a < list + n; a += strlen(a) + 1) {
		len = fgetxattr(from, a, value, DELTA_VALUE_MAX);
		if (len < 0 && errno == ENODATA)
			continue;
		if (len < 0 || fsetxattr(to, a, value, (size_t)len, 0) < 0)
			return named(e, name, a);
	}
	return 0;
}

static int copy_attrs(int from, int to, const char *name, struct err *e)
{
	struct timespec t[2];
	struct stat st;
	int rc;

	if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
	    fchmod(to, st.st_mode & 07777) < 0)
		return named(e, name, "owner and mode");
	rc = copy_xattrs(from, to, name, e);
	if (rc < 0)
		return rc;
	t[0] = st.st_atim;
	t[1] = st.st_mtim;
	return futimens(to, t) < 0 ? named(e, name, "times") : 0;
}

static int open_dir(int at, const char *name)
{
	return fd_openat2(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
			  RESOLVE_NO_XDEV | RESOLVE_BENEATH);
}

static int copy_dir(int from, int to, const char *name, unsigned int depth, struct err *e);

static int copy_subdir(int from, int to, const char *name, unsigned int depth, struct err *e)
{
	_cleanup_close_ int a = -1, b = -1;

	if (depth == DELTA_DEPTH_MAX)
		return err_set(e, ELOOP, "more than %u directories inside each other", depth);
	a = open_dir(from, name);
	if (a < 0)
		return named(e, name, "open");
	if (mkdirat(to, name, 0700) < 0)
		return named(e, name, "mkdir");
	b = open_dir(to, name);
	if (b < 0)
		return named(e, name, "open");
	return copy_dir(a, b, name, depth, e);
}

static int copy_entry(int from, int to, const char *name, unsigned int depth, struct err *e)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return named(e, name, "stat");
	if (S_ISDIR(st.st_mode))
		return copy_subdir(from, to, name, depth + 1, e);
	if (S_ISCHR(st.st_mode) && !st.st_rdev)
		return mknodat(to, name, S_IFCHR, makedev(0, 0)) < 0 ? named(e, name, "whiteout")
								     : 0;
	return linkat(from, name, to, name, 0) < 0 ? named(e, name, "link") : 0;
}

/* Attributes last: making entries changes the times. */
static int copy_dir(int from, int to, const char *name, unsigned int depth, struct err *e)
{
	int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	struct dirent *d;

	if (!dir) {
		rc = named(e, name, "open");
		fd_close(&again);
		return rc;
	}
	errno = 0;
	while (rc >= 0 && (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			rc = copy_entry(from, to, d->d_name, depth, e);
		errno = 0;
	}
	if (rc >= 0 && errno)
		rc = named(e, name, "read");
	closedir(dir);
	return rc < 0 ? rc : copy_attrs(from, to, name, e);
}

/**
 * upper_copy() - copy a tree by hard links
 * @from: directory that stays as it is, borrowed
 * @to:   empty directory of the same file system, borrowed; becomes like @from
 *
 * Return: 0; minus errno, with the name; what was made stays for the caller to remove
 */
int upper_copy(int from, int to, struct err *e)
{
	int rc = copy_dir(from, to, ".", 0, e);

	return rc < 0 ? err_wrap(e, "copy of the upper directory") : 0;
}
