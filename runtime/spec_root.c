// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * root.path is resolved once, by the kernel, and what is handed on is the path
 * of the directory that was found. A relative path must stay in the bundle, with
 * its symbolic links (RESOLVE_BENEATH); an absolute one is the engine's word:
 * CRI-O, podman and dockerd keep root file systems elsewhere. Magic links of
 * /proc are not followed, and the host's own root is refused: its files would
 * become the guest's.
 *
 * Sources: OCI runtime-spec 1.2, config.md "Root"; openat2(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/spec_impl.h"

static int root_open(const struct jnode *root, int bundle_fd, const char *path,
		     int *ret, struct err *e)
{
	uint64_t resolve = RESOLVE_NO_MAGICLINKS;
	int fd;

	if (path[0] != '/') {
		if (spec_path_climbs(path))
			return json_fail(root, "path", e, "%s: a path out of the "
					 "bundle; use an absolute path",
					 SPEC_Q(path));
		resolve |= RESOLVE_BENEATH;
	}
	fd = fd_openat2(bundle_fd, path, O_PATH | O_DIRECTORY, 0, resolve);
	if (fd < 0 && errno == EXDEV)
		return json_fail(root, "path", e, "%s: a path out of the bundle by "
				 "a symbolic link; use an absolute path",
				 SPEC_Q(path));
	if (fd < 0)
		return json_fail(root, "path", e, "root file system %s: %s",
				 SPEC_Q(path), strerror(errno));
	*ret = fd;
	return 0;
}

/* The path of @fd, which must lead there still. */
static int root_name(const struct jnode *root, int fd, char **ret,
		     struct err *e)
{
	char path[PATH_MAX];
	struct stat here, there, slash;

	if (fd_name(fd, path, sizeof(path)) < 0)
		return err_sys(e, "/root/path");
	if (fstat(fd, &here) < 0 || stat(path, &there) < 0 ||
	    stat("/", &slash) < 0)
		return err_sys(e, "/root/path: %s", path);
	if (here.st_dev != there.st_dev || here.st_ino != there.st_ino)
		return json_fail(root, "path", e, "%s: changed while it was read",
				 SPEC_Q(path));
	if (here.st_dev == slash.st_dev && here.st_ino == slash.st_ino)
		return json_fail(root, "path", e, "not supported: it is the host's "
				 "own root directory");
	return spec_strdup(path, ret, e);
}

/**
 * spec_root() - resolve root.path into @s->rootfs
 * @top:       the whole configuration
 * @bundle_fd: directory that a relative path starts in, borrowed
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config.md "Root"
 */
int spec_root(struct spec *s, const struct jnode *top, int bundle_fd,
	      struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct jnode n;
	const char *path;
	bool readonly = false;
	int rc = json_obj(top, "root", &n, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(top, "root", e, "missing: a container needs a root "
				 "file system");
	rc = json_str(&n, "path", &path, e);
	if (rc < 0)
		return rc;
	if (!rc || !*path)
		return json_fail(&n, "path", e, "missing: it must name the "
				 "directory of the root file system");
	if (json_flag(&n, "readonly", &readonly, e) < 0)
		return -EINVAL;
	s->create->rootfs->readonly = readonly;
	rc = root_open(&n, bundle_fd, path, &fd, e);
	return rc < 0 ? rc : root_name(&n, fd, &s->rootfs, e);
}
