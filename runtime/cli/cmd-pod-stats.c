// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What pods use. On the host: processor time and memory of the monitor, which has the
 * guest's, and of what a pod costs besides (supervisor, relay, shims). By what the guest
 * says: its memory, its load. Traffic is what the machine's devices counted. Processor
 * time is a share of one processor: since the last look with --watch, else since the
 * pod began. --devices shows the counters of each device of one pod instead.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/progress.h"
#include "runtime/cli/cli.h"
#include "runtime/podview.h"

struct stats_args {
	bool devices, json;
	uint64_t watch_s;
	char **pods;
	size_t n_pods;
};

/* Processor time of a pod at an earlier look. */
struct earlier {
	char id[STATE_ID_BYTES];
	uint64_t cpu_ms;
	double uptime_s;
};

static uint64_t cpu_of(const struct podview *v)
{
	return v->monitor.cpu_ms + v->supervisor.cpu_ms + v->relay.cpu_ms + v->shims.cpu_ms;
}

static double percent(const struct podview *v, const struct earlier *was, size_t n)
{
	double ms = (double)cpu_of(v), s = v->uptime_s;
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(was[i].id, v->p->id) && was[i].uptime_s < v->uptime_s) {
			ms -= (double)was[i].cpu_ms;
			s -= was[i].uptime_s;
		}
	return s > 0 && ms > 0 ? ms / 10 / s : 0;
}

/* A guest may say that it has more available than there is. */
static uint64_t guest_used(const Podvm__Guest *g)
{
	return g->memory_available < g->memory_total ? g->memory_total - g->memory_available : 0;
}

static void print_one(const struct podview *v, double cpu)
{
	const Podvm__Guest *g = v->p->guest ? v->p->guest->guest : NULL;
	struct podview_io net = podview_io(v, "net"), disk = podview_io(v, "blk");
	uint64_t besides = v->supervisor.resident_bytes + v->relay.resident_bytes +
			   v->shims.resident_bytes;
	char guest[48] = "-", load[24] = "-";

	if (!v->p->info) {
		printf("%-24s %s\n", v->p->id, gather_state_name(v->p->state));
		return;
	}
	if (g)
		snprintf(guest, sizeof(guest), "%llu/%llu", (unsigned long long)(guest_used(g) >> 20),
			 (unsigned long long)(g->memory_total >> 20));
	if (g)
		snprintf(load, sizeof(load), "%u.%02u", g->load_milli / 1000, g->load_milli % 1000 / 10);
	printf("%-24s %6.1f %9llu %8llu %12s %6s %8llu %8llu %8llu %8llu\n", v->p->id, cpu,
	       (unsigned long long)(v->monitor.resident_bytes >> 20),
	       (unsigned long long)(besides >> 20), guest, load,
	       (unsigned long long)(net.in_bytes >> 10), (unsigned long long)(net.out_bytes >> 10),
	       (unsigned long long)(disk.in_bytes >> 10), (unsigned long long)(disk.out_bytes >> 10));
}

static void print_table(const struct podview *v, size_t n, const struct earlier *was, size_t n_was)
{
	size_t i;

	printf("%-24s %6s %9s %8s %12s %6s %8s %8s %8s %8s\n", "POD", "CPU%", "MONITOR M",
	       "REST M", "GUEST M", "LOAD", "NET IN K", "OUT K", "DISK IN K", "OUT K");
	for (i = 0; i < n; i++)
		print_one(&v[i], percent(&v[i], was, n_was));
}

static int print_json(const struct podview *v, size_t n, const struct earlier *was, size_t n_was,
		      struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_arr(o, "pods");
	for (i = 0; i < n; i++) {
		json_out_obj(o, NULL);
		podview_json(&v[i], o);
		if (v[i].p->info)
			json_out_double(o, "cpuPercent", percent(&v[i], was, n_was));
		json_out_end(o);
	}
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

/* Keeps what the next look compares with. */
static size_t remember(const struct podview *v, size_t n, struct earlier **was)
{
	size_t i;

	free(*was);
	*was = mem_new_n(struct earlier, n + 1);
	for (i = 0; *was && i < n; i++) {
		strcpy((*was)[i].id, v[i].p->id); /* same size */
		(*was)[i].cpu_ms = cpu_of(&v[i]);
		(*was)[i].uptime_s = v[i].uptime_s;
	}
	return *was ? n : 0;
}

/* Counters of the devices of one pod. */
static int print_devices(const struct podview *v, bool json, struct err *e)
{
	struct strbuf out = { .text = NULL };
	int rc = 0;

	if (!v->p->stats)
		return err_set(e, v->p->why.code ? v->p->why.code : ESRCH, "%s",
			       v->p->why.code ? v->p->why.text : "the pod's machine has ended");
	if (json)
		vmm_metrics_json(&v->metrics, &out);
	else
		vmm_metrics_table(&v->metrics, &out);
	if (out.failed)
		rc = err_set(e, ENOMEM, "out of memory");
	else
		fputs(out.text, stdout);
	strbuf_done(&out);
	return rc;
}

static int look(struct cli *c, const struct stats_args *a, struct earlier **was, size_t *n_was,
		struct err *e)
{
	struct gather g = { .v = NULL };
	struct podview *v = NULL;
	struct progress_wait *w = progress_wait("asking pods");
	int rc = gather_words(c->rootfd, a->pods, a->n_pods, &g, e);

	if (!rc)
		gather_ask(c->rootfd, &g, GATHER_MACHINE | (a->devices ? 0 : GATHER_GUEST), GATHER_MS);
	progress_wait_end(w);
	if (!rc)
		rc = podview_make(c->rootfd, &g, &v, e);
	if (!rc && a->devices)
		rc = print_devices(v, a->json, e);
	else if (!rc && a->json)
		rc = print_json(v, g.n, *was, *n_was, e);
	else if (!rc)
		print_table(v, g.n, *was, *n_was);
	if (!rc)
		*n_was = remember(v, g.n, was);
	if (v)
		podview_free(v, g.n);
	gather_done(&g);
	return rc;
}

static int watch(struct cli *c, const struct stats_args *a, struct err *e)
{
	const struct timespec pause = { .tv_sec = (time_t)a->watch_s };
	const char *clear = isatty(STDOUT_FILENO) && a->watch_s && !a->json ? "\033[H\033[2J" : "";
	_cleanup_free_ struct earlier *was = NULL;
	size_t n_was = 0;
	int rc;

	do {
		fputs(clear, stdout);
		rc = look(c, a, &was, &n_was, e);
	} while (!rc && a->watch_s && !fflush(stdout) && !nanosleep(&pause, NULL));
	return rc;
}

/**
 * cmd_pod_stats() - podvm pod stats
 */
int cmd_pod_stats(struct cli *c, int argc, char **argv, struct err *e)
{
	struct stats_args a = { .devices = false };
	const char *format = "table";
	const struct opt t[] = {
		OPT_FLAG('d', "devices", &a.devices, "counters of the devices of one pod, and of its exits"),
		OPT_STR('f', "format", &format, "FORMAT", "table or json"),
		OPT_MAYBE_U64('w', "watch", &a.watch_s, "[S]", "again every second, or so many; until interrupted"),
		OPT_END
	};
	int first, rc = cli_args(t, argc, argv, 0, -1, &first, e);

	if (rc <= 0)
		return rc;
	a.json = !strcmp(format, "json");
	if (!a.json && strcmp(format, "table"))
		return err_set(e, EINVAL, "--format is table or json; podvm metrics gives OpenMetrics");
	if (a.devices && argc - first != 1)
		return err_set(e, EINVAL, "--devices is about one pod");
	if (a.watch_s > 86400)
		return err_set(e, EINVAL, "--watch: at most 86400 seconds");
	a.pods = argv + first;
	a.n_pods = (size_t)(argc - first);
	return watch(c, &a, e);
}

/**
 * cmd_stats() - podvm stats: short for podvm pod stats --devices
 */
int cmd_stats(struct cli *c, int argc, char **argv, struct err *e)
{
	static char name[] = "pod stats", devices[] = "--devices";
	_cleanup_free_ char **more = mem_new_n(char *, (size_t)argc + 2);

	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	more[0] = name;
	more[1] = devices;
	memcpy(more + 2, argv + 1, (size_t)(argc - 1) * sizeof(*more));
	return cmd_pod_stats(c, argc + 1, more, e);
}
