// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Puts together what the guest gets: links, addresses, neighbours
 * here, routes in plan-routes.c.
 *
 * The guest's kernel does by itself what the host's did: it makes the connected ("proto
 * kernel") route of an address when the address is added. So these are left
 * out where they are what the guest's kernel will make. Where the connected
 * route of an address is not there (removed, or made in another way), the
 * address goes with IFA_F_NOPREFIXROUTE, and what there is goes as a route.
 *
 * Link-local IPv6 addresses go as all others, however they were made: the guest's
 * kernel generates none by itself. Only then it gets the interface's mode, for the
 * addresses that it makes of what a router announces. Where the interface has no link-local
 * address, or none of those that are made of a MAC, that mode is "none", which makes
 * the others of the MAC just so, but none that is link-local.
 * What a router announces is left to it: addresses, temporary ones too, and
 * routes; the guest asks for them as soon as it has its link-local address.
 *
 * Neighbours go if they are permanent, and the gateways of routes as what they are: known
 * once, to be asked again (NUD_STALE).
 *
 * An IPv6 address that has passed duplicate address detection in the pod's
 * namespace goes with IFA_F_NODAD: it is the same address on the same link
 * under the same MAC, and the guest must not wait a second for it again.
 *
 * Order: IPv4 addresses in the kernel's order (which of several is the primary
 * one follows from it), IPv6 addresses in reverse, since the kernel puts a new
 * one in front of the old.
 *
 * Sources: net/ipv4/fib_frontend.c (fib_add_ifaddr), net/ipv6/addrconf.c
 * (inet6_addr_add, addrconf_prefix_route), RFC 4291 appendix A.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "netplug/plan.h"

#ifndef IFAPROT_KERNEL_RA
#define IFAPROT_KERNEL_RA 2
#endif

/* txqueuelen of an interface that nobody has set: the guest's driver has the same. */
#define DEFAULT_QUEUE_LEN 1000

/* Flags of an address that can be asked for and mean the same in the guest. */
#define GIVEN_FLAGS (IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_NOPREFIXROUTE | \
		     IFA_F_MCAUTOJOIN | IFA_F_MANAGETEMPADDR)

/**
 * plan_set_bytes() - set a bytes field of a message
 * @len: 0 leaves it empty
 *
 * Return: false when memory is short
 */
bool plan_set_bytes(ProtobufCBinaryData *b, const void *data, size_t len)
{
	if (!len)
		return true;
	b->data = malloc(len);
	if (!b->data)
		return false;
	memcpy(b->data, data, len);
	b->len = len;
	return true;
}

/**
 * plan_append() - put a message behind a repeated field
 * @list: address of the field's array
 * @item: owned by the field afterwards; NULL passes through
 *
 * Return: @item; NULL when memory is short (an item is not owned then)
 */
void *plan_append(void *list, size_t *n, void *item)
{
	void ***at = list, **more;

	if (!item)
		return NULL;
	/* Doubles at the powers of two. */
	if (!(*n & (*n - 1))) {
		more = realloc(*at, (*n ? *n * 2 : 1) * sizeof(*more));
		if (!more) {
			free(item);
			return NULL;
		}
		*at = more;
	}
	(*at)[(*n)++] = item;
	return item;
}

static size_t ip_len(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static bool is_link_local(const struct scan_addr *a)
{
	return a->family == AF_INET6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* Whether the router that told the pod's kernel tells the guest's as well. */
static bool announced(const struct scan_addr *a)
{
	return a->proto == IFAPROT_KERNEL_RA ||
	       (a->family == AF_INET6 && a->flags & IFA_F_TEMPORARY);
}

static void mask_ip(uint8_t *ip, size_t len, unsigned int bits)
{
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned int keep = bits > i * 8 ? bits - (unsigned int)i * 8 : 0;

		if (keep < 8)
			ip[i] &= (uint8_t)(0xff << (8 - keep));
	}
}

static bool has_metrics(const struct scan_route *r)
{
	size_t i;

	for (i = 1; i <= RTAX_MAX && !r->metric[i]; i++)
		;
	return i <= RTAX_MAX;
}

/* Finds the connected route dst/len of an address, as the guest's kernel makes it. */
static bool take_connected(const struct scan *s, const struct scan_addr *a,
			   const uint8_t *of, uint8_t len, uint8_t *taken)
{
	bool v4 = a->family == AF_INET;
	uint8_t dst[16] = { 0 };
	size_t i;

	memcpy(dst, of, ip_len(a->family));
	mask_ip(dst, ip_len(a->family), len);
	for (i = 0; i < s->n_routes; i++) {
		const struct scan_route *r = &s->route[i];

		if (r->family != a->family || r->oif != a->ifindex ||
		    r->table != RT_TABLE_MAIN || r->protocol != RTPROT_KERNEL ||
		    r->type != RTN_UNICAST || r->dst_len != len ||
		    memcmp(r->dst, dst, sizeof(dst)) || r->has_gateway ||
		    (r->odd[0] && (!a->limited || strcmp(r->odd, "lifetime"))) ||
		    has_metrics(r) || r->tos || r->flags & RTNH_F_ONLINK ||
		    r->priority != (a->priority ? a->priority : v4 ? 0u : 256u) ||
		    r->scope != (v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE) ||
		    r->has_prefsrc != v4 || (v4 && memcmp(r->prefsrc, a->ip, 4)))
			continue;
		taken[i] = 1;
		return true;
	}
	return false;
}

/*
 * Marks the routes that come with an address as taken.
 * Return: whether the one of its prefix is among them, or it has none.
 */
static bool take_implied(const struct scan *s, const struct scan_addr *a,
			 uint8_t *taken)
{
	const uint8_t *of = a->ip;
	uint8_t first;

	if (a->family == AF_INET6) {
		if (a->has_peer)
			take_connected(s, a, a->peer, 128, taken);
	} else {
		of = a->has_peer ? a->peer : a->ip;
		first = of[0];
		mask_ip(&first, 1, a->prefix_len);
		if (a->flags & IFA_F_SECONDARY || !first ||
		    (a->prefix_len == 32 && !a->has_peer))
			return true;
	}
	if (a->flags & IFA_F_NOPREFIXROUTE)
		return true;
	return take_connected(s, a, of, a->prefix_len, taken);
}

static int check_addr(const struct scan_addr *a, const struct plan_port *port,
		      struct err *e)
{
	char ip[48];

	scan_ip_text(a->family, a->ip, ip);
	if (a->flags & IFA_F_DADFAILED)
		return err_set(e, EADDRINUSE, "interface %s: somebody else on its "
			       "network has address %s (duplicate address detection)",
			       port->name, ip);
	return 0;
}

static int add_lifetime(const struct scan_addr *a, Podvm__Address *m, struct err *e)
{
	if (!a->limited)
		return 0;
	m->lifetime = mem_new(Podvm__Lifetime);
	if (!m->lifetime)
		return err_set(e, ENOMEM, "out of memory");
	podvm__lifetime__init(m->lifetime);
	m->lifetime->valid = a->valid;
	m->lifetime->preferred = a->preferred;
	return 0;
}

static bool has_label(const struct scan_addr *a, const struct plan_port *port)
{
	return a->family == AF_INET && a->label[0] && strcmp(a->label, port->name);
}

static int add_addr(const struct scan *s, const struct scan_addr *a,
		    const struct netplug_plan *p, const struct plan_port *port, uint8_t *taken,
		    Podvm__Link *l, struct err *e)
{
	size_t len = ip_len(a->family);
	bool whole = take_implied(s, a, taken);
	Podvm__Address *m;
	int rc;

	if (announced(a) || (a->limited && !a->valid))
		return 0;
	rc = plan_noted(p, check_addr(a, port, e), e);
	if (rc)
		return rc < 0 ? rc : 0;
	m = plan_append(&l->addresses, &l->n_addresses, mem_new(Podvm__Address));
	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	podvm__address__init(m);
	m->prefix_len = a->prefix_len;
	m->scope = a->scope;
	m->metric = a->priority;
	m->flags = a->flags & GIVEN_FLAGS;
	if (!whole)
		m->flags |= IFA_F_NOPREFIXROUTE;
	if (a->family == AF_INET6 && !(a->flags & IFA_F_TENTATIVE))
		m->flags |= IFA_F_NODAD;
	if (!plan_set_bytes(&m->ip, a->ip, len) ||
	    (a->has_peer && !plan_set_bytes(&m->peer, a->peer, len)) ||
	    (a->has_bcast && !plan_set_bytes(&m->broadcast, a->bcast, 4)) ||
	    (has_label(a, port) && !(m->label = strdup(a->label))))
		return err_set(e, ENOMEM, "out of memory");
	return add_lifetime(a, m, e);
}

/* Whether it is what the kernel generates of the MAC. */
static bool is_generated(const struct scan_addr *a, const struct scan_link *l)
{
	uint8_t want[16] = { 0xfe, 0x80 };

	memcpy(want + 8, l->mac, 3);
	want[8] ^= 2;
	want[11] = 0xff;
	want[12] = 0xfe;
	memcpy(want + 13, l->mac + 3, 3);
	return !memcmp(a->ip, want, sizeof(want));
}

static uint32_t gen_mode(const struct scan *s, const struct scan_link *l)
{
	int32_t mode = l->conf[1].value[DEVCONF_ADDR_GEN_MODE];
	bool local = false, generated = false;
	size_t i;

	for (i = 0; i < s->n_addrs; i++) {
		const struct scan_addr *a = &s->addr[i];

		if (a->ifindex != l->ifindex || !is_link_local(a))
			continue;
		local = true;
		generated |= is_generated(a, l);
	}
	if (!local || mode == SYSCTL_NONE || (mode == IN6_ADDR_GEN_MODE_EUI64 && !generated))
		return IN6_ADDR_GEN_MODE_NONE;
	return (uint32_t)mode;
}

static int add_link(const struct scan *s, const struct netplug_plan *p,
		    const struct plan_port *port, uint8_t *taken, Podvm__Network *n, struct err *e)
{
	Podvm__Link *l = plan_append(&n->links, &n->n_links, mem_new(Podvm__Link));
	const struct scan_link *from = scan_link_at(s, port->ifindex);
	size_t i;
	int rc = 0;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	podvm__link__init(l);
	l->mtu = port->mtu;
	l->addr_gen_mode = from ? gen_mode(s, from) : IN6_ADDR_GEN_MODE_NONE;
	/* None means no queue, of which a driver knows better. */
	if (from && from->queue_len != DEFAULT_QUEUE_LEN)
		l->tx_queue_len = from->queue_len;
	l->no_arp = from && from->flags & IFF_NOARP;
	l->name = strdup(port->name);
	if (!l->name || !plan_set_bytes(&l->mac, port->mac, sizeof(port->mac)))
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < s->n_addrs && !rc; i++)
		if (s->addr[i].family == AF_INET &&
		    s->addr[i].ifindex == port->ifindex)
			rc = add_addr(s, &s->addr[i], p, port, taken, l, e);
	for (i = s->n_addrs; i-- && !rc;)
		if (s->addr[i].family == AF_INET6 &&
		    s->addr[i].ifindex == port->ifindex)
			rc = add_addr(s, &s->addr[i], p, port, taken, l, e);
	return rc;
}

static int add_neigh(const struct scan_neigh *from, const struct plan_port *port,
		     Podvm__Network *n, struct err *e)
{
	Podvm__Neighbour *m;
	char ip[48];

	if (from->mac_len != 6)
		return err_set(e, EOPNOTSUPP, "interface %s: permanent neighbour %s has "
			       "a link address of %zu bytes, not 6", port->name,
			       scan_ip_text(from->family, from->ip, ip), from->mac_len);
	m = plan_append(&n->neighbours, &n->n_neighbours, mem_new(Podvm__Neighbour));
	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	podvm__neighbour__init(m);
	if (!(from->state & NUD_PERMANENT))
		m->state = NUD_STALE;
	m->link = strdup(port->name);
	if (!m->link || !plan_set_bytes(&m->mac, from->mac, 6) ||
	    !plan_set_bytes(&m->ip, from->ip, ip_len(from->family)))
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}

static bool is_hop(const struct scan_neigh *g, uint32_t oif, bool has_gateway,
		   const uint8_t *gateway)
{
	return has_gateway && oif == g->ifindex && !memcmp(gateway, g->ip, ip_len(g->family));
}

static bool is_gateway(const struct scan *s, const struct scan_neigh *g)
{
	size_t i, k;

	for (i = 0; i < s->n_routes; i++) {
		const struct scan_route *r = &s->route[i];

		if (r->family != g->family)
			continue;
		if (is_hop(g, r->oif, r->has_gateway, r->gateway))
			return true;
		for (k = 0; k < r->n_hops; k++)
			if (is_hop(g, r->hop[k].oif, r->hop[k].has_gateway, r->hop[k].gateway))
				return true;
	}
	return false;
}

/* The kernel's order is that of a hash with a random key. */
static int by_link_and_ip(const void *a, const void *b)
{
	const Podvm__Neighbour *const *pa = a, *const *pb = b;
	const Podvm__Neighbour *x = *pa, *y = *pb;
	int c = strcmp(x->link, y->link);

	if (c)
		return c;
	if (x->ip.len != y->ip.len)
		return x->ip.len < y->ip.len ? -1 : 1;
	return memcmp(x->ip.data, y->ip.data, x->ip.len);
}

/**
 * plan_network() - what the agent configures in the guest
 * @p:   its ports are decided
 * @ret: malloc'd, podvm__network__free_unpacked(…, NULL)
 *
 * Return: 0; -EOPNOTSUPP, -EADDRINUSE naming what the guest cannot be given; -ENOMEM
 */
int plan_network(const struct scan *s, const struct netplug_plan *p,
		 Podvm__Network **ret, struct err *e)
{
	_cleanup_free_ uint8_t *taken = mem_new_n(uint8_t, s->n_routes + 1);
	Podvm__Network *n = mem_new(Podvm__Network);
	size_t i;
	int rc = 0;

	if (!n || !taken) {
		free(n);
		return err_set(e, ENOMEM, "out of memory");
	}
	podvm__network__init(n);
	for (i = 0; i < p->n_ports && !rc; i++)
		rc = add_link(s, p, &p->port[i], taken, n, e);
	for (i = 0; i < s->n_neighs && !rc; i++) {
		const struct plan_port *port = plan_port_at(p, s->neigh[i].ifindex);

		if (port && (s->neigh[i].state & NUD_PERMANENT || is_gateway(s, &s->neigh[i])))
			rc = plan_noted(p, add_neigh(&s->neigh[i], port, n, e), e);
		if (rc > 0)
			rc = 0;
	}
	if (!rc && n->n_neighbours)
		qsort(n->neighbours, n->n_neighbours, sizeof(*n->neighbours),
		      by_link_and_ip);
	if (!rc)
		rc = plan_routes(s, p, taken, n, e);
	if (!rc)
		rc = plan_rules(s, p, n, e);
	if (!rc)
		rc = sysctl_plan(s, p, n, e);
	if (rc < 0) {
		podvm__network__free_unpacked(n, NULL);
		return rc;
	}
	*ret = n;
	return 0;
}
