// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Shows how each interface of a network namespace is joined to a tap, as it is
 * in the kernel now, not as it was planned: both redirects with their
 * counters, and both devices. A port is a tap that bears our alias; an
 * interface is joined if our filter on it leads to such a tap, and that tap's
 * filter leads back. A half that is missing is shown as such: it is where the
 * packets get lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "netplug/cmd.h"
#include "netplug/joined.h"

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
	out = joined_filter(s, tap->ifindex);
	return strcmp(path_state(l, tap, in), "ok") ||
	       strcmp(path_state(tap, l, out), "ok") ? "broken" : "joined";
}

static void text_path(FILE *f, const struct scan *s, const struct scan_link *from,
		      const struct scan_link *to, const char *what)
{
	const struct scan_filter *flt = from ? joined_filter(s, from->ifindex) : NULL;
	const char *hook = from ? joined_hook(s, from->ifindex) : NULL;
	char via[64] = "-";

	if (flt)
		snprintf(via, sizeof(via), "%s %s pref %u redirect", hook ? hook : "?",
			 flt->kind, flt->pref);
	fprintf(f, "  %-9s %-15s %-30s %-15s %10" PRIu64 " %14" PRIu64 " %8" PRIu64
		"  %s\n", what, from ? from->name : "-", via, to ? to->name : "-",
		flt ? flt->packets : 0, flt ? flt->bytes : 0, flt ? flt->drops : 0,
		path_state(from, to, flt));
}

static void text_device(FILE *f, const struct scan_link *l)
{
	char mac[18] = "-";

	if (l->mac_len == 6)
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", l->mac[0],
			 l->mac[1], l->mac[2], l->mac[3], l->mac[4], l->mac[5]);
	fprintf(f, "  %-9s %-15s %-17s mtu %-6u %-14s rx %" PRIu64 " packets %" PRIu64
		" bytes %" PRIu64 " dropped, tx %" PRIu64 " packets %" PRIu64
		" bytes %" PRIu64 " dropped\n", l->kind[0] ? l->kind : "device",
		l->name, mac, l->mtu, link_state(l), l->rx_packets, l->rx_bytes,
		l->rx_dropped, l->tx_packets, l->tx_bytes, l->tx_dropped);
}

static void print_text(const struct scan *s, const char *netns, FILE *f)
{
	size_t i, shown = 0;

	fprintf(f, "network namespace %s\n", netns);
	for (i = 0; i < s->n_links; i++) {
		const struct scan_link *l = &s->link[i], *tap = joined_tap(s, l);

		if (l->arphrd == ARPHRD_LOOPBACK || joined_is_tap(l))
			continue;
		shown++;
		fprintf(f, "\n%s: %s\n", l->name, joined_state(s, l));
		text_device(f, l);
		if (tap)
			text_device(f, tap);
		if (!tap && !joined_filter(s, l->ifindex))
			continue;
		fprintf(f, "  %-9s %-15s %-30s %-15s %10s %14s %8s  %s\n", "PATH", "FROM",
			"VIA", "TO", "PACKETS", "BYTES", "DROPPED", "STATE");
		text_path(f, s, l, tap, "to guest");
		text_path(f, s, tap, l, "to net");
	}
	if (!shown)
		fprintf(f, "no interface beside the loopback\n");
}

static void json_device(struct json_out *o, const char *key,
			const struct scan_link *l)
{
	char mac[18];

	json_out_obj(o, key);
	json_out_str(o, "name", l->name);
	json_out_u64(o, "ifindex", l->ifindex);
	json_out_str(o, "kind", l->kind[0] ? l->kind : NULL);
	if (l->mac_len == 6) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", l->mac[0],
			 l->mac[1], l->mac[2], l->mac[3], l->mac[4], l->mac[5]);
		json_out_str(o, "mac", mac);
	}
	json_out_u64(o, "mtu", l->mtu);
	json_out_str(o, "state", link_state(l));
	json_out_u64(o, "rxPackets", l->rx_packets);
	json_out_u64(o, "rxBytes", l->rx_bytes);
	json_out_u64(o, "rxDropped", l->rx_dropped);
	json_out_u64(o, "txPackets", l->tx_packets);
	json_out_u64(o, "txBytes", l->tx_bytes);
	json_out_u64(o, "txDropped", l->tx_dropped);
	json_out_end(o);
}

static void json_path(struct json_out *o, const char *key, const struct scan *s,
		      const struct scan_link *from, const struct scan_link *to)
{
	const struct scan_filter *f = from ? joined_filter(s, from->ifindex) : NULL;

	json_out_obj(o, key);
	json_out_str(o, "from", from ? from->name : NULL);
	json_out_str(o, "to", to ? to->name : NULL);
	json_out_str(o, "state", path_state(from, to, f));
	if (f) {
		json_out_str(o, "hook", joined_hook(s, from->ifindex));
		json_out_str(o, "filter", f->kind);
		json_out_u64(o, "pref", f->pref);
		json_out_u64(o, "packets", f->packets);
		json_out_u64(o, "bytes", f->bytes);
		json_out_u64(o, "dropped", f->drops);
	}
	json_out_end(o);
}

static int print_json(const struct scan *s, const char *netns, FILE *f,
		      struct err *e)
{
	struct json_out *o = json_out_new();
	_cleanup_free_ char *text = NULL;
	size_t i;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "netns", netns);
	json_out_arr(o, "interfaces");
	for (i = 0; i < s->n_links; i++) {
		const struct scan_link *l = &s->link[i], *tap = joined_tap(s, l);

		if (l->arphrd == ARPHRD_LOOPBACK || joined_is_tap(l))
			continue;
		json_out_obj(o, NULL);
		json_out_str(o, "state", joined_state(s, l));
		json_device(o, "device", l);
		if (tap)
			json_device(o, "tap", tap);
		if (tap || joined_filter(s, l->ifindex)) {
			json_path(o, "toGuest", s, l, tap);
			json_path(o, "toNetwork", s, tap, l);
		}
		json_out_end(o);
	}
	json_out_end(o);
	rc = json_out_text(o, true, &text, e);
	json_out_free(o);
	if (!rc)
		fprintf(f, "%s\n", text);
	return rc;
}

/**
 * show_print() - print how the interfaces of a namespace are joined
 * @netns: what to call the namespace
 * @json:  for programs instead of people
 *
 * Return: 0 or -ENOMEM
 */
int show_print(const struct scan *s, const char *netns, bool json, FILE *f,
	       struct err *e)
{
	if (json)
		return print_json(s, netns, f, e);
	print_text(s, netns, f);
	return 0;
}
