// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Trust. First the truth table: annotation × default level × what is asked of the
 * host × trusted runtime × KVM × what runs untrusted work, each row with the decision,
 * the rule and words of the message that it must give; then containers that follow
 * their pod. Then what a bundle says, written by people who want out of their machine
 * or who mistype; command lines of other runtimes; and records of decisions, with
 * calls that died, that race, and that are damaged.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cli/handover.h"
#include "runtime/handed.h"
#include "runtime/spec.h"
#include "runtime/trust.h"
#include "tests/kit/dir.h"

Suite *runtime_trust_suite(void);

/* ---- the truth table -------------------------------------------------------- */

/* @asks: p privileged, n the host's network */
#define R(mark, level, asks, runtime, kvm, untrusted, choice, rule, why)                         \
	{ TRUST_MARK_##mark, TRUST_LEVEL_##level, asks, TRUST_RUNTIME_##runtime, kvm,            \
	  TRUST_UNTRUSTED_##untrusted, TRUST_##choice, rule, why }

static const struct {
	enum trust_mark mark;
	enum trust_level level;
	const char *asks;
	enum trust_runtime runtime;
	bool kvm;
	enum trust_untrusted untrusted;
	enum trust_choice choice;
	const char *rule, *why;
} table[] = {
	R(NONE, UNTRUSTED, "", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(NONE, UNTRUSTED, "", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(NONE, UNTRUSTED, "", MISSING, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(NONE, UNTRUSTED, "", MISSING, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(NONE, UNTRUSTED, "", READY, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(NONE, UNTRUSTED, "", READY, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(NONE, UNTRUSTED, "p", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(NONE, UNTRUSTED, "p", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(NONE, UNTRUSTED, "p", MISSING, 1, PODVM, REFUSE, "privileged", "cannot be run"),
	R(NONE, UNTRUSTED, "p", MISSING, 0, PODVM, REFUSE, "privileged", "cannot be run"),
	R(NONE, UNTRUSTED, "p", READY, 1, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(NONE, UNTRUSTED, "p", READY, 0, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(NONE, UNTRUSTED, "n", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, UNTRUSTED, "n", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, UNTRUSTED, "n", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, UNTRUSTED, "n", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, UNTRUSTED, "n", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(NONE, UNTRUSTED, "n", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(NONE, UNTRUSTED, "pn", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, UNTRUSTED, "pn", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, UNTRUSTED, "pn", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, UNTRUSTED, "pn", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, UNTRUSTED, "pn", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(NONE, UNTRUSTED, "pn", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(NONE, TRUSTED, "", UNSET, 1, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(NONE, TRUSTED, "", UNSET, 0, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(NONE, TRUSTED, "", MISSING, 1, PODVM, REFUSE, "trusted", "cannot be run"),
	R(NONE, TRUSTED, "", MISSING, 0, PODVM, REFUSE, "trusted", "cannot be run"),
	R(NONE, TRUSTED, "", READY, 1, PODVM, HAND_OVER, "trusted", "default level is trusted"),
	R(NONE, TRUSTED, "", READY, 0, PODVM, HAND_OVER, "trusted", "default level is trusted"),
	R(NONE, TRUSTED, "p", UNSET, 1, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(NONE, TRUSTED, "p", UNSET, 0, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(NONE, TRUSTED, "p", MISSING, 1, PODVM, REFUSE, "privileged", "cannot be run"),
	R(NONE, TRUSTED, "p", MISSING, 0, PODVM, REFUSE, "privileged", "cannot be run"),
	R(NONE, TRUSTED, "p", READY, 1, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(NONE, TRUSTED, "p", READY, 0, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(NONE, TRUSTED, "n", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, TRUSTED, "n", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, TRUSTED, "n", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, TRUSTED, "n", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, TRUSTED, "n", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(NONE, TRUSTED, "n", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(NONE, TRUSTED, "pn", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, TRUSTED, "pn", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(NONE, TRUSTED, "pn", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, TRUSTED, "pn", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(NONE, TRUSTED, "pn", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(NONE, TRUSTED, "pn", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, UNTRUSTED, "", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(TRUSTED, UNTRUSTED, "", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(TRUSTED, UNTRUSTED, "", MISSING, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(TRUSTED, UNTRUSTED, "", MISSING, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(TRUSTED, UNTRUSTED, "", READY, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(TRUSTED, UNTRUSTED, "", READY, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(TRUSTED, UNTRUSTED, "p", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(TRUSTED, UNTRUSTED, "p", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(TRUSTED, UNTRUSTED, "p", MISSING, 1, PODVM, REFUSE, "privileged", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "p", MISSING, 0, PODVM, REFUSE, "privileged", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "p", READY, 1, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(TRUSTED, UNTRUSTED, "p", READY, 0, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(TRUSTED, UNTRUSTED, "n", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, UNTRUSTED, "n", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, UNTRUSTED, "n", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "n", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "n", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, UNTRUSTED, "n", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, UNTRUSTED, "pn", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, UNTRUSTED, "pn", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, UNTRUSTED, "pn", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "pn", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "pn", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, UNTRUSTED, "pn", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, TRUSTED, "", UNSET, 1, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "", UNSET, 0, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "", MISSING, 1, PODVM, REFUSE, "trusted", "cannot be run"),
	R(TRUSTED, TRUSTED, "", MISSING, 0, PODVM, REFUSE, "trusted", "cannot be run"),
	R(TRUSTED, TRUSTED, "", READY, 1, PODVM, HAND_OVER, "trusted", "default level is trusted"),
	R(TRUSTED, TRUSTED, "", READY, 0, PODVM, HAND_OVER, "trusted", "default level is trusted"),
	R(TRUSTED, TRUSTED, "p", UNSET, 1, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "p", UNSET, 0, PODVM, REFUSE, "trusted", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "p", MISSING, 1, PODVM, REFUSE, "privileged", "cannot be run"),
	R(TRUSTED, TRUSTED, "p", MISSING, 0, PODVM, REFUSE, "privileged", "cannot be run"),
	R(TRUSTED, TRUSTED, "p", READY, 1, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(TRUSTED, TRUSTED, "p", READY, 0, PODVM, HAND_OVER, "privileged", "privileged: "),
	R(TRUSTED, TRUSTED, "n", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "n", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "n", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, TRUSTED, "n", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, TRUSTED, "n", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, TRUSTED, "n", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, TRUSTED, "pn", UNSET, 1, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "pn", UNSET, 0, PODVM, REFUSE, "host", "no trusted runtime is set"),
	R(TRUSTED, TRUSTED, "pn", MISSING, 1, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, TRUSTED, "pn", MISSING, 0, PODVM, REFUSE, "host", "cannot be run"),
	R(TRUSTED, TRUSTED, "pn", READY, 1, PODVM, HAND_OVER, "host", "host's network"),
	R(TRUSTED, TRUSTED, "pn", READY, 0, PODVM, HAND_OVER, "host", "host's network"),
	R(UNTRUSTED, UNTRUSTED, "", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, UNTRUSTED, "", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, UNTRUSTED, "", MISSING, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, UNTRUSTED, "", MISSING, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, UNTRUSTED, "", READY, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, UNTRUSTED, "", READY, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, UNTRUSTED, "p", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, UNTRUSTED, "p", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, UNTRUSTED, "p", MISSING, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "p", MISSING, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "p", READY, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "p", READY, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "n", UNSET, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "n", UNSET, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "n", MISSING, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "n", MISSING, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "n", READY, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "n", READY, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "pn", UNSET, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "pn", UNSET, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "pn", MISSING, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "pn", MISSING, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "pn", READY, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, UNTRUSTED, "pn", READY, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, TRUSTED, "", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, TRUSTED, "", MISSING, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, TRUSTED, "", MISSING, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, TRUSTED, "", READY, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, TRUSTED, "", READY, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, TRUSTED, "p", UNSET, 1, PODVM, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, TRUSTED, "p", UNSET, 0, PODVM, REFUSE, "no-kvm", "no KVM"),
	R(UNTRUSTED, TRUSTED, "p", MISSING, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "p", MISSING, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "p", READY, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "p", READY, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "n", UNSET, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "n", UNSET, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "n", MISSING, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "n", MISSING, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "n", READY, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "n", READY, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "pn", UNSET, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "pn", UNSET, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "pn", MISSING, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "pn", MISSING, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "pn", READY, 1, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	R(UNTRUSTED, TRUSTED, "pn", READY, 0, PODVM, REFUSE, "untrusted-on-host", "nothing of the host"),
	/* Where something is said of untrusted work. */
	R(NONE, UNTRUSTED, "", MISSING, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(NONE, UNTRUSTED, "", MISSING, 0, PODVM_OR, REFUSE, "instead-of-kvm", "cannot be run"),
	R(NONE, UNTRUSTED, "", READY, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(NONE, UNTRUSTED, "", READY, 0, PODVM_OR, HAND_OVER, "instead-of-kvm", "no KVM"),
	R(NONE, TRUSTED, "", MISSING, 1, PODVM_OR, REFUSE, "trusted", "cannot be run"),
	R(NONE, TRUSTED, "", MISSING, 0, PODVM_OR, REFUSE, "trusted", "cannot be run"),
	R(NONE, TRUSTED, "", READY, 1, PODVM_OR, HAND_OVER, "trusted", "default level is trusted"),
	R(NONE, TRUSTED, "", READY, 0, PODVM_OR, HAND_OVER, "trusted", "default level is trusted"),
	R(TRUSTED, UNTRUSTED, "", MISSING, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(TRUSTED, UNTRUSTED, "", MISSING, 0, PODVM_OR, REFUSE, "instead-of-kvm", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "", READY, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(TRUSTED, UNTRUSTED, "", READY, 0, PODVM_OR, HAND_OVER, "instead-of-kvm", "no KVM"),
	R(TRUSTED, TRUSTED, "", MISSING, 1, PODVM_OR, REFUSE, "trusted", "cannot be run"),
	R(TRUSTED, TRUSTED, "", MISSING, 0, PODVM_OR, REFUSE, "trusted", "cannot be run"),
	R(TRUSTED, TRUSTED, "", READY, 1, PODVM_OR, HAND_OVER, "trusted", "default level is trusted"),
	R(TRUSTED, TRUSTED, "", READY, 0, PODVM_OR, HAND_OVER, "trusted", "default level is trusted"),
	R(UNTRUSTED, UNTRUSTED, "", MISSING, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, UNTRUSTED, "", MISSING, 0, PODVM_OR, REFUSE, "instead-of-kvm", "cannot be run"),
	R(UNTRUSTED, UNTRUSTED, "", READY, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, UNTRUSTED, "", READY, 0, PODVM_OR, HAND_OVER, "instead-of-kvm", "no KVM"),
	R(UNTRUSTED, TRUSTED, "", MISSING, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, TRUSTED, "", MISSING, 0, PODVM_OR, REFUSE, "instead-of-kvm", "cannot be run"),
	R(UNTRUSTED, TRUSTED, "", READY, 1, PODVM_OR, MACHINE, "untrusted", "runs in a virtual machine"),
	R(UNTRUSTED, TRUSTED, "", READY, 0, PODVM_OR, HAND_OVER, "instead-of-kvm", "no KVM"),
	R(NONE, UNTRUSTED, "", MISSING, 1, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(NONE, UNTRUSTED, "", MISSING, 0, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(NONE, UNTRUSTED, "", READY, 1, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
	R(NONE, UNTRUSTED, "", READY, 0, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
	R(NONE, TRUSTED, "", MISSING, 1, TRUSTED, REFUSE, "trusted", "cannot be run"),
	R(NONE, TRUSTED, "", MISSING, 0, TRUSTED, REFUSE, "trusted", "cannot be run"),
	R(NONE, TRUSTED, "", READY, 1, TRUSTED, HAND_OVER, "trusted", "default level is trusted"),
	R(NONE, TRUSTED, "", READY, 0, TRUSTED, HAND_OVER, "trusted", "default level is trusted"),
	R(TRUSTED, UNTRUSTED, "", MISSING, 1, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "", MISSING, 0, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(TRUSTED, UNTRUSTED, "", READY, 1, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
	R(TRUSTED, UNTRUSTED, "", READY, 0, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
	R(TRUSTED, TRUSTED, "", MISSING, 1, TRUSTED, REFUSE, "trusted", "cannot be run"),
	R(TRUSTED, TRUSTED, "", MISSING, 0, TRUSTED, REFUSE, "trusted", "cannot be run"),
	R(TRUSTED, TRUSTED, "", READY, 1, TRUSTED, HAND_OVER, "trusted", "default level is trusted"),
	R(TRUSTED, TRUSTED, "", READY, 0, TRUSTED, HAND_OVER, "trusted", "default level is trusted"),
	R(UNTRUSTED, UNTRUSTED, "", MISSING, 1, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(UNTRUSTED, UNTRUSTED, "", MISSING, 0, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(UNTRUSTED, UNTRUSTED, "", READY, 1, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
	R(UNTRUSTED, UNTRUSTED, "", READY, 0, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
	R(UNTRUSTED, TRUSTED, "", MISSING, 1, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(UNTRUSTED, TRUSTED, "", MISSING, 0, TRUSTED, REFUSE, "no-machines", "cannot be run"),
	R(UNTRUSTED, TRUSTED, "", READY, 1, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
	R(UNTRUSTED, TRUSTED, "", READY, 0, TRUSTED, HAND_OVER, "no-machines", "leaves untrusted work"),
};

static void decided(const struct trust_case *c, enum trust_choice choice, const char *rule,
		    const char *why)
{
	struct trust_case before = *c;
	struct trust_verdict v;

	trust_decide(c, &v);
	ck_assert(!memcmp(&before, c, sizeof(before)));
	ck_assert_str_eq(trust_rule_name(v.rule), rule);
	ck_assert_str_eq(trust_choice_name(v.choice), trust_choice_name(choice));
	ck_assert_msg(strstr(v.why, why), "\"%s\" does not say \"%s\"", v.why, why);
	ck_assert_ptr_null(strchr(v.why, '\n'));
	ck_assert(trust_rule_applies(v.rule, c));
	/* What is refused names what to change. */
	if (choice == TRUST_REFUSE)
		ck_assert_msg(strstr(v.why, "podvm.json") || strstr(v.why, TRUST_ANNOTATION), "%s",
			      v.why);
}

START_TEST(truth)
{
	struct trust_case c = { .mark = table[_i].mark, .level = table[_i].level,
				.privileged = strchr(table[_i].asks, 'p'),
				.host = strchr(table[_i].asks, 'n') ? TRUST_HOST_NETWORK : 0,
				.runtime = table[_i].runtime, .kvm = table[_i].kvm,
				.untrusted = table[_i].untrusted };

	decided(&c, table[_i].choice, table[_i].rule, table[_i].why);
}
END_TEST

/* A container of a pod follows it, whatever else is true. */
START_TEST(follows_machine)
{
	unsigned int i;

	for (i = 0; i < 432; i++) {
		struct trust_case c = { .mark = i % 3, .level = i / 3 % 2, .privileged = i / 6 % 2,
					.host = i / 12 % 2 ? TRUST_HOST_IPC : 0, .runtime = i / 24 % 3,
					.kvm = i / 72 % 2, .untrusted = i / 144 % 3,
					.pod = TRUST_POD_MACHINE };

		decided(&c, TRUST_MACHINE, "pod-machine", "never split");
	}
}
END_TEST

START_TEST(follows_handed)
{
	unsigned int i;

	for (i = 0; i < 288; i++) {
		struct trust_case c = { .mark = i % 3, .level = i / 3 % 2, .privileged = i / 6 % 2,
					.host = i / 12 % 2 ? TRUST_HOST_PID : 0,
					.runtime = TRUST_RUNTIME_MISSING + i / 24 % 2, .kvm = i / 48 % 2,
					.untrusted = i / 96 % 3, .pod = TRUST_POD_HANDED };

		if (c.mark == TRUST_MARK_UNTRUSTED)
			decided(&c, TRUST_REFUSE, "pod-split", "delete the pod");
		else if (c.runtime == TRUST_RUNTIME_MISSING)
			decided(&c, TRUST_REFUSE, "pod-handed", "cannot be run");
		else
			decided(&c, TRUST_HAND_OVER, "pod-handed", "never split");
	}
}
END_TEST

/* An annotation can ask for a machine; it never leads out of one that the level demands. */
START_TEST(annotation_never_leaves)
{
	unsigned int i;

	for (i = 0; i < 288; i++) {
		struct trust_case c = { .runtime = i % 3, .kvm = i / 3 % 2, .privileged = i / 6 % 2,
					.host = (unsigned int)(i / 12 % 8), .untrusted = i / 96 % 3 };
		struct trust_verdict none, said;

		trust_decide(&c, &none);
		c.mark = TRUST_MARK_TRUSTED;
		trust_decide(&c, &said);
		ck_assert_int_eq(none.choice, said.choice);
	}
}
END_TEST

START_TEST(host_names)
{
	static const char *const names[] = {
		"", "hostNetwork", "hostPID", "hostNetwork, hostPID", "hostIPC",
		"hostNetwork, hostIPC", "hostPID, hostIPC", "hostNetwork, hostPID, hostIPC",
	};
	struct trust_case c = { .host = (unsigned int)_i };
	struct trust_verdict v;
	char got[40];

	trust_host_names((unsigned int)_i, got, sizeof(got));
	ck_assert_str_eq(got, names[_i]);
	trust_decide(&c, &v);
	ck_assert_int_eq(!strncmp(v.why, "/linux/namespaces: the host's ", 30), _i > 0);
	ck_assert_int_eq(strstr(v.why, "(hostPID)") != NULL, (_i & 2) > 0);
}
END_TEST

/* ---- what a bundle says ------------------------------------------------------ */

START_TEST(marks)
{
	static const char *const untrusted[] = {
		"false", "", "TRUE", "True", " true", "true ", "true\n", "\ttrue", "1", "yes",
		"trusted", "truetrue", "tru", "\"true\"", "true\xc2\xa0", "t\xd1\x80ue", "null",
	};
	char *huge = malloc(1 << 20);

	ck_assert_int_eq(trust_mark(NULL), TRUST_MARK_NONE);
	ck_assert_int_eq(trust_mark("true"), TRUST_MARK_TRUSTED);
	ck_assert_int_eq(trust_mark(untrusted[_i]), TRUST_MARK_UNTRUSTED);
	memset(huge, 't', 1 << 20);
	memcpy(huge, "true", 4);
	huge[(1 << 20) - 1] = 0;
	ck_assert_int_eq(trust_mark(huge), TRUST_MARK_UNTRUSTED);
	free(huge);
}
END_TEST

static int root = -1;

static void setup(void)
{
	struct err e = { 0 };

	kit_dir_enter();
	ck_assert_int_eq(mkdir("b", 0700), 0);
	root = state_root_open("state", &e);
	ck_assert_msg(root >= 0, "%s", e.text);
}

static void teardown(void)
{
	close(root);
	kit_dir_leave();
}

#define OWN "\"namespaces\":[{\"type\":\"network\"},{\"type\":\"pid\"},{\"type\":\"ipc\"}]"
#define CAPS "\"process\":{\"capabilities\":{\"bounding\":[\"CAP_SYS_MODULE\",\"CAP_CHOWN\"," \
	     "\"CAP_SYS_ADMIN\",\"CAP_SYS_RAWIO\"]}},"
#define KEY "\"io.kubernetes.cri-o.TrustedSandbox\""
#define SAYS "\"io.kubernetes.cri-o.PrivilegedRuntime\""

/* @role: member: a container of pod p; @host, @privileged, @said, @mark: what is read */
static const struct {
	const char *json;
	unsigned int host;
	bool privileged, said;
	const char *mark, *alike;
} bundles[] = {
	{ "\"linux\":{" OWN "}", 0, false, false, NULL, NULL },
	{ "\"linux\":{}", 7, false, false, NULL, NULL },
	{ "\"linux\":{\"namespaces\":[]}", 7, false, false, NULL, NULL },
	{ "\"linux\":{\"namespaces\":null}", 7, false, false, NULL, NULL },
	{ "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"}]}", 5, false, false, NULL,
	  NULL },
	{ "\"linux\":{\"namespaces\":[{\"type\":\"Network\"},{\"type\":\"PID\"}]}", 7, false, false,
	  NULL, NULL },
	/* The host's, by the path of ours; a path that leads nowhere is refused elsewhere. */
	{ "\"linux\":{\"namespaces\":[{\"type\":\"network\",\"path\":\"/proc/self/ns/net\"},"
	  "{\"type\":\"pid\",\"path\":\"/proc/self/ns/pid\"},{\"type\":\"ipc\",\"path\":"
	  "\"/proc/self/ns/ipc\"}]}", 7, false, false, NULL, NULL },
	{ "\"linux\":{\"namespaces\":[{\"type\":\"network\",\"path\":\"/nowhere\"},"
	  "{\"type\":\"pid\",\"path\":\"\"},{\"type\":\"ipc\",\"path\":\"/etc\"}]}", 0, false, false,
	  NULL, NULL },
	/* But for a member of a pod, whose shim stands in the host's network. */
	{ "\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","
	  "\"io.kubernetes.cri.sandbox-id\":\"p\"},\"linux\":{\"namespaces\":[{\"type\":"
	  "\"network\",\"path\":\"/proc/self/ns/net\"},{\"type\":\"pid\"}]}", 4, false, false, NULL,
	  NULL },
	/* And not for one that CRI-O keeps apart from processes, as with hostIPC and no infra. */
	{ "\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","
	  "\"io.kubernetes.cri.sandbox-id\":\"p\"},\"linux\":{\"namespaces\":[{\"type\":"
	  "\"network\",\"path\":\"/etc\"},{\"type\":\"pid\"},{\"type\":\"ipc\",\"path\":"
	  "\"kept-ipc\"}]}", 4, false, false, NULL, NULL },
	{ CAPS "\"linux\":{" OWN "}", 0, true, false, NULL, NULL },
	{ CAPS "\"linux\":{" OWN ",\"maskedPaths\":[],\"readonlyPaths\":null}", 0, true, false, NULL,
	  NULL },
	{ CAPS "\"linux\":{" OWN ",\"maskedPaths\":[\"/proc/kcore\"]}", 0, false, false, NULL, NULL },
	{ CAPS "\"linux\":{" OWN ",\"readonlyPaths\":[\"/proc/sys\"]}", 0, false, false, NULL, NULL },
	{ CAPS "\"linux\":{" OWN ",\"seccomp\":{}}", 0, false, false, NULL, NULL },
	{ "\"process\":{\"capabilities\":{\"bounding\":[\"CAP_SYS_ADMIN\"]}},\"linux\":{" OWN "}", 0,
	  false, false, NULL, NULL },
	/* Effective alone is nothing: the bounding set ends it. */
	{ "\"process\":{\"capabilities\":{\"effective\":[\"CAP_SYS_MODULE\",\"CAP_SYS_ADMIN\","
	  "\"CAP_SYS_RAWIO\"]}},\"linux\":{" OWN "}", 0, false, false, NULL, NULL },
	{ "\"annotations\":{" SAYS ":\"true\"},\"linux\":{" OWN "}", 0, false, true, NULL, NULL },
	{ "\"annotations\":{" SAYS ":\"TRUE\"},\"linux\":{" OWN "}", 0, false, false, NULL, NULL },
	{ "\"annotations\":{" SAYS ":\"false\"},\"linux\":{" OWN "}", 0, false, false, NULL, NULL },
	{ "\"annotations\":{" KEY ":\"true\"},\"linux\":{" OWN "}", 0, false, false, "true", NULL },
	{ "\"annotations\":{" KEY ":\"false\"},\"linux\":{" OWN "}", 0, false, false, "false", NULL },
	{ "\"annotations\":{" KEY ":\"\"},\"linux\":{" OWN "}", 0, false, false, "", NULL },
	{ "\"annotations\":{" KEY ":\" true\"},\"linux\":{" OWN "}", 0, false, false, " true", NULL },
	{ "\"annotations\":{" KEY ":\"tr\\u0075e\"},\"linux\":{" OWN "}", 0, false, false, "true",
	  NULL },
	/* Given twice, the last one counts, as in any JSON reader. */
	{ "\"annotations\":{" KEY ":\"true\"," KEY ":\"false\"},\"linux\":{" OWN "}", 0, false, false,
	  "false", NULL },
	{ "\"annotations\":{" KEY ":\"false\"," KEY ":\"true\"},\"linux\":{" OWN "}", 0, false, false,
	  "true", NULL },
	{ "\"annotations\":{\"io.kubernetes.cri-o.trustedsandbox\":\"false\"},\"linux\":{" OWN "}", 0,
	  false, false, NULL, "io.kubernetes.cri-o.trustedsandbox" },
	{ "\"annotations\":{\"IO.KUBERNETES.CRI-O.TRUSTEDSANDBOX\":\"true\"," KEY
	  ":\"false\"},\"linux\":{" OWN "}", 0, false, false, "false",
	  "IO.KUBERNETES.CRI-O.TRUSTEDSANDBOX" },
	{ "\"annotations\":{\" io.kubernetes.cri-o.TrustedSandbox\":\"true\"},\"linux\":{" OWN "}", 0,
	  false, false, NULL, NULL },
};

static int load_trust(const char *key, struct spec_trust *ret, struct spec **ret_spec, struct err *e)
{
	struct spec_source src = SPEC_SOURCE_NONE;
	int rc = spec_source_read("b", &src, e);

	if (!rc)
		rc = spec_load_trust(&src, key, ret, ret_spec, e);
	spec_source_done(&src);
	return rc;
}

static int read_bundle(const char *json, struct spec_trust *ret, struct spec **ret_spec,
		       struct err *e)
{
	_cleanup_free_ char *text = NULL;

	ck_assert_int_ge(asprintf(&text, "{\"ociVersion\":\"1.0.2\",%s}", json), 0);
	kit_put("b/config.json", text);
	ck_assert(!symlink("/proc/self/ns/ipc", "kept-ipc") || errno == EEXIST);
	return load_trust("io.kubernetes.cri-o.PrivilegedRuntime", ret, ret_spec, e);
}

START_TEST(bundle)
{
	struct spec_trust t;
	struct err e = { 0 };
	struct spec *s;

	ck_assert_msg(!read_bundle(bundles[_i].json, &t, &s, &e), "%s", e.text);
	ck_assert_uint_eq(t.host, bundles[_i].host);
	ck_assert_int_eq(t.privileged, bundles[_i].privileged);
	ck_assert_int_eq(t.said, bundles[_i].said);
	ck_assert_pstr_eq(t.mark, bundles[_i].mark);
	ck_assert_pstr_eq(t.alike, bundles[_i].alike);
	spec_free(s);
	/* An annotation that podvm.json does not name says nothing. */
	ck_assert_int_eq(load_trust("", &t, &s, &e), 0);
	ck_assert(!t.said);
	spec_free(s);
}
END_TEST

static const struct {
	const char *json, *error;
} bad_bundles[] = {
	{ "\"x\":1", "config.json: /linux: missing" },
	{ "\"linux\":[]", "config.json: /linux: must be" },
	{ "\"linux\":{\"namespaces\":{}}", "/linux/namespaces: must be" },
	{ "\"linux\":{\"namespaces\":[1]}", "/linux/namespaces/0: must be" },
	{ "\"linux\":{\"namespaces\":[{\"type\":7}]}", "/linux/namespaces/0/type: must be" },
	{ "\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":[]}]}",
	  "/linux/namespaces/0/path: must be" },
	{ "\"linux\":{" OWN ",\"maskedPaths\":\"/proc\"}", "/linux/maskedPaths: must be" },
	{ "\"linux\":{" OWN "},\"process\":[]", "/process: must be" },
	{ "\"linux\":{" OWN "},\"process\":{\"capabilities\":{\"bounding\":[1]}}",
	  "/process/capabilities/bounding/0: must be" },
	{ "\"linux\":{" OWN "},\"annotations\":{" KEY ":true}",
	  "/annotations/io.kubernetes.cri-o.TrustedSandbox: must be" },
	{ "\"linux\":{" OWN "},\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\"}",
	  "io.kubernetes.cri.sandbox-id: missing" },
};

START_TEST(bad_bundle)
{
	struct err e = { 0 };
	struct spec_trust t;
	struct spec *s;

	ck_assert_int_eq(read_bundle(bad_bundles[_i].json, &t, &s, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, bad_bundles[_i].error), "%s", e.text);
}
END_TEST

/* ---- command lines ------------------------------------------------------------ */

static const struct {
	const char *line;	/* words, a blank between them */
	const char *id, *root, *bundle;
	const char *handed;	/* as the trusted runtime gets it */
} calls[] = {
	{ "create x", "x", "/run/podvm", ".", "create x" },
	{ "--root /r create --bundle /b --pid-file /b/pid x", "x", "/r", "/b",
	  "create --bundle /b --pid-file /b/pid x" },
	{ "--root=/r --systemd-cgroup create -b /b x", "x", "/r", "/b",
	  "--systemd-cgroup create -b /b x" },
	{ "-root /r -systemd-cgroup create -bundle=/b x", "x", "/r", "/b",
	  "-systemd-cgroup create -bundle=/b x" },
	{ "--root /q --log /l --root /r --log-format json create x", "x", "/r", ".",
	  "--log /l --log-format json create x" },
	{ "--cgroup-manager systemd --rootless true --criu c create x", "x", "/run/podvm", ".",
	  "--cgroup-manager systemd --rootless true --criu c create x" },
	{ "create --no-pivot --no-new-keyring --preserve-fds 3 --console-socket s x", "x",
	  "/run/podvm", ".",
	  "create --no-pivot --no-new-keyring --preserve-fds 3 --console-socket s x" },
	{ "create -b/b x", "x", "/run/podvm", "/b", "create -b/b x" },
	{ "create -- x", "x", "/run/podvm", ".", "create -- x" },
	{ "--debug -- start x", "x", "/run/podvm", ".", "--debug -- start x" },
	{ "run -d -b /b --keep x", "x", "/run/podvm", "/b", "run -d -b /b --keep x" },
	{ "run -db /b x", "x", "/run/podvm", "/b", "run -db /b x" },
	{ "start x", "x", "/run/podvm", ".", "start x" },
	{ "kill --all x KILL", "x", "/run/podvm", ".", "kill --all x KILL" },
	{ "kill -a x 9", "x", "/run/podvm", ".", "kill -a x 9" },
	{ "delete --force x", "x", "/run/podvm", ".", "delete --force x" },
	{ "delete -f x", "x", "/run/podvm", ".", "delete -f x" },
	{ "exec -t -u 1:2 -e A=b -c CAP_CHOWN --cwd / x sh -c y", "x", "/run/podvm", ".",
	  "exec -t -u 1:2 -e A=b -c CAP_CHOWN --cwd / x sh -c y" },
	{ "exec -tu y x sh", "x", "/run/podvm", ".", "exec -tu y x sh" },
	{ "exec -eA=x y sh", "y", "/run/podvm", ".", "exec -eA=x y sh" },
	{ "exec --pid-file P --process F --detach x", "x", "/run/podvm", ".",
	  "exec --pid-file P --process F --detach x" },
	{ "exec --user=y --additional-gids 7 --cgroup z x id -u root", "x", "/run/podvm", ".",
	  "exec --user=y --additional-gids 7 --cgroup z x id -u root" },
	{ "ps -f json x -ef", "x", "/run/podvm", ".", "ps -f json x -ef" },
	{ "update --resources - x", "x", "/run/podvm", ".", "update --resources - x" },
	{ "update -r - --memory 1 --cpu-quota 2 x", "x", "/run/podvm", ".",
	  "update -r - --memory 1 --cpu-quota 2 x" },
	{ "events --stats --interval 5s x", "x", "/run/podvm", ".", "events --stats --interval 5s x" },
	{ "checkpoint --image-path i x", "x", "/run/podvm", ".", "checkpoint --image-path i x" },
	{ "restore -b /b --image-path i x", "x", "/run/podvm", "/b", "restore -b /b --image-path i x" },
	/* An option of nobody is a flag; its value, if it has one, would be taken for the id. */
	{ "delete --frob x", "x", "/run/podvm", ".", "delete --frob x" },
	/* A container may be called like an option's value, or like the command. */
	{ "--root start --log x start start", "start", "start", ".", "--log x start start" },
	{ "kill root TERM", "root", "/run/podvm", ".", "kill root TERM" },
	{ "exec x --root /y", "x", "/run/podvm", ".", "exec x --root /y" },
	/* No container, or nothing to hand over. */
	{ "create", NULL, "/run/podvm", ".", NULL },
	{ "create --bundle", NULL, "/run/podvm", ".", NULL },
	{ "exec --user", NULL, "/run/podvm", ".", NULL },
	{ "--root", NULL, "/run/podvm", ".", NULL },
	{ "--version", NULL, "/run/podvm", ".", NULL },
	{ "list", NULL, "/run/podvm", ".", NULL },
	{ "features x", NULL, "/run/podvm", ".", NULL },
};

START_TEST(call)
{
	_cleanup_free_ char *line = strdup(calls[_i].line), *got = NULL, **out = NULL;
	char *argv[32] = { strdupa("podvm") }, *save = NULL, *word;
	_cleanup_free_ char *want = NULL;
	struct strbuf b = { .text = NULL };
	struct err e = { 0 };
	struct call c;
	int argc = 1, i;

	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	ck_assert(call_read(&c, argc, argv) || !calls[_i].id);
	ck_assert_pstr_eq(c.id, calls[_i].id);
	ck_assert_str_eq(c.root, calls[_i].root);
	ck_assert_str_eq(c.bundle, calls[_i].bundle);
	if (!calls[_i].handed)
		return;
	ck_assert_int_eq(call_argv(&c, "/bin/crun", "/r/t", &out, &e), 0);
	for (i = 0; out[i]; i++)
		strbuf_add(&b, "%s%s", i ? " " : "", out[i]);
	got = b.text;
	ck_assert_int_ge(asprintf(&want, "/bin/crun --root /r/t %s", calls[_i].handed), 0);
	ck_assert_str_eq(got, want);
}
END_TEST

START_TEST(no_words)
{
	char *none[] = { NULL }, *one[] = { strdupa("podvm"), NULL };
	struct call c;

	ck_assert(!call_read(&c, 0, none));
	ck_assert(!call_read(&c, 1, one));
	ck_assert_ptr_null(c.id);
}
END_TEST

/* ---- records -------------------------------------------------------------------- */

static int lock(void)
{
	struct err e = { 0 };
	int dir = handed_open(root, true, &e);

	ck_assert_msg(dir >= 0, "%s", e.text);
	return dir;
}

static int claim(const char *id, const char *pod, const char *runtime, struct err *e)
{
	struct handed h = { .pid = 0 };
	int dir = lock(), rc;

	str_copy(h.id, sizeof(h.id), id);
	str_copy(h.pod, sizeof(h.pod), pod);
	str_copy(h.runtime, sizeof(h.runtime), runtime);
	str_copy(h.bundle, sizeof(h.bundle), "/b");
	rc = handed_claim(root, dir, &h, e);
	close(dir);
	return rc;
}

/* A call that writes its decision down and is killed, or goes on to be the runtime. */
static void call_that_dies(const char *id, const char *pod, const char *runtime)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct err e = { 0 };

		if (claim(id, pod, runtime, &e) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
}

static size_t sweep(void)
{
	struct err e = { 0 };
	int dir = lock();

	ck_assert_msg(!handed_sweep(root, dir, &e), "%s", e.text);
	close(dir);
	return kit_count("state/handed");
}

START_TEST(lives_and_dies)
{
	struct err e = { 0 };
	struct handed h;

	ck_assert_int_eq(handed_find(root, "a", &h, &e), 0);
	ck_assert_int_eq(handed_open(root, false, &e), -ENOENT);
	/* While the call lives, its container may be in the making. */
	ck_assert_int_eq(claim("a", "p", "/bin/crun", &e), 0);
	ck_assert_int_eq(handed_find(root, "a", &h, &e), 1);
	ck_assert_str_eq(h.runtime, "/bin/crun");
	ck_assert_str_eq(h.pod, "p");
	ck_assert_str_eq(h.bundle, "/b");
	ck_assert_int_eq(h.pid, getpid());
	ck_assert_int_eq(claim("a", "p", "/bin/crun", &e), -EEXIST);
	ck_assert_str_eq(e.text, "container a exists already");
	handed_release(root, "a");
	ck_assert_int_eq(handed_find(root, "a", &h, &e), 0);
	/* Killed before it became the runtime: as if it had not been. */
	call_that_dies("b", "p", "/bin/crun");
	ck_assert_int_eq(kit_count("state/handed"), 1);
	ck_assert_int_eq(handed_find(root, "b", &h, &e), 0);
	ck_assert_int_eq(claim("b", "q", "", &e), 0);
	ck_assert_int_eq(handed_find(root, "b", &h, &e), 0);
	handed_release(root, "b");
	/* The runtime has it. */
	call_that_dies("c", "p", "/bin/crun");
	ck_assert(!mkdir("state/trusted", 0700) && !mkdir("state/trusted/c", 0700));
	ck_assert_int_eq(handed_find(root, "c", &h, &e), 1);
	ck_assert_int_eq(sweep(), 1);
	handed_release(root, "c");
	ck_assert_int_eq(handed_find(root, "c", &h, &e), 1);
	ck_assert_int_eq(claim("c", "p", "", &e), -EEXIST);
	ck_assert(!rmdir("state/trusted/c"));
	/* Killed while it wrote. */
	kit_put("state/handed/d.json.4711.tmp", "{");
	ck_assert_int_eq(handed_find(root, "c", &h, &e), 0);
	ck_assert_int_eq(sweep(), 0);
}
END_TEST

/* A pid that another process has now is not the call's. */
START_TEST(reused_pid)
{
	struct err e = { 0 };
	struct handed h;
	char text[200];

	close(lock());
	snprintf(text, sizeof(text), "{\"pod\":\"p\",\"runtime\":\"/bin/crun\",\"bundle\":\"/b\","
		 "\"pid\":%d,\"pidStart\":1}", getpid());
	kit_put("state/handed/a.json", text);
	ck_assert_int_eq(handed_find(root, "a", &h, &e), 0);
	ck_assert_int_eq(sweep(), 0);
}
END_TEST

static enum trust_pod pod_of(const char *pod, char *runtime)
{
	enum trust_pod found = TRUST_POD_NEW;
	struct err e = { 0 };
	int dir = lock();

	ck_assert_msg(!handed_pod(root, dir, pod, &found, runtime, &e), "%s", e.text);
	close(dir);
	return found;
}

START_TEST(pods)
{
	char runtime[PATH_MAX] = "";
	enum trust_pod found;
	struct err e = { 0 };

	ck_assert_int_eq(pod_of("p", runtime), TRUST_POD_NEW);
	ck_assert_int_eq(claim("a", "p", "/bin/crun", &e), 0);
	ck_assert_int_eq(claim("m", "q", "", &e), 0);
	ck_assert_int_eq(pod_of("p", runtime), TRUST_POD_HANDED);
	ck_assert_str_eq(runtime, "/bin/crun");
	ck_assert_int_eq(pod_of("q", runtime), TRUST_POD_MACHINE);
	ck_assert_int_eq(pod_of("a", runtime), TRUST_POD_NEW);
	handed_release(root, "m");
	ck_assert_int_eq(pod_of("q", runtime), TRUST_POD_NEW);
	ck_assert(!mkdir("state/pods", 0700) && !mkdir("state/pods/q", 0700));
	ck_assert_int_eq(pod_of("q", runtime), TRUST_POD_MACHINE);
	/* A machine that has ended, with a container that was in it. */
	ck_assert(!mkdir("state/containers", 0700) || errno == EEXIST);
	kit_put("state/containers/k.json", "{\"pod\":\"r\",\"status\":2}");
	ck_assert_int_eq(pod_of("r", runtime), TRUST_POD_MACHINE);
	ck_assert_int_eq(claim("k", "r", "/bin/crun", &e), -EEXIST);
	/* Without records, machines are found all the same. */
	ck_assert_int_eq(handed_pod(root, -1, "q", &found, runtime, &e), 0);
	ck_assert_int_eq(found, TRUST_POD_MACHINE);
	ck_assert_int_eq(handed_pod(root, -1, "../q", &found, runtime, &e), -EINVAL);
}
END_TEST

START_TEST(damaged)
{
	static const char *const bad[] = {
		"", "{", "[]", "null", "{}", "{\"pid\":1}", "{\"pod\":\"p\",\"pid\":0,\"pidStart\":1}",
		"{\"pod\":\"p\",\"pid\":-1,\"pidStart\":1}", "{\"pod\":\"p\",\"pid\":1,\"pidStart\":0}",
		"{\"pod\":\"../p\",\"pid\":1,\"pidStart\":1}",
		"{\"pod\":\"p\",\"runtime\":\"crun\",\"pid\":1,\"pidStart\":1}",
		"{\"pod\":\"p\",\"runtime\":7,\"pid\":1,\"pidStart\":1}",
		"{\"pod\":\"p\",\"pid\":99999999999,\"pidStart\":1}",
	};
	char runtime[PATH_MAX] = "";
	struct err e = { 0 };
	struct handed h;

	close(lock());
	kit_put("state/handed/a.json", bad[_i]);
	ck_assert_int_lt(handed_find(root, "a", &h, &e), 0);
	ck_assert_msg(strstr(e.text, "container a: handed/a.json"), "%s", e.text);
	ck_assert_int_lt(claim("a", "p", "/bin/crun", &e), 0);
	/* It keeps nobody else from working, and stays for a person to look at. */
	ck_assert_int_eq(claim("b", "p", "/bin/crun", &e), 0);
	ck_assert_int_eq(pod_of("p", runtime), TRUST_POD_HANDED);
	ck_assert_int_eq(sweep(), 2);
}
END_TEST

/* Creates of one id at once, to this and that runtime: one gets it. */
START_TEST(race)
{
	int won = 0, i, status, go[2];
	pid_t pid[16];

	ck_assert_int_eq(pipe(go), 0);
	for (i = 0; i < 16; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			struct err e = { 0 };
			char c;

			close(go[1]);
			if (read(go[0], &c, 1) < 0)
				_exit(2);
			i = claim("a", "p", i % 2 ? "/bin/crun" : "", &e);
			/* Who lives on keeps it. */
			if (!i)
				pause();
			_exit(i == -EEXIST ? 0 : 1);
		}
	}
	close(go[0]);
	close(go[1]);
	for (i = 0; i < 15; i++) {
		ck_assert_int_gt(wait(&status), 0);
		ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	}
	for (i = 0; i < 16; i++)
		won += !kill(pid[i], SIGKILL) && waitpid(pid[i], &status, 0) == pid[i];
	ck_assert_int_eq(won, 1);
	ck_assert_int_eq(sweep(), 0);
}
END_TEST

START_TEST(probe)
{
	struct err e = { 0 };

	ck_assert_int_eq(trust_runtime_probe("", &e), TRUST_RUNTIME_UNSET);
	ck_assert_int_eq(trust_runtime_probe("/bin/true", &e), TRUST_RUNTIME_READY);
	ck_assert_int_eq(e.code, 0);
	ck_assert_int_eq(trust_runtime_probe("/no/such/runtime", &e), TRUST_RUNTIME_MISSING);
	ck_assert_str_eq(e.text, "/no/such/runtime: No such file or directory");
	ck_assert_int_eq(trust_runtime_probe("/etc", &e), TRUST_RUNTIME_MISSING);
	ck_assert_int_eq(trust_runtime_probe("/dev/null", &e), TRUST_RUNTIME_MISSING);
	ck_assert_int_eq(trust_runtime_probe("/etc/passwd", &e), TRUST_RUNTIME_MISSING);
	ck_assert_int_eq(trust_runtime_probe("/proc/self/exe", &e), TRUST_RUNTIME_MISSING);
	ck_assert_msg(strstr(e.text, "podvm itself"), "%s", e.text);
}
END_TEST

Suite *runtime_trust_suite(void)
{
	Suite *s = suite_create("runtime_trust");
	TCase *rules = tcase_create("rules"), *words = tcase_create("words"),
	      *files = tcase_create("files");

	tcase_add_loop_test(rules, truth, 0, ARRAY_LEN(table));
	tcase_add_test(rules, follows_machine);
	tcase_add_test(rules, follows_handed);
	tcase_add_test(rules, annotation_never_leaves);
	tcase_add_loop_test(rules, host_names, 0, 8);
	tcase_add_loop_test(rules, marks, 0, 17);
	suite_add_tcase(s, rules);
	tcase_add_loop_test(words, call, 0, ARRAY_LEN(calls));
	tcase_add_test(words, no_words);
	tcase_add_test(words, probe);
	suite_add_tcase(s, words);
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_add_loop_test(files, bundle, 0, ARRAY_LEN(bundles));
	tcase_add_loop_test(files, bad_bundle, 0, ARRAY_LEN(bad_bundles));
	tcase_add_test(files, lives_and_dies);
	tcase_add_test(files, reused_pid);
	tcase_add_test(files, pods);
	tcase_add_loop_test(files, damaged, 0, 13);
	tcase_add_test(files, race);
	suite_add_tcase(s, files);
	return s;
}
