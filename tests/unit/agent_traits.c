// SPDX-License-Identifier: Apache-2.0
/*
 * What the agent's child sets on itself before it takes on its user, read back from the
 * kernel; each case in a process of its own.
 */
#include <check.h>
#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/traits.c"

Suite *agent_traits_suite(void);

static const struct {
	uint32_t policy;
	int32_t nice;
	uint64_t flags;
} schedules[] = {
	{ SCHED_OTHER, 0, 0 }, { SCHED_OTHER, 7, 0 }, { SCHED_BATCH, 0, 0 }, { SCHED_BATCH, 19, 0 },
	{ SCHED_IDLE, 0, 0 }, { SCHED_BATCH, 3, 1 /* SCHED_FLAG_RESET_ON_FORK */ },
};

START_TEST(scheduled)
{
	Podvm__Process p = PODVM__PROCESS__INIT;
	Podvm__Scheduler s = PODVM__SCHEDULER__INIT;
	struct err e = { 0 };
	int policy;

	p.scheduler = &s;
	s.policy = schedules[_i].policy;
	s.nice = schedules[_i].nice;
	s.flags = schedules[_i].flags;
	ck_assert_msg(!traits_set(&p, &e), "%s", e.text);
	policy = sched_getscheduler(0);
	ck_assert_int_eq(policy & ~SCHED_RESET_ON_FORK, (int)schedules[_i].policy);
	ck_assert_int_eq(!!(policy & SCHED_RESET_ON_FORK), (int)schedules[_i].flags);
	if (schedules[_i].policy != SCHED_IDLE)
		ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), schedules[_i].nice);
}
END_TEST

START_TEST(not_scheduled)
{
	Podvm__Process p = PODVM__PROCESS__INIT;
	Podvm__Scheduler s = PODVM__SCHEDULER__INIT;
	struct err e = { 0 };

	p.scheduler = &s;
	s.policy = 4; /* SCHED_ISO, which there is none of */
	ck_assert_int_eq(traits_set(&p, &e), -EINVAL);
	ck_assert_msg(!strncmp(e.text, "/process/scheduler: policy 4", 28), "%s", e.text);
	s.policy = SCHED_FIFO;
	s.priority = 0;
	ck_assert_int_eq(traits_set(&p, &e), -EINVAL);
}
END_TEST

START_TEST(io_and_personality)
{
	Podvm__Process p = PODVM__PROCESS__INIT;
	Podvm__Traits t = PODVM__TRAITS__INIT;
	struct err e = { 0 };

	ck_assert_int_eq(traits_set(&p, &e), 0);
	p.traits = &t;
	ck_assert_int_eq(traits_set(&p, &e), 0);
	ck_assert_int_eq(personality(0xffffffff), PER_LINUX);
	t.io_priority = IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT | 3;
	t.personality = PER_LINUX32;
	ck_assert_msg(!traits_set(&p, &e), "%s", e.text);
	ck_assert_int_eq((int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), (int)t.io_priority);
	ck_assert_int_eq(personality(0xffffffff), PER_LINUX32);
	t.io_priority = 7u << IOPRIO_CLASS_SHIFT;
	ck_assert_int_eq(traits_set(&p, &e), -EINVAL);
	ck_assert_msg(!strncmp(e.text, "/process/ioPriority: ", 21), "%s", e.text);
}
END_TEST

static int allowed(void)
{
	cpu_set_t set;

	ck_assert(!sched_getaffinity(0, sizeof(set), &set));
	return CPU_COUNT(&set);
}

static uint32_t first_allowed(void)
{
	cpu_set_t set;
	uint32_t i;

	ck_assert(!sched_getaffinity(0, sizeof(set), &set));
	for (i = 0; !CPU_ISSET(i, &set); i++)
		;
	return i;
}

START_TEST(processors)
{
	uint32_t one[] = { first_allowed() }, none[] = { CPU_SETSIZE - 1 }, bad[] = { CPU_SETSIZE };
	Podvm__Process p = PODVM__PROCESS__INIT;
	Podvm__Traits t = PODVM__TRAITS__INIT;
	struct err e = { 0 };
	int all = allowed();

	p.traits = &t;
	ck_assert(!traits_cpus(&p, false, &e) && !traits_cpus(&p, true, &e) && allowed() == all);
	/* Prepared on one, then on whatever the container has. */
	t.cpus_initial = one;
	t.n_cpus_initial = 1;
	ck_assert_msg(!traits_cpus(&p, false, &e), "%s", e.text);
	ck_assert_int_eq(allowed(), 1);
	ck_assert(!traits_cpus(&p, true, &e));
	ck_assert_int_ge(allowed(), all);
	/* And the other way round. */
	t.n_cpus_initial = 0;
	t.cpus_final = one;
	t.n_cpus_final = 1;
	ck_assert(!traits_cpus(&p, false, &e));
	ck_assert_int_ge(allowed(), all);
	ck_assert(!traits_cpus(&p, true, &e));
	ck_assert_int_eq(allowed(), 1);
	t.cpus_final = none;
	ck_assert_int_eq(traits_cpus(&p, true, &e), -EINVAL);
	ck_assert_str_eq(e.text, "/process/execCPUAffinity/final: the container has none of these processors");
	t.cpus_final = bad;
	ck_assert_int_eq(traits_cpus(&p, false, &e), -EINVAL);
	ck_assert_int_eq(allowed(), 1);
}
END_TEST

Suite *agent_traits_suite(void)
{
	Suite *s = suite_create("agent_traits");
	TCase *c = tcase_create("agent_traits");

	tcase_add_loop_test(c, scheduled, 0, ARRAY_LEN(schedules));
	tcase_add_test(c, not_scheduled);
	tcase_add_test(c, io_and_personality);
	tcase_add_test(c, processors);
	suite_add_tcase(s, c);
	return s;
}
