// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A tmpfs that begins with what the directory below it has (mount option tmpcopyup). The
 * image is hostile: its size is bounded by that of the tmpfs, its depth by DEPTH_MAX, and
 * nothing is opened but directories and regular files, by names that lead through no
 * link. Nobody else is in the container yet, so nothing changes meanwhile.
 *
 * Owners, modes, times and attributes are kept; hard links become files of their own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

#define DEPTH_MAX 64u
#define PIECE_BYTES (1u << 20)

/* As Linux limits them: xattr(7). */
#define LIST_BYTES 65536u
#define VALUE_BYTES 65536u

/* What tmpfs cannot keep is left out. */
static int copy_xattrs(int from, int to, struct err *e)
{
	_cleanup_free_ char *list = malloc(LIST_BYTES), *value = malloc(VALUE_BYTES);
	ssize_t len, n, at;

	if (!list || !value)
		return err_set(e, ENOMEM, "out of memory");
	len = flistxattr(from, list, LIST_BYTES);
	for (at = 0; at < len; at += (ssize_t)strlen(list + at) + 1) {
		n = fgetxattr(from, list + at, value, VALUE_BYTES);
		if (n >= 0 && fsetxattr(to, list + at, value, (size_t)n, 0) < 0 &&
		    errno != EOPNOTSUPP)
			return err_sys(e, "%s", list + at);
	}
	return 0;
}

static int copy_attr(int from, int to, const struct stat *st, struct err *e)
{
	struct timespec t[2] = { st->st_atim, st->st_mtim };

	/* The owner first: a change of it takes set-user-ID and capabilities away. */
	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return err_sys(e, "owner and mode");
	if (copy_xattrs(from, to, e) < 0)
		return -e->code;
	return futimens(to, t) < 0 ? err_sys(e, "times") : 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st, struct err *e)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	ssize_t n;

	if (in < 0)
		return err_sys(e, "open");
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_sys(e, "create");
	do
		n = sendfile(out, in, NULL, PIECE_BYTES);
	while (n > 0);
	return n < 0 ? err_sys(e, "copy") : copy_attr(in, out, st, e);
}

/* Links, and what is never opened. */
static int copy_other(int from, int to, const char *name, const struct stat *st, struct err *e)
{
	struct timespec t[2] = { st->st_atim, st->st_mtim };
	char target[PATH_MAX];
	ssize_t n;
	int rc;

	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(from, name, target, sizeof(target) - 1);
		if (n < 0)
			return err_sys(e, "readlink");
		target[n] = 0;
		rc = symlinkat(target, to, name);
	} else {
		rc = mknodat(to, name, st->st_mode, st->st_rdev);
	}
	if (rc < 0 || fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0) ||
	    utimensat(to, name, t, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "make");
	return 0;
}

static int copy_below(int from, int to, unsigned int depth, struct err *e);

static int copy_dir(int from, int to, const char *name, const struct stat *st, unsigned int depth,
		    struct err *e)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_close_ int in = openat(from, name, flags), out = -1;
	int rc;

	if (depth == DEPTH_MAX)
		return err_set(e, ELOOP, "more than %u directories deep", DEPTH_MAX);
	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return err_sys(e, "directory");
	out = openat(to, name, flags);
	if (out < 0)
		return err_sys(e, "directory");
	rc = copy_below(in, out, depth + 1, e);
	return rc < 0 ? rc : copy_attr(in, out, st, e);
}

static int copy_one(int from, int to, const char *name, unsigned int depth, struct err *e)
{
	struct stat st;
	int rc;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "%s", name);
	if (S_ISDIR(st.st_mode))
		rc = copy_dir(from, to, name, &st, depth, e);
	else if (S_ISREG(st.st_mode))
		rc = copy_file(from, to, name, &st, e);
	else
		rc = copy_other(from, to, name, &st, e);
	return rc < 0 ? err_wrap(e, "%s", name) : 0;
}

static int copy_below(int from, int to, unsigned int depth, struct err *e)
{
	int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = again < 0 ? NULL : fdopendir(again);
	struct dirent *ent;

	if (!d) {
		rc = err_sys(e, "open");
		fd_close(&again);
		return rc;
	}
	while (rc >= 0 && (ent = readdir(d)))
		if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
			rc = copy_one(from, to, ent->d_name, depth, e);
	closedir(d);
	return rc;
}

/**
 * copy_up() - fill a fresh file system with what the directory below it has
 * @from: the directory, opened before it was mounted on, borrowed
 * @to:   root of what was mounted, borrowed
 *
 * Return: 0; -ENOSPC when it does not fit; minus errno, naming the file
 * Context: the child, before anything runs in the container
 */
int copy_up(int from, int to, struct err *e)
{
	_cleanup_close_ int out = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = out < 0 ? err_sys(e, "open") : copy_below(from, out, 0, e);

	return rc < 0 ? err_wrap(e, "tmpcopyup") : 0;
}
