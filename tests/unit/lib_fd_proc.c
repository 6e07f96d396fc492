// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Descriptors, files and processes: passing with surplus and cut messages,
 * replacing and removing files under failures, links and mounts, and children
 * with awkward descriptor maps. What a child has open, it says itself.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "tests/kit/dir.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"

Suite *lib_fd_proc_suite(void);

/* ---- passing descriptors --------------------------------------------------- */

static int pair[2];

static void open_pair(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

START_TEST(pass)
{
	int send[FD_PASS_MAX], got[FD_PASS_MAX];
	size_t n = 99, i, before;
	struct err e = { 0 };
	char buf[8];

	open_pair();
	for (i = 0; i < FD_PASS_MAX; i++)
		send[i] = pair[1];
	before = kit_fds();
	ck_assert_int_eq(fd_send(pair[0], "hello", 5, send, FD_PASS_MAX, &e), 0);
	ck_assert_int_eq(fd_recv(pair[1], buf, sizeof(buf), got, FD_PASS_MAX, &n, &e), 5);
	ck_assert_uint_eq(n, FD_PASS_MAX);
	for (i = 0; i < n; i++) {
		ck_assert(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
		close(got[i]);
	}
	ck_assert_int_eq(fd_send(pair[0], "x", 1, send, FD_PASS_MAX + 1, &e), -EINVAL);
	ck_assert_uint_eq(kit_fds(), before);
}
END_TEST

START_TEST(pass_surplus)
{
	int send[5] = { 0, 0, 0, 0, 0 }, got[2] = { -1, -1 };
	struct err e = { 0 };
	size_t n, before;
	char buf[8];

	open_pair();
	before = kit_fds();
	ck_assert_int_eq(fd_send(pair[0], "x", 1, send, 5, &e), 0);
	ck_assert_int_eq(fd_recv(pair[1], buf, sizeof(buf), got, 2, &n, &e), 1);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(kit_fds(), before + 2);
	ck_assert_int_eq(fd_send(pair[0], "x", 1, send, 5, &e), 0);
	ck_assert_int_eq(fd_recv(pair[1], buf, sizeof(buf), NULL, 0, &n, &e), 1);
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(kit_fds(), before + 2);
}
END_TEST

static void send_raw(size_t len, size_t n_fds)
{
	char room[CMSG_SPACE(64 * sizeof(int))] = { 0 }, text[64] = { 0 };
	struct iovec iov = { text, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room,
			    .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	ck_assert_int_eq(sendmsg(pair[0], &m, 0), (int)len);
}

/* Cut data, cut descriptors, and an empty packet with descriptors: none stays open. */
START_TEST(pass_cut)
{
	static const struct {
		size_t len, fds;
		int rc;
	} row[] = { { 9, 3, -EMSGSIZE }, { 1, FD_PASS_MAX + 1, -EMSGSIZE },
		    { 1, 64, -EMSGSIZE }, { 0, 3, 0 } };
	int got[FD_PASS_MAX];
	struct err e = { 0 };
	size_t n = 99, before;
	char buf[8];

	open_pair();
	before = kit_fds();
	send_raw(row[_i].len, row[_i].fds);
	ck_assert_int_eq(fd_recv(pair[1], buf, sizeof(buf), got, FD_PASS_MAX, &n, &e),
			 row[_i].rc);
	ck_assert_uint_eq(n, row[_i].rc ? 99 : 0);
	ck_assert_uint_eq(kit_fds(), before);
}
END_TEST

START_TEST(pass_to_nobody)
{
	struct err e = { 0 };
	int got[1];
	char buf[8];
	size_t n;

	open_pair();
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	ck_assert_int_eq(fd_recv(pair[0], buf, 8, got, 1, &n, &e), -EAGAIN);
	close(pair[1]);
	ck_assert_int_eq(fd_send(pair[0], "x", 1, NULL, 0, &e), -EPIPE); /* no SIGPIPE */
	ck_assert_int_eq(fd_recv(pair[0], buf, 8, got, 1, &n, &e), 0);
	ck_assert_int_eq(fd_send(-1, "x", 1, NULL, 0, &e), -EBADF);
}
END_TEST

START_TEST(close_and_steal)
{
	int fd = dup(0), other;

	errno = EXDEV;
	fd_close(&fd);
	ck_assert_int_eq(fd, -1);
	fd_close(&fd);
	ck_assert_int_eq(errno, EXDEV);
	fd = dup(0);
	other = fd_steal(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_ge(other, 0);
	close(other);
}
END_TEST

/* ---- files ------------------------------------------------------------------ */

START_TEST(read_write_full)
{
	struct err e = { 0 };
	char buf[8];
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write_full(p[1], "abc", 3, &e), 0);
	close(p[1]);
	ck_assert_int_eq(read_full(p[0], buf, 4, &e), -EPIPE);
	ck_assert_str_eq(e.text, "end of file after 3 of 4 bytes");
	ck_assert_int_eq(read_full(p[0], buf, 0, &e), 0);
	ck_assert_int_eq(read_full(-1, buf, 1, &e), -EBADF);
}
END_TEST

START_TEST(read_cap)
{
	struct err e = { 0 };
	char *text = NULL;
	size_t len = 0;

	kit_put("f", "12345");
	ck_assert_int_eq(file_read(AT_FDCWD, "f", 4, &text, &len, &e), -EFBIG);
	ck_assert_ptr_null(text);
	ck_assert_int_eq(file_read(AT_FDCWD, "f", 5, &text, &len, &e), 0);
	ck_assert_str_eq(text, "12345");
	ck_assert_uint_eq(len, 5);
	free(text);
	ck_assert_int_eq(file_read(AT_FDCWD, "/dev/zero", 100000, &text, NULL, &e), -EFBIG);
	ck_assert_int_eq(file_read(AT_FDCWD, ".", 100, &text, NULL, &e), -EISDIR);
	ck_assert_int_eq(file_read(AT_FDCWD, "none", 100, &text, NULL, &e), -ENOENT);
	ck_assert_int_eq(file_write(AT_FDCWD, "none", "x", &e), -ENOENT);
	ck_assert_int_eq(file_write(AT_FDCWD, "/dev/full", "x", &e), -ENOSPC);
}
END_TEST

START_TEST(replace_fails_whole)
{
	unsigned int n;
	struct err e = { 0 };
	char *text;
	bool fired = true;

	kit_put("f", "old");
	for (n = 1; fired; n++) {
		int rc;

		kit_fault_arm(KIT_FAULT_FILES, n, ENOSPC);
		rc = file_replace(AT_FDCWD, "f", "new text", 8, 0600, &e);
		fired = kit_fault_fired();
		ck_assert_int_eq(rc, fired ? -ENOSPC : 0);
		text = kit_get("f");
		ck_assert_str_eq(text, fired ? "old" : "new text");
		free(text);
		ck_assert_uint_eq(kit_count("."), 1);
	}
	ck_assert_uint_ge(n, 3);
	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(file_replace(AT_FDCWD, "d", "x", 1, 0600, &e), -EISDIR);
	ck_assert_uint_eq(kit_count("."), 2);
	ck_assert_int_eq(file_replace(AT_FDCWD, "none/f", "x", 1, 0600, &e), -ENOENT);
}
END_TEST

/* A link under the temporary name, and the name itself a link: neither is followed. */
START_TEST(replace_and_links)
{
	struct err e = { 0 };
	struct stat st;
	char tmp[64];
	char *text;

	kit_put("precious", "keep");
	snprintf(tmp, sizeof(tmp), "f.%d.tmp", getpid());
	ck_assert_int_eq(symlink("precious", tmp), 0);
	ck_assert_int_eq(symlink("precious", "f"), 0);
	ck_assert_int_eq(file_replace(AT_FDCWD, "f", "new", 3, 0640, &e), 0);
	text = kit_get("precious");
	ck_assert_str_eq(text, "keep");
	free(text);
	ck_assert_int_eq(lstat("f", &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 0777, 0640);
	ck_assert_uint_eq(kit_count("."), 2);
}
END_TEST

START_TEST(remove_tree_and_links)
{
	struct err e = { 0 };
	char deep[3000] = "t";
	int i;

	ck_assert_int_eq(mkdir("keep", 0700), 0);
	kit_put("keep/file", "x");
	for (i = 0; i < 200; i++) {
		ck_assert_int_eq(mkdir(deep, 0700), 0);
		strcat(deep, "/d");
	}
	ck_assert_int_eq(symlink("../keep", "t/dirlink"), 0);
	ck_assert_int_eq(symlink("../keep/file", "t/d/filelink"), 0);
	ck_assert_int_eq(symlink("loop", "t/loop"), 0);
	ck_assert_int_eq(mkfifo("t/fifo", 0600), 0);
	ck_assert_int_eq(symlink("keep", "toplink"), 0);
	ck_assert_msg(!dir_remove(AT_FDCWD, "t", &e), "%s", e.text);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "toplink", &e), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "none", &e), 0);
	ck_assert_uint_eq(kit_count("."), 1);
	ck_assert_uint_eq(kit_count("keep"), 1);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "keep/file", &e), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "keep/file/x", &e), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "/proc/self", &e), -EPERM);
}
END_TEST

/* A rename anywhere on the machine makes the kernel give up on "..". */
START_TEST(renames_do_not_stop_a_path)
{
	pid_t pid;
	int i, fd;

	kit_put("x", "");
	ck_assert_int_eq(mkdir("d", 0700), 0);
	kit_put("d/f", "");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid)
		for (;;)
			if (rename("x", "y") < 0 || rename("y", "x") < 0)
				_exit(1);
	for (i = 0; i < 20000; i++) {
		fd = fd_openat2(AT_FDCWD, "d/../d/../d/../d/f", O_RDONLY, 0, RESOLVE_BENEATH);
		ck_assert_msg(fd >= 0, "open %d: %s", i, strerror(errno));
		close(fd);
	}
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* What is mounted inside must stay whole: it is somebody's volume. */
START_TEST(remove_spares_mounts)
{
	struct err e = { 0 };

	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert(!mkdir("volume", 0700) && !mkdir("t", 0700) && !mkdir("t/m", 0700));
	kit_put("volume/data", "x");
	kit_put("t/f", "x");
	ck_assert_int_eq(mount("volume", "t/m", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "t", &e), -EXDEV);
	ck_assert_uint_eq(kit_count("volume"), 1);
	ck_assert_int_eq(umount("t/m"), 0);
	kit_put("t/f", "x");
	ck_assert_int_eq(mount("volume/data", "t/f", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "t", &e), -EBUSY);
	ck_assert_int_eq(umount("t/f"), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "t", &e), 0);
	/* The first one, too; a mount on the way to it is none of its business. */
	ck_assert_int_eq(mkdir("m", 0700), 0);
	ck_assert_int_eq(mount("volume", "m", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "m", &e), -EXDEV);
	ck_assert_uint_eq(kit_count("volume"), 1);
	ck_assert_int_eq(mkdir("m/d", 0700), 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, "m/d", &e), 0);
	ck_assert_uint_eq(kit_count("volume"), 1);
	ck_assert_int_eq(umount("m"), 0);
}
END_TEST

START_TEST(make_dirs)
{
	char big[PATH_MAX + 10];
	struct err e = { 0 };

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	kit_put("file", "x");
	ck_assert_int_eq(dir_make("a//b/./c/", 0700, &e), 0);
	ck_assert_int_eq(access("a/b/c", X_OK), 0);
	ck_assert_int_eq(dir_make("/", 0700, &e), 0);
	ck_assert_int_eq(dir_make("a", 0700, &e), 0);
	ck_assert_int_eq(dir_make("file", 0700, &e), -ENOTDIR);
	ck_assert_int_eq(dir_make("file/x", 0700, &e), -ENOTDIR);
	ck_assert_int_eq(dir_make("", 0700, &e), -ENAMETOOLONG);
	ck_assert_int_eq(dir_make(big, 0700, &e), -ENAMETOOLONG);
}
END_TEST

/* ---- processes --------------------------------------------------------------- */

static char said[4096];

/* Runs a shell script whose standard output goes to @said; descriptors as mapped. */
static int shell(const char *script, const struct proc_fd *map, size_t n)
{
	struct proc_fd all[8] = { { 0 } };
	char *argv[] = { strdupa("sh"), strdupa("-c"), strdupa(script), NULL };
	struct proc_spec s = { .path = "/bin/sh", .argv = argv, .fds = all };
	struct err e = { 0 };
	int p[2], pidfd, status = -1;
	size_t i, len = 0;
	ssize_t k;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	for (i = 0; i < n; i++)
		all[i] = map[i];
	all[n] = (struct proc_fd){ p[1], 1 };
	s.n_fds = n + 1;
	ck_assert_msg(!proc_spawn(&s, NULL, &pidfd, &e), "%s", e.text);
	close(p[1]);
	while ((k = read(p[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)k;
	said[len] = 0;
	close(p[0]);
	ck_assert_msg(!proc_wait(pidfd, 5000, &status, &e), "%s", e.text);
	close(pidfd);
	return status;
}

START_TEST(child_has_only_its_map)
{
	int leak[20], i;

	for (i = 0; i < 20; i++)
		leak[i] = dup(0); /* not close-on-exec */
	ck_assert_int_eq(fcntl(0, F_DUPFD, 700), 700);
	ck_assert_int_eq(shell("ls /proc/$$/fd; readlink /proc/$$/fd/0 /proc/$$/fd/2; :",
			       NULL, 0), 0);
	ck_assert_str_eq(said, "0\n1\n2\n/dev/null\n/dev/null\n");
	for (i = 0; i < 20; i++)
		close(leak[i]);
}
END_TEST

START_TEST(child_gets_swapped)
{
	int a, b;
	struct proc_fd map[4];

	kit_put("a", "A");
	kit_put("b", "B");
	a = open("a", O_RDONLY | O_CLOEXEC);
	b = open("b", O_RDONLY | O_CLOEXEC);
	ck_assert(dup2(a, 3) == 3 && dup2(b, 4) == 4);
	map[0] = (struct proc_fd){ 3, 4 };
	map[1] = (struct proc_fd){ 4, 3 };
	map[2] = (struct proc_fd){ 3, 0 };
	map[3] = (struct proc_fd){ 3, 9 }; /* one descriptor twice, and a gap */
	ck_assert_int_eq(shell("basename $(readlink /proc/$$/fd/3);"
			       "basename $(readlink /proc/$$/fd/4);"
			       "basename $(readlink /proc/$$/fd/0); ls /proc/$$/fd; :",
			       map, 4), 0);
	ck_assert_str_eq(said, "b\na\na\n0\n1\n2\n3\n4\n9\n");
}
END_TEST

/* A caller whose own 0, 1, 2 are closed: the pipes get these numbers. */
START_TEST(spawn_without_stdio)
{
	char *argv[] = { strdupa("false"), NULL };
	struct proc_spec s = { .path = "/bin/false", .argv = argv };
	int keep = fcntl(1, F_DUPFD_CLOEXEC, 100), pidfd, status = -1, rc, bad;
	struct err e = { 0 };

	close(0);
	close(1);
	close(2);
	rc = proc_spawn(&s, NULL, &pidfd, &e);
	rc = rc ? rc : proc_wait(pidfd, 5000, &status, &e);
	s.path = "/none";
	bad = proc_spawn(&s, NULL, &pidfd, &e);
	dup2(keep, 1);
	dup2(keep, 2);
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(status, 1);
	ck_assert_int_eq(bad, -ENOENT);
}
END_TEST

static int prepare_fails(void *arg)
{
	(void)arg;
	return -EOVERFLOW;
}

START_TEST(spawn_failures)
{
	char *argv[] = { strdupa("x"), NULL };
	struct proc_fd map[PROC_FDS_MAX + 1] = { { -1, 3 } };
	struct proc_spec s = { .path = "/none", .argv = argv };
	struct err e = { 0 };
	int pidfd = -77;
	size_t before = kit_fds();

	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -ENOENT);
	ck_assert_str_eq(e.text, "/none: exec: No such file or directory");
	s.path = ".";
	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -EACCES);
	kit_put("text", "no program");
	ck_assert_int_eq(chmod("text", 0700), 0);
	s.path = "./text";
	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -ENOEXEC);
	s.path = "/bin/true";
	s.before_exec = prepare_fails;
	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -EOVERFLOW);
	ck_assert_ptr_nonnull(strstr(e.text, "prepare"));
	s.before_exec = NULL;
	s.fds = map;
	s.n_fds = 1;
	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -EBADF);
	map[0] = (struct proc_fd){ 0, 512 };
	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -EINVAL);
	map[0] = (struct proc_fd){ 0, -1 };
	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -EINVAL);
	map[0] = (struct proc_fd){ 0, 3 };
	s.n_fds = PROC_FDS_MAX + 1;
	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), -EINVAL);
	ck_assert_int_eq(pidfd, -77);
	ck_assert_uint_eq(kit_fds(), before);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

/* Ignored and blocked signals of ours are not the child's. */
START_TEST(child_signals)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	signal(SIGTERM, SIG_IGN);
	ck_assert_int_eq(shell("kill -TERM $$; echo alive", NULL, 0), 128 + SIGTERM);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(shell("exit 37", NULL, 0), 37);
	ck_assert_int_eq(shell("exit 255", NULL, 0), 255);
}
END_TEST

START_TEST(wait_times_out)
{
	char *argv[] = { strdupa("sleep"), strdupa("100"), NULL };
	struct proc_spec s = { .path = "/bin/sleep", .argv = argv };
	struct err e = { 0 };
	int pidfd, status = 77;
	uint64_t start = clock_ms();

	ck_assert_int_eq(proc_spawn(&s, NULL, &pidfd, &e), 0);
	ck_assert_int_eq(proc_wait(pidfd, 0, &status, &e), -ETIMEDOUT);
	ck_assert_int_eq(proc_wait(pidfd, 50, &status, &e), -ETIMEDOUT);
	ck_assert_uint_ge(clock_ms() - start, 50);
	ck_assert_int_eq(status, 77);
	ck_assert_int_eq(proc_kill(pidfd, SIGKILL), 0);
	ck_assert_int_eq(proc_wait(pidfd, -1, &status, &e), 0);
	ck_assert_int_eq(status, 128 + SIGKILL);
	ck_assert_int_eq(proc_wait(pidfd, 0, &status, &e), -ECHILD); /* reaped already */
	ck_assert_int_eq(proc_kill(pidfd, SIGKILL), -ESRCH);
	close(pidfd);
}
END_TEST

START_TEST(run)
{
	char *argv[] = { strdupa("false"), NULL };
	struct err e = { 0 };

	ck_assert_int_eq(proc_run("/bin/true", argv, &e), 0);
	ck_assert_int_eq(proc_run("/bin/false", argv, &e), -EIO);
	ck_assert_str_eq(e.text, "/bin/false: exit status 1");
	ck_assert_int_eq(proc_run("/none", argv, &e), -ENOENT);
}
END_TEST

/* A process that took over a pid has another start time. */
START_TEST(pid_reuse)
{
	char name[] = "a) R 1 (b\n";
	uint64_t ticks = 0;
	struct err e = { 0 };
	pid_t pid;
	int fd;

	ck_assert_int_eq(proc_start_ticks(getpid(), &ticks, &e), 0);
	ck_assert_uint_gt(ticks, 0);
	fd = proc_pidfd(getpid(), ticks, &e);
	ck_assert_int_ge(fd, 0);
	close(fd);
	fd = proc_pidfd(getpid(), 0, &e);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(proc_pidfd(getpid(), ticks + 1, &e), -ESRCH);
	ck_assert_int_lt(proc_pidfd(0, 0, &e), 0);
	ck_assert_int_lt(proc_pidfd(-1, 0, &e), 0);
	ck_assert_int_eq(proc_start_ticks(0x7fffffff, &ticks, &e), -ESRCH);

	pid = fork(); /* a name that looks like the fields behind it */
	if (!pid) {
		file_write(AT_FDCWD, "/proc/self/comm", name, NULL);
		pause();
	}
	do {
		char path[40];
		char *text = NULL;
		bool done;

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		ck_assert_int_eq(file_read(AT_FDCWD, path, 100, &text, NULL, &e), 0);
		done = str_starts(text, "a) R");
		free(text);
		if (done)
			break;
	} while (!sched_yield());
	{
		uint64_t child = 0;

		ck_assert_int_eq(proc_start_ticks(pid, &child, &e), 0);
		ck_assert_uint_ge(child, ticks);
		ck_assert_uint_lt(child, ticks + 100000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ck_assert_int_eq(proc_pidfd(pid, 0, &e), -ESRCH);
}
END_TEST

Suite *lib_fd_proc_suite(void)
{
	Suite *s = suite_create("lib_fd_proc");
	TCase *t = tcase_create("fd"), *f = tcase_create("file"), *p = tcase_create("proc");

	tcase_add_test(t, pass);
	tcase_add_test(t, pass_surplus);
	tcase_add_loop_test(t, pass_cut, 0, 4);
	tcase_add_test(t, pass_to_nobody);
	tcase_add_test(t, close_and_steal);
	tcase_add_test(t, read_write_full);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(f, kit_dir_enter, kit_dir_leave);
	tcase_add_test(f, read_cap);
	tcase_add_test(f, replace_fails_whole);
	tcase_add_test(f, replace_and_links);
	tcase_add_test(f, remove_tree_and_links);
	tcase_add_test(f, make_dirs);
	tcase_add_test(f, renames_do_not_stop_a_path);
	if (geteuid())
		kit_skip("lib_fd_proc/mounts", "no private mount namespace: needs root");
	else
		tcase_add_test(f, remove_spares_mounts);
	suite_add_tcase(s, f);
	tcase_add_checked_fixture(p, kit_dir_enter, kit_dir_leave);
	tcase_add_test(p, child_has_only_its_map);
	tcase_add_test(p, child_gets_swapped);
	tcase_add_test(p, spawn_without_stdio);
	tcase_add_test(p, spawn_failures);
	tcase_add_test(p, child_signals);
	tcase_add_test(p, wait_times_out);
	tcase_add_test(p, run);
	tcase_add_test(p, pid_reuse);
	tcase_set_timeout(p, 30);
	suite_add_tcase(s, p);
	return s;
}
