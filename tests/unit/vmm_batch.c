// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/batch.c: what rounds find makes the calling thread a batch thread, or a normal one.
 * vmm/client-vhost.c: threads that look like vhost's are found and become some. Their
 * cgroup is a directory of the test's. Each test runs in a process of its own (Check forks).
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/kit/dir.h"
#include "tests/kit/kit.h"
#include "vmm/batch.h"
#include "vmm/vmm.h"

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

struct named {
	const char *name;
	int policy, found, tid;
	pthread_barrier_t *b;
};

/* Has a name and a policy before the first barrier, and tells its policy after the second. */
static void *be_named(void *arg)
{
	const struct sched_param none = { 0 };
	struct named *n = arg;

	prctl(PR_SET_NAME, n->name, 0, 0, 0);
	n->tid = gettid();
	sched_setscheduler(0, n->policy, &none);
	pthread_barrier_wait(n->b);
	pthread_barrier_wait(n->b);
	n->found = sched_getscheduler(0);
	return NULL;
}

/* By their names, among all that is in the monitor's cgroup; a policy of somebody else's stays. */
START_TEST(test_vhosts)
{
	pthread_barrier_t b;
	struct named n[] = { { "vhost-7", SCHED_OTHER, 0, 0, &b }, { "vhost-8", SCHED_IDLE, 0, 0, &b },
			     { "a vhost-9", SCHED_OTHER, 0, 0, &b } };
	pthread_t t[3];
	char list[200];
	int i, fd;

	kit_dir_enter();
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pthread_barrier_init(&b, NULL, 4);
	for (i = 0; i < 3; i++)
		ck_assert(!pthread_create(&t[i], NULL, be_named, &n[i]));
	pthread_barrier_wait(&b);
	snprintf(list, sizeof(list), "%d\n0\nno number\n%d\n%d\n%d\n%d\n", getpid(), 1 << 30,
		 n[0].tid, n[1].tid, n[2].tid);
	kit_put("cgroup.threads", list);
	vmm_batch_vhosts(fd);
	pthread_barrier_wait(&b);
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(n[0].found, SCHED_BATCH);
	ck_assert_int_eq(n[1].found, SCHED_IDLE);
	ck_assert_int_eq(n[2].found, SCHED_OTHER);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);

	/* No cgroup, and one that has gone. */
	vmm_batch_vhosts(-1);
	ck_assert_int_eq(unlink("cgroup.threads"), 0);
	vmm_batch_vhosts(fd);
	close(fd);
	kit_dir_leave();
}
END_TEST

Suite *vmm_batch_suite(void)
{
	Suite *s = suite_create("vmm_batch");
	TCase *t = tcase_create("batch");

	tcase_add_test(t, test_vhosts);
	tcase_add_test(t, test_lone_and_many);
	tcase_add_test(t, test_retry);
	tcase_add_test(t, test_others);
	suite_add_tcase(s, t);
	return s;
}
