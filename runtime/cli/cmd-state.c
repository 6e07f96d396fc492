// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "lib/mem.h"
#include "runtime/cli/cli.h"

/**
 * cmd_state() - podvm state
 */
int cmd_state(struct cli *c, int argc, char **argv, struct err *e)
{
	const struct opt t[] = { OPT_END };
	_cleanup_free_ char *json = NULL;
	struct state *s;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	if (rc <= 0)
		return rc;
	rc = pod_load_state(c->rootfd, argv[first], &s, e);
	if (rc < 0)
		return rc;
	rc = state_json(s, &json, e);
	state_free(s);
	if (!rc)
		printf("%s\n", json);
	return rc;
}
