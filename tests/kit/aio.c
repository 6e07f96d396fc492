// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Between vmm/aio.c and the kernel, at link time (UNIT_WRAPPED in tests/tests.mk):
 * makes operations come back with another result than they had, holds them back, and
 * counts them; the same for both engines. An operation whose result is changed has
 * been carried out wholly; to its user it looks as if it had not.
 */
#include "tests/kit/aio.h"

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/uring.h"

struct aio_op *__real_uring_peek(struct uring *u, int *ret_result);
void __real_uring_pop(struct uring *u);
bool __real_uring_add(struct uring *u, struct aio_op *op);
int __real_uring_submit(struct uring *u);
ssize_t __real_preadv64v2(int fd, const struct iovec *v, int n, off_t offset, int flags);
ssize_t __real_pwritev64v2(int fd, const struct iovec *v, int n, off_t offset, int flags);
int __real_fdatasync(int fd);
int __real_fallocate64(int fd, int mode, off_t offset, off_t len);

struct aio_op *__wrap_uring_peek(struct uring *u, int *ret_result);
void __wrap_uring_pop(struct uring *u);
bool __wrap_uring_add(struct uring *u, struct aio_op *op);
int __wrap_uring_submit(struct uring *u);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int n, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *v, int n, off_t offset, int flags);
int __wrap_fdatasync(int fd);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len);

static struct {
	enum aio_kind kind;
	unsigned int skip, times, fired;
	int result;
} fault;

static bool held;
static struct uring *held_ring;	/* that has operations which were held back */
static unsigned int submits, counts[AIO_ALLOCATE + 1];
static int flags_of[AIO_ALLOCATE + 1];
static const struct aio_op *shown;	/* uring_peek() without uring_pop() */
static int shown_result;

/**
 * kit_aio_fault() - give operations another result
 * @kind:   of them
 * @nth:    the first one from now on that is meant, 1 is the next
 * @times:  how many; 0: none
 * @result: minus errno, or a number of bytes that is not exceeded
 */
void kit_aio_fault(enum aio_kind kind, unsigned int nth, unsigned int times, int result)
{
	fault.kind = kind;
	fault.skip = nth - 1;
	fault.times = times;
	fault.result = result;
	fault.fired = 0;
}

/**
 * kit_aio_fired() - how many results were changed
 */
unsigned int kit_aio_fired(void)
{
	return fault.fired;
}

/**
 * kit_aio_hold() - io_uring only: let nothing begin until it is called with false
 */
void kit_aio_hold(bool on)
{
	held = on;
	if (!on && held_ring)
		__real_uring_submit(held_ring);
	held_ring = NULL;
}

/**
 * kit_aio_submits() - io_uring_enter calls that began something, since the last call of this
 */
unsigned int kit_aio_submits(void)
{
	unsigned int n = submits;

	submits = 0;
	return n;
}

/**
 * kit_aio_count() - operations of a kind so far
 */
unsigned int kit_aio_count(enum aio_kind kind)
{
	return counts[kind];
}

/**
 * kit_aio_flags() - of the latest operation of a kind
 */
int kit_aio_flags(enum aio_kind kind)
{
	return flags_of[kind];
}

static void count(enum aio_kind kind, int flags)
{
	counts[kind]++;
	flags_of[kind] = flags;
}

static ssize_t changed(enum aio_kind kind, ssize_t result)
{
	if (kind != fault.kind || !fault.times)
		return result;
	if (fault.skip) {
		fault.skip--;
		return result;
	}
	fault.times--;
	fault.fired++;
	return fault.result < 0 || result > fault.result ? fault.result : result;
}

bool __wrap_uring_add(struct uring *u, struct aio_op *op)
{
	bool added = __real_uring_add(u, op);

	if (added)
		count(op->kind, op->flags);
	return added;
}

int __wrap_uring_submit(struct uring *u)
{
	if (held) {
		held_ring = u;
		return 0;
	}
	submits++;
	return __real_uring_submit(u);
}

struct aio_op *__wrap_uring_peek(struct uring *u, int *ret_result)
{
	struct aio_op *op = __real_uring_peek(u, ret_result);

	if (!op)
		return NULL;
	if (op != shown) {
		shown = op;
		shown_result = (int)changed(op->kind, *ret_result);
	}
	*ret_result = shown_result;
	return op;
}

void __wrap_uring_pop(struct uring *u)
{
	shown = NULL;
	__real_uring_pop(u);
}

/* As the C library gives results. */
static ssize_t answer(enum aio_kind kind, ssize_t result)
{
	result = changed(kind, result < 0 ? -errno : result);
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
	count(AIO_READ, flags);
	return answer(AIO_READ, __real_preadv64v2(fd, v, n, offset, flags));
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
	count(AIO_WRITE, flags);
	return answer(AIO_WRITE, __real_pwritev64v2(fd, v, n, offset, flags));
}

int __wrap_fdatasync(int fd)
{
	count(AIO_SYNC, 0);
	return (int)answer(AIO_SYNC, __real_fdatasync(fd));
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len)
{
	count(AIO_ALLOCATE, mode);
	return (int)answer(AIO_ALLOCATE, __real_fallocate64(fd, mode, offset, len));
}
