// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A strict reader of EROFS metadata that shares no line with what writes it: it takes
 * nothing for granted that the format does not promise, and finds names as the kernel
 * does, by their order. It walks the disk along the tree that the disk was made of, and
 * names the first difference. What no reader may rely on must be zero.
 *
 * Source: linux Documentation/filesystems/erofs.rst; fs/erofs/erofs_fs.h of Linux 6.1
 */
#include "tests/kit/eroread.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u

struct image {
	const uint8_t *p;
	uint64_t bytes, blocks, meta, xattr;
	const char *why;
};

struct info {
	uint64_t at, size, body, data, mtime;
	uint32_t mode, uid, gid, nlink, mtime_ns, u, layout, xattr_bytes;
};

static uint64_t num(const uint8_t *p, unsigned int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static bool fail(struct image *m, const char *why)
{
	if (!m->why)
		m->why = why;
	return false;
}

static const uint8_t *span(struct image *m, uint64_t at, uint64_t len)
{
	if (at > m->bytes || len > m->bytes - at) {
		fail(m, "something is behind the metadata");
		return NULL;
	}
	return m->p + at;
}

static bool zeros(const uint8_t *p, size_t n)
{
	while (n)
		if (p[--n])
			return false;
	return true;
}

static uint32_t crc32c(const uint8_t *p, size_t len, size_t skip)
{
	uint32_t crc = ~0u;
	size_t i;
	int bit;

	for (i = 0; i < len; i++) {
		crc ^= i >= skip && i < skip + 4 ? 0 : p[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return crc;
}

/* Return: the root's number; 0 after a failure. */
static uint64_t read_super(struct image *m)
{
	const uint8_t *s = span(m, 1024, 128);

	if (!s || num(s, 4) != 0xe0f5e1e2u || s[12] != 12 || s[13])
		return fail(m, "the superblock"), 0;
	if (num(s + 8, 4) & 1 && crc32c(s, BLOCK - 1024, 4) != num(s + 4, 4))
		return fail(m, "the superblock's checksum"), 0;
	/* Nothing that Linux 5.16 does not mount. */
	if (num(s + 80, 4))
		return fail(m, "an incompatible feature"), 0;
	m->blocks = num(s + 36, 4);
	m->meta = num(s + 40, 4) * BLOCK;
	m->xattr = num(s + 44, 4) * BLOCK;
	if (m->blocks * BLOCK < m->bytes)
		return fail(m, "the count of blocks"), 0;
	return num(s + 14, 2);
}

static bool read_inode(struct image *m, uint64_t nid, struct info *i)
{
	const uint8_t *p;
	uint32_t format, count;
	bool large;

	*i = (struct info){ .at = m->meta + nid * 32 };
	p = span(m, i->at, 32);
	if (!p)
		return false;
	format = (uint32_t)num(p, 2);
	large = format & 1;
	i->layout = format >> 1 & 7;
	if (format >> 4 || (i->layout != 0 && i->layout != 2))
		return fail(m, "an inode's format");
	if (large && !span(m, i->at, 64))
		return false;
	count = (uint32_t)num(p + 2, 2);
	i->mode = (uint32_t)num(p + 4, 2);
	i->size = num(p + 8, large ? 8 : 4);
	i->u = (uint32_t)num(p + 16, 4);
	i->uid = (uint32_t)num(p + 24, large ? 4 : 2);
	i->gid = (uint32_t)num(p + (large ? 28 : 26), large ? 4 : 2);
	i->nlink = (uint32_t)(large ? num(p + 44, 4) : num(p + 6, 2));
	i->mtime = large ? num(p + 32, 8) : 0;
	i->mtime_ns = large ? (uint32_t)num(p + 40, 4) : 0;
	if (large ? num(p + 6, 2) || !zeros(p + 48, 16) : num(p + 12, 4) || num(p + 28, 4))
		return fail(m, "reserved bytes of an inode");
	i->xattr_bytes = count ? 12 + 4 * (count - 1) : 0;
	i->body = i->at + (large ? 64 : 32);
	i->data = i->body + i->xattr_bytes;
	return span(m, i->body, i->xattr_bytes) != NULL;
}

/* Where byte @at of a directory or target is; to the end of its block. */
static const uint8_t *content(struct image *m, const struct info *i, uint64_t at, uint64_t len)
{
	uint64_t whole = i->size / BLOCK * BLOCK, from;

	if (i->layout == 2 && at >= whole) {
		from = i->data + (at - whole);
		if (i->data / BLOCK != (i->data + i->size - whole - 1) / BLOCK) {
			fail(m, "inline data across blocks");
			return NULL;
		}
	} else {
		from = (uint64_t)i->u * BLOCK + at;
	}
	return span(m, from, len);
}

static const struct {
	unsigned int index;
	const char *prefix;
} namespaces[] = { { 1, "user." }, { 2, "system.posix_acl_access" }, { 3, "system.posix_acl_default" },
		   { 4, "trusted." }, { 6, "security." } };

/* One attribute at @at, below @end: is in the tree's list? */
static bool known_xattr(struct image *m, const struct tree_inode *t, uint64_t at, uint64_t end,
			uint64_t *ret_len)
{
	const uint8_t *p = span(m, at, 4);
	const struct tree_xattr *x;
	size_t i, name, len, value;

	if (!p)
		return false;
	name = p[0];
	value = (size_t)num(p + 2, 2);
	len = (4 + name + value + 3) / 4 * 4;
	if (at + len > end || !span(m, at, len))
		return fail(m, "an attribute behind its inode");
	if (!zeros(p + 4 + name + value, len - 4 - name - value))
		return fail(m, "what fills an attribute up");
	for (i = 0; i < 5 && namespaces[i].index != p[1]; i++)
		;
	if (i == 5)
		return fail(m, "an attribute's namespace");
	for (x = t->xattrs; x; x = x->next) {
		size_t n = strlen(namespaces[i].prefix);

		if (!strncmp(x->name, namespaces[i].prefix, n) && strlen(x->name) == n + name &&
		    !memcmp(x->name + n, p + 4, name) && x->len == value &&
		    !memcmp(x->value, p + 4 + name, value))
			break;
	}
	*ret_len = len;
	return x ? true : fail(m, "an attribute");
}

static bool same_xattrs(struct image *m, const struct info *i, const struct tree_inode *t)
{
	const struct tree_xattr *x;
	uint64_t at = i->body + 12, end = i->data, len;
	const uint8_t *p = m->p + i->body;
	uint32_t n = 0, wanted = 0, shared, k;

	for (x = t->xattrs; x; x = x->next)
		wanted++;
	if (!i->xattr_bytes)
		return wanted ? fail(m, "attributes") : true;
	shared = p[4];
	if (!zeros(p, 4) || !zeros(p + 5, 7) || at + 4ull * shared > end)
		return fail(m, "the head of attributes");
	for (k = 0; k < shared; k++, n++)
		if (!known_xattr(m, t, m->xattr + 4 * num(p + 12 + 4 * k, 4), m->bytes, &len))
			return false;
	for (at += 4ull * shared; at < end; at += len, n++)
		if (!known_xattr(m, t, at, end, &len))
			return false;
	return n == wanted ? true : fail(m, "the number of attributes");
}

static bool same_dir(struct image *m, const struct info *i, const struct tree_node *n,
		     uint64_t up);

/* An entry's inode, and what is in it. */
static bool same_node(struct image *m, uint64_t nid, const struct tree_node *n, uint64_t up)
{
	const struct tree_inode *t = n->inode;
	const uint8_t *p;
	struct info i;
	uint64_t at;

	if (!read_inode(m, nid, &i))
		return false;
	if (i.mode != t->mode || i.uid != t->uid || i.gid != t->gid || i.nlink != t->nlink)
		return fail(m, "mode, owner or links");
	if (i.mtime != (uint64_t)t->mtime_s || i.mtime_ns != t->mtime_ns)
		return fail(m, "mtime");
	if (!same_xattrs(m, &i, t))
		return false;
	if (S_ISDIR(i.mode))
		return same_dir(m, &i, n, up);
	if (i.size != t->size)
		return fail(m, "size");
	if (S_ISLNK(i.mode)) {
		for (at = 0; at < i.size; at += BLOCK) {
			uint64_t len = i.size - at < BLOCK ? i.size - at : BLOCK;

			p = content(m, &i, at, len);
			if (!p || memcmp(p, t->target + at, len))
				return fail(m, "a target");
		}
	} else if (S_ISREG(i.mode) && i.size) {
		if (i.layout != 0 || i.u * (uint64_t)BLOCK < m->bytes || i.u != t->block ||
		    i.u + (i.size + BLOCK - 1) / BLOCK > m->blocks)
			return fail(m, "the place of a content");
	} else if (!S_ISREG(i.mode) && i.size) {
		return fail(m, "content of what has none");
	} else if ((S_ISCHR(i.mode) || S_ISBLK(i.mode)) && i.u != t->rdev) {
		return fail(m, "a device number");
	}
	return true;
}

static unsigned int type_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return 1;
	case S_IFDIR: return 2;
	case S_IFCHR: return 3;
	case S_IFBLK: return 4;
	case S_IFIFO: return 5;
	case S_IFSOCK: return 6;
	default: return 7;
	}
}

/**
 * struct dir_at - a directory's entries in order
 * @k: next child of the tree's directory
 * @last, @last_len: name before, in the image
 */
struct dir_at {
	const struct tree_node *dir;
	uint64_t self, up;
	uint32_t k;
	unsigned int dots;
	const uint8_t *last;
	size_t last_len;
};

static bool in_order(struct dir_at *d, const uint8_t *name, size_t len)
{
	size_t n = len < d->last_len ? len : d->last_len;
	int order = d->last ? memcmp(d->last, name, n) : -1;

	if (order > 0 || (!order && d->last_len >= len))
		return false;
	d->last = name;
	d->last_len = len;
	return true;
}

static bool same_entry(struct image *m, struct dir_at *d, uint64_t nid, unsigned int type,
		       const uint8_t *name, size_t len)
{
	const struct tree_node *c;

	if (!len || len > 255 || memchr(name, 0, len) || !in_order(d, name, len))
		return fail(m, "names that are wrong, or not in order");
	if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.')) {
		d->dots |= (unsigned int)len;
		return (nid == (len == 1 ? d->self : d->up) && type == 2) || fail(m, "dots");
	}
	if (d->k == d->dir->n_children)
		return fail(m, "a name too many");
	c = d->dir->child[d->k++];
	if (c->name_len != len || memcmp(c->name, name, len))
		return fail(m, "a name");
	if (type != type_of(c->inode->mode))
		return fail(m, "the type of an entry");
	return same_node(m, nid, c, d->self);
}

static bool same_block(struct image *m, struct dir_at *d, const uint8_t *p, uint64_t len)
{
	uint64_t first, i, n, name, next;

	if (len < 12)
		return fail(m, "a block of entries");
	first = num(p + 8, 2);
	n = first / 12;
	if (!n || first % 12 || first > len)
		return fail(m, "a block of entries");
	for (i = 0; i < n; i++) {
		name = num(p + 12 * i + 8, 2);
		next = i + 1 < n ? num(p + 12 * i + 20, 2) : len;
		if (name < first || next < name || next > len || p[12 * i + 11])
			return fail(m, "an entry");
		/* Behind the last name of a block there may be zeros. */
		if (i + 1 == n && len == BLOCK)
			next = name + strnlen((const char *)p + name, next - name);
		if (i + 1 == n && !zeros(p + next, len - next))
			return fail(m, "what fills a block up");
		if (!same_entry(m, d, num(p + 12 * i, 8), p[12 * i + 10], p + name, next - name))
			return false;
	}
	return true;
}

static bool same_dir(struct image *m, const struct info *i, const struct tree_node *n, uint64_t up)
{
	struct dir_at d = { .dir = n, .self = (i->at - m->meta) / 32 };
	uint64_t at;

	d.up = n->parent ? up : d.self;
	for (at = 0; at < i->size; at += BLOCK) {
		uint64_t len = i->size - at < BLOCK ? i->size - at : BLOCK;
		const uint8_t *p = content(m, i, at, len);

		if (!p || !same_block(m, &d, p, len))
			return fail(m, "a directory");
	}
	if (d.k != n->n_children || d.dots != 3)
		return fail(m, "a name that is missing");
	return true;
}

/**
 * eroread_compare() - read a disk and compare it with the tree that it was made of
 * @image: metadata of the disk
 * @bytes: of it, whole blocks
 * @root:  laid out: without whiteouts, links counted, contents placed
 *
 * Return: NULL, or the first difference
 */
const char *eroread_compare(const uint8_t *image, uint64_t bytes, const struct tree_node *root)
{
	struct image m = { .p = image, .bytes = bytes };
	uint64_t nid = read_super(&m);

	if (nid)
		same_node(&m, nid, root, nid);
	return m.why;
}
