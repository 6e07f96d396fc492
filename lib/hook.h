/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_HOOK_H
#define LIB_HOOK_H

#include <stdint.h>

#include "lib/err.h"

/**
 * struct hook - a program that runs beside a container's life (OCI config.md, "Hooks")
 * @path:  absolute
 * @argv:  NULL-terminated; NULL or empty: @path alone
 * @envp:  NULL-terminated, all that it has; NULL: nothing
 * @timeout_s: 0: none
 * @state: its standard input
 * @before_exec: in the child, as in struct proc_spec; may be NULL
 * @arg:   for @before_exec
 */
struct hook {
	const char *path;
	char *const *argv;
	char *const *envp;
	uint64_t timeout_s;
	const char *state;
	int (*before_exec)(void *arg);
	void *arg;
};

int hook_run(const struct hook *h, struct err *e);

#endif
