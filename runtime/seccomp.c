// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * linux.seccomp is compiled here, on the host, by libseccomp, so that the guest
 * needs neither the library nor the profile: the agent installs the finished
 * program. The host and the guest have the same architecture; foreign ones in a
 * profile never make a system call there and are left out.
 *
 * As runc and crun have it: names that libseccomp does not know are skipped, as
 * profiles are written for newer kernels too; a rule with the default's action
 * adds nothing; conditions on one argument twice cannot be put into one rule and
 * become alternatives. A listener (SCMP_ACT_NOTIFY) would have to answer in the
 * guest and is refused. What a filter logs goes to the guest's kernel log.
 *
 * Limits: the kernel takes 4096 instructions; rules are capped so that a hostile
 * profile does not cost more than a large one.
 *
 * Sources: OCI runtime-spec 1.2, config-linux.md "Seccomp"; seccomp(2);
 * seccomp_rule_add(3).
 */
#include <errno.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"

#define RULES_MAX 4096

/*
 * Rules with conditions cost libseccomp much more than linear time, and rules
 * with several the most: a rule weighs the square of its conditions. podman's
 * default profile weighs 12; 1024 costs a quarter of a second.
 */
#define CONDITIONS_WEIGHT_MAX 1024
#define CONDITIONS_MAX 6

/* The kernel's MAX_ERRNO. */
#define ERRNO_MAX 4095

struct word {
	const char *name;
	uint32_t value;
};

/* SCMP_ACT_ERRNO and SCMP_ACT_TRACE take a number with them. */
static const struct word actions[] = {
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL },
	{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
	{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
	{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0) },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0) },
	{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
	{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
};

static const struct word operators[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE }, { "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

/* Those that can call an x86_64 kernel come first. */
#define ARCHS_OURS 3
static const struct word archs[] = {
	{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86 },
	{ "SCMP_ARCH_X32", SCMP_ARCH_X32 },
	{ "SCMP_ARCH_ARM", 0 },	      { "SCMP_ARCH_AARCH64", 0 },
	{ "SCMP_ARCH_LOONGARCH64", 0 }, { "SCMP_ARCH_M68K", 0 },
	{ "SCMP_ARCH_MIPS", 0 },      { "SCMP_ARCH_MIPS64", 0 },
	{ "SCMP_ARCH_MIPS64N32", 0 }, { "SCMP_ARCH_MIPSEL", 0 },
	{ "SCMP_ARCH_MIPSEL64", 0 },  { "SCMP_ARCH_MIPSEL64N32", 0 },
	{ "SCMP_ARCH_PPC", 0 },	      { "SCMP_ARCH_PPC64", 0 },
	{ "SCMP_ARCH_PPC64LE", 0 },   { "SCMP_ARCH_S390", 0 },
	{ "SCMP_ARCH_S390X", 0 },     { "SCMP_ARCH_PARISC", 0 },
	{ "SCMP_ARCH_PARISC64", 0 },  { "SCMP_ARCH_RISCV64", 0 },
	{ "SCMP_ARCH_SH", 0 },	      { "SCMP_ARCH_SHEB", 0 },
};

/* The container's first thread is alone when it installs the filter: nothing to synchronize. */
static const struct word flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 },
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	/* Behind here: known, and refused. */
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0 },
};
#define FLAGS_OURS 3

static const struct word *find(const struct word *t, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(t[i].name, name))
			return &t[i];
	return NULL;
}

/**
 * spec_seccomp_name() - the i-th word of the profile language that works
 *
 * Return: NULL behind the last
 */
const char *spec_seccomp_name(enum seccomp_table t, size_t i)
{
	switch (t) {
	case SECCOMP_ACTIONS:
		return i < ARRAY_LEN(actions) ? actions[i].name : NULL;
	case SECCOMP_OPERATORS:
		return i < ARRAY_LEN(operators) ? operators[i].name : NULL;
	case SECCOMP_ARCHS:
		return i < ARCHS_OURS ? archs[i].name : NULL;
	case SECCOMP_FLAGS:
		return i < FLAGS_OURS ? flags[i].name : NULL;
	case SECCOMP_KNOWN_FLAGS:
		return i < ARRAY_LEN(flags) ? flags[i].name : NULL;
	}
	return NULL;
}

static int action(const struct jnode *n, const char *key,
		  const char *errno_key, uint32_t *ret, struct err *e)
{
	const struct word *w;
	const char *name;
	uint64_t number = EPERM;
	bool takes;
	int rc = json_str(n, key, &name, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, key, e, "missing");
	if (!strcmp(name, "SCMP_ACT_NOTIFY"))
		return json_fail(n, key, e, "not supported: SCMP_ACT_NOTIFY: no "
				 "listener on the host can answer for a guest; use "
				 "SCMP_ACT_ERRNO");
	w = find(actions, ARRAY_LEN(actions), name);
	if (!w)
		return json_fail(n, key, e, "unknown action %s", SPEC_Q(name));
	takes = w->value == SCMP_ACT_ERRNO(0) || w->value == SCMP_ACT_TRACE(0);
	rc = json_u64(n, errno_key, &number, e);
	if (rc < 0)
		return rc;
	if (rc && !takes)
		return json_fail(n, errno_key, e, "%s takes no error number", name);
	if (number > ERRNO_MAX)
		return json_fail(n, errno_key, e, "must be 0 to %d", ERRNO_MAX);
	*ret = w->value | (takes ? (uint32_t)number : 0);
	return 0;
}

static int add_archs(scmp_filter_ctx ctx, const struct jnode *n, struct err *e)
{
	const struct word *w;
	struct jnode arr, el;
	const char *name;
	size_t i;
	int rc = json_arr(n, "architectures", &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		rc = json_as_str(&el, &name, e);
		if (rc < 0)
			return rc;
		w = find(archs, ARRAY_LEN(archs), name);
		if (!w)
			return json_fail(&el, NULL, e, "unknown architecture %s",
					 SPEC_Q(name));
		if (!w->value)
			continue;
		rc = seccomp_arch_add(ctx, w->value);
		if (rc < 0 && rc != -EEXIST)
			return json_fail(&el, NULL, e, "%s: %s", name,
					 strerror(-rc));
	}
	return 0;
}

static int condition(const struct jnode *n, struct scmp_arg_cmp *ret,
		     struct err *e)
{
	const struct word *op;
	const char *name;
	uint64_t index, value, two = 0;
	int rc = json_as_obj(n, e);

	if (rc < 0)
		return rc;
	rc = json_u64(n, "index", &index, e);
	if (rc == 1)
		rc = json_u64(n, "value", &value, e);
	if (rc == 1)
		rc = json_str(n, "op", &name, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, NULL, e, "needs index, value and op");
	if (index >= CONDITIONS_MAX)
		return json_fail(n, "index", e, "must be 0 to 5");
	op = find(operators, ARRAY_LEN(operators), name);
	if (!op)
		return json_fail(n, "op", e, "unknown operator %s", SPEC_Q(name));
	if (json_u64(n, "valueTwo", &two, e) < 0)
		return -EINVAL;
	*ret = (struct scmp_arg_cmp){
		.arg = (unsigned int)index,
		.op = (enum scmp_compare)op->value,
		.datum_a = value,
		.datum_b = two,
	};
	return 0;
}

struct rule {
	uint32_t action;
	struct scmp_arg_cmp args[CONDITIONS_MAX];
	unsigned int n_args;
	bool alternatives;	/* an argument is there twice */
};

static int conditions(const struct jnode *n, struct rule *r, struct err *e)
{
	struct jnode arr, el;
	unsigned int seen = 0;
	size_t i;
	int rc = json_arr(n, "args", &arr, e);

	if (rc <= 0)
		return rc;
	if (json_len(&arr) > CONDITIONS_MAX)
		return json_fail(n, "args", e, "more than %d", CONDITIONS_MAX);
	for (i = 0; i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		rc = condition(&el, &r->args[i], e);
		if (rc < 0)
			return rc;
		r->alternatives |= seen >> r->args[i].arg & 1;
		seen |= 1u << r->args[i].arg;
		r->n_args++;
	}
	return 0;
}

static int add_name(scmp_filter_ctx ctx, const struct rule *r, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name), rc = 0;
	unsigned int i;

	if (nr == __NR_SCMP_ERROR) {
		log_debug("seccomp: %s: skipped: unknown system call", name);
		return 0;
	}
	if (!r->alternatives)
		return seccomp_rule_add_array(ctx, r->action, nr, r->n_args,
					      r->args);
	for (i = 0; i < r->n_args && !rc; i++)
		rc = seccomp_rule_add_array(ctx, r->action, nr, 1, &r->args[i]);
	return rc;
}

/* What a profile may still use. */
struct budget {
	size_t rules;
	size_t weight;
};

static int take(struct budget *b, const struct rule *r, const struct jnode *n,
		struct err *e)
{
	size_t weight = (size_t)r->n_args * r->n_args;

	if (!b->rules)
		return json_fail(n, NULL, e, "more than %d rules", RULES_MAX);
	if (weight > b->weight)
		return json_fail(n, NULL, e, "too many rules with conditions");
	b->rules--;
	b->weight -= weight;
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, const struct jnode *n,
		    uint32_t default_action, struct budget *b, struct err *e)
{
	struct rule r = { 0 };
	struct jnode names, el;
	const char *name;
	size_t i;
	int rc = json_as_obj(n, e);

	if (!rc)
		rc = action(n, "action", "errnoRet", &r.action, e);
	if (!rc)
		rc = conditions(n, &r, e);
	if (!rc)
		rc = json_arr(n, "names", &names, e);
	if (rc < 0)
		return rc;
	if (!rc || !json_len(&names))
		return json_fail(n, "names", e, "must name a system call");
	for (i = 0; i < json_len(&names); i++) {
		el = json_at(&names, i);
		rc = json_as_str(&el, &name, e);
		if (rc < 0)
			return rc;
		if (r.action == default_action)
			continue;
		rc = take(b, &r, &el, e);
		if (rc < 0)
			return rc;
		rc = add_name(ctx, &r, name);
		if (rc < 0)
			return json_fail(&el, NULL, e, "rule for %s: %s",
					 SPEC_Q(name), strerror(-rc));
	}
	return 0;
}

static int add_rules(scmp_filter_ctx ctx, const struct jnode *n,
		     uint32_t default_action, struct err *e)
{
	struct budget b = { RULES_MAX, CONDITIONS_WEIGHT_MAX };
	struct jnode arr, el;
	size_t i;
	int rc = json_arr(n, "syscalls", &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		rc = add_rule(ctx, &el, default_action, &b, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* libseccomp writes to a descriptor only: a memfd takes it. */
static int export(scmp_filter_ctx ctx, const struct jnode *n,
		  ProtobufCBinaryData *ret, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;
	size_t len;
	int rc;

	if (fd < 0)
		return err_sys(e, "seccomp: memfd_create");
	rc = seccomp_export_bpf(ctx, fd);
	if (rc < 0)
		return json_fail(n, NULL, e, "cannot be compiled: %s",
				 strerror(-rc));
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "seccomp: memfd");
	len = (size_t)st.st_size;
	if (len > BPF_MAXINSNS * sizeof(struct sock_filter))
		return json_fail(n, NULL, e, "compiles to %zu instructions, the "
				 "kernel takes %d: give fewer rules",
				 len / sizeof(struct sock_filter), BPF_MAXINSNS);
	data = malloc(len);
	if (!data)
		return err_set(e, ENOMEM, "out of memory");
	rc = read_full(fd, data, len, e);
	if (rc < 0)
		return rc;
	ret->data = mem_steal(data);
	ret->len = len;
	return 0;
}

static int flag(const struct jnode *el, uint32_t *ret, struct err *e)
{
	const struct word *w;
	const char *name;
	int rc = json_as_str(el, &name, e);

	if (rc < 0)
		return rc;
	w = find(flags, ARRAY_LEN(flags), name);
	if (!w)
		return json_fail(el, NULL, e, "unknown flag %s", SPEC_Q(name));
	if (w >= flags + FLAGS_OURS)
		return json_fail(el, NULL, e, "not supported: %s: it is for SCMP_ACT_NOTIFY; "
				 "leave it out", name);
	*ret |= w->value;
	return 0;
}

static int flags_read(const struct jnode *n, uint32_t *ret, struct err *e)
{
	static const struct spec_refusal listener[] = {
		{ "listenerPath", "no listener on the host can answer for a guest; "
		  "leave it out" },
		{ "listenerMetadata", "no listener on the host can answer for a "
		  "guest; leave it out" },
	};
	struct jnode arr, el;
	size_t i;
	int rc = spec_refuse(n, listener, ARRAY_LEN(listener), e);

	if (!rc)
		rc = json_arr(n, "flags", &arr, e);
	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		rc = flag(&el, ret, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/**
 * spec_seccomp() - compile an OCI seccomp profile
 * @n:   the linux.seccomp object
 * @ret: struct sock_filter array, malloc'd, at most 4096 of them; untouched on
 *       failure
 * @ret_flags: SECCOMP_FILTER_FLAG_*; untouched on failure
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Context: libseccomp is not thread safe
 * Source: OCI runtime-spec, config-linux.md "Seccomp"
 */
int spec_seccomp(const struct jnode *n, ProtobufCBinaryData *ret, uint32_t *ret_flags,
		 struct err *e)
{
	uint32_t default_action, how = 0;
	scmp_filter_ctx ctx;
	int rc = action(n, "defaultAction", "defaultErrnoRet", &default_action, e);

	if (!rc)
		rc = flags_read(n, &how, e);
	if (rc < 0)
		return rc;
	ctx = seccomp_init(default_action);
	if (!ctx)
		return json_fail(n, "defaultAction", e, "cannot be compiled");
	rc = add_archs(ctx, n, e);
	if (!rc)
		rc = add_rules(ctx, n, default_action, e);
	if (!rc)
		rc = export(ctx, n, ret, e);
	if (!rc)
		*ret_flags = how;
	seccomp_release(ctx);
	return rc;
}
