// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Mirrored directories from end to end without a machine: the supervisor's side
 * (runtime/supervisor/mirror*.c) calls the agent's (guest/agent/mirror.c) directly, and
 * what that makes is compared with what there is. Then each side alone: directories that
 * are none, too large or hostile; messages that make no sense, and traps in the mirror.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/supervisor/supervisor.h"

static int call_agent(struct agent *a, const Podvm__Request *rq, int timeout_ms,
		      Podvm__Response **ret, struct err *e);

#define agent_call call_agent
#include "runtime/supervisor/mirror.c"
#undef agent_call

/* guest/agent/mirror.c, which agent_guest.c compiles. */
int mirror_put_in(int base, const Podvm__MirrorPut *m, struct err *e);

#include "tests/kit/dir.h"
#include "tests/kit/fakehost.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *runtime_mirror_suite(void);

static struct pod pod;
static int guest = -1, fail_calls;
static bool silent; /* the agent gives no answers, and owes them */
static unsigned int calls;
static size_t longest;

static int call_agent(struct agent *a, const Podvm__Request *rq, int timeout_ms,
		      Podvm__Response **ret, struct err *e)
{
	size_t len = podvm__request__get_packed_size(rq);
	uint8_t *buf = malloc(len);
	Podvm__Request *got;
	int rc;

	(void)timeout_ms;
	(void)ret;
	calls++;
	longest = len > longest ? len : longest;
	if (silent || fail_calls) {
		a->owed += silent;
		fail_calls -= !silent;
		free(buf);
		return err_set(e, ETIMEDOUT, "no answer in time");
	}
	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	podvm__request__pack(rq, buf);
	got = podvm__request__unpack(NULL, len, buf);
	free(buf);
	if (!got)
		return err_set(e, ENOMEM, "out of memory");
	if (got->body_case == PODVM__REQUEST__BODY_MIRROR_PUT)
		rc = mirror_put_in(guest, got->mirror_put, e);
	else
		rc = dir_remove(guest, got->mirror_remove->key, e);
	podvm__request__free_unpacked(got, NULL);
	return rc;
}

static void setup(void)
{
	struct err e = { 0 };

	kit_storage_enter();
	memset(&pod, 0, sizeof(pod));
	ck_assert_int_eq(loop_new(&pod.loop, &e), 0);
	kit_dirs("guest");
	guest = open("guest", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	kit_dirs("c/..v1/dir/deep");
	kit_file("c/..v1/file", "one", 3);
	kit_file("c/..v1/dir/deep/below", "below", 5);
	kit_file("c/..v1/empty", "", 0);
	ck_assert_int_eq(symlink("..v1", "c/..data"), 0);
	ck_assert_int_eq(symlink("..data/file", "c/file"), 0);
	ck_assert_int_eq(symlink("..data/dir", "c/dir"), 0);
	ck_assert_int_eq(symlink("below", "c/..v1/dir/deep/link"), 0);
	fail_calls = 0;
	silent = false;
	calls = 0;
	longest = 0;
}

static void teardown(void)
{
	mirrors_done(&pod);
	loop_free(pod.loop);
	fd_close(&guest);
	kit_storage_leave();
}

static int add_mirror(uint32_t *key, struct err *e)
{
	_cleanup_close_ int fd = open("c", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return mirror_add(&pod, fd, key, e);
}

static void run(void)
{
	struct err e = { 0 };
	int i;

	for (i = 0; i < 20; i++)
		ck_assert_int_ge(loop_step(pod.loop, 20, &e), 0);
}

static void expect(const char *path, const char *want)
{
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	ck_assert_msg(!file_read(AT_FDCWD, path, 1 << 20, &text, NULL, &e), "%s: %s", path, e.text);
	ck_assert_str_eq(text, want);
}

static void swap(const char *version)
{
	ck_assert_int_eq(symlink(version, "c/..data_tmp"), 0);
	ck_assert_int_eq(rename("c/..data_tmp", "c/..data"), 0);
}

/* ---- from end to end -------------------------------------------------------------- */

START_TEST(mirrored)
{
	struct timespec t[2] = { { 1, 2 }, { 1234567890, 987654321 } };
	struct stat st, dir;
	uint32_t key = 0, again = 0;
	struct err e = { 0 };

	ck_assert_int_eq(chmod("c/..v1/file", 0640), 0);
	ck_assert_int_eq(chown("c/..v1/file", 12, 34), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, "c/..v1/file", t, 0), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, "c/..v1/dir", t, 0), 0);
	ck_assert_int_eq(chmod("c", 02775), 0);
	ck_assert_msg(!add_mirror(&key, &e), "%s", e.text);
	ck_assert_uint_eq(key, 1);
	expect("guest/1/file", "one");
	expect("guest/1/dir/deep/link", "below");
	expect("guest/1/..data/empty", "");
	ck_assert_int_eq(stat("guest/1/file", &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	ck_assert(st.st_uid == 12 && st.st_gid == 34);
	ck_assert(st.st_mtim.tv_sec == t[1].tv_sec && st.st_mtim.tv_nsec == t[1].tv_nsec);
	ck_assert_int_eq(stat("guest/1/dir", &dir), 0);
	ck_assert_int_eq(dir.st_mtim.tv_sec, t[1].tv_sec);
	ck_assert_int_eq(stat("guest/1", &dir), 0);
	ck_assert_uint_eq(dir.st_mode, S_IFDIR | 02775);
	/* The same directory is the same mirror. */
	calls = 0;
	ck_assert_int_eq(add_mirror(&again, &e), 0);
	ck_assert_uint_eq(again, 1);
	ck_assert_uint_eq(calls, 0);
	mirror_remove(&pod, 1);
	expect("guest/1/file", "one");
	mirror_remove(&pod, 1);
	mirror_remove(&pod, 1);
	/* There is no agent, so that it is not asked. */
	ck_assert_int_eq(add_mirror(&again, &e), 0);
	ck_assert_uint_eq(again, 2);
}
END_TEST

START_TEST(swapped)
{
	struct err e = { 0 };
	struct stat st;
	uint32_t key;

	ck_assert_int_eq(add_mirror(&key, &e), 0);
	kit_dirs("c/..v2");
	kit_file("c/..v2/file", "two", 3);
	kit_file("c/..v2/new", "new", 3);
	calls = 0;
	run();
	ck_assert_uint_eq(calls, 0);
	swap("..v2");
	ck_assert_int_eq(symlink("..data/new", "c/new"), 0);
	ck_assert_int_eq(unlink("c/dir"), 0);
	run();
	expect("guest/1/file", "two");
	expect("guest/1/new", "new");
	ck_assert_int_lt(lstat("guest/1/dir", &st), 0);
	ck_assert_int_lt(lstat("guest/1/..v1", &st), 0);
	ck_assert_uint_eq(calls, 2);
	/* Only the links. */
	ck_assert_int_eq(unlink("c/new"), 0);
	run();
	ck_assert_int_lt(lstat("guest/1/new", &st), 0);
	expect("guest/1/..data/new", "new");
	ck_assert_uint_eq(calls, 3);
}
END_TEST

START_TEST(without_inotify)
{
	struct err e = { 0 };
	uint32_t key;

	ck_assert_int_eq(all_new(&pod, &pod.mirrors, &e), 0);
	loop_del(pod.mirrors->inotify_src);
	pod.mirrors->inotify_src = NULL;
	fd_close(&pod.mirrors->inotify);
	ck_assert_int_eq(add_mirror(&key, &e), 0);
	kit_dirs("c/..v2");
	kit_file("c/..v2/file", "two", 3);
	swap("..v2");
	run();
	run();
	expect("guest/1/file", "two");
}
END_TEST

START_TEST(overflow)
{
	struct inotify_event ev = { .wd = -1, .mask = IN_Q_OVERFLOW };
	struct err e = { 0 };
	int pipe_of[2];
	uint32_t key;

	ck_assert_int_eq(add_mirror(&key, &e), 0);
	kit_dirs("c/..v2");
	kit_file("c/..v2/file", "two", 3);
	swap("..v2");
	/* All that inotify says is that it has lost what it had to say. */
	ck_assert_int_eq(pipe(pipe_of), 0);
	ck_assert_int_eq(write(pipe_of[1], &ev, sizeof(ev)), sizeof(ev));
	loop_del(pod.mirrors->inotify_src);
	pod.mirrors->inotify_src = NULL;
	close(pod.mirrors->inotify);
	pod.mirrors->inotify = pipe_of[0];
	on_inotify(pod.mirrors, EPOLLIN);
	run();
	expect("guest/1/file", "two");
	close(pipe_of[1]);
}
END_TEST

START_TEST(agent_fails)
{
	struct err e = { 0 };
	uint32_t key;

	fail_calls = 1;
	ck_assert_int_eq(add_mirror(&key, &e), -ETIMEDOUT);
	ck_assert_uint_eq(pod.mirrors->n, 0);
	ck_assert_int_eq(add_mirror(&key, &e), 0);
	kit_dirs("c/..v2");
	kit_file("c/..v2/file", "two", 3);
	fail_calls = 1;
	swap("..v2");
	run();
	expect("guest/1/file", "one");
	ck_assert_uint_gt(pod.mirrors->list->tries, 0);
	on_timer(pod.mirrors, EPOLLIN);
	expect("guest/1/file", "two");
	ck_assert_uint_eq(pod.mirrors->list->tries, 0);
	/* An agent that never answers is asked no more after some tries. */
	kit_dirs("c/..v3");
	swap("..v3");
	fail_calls = 1000;
	run();
	for (key = 0; key < 10; key++)
		on_timer(pod.mirrors, EPOLLIN);
	ck_assert_int_ge(fail_calls, 1000 - (int)TRIES);
	ck_assert_uint_eq(pod.mirrors->list->tries, 0);
}
END_TEST

static uint32_t add_other(const char *dir)
{
	_cleanup_close_ int fd = -1;
	struct err e = { 0 };
	char path[64];
	uint32_t key;

	snprintf(path, sizeof(path), "%s/..v1", dir);
	kit_dirs(path);
	snprintf(path, sizeof(path), "%s/..data", dir);
	ck_assert_int_eq(symlink("..v1", path), 0);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_msg(!mirror_add(&pod, fd, &key, &e), "%s", e.text);
	return key;
}

static void new_version(unsigned int i)
{
	char path[32];

	snprintf(path, sizeof(path), "s%u/..v2", i);
	kit_dirs(path);
	snprintf(path, sizeof(path), "s%u/..data", i);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink("..v2", path), 0);
}

/* Many mirrors and an agent that says nothing: one call is waited for, not one for each. */
START_TEST(agent_is_silent)
{
	struct mirror *m;
	char dir[16];
	unsigned int i;

	for (i = 0; i < 20; i++) {
		snprintf(dir, sizeof(dir), "s%u", i);
		add_other(dir);
	}
	for (m = pod.mirrors->list; m; m = m->next)
		m->tries = TRIES;
	for (i = 0; i < 20; i++)
		new_version(i);
	silent = true;
	calls = 0;
	for (i = 0; i < 50; i++)
		on_timer(pod.mirrors, EPOLLIN);
	ck_assert_uint_eq(calls, 1);
	for (i = 1; i <= 20; i++)
		mirror_remove(&pod, i);
	ck_assert_uint_eq(calls, 1);
	ck_assert_uint_eq(pod.mirrors->n, 0);
	/* It answers again: it is told of all, and nothing stays on either side. */
	silent = false;
	pod.agent.owed = 0;
	on_timer(pod.mirrors, EPOLLIN);
	ck_assert_uint_eq(calls, 21);
	ck_assert_ptr_null(pod.mirrors->list);
	ck_assert_uint_eq(kit_count("guest"), 0);
}
END_TEST

/* One that answers slowly: after some time the loop has its turn, and then it goes on. */
START_TEST(agent_is_slow)
{
	static char big[4000000];
	static struct fakehost slow = { .point = "nowhere" };
	unsigned int i, rounds, left = 1;
	struct err e = { 0 };
	struct mirror *m;
	char name[32];
	uint32_t key;

	for (i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		add_other(name);
		new_version(i);
	}
	for (m = pod.mirrors->list; m; m = m->next)
		m->tries = TRIES;
	for (rounds = 0; left; rounds++) {
		kit_host = &slow;
		on_timer(pod.mirrors, EPOLLIN);
		kit_host = NULL;
		for (left = 0, m = pod.mirrors->list; m; m = m->next)
			left += m->tries != 0;
	}
	ck_assert_uint_gt(rounds, 1);
	ck_assert_uint_lt(rounds, 20);
	/* One content that takes too long by itself. */
	kit_file("c/..v1/big", big, sizeof(big));
	for (i = 0; i < 1900; i++) {
		snprintf(name, sizeof(name), "c/..v1/f%u", i);
		kit_file(name, "x", 1);
	}
	kit_host = &slow;
	ck_assert_int_eq(add_mirror(&key, &e), -ETIMEDOUT);
	kit_host = NULL;
	ck_assert_ptr_nonnull(strstr(e.text, "too slow"));
	ck_assert_uint_eq(pod.mirrors->n, 20);
}
END_TEST

/* A removal that fails again and again is given up, and the directory can be had anew. */
START_TEST(removal_fails)
{
	uint32_t key, again;
	struct err e = { 0 };
	int i;

	ck_assert_int_eq(add_mirror(&key, &e), 0);
	fail_calls = 1000;
	mirror_remove(&pod, key);
	fail_calls = 0;
	ck_assert_int_eq(add_mirror(&again, &e), 0);
	ck_assert_uint_ne(again, key);
	fail_calls = 1000;
	for (i = 0; i < 10; i++)
		on_timer(pod.mirrors, EPOLLIN);
	ck_assert_int_eq(fail_calls, 1000 - (int)TRIES + 1);
	ck_assert_uint_eq(pod.mirrors->list->key, again);
	ck_assert_ptr_null(pod.mirrors->list->next);
	fail_calls = 0;
	mirror_remove(&pod, key);
	ck_assert_uint_eq(pod.mirrors->n, 1);
}
END_TEST

/* A version that is too large is read once, also where the host has no inotify for us. */
START_TEST(given_up)
{
	struct err e = { 0 };
	uint32_t key;
	int i;

	ck_assert_int_eq(all_new(&pod, &pod.mirrors, &e), 0);
	loop_del(pod.mirrors->inotify_src);
	pod.mirrors->inotify_src = NULL;
	fd_close(&pod.mirrors->inotify);
	ck_assert_int_eq(add_mirror(&key, &e), 0);
	kit_dirs("c/..v2");
	kit_file("c/..v2/large", "", 0);
	ck_assert_int_eq(truncate("c/..v2/large", MIRROR_BYTES_MAX + 1), 0);
	swap("..v2");
	ck_assert(is_new(pod.mirrors->list));
	on_timer(pod.mirrors, EPOLLIN);
	ck_assert(!is_new(pod.mirrors->list));
	expect("guest/1/file", "one");
	/* An agent that does not take it: likewise. */
	kit_dirs("c/..v3");
	swap("..v3");
	fail_calls = 1000;
	for (i = 0; i < 10; i++)
		on_timer(pod.mirrors, EPOLLIN);
	ck_assert_int_eq(fail_calls, 1000 - (int)TRIES);
	fail_calls = 0;
	kit_dirs("c/..v4");
	kit_file("c/..v4/file", "four", 4);
	swap("..v4");
	on_timer(pod.mirrors, EPOLLIN);
	expect("guest/1/file", "four");
}
END_TEST

/* The answer to a commit was lost: the same version comes once more. */
START_TEST(sent_again)
{
	struct mirror_tree t = { 0 };
	_cleanup_close_ int fd = open("c", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err e = { 0 };

	ck_assert_int_eq(mirror_read(fd, &t, &e), 0);
	ck_assert_int_eq(send_tree(&pod, 1, &t, true, &e), 0);
	ck_assert_msg(!send_tree(&pod, 1, &t, true, &e), "%s", e.text);
	expect("guest/1/file", "one");
	mirror_tree_done(&t);
}
END_TEST

START_TEST(long_files)
{
	static char big[1 << 20];
	_cleanup_free_ char *got = NULL;
	struct err e = { 0 };
	uint32_t key, i;
	char name[64];
	size_t len;

	for (i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 + i / 1000);
	kit_file("c/..v1/big", big, sizeof(big));
	for (i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "c/..v1/f%u", i);
		kit_file(name, "x", 1);
		snprintf(name, sizeof(name), "c/l%u", i);
		ck_assert_int_eq(symlink("..data/file", name), 0);
	}
	ck_assert_msg(!add_mirror(&key, &e), "%s", e.text);
	ck_assert_int_eq(file_read(AT_FDCWD, "guest/1/..data/big", 2 << 20, &got, &len, &e), 0);
	ck_assert_uint_eq(len, sizeof(big));
	ck_assert_mem_eq(got, big, sizeof(big));
	expect("guest/1/l599", "one");
	expect("guest/1/..data/f599", "x");
	ck_assert_uint_lt(longest, FRAME_MAX_BYTES);
}
END_TEST

START_TEST(memory_is_short)
{
	struct err e = { 0 };
	unsigned int nth;
	uint32_t key;
	bool fired;
	int rc;

	for (nth = 1; nth < 500; nth++) {
		kit_fault_arm(KIT_FAULT_MEMORY, nth, 0);
		rc = add_mirror(&key, &e);
		fired = kit_fault_fired();
		if (!fired)
			break;
		if (rc < 0)
			ck_assert_int_eq(rc, -ENOMEM);
		else
			mirror_remove(&pod, key);
		mirrors_done(&pod);
		dir_remove(guest, "1", &e);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_gt(nth, 10);
	expect("guest/1/file", "one");
}
END_TEST

/* ---- what is no such directory ---------------------------------------------------- */

static void no_data(void)
{
	ck_assert_int_eq(unlink("c/..data"), 0);
}

static void data_is_dir(void)
{
	no_data();
	ck_assert_int_eq(mkdir("c/..data", 0755), 0);
}

static void data_to(const char *where)
{
	no_data();
	ck_assert_int_eq(symlink(where, "c/..data"), 0);
}

static void data_up(void)
{
	data_to("..");
}

static void data_out(void)
{
	data_to("../guest");
}

static void data_absolute(void)
{
	data_to("/etc");
}

static void data_plain(void)
{
	data_to("file");
}

static void data_to_itself(void)
{
	data_to("..data");
}

static void data_dangling(void)
{
	data_to("..v9");
}

static void data_to_link(void)
{
	data_to("..link");
	ck_assert_int_eq(symlink("/etc", "c/..link"), 0);
}

static void file_beside(void)
{
	kit_file("c/other", "x", 1);
}

static void fifo_inside(void)
{
	ck_assert_int_eq(mkfifo("c/..v1/fifo", 0600), 0);
}

static void too_deep(void)
{
	kit_dirs("c/..v1/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17");
}

static void too_many(void)
{
	char name[64];
	int i;

	for (i = 0; i < 2001; i++) {
		snprintf(name, sizeof(name), "c/..v1/n%d", i);
		kit_file(name, "", 0);
	}
}

static void too_large(void)
{
	kit_file("c/..v1/large", "", 0);
	ck_assert_int_eq(truncate("c/..v1/large", MIRROR_BYTES_MAX + 1), 0);
}

static void too_large_together(void)
{
	kit_file("c/..v1/a", "", 0);
	kit_file("c/..v1/b", "", 0);
	ck_assert_int_eq(truncate("c/..v1/a", MIRROR_BYTES_MAX / 2), 0);
	ck_assert_int_eq(truncate("c/..v1/b", MIRROR_BYTES_MAX / 2), 0);
}

static void sparse_giant(void)
{
	kit_file("c/..v1/giant", "", 0);
	ck_assert_int_eq(truncate("c/..v1/giant", 1ll << 40), 0);
}

static const struct {
	void (*make)(void);
	int rc;
} none[] = {
	{ no_data, -EOPNOTSUPP },	 { data_is_dir, -EOPNOTSUPP },
	{ data_up, -EOPNOTSUPP },	 { data_out, -EOPNOTSUPP },
	{ data_absolute, -EOPNOTSUPP },	 { data_plain, -EOPNOTSUPP },
	{ data_to_itself, -EOPNOTSUPP }, { data_dangling, -ENOENT },
	{ file_beside, -EOPNOTSUPP },	 { fifo_inside, -EOPNOTSUPP },
	{ too_deep, -EOPNOTSUPP },	 { too_many, -EOPNOTSUPP },
	{ too_large, -EOPNOTSUPP },	 { too_large_together, -EOPNOTSUPP },
	{ sparse_giant, -EOPNOTSUPP },
};

START_TEST(not_mirrored)
{
	struct err e = { 0 };
	uint32_t key = 77;

	none[_i].make();
	ck_assert_int_eq(add_mirror(&key, &e), none[_i].rc);
	ck_assert(!pod.mirrors || !pod.mirrors->n);
	ck_assert_uint_eq(calls, 0);
}
END_TEST

/* A version that is a link leads nowhere: what is in its place is the link. */
START_TEST(version_is_a_link)
{
	struct err e = { 0 };
	uint32_t key;

	data_to_link();
	ck_assert_int_lt(add_mirror(&key, &e), 0);
	ck_assert_uint_eq(pod.mirrors->n, 0);
}
END_TEST

/* Links go as links, wherever they lead. */
START_TEST(links_are_not_followed)
{
	struct err e = { 0 };
	uint32_t key;
	char to[32] = "";

	ck_assert_int_eq(symlink("/etc/passwd", "c/..v1/out"), 0);
	ck_assert_int_eq(symlink("/etc/passwd", "c/out"), 0);
	ck_assert_int_eq(add_mirror(&key, &e), 0);
	ck_assert_int_eq(readlink("guest/1/..data/out", to, sizeof(to) - 1), 11);
	ck_assert_str_eq(to, "/etc/passwd");
	ck_assert_int_eq(readlink("guest/1/out", to, sizeof(to) - 1), 11);
}
END_TEST

/* ---- the agent's side alone -------------------------------------------------------- */

static const struct {
	const char *key, *version, *path;
	uint32_t mode;
	bool begin, commit;
	const char *data;
} bad_puts[] = {
	{ "", "..v", "..v", S_IFDIR, true, false, "" },
	{ "x", "..v", "..v", S_IFDIR, true, false, "" },
	{ "..", "..v", "..v", S_IFDIR, true, false, "" },
	{ "1/2", "..v", "..v", S_IFDIR, true, false, "" },
	{ "12345678901", "..v", "..v", S_IFDIR, true, false, "" },
	{ "1", "", "", S_IFDIR, true, false, "" },
	{ "1", "v", "v", S_IFDIR, true, false, "" },
	{ "1", "..", "..", S_IFDIR, true, false, "" },
	{ "1", "..data", "..data", S_IFDIR, true, false, "" },
	{ "1", "..data_tmp", "..data_tmp", S_IFDIR, true, false, "" },
	{ "1", "../x", "../x", S_IFDIR, true, false, "" },
	{ "1", "..v", "..v2", S_IFDIR, true, false, "" },
	{ "1", "..v", "other", S_IFREG, true, false, "" },
	{ "1", "..v", "/etc/passwd", S_IFREG, true, false, "" },
	{ "1", "..v", "..v/..", S_IFREG, true, false, "" },
	{ "1", "..v", "..v/.", S_IFREG, true, false, "" },
	{ "1", "..v", "..v/", S_IFREG, true, false, "" },
	{ "1", "..v", "..v/../../x", S_IFREG, true, false, "" },
	{ "1", "..v", "..v/no/parent", S_IFREG, true, false, "" },
	{ "1", "..v", "..v/trap/x", S_IFREG, true, false, "" },
	{ "1", "..v", "..v", S_IFREG | S_IFDIR, true, false, "" },
	{ "1", "..v", "..v", S_IFIFO, true, false, "" },
	{ "1", "..v", "..v", S_IFCHR, true, false, "" },
	{ "1", "..v", "..v", S_IFLNK, true, false, "" },
	{ "1", "..v", "a/b", S_IFLNK, true, true, "x" },
	{ "1", "..v", "..hidden", S_IFLNK, true, true, "x" },
	{ "1", "..v", "file", S_IFREG, true, true, "x" },
	{ "1", "..v", "", S_IFDIR, true, true, "" },	  /* no such version to commit */
	{ "9", "..v", "..v", S_IFDIR, false, false, "" }, /* never began */
};

START_TEST(bad_put)
{
	Podvm__MirrorPut m = PODVM__MIRROR_PUT__INIT;
	Podvm__MirrorFile f = PODVM__MIRROR_FILE__INIT, *list = &f;
	struct err e = { 0 };
	struct stat st;

	kit_dirs("guest/1");
	kit_dirs("outside");
	m.key = (char *)(uintptr_t)bad_puts[_i].key;
	m.version = (char *)(uintptr_t)bad_puts[_i].version;
	m.begin = bad_puts[_i].begin;
	m.commit = bad_puts[_i].commit;
	m.files = &list;
	m.n_files = 1;
	f.path = (char *)(uintptr_t)bad_puts[_i].path;
	f.mode = bad_puts[_i].mode | 0644;
	f.data.data = (uint8_t *)(uintptr_t)bad_puts[_i].data;
	f.data.len = strlen(bad_puts[_i].data);
	ck_assert_int_lt(mirror_put_in(guest, &m, &e), 0);
	ck_assert_int_lt(lstat("guest/x", &st), 0);
	ck_assert_int_lt(lstat("x", &st), 0);
	ck_assert_int_lt(lstat("guest/1/..data", &st), 0);
}
END_TEST

/* A container that may change its mounts has put links where files are to be. */
START_TEST(traps)
{
	Podvm__MirrorPut m = PODVM__MIRROR_PUT__INIT;
	Podvm__MirrorFile f = PODVM__MIRROR_FILE__INIT, *list = &f;
	struct err e = { 0 };
	struct stat st;

	kit_dirs("outside");
	kit_dirs("guest/1/..v");
	ck_assert_int_eq(symlink("../../../outside", "guest/1/..v/dir"), 0);
	ck_assert_int_eq(symlink("../../../outside/made", "guest/1/..v/file"), 0);
	m.key = (char *)(uintptr_t) "1";
	m.version = (char *)(uintptr_t) "..v";
	m.files = &list;
	m.n_files = 1;
	f.path = (char *)(uintptr_t) "..v/dir/made";
	f.mode = S_IFREG | 0644;
	ck_assert_int_lt(mirror_put_in(guest, &m, &e), 0);
	f.path = (char *)(uintptr_t) "..v/file";
	ck_assert_int_lt(mirror_put_in(guest, &m, &e), 0);
	f.more = true;
	ck_assert_int_lt(mirror_put_in(guest, &m, &e), 0);
	f.more = false;
	f.path = (char *)(uintptr_t) "..v/dir";
	f.mode = S_IFDIR | 0755;
	ck_assert_int_lt(mirror_put_in(guest, &m, &e), 0);
	ck_assert_int_lt(lstat("outside/made", &st), 0);
	/* A mirror that is a link itself. */
	ck_assert_int_eq(symlink("../outside", "guest/2"), 0);
	m.key = (char *)(uintptr_t) "2";
	m.begin = true;
	f.path = (char *)(uintptr_t) "..v";
	ck_assert_int_lt(mirror_put_in(guest, &m, &e), 0);
	ck_assert_int_lt(lstat("outside/..v", &st), 0);
	/* What is swept is removed, and never followed. */
	kit_file("outside/kept", "x", 1);
	ck_assert_int_eq(symlink("../../outside", "guest/1/..old"), 0);
	m.key = (char *)(uintptr_t) "1";
	ck_assert_int_eq(mirror_put_in(guest, &m, &e), 0);
	ck_assert_int_lt(lstat("guest/1/..old", &st), 0);
	ck_assert_int_eq(lstat("outside/kept", &st), 0);
}
END_TEST

Suite *runtime_mirror_suite(void)
{
	Suite *s = suite_create("runtime_mirror");
	const char *why = kit_storage_missing(false);
	TCase *t = tcase_create("mirrors");

	if (why)
		kit_skip("runtime_mirror", why);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, mirrored);
	tcase_add_test(t, swapped);
	tcase_add_test(t, without_inotify);
	tcase_add_test(t, overflow);
	tcase_add_test(t, agent_fails);
	tcase_add_test(t, agent_is_silent);
	tcase_add_test(t, agent_is_slow);
	tcase_add_test(t, removal_fails);
	tcase_add_test(t, given_up);
	tcase_add_test(t, sent_again);
	tcase_add_test(t, long_files);
	tcase_add_test(t, memory_is_short);
	tcase_add_loop_test(t, not_mirrored, 0, (int)ARRAY_LEN(none));
	tcase_add_test(t, version_is_a_link);
	tcase_add_test(t, links_are_not_followed);
	tcase_add_loop_test(t, bad_put, 0, (int)ARRAY_LEN(bad_puts));
	tcase_add_test(t, traps);
	if (!why)
		suite_add_tcase(s, t);
	return s;
}
