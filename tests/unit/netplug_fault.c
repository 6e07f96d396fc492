// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * netplug's apply and undo when something goes wrong at each single step: a request to
 * the kernel that is not sent, an answer that is lost though it was carried out, a
 * tap that cannot be had, memory that is short; and the process killed at each step.
 * A failed apply leaves the namespace and the journal as they were; a killed one, and a
 * failed or killed undo, leave what the next undo takes back.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/netplug.h"
#include "tests/kit/fault.h"
#include "tests/kit/joined.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_fault_suite(void);

/* Far more steps than there are. */
#define STEPS_MAX 400

static char *state(void)
{
	return kit_output("ip -d -o link; tc -d qdisc; tc filter show dev eth0 ingress");
}

static void pod_open(struct kit_joined *t)
{
	kit_joined_new(t);
	/* As CNI plugins make it: each sort of record is written then. */
	kit_run("ip link set eth0 txqueuelen 0 && ip addr add 10.1.0.2/24 dev eth0");
	kit_joined_plan(t, NULL);
	free(t->before);
	t->before = state();
}

static int undo_one(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return netplug_undo(r, e);
}

static int undo(struct kit_joined *t, struct err *e)
{
	return journal_undo(t->j, undo_one, NULL, e);
}

/* Another process has written the journal: it is read again. */
static void reopen(struct kit_joined *t)
{
	struct err e = { 0 };

	journal_free(t->j);
	ck_assert_int_eq(journal_open(t->dirfd, "journal", &t->j, &e), 0);
}

static void unchanged(struct kit_joined *t, unsigned int step)
{
	_cleanup_free_ char *after = state();

	ck_assert_uint_eq(journal_mark(t->j), 0);
	ck_assert_msg(!strcmp(after, t->before), "step %u: before\n%s\nafter\n%s", step, t->before, after);
}

static void undo_all(struct kit_joined *t, unsigned int step)
{
	struct err e = { 0 };

	ck_assert_msg(!undo(t, &e), "step %u: %s", step, e.text);
	unchanged(t, step);
}

static const unsigned int kinds[] = { KIT_FAULT_NETLINK, KIT_FAULT_MEMORY };

START_TEST(apply_fails)
{
	unsigned int step;
	bool through = false;
	struct kit_joined t;

	pod_open(&t);
	for (step = 1; !through && step < STEPS_MAX; step++) {
		struct err e = { 0 };
		int rc;

		kit_fault_arm(kinds[_i], step, ENOBUFS);
		rc = kit_joined_try(&t, &e);
		through = !kit_fault_fired();
		ck_assert_msg(through ? !rc : rc < 0 && e.text[0], "step %u: %d: %s", step, rc, e.text);
		if (!through)
			unchanged(&t, step);
	}
	ck_assert(through);
	kit_joined_close_taps(&t);
	undo_all(&t, step);
	kit_joined_done(&t);
}
END_TEST

/* In a child, which is killed at its @step-th call. Return: it got through */
static bool killed(struct kit_joined *t, int (*fn)(struct kit_joined *t, struct err *e), unsigned int step)
{
	struct err e = { 0 };
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		kit_fault_arm(KIT_FAULT_NETLINK, step, -SIGKILL);
		_exit(fn(t, &e) < 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) ? !WEXITSTATUS(status) : WTERMSIG(status) == SIGKILL,
		      "step %u: status %d", step, status);
	reopen(t);
	return WIFEXITED(status);
}

START_TEST(apply_killed)
{
	unsigned int step;
	bool through = false;
	struct kit_joined t;

	pod_open(&t);
	for (step = 1; !through && step < STEPS_MAX; step++) {
		through = killed(&t, kit_joined_try, step);
		undo_all(&t, step);
	}
	ck_assert(through);
	kit_joined_done(&t);
}
END_TEST

START_TEST(undo_fails)
{
	unsigned int step;
	bool through = false;
	struct kit_joined t;

	pod_open(&t);
	for (step = 1; !through && step < STEPS_MAX; step++) {
		struct err e = { 0 };
		int rc;

		ck_assert_msg(!kit_joined_try(&t, &e), "step %u: %s", step, e.text);
		if (step & 1)
			kit_joined_close_taps(&t);
		kit_fault_arm(kinds[_i], step, ENOBUFS);
		rc = undo(&t, &e);
		through = !kit_fault_fired();
		ck_assert_msg(through ? !rc : rc < 0 && e.text[0], "step %u: %d: %s", step, rc, e.text);
		undo_all(&t, step);
		kit_joined_close_taps(&t);
	}
	ck_assert(through);
	kit_joined_done(&t);
}
END_TEST

START_TEST(undo_killed)
{
	unsigned int step;
	bool through = false;
	struct kit_joined t;

	pod_open(&t);
	for (step = 1; !through && step < STEPS_MAX; step++) {
		struct err e = { 0 };

		ck_assert_msg(!kit_joined_try(&t, &e), "step %u: %s", step, e.text);
		kit_joined_close_taps(&t);
		through = killed(&t, undo, step);
		undo_all(&t, step);
	}
	ck_assert(through);
	kit_joined_done(&t);
}
END_TEST

Suite *netplug_fault_suite(void)
{
	Suite *s = suite_create("netplug_fault");
	TCase *t = tcase_create("steps");
	const char *missing = kit_net_missing(true);

	if (missing) {
		kit_skip("netplug_fault", missing);
		return s;
	}
	tcase_add_loop_test(t, apply_fails, 0, ARRAY_LEN(kinds));
	tcase_add_loop_test(t, undo_fails, 0, ARRAY_LEN(kinds));
	tcase_add_test(t, apply_killed);
	tcase_add_test(t, undo_killed);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return s;
}
