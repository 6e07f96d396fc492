// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Hooks that run on the host are kept for whoever runs them; those that would
 * have to run in the container's namespaces are refused by name.
 *
 * Source: OCI runtime-spec 1.2, config.md "POSIX-platform Hooks".
 */
#include <errno.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

static void hook_done(struct spec_hook *h)
{
	char **p;

	for (p = h->args; p && *p; p++)
		free(*p);
	for (p = h->env; p && *p; p++)
		free(*p);
	free(h->args);
	free(h->env);
	free(h->path);
}

static int hook(const struct jnode *n, struct spec_hook *h, struct err *e)
{
	const char *path;
	int64_t timeout;
	size_t count;
	int rc = json_as_obj(n, e);

	if (!rc)
		rc = json_str(n, "path", &path, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, "path", e, "missing");
	if (path[0] != '/')
		return json_fail(n, "path", e, "must be an absolute path, not %s",
				 SPEC_Q(path));
	rc = json_i64(n, "timeout", &timeout, e);
	if (rc < 0)
		return rc;
	if (rc && timeout <= 0)
		return json_fail(n, "timeout", e, "must be greater than zero");
	h->timeout_s = rc ? (uint64_t)timeout : 0;
	if (json_strv(n, "args", &h->args, &count, e) < 0 ||
	    json_strv(n, "env", &h->env, &count, e) < 0)
		return e && e->code ? -e->code : -EINVAL;
	return spec_strdup(path, &h->path, e);
}

static int hook_list(const struct jnode *hooks, const char *key,
		     struct spec_hooks *ret, struct err *e)
{
	struct jnode arr, el;
	size_t i, n;
	int rc = json_arr(hooks, key, &arr, e);

	if (rc <= 0)
		return rc;
	n = json_len(&arr);
	ret->v = mem_new_n(struct spec_hook, n + 1);
	if (!ret->v)
		return err_set(e, ENOMEM, "out of memory");
	ret->n = n;
	for (i = 0; i < n; i++) {
		el = json_at(&arr, i);
		rc = hook(&el, &ret->v[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/**
 * spec_hooks() - translate the hooks
 * @top: the whole configuration
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config.md "POSIX-platform Hooks"
 */
int spec_hooks(struct spec *s, const struct jnode *top, struct err *e)
{
	static const struct spec_refusal inside[] = {
		{ "createContainer", "hooks that run in the container's mount "
		  "namespace would have to run in the pod's virtual machine; use "
		  "createRuntime, or a trusted runtime" },
		{ "startContainer", "hooks that run in the container would have to "
		  "run in the pod's virtual machine; use poststart, or a trusted "
		  "runtime" },
	};
	struct jnode n;
	int rc = json_obj(top, "hooks", &n, e);

	if (rc <= 0)
		return rc;
	rc = spec_refuse(&n, inside, ARRAY_LEN(inside), e);
	if (!rc)
		rc = hook_list(&n, "prestart", &s->prestart, e);
	if (!rc)
		rc = hook_list(&n, "createRuntime", &s->create_runtime, e);
	if (!rc)
		rc = hook_list(&n, "poststart", &s->poststart, e);
	return rc ? rc : hook_list(&n, "poststop", &s->poststop, e);
}

/**
 * spec_hooks_done() - free a list of hooks, also a half-built one
 */
void spec_hooks_done(struct spec_hooks *h)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		hook_done(&h->v[i]);
	free(h->v);
}
