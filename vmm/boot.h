/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include <stdint.h>

#include "vmm/gmem.h"

/*
 * What the guest gets below 1 MiB: RAM up to BOOT_INFO_GPA, then boot
 * information, ACPI tables, page tables and descriptors up to BOOT_INFO_END, which
 * it must not overwrite before it has its own.
 */
#define BOOT_INFO_GPA 0x90000u
#define BOOT_CMDLINE_GPA 0x91000u
#define BOOT_ACPI_GPA 0x92000u
#define BOOT_ACPI_END 0x9b000u
#define BOOT_PAGES_GPA 0x9b000u
#define BOOT_GDT_GPA 0x9e000u
#define BOOT_GDT_BYTES 32
#define BOOT_SEED_GPA 0x9f000u
#define BOOT_INFO_END 0xa0000u
#define BOOT_HIGH_GPA 0x100000u

/*
 * What the page tables of the 64-bit entry map, one to one. A kernel that is
 * entered there must lie below, with all the memory that it needs at first.
 */
#define BOOT_MAPPED_BYTES (1ull << 30)

/* Bytes of the header of a bzImage that are kept: as far as protocol 2.15 goes. */
#define BOOT_HEADER_BYTES 0x7b

/**
 * enum boot_entry - how a kernel wants to be entered
 * @BOOT_PVH:   protected mode without paging; EBX has struct hvm_start_info
 * @BOOT_LINUX: 64-bit mode with identity page tables; RSI has struct boot_params
 */
enum boot_entry { BOOT_PVH, BOOT_LINUX };

/**
 * struct boot - where a loaded kernel is
 * @how, @entry: and its physical entry
 * @end:         first byte behind all that the kernel needs before it knows RAM
 * @initrd_end:  where an initramfs must end; 0: anywhere in low RAM
 * @cmdline_max: bytes of a command line without its NUL; 0: what fits
 * @header:      setup header of a bzImage, @header_bytes of it, else none
 * @initrd, @initrd_bytes: initramfs; 0 bytes for none
 */
struct boot {
	enum boot_entry how;
	uint64_t entry;
	uint64_t end;
	uint64_t initrd_end;
	uint32_t cmdline_max;
	uint32_t header_bytes;
	uint8_t header[BOOT_HEADER_BYTES];
	uint64_t initrd, initrd_bytes;
};

int boot_load_kernel(const struct gmem *m, int fd, struct boot *ret, struct err *e);
int boot_load_initramfs(const struct gmem *m, int fd, struct boot *b, struct err *e);
int boot_write_info(const struct gmem *m, const struct boot *b, const char *cmdline,
		    uint64_t rsdp_gpa, struct err *e);

#endif
