// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Makes the guest's network what the plan says, which is what the pod's
 * network namespace on the host has: once for the pod, then again for what changes.
 * A device is found by its MAC address, for the order of probing names devices. Stages,
 * each for all links before the next:
 * - rename: through temporary names, so that eth0 and eth1 can swap; a link must be
 *   down for it;
 * - sysctls, before the links are up, so that no router is heard that must not be;
 * - configure: MTU and queue, up, addresses. The kernel generates no link-local address
 *   meanwhile; then it gets the mode in which it makes addresses. A mode of chance
 *   generates another one than the plan has, as soon as the link has a carrier, and that one
 *   is removed. Duplicates are looked for where
 *   the plan does not say that the host has done so. With its first link-local
 *   address a link asks for routers;
 * - neighbours, routes and rules (netroute.c).
 * All of it is a success where it is there already.
 *
 * A change says what is to be added and what is to be taken back, and comes in this order:
 * packets find the new way before the old one goes. What goes may take along what stays
 * (a primary address its secondary ones, an address the routes with it as
 * their source), of which the host knows: it says that again, and it is added again.
 *
 * Source: rtnetlink(7); kernel Documentation/networking/ip-sysctl.rst,
 * net/ipv6/addrconf.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
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
#include "lib/str.h"

/* A device that the host plugs with the pod's start may still be on its way. */
#define LINK_WAIT_MS 3000

/* The carrier of one that is set up comes at once, but not in the same moment. */
#define CARRIER_WAIT_MS 1000

/* Link-local addresses of one link that are told apart. */
#define LOCALS_MAX 64

/* Room for all IPv6 addresses of the guest, as the kernel tells them. */
#define LOCALS_BYTES (64u << 10)

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
static int wait_links(int nl, const Podvm__Network *n, struct rtm_link *found, struct err *e)
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
				found[i] = *l;
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
		    const char *name, const Podvm__Link *l, struct err *e)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index,
				 .ifi_change = change, .ifi_flags = flags };
	struct rtm_msg m;

	rtm_start(&m, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	if (name)
		rtm_put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	if (l && l->mtu)
		rtm_put_u32(&m, IFLA_MTU, l->mtu);
	if (l && l->tx_queue_len)
		rtm_put_u32(&m, IFLA_TXQLEN, l->tx_queue_len);
	return rtm_talk(nl, &m, e);
}

static bool must_rename(const struct rtm_link *found, const Podvm__Link *l)
{
	return strcmp(found->name, l->name) != 0;
}

/* One that no link of the plan shall have. */
static void pick_name(const Podvm__Network *n, int *number, char tmp[IFNAMSIZ])
{
	size_t i;

	do {
		snprintf(tmp, IFNAMSIZ, "podvm%d", (*number)++);
		for (i = 0; i < n->n_links && strcmp(n->links[i]->name, tmp); i++)
			;
	} while (i < n->n_links);
}

static int rename_all(int nl, const Podvm__Network *n, struct rtm_link *found, struct err *e)
{
	int rc, number = 0;
	size_t i;

	for (i = 0; i < n->n_links; i++) {
		char tmp[IFNAMSIZ];

		if (!must_rename(&found[i], n->links[i]))
			continue;
		pick_name(n, &number, tmp);
		rc = set_link(nl, found[i].index, IFF_UP, 0, tmp, NULL, e);
		if (rc < 0)
			return err_wrap(e, "link %s: rename to %s", n->links[i]->name, tmp);
		found[i].up = false;
	}
	for (i = 0; i < n->n_links; i++) {
		if (!must_rename(&found[i], n->links[i]))
			continue;
		rc = set_link(nl, found[i].index, 0, 0, n->links[i]->name, NULL, e);
		if (rc < 0)
			return err_wrap(e, "link %s: rename", n->links[i]->name);
	}
	return 0;
}

static int apply_sysctls(const Podvm__Network *n, struct err *e)
{
	bool no_ipv6 = access("/proc/sys/net/ipv6", F_OK) < 0;
	size_t i;
	int rc = 0;

	for (i = 0; i < n->n_sysctls && rc >= 0; i++)
		if (!no_ipv6 || !str_starts(n->sysctls[i]->key, "net.ipv6."))
			rc = sysctl_write(n->sysctls[i]->key, n->sysctls[i]->value, e);
	return rc;
}

static int address(int nl, int index, const Podvm__Address *a, bool gone, struct err *e)
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
	    far->len != a->ip.len || strlen(a->label) >= IFNAMSIZ ||
	    (a->broadcast.len && (v6 || a->broadcast.len != 4)))
		return err_set(e, EINVAL, "malformed address");
	rtm_start(&m, gone ? RTM_DELADDR : RTM_NEWADDR, gone ? 0 : NLM_F_CREATE | NLM_F_REPLACE,
		  &ifa, sizeof(ifa));
	rtm_put(&m, IFA_LOCAL, a->ip.data, a->ip.len);
	rtm_put(&m, IFA_ADDRESS, far->data, far->len);
	if (gone) {
		rc = rtm_talk(nl, &m, e);
		return rc == -EADDRNOTAVAIL ? 0 : rc;
	}
	if (a->broadcast.len)
		rtm_put(&m, IFA_BROADCAST, a->broadcast.data, a->broadcast.len);
	if (*a->label)
		rtm_put(&m, IFA_LABEL, a->label, strlen(a->label) + 1);
	if (a->metric)
		rtm_put_u32(&m, IFA_RT_PRIORITY, a->metric);
	if (a->lifetime) {
		struct ifa_cacheinfo ci = { .ifa_valid = a->lifetime->valid,
					    .ifa_prefered = a->lifetime->preferred };

		rtm_put(&m, IFA_CACHEINFO, &ci, sizeof(ci));
	}
	rtm_put_u32(&m, IFA_FLAGS, a->flags & ~(uint32_t)ADDR_FLAGS_STATE);
	rc = rtm_talk(nl, &m, e);
	return rc == -EEXIST ? 0 : rc;
}

static int address_failed(const Podvm__Link *l, size_t i, struct err *e)
{
	char ip[INET6_ADDRSTRLEN];

	return err_wrap(e, "link %s: address %s/%u", l->name, ip_text(&l->addresses[i]->ip, ip),
			l->addresses[i]->prefix_len);
}

/* Link-local addresses of a link. */
struct locals {
	int index;
	size_t n;
	uint8_t ip[LOCALS_MAX][16];
};

static void take_local(const struct nlmsghdr *h, struct locals *l)
{
	const struct ifaddrmsg *ifa = NLMSG_DATA(h);
	const struct rtattr *a = IFA_RTA(ifa);
	unsigned int left = (unsigned int)IFA_PAYLOAD(h);

	if (h->nlmsg_type != RTM_NEWADDR || ifa->ifa_scope != RT_SCOPE_LINK ||
	    (int)ifa->ifa_index != l->index)
		return;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFA_ADDRESS && RTA_PAYLOAD(a) == 16 && l->n < LOCALS_MAX)
			memcpy(l->ip[l->n++], RTA_DATA(a), 16);
}

static int read_locals(int nl, struct locals *l, struct err *e)
{
	struct rtm_dump d = { .buf = malloc(LOCALS_BYTES), .room = LOCALS_BYTES };
	struct ifaddrmsg ifa = { .ifa_family = AF_INET6 };
	const struct nlmsghdr *h;
	unsigned int left;
	int rc;

	l->n = 0;
	if (!d.buf)
		return err_set(e, ENOMEM, "out of memory");
	rc = rtm_dump(nl, RTM_GETADDR, &ifa, sizeof(ifa), &d, e);
	left = (unsigned int)d.len;
	for (h = (const void *)d.buf; rc >= 0 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
		take_local(h, l);
	free(d.buf);
	return rc;
}

static bool has_local(const struct locals *l, const uint8_t *ip)
{
	size_t i;

	for (i = 0; i < l->n && memcmp(l->ip[i], ip, 16); i++)
		;
	return i < l->n;
}

/* Return: 0, also without IPv6; minus errno */
static int write_mode(const Podvm__Link *l, uint32_t mode, struct err *e)
{
	char path[80], text[12];
	int rc;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", l->name);
	snprintf(text, sizeof(text), "%u", mode);
	rc = file_write(AT_FDCWD, path, text, e);
	return rc == -ENOENT ? 0 : rc < 0 ? err_wrap(e, "link %s", l->name) : 0;
}

/*
 * Waits, bounded, until a link works: then the kernel generates what it does.
 * Return: whether it does; minus errno
 */
static int wait_carrier(int nl, int index, struct err *e)
{
	const struct timespec nap = { 0, 10000000 };
	uint64_t end = clock_ms() + CARRIER_WAIT_MS;

	for (;;) {
		_cleanup_free_ struct rtm_link *v = NULL;
		size_t n, i;
		int rc = rtm_links(nl, &v, &n, e);

		if (rc < 0)
			return rc;
		for (i = 0; i < n && v[i].index != index; i++)
			;
		if (i == n || v[i].running || clock_ms() > end)
			return i < n && v[i].running;
		nanosleep(&nap, NULL);
	}
}

/* Sets a mode of chance, and removes what that has generated; not without a carrier. */
static int set_chance(int nl, int index, const Podvm__Link *l, struct err *e)
{
	struct locals before = { .index = index }, after = { .index = index };
	Podvm__Address a = PODVM__ADDRESS__INIT;
	size_t i;
	int rc = wait_carrier(nl, index, e);

	if (!rc)
		return 0;
	if (rc > 0)
		rc = read_locals(nl, &before, e);
	if (rc >= 0)
		rc = write_mode(l, l->addr_gen_mode, e);
	if (rc >= 0)
		rc = read_locals(nl, &after, e);
	for (i = 0; i < after.n && rc >= 0; i++) {
		if (has_local(&before, after.ip[i]))
			continue;
		a.ip = (ProtobufCBinaryData){ .data = after.ip[i], .len = 16 };
		a.prefix_len = 64;
		rc = address(nl, index, &a, true, e);
	}
	return rc < 0 ? err_wrap(e, "link %s: mode of making addresses", l->name) : 0;
}

static int configure(int nl, const struct rtm_link *found, const Podvm__Link *l, struct err *e)
{
	unsigned int flags = IFF_UP | (l->no_arp ? IFF_NOARP : 0);
	size_t i;
	int rc = 0;

	if (!is_loopback(l) && !found->up)
		rc = write_mode(l, IN6_ADDR_GEN_MODE_NONE, e);
	if (rc < 0)
		return rc;
	rc = set_link(nl, found->index, IFF_UP | (is_loopback(l) ? 0 : IFF_NOARP), flags, NULL, l, e);
	if (rc < 0)
		return err_wrap(e, "link %s: up with MTU %u", l->name, l->mtu);
	for (i = 0; i < l->n_addresses; i++)
		if (address(nl, found->index, l->addresses[i], false, e) < 0)
			return address_failed(l, i, e);
	if (is_loopback(l))
		return 0;
	return l->addr_gen_mode > IN6_ADDR_GEN_MODE_NONE ? set_chance(nl, found->index, l, e) :
	       write_mode(l, l->addr_gen_mode, e);
}

static int read_names(int nl, struct rtm_names *ret, struct err *e)
{
	return rtm_links(nl, &ret->v, &ret->n, e);
}

static int set_up(int nl, const Podvm__Network *n, struct rtm_link *found, uint16_t how,
		  struct err *e)
{
	struct rtm_names names = { 0 };
	size_t i;
	int rc;

	if ((rc = wait_links(nl, n, found, e)) < 0 || (rc = rename_all(nl, n, found, e)) < 0 ||
	    (rc = apply_sysctls(n, e)) < 0)
		return rc;
	for (i = 0; rc >= 0 && i < n->n_links; i++)
		rc = configure(nl, &found[i], n->links[i], e);
	if (rc >= 0)
		rc = read_names(nl, &names, e);
	if (rc >= 0)
		rc = neighbours_add(nl, &names, n, e);
	if (rc >= 0)
		rc = routes_add(nl, &names, n, e);
	free(names.v);
	return rc < 0 ? rc : rules_add(nl, n, how, e);
}

/* @how: NLM_F_* of rules, see rules_add() */
static int add(const Podvm__Network *n, uint16_t how, struct err *e)
{
	_cleanup_free_ struct rtm_link *found = mem_new_n(struct rtm_link, n->n_links + 1);
	_cleanup_close_ int nl = -1;
	size_t i;
	int rc = 0;

	if (!found)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; rc >= 0 && i < n->n_links; i++)
		rc = check_link(n->links[i], e);
	if (rc < 0)
		return rc;
	rc = nl = rtm_open(e);
	return rc < 0 ? rc : set_up(nl, n, found, how, e);
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
	return add(n, 0, e);
}

static int take_addresses(int nl, const Podvm__Network *n, struct err *e)
{
	_cleanup_free_ struct rtm_link *v = NULL;
	size_t n_v, i, k;
	struct err why;
	int rc = rtm_links(nl, &v, &n_v, e);

	for (i = 0; v && i < n->n_links; i++) {
		const Podvm__Link *l = n->links[i];
		const struct rtm_link *found = NULL;
		int one = check_link(l, &why);

		if (one >= 0)
			found = find_link(v, n_v, l);
		rtm_failed(&rc, one, &why, e);
		for (k = 0; found && k < l->n_addresses; k++) {
			one = address(nl, found->index, l->addresses[k], true, &why);
			if (one < 0)
				address_failed(l, k, &why);
			rtm_failed(&rc, one, &why, e);
		}
	}
	return rc;
}

/* What fails does not keep the rest. Return: 0 or minus errno of the first failure */
static int take_back(const Podvm__Network *n, struct err *e)
{
	_cleanup_close_ int nl = rtm_open(e);
	struct rtm_names names = { 0 };
	struct err why;
	int rc;

	if (nl < 0)
		return nl;
	rc = read_names(nl, &names, e);
	if (rc < 0)
		return rc;
	rc = rules_del(nl, n, e);
	rtm_failed(&rc, routes_del(nl, &names, n, &why), &why, e);
	rtm_failed(&rc, neighbours_del(nl, &names, n, &why), &why, e);
	rtm_failed(&rc, take_addresses(nl, n, &why), &why, e);
	free(names.v);
	return rc;
}

static bool is_empty(const Podvm__Network *n)
{
	return !n || (!n->n_links && !n->n_routes && !n->n_rules && !n->n_neighbours);
}

/**
 * net_update() - carry out NetworkUpdate
 *
 * Return: 0; minus errno of the first that failed: what can be done besides is done
 * Context: blocks for a missing device, bounded
 */
int net_update(const Podvm__NetworkUpdate *m, struct err *e)
{
	struct err why;
	int rc = m->add ? add(m->add, NLM_F_EXCL, e) : 0;

	if (is_empty(m->remove))
		return rc;
	/* What was in the way of the first addition may go now: the second one counts. */
	rc = take_back(m->remove, e);
	if (m->add)
		rtm_failed(&rc, add(m->add, NLM_F_EXCL, &why), &why, e);
	return rc;
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
	rc = set_link(nl, 1, IFF_UP, IFF_UP, NULL, NULL, e);
	return rc < 0 ? err_wrap(e, "link lo: up") : 0;
}
