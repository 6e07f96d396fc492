/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SCRATCH_H
#define STORAGE_SCRATCH_H

#include <stdint.h>

#include "lib/err.h"

/* Below it ext4 has no room for a root directory worth the name. */
#define SCRATCH_BYTES_MIN (4u << 20)
/* ext4 with 32-bit block numbers of 4096 bytes. */
#define SCRATCH_BYTES_MAX ((16ull << 40) - 4096)

int scratch_make(int dir_fd, uint64_t bytes, int *ret_fd, struct err *e);

#endif
