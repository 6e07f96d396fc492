// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads links, addresses, routes, known neighbours and rules of a network
 * namespace into plain structs, without judging them. Where a route has an
 * attribute that the structs have no field for, its name is kept, so that the
 * plan can refuse it by name. What tc has on the links is read by scan-tc.c.
 *
 * The dumps are separate questions; if one of them says that its objects
 * changed meanwhile, everything is read again, a few times.
 *
 * A kernel without IPv6 or without policy rules answers those questions with
 * an error of its own, or, for a family that it does not know, with another
 * family's objects: the first reads as none, the second are skipped.
 *
 * Sources: rtnetlink(7); linux/rtnetlink.h, if_addr.h, neighbour.h, fib_rules.h.
 */
#include "netplug/scan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "netplug/scan-impl.h"

/* How often a namespace that changes while it is read is read again. */
#define SCAN_TRIES 8

#ifndef IFA_PROTO
#define IFA_PROTO 11
#endif

/* Also attributes of rules that later kernels have: a rule is not read by half. */
#define RULE_TYPES 64

/* FRA_SPORT_MASK, FRA_DPORT_MASK of Linux 6.15. */
#define RULE_SPORT_MASK 28
#define RULE_DPORT_MASK 29

/* Neighbours that have answered once. */
#define NEIGH_KNOWN (NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

/**
 * scan_grow() - room for one more object, zeroed
 * @array: of @n objects of @size bytes; moved and counted up
 * @what:  for the refusal
 *
 * Return: the new object, or NULL with @e set
 */
void *scan_grow(void *array, size_t *n, size_t size, const char *what,
		struct err *e)
{
	void **at = array;
	void *more;

	if (*n >= SCAN_MAX) {
		err_set(e, E2BIG, "more than %d %s", SCAN_MAX, what);
		return NULL;
	}
	/* Doubles at the powers of two. */
	if (!(*n & (*n - 1)) || !*n) {
		more = realloc(*at, (*n ? *n * 2 : 1) * size);
		if (!more) {
			err_set(e, ENOMEM, "out of memory");
			return NULL;
		}
		*at = more;
	}
	more = (char *)*at + (*n)++ * size;
	memset(more, 0, size);
	return more;
}

static int short_message(struct err *e)
{
	return err_set(e, EBADMSG, "netlink: message is cut short");
}

/* What only some kinds of interface have. */
static void kind_data(struct scan_link *l, const struct nlattr *nest)
{
	const struct nlattr *ipvlan[IFLA_IPVLAN_MAX + 1], *tun[IFLA_TUN_MAX + 1];
	uint8_t flag[2] = { 0 };

	if (!strcmp(l->kind, "ipvlan")) {
		nl_nested(nest, ipvlan, IFLA_IPVLAN_MAX + 1);
		nl_bytes(ipvlan[IFLA_IPVLAN_MODE], &l->mode, sizeof(l->mode));
	} else if (!strcmp(l->kind, "tun")) {
		nl_nested(nest, tun, IFLA_TUN_MAX + 1);
		nl_bytes(tun[IFLA_TUN_PERSIST], &flag[0], 1);
		nl_bytes(tun[IFLA_TUN_MULTI_QUEUE], &flag[1], 1);
		l->persist = flag[0];
		l->many = flag[1];
	}
}

static int on_link(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	struct rtnl_link_stats64 st;
	const struct ifinfomsg *m = nl_attrs(h, sizeof(*m), tb, IFLA_MAX + 1);
	struct scan *s = arg;
	struct scan_link *l;

	if (!m)
		return short_message(e);
	l = scan_grow(&s->link, &s->n_links, sizeof(*l), "interfaces", e);
	if (!l)
		return -e->code;
	l->ifindex = (uint32_t)m->ifi_index;
	l->flags = m->ifi_flags;
	l->arphrd = m->ifi_type;
	l->mtu = nl_u32(tb[IFLA_MTU], 0);
	l->peer = nl_u32(tb[IFLA_LINK], 0);
	l->lower_here = l->peer && l->peer != l->ifindex && !tb[IFLA_LINK_NETNSID];
	l->peer_nsid = (int32_t)nl_u32(tb[IFLA_LINK_NETNSID], UINT32_MAX);
	l->mac_len = nl_bytes(tb[IFLA_ADDRESS], l->mac, sizeof(l->mac));
	l->queue_len = nl_u32(tb[IFLA_TXQLEN], 0);
	sysctl_of_link(tb[IFLA_AF_SPEC], l);
	nl_str(tb[IFLA_IFNAME], l->name, sizeof(l->name));
	nl_str(tb[IFLA_IFALIAS], l->alias, sizeof(l->alias));
	nl_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_MAX + 1);
	nl_str(info[IFLA_INFO_KIND], l->kind, sizeof(l->kind));
	kind_data(l, info[IFLA_INFO_DATA]);
	nl_struct(tb[IFLA_STATS64], &st, sizeof(st));
	l->rx_packets = st.rx_packets;
	l->rx_bytes = st.rx_bytes;
	l->rx_dropped = st.rx_dropped;
	l->tx_packets = st.tx_packets;
	l->tx_bytes = st.tx_bytes;
	l->tx_dropped = st.tx_dropped;
	return 0;
}

static size_t ip_len(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static int on_addr(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFA_PROTO + 1];
	const struct ifaddrmsg *m = nl_attrs(h, sizeof(*m), tb, IFA_PROTO + 1);
	struct ifa_cacheinfo ci = { .ifa_valid = UINT32_MAX, .ifa_prefered = UINT32_MAX };
	struct scan *s = arg;
	struct scan_addr *a;
	size_t len;

	if (!m)
		return short_message(e);
	if (m->ifa_family != AF_INET && m->ifa_family != AF_INET6)
		return 0;
	a = scan_grow(&s->addr, &s->n_addrs, sizeof(*a), "addresses", e);
	if (!a)
		return -e->code;
	len = ip_len(m->ifa_family);
	a->family = m->ifa_family;
	a->prefix_len = m->ifa_prefixlen;
	a->scope = m->ifa_scope;
	a->ifindex = m->ifa_index;
	a->flags = nl_u32(tb[IFA_FLAGS], m->ifa_flags);
	a->proto = (uint8_t)nl_u32(tb[IFA_PROTO], 0);
	a->priority = nl_u32(tb[IFA_RT_PRIORITY], 0);
	/* IFA_LOCAL is ours and IFA_ADDRESS the peer; without a peer they may be one. */
	nl_bytes(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], a->ip, len);
	nl_bytes(tb[IFA_ADDRESS], a->peer, len);
	a->has_peer = tb[IFA_LOCAL] && tb[IFA_ADDRESS] &&
		      memcmp(a->ip, a->peer, len);
	a->has_bcast = m->ifa_family == AF_INET &&
		       nl_bytes(tb[IFA_BROADCAST], a->bcast, 4) == 4;
	if (tb[IFA_CACHEINFO])
		nl_struct(tb[IFA_CACHEINFO], &ci, sizeof(ci));
	a->limited = ci.ifa_valid != UINT32_MAX || ci.ifa_prefered != UINT32_MAX;
	a->valid = ci.ifa_valid;
	a->preferred = ci.ifa_prefered;
	nl_str(tb[IFA_LABEL], a->label, sizeof(a->label));
	return 0;
}

/* Metrics are numbers but for the name of a congestion control. */
static void read_metrics(const struct nlattr *nest, struct scan_route *r)
{
	const struct nlattr *mx[RTAX_MAX + 1];
	int i;

	nl_nested(nest, mx, RTAX_MAX + 1);
	for (i = 1; i <= RTAX_MAX; i++)
		r->metric[i] = i == RTAX_CC_ALGO ? 0 : nl_u32(mx[i], 0);
	if (mx[RTAX_CC_ALGO] && !r->odd[0])
		snprintf(r->odd, sizeof(r->odd), "congestion control");
}

static const char *odd_attribute(const struct rtmsg *m,
				 const struct nlattr *const *tb)
{
	struct rta_cacheinfo ci = { 0 };

	nl_struct(tb[RTA_CACHEINFO], &ci, sizeof(ci));
	return tb[RTA_ENCAP_TYPE] && nl_u32(tb[RTA_ENCAP_TYPE], 0) ? "encapsulation" :
	       tb[RTA_NH_ID] && !tb[RTA_OIF] && !tb[RTA_MULTIPATH] &&
	       m->rtm_type == RTN_UNICAST ?
	       "nexthop object (without net.ipv4.nexthop_compat_mode=1)" :
	       tb[RTA_VIA] ? "gateway of other family" :
	       m->rtm_src_len ? "source prefix" :
	       tb[RTA_FLOW] && nl_u32(tb[RTA_FLOW], 0) ? "realm" :
	       nl_u32(tb[RTA_PREF], 0) ? "router preference" :
	       ci.rta_expires ? "lifetime" : "";
}

static const char *read_hop(const struct rtnexthop *nh, size_t len, struct scan_route *r)
{
	const struct rtattr *a = RTNH_DATA(nh);
	unsigned int left = (unsigned int)(len - sizeof(*nh));
	struct scan_nexthop *h = &r->hop[r->n_hops++];

	h->oif = (uint32_t)nh->rtnh_ifindex;
	h->weight = nh->rtnh_hops;
	h->flags = nh->rtnh_flags;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		uint16_t type = a->rta_type & NLA_TYPE_MASK;

		if (type == RTA_VIA)
			return "gateway of other family";
		if (type == RTA_ENCAP_TYPE)
			return "encapsulation";
		if (type == RTA_FLOW)
			return "realm";
		if (type != RTA_GATEWAY || RTA_PAYLOAD(a) != ip_len(r->family))
			continue;
		memcpy(h->gateway, RTA_DATA(a), RTA_PAYLOAD(a));
		h->has_gateway = true;
	}
	return "";
}

/* The ways of a multipath route. Return: what is odd about it, or "" */
static const char *read_hops(const struct nlattr *nest, struct scan_route *r)
{
	uint8_t buf[1024] __attribute__((aligned(4)));
	size_t len = nl_bytes(nest, buf, sizeof(buf)), at = 0;
	const char *odd = "";

	if (nest && !len)
		return "more ways than can be read";
	while (!odd[0] && at + sizeof(struct rtnexthop) <= len) {
		const struct rtnexthop *nh = (const void *)(buf + at);

		if (nh->rtnh_len < sizeof(*nh) || nh->rtnh_len > len - at)
			return "a broken list of ways";
		if (r->n_hops == SCAN_NEXTHOPS_MAX)
			return "more than 8 ways";
		odd = read_hop(nh, nh->rtnh_len, r);
		at += RTNH_ALIGN(nh->rtnh_len);
	}
	return odd;
}

static int on_route(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[RTA_MAX + 1];
	const struct rtmsg *m = nl_attrs(h, sizeof(*m), tb, RTA_MAX + 1);
	struct scan *s = arg;
	struct scan_route *r;
	const char *odd;
	uint32_t table;
	size_t len;

	if (!m)
		return short_message(e);
	table = nl_u32(tb[RTA_TABLE], m->rtm_table);
	if ((m->rtm_family != AF_INET && m->rtm_family != AF_INET6) ||
	    table == RT_TABLE_LOCAL || m->rtm_flags & RTM_F_CLONED)
		return 0;
	r = scan_grow(&s->route, &s->n_routes, sizeof(*r), "routes", e);
	if (!r)
		return -e->code;
	len = ip_len(m->rtm_family);
	r->family = m->rtm_family;
	r->dst_len = m->rtm_dst_len;
	r->protocol = m->rtm_protocol;
	r->scope = m->rtm_scope;
	r->type = m->rtm_type;
	r->tos = m->rtm_tos;
	r->flags = m->rtm_flags;
	r->table = table;
	r->oif = nl_u32(tb[RTA_OIF], 0);
	r->priority = nl_u32(tb[RTA_PRIORITY], 0);
	nl_bytes(tb[RTA_DST], r->dst, len);
	r->has_gateway = nl_bytes(tb[RTA_GATEWAY], r->gateway, len) == len;
	r->has_prefsrc = nl_bytes(tb[RTA_PREFSRC], r->prefsrc, len) == len;
	odd = odd_attribute(m, tb);
	if (!odd[0])
		odd = read_hops(tb[RTA_MULTIPATH], r);
	snprintf(r->odd, sizeof(r->odd), "%s", odd);
	read_metrics(tb[RTA_METRICS], r);
	return 0;
}

static int on_neigh(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[NDA_MAX + 1];
	const struct ndmsg *m = nl_attrs(h, sizeof(*m), tb, NDA_MAX + 1);
	struct scan *s = arg;
	struct scan_neigh *n;
	bool proxy;

	if (!m)
		return short_message(e);
	proxy = m->ndm_flags & NTF_PROXY;
	if ((m->ndm_family != AF_INET && m->ndm_family != AF_INET6) ||
	    (!proxy && (!(m->ndm_state & NEIGH_KNOWN) || !tb[NDA_LLADDR])))
		return 0;
	n = scan_grow(&s->neigh, &s->n_neighs, sizeof(*n), "neighbours", e);
	if (!n)
		return -e->code;
	n->family = m->ndm_family;
	n->ifindex = (uint32_t)m->ndm_ifindex;
	n->proxy = proxy;
	n->state = m->ndm_state;
	nl_bytes(tb[NDA_DST], n->ip, ip_len(n->family));
	n->mac_len = nl_bytes(tb[NDA_LLADDR], n->mac, sizeof(n->mac));
	return 0;
}

/* Keeps an attribute of a rule; what selects by things that no guest has is odd. */
static void read_rule_attr(const struct nlattr *a, uint16_t type, struct scan_rule *r)
{
	struct scan_rule_attr *to = &r->attr[r->n_attrs];

	switch (type) {
	case FRA_TABLE: case FRA_PRIORITY: case FRA_PROTOCOL:
		break;
	case FRA_DST: case FRA_SRC: case FRA_IIFNAME: case FRA_OIFNAME: case FRA_FWMARK:
	case FRA_FWMASK: case FRA_GOTO: case FRA_UID_RANGE: case FRA_IP_PROTO:
	case FRA_SPORT_RANGE: case FRA_DPORT_RANGE:
		r->plain = false;
		break;
	case FRA_SUPPRESS_PREFIXLEN: case FRA_SUPPRESS_IFGROUP:
		if (nl_u32(a, UINT32_MAX) == UINT32_MAX)
			return;
		r->plain = false;
		if (type == FRA_SUPPRESS_IFGROUP)
			r->odd = "a group of interfaces";
		break;
	case RULE_SPORT_MASK: case RULE_DPORT_MASK:
		/* All bits of one port: what the range says already. */
		if (nl_u32(a, 0) == UINT16_MAX)
			return;
		r->odd = "a mask of ports";
		r->plain = false;
		return;
	case FRA_PAD:
		return;
	default:
		r->plain = false;
		r->odd = type == FRA_L3MDEV ? "a VRF" : type == FRA_FLOW ? "a realm" :
			 type == FRA_TUN_ID ? "a tunnel" : "an unknown condition";
		return;
	}
	to->type = type;
	to->len = (uint16_t)nl_bytes(a, to->value, sizeof(to->value));
	if (to->len)
		r->n_attrs++;
}

static int on_rule(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[RULE_TYPES];
	const struct fib_rule_hdr *m = nl_attrs(h, sizeof(*m), tb, RULE_TYPES);
	struct scan *s = arg;
	struct scan_rule *r;
	uint16_t i;

	if (!m)
		return short_message(e);
	if (m->family != AF_INET && m->family != AF_INET6)
		return 0;
	r = scan_grow(&s->rule, &s->n_rules, sizeof(*r), "rules", e);
	if (!r)
		return -e->code;
	r->family = m->family;
	r->dst_len = m->dst_len;
	r->src_len = m->src_len;
	r->tos = m->tos;
	r->action = m->action;
	r->head_table = m->table;
	r->flags = m->flags & FIB_RULE_INVERT;
	r->priority = nl_u32(tb[FRA_PRIORITY], 0);
	r->table = nl_u32(tb[FRA_TABLE], m->table);
	r->plain = !m->dst_len && !m->src_len && !m->tos &&
		   m->action == FR_ACT_TO_TBL && !r->flags;
	for (i = 1; i < RULE_TYPES; i++)
		if (tb[i] && r->n_attrs < SCAN_RULE_ATTRS_MAX)
			read_rule_attr(tb[i], i, r);
	return 0;
}

static int dump(struct nl *nl, uint16_t type, const void *head, size_t len,
		nl_fn *fn, struct scan *s, const char *what, struct err *e)
{
	int rc;

	nl_msg(nl, type, 0, head, len);
	rc = nl_dump(nl, fn, s, e);
	/* No IPv6, no policy rules in this kernel: then there are none. */
	if (rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP)
		return 0;
	return rc < 0 ? err_wrap(e, "read %s", what) : 0;
}

static int read_all(struct nl *nl, struct scan *s, struct err *e)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	struct ndmsg proxies = { .ndm_flags = NTF_PROXY };
	size_t i;
	int rc;

	rc = dump(nl, RTM_GETLINK, &link, sizeof(link), on_link, s,
		  "interfaces", e);
	for (i = 0; i < ARRAY_LEN(families) && !rc; i++) {
		struct ifaddrmsg addr = { .ifa_family = families[i] };
		struct rtmsg route = { .rtm_family = families[i] };
		struct fib_rule_hdr rule = { .family = families[i] };
		struct ndmsg neigh = { .ndm_family = families[i] };
		const struct { uint16_t type; const void *head; size_t len;
			       nl_fn *fn; const char *what; } ask[] = {
			{ RTM_GETADDR, &addr, sizeof(addr), on_addr, "addresses" },
			{ RTM_GETROUTE, &route, sizeof(route), on_route, "routes" },
			{ RTM_GETRULE, &rule, sizeof(rule), on_rule, "rules" },
			{ RTM_GETNEIGH, &neigh, sizeof(neigh), on_neigh, "neighbours" },
			{ RTM_GETNEIGH, &proxies, sizeof(proxies), on_neigh,
			  "neighbour proxies" },
		};
		size_t k;

		proxies.ndm_family = families[i];
		for (k = 0; k < ARRAY_LEN(ask) && !rc; k++)
			rc = dump(nl, ask[k].type, ask[k].head, ask[k].len,
				  ask[k].fn, s, ask[k].what, e);
	}
	return rc;
}

/**
 * scan_link_get() - read one interface
 * @s: it is put behind what is there
 *
 * Return: 0; -ENODEV; minus errno
 */
int scan_link_get(struct nl *nl, uint32_t ifindex, struct scan *s, struct err *e)
{
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex };

	nl_msg(nl, RTM_GETLINK, 0, &link, sizeof(link));
	return nl_get(nl, on_link, s, e);
}

static int by_ifindex(const void *a, const void *b)
{
	const struct scan_link *x = a, *y = b;

	return (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
}

/**
 * scan_read() - read a network namespace
 * @nl:  socket in it, borrowed
 * @ret: owned by the caller, scan_free()
 *
 * Return: 0; -EAGAIN if it never stood still; -E2BIG beyond SCAN_MAX; minus errno
 */
int scan_read(struct nl *nl, struct scan **ret, struct err *e)
{
	struct scan *s;
	int tries, rc;

	for (tries = 0;; tries++) {
		s = mem_new(struct scan);
		if (!s)
			return err_set(e, ENOMEM, "out of memory");
		rc = read_all(nl, s, e);
		if (!rc)
			rc = scan_tc(nl, s, e);
		if (!rc)
			break;
		scan_free(s);
		if (rc != -EAGAIN || tries == SCAN_TRIES)
			return rc;
	}
	if (s->n_links)
		qsort(s->link, s->n_links, sizeof(*s->link), by_ifindex);
	*ret = s;
	return 0;
}

static int on_message(const struct nlmsghdr *h, struct scan *s, struct err *e)
{
	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
		return on_link(h, s, e);
	case RTM_NEWADDR:
		return on_addr(h, s, e);
	case RTM_NEWROUTE:
		return on_route(h, s, e);
	case RTM_NEWRULE:
		return on_rule(h, s, e);
	case RTM_NEWNEIGH:
		return on_neigh(h, s, e);
	default:
		return err_set(e, EBADMSG, "netlink: a message of type %u", h->nlmsg_type);
	}
}

/**
 * scan_messages() - read what rtnetlink messages say, as scan_read() does but for tc
 * @data: messages one behind the other, padded to 4 bytes, aligned as malloc() does;
 *        may come from a guest
 * @ret:  owned by the caller, scan_free()
 *
 * Return: 0; -EBADMSG; -E2BIG beyond SCAN_MAX; -ENOMEM
 */
int scan_messages(const void *data, size_t len, struct scan **ret, struct err *e)
{
	struct scan *s = mem_new(struct scan);
	const struct nlmsghdr *h;
	size_t at, left;
	int rc = s ? 0 : err_set(e, ENOMEM, "out of memory");

	for (at = 0; at < len && !rc;) {
		h = (const void *)((const char *)data + at);
		left = len - at;
		if (left < sizeof(*h) || h->nlmsg_len < sizeof(*h) || h->nlmsg_len > left)
			rc = short_message(e);
		else
			rc = on_message(h, s, e);
		if (!rc)
			at += NLMSG_ALIGN((size_t)h->nlmsg_len);
	}
	if (rc < 0) {
		scan_free(s);
		return rc;
	}
	if (s->n_links)
		qsort(s->link, s->n_links, sizeof(*s->link), by_ifindex);
	*ret = s;
	return 0;
}

/**
 * scan_free() - free what was read; NULL is fine
 */
void scan_free(struct scan *s)
{
	if (!s)
		return;
	free(s->link);
	free(s->addr);
	free(s->route);
	free(s->neigh);
	free(s->rule);
	free(s->qdisc);
	free(s->filter);
	sysctl_free(s->sysctls);
	free(s);
}

/**
 * scan_link_at() - the interface with an index
 *
 * Return: borrowed from @s, or NULL
 */
const struct scan_link *scan_link_at(const struct scan *s, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < s->n_links; i++)
		if (s->link[i].ifindex == ifindex)
			return &s->link[i];
	return NULL;
}

/**
 * scan_link_named() - the interface with a name
 *
 * Return: borrowed from @s, or NULL
 */
const struct scan_link *scan_link_named(const struct scan *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->n_links; i++)
		if (!strcmp(s->link[i].name, name))
			return &s->link[i];
	return NULL;
}

/**
 * scan_ip_text() - an address for people
 * @ip:  4 or 16 bytes by @family
 * @dst: room for any
 *
 * Return: @dst
 */
const char *scan_ip_text(uint8_t family, const uint8_t *ip, char dst[48])
{
	if (!inet_ntop(family, ip, dst, 48))
		snprintf(dst, 48, "?");
	return dst;
}
