/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_RAW_H
#define VMM_VIRTIO_RAW_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

/* Units of a virtio disk, whatever its blocks are. */
#define SECTOR_BYTES 512u

/* Largest block; Linux guests take none that is larger than a page. */
#define RAW_BLOCK_MAX 4096u

/**
 * struct raw - what is behind the descriptor of a raw disk
 * @bytes:    size, a multiple of @block
 * @block:    logical block, bytes: a power of two, 512 to RAW_BLOCK_MAX. Where
 *            @direct is set, places and lengths are multiples of it
 * @physical: what the storage writes at once, bytes, @block or more
 * @min_io, @opt_io: good request sizes, bytes; 0: not known
 * @discard:  freed at once, bytes, @block or more
 * @direct:   the descriptor is O_DIRECT
 * @mem_align: of buffers, where @direct is set; a power of two, else 1
 */
struct raw {
	uint64_t bytes;
	uint32_t block;
	uint32_t physical;
	uint32_t min_io, opt_io;
	uint32_t discard;
	bool direct;
	uint32_t mem_align;
};

int raw_probe(int fd, bool readonly, struct raw *ret, struct err *e);
int raw_grow(int fd, struct raw *r, struct err *e);

#endif
