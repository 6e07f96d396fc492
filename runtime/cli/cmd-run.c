// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "runtime/cli/cli.h"
#include "runtime/shim/shim.h"

/**
 * cmd_run() - podvm run: create, start, wait, delete; exits as the container did
 */
int cmd_run(struct cli *c, int argc, char **argv, struct err *e)
{
	struct create_args a = { .bundle = "." };
	bool detach = false, keep = false, subreaper = false, terminal, told;
	const struct opt t[] = {
		CREATE_OPTIONS(&a),
		OPT_FLAG('d', "detach", &detach, "return when the container runs"),
		OPT_FLAG(0, "keep", &keep, "do not delete the container at its end"),
		OPT_FLAG(0, "no-subreaper", &subreaper, "no effect: orphans are the guest's"),
		OPT_END
	};
	_cleanup_close_ int shim = -1;
	int first, status = 0, rc = cli_args(t, argc, argv, 1, 1, &first, e);
	struct err why;

	if (rc <= 0)
		return rc;
	a.foreground = !detach;
	/* The shim has nobody else to tell what becomes of the container's changes. */
	told = detach || log_get_fd() >= 0;
	if (!told)
		log_open(STDERR_FILENO, LOG_LEVEL_WARN, false);
	rc = create_container(c, &a, argv[first], &shim, &terminal, e);
	if (!told)
		log_open(-1, LOG_LEVEL_WARN, false);
	if (rc < 0)
		return rc;
	rc = start_container(c, argv[first], e);
	if (!rc && detach)
		return 0;
	if (!rc)
		rc = shim_foreground(shim, terminal && !a.console_socket, &status, e);
	if ((rc < 0 || !keep) && delete_container(c, argv[first], true, &why) < 0)
		log_warn("container %s: %s", argv[first], why.text);
	return rc < 0 ? rc : status;
}
