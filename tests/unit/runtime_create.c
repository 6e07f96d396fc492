// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A create whose shim dies at once, having asked its supervisor something: the shim is a
 * function here, the supervisor a thread. The command has failed, and gives the pod up: it
 * must not come back before its supervisor has done so, whatever the shim's question is
 * answered with.
 */
#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/shim/shim.h"
#include "runtime/spec.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakepod.h"

Suite *runtime_create_suite(void);

/* Asks as shim.c does, and dies before it has its answer. */
static int dying_shim(const struct shim_start *s, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	Podvm__Pod__Agent ask = PODVM__POD__AGENT__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(agent = &ask, AGENT);

	*ret_pid = *ret_pidfd = -1;
	ask.id = (char *)(uintptr_t)s->id;
	ck_assert_int_eq(pod_ask(s->control, &rq, e), 0);
	return err_set(e, EPIPE, "the process ended before it was ready");
}

#define shim_spawn dying_shim
#include "runtime/cli/cmd-create.c"

static struct fakepod pod;
static atomic_bool abandoned;

static int control(void *arg, const Podvm__Pod__Request *rq)
{
	(void)arg;
	switch (rq->body_case) {
	case PODVM__POD__REQUEST__BODY_CREATE:
		return 0;
	case PODVM__POD__REQUEST__BODY_ABANDON:
		usleep(300000);
		abandoned = true;
		return 0;
	default: /* its process has gone */
		return ESRCH;
	}
}

static void setup(void)
{
	struct err e = { 0 };
	FILE *f;

	kit_dir_enter();
	ck_assert(!mkdir("b", 0755) && !mkdir("b/rootfs", 0755));
	f = fopen("b/config.json", "we");
	ck_assert(f && !spec_example_print(f, &e) && !fclose(f));
	fakepod_init(&pod, -1);
	pod.control = control;
	fakepod_start(&pod, "c1");
}

static void teardown(void)
{
	fakepod_stop(&pod);
	kit_dir_leave();
}

START_TEST(shim_dies)
{
	struct create_args a = { .bundle = "b", .foreground = true };
	struct err e = { 0 };
	struct cli c = { .root = pod.root, .rootfd = state_root_open(pod.root, &e) };
	int shim = -1;
	bool terminal;

	ck_assert_int_eq(create_container(&c, &a, "c1", &shim, &terminal, &e), -EPIPE);
	ck_assert_str_eq(e.text, "the process ended before it was ready");
	ck_assert(abandoned);
	close(c.rootfd);
}
END_TEST

Suite *runtime_create_suite(void)
{
	Suite *s = suite_create("runtime_create");
	TCase *t = tcase_create("create");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, shim_dies);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
