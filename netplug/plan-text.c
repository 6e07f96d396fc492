// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A plan for people: first what will be done on the host, then what the guest
 * will be given, written as ip(8) writes it.
 */
#include <inttypes.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "netplug/cmd.h"
#include "netplug/plan.h"

static const char *ip(const ProtobufCBinaryData *b, char text[48])
{
	return scan_ip_text(b->len == 16 ? AF_INET6 : b->len == 4 ? AF_INET : AF_UNSPEC, b->data,
			    text);
}

static void print_address(const Podvm__Address *a, FILE *f)
{
	char text[48];

	fprintf(f, "    address %s/%u", ip(&a->ip, text), a->prefix_len);
	if (a->peer.len)
		fprintf(f, " peer %s", ip(&a->peer, text));
	if (a->broadcast.len)
		fprintf(f, " brd %s", ip(&a->broadcast, text));
	if (a->scope == RT_SCOPE_LINK)
		fprintf(f, " scope link");
	else if (a->scope)
		fprintf(f, " scope %u", a->scope);
	if (a->flags & IFA_F_NODAD)
		fprintf(f, " nodad");
	if (a->flags & IFA_F_NOPREFIXROUTE)
		fprintf(f, " noprefixroute");
	if (*a->label)
		fprintf(f, " label %s", a->label);
	if (a->metric)
		fprintf(f, " metric %u", a->metric);
	if (a->lifetime && a->lifetime->valid != UINT32_MAX)
		fprintf(f, " valid_lft %us", a->lifetime->valid);
	if (a->lifetime && a->lifetime->preferred != UINT32_MAX)
		fprintf(f, " preferred_lft %us", a->lifetime->preferred);
	fprintf(f, "\n");
}

static const char *type_text(uint32_t type)
{
	return type == RTN_BLACKHOLE ? "blackhole " : type == RTN_UNREACHABLE ? "unreachable " :
	       type == RTN_PROHIBIT ? "prohibit " : type == RTN_THROW ? "throw " : "";
}

static void print_hops(const Podvm__Route *r, FILE *f)
{
	char text[48];
	size_t i;

	for (i = 0; i < r->n_nexthops; i++) {
		const Podvm__Nexthop *h = r->nexthops[i];

		fprintf(f, " nexthop%s%s dev %s weight %u%s", h->gateway.len ? " via " : "",
			h->gateway.len ? ip(&h->gateway, text) : "", h->link, h->weight + 1,
			h->flags & RTNH_F_ONLINK ? " onlink" : "");
	}
}

static const Podvm__Attribute *attr(const Podvm__Rule *r, uint32_t type)
{
	size_t i;

	for (i = 0; i < r->n_attributes; i++)
		if (r->attributes[i]->type == type)
			return r->attributes[i];
	return NULL;
}

static uint32_t attr_u32(const Podvm__Rule *r, uint32_t type, uint32_t absent)
{
	const Podvm__Attribute *a = attr(r, type);

	if (a && a->value.len == sizeof(absent))
		memcpy(&absent, a->value.data, sizeof(absent));
	return absent;
}

static bool is_shown(uint32_t type)
{
	return type == FRA_PRIORITY || type == FRA_TABLE || type == FRA_SRC || type == FRA_DST ||
	       type == FRA_PROTOCOL;
}

/* Who, where to, by which table; --json has the rest. */
static void print_rule(const Podvm__Rule *r, FILE *f)
{
	const Podvm__Attribute *src = attr(r, FRA_SRC), *dst = attr(r, FRA_DST);
	char text[48];
	size_t i;

	fprintf(f, "  rule %s%u:", r->remove ? "removed: " : "", attr_u32(r, FRA_PRIORITY, 0));
	fprintf(f, "%s from ", r->flags & FIB_RULE_INVERT ? " not" : "");
	if (src)
		fprintf(f, "%s/%u", ip(&src->value, text), r->src_len);
	else
		fprintf(f, "all (%s)", r->family == AF_INET6 ? "IPv6" : "IPv4");
	if (dst)
		fprintf(f, " to %s/%u", ip(&dst->value, text), r->dst_len);
	for (i = 0; i < r->n_attributes && is_shown(r->attributes[i]->type); i++)
		;
	fprintf(f, "%s", i < r->n_attributes ? " and more conditions" : "");
	if (r->action == FR_ACT_TO_TBL)
		fprintf(f, " table %u\n", attr_u32(r, FRA_TABLE, r->table));
	else
		fprintf(f, " action %u\n", r->action);
}

static void print_route(const Podvm__Route *r, FILE *f)
{
	char text[48];
	size_t i;

	fprintf(f, "  route %s", type_text(r->type));
	if (r->dst.len)
		fprintf(f, "%s/%u", ip(&r->dst, text), r->dst_len);
	else
		fprintf(f, "default (%s)", r->family == AF_INET6 ? "IPv6" : "IPv4");
	if (r->gateway.len)
		fprintf(f, " via %s", ip(&r->gateway, text));
	if (*r->link)
		fprintf(f, " dev %s", r->link);
	if (r->tos)
		fprintf(f, " tos 0x%x", r->tos);
	if (r->prefsrc.len)
		fprintf(f, " src %s", ip(&r->prefsrc, text));
	if (r->table != RT_TABLE_MAIN)
		fprintf(f, " table %u", r->table);
	if (r->priority)
		fprintf(f, " metric %u", r->priority);
	if (r->mtu)
		fprintf(f, " mtu %u", r->mtu);
	if (r->advmss)
		fprintf(f, " advmss %u", r->advmss);
	for (i = 0; i < r->n_metrics; i++)
		fprintf(f, " metric-%u %u", r->metrics[i]->number, r->metrics[i]->value);
	print_hops(r, f);
	fprintf(f, "%s\n", r->flags & RTNH_F_ONLINK ? " onlink" : "");
}

static void print_port(const struct plan_port *p, FILE *f)
{
	static const char *const tc[] = {
		[PLAN_HOOK_NONE] = "adds ingress", [PLAN_HOOK_INGRESS] = "shares ingress",
		[PLAN_HOOK_CLSACT] = "shares clsact",
	};

	fprintf(f, "  %s (%s): ", p->name, p->kind);
	if (p->model == NETPLUG_TC)
		fprintf(f, "tap %s, mtu %u; %s; u32 redirects both ways\n", p->tap, p->mtu,
			p->there ? "is there already" : tc[p->hook]);
	else
		fprintf(f, "macvtap %s (%s), mtu %u; addresses and routes leave the interface meanwhile\n",
			p->tap, p->model == NETPLUG_MACVTAP ? "bridge" : "passthru", p->mtu);
	fprintf(f, "    model %s: %s\n", netplug_model_name(p->model), p->why);
}

/**
 * plan_print_guest() - print, for people, what the guest is given
 */
void plan_print_guest(const struct netplug_plan *p, FILE *f)
{
	const Podvm__Network *n = p->network;
	size_t i, k;

	fprintf(f, "\nto the guest:\n");
	for (i = 0; i < n->n_links; i++) {
		const uint8_t *m = n->links[i]->mac.data;

		fprintf(f, "  link %s mac %02x:%02x:%02x:%02x:%02x:%02x mtu %u\n",
			n->links[i]->name, m[0], m[1], m[2], m[3], m[4], m[5],
			n->links[i]->mtu);
		for (k = 0; k < n->links[i]->n_addresses; k++)
			print_address(n->links[i]->addresses[k], f);
	}
	for (i = 0; i < n->n_routes; i++)
		print_route(n->routes[i], f);
	for (i = 0; i < n->n_rules; i++)
		print_rule(n->rules[i], f);
	for (i = 0; i < n->n_neighbours; i++) {
		const uint8_t *m = n->neighbours[i]->mac.data;
		char text[48];

		fprintf(f, "  neighbour %s dev %s mac %02x:%02x:%02x:%02x:%02x:%02x%s\n",
			ip(&n->neighbours[i]->ip, text), n->neighbours[i]->link, m[0],
			m[1], m[2], m[3], m[4], m[5],
			n->neighbours[i]->state ? " (not permanent)" : "");
	}
	for (i = 0; i < n->n_sysctls; i++)
		fprintf(f, "  sysctl %s=%s\n", n->sysctls[i]->key, n->sysctls[i]->value);
}

/**
 * plan_print() - print a plan for people
 * @netns: what to call the namespace
 */
void plan_print(const struct netplug_plan *p, const char *netns, FILE *f)
{
	size_t i;

	fprintf(f, "network namespace %s\n\non the host:\n", netns);
	for (i = 0; i < p->n_ports; i++)
		print_port(&p->port[i], f);
	if (!p->n_ports)
		fprintf(f, "  nothing: the pod has no interface beside the loopback\n");
	plan_print_guest(p, f);
}
