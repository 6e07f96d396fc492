// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * All that is known of a pod in one JSON object: what lists show (podview_json()), what
 * its supervisor holds ("details": machine, network with its plan, disks, shares), the
 * records of its containers, the timeline, which tells what was decided and why, and the
 * machine's counters.
 */
#include <errno.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/progress.h"
#include "runtime/cli/cli.h"
#include "runtime/podview.h"

static void put_records(struct cli *c, struct json_out *o, const Podvm__Pod__Info *info)
{
	size_t i;

	json_out_arr(o, "records");
	for (i = 0; i < info->n_containers; i++) {
		_cleanup_free_ char *text = NULL;
		struct state *s;

		if (state_load(c->rootfd, info->containers[i]->id, &s, NULL) < 0)
			continue; /* not committed yet */
		if (!state_json(s, &text, NULL))
			json_out_parsed(o, NULL, text);
		state_free(s);
	}
	json_out_end(o);
}

static void put_timeline(struct cli *c, struct json_out *o, const char *pod)
{
	Podvm__Pod__Response *rs;

	if (pod_timeline(c, pod, &rs, NULL) < 0)
		return;
	json_out_obj(o, "timeline");
	pod_timeline_json(o, rs);
	json_out_end(o);
	podvm__pod__response__free_unpacked(rs, NULL);
}

static void put_counters(struct json_out *o, const struct podview *v)
{
	struct strbuf text = { .text = NULL };

	if (!v->p->stats)
		return;
	vmm_metrics_json(&v->metrics, &text);
	if (!text.failed)
		json_out_parsed(o, "counters", text.text);
	strbuf_done(&text);
}

static struct json_out *all_of(struct cli *c, const struct podview *v)
{
	struct json_out *o = json_out_new();

	if (!o)
		return NULL;
	podview_json(v, o);
	json_out_parsed(o, "details", v->p->info->info->details);
	put_records(c, o, v->p->info->info);
	put_timeline(c, o, v->p->id);
	put_counters(o, v);
	return o;
}

static int inspect(struct cli *c, struct gather *g, struct json_out **ret, struct err *e)
{
	struct podview *v;
	int rc;

	gather_ask(c->rootfd, g, GATHER_DETAILS | GATHER_MACHINE | GATHER_GUEST, GATHER_MS);
	if (!g->v->info)
		return err_set(e, g->v->why.code ? g->v->why.code : ESRCH, "%s", g->v->why.text);
	rc = podview_make(c->rootfd, g, &v, e);
	if (rc < 0)
		return rc;
	*ret = all_of(c, v);
	podview_free(v, g->n);
	return 0;
}

/**
 * cmd_pod_inspect() - podvm pod inspect
 */
int cmd_pod_inspect(struct cli *c, int argc, char **argv, struct err *e)
{
	const struct opt t[] = { OPT_END };
	struct gather g = { .v = NULL };
	struct json_out *o = NULL;
	struct progress_wait *w;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	if (rc <= 0)
		return rc;
	w = progress_wait("asking the pod");
	rc = gather_words(c->rootfd, argv + first, 1, &g, e);
	if (!rc)
		rc = inspect(c, &g, &o, e);
	progress_wait_end(w);
	gather_done(&g);
	return rc < 0 ? rc : json_out_print(o, true, stdout, e);
}
