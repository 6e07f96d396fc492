// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A target by each of its names, words that mean several things, and pods that
 * are dead, damaged or do not answer. A fake supervisor stands for the pod.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/target.h"
#include "tests/kit/fakepod.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_target_suite(void);

static struct kit_net net;
static struct fakepod pod;
static char netns_path[] = "/run/netns/cni-1";

/* The pod's namespace is called "cni-1", the host's "other". */
static void setup(void)
{
	ck_assert(!unshare(CLONE_NEWNS));
	ck_assert(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	kit_net_new(&net);
	kit_run("mkdir -p /run/netns && mount -t tmpfs netns /run/netns && cd /run/netns && "
		"touch cni-1 other && mount --bind /proc/%d/fd/%d cni-1 && "
		"mount --bind /proc/%d/fd/%d other", getpid(), net.pod, getpid(), net.host);
	fakepod_init(&pod, net.pod);
	pod.network.netns_path = netns_path;
	fakepod_start(&pod, "web-0");
	fakepod_container(&pod, "nginx", "{\"pod\":\"web-0\"}");
	fakepod_container(&pod, "web-0", "{\"pod\":\"web-0\"}");
}

static void teardown(void)
{
	fakepod_stop(&pod);
}

static int open_target(struct target *t, char *word, struct err *e)
{
	char *argv[] = { (char[]){ "show" }, word };
	const struct opt table[] = { TARGET_OPTIONS(*t), OPT_END };
	int rc;

	*t = (struct target)TARGET_INIT;
	rc = target_parse(table, t, word ? 2 : 1, argv, "", e);
	t->root = pod.root;
	return rc ? rc : target_open(t, e);
}

static bool is_netns(int fd, int want)
{
	struct stat a, b;

	return !fstat(fd, &a) && !fstat(want, &b) && a.st_ino == b.st_ino;
}

/* The caller's own namespace is the pod's. */
START_TEST(by_each_name)
{
	char self[24], proc[48];
	char *const words[] = { NULL, (char[]){ "web-0" }, (char[]){ "nginx" }, (char[]){ "cni-1" },
				(char[]){ "/run/netns/cni-1" }, self, proc };
	struct err e = { 0 };
	struct target t;

	snprintf(self, sizeof(self), "%d", getpid());
	snprintf(proc, sizeof(proc), "/proc/%d/ns/net", getpid());
	ck_assert_msg(!open_target(&t, words[_i], &e), "%s", e.text);
	ck_assert(is_netns(t.netns_fd, net.pod));
	ck_assert_str_eq(t.pod, "web-0");
	if (_i > 0 && _i < 5)
		ck_assert_str_eq(t.path, "/run/netns/cni-1");
	kit_run("nsenter --net=%s ip link show eth0", t.path);
	target_close(&t);
	target_close(&t);
}
END_TEST

START_TEST(no_pod)
{
	Podvm__Pod__Response *rs;
	struct err e = { 0 };
	struct agent a;
	struct target t;

	ck_assert_msg(!open_target(&t, (char[]){ "other" }, &e), "%s", e.text);
	ck_assert(is_netns(t.netns_fd, net.host));
	ck_assert_str_eq(t.pod, "");
	ck_assert_int_eq(target_network(&t, &rs, &e), -ENOENT);
	ck_assert_int_eq(target_agent(&t, &a, &e), -ENOENT);
	target_close(&t);
}
END_TEST

START_TEST(machine_without_guest)
{
	Podvm__Pod__Response *rs;
	struct err e = { 0 };
	struct agent a;
	struct target t;

	ck_assert_msg(!open_target(&t, (char[]){ "nginx" }, &e), "%s", e.text);
	ck_assert_msg(!target_network(&t, &rs, &e), "%s", e.text);
	ck_assert_str_eq(rs->network->netns_path, "/run/netns/cni-1");
	podvm__pod__response__free_unpacked(rs, NULL);
	ck_assert_int_eq(target_agent(&t, &a, &e), -ESRCH);
	target_close(&t);
}
END_TEST

/* Without a path of its own, or with one that leads elsewhere, the pod's is found. */
START_TEST(name_of_the_namespace)
{
	static const char *const said[] = { "", "/run/netns/other", "/run/netns/gone", "/etc/passwd" };
	struct err e = { 0 };
	struct target t;

	pod.network.netns_path = (char *)(uintptr_t)said[_i];
	ck_assert_msg(!open_target(&t, (char[]){ "web-0" }, &e), "%s", e.text);
	ck_assert_str_eq(t.path, "/run/netns/cni-1");
	target_close(&t);
	kit_run("umount /run/netns/cni-1");
	ck_assert_msg(!open_target(&t, (char[]){ "web-0" }, &e), "%s", e.text);
	ck_assert_str_eq(t.path, pod.held);
	target_close(&t);
}
END_TEST

static const struct {
	const char *make;	/* in the state directory and /run/netns; %1$s: the former, %2$d: another's process */
	const char *word;
	int rc;
	const char *text;
} bad[] = {
	{ "", "nothing", -ENOENT, "is no pod or container below" },
	{ "", "..", -ENOENT, "is no pod or container below" },
	{ "", "", -ENOENT, "is no pod or container below" },
	{ "", "/run/netns/gone", -ENOENT, "/run/netns/gone: No such file" },
	{ "", "4000000000", -ENOENT, "is no pod or container below" },
	{ "mkdir %1$s/pods/dead", "dead", -ESRCH, "pod dead has ended" },
	{ "mkdir %1$s/pods/dead && echo '{\"pod\":\"dead\"}' > %1$s/containers/c.json", "c", -ESRCH,
	  "pod dead has ended" },
	{ "echo '{\"pod\":\"gone\"}' > %1$s/containers/c.json", "c", -ESRCH, "its pod gone has ended" },
	{ "echo '{\"pod\":\"../web-0\"}' > %1$s/containers/c.json", "c", -EINVAL, "damaged record" },
	{ "echo '{\"pod\":7}' > %1$s/containers/c.json", "c", -EINVAL, "/pod" },
	{ "echo '{' > %1$s/containers/c.json", "c", -EINVAL, "container c: state" },
	{ "ip netns add web-0", "web-0", -ENOTUNIQ, "is a pod and a container and a named network namespace" },
	{ "ip netns add %2$d", "PARENT", -ENOTUNIQ, "is a named network namespace and a process" },
};

START_TEST(bad_words)
{
	char word[64];
	struct err e = { 0 };
	struct target t;

	if (*bad[_i].make) {
		_cleanup_free_ char *cmd = NULL;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		ck_assert_int_gt(asprintf(&cmd, bad[_i].make, pod.root, getppid()), 0);
#pragma GCC diagnostic pop
		kit_run("%s", cmd);
	}
	snprintf(word, sizeof(word), "%s", bad[_i].word);
	if (!strcmp(word, "PARENT"))
		snprintf(word, sizeof(word), "%d", getppid());
	ck_assert_msg(open_target(&t, word, &e) == bad[_i].rc, "%s", e.text);
	ck_assert_msg(strstr(e.text, bad[_i].text) != NULL, "%s", e.text);
	ck_assert_int_eq(t.netns_fd, -1);
	target_close(&t);
}
END_TEST

START_TEST(options)
{
	static const struct { const char *arg[5]; int rc; const char *text; } rows[] = {
		{ { "web-0", "--json" }, 0, NULL },
		{ { "--json", "web-0" }, 0, NULL },
		{ { "web-0", "nginx" }, -EINVAL, "unknown argument" },
		{ { "web-0", "--pid", "1" }, -EINVAL, "exclude each other" },
		{ { "--netns", "/x", "--pid=1" }, -EINVAL, "exclude each other" },
		{ { "web-0", "--frob" }, -EINVAL, "unknown option" },
		{ { "--pid", "x" }, -EINVAL, "is not a number" },
	};
	char *argv[6] = { (char[]){ "show" } };
	struct target t = TARGET_INIT;
	const struct opt table[] = { TARGET_OPTIONS(t), OPT_END };
	struct err e = { 0 };
	int n = 1;

	for (; n < 6 && rows[_i].arg[n - 1]; n++)
		argv[n] = (char *)(uintptr_t)rows[_i].arg[n - 1];
	ck_assert_int_eq(target_parse(table, &t, n, argv, "", &e), rows[_i].rc);
	if (rows[_i].text)
		ck_assert_msg(strstr(e.text, rows[_i].text) != NULL, "%s", e.text);
	else
		ck_assert(t.json && !strcmp(t.word, "web-0"));
}
END_TEST

Suite *netplug_target_suite(void)
{
	Suite *s = suite_create("netplug_target");
	TCase *t = tcase_create("target");
	const char *missing = kit_net_missing(false);

	if (missing) {
		kit_skip("netplug_target", missing);
		return s;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, by_each_name, 0, 7);
	tcase_add_test(t, no_pod);
	tcase_add_test(t, machine_without_guest);
	tcase_add_loop_test(t, name_of_the_namespace, 0, 4);
	tcase_add_loop_test(t, bad_words, 0, ARRAY_LEN(bad));
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	t = tcase_create("options");
	tcase_add_loop_test(t, options, 0, 7);
	suite_add_tcase(s, t);
	return s;
}
