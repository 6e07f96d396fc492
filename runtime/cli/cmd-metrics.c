// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "lib/log.h"
#include "runtime/cli/cli.h"
#include "runtime/podview.h"

static int print(struct cli *c, const struct gather *g, struct err *e)
{
	struct strbuf out = { .text = NULL };
	struct podview *v;
	int rc = podview_make(c->rootfd, g, &v, e);

	if (rc < 0)
		return rc;
	podview_openmetrics(v, g->n, &out);
	podview_free(v, g->n);
	if (out.failed)
		rc = err_set(e, ENOMEM, "out of memory");
	else
		fputs(out.text, stdout);
	strbuf_done(&out);
	return rc;
}

/**
 * cmd_metrics() - podvm metrics: all pods as OpenMetrics
 *
 * What a dead pod has left is undone first; where that fails it is no matter of others.
 */
int cmd_metrics(struct cli *c, int argc, char **argv, struct err *e)
{
	uint64_t timeout_ms = GATHER_MS;
	const struct opt t[] = {
		OPT_U64(0, "timeout", &timeout_ms, "MS", "how long pods may take to answer (2000)"),
		OPT_END
	};
	struct gather g = { .v = NULL };
	struct err why;
	int first, rc = cli_args(t, argc, argv, 0, -1, &first, e);

	if (rc <= 0)
		return rc;
	if (!timeout_ms || timeout_ms > INT_MAX)
		return err_set(e, EINVAL, "--timeout: 1 to %d milliseconds", INT_MAX);
	if (pod_recover_all(c->rootfd, &why) < 0)
		log_warn("metrics: %s", why.text);
	rc = gather_words(c->rootfd, argv + first, (size_t)(argc - first), &g, e);
	if (!rc) {
		gather_ask(c->rootfd, &g, GATHER_MACHINE | GATHER_GUEST, (int)timeout_ms);
		rc = print(c, &g, e);
	}
	gather_done(&g);
	return rc;
}
