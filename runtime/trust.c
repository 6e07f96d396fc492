// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Which runtime a container gets: a virtual machine of podvm, or the trusted
 * runtime (runc, crun), which shares the host's kernel with it. The decision is a
 * pure function of struct trust_case. Its rules stand in a table; the first one
 * that applies decides, and `podvm trust explain` prints the same table.
 *
 * The rules are those of CRI-O before RuntimeClass (2017, oci.go "Path",
 * sandbox_run.go "privilegedSandbox" and "trustedSandbox", crio.conf
 * "default_workload_trust" and "runtime_untrusted_workload"):
 *
 *	             TrustedSandbox    not set     "true"      anything else
 *	level trusted                  trusted     trusted     machine
 *	level untrusted                machine     machine     machine
 *	privileged, or of the host     trusted     trusted     refused
 *
 * and where nothing is set for untrusted work, the trusted runtime gets that too.
 * What matters most: a pod's author can ask for a machine, but cannot leave one by
 * an annotation where the default level is untrusted.
 *
 * Two things differ. CRI-O warned when a pod was privileged and untrusted, and
 * ran it on the host, from 1.12 on in the untrusted runtime; here it is refused, as
 * containerd did it: whoever wrote "untrusted" would be surprised. And a host
 * without a trusted runtime, which CRI-O had always, keeps privileged pods in
 * machines, where their privilege is over a kernel of their own.
 *
 * A pod is never split: its containers share namespaces, which is possible on
 * one kernel only. So what was decided for a pod comes before all else.
 */
#include "runtime/trust.h"

#include <stdio.h>
#include <string.h>

#include "lib/mem.h"

struct rule {
	const char *name;
	const char *text;
	bool (*applies)(const struct trust_case *c);
	enum trust_choice choice;
	const char *why;
	bool asked; /* what was asked of the host stands in front of @why */
};

static bool pod_machine(const struct trust_case *c)
{
	return c->pod == TRUST_POD_MACHINE;
}

static bool pod_split(const struct trust_case *c)
{
	return c->pod == TRUST_POD_HANDED && c->mark == TRUST_MARK_UNTRUSTED;
}

static bool pod_handed(const struct trust_case *c)
{
	return c->pod == TRUST_POD_HANDED;
}

/* Without a trusted runtime, privilege is over a machine of its own. */
static bool untrusted_on_host(const struct trust_case *c)
{
	return c->mark == TRUST_MARK_UNTRUSTED &&
	       (c->host || (c->privileged && c->runtime != TRUST_RUNTIME_UNSET));
}

static bool host(const struct trust_case *c)
{
	return c->host;
}

static bool privileged(const struct trust_case *c)
{
	return c->privileged && c->runtime != TRUST_RUNTIME_UNSET;
}

static bool trusted(const struct trust_case *c)
{
	return c->level == TRUST_LEVEL_TRUSTED && c->mark != TRUST_MARK_UNTRUSTED;
}

static bool no_machines(const struct trust_case *c)
{
	return c->untrusted == TRUST_UNTRUSTED_TRUSTED;
}

static bool instead_of_kvm(const struct trust_case *c)
{
	return !c->kvm && c->untrusted == TRUST_UNTRUSTED_PODVM_OR;
}

static bool no_kvm(const struct trust_case *c)
{
	return !c->kvm;
}

static bool always(const struct trust_case *c)
{
	(void)c;
	return true;
}

static const struct rule rules[] = {
	{"pod-machine", "its pod has a machine already", pod_machine, TRUST_MACHINE,
	 "its pod runs in a virtual machine, and a pod is never split", false},
	{"pod-split", "its pod was handed over, but it calls itself untrusted", pod_split,
	 TRUST_REFUSE,
	 "annotation " TRUST_ANNOTATION " is not \"true\", but the pod was handed to the trusted "
	 "runtime already: delete the pod and make it anew",
	 false},
	{"pod-handed", "its pod was handed over", pod_handed, TRUST_HAND_OVER,
	 "its pod was handed to the trusted runtime, and a pod is never split", false},
	{"untrusted-on-host",
	 "untrusted by its annotation, but privileged or in the host's namespaces",
	 untrusted_on_host, TRUST_REFUSE,
	 "untrusted work gets nothing of the host: leave that out, or the "
	 "annotation " TRUST_ANNOTATION,
	 true},
	{"host", "asks for namespaces of the host", host, TRUST_HAND_OVER,
	 "not within reach of a virtual machine", true},
	{"privileged", "privileged, and there is a trusted runtime", privileged, TRUST_HAND_OVER,
	 "privileged work is the trusted runtime's", true},
	{"trusted", "trusted by default, and not untrusted by its annotation", trusted,
	 TRUST_HAND_OVER, "the default level is trusted, and the annotation does not say otherwise",
	 false},
	{"no-machines", "untrusted work has no runtime of its own here", no_machines,
	 TRUST_HAND_OVER, "trust.untrustedRuntime leaves untrusted work to the trusted runtime",
	 false},
	{"instead-of-kvm", "no KVM, and the trusted runtime stands in", instead_of_kvm,
	 TRUST_HAND_OVER,
	 "this host has no KVM, and trust.untrustedRuntime leaves untrusted work to the trusted "
	 "runtime then",
	 false},
	{"no-kvm", "no KVM", no_kvm, TRUST_REFUSE,
	 "it needs a virtual machine, and this host has no KVM: load its module (kvm_intel, "
	 "kvm_amd), or see trust.untrustedRuntime in podvm.json",
	 false},
	{"untrusted", "untrusted work", always, TRUST_MACHINE,
	 "untrusted work runs in a virtual machine", false},
};

/**
 * trust_rule_name() - short name of rule @i; NULL behind the last one
 */
const char *trust_rule_name(size_t i)
{
	return i < ARRAY_LEN(rules) ? rules[i].name : NULL;
}

/**
 * trust_rule_text() - what rule @i asks for, in words
 * @i: one that has a name
 */
const char *trust_rule_text(size_t i)
{
	return rules[i].text;
}

/**
 * trust_rule_applies() - whether rule @i would decide, did none before it
 * @i: one that has a name
 */
bool trust_rule_applies(size_t i, const struct trust_case *c)
{
	return rules[i].applies(c);
}

/**
 * trust_choice_name() - "podvm", "trusted" or "refused"
 */
const char *trust_choice_name(enum trust_choice c)
{
	static const char *const names[] = {"podvm", "trusted", "refused"};

	return names[c];
}

/**
 * trust_host_names() - namespaces of the host as Kubernetes calls them: "hostNetwork, hostPID"
 * @host: TRUST_HOST_*; none gives ""
 * @dst:  at least 32 bytes
 */
void trust_host_names(unsigned int host, char *dst, size_t room)
{
	static const char *const names[] = {"hostNetwork", "hostPID", "hostIPC"};
	size_t i, len = 0;

	*dst = 0;
	for (i = 0; i < ARRAY_LEN(names); i++)
		if (host & 1u << i && len < room)
			len += (size_t)snprintf(dst + len, room - len, "%s%s", len ? ", " : "",
						names[i]);
}

/**
 * trust_mark() - what a value of TRUST_ANNOTATION says
 * @value: NULL: it is not there
 *
 * Only the very word "true" is trust; all that could be a slip is untrusted.
 */
enum trust_mark trust_mark(const char *value)
{
	if (!value)
		return TRUST_MARK_NONE;
	return strcmp(value, "true") ? TRUST_MARK_UNTRUSTED : TRUST_MARK_TRUSTED;
}

/* What it asks of the host, for a message. */
static void asked(const struct trust_case *c, char *dst, size_t room)
{
	static const char *const names[] = {"the host's network (hostNetwork)",
					    "the host's processes (hostPID)",
					    "the host's IPC (hostIPC)"};
	const char *between = c->host ? "/linux/namespaces: " : "";
	size_t i, len = 0;

	*dst = 0;
	for (i = 0; i < ARRAY_LEN(names); i++) {
		if (!(c->host & 1u << i) || len >= room)
			continue;
		len += (size_t)snprintf(dst + len, room - len, "%s%s", between, names[i]);
		between = ", ";
	}
	if (c->privileged && len < room)
		snprintf(dst + len, room - len, "%sprivileged", between);
}

/**
 * trust_decide() - which runtime a container gets
 * @c:   complete
 * @ret: filled; always some decision
 *
 * Context: pure; touches nothing but its arguments
 */
void trust_decide(const struct trust_case *c, struct trust_verdict *ret)
{
	const struct rule *r;
	char what[128];
	size_t i = 0;

	while (!rules[i].applies(c)) /* the last one does */
		i++;
	r = &rules[i];
	asked(c, what, sizeof(what));
	snprintf(ret->why, sizeof(ret->why), "%s%s%s", r->asked ? what : "", r->asked ? ": " : "",
		 r->why);
	ret->rule = i;
	ret->choice = r->choice;
	if (r->choice != TRUST_HAND_OVER || c->runtime == TRUST_RUNTIME_READY)
		return;
	ret->choice = TRUST_REFUSE;
	i = strlen(ret->why);
	snprintf(ret->why + i, sizeof(ret->why) - i, "%s",
		 c->runtime == TRUST_RUNTIME_UNSET ? "; no trusted runtime is set: " TRUST_SETTING
						   : "; but " TRUST_SETTING
						     " names one that cannot be run");
}
