/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_NUM_H
#define LIB_NUM_H

#include <stdint.h>

/* A sum of numbers that others have made, which may not wrap: UINT64_MAX at most. */
static inline uint64_t num_sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

#endif
