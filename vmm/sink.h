/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SINK_H
#define VMM_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one guest may write to its console in all; host disk or memory pays. */
#define SINK_MAX_BYTES (8u << 20)

/**
 * struct sink - console output of a guest; one thread at a time
 * @fd:      file or pipe, owned
 * @written: bytes
 * @full:    SINK_MAX_BYTES were reached and that was said
 */
struct sink {
	int fd;
	uint64_t written;
	bool full;
};

void sink_write(struct sink *s, const void *data, size_t len);
void sink_done(struct sink *s);

#endif
