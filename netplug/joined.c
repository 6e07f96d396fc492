// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What belongs together in a namespace that is joined to a VM, as the kernel has
 * it now: a tap bears our alias with its interface's name, our filters bear our
 * cookie, a veth and its peer name each other's index.
 */
#include "netplug/joined.h"

#include <string.h>

#include "lib/str.h"

/**
 * joined_is_tap() - whether an interface is a tap or macvtap of ours
 */
bool joined_is_tap(const struct scan_link *l)
{
	return (!strcmp(l->kind, "tun") || !strcmp(l->kind, "macvtap")) &&
	       str_starts(l->alias, SCAN_TAP_ALIAS);
}

/**
 * joined_tap() - the tap that belongs to an interface
 *
 * Return: borrowed from @s, or NULL
 */
const struct scan_link *joined_tap(const struct scan *s, const struct scan_link *l)
{
	size_t i;

	/* Of somebody else: it needs nothing beside it (plan_ready()). */
	if (!strcmp(l->kind, "macvtap") && !joined_is_tap(l))
		return l;
	for (i = 0; i < s->n_links; i++)
		if (joined_is_tap(&s->link[i]) &&
		    !strcmp(s->link[i].alias + strlen(SCAN_TAP_ALIAS), l->name))
			return &s->link[i];
	return NULL;
}

/**
 * joined_is_macvtap() - whether an interface is joined by a macvtap on it
 * @tap: from joined_tap(), or NULL
 *
 * There are no redirects then; the guest has the MAC of the macvtap, and the addresses
 * have left the interface.
 */
bool joined_is_macvtap(const struct scan_link *tap)
{
	return tap && !strcmp(tap->kind, "macvtap");
}

/**
 * joined_mac() - the MAC that the guest has for an interface
 *
 * Return: 6 bytes, borrowed from @s
 */
const uint8_t *joined_mac(const struct scan *s, const struct scan_link *l)
{
	const struct scan_link *tap = joined_tap(s, l);

	return joined_is_macvtap(tap) ? tap->mac : l->mac;
}

/**
 * joined_filter() - our filter on an interface
 *
 * Return: borrowed from @s, or NULL
 */
const struct scan_filter *joined_filter(const struct scan *s, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < s->n_filters; i++)
		if (s->filter[i].ifindex == ifindex && s->filter[i].ours)
			return &s->filter[i];
	return NULL;
}

/**
 * joined_hook() - the discipline that ingress filters of an interface hang on
 *
 * Return: "ingress", "clsact", or NULL
 */
const char *joined_hook(const struct scan *s, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < s->n_qdiscs; i++)
		if (s->qdisc[i].ifindex == ifindex &&
		    (!strcmp(s->qdisc[i].kind, "ingress") ||
		     !strcmp(s->qdisc[i].kind, "clsact")))
			return s->qdisc[i].kind;
	return NULL;
}

/**
 * joined_peer() - the other end of a veth
 * @host: what is in the namespace where it may be
 *
 * Return: borrowed from @host, or NULL
 */
const struct scan_link *joined_peer(const struct scan *host, const struct scan_link *l)
{
	const struct scan_link *peer;

	if (strcmp(l->kind, "veth") || l->lower_here)
		return NULL;
	peer = scan_link_at(host, l->peer);
	return peer && !strcmp(peer->kind, "veth") && peer->peer == l->ifindex ? peer : NULL;
}
