// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Turns what pods have told (runtime/gather.c), and what the host's /proc says of their
 * processes, into one view that the list, statistics, inspection and metrics share.
 * What the guest says of itself is marked as such wherever it is shown ("guest"), and its
 * strings are only compared, never shown: names of containers are the supervisor's.
 */
#include "runtime/podview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/mem.h"

static const struct {
	const char *sign, *engine;
} signs[] = {
	/* Annotations, then directories of bundles; the first one that is found decides. */
	{ "io.kubernetes.cri-o.", "CRI-O" },
	{ "io.kubernetes.cri.", "containerd" },
	{ "io.podman.", "podman" },
	{ "io.container.manager", "podman" },
	{ "/moby/", "docker" },
	{ "/io.containerd.runtime.v2.task/", "containerd" },
	{ "/overlay-containers/", "podman" },
};

/**
 * podview_engine() - which engine has made a container, by what engines leave in it
 *
 * Return: static; "-" when nothing tells
 */
const char *podview_engine(const struct state *s)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(signs); i++)
		if ((s->annotations && strstr(s->annotations, signs[i].sign)) ||
		    (s->bundle && strstr(s->bundle, signs[i].sign)))
			return signs[i].engine;
	return "-";
}

/* Counters that a supervisor of another version does not know are zero. */
static void take_device(const Podvm__Pod__Device *from, struct vmm_device *to)
{
	uint64_t *const fields[] = {
#define FIELD(field, unit, help) &to->field,
		VMM_DEVICE_COUNTERS(FIELD)
#undef FIELD
	};
	size_t i;

	snprintf(to->kind, sizeof(to->kind), "%s", from->kind);
	snprintf(to->name, sizeof(to->name), "%s", from->name);
	to->status = from->status;
	to->queues = from->queues;
	to->kernel_queues = from->kernel_queues;
	for (i = 0; i < ARRAY_LEN(fields) && i < from->n_counters; i++)
		*fields[i] = from->counters[i];
}

/**
 * podview_metrics() - a machine's counters, out of a supervisor's answer
 * @ret: vmm_metrics_done()
 *
 * Return: 0 or -ENOMEM
 */
int podview_metrics(const Podvm__Pod__Metrics *from, struct vmm_metrics *ret, struct err *e)
{
	struct vmm_metrics m = { .stats = { .start_ns = from->start_ns,
					    .config_ns = from->config_ns,
					    .run_ns = from->run_ns,
					    .connect_ns = from->connect_ns } };
	size_t i;

	for (i = 0; i < VMM_EXIT_KINDS && i < from->n_exits; i++)
		m.stats.exits[i] = from->exits[i];
	m.devices = mem_new_n(struct vmm_device, from->n_devices ? from->n_devices : 1);
	if (!m.devices)
		return err_set(e, ENOMEM, "out of memory");
	m.n_devices = from->n_devices;
	for (i = 0; i < m.n_devices; i++)
		take_device(from->devices[i], &m.devices[i]);
	*ret = m;
	return 0;
}

/**
 * podview_io() - traffic of all devices of a kind
 */
struct podview_io podview_io(const struct podview *v, const char *kind)
{
	struct podview_io io = { 0, 0 };
	size_t i;

	for (i = 0; i < v->metrics.n_devices; i++)
		if (!strcmp(v->metrics.devices[i].kind, kind)) {
			io.in_bytes += v->metrics.devices[i].in_bytes;
			io.out_bytes += v->metrics.devices[i].out_bytes;
		}
	return io;
}

/**
 * podview_running() - how many of a pod's containers run
 */
size_t podview_running(const struct podview *v)
{
	const Podvm__Pod__Info *info = v->p->info ? v->p->info->info : NULL;
	size_t i, n = 0;

	for (i = 0; info && i < info->n_containers; i++)
		n += !strcmp(info->containers[i]->status, "running");
	return n;
}

static void look_processes(struct podview *v, const Podvm__Pod__Info *info)
{
	struct usage u;
	size_t i;

	usage_of((pid_t)info->monitor_pid, &v->monitor);
	usage_of((pid_t)info->supervisor_pid, &v->supervisor);
	usage_of((pid_t)info->relay_pid, &v->relay);
	for (i = 0; i < info->n_containers; i++)
		if (!usage_of((pid_t)info->containers[i]->shim_pid, &u)) {
			v->shims.cpu_ms += u.cpu_ms;
			v->shims.resident_bytes += u.resident_bytes;
		}
}

static const char *engine_of(int rootfd, const Podvm__Pod__Info *info)
{
	const char *engine = "-";
	struct state *s;
	size_t i;

	for (i = 0; i < info->n_containers && !strcmp(engine, "-"); i++) {
		if (state_load(rootfd, info->containers[i]->id, &s, NULL) < 0)
			continue;
		engine = podview_engine(s);
		state_free(s);
	}
	return engine;
}

static int make_one(int rootfd, const struct gather_pod *p, struct podview *v, struct err *e)
{
	const Podvm__Pod__Info *info = p->info ? p->info->info : NULL;
	struct timespec now;
	int rc = 0;

	v->p = p;
	v->engine = "-";
	if (!info)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	v->uptime_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)info->began_ns / 1e9;
	v->engine = engine_of(rootfd, info);
	look_processes(v, info);
	if (p->stats)
		rc = podview_metrics(p->stats->metrics, &v->metrics, e);
	v->metrics.machine = p->id;
	return rc;
}

/**
 * podview_make() - views of all pods of a list
 * @g:   after gather_ask(); outlives the views
 * @ret: as many as @g has; podview_free()
 *
 * Return: 0 or -ENOMEM
 */
int podview_make(int rootfd, const struct gather *g, struct podview **ret, struct err *e)
{
	struct podview *v = mem_new_n(struct podview, g->n + 1);
	size_t i;
	int rc = v ? 0 : err_set(e, ENOMEM, "out of memory");

	for (i = 0; i < g->n && !rc; i++)
		rc = make_one(rootfd, &g->v[i], &v[i], e);
	if (rc < 0)
		podview_free(v, v ? g->n : 0);
	else
		*ret = v;
	return rc;
}

/**
 * podview_free() - free views
 */
void podview_free(struct podview *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		vmm_metrics_done(&v[i].metrics);
	free(v);
}

/* ---- for people --------------------------------------------------------------------- */

/**
 * podview_size_text() - a size for a table
 */
void podview_size_text(uint64_t bytes, char dst[24])
{
	if (bytes >= 10ull << 30)
		snprintf(dst, 24, "%lluG", (unsigned long long)(bytes >> 30));
	else
		snprintf(dst, 24, "%lluM", (unsigned long long)(bytes >> 20));
}

/**
 * podview_time_text() - a span of seconds for a table
 */
void podview_time_text(double s, char dst[24])
{
	unsigned long long t = (unsigned long long)(s < 0 ? 0 : s);

	if (t >= 86400)
		snprintf(dst, 24, "%llud%lluh", t / 86400, t % 86400 / 3600);
	else if (t >= 3600)
		snprintf(dst, 24, "%lluh%llum", t / 3600, t % 3600 / 60);
	else
		snprintf(dst, 24, "%llum%llus", t / 60, t % 60);
}

/**
 * podview_table_head() - the first line of podview_table()
 */
void podview_table_head(FILE *f)
{
	fprintf(f, "%-24s %-8s %-10s %6s %7s %8s %-10s %s\n", "POD", "STATE", "CONTAINERS", "VCPUS",
		"MEMORY", "UPTIME", "ENGINE", "ADDRESSES");
}

/**
 * podview_table() - one pod in a line
 */
void podview_table(const struct podview *v, FILE *f)
{
	const Podvm__Pod__Info *info = v->p->info ? v->p->info->info : NULL;
	char memory[24] = "-", uptime[24], count[48];
	size_t i;

	if (!info) {
		fprintf(f, "%-24s %-8s\n", v->p->id, gather_state_name(v->p->state));
		return;
	}
	if (info->size)
		podview_size_text(info->size->memory, memory);
	podview_time_text(v->uptime_s, uptime);
	snprintf(count, sizeof(count), "%zu/%zu", podview_running(v), info->n_containers);
	fprintf(f, "%-24s %-8s %-10s %6u %7s %8s %-10s ", v->p->id,
		info->monitor_pid ? gather_state_name(v->p->state) : "ended", count, info->vcpus,
		memory, uptime, v->engine);
	for (i = 0; i < info->n_addresses; i++)
		fprintf(f, "%s%s", i ? "," : "", info->addresses[i]);
	fprintf(f, "%s\n", info->n_addresses ? "" : "-");
}

/* ---- for programs ----------------------------------------------------------------------- */

static void put_usage(struct json_out *o, const char *what, uint32_t pid, const struct usage *u)
{
	json_out_obj(o, what);
	if (pid)
		json_out_u64(o, "pid", pid);
	json_out_u64(o, "cpuMs", u->cpu_ms);
	json_out_u64(o, "residentBytes", u->resident_bytes);
	json_out_end(o);
}

static void put_size(struct json_out *o, const Podvm__Pod__Size *z)
{
	json_out_obj(o, "memory");
	json_out_u64(o, "now", z->memory);
	json_out_u64(o, "boot", z->memory_boot);
	json_out_u64(o, "max", z->memory_max);
	json_out_u64(o, "plugged", z->plugged);
	json_out_u64(o, "balloon", z->balloon);
	json_out_u64(o, "reported", z->reported);
	json_out_end(o);
}

/**
 * podview_guest() - what a guest says of a container
 * @id: a name that the supervisor knows: guests may name what they like
 *
 * Return: NULL: nothing
 */
const Podvm__GuestContainer *podview_guest(const struct gather_pod *p, const char *id)
{
	const Podvm__Guest *g = p->guest ? p->guest->guest : NULL;
	size_t i;

	for (i = 0; g && i < g->n_containers; i++)
		if (!strcmp(g->containers[i]->id, id))
			return g->containers[i];
	return NULL;
}

static void put_containers(struct json_out *o, const struct gather_pod *p)
{
	const Podvm__Pod__Info *info = p->info->info;
	size_t i;

	json_out_arr(o, "containers");
	for (i = 0; i < info->n_containers; i++) {
		const Podvm__Pod__ContainerInfo *c = info->containers[i];
		const Podvm__GuestContainer *g = podview_guest(p, c->id);

		json_out_obj(o, NULL);
		json_out_str(o, "id", c->id);
		json_out_str(o, "status", c->status);
		if (c->shim_pid)
			json_out_u64(o, "shimPid", c->shim_pid);
		if (g) {
			json_out_obj(o, "guest");
			json_out_u64(o, "cpuMs", g->cpu_ns / 1000000);
			json_out_u64(o, "memoryBytes", g->memory);
			json_out_u64(o, "processes", g->processes);
			json_out_u64(o, "oomKills", g->oom_kills);
			json_out_end(o);
		}
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_guest(struct json_out *o, const Podvm__Guest *g)
{
	json_out_obj(o, "guest");
	json_out_double(o, "uptimeSeconds", (double)g->uptime_ns / 1e9);
	json_out_u64(o, "memoryTotal", g->memory_total);
	json_out_u64(o, "memoryAvailable", g->memory_available);
	json_out_u64(o, "agentMemory", g->agent_memory);
	json_out_double(o, "load", g->load_milli / 1000.0);
	json_out_end(o);
}

static void put_io(struct json_out *o, const struct podview *v, const char *key, const char *kind)
{
	struct podview_io io = podview_io(v, kind);

	json_out_obj(o, key);
	json_out_u64(o, "inBytes", io.in_bytes);
	json_out_u64(o, "outBytes", io.out_bytes);
	json_out_end(o);
}

/**
 * podview_json() - add the members of one pod to the open object
 */
void podview_json(const struct podview *v, struct json_out *o)
{
	const Podvm__Pod__Info *info = v->p->info ? v->p->info->info : NULL;
	size_t i;

	json_out_str(o, "id", v->p->id);
	json_out_str(o, "state", info && !info->monitor_pid ? "ended" : gather_state_name(v->p->state));
	if (!info) {
		json_out_str(o, "why", v->p->why.text);
		return;
	}
	json_out_str(o, "engine", v->engine);
	json_out_double(o, "uptimeSeconds", v->uptime_s);
	json_out_u64(o, "vcpus", info->vcpus);
	json_out_u64(o, "vcpusMax", info->vcpus_max);
	if (info->size)
		put_size(o, info->size);
	json_out_arr(o, "addresses");
	for (i = 0; i < info->n_addresses; i++)
		json_out_str(o, NULL, info->addresses[i]);
	json_out_end(o);
	json_out_str(o, "guestKernel", info->guest_kernel);
	put_containers(o, v->p);
	json_out_u64(o, "exits", info->exits);
	json_out_u64(o, "oomKills", info->oom_kills);
	json_out_obj(o, "processes");
	put_usage(o, "monitor", info->monitor_pid, &v->monitor);
	put_usage(o, "supervisor", info->supervisor_pid, &v->supervisor);
	put_usage(o, "relay", info->relay_pid, &v->relay);
	put_usage(o, "shims", 0, &v->shims);
	json_out_end(o);
	if (v->p->stats) {
		put_io(o, v, "network", "net");
		put_io(o, v, "disks", "blk");
	}
	if (v->p->guest && v->p->guest->guest)
		put_guest(o, v->p->guest->guest);
}
