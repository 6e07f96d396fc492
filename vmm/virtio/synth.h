/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_SYNTH_H
#define VMM_VIRTIO_SYNTH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/err.h"

/* Open files that one synthetic disk keeps. */
#define SYNTH_FILES_MAX 128

/* How long the broker may take for one file. */
#define SYNTH_BROKER_TIMEOUT_MS 30000

struct synth;

int synth_new(int table_fd, int broker_fd, uint32_t disk, struct synth **ret,
	      struct err *e);
void synth_free(struct synth *s);
uint64_t synth_bytes(const struct synth *s);
int synth_read(struct synth *s, uint64_t offset, const struct iovec *v, size_t n,
	       struct err *e);

#endif
