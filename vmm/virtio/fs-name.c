// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The beginning and end of a session, and requests that take names or open files: what
 * FUSE asks becomes a question to the broker, and its answer FUSE's. Nodes are
 * the broker's numbers, and it counts them; we keep none. A node whose answer the
 * guest does not get is forgotten for it.
 *
 * How long the guest's kernel may believe what it was told is the share's cache mode:
 * not at all (and it does not cache data either), a second, or for good.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "vmm/virtio/fs.h"

/* The oldest protocol that virtio-fs was ever used with. */
#define MINOR_MIN 31u

#define VALID_AUTO_S 1u
#define VALID_ALWAYS_S 86400u

/* Requests that the guest's kernel has under way in the background, and when it slows. */
#define BACKGROUND_MAX 64
#define CONGESTION 48

#define PAGE_BYTES 4096u

/* What we do if the guest's kernel can. */
#define FEATURES                                                                                   \
	(FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |              \
	 FUSE_DONT_MASK | FUSE_FLOCK_LOCKS | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |          \
	 FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL |          \
	 FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT)

static uint64_t valid_s(const struct fs *s)
{
	return s->cache == VMM_CACHE_NONE   ? 0
	       : s->cache == VMM_CACHE_AUTO ? VALID_AUTO_S
					    : VALID_ALWAYS_S;
}

/**
 * fs_attr_valid() - how long attributes may be believed
 */
void fs_attr_valid(const struct fs *s, uint64_t *ret_s)
{
	*ret_s = valid_s(s);
}

/* Copies what the guest sent of the longer form, zeros behind it. */
static struct fuse_init_in init_in(const struct fuse_req *r)
{
	struct fuse_init_in in = { 0 };
	size_t len = 16 + (size_t)r->in_len;

	memcpy(&in, r->arg, len < sizeof(in) ? len : sizeof(in));
	return in;
}

/**
 * fs_init() - INIT: a session begins; the one before ends
 */
int fs_init(struct fuse_req *r)
{
	struct fuse_init_in in = init_in(r);
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION,
				     .minor = FUSE_KERNEL_MINOR_VERSION };

	session_end(r->s, r->w);
	fs_forget_all(r->w, r->sock);
	if (in.major > FUSE_KERNEL_VERSION) {
		/* It asks again, with our version. */
		fuse_add(r, &out, sizeof(out));
		return 0;
	}
	if (in.major < FUSE_KERNEL_VERSION || in.minor < MINOR_MIN)
		return -EPROTO;
	out.flags = in.flags & FEATURES;
	if (r->s->cache == VMM_CACHE_NONE)
		out.flags &= ~(uint32_t)FUSE_CACHE_SYMLINKS;
	out.max_readahead = in.max_readahead < FS_IO_BYTES ? in.max_readahead : FS_IO_BYTES;
	out.max_background = BACKGROUND_MAX;
	out.congestion_threshold = CONGESTION;
	out.max_write = FS_IO_BYTES;
	out.max_pages = FS_IO_BYTES / PAGE_BYTES;
	out.time_gran = 1;
	fuse_add(r, &out, sizeof(out));
	r->s->session.setxattr_ext = out.flags & FUSE_SETXATTR_EXT;
	r->s->session.inited = true;
	return 0;
}

/**
 * fs_destroy() - DESTROY: the session ends
 */
int fs_destroy(struct fuse_req *r)
{
	session_end(r->s, r->w);
	fs_forget_all(r->w, r->sock);
	return 0;
}

/**
 * fs_entry() - what FUSE says of a node
 */
void fs_entry(const struct fs *s, const struct share_entry *x, struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){ .nodeid = x->node,
					.entry_valid = valid_s(s),
					.attr_valid = valid_s(s),
					.attr = x->attr };
}

/* The entry that the broker answered with. */
static int first_entry(struct fuse_req *r, struct share_entry *ret)
{
	struct share_reply rp;
	const void *data = fs_reply(r, &rp);

	if (rp.len < sizeof(*ret))
		return -EIO;
	memcpy(ret, data, sizeof(*ret));
	return ret->error > 0 ? -EIO : ret->error;
}

static int answer_entry(struct fuse_req *r)
{
	struct fuse_entry_out out;
	struct share_entry x;
	int rc = fs_ask(r, NULL);

	if (rc >= 0)
		rc = first_entry(r, &x);
	if (rc < 0)
		return rc;
	fs_entry(r->s, &x, &out);
	fuse_add(r, &out, sizeof(out));
	return 0;
}

/**
 * fs_lookup() - LOOKUP
 */
int fs_lookup(struct fuse_req *r)
{
	struct fuse_entry_out none = { .entry_valid = VALID_ALWAYS_S };
	int rc;

	fs_rq(r, SHARE_LOOKUP, r->h.nodeid);
	fs_rq_name(r, r->name);
	rc = answer_entry(r);
	if (rc != -ENOENT || r->s->cache != VMM_CACHE_ALWAYS)
		return rc;
	/* A node of 0 is an absence that may be believed. */
	fuse_add(r, &none, sizeof(none));
	return 0;
}

/**
 * fs_forget_one() - FORGET
 */
int fs_forget_one(struct fuse_req *r)
{
	const struct fuse_forget_in *in = r->arg;

	fs_forget(r->w, r->sock, r->h.nodeid, in->nlookup);
	return 0;
}

/**
 * fs_forget_many() - BATCH_FORGET
 */
int fs_forget_many(struct fuse_req *r)
{
	const struct fuse_batch_forget_in *in = r->arg;
	struct fuse_forget_one one;
	uint32_t i;

	for (i = 0; i < in->count && i < r->in_len / sizeof(one); i++) {
		memcpy(&one, r->in + i * sizeof(one), sizeof(one));
		fs_forget(r->w, r->sock, one.nodeid, one.nlookup);
	}
	return 0;
}

/**
 * fs_make() - SYMLINK, MKNOD, MKDIR
 */
int fs_make(struct fuse_req *r)
{
	const struct fuse_mknod_in *node = r->arg;
	const struct fuse_mkdir_in *dir = r->arg;
	struct share_request *rq;

	switch (r->h.opcode) {
	case FUSE_SYMLINK:
		fs_rq(r, SHARE_SYMLINK, r->h.nodeid);
		fs_rq_name(r, r->name);
		fs_rq_name(r, r->name2);
		return answer_entry(r);
	case FUSE_MKNOD:
		rq = fs_rq(r, SHARE_MKNOD, r->h.nodeid);
		rq->mode = node->mode;
		rq->rdev = node->rdev;
		rq->umask = node->umask;
		break;
	default:
		rq = fs_rq(r, SHARE_MKDIR, r->h.nodeid);
		rq->mode = dir->mode;
		rq->umask = dir->umask;
	}
	fs_rq_name(r, r->name);
	return answer_entry(r);
}

/**
 * fs_unlink() - UNLINK, RMDIR
 */
int fs_unlink(struct fuse_req *r)
{
	fs_rq(r, r->h.opcode == FUSE_RMDIR ? SHARE_RMDIR : SHARE_UNLINK, r->h.nodeid);
	fs_rq_name(r, r->name);
	return fs_ask(r, NULL);
}

/**
 * fs_rename() - RENAME, RENAME2
 */
int fs_rename(struct fuse_req *r)
{
	const struct fuse_rename2_in *in = r->arg;
	struct share_request *rq = fs_rq(r, SHARE_RENAME, r->h.nodeid);

	rq->node2 = in->newdir;
	rq->flags = r->h.opcode == FUSE_RENAME2 ? in->flags : 0;
	fs_rq_name(r, r->name);
	fs_rq_name(r, r->name2);
	return fs_ask(r, NULL);
}

/**
 * fs_link() - LINK
 */
int fs_link(struct fuse_req *r)
{
	const struct fuse_link_in *in = r->arg;
	struct share_request *rq = fs_rq(r, SHARE_LINK, r->h.nodeid);

	rq->node2 = in->oldnodeid;
	fs_rq_name(r, r->name);
	return answer_entry(r);
}

static uint32_t open_flags(const struct fs *s, bool dir)
{
	if (s->cache == VMM_CACHE_ALWAYS)
		return dir ? FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR : FOPEN_KEEP_CACHE;
	return s->cache == VMM_CACHE_NONE && !dir ? FOPEN_DIRECT_IO : 0;
}

/* Adds the file that the broker opened to what the answer has. */
static int answer_open(struct fuse_req *r, uint64_t node, int fd, bool dir)
{
	struct fuse_open_out out = { .open_flags = open_flags(r->s, dir) };
	struct share_reply rp;
	int rc;

	fs_reply(r, &rp);
	rc = file_add(r->s, node, fd, dir, rp.n, &out.fh);
	if (rc >= 0)
		fuse_add(r, &out, sizeof(out));
	return rc;
}

/**
 * fs_open() - OPEN, OPENDIR
 */
int fs_open(struct fuse_req *r)
{
	const struct fuse_open_in *in = r->arg;
	bool dir = r->h.opcode == FUSE_OPENDIR;
	struct share_request *rq = fs_rq(r, dir ? SHARE_OPENDIR : SHARE_OPEN, r->h.nodeid);
	int fd, rc;

	rq->flags = in->flags;
	rq->kill = !!(in->open_flags & FUSE_OPEN_KILL_SUIDGID);
	rc = fs_ask(r, &fd);
	return rc < 0 ? rc : answer_open(r, r->h.nodeid, fd, dir);
}

/**
 * fs_create() - CREATE, TMPFILE
 */
int fs_create(struct fuse_req *r)
{
	const struct fuse_create_in *in = r->arg;
	bool named = r->h.opcode == FUSE_CREATE;
	struct share_request *rq = fs_rq(r, named ? SHARE_CREATE : SHARE_TMPFILE, r->h.nodeid);
	struct fuse_entry_out out;
	struct share_entry x;
	int fd, rc;

	rq->mode = in->mode;
	rq->umask = in->umask;
	rq->flags = in->flags;
	rq->kill = !!(in->open_flags & FUSE_OPEN_KILL_SUIDGID);
	if (named)
		fs_rq_name(r, r->name);
	rc = fs_ask(r, &fd);
	if (rc < 0)
		return rc;
	rc = first_entry(r, &x);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	fs_entry(r->s, &x, &out);
	fuse_add(r, &out, sizeof(out));
	rc = answer_open(r, x.node, fd, false);
	if (rc < 0)
		fs_forget(r->w, r->sock, x.node, 1);
	return rc;
}
