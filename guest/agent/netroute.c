// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Neighbours, routes and rules of the guest, told and taken back.
 * - routes: those without a gateway first, narrow scopes first; what the kernel
 *   refuses as unreachable is tried again while others still succeed;
 * - rules, in their order: among equal priorities the earlier one comes first.
 * What is there already, as the kernel's own prefix routes are, is a success, and so is
 * what is gone already when it is taken back.
 *
 * Source: rtnetlink(7).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/agent/agent.h"
#include "lib/mem.h"

static const char *address_text(const ProtobufCBinaryData *ip, char buf[INET6_ADDRSTRLEN])
{
	if ((ip->len != 4 && ip->len != 16) ||
	    !inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->data, buf, INET6_ADDRSTRLEN))
		snprintf(buf, INET6_ADDRSTRLEN, "(%zu bytes)", ip->len);
	return buf;
}

/* Return: 0 if there is none of that name */
static int index_of(const struct rtm_names *l, const char *name)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].name, name))
			return l->v[i].index;
	return 0;
}

static int neighbour(int nl, const struct rtm_names *l, const Podvm__Neighbour *g, bool gone,
		     struct err *e)
{
	struct ndmsg nd = { .ndm_family = g->ip.len == 16 ? AF_INET6 : AF_INET,
			    .ndm_state = g->state ? (uint16_t)g->state : NUD_PERMANENT,
			    .ndm_ifindex = index_of(l, g->link) };
	char ip[INET6_ADDRSTRLEN];
	struct rtm_msg m;
	int rc;

	if (gone && !nd.ndm_ifindex)
		return 0;
	if (!nd.ndm_ifindex || (g->ip.len != 4 && g->ip.len != 16) || g->mac.len != 6)
		return err_set(e, EINVAL, "neighbour %s: no link %s, or malformed",
			       address_text(&g->ip, ip), g->link);
	rtm_start(&m, gone ? RTM_DELNEIGH : RTM_NEWNEIGH, gone ? 0 : NLM_F_CREATE | NLM_F_REPLACE,
		  &nd, sizeof(nd));
	rtm_put(&m, NDA_DST, g->ip.data, g->ip.len);
	if (!gone)
		rtm_put(&m, NDA_LLADDR, g->mac.data, g->mac.len);
	rc = rtm_talk(nl, &m, e);
	if (rc == -ENOENT && gone)
		return 0;
	return rc < 0 ? err_wrap(e, "link %s: neighbour %s", g->link, address_text(&g->ip, ip)) : 0;
}

/**
 * neighbours_add() - tell the kernel the neighbours of a plan
 *
 * Return: 0 or minus errno, naming the first that failed
 */
int neighbours_add(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc >= 0 && i < n->n_neighbours; i++)
		rc = neighbour(nl, l, n->neighbours[i], false, e);
	return rc;
}

/**
 * neighbours_del() - take neighbours back
 *
 * Return: 0 or minus errno of the first that failed; the others are gone
 */
int neighbours_del(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e)
{
	struct err why;
	size_t i;
	int rc = 0;

	for (i = 0; i < n->n_neighbours; i++)
		rtm_failed(&rc, neighbour(nl, l, n->neighbours[i], true, &why), &why, e);
	return rc;
}

static void put_gateway(struct rtm_msg *m, const Podvm__Route *r)
{
	size_t len = r->family == AF_INET ? 4 : 16;
	uint8_t via[2 + 16];
	uint16_t family = AF_INET6;

	if (!r->gateway.len)
		return;
	if (r->gateway.len == len) {
		rtm_put(m, RTA_GATEWAY, r->gateway.data, len);
		return;
	}
	memcpy(via, &family, 2); /* IPv4 by an IPv6 next hop */
	memcpy(via + 2, r->gateway.data, 16);
	rtm_put(m, RTA_VIA, via, sizeof(via));
}

static int check_route(const Podvm__Route *r, struct err *e)
{
	size_t len = r->family == AF_INET ? 4 : r->family == AF_INET6 ? 16 : 0;

	if (!len || (r->dst.len && r->dst.len != len) || r->dst_len > len * 8 ||
	    (!r->dst.len && r->dst_len) || (r->prefsrc.len && r->prefsrc.len != len) ||
	    (r->gateway.len && r->gateway.len != len &&
	     !(len == 4 && r->gateway.len == 16)))
		return err_set(e, EINVAL, "malformed route");
	return 0;
}

static void put_metrics(struct rtm_msg *m, const Podvm__Route *r)
{
	size_t nest, i;

	if (!r->mtu && !r->advmss && !r->n_metrics)
		return;
	nest = rtm_nest(m, RTA_METRICS);
	if (r->mtu)
		rtm_put_u32(m, RTAX_MTU, r->mtu);
	if (r->advmss)
		rtm_put_u32(m, RTAX_ADVMSS, r->advmss);
	for (i = 0; i < r->n_metrics; i++)
		rtm_put_u32(m, (uint16_t)r->metrics[i]->number, r->metrics[i]->value);
	rtm_nest_end(m, nest);
}

/* RTA_MULTIPATH: each way is a header without a type, then its attributes. */
static int put_nexthops(struct rtm_msg *m, const Podvm__Route *r, const struct rtm_names *l,
			struct err *e)
{
	size_t len = r->family == AF_INET ? 4 : 16, nest = rtm_nest(m, RTA_MULTIPATH), i, at;

	for (i = 0; i < r->n_nexthops; i++) {
		const Podvm__Nexthop *h = r->nexthops[i];
		struct rtnexthop nh = { .rtnh_flags = (uint8_t)(h->flags & RTNH_F_ONLINK),
					.rtnh_hops = (uint8_t)h->weight,
					.rtnh_ifindex = index_of(l, h->link) };

		if (!nh.rtnh_ifindex)
			return err_set(e, ENODEV, "there is no link %s", h->link);
		if (h->gateway.len && h->gateway.len != len)
			return err_set(e, EINVAL, "malformed gateway");
		at = rtm_put_head(m, &nh, sizeof(nh));
		if (h->gateway.len)
			rtm_put(m, RTA_GATEWAY, h->gateway.data, len);
		/* As of an attribute, the length comes first (struct rtnexthop). */
		rtm_nest_end(m, at);
	}
	rtm_nest_end(m, nest);
	return 0;
}

static int route(int nl, const Podvm__Route *r, const struct rtm_names *l, bool gone,
		 struct err *e)
{
	uint32_t table = r->table ? r->table : RT_TABLE_MAIN;
	int oif = *r->link ? index_of(l, r->link) : 0;
	struct rtmsg rt = {
		.rtm_family = (uint8_t)r->family,
		.rtm_dst_len = (uint8_t)r->dst_len,
		.rtm_tos = (uint8_t)r->tos,
		.rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC,
		.rtm_protocol = r->protocol ? (uint8_t)r->protocol : RTPROT_BOOT,
		.rtm_scope = (uint8_t)r->scope,
		.rtm_type = r->type ? (uint8_t)r->type : RTN_UNICAST,
		.rtm_flags = r->flags & RTNH_F_ONLINK,
	};
	struct rtm_msg m;
	int rc;

	rtm_start(&m, gone ? RTM_DELROUTE : RTM_NEWROUTE, gone ? 0 : NLM_F_CREATE | NLM_F_APPEND,
		  &rt, sizeof(rt));
	if (r->dst.len)
		rtm_put(&m, RTA_DST, r->dst.data, r->dst.len);
	rtm_put_u32(&m, RTA_TABLE, table);
	put_gateway(&m, r);
	if (oif)
		rtm_put_u32(&m, RTA_OIF, (uint32_t)oif);
	if (r->prefsrc.len)
		rtm_put(&m, RTA_PREFSRC, r->prefsrc.data, r->prefsrc.len);
	if (r->priority)
		rtm_put_u32(&m, RTA_PRIORITY, r->priority);
	put_metrics(&m, r);
	if (r->n_nexthops && (rc = put_nexthops(&m, r, l, e)) < 0)
		return rc;
	rc = rtm_talk(nl, &m, e);
	return rc == (gone ? -ESRCH : -EEXIST) ? 0 : rc;
}

static int route_rank(const Podvm__Route *r)
{
	return (r->gateway.len || r->n_nexthops ? 512 : 0) + 255 - (int)(r->scope & 255);
}

/* Insertion sort: stable, and a pod has few routes. */
static void order_routes(Podvm__Route **v, size_t n)
{
	size_t i, k;

	for (i = 1; i < n; i++) {
		Podvm__Route *r = v[i];

		for (k = i; k && route_rank(v[k - 1]) > route_rank(r); k--)
			v[k] = v[k - 1];
		v[k] = r;
	}
}

static int route_failed(const Podvm__Route *r, struct err *e)
{
	char dst[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN];

	return err_wrap(e, "link %s: route %s/%u%s%s", r->link,
			r->dst.len ? address_text(&r->dst, dst) : "default", r->dst_len,
			r->gateway.len ? " via " : "",
			r->gateway.len ? address_text(&r->gateway, via) : "");
}

static bool worth_a_retry(int rc)
{
	return rc == -ENETUNREACH || rc == -EHOSTUNREACH || rc == -EINVAL;
}

/**
 * routes_add() - tell the kernel the routes of a plan
 * @l: links of the guest as they are called now
 *
 * Return: 0 or minus errno, naming one that failed
 */
int routes_add(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e)
{
	_cleanup_free_ Podvm__Route **left = mem_new_n(Podvm__Route *, n->n_routes + 1);
	size_t n_left = n->n_routes, before, i;

	if (!left)
		return err_set(e, ENOMEM, "out of memory");
	if (n_left)
		memcpy(left, n->routes, n_left * sizeof(*left));
	order_routes(left, n_left);
	do {
		before = n_left;
		for (i = 0, n_left = 0; i < before; i++) {
			Podvm__Route *r = left[i];
			int rc = check_route(r, e);

			if (rc >= 0 && *r->link && !index_of(l, r->link))
				rc = err_set(e, ENODEV, "there is no such link");
			if (rc < 0)
				return route_failed(r, e);
			rc = route(nl, r, l, false, e);
			if (rc < 0 && !worth_a_retry(rc))
				return route_failed(r, e);
			if (rc < 0)
				left[n_left++] = r;
		}
	} while (n_left && n_left < before);
	/* @e is of the last one that failed, which is the last one left. */
	return n_left ? route_failed(left[n_left - 1], e) : 0;
}

/* What led over a link that is gone went with it. */
static bool went_with_link(const struct rtm_names *l, const Podvm__Route *r)
{
	size_t i;

	if (*r->link && !index_of(l, r->link))
		return true;
	for (i = 0; i < r->n_nexthops; i++)
		if (!index_of(l, r->nexthops[i]->link))
			return true;
	return false;
}

/**
 * routes_del() - take routes back, those by a gateway first
 *
 * Return: 0 or minus errno of the first that failed; the others are gone
 */
int routes_del(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e)
{
	_cleanup_free_ Podvm__Route **list = mem_new_n(Podvm__Route *, n->n_routes + 1);
	struct err why;
	size_t i;
	int rc = 0;

	if (!list)
		return err_set(e, ENOMEM, "out of memory");
	if (n->n_routes)
		memcpy(list, n->routes, n->n_routes * sizeof(*list));
	order_routes(list, n->n_routes);
	for (i = n->n_routes; i--;) {
		int one = check_route(list[i], &why);

		if (one >= 0 && !went_with_link(l, list[i]))
			one = route(nl, list[i], l, true, &why);
		if (one < 0)
			route_failed(list[i], &why);
		rtm_failed(&rc, one, &why, e);
	}
	return rc;
}

/* @gone: the contrary of what it says; @how: NLM_F_* of what is added */
static int rule(int nl, const Podvm__Rule *r, bool gone, uint16_t how, struct err *e)
{
	struct fib_rule_hdr h = { .family = (uint8_t)r->family,
				  .dst_len = (uint8_t)r->dst_len,
				  .src_len = (uint8_t)r->src_len,
				  .tos = (uint8_t)r->tos,
				  .table = (uint8_t)r->table,
				  .action = (uint8_t)r->action,
				  .flags = r->flags };
	bool remove = r->remove != gone;
	struct rtm_msg m;
	size_t i;
	int rc;

	rtm_start(&m, remove ? RTM_DELRULE : RTM_NEWRULE, remove ? 0 : NLM_F_CREATE | how, &h,
		  sizeof(h));
	for (i = 0; i < r->n_attributes; i++)
		rtm_put(&m, (uint16_t)r->attributes[i]->type, r->attributes[i]->value.data,
			r->attributes[i]->value.len);
	rc = rtm_talk(nl, &m, e);
	return rc == (remove ? -ENOENT : -EEXIST) ? 0 : rc;
}

static int rule_failed(const Podvm__Network *n, size_t i, struct err *e)
{
	return err_wrap(e, "%s rule number %zu of the plan",
			n->rules[i]->family == AF_INET ? "IPv4" : "IPv6", i + 1);
}

/**
 * rules_add() - tell the kernel the rules of a plan
 * @how: NLM_F_EXCL: not those that are there already
 *
 * Return: 0 or minus errno, naming the first that failed
 */
int rules_add(int nl, const Podvm__Network *n, uint16_t how, struct err *e)
{
	size_t i;

	for (i = 0; i < n->n_rules; i++)
		if (rule(nl, n->rules[i], false, how, e) < 0)
			return rule_failed(n, i, e);
	return 0;
}

/**
 * rules_del() - take rules back; one of the kernel's own that was removed comes again
 *
 * Return: 0 or minus errno of the first that failed; the others are gone
 */
int rules_del(int nl, const Podvm__Network *n, struct err *e)
{
	struct err why;
	size_t i;
	int rc = 0;

	for (i = 0; i < n->n_rules; i++) {
		int one = rule(nl, n->rules[i], true, NLM_F_EXCL, &why);

		if (one < 0)
			rule_failed(n, i, &why);
		rtm_failed(&rc, one, &why, e);
	}
	return rc;
}
