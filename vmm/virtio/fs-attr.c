// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Requests about one node: attributes, extended attributes, and the file system.
 * The broker answers them; only the attributes of a file that is open are read from
 * its descriptor.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/virtio/fs.h"

static int answer_attr(struct fuse_req *r, const struct fuse_attr *a)
{
	struct fuse_attr_out out = { .attr = *a };

	fs_attr_valid(r->s, &out.attr_valid);
	fuse_add(r, &out, sizeof(out));
	return 0;
}

/* Asks, for attributes. */
static int ask_attr(struct fuse_req *r)
{
	struct share_reply rp;
	struct fuse_attr a;
	const void *data;
	int rc = fs_ask(r, NULL);

	if (rc < 0)
		return rc;
	data = fs_reply(r, &rp);
	if (rp.len != sizeof(a))
		return -EIO;
	memcpy(&a, data, sizeof(a));
	return answer_attr(r, &a);
}

/**
 * fs_getattr() - GETATTR
 *
 * #syscalls fstat
 */
int fs_getattr(struct fuse_req *r)
{
	const struct fuse_getattr_in *in = r->arg;
	struct fuse_attr a;
	struct fs_file *f;
	struct stat st;
	uint32_t index;
	int rc;

	if (!(in->getattr_flags & FUSE_GETATTR_FH)) {
		fs_rq(r, SHARE_GETATTR, r->h.nodeid);
		return ask_attr(r);
	}
	f = file_get(r->s, r->h.nodeid, in->fh, false);
	if (!f)
		return -EBADF;
	rc = fstat(f->fd, &st) < 0 ? -errno : 0;
	index = f->dev_index;
	file_put(r->s, f);
	if (rc < 0)
		return rc;
	share_attr(&st, index, &a);
	return answer_attr(r, &a);
}

/**
 * fs_setattr() - SETATTR
 */
int fs_setattr(struct fuse_req *r)
{
	fs_rq(r, SHARE_SETATTR, r->h.nodeid);
	fs_rq_add(r, r->arg, sizeof(struct fuse_setattr_in));
	return ask_attr(r);
}

/**
 * fs_readlink() - READLINK
 */
int fs_readlink(struct fuse_req *r)
{
	struct share_reply rp;
	const void *data;
	int rc;

	fs_rq(r, SHARE_READLINK, r->h.nodeid);
	rc = fs_ask(r, NULL);
	if (rc < 0)
		return rc;
	data = fs_reply(r, &rp);
	fuse_add(r, data, rp.len);
	return 0;
}

/**
 * fs_statfs() - STATFS
 */
int fs_statfs(struct fuse_req *r)
{
	struct fuse_statfs_out out;
	struct share_reply rp;
	const void *data;
	int rc;

	fs_rq(r, SHARE_STATFS, r->h.nodeid);
	rc = fs_ask(r, NULL);
	if (rc < 0)
		return rc;
	data = fs_reply(r, &rp);
	if (rp.len != sizeof(out.st))
		return -EIO;
	memcpy(&out.st, data, sizeof(out.st));
	fuse_add(r, &out, sizeof(out));
	return 0;
}

/**
 * fs_syncfs() - SYNCFS
 */
int fs_syncfs(struct fuse_req *r)
{
	fs_rq(r, SHARE_SYNCFS, r->h.nodeid);
	return fs_ask(r, NULL);
}

/**
 * fs_access() - ACCESS
 */
int fs_access(struct fuse_req *r)
{
	const struct fuse_access_in *in = r->arg;

	fs_rq(r, SHARE_ACCESS, r->h.nodeid)->mode = in->mask;
	return fs_ask(r, NULL);
}

/**
 * fs_setxattr() - SETXATTR
 */
int fs_setxattr(struct fuse_req *r)
{
	struct fuse_setxattr_in in = { 0 };
	size_t head = r->s->session.setxattr_ext ? sizeof(in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
	size_t more = head - FUSE_COMPAT_SETXATTR_IN_SIZE, name;
	struct share_request *rq;

	if (r->in_len < more)
		return -EINVAL;
	memcpy(&in, r->arg, head);
	r->in += more;
	r->in_len -= (uint32_t)more;
	name = strnlen((const char *)r->in, r->in_len);
	if (name == r->in_len || r->in_len - name - 1 != in.size)
		return -EINVAL;
	if (in.size > SHARE_VALUE_BYTES)
		return -E2BIG;
	rq = fs_rq(r, SHARE_SETXATTR, r->h.nodeid);
	rq->flags = in.flags;
	rq->kill = !!(in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID);
	fs_rq_add(r, r->in, r->in_len);
	return fs_ask(r, NULL);
}

/**
 * fs_getxattr() - GETXATTR, LISTXATTR: a value, or with a size of 0 its length
 */
int fs_getxattr(struct fuse_req *r)
{
	const struct fuse_getxattr_in *in = r->arg;
	struct fuse_getxattr_out out = { 0 };
	uint32_t size = in->size;
	struct share_reply rp;
	const void *data;
	int rc;

	if (r->room < (size ? size : sizeof(out)))
		return -EINVAL;
	fs_rq(r, r->name ? SHARE_GETXATTR : SHARE_LISTXATTR, r->h.nodeid)->size = size;
	if (r->name)
		fs_rq_name(r, r->name);
	rc = fs_ask(r, NULL);
	if (rc < 0)
		return rc;
	data = fs_reply(r, &rp);
	if (rp.len > size)
		return -EIO;
	out.size = rp.n;
	if (size)
		fuse_add(r, data, rp.len);
	else
		fuse_add(r, &out, sizeof(out));
	return 0;
}

/**
 * fs_removexattr() - REMOVEXATTR
 */
int fs_removexattr(struct fuse_req *r)
{
	fs_rq(r, SHARE_REMOVEXATTR, r->h.nodeid);
	fs_rq_name(r, r->name);
	return fs_ask(r, NULL);
}
