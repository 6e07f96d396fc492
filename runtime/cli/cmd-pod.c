// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm pod: what people look at pods with. A second table of commands, whose names
 * have "pod " in front, so that help and errors name what was typed. Where a command
 * takes a POD, a container's id means the pod that it is in.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/progress.h"
#include "runtime/cli/cli.h"
#include "runtime/podview.h"

static const struct command pod_commands[] = {
	{ "pod list", "[--json] [--quiet]", "pods: state, containers, size, addresses, engine",
	  cmd_pod_list },
	{ "pod inspect", "POD", "all that is known of a pod, as JSON", cmd_pod_inspect },
	{ "pod stats", "[--devices] [--format table|json] [--watch [S]] [POD…]",
	  "what pods use, on the host and by what the guest says", cmd_pod_stats },
	{ "pod timeline", "[--json] POD", "what happened when in a pod", cmd_pod_timeline },
	{ "pod console", "[--follow] [--raw] POD", "what the guest's kernel and agent wrote", cmd_pod_console },
	{ "pod logs", "[--follow] [--source SOURCE] [--raw] POD",
	  "what supervisor, monitor and guest wrote", cmd_pod_logs },
	{ "pod shell", "[--program FILE] [--tty] POD [COMMAND…]",
	  "a shell in the guest, beside the containers", cmd_pod_shell },
	{ NULL, NULL, NULL, NULL },
};

/* podvm pod */
const struct command_group cli_pod = {
	.name = "pod",
	.commands = pod_commands,
	.about = "Looks at pods. POD is the id of a pod or of one of its containers.\n",
	.more = "podvm pod COMMAND --help tells the options of one.\n",
};

/**
 * cmd_pod() - podvm pod
 */
int cmd_pod(struct cli *c, int argc, char **argv, struct err *e)
{
	return cli_group_run(&cli_pod, c, argc, argv, e);
}

static int print_json(const struct podview *v, size_t n, struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_arr(o, "pods");
	for (i = 0; i < n; i++) {
		json_out_obj(o, NULL);
		podview_json(&v[i], o);
		json_out_end(o);
	}
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

static int print_pods(struct cli *c, struct gather *g, bool json, struct err *e)
{
	struct podview *v;
	size_t i;
	int rc;

	rc = podview_make(c->rootfd, g, &v, e);
	if (rc < 0)
		return rc;
	if (json) {
		rc = print_json(v, g->n, e);
	} else {
		podview_table_head(stdout);
		for (i = 0; i < g->n; i++)
			podview_table(&v[i], stdout);
	}
	podview_free(v, g->n);
	return rc;
}

/**
 * cmd_pod_list() - podvm pod list; also puts right what dead pods have left
 */
int cmd_pod_list(struct cli *c, int argc, char **argv, struct err *e)
{
	bool json = false, quiet = false;
	const struct opt t[] = {
		OPT_FLAG(0, "json", &json, "for programs"),
		OPT_FLAG('q', "quiet", &quiet, "ids only"),
		OPT_END
	};
	struct gather g = { .v = NULL };
	struct progress_wait *w;
	int first, rc = cli_args(t, argc, argv, 0, 0, &first, e);
	size_t i;

	if (rc <= 0)
		return rc;
	w = progress_wait("clearing up behind pods that have ended");
	rc = pod_recover_all(c->rootfd, e);
	if (!rc)
		rc = gather_pods(c->rootfd, &g, e);
	progress_wait_next(w, "asking pods");
	if (!rc && !quiet)
		gather_ask(c->rootfd, &g, 0, GATHER_MS);
	progress_wait_end(w);
	if (!rc && quiet)
		for (i = 0; i < g.n; i++)
			printf("%s\n", g.v[i].id);
	else if (!rc)
		rc = print_pods(c, &g, json, e);
	gather_done(&g);
	return rc;
}
