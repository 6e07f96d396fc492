// SPDX-License-Identifier: Apache-2.0
#include "lib/fd.h"
#include "runtime/cli/cli.h"

static int freeze(struct cli *c, int argc, char **argv, bool frozen, struct err *e)
{
	Podvm__Pod__Freeze m = PODVM__POD__FREEZE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(freeze = &m, FREEZE);
	const struct opt t[] = {OPT_END};
	_cleanup_close_ int sock = -1;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);
	struct state *s;

	if (rc <= 0)
		return rc;
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	m.id = s->id;
	m.frozen = frozen;
	rc = pod_call(sock, &rq, NULL, 0, NULL, e);
	state_free(s);
	return rc;
}

/**
 * cmd_pause() - podvm pause
 */
int cmd_pause(struct cli *c, int argc, char **argv, struct err *e)
{
	return freeze(c, argc, argv, true, e);
}

/**
 * cmd_resume() - podvm resume
 */
int cmd_resume(struct cli *c, int argc, char **argv, struct err *e)
{
	return freeze(c, argc, argv, false, e);
}
