// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Guest RAM that is a file: the memory of a template (vmm/template.c).
 *
 * The machine that becomes a template has its RAM mapped shared from an empty file, so
 * that saving it is no copy; what its guest gives back is punched out of the file.
 * A machine that begins as a copy has those parts of the file mapped private that
 * hold something, and anonymous memory in between: a page that it only reads is the
 * one page of all copies, one that it writes becomes its own, and what the
 * template never touched costs what it costs anywhere else. A read of a hole would make
 * the file grow, so gaps below GAP_BYTES, which are not worth a mapping of their own,
 * are all that a guest can fill: a page of zeros each, once for all copies.
 *
 * Source: lseek(2), SEEK_DATA; madvise(2), MADV_REMOVE.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/gmem.h"

#define PAGE_BYTES 4096u
#define GAP_BYTES (256u << 10)

/**
 * gmem_file_check() - whether a file can be RAM, and make an empty one as large
 * @p: its source is a file
 *
 * Return: 0; -EINVAL for what is no regular file, not empty or of another size; minus errno
 *
 * #syscalls start: fstat ftruncate
 */
int gmem_file_check(const struct gmem_policy *p, struct err *e)
{
	uint64_t want = p->source == GMEM_SHARED ? 0 : p->ram_bytes;
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return err_sys(e, "memory file");
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "memory file: not a regular file");
	if ((uint64_t)st.st_size != want)
		return err_set(e, EINVAL, "memory file: %llu bytes, not %llu",
			       (unsigned long long)st.st_size, (unsigned long long)want);
	if (p->source == GMEM_SHARED && ftruncate(p->fd, (off_t)p->ram_bytes) < 0)
		return err_sys(e, "memory file of %llu MiB", (unsigned long long)p->ram_bytes >> 20);
	return 0;
}

static int map(uint8_t *hva, uint64_t offset, uint64_t len, int flags, int fd, struct err *e)
{
	void *p = mmap(hva, len, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, fd,
		       (off_t)offset);

	return p == MAP_FAILED ? err_sys(e, "memory file: mmap of %llu KiB",
					 (unsigned long long)len >> 10) : 0;
}

/* The next extent of data in [@at, @end), in whole pages; *@ret_to is @at at the end. */
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

/* Maps what the template's file holds of [@offset, @offset + @len). */
static int map_copy(uint8_t *hva, uint64_t offset, uint64_t len, int fd, struct err *e)
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
			rc = map(hva + (from - offset), from, to - from, MAP_PRIVATE, fd, e);
		from = next_from;
		to = next_to;
	}
	return rc;
}

/**
 * gmem_file_map() - map a piece of RAM from its file
 * @hva:    anonymous memory, which stays where the file holds nothing
 * @offset: into the file, bytes
 * @p:      checked
 *
 * Return: 0 or minus errno
 *
 * #syscalls start: mmap lseek
 */
int gmem_file_map(uint8_t *hva, uint64_t offset, uint64_t len, const struct gmem_policy *p,
		  struct err *e)
{
	if (p->source == GMEM_SHARED)
		return map(hva, offset, len, MAP_SHARED, p->fd, e);
	return map_copy(hva, offset, len, p->fd, e);
}
