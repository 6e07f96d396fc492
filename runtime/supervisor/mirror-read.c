// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Directories that are replaced as a whole, as kubelet writes configMaps, secrets,
 * downward API and projected volumes: the content lies in a directory whose name begins
 * with "..", the link "..data" leads to it, and beside it a link for each name leads
 * through "..data". A new content is a new directory, to which "..data" is renamed.
 *
 * Such a directory is read as it is at one time: "..data" leads to the same version before
 * and after. Others may change it meanwhile, and its files are a tenant's: a file is opened
 * beneath the version's directory, through no link, on no other mount, and what was opened
 * is what counts. All is bounded; what is more, or of another kind, is no such directory
 * (-EOPNOTSUPP), and can be shared in the usual way.
 *
 * Sources: Kubernetes, pkg/volume/util/atomic_writer.go (its layout); openat2(2).
 */
#include "runtime/supervisor/mirror.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

#define DATA "..data"

/* Versions that come while one is read. */
#define TRIES 5

static int open_beneath(int dir, const char *name, int flags)
{
	return fd_openat2(dir, name,
			  (uint64_t)flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0,
			  RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			  RESOLVE_NO_XDEV);
}

/**
 * mirror_version() - where "..data" leads
 * @dirfd: the directory, open for reading or O_PATH
 * @ret:   untouched on failure
 *
 * Return: false when there is none, or it leads to what is no version's name
 */
bool mirror_version(int dirfd, char ret[MIRROR_VERSION_BYTES])
{
	char target[MIRROR_VERSION_BYTES];
	ssize_t n = readlinkat(dirfd, DATA, target, sizeof(target));

	if (n <= 2 || n == sizeof(target))
		return false;
	target[n] = 0;
	if (!str_starts(target, "..") || strchr(target, '/') || str_starts(target, DATA))
		return false;
	memcpy(ret, target, (size_t)n + 1);
	return true;
}

static int unfit(struct err *e, const char *why)
{
	return err_set(e, EOPNOTSUPP, "%s", why);
}

/* A file at the end of the list; its path is @parent and @name. */
static int add(struct mirror_tree *t, const char *parent, const char *name, const struct stat *st,
	       struct mirror_file **ret, struct err *e)
{
	struct mirror_file *more, *f;

	if (t->n == MIRROR_FILES_MAX)
		return unfit(e, "more than 2000 files");
	more = realloc(t->file, (t->n + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	t->file = more;
	f = &more[t->n];
	*f = (struct mirror_file){
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
	};
	if (asprintf(&f->path, "%s%s%s", parent, *parent ? "/" : "", name) < 0) {
		f->path = NULL;
		return err_set(e, ENOMEM, "out of memory");
	}
	t->n++;
	t->bytes += strlen(f->path);
	*ret = f;
	return 0;
}

static int charge(struct mirror_tree *t, size_t bytes, struct err *e)
{
	t->bytes += bytes;
	return t->bytes > MIRROR_BYTES_MAX ? unfit(e, "more than 4 MiB") : 0;
}

static int read_link(struct mirror_tree *t, int dir, const char *name, struct mirror_file *f,
		     struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, name, target, sizeof(target));

	if (n < 0)
		return err_sys(e, "%s", name);
	if (n == sizeof(target))
		return unfit(e, "a link of more than 4095 bytes");
	f->data = malloc((size_t)n + 1);
	if (!f->data)
		return err_set(e, ENOMEM, "out of memory");
	memcpy(f->data, target, (size_t)n);
	f->len = (size_t)n;
	return charge(t, f->len, e);
}

/* As many bytes as the file has when it is read, which may be more than it says. */
static int read_content(struct mirror_tree *t, int fd, const struct stat *st, struct mirror_file *f,
			struct err *e)
{
	size_t room;
	ssize_t n;

	if (st->st_size < 0 || (uint64_t)st->st_size > MIRROR_BYTES_MAX)
		return unfit(e, "more than 4 MiB");
	room = (size_t)st->st_size + 1;
	f->data = malloc(room);
	if (!f->data)
		return err_set(e, ENOMEM, "out of memory");
	while (f->len < room) {
		n = read(fd, f->data + f->len, room - f->len);
		if (n < 0)
			return err_sys(e, "%s", f->path);
		if (!n)
			return charge(t, f->len, e);
		f->len += (size_t)n;
	}
	return err_set(e, EAGAIN, "%s grew while it was read", f->path);
}

static int read_dir(struct mirror_tree *t, int fd, const char *path, unsigned int depth,
		    struct err *e);

static int read_one(struct mirror_tree *t, int dir, const char *parent, const char *name,
		    unsigned int depth, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct mirror_file *f;
	struct stat st;
	int rc;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "%s", name);
	if (S_ISLNK(st.st_mode)) {
		rc = add(t, parent, name, &st, &f, e);
		return rc < 0 ? rc : read_link(t, dir, name, f, e);
	}
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return unfit(e, "neither files, directories nor links");
	fd = open_beneath(dir, name, S_ISDIR(st.st_mode) ? O_DIRECTORY : 0);
	if (fd < 0 && errno == EXDEV)
		return unfit(e, "mounts inside");
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "%s", name);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, EAGAIN, "%s changed while it was read", name);
	rc = add(t, parent, name, &st, &f, e);
	if (rc < 0)
		return rc;
	if (S_ISREG(st.st_mode))
		return read_content(t, fd, &st, f, e);
	if (depth == MIRROR_DEPTH_MAX)
		return unfit(e, "directories more than 16 deep");
	/* The list may move; the name does not. */
	return read_dir(t, fd_steal(&fd), f->path, depth + 1, e);
}

/* @fd: taken over */
static int read_dir(struct mirror_tree *t, int fd, const char *path, unsigned int depth,
		    struct err *e)
{
	DIR *d = fdopendir(fd);
	struct dirent *ent;
	int rc = 0;

	if (!d) {
		rc = err_sys(e, "%s", path);
		close(fd);
		return rc;
	}
	while (!rc && (errno = 0, ent = readdir(d))) {
		if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
			rc = read_one(t, dirfd(d), path, ent->d_name, depth, e);
	}
	/* A directory that could not be read to its end is not the whole of it. */
	if (!rc && errno)
		rc = err_sys(e, "%s", path);
	closedir(d);
	return rc;
}

/* The links beside "..data": all that has a name for people. */
static int read_links(struct mirror_tree *t, int dir, struct err *e)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = again < 0 ? NULL : fdopendir(again);
	struct mirror_file *f;
	struct dirent *ent;
	struct stat st;
	int rc = 0;

	if (!d) {
		rc = err_sys(e, "mirror");
		fd_close(&again);
		return rc;
	}
	while (!rc && (errno = 0, ent = readdir(d))) {
		if (str_starts(ent->d_name, "..") || !strcmp(ent->d_name, "."))
			continue;
		if (fstatat(dir, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			rc = errno == ENOENT ? 0 : err_sys(e, "%s", ent->d_name);
		else if (!S_ISLNK(st.st_mode))
			rc = unfit(e, "files beside the version that is written as a whole");
		else if (!(rc = add(t, "", ent->d_name, &st, &f, e)))
			rc = read_link(t, dir, ent->d_name, f, e);
		t->n_links = t->n ? t->n - 1 : 0;
	}
	if (!rc && errno)
		rc = err_sys(e, "mirror");
	closedir(d);
	return rc;
}

static int read_version(struct mirror_tree *t, int dir, struct err *e)
{
	struct mirror_file *f;
	struct stat st;
	int rc;

	if (fstat(dir, &st) < 0)
		return err_sys(e, "mirror");
	rc = add(t, "", "", &st, &f, e);
	if (!rc)
		rc = read_links(t, dir, e);
	if (!rc && t->bytes > MIRROR_LINKS_BYTES_MAX)
		rc = unfit(e, "more than 256 KiB of links");
	return rc < 0 ? rc : read_one(t, dir, "", t->version, 0, e);
}

/**
 * mirror_read() - read a directory that is replaced as a whole
 * @dirfd: open for reading, borrowed
 * @ret:   mirror_tree_done(); untouched on failure
 *
 * Return: 0; -EOPNOTSUPP, with what it has, for any other directory or a larger one;
 * -EAGAIN when it changes all the time; minus errno
 */
int mirror_read(int dirfd, struct mirror_tree *ret, struct err *e)
{
	char now[MIRROR_VERSION_BYTES];
	int tries, rc = 0;

	for (tries = 0; tries < TRIES; tries++) {
		struct mirror_tree t = { 0 };

		if (!mirror_version(dirfd, t.version))
			return unfit(e, "no \"..data\" that leads to a version");
		rc = read_version(&t, dirfd, e);
		if (!rc && mirror_version(dirfd, now) && !strcmp(now, t.version)) {
			*ret = t;
			return 0;
		}
		mirror_tree_done(&t);
		if (rc < 0 && rc != -EAGAIN && rc != -ENOENT)
			return rc;
	}
	return rc < 0 ? rc : err_set(e, EAGAIN, "it is written again and again");
}

/**
 * mirror_same_links() - whether two trees have the same links beside "..data"
 *
 * In any other order they count as different, which costs a message.
 */
bool mirror_same_links(const struct mirror_tree *a, const struct mirror_tree *b)
{
	size_t i;

	if (a->n_links != b->n_links)
		return false;
	for (i = 1; i <= a->n_links; i++)
		if (strcmp(a->file[i].path, b->file[i].path) || a->file[i].len != b->file[i].len ||
		    memcmp(a->file[i].data, b->file[i].data, a->file[i].len))
			return false;
	return true;
}

/**
 * mirror_tree_done() - free what mirror_read() made; fine when it is all zero
 */
void mirror_tree_done(struct mirror_tree *t)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		free(t->file[i].path);
		free(t->file[i].data);
	}
	free(t->file);
	*t = (struct mirror_tree){ 0 };
}
