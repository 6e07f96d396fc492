// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "vmm/vmm.h"

typedef void format_fn(const struct vmm_metrics *m, struct strbuf *o);

static const struct {
	const char *name;
	format_fn *format;
} formats[] = {
	{ "table", vmm_metrics_table },
	{ "json", vmm_metrics_json },
	{ "openmetrics", vmm_metrics_openmetrics },
};

static format_fn *find_format(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(formats); i++)
		if (!strcmp(formats[i].name, name))
			return formats[i].format;
	return NULL;
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

static int take(const Podvm__Pod__Metrics *from, struct vmm_metrics *ret, struct err *e)
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

static int print(const Podvm__Pod__Response *rs, const char *pod, format_fn *format,
		 struct err *e)
{
	struct strbuf out = { .text = NULL };
	struct vmm_metrics m;
	int rc;

	if (!rs->metrics)
		return err_set(e, EPROTO, "the pod's supervisor sent no counters; is it an older one?");
	rc = take(rs->metrics, &m, e);
	if (rc < 0)
		return rc;
	m.machine = pod;
	format(&m, &out);
	vmm_metrics_done(&m);
	if (out.failed)
		rc = err_set(e, ENOMEM, "out of memory");
	else
		fputs(out.text, stdout);
	strbuf_done(&out);
	return rc;
}

/**
 * cmd_stats() - podvm stats: counters of the machine that a container's pod runs in
 */
int cmd_stats(struct cli *c, int argc, char **argv, struct err *e)
{
	Podvm__Pod__Stats m = PODVM__POD__STATS__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(stats = &m, STATS);
	const char *name = "table";
	const struct opt t[] = {
		OPT_STR('f', "format", &name, "FORMAT", "table, json or openmetrics"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);
	Podvm__Pod__Response *rs;
	format_fn *format;
	struct state *s;

	if (rc <= 0)
		return rc;
	format = find_format(name);
	if (!format)
		return err_set(e, EINVAL, "--format is table, json or openmetrics");
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	rc = pod_call(sock, &rq, NULL, 0, &rs, e);
	if (!rc) {
		rc = print(rs, s->pod, format, e);
		podvm__pod__response__free_unpacked(rs, NULL);
	}
	state_free(s);
	return rc;
}
