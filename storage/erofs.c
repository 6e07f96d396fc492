// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Lays a merged tree out as an EROFS disk of 4096-byte blocks that Linux 6.1
 * mounts: no compression, no incompatible feature. Two steps: erofs_layout()
 * gives every inode its place and every file its blocks, erofs_write() fills in
 * the metadata, which by then has a known size.
 *
 *	block 0            superblock at byte 1024, then inodes
 *	...                inodes, 64 bytes each, with attributes and, where they
 *	                   fit the block, directory entries or symlink targets
 *	spilled blocks     directories and symlink targets that do not fit
 *	shared attributes  those that many files have (erofs-xattr.c)
 *	@meta_blocks       contents of files, whole blocks, one run per file: never
 *	                   copied, only numbered
 *
 * An inode's number is its byte offset divided by 32; hard links share it. The
 * root comes first, because its number has 16 bits in the superblock. Entries of
 * a directory are sorted by bytes, "." and ".." among them, and each block of
 * them stands for itself: fixed-size records first, names behind.
 *
 * Limits, refused by name: 2^32 - 2 blocks (16 TiB), and what erofs-xattr.c says.
 *
 * Source: linux Documentation/filesystems/erofs.rst, "On-disk details";
 * fs/erofs/erofs_fs.h of Linux 6.1
 */
#include "storage/erofs.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "storage/erofs-xattr.h"

#define SUPER_OFFSET 1024u
#define SUPER_BYTES 128u
#define SUPER_MAGIC 0xe0f5e1e2u
#define COMPAT_CHECKSUM 1u
#define COMPAT_MTIME 2u
#define SLOT_BYTES 32u
#define INODE_BYTES 64u
#define DIRENT_BYTES 12u
#define BLOCKS_MAX 0xfffffffeu

/* i_format: extended inode (bit 0), data layout (bits 1 to 3). */
#define FORMAT_PLAIN (1u | 0u << 1)
#define FORMAT_INLINE (1u | 2u << 1)

struct super {
	uint32_t magic, checksum, feature_compat;
	uint8_t block_bits, ext_slots;
	uint16_t root_nid;
	uint64_t inodes, build_time;
	uint32_t build_time_ns, blocks, meta_block, xattr_block;
	uint8_t uuid[16], volume[16];
	uint32_t feature_incompat;
	uint16_t compr_algs, extra_devices, devt_slot;
	uint8_t dir_block_bits, reserved[37];
} __attribute__((packed));
static_assert(sizeof(struct super) == SUPER_BYTES, "superblock");

struct inode {
	uint16_t format, xattr_count, mode, reserved;
	uint64_t size;
	uint32_t u, ino, uid, gid;
	uint64_t mtime;
	uint32_t mtime_ns, nlink;
	uint8_t reserved2[16];
} __attribute__((packed));
static_assert(sizeof(struct inode) == INODE_BYTES, "inode");

struct dirent_head {
	uint64_t nid;
	uint16_t name_offset;
	uint8_t type, reserved;
} __attribute__((packed));
static_assert(sizeof(struct dirent_head) == DIRENT_BYTES, "directory entry");

/* Kept out of the recursion's stack frames, which a hostile image can pile up. */
__attribute__((noinline)) static int refuse(const struct tree_inode *i, int code, struct err *e, const char *why)
{
	char path[TREE_PATH_BYTES], shown[400];

	if (tree_path(i->node, path) < 0)
		str_copy(path, sizeof(path), "(long path)");
	str_quote(shown, sizeof(shown), path);
	return err_set(e, code, "%s: %s", shown, why);
}

/**
 * struct dir_iter - entries of a directory in disk order
 * @dots: how many of "." and ".." have come
 */
struct dir_iter {
	const struct tree_node *dir;
	uint32_t at, dots;
};

struct dir_entry {
	const char *name;
	size_t len;
	const struct tree_inode *inode;
};

static bool next_entry(struct dir_iter *it, struct dir_entry *ret)
{
	static const char *const dots[] = { ".", ".." };
	const struct tree_node *d = it->dir, *n = NULL;

	if (it->at < d->n_children)
		n = d->child[it->at];
	if (it->dots < 2 && (!n || strcmp(dots[it->dots], n->name) < 0)) {
		const struct tree_node *to = it->dots && d->parent ? d->parent : d;

		*ret = (struct dir_entry){ dots[it->dots], it->dots + 1, to->inode };
		it->dots++;
		return true;
	}
	if (!n)
		return false;
	*ret = (struct dir_entry){ n->name, n->name_len, n->inode };
	it->at++;
	return true;
}

static void size_dir(const struct tree_node *dir)
{
	struct dir_iter it = { .dir = dir };
	uint64_t blocks = 0;
	struct dir_entry d;
	size_t used = 0;

	while (next_entry(&it, &d)) {
		size_t need = DIRENT_BYTES + d.len;

		if (used + need > EROFS_BLOCK_BYTES) {
			blocks++;
			used = 0;
		}
		used += need;
	}
	dir->inode->dir_bytes = blocks * EROFS_BLOCK_BYTES + used;
}

static int append(struct tree_inode ***list, size_t n, size_t *room,
		  struct tree_inode *i, struct err *e)
{
	if (n == *room) {
		size_t want = n ? n * 2 : 4096;
		void *more = realloc(*list, want * sizeof(**list));

		if (!more)
			return err_set(e, ENOMEM, "out of memory");
		*list = more;
		*room = want;
	}
	(*list)[n] = i;
	return 0;
}

static bool tail_fits(uint64_t at, uint64_t bytes)
{
	return at % EROFS_BLOCK_BYTES + bytes <= EROFS_BLOCK_BYTES;
}

/* Places an inode whose content of @tail bytes is metadata; 0: has none. */
static int place(struct erofs *d, struct tree_inode *i, uint64_t tail, struct err *e)
{
	uint64_t own = INODE_BYTES + i->xattr_bytes;
	uint64_t at = (d->cursor + SLOT_BYTES - 1) & ~(uint64_t)(SLOT_BYTES - 1);
	uint64_t next = (at + EROFS_BLOCK_BYTES - 1) & ~(uint64_t)(EROFS_BLOCK_BYTES - 1);
	uint64_t spill;

	i->layout = TREE_LAYOUT_NONE;
	if (tail) {
		i->layout = TREE_LAYOUT_INLINE;
		if (!tail_fits(at + own, tail)) {
			if (tail_fits(next + own, tail))
				at = next;
			else
				i->layout = TREE_LAYOUT_BLOCKS;
		}
	}
	if (i->layout == TREE_LAYOUT_BLOCKS) {
		spill = (tail + EROFS_BLOCK_BYTES - 1) / EROFS_BLOCK_BYTES;
		if (d->spill_blocks + spill > BLOCKS_MAX)
			return refuse(i, EFBIG, e, "the disk would be larger than 16 TiB");
		i->block = d->spill_blocks;
		d->spill_blocks += (uint32_t)spill;
		tail = 0;
	}
	i->offset = at;
	d->cursor = at + own + tail;
	return append(&d->inode, d->n_inodes++, &d->room_inodes, i, e);
}

/* Removes whiteouts and counts names and links. */
static uint32_t prune(struct erofs *d, struct tree_node *dir)
{
	uint32_t i, n = 0, subdirs = 0;

	for (i = 0; i < dir->n_children; i++) {
		struct tree_node *c = dir->child[i];

		tree_child_ahead(dir, i);
		if (c->flags & TREE_WHITEOUT)
			continue;
		dir->child[n++] = c;
		if (tree_is_dir(c))
			subdirs++;
	}
	dir->n_children = n;
	dir->inode->nlink = 2 + subdirs;
	d->n_names += n;
	return n;
}

__attribute__((noinline)) static int place_node(struct erofs *d, struct tree_node *n, struct err *e)
{
	struct tree_inode *i = n->inode;
	uint64_t tail = 0;
	int rc;

	if (!tree_is_dir(n) && i->nlink++)
		return 0;
	i->node = n;
	rc = erofs_xattrs_size(&d->xattrs, i, e);
	if (rc < 0)
		return rc;
	if (i->metacopy)
		return refuse(i, EIO, e, "overlay: a metadata-only copy has no content in any layer below");
	if (tree_is_dir(n)) {
		prune(d, n);
		size_dir(n);
		tail = i->dir_bytes;
	} else if (S_ISLNK(i->mode)) {
		tail = i->size;
	}
	rc = place(d, i, tail, e);
	if (rc < 0 || !S_ISREG(i->mode) || !i->size)
		return rc;
	i->file = d->n_files;
	return append(&d->file, d->n_files++, &d->room_files, i, e);
}

/* Children side by side, then what is in them: one listing reads few blocks. */
static int place_children(struct erofs *d, struct tree_node *dir, struct err *e)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; !rc && i < dir->n_children; i++) {
		tree_child_ahead(dir, i);
		rc = place_node(d, dir->child[i], e);
	}
	for (i = 0; !rc && i < dir->n_children; i++)
		if (tree_is_dir(dir->child[i]))
			rc = place_children(d, dir->child[i], e);
	return rc;
}

/* Learns the attributes of all that will be on the disk; the recursion is as deep as a path. */
static int count_xattrs(struct erofs *d, const struct tree_node *n, struct err *e)
{
	uint32_t i;
	int rc = 0;

	/* An inode of several names is counted once: then it has got a size. */
	if (n->inode->xattrs && !n->inode->xattr_bytes) {
		n->inode->xattr_bytes = 1;
		rc = erofs_xattrs_count(&d->xattrs, n->inode, e);
	}
	for (i = 0; !rc && i < n->n_children; i++) {
		tree_child_ahead(n, i);
		if (!(n->child[i]->flags & TREE_WHITEOUT) &&
		    (n->child[i]->inode->xattrs || tree_is_dir(n->child[i])))
			rc = count_xattrs(d, n->child[i], e);
	}
	return rc;
}

/* Numbers the blocks of spilled metadata and of the contents. */
static int number_blocks(struct erofs *d, struct err *e)
{
	uint64_t first = (d->cursor + EROFS_BLOCK_BYTES - 1) / EROFS_BLOCK_BYTES;
	uint64_t next = first + d->spill_blocks;
	uint64_t shared = (d->xattrs.bytes + EROFS_BLOCK_BYTES - 1) / EROFS_BLOCK_BYTES;
	size_t i;

	d->spill_first = (uint32_t)first;
	if (shared && next <= BLOCKS_MAX)
		d->xattr_block = (uint32_t)next;
	next += shared;
	d->meta_blocks = (uint32_t)next;
	for (i = 0; i < d->n_files; i++) {
		struct tree_inode *f = d->file[i];
		uint64_t blocks = f->size / EROFS_BLOCK_BYTES +
				  !!(f->size % EROFS_BLOCK_BYTES);

		tree_ahead(d->file, d->n_files, i);
		if (blocks > BLOCKS_MAX || next + blocks > BLOCKS_MAX)
			return refuse(f, EFBIG, e, "with this file the disk would be larger than 16 TiB");
		f->block = (uint32_t)next;
		next += blocks;
	}
	if (next > BLOCKS_MAX)
		return err_set(e, EFBIG, "the disk would be larger than 16 TiB");
	d->n_blocks = (uint32_t)next;
	return 0;
}

/**
 * erofs_layout() - give everything its place on the disk
 * @root: merged tree; whiteouts are removed from it, its inodes are numbered; must
 *        outlive @ret and be laid out once only
 * @ret:  owned by the caller, erofs_free(); untouched on failure
 *
 * Return: 0; -EFBIG above 16 TiB; -EOPNOTSUPP; -EIO; -ENOMEM
 */
int erofs_layout(struct tree_node *root, struct erofs **ret, struct err *e)
{
	struct erofs *d = mem_new(struct erofs);
	int rc;

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	d->root = root;
	d->cursor = SUPER_OFFSET + SUPER_BYTES;
	rc = count_xattrs(d, root, e);
	erofs_xattrs_share(&d->xattrs);
	if (!rc)
		rc = place_node(d, root, e);
	if (!rc)
		rc = place_children(d, root, e);
	if (!rc)
		rc = number_blocks(d, e);
	if (rc < 0) {
		erofs_free(d);
		return rc;
	}
	*ret = d;
	return 0;
}

static uint8_t file_type(uint32_t mode)
{
	/* S_IFMT / 0x1000 to the types of erofs_fs.h, which are those of ext2. */
	static const uint8_t types[16] = {
		[S_IFIFO >> 12] = 5, [S_IFCHR >> 12] = 3, [S_IFDIR >> 12] = 2,
		[S_IFBLK >> 12] = 4, [S_IFREG >> 12] = 1, [S_IFLNK >> 12] = 7,
		[S_IFSOCK >> 12] = 6,
	};

	return types[mode >> 12 & 15];
}

/* One block of entries: how many there are decides where the names begin. */
static void write_dir_block(uint8_t *dst, const struct dir_entry *v, size_t n)
{
	size_t i, name_at = n * DIRENT_BYTES;

	for (i = 0; i < n; i++) {
		struct dirent_head h = {
			.nid = htole64(v[i].inode->offset / SLOT_BYTES),
			.name_offset = htole16((uint16_t)name_at),
			.type = file_type(v[i].inode->mode),
		};

		memcpy(dst + i * DIRENT_BYTES, &h, sizeof(h));
		memcpy(dst + name_at, v[i].name, v[i].len);
		name_at += v[i].len;
	}
}

static void write_dir(uint8_t *dst, const struct tree_node *dir)
{
	/* The shortest entry has a name of one byte. */
	struct dir_entry v[EROFS_BLOCK_BYTES / (DIRENT_BYTES + 1)];
	struct dir_iter it = { .dir = dir };
	size_t n = 0, used = 0;
	struct dir_entry d;

	while (next_entry(&it, &d)) {
		size_t need = DIRENT_BYTES + d.len;

		if (used + need > EROFS_BLOCK_BYTES) {
			write_dir_block(dst, v, n);
			dst += EROFS_BLOCK_BYTES;
			n = 0;
			used = 0;
		}
		v[n++] = d;
		used += need;
	}
	write_dir_block(dst, v, n);
}

static void write_inode(const struct erofs *d, uint8_t *dst, const struct tree_inode *i,
			uint32_t number)
{
	uint8_t *at = dst + i->offset;
	uint32_t xattrs = i->xattr_bytes;
	uint32_t block = i->block + (i->layout == TREE_LAYOUT_BLOCKS ? d->spill_first : 0);
	struct inode h = {
		.format = htole16(i->layout == TREE_LAYOUT_INLINE ? FORMAT_INLINE :
								    FORMAT_PLAIN),
		.xattr_count = htole16(erofs_xattrs_units(i)),
		.mode = htole16((uint16_t)i->mode),
		.size = htole64(S_ISDIR(i->mode) ? i->dir_bytes : i->size),
		.u = htole32(S_ISCHR(i->mode) || S_ISBLK(i->mode) ? i->rdev : block),
		.ino = htole32(number),
		.uid = htole32(i->uid),
		.gid = htole32(i->gid),
		.mtime = htole64((uint64_t)i->mtime_s),
		.mtime_ns = htole32(i->mtime_ns),
		.nlink = htole32(i->nlink),
	};

	memcpy(at, &h, sizeof(h));
	if (xattrs)
		erofs_xattrs_write(&d->xattrs, i, at + INODE_BYTES);
	at += INODE_BYTES + xattrs;
	if (i->layout == TREE_LAYOUT_BLOCKS)
		at = dst + (uint64_t)block * EROFS_BLOCK_BYTES;
	if (S_ISDIR(i->mode))
		write_dir(at, i->node);
	else if (S_ISLNK(i->mode))
		memcpy(at, i->target, i->size);
}

/* CRC-32C as the kernel's crc32c(): reflected, no final inversion. */
static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t len)
{
	int bit;

	while (len--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

static void write_super(const struct erofs *d, uint8_t *dst)
{
	struct super s = {
		.magic = htole32(SUPER_MAGIC),
		.feature_compat = htole32(COMPAT_CHECKSUM | COMPAT_MTIME),
		.block_bits = 12,
		.root_nid = htole16((uint16_t)(d->root->inode->offset / SLOT_BYTES)),
		.inodes = htole64(d->n_inodes),
		.blocks = htole32(d->n_blocks),
		.xattr_block = htole32(d->xattr_block),
		.volume = "podvm",
	};

	memcpy(dst + SUPER_OFFSET, &s, sizeof(s));
	s.checksum = htole32(crc32c(~0u, dst + SUPER_OFFSET,
				    EROFS_BLOCK_BYTES - SUPER_OFFSET));
	memcpy(dst + SUPER_OFFSET, &s, sizeof(s));
}

/**
 * erofs_write() - write the metadata
 * @dst: @d->meta_blocks blocks, zeroed
 */
void erofs_write(const struct erofs *d, uint8_t *dst)
{
	size_t i;

	for (i = 0; i < d->n_inodes; i++) {
		tree_ahead(d->inode, d->n_inodes, i);
		write_inode(d, dst, d->inode[i], (uint32_t)i + 1);
	}
	if (d->xattr_block)
		erofs_xattrs_write_shared(&d->xattrs, dst + (uint64_t)d->xattr_block * EROFS_BLOCK_BYTES);
	write_super(d, dst);
}

/**
 * erofs_free() - free the layout, not the tree; NULL is fine
 */
void erofs_free(struct erofs *d)
{
	if (!d)
		return;
	erofs_xattrs_done(&d->xattrs);
	free(d->inode);
	free(d->file);
	free(d);
}
