/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_CLI_DECIDE_H
#define RUNTIME_CLI_DECIDE_H

#include <limits.h>

#include "lib/err.h"
#include "runtime/config.h"
#include "runtime/spec.h"
#include "runtime/trust.h"

/**
 * struct decision - a trust decision with what it rests on
 * @in, @verdict: the rules' view
 * @trust:   what config.json says; its strings are @spec's
 * @spec:    role, sandbox and annotations, owned
 * @pod:     the sandbox's id or the container's, borrowed
 * @source:  its config.json, owned
 * @runtime: the trusted runtime that it would be: the pod's, or that of the settings
 * @runtime_why, @kvm_why: what is wrong with it; @text "" when nothing is
 */
struct decision {
	struct trust_case in;
	struct trust_verdict verdict;
	struct spec_trust trust;
	struct spec *spec;
	const char *pod;
	struct spec_source source;
	char runtime[PATH_MAX];
	struct err runtime_why, kvm_why;
};

int decision_make(const char *bundle, const char *id, const struct trust_config *config, int rootfd,
		  int dir, struct decision *ret, struct err *e);
void decision_done(struct decision *d);

#endif
