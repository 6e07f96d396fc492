// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Which of a command's standard streams its shim gets: all where they are the process's own,
 * none where an engine gave a console socket. containerd reads the output of such a create
 * until nobody has it open any more, and starts the container only then.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/proc.h"

Suite *runtime_shim_spawn_suite(void);

static unsigned int streams;
static int others;

/* Looks at the map, and starts nothing. */
static int fake_spawn(const struct proc_spec *s, pid_t *ret_pid, struct err *e)
{
	size_t i;

	streams = 0;
	others = 0;
	*ret_pid = -1;
	for (i = 0; i < s->n_fds; i++)
		if (s->fds[i].child > 2)
			others++;
		else if (s->fds[i].fd == s->fds[i].child)
			streams |= 1u << s->fds[i].child;
	return err_set(e, ECANCELED, "not here");
}

#define proc_spawn(s, pid, pidfd, e) fake_spawn(s, pid, e)
#include "runtime/shim/spawn.c"

static const struct {
	const char *what;
	bool terminal, console;
	unsigned int streams;
	int others;
} rows[] = {
	{ "pipes", false, false, 7, 2 },
	{ "a terminal that is our standard input", true, false, 7, 2 },
	{ "a terminal of the engine's", true, true, 0, 3 },
};

START_TEST(stdio)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct shim_start s = { .id = "one", .control = sock, .terminal = rows[_i].terminal };
	struct err e = { 0 };
	pid_t pid;
	int pidfd;

	log_open(-1, LOG_LEVEL_WARN, false);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/tmp/podvm-spawn-%d.sock", getpid());
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(listen(sock, 1), 0);
	s.console_socket = rows[_i].console ? sa.sun_path : NULL;
	ck_assert_int_eq(shim_spawn(&s, &pid, &pidfd, &e), -ECANCELED);
	unlink(sa.sun_path);
	ck_assert_msg(streams == rows[_i].streams && others == rows[_i].others, "%s: %x, %d",
		      rows[_i].what, streams, others);
}
END_TEST

Suite *runtime_shim_spawn_suite(void)
{
	Suite *s = suite_create("runtime_shim_spawn");
	TCase *t = tcase_create("spawn");

	tcase_add_loop_test(t, stdio, 0, sizeof(rows) / sizeof(rows[0]));
	suite_add_tcase(s, t);
	return s;
}
