// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Joins a veth to a tap, in the pod's network namespace, and takes it apart:
 *
 *	network == veth ingress -- u32, mirred redirect --> tap egress == guest
 *	network == veth egress <-- u32, mirred redirect -- tap ingress == guest
 *
 * Both filters match every packet before the namespace's own stack sees it.
 * The veth keeps its addresses, which engines read there, but hears nothing
 * any more: no ARP, neighbour solicitation, ping or connection is answered by
 * the host. What its stack may still send by itself is a router solicitation
 * or a multicast listener report in the first seconds of the interface, which
 * the guest, under the same MAC, sends as well. Egress filters and queueing
 * disciplines of the veth stay in force for what the guest sends.
 *
 * Order per port: tap (made, quiet, up, its filter), then the hook on the
 * veth, then the filter on the veth. The last step is the one that takes the
 * traffic; up to it the pod's interface works as before. A journal record is
 * written before each step that leaves something in the namespace:
 *
 *	netplug tap     PATH ID TAP
 *	netplug queue   PATH ID INTERFACE IFINDEX	its queue length was 0
 *	netplug ingress PATH ID INTERFACE IFINDEX
 *	netplug filter  PATH ID INTERFACE IFINDEX
 *
 * ID is the namespace's device, inode and cookie. A path that is gone, or
 * names another namespace now, means that all in it is gone. The tap bears an
 * alias and the veth's filter an action cookie of ours, so that undoing a
 * record whose thing was never made takes nothing of anybody else. The ingress
 * discipline, which cannot be marked, is left if it has somebody's filter.
 *
 * The tap is not persistent, and ends with its last descriptor, but where a VMM comes
 * later (attach.c): that one stays, may be opened by whom it is for, and has the MAC that
 * the guest takes. It speaks no
 * IPv6 (no generated address) and no ARP, and has no queueing discipline: the
 * default one would queue what the guest's queue already holds, and one that
 * looks at time stamps drops redirected packets.
 *
 * Sources: tc-mirred(8), tc-u32(8); linux/pkt_cls.h; linux/if_tun.h;
 * Documentation/networking/tuntap.rst.
 */
#include "netplug/tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/link.h"
#include "netplug/netns.h"

/* Our filter comes first: one that is added later takes nothing from the guest. */
#define TC_PREF 1

/* The only handle that an ingress or clsact discipline can have. */
#define TC_HOOK_HANDLE 0xffff0000u

/* One end of a tap; @first makes it. */
static int tap_open(int netns_fd, const char *name, bool many, bool first, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	_cleanup_close_ int fd = -1;
	int back, rc;

	if (many)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (first)
		ifr.ifr_flags |= (short)IFF_TUN_EXCL;
	/* A tun file makes its interfaces where the file was opened. */
	rc = netns_enter(netns_fd, &back, e);
	if (rc < 0)
		return rc;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	netns_leave(back);
	if (fd < 0)
		return err_sys(e, "/dev/net/tun (is the tun module loaded?)");
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_sys(e, "make tap %s", name);
	return fd_steal(&fd);
}

/**
 * tc_tap_open() - make a tap in a network namespace
 * @netns_fd: borrowed
 * @name:     that no interface has
 * @ret_fds:  its ends, non-blocking, owned by the caller; on failure all are -1
 * @n:        how many, from 1
 *
 * Return: 0 or minus errno
 */
int tc_tap_open(int netns_fd, const char *name, int *ret_fds, size_t n, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < n; i++)
		ret_fds[i] = -1;
	for (i = 0; i < n && rc >= 0; i++)
		rc = ret_fds[i] = tap_open(netns_fd, name, n > 1, !i, e);
	if (rc >= 0)
		return 0;
	for (i = 0; i < n; i++)
		fd_close(&ret_fds[i]);
	return rc;
}

/* A tap that was made by its name in the meantime is not the one that was kept. */
static int check_kept(int fd, const char *name, struct err *e)
{
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_sys(e, "tap %s", name);
	if (!(ifr.ifr_flags & IFF_PERSIST))
		return err_set(e, ESTALE, "tap %s is gone", name);
	return 0;
}

/**
 * tc_tap_take() - open a tap that was kept
 * @p:       whose tap is there
 * @ret_fds: its ends, non-blocking, owned by the caller; on failure all are -1
 * @n:       how many; 1 for a tap that takes one queue
 *
 * Return: 0; -EBUSY if somebody has it; minus errno
 */
int tc_tap_take(int netns_fd, const struct plan_port *p, int *ret_fds, size_t n, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < n; i++)
		ret_fds[i] = -1;
	if (p->busy)
		return err_set(e, EBUSY, "tap %s: a VM has it already; end that one first", p->tap);
	for (i = 0; i < n && rc >= 0; i++) {
		rc = ret_fds[i] = tap_open(netns_fd, p->tap, p->many, false, e);
		if (rc >= 0)
			rc = check_kept(ret_fds[i], p->tap, e);
	}
	if (rc >= 0)
		return 0;
	for (i = 0; i < n; i++)
		fd_close(&ret_fds[i]);
	return rc;
}

/**
 * tc_tap_keep() - let a tap outlive its descriptors
 * @fd: an end of it
 *
 * Return: 0 or minus errno
 */
int tc_tap_keep(int fd, const struct plan_keep *keep, struct err *e)
{
	if (keep->uid != UINT32_MAX && ioctl(fd, TUNSETOWNER, (unsigned long)keep->uid) < 0)
		return err_sys(e, "give the tap to user %u", keep->uid);
	if (keep->gid != UINT32_MAX && ioctl(fd, TUNSETGROUP, (unsigned long)keep->gid) < 0)
		return err_sys(e, "give the tap to group %u", keep->gid);
	if (ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return err_sys(e, "make the tap persistent");
	return 0;
}

static int qdisc_add(struct nl *nl, uint32_t ifindex, uint32_t parent,
		     uint32_t handle, uint16_t flags, const char *kind,
		     struct err *e)
{
	struct tcmsg m = { .tcm_ifindex = (int)ifindex, .tcm_parent = parent,
			   .tcm_handle = handle };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWQDISC, NLM_F_CREATE | flags, &m,
				    sizeof(m));

	mnl_attr_put_strz(h, TCA_KIND, kind);
	return nl_talk(nl, e);
}

/* Where filters hang: the same for ingress and for clsact. */
static uint32_t hook_parent(void)
{
	return TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
}

static int filter_add(struct nl *nl, uint32_t from, uint32_t to, struct err *e)
{
	struct tcmsg m = {
		.tcm_ifindex = (int)from,
		.tcm_parent = hook_parent(),
		.tcm_info = TC_H_MAKE(TC_PREF << 16, htons(ETH_P_ALL)),
	};
	struct tc_mirred redirect = { .action = TC_ACT_STOLEN, .ifindex = to,
				      .eaction = TCA_EGRESS_REDIR };
	struct {
		struct tc_u32_sel sel;
		struct tc_u32_key all;	/* mask 0: matches everything */
	} match = { .sel = { .flags = TC_U32_TERMINAL, .nkeys = 1 } };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWTFILTER,
				    NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	struct nlattr *opt, *acts, *act, *act_opt;

	mnl_attr_put_strz(h, TCA_KIND, "u32");
	opt = mnl_attr_nest_start(h, TCA_OPTIONS);
	mnl_attr_put(h, TCA_U32_SEL, sizeof(match), &match);
	acts = mnl_attr_nest_start(h, TCA_U32_ACT);
	act = mnl_attr_nest_start(h, 1);
	mnl_attr_put_strz(h, TCA_ACT_KIND, "mirred");
	mnl_attr_put(h, TCA_ACT_COOKIE, sizeof(SCAN_ACT_COOKIE) - 1,
		     SCAN_ACT_COOKIE);
	act_opt = mnl_attr_nest_start(h, TCA_ACT_OPTIONS);
	mnl_attr_put(h, TCA_MIRRED_PARMS, sizeof(redirect), &redirect);
	mnl_attr_nest_end(h, act_opt);
	mnl_attr_nest_end(h, act);
	mnl_attr_nest_end(h, acts);
	mnl_attr_nest_end(h, opt);
	if (nl_talk(nl, e) < 0)
		return err_wrap(e, "add filter u32 with mirred redirect (are cls_u32 "
				"and act_mirred in this kernel?)");
	return 0;
}

static int hook_add(struct nl *nl, uint32_t ifindex, struct err *e)
{
	if (qdisc_add(nl, ifindex, TC_H_INGRESS, TC_HOOK_HANDLE, NLM_F_EXCL,
		      "ingress", e) < 0)
		return err_wrap(e, "add ingress discipline (is sch_ingress in this "
				"kernel?)");
	return 0;
}

/* The guest's: a VMM is told one MAC, and finds no other. */
static int take_mac(struct nl *nl, uint32_t tap, const struct plan_port *p, struct err *e)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = (int)tap };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWLINK, 0, &m, sizeof(m));

	mnl_attr_put(h, IFLA_ADDRESS, sizeof(p->mac), p->mac);
	return nl_talk(nl, e);
}

/**
 * tc_tap_setup() - make a new tap quiet, join it towards the interface, set it up
 * @p:       whose tap it is
 * @ret_tap: the tap's index
 *
 * Return: 0 or minus errno
 */
int tc_tap_setup(struct nl *nl, const struct plan_port *p, uint32_t *ret_tap,
		 struct err *e)
{
	uint32_t tap = 0;
	int rc = link_index(nl, p->tap, &tap, e);

	if (!rc)
		rc = link_quiet(nl, tap, p->name, p->mtu, 0, e);
	if (!rc && p->keep.on)
		rc = take_mac(nl, tap, p, e);
	if (!rc)
		rc = qdisc_add(nl, tap, TC_H_ROOT, 0, NLM_F_REPLACE, "noqueue", e);
	if (!rc)
		rc = hook_add(nl, tap, e);
	if (!rc)
		rc = filter_add(nl, tap, p->ifindex, e);
	if (!rc)
		rc = link_up(nl, tap, e);
	if (rc < 0)
		return err_wrap(e, "tap %s", p->tap);
	*ret_tap = tap;
	return 0;
}

/**
 * tc_tap_mtu() - give a tap the MTU of its interface
 *
 * Return: 0 or minus errno
 */
int tc_tap_mtu(struct nl *nl, const struct plan_port *p, struct err *e)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWLINK, 0, &m, sizeof(m));

	mnl_attr_put_strz(h, IFLA_IFNAME, p->tap);
	mnl_attr_put_u32(h, IFLA_MTU, p->mtu);
	return nl_talk(nl, e);
}

/**
 * tc_hook_add() - give an interface an ingress discipline
 *
 * Return: 0; -EEXIST if it has one, or a clsact; minus errno
 */
int tc_hook_add(struct nl *nl, const struct plan_port *p, struct err *e)
{
	return hook_add(nl, p->ifindex, e);
}

/**
 * tc_filter_add() - send what an interface receives to its tap
 *
 * Return: 0; -EEXIST if a filter has our place; minus errno
 */
int tc_filter_add(struct nl *nl, const struct plan_port *p, uint32_t tap,
		  struct err *e)
{
	return filter_add(nl, p->ifindex, tap, e);
}

/* An interface, hook or filter that is not there any more needs no undoing. */
static int gone_is_fine(int rc)
{
	return rc == -ENODEV || rc == -ENOENT || rc == -EINVAL ? 0 : rc;
}

/**
 * tc_tap_del() - remove our tap, if it is there and ours
 *
 * Return: 0 or minus errno
 */
int tc_tap_del(struct nl *nl, const char *name, struct err *e)
{
	return link_del(nl, name, "tun", 0, e);
}

/* Filters at an interface's ingress hook; none if there is no hook. */
static int hook_filters(struct nl *nl, uint32_t ifindex, struct scan **ret,
			struct err *e)
{
	struct scan *s = mem_new(struct scan);
	int rc, tries = 0;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	do {
		s->n_filters = 0;
		rc = gone_is_fine(scan_filters(nl, ifindex, hook_parent(), s, e));
	} while (rc == -EAGAIN && ++tries < 8);
	if (rc < 0) {
		scan_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/**
 * tc_filter_del() - remove our filter from an interface, if it is there
 *
 * Return: 0 or minus errno
 */
int tc_filter_del(struct nl *nl, uint32_t ifindex, struct err *e)
{
	struct tcmsg m = {
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = hook_parent(),
		.tcm_info = TC_H_MAKE(TC_PREF << 16, htons(ETH_P_ALL)),
	};
	struct scan *s = NULL;
	struct nlmsghdr *h;
	bool ours = false;
	size_t i;
	int rc = hook_filters(nl, ifindex, &s, e);

	if (rc < 0)
		return rc;
	for (i = 0; i < s->n_filters; i++)
		ours |= s->filter[i].ours && s->filter[i].pref == TC_PREF;
	scan_free(s);
	if (!ours)
		return 0;
	h = nl_msg(nl, RTM_DELTFILTER, 0, &m, sizeof(m));
	mnl_attr_put_strz(h, TCA_KIND, "u32");
	return gone_is_fine(nl_talk(nl, e));
}

/**
 * tc_hook_del() - remove an interface's ingress discipline, unless it is in use
 *
 * Return: 0 or minus errno
 */
int tc_hook_del(struct nl *nl, uint32_t ifindex, struct err *e)
{
	struct tcmsg m = { .tcm_ifindex = (int)ifindex, .tcm_parent = TC_H_INGRESS,
			   .tcm_handle = TC_HOOK_HANDLE };
	struct scan *s = NULL;
	struct nlmsghdr *h;
	size_t i;
	bool used, there = false;
	int rc = hook_filters(nl, ifindex, &s, e);

	if (!rc)
		rc = scan_qdiscs(nl, s, e);
	if (rc < 0) {
		scan_free(s);
		return rc;
	}
	used = s->n_filters;
	for (i = 0; i < s->n_qdiscs; i++)
		there |= s->qdisc[i].ifindex == ifindex &&
			 !strcmp(s->qdisc[i].kind, "ingress");
	scan_free(s);
	if (used || !there)
		return 0;
	h = nl_msg(nl, RTM_DELQDISC, 0, &m, sizeof(m));
	mnl_attr_put_strz(h, TCA_KIND, "ingress");
	return gone_is_fine(nl_talk(nl, e));
}

/**
 * tc_queue_none() - set an interface's queue length to 0 again
 *
 * A device without a queue (veth made by a CNI plugin) has length 0; adding any
 * discipline, the ingress one too, makes it 1000 (qdisc_create() in the
 * kernel's net/sched/sch_api.c), which stays when the discipline goes.
 *
 * Return: 0, also when the interface is gone; minus errno
 */
int tc_queue_none(struct nl *nl, uint32_t ifindex, struct err *e)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWLINK, 0, &m, sizeof(m));

	mnl_attr_put_u32(h, IFLA_TXQLEN, 0);
	return gone_is_fine(nl_talk(nl, e));
}
