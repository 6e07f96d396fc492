// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Random network configurations: ip(8) makes one in a pod's namespace, netplug plans
 * it, the agent's own code carries the plan out in a second namespace, which stands for
 * the guest, and ip(8) reads both. What it prints must be the same set of lines, but for
 * what is documented:
 *
 * - of an address: how its connected route came about (noprefixroute: the route itself
 *   is compared), duplicate address detection (nodad, tentative, optimistic),
 *   which the pod's namespace has done, and how much of a lifetime is left;
 * - nexthop objects: what the kernel makes of them is compared;
 * - the other end of an interface, and its number.
 *
 * A configuration holds, now and then, something that a guest cannot be given; then the
 * plan may refuse, and must name the interface, address, route, rule or neighbour. A
 * refusal without such a thing is a failure. What ip(8) does not accept is not there.
 *
 * Sixty seeds are always the same, the others come from the time; each is printed. SEED=S
 * is one round of that seed, ROUNDS=N makes N of them, and SHOW=1 shows the configuration.
 *
 * Of sysctls those that a round sets are compared; addr_gen_mode is not, which the agent
 * sets to what keeps the addresses as they are.
 */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/agent/agent.h" /* its code is compiled in agent_guest.c */
#include "lib/mem.h"
#include "netplug/plan.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_property_suite(void);

#define FIXED_ROUNDS 60
#define RANDOM_ROUNDS 40
#define LINKS_MAX 4

static uint64_t first_seed;

/**
 * struct made - a configuration as commands of ip(8)
 * @host:  makes the interfaces, in the host's namespace
 * @ip:    the rest, in the pod's: first what is of IPv4 or of no family, then IPv6
 * @sh:    writes sysctls, in /proc/sys/net of the pod, when its interfaces are there and down
 * @odd:   something in it that a guest cannot be given; NULL if nothing
 */
struct made {
	uint64_t state;
	FILE *host, *ip[2], *sh;
	int host_fd, ip_fd[2], sh_fd;
	char name[LINKS_MAX][16];
	unsigned int n_links;
	const char *odd;
};

/* ---- random ----------------------------------------------------------------------- */

static uint32_t rnd(struct made *m, uint32_t below)
{
	m->state ^= m->state << 13;
	m->state ^= m->state >> 7;
	m->state ^= m->state << 17;
	return (uint32_t)(m->state >> 20) % below;
}

/* Once in @n times. */
static bool once_in(struct made *m, uint32_t n)
{
	return !rnd(m, n);
}

#define ONE_OF(m, list) ((list)[rnd(m, ARRAY_LEN(list))])

static unsigned int number(struct made *m, unsigned int max)
{
	return once_in(m, 3) ? 0 : rnd(m, max + 1);
}

static const char *link_name(struct made *m)
{
	return m->name[rnd(m, m->n_links)];
}

/* Addresses of a few networks, so that they meet. */
static void ip_in(struct made *m, int family, unsigned int link, char dst[64])
{
	if (family == 4)
		snprintf(dst, 64, "10.%u.%u.%u", link, rnd(m, 3), 1 + rnd(m, 250));
	else
		snprintf(dst, 64, "2001:db8:%u:%u::%x", link, rnd(m, 3), 1 + rnd(m, 60000));
}

/* A command of ip(8) in which @ and ~ stand for interfaces. */
static void put(FILE *f, const char *text, const char *link, const char *other)
{
	for (; *text; text++)
		if (*text == '@' || *text == '~')
			fputs(*text == '@' ? link : other, f);
		else
			fputc(*text, f);
}

/* ---- links ------------------------------------------------------------------------ */

static const char *const kinds[] = {
	"veth",		  "veth",     "macvlan mode bridge", "macvlan mode private",
	"ipvlan mode l2", "vlan id 5"};
static bool has_kind[ARRAY_LEN(kinds)];

static void make_link(struct made *m, unsigned int i, const char *pod)
{
	static const char *const names[] = {
		"eth", "net", "a.b-c_", "x+", "tap", "\xc3\xa9", "fifteen-bytes-", "podvm", "card"};
	static const unsigned int mtus[] = {1500, 1500, 1500, 1400, 1280, 9000, 65521, 1350, 576};
	unsigned int mtu = ONE_OF(m, mtus), kind;

	do
		kind = rnd(m, ARRAY_LEN(kinds));
	while (!has_kind[kind]);
	snprintf(m->name[i], sizeof(m->name[i]), "%s%u", ONE_OF(m, names), i);
	if (kind < 2) {
		fprintf(m->host, "link add v%u mtu %u type veth peer name %s netns %s mtu %u\n", i,
			mtu, m->name[i], pod, mtu);
	} else {
		fprintf(m->host,
			"link add v%u mtu %u type veth peer name w%u mtu %u\n"
			"link set w%u up\nlink add link v%u name %s netns %s mtu %u type %s\n",
			i, mtu, i, mtu, i, i, m->name[i], pod, mtu, kinds[kind]);
	}
	fprintf(m->host, "link set v%u up\n", i);
	/* Of a veth's neighbour, too, so that MACs are random, but the seed's. */
	if (kind < 4)
		fprintf(m->ip[0], "link set %s address 02:%02x:%02x:%02x:%02x:%02x\n", m->name[i],
			i, rnd(m, 256), rnd(m, 256), rnd(m, 256), rnd(m, 256));
	if (once_in(m, 4))
		fprintf(m->ip[0], "link set %s txqueuelen %u\n", m->name[i], 1 + rnd(m, 5000));
	fprintf(m->ip[0], "link set %s up\n", m->name[i]);
}

static void make_sysctls(struct made *m, unsigned int i)
{
	static const char *const of_link[] = {
		"1 > ipv4/conf/@/rp_filter",	     "2 > ipv4/conf/@/arp_ignore",
		"1 > ipv4/conf/@/arp_announce",	     "1 > ipv4/conf/@/proxy_arp",
		"1 > ipv4/conf/@/accept_local",	     "0 > ipv4/conf/@/send_redirects",
		"1 > ipv4/conf/@/log_martians",	     "1 > ipv4/conf/@/forwarding",
		"1 > ipv6/conf/@/disable_ipv6",	     "0 > ipv6/conf/@/accept_ra",
		"2 > ipv6/conf/@/use_tempaddr",	     "99 > ipv6/conf/@/hop_limit",
		"1 > ipv6/conf/@/addr_gen_mode",     "3 > ipv6/conf/@/dad_transmits",
		"1 > ipv6/conf/@/keep_addr_on_down",
	};
	static const char *const of_all[] = {
		"1 > ipv4/ip_forward",
		"1 > ipv6/conf/all/forwarding",
		"128 > ipv4/ip_default_ttl",
		"1024 > core/somaxconn",
		"0 > ipv4/tcp_syncookies",
		"20000 30000 > ipv4/ip_local_port_range",
		"1 > ipv4/conf/all/rp_filter",
		"1 > ipv4/conf/default/rp_filter",
		"0 > ipv6/conf/default/accept_ra",
		"1 > ipv4/conf/all/log_martians",
	};

	for (; once_in(m, 3);) {
		fprintf(m->sh, "echo ");
		put(m->sh, ONE_OF(m, of_link), m->name[i], NULL);
		fprintf(m->sh, "\n");
	}
	if (once_in(m, 4))
		fprintf(m->sh, "echo %s\n", ONE_OF(m, of_all));
}

/* ---- addresses ---------------------------------------------------------------------- */

/* The first of a link is in a wide network as a rule, in which its gateways are. */
static void make_addr(struct made *m, int family, unsigned int link, bool first)
{
	static const unsigned int len4[] = {24, 24, 24, 16, 30, 31, 32, 8};
	static const unsigned int len6[] = {64, 64, 64, 48, 127, 128, 120};
	static const char *const scopes[] = {"global", "link", "host", "200"};
	FILE *f = m->ip[family == 6];
	bool has_peer = once_in(m, 6);
	unsigned int len;
	char ip[64], peer[64];

	ip_in(m, family, link, ip);
	ip_in(m, family, link, peer);
	fprintf(f, "addr add %s", ip);
	if (has_peer)
		fprintf(f, " peer %s", peer);
	len = family == 4 ? ONE_OF(m, len4) : ONE_OF(m, len6);
	if (first && !once_in(m, 4))
		len = family == 4 ? 16 : 48;
	fprintf(f, "/%u", len);
	if (family == 4 && once_in(m, 3))
		fprintf(f, " brd +");
	if (family == 4 && once_in(m, 5))
		fprintf(f, " scope %s", ONE_OF(m, scopes));
	if (family == 6)
		fprintf(f, " nodad");
	if (family == 6 && once_in(m, 8))
		fprintf(f, " home");
	if (once_in(m, 6))
		fprintf(f, " noprefixroute");
	else if (once_in(m, 6))
		fprintf(f, " metric %u", 1 + rnd(m, 500));
	fprintf(f, " dev %s", m->name[link]);
	if (family == 4 && once_in(m, 8))
		fprintf(f, " label %s:%u", m->name[link], rnd(m, 10));
	if (once_in(m, 10)) {
		/* Its route has a lifetime, too, unless it is also that of an address without. */
		if (family == 6)
			m->odd = "lifetime";
		fprintf(f, " valid_lft 9000 preferred_lft 8000");
	}
	fputc('\n', f);
}

/* ---- routes ------------------------------------------------------------------------- */

static void put_dst(struct made *m, FILE *f, int family)
{
	unsigned int len;

	if (once_in(m, 4))
		fprintf(f, "default");
	else if (family == 4 && (len = 8 + rnd(m, 25)) <= 16)
		fprintf(f, "%u.0.0.0/%u", 20 + rnd(m, 20), len);
	else if (family == 4)
		fprintf(f, "172.16.%u.0/24", rnd(m, 256));
	else
		fprintf(f, "2001:db8:%x::/48", 100 + rnd(m, 100));
}

static void put_metrics(struct made *m, FILE *f, int family)
{
	static const char *const any[] = {
		" mtu 1300",	" mtu lock 1290", " advmss 1200",  " window 2000", " rtt 200ms",
		" rttvar 50ms", " ssthresh 12",	  " cwnd lock 20", " initcwnd 15", " initrwnd 16",
		" hoplimit 7",	" reordering 6",  " features ecn", " quickack 1",  " rto_min 300ms",
	};
	unsigned int n;

	for (n = rnd(m, 3); n; n--)
		fputs(ONE_OF(m, any), f);
	if (once_in(m, 200)) {
		m->odd = "metric of another sort";
		fputs(family == 6 && once_in(m, 2) ? " pref high" : " congctl reno", f);
	}
}

static void put_way(struct made *m, FILE *f, int family)
{
	unsigned int link = rnd(m, m->n_links);
	char ip[64];

	ip_in(m, family, link, ip);
	if (once_in(m, 5))
		fprintf(f, " dev %s", m->name[link]);
	else
		fprintf(f, " via %s dev %s%s", ip, m->name[link], once_in(m, 3) ? " onlink" : "");
}

static void make_route(struct made *m, int family)
{
	static const char *const types[] = {"blackhole", "unreachable", "prohibit", "throw"};
	static const char *const tables[] = {"main", "main", "main",  "5",
					     "100",  "253",  "70000", "4294967295"};
	static const char *const protos[] = {"static", "boot", "99", "dhcp", "bird"};
	FILE *f = m->ip[family == 6];
	bool refuses = once_in(m, 6);
	unsigned int n;

	/* Appended, so that routes of one metric and several gateways meet. */
	fprintf(f, "route %s ", once_in(m, 4) ? "append" : "add");
	if (refuses)
		fprintf(f, "%s ", ONE_OF(m, types));
	put_dst(m, f, family);
	fprintf(f, " table %s proto %s", ONE_OF(m, tables), ONE_OF(m, protos));
	if (once_in(m, 3))
		fprintf(f, " metric %u", rnd(m, 1000));
	if (family == 4 && once_in(m, 8))
		fprintf(f, " tos 0x%x", 4 * (1 + rnd(m, 7)));
	if (family == 4 && once_in(m, 200)) {
		m->odd = "realm";
		fprintf(f, " realm 7");
	}
	put_metrics(m, f, family);
	if (!refuses && once_in(m, 4)) {
		for (n = 2 + rnd(m, 3); n; n--) {
			fprintf(f, " nexthop");
			put_way(m, f, family);
			fprintf(f, " weight %u", 1 + rnd(m, 256));
		}
	} else if (!refuses) {
		put_way(m, f, family);
	}
	fputc('\n', f);
}

/* ---- rules, neighbours, odd things ----------------------------------------------------- */

static void make_rule(struct made *m, int family)
{
	static const char *const what[] = {
		"table 5",   "table 100",   "table 70000", "table main",
		"blackhole", "unreachable", "prohibit",	   "table 5 suppress_prefixlength 0"};
	FILE *f = m->ip[family == 6];
	char ip[64];

	fprintf(f, "rule add");
	if (once_in(m, 6))
		fprintf(f, " not");
	ip_in(m, family, 0, ip);
	if (once_in(m, 2))
		fprintf(f, " from %s", ip);
	if (once_in(m, 3))
		fprintf(f, " to %s/%u", family == 4 ? "10.0.0.0" : "2001:db8::", 8 + rnd(m, 24));
	if (once_in(m, 4))
		fprintf(f, " iif %s", once_in(m, 3) ? "lo" : link_name(m));
	if (once_in(m, 6))
		fprintf(f, " oif %s", link_name(m));
	if (once_in(m, 5))
		fprintf(f, " fwmark 0x%x/0x%x", rnd(m, 256), 1 + rnd(m, 4096));
	if (once_in(m, 6))
		fprintf(f, " tos 0x10");
	if (once_in(m, 6))
		fprintf(f, " uidrange %u-%u", rnd(m, 100), 100 + rnd(m, 100));
	if (once_in(m, 5))
		fprintf(f, " ipproto %s dport %u", once_in(m, 2) ? "tcp" : "udp",
			1 + rnd(m, 60000));
	if (once_in(m, 2))
		fprintf(f, " pref %u", rnd(m, 4) ? rnd(m, 32000) : rnd(m, 3));
	fprintf(f, " %s\n", ONE_OF(m, what));
}

static void make_neigh(struct made *m, int family)
{
	unsigned int link = rnd(m, m->n_links);
	char ip[64];

	ip_in(m, family, link, ip);
	fprintf(m->ip[family == 6],
		"neigh add %s lladdr 02:99:%02x:00:00:01 dev %s nud permanent\n", ip, rnd(m, 256),
		m->name[link]);
}

/* What no guest can be given, or must not; each has a name in the refusal. */
static void make_odd(struct made *m)
{
	static const char *const odd[][2] = {
		{"two of one MAC",
		 "link set @ address 02:aa:00:00:00:01\nlink set ~ address 02:aa:00:00:00:01\n"},
		{"link that is down", "link set @ down\n"},
		{"link of a kind that ends nowhere", "link add br0 type bridge\n"},
		{"address of lo", "addr add 10.99.0.1/32 dev lo\n"},
		{"neighbour proxy", "neigh add proxy 10.1.0.77 dev @\n"},
		{"route to lo", "route add 10.88.0.0/16 dev lo\n"},
		{"route of type local", "route add local 10.87.0.0/16 dev @ table 9\n"},
		{"rule with an interface that is not there", "rule add iif nowhere table 9\n"},
		{"rule with realms", "rule add realms 1/2 table 9\n"},
		{"rule with a group", "rule add table 9 suppress_ifgroup 1\n"},
		{"nexthop object", "nexthop add id 1 dev @\nroute add 10.86.0.0/16 nhid 1\n"},
		{"gateway of the other family", "route add 10.85.0.0/16 via inet6 fe80::1 dev @\n"},
	};
	unsigned int n = rnd(m, ARRAY_LEN(odd));
	put(m->ip[0], odd[n][1], m->name[0], m->name[m->n_links - 1]);
	m->odd = odd[n][0];
}

static void take_away(struct made *m)
{
	static const struct {
		int family;
		const char *text;
	} own[] = {
		{4, "rule del pref 32767\n"},
		{6, "rule del pref 32766\n"},
		{4, "rule del pref 0\nrule add pref 3 table local\n"},
		{4, "route flush proto kernel table main dev @\n"},
		{6, "route del 2001:db8::/48 dev @\n"},
	};
	unsigned int n = rnd(m, ARRAY_LEN(own));

	put(m->ip[own[n].family == 6], own[n].text, m->name[0], m->name[0]);
}

/* ---- a round ---------------------------------------------------------------------------- */

/* The test is in it. Return: descriptor */
static int new_netns(void)
{
	int fd;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static FILE *batch(int *ret_fd)
{
	*ret_fd = memfd_create("batch", 0);
	ck_assert_int_ge(*ret_fd, 0);
	return fdopen(dup(*ret_fd), "w");
}

static void make(struct made *m, const char *pod)
{
	unsigned int i, n, k;

	m->host = batch(&m->host_fd);
	m->sh = batch(&m->sh_fd);
	fprintf(m->host, "link set lo up\n");
	m->ip[0] = batch(&m->ip_fd[0]);
	m->ip[1] = batch(&m->ip_fd[1]);
	m->n_links = 1 + rnd(m, LINKS_MAX);
	for (i = 0; i < m->n_links; i++)
		make_link(m, i, pod);
	for (i = 0; i < m->n_links; i++)
		make_sysctls(m, i);
	for (i = 0; i < m->n_links; i++) {
		for (n = rnd(m, 4), k = 0; n; n--)
			make_addr(m, 4, i, !k++);
		for (n = rnd(m, 4), k = 0; n; n--)
			make_addr(m, 6, i, !k++);
	}
	if (once_in(m, 6))
		take_away(m);
	for (n = number(m, 12); n; n--)
		make_route(m, once_in(m, 2) ? 4 : 6);
	for (n = number(m, 4); n; n--)
		make_rule(m, once_in(m, 2) ? 4 : 6);
	for (n = number(m, 4); n; n--)
		make_neigh(m, once_in(m, 2) ? 4 : 6);
	if (once_in(m, 8))
		make_odd(m);
	fclose(m->host);
	fclose(m->sh);
	fclose(m->ip[0]);
	fclose(m->ip[1]);
}

#define OF(family, name) "ipv" #family "/conf/*/" #name " "

/* All that must be the same, a line for each thing, sorted; see the top of this file. */
static char *view_after(const char *setup)
{
	return kit_output(
		"%s { (cd /proc/sys/net && grep -s . " OF(4, rp_filter) OF(4, arp_ignore) OF(
			4, arp_announce) OF(4, proxy_arp) OF(4, accept_local) OF(4, send_redirects)
			OF(4, log_martians) OF(4, forwarding) OF(6, disable_ipv6) OF(
				6, accept_ra) OF(6, use_tempaddr) OF(6, hop_limit)
				OF(6, dad_transmits) OF(6, keep_addr_on_down) OF(
					6,
					forwarding) "ipv4/ip_forward ipv4/ip_default_ttl "
						    "core/somaxconn "
						    "ipv4/tcp_syncookies "
						    "ipv4/ip_local_port_range); "
						    "for f in 4 6; do { [ $f = 6 ] || echo link "
						    "show; echo addr show; echo neigh "
						    "show nud permanent; "
						    "echo route show table all; echo rule show; } "
						    "| ip -o -d -$f -batch - | "
						    "sed -E '/^[0-9]+: +(lo|v[0-9]|w[0-9]|br0)[@: "
						    "]/d; /nh_info/d; "
						    "s/^[0-9]+: //; s/@[^ :]+//; "
						    "s/^([^ ]+:) .*( mtu [0-9]+).*( qlen "
						    "[0-9]+).*link.ether ([0-9a-f:]+).*/\\1\\2\\3 "
						    "\\4/; s/ nhid [0-9]+//; s/ expires [0-9]+sec/ "
						    "expires/; "
						    "/ inet6? /{s/ "
						    "(nodad|tentative|optimistic|noprefixroute)//"
						    "g; "
						    "s/_lft [0-9]+sec/_lft some/g}; s/^/IPv'$f' "
						    "/'; done; } | LC_ALL=C sort",
		setup);
}

static struct netplug_plan *plan_of(const struct made *m, int netns, struct err *e)
{
	struct netplug_plan *p = NULL;
	int rc = netplug_plan(netns, NULL, &p, e);

	if (!rc)
		return p;
	ck_assert_msg(m->odd != NULL, "refused for no reason: %s", e->text);
	ck_assert_msg(strstr(e->text, "interface ") || strstr(e->text, "route ") ||
			      strstr(e->text, " rule ") || strstr(e->text, "neighbour "),
		      "%s: the refusal names nothing: %s", m->odd, e->text);
	printf("refused: %s: %s\n", m->odd, e->text);
	fflush(stdout);
	return NULL;
}

/* The guest's network cards, in another order than the pod's interfaces. */
static void make_cards(const struct netplug_plan *p, int junk)
{
	char cmd[4096] = "ip -batch - <<EOF\n";
	size_t i, at = strlen(cmd);
	int guest = new_netns();

	for (i = p->n_ports; i--;) {
		const uint8_t *a = p->port[i].mac;

		at += (size_t)snprintf(cmd + at, sizeof(cmd) - at,
				       "link add j%zu mtu 65521 type veth peer name virt%zu "
				       "address %02x:%02x:%02x:%02x:%02x:%02x netns "
				       "/proc/%d/fd/%d\nlink set j%zu up\n",
				       i, i, a[0], a[1], a[2], a[3], a[4], a[5], getpid(), guest,
				       i);
	}
	kit_run_in(junk, "%sEOF\n", cmd);
}

/* What the kernel does when a link has got its carrier takes a moment. */
static char *guest_view(const char *want)
{
	char *got;
	int i;

	for (i = 0; got = view_after(""), strcmp(got, want) && i < 20; i++) {
		free(got);
		poll(NULL, 0, 50);
	}
	return got;
}

static void round_of(uint64_t seed)
{
	_cleanup_free_ char *pod = NULL, *guest = NULL, *json = NULL;
	struct made m = {.state = seed * 0x9e3779b97f4a7c15ull + 1};
	int host = new_netns(), netns = new_netns();
	struct netplug_plan *p;
	struct err e = {0};
	char path[64], setup[768];

	printf("SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), netns);
	make(&m, path);
	snprintf(setup, sizeof(setup),
		 "ip link set lo up;"
		 "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; cd /proc/%d/fd;"
		 "{ nsenter --net=%d ip -force -batch %d;"
		 "(cd /proc/sys/net; . /proc/%d/fd/%d);"
		 "ip -4 -force -batch %d; ip -6 -force -batch %d; } %s;"
		 "for i in $(seq 100); do ip -br link | grep -q DOWN || break; sleep 0.02; done;",
		 getpid(), host, m.host_fd, getpid(), m.sh_fd, m.ip_fd[0], m.ip_fd[1],
		 getenv("SHOW") ? ">&2" : "2> /dev/null");
	pod = view_after(setup);
	if (getenv("SHOW"))
		fputs(pod, stderr);
	p = plan_of(&m, netns, &e);
	if (!p)
		return;
	ck_assert_msg(!netplug_plan_json(p, &json, &e), "%s", e.text);
	make_cards(p, host);
	ck_assert_msg(!net_loopback_up(&e) && !net_setup(p->network, &e), "%s", e.text);
	guest = guest_view(pod);
	kit_same_text(guest, pod);
	netplug_plan_free(p);
}

START_TEST(fixed_rounds)
{
	round_of((uint64_t)_i);
}
END_TEST

START_TEST(random_rounds)
{
	round_of(first_seed + (uint64_t)_i);
}
END_TEST

static void find_kinds(void)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(kinds); i++)
		has_kind[i] = i < 2 || kit_net_has_kind(kinds[i]);
}

Suite *netplug_property_suite(void)
{
	const char *seed = getenv("SEED"), *rounds = getenv("ROUNDS");
	int n = rounds ? (int)strtol(rounds, NULL, 10) : seed ? 1 : RANDOM_ROUNDS;
	Suite *s = suite_create("netplug_property");
	TCase *t = tcase_create("rounds");
	const char *missing = kit_net_missing(false);

	if (missing) {
		kit_skip("netplug_property", missing);
		return s;
	}
	find_kinds();
	first_seed = kit_seed("netplug_property");
	if (!seed && !rounds)
		tcase_add_loop_test(t, fixed_rounds, 0, FIXED_ROUNDS);
	tcase_add_loop_test(t, random_rounds, 0, n);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
