/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_CLI_HANDOVER_H
#define RUNTIME_CLI_HANDOVER_H

#include <stdbool.h>

#include "lib/err.h"
#include "runtime/spec.h"

/**
 * struct call - a command line, as far as a hand-over wants to know it
 * @root:   state directory
 * @verb:   index of the command; @argc when there is none
 * @makes:  the command makes a container
 * @own:    the command is about machines, and no runtime but podvm has it
 * @id:     container; NULL when none is named
 * @bundle: directory
 * @config: another name for config.json is given, which podvm does not read
 */
struct call {
	int argc;
	char **argv;
	const char *root;
	int verb;
	bool makes, own;
	const char *id;
	const char *bundle;
	bool config;
};

bool call_read(struct call *c, int argc, char **argv);
int call_argv(const struct call *c, const char *runtime, const char *root, char ***ret,
	      struct err *e);
int handover(int argc, char **argv, struct spec_source *ret, struct err *e);

#endif
