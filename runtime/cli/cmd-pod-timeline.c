// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/progress.h"
#include "runtime/cli/cli.h"
#include "runtime/gather.h"
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

/**
 * pod_timeline_json() - add a timeline to the open object
 */
void pod_timeline_json(struct json_out *o, const Podvm__Pod__Response *rs)
{
	size_t i;

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
}

static int print_json(const Podvm__Pod__Response *rs, struct err *e)
{
	struct json_out *o = json_out_new();

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	pod_timeline_json(o, rs);
	return json_out_print(o, true, stdout, e);
}

/**
 * pod_timeline() - ask a pod for its timeline
 * @ret: podvm__pod__response__free_unpacked()
 *
 * Return: 0; -ESRCH: it has ended; minus errno
 */
int pod_timeline(struct cli *c, const char *pod, Podvm__Pod__Response **ret, struct err *e)
{
	Podvm__Pod__Timeline m = PODVM__POD__TIMELINE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(timeline = &m, TIMELINE);
	_cleanup_close_ int sock = -1;
	int rc = pod_connect(c->rootfd, pod, &sock, e);

	if (rc < 0)
		return err_set(e, ESRCH, "pod %s has ended", pod);
	return pod_call(sock, &rq, NULL, 0, ret, e);
}

/**
 * cmd_pod_timeline() - podvm pod timeline, and podvm timeline
 */
int cmd_pod_timeline(struct cli *c, int argc, char **argv, struct err *e)
{
	static char name[] = "pod timeline";
	char pod[STATE_ID_BYTES];
	bool json = false;
	const struct opt t[] = {
		OPT_FLAG(0, "json", &json, "for programs"),
		OPT_END
	};
	Podvm__Pod__Response *rs;
	struct progress_wait *w;
	int first, rc;

	argv[0] = name;
	rc = cli_args(t, argc, argv, 1, 1, &first, e);
	if (rc <= 0)
		return rc;
	w = progress_wait("asking the pod");
	rc = pod_of(c->rootfd, argv[first], pod, e);
	if (!rc)
		rc = pod_timeline(c, pod, &rs, e);
	progress_wait_end(w);
	if (rc < 0)
		return rc;
	if (json)
		rc = print_json(rs, e);
	else
		print_table(rs);
	podvm__pod__response__free_unpacked(rs, NULL);
	return rc;
}
