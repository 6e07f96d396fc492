// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Decides, from what scan.c read and nothing else, what becomes of each
 * interface of a pod's network namespace: the same namespace gives the same
 * plan. Ethernet interfaces whose other side is outside of the namespace are joined,
 * each by the model that plan-model.c chooses: veth; macvlan, in any mode; vlan; ipvlan
 * in the modes L2 and L3, whose lower interface knows the guest by its addresses, which
 * stay on the host's side. In L3 mode it asks nobody for link addresses (IFF_NOARP), nor
 * does the guest then; what the guest sends loses its Ethernet header on the way out, so
 * any address of one destination will do. In L3S mode what arrives is handed to the
 * namespace's IP input and passes no hook from which it could be redirected
 * (drivers/net/ipvlan/ipvlan_l3s.c): refused. The loopback interface and the fallback devices that tunnel
 * modules put into every namespace are left alone. Any other interface is refused by
 * name: a pod that silently lacks one of its networks is worse than one that does not
 * start.
 *
 * An interface on top of another one of the same namespace is refused: what
 * arrives at the lower one goes to the guest before the upper one sees it. So are a tap, and two
 * interfaces of one MAC, which the guest could not tell apart.
 *
 * Refused as well: proxied neighbours, and addresses on lo.
 *
 * What the guest gets is put together in plan-network.c, plan-routes.c and
 * plan-rules.c.
 */
#include "netplug/plan.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/frame.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "netplug/netns.h"
#include "netplug/nl.h"

/* Longest frame of a tap: 65535 less the Ethernet header (tun.c, max_mtu). */
#define TAP_MTU_MAX 65521

/* Of a message to the agent, left for what it holds beside the network. */
#define NETWORK_SLACK_BYTES 65536

/* Devices that tunnel modules make in every namespace (fb_tunnels_only_for_init_net). */
static bool is_fallback(const struct scan_link *l)
{
	static const struct { const char *kind, *name; } fallback[] = {
		{ "ipip", "tunl0" }, { "sit", "sit0" }, { "ip6tnl", "ip6tnl0" },
		{ "gre", "gre0" }, { "gretap", "gretap0" }, { "erspan", "erspan0" },
		{ "ip6gre", "ip6gre0" }, { "vti", "ip_vti0" }, { "vti6", "ip6_vti0" },
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(fallback); i++)
		if (!strcmp(l->kind, fallback[i].kind) &&
		    !strcmp(l->name, fallback[i].name))
			return !(l->flags & IFF_UP);
	return false;
}

/* A name that no interface has; "tap" and the index is nearly always one. */
static void pick_tap(const struct scan *s, const struct netplug_plan *p,
		     struct plan_port *port)
{
	unsigned int n = port->ifindex;
	size_t i;

	for (;; n++) {
		bool used;

		snprintf(port->tap, sizeof(port->tap), "tap%u", n);
		used = scan_link_named(s, port->tap);
		for (i = 0; i < p->n_ports; i++)
			used |= !strcmp(p->port[i].tap, port->tap);
		if (!used)
			return;
	}
}

static int check_kind(const struct scan *s, const struct scan_link *l, struct err *e)
{
	static const char *const kinds[] = { "veth", "macvlan", "ipvlan", "vlan", "macvtap" };
	const struct scan_link *lower = l->lower_here ? scan_link_at(s, l->peer) : NULL;
	size_t i;

	if (!strcmp(l->kind, "netkit"))
		return err_set(e, EOPNOTSUPP, "interface %s: netkit has no link layer, and programs of its own in the place of tc's; let the CNI plugin make a veth (Cilium: bpf.datapathMode=veth)",
			       l->name);
	if (!strcmp(l->kind, "tun"))
		return err_set(e, EOPNOTSUPP, "interface %s: behind a tap is this namespace itself, which has the tap's addresses, so that a guest with the same would reach nobody; let the CNI chain make a veth, and podvm its tap, or use a macvtap",
			       l->name);
	for (i = 0; i < ARRAY_LEN(kinds) && strcmp(l->kind, kinds[i]); i++)
		;
	if (i == ARRAY_LEN(kinds))
		return err_set(e, EOPNOTSUPP, "interface %s: kind %s cannot be joined yet; veth, macvlan, ipvlan, vlan and macvtap can: use a CNI plugin that makes one (bridge, ptp, macvlan, ...), or remove the interface",
			       l->name, l->kind[0] ? l->kind : "none (a device of the host)");
	if (!strcmp(l->kind, "ipvlan") && l->mode != IPVLAN_MODE_L2 && l->mode != IPVLAN_MODE_L3)
		return err_set(e, EOPNOTSUPP, "interface %s: what arrives at an ipvlan in L3S mode goes to this namespace's own IP input, past every place from which the guest could get it; use mode l3 or l2",
			       l->name);
	if (lower && strcmp(l->kind, "veth"))
		return err_set(e, EOPNOTSUPP, "interface %s: it is on top of %s of the same namespace, whose packets go to the guest; make it in the guest, or remove it",
			       l->name, lower->name);
	return 0;
}

static int check_link(const struct scan *s, const struct scan_link *l, struct err *e)
{
	int rc = check_kind(s, l, e);

	if (rc < 0)
		return rc;
	if (!(l->flags & IFF_UP))
		return err_set(e, ENETDOWN, "interface %s: it is down, and the guest "
			       "would get it up; set it up or remove it", l->name);
	if (l->mac_len != 6)
		return err_set(e, EINVAL, "interface %s: its link address has %zu bytes, "
			       "not 6", l->name, l->mac_len);
	if (l->mtu > TAP_MTU_MAX)
		return err_set(e, EINVAL, "interface %s: MTU %u; a tap has at most %d: "
			       "set the MTU in the CNI configuration", l->name, l->mtu,
			       TAP_MTU_MAX);
	return 0;
}

/* The guest finds its network cards by their MAC. */
static int check_mac(const struct scan_link *l, const struct netplug_plan *p, struct err *e)
{
	size_t i;

	for (i = 0; i < p->n_ports; i++)
		if (!memcmp(p->port[i].mac, l->mac, sizeof(l->mac)))
			return err_set(e, EOPNOTSUPP, "interface %s: it has the MAC address of %s, by which the guest would tell them apart; give one of them another (ipvlan on the same interface has none of its own: use macvlan)",
				       l->name, p->port[i].name);
	return 0;
}

/**
 * plan_port_add() - decide how one interface is joined
 * @l:      of @s; no loopback
 * @wanted: of the models
 * @p:      gets the port
 *
 * Return: 0; as plan_make()
 */
int plan_port_add(const struct scan *s, const struct scan_link *l,
		  enum netplug_model wanted, struct netplug_plan *p, struct err *e)
{
	struct plan_port *port = &p->port[p->n_ports];
	int rc;

	if (p->n_ports == NETPLUG_PORTS_MAX)
		return err_set(e, E2BIG, "interface %s: more than %d interfaces in one "
			       "pod", l->name, NETPLUG_PORTS_MAX);
	rc = plan_kept(s, l, port, e);
	if (!rc)
		rc = plan_unjoined(s, l, e);
	if (!rc)
		plan_ready(l, port);
	if (rc >= 0)
		rc = check_link(s, l, e);
	if (!rc)
		rc = check_mac(l, p, e);
	if (!rc && !port->there)
		rc = plan_model(s, l, wanted, port, e);
	if (rc < 0)
		return rc;
	memcpy(port->name, l->name, sizeof(port->name));
	memcpy(port->kind, l->kind, sizeof(port->kind));
	memcpy(port->mac, l->mac, sizeof(port->mac));
	port->ifindex = l->ifindex;
	port->mtu = l->mtu;
	port->carrier = plan_carrier(l);
	if (!port->there)
		pick_tap(s, p, port);
	p->n_ports++;
	return 0;
}

static bool loopback_own(const struct scan_addr *a)
{
	static const uint8_t v4[4] = { 127, 0, 0, 1 };
	static const uint8_t v6[16] = { [15] = 1 };

	return a->family == AF_INET ?
	       a->prefix_len == 8 && !memcmp(a->ip, v4, sizeof(v4)) :
	       a->prefix_len == 128 && !memcmp(a->ip, v6, sizeof(v6));
}

/* Addresses and proxies that no port takes must not get lost. */
static int check_rest(const struct scan *s, const struct netplug_plan *p,
		      struct err *e)
{
	char ip[48];
	size_t i;
	int rc = 0;

	for (i = 0; i < s->n_addrs && rc >= 0; i++) {
		const struct scan_addr *a = &s->addr[i];
		const struct scan_link *l = scan_link_at(s, a->ifindex);

		if (plan_port_at(p, a->ifindex) || loopback_own(a))
			continue;
		/* A later plan has said so of the interface. */
		if (p->notes && l && l->arphrd != ARPHRD_LOOPBACK)
			continue;
		rc = err_set(e, EOPNOTSUPP, "interface %s: address %s/%u cannot be "
			     "given to the guest yet; remove it",
			     l ? l->name : "?", scan_ip_text(a->family, a->ip, ip),
			     a->prefix_len);
		rc = plan_noted(p, rc, e);
	}
	for (i = 0; i < s->n_neighs && rc >= 0; i++)
		if (s->neigh[i].proxy) {
			rc = err_set(e, EOPNOTSUPP, "neighbour proxy for %s cannot be "
				     "given to the guest yet; remove it",
				     scan_ip_text(s->neigh[i].family,
						  s->neigh[i].ip, ip));
			rc = plan_noted(p, rc, e);
		}
	return rc < 0 ? rc : 0;
}

/**
 * plan_port_at() - the port of an interface
 *
 * Return: borrowed from @p, or NULL if the interface is none
 */
const struct plan_port *plan_port_at(const struct netplug_plan *p,
				     uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < p->n_ports; i++)
		if (p->port[i].ifindex == ifindex)
			return &p->port[i];
	return NULL;
}

/**
 * plan_decide() - decide about what has no port yet, and what the guest gets
 * @wanted: how interfaces are to be joined
 * @p: gets it; may have ports of interfaces that are joined already
 *
 * Return: as plan_make()
 */
int plan_decide(const struct scan *s, enum netplug_model wanted, struct netplug_plan *p,
		struct err *e)
{
	size_t i, bytes;
	int rc;

	for (i = 0; i < s->n_links; i++) {
		const struct scan_link *l = &s->link[i];

		if (l->arphrd == ARPHRD_LOOPBACK || is_fallback(l) || plan_port_at(p, l->ifindex) ||
		    plan_is_kept(l))
			continue;
		rc = plan_noted(p, plan_port_add(s, l, wanted, p, e), e);
		if (rc < 0)
			return rc;
	}
	rc = check_rest(s, p, e);
	if (!rc)
		rc = plan_network(s, p, &p->network, e);
	if (rc < 0)
		return rc;
	bytes = podvm__network__get_packed_size(p->network);
	if (bytes > FRAME_MAX_BYTES - NETWORK_SLACK_BYTES)
		return err_set(e, E2BIG, "%zu addresses and %zu routes are more than a "
			       "guest can be told at once (%zu bytes, at most %u)",
			       s->n_addrs, s->n_routes, bytes,
			       FRAME_MAX_BYTES - NETWORK_SLACK_BYTES);
	return 0;
}

/**
 * plan_make() - decide what to do with a namespace; touches nothing
 * @s:   what is in it, borrowed
 * @o:   NULL: all defaults
 * @ret: owned by the caller, netplug_plan_free()
 *
 * Return: 0; -EOPNOTSUPP, -ENETDOWN, -EBUSY, -EEXIST, -EINVAL, -E2BIG with
 * the name of what cannot be joined; -ENOMEM
 */
int plan_make(const struct scan *s, const struct netplug_options *o,
	      struct netplug_plan **ret, struct err *e)
{
	struct netplug_plan *p = mem_new(struct netplug_plan);
	int rc;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	rc = plan_decide(s, o ? o->model : NETPLUG_AUTO, p, e);
	if (rc < 0) {
		netplug_plan_free(p);
		return rc;
	}
	*ret = p;
	return 0;
}

/**
 * plan_read() - read all of a network namespace that a plan needs
 * @netns_fd: the namespace, borrowed
 * @ret:      owned by the caller, scan_free(), also after a failure
 *
 * Return: 0 or minus errno
 */
int plan_read(int netns_fd, struct scan **ret, struct err *e)
{
	struct nl *nl = NULL;
	int rc = nl_open(netns_fd, &nl, e);

	if (!rc)
		rc = scan_read(nl, ret, e);
	if (!rc)
		rc = sysctl_read(netns_fd, *ret, e);
	nl_free(nl);
	return rc;
}

/**
 * netplug_plan() - read a pod's network namespace and decide how to join it to a VM
 * @netns_fd: the namespace, borrowed
 * @o:        what the caller chooses; NULL: all defaults
 * @ret:      owned by the caller, netplug_plan_free()
 *
 * Nothing is changed in the namespace.
 *
 * Return: 0; as plan_make(); minus errno
 * Context: the calling thread is in the namespace for the while of single system calls,
 * and while it reads sysctls
 */
int netplug_plan(int netns_fd, const struct netplug_options *o, struct netplug_plan **ret,
		 struct err *e)
{
	struct scan *s = NULL;
	int rc = plan_read(netns_fd, &s, e);

	if (!rc)
		rc = plan_make(s, o, ret, e);
	if (!rc)
		(*ret)->read_ms = clock_ms();
	scan_free(s);
	return rc;
}

/**
 * netplug_plan_free() - free a plan; NULL is fine
 */
void netplug_plan_free(struct netplug_plan *p)
{
	if (!p)
		return;
	if (p->network)
		podvm__network__free_unpacked(p->network, NULL);
	plan_notes_free(p->notes);
	free(p);
}

/**
 * netplug_plan_network() - what the agent configures in the guest
 *
 * Return: borrowed from @p
 */
const Podvm__Network *netplug_plan_network(const struct netplug_plan *p)
{
	return p->network;
}
