// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A plan for a namespace that is joined already, and has changed: the namespace
 * is read as ever, what netplug has put into it is taken out of what was read, and the
 * same decisions are made about the rest. Interfaces that are joined keep
 * their ports as long as what joins them is there, and the interface is what the machine's
 * device was made for: its MAC address, and no greater MTU. It may have another name, be
 * down, or have a filter of somebody else by now. One that is joined but
 * not so any more has no port in the new plan, or a new one.
 *
 * A running pod does not end because of what cannot be joined: that is left
 * out, with a note. An interface that is down is left out without one: whoever makes an interface
 * sets it up last. So are those that the caller wants to be left out.
 *
 * All is joined by tc: a macvtap's interface has its addresses and routes in the journal and
 * not in the namespace, so that nothing can be read there (netplug_plan_follows()).
 *
 * States of a port: planned; joined (it has its tap); settled (and the guest has
 * been told all of it). What of it is not settled is told whole (diff.c).
 */
#include <errno.h>
#include <linux/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "netplug/plan.h"

/**
 * plan_carrier() - whether an interface is up and connected
 */
bool plan_carrier(const struct scan_link *l)
{
	return (l->flags & (IFF_UP | IFF_LOWER_UP)) == (IFF_UP | IFF_LOWER_UP);
}

/**
 * plan_notes_free() - free notes; NULL is fine
 */
void plan_notes_free(struct plan_notes *n)
{
	while (n && n->n)
		free(n->text[--n->n]);
	free(n);
}

/**
 * plan_noted() - what cannot be done: an error, or in a later plan a note
 * @rc: 0, or minus errno with @e
 *
 * Return: @rc; 1: it is noted, and to be left out
 */
int plan_noted(const struct netplug_plan *p, int rc, const struct err *e)
{
	struct plan_notes *n = p->notes;

	if (rc >= 0 || rc == -ENOMEM || !n)
		return rc;
	if (n->n < PLAN_NOTES_MAX && (n->text[n->n] = strdup(e->text)))
		n->n++;
	return 1;
}

/**
 * netplug_plan_note() - what a plan leaves out, and why
 * @i: from 0
 *
 * Return: borrowed from @p; NULL behind the last one
 */
const char *netplug_plan_note(const struct netplug_plan *p, size_t i)
{
	return p->notes && i < p->notes->n ? p->notes->text[i] : NULL;
}

static bool is_our_tap(const struct scan_link *l, const struct plan_port *port)
{
	return !strcmp(l->name, port->tap) && str_starts(l->alias, SCAN_TAP_ALIAS);
}

/* Whether all that joins an interface is there. */
static bool is_joined(const struct scan *s, const struct plan_port *port)
{
	const struct scan_link *tap = scan_link_named(s, port->tap);
	size_t i;

	if (!tap || !is_our_tap(tap, port))
		return false;
	for (i = 0; i < s->n_filters; i++)
		if (s->filter[i].ours && s->filter[i].ifindex == port->ifindex)
			return true;
	return false;
}

/* Takes over what stays joined. */
static void keep(const struct scan *s, const struct netplug_plan *now, struct netplug_plan *p)
{
	size_t i;

	for (i = 0; i < now->n_ports; i++) {
		const struct plan_port *port = &now->port[i];
		const struct scan_link *l = scan_link_at(s, port->ifindex);
		struct plan_port *to = &p->port[p->n_ports];

		if (!port->joined || !l || l->mac_len != sizeof(port->mac) ||
		    memcmp(l->mac, port->mac, sizeof(port->mac)) || l->mtu > port->plug_mtu ||
		    !is_joined(s, port))
			continue;
		*to = *port;
		memcpy(to->name, l->name, sizeof(to->name));
		to->mtu = l->mtu;
		to->carrier = plan_carrier(l);
		p->n_ports++;
	}
}

static bool is_apart(const struct scan_link *l, const uint32_t *apart, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (apart[i] == l->ifindex)
			return true;
	return false;
}

/* Whether the plan shall not see an interface: a tap of ours; one that is not its turn. */
static bool is_hidden(const struct scan_link *l, const struct netplug_plan *now,
		      const struct netplug_plan *p, const uint32_t *apart, size_t n_apart)
{
	size_t i;

	for (i = 0; i < now->n_ports; i++)
		if (now->port[i].joined && is_our_tap(l, &now->port[i]))
			return true;
	return !plan_port_at(p, l->ifindex) &&
	       (!(l->flags & IFF_UP) || is_apart(l, apart, n_apart));
}

/* Takes out of what was read what joins the interfaces. */
static void hide_ours(struct scan *s, const struct plan_port *port)
{
	uint32_t pref = 0;
	size_t i, n;

	for (i = 0; i < s->n_filters; i++)
		if (s->filter[i].ours && s->filter[i].ifindex == port->ifindex)
			pref = s->filter[i].pref;
	/* The kernel has one of its own beside ours: the table that u32 hangs it in. */
	for (i = 0, n = 0; i < s->n_filters; i++)
		if (!pref || s->filter[i].ifindex != port->ifindex || s->filter[i].pref != pref)
			s->filter[n++] = s->filter[i];
	s->n_filters = n;
	if (port->hook != PLAN_HOOK_NONE)
		return;
	for (i = 0, n = 0; i < s->n_qdiscs; i++)
		if (s->qdisc[i].ifindex != port->ifindex || strcmp(s->qdisc[i].kind, "ingress"))
			s->qdisc[n++] = s->qdisc[i];
	s->n_qdiscs = n;
}

static void hide_links(struct scan *s, const struct netplug_plan *now,
		       const struct netplug_plan *p, const uint32_t *apart, size_t n_apart)
{
	size_t i, n, a, n_a;

	for (i = 0, n = 0; i < s->n_links; i++) {
		struct scan_link *l = &s->link[i];

		if (!is_hidden(l, now, p, apart, n_apart)) {
			s->link[n++] = *l;
			continue;
		}
		for (a = 0, n_a = 0; a < s->n_addrs; a++)
			if (s->addr[a].ifindex != l->ifindex)
				s->addr[n_a++] = s->addr[a];
		s->n_addrs = n_a;
	}
	s->n_links = n;
}

/**
 * plan_make_again() - plan anew what is joined already; touches nothing
 * @s:     what is in the namespace; what is ours is taken out of it
 * @now:   what is joined
 * @apart: @n_apart indexes of interfaces that are to be left out
 * @ret:   owned by the caller, netplug_plan_free()
 *
 * Return: 0; -E2BIG; -ENOMEM
 */
int plan_make_again(struct scan *s, const struct netplug_plan *now, const uint32_t *apart,
		    size_t n_apart, struct netplug_plan **ret, struct err *e)
{
	struct netplug_plan *p = mem_new(struct netplug_plan);
	size_t i;
	int rc;

	if (!p || !(p->notes = mem_new(struct plan_notes))) {
		free(p);
		return err_set(e, ENOMEM, "out of memory");
	}
	keep(s, now, p);
	for (i = 0; i < now->n_ports; i++)
		if (now->port[i].joined)
			hide_ours(s, &now->port[i]);
	hide_links(s, now, p, apart, n_apart);
	rc = plan_decide(s, NETPLUG_TC, p, e);
	if (rc < 0) {
		netplug_plan_free(p);
		return rc;
	}
	*ret = p;
	return 0;
}

/**
 * netplug_plan_again() - read a namespace that is joined, and plan it anew
 * @now:   what is joined
 * @apart: @n_apart indexes of interfaces that are to be left out
 * @ret:   owned by the caller, netplug_plan_free(); interfaces that stay joined come first
 *
 * Nothing is changed in the namespace. What cannot be joined is left out, see
 * netplug_plan_note().
 *
 * Return: 0; -E2BIG; minus errno
 * Context: as netplug_plan()
 */
int netplug_plan_again(int netns_fd, const struct netplug_plan *now, const uint32_t *apart,
		       size_t n_apart, struct netplug_plan **ret, struct err *e)
{
	struct scan *s = NULL;
	int rc = plan_read(netns_fd, &s, e);

	if (!rc)
		rc = plan_make_again(s, now, apart, n_apart, ret, e);
	if (!rc)
		(*ret)->read_ms = clock_ms();
	scan_free(s);
	return rc;
}

/**
 * netplug_plan_settle() - all of a plan has been carried out, in the guest, too
 */
void netplug_plan_settle(struct netplug_plan *p)
{
	size_t i;

	for (i = 0; i < p->n_ports; i++) {
		p->port[i].joined = p->port[i].settled = true;
		if (!p->port[i].plug_mtu)
			p->port[i].plug_mtu = p->port[i].mtu;
	}
}

/**
 * netplug_plan_follows() - whether a plan can be made again while the VM runs
 *
 * Return: false if an interface has left what it had to a macvtap
 */
bool netplug_plan_follows(const struct netplug_plan *p)
{
	size_t i;

	for (i = 0; i < p->n_ports; i++)
		if (p->port[i].model != NETPLUG_TC)
			return false;
	return true;
}

/**
 * netplug_plan_ports() - how many interfaces a plan joins
 */
size_t netplug_plan_ports(const struct netplug_plan *p)
{
	return p->n_ports;
}

/**
 * netplug_plan_port() - an interface of a plan
 * @i:           below netplug_plan_ports()
 * @ret:         what the plan knows of it: no taps and no records
 * @ret_carrier: it is up and connected
 */
void netplug_plan_port(const struct netplug_plan *p, size_t i, struct netplug_port *ret,
		       bool *ret_carrier)
{
	const struct plan_port *port = &p->port[i];

	*ret = (struct netplug_port){ .mtu = port->mtu, .ifindex = port->ifindex };
	memcpy(ret->name, port->name, sizeof(ret->name));
	memcpy(ret->mac, port->mac, sizeof(ret->mac));
	*ret_carrier = port->carrier;
}

/* Whether a sysctl is one of an interface's: net.FAMILY.conf.NAME.SETTING */
static bool is_sysctl_of(const char *key, const char *name)
{
	char part[SCAN_NAME_BYTES + 8];
	size_t i;

	snprintf(part, sizeof(part), ".conf.%s.", name);
	for (i = 6; part[i] && part[i + 1]; i++)
		if (part[i] == '.')
			part[i] = '/';
	return strstr(key, part);
}

/**
 * netplug_plan_link() - what of a plan belongs to one interface alone
 * @i:   below netplug_plan_ports()
 * @ret: link, neighbours and sysctls of it, borrowed from @p, in arrays that the
 *       caller frees: links, neighbours, sysctls
 *
 * Return: 0 or -ENOMEM
 */
int netplug_plan_link(const struct netplug_plan *p, size_t i, Podvm__Network *ret,
		      struct err *e)
{
	const Podvm__Network *n = p->network;
	const char *name = p->port[i].name;
	size_t k;

	podvm__network__init(ret);
	ret->links = mem_new_n(Podvm__Link *, 1);
	ret->neighbours = mem_new_n(Podvm__Neighbour *, n->n_neighbours + 1);
	ret->sysctls = mem_new_n(Podvm__KeyValue *, n->n_sysctls + 1);
	if (!ret->links || !ret->neighbours || !ret->sysctls) {
		free(ret->links);
		free(ret->neighbours);
		free(ret->sysctls);
		return err_set(e, ENOMEM, "out of memory");
	}
	ret->links[ret->n_links++] = n->links[i];
	for (k = 0; k < n->n_neighbours; k++)
		if (!strcmp(n->neighbours[k]->link, name))
			ret->neighbours[ret->n_neighbours++] = n->neighbours[k];
	for (k = 0; k < n->n_sysctls; k++)
		if (is_sysctl_of(n->sysctls[k]->key, name))
			ret->sysctls[ret->n_sysctls++] = n->sysctls[k];
	return 0;
}
