// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Layers below the upper one are walked once; what was found is kept in a directory,
 * one file for each layer (cachefile.c), and used by later maps. The upper directory
 * is never kept.
 *
 * Whether a layer changed is seen without walking it: a file is for one directory
 * (struct cache_key: file system, inode number and handle), and each directory in
 * the layer must have the times of modification and of change, inode number, owner
 * and mode that it had. So no name can come, go or mean another file. What is not
 * seen is a file that was changed in place, which nothing does to layers of engines:
 * one that has content is checked again when it is opened (storage_map_open()), and if
 * it changed, the layer's file is removed (cache_drop()), so that the next map reads
 * the layer anew. Nothing stale is served as fresh; a mode or owner that changed in
 * place, of a file without content, would be the old one.
 *
 * Times have grains. A layer is kept only if all in it is older than SETTLED_S when
 * reading begins: what changes later gets another time than what was read.
 *
 * Files appear whole: written without a name (O_TMPFILE), then linked. There is
 * nothing to clean up after a crash, and the checksum finds what a crash of the host
 * cut short; so nothing is synced. Where the file system cannot do that, a file is
 * written under the name with a dot before it; one that a crash left there is removed
 * by the next writer that finds it old. Of several writers one wins. Where the disk is
 * nearly full nothing is written. Reading is by copy, never by mapping: a file that
 * shrinks does no harm.
 *
 * The directory must be the caller's own and closed to others; what is in it is data
 * that is checked all the same.
 */
#include "storage/cache.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/cachefile.h"

/* Of what scan_layer() makes of a layer: one more with each change of that. */
#define SCAN_VERSION 1

/* Longer than any file system's grain of times but FAT's. */
#define SETTLED_S 2

/* A file's time of use is written down once a day. */
#define USED_S 86400

/* After that, nobody is still writing a file. */
#define ABANDONED_S 600

/* Free space that is left to others: this, and as much as the file takes, 4 times. */
#define SPARE_BYTES (64u << 20)

#define NAME_BYTES 40

struct cache {
	int fd;		/* owned */
};

/**
 * cache_open() - the directory of the cache; makes it if it is missing
 * @path: absolute
 * @ret:  owned by the caller, cache_free(); untouched on failure
 *
 * Return: 0; -EPERM if others can reach into it; else minus errno
 */
int cache_open(const char *path, struct cache **ret, struct err *e)
{
	struct cache *c = NULL;
	struct stat st;
	int fd, rc = 0;

	/* Parents are made by us or were there before; the last one is ours alone. */
	if (mkdir(path, 0700) < 0 && errno == ENOENT) {
		rc = dir_make(path, 0700, e);
		if (rc < 0)
			return err_wrap(e, "layer cache");
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		rc = err_sys(e, "layer cache %s", path);
	else if (st.st_uid != geteuid() || st.st_mode & 077)
		rc = err_set(e, EPERM, "layer cache %s: must belong to uid %u and have mode 0700", path,
			     geteuid());
	else if (!(c = mem_new(struct cache)))
		rc = err_set(e, ENOMEM, "out of memory");
	if (rc < 0) {
		fd_close(&fd);
		return rc;
	}
	c->fd = fd;
	*ret = c;
	return 0;
}

/**
 * cache_free() - close; NULL is fine
 */
void cache_free(struct cache *c)
{
	if (!c)
		return;
	fd_close(&c->fd);
	free(c);
}

/* Which directory @fd is. Return: 0, or minus errno where that cannot be told. */
static int make_key(int fd, bool userxattr, struct cache_key *ret)
{
	struct {
		struct file_handle h;
		unsigned char room[CACHE_HANDLE_BYTES];
	} handle = { .h.handle_bytes = CACHE_HANDLE_BYTES };
	struct statfs fs;
	struct stat st;
	int mount_id;

	memset(ret, 0, sizeof(*ret));
	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0 ||
	    name_to_handle_at(fd, "", &handle.h, &mount_id, AT_EMPTY_PATH) < 0)
		return -errno;
	ret->version = SCAN_VERSION;
	ret->flags = userxattr;
	memcpy(&ret->fsid, &fs.f_fsid, sizeof(ret->fsid));
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	ret->handle_type = (uint32_t)handle.h.handle_type;
	ret->handle_len = handle.h.handle_bytes;
	if (handle.h.handle_bytes > CACHE_HANDLE_BYTES)
		return -EOVERFLOW;
	memcpy(ret->handle, handle.h.f_handle, handle.h.handle_bytes);
	return 0;
}

static void make_name(const struct cache_key *key, char dst[NAME_BYTES])
{
	XXH128_hash_t h = XXH3_128bits(key, sizeof(*key));

	snprintf(dst, NAME_BYTES, "%016llx%016llx", (unsigned long long)h.high64,
		 (unsigned long long)h.low64);
}

static void touch(int fd, const struct stat *st)
{
	struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };

	if (time(NULL) - st->st_mtime > USED_S)
		futimens(fd, now);
}

/* A whole file in memory of @a; @use: note the time. Return: 0; -ENOENT; else minus errno. */
static int read_file(const struct cache *c, const char *name, bool use, struct arena *a,
		     void **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = openat(c->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t len, at = 0;
	struct stat st;
	char *buf;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > CACHEFILE_BYTES_MAX)
		return -EBADMSG;
	len = (size_t)st.st_size;
	buf = arena_alloc(a, len + 1);
	if (!buf)
		return -ENOMEM;
	while (at < len) {
		ssize_t n = read(fd, buf + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		at += (size_t)n;
	}
	if (use)
		touch(fd, &st);
	*ret = buf;
	*ret_len = len;
	return 0;
}

/* A directory of the layer is as it was. */
static bool dir_unchanged(const struct scan *s, const struct tree_node *n, uint64_t mount_id)
{
	const struct tree_inode *i = n->inode;
	char path[TREE_PATH_BYTES];
	struct statx sx;

	if (tree_path(n, path) < 0 ||
	    statx(s->fd, n->parent ? path : "",
		  AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH,
		  STATX_BASIC_STATS | STATX_MNT_ID, &sx) < 0)
		return false;
	return sx.stx_ino == i->ino && sx.stx_mode == i->mode && sx.stx_uid == i->uid &&
	       sx.stx_gid == i->gid && sx.stx_mtime.tv_sec == i->mtime_s &&
	       sx.stx_mtime.tv_nsec == i->mtime_ns && sx.stx_ctime.tv_sec == i->ctime_s &&
	       sx.stx_ctime.tv_nsec == i->ctime_ns && sx.stx_mnt_id == mount_id &&
	       makedev(sx.stx_dev_major, sx.stx_dev_minor) == i->dev;
}

/* All directories; the nodes are in one array, as cachefile_unpack() makes it. */
static bool unchanged(const struct scan *s)
{
	struct statx sx;
	uint64_t i;

	if (statx(s->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0)
		return false;
	for (i = 0; i < s->n_nodes; i++)
		if (tree_is_dir(&s->root[i]) && !dir_unchanged(s, &s->root[i], sx.stx_mnt_id))
			return false;
	return true;
}

/**
 * cache_load() - the tree of a layer, if it is known and has not changed
 * @s: as for scan_layer(), and the same result
 *
 * Return: 1 if it was loaded; 0 if the layer must be read; -ENOMEM
 * Context: any thread
 */
int cache_load(const struct cache *c, struct scan *s, struct err *e)
{
	struct scan loaded = *s;
	struct cache_key key;
	char name[NAME_BYTES];
	struct err why;
	size_t len;
	void *buf;
	int rc;

	if (s->upper || make_key(s->fd, s->userxattr, &key) < 0)
		return 0;
	make_name(&key, name);
	rc = read_file(c, name, true, s->arena, &buf, &len);
	if (!rc)
		rc = cachefile_unpack(buf, len, &key, &loaded, &why);
	if (rc == -ENOMEM)
		return err_set(e, ENOMEM, "out of memory, or the layers need more than %u MiB of metadata",
			       TREE_BYTES_MAX >> 20);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0 || !unchanged(&loaded)) {
		unlinkat(c->fd, name, 0);
		return 0;
	}
	*s = loaded;
	return 1;
}

/* Nothing in the layer is so new that a later change could have the same time of change. */
static bool settled(const struct tree_node *dir, int64_t before_s)
{
	uint32_t i;

	if (dir->inode->ctime_s >= before_s)
		return false;
	for (i = 0; i < dir->n_children; i++) {
		const struct tree_node *n = dir->child[i];

		if (n->inode->ctime_s >= before_s || (tree_is_dir(n) && !settled(n, before_s)))
			return false;
	}
	return true;
}

static bool has_room(const struct cache *c, size_t len)
{
	struct statfs fs;

	return !fstatfs(c->fd, &fs) &&
	       (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize / 4 > len + SPARE_BYTES / 4;
}

/* What a crash left under a name that is in our way; another writer may be at it. */
static void remove_old(const struct cache *c, const char *name)
{
	struct stat st;

	if (!fstatat(c->fd, name, &st, AT_SYMLINK_NOFOLLOW) &&
	    llabs(time(NULL) - st.st_mtime) > ABANDONED_S)
		unlinkat(c->fd, name, 0);
}

/* For file systems without O_TMPFILE. Return: 0, also if another writer is at it. */
static int write_named(const struct cache *c, const char *name, const void *buf, size_t len,
		       struct err *e)
{
	char hidden[NAME_BYTES + 1];
	int fd, rc;

	snprintf(hidden, sizeof(hidden), ".%s", name);
	fd = openat(c->fd, hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST) {
		remove_old(c, hidden);
		return 0;
	}
	if (fd < 0)
		return err_sys(e, "layer cache: a new file");
	rc = write_full(fd, buf, len, e);
	fd_close(&fd);
	if (!rc && renameat(c->fd, hidden, c->fd, name) < 0)
		rc = err_sys(e, "rename");
	if (rc < 0)
		unlinkat(c->fd, hidden, 0);
	return rc < 0 ? err_wrap(e, "layer cache") : 0;
}

static int write_file(const struct cache *c, const char *name, const void *buf, size_t len,
		      struct err *e)
{
	_cleanup_close_ int fd = openat(c->fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
		return write_named(c, name, buf, len, e);
	if (fd < 0)
		return err_sys(e, "layer cache: a file without a name");
	rc = write_full(fd, buf, len, e);
	if (rc < 0)
		return err_wrap(e, "layer cache");
	/* Another writer may be first: then its file is as good. */
	if (linkat(fd, "", c->fd, name, AT_EMPTY_PATH) < 0 && errno != EEXIST)
		return err_sys(e, "layer cache: link");
	return 0;
}

/**
 * cache_store() - keep the tree of a layer
 * @s:         that scan_layer() just filled in; nothing else may have used its tree
 * @read_at_s: CLOCK_REALTIME before it began
 *
 * Return: 1 if it was written; 0 for what is not kept (the upper directory, what is
 * too new, no space, a file system that does not name its directories); minus errno
 */
int cache_store(const struct cache *c, const struct scan *s, int64_t read_at_s, struct err *e)
{
	_cleanup_free_ void *buf = NULL;
	char name[NAME_BYTES], path[PATH_MAX];
	struct cache_key key;
	size_t len;
	int rc;

	if (s->upper || !settled(s->root, read_at_s - SETTLED_S) ||
	    make_key(s->fd, s->userxattr, &key) < 0)
		return 0;
	if (fd_name(s->fd, path, sizeof(path)) < 0)
		return err_sys(e, "layer cache: name of the layer");
	rc = cachefile_pack(s, &key, path, &buf, &len, e);
	if (rc == -EXDEV || rc == -EFBIG)
		return 0;
	if (rc < 0)
		return rc;
	if (!has_room(c, len))
		return err_set(e, ENOSPC, "layer cache: the disk is nearly full");
	make_name(&key, name);
	rc = write_file(c, name, buf, len, e);
	return rc < 0 ? rc : 1;
}

/**
 * cache_drop() - forget a layer, because a file in it is not what was remembered
 * @layer_fd: borrowed
 *
 * Context: any thread
 */
void cache_drop(const struct cache *c, int layer_fd, bool userxattr)
{
	struct cache_key key;
	char name[NAME_BYTES];

	if (make_key(layer_fd, userxattr, &key) < 0)
		return;
	make_name(&key, name);
	unlinkat(c->fd, name, 0);
}

/* Whether the layer is still where it was. */
static bool layer_gone(const struct cache_key *key, const char *path)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct cache_key now;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
	return make_key(fd, key->flags, &now) < 0 || memcmp(&now, key, sizeof(now));
}

static int visit(const struct cache *c, const char *name, cache_entry_fn *fn, void *arg,
		 struct err *e)
{
	atomic_llong budget = 2 * (long long)CACHEFILE_BYTES_MAX;
	struct cache_entry x = { .name = name, .layer = "", .gone = true };
	struct arena a = { .budget = &budget };
	struct cache_key key;
	struct stat st;
	size_t len;
	void *buf;
	int rc;

	if (fstatat(c->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	x.bytes = (uint64_t)st.st_blocks * 512;
	x.used_s = st.st_mtime;
	rc = read_file(c, name, false, &a, &buf, &len);
	if (!rc && !cachefile_origin(buf, len, &key, &x.layer))
		x.gone = layer_gone(&key, x.layer);
	rc = rc == -ENOMEM ? err_set(e, ENOMEM, "out of memory") : fn(arg, &x, e);
	arena_done(&a);
	if (rc == 1 && unlinkat(c->fd, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "layer cache: %s", name);
	return rc < 0 ? rc : 0;
}

/**
 * cache_each() - look at all files, and remove those that @fn says
 *
 * Return: 0; what @fn returned; else minus errno
 */
int cache_each(const struct cache *c, cache_entry_fn *fn, void *arg, struct err *e)
{
	int fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		rc = err_sys(e, "layer cache");
		fd_close(&fd);
		return rc;
	}
	while (!rc && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			rc = visit(c, d->d_name, fn, arg, e);
	closedir(dir);
	return rc;
}
