// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What podvm pod shell and podvm pod stats ask of the agent (guest/agent/shell.c,
 * container.c and figures.c), compiled for the host: a program that comes in parts and
 * must be one that the kernel executes in the end, everything that is refused and leaves
 * nothing, and what the guest says of itself. The process itself is a fake.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "tests/kit/dir.h"

Suite *agent_shell_suite(void);

/* Much of a container's life has no part in this. */
#define NOT_HERE(type, name, params) \
	type name params \
	{ \
		ck_abort_msg("%s", #name); \
	}
#define NOTHING(name, params) \
	void name params \
	{ \
	}

#define C struct container *
NOT_HERE(bool, cgroup_frozen, (int))
NOT_HERE(int, cgroup_kill, (int, struct err *))
NOT_HERE(int, cgroup_make, (const char *, const Podvm__ContainerCreate *, int *, struct err *))
NOT_HERE(bool, cgroup_populated, (int))
NOT_HERE(int, cgroup_remove, (const char *, struct err *))
NOT_HERE(void, changes_forget, (C))
NOT_HERE(int, devfilter_load, (Podvm__DeviceRule *const *, size_t, int *, struct err *))
NOT_HERE(int, devices_number, (const Podvm__ContainerCreate *, struct err *))
NOT_HERE(bool, disk_busy, (const char *))
NOT_HERE(void, disk_remove, (const char *))
NOT_HERE(int, disk_tell, (const char *, uint32_t, struct err *))
NOT_HERE(int, memories_make, (const Podvm__ContainerCreate *, struct err *))
NOT_HERE(int, task_hooks, (struct task *, bool, struct err *))
NOT_HERE(void, task_owner_lost, (struct task *))
NOT_HERE(int, task_pause, (struct agent *, struct err *))
NOT_HERE(int, task_spawn, (C, const char *, const Podvm__ContainerCreate *,
			   const Podvm__ProcessExec *, struct task **, struct err *))
NOT_HERE(int, task_start, (struct task *, struct err *))
NOT_HERE(uint64_t, timens_flag, (const Podvm__ContainerCreate *))
NOT_HERE(int, userns_keep, (const Podvm__Namespace *, Podvm__Namespace **, struct err *))
NOT_HERE(const Podvm__Namespace *, userns_of, (const Podvm__ContainerCreate *))
NOTHING(freeze_forget_conn, (struct freeze *, const struct conn *))
NOTHING(freeze_free, (struct freeze *))
NOTHING(release_forget_conn, (struct release *, const struct conn *))
NOTHING(release_free, (struct release *))
NOTHING(task_free, (struct task *))
NOTHING(watch_forget_all, (C))
NOTHING(watch_forget_conn, (C, const struct conn *))
#undef C

#include "guest/agent/container.c"
#include "guest/agent/figures.c"
#include "guest/agent/shell.c"

static struct agent agent;
static struct container ctr, going;
static struct task init, shell, other;
static struct conn conn;
static int answers, started, status;
static Podvm__Response *told;

void conn_answer(struct conn *c, const struct err *failure)
{
	ck_assert(c == &conn && !failure);
	answers++;
}

/* Keeps a copy of what is told. */
void conn_send(struct conn *c, const Podvm__Response *r)
{
	size_t len = podvm__response__get_packed_size(r);
	_cleanup_free_ uint8_t *buf = malloc(len);

	ck_assert(c == &conn && !c->busy);
	podvm__response__pack(r, buf);
	told = podvm__response__unpack(NULL, len, buf);
	ck_assert_ptr_nonnull(told);
}

/* Runs the program to its end, as the child would. */
int task_shell(struct container *c, const char *exec_id, const Podvm__Process *p, int program,
	       struct task **ret, struct err *e)
{
	char *args[] = { strdupa(p->args[0]), NULL }, *none[] = { NULL };
	pid_t pid;

	if (!strcmp(exec_id, "fails"))
		return err_set(e, EAGAIN, "no process can be had");
	ck_assert_ptr_eq(c, &ctr);
	pid = fork();
	if (!pid) {
		execveat(program, "", args, none, AT_EMPTY_PATH);
		_exit(errno);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	started++;
	shell = (struct task){ .ctr = c };
	*ret = &shell;
	return 0;
}

void cgroup_figures(int cgroup_fd, Podvm__GuestContainer *ret)
{
	ret->cpu_ns = (uint64_t)cgroup_fd * 1000;
	ret->memory = UINT64_MAX;
	ret->processes = 7;
	ret->oom_kills = 1;
}

static void setup(void)
{
	kit_dir_enter();
	answers = started = 0;
	status = -1;
	told = NULL;
	init = (struct task){ .ctr = &ctr, .state = TASK_ENDED };
	other = (struct task){ .ctr = &ctr, .exec_id = "there" };
	going = (struct container){ .agent = &agent, .id = "going", .deleting = true, .init = &init,
				    .cgroup_fd = 5 };
	ctr = (struct container){ .agent = &agent, .id = "c", .init = &init, .execs = &other,
				  .next = &going, .cgroup_fd = 4 };
	agent = (struct agent){ .containers = &ctr, .n_containers = 2 };
	conn = (struct conn){ .agent = &agent, .program = -1, .busy = true };
}

static void teardown(void)
{
	fd_close(&conn.program);
	if (told)
		podvm__response__free_unpacked(told, NULL);
	kit_dir_leave();
}

/* ---- ShellOpen ------------------------------------------------------------------------- */

static int part(const void *data, size_t len, struct err *e)
{
	Podvm__ShellOpen m = PODVM__SHELL_OPEN__INIT;

	m.program.data = (uint8_t *)(uintptr_t)data;
	m.program.len = len;
	return shell_open(&conn, &m, e);
}

static int run(const char *id, const char *exec_id, const char *arg, struct err *e)
{
	Podvm__ShellOpen m = PODVM__SHELL_OPEN__INIT;
	Podvm__Process p = PODVM__PROCESS__INIT;
	char *args[] = { strdupa(arg ? arg : "") };

	m.id = strdupa(id);
	m.exec_id = strdupa(exec_id);
	m.process = &p;
	p.args = args;
	p.n_args = arg != NULL;
	return shell_open(&conn, &m, e);
}

START_TEST(runs_what_came_in_parts)
{
	_cleanup_free_ char *data = NULL;
	struct err e = { 0 };
	size_t len, at, n, parts = 0;
	int fds = (int)kit_fds();

	ck_assert(!file_read(AT_FDCWD, "/bin/true", 16u << 20, &data, &len, &e));
	for (at = 0; at < len; at += n, parts++) {
		n = len - at < 9999 ? len - at : 9999;
		ck_assert_msg(!part(data + at, n, &e), "%s", e.text);
	}
	ck_assert_int_eq(answers, (int)parts);
	ck_assert_msg(!run("c", "new", "true", &e), "%s", e.text);
	/* It could be executed, is answered by its report, and its memory goes with it. */
	ck_assert(started == 1 && status == 0 && answers == (int)parts);
	ck_assert_ptr_eq(shell.pending, &conn);
	ck_assert_ptr_eq(ctr.execs, &shell);
	ck_assert_ptr_eq(shell.next, &other);
	ck_assert_int_eq(conn.program, -1);
	ck_assert_int_eq((int)kit_fds(), fds);
}
END_TEST

static char long_id[AGENT_ID_BYTES + 2];

static const struct {
	const char *id, *exec_id, *arg, *why;
	int rc;
} refused[] = {
	{ "nobody", "e", "sh", "container nobody does not exist", -ESRCH },
	{ "", "e", "sh", "container  does not exist", -ESRCH },
	{ "going", "e", "sh", "container going does not exist", -ESRCH },
	{ "c", "", "sh", "id of 0 bytes", -EINVAL },
	{ "c", "a/b", "sh", "without a slash", -EINVAL },
	{ "c", ".", "sh", "not beginning with a dot", -EINVAL },
	{ "c", "cgroup.procs", "sh", "id of 12 bytes", -EINVAL },
	{ "c", long_id, "sh", "id of 201 bytes", -EINVAL },
	{ "c", "e", NULL, "shell: process.args is empty", -EINVAL },
	{ "c", "there", "sh", "exec there exists already", -EEXIST },
	{ "c", "fails", "sh", "no process can be had", -EAGAIN },
};

START_TEST(refused_and_forgotten)
{
	struct err e = { 0 };
	int fds = (int)kit_fds();

	memset(long_id, 'a', AGENT_ID_BYTES + 1);
	ck_assert(!part("x", 1, &e));
	ck_assert_int_eq(run(refused[_i].id, refused[_i].exec_id, refused[_i].arg, &e), refused[_i].rc);
	ck_assert_msg(strstr(e.text, refused[_i].why), "%s", e.text);
	ck_assert(!started && answers == 1 && ctr.execs == &other && !conn.owner);
	ck_assert_int_eq(conn.program, -1);
	ck_assert_int_eq((int)kit_fds(), fds);
	/* The program went with it: another try begins with its parts. */
	ck_assert_int_eq(run("c", "e", "sh", &e), -EINVAL);
	ck_assert_str_eq(e.text, "shell: no program came before the process");
}
END_TEST

START_TEST(wants_a_connection_of_its_own)
{
	struct err e = { 0 };

	conn.main = true;
	ck_assert_int_eq(part("x", 1, &e), -EINVAL);
	ck_assert_str_eq(e.text, "a process is owned by a connection of its own");
	conn.main = false;
	conn.owner = &other;
	ck_assert_int_eq(run("c", "e", "sh", &e), -EINVAL);
	ck_assert_int_eq(conn.program, -1);
	ck_assert_int_eq(answers, 0);
}
END_TEST

START_TEST(takes_sixteen_mebibytes)
{
	const size_t len = 1u << 20;
	_cleanup_free_ char *data = calloc(1, len);
	struct err e = { 0 };
	int i;

	for (i = 0; i < 16; i++)
		ck_assert_int_eq(part(data, len, &e), 0);
	ck_assert_int_eq(part(data, 1, &e), -EFBIG);
	ck_assert_str_eq(e.text, "shell: a program of more than 16 MiB");
	ck_assert_int_eq(part(data, 0, &e), 0);
	ck_assert_int_eq(answers, 17);
}
END_TEST

/* ---- what a container must be for --------------------------------------------------------- */

START_TEST(running)
{
	static const struct {
		enum task_state state;
		bool is;
	} states[] = { { TASK_SETUP, false }, { TASK_READY, true }, { TASK_HOOKS, true },
		       { TASK_STARTING, true }, { TASK_RUNNING, true }, { TASK_ENDED, false } };
	struct err e = { 0 };

	init.state = states[_i].state;
	ck_assert_ptr_eq(task_running(&agent, "c", &e), states[_i].is ? &init : NULL);
	ck_assert_str_eq(e.text, states[_i].is ? "" : "container not running");
	ck_assert_ptr_null(task_running(&agent, "nobody", &e));
	ck_assert_str_eq(e.text, "container nobody does not exist");
	ck_assert_int_eq(e.code, ESRCH);
}
END_TEST

/* ---- GuestGet ---------------------------------------------------------------------------- */

START_TEST(tells_of_itself)
{
	Podvm__GuestGet m = PODVM__GUEST_GET__INIT;
	const Podvm__Guest *g;
	struct err e = { 0 };

	m.log = _i;
	ck_assert_int_eq(figures_tell(&conn, &m, &e), 0);
	ck_assert_int_eq(told->body_case, PODVM__RESPONSE__BODY_GUEST);
	g = told->guest;
	ck_assert_uint_gt(g->uptime_ns, 0);
	ck_assert_uint_gt(g->memory_total, g->memory_available);
	ck_assert_uint_gt(g->memory_available, 1 << 20);
	ck_assert_uint_gt(g->agent_memory, 4096);
	ck_assert_uint_lt(g->agent_memory, g->memory_total);
	ck_assert_uint_lt(g->load_milli, 10000000);
	ck_assert_uint_eq(g->n_containers, 2);
	ck_assert_str_eq(g->containers[0]->id, "c");
	ck_assert_uint_eq(g->containers[0]->cpu_ns, 4000);
	ck_assert_uint_eq(g->containers[0]->memory, UINT64_MAX);
	ck_assert_str_eq(g->containers[1]->id, "going");
	/* The kernel's log only for who asks, and then not without an end. */
	ck_assert_uint_le(g->log.len, _i ? 256 << 10 : 0);
}
END_TEST

START_TEST(tells_of_no_container)
{
	Podvm__GuestGet m = PODVM__GUEST_GET__INIT;
	struct err e = { 0 };

	agent = (struct agent){ .containers = NULL };
	ck_assert_int_eq(figures_tell(&conn, &m, &e), 0);
	ck_assert_uint_eq(told->guest->n_containers, 0);
}
END_TEST

Suite *agent_shell_suite(void)
{
	Suite *s = suite_create("agent_shell");
	TCase *t = tcase_create("shell");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, runs_what_came_in_parts);
	tcase_add_loop_test(t, refused_and_forgotten, 0, (int)ARRAY_LEN(refused));
	tcase_add_test(t, wants_a_connection_of_its_own);
	tcase_add_test(t, takes_sixteen_mebibytes);
	tcase_add_loop_test(t, running, TASK_SETUP, TASK_ENDED + 1);
	tcase_add_loop_test(t, tells_of_itself, 0, 2);
	tcase_add_test(t, tells_of_no_container);
	suite_add_tcase(s, t);
	return s;
}
