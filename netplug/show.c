// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Shows the way of a pod's packets as it is now, not as it was planned: each
 * interface of the namespace, its tap, both redirects between them, the queues of the
 * virtual machine, and the guest's interface, all with counters. A port is a tap that
 * bears our alias; an interface is joined if our filter on it leads to such a tap, and
 * that tap's filter leads back; or by a macvtap on it, without filters. A half that is missing is shown as such: it is where
 * the packets get lost.
 *
 * The machine's half comes from the pod's supervisor, the guest's from the agent; both
 * are left out where the namespace is no pod's. They are found by the MAC address.
 *
 * Where an earlier view is given, numbers for people are those of one second since
 * then; programs get both.
 */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/joined.h"
#include "netplug/show.h"

#define COUNTERS_MAX 6

/* Counters of one thing; names are those of the JSON. */
struct counters {
	const char *name[COUNTERS_MAX];
	uint64_t v[COUNTERS_MAX];
	size_t n;
};

static struct counters of_link(const struct scan_link *l)
{
	return (struct counters){
		{ "rxPackets", "rxBytes", "rxDropped", "txPackets", "txBytes", "txDropped" },
		{ l->rx_packets, l->rx_bytes, l->rx_dropped, l->tx_packets, l->tx_bytes,
		  l->tx_dropped }, 6
	};
}

static struct counters of_filter(const struct scan_filter *f)
{
	return (struct counters){ { "packets", "bytes", "dropped" },
				  { f->packets, f->bytes, f->drops }, 3 };
}

static struct counters of_device(const Podvm__Pod__NetDevice *d)
{
	return (struct counters){
		{ "kicks", "interrupts", "packets", "inBytes", "outBytes", "broken" },
		{ d->kicks, d->interrupts, d->requests, d->in_bytes, d->out_bytes, d->broken }, 6
	};
}

/* What is counted now less what was, for each second between; a reset reads as 0. */
static struct counters per_second(struct counters now, const struct counters *was, uint64_t ms)
{
	size_t i;

	for (i = 0; i < now.n; i++)
		now.v[i] = now.v[i] < was->v[i] || !ms ? 0 : (now.v[i] - was->v[i]) * 1000 / ms;
	return now;
}

static const char *link_state(const struct scan_link *l)
{
	return !(l->flags & IFF_UP) ? "down" :
	       l->flags & IFF_RUNNING ? "up" : "up, no carrier";
}

/* Whether packets of @from get to @to, and if not, why. */
static const char *path_state(const struct scan_link *from,
			      const struct scan_link *to,
			      const struct scan_filter *f)
{
	if (!from || !to)
		return "no tap";
	if (!f)
		return "no filter";
	if (f->to != to->ifindex)
		return "filter leads elsewhere";
	return to->flags & IFF_UP ? "ok" : "target is down";
}

static const char *joined_state(const struct scan *s, const struct scan_link *l)
{
	const struct scan_link *tap = joined_tap(s, l);
	const struct scan_filter *in = joined_filter(s, l->ifindex), *out;

	if (!tap)
		return in ? "broken" : "not joined";
	if (joined_is_macvtap(tap))
		return tap->flags & l->flags & IFF_UP ? "joined" : "broken";
	out = joined_filter(s, tap->ifindex);
	return strcmp(path_state(l, tap, in), "ok") ||
	       strcmp(path_state(tap, l, out), "ok") ? "broken" : "joined";
}

static const char *mac_text(const uint8_t *m, size_t len, char dst[18])
{
	if (len == 6)
		snprintf(dst, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
			 m[5]);
	else
		snprintf(dst, 18, "-");
	return dst;
}

static const struct scan_link *link_in_guest(const struct show_view *v, const struct scan_link *l)
{
	const struct scan *g = v->guest.scan;
	const uint8_t *mac = joined_mac(v->scan, l);
	size_t i;

	for (i = 0; g && l->mac_len == 6 && i < g->n_links; i++)
		if (g->link[i].arphrd == ARPHRD_ETHER && !memcmp(g->link[i].mac, mac, 6))
			return &g->link[i];
	return NULL;
}

static const Podvm__Pod__NetDevice *device_of(const struct show_view *v, const struct scan_link *l)
{
	char mac[18];
	size_t i;

	mac_text(joined_mac(v->scan, l), l->mac_len, mac);
	for (i = 0; v->machine && i < v->machine->network->n_devices; i++)
		if (!strcmp(v->machine->network->devices[i]->mac, mac))
			return v->machine->network->devices[i];
	return NULL;
}

/* ---- for people -------------------------------------------------------------------- */

struct printer {
	const struct show_view *now, *was;
	uint64_t ms;
	FILE *f;
};

/* The counters of a link; @was: the same link earlier, or NULL */
static void text_link(const struct printer *p, const char *kind, const struct scan_link *l,
		      const struct scan_link *was)
{
	struct counters c = of_link(l), before;
	char mac[18];

	if (was) {
		before = of_link(was);
		c = per_second(c, &before, p->ms);
	}
	fprintf(p->f, "  %-9s %-15s %-17s mtu %-6u %-14s rx %" PRIu64 " packets %" PRIu64
		" bytes %" PRIu64 " dropped, tx %" PRIu64 " packets %" PRIu64
		" bytes %" PRIu64 " dropped\n", kind, l->name, mac_text(l->mac, l->mac_len, mac),
		l->mtu, link_state(l), c.v[0], c.v[1], c.v[2], c.v[3], c.v[4], c.v[5]);
}

static const struct scan_link *link_before(const struct scan *s, const struct scan_link *l)
{
	return s ? scan_link_at(s, l->ifindex) : NULL;
}

static void text_path(const struct printer *p, const struct scan_link *from,
		      const struct scan_link *to, const char *what)
{
	const struct scan *s = p->now->scan;
	const struct scan_filter *flt = from ? joined_filter(s, from->ifindex) : NULL, *was;
	const char *hook = from ? joined_hook(s, from->ifindex) : NULL;
	struct counters c = { .n = 0 }, before;
	char via[64] = "-";

	if (flt) {
		snprintf(via, sizeof(via), "%s %s pref %u redirect", hook ? hook : "?",
			 flt->kind, flt->pref);
		c = of_filter(flt);
		was = p->was ? joined_filter(p->was->scan, from->ifindex) : NULL;
		if (was) {
			before = of_filter(was);
			c = per_second(c, &before, p->ms);
		}
	}
	fprintf(p->f, "  %-9s %-15s %-30s %-15s %10" PRIu64 " %14" PRIu64 " %8" PRIu64
		"  %s\n", what, from ? from->name : "-", via, to ? to->name : "-",
		c.v[0], c.v[1], c.v[2], path_state(from, to, flt));
}

static void text_queue(const struct printer *p, const struct scan_link *l)
{
	const Podvm__Pod__NetDevice *d = device_of(p->now, l), *was;
	struct counters c, before;

	if (!d)
		return;
	c = of_device(d);
	was = p->was ? device_of(p->was, l) : NULL;
	if (was) {
		before = of_device(was);
		c = per_second(c, &before, p->ms);
	}
	fprintf(p->f, "  %-9s %u, moved by the %s%s: %" PRIu64 " notifications %" PRIu64
		" interrupts %" PRIu64 " packets, %" PRIu64 " bytes in %" PRIu64 " out\n", "queues",
		d->queues, d->kernel_queues ? "kernel, not counted" : "monitor",
		d->status & 64 ? " (stopped: the driver broke a rule)" : "", c.v[0], c.v[1], c.v[2],
		c.v[3], c.v[4]);
}

static void text_guest(const struct printer *p, const struct scan_link *l)
{
	const struct scan_link *g = link_in_guest(p->now, l);
	const struct scan *s = p->now->guest.scan;
	char ip[48];
	size_t i;

	if (!s)
		return;
	if (!g) {
		fprintf(p->f, "  %-9s has no interface with this MAC\n", "guest");
		return;
	}
	text_link(p, "guest", g, p->was ? link_in_guest(p->was, l) : NULL);
	for (i = 0; i < s->n_addrs; i++)
		if (s->addr[i].ifindex == g->ifindex)
			fprintf(p->f, "  %-9s %s/%u\n", "",
				scan_ip_text(s->addr[i].family, s->addr[i].ip, ip),
				s->addr[i].prefix_len);
}

static void text_port(const struct printer *p, const struct scan_link *l)
{
	const struct scan *s = p->now->scan, *was = p->was ? p->was->scan : NULL;
	const struct scan_link *tap = joined_tap(s, l);

	fprintf(p->f, "\n%s: %s\n", l->name, joined_state(s, l));
	text_link(p, l->kind[0] ? l->kind : "device", l, link_before(was, l));
	if (tap)
		text_link(p, tap->kind, tap, link_before(was, tap));
	text_queue(p, l);
	text_guest(p, l);
	if ((!tap && !joined_filter(s, l->ifindex)) || joined_is_macvtap(tap))
		return;
	fprintf(p->f, "  %-9s %-15s %-30s %-15s %10s %14s %8s  %s\n", "PATH", "FROM",
		"VIA", "TO", "PACKETS", "BYTES", "DROPPED", "STATE");
	text_path(p, l, tap, "to guest");
	text_path(p, tap, l, "to net");
}

static void print_text(const struct printer *p, const char *netns)
{
	const struct scan *s = p->now->scan;
	size_t i, shown = 0;

	fprintf(p->f, "network namespace %s%s%s%s\n", netns, *p->now->pod ? ", pod " : "",
		p->now->pod, p->was ? "; numbers are per second" : "");
	if (p->now->guest_why.code)
		fprintf(p->f, "the guest does not tell its half: %s\n", p->now->guest_why.text);
	for (i = 0; i < s->n_links; i++) {
		if (s->link[i].arphrd == ARPHRD_LOOPBACK || joined_is_tap(&s->link[i]))
			continue;
		shown++;
		text_port(p, &s->link[i]);
	}
	if (!shown)
		fprintf(p->f, "no interface beside the loopback\n");
}

/* ---- for programs ------------------------------------------------------------------ */

static void json_counters(struct json_out *o, struct counters c, const struct counters *was,
			  uint64_t ms)
{
	size_t i;

	for (i = 0; i < c.n; i++)
		json_out_u64(o, c.name[i], c.v[i]);
	if (!was)
		return;
	c = per_second(c, was, ms);
	json_out_obj(o, "perSecond");
	for (i = 0; i < c.n; i++)
		json_out_u64(o, c.name[i], c.v[i]);
	json_out_end(o);
}

static void json_link(struct json_out *o, const struct scan_link *l, const struct scan_link *was,
		      uint64_t ms)
{
	struct counters before;
	char mac[18];

	json_out_str(o, "name", l->name);
	json_out_u64(o, "ifindex", l->ifindex);
	json_out_str(o, "kind", l->kind[0] ? l->kind : NULL);
	if (l->mac_len == 6)
		json_out_str(o, "mac", mac_text(l->mac, l->mac_len, mac));
	json_out_u64(o, "mtu", l->mtu);
	json_out_str(o, "state", link_state(l));
	if (was)
		before = of_link(was);
	json_counters(o, of_link(l), was ? &before : NULL, ms);
}

static void json_device(struct json_out *o, const char *key, const struct printer *p,
			const struct scan_link *l)
{
	json_out_obj(o, key);
	json_link(o, l, link_before(p->was ? p->was->scan : NULL, l), p->ms);
	json_out_end(o);
}

static void json_path(struct json_out *o, const char *key, const struct printer *p,
		      const struct scan_link *from, const struct scan_link *to)
{
	const struct scan *s = p->now->scan;
	const struct scan_filter *f = from ? joined_filter(s, from->ifindex) : NULL, *was;
	struct counters before;

	json_out_obj(o, key);
	json_out_str(o, "from", from ? from->name : NULL);
	json_out_str(o, "to", to ? to->name : NULL);
	json_out_str(o, "state", path_state(from, to, f));
	if (f) {
		was = p->was ? joined_filter(p->was->scan, from->ifindex) : NULL;
		json_out_str(o, "hook", joined_hook(s, from->ifindex));
		json_out_str(o, "filter", f->kind);
		json_out_u64(o, "pref", f->pref);
		if (was)
			before = of_filter(was);
		json_counters(o, of_filter(f), was ? &before : NULL, p->ms);
	}
	json_out_end(o);
}

static void json_queue(struct json_out *o, const struct printer *p, const struct scan_link *l)
{
	const Podvm__Pod__NetDevice *d = device_of(p->now, l), *was;
	struct counters before;

	if (!d)
		return;
	was = p->was ? device_of(p->was, l) : NULL;
	if (was)
		before = of_device(was);
	json_out_obj(o, "queue");
	json_out_u64(o, "queues", d->queues);
	json_out_u64(o, "kernelQueues", d->kernel_queues);
	json_out_u64(o, "status", d->status);
	json_counters(o, of_device(d), was ? &before : NULL, p->ms);
	json_out_end(o);
}

static void json_guest(struct json_out *o, const struct printer *p, const struct scan_link *l)
{
	const struct scan_link *g = link_in_guest(p->now, l);
	const struct scan *s = p->now->guest.scan;
	const Podvm__LinkState *state;
	char ip[64];
	size_t i;

	if (!g)
		return;
	state = guest_link(&p->now->guest, g->name);
	json_out_obj(o, "guest");
	json_link(o, g, p->was ? link_in_guest(p->was, l) : NULL, p->ms);
	json_out_arr(o, "addresses");
	for (i = 0; i < s->n_addrs; i++) {
		if (s->addr[i].ifindex != g->ifindex)
			continue;
		scan_ip_text(s->addr[i].family, s->addr[i].ip, ip);
		snprintf(ip + strlen(ip), 8, "/%u", s->addr[i].prefix_len);
		json_out_str(o, NULL, ip);
	}
	json_out_end(o);
	if (state) {
		json_out_bool(o, "checksumOffload",
			      state->features & PODVM__LINK_STATE__FEATURE__TX_CSUM);
		json_out_bool(o, "segmentationOffload",
			      state->features & PODVM__LINK_STATE__FEATURE__TSO);
	}
	json_out_end(o);
}

static void json_port(struct json_out *o, const struct printer *p, const struct scan_link *l)
{
	const struct scan *s = p->now->scan;
	const struct scan_link *tap = joined_tap(s, l);

	json_out_obj(o, NULL);
	json_out_str(o, "state", joined_state(s, l));
	json_device(o, "device", p, l);
	if (tap)
		json_device(o, "tap", p, tap);
	if ((tap && !joined_is_macvtap(tap)) || joined_filter(s, l->ifindex)) {
		json_path(o, "toGuest", p, l, tap);
		json_path(o, "toNetwork", p, tap, l);
	}
	json_queue(o, p, l);
	json_guest(o, p, l);
	json_out_end(o);
}

/* One line each where several follow. */
static int print_json(const struct printer *p, const char *netns, bool line, struct err *e)
{
	const struct scan *s = p->now->scan;
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "netns", netns);
	if (*p->now->pod)
		json_out_str(o, "pod", p->now->pod);
	if (p->was)
		json_out_u64(o, "milliseconds", p->ms);
	if (p->now->guest_why.code)
		json_out_str(o, "guestError", p->now->guest_why.text);
	json_out_arr(o, "interfaces");
	for (i = 0; i < s->n_links; i++)
		if (s->link[i].arphrd != ARPHRD_LOOPBACK && !joined_is_tap(&s->link[i]))
			json_port(o, p, &s->link[i]);
	json_out_end(o);
	return json_out_print(o, !line, p->f, e);
}

/**
 * show_print() - print how the interfaces of a namespace are joined
 * @now:   what to print
 * @was:   an earlier view, for what happens in a second; or NULL
 * @netns: what to call the namespace
 * @how:   SHOW_*
 *
 * Return: 0 or -ENOMEM
 */
int show_print(const struct show_view *now, const struct show_view *was, const char *netns,
	       enum show_how how, FILE *f, struct err *e)
{
	const struct printer p = { .now = now, .was = was, .f = f,
				   .ms = was ? now->ms - was->ms : 0 };

	if (how != SHOW_TEXT)
		return print_json(&p, netns, how == SHOW_JSON_LINE, e);
	print_text(&p, netns);
	return 0;
}
