// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Tells the host what a container changed: walks the container's upper directory,
 * which outlives its mounts by a descriptor, and writes a delta (lib/delta.h) to a
 * connection. Runs in a child of the agent's own, when all of the container's
 * processes are gone; so nothing changes under the walk, and a host that does not
 * read holds up nobody else.
 *
 * Overlayfs's private attributes are read here and not told: "opaque" becomes a flag,
 * "origin" and the like mean nothing elsewhere. "redirect" and "metacopy" cannot be,
 * since the mount forbids them; they fail the delta rather than lose a file.
 *
 * Source: Linux Documentation/filesystems/overlayfs.rst, "Whiteouts and opaque
 * directories".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/delta.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

#define OUT_BYTES (256u << 10)
#define LIST_BYTES 65536
#define OVERLAY "trusted.overlay."

/**
 * struct teller - a delta on its way
 * @fd:    where it goes, borrowed
 * @out:   bytes that are not written yet
 * @list, @value: room for attributes
 * @seen:  inodes that were told and have more names, tree of tsearch(3)
 */
struct teller {
	int fd;
	uint8_t *out;
	size_t len;
	char *list;
	uint8_t *value;
	void *seen;
	struct err *e;
};

static int failed(struct teller *t, const char *name, const char *what)
{
	int code = errno;
	char shown[256];

	str_quote(shown, sizeof(shown), name);
	return err_set(t->e, code, "%s: %s: %s", shown, what, strerror(code));
}

static int flush(struct teller *t)
{
	struct pollfd f = { .fd = t->fd, .events = POLLOUT };
	size_t done = 0;

	while (done < t->len) {
		ssize_t n = write(t->fd, t->out + done, t->len - done);

		if (n < 0 && errno == EAGAIN)
			poll(&f, 1, -1);
		else if (n < 0 && errno != EINTR)
			return err_sys(t->e, "connection");
		done += n > 0 ? (size_t)n : 0;
	}
	t->len = 0;
	return 0;
}

/* One record; @a and @b follow each other. */
static int tell(struct teller *t, enum delta_kind kind, uint8_t flags, const char *name,
		const void *a, size_t a_len, const void *b, size_t b_len)
{
	struct delta_head h = { .kind = (uint8_t)kind,
			       .flags = flags,
			       .name_len = (uint16_t)strlen(name),
			       .len = (uint32_t)(a_len + b_len)};

	if (t->len + sizeof(h) + h.name_len + h.len > OUT_BYTES && flush(t) < 0)
		return -t->e->code;
	memcpy(t->out + t->len, &h, sizeof(h));
	t->len += sizeof(h);
	memcpy(t->out + t->len, name, h.name_len);
	t->len += h.name_len;
	if (a_len)
		memcpy(t->out + t->len, a, a_len);
	t->len += a_len;
	if (b_len)
		memcpy(t->out + t->len, b, b_len);
	t->len += b_len;
	return 0;
}

static int tell_end(struct teller *t)
{
	return tell(t, DELTA_END, 0, "", NULL, 0, NULL, 0);
}

static void fill(const struct stat *st, struct delta_attr *ret)
{
	*ret = (struct delta_attr){
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = major(st->st_rdev) << 20 | minor(st->st_rdev),
		.mtime_s = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.atime_s = st->st_atim.tv_sec,
		.atime_ns = (uint32_t)st->st_atim.tv_nsec,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.id = !S_ISDIR(st->st_mode) && st->st_nlink > 1 ? st->st_ino : 0,
	};
}

/* Overlayfs's own: never told. */
static int private_attr(struct teller *t, const char *path, const char *attr, const char *name)
{
	ssize_t n;

	if (!strcmp(attr, OVERLAY "redirect") || !strcmp(attr, OVERLAY "metacopy"))
		return err_set(t->e, EOPNOTSUPP, "%s: has %s", name, attr);
	n = getxattr(path, attr, t->value, DELTA_VALUE_MAX);
	return !strcmp(attr, OVERLAY "opaque") && n == 1 && t->value[0] == 'y';
}

/*
 * Attributes of the object behind @fd. With @only_private nothing is told.
 * Return: 1 when it is opaque, 0, minus errno.
 */
static int tell_xattrs(struct teller *t, int fd, const char *name, bool only_private)
{
	struct fd_path p = fd_path(fd);
	const char *path = p.s;
	int opaque = 0, rc;
	ssize_t n, len;
	char *x;

	n = listxattr(path, t->list, LIST_BYTES);
	if (n < 0 && errno != EOPNOTSUPP)
		return failed(t, name, "attributes");
	for (x = t->list; n > 0 && x < t->list + n; x += strlen(x) + 1) {
		if (str_starts(x, OVERLAY)) {
			rc = private_attr(t, path, x, name);
			if (rc < 0)
				return rc;
			opaque |= rc;
			continue;
		}
		if (only_private)
			continue;
		len = getxattr(path, x, t->value, DELTA_VALUE_MAX);
		if (len < 0 && errno == ENODATA)
			continue;
		if (len < 0)
			return failed(t, name, x);
		rc = tell(t, DELTA_XATTR, 0, x, t->value, (size_t)len, NULL, 0);
		if (rc < 0)
			return rc;
	}
	return opaque;
}

/* Parts with content; holes stay holes. */
static int tell_data(struct teller *t, int fd, const char *name, uint64_t size)
{
	uint64_t at = 0, end;
	off_t data, hole;
	ssize_t n;
	int rc;

	while (at < size) {
		data = lseek(fd, (off_t)at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return failed(t, name, "seek");
		end = (uint64_t)hole < size ? (uint64_t)hole : size;
		for (at = (uint64_t)data; at < end; at += (uint64_t)n) {
			size_t want = end - at < DELTA_DATA_MAX ? end - at : DELTA_DATA_MAX;

			n = pread(fd, t->value, want, (off_t)at);
			if (n < 0)
				return failed(t, name, "read");
			if (!n)
				return 0;
			rc = tell(t, DELTA_DATA, 0, "", &at, sizeof(at), t->value, (size_t)n);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static int by_number(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;

	return *a < *b ? -1 : *a > *b;
}

/* Return: 1 when the object was told before, else 0 and it counts as told; minus errno. */
static int told_before(struct teller *t, uint64_t id)
{
	uint64_t *key, **at;

	if (!id)
		return 0;
	if (tfind(&id, &t->seen, by_number))
		return 1;
	key = malloc(sizeof(*key));
	if (!key)
		return err_set(t->e, ENOMEM, "out of memory");
	*key = id;
	at = tsearch(key, &t->seen, by_number);
	if (at)
		return 0;
	free(key);
	return err_set(t->e, ENOMEM, "out of memory");
}

static int tell_object(struct teller *t, int dir, const char *name, const struct stat *st)
{
	_cleanup_close_ int fd = -1;
	struct delta_attr a;
	char target[DELTA_TARGET_MAX + 1];
	ssize_t n = 0;
	int rc;

	fill(st, &a);
	rc = told_before(t, a.id);
	if (rc)
		return rc < 0 ? rc : tell(t, DELTA_LINK, 0, name, &a.id, sizeof(a.id), NULL, 0);
	fd = openat(dir, name,
		    O_NOFOLLOW | O_CLOEXEC |
			    (S_ISREG(st->st_mode) ? O_RDONLY | O_NOATIME : O_PATH));
	if (fd < 0)
		return failed(t, name, "open");
	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(dir, name, target, sizeof(target));
		if (n <= 0 || n > (ssize_t)DELTA_TARGET_MAX)
			return failed(t, name, "readlink");
	}
	rc = tell(t,
		  S_ISREG(a.mode)   ? DELTA_FILE
		  : S_ISLNK(a.mode) ? DELTA_SYMLINK
				    : DELTA_NODE,
		  0, name, &a, sizeof(a), target, (size_t)n);
	if (rc >= 0 && S_ISREG(a.mode))
		rc = tell_data(t, fd, name, a.size);
	if (rc >= 0)
		rc = tell_xattrs(t, fd, name, false);
	return rc < 0 ? rc : tell_end(t);
}

static int tell_dir(struct teller *t, int fd, const char *name, unsigned int depth);

static int tell_entry(struct teller *t, int dir, const char *name, unsigned int depth)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(t, name, "stat");
	if (S_ISCHR(st.st_mode) && !st.st_rdev)
		return tell(t, DELTA_WHITEOUT, 0, name, NULL, 0, NULL, 0);
	if (!S_ISDIR(st.st_mode))
		return tell_object(t, dir, name, &st);
	if (depth == DELTA_DEPTH_MAX)
		return err_set(t->e, ELOOP, "more than %u directories inside each other", depth);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? failed(t, name, "open") : tell_dir(t, fd, name, depth + 1);
}

static int tell_entries(struct teller *t, int fd, const char *name, unsigned int depth)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME), rc = 0;
	DIR *d = again < 0 ? NULL : fdopendir(again);
	struct dirent *x;

	if (!d) {
		rc = failed(t, name, "open");
		fd_close(&again);
		return rc;
	}
	errno = 0;
	while (rc >= 0 && (x = readdir(d))) {
		if (strcmp(x->d_name, ".") && strcmp(x->d_name, ".."))
			rc = tell_entry(t, fd, x->d_name, depth);
		errno = 0;
	}
	if (rc >= 0 && errno)
		rc = failed(t, name, "read");
	closedir(d);
	return rc;
}

static int tell_dir(struct teller *t, int fd, const char *name, unsigned int depth)
{
	struct delta_attr a;
	struct stat st;
	int rc = tell_xattrs(t, fd, name, true);

	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0)
		return failed(t, name, "stat");
	fill(&st, &a);
	rc = tell(t, DELTA_DIR, rc ? DELTA_OPAQUE : 0, name, &a, sizeof(a), NULL, 0);
	if (rc >= 0)
		rc = tell_xattrs(t, fd, name, false);
	if (rc >= 0)
		rc = tell_entries(t, fd, name, depth);
	return rc < 0 ? rc : tell_end(t);
}

/**
 * delta_fail() - tell that there is no delta
 * @fd: stream, borrowed
 * @why: for a person
 *
 * Return: minus @why's errno
 */
int delta_fail(int fd, const struct err *why)
{
	uint8_t out[sizeof(struct delta_head) + DELTA_TEXT_MAX + 1];
	struct err ignored = { 0 };
	struct teller t = { .fd = fd, .out = out, .e = &ignored };
	char text[DELTA_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "%.*s", (int)DELTA_TEXT_MAX, why->text);
	tell(&t, DELTA_FAIL, 0, "", text, strlen(text), NULL, 0);
	flush(&t);
	return -why->code;
}

/**
 * delta_tell() - write what changed in an upper directory to a connection
 * @upper: the directory, borrowed; nobody changes it meanwhile
 * @fd:    stream, borrowed; blocking or not
 *
 * Return: 0; minus errno: the other side was told so, if it still listens
 * Context: a process of its own; blocks
 */
int delta_tell(int upper, int fd, struct err *e)
{
	struct teller t = { .fd = fd, .e = e };
	int rc;

	t.out = malloc(OUT_BYTES);
	t.list = malloc(LIST_BYTES);
	t.value = malloc(DELTA_VALUE_MAX);
	rc = t.out && t.list && t.value ? tell_dir(&t, upper, "", 0)
					: err_set(e, ENOMEM, "out of memory");
	if (rc >= 0)
		rc = tell(&t, DELTA_DONE, 0, "", NULL, 0, NULL, 0);
	if (rc >= 0)
		rc = flush(&t);
	/* What is not written yet is dropped: whole records, as all that was. */
	if (rc < 0)
		delta_fail(fd, e);
	tdestroy(t.seen, free);
	free(t.out);
	free(t.list);
	free(t.value);
	return rc;
}
