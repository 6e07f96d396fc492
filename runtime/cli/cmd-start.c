// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "runtime/cli/cli.h"
#include "runtime/hooks.h"

/* A poststart hook that fails is logged; the container runs (config.md, "Poststart"). */
static void poststart(const struct state *s)
{
	_cleanup_free_ char *json = NULL;
	struct spec *spec;
	struct err e;

	if (spec_load_hooks(s->bundle, &spec, &e) < 0)
		return;
	if (spec->poststart.n && (state_json(s, &json, &e) < 0 ||
				  hooks_run(&spec->poststart, "poststart", json, &e) < 0))
		log_warn("container %s: %s", s->id, e.text);
	spec_free(spec);
}

/**
 * start_container() - the whole of start
 *
 * Return: 0 or minus errno
 */
int start_container(struct cli *c, const char *id, struct err *e)
{
	Podvm__Pod__Start m = PODVM__POD__START__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(start = &m, START);
	_cleanup_close_ int sock = -1;
	struct state *s;
	int rc = cli_connect(c, id, &s, &sock, e);

	if (rc < 0)
		return rc;
	m.id = s->id;
	rc = pod_call(sock, &rq, NULL, 0, NULL, e);
	if (!rc)
		poststart(s);
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
