// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Locks of the guest's processes are locks on the host's files, so that they hold
 * against the host and other guests of a volume as well.
 *
 * A lock of flock(2) belongs to an open file, and so it does here. POSIX locks belong
 * to a process; we have one process for all, so each owner that the guest names gets a
 * descriptor of its own for the file, whose open file description owns its locks
 * (F_OFD_SETLK). An owner goes when it closes the file (FLUSH), or when the file that
 * its latest lock came by does (RELEASE, for locks of open file descriptions).
 *
 * Nobody waits for a lock in the kernel: a request that must wait is parked, and tried
 * again when this guest gives any lock of the share back, and now and then since
 * others may have. INTERRUPT ends the waiting with -EINTR.
 *
 * What is lost: who holds a lock (GETLK says 0), and EDEADLK.
 *
 * Limits: FS_OWNERS_MAX owners, FS_PARKED_MAX parked requests; then -ENOLCK.
 *
 * Sources: fcntl(2), flock(2), linux/fuse.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/virtio/fs.h"

static struct fs_owner *find_owner(const struct fs_session *n, uint64_t node, uint64_t owner)
{
	struct fs_owner *o;

	for (o = n->owners; o; o = o->next)
		if (o->node == node && o->owner == owner)
			break;
	return o;
}

static struct fs_owner *get_owner(struct fs *s, uint64_t node, uint64_t owner)
{
	struct fs_owner *o;

	pthread_mutex_lock(&s->session.lock);
	o = find_owner(&s->session, node, owner);
	if (o)
		o->refs++;
	pthread_mutex_unlock(&s->session.lock);
	return o;
}

/* Locks end with their description, but the broker may have it a moment longer. */
static void free_owner(struct fs *s, struct fs_owner *o)
{
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(o->fd, F_OFD_SETLK, &all);
	fd_close(&o->fd);
	free(o);
	atomic_fetch_sub(&s->pool->n_files, 1);
}

static void put_owner(struct fs *s, struct fs_owner *o)
{
	bool last;

	pthread_mutex_lock(&s->session.lock);
	last = !--o->refs;
	pthread_mutex_unlock(&s->session.lock);
	if (last)
		free_owner(s, o);
}

/* A description of its own: for reading and writing if that can be had. */
static int open_again(struct fuse_req *r, uint64_t node, const struct fs_file *f)
{
	int access = fcntl(f->fd, F_GETFL), fd = -1, rc;

	fs_rq(r, SHARE_OPEN, node)->flags = O_RDWR;
	rc = fs_ask(r, &fd);
	if (rc >= 0)
		return fd;
	if (access < 0)
		return -errno;
	fs_rq(r, SHARE_OPEN, node)->flags = (uint32_t)access & O_ACCMODE;
	rc = fs_ask(r, &fd);
	return rc < 0 ? rc : fd;
}

/* Adds an owner, unless another worker has done so meanwhile; held in both cases. */
static int add_owner(struct fs *s, struct fs_owner *o, struct fs_owner **ret)
{
	struct fs_session *n = &s->session;
	struct fs_owner *there;
	int rc = 0;

	pthread_mutex_lock(&n->lock);
	there = find_owner(n, o->node, o->owner);
	if (there) {
		there->refs++;
	} else if (n->n_owners >= FS_OWNERS_MAX) {
		rc = -ENOLCK;
	} else {
		o->refs = 2;
		o->next = n->owners;
		n->owners = o;
		n->n_owners++;
	}
	pthread_mutex_unlock(&n->lock);
	if (rc < 0 || there)
		free_owner(s, o);
	*ret = there ? there : o;
	return rc;
}

static int make_owner(struct fuse_req *r, uint64_t node, const struct fuse_lk_in *in,
		      const struct fs_file *f, struct fs_owner **ret)
{
	int fd = open_again(r, node, f);
	struct fs_owner *o;

	if (fd < 0)
		return fd;
	o = mem_new(struct fs_owner);
	if (!o) {
		close(fd);
		return -ENOMEM;
	}
	*o = (struct fs_owner){ .node = node, .owner = in->owner, .fd = fd };
	if (atomic_fetch_add(&r->s->pool->n_files, 1) >= FS_FILES_MAX) {
		free_owner(r->s, o);
		return -ENOLCK;
	}
	return add_owner(r->s, o, ret);
}

/* Takes owners that @all or their owner or file picks off the list. */
static void drop(struct fs *s, uint64_t node, const uint64_t *owner, const uint64_t *fh, bool all)
{
	struct fs_session *n = &s->session;
	struct fs_owner *gone = NULL, **at = &n->owners, *o;
	bool parked;

	pthread_mutex_lock(&n->lock);
	while ((o = *at)) {
		if (!all &&
		    (o->node != node || (owner && o->owner != *owner) || (fh && o->fh != *fh))) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		o->next = gone;
		gone = o;
		n->n_owners--;
	}
	parked = n->parked && gone;
	pthread_mutex_unlock(&n->lock);
	while ((o = gone)) {
		gone = o->next;
		put_owner(s, o);
	}
	if (parked)
		fs_pool_retry(s, true);
}

/**
 * locks_drop() - an owner has closed a file: its POSIX locks go
 */
void locks_drop(struct fs *s, uint64_t node, uint64_t owner)
{
	drop(s, node, &owner, NULL, false);
}

/**
 * locks_drop_file() - an open file is gone: so are locks that came by it
 */
void locks_drop_file(struct fs *s, uint64_t node, uint64_t fh)
{
	drop(s, node, NULL, &fh, false);
}

static int to_flock(const struct fuse_file_lock *lk, struct flock *ret)
{
	if (lk->start > INT64_MAX || lk->end > INT64_MAX || lk->end < lk->start)
		return -EINVAL;
	if (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK)
		return -EINVAL;
	*ret = (struct flock){ .l_type = (short)lk->type,
			       .l_whence = SEEK_SET,
			       .l_start = (off_t)lk->start };
	if (lk->end < INT64_MAX)
		ret->l_len = (off_t)(lk->end - lk->start + 1);
	return 0;
}

static int lock_file(struct fs_file *f, const struct fuse_lk_in *in)
{
	int how = in->lk.type == F_RDLCK ? LOCK_SH : in->lk.type == F_WRLCK ? LOCK_EX : LOCK_UN;

	f->locked = true;
	return flock(f->fd, how | LOCK_NB) < 0 ? -errno : 0;
}

static void came_by(struct fs *s, struct fs_owner *o, uint64_t fh)
{
	pthread_mutex_lock(&s->session.lock);
	o->fh = fh;
	pthread_mutex_unlock(&s->session.lock);
}

static int lock_range(struct fuse_req *r, uint64_t node, const struct fuse_lk_in *in,
		      const struct fs_file *f, struct flock *lk)
{
	struct fs_owner *o = get_owner(r->s, node, in->owner);
	int rc = 0;

	if (!o && lk->l_type == F_UNLCK)
		return 0;
	if (!o)
		rc = make_owner(r, node, in, f, &o);
	if (rc < 0)
		return rc;
	if (fcntl(o->fd, F_OFD_SETLK, lk) < 0)
		rc = errno == EACCES ? -EAGAIN : -errno;
	else
		came_by(r->s, o, in->fh);
	put_owner(r->s, o);
	return rc;
}

/* One attempt. Return: 0; -EAGAIN: somebody else has it; minus errno */
static int attempt(struct fuse_req *r, uint64_t node, const struct fuse_lk_in *in)
{
	struct fs_file *f = file_get(r->s, node, in->fh, false);
	struct flock lk;
	int rc;

	if (!f)
		return -EBADF;
	rc = to_flock(&in->lk, &lk);
	if (rc >= 0)
		rc = in->lk_flags & FUSE_LK_FLOCK ? lock_file(f, in)
						  : lock_range(r, node, in, f, &lk);
	file_put(r->s, f);
	return rc;
}

/* Keeps the request until it can have its lock. */
static int park(struct fuse_req *r, const struct fuse_lk_in *in)
{
	const struct virtq_chain *c = &r->w->chain;
	struct fs_session *n = &r->s->session;
	struct fs_parked *p = calloc(1, sizeof(*p) + c->n_in * sizeof(c->in[0]));
	struct fs_parked **at;
	int rc = FUSE_PARKED;

	if (!p)
		return -ENOMEM;
	*p = (struct fs_parked){
		.h = r->h, .lk = *in, .queue = r->queue, .head = c->head, .n_in = c->n_in
	};
	memcpy(p->in, c->in, c->n_in * sizeof(c->in[0]));
	pthread_mutex_lock(&n->lock);
	if (n->n_parked < FS_PARKED_MAX) {
		for (at = &n->parked; *at; at = &(*at)->next)
			;
		*at = p;
		n->n_parked++;
	} else {
		rc = -ENOLCK;
	}
	pthread_mutex_unlock(&n->lock);
	if (rc < 0)
		free(p);
	else
		fs_pool_retry(r->s, false);
	return rc;
}

static bool anyone_waits(struct fs *s)
{
	bool waits;

	pthread_mutex_lock(&s->session.lock);
	waits = s->session.parked;
	pthread_mutex_unlock(&s->session.lock);
	return waits;
}

/**
 * fs_setlk() - SETLK, SETLKW
 *
 * #syscalls fcntl flock
 */
int fs_setlk(struct fuse_req *r)
{
	struct fuse_lk_in in;
	int rc;

	memcpy(&in, r->arg, sizeof(in));
	rc = attempt(r, r->h.nodeid, &in);
	if (rc == -EAGAIN && r->h.opcode == FUSE_SETLKW)
		return park(r, &in);
	/* Also one that became weaker, or smaller, may be what somebody waits for. */
	if (!rc && in.lk.type != F_WRLCK && anyone_waits(r->s))
		fs_pool_retry(r->s, true);
	return rc;
}

/**
 * fs_getlk() - GETLK: a lock that is in the way, if there is one
 *
 * #syscalls fcntl
 */
int fs_getlk(struct fuse_req *r)
{
	const struct fuse_lk_in *in = r->arg;
	struct fs_file *f = file_get(r->s, r->h.nodeid, in->fh, false);
	struct fuse_lk_out out = { .lk = in->lk };
	struct fs_owner *o;
	struct flock lk;
	int rc;

	if (!f)
		return -EBADF;
	rc = to_flock(&in->lk, &lk);
	o = get_owner(r->s, r->h.nodeid, in->owner);
	if (rc >= 0 && fcntl(o ? o->fd : f->fd, F_OFD_GETLK, &lk) < 0)
		rc = -errno;
	if (o)
		put_owner(r->s, o);
	file_put(r->s, f);
	if (rc < 0)
		return rc;
	out.lk.type = (uint32_t)lk.l_type;
	out.lk.pid = 0;
	if (lk.l_type != F_UNLCK) {
		out.lk.start = (uint64_t)lk.l_start;
		out.lk.end = lk.l_len ? (uint64_t)(lk.l_start + lk.l_len - 1) : INT64_MAX;
	}
	fuse_add(r, &out, sizeof(out));
	return 0;
}

/* Answers a parked request, which is off the list; frees it. */
static void answer(struct fs *s, struct fs_worker *w, struct fs_parked *p, int rc)
{
	uint32_t written;

	w->other.n_in = p->n_in;
	memcpy(w->other.in, p->in, p->n_in * sizeof(p->in[0]));
	written = fuse_answer(&w->other, p->h.unique, rc, 0);
	fs_finish(s, p->queue, p->head, written, 0);
	free(p);
}

/* Takes the first parked request, or the one with that number, off the list. */
static struct fs_parked *unpark(struct fs_session *n, const uint64_t *unique)
{
	struct fs_parked **at, *p;

	pthread_mutex_lock(&n->lock);
	for (at = &n->parked; *at && unique && (*at)->h.unique != *unique;)
		at = &(*at)->next;
	p = *at;
	if (p) {
		*at = p->next;
		n->n_parked--;
	}
	pthread_mutex_unlock(&n->lock);
	return p;
}

/* Puts it back; the list may be longer than its limit by those that workers try. */
static void park_again(struct fs_session *n, struct fs_parked *p)
{
	struct fs_parked **at;

	p->next = NULL;
	pthread_mutex_lock(&n->lock);
	for (at = &n->parked; *at; at = &(*at)->next)
		;
	*at = p;
	n->n_parked++;
	pthread_mutex_unlock(&n->lock);
}

/**
 * locks_retry() - try again what waits for a lock
 * Context: a worker, between requests
 */
void locks_retry(struct fs *s, struct fs_worker *w, int sock)
{
	struct fs_session *n = &s->session;
	unsigned int left;

	pthread_mutex_lock(&n->lock);
	left = n->n_parked;
	pthread_mutex_unlock(&n->lock);
	while (left--) {
		struct fs_parked *p = unpark(n, NULL);
		struct fuse_req r = { .s = s, .w = w, .sock = sock };
		int rc;

		if (!p)
			break;
		r.h = p->h;
		rc = attempt(&r, p->h.nodeid, &p->lk);
		if (rc == -EAGAIN)
			park_again(n, p);
		else
			answer(s, w, p, rc);
	}
	if (anyone_waits(s))
		fs_pool_retry(s, false);
}

/**
 * fs_interrupt() - INTERRUPT: a request needs not wait any more
 */
int fs_interrupt(struct fuse_req *r)
{
	const struct fuse_interrupt_in *in = r->arg;
	struct fs_parked *p = unpark(&r->s->session, &in->unique);

	if (p)
		answer(r->s, r->w, p, -EINTR);
	return 0;
}

/**
 * locks_end() - the session ends: no locks, and nobody waits
 */
void locks_end(struct fs *s, struct fs_worker *w)
{
	struct fs_parked *p;

	while ((p = unpark(&s->session, NULL)))
		answer(s, w, p, -EIO);
	drop(s, 0, NULL, NULL, true);
}
