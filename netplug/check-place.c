// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads one network namespace for the checks: what scan.c reads, and what it does
 * not: masters, bridges and the VLANs of their ports, queue lengths, offloads, a few
 * sysctls. Sysctls and ethtool's ioctls tell of the caller's namespace, so the
 * thread is in the namespace for the while.
 *
 * Sources: rtnetlink(7); linux/if_link.h, if_bridge.h, ethtool.h; kernel
 * Documentation/networking/ip-sysctl.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "lib/ethtool.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/check.h"
#include "netplug/netns.h"

/**
 * check_link() - what scan.c does not read of an interface
 *
 * Return: borrowed from @p; an empty one for an index that it does not have
 */
const struct check_link *check_link(const struct check_place *p, uint32_t ifindex)
{
	static const struct check_link none;
	size_t i;

	for (i = 0; i < p->n_more; i++)
		if (p->more[i].ifindex == ifindex)
			return &p->more[i];
	return &none;
}

static struct check_link *find(struct check_place *p, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < p->n_more; i++)
		if (p->more[i].ifindex == ifindex)
			return &p->more[i];
	return NULL;
}

static void read_port(const struct nlattr *data, struct check_link *l)
{
	const struct nlattr *tb[IFLA_BRPORT_MAX + 1];

	nl_nested(data, tb, IFLA_BRPORT_MAX + 1);
	l->is_port = true;
	l->port_state = (uint8_t)nl_u32(tb[IFLA_BRPORT_STATE], BR_STATE_FORWARDING);
}

static int on_link(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	const struct nlattr *br[IFLA_BR_MAX + 1], *tun[IFLA_TUN_MAX + 1];
	const struct ifinfomsg *m = nl_attrs(h, sizeof(*m), tb, IFLA_MAX + 1);
	struct check_place *p = arg;
	struct check_link *l = m ? find(p, (uint32_t)m->ifi_index) : NULL;
	char kind[SCAN_NAME_BYTES];

	(void)e;
	if (!l) /* made since the scan */
		return 0;
	l->master = nl_u32(tb[IFLA_MASTER], 0);
	l->queue_len = nl_u32(tb[IFLA_TXQLEN], 0);
	nl_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_MAX + 1);
	nl_str(info[IFLA_INFO_SLAVE_KIND], kind, sizeof(kind));
	if (!strcmp(kind, "bridge"))
		read_port(info[IFLA_INFO_SLAVE_DATA], l);
	nl_str(info[IFLA_INFO_KIND], kind, sizeof(kind));
	if (!strcmp(kind, "bridge")) {
		nl_nested(info[IFLA_INFO_DATA], br, IFLA_BR_MAX + 1);
		l->vlan_aware = nl_u32(br[IFLA_BR_VLAN_FILTERING], 0);
	} else if (!strcmp(kind, "tun")) {
		nl_nested(info[IFLA_INFO_DATA], tun, IFLA_TUN_MAX + 1);
		l->no_vnet_hdr = !nl_u32(tun[IFLA_TUN_VNET_HDR], 1);
	}
	return 0;
}

/* The VLANs of a port come as many attributes of one type. */
static int on_vlans(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFLA_MAX + 1], *a;
	const struct ifinfomsg *m = nl_attrs(h, sizeof(*m), tb, IFLA_MAX + 1);
	struct check_place *p = arg;
	struct check_link *l = m ? find(p, (uint32_t)m->ifi_index) : NULL;
	struct bridge_vlan_info v;

	(void)e;
	if (!l || !tb[IFLA_AF_SPEC])
		return 0;
	mnl_attr_for_each_nested(a, tb[IFLA_AF_SPEC]) {
		if ((a->nla_type & NLA_TYPE_MASK) != IFLA_BRIDGE_VLAN_INFO)
			continue;
		nl_struct(a, &v, sizeof(v));
		if (v.flags & BRIDGE_VLAN_INFO_PVID && v.flags & BRIDGE_VLAN_INFO_UNTAGGED)
			l->pvid = v.vid;
	}
	return 0;
}

static int dump_links(struct nl *nl, uint8_t family, nl_fn *fn, struct check_place *p,
		      struct err *e)
{
	struct ifinfomsg m = { .ifi_family = family };
	int tries = 0, rc;

	do {
		struct nlmsghdr *h = nl_msg(nl, RTM_GETLINK, 0, &m, sizeof(m));

		if (family == AF_BRIDGE)
			mnl_attr_put_u32(h, IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN);
		rc = nl_dump(nl, fn, p, e);
	} while (rc == -EAGAIN && ++tries < 8);
	/* A kernel without bridges has no ports. */
	return family == AF_BRIDGE && rc == -EOPNOTSUPP ? 0 : rc;
}

static uint32_t setting(const char *family, const char *link, const char *key)
{
	_cleanup_free_ char *text = NULL;
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, link, key);
	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return 0;
	return (uint32_t)strtoul(text, NULL, 10);
}

/* Context: in the namespace */
static void read_settings(struct check_place *p)
{
	_cleanup_close_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t i;

	for (i = 0; i < p->n_more; i++) {
		const char *name = p->scan->link[i].name;
		struct check_link *l = &p->more[i];

		l->features = ethtool_features(sock, name);
		l->rp_filter = setting("ipv4", name, "rp_filter");
		l->proxy_arp = setting("ipv4", name, "proxy_arp");
		l->ipv6_off = setting("ipv6", name, "disable_ipv6");
		l->proxy_ndp = setting("ipv6", name, "proxy_ndp");
	}
}

/**
 * check_place_read() - read a network namespace
 * @netns_fd: borrowed
 * @p:        check_place_done(), also after a failure
 *
 * Return: 0 or minus errno
 * Context: the calling thread is in the namespace for the while
 */
int check_place_read(int netns_fd, struct check_place *p, struct err *e)
{
	struct nl *nl = NULL;
	size_t i;
	int back, rc = nl_open(netns_fd, &nl, e);

	if (!rc)
		rc = scan_read(nl, &p->scan, e);
	if (!rc) {
		p->more = mem_new_n(struct check_link, p->scan->n_links + 1);
		rc = p->more ? 0 : err_set(e, ENOMEM, "out of memory");
	}
	for (i = 0; !rc && i < p->scan->n_links; i++)
		p->more[p->n_more++].ifindex = p->scan->link[i].ifindex;
	if (!rc)
		rc = dump_links(nl, AF_UNSPEC, on_link, p, e);
	if (!rc)
		rc = dump_links(nl, AF_BRIDGE, on_vlans, p, e);
	nl_free(nl);
	if (!rc)
		rc = netns_enter(netns_fd, &back, e);
	if (rc < 0)
		return rc;
	read_settings(p);
	netns_leave(back);
	return 0;
}

/**
 * check_place_done() - free what was read; twice is fine
 */
void check_place_done(struct check_place *p)
{
	scan_free(p->scan);
	free(p->more);
	*p = (struct check_place){ .scan = NULL };
}
