/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_LAYERS_H
#define STORAGE_LAYERS_H

#include "storage/cache.h"
#include "storage/overlay.h"
#include "storage/tree.h"

struct layers;

int layers_read(const struct overlay *o, const struct cache *cache, struct layers **ret,
		struct err *e);
struct tree_node *layers_root(struct layers *l);
size_t layers_cached(const struct layers *l);
uint64_t layers_count(const struct layers *l, size_t layer);
int layers_verify(const struct layers *l, int rootfs_fd, struct err *e);
void layers_free(struct layers *l);

#endif
