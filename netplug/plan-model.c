// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Decides how an interface is joined. Each model has what stands in its way:
 *
 * tc: ingress filters of somebody else. Ours must come first, so his would see no
 * packet any more; and behind his, what he accepts would go to the host's stack. And
 * queueing disciplines that send by the packet's time stamp: what is redirected may
 * still have that of its arrival (fq, etf, taprio).
 *
 * macvtap: it takes what the interface's ingress hook lets pass, and sends through the
 * interface's disciplines and egress filters with no time stamp, so neither is in its way.
 * But it needs an interface of its own: one on a macvlan would be put beside it, on the
 * node's interface, and frames of an ipvlan have all the MAC of the node.
 *
 * Where the caller leaves the choice ("auto"), tc is taken, because the interface keeps
 * its addresses, which engines and CNI's CHECK read there; macvtap where tc cannot be.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/joined.h"
#include "netplug/plan.h"

static const char *const names[NETPLUG_MODELS] = {
	[NETPLUG_AUTO] = "auto",
	[NETPLUG_TC] = "tc",
	[NETPLUG_MACVTAP] = "macvtap",
	[NETPLUG_MACVTAP_PASSTHRU] = "macvtap-passthru",
};

/**
 * netplug_model_name() - the word for a model
 */
const char *netplug_model_name(enum netplug_model m)
{
	return names[m];
}

/**
 * netplug_model_parse() - the model that a word means
 *
 * Return: 0; -EINVAL, which tells the words
 */
int netplug_model_parse(const char *text, enum netplug_model *ret, struct err *e)
{
	char shown[64];
	size_t i;

	for (i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]))
			continue;
		*ret = (enum netplug_model)i;
		return 0;
	}
	str_quote(shown, sizeof(shown), text);
	return err_set(e, EINVAL, "must be auto, tc, macvtap or macvtap-passthru, not %s", shown);
}

/**
 * plan_unjoined() - refuse an interface that is joined already, or joins another one
 *
 * Return: 0; -EEXIST
 */
int plan_unjoined(const struct scan *s, const struct scan_link *l, struct err *e)
{
	const char *name = joined_is_tap(l) ? l->alias + strlen(SCAN_TAP_ALIAS) :
			   joined_filter(s, l->ifindex) ? l->name : NULL;

	return name ? err_set(e, EEXIST, "interface %s: this network namespace is joined to a "
			      "VM already; end that pod first", name) : 0;
}

static int tc_obstacle(const struct scan *s, const struct scan_link *l, enum plan_hook *ret,
		       struct err *e)
{
	size_t i;

	*ret = PLAN_HOOK_NONE;
	for (i = 0; i < s->n_filters; i++)
		if (s->filter[i].ifindex == l->ifindex)
			return err_set(e, EBUSY, "it has an ingress filter already (%s, pref %u), which would see no packet any more; remove it (tc filter del dev %s ingress), or use model macvtap",
				       s->filter[i].kind, s->filter[i].pref, l->name);
	for (i = 0; i < s->n_qdiscs; i++) {
		const struct scan_qdisc *q = &s->qdisc[i];

		if (q->ifindex != l->ifindex)
			continue;
		if (!strcmp(q->kind, "fq") || !strcmp(q->kind, "etf") ||
		    !strcmp(q->kind, "taprio"))
			return err_set(e, EBUSY, "queueing discipline %s sends by time stamps, which redirected packets do not have; replace it, with fq_codel for one, or use model macvtap",
				       q->kind);
		if (!strcmp(q->kind, "ingress"))
			*ret = PLAN_HOOK_INGRESS;
		else if (!strcmp(q->kind, "clsact"))
			*ret = PLAN_HOOK_CLSACT;
	}
	return 0;
}

static int macvtap_obstacle(const struct scan_link *l, struct err *e)
{
	if (!strcmp(l->kind, "macvlan"))
		return err_set(e, EOPNOTSUPP, "a macvtap on a macvlan is put on the node's interface, past all that is set up in the pod; use model tc");
	if (!strcmp(l->kind, "ipvlan"))
		return err_set(e, EOPNOTSUPP, "an ipvlan has the MAC of the node's interface, which a macvtap cannot share; use model tc");
	return 0;
}

static int choose_auto(const struct scan *s, const struct scan_link *l, struct plan_port *port,
		       struct err *e)
{
	struct err no_tc = { 0 }, no_macvtap = { 0 };
	int rc = tc_obstacle(s, l, &port->hook, &no_tc);

	port->model = NETPLUG_TC;
	snprintf(port->why, sizeof(port->why), "nothing is in its way");
	if (!rc)
		return 0;
	if (macvtap_obstacle(l, &no_macvtap) < 0)
		return err_set(e, -rc, "%s; nor can macvtap be: %s", no_tc.text, no_macvtap.text);
	port->model = NETPLUG_MACVTAP;
	port->hook = PLAN_HOOK_NONE;
	snprintf(port->why, sizeof(port->why), "tc cannot be: %.230s", no_tc.text);
	return 0;
}

/**
 * plan_model() - decide how an interface is joined
 * @wanted: by the caller
 * @port:   gets the model, why it is that, and the hook
 *
 * Return: 0; -EBUSY, -EOPNOTSUPP with what stands in its way
 */
int plan_model(const struct scan *s, const struct scan_link *l, enum netplug_model wanted,
	       struct plan_port *port, struct err *e)
{
	int rc;

	if (wanted == NETPLUG_AUTO) {
		rc = choose_auto(s, l, port, e);
	} else {
		port->model = wanted;
		snprintf(port->why, sizeof(port->why), "asked for");
		rc = wanted == NETPLUG_TC ? tc_obstacle(s, l, &port->hook, e) :
					    macvtap_obstacle(l, e);
	}
	return rc < 0 ? err_wrap(e, "interface %s", l->name) : 0;
}
