// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A bundle's config.json as it was when it was read, once for all of a create: the trust
 * decision is made of this text, the command checks it, and the supervisor makes the
 * container of it. So whoever writes the file, or moves the bundle, in between changes
 * nothing, neither what was decided nor what runs. The text is in a sealed memory file,
 * which goes from process to process as a descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/spec_impl.h"

static int read_config(const char *bundle, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_close_ int fd = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int rc;

	if (fd < 0)
		return err_sys(e, "bundle %s", bundle);
	/* A pipe or device in its place would block or never end. */
	if (fstatat(fd, "config.json", &st, 0) < 0)
		return err_sys(e, "bundle %s: config.json", bundle);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "bundle %s: config.json: must be a regular file", bundle);
	rc = file_read(fd, "config.json", SPEC_MAX_BYTES, ret, ret_len, e);
	return rc < 0 ? err_wrap(e, "bundle %s", bundle) : 0;
}

static int seal(const char *text, size_t len, int *ret, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("config.json", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return err_sys(e, "config.json: memfd_create");
	rc = write_full(fd, text, len, e);
	if (rc < 0)
		return err_wrap(e, "config.json");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return err_sys(e, "config.json: seals");
	*ret = fd_steal(&fd);
	return 0;
}

/**
 * spec_source_read() - read a bundle's config.json
 * @bundle: directory
 * @ret:    spec_source_done(); untouched on failure
 *
 * Return: 0 or minus errno
 * Context: may block on the file system
 */
int spec_source_read(const char *bundle, struct spec_source *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct spec_source s = { .config = -1 };
	size_t len;
	int rc;

	if (!realpath(bundle, s.bundle))
		return err_sys(e, "bundle %s", bundle);
	rc = read_config(s.bundle, &text, &len, e);
	if (!rc)
		rc = seal(text, len, &s.config, e);
	if (!rc)
		*ret = s;
	return rc;
}

/**
 * spec_source_take() - make one of what another process has read
 * @bundle: absolute path, as there
 * @config: its descriptor, which is the source's own on success
 *
 * Return: 0; -EPROTO: it is none, or could still be changed
 */
int spec_source_take(const char *bundle, int config, struct spec_source *ret, struct err *e)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	int seals = config < 0 ? -1 : fcntl(config, F_GET_SEALS);

	if (seals < 0 || (seals & want) != want)
		return err_set(e, EPROTO, "no sealed config.json came with the request");
	if (str_copy(ret->bundle, sizeof(ret->bundle), bundle) < 0)
		return err_set(e, ENAMETOOLONG, "bundle: path too long");
	ret->config = config;
	return 0;
}

/**
 * spec_source_text() - the text
 * @ret: owned by the caller
 *
 * Return: 0 or minus errno
 */
int spec_source_text(const struct spec_source *s, char **ret, size_t *ret_len, struct err *e)
{
	return file_read(AT_FDCWD, fd_path(s->config).s, SPEC_MAX_BYTES, ret, ret_len, e);
}

/**
 * spec_source_done() - close it; one that is closed, or was never read, is fine
 */
void spec_source_done(struct spec_source *s)
{
	fd_close(&s->config);
}
