// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Where podvm-storage keeps what it makes, and finds what belongs to it: beside the
 * program first, as a build tree has it, then where `make install` puts it.
 */
#include "storage/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"

/**
 * place_make() - a directory of ours, for our user alone
 *
 * Return: 0; -EPERM when somebody else's is there; minus errno
 */
int place_make(const char *path, struct err *e)
{
	struct stat st;
	int rc = dir_make(path, 0700, e);

	if (rc < 0)
		return rc;
	if (lstat(path, &st) < 0)
		return err_sys(e, "%s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return err_set(e, EPERM, "%s: is not a directory that only we can write: remove it",
			       path);
	return 0;
}

/* @name beside this program, else in @installed. */
static int find(char *dst, size_t room, const char *name, const char *installed, struct err *e)
{
	char self[PATH_MAX] = "", path[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = n > 0 ? strrchr(self, '/') : NULL;

	if (slash) {
		*slash = 0;
		snprintf(path, sizeof(path), "%s/%s", self, name);
		if (!access(path, R_OK))
			return snprintf(dst, room, "%s", path) < (int)room ? 0 : -ENAMETOOLONG;
	}
	snprintf(path, sizeof(path), "%s/%s", installed, name);
	if (access(path, R_OK))
		return err_set(e, ENOENT,
			       "%s is neither beside this program nor in %s: install it again",
			       name, installed);
	return snprintf(dst, room, "%s", path) < (int)room ? 0 : -ENAMETOOLONG;
}

/**
 * place_libexec() - a file that was installed with this program
 * @dst: untouched on failure
 *
 * Return: 0; -ENOENT
 */
int place_libexec(char *dst, size_t room, const char *name, struct err *e)
{
	return find(dst, room, name, PODVM_LIBEXECDIR, e);
}

/**
 * place_program() - a program that was installed with this one
 * @dst: untouched on failure
 *
 * Return: 0; -ENOENT
 */
int place_program(char *dst, size_t room, const char *name, struct err *e)
{
	struct err ignored;

	return find(dst, room, name, "/usr/local/bin", e ? e : &ignored);
}
