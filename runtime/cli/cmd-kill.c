// SPDX-License-Identifier: Apache-2.0
#include "lib/fd.h"
#include "runtime/cli/cli.h"

/**
 * cmd_kill() - podvm kill
 */
int cmd_kill(struct cli *c, int argc, char **argv, struct err *e)
{
	Podvm__Pod__Signal m = PODVM__POD__SIGNAL__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(signal = &m, SIGNAL);
	bool all = false;
	const struct opt t[] = {
		OPT_FLAG('a', "all", &all, "every process of the container"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	int first, sig, rc = cli_args(t, argc, argv, 1, 2, &first, e);
	struct state *s;

	if (rc <= 0)
		return rc;
	rc = spec_signal(argc - first > 1 ? argv[first + 1] : "TERM", &sig, e);
	if (rc < 0)
		return rc;
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	m.id = s->id;
	m.signal = (uint32_t)sig;
	m.all = all;
	rc = pod_call(sock, &rq, NULL, 0, NULL, e);
	state_free(s);
	return rc;
}
