// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/{aio,uring}.c: operations of several users by both engines, what the ring is not
 * allowed to do, and a kernel that has none.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "tests/kit/aio.h"
#include "vmm/sandbox.h"

#define OPS 300

Suite *vmm_aio_suite(void);

/* A user that counts; it is called outside of any call of its own. */
struct user {
	struct aio_user u;
	unsigned int calls, n_back;
	struct aio_op *back[OPS];
};

static struct loop *loop;
static struct aio *aio;
static struct user one, two;
static int file;

static void keep(struct user *u)
{
	struct aio_op *op = aio_collect(aio, &u->u);

	for (; op; op = op->next) {
		ck_assert_uint_lt(u->n_back, OPS);
		ck_assert_ptr_eq(op->user, &u->u);
		u->back[u->n_back++] = op;
	}
}

static void on_done(struct aio_user *u)
{
	struct user *me = (struct user *)u;

	me->calls++;
	keep(me);
}

static int make_file(void)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	ck_assert(fd >= 0 && !ftruncate(fd, 1 << 20));
	return fd;
}

static void setup(bool use_ring)
{
	struct err e = { 0 };

	ck_assert(!loop_new(&loop, &e));
	ck_assert_msg(!aio_new(loop, use_ring, &aio, &e), "%s", e.text);
	ck_assert(aio_has_ring(aio) == use_ring);
	one.u.done = two.u.done = on_done;
	aio_join(aio, &one.u);
	aio_join(aio, &two.u);
	file = make_file();
}

static void setup_ring(void)
{
	setup(true);
}

static void setup_plain(void)
{
	setup(false);
}

static void teardown(void)
{
	aio_leave(aio, &one.u);
	aio_leave(aio, &two.u);
	aio_free(aio);
	loop_free(loop);
	close(file);
}

static void wait_for(const struct user *u, unsigned int n)
{
	while (u->n_back < n)
		ck_assert_int_ge(loop_step(loop, 10000, NULL), 0);
}

static void start(struct user *u, struct aio_op *op)
{
	aio_start(aio, &u->u, op);
	aio_submit(aio, &u->u);
}

START_TEST(test_kinds)
{
	char text[] = "written", back[8] = "";
	struct iovec w[2] = { { text, 3 }, { text + 3, 4 } }, r = { back, 7 };
	struct aio_op op[] = {
		{ .kind = AIO_WRITE, .fd = file, .iov = w, .n_iov = 2, .offset = 8190 },
		{ .kind = AIO_SYNC, .fd = file },
		{ .kind = AIO_READ, .fd = file, .iov = &r, .n_iov = 1, .offset = 8190 },
		{ .kind = AIO_ALLOCATE, .fd = file, .flags = FALLOC_FL_KEEP_SIZE |
		  FALLOC_FL_PUNCH_HOLE, .offset = 0, .len = 1 << 20 },
		{ .kind = AIO_NOTHING },
		{ .kind = AIO_READ, .fd = -1, .iov = &r, .n_iov = 1 },
		{ .kind = AIO_ALLOCATE, .fd = file, .flags = 0x4000, .len = 1 },
		{ .kind = AIO_READ, .fd = file, .iov = &r, .n_iov = 1, .offset = 2 << 20 },
	};
	const int want[] = { 7, 0, 7, 0, 0, -EBADF, -EOPNOTSUPP, 0 };
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_LEN(op); i++) {
		op[i].patient = _i;
		start(&one, &op[i]);
		keep(&one);
		wait_for(&one, (unsigned int)i + 1);
		ck_assert_ptr_eq(one.back[i], &op[i]);
		ck_assert_msg(op[i].result == want[i], "%zu: %d", i, op[i].result);
	}
	ck_assert_str_eq(back, "written");
	ck_assert(!fstat(file, &st));
	ck_assert_int_eq(st.st_blocks, 0);
	ck_assert_uint_eq(two.calls, 0);
}
END_TEST

/* More than one submission holds, of two users, in one go. */
START_TEST(test_many)
{
	static struct aio_op op[OPS];
	static char byte[OPS];
	static struct iovec v[OPS];
	unsigned int i;

	for (i = 0; i < OPS; i++) {
		byte[i] = (char)i;
		v[i] = (struct iovec){ &byte[i], 1 };
		op[i] = (struct aio_op){ .kind = AIO_WRITE, .fd = file, .iov = &v[i], .n_iov = 1,
					 .offset = i };
		ck_assert(aio_hold(aio, &one.u));
		aio_start(aio, i % 3 ? &one.u : &two.u, &op[i]);
	}
	aio_submit(aio, &one.u);
	keep(&one);
	wait_for(&one, OPS - OPS / 3);
	wait_for(&two, OPS / 3);
	ck_assert_uint_ge(two.calls, 1);
	for (i = 0; i < OPS; i++) {
		char c;

		ck_assert_int_eq(op[i].result, 1);
		ck_assert_int_eq(pread(file, &c, 1, i), 1);
		ck_assert_int_eq(c, (char)i);
		aio_release(aio);
	}
	ck_assert_uint_eq(aio_held(aio), 0);
}
END_TEST

/* Who found no place is called when there is one. */
START_TEST(test_places)
{
	unsigned int i;

	for (i = 0; i < AIO_DEPTH; i++)
		ck_assert(aio_hold(aio, &one.u));
	ck_assert(!aio_hold(aio, &two.u));
	ck_assert(!aio_hold(aio, &two.u));
	ck_assert_int_eq(loop_step(loop, 0, NULL), 0);
	aio_release(aio);
	ck_assert_int_eq(loop_step(loop, 10000, NULL), 1);
	ck_assert_uint_eq(two.calls, 1);
	ck_assert_uint_eq(one.calls, 0);
	ck_assert(aio_hold(aio, &two.u));
	for (i = 0; i < AIO_DEPTH; i++)
		aio_release(aio);
	ck_assert_int_eq(loop_step(loop, 0, NULL), 0);
}
END_TEST

/* A user that leaves is not called, whatever it was waiting for. */
START_TEST(test_leave)
{
	unsigned int i;

	for (i = 0; i < AIO_DEPTH; i++)
		ck_assert(aio_hold(aio, &one.u));
	ck_assert(!aio_hold(aio, &two.u));
	aio_release(aio);
	aio_leave(aio, &two.u);
	ck_assert_int_eq(loop_step(loop, 10000, NULL), 1);
	ck_assert_uint_eq(two.calls, 0);
	for (i = 1; i < AIO_DEPTH; i++)
		aio_release(aio);
}
END_TEST

START_TEST(test_wait)
{
	struct aio_op op = { .kind = AIO_SYNC, .fd = file };
	struct err e = { 0 };

	aio_start(aio, &one.u, &op);
	while (!one.n_back)
		ck_assert_int_eq(aio_wait(aio, 10000, &e), 0);
	ck_assert_int_eq(aio_wait(aio, 1, &e), -ETIMEDOUT);
}
END_TEST

/* What the kernel does at once is there when its submission returns. */
START_TEST(test_at_once)
{
	struct aio_op op = { .kind = AIO_NOTHING };

	start(&one, &op);
	keep(&one);
	ck_assert_uint_eq(one.n_back, 1);
	ck_assert_uint_eq(one.calls, 0);
}
END_TEST

/* ---- what the ring may not do ---- */

static int ring_fd(void)
{
	char path[40], text[64];
	int i;

	for (i = 0; i < 256; i++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
		n = readlink(path, text, sizeof(text) - 1);
		if (n > 0 && strstr((text[n] = 0, text), "[io_uring]"))
			return i;
	}
	ck_abort_msg("no ring");
	return -1;
}

/* The kernel's answer to an operation that is written into the ring by hand. */
static int by_hand(const struct io_uring_sqe *want)
{
	int fd = ring_fd();
	struct io_uring_sqe *sqe = mmap(NULL, 128 * sizeof(*sqe), PROT_READ | PROT_WRITE,
					MAP_SHARED, fd, IORING_OFF_SQES);
	uint32_t *ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			      IORING_OFF_SQ_RING);
	struct aio_op *probe = calloc(1, sizeof(*probe));
	int result;

	ck_assert(sqe != MAP_FAILED && ring != MAP_FAILED);
	/* A good operation goes ahead, then its place in the ring is taken over. */
	probe->kind = AIO_NOTHING;
	kit_aio_hold(true);
	start(&one, probe);
	sqe[0] = *want;
	sqe[0].user_data = (uintptr_t)probe;
	kit_aio_hold(false);
	wait_for(&one, 1);
	result = probe->result;
	munmap(sqe, 128 * sizeof(*sqe));
	munmap(ring, 4096);
	free(probe);
	return result;
}

static const struct {
	uint8_t opcode, flags;
	int result;
} forbidden[] = {
	{ IORING_OP_NOP, 0, 0 },
	{ IORING_OP_NOP, IOSQE_ASYNC, 0 },
	{ IORING_OP_NOP, IOSQE_FIXED_FILE, -EACCES },
	{ IORING_OP_NOP, IOSQE_IO_LINK, -EACCES },
	{ IORING_OP_OPENAT, 0, -EACCES },
	{ IORING_OP_OPENAT2, 0, -EACCES },
	{ IORING_OP_CLOSE, 0, -EACCES },
	{ IORING_OP_STATX, 0, -EACCES },
	{ IORING_OP_SOCKET, 0, -EACCES },
	{ IORING_OP_CONNECT, 0, -EACCES },
	{ IORING_OP_ACCEPT, 0, -EACCES },
	{ IORING_OP_SENDMSG, 0, -EACCES },
	{ IORING_OP_RECVMSG, 0, -EACCES },
	{ IORING_OP_URING_CMD, 0, -EACCES },
	{ IORING_OP_EPOLL_CTL, 0, -EACCES },
	{ IORING_OP_SPLICE, 0, -EACCES },
	{ IORING_OP_UNLINKAT, 0, -EACCES },
	{ IORING_OP_RENAMEAT, 0, -EACCES },
	{ IORING_OP_MADVISE, 0, -EACCES },
	{ IORING_OP_MSG_RING, 0, -EACCES },
	{ IORING_OP_PROVIDE_BUFFERS, 0, -EACCES },
	{ IORING_OP_FILES_UPDATE, 0, -EACCES },
};

START_TEST(test_forbidden)
{
	struct io_uring_sqe q = { .opcode = forbidden[_i].opcode, .flags = forbidden[_i].flags };

	ck_assert_int_eq(by_hand(&q), forbidden[_i].result);
}
END_TEST

START_TEST(test_no_registration)
{
	struct iovec v = { &one, sizeof(one) };
	int fd = ring_fd(), op;

	for (op = 0; op < 32; op++)
		ck_assert_msg(syscall(SYS_io_uring_register, fd, op, &v, 1) < 0, "%d", op);
	ck_assert_int_lt(syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &v, 1), 0);
	ck_assert_int_eq(errno, EACCES);
}
END_TEST

/* The I/O thread's filter allows all that operations need. */
START_TEST(test_under_filter)
{
	struct aio_op op[] = { { .kind = AIO_SYNC, .fd = file },
			       { .kind = AIO_NOTHING },
			       { .kind = AIO_ALLOCATE, .fd = file, .len = 4096 } };
	struct sandbox_filter f;
	struct err e;
	size_t i;

	ck_assert(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ck_assert_int_eq(sandbox_compile(SANDBOX_IO, &f, &e), 0);
	ck_assert_int_eq(sandbox_enter(&f, &e), 0);
	for (i = 0; i < ARRAY_LEN(op); i++)
		aio_start(aio, &one.u, &op[i]);
	aio_submit(aio, &one.u);
	keep(&one);
	while (one.n_back < ARRAY_LEN(op))
		if (loop_step(loop, 10000, NULL) < 0)
			syscall(SYS_exit_group, 1);
	for (i = 0; i < ARRAY_LEN(op); i++)
		if (op[i].result)
			syscall(SYS_exit_group, 2);
	/* What Check does at an end is not allowed here. */
	syscall(SYS_exit_group, 0);
}
END_TEST

/* As a container engine's filter does it. */
static void without_io_uring(int code)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = ARRAY_LEN(f), .filter = f };

	ck_assert(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ck_assert(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p));
}

static const int reasons[] = { ENOSYS, EPERM, ENOMEM, EINVAL };

START_TEST(test_no_ring)
{
	struct aio_op op = { .kind = AIO_SYNC, .fd = file };
	int fd = memfd_create("log", MFD_CLOEXEC);
	char text[512] = "", *line;
	struct err e;

	without_io_uring(reasons[_i]);
	teardown();
	log_open(fd, LOG_LEVEL_INFO, false);
	ck_assert(!loop_new(&loop, &e) && !aio_new(loop, true, &aio, &e));
	log_open(2, LOG_LEVEL_INFO, false);
	ck_assert(!aio_has_ring(aio));
	ck_assert_int_gt(pread(fd, text, sizeof(text) - 1, 0), 0);
	line = strstr(text, "disks do without io_uring");
	ck_assert_msg(line != NULL, "%s", text);
	ck_assert_ptr_eq(strchr(line, '\n') + 1, text + strlen(text));
	aio_join(aio, &one.u);
	aio_join(aio, &two.u);
	file = make_file();
	op.fd = file;
	start(&one, &op);
	keep(&one);
	ck_assert_uint_eq(one.n_back, 1);
	ck_assert_int_eq(op.result, 0);
	close(fd);
}
END_TEST

static TCase *both(const char *name, void (*fixture)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, fixture, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_kinds, 0, 2);
	tcase_add_test(t, test_many);
	tcase_add_test(t, test_places);
	tcase_add_test(t, test_leave);
	tcase_add_test(t, test_wait);
	tcase_add_test(t, test_at_once);
	tcase_add_test(t, test_under_filter);
	return t;
}

Suite *vmm_aio_suite(void)
{
	Suite *s = suite_create("vmm_aio");
	TCase *t;

	suite_add_tcase(s, both("ring", setup_ring));
	suite_add_tcase(s, both("plain", setup_plain));
	t = tcase_create("restricted");
	tcase_add_checked_fixture(t, setup_ring, teardown);
	tcase_add_loop_test(t, test_forbidden, 0, (int)ARRAY_LEN(forbidden));
	tcase_add_test(t, test_no_registration);
	suite_add_tcase(s, t);
	t = tcase_create("none");
	tcase_add_checked_fixture(t, setup_plain, teardown);
	tcase_add_loop_test(t, test_no_ring, 0, (int)ARRAY_LEN(reasons));
	suite_add_tcase(s, t);
	return s;
}
