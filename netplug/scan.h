/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_SCAN_H
#define NETPLUG_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/rtnetlink.h>

#include "lib/err.h"
#include "netplug/nl.h"
#include "netplug/sysctl.h"

/* Most objects of one sort that are read from a namespace. */
#define SCAN_MAX 16384

/* Interface names and kinds, NUL included (IFNAMSIZ; rtnl_link_ops are shorter). */
#define SCAN_NAME_BYTES 16

/* A tap of ours bears this, and the interface's name behind it, as its alias. */
#define SCAN_TAP_ALIAS "podvm:"

/* An action of ours bears these bytes as its cookie (TCA_ACT_COOKIE). */
#define SCAN_ACT_COOKIE "podvm-netplug"

/**
 * struct scan_link - an interface
 * @alias:     empty if none
 * @kind:      IFLA_INFO_KIND, empty for a device that has none
 * @peer:      IFLA_LINK: of a veth the peer's index in its own namespace, of a macvlan
 *             and its like the lower interface's; 0 if none
 * @lower_here: @peer is an interface of this namespace
 * @peer_nsid: number that this namespace has for the one of @peer; -1: none
 * @mode:      of an ipvlan: IPVLAN_MODE_*
 * @persist:   of a tap: it stays when nobody holds it
 * @many:      of a tap: it takes several queues
 * @flags:     IFF_*
 * @mac_len:   bytes of @mac
 * @arphrd:    ARPHRD_*
 * @queue_len: packets (txqueuelen)
 * @conf:      settings for IPv4 and IPv6
 * @secret:    that its stable addresses are made with; empty: none
 */
struct scan_link {
	char name[SCAN_NAME_BYTES];
	char alias[64];
	char kind[SCAN_NAME_BYTES];
	uint32_t ifindex;
	uint32_t peer;
	bool lower_here, persist, many;
	int32_t peer_nsid;
	uint16_t mode;
	uint32_t flags;
	uint32_t mtu;
	uint16_t arphrd;
	uint8_t mac[6];
	size_t mac_len;
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped;
	uint32_t queue_len;
	struct sysctl_conf conf[2];
	char secret[48];
};

/**
 * struct scan_addr - an address of an interface
 * @ip:       the interface's own, 4 or 16 bytes by @family
 * @peer:     valid if @has_peer
 * @bcast:    IPv4, valid if @has_bcast
 * @limited:  it is not preferred for ever
 * @valid:    seconds that it is left, if @limited; UINT32_MAX: for ever
 * @preferred: the same until it is deprecated
 * @label:    IPv4; the interface's name if there is no other
 * @proto:    IFAPROT_*
 * @priority: metric of its prefix route; 0: the kernel's default
 */
struct scan_addr {
	uint8_t family, prefix_len, scope, proto;
	bool has_peer, has_bcast, limited;
	uint32_t valid, preferred;
	char label[SCAN_NAME_BYTES];
	uint32_t ifindex;
	uint32_t flags;
	uint32_t priority;
	uint8_t ip[16], peer[16], bcast[4];
};

/* Ways of a multipath route. */
#define SCAN_NEXTHOPS_MAX 8

/**
 * struct scan_nexthop - one way of a multipath route
 * @weight: as the kernel counts it, from 0
 */
struct scan_nexthop {
	uint32_t oif;
	uint8_t weight, flags;
	bool has_gateway;
	uint8_t gateway[16];
};

/**
 * struct scan_route - a route outside of the local table
 * @oif:    0 if none
 * @metric: by RTAX_*, 0 if not set
 * @hop:    @n_hops of them; a route of one way has none
 * @odd:    what the plan has no word for ("nexthop object", ...), else empty
 */
struct scan_route {
	uint8_t family, dst_len, protocol, scope, type, tos;
	bool has_gateway, has_prefsrc;
	uint32_t oif, table, priority, flags;
	uint32_t metric[RTAX_MAX + 1];
	uint8_t dst[16], gateway[16], prefsrc[16];
	struct scan_nexthop hop[SCAN_NEXTHOPS_MAX];
	size_t n_hops;
	char odd[64];
};

/**
 * struct scan_neigh - a neighbour whose link address is known, or a proxy entry
 * @state: NUD_*
 */
struct scan_neigh {
	uint8_t family;
	uint16_t state;
	bool proxy;
	uint32_t ifindex;
	uint8_t ip[16];
	uint8_t mac[6];
	size_t mac_len;
};

/* Attributes of a rule: each once, the longest is an IPv6 address or a name. */
#define SCAN_RULE_ATTRS_MAX 20
#define SCAN_RULE_VALUE_BYTES 16

struct scan_rule_attr {
	uint16_t type, len;
	uint8_t value[SCAN_RULE_VALUE_BYTES];
};

/**
 * struct scan_rule - a policy routing rule
 * @plain: selects everything and only looks @table up
 * @attr:  as the kernel gave them, @n_attrs of them
 * @odd:   what the plan has no word for, else empty
 */
struct scan_rule {
	uint8_t family, dst_len, src_len, tos, action, head_table;
	bool plain;
	uint32_t priority, table, flags;
	struct scan_rule_attr attr[SCAN_RULE_ATTRS_MAX];
	size_t n_attrs;
	const char *odd;
};

struct scan_qdisc {
	uint32_t ifindex, handle, parent;
	char kind[SCAN_NAME_BYTES];
	uint64_t drops;
};

/**
 * struct scan_filter - an ingress filter
 * @to:   interface that a mirred action redirects to; 0 if none or gone
 * @ours: its action bears SCAN_ACT_COOKIE
 */
struct scan_filter {
	uint32_t ifindex, parent, handle, pref, to;
	bool ours;
	char kind[SCAN_NAME_BYTES];
	uint64_t packets, bytes, drops;
};

/**
 * struct scan - what is in a network namespace
 *
 * Links are sorted by index. The rest is in the kernel's order, which for IPv4
 * addresses is the order in which they must be added to come out the same.
 */
struct scan {
	struct scan_link *link;
	struct scan_addr *addr;
	struct scan_route *route;
	struct scan_neigh *neigh;
	struct scan_rule *rule;
	struct scan_qdisc *qdisc;
	struct scan_filter *filter;
	struct sysctls *sysctls;	/* NULL: not read */
	size_t n_links, n_addrs, n_routes, n_neighs, n_rules, n_qdiscs, n_filters;
};

int scan_read(struct nl *nl, struct scan **ret, struct err *e);
int scan_messages(const void *data, size_t len, struct scan **ret, struct err *e);
int scan_link_get(struct nl *nl, uint32_t ifindex, struct scan *s, struct err *e);
int scan_filters(struct nl *nl, uint32_t ifindex, uint32_t parent,
		 struct scan *s, struct err *e);
int scan_qdiscs(struct nl *nl, struct scan *s, struct err *e);
void scan_free(struct scan *s);
const struct scan_link *scan_link_at(const struct scan *s, uint32_t ifindex);
const struct scan_link *scan_link_named(const struct scan *s, const char *name);
const char *scan_ip_text(uint8_t family, const uint8_t *ip, char dst[48]);

#endif
