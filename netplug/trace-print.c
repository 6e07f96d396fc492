// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A trace for people and for programs: what each hop saw in both directions, what the
 * stages between them counted meanwhile, and the verdict.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "netplug/trace.h"

static const char *const outcomes[] = { "passes", "dies", "loses packets", "was not seen" };
static const char *const ways[] = { "to the guest", "from the guest" };

static uint64_t grew(uint64_t was, uint64_t is)
{
	return is > was ? is - was : 0;
}

static void cell(char *dst, size_t room, const struct trace_hop *h, enum trace_way way)
{
	int n = snprintf(dst, room, "%" PRIu64, h->n[FLOW_PACKET][way]);

	if (h->n[FLOW_NEIGHBOUR][way] && n > 0 && (size_t)n < room)
		snprintf(dst + n, room - (size_t)n, " (+%" PRIu64 " neighbour)",
			 h->n[FLOW_NEIGHBOUR][way]);
}

static void text_hop(FILE *f, const struct trace_hop *h)
{
	char to[48], from[48], lost[48] = "";

	if (!h->hop)
		return;
	cell(to, sizeof(to), h, TRACE_TO_GUEST);
	cell(from, sizeof(from), h, TRACE_FROM_GUEST);
	if (h->lost)
		snprintf(lost, sizeof(lost), "  and %" PRIu64 " not looked at", h->lost);
	fprintf(f, "  %-7s %-15s %20s %20s%s\n", hop_side_name(h->hop->side), h->hop->name, to, from,
		lost);
}

static void text_tc(FILE *f, const struct trace_path *p)
{
	char cells[TRACE_WAYS][32];
	int way;

	if (!p->tc)
		return;
	for (way = 0; way < TRACE_WAYS; way++) {
		const struct trace_filter *is = &p->is.filter[way];

		if (!is->there)
			snprintf(cells[way], sizeof(cells[way]), "no filter");
		else
			snprintf(cells[way], sizeof(cells[way]), "%" PRIu64 " of all",
				 grew(p->was.filter[way].packets, is->packets));
	}
	fprintf(f, "  %-7s %-15s %20s %20s\n", "tc", "redirect", cells[0], cells[1]);
}

static void text_machine(FILE *f, const struct trace_path *p)
{
	const struct trace_machine *m = &p->is.machine;

	if (!m->there)
		return;
	if (m->kernel)
		fprintf(f, "  %-7s %-15s %41s\n", "virtio", "queues", "moved by the kernel (vhost)");
	else
		fprintf(f, "  %-7s %-15s %34" PRIu64 " of all\n", "virtio", "queues",
			grew(p->was.machine.packets, m->packets));
}

static void text_device(FILE *f, const char *name, const char *what, uint64_t n)
{
	if (n)
		fprintf(f, "  %s %s +%" PRIu64 "\n", name, what, n);
}

/* Losses that were counted meanwhile, also those of other flows. */
static void text_counters(FILE *f, const struct trace_path *p)
{
	size_t i, k;
	int side;

	for (side = HOP_HOST; side < HOP_GUEST; side++) {
		const struct trace_device *was = &p->was.device[side], *is = &p->is.device[side];

		if (!p->hop[side].hop)
			continue;
		text_device(f, p->hop[side].hop->name, "rx_dropped", grew(was->rx_dropped, is->rx_dropped));
		text_device(f, p->hop[side].hop->name, "tx_dropped", grew(was->tx_dropped, is->tx_dropped));
		text_device(f, p->hop[side].hop->name, "qdisc drops", grew(was->qdisc, is->qdisc));
	}
	for (i = 0; i < p->is.n; i++) {
		for (k = 0; k < p->was.n && strcmp(p->was.name[k], p->is.name[i]); k++)
			;
		if (k < p->was.n)
			text_device(f, "guest", p->is.name[i], grew(p->was.value[k], p->is.value[i]));
	}
}

/**
 * trace_print() - print a trace for people
 */
void trace_print(const struct trace_path *p, const struct trace_verdict *v, FILE *f)
{
	int side;

	fprintf(f, "\n  %-7s %-15s %20s %20s\n", "HOP", "DEVICE", "TO THE GUEST", "FROM THE GUEST");
	text_hop(f, &p->hop[HOP_HOST]);
	text_hop(f, &p->hop[HOP_POD]);
	text_tc(f, p);
	for (side = HOP_TAP; side < HOP_GUEST; side++)
		text_hop(f, &p->hop[side]);
	text_machine(f, p);
	text_hop(f, &p->hop[HOP_GUEST]);
	fprintf(f, "\n");
	text_counters(f, p);
	if (v->outcome == TRACE_PASSES)
		fprintf(f, "the flow passes\n");
	else if (v->outcome == TRACE_UNSEEN)
		fprintf(f, "%s\n", v->why);
	else
		fprintf(f, "%s %s at %s, on its way %s: %s\n",
			v->class == FLOW_NEIGHBOUR ? "what asks for the neighbour's address" : "the flow",
			outcomes[v->outcome], trace_place_name(v->place), ways[v->way], v->why);
}

static void json_way(struct json_out *o, const char *key, const struct trace_hop *h, int way)
{
	json_out_obj(o, key);
	json_out_u64(o, "packets", h->n[FLOW_PACKET][way]);
	json_out_u64(o, "neighbour", h->n[FLOW_NEIGHBOUR][way]);
	json_out_u64(o, "errors", h->n[FLOW_ERROR][way]);
	json_out_end(o);
}

static void json_hops(struct json_out *o, const struct trace_path *p)
{
	int side;

	json_out_arr(o, "hops");
	for (side = 0; side < HOP_SIDES; side++) {
		const struct trace_hop *h = &p->hop[side];

		if (!h->hop)
			continue;
		json_out_obj(o, NULL);
		json_out_str(o, "hop", hop_side_name(h->hop->side));
		json_out_str(o, "device", h->hop->name);
		json_way(o, "toGuest", h, TRACE_TO_GUEST);
		json_way(o, "fromGuest", h, TRACE_FROM_GUEST);
		json_out_u64(o, "notLookedAt", h->lost);
		if (side < HOP_GUEST) {
			const struct trace_device *was = &p->was.device[side];
			const struct trace_device *is = &p->is.device[side];

			json_out_bool(o, "up", is->up);
			json_out_u64(o, "rxDropped", grew(was->rx_dropped, is->rx_dropped));
			json_out_u64(o, "txDropped", grew(was->tx_dropped, is->tx_dropped));
			json_out_u64(o, "qdiscDropped", grew(was->qdisc, is->qdisc));
		}
		json_out_end(o);
	}
	json_out_end(o);
}

static void json_stages(struct json_out *o, const struct trace_path *p)
{
	static const char *const keys[] = { "tcToGuest", "tcFromGuest" };
	size_t i, k;
	int way;

	for (way = 0; p->tc && way < TRACE_WAYS; way++) {
		json_out_obj(o, keys[way]);
		json_out_bool(o, "filter", p->is.filter[way].there);
		json_out_u64(o, "packets", grew(p->was.filter[way].packets, p->is.filter[way].packets));
		json_out_u64(o, "dropped", grew(p->was.filter[way].drops, p->is.filter[way].drops));
		json_out_end(o);
	}
	if (p->is.machine.there) {
		json_out_obj(o, "virtio");
		json_out_bool(o, "kernel", p->is.machine.kernel);
		json_out_u64(o, "packets", grew(p->was.machine.packets, p->is.machine.packets));
		json_out_end(o);
	}
	json_out_obj(o, "guestCounters");
	for (i = 0; i < p->is.n; i++) {
		for (k = 0; k < p->was.n && strcmp(p->was.name[k], p->is.name[i]); k++)
			;
		if (k < p->was.n && p->is.value[i] > p->was.value[k])
			json_out_u64(o, p->is.name[i], p->is.value[i] - p->was.value[k]);
	}
	json_out_end(o);
}

/**
 * trace_json() - print a trace for programs
 *
 * Return: 0 or -ENOMEM
 */
int trace_json(const struct target *t, const struct flow *flow, const struct trace_path *p,
	       const struct trace_verdict *v, FILE *f, struct err *e)
{
	static const char *const names[] = { "passes", "dies", "loses", "unseen" };
	struct json_out *o = json_out_new();
	char shown[192];

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	flow_text(flow, shown, sizeof(shown));
	json_out_str(o, "netns", t->shown);
	if (*t->pod)
		json_out_str(o, "pod", t->pod);
	json_out_str(o, "flow", shown);
	json_out_str(o, "interface", p->port);
	json_out_str(o, "outcome", names[v->outcome]);
	if (v->outcome != TRACE_PASSES) {
		json_out_str(o, "at", trace_place_name(v->place));
		json_out_str(o, "way", v->way == TRACE_TO_GUEST ? "toGuest" : "fromGuest");
		json_out_bool(o, "neighbour", v->class == FLOW_NEIGHBOUR);
		json_out_str(o, "why", v->why);
	}
	json_hops(o, p);
	json_stages(o, p);
	return json_out_print(o, true, f, e);
}
