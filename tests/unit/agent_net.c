// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The whole way of a network configuration: a namespace that ip(8) has set up is
 * planned by netplug, and the agent's own code carries the plan out in a second
 * namespace, which stands for the guest. Both must look the same to ip(8), and give
 * the same plan; so must what the agent tells of it.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/agent/agent.h"	/* its code is compiled in agent_guest.c */
#include "lib/mem.h"
#include "netplug/plan.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *agent_net_suite(void);

#define V4 "ip addr add 10.1.0.2/24 dev eth0 && "
#define V6 "ip addr add 2001:db8::2/64 dev eth0 nodad && "

static const char *const rows[] = {
	/* What the CNI plugin sbr makes. */
	V4 "ip rule add from 10.1.0.2/32 table 100 && ip route add default via 10.1.0.1 table 100",
	V6 "ip -6 rule add from 2001:db8::2 table 100 && "
	   "ip -6 route add default via 2001:db8::1 table 100",
	/* The order among equals, by its effect. */
	V4 "ip rule add from 10.1.0.2 table 7 pref 5 && ip rule add to 10.9.0.0/16 table 8 pref 5 && "
	   "ip rule add table 9 pref 5",
	"ip rule add fwmark 0x10/0xf0 table 9 pref 55 && ip -6 rule add fwmark 1 table 9 pref 55",
	"ip rule add not from 10.2.0.0/16 iif eth0 oif lo tos 0x10 table 70000 pref 9",
	"ip rule add uidrange 1000-1999 ipproto tcp sport 1-2 dport 80 table 12 pref 8",
	"ip rule add from 10.0.0.0/8 blackhole pref 3 && ip rule add to 10.1.0.0/16 prohibit pref 4 && "
	"ip -6 rule add from 2001:db8::/32 unreachable pref 5",
	"ip rule add pref 0 from 10.1.0.2 table 100 && ip rule add pref 100 from 10.1.0.3 table 101",
	"ip rule add pref 10 goto 20 && ip rule add pref 20 table 5 suppress_prefixlength 0",
	/* The kernel's own: missing, twice, moved. */
	"ip rule del pref 32767",
	"ip rule del pref 32766 && ip -6 rule del pref 32766 && ip rule add pref 40 table main",
	"ip rule del pref 0 && ip rule add pref 1 table local",
	/* Routes that refuse, to several gateways, with all metrics. */
	"ip route add blackhole 10.3.0.0/16 && ip route add unreachable 10.4.0.0/16 metric 7 && "
	"ip route add prohibit 10.5.0.0/16 table 7 && ip route add throw 10.6.0.0/16 table 7",
	"ip -6 route add blackhole 2001:db8:3::/64 && ip -6 route add unreachable 2001:db8:4::/64 && "
	"ip -6 route add prohibit 2001:db8:5::/64 table 7",
	V4 "ip route add 10.3.0.0/16 nexthop via 10.1.0.1 weight 3 nexthop via 10.1.0.3 && "
	   "ip route add default nexthop via 10.1.0.1 nexthop via 192.0.2.1 dev eth0 onlink",
	V6 "ip -6 route add 2001:db8:3::/64 nexthop via 2001:db8::1 nexthop via 2001:db8::3 weight 2",
	V4 "ip route add 10.3.0.0/16 via 10.1.0.1 tos 0x10 && ip route add 10.3.0.0/16 via 10.1.0.3",
	V4 "ip route add 10.3.0.0/16 via 10.1.0.1 window 1000 rtt 100ms rttvar 50ms ssthresh 10 "
	   "cwnd 20 initcwnd 14 initrwnd 15 hoplimit 9 mtu 1400 advmss 1300 reordering 5 quickack 1 "
	   "rto_min 300ms",
	V6 "ip -6 route add 2001:db8:9::/64 via 2001:db8::1 initcwnd 20 hoplimit 5 mtu 1300",
	V4 "ip neigh add 10.1.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
};

static char *view(void)
{
	return kit_output("ip -d rule; ip -6 -d rule; ip -4 -d route show table all; "
			  "ip -6 -d route show table all | grep -v 'fe80\\|table local'; "
			  "ip -o addr show dev eth0 | grep -v fe80; "
			  "ip neigh show nud permanent | sort");
}

static struct netplug_plan *plan_of(int netns)
{
	struct netplug_plan *p = NULL;
	struct err e = { 0 };

	ck_assert_msg(!netplug_plan(netns, &p, &e), "%s", e.text);
	return p;
}

static struct scan *told(Podvm__NetState **ret)
{
	struct agent none = { .loop = NULL };
	struct scan *s = NULL;
	struct err e = { 0 };

	ck_assert_msg(!netstate_get(&none, ret, &e), "%s", e.text);
	ck_assert_msg(!scan_messages((*ret)->messages.data, (*ret)->messages.len, &s, &e), "%s",
		      e.text);
	return s;
}

/* The plan of what the agent tells of its network. */
static struct netplug_plan *told_plan(void)
{
	static struct netplug_plan *p;
	Podvm__NetState *ns;
	struct scan *s = told(&ns);
	struct err e = { 0 };

	netplug_plan_free(p);
	ck_assert_msg(!plan_make(s, &p, &e), "%s", e.text);
	ck_assert(!ns->truncated);
	scan_free(s);
	podvm__net_state__free_unpacked(ns, NULL);
	return p;
}

/* Every cut of the messages, and every byte changed: an error or less, never more. */
START_TEST(messages_of_a_liar)
{
	_cleanup_free_ uint8_t *copy = NULL;
	struct kit_net n;
	Podvm__NetState *ns;
	struct scan *s;
	struct err e = { 0 };
	size_t i, len;

	kit_net_new(&n);
	kit_run(V4 V6 "ip route add default via 10.1.0.1");
	scan_free(told(&ns));
	ck_assert_uint_ge(ns->n_links, 2);
	ck_assert_str_eq(ns->links[0]->name, "lo");
	ck_assert_uint_ne(ns->links[1]->features & PODVM__LINK_STATE__FEATURE__TX_CSUM, 0);
	len = ns->messages.len;
	copy = malloc(len);
	for (i = 0; i < len; i++) {
		memcpy(copy, ns->messages.data, len);
		copy[i] ^= 0xff;
		if (!scan_messages(copy, len, &s, &e))
			scan_free(s);
		if (!scan_messages(ns->messages.data, i, &s, &e))
			scan_free(s);
	}
	podvm__net_state__free_unpacked(ns, NULL);
}
END_TEST

START_TEST(guest_is_like_the_pod)
{
	_cleanup_free_ char *pod = NULL, *guest = NULL, *want = NULL, *got = NULL;
	struct kit_net a, b;
	struct netplug_plan *p, *q;
	struct err e = { 0 };
	const uint8_t *m;

	kit_net_new(&a);
	kit_run("%s", rows[_i]);
	p = plan_of(a.pod);
	pod = view();
	kit_net_new(&b);
	m = p->port[0].mac;
	kit_run("ip link set eth0 down && ip link set eth0 address %02x:%02x:%02x:%02x:%02x:%02x",
		m[0], m[1], m[2], m[3], m[4], m[5]);
	ck_assert_msg(!net_setup(p->network, &e), "%s", e.text);
	guest = view();
	kit_same_text(guest, pod);
	q = plan_of(b.pod);
	ck_assert_int_eq(netplug_plan_json(p, &want, &e), 0);
	ck_assert_int_eq(netplug_plan_json(q, &got, &e), 0);
	/* Interface and tap have numbers; what the guest gets has none. */
	kit_same_text(strstr(got, "\"guest\""), strstr(want, "\"guest\""));
	free(got);
	ck_assert_int_eq(netplug_plan_json(told_plan(), &got, &e), 0);
	kit_same_text(strstr(got, "\"guest\""), strstr(want, "\"guest\""));
	netplug_plan_free(p);
	netplug_plan_free(q);
}
END_TEST

Suite *agent_net_suite(void)
{
	Suite *s = suite_create("agent_net");
	TCase *t = tcase_create("netns");
	const char *missing = kit_net_missing(false);

	if (missing) {
		kit_skip("agent_net", missing);
		return s;
	}
	tcase_add_loop_test(t, guest_is_like_the_pod, 0, ARRAY_LEN(rows));
	tcase_add_test(t, messages_of_a_liar);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
