// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The member "root" of config.json, for whoever is given a bundle: the runtime, and the
 * command that tests storage. root.path is resolved once, by the kernel, and what is
 * handed on is the path of the directory that was found. A relative path must stay in
 * the bundle, with its symbolic links (RESOLVE_BENEATH), and does not go up; an absolute
 * one is the engine's word: CRI-O, podman and dockerd keep root file systems elsewhere.
 * Magic links of /proc are not followed, and the host's own root is refused: its files
 * would become the guest's.
 *
 * Sources: OCI runtime-spec 1.2, config.md "Root"; openat2(2).
 */
#include "lib/rootpath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/str.h"

#define QUOTED_BYTES 120

static int open_root(const struct jnode *root, int bundle_fd, const char *path, int *ret,
		     struct err *e)
{
	bool relative = path[0] != '/';
	char shown[QUOTED_BYTES];
	int fd, code;

	str_quote(shown, sizeof(shown), path);
	if (relative && path_climbs(path))
		return json_fail(root, "path", e,
				 "%s: a path out of the bundle; use an absolute path", shown);
	fd = fd_openat2(bundle_fd, path, O_PATH | O_DIRECTORY, 0,
			RESOLVE_NO_MAGICLINKS | (relative ? RESOLVE_BENEATH : 0));
	code = errno;
	if (fd < 0 && code == EXDEV)
		return json_fail(
			root, "path", e,
			"%s: a path out of the bundle by a symbolic link; use an absolute path",
			shown);
	if (fd < 0)
		return json_fail(root, "path", e, "root file system %s: %s", shown, strerror(code));
	*ret = fd;
	return 0;
}

/* The path of @fd, which must lead there still. */
static int name_root(const struct jnode *root, int fd, char path[PATH_MAX], struct err *e)
{
	struct stat here, there, slash;
	char shown[QUOTED_BYTES];

	if (fd_name(fd, path, PATH_MAX) < 0)
		return err_sys(e, "/root/path");
	str_quote(shown, sizeof(shown), path);
	if (fstat(fd, &here) < 0 || stat(path, &there) < 0 || stat("/", &slash) < 0)
		return err_sys(e, "/root/path: %s", shown);
	if (here.st_dev != there.st_dev || here.st_ino != there.st_ino)
		return json_fail(root, "path", e, "%s: changed while it was read", shown);
	if (here.st_dev == slash.st_dev && here.st_ino == slash.st_ino)
		return json_fail(root, "path", e,
				 "not supported: it is the host's own root directory");
	return 0;
}

/**
 * rootpath_read() - find the root file system of a bundle
 * @top:       the whole configuration
 * @bundle_fd: directory that a relative path starts in, borrowed
 * @ret:       untouched on failure
 *
 * Return: 0; -EINVAL with the JSON path; minus errno
 */
int rootpath_read(const struct jnode *top, int bundle_fd, struct rootpath *ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct rootpath r = { .readonly = false };
	struct jnode root;
	const char *path;
	int rc = json_obj(top, "root", &root, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(top, "root", e, "missing: a container needs a root file system");
	rc = json_str(&root, "path", &path, e);
	if (rc < 0)
		return rc;
	if (!rc || !*path)
		return json_fail(&root, "path", e,
				 "missing: it must name the directory of the root file system");
	if (json_flag(&root, "readonly", &r.readonly, e) < 0)
		return -EINVAL;
	rc = open_root(&root, bundle_fd, path, &fd, e);
	if (!rc)
		rc = name_root(&root, fd, r.path, e);
	if (rc < 0)
		return rc;
	*ret = r;
	return 0;
}
