// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A file-system test load whose results are lines "name: result", the same on every
 * file system that behaves as Linux's do: error names, modes, owners, contents; no
 * times, inode numbers or block counts. The story compares a run on the host with one
 * over virtio-fs, line by line, and then the two trees.
 *
 *	load run DIR      the load, in an empty directory, as root
 *	load list DIR     what is below DIR: name, mode, owner, links, size, hash, target
 *
 * As PID 1 it is the guest of the story: load-guest.c. It is linked statically.
 */
#include "tests/share/load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *prefix = "";

/* One line of the result. */
void say(const char *name, const char *fmt, ...)
{
	va_list ap;

	printf("%s%s: ", prefix, name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* The result of a system call: its value, or errno's name. */
void say_rc(const char *name, long rc)
{
	if (rc < 0)
		say(name, "%s", strerrorname_np(errno));
	else
		say(name, "%ld", rc);
}

/* Type, mode, owner, links and size, or why there are none. */
void say_stat(const char *name, const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0) {
		say_rc(name, -1);
		return;
	}
	say(name, "mode %o owner %u:%u links %lu size %lld", st.st_mode, st.st_uid, st.st_gid,
	    S_ISDIR(st.st_mode) ? 0ul : (unsigned long)st.st_nlink,
	    S_ISDIR(st.st_mode) ? 0ll : (long long)st.st_size);
}

/* Runs @fn as a user without capabilities and groups. Return: its result, errno set */
long in_child(long (*fn)(void *arg), void *arg, uint32_t uid, uint32_t gid)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		long rc;

		if (setgid(gid) < 0 || (uid && setuid(uid) < 0))
			_exit(255);
		rc = fn(arg);
		_exit(rc < 0 ? errno : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
		errno = ECHILD;
		return -1;
	}
	errno = WEXITSTATUS(status);
	return errno ? -1 : 0;
}

/* Makes or replaces a file; its failure shows in what follows. */
void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		say_rc("put_file", -1);
	close(fd);
}

/* FNV-1a */
static uint64_t hash_file(const char *path)
{
	uint64_t h = 0xcbf29ce484222325ull;
	unsigned char buf[4096];
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n, i;

	if (fd < 0)
		return 0;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (i = 0; i < n; i++)
			h = (h ^ buf[i]) * 0x100000001b3ull;
	close(fd);
	return n < 0 ? 1 : h;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void list_one(const char *path)
{
	char target[5000] = "";
	struct stat st;

	say_stat(path, path);
	if (lstat(path, &st) < 0)
		return;
	if (S_ISLNK(st.st_mode) && readlink(path, target, sizeof(target) - 1) > 0)
		say(path, "-> %s", target);
	if (S_ISREG(st.st_mode))
		say(path, "hash %016llx mtime %lld.%09ld", (unsigned long long)hash_file(path),
		    (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void list_dir(const char *path)
{
	struct dirent **d;
	int n = scandir(path, &d, NULL, by_name), i;

	for (i = 0; i < n; i++) {
		char name[6000];

		if (!strcmp(d[i]->d_name, ".") || !strcmp(d[i]->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, d[i]->d_name);
		list_one(name);
		if (d[i]->d_type == DT_DIR)
			list_dir(name);
		free(d[i]);
	}
	if (n >= 0)
		free(d);
}

/**
 * load_list() - everything below a directory, with hashes
 */
void load_list(const char *dir, const char *use_prefix)
{
	prefix = use_prefix;
	if (chdir(dir) < 0)
		say_rc(dir, -1);
	else
		list_dir(".");
	if (chdir("/") < 0)
		say_rc("chdir", -1);
}

/**
 * load_run() - the load
 * @dir: empty, owned by root
 */
void load_run(const char *dir, const char *use_prefix)
{
	prefix = use_prefix;
	umask(022);
	if (chdir(dir) < 0) {
		say_rc(dir, -1);
		return;
	}
	load_names();
	load_attributes();
	load_data();
	load_locks();
	load_users();
	load_parallel();
	say("end", "of the load");
	if (chdir("/") < 0)
		say_rc("chdir", -1);
}

int main(int argc, char **argv)
{
	if (getpid() == 1)
		load_init();
	if (argc != 3 || (strcmp(argv[1], "run") && strcmp(argv[1], "list"))) {
		fprintf(stderr, "usage: load run|list DIR\n");
		return 1;
	}
	(*argv[1] == 'r' ? load_run : load_list)(argv[2], "");
	return 0;
}
