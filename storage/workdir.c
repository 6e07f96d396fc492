// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What `podvm-storage test` makes on a host can be found again after a KILL. Each test
 * has a place PLACE_TEST/PID, a directory that it keeps locked (flock) while it lives,
 * with a journal of what it is about to make. Who gets the lock has found a test that
 * ended without cleaning up, and undoes its journal: the next test does so, and gc.
 * Mounts need no record: they are in a mount namespace that ends with the test.
 *
 *	dir BASE NAME	the working directory, in $TMPDIR or /var/tmp
 *	dm NAME		a device-mapper device
 *	pod ROOT	a state directory of podvm with one container, "test"
 */
#include "storage/workdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "storage/place.h"

static int undo_dir(const char *base, const char *name, struct err *e)
{
	_cleanup_close_ int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", base);
	rc = dir_remove(fd, name, e);
	return rc == -ENOENT ? 0 : rc;
}

/* Whether the kernel has a device of this name; nodes in /dev may be missing. */
static bool dm_exists(const char *name)
{
	DIR *dir = opendir("/sys/block");
	bool found = false;
	struct dirent *d;

	while (dir && !found && (d = readdir(dir))) {
		_cleanup_free_ char *text = NULL;
		char path[300];

		snprintf(path, sizeof(path), "%s/dm/name", d->d_name);
		if (file_read(dirfd(dir), path, 256, &text, NULL, NULL) < 0)
			continue;
		text[strcspn(text, "\n")] = 0;
		found = !strcmp(text, name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int undo_dm(const char *name, struct err *e)
{
	static const char *const words[] = {"dmsetup", "--noudevrules", "--noudevsync", "remove",
					    "--retry"};
	char *argv[ARRAY_LEN(words) + 2] = {NULL};
	size_t i;

	if (!dm_exists(name))
		return 0;
	for (i = 0; i < ARRAY_LEN(words); i++)
		argv[i] = (char *)(uintptr_t)words[i];
	argv[i] = (char *)(uintptr_t)name;
	return proc_run("/usr/sbin/dmsetup", argv, e);
}

static int undo_pod(const char *root, struct err *e)
{
	char program[PATH_MAX];
	char *const argv[] = {(char *)(uintptr_t) "podvm",
			      (char *)(uintptr_t) "--root",
			      (char *)(uintptr_t)root,
			      (char *)(uintptr_t) "delete",
			      (char *)(uintptr_t) "--force",
			      (char *)(uintptr_t) "test",
			      NULL};

	if (access(root, F_OK) || place_program(program, sizeof(program), "podvm", NULL) < 0)
		return 0;
	return proc_run(program, argv, e);
}

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	if (r->n == 3 && !strcmp(r->word[0], "dir"))
		return undo_dir(r->word[1], r->word[2], e);
	if (r->n == 2 && !strcmp(r->word[0], "dm"))
		return undo_dm(r->word[1], e);
	if (r->n == 2 && !strcmp(r->word[0], "pod"))
		return undo_pod(r->word[1], e);
	return err_set(e, EINVAL, "unknown record: made by another version; undo it by hand");
}

/**
 * workdir_lock() - lock the place of a test
 * @ret_fd: owned by the caller; untouched on failure
 *
 * Return: 0; -EBUSY: its test lives; -ENOENT; minus errno
 */
int workdir_lock(int places_fd, const char *name, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd =
		openat(places_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(e, "%s", name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(e, EBUSY, "test %s is running", name)
					    : err_sys(e, "%s: lock", name);
	/* Somebody may have cleaned up between open and lock. */
	if (fstat(fd, &st) < 0 || !st.st_nlink)
		return err_set(e, ENOENT, "%s is gone", name);
	*ret_fd = fd_steal(&fd);
	return 0;
}

/* Undoes what a locked place knows of, and removes it. */
static int clean(int places_fd, int state_fd, const char *name, struct err *e)
{
	struct journal *j;
	int rc = journal_open(state_fd, "journal", &j, e);

	if (rc < 0)
		return rc;
	rc = journal_undo(j, undo, NULL, e);
	journal_free(j);
	if (rc < 0)
		return err_wrap(e, "%s/%s", PLACE_TEST, name);
	return dir_remove(places_fd, name, e);
}

/**
 * workdir_recover() - clean up after a test that was killed
 *
 * Return: 0; -EBUSY: it lives; minus errno
 */
int workdir_recover(int places_fd, const char *name, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int rc = workdir_lock(places_fd, name, &fd, e);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	return clean(places_fd, fd, name, e);
}

static int make_state(struct workdir *w, struct err *e)
{
	_cleanup_close_ int places = -1;
	int rc = place_make(PLACE_TEST, e);

	if (rc < 0)
		return rc;
	places = open(PLACE_TEST, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (places < 0)
		return err_sys(e, PLACE_TEST);
	snprintf(w->state, sizeof(w->state), "%d", getpid());
	do {
		/* A test that had our pid has ended. */
		rc = workdir_recover(places, w->state, e);
		if (rc < 0)
			return rc;
		if (mkdirat(places, w->state, 0700) < 0 && errno != EEXIST)
			return err_sys(e, PLACE_TEST "/%s", w->state);
		rc = workdir_lock(places, w->state, &w->state_fd, e);
	} while (rc == -ENOENT);
	return rc < 0 ? rc : journal_open(w->state_fd, "journal", &w->journal, e);
}

/**
 * workdir_make() - make a working directory for a test
 * @w: filled; workdir_done() afterwards, also on failure
 *
 * Return: 0 or minus errno
 */
int workdir_make(struct workdir *w, struct err *e)
{
	const char *base = getenv("TMPDIR");
	char name[64];
	int rc;

	*w = (struct workdir){.fd = -1, .state_fd = -1};
	if (!base || base[0] != '/')
		base = "/var/tmp";
	rc = make_state(w, e);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "podvm-test.%d.%llx", getpid(),
		 (unsigned long long)clock_ms());
	if (snprintf(w->path, sizeof(w->path), "%s/%s", base, name) >= (int)sizeof(w->path) - 256)
		return err_set(e, ENAMETOOLONG, "TMPDIR is too long");
	rc = journal_add(w->journal, e, "dir", base, name, NULL);
	if (rc < 0)
		return rc;
	/* For gc, to tell how much there is. */
	if (symlinkat(w->path, w->state_fd, "path") < 0)
		return err_sys(e, PLACE_TEST "/%s/path", w->state);
	if (mkdir(w->path, 0700) < 0)
		return err_sys(e, "%s", w->path);
	w->fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return w->fd < 0 ? err_sys(e, "%s", w->path) : 0;
}

/**
 * workdir_done() - undo all of it
 *
 * Mounts below it are the caller's to take away before.
 *
 * Return: 0 or minus errno: then gc will try again
 */
int workdir_done(struct workdir *w, struct err *e)
{
	_cleanup_close_ int places = open(PLACE_TEST, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	fd_close(&w->fd);
	journal_free(w->journal);
	w->journal = NULL;
	if (w->state_fd >= 0)
		rc = places < 0 ? err_sys(e, PLACE_TEST) : clean(places, w->state_fd, w->state, e);
	fd_close(&w->state_fd);
	return rc;
}
