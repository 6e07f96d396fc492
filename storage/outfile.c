// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A file that others see whole or not at all, whatever ends the process that makes
 * it. Its content has no name (O_TMPFILE) until it is on the disk; then it gets the
 * target's name by link(2), which fails if something has that name by then, or, to
 * replace, a temporary one and rename(2). A KILL between those two leaves a
 * complete file ".NAME.PID.podvm"; before them nothing. File systems without
 * O_TMPFILE have the temporary name from the start.
 *
 * Only a regular file is replaced: neither a device, nor what a symbolic link
 * leads to.
 */
#include "storage/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/str.h"

#define MODE 0600

static int check_target(const struct outfile *o, const char *shown, struct err *e)
{
	struct stat st;

	if (fstatat(o->dir_fd, o->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", shown);
	if (!S_ISREG(st.st_mode))
		return err_set(
			e, EEXIST,
			"%s is there and is no regular file: it is not replaced; name another file",
			shown);
	if (!o->force)
		return err_set(e, EEXIST,
			       "%s is there: name another file, or replace it with --force", shown);
	return 0;
}

static int open_content(struct outfile *o, struct err *e)
{
	o->fd = openat(o->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, MODE);
	if (o->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return err_sys(e, "new file");
	unlinkat(o->dir_fd, o->temp, 0);
	o->fd = openat(o->dir_fd, o->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       MODE);
	return o->fd < 0 ? err_sys(e, "new file") : 1;
}

/**
 * outfile_open() - begin
 * @o:     filled; outfile_done() afterwards, also on failure
 * @path:  target
 * @force: replace a regular file that is there
 *
 * Return: 0; -EEXIST; minus errno
 */
int outfile_open(struct outfile *o, const char *path, bool force, struct err *e)
{
	const char *base = strrchr(path, '/');
	char dir[PATH_MAX], shown[256];
	int rc;

	*o = (struct outfile){.fd = -1, .dir_fd = -1, .force = force};
	str_quote(shown, sizeof(shown), path);
	base = base ? base + 1 : path;
	if (!base[0] || !strcmp(base, ".") || !strcmp(base, ".."))
		return err_set(e, EISDIR, "%s: not the name of a file", shown);
	if (str_copy(o->name, sizeof(o->name), base) < 0 ||
	    snprintf(dir, sizeof(dir), "%.*s", (int)(base - path), path) >= (int)sizeof(dir))
		return err_set(e, ENAMETOOLONG, "%s: name too long", shown);
	snprintf(o->temp, sizeof(o->temp), ".%.200s.%d.podvm", o->name, getpid());
	o->dir_fd = open(dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->dir_fd < 0)
		return err_sys(e, "directory of %s", shown);
	rc = check_target(o, shown, e);
	if (rc < 0)
		return rc;
	rc = open_content(o, e);
	if (rc < 0)
		return err_wrap(e, "%s", shown);
	if (!rc)
		o->temp[0] = 0;
	return 0;
}

/* Gives content without a name one: 0 or minus errno. */
static int give_name(const struct outfile *o, const char *name)
{
	return linkat(AT_FDCWD, fd_path(o->fd).s, o->dir_fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/**
 * outfile_commit() - the content is complete: make it durable and give it its name
 *
 * Return: 0; -EEXIST; minus errno
 */
int outfile_commit(struct outfile *o, struct err *e)
{
	char shown[256];
	int rc;

	str_quote(shown, sizeof(shown), o->name);
	if (fsync(o->fd) < 0)
		return err_sys(e, "%s: write", shown);
	rc = check_target(o, shown, e);
	if (rc < 0)
		return rc;
	if (!o->temp[0] && !o->force) {
		rc = give_name(o, o->name);
	} else {
		if (!o->temp[0]) {
			snprintf(o->temp, sizeof(o->temp), ".%.200s.%d.podvm", o->name, getpid());
			unlinkat(o->dir_fd, o->temp, 0);
			rc = give_name(o, o->temp);
		}
		if (!rc && renameat2(o->dir_fd, o->temp, o->dir_fd, o->name,
				     o->force ? 0 : RENAME_NOREPLACE) < 0)
			rc = -errno;
	}
	if (rc < 0)
		return err_set(e, -rc, "%s: %s", shown, strerror(-rc));
	o->temp[0] = 0;
	fsync(o->dir_fd); /* the content is safe in any case */
	return 0;
}

/**
 * outfile_done() - let go; what was not committed is gone
 */
void outfile_done(struct outfile *o)
{
	if (o->temp[0] && o->fd >= 0)
		unlinkat(o->dir_fd, o->temp, 0);
	fd_close(&o->fd);
	fd_close(&o->dir_fd);
}
