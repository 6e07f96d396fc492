/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_COMPARE_H
#define STORAGE_COMPARE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/progress.h"

/**
 * struct compare - two trees
 * @entries:  result: names in the first tree, its root included
 * @bytes:    result: of content that was compared
 * @differ:   result: entries that differ
 * @first:    result: the first of them, for people
 * @progress: by entries; may be NULL
 */
struct compare {
	uint64_t entries, bytes, differ;
	char first[512];
	struct progress *progress;
	void *links_a, *links_b;
};

int compare_trees(struct compare *c, int a_fd, int b_fd, struct err *e);

#endif
