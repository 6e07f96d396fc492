// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a mount of the guest keeps open here. A file's number (FUSE: file handle) is
 * its slot and, above, a number that counts up, so that one that was closed, or was
 * never given out, is found out: -EBADF. A request holds the file that it uses; one
 * that is closed meanwhile goes when the last of them has ended.
 *
 * Limits: FS_SHARE_FILES_MAX for a share, FS_FILES_MAX for all; then -EMFILE, -ENFILE.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/virtio/fs.h"

#define ROOM_MIN 64u

/**
 * session_init() - nothing is open
 */
void session_init(struct fs_session *n)
{
	pthread_mutex_init(&n->lock, NULL);
}

/**
 * session_done() - free what session_end() leaves
 */
void session_done(struct fs_session *n)
{
	free(n->file);
	pthread_mutex_destroy(&n->lock);
}

/* Locks of a description end with it, but the broker may have it a moment longer. */
static void free_file(struct fs *s, struct fs_file *f)
{
	if (f->locked)
		flock(f->fd, LOCK_UN);
	fd_close(&f->fd);
	pthread_mutex_destroy(&f->pos);
	free(f);
	atomic_fetch_sub(&s->pool->n_files, 1);
}

/* A slot for a file; the session's lock is held. */
static int take_slot(struct fs_session *n, uint32_t *ret)
{
	struct fs_file **file;
	uint32_t room, i;

	if (n->n_files >= FS_SHARE_FILES_MAX)
		return -EMFILE;
	for (i = n->hint; i < n->room; i++) {
		if (i && !n->file[i]) {
			*ret = i;
			return 0;
		}
	}
	room = n->room ? n->room * 2 : ROOM_MIN;
	file = realloc(n->file, room * sizeof(struct fs_file *));
	if (!file)
		return -ENOMEM;
	memset(file + n->room, 0, (room - n->room) * sizeof(struct fs_file *));
	*ret = n->room ? n->room : 1;
	n->file = file;
	n->room = room;
	return 0;
}

static int add(struct fs_session *n, struct fs_file *f)
{
	uint32_t slot = 0;
	int rc;

	pthread_mutex_lock(&n->lock);
	rc = take_slot(n, &slot);
	if (rc >= 0) {
		f->fh = (uint64_t)n->number++ << 32 | slot;
		n->file[slot] = f;
		n->n_files++;
		n->hint = slot + 1;
	}
	pthread_mutex_unlock(&n->lock);
	return rc;
}

/**
 * file_add() - a file that is open from now on
 * @fd:     taken over, also on failure
 * @dev_index: of its device, share_ino()
 * @ret_fh: its number
 *
 * Return: 0; -EMFILE, -ENFILE; -ENOMEM
 * Context: a worker
 */
int file_add(struct fs *s, uint64_t node, int fd, bool dir, uint32_t dev_index, uint64_t *ret_fh)
{
	struct fs_file *f = mem_new(struct fs_file);
	int rc = 0;

	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	*f = (struct fs_file){
		.node = node, .fd = fd, .refs = 1, .dir = dir, .dev_index = dev_index
	};
	pthread_mutex_init(&f->pos, NULL);
	if (atomic_fetch_add(&s->pool->n_files, 1) >= FS_FILES_MAX)
		rc = -ENFILE;
	if (rc >= 0)
		rc = add(&s->session, f);
	if (rc < 0)
		free_file(s, f);
	else
		*ret_fh = f->fh;
	return rc;
}

/* The file of a number; the session's lock is held. */
static struct fs_file *find(const struct fs_session *n, uint64_t node, uint64_t fh, bool dir)
{
	uint32_t slot = (uint32_t)fh;
	struct fs_file *f = slot && slot < n->room ? n->file[slot] : NULL;

	return f && f->fh == fh && f->node == node && f->dir == dir ? f : NULL;
}

/**
 * file_get() - use an open file until file_put()
 * @node: that it was opened by
 *
 * Return: NULL if there is none of that number, node and kind
 * Context: a worker
 */
struct fs_file *file_get(struct fs *s, uint64_t node, uint64_t fh, bool dir)
{
	struct fs_file *f;

	pthread_mutex_lock(&s->session.lock);
	f = find(&s->session, node, fh, dir);
	if (f)
		f->refs++;
	pthread_mutex_unlock(&s->session.lock);
	return f;
}

/**
 * file_put() - the end of file_get()
 */
void file_put(struct fs *s, struct fs_file *f)
{
	bool last;

	pthread_mutex_lock(&s->session.lock);
	last = !--f->refs;
	pthread_mutex_unlock(&s->session.lock);
	if (last)
		free_file(s, f);
}

static void forget(struct fs_session *n, uint32_t slot)
{
	n->file[slot] = NULL;
	n->n_files--;
	if (slot < n->hint)
		n->hint = slot;
}

/**
 * file_close() - close a file
 *
 * Return: 0; -EBADF
 */
int file_close(struct fs *s, uint64_t node, uint64_t fh, bool dir)
{
	struct fs_session *n = &s->session;
	struct fs_file *f;

	pthread_mutex_lock(&n->lock);
	f = find(n, node, fh, dir);
	if (f)
		forget(n, (uint32_t)fh);
	pthread_mutex_unlock(&n->lock);
	if (!f)
		return -EBADF;
	file_put(s, f);
	return 0;
}

/**
 * session_end() - close everything; the broker is not told
 *
 * Context: a worker; others may be in requests, and keep what they use
 */
void session_end(struct fs *s, struct fs_worker *w)
{
	struct fs_session *n = &s->session;
	uint32_t i;

	n->inited = false;
	locks_end(s, w);
	for (i = 1;; i++) {
		struct fs_file *f;

		pthread_mutex_lock(&n->lock);
		f = i < n->room ? n->file[i] : NULL;
		if (f)
			forget(n, i);
		pthread_mutex_unlock(&n->lock);
		if (f)
			file_put(s, f);
		else if (i >= n->room)
			break;
	}
}
