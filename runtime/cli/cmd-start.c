// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/cli/cli.h"
#include "runtime/hooks.h"

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
	if (rc < 0)
		end(sock, s->id);
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
