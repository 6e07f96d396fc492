// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Writes the synthetic disk of a map as bytes. It reads the disk as a monitor does,
 * from the sealed table and with files opened by number, and so gives what a guest
 * would see. Holes of the layers' files stay holes. A file that changed while it was
 * read is a failure: an image that is neither old nor new must not come about.
 */
#include "storage/export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/disktab.h"
#include "lib/fd.h"
#include "storage/cmd.h"
#include "storage/stop.h"

#define COPY_BYTES (1u << 20)

/* Writes @len bytes at @to; a stream gets zeros up to there. */
static int put(struct export *x, const void *data, size_t len, uint64_t to, struct err *e)
{
	static const char zeros[65536];

	if (x->stream) {
		while (x->at < to) {
			size_t n =
				to - x->at < sizeof(zeros) ? (size_t)(to - x->at) : sizeof(zeros);
			int rc = write_full(x->out_fd, zeros, n, e);

			if (rc < 0)
				return rc;
			x->at += n;
		}
		x->at += len;
		return write_full(x->out_fd, data, len, e);
	}
	return pwrite_full(x->out_fd, data, len, to, e);
}

/* Copies [@from, @end) of a file, which ends there or later: data alone. */
static int copy_data(struct export *x, int in, uint64_t from, uint64_t end, uint64_t to,
		     struct err *e)
{
	static char buf[COPY_BYTES];

	while (from < end) {
		size_t want = end - from < sizeof(buf) ? (size_t)(end - from) : sizeof(buf);
		ssize_t n;
		int rc = stop_check(e);

		if (rc < 0)
			return rc;
		n = pread(in, buf, want, (off_t)from);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (!n)
			return 0;
		rc = put(x, buf, (size_t)n, to, e);
		if (rc < 0)
			return rc;
		if (x->progress)
			progress_add(x->progress, (uint64_t)n);
		from += (uint64_t)n;
		to += (uint64_t)n;
	}
	return 0;
}

/* The next piece of data in [@at, @end): false when only a hole is left. */
static bool next_data(int in, uint64_t *at, uint64_t end, uint64_t *ret_end)
{
	off_t data = lseek(in, (off_t)*at, SEEK_DATA), hole;

	*ret_end = end;
	if (data < 0)
		return errno != ENXIO; /* the file system knows no holes */
	if ((uint64_t)data >= end)
		return false;
	hole = lseek(in, data, SEEK_HOLE);
	if (hole > data && (uint64_t)hole < end)
		*ret_end = (uint64_t)hole;
	*at = (uint64_t)data;
	return true;
}

static int copy_run(struct export *x, int in, const struct disktab_extent *t, struct err *e)
{
	uint64_t end = t->offset + t->n_blocks * DISKTAB_BLOCK_BYTES;
	uint64_t to = t->first_block * DISKTAB_BLOCK_BYTES, at = t->offset, stop;
	int rc;

	while (at < end && next_data(in, &at, end, &stop)) {
		rc = copy_data(x, in, at, stop, to + (at - t->offset), e);
		if (rc < 0)
			return rc;
		at = stop;
	}
	return 0;
}

static int copy_file(struct export *x, const struct disktab_extent *t, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat before, after;
	int rc = storage_map_open(x->map, t->file, &fd, e);

	if (rc < 0)
		return rc;
	if (fstat(fd, &before) < 0)
		return err_sys(e, "file %u", t->file);
	rc = copy_run(x, fd, t, e);
	if (rc < 0)
		return err_wrap(e, "file %u", t->file);
	if (fstat(fd, &after) < 0)
		return err_sys(e, "file %u", t->file);
	if (before.st_size != after.st_size || before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
	    before.st_mtim.tv_nsec != after.st_mtim.tv_nsec)
		return err_set(e, ESTALE,
			       "a file of the layers changed while it was read: stop what writes "
			       "there, and try again");
	return 0;
}

static int copy_all(struct export *x, const struct disktab_head *h, int table_fd, struct err *e)
{
	const struct disktab_extent *t = (const void *)((const char *)h + h->extents_offset);
	uint64_t i;
	int rc;

	for (i = 0; i < h->n_extents; i++) {
		rc = stop_check(e);
		if (rc < 0)
			return rc;
		rc = t[i].file == DISKTAB_FILE_SELF ? copy_run(x, table_fd, &t[i], e)
						    : copy_file(x, &t[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/**
 * export_disk() - write the synthetic disk of a map
 * @x: what and where to
 *
 * Return: 0; -ESTALE when the layers change meanwhile; -EINTR (storage/stop.h);
 * minus errno
 */
int export_disk(struct export *x, struct err *e)
{
	const struct storage_disk *d;
	struct stat st;
	void *table;
	int rc = 0;

	storage_map_disks(x->map, &d);
	if (d->kind != STORAGE_DISK_SYNTHETIC)
		return err_set(e, EOPNOTSUPP, "it is a block device: that is an image already");
	if (fstat(d->fd, &st) < 0)
		return err_sys(e, "disk table");
	if (!x->stream && ftruncate(x->out_fd, (off_t)d->size_bytes) < 0)
		return err_sys(e, "image of %llu bytes", (unsigned long long)d->size_bytes);
	table = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, d->fd, 0);
	if (table == MAP_FAILED)
		return err_sys(e, "disk table: mmap");
	x->at = 0;
	rc = copy_all(x, table, d->fd, e);
	if (!rc && x->stream)
		rc = put(x, "", 0, d->size_bytes, e);
	munmap(table, (size_t)st.st_size);
	return rc;
}

/**
 * export_image() - the same into a file, without more ado
 * @out_fd: regular file, empty, borrowed
 *
 * Return: 0 or minus errno
 */
int export_image(const struct storage_map *m, int out_fd, struct err *e)
{
	struct export x = {.map = m, .out_fd = out_fd};

	return export_disk(&x, e);
}
