/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_DISKTAB_H
#define LIB_DISKTAB_H

#include <stdint.h>

/*
 * DOC: Synthetic disk table
 *
 * A synthetic disk is read-only and made of blocks of 4096 bytes. It is
 * described by one sealed memfd: this header, then @n_extents extents sorted
 * by @first_block without overlap, then the metadata blocks themselves. A
 * block that no extent covers reads as zeros; so does what lies behind the end
 * of a file (the tail of its last block). storage/ builds the table, vmm/
 * looks blocks up in it and asks the broker (lib/broker.h) for the files.
 * All numbers are little-endian, as x86_64 has them.
 */
#define DISKTAB_MAGIC 0x3142544b53494450ull /* "PDISKTB1" */
#define DISKTAB_BLOCK_BYTES 4096u

/* @file of an extent whose blocks are in the memfd itself. */
#define DISKTAB_FILE_SELF UINT32_MAX

/**
 * struct disktab_head - first bytes of the memfd
 * @magic:          DISKTAB_MAGIC
 * @n_blocks:       size of the disk in blocks
 * @n_extents:      entries of the extent table
 * @extents_offset: of the extent table in the memfd, bytes, a multiple of 8
 * @n_files:        file numbers are below it
 * @reserved:       zero
 */
struct disktab_head {
	uint64_t magic;
	uint64_t n_blocks;
	uint64_t n_extents;
	uint64_t extents_offset;
	uint32_t n_files;
	uint32_t reserved;
};

/**
 * struct disktab_extent - a run of blocks
 * @first_block: on the disk
 * @n_blocks:    at least 1; first_block + n_blocks does not exceed the disk
 * @offset:      byte offset in the file, or in the memfd (a multiple of 4096)
 * @file:        file number, or DISKTAB_FILE_SELF
 * @reserved:    zero
 */
struct disktab_extent {
	uint64_t first_block;
	uint64_t n_blocks;
	uint64_t offset;
	uint32_t file;
	uint32_t reserved;
};

#endif
