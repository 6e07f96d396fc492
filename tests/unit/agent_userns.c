// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The agent's user and time namespaces, made natively: a child makes its user namespace,
 * the test is the agent that writes the mappings and looks, as the machine's root, at
 * what the child does as the container's.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/userns.c"
#include "tests/kit/kit.h"

Suite *agent_userns_suite(void);

static Podvm__IdMap uid_map[] = { PODVM__ID_MAP__INIT, PODVM__ID_MAP__INIT };
static Podvm__IdMap gid_map[] = { PODVM__ID_MAP__INIT };
static Podvm__IdMap *uid_maps[] = { &uid_map[0], &uid_map[1] }, *gid_maps[] = { &gid_map[0] };
static Podvm__Namespace user = PODVM__NAMESPACE__INIT, timens = PODVM__NAMESPACE__INIT,
			uts = PODVM__NAMESPACE__INIT;
static Podvm__Namespace *spaces[] = { &user, &uts, &timens };
static Podvm__ContainerCreate create = PODVM__CONTAINER_CREATE__INIT;
static char dir[64];

static void setup(void)
{
	user.type = PODVM__NAMESPACE__TYPE__USER;
	timens.type = PODVM__NAMESPACE__TYPE__TIME;
	uts.type = PODVM__NAMESPACE__TYPE__UTS;
	uid_map[0].outside = 100000;
	uid_map[0].size = 1000;
	uid_map[1].inside = 5000;
	uid_map[1].outside = 7;
	uid_map[1].size = 1;
	gid_map[0].outside = 200000;
	gid_map[0].size = 1000;
	user.uid_maps = uid_maps;
	user.n_uid_maps = 2;
	user.gid_maps = gid_maps;
	user.n_gid_maps = 1;
	create.namespaces = spaces;
	create.n_namespaces = 2;
	/* Not below TMPDIR, where the container's root may not go. */
	strcpy(dir, "/tmp/agent-userns-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert(!chmod(dir, 0777));
}

static void teardown(void)
{
	ck_assert(!dir_remove(AT_FDCWD, dir, NULL));
}

static const struct {
	uint32_t uid, gid, want_uid, want_gid;
	const char *why;
} owners[] = {
	{ 0, 0, 100000, 200000, NULL }, { 999, 999, 100999, 200999, NULL },
	{ 5000, 1, 7, 200001, NULL },
	{ 1000, 0, 0, 0, "uid 1000: not in the container's user namespace" },
	{ 5001, 0, 0, 0, "uid 5001: not in the container's user namespace" },
	{ 4294967294u, 0, 0, 0, "uid 4294967294: not in the container's user namespace" },
	{ 0, 5000, 0, 0, "gid 5000: not in the container's user namespace" },
};

START_TEST(owner)
{
	Podvm__Process p = PODVM__PROCESS__INIT;
	struct err e = { 0 };
	uint32_t uid, gid;

	p.uid = owners[_i].uid;
	p.gid = owners[_i].gid;
	ck_assert(!userns_owner(NULL, &p, &uid, &gid, &e) && uid == p.uid && gid == p.gid);
	ck_assert_int_eq(userns_owner(&user, &p, &uid, &gid, &e), owners[_i].why ? -EINVAL : 0);
	if (owners[_i].why) {
		ck_assert_str_eq(e.text, owners[_i].why);
		return;
	}
	ck_assert_uint_eq(uid, owners[_i].want_uid);
	ck_assert_uint_eq(gid, owners[_i].want_gid);
}
END_TEST

START_TEST(kept)
{
	Podvm__Namespace *copy = NULL;
	struct err e = { 0 };

	ck_assert_ptr_eq(userns_of(&create), &user);
	ck_assert_int_eq(userns_keep(&user, &copy, &e), 0);
	ck_assert_uint_eq(copy->n_uid_maps, 2);
	ck_assert_uint_eq(copy->uid_maps[1]->outside, 7);
	podvm__namespace__free_unpacked(copy, NULL);
	create.n_namespaces = 0;
	ck_assert_ptr_null(userns_of(&create));
}
END_TEST

static char step(int fd, bool tell)
{
	char c = 'x';

	return (tell ? write(fd, &c, 1) : read(fd, &c, 1)) == 1 ? c : 0;
}

/* What only the container's root can, and what it cannot. */
static int inside(int to, int from)
{
	struct err e = { 0 };
	int fd;

	if (userns_make(&create, &e) < 0)
		return 1;
	step(to, true);
	if (!step(from, false) || userns_root(&e) < 0)
		return 2;
	if (getuid() || getgid() || chdir(dir) < 0)
		return 3;
	fd = open("made", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || fchown(fd, 5000, 9) < 0)
		return 4;
	if (fchown(fd, 1000, 0) != -1 || errno != EINVAL)
		return 5;
	/* Mounts of before are locked; its own are its. */
	if (umount2("held", MNT_DETACH) != -1 || errno != EINVAL)
		return 6;
	if (mount(NULL, "held", NULL, MS_REMOUNT | MS_BIND, NULL) != -1 || errno != EPERM)
		return 7;
	if (mount("tmpfs", "held", "tmpfs", 0, NULL) < 0 || umount2("held", 0) < 0)
		return 8;
	if (sethostname("inside", 6) < 0)
		return 9;
	return 0;
}

START_TEST(root_of_its_own)
{
	_cleanup_free_ char *text = NULL;
	char held[100], path[100], name[65];
	int up[2], down[2], status;
	struct err e = { 0 };
	struct stat st;
	pid_t pid;

	snprintf(held, sizeof(held), "%s/held", dir);
	ck_assert(!mkdir(held, 0755) && !unshare(CLONE_NEWNS) &&
		  !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ck_assert(!mount("tmpfs", held, "tmpfs", MS_RDONLY, NULL));
	ck_assert(!pipe2(up, O_CLOEXEC) && !pipe2(down, O_CLOEXEC));
	pid = fork();
	if (!pid)
		_exit(inside(up[1], down[0]));
	ck_assert(step(up[0], false));
	ck_assert_msg(!userns_write(pid, &user, &e), "%s", e.text);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	ck_assert(!file_read(AT_FDCWD, path, 4096, &text, NULL, &e));
	ck_assert_msg(strstr(text, "100000       1000\n") != NULL, "%s", text);
	/* Once is enough. */
	ck_assert_int_eq(userns_write(pid, &user, &e), -EPERM);
	ck_assert(step(down[1], true));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "step %d", WEXITSTATUS(status));
	snprintf(path, sizeof(path), "%s/made", dir);
	ck_assert(!stat(path, &st) && st.st_uid == 7 && st.st_gid == 200009);
	ck_assert(!gethostname(name, sizeof(name)) && strcmp(name, "inside") != 0);
	ck_assert(!umount2(held, MNT_DETACH));
}
END_TEST

static int64_t boot_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec;
}

START_TEST(clocks_of_its_own)
{
	struct stat before, after;
	int back = -1, status, i;
	struct err e = { 0 };
	int64_t now;
	pid_t pid;

	ck_assert(!stat("/proc/self/ns/time_for_children", &before));
	ck_assert(!timens_begin(&create, &back, &e) && back == -1 && !timens_end(back, &e));
	create.n_namespaces = 3;
	create.time_offsets = strdupa("boottime 1000000 0\nmonotonic 500 1\n");
	for (i = 0; i < 2; i++) {
		ck_assert_msg(!timens_begin(&create, &back, &e), "%s", e.text);
		ck_assert_int_ge(back, 0);
		now = boot_seconds();
		pid = fork();
		if (!pid)
			_exit(boot_seconds() >= now + 1000000 ? 0 : 1);
		ck_assert_msg(!timens_end(back, &e), "%s", e.text);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		pid = fork();
		if (!pid)
			_exit(boot_seconds() < now + 1000000 ? 0 : 1);
		ck_assert(waitpid(pid, &status, 0) == pid && !status);
	}
	ck_assert(!stat("/proc/self/ns/time_for_children", &after) && before.st_ino == after.st_ino);
	ck_assert_uint_eq(timens_flag(&create), CLONE_NEWTIME);
	/* Before the machine began: the kernel says no, and the agent is where it was. */
	create.time_offsets = strdupa("boottime -1000000000 0\n");
	ck_assert_int_eq(timens_begin(&create, &back, &e), -ERANGE);
	ck_assert_msg(!strncmp(e.text, "/linux/timeOffsets: ", 20), "%s", e.text);
	ck_assert_int_eq(timens_end(back, &e), 0);
	ck_assert(!stat("/proc/self/ns/time_for_children", &after) && before.st_ino == after.st_ino);
}
END_TEST

Suite *agent_userns_suite(void)
{
	Suite *s = suite_create("agent_userns");
	TCase *c = tcase_create("agent_userns");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, owner, 0, (int)ARRAY_LEN(owners));
	tcase_add_test(c, kept);
	tcase_add_test(c, root_of_its_own);
	tcase_add_test(c, clocks_of_its_own);
	suite_add_tcase(s, c);
	return s;
}
