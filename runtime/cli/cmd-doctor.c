// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "runtime/cli/cli.h"
#include "runtime/doctor/doctor.h"

/**
 * cmd_doctor() - podvm doctor: what keeps pods from running here, and what mends it
 *
 * Makes nothing, not even the state directory.
 */
int cmd_doctor(struct cli *c, int argc, char **argv, struct err *e)
{
	struct doctor d = { .host = &doctor_this_host, .root = c->root };
	bool json = false, list = false;
	const struct opt t[] = {
		OPT_FLAG(0, "json", &json, "for programs"),
		OPT_FLAG('l', "list", &list, "list what is looked at, and end"),
		OPT_END
	};
	int first, rc = cli_args(t, argc, argv, 0, 0, &first, e);

	if (rc <= 0)
		return rc;
	if (list) {
		doctor_list(stdout);
		return 0;
	}
	if (config_load(&d.config, &d.config_why) < 0)
		config_defaults(&d.config);
	else
		d.config_why.code = 0; /* a file that may be missing is */
	d.wait = progress_wait("looking at the host");
	doctor_run(&d);
	progress_wait_end(d.wait);
	rc = d.failed ? err_set(e, ENOMEM, "out of memory") : 0;
	if (!rc && json)
		rc = doctor_print_json(&d, stdout, e);
	else if (!rc)
		doctor_print(&d, stdout);
	if (!rc && doctor_count(&d, DOCTOR_ERROR))
		rc = 1;
	doctor_done(&d);
	return rc;
}
