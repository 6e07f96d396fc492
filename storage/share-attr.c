// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Requests about one file. A node's descriptor is an O_PATH one, on which Linux
 * has few calls; the others go through /proc/self/fd/N, which leads to that very
 * file, a symbolic link included, whatever became of its name.
 *
 * Only regular files and directories are opened: opening a FIFO waits, and opening
 * a device does whatever the device does. (The share's mount is nodev as well.)
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/mem.h"
#include "storage/share.h"

#define NS_PER_S 1000000000u

static int answer_attr(struct call *c, const struct node *n)
{
	struct fuse_attr a;
	struct stat st;

	if (fstat(n->fd, &st) < 0)
		return -errno;
	node_attr(c->s, n, &st, &a);
	memcpy(c->out, &a, sizeof(a));
	c->out_len = sizeof(a);
	return 0;
}

/**
 * share_getattr() - attributes
 *
 * Return: 0 or minus errno
 */
int share_getattr(struct call *c)
{
	struct node *n;
	int rc = node_use(c->s, c->rq.node, &n);

	if (rc < 0)
		return rc;
	rc = answer_attr(c, n);
	node_drop(c->s, n);
	return rc;
}

static int set_mode(const struct node *n, const struct fuse_setattr_in *a)
{
	return chmod(fd_path(n->fd).s, a->mode & 07777) < 0 ? -errno : 0;
}

static int set_owner(const struct node *n, const struct fuse_setattr_in *a)
{
	uid_t uid = a->valid & FATTR_UID ? a->uid : (uid_t)-1;
	gid_t gid = a->valid & FATTR_GID ? a->gid : (gid_t)-1;

	return fchownat(n->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int set_size(const struct node *n, const struct fuse_setattr_in *a)
{
	int rc;

	if (!S_ISREG(n->mode) || a->size > INT64_MAX)
		return S_ISDIR(n->mode) ? -EISDIR : -EINVAL;
	if (a->valid & FATTR_KILL_SUIDGID)
		cred_keep_no_bits();
	rc = truncate(fd_path(n->fd).s, (off_t)a->size) < 0 ? -errno : 0;
	if (a->valid & FATTR_KILL_SUIDGID)
		cred_back();
	return rc;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t s, uint32_t ns)
{
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (!(valid & set))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	return (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = (long)ns };
}

static int set_times(const struct node *n, const struct fuse_setattr_in *a)
{
	struct timespec t[2] = {
		time_of(a->valid, FATTR_ATIME, FATTR_ATIME_NOW, a->atime, a->atimensec),
		time_of(a->valid, FATTR_MTIME, FATTR_MTIME_NOW, a->mtime, a->mtimensec),
	};

	if (a->atimensec >= NS_PER_S || a->mtimensec >= NS_PER_S)
		return -EINVAL;
	return syscall(SYS_utimensat, n->fd, "", t, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_attr(const struct node *n, const struct fuse_setattr_in *a)
{
	int rc = 0;

	if (a->valid & FATTR_MODE)
		rc = set_mode(n, a);
	if (rc >= 0 && a->valid & (FATTR_UID | FATTR_GID))
		rc = set_owner(n, a);
	if (rc >= 0 && a->valid & FATTR_SIZE)
		rc = set_size(n, a);
	if (rc >= 0 && a->valid & (FATTR_ATIME | FATTR_MTIME))
		rc = set_times(n, a);
	return rc;
}

/**
 * share_setattr() - mode, owner, size and times, in this order
 *
 * Return: 0 with the attributes; minus errno: those before may have changed
 */
int share_setattr(struct call *c)
{
	struct fuse_setattr_in a;
	struct node *n;
	int rc;

	memcpy(&a, c->data, sizeof(a));
	rc = node_use(c->s, c->rq.node, &n);
	if (rc < 0)
		return rc;
	rc = set_attr(n, &a);
	if (rc >= 0)
		rc = answer_attr(c, n);
	node_drop(c->s, n);
	return rc;
}

/**
 * share_readlink() - target of a symbolic link
 *
 * Return: 0 or minus errno
 */
int share_readlink(struct call *c)
{
	struct node *n;
	ssize_t len;
	int rc = node_use(c->s, c->rq.node, &n);

	if (rc < 0)
		return rc;
	len = readlinkat(n->fd, "", (char *)c->out, SHARE_TARGET_MAX);
	rc = len < 0 ? errno == ENOENT ? -EINVAL : -errno : 0;
	if (len > 0)
		c->out_len = (uint32_t)len;
	node_drop(c->s, n);
	return rc;
}

/**
 * share_open_node() - open a regular file
 * @n:     in use
 * @flags: access mode and O_TRUNC of open(2), others are dropped
 * @kill:  O_TRUNC clears set-user-ID and set-group-ID
 *
 * Return: descriptor, owned by the caller; -ELOOP for a link; -ENXIO for what is
 * never opened; -EROFS; minus errno
 */
int share_open_node(const struct node *n, uint32_t flags, bool kill)
{
	int fd, want = (int)(flags & (O_ACCMODE | O_TRUNC));

	if (!S_ISREG(n->mode))
		return S_ISDIR(n->mode) ? -EISDIR : S_ISLNK(n->mode) ? -ELOOP : -ENXIO;
	if ((want & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (n->tree->readonly && want != O_RDONLY)
		return -EROFS;
	if (kill)
		cred_keep_no_bits();
	fd = open(fd_path(n->fd).s, want | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		fd = -errno;
	if (kill)
		cred_back();
	return fd;
}

/**
 * share_open() - open a regular file
 *
 * Return: 0 with a descriptor; minus errno
 */
int share_open(struct call *c)
{
	struct node *n;
	int rc = node_use(c->s, c->rq.node, &n);

	if (rc < 0)
		return rc;
	c->fd = share_open_node(n, c->rq.flags, c->rq.kill);
	c->n = n->dev_index;
	node_drop(c->s, n);
	return c->fd < 0 ? c->fd : 0;
}

/**
 * share_opendir() - open a directory for reading
 *
 * Return: 0 with a descriptor; minus errno
 */
int share_opendir(struct call *c)
{
	struct node *n;
	int rc = node_use_dir(c->s, c->rq.node, &n);

	if (rc < 0)
		return rc;
	c->fd = openat(n->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = c->fd < 0 ? -errno : 0;
	c->n = n->dev_index;
	node_drop(c->s, n);
	return rc;
}

/**
 * share_statfs() - the file system that a node lies on
 *
 * Return: 0 or minus errno
 */
int share_statfs(struct call *c)
{
	struct fuse_kstatfs k;
	struct statfs f;
	struct node *n;
	int rc = node_use(c->s, c->rq.node, &n);

	if (rc < 0)
		return rc;
	rc = fstatfs(n->fd, &f) < 0 ? -errno : 0;
	node_drop(c->s, n);
	if (rc < 0)
		return rc;
	k = (struct fuse_kstatfs){ .blocks = f.f_blocks,
				   .bfree = f.f_bfree,
				   .bavail = f.f_bavail,
				   .files = f.f_files,
				   .ffree = f.f_ffree,
				   .bsize = (uint32_t)f.f_bsize,
				   .namelen = (uint32_t)f.f_namelen,
				   .frsize = (uint32_t)f.f_frsize };
	memcpy(c->out, &k, sizeof(k));
	c->out_len = sizeof(k);
	return 0;
}

/**
 * share_syncfs() - write out the file systems of the share's trees
 *
 * Return: 0 or minus errno
 */
int share_syncfs(struct call *c)
{
	return trees_sync(c->s);
}

/**
 * share_access() - what a user may do with a file
 *
 * Return: 0 or minus errno
 */
int share_access(struct call *c)
{
	struct node *n;
	int rc;

	if (c->rq.mode & ~(uint32_t)(R_OK | W_OK | X_OK))
		return -EINVAL;
	rc = node_use(c->s, c->rq.node, &n);
	if (rc < 0)
		return rc;
	rc = cred_act_weak(c->rq.uid, c->rq.gid);
	if (rc >= 0) {
		if (syscall(SYS_faccessat2, AT_FDCWD, fd_path(n->fd).s, c->rq.mode, AT_EACCESS) < 0)
			rc = -errno;
		cred_back();
	}
	node_drop(c->s, n);
	return rc;
}
