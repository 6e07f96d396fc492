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
 * then goes on from extent to extent, and what no extent covers is zeros.
 *
 * Files come from the broker (lib/broker.h), one request and one answer, on
 * the I/O thread; all disks may share that socket, since they take turns. The
 * descriptors are kept, the least recently used one is closed for a new one.
 * A broker that says no, or answers something else than it was asked, fails
 * that one read. A broker that does not answer in time has the socket shut
 * down: a late answer must not be taken for that of another request.
 *
 * A file that has become shorter than its extent reads as zeros behind its
 * end, as the tail of its last block does.
 *
 * Owners: struct synth owns the mapping and the cached descriptors; broker_fd
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
#include "vmm/virtio/queue.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Buckets of the file cache, a power of two. */
#define BUCKETS 64

struct synth_file {
	uint32_t file;
	int fd;			/* owned */
	uint64_t used_at;	/* clock of struct synth */
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
	struct iovec part[VIRTQ_SIZE_MAX];
};

/**
 * struct cursor - place in a list of buffers
 */
struct cursor {
	const struct iovec *v;
	size_t n;
	size_t at;	/* bytes of v[0] that are done */
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

static int ask_broker(struct synth *s, uint32_t file, int *ret_fd, struct err *e)
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
	return 0;
}

static int16_t *bucket_of(struct synth *s, uint32_t file)
{
	return &s->bucket[(file * 2654435761u >> 16) & (BUCKETS - 1)];
}

static unsigned int evict(struct synth *s)
{
	unsigned int i, oldest = 0;
	int16_t *at;

	for (i = 1; i < s->n_files; i++)
		if (s->files[i].used_at < s->files[oldest].used_at)
			oldest = i;
	at = bucket_of(s, s->files[oldest].file);
	while (*at != (int16_t)oldest)
		at = &s->files[*at].next;
	*at = s->files[oldest].next;
	fd_close(&s->files[oldest].fd);
	return oldest;
}

static int get_file(struct synth *s, uint32_t file, int *ret_fd, struct err *e)
{
	int16_t *bucket = bucket_of(s, file), i;
	unsigned int slot;
	int fd = -1, rc;

	for (i = *bucket; i >= 0; i = s->files[i].next)
		if (s->files[i].file == file)
			break;
	if (i < 0) {
		rc = ask_broker(s, file, &fd, e);
		if (rc < 0)
			return err_wrap(e, "disk %u: file %u", s->disk, file);
		slot = s->n_files < SYNTH_FILES_MAX ? s->n_files++ : evict(s);
		s->files[slot] = (struct synth_file){ .file = file, .fd = fd,
						      .next = *bucket };
		i = *bucket = (int16_t)slot;
	}
	s->files[i].used_at = ++s->clock;
	*ret_fd = s->files[i].fd;
	return 0;
}

/* Takes @len bytes of buffers off the cursor; it has as many. */
static size_t take(struct cursor *c, uint64_t len, struct iovec *ret)
{
	size_t n = 0;

	while (len) {
		size_t part = c->v->iov_len - c->at;

		if (part > len)
			part = len;
		if (part)
			ret[n++] = (struct iovec){ (uint8_t *)c->v->iov_base + c->at, part };
		len -= part;
		c->at += part;
		if (c->at == c->v->iov_len) {
			c->v++;
			c->n--;
			c->at = 0;
		}
	}
	return n;
}

static void fill(struct cursor *c, uint64_t len, const uint8_t *src)
{
	while (len) {
		struct iovec v;
		uint64_t part = c->v->iov_len - c->at;

		take(c, part < len ? part : len, &v);
		if (!part)
			continue;
		if (src) {
			memcpy(v.iov_base, src, v.iov_len);
			src += v.iov_len;
		} else {
			memset(v.iov_base, 0, v.iov_len);
		}
		len -= v.iov_len;
	}
}

static int from_file(struct synth *s, uint32_t file, uint64_t offset,
		     struct cursor *c, uint64_t len, struct err *e)
{
	int fd = -1, rc = get_file(s, file, &fd, e);

	if (rc < 0)
		return rc;
	while (len) {
		struct cursor here = *c;
		size_t n_part = take(&here, len, s->part);
		ssize_t n = preadv(fd, s->part, (int)n_part, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "disk %u: file %u: read", s->disk, file);
		if (!n)
			break;
		take(c, (uint64_t)n, s->part);
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	fill(c, len, NULL);
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

/**
 * synth_read() - read from the disk
 * @offset: bytes
 * @v:      destination, at most VIRTQ_SIZE_MAX buffers
 *
 * Return: 0; -EINVAL when that leaves the disk; -ESTALE or what else the
 * broker says; minus errno of a read that failed
 * Context: I/O thread; blocks for the broker and for the files' storage
 *
 * #syscalls sendmsg poll recvmsg fstat shutdown preadv close
 */
int synth_read(struct synth *s, uint64_t offset, const struct iovec *v, size_t n,
	       struct err *e)
{
	struct cursor c = { .v = v, .n = n };
	uint64_t len = 0, i;
	size_t k;

	for (k = 0; k < n; k++)
		len += v[k].iov_len;
	if (n > VIRTQ_SIZE_MAX || offset > synth_bytes(s) ||
	    len > synth_bytes(s) - offset)
		return err_set(e, EINVAL, "read behind the end of the disk");
	for (i = find(s, offset / DISKTAB_BLOCK_BYTES); len; i++) {
		const struct disktab_extent *x = &s->ext[i];
		bool hole = i >= s->head->n_extents;
		uint64_t start = hole ? UINT64_MAX : x->first_block * DISKTAB_BLOCK_BYTES;
		uint64_t part, in;
		int rc = 0;

		if (offset < start) {
			part = start - offset < len ? start - offset : len;
			fill(&c, part, NULL);
			offset += part;
			len -= part;
		}
		if (!len)
			break;
		in = offset - start;
		part = x->n_blocks * DISKTAB_BLOCK_BYTES - in;
		if (part > len)
			part = len;
		if (x->file == DISKTAB_FILE_SELF)
			fill(&c, part, s->map + x->offset + in);
		else
			rc = from_file(s, x->file, x->offset + in, &c, part, e);
		if (rc < 0)
			return rc;
		offset += part;
		len -= part;
	}
	return 0;
}
