/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_IMPL_H
#define VMM_BOOT_IMPL_H

#include "vmm/boot.h"

/* What boot.c hands to the format that it found, and what all of them use. */
int boot_elf_load(const struct gmem *m, int fd, uint64_t size, struct boot *ret, struct err *e);
int boot_bzimage_load(const struct gmem *m, int fd, uint64_t size, struct boot *ret,
		      struct err *e);
int boot_read_at(int fd, void *buf, uint64_t len, uint64_t offset, struct err *e);

#endif
