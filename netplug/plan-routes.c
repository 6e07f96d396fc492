// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The routes that the guest gets: those of every table but the local
 * one, which the guest's kernel fills by itself, to one gateway or several, and
 * those that refuse. Those that come with an
 * address are left out (plan-network.c), and so are those that a router
 * announced, since it announces them to the guest as well.
 *
 * What a Route message cannot say is refused by name. Order: what has no
 * gateway comes first, because the kernel checks that a gateway is reachable;
 * the rest of the order makes equal namespaces give equal plans.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "netplug/plan.h"

static const char *route_text(const struct scan *s, const struct scan_route *r,
			      char *dst, size_t room)
{
	const struct scan_link *l = scan_link_at(s, r->oif);
	char to[48], via[64] = "", gw[48], table[32] = "";

	scan_ip_text(r->family, r->dst, to);
	if (r->has_gateway)
		snprintf(via, sizeof(via), " via %s",
			 scan_ip_text(r->family, r->gateway, gw));
	if (r->table != RT_TABLE_MAIN)
		snprintf(table, sizeof(table), " table %u", r->table);
	snprintf(dst, room, "route %s/%u%s%s%s%s", to, r->dst_len, via,
		 l ? " dev " : "", l ? l->name : "", table);
	return dst;
}

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[RTN_UNSPEC] = "unspec", [RTN_LOCAL] = "local",
		[RTN_BROADCAST] = "broadcast", [RTN_ANYCAST] = "anycast",
		[RTN_MULTICAST] = "multicast", [RTN_BLACKHOLE] = "blackhole",
		[RTN_UNREACHABLE] = "unreachable", [RTN_PROHIBIT] = "prohibit",
		[RTN_THROW] = "throw", [RTN_NAT] = "nat",
		[RTN_XRESOLVE] = "xresolve",
	};

	return type < ARRAY_LEN(names) && names[type] ? names[type] : "unknown";
}

/* Types of routes that lead nowhere, and need no interface. */
static bool is_refusal(uint8_t type)
{
	return type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT ||
	       type == RTN_THROW;
}

static bool leads_to_ports(const struct netplug_plan *p, const struct scan_route *r)
{
	size_t i;

	if (is_refusal(r->type))
		return true;
	for (i = 0; i < r->n_hops; i++)
		if (!plan_port_at(p, r->hop[i].oif))
			return false;
	return r->n_hops || plan_port_at(p, r->oif);
}

static int check_route(const struct scan *s, const struct netplug_plan *p,
		       const struct scan_route *r, struct err *e)
{
	char text[192];

	route_text(s, r, text, sizeof(text));
	if (r->type != RTN_UNICAST && !is_refusal(r->type))
		return err_set(e, EOPNOTSUPP, "%s: type %s cannot be given to the guest "
			       "yet; remove it", text, type_name(r->type));
	if (r->odd[0])
		return err_set(e, EOPNOTSUPP, "%s: %s cannot be given to the guest yet; "
			       "remove it", text, r->odd);
	if (!leads_to_ports(p, r))
		return err_set(e, EOPNOTSUPP, "%s: it leads to no interface that the "
			       "guest gets; remove it", text);
	return 0;
}

/* Whether the guest's kernel comes to have the route without being told. */
static bool own_business(const struct scan *s, const struct scan_route *r)
{
	const struct scan_link *l = scan_link_at(s, r->oif);

	/* Redirects (RFC 792, RFC 4861) and router advertisements. */
	if (r->protocol == RTPROT_REDIRECT || r->protocol == RTPROT_RA)
		return true;
	return l && l->flags & IFF_LOOPBACK && r->protocol == RTPROT_KERNEL;
}

/* Whether the kernel checks that a gateway can be reached. */
static int via(const struct scan_route *r)
{
	return r->has_gateway || r->n_hops;
}

static int compare(const void *a, const void *b)
{
	const struct scan_route *const *pa = a, *const *pb = b;
	const struct scan_route *x = *pa, *y = *pb;
	int c;

	if (via(x) != via(y))
		return via(x) - via(y);
	if (x->family != y->family)
		return x->family - y->family;
	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	if (x->dst_len != y->dst_len)
		return y->dst_len - x->dst_len;
	c = memcmp(x->dst, y->dst, sizeof(x->dst));
	if (c)
		return c;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	/* Of equals the kernel uses the first: its order stays. */
	return (x > y) - (x < y);
}

static int add_metric(Podvm__Route *m, uint32_t number, uint32_t value, struct err *e)
{
	Podvm__Metric *x;

	if (number == RTAX_MTU)
		m->mtu = value;
	if (number == RTAX_ADVMSS)
		m->advmss = value;
	if (!value || number == RTAX_MTU || number == RTAX_ADVMSS)
		return 0;
	x = plan_append(&m->metrics, &m->n_metrics, mem_new(Podvm__Metric));
	if (!x)
		return err_set(e, ENOMEM, "out of memory");
	podvm__metric__init(x);
	x->number = number;
	x->value = value;
	return 0;
}

static int add_hop(Podvm__Route *m, const struct scan_nexthop *h,
		   const struct plan_port *port, size_t len, struct err *e)
{
	Podvm__Nexthop *x = plan_append(&m->nexthops, &m->n_nexthops, mem_new(Podvm__Nexthop));

	if (!x)
		return err_set(e, ENOMEM, "out of memory");
	podvm__nexthop__init(x);
	x->weight = h->weight;
	x->flags = h->flags & RTNH_F_ONLINK;
	x->link = strdup(port->name);
	if (!x->link || (h->has_gateway && !plan_set_bytes(&x->gateway, h->gateway, len)))
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}

static int add_route(const struct scan_route *r, const struct netplug_plan *p,
		     Podvm__Network *n, struct err *e)
{
	const struct plan_port *port = plan_port_at(p, r->oif);
	size_t len = r->family == AF_INET6 ? 16 : 4, i;
	Podvm__Route *m = plan_append(&n->routes, &n->n_routes, mem_new(Podvm__Route));
	int rc = 0;

	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	podvm__route__init(m);
	m->family = r->family;
	m->dst_len = r->dst_len;
	m->table = r->table;
	m->protocol = r->protocol;
	m->scope = r->scope;
	m->type = r->type;
	m->tos = r->tos;
	m->priority = r->priority;
	m->flags = r->flags & RTNH_F_ONLINK;
	if (port && !r->n_hops && !is_refusal(r->type) && !(m->link = strdup(port->name)))
		return err_set(e, ENOMEM, "out of memory");
	if ((r->dst_len && !plan_set_bytes(&m->dst, r->dst, len)) ||
	    (r->has_gateway && !plan_set_bytes(&m->gateway, r->gateway, len)) ||
	    (r->has_prefsrc && !plan_set_bytes(&m->prefsrc, r->prefsrc, len)))
		return err_set(e, ENOMEM, "out of memory");
	for (i = 1; i <= RTAX_MAX && !rc; i++)
		rc = add_metric(m, (uint32_t)i, r->metric[i], e);
	for (i = 0; i < r->n_hops && !is_refusal(r->type) && !rc; i++)
		rc = add_hop(m, &r->hop[i], plan_port_at(p, r->hop[i].oif), len, e);
	return rc;
}

/**
 * plan_routes() - the routes that the guest gets
 * @taken: per route of @s: not 0 if it comes with an address
 * @n:     they are appended here
 *
 * Return: 0; -EOPNOTSUPP naming a route that cannot be given; -ENOMEM
 */
int plan_routes(const struct scan *s, const struct netplug_plan *p,
		uint8_t *taken, Podvm__Network *n, struct err *e)
{
	_cleanup_free_ const struct scan_route **list =
		mem_new_n(const struct scan_route *, s->n_routes + 1);
	size_t i, n_list = 0;
	int rc;

	if (!list)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < s->n_routes; i++) {
		if (taken[i] || own_business(s, &s->route[i]))
			continue;
		/* What leads to an interface that a later plan leaves out goes with it. */
		if (p->notes && !leads_to_ports(p, &s->route[i]))
			continue;
		rc = plan_noted(p, check_route(s, p, &s->route[i], e), e);
		if (rc < 0)
			return rc;
		if (rc)
			continue;
		list[n_list++] = &s->route[i];
	}
	qsort(list, n_list, sizeof(*list), compare);
	for (i = 0, rc = 0; i < n_list && !rc; i++)
		rc = add_route(list[i], p, n, e);
	return rc;
}
