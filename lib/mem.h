/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_MEM_H
#define LIB_MEM_H

#include <stdlib.h>

/* Frees what the annotated pointer points to; used through _cleanup_free_. */
static inline void mem_free_p(void *p)
{
	free(*(void **)p);
}

/* A local pointer from malloc() that is freed when its scope ends. */
#define _cleanup_free_ __attribute__((cleanup(mem_free_p)))

/* Gives the pointer away: the variable becomes NULL. */
#define mem_steal(p) ({ __typeof__(p) stolen_ = (p); (p) = NULL; stolen_; })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Zeroed object or array; NULL when memory is short or the product wraps. */
#define mem_new(type) ((type *)calloc(1, sizeof(type)))
#define mem_new_n(type, n) ((type *)calloc((n), sizeof(type)))

#endif
