// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Dead pods as crashes leave them: a pod's directory, journal, records and
 * processes are made by hand, and pod_recover() must put them right, or leave
 * all as it is when it cannot. Then the two ends of the ready pipe and of the
 * control socket, each against a peer that breaks the rules.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/pod.h"
#include "tests/kit/dir.h"

Suite *runtime_pod_suite(void);

static int root;
static pid_t child;
static char child_pid[24], child_start[24];

static void setup(void)
{
	struct err e = { 0 };

	kit_dir_enter();
	root = state_root_open(".", &e);
	ck_assert_int_ge(root, 0);
	ck_assert(!mkdir("pods", 0700) && !mkdir("containers", 0700));
}

static void teardown(void)
{
	close(root);
	kit_dir_leave();
}

/* A process that lives until it is killed, as words of a record. */
static void spawn_child(void)
{
	uint64_t ticks = 0;
	struct err e = { 0 };

	child = fork();
	if (!child)
		for (;;)
			pause();
	ck_assert_int_eq(proc_start_ticks(child, &ticks, &e), 0);
	snprintf(child_pid, sizeof(child_pid), "%d", child);
	snprintf(child_start, sizeof(child_start), "%llu", (unsigned long long)ticks);
}

static bool child_lives(void)
{
	return !kill(child, 0) && waitpid(child, NULL, WNOHANG) == 0;
}

static void end_child(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void put_pod(const char *journal)
{
	ck_assert_int_eq(mkdir("pods/p", 0700), 0);
	kit_put("pods/p/lock", "");
	kit_put("pods/p/console.log", "x");
	if (journal)
		kit_put("pods/p/journal", journal);
}

static void put_record(const char *id, const char *pod, int status, const char *pid,
		       const char *start)
{
	char path[64], text[300];

	snprintf(path, sizeof(path), "containers/%s.json", id);
	snprintf(text, sizeof(text),
		 "{\"pod\":\"%s\",\"bundle\":\"/b\",\"status\":%d,\"pid\":%s,\"pidStart\":%s}", pod,
		 status, pid, start);
	kit_put(path, text);
}

static void expect_record(const char *id, enum state_status status, int code)
{
	struct state *s = NULL;
	struct err e = { 0 };

	ck_assert_msg(!state_load(root, id, &s, &e), "%s", e.text);
	ck_assert_int_eq(s->status, status);
	ck_assert_int_eq(s->exit_code, code);
	state_free(s);
}

START_TEST(process_is_ended)
{
	char journal[200];
	struct err e = { 0 };

	spawn_child();
	snprintf(journal, sizeof(journal), "{\"r\":[\"proc\",\"%s\",\"%s\"]}\n", child_pid,
		 child_start);
	put_pod(journal);
	put_record("c", "p", STATE_RUNNING, "0", "0");
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert(!child_lives());
	ck_assert_uint_eq(kit_count("pods"), 0);
	expect_record("c", STATE_STOPPED, 128 + SIGKILL);
	ck_assert_int_eq(pod_recover(root, "p", &e), 0); /* once more: nothing to do */
}
END_TEST

/* A way back that was under way: its staging directory goes, what is beside it stays. */
START_TEST(staging_is_removed)
{
	static const char name[] = ".podvm-writeback.0123456789abcdef";
	char cwd[PATH_MAX], journal[2 * PATH_MAX], path[200];
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	ck_assert_int_eq(mkdir("engine", 0700), 0);
	ck_assert_int_eq(mkdir("engine/diff", 0700), 0);
	kit_put("engine/diff/kept", "x");
	snprintf(path, sizeof(path), "engine/%s", name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "engine/%s/new", name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "engine/%s/new/half", name);
	kit_put(path, "y");
	snprintf(journal, sizeof(journal), "{\"r\":[\"writeback\",\"%s/engine\",\"%s\"]}\n", cwd, name);
	put_pod(journal);
	put_record("c", "p", STATE_RUNNING, "0", "0");
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert_uint_eq(kit_count("engine"), 1);
	ck_assert_uint_eq(kit_count("engine/diff"), 1);
	ck_assert_uint_eq(kit_count("pods"), 0);
	expect_record("c", STATE_STOPPED, 128 + SIGKILL);
}
END_TEST

/* The pid of the record is another process's now: it must live. */
START_TEST(reused_pid_is_spared)
{
	char journal[200];
	struct err e = { 0 };

	spawn_child();
	snprintf(journal, sizeof(journal), "{\"r\":[\"proc\",\"%s\",\"%s1\"]}\n", child_pid,
		 child_start);
	put_pod(journal);
	put_record("c", "p", STATE_RUNNING, child_pid, "1");
	put_record("d", "p", STATE_CREATED, child_pid, "0"); /* no start time: unknown */
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert(child_lives());
	ck_assert_uint_eq(kit_count("pods"), 0);
	expect_record("c", STATE_STOPPED, 128 + SIGKILL);
	expect_record("d", STATE_STOPPED, 128 + SIGKILL);
	end_child();
}
END_TEST

START_TEST(shims_are_ended)
{
	struct err e = { 0 };

	spawn_child();
	put_pod(NULL);
	put_record("c", "p", STATE_CREATED, child_pid, child_start);
	put_record("other", "q", STATE_RUNNING, "0", "0");
	put_record("past", "p", STATE_STOPPED, child_pid, child_start);
	kit_put("containers/damaged.json", "{");
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert(!child_lives());
	expect_record("c", STATE_STOPPED, 128 + SIGKILL);
	expect_record("other", STATE_RUNNING, 0);
	expect_record("past", STATE_STOPPED, 0);
	ck_assert_uint_eq(kit_count("containers"), 4);
}
END_TEST

/* Who was killed as he wrote a record has left what he had of it; who lives goes on. */
START_TEST(half_a_record)
{
	char dead[60], ours[60];
	struct err e = { 0 };

	spawn_child();
	end_child();
	snprintf(dead, sizeof(dead), "containers/a.json.b.json.%d.tmp", child);
	snprintf(ours, sizeof(ours), "containers/a.json.%d.tmp", getpid());
	kit_put(dead, "{");
	kit_put(ours, "{");
	kit_put("containers/x.tmp", "{");
	kit_put("containers/a.json.0.tmp", "{");
	ck_assert_msg(!pod_recover_all(root, &e), "%s", e.text);
	ck_assert(access(dead, F_OK) < 0 && !access(ours, F_OK));
	ck_assert_uint_eq(kit_count("containers"), 3);
}
END_TEST

/* A cgroup of ours with the child in it. */
static void put_place(char dir[100])
{
	const char *root_dir = access("/sys/fs/cgroup/unified/cgroup.procs", W_OK) ? "/sys/fs/cgroup" :
										     "/sys/fs/cgroup/unified";
	char procs[120];
	struct err e = { 0 };

	snprintf(dir, 100, "%s/podvm-pod-unit-%d", root_dir, getpid());
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
	spawn_child();
	ck_assert_msg(!mkdir(dir, 0755), "%s", dir);
	ck_assert_msg(!file_write(AT_FDCWD, procs, child_pid, &e), "%s", e.text);
}

/* A shim that does not end by itself is not in its cgroup any more when that is removed. */
START_TEST(place_of_a_shim)
{
	char dir[100], journal[200];
	struct err e = { 0 };

	put_place(dir);
	snprintf(journal, sizeof(journal), "{\"r\":[\"cgroup\",\"%s\"]}\n", dir);
	put_pod(journal);
	put_record("c", "p", STATE_RUNNING, child_pid, child_start);
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert(!child_lives());
	ck_assert_int_lt(access(dir, F_OK), 0);
	expect_record("c", STATE_STOPPED, 128 + SIGKILL);
}
END_TEST

/*
 * Somebody is in a cgroup whom we do not know: he lives, the rest is put right, and what is
 * left is removed by the next command after his end.
 */
START_TEST(place_in_use)
{
	static const char name[] = ".podvm-writeback.0123456789abcdef";
	char dir[100], path[200], cwd[PATH_MAX], journal[2 * PATH_MAX];
	struct err e = { 0 };

	put_place(dir);
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(path, sizeof(path), "engine/%s", name);
	ck_assert(!mkdir("engine", 0700) && !mkdir(path, 0700));
	snprintf(journal, sizeof(journal),
		 "{\"r\":[\"writeback\",\"%s/engine\",\"%s\"]}\n{\"r\":[\"cgroup\",\"%s\"]}\n",
		 cwd, name, dir);
	put_pod(journal);
	put_record("c", "p", STATE_RUNNING, "0", "0");
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert(child_lives() && !access(dir, F_OK));
	ck_assert_uint_eq(kit_count("engine"), 0);
	expect_record("c", STATE_STOPPED, 128 + SIGKILL);
	ck_assert_uint_eq(kit_count("pods"), 1);
	end_child();
	ck_assert_msg(!pod_recover_all(root, &e), "%s", e.text);
	ck_assert_int_lt(access(dir, F_OK), 0);
	ck_assert_uint_eq(kit_count("pods"), 0);
}
END_TEST

/*
 * The host was booted since: pid and start time are somebody else's now, by chance, and so
 * would be a name in the kernel. What lies on a disk is removed as ever.
 */
START_TEST(other_boot)
{
	static const char name[] = ".podvm-writeback.0123456789abcdef";
	char cwd[PATH_MAX], journal[2 * PATH_MAX], text[400], path[100];
	struct state *s = NULL;
	struct err e = { 0 };

	spawn_child();
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(path, sizeof(path), "engine/%s", name);
	ck_assert(!mkdir("engine", 0700) && !mkdir(path, 0700));
	snprintf(journal, sizeof(journal),
		 "{\"r\":[\"proc\",\"%s\",\"%s\"]}\n{\"r\":[\"netplug\",\"tap\"]}\n"
		 "{\"r\":[\"cgroup\",\"/etc\"]}\n{\"r\":[\"handover\",\"x\"]}\n"
		 "{\"r\":[\"writeback\",\"%s/engine\",\"%s\"]}\n",
		 child_pid, child_start, cwd, name);
	put_pod(journal);
	kit_put("pods/p/boot", "11111111-2222-3333-4444-555555555555");
	snprintf(text, sizeof(text),
		 "{\"pod\":\"p\",\"bundle\":\"/b\",\"status\":1,\"pid\":%s,\"pidStart\":%s,"
		 "\"boot\":\"11111111-2222-3333-4444-555555555555\"}", child_pid, child_start);
	kit_put("containers/c.json", text);
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert(child_lives());
	ck_assert_uint_eq(kit_count("engine"), 0);
	ck_assert_uint_eq(kit_count("pods"), 0);
	expect_record("c", STATE_STOPPED, 128 + SIGKILL);
	ck_assert_int_eq(state_load(root, "c", &s, &e), 0);
	ck_assert_str_eq(s->ended, "host-reboot: the host was booted anew");
	state_free(s);
	end_child();
}
END_TEST

START_TEST(same_boot)
{
	char journal[200], boot[PROC_BOOT_ID_BYTES];
	struct state *s = NULL;
	struct err e = { 0 };

	spawn_child();
	ck_assert_int_eq(proc_boot_id(boot, &e), 0);
	snprintf(journal, sizeof(journal), "{\"r\":[\"proc\",\"%s\",\"%s\"]}\n", child_pid,
		 child_start);
	put_pod(journal);
	kit_put("pods/p/boot", boot);
	put_record("c", "p", STATE_RUNNING, "0", "0");
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert(!child_lives());
	ck_assert_int_eq(state_load(root, "c", &s, &e), 0);
	ck_assert_str_eq(s->ended, "supervisor-lost: the pod's supervisor was killed");
	state_free(s);
}
END_TEST

static const char *const garbage[] = {
	"[\"alien\"]", "[\"\"]", "[\"proc\"]", "[\"proc\",\"1\"]", "[\"proc\",\"0\",\"5\"]",
	"[\"proc\",\"x\",\"5\"]", "[\"proc\",\"-1\",\"5\"]", "[\"proc\",\"4294967297\",\"5\"]",
	"[\"proc\",\"1\",\"0\"]", "[\"proc\",\"1\",\"5\",\"6\"]", "[\"cgroup\"]",
	"[\"cgroup\",\"/etc\"]", "[\"cgroup\",\"\"]", "[\"cgroup\",\"/sys/fs/cgroupx\"]",
	"[\"cgroup\",\"/sys/fs/cgroup/../../../tmp\"]", "[\"cgroup\",\"/sys/fs/cgroup/a/..\"]",
	"[\"cgroup\",\"/sys/fs/cgroup/a\",\"b\"]", "[\"netplug\"]", "[\"netplug\",\"tap\"]",
	"[\"writeback\"]", "[\"writeback\",\"/tmp\"]", "[\"writeback\",\"/\",\"etc\"]",
	"[\"writeback\",\"/tmp\",\"..\"]", "[\"writeback\",\"/tmp\",\".podvm-writeback.x\"]",
	"[\"netplug\",\"bomb\",\"/n\",\"1\",\"tap0\"]",
	"[\"netplug\",\"filter\",\"/n\",\"1\",\"tap0\",\"x\"]",
};

/* What is not understood is refused, and nothing is forgotten. */
START_TEST(garbage_record)
{
	char journal[300];
	struct err e = { 0 };
	char *left;

	snprintf(journal, sizeof(journal), "{\"r\":[\"cgroup\",\"/sys/fs/cgroup/none\"]}\n{\"r\":%s}\n",
		 garbage[_i]);
	put_pod(journal);
	put_record("c", "p", STATE_RUNNING, "0", "0");
	ck_assert_msg(pod_recover(root, "p", &e) == -EINVAL, "row %d: %s", _i, e.text);
	ck_assert_msg(str_starts(e.text, "pod p: clean-up: "), "%s", e.text);
	left = kit_get("pods/p/journal");
	ck_assert_str_eq(left, journal);
	free(left);
	expect_record("c", STATE_RUNNING, 0);
	ck_assert_uint_eq(kit_count("pods/p"), 3);
	/* It can be mended: the lock is free, and the next command goes on. */
	kit_put("pods/p/journal", "{\"r\":[\"cgroup\",\"/sys/fs/cgroup/none\"]}\n");
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert_uint_eq(kit_count("pods"), 0);
}
END_TEST

START_TEST(living_pod)
{
	struct err e = { 0 };
	struct state *s = NULL;
	int lock;

	put_pod("{\"r\":[\"alien\"]}\n");
	put_record("c", "p", STATE_RUNNING, "0", "0");
	lock = open("pods/p/lock", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(lock, LOCK_EX), 0);
	ck_assert_int_eq(pod_recover(root, "p", &e), 1);
	ck_assert_int_eq(pod_recover_all(root, &e), 0);
	ck_assert_int_eq(pod_load_state(root, "c", &s, &e), 0);
	ck_assert_int_eq(s->status, STATE_RUNNING);
	state_free(s);
	close(lock);
	ck_assert_int_eq(pod_recover_all(root, &e), -EINVAL);
}
END_TEST

/* Records of a pod whose directory has gone, or never was. */
START_TEST(no_directory)
{
	struct err e = { 0 };
	struct state *s = NULL;

	put_record("c", "gone", STATE_RUNNING, "0", "0");
	ck_assert_int_eq(pod_load_state(root, "c", &s, &e), 0);
	ck_assert_int_eq(s->status, STATE_STOPPED);
	state_free(s);
	put_record("d", "gone", STATE_CREATED, "0", "0");
	ck_assert_int_eq(pod_recover_all(root, &e), 0);
	expect_record("d", STATE_STOPPED, 128 + SIGKILL);
	ck_assert_uint_eq(kit_count("pods"), 0); /* looking made none */
	ck_assert_int_eq(pod_load_state(root, "none", &s, &e), -ENOENT);
}
END_TEST

START_TEST(cut_journal)
{
	struct err e = { 0 };

	put_pod("{\"r\":[\"cgroup\",\"/sys/fs/cgroup/none\"]}\n{\"r\":[\"ali");
	ck_assert_msg(!pod_recover(root, "p", &e), "%s", e.text);
	ck_assert_uint_eq(kit_count("pods"), 0);
}
END_TEST

START_TEST(bad_pod_id)
{
	static const char *const bad[] = { "", ".", "..", "../containers", "/tmp", "a/b" };
	const struct spec_source src = { .bundle = "/b", .config = 2 };
	struct err e = { 0 };
	int sock = -1;

	ck_assert_int_eq(pod_recover(root, bad[_i], &e), -EINVAL);
	ck_assert_int_eq(pod_connect(root, bad[_i], &sock, &e), -EINVAL);
	ck_assert_int_eq(pod_ensure(".", root, bad[_i], &src, false, &sock, &e), -EINVAL);
	ck_assert_int_eq(sock, -1);
	ck_assert_uint_eq(kit_count("pods"), 0);
}
END_TEST

START_TEST(no_supervisor)
{
	struct err e = { 0 };
	int sock = -1;

	ck_assert_int_eq(pod_connect(root, "p", &sock, &e), -ENOENT);
	put_pod(NULL);
	ck_assert_int_eq(pod_connect(root, "p", &sock, &e), -ENOENT);
	kit_put("pods/p/control.sock", "no socket");
	ck_assert_int_eq(pod_connect(root, "p", &sock, &e), -ECONNREFUSED);
	kit_put("pods/file", "x");
	ck_assert_int_eq(pod_recover(root, "file", &e), -ENOTDIR);
}
END_TEST

/* The supervisor is this very program, which does not know the command. */
START_TEST(supervisor_does_not_start)
{
	const struct spec_source src = { .bundle = "/zz", .config = 2 };
	char cwd[PATH_MAX];
	struct err e = { 0 };
	int sock = -1;
	size_t before = kit_fds();

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	ck_assert_int_eq(pod_ensure(cwd, root, "zz", &src, false, &sock, &e), -EPIPE);
	ck_assert_str_eq(e.text, "the process ended before it was ready");
	ck_assert_uint_eq(kit_count("pods"), 0);
	ck_assert_uint_eq(kit_fds(), before);
}
END_TEST

/* ---- ready pipe ---------------------------------------------------------------- */

static const struct {
	const char *said;
	int rc;
	const char *text;
} ready[] = {
	{ "ok", 0, NULL },
	{ "22 what failed", -22, "what failed" },
	{ "22 ", -22, "" },
	{ "5 a\nb", -5, "a?b" },
	{ "", -EPIPE, "the process ended before it was ready" },
	{ "o", -EPIPE, "the process ended" },
	{ "okay", -EPIPE, "the process ended" },
	{ "22", -EPIPE, "the process ended" },
	{ "0 fine", -EPIPE, "the process ended" },
	{ "-5 x", -EPIPE, "the process ended" },
	{ "x", -EPIPE, "the process ended" },
};

START_TEST(ready_text)
{
	struct err e = { 0 };
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write_full(p[1], ready[_i].said, strlen(ready[_i].said), &e), 0);
	close(p[1]);
	ck_assert_int_eq(pod_wait_ready(p[0], &e), ready[_i].rc);
	if (ready[_i].text)
		ck_assert_msg(str_starts(e.text, ready[_i].text), "%s", e.text);
	close(p[0]);
}
END_TEST

START_TEST(ready_round_trip)
{
	struct err said = { .code = INT_MAX }, e = { 0 };
	int p[2];

	memset(said.text, 'x', sizeof(said.text) - 1);
	ck_assert_int_eq(pipe(p), 0);
	pod_say_ready(p[1], &said);
	ck_assert_int_eq(pod_wait_ready(p[0], &e), -INT_MAX);
	ck_assert_str_eq(e.text, said.text);
	close(p[0]);
	ck_assert_int_eq(pipe(p), 0);
	pod_say_ready(p[1], NULL);
	ck_assert_int_eq(pod_wait_ready(p[0], &e), 0);
	close(p[0]);
}
END_TEST

/* ---- control socket ------------------------------------------------------------- */

static int call(int *fds, size_t n_fds, Podvm__Pod__Response **ret, int peer_of[2],
		struct err *e)
{
	Podvm__Pod__Timeline tl = PODVM__POD__TIMELINE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(timeline = &tl, TIMELINE);

	return pod_call(peer_of[0], &rq, fds, n_fds, ret, e);
}

static void answer(int sock, int32_t error, const int *fds, size_t n)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;
	uint8_t buf[100];
	struct err e = { 0 };

	rs.error = error;
	rs.text = strdupa("said");
	rs.ending = true; /* never an empty packet */
	ck_assert_int_eq(fd_send(sock, buf, podvm__pod__response__pack(&rs, buf), fds, n, &e), 0);
}

START_TEST(control_call)
{
	static const struct {
		int error;
		size_t sent, wanted;
		int rc;
	} row[] = {
		{ 0, 0, 0, 0 }, { 0, 2, 2, 0 }, { 0, 1, 2, -EPROTO }, { 0, 0, 1, -EPROTO },
		{ 0, 5, 2, 0 }, { ENOENT, 0, 2, -ENOENT }, { ENOENT, 2, 2, -ENOENT },
		{ -5, 1, 1, -EPROTO }, { INT32_MIN, 0, 0, -EPROTO },
	};
	Podvm__Pod__Response *rs = NULL;
	int p[2], send[5] = { 0, 0, 0, 0, 0 }, got[2] = { -1, -1 };
	struct err e = { 0 };
	size_t before;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p), 0);
	before = kit_fds();
	answer(p[1], row[_i].error, send, row[_i].sent);
	ck_assert_msg(call(got, row[_i].wanted, &rs, p, &e) == row[_i].rc, "%s", e.text);
	if (!row[_i].rc)
		podvm__pod__response__free_unpacked(rs, NULL);
	ck_assert_uint_eq(kit_fds(), before + (row[_i].rc ? 0 : row[_i].wanted));
}
END_TEST

START_TEST(control_peer_breaks_off)
{
	Podvm__Pod__Response *rs = NULL;
	struct err e = { 0 };
	char big[POD_MESSAGE_BYTES + 1] = { 0 };
	int p[2], got[1];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p), 0);
	ck_assert_int_eq(fd_send(p[1], "\xff\xff", 2, NULL, 0, &e), 0);
	ck_assert_int_eq(call(got, 1, &rs, p, &e), -EPROTO);
	ck_assert_int_eq(fd_send(p[1], big, sizeof(big), NULL, 0, &e), 0);
	ck_assert_int_lt(call(got, 1, &rs, p, &e), 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK); /* stands for the socket's time limit */
	ck_assert_int_eq(call(got, 1, &rs, p, &e), -ETIMEDOUT);
	close(p[1]);
	ck_assert_int_eq(call(got, 1, &rs, p, &e), -EPIPE);
	ck_assert_ptr_null(rs);
	close(p[0]);
}
END_TEST

/* A supervisor that takes a while to end, in a process of its own. */
enum end { ENDS, DIES, DIES_SOCKET_FIRST };

static void slow_end(int sock, enum end how)
{
	int lock = open("pods/p/lock", O_RDWR | O_CLOEXEC);
	uint8_t buf[100];
	struct err e = { 0 };

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		_exit(1);
	if (how != ENDS) {
		if (how == DIES_SOCKET_FIRST)
			close(sock);
		usleep(100000);
		_exit(0);
	}
	if (fd_recv(sock, buf, sizeof(buf), NULL, 0, &(size_t){ 0 }, &e) <= 0)
		_exit(1);
	answer(sock, 0, NULL, 0);
	usleep(200000);
	if (unlink("pods/p/console.log") < 0 || unlink("pods/p/lock") < 0 || rmdir("pods/p") < 0)
		_exit(1);
	_exit(0);
}

/* Once a create has been given up nothing is left of the pod that it started. */
START_TEST(abandon)
{
	struct err e = { 0 };
	int p[2];

	put_pod(NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p), 0);
	child = fork();
	if (!child) {
		close(p[0]);
		slow_end(p[1], (enum end)_i);
	}
	close(p[1]);
	ck_assert_msg(!pod_abandon(root, "p", p[0], &e), "%s", e.text);
	ck_assert_uint_eq(kit_count("pods"), 0);
	close(p[0]);
	end_child();
}
END_TEST

Suite *runtime_pod_suite(void)
{
	Suite *s = suite_create("runtime_pod");
	TCase *t = tcase_create("dead"), *c = tcase_create("talk");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, process_is_ended);
	tcase_add_test(t, staging_is_removed);
	tcase_add_test(t, reused_pid_is_spared);
	tcase_add_test(t, shims_are_ended);
	tcase_add_test(t, place_of_a_shim);
	tcase_add_test(t, place_in_use);
	tcase_add_test(t, half_a_record);
	tcase_add_test(t, other_boot);
	tcase_add_test(t, same_boot);
	tcase_add_loop_test(t, garbage_record, 0, ARRAY_LEN(garbage));
	tcase_add_test(t, living_pod);
	tcase_add_test(t, no_directory);
	tcase_add_test(t, cut_journal);
	tcase_add_loop_test(t, bad_pod_id, 0, 6);
	tcase_add_test(t, no_supervisor);
	tcase_add_test(t, supervisor_does_not_start);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	tcase_add_loop_test(t, abandon, 0, 3);
	tcase_add_loop_test(c, ready_text, 0, ARRAY_LEN(ready));
	tcase_add_test(c, ready_round_trip);
	tcase_add_loop_test(c, control_call, 0, 9);
	tcase_add_test(c, control_peer_breaks_off);
	tcase_set_timeout(c, 20);
	suite_add_tcase(s, c);
	return s;
}
