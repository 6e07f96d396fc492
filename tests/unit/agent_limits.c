// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Limits of a running container on the agent's side (guest/agent/limits.c), compiled for
 * the host. Its cgroup is a directory of files; one that the kernel would refuse is a
 * sealed memory file, which can be read and not written. Who watches it (watch.c) has a
 * loop that calls when the test does.
 *
 * And what the agent writes at boot, so that containers can have limits.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Others in this program have these names, too. */
#define cgroup_boot limits_cgroup_boot
#define cgroup_make limits_cgroup_make
#define cgroup_check_name limits_cgroup_check_name
#define cgroup_write limits_cgroup_write
#define cgroup_kill limits_cgroup_kill
#define cgroup_populated limits_cgroup_populated
#define cgroup_oom_kills limits_cgroup_oom_kills
#define cgroup_frozen limits_cgroup_frozen
#define cgroup_freeze limits_cgroup_freeze
#define cgroup_pids limits_cgroup_pids
#define cgroup_remove limits_cgroup_remove
#define task_running limits_task_running
#define file_write limits_file_write
#define conn_answer limits_conn_answer
#define conn_send limits_conn_send
#define loop_add limits_loop_add
#define loop_del limits_loop_del
#include "guest/agent/cgroup.c"
#include "guest/agent/limits.c"
#include "guest/agent/watch.c"
#undef file_write

#include "tests/kit/dir.h"

Suite *agent_limits_suite(void);

/* Of lib/fd.h, which has declared the test's own. */
extern int file_write(int dirfd, const char *path, const char *text, struct err *e);

static struct task init;
static struct container ctr;
static struct agent agent;
static struct conn conn;
static int answers;
static char told[512];

/* What was written to cgroup.subtree_control; a controller that cannot be enabled. */
static char enabled[512];
static const char *unable;

int limits_file_write(int dirfd, const char *path, const char *text, struct err *e)
{
	size_t used = strlen(enabled);

	if (strcmp(path, "cgroup.subtree_control") != 0)
		return file_write(dirfd, path, text, e);
	snprintf(enabled + used, sizeof(enabled) - used, "%s;", text);
	return unable && strstr(text, unable) ? err_set(e, EBUSY, "no") : 0;
}

/* As container.c has it, which agent_shell tests. */
struct task *task_running(struct agent *a, const char *id, struct err *e)
{
	bool none = strcmp(id, "c") || init.state == TASK_ENDED || init.state == TASK_SETUP;

	(void)a;
	if (none)
		err_set(e, ESRCH, "container not running");
	return none ? NULL : &init;
}

void conn_answer(struct conn *c, const struct err *failure)
{
	ck_assert(c->agent == &agent && !failure);
	answers++;
}

/* What the loop has: a callback for each file that is watched. */
static struct loop_src {
	int fd;
	loop_fn *fn;
	void *arg;
} sources[8];

static int fail_source; /* this one; 0: none */

int loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg,
	     struct loop_src **ret, struct err *e)
{
	size_t i;

	(void)l;
	ck_assert_uint_eq(events, EPOLLPRI);
	if (fail_source && !--fail_source)
		return err_set(e, ENOSPC, "no room");
	for (i = 0; sources[i].fn; i++)
		;
	sources[i] = (struct loop_src){ fd, fn, arg };
	*ret = &sources[i];
	return 0;
}

void loop_del(struct loop_src *s)
{
	if (s)
		s->fn = NULL;
}

static size_t watched(void)
{
	size_t i, n = 0;

	for (i = 0; i < ARRAY_LEN(sources); i++)
		n += sources[i].fn != NULL;
	return n;
}

/* The kernel tells of a change of the first file that is watched. */
static void changed(void)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(sources); i++)
		if (sources[i].fn) {
			sources[i].fn(sources[i].arg, EPOLLPRI);
			return;
		}
}

void conn_send(struct conn *c, const Podvm__Response *r)
{
	size_t i, used = 0;

	if (r->body_case == PODVM__RESPONSE__BODY_WATCHED) {
		used = strlen(told);
		snprintf(told + used, sizeof(told) - used, "%llu%s;",
			 (unsigned long long)r->watched->oom_kills, r->watched->ended ? " ended" : "");
		return;
	}
	ck_assert(c == &conn && !c->busy && r->body_case == PODVM__RESPONSE__BODY_CGROUP_FILES);
	told[0] = 0;
	for (i = 0; i < r->cgroup_files->n_files; i++)
		used += (size_t)snprintf(told + used, sizeof(told) - used, "%s=%s;",
					 r->cgroup_files->files[i]->key,
					 r->cgroup_files->files[i]->value);
	answers++;
}

static void setup(void)
{
	kit_dir_enter();
	answers = fail_source = 0;
	told[0] = enabled[0] = 0;
	unable = NULL;
	memset(sources, 0, sizeof(sources));
	init = (struct task){ .ctr = &ctr, .state = TASK_RUNNING };
	ctr = (struct container){ .agent = &agent, .init = &init };
	ctr.cgroup_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	conn = (struct conn){ .agent = &agent, .busy = true };
	kit_put("memory.max", "111\n");
	kit_put("pids.max", "222\n");
	kit_put("cpu.max", "333 100\n");
	kit_put("cpuset.cpus", "\n");
	kit_put("cgroup.procs", "1\n");
}

static void teardown(void)
{
	close(ctr.cgroup_fd);
	kit_dir_leave();
}

/* A file that says @text and takes nothing else. */
static void make_stubborn(const char *name, const char *text)
{
	int fd = memfd_create("stubborn", MFD_ALLOW_SEALING); /* open until the test's end */
	char target[40];

	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(symlink(target, name), 0);
}

static int ask(struct err *e, const char *const *pairs)
{
	Podvm__ContainerUpdate m = PODVM__CONTAINER_UPDATE__INIT;
	Podvm__KeyValue kv[8], *list[8];

	for (m.n_cgroup = 0; pairs[2 * m.n_cgroup]; m.n_cgroup++) {
		podvm__key_value__init(&kv[m.n_cgroup]);
		kv[m.n_cgroup].key = strdupa(pairs[2 * m.n_cgroup]);
		kv[m.n_cgroup].value = strdupa(pairs[2 * m.n_cgroup + 1]);
		list[m.n_cgroup] = &kv[m.n_cgroup];
	}
	m.id = strdupa("c");
	m.cgroup = list;
	return limits_update(&conn, &m, e);
}

#define ASK(e, ...) ask(e, (const char *const[]){ __VA_ARGS__, NULL })

static void says(const char *file, const char *want)
{
	char *text = kit_get(file);

	ck_assert_msg(!strcmp(text, want), "%s: %s", file, text);
	free(text);
}

START_TEST(all_are_set)
{
	struct err e = { 0 };

	ck_assert_msg(!ASK(&e, "memory.max", "999", "pids.max", "888", "cpu.max", "777 200"),
		      "%s", e.text);
	ck_assert_int_eq(answers, 1);
	says("memory.max", "999\n");
	says("pids.max", "888\n");
	says("cpu.max", "777 200\n");
	init.state = TASK_READY;
	ck_assert_int_eq(ASK(&e, "pids.max", "555"), 0);
	says("pids.max", "555\n");
}
END_TEST

/* Which of four is refused, and how. */
static const struct {
	const char *file, *value, *why;
	int rc;
} bad[] = {
	{ "pids.stubborn", "1", "pids.stubborn", -EPERM },
	{ "hugetlb.none", "1", "the guest's kernel has no hugetlb.none", -ENOENT },
	{ "cgroup.procs", "1", "not a controller's file", -EINVAL },
	{ "../x.y", "1", "not a controller's file", -EINVAL },
	{ "", "1", "not a controller's file", -EINVAL },
	{ "plain", "1", "not a controller's file", -EINVAL },
	{ ".hidden", "1", "not a controller's file", -EINVAL },
};

START_TEST(or_none)
{
	size_t row = (size_t)_i / 4, at = (size_t)_i % 4, i, k = 0;
	const char *good[][2] = { { "memory.max", "999" }, { "cpu.max", "777 200" },
				  { "pids.max", "888" } };
	const char *pairs[9] = { NULL };
	struct err e = { 0 };

	make_stubborn("pids.stubborn", "7\n");
	for (i = 0; i < 4; i++) {
		pairs[2 * i] = i == at ? bad[row].file : good[k][0];
		pairs[2 * i + 1] = i == at ? bad[row].value : good[k++][1];
	}
	ck_assert_int_eq(ask(&e, pairs), bad[row].rc);
	ck_assert_msg(strstr(e.text, bad[row].why) != NULL, "%s", e.text);
	ck_assert_int_eq(answers, 0);
	says("memory.max", "111\n");
	says("cpu.max", "333 100\n");
	says("pids.max", "222\n");
	says("cgroup.procs", "1\n");
}
END_TEST

/* Twice the same file, and one that said nothing. */
START_TEST(back_in_steps)
{
	struct err e = { 0 };

	make_stubborn("pids.stubborn", "7\n");
	ck_assert_int_lt(ASK(&e, "pids.max", "444", "cpuset.cpus", "0", "pids.max", "555",
			     "pids.stubborn", "1"), 0);
	says("pids.max", "222\n");
	says("cpuset.cpus", "\n");
}
END_TEST

START_TEST(who_can_be_asked)
{
	Podvm__ContainerUpdate m = PODVM__CONTAINER_UPDATE__INIT;
	Podvm__KeyValue kv = PODVM__KEY_VALUE__INIT, *list[65];
	struct err e = { 0 };
	size_t i;

	m.id = strdupa("d");
	ck_assert_int_eq(limits_update(&conn, &m, &e), -ESRCH);
	m.id = strdupa("c");
	init.state = TASK_ENDED;
	ck_assert_int_eq(limits_update(&conn, &m, &e), -ESRCH);
	ck_assert_str_eq(e.text, "container not running");
	init.state = TASK_SETUP;
	ck_assert_int_eq(limits_update(&conn, &m, &e), -ESRCH);
	init.state = TASK_RUNNING;
	kv.key = strdupa("pids.max");
	kv.value = strdupa("888");
	for (i = 0; i < ARRAY_LEN(list); i++)
		list[i] = &kv;
	m.cgroup = list;
	m.n_cgroup = ARRAY_LEN(list);
	ck_assert_int_eq(limits_update(&conn, &m, &e), -E2BIG);
	says("pids.max", "222\n");
	m.n_cgroup = 64;
	ck_assert_int_eq(limits_update(&conn, &m, &e), 0);
	says("pids.max", "888\n");
}
END_TEST

static int read_files(struct err *e, const char *const *names, size_t n)
{
	Podvm__CgroupRead m = PODVM__CGROUP_READ__INIT;
	char *list[65];

	for (m.n_files = 0; m.n_files < n; m.n_files++)
		list[m.n_files] = strdupa(names[m.n_files]);
	m.id = strdupa("c");
	m.files = list;
	conn.busy = true;
	return limits_tell(&conn, &m, e);
}

START_TEST(files_are_told)
{
	static const char *const some[] = { "memory.max", "memory.peak", "cpu.max", "cpuset.cpus" };
	static const char *const wrong[] = { "memory.max", "cgroup.procs" };
	static const char *const up[] = { "../../etc/passwd.x" };
	const char *many[65];
	char *big = malloc(20001);
	struct err e = { 0 };
	size_t i;

	ck_assert_int_eq(read_files(&e, some, ARRAY_LEN(some)), 0);
	ck_assert_str_eq(told, "memory.max=111\n;cpu.max=333 100\n;cpuset.cpus=\n;");
	ck_assert_int_eq(read_files(&e, some, 0), 0);
	ck_assert_str_eq(told, "");
	ck_assert_int_eq(answers, 2);
	ck_assert_int_eq(read_files(&e, wrong, 2), -EINVAL);
	ck_assert_int_eq(read_files(&e, up, 1), -EINVAL);
	for (i = 0; i < ARRAY_LEN(many); i++)
		many[i] = "pids.max";
	ck_assert_int_eq(read_files(&e, many, ARRAY_LEN(many)), -E2BIG);
	ck_assert_int_eq(answers, 2);
	/* A file that would not fit is left out. */
	memset(big, 'x', 20000);
	big[20000] = 0;
	kit_put("cpu.max", big);
	ck_assert_int_eq(read_files(&e, some, ARRAY_LEN(some)), 0);
	ck_assert_str_eq(told, "memory.max=111\n;cpuset.cpus=\n;");
	free(big);
}
END_TEST

static void counts(int kills, int populated)
{
	char text[80];

	snprintf(text, sizeof(text), "low 0\nhigh 0\nmax 9\noom 9\noom_kill %d\n", kills);
	kit_put("memory.events", text);
	snprintf(text, sizeof(text), "populated %d\nfrozen 0\n", populated);
	kit_put("cgroup.events", text);
}

static int watch(struct conn *c, struct err *e)
{
	Podvm__ContainerWatch m = PODVM__CONTAINER_WATCH__INIT;

	m.id = strdupa("c");
	return watch_container(c, &m, e);
}

START_TEST(oom_is_told)
{
	struct err e = { 0 };
	size_t fds = kit_fds();

	counts(2, 1);
	ck_assert_msg(!watch(&conn, &e), "%s", e.text);
	ck_assert_int_eq(answers, 1);
	ck_assert_str_eq(told, "2;");
	changed();
	ck_assert_str_eq(told, "2;");
	counts(3, 1);
	changed();
	changed();
	ck_assert_str_eq(told, "2;3;");
	/* One that counts backwards is no news. */
	counts(1, 1);
	changed();
	counts(5, 0);
	changed();
	ck_assert_str_eq(told, "2;3;5 ended;");
	ck_assert(!watched() && !ctr.watches);
	ck_assert_uint_eq(kit_fds(), fds);
}
END_TEST

START_TEST(watches_end)
{
	struct conn other = { .agent = &agent }, owner = { .agent = &agent, .owner = &init };
	struct err e = { 0 };
	size_t fds = kit_fds();

	counts(0, 1);
	ck_assert(!watch(&conn, &e) && !watch(&other, &e) && !watch(&conn, &e));
	ck_assert_uint_eq(watched(), 6);
	watch_forget_conn(&ctr, &conn);
	ck_assert_uint_eq(watched(), 2);
	watch_forget_all(&ctr);
	ck_assert_uint_eq(watched(), 0);
	/* What ended before it began. */
	told[0] = 0;
	counts(1, 0);
	ck_assert_int_eq(watch(&conn, &e), 0);
	ck_assert_str_eq(told, "1;1 ended;");
	ck_assert_uint_eq(watched(), 0);
	ck_assert_int_eq(watch(&owner, &e), -EINVAL);
	conn.main = true;
	ck_assert_int_eq(watch(&conn, &e), -EINVAL);
	conn.main = false;
	init.state = TASK_ENDED;
	ck_assert_int_eq(watch(&conn, &e), -ESRCH);
	init.state = TASK_READY;
	fail_source = 1;
	ck_assert_int_eq(watch(&conn, &e), -ENOSPC);
	fail_source = 2;
	ck_assert_int_eq(watch(&conn, &e), -ENOSPC);
	ck_assert_int_eq(unlink("memory.events"), 0);
	ck_assert_int_eq(watch(&conn, &e), -ENOENT);
	ck_assert(!watched() && !ctr.watches);
	ck_assert_uint_eq(kit_fds(), fds);
}
END_TEST

/* One write for all of them; each by itself only when one cannot be. */
START_TEST(controllers)
{
	kit_put("cgroup.controllers", "cpuset cpu io\n");
	enable_controllers(".");
	ck_assert_str_eq(enabled, "+cpuset +cpu +io;");

	enabled[0] = 0;
	unable = "+cpu ";
	enable_controllers(".");
	ck_assert_str_eq(enabled, "+cpuset +cpu +io;+cpuset;+cpu;+io;");

	enabled[0] = 0;
	kit_put("cgroup.controllers", "\n");
	enable_controllers(".");
	ck_assert_str_eq(enabled, "");
}
END_TEST

Suite *agent_limits_suite(void)
{
	Suite *s = suite_create("agent_limits");
	TCase *c = tcase_create("agent_limits");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, controllers);
	tcase_add_test(c, all_are_set);
	tcase_add_loop_test(c, or_none, 0, 4 * ARRAY_LEN(bad));
	tcase_add_test(c, back_in_steps);
	tcase_add_test(c, who_can_be_asked);
	tcase_add_test(c, files_are_told);
	tcase_add_test(c, oom_is_told);
	tcase_add_test(c, watches_end);
	suite_add_tcase(s, c);
	return s;
}
