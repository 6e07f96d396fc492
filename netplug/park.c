// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * While a macvtap takes an interface's packets, the interface itself still hears what is
 * sent to everybody, and must not answer: its addresses, and what goes with them, leave
 * it, and come back when the macvtap is gone, exactly as they were. Each is kept in the
 * journal as the message that the kernel dumped, in hexadecimal, but for what only the
 * kernel says (states, ages):
 *
 *	netplug neigh  PATH ID INTERFACE IFINDEX MESSAGE	permanent ones
 *	netplug link   PATH ID INTERFACE IFINDEX MAC NOARP
 *	netplug ra     PATH ID INTERFACE IFINDEX ACCEPT_RA
 *	netplug route  PATH ID INTERFACE IFINDEX MESSAGE
 *	netplug routes PATH ID INTERFACE IFINDEX
 *	netplug addr   PATH ID INTERFACE IFINDEX MESSAGE
 *
 * All of them are written before the first thing is taken away. Undoing goes backwards:
 * addresses in the order that gives the same order again (new IPv6 addresses come before
 * the old); then "routes" takes away the routes that the kernel has made for them, so
 * that there are afterwards just those that were, each with all that it had: first
 * those without a gateway, by which the others are reached. Then the interface gets its
 * MAC back, which drops all neighbours, and those come last.
 *
 * Meanwhile the interface has IFF_NOARP: it answers nothing, and addresses that come
 * back need no duplicate address detection, since they were never anybody else's. It
 * hears no routers (accept_ra), and has, if the macvtap needs its MAC, another one.
 *
 * What comes back is what the interface can have: if it is gone, or down, its
 * routes are lost, as they would have been without us. Lifetimes go on meanwhile.
 *
 * Sources: rtnetlink(7); net/ipv4/fib_trie.c (fib_table_insert), net/ipv6/addrconf.c
 * (addrconf_dad_begin, ipv6_link_dev_addr), net/core/neighbour.c (neigh_changeaddr).
 */
#include "netplug/park.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include <libmnl/libmnl.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/netns.h"

/* Longest message that is kept; a route with 8 ways has some 300 bytes. */
#define MESSAGE_MAX 2000

/* How long addresses that are back may be without effect, milliseconds. */
#define SETTLE_MS 1000

/* Flags of a route that can be asked for. */
#define ROUTE_FLAGS (RTNH_F_ONLINK | RTNH_F_PERVASIVE)

/**
 * struct kept - a message
 * @late: a route that needs others first
 * @len:  of @data, bytes
 * @h:    its type and length; @data follows
 */
struct kept {
	bool late;
	size_t len;
	struct nlmsghdr h;
	uint8_t data[MESSAGE_MAX];
};

struct park {
	uint32_t ifindex;
	struct kept **kept;	/* owned, each and all */
	size_t n;
	uint32_t now;		/* seconds since the boot */
};

static uint32_t seconds(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint32_t)t.tv_sec;
}

static void park_free(struct park *p)
{
	while (p->n)
		free(p->kept[--p->n]);
	free(p->kept);
}

/* Keeps the header and the attributes of @h but for @without. */
static struct kept *keep(struct park *p, const struct nlmsghdr *h, size_t head,
			 uint64_t without, struct err *e)
{
	const struct nlattr *a;
	struct kept *k;

	if (h->nlmsg_len > MESSAGE_MAX) {
		err_set(e, E2BIG, "a route or address of %u bytes cannot be kept; use model tc",
			h->nlmsg_len);
		return NULL;
	}
	k = plan_append(&p->kept, &p->n, mem_new(struct kept));
	if (!k) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	k->h.nlmsg_type = h->nlmsg_type;
	memcpy(k->data, h + 1, head);
	k->len = NLMSG_ALIGN(head);
	mnl_attr_for_each(a, h, (unsigned int)head) {
		size_t len = NLA_ALIGN((size_t)a->nla_len);

		if (without & 1ull << (a->nla_type & NLA_TYPE_MASK & 63))
			continue;
		memcpy(k->data + k->len, a, a->nla_len);
		k->len += len;
	}
	k->h.nlmsg_len = (uint32_t)(sizeof(k->h) + k->len);
	return k;
}

static int on_addr(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFA_MAX + 1];
	const struct ifaddrmsg *m = nl_attrs(h, sizeof(*m), tb, IFA_MAX + 1);
	struct ifa_cacheinfo ci = { .ifa_valid = UINT32_MAX };
	struct park *p = arg;
	struct kept *k;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	if (m->ifa_index != p->ifindex ||
	    (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
		return 0;
	nl_struct(tb[IFA_CACHEINFO], &ci, sizeof(ci));
	k = keep(p, h, sizeof(*m), 1ull << IFA_CACHEINFO, e);
	if (!k)
		return -e->code;
	if (tb[IFA_CACHEINFO]) {
		struct nlattr a = { .nla_len = sizeof(a) + sizeof(ci), .nla_type = IFA_CACHEINFO };

		/* The kernel takes no time stamp; ours tells when this was left of it. */
		ci.tstamp = p->now;
		ci.cstamp = 0;
		memcpy(k->data + k->len, &a, sizeof(a));
		memcpy(k->data + k->len + sizeof(a), &ci, sizeof(ci));
		k->len += sizeof(a) + sizeof(ci);
	}
	return 0;
}

static bool of_prefsrc(const struct park *p, uint8_t family, const struct nlattr *src)
{
	const struct nlattr *tb[IFA_MAX + 1];
	size_t i;

	for (i = 0; i < p->n && src; i++) {
		const struct kept *k = p->kept[i];
		const struct nlattr *own;

		if (k->h.nlmsg_type != RTM_NEWADDR || k->data[0] != family)
			continue;
		nl_attrs(&k->h, sizeof(struct ifaddrmsg), tb, IFA_MAX + 1);
		own = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
		if (own && own->nla_len == src->nla_len &&
		    !memcmp(own + 1, src + 1, own->nla_len - sizeof(*own)))
			return true;
	}
	return false;
}

/* The ways of a multipath route in @k: states cleared. Return: one leads by the interface */
static bool clean_hops(struct park *p, struct kept *k, size_t head)
{
	uint8_t *end = k->data + k->len, *at = k->data + head;
	bool mine = false;

	for (; at + sizeof(struct nlattr) <= end;) {
		struct nlattr *a = (void *)at;
		uint8_t *hop = at + sizeof(*a), *stop = at + a->nla_len;

		at += NLA_ALIGN((size_t)a->nla_len);
		if ((a->nla_type & NLA_TYPE_MASK) != RTA_MULTIPATH)
			continue;
		while (hop + sizeof(struct rtnexthop) <= stop) {
			struct rtnexthop *nh = (void *)hop;

			if (nh->rtnh_len < sizeof(*nh))
				break;
			mine |= (uint32_t)nh->rtnh_ifindex == p->ifindex;
			nh->rtnh_flags &= ROUTE_FLAGS;
			hop += RTNH_ALIGN(nh->rtnh_len);
		}
	}
	return mine;
}

static int on_route(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[RTA_MAX + 1];
	const struct rtmsg *m = nl_attrs(h, sizeof(*m), tb, RTA_MAX + 1);
	struct park *p = arg;
	struct rtmsg *own;
	struct kept *k;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	if ((m->rtm_family != AF_INET && m->rtm_family != AF_INET6) ||
	    m->rtm_flags & RTM_F_CLONED ||
	    (nl_u32(tb[RTA_TABLE], m->rtm_table) == RT_TABLE_LOCAL &&
	     m->rtm_protocol == RTPROT_KERNEL))
		return 0;
	if (nl_u32(tb[RTA_OIF], 0) != p->ifindex && !tb[RTA_MULTIPATH] &&
	    !of_prefsrc(p, m->rtm_family, tb[RTA_PREFSRC]))
		return 0;
	k = keep(p, h, sizeof(*m), 1ull << RTA_CACHEINFO, e);
	if (!k)
		return -e->code;
	own = (void *)k->data;
	own->rtm_flags &= ROUTE_FLAGS;
	k->late = tb[RTA_GATEWAY] || tb[RTA_VIA] || tb[RTA_MULTIPATH];
	if (tb[RTA_MULTIPATH] && !clean_hops(p, k, sizeof(*m)) &&
	    !of_prefsrc(p, m->rtm_family, tb[RTA_PREFSRC]))
		free(p->kept[--p->n]);
	return 0;
}

static int on_neigh(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[NDA_MAX + 1];
	const struct ndmsg *m = nl_attrs(h, sizeof(*m), tb, NDA_MAX + 1);
	struct park *p = arg;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	if ((uint32_t)m->ndm_ifindex != p->ifindex || !(m->ndm_state & NUD_PERMANENT) ||
	    m->ndm_flags & NTF_PROXY)
		return 0;
	return keep(p, h, sizeof(*m), 1ull << NDA_CACHEINFO | 1ull << NDA_PROBES, e) ? 0 : -e->code;
}

static int read_all(struct nl *nl, struct park *p, struct err *e)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	size_t i, k;
	int rc = 0;

	for (i = 0; i < ARRAY_LEN(families); i++) {
		struct ifaddrmsg addr = { .ifa_family = families[i] };
		struct rtmsg route = { .rtm_family = families[i] };
		struct ndmsg neigh = { .ndm_family = families[i] };
		const struct { uint16_t type; const void *head; size_t len; nl_fn *fn; } ask[] = {
			{ RTM_GETADDR, &addr, sizeof(addr), on_addr },
			{ RTM_GETROUTE, &route, sizeof(route), on_route },
			{ RTM_GETNEIGH, &neigh, sizeof(neigh), on_neigh },
		};

		for (k = 0; k < ARRAY_LEN(ask) && !rc; k++) {
			nl_msg(nl, ask[k].type, 0, ask[k].head, ask[k].len);
			rc = nl_dump(nl, ask[k].fn, p, e);
			if (rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP)
				rc = 0; /* no IPv6 in this kernel */
		}
	}
	return rc;
}

static int write_down(const struct park_place *at, const struct plan_port *port,
		      const char *action, const char *a, const char *b, struct err *e)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", port->ifindex);
	return journal_add(at->j, e, "netplug", action, at->path, at->id, port->name, index, a,
			   a ? b : NULL, (const char *)NULL);
}

static int write_message(const struct park_place *at, const struct plan_port *port,
			 const char *action, const struct kept *k, struct err *e)
{
	char hex[2 * MESSAGE_MAX + 1];
	size_t i;

	for (i = 0; i < k->len; i++)
		snprintf(hex + 2 * i, 3, "%02x", k->data[i]);
	return write_down(at, port, action, hex, NULL, e);
}

static bool chosen(const struct kept *k, uint16_t type, uint8_t family, bool late)
{
	return k->h.nlmsg_type == type && (!family || k->data[0] == family) && k->late == late;
}

/* The kept messages of one sort, backwards unless @forth. */
static int write_sort(const struct park_place *at, const struct plan_port *port,
		      const struct park *p, uint16_t type, uint8_t family, bool late, bool forth,
		      struct err *e)
{
	const char *action = type == RTM_NEWADDR ? "addr" :
			     type == RTM_NEWROUTE ? "route" : "neigh";
	size_t i;
	int rc = 0;

	for (i = 0; i < p->n && !rc; i++) {
		const struct kept *k = p->kept[forth ? i : p->n - 1 - i];

		if (chosen(k, type, family, late))
			rc = write_message(at, port, action, k, e);
	}
	return rc;
}

/* accept_ra of an interface of the namespace; -ENOENT without IPv6. */
static int ra_path(uint32_t ifindex, char path[96])
{
	char name[IF_NAMESIZE];

	if (!if_indextoname(ifindex, name))
		return -ENODEV;
	snprintf(path, 96, "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
	return 0;
}

static int ra_get(int netns_fd, uint32_t ifindex, char value[16], struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char path[96];
	int back, rc = netns_enter(netns_fd, &back, e);

	if (rc < 0)
		return rc;
	rc = ra_path(ifindex, path);
	if (!rc)
		rc = file_read(AT_FDCWD, path, 16, &text, NULL, e);
	netns_leave(back);
	snprintf(value, 16, "%.*s", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
	return rc == -ENOENT || rc == -ENODEV ? 0 : rc;
}

static int ra_set(int netns_fd, uint32_t ifindex, const char *value, struct err *e)
{
	char path[96];
	int back, rc = netns_enter(netns_fd, &back, e);

	if (rc < 0)
		return rc;
	rc = ra_path(ifindex, path);
	if (!rc)
		rc = file_write(AT_FDCWD, path, value, e);
	netns_leave(back);
	return rc == -ENOENT || rc == -ENODEV ? 0 : rc;
}

static int write_all(const struct park_place *at, const struct plan_port *port,
		     const struct park *p, bool noarp, const char *ra, struct err *e)
{
	char mac[13];
	int rc;

	snprintf(mac, sizeof(mac), "%02x%02x%02x%02x%02x%02x", port->mac[0], port->mac[1],
		 port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	rc = write_sort(at, port, p, RTM_NEWNEIGH, 0, false, true, e);
	if (!rc)
		rc = write_down(at, port, "link", mac, noarp ? "1" : "0", e);
	if (!rc && ra[0])
		rc = write_down(at, port, "ra", ra, NULL, e);
	if (!rc)
		rc = write_sort(at, port, p, RTM_NEWROUTE, 0, true, false, e);
	if (!rc)
		rc = write_sort(at, port, p, RTM_NEWROUTE, 0, false, false, e);
	if (!rc)
		rc = write_down(at, port, "routes", NULL, NULL, e);
	if (!rc)
		rc = write_sort(at, port, p, RTM_NEWADDR, AF_INET6, false, true, e);
	if (!rc)
		rc = write_sort(at, port, p, RTM_NEWADDR, AF_INET, false, false, e);
	return rc;
}

static int set_link(struct nl *nl, uint32_t ifindex, const uint8_t *mac, bool noarp,
		    struct err *e)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex,
			       .ifi_flags = noarp ? IFF_NOARP : 0, .ifi_change = IFF_NOARP };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWLINK, 0, &m, sizeof(m));

	if (mac)
		mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	return nl_talk(nl, e);
}

/* Takes routes, then addresses, the last one first: none is left to be promoted. */
static int take_away(struct nl *nl, const struct park *p, struct err *e)
{
	size_t pass, i;
	int rc = 0;

	for (pass = 0; pass < 2; pass++)
		for (i = p->n; i-- && !rc;) {
			const struct kept *k = p->kept[i];

			if (k->h.nlmsg_type != (pass ? RTM_NEWADDR : RTM_NEWROUTE))
				continue;
			nl_msg(nl, pass ? RTM_DELADDR : RTM_DELROUTE, 0, k->data, k->len);
			rc = nl_talk(nl, e);
			/* It went with another one. */
			if (rc == -ESRCH || rc == -ENOENT || rc == -EADDRNOTAVAIL)
				rc = 0;
		}
	return rc;
}

/* Any MAC that is locally administered and of one station. */
static int other_mac(uint8_t mac[6], struct err *e)
{
	if (getrandom(mac, 6, 0) != 6)
		return err_sys(e, "random numbers");
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	return 0;
}

static int on_flags(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[1];
	const struct ifinfomsg *m = nl_attrs(h, sizeof(*m), tb, 1);

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	*(uint32_t *)arg = m->ifi_flags;
	return 0;
}

static int leave(const struct park_place *at, const struct plan_port *port, struct park *p,
		 struct err *e)
{
	struct ifinfomsg m = { .ifi_index = (int)port->ifindex };
	uint8_t mac[6];
	uint32_t flags = 0;
	char ra[16];
	int rc;

	nl_msg(at->nl, RTM_GETLINK, 0, &m, sizeof(m));
	rc = nl_get(at->nl, on_flags, &flags, e);
	if (!rc)
		rc = ra_get(at->netns_fd, port->ifindex, ra, e);
	if (!rc)
		rc = read_all(at->nl, p, e);
	if (!rc)
		rc = write_all(at, port, p, flags & IFF_NOARP, ra, e);
	if (!rc)
		rc = other_mac(mac, e);
	if (!rc && ra[0])
		rc = ra_set(at->netns_fd, port->ifindex, "0", e);
	if (!rc)
		rc = take_away(at->nl, p, e);
	/* In passthru mode both have the same. */
	if (!rc)
		rc = set_link(at->nl, port->ifindex,
			      port->model == NETPLUG_MACVTAP ? mac : NULL, true, e);
	return rc;
}

/**
 * park_leave() - let an interface fall silent
 * @at: the journal gets all that is taken away, before it is
 *
 * Return: 0; -E2BIG; minus errno
 * Context: the calling thread is in the namespace for the while of single system calls
 */
int park_leave(const struct park_place *at, const struct plan_port *port, struct err *e)
{
	struct park p = { .ifindex = port->ifindex, .now = seconds() };
	int rc = leave(at, port, &p, e);

	park_free(&p);
	return rc;
}

/**
 * park_knows() - whether an action of a record is one of ours
 */
bool park_knows(const char *action)
{
	static const char *const known[] = { "addr", "routes", "route", "ra", "link", "neigh" };
	size_t i;

	for (i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(action, known[i]))
			return true;
	return false;
}

/* Bytes from hexadecimal text. Return: how many; -EINVAL */
static int unhex(const char *text, uint8_t *dst, size_t room)
{
	size_t n = strlen(text) / 2, i;
	char pair[3] = "", *end;

	if (n > room || strlen(text) % 2)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		memcpy(pair, text + 2 * i, 2);
		dst[i] = (uint8_t)strtoul(pair, &end, 16);
		if (*end || pair[0] == '-' || pair[0] == '+' || pair[0] == ' ')
			return -EINVAL;
	}
	return (int)n;
}

/*
 * Takes what has passed meanwhile off an address's lifetimes.
 * Return: whether something is left
 */
static bool age(uint8_t *data, size_t len)
{
	struct ifa_cacheinfo ci;
	uint32_t passed;
	size_t at = len - sizeof(ci);
	struct nlattr a;

	/* It was put behind all others. */
	if (len < sizeof(struct ifaddrmsg) + sizeof(a) + sizeof(ci))
		return true;
	memcpy(&a, data + at - sizeof(a), sizeof(a));
	if (a.nla_type != IFA_CACHEINFO || a.nla_len != sizeof(a) + sizeof(ci))
		return true;
	memcpy(&ci, data + at, sizeof(ci));
	passed = seconds() - ci.tstamp;
	if (ci.ifa_valid != UINT32_MAX && ci.ifa_valid <= passed)
		return false;
	if (ci.ifa_valid != UINT32_MAX)
		ci.ifa_valid -= passed;
	if (ci.ifa_prefered != UINT32_MAX)
		ci.ifa_prefered -= ci.ifa_prefered < passed ? ci.ifa_prefered : passed;
	memcpy(data + at, &ci, sizeof(ci));
	return true;
}

static int put_back(struct nl *nl, const char *action, const char *hex, struct err *e)
{
	const struct { const char *action; uint16_t type, flags; size_t head; } sorts[] = {
		{ "addr", RTM_NEWADDR, NLM_F_EXCL, sizeof(struct ifaddrmsg) },
		/* Behind the others of its prefix, as it was. */
		{ "route", RTM_NEWROUTE, NLM_F_APPEND, sizeof(struct rtmsg) },
		{ "neigh", RTM_NEWNEIGH, NLM_F_REPLACE, sizeof(struct ndmsg) },
	};
	_Alignas(8) uint8_t data[MESSAGE_MAX];
	int len = unhex(hex, data, sizeof(data)), rc;
	size_t i;

	for (i = 0; i < 2 && strcmp(sorts[i].action, action); i++)
		;
	if (len < (int)sorts[i].head)
		return err_set(e, EINVAL, "journal: netplug: %s: a broken message", action);
	if (!i && !age(data, (size_t)len))
		return 0;
	nl_msg(nl, sorts[i].type, NLM_F_CREATE | sorts[i].flags, data, (size_t)len);
	rc = nl_talk(nl, e);
	switch (-rc) {
	case EEXIST:		/* never taken away, or back already */
	case ENODEV: case ENETDOWN: case ENETUNREACH: case EHOSTUNREACH:
	case EACCES:		/* IPv6 was turned off */
		return 0;
	case EINVAL:		/* the source that a route had has expired */
		return i == 1 ? 0 : rc;
	}
	return rc;
}

static int on_made(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[RTA_MAX + 1];
	const struct rtmsg *m = nl_attrs(h, sizeof(*m), tb, RTA_MAX + 1);

	return m && m->rtm_protocol == RTPROT_KERNEL ? on_route(h, arg, e) : 0;
}

struct tentative {
	uint32_t ifindex;
	bool any;
};

static int on_tentative(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFA_MAX + 1];
	const struct ifaddrmsg *m = nl_attrs(h, sizeof(*m), tb, IFA_MAX + 1);
	struct tentative *t = arg;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	t->any |= m->ifa_index == t->ifindex && !(m->ifa_flags & IFA_F_DADFAILED) &&
		  m->ifa_flags & IFA_F_TENTATIVE;
	return 0;
}

/*
 * Until then an IPv6 address has no local route, and cannot be a route's source. It has
 * nothing to detect (IFF_NOARP), so this is a matter of the kernel's work queue, but
 * for a link that is down: that one is not waited for longer than SETTLE_MS.
 */
static int wait_settled(struct nl *nl, uint32_t ifindex, struct err *e)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	int i, rc = 0;

	for (i = 0; i < SETTLE_MS && !rc; i++) {
		struct ifaddrmsg m = { .ifa_family = AF_INET6 };
		struct tentative t = { .ifindex = ifindex };

		nl_msg(nl, RTM_GETADDR, 0, &m, sizeof(m));
		rc = nl_dump(nl, on_tentative, &t, e);
		if (!rc && !t.any)
			return 0;
		nanosleep(&ms, NULL);
	}
	return rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP ? 0 : rc;
}

/* Routes that the kernel has made for the addresses that are back. */
static int drop_made(struct nl *nl, uint32_t ifindex, struct err *e)
{
	struct park p = { .ifindex = ifindex };
	struct rtmsg v4 = { .rtm_family = AF_INET }, v6 = { .rtm_family = AF_INET6 };
	int rc = wait_settled(nl, ifindex, e);

	nl_msg(nl, RTM_GETROUTE, 0, &v4, sizeof(v4));
	if (!rc)
		rc = nl_dump(nl, on_made, &p, e);
	nl_msg(nl, RTM_GETROUTE, 0, &v6, sizeof(v6));
	if (!rc)
		rc = nl_dump(nl, on_made, &p, e);
	if (rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP)
		rc = 0;
	if (!rc)
		rc = take_away(nl, &p, e);
	park_free(&p);
	return rc;
}

static int link_back(struct nl *nl, uint32_t ifindex, const struct journal_rec *r, struct err *e)
{
	uint8_t mac[6];
	int rc;

	if (r->n < 8 || unhex(r->word[6], mac, sizeof(mac)) != sizeof(mac))
		return err_set(e, EINVAL, "journal: netplug: link: a broken address");
	rc = set_link(nl, ifindex, mac, !strcmp(r->word[7], "1"), e);
	return rc == -ENODEV ? 0 : rc;
}

/**
 * park_return() - undo one record
 * @r: of an action that park_knows()
 *
 * Idempotent; an interface that is gone is a success.
 *
 * Return: 0; -EINVAL for a record that park_leave() does not write; minus errno
 * Context: as park_leave()
 */
int park_return(struct nl *nl, int netns_fd, uint32_t ifindex, const struct journal_rec *r,
		struct err *e)
{
	const char *action = r->word[1];

	if (!strcmp(action, "routes"))
		return drop_made(nl, ifindex, e);
	if (r->n < 7)
		return err_set(e, EINVAL, "journal: netplug: %s: what is missing", action);
	if (!strcmp(action, "link"))
		return link_back(nl, ifindex, r, e);
	if (!strcmp(action, "ra"))
		return ra_set(netns_fd, ifindex, r->word[6], e);
	return put_back(nl, action, r->word[6], e);
}
