// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A shim against an agent that is hostile: at each step of its beginning, while its process
 * runs, and after the process's end. Each row says what the agent does and how the shim
 * ends: in time (SHORT_MS stands for its limits), with a status that an engine
 * understands, and a line for the engine's log or for the command that started it.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/agent.h"
#include "lib/str.h"
#include "runtime/shim/shim.h"
#include "tests/kit/kit.h"
#include "tests/kit/shimhost.h"

Suite *runtime_hostile_shim_suite(void);

/* What the shim waits for an agent that never says anything, and for one that does. */
#define SHORT_MS 80
#define LONG_MS 20000

static int patience_ms;

static int patience(int ms)
{
	return ms < 0 || ms > patience_ms ? patience_ms : ms;
}

#define agent_call(a, rq, ms, ret, e) agent_call(a, rq, patience(ms), ret, e)
#define frame_send(fd, m, ms, e) frame_send(fd, m, patience(ms), e)
#define relay_finish(r, ms) relay_finish(r, (uint32_t)patience((int)(ms)))
#include "runtime/shim/shim.c"
#undef agent_call
#undef frame_send

static struct shimhost host;

static void raw(int fd, const char *data, size_t len)
{
	ck_assert_int_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

#define RAW(fd, s) raw(fd, s, sizeof(s) - 1)

static void take(int fd)
{
	struct frame_rx rx = { 0 };
	struct err e = { 0 };

	ck_assert_msg(!frame_recv(fd, &rx, 60000, &e), "%s", e.text);
	frame_done(&rx);
}

static void error(int fd, int32_t code, const char *text)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;

	rs.error = code;
	rs.text = (char *)(uintptr_t)text;
	frame_send(fd, &rs.base, 5000, NULL);
}

/* ---- while it begins ------------------------------------------------------------------ */

static void first_4g(int fd) { take(fd); RAW(fd, "\xff\xff\xff\xff"); }
static void first_garbage(int fd) { take(fd); RAW(fd, "\2\0\0\0\x22\x05"); }
static void first_silent(int fd) { take(fd); }
static void first_cut(int fd) { take(fd); RAW(fd, "\2\0\0\0\x22"); }
static void first_closes(int fd) { take(fd); shutdown(fd, SHUT_RDWR); }
static void first_refuses(int fd) { take(fd); error(fd, 2, "no\n\x1b[2J\xc2\x9b\xff"); }

static const struct begin {
	const char *what;
	void (*agent)(int fd);
	const char *said;
} begins[] = {
	{ "a length of 4 GiB", first_4g, "90 the guest's agent: message of 4294967295 bytes" },
	{ "garbage", first_garbage, "71 the guest's agent sent a message that does not parse" },
	{ "silence", first_silent, "110 the guest's agent: no answer in time" },
	{ "half an answer", first_cut, "110 the guest's agent: no answer in time" },
	{ "an end", first_closes, "32 the guest's agent: the peer closed the connection" },
	{ "an error that drives a terminal", first_refuses, "2 no??[2J???" },
};

/* What the command that started it is told; the shim exits with 1. */
static void expect_failed(const struct begin *b)
{
	char text[ERR_TEXT_BYTES + 16], said[500];
	int status;
	ssize_t n = read(host.ready, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = 0;
	ck_assert_msg(str_starts(text, b->said), "%s: %s", b->what, text);
	status = shimhost_end(&host, said);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s: %x", b->what,
		      (unsigned int)status);
}

START_TEST(while_attached)
{
	patience_ms = strstr(begins[_i].said, "no answer") ? SHORT_MS : LONG_MS;
	shimhost_spawn(&host, shim_main, false);
	shimhost_join(&host, 1000, false);
	begins[_i].agent(host.agent);
	expect_failed(&begins[_i]);
}
END_TEST

START_TEST(while_opened)
{
	patience_ms = strstr(begins[_i].said, "no answer") ? SHORT_MS : LONG_MS;
	shimhost_spawn(&host, shim_main, false);
	shimhost_join(&host, 1000, false);
	shimhost_answer(host.agent);
	shimhost_stream(&host, 0);
	shimhost_answer(host.streams[0]);
	shimhost_stream(&host, 1);
	begins[_i].agent(host.streams[1]);
	expect_failed(&begins[_i]);
}
END_TEST

/* ---- while its process runs, and after -------------------------------------------------- */

static void close_streams(void)
{
	int i;

	for (i = 0; i < 3; i++)
		fd_close(&host.streams[i]);
}

static void run_4g(void) { RAW(host.agent, "\xff\xff\xff\xff"); close_streams(); }
static void run_garbage(void) { RAW(host.agent, "\2\0\0\0\x22\x05"); close_streams(); }
static void run_closes(void) { fd_close(&host.agent); close_streams(); }
static void run_closes_in_message(void) { RAW(host.agent, "\x09\0\0\0\x22"); run_closes(); }
static void run_holds_streams(void) { fd_close(&host.agent); }
static void run_garbage_holds(void) { RAW(host.agent, "\2\0\0\0\x22\x05"); }

static void run_other_answers(void)
{
	RAW(host.agent, "\0\0\0\0" "\2\0\0\0\x32\0" "\2\0\0\0\x1a\0" "\2\0\0\0\x2a\0");
	shimhost_exited(host.agent, 6, 0);
	close_streams();
}

static void end_twice(void)
{
	shimhost_exited(host.agent, 6, 0);
	shimhost_exited(host.agent, 7, 9);
	close_streams();
}

static void end_holds_streams(void) { shimhost_exited(host.agent, 6, 0); }
static void end_empty(void) { RAW(host.agent, "\2\0\0\0\x22\0"); close_streams(); }
static void end_stops(void) { shimhost_exited(host.agent, 0, SIGTSTP); close_streams(); }
static void end_stops_in(void) { shimhost_exited(host.agent, 0, SIGTTIN); close_streams(); }
static void end_stops_out(void) { shimhost_exited(host.agent, 0, SIGTTOU); close_streams(); }

/* Output that never ends, behind the end of its process. */
static void *flood(void *arg)
{
	static char block[65536];

	(void)arg;
	while (send(host.streams[1], block, sizeof(block), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

static pthread_t flooder;

static void end_floods(void)
{
	shimhost_exited(host.agent, 6, 0);
	ck_assert_int_eq(pthread_create(&flooder, NULL, flood, NULL), 0);
}

static void dribble(void)
{
	int i;

	shimhost_exited(host.agent, 6, 0);
	for (i = 0; i < 40; i++) {
		if (send(host.streams[2], "x", 1, MSG_NOSIGNAL) < 0)
			break;
		usleep(10000);
	}
}

/* Input that nobody asked for stays where it is. */
static void talks_into_input(void)
{
	static char block[65536];

	send(host.streams[0], block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
	shimhost_exited(host.agent, 6, 0);
	close_streams();
}

/* Answers without end must not keep a signal from being passed on. */
static void floods_answers(void)
{
	struct frame_rx rx = { 0 };
	struct err e;

	kill(host.pid, SIGUSR1);
	while (!frame_feed(&rx, host.agent, &e))
		send(host.agent, "\0\0\0\0", 4, MSG_NOSIGNAL | MSG_DONTWAIT);
	frame_done(&rx);
	shimhost_exited(host.agent, 6, 0);
	close_streams();
}

/* An agent that takes no requests: a signal that cannot be passed on is no hang. */
static void takes_nothing(void)
{
	siginfo_t si = { 0 };

	while (!waitid(P_PID, (id_t)host.pid, &si, WEXITED | WNOHANG | WNOWAIT) && !si.si_pid &&
	       !kill(host.pid, SIGUSR1))
		sched_yield();
}

static const struct run {
	const char *what;
	void (*agent)(void);
	int exits, signal;
	const char *said;	/* in the engine's log; NULL: nothing */
	bool holds;		/* the shim has to cut something off */
} runs[] = {
	{ "a length of 4 GiB", run_4g, 255, 0, "container c: the machine is lost under its process", false },
	{ "garbage", run_garbage, 255, 0, "does not parse", false },
	{ "closes", run_closes, 255, 0, "the peer closed the connection", false },
	{ "closes in the middle of a message", run_closes_in_message, 255, 0, "the peer closed", false },
	{ "closes, and holds the streams", run_holds_streams, 255, 0, "the peer closed", true },
	{ "garbage, and holds the streams", run_garbage_holds, 255, 0, "does not parse", true },
	{ "answers what was not asked", run_other_answers, 6, 0, NULL, false },
	{ "ends twice", end_twice, 6, 0, NULL, false },
	{ "ends, and says nothing of how", end_empty, 0, 0, NULL, false },
	{ "ends by a signal that stops", end_stops, -1, SIGKILL, NULL, false },
	{ "ends by one that stops readers", end_stops_in, -1, SIGKILL, NULL, false },
	{ "ends by one that stops writers", end_stops_out, -1, SIGKILL, NULL, false },
	{ "ends, and holds the streams", end_holds_streams, 6, 0, NULL, true },
	{ "ends, and floods its output", end_floods, 6, 0, NULL, true },
	{ "ends, and goes on writing slowly", dribble, 6, 0, NULL, true },
	{ "writes into its input", talks_into_input, 6, 0, NULL, false },
	{ "floods with answers", floods_answers, 6, 0, NULL, false },
	{ "takes no requests", takes_nothing, 255, 0, "the machine is lost", true },
};

START_TEST(while_running)
{
	const struct run *r = &runs[_i];
	char said[500];
	int status;

	patience_ms = r->holds ? SHORT_MS : LONG_MS;
	shimhost_spawn(&host, shim_main, false);
	shimhost_join(&host, 20, false);
	shimhost_streams(&host);
	ck_assert_int_eq(send(host.hold, "+", 1, 0), 1);
	r->agent();
	if (flooder) /* it ends with what the shim does not read any more */
		pthread_join(flooder, NULL);
	status = shimhost_end(&host, said);
	ck_assert_msg(WIFSIGNALED(status) ? WTERMSIG(status) == r->signal
					  : WEXITSTATUS(status) == r->exits,
		      "%s: status %x", r->what, (unsigned int)status);
	if (r->said)
		ck_assert_msg(strstr(said, r->said), "%s: %s", r->what, said);
	else
		ck_assert_msg(!*said, "%s: %s", r->what, said);
}
END_TEST

Suite *runtime_hostile_shim_suite(void)
{
	Suite *s = suite_create("runtime_hostile_shim");
	TCase *t = tcase_create("shim");

	if (geteuid()) {
		kit_skip("runtime_hostile_shim", "cannot enter a network namespace: needs root");
		return s;
	}
	tcase_add_loop_test(t, while_attached, 0, (int)ARRAY_LEN(begins));
	tcase_add_loop_test(t, while_opened, 0, (int)ARRAY_LEN(begins));
	tcase_add_loop_test(t, while_running, 0, (int)ARRAY_LEN(runs));
	suite_add_tcase(s, t);
	return s;
}
