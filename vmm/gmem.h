/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_GMEM_H
#define VMM_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "vmm/vmm.h"

/* RAM below the 32-bit PCI hole, and where the rest goes on. */
#define GMEM_LOW_MAX_BYTES 0xc0000000ull
#define GMEM_HIGH_GPA 0x100000000ull
#define GMEM_REGIONS_MAX 2

/* Blocks of the pluggable region: how small, and how many at most. */
#define GMEM_BLOCK_MIN_BYTES (2ull << 20)
#define GMEM_BLOCKS_MAX 16384

struct gmem_region {
	uint64_t gpa;
	uint64_t len;		/* bytes */
	uint8_t *hva;		/* inside a PROT_NONE reservation with guards */
};

/**
 * struct gmem_hot - memory that comes and goes while the guest runs (vmm/gmem-hot.c)
 * @r:           all of it; @r.len 0: there is none
 * @block_bytes: a power of two
 * @n:           blocks
 * @plugged:     one bit per block; changed by the I/O thread, read by all
 * @stray:       unplugged blocks that a late write has opened; any thread
 * @astray:      @stray has bits, and @sweep_fd was armed for them
 * @sweep_fd:    timerfd that asks for gmem_hot_sweep(), borrowed; -1: none
 */
struct gmem_hot {
	struct gmem_region r;
	uint64_t block_bytes;
	uint32_t n;
	uint64_t plugged[GMEM_BLOCKS_MAX / 64];
	uint64_t stray[GMEM_BLOCKS_MAX / 64];
	bool astray;
	int sweep_fd;
};

/**
 * struct gmem_policy - what guest RAM is like; fields as in struct vmm_config
 * @clone: RAM is a copy on write of a template's memory; neither reserved pages nor
 *         @prefault go with that
 * @fd:    the template's memory, of @ram_bytes, borrowed
 */
struct gmem_policy {
	uint64_t ram_bytes;
	uint64_t hotplug_bytes;
	enum vmm_pages pages;
	bool merge;
	bool prefault;
	bool clone;
	int fd;
};

/**
 * struct gmem - guest RAM
 * @r:        regions, ascending, apart from each other
 * @n:        1 or 2
 * @hot:      above them
 * @reserved: pages are the host's reserved ones: none is given back
 * @map:      whole reservation, owned
 * @map_len:  bytes
 */
struct gmem {
	struct gmem_region r[GMEM_REGIONS_MAX];
	size_t n;
	struct gmem_hot hot;
	bool reserved;
	void *map;
	size_t map_len;
};

int gmem_init(struct gmem *m, uint64_t ram_bytes, struct err *e);
int gmem_init_policy(struct gmem *m, const struct gmem_policy *p, struct err *e);
void gmem_done(struct gmem *m);
uint64_t gmem_ram_bytes(const struct gmem *m);
int gmem_span(const struct gmem *m, uint64_t gpa, uint64_t len, void **ret_hva);
int gmem_read(const struct gmem *m, uint64_t gpa, void *dst, size_t len);
int gmem_write(const struct gmem *m, uint64_t gpa, const void *src, size_t len);
int gmem_discard(const struct gmem *m, void *hva, uint64_t len);

/* vmm/gmem-file.c */
int gmem_file_check(int fd, uint64_t bytes, struct err *e);
int gmem_file_make(int fd, uint64_t bytes, struct err *e);
int gmem_file_map(uint8_t *hva, uint64_t offset, uint64_t len, int fd, struct err *e);
int gmem_file_write(const struct gmem *m, int fd, bool swap, struct err *e);

/* vmm/gmem-hot.c */
int gmem_hot_init(struct gmem *m, uint8_t *hva, uint64_t gpa, uint64_t len, struct err *e);
int gmem_hot_watch(struct gmem *m, struct err *e);
void gmem_hot_done(struct gmem *m);
int gmem_hot_span(const struct gmem *m, uint64_t gpa, uint64_t len, void **ret_hva);
uint32_t gmem_hot_count(const struct gmem *m, uint32_t first, uint32_t n);
uint32_t gmem_hot_run(const struct gmem *m, uint32_t first, uint32_t n, bool plugged);
int gmem_hot_plug(struct gmem *m, uint32_t first, uint32_t n);
int gmem_hot_unplug(struct gmem *m, uint32_t first, uint32_t n);
void gmem_hot_sweep(struct gmem *m);

#endif
