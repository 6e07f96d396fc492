/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_HOOKS_H
#define RUNTIME_HOOKS_H

#include <stdbool.h>

#include "lib/err.h"
#include "runtime/spec.h"
#include "runtime/state.h"

int hooks_run(const struct spec_hooks *h, const char *kind, const struct state *s,
	      const char *status, struct err *e);
void hooks_poststop(const struct spec *spec, const struct state *s);
int hooks_check(const struct spec *s, struct err *e);
int hooks_in_guest(int control, const char *id, bool start, struct err *e);

#endif
