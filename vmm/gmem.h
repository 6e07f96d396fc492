/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_GMEM_H
#define VMM_GMEM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* RAM below the 32-bit PCI hole, and where the rest goes on. */
#define GMEM_LOW_MAX_BYTES 0xc0000000ull
#define GMEM_HIGH_GPA 0x100000000ull
#define GMEM_REGIONS_MAX 2

struct gmem_region {
	uint64_t gpa;
	uint64_t len;		/* bytes */
	uint8_t *hva;		/* inside a PROT_NONE reservation with guards */
};

/**
 * struct gmem - guest RAM
 * @r:        regions, ascending, apart from each other
 * @n:        1 or 2
 * @map:      whole reservation, owned
 * @map_len:  bytes
 */
struct gmem {
	struct gmem_region r[GMEM_REGIONS_MAX];
	size_t n;
	void *map;
	size_t map_len;
};

int gmem_init(struct gmem *m, uint64_t ram_bytes, struct err *e);
void gmem_done(struct gmem *m);
int gmem_span(const struct gmem *m, uint64_t gpa, uint64_t len, void **ret_hva);
int gmem_read(const struct gmem *m, uint64_t gpa, void *dst, size_t len);
int gmem_write(const struct gmem *m, uint64_t gpa, const void *src, size_t len);

#endif
