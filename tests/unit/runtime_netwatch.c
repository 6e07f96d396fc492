// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The watch of a pod's network from end to end, without a machine: a namespace
 * that ip(8) changes, the supervisor's watch in its own loop, and a second namespace that
 * stands for the guest, where the agent's own code carries out what it is told.
 * Plugging an interface makes a veth there. After each change both namespaces must
 * look the same to ip(8), and nothing may be told any more; what has gone leaves nothing behind.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/supervisor/supervisor.h"

static int call_agent(struct agent *a, const Podvm__Request *rq, int timeout_ms,
		      Podvm__Response **ret, struct err *e);
static int fake_add(struct pod *p, const struct netplug_port *port, const Podvm__Network *net,
		    struct err *e);
static int fake_remove(struct pod *p, const uint8_t mac[6], struct err *e);
static int fake_link(struct pod *p, const uint8_t mac[6], bool up, struct err *e);
static void fake_look(struct pod *p, const struct container *c);

#define agent_call call_agent
#define nic_add fake_add
#define nic_remove fake_remove
#define nic_link fake_link
#define relayd_container fake_look
#include "runtime/supervisor/netwatch.c"
#undef agent_call
#undef nic_add
#undef nic_remove
#undef nic_link
#undef relayd_container

/* guest/agent/net.c, which agent_guest.c compiles. */
int net_setup(const Podvm__Network *n, struct err *e);
int net_update(const Podvm__NetworkUpdate *m, struct err *e);

#include "tests/kit/fault.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *runtime_netwatch_suite(void);

#define NICS_MAX 40

/**
 * struct world - a pod's namespace, the guest's, and the supervisor between them
 * @nic:    of the machine: the monitor's copy of the tap
 * @fails:  so many calls fail
 * @silent: the agent gives no answers, and owes them
 * @adds, @removes, @calls: how often each was asked
 * @looked: how often a container's resolv.conf was looked at, at last that of @last_looked
 */
static struct world {
	struct kit_net net;
	int guest, behind;
	struct pod pod;
	struct {
		uint8_t mac[6];
		int tap;
		unsigned int number;
	} nic[NICS_MAX];
	size_t n_nics;
	unsigned int last, fails, adds, removes, calls, looked;
	const struct container *last_looked;
	bool silent;
	char dir[32];
} w;

/* ---- the machine and its guest ---------------------------------------------------------- */

static int enter_guest(void)
{
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	kit_net_enter(w.guest);
	return back;
}

static void leave_guest(int back)
{
	kit_net_enter(back);
	close(back);
}

static size_t find_nic(const uint8_t mac[6])
{
	size_t i;

	for (i = 0; i < w.n_nics && memcmp(w.nic[i].mac, mac, 6); i++)
		;
	return i;
}

static bool fails(struct err *e)
{
	if (!w.fails && !w.silent)
		return false;
	w.fails -= !w.silent;
	w.pod.agent.owed += w.silent;
	err_set(e, ETIMEDOUT, "no answer in time");
	return true;
}

static int plug_nic(const struct netplug_port *port, struct err *e)
{
	const uint8_t *m = port->mac;

	if (find_nic(m) < w.n_nics)
		return err_set(e, EEXIST, "the machine has it");
	ck_assert_uint_lt(w.n_nics, NICS_MAX);
	memcpy(w.nic[w.n_nics].mac, m, 6);
	w.nic[w.n_nics].tap = dup(port->tap_fd[0]);
	w.nic[w.n_nics].number = ++w.last;
	kit_run_in(w.guest, "ip link add new%u type veth peer name p%u netns /proc/%d/fd/%d && "
		   "ip link set new%u address %02x:%02x:%02x:%02x:%02x:%02x", w.last, w.last,
		   getpid(), w.behind, w.last, m[0], m[1], m[2], m[3], m[4], m[5]);
	kit_run_in(w.behind, "ip link set p%u up", w.last);
	w.n_nics++;
	return 0;
}

static int fake_add(struct pod *p, const struct netplug_port *port, const Podvm__Network *net,
		    struct err *e)
{
	int rc, back;

	w.adds++;
	if (fails(e))
		return -e->code;
	rc = plug_nic(port, e);
	if (rc < 0)
		return rc;
	back = enter_guest();
	rc = net_setup(net, e);
	leave_guest(back);
	if (rc < 0)
		fake_remove(p, port->mac, NULL);
	return rc;
}

static int fake_remove(struct pod *p, const uint8_t mac[6], struct err *e)
{
	size_t i = find_nic(mac);

	(void)p;
	w.removes++;
	if (fails(e))
		return -ETIMEDOUT;
	if (i == w.n_nics)
		return err_set(e, ENOENT, "the machine has none");
	kit_run_in(w.behind, "ip link del p%u", w.nic[i].number);
	close(w.nic[i].tap);
	w.nic[i] = w.nic[--w.n_nics];
	return 0;
}

static int fake_link(struct pod *p, const uint8_t mac[6], bool up, struct err *e)
{
	size_t i = find_nic(mac);

	(void)p;
	(void)e;
	ck_assert_uint_lt(i, w.n_nics);
	kit_run_in(w.behind, "ip link set p%u %s", w.nic[i].number, up ? "up" : "down");
	return 0;
}

static void fake_look(struct pod *p, const struct container *c)
{
	(void)p;
	w.looked++;
	w.last_looked = c;
}

/* As it goes over the wire. */
static int call_agent(struct agent *a, const Podvm__Request *rq, int timeout_ms,
		      Podvm__Response **ret, struct err *e)
{
	size_t len = podvm__request__get_packed_size(rq);
	uint8_t *buf = malloc(len);
	Podvm__Request *got;
	int rc, back;

	(void)a;
	(void)timeout_ms;
	(void)ret;
	w.calls++;
	podvm__request__pack(rq, buf);
	got = podvm__request__unpack(NULL, len, buf);
	free(buf);
	ck_assert_ptr_nonnull(got);
	ck_assert_int_eq(got->body_case, PODVM__REQUEST__BODY_NETWORK_UPDATE);
	rc = fails(e) ? -e->code : 0;
	back = enter_guest();
	if (!rc)
		rc = net_update(got->network_update, e);
	leave_guest(back);
	podvm__request__free_unpacked(got, NULL);
	return rc;
}

/* ---- the pod ------------------------------------------------------------------------------ */

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return netplug_undo(r, e);
}

#define POD_ADDRESSES "ip addr add 10.1.0.2/24 brd + dev eth0 && " \
		      "ip addr add 2001:db8::2/64 dev eth0 nodad && " \
		      "ip route add default via 10.1.0.1"

static void begin(void)
{
	struct netplug_port port[NETPLUG_PORTS_MAX];
	struct netplug_plan *plan;
	struct kit_net other;
	struct err e = { 0 };
	size_t n, i;
	int back;

	memset(&w, 0, sizeof(w));
	kit_net_new(&other);
	w.guest = other.pod;
	w.behind = other.host;
	kit_run("ip link del eth0");
	kit_net_new(&w.net);
	kit_run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0 && "
		"ip link set eth0 down && ip link set eth0 address 02:00:00:00:00:02 up && "
		POD_ADDRESSES " && until ip addr | grep -q fe80; do sleep 0.01; done");
	kit_net_enter(w.net.host);
	snprintf(w.dir, sizeof(w.dir), "/tmp/netwatch.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(w.dir));
	w.pod.dirfd = open(w.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	strcpy(w.pod.id, "test");
	w.pod.netns_fd = w.net.pod;
	ck_assert_int_eq(journal_open(w.pod.dirfd, "journal", &w.pod.journal, &e), 0);
	ck_assert_int_eq(loop_new(&w.pod.loop, &e), 0);
	ck_assert_msg(netwatch_open(&w.pod, w.net.path, 1, &e) >= 0, "%s", e.text);
	ck_assert_msg(!netplug_plan(w.net.pod, NULL, &plan, &e), "%s", e.text);
	ck_assert_msg(!netplug_apply(plan, w.net.pod, w.net.path, 1, w.pod.journal, port, &n, &e),
		      "%s", e.text);
	for (i = 0; i < n; i++) {
		ck_assert_int_eq(plug_nic(&port[i], &e), 0);
		netplug_port_close(&port[i]);
	}
	back = enter_guest();
	ck_assert_msg(!net_setup(netplug_plan_network(plan), &e), "%s", e.text);
	leave_guest(back);
	netwatch_begin(&w.pod, plan, port, n);
}

/* What the pod's end undoes; the namespace is then as nobody had joined it. */
static void end(void)
{
	_cleanup_free_ char *left = NULL;
	struct err e = { 0 };

	netwatch_done(&w.pod);
	w.silent = false;
	w.fails = 0;
	while (w.n_nics)
		fake_remove(&w.pod, w.nic[0].mac, &e);
	ck_assert_msg(!journal_undo(w.pod.journal, undo, NULL, &e), "%s", e.text);
	kit_net_enter(w.net.pod);
	left = kit_output("ip -o link show type tun; tc qdisc | grep ingress || :");
	ck_assert_str_eq(left, "");
	journal_free(w.pod.journal);
	loop_free(w.pod.loop);
	close(w.pod.dirfd);
	ck_assert_int_eq(dir_remove(AT_FDCWD, w.dir, &e), 0);
}

/* Until nothing has happened for a while: in the supervisor's own time. */
static void settle(void)
{
	struct err e = { 0 };
	int n;

	do {
		n = loop_step(w.pod.loop, 2 * SETTLE_MS, &e);
		ck_assert_int_ge(n, 0);
	} while (n);
}

/* A round now. Return: whether there was something to hear of before */
static bool go_round(void)
{
	bool heard = netplug_watch_read(w.pod.netwatch->watch);

	if (heard)
		on_timer(w.pod.netwatch, 0);
	return heard;
}

/* What of a namespace the guest must have, in the words of ip(8). */
static char *view(int netns)
{
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	char *text;

	kit_net_enter(netns);
	text = kit_output("{ ip -o link | grep -v 'tap[0-9]\\|: lo:' | sed 's/^[0-9]*: "
			  "\\([^:@]*\\).* mtu \\([0-9]*\\).*qlen \\([0-9]*\\).*ether \\([^ ]*\\).*/"
			  "\\1 \\2 \\3 \\4/' | sort; ip -o addr | sed 's/^[0-9]*: //' | sort -s -k1,1; "
			  "ip -4 -d route show table all | grep -v 'table local\\| tap' | sort; "
			  "ip -6 -d route show table all | grep -v 'table local\\| tap' | sort; "
			  "ip rule; ip -6 rule; ip neigh show nud permanent | grep -v tap | sort; "
			  "} | sed 's/ nodad//; s/ tentative//; s/ proto kernel_ll//; "
			  "s/[0-9][0-9]sec/sec/g; s/ linkdown//; s/ dynamic//; s/ noprefixroute//'");
	kit_net_enter(back);
	close(back);
	return text;
}

/* Some time after a change both are the same: carriers and what hangs on them take a while. */
static void same(void)
{
	unsigned int tries;

	for (tries = 0;; tries++) {
		_cleanup_free_ char *pod = NULL, *guest = NULL;

		while (go_round())
			;
		pod = view(w.net.pod);
		guest = view(w.guest);
		if (!strcmp(pod, guest))
			return;
		if (tries > 100)
			kit_same_text(guest, pod);
		usleep(10000);
	}
}

/* Changes of a running pod; each step must come out the same, and then rest. */
static const struct {
	const char *step[5];
	unsigned int adds, removes;
} rows[] = {
	{ .step = { "ip addr add 10.2.0.2/24 dev eth0", "ip addr add 2001:db8:2::2/64 dev eth0 nodad",
	    "ip addr del 10.2.0.2/24 dev eth0 && ip addr del 2001:db8:2::2/64 dev eth0" } },
	/* What the kernel takes along, and what it promotes. */
	{ .step = { "ip addr add 10.1.0.3/24 dev eth0 && ip route add 10.5.0.0/16 via 10.1.0.1 src 10.1.0.3",
	    "ip addr del 10.1.0.2/24 dev eth0",
	    "ip addr add 10.1.0.7/24 dev eth0 && ip route add default via 10.1.0.1" } },
	{ .step = { "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1 && ip addr add 10.1.0.3/24 dev eth0",
	    "ip addr del 10.1.0.2/24 dev eth0" } },
	/* From one address to another, with the way out. */
	{ .step = { "ip addr flush dev eth0 scope global && ip addr add 10.9.0.2/16 dev eth0 && "
	    "ip route add default via 10.9.0.1 mtu 1400 advmss 1000" } },
	{ .step = { "ip route add 10.5.0.0/16 via 10.1.0.1 mtu 1400", "ip route change 10.5.0.0/16 via 10.1.0.1 mtu 1300",
	    "ip route replace 10.5.0.0/16 via 10.1.0.9", "ip route del 10.5.0.0/16" } },
	{ .step = { "ip -6 route add 2001:db8:5::/64 via 2001:db8::1 mtu 1400",
	    "ip -6 route replace 2001:db8:5::/64 via 2001:db8::1 mtu 1300",
	    "ip -6 route replace 2001:db8:5::/64 via 2001:db8::9", "ip -6 route flush via 2001:db8::9" } },
	{ .step = { "ip route add 10.5.0.0/16 nexthop via 10.1.0.1 nexthop via 10.1.0.3 weight 5",
	    "ip route replace 10.5.0.0/16 nexthop via 10.1.0.4 nexthop via 10.1.0.3 weight 5 && "
	    "ip route add blackhole 10.6.0.0/16 && ip route add default via 10.1.0.1 table 9",
	    "ip route flush table 9 && ip route del 10.5.0.0/16 && ip route del blackhole 10.6.0.0/16" } },
	/* Rules, and their order among equals; the kernel's own. */
	{ .step = { "ip rule add from 10.1.0.2 table 7 pref 5 && ip rule add to 10.9.0.0/16 table 8 pref 5",
	    "ip rule del from 10.1.0.2 table 7 pref 5 && ip rule add from 10.1.0.2 table 7 pref 5",
	    "ip rule add fwmark 5 table 9 pref 5 && ip -6 rule add fwmark 5 table 9 pref 5",
	    "ip rule del pref 32767 && ip rule del fwmark 5 table 9 pref 5",
	    "ip rule add table default pref 32767 && ip -6 rule del pref 5" } },
	{ .step = { "ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
	    "ip neigh change 10.1.0.9 lladdr 02:00:00:00:00:0a dev eth0 nud permanent",
	    "ip neigh del 10.1.0.9 dev eth0" } },
	{ .step = { "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500 txqueuelen 50" } },
	/* More than the machine's device can: it is plugged anew. */
	{ .step = { "ip link set eth0 mtu 9000" }, .adds = 1, .removes = 1 },
	{ .step = { "ip link set eth0 down && ip link set eth0 address 02:00:00:00:00:77 up && "
	    "ip route add default via 10.1.0.1" }, .adds = 1, .removes = 1 },
	{ .step = { "ip link set eth0 down && ip link set eth0 name net.0 up && "
	    "ip route add default via 10.1.0.1",
	    "ip link set net.0 down && ip link set net.0 name podvm0 up" } },
	/* The kernel's own routes of an address. */
	{ .step = { "ip route del 10.1.0.0/24", "ip route add 10.1.0.0/24 dev eth0 proto kernel scope link src 10.1.0.2",
	    "ip addr add 2001:db8:2::2/64 dev eth0 nodad noprefixroute",
	    "ip addr change 2001:db8:2::2/64 dev eth0 nodad" } },
	{ .step = { "ip addr change 10.1.0.2/24 brd + dev eth0 valid_lft 90050 preferred_lft 80050",
	    "ip addr change 10.1.0.2/24 dev eth0 valid_lft forever preferred_lft forever",
	    "ip addr change 2001:db8::2/64 dev eth0 valid_lft 90050 preferred_lft 0" } },
	{ .step = { "ip -6 addr flush dev eth0 scope link", "ip addr add fe80::99/64 dev eth0 nodad",
	    "ip addr del fe80::99/64 dev eth0 && ip addr add fe80::ff:fe00:2/64 dev eth0 nodad" } },
	/* Interfaces that come and go. */
	{ .step = { "ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 address "
	    "02:00:00:00:01:01 && ip addr add 10.8.0.2/24 dev eth1 && "
	    "sysctl -qw net.ipv6.conf.eth1.accept_dad=0 net.ipv4.conf.eth1.rp_filter=2 && "
	    "ip link set eth1 up",
	    "ip route add 10.7.0.0/16 via 10.8.0.1 && "
	    "ip route add 10.6.0.0/16 nexthop via 10.8.0.1 nexthop via 10.1.0.1 && "
	    "ip rule add iif eth1 table 8 pref 70",
	    "ip link del eth1 && ip rule del pref 70",
	    "ip link add eth1 type veth peer name h1 netns $HOST && ip link set "
	    "eth1 up && ip addr add 10.8.0.2/24 dev eth1 && ip route add 10.7.0.0/16 via 10.8.0.1" },
	  .adds = 2, .removes = 1 },
	/* Another one under its name, between two looks. */
	{ .step = { "ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 up && "
	    "ip addr add 10.8.0.2/24 dev eth1 && ip route add 10.7.0.0/16 via 10.8.0.1",
	    "ip link del eth1 && ip link add eth1 type veth peer name h1 netns $HOST && "
	    "ip link set eth1 up && ip addr add 10.8.0.2/24 dev eth1 && "
	    "ip route add 10.7.0.0/16 via 10.8.0.1" }, .adds = 2, .removes = 1 },
	/* All of it goes; another way in. */
	{ .step = { "ip link del eth0", "ip link add eth0 type veth peer name h0 netns $HOST && "
	    "ip link set eth0 up && " POD_ADDRESSES }, .adds = 1, .removes = 1 },
	/* Somebody takes away what joins it. */
	{ .step = { "tc qdisc del dev eth0 ingress && ip addr add 10.2.0.2/24 dev eth0" }, .adds = 1, .removes = 1 },
};

START_TEST(follows)
{
	unsigned int calls;
	size_t i;

	begin();
	on_timer(w.pod.netwatch, 0);
	same();
	ck_assert_uint_eq(w.calls, 0);
	for (i = 0; i < 5 && rows[_i].step[i]; i++) {
		kit_run_in(w.net.pod, "HOST=/proc/%d/fd/%d; %s", getpid(), w.net.host,
			   rows[_i].step[i]);
		kit_run_in(w.net.host, "for l in h0 h1; do ip link set $l up 2> /dev/null; done; :");
		same();
	}
	calls = w.calls;
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_eq(w.calls, calls);
	ck_assert_uint_eq(w.adds, rows[_i].adds);
	ck_assert_uint_eq(w.removes, rows[_i].removes);
	end();
}
END_TEST

static void in_pod(const char *cmd)
{
	kit_run_in(w.net.pod, "HOST=/proc/%d/fd/%d; %s", getpid(), w.net.host, cmd);
}

static char *journal_text(void)
{
	struct err e = { 0 };
	char *text = NULL;

	ck_assert_int_eq(file_read(w.pod.dirfd, "journal", 1 << 20, &text, NULL, &e), 0);
	return text;
}

/* By the loop itself; what comes and goes leaves nothing, in the journal either. */
START_TEST(flaps)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	int i;

	begin();
	settle();
	before = journal_text();
	for (i = 0; i < 3; i++) {
		in_pod("ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 up && "
		       "ip addr add 10.8.0.2/24 dev eth1");
		settle();
		ck_assert_uint_eq(w.n_nics, 2);
		in_pod("ip link del eth1");
		settle();
		ck_assert_uint_eq(w.n_nics, 1);
	}
	same();
	/* Too fast to be seen. */
	for (i = 0; i < 20; i++)
		in_pod("ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 up && "
		       "ip link del eth1");
	settle();
	same();
	ck_assert_uint_eq(w.n_nics, 1);
	after = journal_text();
	kit_same_text(after, before);
	end();
}
END_TEST

/* What was put there before a container starts is in the guest at once; else nothing is done. */
START_TEST(settles)
{
	_cleanup_free_ char *guest = NULL;
	unsigned int adds, calls;

	begin();
	settle();
	in_pod("ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 up && "
	       "ip addr add 10.8.0.2/24 dev eth1");
	netwatch_settle(&w.pod);
	ck_assert_uint_eq(w.n_nics, 2);
	guest = view(w.guest);
	ck_assert_ptr_nonnull(strstr(guest, "10.8.0.2/24"));
	settle();
	adds = w.adds;
	calls = w.calls;
	netwatch_settle(&w.pod);
	ck_assert_uint_eq(w.adds, adds);
	ck_assert_uint_eq(w.calls, calls);
	/* Nobody waits for an agent that owes an answer. */
	in_pod("ip addr add 10.8.0.3/24 dev eth1");
	w.pod.agent.owed = 1;
	netwatch_settle(&w.pod);
	ck_assert_uint_eq(w.calls, calls);
	w.pod.agent.owed = 0;
	netwatch_settle(&w.pod);
	ck_assert_uint_eq(w.calls, calls + 1);
	same();
	end();
	/* Fine when nothing is watched. */
	netwatch_settle(&w.pod);
}
END_TEST

/*
 * Docker writes its DNS stub into the resolv.conf of a running container when that gets its
 * first network with names: each round has the relay look at all of them.
 */
START_TEST(looks_for_the_stub)
{
	struct container first = { 0 }, c = { .next = &first };
	unsigned int looked;

	begin();
	w.pod.containers = &c;
	settle();
	looked = w.looked;
	in_pod("ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 up");
	settle();
	ck_assert_uint_ge(w.looked, looked + 2);
	ck_assert_ptr_eq(w.last_looked, &first);
	end();
}
END_TEST

/* More than a pod can have: the first are joined, and another when there is room. */
START_TEST(too_many)
{
	begin();
	in_pod("for i in $(seq 50); do ip link add n$i type veth peer name m$i netns $HOST && "
	       "ip link set n$i up || exit 1; done");
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_eq(w.n_nics, NETPLUG_PORTS_MAX);
	ck_assert_uint_eq(w.pod.netwatch->n_said, SAID_MAX);
	in_pod("ip link del n3");
	while (go_round())
		;
	ck_assert_uint_eq(w.n_nics, NETPLUG_PORTS_MAX);
	in_pod("for i in 1 2 $(seq 4 50); do ip link del n$i; done");
	same();
	ck_assert_uint_eq(w.n_nics, 1);
	end();
}
END_TEST

/* One that cannot be joined is left out, with all that leads over it; the rest goes on. */
static const struct {
	const char *cmd, *why;
} left_out[] = {
	{ "ip link add d0 type bridge && ip link set d0 up && ip addr add 10.8.0.1/24 dev d0",
	  "interface d0: kind bridge" },
	{ "ip addr add 10.7.7.7/32 dev lo", "interface lo: address 10.7.7.7/32" },
	{ "ip rule add iif nope table 5", "it asks for interface \"nope\"" },
	{ "ip route add 10.3.0.0/16 encap ip id 5 dst 10.1.0.1 dev eth0", "encapsulation" },
	{ "ip neigh add proxy 10.1.0.77 dev eth0", "neighbour proxy for 10.1.0.77" },
};

START_TEST(leaves_out)
{
	_cleanup_free_ char *guest = NULL;

	begin();
	in_pod(left_out[_i].cmd);
	in_pod("ip addr add 10.2.0.2/24 dev eth0");
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_ge(w.pod.netwatch->n_said, 1);
	ck_assert_msg(strstr(w.pod.netwatch->said[0], left_out[_i].why), "%s",
		      w.pod.netwatch->said[0]);
	guest = view(w.guest);
	ck_assert_ptr_nonnull(strstr(guest, "10.2.0.2/24"));
	ck_assert_uint_eq(w.n_nics, 1);
	end();
}
END_TEST

/* Guests that fail, lie or stay silent: tried again, later; nobody waits for them twice. */
START_TEST(guest_fails)
{
	begin();
	on_timer(w.pod.netwatch, 0);
	w.fails = 1;
	in_pod("ip addr add 10.2.0.2/24 dev eth0");
	on_timer(w.pod.netwatch, 0);
	ck_assert(!w.pod.netwatch->sure);
	ck_assert_uint_eq(w.pod.netwatch->wait_ms, RETRY_MS);
	in_pod("ip addr add 10.3.0.2/24 dev eth0 && ip addr del 10.2.0.2/24 dev eth0");
	on_timer(w.pod.netwatch, 0);
	same();
	/* A new interface that the guest does not take. */
	w.fails = 1;
	in_pod("ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 up");
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_eq(w.n_nics, 1);
	while (go_round())
		;
	ck_assert_uint_eq(w.adds, 1);
	w.pod.netwatch->apart[0].until_ms = 0;
	on_timer(w.pod.netwatch, 0);
	same();
	ck_assert_uint_eq(w.n_nics, 2);
	/* One that it does not let go of. */
	w.fails = 1;
	in_pod("ip link del eth1");
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_eq(w.n_nics, 2);
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_eq(w.n_nics, 1);
	/* No answer at all: not asked again while it owes one. */
	w.silent = true;
	in_pod("for i in 1 2 3; do ip link add e$i type veth peer name f$i netns $HOST && "
	       "ip link set e$i up; done");
	w.adds = w.removes = w.calls = 0;
	on_timer(w.pod.netwatch, 0);
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_eq(w.adds, 1);
	ck_assert_uint_le(w.calls, 1);
	end();
}
END_TEST

/* The namespace's path goes: what is there stays, and nothing more can be joined. */
START_TEST(path_goes)
{
	begin();
	strcpy(w.pod.netwatch->path, "/nope");
	in_pod("ip link add eth1 type veth peer name h1 netns $HOST && ip link set eth1 up && "
	       "ip addr add 10.2.0.2/24 dev eth0");
	on_timer(w.pod.netwatch, 0);
	ck_assert_uint_eq(w.n_nics, 1);
	ck_assert_uint_eq(w.calls, 1);
	in_pod("ip link del eth1");
	same();
	end();
}
END_TEST

/* Memory that is short at any point of a comparison is an error, and nothing is lost. */
START_TEST(no_memory)
{
	struct netplug_plan *next = NULL;
	struct netplug_diff d;
	struct err e = { 0 };
	unsigned int n;

	begin();
	in_pod("ip addr flush dev eth0 scope global && ip addr add 10.3.0.2/24 dev eth0 && "
	       "ip route add default via 10.3.0.1 && ip rule add table 7 pref 7 && "
	       "ip neigh add 10.3.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent");
	ck_assert_int_eq(netplug_plan_again(w.net.pod, w.pod.netwatch->plan, NULL, 0, &next, &e),
			 0);
	for (n = 1;; n++) {
		int rc;

		kit_fault_arm(KIT_FAULT_MEMORY, n, ENOMEM);
		rc = netplug_diff(w.pod.netwatch->plan, next, true, &d, &e);
		kit_fault_arm(0, 0, 0);
		if (!rc)
			break;
		ck_assert_int_eq(rc, -ENOMEM);
	}
	ck_assert_uint_gt(n, 10);
	ck_assert_uint_eq(d.remove.n_links, 1);
	ck_assert_uint_eq(d.remove.links[0]->n_addresses, 2);
	ck_assert_uint_eq(d.add.n_neighbours, 1);
	netplug_diff_done(&d);
	netplug_plan_free(next);
	end();
}
END_TEST

/* ---- whatever comes --------------------------------------------------------------------- */

#define RANDOM_STEPS 12

/*
 * No gateway is an address of the pod's own: once that has gone, the kernel takes the same
 * route for another one, so that the guest, which is told it again, has it twice.
 */
static const char *const anything[] = {
	"ip addr add 10.%u.0.2/24 dev eth0", "ip addr del 10.%u.0.2/24 dev eth0",
	"ip addr add 2001:db8:%u::2/64 dev eth0 nodad", "ip addr del 2001:db8:%u::2/64 dev eth0",
	"ip addr add 10.1.0.1%u/24 dev eth0", "ip addr del 10.1.0.1%u/24 dev eth0",
	"ip addr del 10.1.0.2/24 dev eth0; : %u", "ip addr add 10.1.0.2/24 brd + dev eth0; : %u",
	"ip route add 10.20%u.0.0/16 via 10.1.0.1", "ip route del 10.20%u.0.0/16",
	"ip route add 10.20%u.0.0/16 via 10.1.0.1 table 7%u mtu 1300", "ip route flush table 7%u",
	"ip -6 route add 2001:db8:f%u::/64 via 2001:db8::1", "ip -6 route del 2001:db8:f%u::/64",
	"ip route replace default via 10.1.0.3%u", "ip rule add from 10.%u.0.0/16 table 7 pref 7",
	"ip rule del from 10.%u.0.0/16 table 7 pref 7", "ip rule add to 10.%u.0.0/16 table 8 pref 7",
	"ip neigh replace 10.1.0.%u lladdr 02:00:00:00:0%u:01 dev eth0 nud permanent",
	"ip neigh del 10.1.0.%u dev eth0", "ip link set eth0 mtu 140%u",
	"ip link add n%u type veth peer name m%u netns $HOST && ip link set n%u up && "
	"ip addr add 10.10%u.0.2/24 dev n%u",
	"ip link del n%u", "ip addr add 10.11%u.0.2/24 dev n%u",
	"ip route add 10.30%u.0.0/16 via 10.10%u.0.1",
	"ip link set eth0 down; ip link set eth0 up; : %u",
	"ip link set n%u down && ip link set n%u name o%u && ip link set o%u up",
	"ip link set n%u down", "ip link set n%u up", "ip link del o%u",
};

START_TEST(anything_comes)
{
	unsigned int i, n, k;
	char cmd[256];

	srandom((unsigned int)kit_seed("runtime_netwatch"));
	begin();
	for (i = 0; i < RANDOM_STEPS; i++) {
		/* Some at once. */
		for (k = (unsigned int)random() % 3 + 1; k--;) {
			const char *c = anything[(unsigned int)random() % ARRAY_LEN(anything)];

			n = (unsigned int)random() % 4 + 2;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(cmd, sizeof(cmd), c, n, n, n, n, n);
#pragma GCC diagnostic pop
			kit_run_in(w.net.pod, "HOST=/proc/%d/fd/%d; { %s; } 2> /dev/null || :",
				   getpid(), w.net.host, cmd);
		}
		kit_run_in(w.net.host, "for i in h0 m2 m3 m4 m5; do ip link set $i up 2> /dev/null; "
			   "done; :");
		same();
	}
	end();
}
END_TEST

Suite *runtime_netwatch_suite(void)
{
	Suite *s = suite_create("runtime_netwatch");
	TCase *t = tcase_create("netns");
	const char *missing = kit_net_missing(true);

	if (missing) {
		kit_skip("runtime_netwatch", missing);
		return s;
	}
	tcase_add_loop_test(t, follows, 0, ARRAY_LEN(rows));
	tcase_add_test(t, flaps);
	tcase_add_test(t, settles);
	tcase_add_test(t, looks_for_the_stub);
	tcase_add_test(t, too_many);
	tcase_add_loop_test(t, leaves_out, 0, ARRAY_LEN(left_out));
	tcase_add_test(t, guest_fails);
	tcase_add_test(t, path_goes);
	tcase_add_test(t, no_memory);
	tcase_add_test(t, anything_comes);
	tcase_set_timeout(t, 40);
	suite_add_tcase(s, t);
	return s;
}
