// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Directories that the host replaces as a whole (configMaps, secrets): the agent keeps
 * them in a tmpfs of its own, one directory for each key, and containers have binds of
 * these. A new content is written into a directory that nobody looks at yet; then the
 * link "..data" is renamed onto it, links beside it are made and removed, and the old
 * content goes. So a reader has the old or the new one, and who waits by inotify for the
 * directory hears of it.
 *
 * Between messages nothing is kept here: what a content lies in is its version's name,
 * and what was not committed is removed when the next one begins.
 *
 * The host is trusted, but a container that may change its mounts could write here. So a
 * path is opened beneath the mirror's directory, through no link.
 *
 * Source: Kubernetes, pkg/volume/util/atomic_writer.go (its layout).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/str.h"

#define MIRRORS AGENT_RUN "/mirrors"
#define DATA "..data"
#define DATA_NEW "..data_tmp"
#define LINK_NEW "..link_tmp"

static int check_key(const char *key, struct err *e)
{
	if (!*key || strlen(key) > 10 || key[strspn(key, "0123456789")])
		return err_set(e, EINVAL, "mirror: %s is no key", key);
	return 0;
}

/* A name of one component; versions begin with two dots, and are none of ours. */
static bool is_name(const char *s)
{
	return *s && strlen(s) <= NAME_MAX && !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..");
}

static bool is_version(const char *s)
{
	return is_name(s) && str_starts(s, "..") && strcmp(s, DATA) && strcmp(s, DATA_NEW) &&
	       strcmp(s, LINK_NEW);
}

static int open_dir(int root, const char *path)
{
	return fd_openat2(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
			  RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			  RESOLVE_NO_XDEV);
}

static int set_attr(int fd, const Podvm__MirrorFile *f, struct err *e)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
				 { .tv_sec = (time_t)(f->mtime_ns / 1000000000),
				   .tv_nsec = (long)(f->mtime_ns % 1000000000) } };

	if (t[1].tv_nsec < 0) {
		t[1].tv_sec--;
		t[1].tv_nsec += 1000000000;
	}
	if (fchown(fd, f->uid, f->gid) < 0 || fchmod(fd, f->mode & 07777) < 0 ||
	    futimens(fd, t) < 0)
		return err_sys(e, "mirror: %s", f->path);
	return 0;
}

static int link_target(const Podvm__MirrorFile *f, char ret[PATH_MAX], struct err *e)
{
	if (!f->data.len || f->data.len >= PATH_MAX || memchr(f->data.data, 0, f->data.len))
		return err_set(e, EINVAL, "mirror: %s: bad target", f->path);
	memcpy(ret, f->data.data, f->data.len);
	ret[f->data.len] = 0;
	return 0;
}

static int put_link(int dir, const char *name, const Podvm__MirrorFile *f, struct err *e)
{
	char target[PATH_MAX];
	int rc = link_target(f, target, e);

	if (rc < 0)
		return rc;
	if (symlinkat(target, dir, name) < 0 ||
	    fchownat(dir, name, f->uid, f->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "mirror: %s", f->path);
	return 0;
}

static int put_file(int dir, const char *name, const Podvm__MirrorFile *f, struct err *e)
{
	int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | (f->more ? O_APPEND : O_CREAT | O_EXCL);
	_cleanup_close_ int fd = openat(dir, name, flags, 0600);
	int rc;

	if (fd < 0)
		return err_sys(e, "mirror: %s", f->path);
	rc = write_full(fd, f->data.data, f->data.len, e);
	return rc < 0 ? err_wrap(e, "mirror: %s", f->path) : set_attr(fd, f, e);
}

static int put_dir(int dir, const char *name, const Podvm__MirrorFile *f, struct err *e)
{
	_cleanup_close_ int fd = -1;

	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mirror: %s", f->path);
	fd = open_dir(dir, name);
	return fd < 0 ? err_sys(e, "mirror: %s", f->path) : set_attr(fd, f, e);
}

/* One file of a version. */
static int put(int root, const Podvm__MirrorFile *f, struct err *e)
{
	_cleanup_close_ int dir = -1;
	const char *name = strrchr(f->path, '/');
	char up[PATH_MAX];

	name = name ? name + 1 : f->path;
	if (!is_name(name) || (size_t)(name - f->path) >= sizeof(up))
		return err_set(e, EINVAL, "mirror: %s: bad name", f->path);
	memcpy(up, f->path, (size_t)(name - f->path));
	up[name - f->path] = 0;
	dir = *up ? open_dir(root, up) : openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, "mirror: %s", f->path);
	switch (f->mode & S_IFMT) {
	case S_IFDIR:
		return put_dir(dir, name, f, e);
	case S_IFREG:
		return put_file(dir, name, f, e);
	case S_IFLNK:
		return put_link(dir, name, f, e);
	default:
		return err_set(e, EINVAL, "mirror: %s: bad kind", f->path);
	}
}

static bool in_version(const char *path, const char *version)
{
	size_t n = strlen(version);

	return !strncmp(path, version, n) && (!path[n] || path[n] == '/');
}

static ssize_t read_data(int root, char ret[NAME_MAX + 2])
{
	ssize_t n = readlinkat(root, DATA, ret, NAME_MAX + 1);

	ret[n < 0 ? 0 : n] = 0;
	return n;
}

static bool is_link_of(const Podvm__MirrorPut *m, const char *name)
{
	size_t i;

	for (i = 0; i < m->n_files; i++)
		if (!strcmp(m->files[i]->path, name))
			return true;
	return false;
}

/* Removes what is neither @keep, nor "..data", nor, unless NULL, a link of @m. */
static int sweep(int root, const char *keep, const Podvm__MirrorPut *m, struct err *e)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;

	if (!d) {
		rc = err_sys(e, "mirror");
		fd_close(&fd);
		return rc;
	}
	while (rc >= 0 && (ent = readdir(d))) {
		bool dots = str_starts(ent->d_name, "..");

		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, "..") ||
		    !strcmp(ent->d_name, DATA) || !strcmp(ent->d_name, keep))
			continue;
		if (dots || (m && !is_link_of(m, ent->d_name)))
			rc = dir_remove(root, ent->d_name, e);
	}
	closedir(d);
	return rc;
}

static int rename_link(int root, const char *as, const char *name, struct err *e)
{
	return renameat(root, as, root, name) < 0 ? err_sys(e, "mirror: %s", name) : 0;
}

static int swap_data(int root, const char *version, struct err *e)
{
	char now[NAME_MAX + 2];

	if (read_data(root, now) > 0 && !strcmp(now, version))
		return 0;
	if (symlinkat(version, root, DATA_NEW) < 0)
		return err_sys(e, "mirror: " DATA_NEW);
	return rename_link(root, DATA_NEW, DATA, e);
}

/* A link beside "..data", unless it is there as it should be. */
static int swap_link(int root, const Podvm__MirrorFile *f, struct err *e)
{
	char want[PATH_MAX], now[PATH_MAX];
	ssize_t n = readlinkat(root, f->path, now, sizeof(now));
	int rc = link_target(f, want, e);

	if (rc < 0)
		return rc;
	if (n == (ssize_t)f->data.len && !memcmp(now, want, (size_t)n))
		return 0;
	rc = put_link(root, LINK_NEW, f, e);
	return rc < 0 ? rc : rename_link(root, LINK_NEW, f->path, e);
}

static int commit(int root, const Podvm__MirrorPut *m, struct err *e)
{
	_cleanup_close_ int dir = open_dir(root, m->version);
	size_t i;
	int rc;

	if (dir < 0)
		return err_sys(e, "mirror: %s", m->version);
	rc = swap_data(root, m->version, e);
	for (i = 0; i < m->n_files && rc >= 0; i++) {
		const Podvm__MirrorFile *f = m->files[i];

		if (is_name(f->path) && S_ISLNK(f->mode) && !str_starts(f->path, ".."))
			rc = swap_link(root, f, e);
	}
	if (rc >= 0)
		rc = sweep(root, m->version, m, e);
	for (i = 0; i < m->n_files && rc >= 0; i++)
		if (!*m->files[i]->path)
			rc = set_attr(root, m->files[i], e);
	return rc;
}

static int begin(int base, const char *key, struct err *e)
{
	char now[NAME_MAX + 2];
	int root;

	if (mkdirat(base, key, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mirror %s", key);
	root = open_dir(base, key);
	if (root < 0)
		return err_sys(e, "mirror %s", key);
	read_data(root, now);
	if (sweep(root, now, NULL, e) < 0) {
		close(root);
		return -e->code;
	}
	return root;
}

/* What a message has: content of the version, links and the directory with the last. */
static int check(const Podvm__MirrorPut *m, struct err *e)
{
	size_t i;

	if (!is_version(m->version))
		return err_set(e, EINVAL, "mirror: %s is no version", m->version);
	for (i = 0; i < m->n_files; i++) {
		const char *path = m->files[i]->path;

		if (in_version(path, m->version))
			continue;
		if (!m->commit || (*path && (!is_name(path) || str_starts(path, "..") ||
					     !S_ISLNK(m->files[i]->mode))))
			return err_set(e, EINVAL, "mirror: %s is not in its version", path);
	}
	return 0;
}

/**
 * mirror_put_in() - carry out MirrorPut in a directory
 * @base: that has a directory for each key, borrowed
 *
 * Return: 0; -EINVAL for a message that makes no sense; minus errno: the content is
 * the one that was committed last
 */
int mirror_put_in(int base, const Podvm__MirrorPut *m, struct err *e)
{
	_cleanup_close_ int root = -1;
	char now[NAME_MAX + 2];
	size_t i;
	int rc = check_key(m->key, e);

	if (rc >= 0)
		rc = check(m, e);
	if (rc < 0)
		return rc;
	root = m->begin ? begin(base, m->key, e) : open_dir(base, m->key);
	if (root < 0)
		return m->begin ? root : err_sys(e, "mirror %s", m->key);
	/* A version never changes: one that was committed, and is sent again, is there. */
	read_data(root, now);
	for (i = 0; i < m->n_files && rc >= 0 && strcmp(now, m->version) != 0; i++)
		if (in_version(m->files[i]->path, m->version))
			rc = put(root, m->files[i], e);
	return rc >= 0 && m->commit ? commit(root, m, e) : rc;
}

static int open_base(struct err *e)
{
	struct stat here, up;
	int fd, rc = dir_make(MIRRORS, 0755, e);

	if (rc < 0)
		return rc;
	if (stat(AGENT_RUN, &up) < 0 || stat(MIRRORS, &here) < 0)
		return err_sys(e, MIRRORS);
	if (up.st_dev == here.st_dev &&
	    mount("mirrors", MIRRORS, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
		return err_sys(e, "mirrors: mount tmpfs");
	fd = open(MIRRORS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, MIRRORS) : fd;
}

/**
 * mirror_put() - carry out MirrorPut
 *
 * Return: as mirror_put_in()
 */
int mirror_put(const Podvm__MirrorPut *m, struct err *e)
{
	_cleanup_close_ int base = open_base(e);

	return base < 0 ? base : mirror_put_in(base, m, e);
}

/**
 * mirror_drop() - carry out MirrorRemove
 *
 * Return: 0, also for a key that is not there; minus errno
 */
int mirror_drop(const char *key, struct err *e)
{
	_cleanup_close_ int base = -1;
	int rc = check_key(key, e);

	if (rc < 0)
		return rc;
	base = open_base(e);
	return base < 0 ? base : dir_remove(base, key, e);
}

/**
 * mirror_open() - the directory of a key, for a bind
 *
 * Return: O_PATH descriptor, owned by the caller; minus errno
 * Context: the child
 */
int mirror_open(const char *key, struct err *e)
{
	char path[sizeof(MIRRORS) + 16];
	int rc = check_key(key, e), fd;

	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), MIRRORS "/%s", key);
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "mirror %s", key) : fd;
}
