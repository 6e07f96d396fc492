// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What stories need inside a container and its busybox may lack; static.
 *
 *   inside lock FILE COMMAND...   run a command while flock(2) holds the file
 *   inside watch DIRECTORY N      say READY, then N events of inotify(7), one a line:
 *                                 what happened and the name
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int lock(char **argv)
{
	int fd = open(argv[0], O_RDWR | O_CLOEXEC), status;
	pid_t pid;

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return fail(argv[0]);
	pid = fork();
	if (!pid) {
		execvp(argv[1], argv + 1);
		_exit(fail(argv[1]));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return fail("fork");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static const char *what(unsigned int mask)
{
	return mask & IN_CREATE	       ? "create"
	       : mask & IN_MOVED_TO    ? "moved-to"
	       : mask & IN_MOVED_FROM  ? "moved-from"
	       : mask & IN_DELETE      ? "delete"
	       : mask & IN_MODIFY      ? "modify"
	       : mask & IN_DELETE_SELF ? "delete-self"
				       : "other";
}

static int watch(const char *dir, long left)
{
	char buf[4096] __attribute__((aligned(8)));
	int fd = inotify_init1(IN_CLOEXEC);

	if (fd < 0 ||
	    inotify_add_watch(fd, dir,
			      IN_CREATE | IN_MOVE | IN_DELETE | IN_MODIFY | IN_DELETE_SELF) < 0)
		return fail(dir);
	printf("READY\n");
	fflush(stdout);
	while (left > 0) {
		ssize_t n = read(fd, buf, sizeof(buf)), at = 0;

		if (n <= 0)
			return fail("inotify");
		while (at < n && left-- > 0) {
			const struct inotify_event *ev = (const void *)(buf + at);

			printf("%s %s\n", what(ev->mask), ev->len ? ev->name : "");
			at += (ssize_t)(sizeof(*ev) + ev->len);
		}
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[1], "lock"))
		return lock(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "watch"))
		return watch(argv[2], strtol(argv[3], NULL, 10));
	fprintf(stderr, "usage: inside lock FILE COMMAND... | inside watch DIRECTORY N\n");
	return 2;
}
