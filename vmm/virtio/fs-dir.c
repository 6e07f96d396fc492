// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * READDIR and READDIRPLUS: entries of an open directory, read from its descriptor
 * at the place that the guest names (a place that Linux gave out; any other gives what
 * Linux makes of it). READDIRPLUS says of each entry what LOOKUP would: all names of
 * one answer are one question to the broker. The answer is put together in the
 * worker's buffer, and what does not fit is read again the next time.
 *
 * The share's parent directory has no business here: ".." of its root is itself.
 *
 * Sources: getdents64(2); linux/fuse.h.
 */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/virtio/fs.h"

/* How much shorter Linux's entries are than READDIRPLUS's, at least. */
#define PLUS_RATIO 3u

/* As the system call has it. */
struct dent {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

#define DENT_HEAD offsetof(struct dent, name)

/**
 * struct list - the answer as it grows
 * @plus: READDIRPLUS
 * @room: bytes that the answer may have
 * @at:   bytes that it has, in the worker's @in
 * @n:    names that the broker is asked for
 */
struct list {
	struct fuse_req *r;
	const struct fs_file *f;
	bool plus;
	uint32_t room, at, n;
};

/* Bytes read at @offset into the worker's @dents. */
static ssize_t read_entries(struct fuse_req *r, struct fs_file *f, uint64_t offset, uint32_t len)
{
	ssize_t n = -1;

	pthread_mutex_lock(&f->pos);
	if (lseek(f->fd, (off_t)offset, SEEK_SET) >= 0)
		n = syscall(SYS_getdents64, f->fd, r->w->dents, len);
	n = n < 0 ? -errno : n;
	pthread_mutex_unlock(&f->pos);
	return n;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static uint64_t ino_of(const struct list *l, const struct dent *d)
{
	if (l->f->node == FUSE_ROOT_ID && !strcmp(d->name, ".."))
		return FUSE_ROOT_ID;
	return share_ino(l->f->dev_index, 0, d->ino);
}

/* Adds an entry. Return: false when the answer is full */
static bool add(struct list *l, const struct dent *d)
{
	struct fuse_dirent e = { .ino = ino_of(l, d),
				 .off = (uint64_t)d->off,
				 .namelen = (uint32_t)strlen(d->name),
				 .type = d->type };
	uint32_t head = l->plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	uint32_t len = (uint32_t)FUSE_DIRENT_ALIGN(head + e.namelen);
	uint8_t *to = l->r->w->in + l->at;

	if (len > l->room - l->at)
		return false;
	if (l->plus && !is_dots(d->name)) {
		if (l->n == SHARE_BATCH_MAX)
			return false;
		fs_rq_name(l->r, d->name);
		l->n++;
	}
	memset(to, 0, len);
	memcpy(to + head - FUSE_NAME_OFFSET, &e, FUSE_NAME_OFFSET);
	memcpy(to + head, d->name, e.namelen);
	l->at += len;
	return true;
}

/* Puts the broker's entries into the places that add() has left for them. */
static int fill_in(struct list *l, uint8_t *at, const uint8_t *end, const uint8_t *entries)
{
	struct fuse_direntplus p;

	while (at < end) {
		struct share_entry x;

		memcpy(&p, at, FUSE_NAME_OFFSET_DIRENTPLUS);
		if (!(p.dirent.namelen <= 2 &&
		      is_dots((const char *)at + FUSE_NAME_OFFSET_DIRENTPLUS))) {
			memcpy(&x, entries, sizeof(x));
			entries += sizeof(x);
			if (!x.error)
				fs_entry(l->r->s, &x, &p.entry_out);
			memcpy(at, &p.entry_out, sizeof(p.entry_out));
		}
		at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + p.dirent.namelen);
	}
	return 0;
}

static int look_up(struct list *l)
{
	struct share_reply rp;
	const void *entries;
	int rc;

	if (!l->n)
		return 0;
	rc = fs_ask(l->r, NULL);
	if (rc < 0)
		return rc;
	entries = fs_reply(l->r, &rp);
	if (rp.len != l->n * sizeof(struct share_entry))
		return -EIO;
	return fill_in(l, l->r->w->in, l->r->w->in + l->at, entries);
}

static int list(struct list *l, ssize_t bytes)
{
	const uint8_t *at = l->r->w->dents, *end = at + bytes;
	int rc = 0;

	if (l->plus)
		fs_rq(l->r, SHARE_LOOKUP, l->r->h.nodeid);
	while (at < end) {
		const struct dent *d = (const void *)at;

		if (!add(l, d))
			break;
		at += d->len;
	}
	/* Not even one fits: the guest's buffer is too short for any. */
	if (!l->at && bytes)
		return -EINVAL;
	if (l->plus)
		rc = look_up(l);
	if (rc >= 0)
		fuse_add(l->r, l->r->w->in, l->at);
	return rc;
}

/**
 * fs_readdir() - READDIR, READDIRPLUS
 *
 * #syscalls lseek getdents64
 */
int fs_readdir(struct fuse_req *r)
{
	struct fuse_read_in in;
	struct list l = { .r = r, .plus = r->h.opcode == FUSE_READDIRPLUS };
	struct fs_file *f;
	uint32_t want;
	ssize_t n;

	/* Its place becomes that of the answer. */
	memcpy(&in, r->arg, sizeof(in));
	l.room = in.size < r->room ? in.size : r->room;
	if (l.room > sizeof(r->w->in))
		l.room = sizeof(r->w->in);
	want = l.plus ? l.room / PLUS_RATIO : l.room;
	if (want < DENT_HEAD + SHARE_NAME_MAX + 1)
		want = 512;
	if (want > sizeof(r->w->dents))
		want = sizeof(r->w->dents);
	f = file_get(r->s, r->h.nodeid, in.fh, true);
	if (!f)
		return -EBADF;
	l.f = f;
	n = read_entries(r, f, in.offset, want);
	if (n > 0)
		n = list(&l, n);
	file_put(r->s, f);
	return (int)n;
}
