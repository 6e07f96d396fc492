/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROGRESS_H
#define LIB_PROGRESS_H

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

struct progress_wait;

void progress_begin(struct progress *p, const char *what, const char *unit, uint64_t total);
void progress_add(struct progress *p, uint64_t n);
void progress_end(struct progress *p);

struct progress_wait *progress_wait(const char *what);
void progress_wait_next(struct progress_wait *w, const char *what);
void progress_wait_end(struct progress_wait *w);

#endif
