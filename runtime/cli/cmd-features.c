// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

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

/**
 * cmd_spec() - podvm spec: an example config.json on standard output
 */
int cmd_spec(struct cli *c, int argc, char **argv, struct err *e)
{
	const struct opt t[] = { OPT_END };
	int first, rc = cli_args(t, argc, argv, 0, 0, &first, e);

	(void)c;
	return rc <= 0 ? rc : spec_example_print(stdout, e);
}
