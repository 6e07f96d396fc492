// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * netplug's plan against namespaces that ip(8) has set up. Three oracles:
 * what one configuration must give, literally; random configurations, whose
 * addresses, routes and neighbours must come out as the same sets; and a
 * replica: a second namespace, standing for the guest, which gets what the plan
 * says, must look the same to ip(8) as the first, and give the same plan.
 * What is refused is refused by name: one row per refusal.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/plan.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_plan_suite(void);

/* Random configurations per run. */
#define RANDOM_RUNS 25

static struct netplug_plan *plan_of(int netns)
{
	struct netplug_plan *p = NULL;
	struct err e = { 0 };

	ck_assert_msg(!netplug_plan(netns, NULL, &p, &e), "%s", e.text);
	return p;
}

static const char *ip_text(const ProtobufCBinaryData *b, char text[48])
{
	return scan_ip_text(b->len == 16 ? AF_INET6 : AF_INET, b->data, text);
}

static void mac_text(const uint8_t *m, char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
		 m[4], m[5]);
}

/* A list of lines that is compared as a set. */
struct lines {
	char *v[512];
	size_t n;
};

__attribute__((format(printf, 2, 3)))
static void line(struct lines *l, const char *fmt, ...)
{
	va_list ap;

	ck_assert_uint_lt(l->n, ARRAY_LEN(l->v));
	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&l->v[l->n++], fmt, ap), 0);
	va_end(ap);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void same_lines(struct lines *want, struct lines *got, const char *what)
{
	size_t i;

	qsort(want->v, want->n, sizeof(want->v[0]), by_text);
	qsort(got->v, got->n, sizeof(got->v[0]), by_text);
	for (i = 0; i < want->n || i < got->n; i++)
		ck_assert_msg(i < want->n && i < got->n &&
			      !strcmp(want->v[i], got->v[i]),
			      "%s: want \"%s\", got \"%s\"", what,
			      i < want->n ? want->v[i] : "nothing",
			      i < got->n ? got->v[i] : "nothing");
	for (i = 0; i < want->n; i++)
		free(want->v[i]);
	for (i = 0; i < got->n; i++)
		free(got->v[i]);
}

/* The address that the kernel makes of a MAC. */
static bool is_generated(const Podvm__Address *a, const uint8_t *mac)
{
	uint8_t want[16] = { 0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3],
			     mac[4], mac[5] };

	return a->ip.len == 16 && !memcmp(a->ip.data, want, 16);
}

/* A plan's network in the words of ip(8), without what the kernel made of the MAC. */
static void network_lines(const Podvm__Network *n, struct lines *l)
{
	char a[48], b[48], c[48];
	size_t i, k;

	for (i = 0; i < n->n_links; i++)
		for (k = 0; k < n->links[i]->n_addresses; k++) {
			const Podvm__Address *m = n->links[i]->addresses[k];

			if (is_generated(m, n->links[i]->mac.data))
				continue;
			line(l, "addr %s/%u%s%s%s%s scope %u metric %u%s", ip_text(&m->ip, a),
			     m->prefix_len, m->peer.len ? " peer " : "",
			     m->peer.len ? ip_text(&m->peer, b) : "",
			     m->broadcast.len ? " brd " : "",
			     m->broadcast.len ? ip_text(&m->broadcast, c) : "",
			     m->scope, m->metric,
			     m->flags & IFA_F_NOPREFIXROUTE ? " noprefixroute" : "");
		}
	for (i = 0; i < n->n_routes; i++) {
		const Podvm__Route *r = n->routes[i];

		line(l, "route %s/%u%s%s dev %s%s%s table %u metric %u mtu %u advmss %u%s",
		     r->dst.len ? ip_text(&r->dst, a) : r->family == AF_INET ?
		     "0.0.0.0" : "::", r->dst_len, r->gateway.len ? " via " : "",
		     r->gateway.len ? ip_text(&r->gateway, b) : "", r->link,
		     r->prefsrc.len ? " src " : "",
		     r->prefsrc.len ? ip_text(&r->prefsrc, c) : "", r->table,
		     r->priority, r->mtu, r->advmss,
		     r->flags & RTNH_F_ONLINK ? " onlink" : "");
	}
	for (i = 0; i < n->n_neighbours; i++) {
		char mac[18];

		mac_text(n->neighbours[i]->mac.data, mac);
		line(l, "neigh %s %s %s", ip_text(&n->neighbours[i]->ip, a),
		     n->neighbours[i]->link, mac);
	}
}

START_TEST(dual_stack)
{
	struct lines want = { .n = 0 }, got = { .n = 0 };
	struct netplug_plan *p;
	struct kit_net n;

	kit_net_new(&n);
	kit_run("ip link set eth0 down && "
		"ip link set eth0 address 02:11:22:33:44:55 mtu 1400 up && "
		"ip addr add 10.1.0.2/24 brd + dev eth0 && "
		"ip addr add 2001:db8::2/64 dev eth0 nodad && "
		"ip route add default via 10.1.0.1 && "
		"ip -6 route add default via 2001:db8::1 && "
		"ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent && "
		"ip neigh add 10.1.0.8 lladdr 02:00:00:00:00:08 dev eth0 nud stale");
	p = plan_of(n.pod);
	ck_assert_uint_eq(p->network->n_links, 1);
	ck_assert_str_eq(p->network->links[0]->name, "eth0");
	ck_assert_uint_eq(p->network->links[0]->mtu, 1400);
	ck_assert_uint_eq(p->network->links[0]->mac.len, 6);
	ck_assert_mem_eq(p->network->links[0]->mac.data, "\x02\x11\x22\x33\x44\x55", 6);
	network_lines(p->network, &got);
	line(&want, "addr 10.1.0.2/24 brd 10.1.0.255 scope 0 metric 0");
	line(&want, "addr 2001:db8::2/64 scope 0 metric 0");
	line(&want, "route 0.0.0.0/0 via 10.1.0.1 dev eth0 table 254 metric 0 mtu 0 advmss 0");
	line(&want, "route ::/0 via 2001:db8::1 dev eth0 table 254 metric 1024 mtu 0 advmss 0");
	line(&want, "neigh 10.1.0.9 eth0 02:00:00:00:00:09");
	same_lines(&want, &got, "dual stack");
	netplug_plan_free(p);
}
END_TEST

START_TEST(loopback_only)
{
	struct netplug_plan *p;

	/* lo down, then up: a pod without a network. */
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	for (int up = 0; up < 2; up++) {
		int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

		if (up)
			kit_run("ip link set lo up");
		p = plan_of(fd);
		ck_assert_uint_eq(p->n_ports, 0);
		ck_assert_uint_eq(p->network->n_links, 0);
		ck_assert_uint_eq(p->network->n_routes, 0);
		netplug_plan_free(p);
		close(fd);
	}
}
END_TEST

/* The link-local addresses are what they are, and so is what the guest may make. */
static const struct {
	const char *setup;
	size_t n;
	bool generated;
	uint32_t mode;
} locals[] = {
	{ "true", 1, true, IN6_ADDR_GEN_MODE_EUI64 },
	{ "ip addr add fe80::99/64 dev eth0 nodad", 2, true, IN6_ADDR_GEN_MODE_EUI64 },
	{ "ip -6 addr flush dev eth0 && ip addr add fe80::99/64 dev eth0 nodad", 1, false,
	  IN6_ADDR_GEN_MODE_NONE },
	{ "ip -6 addr flush dev eth0", 0, false, IN6_ADDR_GEN_MODE_NONE },
	{ "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", 0, false, IN6_ADDR_GEN_MODE_NONE },
	{ "ip link set eth0 addrgenmode none && ip -6 addr flush dev eth0", 0, false,
	  IN6_ADDR_GEN_MODE_NONE },
	{ "sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=3", 2, true, 3 },
	{ "ip link set eth0 down && sysctl -qw net.ipv6.conf.eth0.stable_secret=2001:db8::7 && "
	  "ip link set eth0 up && until ip addr show dev eth0 | grep -q fe80; do sleep 0.1; done", 1, false, IN6_ADDR_GEN_MODE_STABLE_PRIVACY },
};

START_TEST(link_local)
{
	struct netplug_plan *p;
	bool generated = false, secret = false;
	const Podvm__Link *l;
	struct kit_net n;
	size_t i;

	kit_net_new(&n);
	kit_run("%s", locals[_i].setup);
	p = plan_of(n.pod);
	l = p->network->links[0];
	ck_assert_uint_eq(l->n_addresses, locals[_i].n);
	for (i = 0; i < l->n_addresses; i++)
		generated |= is_generated(l->addresses[i], l->mac.data);
	ck_assert_int_eq(generated, locals[_i].generated);
	ck_assert_uint_eq(l->addr_gen_mode, locals[_i].mode);
	for (i = 0; i < p->network->n_sysctls; i++)
		secret |= !strcmp(p->network->sysctls[i]->key,
				  "net.ipv6.conf.eth0.stable_secret");
	ck_assert_int_eq(secret, locals[_i].mode == IN6_ADDR_GEN_MODE_STABLE_PRIVACY);
	netplug_plan_free(p);
}
END_TEST

/* A connected route that was removed stays away in the guest. */
START_TEST(prefix_route_removed)
{
	struct lines want = { .n = 0 }, got = { .n = 0 };
	struct netplug_plan *p;
	struct kit_net n;

	kit_net_new(&n);
	kit_run("ip addr add 10.1.0.2/24 dev eth0 && ip route del 10.1.0.0/24 && "
		"ip addr add 2001:db8::2/64 dev eth0 nodad && "
		"ip -6 route del 2001:db8::/64 dev eth0");
	p = plan_of(n.pod);
	network_lines(p->network, &got);
	line(&want, "addr 10.1.0.2/24 scope 0 metric 0 noprefixroute");
	line(&want, "addr 2001:db8::2/64 scope 0 metric 0 noprefixroute");
	same_lines(&want, &got, "removed prefix route");
	netplug_plan_free(p);
}
END_TEST

/* DAD that is over is not repeated in the guest; one that runs is. */
START_TEST(dad_state)
{
	struct netplug_plan *p;
	struct kit_net n;
	size_t i;

	kit_net_new(&n);
	kit_run("ip addr add 2001:db8::2/64 dev eth0 nodad && "
		"sysctl -qw net.ipv6.conf.eth0.dad_transmits=50 && "
		"ip addr add 2001:db8::3/64 dev eth0");
	p = plan_of(n.pod);
	ck_assert_uint_eq(p->network->links[0]->n_addresses, 3);
	for (i = 0; i < 3; i++) {
		const Podvm__Address *a = p->network->links[0]->addresses[i];

		if (a->ip.data[0] == 0xfe)
			continue;
		ck_assert_uint_eq(a->flags, a->ip.data[15] == 2 ? IFA_F_NODAD : 0);
	}
	netplug_plan_free(p);
}
END_TEST

START_TEST(two_interfaces)
{
	struct netplug_plan *p;
	struct kit_net n;

	kit_net_new(&n);
	/* An interface that has the name of a tap that would be made. */
	kit_run("ip link add tap2 type veth peer name h1 netns /proc/%d/fd/%d && "
		"ip link set tap2 up && ip addr add 10.2.0.2/24 dev tap2", getpid(),
		n.host);
	p = plan_of(n.pod);
	ck_assert_uint_eq(p->n_ports, 2);
	ck_assert_str_eq(p->port[0].name, "eth0");
	ck_assert_str_eq(p->port[1].name, "tap2");
	ck_assert_uint_eq(p->port[0].ifindex, 2);
	ck_assert_str_ne(p->port[0].tap, "tap2");
	ck_assert_str_ne(p->port[0].tap, p->port[1].tap);
	netplug_plan_free(p);
}
END_TEST

START_TEST(json_is_json)
{
	_cleanup_free_ char *text = NULL;
	struct jnode root, ports, port, guest, routes;
	struct netplug_plan *p;
	struct json_doc *doc;
	struct err e = { 0 };
	struct kit_net n;
	const char *s;

	kit_net_new(&n);
	kit_run("ip addr add 10.1.0.2/24 dev eth0 && ip route add default via 10.1.0.1");
	p = plan_of(n.pod);
	ck_assert_int_eq(netplug_plan_json(p, &text, &e), 0);
	ck_assert_msg(!json_parse(text, strlen(text), &doc, &e), "%s", e.text);
	root = json_root(doc);
	ck_assert_int_eq(json_arr(&root, "ports", &ports, &e), 1);
	port = json_at(&ports, 0);
	ck_assert_int_eq(json_str(&port, "interface", &s, &e), 1);
	ck_assert_str_eq(s, "eth0");
	ck_assert_int_eq(json_obj(&root, "guest", &guest, &e), 1);
	ck_assert_int_eq(json_arr(&guest, "routes", &routes, &e), 1);
	ck_assert_uint_eq(json_len(&routes), 1);
	json_free(doc);
	netplug_plan_free(p);
}
END_TEST

/* ---- refusals -------------------------------------------------------------- */

static const struct {
	const char *setup;
	const char *want;
} refused[] = {
	{ "ip link set eth0 down", "interface eth0: it is down" },
	{ "ip link add br0 type bridge", "interface br0: kind bridge cannot be joined yet" },
	{ "ip link add link eth0 mv0 type macvlan mode bridge",
	  "interface mv0: it is on top of eth0 of the same namespace" },
	{ "ip tuntap add mode tap name tap5", "interface tap5: behind a tap is this namespace itself" },
	{ "ip link set eth0 mtu 65535", "interface eth0: MTU 65535" },
	{ "ip link set eth0 address 02:00:00:00:00:77 && ip link add eth1 address 02:00:00:00:00:77 "
	  "type veth peer name h1 netns $HOST && ip link set eth1 up",
	  "interface eth1: it has the MAC address of eth0" },
	{ "tc qdisc add dev eth0 ingress && tc filter add dev eth0 ingress pref 7 "
	  "protocol ip u32 match u32 0 0 classid 1:1",
	  "interface eth0: it has an ingress filter already (u32, pref 7)" },
	{ "ip rule add iif nope table 5 pref 100",
	  "IPv4 rule 100 (table 5): it asks for interface \"nope\"" },
	{ "ip rule add suppress_ifgroup 3 table 5 pref 100",
	  "IPv4 rule 100 (table 5): it asks for a group of interfaces" },
	{ "ip -6 rule add l3mdev pref 100", "IPv6 rule 100 (table 0): it asks for a VRF" },
	{ "ip addr add 10.7.7.7/32 dev lo", "interface lo: address 10.7.7.7/32" },
	{ "ip neigh add proxy 10.1.0.77 dev eth0", "neighbour proxy for 10.1.0.77" },
	{ "ip -6 neigh add proxy 2001:db8::77 dev eth0", "neighbour proxy for 2001:db8::77" },
	{ "ip route add local 10.3.0.0/16 dev eth0 table 7",
	  "route 10.3.0.0/16 dev eth0 table 7: type local" },
	{ "ip addr add 10.1.0.2/24 dev eth0 && ip route add 10.3.0.0/16 $(for i in "
	  "$(seq 11 19); do echo nexthop via 10.1.0.$i; done)",
	  "route 10.3.0.0/16: more than 8 ways" },
	{ "ip link add v0 type veth peer name w0 netns $HOST && ip link set v0 up && "
	  "ip addr add 10.1.0.2/24 dev eth0 && ip route add 10.3.0.0/16 "
	  "nexthop via 10.1.0.1 nexthop via inet6 fe80::1 dev v0", "gateway of other family" },
	{ "sysctl -qw net.ipv4.nexthop_compat_mode=0 && ip addr add 10.1.0.2/24 dev eth0 && "
	  "ip nexthop add id 5 via 10.1.0.1 dev eth0 && ip route add 10.3.0.0/16 nhid 5",
	  "route 10.3.0.0/16: nexthop object (without net.ipv4.nexthop_compat_mode=1)" },
	{ "ip addr add 10.1.0.2/24 dev eth0 && ip route add 10.3.0.0/16 encap ip id 5 dst 10.1.0.1 "
	  "dev eth0", "encapsulation" },
	{ "ip addr add 10.1.0.2/24 dev eth0 && ip route add 10.3.0.0/16 via inet6 "
	  "fe80::1 dev eth0", "gateway of other family" },
	{ "ip route add 10.3.0.0/16 dev eth0 congctl reno", "congestion control" },
	{ "ip route add 10.3.0.0/16 dev lo", "leads to no interface that the guest gets" },
	{ "ip -6 route add 2001:db8:4::/64 dev eth0 expires 300", "lifetime" },
	{ "for i in $(seq 16); do ip link add v$i type veth peer name w$i netns $HOST && "
	  "ip link set v$i up || exit 1; done", "more than 16 interfaces" },
};

START_TEST(refused_by_name)
{
	const struct netplug_options tc = { .model = NETPLUG_TC };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	struct kit_net n;
	int rc;

	kit_net_new(&n);
	kit_run("HOST=/proc/%d/fd/%d; %s", getpid(), n.host, refused[_i].setup);
	rc = netplug_plan(n.pod, &tc, &p, &e);
	ck_assert_msg(rc < 0, "not refused: %s", refused[_i].setup);
	ck_assert_msg(strstr(e.text, refused[_i].want), "want \"%s\", got \"%s\"",
		      refused[_i].want, e.text);
	ck_assert_ptr_null(p);
}
END_TEST

/* Kinds and states that this kernel may not be able to make. */
static const struct {
	const char *kind, *name, *qdisc;
	uint32_t flags, addr_flags;
	const char *want;
} pure[] = {
	{ "macvlan", "eth1", NULL, IFF_UP, 0, NULL },
	{ "macvlan", "eth1", NULL, 0, 0, "interface eth1: it is down" },
	{ "ipvlan", "eth1", NULL, IFF_UP, 0, NULL },
	{ "macvtap", "eth1", NULL, IFF_UP, 0, NULL },
	{ "tun", "eth1", NULL, IFF_UP, 0, "let the CNI chain make a veth" },
	{ "dummy", "eth1", NULL, IFF_UP, 0, "interface eth1: kind dummy cannot" },
	{ "vlan", "eth1", NULL, IFF_UP, 0, NULL },
	{ "netkit", "eth1", NULL, IFF_UP, 0, "let the CNI plugin make a veth" },
	{ "wireguard", "wg0", NULL, 0, 0, "interface wg0: kind wireguard cannot" },
	{ "", "eth1", NULL, IFF_UP, 0, "interface eth1: kind none (a device of the host)" },
	{ "ipip", "tunl0", NULL, IFF_UP, 0, "interface tunl0: kind ipip cannot" },
	{ "ipip", "tunl1", NULL, 0, 0, "interface tunl1: kind ipip cannot" },
	{ "ipip", "tunl0", NULL, 0, 0, NULL },
	{ "sit", "sit0", NULL, 0, 0, NULL },
	{ "veth", "eth1", "fq", IFF_UP, 0, "interface eth1: queueing discipline fq" },
	{ "veth", "eth1", "etf", IFF_UP, 0, "interface eth1: queueing discipline etf" },
	{ "veth", "eth1", "fq_codel", IFF_UP, 0, NULL },
	{ "veth", "eth1", "clsact", IFF_UP, 0, NULL },
	{ "veth", "eth1", NULL, IFF_UP, IFA_F_DADFAILED,
	  "interface eth1: somebody else on its network has address 10.0.0.1" },
};

START_TEST(pure_decision)
{
	const struct netplug_options tc = { .model = NETPLUG_TC };
	struct scan_link links[] = {
		{ .name = "lo", .ifindex = 1, .arphrd = ARPHRD_LOOPBACK },
		{ .ifindex = 2, .mtu = 1500, .mac_len = 6, .arphrd = ARPHRD_ETHER,
		  .flags = pure[_i].flags },
	};
	struct scan_qdisc qdisc = { .ifindex = 2 };
	struct scan_addr addr = { .family = AF_INET, .ifindex = 2, .prefix_len = 8,
				  .ip = { 10, 0, 0, 1 }, .flags = pure[_i].addr_flags };
	struct scan s = { .link = links, .n_links = 2, .qdisc = &qdisc, .addr = &addr,
			  .n_qdiscs = !!pure[_i].qdisc, .n_addrs = !!pure[_i].addr_flags };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(str_copy(links[1].name, sizeof(links[1].name), pure[_i].name), 0);
	ck_assert_int_eq(str_copy(links[1].kind, sizeof(links[1].kind), pure[_i].kind), 0);
	if (pure[_i].qdisc)
		ck_assert_int_eq(str_copy(qdisc.kind, sizeof(qdisc.kind),
					  pure[_i].qdisc), 0);
	if (pure[_i].want) {
		ck_assert_int_lt(plan_make(&s, &tc, &p, &e), 0);
		ck_assert_msg(strstr(e.text, pure[_i].want), "want \"%s\", got \"%s\"",
			      pure[_i].want, e.text);
	} else {
		ck_assert_msg(!plan_make(&s, &tc, &p, &e), "%s", e.text);
	}
	netplug_plan_free(p);
}
END_TEST

/* Kinds that cannot be joined in some of their forms. */
START_TEST(kinds_in_part)
{
	static const struct {
		const char *kind;
		uint16_t mode;
		uint32_t lower;
		bool here;
		const char *want;
	} rows[] = {
		{ "ipvlan", IPVLAN_MODE_L3, 7, false, NULL },
		{ "ipvlan", IPVLAN_MODE_L3S, 7, false, "an ipvlan in L3S mode" },
		{ "ipvlan", IPVLAN_MODE_L2, 7, false, NULL },
		{ "vlan", 0, 3, false, NULL },
		{ "vlan", 0, 3, true, "interface eth1: it is on top of eth0" },
		{ "macvlan", 0, 3, true, "interface eth1: it is on top of eth0" },
		{ "veth", 0, 3, true, NULL },
	};
	struct scan_link links[] = {
		{ .name = "eth1", .ifindex = 2, .mtu = 1500, .mac_len = 6,
		  .arphrd = ARPHRD_ETHER, .flags = IFF_UP, .peer = rows[_i].lower,
		  .lower_here = rows[_i].here, .mode = rows[_i].mode, .mac = { 2 } },
		{ .name = "eth0", .kind = "veth", .ifindex = 3, .mtu = 1500, .mac_len = 6,
		  .arphrd = ARPHRD_ETHER, .flags = IFF_UP, .mac = { 2, 1 } },
	};
	struct scan s = { .link = links, .n_links = 2 };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(str_copy(links[0].kind, sizeof(links[0].kind), rows[_i].kind), 0);
	rc = plan_make(&s, NULL, &p, &e);
	ck_assert_msg(rc < 0 ? rows[_i].want && strstr(e.text, rows[_i].want) : !rows[_i].want,
		      "row %d: %s", _i, e.text);
	if (!rc)
		ck_assert_str_eq(p->port[0].kind, rows[_i].kind);
	netplug_plan_free(p);
}
END_TEST

/* More than a message to the agent holds is refused, not cut. */
START_TEST(too_much)
{
	size_t n = 16000, i;
	struct scan_link l = { .name = "eth0", .kind = "veth", .ifindex = 2,
			       .mtu = 1500, .mac_len = 6, .flags = IFF_UP,
			       .arphrd = ARPHRD_ETHER };
	struct scan s = { .link = &l, .n_links = 1 };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };

	s.route = mem_new_n(struct scan_route, n);
	s.n_routes = n;
	for (i = 0; i < n; i++) {
		struct scan_route *r = &s.route[i];

		r->family = AF_INET6;
		r->dst_len = 128;
		r->type = RTN_UNICAST;
		r->table = r->priority = UINT32_MAX;
		r->has_gateway = r->has_prefsrc = true;
		r->oif = 2;
		memcpy(r->dst, &i, sizeof(i));
	}
	ck_assert_int_eq(plan_make(&s, NULL, &p, &e), -E2BIG);
	ck_assert_msg(strstr(e.text, "16000 routes"), "%s", e.text);
	free(s.route);
}
END_TEST

/* ---- random configurations -------------------------------------------------- */

static unsigned int pick(unsigned int n)
{
	return (unsigned int)random() % n;
}

/* One IPv4 address with its own /24 10.N.0.0. */
static void random_v4(unsigned int i, struct lines *want)
{
	unsigned int metric = pick(4) ? 0 : 1 + pick(999), noprefix = !pick(4);
	bool brd = pick(2);

	if (!pick(5)) { /* point-to-point */
		kit_run("ip addr add 10.%u.0.2 peer 10.%u.9.9/32 dev eth0", i, i);
		line(want, "addr 10.%u.0.2/32 peer 10.%u.9.9 scope 0 metric 0", i, i);
		return;
	}
	kit_run("ip addr add 10.%u.0.2/24 %s dev eth0 %s metric %u", i,
		brd ? "brd +" : "", noprefix ? "noprefixroute" : "", metric);
	if (brd)
		line(want, "addr 10.%u.0.2/24 brd 10.%u.0.255 scope 0 metric %u%s", i, i, metric,
		     noprefix ? " noprefixroute" : "");
	else
		line(want, "addr 10.%u.0.2/24 scope 0 metric %u%s", i, metric,
		     noprefix ? " noprefixroute" : "");
	if (!pick(3)) { /* a secondary one */
		kit_run("ip addr add 10.%u.0.3/24 dev eth0", i);
		/* Primary without a prefix route: the secondary adds none either. */
		line(want, "addr 10.%u.0.3/24 scope 0 metric 0", i);
	}
}

static void random_v6(unsigned int i, struct lines *want)
{
	unsigned int metric = pick(4) ? 0 : 1 + pick(999), noprefix = !pick(4);
	unsigned int len = pick(3) ? 64 : 128;

	kit_run("ip addr add 2001:db8:%x::2/%u dev eth0 nodad %s metric %u", i, len,
		noprefix ? "noprefixroute" : "", metric);
	line(want, "addr 2001:db8:%x::2/%u scope 0 metric %u%s", i, len, metric,
	     noprefix ? " noprefixroute" : "");
}

static void random_route(unsigned int i, struct lines *want)
{
	static const unsigned int tables[] = { 254, 254, 100, 1000, 70000 };
	unsigned int table = tables[pick(ARRAY_LEN(tables))], metric = 1 + pick(5000);
	unsigned int mtu = pick(2) ? 0 : 1280 + pick(100);
	unsigned int mss = pick(2) ? 0 : 500 + pick(900), shape = pick(4);
	char opt[64];

	snprintf(opt, sizeof(opt), "table %u metric %u", table, metric);
	if (mtu)
		snprintf(opt + strlen(opt), sizeof(opt) - strlen(opt), " mtu %u", mtu);
	if (mss)
		snprintf(opt + strlen(opt), sizeof(opt) - strlen(opt), " advmss %u", mss);
	switch (shape) {
	case 0:
		kit_run("ip route add 10.200.%u.0/24 dev eth0 %s", i, opt);
		line(want, "route 10.200.%u.0/24 dev eth0 table %u metric %u mtu %u "
		     "advmss %u", i, table, metric, mtu, mss);
		break;
	case 1:
		kit_run("ip route add 10.201.%u.0/24 via 10.250.0.1 src 10.250.0.2 %s", i,
			opt);
		line(want, "route 10.201.%u.0/24 via 10.250.0.1 dev eth0 src 10.250.0.2 "
		     "table %u metric %u mtu %u advmss %u", i, table, metric, mtu, mss);
		break;
	case 2:
		kit_run("ip route add 10.202.%u.0/24 via 192.0.2.%u dev eth0 onlink %s", i,
			i, opt);
		line(want, "route 10.202.%u.0/24 via 192.0.2.%u dev eth0 table %u metric "
		     "%u mtu %u advmss %u onlink", i, i, table, metric, mtu, mss);
		break;
	default:
		kit_run("ip -6 route add 2001:db8:f:%x::/64 via 2001:db8:fa::1 dev eth0 %s",
			i, opt);
		line(want, "route 2001:db8:f:%x::/64 via 2001:db8:fa::1 dev eth0 table %u "
		     "metric %u mtu %u advmss %u", i, table, metric, mtu, mss);
	}
}

static void random_config(struct lines *want)
{
	unsigned int i, n;

	/* What the gateways are reached by. */
	kit_run("ip addr add 10.250.0.2/24 dev eth0 && "
		"ip addr add 2001:db8:fa::2/64 dev eth0 nodad");
	line(want, "addr 10.250.0.2/24 scope 0 metric 0");
	line(want, "addr 2001:db8:fa::2/64 scope 0 metric 0");
	for (i = 0, n = pick(6); i < n; i++)
		random_v4(i + 1, want);
	for (i = 0, n = pick(6); i < n; i++)
		random_v6(i + 1, want);
	for (i = 0, n = pick(12); i < n; i++)
		random_route(i + 1, want);
	for (i = 0, n = pick(4); i < n; i++) {
		kit_run("ip neigh add 10.250.0.%u lladdr 02:00:00:00:00:%02x dev eth0 nud "
			"permanent", i + 10, i);
		line(want, "neigh 10.250.0.%u eth0 02:00:00:00:00:%02x", i + 10, i);
	}
}

/* Configures a replica as the guest's agent would, in the plan's order. */
static void replicate(const Podvm__Network *n)
{
	const Podvm__Link *l = n->links[0];
	char mac[18], a[48], b[48], c[48];
	size_t i;

	mac_text(l->mac.data, mac);
	kit_run("ip link set eth0 down && ip link set eth0 addrgenmode none && "
		"ip link set eth0 address %s mtu %u up", mac, l->mtu);
	for (i = 0; i < l->n_addresses; i++) {
		const Podvm__Address *m = l->addresses[i];

		kit_run("ip addr add %s%s%s/%u %s %s dev eth0 scope %u %s %s metric %u",
			ip_text(&m->ip, a), m->peer.len ? " peer " : "",
			m->peer.len ? ip_text(&m->peer, b) : "", m->prefix_len,
			m->broadcast.len ? "brd" : "",
			m->broadcast.len ? ip_text(&m->broadcast, c) : "", m->scope,
			m->flags & IFA_F_NODAD ? "nodad" : "",
			m->flags & IFA_F_NOPREFIXROUTE ? "noprefixroute" : "", m->metric);
	}
	for (i = 0; i < n->n_routes; i++) {
		const Podvm__Route *r = n->routes[i];
		char opt[64] = "";

		if (r->mtu)
			snprintf(opt, sizeof(opt), "mtu %u", r->mtu);
		if (r->advmss)
			snprintf(opt + strlen(opt), sizeof(opt) - strlen(opt),
				 " advmss %u", r->advmss);
		kit_run("ip %s route add %s/%u %s %s dev eth0 %s %s table %u metric %u "
			"proto %u scope %u %s %s", r->family == AF_INET6 ? "-6" : "-4",
			r->dst.len ? ip_text(&r->dst, a) : r->family == AF_INET6 ?
			"::" : "0.0.0.0", r->dst_len, r->gateway.len ? "via" : "",
			r->gateway.len ? ip_text(&r->gateway, b) : "",
			r->prefsrc.len ? "src" : "",
			r->prefsrc.len ? ip_text(&r->prefsrc, c) : "", r->table,
			r->priority, r->protocol, r->scope, opt,
			r->flags & RTNH_F_ONLINK ? "onlink" : "");
	}
	for (i = 0; i < n->n_neighbours; i++) {
		mac_text(n->neighbours[i]->mac.data, mac);
		kit_run("ip neigh add %s lladdr %s dev eth0 nud permanent",
			ip_text(&n->neighbours[i]->ip, a), mac);
	}
}

/* What of a namespace must be the same in the guest. */
static char *guest_view(void)
{
	return kit_output("ip -o addr show dev eth0 | sed 's/ metric [0-9]*//; "
			  "s/ noprefixroute//; s/ tentative//' | grep -v ' fe80::'; "
			  "ip -4 route show table all; "
			  "ip -6 route show table all | grep -v 'table local'; "
			  "ip neigh show nud permanent | sort");
}

static void random_run(unsigned int seed)
{
	_cleanup_free_ char *of_pod = NULL, *of_guest = NULL;
	struct lines want = { .n = 0 }, got = { .n = 0 };
	size_t len, i;
	struct netplug_plan *p, *q;
	uint8_t *x, *y;
	struct kit_net n, guest;

	srandom(seed);
	kit_net_new(&n);
	/* An address that passes duplicate detection meanwhile would not be the same. */
	kit_run("ip -6 addr flush dev eth0");
	random_config(&want);
	p = plan_of(n.pod);
	network_lines(p->network, &got);
	same_lines(&want, &got, "random");
	of_pod = guest_view();

	kit_net_new(&guest);
	replicate(p->network);
	of_guest = guest_view();
	kit_same_text(of_guest, of_pod);
	q = plan_of(guest.pod);
	len = podvm__network__get_packed_size(p->network);
	ck_assert_uint_eq(podvm__network__get_packed_size(q->network), len);
	x = malloc(len);
	y = malloc(len);
	podvm__network__pack(p->network, x);
	podvm__network__pack(q->network, y);
	for (i = 0; i < len; i++)
		ck_assert_uint_eq(x[i], y[i]);
	free(x);
	free(y);
	netplug_plan_free(p);
	netplug_plan_free(q);
	close(n.pod);
	close(n.host);
	close(guest.pod);
	close(guest.host);
}

START_TEST(random_configurations)
{
	unsigned int seed = (unsigned int)kit_seed("netplug_plan"), i;

	for (i = 0; i < RANDOM_RUNS; i++)
		random_run(seed + i);
}
END_TEST

Suite *netplug_plan_suite(void)
{
	Suite *s = suite_create("netplug_plan");
	TCase *t = tcase_create("pure"), *ns;
	const char *missing = kit_net_missing(false);

	tcase_add_loop_test(t, pure_decision, 0, ARRAY_LEN(pure));
	tcase_add_loop_test(t, kinds_in_part, 0, 7);
	tcase_add_test(t, too_much);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	if (missing) {
		kit_skip("netplug_plan/netns", missing);
		return s;
	}
	ns = tcase_create("netns");
	tcase_add_test(ns, dual_stack);
	tcase_add_test(ns, loopback_only);
	tcase_add_loop_test(ns, link_local, 0, ARRAY_LEN(locals));
	tcase_add_test(ns, prefix_route_removed);
	tcase_add_test(ns, dad_state);
	tcase_add_test(ns, two_interfaces);
	tcase_add_test(ns, json_is_json);
	tcase_add_loop_test(ns, refused_by_name, 0, ARRAY_LEN(refused));
	tcase_add_test(ns, random_configurations);
	tcase_set_timeout(ns, 300);
	suite_add_tcase(s, ns);
	return s;
}
