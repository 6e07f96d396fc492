// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * FUSE, protocol 7.x, as far as it is the same for all requests: a request is copied
 * out of the guest's memory once (but WRITE's data), cut into its fixed part, its
 * names and the rest, and one table says how much each must be and who carries it
 * out. Nothing is carried out whose answer would not fit. Errors are FUSE's:
 *
 *   ENOSYS  a request that we do not know, and do not want to: the guest's kernel
 *           does without it from then on
 *   EINVAL  a request that is cut short, says another length than it has, or has no
 *           room for its answer
 *   EIO     anything before INIT
 *
 * Sources: linux/fuse.h; virtio 1.2, section 5.11.6.
 */
#include <errno.h>
#include <string.h>

#include "lib/mem.h"
#include "vmm/virtio/fs.h"

/* REST: more follows the names. SILENT: no answer, whatever happens. */
enum { REST = 1, SILENT = 2, EARLY = 4, STREAM = 8 };

typedef int fuse_fn(struct fuse_req *r);

/* INTERRUPT of what is not known any more, and answers to notes that we never send. */
static int ignore(struct fuse_req *r)
{
	(void)r;
	return 0;
}

/*
 * @in:    bytes of the fixed part, at least
 * @out:   bytes of the answer's body that there must be room for
 * @names: how many follow
 */
static const struct fuse_op {
	fuse_fn *fn;
	uint16_t in, out;
	uint8_t names, flags;
} fuse_ops[] = {
	[FUSE_LOOKUP] = { fs_lookup, 0, sizeof(struct fuse_entry_out), 1, 0 },
	[FUSE_FORGET] = { fs_forget_one, sizeof(struct fuse_forget_in), 0, 0, SILENT },
	[FUSE_GETATTR] = { fs_getattr, sizeof(struct fuse_getattr_in), sizeof(struct fuse_attr_out),
			   0, 0 },
	[FUSE_SETATTR] = { fs_setattr, sizeof(struct fuse_setattr_in), sizeof(struct fuse_attr_out),
			   0, 0 },
	[FUSE_READLINK] = { fs_readlink, 0, 0, 0, 0 },
	[FUSE_SYMLINK] = { fs_make, 0, sizeof(struct fuse_entry_out), 2, 0 },
	[FUSE_MKNOD] = { fs_make, sizeof(struct fuse_mknod_in), sizeof(struct fuse_entry_out), 1,
			 0 },
	[FUSE_MKDIR] = { fs_make, sizeof(struct fuse_mkdir_in), sizeof(struct fuse_entry_out), 1,
			 0 },
	[FUSE_UNLINK] = { fs_unlink, 0, 0, 1, 0 },
	[FUSE_RMDIR] = { fs_unlink, 0, 0, 1, 0 },
	[FUSE_RENAME] = { fs_rename, sizeof(struct fuse_rename_in), 0, 2, 0 },
	[FUSE_LINK] = { fs_link, sizeof(struct fuse_link_in), sizeof(struct fuse_entry_out), 1, 0 },
	[FUSE_OPEN] = { fs_open, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out), 0, 0 },
	[FUSE_READ] = { fs_read, sizeof(struct fuse_read_in), 0, 0, 0 },
	[FUSE_WRITE] = { fs_write, sizeof(struct fuse_write_in), sizeof(struct fuse_write_out), 0,
			 REST | STREAM },
	[FUSE_STATFS] = { fs_statfs, 0, sizeof(struct fuse_statfs_out), 0, 0 },
	[FUSE_RELEASE] = { fs_release, sizeof(struct fuse_release_in), 0, 0, 0 },
	[FUSE_FSYNC] = { fs_fsync, sizeof(struct fuse_fsync_in), 0, 0, 0 },
	[FUSE_SETXATTR] = { fs_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, 0, 0, REST },
	[FUSE_GETXATTR] = { fs_getxattr, sizeof(struct fuse_getxattr_in), 0, 1, 0 },
	[FUSE_LISTXATTR] = { fs_getxattr, sizeof(struct fuse_getxattr_in), 0, 0, 0 },
	[FUSE_REMOVEXATTR] = { fs_removexattr, 0, 0, 1, 0 },
	[FUSE_FLUSH] = { fs_flush, sizeof(struct fuse_flush_in), 0, 0, 0 },
	[FUSE_INIT] = { fs_init, 16, sizeof(struct fuse_init_out), 0, REST | EARLY },
	[FUSE_OPENDIR] = { fs_open, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out), 0,
			   0 },
	[FUSE_READDIR] = { fs_readdir, sizeof(struct fuse_read_in), 0, 0, 0 },
	[FUSE_RELEASEDIR] = { fs_release, sizeof(struct fuse_release_in), 0, 0, 0 },
	[FUSE_FSYNCDIR] = { fs_fsync, sizeof(struct fuse_fsync_in), 0, 0, 0 },
	[FUSE_GETLK] = { fs_getlk, sizeof(struct fuse_lk_in), sizeof(struct fuse_lk_out), 0, 0 },
	[FUSE_SETLK] = { fs_setlk, sizeof(struct fuse_lk_in), 0, 0, 0 },
	[FUSE_SETLKW] = { fs_setlk, sizeof(struct fuse_lk_in), 0, 0, 0 },
	[FUSE_ACCESS] = { fs_access, sizeof(struct fuse_access_in), 0, 0, 0 },
	[FUSE_CREATE] = { fs_create, sizeof(struct fuse_create_in),
			  sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out), 1, 0 },
	[FUSE_INTERRUPT] = { fs_interrupt, sizeof(struct fuse_interrupt_in), 0, 0, SILENT },
	[FUSE_DESTROY] = { fs_destroy, 0, 0, 0, 0 },
	[FUSE_NOTIFY_REPLY] = { ignore, 0, 0, 0, REST | SILENT | STREAM },
	[FUSE_BATCH_FORGET] = { fs_forget_many, sizeof(struct fuse_batch_forget_in), 0, 0,
				REST | SILENT },
	[FUSE_FALLOCATE] = { fs_fallocate, sizeof(struct fuse_fallocate_in), 0, 0, 0 },
	[FUSE_READDIRPLUS] = { fs_readdir, sizeof(struct fuse_read_in), 0, 0, 0 },
	[FUSE_RENAME2] = { fs_rename, sizeof(struct fuse_rename2_in), 0, 2, 0 },
	[FUSE_LSEEK] = { fs_lseek, sizeof(struct fuse_lseek_in), sizeof(struct fuse_lseek_out), 0,
			 0 },
	[FUSE_COPY_FILE_RANGE] = { fs_copy, sizeof(struct fuse_copy_file_range_in),
				   sizeof(struct fuse_write_out), 0, 0 },
	[FUSE_SYNCFS] = { fs_syncfs, sizeof(struct fuse_syncfs_in), 0, 0, 0 },
	[FUSE_TMPFILE] = { fs_create, sizeof(struct fuse_create_in),
			   sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out), 1, 0 },
};

static const struct fuse_op *find_op(uint32_t opcode)
{
	const struct fuse_op *op = opcode < ARRAY_LEN(fuse_ops) ? &fuse_ops[opcode] : NULL;

	return op && op->fn ? op : NULL;
}

/**
 * fuse_add() - add to the answer's body
 *
 * What does not fit is cut; fixed answers always fit, others look at @r->room.
 */
void fuse_add(struct fuse_req *r, const void *data, uint32_t len)
{
	if (len > r->room - r->done)
		len = r->room - r->done;
	chain_write(&r->w->chain, sizeof(struct fuse_out_header) + r->done, data, len);
	r->done += len;
}

/**
 * fuse_answer() - write the header of an answer
 * @error: 0 or a negative errno, with which there is no body
 * @body:  bytes of it
 *
 * Return: bytes of the whole answer
 */
uint32_t fuse_answer(struct virtq_chain *c, uint64_t unique, int error, uint32_t body)
{
	struct fuse_out_header h = { .len = (uint32_t)sizeof(h), .unique = unique };

	if (error < 0)
		h.error = error > -512 ? error : -EIO;
	else
		h.len += body;
	chain_write(c, 0, &h, sizeof(h));
	return h.len;
}

/* Cuts a name off the front of the body. */
static int take_name(struct fuse_req *r, const char **ret)
{
	const uint8_t *end = memchr(r->in, 0, r->in_len);

	if (!end)
		return -EINVAL;
	*ret = (const char *)r->in;
	r->in_len -= (uint32_t)(end + 1 - r->in);
	r->in = end + 1;
	return 0;
}

/* Copies the body and cuts it up. */
static int cut(struct fuse_req *r, const struct fuse_op *op)
{
	const struct virtq_chain *c = &r->w->chain;
	uint64_t len = c->out_bytes - sizeof(r->h);
	int rc = 0;

	if (r->h.len != c->out_bytes || len < op->in)
		return -EINVAL;
	if (op->flags & STREAM)
		len = op->in;
	if (len > sizeof(r->w->in))
		return -EINVAL;
	chain_read(c, sizeof(r->h), r->w->in, len);
	r->arg = r->w->in;
	r->in = r->w->in + op->in;
	r->in_len = (uint32_t)len - op->in;
	if (op->names)
		rc = take_name(r, &r->name);
	if (op->names > 1 && rc >= 0)
		rc = take_name(r, &r->name2);
	if (rc >= 0 && r->in_len && !(op->flags & REST))
		rc = -EINVAL;
	return rc;
}

static int perform(struct fuse_req *r, const struct fuse_op *op)
{
	int rc;

	if (!op)
		return -ENOSYS;
	if (!r->s->session.inited && !(op->flags & EARLY))
		return -EIO;
	rc = cut(r, op);
	if (rc >= 0 && r->room < op->out)
		rc = -EINVAL;
	return rc < 0 ? rc : op->fn(r);
}

/**
 * fuse_serve() - carry out the request in the worker's chain
 * @sock:        channel to the broker
 * @queue:       that it came by
 * @ret_written: bytes of its answer
 * @ret_taken:   bytes of data that came with it
 *
 * Return: 0 or FUSE_SILENT: it has ended; FUSE_PARKED: it ends later; -EPROTO: it has
 * no header, or no room for the header of an answer that it needs
 * Context: a worker; blocks
 */
int fuse_serve(struct fs *s, struct fs_worker *w, int sock, uint16_t queue, uint32_t *ret_written,
	       uint32_t *ret_taken)
{
	struct fuse_req r = { .s = s, .w = w, .sock = sock, .queue = queue };
	const struct fuse_op *op;
	uint64_t room = w->chain.in_bytes;
	bool silent;
	int rc;

	if (chain_read(&w->chain, 0, &r.h, sizeof(r.h)) != sizeof(r.h))
		return -EPROTO;
	op = find_op(r.h.opcode);
	silent = op && op->flags & SILENT;
	if (!silent && room < sizeof(struct fuse_out_header))
		return -EPROTO;
	if (!silent) {
		room -= sizeof(struct fuse_out_header);
		r.room = room < UINT32_MAX / 2 ? (uint32_t)room : UINT32_MAX / 2;
	}
	rc = perform(&r, op);
	if (rc == FUSE_PARKED)
		return rc;
	if (silent)
		return FUSE_SILENT;
	*ret_written = fuse_answer(&w->chain, r.h.unique, rc, r.done);
	*ret_taken = r.taken;
	return 0;
}
