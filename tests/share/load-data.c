// SPDX-License-Identifier: Apache-2.0
/* The load's part about data, locks and users; see load.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/share/load.h"

#define MB (1u << 20)

static uint64_t sum(const unsigned char *p, size_t n)
{
	uint64_t h = 5381;

	while (n--)
		h = h * 33 + *p++;
	return h;
}

static void fill(unsigned char *p, size_t n)
{
	uint32_t x = 12345;
	size_t i;

	for (i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (unsigned char)(x >> 24);
	}
}

static void read_and_write(void)
{
	int fd = open("data", O_RDWR | O_CREAT, 0644), app;
	struct iovec v[3];
	char a[4] = "", b[4] = "", buf[64] = "";

	say_rc("write", write(fd, "hello world", 11));
	say_rc("pwrite behind the end", pwrite(fd, "far", 3, 100000));
	say_stat("sparse", "data");
	say_rc("pread in the hole", pread(fd, buf, 10, 50000));
	say("zeros", "%d", buf[0] | buf[9]);
	v[0] = (struct iovec){ a, 3 };
	v[1] = (struct iovec){ b, 3 };
	say_rc("preadv", preadv(fd, v, 2, 1));
	say("parts", "%s %s", a, b);
	say_rc("read at the end", pread(fd, buf, 10, 100003));
	app = open("data", O_WRONLY | O_APPEND);
	say_rc("append", write(app, "end", 3));
	say_rc("append with a place", pwrite(app, "END", 3, 0));
	close(app);
	say_stat("appended", "data");
	say_rc("truncate down", ftruncate(fd, 5));
	say_rc("truncate up", ftruncate(fd, 5000));
	memset(buf, 1, sizeof(buf));
	say_rc("read", pread(fd, buf, 8, 0));
	say("cut and zeros", "%.5s %d%d%d", buf, buf[5], buf[6], buf[7]);
	say_rc("truncate by name", truncate("data", 10));
	say_rc("truncate a directory", truncate("d", 10));
	say_rc("truncate to less than nothing", ftruncate(fd, -1));
	say_rc("fsync", fsync(fd));
	say_rc("fdatasync", fdatasync(fd));
	say_rc("syncfs", syncfs(fd));
	close(fd);
	fd = open("data", O_RDWR | O_TRUNC);
	say_stat("opened with truncation", "data");
	say_rc("write to read-only", write(open("data", O_RDONLY), "x", 1));
	fd = open("data", O_WRONLY | O_DSYNC);
	say_rc("write in sync", write(fd, "sync", 4));
	close(fd);
}

static void large(void)
{
	unsigned char *p = malloc(3 * MB), *q = malloc(3 * MB);
	int fd = open("large", O_RDWR | O_CREAT, 0644);

	fill(p, 3 * MB);
	say_rc("write 3 MiB", write(fd, p, 3 * MB));
	say_rc("read 3 MiB", pread(fd, q, 3 * MB, 0));
	say("the same", "%d %016llx", !memcmp(p, q, 3 * MB), (unsigned long long)sum(q, 3 * MB));
	say_rc("odd place", pwrite(fd, p + 7, 100001, 4093));
	say_rc("read odd", pread(fd, q, 200000, 4000));
	say("sum", "%016llx", (unsigned long long)sum(q, 200000));
	close(fd);
	free(p);
	free(q);
}

static void ranges(void)
{
	int fd = open("ranges", O_RDWR | O_CREAT, 0644), to = open("copy", O_RDWR | O_CREAT, 0644);
	char buf[16] = "";
	off_t in = 0, out = 5;
	ssize_t n;

	say_rc("fallocate", fallocate(fd, 0, 0, 65536));
	say_stat("allocated", "ranges");
	say_rc("fallocate keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 65536, 65536));
	say_stat("kept", "ranges");
	say_rc("write there", pwrite(fd, "0123456789", 10, 0));
	say_rc("punch", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 2, 3));
	say_rc("read it", pread(fd, buf, 10, 0));
	say("punched", "%c%c %d%d%d %.5s", buf[0], buf[1], buf[2], buf[3], buf[4], buf + 5);
	say_rc("truncate sparse", ftruncate(fd, 10 * MB));
	say_rc("data far", pwrite(fd, "x", 1, 8 * MB));
	say_rc("seek data", lseek(fd, MB, SEEK_DATA));
	say_rc("seek hole", lseek(fd, 8 * MB, SEEK_HOLE) > 8 * MB);
	say_rc("seek data at the end", lseek(fd, 10 * MB, SEEK_DATA));
	n = copy_file_range(fd, &in, to, &out, 10, 0);
	say_rc("copy", n);
	memset(buf, 0, sizeof(buf));
	say_rc("read the copy", pread(to, buf, 10, 5));
	say("copied", "%c%c%.5s", buf[0], buf[1], buf + 5);
	close(fd);
	close(to);
	say_rc("no space for all", fallocate(open("ranges", O_RDWR), 0, 0, 1ll << 50));
}

static void maps(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT, 0644);
	char buf[8] = "", *p, *q;

	say_rc("map: size", ftruncate(fd, 3 * 4096));
	say_rc("map: write", pwrite(fd, "file", 4, 4096));
	p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		say_rc("mmap shared", -1);
		return;
	}
	say("mmap shared", "%.4s", p + 4096);
	memcpy(p + 8000, "mem", 4);
	say_rc("msync", msync(p, 3 * 4096, MS_SYNC));
	say_rc("map: read", pread(fd, buf, 4, 8000));
	say("written by memory", "%s", buf);
	say_rc("map: write again", pwrite(fd, "FILE", 4, 4096));
	say("seen in memory", "%.4s", p + 4096);
	q = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
	if (q != MAP_FAILED) {
		say("mmap private", "%.4s", q);
		q[0] = 'X';
		say("private stays", "%.4s", p + 4096);
		munmap(q, 4096);
	}
	munmap(p, 3 * 4096);
	close(fd);
	say_stat("mapped", "mapped");
}

/* A file whose name is gone, or was never there. */
static void nameless(void)
{
	int fd = open("gone", O_RDWR | O_CREAT | O_EXCL, 0644);
	struct stat st = { 0 };
	char path[40], buf[8] = "";

	say_rc("unlink open", unlink("gone"));
	say_rc("write to it", write(fd, "still", 5));
	say_rc("fstat", fstat(fd, &st));
	say("links and size", "%lu %lld", (unsigned long)st.st_nlink, (long long)st.st_size);
	say_rc("fchmod", fchmod(fd, 0600));
	say_rc("ftruncate", ftruncate(fd, 3));
	say_rc("read it back", pread(fd, buf, 8, 0));
	close(fd);
	fd = open("d", O_TMPFILE | O_RDWR, 0640);
	say_rc("tmpfile", fd >= 0);
	say_rc("write tmpfile", write(fd, "temporary", 9));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	say_rc("give it a name", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	close(fd);
	say_stat("named", "named");
	fd = open("replaced", O_RDWR | O_CREAT, 0644);
	put_file("new", "new");
	say_rc("rename over open", rename("new", "replaced"));
	say_rc("write to the old", write(fd, "old", 3));
	fstat(fd, &st);
	say("old has links", "%lu", (unsigned long)st.st_nlink);
	close(fd);
}

/**
 * load_data() - what is in files
 */
void load_data(void)
{
	read_and_write();
	large();
	ranges();
	maps();
	nameless();
}

/* ---- locks: another process tries, or waits ----------------------------------------- */

static long lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &l);
}

static long try_lock(void *range)
{
	const off_t *r = range;

	return lock(open("locked", O_RDWR), F_SETLK, F_WRLCK, r[0], r[1]);
}

static long try_flock(void *how)
{
	return flock(open("locked", O_RDWR), *(int *)how | LOCK_NB);
}

static void try_range(const char *name, off_t start, off_t len)
{
	off_t r[2] = { start, len };

	say_rc(name, in_child(try_lock, r, 0, 0));
}

/* A child waits for a lock; it gets it when we let go. */
static void wait_for_lock(int fd, bool whole)
{
	int p[2], status;
	char c = 0;
	pid_t pid;

	if (pipe(p) < 0)
		return;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int own = open("locked", O_RDWR);

		if (write(p[1], "w", 1) != 1)
			_exit(2);
		_exit((whole ? flock(own, LOCK_EX) : lock(own, F_SETLKW, F_WRLCK, 0, 0)) < 0);
	}
	if (read(p[0], &c, 1) != 1 || waitpid(pid, &status, WNOHANG))
		say("waiting", "it does not");
	usleep(50000);
	say(whole ? "flock waits" : "lock waits", "%s",
	    waitpid(pid, &status, WNOHANG) ? "no" : "yes");
	if (whole)
		flock(fd, LOCK_UN);
	else
		lock(fd, F_SETLK, F_UNLCK, 0, 0);
	waitpid(pid, &status, 0);
	say(whole ? "flock comes" : "lock comes", "%d", WEXITSTATUS(status));
	close(p[0]);
	close(p[1]);
}

static void posix_locks(int fd)
{
	struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int other;

	say_rc("lock 0-9", lock(fd, F_SETLK, F_WRLCK, 0, 10));
	try_range("other locks 5", 5, 1);
	try_range("other locks 10", 10, 5);
	say_rc("unlock 3-4", lock(fd, F_SETLK, F_UNLCK, 3, 2));
	try_range("other locks 3", 3, 2);
	try_range("other locks 4-5", 4, 2);
	say_rc("make it shared", lock(fd, F_SETLK, F_RDLCK, 0, 3));
	try_range("other locks 1", 1, 1);
	say_rc("lock to the end", lock(fd, F_SETLK, F_WRLCK, 100, 0));
	try_range("other locks far", 1ll << 40, 1);
	fcntl(fd, F_GETLK, &l);
	say("own locks are not in the way", "%s", l.l_type == F_UNLCK ? "yes" : "no");
	other = open("locked", O_RDWR);
	close(other);
	try_range("closing another descriptor lets go", 5, 1);
	say_rc("lock all", lock(fd, F_SETLK, F_WRLCK, 0, 0));
	wait_for_lock(fd, false);
	say_rc("lock read-only file", lock(open("locked", O_RDONLY), F_SETLK, F_WRLCK, 0, 0));
}

static void file_locks(int fd)
{
	int shared = LOCK_SH, exclusive = LOCK_EX, copy = dup(fd);
	int own = open("locked", O_RDWR);

	say_rc("flock exclusive", flock(fd, LOCK_EX));
	say_rc("other flock", in_child(try_flock, &shared, 0, 0));
	say_rc("a copy has it", flock(copy, LOCK_EX | LOCK_NB));
	say_rc("another description has not", flock(own, LOCK_SH | LOCK_NB));
	say_rc("flock shared", flock(fd, LOCK_SH));
	say_rc("other shared", in_child(try_flock, &shared, 0, 0));
	say_rc("other exclusive", in_child(try_flock, &exclusive, 0, 0));
	close(copy);
	say_rc("still", in_child(try_flock, &exclusive, 0, 0));
	close(own);
	say_rc("flock again", flock(fd, LOCK_EX));
	wait_for_lock(fd, true);
}

static void description_locks(int fd)
{
	int own = open("locked", O_RDWR);

	say_rc("description lock", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
	say_rc("another description", lock(own, F_OFD_SETLK, F_WRLCK, 5, 1));
	say_rc("description unlock", lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
	say_rc("then another", lock(own, F_OFD_SETLK, F_WRLCK, 5, 1));
	close(own);
	say_rc("gone with its description", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
}

/**
 * load_locks() - POSIX locks, flock, locks of open file descriptions
 */
void load_locks(void)
{
	int fd;

	put_file("locked", "locked");
	fd = open("locked", O_RDWR);
	posix_locks(fd);
	file_locks(fd);
	close(fd);
	fd = open("locked", O_RDWR);
	description_locks(fd);
	close(fd);
}

/* ---- users --------------------------------------------------------------------------------- */

static long user_create(void *path)
{
	return open(path, O_RDWR | O_CREAT | O_EXCL, 0666);
}

static long user_mkdir(void *path)
{
	return mkdir(path, 0777);
}

static long user_unlink(void *path)
{
	return unlink(path);
}

static long user_read(void *path)
{
	return open(path, O_RDONLY);
}

static long user_write(void *path)
{
	return write(open(path, O_WRONLY), "x", 1);
}

static long user_truncate(void *path)
{
	return truncate(path, 1);
}

static long user_chmod(void *path)
{
	return chmod(path, 0777);
}

static long user_chown(void *path)
{
	return chown(path, 1000, 1000);
}

static void as_user(const char *name, long (*fn)(void *), const char *path)
{
	char copy[100];

	snprintf(copy, sizeof(copy), "%s", path);
	say_rc(name, in_child(fn, copy, 1000, 1000));
}

static void make(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	put_file(path, "content");
	if (chown(path, uid, gid) < 0 || chmod(path, mode) < 0)
		say_rc("make", -1);
}

static void set_user_id(void)
{
	int fd;

	make("suid", 06777, 0, 1000);
	as_user("user writes to set-user-ID", user_write, "suid");
	say_stat("bits are gone", "suid");
	make("suid2", 06777, 0, 1000);
	as_user("user truncates set-user-ID", user_truncate, "suid2");
	say_stat("bits are gone too", "suid2");
	make("suid3", 06777, 0, 0);
	fd = open("suid3", O_WRONLY);
	say_rc("root writes to set-user-ID", write(fd, "x", 1));
	close(fd);
	say_stat("bits stay", "suid3");
	say_rc("root truncates", truncate("suid3", 1));
	say_stat("bits stay still", "suid3");
	say_rc("root chowns", chown("suid3", 1, 1));
	say_stat("bits go", "suid3");
}

/**
 * load_users() - what others than root may do, and whose things are that they make
 */
void load_users(void)
{
	say_rc("mkdir u", mkdir("u", 0755));
	as_user("user creates in root's", user_create, "u/file");
	say_rc("chmod u", chmod("u", 01777));
	as_user("user creates", user_create, "u/file");
	say_stat("user's", "u/file");
	as_user("user makes a directory", user_mkdir, "u/dir");
	say_stat("user's directory", "u/dir");
	make("u/roots", 0666, 0, 0);
	as_user("user removes root's from sticky", user_unlink, "u/roots");
	as_user("user removes own", user_unlink, "u/file");
	say_rc("set-group-ID directory", mkdir("g", 0755));
	say_rc("its group", chown("g", 0, 2000));
	say_rc("its mode", chmod("g", 02777));
	as_user("user creates in it", user_create, "g/file");
	say_stat("group's", "g/file");
	as_user("user makes a directory in it", user_mkdir, "g/dir");
	say_stat("group's directory", "g/dir");
	make("secret", 0600, 0, 0);
	as_user("user reads a secret", user_read, "secret");
	as_user("user writes a secret", user_write, "secret");
	as_user("user truncates a secret", user_truncate, "secret");
	as_user("user chmods a secret", user_chmod, "secret");
	as_user("user chowns a secret", user_chown, "secret");
	make("users", 0000, 1000, 1000);
	as_user("user reads own of 0", user_read, "users");
	as_user("user chmods own", user_chmod, "users");
	say_stat("chmodded own", "users");
	set_user_id();
}

/* ---- several at a time ------------------------------------------------------------------------
 */

#define WORKERS 4
#define ROUNDS 60

/* Makes, writes, renames, reads and removes files of its own among those of others. */
static int work(int me)
{
	char from[40], to[40], text[40], back[40];
	int i, failed = 0;

	for (i = 0; i < ROUNDS; i++) {
		int fd, len;

		snprintf(from, sizeof(from), "p/from-%d-%d", me, i);
		snprintf(to, sizeof(to), "p/to-%d-%d", me, i);
		len = snprintf(text, sizeof(text), "text of %d, %d", me, i);
		fd = open(from, O_RDWR | O_CREAT | O_EXCL, 0644);
		failed += fd < 0 || write(fd, text, (size_t)len) != len;
		failed += rename(from, to) < 0;
		failed +=
			pread(fd, back, sizeof(back), 0) != len || memcmp(back, text, (size_t)len);
		close(fd);
		failed += access(from, F_OK) == 0;
		if (i % 2)
			failed += unlink(to) < 0;
	}
	return failed;
}

/* All add to one number in one file, under a lock. */
static int count(void)
{
	int fd = open("p/count", O_RDWR), i, failed = 0;

	for (i = 0; i < ROUNDS; i++) {
		unsigned int n = 0;

		failed += lock(fd, F_SETLKW, F_WRLCK, 0, 0) < 0;
		failed += pread(fd, &n, sizeof(n), 0) != sizeof(n);
		n++;
		failed += pwrite(fd, &n, sizeof(n), 0) != sizeof(n);
		failed += lock(fd, F_SETLK, F_UNLCK, 0, 0) < 0;
	}
	return failed;
}

/**
 * load_parallel() - processes that meet in one directory, and in one file
 */
void load_parallel(void)
{
	int i, status, failed = 0, fd;
	unsigned int n = 0;

	say_rc("mkdir p", mkdir("p", 0755));
	fd = open("p/count", O_RDWR | O_CREAT, 0644);
	say_rc("begin to count", write(fd, &n, sizeof(n)));
	fflush(stdout);
	for (i = 0; i < WORKERS; i++)
		if (!fork())
			_exit(!!(work(i) + count()));
	for (i = 0; i < WORKERS; i++)
		failed += wait(&status) < 0 || status;
	say("together", "%d failed", failed);
	say_rc("read the count", pread(fd, &n, sizeof(n), 0));
	say("counted", "%u", n);
	close(fd);
}
