// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * checkpoint and restore, which we do not have. They are verbs all the same, so that who
 * asks for help learns why. That ends with 1, too: podman takes a "checkpoint --help" that
 * succeeds for a runtime that can.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/cli/cli.h"

static const char why[] =
	"not supported: the processes of a container are a virtual machine's, where CRIU does not reach; podvm pause stops them for a while";

static int refuse(int argc, char **argv, struct err *e)
{
	const struct opt t[] = { OPT_END };
	int first;

	if (argc < 2 || (strcmp(argv[1], "--help") && strcmp(argv[1], "-h")))
		return err_set(e, ENOTSUP, "%s: %s", argv[0], why);
	cli_args(t, argc, argv, 0, -1, &first, e);
	printf("\n%s is %s.\n", argv[0], why);
	return 1;
}

/**
 * cmd_checkpoint() - podvm checkpoint
 */
int cmd_checkpoint(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)c;
	return refuse(argc, argv, e);
}

/**
 * cmd_restore() - podvm restore
 */
int cmd_restore(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)c;
	return refuse(argc, argv, e);
}
