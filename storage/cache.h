/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_CACHE_H
#define STORAGE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/scan.h"

struct cache;

/**
 * struct cache_entry - a file of the cache, for cleaning up
 * @name:   in the directory
 * @layer:  directory that it is of; "" if the file is damaged
 * @bytes:  that it takes
 * @used_s: when it was used last, seconds since 1970, to a day
 * @gone:   the layer is no longer there, or the file is damaged
 */
struct cache_entry {
	const char *name;
	const char *layer;
	uint64_t bytes;
	int64_t used_s;
	bool gone;
};

/* Return: 1: remove it; 0: keep it; a negative errno ends the list. */
typedef int cache_entry_fn(void *arg, const struct cache_entry *x, struct err *e);

int cache_open(const char *path, struct cache **ret, struct err *e);
void cache_free(struct cache *c);
int cache_load(const struct cache *c, struct scan *s, struct err *e);
int cache_store(const struct cache *c, const struct scan *s, int64_t read_at_s, struct err *e);
void cache_drop(const struct cache *c, int layer_fd, bool userxattr);
int cache_each(const struct cache *c, cache_entry_fn *fn, void *arg, struct err *e);

#endif
