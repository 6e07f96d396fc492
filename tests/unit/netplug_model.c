// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How an interface is joined: one row for each kind, obstacle and wish, with the model
 * that the plan must take, or the reason that it must give.
 */
#include <check.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/plan.h"
#include "tests/kit/kit.h"

Suite *netplug_model_suite(void);

static const struct {
	const char *kind, *qdisc, *filter;
	enum netplug_model wanted, got;
	const char *why;	/* of the plan; of the refusal where @got is NETPLUG_AUTO */
} rows[] = {
	{ "veth", NULL, NULL, NETPLUG_AUTO, NETPLUG_TC, "nothing is in its way" },
	{ "vlan", NULL, NULL, NETPLUG_AUTO, NETPLUG_TC, "nothing is in its way" },
	{ "macvlan", NULL, NULL, NETPLUG_AUTO, NETPLUG_TC, "nothing is in its way" },
	{ "ipvlan", NULL, NULL, NETPLUG_AUTO, NETPLUG_TC, "nothing is in its way" },
	{ "veth", "clsact", NULL, NETPLUG_AUTO, NETPLUG_TC, "nothing is in its way" },
	{ "veth", "tbf", NULL, NETPLUG_AUTO, NETPLUG_TC, "nothing is in its way" },
	{ "veth", "clsact", "bpf", NETPLUG_AUTO, NETPLUG_MACVTAP,
	  "tc cannot be: it has an ingress filter already (bpf, pref 7)" },
	{ "veth", "fq", NULL, NETPLUG_AUTO, NETPLUG_MACVTAP,
	  "tc cannot be: queueing discipline fq sends by time stamps" },
	{ "veth", "etf", NULL, NETPLUG_AUTO, NETPLUG_MACVTAP, "discipline etf" },
	{ "vlan", "taprio", NULL, NETPLUG_AUTO, NETPLUG_MACVTAP, "discipline taprio" },
	{ "macvlan", "clsact", "bpf", NETPLUG_AUTO, NETPLUG_AUTO,
	  "interface eth0: it has an ingress filter already (bpf, pref 7)" },
	{ "macvlan", "clsact", "bpf", NETPLUG_AUTO, NETPLUG_AUTO,
	  "nor can macvtap be: a macvtap on a macvlan" },
	{ "ipvlan", "fq", NULL, NETPLUG_AUTO, NETPLUG_AUTO, "nor can macvtap be: an ipvlan" },
	{ "veth", NULL, NULL, NETPLUG_TC, NETPLUG_TC, "asked for" },
	{ "veth", "clsact", "u32", NETPLUG_TC, NETPLUG_AUTO,
	  "remove it (tc filter del dev eth0 ingress), or use model macvtap" },
	{ "veth", "fq", NULL, NETPLUG_TC, NETPLUG_AUTO, "queueing discipline fq" },
	{ "veth", NULL, NULL, NETPLUG_MACVTAP, NETPLUG_MACVTAP, "asked for" },
	{ "veth", "clsact", "u32", NETPLUG_MACVTAP, NETPLUG_MACVTAP, "asked for" },
	{ "veth", "fq", NULL, NETPLUG_MACVTAP_PASSTHRU, NETPLUG_MACVTAP_PASSTHRU, "asked for" },
	{ "macvlan", NULL, NULL, NETPLUG_MACVTAP, NETPLUG_AUTO, "use model tc" },
	{ "ipvlan", NULL, NULL, NETPLUG_MACVTAP_PASSTHRU, NETPLUG_AUTO, "use model tc" },
};

START_TEST(decision)
{
	struct scan_link l = { .name = "eth0", .ifindex = 2, .mtu = 1500, .mac_len = 6,
			       .mac = { 2 }, .arphrd = ARPHRD_ETHER, .flags = IFF_UP };
	const struct netplug_options o = { .model = rows[_i].wanted };
	struct scan_qdisc qdisc = { .ifindex = 2 };
	struct scan_filter filter = { .ifindex = 2, .pref = 7 };
	struct scan s = { .link = &l, .n_links = 1, .qdisc = &qdisc, .filter = &filter,
			  .n_qdiscs = !!rows[_i].qdisc, .n_filters = !!rows[_i].filter };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(str_copy(l.kind, sizeof(l.kind), rows[_i].kind), 0);
	if (rows[_i].qdisc)
		ck_assert_int_eq(str_copy(qdisc.kind, sizeof(qdisc.kind), rows[_i].qdisc), 0);
	if (rows[_i].filter)
		ck_assert_int_eq(str_copy(filter.kind, sizeof(filter.kind), rows[_i].filter), 0);
	l.mode = IPVLAN_MODE_L2;
	rc = plan_make(&s, &o, &p, &e);
	if (rows[_i].got == NETPLUG_AUTO) {
		ck_assert_int_lt(rc, 0);
		ck_assert_msg(strstr(e.text, rows[_i].why), "row %d: %s", _i, e.text);
		return;
	}
	ck_assert_msg(!rc, "row %d: %s", _i, e.text);
	ck_assert_int_eq(p->port[0].model, rows[_i].got);
	ck_assert_msg(strstr(p->port[0].why, rows[_i].why), "row %d: %s", _i, p->port[0].why);
	netplug_plan_free(p);
}
END_TEST

START_TEST(words)
{
	static const char *const wrong[] = { "", "TC", "macvtap ", "bridge" };
	enum netplug_model m;
	struct err e;
	size_t i;

	for (i = 0; i < NETPLUG_MODELS; i++) {
		ck_assert_int_eq(netplug_model_parse(netplug_model_name((enum netplug_model)i),
						     &m, &e), 0);
		ck_assert_uint_eq(m, i);
	}
	for (i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_int_eq(netplug_model_parse(wrong[i], &m, &e), -EINVAL);
}
END_TEST

Suite *netplug_model_suite(void)
{
	Suite *s = suite_create("netplug_model");
	TCase *t = tcase_create("pure");

	tcase_add_loop_test(t, decision, 0, ARRAY_LEN(rows));
	tcase_add_test(t, words);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	return s;
}
