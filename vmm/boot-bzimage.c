// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Loads a bzImage, the format that distributions ship, for its 64-bit entry:
 *
 *   boot sector | setup code | protected-mode kernel | whatever was appended
 *
 * The setup code is for firmware and is left out. The protected-mode kernel is
 * read to the address that it prefers, and entered 0x200 bytes behind its
 * beginning; it decompresses the real kernel into the init_size bytes from there,
 * which are checked to be RAM that the first page tables map.
 *
 * The setup header comes from the file, and everything in it is checked or
 * ignored. It goes on to the kernel as the protocol wants it, with the fields
 * that are the loader's set by boot-info.c.
 *
 * Limits: boot protocol 2.12 (Linux 3.8) or later, with XLF_KERNEL_64. The
 * kernel is always loaded at pref_address, whether it is relocatable or not: a
 * relocatable one that is loaded below moves itself there, and above it needs no
 * less memory. So pref_address + init_size must be in RAM below 1 GiB; Debian's
 * 6.1 asks for 16 + 62 MiB. The kernel may move itself from there (KASLR).
 *
 * Source: Linux Documentation/x86/boot.rst.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lib/mem.h"
#include "vmm/boot-impl.h"

#define HEADER_AT 0x1f1
#define JUMP_AT 0x200	/* the header ends where its jump goes */
#define BOOT_FLAG 0xaa55
#define VERSION_MIN 0x20c
#define SECTOR_BYTES 512u
#define SETUP_SECTS_DEFAULT 4
#define ENTRY_64 0x200u
#define PARAGRAPH_BYTES 16u

_Static_assert(sizeof(struct setup_header) == BOOT_HEADER_BYTES, "protocol 2.15");

static int read_header(int fd, uint64_t size, struct setup_header *h, uint32_t *ret_bytes,
		       struct err *e)
{
	uint32_t len;
	int rc;

	memset(h, 0, sizeof(*h));
	if (size < HEADER_AT + sizeof(*h))
		return err_set(e, ENOEXEC, "bzImage: the file ends in its header");
	rc = boot_read_at(fd, h, sizeof(*h), HEADER_AT, e);
	if (rc < 0)
		return rc;
	/* A short jump: its second byte is the distance from behind it. */
	len = JUMP_AT + 2u + (uint32_t)(h->jump >> 8) - HEADER_AT;
	if (len > sizeof(*h))
		len = sizeof(*h);
	if (h->boot_flag != BOOT_FLAG)
		return err_set(e, ENOEXEC, "bzImage: boot flag %#x, not 0xaa55", h->boot_flag);
	if (h->version < VERSION_MIN)
		return err_set(e, ENOTSUP,
			       "bzImage: boot protocol %u.%02u; 2.12 (Linux 3.8) or later is taken",
			       h->version >> 8, h->version & 0xff);
	if (len < offsetof(struct setup_header, init_size) + sizeof(h->init_size))
		return err_set(e, ENOEXEC, "bzImage: a header of %u bytes is too short for protocol %u.%02u",
			       len, h->version >> 8, h->version & 0xff);
	memset((uint8_t *)h + len, 0, sizeof(*h) - len);
	*ret_bytes = len;
	return 0;
}

static int check_header(const struct setup_header *h, struct err *e)
{
	if (!(h->loadflags & LOADED_HIGH))
		return err_set(e, ENOTSUP, "a zImage is not taken; give a bzImage");
	if (!(h->xloadflags & XLF_KERNEL_64))
		return err_set(e, ENOTSUP, "bzImage: no 64-bit entry; give a kernel for x86-64");
	if (h->pref_address < BOOT_HIGH_GPA || h->pref_address > BOOT_MAPPED_BYTES)
		return err_set(e, ENOEXEC, "bzImage: pref_address %#llx is not between 1 MiB and 1 GiB",
			       (unsigned long long)h->pref_address);
	if (h->init_size > BOOT_MAPPED_BYTES - h->pref_address)
		return err_set(e, ENOEXEC, "bzImage: %#x bytes (init_size) at %#llx end above 1 GiB",
			       h->init_size, (unsigned long long)h->pref_address);
	return 0;
}

/* Where the protected-mode kernel is in the file. */
static int find_kernel(const struct setup_header *h, uint64_t size, uint64_t *ret_at,
		       uint64_t *ret_bytes, struct err *e)
{
	uint32_t sects = h->setup_sects ? h->setup_sects : SETUP_SECTS_DEFAULT;
	uint64_t at = (sects + 1ull) * SECTOR_BYTES;
	uint64_t bytes = (uint64_t)h->syssize * PARAGRAPH_BYTES;

	if (at >= size)
		return err_set(e, ENOEXEC, "bzImage: the file ends in its setup code");
	/* The size counts whole paragraphs; the last one need not be there. */
	if (bytes > size - at && bytes - (size - at) < PARAGRAPH_BYTES)
		bytes = size - at;
	if (bytes > size - at)
		return err_set(e, ENOEXEC, "bzImage: the file ends early: %llu of %llu bytes of the kernel are there",
			       (unsigned long long)(size - at), (unsigned long long)bytes);
	if (bytes <= ENTRY_64 || bytes > h->init_size)
		return err_set(e, ENOEXEC, "bzImage: a kernel of %llu bytes, init_size %u",
			       (unsigned long long)bytes, h->init_size);
	*ret_at = at;
	*ret_bytes = bytes;
	return 0;
}

/**
 * boot_bzimage_load() - read a bzImage into guest RAM
 * @m:    fresh guest RAM
 * @fd:   borrowed
 * @size: of the file, bytes
 * @ret:  zeroed; may be half filled on failure
 *
 * Return: 0; -ENOEXEC for a header that lies, -ENOTSUP for a kernel that is too
 * old or of 32 bits; minus errno
 */
int boot_bzimage_load(const struct gmem *m, int fd, uint64_t size, struct boot *ret,
		      struct err *e)
{
	struct setup_header h;
	uint64_t at = 0, bytes = 0;
	void *hva;
	int rc;

	if ((rc = read_header(fd, size, &h, &ret->header_bytes, e)) < 0 ||
	    (rc = check_header(&h, e)) < 0 ||
	    (rc = find_kernel(&h, size, &at, &bytes, e)) < 0)
		return rc;
	if (gmem_span(m, h.pref_address, h.init_size, &hva) < 0)
		return err_set(e, ENOMEM,
			       "bzImage: needs %u MiB at %llu MiB; give the machine %llu MiB of memory or more",
			       h.init_size >> 20, (unsigned long long)h.pref_address >> 20,
			       (unsigned long long)(h.pref_address + h.init_size + (2 << 20) - 1) >> 20);
	rc = boot_read_at(fd, hva, bytes, at, e);
	if (rc < 0)
		return err_wrap(e, "bzImage");
	ret->how = BOOT_LINUX;
	ret->entry = h.pref_address + ENTRY_64;
	ret->end = h.pref_address + h.init_size;
	ret->initrd_end = (uint64_t)h.initrd_addr_max + 1;
	ret->cmdline_max = h.cmdline_size;
	memcpy(ret->header, &h, sizeof(h));
	return 0;
}
