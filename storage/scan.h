/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SCAN_H
#define STORAGE_SCAN_H

#include "storage/tree.h"

/**
 * struct scan - reading one layer
 * @fd:        its root directory, borrowed
 * @index:     of the layer in the stack
 * @userxattr: overlayfs's attributes are user.overlay.*
 * @upper:     the layer is the upper directory
 * @arena:     that nodes come from, borrowed
 * @root:      result, in @arena
 * @n_nodes:   result: names in the layer, its root included
 * @marks:     result: it has redirects or metadata-only copies
 */
struct scan {
	int fd;
	uint16_t index;
	bool userxattr, upper;
	struct arena *arena;
	struct tree_node *root;
	uint64_t n_nodes;
	bool marks;
};

int scan_layer(struct scan *s, struct err *e);
int scan_data(int layer_fd, uint16_t index, const char *path, struct arena *a,
	      struct tree_inode **ret, struct err *e);

#endif
