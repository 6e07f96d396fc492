/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_HOOKS_H
#define RUNTIME_HOOKS_H

#include "lib/err.h"
#include "runtime/spec.h"

int hooks_run(const struct spec_hooks *h, const char *kind, const char *state,
	      struct err *e);

#endif
