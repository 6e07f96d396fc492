// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/batch.c: what rounds find makes the calling thread a batch thread, or a normal one.
 * Each test runs in a process of its own (Check forks).
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "tests/kit/kit.h"
#include "vmm/batch.h"

Suite *vmm_batch_suite(void);

static void rounds(unsigned int n, unsigned int found)
{
	while (n--)
		batch_round(found);
}

/* Who asks and waits is served at once, and a guest that asks for more at a time in batches. */
START_TEST(test_lone_and_many)
{
	batch_begin();
	ck_assert_int_eq(sched_getscheduler(0), SCHED_BATCH);
	rounds(BATCH_LONE_MAX - 1, 1);
	rounds(1, 2);
	rounds(BATCH_LONE_MAX - 1, 1);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_BATCH);
	rounds(1, 0);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
	rounds(1, 2);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_BATCH);
	rounds(1000, 2);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_BATCH);
}
END_TEST

/* A normal thread that finds one request each time looks now and then what it would find. */
START_TEST(test_retry)
{
	batch_begin();
	rounds(BATCH_LONE_MAX, 1);
	rounds(BATCH_RETRY - 1, 1);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
	rounds(1, 1);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_BATCH);
	rounds(BATCH_LONE_MAX, 1);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
}
END_TEST

static void *other(void *arg)
{
	rounds(BATCH_LONE_MAX + BATCH_RETRY, 1);
	*(int *)arg = sched_getscheduler(0);
	return NULL;
}

/* What rounds find is nothing to a thread that serves no devices, nor to another policy. */
START_TEST(test_others)
{
	const struct sched_param none = { 0 };
	pthread_t t;
	int policy = -1;

	rounds(BATCH_RETRY, 2);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
	ck_assert_int_eq(pthread_create(&t, NULL, other, &policy), 0);
	batch_begin();
	pthread_join(t, NULL);
	ck_assert_int_eq(policy, SCHED_OTHER);
	ck_assert_int_eq(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	batch_begin();
	rounds(BATCH_LONE_MAX, 1);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_IDLE);
}
END_TEST

Suite *vmm_batch_suite(void)
{
	Suite *s = suite_create("vmm_batch");
	TCase *t = tcase_create("batch");

	tcase_add_test(t, test_lone_and_many);
	tcase_add_test(t, test_retry);
	tcase_add_test(t, test_others);
	suite_add_tcase(s, t);
	return s;
}
