// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What taps and macvtaps have in common as interfaces of the pod's namespace: they are
 * ends of wires, so the namespace's stack says nothing through them (no ARP, no IPv6
 * address of the kernel's making), and they bear an alias, by which they are known as
 * ours when they are taken away.
 *
 * Sources: rtnetlink(7); linux/if_link.h.
 */
#include "netplug/link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "netplug/scan.h"

static int on_index(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[1];
	const struct ifinfomsg *m = nl_attrs(h, sizeof(*m), tb, 1);
	uint32_t *ret = arg;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	*ret = (uint32_t)m->ifi_index;
	return 0;
}

static void get_named(struct nl *nl, const char *name)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *h = nl_msg(nl, RTM_GETLINK, 0, &m, sizeof(m));

	mnl_attr_put_strz(h, IFLA_IFNAME, name);
}

/**
 * link_index() - the index of an interface
 *
 * Return: 0; -ENODEV; minus errno
 */
int link_index(struct nl *nl, const char *name, uint32_t *ret, struct err *e)
{
	get_named(nl, name);
	return nl_get(nl, on_index, ret, e);
}

static int quiet(struct nl *nl, uint32_t ifindex, const char *of, uint32_t mtu, uint32_t flags,
		 bool ipv6, struct err *e)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex,
			       .ifi_flags = IFF_NOARP | flags, .ifi_change = IFF_NOARP | flags };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWLINK, 0, &m, sizeof(m));
	char alias[sizeof(SCAN_TAP_ALIAS) + SCAN_NAME_BYTES];
	struct nlattr *spec, *inet6;

	snprintf(alias, sizeof(alias), "%s%s", SCAN_TAP_ALIAS, of);
	mnl_attr_put_strz(h, IFLA_IFALIAS, alias);
	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	if (ipv6) {
		spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
		inet6 = mnl_attr_nest_start(h, AF_INET6);
		mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE,
				IN6_ADDR_GEN_MODE_NONE);
		mnl_attr_nest_end(h, inet6);
		mnl_attr_nest_end(h, spec);
	}
	return nl_talk(nl, e);
}

/**
 * link_quiet() - alias, MTU, no ARP, and no IPv6 address of the kernel's making
 * @of:    interface that the link joins, for the alias
 * @mtu:   bytes
 * @flags: IFF_* that it gets beside these
 *
 * Return: 0 or minus errno
 */
int link_quiet(struct nl *nl, uint32_t ifindex, const char *of, uint32_t mtu, uint32_t flags,
	       struct err *e)
{
	int rc = quiet(nl, ifindex, of, mtu, flags, true, e);

	/* No IPv6 in this kernel or on this link. */
	return rc == -EAFNOSUPPORT ? quiet(nl, ifindex, of, mtu, flags, false, e) : rc;
}

/**
 * link_up() - set an interface up
 *
 * Return: 0 or minus errno
 */
int link_up(struct nl *nl, uint32_t ifindex, struct err *e)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex,
			       .ifi_flags = IFF_UP, .ifi_change = IFF_UP };

	nl_msg(nl, RTM_NEWLINK, 0, &m, sizeof(m));
	return nl_talk(nl, e);
}

struct ours {
	const char *kind;
	uint32_t lower;
	uint32_t found;
};

static int on_ours(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *m = nl_attrs(h, sizeof(*m), tb, IFLA_MAX + 1);
	char kind[SCAN_NAME_BYTES], alias[sizeof(SCAN_TAP_ALIAS)];
	struct ours *o = arg;
	bool marked, made;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	nl_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_MAX + 1);
	nl_str(info[IFLA_INFO_KIND], kind, sizeof(kind));
	nl_str(tb[IFLA_IFALIAS], alias, sizeof(alias));
	marked = !strcmp(alias, SCAN_TAP_ALIAS);
	/* One that has just been made has no alias yet, but is where we put it. */
	made = o->lower && !alias[0] && nl_u32(tb[IFLA_LINK], 0) == o->lower;
	if (!strcmp(kind, o->kind) && (marked || made))
		o->found = (uint32_t)m->ifi_index;
	return 0;
}

/**
 * link_del() - remove a tap or macvtap, if it is there and ours
 * @kind:  as IFLA_INFO_KIND
 * @lower: it is ours without an alias, too, if it is on this interface; 0: none
 *
 * Return: 0 or minus errno
 */
int link_del(struct nl *nl, const char *name, const char *kind, uint32_t lower, struct err *e)
{
	struct ours o = { .kind = kind, .lower = lower };
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	int rc;

	get_named(nl, name);
	rc = nl_get(nl, on_ours, &o, e);
	if (!rc && o.found) {
		m.ifi_index = (int)o.found;
		nl_msg(nl, RTM_DELLINK, 0, &m, sizeof(m));
		rc = nl_talk(nl, e);
	}
	return rc == -ENODEV ? 0 : rc;
}
