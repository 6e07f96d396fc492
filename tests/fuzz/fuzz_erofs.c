// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of merging layers and of the EROFS builder: the first byte says how many
 * layers there are (1 to 4) and what the mount follows; each layer is made of the
 * input (maketree.c). The disk must read as the merged tree does.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "storage/merge.h"
#include "tests/fuzz/maketree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * LLVMFuzzerTestOneInput() - one stack
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	atomic_llong budget = 64 << 20;
	struct arena a = { .budget = &budget };
	struct fuzz f = { .data = data, .len = size };
	struct tree_node *root[4], *merged = NULL;
	struct overlay o = { 0 };
	struct merge m = { .o = &o, .root = root, .arena = &a };
	uint8_t how = (uint8_t)fuzz_take(&f, 1);
	struct err e = { 0 };
	size_t i;

	m.n = 1 + (how & 3);
	o.n_layers = m.n;
	o.follow = how & 4 ? OVERLAY_OFF : OVERLAY_ON;
	o.metacopy = how & 8 ? OVERLAY_OFF : OVERLAY_ON;
	for (i = 0; i < m.n; i++) {
		struct scan s = { .index = (uint16_t)i, .arena = &a };

		maketree_layer(&f, &s);
		root[i] = s.root;
		m.marks |= s.marks;
	}
	/* Without marks both ways of merging must do. */
	m.marks |= how & 16;
	if (!merge_layers(&m, &merged, &e))
		maketree_check(merged);
	else if (!e.text[0])
		abort();
	arena_done(&a);
	return 0;
}
