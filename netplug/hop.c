// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Where the packets of a pod's interface can be seen. From the network to the guest:
 * the other end of the veth (or the lower interface of a macvlan, ipvlan or vlan)
 * where it is in the caller's namespace, the interface itself, the tap beside it, and
 * the guest's own interface. A side that cannot be seen is left out.
 *
 * An index alone does not tell whose it is: that the other end is in the caller's
 * namespace is known when the pod's namespace has the same number for both.
 *
 * Sources: rtnetlink(7); linux/if_link.h (IFLA_LINK_NETNSID), linux/net_namespace.h.
 */
#include "netplug/hop.h"

#include <errno.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/joined.h"
#include "netplug/netns.h"

static const char *const sides[] = { "host", "pod", "tap", "guest" };

/**
 * hop_side_name() - what a side is called for people and in options
 */
const char *hop_side_name(enum hop_side side)
{
	return sides[side];
}

/**
 * hop_sides_parse() - read a list as "host,tap"
 * @list:     NULL: all of them
 * @ret_mask: bit n: side n
 *
 * Return: 0; -EINVAL
 */
int hop_sides_parse(const char *list, unsigned int *ret_mask, struct err *e)
{
	unsigned int mask = 0;
	char shown[64];
	size_t i, len;

	if (!list) {
		*ret_mask = (1u << HOP_SIDES) - 1;
		return 0;
	}
	for (;; list += len + 1) {
		len = strcspn(list, ",");
		for (i = 0; i < ARRAY_LEN(sides); i++)
			if (strlen(sides[i]) == len && !strncmp(list, sides[i], len))
				break;
		if (i == ARRAY_LEN(sides)) {
			str_quote(shown, sizeof(shown), list);
			return err_set(e, EINVAL,
				       "--hop: %s: hops are host, pod, tap and guest", shown);
		}
		mask |= 1u << i;
		if (!list[len])
			break;
	}
	*ret_mask = mask;
	return 0;
}

static int on_nsid(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[NETNSA_MAX + 1];

	if (!nl_attrs(h, sizeof(struct rtgenmsg), tb, NETNSA_MAX + 1))
		return err_set(e, EBADMSG, "netlink: message is cut short");
	*(int32_t *)arg = (int32_t)nl_u32(tb[NETNSA_NSID], UINT32_MAX);
	return 0;
}

/**
 * hops_nsid() - the number that one namespace has for another
 * @nl:       socket in the first
 * @netns_fd: the second, borrowed
 * @ret:      -1: it has none, so none of its devices leads there
 *
 * Return: 0 or minus errno
 */
int hops_nsid(struct nl *nl, int netns_fd, int32_t *ret, struct err *e)
{
	struct rtgenmsg m = { .rtgen_family = AF_UNSPEC };
	int rc;

	*ret = -1;
	mnl_attr_put_u32(nl_msg(nl, RTM_GETNSID, 0, &m, sizeof(m)), NETNSA_FD,
			 (uint32_t)netns_fd);
	rc = nl_get(nl, on_nsid, ret, e);
	return rc < 0 ? err_wrap(e, "number of a network namespace") : 0;
}

static bool is_kind(const struct scan_link *l, const char *kind)
{
	return !strcmp(l->kind, kind);
}

static const struct scan_link *tap_of(const struct scan *s, const struct scan_link *l)
{
	/* The interface may be one itself. */
	return is_kind(l, "tun") || is_kind(l, "macvtap") ? l : joined_tap(s, l);
}

static void add(struct hops *h, enum hop_side side, const char *port,
		const struct scan_link *l, bool rx_inwards)
{
	struct hop *hop = &h->hop[h->n++];

	memset(hop, 0, sizeof(*hop));
	hop->side = side;
	hop->ifindex = side == HOP_GUEST ? 0 : l->ifindex;
	hop->rx_inwards = rx_inwards;
	memcpy(hop->mac, l->mac, 6);
	snprintf(hop->name, sizeof(hop->name), "%s", l->name);
	snprintf(hop->port, sizeof(hop->port), "%s", port);
}

static void add_port(struct hops *h, const struct scan *pod, const struct scan *host,
		     int32_t host_nsid, const struct scan_link *l)
{
	const struct scan_link *tap = tap_of(pod, l), *outer = NULL;

	if (host_nsid >= 0 && l->peer && !l->lower_here && l->peer_nsid == host_nsid)
		outer = scan_link_at(host, l->peer);
	if (outer)
		add(h, HOP_HOST, l->name, outer, !is_kind(l, "veth"));
	if (tap != l)
		add(h, HOP_POD, l->name, l, true);
	if (tap)
		add(h, HOP_TAP, l->name, tap, is_kind(tap, "macvtap"));
	/* The guest's has the same name. */
	add(h, HOP_GUEST, l->name, l, true);
	memcpy(h->hop[h->n - 1].mac, joined_mac(pod, l), 6);
}

/**
 * hops_find() - where packets of a pod can be seen; whether the guest can be asked is
 * not known here: its hops are always among them
 * @pod:       the pod's namespace
 * @host:      of the caller's namespace at least the other ends
 * @host_nsid: number that the pod's namespace has for it; -1: none
 * @port:      the interface of the pod; NULL: all of them
 *
 * Return: 0; -ENODEV without such an interface; -E2BIG
 */
int hops_find(const struct scan *pod, const struct scan *host, int32_t host_nsid,
	      const char *port, struct hops *ret, struct err *e)
{
	char shown[64];
	size_t i;

	ret->n = 0;
	for (i = 0; i < pod->n_links; i++) {
		const struct scan_link *l = &pod->link[i];

		if (l->arphrd != ARPHRD_ETHER || joined_is_tap(l) || (port && strcmp(port, l->name)))
			continue;
		if (ret->n + HOP_SIDES > HOPS_MAX)
			return err_set(e, E2BIG, "more than %d interfaces; name one by --interface",
				       NETPLUG_PORTS_MAX);
		add_port(ret, pod, host, host_nsid, l);
	}
	if (ret->n)
		return 0;
	if (!port)
		return err_set(e, ENODEV, "there is no Ethernet interface");
	str_quote(shown, sizeof(shown), port);
	return err_set(e, ENODEV, "there is no interface %s", shown);
}

/**
 * hops_at() - the hop of an interface on one side; NULL: it cannot be seen there
 */
const struct hop *hops_at(const struct hops *h, const char *port, enum hop_side side)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (h->hop[i].side == side && !strcmp(h->hop[i].port, port))
			return &h->hop[i];
	return NULL;
}

/* The other ends that are in the caller's namespace. */
static int read_outer(struct nl *nl, const struct scan *pod, int32_t host_nsid,
		      struct scan *host, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < pod->n_links && rc >= 0; i++) {
		const struct scan_link *l = &pod->link[i];

		if (!l->peer || l->lower_here || host_nsid < 0 || l->peer_nsid != host_nsid)
			continue;
		rc = scan_link_get(nl, l->peer, host, e);
		if (rc == -ENODEV)
			rc = 0; /* it went just now */
	}
	return rc;
}

/**
 * hops_open() - look at a pod's namespace, and at the caller's for what leads there
 * @netns_fd: the pod's, borrowed
 * @port:     the interface of the pod; NULL: all of them
 *
 * Return: 0; -ENODEV; minus errno
 */
int hops_open(int netns_fd, const char *port, struct hops *ret, struct err *e)
{
	struct nl *pod_nl = NULL, *host_nl = NULL;
	struct scan *pod = NULL, *host = mem_new(struct scan);
	_cleanup_close_ int self = netns_self(e);
	int32_t nsid = -1;
	int rc = self < 0 ? self : nl_open(netns_fd, &pod_nl, e);

	if (!rc && !host)
		rc = err_set(e, ENOMEM, "out of memory");
	if (!rc)
		rc = scan_read(pod_nl, &pod, e);
	if (!rc)
		rc = hops_nsid(pod_nl, self, &nsid, e);
	if (!rc)
		rc = nl_open(self, &host_nl, e);
	if (!rc)
		rc = read_outer(host_nl, pod, nsid, host, e);
	if (!rc)
		rc = hops_find(pod, host, nsid, port, ret, e);
	scan_free(pod);
	scan_free(host);
	nl_free(pod_nl);
	nl_free(host_nl);
	return rc;
}
