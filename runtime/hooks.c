// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Hooks of the bundle that run on the host. Each gets the container's state as
 * JSON on its standard input, its own environment and nothing else of ours,
 * and is killed when its time-out is over (OCI runtime specification,
 * config.md, "POSIX-platform Hooks").
 */
#include "runtime/hooks.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"

static int run_one(const struct spec_hook *h, const char *state, struct err *e)
{
	char *no_env[] = { NULL }, *own_args[] = { h->path, NULL };
	_cleanup_close_ int in = memfd_create("state", MFD_CLOEXEC), pidfd = -1;
	struct proc_fd map[] = { { in, 0 }, { 2, 2 } };
	struct proc_spec s = { .path = h->path,
			       .argv = h->args && h->args[0] ? h->args : own_args,
			       .envp = h->env ? h->env : no_env,
			       .fds = map, .n_fds = ARRAY_LEN(map) };
	int rc, status, limit_ms = -1;

	if (h->timeout_s)
		limit_ms = h->timeout_s < INT_MAX / 1000 ? (int)h->timeout_s * 1000
							 : INT_MAX;
	if (in < 0)
		return err_sys(e, "memfd_create");
	rc = write_full(in, state, strlen(state), e);
	if (rc < 0)
		return rc;
	if (lseek(in, 0, SEEK_SET) < 0)
		return err_sys(e, "lseek");
	rc = proc_spawn(&s, NULL, &pidfd, e);
	if (rc < 0)
		return rc;
	rc = proc_wait(pidfd, limit_ms, &status, e);
	if (rc == -ETIMEDOUT) {
		proc_kill(pidfd, SIGKILL);
		proc_wait(pidfd, -1, &status, NULL);
		return err_set(e, ETIMEDOUT, "%s: killed after its time-out of %llu s",
			       h->path, (unsigned long long)h->timeout_s);
	}
	if (!rc && status)
		rc = err_set(e, ECANCELED, "%s: exit status %d", h->path, status);
	return rc;
}

/**
 * hooks_run() - run hooks in order, up to the first that fails
 * @kind:  as config.json calls them, for the error
 * @state: JSON text for their standard input
 *
 * Return: 0 or minus errno
 */
int hooks_run(const struct spec_hooks *h, const char *kind, const char *state,
	      struct err *e)
{
	size_t i;

	for (i = 0; i < h->n; i++) {
		int rc = run_one(&h->v[i], state, e);

		if (rc < 0)
			return err_wrap(e, "/hooks/%s/%zu", kind, i);
	}
	return 0;
}
