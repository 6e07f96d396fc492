// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Attributes of files on an EROFS disk. Behind an inode are a head, the numbers of
 * attributes that it shares with others, and those that are its own. What is shared
 * lies once, in an area of its own behind the other metadata; a number is the offset
 * there, in units of 4 bytes. Labels and ACLs are much the same on all files, so with
 * SELinux most of what inodes take is shared.
 *
 * Before the inodes get their places, all attributes are counted
 * (erofs_xattrs_count()); then it is known which are worth sharing: those that take
 * less if they are there once, with 4 bytes for each that refers to it.
 *
 * Limits, refused by name: attributes of an inode above what its 16-bit count can say
 * (256 KiB), namespaces that the format has no number for. At most 255 are shared by
 * an inode; what is beyond is its own.
 *
 * Source: linux Documentation/filesystems/erofs.rst; fs/erofs/erofs_fs.h of Linux 6.1
 */
#include "storage/erofs-xattr.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/mem.h"
#include "lib/str.h"

#define HEAD_BYTES 12u
#define ENTRY_BYTES 4u
#define SHARED_MAX 255u

struct xattr_body_head {
	uint32_t reserved;
	uint8_t shared_count, reserved2[7];
};
static_assert(sizeof(struct xattr_body_head) == HEAD_BYTES, "head of attributes");

struct xattr_head {
	uint8_t name_len, index;
	uint16_t value_len;
};
static_assert(sizeof(struct xattr_head) == ENTRY_BYTES, "attribute");

/* Namespaces and their numbers; the whole name of an ACL is its namespace. */
static const struct {
	const char *prefix;
	uint8_t index;
	bool whole;
} namespaces[] = {
	{ "user.", 1, false },
	{ "system.posix_acl_access", 2, true },
	{ "system.posix_acl_default", 3, true },
	{ "trusted.", 4, false },
	{ "security.", 6, false },
};

/* The number of a name's namespace and the rest of it; 0 when there is none. */
static uint8_t split_name(const char *name, const char **ret_rest)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(namespaces); i++) {
		const char *p = namespaces[i].prefix;
		const char *rest = name + strlen(p);

		if (!str_starts(name, p) || (namespaces[i].whole ? *rest : !*rest))
			continue;
		*ret_rest = rest;
		return namespaces[i].index;
	}
	return 0;
}

/* Kept out of the recursion's stack frames, which a hostile image can pile up. */
__attribute__((noinline)) static int refuse(const struct tree_inode *i, struct err *e, const char *why)
{
	char path[TREE_PATH_BYTES], shown[400];

	if (tree_path(i->node, path) < 0)
		str_copy(path, sizeof(path), "(long path)");
	str_quote(shown, sizeof(shown), path);
	return err_set(e, EOPNOTSUPP, "%s: %s", shown, why);
}

__attribute__((noinline)) static int refuse_name(const struct tree_inode *i, const char *name,
						 struct err *e)
{
	char why[400], shown[300];

	str_quote(shown, sizeof(shown), name);
	snprintf(why, sizeof(why), "attribute %s cannot be put onto an EROFS disk: remove it from the image", shown);
	return refuse(i, e, why);
}

static size_t entry_bytes(const struct tree_xattr *x, const char *rest)
{
	return (ENTRY_BYTES + strlen(rest) + x->len + 3) & ~(size_t)3;
}

/* ---- counting ------------------------------------------------------------------------ */

static bool same(const struct tree_xattr *a, const struct tree_xattr *b)
{
	return a->len == b->len && !memcmp(a->value, b->value, a->len) && !strcmp(a->name, b->name);
}

static uint32_t find(const struct erofs_xattrs *t, uint64_t hash, const struct tree_xattr *x)
{
	uint32_t at = (uint32_t)hash & (t->room - 1);

	for (; t->slot[at]; at = (at + 1) & (t->room - 1)) {
		const struct erofs_shared *s = &t->entry[t->slot[at] - 1];

		if (x && s->hash == hash && same(s->x, x))
			break;
	}
	return at;
}

/* The table is at most half full. */
static int grow(struct erofs_xattrs *t, struct err *e)
{
	struct erofs_shared *entry;
	uint32_t i, room = t->room ? 2 * t->room : 256;
	uint32_t *slot;

	if (2 * t->n < t->room)
		return 0;
	entry = realloc(t->entry, (size_t)room / 2 * sizeof(*entry));
	if (!entry)
		return err_set(e, ENOMEM, "out of memory");
	t->entry = entry;
	slot = mem_new_n(uint32_t, room);
	if (!slot)
		return err_set(e, ENOMEM, "out of memory");
	free(t->slot);
	t->slot = slot;
	t->room = room;
	for (i = 0; i < t->n; i++)
		slot[find(t, t->entry[i].hash, NULL)] = i + 1;
	return 0;
}

/**
 * erofs_xattrs_count() - learn the attributes of an inode, once
 * @i: its attributes get the numbers of their entries
 *
 * Return: 0 or -ENOMEM
 */
int erofs_xattrs_count(struct erofs_xattrs *t, struct tree_inode *i, struct err *e)
{
	struct tree_xattr *x;

	for (x = i->xattrs; x; x = x->next) {
		uint64_t hash = XXH3_64bits_withSeed(x->value, x->len,
						     XXH3_64bits(x->name, strlen(x->name)));
		uint32_t at;
		int rc = grow(t, e);

		if (rc < 0)
			return rc;
		at = find(t, hash, x);
		if (!t->slot[at]) {
			t->entry[t->n] = (struct erofs_shared){ .x = x, .hash = hash };
			t->slot[at] = ++t->n;
		}
		x->entry = t->slot[at] - 1;
		t->entry[x->entry].count++;
	}
	return 0;
}

/**
 * erofs_xattrs_share() - decide what is shared, when all are counted
 */
void erofs_xattrs_share(struct erofs_xattrs *t)
{
	uint32_t i;

	for (i = 0; i < t->n; i++) {
		struct erofs_shared *s = &t->entry[i];
		const char *rest = "";
		uint64_t bytes;

		split_name(s->x->name, &rest);
		bytes = entry_bytes(s->x, rest);
		s->at = EROFS_NOT_SHARED;
		if (bytes * (s->count - 1) <= 4ull * s->count || t->bytes / 4 + bytes > UINT32_MAX / 2)
			continue;
		s->at = (uint32_t)(t->bytes / 4);
		t->bytes += bytes;
	}
}

/* ---- placing and writing -------------------------------------------------------------- */

/* The next of an inode's attributes that is, or is not, among its shared ones. */
static const struct tree_xattr *next(const struct erofs_xattrs *t, const struct tree_xattr *x,
				     bool shared, uint32_t *n_shared)
{
	for (; x; x = x->next) {
		bool is = t->entry[x->entry].at != EROFS_NOT_SHARED && *n_shared < SHARED_MAX;

		*n_shared += is;
		if (is == shared)
			break;
	}
	return x;
}

/**
 * erofs_xattrs_size() - how much an inode's attributes take behind it
 * @i: gets xattr_bytes
 *
 * Return: 0; -EOPNOTSUPP for what the format does not have
 */
int erofs_xattrs_size(const struct erofs_xattrs *t, struct tree_inode *i, struct err *e)
{
	const struct tree_xattr *x;
	uint32_t n_shared = 0;
	uint64_t bytes = 0;
	const char *rest;

	i->xattr_bytes = 0;
	for (x = i->xattrs; x; x = x->next)
		if (!split_name(x->name, &rest) || strlen(rest) > UINT8_MAX)
			return refuse_name(i, x->name, e);
	for (x = next(t, i->xattrs, false, &n_shared); x; x = next(t, x->next, false, &n_shared)) {
		split_name(x->name, &rest);
		bytes += entry_bytes(x, rest);
	}
	bytes += 4ull * n_shared;
	/* The count on disk is 1 for the head and 1 for each 4 bytes behind it. */
	if (bytes / 4 + 1 > UINT16_MAX)
		return refuse(i, e, "more than 256 KiB of attributes cannot be put onto an EROFS disk");
	i->xattr_bytes = bytes ? (uint32_t)bytes + HEAD_BYTES : 0;
	return 0;
}

/**
 * erofs_xattrs_units() - the count in the inode
 */
uint16_t erofs_xattrs_units(const struct tree_inode *i)
{
	return (uint16_t)(i->xattr_bytes ? (i->xattr_bytes - HEAD_BYTES) / 4 + 1 : 0);
}

static size_t write_entry(uint8_t *dst, const struct tree_xattr *x)
{
	const char *rest = "";
	struct xattr_head h = {
		.index = split_name(x->name, &rest),
		.value_len = htole16((uint16_t)x->len),
	};

	h.name_len = (uint8_t)strlen(rest);
	memcpy(dst, &h, sizeof(h));
	memcpy(dst + sizeof(h), rest, h.name_len);
	memcpy(dst + sizeof(h) + h.name_len, x->value, x->len);
	return entry_bytes(x, rest);
}

/**
 * erofs_xattrs_write() - what is behind an inode
 * @dst: @i->xattr_bytes, zeroed
 */
void erofs_xattrs_write(const struct erofs_xattrs *t, const struct tree_inode *i, uint8_t *dst)
{
	struct xattr_body_head h = { 0 };
	const struct tree_xattr *x;
	uint32_t n = 0, id;
	uint8_t *at = dst + HEAD_BYTES;

	for (x = next(t, i->xattrs, true, &n); x; x = next(t, x->next, true, &n)) {
		id = htole32(t->entry[x->entry].at);
		memcpy(at, &id, sizeof(id));
		at += sizeof(id);
	}
	h.shared_count = (uint8_t)n;
	memcpy(dst, &h, sizeof(h));
	n = 0;
	for (x = next(t, i->xattrs, false, &n); x; x = next(t, x->next, false, &n))
		at += write_entry(at, x);
}

/**
 * erofs_xattrs_write_shared() - the shared area
 * @dst: @t->bytes, zeroed
 */
void erofs_xattrs_write_shared(const struct erofs_xattrs *t, uint8_t *dst)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		if (t->entry[i].at != EROFS_NOT_SHARED)
			write_entry(dst + 4ull * t->entry[i].at, t->entry[i].x);
}

/**
 * erofs_xattrs_done() - free the table, not the attributes
 */
void erofs_xattrs_done(struct erofs_xattrs *t)
{
	free(t->entry);
	free(t->slot);
	*t = (struct erofs_xattrs){ 0 };
}
