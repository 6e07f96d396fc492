// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Single objects of a delta being carried out: finding, removing and finishing them. All
 * by a directory's descriptor and one component, and without following anything.
 *
 * What attributes a delta decides is one list here: those are taken off an object that is
 * made or kept, before the delta's own are set; all others (labels, overlayfs's own) are
 * the host's and stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/writeback.h"

#define LIST_BYTES_MAX 65536

/**
 * object_failed() - an error from errno
 * @name: what it is about; NULL: the directory itself
 *
 * Return: minus errno
 */
int object_failed(const char *name, const char *what, struct err *e)
{
	int code = errno;
	char shown[256];

	str_quote(shown, sizeof(shown), name && *name ? name : ".");
	return err_set(e, code, "%s: %s: %s", shown, what, strerror(code));
}

/**
 * object_open() - openat(2) beneath a directory, without following symbolic links
 * @flags: O_*
 *
 * Return: descriptor, owned by the caller; -1 and errno
 */
int object_open(int at, const char *name, uint64_t flags)
{
	return fd_openat2(at, name, flags | O_NOFOLLOW, flags & O_CREAT ? 0600 : 0,
			  RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

/**
 * object_may_set() - whether a delta decides this attribute
 */
bool object_may_set(const char *attr)
{
	return str_starts(attr, "user.") || !strcmp(attr, OBJECT_CAPABILITY) ||
	       !strcmp(attr, "system.posix_acl_access") ||
	       !strcmp(attr, "system.posix_acl_default");
}

/**
 * object_strip() - take off what a new object inherited, or a directory had
 *
 * Return: 0 or minus errno
 */
int object_strip(int fd, const char *name, struct err *e)
{
	_cleanup_free_ char *list = malloc(LIST_BYTES_MAX);
	struct fd_path path = fd_path(fd);
	ssize_t n;
	char *x;

	if (!list)
		return err_set(e, ENOMEM, "out of memory");
	n = listxattr(path.s, list, LIST_BYTES_MAX);
	if (n < 0 && errno != EOPNOTSUPP)
		return object_failed(name, "attributes", e);
	for (x = list; n > 0 && x < list + n; x += strlen(x) + 1)
		if (object_may_set(x) && removexattr(path.s, x) < 0 && errno != ENODATA)
			return object_failed(name, x, e);
	return 0;
}

/**
 * object_clear() - remove what has the name, if anything
 * @ret_caps: capabilities that it had
 *
 * The kernel leaves a whiteout where it must.
 *
 * Return: 0 or minus errno
 */
int object_clear(int dir, const char *name, struct object_caps *ret_caps, struct err *e)
{
	struct err why = { 0 };
	struct stat st;

	ret_caps->len = -1;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : object_failed(name, "stat", e);
	if (S_ISREG(st.st_mode)) {
		_cleanup_close_ int fd = object_open(dir, name, O_PATH);

		ret_caps->len = fd < 0 ? -1 : getxattr(fd_path(fd).s, OBJECT_CAPABILITY,
						       ret_caps->value, sizeof(ret_caps->value));
	}
	if (S_ISDIR(st.st_mode) ? dir_remove(dir, name, &why) < 0
				: unlinkat(dir, name, 0) < 0) {
		if (why.code)
			return err_set(e, why.code, "remove: %s", why.text);
		return object_failed(name, "remove", e);
	}
	return 0;
}

/**
 * object_finish() - mode and times, which come last
 *
 * Return: 0 or minus errno
 */
int object_finish(int fd, const char *name, const struct delta_attr *x, struct err *e)
{
	struct timespec t[2] = {{x->atime_s, (long)x->atime_ns}, {x->mtime_s, (long)x->mtime_ns}};

	if (!S_ISLNK(x->mode) && chmod(fd_path(fd).s, x->mode & 07777) < 0)
		return object_failed(name, "mode", e);
	if (utimensat(fd, "", t, AT_EMPTY_PATH) < 0)
		return object_failed(name, "times", e);
	return 0;
}

static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

/**
 * object_look() - what a delta can change of a directory itself
 *
 * Return: 0 or minus errno
 */
int object_look(int fd, struct object_look *ret, struct err *e)
{
	_cleanup_free_ char *list = malloc(LIST_BYTES_MAX), *value = malloc(DELTA_VALUE_MAX);
	ssize_t n, len;
	char *x;

	if (!list || !value)
		return err_set(e, ENOMEM, "out of memory");
	if (fstat(fd, &ret->st) < 0)
		return object_failed(NULL, "stat", e);
	/* A sum does not depend on the order. */
	ret->attrs = 0;
	n = flistxattr(fd, list, LIST_BYTES_MAX);
	for (x = list; n > 0 && x < list + n; x += strlen(x) + 1) {
		len = object_may_set(x) ? fgetxattr(fd, x, value, DELTA_VALUE_MAX) : -1;
		if (len >= 0)
			ret->attrs += hash(hash(0xcbf29ce484222325ull, x, strlen(x) + 1), value,
					   (size_t)len);
	}
	return 0;
}

/**
 * object_same() - whether two looks found the same
 */
bool object_same(const struct object_look *a, const struct object_look *b)
{
	return a->st.st_mode == b->st.st_mode && a->st.st_uid == b->st.st_uid &&
	       a->st.st_gid == b->st.st_gid && a->st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&
	       a->st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec && a->attrs == b->attrs;
}
