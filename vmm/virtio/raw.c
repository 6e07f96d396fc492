// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Looks at the descriptor of a raw disk, a file or a block device: how large it
 * is, and in what pieces it is read and written best. The content is not looked at,
 * so no format is ever guessed from what a guest may have written.
 *
 * A descriptor with O_DIRECT goes around the page cache, and wants places, lengths
 * and buffers aligned. How, is asked of the kernel (STATX_DIOALIGN, since Linux
 * 6.1); an older kernel is told by the device's logical block or the file
 * system's block, which are enough for every file system that we know.
 */
#include "vmm/virtio/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static int check_access(int fd, bool readonly, bool *ret_direct, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return err_sys(e, "fcntl");
	if (!readonly && (flags & O_ACCMODE) != O_RDWR)
		return err_set(e, EINVAL,
			       "the descriptor cannot be written and read: "
			       "open it read-write or plug the disk read-only");
	if ((flags & O_ACCMODE) == O_WRONLY || flags & O_PATH)
		return err_set(e, EINVAL, "the descriptor cannot be read");
	if (flags & O_APPEND)
		return err_set(e, EINVAL, "the descriptor appends: open it without O_APPEND");
	*ret_direct = flags & O_DIRECT;
	return 0;
}

static int probe_device(int fd, struct raw *r, struct err *e)
{
	unsigned int physical = 0, min_io = 0, opt_io = 0;
	int block;

	if (ioctl(fd, BLKGETSIZE64, &r->bytes) < 0)
		return err_sys(e, "BLKGETSIZE64");
	if (ioctl(fd, BLKSSZGET, &block) < 0)
		return err_sys(e, "BLKSSZGET");
	r->block = (uint32_t)block;
	/* Hints: what cannot be had stays 0. */
	if (!ioctl(fd, BLKPBSZGET, &physical))
		r->physical = physical;
	if (!ioctl(fd, BLKIOMIN, &min_io))
		r->min_io = min_io;
	if (!ioctl(fd, BLKIOOPT, &opt_io))
		r->opt_io = opt_io;
	r->mem_align = r->block;
	return 0;
}

static void probe_file(const struct statx *st, struct raw *r)
{
	r->bytes = st->stx_size;
	r->block = SECTOR_BYTES;
	if (power_of_two(st->stx_blksize) && st->stx_blksize <= RAW_BLOCK_MAX)
		r->physical = st->stx_blksize;
	r->discard = r->min_io = r->physical;
	r->mem_align = r->physical;
	if (r->direct)
		r->block = larger(r->physical, SECTOR_BYTES);
}

/* What the kernel says itself about O_DIRECT. */
static int probe_direct(const struct statx *st, struct raw *r, struct err *e)
{
	if (!(st->stx_mask & STATX_DIOALIGN))
		return 0;
	if (!st->stx_dio_offset_align || !st->stx_dio_mem_align)
		return err_set(e, EINVAL, "its file system has no direct I/O for it: "
			       "open it without O_DIRECT");
	r->block = larger(st->stx_dio_offset_align, SECTOR_BYTES);
	r->mem_align = st->stx_dio_mem_align;
	return 0;
}

static int check(struct raw *r, struct err *e)
{
	if (!power_of_two(r->block) || r->block < SECTOR_BYTES || r->block > RAW_BLOCK_MAX)
		return err_set(e, EINVAL, "blocks of %u bytes: up to %u are supported%s", r->block,
			       RAW_BLOCK_MAX, r->direct ? "; open it without O_DIRECT" : "");
	if (!r->bytes || r->bytes % r->block || r->bytes > INT64_MAX)
		return err_set(e, EINVAL, "size of %llu bytes is not a multiple of %u",
			       (unsigned long long)r->bytes, r->block);
	if (!r->direct)
		r->mem_align = 1;
	else if (!power_of_two(r->mem_align) || r->mem_align > RAW_BLOCK_MAX)
		return err_set(e, EINVAL, "direct I/O wants buffers aligned to %u bytes: "
			       "open it without O_DIRECT", r->mem_align);
	if (!power_of_two(r->physical) || r->physical < r->block)
		r->physical = r->block;
	r->discard = larger(r->discard, r->block);
	return 0;
}

static int look(int fd, struct raw *r, struct err *e)
{
	struct statx st = { 0 };
	int rc;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE | STATX_DIOALIGN, &st) < 0)
		return err_sys(e, "statx");
	if (S_ISBLK(st.stx_mode)) {
		rc = probe_device(fd, r, e);
		if (rc < 0)
			return rc;
	} else if (S_ISREG(st.stx_mode)) {
		probe_file(&st, r);
	} else {
		return err_set(e, EINVAL, "neither a file nor a block device");
	}
	if (r->direct && (rc = probe_direct(&st, r, e)) < 0)
		return rc;
	return check(r, e);
}

/**
 * raw_probe() - what is behind a descriptor
 * @fd:       borrowed
 * @readonly: it need not be writable
 *
 * Return: 0; -EINVAL with what is wrong with it; else minus errno
 *
 * #syscalls fcntl statx ioctl
 */
int raw_probe(int fd, bool readonly, struct raw *ret, struct err *e)
{
	struct raw r = { 0 };
	int rc;

	if ((rc = check_access(fd, readonly, &r.direct, e)) < 0 || (rc = look(fd, &r, e)) < 0)
		return rc;
	*ret = r;
	return 0;
}

/**
 * raw_grow() - take up a new size
 * @r: only its size changes; untouched on failure
 *
 * Return: 0; -EINVAL if the disk has become smaller, or its size is no multiple of its
 * block; else minus errno
 *
 * #syscalls statx ioctl
 */
int raw_grow(int fd, struct raw *r, struct err *e)
{
	struct raw now = { .direct = r->direct };
	int rc = look(fd, &now, e);

	if (rc < 0)
		return rc;
	if (now.bytes % r->block)
		return err_set(e, EINVAL, "size of %llu bytes is not a multiple of %u",
			       (unsigned long long)now.bytes, r->block);
	if (now.bytes < r->bytes)
		return err_set(e, EINVAL, "it has shrunk from %llu to %llu bytes, which its guest "
			       "could not survive: make it as large as before",
			       (unsigned long long)r->bytes, (unsigned long long)now.bytes);
	r->bytes = now.bytes;
	return 0;
}
