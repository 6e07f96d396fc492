// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads a kernel and an initramfs into guest RAM. The kernel is one of two
 * formats, told by its first bytes: an ELF file (boot-elf.c) or a bzImage
 * (boot-bzimage.c); anything else is refused with what it seems to be. What the
 * kernel then finds in memory is written by boot-info.c.
 *
 * Files are read once, straight into guest RAM; each header is copied out and
 * checked before it is used. The initramfs goes as high as the kernel takes it.
 *
 * Limit: 2 GiB of kernel or initramfs.
 */
#include "vmm/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/mem.h"
#include "vmm/boot-impl.h"

#define FILE_MAX_BYTES (2ull << 30)
#define PAGE_BYTES 4096ull

/* Bytes that tell formats apart: up to the magic number of a bzImage. */
#define HEAD_BYTES 0x206
#define BZIMAGE_MAGIC_AT 0x202

/**
 * boot_read_at() - read a part of a file as a whole
 *
 * Return: 0; -EINVAL where the file ends before; minus errno
 *
 * #syscalls start: pread64
 */
int boot_read_at(int fd, void *buf, uint64_t len, uint64_t offset, struct err *e)
{
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (!n)
			return err_set(e, EINVAL, "the file ends early");
		done += (uint64_t)n;
	}
	return 0;
}

static int file_size(int fd, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "fstat");
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "not a regular file");
	if ((uint64_t)st.st_size > FILE_MAX_BYTES)
		return err_set(e, EFBIG, "larger than 2 GiB");
	*ret = (uint64_t)st.st_size;
	return 0;
}

/* Files that people take for a kernel, by their first bytes. */
static const struct {
	const char *magic;
	size_t len;
	const char *what;
} known[] = {
	{ "\x1f\x8b", 2, "this is gzip data" },
	{ "\xfd" "7zXZ", 5, "this is xz data" },
	{ "\x28\xb5\x2f\xfd", 4, "this is zstd data" },
	{ "BZh", 3, "this is bzip2 data" },
	{ "\x02\x21\x4c\x18", 4, "this is lz4 data" },
	{ "070701", 6, "this is a cpio archive, an initramfs perhaps" },
	{ "MZ", 2, "this is an EFI program without a Linux boot header" },
};

static int refuse_format(const uint8_t *head, size_t len, struct err *e)
{
	static const char want[] = "give a bzImage, or an uncompressed ELF vmlinux, for x86-64";
	size_t i;

	for (i = 0; i < ARRAY_LEN(known); i++)
		if (len >= known[i].len && !memcmp(head, known[i].magic, known[i].len))
			return err_set(e, ENOTSUP, "%s; %s", known[i].what, want);
	return err_set(e, ENOEXEC, "neither an ELF file nor a bzImage; %s", want);
}

static int load(const struct gmem *m, int fd, struct boot *b, struct err *e)
{
	uint8_t head[HEAD_BYTES] = { 0 };
	uint64_t size, len;
	int rc = file_size(fd, &size, e);

	if (rc < 0)
		return rc;
	len = size < sizeof(head) ? size : sizeof(head);
	rc = boot_read_at(fd, head, len, 0, e);
	if (rc < 0)
		return rc;
	if (!memcmp(head, ELFMAG, SELFMAG))
		return boot_elf_load(m, fd, size, b, e);
	if (!memcmp(head + BZIMAGE_MAGIC_AT, "HdrS", 4))
		return boot_bzimage_load(m, fd, size, b, e);
	return refuse_format(head, len, e);
}

/**
 * boot_load_kernel() - read a kernel into guest RAM
 * @m:   fresh guest RAM: what a kernel has beyond its file is taken to be zero
 * @fd:  regular file, borrowed
 * @ret: entry and what else is known; untouched on failure
 *
 * Return: 0; -ENOEXEC for a file that lies or is no kernel, -ENOTSUP for another
 * known format, minus errno
 *
 * #syscalls start: fstat
 */
int boot_load_kernel(const struct gmem *m, int fd, struct boot *ret, struct err *e)
{
	struct boot b = { 0 };
	int rc = load(m, fd, &b, e);

	if (rc < 0)
		return err_wrap(e, "kernel");
	*ret = b;
	return 0;
}

/**
 * boot_load_initramfs() - read an initramfs to the top of low RAM
 * @fd: regular file, borrowed; an empty one is no initramfs
 * @b:  from boot_load_kernel(); gets @initrd, @initrd_bytes
 *
 * Return: 0; -ENOMEM if it does not fit; minus errno
 *
 * #syscalls start: fstat
 */
int boot_load_initramfs(const struct gmem *m, int fd, struct boot *b, struct err *e)
{
	uint64_t size, at, top = m->r[0].gpa + m->r[0].len;
	void *hva;
	int rc;

	rc = file_size(fd, &size, e);
	if (rc < 0)
		return err_wrap(e, "initramfs");
	b->initrd = 0;
	b->initrd_bytes = 0;
	if (!size)
		return 0;
	if (b->initrd_end && b->initrd_end < top)
		top = b->initrd_end;
	at = size > top ? 0 : (top - size) & ~(PAGE_BYTES - 1);
	if (at < b->end || gmem_span(m, at, size, &hva) < 0)
		return err_set(e, ENOMEM,
			       "initramfs of %llu KiB does not fit behind the kernel; give the machine more memory",
			       (unsigned long long)size >> 10);
	rc = boot_read_at(fd, hva, size, 0, e);
	if (rc < 0)
		return err_wrap(e, "initramfs");
	b->initrd = at;
	b->initrd_bytes = size;
	return 0;
}
