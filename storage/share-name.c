// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Requests that take names. A name is one component in a directory that is a
 * node, so there is no path to race with: what others do to the directories above
 * changes nothing. A component is opened with openat2(2), which follows no link and
 * enters no other mount, and what was opened is what counts; all other calls act
 * on the entry itself.
 *
 * Device nodes are not made, except overlayfs's whiteout (0, 0): a guest has no
 * devices of the host, and a node on the host's file system would be one for
 * whoever can reach it there.
 *
 * Sources: openat2(2); linux/fuse.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "storage/share.h"

/* What openat2() must not do for us. */
#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static int open_name(const struct node *dir, const char *name, uint64_t flags, uint32_t mode)
{
	int fd = fd_openat2(dir->fd, name, flags | O_NOFOLLOW, mode,
			    dir->tree->recursive ? BENEATH : BENEATH | RESOLVE_NO_XDEV);

	return fd < 0 ? -errno : fd;
}

static int look_up(struct share *s, const struct node *dir, const char *name,
		   struct share_entry *ret)
{
	int fd;

	if (dir->id == FUSE_ROOT_ID && s->is_set)
		return tree_lookup(s, name, ret);
	fd = open_name(dir, name, O_PATH, 0);
	return fd < 0 ? fd : node_found(s, dir->tree, fd, ret);
}

/* The answer is one entry. */
static int answer(struct call *c, int rc, const struct share_entry *x)
{
	if (rc < 0)
		return rc;
	memcpy(c->out, x, sizeof(*x));
	c->out_len = sizeof(*x);
	return 0;
}

/**
 * share_lookup() - entries of the names in c->data
 *
 * Return: 0, with an error in each entry; minus errno for the directory
 */
int share_lookup(struct call *c)
{
	const char *name = (const char *)c->data, *end = name + c->len;
	struct node *dir;
	int rc = node_use_dir(c->s, c->rq.node, &dir);

	if (rc < 0)
		return rc;
	for (; name < end; name += strlen(name) + 1) {
		struct share_entry x = { 0 };

		x.error = look_up(c->s, dir, name, &x);
		memcpy(c->out + c->out_len, &x, sizeof(x));
		c->out_len += (uint32_t)sizeof(x);
	}
	node_drop(c->s, dir);
	return 0;
}

enum make { MAKE_NODE, MAKE_DIR, MAKE_LINK };

static int make_entry(const struct call *c, enum make what, int dir)
{
	uint32_t mode = c->rq.mode & (what == MAKE_DIR ? 07777 : S_IFMT | 07777);
	int rc = cred_act(c->rq.uid, c->rq.gid, c->rq.umask);

	if (rc < 0)
		return rc;
	if (what == MAKE_NODE)
		rc = mknodat(dir, c->name, mode, 0);
	else if (what == MAKE_DIR)
		rc = mkdirat(dir, c->name, mode);
	else
		rc = symlinkat(c->name2, dir, c->name);
	rc = rc < 0 ? -errno : 0;
	cred_back();
	return rc;
}

static int make(struct call *c, enum make what)
{
	struct share_entry x;
	struct node *dir;
	int rc = node_use_dir(c->s, c->rq.node, &dir);

	if (rc < 0)
		return rc;
	rc = make_entry(c, what, dir->fd);
	if (rc >= 0)
		rc = look_up(c->s, dir, c->name, &x);
	node_drop(c->s, dir);
	return answer(c, rc, &x);
}

/**
 * share_symlink() - c->name leads to c->name2
 *
 * Return: 0 with an entry; minus errno
 */
int share_symlink(struct call *c)
{
	return make(c, MAKE_LINK);
}

/**
 * share_mknod() - a regular file, FIFO, socket or whiteout
 *
 * Return: 0 with an entry; -EPERM for a device; minus errno
 */
int share_mknod(struct call *c)
{
	switch (c->rq.mode & S_IFMT) {
	case 0:
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
		return make(c, MAKE_NODE);
	case S_IFCHR:
		return c->rq.rdev ? -EPERM : make(c, MAKE_NODE);
	default:
		return -EPERM;
	}
}

/**
 * share_mkdir() - a directory
 *
 * Return: 0 with an entry; minus errno
 */
int share_mkdir(struct call *c)
{
	return make(c, MAKE_DIR);
}

/**
 * share_unlink() - UNLINK and RMDIR
 *
 * Return: 0 or minus errno
 */
int share_unlink(struct call *c)
{
	struct node *dir;
	int rc = node_use_dir(c->s, c->rq.node, &dir);

	if (rc < 0)
		return rc;
	if (unlinkat(dir->fd, c->name, c->rq.op == SHARE_RMDIR ? AT_REMOVEDIR : 0) < 0)
		rc = -errno;
	node_drop(c->s, dir);
	return rc;
}

/**
 * share_rename() - with the flags of renameat2(2)
 *
 * Return: 0 or minus errno
 */
int share_rename(struct call *c)
{
	const uint32_t known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
	struct node *from, *to;
	int rc;

	if (c->rq.flags & ~known)
		return -EINVAL;
	rc = node_use_dir(c->s, c->rq.node, &from);
	if (rc < 0)
		return rc;
	rc = node_use_dir(c->s, c->rq.node2, &to);
	if (rc >= 0) {
		if (from->tree != to->tree)
			rc = -EXDEV;
		else if (renameat2(from->fd, c->name, to->fd, c->name2, c->rq.flags) < 0)
			rc = -errno;
		node_drop(c->s, to);
	}
	node_drop(c->s, from);
	return rc;
}

/**
 * share_link() - another name, c->name in node, for node2
 *
 * Return: 0 with an entry; minus errno
 */
int share_link(struct call *c)
{
	struct node *dir, *what;
	struct share_entry x;
	int rc = node_use_dir(c->s, c->rq.node, &dir);

	if (rc < 0)
		return rc;
	rc = node_use(c->s, c->rq.node2, &what);
	if (rc >= 0) {
		if (what->tree != dir->tree)
			rc = -EXDEV;
		else if (linkat(what->fd, "", dir->fd, c->name, AT_EMPTY_PATH) < 0)
			rc = -errno;
		else
			rc = node_again(c->s, what, &x);
		node_drop(c->s, what);
	}
	node_drop(c->s, dir);
	return answer(c, rc, &x);
}

/* Makes and opens a file; with a NULL name one that has none. */
static int create(const struct call *c, const struct node *dir)
{
	uint64_t flags = (c->rq.flags & O_ACCMODE) | (c->name ? O_CREAT | O_EXCL : O_TMPFILE);
	int rc, fd;

	if ((c->rq.flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (!c->name && c->rq.flags & O_EXCL)
		flags |= O_EXCL;
	rc = cred_act(c->rq.uid, c->rq.gid, c->rq.umask);
	if (rc < 0)
		return rc;
	fd = open_name(dir, c->name ? c->name : ".", flags, c->rq.mode & 07777);
	cred_back();
	return fd;
}

/* The node of a file that is open. */
static int found_open(struct share *s, const struct node *dir, int fd, struct share_entry *ret)
{
	int path = open(fd_path(fd).s, O_PATH | O_CLOEXEC);

	return path < 0 ? -errno : node_found(s, dir->tree, path, ret);
}

/* CREATE of a file that somebody made in the meantime: opened as by OPEN. */
static int open_existing(struct call *c, const struct node *dir, struct share_entry *x, int *ret_fd)
{
	struct node *n;
	int rc = look_up(c->s, dir, c->name, x);

	if (rc < 0)
		return rc;
	rc = node_use(c->s, x->node, &n);
	if (rc >= 0) {
		rc = share_open_node(n, c->rq.flags, c->rq.kill);
		c->n = n->dev_index;
		node_drop(c->s, n);
	}
	if (rc < 0) {
		node_forget(c->s, x->node, 1);
		return rc;
	}
	*ret_fd = rc;
	return 0;
}

static int create_in(struct call *c, const struct node *dir, struct share_entry *x, int *ret_fd)
{
	_cleanup_close_ int fd = create(c, dir);
	int rc;

	if (fd == -EEXIST && c->name && !(c->rq.flags & O_EXCL))
		return open_existing(c, dir, x, ret_fd);
	if (fd < 0)
		return fd;
	rc = found_open(c->s, dir, fd, x);
	if (rc < 0)
		return rc;
	c->n = x->dev_index;
	*ret_fd = fd_steal(&fd);
	return rc;
}

/**
 * share_create() - make and open a file; without O_EXCL, open one that is there
 *
 * Return: 0 with an entry and a descriptor; minus errno
 */
int share_create(struct call *c)
{
	struct share_entry x;
	struct node *dir;
	int rc = node_use_dir(c->s, c->rq.node, &dir);

	if (rc < 0)
		return rc;
	rc = create_in(c, dir, &x, &c->fd);
	node_drop(c->s, dir);
	return answer(c, rc, &x);
}

/**
 * share_tmpfile() - make and open a file without a name
 *
 * Return: as share_create()
 */
int share_tmpfile(struct call *c)
{
	c->name = NULL;
	return share_create(c);
}
