// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/f{s,use}*.c between a fake driver, which is the guest and says what it
 * likes, and the supervisor's broker on a tree of its own, or a broker that lies. The
 * workers are real threads; the test waits for interrupts.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fuse.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/supervisor/supervisor.h"
#include "storage/share.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakedrv.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"
#include "vmm/virtio/fs.h"
#include "vmm/vmm.h"

#define HIPRIO 0
#define REQ 1
#define SIZE 128
#define ROOM (1u << 20)
#define ROOT FUSE_ROOT_ID
#define HEAD ((uint32_t)sizeof(struct fuse_in_header))
#define ANSWER ((uint32_t)sizeof(struct fuse_out_header))
#define WAIT_S 60

Suite *virtio_fs_suite(void);

static struct fakedrv f;
static struct fs_pool *pool;
static struct share_broker broker;
static uint64_t req_gpa, ans_gpa, other_gpa;

/* The answer that came last. */
static struct fuse_out_header got;
static uint8_t body[ROOM];
static uint32_t body_len;

static pthread_mutex_t irq_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t irq_came = PTHREAD_COND_INITIALIZER;
static unsigned int irqs;

static void interrupt(void *transport, uint16_t vector)
{
	(void)transport;
	(void)vector;
	pthread_mutex_lock(&irq_lock);
	irqs++;
	pthread_cond_broadcast(&irq_came);
	pthread_mutex_unlock(&irq_lock);
}

/* Waits for one more interrupt than @seen; fails the test when none comes. */
static void wait_irq(unsigned int seen)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_S;
	pthread_mutex_lock(&irq_lock);
	while (irqs == seen)
		ck_assert_msg(!pthread_cond_timedwait(&irq_came, &irq_lock, &end),
			      "no answer in %d s", WAIT_S);
	pthread_mutex_unlock(&irq_lock);
}

static unsigned int irqs_now(void)
{
	unsigned int n;

	pthread_mutex_lock(&irq_lock);
	n = irqs;
	pthread_mutex_unlock(&irq_lock);
	return n;
}

static struct virtio_dev *new_share(const char *tag, uint8_t cache, const int *ends, unsigned int n)
{
	struct vmm_share cfg = { .cache = cache };
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	snprintf(cfg.tag, sizeof(cfg.tag), "%s", tag);
	ck_assert_msg(!fs_new(&cfg, ends, n, 2, pool, &f.mem, f.loop, &d, &e), "%s", e.text);
	return d;
}

static void attach(struct virtio_dev *d)
{
	fakedrv_attach(&f, d, FAKE_F_INDIRECT, SIZE);
	d->interrupt = interrupt;
}

static void start_broker(bool readonly, uint32_t nodes, int *ends, unsigned int n)
{
	struct share_config c = { .readonly = readonly, .nodes_max = nodes, .fds_max = 100 };
	_cleanup_close_ int dir = open("tree", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err e = { 0 };

	ck_assert_msg(!share_broker_start(&broker, dir, &c, n, ends, &e), "%s", e.text);
}

/* They have no capabilities, as in the monitor. */
static void start_workers(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct all[2], none[2];
	struct err e = { 0 };

	ck_assert(!syscall(SYS_capget, &h, all));
	memcpy(none, all, sizeof(all));
	none[0].effective = none[1].effective = 0;
	ck_assert(!syscall(SYS_capset, &h, none));
	ck_assert_msg(!fs_pool_start(pool, NULL, &e), "%s", e.text);
	ck_assert_msg(!fs_pool_wait(pool, &e), "%s", e.text);
	ck_assert(!syscall(SYS_capset, &h, all));
}

static void basics(void)
{
	struct err e = { 0 };

	kit_storage_enter();
	kit_dirs("tree/dir");
	kit_file("tree/file", "0123456789", 10);
	kit_file("tree/dir/below", "below", 5);
	fakedrv_init(&f);
	req_gpa = fakedrv_alloc(&f, ROOM + 4096);
	ans_gpa = fakedrv_alloc(&f, ROOM + 4096);
	other_gpa = fakedrv_alloc(&f, ROOM + 4096);
	ck_assert_msg(!fs_pool_new(&pool, &e), "%s", e.text);
	start_workers();
}

/* Answers of the second request queue have a place of their own. */
static uint64_t answer_at(uint16_t q)
{
	return q == REQ + 1 ? other_gpa : ans_gpa;
}

/* Puts a request of @len bytes in queue @q, with room for an answer of @room bytes. */
static uint16_t put(uint16_t q, uint32_t len, uint32_t room)
{
	struct fakebuf b[2] = { { req_gpa, len, false }, { answer_at(q), room, true } };

	if (!len)
		return fakedrv_add(&f, q, b + 1, 1);
	return fakedrv_add(&f, q, b, room ? 2 : 1);
}

static void push_kick(uint16_t q)
{
	pthread_mutex_lock(&f.d->lock);
	if (f.d->running)
		f.d->ops->kick(f.d, q);
	pthread_mutex_unlock(&f.d->lock);
}

/* Takes the answer of the one request that is under way. Return: its error; 1: broken */
static int take(uint16_t q)
{
	uint32_t len = 0;

	for (;;) {
		unsigned int seen = irqs_now();
		bool broken;

		if (fakedrv_used(&f, q, NULL, &len))
			break;
		pthread_mutex_lock(&f.d->lock);
		broken = fakedrv_is_broken(&f);
		pthread_mutex_unlock(&f.d->lock);
		if (broken)
			return 1;
		wait_irq(seen);
	}
	body_len = 0;
	if (len < ANSWER)
		return 0;
	memcpy(&got, fakedrv_ptr(&f, answer_at(q), ANSWER), ANSWER);
	ck_assert_uint_eq(got.len, len);
	body_len = len - ANSWER;
	if (body_len)
		memcpy(body, fakedrv_ptr(&f, answer_at(q) + ANSWER, body_len), body_len);
	ck_assert(!got.error || !body_len);
	ck_assert_int_le(got.error, 0);
	ck_assert_int_gt(got.error, -512);
	return got.error;
}

static uint64_t unique = 1;

/* Writes header and body. Return: bytes */
static uint32_t write_request(uint32_t opcode, uint64_t node, const void *arg, uint32_t arg_len,
			      const void *data, uint32_t len)
{
	struct fuse_in_header h = {
		.len = HEAD + arg_len + len, .opcode = opcode, .unique = ++unique, .nodeid = node
	};
	uint8_t *to = fakedrv_ptr(&f, req_gpa, h.len);

	memcpy(to, &h, HEAD);
	if (arg_len)
		memcpy(to + HEAD, arg, arg_len);
	if (len)
		memcpy(to + HEAD + arg_len, data, len);
	return h.len;
}

static struct fuse_in_header *header(void)
{
	return fakedrv_ptr(&f, req_gpa, HEAD);
}

static int ask2(uint32_t opcode, uint64_t node, const void *arg, uint32_t arg_len, const void *data,
		uint32_t len)
{
	put(REQ, write_request(opcode, node, arg, arg_len, data, len), ROOM);
	push_kick(REQ);
	return take(REQ);
}

static int ask(uint32_t opcode, uint64_t node, const void *arg, uint32_t arg_len)
{
	return ask2(opcode, node, arg, arg_len, NULL, 0);
}

static int ask_name(uint32_t opcode, uint64_t node, const char *name)
{
	return ask(opcode, node, name, (uint32_t)strlen(name) + 1);
}

static struct fuse_init_in init_in(void)
{
	return (struct fuse_init_in){
		.major = 7, .minor = 38, .max_readahead = 65536, .flags = 0xffffffff
	};
}

static int init(void)
{
	struct fuse_init_in in = init_in();

	return ask(FUSE_INIT, 0, &in, sizeof(in));
}

static void setup_with(bool readonly, uint8_t cache)
{
	int ends[SHARE_CHANNELS_MAX];

	basics();
	start_broker(readonly, 3000, ends, 3);
	attach(new_share("test", cache, ends, 3));
	ck_assert_int_eq(init(), 0);
}

static void setup(void)
{
	setup_with(false, VMM_CACHE_AUTO);
}

static void teardown(void)
{
	if (f.d)
		fakedrv_done(&f);
	fs_pool_free(pool);
	share_broker_stop(&broker);
	kit_storage_leave();
}

/* A reset as a driver does it: until the status reads as 0. */
static void reset(void)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	int i;

	fakedrv_reset(&f);
	for (i = 0; i < WAIT_S * 1000; i++) {
		bool done;

		fakedrv_poll(&f);
		pthread_mutex_lock(&f.d->lock);
		done = !f.d->s.status;
		pthread_mutex_unlock(&f.d->lock);
		if (done)
			return;
		nanosleep(&nap, NULL);
	}
	ck_abort_msg("the reset does not end");
}

static void start_again(void)
{
	reset();
	attach(f.d);
	ck_assert_int_eq(init(), 0);
}

static uint32_t n_nodes(void)
{
	uint32_t n, fds;

	share_count(broker.share, &n, &fds);
	return n;
}

static uint64_t lookup(uint64_t dir, const char *name)
{
	struct fuse_entry_out x;

	ck_assert_int_eq(ask_name(FUSE_LOOKUP, dir, name), 0);
	ck_assert_uint_eq(body_len, sizeof(x));
	memcpy(&x, body, sizeof(x));
	return x.nodeid;
}

static uint64_t open_file(uint64_t node, uint32_t flags)
{
	struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out out;

	ck_assert_int_eq(ask(FUSE_OPEN, node, &in, sizeof(in)), 0);
	ck_assert_uint_eq(body_len, sizeof(out));
	memcpy(&out, body, sizeof(out));
	return out.fh;
}

static uint64_t open_dir(uint64_t node)
{
	struct fuse_open_in in = { 0 };
	struct fuse_open_out out;

	ck_assert_int_eq(ask(FUSE_OPENDIR, node, &in, sizeof(in)), 0);
	memcpy(&out, body, sizeof(out));
	return out.fh;
}

static int release(uint64_t node, uint64_t fh, bool dir)
{
	struct fuse_release_in in = { .fh = fh };

	return ask(dir ? FUSE_RELEASEDIR : FUSE_RELEASE, node, &in, sizeof(in));
}

static int read_at(uint64_t node, uint64_t fh, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return ask(FUSE_READ, node, &in, sizeof(in));
}

static int write_at(uint64_t node, uint64_t fh, uint64_t offset, const void *data, uint32_t size,
		    uint32_t flags, uint32_t write_flags)
{
	struct fuse_write_in in = {
		.fh = fh, .offset = offset, .size = size, .flags = flags, .write_flags = write_flags
	};

	return ask2(FUSE_WRITE, node, &in, sizeof(in), data, size);
}

/* ---- the protocol ---------------------------------------------------------------------- */

START_TEST(configuration)
{
	struct virtio_fs_config c;

	f.d->ops->config_read(f.d, 0, &c, sizeof(c));
	ck_assert_mem_eq(c.tag, "test\0\0\0\0", 8);
	ck_assert_uint_eq(c.num_request_queues, 2);
	ck_assert_uint_eq(f.d->n_queues, 3);
	f.d->ops->config_read(f.d, sizeof(c) - 1, &c, sizeof(c));
	ck_assert_uint_eq(c.tag[1], 0);
}
END_TEST

START_TEST(init_offers)
{
	struct fuse_init_in in = init_in();
	struct fuse_init_out out;

	in.max_readahead = UINT32_MAX;
	ck_assert_int_eq(ask(FUSE_INIT, 0, &in, sizeof(in)), 0);
	ck_assert_uint_eq(body_len, sizeof(out));
	memcpy(&out, body, sizeof(out));
	ck_assert_uint_eq(out.major, 7);
	ck_assert_uint_eq(out.max_write, FS_IO_BYTES);
	ck_assert_uint_eq(out.max_readahead, FS_IO_BYTES);
	ck_assert(out.flags & FUSE_POSIX_ACL && out.flags & FUSE_HANDLE_KILLPRIV_V2);
	ck_assert(!(out.flags & (FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT | FUSE_EXPORT_SUPPORT |
				 FUSE_MAP_ALIGNMENT | FUSE_SPLICE_READ)));
	/* Nothing that the guest did not offer; the short form of old kernels. */
	in.flags = FUSE_ASYNC_READ;
	ck_assert_int_eq(ask(FUSE_INIT, 0, &in, 16), 0);
	memcpy(&out, body, sizeof(out));
	ck_assert_uint_eq(out.flags, FUSE_ASYNC_READ);
}
END_TEST

static const struct {
	uint32_t major, minor;
	int error;
	bool usable;
} versions[] = {
	{ 7, 31, 0, true },	     { 7, 38, 0, true },	{ 7, UINT32_MAX, 0, true },
	{ 7, 30, -EPROTO, false },   { 6, 99, -EPROTO, false }, { 8, 0, 0, false },
	{ UINT32_MAX, 0, 0, false },
};

START_TEST(version)
{
	struct fuse_init_in in = init_in();
	struct fuse_init_out out;

	in.major = versions[_i].major;
	in.minor = versions[_i].minor;
	ck_assert_int_eq(ask(FUSE_INIT, 0, &in, sizeof(in)), versions[_i].error);
	if (!versions[_i].error) {
		memcpy(&out, body, sizeof(out));
		ck_assert_uint_eq(out.major, 7);
	}
	ck_assert_int_eq(ask_name(FUSE_LOOKUP, ROOT, "file"), versions[_i].usable ? 0 : -EIO);
}
END_TEST

START_TEST(nothing_before_init)
{
	uint32_t op;

	reset();
	attach(f.d);
	for (op = 0; op < 60; op++) {
		uint8_t zeros[200] = { 0 };

		if (op == FUSE_INIT)
			continue;
		put(REQ, write_request(op, ROOT, zeros, sizeof(zeros), NULL, 0), ROOM);
		push_kick(REQ);
		take(REQ);
		ck_assert(!body_len);
	}
	ck_assert_uint_eq(n_nodes(), 1);
	ck_assert_int_eq(init(), 0);
}
END_TEST

static const uint32_t unknown[] = { 0,
				    7,
				    19,
				    FUSE_BMAP,
				    FUSE_IOCTL,
				    FUSE_POLL,
				    FUSE_SETUPMAPPING,
				    FUSE_REMOVEMAPPING,
				    52,
				    100,
				    CUSE_INIT,
				    CUSE_INIT_BSWAP_RESERVED,
				    FUSE_INIT_BSWAP_RESERVED,
				    UINT32_MAX };

START_TEST(unknown_request)
{
	uint8_t data[100] = { 0 };

	ck_assert_int_eq(ask(unknown[_i], ROOT, data, sizeof(data)), -ENOSYS);
	ck_assert_uint_eq(got.unique, unique);
}
END_TEST

START_TEST(sessions_end)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDONLY);

	ck_assert_uint_eq(n_nodes(), 2);
	ck_assert_int_eq(init(), 0);
	ck_assert_uint_eq(n_nodes(), 1);
	ck_assert_int_eq(read_at(node, fh, 0, 10), -EBADF);
	node = lookup(ROOT, "file");
	fh = open_file(node, O_RDONLY);
	ck_assert_int_eq(ask(FUSE_DESTROY, 0, "", 0), 0);
	ck_assert_uint_eq(n_nodes(), 1);
	ck_assert_int_eq(read_at(node, fh, 0, 10), -EIO);
	ck_assert_int_eq(init(), 0);
	node = lookup(ROOT, "file");
	fh = open_file(node, O_RDONLY);
	start_again();
	ck_assert_uint_eq(n_nodes(), 1);
	ck_assert_int_eq(read_at(node, fh, 0, 10), -EBADF);
	ck_assert_uint_eq(atomic_load(&pool->n_files), 0);
}
END_TEST

/* One message of each kind that would be carried out if it were whole. */
static const struct {
	uint32_t op, arg, names;
} kinds[] = {
	{ FUSE_LOOKUP, 0, 1 },
	{ FUSE_FORGET, sizeof(struct fuse_forget_in), 0 },
	{ FUSE_GETATTR, sizeof(struct fuse_getattr_in), 0 },
	{ FUSE_SETATTR, sizeof(struct fuse_setattr_in), 0 },
	{ FUSE_READLINK, 0, 0 },
	{ FUSE_SYMLINK, 0, 2 },
	{ FUSE_MKNOD, sizeof(struct fuse_mknod_in), 1 },
	{ FUSE_MKDIR, sizeof(struct fuse_mkdir_in), 1 },
	{ FUSE_UNLINK, 0, 1 },
	{ FUSE_RMDIR, 0, 1 },
	{ FUSE_RENAME, sizeof(struct fuse_rename_in), 2 },
	{ FUSE_LINK, sizeof(struct fuse_link_in), 1 },
	{ FUSE_OPEN, sizeof(struct fuse_open_in), 0 },
	{ FUSE_READ, sizeof(struct fuse_read_in), 0 },
	{ FUSE_WRITE, sizeof(struct fuse_write_in), 1 },
	{ FUSE_STATFS, 0, 0 },
	{ FUSE_RELEASE, sizeof(struct fuse_release_in), 0 },
	{ FUSE_FSYNC, sizeof(struct fuse_fsync_in), 0 },
	{ FUSE_SETXATTR, sizeof(struct fuse_setxattr_in), 2 },
	{ FUSE_GETXATTR, sizeof(struct fuse_getxattr_in), 1 },
	{ FUSE_LISTXATTR, sizeof(struct fuse_getxattr_in), 0 },
	{ FUSE_REMOVEXATTR, 0, 1 },
	{ FUSE_FLUSH, sizeof(struct fuse_flush_in), 0 },
	{ FUSE_INIT, sizeof(struct fuse_init_in), 0 },
	{ FUSE_OPENDIR, sizeof(struct fuse_open_in), 0 },
	{ FUSE_READDIR, sizeof(struct fuse_read_in), 0 },
	{ FUSE_RELEASEDIR, sizeof(struct fuse_release_in), 0 },
	{ FUSE_FSYNCDIR, sizeof(struct fuse_fsync_in), 0 },
	{ FUSE_GETLK, sizeof(struct fuse_lk_in), 0 },
	{ FUSE_SETLK, sizeof(struct fuse_lk_in), 0 },
	{ FUSE_SETLKW, sizeof(struct fuse_lk_in), 0 },
	{ FUSE_ACCESS, sizeof(struct fuse_access_in), 0 },
	{ FUSE_CREATE, sizeof(struct fuse_create_in), 1 },
	{ FUSE_INTERRUPT, sizeof(struct fuse_interrupt_in), 0 },
	{ FUSE_DESTROY, 0, 0 },
	{ FUSE_NOTIFY_REPLY, 16, 0 },
	{ FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in) + 32, 0 },
	{ FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), 0 },
	{ FUSE_READDIRPLUS, sizeof(struct fuse_read_in), 0 },
	{ FUSE_RENAME2, sizeof(struct fuse_rename2_in), 2 },
	{ FUSE_LSEEK, sizeof(struct fuse_lseek_in), 0 },
	{ FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in), 0 },
	{ FUSE_SYNCFS, sizeof(struct fuse_syncfs_in), 0 },
	{ FUSE_TMPFILE, sizeof(struct fuse_create_in), 1 },
	{ FUSE_BMAP, sizeof(struct fuse_bmap_in), 0 },
};

/* Return: bytes of a whole message of kind @i */
static uint32_t whole(int i)
{
	static const char names[] = "one\0two";
	uint8_t arg[200] = { 0 };

	if (kinds[i].op == FUSE_INIT) {
		struct fuse_init_in in = init_in();

		memcpy(arg, &in, sizeof(in));
	}
	return write_request(kinds[i].op, ROOT, arg, kinds[i].arg, names, kinds[i].names * 4);
}

static void mend(void)
{
	if (fakedrv_is_broken(&f) || !((struct fs *)f.d)->session.inited)
		start_again();
}

/* Cut at every byte, and honest or not about its length. */
START_TEST(cut_short)
{
	uint32_t len, full = whole(_i), lie;
	int error;

	for (lie = 0; lie < 2; lie++) {
		for (len = 1; len < full; len++) {
			whole(_i);
			if (!lie)
				header()->len = len;
			put(REQ, len, ROOM);
			push_kick(REQ);
			error = take(REQ);
			if (len < HEAD)
				ck_assert_int_eq(error, 1);
			else if (lie && body_len)
				ck_abort_msg("carried out with a wrong length of %u", len);
			mend();
		}
	}
	ck_assert_int_eq(access("tree/file", F_OK), 0);
	ck_assert_int_lt(access("tree/on", F_OK), 0);
}
END_TEST

/* More than it needs, by its length or not. */
START_TEST(too_long)
{
	uint32_t full = whole(_i), lie;

	for (lie = 0; lie < 2; lie++) {
		whole(_i);
		memset(fakedrv_ptr(&f, req_gpa + full, 64), 'x', 64);
		header()->len = lie ? UINT32_MAX : full + 64;
		put(REQ, full + 64, ROOM);
		push_kick(REQ);
		ck_assert_int_le(take(REQ), 0);
		mend();
	}
}
END_TEST

/* Any room for the answer. */
START_TEST(answer_room)
{
	uint32_t room, full = whole(_i);

	for (room = 0; room < 200; room++) {
		int error;

		whole(_i);
		memset(fakedrv_ptr(&f, ans_gpa, 300), 0xee, 300);
		put(REQ, full, room);
		push_kick(REQ);
		error = take(REQ);
		ck_assert_uint_le(body_len + (error == 1 ? 0 : ANSWER), room < ANSWER ? 300 : room);
		ck_assert_uint_eq(*(uint8_t *)fakedrv_ptr(&f, ans_gpa + room, 1), 0xee);
		mend();
	}
}
END_TEST

/* Header and answer in single bytes. */
START_TEST(any_layout)
{
	struct fakebuf b[HEAD + 5 + 30 + 1];
	uint32_t i, len = write_request(FUSE_LOOKUP, ROOT, "file", 5, NULL, 0);
	struct fuse_entry_out x;

	for (i = 0; i < len; i++)
		b[i] = (struct fakebuf){ req_gpa + i, 1, false };
	for (i = 0; i < 30; i++)
		b[len + i] = (struct fakebuf){ ans_gpa + i, 1, true };
	b[len + 30] = (struct fakebuf){ ans_gpa + 30, 4096, true };
	fakedrv_add(&f, REQ, b, len + 31);
	push_kick(REQ);
	ck_assert_int_eq(take(REQ), 0);
	memcpy(&x, body, sizeof(x));
	ck_assert_uint_eq(x.attr.size, 10);
}
END_TEST

START_TEST(broken_ring)
{
	fakedrv_desc(&f, REQ, 0, req_gpa, HEAD, VRING_DESC_F_NEXT, 0);
	fakedrv_avail(&f, REQ, 0);
	push_kick(REQ);
	ck_assert_int_eq(take(REQ), 1);
	start_again();
	lookup(ROOT, "file");
}
END_TEST

static const char *const bad_names[] = { "", ".", "..", "/", "a/b", "../x", "dir/below" };

START_TEST(names)
{
	static const uint32_t ops[] = { FUSE_LOOKUP, FUSE_UNLINK, FUSE_RMDIR };
	struct fuse_mkdir_in dir = { .mode = 0755 };
	size_t i, n = strlen(bad_names[_i]) + 1;

	for (i = 0; i < ARRAY_LEN(ops); i++)
		ck_assert_int_lt(ask_name(ops[i], ROOT, bad_names[_i]), 0);
	ck_assert_int_lt(ask2(FUSE_MKDIR, ROOT, &dir, sizeof(dir), bad_names[_i], (uint32_t)n), 0);
	/* Without its end, and with bytes behind it. */
	ck_assert_int_eq(ask(FUSE_LOOKUP, ROOT, "file", 4), -EINVAL);
	ck_assert_int_eq(ask(FUSE_LOOKUP, ROOT, "file\0x", 6), -EINVAL);
	ck_assert_int_eq(access("tree/dir/below", F_OK), 0);
}
END_TEST

START_TEST(long_names)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[255] = 0;
	ck_assert_int_eq(ask_name(FUSE_LOOKUP, ROOT, name), -ENOENT);
	name[255] = 'n';
	name[256] = 0;
	ck_assert_int_eq(ask_name(FUSE_LOOKUP, ROOT, name), -ENAMETOOLONG);
}
END_TEST

/* ---- nodes and files ----------------------------------------------------------------------- */

static int attr_error(uint64_t node)
{
	struct fuse_getattr_in in = { 0 };

	return ask(FUSE_GETATTR, node, &in, sizeof(in));
}

static void forget(uint16_t q, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	put(q, write_request(FUSE_FORGET, node, &in, sizeof(in), NULL, 0), 0);
	push_kick(q);
	ck_assert_int_eq(take(q), 0);
}

/* Forgets go out at the end of a turn: the next request of that worker is behind them. */
static void settle_at(uint32_t want)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	int i;

	for (i = 0; i < WAIT_S * 1000 && n_nodes() != want; i++)
		nanosleep(&nap, NULL);
	ck_assert_uint_eq(n_nodes(), want);
}

START_TEST(forgetting)
{
	uint64_t node = lookup(ROOT, "file"), same = lookup(ROOT, "file"), dir;
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[3];
	} batch = { .in = { .count = UINT32_MAX } };

	ck_assert_uint_eq(node, same);
	forget(HIPRIO, node, 1);
	ck_assert_int_eq(attr_error(node), 0);
	forget(HIPRIO, node, 1);
	settle_at(1);
	ck_assert_int_eq(attr_error(node), -ESTALE);
	node = lookup(ROOT, "file");
	forget(REQ, node, UINT64_MAX);
	settle_at(1);
	forget(REQ, ROOT, UINT64_MAX);
	forget(REQ, 0, 1);
	forget(REQ, UINT64_MAX, 1);
	ck_assert_int_eq(attr_error(ROOT), 0);
	/* More than the message has; a node twice. */
	node = lookup(ROOT, "file");
	dir = lookup(ROOT, "dir");
	batch.one[0] = (struct fuse_forget_one){ node, 1 };
	batch.one[1] = (struct fuse_forget_one){ dir, 1 };
	batch.one[2] = (struct fuse_forget_one){ node, 1 };
	put(HIPRIO, write_request(FUSE_BATCH_FORGET, 0, &batch, sizeof(batch), NULL, 0), 0);
	push_kick(HIPRIO);
	ck_assert_int_eq(take(HIPRIO), 0);
	settle_at(1);
}
END_TEST

static const uint64_t never_given[] = { 0, 2, 1ull << 32, 1ull << 32 | 1, UINT64_MAX };

START_TEST(nodes_never_given)
{
	uint64_t node = never_given[_i];
	struct fuse_open_in o = { 0 };

	ck_assert_int_eq(attr_error(node), -ESTALE);
	ck_assert_int_eq(ask_name(FUSE_LOOKUP, node, "file"), -ESTALE);
	ck_assert_int_eq(ask(FUSE_OPEN, node, &o, sizeof(o)), -ESTALE);
	ck_assert_int_eq(ask(FUSE_OPENDIR, node, &o, sizeof(o)), -ESTALE);
	ck_assert_int_eq(ask(FUSE_READLINK, node, "", 0), -ESTALE);
	ck_assert_int_eq(read_at(ROOT, node, 0, 10), -EBADF);
	ck_assert_int_eq(write_at(ROOT, node, 0, "x", 1, 0, 0), -EBADF);
	ck_assert_int_eq(release(ROOT, node, false), -EBADF);
	ck_assert_int_eq(release(ROOT, node, true), -EBADF);
}
END_TEST

START_TEST(file_handles)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR), old = fh;
	uint64_t dir = lookup(ROOT, "dir"), dh = open_dir(dir);
	struct fuse_fsync_in sync = { .fh = dh };

	/* Another node, another kind, another number in the same slot. */
	ck_assert_int_eq(read_at(dir, fh, 0, 10), -EBADF);
	ck_assert_int_eq(read_at(dir, dh, 0, 10), -EBADF);
	ck_assert_int_eq(release(dir, dh, false), -EBADF);
	ck_assert_int_eq(ask(FUSE_FSYNC, dir, &sync, sizeof(sync)), -EBADF);
	ck_assert_int_eq(ask(FUSE_FSYNCDIR, dir, &sync, sizeof(sync)), 0);
	ck_assert_int_eq(read_at(node, fh + (1ull << 32), 0, 10), -EBADF);
	ck_assert_int_eq(release(node, fh, false), 0);
	ck_assert_int_eq(release(node, fh, false), -EBADF);
	fh = open_file(node, O_RDONLY);
	ck_assert_uint_ne(fh, old);
	ck_assert_int_eq(read_at(node, old, 0, 10), -EBADF);
	ck_assert_int_eq(read_at(node, fh, 0, 10), 0);
	ck_assert_int_eq(write_at(node, fh, 0, "x", 1, 0, 0), -EBADF);
	ck_assert_int_eq(release(dir, dh, true), 0);
	/* Of a file that the guest has forgotten, and that has no name any more. */
	forget(HIPRIO, node, 1);
	ck_assert_int_eq(unlink("tree/file"), 0);
	ck_assert_int_eq(read_at(node, fh, 0, 10), 0);
	ck_assert_uint_eq(body_len, 10);
}
END_TEST

START_TEST(too_many_files)
{
	uint64_t node = lookup(ROOT, "file"), first = open_file(node, O_RDONLY);
	struct fuse_open_in in = { 0 };
	unsigned int n;
	int rc = 0;

	for (n = 1; n < FS_SHARE_FILES_MAX + 10 && !rc; n++)
		rc = ask(FUSE_OPEN, node, &in, sizeof(in));
	ck_assert_int_eq(rc, -EMFILE);
	ck_assert_int_eq(release(node, first, false), 0);
	ck_assert_int_eq(ask(FUSE_OPEN, node, &in, sizeof(in)), 0);
	ck_assert_int_eq(ask(FUSE_OPEN, node, &in, sizeof(in)), -EMFILE);
	start_again();
	ck_assert_uint_eq(atomic_load(&pool->n_files), 0);
}
END_TEST

START_TEST(read_and_write)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	char back[32] = "";
	_cleanup_close_ int host = open("tree/file", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(read_at(node, fh, 2, 100), 0);
	ck_assert_uint_eq(body_len, 8);
	ck_assert_mem_eq(body, "23456789", 8);
	ck_assert_int_eq(read_at(node, fh, 100, 10), 0);
	ck_assert_uint_eq(body_len, 0);
	ck_assert_int_eq(write_at(node, fh, 8, "abcd", 4, 0, 0), 0);
	ck_assert_uint_eq(((struct fuse_write_out *)(void *)body)->size, 4);
	ck_assert_int_eq(pread(host, back, 20, 0), 12);
	ck_assert_str_eq(back, "01234567abcd");
	/* Appending is where the file ends, unless the page cache writes. */
	ck_assert_int_eq(write_at(node, fh, 0, "end", 3, O_APPEND, 0), 0);
	ck_assert_int_eq(write_at(node, fh, 0, "X", 1, O_APPEND, FUSE_WRITE_CACHE), 0);
	ck_assert_int_eq(write_at(node, fh, 1, "Y", 1, O_SYNC, 0), 0);
	ck_assert_int_eq(write_at(node, fh, 2, "Z", 1, O_DSYNC, 0), 0);
	ck_assert_int_eq(pread(host, back, 20, 0), 15);
	ck_assert_str_eq(back, "XYZ34567abcdend");
	ck_assert_int_eq(write_at(node, fh, 0, "", 0, 0, 0), 0);
}
END_TEST

START_TEST(places_and_lengths)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	struct fuse_write_in w = { .fh = fh };
	static const uint32_t sizes[] = { 0, 3, 5, 1u << 20, UINT32_MAX };
	size_t i;

	ck_assert_int_eq(read_at(node, fh, UINT64_MAX, 10), -EINVAL);
	ck_assert_int_eq(read_at(node, fh, 1ull << 63, 10), -EINVAL);
	ck_assert_int_eq(read_at(node, fh, INT64_MAX, 10), -EINVAL);
	ck_assert_int_eq(read_at(node, fh, 0, 0), 0);
	ck_assert_int_eq(read_at(node, fh, 0, UINT32_MAX), 0);
	ck_assert_uint_eq(body_len, 10);
	ck_assert_int_eq(write_at(node, fh, UINT64_MAX, "x", 1, 0, 0), -EINVAL);
	ck_assert_int_lt(write_at(node, fh, INT64_MAX, "x", 1, 0, 0), 0);
	/* WRITE says another size than it brings. */
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		w.size = sizes[i];
		ck_assert_int_eq(ask2(FUSE_WRITE, node, &w, sizeof(w), "1234", 4), -EINVAL);
	}
}
END_TEST

/* A megabyte in scattered pages, there and back. */
START_TEST(large)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	static uint8_t data[FS_IO_BYTES];
	uint64_t state = kit_seed("virtio_fs");
	size_t i;

	for (i = 0; i + 8 <= sizeof(data) - HEAD - sizeof(struct fuse_write_in); i += 8) {
		uint64_t r = kit_random(&state);

		memcpy(data + i, &r, 8);
	}
	ck_assert_int_eq(write_at(node, fh, 5, data, (uint32_t)i, 0, 0), 0);
	ck_assert_uint_eq(((struct fuse_write_out *)(void *)body)->size, i);
	ck_assert_int_eq(read_at(node, fh, 5, (uint32_t)i), 0);
	ck_assert_uint_eq(body_len, i);
	ck_assert_mem_eq(body, data, i);
}
END_TEST

static const struct {
	uint32_t before, flags, after;
} bits[] = {
	{ 06755, 0, 06755 },
	{ 06755, FUSE_WRITE_KILL_SUIDGID, 0755 },
	{ 0644, 0, 0644 },
};

START_TEST(set_user_id)
{
	uint64_t node, fh;
	struct stat st;

	ck_assert_int_eq(chown("tree/file", 7, 7), 0);
	ck_assert_int_eq(chmod("tree/file", bits[_i].before), 0);
	node = lookup(ROOT, "file");
	fh = open_file(node, O_RDWR);
	ck_assert_int_eq(write_at(node, fh, 0, "x", 1, 0, bits[_i].flags), 0);
	ck_assert(!stat("tree/file", &st));
	ck_assert_uint_eq(st.st_mode & 07777, bits[_i].after);
}
END_TEST

START_TEST(create_and_remove)
{
	struct fuse_create_in c = { .flags = O_RDWR, .mode = S_IFREG | 0666, .umask = 027 };
	struct fuse_mkdir_in d = { .mode = 0777, .umask = 022 };
	struct fuse_mknod_in m = { .mode = S_IFCHR | 0666, .rdev = 0x103 };
	struct fuse_rename2_in r = { 0 };
	struct fuse_link_in l = { 0 };
	struct fuse_entry_out x;
	struct fuse_open_out o;
	struct stat st;

	put(REQ, write_request(FUSE_CREATE, ROOT, &c, sizeof(c), "new", 4), ROOM);
	header()->uid = 1000;
	header()->gid = 2000;
	push_kick(REQ);
	ck_assert_int_eq(take(REQ), 0);
	ck_assert_uint_eq(body_len, sizeof(x) + sizeof(o));
	memcpy(&x, body, sizeof(x));
	memcpy(&o, body + sizeof(x), sizeof(o));
	ck_assert_uint_eq(x.attr.mode, S_IFREG | 0640);
	ck_assert(!stat("tree/new", &st) && st.st_uid == 1000 && st.st_gid == 2000);
	ck_assert_int_eq(write_at(x.nodeid, o.fh, 0, "x", 1, 0, 0), 0);
	ck_assert_int_eq(ask2(FUSE_MKDIR, ROOT, &d, sizeof(d), "made", 5), 0);
	memcpy(&x, body, sizeof(x));
	r.newdir = x.nodeid;
	ck_assert_int_eq(ask2(FUSE_RENAME2, ROOT, &r, sizeof(r), "new\0old", 8), 0);
	ck_assert_int_eq(access("tree/made/old", F_OK), 0);
	ck_assert_int_eq(
		ask2(FUSE_RENAME, r.newdir, &r, sizeof(struct fuse_rename_in), "old\0new", 8), 0);
	ck_assert_int_eq(access("tree/made/new", F_OK), 0);
	l.oldnodeid = lookup(ROOT, "file");
	ck_assert_int_eq(ask2(FUSE_LINK, r.newdir, &l, sizeof(l), "hard", 5), 0);
	ck_assert_int_eq(ask(FUSE_SYMLINK, ROOT, "link\0made/hard", 15), 0);
	memcpy(&x, body, sizeof(x));
	ck_assert_int_eq(ask(FUSE_READLINK, x.nodeid, "", 0), 0);
	ck_assert_uint_eq(body_len, 9);
	ck_assert_mem_eq(body, "made/hard", 9);
	ck_assert_int_eq(ask2(FUSE_MKNOD, ROOT, &m, sizeof(m), "dev", 4), -EPERM);
	ck_assert_int_eq(ask_name(FUSE_RMDIR, ROOT, "made"), -ENOTEMPTY);
	ck_assert_int_eq(ask_name(FUSE_UNLINK, r.newdir, "hard"), 0);
	ck_assert_int_eq(ask_name(FUSE_UNLINK, r.newdir, "new"), 0);
	ck_assert_int_eq(ask_name(FUSE_RMDIR, ROOT, "made"), 0);
	ck_assert_int_eq(ask2(FUSE_TMPFILE, ROOT, &c, sizeof(c), "/", 2), 0);
	memcpy(&x, body, sizeof(x));
	ck_assert_uint_eq(x.attr.nlink, 0);
	l.oldnodeid = x.nodeid;
	ck_assert_int_eq(ask2(FUSE_LINK, ROOT, &l, sizeof(l), "named", 6), 0);
}
END_TEST

START_TEST(attributes)
{
	struct fuse_setattr_in s = { .valid = FATTR_SIZE | FATTR_MODE, .size = 4, .mode = 0600 };
	struct fuse_getattr_in g = { .getattr_flags = FUSE_GETATTR_FH };
	struct fuse_access_in a = { .mask = R_OK };
	struct fuse_syncfs_in y = { 0 };
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDONLY);
	struct fuse_attr_out out;

	ck_assert_int_eq(ask(FUSE_SETATTR, node, &s, sizeof(s)), 0);
	memcpy(&out, body, sizeof(out));
	ck_assert_uint_eq(out.attr.size, 4);
	ck_assert_uint_eq(out.attr.mode, S_IFREG | 0600);
	ck_assert_uint_eq(out.attr_valid, 1);
	ck_assert_int_eq(ask(FUSE_GETATTR, node, &g, sizeof(g)), -EBADF);
	g.fh = fh;
	ck_assert_int_eq(ask(FUSE_GETATTR, node, &g, sizeof(g)), 0);
	memcpy(&out, body, sizeof(out));
	ck_assert_uint_eq(out.attr.size, 4);
	ck_assert_int_eq(ask(FUSE_ACCESS, node, &a, sizeof(a)), 0);
	ck_assert_int_eq(ask(FUSE_STATFS, node, "", 0), 0);
	ck_assert_uint_eq(body_len, sizeof(struct fuse_statfs_out));
	ck_assert_int_eq(ask(FUSE_SYNCFS, ROOT, &y, sizeof(y)), 0);
}
END_TEST

static int setxattr_as(bool ext, uint64_t node, const char *name, const void *value, uint32_t len,
		       uint32_t said)
{
	struct fuse_setxattr_in in = { .size = said };
	uint8_t both[300];
	uint32_t n = (uint32_t)strlen(name) + 1;

	memcpy(both, name, n);
	memcpy(both + n, value, len);
	return ask2(FUSE_SETXATTR, node, &in, ext ? sizeof(in) : FUSE_COMPAT_SETXATTR_IN_SIZE, both,
		    n + len);
}

START_TEST(extended_attributes)
{
	struct fuse_getxattr_in g = { .size = 100 };
	struct fuse_init_in in = init_in();
	uint64_t node = lookup(ROOT, "file");
	static char value[SHARE_VALUE_BYTES + 100] = "user.large";

	ck_assert_int_eq(setxattr_as(true, node, "user.a", "blue", 4, 4), 0);
	ck_assert_int_eq(setxattr_as(true, node, "user.a", "blue", 4, 5), -EINVAL);
	ck_assert_int_eq(setxattr_as(true, node, "user.a", "blue", 4, 0), -EINVAL);
	ck_assert_int_eq(setxattr_as(true, node, "user.a", "blue", 4, UINT32_MAX), -EINVAL);
	ck_assert_int_eq(setxattr_as(true, node, "trusted.a", "blue", 4, 4), -EOPNOTSUPP);
	ck_assert_int_eq(ask2(FUSE_GETXATTR, node, &g, sizeof(g), "user.a", 7), 0);
	ck_assert_uint_eq(body_len, 4);
	ck_assert_mem_eq(body, "blue", 4);
	ck_assert_int_eq(ask(FUSE_LISTXATTR, node, &g, sizeof(g)), 0);
	ck_assert_uint_eq(body_len, 7);
	g.size = 0;
	ck_assert_int_eq(ask(FUSE_LISTXATTR, node, &g, sizeof(g)), 0);
	ck_assert_uint_eq(((struct fuse_getxattr_out *)(void *)body)->size, 7);
	g.size = 3;
	ck_assert_int_eq(ask2(FUSE_GETXATTR, node, &g, sizeof(g), "user.a", 7), -ERANGE);
	/* Room for less than the guest says that it wants. */
	g.size = 100;
	put(REQ, write_request(FUSE_GETXATTR, node, &g, sizeof(g), "user.a", 7), 50);
	push_kick(REQ);
	ck_assert_int_eq(take(REQ), -EINVAL);
	ck_assert_int_eq(ask_name(FUSE_REMOVEXATTR, node, "user.a"), 0);
	/* The largest value that there is, and one more. */
	{
		struct fuse_setxattr_in s = { .size = SHARE_VALUE_BYTES + 1 };

		ck_assert_int_eq(
			ask2(FUSE_SETXATTR, node, &s, sizeof(s), value, 11 + SHARE_VALUE_BYTES + 1),
			-E2BIG);
		s.size = SHARE_VALUE_BYTES;
		ck_assert_int_le(
			ask2(FUSE_SETXATTR, node, &s, sizeof(s), value, 11 + SHARE_VALUE_BYTES), 0);
	}
	/* The short form, for a guest that does not know the other. */
	in.flags &= ~(uint32_t)FUSE_SETXATTR_EXT;
	ck_assert_int_eq(ask(FUSE_INIT, 0, &in, sizeof(in)), 0);
	node = lookup(ROOT, "file");
	ck_assert_int_eq(setxattr_as(false, node, "user.b", "red", 3, 3), 0);
}
END_TEST

START_TEST(ranges)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR), other, fo;
	struct fuse_fallocate_in a = { .fh = fh, .offset = 1 << 20, .length = 4096 };
	struct fuse_lseek_in s = { .fh = fh, .offset = 0, .whence = SEEK_HOLE };
	struct fuse_copy_file_range_in c = { .fh_in = fh, .len = UINT64_MAX };
	struct stat st;

	ck_assert_int_eq(ask(FUSE_FALLOCATE, node, &a, sizeof(a)), 0);
	ck_assert(!stat("tree/file", &st) && st.st_size == (1 << 20) + 4096);
	a.mode = 0x80;
	ck_assert_int_eq(ask(FUSE_FALLOCATE, node, &a, sizeof(a)), -EOPNOTSUPP);
	a = (struct fuse_fallocate_in){ .fh = fh, .offset = UINT64_MAX, .length = 1 };
	ck_assert_int_eq(ask(FUSE_FALLOCATE, node, &a, sizeof(a)), -EINVAL);
	ck_assert_int_eq(ask(FUSE_LSEEK, node, &s, sizeof(s)), 0);
	ck_assert_uint_gt(((struct fuse_lseek_out *)(void *)body)->offset, 0);
	s.whence = SEEK_END;
	ck_assert_int_eq(ask(FUSE_LSEEK, node, &s, sizeof(s)), -EINVAL);
	s.whence = SEEK_DATA;
	s.offset = UINT64_MAX;
	ck_assert_int_eq(ask(FUSE_LSEEK, node, &s, sizeof(s)), -EINVAL);
	kit_file("tree/other", "", 0);
	other = lookup(ROOT, "other");
	fo = open_file(other, O_RDWR);
	c.nodeid_out = other;
	c.fh_out = fo;
	ck_assert_int_eq(ask(FUSE_COPY_FILE_RANGE, node, &c, sizeof(c)), 0);
	ck_assert_uint_gt(((struct fuse_write_out *)(void *)body)->size, 9);
	c.flags = 1;
	ck_assert_int_eq(ask(FUSE_COPY_FILE_RANGE, node, &c, sizeof(c)), -EINVAL);
	c.flags = 0;
	c.fh_out = fh;
	ck_assert_int_eq(ask(FUSE_COPY_FILE_RANGE, node, &c, sizeof(c)), -EBADF);
}
END_TEST

/* ---- directories -------------------------------------------------------------------------------
 */

#define FILES 300

/* Reads a whole directory with answers of @size bytes. Return: entries */
static unsigned int read_dir(uint32_t op, uint64_t node, uint64_t fh, uint32_t size, bool *seen)
{
	struct fuse_read_in in = { .fh = fh, .size = size };
	uint32_t head = op == FUSE_READDIRPLUS ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	unsigned int n = 0, number;

	for (;;) {
		uint32_t at = 0;

		ck_assert_int_eq(ask(op, node, &in, sizeof(in)), 0);
		if (!body_len)
			return n;
		ck_assert_uint_le(body_len, size);
		while (at < body_len) {
			struct fuse_dirent d;
			char name[256] = "";

			memcpy(&d, body + at + head - FUSE_NAME_OFFSET, FUSE_NAME_OFFSET);
			ck_assert_uint_le(d.namelen, 255);
			memcpy(name, body + at + head, d.namelen);
			if (op == FUSE_READDIRPLUS) {
				struct fuse_entry_out x;

				memcpy(&x, body + at, sizeof(x));
				ck_assert_int_eq(!x.nodeid,
						 !strcmp(name, ".") || !strcmp(name, ".."));
				ck_assert(!x.nodeid || x.attr.ino == d.ino);
			}
			if (sscanf(name, "many-%u", &number) == 1 && number < FILES) {
				ck_assert(!seen[number]);
				seen[number] = true;
			}
			in.offset = d.off;
			at += (uint32_t)FUSE_DIRENT_ALIGN(head + d.namelen);
			n++;
		}
		ck_assert_uint_eq(at, body_len);
	}
}

static const struct {
	uint32_t op, size;
} readings[] = {
	{ FUSE_READDIR, 4096 },		 { FUSE_READDIR, 65536 },     { FUSE_READDIR, 300 },
	{ FUSE_READDIRPLUS, 4096 },	 { FUSE_READDIRPLUS, 65536 }, { FUSE_READDIRPLUS, 450 },
	{ FUSE_READDIRPLUS, ROOM - 64 },
};

START_TEST(directory)
{
	uint64_t dir = lookup(ROOT, "dir"), fh = open_dir(dir);
	bool seen[FILES] = { false };
	unsigned int i;
	char name[40];

	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "tree/dir/many-%u", i);
		kit_file(name, "", 0);
	}
	ck_assert_uint_eq(read_dir(readings[_i].op, dir, fh, readings[_i].size, seen), FILES + 3);
	for (i = 0; i < FILES; i++)
		ck_assert_msg(seen[i], "%u is missing", i);
	ck_assert_uint_eq(n_nodes(), readings[_i].op == FUSE_READDIRPLUS ? FILES + 3 : 2);
	start_again();
	ck_assert_uint_eq(n_nodes(), 1);
}
END_TEST

START_TEST(hostile_directory)
{
	uint64_t fh = open_dir(ROOT);
	struct fuse_read_in in = { .fh = fh, .size = 16 };
	static const uint64_t places[] = { 1, 12345, INT64_MAX, UINT64_MAX, 1ull << 63 };
	size_t i;

	ck_assert_int_eq(ask(FUSE_READDIR, ROOT, &in, sizeof(in)), -EINVAL);
	ck_assert_int_eq(ask(FUSE_READDIRPLUS, ROOT, &in, sizeof(in)), -EINVAL);
	in.size = 0;
	ck_assert_int_eq(ask(FUSE_READDIR, ROOT, &in, sizeof(in)), -EINVAL);
	in.size = UINT32_MAX;
	for (i = 0; i < ARRAY_LEN(places); i++) {
		in.offset = places[i];
		ck_assert_int_le(ask(FUSE_READDIR, ROOT, &in, sizeof(in)), 0);
		ck_assert_int_le(ask(FUSE_READDIRPLUS, ROOT, &in, sizeof(in)), 0);
	}
}
END_TEST

/* ".." of the share is the share: the number of what is above is not the guest's. */
START_TEST(parent_of_the_root)
{
	uint64_t fh = open_dir(ROOT);
	struct fuse_read_in in = { .fh = fh, .size = 4096 };
	struct stat above;
	uint32_t at = 0;

	ck_assert(!stat(".", &above));
	ck_assert_int_eq(ask(FUSE_READDIR, ROOT, &in, sizeof(in)), 0);
	while (at < body_len) {
		struct fuse_dirent d;

		memcpy(&d, body + at, FUSE_NAME_OFFSET);
		ck_assert_uint_ne(d.ino, above.st_ino);
		at += (uint32_t)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
	}
}
END_TEST

/* ---- locks
 * ---------------------------------------------------------------------------------------- */

static uint32_t lock_request(uint32_t op, uint64_t node, uint64_t fh, uint64_t owner, uint32_t type,
			     uint32_t flags)
{
	struct fuse_lk_in in = { .fh = fh,
				 .owner = owner,
				 .lk_flags = flags,
				 .lk = { .end = INT64_MAX, .type = type, .pid = 77 } };

	return write_request(op, node, &in, sizeof(in), NULL, 0);
}

static int lock(uint32_t op, uint64_t node, uint64_t fh, uint64_t owner, uint32_t type,
		uint32_t flags)
{
	put(REQ, lock_request(op, node, fh, owner, type, flags), ROOM);
	push_kick(REQ);
	return take(REQ);
}

static unsigned int n_parked(void)
{
	struct fs_session *n = &((struct fs *)f.d)->session;
	unsigned int parked;

	pthread_mutex_lock(&n->lock);
	parked = n->n_parked;
	pthread_mutex_unlock(&n->lock);
	return parked;
}

/* Asks for a lock that somebody has, and waits until the request is parked. */
static uint64_t wait_for_lock(uint64_t node, uint64_t fh, uint64_t owner, uint32_t flags)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	unsigned int before = n_parked();
	int i;

	put(REQ + 1, lock_request(FUSE_SETLKW, node, fh, owner, F_WRLCK, flags), 16);
	push_kick(REQ + 1);
	for (i = 0; i < WAIT_S * 1000 && n_parked() == before; i++)
		nanosleep(&nap, NULL);
	ck_assert_uint_eq(n_parked(), before + 1);
	return unique;
}

START_TEST(posix_locks)
{
	uint64_t node = lookup(ROOT, "file"), a = open_file(node, O_RDWR),
		 b = open_file(node, O_RDWR);
	struct fuse_flush_in flush = { .fh = a, .lock_owner = 1 };
	struct fuse_lk_out out;

	ck_assert_int_eq(lock(FUSE_SETLK, node, a, 1, F_WRLCK, 0), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, a, 2, F_WRLCK, 0), -EAGAIN);
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 2, F_RDLCK, 0), -EAGAIN);
	/* The same owner by another file has it already. */
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 1, F_WRLCK, 0), 0);
	ck_assert_int_eq(lock(FUSE_GETLK, node, b, 2, F_RDLCK, 0), 0);
	memcpy(&out, body, sizeof(out));
	ck_assert_uint_eq(out.lk.type, F_WRLCK);
	ck_assert_uint_eq(out.lk.end, INT64_MAX);
	ck_assert_int_eq(lock(FUSE_GETLK, node, a, 1, F_WRLCK, 0), 0);
	memcpy(&out, body, sizeof(out));
	ck_assert_uint_eq(out.lk.type, F_UNLCK);
	/* Closing any of its files gives the owner's locks back. */
	ck_assert_int_eq(ask(FUSE_FLUSH, node, &flush, sizeof(flush)), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 2, F_WRLCK, 0), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 2, F_UNLCK, 0), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 9, F_UNLCK, 0), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 3, F_RDLCK, 0), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, a, 2, F_RDLCK, 0), 0);
	/* And so does the end of the file that it came by. */
	ck_assert_int_eq(release(node, b, false), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, a, 2, F_WRLCK, 0), 0);
}
END_TEST

START_TEST(hostile_locks)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	struct fuse_lk_in in = { .fh = fh, .lk = { .start = 5, .end = 4, .type = F_WRLCK } };
	unsigned int i;
	int rc = 0;

	ck_assert_int_eq(ask(FUSE_SETLK, node, &in, sizeof(in)), -EINVAL);
	in.lk = (struct fuse_file_lock){ .start = 1ull << 63, .end = UINT64_MAX };
	ck_assert_int_eq(ask(FUSE_SETLK, node, &in, sizeof(in)), -EINVAL);
	ck_assert_int_eq(ask(FUSE_GETLK, node, &in, sizeof(in)), -EINVAL);
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, 3, 0), -EINVAL);
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, UINT32_MAX, FUSE_LK_FLOCK), -EINVAL);
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh + 1, 1, F_WRLCK, 0), -EBADF);
	/* As many owners as it likes: an end, and they cost nothing afterwards. */
	for (i = 0; i < FS_OWNERS_MAX + 1 && !rc; i++)
		rc = lock(FUSE_SETLK, node, fh, i, F_RDLCK, 0);
	ck_assert(rc == -ENOLCK || rc == -EMFILE);
	ck_assert_int_eq(release(node, fh, false), 0);
	ck_assert_uint_eq(atomic_load(&pool->n_files), 0);
}
END_TEST

START_TEST(waiting_for_a_lock)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);

	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_WRLCK, 0), 0);
	wait_for_lock(node, fh, 2, 0);
	/* Others are served meanwhile, on all queues. */
	lookup(ROOT, "dir");
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_UNLCK, 0), 0);
	ck_assert_int_eq(take(REQ + 1), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_WRLCK, 0), -EAGAIN);
	ck_assert_uint_eq(n_parked(), 0);
}
END_TEST

/* Whoever else has it on the host. */
START_TEST(lock_of_the_host)
{
	struct flock w = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int host = open("tree/file", O_RDWR | O_CLOEXEC);
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	struct fuse_lk_out out;

	ck_assert_int_eq(fcntl(host, F_OFD_SETLK, &w), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_WRLCK, 0), -EAGAIN);
	ck_assert_int_eq(lock(FUSE_GETLK, node, fh, 5, F_RDLCK, 0), 0);
	memcpy(&out, body, sizeof(out));
	ck_assert_uint_eq(out.lk.type, F_WRLCK);
	wait_for_lock(node, fh, 1, 0);
	w.l_type = F_UNLCK;
	ck_assert_int_eq(fcntl(host, F_OFD_SETLK, &w), 0);
	ck_assert_int_eq(take(REQ + 1), 0);
	w.l_type = F_WRLCK;
	ck_assert_int_lt(fcntl(host, F_OFD_SETLK, &w), 0);
}
END_TEST

START_TEST(file_locks)
{
	uint64_t node = lookup(ROOT, "file"), a = open_file(node, O_RDWR),
		 b = open_file(node, O_RDONLY);
	_cleanup_close_ int host = open("tree/file", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(lock(FUSE_SETLK, node, a, 1, F_WRLCK, FUSE_LK_FLOCK), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 1, F_RDLCK, FUSE_LK_FLOCK), -EAGAIN);
	ck_assert(flock(host, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	ck_assert_int_eq(lock(FUSE_SETLK, node, a, 1, F_RDLCK, FUSE_LK_FLOCK), 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, b, 1, F_RDLCK, FUSE_LK_FLOCK), 0);
	wait_for_lock(node, b, 1, FUSE_LK_FLOCK);
	ck_assert_int_eq(release(node, a, false), 0);
	/* Nothing told us; the retry finds out. */
	ck_assert_int_eq(take(REQ + 1), 0);
	ck_assert_int_eq(release(node, b, false), 0);
	ck_assert_int_eq(flock(host, LOCK_EX | LOCK_NB), 0);
}
END_TEST

START_TEST(interrupted)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	struct fuse_interrupt_in in;

	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_WRLCK, 0), 0);
	in.unique = wait_for_lock(node, fh, 2, 0);
	put(HIPRIO, write_request(FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0), 0);
	push_kick(HIPRIO);
	ck_assert_int_eq(take(HIPRIO), 0);
	ck_assert_int_eq(take(REQ + 1), -EINTR);
	ck_assert_uint_eq(got.unique, in.unique);
	/* One that is not known any more. */
	put(HIPRIO, write_request(FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0), 0);
	push_kick(HIPRIO);
	ck_assert_int_eq(take(HIPRIO), 0);
}
END_TEST

START_TEST(too_many_wait)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	unsigned int i;

	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_WRLCK, 0), 0);
	/* Two descriptors each: as many as the queue takes. */
	for (i = 0; i < SIZE / 2; i++)
		wait_for_lock(node, fh, 2 + i, 0);
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_UNLCK, 0), 0);
	ck_assert_int_eq(take(REQ + 1), 0);
	/* A session that ends answers those who wait; here with one answer for all. */
	ck_assert_int_eq(ask(FUSE_DESTROY, 0, "", 0), 0);
	for (i = 1; i < SIZE / 2; i++)
		take(REQ + 1);
	ck_assert_uint_eq(n_parked(), 0);
}
END_TEST

START_TEST(reset_while_one_waits)
{
	uint64_t node = lookup(ROOT, "file"), fh = open_file(node, O_RDWR);
	_cleanup_close_ int host = open("tree/file", O_RDWR | O_CLOEXEC);
	struct flock w = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_WRLCK, 0), 0);
	wait_for_lock(node, fh, 2, 0);
	start_again();
	ck_assert_uint_eq(n_parked(), 0);
	ck_assert_int_eq(fcntl(host, F_OFD_SETLK, &w), 0);
}
END_TEST

/* ---- read-only, caches, many at a time ----------------------------------------------------------
 */

START_TEST(read_only)
{
	struct fuse_mkdir_in d = { .mode = 0777 };
	struct fuse_open_in o = { .flags = O_RDWR };
	uint64_t node, fh;

	teardown();
	setup_with(true, VMM_CACHE_AUTO);
	ck_assert_int_eq(ask2(FUSE_MKDIR, ROOT, &d, sizeof(d), "new", 4), -EROFS);
	ck_assert_int_eq(ask_name(FUSE_UNLINK, ROOT, "file"), -EROFS);
	node = lookup(ROOT, "file");
	ck_assert_int_eq(ask(FUSE_OPEN, node, &o, sizeof(o)), -EROFS);
	fh = open_file(node, O_RDONLY);
	ck_assert_int_eq(read_at(node, fh, 0, 10), 0);
	ck_assert_int_eq(write_at(node, fh, 0, "x", 1, 0, 0), -EBADF);
	ck_assert_int_eq(lock(FUSE_SETLK, node, fh, 1, F_RDLCK, 0), 0);
}
END_TEST

static const struct {
	uint8_t cache;
	uint64_t valid;
	uint32_t file, dir;
	int absent;
} caches[] = {
	{ VMM_CACHE_AUTO, 1, 0, 0, -ENOENT },
	{ VMM_CACHE_NONE, 0, FOPEN_DIRECT_IO, 0, -ENOENT },
	{ VMM_CACHE_ALWAYS, 86400, FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR, 0 },
};

START_TEST(cache_mode)
{
	struct fuse_open_in in = { 0 };
	struct fuse_entry_out x;
	struct fuse_open_out o;

	teardown();
	setup_with(false, caches[_i].cache);
	ck_assert_int_eq(ask_name(FUSE_LOOKUP, ROOT, "file"), 0);
	memcpy(&x, body, sizeof(x));
	ck_assert_uint_eq(x.entry_valid, caches[_i].valid);
	ck_assert_uint_eq(x.attr_valid, caches[_i].valid);
	ck_assert_int_eq(ask(FUSE_OPEN, x.nodeid, &in, sizeof(in)), 0);
	memcpy(&o, body, sizeof(o));
	ck_assert_uint_eq(o.open_flags, caches[_i].file);
	ck_assert_int_eq(ask(FUSE_OPENDIR, ROOT, &in, sizeof(in)), 0);
	memcpy(&o, body, sizeof(o));
	ck_assert_uint_eq(o.open_flags, caches[_i].dir);
	ck_assert_int_eq(ask_name(FUSE_LOOKUP, ROOT, "none"), caches[_i].absent);
	if (!caches[_i].absent) {
		memcpy(&x, body, sizeof(x));
		ck_assert_uint_eq(x.nodeid, 0);
		ck_assert_uint_eq(x.entry_valid, 86400);
	}
}
END_TEST

/* A full queue, one kick: all are answered, each once. */
START_TEST(many_at_a_time)
{
	uint64_t gpa = fakedrv_alloc(&f, SIZE * 4096), node = lookup(ROOT, "file");
	uint64_t fh = open_file(node, O_RDWR);
	bool answered[SIZE] = { false };
	uint32_t i, id, len, round;

	for (round = 0; round < 20; round++) {
		memset(answered, 0, sizeof(answered));
		for (i = 0; i < SIZE / 2; i++) {
			struct fakebuf b[2] = { { gpa + i * 8192, HEAD + 40, false },
						{ gpa + i * 8192 + 4096, 4096, true } };
			struct fuse_read_in in = { .fh = fh, .size = 4000 };

			write_request(FUSE_READ, node, &in, sizeof(in), NULL, 0);
			memcpy(fakedrv_ptr(&f, b[0].gpa, 100), fakedrv_ptr(&f, req_gpa, 100), 100);
			fakedrv_add(&f, REQ, b, 2);
		}
		push_kick(REQ);
		for (i = 0; i < SIZE / 2; i++) {
			unsigned int seen = irqs_now();

			while (!fakedrv_used(&f, REQ, &id, &len)) {
				wait_irq(seen);
				seen = irqs_now();
			}
			ck_assert_uint_eq(len, ANSWER + 10);
			ck_assert(!answered[id]);
			answered[id] = true;
		}
	}
}
END_TEST

/* ---- brokers
 * --------------------------------------------------------------------------------------- */

static int channel[2] = { -1, -1 };

/* A share whose broker is the test. */
static void setup_alone(void)
{
	basics();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
	attach(new_share("alone", VMM_CACHE_AUTO, &channel[1], 1));
}

static void teardown_alone(void)
{
	fd_close(&channel[0]);
	teardown();
}

static struct share_request question(void)
{
	uint8_t msg[SHARE_MSG_BYTES];
	struct share_request rq;
	ssize_t n = recv(channel[0], msg, sizeof(msg), 0);

	ck_assert_int_ge(n, (ssize_t)sizeof(rq));
	memcpy(&rq, msg, sizeof(rq));
	ck_assert_uint_eq(rq.len, (size_t)n - sizeof(rq));
	return rq;
}

static void answer(uint32_t seq, int32_t error, uint32_t said, const void *data, size_t len, int fd)
{
	uint8_t msg[4096] = { 0 };
	struct share_reply rp = { .seq = seq, .error = error, .len = said };
	struct err e;

	memcpy(msg, &rp, sizeof(rp));
	memcpy(msg + sizeof(rp), data, len);
	ck_assert_int_ge(fd_send(channel[0], msg, sizeof(rp) + len, &fd, fd < 0 ? 0 : 1, &e), 0);
}

static void init_alone(void)
{
	struct fuse_init_in in = init_in();

	put(REQ, write_request(FUSE_INIT, 0, &in, sizeof(in), NULL, 0), ROOM);
	push_kick(REQ);
	answer(question().seq, 0, 0, "", 0, -1);
	ck_assert_int_eq(take(REQ), 0);
}

static const struct {
	const char *what;
	uint32_t op;
	uint32_t seq;
	int32_t error;
	uint32_t len;
	int more;
	bool fd;
	int want;
} liars[] = {
	{ "another question", FUSE_GETATTR, 1, 0, sizeof(struct fuse_attr), 0, false, -EIO },
	{ "too short for attributes", FUSE_GETATTR, 0, 0, 8, 0, false, -EIO },
	{ "nothing", FUSE_GETATTR, 0, 0, 0, 0, false, -EIO },
	{ "says more than it has", FUSE_GETATTR, 0, 0, sizeof(struct fuse_attr), 8, false, -EIO },
	{ "says less than it has", FUSE_GETATTR, 0, 0, sizeof(struct fuse_attr), -8, false, -EIO },
	{ "a positive error", FUSE_GETATTR, 0, 5, 0, 0, false, -EIO },
	{ "an impossible error", FUSE_GETATTR, 0, INT32_MIN, 0, 0, false, -EIO },
	{ "an error above 512", FUSE_GETATTR, 0, -600, 0, 0, false, -EIO },
	{ "an error", FUSE_GETATTR, 0, -EACCES, 0, 0, false, -EACCES },
	{ "a descriptor for nothing", FUSE_GETATTR, 0, 0, sizeof(struct fuse_attr), 0, true, -EIO },
	{ "a descriptor with an error", FUSE_OPEN, 0, -EACCES, 0, 0, true, -EIO },
	{ "no descriptor", FUSE_OPEN, 0, 0, 0, 0, false, -EIO },
	{ "no entry", FUSE_LOOKUP, 0, 0, 8, 0, false, -EIO },
	{ "statistics that are none", FUSE_STATFS, 0, 0, 8, 0, false, -EIO },
	{ "longer than asked", FUSE_LISTXATTR, 0, 0, 101, 0, false, -EIO },
	{ "good", FUSE_GETATTR, 0, 0, sizeof(struct fuse_attr), 0, false, 0 },
};

START_TEST(broker_lies)
{
	uint8_t data[400] = { 0 };
	struct fuse_getxattr_in g = { .size = 100 };
	size_t fds;
	uint32_t len;

	init_alone();
	fds = kit_fds();
	memcpy(data, "x", 2);
	len = write_request(liars[_i].op, ROOT, data,
			    liars[_i].op == FUSE_LOOKUP	  ? 2
			    : liars[_i].op == FUSE_OPEN	  ? 8
			    : liars[_i].op == FUSE_STATFS ? 0
							  : 16,
			    NULL, 0);
	if (liars[_i].op == FUSE_LISTXATTR)
		len = write_request(FUSE_LISTXATTR, ROOT, &g, sizeof(g), NULL, 0);
	if (liars[_i].op == FUSE_GETATTR)
		memset(fakedrv_ptr(&f, req_gpa + HEAD, 16), 0, 16);
	put(REQ, len, ROOM);
	push_kick(REQ);
	answer(question().seq + liars[_i].seq, liars[_i].error,
	       (uint32_t)((int)liars[_i].len + liars[_i].more), data, liars[_i].len,
	       liars[_i].fd ? channel[0] : -1);
	ck_assert_msg(take(REQ) == liars[_i].want, "%s: %d", liars[_i].what, got.error);
	ck_assert_uint_eq(kit_fds(), fds);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

START_TEST(broker_goes_away)
{
	uint64_t node;

	init_alone();
	put(REQ, write_request(FUSE_LOOKUP, ROOT, "file", 5, NULL, 0), ROOM);
	push_kick(REQ);
	question();
	fd_close(&channel[0]);
	ck_assert_int_eq(take(REQ), -EIO);
	for (node = 0; node < 3; node++)
		ck_assert_int_eq(ask_name(FUSE_LOOKUP, node, "file"), -EIO);
	reset();
}
END_TEST

/* A reset takes as long as the request that it meets. */
START_TEST(reset_in_the_middle)
{
	struct share_request rq;
	int i;

	init_alone();
	put(REQ, write_request(FUSE_LOOKUP, ROOT, "file", 5, NULL, 0), ROOM);
	push_kick(REQ);
	rq = question();
	fakedrv_reset(&f);
	for (i = 0; i < 20; i++)
		fakedrv_poll(&f);
	ck_assert_uint_eq(f.d->s.status, 15);
	ck_assert(f.d->resetting);
	memset(fakedrv_ptr(&f, ans_gpa, 16), 0xee, 16);
	answer(rq.seq, -ENOENT, 0, "", 0, -1);
	/* Then the broker is told to forget. */
	rq = question();
	ck_assert_uint_eq(rq.op, SHARE_RESET);
	answer(rq.seq, 0, 0, "", 0, -1);
	reset();
	ck_assert(!fakedrv_used(&f, REQ, NULL, NULL));
	attach(f.d);
	init_alone();
}
END_TEST

/* The device's end while a request is under way waits for it. */
static void *late_answers(void *unused)
{
	struct timespec nap = { .tv_nsec = 20000000 };

	(void)unused;
	nanosleep(&nap, NULL);
	answer(question().seq, 0, 0, "", 0, -1);
	return NULL;
}

START_TEST(end_in_the_middle)
{
	struct share_request rq;
	pthread_t t;

	init_alone();
	put(REQ, write_request(FUSE_LOOKUP, ROOT, "file", 5, NULL, 0), ROOM);
	push_kick(REQ);
	rq = question();
	answer(rq.seq, -ENOENT, 0, "", 0, -1);
	ck_assert_int_eq(pthread_create(&t, NULL, late_answers, NULL), 0);
	fakedrv_done(&f);
	f.d = NULL;
	pthread_join(t, NULL);
}
END_TEST

/* One share's broker hangs on all its channels: the other share does not. */
START_TEST(one_share_hangs)
{
	struct virtio_dev *first = f.d;
	struct fakeq rings[VIRTIO_QUEUES_MAX];
	int ends[SHARE_CHANNELS_MAX], pair[3][2], i;
	struct fuse_init_in in = init_in();
	struct virtio_dev *d;
	uint16_t q;

	init_alone();
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair[i]), 0);
		ends[i] = pair[i][1];
	}
	d = new_share("hangs", VMM_CACHE_AUTO, ends, 3);
	memcpy(rings, f.q, sizeof(rings));
	attach(d);
	for (q = 0; q < 3; q++) {
		put(q, write_request(FUSE_INIT, 0, &in, sizeof(in), NULL, 0), ROOM);
		push_kick(q);
	}
	f.d = first;
	memcpy(f.q, rings, sizeof(rings));
	req_gpa = fakedrv_alloc(&f, ROOM);
	put(REQ, write_request(FUSE_LOOKUP, ROOT, "file", 5, NULL, 0), ROOM);
	push_kick(REQ);
	answer(question().seq, -ENOENT, 0, "", 0, -1);
	ck_assert_int_eq(take(REQ), -ENOENT);
	/* It ends with its broker. */
	for (i = 0; i < 3; i++)
		close(pair[i][0]);
	pthread_mutex_lock(&d->lock);
	d->ops->stop(d);
	d->running = false;
	pthread_mutex_unlock(&d->lock);
	d->ops->free(d);
}
END_TEST

static const struct {
	const char *tag;
	uint8_t cache;
	unsigned int n;
	bool pipe;
	const char *text;
} refusals[] = {
	{ "", 0, 1, false, "tag" },
	{ "1234567890123456789012345678901234567", 0, 1, false, "tag" },
	{ "a\nb", 0, 1, false, "control characters" },
	{ "ok", 3, 1, false, "cache" },
	{ "ok", 0, 0, false, "0 channels" },
	{ "ok", 0, 5, false, "5 channels" },
	{ "ok", 0, 1, true, "SOCK_SEQPACKET" },
};

START_TEST(refused)
{
	int pair[2], ends[8], i;
	struct vmm_share cfg = { .cache = refusals[_i].cache };
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(
		socketpair(AF_UNIX, refusals[_i].pipe ? SOCK_STREAM : SOCK_SEQPACKET, 0, pair), 0);
	for (i = 0; i < 8; i++)
		ends[i] = pair[0];
	memcpy(cfg.tag, refusals[_i].tag, strlen(refusals[_i].tag));
	ck_assert_int_eq(fs_new(&cfg, ends, refusals[_i].n, 1, pool, &f.mem, f.loop, &d, &e),
			 -EINVAL);
	ck_assert_msg(strstr(e.text, refusals[_i].text) != NULL, "%s", e.text);
	ck_assert_int_ge(fcntl(pair[0], F_GETFD), 0);
}
END_TEST

static TCase *protocol_case(void)
{
	TCase *t = tcase_create("protocol");

	tcase_add_test(t, configuration);
	tcase_add_test(t, init_offers);
	tcase_add_loop_test(t, version, 0, (int)ARRAY_LEN(versions));
	tcase_add_test(t, nothing_before_init);
	tcase_add_loop_test(t, unknown_request, 0, (int)ARRAY_LEN(unknown));
	tcase_add_test(t, sessions_end);
	tcase_add_loop_test(t, cut_short, 0, (int)ARRAY_LEN(kinds));
	tcase_add_loop_test(t, too_long, 0, (int)ARRAY_LEN(kinds));
	tcase_add_loop_test(t, answer_room, 0, (int)ARRAY_LEN(kinds));
	tcase_add_test(t, any_layout);
	tcase_add_test(t, broken_ring);
	tcase_add_loop_test(t, names, 0, (int)ARRAY_LEN(bad_names));
	tcase_add_test(t, long_names);
	return t;
}

static TCase *files_case(void)
{
	TCase *t = tcase_create("files");

	tcase_add_test(t, forgetting);
	tcase_add_loop_test(t, nodes_never_given, 0, (int)ARRAY_LEN(never_given));
	tcase_add_test(t, file_handles);
	tcase_add_test(t, too_many_files);
	tcase_add_test(t, read_and_write);
	tcase_add_test(t, places_and_lengths);
	tcase_add_test(t, large);
	tcase_add_loop_test(t, set_user_id, 0, (int)ARRAY_LEN(bits));
	tcase_add_test(t, create_and_remove);
	tcase_add_test(t, attributes);
	tcase_add_test(t, extended_attributes);
	tcase_add_test(t, ranges);
	tcase_add_loop_test(t, directory, 0, (int)ARRAY_LEN(readings));
	tcase_add_test(t, hostile_directory);
	tcase_add_test(t, parent_of_the_root);
	tcase_add_test(t, read_only);
	tcase_add_loop_test(t, cache_mode, 0, (int)ARRAY_LEN(caches));
	tcase_add_test(t, many_at_a_time);
	return t;
}

static TCase *locks_case(void)
{
	TCase *t = tcase_create("locks");

	tcase_add_test(t, posix_locks);
	tcase_add_test(t, hostile_locks);
	tcase_add_test(t, waiting_for_a_lock);
	tcase_add_test(t, lock_of_the_host);
	tcase_add_test(t, file_locks);
	tcase_add_test(t, interrupted);
	tcase_add_test(t, too_many_wait);
	tcase_add_test(t, reset_while_one_waits);
	return t;
}

static TCase *broker_case(void)
{
	TCase *t = tcase_create("broker");

	tcase_add_checked_fixture(t, setup_alone, teardown_alone);
	tcase_add_loop_test(t, broker_lies, 0, (int)ARRAY_LEN(liars));
	tcase_add_test(t, broker_goes_away);
	tcase_add_test(t, reset_in_the_middle);
	tcase_add_test(t, end_in_the_middle);
	tcase_add_test(t, one_share_hangs);
	tcase_add_loop_test(t, refused, 0, (int)ARRAY_LEN(refusals));
	tcase_set_timeout(t, 120);
	return t;
}

Suite *virtio_fs_suite(void)
{
	Suite *s = suite_create("virtio_fs");
	const char *why = kit_storage_missing(false);
	TCase *t[] = { protocol_case(), files_case(), locks_case() };
	size_t i;

	if (why) {
		kit_skip("virtio_fs", why);
		return s;
	}
	for (i = 0; i < ARRAY_LEN(t); i++) {
		tcase_add_checked_fixture(t[i], setup, teardown);
		tcase_set_timeout(t[i], 240);
		suite_add_tcase(s, t[i]);
	}
	suite_add_tcase(s, broker_case());
	return s;
}
