/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_PODVIEW_H
#define RUNTIME_PODVIEW_H

#include <stdio.h>

#include "lib/json.h"
#include "lib/str.h"
#include "runtime/gather.h"
#include "runtime/usage.h"
#include "vmm/vmm.h"

/**
 * struct podview - a pod as lists and metrics show it, made of what it has told
 * @p:        borrowed
 * @engine:   that has started it, as far as its first container tells; static
 * @monitor, @supervisor, @relay: what these processes use; zeros: there is none
 * @shims:    of all shims together
 * @uptime_s: since its supervisor began
 * @metrics:  of the machine; without devices where they did not come; owned
 */
struct podview {
	const struct gather_pod *p;
	const char *engine;
	struct usage monitor, supervisor, relay, shims;
	double uptime_s;
	struct vmm_metrics metrics;
};

/* Traffic of the machine's devices of a kind, both ways. */
struct podview_io {
	uint64_t in_bytes, out_bytes;
};

int podview_make(int rootfd, const struct gather *g, struct podview **ret, struct err *e);
void podview_free(struct podview *v, size_t n);
int podview_metrics(const Podvm__Pod__Metrics *from, struct vmm_metrics *ret, struct err *e);
struct podview_io podview_io(const struct podview *v, const char *kind);
const char *podview_engine(const struct state *s);
const Podvm__GuestContainer *podview_guest(const struct gather_pod *p, const char *id);
size_t podview_running(const struct podview *v);
void podview_json(const struct podview *v, struct json_out *o);
void podview_size_text(uint64_t bytes, char dst[24]);
void podview_time_text(double s, char dst[24]);
void podview_table_head(FILE *f);
void podview_table(const struct podview *v, FILE *f);
void podview_openmetrics(const struct podview *v, size_t n, struct strbuf *o);

#endif
