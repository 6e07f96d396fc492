/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_TRUST_H
#define RUNTIME_TRUST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

/* What a pod's author says of it: "true" is trusted, any other value is not. */
#define TRUST_ANNOTATION "io.kubernetes.cri-o.TrustedSandbox"

/* What messages call the setting that a person has to change. */
#define TRUST_SETTING "trust.trustedRuntime in podvm.json"

/* What may be done about a field that only the host's kernel could honour. */
#define TRUST_USE "use a trusted runtime (" TRUST_SETTING ")"

enum trust_mark { TRUST_MARK_NONE, TRUST_MARK_TRUSTED, TRUST_MARK_UNTRUSTED };

enum trust_level { TRUST_LEVEL_UNTRUSTED, TRUST_LEVEL_TRUSTED };

/* What runs untrusted work: the setting untrustedRuntime. */
enum trust_untrusted {
	TRUST_UNTRUSTED_PODVM,	  /* a virtual machine, and nothing else */
	TRUST_UNTRUSTED_PODVM_OR, /* the trusted runtime where there is no KVM */
	TRUST_UNTRUSTED_TRUSTED,  /* none is set: the trusted runtime */
};

/* The runtime that shares the host's kernel with its containers. */
enum trust_runtime { TRUST_RUNTIME_UNSET, TRUST_RUNTIME_MISSING, TRUST_RUNTIME_READY };

/* Namespaces of the host that a pod asks for. */
#define TRUST_HOST_NETWORK 1u
#define TRUST_HOST_PID 2u
#define TRUST_HOST_IPC 4u

/* What was decided for the pod before. */
enum trust_pod { TRUST_POD_NEW, TRUST_POD_MACHINE, TRUST_POD_HANDED };

enum trust_choice { TRUST_MACHINE, TRUST_HAND_OVER, TRUST_REFUSE };

/**
 * struct trust_config - the object "trust" of podvm.json; zeroed: every pod gets a machine
 * @level:     of pods whose annotation does not say
 * @untrusted: see enum trust_untrusted
 * @runtime:   absolute path of the trusted runtime; "": none
 * @privileged_key: annotation whose "true" is believed to mean a privileged pod; "": none
 */
struct trust_config {
	enum trust_level level;
	enum trust_untrusted untrusted;
	char runtime[PATH_MAX];
	char privileged_key[256];
};

/**
 * struct trust_case - all that a decision rests on
 * @mark:       the annotation
 * @level:      the default one
 * @untrusted:  what runs untrusted work
 * @privileged: as engines make privileged containers, or said to be one
 * @host:       TRUST_HOST_* that it asks for
 * @runtime:    whether the trusted runtime can be run
 * @kvm:        whether a machine can be started
 * @pod:        where its pod is, for a container of one
 */
struct trust_case {
	enum trust_mark mark;
	enum trust_level level;
	enum trust_untrusted untrusted;
	bool privileged;
	unsigned int host;
	enum trust_runtime runtime;
	bool kvm;
	enum trust_pod pod;
};

/**
 * struct trust_verdict - a decision
 * @choice: what becomes of the container
 * @rule:   index of the rule that decided
 * @why:    one line for a person; names what to change when it is refused
 */
struct trust_verdict {
	enum trust_choice choice;
	size_t rule;
	char why[ERR_TEXT_BYTES / 2];
};

void trust_decide(const struct trust_case *c, struct trust_verdict *ret);
const char *trust_rule_name(size_t i);
const char *trust_rule_text(size_t i);
bool trust_rule_applies(size_t i, const struct trust_case *c);
const char *trust_choice_name(enum trust_choice c);
void trust_host_names(unsigned int host, char *dst, size_t room);
enum trust_mark trust_mark(const char *value);

/* trust_host.c: what this host has. */
enum trust_runtime trust_runtime_probe(const char *path, struct err *e);
bool trust_kvm_probe(struct err *e);

#endif
