/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PUMP_H
#define LIB_PUMP_H

#include "lib/err.h"
#include "lib/loop.h"

/* Most bytes of one chunk; also what waits for a slow reader, per direction. */
#define PUMP_CHUNK_BYTES 16384u

struct pump;

/* Called when the connection has ended and its pump is freed; may not use it. */
typedef void pump_fn(void *arg);

int pump_new(struct loop *l, int tcp, int link, pump_fn *ended, void *arg, struct pump **ret,
	     struct err *e);
void pump_start(struct pump *p);
void pump_free(struct pump *p);
void pump_reset(int *tcp);

#endif
