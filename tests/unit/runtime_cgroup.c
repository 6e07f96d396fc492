// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * linux.cgroupsPath to a place, tables of mounts to hierarchies, and places that are made,
 * entered, limited and taken back from the journal: in the hierarchies of version 1 that
 * this machine has, if it has them, and in one of version 2, which a machine with version 1
 * may have beside them, without controllers. Scopes of systemd's: runtime_systemd.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/cgroup.h"
#include "tests/kit/dir.h"
#include "tests/kit/kit.h"

Suite *runtime_cgroup_suite(void);

#define ROOT CGROUP_ROOT
#define LONG "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- names -------------------------------------------------------------------------- */
static const struct {
	const char *path;
	bool systemd;
	int rc;
	const char *text;
} refused[] = {
	{ "system.slice:crio:abc", false, -ENOTSUP, "--systemd-cgroup" },
	{ ":cri-containerd:abc", false, -ENOTSUP, "--systemd-cgroup" },
	{ "..", false, -EINVAL, "'..'" },
	{ "/..", false, -EINVAL, "'..'" },
	{ "../x", false, -EINVAL, "'..'" },
	{ "/../x", false, -EINVAL, "'..'" },
	{ "/a/../../x", false, -EINVAL, "'..'" },
	{ "/a/..", false, -EINVAL, "'..'" },
	{ "//..//x", false, -EINVAL, "'..'" },
	{ "/...a/..", false, -EINVAL, "'..'" },
	{ "/kubepods/pod1/c", true, -EINVAL, "it is SLICE:PREFIX:NAME" },
	{ "a.slice:b", true, -EINVAL, "it is SLICE:PREFIX:NAME" },
	{ "a.slice:b:c:d", true, -EINVAL, "it is SLICE:PREFIX:NAME" },
	{ "a/b.slice:p:n", true, -EINVAL, "it is SLICE:PREFIX:NAME" },
	{ "a.slice:p:", true, -EINVAL, "no name behind its last colon" },
	{ "a.slice:p:n.slice", true, -EINVAL, "is a slice, which holds no process" },
	{ "a.scope:p:n", true, -EINVAL, "is no slice: it must end in .slice" },
	{ ".slice:p:n", true, -EINVAL, "is no slice: it must end in .slice" },
	{ "-a.slice:p:n", true, -EINVAL, "a part of its name is empty" },
	{ "a-.slice:p:n", true, -EINVAL, "a part of its name is empty" },
	{ "a--b.slice:p:n", true, -EINVAL, "a part of its name is empty" },
	{ "a b.slice:p:n", true, -EINVAL, "a unit's name has letters" },
	{ "a.slice:p:n\n", true, -EINVAL, "a unit's name has letters" },
	{ "a.slice:p+q:n", true, -EINVAL, "a unit's name has letters" },
	{ "a.slice:" LONG LONG ":" LONG LONG, true, -ENAMETOOLONG, "too long" },
	{ LONG LONG LONG LONG ".slice:p:n", true, -ENAMETOOLONG, "too long" },
};

START_TEST(refused_path)
{
	struct cgroup c = { .path = "old" };
	struct err e = { 0 };

	ck_assert_msg(cgroup_of_container(refused[_i].path, "id", refused[_i].systemd, &c, &e) ==
		      refused[_i].rc, "%s: %s", refused[_i].path, e.text);
	ck_assert_msg(strstr(e.text, "/linux/cgroupsPath: "), "%s", e.text);
	ck_assert_msg(strstr(e.text, refused[_i].text), "%s", e.text);
	ck_assert_int_eq(cgroup_of_pod(refused[_i].path, "p", refused[_i].systemd, &c, &e),
			 refused[_i].rc);
	ck_assert_str_eq(c.path, "old");
}
END_TEST

static const struct {
	const char *path;
	bool systemd;
	const char *container, *unit, *slice, *pod;
} good[] = {
	{ NULL, false, "/podvm/id", "", "", "/podvm/podvm-p+q" },
	{ "", false, "/podvm/id", "", "", "/podvm/podvm-p+q" },
	{ "/kubepods/pod1/c", false, "/kubepods/pod1/c", "", "", "/kubepods/pod1/podvm-p+q" },
	{ "kubepods/c", false, "/kubepods/c", "", "", "/kubepods/podvm-p+q" },
	{ "///c", false, "/c", "", "", "/podvm-p+q" },
	{ "/..a/b../...", false, "/..a/b../...", "", "", "/..a/b../podvm-p+q" },
	{ "/a:b", false, "/a:b", "", "", "/podvm-p+q" },
	{ NULL, true, "/system.slice/podvm-id.scope", "podvm-id.scope", "system.slice",
	  "/system.slice/podvmpod-p\\x2bq.scope" },
	{ ":crio:abc", true, "/system.slice/crio-abc.scope", "crio-abc.scope", "system.slice",
	  "/system.slice/podvmpod-p\\x2bq.scope" },
	{ "kubepods-burstable-pod1_2.slice:cri-containerd:c", true,
	  "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-c.scope",
	  "cri-containerd-c.scope", "kubepods-burstable-pod1_2.slice",
	  "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/podvmpod-p\\x2bq.scope" },
	{ "machine.slice::n", true, "/machine.slice/n.scope", "n.scope", "machine.slice",
	  "/machine.slice/podvmpod-p\\x2bq.scope" },
	{ "-.slice:p:n", true, "/p-n.scope", "p-n.scope", "-.slice", "/podvmpod-p\\x2bq.scope" },
};

START_TEST(good_path)
{
	struct err e = { 0 };
	struct cgroup c;

	ck_assert_msg(!cgroup_of_container(good[_i].path, "id", good[_i].systemd, &c, &e), "%s",
		      e.text);
	ck_assert_str_eq(c.path, good[_i].container);
	ck_assert_str_eq(c.unit, good[_i].unit);
	ck_assert_str_eq(c.slice, good[_i].slice);
	ck_assert(!c.begun);
	ck_assert_msg(!cgroup_of_pod(good[_i].path, "p+q", good[_i].systemd, &c, &e), "%s", e.text);
	ck_assert_str_eq(c.path, good[_i].pod);
	ck_assert_str_eq(c.slice, good[_i].slice);
	ck_assert(!good[_i].systemd == !c.unit[0]);
}
END_TEST

/* A pod's id may be 128 bytes, each of which may have to be written as four. */
START_TEST(long_names)
{
	char path[2 * PATH_MAX], pod[129];
	struct err e = { 0 };
	struct cgroup c;

	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	ck_assert_int_eq(cgroup_of_container(path, "id", false, &c, &e), -ENAMETOOLONG);
	path[PATH_MAX - 3] = 0;
	ck_assert_int_eq(cgroup_of_container(path, "id", false, &c, &e), 0);
	path[PATH_MAX - 5] = '/';
	ck_assert_int_eq(cgroup_of_pod(path, "pod", false, &c, &e), -ENAMETOOLONG);
	memset(pod, 'p', sizeof(pod) - 1);
	pod[sizeof(pod) - 1] = 0;
	ck_assert_int_eq(cgroup_of_pod(NULL, pod, true, &c, &e), 0);
	memset(pod, '+', sizeof(pod) - 1);
	ck_assert_int_eq(cgroup_of_pod(NULL, pod, true, &c, &e), -ENAMETOOLONG);
}
END_TEST

static const struct {
	uint64_t shares, weight;
} weights[] = { { 0, 0 }, { 1, 1 }, { 2, 1 }, { 1024, 39 }, { 262144, 10000 },
		{ UINT64_MAX, 10000 } };

START_TEST(weight)
{
	ck_assert_uint_eq(cgroup_weight(weights[_i].shares), weights[_i].weight);
}
END_TEST

/* ---- hierarchies ---------------------------------------------------------------------- */
#define LINE(n, dir, options) n " 25 0:30 / " dir " rw,nosuid shared:9 - cgroup cgroup rw," options "\n"

static const struct {
	const char *mountinfo;
	int rc;
	const char *found;	/* "dir=controllers " of each */
} mounts[] = {
	{ "", -ENOTSUP, "" },
	{ "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", -ENOTSUP, "" },
	{ LINE("30", ROOT "/cpu,cpuacct", "cpu,cpuacct"), 0, ROOT "/cpu,cpuacct=cpu,cpuacct " },
	{ LINE("30", ROOT "/memory", "memory") LINE("31", ROOT "/devices", "devices")
	  LINE("32", ROOT "/perf_event", "perf_event") LINE("33", ROOT "/pids", "pids"), 0,
	  ROOT "/memory=memory " ROOT "/pids=pids " },
	{ LINE("30", ROOT "/systemd", "xattr,name=systemd")
	  "34 25 0:26 / " ROOT "/unified rw - cgroup2 cgroup2 rw\n", 0,
	  ROOT "/systemd=name=systemd " },
	{ LINE("30", ROOT "/memory", "memory") LINE("31", ROOT "/memory", "memory"), 0,
	  ROOT "/memory=memory " },
	{ LINE("30", "/mnt/memory", "memory") LINE("31", ROOT, "pids"), -ENOTSUP, "" },
	{ LINE("30", ROOT "/other", "name=other") LINE("31", ROOT "/x", "cpux,xcpu"), -ENOTSUP, "" },
	{ " - cgroup \n - cgroup cgroup rw,cpu\n1 - cgroup c rw,cpu\n", -ENOTSUP, "" },
	{ LINE("30", ROOT "/" LONG, "memory"), -E2BIG, "" },
	{ LINE("1", ROOT "/1", "cpu") LINE("1", ROOT "/2", "cpu") LINE("1", ROOT "/3", "cpu")
	  LINE("1", ROOT "/4", "cpu") LINE("1", ROOT "/5", "cpu") LINE("1", ROOT "/6", "cpu")
	  LINE("1", ROOT "/7", "cpu") LINE("1", ROOT "/8", "cpu") LINE("1", ROOT "/9", "cpu")
	  LINE("1", ROOT "/a", "cpu") LINE("1", ROOT "/b", "cpu") LINE("1", ROOT "/c", "cpu")
	  LINE("1", ROOT "/d", "cpu") LINE("1", ROOT "/e", "cpu") LINE("1", ROOT "/f", "cpu")
	  LINE("1", ROOT "/g", "cpu") LINE("1", ROOT "/h", "cpu"), -E2BIG, "" },
};

START_TEST(hierarchies)
{
	struct cgroup_host h = { .n = 0 };
	char found[2048] = "", *text = strdup(mounts[_i].mountinfo);
	struct err e = { 0 };
	size_t i;

	ck_assert_msg(cgroup_host_parse(text, &h, &e) == mounts[_i].rc, "%s", e.text);
	for (i = 0; i < h.n; i++)
		snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s=%s ", h.h[i].dir,
			 h.h[i].controllers);
	ck_assert_str_eq(found, mounts[_i].found);
	ck_assert(!h.unified);
	free(text);
}
END_TEST

START_TEST(controllers)
{
	struct cgroup_host h = { .n = 2, .h = { { "/a", "cpu,cpuacct" }, { "/b", "name=systemd" } } };

	ck_assert_str_eq(cgroup_host_find(&h, "cpu")->dir, "/a");
	ck_assert_str_eq(cgroup_host_find(&h, "cpuacct")->dir, "/a");
	ck_assert_str_eq(cgroup_host_find(&h, "name=systemd")->dir, "/b");
	ck_assert_ptr_null(cgroup_host_find(&h, "cpus"));
	ck_assert_ptr_null(cgroup_host_find(&h, "memory"));
}
END_TEST

/* ---- journal ---------------------------------------------------------------------------- */
START_TEST(undo_refuses)
{
	static const struct journal_rec bad[] = {
		{ { "cgroup" }, 1 },
		{ { "cgroup", "" }, 2 },
		{ { "cgroup", "/" }, 2 },
		{ { "cgroup", "/tmp" }, 2 },
		{ { "cgroup", ROOT }, 2 },
		{ { "cgroup", ROOT "x/y" }, 2 },
		{ { "cgroup", ROOT "/.." }, 2 },
		{ { "cgroup", ROOT "/../../../tmp/x" }, 2 },
		{ { "cgroup", ROOT "/a", "b" }, 3 },
		{ { "scope" }, 1 },
		{ { "scope", "" }, 2 },
		{ { "scope", "a.scope", "b" }, 3 },
	};
	struct err e = { 0 };
	bool busy = false;

	ck_assert_int_eq(cgroup_undo(&bad[_i], &busy, &e), -EINVAL);
	ck_assert(str_starts(e.text, "journal: damaged ") && strstr(e.text, bad[_i].word[0]));
}
END_TEST

START_TEST(undo_is_idempotent)
{
	const struct journal_rec r = { { "cgroup", ROOT "/podvm-none/x" }, 2 };
	struct err e = { 0 };
	bool busy = false;

	ck_assert_int_eq(cgroup_undo(&r, &busy, &e), 0);
	ck_assert_int_eq(cgroup_undo(&r, &busy, &e), 0);
	ck_assert(!busy);
}
END_TEST

/* On any file system: what has content stays. */
START_TEST(remove_leaves_what_is_used)
{
	struct err e = { 0 };

	ck_assert(!mkdir("a", 0700) && !mkdir("a/b", 0700));
	ck_assert_int_eq(cgroup_remove("a", true, &e), CGROUP_PARENT);
	ck_assert_int_eq(access("a/b", F_OK), 0);
	kit_put("a/b/cgroup.procs", "17\n4711\n");
	ck_assert_int_eq(cgroup_remove("a/b", false, &e), CGROUP_BUSY);
	ck_assert_str_eq(e.text, "cgroup a/b: still has processes: 17 4711");
	ck_assert(!unlink("a/b/cgroup.procs"));
	ck_assert_int_eq(cgroup_remove("a/b", false, &e), 0);
	ck_assert_int_eq(cgroup_remove("a", true, &e), 0);
	ck_assert_uint_eq(kit_count("."), 0);
	kit_put("f", "x");
	ck_assert_int_eq(cgroup_remove("f", true, &e), -ENOTDIR);
}
END_TEST

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	bool mine = false;

	return cgroup_undo(r, arg ? arg : &mine, e);
}

/* ---- life --------------------------------------------------------------------------------- */
/* Hosts that can be tried here: version 1, and 2. */
static struct cgroup_host hosts[2];

static void find_hosts(void)
{
	struct cgroup_host h;
	struct statfs st;

	memset(hosts, 0, sizeof(hosts));
	if (!cgroup_host_read(&h, NULL))
		hosts[h.unified] = h;
	if (!hosts[1].n && !statfs(ROOT "/unified", &st) && st.f_type == 0x63677270)
		hosts[1] = (struct cgroup_host){ .unified = true, .n = 1,
						 .h = { { .dir = ROOT "/unified" } } };
	for (size_t i = 0; i < 2; i++)
		if (hosts[i].n && access(hosts[i].h[0].dir, W_OK) < 0)
			hosts[i].n = 0;
}

/* In how many hierarchies a place is. */
static size_t places(const struct cgroup_host *h, const char *path)
{
	char dir[PATH_MAX + 128];
	size_t i, n = 0;

	for (i = 0; i < h->n; i++) {
		snprintf(dir, sizeof(dir), "%s%s", h->h[i].dir, path);
		n += !access(dir, F_OK);
	}
	return n;
}

/* Whether a process is there, in every hierarchy. */
static bool all_in(const struct cgroup_host *h, const char *path, pid_t pid)
{
	char name[PATH_MAX + 128], want[32];
	size_t i;

	snprintf(want, sizeof(want), "%d\n", pid);
	for (i = 0; i < h->n; i++) {
		snprintf(name, sizeof(name), "%s%s/cgroup.procs", h->h[i].dir, path);
		char *text = kit_get(name);
		bool there = strstr(text, want) != NULL;

		free(text);
		if (!there)
			return false;
	}
	return true;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static const char *name_here(const char *below)
{
	static char path[200];

	snprintf(path, sizeof(path), "/podvm-unit-%d%s", getpid(), below);
	return path;
}

/* From beginning to end while the pod lives, then the end of the pod. */
START_TEST(comes_and_goes)
{
	const struct cgroup_host *h = &hosts[_i];
	struct cgroup c, other;
	struct journal *j = NULL;
	struct err e = { 0 };
	size_t full;
	pid_t pid;
	int i;

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_int_eq(cgroup_of_container(name_here("/a/b"), "id", false, &c, &e), 0);
	other = c;
	strcpy(strrchr(other.path, '/'), "/other");
	ck_assert_msg(!cgroup_begin(h, &other, "x", 1, 0, j, &e), "%s", e.text);
	full = journal_mark(j);
	for (i = 0; i < 3; i++) {
		ck_assert_msg(!cgroup_begin(h, &c, "x", 1, 0, j, &e), "%s", e.text);
		ck_assert_uint_eq(places(h, c.path), h->n);
		pid = sleeper();
		ck_assert_msg(!cgroup_enter(h, c.path, pid, &e), "%s", e.text);
		ck_assert(all_in(h, c.path, pid));
		ck_assert_int_eq(cgroup_enter(h, c.path, 0x7fffffff, &e), -ESRCH);
		end(pid);
		ck_assert_msg(!cgroup_end(&c, j, &e), "%s", e.text);
		ck_assert_int_eq(cgroup_end(&c, j, &e), 0);
		ck_assert_uint_eq(places(h, c.path), 0);
		ck_assert_uint_eq(journal_mark(j), full); /* nothing adds up */
	}
	ck_assert_uint_eq(places(h, other.path), h->n);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_uint_eq(places(h, name_here("")), 0);
	journal_free(j);
}
END_TEST

/* Who was killed leaves it some time later, at any point of a removal. */
START_TEST(dying)
{
	const struct cgroup_host *h = &hosts[_i];
	struct journal *j = NULL;
	struct err e = { 0 };
	int i;

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	for (i = 0; i < 60; i++) {
		pid_t pid = sleeper();

		ck_assert_msg(!cgroup_make(h, name_here("/a"), j, NULL, &e), "%s", e.text);
		ck_assert_msg(!cgroup_enter(h, name_here("/a"), pid, &e), "%s", e.text);
		kill(pid, SIGKILL);
		ck_assert_msg(!journal_undo(j, undo, NULL, &e), "%s", e.text);
		ck_assert_uint_eq(places(h, name_here("")), 0);
		waitpid(pid, NULL, 0);
	}
	journal_free(j);
}
END_TEST

/*
 * Who is in it does not leave it: it stays with its parents, and so do their records; what
 * is beside it goes, and the rest when the process has ended.
 */
START_TEST(busy)
{
	const struct cgroup_host *h = &hosts[_i];
	struct journal *j = NULL;
	struct err e = { 0 };
	bool in_use = false;
	pid_t pid = sleeper();

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_msg(!cgroup_make(h, name_here("/a/b"), j, NULL, &e), "%s", e.text);
	ck_assert_msg(!cgroup_make(h, name_here("/c"), j, NULL, &e), "%s", e.text);
	ck_assert_msg(!cgroup_enter(h, name_here("/a/b"), pid, &e), "%s", e.text);
	ck_assert_int_eq(journal_undo(j, undo, &in_use, &e), 1);
	ck_assert(in_use && strstr(e.text, name_here("")));
	ck_assert_uint_eq(places(h, name_here("/a/b")), h->n);
	ck_assert_uint_eq(places(h, name_here("/c")), 0);
	end(pid);
	in_use = false;
	ck_assert_msg(!journal_undo(j, undo, &in_use, &e), "%s", e.text);
	ck_assert_uint_eq(places(h, name_here("")), 0);
	ck_assert_uint_eq(journal_mark(j), 0);
	journal_free(j);
}
END_TEST

/* The same of a container's place while its pod lives on. */
START_TEST(ends_busy)
{
	const struct cgroup_host *h = &hosts[_i];
	struct journal *j = NULL;
	char want[24], *at;
	struct err e = { 0 };
	struct cgroup c;
	pid_t pid = sleeper();

	snprintf(want, sizeof(want), "processes: %d", pid);
	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_int_eq(cgroup_of_container(name_here("/a"), "id", false, &c, &e), 0);
	ck_assert_msg(!cgroup_begin(h, &c, "x", 1, 0, j, &e), "%s", e.text);
	ck_assert_msg(!cgroup_enter(h, c.path, pid, &e), "%s", e.text);
	ck_assert_int_eq(cgroup_end(&c, j, &e), 1);
	at = strstr(e.text, want);
	ck_assert_msg(at && !at[strlen(want)], "%s", e.text);
	ck_assert_uint_eq(places(h, c.path), h->n);
	end(pid);
	ck_assert_msg(!journal_undo(j, undo, NULL, &e), "%s", e.text);
	ck_assert_uint_eq(places(h, name_here("")), 0);
	journal_free(j);
}
END_TEST

START_TEST(others_stay)
{
	const struct cgroup_host *h = &hosts[_i];
	char inner[PATH_MAX + 128];
	struct journal *j = NULL;
	struct err e = { 0 };
	size_t i;

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_msg(!cgroup_make(h, name_here("/a/b"), j, NULL, &e), "%s", e.text);
	snprintf(inner, sizeof(inner), "%s%s/other", h->h[0].dir, name_here("/a/b"));
	ck_assert_int_eq(mkdir(inner, 0755), 0);
	ck_assert_msg(!journal_undo(j, undo, NULL, &e), "%s", e.text);
	ck_assert_int_eq(access(inner, F_OK), 0);
	ck_assert_uint_eq(places(h, name_here("")), 1);
	for (i = 0; i < 4; i++, *strrchr(inner, '/') = 0)
		ck_assert_int_eq(rmdir(inner), 0);
	journal_free(j);
}
END_TEST

/* A journal as one that was killed in the middle leaves it: undo removes what was made. */
START_TEST(cut_in_the_middle)
{
	const struct cgroup_host *h = &hosts[_i];
	char dir[PATH_MAX + 128];
	struct journal *j = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	snprintf(dir, sizeof(dir), "%s%s", h->h[0].dir, name_here(""));
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	ck_assert_int_eq(journal_add(j, &e, "cgroup", dir, NULL), 0);
	snprintf(dir, sizeof(dir), "%s%s", h->h[0].dir, name_here("/never"));
	ck_assert_int_eq(journal_add(j, &e, "cgroup", dir, NULL), 0);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_uint_eq(places(h, name_here("")), 0);
	journal_free(j);
}
END_TEST

static void read_file(const struct cgroup_host *h, const char *controller, const char *path,
		      const char *file, char text[64])
{
	const struct cgroup_hierarchy *in = cgroup_host_find(h, controller);
	char name[PATH_MAX + 128];
	char *all;

	snprintf(name, sizeof(name), "%s%s/%s", in->dir, path, file);
	all = kit_get(name);
	snprintf(text, 64, "%s", all);
	free(all);
}

static void read_limit(const struct cgroup_host *h, const char *controller, const char *file,
		       char text[64])
{
	read_file(h, controller, name_here("/a"), file, text);
}

/* Version 1, whose controllers are here if it is. */
START_TEST(limits)
{
	const struct cgroup_host *h = &hosts[0];
	struct journal *j = NULL;
	struct err e = { 0 };
	struct cgroup c;
	char text[64];

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_int_eq(cgroup_of_container(name_here("/a"), "id", false, &c, &e), 0);
	ck_assert_msg(!cgroup_begin(h, &c, "x", 1, 512, j, &e), "%s", e.text);
	if (cgroup_host_find(h, "cpu")) {
		read_limit(h, "cpu", "cpu.shares", text);
		ck_assert_str_eq(text, "512\n");
	}
	if (cgroup_host_find(h, "memory")) {
		ck_assert_msg(!cgroup_set(h, c.path, "memory.max", "memory.limit_in_bytes",
					  64 << 20, &e), "%s", e.text);
		read_limit(h, "memory", "memory.limit_in_bytes", text);
		ck_assert_str_eq(text, "67108864\n");
	}
	ck_assert_int_eq(cgroup_set(h, c.path, "x.max", "x.max", 1, &e), -ENOENT);
	ck_assert_str_eq(e.text, "cgroup: no controller x on this host");
	ck_assert_msg(!cgroup_end(&c, j, &e), "%s", e.text);
	journal_free(j);
}
END_TEST

/* Version 2 without controllers, or with them: the limit holds, or is said to be missing. */
START_TEST(limits_unified)
{
	const struct cgroup_host *h = &hosts[1];
	struct journal *j = NULL;
	struct err e = { 0 };
	struct cgroup c;
	int rc;

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_int_eq(cgroup_of_container(name_here("/a"), "id", false, &c, &e), 0);
	ck_assert_msg(!cgroup_begin(h, &c, "x", 1, 512, j, &e), "%s", e.text);
	rc = cgroup_set(h, c.path, "memory.max", "memory.limit_in_bytes", 64 << 20, &e);
	ck_assert(!rc || rc == -ENOENT);
	ck_assert_msg(!cgroup_end(&c, j, &e), "%s", e.text);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_uint_eq(places(h, name_here("")), 0);
	journal_free(j);
}
END_TEST

/* Processors: those of the parent until some are set, and again when none are. */
START_TEST(lists)
{
	const struct cgroup_host *h = &hosts[_i];
	struct cgroup c = { 0 };
	char before[64], text[64];
	struct journal *j = NULL;
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_int_eq(cgroup_of_container(name_here("/a"), "id", false, &c, &e), 0);
	ck_assert_msg(!cgroup_begin(h, &c, "x", 1, 0, j, &e), "%s", e.text);
	cgroup_enable(h, name_here(""), "cpuset", true);
	rc = cgroup_set_list(h, c.path, "cpuset.cpus", "0", &e);
	/* A controller that is another hierarchy's cannot be had here. */
	ck_assert_msg(!rc || rc == -ENOENT, "%s", e.text);
	if (!rc) {
		read_limit(h, "cpuset", "cpuset.cpus", text);
		ck_assert_str_eq(text, "0\n");
		ck_assert_int_lt(cgroup_set_list(h, c.path, "cpuset.cpus", "1023", &e), 0);
		read_limit(h, "cpuset", "cpuset.cpus", text);
		ck_assert_str_eq(text, "0\n");
		ck_assert_msg(!cgroup_set_list(h, c.path, "cpuset.cpus", "", &e), "%s", e.text);
		read_limit(h, "cpuset", "cpuset.cpus", text);
		read_file(h, "cpuset", name_here(""), "cpuset.cpus", before);
		ck_assert_str_eq(text, h->unified ? "\n" : before);
	}
	ck_assert_int_eq(cgroup_set_list(h, c.path, "x.cpus", "0", &e), -ENOENT);
	ck_assert_msg(!cgroup_end(&c, j, &e), "%s", e.text);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	journal_free(j);
}
END_TEST

/* As container engines may do: clone3() is not there. */
static void hide_clone3(void)
{
	struct sock_filter f[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_clone3 },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	struct sock_fprog p = { .len = ARRAY_LEN(f), .filter = f };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p), 0);
}

/* A process is born in its cgroup of version 2, or moves there where it cannot be. */
START_TEST(born_inside)
{
	char text[1024] = "", want[240];
	char *argv[] = { (char *)(uintptr_t)"cat", (char *)(uintptr_t)"/proc/self/cgroup", NULL };
	struct proc_fd map = { .child = 1 };
	struct proc_spec s = { .path = "/bin/cat", .argv = argv, .fds = &map, .n_fds = 1 };
	int pidfd = -1, status, p[2];
	struct journal *j = NULL;
	struct err e = { 0 };

	snprintf(want, sizeof(want), "0::%s\n", name_here(""));
	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_msg(!cgroup_make(&hosts[1], name_here(""), j, NULL, &e), "%s", e.text);
	ck_assert_int_eq(cgroup_open(&hosts[1], name_here(""), &s.cgroup_fd, &e), 0);
	ck_assert_int_eq(pipe(p), 0);
	map.fd = p[1];
	if (_i)
		hide_clone3();
	ck_assert_msg(!proc_spawn(&s, NULL, &pidfd, &e), "%s", e.text);
	ck_assert_int_eq(proc_wait(pidfd, 10000, &status, &e), 0);
	ck_assert_int_gt(read(p[0], text, sizeof(text) - 1), 0);
	ck_assert_msg(strstr(text, want) != NULL, "%s", text);
	close(s.cgroup_fd);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	journal_free(j);
}
END_TEST

/* What is no cgroup is an error, and leaves no process. */
START_TEST(not_a_cgroup)
{
	char *argv[] = { (char *)(uintptr_t)"true", NULL };
	struct proc_spec s = { .path = "/bin/true", .argv = argv };
	struct err e = { 0 };
	int pidfd = -1;

	s.cgroup_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (_i)
		hide_clone3();
	ck_assert_int_lt(proc_spawn(&s, NULL, &pidfd, &e), 0);
	ck_assert_msg(strstr(e.text, "cgroup") != NULL, "%s", e.text);
	ck_assert_int_eq(pidfd, -1);
	ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
	ck_assert_int_eq(errno, ECHILD);
	close(s.cgroup_fd);
}
END_TEST

Suite *runtime_cgroup_suite(void)
{
	Suite *s = suite_create("runtime_cgroup");
	TCase *t = tcase_create("cgroup");
	int i;

	tcase_add_checked_fixture(t, kit_dir_enter, kit_dir_leave);
	tcase_add_loop_test(t, refused_path, 0, ARRAY_LEN(refused));
	tcase_add_loop_test(t, good_path, 0, ARRAY_LEN(good));
	tcase_add_test(t, long_names);
	tcase_add_loop_test(t, weight, 0, ARRAY_LEN(weights));
	tcase_add_loop_test(t, hierarchies, 0, ARRAY_LEN(mounts));
	tcase_add_test(t, controllers);
	tcase_add_loop_test(t, undo_refuses, 0, 12);
	tcase_add_test(t, undo_is_idempotent);
	tcase_add_test(t, remove_leaves_what_is_used);
	tcase_add_loop_test(t, not_a_cgroup, 0, 2);
	find_hosts();
	for (i = 0; i < 2; i++) {
		if (!hosts[i].n) {
			kit_skip(i ? "runtime_cgroup/v2" : "runtime_cgroup/v1",
				 "no such hierarchy that can be written");
			continue;
		}
		tcase_add_loop_test(t, comes_and_goes, i, i + 1);
		tcase_add_loop_test(t, others_stay, i, i + 1);
		tcase_add_loop_test(t, busy, i, i + 1);
		tcase_add_loop_test(t, ends_busy, i, i + 1);
		tcase_add_loop_test(t, dying, i, i + 1);
		tcase_add_loop_test(t, cut_in_the_middle, i, i + 1);
		tcase_add_loop_test(t, lists, i, i + 1);
	}
	if (hosts[0].n)
		tcase_add_test(t, limits);
	if (hosts[1].n) {
		tcase_add_test(t, limits_unified);
		tcase_add_loop_test(t, born_inside, 0, 2);
	}
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
