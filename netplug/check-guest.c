// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The guest against the pod's namespace: both as a plan, made by the same code
 * (check-collect.c), so that what differs is a fault and nothing else. What the
 * guest lacks it is given again by one command; what it has besides somebody made
 * in the guest, and it is taken away there.
 *
 * All of it is guest data. A guest that lies about its network fools nobody but
 * itself; what is printed of it is masked, and quoted in commands.
 * Every check looks at the collected state alone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/check.h"
#include "netplug/joined.h"

/* Of these a guest can have any number: so many are told. */
#define TOLD_MAX 8

#define EACH_JOINED(s) \
	CHECK_EACH_PORT(s) \
		if (p->tap && (s)->guest.scan)

static void mend_by_sync(const struct check_state *s, struct check_findings *f)
{
	check_mend(f, "podvm-netplug sync %s", s->name);
}

/* A command in the guest, by one of the pod's containers. */
static void mend_inside(const struct check_state *s, struct check_findings *f)
{
	if (strcmp(s->t->root, POD_DEFAULT_ROOT))
		check_mend(f, "podvm --root %s exec ", check_word(s->t->root).s);
	else
		check_mend(f, "podvm exec ");
	check_mend(f, "%s ", check_word(*s->container ? s->container : s->t->pod).s);
}

static void guest_silent(const struct check_state *s, struct check_findings *f)
{
	if (!s->guest_why.code)
		return;
	check_found(f, "", "the guest does not tell its network: %.200s", s->guest_why.text);
	check_mend(f, "podvm delete --force %s", check_word(*s->container ? s->container : s->t->pod).s);
}

static void guest_cut(const struct check_state *s, struct check_findings *f)
{
	if (s->guest.state && s->guest.state->truncated) {
		check_found(f, "", "the guest has more interfaces, routes or neighbours than it can tell: not all are compared");
		check_mend(f, "podvm-netplug show %s", s->name);
	}
	if (s->want_why.code && !s->want) {
		check_found(f, "", "what the namespace has cannot be given to the guest: %.200s", s->want_why.text);
		check_mend(f, "podvm-netplug plan %s", s->name);
	}
	if (s->has_why.code && !s->has) {
		check_found(f, "", "what the guest has cannot be compared: %.200s", s->has_why.text);
		check_mend(f, "podvm-netplug show %s", s->name);
	}
}

static void device_broken(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; s->machine && i < s->machine->network->n_devices; i++) {
		const Podvm__Pod__NetDevice *d = s->machine->network->devices[i];

		/* DEVICE_NEEDS_RESET (virtio 1.2, section 2.1) */
		if (!(d->status & 64))
			continue;
		check_found(f, "", "the guest's driver broke a rule of its interface %.20s, which moves nothing until the machine is made anew", d->mac);
		check_mend(f, "podvm delete --force %s",
			   check_word(*s->container ? s->container : s->t->pod).s);
	}
}

static const struct scan_link *in_guest(const struct check_state *s, const struct scan_link *l)
{
	const uint8_t *mac = joined_mac(s->pod.scan, l);
	const struct scan *g = s->guest.scan;
	size_t i;

	for (i = 0; i < g->n_links; i++)
		if (g->link[i].arphrd == ARPHRD_ETHER && !memcmp(g->link[i].mac, mac, 6))
			return &g->link[i];
	return NULL;
}

static void guest_no_link(const struct check_state *s, struct check_findings *f)
{
	EACH_JOINED(s) {
		const uint8_t *mac = joined_mac(s->pod.scan, p->link);
		const struct scan_link *named;

		if (in_guest(s, p->link))
			continue;
		named = scan_link_named(s->guest.scan, p->link->name);
		check_found(f, p->link->name, named ? "the guest's interface of this name has another MAC: the network does not know it" :
						      "the guest has no interface with this MAC");
		if (!named) {
			check_mend(f, "podvm delete --force %s",
				   check_word(*s->container ? s->container : s->t->pod).s);
			continue;
		}
		mend_inside(s, f);
		check_mend(f, "ip link set dev %s address %02x:%02x:%02x:%02x:%02x:%02x",
			   check_word(named->name).s, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	}
}

static void guest_link_down(const struct check_state *s, struct check_findings *f)
{
	EACH_JOINED(s) {
		const struct scan_link *g = in_guest(s, p->link);

		if (!g || g->flags & IFF_UP)
			continue;
		check_found(f, p->link->name, "the guest's interface is down");
		mend_by_sync(s, f);
	}
}

static void guest_name(const struct check_state *s, struct check_findings *f)
{
	EACH_JOINED(s) {
		const struct scan_link *g = in_guest(s, p->link);

		if (!g || !strcmp(g->name, p->link->name))
			continue;
		check_found(f, p->link->name, "the guest calls the interface %s: what looks for it by its name does not find it", g->name);
		mend_by_sync(s, f);
	}
}

static void guest_mtu(const struct check_state *s, struct check_findings *f)
{
	EACH_JOINED(s) {
		const struct scan_link *g = in_guest(s, p->link);

		if (!g || g->mtu == p->link->mtu)
			continue;
		check_found(f, p->link->name, "the guest has an MTU of %u, the pod's interface %u: %s", g->mtu,
			    p->link->mtu, g->mtu > p->link->mtu ? "what is larger is lost" :
								 "packets are smaller than they could be");
		mend_by_sync(s, f);
	}
}

static void guest_ipv6_off(const struct check_state *s, struct check_findings *f)
{
	EACH_JOINED(s) {
		const struct scan_link *g = in_guest(s, p->link);
		const Podvm__LinkState *l = g ? guest_link(&s->guest, g->name) : NULL;
		bool wanted = false;
		size_t i;

		for (i = 0; i < s->pod.scan->n_addrs; i++)
			wanted |= s->pod.scan->addr[i].ifindex == p->link->ifindex &&
				  s->pod.scan->addr[i].family == AF_INET6 &&
				  s->pod.scan->addr[i].scope == RT_SCOPE_UNIVERSE;
		if (!l || !l->disable_ipv6 || !wanted)
			continue;
		check_found(f, p->link->name, "the pod has IPv6 addresses, and IPv6 is switched off in the guest");
		mend_inside(s, f);
		check_mend(f, "sysctl -w net/ipv6/conf/%s/disable_ipv6=0 && podvm-netplug sync %s",
			   check_word(g->name).s, s->name);
	}
}

static bool same_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

static const Podvm__Link *link_of(const Podvm__Network *n, const char *name)
{
	size_t i;

	for (i = 0; i < n->n_links; i++)
		if (!strcmp(n->links[i]->name, name))
			return n->links[i];
	return NULL;
}

static bool has_address(const Podvm__Link *l, const Podvm__Address *a)
{
	size_t i;

	for (i = 0; l && i < l->n_addresses; i++)
		if (same_bytes(&l->addresses[i]->ip, &a->ip) &&
		    same_bytes(&l->addresses[i]->peer, &a->peer) &&
		    l->addresses[i]->prefix_len == a->prefix_len)
			return true;
	return false;
}

static const char *ip_text(const ProtobufCBinaryData *ip, char dst[48])
{
	return scan_ip_text(ip->len == 16 ? AF_INET6 : AF_INET, ip->data, dst);
}

static void guest_address(const struct check_state *s, struct check_findings *f)
{
	size_t i, k;

	for (i = 0; s->want && s->has && i < s->want->n_links; i++) {
		const Podvm__Link *l = s->want->links[i], *g = link_of(s->has, l->name);

		for (k = 0; g && k < l->n_addresses; k++) {
			char ip[48];

			if (has_address(g, l->addresses[k]))
				continue;
			check_found(f, l->name, "the guest lacks the pod's address %s/%u",
				    ip_text(&l->addresses[k]->ip, ip), l->addresses[k]->prefix_len);
			mend_by_sync(s, f);
		}
	}
}

static void guest_address_extra(const struct check_state *s, struct check_findings *f)
{
	size_t i, k, told = 0;

	for (i = 0; s->want && s->has && i < s->has->n_links; i++) {
		const Podvm__Link *g = s->has->links[i], *l = link_of(s->want, g->name);

		for (k = 0; l && k < g->n_addresses && told < TOLD_MAX; k++) {
			const Podvm__Address *a = g->addresses[k];
			char ip[48];

			if (has_address(l, a))
				continue;
			told++;
			ip_text(&a->ip, ip);
			check_found(f, g->name, "the guest has the address %s/%u, which the pod's network did not give it", ip, a->prefix_len);
			mend_inside(s, f);
			check_mend(f, "ip addr del %s/%u dev %s", ip, a->prefix_len, check_word(g->name).s);
		}
	}
}

/* Whether two messages say the same. */
static bool same(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	size_t n = protobuf_c_message_get_packed_size(a);
	_cleanup_free_ uint8_t *x = NULL, *y = NULL;

	if (n != protobuf_c_message_get_packed_size(b))
		return false;
	x = malloc(n + 1);
	y = malloc(n + 1);
	if (!x || !y)
		return false;
	protobuf_c_message_pack(a, x);
	protobuf_c_message_pack(b, y);
	return !memcmp(x, y, n);
}

static bool among(const ProtobufCMessage *m, ProtobufCMessage *const *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (same(m, v[i]))
			return true;
	return false;
}

#define MESSAGES(v) ((ProtobufCMessage *const *)(const void *)(v))

/* As ip(8) takes it; without what only distinguishes few routes. */
static void route_text(const Podvm__Route *r, char *dst, size_t room)
{
	char ip[48], via[48];
	int n = r->dst.len ? snprintf(dst, room, "%s/%u", ip_text(&r->dst, ip), r->dst_len) :
			     snprintf(dst, room, "default");

	if (r->gateway.len)
		n += snprintf(dst + n, room - (size_t)n, " via %s", ip_text(&r->gateway, via));
	if (*r->link)
		n += snprintf(dst + n, room - (size_t)n, " dev %s", check_word(r->link).s);
	if (r->table && r->table != RT_TABLE_MAIN)
		n += snprintf(dst + n, room - (size_t)n, " table %u", r->table);
	if (r->priority)
		snprintf(dst + n, room - (size_t)n, " metric %u", r->priority);
}

static const char *ip_cmd(uint32_t family)
{
	return family == AF_INET6 ? "ip -6" : "ip";
}

static void guest_route(const struct check_state *s, struct check_findings *f)
{
	char text[300];
	size_t i, told = 0;

	for (i = 0; s->want && s->has && i < s->want->n_routes && told < TOLD_MAX; i++) {
		const Podvm__Route *r = s->want->routes[i];

		if (among(&r->base, MESSAGES(s->has->routes), s->has->n_routes))
			continue;
		told++;
		route_text(r, text, sizeof(text));
		check_found(f, strlen(r->link) < SCAN_NAME_BYTES ? r->link : "", "the guest lacks the route %s%.200s, or has it with other metrics (MTU, ...)",
			    r->family == AF_INET6 ? "(IPv6) " : "", text);
		mend_by_sync(s, f);
	}
}

static void guest_route_extra(const struct check_state *s, struct check_findings *f)
{
	char text[300];
	size_t i, told = 0;

	for (i = 0; s->want && s->has && i < s->has->n_routes && told < TOLD_MAX; i++) {
		const Podvm__Route *r = s->has->routes[i];

		if (among(&r->base, MESSAGES(s->want->routes), s->want->n_routes))
			continue;
		told++;
		route_text(r, text, sizeof(text));
		check_found(f, "", "the guest has the route %s%.200s, which the pod's network did not give it",
			    r->family == AF_INET6 ? "(IPv6) " : "", text);
		mend_inside(s, f);
		check_mend(f, "%s route del %s", ip_cmd(r->family), text);
	}
}

static uint32_t rule_priority(const Podvm__Rule *r)
{
	uint32_t v = 0;
	size_t i;

	for (i = 0; i < r->n_attributes; i++)
		if (r->attributes[i]->type == FRA_PRIORITY && r->attributes[i]->value.len == sizeof(v))
			memcpy(&v, r->attributes[i]->value.data, sizeof(v));
	return v;
}

static void guest_rule(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; s->want && s->has && i < s->want->n_rules; i++) {
		const Podvm__Rule *r = s->want->rules[i];

		if (among(&r->base, MESSAGES(s->has->rules), s->has->n_rules))
			continue;
		check_found(f, "", "the guest lacks the IPv%d routing rule with priority %u",
			    r->family == AF_INET6 ? 6 : 4, rule_priority(r));
		mend_by_sync(s, f);
	}
}

static void guest_rule_extra(const struct check_state *s, struct check_findings *f)
{
	size_t i, told = 0;

	for (i = 0; s->want && s->has && i < s->has->n_rules && told < TOLD_MAX; i++) {
		const Podvm__Rule *r = s->has->rules[i];

		if (r->remove || among(&r->base, MESSAGES(s->want->rules), s->want->n_rules))
			continue;
		told++;
		check_found(f, "", "the guest has an IPv%d routing rule with priority %u, which the pod's network did not give it",
			    r->family == AF_INET6 ? 6 : 4, rule_priority(r));
		mend_inside(s, f);
		check_mend(f, "%s rule del pref %u", ip_cmd(r->family), rule_priority(r));
	}
}

static void guest_neighbour(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; s->want && s->has && i < s->want->n_neighbours; i++) {
		const Podvm__Neighbour *n = s->want->neighbours[i];
		char ip[48];

		/* What both have learned is of no lasting meaning. */
		if ((n->state && !(n->state & NUD_PERMANENT)) ||
		    among(&n->base, MESSAGES(s->has->neighbours), s->has->n_neighbours))
			continue;
		check_found(f, strlen(n->link) < SCAN_NAME_BYTES ? n->link : "", "the guest lacks the permanent neighbour %s, or has it with another MAC",
			    ip_text(&n->ip, ip));
		mend_by_sync(s, f);
	}
}

static void guest_gateway(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; s->has && i < s->has->n_routes; i++) {
		const Podvm__Route *r = s->has->routes[i];
		char ip[48];

		if (r->dst.len || !r->gateway.len ||
		    !(guest_neigh_state(&s->guest, r->gateway.len == 16 ? AF_INET6 : AF_INET,
					r->gateway.data) & (NUD_FAILED | NUD_INCOMPLETE)))
			continue;
		check_found(f, strlen(r->link) < SCAN_NAME_BYTES ? r->link : "", "the guest's gateway %s does not answer (%s failed): nothing beyond the pod's own network is reached",
			    ip_text(&r->gateway, ip), r->gateway.len == 16 ? "neighbour discovery" : "ARP");
		mend_inside(s, f);
		check_mend(f, "ip neigh del %s dev %s", ip, check_word(r->link).s);
	}
}

static void guest_dad(const struct check_state *s, struct check_findings *f)
{
	const struct scan *g = s->guest.scan;
	size_t i;

	for (i = 0; g && i < g->n_addrs; i++) {
		const struct scan_link *l = scan_link_at(g, g->addr[i].ifindex);
		const struct check_word name = check_word(l ? l->name : "");
		char ip[48];

		if (!l || !(g->addr[i].flags & IFA_F_DADFAILED))
			continue;
		scan_ip_text(AF_INET6, g->addr[i].ip, ip);
		check_found(f, l->name, "the guest's address %s failed duplicate address detection and is not used", ip);
		mend_inside(s, f);
		check_mend(f, "ip addr del %s/%u dev %s && podvm-netplug sync %s", ip,
			   g->addr[i].prefix_len, name.s, s->name);
	}
}

static void guest_offload(const struct check_state *s, struct check_findings *f)
{
	const uint32_t both = PODVM__LINK_STATE__FEATURE__TX_CSUM | PODVM__LINK_STATE__FEATURE__TSO;

	EACH_JOINED(s) {
		const struct scan_link *g = in_guest(s, p->link);
		const Podvm__LinkState *l = g ? guest_link(&s->guest, g->name) : NULL;

		if (!l || (l->features & both) == both)
			continue;
		check_found(f, p->link->name, "the guest sums or cuts every packet by itself: checksum or segmentation offload is off");
		mend_inside(s, f);
		check_mend(f, "ethtool -K %s tx on tso on", check_word(g->name).s);
	}
}

/* Whether a resolv.conf names a server. */
static bool has_nameserver(const ProtobufCBinaryData *text)
{
	const char *at = (const char *)text->data, *end = at + text->len;

	while (at && at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));

		if (end - at > 11 && !memcmp(at, "nameserver", 10) && (at[10] == ' ' || at[10] == '\t'))
			return true;
		at = nl ? nl + 1 : NULL;
	}
	return false;
}

static void dns_none(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; s->guest.state && i < s->guest.state->n_resolvers; i++) {
		const Podvm__Resolver *r = s->guest.state->resolvers[i];
		const struct check_word id = check_word(r->container);

		if (has_nameserver(&r->text))
			continue;
		check_found(f, "", "container %.80s %s: names are not resolved", r->container,
			    r->present ? "has no nameserver in its /etc/resolv.conf" : "has no /etc/resolv.conf");
		if (strcmp(s->t->root, POD_DEFAULT_ROOT))
			check_mend(f, "podvm --root %s exec %s ", check_word(s->t->root).s, id.s);
		else
			check_mend(f, "podvm exec %s ", id.s);
		check_mend(f, "sh -c 'echo nameserver %s >> /etc/resolv.conf'", s->nameserver);
	}
}

const struct check_rule check_rules_guest[] = {
	{ "guest-silent", CHECK_ERROR, "the guest does not answer", guest_silent },
	{ "guest-cut", CHECK_WARNING, "guest and namespace cannot be compared", guest_cut },
	{ "device-broken", CHECK_ERROR, "an interface of the machine has stopped", device_broken },
	{ "guest-no-link", CHECK_ERROR, "the guest lacks an interface, or its MAC", guest_no_link },
	{ "guest-link-down", CHECK_ERROR, "the guest's interface is down", guest_link_down },
	{ "guest-name", CHECK_WARNING, "the guest's interface has another name", guest_name },
	{ "guest-mtu", CHECK_ERROR, "the guest has another MTU", guest_mtu },
	{ "guest-ipv6-off", CHECK_ERROR, "IPv6 is switched off in the guest", guest_ipv6_off },
	{ "guest-address", CHECK_ERROR, "the guest lacks an address", guest_address },
	{ "guest-address-extra", CHECK_WARNING, "the guest has an address of its own", guest_address_extra },
	{ "guest-route", CHECK_ERROR, "the guest lacks a route", guest_route },
	{ "guest-route-extra", CHECK_WARNING, "the guest has a route of its own", guest_route_extra },
	{ "guest-rule", CHECK_ERROR, "the guest lacks a routing rule", guest_rule },
	{ "guest-rule-extra", CHECK_WARNING, "the guest has a routing rule of its own", guest_rule_extra },
	{ "guest-neighbour", CHECK_ERROR, "the guest lacks a permanent neighbour", guest_neighbour },
	{ "guest-gateway", CHECK_ERROR, "the guest's gateway does not answer", guest_gateway },
	{ "guest-dad", CHECK_ERROR, "an address of the guest was a duplicate", guest_dad },
	{ "guest-offload", CHECK_WARNING, "the guest's offloads are off", guest_offload },
	{ "dns-none", CHECK_WARNING, "a container has no nameserver", dns_none },
};
const size_t check_n_rules_guest = ARRAY_LEN(check_rules_guest);
