// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A pod whose bundle names no network namespace has one of its own, which only descriptors
 * keep alive. Where a hook may put interfaces into it (docker does; it finds the namespace by
 * the pid of the container), the namespace gets a name, a bind mount in the pod's directory:
 * whoever cleans up after a crash then finds what was made in it by the path in the journal,
 * even when the engine keeps the namespace alive. The mount is in the journal before it is
 * made, and behind everything in the namespace when that is undone.
 *
 * Source: network_namespaces(7); moby libnetwork, the hook "libnetwork-setkey".
 */
#include "runtime/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"

#define NAME "netns"

/**
 * netns_new() - a new network namespace that only its descriptor keeps alive
 * @ret_fd: owned by the caller
 *
 * Return: 0 or minus errno
 */
int netns_new(int *ret_fd, struct err *e)
{
	_cleanup_close_ int old = -1, made = -1;

	old = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (old < 0 || unshare(CLONE_NEWNET) < 0)
		return err_sys(e, "network namespace");
	made = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (setns(old, CLONE_NEWNET) < 0 || made < 0)
		return err_sys(e, "network namespace");
	*ret_fd = fd_steal(&made);
	return 0;
}

/**
 * netns_name() - give a namespace a name in a directory
 * @netns_fd: borrowed
 * @dirfd:    of the pod, without a file of this name; borrowed
 * @j:        gets the record, before anything is made
 * @ret_path: absolute; owned by the caller
 *
 * Return: 0 or minus errno
 */
int netns_name(int netns_fd, int dirfd, struct journal *j, char **ret_path, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int file = -1;
	char dir[PATH_MAX];
	int rc = fd_name(dirfd, dir, sizeof(dir));

	if (rc < 0)
		return err_set(e, -rc, "name of the pod's directory");
	if (asprintf(&path, "%s/" NAME, dir) < 0) {
		path = NULL;
		return err_set(e, ENOMEM, "out of memory");
	}
	rc = journal_add(j, e, "netns", path, NULL);
	if (rc < 0)
		return rc;
	file = openat(dirfd, NAME, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (file < 0)
		return err_sys(e, "%s", path);
	if (mount(fd_path(netns_fd).s, path, NULL, MS_BIND, NULL) < 0)
		return err_sys(e, "%s: mount of the network namespace", path);
	*ret_path = mem_steal(path);
	return 0;
}

/**
 * netns_undo() - undo a journal record of kind "netns"; the file stays
 *
 * Return: 0 or minus errno
 */
int netns_undo(const struct journal_rec *r, struct err *e)
{
	size_t len = r->n == 2 ? strlen(r->word[1]) : 0;

	if (len <= strlen("/" NAME) || r->word[1][0] != '/' ||
	    strcmp(r->word[1] + len - strlen("/" NAME), "/" NAME))
		return err_set(e, EINVAL, "journal: damaged netns record");
	/* EINVAL: it is not mounted (any more). */
	if (umount2(r->word[1], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
	    errno != ENOENT)
		return err_sys(e, "%s: umount", r->word[1]);
	return 0;
}
