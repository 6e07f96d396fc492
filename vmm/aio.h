/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_AIO_H
#define VMM_AIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/err.h"
#include "lib/loop.h"

/* Requests that all users together may have under way, a power of two. */
#define AIO_DEPTH 1024

/* What is done in one go where this thread does it itself. */
#define AIO_ROUND 64
#define AIO_ROUND_BYTES (8ull << 20)

enum aio_kind {
	AIO_NOTHING,  /* comes back at once, after others had their turn */
	AIO_READ,     /* preadv2: @iov, @n_iov, @offset, @flags (RWF_*) */
	AIO_WRITE,    /* pwritev2: the same */
	AIO_SYNC,     /* fdatasync */
	AIO_ALLOCATE, /* fallocate: @flags (FALLOC_FL_*), @offset, @len */
};

/**
 * struct aio_op - an operation on a descriptor
 * @iov:     borrowed until the operation comes back, as the buffers are
 * @patient: not to be tried without waiting first: for one that came back with -EAGAIN
 * @user:    that gets it back
 * @result:  as the system call returns it, or minus errno
 * @next:    in the list that aio_collect() returns
 */
struct aio_op {
	enum aio_kind kind;
	int fd;
	int flags;
	unsigned int n_iov;
	const struct iovec *iov;
	uint64_t offset;
	uint64_t len;
	bool patient;
	struct aio_user *user;
	int result;
	struct aio_op *next;
};

/**
 * struct aio_user - somebody who has operations carried out; embedded
 * @done:   operations came back, or aio_hold() succeeds again: I/O thread, outside of
 *          calls of this user
 * @hungry: aio_hold() failed
 * the rest is of vmm/aio.c
 */
struct aio_user {
	void (*done)(struct aio_user *u);
	bool hungry;
	bool listed;
	struct aio_op *first, *last;
	struct aio_user *next_due, *next;
};

struct aio;

int aio_new(struct loop *loop, bool use_ring, struct aio **ret, struct err *e);
void aio_free(struct aio *a);
bool aio_has_ring(const struct aio *a);
void aio_join(struct aio *a, struct aio_user *u);
void aio_leave(struct aio *a, struct aio_user *u);
bool aio_hold(struct aio *a, struct aio_user *u);
void aio_release(struct aio *a);
unsigned int aio_held(const struct aio *a);
void aio_start(struct aio *a, struct aio_user *u, struct aio_op *op);
void aio_submit(struct aio *a, struct aio_user *u);
struct aio_op *aio_collect(struct aio *a, struct aio_user *u);
int aio_wait(struct aio *a, int timeout_ms, struct err *e);

#endif
