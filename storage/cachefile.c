// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A layer's tree as one flat file: a header, then arrays of fixed-size records that
 * refer to each other by number, then text. Nodes are in breadth-first order, so
 * that the children of a directory follow each other and come behind it.
 *
 *	struct head
 *	struct rec_inode[n_inodes]
 *	struct rec_node[n_nodes]	node 0 is the root
 *	struct rec_xattr[n_xattrs]
 *	text				names (NUL behind each), targets, values
 *
 * A file may be damaged, or cut short by a crash: nothing in it is believed before
 * its checksum (XXH3 over all behind the checksum itself) is right, and then each
 * number, offset, name, order and type is still checked, because what follows
 * (merging, laying out) relies on them. What does not hold makes the whole file worth
 * nothing: the layer is read anew.
 *
 * Numbers are as x86_64 has them. A file of another version is no error, but useless.
 */
#include "storage/cachefile.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/mem.h"

#define MAGIC 0x3152455941594c50ull /* "PLYAYER1" */
#define NODE_FLAGS (TREE_WHITEOUT | TREE_OPAQUE | TREE_XWHITEOUTS)
/* As in the layer, and what protects it (scan.c). */
#define XATTR_NAME_BYTES (255 + 32)
#define DIR_PATH_MAX (TREE_PATH_BYTES - 1 - 256)

struct head {
	uint64_t magic, checksum, bytes;
	uint32_t n_inodes, n_nodes, n_xattrs, text_bytes;
	uint32_t marks, path;
	struct cache_key key;
};
static_assert(sizeof(struct head) % 8 == 0, "records are aligned");

enum { INODE_METACOPY = 1 };

/* Offsets are into the text; its first byte is a NUL, and 0 means none. */
struct rec_inode {
	uint64_t ino, size;
	int64_t mtime_s, ctime_s;
	uint32_t mtime_ns, ctime_ns;
	uint32_t mode, uid, gid, rdev;
	uint32_t first_xattr, n_xattrs;
	uint32_t target, redirect, flags, reserved;
};
static_assert(sizeof(struct rec_inode) % 8 == 0, "records are aligned");

struct rec_node {
	uint32_t inode, name, n_children;
	uint8_t name_len, flags;
	uint16_t reserved;
};

struct rec_xattr {
	uint32_t name, value, len;
};

/* ---- packing --------------------------------------------------------------------- */

/**
 * struct pack - a file being made
 * @node:  all nodes in order, owned
 * @n:     how many there are
 */
struct pack {
	const struct tree_node **node;
	size_t n;
	uint64_t n_inodes, n_xattrs, text_bytes;
	struct head *head;
	struct rec_inode *inode;
	struct rec_node *rec;
	struct rec_xattr *xattr;
	char *text;
	uint32_t text_at, xattr_at, inode_at;
};

/* Breadth first; sizes of all parts. An inode is counted by its home. */
static int survey(struct pack *p, const struct scan *s)
{
	const struct tree_xattr *x;
	size_t i, k, end = 1;

	p->node = mem_new_n(const struct tree_node *, s->n_nodes);
	if (!p->node)
		return -ENOMEM;
	p->text_bytes = 1;
	p->node[0] = s->root;
	for (i = 0; i < end; i++) {
		const struct tree_node *n = p->node[i];
		const struct tree_inode *d = n->inode;

		p->text_bytes += n->name_len + 1u;
		for (k = 0; k < n->n_children && end < s->n_nodes; k++)
			p->node[end++] = n->child[k];
		if (d->home != n)
			continue;
		if (d->dev != s->root->inode->dev)
			return -EXDEV;
		p->n_inodes++;
		p->text_bytes += d->target ? strlen(d->target) + 1 : 0;
		p->text_bytes += d->redirect ? strlen(d->redirect) + 1 : 0;
		for (x = d->xattrs; x; x = x->next, p->n_xattrs++)
			p->text_bytes += strlen(x->name) + 1 + x->len;
	}
	p->n = end;
	return 0;
}

static uint32_t put(struct pack *p, const void *data, size_t len)
{
	uint32_t at = p->text_at;

	memcpy(p->text + at, data, len);
	p->text_at += (uint32_t)len;
	return at;
}

static uint32_t put_text(struct pack *p, const char *s)
{
	return s ? put(p, s, strlen(s) + 1) : 0;
}

static void pack_inode(struct pack *p, const struct tree_inode *i)
{
	struct rec_inode *r = &p->inode[p->inode_at++];
	const struct tree_xattr *x;

	*r = (struct rec_inode){
		.ino = i->ino, .size = i->size, .mtime_s = i->mtime_s, .ctime_s = i->ctime_s,
		.mtime_ns = i->mtime_ns, .ctime_ns = i->ctime_ns, .mode = i->mode, .uid = i->uid,
		.gid = i->gid, .rdev = i->rdev, .first_xattr = p->xattr_at,
		.target = put_text(p, i->target), .redirect = put_text(p, i->redirect),
		.flags = i->metacopy ? INODE_METACOPY : 0,
	};
	for (x = i->xattrs; x; x = x->next, r->n_xattrs++) {
		uint32_t name = put_text(p, x->name);

		p->xattr[p->xattr_at++] = (struct rec_xattr){
			.name = name, .value = put(p, x->value, x->len), .len = x->len,
		};
	}
}

/* Inodes are numbered in the order of their homes; i->file keeps the number meanwhile. */
static void pack_nodes(struct pack *p)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		if (p->node[i]->inode->home == p->node[i]) {
			p->node[i]->inode->file = p->inode_at;
			pack_inode(p, p->node[i]->inode);
		}
	for (i = 0; i < p->n; i++) {
		const struct tree_node *n = p->node[i];

		p->rec[i] = (struct rec_node){
			.inode = n->inode->file, .name = put(p, n->name, n->name_len + 1u),
			.n_children = n->n_children, .name_len = n->name_len, .flags = n->flags,
		};
	}
	for (i = 0; i < p->n; i++)
		p->node[i]->inode->file = 0;
}

/* Where the parts are, for a buffer at @h with the counts of *@h. */
static void point(struct pack *p, struct head *h)
{
	p->head = h;
	p->inode = (void *)(h + 1);
	p->rec = (void *)(p->inode + h->n_inodes);
	p->xattr = (void *)(p->rec + h->n_nodes);
	p->text = (void *)(p->xattr + h->n_xattrs);
}

static uint64_t bytes_of(uint64_t inodes, uint64_t nodes, uint64_t xattrs, uint64_t text)
{
	return sizeof(struct head) + inodes * sizeof(struct rec_inode) +
	       nodes * sizeof(struct rec_node) + xattrs * sizeof(struct rec_xattr) + text;
}

static uint64_t checksum(const void *buf, size_t len)
{
	size_t from = offsetof(struct head, bytes);

	return XXH3_64bits((const char *)buf + from, len - from);
}

/**
 * cachefile_pack() - the file of a layer
 * @s:    that was just read; its tree is as scan_layer() made it
 * @path: of the layer, for people and for cleaning up
 * @ret:  malloc'd, owned by the caller; untouched on failure
 *
 * Return: 0; -EXDEV for a layer on several file systems (subvolumes); -EFBIG; -ENOMEM
 */
int cachefile_pack(const struct scan *s, const struct cache_key *key, const char *path,
		   void **ret, size_t *ret_len, struct err *e)
{
	struct pack p = { 0 };
	uint64_t bytes;
	struct head *h;
	int rc = survey(&p, s);

	p.text_bytes += strlen(path) + 1;
	bytes = bytes_of(p.n_inodes, p.n, p.n_xattrs, p.text_bytes);
	if (!rc && bytes > CACHEFILE_BYTES_MAX)
		rc = -EFBIG;
	h = rc ? NULL : calloc(1, bytes);
	if (!h) {
		free(p.node);
		rc = rc ? rc : -ENOMEM;
		return err_set(e, -rc, "layer cache: %s", strerror(-rc));
	}
	*h = (struct head){ .magic = MAGIC, .bytes = bytes, .n_inodes = (uint32_t)p.n_inodes,
			    .n_nodes = (uint32_t)p.n, .n_xattrs = (uint32_t)p.n_xattrs,
			    .text_bytes = (uint32_t)p.text_bytes, .marks = s->marks, .key = *key };
	point(&p, h);
	p.text_at = 1;
	h->path = put_text(&p, path);
	pack_nodes(&p);
	h->checksum = checksum(h, bytes);
	free(p.node);
	*ret = h;
	*ret_len = bytes;
	return 0;
}

/* ---- unpacking ------------------------------------------------------------------- */

/**
 * struct unpack - a file that is being believed
 * @node, @inode, @child, @xattr: results, in the scan's arena
 */
struct unpack {
	const struct head *head;
	const struct rec_inode *rec_inode;
	const struct rec_node *rec_node;
	const struct rec_xattr *rec_xattr;
	const char *text;
	struct tree_node *node, **child;
	struct tree_inode *inode;
	struct tree_xattr *xattr;
	uint32_t next_xattr;
};

/* A text of at least one byte with its NUL; NULL if there is none. */
static const char *get_text(const struct unpack *u, uint32_t at, size_t max)
{
	size_t room;

	if (at >= u->head->text_bytes)
		return NULL;
	room = u->head->text_bytes - at;
	if (room > max + 1)
		room = max + 1;
	return u->text[at] && memchr(u->text + at, 0, room) ? u->text + at : NULL;
}

static bool get_xattrs(struct unpack *u, const struct rec_inode *r, struct tree_inode *i)
{
	struct tree_xattr **end = &i->xattrs;
	uint32_t k;

	/* Each is one inode's, in their order. */
	if (r->first_xattr != u->next_xattr || r->n_xattrs > u->head->n_xattrs - u->next_xattr)
		return false;
	u->next_xattr += r->n_xattrs;
	for (k = r->first_xattr; k < r->first_xattr + r->n_xattrs; k++) {
		const struct rec_xattr *x = &u->rec_xattr[k];
		struct tree_xattr *t = &u->xattr[k];

		t->name = get_text(u, x->name, XATTR_NAME_BYTES);
		if (!t->name || x->len > UINT16_MAX || x->value > u->head->text_bytes ||
		    x->len > u->head->text_bytes - x->value)
			return false;
		t->value = u->text + x->value;
		t->len = x->len;
		*end = t;
		end = &t->next;
	}
	return true;
}

static bool known_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: case S_IFDIR: case S_IFLNK: case S_IFCHR: case S_IFBLK: case S_IFIFO:
	case S_IFSOCK:
		return mode <= 0xffff;
	default:
		return false;
	}
}

static bool get_inode(struct unpack *u, uint32_t number, uint16_t layer)
{
	const struct rec_inode *r = &u->rec_inode[number];
	struct tree_inode *i = &u->inode[number];

	i->ino = r->ino;
	i->dev = u->head->key.dev;
	i->size = r->size;
	i->mtime_s = r->mtime_s;
	i->ctime_s = r->ctime_s;
	i->mtime_ns = r->mtime_ns;
	i->ctime_ns = r->ctime_ns;
	i->mode = r->mode;
	i->uid = r->uid;
	i->gid = r->gid;
	i->rdev = r->rdev;
	i->layer = layer;
	i->metacopy = r->flags & INODE_METACOPY;
	if (!known_type(r->mode) || r->size > INT64_MAX || r->flags & ~1u || r->reserved ||
	    r->mtime_ns > 999999999 || r->ctime_ns > 999999999 ||
	    (i->metacopy && !S_ISREG(r->mode)))
		return false;
	if (S_ISLNK(r->mode)) {
		i->target = get_text(u, r->target, TREE_PATH_BYTES - 1);
		if (!i->target || strlen(i->target) != r->size)
			return false;
	} else if (r->target || (r->size && !S_ISREG(r->mode))) {
		return false;
	}
	if (r->redirect) {
		/* Of no bytes as well: what it means is told when it is used. */
		i->redirect = r->redirect < u->head->text_bytes && !u->text[r->redirect] ? "" :
			      get_text(u, r->redirect, UINT16_MAX);
		if (!i->redirect || (!S_ISREG(r->mode) && !S_ISDIR(r->mode)))
			return false;
	}
	return !r->n_xattrs || get_xattrs(u, r, i);
}

static bool get_name(const struct unpack *u, const struct rec_node *r, struct tree_node *n)
{
	const char *s = get_text(u, r->name, UINT8_MAX);

	if (!s || strlen(s) != r->name_len || memchr(s, '/', r->name_len) || !strcmp(s, ".") ||
	    !strcmp(s, ".."))
		return false;
	tree_name(n, s, r->name_len);
	return true;
}

/* The node and its inode; the node's parent is known. A directory has one name. */
static bool get_node(struct unpack *u, uint32_t number)
{
	const struct rec_node *r = &u->rec_node[number];
	struct tree_node *n = &u->node[number];
	struct tree_inode *i;

	if (r->inode >= u->head->n_inodes || r->flags & ~NODE_FLAGS || r->reserved)
		return false;
	i = n->inode = &u->inode[r->inode];
	n->flags = r->flags;
	if (number ? !get_name(u, r, n) : r->name_len || r->flags & ~TREE_XWHITEOUTS)
		return false;
	if (!S_ISDIR(i->mode) && (r->n_children || r->flags & ~TREE_WHITEOUT || !number))
		return false;
	if (S_ISDIR(i->mode) && (i->home || r->flags & TREE_WHITEOUT))
		return false;
	if (!i->home)
		i->node = i->home = n;
	if (!S_ISDIR(i->mode))
		return true;
	/* Length of its path, for what comes below; laying out writes its own there. */
	i->dir_bytes = number ? n->parent->inode->dir_bytes + n->name_len + 1 : 0;
	return i->dir_bytes <= DIR_PATH_MAX + 1;
}

/* Children come next: they know their parent before it is their turn. */
static bool get_children(struct unpack *u, uint32_t number, uint32_t *next)
{
	uint32_t k, n = u->rec_node[number].n_children;
	struct tree_node *dir = &u->node[number];

	if (n > u->head->n_nodes - *next)
		return false;
	dir->n_children = n;
	dir->child = u->child + *next - 1;
	for (k = 0; k < n; k++) {
		u->node[*next].parent = dir;
		u->child[*next - 1] = &u->node[*next];
		++*next;
	}
	return true;
}

static bool get_tree(struct unpack *u)
{
	uint32_t i, next = 1;

	for (i = 0; i < u->head->n_nodes; i++) {
		if (i >= next || !get_node(u, i) || !get_children(u, i, &next))
			return false;
		if (i > 1 && u->node[i].parent == u->node[i - 1].parent &&
		    tree_compare(&u->node[i - 1], &u->node[i]) >= 0)
			return false;
	}
	return next == u->head->n_nodes;
}

/* The header, the sizes and the checksum. */
static bool get_head(struct unpack *u, const void *buf, size_t len)
{
	struct pack p;
	struct head *h = (void *)(uintptr_t)buf;

	if (len < sizeof(*h) || len > CACHEFILE_BYTES_MAX || h->magic != MAGIC || h->bytes != len ||
	    !h->n_nodes || !h->n_inodes || !h->text_bytes ||
	    bytes_of(h->n_inodes, h->n_nodes, h->n_xattrs, h->text_bytes) != len ||
	    h->checksum != checksum(buf, len))
		return false;
	point(&p, h);
	*u = (struct unpack){ .head = h, .rec_inode = p.inode, .rec_node = p.rec,
			      .rec_xattr = p.xattr, .text = p.text };
	return true;
}

static int useless(struct err *e, int code, const char *why)
{
	return err_set(e, code, "layer cache: %s", why);
}

/**
 * cachefile_unpack() - the tree of a layer
 * @buf: aligned to 8; the tree refers to it and dies with it
 * @key: that the file must have
 * @s:   gets root, n_nodes and marks; has the arena; untouched on failure
 *
 * Return: 0; -EBADMSG for a damaged file; -ESTALE for one of something else; -ENOMEM
 */
int cachefile_unpack(const void *buf, size_t len, const struct cache_key *key, struct scan *s,
		     struct err *e)
{
	struct unpack u;
	uint32_t i;

	if (!get_head(&u, buf, len))
		return useless(e, EBADMSG, "a damaged file");
	if (memcmp(&u.head->key, key, sizeof(*key)))
		return useless(e, ESTALE, "a file of something else");
	u.inode = arena_alloc(s->arena, u.head->n_inodes * sizeof(*u.inode));
	u.node = arena_alloc(s->arena, u.head->n_nodes * sizeof(*u.node));
	u.child = arena_alloc(s->arena, u.head->n_nodes * sizeof(*u.child));
	u.xattr = arena_alloc(s->arena, u.head->n_xattrs * sizeof(*u.xattr));
	if (!u.inode || !u.node || !u.child || !u.xattr)
		return useless(e, ENOMEM, "out of memory");
	for (i = 0; i < u.head->n_inodes; i++)
		if (!get_inode(&u, i, s->index))
			return useless(e, EBADMSG, "a damaged file");
	if (!get_tree(&u))
		return useless(e, EBADMSG, "a damaged file");
	s->root = u.node;
	s->n_nodes = u.head->n_nodes;
	s->marks = u.head->marks;
	return 0;
}

/**
 * cachefile_origin() - of which layer a file is
 * @buf:      a whole file
 * @ret_path: in @buf
 *
 * Return: 0 or -EBADMSG
 */
int cachefile_origin(const void *buf, size_t len, struct cache_key *ret_key,
		     const char **ret_path)
{
	const char *path;
	struct unpack u;

	if (!get_head(&u, buf, len))
		return -EBADMSG;
	path = get_text(&u, u.head->path, PATH_MAX);
	if (!path)
		return -EBADMSG;
	*ret_key = u.head->key;
	*ret_path = path;
	return 0;
}
