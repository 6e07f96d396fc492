// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads queueing disciplines and, where a link has an ingress hook ("ingress"
 * or "clsact"), the filters on it with their counters. The counters are those
 * of the mirred action, which also tells where packets go and, by its cookie,
 * whether the filter is ours.
 *
 * Sources: tc(8); linux/pkt_sched.h, pkt_cls.h, gen_stats.h, tc_act/tc_mirred.h.
 */
#include <errno.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>
#include <sys/socket.h>

#include "netplug/scan-impl.h"

static int on_qdisc(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[TCA_MAX + 1], *st[TCA_STATS_MAX + 1];
	const struct tcmsg *m = nl_attrs(h, sizeof(*m), tb, TCA_MAX + 1);
	struct gnet_stats_queue queue;
	struct scan *s = arg;
	struct scan_qdisc *q;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	q = scan_grow(&s->qdisc, &s->n_qdiscs, sizeof(*q),
		      "queueing disciplines", e);
	if (!q)
		return -e->code;
	q->ifindex = (uint32_t)m->tcm_ifindex;
	q->handle = m->tcm_handle;
	q->parent = m->tcm_parent;
	nl_str(tb[TCA_KIND], q->kind, sizeof(q->kind));
	nl_nested(tb[TCA_STATS2], st, TCA_STATS_MAX + 1);
	nl_struct(st[TCA_STATS_QUEUE], &queue, sizeof(queue));
	q->drops = queue.drops;
	return 0;
}

/* Reads the first action of a filter, if it is a mirred one. */
static void read_action(const struct nlattr *acts, struct scan_filter *f)
{
	const struct nlattr *prio[2], *tb[TCA_ACT_MAX + 1];
	const struct nlattr *opt[TCA_MIRRED_MAX + 1], *st[TCA_STATS_MAX + 1];
	struct gnet_stats_queue queue;
	struct gnet_stats_basic basic;
	struct tc_mirred mirred;
	char kind[SCAN_NAME_BYTES], cookie[TC_COOKIE_MAX_SIZE];

	nl_nested(acts, prio, 2);
	nl_nested(prio[1], tb, TCA_ACT_MAX + 1);
	nl_str(tb[TCA_ACT_KIND], kind, sizeof(kind));
	if (strcmp(kind, "mirred"))
		return;
	nl_nested(tb[TCA_ACT_OPTIONS], opt, TCA_MIRRED_MAX + 1);
	nl_struct(opt[TCA_MIRRED_PARMS], &mirred, sizeof(mirred));
	f->to = mirred.eaction == TCA_EGRESS_REDIR ? mirred.ifindex : 0;
	f->ours = nl_bytes(tb[TCA_ACT_COOKIE], cookie, sizeof(cookie)) ==
			  sizeof(SCAN_ACT_COOKIE) - 1 &&
		  !memcmp(cookie, SCAN_ACT_COOKIE, sizeof(SCAN_ACT_COOKIE) - 1);
	nl_nested(tb[TCA_ACT_STATS], st, TCA_STATS_MAX + 1);
	nl_struct(st[TCA_STATS_BASIC], &basic, sizeof(basic));
	nl_struct(st[TCA_STATS_QUEUE], &queue, sizeof(queue));
	f->packets = basic.packets;
	f->bytes = basic.bytes;
	f->drops = queue.drops;
}

static int on_filter(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[TCA_MAX + 1], *opt[TCA_U32_MAX + 1];
	const struct tcmsg *m = nl_attrs(h, sizeof(*m), tb, TCA_MAX + 1);
	struct scan *s = arg;
	struct scan_filter *f;

	if (!m)
		return err_set(e, EBADMSG, "netlink: message is cut short");
	f = scan_grow(&s->filter, &s->n_filters, sizeof(*f), "filters", e);
	if (!f)
		return -e->code;
	f->ifindex = (uint32_t)m->tcm_ifindex;
	f->parent = m->tcm_parent;
	f->handle = m->tcm_handle;
	f->pref = TC_H_MAJ(m->tcm_info) >> 16;
	nl_str(tb[TCA_KIND], f->kind, sizeof(f->kind));
	if (strcmp(f->kind, "u32"))
		return 0;
	nl_nested(tb[TCA_OPTIONS], opt, TCA_U32_MAX + 1);
	if (opt[TCA_U32_ACT])
		read_action(opt[TCA_U32_ACT], f);
	return 0;
}

/**
 * scan_qdiscs() - read the queueing disciplines of all interfaces
 * @s: they are put behind what is there
 *
 * Return: 0 or minus errno
 */
int scan_qdiscs(struct nl *nl, struct scan *s, struct err *e)
{
	struct tcmsg m = { .tcm_family = AF_UNSPEC };
	int rc;

	nl_msg(nl, RTM_GETQDISC, 0, &m, sizeof(m));
	rc = nl_dump(nl, on_qdisc, s, e);
	return rc < 0 ? err_wrap(e, "read queueing disciplines") : 0;
}

/**
 * scan_filters() - read the filters at one hook of an interface
 * @parent: TC_H_INGRESS, or a hook of clsact
 * @s:      they are put behind what is there
 *
 * Return: 0; minus errno (-EINVAL or -ENODEV without such a hook or interface)
 */
int scan_filters(struct nl *nl, uint32_t ifindex, uint32_t parent,
		 struct scan *s, struct err *e)
{
	struct tcmsg m = { .tcm_family = AF_UNSPEC, .tcm_parent = parent,
			   .tcm_ifindex = (int)ifindex };

	nl_msg(nl, RTM_GETTFILTER, 0, &m, sizeof(m));
	return nl_dump(nl, on_filter, s, e);
}

/**
 * scan_tc() - read queueing disciplines and ingress filters
 *
 * Return: 0 or minus errno
 */
int scan_tc(struct nl *nl, struct scan *s, struct err *e)
{
	int rc = scan_qdiscs(nl, s, e);
	size_t i;

	for (i = 0; i < s->n_qdiscs && !rc; i++) {
		const struct scan_qdisc *q = &s->qdisc[i];

		if (strcmp(q->kind, "ingress") && strcmp(q->kind, "clsact"))
			continue;
		rc = scan_filters(nl, q->ifindex,
				  TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), s, e);
		if (rc == -EINVAL || rc == -ENODEV)
			rc = -EAGAIN; /* it went away since the qdisc was read */
	}
	return rc;
}
