// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Tells that something in a network namespace may have changed: a socket of its
 * own for the kernel's notifications of links, addresses, routes, rules,
 * neighbours and nexthop objects. What has changed is not read from them: whoever hears of it
 * reads the namespace again and compares (plan-again.c, diff.c), so that lost
 * notifications (ENOBUFS), their order and our own changes make no difference.
 *
 * Neighbours come and go all the time: of them only permanent ones count, and those that
 * are removed, of which the kernel does not tell what they were.
 *
 * Sources: rtnetlink(7), netlink(7); linux/rtnetlink.h (RTNLGRP_*).
 */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "lib/mem.h"
#include "netplug/netns.h"
#include "netplug/nl.h"
#include "netplug/plan.h"

/* The kernel makes no notification longer than this. */
#define RX_BYTES 32768

/* What may wait before notifications get lost, which costs nothing but this memory. */
#define QUEUE_BYTES 65536

/* Datagrams that are taken at once: who makes more of them must not hold us. */
#define ROUND 256

struct netplug_watch {
	struct mnl_socket *sock;	/* owned */
	union {
		struct nlmsghdr align;
		char rx[RX_BYTES];
	};
};

static int subscribe(struct mnl_socket *sock, struct err *e)
{
	static const int groups[] = {
		RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_NEIGH,
		RTNLGRP_NEXTHOP,
	};
	int bytes = QUEUE_BYTES;
	size_t i;

	if (mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_sys(e, "netlink socket: bind");
	setsockopt(mnl_socket_get_fd(sock), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	for (i = 0; i < ARRAY_LEN(groups); i++) {
		int group = groups[i];

		/* Kernels before 5.3 have no nexthop objects. */
		if (mnl_socket_setsockopt(sock, NETLINK_ADD_MEMBERSHIP, &group,
					  sizeof(group)) < 0 && group != RTNLGRP_NEXTHOP)
			return err_sys(e, "netlink socket: group %d", group);
	}
	return 0;
}

/**
 * netplug_watch_new() - watch a network namespace
 * @netns_fd: borrowed; what changes in it from now on is told
 * @ret:      owned by the caller, netplug_watch_free()
 *
 * Return: 0 or minus errno
 * Context: the calling thread is in the namespace for the while of one system call
 */
int netplug_watch_new(int netns_fd, struct netplug_watch **ret, struct err *e)
{
	struct netplug_watch *w = mem_new(struct netplug_watch);
	int back, rc;

	if (!w)
		return err_set(e, ENOMEM, "out of memory");
	rc = netns_enter(netns_fd, &back, e);
	if (rc >= 0) {
		w->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
		rc = w->sock ? 0 : err_sys(e, "netlink socket");
		netns_leave(back);
	}
	if (!rc)
		rc = subscribe(w->sock, e);
	if (rc < 0) {
		netplug_watch_free(w);
		return rc;
	}
	*ret = w;
	return 0;
}

/**
 * netplug_watch_free() - stop watching; NULL is fine
 */
void netplug_watch_free(struct netplug_watch *w)
{
	if (!w)
		return;
	if (w->sock)
		mnl_socket_close(w->sock);
	free(w);
}

/**
 * netplug_watch_fd() - the socket, readable when something may have changed
 *
 * Return: borrowed from @w
 */
int netplug_watch_fd(const struct netplug_watch *w)
{
	return mnl_socket_get_fd(w->sock);
}

static bool counts(const struct nlmsghdr *h)
{
	const struct nlattr *tb[NDA_MAX + 1];
	const struct ndmsg *m;

	if (h->nlmsg_type != RTM_NEWNEIGH)
		return true;
	m = nl_attrs(h, sizeof(*m), tb, NDA_MAX + 1);
	return m && m->ndm_state & NUD_PERMANENT;
}

/**
 * netplug_watch_read() - take all that has been told so far
 *
 * Return: whether something may have changed
 * Context: does not block
 */
bool netplug_watch_read(struct netplug_watch *w)
{
	bool changed = false;
	int i;

	for (i = 0; i < ROUND; i++) {
		const struct nlmsghdr *h = &w->align;
		ssize_t n = mnl_socket_recvfrom(w->sock, w->rx, sizeof(w->rx));
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ENOBUFS && errno != ENOSPC)
			return changed;
		/* Some were lost, or one was longer than can be. */
		changed |= n < 0;
		for (; left > 0 && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			changed |= counts(h);
	}
	return changed;
}
