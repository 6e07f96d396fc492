// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of what loads a guest: a kernel's file, an initramfs, a command line, and
 * what the kernel finds in memory, as a machine does it. An input begins with
 *
 *	1 byte   bits 0, 1: what the file is made of; bits 2 to 4: size of RAM
 *	1 byte   length of the command line, in steps of 16 bytes
 *	2 bytes  size of the initramfs, in steps of 64 bytes
 *	1 byte   zeros behind the file, in steps of 64 KiB
 *	1 byte   vCPUs
 *
 * and then has the file, or patches of one that is right: 2 bytes of offset, 1 of
 * length, and the bytes.
 *
 * A find is a crash, a leak, a hang, a descriptor that is left, a byte written where
 * none belongs, an entry outside of the kernel, an error without text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/mem.h"
#include "tests/fuzz/drive.h"
#include "tests/fuzz/image.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"

#define MIB (1ull << 20)
#define CMDLINE_MAX (255 * 16)

enum { IMAGE_RAW, IMAGE_PVH, IMAGE_LINUX, IMAGE_BZIMAGE };

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_boot: %s\n", what);
	abort();
}

static void patch(struct fuzz *f, uint8_t *image)
{
	while (f->len) {
		size_t at = fuzz_take(f, 2) % IMAGE_BYTES, len = fuzz_take(f, 1);

		fuzz_take_bytes(f, image + at, len < IMAGE_BYTES - at ? len : IMAGE_BYTES - at);
	}
}

/* Takes the rest of the input. */
static int make_kernel(struct fuzz *f, int kind, off_t zeros)
{
	static uint8_t image[IMAGE_BYTES];
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	const uint8_t *p = image;
	size_t len;

	memset(image, 0, sizeof(image));
	switch (kind) {
	case IMAGE_PVH:
	case IMAGE_LINUX: len = image_elf(image, kind == IMAGE_PVH); break;
	case IMAGE_BZIMAGE: len = image_bzimage(image); break;
	default:
		p = f->data;
		len = f->len;
		f->len = 0;
	}
	patch(f, image);
	check(fd >= 0 && write(fd, p, len) == (ssize_t)len &&
	      !ftruncate(fd, (off_t)len + zeros), "memfd");
	return fd;
}

static int make_initramfs(off_t bytes)
{
	int fd = memfd_create("initramfs", MFD_CLOEXEC);

	check(fd >= 0 && !ftruncate(fd, bytes), "memfd");
	return fd;
}

static bool is_zero(const struct gmem *m, uint64_t gpa, uint64_t end)
{
	const uint8_t *p = m->r[0].hva + gpa;

	return gpa == end || (!*p && !memcmp(p, p + 1, end - gpa - 1));
}

static void check_kernel(const struct gmem *m, const struct boot *b)
{
	void *hva;

	check(b->how == BOOT_PVH || b->how == BOOT_LINUX, "kind of entry");
	check(b->entry >= BOOT_HIGH_GPA && b->entry < b->end && !gmem_span(m, b->entry, 1, &hva),
	      "the entry is outside of the kernel");
	check(!gmem_span(m, b->end - 1, 1, &hva), "the end is outside of RAM");
	check(b->header_bytes <= BOOT_HEADER_BYTES, "bytes of the header");
}

static void check_initramfs(const struct gmem *m, const struct boot *b, uint64_t bytes)
{
	void *hva;

	check(b->initrd_bytes == bytes, "bytes of the initramfs");
	if (!bytes)
		return;
	check(b->initrd >= b->end && !gmem_span(m, b->initrd, bytes, &hva) &&
	      (!b->initrd_end || b->initrd + bytes <= b->initrd_end),
	      "the initramfs is where it must not be");
}

/* Nothing but what belongs there has changed below 1 MiB. */
static void check_low(const struct gmem *m, const char *cmdline)
{
	check(is_zero(m, 0, BOOT_INFO_GPA) && is_zero(m, BOOT_INFO_END, BOOT_HIGH_GPA),
	      "written outside of the boot information");
	check(!strcmp((const char *)m->r[0].hva + BOOT_CMDLINE_GPA, cmdline), "command line");
}

static void failed(int rc, const struct err *e)
{
	check(rc < 0 && rc == -e->code && e->text[0], "an error without text");
}

static void load(const struct gmem *m, int kernel, int initramfs, uint64_t bytes,
		 const char *cmdline, uint32_t vcpus)
{
	struct boot b = { .entry = 77 };
	struct err e = { 0 };
	uint64_t rsdp;
	int rc = boot_load_kernel(m, kernel, &b, &e);

	check(is_zero(m, 0, BOOT_HIGH_GPA), "written below 1 MiB");
	if (rc < 0) {
		check(b.entry == 77, "a result in spite of failure");
		failed(rc, &e);
		return;
	}
	check_kernel(m, &b);
	rc = boot_load_initramfs(m, initramfs, &b, &e);
	if (rc < 0) {
		failed(rc, &e);
		return;
	}
	check_initramfs(m, &b, bytes);
	rc = acpi_write(m, BOOT_ACPI_GPA, BOOT_ACPI_END - BOOT_ACPI_GPA, vcpus, &rsdp, &e);
	check(!rc, e.text);
	rc = boot_write_info(m, &b, cmdline, rsdp, &e);
	if (rc < 0)
		failed(rc, &e);
	else
		check_low(m, cmdline);
}

static int next_fd(void)
{
	int fd = dup(0), n = fd;

	close(fd);
	return n;
}

/**
 * LLVMFuzzerTestOneInput() - load one kernel
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t ram[] = { 32 * MIB, 64 * MIB, 128 * MIB, 1024 * MIB,
					GMEM_LOW_MAX_BYTES, GMEM_LOW_MAX_BYTES + 2 * MIB,
					2 * GMEM_LOW_MAX_BYTES, 34 * MIB };
	struct fuzz f = { data, size };
	uint8_t how = (uint8_t)fuzz_take(&f, 1);
	char cmdline[CMDLINE_MAX + 1] = { 0 };
	int kernel, initramfs, first = next_fd();
	struct gmem mem;
	struct err e;
	uint64_t bytes;
	uint32_t vcpus;
	off_t zeros;

	memset(cmdline, 'x', fuzz_take(&f, 1) * 16);
	bytes = fuzz_take(&f, 2) * 64;
	zeros = (off_t)fuzz_take(&f, 1) << 16;
	vcpus = 1 + (uint32_t)fuzz_take(&f, 1) % VMM_VCPUS_MAX;
	check(!gmem_init(&mem, ram[how >> 2 & 7], &e), "memory");
	kernel = make_kernel(&f, how & 3, zeros);
	initramfs = make_initramfs((off_t)bytes);
	load(&mem, kernel, initramfs, bytes, cmdline, vcpus);
	close(kernel);
	close(initramfs);
	gmem_done(&mem);
	check(next_fd() == first, "a descriptor is left");
	return 0;
}
