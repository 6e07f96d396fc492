// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Which processes of the host "podvm ps --format json" takes for a container's: programs are
 * started with a shim's command line, or one that is almost so, and stay because nobody
 * reads what they write.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/kit/kit.h"

Suite *runtime_ps_suite(void);

#include "runtime/cli/cmd-ps.c"

#define ID "podvm-test-ps"

static const struct {
	const char *what;
	const char *argv[6];
	bool listed;
} rows[] = {
	{ "an init's", { "podvm-shim", "shim", ID, "", "pipes", NULL }, true },
	{ "an exec's", { "podvm-shim", "shim", ID, "exec-1", "console", NULL }, true },
	{ "another container's", { "podvm-shim", "shim", ID "-2", "", "pipes", NULL }, false },
	{ "one that is shorter", { "podvm-shim", "shim", "podvm-test-p", ID, "", NULL }, false },
	{ "another word", { "podvm-shim", "relay", ID, "", "pipes", NULL }, false },
	{ "another program", { "podvm-vmm", "shim", ID, "", "pipes", NULL }, false },
	{ "one word", { "podvm-shim shim " ID, NULL }, false },
};

/* What is printed, of at most one shim; the rest of the host has no container of this name. */
static void listing(char *ret, size_t room)
{
	FILE *f = tmpfile(), *saved = stdout;
	struct err e = { 0 };

	ck_assert_ptr_nonnull(f);
	stdout = f;
	ck_assert_msg(!print_shims(ID, &e), "%s", e.text);
	stdout = saved;
	rewind(f);
	ck_assert_ptr_nonnull(fgets(ret, (int)room, f));
	fclose(f);
}

START_TEST(host)
{
	char got[64], want[64], byte;
	int out[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe(out), 0);
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		execv("/usr/bin/yes", (char **)(uintptr_t)rows[_i].argv);
		_exit(1);
	}
	/* It has its own command line once it writes. */
	ck_assert_int_eq(read(out[0], &byte, 1), 1);
	listing(got, sizeof(got));
	snprintf(want, sizeof(want), rows[_i].listed ? "[%d]\n" : "[]\n", pid);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ck_assert_msg(!strcmp(got, want), "%s: %s", rows[_i].what, got);
	listing(got, sizeof(got));
	ck_assert_str_eq(got, "[]\n");
}
END_TEST

Suite *runtime_ps_suite(void)
{
	Suite *s = suite_create("runtime_ps");
	TCase *t = tcase_create("ps");

	if (geteuid()) {
		kit_skip("runtime_ps", "a shim is root's: needs root");
		return s;
	}
	tcase_add_loop_test(t, host, 0, sizeof(rows) / sizeof(rows[0]));
	suite_add_tcase(s, t);
	return s;
}
