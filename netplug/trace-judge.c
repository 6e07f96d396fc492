// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Says what became of a flow, from what was seen and counted, and nothing else. In
 * each direction the hops that can be seen have an order. A flow that is seen at one
 * and not at the next died between them, and the counters of what lies there say
 * where: each stage has its own questions, the first that is answered counts, and the
 * stage itself is to blame if none is.
 *
 * The direction of the first packet is judged first. If it passes, and the protocol
 * answers (TCP, echo), so is the other one: a guest that got everything and sent
 * nothing, or a network that did not answer, is where it dies. If no packet of the
 * flow was seen at all, the neighbours' requests for its ends are judged in its place,
 * since most flows that never begin wait for a neighbour.
 *
 * Numbers of packets are compared where we sent them ourselves, for then all of them
 * passed while everything listened. Of others a tenth must be missing, of many; and
 * not of TCP, whose segments are joined and split on their way.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/trace.h"

/* Counters of a guest that say why it did not answer. */
#define GROWN_SHOWN 4

/* Packets of others of which some may be missing. */
#define FEWER_OF_MANY 20

/**
 * trace_place_name() - what a place is called for people and programs
 */
const char *trace_place_name(enum trace_place p)
{
	static const char *const names[] = { "network", "host", "pod", "tc", "tap", "virtio",
					     "guest" };

	return names[p];
}

__attribute__((format(printf, 3, 4))) static bool blame(struct trace_verdict *v,
							enum trace_place place, const char *fmt, ...)
{
	va_list ap;

	v->place = place;
	va_start(ap, fmt);
	vsnprintf(v->why, sizeof(v->why), fmt, ap);
	va_end(ap);
	return true;
}

static enum hop_side side_at(enum trace_way way, int position)
{
	return way == TRACE_TO_GUEST ? (enum hop_side)position :
				       (enum hop_side)(HOP_SIDES - 1 - position);
}

static const char *device(const struct trace_path *p, enum hop_side side)
{
	return p->hop[side].hop ? p->hop[side].hop->name : hop_side_name(side);
}

static uint64_t grew(uint64_t was, uint64_t is)
{
	return is > was ? is - was : 0;
}

#define GREW(p, field) grew((p)->was.field, (p)->is.field)

/* A device that takes no packets in a direction, or lost some. */
static bool device_blame(const struct trace_path *p, enum hop_side side, bool sends,
			 struct trace_verdict *v)
{
	static const enum trace_place places[] = { TRACE_HOST, TRACE_POD, TRACE_TAP };
	const struct trace_device *d = &p->is.device[side];
	const char *name = device(p, side);
	uint64_t n;

	if (!d->there)
		return blame(v, places[side], "%s is gone", name);
	if (!d->up)
		return blame(v, places[side], "%s is down; ip link set %s up", name, name);
	if (sends && !d->carrier && side == HOP_TAP)
		return blame(v, TRACE_VIRTIO, "nobody holds the other end of %s: the virtual machine has ended",
			     name);
	if (sends && !d->carrier && side == HOP_POD && p->is.device[HOP_HOST].there)
		return device_blame(p, HOP_HOST, false, v) ||
		       blame(v, TRACE_POD, "%s has no carrier", name);
	n = sends ? GREW(p, device[side].qdisc) : 0;
	if (n)
		return blame(v, places[side], "the queueing discipline of %s dropped %" PRIu64
			     " packets; see tc -s qdisc show dev %s", name, n, name);
	n = sends ? GREW(p, device[side].tx_dropped) : GREW(p, device[side].rx_dropped);
	if (n)
		return blame(v, places[side], "%s dropped %" PRIu64 " packets", name, n);
	return false;
}

/* The redirect that takes a packet from one device to the other. */
static bool tc_blame(const struct trace_path *p, enum trace_way way, struct trace_verdict *v)
{
	enum hop_side to = way == TRACE_TO_GUEST ? HOP_TAP : HOP_POD;
	const char *name = device(p, way == TRACE_TO_GUEST ? HOP_POD : HOP_TAP);
	const struct trace_filter *f = &p->is.filter[way];

	if (!p->is.device[to].there)
		return device_blame(p, to, true, v);
	if (!f->there)
		return blame(v, TRACE_TC, "no filter of podvm redirects what %s receives; somebody removed it, or its discipline", name);
	if (!f->right)
		return blame(v, TRACE_TC, "the filter on %s does not lead to %s", name, device(p, to));
	if (!GREW(p, filter[way].packets))
		return blame(v, TRACE_TC, "the redirect on %s was hit by no packet: another filter or program takes them before; see tc filter show dev %s ingress",
			     name, name);
	if (device_blame(p, to, true, v))
		return true;
	if (GREW(p, filter[way].drops))
		return blame(v, TRACE_TC, "the redirect on %s dropped %" PRIu64 " packets", name,
			     GREW(p, filter[way].drops));
	return false;
}

static bool machine_blame(const struct trace_path *p, enum trace_way way, struct trace_verdict *v)
{
	const struct trace_machine *m = &p->is.machine;

	if (m->there && GREW(p, machine.broken))
		return blame(v, TRACE_VIRTIO, "the guest's driver broke a rule, and its network card needs a reset");
	if (m->there && !m->kernel && !GREW(p, machine.packets))
		return blame(v, TRACE_VIRTIO, "the monitor moved no packet of %s; is the guest's driver, or its processor, stuck?",
			     p->port);
	if (m->there && way == TRACE_TO_GUEST)
		return blame(v, TRACE_GUEST, "the machine passed packets on, and the guest's %s does not show them",
			     p->port);
	return false;
}

/* Return: true with what is to blame between a side and the next one in a direction */
static bool stage_blame(const struct trace_path *p, enum trace_way way, enum hop_side from,
			struct trace_verdict *v)
{
	if (way == TRACE_TO_GUEST) {
		switch (from) {
		case HOP_HOST:
			return device_blame(p, HOP_POD, false, v);
		case HOP_POD:
			return p->tc ? tc_blame(p, way, v) : device_blame(p, HOP_TAP, true, v);
		default:
			if (GREW(p, device[HOP_TAP].tx_dropped) && p->is.device[HOP_TAP].carrier)
				return blame(v, TRACE_VIRTIO, "%s dropped %" PRIu64 " packets: its queue is full, for the machine takes none",
					     device(p, HOP_TAP), GREW(p, device[HOP_TAP].tx_dropped));
			return device_blame(p, HOP_TAP, true, v) || machine_blame(p, way, v);
		}
	}
	switch (from) {
	case HOP_GUEST:
		return device_blame(p, HOP_TAP, false, v) || machine_blame(p, way, v);
	case HOP_TAP:
		return p->tc ? tc_blame(p, way, v) : device_blame(p, HOP_POD, true, v);
	default:
		return device_blame(p, HOP_HOST, false, v);
	}
}

/* Nothing that is counted says so: the last stage it is. */
static void stage_default(const struct trace_path *p, enum trace_way way, enum hop_side from,
			  enum hop_side to, struct trace_verdict *v)
{
	static const enum trace_place to_guest[] = { TRACE_POD, TRACE_TC, TRACE_VIRTIO };
	static const enum trace_place from_guest[] = { TRACE_HOST, TRACE_HOST, TRACE_TC, TRACE_VIRTIO };
	enum trace_place place = way == TRACE_TO_GUEST ? to_guest[from] : from_guest[from];

	if (place == TRACE_TC && !p->tc)
		place = way == TRACE_TO_GUEST ? TRACE_TAP : TRACE_POD;
	blame(v, place, "%s saw the packets and %s did not, and no counter tells why; a program on the way (XDP, tc) may have taken them",
	      device(p, from), device(p, to));
}

static void find_blame(const struct trace_path *p, enum trace_way way, int at, int next,
		       struct trace_verdict *v)
{
	int i;

	for (i = at; i < next; i++)
		if (stage_blame(p, way, side_at(way, i), v))
			return;
	stage_default(p, way, side_at(way, at), side_at(way, next), v);
}

static uint64_t seen(const struct trace_path *p, enum flow_class class, enum trace_way way, int i)
{
	return p->hop[side_at(way, i)].n[class][way];
}

static bool visible(const struct trace_path *p, enum trace_way way, int i)
{
	return p->hop[side_at(way, i)].hop;
}

/* Whether packets are missing at a hop that the one before it had. */
static bool fewer(const struct trace_path *p, uint64_t before, uint64_t here)
{
	if (p->probes)
		return here < before;
	return p->protocol != IPPROTO_TCP && p->protocol && before >= FEWER_OF_MANY &&
	       here < before - before / 10;
}

/*
 * One direction. Return: false if no hop saw it; else true, with @v if it does not
 * come to its end
 */
static bool judge_way(const struct trace_path *p, enum flow_class class, enum trace_way way,
		      struct trace_verdict *v)
{
	int i, last = -1, next = -1;

	for (i = 0; i < HOP_SIDES; i++)
		if (visible(p, way, i) && seen(p, class, way, i))
			last = i;
	if (last < 0)
		return false;
	for (i = last + 1; i < HOP_SIDES && next < 0; i++)
		/* A tap that is gone leaves its redirect behind. */
		if (visible(p, way, i) || (p->tc && side_at(way, i) == HOP_TAP))
			next = i;
	v->way = way;
	v->class = class;
	if (next >= 0) {
		v->outcome = TRACE_DIES;
		find_blame(p, way, last, next, v);
		return true;
	}
	for (i = 0, last = -1; class == FLOW_PACKET && i < HOP_SIDES; i++) {
		if (!visible(p, way, i))
			continue;
		if (last >= 0 && fewer(p, seen(p, class, way, last), seen(p, class, way, i)) &&
		    !p->hop[side_at(way, i)].lost) {
			v->outcome = TRACE_LOSES;
			find_blame(p, way, last, i, v);
			return true;
		}
		last = i;
	}
	return true;
}

/* The direction of the first packet. */
static enum trace_way first_way(const struct trace_path *p, enum flow_class class)
{
	uint64_t first[TRACE_WAYS] = { UINT64_MAX, UINT64_MAX };
	int way, i;

	for (way = 0; way < TRACE_WAYS; way++)
		for (i = 0; i < HOP_SIDES; i++) {
			uint64_t t = p->hop[i].first_ns[class][way];

			if (t && t < first[way])
				first[way] = t;
		}
	if (class == FLOW_PACKET && p->probes && first[p->probe_way] != UINT64_MAX)
		return p->probe_way;
	return first[TRACE_FROM_GUEST] < first[TRACE_TO_GUEST] ? TRACE_FROM_GUEST : TRACE_TO_GUEST;
}

/* Names of the guest's counters that grew, but for those of packets that went well. */
static void grown(const struct trace_path *p, char *dst, size_t room)
{
	size_t i, k, shown = 0, len = 0;

	*dst = 0;
	for (i = 0; i < p->is.n && shown < GROWN_SHOWN; i++) {
		for (k = 0; k < p->was.n && strcmp(p->was.name[k], p->is.name[i]); k++)
			;
		if (k == p->was.n || p->is.value[i] <= p->was.value[k] ||
		    str_starts(p->is.name[i], "rx_packets") || str_starts(p->is.name[i], "tx_packets"))
			continue;
		len += (size_t)snprintf(dst + len, room - len, "%s%s +%" PRIu64,
					shown++ ? ", " : "; the guest counts ", p->is.name[i],
					p->is.value[i] - p->was.value[k]);
		if (len >= room)
			return;
	}
}

/* What was asked came to its end, and nobody answered. */
static void no_answer(const struct trace_path *p, enum flow_class class, enum trace_way asked,
		      struct trace_verdict *v)
{
	char counters[200];

	v->outcome = TRACE_DIES;
	v->class = class;
	v->way = asked == TRACE_TO_GUEST ? TRACE_FROM_GUEST : TRACE_TO_GUEST;
	grown(p, counters, sizeof(counters));
	if (asked == TRACE_FROM_GUEST)
		blame(v, TRACE_NETWORK, "the packets left by %s, and no answer came back: look at the node's routes, its firewall, and the other end",
		      device(p, p->hop[HOP_HOST].hop ? HOP_HOST : HOP_POD));
	else if (p->hop[HOP_GUEST].hop)
		blame(v, TRACE_GUEST, "the guest got the packets and sent no answer: its firewall, its addresses or routes, or nobody who listens%s",
		      counters);
	else if (!stage_blame(p, TRACE_TO_GUEST, HOP_TAP, v))
		blame(v, TRACE_VIRTIO, "%s passed the packets on and nothing came back; the guest cannot be asked",
		      device(p, HOP_TAP));
}

/* No packet at all: then the question is why the first did not come. */
static void unseen(const struct trace_path *p, struct trace_verdict *v)
{
	v->outcome = p->probes ? TRACE_DIES : TRACE_UNSEEN;
	v->way = p->probe_way;
	v->class = FLOW_PACKET;
	if (!p->probes) {
		blame(v, TRACE_NETWORK, "no packet of the flow was seen; make some, or say --probe");
		return;
	}
	if (p->probe_way == TRACE_TO_GUEST) {
		if ((p->hop[HOP_POD].hop && !p->is.device[HOP_POD].up &&
		     device_blame(p, HOP_POD, false, v)) ||
		    (p->hop[HOP_HOST].hop && device_blame(p, HOP_HOST, true, v)))
			return;
		blame(v, TRACE_NETWORK, "no packet reached the pod's interface%s%s; look at ip route get, and the node's firewall",
		      *p->probe_error ? ": " : "", p->probe_error);
		return;
	}
	blame(v, TRACE_GUEST, "no packet left the guest%s%s; look at its addresses, routes and firewall",
	      *p->probe_error ? ": " : "", p->probe_error);
}

static void add_errors(const struct trace_path *p, struct trace_verdict *v)
{
	size_t len = strlen(v->why);
	uint64_t n = 0, most = 0;
	int i;

	for (i = 0; i < HOP_SIDES; i++) {
		n = p->hop[i].n[FLOW_ERROR][0] + p->hop[i].n[FLOW_ERROR][1];
		most = n > most ? n : most;
	}
	if (most)
		snprintf(v->why + len, sizeof(v->why) - len,
			 "; %" PRIu64 " ICMP errors say that it cannot be delivered", most);
}

/**
 * trace_judge() - what became of a flow on the path of one interface
 */
void trace_judge(const struct trace_path *p, struct trace_verdict *ret)
{
	bool answers = p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_ICMP;
	enum flow_class class = FLOW_PACKET;
	struct trace_verdict v = { .outcome = TRACE_PASSES };
	enum trace_way way = first_way(p, class);

	if (!judge_way(p, class, way, &v)) {
		class = FLOW_NEIGHBOUR;
		answers = true;
		way = first_way(p, class);
		if (!judge_way(p, class, way, &v))
			unseen(p, &v);
	}
	if (v.outcome == TRACE_PASSES && !judge_way(p, class, !way, &v) && answers)
		no_answer(p, class, way, &v);
	if (v.outcome == TRACE_PASSES && class == FLOW_NEIGHBOUR)
		unseen(p, &v);
	add_errors(p, &v);
	*ret = v;
}
