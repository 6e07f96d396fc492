// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What people look at pods with: logs and console that are followed, figures, a shell
 * that is refused, and the line that says what is waited for. Each command is a process of
 * its own, with a pipe or a terminal for its output; the pod is a thread, and its agent
 * follows a script.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/progress.h"
#include "runtime/cli/cli.h"
#include "runtime/state.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakepod.h"

Suite *runtime_people_suite(void);

#define OUT_BYTES 16384
#define PATIENCE_MS 20000

static struct fakepod pod;
static Podvm__Pod__Info info;
static Podvm__Pod__ContainerInfo container, *containers[] = { &container };

/**
 * struct verb - a command under way
 * @out:  what it writes, standard error as well
 * @go:   it begins with the first byte of it
 * @text: that it has written
 */
struct verb {
	pid_t pid;
	int out, go;
	char text[OUT_BYTES];
	size_t len;
};

typedef int verb_fn(struct cli *c, int argc, char **argv, struct err *e);

__attribute__((noreturn)) static void run(int out, int go, verb_fn *fn, const char *const *args)
{
	struct cli c = { .root = pod.root, .rootfd = -1 };
	char *argv[8] = { NULL };
	struct err e = { 0 };
	int argc, rc;
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(101);
	dup2(out, 1);
	dup2(out, 2);
	for (argc = 0; args[argc]; argc++)
		argv[argc] = strdup(args[argc]);
	c.rootfd = state_root_open(pod.root, &e);
	rc = c.rootfd < 0 ? c.rootfd : fn(&c, argc, argv, &e);
	fflush(stdout);
	if (rc < 0)
		dprintf(2, "error: %s\n", e.text);
	_exit(rc < 0 ? 100 : rc);
}

/* Before the pod has a thread: there is none in a command. */
static void prepare(struct verb *v, bool terminal, verb_fn *fn, const char *const *args)
{
	int out[2], go[2];

	*v = (struct verb){ .len = 0 };
	if (terminal)
		ck_assert(!openpty(&out[0], &out[1], NULL, NULL, NULL));
	else
		ck_assert(!pipe2(out, O_CLOEXEC));
	ck_assert(!pipe2(go, O_CLOEXEC));
	v->pid = fork();
	if (!v->pid) {
		close(go[1]);
		close(out[0]);
		run(out[1], go[0], fn, args);
	}
	ck_assert_int_gt(v->pid, 0);
	close(out[1]);
	close(go[0]);
	v->out = out[0];
	v->go = go[1];
}

static void begin(struct verb *v)
{
	ck_assert_int_eq(write(v->go, "g", 1), 1);
	close(v->go);
}

/* Return: false at the end of what it writes */
static bool take(struct verb *v)
{
	struct pollfd f = { .fd = v->out, .events = POLLIN };
	ssize_t n;

	ck_assert_msg(poll(&f, 1, PATIENCE_MS) == 1, "nothing more after: %s", v->text);
	n = read(v->out, v->text + v->len, OUT_BYTES - 1 - v->len);
	if (n > 0)
		v->len += (size_t)n;
	v->text[v->len] = 0;
	return n > 0;
}

static void writes(struct verb *v, const char *want)
{
	while (!strstr(v->text, want))
		ck_assert_msg(take(v), "no \"%s\" in: %s", want, v->text);
}

/* Up to its end; what it exits with. */
static int finish(struct verb *v)
{
	int status;

	while (take(v))
		;
	close(v->out);
	ck_assert_int_eq(waitpid(v->pid, &status, 0), v->pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void pod_text(const char *file, const char *text)
{
	char path[120];
	FILE *f;

	snprintf(path, sizeof(path), "%s/pods/p/%s", pod.root, file);
	f = fopen(path, "ae");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert(!fclose(f));
}

static void setup(void)
{
	kit_dir_enter();
	fakepod_init(&pod, -1);
	podvm__pod__info__init(&info);
	podvm__pod__container_info__init(&container);
	container.id = strdup("web");
	container.status = strdup("running");
	info.containers = containers;
	info.n_containers = 1;
	info.monitor_pid = info.supervisor_pid = (uint32_t)getpid();
	pod.info = &info;
	setenv("PODVM_CONFIG", "podvm.json", 1);
	kit_put("podvm.json", "{}");
}

static void teardown(void)
{
	fakepod_stop(&pod);
	free(container.id);
	free(container.status);
	kit_dir_leave();
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- logs and console -------------------------------------------------------------------- */

static const struct {
	verb_fn *fn;
	const char *args[5];
	const char *begin, *more, *end;
} followed[] = {
	{ cmd_pod_console, { "pod console", "--follow", "p" }, "guest one\n", "guest tw?o\nguest t", "hree\n" },
	{ cmd_pod_console, { "pod console", "--follow", "--raw", "p" }, "guest one\r\n", "guest tw\033o\nguest t", "hree" },
	{ cmd_pod_logs, { "pod logs", "--follow", "p" }, "guest  | guest one\n", "guest  | guest tw?o\n",
	  "guest  | guest three\n" },
	{ cmd_pod_logs, { "pod logs", "--source=guest", "-f", "p" }, "guest one\n", "guest tw?o\n",
	  "guest three\n" },
};

/* Lines come when they are written, a half one when it is whole, or at the pod's end. */
START_TEST(follows)
{
	bool host = followed[_i].fn == cmd_pod_logs && strcmp(followed[_i].args[1], "--source=guest");
	bool raw = !strcmp(followed[_i].args[2], "--raw");
	struct verb v;

	prepare(&v, false, followed[_i].fn, followed[_i].args);
	fakepod_start(&pod, "p");
	pod_text("console.log", "guest one\r\n");
	pod_text("supervisor.log", "host one\n");
	begin(&v);
	writes(&v, followed[_i].begin);
	ck_assert_int_eq(strstr(v.text, "host one") != NULL, host);
	pod_text("console.log", "guest tw\033o\nguest t");
	writes(&v, followed[_i].begin);
	writes(&v, raw ? "tw\033o\n" : "tw?o\n");
	pod_text("supervisor.log", "host two\n");
	if (host)
		writes(&v, "host   | host two\n");
	if (!raw)
		ck_assert_ptr_null(strstr(v.text, "guest t\n"));
	pod_text("console.log", "hree");
	fakepod_end(&pod);
	ck_assert_int_eq(finish(&v), 0);
	ck_assert_msg(strstr(v.text, followed[_i].end), "%s", v.text);
	ck_assert_int_eq(strstr(v.text, "host two") != NULL, host);
}
END_TEST

START_TEST(ends_without_follow)
{
	struct verb v;

	prepare(&v, false, cmd_pod_console, ARGS("pod console", "p"));
	fakepod_start(&pod, "p");
	pod_text("console.log", "guest one\nguest t");
	begin(&v);
	ck_assert_int_eq(finish(&v), 0);
	ck_assert_str_eq(v.text, "guest one\nguest t\n");
}
END_TEST

/* A pod that is dead already has logs, and nothing that could follow. */
START_TEST(dead_pod_is_not_followed)
{
	char path[120];
	struct verb v;

	prepare(&v, false, cmd_pod_logs, ARGS("pod logs", "--follow", "p"));
	snprintf(path, sizeof(path), "%s/pods/p", pod.root);
	ck_assert_int_ge(dir_make(path, 0700, NULL), 0);
	pod_text("supervisor.log", "the end\n");
	begin(&v);
	ck_assert_int_eq(finish(&v), 0);
	ck_assert_str_eq(v.text, "host   | the end\n");
}
END_TEST

START_TEST(no_such_pod)
{
	struct verb v;

	prepare(&v, false, cmd_pod_logs, ARGS("pod logs", "--follow", "nobody"));
	begin(&v);
	ck_assert_int_eq(finish(&v), 100);
	ck_assert_str_eq(v.text, "error: nobody is no pod and no container; podvm pod list shows what there is\n");
}
END_TEST

/* ---- figures ---------------------------------------------------------------------------------- */

static Podvm__Guest guest = PODVM__GUEST__INIT;

static bool tell_guest(void *arg, const Podvm__Request *rq, Podvm__Response *rs)
{
	static uint8_t log[] = "a\033b\nc";

	(void)arg;
	if (rq->body_case != PODVM__REQUEST__BODY_GUEST_GET)
		return false;
	guest.log.data = log;
	guest.log.len = rq->guest_get->log ? sizeof(log) - 1 : 0;
	rs->body_case = PODVM__RESPONSE__BODY_GUEST;
	rs->guest = &guest;
	return true;
}

static const struct {
	uint64_t total, available;
	uint32_t load;
	const char *shown;
} figures[] = {
	{ 256 << 20, 156 << 20, 1234, "100/256   1.23" },
	{ 0, 0, 0, "0/0   0.00" },
	{ 64 << 20, UINT64_MAX, 5, "0/64   0.00" },
	{ UINT64_MAX, 0, UINT32_MAX, "17592186044415/17592186044415 4294967.29" },
};

START_TEST(stats_of_a_guest)
{
	struct verb v;

	guest.memory_total = figures[_i].total;
	guest.memory_available = figures[_i].available;
	guest.load_milli = figures[_i].load;
	pod.agent = tell_guest;
	prepare(&v, false, cmd_pod_stats, ARGS("pod stats", "p"));
	fakepod_start(&pod, "p");
	begin(&v);
	ck_assert_int_eq(finish(&v), 0);
	ck_assert_msg(strstr(v.text, figures[_i].shown), "%s", v.text);
}
END_TEST

START_TEST(kernel_log_of_a_guest)
{
	struct verb v;

	pod.agent = tell_guest;
	prepare(&v, false, cmd_pod_logs, ARGS("pod logs", "--source=kernel", "p"));
	fakepod_start(&pod, "p");
	begin(&v);
	ck_assert_int_eq(finish(&v), 0);
	ck_assert_str_eq(v.text, "a?b\nc\n");
}
END_TEST

/* ---- a shell ------------------------------------------------------------------------------------ */

enum refusing { TAKES_ALL, NO_PART, NO_PROCESS, HANGS_UP };

static enum refusing refusing;

static bool shell_agent(void *arg, const Podvm__Request *rq, Podvm__Response *rs)
{
	static char text[] = "the agent does not want to";
	bool last = rq->body_case == PODVM__REQUEST__BODY_SHELL_OPEN && rq->shell_open->process;

	(void)arg;
	if (refusing == (last ? NO_PROCESS : NO_PART)) {
		rs->error = EPERM;
		rs->text = text;
	}
	return refusing != HANGS_UP;
}

#define FORBIDS "{\"debugShell\":\"off\"}"
#define ALLOWS "{\"debugShell\":\"on\"}"
#define STATE(annotations) \
	"{\"pod\":\"p\",\"bundle\":\"/b\",\"rootfs\":\"/b/rootfs\",\"ociVersion\":\"1.0.0\",\"created\":\"now\"," \
	"\"status\":2,\"pid\":0,\"pidStart\":0,\"exitCode\":0,\"annotations\":\"{" annotations "}\"}"
#define ASKS STATE("\\\"io.podvm.debug-shell\\\":\\\"on\\\"")

static const struct {
	const char *config, *state, *program;
	enum refusing refusing;
	const char *why;
} shells[] = {
	{ FORBIDS, ASKS, "/bin/true", TAKES_ALL, "pod p: the configuration forbids shells in guests (debugShell)" },
	{ "{}", STATE(""), "/bin/true", TAKES_ALL,
	  "pod p: no shell in its guest: neither the setting debugShell nor the annotation io.podvm.debug-shell is \"on\"" },
	{ "{}", STATE("\\\"io.podvm.debug-shell\\\":\\\"off\\\""), "/bin/true", TAKES_ALL, "pod p: no shell in its guest" },
	{ "{}", NULL, "/bin/true", TAKES_ALL, "pod p: no shell in its guest" },
	{ "{\"debugShell\":1}", ASKS, "/bin/true", TAKES_ALL, "configuration podvm.json: /debugShell" },
	{ ALLOWS, NULL, "nothing", TAKES_ALL, "nothing: install busybox-static, or name another static shell with --program" },
	{ ALLOWS, NULL, "podvm.json", TAKES_ALL, "--program podvm.json: not a program for x86-64" },
	{ ALLOWS, NULL, "short", TAKES_ALL, "--program short: not a program for x86-64" },
	{ ALLOWS, NULL, "huge", TAKES_ALL, "--program: huge: " },
	{ ALLOWS, NULL, "/bin/true", TAKES_ALL, "--program /bin/true: needs libraries" },
	{ ALLOWS, NULL, "static", NO_PART, "the agent does not want to" },
	{ ALLOWS, NULL, "static", NO_PROCESS, "the agent does not want to" },
	{ "{}", ASKS, "static", NO_PROCESS, "the agent does not want to" },
	{ ALLOWS, NULL, "static", HANGS_UP, "the peer closed the connection" },
};

/* As much of a program as is looked at here: a head without parts that are loaded. */
static void put_programs(void)
{
	static const uint8_t head[64] = { 0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = 62, [20] = 1,
					  [32] = 64, [52] = 64, [54] = 56 };
	struct err e = { 0 };

	ck_assert_msg(!file_replace(AT_FDCWD, "static", head, sizeof(head), 0755, &e), "%s", e.text);
	ck_assert(!file_replace(AT_FDCWD, "short", head, sizeof(head) - 1, 0755, &e));
	ck_assert(!file_replace(AT_FDCWD, "huge", head, sizeof(head), 0755, &e));
	ck_assert(!truncate("huge", (16 << 20) + 1));
}

START_TEST(shell_is_refused)
{
	char program[80];
	struct verb v;

	put_programs();
	kit_put("podvm.json", shells[_i].config);
	snprintf(program, sizeof(program), "--program=%s", shells[_i].program);
	refusing = shells[_i].refusing;
	pod.agent = shell_agent;
	prepare(&v, false, cmd_pod_shell, ARGS("pod shell", program, "p", "id"));
	fakepod_start(&pod, "p");
	if (shells[_i].state)
		fakepod_container(&pod, "web", shells[_i].state);
	begin(&v);
	ck_assert_int_eq(finish(&v), 100);
	ck_assert_msg(!strncmp(v.text, "error: ", 7) && strstr(v.text, shells[_i].why) &&
		      strchr(v.text, '\n') == v.text + v.len - 1, "%s", v.text);
}
END_TEST

START_TEST(shell_wants_a_container)
{
	struct verb v;

	info.n_containers = 0;
	kit_put("podvm.json", ALLOWS);
	prepare(&v, false, cmd_pod_shell, ARGS("pod shell", "p"));
	fakepod_start(&pod, "p");
	begin(&v);
	ck_assert_int_eq(finish(&v), 100);
	ck_assert_str_eq(v.text, "error: pod p has no container\n");
}
END_TEST

/* ---- what is waited for --------------------------------------------------------------------------- */

#define SLOW_US 2500000

static bool tell_late(void *arg, const Podvm__Request *rq, Podvm__Response *rs)
{
	usleep(SLOW_US);
	return tell_guest(arg, rq, rs);
}

/* Stands for a long examination of the host. */
static int wait_twice(struct cli *c, int argc, char **argv, struct err *e)
{
	struct progress_wait *w = progress_wait("one");

	(void)c;
	(void)argc;
	(void)argv;
	(void)e;
	usleep(SLOW_US);
	progress_wait_next(w, "two");
	usleep(SLOW_US / 2);
	progress_wait_end(w);
	progress_wait_end(progress_wait("short"));
	return 7;
}

#define ERASE "\r\033[K"

static bool ends_with(const struct verb *v, const char *end)
{
	return v->len >= strlen(end) && !strcmp(v->text + v->len - strlen(end), end);
}

/* On a terminal a line that goes when the answer comes; anywhere else nothing. */
START_TEST(says_what_it_waits_for)
{
	struct verb tty, piped, twice;
	const char *const *args = ARGS("pod logs", "--source=kernel", "p");

	pod.agent = tell_late;
	prepare(&tty, true, cmd_pod_logs, args);
	prepare(&piped, false, wait_twice, args);
	prepare(&twice, true, wait_twice, args);
	fakepod_start(&pod, "p");
	begin(&tty);
	begin(&piped);
	begin(&twice);
	writes(&tty, ERASE "asking the guest for its kernel's log: ");
	ck_assert_int_eq(finish(&tty), 0);
	ck_assert_msg(ends_with(&tty, " s" ERASE "a?b\r\nc\r\n"), "%s", tty.text);
	ck_assert_int_eq(finish(&piped), 7);
	ck_assert_str_eq(piped.text, "");
	ck_assert_int_eq(finish(&twice), 7);
	ck_assert_msg(!strncmp(twice.text, ERASE "one: ", strlen(ERASE "one: ")) &&
		      strstr(twice.text, ERASE "two: ") && ends_with(&twice, " s" ERASE) &&
		      !strstr(twice.text, "short"), "%s", twice.text);
}
END_TEST

Suite *runtime_people_suite(void)
{
	Suite *s = suite_create("runtime_people");
	TCase *t = tcase_create("people");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, follows, 0, (int)ARRAY_LEN(followed));
	tcase_add_test(t, ends_without_follow);
	tcase_add_test(t, dead_pod_is_not_followed);
	tcase_add_test(t, no_such_pod);
	tcase_add_loop_test(t, stats_of_a_guest, 0, (int)ARRAY_LEN(figures));
	tcase_add_test(t, kernel_log_of_a_guest);
	tcase_add_loop_test(t, shell_is_refused, 0, (int)ARRAY_LEN(shells));
	tcase_add_test(t, shell_wants_a_container);
	tcase_add_test(t, says_what_it_waits_for);
	suite_add_tcase(s, t);
	return s;
}
