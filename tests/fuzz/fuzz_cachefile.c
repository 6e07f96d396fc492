// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of the file of a cached layer: the input begins with the length of what a
 * layer is made of (maketree.c); that layer is packed, and the rest of the input are
 * patches of the file: 2 bytes of offset, 1 of length, and the bytes. Sizes and
 * checksum are made right again, so that all that comes behind them is reached.
 *
 * Without a patch the file must give the same layer; with one it must be refused, or
 * give a tree that can be merged, laid out and read back.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/mem.h"
#include "storage/cachefile.h"
#include "storage/merge.h"
#include "tests/fuzz/maketree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where the checksum is, and what it is of. */
#define SUM_AT 8
#define SUMMED_AT 16

static bool patch(struct fuzz *f, uint8_t *file, size_t len)
{
	bool any = false;

	while (f->len) {
		size_t at = fuzz_take(f, 2) % len, n = fuzz_take(f, 1);

		if (n > len - at)
			n = len - at;
		any |= fuzz_take_bytes(f, file + at, n) > 0;
	}
	return any;
}

static void sum(uint8_t *file, size_t len)
{
	uint64_t v = XXH3_64bits(file + SUMMED_AT, len - SUMMED_AT);

	memcpy(file + SUM_AT, &v, sizeof(v));
}

static void use(struct scan *s, struct arena *a)
{
	struct overlay o = { .n_layers = 1, .follow = OVERLAY_ON, .metacopy = OVERLAY_ON };
	struct merge m = { .o = &o, .root = &s->root, .n = 1, .marks = s->marks, .arena = a };
	struct tree_node *merged;
	struct err e = { 0 };

	if (!merge_layers(&m, &merged, &e))
		maketree_check(merged);
	else if (!e.text[0])
		abort();
}

/**
 * LLVMFuzzerTestOneInput() - one file
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	atomic_llong budget = 64 << 20;
	struct arena a = { .budget = &budget };
	struct fuzz f = { .data = data, .len = size }, part;
	struct scan s = { .arena = &a }, again = { .arena = &a };
	struct cache_key key = { .version = 1, .dev = 1, .ino = 2 };
	struct err e = { 0 };
	uint8_t *file;
	size_t len;
	int rc;

	part = f;
	part.len = fuzz_take(&f, 1) * 4;
	if (part.len > f.len)
		part.len = f.len;
	part.data = f.data;
	f.data += part.len;
	f.len -= part.len;
	maketree_layer(&part, &s);
	if (cachefile_pack(&s, &key, "/a/layer", (void **)&file, &len, &e) < 0)
		abort();
	if (patch(&f, file, len))
		sum(file, len);
	else if (cachefile_unpack(file, len, &key, &again, &e) < 0 || again.n_nodes != s.n_nodes ||
		 again.marks != s.marks)
		abort();
	again = (struct scan){ .arena = &a };
	rc = cachefile_unpack(file, len, &key, &again, &e);
	if (!rc)
		use(&again, &a);
	else if (!e.text[0] || again.root)
		abort();
	free(file);
	arena_done(&a);
	return 0;
}
