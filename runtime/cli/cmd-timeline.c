// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "runtime/cli/cli.h"
#include "vmm/vmm.h"

static void print_table(const Podvm__Pod__Response *rs)
{
	uint64_t t0 = rs->n_stamps ? rs->stamps[0]->ns : 0, last = t0;
	size_t i;

	printf("%12s %10s  %s\n", "AT (ms)", "+ (ms)", "WHAT");
	for (i = 0; i < rs->n_stamps; i++) {
		const Podvm__Pod__Stamp *s = rs->stamps[i];

		printf("%12.3f %10.3f  %s\n", (double)(s->ns - t0) / 1e6,
		       (double)(s->ns - last) / 1e6, s->what);
		last = s->ns;
	}
	printf("vCPU exits:");
	for (i = 0; i < rs->n_exits && i < VMM_EXIT_KINDS; i++)
		printf(" %s %llu", vmm_exit_name((enum vmm_exit)i), (unsigned long long)rs->exits[i]);
	printf("\n");
}

static int print_json(const Podvm__Pod__Response *rs, struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, 12, "out of memory");
	json_out_arr(o, "events");
	for (i = 0; i < rs->n_stamps; i++) {
		json_out_obj(o, NULL);
		json_out_u64(o, "ns", rs->stamps[i]->ns);
		json_out_str(o, "what", rs->stamps[i]->what);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_obj(o, "exits");
	for (i = 0; i < rs->n_exits && i < VMM_EXIT_KINDS; i++)
		json_out_u64(o, vmm_exit_name((enum vmm_exit)i), rs->exits[i]);
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

/**
 * cmd_timeline() - podvm timeline
 */
int cmd_timeline(struct cli *c, int argc, char **argv, struct err *e)
{
	Podvm__Pod__Timeline m = PODVM__POD__TIMELINE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(timeline = &m, TIMELINE);
	bool json = false;
	const struct opt t[] = {
		OPT_FLAG(0, "json", &json, "for programs"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);
	Podvm__Pod__Response *rs;
	struct state *s;

	if (rc <= 0)
		return rc;
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	state_free(s);
	rc = pod_call(sock, &rq, NULL, 0, &rs, e);
	if (rc < 0)
		return rc;
	if (json)
		rc = print_json(rs, e);
	else
		print_table(rs);
	podvm__pod__response__free_unpacked(rs, NULL);
	return rc;
}
