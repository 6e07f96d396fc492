// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A hook with the n-th system call failing, for n = 1, 2, … until none is left, first of
 * the command's, then of those that the child makes before its exec: one clear error each
 * time, no child, no descriptor. Hook and spawn are compiled here once more, with their
 * calls replaced.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "tests/kit/dir.h"
#include "tests/kit/fault.h"

Suite *lib_hook_fault_suite(void);

/* More calls than a hook costs. */
#define CALLS_MAX 200

static pid_t command;
static bool in_child;

static bool fails(void)
{
	return (getpid() != command) == in_child && kit_fault_now(KIT_FAULT_PROCESSES);
}

/* Time goes by in great steps. */
static long waited_ms;

static int quick_poll(struct pollfd *f, nfds_t n, int ms)
{
	int rc = poll(f, n, ms > 20 ? 20 : ms);

	if (!rc)
		waited_ms += ms;
	return rc;
}

static int quick_clock(clockid_t clock, struct timespec *t)
{
	int rc = clock_gettime(clock, t);

	t->tv_sec += waited_ms / 1000;
	return rc;
}

#define FAILS(call) (fails() ? -1 : (call))

#define memfd_create(...) FAILS(memfd_create(__VA_ARGS__))
#define lseek(...) FAILS(lseek(__VA_ARGS__))
#define pipe2(...) FAILS(pipe2(__VA_ARGS__))
#define fcntl(...) FAILS(fcntl(__VA_ARGS__))
#define fork() FAILS(fork())
#define open(...) FAILS(open(__VA_ARGS__))
#define dup2(...) FAILS(dup2(__VA_ARGS__))
#define setsid() FAILS(setsid())
#define execve(...) FAILS(execve(__VA_ARGS__))
#define syscall(...) FAILS(syscall(__VA_ARGS__))
#define poll(...) FAILS(quick_poll(__VA_ARGS__))
#define clock_gettime(...) quick_clock(__VA_ARGS__)
#define read(...) FAILS(read(__VA_ARGS__))
#define waitid(...) FAILS(waitid(__VA_ARGS__))
#define waitpid(...) FAILS(waitpid(__VA_ARGS__))
#define kill(...) FAILS(kill(__VA_ARGS__))
#include "lib/hook.c"
#include "lib/proc.c"
#undef open
#undef poll
#undef read
#undef waitpid
#undef kill

static const struct {
	const char *script;
	uint64_t timeout_s;
	int want;
} hooks[] = {
	{ "exit 0", 0, 0 },
	{ "echo no such thing >&2; exit 3", 9, -ECANCELED },
	{ "sleep 60 & echo busy; wait", 1, -ETIMEDOUT },
};

static const int codes[] = { EIO, EINTR, EMFILE };

static int run(size_t which, struct err *e)
{
	char *argv[] = { strdupa("sh"), strdupa("-c"), strdupa(hooks[which].script), NULL };
	char *envp[] = { strdupa("PATH=/usr/bin:/bin"), NULL };
	const struct hook h = { .path = "/bin/sh", .argv = argv, .envp = envp,
				.timeout_s = hooks[which].timeout_s, .state = "{}" };

	return hook_run(&h, e);
}

/* Nothing of a hook is left, whatever became of it. */
static void check_left(unsigned int n, int fds, const struct err *e)
{
	ck_assert_msg(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD,
		      "call %u left a child behind: %s", n, e->text);
	ck_assert_msg((int)kit_fds() == fds, "call %u left a descriptor open: %s", n, e->text);
}

/*
 * One turn for each call, up to the first that nothing failed in; the command does not
 * see what fired in the child, but then its hook has not run.
 */
static unsigned int fail_each(size_t which, int code)
{
	int fds = (int)kit_fds(), rc = -1;
	unsigned int n, errors = 0;
	bool fired = true;

	for (n = 1; fired || rc != hooks[which].want; n++) {
		struct err e = { 0 };

		ck_assert_uint_lt(n, CALLS_MAX);
		kit_fault_arm(KIT_FAULT_PROCESSES, n, code);
		rc = run(which, &e);
		fired = kit_fault_fired();
		check_left(n, fds, &e);
		if (rc < 0)
			ck_assert_msg(rc == -e.code && e.text[0] && !strchr(e.text, '\n'), "call %u: %s", n,
				      e.text);
		errors += rc != hooks[which].want;
	}
	return errors;
}

START_TEST(nth_call_fails)
{
	size_t which = (size_t)_i / ARRAY_LEN(codes);
	int code = codes[(size_t)_i % ARRAY_LEN(codes)];

	command = getpid();
	in_child = false;
	ck_assert_uint_ge(fail_each(which, code), 6);
	in_child = true;
	ck_assert_uint_ge(fail_each(which, code), 12);
}
END_TEST

Suite *lib_hook_fault_suite(void)
{
	Suite *s = suite_create("lib_hook_fault");
	TCase *t = tcase_create("fault");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, nth_call_fails, 0, (int)(ARRAY_LEN(hooks) * ARRAY_LEN(codes)));
	suite_add_tcase(s, t);
	return s;
}
