// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A shim's whole life as a process of its own (tests/kit/shimhost.c): how it ends, and what
 * it says to the engine's log. What the guest tells of an end is hostile; a supervisor may
 * be killed, or stand still.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/shim/shim.h"
#include "tests/kit/dir.h"
#include "tests/kit/kit.h"
#include "tests/kit/shimhost.h"

Suite *runtime_shim_suite(void);

#define ANSWER_MS 60000

static struct shimhost host;

/* A shim whose process runs. */
static void start(uint32_t settle_ms, bool write_back)
{
	shimhost_spawn(&host, shim_main, false);
	shimhost_join(&host, settle_ms, write_back);
	shimhost_streams(&host);
}

static void process_ends(uint32_t code, uint32_t sig)
{
	int i;

	shimhost_exited(host.agent, code, sig);
	for (i = 0; i < 3; i++)
		fd_close(&host.streams[i]);
}

static const struct {
	const char *what;
	uint32_t code, sig;
	int exits, signal;
} ends[] = {
	{ "well", 0, 0, 0, 0 },
	{ "with a code", 77, 0, 77, 0 },
	{ "with a long code", 256 + 3, 0, 3, 0 },
	{ "by a signal", 0, SIGTERM, -1, SIGTERM },
	{ "by a signal that stops", 0, SIGSTOP, -1, SIGKILL },
	{ "by a signal that ends nobody", 0, SIGCHLD, 128 + SIGCHLD, 0 },
	{ "by no signal", 0, 4000000000u, -1, SIGKILL },
};

START_TEST(ends_like_its_process)
{
	char said[500];
	int status;

	start(ANSWER_MS, true);
	process_ends(ends[_i].code, ends[_i].sig);
	ck_assert_int_eq(send(host.hold, "+", 1, 0), 1);
	status = shimhost_end(&host, said);
	ck_assert_msg(WIFSIGNALED(status) ? WTERMSIG(status) == ends[_i].signal
					  : WEXITSTATUS(status) == ends[_i].exits,
		      "%s: status %x", ends[_i].what, (unsigned int)status);
	ck_assert_str_eq(said, "");
}
END_TEST

/* What the supervisor does when the process has ended. */
static const struct {
	const char *what;
	bool write_back, stands_still;
	const char *packet, *said; /* NULL: no packet, nothing said */
} holds[] = {
	{ "all is well", true, false, "+", NULL },
	{ "something was left out", true, false, "+left out 3", "left out 3" },
	{ "killed before all came back", true, false, NULL, "may be lost" },
	{ "killed, and nothing was to come back", false, false, NULL, NULL },
	{ "write-back was refused", false, false, "+write-back is off", "write-back is off" },
	{ "stands still", true, true, NULL, "has not come back" },
	{ "stands still, and nothing is to come back", false, true, NULL, "has not let go" },
};

START_TEST(held)
{
	const char *packet = holds[_i].packet;
	char said[500];
	int status;

	start(holds[_i].stands_still ? 20 : ANSWER_MS, holds[_i].write_back);
	process_ends(5, 0);
	if (packet)
		ck_assert_int_eq(send(host.hold, packet, strlen(packet), 0), (int)strlen(packet));
	if (!holds[_i].stands_still)
		fd_close(&host.hold);
	status = shimhost_end(&host, said);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 5, "%s", holds[_i].what);
	if (holds[_i].said)
		ck_assert_msg(strstr(said, holds[_i].said), "%s: %s", holds[_i].what, said);
	else
		ck_assert_msg(!*said, "%s: %s", holds[_i].what, said);
}
END_TEST

/* Engines enter the mount namespace of a container's pid to reach its files by path. */
START_TEST(no_files_of_the_host)
{
	char said[500], path[64];
	struct stat own, its;
	int root, ns;

	start(ANSWER_MS, false);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", host.pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstat(ns, &its), 0);
	ck_assert_int_eq(stat("/proc/self/ns/mnt", &own), 0);
	ck_assert_uint_ne(its.st_ino, own.st_ino);
	snprintf(path, sizeof(path), "/proc/%d/root", host.pid);
	ck_assert_uint_eq(kit_count(path), 0);
	if (!fork()) {
		/* Who joins it cannot leave anything there. */
		root = setns(ns, CLONE_NEWNS) < 0 ? -1 : open("/new", O_WRONLY | O_CREAT, 0600);
		_exit(root >= 0 || errno != EROFS || !access("/etc", F_OK));
	}
	ck_assert_int_gt(wait(&root), 0);
	ck_assert_int_eq(root, 0);
	process_ends(0, 0);
	ck_assert_int_eq(send(host.hold, "+", 1, 0), 1);
	ck_assert_int_eq(shimhost_end(&host, said), 0);
}
END_TEST

Suite *runtime_shim_suite(void)
{
	Suite *s = suite_create("runtime_shim");
	TCase *t = tcase_create("shim");

	if (geteuid()) {
		kit_skip("runtime_shim", "cannot enter a network namespace: needs root");
		return s;
	}
	tcase_add_loop_test(t, ends_like_its_process, 0, (int)ARRAY_LEN(ends));
	tcase_add_test(t, no_files_of_the_host);
	tcase_add_loop_test(t, held, 0, (int)ARRAY_LEN(holds));
	suite_add_tcase(s, t);
	return s;
}
