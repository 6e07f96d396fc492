// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The memory of a template (vmm/template.c): guest RAM as a sparse file.
 *
 * It is written when the machine is saved: the pages that hold something other than zeros.
 * A machine boots on anonymous memory, which may have huge pages, and so as fast as any
 * other. Which pages were never touched is mincore(2)'s to say, but for a host that swaps:
 * there it takes those that were swapped out for untouched, and all of RAM is read.
 *
 * A machine that begins as a copy has those parts of the file mapped private that
 * hold something, and anonymous memory in between: a page that it only reads is the
 * one page of all copies, one that it writes becomes its own, and what the
 * template has not used costs what it costs anywhere else. Gaps below GAP_BYTES, which are not
 * worth a mapping of their own, are filled with zeros when the file is written. So nothing that is
 * mapped is a hole: to touch one would make the file grow, by a page of the host's memory that
 * no copy pays for, or end the machine where the file system is full.
 *
 * Source: lseek(2), SEEK_DATA; mincore(2).
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "vmm/gmem.h"

#define PAGE_BYTES 4096u
#define GAP_BYTES (256u << 10)

/* What is looked at and written at a time. */
#define CHUNK_BYTES (2u << 20)
#define CHUNK_PAGES (CHUNK_BYTES / PAGE_BYTES)

/**
 * gmem_file_check() - whether a file can be a template's memory
 * @bytes: that it must have
 *
 * Return: 0; -EINVAL for what is no regular file, or of another size; minus errno
 *
 * #syscalls start: fstat
 */
int gmem_file_check(int fd, uint64_t bytes, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "memory file");
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "memory file: not a regular file");
	if ((uint64_t)st.st_size != bytes)
		return err_set(e, EINVAL, "memory file: %llu bytes, not %llu",
			       (unsigned long long)st.st_size, (unsigned long long)bytes);
	return 0;
}

/**
 * gmem_file_make() - make an empty file as large as RAM, for gmem_file_write()
 * @bytes: of RAM
 *
 * Return: 0; -EINVAL for what is no regular file, or not empty; minus errno
 *
 * #syscalls start: fstat ftruncate
 */
int gmem_file_make(int fd, uint64_t bytes, struct err *e)
{
	int rc = gmem_file_check(fd, 0, e);

	if (!rc && ftruncate(fd, (off_t)bytes) < 0)
		rc = err_sys(e, "memory file of %llu MiB", (unsigned long long)bytes >> 20);
	return rc;
}

/* ---- to a copy ------------------------------------------------------------------- */
static int map(uint8_t *hva, uint64_t offset, uint64_t len, int fd, struct err *e)
{
	void *p = mmap(hva, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
		       fd, (off_t)offset);

	return p == MAP_FAILED ? err_sys(e, "memory file: mmap of %llu KiB",
					 (unsigned long long)len >> 10) : 0;
}

/* The next extent of data in [@at, @end), in whole pages; both are @at where there is none. */
static int next_data(int fd, uint64_t at, uint64_t end, uint64_t *ret_from, uint64_t *ret_to,
		     struct err *e)
{
	off_t from = lseek(fd, (off_t)at, SEEK_DATA), to;

	*ret_from = *ret_to = at;
	if (from < 0)
		return errno == ENXIO ? 0 : err_sys(e, "memory file: SEEK_DATA");
	if ((uint64_t)from >= end)
		return 0;
	to = lseek(fd, from, SEEK_HOLE);
	if (to < 0)
		return err_sys(e, "memory file: SEEK_HOLE");
	*ret_from = (uint64_t)from & ~(uint64_t)(PAGE_BYTES - 1);
	*ret_to = ((uint64_t)to + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	if (*ret_to > end)
		*ret_to = end;
	return 0;
}

/**
 * gmem_file_map() - map what a template's memory holds of a piece of RAM
 * @hva:    anonymous memory, which stays where the file holds nothing
 * @offset: into the file, bytes
 * @fd:     checked
 *
 * Return: 0 or minus errno
 *
 * #syscalls start: mmap lseek
 */
int gmem_file_map(uint8_t *hva, uint64_t offset, uint64_t len, int fd, struct err *e)
{
	uint64_t end = offset + len, from, to, next_from, next_to;
	int rc = next_data(fd, offset, end, &from, &to, e);

	while (!rc && to > from) {
		rc = next_data(fd, to, end, &next_from, &next_to, e);
		if (!rc && next_to > next_from && next_from - to < GAP_BYTES) {
			to = next_to;
			continue;
		}
		if (!rc)
			rc = map(hva + (from - offset), from, to - from, fd, e);
		from = next_from;
		to = next_to;
	}
	return rc;
}

/* ---- from a machine -------------------------------------------------------------- */
static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE_BYTES - 1);
}

/**
 * struct writing - how far a file has been written
 * @end: of the data before, bytes; 0: there is none
 */
struct writing {
	int fd;
	bool swap;
	uint64_t end;
};

static int fill(struct writing *w, uint64_t to, struct err *e)
{
	static const uint8_t zeros[PAGE_BYTES];
	int rc = 0;

	for (; w->end < to && !rc; w->end += PAGE_BYTES)
		rc = pwrite_full(w->fd, zeros, PAGE_BYTES, w->end, e);
	return rc;
}

static int put_run(struct writing *w, const uint8_t *from, size_t len, uint64_t offset,
		   struct err *e)
{
	int rc = w->end && offset - w->end < GAP_BYTES ? fill(w, offset, e) : 0;

	if (!rc)
		rc = pwrite_full(w->fd, from, len, offset, e);
	w->end = offset + len;
	return rc;
}

/* Writes the runs of pages of a chunk that hold something. */
static int write_chunk(struct writing *w, const uint8_t *hva, uint64_t offset, struct err *e)
{
	unsigned char there[CHUNK_PAGES];
	size_t i, run = 0;
	int rc = 0;

	if (w->swap)
		memset(there, 1, sizeof(there));
	else if (mincore((void *)(uintptr_t)hva, CHUNK_BYTES, there) < 0)
		return err_sys(e, "mincore");
	for (i = 0; i <= CHUNK_PAGES && !rc; i++) {
		if (i < CHUNK_PAGES && (there[i] & 1) && !is_zero(hva + i * PAGE_BYTES)) {
			run++;
			continue;
		}
		if (run)
			rc = put_run(w, hva + (i - run) * PAGE_BYTES, run * PAGE_BYTES,
				     offset + (i - run) * PAGE_BYTES, e);
		run = 0;
	}
	return rc;
}

/**
 * gmem_file_write() - write RAM to a template's file
 * @fd:   of gmem_file_make(), borrowed
 * @swap: the host has swap space
 *
 * Return: 0 or minus errno
 * Context: no vCPU runs
 *
 * #syscalls pwrite64
 * #syscalls as of a machine that is saved: mincore
 */
int gmem_file_write(const struct gmem *m, int fd, bool swap, struct err *e)
{
	struct writing w = { .fd = fd, .swap = swap };
	uint64_t offset = 0, at;
	size_t i;
	int rc = 0;

	for (i = 0; i < m->n; i++) {
		const struct gmem_region *r = &m->r[i];

		for (at = 0; at < r->len && !rc; at += CHUNK_BYTES)
			rc = write_chunk(&w, r->hva + at, offset + at, e);
		offset += r->len;
	}
	return rc < 0 ? err_wrap(e, "memory file") : 0;
}
