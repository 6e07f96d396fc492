// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads the counters on the path of one interface: of the devices and their queueing
 * disciplines, of the redirects, of the network card in the monitor, and of the
 * guest. What cannot be read is left as not there. The guest's names become text
 * for people: one with other letters is left out.
 */
#include <errno.h>
#include <linux/if.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "netplug/half.h"
#include "netplug/trace.h"

static int read_device(struct nl *nl, const struct hop *hop, struct scan *s,
		       struct trace_device *ret, struct err *e)
{
	size_t n = s->n_links, i;
	int rc = scan_link_get(nl, hop->ifindex, s, e);
	const struct scan_link *l;

	if (rc == -ENODEV)
		return 0;
	if (rc < 0 || s->n_links == n)
		return rc;
	l = &s->link[n];
	*ret = (struct trace_device){ .there = true, .up = l->flags & IFF_UP,
				      .carrier = l->flags & IFF_LOWER_UP, .rx = l->rx_packets,
				      .tx = l->tx_packets, .rx_dropped = l->rx_dropped,
				      .tx_dropped = l->tx_dropped };
	/* Of a tree of disciplines the root counts for all. */
	for (i = 0; i < s->n_qdiscs; i++)
		if (s->qdisc[i].ifindex == hop->ifindex && s->qdisc[i].parent == TC_H_ROOT)
			ret->qdisc += s->qdisc[i].drops;
	return 0;
}

static int read_filter(struct nl *nl, uint32_t from, uint32_t to, struct trace_filter *ret,
		       struct err *e)
{
	struct scan *s = mem_new(struct scan);
	size_t i;
	int rc;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	rc = scan_filters(nl, from, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), s, e);
	for (i = 0; i < s->n_filters && rc >= 0; i++)
		if (s->filter[i].ours)
			*ret = (struct trace_filter){ .there = true, .right = s->filter[i].to == to,
						      .packets = s->filter[i].packets,
						      .drops = s->filter[i].drops };
	scan_free(s);
	/* Without a hook, or a device, there is no filter. */
	return rc == -EINVAL || rc == -ENODEV || rc == -ENOENT ? 0 : rc;
}

static void read_machine(const struct target *t, const uint8_t mac[6], struct trace_machine *ret)
{
	Podvm__Pod__Response *rs;
	struct err ignored;
	char name[18];
	size_t i;

	if (t->sock < 0 || target_network(t, &rs, &ignored) < 0)
		return;
	snprintf(name, sizeof(name), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	for (i = 0; i < rs->network->n_devices; i++) {
		const Podvm__Pod__NetDevice *d = rs->network->devices[i];

		if (!strcmp(d->mac, name))
			*ret = (struct trace_machine){ .there = true, .kernel = d->kernel_queues,
						       .packets = d->requests, .broken = d->broken };
	}
	podvm__pod__response__free_unpacked(rs, NULL);
}

static bool good_name(const char *s)
{
	size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

	return len && !s[len] && len < TRACE_NAME_BYTES;
}

/**
 * trace_take_told() - take over what a guest told, as far as it is sane
 */
void trace_take_told(const Podvm__TraceTold *told, struct trace_counters *c)
{
	size_t i;

	for (i = 0; i < told->n_counters && c->n < TRACE_GUEST_COUNTERS; i++) {
		if (!good_name(told->counters[i]->name))
			continue;
		snprintf(c->name[c->n], TRACE_NAME_BYTES, "%s", told->counters[i]->name);
		c->value[c->n++] = told->counters[i]->value;
	}
}

static void read_guest(struct agent *a, const uint8_t mac[6], struct trace_counters *c)
{
	Podvm__Response *rs;
	struct err ignored;

	if (!a || half_ask(a, mac, NULL, &rs, &ignored) < 0)
		return;
	trace_take_told(rs->told, c);
	podvm__response__free_unpacked(rs, NULL);
}

static int read_devices(struct nl *nl, const struct hops *h, const char *port, bool host,
			struct trace_counters *c, struct err *e)
{
	struct scan *s = mem_new(struct scan);
	int side, rc;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	rc = scan_qdiscs(nl, s, e);
	for (side = host ? HOP_HOST : HOP_POD; side <= (host ? HOP_HOST : HOP_TAP) && !rc; side++) {
		const struct hop *hop = hops_at(h, port, (enum hop_side)side);

		if (hop)
			rc = read_device(nl, hop, s, &c->device[side], e);
	}
	scan_free(s);
	return rc;
}

/**
 * trace_count() - read the counters on the path of an interface
 * @pod, @host: sockets in the pod's namespace and in the caller's
 * @guest:      NULL: there is none to ask
 *
 * Return: 0 or minus errno
 */
int trace_count(struct nl *pod, struct nl *host, const struct hops *h, const char *port,
		const struct target *t, struct agent *guest, struct trace_counters *ret,
		struct err *e)
{
	const struct hop *p = hops_at(h, port, HOP_POD), *tap = hops_at(h, port, HOP_TAP);
	const struct hop *any = hops_at(h, port, HOP_GUEST);
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = read_devices(pod, h, port, false, ret, e);
	if (!rc && hops_at(h, port, HOP_HOST))
		rc = read_devices(host, h, port, true, ret, e);
	if (!rc && p)
		rc = read_filter(pod, p->ifindex, tap ? tap->ifindex : 0,
				 &ret->filter[TRACE_TO_GUEST], e);
	if (!rc && p && tap)
		rc = read_filter(pod, tap->ifindex, p->ifindex, &ret->filter[TRACE_FROM_GUEST], e);
	if (rc < 0)
		return rc;
	read_machine(t, any->mac, &ret->machine);
	read_guest(guest, any->mac, ret);
	return 0;
}
