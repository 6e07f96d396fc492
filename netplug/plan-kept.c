// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Recognises a tap that "podvm-netplug attach" or the CNI plugin has joined to an
 * interface, and that waits for a VMM: it is persistent, and its alias is "podvm:" and
 * the interface's name. Such a tap is no interface of the pod's own. If all of the
 * joint is as we make it, the interface's port is this tap, which a VMM opens as it is:
 * nothing is made, and nothing is undone when the VM ends. If a part is missing, the
 * interface is refused, since a VM there would have no network.
 *
 * An interface that is a macvtap of somebody else is such a tap by itself: what its
 * descriptors give and take are the packets of its own MAC, and as long as one is open the
 * namespace's stack gets none. The guest takes its addresses, which stay where they are.
 *
 * A tap that nobody holds has no carrier (tun_set_iff(), __tun_detach() in the
 * kernel's drivers/net/tun.c), which tells one in use from one that is free.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "lib/str.h"
#include "netplug/plan.h"

/* IFF_LOWER_UP, of linux/if.h, which excludes net/if.h. IFF_RUNNING comes a second late. */
#define HAS_CARRIER 0x10000u

/**
 * plan_is_kept() - whether an interface is a persistent tap of ours
 */
bool plan_is_kept(const struct scan_link *l)
{
	return !strcmp(l->kind, "tun") && l->persist && str_starts(l->alias, SCAN_TAP_ALIAS);
}

static bool leads(const struct scan *s, const struct scan_link *from, const struct scan_link *to)
{
	size_t i;

	for (i = 0; i < s->n_filters; i++)
		if (s->filter[i].ifindex == from->ifindex && s->filter[i].ours &&
		    s->filter[i].to == to->ifindex)
			return true;
	return false;
}

static const char *fault(const struct scan *s, const struct scan_link *l,
			 const struct scan_link *tap)
{
	if (!(tap->flags & IFF_UP))
		return "is down";
	if (tap->mtu != l->mtu)
		return "has another MTU";
	if (!leads(s, l, tap))
		return "gets nothing from it: the filter is missing";
	if (!leads(s, tap, l))
		return "sends nothing to it: the filter is missing";
	return NULL;
}

/**
 * plan_ready() - whether an interface needs nothing beside it: a macvtap
 * @l:    none of ours
 * @port: gets tap, model, there, many; untouched if it is none
 */
bool plan_ready(const struct scan_link *l, struct plan_port *port)
{
	if (strcmp(l->kind, "macvtap") != 0)
		return false;
	memcpy(port->tap, l->name, sizeof(port->tap));
	port->there = port->many = true;
	port->model = NETPLUG_MACVTAP;
	snprintf(port->why, sizeof(port->why), "it is one already");
	return true;
}

/**
 * plan_kept() - find the tap that is joined to an interface and waits for a VMM
 * @l:    the interface
 * @port: gets tap, there, busy, many; untouched if there is no such tap
 *
 * Return: 1 if found; 0 if there is none; -EEXIST if a part of the joint is missing
 */
int plan_kept(const struct scan *s, const struct scan_link *l, struct plan_port *port,
	      struct err *e)
{
	const struct scan_link *tap = NULL;
	const char *why;
	size_t i;

	for (i = 0; i < s->n_links && !tap; i++)
		if (plan_is_kept(&s->link[i]) &&
		    !strcmp(s->link[i].alias + strlen(SCAN_TAP_ALIAS), l->name))
			tap = &s->link[i];
	if (!tap)
		return 0;
	why = fault(s, l, tap);
	if (why)
		return err_set(e, EEXIST,
			       "interface %s: its tap %s %s; detach it, or call the "
			       "CNI chain's DEL, and attach it again",
			       l->name, tap->name, why);
	memcpy(port->tap, tap->name, sizeof(port->tap));
	port->there = true;
	port->model = NETPLUG_TC;
	snprintf(port->why, sizeof(port->why), "its tap is there already");
	port->busy = tap->flags & HAS_CARRIER;
	port->many = tap->many;
	return 1;
}
