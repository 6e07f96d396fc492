/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_CACHEFILE_H
#define STORAGE_CACHEFILE_H

#include <stddef.h>
#include <stdint.h>

#include "storage/scan.h"

/* Longer ones are neither written nor read. */
#define CACHEFILE_BYTES_MAX (256u << 20)

/* MAX_HANDLE_SZ of the kernel. */
#define CACHE_HANDLE_BYTES 128

/**
 * struct cache_key - which directory it was, and how it was read; compared by bytes
 * @version: of what scan_layer() makes of a layer
 * @flags:   1: userxattr
 * @fsid, @dev, @ino: of the directory
 * @handle_type, @handle_len, @handle: name_to_handle_at(): says also which
 *           directory of that number it was
 */
struct cache_key {
	uint32_t version, flags;
	uint64_t fsid, dev, ino;
	uint32_t handle_type, handle_len;
	uint8_t handle[CACHE_HANDLE_BYTES];
};

int cachefile_pack(const struct scan *s, const struct cache_key *key, const char *path,
		   void **ret, size_t *ret_len, struct err *e);
int cachefile_unpack(const void *buf, size_t len, const struct cache_key *key, struct scan *s,
		     struct err *e);
int cachefile_origin(const void *buf, size_t len, struct cache_key *ret_key,
		     const char **ret_path);

#endif
