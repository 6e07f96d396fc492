/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_SYNTH_H
#define VMM_VIRTIO_SYNTH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Open files that one synthetic disk keeps; more than it has requests under way. */
#define SYNTH_FILES_MAX 128

/* How long the broker may take for one file. */
#define SYNTH_BROKER_TIMEOUT_MS 30000

struct synth;

/**
 * struct synth_piece - where a stretch of the disk lies
 * @len:    bytes
 * @src:    its content, in memory that stays; NULL: see @fd
 * @fd:     file that it is in, borrowed until synth_put(); -1: nowhere, it is zeros.
 *          What lies behind the file's end is zeros, too
 * @offset: in the file, bytes
 * @slot:   for synth_put()
 */
struct synth_piece {
	uint64_t len;
	const uint8_t *src;
	int fd;
	uint64_t offset;
	int16_t slot;
};

int synth_new(int table_fd, int broker_fd, uint32_t disk, struct synth **ret,
	      struct err *e);
void synth_free(struct synth *s);
uint64_t synth_bytes(const struct synth *s);
int synth_get(struct synth *s, uint64_t offset, uint64_t len, struct synth_piece *ret,
	      struct err *e);
void synth_put(struct synth *s, const struct synth_piece *p);

#endif
