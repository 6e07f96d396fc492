// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The event loop where callbacks pull the rug away: sources that delete each
 * other, themselves or all, add new ones under an address or a descriptor that
 * was just given up, and step the loop from within.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/proc.h"

Suite *lib_loop_suite(void);

#define SOURCES 8

static struct loop *loop;
static struct loop_src *src[SOURCES];
static int fd[SOURCES], calls[SOURCES], total;

/* Sources whose descriptors are all readable. */
static void setup(void)
{
	struct err e = { 0 };
	int i;

	total = 0;
	ck_assert_int_eq(loop_new(&loop, &e), 0);
	for (i = 0; i < SOURCES; i++) {
		fd[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		src[i] = NULL;
		calls[i] = 0;
	}
}

static void teardown(void)
{
	int i;

	loop_free(loop);
	for (i = 0; i < SOURCES; i++)
		close(fd[i]);
}

static void watch(int i, loop_fn *fn)
{
	struct err e = { 0 };

	ck_assert_int_eq(loop_add(loop, fd[i], EPOLLIN, fn, &calls[i], &src[i], &e), 0);
}

static void count(void *arg, uint32_t events)
{
	ck_assert(events & EPOLLIN);
	++*(int *)arg;
	total++;
}

static void delete_all(void *arg, uint32_t events)
{
	int i;

	count(arg, events);
	for (i = 0; i < SOURCES; i++) {
		loop_del(src[i]);
		src[i] = NULL;
	}
}

/* Whoever comes first deletes all, itself included: nobody else is called. */
START_TEST(first_deletes_all)
{
	struct err e = { 0 };
	int i;

	for (i = 0; i < SOURCES; i++)
		watch(i, delete_all);
	ck_assert_int_eq(loop_step(loop, 0, &e), SOURCES);
	ck_assert_int_eq(total, 1);
	ck_assert_int_eq(loop_step(loop, 0, &e), 0);
}
END_TEST

static void delete_others_twice(void *arg, uint32_t events)
{
	int i;

	count(arg, events);
	for (i = 0; i < SOURCES; i++) {
		if (&calls[i] == arg)
			continue;
		loop_del(src[i]);
		loop_del(src[i]); /* valid until the round is over */
		src[i] = NULL;
	}
}

START_TEST(first_deletes_others)
{
	struct err e = { 0 };
	int i;

	for (i = 0; i < SOURCES; i++)
		watch(i, delete_others_twice);
	loop_step(loop, 0, &e);
	ck_assert_int_eq(total, 1);
	ck_assert_int_eq(loop_step(loop, 0, &e), 1);
	ck_assert_int_eq(total, 2);
}
END_TEST

/* Deletes all others, and watches the same descriptors anew. */
static void replace_others(void *arg, uint32_t events)
{
	int i;

	count(arg, events);
	for (i = 0; i < SOURCES && total == 1; i++) {
		if (&calls[i] == arg)
			continue;
		loop_del(src[i]);
		watch(i, count);
	}
}

START_TEST(new_source_is_not_called_for_an_old_event)
{
	struct err e = { 0 };
	int i;

	for (i = 0; i < SOURCES; i++)
		watch(i, replace_others);
	loop_step(loop, 0, &e);
	ck_assert_int_eq(total, 1);
	loop_step(loop, 0, &e);
	ck_assert_int_eq(total, 1 + SOURCES);
}
END_TEST

static void delete_self(void *arg, uint32_t events)
{
	int i = (int)((int *)arg - calls);

	count(arg, events);
	loop_del(src[i]);
	src[i] = NULL;
}

START_TEST(each_deletes_itself)
{
	struct err e = { 0 };
	int i;

	for (i = 0; i < SOURCES; i++)
		watch(i, delete_self);
	ck_assert_int_eq(loop_step(loop, 0, &e), SOURCES);
	ck_assert_int_eq(total, SOURCES);
	ck_assert_int_eq(loop_step(loop, 0, &e), 0);
}
END_TEST

static void step_within(void *arg, uint32_t events)
{
	struct err e = { 0 };

	delete_self(arg, events);
	if (total < SOURCES)
		loop_step(loop, 0, &e);
}

/* The outer round still holds events of sources that the inner one has deleted. */
START_TEST(step_from_within)
{
	struct err e = { 0 };
	int i;

	for (i = 0; i < SOURCES; i++)
		watch(i, step_within);
	loop_step(loop, 0, &e);
	ck_assert_int_eq(total, SOURCES);
}
END_TEST

static void stop_at_three(void *arg, uint32_t events)
{
	count(arg, events);
	if (total == 3)
		loop_stop(loop);
}

START_TEST(run_until_stop)
{
	struct err e = { 0 };

	watch(0, stop_at_three);
	ck_assert_int_eq(loop_run(loop, &e), 0);
	ck_assert_int_eq(total, 3);
}
END_TEST

START_TEST(change_events)
{
	struct err e = { 0 };

	watch(0, count);
	loop_mod(src[0], 0);
	ck_assert_int_eq(loop_step(loop, 0, &e), 0);
	loop_mod(src[0], EPOLLIN);
	ck_assert_int_eq(loop_step(loop, 0, &e), 1);
}
END_TEST

START_TEST(bad_descriptors)
{
	struct loop_src *s = NULL;
	struct err e = { 0 };
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(loop_add(loop, -1, EPOLLIN, count, NULL, &s, &e), -EBADF);
	ck_assert_int_eq(loop_add(loop, file, EPOLLIN, count, NULL, &s, &e), -EPERM);
	watch(0, count);
	ck_assert_int_eq(loop_add(loop, fd[0], EPOLLIN, count, NULL, &s, &e), -EEXIST);
	ck_assert_ptr_null(s);
	loop_del(NULL);
	loop_free(NULL);
	close(file);
}
END_TEST

static void nothing(int sig)
{
	(void)sig;
}

START_TEST(signal_is_no_failure)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct err e = { 0 };

	sigaction(SIGALRM, &sa, NULL);
	ualarm(20000, 0);
	ck_assert_int_eq(loop_step(loop, 3000, &e), 0);
}
END_TEST

START_TEST(timer)
{
	struct err e = { 0 };
	int t = timer_new(&e), called = 0;
	struct loop_src *s;
	uint64_t start = clock_ms();

	ck_assert_int_ge(t, 0);
	ck_assert_int_eq(loop_add(loop, t, EPOLLIN, count, &called, &s, &e), 0);
	timer_ack(t); /* not expired: does not block */
	ck_assert_int_eq(timer_set(t, 30, &e), 0);
	ck_assert_int_eq(loop_step(loop, 3000, &e), 1);
	ck_assert_uint_ge(clock_ms() - start, 29);
	timer_ack(t);
	ck_assert_int_eq(loop_step(loop, 0, &e), 0);
	ck_assert_int_eq(timer_set(t, 30, &e), 0);
	ck_assert_int_eq(timer_set(t, 0, &e), 0);
	ck_assert_int_eq(loop_step(loop, 60, &e), 0);
	ck_assert_int_eq(called, 1);
	ck_assert_int_lt(timer_set(-1, 1, &e), 0);
	loop_del(s);
	close(t);
}
END_TEST

Suite *lib_loop_suite(void)
{
	Suite *s = suite_create("lib_loop");
	TCase *t = tcase_create("loop");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, first_deletes_all);
	tcase_add_test(t, first_deletes_others);
	tcase_add_test(t, new_source_is_not_called_for_an_old_event);
	tcase_add_test(t, each_deletes_itself);
	tcase_add_test(t, step_from_within);
	tcase_add_test(t, run_until_stop);
	tcase_add_test(t, change_events);
	tcase_add_test(t, bad_descriptors);
	tcase_add_test(t, signal_is_no_failure);
	tcase_add_test(t, timer);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
