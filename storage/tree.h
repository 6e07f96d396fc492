/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_TREE_H
#define STORAGE_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/err.h"

/*
 * Memory that one rootfs may need while it is mapped, all layers together: about
 * three million files. Image contents are hostile: this bounds what they cost.
 */
#define TREE_BYTES_MAX (768u << 20)

/* A path in a layer must fit openat2(), its NUL included; it bounds recursion too. */
#define TREE_PATH_BYTES 4096

struct arena_chunk;

/**
 * struct arena - memory that is freed all at once
 * @budget: bytes that may still be taken, shared by the arenas of a map; borrowed
 */
struct arena {
	struct arena_chunk *chunks;
	size_t used, room;
	atomic_llong *budget;
};

/**
 * struct tree_xattr - an extended attribute, as it goes onto the disk
 * @name:  whole name with its namespace
 * @entry: number among those of the disk; set by storage/erofs-xattr.c
 */
struct tree_xattr {
	struct tree_xattr *next;
	const char *name;
	const void *value;
	uint32_t len, entry;
};

enum tree_layout { TREE_LAYOUT_NONE, TREE_LAYOUT_INLINE, TREE_LAYOUT_BLOCKS };

/**
 * struct tree_inode - a file; hard links share it
 * @node:     first name of it
 * @home:     its name in its own layer's tree; NULL in data-only layers
 * @path:     from its layer's root, of files in data-only layers
 * @data:     file in a lower layer that has the content (metacopy); NULL: itself
 * @xattrs:   without overlayfs's own
 * @target:   of a symlink
 * @redirect: where layers below have the file, as overlayfs wrote it; or NULL
 * @layer:    index in the stack
 * @rdev:     as Linux encodes device numbers on disk (new_encode_dev)
 * @metacopy: content is in a lower layer
 * @nlink:    names in the merged tree; below: set by storage/erofs.c
 * @offset:   of the inode in the metadata, bytes; 0 before
 * @xattr_bytes, @dir_bytes: sizes on disk
 * @layout:   where the content is
 * @block:    first block of the content
 * @file:     number in the disk's table
 */
struct tree_inode {
	struct tree_node *node, *home;
	const char *path;
	struct tree_inode *data;
	struct tree_xattr *xattrs;
	const char *target, *redirect;
	uint64_t ino, dev, size;
	int64_t mtime_s, ctime_s;
	uint32_t mtime_ns, ctime_ns;
	uint32_t mode, uid, gid, rdev;
	uint16_t layer;
	bool metacopy;
	uint8_t layout;
	uint32_t nlink;
	uint64_t offset;
	uint64_t dir_bytes;
	uint32_t xattr_bytes;
	uint32_t block;
	uint32_t file;
};

enum tree_flag {
	TREE_WHITEOUT = 1,	/* hides the name below */
	TREE_OPAQUE = 2,	/* hides all names of the directory below */
	TREE_XWHITEOUTS = 4,	/* regular files with an attribute are whiteouts in it */
};

/**
 * struct tree_node - a name in a directory
 * @parent:   NULL at the root
 * @child:    sorted by name
 * @key:      first 8 bytes of @name, big-endian, for quick comparing
 * @name:     NUL-terminated; any byte but NUL and '/'
 */
struct tree_node {
	struct tree_node *parent;
	struct tree_inode *inode;
	struct tree_node **child;
	uint64_t key;
	const char *name;
	uint32_t n_children;
	uint8_t name_len;
	uint8_t flags;
};

void *tree_big_alloc(size_t bytes);
void *arena_alloc(struct arena *a, size_t bytes);
char *arena_text(struct arena *a, const void *text, size_t len);
void arena_done(struct arena *a);

void tree_name(struct tree_node *n, const char *name, size_t len);
int tree_compare(const struct tree_node *a, const struct tree_node *b);
void tree_sort(struct tree_node *dir);
struct tree_node *tree_child(const struct tree_node *dir, const char *name);
struct tree_node *tree_child_n(const struct tree_node *dir, const char *name, size_t len);
int tree_path(const struct tree_node *n, char dst[TREE_PATH_BYTES]);

/*
 * Walks go over more than the processor's caches hold, and wait for memory at each
 * inode if nothing asks for it beforehand: so many steps.
 */
#define TREE_AHEAD 8

static inline void tree_prefetch(const struct tree_inode *i)
{
	__builtin_prefetch(i);
	__builtin_prefetch((const char *)i + 64);
	__builtin_prefetch((const char *)i + 128);
}

/**
 * tree_ahead() - number @i of a list of inodes is looked at, and others soon
 */
static inline void tree_ahead(struct tree_inode *const *list, size_t n, size_t i)
{
	if (i + TREE_AHEAD < n)
		tree_prefetch(list[i + TREE_AHEAD]);
}

/**
 * tree_child_ahead() - the same for the children of a directory
 */
static inline void tree_child_ahead(const struct tree_node *dir, size_t i)
{
	if (i + TREE_AHEAD < dir->n_children)
		tree_prefetch(dir->child[i + TREE_AHEAD]->inode);
}

static inline bool tree_is_dir(const struct tree_node *n)
{
	return S_ISDIR(n->inode->mode);
}

#endif
