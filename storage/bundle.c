// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A command line names a bundle or a root file system. A directory is a bundle when
 * it has a config.json and is not itself the root of a mount: engines mount a root
 * file system, and an image's own /config.json must not lead elsewhere. Of a bundle,
 * root.path and root.readonly are read by the rules of podvm itself (lib/rootpath.c).
 */
#include "storage/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/rootpath.h"
#include "lib/str.h"

/* As the runtime has it: engines write some 100 KiB. */
#define CONFIG_MAX_BYTES (4u << 20)

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
		rc = rootpath_read(&top, dir, &b->root, e);
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
		if (str_copy(b.root.path, sizeof(b.root.path), path) < 0)
			return err_set(e, ENAMETOOLONG, "%s: path too long", shown);
	} else {
		rc = read_config(dir, &b, e);
		if (rc < 0)
			return err_wrap(e, "bundle %s", shown);
	}
	*ret = b;
	return 0;
}
