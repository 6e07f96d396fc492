// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Framed messages over a socket pair whose other end lies about lengths,
 * dribbles, stalls, does not read, or goes away in the middle.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/agent.pb-c.h"
#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/proc.h"
#include "tests/kit/fault.h"

Suite *lib_frame_suite(void);

static int ours, peer;
static struct frame_rx rx;

static void setup(void)
{
	int p[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	ours = p[0];
	peer = p[1];
	memset(&rx, 0, sizeof(rx));
}

static void teardown(void)
{
	frame_done(&rx);
	frame_done(&rx);
	close(ours);
	fd_close(&peer);
}

static void put(const void *data, size_t len)
{
	ck_assert_int_eq(send(peer, data, len, 0), (int)len);
}

static void put_text(int fd, const char *text)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	struct err e = { 0 };

	rs.error = 5;
	rs.text = strdupa(text);
	ck_assert_msg(!frame_send(fd, &rs.base, 1000, &e), "%s", e.text);
}

static void expect_text(const char *text)
{
	Podvm__Response *rs = podvm__response__unpack(NULL, rx.len, rx.buf);

	ck_assert_ptr_nonnull(rs);
	ck_assert_str_eq(rs->text, text);
	podvm__response__free_unpacked(rs, NULL);
}

START_TEST(round_trip)
{
	struct err e = { 0 };

	put_text(peer, "one");
	put_text(peer, "two");
	ck_assert_int_eq(frame_feed(&rx, ours, &e), 1);
	expect_text("one");
	ck_assert_int_eq(frame_feed(&rx, ours, &e), 1);
	expect_text("two");
	ck_assert_int_eq(frame_feed(&rx, ours, &e), 0);
	ck_assert_int_eq(frame_recv(ours, &rx, 0, &e), -ETIMEDOUT);
}
END_TEST

START_TEST(byte_by_byte)
{
	static const uint8_t msg[] = { 4, 0, 0, 0, 8, 5, 0x12, 0, 0, 0, 0, 0 };
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < sizeof(msg); i++) {
		int rc;

		put(msg + i, 1);
		rc = frame_feed(&rx, ours, &e);
		/* A message of 4 bytes, then an empty one. */
		ck_assert_int_eq(rc, i == 7 || i == 11);
		if (i == 7)
			ck_assert(rx.len == 4 && !memcmp(rx.buf, msg + 4, 4));
	}
	ck_assert_uint_eq(rx.len, 0);
	ck_assert_ptr_nonnull(rx.buf);
	ck_assert_int_eq(frame_feed(&rx, ours, &e), 0);
}
END_TEST

START_TEST(length_lies)
{
	static const uint8_t lies[][4] = {
		{ 0xff, 0xff, 0xff, 0xff }, { 0xfc, 0xff, 0xff, 0xff },
		{ 0, 0, 0, 0x80 }, { 1, 0, 0x10, 0 },
	};
	struct err e = { 0 };

	put(lies[_i], 4);
	put("more that must not be read", 26);
	ck_assert_int_eq(frame_feed(&rx, ours, &e), -EMSGSIZE);
	ck_assert_ptr_null(rx.buf);
	ck_assert_int_eq(frame_feed(&rx, ours, &e), -EMSGSIZE); /* and for good */
	ck_assert_int_eq(frame_recv(ours, &rx, 0, &e), -EMSGSIZE);
}
END_TEST

static void *write_big(void *arg)
{
	static const uint8_t head[4] = { 0, 0, 0x10, 0 };
	uint8_t *big = calloc(1, FRAME_MAX_BYTES);

	(void)arg;
	big[FRAME_MAX_BYTES - 1] = 77;
	write_full(peer, head, 4, NULL);
	write_full(peer, big, FRAME_MAX_BYTES, NULL);
	free(big);
	return NULL;
}

START_TEST(longest)
{
	struct err e = { 0 };
	pthread_t t;

	pthread_create(&t, NULL, write_big, NULL);
	ck_assert_int_eq(frame_recv(ours, &rx, 10000, &e), 0);
	ck_assert_uint_eq(rx.len, FRAME_MAX_BYTES);
	ck_assert_uint_eq(rx.buf[FRAME_MAX_BYTES - 1], 77);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(too_long_to_send)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	struct err e = { 0 };
	char c;

	rs.text = malloc(FRAME_MAX_BYTES + 1);
	memset(rs.text, 'x', FRAME_MAX_BYTES);
	rs.text[FRAME_MAX_BYTES] = 0;
	ck_assert_int_eq(frame_send(ours, &rs.base, -1, &e), -EMSGSIZE);
	ck_assert_int_eq(recv(peer, &c, 1, MSG_DONTWAIT), -1); /* nothing was sent */
	free(rs.text);
}
END_TEST

/* One byte before each time-out: what stalls is told from what arrives. */
START_TEST(stall)
{
	static const uint8_t msg[] = { 8, 0, 0, 0, 8, 5 };
	uint64_t start = clock_ms();
	struct err e = { 0 };

	put(msg, _i);
	ck_assert_int_eq(frame_recv(ours, &rx, 60, &e), -ETIMEDOUT);
	ck_assert_uint_ge(clock_ms() - start, 60);
}
END_TEST

static void *dribble(void *arg)
{
	static const uint8_t head[4] = { 0, 0, 1, 0 };
	int i;

	(void)arg;
	send(peer, head, 4, MSG_NOSIGNAL);
	for (i = 0; i < 200 && send(peer, "", 1, MSG_NOSIGNAL) == 1; i++)
		usleep(5000);
	return NULL;
}

/* A byte now and then does not prolong the time-out. */
START_TEST(dribbling_peer)
{
	uint64_t start = clock_ms();
	struct err e = { 0 };
	pthread_t t;

	pthread_create(&t, NULL, dribble, NULL);
	ck_assert_int_eq(frame_recv(ours, &rx, 100, &e), -ETIMEDOUT);
	ck_assert_uint_lt(clock_ms() - start, 900);
	shutdown(ours, SHUT_RDWR);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(closed_in_the_middle)
{
	static const uint8_t msg[] = { 8, 0, 0, 0, 8, 5 };
	struct err e = { 0 };

	put(msg, _i);
	fd_close(&peer);
	ck_assert_int_eq(frame_recv(ours, &rx, -1, &e), -EPIPE);
	ck_assert_int_eq(frame_feed(&rx, ours, &e), -EPIPE);
}
END_TEST

START_TEST(last_message_before_the_end)
{
	struct err e = { 0 };

	put_text(peer, "bye");
	fd_close(&peer);
	ck_assert_int_eq(frame_recv(ours, &rx, -1, &e), 0);
	expect_text("bye");
	ck_assert_int_eq(frame_recv(ours, &rx, -1, &e), -EPIPE);
}
END_TEST

/* A peer that does not read holds a sender for its time-out, no longer. */
START_TEST(peer_does_not_read)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	uint64_t start = clock_ms();
	struct err e = { 0 };

	rs.text = malloc(1000001);
	memset(rs.text, 'x', 1000000);
	rs.text[1000000] = 0;
	ck_assert_int_eq(frame_send(ours, &rs.base, 80, &e), -ETIMEDOUT);
	ck_assert_uint_ge(clock_ms() - start, 80);
	fd_close(&peer);
	ck_assert_int_lt(frame_send(ours, &rs.base, -1, &e), 0); /* no SIGPIPE */
	free(rs.text);
}
END_TEST

START_TEST(no_memory)
{
	struct err e = { 0 };

	put_text(peer, "x");
	kit_fault_arm(KIT_FAULT_MEMORY, 1, 0);
	ck_assert_int_eq(frame_feed(&rx, ours, &e), -ENOMEM);
	ck_assert(kit_fault_fired());
	ck_assert_int_eq(frame_feed(&rx, ours, &e), 1); /* memory is there again */
	expect_text("x");
}
END_TEST

Suite *lib_frame_suite(void)
{
	Suite *s = suite_create("lib_frame");
	TCase *t = tcase_create("frame");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, byte_by_byte);
	tcase_add_loop_test(t, length_lies, 0, 4);
	tcase_add_test(t, longest);
	tcase_add_test(t, too_long_to_send);
	tcase_add_loop_test(t, stall, 1, 7);
	tcase_add_test(t, dribbling_peer);
	tcase_add_loop_test(t, closed_in_the_middle, 1, 7);
	tcase_add_test(t, last_message_before_the_end);
	tcase_add_test(t, peer_does_not_read);
	tcase_add_test(t, no_memory);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
