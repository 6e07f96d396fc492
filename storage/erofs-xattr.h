/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_EROFS_XATTR_H
#define STORAGE_EROFS_XATTR_H

#include <stdint.h>

#include "storage/tree.h"

/**
 * struct erofs_shared - an attribute, name and value, and who has it
 * @x:     first of them
 * @hash:  of name and value
 * @count: inodes that have it
 * @at:    offset in the shared area, in units of 4 bytes; EROFS_NOT_SHARED
 */
struct erofs_shared {
	const struct tree_xattr *x;
	uint64_t hash;
	uint32_t count, at;
};

#define EROFS_NOT_SHARED UINT32_MAX

/**
 * struct erofs_xattrs - the attributes of a tree
 * @entry: each pair of name and value once, owned
 * @slot:  hash table of indices into @entry, owned
 * @bytes: of the shared area
 */
struct erofs_xattrs {
	struct erofs_shared *entry;
	uint32_t *slot;
	uint32_t n, room;
	uint64_t bytes;
};

int erofs_xattrs_count(struct erofs_xattrs *t, struct tree_inode *i, struct err *e);
void erofs_xattrs_share(struct erofs_xattrs *t);
int erofs_xattrs_size(const struct erofs_xattrs *t, struct tree_inode *i, struct err *e);
uint16_t erofs_xattrs_units(const struct tree_inode *i);
void erofs_xattrs_write(const struct erofs_xattrs *t, const struct tree_inode *i, uint8_t *dst);
void erofs_xattrs_write_shared(const struct erofs_xattrs *t, uint8_t *dst);
void erofs_xattrs_done(struct erofs_xattrs *t);

#endif
