// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The whole way of a network configuration: a namespace that ip(8) has set up is
 * planned by netplug, and the agent's own code carries the plan out in a second
 * namespace, which stands for the guest. Both must look the same to ip(8), and give
 * the same plan; so must what the agent tells of it. A router behind the guest is heard
 * as the pod would have heard it.
 */
#include <arpa/inet.h>
#include <check.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <poll.h>
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
	/* A gateway that is known, but not for ever. */
	V4 "ip route add default via 10.1.0.1 && "
	   "ip neigh add 10.1.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud stale && "
	   "ip neigh add 10.1.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent",
	/* Addresses: lifetimes, labels, peers, scopes, flags; the order of what is secondary. */
	"ip addr add 10.1.0.2/24 dev eth0 valid_lft 90050 preferred_lft 80050 && "
	"ip addr add 2001:db8::2/64 dev eth0 nodad valid_lft 90050 preferred_lft 0 && "
	"ip addr add 2001:db8::3/64 dev eth0 nodad preferred_lft 0",
	"ip addr add 10.1.0.2/24 dev eth0 label eth0:web && ip addr add 10.1.0.3/24 dev eth0 label "
	"eth0:x && ip addr add 10.1.0.4/32 peer 10.9.0.9/32 dev eth0 scope link",
	"ip addr add 10.1.0.2/24 brd + dev eth0 && ip addr add 10.1.0.3/24 dev eth0 noprefixroute && "
	"ip addr add 2001:db8::4/64 dev eth0 nodad home mngtmpaddr && "
	"ip addr add 2001:db8::5/128 peer 2001:db8::9/128 dev eth0 nodad",
	/* Link-local addresses, whoever made them, and none. */
	"ip -6 addr flush dev eth0",
	"ip -6 addr flush dev eth0 && ip addr add fe80::99/64 dev eth0 nodad",
	"ip addr add fe80::99/64 dev eth0 nodad",
	"sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=3",
	"ip link set eth0 down && sysctl -qw net.ipv6.conf.eth0.stable_secret=2001:db8::7 && "
	"ip link set eth0 up && until ip addr show dev eth0 | grep -q fe80; do sleep 0.1; done",
	"ip link set eth0 addrgenmode none && ip -6 addr flush dev eth0",
	/* Settings, before the link is up and whoever changes others. */
	"sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
	"sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
	"sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.eth0.disable_ipv6=0",
	"sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
	"while ip addr | grep -q tentative; do sleep 0.1; done; "
	"sysctl -qw net.ipv6.conf.eth0.accept_ra=0 net.ipv6.conf.eth0.autoconf=0 "
	"net.ipv6.conf.eth0.use_tempaddr=2 net.ipv6.conf.eth0.accept_dad=0 "
	"net.ipv6.conf.eth0.dad_transmits=3 net.ipv6.conf.all.accept_ra=2",
	"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
	"sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.forwarding=0 "
	"net.ipv4.conf.all.accept_redirects=1",
	"sysctl -qw net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.eth0.rp_filter=1 "
	"net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.lo.rp_filter=1 "
	"net.ipv4.conf.eth0.arp_filter=1 net.ipv4.conf.eth0.arp_announce=2 "
	"net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.promote_secondaries=1",
	"sysctl -qw net.core.somaxconn=500 net.ipv4.ip_unprivileged_port_start=0 "
	"net.ipv4.ip_local_port_range='2000 3000' net.ipv4.ping_group_range='0 100' "
	"net.ipv4.tcp_rmem='4096 65536 500000' net.ipv4.tcp_keepalive_time=100 "
	"net.ipv4.ip_local_reserved_ports=80,8000-8009 net.ipv6.bindv6only=1 "
	"net.ipv6.icmp.echo_ignore_all=1",
	V4 "ip link set eth0 txqueuelen 77 && ip link set eth0 mtu 1400 && "
	   "ip nexthop add id 5 via 10.1.0.1 dev eth0 && ip route add 10.3.0.0/16 nhid 5 && "
	   "ip nexthop add id 6 via 10.1.0.3 dev eth0 && ip nexthop add id 7 group 5/6,3 && "
	   "ip route add 10.4.0.0/16 nhid 7 && ip nexthop add id 8 blackhole && "
	   "ip route add 10.5.0.0/16 nhid 8",
	/* Nobody is asked for link addresses, as on an ipvlan in L3 mode. */
	V4 V6 "while ip addr | grep -q tentative; do sleep 0.1; done; "
	      "ip link set eth0 arp off && ip route add default dev eth0 && "
	      "ip route add 10.6.0.0/16 via 10.1.0.1",
};

/* Without the words of ip(8) about how an address was made and how long it still is. */
static char *view(bool sysctls)
{
	return kit_output("{ ip -d rule; ip -6 -d rule; ip -4 -d route show table all; "
			  "ip -6 -d route show table all | grep -v 'table local'; "
			  "ip -o addr show dev eth0; ip neigh show nud permanent | sort; "
			  "ip -o link show dev eth0; cd /proc/sys/net; for f in %s; do "
			  "find $f -type f ! -name stable_secret ! -name addr_gen_mode "
			  "! -path '*/neigh/*' -exec grep -H . {} + 2> /dev/null | sort; done; } | "
			  "sed '/nh_info/d; s/ nodad//; s/ tentative//; s/ stable-privacy//; s/ proto kernel_ll//; "
			  "s/ nhid [0-9]*//; s/^\\(blackhole.*\\) dev lo/\\1/; s/[0-9][0-9]sec/sec/g'", sysctls ? "core ipv4 ipv6" : "");
}

/* Lifetimes count down meanwhile: without their last two digits. */
static char *timeless(char *json)
{
	char *at = json;

	while ((at = strstr(at, "Lifetime\": "))) {
		size_t len = strspn(at + 11, "0123456789");

		at += 11 + len;
		if (len > 2)
			at[-1] = at[-2] = '0';
	}
	return json;
}

static struct netplug_plan *plan_of(int netns)
{
	struct netplug_plan *p = NULL;
	struct err e = { 0 };

	ck_assert_msg(!netplug_plan(netns, NULL, &p, &e), "%s", e.text);
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
	ck_assert_msg(!plan_make(s, NULL, &p, &e), "%s", e.text);
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
	/* From outside, as the supervisor does: the host has settings of its own. */
	kit_net_enter(a.host);
	p = plan_of(a.pod);
	kit_net_enter(a.pod);
	pod = view(strstr(rows[_i], "sysctl"));
	kit_net_new(&b);
	m = p->port[0].mac;
	kit_run("ip link set eth0 down && ip link set eth0 address %02x:%02x:%02x:%02x:%02x:%02x",
		m[0], m[1], m[2], m[3], m[4], m[5]);
	ck_assert_msg(!net_setup(p->network, &e), "%s", e.text);
	guest = view(strstr(rows[_i], "sysctl"));
	kit_same_text(guest, pod);
	kit_net_enter(b.host);
	q = plan_of(b.pod);
	ck_assert_int_eq(netplug_plan_json(p, &want, &e), 0);
	ck_assert_int_eq(netplug_plan_json(q, &got, &e), 0);
	/* Interface and tap have numbers; what the guest gets has none. */
	kit_same_text(timeless(strstr(got, "\"guest\"")), timeless(strstr(want, "\"guest\"")));
	free(got);
	kit_net_enter(b.pod);
	ck_assert_int_eq(netplug_plan_json(told_plan(), &got, &e), 0);
	/* Of sysctls the agent tells those of links alone. */
	strstr(got, "\"sysctls\"")[0] = strstr(want, "\"sysctls\"")[0] = 0;
	kit_same_text(timeless(strstr(got, "\"guest\"")), timeless(strstr(want, "\"guest\"")));
	netplug_plan_free(p);
	netplug_plan_free(q);
}
END_TEST

/* ---- a router behind the guest ---------------------------------------------------- */

/**
 * struct router - a raw socket in the namespace behind the guest's link
 */
struct router {
	int sock, ifindex;
};

static void router_open(struct router *r, int host)
{
	struct icmp6_filter only;
	int hops = 255;

	kit_run_in(host, "ip -6 addr flush dev h0 && ip addr add fe80::1/64 dev h0 nodad");
	kit_net_enter(host);
	r->sock = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	r->ifindex = (int)if_nametoindex("h0");
	ICMP6_FILTER_SETBLOCKALL(&only);
	ICMP6_FILTER_SETPASS(ND_ROUTER_SOLICIT, &only);
	ck_assert_int_ge(r->sock, 0);
	ck_assert_int_eq(setsockopt(r->sock, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops,
				    sizeof(hops)), 0);
	ck_assert_int_eq(setsockopt(r->sock, IPPROTO_ICMPV6, ICMP6_FILTER, &only, sizeof(only)),
			 0);
	ck_assert_int_eq(setsockopt(r->sock, IPPROTO_IPV6, IPV6_MULTICAST_IF, &r->ifindex,
				    sizeof(r->ifindex)), 0);
	kit_run_in(host, "sysctl -qw net.ipv6.conf.h0.forwarding=1");
}

/* A default router for half an hour, and a prefix to make addresses of. */
static void router_tell(const struct router *r)
{
	struct {
		struct nd_router_advert ra;
		struct nd_opt_prefix_info prefix;
	} m = {
		.ra = { .nd_ra_type = ND_ROUTER_ADVERT, .nd_ra_curhoplimit = 64,
			.nd_ra_router_lifetime = htons(1800) },
		.prefix = { .nd_opt_pi_type = ND_OPT_PREFIX_INFORMATION, .nd_opt_pi_len = 4,
			    .nd_opt_pi_prefix_len = 64,
			    .nd_opt_pi_flags_reserved = ND_OPT_PI_FLAG_ONLINK |
							ND_OPT_PI_FLAG_AUTO,
			    .nd_opt_pi_valid_time = htonl(1800),
			    .nd_opt_pi_preferred_time = htonl(1800) },
	};
	struct sockaddr_in6 all = { .sin6_family = AF_INET6,
				    .sin6_scope_id = (uint32_t)r->ifindex };

	inet_pton(AF_INET6, "2001:db8:7::", &m.prefix.nd_opt_pi_prefix);
	inet_pton(AF_INET6, "ff02::1", &all.sin6_addr);
	ck_assert_int_eq(sendto(r->sock, &m, sizeof(m), 0, (struct sockaddr *)&all, sizeof(all)),
			 sizeof(m));
}

static bool router_asked(const struct router *r)
{
	struct pollfd f = { .fd = r->sock, .events = POLLIN };

	return poll(&f, 1, 10000) == 1;
}

static const struct {
	const char *setup;
	bool asks, route, address;
} heard[] = {
	{ "true", true, true, true },
	{ "sysctl -qw net.ipv6.conf.eth0.autoconf=0", true, true, false },
	{ "sysctl -qw net.ipv6.conf.eth0.accept_ra_defrtr=0", true, false, true },
	{ "sysctl -qw net.ipv6.conf.eth0.accept_ra=0", false, false, false },
	{ "sysctl -qw net.ipv6.conf.all.forwarding=1", false, false, false },
	{ "sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.accept_ra=2", true, true,
	  true },
	{ "ip -6 addr flush dev eth0 && ip addr add fe80::99/64 dev eth0 nodad", true, true, true },
};

/* The guest asks for routers, and takes what they tell, as the pod's kernel would. */
START_TEST(guest_hears_routers)
{
	struct netplug_plan *p;
	struct kit_net a, b;
	struct err e = { 0 };
	struct router r;
	const uint8_t *m;

	kit_net_new(&a);
	/* Without duplicate detection, for which one would have to wait. */
	kit_run("ip link set eth0 down && sysctl -qw net.ipv6.conf.eth0.accept_dad=0 && "
		"ip link set eth0 up && until ip addr show dev eth0 | grep -q fe80; do sleep 0.01; "
		"done; %s && ip addr add 10.1.0.2/24 dev eth0", heard[_i].setup);
	p = plan_of(a.pod);
	kit_net_new(&b);
	kit_run("ip link set eth0 down");
	m = p->port[0].mac;
	kit_run("ip link set eth0 address %02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
		m[4], m[5]);
	router_open(&r, b.host);
	kit_net_enter(b.pod);
	ck_assert_msg(!net_setup(p->network, &e), "%s", e.text);
	if (heard[_i].asks)
		ck_assert(router_asked(&r));
	router_tell(&r);
	/* Who answers this has heard the router before. */
	kit_run_in(b.host, "ip addr add 10.1.0.1/24 dev h0 && ping -q -c 1 -W 10 10.1.0.2");
	ck_assert_int_eq(kit_try("ip -6 route show default proto ra | grep -q 'via fe80::1 '"),
			 heard[_i].route);
	ck_assert_int_eq(kit_try("ip -6 addr show dev eth0 | grep -q 2001:db8:7:"),
			 heard[_i].address);
	netplug_plan_free(p);
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
	tcase_add_loop_test(t, guest_hears_routers, 0, ARRAY_LEN(heard));
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
