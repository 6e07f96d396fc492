// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * All pods as one OpenMetrics text: families of the host's side (podvm_pod_*,
 * podvm_process_*), of containers (podvm_container_*), of what guests say of themselves
 * (podvm_guest_*, and in podvm_container_* what their help says), and those of the
 * machines (podvm_vmm_*, vmm/metrics-text.c). Every family is described once, with the
 * samples of all pods below it. A pod that did not answer has podvm_pod_up 0, and no
 * other sample.
 *
 * Labels are ids, which are letters, digits and "_+-." (state_check_id()), and words of
 * ours: nothing needs to be escaped. Names are a contract: one may be added, none
 * changes its meaning.
 *
 * Source: OpenMetrics 1.0.0, sections 4 (data model) and 5 (text format).
 */
#include <inttypes.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/podview.h"

/* Pods that have told anything, one after the other as @x. */
#define EACH(v, n) \
	for (const struct podview *x = (v); x < (v) + (n); x++) \
		if (x->p->info)

static void family(struct strbuf *o, const char *name, const char *type, const char *unit,
		   const char *help)
{
	strbuf_add(o, "# TYPE podvm_%s %s\n", name, type);
	if (*unit)
		strbuf_add(o, "# UNIT podvm_%s %s\n", name, unit);
	strbuf_add(o, "# HELP podvm_%s %s\n", name, help);
}

static const Podvm__Pod__Info *info_of(const struct podview *v)
{
	return v->p->info->info;
}

static const Podvm__Guest *guest_of(const struct podview *v)
{
	return v->p->guest ? v->p->guest->guest : NULL;
}

/* ---- pods ------------------------------------------------------------------------ */

static void put_states(const struct podview *v, size_t n, struct strbuf *o)
{
	size_t count[4] = { 0 }, i;

	for (i = 0; i < n; i++)
		count[v[i].p->state]++;
	family(o, "pods", "gauge", "", "Pods of this host by state; silent: no answer in time.");
	for (i = 0; i < ARRAY_LEN(count); i++)
		strbuf_add(o, "podvm_pods{state=\"%s\"} %zu\n", gather_state_name((enum gather_state)i),
			   count[i]);
	family(o, "pod_up", "gauge", "", "Whether the pod's supervisor has answered in time.");
	for (i = 0; i < n; i++)
		strbuf_add(o, "podvm_pod_up{pod=\"%s\"} %d\n", v[i].p->id,
			   v[i].p->state == GATHER_ANSWERED);
	family(o, "pod_guest_up", "gauge", "", "Whether the pod's guest has answered in time.");
	EACH(v, n)
		strbuf_add(o, "podvm_pod_guest_up{pod=\"%s\"} %d\n", x->p->id, guest_of(x) != NULL);
}

static uint64_t get_vcpus(const struct podview *v) { return info_of(v)->vcpus; }
static uint64_t get_vcpus_max(const struct podview *v) { return info_of(v)->vcpus_max; }
static uint64_t get_memory(const struct podview *v)
{
	return info_of(v)->size ? info_of(v)->size->memory : 0;
}
static uint64_t get_exits(const struct podview *v) { return info_of(v)->exits; }
static uint64_t get_ooms(const struct podview *v) { return info_of(v)->oom_kills; }

static const struct pod_family {
	const char *name, *type, *unit, *help;
	uint64_t (*get)(const struct podview *v);
} pod_families[] = {
	{ "pod_vcpus", "gauge", "", "Processors that the pod has.", get_vcpus },
	{ "pod_vcpus_max", "gauge", "", "Processors up to which it can grow.", get_vcpus_max },
	{ "pod_memory_bytes", "gauge", "bytes", "Memory that the pod's guest may have.", get_memory },
	{ "pod_container_exits", "counter", "", "Ends of the pod's containers.", get_exits },
	{ "pod_oom_kills", "counter", "", "Of these, with the guest's OOM killer in them.", get_ooms },
};

static void put_pods(const struct podview *v, size_t n, struct strbuf *o)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(pod_families); i++) {
		const struct pod_family *f = &pod_families[i];

		family(o, f->name, f->type, f->unit, f->help);
		EACH(v, n)
			strbuf_add(o, "podvm_%s%s{pod=\"%s\"} %" PRIu64 "\n", f->name,
				   *f->type == 'c' ? "_total" : "", x->p->id, f->get(x));
	}
	family(o, "pod_uptime_seconds", "gauge", "seconds", "Age of the pod's supervisor.");
	EACH(v, n)
		strbuf_add(o, "podvm_pod_uptime_seconds{pod=\"%s\"} %.3f\n", x->p->id,
			   x->uptime_s < 0 ? 0 : x->uptime_s);
}

/* ---- processes on the host ---------------------------------------------------------- */

static const struct {
	const char *name;
	size_t at;
} processes[] = {
	{ "monitor", offsetof(struct podview, monitor) },
	{ "supervisor", offsetof(struct podview, supervisor) },
	{ "relay", offsetof(struct podview, relay) },
	{ "shims", offsetof(struct podview, shims) },
};

static struct usage usage_at(const struct podview *v, size_t at)
{
	struct usage u;

	memcpy(&u, (const char *)v + at, sizeof(u));
	return u;
}

static void put_processes(const struct podview *v, size_t n, struct strbuf *o)
{
	size_t i;

	family(o, "process_cpu_seconds", "counter", "seconds",
	       "Processor time of a pod's processes on the host; the monitor's has the guest's.");
	EACH(v, n)
		for (i = 0; i < ARRAY_LEN(processes); i++) {
			struct usage u = usage_at(x, processes[i].at);

			strbuf_add(o, "podvm_process_cpu_seconds_total{pod=\"%s\",process=\"%s\"} %" PRIu64 ".%03" PRIu64 "\n",
				   x->p->id, processes[i].name, u.cpu_ms / 1000, u.cpu_ms % 1000);
		}
	family(o, "process_resident_memory_bytes", "gauge", "bytes",
	       "Memory of a pod's processes on the host; the monitor's has what the guest uses.");
	EACH(v, n)
		for (i = 0; i < ARRAY_LEN(processes); i++)
			strbuf_add(o, "podvm_process_resident_memory_bytes{pod=\"%s\",process=\"%s\"} %" PRIu64 "\n",
				   x->p->id, processes[i].name,
				   usage_at(x, processes[i].at).resident_bytes);
}

/* ---- containers ------------------------------------------------------------------------- */

static void put_container_states(const struct podview *v, size_t n, struct strbuf *o)
{
	static const char *const states[] = { "creating", "created", "running", "paused", "ending",
					      "stopped" };
	size_t i, k;

	family(o, "container_state", "gauge", "", "1 for the state that the container is in.");
	EACH(v, n)
		for (i = 0; i < info_of(x)->n_containers; i++)
			for (k = 0; k < ARRAY_LEN(states); k++) {
				const Podvm__Pod__ContainerInfo *c = info_of(x)->containers[i];

				strbuf_add(o, "podvm_container_state{pod=\"%s\",container=\"%s\",state=\"%s\"} %d\n",
					   x->p->id, c->id, states[k], !strcmp(c->status, states[k]));
			}
}

static uint64_t get_cpu(const Podvm__GuestContainer *c) { return c->cpu_ns; }
static uint64_t get_used(const Podvm__GuestContainer *c) { return c->memory; }
static uint64_t get_processes(const Podvm__GuestContainer *c) { return c->processes; }
static uint64_t get_kills(const Podvm__GuestContainer *c) { return c->oom_kills; }

static const struct container_family {
	const char *name, *type, *unit, *help;
	uint64_t (*get)(const Podvm__GuestContainer *c);
	bool seconds;
} container_families[] = {
	{ "container_cpu_seconds", "counter", "seconds", "Processor time, as the guest says.", get_cpu, true },
	{ "container_memory_bytes", "gauge", "bytes", "Memory with page cache, as the guest says.", get_used, false },
	{ "container_processes", "gauge", "", "Processes and threads, as the guest says.", get_processes, false },
	{ "container_oom_kills", "counter", "", "Processes that the OOM killer ended, as the guest says.", get_kills, false },
};

static void put_container(const struct container_family *f, const char *pod,
			  const Podvm__GuestContainer *c, struct strbuf *o)
{
	uint64_t value = f->get(c);

	strbuf_add(o, "podvm_%s%s{pod=\"%s\",container=\"%s\"} ", f->name,
		   *f->type == 'c' ? "_total" : "", pod, c->id);
	if (f->seconds)
		strbuf_add(o, "%" PRIu64 ".%09" PRIu64 "\n", value / 1000000000, value % 1000000000);
	else
		strbuf_add(o, "%" PRIu64 "\n", value);
}

static void put_containers(const struct podview *v, size_t n, struct strbuf *o)
{
	size_t i, k;

	put_container_states(v, n, o);
	for (k = 0; k < ARRAY_LEN(container_families); k++) {
		const struct container_family *f = &container_families[k];

		family(o, f->name, f->type, f->unit, f->help);
		EACH(v, n)
			for (i = 0; i < info_of(x)->n_containers; i++) {
				const Podvm__GuestContainer *c = podview_guest(x->p, info_of(x)->containers[i]->id);

				if (c)
					put_container(f, x->p->id, c, o);
			}
	}
}

/* ---- guests ------------------------------------------------------------------------------- */

static void put_guests(const struct podview *v, size_t n, struct strbuf *o)
{
	family(o, "guest_memory_total_bytes", "gauge", "bytes", "Memory of the guest, as it says.");
	EACH(v, n)
		if (guest_of(x))
			strbuf_add(o, "podvm_guest_memory_total_bytes{pod=\"%s\"} %" PRIu64 "\n", x->p->id,
				   guest_of(x)->memory_total);
	family(o, "guest_memory_available_bytes", "gauge", "bytes", "Memory that its programs could have yet, as it says.");
	EACH(v, n)
		if (guest_of(x))
			strbuf_add(o, "podvm_guest_memory_available_bytes{pod=\"%s\"} %" PRIu64 "\n", x->p->id,
				   guest_of(x)->memory_available);
	family(o, "guest_agent_memory_bytes", "gauge", "bytes", "Private memory of the guest's agent, as it says.");
	EACH(v, n)
		if (guest_of(x))
			strbuf_add(o, "podvm_guest_agent_memory_bytes{pod=\"%s\"} %" PRIu64 "\n", x->p->id,
				   guest_of(x)->agent_memory);
	family(o, "guest_load", "gauge", "", "Load average of a minute, as the guest says.");
	EACH(v, n)
		if (guest_of(x))
			strbuf_add(o, "podvm_guest_load{pod=\"%s\"} %u.%03u\n", x->p->id,
				   guest_of(x)->load_milli / 1000, guest_of(x)->load_milli % 1000);
}

/* ---- machines ------------------------------------------------------------------------------ */

static void put_machines(const struct podview *v, size_t n, struct strbuf *o)
{
	_cleanup_free_ struct vmm_metrics *m = mem_new_n(struct vmm_metrics, n + 1);
	size_t k = 0;

	if (!m) {
		o->failed = true;
		return;
	}
	EACH(v, n)
		if (x->p->stats)
			m[k++] = x->metrics;
	vmm_metrics_openmetrics(m, k, o);
}

/**
 * podview_openmetrics() - append the OpenMetrics text of all pods, up to its end
 * @o: check @o->failed afterwards
 */
void podview_openmetrics(const struct podview *v, size_t n, struct strbuf *o)
{
	put_states(v, n, o);
	put_pods(v, n, o);
	put_processes(v, n, o);
	put_containers(v, n, o);
	put_guests(v, n, o);
	put_machines(v, n, o);
	strbuf_add(o, VMM_OPENMETRICS_END);
}
