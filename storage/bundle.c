// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A command line names a bundle or a root file system. A directory is a bundle when
 * it has a config.json and is not itself the root of a mount: engines mount a root
 * file system, and an image's own /config.json must not lead elsewhere. Of a bundle,
 * root.path and root.readonly are read by the rules of podvm itself: a relative path
 * stays in the bundle, with its symbolic links; an absolute one is the engine's word.
 *
 * Source: OCI runtime-spec 1.2, config.md "Root"
 */
#include "storage/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"

/* As the runtime has it: engines write some 100 KiB. */
#define CONFIG_MAX_BYTES (4u << 20)

static int open_root(const struct jnode *root, int bundle_fd, const char *path, int *ret,
		     struct err *e)
{
	int fd = fd_openat2(bundle_fd, path, O_PATH | O_DIRECTORY, 0,
			    RESOLVE_NO_MAGICLINKS | (path[0] == '/' ? 0 : RESOLVE_BENEATH));
	int code = errno;
	char shown[256];

	str_quote(shown, sizeof(shown), path);
	if (fd < 0 && code == EXDEV)
		return json_fail(root, "path", e,
				 "%s: leads out of the bundle; use an absolute path", shown);
	if (fd < 0)
		return json_fail(root, "path", e, "%s: %s", shown, strerror(code));
	*ret = fd;
	return 0;
}

static int read_root(const struct jnode *top, int bundle_fd, struct bundle *b, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct jnode root;
	const char *path;
	int rc = json_obj(top, "root", &root, e);

	if (!rc)
		return json_fail(top, "root", e, "is missing");
	if (rc > 0)
		rc = json_str(&root, "path", &path, e);
	if (!rc)
		return json_fail(&root, "path", e, "is missing");
	if (rc > 0)
		rc = json_flag(&root, "readonly", &b->readonly, e);
	if (rc >= 0)
		rc = open_root(&root, bundle_fd, path, &fd, e);
	if (rc < 0)
		return rc;
	return fd_name(fd, b->rootfs, sizeof(b->rootfs)) < 0 ? err_sys(e, "/root/path") : 0;
}

static int read_config(int dir, struct bundle *b, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc;
	struct jnode top;
	size_t len;
	int rc = file_read(dir, "config.json", CONFIG_MAX_BYTES, &text, &len, e);

	if (rc < 0)
		return rc;
	rc = json_parse(text, len, &doc, e);
	if (rc < 0)
		return err_wrap(e, "config.json");
	top = json_root(doc);
	rc = json_as_obj(&top, e);
	if (!rc)
		rc = read_root(&top, dir, b, e);
	json_free(doc);
	return rc < 0 ? err_wrap(e, "config.json") : 0;
}

/**
 * bundle_find() - where the root file system is that a command line means
 * @path: bundle or root file system
 * @ret:  its @bundle is borrowed from @path; untouched on failure
 *
 * Return: 0; -EINVAL with the member of config.json; minus errno
 */
int bundle_find(const char *path, struct bundle *ret, struct err *e)
{
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bundle b = {.bundle = path};
	char shown[256];
	struct statx sx;
	struct stat st;
	int rc;

	str_quote(shown, sizeof(shown), path);
	if (dir < 0)
		return err_sys(e, "%s", shown);
	if (statx(dir, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) < 0)
		return err_sys(e, "%s: statx", shown);
	if (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT ||
	    fstatat(dir, "config.json", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) {
		b.bundle = NULL;
		if (str_copy(b.rootfs, sizeof(b.rootfs), path) < 0)
			return err_set(e, ENAMETOOLONG, "%s: path too long", shown);
	} else {
		rc = read_config(dir, &b, e);
		if (rc < 0)
			return err_wrap(e, "bundle %s", shown);
	}
	*ret = b;
	return 0;
}
