// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/vsock*.c between a fake driver, which is the guest, and unix
 * sockets, which are the host. The guest here knows nothing but packets, so it
 * can break every rule.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/kit/fakedrv.h"
#include "vmm/virtio/vsock.h"

#define RX 0
#define TX 1
#define CID 77
#define SIZE 128
#define RX_BYTES 4096u
#define FEATURES (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX)
#define HDR sizeof(struct virtio_vsock_hdr)
#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define PORT 1024

Suite *virtio_vsock_suite(void);

static struct fakedrv f;
static uint64_t tx_room, rx_room, head_gpa[SIZE];
static uint32_t fwd, buf_alloc;

/* A packet that the guest got. */
static struct virtio_vsock_hdr got;
static uint8_t body[RX_BYTES];

static void rx_fill(unsigned int n)
{
	while (n--) {
		struct fakebuf b = { rx_room, RX_BYTES, true };
		uint16_t head;
		unsigned int i;

		for (i = 0; i < SIZE && f.q[RX].busy[i]; i++)
			;
		b.gpa = rx_room + (uint64_t)RX_BYTES * i;
		head = fakedrv_add(&f, RX, &b, 1);
		head_gpa[head] = b.gpa;
	}
	fakedrv_kick(&f, RX);
}

static void setup(void)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	fakedrv_init(&f);
	tx_room = fakedrv_alloc(&f, 1 << 20);
	rx_room = fakedrv_alloc(&f, SIZE * RX_BYTES);
	fwd = 0;
	buf_alloc = 1 << 18;
	ck_assert_msg(!vsock_new(CID, &f.mem, f.loop, &d, &e), "%s", e.text);
	f.d = d;
}

static void setup_running(void)
{
	setup();
	fakedrv_attach(&f, f.d, FEATURES, SIZE);
	rx_fill(64);
}

static void teardown(void)
{
	fakedrv_done(&f);
}

/* Next packet to the guest, into @got and @body; its buffer is given again. */
static bool next(void)
{
	uint32_t id, len;

	fakedrv_poll(&f);
	if (!fakedrv_used(&f, RX, &id, &len))
		return false;
	ck_assert_uint_ge(len, HDR);
	ck_assert_uint_le(len, RX_BYTES);
	memcpy(&got, fakedrv_ptr(&f, head_gpa[id], HDR), HDR);
	ck_assert_uint_eq(len, HDR + got.len);
	memcpy(body, fakedrv_ptr(&f, head_gpa[id] + HDR, 1), got.len);
	rx_fill(1);
	return true;
}

static void expect(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	ck_assert_msg(next(), "no packet, wanted op %u", op);
	ck_assert_uint_eq(got.op, op);
	ck_assert_uint_eq(got.src_cid, 2);
	ck_assert_uint_eq(got.dst_cid, CID);
	ck_assert_uint_eq(got.src_port, host_port);
	ck_assert_uint_eq(got.dst_port, guest_port);
	ck_assert_uint_eq(got.type, 1);
}

static struct virtio_vsock_hdr packet(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID, .dst_cid = 2,
		.src_port = guest_port, .dst_port = host_port, .type = 1, .op = op,
		.buf_alloc = buf_alloc, .fwd_cnt = fwd };
}

static void send_raw(const struct virtio_vsock_hdr *h, const void *data, uint32_t len)
{
	struct fakebuf b[2] = { { tx_room, HDR, false }, { tx_room + 4096, len, false } };

	memcpy(fakedrv_ptr(&f, tx_room, HDR), h, HDR);
	if (len)
		memcpy(fakedrv_ptr(&f, tx_room + 4096, len), data, len);
	fakedrv_add(&f, TX, b, len ? 2 : 1);
	fakedrv_kick(&f, TX);
	while (fakedrv_used(&f, TX, NULL, NULL))
		;
}

static void guest(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	struct virtio_vsock_hdr h = packet(op, guest_port, host_port);

	send_raw(&h, NULL, 0);
}

static void guest_flags(uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct virtio_vsock_hdr h = packet(VIRTIO_VSOCK_OP_SHUTDOWN, guest_port, host_port);

	h.flags = flags;
	send_raw(&h, NULL, 0);
}

static void guest_data(uint32_t guest_port, uint32_t host_port, const void *data,
		       uint32_t len)
{
	struct virtio_vsock_hdr h = packet(VIRTIO_VSOCK_OP_RW, guest_port, host_port);

	h.len = len;
	send_raw(&h, data, len);
}

/* A socket pair: one end to the device, the other returned. */
static int pair(int *ret_theirs)
{
	int sp[2];

	ck_assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sp));
	*ret_theirs = sp[1];
	return sp[0];
}

static int listen_on(uint32_t port)
{
	struct err e = { 0 };
	int theirs, ours = pair(&theirs);

	ck_assert_msg(!vsock_listen(f.d, port, theirs, &e), "%s", e.text);
	return ours;
}

static int connect_to(uint32_t port)
{
	struct err e = { 0 };
	int theirs, ours = pair(&theirs);

	ck_assert_msg(!vsock_connect(f.d, port, theirs, &e), "%s", e.text);
	return ours;
}

/* An open connection that the guest made from port @guest_port. */
static int open_from(uint32_t guest_port)
{
	int fd = listen_on(PORT);

	guest(VIRTIO_VSOCK_OP_REQUEST, guest_port, PORT);
	expect(VIRTIO_VSOCK_OP_RESPONSE, guest_port, PORT);
	ck_assert_uint_ge(got.buf_alloc, VSOCK_BUF_BYTES);
	return fd;
}

static unsigned int conns(void)
{
	fakedrv_poll(&f);
	return ((struct vsock *)f.d)->n_conns;
}

static void host_reads(int fd, const char *want)
{
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf));

	ck_assert_int_eq(n, (ssize_t)strlen(want));
	ck_assert_mem_eq(buf, want, (size_t)n);
}

static bool host_eof(int fd)
{
	char c;

	return read(fd, &c, 1) == 0;
}

START_TEST(test_guest_calls)
{
	int fd;

	ck_assert_uint_eq(vsock_first_call_ns(f.d), 0);
	fd = open_from(5);
	ck_assert_uint_ne(vsock_first_call_ns(f.d), 0);
	guest_data(5, PORT, "hello", 5);
	host_reads(fd, "hello");
	ck_assert_int_eq(write(fd, "world", 5), 5);
	expect(VIRTIO_VSOCK_OP_RW, 5, PORT);
	ck_assert_uint_eq(got.len, 5);
	ck_assert_uint_eq(got.fwd_cnt, 5);
	ck_assert_mem_eq(body, "world", 5);
	close(fd);
}
END_TEST

START_TEST(test_host_calls)
{
	int fd = connect_to(99);
	uint32_t port;

	ck_assert(next());
	port = got.src_port;
	ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_REQUEST);
	ck_assert_uint_eq(got.dst_port, 99);
	ck_assert_uint_ge(port, 1u << 30);
	ck_assert_int_eq(write(fd, "early", 5), 5);
	ck_assert(!next());
	guest(VIRTIO_VSOCK_OP_RESPONSE, 99, port);
	expect(VIRTIO_VSOCK_OP_RW, 99, port);
	guest_data(99, port, "reply", 5);
	host_reads(fd, "reply");
	close(fd);
	expect(VIRTIO_VSOCK_OP_SHUTDOWN, 99, port);
	while (got.flags != BOTH)
		expect(VIRTIO_VSOCK_OP_SHUTDOWN, 99, port);
	guest(VIRTIO_VSOCK_OP_RST, 99, port);
	ck_assert(!next());
	ck_assert_uint_eq(conns(), 0);
	ck_assert_uint_eq(vsock_first_call_ns(f.d), 0);
}
END_TEST

START_TEST(test_refused_by_guest)
{
	int fd = connect_to(99);

	ck_assert(next());
	guest(VIRTIO_VSOCK_OP_RST, 99, got.src_port);
	ck_assert(host_eof(fd));
	ck_assert_uint_eq(conns(), 0);
	close(fd);
}
END_TEST

START_TEST(test_refused_by_host)
{
	guest(VIRTIO_VSOCK_OP_REQUEST, 5, PORT);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	ck_assert_uint_ne(vsock_first_call_ns(f.d), 0);
}
END_TEST

/* Several sockets for one port are given out in order, each once. */
START_TEST(test_listen_queue)
{
	int a = listen_on(PORT), b = listen_on(PORT), c = listen_on(PORT + 1);

	guest(VIRTIO_VSOCK_OP_REQUEST, 1, PORT);
	guest(VIRTIO_VSOCK_OP_REQUEST, 2, PORT);
	guest(VIRTIO_VSOCK_OP_REQUEST, 3, PORT);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 1, PORT);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 2, PORT);
	expect(VIRTIO_VSOCK_OP_RST, 3, PORT);
	guest_data(2, PORT, "two", 3);
	guest_data(1, PORT, "one", 3);
	host_reads(a, "one");
	host_reads(b, "two");
	close(a);
	close(b);
	close(c);
}
END_TEST

/* Before the driver runs, calls wait; a reset in between does not lose them. */
START_TEST(test_before_driver)
{
	int a = connect_to(9), b = listen_on(PORT), c = connect_to(10);

	close(c);
	ck_assert_int_eq(write(a, "waiting", 7), 7);
	ck_assert_uint_eq(conns(), 1);
	fakedrv_reset(&f);
	fakedrv_poll(&f);
	fakedrv_attach(&f, f.d, FEATURES, SIZE);
	rx_fill(8);
	ck_assert(next());
	ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_REQUEST);
	guest(VIRTIO_VSOCK_OP_RESPONSE, 9, got.src_port);
	expect(VIRTIO_VSOCK_OP_RW, 9, got.src_port);
	ck_assert_mem_eq(body, "waiting", 7);
	guest(VIRTIO_VSOCK_OP_REQUEST, 5, PORT);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 5, PORT);
	close(a);
	close(b);
}
END_TEST

START_TEST(test_reset_drops)
{
	int a = open_from(5), b = connect_to(9), c = listen_on(PORT);

	ck_assert_uint_eq(conns(), 2);
	fakedrv_reset(&f);
	ck_assert_uint_eq(conns(), 0);
	ck_assert(host_eof(a));
	ck_assert(host_eof(b));
	fakedrv_attach(&f, f.d, FEATURES, SIZE);
	rx_fill(8);
	guest_data(5, PORT, "x", 1);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	guest(VIRTIO_VSOCK_OP_REQUEST, 6, PORT);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 6, PORT);
	close(a);
	close(b);
	close(c);
}
END_TEST

/* The guest ends its sending; the host may still answer. */
START_TEST(test_half_close_guest)
{
	int fd = open_from(5);

	guest_data(5, PORT, "all", 3);
	guest_flags(5, PORT, VIRTIO_VSOCK_SHUTDOWN_SEND);
	host_reads(fd, "all");
	ck_assert(host_eof(fd));
	ck_assert_int_eq(write(fd, "answer", 6), 6);
	expect(VIRTIO_VSOCK_OP_RW, 5, PORT);
	ck_assert_mem_eq(body, "answer", 6);
	close(fd);
	do
		expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, PORT);
	while (got.flags != BOTH);
	guest(VIRTIO_VSOCK_OP_RST, 5, PORT);
	ck_assert_uint_eq(conns(), 0);
}
END_TEST

/* The host ends its sending; the guest may still answer. */
START_TEST(test_half_close_host)
{
	int fd = open_from(5);

	ck_assert_int_eq(write(fd, "question", 8), 8);
	shutdown(fd, SHUT_WR);
	expect(VIRTIO_VSOCK_OP_RW, 5, PORT);
	expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, PORT);
	ck_assert_uint_eq(got.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	guest_data(5, PORT, "answer", 6);
	host_reads(fd, "answer");
	guest_flags(5, PORT, VIRTIO_VSOCK_SHUTDOWN_SEND);
	ck_assert(host_eof(fd));
	expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, PORT);
	ck_assert_uint_eq(got.flags, BOTH);
	guest(VIRTIO_VSOCK_OP_RST, 5, PORT);
	ck_assert_uint_eq(conns(), 0);
	close(fd);
}
END_TEST

START_TEST(test_guest_closes)
{
	int fd = open_from(5);

	guest_data(5, PORT, "last", 4);
	guest_flags(5, PORT, BOTH);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	host_reads(fd, "last");
	ck_assert(host_eof(fd));
	ck_assert_uint_eq(conns(), 0);
	close(fd);
}
END_TEST

START_TEST(test_guest_deaf)
{
	int fd = open_from(5);

	guest_flags(5, PORT, VIRTIO_VSOCK_SHUTDOWN_RCV);
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	guest_data(5, PORT, "still", 5);
	host_reads(fd, "still");
	guest_flags(5, PORT, VIRTIO_VSOCK_SHUTDOWN_SEND);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	ck_assert(host_eof(fd));
	close(fd);
}
END_TEST

/* The host has gone: what the guest still sends is swallowed, until it says RST. */
START_TEST(test_host_gone)
{
	int fd = open_from(5), i;

	close(fd);
	do
		expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, PORT);
	while (got.flags != BOTH);
	for (i = 0; i < 40; i++)
		guest_data(5, PORT, body, RX_BYTES);
	while (next())
		ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	guest_flags(5, PORT, BOTH);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	ck_assert_uint_eq(conns(), 0);
}
END_TEST

/* Fills the host's socket and the ring until the guest has no credit. */
static uint32_t use_up_credit(void)
{
	uint32_t sent = 0, told = 0, chunk = RX_BYTES;
	static uint8_t data[RX_BYTES];
	int rounds;

	for (rounds = 0; rounds < 2000; rounds++) {
		while (next()) {
			ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			told = got.fwd_cnt;
		}
		if (VSOCK_BUF_BYTES - (sent - told) < chunk)
			break;
		guest_data(5, PORT, data, chunk);
		sent += chunk;
	}
	ck_assert_int_lt(rounds, 2000);
	guest(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 5, PORT);
	expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, PORT);
	told = got.fwd_cnt;
	while (VSOCK_BUF_BYTES - (sent - told) > 0) {
		chunk = VSOCK_BUF_BYTES - (sent - told);
		chunk = chunk < RX_BYTES ? chunk : RX_BYTES;
		guest_data(5, PORT, data, chunk);
		sent += chunk;
	}
	ck_assert_uint_eq(conns(), 1);
	return sent;
}

/* All credit is used; then the reader starts, and gets everything. */
START_TEST(test_slow_reader)
{
	static uint8_t back[65536];
	int fd = open_from(5);
	uint32_t sent = use_up_credit(), read_bytes = 0;
	bool reset_after = _i;

	if (reset_after)
		guest(VIRTIO_VSOCK_OP_RST, 5, PORT);
	else
		guest_flags(5, PORT, BOTH);
	ck_assert(!next());
	for (;;) {
		ssize_t n = read(fd, back, sizeof(back));

		if (!n)
			break;
		if (n > 0)
			read_bytes += (uint32_t)n;
		else
			ck_assert_int_eq(errno, EAGAIN);
		fakedrv_poll(&f);
	}
	ck_assert_uint_eq(read_bytes, sent);
	while (next())
		ck_assert_uint_ne(got.op, VIRTIO_VSOCK_OP_RW);
	if (!reset_after)
		ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_RST);
	ck_assert_uint_eq(conns(), 0);
	close(fd);
}
END_TEST

/* The bytes through ring and wrap-around are those that were sent. */
START_TEST(test_ring_content)
{
	uint32_t sent = 0, seen = 0, told = 0, i;
	static uint8_t data[3001], back[9973];
	int fd = open_from(5), idle = 0;

	while (seen < 400000) {
		ssize_t n;

		for (; sent - told + sizeof(data) <= VSOCK_BUF_BYTES; sent += sizeof(data)) {
			for (i = 0; i < sizeof(data); i++)
				data[i] = (uint8_t)((sent + i) * 2654435761u >> 24);
			guest_data(5, PORT, data, sizeof(data));
		}
		n = read(fd, back, sizeof(back));
		for (i = 0; n > 0 && i < n; i++)
			ck_assert_uint_eq(back[i], (uint8_t)((seen + i) * 2654435761u >> 24));
		seen += n > 0 ? (uint32_t)n : 0;
		ck_assert_int_lt(idle = n > 0 ? 0 : idle + 1, 100);
		while (next())
			told = got.fwd_cnt;
	}
	close(fd);
}
END_TEST

/* The guest has no room: bytes stay with the host until it says so. */
START_TEST(test_guest_credit)
{
	static uint8_t data[10000];
	int fd, n;

	buf_alloc = 1000;
	fd = open_from(5);
	n = (int)write(fd, data, sizeof(data));
	ck_assert_int_eq(n, sizeof(data));
	expect(VIRTIO_VSOCK_OP_RW, 5, PORT);
	ck_assert_uint_eq(got.len, 1000);
	expect(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 5, PORT);
	ck_assert(!next());
	fwd = 400;
	guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, PORT);
	expect(VIRTIO_VSOCK_OP_RW, 5, PORT);
	ck_assert_uint_eq(got.len, 400);
	expect(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 5, PORT);
	/* A smaller window, and an older count, are no violation. */
	buf_alloc = 10;
	fwd = 100;
	guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, PORT);
	ck_assert(!next());
	buf_alloc = UINT32_MAX;
	guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, PORT);
	for (n = 1400; n < (int)sizeof(data); n += (int)got.len)
		expect(VIRTIO_VSOCK_OP_RW, 5, PORT);
	ck_assert_int_eq(n, sizeof(data));
	close(fd);
}
END_TEST

/* No buffers: nothing is read, nothing spins; a kick goes on. */
START_TEST(test_no_buffers)
{
	static uint8_t data[60000];
	uint32_t seen = 0;
	int fd;

	setup();
	fakedrv_attach(&f, f.d, FEATURES, SIZE);
	rx_fill(1);
	fd = listen_on(PORT);
	guest(VIRTIO_VSOCK_OP_REQUEST, 5, PORT);
	ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
	fakedrv_poll(&f);
	close(fd);
	fakedrv_poll(&f);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 5, PORT);
	while (seen < sizeof(data)) {
		ck_assert(next());
		if (got.op == VIRTIO_VSOCK_OP_RW)
			seen += got.len;
		else
			ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_SHUTDOWN);
	}
	expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, PORT);
	ck_assert_uint_eq(got.flags, BOTH);
}
END_TEST

struct wrong {
	const char *name;
	int open;	/* 1: on an open connection, 0: on none, 2: one being called */
	uint16_t op;
	uint32_t src_cid, dst_cid;
	uint16_t type;
	uint32_t fwd_cnt;
	bool rst;
};

static const struct wrong wrongs[] = {
	{ "other guest", 0, VIRTIO_VSOCK_OP_REQUEST, CID + 1, 2, 1, 0, false },
	{ "from the host", 0, VIRTIO_VSOCK_OP_REQUEST, 2, 2, 1, 0, false },
	{ "to itself", 0, VIRTIO_VSOCK_OP_REQUEST, CID, CID, 1, 0, true },
	{ "to the hypervisor", 0, VIRTIO_VSOCK_OP_REQUEST, CID, 0, 1, 0, true },
	{ "to anybody", 0, VIRTIO_VSOCK_OP_RW, CID, UINT32_MAX, 1, 0, true },
	{ "seqpacket", 0, VIRTIO_VSOCK_OP_REQUEST, CID, 2, 2, 0, true },
	{ "type 0", 0, VIRTIO_VSOCK_OP_REQUEST, CID, 2, 0, 0, true },
	{ "op 0", 0, 0, CID, 2, 1, 0, true },
	{ "op 65535", 0, 0xffff, CID, 2, 1, 0, true },
	{ "data", 0, VIRTIO_VSOCK_OP_RW, CID, 2, 1, 0, true },
	{ "response", 0, VIRTIO_VSOCK_OP_RESPONSE, CID, 2, 1, 0, true },
	{ "shutdown", 0, VIRTIO_VSOCK_OP_SHUTDOWN, CID, 2, 1, 0, true },
	{ "credit", 0, VIRTIO_VSOCK_OP_CREDIT_UPDATE, CID, 2, 1, 0, true },
	{ "credit request", 0, VIRTIO_VSOCK_OP_CREDIT_REQUEST, CID, 2, 1, 0, true },
	{ "rst", 0, VIRTIO_VSOCK_OP_RST, CID, 2, 1, 0, false },
	{ "second request", 1, VIRTIO_VSOCK_OP_REQUEST, CID, 2, 1, 0, true },
	{ "second response", 1, VIRTIO_VSOCK_OP_RESPONSE, CID, 2, 1, 0, true },
	{ "op 0, open", 1, 0, CID, 2, 1, 0, true },
	{ "op 99, open", 1, 99, CID, 2, 1, 0, true },
	{ "counts what was not sent", 1, VIRTIO_VSOCK_OP_CREDIT_UPDATE, CID, 2, 1, 1, true },
	{ "counts far more", 1, VIRTIO_VSOCK_OP_RW, CID, 2, 1, 0x7fffffff, true },
	{ "data before response", 2, VIRTIO_VSOCK_OP_RW, CID, 2, 1, 0, true },
	{ "request against request", 2, VIRTIO_VSOCK_OP_REQUEST, CID, 2, 1, 0, true },
	{ "shutdown before response", 2, VIRTIO_VSOCK_OP_SHUTDOWN, CID, 2, 1, 0, true },
};

START_TEST(test_wrong)
{
	const struct wrong *w = &wrongs[_i];
	struct virtio_vsock_hdr h = packet(w->op, 5, PORT);
	int fd = -1;

	if (w->open == 1)
		fd = open_from(5);
	if (w->open == 2) {
		fd = connect_to(5);
		ck_assert(next());
		h.dst_port = got.src_port;
	}
	h.src_cid = w->src_cid;
	h.dst_cid = w->dst_cid;
	h.type = w->type;
	h.fwd_cnt = w->fwd_cnt;
	send_raw(&h, NULL, 0);
	if (w->rst) {
		ck_assert_msg(next(), "%s", w->name);
		ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_RST);
		ck_assert_uint_eq(got.src_cid, w->dst_cid);
		ck_assert_uint_eq(got.src_port, h.dst_port);
		ck_assert_uint_eq(got.dst_port, 5);
		ck_assert_uint_eq(got.type, w->type);
	}
	ck_assert(!next());
	ck_assert(!fakedrv_is_broken(&f));
	ck_assert_uint_eq(conns(), 0);
	if (fd >= 0)
		ck_assert(host_eof(fd));
	fd_close(&fd);
}
END_TEST

/* More than its credit: the connection ends, nothing of it is stored. */
START_TEST(test_credit_fraud)
{
	static uint8_t data[VSOCK_BUF_BYTES + 1];
	int fd = open_from(5);

	guest_data(5, PORT, data, VSOCK_BUF_BYTES + 1);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	ck_assert(host_eof(fd));
	ck_assert_uint_eq(conns(), 0);
	close(fd);
	fd = open_from(5);
	use_up_credit();
	guest_data(5, PORT, data, 1);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	ck_assert_uint_eq(conns(), 0);
	close(fd);
}
END_TEST

START_TEST(test_data_after_end)
{
	int fd = open_from(5);

	guest_flags(5, PORT, VIRTIO_VSOCK_SHUTDOWN_SEND);
	guest_data(5, PORT, "x", 1);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	close(fd);
}
END_TEST

START_TEST(test_violations)
{
	struct virtio_vsock_hdr h = packet(VIRTIO_VSOCK_OP_RW, 5, PORT);
	struct fakebuf short_head = { tx_room, HDR - 1, false };
	struct fakebuf writable = { tx_room, HDR, true };
	struct fakebuf head = { tx_room, HDR, false };

	h.len = _i == 0 ? 1 : UINT32_MAX;
	memcpy(fakedrv_ptr(&f, tx_room, HDR), &h, HDR);
	if (_i < 2)
		fakedrv_add(&f, TX, &head, 1);
	else
		fakedrv_add(&f, TX, _i == 2 ? &short_head : &writable, 1);
	fakedrv_kick(&f, TX);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert(!fakedrv_used(&f, TX, NULL, NULL));
	fakedrv_reset(&f);
	fakedrv_attach(&f, f.d, FEATURES, SIZE);
	rx_fill(8);
	close(open_from(5));
}
END_TEST

START_TEST(test_rx_violations)
{
	struct fakebuf b = { .len = _i ? 1000 : HDR, .in = !_i };

	setup();
	fakedrv_attach(&f, f.d, FEATURES, SIZE);
	b.gpa = rx_room;
	fakedrv_add(&f, RX, &b, 1);
	fakedrv_kick(&f, RX);
	ck_assert(!fakedrv_is_broken(&f));
	guest(VIRTIO_VSOCK_OP_RW, 1, 1);
	ck_assert(fakedrv_is_broken(&f));
}
END_TEST

/* Answers pile up while the guest gives no buffers: its packets wait then. */
START_TEST(test_rst_flood)
{
	struct virtio_vsock_hdr h = packet(VIRTIO_VSOCK_OP_RW, 5, PORT);
	struct fakebuf b = { .len = HDR };
	unsigned int sent = 0, done = 0, rsts = 0, i;

	setup();
	fakedrv_attach(&f, f.d, FEATURES, SIZE);
	b.gpa = tx_room;
	memcpy(fakedrv_ptr(&f, tx_room, HDR), &h, HDR);
	for (i = 0; i < 3; i++) {
		while (sent - done < SIZE) {
			fakedrv_add(&f, TX, &b, 1);
			sent++;
		}
		fakedrv_kick(&f, TX);
		while (fakedrv_used(&f, TX, NULL, NULL))
			done++;
	}
	ck_assert_uint_eq(done, VSOCK_RSTS_MAX);
	rx_fill(32);
	while (next()) {
		ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_RST);
		rsts++;
	}
	while (fakedrv_used(&f, TX, NULL, NULL))
		done++;
	ck_assert_uint_eq(done, sent);
	ck_assert_uint_eq(rsts, sent);
}
END_TEST

/* 200 connections at once, each with its own bytes in both directions. */
START_TEST(test_many)
{
	int fd[200];
	uint32_t i, n = 0;

	for (i = 0; i < 200; i += 2)
		fd[i] = connect_to(i);
	while (n < 100 && next()) {
		ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_REQUEST);
		guest(VIRTIO_VSOCK_OP_RESPONSE, got.dst_port, got.src_port);
		n++;
	}
	for (i = 1; i < 200; i += 2)
		fd[i] = open_from(i);
	for (i = 0; i < 200; i++)
		ck_assert_int_eq(write(fd[i], &i, sizeof(i)), sizeof(i));
	for (i = 0; i < 200; i++) {
		ck_assert(next());
		ck_assert_uint_eq(got.op, VIRTIO_VSOCK_OP_RW);
		ck_assert_mem_eq(body, &got.dst_port, 4);
		guest_data(got.dst_port, got.src_port, body, 4);
	}
	for (i = 0; i < 200; i++) {
		ck_assert_int_eq(read(fd[i], &n, sizeof(n)), sizeof(n));
		ck_assert_uint_eq(n, i);
		close(fd[i]);
	}
	while (next())
		if (got.op == VIRTIO_VSOCK_OP_SHUTDOWN && got.flags == BOTH)
			guest(VIRTIO_VSOCK_OP_RST, got.dst_port, got.src_port);
	ck_assert_uint_eq(conns(), 0);
}
END_TEST

START_TEST(test_caps)
{
	struct err e = { 0 };
	int theirs, ours, i, keep[VSOCK_CONNS_MAX];

	for (i = 0; i < 400; i++)
		keep[i] = connect_to((uint32_t)i);
	ck_assert_uint_eq(conns(), 400);
	while (i)
		close(keep[--i]);
	while (next())
		;
	/* A call that nobody waits for any more is taken back. */
	ck_assert_uint_eq(conns(), 0);
	((struct vsock *)f.d)->n_conns = VSOCK_CONNS_MAX;
	ours = pair(&theirs);
	ck_assert_int_eq(vsock_connect(f.d, 1, theirs, &e), -ENOSPC);
	ck_assert_int_ge(fcntl(theirs, F_GETFD), 0);
	ck_assert(!vsock_listen(f.d, PORT, theirs, &e));
	guest(VIRTIO_VSOCK_OP_REQUEST, 5, PORT);
	expect(VIRTIO_VSOCK_OP_RST, 5, PORT);
	((struct vsock *)f.d)->n_conns = 0;
	guest(VIRTIO_VSOCK_OP_REQUEST, 5, PORT);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 5, PORT);
	close(ours);
}
END_TEST

START_TEST(test_refused)
{
	static const uint32_t cids[] = { 0, 1, 2, UINT32_MAX };
	struct virtio_dev *d = NULL;
	struct err e = { 0 };
	int sp[2], i;

	for (i = 0; i < 4; i++)
		ck_assert_int_eq(vsock_new(cids[i], &f.mem, f.loop, &d, &e), -EINVAL);
	ck_assert(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp));
	ck_assert_int_eq(vsock_listen(f.d, 1, sp[0], &e), -EINVAL);
	ck_assert_int_eq(vsock_connect(f.d, 1, sp[0], &e), -EINVAL);
	close(sp[0]);
	close(sp[1]);
	ck_assert(!pipe2(sp, O_CLOEXEC));
	ck_assert_int_eq(vsock_listen(f.d, 1, sp[0], &e), -ENOTSOCK);
	close(sp[0]);
	close(sp[1]);
}
END_TEST

START_TEST(test_config)
{
	uint64_t cid = 0;

	f.d->ops->config_read(f.d, 0, &cid, sizeof(cid));
	ck_assert_uint_eq(cid, CID);
	fakedrv_kick(&f, 2);
}
END_TEST

Suite *virtio_vsock_suite(void)
{
	Suite *s = suite_create("virtio_vsock");
	TCase *t = tcase_create("running");

	tcase_add_checked_fixture(t, setup_running, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_guest_calls);
	tcase_add_test(t, test_host_calls);
	tcase_add_test(t, test_refused_by_guest);
	tcase_add_test(t, test_refused_by_host);
	tcase_add_test(t, test_listen_queue);
	tcase_add_test(t, test_reset_drops);
	tcase_add_test(t, test_half_close_guest);
	tcase_add_test(t, test_half_close_host);
	tcase_add_test(t, test_guest_closes);
	tcase_add_test(t, test_guest_deaf);
	tcase_add_test(t, test_host_gone);
	tcase_add_loop_test(t, test_slow_reader, 0, 2);
	tcase_add_test(t, test_ring_content);
	tcase_add_test(t, test_guest_credit);
	tcase_add_loop_test(t, test_wrong, 0, (int)(sizeof(wrongs) / sizeof(wrongs[0])));
	tcase_add_test(t, test_credit_fraud);
	tcase_add_test(t, test_data_after_end);
	tcase_add_loop_test(t, test_violations, 0, 4);
	tcase_add_test(t, test_many);
	tcase_add_test(t, test_caps);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_config);
	suite_add_tcase(s, t);
	t = tcase_create("starting");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_before_driver);
	suite_add_tcase(s, t);
	t = tcase_create("starved");
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_no_buffers);
	tcase_add_loop_test(t, test_rx_violations, 0, 2);
	tcase_add_test(t, test_rst_flood);
	suite_add_tcase(s, t);
	return s;
}
