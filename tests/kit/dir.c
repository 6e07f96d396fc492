// SPDX-License-Identifier: Apache-2.0
#include "tests/kit/dir.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"

static char home[200];

/**
 * kit_dir_enter() - make a temporary directory and change into it
 */
void kit_dir_enter(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(home, sizeof(home), "%.100s/XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(home));
	ck_assert_int_eq(chdir(home), 0);
	umask(022);
}

/**
 * kit_dir_leave() - remove it
 */
void kit_dir_leave(void)
{
	struct err e = { 0 };

	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_msg(!dir_remove(AT_FDCWD, home, &e), "%s", e.text);
}

/**
 * kit_put() - make or replace a file
 */
void kit_put(const char *path, const char *text)
{
	struct err e = { 0 };

	ck_assert_msg(!file_replace(AT_FDCWD, path, text, strlen(text), 0600, &e), "%s",
		      e.text);
}

/**
 * kit_get() - a file's text, malloc'd
 */
char *kit_get(const char *path)
{
	struct err e = { 0 };
	char *text = NULL;

	ck_assert_msg(!file_read(AT_FDCWD, path, 1 << 20, &text, NULL, &e), "%s", e.text);
	return text;
}

/**
 * kit_count() - entries of a directory
 */
size_t kit_count(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

/**
 * kit_fds() - descriptors that this process has open, to find one that leaked
 */
size_t kit_fds(void)
{
	return kit_count("/proc/self/fd");
}
