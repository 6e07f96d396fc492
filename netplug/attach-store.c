// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What was attached outlives the command that did it, so its journal is a file of its own
 * in /run/podvm/netplug, one for each interface:
 *
 *	cni:NETWORK:CONTAINER:INTERFACE		made by the CNI plugin
 *	attach:NAMESPACE:INTERFACE		made by "podvm-netplug attach"
 *
 * No part but NAMESPACE (device:inode:cookie) can hold a colon. A file is locked by who
 * works on it, and removed, under the lock, when its journal is empty; who waited for
 * neither finds out that the file he opened has lost its name, and begins anew. Nobody
 * waits for a lock: two commands at work on one attachment are a mistake of the caller,
 * and the second is told to try again.
 *
 * The first record of a journal says what it is about, and undoes nothing:
 *
 *	netplug keep PATH ID INTERFACE QUEUES UID:GID TAP
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/attach.h"

/**
 * attach_store() - open the state directory, and make it where it is missing
 *
 * Return: 0 with a descriptor that the caller owns; minus errno
 */
int attach_store(int *ret_dirfd, struct err *e)
{
	int fd, rc = dir_make(ATTACH_STATE_DIR, 0755, e);

	if (rc < 0)
		return rc;
	fd = open(ATTACH_STATE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, ATTACH_STATE_DIR);
	*ret_dirfd = fd;
	return 0;
}

/* Return: 1 with a locked file that has its name; 0 if it lost it; minus errno */
static int lock(int dirfd, const char *name, bool make, int *ret, struct err *e)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : err_sys(e, ATTACH_STATE_DIR "/%s", name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			       ? err_set(e, EAGAIN, "another command is at work on this attachment")
			       : err_sys(e, ATTACH_STATE_DIR "/%s: lock", name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, ATTACH_STATE_DIR "/%s: stat", name);
	if (!st.st_nlink)
		return 0;
	*ret = fd_steal(&fd);
	return 1;
}

/**
 * attachment_open() - lock the journal of an attachment
 * @dirfd: from attach_store(), borrowed as long as @ret lives
 * @name:  of the file
 * @make:  make it where it is missing
 * @ret:   attachment_close() it
 *
 * Return: 0; -ENOENT (without text) if there is none; -EAGAIN if somebody is at work on
 * it; minus errno
 */
int attachment_open(int dirfd, const char *name, bool make, struct attachment *ret, struct err *e)
{
	struct attachment a = {.dirfd = dirfd, .lock = -1};
	int rc;

	if (str_copy(a.name, sizeof(a.name), name) < 0)
		return err_set(
			e, ENAMETOOLONG,
			"the names of network, container and interface are too long together");
	do {
		rc = lock(dirfd, name, make, &a.lock, e);
	} while (!rc);
	if (rc > 0)
		rc = journal_open(dirfd, name, &a.j, e);
	if (rc < 0) {
		fd_close(&a.lock);
		return rc;
	}
	*ret = a;
	return 0;
}

/**
 * attachment_empty() - whether nothing was attached
 */
bool attachment_empty(const struct attachment *a)
{
	return !journal_mark(a->j);
}

static int on_keep(void *arg, const struct journal_rec *r, struct err *e)
{
	struct attach_about *about = arg;
	uint64_t queues;
	char *end;

	if (r->n != 8 || strcmp(r->word[0], "netplug") || strcmp(r->word[1], "keep"))
		return err_set(e, EINVAL, "journal: it does not say what it is about");
	if (str_copy(about->path, sizeof(about->path), r->word[2]) < 0 ||
	    str_copy(about->id, sizeof(about->id), r->word[3]) < 0 ||
	    str_copy(about->ifname, sizeof(about->ifname), r->word[4]) < 0 ||
	    parse_u64(r->word[5], &queues) < 0 || queues > ATTACH_QUEUES_MAX ||
	    str_copy(about->ask.tap, sizeof(about->ask.tap), r->word[7]) < 0)
		return err_set(e, EINVAL, "journal: damaged record");
	about->ask.queues = (uint32_t)queues;
	about->ask.uid = (uint32_t)strtoul(r->word[6], &end, 10);
	about->ask.gid = *end ? (uint32_t)strtoul(end + 1, NULL, 10) : UINT32_MAX;
	return 1; /* the first alone */
}

/**
 * attachment_about() - what an attachment is about
 *
 * Return: 0; -ENOENT (without text) if nothing was attached; minus errno
 */
int attachment_about(struct attachment *a, struct attach_about *ret, struct err *e)
{
	struct attach_about about = {.path = ""};
	int rc = journal_each(a->j, on_keep, &about, e);

	if (rc == 1)
		*ret = about;
	return rc < 0 ? rc : rc ? 0 : -ENOENT;
}

static int undo_record(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return netplug_undo(r, e);
}

/**
 * attachment_undo() - take an attachment apart
 *
 * Return: 0, also when all of it is gone already; minus errno, then the journal has what is left
 */
int attachment_undo(struct attachment *a, struct err *e)
{
	return journal_undo(a->j, undo_record, NULL, e);
}

/**
 * attachment_close() - unlock; a journal without a record goes; twice is fine
 */
void attachment_close(struct attachment *a)
{
	if (a->lock < 0)
		return;
	if (attachment_empty(a))
		unlinkat(a->dirfd, a->name, 0);
	journal_free(a->j);
	a->j = NULL;
	fd_close(&a->lock);
}

/**
 * attach_each() - call a function for each attachment
 * @dirfd:  from attach_store()
 * @prefix: of the names that are meant
 * @fn:     gets the file's name, which may be gone by then; may remove it
 *
 * Return: 0; the first that @fn returned other than 0, which ends the walk; minus errno
 */
int attach_each(int dirfd, const char *prefix,
		int (*fn)(void *arg, int dirfd, const char *name, struct err *e), void *arg,
		struct err *e)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		rc = err_sys(e, ATTACH_STATE_DIR);
		fd_close(&fd);
		return rc;
	}
	while (!rc && (de = readdir(d)))
		if (str_starts(de->d_name, prefix))
			rc = fn(arg, dirfd, de->d_name, e);
	closedir(d);
	return rc;
}

struct find {
	const char *id, *ifname;
	char *name;
	struct attach_about *about;
};

/* Reads without a lock: a journal only grows while its attachment is whole. */
static int on_find(void *arg, int dirfd, const char *name, struct err *e)
{
	struct attachment a = {.dirfd = dirfd, .lock = -1};
	struct attach_about about;
	struct find *f = arg;
	struct err ignored;
	const char *colon = strrchr(name, ':');

	(void)e;
	if (!colon || strcmp(colon + 1, f->ifname) || faccessat(dirfd, name, F_OK, 0) < 0 ||
	    journal_open(dirfd, name, &a.j, &ignored) < 0)
		return 0;
	if (attachment_about(&a, &about, &ignored) < 0 || strcmp(about.id, f->id))
		*about.ifname = 0;
	journal_free(a.j);
	if (!*about.ifname)
		return 0;
	snprintf(f->name, NAME_MAX + 1, "%s", name);
	*f->about = about;
	return 1;
}

/**
 * attach_find() - the attachment of an interface, whoever made it
 * @id: of the network namespace
 *
 * Return: 1; 0 if there is none; minus errno
 */
int attach_find(int dirfd, const char *id, const char *ifname, char ret_name[NAME_MAX + 1],
		struct attach_about *ret, struct err *e)
{
	struct find f = {.id = id, .ifname = ifname, .name = ret_name, .about = ret};

	return attach_each(dirfd, "", on_find, &f, e);
}
