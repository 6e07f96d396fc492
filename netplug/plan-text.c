// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A plan for people: first what will be done on the host, then what the guest
 * will be given, written as ip(8) writes it.
 */
#include <inttypes.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>

#include "netplug/cmd.h"
#include "netplug/plan.h"

static const char *ip(const ProtobufCBinaryData *b, char text[48])
{
	return scan_ip_text(b->len == 16 ? AF_INET6 : AF_INET, b->data, text);
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
	fprintf(f, "\n");
}

static void print_route(const Podvm__Route *r, FILE *f)
{
	char text[48];

	fprintf(f, "  route ");
	if (r->dst.len)
		fprintf(f, "%s/%u", ip(&r->dst, text), r->dst_len);
	else
		fprintf(f, "default (%s)", r->family == AF_INET6 ? "IPv6" : "IPv4");
	if (r->gateway.len)
		fprintf(f, " via %s", ip(&r->gateway, text));
	fprintf(f, " dev %s", r->link);
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
	fprintf(f, "%s\n", r->flags & RTNH_F_ONLINK ? " onlink" : "");
}

/**
 * plan_print() - print a plan for people
 * @netns: what to call the namespace
 */
void plan_print(const struct netplug_plan *p, const char *netns, FILE *f)
{
	const Podvm__Network *n = p->network;
	size_t i, k;

	fprintf(f, "network namespace %s\n\non the host:\n", netns);
	for (i = 0; i < p->n_ports; i++)
		fprintf(f, "  %s (veth): tap %s, mtu %u; %s; u32 redirects both ways\n",
			p->port[i].name, p->port[i].tap, p->port[i].mtu,
			p->port[i].hook == PLAN_HOOK_CLSACT ? "shares clsact" :
			p->port[i].hook == PLAN_HOOK_INGRESS ? "shares ingress" :
			"adds ingress");
	if (!p->n_ports)
		fprintf(f, "  nothing: the pod has no interface beside the loopback\n");
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
	for (i = 0; i < n->n_neighbours; i++) {
		const uint8_t *m = n->neighbours[i]->mac.data;
		char text[48];

		fprintf(f, "  neighbour %s dev %s mac %02x:%02x:%02x:%02x:%02x:%02x\n",
			ip(&n->neighbours[i]->ip, text), n->neighbours[i]->link, m[0],
			m[1], m[2], m[3], m[4], m[5]);
	}
}
