/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_OPT_H
#define LIB_OPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/err.h"

/* Most values that an option of kind OPT_STRS collects. */
#define OPT_STRS_MAX 64

/* Values of an option that may be given several times; borrowed from argv. */
struct opt_strs {
	const char *v[OPT_STRS_MAX];
	size_t n;
};

enum opt_kind {
	OPT_KIND_END, OPT_KIND_FLAG, OPT_KIND_STR, OPT_KIND_U64, OPT_KIND_STRS, OPT_KIND_MAYBE_U64
};

/**
 * struct opt - one row of a command's option table
 * @name:   long name without dashes
 * @letter: short name, 0 for none
 * @arg:    what the value is called in --help; NULL for a flag
 * @help:   one line
 */
struct opt {
	enum opt_kind kind;
	const char *name;
	char letter;
	const char *arg;
	const char *help;
	void *target;
};

/* The macros check the type of the target. */
#define OPT_TARGET(t, p) ((void *)(1 ? (p) : (t *)0))
#define OPT_FLAG(l, n, p, h) { OPT_KIND_FLAG, n, l, NULL, h, OPT_TARGET(bool, p) }
#define OPT_STR(l, n, p, a, h) { OPT_KIND_STR, n, l, a, h, OPT_TARGET(const char *, p) }
#define OPT_U64(l, n, p, a, h) { OPT_KIND_U64, n, l, a, h, OPT_TARGET(uint64_t, p) }
/* The number may be left out: 1 then. */
#define OPT_MAYBE_U64(l, n, p, a, h) \
	{ OPT_KIND_MAYBE_U64, n, l, a, h, OPT_TARGET(uint64_t, p) }
#define OPT_STRS(l, n, p, a, h) { OPT_KIND_STRS, n, l, a, h, OPT_TARGET(struct opt_strs, p) }
#define OPT_END { OPT_KIND_END, NULL, 0, NULL, NULL, NULL }

int opt_parse(const struct opt *table, int argc, char **argv, int *ret_first,
	      struct err *e);
void opt_help(FILE *f, const struct opt *table);

#endif
