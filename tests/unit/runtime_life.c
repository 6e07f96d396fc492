// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Life and death: the table of a container's life; the watchdog against agents that answer,
 * are silent, slow or wrong, and against a monitor that stands still; and what is made of
 * all the ways in which the end of a machine is noticed. Monitor and agent are the other
 * ends of sockets here.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"
#include "tests/kit/dir.h"

Suite *runtime_life_suite(void);

#define PERIOD_MS 10
#define LIMIT_MS 80

static struct pod pod;
static int guest = -1, pinged = -1, monitor = -1;

static int fake_connect(struct pod *p, int *ret_fd, struct err *e)
{
	int s[2];

	(void)p;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "socketpair");
	pinged = s[0];
	*ret_fd = s[1];
	return 0;
}

/* The monitor has told by then, or never does. */
static int short_poll(struct pollfd *f, nfds_t n, int ms)
{
	return poll(f, n, ms > 100 ? 100 : ms);
}

/* What containers were told: "a15 b9 ". */
static char signals[64];

static int fake_signal(struct pod *p, const char *id, uint32_t sig, bool all, struct err *e)
{
	size_t len = strlen(signals);

	ck_assert(p == &pod && !all);
	snprintf(signals + len, sizeof(signals) - len, "%.8s%u ", id, sig);
	return *id == 'x' ? err_set(e, ESRCH, "it has gone") : 0;
}

/* Ten seconds are one of these, and a minute is six. */
static int short_timer(int fd, uint64_t ms, struct err *e)
{
	return timer_set(fd, ms / 500, e);
}

#define machine_connect fake_connect
#include "runtime/supervisor/watchdog.c"
#define poll short_poll
#define container_signal fake_signal
#define timer_set short_timer
#include "runtime/supervisor/ending.c"
#undef timer_set
#undef poll

static void setup(void)
{
	struct err e = { 0 };
	int s[2];

	kit_dir_enter();
	log_open(-1, LOG_LEVEL_ERROR, false);
	memset(&pod, 0, sizeof(pod));
	strcpy(pod.id, "p");
	pod.dirfd = AT_FDCWD;
	pod.cgroup_fd = pod.vmm.pidfd = pod.told_fd = -1;
	signals[0] = 0;
	pod.vmm.pid = getpid();
	pod.config.watchdog_period_ms = PERIOD_MS;
	pod.config.watchdog_limit_ms = LIMIT_MS;
	ck_assert_int_eq(loop_new(&pod.loop, &e), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	pod.agent.fd = s[0];
	guest = s[1];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	pod.vmm.sock = s[0];
	monitor = s[1];
}

static void teardown(void)
{
	watchdog_stop(&pod);
	watchdog_stop(&pod);
	agent_done(&pod.agent);
	loop_free(pod.loop);
	fd_close(&pod.told_fd);
	fd_close(&pod.vmm.sock);
	fd_close(&pod.vmm.pidfd);
	fd_close(&guest);
	fd_close(&pinged);
	fd_close(&monitor);
	kit_dir_leave();
}

/* ---- the table ----------------------------------------------------------------------- */

/* Whoever is asked, and in whatever state, life goes on to its end and never back. */
START_TEST(table_of_life)
{
	static const int rank[] = { 0, 1, 2, 2, 3, 4, 5 };
	enum life s = (enum life)_i;
	int ev;

	ck_assert_ptr_nonnull(life_name(s));
	for (ev = 0; ev < LIFE_EVENTS; ev++) {
		int to = life_next(s, (enum life_event)ev);

		ck_assert_int_ge(to, -1);
		ck_assert_int_lt(to, LIFE_STATES);
		ck_assert_msg(to < 0 || rank[to] >= rank[s], "%s, event %d: %s", life_name(s), ev,
			      life_name((enum life)to));
	}
	/* Force always helps, and so does the end of the machine. */
	ck_assert_int_eq(life_next(s, LIFE_FORCE), s == LIFE_GONE ? -1 : LIFE_GONE);
	ck_assert(s == LIFE_GONE || life_next(s, LIFE_LOST) >= LIFE_STOPPED);
	/* What has ended neither runs nor ends again. */
	if (s >= LIFE_ENDING)
		ck_assert(life_next(s, LIFE_EXITED) < 0 && life_next(s, LIFE_START) < 0 &&
			  life_next(s, LIFE_EXEC) < 0 && life_next(s, LIFE_PAUSE) < 0);
	ck_assert_int_eq(life_next(s, LIFE_DELETE) >= 0, s == LIFE_STOPPED);
}
END_TEST

START_TEST(ends_have_names)
{
	enum life_end how = (enum life_end)_i;

	ck_assert(how == LIFE_END_NONE || strlen(life_end_name(how)) > 4);
	ck_assert(life_end_code(how) == 255 || life_end_code(how) == 137);
}
END_TEST

/* ---- the watchdog ---------------------------------------------------------------------- */

static bool take_ping(void)
{
	struct frame_rx rx = { 0 };
	Podvm__Request *rq = NULL;
	bool ping = false;

	if (!frame_recv(pinged, &rx, 20000, NULL))
		rq = podvm__request__unpack(NULL, rx.len, rx.buf);
	if (rq) {
		ping = rq->body_case == PODVM__REQUEST__BODY_PING;
		podvm__request__free_unpacked(rq, NULL);
	}
	frame_done(&rx);
	return ping;
}

static void say(const char *data, size_t len)
{
	ck_assert_int_eq(send(pinged, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

#define SAY(s) say(s, sizeof(s) - 1)

static void pong(void)
{
	ck_assert(take_ping());
	SAY("\0\0\0\0");
}

static void answers_then_stops(void) { pong(); pong(); pong(); ck_assert(take_ping()); }
static void never_answers(void) { ck_assert(take_ping()); }
static void half_an_answer(void) { ck_assert(take_ping()); SAY("\4\0"); }
static void closes(void) { ck_assert(take_ping()); shutdown(pinged, SHUT_RDWR); }
static void refuses(void) { ck_assert(take_ping()); SAY("\2\0\0\0\x08\x05"); }
static void garbage(void) { ck_assert(take_ping()); SAY("\1\0\0\0\xff"); }
static void says_something(void) { ck_assert(take_ping()); SAY("\2\0\0\0\x32\0"); }
static void length_4g(void) { ck_assert(take_ping()); SAY("\xff\xff\xff\xff"); }
static void answers_twice(void) { ck_assert(take_ping()); SAY("\0\0\0\0\0\0\0\0"); }

static const struct {
	const char *what;
	void (*agent)(void);
	enum life_end end;
	const char *text;
} watched[] = {
	{ "never answers", never_answers, LIFE_END_HANG, "guest-hang: the agent has not answered for 80 ms" },
	{ "answers, then stops", answers_then_stops, LIFE_END_HANG, "guest-hang: " },
	{ "half an answer", half_an_answer, LIFE_END_HANG, "guest-hang: " },
	{ "closes", closes, LIFE_END_AGENT, "agent-lost: " },
	{ "refuses", refuses, LIFE_END_AGENT, "agent-lost: " },
	{ "garbage", garbage, LIFE_END_AGENT, "agent-lost: " },
	{ "says something", says_something, LIFE_END_AGENT, "agent-lost: " },
	{ "a length of 4 GiB", length_4g, LIFE_END_AGENT, "agent-lost: " },
	{ "answers twice", answers_twice, LIFE_END_AGENT, "agent-lost: " },
};

static void start_watchdog(void)
{
	struct err e = { 0 };

	ck_assert_msg(!watchdog_start(&pod, &e), "%s", e.text);
}

static void await_death(void)
{
	struct err e = { 0 };

	while (!pod.dead)
		ck_assert_int_ge(loop_step(pod.loop, -1, &e), 0);
}

/* The pod dies, and whoever waits for the agent meanwhile waits no longer. */
START_TEST(watchdog_bites)
{
	char c;

	start_watchdog();
	watched[_i].agent();
	await_death();
	ck_assert_msg(pod.end == watched[_i].end && str_starts(pod.end_text, watched[_i].text),
		      "%s: %s", watched[_i].what, pod.end_text);
	ck_assert_int_eq(recv(guest, &c, 1, 0), 0);
}
END_TEST

/* One that answers, also slowly, is left alone. */
START_TEST(watchdog_is_content)
{
	int i;

	start_watchdog();
	for (i = 0; i < (_i ? 4 : 20); i++) {
		ck_assert(take_ping());
		if (_i)
			usleep(3 * PERIOD_MS * 1000);
		SAY("\0\0\0\0");
	}
	ck_assert(!watchdog_bit(&pod));
	watchdog_stop(&pod);
	ck_assert(!pod.dead);
}
END_TEST

/* A monitor that is stopped has a guest that cannot answer. */
START_TEST(watchdog_waits_for_a_stopped_monitor)
{
	pid_t child = fork();

	if (!child)
		for (;;)
			pause();
	ck_assert_int_eq(kill(child, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(child, NULL, WUNTRACED), child);
	pod.vmm.pid = child;
	start_watchdog();
	ck_assert(take_ping());
	usleep(5 * LIMIT_MS * 1000);
	ck_assert(!watchdog_bit(&pod));
	kill(child, SIGCONT);
	await_death();
	ck_assert_int_eq(pod.end, LIFE_END_HANG);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}
END_TEST

START_TEST(watchdog_is_off)
{
	pod.config.watchdog_limit_ms = 0;
	start_watchdog();
	ck_assert_ptr_null(pod.watchdog);
	ck_assert(!watchdog_bit(&pod));
}
END_TEST

/* ---- how an end is noticed, and what it is called ----------------------------------------- */

static void event(enum vmm_event what, const char *text)
{
	struct vmm_reply r = { .type = VMM_EVENT, .event = what };

	snprintf(r.text, sizeof(r.text), "%s", text);
	ck_assert_int_eq(send(monitor, &r, sizeof(r), 0), sizeof(r));
}

#define PANIC "[    1.5] Kernel panic - not syncing: "

static const struct {
	const char *what;
	enum vmm_event event;
	const char *console;	/* NULL: there is none */
	enum life_end end;
	const char *text;
} told[] = {
	{ "power off", VMM_EVENT_SHUTDOWN, PANIC "no\n", LIFE_END_OFF, "guest-off: it" },
	{ "a reset without a word", VMM_EVENT_RESET, NULL, LIFE_END_RESET, "guest-reset: it" },
	{ "a reset, and other words", VMM_EVENT_RESET, "hello\nworld", LIFE_END_RESET, "guest-reset: it" },
	{ "a panic", VMM_EVENT_RESET, "a\n" PANIC "sysrq triggered crash\r\nCPU: 0\n", LIFE_END_PANIC,
	  "guest-panic: sysrq triggered crash" },
	{ "the death of init", VMM_EVENT_RESET, PANIC "Attempted to kill init! exitcode=0x0000000b\n",
	  LIFE_END_AGENT_CRASH, "agent-crash: Attempted to kill init! exitcode=0x0000000b" },
	{ "a panic without an end", VMM_EVENT_RESET, PANIC "x", LIFE_END_PANIC, "guest-panic: x" },
	{ "a panic that drives a terminal", VMM_EVENT_RESET, PANIC "x\x1b[2J\xc2\x9b\xff\n", LIFE_END_PANIC,
	  "guest-panic: x?[2J???" },
	{ "a fault of KVM", VMM_EVENT_ERROR, PANIC "no\n", LIFE_END_MONITOR, "monitor-lost: it" },
	{ "an unknown event", (enum vmm_event)77, NULL, LIFE_END_MONITOR, "monitor-lost: it" },
};

START_TEST(monitor_tells)
{
	if (told[_i].console)
		kit_put("console.log", told[_i].console);
	event(told[_i].event, "it");
	ending_monitor(&pod);
	ck_assert_msg(pod.dead && pod.end == told[_i].end, "%s: %s", told[_i].what, pod.end_text);
	ck_assert_str_eq(pod.end_text, told[_i].text);
	pod_die(&pod, LIFE_END_TOLD, "the first one counts");
	ck_assert_int_eq(pod.end, told[_i].end);
}
END_TEST

/* The agent's connection tells of most ends first: the monitor knows better. */
START_TEST(agent_goes_first)
{
	kit_put("console.log", PANIC "sysrq triggered crash\n");
	event(VMM_EVENT_RESET, "it");
	ending_agent(&pod, -EPIPE, "closed");
	ck_assert_str_eq(pod.end_text, "guest-panic: sysrq triggered crash");
}
END_TEST

START_TEST(agent_goes_alone)
{
	ending_agent(&pod, _i ? -EPIPE : -EPROTO, "words");
	ck_assert_int_eq(pod.end, LIFE_END_AGENT);
	ck_assert_str_eq(pod.end_text, "agent-lost: words");
}
END_TEST

/* A console as long as it may be, with what is no text. */
START_TEST(long_console)
{
	static char text[2 << 20];
	struct err e = { 0 };
	char tail[100];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 20] = 0;
	memcpy(text + sizeof(text) - 10, "\n last word", 10);
	ck_assert(!file_replace(AT_FDCWD, "console.log", text, sizeof(text), 0600, &e));
	ending_console(&pod, tail, sizeof(tail));
	ck_assert_uint_eq(strlen(tail), sizeof(tail) - 1);
	ck_assert_ptr_nonnull(strstr(tail, "x?x"));
	ck_assert_ptr_nonnull(strstr(tail, "\n last wor"));
	event(VMM_EVENT_RESET, "it");
	ending_monitor(&pod);
	ck_assert_int_eq(pod.end, LIFE_END_RESET);
}
END_TEST

static const struct {
	int sig, status;
	const char *text;
} deaths[] = {
	{ SIGKILL, 0, "monitor-lost: the monitor was killed by signal 9" },
	{ SIGSEGV, 0, "monitor-lost: the monitor was killed by signal 11" },
	{ 0, 3, "monitor-lost: the monitor ended with status 3" },
};

START_TEST(monitor_dies)
{
	pid_t child = fork();
	struct err e = { 0 };

	if (!child) {
		signal(deaths[_i].sig, SIG_DFL);
		if (deaths[_i].sig)
			raise(deaths[_i].sig);
		_exit(deaths[_i].status);
	}
	pod.vmm.pidfd = proc_pidfd(child, 0, &e);
	ck_assert_int_ge(pod.vmm.pidfd, 0);
	fd_close(&monitor);
	ending_agent(&pod, -EPIPE, "closed");
	ck_assert_int_eq(pod.end, LIFE_END_MONITOR);
	ck_assert_str_eq(pod.end_text, deaths[_i].text);
}
END_TEST

/* ---- told to end ------------------------------------------------------------------------- */

static struct state states[6];
static struct container containers[ARRAY_LEN(states)] = {
	{ .id = "pause", .committed = true, .infra = true },
	{ .id = "new" },
	{ .id = "made", .committed = true },
	{ .id = "a", .committed = true },
	{ .id = "b", .committed = true },
	{ .id = "old", .committed = true },
};
static struct container *const a = &containers[3], *const b = &containers[4];

static void populate(void)
{
	static const enum state_status statuses[] = {
		STATE_RUNNING, STATE_CREATED, STATE_CREATED, STATE_RUNNING, STATE_PAUSED, STATE_STOPPED,
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(states); i++) {
		states[i].status = statuses[i];
		containers[i].state = &states[i];
		containers[i].next = pod.containers;
		pod.containers = &containers[i];
	}
}

static void stops(struct container *c)
{
	c->state->status = STATE_STOPPED;
	ending_settled(&pod);
}

/* Those that run or are paused are told, and waited for. */
START_TEST(told_in_order)
{
	populate();
	stops(&containers[5]);
	ck_assert_msg(!pod.dead, "nobody has told it to end");
	ending_told(&pod);
	ck_assert_str_eq(signals, "b15 a15 ");
	ck_assert(pod.end == LIFE_END_TOLD && !pod.dead);
	stops(a);
	ck_assert(!pod.dead);
	stops(b);
	ck_assert(pod.dead && pod.end == LIFE_END_TOLD);
	ck_assert_str_eq(pod.end_text, "told-to-end: the supervisor got a signal");
}
END_TEST

START_TEST(told_without_work)
{
	populate();
	stops(a);
	stops(b);
	ending_told(&pod);
	ck_assert_str_eq(signals, "");
	ck_assert(pod.dead);
}
END_TEST

START_TEST(told_twice)
{
	populate();
	ending_told(&pod);
	ending_told(&pod);
	ck_assert(pod.dead && pod.end == LIFE_END_TOLD);
	ck_assert_str_eq(signals, "b15 a15 ");
}
END_TEST

/* @_i: whether the one that is left stops when it is killed, or never. */
START_TEST(told_in_vain)
{
	struct err e = { 0 };

	populate();
	strcpy(a->id, "x");
	ending_told(&pod);
	stops(b);
	ck_assert_int_ge(loop_step(pod.loop, 1000, &e), 0);
	ck_assert_str_eq(signals, "b15 x15 x9 ");
	ck_assert(!pod.dead);
	if (_i)
		stops(a);
	else
		ck_assert_int_ge(loop_step(pod.loop, 1000, &e), 0);
	ck_assert(pod.dead && pod.end == LIFE_END_TOLD);
	strcpy(a->id, "a");
}
END_TEST

/* The machine goes meanwhile, which only follows from it. */
START_TEST(told_and_lost)
{
	populate();
	ending_told(&pod);
	pod_die(&pod, LIFE_END_MONITOR, "it went");
	ck_assert(pod.dead && pod.end == LIFE_END_TOLD);
	ck_assert_str_eq(pod.end_text, "told-to-end: the supervisor got a signal");
}
END_TEST

Suite *runtime_life_suite(void)
{
	Suite *s = suite_create("runtime_life");
	TCase *t = tcase_create("life");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, table_of_life, 0, LIFE_STATES);
	tcase_add_loop_test(t, ends_have_names, 0, LIFE_ENDS);
	tcase_add_loop_test(t, watchdog_bites, 0, (int)ARRAY_LEN(watched));
	tcase_add_loop_test(t, watchdog_is_content, 0, 2);
	tcase_add_test(t, watchdog_waits_for_a_stopped_monitor);
	tcase_add_test(t, watchdog_is_off);
	tcase_add_loop_test(t, monitor_tells, 0, (int)ARRAY_LEN(told));
	tcase_add_test(t, agent_goes_first);
	tcase_add_loop_test(t, agent_goes_alone, 0, 2);
	tcase_add_test(t, long_console);
	tcase_add_loop_test(t, monitor_dies, 0, (int)ARRAY_LEN(deaths));
	tcase_add_test(t, told_in_order);
	tcase_add_test(t, told_without_work);
	tcase_add_test(t, told_twice);
	tcase_add_loop_test(t, told_in_vain, 0, 2);
	tcase_add_test(t, told_and_lost);
	suite_add_tcase(s, t);
	return s;
}
