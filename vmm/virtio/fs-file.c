// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Requests on open files: system calls on descriptors that we have. Data goes from
 * and to guest memory without a copy between.
 *
 * A write says for itself whether it appends and how durable it must be, since the
 * guest may change a file's flags after it was opened.
 *
 * Linux clears set-user-ID and set-group-ID bits at any write of a process without
 * CAP_FSETID, which we are; the guest says when they are to be cleared. So where it
 * does not, the broker sets them again.
 *
 * Source: linux/fuse.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/virtio/fs.h"

/* One COPY_FILE_RANGE copies no more than this: a worker has other things to do. */
#define COPY_BYTES_MAX (16u << 20)

#define FALLOCATE_MODES                                                                            \
	(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE |                       \
	 FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE)

/**
 * fs_read() - READ, straight into guest memory
 *
 * #syscalls preadv
 */
int fs_read(struct fuse_req *r)
{
	const struct fuse_read_in *in = r->arg;
	const struct virtq_chain *c = &r->w->chain;
	uint32_t size = in->size < r->room ? in->size : r->room;
	struct fs_file *f;
	ssize_t n = 0;
	size_t parts;

	if (in->offset > INT64_MAX || size > FS_IO_BYTES)
		return -EINVAL;
	f = file_get(r->s, r->h.nodeid, in->fh, false);
	if (!f)
		return -EBADF;
	memcpy(r->w->part, c->in, c->n_in * sizeof(c->in[0]));
	parts = iov_trim(r->w->part, c->n_in, sizeof(struct fuse_out_header), size);
	if (parts) {
		do
			n = preadv(f->fd, r->w->part, (int)parts, (off_t)in->offset);
		while (n < 0 && errno == EINTR);
	}
	n = n < 0 ? -errno : n;
	file_put(r->s, f);
	if (n < 0)
		return (int)n;
	r->done = (uint32_t)n;
	return 0;
}

/* Return: the mode if a write would clear bits of it that are to stay; 0 */
static uint32_t bits_to_keep(const struct fs_file *f)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return 0;
	return st.st_mode & S_ISUID || (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)
		       ? st.st_mode
		       : 0;
}

static void set_bits(struct fuse_req *r, uint32_t mode)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = mode };

	fs_rq(r, SHARE_SETATTR, r->h.nodeid);
	fs_rq_add(r, &in, sizeof(in));
	fs_ask(r, NULL);
}

static int write_flags(const struct fuse_write_in *in)
{
	int flags = 0;

	/* What the guest's page cache writes has its place, whatever the file says. */
	if (in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE))
		flags |= RWF_APPEND;
	if ((in->flags & O_SYNC) == O_SYNC)
		flags |= RWF_SYNC;
	else if (in->flags & O_DSYNC)
		flags |= RWF_DSYNC;
	return flags;
}

static ssize_t write_file(struct fuse_req *r, const struct fs_file *f)
{
	const struct fuse_write_in *in = r->arg;
	const struct virtq_chain *c = &r->w->chain;
	size_t parts;
	ssize_t n = 0;

	memcpy(r->w->part, c->out, c->n_out * sizeof(c->out[0]));
	parts = iov_trim(r->w->part, c->n_out, sizeof(r->h) + sizeof(*in), in->size);
	if (!parts)
		return 0;
	do
		n = pwritev2(f->fd, r->w->part, (int)parts, (off_t)in->offset, write_flags(in));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/**
 * fs_write() - WRITE, straight from guest memory
 *
 * #syscalls pwritev2 fstat
 */
int fs_write(struct fuse_req *r)
{
	const struct fuse_write_in *in = r->arg;
	struct fuse_write_out out = { 0 };
	struct fs_file *f;
	uint32_t keep;
	ssize_t n;

	if (in->offset > INT64_MAX || in->size > FS_IO_BYTES ||
	    in->size != r->h.len - sizeof(r->h) - sizeof(*in))
		return -EINVAL;
	f = file_get(r->s, r->h.nodeid, in->fh, false);
	if (!f)
		return -EBADF;
	keep = in->write_flags & FUSE_WRITE_KILL_SUIDGID ? 0 : bits_to_keep(f);
	n = write_file(r, f);
	file_put(r->s, f);
	if (n < 0)
		return (int)n;
	if (n && keep)
		set_bits(r, keep);
	r->taken = out.size = (uint32_t)n;
	fuse_add(r, &out, sizeof(out));
	return 0;
}

/**
 * fs_release() - RELEASE, RELEASEDIR
 *
 * #syscalls close flock
 */
int fs_release(struct fuse_req *r)
{
	const struct fuse_release_in *in = r->arg;
	bool dir = r->h.opcode == FUSE_RELEASEDIR;

	if (!dir)
		locks_drop_file(r->s, r->h.nodeid, in->fh);
	return file_close(r->s, r->h.nodeid, in->fh, dir);
}

/**
 * fs_flush() - FLUSH: a process has closed a file, others may have it still
 *
 * Closing a copy makes network file systems write out, and tell if they cannot.
 *
 * #syscalls fcntl close
 */
int fs_flush(struct fuse_req *r)
{
	const struct fuse_flush_in *in = r->arg;
	struct fs_file *f = file_get(r->s, r->h.nodeid, in->fh, false);
	int copy, rc = 0;

	if (!f)
		return -EBADF;
	locks_drop(r->s, r->h.nodeid, in->lock_owner);
	copy = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0 && close(copy) < 0 && errno != EINTR)
		rc = -errno;
	file_put(r->s, f);
	return rc;
}

/**
 * fs_fsync() - FSYNC, FSYNCDIR
 *
 * #syscalls fsync fdatasync
 */
int fs_fsync(struct fuse_req *r)
{
	const struct fuse_fsync_in *in = r->arg;
	bool dir = r->h.opcode == FUSE_FSYNCDIR;
	struct fs_file *f = file_get(r->s, r->h.nodeid, in->fh, dir);
	int rc;

	if (!f)
		return -EBADF;
	rc = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(f->fd) : fsync(f->fd);
	rc = rc < 0 ? -errno : 0;
	file_put(r->s, f);
	return rc;
}

/**
 * fs_fallocate() - FALLOCATE
 *
 * #syscalls fallocate
 */
int fs_fallocate(struct fuse_req *r)
{
	const struct fuse_fallocate_in *in = r->arg;
	struct fs_file *f;
	int rc;

	if (in->mode & ~(uint32_t)FALLOCATE_MODES)
		return -EOPNOTSUPP;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EINVAL;
	f = file_get(r->s, r->h.nodeid, in->fh, false);
	if (!f)
		return -EBADF;
	do
		rc = fallocate(f->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length);
	while (rc < 0 && errno == EINTR);
	rc = rc < 0 ? -errno : 0;
	file_put(r->s, f);
	return rc;
}

/**
 * fs_lseek() - LSEEK: where data or a hole begins
 *
 * #syscalls lseek
 */
int fs_lseek(struct fuse_req *r)
{
	const struct fuse_lseek_in *in = r->arg;
	struct fuse_lseek_out out;
	struct fs_file *f;
	off_t at;

	if (in->offset > INT64_MAX || (in->whence != SEEK_DATA && in->whence != SEEK_HOLE))
		return -EINVAL;
	f = file_get(r->s, r->h.nodeid, in->fh, false);
	if (!f)
		return -EBADF;
	at = lseek(f->fd, (off_t)in->offset, (int)in->whence);
	at = at < 0 ? -errno : at;
	file_put(r->s, f);
	if (at < 0)
		return (int)at;
	out.offset = (uint64_t)at;
	fuse_add(r, &out, sizeof(out));
	return 0;
}

static ssize_t copy(const struct fuse_copy_file_range_in *in, const struct fs_file *from,
		    const struct fs_file *to)
{
	off_t a = (off_t)in->off_in, b = (off_t)in->off_out;
	ssize_t n;

	do
		n = copy_file_range(from->fd, &a, to->fd, &b,
				    in->len < COPY_BYTES_MAX ? in->len : COPY_BYTES_MAX, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/**
 * fs_copy() - COPY_FILE_RANGE, within the share
 *
 * #syscalls copy_file_range
 */
int fs_copy(struct fuse_req *r)
{
	const struct fuse_copy_file_range_in *in = r->arg;
	struct fuse_write_out out = { 0 };
	struct fs_file *from, *to;
	ssize_t n = -EBADF;

	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	from = file_get(r->s, r->h.nodeid, in->fh_in, false);
	to = file_get(r->s, in->nodeid_out, in->fh_out, false);
	if (from && to)
		n = copy(in, from, to);
	if (from)
		file_put(r->s, from);
	if (to)
		file_put(r->s, to);
	if (n < 0)
		return (int)n;
	out.size = (uint32_t)n;
	fuse_add(r, &out, sizeof(out));
	return 0;
}
