// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Objects of a delta that have several names: the guest gives each an id, and what comes
 * later with that id is one more name of it. The table knows where the first name is. It
 * is the only memory of a write-back that grows with what the guest brings: bounded.
 */
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/writeback.h"

/* What the table may take; what a node of tsearch(3) takes besides. */
#define LINK_BYTES_MAX (64u << 20)
#define LINK_BYTES 64

/**
 * struct known - an object that may get more names
 * @path: where its first one is, from the root, behind this; empty: it was left out
 */
struct known {
	uint64_t id;
	char path[];
};

static int by_id(const void *x, const void *y)
{
	const struct known *a = x, *b = y;

	return a->id < b->id ? -1 : a->id > b->id;
}

/**
 * delta_links_add() - an object may get more names; an id that comes again means the newer one
 * @dir:  path of its directory from the root, with a slash at its end, or empty
 * @name: in it; empty, as @dir, when the object was left out
 *
 * Return: 0; -E2BIG, -ENOMEM
 */
int delta_links_add(struct delta_links *l, uint64_t id, const char *dir, const char *name,
		    struct err *e)
{
	size_t bytes = sizeof(struct known) + strlen(dir) + strlen(name) + 1;
	struct known *k, **at;

	l->bytes += bytes + LINK_BYTES;
	if (l->bytes > LINK_BYTES_MAX)
		return err_set(e, E2BIG, "too many files with several names");
	k = malloc(bytes);
	if (!k)
		return err_set(e, ENOMEM, "out of memory");
	k->id = id;
	snprintf(k->path, bytes - sizeof(*k), "%s%s", dir, name);
	at = tsearch(k, &l->tree, by_id);
	if (!at) {
		free(k);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (*at != k) {
		free(*at);
		*at = k;
	}
	return 0;
}

/**
 * delta_links_find() - where the first name of an object is
 *
 * Return: its path from the root, borrowed, empty if the object was left out; NULL for an
 * id that was never added
 */
const char *delta_links_find(const struct delta_links *l, uint64_t id)
{
	struct known key = { .id = id }, *const *at = tfind(&key, &l->tree, by_id);

	return at ? (*at)->path : NULL;
}

/**
 * delta_links_done() - free the table; fine when it is all zero
 */
void delta_links_done(struct delta_links *l)
{
	tdestroy(l->tree, free);
	*l = (struct delta_links){ 0 };
}
