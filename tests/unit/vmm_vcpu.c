// SPDX-License-Identifier: Apache-2.0
/* Threads of processors that never enter a guest. */
#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "lib/mem.h"
#include "tests/kit/fault.h"
#include "vmm/vcpu.h"

#define VCPUS 3

/* As long as a filter can be, so that a thread reads it for a while. */
#define INSTRUCTIONS BPF_MAXINSNS

Suite *vmm_vcpu_suite(void);

static struct vcpus cpus;
static struct kvm_run *runs[VCPUS];

static void setup(void)
{
	uint32_t i;

	cpus = (struct vcpus){ .n = VCPUS, .v = mem_new_n(struct vcpu, VCPUS) };
	pthread_mutex_init(&cpus.lock, NULL);
	pthread_cond_init(&cpus.changed, NULL);
	for (i = 0; i < VCPUS; i++) {
		runs[i] = mem_new(struct kvm_run);
		cpus.v[i] = (struct vcpu){ .all = &cpus, .id = i, .fd = -1, .run = runs[i],
					   .joined = true };
	}
	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
}

static void teardown(void)
{
	uint32_t i;

	vcpus_stop(&cpus);
	for (i = 0; i < VCPUS; i++)
		free(runs[i]);
	free(cpus.v);
}

/* Whatever comes of it: the filter goes with the call. */
static int start(unsigned short n, struct err *e)
{
	struct sock_filter *code = mem_new_n(struct sock_filter, INSTRUCTIONS);
	struct sandbox_filter *f = mem_new(struct sandbox_filter);
	int rc, i;

	for (i = 0; i < INSTRUCTIONS; i++)
		code[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	*f = (struct sandbox_filter){ .code = code, .n = n };
	rc = vcpus_start(&cpus, f, e);
	sandbox_done(f);
	free(f);
	return rc;
}

START_TEST(confined)
{
	struct err e;

	ck_assert_int_eq(start(INSTRUCTIONS, &e), 0);
	ck_assert_uint_eq(cpus.ready, VCPUS);
}
END_TEST

START_TEST(no_filter)
{
	struct err e = { 0 };

	ck_assert_int_eq(start(0, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "seccomp") != NULL, "%s", e.text);
}
END_TEST

/* The threads before the one that could not be made have read their filter. */
START_TEST(no_thread)
{
	uint32_t before = (uint32_t)_i;
	struct err e = { 0 };
	char text[40];

	kit_fault_arm(KIT_FAULT_THREADS, before + 1, EAGAIN);
	ck_assert_int_eq(start(INSTRUCTIONS, &e), -EAGAIN);
	ck_assert(kit_fault_fired());
	ck_assert_uint_eq(cpus.ready, before);
	snprintf(text, sizeof(text), "thread of vCPU %u", before);
	ck_assert_msg(strstr(e.text, text) != NULL, "%s", e.text);
}
END_TEST

Suite *vmm_vcpu_suite(void)
{
	Suite *s = suite_create("vmm_vcpu");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, confined);
	tcase_add_test(t, no_filter);
	tcase_add_loop_test(t, no_thread, 0, VCPUS);
	suite_add_tcase(s, t);
	return s;
}
