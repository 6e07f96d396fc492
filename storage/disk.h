/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include "storage/erofs.h"
#include "storage/layers.h"
#include "storage/storage.h"

/**
 * struct storage_stats - what mapping a rootfs took
 * @layers:     of the stack
 * @cached:     of them were known already
 * @layer_names: names in all layers, before merging
 * @names:      in the merged tree
 * @inodes:     of the disk
 * @files:      regular files with content
 * @extents:    of the table
 * @meta_bytes: of metadata that was built
 * @data_bytes: of content that the disk refers to; none of it was copied
 * @scan_us, @layout_us, @scratch_us, @total_us: time spent
 */
struct storage_stats {
	uint64_t layers, cached, layer_names, names, inodes, files, extents;
	uint64_t meta_bytes, data_bytes;
	uint64_t scan_us, layout_us, scratch_us, total_us;
};

/**
 * struct disk_file - a regular file behind the disk, and what it was
 * @dev:   device number, which has 32 bits in the kernel
 * @dir:   its directory, offset in the map's names
 * @name:  its name, the same
 * @layer: that holds it
 */
struct disk_file {
	uint64_t ino, size;
	int64_t mtime_s, ctime_s;
	uint32_t mtime_ns, ctime_ns;
	uint32_t dev, dir, name;
	uint16_t layer;
};

int disk_table(const struct erofs *d, int *ret_fd, uint64_t *ret_extents,
	       struct err *e);
const struct storage_stats *storage_map_stats(const struct storage_map *m);

#endif
