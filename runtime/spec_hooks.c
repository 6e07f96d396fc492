// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Hooks that run on the host are kept for whoever runs them (hooks.c); those that run
 * in the container's namespaces, createContainer and startContainer, go to the agent.
 * The specification looks for the former's programs on the host. A machine has no file
 * system of the host, so they are looked for in the container's, as the latter's
 * are: in its image, or in a bind mount (hooks_check() says so before anything is made).
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

/* The agent's message takes over what the parsed hook owns. */
static int give(struct spec_hook *from, Podvm__Hooks *to, struct err *e)
{
	Podvm__Hook *h = mem_new(Podvm__Hook);

	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	podvm__hook__init(h);
	if (spec_push(&to->hooks, &to->n_hooks, h, e) < 0) {
		free(h);
		return -ENOMEM;
	}
	h->path = mem_steal(from->path);
	h->args = mem_steal(from->args);
	h->env = mem_steal(from->env);
	while (h->args && h->args[h->n_args])
		h->n_args++;
	while (h->env && h->env[h->n_env])
		h->n_env++;
	h->timeout_s = from->timeout_s;
	return 0;
}

/* NULL when there are none. */
static int inside(const struct jnode *hooks, const char *key, Podvm__Hooks **ret, struct err *e)
{
	struct spec_hooks list = { 0 };
	size_t i;
	int rc = hook_list(hooks, key, &list, e);

	if (!rc && list.n) {
		*ret = mem_new(Podvm__Hooks);
		if (*ret)
			podvm__hooks__init(*ret);
		else
			rc = err_set(e, ENOMEM, "out of memory");
	}
	for (i = 0; i < list.n && !rc; i++)
		rc = give(&list.v[i], *ret, e);
	spec_hooks_done(&list);
	return rc;
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
	struct jnode n;
	int rc = json_obj(top, "hooks", &n, e);

	if (rc <= 0)
		return rc;
	rc = hook_list(&n, "prestart", &s->prestart, e);
	if (!rc)
		rc = hook_list(&n, "createRuntime", &s->create_runtime, e);
	if (!rc)
		rc = inside(&n, "createContainer", &s->create->create_hooks, e);
	if (!rc)
		rc = inside(&n, "startContainer", &s->create->start_hooks, e);
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
