// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: the content of a synthetic disk (lib/disktab.h): blocks that lie in a
 * sealed table or in files that somebody else opens for us.
 *
 * The table is checked once, whole, before the disk exists: its seals make
 * sure that it stays what was checked, so that look-ups need no further
 * checks. It is mapped read-only. An extent is found by binary search; a read
 * goes on from piece to piece, and what no extent covers is zeros.
 *
 * Files come from the broker (lib/broker.h), one request and one answer, on
 * the I/O thread; all disks may share that socket, since they take turns. The
 * descriptors are kept; the least recently used one that nobody reads from is
 * closed for a new one.
 * A broker that says no, or answers something else than it was asked, fails
 * that one read. A broker that does not answer in time has the socket shut
 * down: a late answer must not be taken for that of another request.
 *
 *  * Owners: struct synth owns the mapping and the cached descriptors; broker_fd
 * is borrowed and outlives it.
 */
#include "vmm/virtio/synth.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/broker.h"
#include "lib/disktab.h"
#include "lib/fd.h"
#include "lib/mem.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Buckets of the file cache, a power of two. */
#define BUCKETS 64

struct synth_file {
	uint32_t file;
	int fd;			/* owned */
	uint64_t bytes;		/* as the broker gave it: it does not change */
	uint64_t used_at;	/* clock of struct synth */
	unsigned int users;	/* synth_get() without synth_put() */
	int16_t next;		/* in its bucket, -1 ends */
};

struct synth {
	const uint8_t *map;	/* owned */
	uint64_t map_len;
	const struct disktab_head *head;
	const struct disktab_extent *ext;
	int broker_fd;		/* borrowed */
	uint32_t disk;
	uint64_t clock;
	unsigned int n_files;
	struct synth_file files[SYNTH_FILES_MAX];
	int16_t bucket[BUCKETS];
};

static int check_extent(const struct synth *s, const struct disktab_extent *x,
			uint64_t from, struct err *e)
{
	uint64_t bytes;

	if (!x->n_blocks || x->first_block < from ||
	    x->first_block > s->head->n_blocks ||
	    x->n_blocks > s->head->n_blocks - x->first_block)
		return err_set(e, EINVAL, "is unsorted, overlaps, or leaves the disk");
	if (x->reserved)
		return err_set(e, EINVAL, "has an unknown flag");
	bytes = x->n_blocks * DISKTAB_BLOCK_BYTES;
	if (x->file != DISKTAB_FILE_SELF) {
		if (x->file >= s->head->n_files)
			return err_set(e, EINVAL, "names file %u of %u", x->file,
				       s->head->n_files);
		if (x->offset > INT64_MAX - bytes)
			return err_set(e, EINVAL, "offset too large");
		return 0;
	}
	if (x->offset % DISKTAB_BLOCK_BYTES || x->offset > s->map_len ||
	    bytes > s->map_len - x->offset)
		return err_set(e, EINVAL, "leaves the table");
	return 0;
}

static int check_table(struct synth *s, struct err *e)
{
	const struct disktab_head *h = s->head;
	uint64_t i, from = 0;

	if (h->magic != DISKTAB_MAGIC)
		return err_set(e, EINVAL, "not a disk table of this version");
	if (h->reserved)
		return err_set(e, EINVAL, "unknown flag in the table's header");
	if (!h->n_blocks || h->n_blocks > INT64_MAX / DISKTAB_BLOCK_BYTES)
		return err_set(e, EINVAL, "disk of %llu blocks",
			       (unsigned long long)h->n_blocks);
	if (h->extents_offset % 8 || h->extents_offset < sizeof(*h) ||
	    h->extents_offset > s->map_len ||
	    h->n_extents > (s->map_len - h->extents_offset) / sizeof(*s->ext))
		return err_set(e, EINVAL, "extents are not inside the table");
	s->ext = (const void *)(s->map + h->extents_offset);
	for (i = 0; i < h->n_extents; i++) {
		if (check_extent(s, &s->ext[i], from, e) < 0)
			return err_wrap(e, "extent %llu", (unsigned long long)i);
		from = s->ext[i].first_block + s->ext[i].n_blocks;
	}
	return 0;
}

static int map_table(struct synth *s, int fd, struct err *e)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *p;

	if (seals < 0)
		return err_set(e, EINVAL, "not a memfd, so it cannot be sealed");
	if ((seals & SEALS) != SEALS)
		return err_set(e, EINVAL, "not sealed against shrinking, growing and writing");
	if (fstat(fd, &st) < 0)
		return err_sys(e, "fstat");
	if ((uint64_t)st.st_size < sizeof(struct disktab_head))
		return err_set(e, EINVAL, "shorter than its header");
	/* Kernels before 6.7 refuse MAP_SHARED of a sealed, writable descriptor. */
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "mmap");
	s->map = p;
	s->map_len = (uint64_t)st.st_size;
	s->head = p;
	return check_table(s, e);
}

/**
 * synth_new() - take a disk table
 * @table_fd:  sealed memfd, borrowed; not needed afterwards
 * @broker_fd: lib/broker.h socket, borrowed, outlives the disk; -1 if the table
 *             names no files
 * @disk:      number for the broker
 * @ret:       owned by the caller, synth_free()
 *
 * Return: 0; -EINVAL with what is wrong in the table; else minus errno
 * Context: I/O thread, when the disk is plugged
 *
 * #syscalls fcntl fstat mmap munmap
 */
int synth_new(int table_fd, int broker_fd, uint32_t disk, struct synth **ret,
	      struct err *e)
{
	struct synth *s = mem_new(struct synth);
	int rc;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->broker_fd = broker_fd;
	s->disk = disk;
	memset(s->bucket, 0xff, sizeof(s->bucket));
	rc = map_table(s, table_fd, e);
	if (rc >= 0 && s->head->n_files && broker_fd < 0)
		rc = err_set(e, EINVAL, "the table names files, but there is no broker");
	if (rc < 0) {
		synth_free(s);
		return err_wrap(e, "disk table");
	}
	*ret = s;
	return 0;
}

/**
 * synth_free() - unmap the table and close the files; NULL is fine
 *
 * #syscalls munmap close
 */
void synth_free(struct synth *s)
{
	unsigned int i;

	if (!s)
		return;
	for (i = 0; i < s->n_files; i++)
		fd_close(&s->files[i].fd);
	if (s->map)
		munmap((void *)(uintptr_t)s->map, s->map_len);
	free(s);
}

/**
 * synth_bytes() - size of the disk
 *
 * #syscalls none
 */
uint64_t synth_bytes(const struct synth *s)
{
	return s->head->n_blocks * DISKTAB_BLOCK_BYTES;
}

static int wait_answer(struct synth *s, struct err *e)
{
	struct pollfd p = { .fd = s->broker_fd, .events = POLLIN };
	int n;

	do {
		n = poll(&p, 1, SYNTH_BROKER_TIMEOUT_MS);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "poll");
	if (n)
		return 0;
	shutdown(s->broker_fd, SHUT_RDWR);
	return err_set(e, ETIMEDOUT, "no answer in %d s", SYNTH_BROKER_TIMEOUT_MS / 1000);
}

static int ask_broker(struct synth *s, uint32_t file, int *ret_fd, uint64_t *ret_bytes,
		      struct err *e)
{
	struct broker_request rq = { .disk = s->disk, .file = file };
	struct broker_reply re;
	_cleanup_close_ int fd = -1;
	int got = -1;
	size_t n_fds = 0;
	struct stat st;
	ssize_t n;
	int rc;

	rc = fd_send(s->broker_fd, &rq, sizeof(rq), NULL, 0, e);
	if (rc >= 0)
		rc = wait_answer(s, e);
	if (rc < 0)
		return rc;
	n = fd_recv(s->broker_fd, &re, sizeof(re), &got, 1, &n_fds, e);
	if (n < 0)
		return (int)n;
	if (n_fds)
		fd = got;
	if (!n)
		return err_set(e, EPIPE, "the broker is gone");
	if (n != sizeof(re) || re.file != file)
		return err_set(e, EPROTO, "the broker answered another question");
	if (re.error)
		return err_set(e, re.error < 0 && re.error > -4096 ? -re.error : EPROTO,
			       "the broker refused");
	if (n_fds != 1 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, EPROTO, "the broker sent no regular file");
	*ret_fd = fd_steal(&fd);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int16_t *bucket_of(struct synth *s, uint32_t file)
{
	return &s->bucket[(file * 2654435761u >> 16) & (BUCKETS - 1)];
}

/* The slot of a file that was closed; -1 if all are being read from. */
static int evict(struct synth *s)
{
	int i, oldest = -1;
	int16_t *at;

	for (i = 0; i < (int)s->n_files; i++)
		if (!s->files[i].users &&
		    (oldest < 0 || s->files[i].used_at < s->files[oldest].used_at))
			oldest = i;
	if (oldest < 0)
		return -1;
	at = bucket_of(s, s->files[oldest].file);
	while (*at != (int16_t)oldest)
		at = &s->files[*at].next;
	*at = s->files[oldest].next;
	fd_close(&s->files[oldest].fd);
	return oldest;
}

static int get_file(struct synth *s, uint32_t file, int16_t *ret_slot, struct err *e)
{
	int16_t *bucket = bucket_of(s, file), i;
	uint64_t bytes = 0;
	int fd = -1, rc, slot;

	for (i = *bucket; i >= 0; i = s->files[i].next)
		if (s->files[i].file == file)
			break;
	if (i < 0) {
		rc = ask_broker(s, file, &fd, &bytes, e);
		if (rc < 0)
			return err_wrap(e, "disk %u: file %u", s->disk, file);
		slot = s->n_files < SYNTH_FILES_MAX ? (int)s->n_files++ : evict(s);
		if (slot < 0) {
			fd_close(&fd);
			return err_set(e, EMFILE, "disk %u: all its files are being read", s->disk);
		}
		s->files[slot] = (struct synth_file){ .file = file, .fd = fd,
						      .bytes = bytes, .next = *bucket };
		i = *bucket = (int16_t)slot;
	}
	s->files[i].used_at = ++s->clock;
	s->files[i].users++;
	*ret_slot = i;
	return 0;
}

/* The first extent that ends behind @block. */
static uint64_t find(const struct synth *s, uint64_t block)
{
	uint64_t low = 0, high = s->head->n_extents;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (s->ext[mid].first_block + s->ext[mid].n_blocks <= block)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* A stretch of a file, which may have ended before it. */
static int file_piece(struct synth *s, const struct disktab_extent *x, uint64_t in,
		      struct synth_piece *p, struct err *e)
{
	uint64_t offset = x->offset + in, bytes;
	int16_t slot = -1;
	int rc = get_file(s, x->file, &slot, e);

	if (rc < 0)
		return rc;
	bytes = s->files[slot].bytes;
	if (offset >= bytes) {
		s->files[slot].users--;
		return 0;
	}
	if (p->len > bytes - offset)
		p->len = bytes - offset;
	p->fd = s->files[slot].fd;
	p->slot = slot;
	p->offset = offset;
	return 0;
}

/**
 * synth_get() - where the disk's content lies
 * @offset: bytes
 * @len:    bytes; 0 is refused
 * @ret:    the first piece of it, at most @len long; give it back with synth_put()
 *
 * Return: 0; -EINVAL when that leaves the disk; -ESTALE or what else the
 * broker says
 * Context: I/O thread; waits for the broker
 *
 * #syscalls sendmsg poll recvmsg fstat shutdown close
 */
int synth_get(struct synth *s, uint64_t offset, uint64_t len, struct synth_piece *ret,
	      struct err *e)
{
	struct synth_piece p = { .fd = -1, .slot = -1 };
	const struct disktab_extent *x;
	uint64_t i, start = UINT64_MAX, in;
	int rc = 0;

	if (!len || offset > synth_bytes(s) || len > synth_bytes(s) - offset)
		return err_set(e, EINVAL, "read behind the end of the disk");
	i = find(s, offset / DISKTAB_BLOCK_BYTES);
	x = &s->ext[i];
	if (i < s->head->n_extents)
		start = x->first_block * DISKTAB_BLOCK_BYTES;
	if (offset < start) {
		p.len = start - offset < len ? start - offset : len;
		*ret = p;
		return 0;
	}
	in = offset - start;
	p.len = x->n_blocks * DISKTAB_BLOCK_BYTES - in;
	if (p.len > len)
		p.len = len;
	if (x->file == DISKTAB_FILE_SELF)
		p.src = s->map + x->offset + in;
	else
		rc = file_piece(s, x, in, &p, e);
	if (!rc)
		*ret = p;
	return rc;
}

/**
 * synth_put() - a piece is not needed any more
 *
 * #syscalls none
 */
void synth_put(struct synth *s, const struct synth_piece *p)
{
	if (p->slot >= 0)
		s->files[p->slot].users--;
}
