// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The monitor's io_uring, and the one place that knows liburing. vmm/aio.c is
 * its only caller.
 *
 * io_uring does work that no seccomp filter sees, so it is cut down before the
 * guest runs. Stages:
 *
 *   1. The ring is made disabled (IORING_SETUP_R_DISABLED), before the filter.
 *   2. It is restricted for good: to the operations that disks need, on
 *      descriptors that are open, with no registration of anything.
 *   3. It is enabled. From now on only io_uring_enter is called, which the filter
 *      allows to the I/O thread (vmm/filter.c).
 *
 * Where a kernel knows less than that, there is no ring (-ENOSYS, -EINVAL, -EPERM)
 * and vmm/aio.c does without.
 *
 * Completions are announced by the ring's descriptor becoming readable. With
 * IORING_SETUP_COOP_TASKRUN the kernel finishes operations when this thread enters
 * it anyway, so no interrupt is sent to it; where the kernel is too old for that, it
 * does without.
 *
 * Source: io_uring_setup(2), io_uring_register(2), io_uring_enter(2).
 */
#include "vmm/uring.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>

#include "lib/mem.h"
#include "vmm/aio.h"

struct uring {
	struct io_uring ring;
};

static const uint8_t allowed_ops[] = {
	IORING_OP_NOP, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE,
};

static int make(struct uring *u, unsigned int depth, unsigned int flags)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | flags,
		.cq_entries = depth,
	};

	return io_uring_queue_init_params(URING_BATCH, &u->ring, &p);
}

static int restrict_and_enable(struct uring *u, struct err *e)
{
	struct io_uring_restriction r[ARRAY_LEN(allowed_ops) + 1];
	unsigned int workers[2] = { URING_WORKERS, 1 };
	size_t i;
	int rc;

	/* Since Linux 5.15; before it the kernel has a limit of its own. */
	io_uring_register_iowq_max_workers(&u->ring, workers);
	memset(r, 0, sizeof(r));
	for (i = 0; i < ARRAY_LEN(allowed_ops); i++) {
		r[i].opcode = IORING_RESTRICTION_SQE_OP;
		r[i].sqe_op = allowed_ops[i];
	}
	r[i].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[i].sqe_flags = IOSQE_ASYNC;
	rc = io_uring_register_restrictions(&u->ring, r, ARRAY_LEN(r));
	if (rc >= 0)
		rc = io_uring_enable_rings(&u->ring);
	errno = -rc;
	return rc < 0 ? err_sys(e, "io_uring_register: restrictions") : 0;
}

/**
 * uring_new() - make a ring that can do nothing but disk operations
 * @depth: operations under way at a time, at most; a power of two
 * @ret:   owned by the caller, uring_free()
 *
 * Return: 0; minus errno where the kernel has none for us
 * Context: the I/O thread, before its filter; no other thread may use the ring
 */
int uring_new(unsigned int depth, struct uring **ret, struct err *e)
{
	struct uring *u = mem_new(struct uring);
	int rc;

	if (!u)
		return err_set(e, ENOMEM, "out of memory");
	rc = make(u, depth, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER);
	if (rc == -EINVAL)
		rc = make(u, depth, 0);
	if (rc < 0) {
		free(u);
		errno = -rc;
		return err_sys(e, "io_uring_setup");
	}
	rc = restrict_and_enable(u, e);
	if (rc < 0) {
		uring_free(u);
		return rc;
	}
	*ret = u;
	return 0;
}

/**
 * uring_free() - end; NULL is fine
 * Context: nothing is under way
 */
void uring_free(struct uring *u)
{
	if (!u)
		return;
	io_uring_queue_exit(&u->ring);
	free(u);
}

/**
 * uring_fd() - descriptor that is readable while there are completions; borrowed
 */
int uring_fd(const struct uring *u)
{
	return u->ring.ring_fd;
}

/**
 * uring_add() - describe an operation to the kernel; uring_submit() makes it begin
 * @op: borrowed until uring_peek() gives it back
 *
 * Return: false if there is no room before the next uring_submit()
 *
 * #syscalls none
 */
bool uring_add(struct uring *u, struct aio_op *op)
{
	struct io_uring_sqe *q = io_uring_get_sqe(&u->ring);

	if (!q)
		return false;
	switch (op->kind) {
	case AIO_NOTHING:
		io_uring_prep_nop(q);
		break;
	case AIO_READ:
		io_uring_prep_readv2(q, op->fd, op->iov, op->n_iov, op->offset, op->flags);
		break;
	case AIO_WRITE:
		io_uring_prep_writev2(q, op->fd, op->iov, op->n_iov, op->offset, op->flags);
		break;
	case AIO_SYNC:
		io_uring_prep_fsync(q, op->fd, IORING_FSYNC_DATASYNC);
		break;
	case AIO_ALLOCATE:
		io_uring_prep_fallocate(q, op->fd, op->flags, (off_t)op->offset, (off_t)op->len);
		break;
	}
	if (op->patient)
		q->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(q, op);
	return true;
}

/**
 * uring_submit() - begin what was added, by one system call
 *
 * Return: 0; -EAGAIN or -EBUSY if the kernel is short of something: the rest waits
 * for the next call
 * Context: I/O thread
 *
 * #syscalls io_uring_enter
 */
int uring_submit(struct uring *u)
{
	while (io_uring_sq_ready(&u->ring)) {
		int rc = io_uring_submit(&u->ring);

		if (rc < 0 && rc != -EINTR)
			return rc;
		if (!rc)
			return -EAGAIN;
	}
	return 0;
}

/**
 * uring_peek() - the oldest completion
 * @ret_result: of the operation, as the system call of its kind returns it, or minus errno
 *
 * Return: the operation, until uring_pop() is called; NULL if there is none
 * Context: I/O thread
 *
 * #syscalls io_uring_enter
 */
struct aio_op *uring_peek(struct uring *u, int *ret_result)
{
	struct io_uring_cqe *c = NULL;

	if (io_uring_peek_cqe(&u->ring, &c) < 0 || !c)
		return NULL;
	*ret_result = c->res;
	return io_uring_cqe_get_data(c);
}

/**
 * uring_pop() - take the completion that uring_peek() showed
 *
 * #syscalls none
 */
void uring_pop(struct uring *u)
{
	io_uring_cq_advance(&u->ring, 1);
}
