// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The tree of a layer made of the fuzzer's bytes, as scan_layer() could have found it,
 * and the way from a merged tree to a disk and back. Names, targets and values are one
 * byte of the input, repeated; so a short input makes long ones, and names meet.
 */
#include "tests/fuzz/maketree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "storage/erofs.h"
#include "tests/kit/eroread.h"

#define DEPTH_MAX 12
#define NODES_MAX 3000

static void *take(struct scan *s, size_t n)
{
	void *p = arena_alloc(s->arena, n);

	if (!p)
		abort();
	return p;
}

/* @len bytes that begin with @prefix. */
static char *text(struct scan *s, const char *prefix, uint8_t byte, size_t len)
{
	size_t n = strlen(prefix);
	char *p = take(s, len + 1);

	memset(p, byte ? byte : 'n', len);
	memcpy(p, prefix, n < len ? n : len);
	return p;
}

static void make_name(struct fuzz *f, struct scan *s, struct tree_node *n)
{
	uint8_t byte = (uint8_t)fuzz_take(f, 1), len = (uint8_t)fuzz_take(f, 1);
	char *name;

	if (byte == '/' || byte == '.')
		byte = 'd';
	len = len ? len : 1;
	name = text(s, "", byte, len);
	if (fuzz_odd(f))
		name[len - 1] = (char)(1 + fuzz_take(f, 1) % 45);
	tree_name(n, name, len);
}

static void make_xattrs(struct fuzz *f, struct scan *s, struct tree_inode *i)
{
	static const char *const names[] = { "user.", "trusted.", "security.", "trusted.overlay.overlay.",
					     "system.posix_acl_access", "system.posix_acl_default" };
	unsigned int k, n = (unsigned int)fuzz_take(f, 1) % 6;

	for (k = 0; k < n; k++) {
		unsigned int kind = (unsigned int)fuzz_take(f, 1) % 6;
		struct tree_xattr *x = take(s, sizeof(*x)), *old;
		size_t len = strlen(names[kind]);

		if (kind < 4)
			len += 1 + fuzz_take(f, 1) % 200;
		x->name = text(s, names[kind], (uint8_t)('a' + k), len);
		x->len = (uint32_t)(fuzz_odd(f) ? fuzz_take(f, 2) : fuzz_take(f, 1) % 32);
		x->value = text(s, "", (uint8_t)fuzz_take(f, 1), x->len);
		for (old = i->xattrs; old && strcmp(old->name, x->name); old = old->next)
			;
		if (old)
			continue;
		x->next = i->xattrs;
		i->xattrs = x;
	}
}

static struct tree_inode *make_inode(struct fuzz *f, struct scan *s, struct tree_node *n)
{
	static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO,
					  S_IFSOCK, S_IFDIR };
	struct tree_inode *i = take(s, sizeof(*i));
	uint32_t what = (uint32_t)fuzz_take(f, 2);

	*i = (struct tree_inode){ .node = n, .home = n, .layer = s->index, .ino = s->n_nodes,
				  .dev = 1, .mode = types[what & 7] | (what >> 4 & 07777) };
	if (fuzz_odd(f)) {
		i->uid = (uint32_t)fuzz_take(f, 4);
		i->gid = (uint32_t)fuzz_take(f, 1);
		i->mtime_s = (int64_t)fuzz_take(f, 8);
		i->mtime_ns = (uint32_t)fuzz_take(f, 2);
	}
	if (S_ISREG(i->mode))
		i->size = fuzz_take(f, fuzz_odd(f) ? 5 : 1) & INT64_MAX;
	if (S_ISCHR(i->mode) || S_ISBLK(i->mode))
		i->rdev = (uint32_t)fuzz_take(f, 4);
	if (S_ISLNK(i->mode)) {
		i->size = 1 + fuzz_take(f, 2) % 4095;
		i->target = text(s, "", (uint8_t)fuzz_take(f, 1), i->size);
	}
	if (fuzz_odd(f))
		make_xattrs(f, s, i);
	return i;
}

/* Marks of overlayfs: whiteouts, opaque, redirects, metadata-only copies. */
static void make_marks(struct fuzz *f, struct scan *s, struct tree_node *n)
{
	static const char *const to[] = { "/d", "d", "/d/n", "/nn/d", "n", "//", "/d/..", "" };
	uint8_t what = (uint8_t)fuzz_take(f, 1);
	struct tree_inode *i = n->inode;

	if (what & 1 && S_ISCHR(i->mode))
		n->flags |= TREE_WHITEOUT;
	if (what & 1 && S_ISDIR(i->mode))
		n->flags |= TREE_OPAQUE;
	if (what & 2 && (S_ISDIR(i->mode) || S_ISREG(i->mode))) {
		i->redirect = to[what >> 2 & 7];
		s->marks = true;
	}
	if (what & 32 && S_ISREG(i->mode)) {
		i->metacopy = true;
		s->marks = true;
	}
}

static bool has_name(const struct tree_node *dir, const struct tree_node *n)
{
	uint32_t i;

	for (i = 0; i < dir->n_children; i++)
		if (!tree_compare(dir->child[i], n))
			return true;
	return false;
}

static void make_dir(struct fuzz *f, struct scan *s, struct tree_node *dir, unsigned int depth)
{
	uint32_t i, n = (uint32_t)fuzz_take(f, 1);

	n = depth ? n % 24 : n;
	dir->child = take(s, n * sizeof(*dir->child) + 1);
	for (i = 0; i < n && f->len && s->n_nodes < NODES_MAX; i++) {
		struct tree_node *c = take(s, sizeof(*c));

		make_name(f, s, c);
		if (has_name(dir, c))
			continue;
		c->parent = dir;
		s->n_nodes++;
		/* The file before has one more name. */
		if (dir->n_children && fuzz_take(f, 1) % 8 == 7 &&
		    !tree_is_dir(dir->child[dir->n_children - 1])) {
			c->inode = dir->child[dir->n_children - 1]->inode;
			c->flags = dir->child[dir->n_children - 1]->flags;
		} else {
			c->inode = make_inode(f, s, c);
			make_marks(f, s, c);
		}
		dir->child[dir->n_children++] = c;
		if (tree_is_dir(c) && depth < DEPTH_MAX)
			make_dir(f, s, c, depth + 1);
	}
	tree_sort(dir);
}

/**
 * maketree_layer() - a layer
 * @s: with an arena; gets root, n_nodes and marks
 */
void maketree_layer(struct fuzz *f, struct scan *s)
{
	struct tree_node *root = take(s, sizeof(*root));

	tree_name(root, "", 0);
	s->root = root;
	s->n_nodes = 1;
	root->inode = make_inode(f, s, root);
	root->inode->mode = S_IFDIR | (root->inode->mode & 07777);
	root->inode->size = 0;
	root->inode->target = NULL;
	make_dir(f, s, root, 0);
}

/**
 * maketree_check() - lay a merged tree out, write the disk, read it back
 *
 * Ends the program if what is read is another tree.
 */
void maketree_check(struct tree_node *root)
{
	struct erofs *d = NULL;
	struct err e = { 0 };
	const char *why;
	uint8_t *disk;
	int rc = erofs_layout(root, &d, &e);

	if (rc < 0) {
		if (d || !e.text[0])
			abort();
		return;
	}
	disk = calloc(d->meta_blocks, EROFS_BLOCK_BYTES);
	if (!disk)
		abort();
	erofs_write(d, disk);
	why = eroread_compare(disk, (uint64_t)d->meta_blocks * EROFS_BLOCK_BYTES, root);
	if (why) {
		fprintf(stderr, "the disk differs from its tree: %s\n", why);
		abort();
	}
	free(disk);
	erofs_free(d);
}
