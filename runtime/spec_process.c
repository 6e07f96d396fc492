// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The OCI process object, of a container or of an exec, becomes the agent's
 * Process. Labels of the host's security modules are refused: no host policy
 * confines what runs in a guest, and pretending so would be worse than an error.
 *
 * Capability sets are made consistent rather than refused where the kernel
 * would refuse them: effective is cut to permitted, ambient to permitted and
 * inheritable. The specification asks a runtime not to fail over capabilities
 * that cannot be granted, and what crun and podman generate relies on it; those that
 * it does not know are named in the log.
 *
 * Sources: OCI runtime-spec 1.2, config.md "Process"; capabilities(7).
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"

#define PROCESS_MAX_BYTES (4u << 20)
#define UMASK_DEFAULT 022
#define TERMINAL_MAX 65535

static int id_of(const struct jnode *n, const char *key, uint32_t *ret,
		 struct err *e)
{
	uint64_t v;
	int rc = json_u64(n, key, &v, e);

	if (rc <= 0)
		return rc;
	/* The largest value means "no change" to setresuid(2). */
	if (v >= UINT32_MAX)
		return json_fail(n, key, e, "must be below %u", UINT32_MAX);
	*ret = (uint32_t)v;
	return 0;
}

static int groups(const struct jnode *user, Podvm__Process *p, struct err *e)
{
	struct jnode arr, el;
	uint64_t v;
	size_t i, n;
	int rc = json_arr(user, "additionalGids", &arr, e);

	if (rc <= 0)
		return rc;
	n = json_len(&arr);
	/* NGROUPS_MAX */
	if (n > 65536)
		return json_fail(user, "additionalGids", e, "more than 65536");
	p->additional_gids = mem_new_n(uint32_t, n + 1);
	if (!p->additional_gids)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < n; i++) {
		el = json_at(&arr, i);
		rc = json_as_u64(&el, &v, e);
		if (rc < 0)
			return rc;
		if (v >= UINT32_MAX)
			return json_fail(&el, NULL, e, "must be below %u",
					 UINT32_MAX);
		p->additional_gids[p->n_additional_gids++] = (uint32_t)v;
	}
	return 0;
}

static int user(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	static const struct spec_refusal others[] = {
		{ "username", "it is for Windows; give uid and gid" },
	};
	struct jnode u;
	uint64_t mask = UMASK_DEFAULT;
	int rc = json_obj(n, "user", &u, e);

	p->umask = UMASK_DEFAULT;
	if (rc <= 0)
		return rc;
	rc = spec_refuse(&u, others, ARRAY_LEN(others), e);
	if (!rc)
		rc = id_of(&u, "uid", &p->uid, e);
	if (!rc)
		rc = id_of(&u, "gid", &p->gid, e);
	if (!rc)
		rc = groups(&u, p, e);
	if (!rc)
		rc = json_u64(&u, "umask", &mask, e);
	if (rc < 0)
		return rc;
	if (mask > 0777)
		return json_fail(&u, "umask", e, "must be 0 to 511 (octal 777)");
	p->umask = (uint32_t)mask;
	return 0;
}

static int program(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	const char *cwd;
	size_t i;
	int rc = json_strv(n, "args", &p->args, &p->n_args, e);

	if (rc < 0)
		return rc;
	if (!p->n_args || !*p->args[0])
		return json_fail(n, "args", e, "must name a program");
	rc = json_strv(n, "env", &p->env, &p->n_env, e);
	if (rc < 0)
		return rc;
	for (i = 0; i < p->n_env; i++) {
		const char *eq = strchr(p->env[i], '=');

		if (!eq || eq == p->env[i])
			return json_fail(n, "env", e, "entry %zu must be "
					 "NAME=VALUE, not %s", i,
					 SPEC_Q(p->env[i]));
	}
	rc = json_str(n, "cwd", &cwd, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, "cwd", e, "missing: it is required");
	if (cwd[0] != '/')
		return json_fail(n, "cwd", e, "must be an absolute path, not %s",
				 SPEC_Q(cwd));
	return spec_strdup(cwd, &p->cwd, e);
}

static int mask_of(const struct jnode *caps, const char *key, uint64_t *ret,
		   struct err *e)
{
	struct jnode arr, el;
	const char *name;
	uint64_t mask = 0;
	size_t i;
	int cap, rc = json_arr(caps, key, &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		rc = json_as_str(&el, &name, e);
		if (rc < 0)
			return rc;
		cap = spec_capability_find(name);
		if (cap >= 0)
			mask |= 1ull << cap;
		else
			log_warn("config.json: /process/capabilities/%s/%zu: unknown capability %s, which nobody gets",
				 key, i, SPEC_Q(name));
	}
	*ret = mask;
	return 0;
}

static int capabilities(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	Podvm__Capabilities *c;
	uint64_t ambient;
	struct jnode caps;
	int rc = json_obj(n, "capabilities", &caps, e);

	if (rc <= 0)
		return rc;
	c = mem_new(Podvm__Capabilities);
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	podvm__capabilities__init(c);
	p->capabilities = c;
	rc = mask_of(&caps, "bounding", &c->bounding, e);
	if (!rc)
		rc = mask_of(&caps, "effective", &c->effective, e);
	if (!rc)
		rc = mask_of(&caps, "inheritable", &c->inheritable, e);
	if (!rc)
		rc = mask_of(&caps, "permitted", &c->permitted, e);
	if (!rc)
		rc = mask_of(&caps, "ambient", &c->ambient, e);
	if (rc < 0)
		return rc;
	c->effective &= c->permitted;
	ambient = c->ambient & c->permitted & c->inheritable;
	if (ambient != c->ambient)
		log_debug("spec: /process/capabilities/ambient: cut to what is "
			  "permitted and inheritable");
	c->ambient = ambient;
	return 0;
}

static int rlimit(const struct jnode *el, Podvm__Rlimit *r, uint32_t *seen,
		  struct err *e)
{
	const char *name;
	int which, rc = json_as_obj(el, e);

	if (!rc)
		rc = json_str(el, "type", &name, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(el, "type", e, "missing");
	which = spec_rlimit_find(name);
	if (which < 0)
		return json_fail(el, "type", e, "unknown resource limit %s",
				 SPEC_Q(name));
	if (*seen & 1u << which)
		return json_fail(el, "type", e, "%s is given twice", name);
	*seen |= 1u << which;
	r->resource = (uint32_t)which;
	rc = json_u64(el, "soft", &r->soft, e);
	if (rc == 1)
		rc = json_u64(el, "hard", &r->hard, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(el, NULL, e, "%s needs \"soft\" and \"hard\"",
				 name);
	if (r->soft > r->hard)
		return json_fail(el, "soft", e, "must not be above \"hard\"");
	return 0;
}

static int rlimits(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	struct jnode arr, el;
	Podvm__Rlimit *r;
	uint32_t seen = 0;
	size_t i;
	int rc = json_arr(n, "rlimits", &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		r = mem_new(Podvm__Rlimit);
		if (!r)
			return err_set(e, ENOMEM, "out of memory");
		podvm__rlimit__init(r);
		rc = spec_push(&p->rlimits, &p->n_rlimits, r, e);
		if (rc < 0) {
			free(r);
			return rc;
		}
		el = json_at(&arr, i);
		rc = rlimit(&el, r, &seen, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int terminal(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	struct jnode size;
	uint64_t rows = 0, columns = 0;
	bool on = false;
	int rc = json_flag(n, "terminal", &on, e);

	if (rc < 0)
		return rc;
	p->terminal = on;
	rc = json_obj(n, "consoleSize", &size, e);
	/* Without a terminal the specification has us ignore its size. */
	if (rc <= 0 || !on)
		return rc < 0 ? rc : 0;
	if (json_u64(&size, "height", &rows, e) < 0 ||
	    json_u64(&size, "width", &columns, e) < 0)
		return -EINVAL;
	if (rows > TERMINAL_MAX || columns > TERMINAL_MAX)
		return json_fail(n, "consoleSize", e, "at most %d by %d",
				 TERMINAL_MAX, TERMINAL_MAX);
	p->rows = (uint32_t)rows;
	p->columns = (uint32_t)columns;
	return 0;
}

/* What is an engine's label for this host's security modules. */
static int labels(const struct jnode *n, struct err *e)
{
	static const struct spec_refusal selinux[] = {
		{ "selinuxLabel", "the pod's virtual machine has no SELinux; set "
		  "label=disable in the engine" },
	};
	const char *profile;
	int rc = json_str(n, "apparmorProfile", &profile, e);

	if (rc < 0)
		return rc;
	if (rc && *profile && strcmp(profile, "unconfined"))
		return json_fail(n, "apparmorProfile", e, "%s: not supported: the "
				 "pod's virtual machine has no AppArmor; ask for "
				 "\"unconfined\" (podman, docker: --security-opt "
				 "apparmor=unconfined; Kubernetes: appArmorProfile "
				 "type Unconfined)", SPEC_Q(profile));
	return spec_refuse(n, selinux, ARRAY_LEN(selinux), e);
}

static int flags(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	bool no_new = false;
	int64_t adj = 0;

	if (json_flag(n, "noNewPrivileges", &no_new, e) < 0 ||
	    json_i64(n, "oomScoreAdj", &adj, e) < 0)
		return -EINVAL;
	if (adj < -1000 || adj > 1000)
		return json_fail(n, "oomScoreAdj", e, "must be -1000 to 1000");
	p->no_new_privileges = no_new;
	p->oom_score_adj = (int32_t)adj;
	return 0;
}

static int fill(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	static const struct spec_refusal others[] = {
		{ "commandLine", "it is for Windows; give args" },
	};
	int rc = spec_refuse(n, others, ARRAY_LEN(others), e);

	if (!rc)
		rc = labels(n, e);
	if (!rc)
		rc = program(n, p, e);
	if (!rc)
		rc = user(n, p, e);
	if (!rc)
		rc = capabilities(n, p, e);
	if (!rc)
		rc = rlimits(n, p, e);
	if (!rc)
		rc = terminal(n, p, e);
	if (!rc)
		rc = flags(n, p, e);
	return rc ? rc : spec_traits(n, p, e);
}

/**
 * spec_process() - translate a process object
 * @n:   the object
 * @ret: owned by the caller, podvm__process__free_unpacked(); untouched on failure
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config.md "Process"
 */
int spec_process(const struct jnode *n, Podvm__Process **ret, struct err *e)
{
	Podvm__Process *p = mem_new(Podvm__Process);
	int rc;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	podvm__process__init(p);
	rc = fill(n, p, e);
	if (rc < 0) {
		podvm__process__free_unpacked(p, NULL);
		return rc;
	}
	*ret = p;
	return 0;
}

/**
 * spec_process_load() - read the process of an exec from a file
 * @path: file with a process object; may be a pipe (/dev/stdin)
 * @ret:  owned by the caller, podvm__process__free_unpacked(); untouched on failure
 *
 * The container's seccomp filter is not in it: the caller copies it.
 *
 * Return: 0; -EINVAL with the JSON path; another negative errno
 */
int spec_process_load(const char *path, Podvm__Process **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc;
	struct jnode top;
	size_t len;
	int rc = file_read(AT_FDCWD, path, PROCESS_MAX_BYTES, &text, &len, e);

	if (rc < 0)
		return rc;
	rc = json_parse(text, len, &doc, e);
	if (rc < 0) {
		err_wrap(e, "%s", path);
		return rc;
	}
	top = json_root(doc);
	rc = json_as_obj(&top, e);
	if (!rc)
		rc = spec_process(&top, ret, e);
	json_free(doc);
	if (rc < 0)
		err_wrap(e, "%s", path);
	return rc;
}

/**
 * spec_user() - set a process's ids from the text of an option
 * @text: "UID" or "UID:GID", numbers; without a GID the process keeps its own
 *
 * Return: 0 or -EINVAL; @p is untouched on failure
 */
int spec_user(const char *text, Podvm__Process *p, struct err *e)
{
	char uid[24];
	const char *colon = strchrnul(text, ':');
	size_t len = (size_t)(colon - text);
	uint64_t u = 0, g = p->gid;
	bool bad = len >= sizeof(uid);

	if (!bad) {
		memcpy(uid, text, len);
		uid[len] = 0;
		bad = parse_u64(uid, &u) < 0 || u >= UINT32_MAX;
	}
	if (!bad && *colon)
		bad = parse_u64(colon + 1, &g) < 0 || g >= UINT32_MAX;
	if (bad)
		return err_set(e, EINVAL, "user %s: must be UID or UID:GID in "
			       "numbers; names are the container's own",
			       SPEC_Q(text));
	p->uid = (uint32_t)u;
	p->gid = (uint32_t)g;
	return 0;
}

/**
 * spec_capability_add() - grant a process one capability more
 * @name: with or without CAP_, case does not matter
 *
 * It goes into the bounding, effective and permitted sets.
 *
 * Return: 0; -EINVAL when unknown; -ENOMEM
 */
int spec_capability_add(const char *name, Podvm__Process *p, struct err *e)
{
	char full[32] = "CAP_";
	const char *bare = strncasecmp(name, "CAP_", 4) ? name : name + 4;
	size_t i;
	int cap = -1;

	for (i = 0; bare[i] && i + 5 < sizeof(full); i++)
		full[i + 4] = (char)toupper((unsigned char)bare[i]);
	if (!bare[i])
		cap = spec_capability_find(full);
	if (cap < 0)
		return err_set(e, EINVAL, "unknown capability %s", SPEC_Q(name));
	if (!p->capabilities) {
		p->capabilities = mem_new(Podvm__Capabilities);
		if (!p->capabilities)
			return err_set(e, ENOMEM, "out of memory");
		podvm__capabilities__init(p->capabilities);
	}
	p->capabilities->bounding |= 1ull << cap;
	p->capabilities->effective |= 1ull << cap;
	p->capabilities->permitted |= 1ull << cap;
	return 0;
}
