// SPDX-License-Identifier: Apache-2.0
/*
 * The table of podvm's verbs, which is beside its main(), for tests that call a verb.
 */
#include "runtime/cli/cli.h"

/**
 * cli_commands() - see runtime/cli/main.c
 */
__attribute__((weak)) const struct command *cli_commands(void)
{
	static const struct command commands[] = {
		{ "update", "ID", "", NULL },
		{ "events", "ID", "", NULL },
		{ NULL, NULL, NULL, NULL },
	};

	return commands;
}
