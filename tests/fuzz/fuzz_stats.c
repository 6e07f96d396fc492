// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of what a guest's agent says of use: the input is its message. Files of a
 * container's cgroup become a line of events (runtime/stats.c), which must be one line and
 * JSON; what the guest says of itself goes with what a supervisor has told into lists,
 * JSON and OpenMetrics (runtime/podview.c), where it must leave lines whole and put
 * nothing in but numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/podview.h"
#include "runtime/stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const char *text)
{
	struct json_doc *doc;

	if (json_parse(text, strlen(text), &doc, NULL) < 0)
		abort();
	json_free(doc);
}

static void check_files(const Podvm__CgroupFiles *f)
{
	_cleanup_free_ char *line = NULL;
	struct err e = { 0 };

	if (stats_event("pod", f, &line, &e) < 0) {
		if (line || !e.text[0])
			abort();
		return;
	}
	if (strchr(line, '\n'))
		abort();
	check_json(line);
}

/* Every line of it a comment or a name, labels and a number. */
static void check_openmetrics(const struct podview *v)
{
	struct strbuf b = { .text = NULL };
	char *at, *line;

	podview_openmetrics(v, 1, &b);
	if (b.failed)
		abort();
	for (at = b.text; (line = strsep(&at, "\n")) && at;) {
		char *value = strrchr(line, ' ');

		if (*line == '#')
			continue;
		if (!str_starts(line, "podvm_") || !value ||
		    value[1 + strspn(value + 1, "0123456789.")])
			abort();
	}
	strbuf_done(&b);
}

static void check_views(const struct podview *v)
{
	struct json_out *o = json_out_new();
	char *text = NULL, table[512] = "";
	FILE *f = fmemopen(table, sizeof(table) - 1, "w");

	if (!o || !f)
		abort();
	podview_json(v, o);
	if (json_out_text(o, false, &text, NULL) < 0)
		abort();
	json_out_free(o);
	check_json(text);
	free(text);
	podview_table(v, f);
	fclose(f);
	if (!table[0] || strchr(table, '\n') != table + strlen(table) - 1)
		abort();
	check_openmetrics(v);
}

/* The guest of a pod whose supervisor knows of a container with the first one's name. */
static void check_guest(Podvm__Response *rs)
{
	static char running[] = "running", name[] = "one";
	Podvm__Pod__ContainerInfo c = PODVM__POD__CONTAINER_INFO__INIT, *containers[] = { &c };
	Podvm__Pod__Info info = PODVM__POD__INFO__INIT;
	Podvm__Pod__Response told = PODVM__POD__RESPONSE__INIT;
	struct gather_pod p = { .id = "pod", .info = &told, .guest = rs, .sock = -1 };
	struct podview v = { .p = &p, .engine = "-", .uptime_s = 1, .metrics = { .machine = "pod" } };

	c.id = name;
	c.status = running;
	info.containers = containers;
	info.n_containers = 1;
	told.info = &info;
	check_views(&v);
}

/**
 * LLVMFuzzerTestOneInput() - take one message of a guest
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Podvm__Response *rs = podvm__response__unpack(NULL, size, data);

	if (!rs)
		return 0;
	if (rs->body_case == PODVM__RESPONSE__BODY_CGROUP_FILES)
		check_files(rs->cgroup_files);
	else if (rs->body_case == PODVM__RESPONSE__BODY_GUEST)
		check_guest(rs);
	podvm__response__free_unpacked(rs, NULL);
	return 0;
}
