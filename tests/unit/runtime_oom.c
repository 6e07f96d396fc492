// SPDX-License-Identifier: Apache-2.0
/*
 * An end for want of memory, told in a cgroup of the host: the kernel counts it, and nobody
 * but the child of it ends. Needs cgroup v2 with a memory controller (the test node has it).
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/shim/shim.h"
#include "tests/kit/kit.h"

Suite *runtime_oom_suite(void);

#define GROUP "/sys/fs/cgroup/podvm-oom-test"

static char *get(const char *path)
{
	struct err e = {0};
	char *text = NULL;

	ck_assert_msg(!file_read(AT_FDCWD, path, 4096, &text, NULL, &e), "%s", e.text);
	return text;
}

/* In a process that is in the cgroup. Return: what it exits with */
static int tell(const char *limit)
{
	struct shim_oom o;
	struct err e;

	if (file_write(AT_FDCWD, GROUP "/cgroup.procs", "0", &e) < 0 ||
	    file_write(AT_FDCWD, GROUP "/memory.max", limit, &e) < 0)
		return 1;
	shim_oom_open(&o);
	return shim_oom_tell(&o) ? 0 : 2;
}

static const char *const limits[] = {"max", "104857600"};

START_TEST(told)
{
	_cleanup_free_ char *events = NULL, *limit = NULL, *score = get("/proc/self/oom_score_adj");
	_cleanup_free_ char *after = NULL;
	int status = -1;
	pid_t pid;

	ck_assert_int_eq(mkdir(GROUP, 0755), 0);
	pid = fork();
	if (!pid)
		_exit(tell(limits[_i]));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	events = get(GROUP "/memory.events");
	limit = get(GROUP "/memory.max");
	after = get("/proc/self/oom_score_adj");
	ck_assert_int_eq(rmdir(GROUP), 0);
	ck_assert_int_eq(status, 0);
	ck_assert_msg(strstr(events, "oom_kill 1\n"), "%s", events);
	ck_assert_int_eq(strncmp(limit, limits[_i], strlen(limits[_i])), 0);
	ck_assert_str_eq(score, after);
}
END_TEST

/* Without a cgroup nothing is told, and nothing happens. */
START_TEST(nowhere)
{
	struct shim_oom o = {-1, -1, -1};

	ck_assert(!shim_oom_tell(&o));
}
END_TEST

Suite *runtime_oom_suite(void)
{
	Suite *s = suite_create("runtime_oom");
	TCase *t = tcase_create("oom");

	tcase_add_test(t, nowhere);
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) < 0)
		kit_skip("runtime_oom/v2", "/sys/fs/cgroup is no cgroup v2 hierarchy");
	else
		tcase_add_loop_test(t, told, 0, (int)ARRAY_LEN(limits));
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
