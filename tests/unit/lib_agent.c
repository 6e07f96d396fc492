// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The host's side of the agent protocol against an agent that is hostile: a
 * script of sends on the other end of a socket pair, by a thread where it must
 * go on while the host waits.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "lib/agent.h"
#include "tests/kit/kit.h"

Suite *lib_agent_suite(void);

static int peer;
static struct agent agent;
static int events;
static atomic_bool stop;

static void on_event(void *arg, const Podvm__Exited *x)
{
	(void)arg;
	(void)x;
	events++;
}

static void setup(void)
{
	int p[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	agent = (struct agent){ .fd = p[0], .on_event = on_event };
	peer = p[1];
	events = 0;
	stop = false;
}

static void teardown(void)
{
	agent_done(&agent);
	agent_done(&agent);
	fd_close(&peer);
}

static void say_raw(const void *data, size_t len)
{
	ck_assert_int_eq(send(peer, data, len, MSG_NOSIGNAL), (int)len);
}

static void say(int32_t error, const char *text)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	struct err e = { 0 };

	rs.error = error;
	rs.text = strdupa(text);
	ck_assert_msg(!frame_send(peer, &rs.base, 1000, &e), "%s", e.text);
}

static int say_event(void)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;

	rs.body_case = PODVM__RESPONSE__BODY_EVENT;
	rs.event = &x;
	return frame_send(peer, &rs.base, 1000, NULL);
}

static void say_hello(uint32_t protocol)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Hello h = PODVM__HELLO__INIT;
	struct err e = { 0 };

	h.protocol = protocol;
	rs.body_case = PODVM__RESPONSE__BODY_HELLO;
	rs.hello = &h;
	ck_assert_int_eq(frame_send(peer, &rs.base, 1000, &e), 0);
}

static int ping(int timeout_ms, Podvm__Response **ret, struct err *e)
{
	Podvm__Ping p = PODVM__PING__INIT;
	Podvm__Request rq = AGENT_REQUEST(ping = &p, PING);

	return agent_call(&agent, &rq, timeout_ms, ret, e);
}

START_TEST(answer_between_events)
{
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	say_event();
	say_event();
	say(0, "fine");
	say_event();
	ck_assert_int_eq(ping(1000, &rs, &e), 0);
	ck_assert_str_eq(rs->text, "fine");
	ck_assert_int_eq(events, 2);
	podvm__response__free_unpacked(rs, NULL);
	ck_assert_int_eq(agent_take(&agent, &rs, &e), 1);
	ck_assert_int_eq(rs->body_case, PODVM__RESPONSE__BODY_EVENT);
	podvm__response__free_unpacked(rs, NULL);
	ck_assert_int_eq(agent_take(&agent, &rs, &e), 0);
	agent.on_event = NULL;
	say_event();
	say(0, "");
	ck_assert_int_eq(ping(1000, NULL, &e), 0);
}
END_TEST

static const struct {
	int32_t said;
	const char *text;
	int rc;
	const char *error;
} errors[] = {
	{ ENOENT, "no such thing", -ENOENT, "no such thing" },
	{ ESRCH, "", -ESRCH, "the guest's agent failed" },
	{ 4095, "x", -4095, "x" },
	{ 4096, "x", -EPROTO, "x" },
	{ -1, "x", -EPROTO, "x" },
	{ INT32_MIN, "x", -EPROTO, "x" },
	{ INT32_MAX, "x", -EPROTO, "x" },
	{ EIO, "a\nb\x1b]0;title\x07\x7f", -EIO, "a?b?]0;title??" },
	{ EIO, "%s%n%x", -EIO, "%s%n%x" },
};

START_TEST(error_code)
{
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	say(errors[_i].said, errors[_i].text);
	ck_assert_int_eq(ping(1000, &rs, &e), errors[_i].rc);
	ck_assert_str_eq(e.text, errors[_i].error);
	ck_assert_ptr_null(rs);
}
END_TEST

START_TEST(long_text)
{
	char *big = malloc(900001);
	struct err e = { 0 };
	pid_t pid;

	memset(big, 'x', 900000);
	big[900000] = 0;
	pid = fork();
	if (!pid) {
		say(EIO, big);
		_exit(0);
	}
	ck_assert_int_eq(ping(10000, NULL, &e), -EIO);
	ck_assert_uint_eq(strlen(e.text), ERR_TEXT_BYTES - 1);
	free(big);
}
END_TEST

#define RAW(s) { s, sizeof(s) - 1 }

static const struct {
	const char *data;
	size_t len;
} garbage[] = {
	RAW("\1\0\0\0\xff"),			/* a field that is cut */
	RAW("\2\0\0\0\x12\x7f"),		/* a string behind the end */
	RAW("\6\0\0\0\x12\xff\xff\xff\xff\x0f"), /* a string of 4 GiB */
	RAW("\4\0\0\0\x1a\x02\x12\x05"),	/* hello with a string behind its end */
	RAW("\x0b\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), /* endless varint */
	RAW("\2\0\0\0\x0b\x0c"),		/* a group */
};

START_TEST(does_not_parse)
{
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	say_raw(garbage[_i].data, garbage[_i].len);
	ck_assert_int_eq(ping(1000, &rs, &e), -EPROTO);
	say_raw(garbage[_i].data, garbage[_i].len);
	ck_assert_int_eq(agent_take(&agent, &rs, &e), -EPROTO);
	ck_assert_ptr_null(rs);
}
END_TEST

START_TEST(length_lie)
{
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	say_raw("\xff\xff\xff\xff", 4);
	say_raw("x", 1);
	ck_assert_int_eq(ping(1000, &rs, &e), -EMSGSIZE);
	ck_assert_int_eq(ping(1000, &rs, &e), -EMSGSIZE);
	ck_assert_int_eq(agent_take(&agent, &rs, &e), -EMSGSIZE);
}
END_TEST

static void *flood(void *arg)
{
	(void)arg;
	while (!stop && !say_event())
		;
	return NULL;
}

/* Events without end do not prolong a call. */
START_TEST(flood_of_events)
{
	Podvm__Response *rs = NULL;
	uint64_t start = clock_ms();
	struct err e = { 0 };
	pthread_t t;

	pthread_create(&t, NULL, flood, NULL);
	ck_assert_int_eq(ping(150, &rs, &e), -ETIMEDOUT);
	ck_assert_uint_lt(clock_ms() - start, 3000);
	ck_assert_int_gt(events, 0);
	stop = true;
	shutdown(agent.fd, SHUT_RDWR);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(stalls)
{
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(ping(30, &rs, &e), -ETIMEDOUT);
	ck_assert_str_eq(e.text, "the guest's agent: no answer in time");
	say_raw("\5\0\0", 3);
	ck_assert_int_eq(ping(30, &rs, &e), -ETIMEDOUT);
	fd_close(&peer);
	ck_assert_int_eq(agent_take(&agent, &rs, &e), -EPIPE);
	ck_assert_int_eq(ping(30, &rs, &e), -EPIPE);
}
END_TEST

/* An answer that comes too late is not the next call's. */
START_TEST(late_answer)
{
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(ping(10, &rs, &e), -ETIMEDOUT);
	ck_assert_int_eq(ping(10, &rs, &e), -ETIMEDOUT);
	say(0, "late");
	say_event();
	say(EBUSY, "late too");
	say(0, "mine");
	ck_assert_int_eq(ping(1000, &rs, &e), 0);
	ck_assert_str_eq(rs->text, "mine");
	podvm__response__free_unpacked(rs, NULL);
	/* The caller that wants no text is owed one as well. */
	ck_assert_int_eq(ping(10, &rs, NULL), -ETIMEDOUT);
	ck_assert_uint_eq(agent.owed, 1);
	say(0, "late");
	say_event();
	ck_assert_int_eq(agent_take(&agent, &rs, &e), 1);
	ck_assert_int_eq(rs->body_case, PODVM__RESPONSE__BODY_EVENT);
	podvm__response__free_unpacked(rs, NULL);
	ck_assert_int_eq(agent_take(&agent, &rs, &e), 0);
}
END_TEST

/* A request that does not fit in time is cut: the connection ends with it. */
START_TEST(does_not_read)
{
	Podvm__ContainerCreate c = PODVM__CONTAINER_CREATE__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_create = &c, CONTAINER_CREATE);
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	c.id = malloc(1000001);
	memset(c.id, 'x', 1000000);
	c.id[1000000] = 0;
	ck_assert_int_eq(agent_call(&agent, &rq, 60, NULL, &e), -ETIMEDOUT);
	ck_assert_int_eq(agent_take(&agent, &rs, &e), -EPIPE);
	free(c.id);
}
END_TEST

START_TEST(hello)
{
	Podvm__Response *rs = NULL;
	struct err e = { 0 };

	say_event();
	say_hello(AGENT_PROTOCOL);
	ck_assert_int_eq(agent_hello(&agent, 1000, &rs, &e), 0);
	ck_assert_uint_eq(rs->hello->protocol, AGENT_PROTOCOL);
	podvm__response__free_unpacked(rs, NULL);
	rs = NULL;
	say_hello(AGENT_PROTOCOL + 1);
	ck_assert_int_eq(agent_hello(&agent, 1000, &rs, &e), -EPROTO);
	ck_assert_ptr_nonnull(strstr(e.text, "rebuild the initramfs"));
	say(0, "no hello");
	ck_assert_int_eq(agent_hello(&agent, 1000, &rs, &e), -EPROTO);
	say_raw("\0\0\0\0", 4); /* an empty message parses, as protobuf has it */
	ck_assert_int_eq(agent_hello(&agent, 1000, &rs, &e), -EPROTO);
	ck_assert_int_eq(agent_hello(&agent, 20, &rs, &e), -ETIMEDOUT);
	fd_close(&peer);
	ck_assert_int_eq(agent_hello(&agent, -1, &rs, &e), -EPIPE);
	ck_assert_ptr_null(rs);
}
END_TEST

START_TEST(random_garbage)
{
	unsigned int seed = (unsigned int)kit_seed("lib_agent");
	Podvm__Response *rs;
	struct err e = { 0 };
	uint8_t msg[68];
	int i;

	srandom(seed);
	for (i = 0; i < 2000; i++) {
		uint8_t len = (uint8_t)(random() % 64);
		int k, rc;

		memset(msg, 0, 4);
		msg[0] = len;
		for (k = 0; k < len; k++)
			msg[4 + k] = (uint8_t)(random() % 3 ? random() % 0x33 : random());
		say_raw(msg, 4 + (size_t)len);
		rc = agent_take(&agent, &rs, &e);
		ck_assert(rc == 1 || rc == -EPROTO);
		if (rc == 1)
			podvm__response__free_unpacked(rs, NULL);
	}
}
END_TEST

Suite *lib_agent_suite(void)
{
	Suite *s = suite_create("lib_agent");
	TCase *t = tcase_create("agent");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, answer_between_events);
	tcase_add_loop_test(t, error_code, 0, (int)(sizeof(errors) / sizeof(*errors)));
	tcase_add_test(t, long_text);
	tcase_add_loop_test(t, does_not_parse, 0, (int)(sizeof(garbage) / sizeof(*garbage)));
	tcase_add_test(t, length_lie);
	tcase_add_test(t, flood_of_events);
	tcase_add_test(t, stalls);
	tcase_add_test(t, late_answer);
	tcase_add_test(t, does_not_read);
	tcase_add_test(t, hello);
	tcase_add_test(t, random_garbage);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	return s;
}
