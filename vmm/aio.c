// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads, writes and the like on descriptors, for devices that must not wait for
 * them. Operations are started, submitted together, and come back to their user in a
 * list. Two engines:
 *
 *   io_uring (vmm/uring.c): the kernel carries them out, one system call begins
 *   many.
 *   None (a kernel or a filter around us forbids io_uring): this thread carries
 *   them out one after the other, AIO_ROUND or AIO_ROUND_BYTES at a time, and lets
 *   others have their turn in between.
 *
 * Users see no difference but time. What a user does:
 *
 *   aio_hold()     a place for a request; each request has one operation under way at
 *                  a time. AIO_DEPTH places for all, so nothing grows.
 *   aio_start()    an operation; nothing happens yet
 *   aio_submit()   now it does; one system call
 *   aio_collect()  what is back already, such as a read of cached data
 *   @done          called later, when there is more to collect, or a place is free
 *   aio_release()  the request is over
 *
 * While @done of all users who have something back is called, aio_submit() only
 * takes a note: what they start goes out together afterwards.
 *
 * Everything here runs on the I/O thread. A user's own lock may be held around all
 * of it; no lock is held when @done is called.
 */
#include "vmm/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "vmm/uring.h"

/**
 * struct aio - the queue of operations
 * @ring:     owned; NULL: this thread carries operations out
 * @ring_src: its descriptor in the loop
 * @wake:     eventfd, owned: something is left to do here
 * @held:     places that are taken
 * @first, @last: operations that this thread is to carry out
 * @due:      users who have something back
 * @users:    all of them
 * @calling:  @done of users is being called
 * @noted:    something was started and not submitted
 */
struct aio {
	struct uring *ring;
	struct loop_src *ring_src, *wake_src;
	int wake;
	unsigned int held;
	struct aio_op *first, *last;
	struct aio_user *due, *users;
	bool calling, noted;
};

static void append(struct aio_op **first, struct aio_op **last, struct aio_op *op)
{
	op->next = NULL;
	if (*first)
		(*last)->next = op;
	else
		*first = op;
	*last = op;
}

static void give_back(struct aio_op *op, int result)
{
	op->result = result;
	append(&op->user->first, &op->user->last, op);
}

static void make_due(struct aio *a, struct aio_user *u)
{
	if (u->listed)
		return;
	u->listed = true;
	u->next_due = a->due;
	a->due = u;
}

/* ---- no ring ---- */

static int carry_out(const struct aio_op *op)
{
	for (;;) {
		ssize_t rc = 0;

		switch (op->kind) {
		case AIO_NOTHING:
			break;
		case AIO_READ:
			rc = preadv2(op->fd, op->iov, (int)op->n_iov, (off_t)op->offset, op->flags);
			break;
		case AIO_WRITE:
			rc = pwritev2(op->fd, op->iov, (int)op->n_iov, (off_t)op->offset,
				      op->flags);
			break;
		case AIO_SYNC:
			rc = fdatasync(op->fd);
			break;
		case AIO_ALLOCATE:
			rc = fallocate(op->fd, op->flags, (off_t)op->offset, (off_t)op->len);
			break;
		}
		if (rc >= 0)
			return (int)rc;
		if (errno != EINTR)
			return -errno;
	}
}

/* Operations of @u are left for it to collect; other users become due. */
static void do_round(struct aio *a, const struct aio_user *u)
{
	uint64_t bytes = 0;
	unsigned int n;

	for (n = 0; a->first && n < AIO_ROUND && bytes < AIO_ROUND_BYTES; n++) {
		struct aio_op *op = a->first;

		a->first = op->next;
		give_back(op, carry_out(op));
		if (op->result > 0)
			bytes += (uint64_t)op->result;
		if (op->user != u)
			make_due(a, op->user);
	}
	if (a->first || a->due)
		eventfd_write(a->wake, 1);
}

/* ---- both ---- */

static void submit(struct aio *a, struct aio_user *u)
{
	if (!a->noted)
		return;
	a->noted = false;
	if (!a->ring) {
		do_round(a, u);
	} else if (uring_submit(a->ring) < 0) {
		/* The kernel is short of memory: others first, then again. */
		a->noted = true;
		eventfd_write(a->wake, 1);
	}
}

static void call_users(struct aio *a)
{
	a->calling = true;
	while (a->due) {
		struct aio_user *u = a->due;

		a->due = u->next_due;
		u->listed = false;
		u->done(u);
	}
	a->calling = false;
	submit(a, NULL);
}

static void on_ring(void *arg, uint32_t events)
{
	struct aio *a = arg;
	struct aio_op *op;
	int result;

	(void)events;
	while ((op = uring_peek(a->ring, &result))) {
		uring_pop(a->ring);
		give_back(op, result);
		make_due(a, op->user);
	}
	call_users(a);
}

static void on_wake(void *arg, uint32_t events)
{
	struct aio *a = arg;
	eventfd_t n;

	(void)events;
	eventfd_read(a->wake, &n);
	if (!a->ring && a->first)
		do_round(a, NULL);
	call_users(a);
}

static int join_loop(struct aio *a, struct loop *loop, struct err *e)
{
	int rc;

	a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->wake < 0)
		return err_sys(e, "eventfd");
	rc = loop_add(loop, a->wake, EPOLLIN, on_wake, a, &a->wake_src, e);
	if (rc < 0 || !a->ring)
		return rc;
	return loop_add(loop, uring_fd(a->ring), EPOLLIN, on_ring, a, &a->ring_src, e);
}

/**
 * aio_new() - make a queue of operations
 * @loop:     of the I/O thread, borrowed, outlives it
 * @use_ring: try io_uring; where it cannot be had, that is said in the log
 * @ret:      owned by the caller, aio_free()
 *
 * Return: 0 or minus errno
 * Context: the I/O thread, before its filter
 */
int aio_new(struct loop *loop, bool use_ring, struct aio **ret, struct err *e)
{
	struct aio *a = mem_new(struct aio);
	int rc;

	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	a->wake = -1;
	if (use_ring && uring_new(AIO_DEPTH, &a->ring, e) < 0)
		log_info("vmm: disks do without io_uring: %s", e->text);
	rc = join_loop(a, loop, e);
	if (rc < 0) {
		aio_free(a);
		return rc;
	}
	*ret = a;
	return 0;
}

/**
 * aio_free() - end; NULL is fine
 * Context: all users have left
 */
void aio_free(struct aio *a)
{
	if (!a)
		return;
	loop_del(a->ring_src);
	loop_del(a->wake_src);
	uring_free(a->ring);
	fd_close(&a->wake);
	free(a);
}

/**
 * aio_has_ring() - whether the kernel carries operations out
 */
bool aio_has_ring(const struct aio *a)
{
	return a->ring;
}

/**
 * aio_join() - become a user
 * @u: zeroed but for @done
 */
void aio_join(struct aio *a, struct aio_user *u)
{
	u->next = a->users;
	a->users = u;
}

/**
 * aio_leave() - be none any more; nothing of @u is under way, and it has collected all
 */
void aio_leave(struct aio *a, struct aio_user *u)
{
	struct aio_user **at;

	for (at = &a->users; *at; at = &(*at)->next) {
		if (*at == u) {
			*at = u->next;
			break;
		}
	}
	for (at = &a->due; *at; at = &(*at)->next_due) {
		if (*at == u) {
			*at = u->next_due;
			break;
		}
	}
}

/**
 * aio_hold() - a place for a request of @u
 *
 * Return: false if all are taken: @u's done is called when that has changed
 *
 * #syscalls none
 */
bool aio_hold(struct aio *a, struct aio_user *u)
{
	if (a->held == AIO_DEPTH) {
		u->hungry = true;
		return false;
	}
	a->held++;
	return true;
}

/**
 * aio_release() - give a place back
 *
 * #syscalls write
 */
void aio_release(struct aio *a)
{
	struct aio_user *u;

	if (a->held-- < AIO_DEPTH)
		return;
	for (u = a->users; u; u = u->next) {
		if (!u->hungry)
			continue;
		u->hungry = false;
		make_due(a, u);
	}
	if (a->due && !a->calling)
		eventfd_write(a->wake, 1);
}

/**
 * aio_held() - places that are taken
 */
unsigned int aio_held(const struct aio *a)
{
	return a->held;
}

/**
 * aio_start() - have an operation carried out after the next aio_submit()
 * @op: filled in; one that came back may be started again. Borrowed until it is
 *      collected; the user holds a place for it
 *
 * #syscalls io_uring_enter preadv2 pwritev2 fdatasync fallocate
 */
void aio_start(struct aio *a, struct aio_user *u, struct aio_op *op)
{
	op->user = u;
	a->noted = true;
	if (!a->ring) {
		append(&a->first, &a->last, op);
		return;
	}
	if (uring_add(a->ring, op))
		return;
	uring_submit(a->ring);
	if (uring_add(a->ring, op))
		return;
	/* The kernel takes nothing now. */
	give_back(op, carry_out(op));
	make_due(a, u);
	eventfd_write(a->wake, 1);
}

/**
 * aio_submit() - let begin what was started
 * @u: the caller; it calls aio_collect() next
 *
 * #syscalls io_uring_enter preadv2 pwritev2 fdatasync fallocate write
 */
void aio_submit(struct aio *a, struct aio_user *u)
{
	if (!a->calling)
		submit(a, u);
}

/**
 * aio_collect() - take operations that are back
 *
 * Of the ring's completions it takes those that are @u's and in front.
 *
 * Return: the oldest, linked by @next; NULL if there is none
 *
 * #syscalls io_uring_enter
 */
struct aio_op *aio_collect(struct aio *a, struct aio_user *u)
{
	struct aio_op *op;
	int result;

	while (a->ring && !a->calling && (op = uring_peek(a->ring, &result)) && op->user == u) {
		uring_pop(a->ring);
		give_back(op, result);
	}
	op = u->first;
	u->first = NULL;
	return op;
}

/**
 * aio_wait() - wait until something comes back, and call its user
 * @timeout_ms: -1 waits for ever
 *
 * For an end that cannot go through the loop: what else is in the loop waits.
 *
 * Return: 0; -ETIMEDOUT; minus errno
 *
 * #syscalls poll io_uring_enter
 */
int aio_wait(struct aio *a, int timeout_ms, struct err *e)
{
	struct pollfd p[2] = { { .fd = a->wake, .events = POLLIN },
			       { .fd = a->ring ? uring_fd(a->ring) : -1, .events = POLLIN } };
	int n;

	submit(a, NULL);
	do {
		n = poll(p, 2, timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "poll");
	if (!n)
		return err_set(e, ETIMEDOUT, "disks have requests under way for %d ms", timeout_ms);
	if (p[0].revents)
		on_wake(a, 0);
	if (p[1].revents)
		on_ring(a, 0);
	return 0;
}
