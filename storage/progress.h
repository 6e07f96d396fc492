/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_PROGRESS_H
#define STORAGE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct progress - how far long work is; zero-initialised it shows nothing
 * @what:  one word
 * @unit:  bytes are shown as MiB, everything else as a number
 */
struct progress {
	const char *what, *unit;
	uint64_t total, done;
	uint64_t start_ms, shown_ms;
	bool on, shown;
};

void progress_begin(struct progress *p, const char *what, const char *unit, uint64_t total);
void progress_add(struct progress *p, uint64_t n);
void progress_end(struct progress *p);

#endif
