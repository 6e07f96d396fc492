// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The macvtap model in the kernel. What ip(8) and tc(8) print of the pod's namespace
 * must be, byte by byte, the same before apply and after undo: after a whole apply,
 * after one that was killed at any byte of its journal, after a failed one, and after
 * undoing twice; with addresses, routes and neighbours of all shapes, which leave the
 * interface meanwhile.
 *
 * A tap in a namespace of its own stands for the guest: a thread carries frames between
 * it and the macvtap, and its kernel has the addresses that the plan gives. So packets
 * of all sizes, whose checksums and segments are left to the other side, must pass.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/netplug.h"
#include "tests/kit/joined.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"
#include "tests/kit/tap.h"

Suite *netplug_macvtap_suite(void);

#define JOURNAL_BYTES 65536

static const enum netplug_model models[] = { NETPLUG_MACVTAP, NETPLUG_MACVTAP_PASSTHRU };

static void joined_prepare(struct kit_joined *t, const struct netplug_options *o, const char *setup)
{
	kit_joined_new(t);
	/* Duplicate address detection takes a second; one row has it. */
	kit_run("ip link set eth0 down && ip link set eth0 address 02:00:00:00:00:02 && "
		"echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad && ip link set eth0 up && ip addr add 10.1.0.2/24 dev eth0 && "
		"ip addr add 2001:db8::2/64 dev eth0 nodad");
	kit_run_in(t->n.host, "ip addr add 10.1.0.1/24 dev h0 && "
		   "ip addr add 2001:db8::1/64 dev h0 nodad");
	kit_run("%s", setup);
	kit_joined_plan(t, o);
}

/* IPv6 addresses come to life in the kernel's own time. */
static void joined_unchanged(struct kit_joined *t)
{
	char *after = NULL;
	int tries;

	kit_net_enter(t->n.pod);
	for (tries = 0; tries < 50; tries++) {
		free(after);
		after = kit_net_state();
		if (!strcmp(after, t->before))
			break;
		usleep(100000);
	}
	kit_same_text(after, t->before);
	free(after);
}

/* ---- apply and undo ----------------------------------------------------------- */

static const char *const setups[] = {
	"echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip addr add 2001:db8::7/64 dev eth0",
	"ip link set eth0 txqueuelen 0 && ip link set eth0 mtu 1300",
	"tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress pref 7 protocol ip "
	"u32 match u32 0 0 classid 1:1 && tc qdisc add dev eth0 root tbf rate 100mbit "
	"burst 100kb latency 50ms",
	"tc qdisc add dev eth0 root fq 2>/dev/null || tc qdisc add dev eth0 ingress",
	"ip route add default via 10.1.0.1 mtu 1400 advmss 1300 && "
	"ip -6 route add default via 2001:db8::1 metric 77 mtu 1350",
	/* Several addresses, in an order that matters, with all that they can have. */
	"ip addr add 10.1.0.3/24 brd + dev eth0 label eth0:1 && "
	"ip addr add 10.2.0.2 peer 10.2.0.9/32 dev eth0 && "
	"ip addr add 10.3.0.2/16 dev eth0 metric 50 && "
	"ip addr add 10.3.0.3/16 dev eth0 && "
	"ip addr add 10.4.0.2/24 dev eth0 noprefixroute && "
	"ip addr add 169.254.3.3/16 scope link dev eth0 && "
	"ip addr add 2001:db8::3/64 dev eth0 nodad noprefixroute && "
	"ip addr add 2001:db8:1::3/64 dev eth0 && "
	"ip addr add 2001:db8:2::3 peer 2001:db8:2::9/128 dev eth0 && "
	"ip addr add fe80::77/64 dev eth0 nodad && "
	"ip addr add 2001:db8:3::3/56 dev eth0 metric 300",
	/* The connected routes gone or other ones. */
	"ip route del 10.1.0.0/24 && ip -6 route del 2001:db8::/64 dev eth0 && "
	"ip route add 10.1.0.0/25 dev eth0 src 10.1.0.2 proto kernel scope link mtu 1400",
	/* Routes of tables, of several ways, on link, behind others, and to nowhere. */
	"ip route add 10.1.1.1/32 dev eth0 scope link && ip route add default via 10.1.1.1 && "
	"ip route add default via 10.1.0.9 metric 9 table 77 && "
	"ip route append 10.9.0.0/16 via 10.1.0.7 && ip route append 10.9.0.0/16 via 10.1.0.8 && "
	"ip route add 10.8.0.0/16 nexthop via 10.1.0.7 weight 3 nexthop via 10.1.0.8 && "
	"ip route add 192.0.2.1 via 198.51.100.1 dev eth0 onlink initcwnd 20 && "
	"ip route add blackhole 10.7.0.0/16 && ip rule add from 10.1.0.2 table 77 && "
	"ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8::7 nexthop via 2001:db8::8 && "
	"ip -6 route add 2001:db8:8::/48 via fe80::1 dev eth0 src 2001:db8::2 && "
	"ip -6 route add 2001:db8:7::/48 dev eth0 table 1000",
	"ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent && "
	"ip neigh add 2001:db8::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
	"ip -6 addr flush dev eth0; ip addr flush dev eth0",
};

START_TEST(there_and_back)
{
	/* In passthru mode only the interface's own MAC is other than in bridge mode. */
	int row = _i < (int)ARRAY_LEN(setups) ? _i : _i == (int)ARRAY_LEN(setups) ? 0 : 5;
	const struct netplug_options o = { .model = models[_i >= (int)ARRAY_LEN(setups)] };
	struct kit_joined t;

	joined_prepare(&t, &o, setups[row]);
	kit_joined_apply(&t);
	ck_assert_uint_eq(t.n_ports, 1);
	ck_assert_str_eq(t.port[0].name, "eth0");
	ck_assert_mem_eq(t.port[0].mac, "\x02\0\0\0\0\x02", 6);
	ck_assert_int_eq(fcntl(t.port[0].tap_fd[0], F_GETFD), FD_CLOEXEC);
	ck_assert(!kit_try("ip addr show dev eth0 | grep inet"));
	ck_assert(kit_try("ip -d link show dev tap2 | grep -q 'macvtap mode %s'",
			  o.model == NETPLUG_MACVTAP ? "bridge" : "passthru"));
	ck_assert(kit_try("ip link show dev tap2 | grep -q '02:00:00:00:00:02'"));
	ck_assert_int_eq(!kit_try("ip link show dev eth0 | grep -q '02:00:00:00:00:02'"),
			 o.model == NETPLUG_MACVTAP);
	if (_i % 2)
		kit_joined_close_taps(&t);
	kit_joined_undo(&t);
	joined_unchanged(&t);
	ck_assert_uint_eq(journal_mark(t.j), 0);
	kit_joined_done(&t);
}
END_TEST

/* Several queues, several interfaces, and addresses of one that another's route has. */
START_TEST(two_ports)
{
	const struct netplug_options o = { .model = NETPLUG_MACVTAP };
	_cleanup_free_ char *link = NULL;
	char setup[600];
	struct kit_joined t;
	size_t i, k;
	int host;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	host = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(setup, sizeof(setup), "ip link add eth1 type veth peer name h1 netns "
		 "/proc/%d/fd/%d && ip link set eth1 up && ip addr add 10.6.0.2/24 dev eth1 && "
		 "ip route add 10.66.0.0/16 via 10.6.0.1 src 10.1.0.2 && ip route add 10.67.0.0/16 "
		 "nexthop via 10.1.0.9 dev eth0 nexthop via 10.6.0.9 dev eth1", getpid(), host);
	joined_prepare(&t, &o, setup);
	t.taps = NETPLUG_TAPS_MAX;
	kit_joined_apply(&t);
	ck_assert_uint_eq(t.n_ports, 2);
	for (i = 0; i < t.n_ports; i++)
		for (k = 0; k < NETPLUG_TAPS_MAX; k++)
			ck_assert_int_ge(t.port[i].tap_fd[k], 0);
	link = kit_output("ip -d link show dev tap2");
	ck_assert_msg(strstr(link, "numtxqueues 8 numrxqueues 8"), "%s", link);
	ck_assert_msg(strstr(link, "NOARP,ALLMULTI"), "%s", link);
	ck_assert_msg(strstr(link, "addrgenmode none"), "%s", link);
	ck_assert_msg(strstr(link, "alias podvm:eth0"), "%s", link);
	kit_joined_undo(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
	close(host);
}
END_TEST

/* A second VM on the same namespace is refused, and disturbs nothing. */
START_TEST(joined_twice)
{
	const struct netplug_options o = { .model = NETPLUG_MACVTAP };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	struct kit_joined t;

	joined_prepare(&t, &o, ":");
	kit_joined_apply(&t);
	ck_assert_int_eq(netplug_plan(t.n.pod, NULL, &p, &e), -EEXIST);
	ck_assert_msg(strstr(e.text, "eth0: this network namespace is joined"), "%s", e.text);
	kit_joined_undo(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* What changes between plan and apply: apply fails and takes all of its own back. */
static const struct {
	const char *setup;
	int want;
} races[] = {
	{ "ip link set eth0 mtu 1200", -ESTALE },
	{ "ip link del eth0", -ENODEV },
	{ "ip tuntap add mode tap name tap2", -EEXIST },
	{ "ip link add link eth0 name tap2 type macvtap mode bridge", -EEXIST },
	/* Somebody has what is sent to the interface already. */
	{ "ip link add br0 type bridge && ip link set eth0 master br0", -EBUSY },
};

START_TEST(changed_after_plan)
{
	const struct netplug_options o = { .model = NETPLUG_MACVTAP };
	struct err e = { 0 };
	struct kit_joined t;
	int rc;

	joined_prepare(&t, &o, ":");
	kit_run("%s", races[_i].setup);
	kit_run("while ip addr | grep -q tentative; do sleep 0.1; done");
	free(t.before);
	t.before = kit_net_state();
	rc = kit_joined_try(&t, &e);
	ck_assert_msg(rc == races[_i].want, "%s: %d: %s", races[_i].setup, rc, e.text);
	ck_assert_msg(strstr(e.text, "interface eth0"), "%s", e.text);
	ck_assert_uint_eq(journal_mark(t.j), 0);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* What is gone, or down, when the macvtap goes, is a success. */
START_TEST(gone_meanwhile)
{
	static const char *const what[] = { "ip link del eth0", "ip link del tap2",
					    "ip link set eth0 down" };
	const struct netplug_options o = { .model = NETPLUG_MACVTAP };
	struct kit_joined t;

	joined_prepare(&t, &o, "ip route add default via 10.1.0.1");
	kit_joined_apply(&t);
	kit_run("%s", what[_i]);
	kit_joined_undo(&t);
	if (_i == 1)
		joined_unchanged(&t);
	if (_i == 2)
		ck_assert(kit_try("ip addr show dev eth0 | grep -q 10.1.0.2/24"));
	kit_joined_done(&t);
}
END_TEST

/* ---- crashes --------------------------------------------------------------------- */

/* Killed at, and failing at, each record of the journal. */
START_TEST(crash_at_every_record)
{
	const struct netplug_options o = { .model = models[_i >> 1] };
	bool killed = _i & 1, through = false;
	unsigned int steps = 0;
	struct kit_joined t;
	rlim_t limit;

	joined_prepare(&t, &o, "ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud "
		       "permanent; ip route add default via 10.1.0.1");
	for (limit = 0; !through && limit < JOURNAL_BYTES; limit += 199) {
		through = kit_joined_limited(&t, limit, killed);
		steps += !through && journal_mark(t.j);
		if (!killed && !through)
			ck_assert_uint_eq(journal_mark(t.j), 0);
		kit_joined_undo(&t);
		joined_unchanged(&t);
	}
	ck_assert(through);
	ck_assert(!killed || steps > 6);
	kit_joined_done(&t);
}
END_TEST

static void no_action(int sig)
{
	(void)sig;
}

/* Killed at any instant, by the clock: the next command undoes all of it. */
START_TEST(kill_at_any_instant)
{
	const struct netplug_options o = { .model = models[_i & 1] };
	struct kit_joined t;
	pid_t pid;
	int i;

	joined_prepare(&t, &o, "ip route add default via 10.1.0.1");
	signal(SIGCHLD, no_action);
	for (i = 0; i < 6; i++) {
		fflush(NULL);
		pid = fork();
		if (!pid) {
			struct err e = { 0 };

			_exit(kit_joined_try(&t, &e) < 0);
		}
		usleep((useconds_t)(300 + i * 900));
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		kit_joined_undo(&t);
		joined_unchanged(&t);
	}
	kit_joined_done(&t);
}
END_TEST

/* The machine dies while it undoes: the rest is undone later, from the start. */
START_TEST(undo_twice)
{
	const struct netplug_options o = { .model = NETPLUG_MACVTAP };
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	struct kit_joined t;
	size_t len;

	joined_prepare(&t, &o, "ip route del 10.1.0.0/24 && ip route add 10.1.0.1/32 dev eth0 && "
		       "ip route add default via 10.1.0.1");
	kit_joined_apply(&t);
	ck_assert_int_eq(file_read(t.dirfd, "journal", 65536, &text, &len, &e), 0);
	kit_joined_undo(&t);
	ck_assert_int_eq(file_replace(t.dirfd, "journal", text, len, 0600, &e), 0);
	journal_free(t.j);
	ck_assert_int_eq(journal_open(t.dirfd, "journal", &t.j, &e), 0);
	kit_joined_undo(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* A lifetime goes on while the address is away. */
START_TEST(lifetime_goes_on)
{
	const struct netplug_options o = { .model = NETPLUG_MACVTAP };
	_cleanup_free_ char *left = NULL;
	struct kit_joined t;

	joined_prepare(&t, &o, "ip addr add 10.5.0.2/24 dev eth0 valid_lft 900 preferred_lft 800; "
		       "ip addr add 10.6.0.2/24 dev eth0 valid_lft 4 preferred_lft 3");
	kit_joined_apply(&t);
	sleep(5);
	kit_joined_undo(&t);
	left = kit_output("ip addr show dev eth0 | grep -A1 10.5.0.2 | "
			  "sed -n 's/.*valid_lft \\([0-9]*\\)sec preferred_lft \\([0-9]*\\)sec.*/\\1/p'");
	ck_assert_msg(atoi(left) > 700 && atoi(left) <= 895, "%s", left);
	ck_assert(!kit_try("ip addr show dev eth0 | grep 10.6.0.2"));
	kit_joined_done(&t);
}
END_TEST

/* A record that park_leave() does not write. */
START_TEST(broken_records)
{
	static const struct { const char *action, *what, *more; } rows[] = {
		{ "addr", "0208", NULL }, { "addr", "zz", NULL }, { "addr", "020", NULL },
		{ "route", "", NULL }, { "neigh", "-1-1-1-1-1-1-1-1-1-1-1-1", NULL },
		{ "link", "0200", "0" }, { "link", "020000000002", NULL },
	};
	const struct netplug_options o = { .model = NETPLUG_MACVTAP };
	struct kit_joined t;
	struct err e;
	char id[96];
	size_t i;
	struct stat st;

	joined_prepare(&t, &o, ":");
	ck_assert_int_eq(fstat(t.n.pod, &st), 0);
	kit_joined_apply(&t);
	{
		_cleanup_free_ char *text = NULL;
		const char *at;

		/* The namespace's id, as the journal has it. */
		ck_assert_int_eq(file_read(t.dirfd, "journal", 65536, &text, NULL, &e), 0);
		snprintf(id, sizeof(id), "%llu:%llu:", (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino);
		at = strstr(text, id);
		ck_assert_ptr_nonnull(at);
		snprintf(id, sizeof(id), "%.*s", (int)strcspn(at, "\""), at);
	}
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct journal_rec r = { { "netplug", rows[i].action, t.n.path, id, "eth0", "2",
					   rows[i].what, rows[i].more }, rows[i].more ? 8 : 7 };

		ck_assert_msg(netplug_undo(&r, &e) == -EINVAL, "row %zu: %s", i, e.text);
	}
	kit_joined_undo(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* ---- packets ------------------------------------------------------------------------ */

/**
 * struct guest - a namespace with a tap, joined to the macvtap by a thread
 */
struct guest {
	pthread_t thread;
	int netns, tap, pod;
	atomic_bool stop;
	atomic_uint lost;
};

static void carry(struct guest *g, int from, int to)
{
	static char buf[70000];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, (size_t)n) != n)
			g->lost++;
}

static void *guest_main(void *arg)
{
	struct guest *g = arg;

	while (!g->stop) {
		struct pollfd p[2] = { { .fd = g->tap, .events = POLLIN },
				       { .fd = g->pod, .events = POLLIN } };

		if (poll(p, 2, 20) <= 0)
			continue;
		carry(g, g->tap, g->pod);
		carry(g, g->pod, g->tap);
	}
	return NULL;
}

static void guest_start(struct guest *g, int pod)
{
	struct ifreq ifr = { .ifr_name = "eth0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	const unsigned long offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

	g->pod = pod;
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	g->netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	g->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	ck_assert(!ioctl(g->tap, TUNSETIFF, &ifr));
	ck_assert(!ioctl(g->tap, TUNSETOFFLOAD, offload));
	ck_assert(!ioctl(g->pod, TUNSETOFFLOAD, offload));
	kit_run("ip link set eth0 address 02:00:00:00:00:02 && ip link set eth0 up && "
		"ip addr add 10.1.0.2/24 dev eth0 && ip addr add 2001:db8::2/64 dev eth0 nodad");
	ck_assert_int_eq(pthread_create(&g->thread, NULL, guest_main, g), 0);
}

static void guest_end(struct guest *g)
{
	g->stop = true;
	pthread_join(g->thread, NULL);
	ck_assert_uint_eq(g->lost, 0);
	close(g->tap);
	close(g->netns);
}

/* A megabyte by TCP to a port of @in, compared at the other end. */
static void stream(const struct kit_joined *t, int in, const char *to)
{
	kit_run_in(in, "cd %s && mkfifo open && (busybox nc -l -p 5001 <> open > got & "
		   "echo $! > pid); "
		   "for i in $(seq 100); do busybox netstat -tln | grep -q ':5001 ' && break; "
		   "sleep 0.05; done", t->dir);
	kit_run("cd %s && head -c 1000000 /dev/urandom > sent && busybox nc %s 5001 < sent && "
		"for i in $(seq 100); do cmp -s sent got && break; sleep 0.05; done; cmp sent got; "
		"rc=$?; kill $(cat pid) 2>/dev/null; rm -f sent got pid open; exit $rc", t->dir, to);
}

START_TEST(packets_reach_the_guest)
{
	const struct netplug_options o = { .model = models[_i] };
	struct guest g = { 0 };
	struct kit_joined t;

	joined_prepare(&t, &o, "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress "
		       "pref 7 protocol ip u32 match u32 0 0 classid 1:1");
	kit_joined_apply(&t);
	kit_net_enter(t.n.host);
	kit_run("ip neigh flush dev h0");
	/* Joined, but no guest yet: nobody answers, the host's stack least of all. */
	ck_assert(!kit_try("ping -q -c1 -W1 10.1.0.2"));
	ck_assert(!kit_try("ping -q -c1 -W1 2001:db8::2"));
	ck_assert(!kit_try("ip neigh show 10.1.0.2 | grep lladdr"));
	guest_start(&g, t.port[0].tap_fd[0]);
	kit_net_enter(t.n.host);
	kit_run("ip neigh flush dev h0; ping -q -c3 -i0.2 -W2 -s 1472 -M do 10.1.0.2 >&2 && "
		"ping -q -c2 -i0.2 -s 9000 -W2 10.1.0.2 >&2 && "
		"ping -6 -q -c3 -i0.2 -W2 -s 1452 -M do 2001:db8::2 >&2 && "
		"ip neigh show 10.1.0.2 | grep -q 02:00:00:00:00:02");
	stream(&t, g.netns, "10.1.0.2");
	stream(&t, g.netns, "2001:db8::2");
	kit_net_enter(g.netns);
	stream(&t, t.n.host, "10.1.0.1");
	stream(&t, t.n.host, "2001:db8::1");
	guest_end(&g);
	kit_net_enter(t.n.pod);
	/* The other filter has seen it all. */
	ck_assert(kit_try("tc -s filter show dev eth0 ingress | grep -q 'success [1-9]' || "
			  "! tc -s filter show dev eth0 ingress | grep -q success"));
	kit_joined_undo(&t);
	joined_unchanged(&t);
	/* After: the namespace's own stack answers again. */
	kit_run_in(t.n.host, "ip neigh flush dev h0; ping -q -c1 -W2 10.1.0.2 >&2");
	kit_joined_done(&t);
}
END_TEST

/* One that somebody else has made for a VM: opened as it is, by one VM at a time. */
START_TEST(somebody_elses)
{
	struct netplug_port other[NETPLUG_PORTS_MAX];
	struct err e = { 0 };
	struct kit_joined t;
	size_t n;

	kit_joined_new(&t);
	kit_run("ip link del eth0");
	kit_run_in(t.n.host, "ip link add l0 type veth peer name l1 && ip link set l0 up && "
		   "ip link set l1 up && ip link add link l0 name mt0 address 02:00:00:00:00:07 mtu 1400 "
		   "type macvtap mode bridge && ip link set mt0 netns %s", t.n.path);
	kit_run("ip link set mt0 up && ip addr add 10.7.0.2/24 dev mt0 && ip route add default via 10.7.0.1");
	t.taps = 2;
	kit_joined_plan(&t, NULL);
	kit_joined_apply(&t);
	ck_assert_uint_eq(t.n_ports, 1);
	ck_assert_str_eq(t.port[0].name, "mt0");
	ck_assert_uint_eq(t.port[0].mtu, 1400);
	ck_assert_uint_eq(t.port[0].n_taps, 2);
	ck_assert_mem_eq(t.port[0].mac, "\x02\0\0\0\0\x07", 6);
	ck_assert_uint_eq(journal_mark(t.j), 0);
	ck_assert_str_eq(netplug_plan_network(t.p)->links[0]->name, "mt0");
	ck_assert_uint_eq(netplug_plan_network(t.p)->links[0]->n_addresses, 2);
	ck_assert_int_eq(netplug_apply(t.p, t.n.pod, t.n.path, 1, t.j, other, &n, &e), -EBUSY);
	ck_assert_msg(strstr(e.text, "interface mt0: process "), "%s", e.text);
	kit_joined_close_taps(&t);
	kit_joined_apply(&t);
	kit_joined_close_taps(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

Suite *netplug_macvtap_suite(void)
{
	Suite *s = suite_create("netplug_macvtap");
	TCase *tc = tcase_create("macvtap");
	const char *missing = kit_net_missing(true);

	if (!missing)
		missing = kit_macvtap_missing();
	suite_add_tcase(s, tc);
	if (missing) {
		kit_skip("netplug_macvtap", missing);
		return s;
	}
	tcase_add_loop_test(tc, there_and_back, 0, (int)ARRAY_LEN(setups) + 2);
	tcase_add_test(tc, two_ports);
	tcase_add_test(tc, joined_twice);
	tcase_add_loop_test(tc, changed_after_plan, 0, ARRAY_LEN(races));
	tcase_add_loop_test(tc, gone_meanwhile, 0, 3);
	tcase_add_loop_test(tc, crash_at_every_record, 0, 4);
	tcase_add_loop_test(tc, kill_at_any_instant, 0, 2);
	tcase_add_test(tc, undo_twice);
	tcase_add_test(tc, lifetime_goes_on);
	tcase_add_test(tc, broken_records);
	tcase_add_test(tc, somebody_elses);
	tcase_add_loop_test(tc, packets_reach_the_guest, 0, 2);
	tcase_set_timeout(tc, 300);
	return s;
}
