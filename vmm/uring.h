/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_URING_H
#define VMM_URING_H

#include <stdbool.h>

#include "lib/err.h"

/* Operations that one io_uring_enter hands to the kernel at most. */
#define URING_BATCH 128

/* Kernel threads that may wait for storage on behalf of the monitor at a time. */
#define URING_WORKERS 16

struct aio_op;
struct uring;

int uring_new(unsigned int depth, struct uring **ret, struct err *e);
void uring_free(struct uring *u);
int uring_fd(const struct uring *u);
bool uring_add(struct uring *u, struct aio_op *op);
int uring_submit(struct uring *u);
struct aio_op *uring_peek(struct uring *u, int *ret_result);
void uring_pop(struct uring *u);

#endif
