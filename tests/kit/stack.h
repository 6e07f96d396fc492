/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_STACK_H
#define TESTS_KIT_STACK_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct stack_made - what stack_make() made, for people
 * @layers:  of the stack, the upper one included
 * @lower:   of them neither upper nor data-only
 * @entries: that were made in them, and operations on the merged tree
 * @kind:    of stack, such as "written"
 */
struct stack_made {
	unsigned int layers, lower, entries;
	const char *kind;
};

void stack_make(uint64_t seed, const char *point, const char *base, struct stack_made *ret);

#endif
