// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "runtime/cli/cli.h"

/**
 * cmd_ps() - podvm ps: the numbers that a container's processes have in the guest
 */
int cmd_ps(struct cli *c, int argc, char **argv, struct err *e)
{
	Podvm__Pod__Pids m = PODVM__POD__PIDS__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(pids = &m, PIDS);
	const char *format = "table";
	const struct opt t[] = {
		OPT_STR('f', "format", &format, "FORMAT", "table or json"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	int first, rc = cli_args(t, argc, argv, 1, -1, &first, e);
	Podvm__Pod__Response *rs;
	struct state *s;
	bool json;
	size_t i;

	if (rc <= 0)
		return rc;
	if (argc - first > 1)
		return err_set(e, ENOTSUP,
			       "ps options: not supported: the host's ps does not see the guest; podvm exec %s ps does",
			       argv[first]);
	json = !strcmp(format, "json");
	if (!json && strcmp(format, "table"))
		return err_set(e, EINVAL, "--format is table or json");
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	m.id = s->id;
	rc = pod_call(sock, &rq, NULL, 0, &rs, e);
	state_free(s);
	if (rc < 0)
		return rc;
	printf("%s", json ? "[" : "PID (in the guest)\n");
	for (i = 0; i < rs->n_pids; i++)
		printf(json ? "%s%u" : "%s%u\n", json && i ? "," : "", rs->pids[i]);
	if (json)
		printf("]\n");
	podvm__pod__response__free_unpacked(rs, NULL);
	return 0;
}
