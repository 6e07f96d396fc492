// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Makes the guest's network what the plan says, which is what the pod's
 * network namespace on the host had. A device is found by its MAC address,
 * for the order of probing names devices. Stages, each for all links before
 * the next:
 * - rename: through temporary names, so that eth0 and eth1 can swap;
 * - configure: MTU, no IPv6 autoconfiguration (before the link is up: only the
 *   plan's addresses may be there), up, addresses without duplicate detection
 *   (the host's CNI plugin has claimed them already), permanent neighbours;
 * - routes: those without a gateway first, narrow scopes first; what the kernel
 *   refuses as unreachable is tried again while others still succeed;
 * - rules, in their order: among equal priorities the earlier one comes first.
 * What is there already, as the kernel's own prefix routes are, is a success.
 *
 * Source: rtnetlink(7); kernel Documentation/networking/ip-sysctl.rst.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"

/* A device that the host plugs with the pod's start may still be on its way. */
#define LINK_WAIT_MS 3000

/* Flags that describe what the kernel did with an address, not what was asked. */
#define ADDR_FLAGS_STATE (IFA_F_PERMANENT | IFA_F_TENTATIVE | IFA_F_DADFAILED | \
			  IFA_F_DEPRECATED | IFA_F_TEMPORARY | IFA_F_OPTIMISTIC)

static const char *mac_text(const ProtobufCBinaryData *m, char buf[18])
{
	const uint8_t *b = m->data;

	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3],
		 b[4], b[5]);
	return buf;
}

static const char *ip_text(const ProtobufCBinaryData *ip, char buf[INET6_ADDRSTRLEN])
{
	if ((ip->len != 4 && ip->len != 16) ||
	    !inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->data, buf, INET6_ADDRSTRLEN))
		snprintf(buf, INET6_ADDRSTRLEN, "(%zu bytes)", ip->len);
	return buf;
}

static bool is_loopback(const Podvm__Link *l)
{
	return !strcmp(l->name, "lo");
}

static const struct rtm_link *find_link(const struct rtm_link *v, size_t n,
				       const Podvm__Link *l)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (is_loopback(l) ? !strcmp(v[i].name, "lo")
				   : v[i].has_mac && strcmp(v[i].name, "lo") &&
				     !memcmp(v[i].mac, l->mac.data, 6))
			return &v[i];
	return NULL;
}

static int check_link(const Podvm__Link *l, struct err *e)
{
	if (!*l->name || strlen(l->name) >= IFNAMSIZ || strchr(l->name, '/') ||
	    !strcmp(l->name, ".") || !strcmp(l->name, ".."))
		return err_set(e, EINVAL, "link %s: not a name of a link", l->name);
	if (!is_loopback(l) && l->mac.len != 6)
		return err_set(e, EINVAL, "link %s: MAC of %zu bytes", l->name, l->mac.len);
	return 0;
}

/* Waits, bounded, until every link of the plan has its device. */
static int wait_links(int nl, const Podvm__Network *n, int *index, struct err *e)
{
	const struct timespec nap = { 0, 10000000 };
	uint64_t end = clock_ms() + LINK_WAIT_MS;
	char mac[18];

	for (;;) {
		_cleanup_free_ struct rtm_link *v = NULL;
		const Podvm__Link *missing = NULL;
		size_t n_v, i;
		int rc = rtm_links(nl, &v, &n_v, e);

		if (rc < 0)
			return rc;
		for (i = 0; i < n->n_links; i++) {
			const struct rtm_link *l = find_link(v, n_v, n->links[i]);

			if (l)
				index[i] = l->index;
			else
				missing = n->links[i];
		}
		if (!missing)
			return 0;
		if (clock_ms() > end)
			return err_set(e, ENODEV, "link %s: the VM has no network device %s",
				       missing->name, mac_text(&missing->mac, mac));
		disk_rescan();
		nanosleep(&nap, NULL);
	}
}

static int set_link(int nl, int index, unsigned int change, unsigned int flags,
		    const char *name, uint32_t mtu, struct err *e)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index,
				 .ifi_change = change, .ifi_flags = flags };
	struct rtm_msg m;

	rtm_start(&m, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	if (name)
		rtm_put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	if (mtu)
		rtm_put_u32(&m, IFLA_MTU, mtu);
	return rtm_talk(nl, &m, e);
}

static int rename_all(int nl, const Podvm__Network *n, const int *index,
		      struct err *e)
{
	size_t i;
	int rc;

	for (i = 0; i < n->n_links; i++) {
		char tmp[IFNAMSIZ];

		if (is_loopback(n->links[i]))
			continue;
		snprintf(tmp, sizeof(tmp), "podvm%d", index[i]);
		rc = set_link(nl, index[i], IFF_UP, 0, tmp, 0, e);
		if (rc < 0)
			return err_wrap(e, "link %s: rename to %s", n->links[i]->name, tmp);
	}
	for (i = 0; i < n->n_links; i++) {
		if (is_loopback(n->links[i]))
			continue;
		rc = set_link(nl, index[i], 0, 0, n->links[i]->name, 0, e);
		if (rc < 0)
			return err_wrap(e, "link %s: rename", n->links[i]->name);
	}
	return 0;
}

/* Only the plan's addresses: no router advertisements, no link-local of its own. */
static int quiet_ipv6(const char *name, struct err *e)
{
	static const char *const settings[][2] = {
		{ "accept_ra", "0" }, { "autoconf", "0" }, { "addr_gen_mode", "1" },
		{ "accept_dad", "0" }, { "dad_transmits", "0" },
	};
	_cleanup_close_ int dir = -1;
	char path[80];
	size_t i;
	int rc;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s", name);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", path);
	for (i = 0; i < ARRAY_LEN(settings); i++) {
		rc = file_write(dir, settings[i][0], settings[i][1], e);
		if (rc < 0)
			return err_wrap(e, "%s", path);
	}
	return 0;
}

static int add_address(int nl, int index, const Podvm__Address *a, struct err *e)
{
	bool v6 = a->ip.len == 16;
	const ProtobufCBinaryData *far = a->peer.len ? &a->peer : &a->ip;
	struct ifaddrmsg ifa = { .ifa_family = v6 ? AF_INET6 : AF_INET,
				 .ifa_prefixlen = (uint8_t)a->prefix_len,
				 .ifa_scope = (uint8_t)a->scope,
				 .ifa_index = (uint32_t)index };
	struct rtm_msg m;
	int rc;

	if ((a->ip.len != 4 && !v6) || a->prefix_len > a->ip.len * 8 ||
	    far->len != a->ip.len ||
	    (a->broadcast.len && (v6 || a->broadcast.len != 4)))
		return err_set(e, EINVAL, "malformed address");
	rtm_start(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &ifa, sizeof(ifa));
	rtm_put(&m, IFA_LOCAL, a->ip.data, a->ip.len);
	rtm_put(&m, IFA_ADDRESS, far->data, far->len);
	if (a->broadcast.len)
		rtm_put(&m, IFA_BROADCAST, a->broadcast.data, a->broadcast.len);
	rtm_put_u32(&m, IFA_FLAGS, (a->flags & ~(uint32_t)ADDR_FLAGS_STATE) |
				  (v6 ? IFA_F_NODAD : 0));
	rc = rtm_talk(nl, &m, e);
	return rc == -EEXIST ? 0 : rc;
}

static int configure(int nl, int index, const Podvm__Link *l, struct err *e)
{
	char ip[INET6_ADDRSTRLEN];
	size_t i;
	int rc;

	if (!is_loopback(l)) {
		rc = quiet_ipv6(l->name, e);
		if (rc < 0)
			return err_wrap(e, "link %s", l->name);
	}
	rc = set_link(nl, index, IFF_UP, IFF_UP, NULL, l->mtu, e);
	if (rc < 0)
		return err_wrap(e, "link %s: up with MTU %u", l->name, l->mtu);
	for (i = 0; i < l->n_addresses; i++) {
		rc = add_address(nl, index, l->addresses[i], e);
		if (rc < 0)
			return err_wrap(e, "link %s: address %s/%u", l->name,
					ip_text(&l->addresses[i]->ip, ip),
					l->addresses[i]->prefix_len);
	}
	return 0;
}

static int index_of(const Podvm__Network *n, const int *index, const char *name)
{
	size_t i;

	for (i = 0; i < n->n_links; i++)
		if (!strcmp(n->links[i]->name, name))
			return index[i];
	return !strcmp(name, "lo") ? 1 : 0;
}

static int add_neighbour(int nl, const Podvm__Network *n, const int *index,
			 const Podvm__Neighbour *g, struct err *e)
{
	struct ndmsg nd = { .ndm_family = g->ip.len == 16 ? AF_INET6 : AF_INET,
			    .ndm_state = NUD_PERMANENT,
			    .ndm_ifindex = index_of(n, index, g->link) };
	char ip[INET6_ADDRSTRLEN];
	struct rtm_msg m;

	if (!nd.ndm_ifindex || (g->ip.len != 4 && g->ip.len != 16) || g->mac.len != 6)
		return err_set(e, EINVAL, "neighbour %s: no link %s in the plan, or malformed",
			       ip_text(&g->ip, ip), g->link);
	rtm_start(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &nd, sizeof(nd));
	rtm_put(&m, NDA_DST, g->ip.data, g->ip.len);
	rtm_put(&m, NDA_LLADDR, g->mac.data, g->mac.len);
	if (rtm_talk(nl, &m, e) < 0)
		return err_wrap(e, "link %s: neighbour %s", g->link, ip_text(&g->ip, ip));
	return 0;
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
static int put_nexthops(struct rtm_msg *m, const Podvm__Route *r, const Podvm__Network *n,
			const int *index, struct err *e)
{
	size_t len = r->family == AF_INET ? 4 : 16, nest = rtm_nest(m, RTA_MULTIPATH), i, at;

	for (i = 0; i < r->n_nexthops; i++) {
		const Podvm__Nexthop *h = r->nexthops[i];
		struct rtnexthop nh = { .rtnh_flags = (uint8_t)(h->flags & RTNH_F_ONLINK),
					.rtnh_hops = (uint8_t)h->weight,
					.rtnh_ifindex = index_of(n, index, h->link) };

		if (!nh.rtnh_ifindex)
			return err_set(e, ENODEV, "the plan has no link %s", h->link);
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

static int add_route(int nl, const Podvm__Route *r, const Podvm__Network *n, const int *index,
		     struct err *e)
{
	uint32_t table = r->table ? r->table : RT_TABLE_MAIN;
	int oif = *r->link ? index_of(n, index, r->link) : 0;
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

	rtm_start(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, &rt, sizeof(rt));
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
	if (r->n_nexthops && (rc = put_nexthops(&m, r, n, index, e)) < 0)
		return rc;
	rc = rtm_talk(nl, &m, e);
	return rc == -EEXIST ? 0 : rc;
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
			r->dst.len ? ip_text(&r->dst, dst) : "default", r->dst_len,
			r->gateway.len ? " via " : "",
			r->gateway.len ? ip_text(&r->gateway, via) : "");
}

static bool worth_a_retry(int rc)
{
	return rc == -ENETUNREACH || rc == -EHOSTUNREACH || rc == -EINVAL;
}

static int add_routes(int nl, const Podvm__Network *n, const int *index,
		      struct err *e)
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
			int oif = *r->link ? index_of(n, index, r->link) : 0;
			int rc = check_route(r, e);

			if (rc >= 0 && *r->link && !oif)
				rc = err_set(e, ENODEV, "the plan has no such link");
			if (rc < 0)
				return route_failed(r, e);
			rc = add_route(nl, r, n, index, e);
			if (rc < 0 && !worth_a_retry(rc))
				return route_failed(r, e);
			if (rc < 0)
				left[n_left++] = r;
		}
	} while (n_left && n_left < before);
	/* @e is of the last one that failed, which is the last one left. */
	return n_left ? route_failed(left[n_left - 1], e) : 0;
}

static int add_rule(int nl, const Podvm__Rule *r, struct err *e)
{
	struct fib_rule_hdr h = { .family = (uint8_t)r->family,
				  .dst_len = (uint8_t)r->dst_len,
				  .src_len = (uint8_t)r->src_len,
				  .tos = (uint8_t)r->tos,
				  .table = (uint8_t)r->table,
				  .action = (uint8_t)r->action,
				  .flags = r->flags };
	struct rtm_msg m;
	size_t i;
	int rc;

	rtm_start(&m, r->remove ? RTM_DELRULE : RTM_NEWRULE, r->remove ? 0 : NLM_F_CREATE, &h,
		  sizeof(h));
	for (i = 0; i < r->n_attributes; i++)
		rtm_put(&m, (uint16_t)r->attributes[i]->type, r->attributes[i]->value.data,
			r->attributes[i]->value.len);
	rc = rtm_talk(nl, &m, e);
	return r->remove && rc == -ENOENT ? 0 : rc;
}

static int add_rules(int nl, const Podvm__Network *n, struct err *e)
{
	size_t i;

	for (i = 0; i < n->n_rules; i++)
		if (add_rule(nl, n->rules[i], e) < 0)
			return err_wrap(e, "%s rule number %zu of the plan",
					n->rules[i]->family == AF_INET ? "IPv4" : "IPv6", i + 1);
	return 0;
}

/**
 * net_setup() - apply the plan
 * @n: of the pod, or of links that were plugged later, borrowed
 *
 * Return: 0 or minus errno, naming the link and the address or route
 * Context: blocks for a missing device, bounded
 */
int net_setup(const Podvm__Network *n, struct err *e)
{
	_cleanup_free_ int *index = mem_new_n(int, n->n_links + 1);
	_cleanup_close_ int nl = -1;
	size_t i;
	int rc = 0;

	if (!index)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; rc >= 0 && i < n->n_links; i++)
		rc = check_link(n->links[i], e);
	if (rc < 0)
		return rc;
	rc = nl = rtm_open(e);
	if (rc >= 0)
		rc = wait_links(nl, n, index, e);
	if (rc >= 0)
		rc = rename_all(nl, n, index, e);
	for (i = 0; rc >= 0 && i < n->n_links; i++)
		rc = configure(nl, index[i], n->links[i], e);
	for (i = 0; rc >= 0 && i < n->n_neighbours; i++)
		rc = add_neighbour(nl, n, index, n->neighbours[i], e);
	if (rc >= 0)
		rc = add_routes(nl, n, index, e);
	return rc < 0 ? rc : add_rules(nl, n, e);
}

/**
 * net_remove() - take a device off its bus, so that the host can unplug it
 * @mac: that it is found by
 *
 * Return: 0, also when there is none; -ENOTSUP for one that is not on PCI; minus errno
 * Context: blocks until its driver has let go
 */
int net_remove(const ProtobufCBinaryData *mac, struct err *e)
{
	Podvm__Link l = PODVM__LINK__INIT;
	_cleanup_free_ struct rtm_link *v = NULL;
	_cleanup_close_ int nl = -1;
	const struct rtm_link *found;
	char path[80], none[1] = "", text[18];
	size_t n;
	int rc;

	if (mac->len != 6)
		return err_set(e, EINVAL, "MAC of %zu bytes", mac->len);
	l.name = none;
	l.mac = *mac;
	rc = nl = rtm_open(e);
	if (rc >= 0)
		rc = rtm_links(nl, &v, &n, e);
	if (rc < 0)
		return rc;
	found = find_link(v, n, &l);
	if (!found)
		return 0;
	/* The virtio device's parent is the PCI function. */
	snprintf(path, sizeof(path), "/sys/class/net/%s/device/../remove", found->name);
	rc = file_write(AT_FDCWD, path, "1", e);
	if (rc == -ENOENT)
		return err_set(e, ENOTSUP, "link %s (%s) is not on the PCI bus", found->name,
			       mac_text(mac, text));
	return rc < 0 ? err_wrap(e, "link %s", found->name) : 0;
}

/**
 * net_loopback_up() - bring lo of the current network namespace up
 *
 * Return: 0 or minus errno
 */
int net_loopback_up(struct err *e)
{
	_cleanup_close_ int nl = rtm_open(e);
	int rc;

	if (nl < 0)
		return nl;
	rc = set_link(nl, 1, IFF_UP, IFF_UP, NULL, 0, e);
	return rc < 0 ? err_wrap(e, "link lo: up") : 0;
}
