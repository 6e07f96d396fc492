// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The command "sync": gives the guest again what the pod's namespace has, by the
 * request that also gives it a later interface. The interfaces that are joined may go
 * down and up in the guest, so what it had of routes and learned neighbours goes,
 * and what the plan says comes. What else the guest has stays.
 */
#include <errno.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include "netplug/cmd.h"
#include "netplug/joined.h"
#include "netplug/plan.h"
#include "netplug/target.h"

/* As long as the supervisor gives the agent for a link. */
#define ANSWER_MS 20000

/* The plan of what is joined already. */
static int plan_joined(const struct target *t, Podvm__Network **ret, struct err *e)
{
	struct netplug_plan p = { .n_ports = 0 };
	struct scan *s = NULL;
	struct nl *nl = NULL;
	size_t i;
	int rc = nl_open(t->netns_fd, &nl, e);

	if (!rc)
		rc = scan_read(nl, &s, e);
	for (i = 0; !rc && i < s->n_links && p.n_ports < NETPLUG_PORTS_MAX; i++) {
		struct plan_port *port = &p.port[p.n_ports];

		/* What is joined by a macvtap has its addresses in the guest alone. */
		if (s->link[i].arphrd != ARPHRD_ETHER || joined_is_tap(&s->link[i]) ||
		    !joined_tap(s, &s->link[i]) || joined_is_macvtap(joined_tap(s, &s->link[i])))
			continue;
		memcpy(port->name, s->link[i].name, sizeof(port->name));
		memcpy(port->mac, s->link[i].mac, sizeof(port->mac));
		port->ifindex = s->link[i].ifindex;
		port->mtu = s->link[i].mtu;
		p.n_ports++;
	}
	if (!rc && !p.n_ports)
		rc = err_set(e, ENOENT, "no interface is joined to a VM by tc");
	if (!rc)
		rc = plan_network(s, &p, ret, e);
	scan_free(s);
	nl_free(nl);
	return rc < 0 ? err_wrap(e, "network namespace %s", t->shown) : 0;
}

static int give(const struct target *t, Podvm__Network *n, struct err *e)
{
	Podvm__LinksAdd m = PODVM__LINKS_ADD__INIT;
	Podvm__Request rq = AGENT_REQUEST(links_add = &m, LINKS_ADD);
	struct agent a;
	int rc = target_agent(t, &a, e);

	if (rc < 0)
		return rc;
	m.network = n;
	rc = agent_call(&a, &rq, ANSWER_MS, NULL, e);
	agent_done(&a);
	return rc;
}

/**
 * cmd_sync() - the command "sync"
 *
 * Return: exit status
 */
int cmd_sync(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug sync TARGET [OPTION...]\n"
		"\n"
		"Gives the guest of a pod again what the pod's network namespace has: names, MTU,\n"
		"addresses, routes, rules, permanent neighbours. Its interfaces may go down and up.\n"
		"What check finds missing in a guest is mended by this.\n"
		"\n"
		"  podvm-netplug sync web-0\n"
		"\n";
	struct target t = TARGET_INIT;
	const struct opt table[] = { TARGET_OPTIONS(t), OPT_END };
	Podvm__Network *n = NULL;
	struct err e = { 0 };
	int rc = target_parse(table, &t, argc, argv, help, &e);

	if (!rc) {
		rc = target_open(&t, &e);
		if (!rc)
			rc = plan_joined(&t, &n, &e);
		if (!rc)
			rc = give(&t, n, &e);
	}
	if (n)
		podvm__network__free_unpacked(n, NULL);
	target_close(&t);
	if (rc < 0)
		fprintf(stderr, "podvm-netplug sync: %s\n", e.text);
	return rc < 0;
}
