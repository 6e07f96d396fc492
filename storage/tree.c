// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The tree of a layer, and later of the merged stack, lives in arenas: tens of
 * thousands of small objects that die together. All arenas of a map draw on one
 * budget, so that an image cannot make the host's memory grow without bound.
 */
#include "storage/tree.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A huge page: page faults cost more than all else that an arena does. */
#define CHUNK_BYTES (2u << 20)

struct arena_chunk {
	struct arena_chunk *next;
	max_align_t start[];
};

/**
 * tree_big_alloc() - memory that comes in huge pages where the host has them
 * @bytes: not worth it below CHUNK_BYTES
 *
 * Return: not zeroed, for free(); NULL when memory is short
 */
void *tree_big_alloc(size_t bytes)
{
	void *p;

	bytes = (bytes + CHUNK_BYTES - 1) & ~(size_t)(CHUNK_BYTES - 1);
	p = aligned_alloc(CHUNK_BYTES, bytes);
	if (p)
		madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

/**
 * arena_alloc() - zeroed memory, aligned to 8
 *
 * Return: NULL when memory is short or the budget is spent; else valid until
 * arena_done()
 */
void *arena_alloc(struct arena *a, size_t bytes)
{
	char *p;

	if (bytes > TREE_BYTES_MAX)
		return NULL;
	bytes = (bytes + 7) & ~(size_t)7;
	if (bytes > a->room - a->used) {
		size_t want = bytes + sizeof(struct arena_chunk);
		struct arena_chunk *c;

		want = (want + CHUNK_BYTES - 1) & ~(size_t)(CHUNK_BYTES - 1);
		if (atomic_fetch_sub(a->budget, (long long)want) < (long long)want)
			return NULL;
		c = tree_big_alloc(want);
		if (!c)
			return NULL;
		c->next = a->chunks;
		a->chunks = c;
		a->used = 0;
		a->room = want - sizeof(*c);
	}
	p = (char *)a->chunks->start + a->used;
	a->used += bytes;
	memset(p, 0, bytes);
	return p;
}

/**
 * arena_text() - a copy with a NUL behind it
 *
 * Return: as arena_alloc()
 */
char *arena_text(struct arena *a, const void *text, size_t len)
{
	char *p = arena_alloc(a, len + 1);

	if (p)
		memcpy(p, text, len);
	return p;
}

/**
 * arena_done() - free everything that came from the arena
 */
void arena_done(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;

		a->chunks = c->next;
		free(c);
	}
	a->used = 0;
	a->room = 0;
}

/**
 * tree_name() - give a node its name
 * @name: NUL-terminated, borrowed for the node's life
 * @len:  at most 255
 */
void tree_name(struct tree_node *n, const char *name, size_t len)
{
	uint64_t key = 0;

	memcpy(&key, name, len < 8 ? len : 8);
	n->key = be64toh(key);
	n->name = name;
	n->name_len = (uint8_t)len;
}

/**
 * tree_compare() - order of two names, by bytes
 */
int tree_compare(const struct tree_node *a, const struct tree_node *b)
{
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	if (a->name_len < 8 || b->name_len < 8)
		return (int)a->name_len - (int)b->name_len;
	return strcmp(a->name + 8, b->name + 8);
}

static int compare_p(const void *a, const void *b)
{
	return tree_compare(*(struct tree_node *const *)a, *(struct tree_node *const *)b);
}

/**
 * tree_sort() - put a directory's children in order
 */
void tree_sort(struct tree_node *dir)
{
	if (dir->n_children > 1)
		qsort(dir->child, dir->n_children, sizeof(struct tree_node *), compare_p);
}

/**
 * tree_child() - find a name in a sorted directory
 *
 * Return: NULL when it is not there; it may be a whiteout
 */
struct tree_node *tree_child(const struct tree_node *dir, const char *name)
{
	return tree_child_n(dir, name, strlen(name));
}

/**
 * tree_child_n() - find a name that has no NUL
 *
 * Return: as tree_child()
 */
struct tree_node *tree_child_n(const struct tree_node *dir, const char *name, size_t len)
{
	struct tree_node wanted = { 0 }, *w = &wanted, **hit;
	char text[256];

	if (len > 255 || !dir->n_children)
		return NULL;
	memcpy(text, name, len);
	text[len] = 0;
	tree_name(w, text, len);
	hit = bsearch(&w, dir->child, dir->n_children, sizeof(w), compare_p);
	return hit ? *hit : NULL;
}

/**
 * tree_path() - path of a node from the root, without a leading slash
 * @dst: "." for the root
 *
 * Return: 0 or -ENAMETOOLONG
 */
int tree_path(const struct tree_node *n, char dst[TREE_PATH_BYTES])
{
	size_t at = TREE_PATH_BYTES - 1;

	if (!n->parent) {
		memcpy(dst, ".", 2);
		return 0;
	}
	dst[at] = 0;
	for (; n->parent; n = n->parent) {
		if ((size_t)n->name_len + 1 > at)
			return -ENAMETOOLONG;
		if (dst[at])
			dst[--at] = '/';
		at -= n->name_len;
		memcpy(dst + at, n->name, n->name_len);
	}
	memmove(dst, dst + at, TREE_PATH_BYTES - at);
	return 0;
}
