// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What can be wrong on the host's side of a pod's network: the other end of its
 * veth, the bridge, the way back, gateways, forwarding, duplicates. Checks of one end of a veth are made where that end is in the caller's
 * namespace; a network whose other side is elsewhere (macvlan) is not judged.
 * Every check looks at the collected state alone.
 */
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "netplug/check.h"

static size_t ip_len(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

/* As a route to it is written. */
static unsigned int ip_bits(uint8_t family)
{
	return family == AF_INET6 ? 128 : 32;
}

static const char *ip_cmd(uint8_t family)
{
	return family == AF_INET6 ? "ip -6" : "ip";
}

static const struct scan_addr *host_addr(const struct check_state *s, uint8_t family,
					 const uint8_t *ip)
{
	size_t i;

	for (i = 0; i < s->host.scan->n_addrs; i++)
		if (s->host.scan->addr[i].family == family &&
		    !memcmp(s->host.scan->addr[i].ip, ip, ip_len(family)))
			return &s->host.scan->addr[i];
	return NULL;
}

/* An address of a host's interface in the subnet of one of the pod's. */
static const struct scan_addr *near_addr(const struct check_state *s, uint32_t ifindex,
					 const struct scan_addr *pod)
{
	size_t i;

	for (i = 0; i < s->host.scan->n_addrs; i++) {
		const struct scan_addr *a = &s->host.scan->addr[i];

		if (a->family == pod->family && (!ifindex || a->ifindex == ifindex) &&
		    check_in_subnet(a->ip, pod->ip, pod->prefix_len) &&
		    a->prefix_len < ip_bits(a->family))
			return a;
	}
	return NULL;
}

static void peer_down(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->peer || p->peer->flags & IFF_UP)
			continue;
		check_found(f, p->link->name, "the other end of the pod's veth, %s, is down", p->peer->name);
		check_mend(f, "ip link set dev %s up", check_word(p->peer->name).s);
	}
}

static void peer_mtu(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->peer || p->peer->mtu >= p->link->mtu)
			continue;
		check_found(f, p->link->name, "the other end, %s, has an MTU of %u, the pod's %u: larger packets of the pod are lost without a word",
			    p->peer->name, p->peer->mtu, p->link->mtu);
		check_mend(f, "ip link set dev %s mtu %u", check_word(p->peer->name).s, p->link->mtu);
	}
}

static void bridge_down(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->bridge || p->bridge->flags & IFF_UP)
			continue;
		check_found(f, p->link->name, "the bridge %s of the pod is down", p->bridge->name);
		check_mend(f, "ip link set dev %s up", check_word(p->bridge->name).s);
	}
}

static void bridge_mtu(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		if (!p->bridge || p->bridge->mtu >= p->link->mtu)
			continue;
		check_found(f, p->link->name, "the bridge %s has an MTU of %u, the pod's interface %u: larger packets from the host's side are cut or lost",
			    p->bridge->name, p->bridge->mtu, p->link->mtu);
		check_mend(f, "ip link set dev %s mtu %u", check_word(p->bridge->name).s,
			   p->link->mtu);
	}
}

static void port_state(const struct check_state *s, struct check_findings *f)
{
	static const char *const names[] = { "disabled", "listening", "learning", "forwarding",
					     "blocking" };

	CHECK_EACH_PORT(s) {
		uint8_t state = p->bridge ? check_link(&s->host, p->peer->ifindex)->port_state :
					    BR_STATE_FORWARDING;

		/* A port whose device is not up yet is disabled for the while. */
		if (state == BR_STATE_FORWARDING || !(p->bridge->flags & IFF_UP) ||
		    !(p->peer->flags & IFF_RUNNING))
			continue;
		check_found(f, p->link->name, "the bridge port %s is %s: the bridge %s carries nothing for the pod",
			    p->peer->name, state < ARRAY_LEN(names) ? names[state] : "not forwarding",
			    p->bridge->name);
		check_mend(f, "bridge link set dev %s state %d", check_word(p->peer->name).s,
			   BR_STATE_FORWARDING);
	}
}

static void port_vlan(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		uint16_t vid;

		if (!p->bridge || !check_link(&s->host, p->bridge->ifindex)->vlan_aware ||
		    check_link(&s->host, p->peer->ifindex)->pvid)
			continue;
		vid = check_link(&s->host, p->bridge->ifindex)->pvid;
		check_found(f, p->link->name, "the bridge %s filters by VLAN, and its port %s has none for untagged frames: they are dropped",
			    p->bridge->name, p->peer->name);
		check_mend(f, "bridge vlan add dev %s vid %u pvid untagged",
			   check_word(p->peer->name).s, vid ? vid : 1);
	}
}

/* A bridge that has an address in the subnet of the pod's. */
static const struct scan_link *lost_bridge(const struct check_state *s, const struct scan_addr *a)
{
	const struct scan_addr *near = near_addr(s, 0, a);
	const struct scan_link *l = near ? scan_link_at(s->host.scan, near->ifindex) : NULL;

	return l && !strcmp(l->kind, "bridge") ? l : NULL;
}

static void peer_alone(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_WAY(s) {
		const struct scan_link *peer = w->port->peer, *br = lost_bridge(s, w->addr);

		if (w->port->bridge || w->oif == peer->ifindex || !br ||
		    check_link(&s->host, peer->ifindex)->master)
			continue;
		check_found(f, w->port->link->name, "the other end, %s, is in no bridge, although the pod's network is that of %s",
			    peer->name, br->name);
		check_mend(f, "ip link set dev %s master %s", check_word(peer->name).s,
			   check_word(br->name).s);
		return;
	}
}

/* Whether the host's stack takes part in the network of a port. */
static bool host_is_there(const struct check_state *s, const struct check_way *w)
{
	return !w->port->bridge || near_addr(s, w->port->outer->ifindex, w->addr);
}

static bool lost(const struct check_state *s, const struct check_way *w)
{
	return w->oif != w->port->outer->ifindex && host_is_there(s, w) &&
	       !host_addr(s, w->addr->family, w->addr->ip) &&
	       w->port->outer->flags & IFF_UP && w->port->peer->flags & IFF_UP &&
	       (w->port->bridge || !lost_bridge(s, w->addr));
}

static void way_back(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_WAY(s) {
		const struct scan_link *by = scan_link_at(s->host.scan, w->oif);
		char ip[48];

		if (!lost(s, w))
			continue;
		scan_ip_text(w->addr->family, w->addr->ip, ip);
		check_found(f, w->port->link->name, "the host sends to the pod's address %s by %s, not by %s: answers do not come back",
			    ip, by ? by->name : "no route", w->port->outer->name);
		check_mend(f, "%s route replace %s/%u dev %s", ip_cmd(w->addr->family), ip,
			   ip_bits(w->addr->family), check_word(w->port->outer->name).s);
	}
}

static void rp_filter(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_WAY(s) {
		uint32_t own = check_link(&s->host, w->port->outer->ifindex)->rp_filter;
		const struct check_word name = check_word(w->port->outer->name);

		if (w->addr->family != AF_INET || !lost(s, w) ||
		    (own > s->rp_filter ? own : s->rp_filter) != 1)
			continue;
		check_found(f, w->port->link->name, "the host's strict reverse path filter on %s drops what the pod sends, since the way back is another one",
			    w->port->outer->name);
		check_mend(f, "sysctl -w net/ipv4/conf/%s/rp_filter=2", name.s);
	}
}

/* A default route of the pod by this interface, or NULL. */
static const struct scan_route *default_of(const struct check_state *s, uint32_t oif,
					   uint8_t family)
{
	const struct scan *pod = s->pod.scan;
	size_t i;

	for (i = 0; i < pod->n_routes; i++)
		if (pod->route[i].family == family && !pod->route[i].dst_len &&
		    pod->route[i].has_gateway && pod->route[i].oif == oif)
			return &pod->route[i];
	return NULL;
}

static bool proxied(const struct check_state *s, const struct check_way *w)
{
	const struct check_link *l = check_link(&s->host, w->port->outer->ifindex);

	return w->addr->family == AF_INET ? l->proxy_arp : l->proxy_ndp;
}

/**
 * check_routes_here() - whether this host is the pod's router for an address of it
 */
bool check_routes_here(const struct check_state *s, const struct check_way *w)
{
	const struct scan_route *r = default_of(s, w->port->link->ifindex, w->addr->family);

	return r && (host_addr(s, r->family, r->gateway) || proxied(s, w));
}

static void forwarding(const struct check_state *s, struct check_findings *f, uint8_t family,
		       uint32_t on, const char *key)
{
	CHECK_EACH_WAY(s) {
		if (on || w->addr->family != family || !check_routes_here(s, w))
			continue;
		check_found(f, w->port->link->name, "the host is the pod's gateway and forwards no IPv%d: the pod reaches the host and nothing else",
			    family == AF_INET ? 4 : 6);
		check_mend(f, "sysctl -w %s=1", key);
		return;
	}
}

static void ip_forward(const struct check_state *s, struct check_findings *f)
{
	forwarding(s, f, AF_INET, s->ip_forward, "net.ipv4.ip_forward");
}

static void ip6_forward(const struct check_state *s, struct check_findings *f)
{
	forwarding(s, f, AF_INET6, s->ip6_forward, "net.ipv6.conf.all.forwarding");
}

/* Whether a bridge leads to other machines, so that the gateway may be there. */
static bool has_uplink(const struct check_state *s, const struct scan_link *bridge)
{
	size_t i;

	for (i = 0; bridge && i < s->host.scan->n_links; i++)
		if (check_link(&s->host, s->host.scan->link[i].ifindex)->master == bridge->ifindex &&
		    strcmp(s->host.scan->link[i].kind, "veth"))
			return true;
	return false;
}

static void gateway_gone(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_WAY(s) {
		const struct scan_route *r = default_of(s, w->port->link->ifindex, w->addr->family);
		char gw[48];

		if (!r || host_addr(s, r->family, r->gateway) || proxied(s, w) ||
		    has_uplink(s, w->port->bridge) || (!w->port->bridge && lost_bridge(s, w->addr)) ||
		    !check_in_subnet(r->gateway, w->addr->ip, w->addr->prefix_len) ||
		    (r->family == AF_INET6 && check_link(&s->host, w->port->outer->ifindex)->ipv6_off))
			continue;
		scan_ip_text(r->family, r->gateway, gw);
		check_found(f, w->port->link->name, "nobody has the address %s of the pod's gateway: %s has lost it",
			    gw, w->port->outer->name);
		check_mend(f, "ip addr add %s/%u dev %s", gw, w->addr->prefix_len,
			   check_word(w->port->outer->name).s);
		if (r->family == AF_INET6)
			check_mend(f, " nodad");
	}
}

static bool has_default(const struct check_state *s, uint8_t family)
{
	size_t i;

	for (i = 0; i < s->pod.scan->n_routes; i++)
		if (s->pod.scan->route[i].family == family && !s->pod.scan->route[i].dst_len &&
		    s->pod.scan->route[i].type == RTN_UNICAST)
			return true;
	return false;
}

static void no_default_route(const struct check_state *s, struct check_findings *f)
{
	bool said[2] = { false, false };

	CHECK_EACH_WAY(s) {
		const struct scan_addr *gw = near_addr(s, w->port->outer->ifindex, w->addr);
		bool *once = &said[w->addr->family == AF_INET6];
		char ip[48];

		if (*once || !gw || has_default(s, w->addr->family) ||
		    !(w->port->link->flags & IFF_UP))
			continue;
		*once = true;
		scan_ip_text(gw->family, gw->ip, ip);
		check_found(f, w->port->link->name, "the pod has no IPv%d default route, although %s on its network could be its gateway",
			    gw->family == AF_INET ? 4 : 6, ip);
		check_mend(f, "%s%s route add default via %s dev %s", s->in, ip_cmd(gw->family), ip,
			   check_word(w->port->link->name).s);
	}
}

static void address_duplicate(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_WAY(s) {
		const struct scan_addr *a = host_addr(s, w->addr->family, w->addr->ip);
		const struct scan_link *l = a ? scan_link_at(s->host.scan, a->ifindex) : NULL;
		char ip[48];

		if (!l)
			continue;
		scan_ip_text(a->family, a->ip, ip);
		check_found(f, w->port->link->name, "the host has the pod's address %s itself, on %s: it answers in the pod's place",
			    ip, l->name);
		check_mend(f, "ip addr del %s/%u dev %s", ip, a->prefix_len, check_word(l->name).s);
	}
}

static void mac_duplicate(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	CHECK_EACH_PORT(s)
		for (i = 0; p->peer && i < s->host.scan->n_links; i++) {
			const struct scan_link *l = &s->host.scan->link[i];
			const uint8_t *m = l->mac;

			if (l->mac_len != 6 || p->link->mac_len != 6 || memcmp(m, p->link->mac, 6))
				continue;
			check_found(f, p->link->name, "the host's interface %s has the pod's MAC: frames for the pod end there", l->name);
			check_mend(f, "ip link set dev %s address 02:%02x:%02x:%02x:%02x:%02x",
				   check_word(l->name).s, m[1] ^ 0x70, m[2], m[3], m[4], m[5] ^ 0x01);
		}
}

static void neighbours(const struct check_state *s, struct check_findings *f, bool permanent,
		       const char *text)
{
	size_t i;

	CHECK_EACH_WAY(s)
		for (i = 0; i < s->host.scan->n_neighs; i++) {
			const struct scan_neigh *n = &s->host.scan->neigh[i];
			const struct scan_link *l = scan_link_at(s->host.scan, n->ifindex);
			char ip[48];

			if (n->family != w->addr->family || n->proxy || !l ||
			    !(n->state & NUD_PERMANENT) == permanent ||
			    memcmp(n->ip, w->addr->ip, ip_len(n->family)) ||
			    !memcmp(n->mac, w->port->link->mac, 6))
				continue;
			scan_ip_text(n->family, n->ip, ip);
			check_found(f, w->port->link->name, "the host knows another MAC than the pod's for %s on %s: %s",
				    ip, l->name, text);
			check_mend(f, "ip neigh del %s dev %s", ip, check_word(l->name).s);
		}
}

static void neighbour_wrong(const struct check_state *s, struct check_findings *f)
{
	neighbours(s, f, true, "a permanent entry says so");
}

static void address_taken(const struct check_state *s, struct check_findings *f)
{
	neighbours(s, f, false, "somebody else answers for the address, or had it before the pod");
}

static void mac_elsewhere(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		const struct scan_link *at = p->fdb_at ? scan_link_at(s->host.scan, p->fdb_at) : NULL;
		const uint8_t *m = p->link->mac;

		if (!at)
			continue;
		check_found(f, p->link->name, "the bridge %s takes the pod's MAC to be behind port %s, not %s: another interface uses it",
			    p->bridge->name, at->name, p->peer->name);
		check_mend(f, "bridge fdb del %02x:%02x:%02x:%02x:%02x:%02x dev %s master", m[0], m[1],
			   m[2], m[3], m[4], m[5], check_word(at->name).s);
	}
}

static void host_ipv6_off(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_WAY(s) {
		const struct scan_link *l = w->port->outer;

		if (w->addr->family != AF_INET6 || !check_link(&s->host, l->ifindex)->ipv6_off)
			continue;
		check_found(f, w->port->link->name, "the pod has IPv6 addresses, and IPv6 is switched off on the host's %s", l->name);
		check_mend(f, "sysctl -w net/ipv6/conf/%s/disable_ipv6=0", check_word(l->name).s);
		return;
	}
}

static void offload_one(struct check_findings *f, const char *link, const char *in,
			const struct scan_link *l, const struct check_link *more)
{
	const uint32_t both = PODVM__LINK_STATE__FEATURE__TX_CSUM | PODVM__LINK_STATE__FEATURE__TSO;

	if (strcmp(l->kind, "veth") || (more->features & both) == both)
		return;
	check_found(f, link, "checksum or segmentation offload is off on %s: every packet is cut and summed by the processor", l->name);
	check_mend(f, "%sethtool -K %s tx on tso on", in, check_word(l->name).s);
}

static void offload_off(const struct check_state *s, struct check_findings *f)
{
	CHECK_EACH_PORT(s) {
		offload_one(f, p->link->name, s->in, p->link, check_link(&s->pod, p->link->ifindex));
		if (p->peer)
			offload_one(f, p->link->name, "", p->peer,
				    check_link(&s->host, p->peer->ifindex));
	}
}

static void dad_failed(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; i < s->pod.scan->n_addrs; i++) {
		const struct scan_addr *a = &s->pod.scan->addr[i];
		const struct scan_link *l = scan_link_at(s->pod.scan, a->ifindex);
		char ip[48];

		if (!(a->flags & IFA_F_DADFAILED) || !l)
			continue;
		scan_ip_text(a->family, a->ip, ip);
		check_found(f, l->name, "the address %s failed duplicate address detection and is not used: somebody else on the network had it", ip);
		check_mend(f, "%sip addr del %s/%u dev %s && %sip addr add %s/%u dev %s nodad", s->in, ip,
			   a->prefix_len, check_word(l->name).s, s->in, ip, a->prefix_len,
			   check_word(l->name).s);
	}
}

const struct check_rule check_rules_host[] = {
	{ "peer-down", CHECK_ERROR, "the host's end of the veth is down", peer_down },
	{ "peer-mtu", CHECK_ERROR, "the host's end has a smaller MTU", peer_mtu },
	{ "peer-alone", CHECK_ERROR, "the host's end is not in its bridge", peer_alone },
	{ "bridge-down", CHECK_ERROR, "the bridge is down", bridge_down },
	{ "bridge-mtu", CHECK_WARNING, "the bridge has a smaller MTU", bridge_mtu },
	{ "port-state", CHECK_ERROR, "the bridge port does not forward", port_state },
	{ "port-vlan", CHECK_ERROR, "the bridge port has no VLAN for the pod", port_vlan },
	{ "way-back", CHECK_ERROR, "the host's route to the pod leads elsewhere", way_back },
	{ "rp-filter", CHECK_WARNING, "the reverse path filter drops what the pod sends", rp_filter },
	{ "ip-forward", CHECK_ERROR, "the host forwards no IPv4", ip_forward },
	{ "ip6-forward", CHECK_ERROR, "the host forwards no IPv6", ip6_forward },
	{ "gateway-gone", CHECK_ERROR, "nobody has the gateway's address", gateway_gone },
	{ "no-default-route", CHECK_WARNING, "the pod has no default route", no_default_route },
	{ "address-duplicate", CHECK_ERROR, "the host has an address of the pod", address_duplicate },
	{ "mac-duplicate", CHECK_ERROR, "the host has a MAC of the pod", mac_duplicate },
	{ "neighbour-wrong", CHECK_ERROR, "a permanent neighbour entry is wrong", neighbour_wrong },
	{ "address-taken", CHECK_WARNING, "another MAC answers for the pod's address", address_taken },
	{ "mac-elsewhere", CHECK_ERROR, "the bridge has the pod's MAC at another port", mac_elsewhere },
	{ "host-ipv6-off", CHECK_ERROR, "IPv6 is switched off on the host's side", host_ipv6_off },
	{ "offload-off", CHECK_WARNING, "checksum or segmentation offload is off", offload_off },
	{ "dad-failed", CHECK_ERROR, "an address of the pod was a duplicate", dad_failed },
};
const size_t check_n_rules_host = ARRAY_LEN(check_rules_host);
