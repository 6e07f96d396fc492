// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What can be wrong between a pod's interface and its tap: the devices, the two
 * redirects between them, queues and disciplines, and what belongs to others.
 * Every check looks at the collected state alone.
 */
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "netplug/check.h"
#include "netplug/joined.h"

/* SCAN_ACT_COOKIE as tc(8) wants it. */
#define COOKIE "706f64766d2d6e6574706c7567"

static void lo_down(const struct check_state *s, struct check_findings *f)
{
	const struct scan *pod = s->pod.scan;
	size_t i;

	for (i = 0; i < pod->n_links; i++) {
		if (pod->link[i].arphrd != ARPHRD_LOOPBACK || pod->link[i].flags & IFF_UP)
			continue;
		check_found(f, pod->link[i].name, "the loopback of the pod's namespace is down: what engines dial there (port-forward, DNS stub) cannot be reached");
		check_mend(f, "%sip link set dev lo up", s->in);
	}
}

static void no_interface(const struct check_state *s, struct check_findings *f)
{
	if (s->n_ports || !*s->t->pod)
		return;
	check_found(f, "", "the pod's namespace has no interface beside the loopback: its CNI plugin has not run, or has been undone; let the engine make the pod anew");
	check_mend(f, "podvm delete --force %s", check_word(*s->container ? s->container : s->t->pod).s);
}

static void link_down(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (p->link->flags & IFF_UP)
			continue;
		check_found(f, p->link->name, "the pod's interface is down: nothing gets through, and its routes have gone");
		check_mend(f, "%sip link set dev %s up", s->in, check_word(p->link->name).s);
	}
}

static bool any_joined(const struct check_state *s)
{
	CHECK_EACH_PORT(s)
		if (p->tap)
			return true;
	return *s->t->pod;
}

static void not_joined(const struct check_state *s, struct check_findings *f)
{
	if (!any_joined(s))
		return;
	CHECK_EACH_PORT(s) {
		if (p->tap)
			continue;
		check_found(f, p->link->name, "the interface has no tap beside it, so the guest does not have it: it appeared later, or the machine has ended");
		if (*s->t->pod)
			check_mend(f, "podvm delete --force %s",
				   check_word(*s->container ? s->container : s->t->pod).s);
		else
			check_mend(f, "podvm-netplug attach %s", s->name);
	}
}

static void tap_down(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->tap || p->tap->flags & IFF_UP)
			continue;
		check_found(f, p->link->name, "its tap %s is down: what is redirected to it is lost", p->tap->name);
		check_mend(f, "%sip link set dev %s up", s->in, check_word(p->tap->name).s);
	}
}

static void tap_no_machine(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		const struct check_word link = check_word(p->link->name);
		const struct scan_filter *flt = joined_filter(s->pod.scan, p->link->ifindex);

		if (!p->tap || joined_is_macvtap(p->tap) || !(p->tap->flags & IFF_UP) ||
		    p->tap->flags & IFF_RUNNING)
			continue;
		check_found(f, p->link->name, "its tap %s has no carrier: no machine holds it, and what is sent to it is lost", p->tap->name);
		check_mend(f, "%sip link del dev %s", s->in, check_word(p->tap->name).s);
		if (flt)
			check_mend(f, " && %stc filter del dev %s ingress pref %u", s->in, link.s,
				   flt->pref);
	}
}

static void tap_mtu(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->tap || p->tap->mtu >= p->link->mtu)
			continue;
		check_found(f, p->link->name, "its tap %s has an MTU of %u, the interface %u: larger packets to the guest are lost without a word",
			    p->tap->name, p->tap->mtu, p->link->mtu);
		check_mend(f, "%sip link set dev %s mtu %u", s->in, check_word(p->tap->name).s,
			   p->link->mtu);
	}
}

static const char *root_qdisc(const struct scan *s, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < s->n_qdiscs; i++)
		if (s->qdisc[i].ifindex == ifindex && s->qdisc[i].parent == TC_H_ROOT)
			return s->qdisc[i].kind;
	return "noqueue";
}

static void tap_qdisc(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		const char *kind = p->tap && !joined_is_macvtap(p->tap) ?
				   root_qdisc(s->pod.scan, p->tap->ifindex) : "noqueue";

		if (!strcmp(kind, "noqueue"))
			continue;
		check_found(f, p->link->name, "its tap %s has the queueing discipline %s: one that looks at time stamps (fq) drops what is redirected, others queue twice",
			    p->tap->name, kind);
		check_mend(f, "%stc qdisc replace dev %s root noqueue", s->in,
			   check_word(p->tap->name).s);
	}
}

static void link_qdisc(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		const char *kind = root_qdisc(s->pod.scan, p->link->ifindex);

		if (!p->tap || joined_is_macvtap(p->tap) || (strcmp(kind, "fq") && strcmp(kind, "etf") && strcmp(kind, "taprio") &&
				strcmp(kind, "netem")))
			continue;
		check_found(f, p->link->name, "the queueing discipline %s holds back or drops what the guest sends: redirected packets have no time stamps to send by", kind);
		check_mend(f, "%stc qdisc del dev %s root", s->in, check_word(p->link->name).s);
	}
}

static void tap_queue(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->tap || check_link(&s->pod, p->tap->ifindex)->queue_len)
			continue;
		check_found(f, p->link->name, "its tap %s has a queue length of 0, which is the room for packets to the guest: all are dropped",
			    p->tap->name);
		check_mend(f, "%sip link set dev %s txqueuelen 1000", s->in,
			   check_word(p->tap->name).s);
	}
}

static void tap_vnet(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->tap || !check_link(&s->pod, p->tap->ifindex)->no_vnet_hdr)
			continue;
		check_found(f, p->link->name, "its tap %s carries no virtio headers: checksums and segmentation cannot be left to the other side", p->tap->name);
		check_mend(f, "podvm-netplug detach %s && podvm-netplug attach %s", s->name, s->name);
	}
}

static void tap_orphan(const struct check_state *s, struct check_findings *f)
{
	const struct scan *pod = s->pod.scan;
	size_t i;

	for (i = 0; i < pod->n_links; i++) {
		const struct scan_link *l = &pod->link[i];
		const char *of = l->alias + strlen(SCAN_TAP_ALIAS);

		if (!joined_is_tap(l) || scan_link_named(pod, of))
			continue;
		check_found(f, l->name, "the tap belongs to interface %s, which is not there any more", of);
		check_mend(f, "%sip link del dev %s", s->in, check_word(l->name).s);
	}
}

static void put_filter(const struct check_state *s, struct check_findings *f,
		       const struct scan_link *from, const struct scan_link *to, unsigned int pref)
{
	const struct check_word dev = check_word(from->name);

	if (!joined_hook(s->pod.scan, from->ifindex))
		check_mend(f, "%stc qdisc add dev %s ingress && ", s->in, dev.s);
	check_mend(f, "%stc filter add dev %s ingress pref %u protocol all u32 match u32 0 0 action mirred egress redirect dev %s cookie " COOKIE,
		   s->in, dev.s, pref, check_word(to->name).s);
}

static void filter_missing(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->tap || joined_is_macvtap(p->tap) || joined_filter(s->pod.scan, p->link->ifindex))
			continue;
		check_found(f, p->link->name, "its ingress filter is gone: what arrives is not redirected to %s, and the guest hears nothing", p->tap->name);
		put_filter(s, f, p->link, p->tap, 1);
	}
}

static void filter_missing_back(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->tap || joined_is_macvtap(p->tap) || joined_filter(s->pod.scan, p->tap->ifindex))
			continue;
		check_found(f, p->link->name, "the ingress filter of its tap %s is gone: what the guest sends does not get out", p->tap->name);
		put_filter(s, f, p->tap, p->link, 1);
	}
}

static void one_elsewhere(const struct check_state *s, struct check_findings *f, const char *link,
			  const struct scan_link *from, const struct scan_link *to)
{
	const struct scan_filter *flt = joined_filter(s->pod.scan, from->ifindex);
	const struct scan_link *at = flt ? scan_link_at(s->pod.scan, flt->to) : NULL;

	if (!flt || flt->to == to->ifindex)
		return;
	check_found(f, link, "the filter on %s redirects to %s, not to %s", from->name,
		    at ? at->name : "a device that is gone", to->name);
	check_mend(f, "%stc filter del dev %s ingress pref %u && ", s->in,
		   check_word(from->name).s, flt->pref);
	put_filter(s, f, from, to, flt->pref);
}

static void filter_elsewhere(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->tap || joined_is_macvtap(p->tap))
			continue;
		one_elsewhere(s, f, p->link->name, p->link, p->tap);
		one_elsewhere(s, f, p->link->name, p->tap, p->link);
	}
}

/* A filter of others that comes behind ours never sees a packet. */
static void one_foreign(const struct check_state *s, struct check_findings *f, const char *link,
			const struct scan_link *at)
{
	const struct scan_filter *ours = joined_filter(s->pod.scan, at->ifindex), *flt;
	const struct scan *pod = s->pod.scan;
	uint32_t last = 0;
	size_t i;

	for (i = 0; i < pod->n_filters && ours; i++) {
		flt = &pod->filter[i];
		/* A u32 filter comes with its tables: one finding for each preference. */
		if (flt->ifindex != at->ifindex || flt->pref <= ours->pref || flt->pref == last)
			continue;
		last = flt->pref;
		check_found(f, link, "a filter of somebody else (%s, pref %u) is on %s behind the one that redirects everything: it never sees a packet",
			    flt->kind, flt->pref, at->name);
		check_mend(f, "%stc filter del dev %s ingress pref %u", s->in,
			   check_word(at->name).s, flt->pref);
	}
}

static void filter_foreign(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		one_foreign(s, f, p->link->name, p->link);
		if (p->tap)
			one_foreign(s, f, p->link->name, p->tap);
	}
}

static void drops(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		/* One in a hundred is more than a burst at the start. */
		if (!p->tap || p->tap->tx_dropped * 100 <= p->tap->tx_packets ||
		    p->tap->tx_dropped < 100)
			continue;
		check_found(f, p->link->name, "its tap %s has dropped %llu packets to the guest and delivered %llu: the guest is slower than its senders; look whether it goes on",
			    p->tap->name, (unsigned long long)p->tap->tx_dropped,
			    (unsigned long long)p->tap->tx_packets);
		check_mend(f, "podvm-netplug show %s --watch 1", s->name);
	}
}

const struct check_rule check_rules_tap[] = {
	{ "lo-down", CHECK_WARNING, "the loopback of the pod's namespace is down", lo_down },
	{ "no-interface", CHECK_ERROR, "the pod has no network at all", no_interface },
	{ "link-down", CHECK_ERROR, "an interface of the pod is down", link_down },
	{ "not-joined", CHECK_ERROR, "an interface of the pod has no tap", not_joined },
	{ "tap-down", CHECK_ERROR, "a tap is down", tap_down },
	{ "tap-no-machine", CHECK_ERROR, "a tap that no machine holds", tap_no_machine },
	{ "tap-mtu", CHECK_ERROR, "a tap with a smaller MTU than its interface", tap_mtu },
	{ "tap-qdisc", CHECK_ERROR, "a tap with a queueing discipline", tap_qdisc },
	{ "tap-queue", CHECK_ERROR, "a tap with a queue length of 0", tap_queue },
	{ "tap-vnet-hdr", CHECK_WARNING, "a tap without virtio headers", tap_vnet },
	{ "tap-orphan", CHECK_WARNING, "a tap whose interface is gone", tap_orphan },
	{ "link-qdisc", CHECK_ERROR, "a discipline that drops redirected packets", link_qdisc },
	{ "filter-missing", CHECK_ERROR, "nothing redirects to the guest", filter_missing },
	{ "filter-missing-back", CHECK_ERROR, "nothing redirects from the guest",
	  filter_missing_back },
	{ "filter-elsewhere", CHECK_ERROR, "a redirect leads to another device",
	  filter_elsewhere },
	{ "filter-foreign", CHECK_WARNING, "a filter of others that never sees a packet",
	  filter_foreign },
	{ "drops", CHECK_NOTE, "a tap drops much", drops },
};
const size_t check_n_rules_tap = ARRAY_LEN(check_rules_tap);
