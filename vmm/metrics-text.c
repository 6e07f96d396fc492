// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a machine counts, as text: JSON, OpenMetrics and a table for people. Pure
 * functions of the counters; the monitor's own process never formats anything.
 *
 * Names in it come from who plugged a device, and by way of a monitor that is not
 * trusted. All that is not printable ASCII is written as \xNN, so that two names
 * that differ stay different, and then escaped as the format wants it.
 *
 * OpenMetrics: counters end with _total, units are in the names, each family is
 * described once before its samples, and the text ends with # EOF. Names are
 * podvm_vmm_*; a device is told by kind, name and its index. They are a contract:
 * one may be added, none changes its meaning.
 *
 * Sources: RFC 8259; OpenMetrics 1.0.0, sections 4 (data model) and 5 (text format).
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "vmm/vmm.h"

/* Longest string that is shown whole, and what it takes when each byte becomes four. */
#define STRING_BYTES 256
#define SHOWN_BYTES (4 * STRING_BYTES + 1)

static const char *const exit_names[VMM_EXIT_KINDS] = {
	[VMM_EXIT_PIO] = "pio",
	[VMM_EXIT_MMIO] = "mmio",
	[VMM_EXIT_HLT] = "hlt",
	[VMM_EXIT_INTR] = "intr",
	[VMM_EXIT_OTHER] = "other",
	[VMM_EXIT_IRQ_WINDOW] = "irq_window",
	[VMM_EXIT_EOI] = "eoi",
	[VMM_EXIT_SHUTDOWN] = "shutdown",
	[VMM_EXIT_SYSTEM_EVENT] = "system_event",
	[VMM_EXIT_INTERNAL_ERROR] = "internal_error",
	[VMM_EXIT_FAIL_ENTRY] = "fail_entry",
	[VMM_EXIT_FAULT] = "fault",
};

static const struct counter {
	const char *name, *unit, *help;
	size_t at;
} counters[] = {
#define COUNTER(field, unit, help) { #field, unit, help, offsetof(struct vmm_device, field) },
	VMM_DEVICE_COUNTERS(COUNTER)
#undef COUNTER
};

static const struct stage {
	const char *name;
	size_t at;
} stages[] = {
	{ "configured", offsetof(struct vmm_stats, config_ns) },
	{ "guest_entered", offsetof(struct vmm_stats, run_ns) },
	{ "guest_called", offsetof(struct vmm_stats, connect_ns) },
};

static const struct gauge {
	const char *name, *help;
	size_t at;
} gauges[] = {
	{ "device_status", "Device status (virtio 1.2, section 2.1); 64: needs a reset.",
	  offsetof(struct vmm_device, status) },
	{ "device_queues", "Virtqueues that the device has.", offsetof(struct vmm_device, queues) },
	{ "device_kernel_queues", "Of these, served by the kernel (vhost), which other counters do not show.",
	  offsetof(struct vmm_device, kernel_queues) },
};

static uint64_t get(const void *p, size_t at)
{
	uint64_t v;

	memcpy(&v, (const uint8_t *)p + at, sizeof(v));
	return v;
}

/**
 * vmm_exit_name() - what a kind of exit is called in all outputs
 * @kind: below VMM_EXIT_KINDS
 */
const char *vmm_exit_name(enum vmm_exit kind)
{
	return exit_names[kind];
}

/* Printable ASCII as it is, everything else as \xNN. @room: at most STRING_BYTES */
static void show(char dst[SHOWN_BYTES], const char *src, size_t room)
{
	size_t n = 0, i;

	for (i = 0; i < room && src[i]; i++) {
		unsigned char c = (unsigned char)src[i];

		if (c >= 0x20 && c < 0x7f)
			dst[n++] = (char)c;
		else
			n += (size_t)snprintf(dst + n, 5, "\\x%02x", c);
	}
	dst[n] = 0;
}

/* A string in quotes. JSON and OpenMetrics escape the same two of what show() leaves. */
static void add_quoted(struct strbuf *o, const char *text, size_t room)
{
	char shown[SHOWN_BYTES];
	const char *s;

	show(shown, text, room);
	strbuf_add(o, "\"");
	for (s = shown; *s; s++)
		strbuf_add(o, "%s%c", *s == '"' || *s == '\\' ? "\\" : "", *s);
	strbuf_add(o, "\"");
}

static void json_device(const struct vmm_device *d, struct strbuf *o)
{
	size_t i;

	strbuf_add(o, "{\"kind\":");
	add_quoted(o, d->kind, sizeof(d->kind));
	strbuf_add(o, ",\"name\":");
	add_quoted(o, d->name, sizeof(d->name));
	strbuf_add(o, ",\"status\":%u,\"queues\":%u,\"kernel_queues\":%u",
		   d->status, d->queues, d->kernel_queues);
	for (i = 0; i < ARRAY_LEN(counters); i++)
		strbuf_add(o, ",\"%s\":%" PRIu64, counters[i].name, get(d, counters[i].at));
	strbuf_add(o, "}");
}

/**
 * vmm_metrics_json() - append one JSON object and a newline
 */
void vmm_metrics_json(const struct vmm_metrics *m, struct strbuf *o)
{
	size_t i;

	strbuf_add(o, "{\"exits\":{");
	for (i = 0; i < VMM_EXIT_KINDS; i++)
		strbuf_add(o, "%s\"%s\":%" PRIu64, i ? "," : "", exit_names[i],
			   m->stats.exits[i]);
	strbuf_add(o, "},\"boot\":{\"start_ns\":%" PRIu64, m->stats.start_ns);
	for (i = 0; i < ARRAY_LEN(stages); i++)
		strbuf_add(o, ",\"%s_ns\":%" PRIu64, stages[i].name,
			   get(&m->stats, stages[i].at));
	strbuf_add(o, "},\"devices\":[");
	for (i = 0; i < m->n_devices; i++) {
		strbuf_add(o, "%s", i ? "," : "");
		json_device(&m->devices[i], o);
	}
	strbuf_add(o, "]}\n");
}

/* What stands above the samples of a family. */
static void family(struct strbuf *o, const char *name, const char *type, const char *unit,
		   const char *help)
{
	strbuf_add(o, "# TYPE podvm_vmm_%s %s\n", name, type);
	if (*unit)
		strbuf_add(o, "# UNIT podvm_vmm_%s %s\n", name, unit);
	strbuf_add(o, "# HELP podvm_vmm_%s %s\n", name, help);
}

/* The label of the pod, with what separates it from others behind it. */
static void machine_label(struct strbuf *o, const struct vmm_metrics *m, const char *behind)
{
	if (!m->machine)
		return;
	strbuf_add(o, "pod=");
	add_quoted(o, m->machine, STRING_BYTES);
	strbuf_add(o, "%s", behind);
}

static void device_labels(struct strbuf *o, const struct vmm_metrics *m, size_t i)
{
	const struct vmm_device *d = &m->devices[i];

	strbuf_add(o, "{");
	machine_label(o, m, ",");
	strbuf_add(o, "index=\"%zu\",kind=", i);
	add_quoted(o, d->kind, sizeof(d->kind));
	strbuf_add(o, ",name=");
	add_quoted(o, d->name, sizeof(d->name));
	strbuf_add(o, "}");
}

static void open_exits(const struct vmm_metrics *m, struct strbuf *o)
{
	size_t i;

	for (i = 0; i < VMM_EXIT_KINDS; i++) {
		strbuf_add(o, "podvm_vmm_exits_total{");
		machine_label(o, m, ",");
		strbuf_add(o, "reason=\"%s\"} %" PRIu64 "\n", exit_names[i], m->stats.exits[i]);
	}
}

static void open_boot(const struct vmm_metrics *m, struct strbuf *o)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(stages); i++) {
		uint64_t ns = get(&m->stats, stages[i].at);

		if (ns < m->stats.start_ns)
			continue;	/* not yet */
		ns -= m->stats.start_ns;
		strbuf_add(o, "podvm_vmm_boot_stage_seconds{");
		machine_label(o, m, ",");
		strbuf_add(o, "stage=\"%s\"} %" PRIu64 ".%09" PRIu64 "\n", stages[i].name,
			   ns / 1000000000u, ns % 1000000000u);
	}
}

static void open_gauge(const struct vmm_metrics *m, struct strbuf *o, const struct gauge *g)
{
	size_t i;

	for (i = 0; i < m->n_devices; i++) {
		uint32_t v;

		memcpy(&v, (const uint8_t *)&m->devices[i] + g->at, sizeof(v));
		strbuf_add(o, "podvm_vmm_%s", g->name);
		device_labels(o, m, i);
		strbuf_add(o, " %u\n", v);
	}
}

static void open_counter(const struct vmm_metrics *m, struct strbuf *o, const struct counter *c)
{
	size_t i;

	for (i = 0; i < m->n_devices; i++) {
		strbuf_add(o, "podvm_vmm_device_%s_total", c->name);
		device_labels(o, m, i);
		strbuf_add(o, " %" PRIu64 "\n", get(&m->devices[i], c->at));
	}
}

/**
 * vmm_metrics_openmetrics() - append the OpenMetrics text of @n machines, each family once
 *
 * The end, VMM_OPENMETRICS_END, is the caller's, who may have families of its own.
 */
void vmm_metrics_openmetrics(const struct vmm_metrics *m, size_t n, struct strbuf *o)
{
	char name[64];
	size_t i, k;

	family(o, "exits", "counter", "", "Returns of KVM_RUN by reason, of all virtual processors.");
	for (k = 0; k < n; k++)
		open_exits(&m[k], o);
	family(o, "boot_stage_seconds", "gauge", "seconds",
	       "When a stage of the boot was reached, after the monitor began.");
	for (k = 0; k < n; k++)
		open_boot(&m[k], o);
	for (i = 0; i < ARRAY_LEN(gauges); i++) {
		family(o, gauges[i].name, "gauge", "", gauges[i].help);
		for (k = 0; k < n; k++)
			open_gauge(&m[k], o, &gauges[i]);
	}
	for (i = 0; i < ARRAY_LEN(counters); i++) {
		snprintf(name, sizeof(name), "device_%s", counters[i].name);
		family(o, name, "counter", counters[i].unit, counters[i].help);
		for (k = 0; k < n; k++)
			open_counter(&m[k], o, &counters[i]);
	}
}

/**
 * vmm_metrics_table() - append the same for people
 */
void vmm_metrics_table(const struct vmm_metrics *m, struct strbuf *o)
{
	char kind[SHOWN_BYTES], name[SHOWN_BYTES];
	size_t i, k;

	strbuf_add(o, "%-10s %-20s %6s", "DEVICE", "NAME", "STATUS");
	for (k = 0; k < ARRAY_LEN(counters); k++)
		strbuf_add(o, " %12s", counters[k].name);
	strbuf_add(o, "\n");
	for (i = 0; i < m->n_devices; i++) {
		show(kind, m->devices[i].kind, sizeof(m->devices[i].kind));
		show(name, m->devices[i].name, sizeof(m->devices[i].name));
		strbuf_add(o, "%-10s %-20s %6u", kind, *name ? name : "-", m->devices[i].status);
		for (k = 0; k < ARRAY_LEN(counters); k++)
			strbuf_add(o, " %12" PRIu64, get(&m->devices[i], counters[k].at));
		strbuf_add(o, "\n");
	}
	strbuf_add(o, "exits:");
	for (i = 0; i < VMM_EXIT_KINDS; i++)
		if (m->stats.exits[i] || i <= VMM_EXIT_OTHER)
			strbuf_add(o, " %s %" PRIu64, exit_names[i], m->stats.exits[i]);
	strbuf_add(o, "\n");
}
