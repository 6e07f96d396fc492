// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Hooks that run in the container (OCI config.md, "POSIX-platform Hooks"), by its first
 * process before its exec. A machine has no file system but the container's that a hook
 * could come from, so both kinds are looked for there:
 * - createContainer: with all mounts made, in the container's root, as root with all
 *   capabilities and before the root becomes read-only: what changes the container;
 * - startContainer: as what the container's process will be, its user, capabilities and
 *   filter: what the process could do itself.
 * The host compiles the container's state for them; only the number of the process, as
 * the container sees it, is known here alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/hook.h"
#include "lib/mem.h"

/* NULL-terminated; the strings stay @v's. */
static int list(char **v, size_t n, char ***ret, struct err *e)
{
	char **l = mem_new_n(char *, n + 1);
	size_t i;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < n; i++)
		l[i] = v[i];
	*ret = l;
	return 0;
}

static int one(const Podvm__Hook *m, const char *state, int (*become)(void *arg), void *arg,
	       struct err *e)
{
	_cleanup_free_ char **args = NULL, **env = NULL;
	struct hook h = { .path = m->path, .timeout_s = m->timeout_s, .state = state,
			  .before_exec = become, .arg = arg };
	int rc = list(m->args, m->n_args, &args, e);

	if (rc >= 0)
		rc = list(m->env, m->n_env, &env, e);
	if (rc < 0)
		return rc;
	h.argv = args;
	h.envp = env;
	return hook_run(&h, e);
}

/**
 * hooks_inside() - run hooks in order, up to the first that fails
 * @kind:   as config.json calls them, for the error
 * @become: called in the hook's process before its exec, with @arg; may be NULL
 *
 * Return: 0; minus errno, with the hook's place, exit status and last words
 * Context: the child, in the container's root, before its exec
 */
int hooks_inside(const Podvm__Hooks *h, const char *kind, int (*become)(void *arg), void *arg,
		 struct err *e)
{
	_cleanup_free_ char *state = NULL;
	size_t i;

	if (asprintf(&state, "%s%d%s", h->state_before, getpid(), h->state_after) < 0) {
		state = NULL;
		return err_set(e, ENOMEM, "out of memory");
	}
	for (i = 0; i < h->n_hooks; i++)
		if (one(h->hooks[i], state, become, arg, e) < 0)
			return err_wrap(e, "/hooks/%s/%zu", kind, i);
	return 0;
}
