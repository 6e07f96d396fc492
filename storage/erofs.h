/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_EROFS_H
#define STORAGE_EROFS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "storage/erofs-xattr.h"
#include "storage/tree.h"

#define EROFS_BLOCK_BYTES 4096u

/**
 * struct erofs - a laid-out disk; its inodes belong to the tree
 * @root:        of the tree, whiteouts removed
 * @inode:       all inodes in the order of their place, owned
 * @file:        regular files with content, in the order of their blocks; owned;
 *               file[i]->file is i
 * @xattrs:      attributes of all inodes
 * @xattr_block: first block of those that are shared; 0: none are
 * @meta_blocks: blocks of metadata, from block 0 on
 * @n_blocks:    of the disk, metadata and content
 * @spill_first: first block of metadata that did not fit beside its inode, whose
 *               numbers (i->block) count from there
 * @n_names:     entries of all directories, without . and ..
 */
struct erofs {
	struct tree_node *root;
	struct tree_inode **inode;
	struct tree_inode **file;
	size_t n_inodes;
	uint32_t n_files;
	struct erofs_xattrs xattrs;
	uint32_t xattr_block;
	uint32_t meta_blocks;
	uint32_t n_blocks;
	uint64_t n_names;
	uint64_t cursor;
	uint32_t spill_first, spill_blocks;
	size_t room_inodes;
	size_t room_files;
};

int erofs_layout(struct tree_node *root, struct erofs **ret, struct err *e);
void erofs_write(const struct erofs *d, uint8_t *dst);
void erofs_free(struct erofs *d);

#endif
