/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SPEC_IMPL_H
#define RUNTIME_SPEC_IMPL_H

/* What the files of the spec parser share; nobody else includes it. */

#include "lib/json.h"
#include "lib/str.h"
#include "runtime/spec.h"

/**
 * struct spec_refusal - a member that the specification knows and we do not
 * @key: member's name
 * @why: behind "not supported: "; says what to do
 */
struct spec_refusal {
	const char *key;
	const char *why;
};

static inline const char *spec_quote(char *buf, size_t room, const char *s)
{
	str_quote(buf, room, s);
	return buf;
}

/* An outside string for a message; lives until the end of the block. */
#define SPEC_Q(s) spec_quote((char[120]){ 0 }, 120, (s))

/* More is no configuration. */
#define SPEC_MAX_BYTES (4u << 20)

/* spec_source.c */
int spec_source_text(const struct spec_source *s, char **ret, size_t *ret_len, struct err *e);

/* spec.c */
int spec_parse(const char *text, size_t len, int bundle_fd, struct spec **ret,
	       struct err *e);
int spec_refuse(const struct jnode *n, const struct spec_refusal *t,
		size_t n_t, struct err *e);
int spec_push(void *v, size_t *n, void *item, struct err *e);
int spec_strdup(const char *s, char **ret, struct err *e);
int spec_kv(Podvm__KeyValue ***v, size_t *n, const char *key,
	    const char *value, struct err *e);
int spec_path_check(const struct jnode *n, const char *key, const char *path,
		    struct err *e);

/* spec_hooks.c */
int spec_hooks(struct spec *s, const struct jnode *top, struct err *e);
void spec_hooks_done(struct spec_hooks *h);

/* spec_size.c */
int spec_size(struct spec *s, const struct spec_limits *l, struct err *e);
const char *spec_annotation(const struct spec *s, const char *key);

/* spec_role.c */
int spec_role(struct spec *s, struct err *e);

/* spec_trust.c */
int spec_trust(const struct spec *s, const struct jnode *top, const char *privileged_key,
	       struct spec_trust *ret, struct err *e);

/* spec_debug.c */
int spec_debug(const struct spec *s, struct err *e);

/* spec_relay.c */
int spec_relay(struct spec *s, struct err *e);

/* spec_storage.c */
int spec_network(struct spec *s, struct err *e);
int spec_storage(struct spec *s, struct err *e);

/* spec_process.c */
int spec_process(const struct jnode *n, Podvm__Process **ret, struct err *e);

/* spec_traits.c */
int spec_traits(const struct jnode *n, Podvm__Process *p, struct err *e);
int spec_personality(const struct jnode *n, Podvm__Process *p, struct err *e);
int spec_seccomp_flags(Podvm__Process *p, uint32_t seccomp_flags, struct err *e);

/* spec_mounts.c */
int spec_mounts(Podvm__ContainerCreate *c, const struct jnode *top,
		struct err *e);
int spec_propagation(const struct jnode *n, const char *key, uint64_t *ret,
		     struct err *e);
const char *spec_mount_option(size_t i);

/* spec_linux.c, spec_namespaces.c, spec_resources.c */
int spec_linux(struct spec *s, const struct jnode *n, struct spec_limits *l,
	       struct err *e);
int spec_namespaces(struct spec *s, const struct jnode *n, struct err *e);
const char *spec_namespace_name(size_t i);
int spec_resources(Podvm__ContainerCreate *c, const struct jnode *n,
		   struct spec_limits *l, struct err *e);

/* spec_update.c */
int spec_resources_text(const struct jnode *n, char **ret, struct err *e);

/* spec_userns.c */
int spec_userns(Podvm__ContainerCreate *c, const struct jnode *n, struct err *e);
int spec_userns_ids(Podvm__ContainerCreate *c, struct err *e);
int spec_timens(Podvm__ContainerCreate *c, const struct jnode *n, struct err *e);

/* spec_block.c */
int spec_block_rules(Podvm__ContainerCreate *c, const struct jnode *n, struct err *e);

/* spec_names.c */
int spec_capability_find(const char *name);
const char *spec_capability_name(size_t i);
int spec_rlimit_find(const char *name);

/* seccomp.c */
enum seccomp_table { SECCOMP_ACTIONS, SECCOMP_OPERATORS, SECCOMP_ARCHS, SECCOMP_FLAGS,
		     SECCOMP_KNOWN_FLAGS };
int spec_seccomp(const struct jnode *n, ProtobufCBinaryData *ret, uint32_t *ret_flags,
		 struct err *e);
const char *spec_seccomp_name(enum seccomp_table t, size_t i);

#endif
