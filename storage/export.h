/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_EXPORT_H
#define STORAGE_EXPORT_H

#include <stdbool.h>

#include "lib/progress.h"
#include "storage/storage.h"

/**
 * struct export - a disk on its way into a file
 * @map:      borrowed
 * @out_fd:   regular file, empty, or with @stream anything that can be written
 * @stream:   write from the first byte to the last, holes as zeros
 * @progress: may be NULL
 */
struct export
{
	const struct storage_map *map;
	int out_fd;
	bool stream;
	struct progress *progress;
	uint64_t at;
};

int export_disk(struct export *x, struct err *e);

#endif
