// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * linux.cgroupsPath to a directory, and back from the journal. What is refused
 * by its form is refused on every host; on a host without cgroup v2 the rest
 * must be refused with the advice, on one with it the real directories are
 * made and removed.
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
#include "runtime/cgroup.h"
#include "tests/kit/dir.h"
#include "tests/kit/kit.h"

Suite *runtime_cgroup_suite(void);

#define ROOT "/sys/fs/cgroup"

static bool unified(void)
{
	struct statfs st;

	return !statfs(ROOT, &st) && st.f_type == 0x63677270;
}

static const struct {
	const char *path;
	int rc;
	const char *text;
} refused[] = {
	{ "system.slice:crio:abc", -ENOTSUP, "systemd's form" },
	{ ":cri-containerd:abc", -ENOTSUP, "systemd's form" },
	{ "..", -EINVAL, "'..'" },
	{ "/..", -EINVAL, "'..'" },
	{ "../x", -EINVAL, "'..'" },
	{ "/../x", -EINVAL, "'..'" },
	{ "/a/../../x", -EINVAL, "'..'" },
	{ "/a/..", -EINVAL, "'..'" },
	{ "//..//x", -EINVAL, "'..'" },
	{ "/...a/..", -EINVAL, "'..'" },
};

START_TEST(refused_path)
{
	char dst[PATH_MAX] = "old";
	struct err e = { 0 };

	ck_assert_msg(cgroup_of_container(refused[_i].path, "id", dst, sizeof(dst), &e) ==
		      refused[_i].rc, "%s", refused[_i].path);
	ck_assert_msg(strstr(e.text, "/linux/cgroupsPath: "), "%s", e.text);
	ck_assert_msg(strstr(e.text, refused[_i].text), "%s", e.text);
	ck_assert_int_eq(cgroup_of_pod(refused[_i].path, "p", dst, sizeof(dst), &e),
			 refused[_i].rc);
	ck_assert_str_eq(dst, "old");
}
END_TEST

static const struct {
	const char *path, *container, *pod;
} good[] = {
	{ NULL, ROOT "/podvm/id", ROOT "/podvm/podvm-p" },
	{ "", ROOT "/podvm/id", ROOT "/podvm/podvm-p" },
	{ "/kubepods/pod1/c", ROOT "/kubepods/pod1/c", ROOT "/kubepods/pod1/podvm-p" },
	{ "kubepods/c", ROOT "/kubepods/c", ROOT "/kubepods/podvm-p" },
	{ "///c", ROOT "/c", ROOT "/podvm-p" },
	{ "/..a/b../...", ROOT "/..a/b../...", ROOT "/..a/b../podvm-p" },
};

START_TEST(good_path)
{
	char dst[PATH_MAX];
	struct err e = { 0 };
	int rc = cgroup_of_container(good[_i].path, "id", dst, sizeof(dst), &e);

	if (!unified()) {
		ck_assert_int_eq(rc, -ENOTSUP);
		ck_assert_str_eq(e.text, ROOT " is not a cgroup v2 hierarchy, which podvm needs; "
					 "boot with systemd.unified_cgroup_hierarchy=1");
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_str_eq(dst, good[_i].container);
	ck_assert_int_eq(cgroup_of_pod(good[_i].path, "p", dst, sizeof(dst), &e), 0);
	ck_assert_str_eq(dst, good[_i].pod);
	ck_assert_int_eq(cgroup_of_monitor(good[_i].pod, dst, sizeof(dst), &e), 0);
	ck_assert_str_eq(dst + strlen(good[_i].pod), "-vmm");
	ck_assert_int_eq(cgroup_of_monitor(good[_i].pod, dst, strlen(good[_i].pod) + 4, &e),
			 -ENAMETOOLONG);
	ck_assert_int_eq(cgroup_of_container(good[_i].path, "id", dst,
					     strlen(good[_i].container), &e), -ENAMETOOLONG);
}
END_TEST

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
	};
	struct err e = { 0 };

	ck_assert_int_eq(cgroup_undo(&bad[_i], &e), -EINVAL);
	ck_assert_str_eq(e.text, "journal: damaged cgroup record");
}
END_TEST

START_TEST(undo_is_idempotent)
{
	const struct journal_rec r = { { "cgroup", ROOT "/podvm-none/x" }, 2 };
	struct err e = { 0 };

	ck_assert_int_eq(cgroup_undo(&r, &e), 0);
	ck_assert_int_eq(cgroup_undo(&r, &e), 0);
}
END_TEST

/* On any file system: what has content is somebody else's, and stays. */
START_TEST(remove_leaves_what_is_used)
{
	struct err e = { 0 };

	ck_assert(!mkdir("a", 0700) && !mkdir("a/b", 0700));
	ck_assert_int_eq(cgroup_remove("a", &e), 0);
	ck_assert_int_eq(access("a/b", F_OK), 0);
	ck_assert_int_eq(cgroup_remove("a/b", &e), 0);
	ck_assert_int_eq(cgroup_remove("a", &e), 0);
	ck_assert_uint_eq(kit_count("."), 0);
	kit_put("f", "x");
	ck_assert_int_eq(cgroup_remove("f", &e), -ENOTDIR);
	ck_assert_int_eq(cgroup_enter("none", 0, &e), -ENOENT);
}
END_TEST

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return cgroup_undo(r, e);
}

START_TEST(real_life)
{
	char dst[PATH_MAX], path[64], inner[PATH_MAX];
	struct journal *j = NULL;
	struct err e = { 0 };
	pid_t pid;

	snprintf(path, sizeof(path), "/podvm-unit-%d/a/b", getpid());
	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_int_eq(cgroup_of_container(path, "id", dst, sizeof(dst), &e), 0);
	ck_assert_msg(!cgroup_make(dst, j, &e), "%s", e.text);
	ck_assert_int_eq(cgroup_make(dst, j, &e), 0);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	ck_assert_msg(!cgroup_enter(dst, pid, &e), "%s", e.text);
	ck_assert_int_eq(cgroup_enter(dst, 0x7fffffff, &e), -ESRCH);
	/* A directory of somebody else's below ours: both stay. */
	snprintf(inner, sizeof(inner), "%.100s/other", dst);
	ck_assert_int_eq(mkdir(inner, 0755), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ck_assert_msg(!journal_undo(j, undo, NULL, &e), "%s", e.text);
	ck_assert_int_eq(access(inner, F_OK), 0);
	for (; strlen(inner) > strlen(ROOT); *strrchr(inner, '/') = 0)
		ck_assert_int_eq(rmdir(inner), 0);
	ck_assert_int_eq(cgroup_make(dst, j, &e), 0);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_int_ne(access(dst, F_OK), 0);
	*strrchr(dst, '/') = 0;
	*strrchr(dst, '/') = 0;
	ck_assert_int_ne(access(dst, F_OK), 0);
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

/* A process is born in its cgroup, or moves there where it cannot be. */
START_TEST(born_inside)
{
	char dst[PATH_MAX], path[64], text[256] = "", want[80];
	char *argv[] = { (char *)(uintptr_t)"cat", (char *)(uintptr_t)"/proc/self/cgroup", NULL };
	struct proc_fd map = { .child = 1 };
	struct proc_spec s = { .path = "/bin/cat", .argv = argv, .fds = &map, .n_fds = 1 };
	int pidfd = -1, status, p[2];
	struct journal *j = NULL;
	struct err e = { 0 };

	snprintf(path, sizeof(path), "/podvm-unit-%d", getpid());
	snprintf(want, sizeof(want), "0::%s\n", path);
	ck_assert_int_eq(journal_open(AT_FDCWD, "j", &j, &e), 0);
	ck_assert_int_eq(cgroup_of_container(path, "id", dst, sizeof(dst), &e), 0);
	ck_assert_msg(!cgroup_make(dst, j, &e), "%s", e.text);
	ck_assert_int_eq(cgroup_open(dst, &s.cgroup_fd, &e), 0);
	ck_assert_int_eq(pipe(p), 0);
	map.fd = p[1];
	if (_i)
		hide_clone3();
	ck_assert_msg(!proc_spawn(&s, NULL, &pidfd, &e), "%s", e.text);
	ck_assert_int_eq(proc_wait(pidfd, 10000, &status, &e), 0);
	ck_assert_int_gt(read(p[0], text, sizeof(text) - 1), 0);
	ck_assert_str_eq(text, want);
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

	tcase_add_checked_fixture(t, kit_dir_enter, kit_dir_leave);
	tcase_add_loop_test(t, refused_path, 0, ARRAY_LEN(refused));
	tcase_add_loop_test(t, good_path, 0, ARRAY_LEN(good));
	tcase_add_loop_test(t, undo_refuses, 0, 9);
	tcase_add_test(t, undo_is_idempotent);
	tcase_add_test(t, remove_leaves_what_is_used);
	tcase_add_loop_test(t, not_a_cgroup, 0, 2);
	if (!unified())
		kit_skip("runtime_cgroup/v2", ROOT " is no cgroup v2 hierarchy");
	else if (access(ROOT, W_OK) < 0)
		kit_skip("runtime_cgroup/v2", ROOT " cannot be written");
	else {
		tcase_add_test(t, real_life);
		tcase_add_loop_test(t, born_inside, 0, 2);
	}
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
