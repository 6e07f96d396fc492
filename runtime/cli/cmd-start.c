// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * start: the hooks in the guest, the container's program, the hooks on the host. When one of
 * these fails, the container ends, and who is told of the failure deletes it at once. An
 * engine that has not seen the process end by then takes the container for one that lives,
 * is told that it cannot be deleted, and does not come again (containerd's shim, under
 * docker): its pod would live for ever. So a start that fails returns when the shim has
 * ended.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/cli/cli.h"
#include "runtime/hooks.h"

/* How long the shim of a container may take to end whose start has failed. */
#define SHIM_END_MS 10000

static void await_end(const struct state *s)
{
	_cleanup_close_ int pidfd = s->pid > 0 && s->pid_start ?
				    proc_pidfd(s->pid, s->pid_start, NULL) : -1;
	struct pollfd f = { .fd = pidfd, .events = POLLIN };

	if (pidfd >= 0)
		poll(&f, 1, SHIM_END_MS);
}

/* Another command has started it, or it was not to be started: its shim does not end. */
static bool runs(int rootfd, const char *id)
{
	struct state *s;
	bool yes;

	if (state_load(rootfd, id, &s, NULL) < 0)
		return false;
	yes = s->status == STATE_RUNNING || s->status == STATE_PAUSED;
	state_free(s);
	return yes;
}

static void end(int sock, char *id)
{
	Podvm__Pod__Signal m = PODVM__POD__SIGNAL__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(signal = &m, SIGNAL);

	m.id = id;
	m.signal = SIGKILL;
	m.all = true;
	pod_call(sock, &rq, NULL, 0, NULL, NULL);
}

/* With the hooks before and behind it; a hook that fails ends the container. */
static int start_with_hooks(struct state *s, int sock, const struct spec *spec, struct err *e)
{
	Podvm__Pod__Start m = PODVM__POD__START__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(start = &m, START);
	int rc = 0;

	if (s->status == STATE_CREATED && spec && spec->create->start_hooks)
		rc = hooks_in_guest(sock, s->id, true, e);
	m.id = s->id;
	if (!rc)
		rc = pod_call(sock, &rq, NULL, 0, NULL, e);
	if (rc < 0 || !spec)
		return rc;
	rc = hooks_run(&spec->poststart, "poststart", s, "running", e);
	if (rc < 0) {
		end(sock, s->id);
		await_end(s);
	}
	return rc;
}

/**
 * start_container() - the whole of start
 *
 * Return: 0 or minus errno
 */
int start_container(struct cli *c, const char *id, struct err *e)
{
	_cleanup_close_ int sock = -1;
	struct spec *spec = NULL;
	struct state *s;
	int rc = cli_connect(c, id, &s, &sock, e);

	if (rc < 0)
		return rc;
	/* Without its bundle it has no hooks on the host; the agent knows its own. */
	if (spec_load_hooks(s->bundle, &spec, NULL) < 0)
		spec = NULL;
	rc = start_with_hooks(s, sock, spec, e);
	if (rc < 0 && !runs(c->rootfd, id))
		await_end(s);
	spec_free(spec);
	state_free(s);
	return rc;
}

/**
 * cmd_start() - podvm start
 */
int cmd_start(struct cli *c, int argc, char **argv, struct err *e)
{
	const struct opt t[] = { OPT_END };
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	return rc <= 0 ? rc : start_container(c, argv[first], e);
}
