// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A shim's whole life as a process of its own, with the test as its supervisor and its
 * guest: how it ends, and what it says to the engine's log. What the guest tells of an end
 * is hostile; a supervisor may be killed, or stand still.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/agent.pb-c.h"
#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/mem.h"
#include "runtime/pod.h"
#include "runtime/shim/shim.h"
#include "tests/kit/kit.h"

Suite *runtime_shim_suite(void);

#define ANSWER_MS 60000

static int control = -1, agent = -1, hold = -1, log_file = -1, streams[3] = { -1, -1, -1 };
static pid_t pid;

/* What the shim's process has, and nothing else. */
static void be_shim(int sock, int ready, int log_to)
{
	char *argv[] = { strdup("shim"), strdup("c"), strdup(""), strdup("pipes"), strdup("text") };
	int null = open("/dev/null", O_RDWR), moved[3], i;

	moved[0] = fcntl(ready, F_DUPFD, 20);
	moved[1] = fcntl(sock, F_DUPFD, 20);
	moved[2] = fcntl(log_to, F_DUPFD, 20);
	for (i = 0; i < 3; i++)
		dup2(null, i);
	close_range(3, 19, 0);
	dup2(moved[0], SHIM_READY_FD);
	dup2(moved[1], SHIM_CONTROL_FD);
	dup2(moved[2], SHIM_LOG_FD);
	close_range(20, ~0u, 0);
	_exit(shim_main(5, argv));
}

/* A connection of the guest: ours; the other end goes to the shim. */
static int connection(int *ret_theirs)
{
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	*ret_theirs = s[1];
	return s[0];
}

static void answer_control(Podvm__Pod__Response *rs, int *fds, size_t n)
{
	uint8_t buf[4096];
	struct err e = { 0 };
	size_t len, got;

	ck_assert_int_gt(fd_recv(control, buf, sizeof(buf), NULL, 0, &got, &e), 0);
	len = podvm__pod__response__pack(rs, buf);
	if (!len)
		buf[len++] = 0x08, buf[len++] = 0x00;
	ck_assert_int_eq(fd_send(control, buf, len, fds, n, &e), 0);
	while (n)
		close(fds[--n]);
}

static void answer_agent(int fd)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	struct frame_rx rx = { 0 };
	struct err e = { 0 };

	ck_assert_msg(!frame_recv(fd, &rx, ANSWER_MS, &e), "%s", e.text);
	frame_done(&rx);
	ck_assert_int_eq(frame_send(fd, &rs.base, ANSWER_MS, &e), 0);
}

/* A shim whose process runs. */
static void start(uint32_t settle_ms, bool write_back)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT, plain = PODVM__POD__RESPONSE__INIT;
	int s[2], h[2], ready[2], fds[3], i;
	char c;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, h), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	log_file = memfd_create("log", MFD_CLOEXEC);
	pid = fork();
	if (!pid)
		be_shim(s[1], ready[1], log_file);
	close(s[1]);
	close(ready[1]);
	control = s[0];
	hold = h[0];
	rs.settle_ms = settle_ms;
	rs.write_back = write_back;
	agent = connection(&fds[0]);
	fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	fds[2] = h[1];
	answer_control(&rs, fds, 3);
	answer_agent(agent);
	for (i = 0; i < 3; i++) {
		streams[i] = connection(&fds[0]);
		answer_control(&plain, fds, 1);
		answer_agent(streams[i]);
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	close(ready[0]);
}

static void process_ends(uint32_t code, uint32_t sig)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;
	struct err e = { 0 };
	int i;

	x.code = code;
	x.signal = sig;
	rs.body_case = PODVM__RESPONSE__BODY_EXITED;
	rs.exited = &x;
	ck_assert_int_eq(frame_send(agent, &rs.base, ANSWER_MS, &e), 0);
	for (i = 0; i < 3; i++)
		fd_close(&streams[i]);
}

/* Return: status as wait(2) has it; @ret_said: what is in the engine's log. */
static int end(char said[500])
{
	int status = 0;
	ssize_t n;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	n = pread(log_file, said, 499, 0);
	said[n < 0 ? 0 : n] = 0;
	fd_close(&control);
	fd_close(&agent);
	fd_close(&hold);
	fd_close(&log_file);
	return status;
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
	ck_assert_int_eq(send(hold, "+", 1, 0), 1);
	status = end(said);
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
		ck_assert_int_eq(send(hold, packet, strlen(packet), 0), (int)strlen(packet));
	if (!holds[_i].stands_still)
		fd_close(&hold);
	status = end(said);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 5, "%s", holds[_i].what);
	if (holds[_i].said)
		ck_assert_msg(strstr(said, holds[_i].said), "%s: %s", holds[_i].what, said);
	else
		ck_assert_msg(!*said, "%s: %s", holds[_i].what, said);
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
	tcase_add_loop_test(t, held, 0, (int)ARRAY_LEN(holds));
	suite_add_tcase(s, t);
	return s;
}
