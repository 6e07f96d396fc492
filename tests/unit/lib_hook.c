// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Hooks as a shell plays them: what they get, what is told of those that fail, and those
 * that do not end, write without end, or leave something running. The same code runs them
 * on the host and in a guest; the agent's part beside it is here, too, and what the
 * runtime adds on the host: states, order, and what it says of hooks that cannot be there.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/hook.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/hooks.h"
#include "runtime/trust.h"
#include "tests/kit/kit.h"

#include "guest/agent/hooks.c"

Suite *lib_hook_suite(void);

static char dir[64];

static void setup(void)
{
	snprintf(dir, sizeof(dir), "%.40s/hook-XXXXXX", getenv("TMPDIR"));
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert(!chdir(dir));
}

static void teardown(void)
{
	ck_assert(!chdir("/") && !dir_remove(AT_FDCWD, dir, NULL));
}

static int sh(const char *script, uint64_t timeout_s, struct err *e)
{
	char *argv[] = { strdupa("sh"), strdupa("-c"), strdupa(script), NULL };
	char *envp[] = { strdupa("A=b c"), NULL };
	const struct hook h = { .path = "/bin/sh", .argv = argv, .envp = envp,
				.timeout_s = timeout_s, .state = "{\"id\":\"c\"}" };

	return hook_run(&h, e);
}

static char *text_of(const char *name)
{
	char *text = NULL;
	struct err e = { 0 };

	ck_assert_msg(!file_read(AT_FDCWD, name, 1 << 20, &text, NULL, &e), "%s", e.text);
	return text;
}

START_TEST(gets_state_and_environment)
{
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	ck_assert_msg(!sh("cat > in; echo \"$A\" >> in; env | grep -c '^HOME=' >> in;"
			  " ls /proc/self/fd | wc -l >> in; exit 0", 5, &e), "%s", e.text);
	text = text_of("in");
	/* 0, 1, 2, and the one that ls reads. */
	ck_assert_str_eq(text, "{\"id\":\"c\"}b c\n0\n4\n");
}
END_TEST

static const struct {
	const char *script, *want;
	int rc;
	uint64_t timeout_s;
} ends[] = {
	{ "exit 3", "/bin/sh: exit status 3", -ECANCELED, 0 },
	{ "echo no such thing >&2; exit 1", "/bin/sh: exit status 1: no such thing", -ECANCELED, 0 },
	{ "echo one; echo two >&2; exit 2", "/bin/sh: exit status 2: one two", -ECANCELED, 9 },
	{ "printf 'a\\033[1mb\\000c' >&2; exit 2", "/bin/sh: exit status 2: a?[1mb c", -ECANCELED, 0 },
	{ "kill -9 $$", "/bin/sh: exit status 137", -ECANCELED, 0 },
	{ "sleep 60", "/bin/sh: killed after its time-out of 1 s", -ETIMEDOUT, 1 },
	{ "echo busy >&2; sleep 60 & wait", "/bin/sh: killed after its time-out of 1 s: busy",
	  -ETIMEDOUT, 1 },
	{ "yes", "/bin/sh: killed after its time-out of 1 s: *", -ETIMEDOUT, 1 },
	{ "yes | head -c 500000 >&2; exit 4", "/bin/sh: exit status 4: *", -ECANCELED, 0 },
	{ "yes | head -c 500000", "", 0, 0 },
	{ "sleep 60 & exit 5", "/bin/sh: exit status 5", -ECANCELED, 30 },
};

START_TEST(ends_as_told)
{
	struct err e = { 0 };
	const char *want = ends[_i].want;
	size_t n = strcspn(want, "*");

	ck_assert_int_eq(sh(ends[_i].script, ends[_i].timeout_s, &e), ends[_i].rc);
	ck_assert_msg(want[n] ? !strncmp(e.text, want, n) : !strcmp(e.text, want), "%s", e.text);
	/* What was left running is not ours; nothing of ours is. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

static int refuse(void *arg)
{
	return *(const int *)arg;
}

START_TEST(cannot_start)
{
	int why = -EACCES;
	struct hook h = { .path = "/nowhere/hook", .state = "" };
	struct err e = { 0 };

	ck_assert_int_eq(hook_run(&h, &e), -ENOENT);
	ck_assert_str_eq(e.text, "/nowhere/hook: exec: No such file or directory");
	h.path = dir;
	ck_assert_int_eq(hook_run(&h, &e), -EACCES);
	h = (struct hook){ .path = "/bin/true", .state = "", .before_exec = refuse, .arg = &why };
	ck_assert_int_eq(hook_run(&h, &e), -EACCES);
	ck_assert_str_eq(e.text, "/bin/true: prepare: Permission denied");
	h.before_exec = NULL;
	ck_assert_int_eq(hook_run(&h, &e), 0);
}
END_TEST

/* Its children go with it when its time is over. */
START_TEST(time_out_ends_all)
{
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	int i;

	ck_assert_int_eq(sh("sleep 60 & echo $! > pid; wait", 1, &e), -ETIMEDOUT);
	text = text_of("pid");
	/* Nobody has reaped it here: a zombie, or gone. */
	for (i = 0; i < 500; i++) {
		_cleanup_free_ char *stat = NULL;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/stat", atoi(text));
		if (file_read(AT_FDCWD, path, 4096, &stat, NULL, NULL) < 0 || strstr(stat, ") Z "))
			return;
		usleep(10000);
	}
	ck_abort_msg("process %s lives", text);
}
END_TEST

/* ---- in the guest ------------------------------------------------------------------- */

static Podvm__Hook *agent_hook(Podvm__Hook *h, char **args, size_t n)
{
	podvm__hook__init(h);
	h->path = strdup("/bin/sh");
	h->args = args;
	h->n_args = n;
	return h;
}

START_TEST(agent_runs_them_in_order)
{
	char *first[] = { strdupa("sh"), strdupa("-c"), strdupa("cat > one; echo $PPID > parent") };
	char *bad[] = { strdupa("sh"), strdupa("-c"), strdupa("test -e one && echo worse >&2 && exit 9") };
	char *never[] = { strdupa("sh"), strdupa("-c"), strdupa("> never") };
	Podvm__Hook h[3], *v[] = { agent_hook(&h[0], first, 3), agent_hook(&h[1], bad, 3),
				   agent_hook(&h[2], never, 3) };
	_cleanup_free_ char *one = NULL;
	Podvm__Hooks m = PODVM__HOOKS__INIT;
	char want[64];
	struct err e = { 0 };

	m.hooks = v;
	m.n_hooks = 3;
	m.state_before = strdupa("{\"pid\":");
	m.state_after = strdupa(",\"x\":1}");
	ck_assert_int_eq(hooks_inside(&m, "createContainer", NULL, NULL, &e), -ECANCELED);
	ck_assert_str_eq(e.text, "/hooks/createContainer/1: /bin/sh: exit status 9: worse");
	snprintf(want, sizeof(want), "{\"pid\":%d,\"x\":1}", getpid());
	one = text_of("one");
	ck_assert_str_eq(one, want);
	ck_assert_int_lt(access("never", F_OK), 0);
	free(h[0].path);
	free(h[1].path);
	free(h[2].path);
}
END_TEST

static int leave(void *arg)
{
	return chdir(arg) < 0 ? -errno : 0;
}

START_TEST(agent_becomes_first)
{
	char *args[] = { strdupa("sh"), strdupa("-c"), strdupa("> here") };
	Podvm__Hook h, *v[] = { agent_hook(&h, args, 3) };
	Podvm__Hooks m = PODVM__HOOKS__INIT;
	struct err e = { 0 };

	m.hooks = v;
	m.n_hooks = 1;
	ck_assert(!mkdir("sub", 0755));
	ck_assert_msg(!hooks_inside(&m, "startContainer", leave, strdupa("sub"), &e), "%s", e.text);
	ck_assert_int_eq(access("sub/here", F_OK), 0);
	ck_assert_int_lt(access("here", F_OK), 0);
	free(h.path);
}
END_TEST

/* ---- on the host ------------------------------------------------------------------------ */

static struct state *a_state(void)
{
	struct state *s = mem_new(struct state);

	strcpy(s->id, "c1");
	strcpy(s->pod, "p1");
	s->bundle = strdup("/b\"pid\":7");
	s->rootfs = strdup("/b/rootfs");
	s->oci_version = strdup("1.2.0");
	s->created = strdup("now");
	s->annotations = strdup("{\"pid\":\"x\",\"\\\"pid\\\":\":\"y\"}");
	s->pid = 4242;
	s->status = STATE_CREATED;
	return s;
}

static const struct {
	const char *status;
	int pid;
} states[] = { { "creating", 4242 }, { "running", 4242 }, { "stopped", 0 } };

/* What a hook gets on the host. */
START_TEST(host_state)
{
	struct spec_hook h = { .path = strdupa("/bin/sh") };
	char *args[] = { strdupa("sh"), strdupa("-c"), strdupa("cat > state"), NULL };
	struct spec_hooks list = { .v = &h, .n = 1 };
	_cleanup_free_ char *text = NULL;
	struct state *s = a_state();
	struct json_object *o, *v;
	struct err e = { 0 };

	h.args = args;
	ck_assert_msg(!hooks_run(&list, "prestart", s, states[_i].status, &e), "%s", e.text);
	text = text_of("state");
	o = json_tokener_parse(text);
	ck_assert(!json_pointer_get(o, "/status", &v));
	ck_assert_str_eq(json_object_get_string(v), states[_i].status);
	ck_assert(!json_pointer_get(o, "/pid", &v));
	ck_assert_int_eq(json_object_get_int(v), states[_i].pid);
	ck_assert(!json_pointer_get(o, "/bundle", &v));
	ck_assert_str_eq(json_object_get_string(v), s->bundle);
	ck_assert(!json_pointer_get(o, "/annotations/pid", &v));
	json_object_put(o);
	state_free(s);
}
END_TEST

/* What one gets in the guest: the same, with the number left open. */
START_TEST(guest_state)
{
	Podvm__Hooks *m = mem_new(Podvm__Hooks);
	_cleanup_free_ char *text = NULL;
	struct state *s = a_state();
	struct json_object *o, *v;
	struct err e = { 0 };

	podvm__hooks__init(m);
	ck_assert_int_eq(state_hooks(s, "creating", m, &e), 0);
	ck_assert_int_gt(asprintf(&text, "%s%d%s", m->state_before, 55, m->state_after), 0);
	o = json_tokener_parse(text);
	ck_assert_msg(o && !json_pointer_get(o, "/pid", &v), "%s", text);
	ck_assert_int_eq(json_object_get_int(v), 55);
	ck_assert(!json_pointer_get(o, "/status", &v));
	ck_assert_str_eq(json_object_get_string(v), "creating");
	ck_assert(!json_pointer_get(o, "/id", &v));
	ck_assert_str_eq(json_object_get_string(v), "c1");
	ck_assert(!json_pointer_get(o, "/bundle", &v));
	ck_assert_str_eq(json_object_get_string(v), s->bundle);
	json_object_put(o);
	podvm__hooks__free_unpacked(m, NULL);
	state_free(s);
}
END_TEST

/* Up to the first that fails; but poststop: all of them. */
START_TEST(host_order)
{
	char *good[] = { strdupa("sh"), strdupa("-c"), strdupa("echo good >> log"), NULL };
	char *bad[] = { strdupa("sh"), strdupa("-c"), strdupa("echo bad >> log; exit 1"), NULL };
	struct spec_hook h[] = { { .path = strdupa("/bin/sh"), .args = good },
				 { .path = strdupa("/bin/sh"), .args = bad },
				 { .path = strdupa("/bin/sh"), .args = good } };
	struct spec_hooks list = { .v = h, .n = 3 };
	_cleanup_free_ char *first = NULL, *second = NULL;
	struct spec spec = { .poststop = list };
	struct state *s = a_state();
	struct err e = { 0 };

	ck_assert_int_eq(hooks_run(&list, "createRuntime", s, "creating", &e), -ECANCELED);
	ck_assert_str_eq(e.text, "/hooks/createRuntime/1: /bin/sh: exit status 1");
	first = text_of("log");
	ck_assert_str_eq(first, "good\nbad\n");
	hooks_poststop(&spec, s);
	second = text_of("log");
	ck_assert_str_eq(second, "good\nbad\ngood\nbad\ngood\n");
	state_free(s);
}
END_TEST

#define CURE ": not in the container's root file system, which is all that the pod's machine has of " \
	"the host's: put it into the image or bind-mount it there, or use "
#define CREATE_CURE CURE "createRuntime, which runs on the host, or a trusted runtime (" TRUST_SETTING ")"
#define START_CURE CURE "poststart, which runs on the host, or a trusted runtime (" TRUST_SETTING ")"

static const struct {
	bool start;
	const char *path, *want;
} places[] = {
	{ false, "/bin/tool", NULL }, { true, "/bin/tool", NULL }, { true, "/alias/tool", NULL },
	{ true, "/up/tool", NULL }, { false, "/mnt/hook", NULL }, { true, "/mnt", NULL },
	{ false, "/usr/bin/nvidia-cdi-hook",
	  "/hooks/createContainer/0/path: \"/usr/bin/nvidia-cdi-hook\"" CREATE_CURE },
	{ true, "/sbin/ldconfig", "/hooks/startContainer/0/path: \"/sbin/ldconfig\"" START_CURE },
	{ true, "/bin", "/hooks/startContainer/0/path: \"/bin\"" START_CURE },
	{ true, "/mntx/hook", "/hooks/startContainer/0/path: \"/mntx/hook\"" START_CURE },
	/* The host's, by a link of the image. */
	{ true, "/host/sh", "/hooks/startContainer/0/path: \"/host/sh\"" START_CURE },
};

START_TEST(checked_before)
{
	char root[100], path[64];
	Podvm__Mount mount = PODVM__MOUNT__INIT, *mounts[] = { &mount };
	Podvm__ContainerCreate c = PODVM__CONTAINER_CREATE__INIT;
	Podvm__Hooks m = PODVM__HOOKS__INIT;
	Podvm__Hook h, *v[] = { &h };
	struct spec s = { .create = &c, .rootfs = root };
	struct err e = { 0 };

	snprintf(root, sizeof(root), "%s/root", dir);
	ck_assert(!mkdir("root", 0755) && !mkdir("root/bin", 0755) && !symlink("/bin", "root/alias") &&
		  !symlink("../../../bin", "root/up") && !symlink("/../../../../bin", "root/host"));
	ck_assert(!file_replace(AT_FDCWD, "root/bin/tool", "x", 1, 0755, NULL));
	mount.destination = strdupa("/mnt");
	c.mounts = mounts;
	c.n_mounts = 1;
	ck_assert_int_eq(hooks_check(&s, &e), 0);
	podvm__hook__init(&h);
	strcpy(path, places[_i].path);
	h.path = path;
	m.hooks = v;
	m.n_hooks = 1;
	if (places[_i].start)
		c.start_hooks = &m;
	else
		c.create_hooks = &m;
	ck_assert_int_eq(hooks_check(&s, &e), places[_i].want ? -ENOENT : 0);
	ck_assert_str_eq(e.text, places[_i].want ? places[_i].want : "");
}
END_TEST

Suite *lib_hook_suite(void)
{
	Suite *s = suite_create("lib_hook");
	TCase *t = tcase_create("hook");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, gets_state_and_environment);
	tcase_add_loop_test(t, ends_as_told, 0, (int)ARRAY_LEN(ends));
	tcase_add_test(t, cannot_start);
	tcase_add_test(t, time_out_ends_all);
	tcase_add_test(t, agent_runs_them_in_order);
	tcase_add_test(t, agent_becomes_first);
	tcase_add_loop_test(t, host_state, 0, (int)ARRAY_LEN(states));
	tcase_add_test(t, guest_state);
	tcase_add_test(t, host_order);
	tcase_add_loop_test(t, checked_before, 0, (int)ARRAY_LEN(places));
	suite_add_tcase(s, t);
	return s;
}
