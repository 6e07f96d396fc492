/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include <stdint.h>

#include "vmm/gmem.h"

/*
 * What the guest gets below 1 MiB: RAM up to BOOT_INFO_GPA, then boot
 * information and ACPI tables up to BOOT_INFO_END, which it must not overwrite.
 */
#define BOOT_INFO_GPA 0x90000u
#define BOOT_CMDLINE_GPA 0x91000u
#define BOOT_ACPI_GPA 0x92000u
#define BOOT_INFO_END 0xa0000u
#define BOOT_HIGH_GPA 0x100000u

/**
 * struct boot - where a loaded kernel is
 * @entry:     physical address of the PVH entry
 * @end:       first byte behind the kernel
 * @initrd, @initrd_bytes: initramfs; 0 bytes for none
 */
struct boot {
	uint32_t entry;
	uint64_t end;
	uint64_t initrd, initrd_bytes;
};

int boot_load_kernel(const struct gmem *m, int fd, struct boot *ret, struct err *e);
int boot_load_initramfs(const struct gmem *m, int fd, struct boot *b, struct err *e);
int boot_write_info(const struct gmem *m, const struct boot *b, const char *cmdline,
		    uint64_t rsdp_gpa, struct err *e);

#endif
