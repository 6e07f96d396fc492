// SPDX-License-Identifier: Apache-2.0
/*
 * The console: hvc0's output and input, further ports with their control messages,
 * back-pressure both ways, and drivers that lie.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "tests/kit/fakedrv.h"
#include "tests/kit/kit.h"
#include "vmm/virtio/console.h"

#define F_MULTIPORT (1ull << 1)
#define F_EMERG_WRITE (1ull << 2)
#define QUEUE 16

enum event { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN,
	     PORT_NAME };

struct control {
	uint32_t id;
	uint16_t event, value;
	char name[VMM_NAME_BYTES];
};

Suite *virtio_console_suite(void);

static struct fakedrv f;
static struct virtio_dev *d;
static int out[2];			/* what hvc0 prints is read from [0] */
static int peer[CONSOLE_PORTS_MAX];	/* the other ends of ports */
static uint64_t buf;			/* a page of the guest */

static void make(bool socket)
{
	struct err e;

	fakedrv_init(&f);
	if (socket)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
	else
		ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	ck_assert_int_eq(console_new(out[1], &f.mem, f.loop, &d, &e), 0);
	buf = fakedrv_alloc(&f, 4096);
}

static void add_port(int id, const char *name)
{
	char text[VMM_NAME_BYTES] = "";
	struct err e;
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	strcpy(text, name);
	ck_assert_int_eq(console_add_port(d, text, s[1], &e), 0);
	peer[id] = s[0];
	fcntl(s[0], F_SETFL, O_NONBLOCK);
}

static void setup(void)
{
	log_open(-1, LOG_LEVEL_ERROR, false);
	memset(peer, -1, sizeof(peer));
}

static void teardown(void)
{
	size_t i;

	if (!f.d)
		f.d = d;
	fakedrv_done(&f);
	close(out[0]);
	for (i = 0; i < ARRAY_LEN(peer); i++)
		if (peer[i] >= 0)
			close(peer[i]);
}

static void offer(uint16_t q, uint64_t gpa, uint32_t len, bool in)
{
	struct fakebuf b = { gpa, len, in };

	fakedrv_add(&f, q, &b, 1);
}

static void print(uint16_t q, const char *text)
{
	uint64_t gpa = fakedrv_alloc(&f, strlen(text));

	memcpy(fakedrv_ptr(&f, gpa, strlen(text)), text, strlen(text));
	offer(q, gpa, (uint32_t)strlen(text), false);
	fakedrv_kick(&f, q);
}

static const char *got(int fd)
{
	static char text[8192];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = 0;
	return text;
}

static void say(uint32_t id, uint16_t event, uint16_t value)
{
	struct control c = { .id = id, .event = event, .value = value };
	uint64_t gpa = fakedrv_alloc(&f, 8);

	memcpy(fakedrv_ptr(&f, gpa, 8), &c, 8);
	offer(CONSOLE_CONTROL_TX, gpa, 8, false);
	fakedrv_kick(&f, CONSOLE_CONTROL_TX);
	ck_assert(fakedrv_used(&f, CONSOLE_CONTROL_TX, NULL, NULL));
}

/* Gives the device a buffer for a control message. */
static uint64_t control_buffer(uint32_t len)
{
	uint64_t gpa = fakedrv_alloc(&f, 64);

	offer(CONSOLE_CONTROL_RX, gpa, len, true);
	fakedrv_kick(&f, CONSOLE_CONTROL_RX);
	return gpa;
}

/* The next control message, as text: "event id value name"; "" for none. */
static const char *told(void)
{
	static char text[100];
	uint64_t gpa = control_buffer(64);
	struct control c = { .id = 0 };
	uint32_t len;

	text[0] = 0;
	if (!fakedrv_used(&f, CONSOLE_CONTROL_RX, NULL, &len))
		return text;
	ck_assert_uint_ge(len, 8);
	memcpy(&c, fakedrv_ptr(&f, gpa, len), len);
	snprintf(text, sizeof(text), "%u %u %u %s", c.event, c.id, c.value, c.name);
	return text;
}

/* Drives a console with @n ports beside hvc0 to the point where all of them are open. */
static void attach(int n)
{
	static const char *const names[] = { "", "one", "two", "three" };
	int i;

	make(false);
	for (i = 1; i <= n; i++)
		add_port(i, names[i]);
	fakedrv_attach(&f, d, n ? F_MULTIPORT : 0, QUEUE);
	if (!n)
		return;
	say(0xffffffff, DEVICE_READY, 1);
	for (i = 0; i <= n; i++)
		ck_assert_int_eq(told()[0], '0' + DEVICE_ADD);
	for (i = 0; i <= n; i++) {
		say((uint32_t)i, PORT_READY, 1);
		told();
		told();
	}
	for (i = 1; i <= n; i++)
		say((uint32_t)i, PORT_OPEN, 1);
}

START_TEST(output)
{
	attach(0);
	print(1, "hello ");
	print(1, "world\n");
	ck_assert_str_eq(got(out[0]), "hello world\n");
	ck_assert(fakedrv_used(&f, 1, NULL, NULL));
	ck_assert(fakedrv_used(&f, 1, NULL, NULL));
	offer(0, buf, 64, true);
	fakedrv_kick(&f, 0);
	ck_assert(!fakedrv_used(&f, 0, NULL, NULL));	/* no input from a pipe */
	ck_assert_uint_eq(d->q[1].count.out_bytes, 12);
}
END_TEST

START_TEST(emergency)
{
	uint32_t v = 'x', i;

	make(false);
	ck_assert(d->s.offered & F_EMERG_WRITE);
	d->ops->config_write(d, 8, &v, 4);
	v = 'y';
	d->ops->config_write(d, 8, &v, 1);
	for (i = 0; i < 16; i++)
		if (i != 8)
			d->ops->config_write(d, i, &v, 4);
	d->ops->config_write(d, 8, (uint64_t[]){ 'z' }, 8);
	ck_assert_str_eq(got(out[0]), "xy");
}
END_TEST

START_TEST(configuration)
{
	uint8_t c[16];
	uint32_t n;

	make(false);
	ck_assert(!(d->s.offered & F_MULTIPORT));
	ck_assert_uint_eq(d->n_queues, 2);
	add_port(1, "one");
	add_port(2, "two");
	ck_assert(d->s.offered & F_MULTIPORT);
	ck_assert_uint_eq(d->n_queues, 8);
	d->ops->config_read(d, 0, c, sizeof(c));
	memcpy(&n, c + 4, 4);
	ck_assert_uint_eq(n, 3);
}
END_TEST

START_TEST(input)
{
	uint32_t len;

	make(true);
	fakedrv_attach(&f, d, 0, QUEUE);
	ck_assert_int_eq(write(out[0], "abc", 3), 3);
	fakedrv_poll(&f);
	offer(0, buf, 64, true);
	fakedrv_kick(&f, 0);
	ck_assert(fakedrv_used(&f, 0, NULL, &len));
	ck_assert_uint_eq(len, 3);
	ck_assert_int_eq(memcmp(fakedrv_ptr(&f, buf, 3), "abc", 3), 0);
	offer(0, buf, 2, true);
	offer(0, buf + 2, 2, true);
	fakedrv_kick(&f, 0);
	ck_assert_int_eq(write(out[0], "wxyz", 4), 4);
	fakedrv_poll(&f);
	ck_assert(fakedrv_used(&f, 0, NULL, &len) && fakedrv_used(&f, 0, NULL, &len));
	ck_assert_int_eq(memcmp(fakedrv_ptr(&f, buf, 4), "wxyz", 4), 0);
	ck_assert_uint_ge(f.irq[0], 1);
	print(1, "out");
	ck_assert_str_eq(got(out[0]), "out");
}
END_TEST

START_TEST(handshake)
{
	make(false);
	add_port(1, "agent.log");
	add_port(2, "b");
	fakedrv_attach(&f, d, F_MULTIPORT, QUEUE);
	ck_assert_str_eq(told(), "");
	say(0xffffffff, DEVICE_READY, 1);
	/* The buffer of told() that found nothing was taken for the first. */
	ck_assert(fakedrv_used(&f, CONSOLE_CONTROL_RX, NULL, NULL));
	ck_assert_str_eq(told(), "1 1 1 ");
	ck_assert_str_eq(told(), "1 2 1 ");
	say(1, PORT_READY, 1);
	ck_assert_str_eq(told(), "7 1 1 agent.log");
	ck_assert_str_eq(told(), "6 1 1 ");
	say(0, PORT_READY, 1);
	ck_assert_str_eq(told(), "4 0 1 ");
	ck_assert_str_eq(told(), "6 0 1 ");
	say(2, PORT_READY, 0);			/* it could not make that one */
	ck_assert_str_eq(told(), "");
}
END_TEST

START_TEST(ports_both_ways)
{
	uint32_t len;

	attach(2);
	print(CONSOLE_TX(1), "to one");
	print(CONSOLE_TX(2), "to two");
	print(CONSOLE_TX(0), "to hvc0");
	ck_assert_str_eq(got(peer[1]), "to one");
	ck_assert_str_eq(got(peer[2]), "to two");
	ck_assert_str_eq(got(out[0]), "to hvc0");
	offer(CONSOLE_RX(2), buf, 64, true);
	fakedrv_kick(&f, CONSOLE_RX(2));
	ck_assert_int_eq(write(peer[2], "from two", 8), 8);
	ck_assert_int_eq(write(peer[1], "from one", 8), 8);
	fakedrv_poll(&f);
	ck_assert(fakedrv_used(&f, CONSOLE_RX(2), NULL, &len));
	ck_assert_uint_eq(len, 8);
	ck_assert_int_eq(memcmp(fakedrv_ptr(&f, buf, 8), "from two", 8), 0);
	ck_assert(!fakedrv_used(&f, CONSOLE_RX(1), NULL, NULL));
}
END_TEST

/* Input waits in the socket until a program of the guest opens the port. */
START_TEST(not_open)
{
	uint32_t len;

	attach(1);
	say(1, PORT_OPEN, 0);
	offer(CONSOLE_RX(1), buf, 64, true);
	fakedrv_kick(&f, CONSOLE_RX(1));
	ck_assert_int_eq(write(peer[1], "early", 5), 5);
	fakedrv_poll(&f);
	ck_assert(!fakedrv_used(&f, CONSOLE_RX(1), NULL, NULL));
	say(1, PORT_OPEN, 1);
	ck_assert(fakedrv_used(&f, CONSOLE_RX(1), NULL, &len));
	ck_assert_uint_eq(len, 5);
}
END_TEST

/* One request that is longer than the socket takes, and what queues up behind it. */
START_TEST(output_waits)
{
	const uint32_t bytes = 1u << 20;
	uint64_t big;
	uint8_t *p;
	char piece[65536];
	uint32_t at = 0, i;
	ssize_t n;

	attach(1);
	big = fakedrv_alloc(&f, bytes);
	p = fakedrv_ptr(&f, big, bytes);
	for (i = 0; i < bytes; i++)
		p[i] = (uint8_t)(i * 7 + (i >> 8));
	offer(CONSOLE_TX(1), big, bytes, false);
	print(CONSOLE_TX(1), "behind");
	ck_assert(!fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	while (at < bytes + 6) {
		n = read(peer[1], piece, sizeof(piece));
		ck_assert_int_gt(n, 0);
		for (i = 0; i < (uint32_t)n; i++, at++)
			ck_assert_int_eq((uint8_t)piece[i],
					 at < bytes ? p[at] : (uint8_t)"behind"[at - bytes]);
		fakedrv_poll(&f);
	}
	ck_assert(fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	ck_assert(fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	ck_assert_int_eq(read(peer[1], piece, 1), -1);
}
END_TEST

/* A request that shrinks while it waits: what was sent was sent, nothing else is. */
START_TEST(output_shrinks)
{
	const uint32_t bytes = 1u << 20;
	uint16_t head;
	struct fakebuf b;
	char piece[65536];
	size_t all = 0;
	ssize_t n;

	attach(1);
	b = (struct fakebuf){ fakedrv_alloc(&f, bytes), bytes, false };
	head = fakedrv_add(&f, CONSOLE_TX(1), &b, 1);
	fakedrv_kick(&f, CONSOLE_TX(1));
	fakedrv_desc(&f, CONSOLE_TX(1), head, b.gpa, 10, 0, 0);
	while ((n = read(peer[1], piece, sizeof(piece))) > 0) {
		all += (size_t)n;
		fakedrv_poll(&f);
	}
	ck_assert_uint_lt(all, bytes);
	ck_assert(fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	ck_assert(!fakedrv_is_broken(&f));
	print(CONSOLE_TX(1), "next");
	ck_assert_str_eq(got(peer[1]), "next");
}
END_TEST

/* Input stays in the socket while there are no buffers, and comes in order. */
START_TEST(input_waits)
{
	char text[1000];
	uint32_t len, at = 0, i;

	attach(1);
	for (i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	ck_assert_int_eq(write(peer[1], text, sizeof(text)), sizeof(text));
	fakedrv_poll(&f);
	while (at < sizeof(text)) {
		offer(CONSOLE_RX(1), buf, 7, true);
		fakedrv_kick(&f, CONSOLE_RX(1));
		ck_assert(fakedrv_used(&f, CONSOLE_RX(1), NULL, &len));
		ck_assert_int_eq(memcmp(fakedrv_ptr(&f, buf, len), text + at, len), 0);
		at += len;
	}
	ck_assert_uint_eq(at, sizeof(text));
}
END_TEST

/* The other end closes: the driver is told once, its output is dropped, nothing spins. */
START_TEST(peer_closes)
{
	uint32_t len;
	int i;

	attach(1);
	ck_assert_int_eq(write(peer[1], "last", 4), 4);
	close(peer[1]);
	peer[1] = -1;
	fakedrv_poll(&f);
	offer(CONSOLE_RX(1), buf, 64, true);
	fakedrv_kick(&f, CONSOLE_RX(1));
	ck_assert(fakedrv_used(&f, CONSOLE_RX(1), NULL, &len));
	ck_assert_uint_eq(len, 4);
	offer(CONSOLE_RX(1), buf, 64, true);
	fakedrv_kick(&f, CONSOLE_RX(1));
	ck_assert(!fakedrv_used(&f, CONSOLE_RX(1), NULL, NULL));
	ck_assert_str_eq(told(), "6 1 0 ");
	for (i = 0; i < 10; i++) {
		print(CONSOLE_TX(1), "void");
		ck_assert(fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	}
	ck_assert_str_eq(told(), "");
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

START_TEST(peer_closes_while_output_waits)
{
	attach(1);
	offer(CONSOLE_TX(1), fakedrv_alloc(&f, 1 << 20), 1 << 20, false);
	fakedrv_kick(&f, CONSOLE_TX(1));
	ck_assert(!fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	close(peer[1]);
	peer[1] = -1;
	fakedrv_poll(&f);
	ck_assert(fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	ck_assert_str_eq(told(), "6 1 0 ");
}
END_TEST

/* A peer that only sends nothing more still reads. */
START_TEST(half_closed)
{
	attach(1);
	offer(CONSOLE_RX(1), buf, 64, true);
	fakedrv_kick(&f, CONSOLE_RX(1));
	shutdown(peer[1], SHUT_WR);
	fakedrv_poll(&f);
	ck_assert(!fakedrv_used(&f, CONSOLE_RX(1), NULL, NULL));
	print(CONSOLE_TX(1), "still");
	ck_assert_str_eq(got(peer[1]), "still");
	ck_assert_str_eq(told(), "");
}
END_TEST

START_TEST(reset)
{
	char piece[65536];
	uint64_t big;

	attach(1);
	big = fakedrv_alloc(&f, 1 << 20);
	offer(CONSOLE_TX(1), big, 1 << 20, false);
	fakedrv_kick(&f, CONSOLE_TX(1));
	say(0xffffffff, DEVICE_READY, 1);
	fakedrv_reset(&f);
	while (read(peer[1], piece, sizeof(piece)) > 0)
		;
	fakedrv_poll(&f);
	fakedrv_attach(&f, d, F_MULTIPORT, QUEUE);
	ck_assert_str_eq(told(), "");		/* what was pending is forgotten */
	print(CONSOLE_TX(1), "again");
	ck_assert_str_eq(got(peer[1]), "again");
	ck_assert_int_eq(write(peer[1], "x", 1), 1);
	offer(CONSOLE_RX(1), buf, 64, true);
	fakedrv_kick(&f, CONSOLE_RX(1));
	ck_assert(!fakedrv_used(&f, CONSOLE_RX(1), NULL, NULL));	/* not opened anew */
}
END_TEST

/* Without MULTIPORT the further queues are nobody's. */
START_TEST(not_negotiated)
{
	make(false);
	add_port(1, "one");
	fakedrv_attach(&f, d, 0, QUEUE);
	offer(CONSOLE_CONTROL_RX, buf, 64, true);
	fakedrv_kick(&f, CONSOLE_CONTROL_RX);
	offer(CONSOLE_CONTROL_TX, buf, 3, false);
	fakedrv_kick(&f, CONSOLE_CONTROL_TX);
	offer(CONSOLE_TX(1), buf, 3, false);
	fakedrv_kick(&f, CONSOLE_TX(1));
	ck_assert(!fakedrv_used(&f, CONSOLE_CONTROL_TX, NULL, NULL));
	ck_assert(!fakedrv_used(&f, CONSOLE_TX(1), NULL, NULL));
	ck_assert(!fakedrv_is_broken(&f));
	print(1, "hvc0");
	ck_assert_str_eq(got(out[0]), "hvc0");
}
END_TEST

static const struct {
	uint16_t q;
	uint32_t len;
	bool in;
} breaks[] = {
	{ CONSOLE_CONTROL_TX, 1, false }, { CONSOLE_CONTROL_TX, 7, false },
	{ CONSOLE_CONTROL_TX, 8, true }, { CONSOLE_CONTROL_RX, 7, true },
	{ CONSOLE_CONTROL_RX, 8, false }, { CONSOLE_RX(1), 64, false }, { CONSOLE_RX(2), 1, false },
};

START_TEST(broken)
{
	attach(2);
	if (breaks[_i].q == CONSOLE_CONTROL_RX)
		say(1, PORT_READY, 1);
	offer(breaks[_i].q, buf, breaks[_i].len, breaks[_i].in);
	fakedrv_kick(&f, breaks[_i].q);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert_int_eq(write(peer[1], "x", 1), 1);
	fakedrv_poll(&f);
	fakedrv_reset(&f);
	fakedrv_attach(&f, d, F_MULTIPORT, QUEUE);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* Messages without sense are ignored, whatever their number. */
START_TEST(nonsense)
{
	uint32_t id, event;

	attach(1);
	for (id = 0; id < 4; id++)
		for (event = 1; event < 20; event++)
			if (event != PORT_READY && event != PORT_OPEN)
				say(id * 0x7fffffffu, (uint16_t)event, 1);
	say(2, PORT_READY, 1);
	say(0xffffffff, PORT_OPEN, 1);
	say(CONSOLE_PORTS_MAX, PORT_OPEN, 1);
	ck_assert_str_eq(told(), "");
	for (id = 0; id < 10000; id++)
		say(0, DEVICE_READY, 1);
	ck_assert(fakedrv_used(&f, CONSOLE_CONTROL_RX, NULL, NULL));
	ck_assert_str_eq(told(), "1 0 1 ");
	ck_assert_str_eq(told(), "1 1 1 ");
	ck_assert_str_eq(told(), "");
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* More messages than one turn takes: the rest comes after a pause, by the timer. */
START_TEST(flood)
{
	struct control c = { .event = RESIZE };
	uint64_t gpa;
	int i;

	make(false);
	add_port(1, "one");
	fakedrv_attach(&f, d, F_MULTIPORT, VIRTQ_SIZE_MAX);
	gpa = fakedrv_alloc(&f, 8);
	memcpy(fakedrv_ptr(&f, gpa, 8), &c, 8);
	for (i = 0; i < 200; i++)
		offer(CONSOLE_CONTROL_TX, gpa, 8, false);
	fakedrv_kick(&f, CONSOLE_CONTROL_TX);
	for (i = 0; i < 200;)
		if (fakedrv_used(&f, CONSOLE_CONTROL_TX, NULL, NULL))
			i++;
		else
			loop_step(f.loop, 1000, NULL);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

static const struct {
	const char *name;
	int rc;
} names[] = {
	{ "", -EINVAL }, { "a/b", -EINVAL }, { "..\n", -EINVAL }, { "a b", -EINVAL },
	{ "\xc3\xa4", -EINVAL }, { "taken", -EEXIST }, { "Org.podvm_1-x", 0 },
	{ "123456789012345678901234567890123456789", 0 },
};

START_TEST(port_name)
{
	char text[VMM_NAME_BYTES] = "";
	struct err e = { 0 };
	int s[2], rc;

	make(false);
	add_port(1, "taken");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	strcpy(text, names[_i].name);
	rc = console_add_port(d, text, s[1], &e);
	ck_assert_int_eq(rc, names[_i].rc);
	ck_assert(!rc || strstr(e.text, "console port"));
	close(s[0]);
	if (rc)
		close(s[1]);
	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(console_add_port(d, text, -1, &e), -EINVAL);
}
END_TEST

START_TEST(port_descriptor)
{
	int s[2], i, p[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char name[VMM_NAME_BYTES] = "x";
	struct err e;

	make(false);
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	ck_assert_int_eq(console_add_port(d, name, null, &e), -EINVAL);
	ck_assert_int_eq(console_add_port(d, name, p[1], &e), -EINVAL);
	ck_assert_int_eq(console_add_port(d, name, s[1], &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "stream socket"));
	for (i = 1; i < CONSOLE_PORTS_MAX; i++) {
		char text[16];

		snprintf(text, sizeof(text), "p%d", i);
		add_port(i, text);
	}
	ck_assert_int_eq(console_add_port(d, name, s[1], &e), -ENOSPC);
	ck_assert_uint_le(d->n_queues, VIRTIO_QUEUES_MAX);
	close(null);
	close(p[0]);
	close(p[1]);
	close(s[0]);
	close(s[1]);
}
END_TEST

Suite *virtio_console_suite(void)
{
	Suite *s = suite_create("virtio_console");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, output);
	tcase_add_test(t, emergency);
	tcase_add_test(t, configuration);
	tcase_add_test(t, input);
	tcase_add_test(t, handshake);
	tcase_add_test(t, ports_both_ways);
	tcase_add_test(t, not_open);
	tcase_add_test(t, output_waits);
	tcase_add_test(t, output_shrinks);
	tcase_add_test(t, input_waits);
	tcase_add_test(t, peer_closes);
	tcase_add_test(t, peer_closes_while_output_waits);
	tcase_add_test(t, half_closed);
	tcase_add_test(t, reset);
	tcase_add_test(t, not_negotiated);
	tcase_add_loop_test(t, broken, 0, (int)ARRAY_LEN(breaks));
	tcase_add_test(t, nonsense);
	tcase_add_test(t, flood);
	tcase_add_loop_test(t, port_name, 0, (int)ARRAY_LEN(names));
	tcase_add_test(t, port_descriptor);
	suite_add_tcase(s, t);
	return s;
}
