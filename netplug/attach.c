// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Joins an interface to a tap that waits for its VMM, for the CNI plugin and for "attach".
 * It is the plan and the apply that a pod's supervisor uses; what differs is that the tap
 * is persistent and that the journal is a file of its own (attach-store.c). plan-kept.c
 * recognises such a tap, so that podvm takes it and makes none.
 *
 * To attach twice is to attach once: what is whole and as asked for stays untouched, also
 * under a VM that runs. What a killed command has left is undone first.
 *
 * The number of queues is what a VMM is told to use. The kernel only knows whether a tap
 * takes several.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/attach.h"

/**
 * attach_name_ok() - whether a name can be that of an interface
 *
 * Source: dev_valid_name() in the kernel's net/core/dev.c; '%' would be a pattern.
 */
bool attach_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len < SCAN_NAME_BYTES && !strpbrk(name, "/:% \t\n\v\f\r\xa0") &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void keep_routes(struct scan *s, uint32_t ifindex)
{
	size_t i, k, n = 0;

	for (i = 0; i < s->n_routes; i++) {
		const struct scan_route *r = &s->route[i];
		bool ours = r->n_hops || r->oif == ifindex;

		for (k = 0; k < r->n_hops; k++)
			ours &= r->hop[k].oif == ifindex;
		if (ours)
			s->route[n++] = *r;
	}
	s->n_routes = n;
}

/* Leaves the addresses, routes and neighbours of one interface; rules are of none. */
static void keep_one(struct scan *s, uint32_t ifindex)
{
	size_t i, n;

	for (i = n = 0; i < s->n_addrs; i++)
		if (s->addr[i].ifindex == ifindex)
			s->addr[n++] = s->addr[i];
	s->n_addrs = n;
	for (i = n = 0; i < s->n_neighs; i++)
		if (s->neigh[i].ifindex == ifindex)
			s->neigh[n++] = s->neigh[i];
	s->n_neighs = n;
	keep_routes(s, ifindex);
}

static int plan_one(struct scan *s, const char *ifname, bool network, struct netplug_plan *p,
		    struct err *e)
{
	const struct scan_link *l = scan_link_named(s, ifname);
	int rc;

	if (!l)
		return err_set(e, ENODEV, "interface %s: there is none in this network namespace",
			       ifname);
	rc = plan_port_add(s, l, NETPLUG_TC, p, e);
	if (rc < 0 || !network)
		return rc;
	keep_one(s, l->ifindex);
	return plan_network(s, p, &p->network, e);
}

/**
 * attach_plan() - decide how interfaces are joined
 * @s:       of one interface: loses the addresses, routes and neighbours of the others
 * @ifname:  the only one; NULL: all that there are
 * @network: decide as well what the guest gets; always done for all
 * @ret:     owned by the caller, netplug_plan_free()
 *
 * Return: 0; -ENODEV; as plan_make()
 */
int attach_plan(struct scan *s, const char *ifname, bool network, struct netplug_plan **ret,
		struct err *e)
{
	static const struct netplug_options tc = { .model = NETPLUG_TC };
	struct netplug_plan *p;
	int rc;

	if (!ifname)
		return plan_make(s, &tc, ret, e);
	p = mem_new(struct netplug_plan);
	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	rc = plan_one(s, ifname, network, p, e);
	if (rc < 0) {
		netplug_plan_free(p);
		return rc;
	}
	*ret = p;
	return 0;
}

/* Looks at the namespace as it is now. */
static int look(int netns_fd, const char *ifname, char id[NETNS_ID_BYTES],
		struct netplug_plan **ret, struct err *e)
{
	struct scan *s = NULL;
	struct nl *nl = NULL;
	int rc = nl_open(netns_fd, &nl, e);

	if (!rc)
		rc = apply_netns_id(netns_fd, nl, id, e);
	if (!rc)
		rc = scan_read(nl, &s, e);
	if (!rc)
		rc = attach_plan(s, ifname, false, ret, e);
	scan_free(s);
	nl_free(nl);
	return rc;
}

static bool as_asked(struct attachment *a, const char *id, const char *ifname,
		     const struct attach_ask *ask, const struct plan_port *port)
{
	struct attach_about about;
	struct err ignored;

	return port->there && !attachment_about(a, &about, &ignored) && !strcmp(about.id, id) &&
	       !strcmp(about.ifname, ifname) && !strcmp(about.ask.tap, port->tap) &&
	       (!*ask->tap || !strcmp(about.ask.tap, ask->tap)) &&
	       about.ask.queues == ask->queues && about.ask.uid == ask->uid &&
	       about.ask.gid == ask->gid;
}

static int somebody(struct attachment *a, const char *id, const char *ifname, struct err *e)
{
	struct attach_about about;
	char name[NAME_MAX + 1];

	if (attach_find(a->dirfd, id, ifname, name, &about, e) == 1)
		return err_set(e, EEXIST, "interface %s: it is joined to %s already (%s)", ifname,
			       about.ask.tap, name);
	return err_set(e, EEXIST, "interface %s: it is joined to a tap already", ifname);
}

static int make(int netns_fd, const char *path, const char *id, struct netplug_plan *p,
		const struct attach_ask *ask, struct attachment *a, struct err *e)
{
	struct netplug_port ports[NETPLUG_PORTS_MAX];
	struct plan_port *port = &p->port[0];
	char queues[16], owner[32];
	size_t n = 0;
	int rc;

	port->keep = (struct plan_keep){.on = true, .uid = ask->uid, .gid = ask->gid};
	if (*ask->tap)
		memcpy(port->tap, ask->tap, sizeof(port->tap));
	snprintf(queues, sizeof(queues), "%u", ask->queues);
	snprintf(owner, sizeof(owner), "%u:%u", ask->uid, ask->gid);
	rc = journal_add(a->j, e, "netplug", "keep", path, id, port->name, queues, owner, port->tap,
			 (const char *)NULL);
	if (!rc)
		rc = netplug_apply(p, netns_fd, path, ask->queues > 1 ? 2 : 1, a->j, ports, &n, e);
	while (n)
		netplug_port_close(&ports[--n]);
	return rc;
}

/**
 * attach_interface() - join one interface to a tap that waits for its VMM
 * @netns_fd: borrowed
 * @path:     leads to it, for the journal
 * @a:        the journal of this attachment, locked
 * @ret:      how it is joined; untouched on failure
 * @ret_made: whether that was done now, and not before
 *
 * A failure leaves nothing, and nothing of what an earlier command that was killed has made.
 *
 * Return: 0; -EEXIST if somebody else has joined it; as attach_plan(), netplug_apply()
 */
int attach_interface(int netns_fd, const char *path, const char *ifname,
		     const struct attach_ask *ask, struct attachment *a, struct plan_port *ret,
		     bool *ret_made, struct err *e)
{
	struct netplug_plan *p = NULL;
	char id[NETNS_ID_BYTES];
	struct err undo;
	bool made = true;
	int rc = look(netns_fd, ifname, id, &p, e);

	if (!attachment_empty(a)) {
		made = rc < 0 || !as_asked(a, id, ifname, ask, &p->port[0]);
		if (made) {
			netplug_plan_free(p);
			p = NULL;
			rc = attachment_undo(a, e);
			if (!rc)
				rc = look(netns_fd, ifname, id, &p, e);
		}
	}
	if (!rc && made && p->port[0].there)
		rc = somebody(a, id, ifname, e);
	else if (!rc && made)
		rc = make(netns_fd, path, id, p, ask, a, e);
	if (rc < 0 && made)
		attachment_undo(a, &undo);
	if (!rc) {
		*ret = p->port[0];
		ret->queues = ask->queues;
		*ret_made = made;
	}
	netplug_plan_free(p);
	return rc;
}
