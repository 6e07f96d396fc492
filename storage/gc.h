/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_GC_H
#define STORAGE_GC_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

/**
 * struct gc - one run
 * @dry:  look, remove nothing
 * @say:  told of each thing that nobody uses any more, before it is removed
 * @bytes: that it takes on disks or in memory; 0 where it cannot be told
 * @failed: how many could not be removed
 */
struct gc {
	bool dry;
	void (*say)(struct gc *g, const char *kind, const char *what, uint64_t bytes,
		    const struct err *failure);
	void *arg;
	uint64_t found, failed, bytes;
};

/**
 * struct gc_collector - finds one kind of what crashes leave behind
 * @run: calls gc_found() for each; must not touch what a living process uses
 */
struct gc_collector {
	const char *kind, *help;
	int (*run)(struct gc *g, struct err *e);
};

/* Removes one thing: 0; -EBUSY: it is used after all; minus errno. */
typedef int gc_remove_fn(void *arg, struct err *e);

void gc_found(struct gc *g, const char *kind, const char *what, uint64_t bytes,
	      gc_remove_fn *remove, void *arg);
int gc_run(struct gc *g, struct err *e);
const struct gc_collector *gc_collectors(void);
void gc_tests(void);

#endif
