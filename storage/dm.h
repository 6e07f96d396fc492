/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DM_H
#define STORAGE_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Longest name and UUID of the kernel, NUL included (linux/dm-ioctl.h). */
#define DM_NAME_BYTES 129
#define DM_TYPE_BYTES 17

enum dm_pool_mode { DM_POOL_RW, DM_POOL_RO, DM_POOL_NO_SPACE, DM_POOL_FAILED };

/**
 * struct dm_pool - health of a thin pool
 * @meta_used, @meta_total, @data_used, @data_total: blocks; zeros when it has failed
 * @needs_check: its metadata must be checked offline (thin_check)
 */
struct dm_pool {
	uint64_t meta_used, meta_total, data_used, data_total;
	enum dm_pool_mode mode;
	bool needs_check;
};

/**
 * struct dm_device - what libdevmapper says of a device
 * @type:     of its first target: linear, thin, snapshot, verity, …; empty: no table
 * @n_targets: of its live table
 * @openers:  how many have it open, mounts included
 * @readonly: the device itself
 * @suspended: its I/O waits until somebody resumes it
 * @deferred: it goes when the last one closes it
 * @invalid:  a snapshot or thin device that has lost its data
 * @pool_name, @pool: of a thin device, when @has_pool
 * @pool_suspended: the pool's I/O waits
 */
struct dm_device {
	char name[DM_NAME_BYTES], uuid[DM_NAME_BYTES];
	char type[DM_TYPE_BYTES];
	uint32_t n_targets;
	int openers;
	bool readonly, suspended, deferred, invalid;
	bool has_pool, pool_suspended;
	char pool_name[DM_NAME_BYTES];
	struct dm_pool pool;
};

int dm_query(uint32_t major, uint32_t minor, struct dm_device *ret, struct err *e);
int dm_openers(uint32_t major, uint32_t minor);
int dm_pool_parse(const char *params, struct dm_pool *ret);
const char *dm_pool_mode_name(enum dm_pool_mode mode);

#endif
