/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_MERGE_H
#define STORAGE_MERGE_H

#include "storage/overlay.h"
#include "storage/tree.h"

/**
 * struct merge - folding the trees of a stack into one
 * @o:     the stack, borrowed; its choices are settled
 * @root:  of each layer but the data-only ones, topmost first; borrowed
 * @n:     how many
 * @marks: a layer has redirects or metadata-only copies
 * @arena: that new nodes come from, borrowed
 */
struct merge {
	const struct overlay *o;
	struct tree_node **root;
	size_t n;
	bool marks;
	struct arena *arena;
};

int merge_layers(struct merge *m, struct tree_node **ret, struct err *e);

#endif
