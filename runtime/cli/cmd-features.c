// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "lib/fd.h"
#include "runtime/cli/cli.h"

/**
 * cmd_features() - podvm features
 */
int cmd_features(struct cli *c, int argc, char **argv, struct err *e)
{
	const struct opt t[] = { OPT_END };
	int first, rc = cli_args(t, argc, argv, 0, 0, &first, e);

	(void)c;
	return rc <= 0 ? rc : spec_features_print(stdout, e);
}

/* Into a new file; one that is there is somebody's work. */
static int write_example(const char *dir, struct err *e)
{
	_cleanup_close_ int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd, rc;
	FILE *f;

	if (at < 0)
		return err_sys(e, "--bundle %s", dir);
	fd = openat(at, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, EEXIST, "%s/config.json exists already; remove it first", dir);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		rc = err_sys(e, "%s/config.json", dir);
		fd_close(&fd);
		return rc;
	}
	rc = spec_example_print(f, e);
	if (fclose(f) && !rc)
		rc = err_sys(e, "%s/config.json", dir);
	return rc;
}

/**
 * cmd_spec() - podvm spec: an example config.json on standard output, or in a bundle
 */
int cmd_spec(struct cli *c, int argc, char **argv, struct err *e)
{
	const char *bundle = NULL;
	bool rootless = false;
	const struct opt t[] = {
		OPT_STR('b', "bundle", &bundle, "DIR", "write DIR/config.json instead"),
		OPT_FLAG(0, "rootless", &rootless, "refused: machines need root"),
		OPT_END
	};
	int first, rc = cli_args(t, argc, argv, 0, 0, &first, e);

	(void)c;
	if (rc <= 0)
		return rc;
	if (rootless)
		return err_set(e, ENOTSUP, "--rootless: not supported: networks and disks of a virtual machine need root");
	return bundle ? write_example(bundle, e) : spec_example_print(stdout, e);
}
