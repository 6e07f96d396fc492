// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Faults of a pod's network, each made with ip(8), tc(8) and their like in network
 * namespaces of this machine, found and named by check, and mended by running the
 * command that it prints, after which it finds nothing.
 *
 * Three namespaces: the host's, with a bridge; the pod's, joined by netplug_apply();
 * and one that stands for the guest, in which the agent's own code gives and tells
 * the network. A fake supervisor leads to it. "podvm exec" is played by a shell
 * function; "podvm-netplug" is the command's own function.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "netplug/check.h"
#include "netplug/cmd.h"
#include "tests/kit/fakepod.h"
#include "tests/kit/guestns.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_check_suite(void);

/* What one mended may uncover another: so often check may find something. */
#define ROUNDS 5

#define MAC "02:00:00:00:00:02"

static struct kit_net net;
static struct guestns guest;
static struct fakepod pod;
static struct netplug_port port[NETPLUG_PORTS_MAX];
static size_t n_ports;
static char place[] = "/run/netns/cni-1";

/* What the shell knows in front of every command. */
static char prelude[1200];

static void run(const char *cmd)
{
	kit_run("%s%s", prelude, cmd);
}

static void make_guest(void)
{
	ck_assert(!unshare(CLONE_NEWNET));
	guest.netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static void make_prelude(void)
{
	snprintf(prelude, sizeof(prelude),
		 "set -e; POD=/proc/%d/fd/%d; GUEST=/proc/%d/fd/%d; ROOT=%s; "
		 "pod() { nsenter --net=$POD \"$@\"; }; guest() { nsenter --net=$GUEST \"$@\"; }; "
		 "podvm() { while [ \"$1\" != exec ]; do shift; done; shift 2; guest \"$@\"; }; "
		 "TAP=tap2; ",
		 getpid(), net.pod, getpid(), guest.netns, pod.root);
}

static void make_host(void)
{
	kit_net_enter(net.host);
	run("guest ip -batch - << END\nlink set lo up\nlink add eth0 address " MAC " type veth peer name x0\n"
	    "link set x0 up\nEND\n"
	    "mkdir -p /run/netns && mount -t tmpfs netns /run/netns && touch /run/netns/cni-1 && "
	    "mount --bind $POD /run/netns/cni-1 && echo nameserver 192.0.2.53 > $ROOT/resolv.conf && "
	    "mount --bind $ROOT/resolv.conf /etc/resolv.conf && "
	    "ip -batch - << END\nlink add br0 type bridge\nlink set br0 up\nlink set h0 master br0\n"
	    "addr add 10.1.0.1/24 dev br0\naddr add 2001:db8::1/64 dev br0 nodad\n"
	    "link add d0 type veth peer name d1\nlink set d0 up\nlink set d1 up\nEND\n"
	    "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
	    "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.br0.rp_filter=0 && "
	    "pod ip -batch - << END\nlink set eth0 down\nlink set eth0 address " MAC "\nlink set eth0 up\n"
	    "addr add 10.1.0.2/24 dev eth0\naddr add 2001:db8::2/64 dev eth0 nodad\n"
	    "route add default via 10.1.0.1\nroute add default via 2001:db8::1\nEND");
}

/* What the whole place looks like before a fault: joined, and the guest is as the pod. */
static void join(void)
{
	struct netplug_plan *p = NULL;
	struct journal *j = NULL;
	struct err e = { 0 };

	ck_assert_msg(!netplug_plan(net.pod, NULL, &p, &e), "%s", e.text);
	ck_assert_str_eq(p->port[0].tap, "tap2");
	ck_assert(!journal_open(AT_FDCWD, "/dev/null", &j, &e));
	ck_assert_msg(!netplug_apply(p, net.pod, net.path, 1, j, port, &n_ports, &e), "%s", e.text);
	journal_free(j);
	guestns_give(guest.netns, netplug_plan_network(p));
	netplug_plan_free(p);
}

static void setup(void)
{
	ck_assert(!unshare(CLONE_NEWNS));
	ck_assert(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	kit_net_new(&net);
	fakepod_init(&pod, net.pod);
	pod.agent = guestns_agent;
	pod.arg = &guest;
	make_guest();
	make_prelude();
	make_host();
	pod.network.netns_path = place;
}

static void teardown(void)
{
	while (n_ports)
		netplug_port_close(&port[--n_ports]);
	fakepod_stop(&pod);
	guestns_done(&guest);
}

/* ---- check, and what it says --------------------------------------------------- */

static struct json_doc *doc;
static struct jnode root, findings;

/* Return: findings that are no notes */
static size_t check(const char *word)
{
	struct target t = TARGET_INIT;
	struct err e = { 0 };
	char *text = NULL;
	uint64_t errors = 0, warnings = 0;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int rc;

	t.word = word;
	t.root = pod.root;
	t.json = true;
	kit_net_enter(net.host);
	rc = check_run(&t, f, &e);
	ck_assert_msg(rc >= 0, "%s", e.text);
	fclose(f);
	fputs(text, stderr);
	if (doc)
		json_free(doc);
	ck_assert_msg(!json_parse(text, len, &doc, &e), "%s", e.text);
	free(text);
	root = json_root(doc);
	ck_assert_int_eq(json_u64(&root, "errors", &errors, &e), 1);
	ck_assert_int_eq(json_u64(&root, "warnings", &warnings, &e), 1);
	ck_assert_int_eq(json_arr(&root, "findings", &findings, &e), 1);
	ck_assert_int_eq(rc, errors + warnings > 0);
	return errors + warnings;
}

static const char *field(size_t i, const char *key)
{
	struct jnode f = json_at(&findings, i);
	const char *v = "";
	struct err e;

	ck_assert_int_ge(json_str(&f, key, &v, &e), 0);
	return v;
}

static bool found(const char *code)
{
	size_t i;

	for (i = 0; i < json_len(&findings); i++)
		if (!strcmp(field(i, "code"), code)) {
			ck_assert_str_ne(field(i, "text"), "");
			ck_assert_str_ne(field(i, "mend"), "");
			return true;
		}
	return false;
}

/* podvm-netplug's own commands, by their functions. */
static void netplug_command(char *cmd)
{
	char *argv[8], *rest;
	int n = 0;

	for (cmd = strtok_r(cmd, " ", &rest); cmd && n < 8; cmd = strtok_r(NULL, " ", &rest))
		argv[n++] = cmd;
	ck_assert(n > 1);
	ck_assert_str_eq(argv[1], "sync");
	ck_assert_int_eq(cmd_sync(n - 1, argv + 1), 0);
}

static void run_mend(const char *mend)
{
	_cleanup_free_ char *copy = strdup(mend);
	char *at = copy, *end;

	for (; at; at = end) {
		end = strstr(at, " && ");
		if (end) {
			*end = 0;
			end += 4;
		}
		if (!strncmp(at, "podvm-netplug ", 14))
			netplug_command(at);
		else
			run(at);
	}
}

/* Runs what was printed until nothing is found. */
static void mend_all(const char *word)
{
	size_t i, k, round;

	for (round = 0; round < ROUNDS; round++) {
		char *mends[32];
		size_t n = json_len(&findings), m = 0;

		for (i = 0; i < n && m < 32; i++) {
			if (!strcmp(field(i, "severity"), "note"))
				continue;
			/* One command may mend several. */
			for (k = 0; k < m && strcmp(mends[k], field(i, "mend")); k++)
				;
			if (k == m)
				mends[m++] = strdup(field(i, "mend"));
		}
		for (i = 0; i < m; i++) {
			fprintf(stderr, "+ %s\n", mends[i]);
			run_mend(mends[i]);
			free(mends[i]);
		}
		if (!check(word))
			return;
	}
	ck_abort_msg("not mended by what was printed");
}

/* ---- faults ---------------------------------------------------------------------- */

#define PLAIN 0
#define ALONE 1		/* no pod is known */
#define BEFORE 2	/* the fault keeps the namespace from being joined */
#define LEFT 4		/* the machine has ended, and its tap has stayed */

static const struct {
	const char *code, *make;
	int how;
} faults[] = {
	{ "lo-down", "pod ip link set lo down", PLAIN },
	{ "link-down", "pod ip link set eth0 down", PLAIN },
	{ "tap-down", "pod ip link set $TAP down", PLAIN },
	{ "tap-no-machine", "pod ip link show $TAP", ALONE | LEFT },
	{ "tap-mtu", "pod ip link set $TAP mtu 1400", PLAIN },
	{ "tap-qdisc", "pod tc qdisc replace dev $TAP root pfifo", PLAIN },
	{ "tap-queue", "pod ip link set $TAP txqueuelen 0", PLAIN },
	{ "tap-orphan", "pod ip tuntap add dev tap99 mode tap && pod ip link set tap99 alias podvm:eth9",
	  PLAIN },
	{ "filter-missing", "pod tc filter del dev eth0 ingress", PLAIN },
	{ "filter-missing", "pod tc qdisc del dev eth0 ingress", PLAIN },
	{ "filter-missing-back", "pod tc filter del dev $TAP ingress", PLAIN },
	{ "filter-missing-back", "pod tc qdisc del dev $TAP ingress", PLAIN },
	{ "filter-elsewhere", "pod tc filter del dev eth0 ingress && pod tc filter add dev eth0 ingress "
	  "pref 1 protocol all u32 match u32 0 0 action mirred egress redirect dev lo "
	  "cookie 706f64766d2d6e6574706c7567", PLAIN },
	{ "filter-foreign", "pod tc filter add dev eth0 ingress pref 5 protocol ip u32 match u32 0 0 "
	  "classid 1:1", PLAIN },
	{ "peer-down", "ip link set h0 down", PLAIN },
	{ "peer-mtu", "ip link set h0 mtu 1400", PLAIN },
	{ "peer-alone", "ip link set h0 nomaster", PLAIN },
	{ "bridge-down", "ip link set br0 down", PLAIN },
	{ "bridge-mtu", "ip link set br0 mtu 1300", PLAIN },
	{ "port-state", "bridge link set dev h0 state 0", PLAIN },
	{ "way-back", "ip route add 10.1.0.2/32 dev d0", PLAIN },
	{ "way-back", "ip -6 route add unreachable 2001:db8::2/128 metric 1024", PLAIN },
	{ "rp-filter", "ip route add 10.1.0.2/32 dev d0 && sysctl -qw net.ipv4.conf.br0.rp_filter=1",
	  PLAIN },
	{ "ip-forward", "sysctl -qw net.ipv4.ip_forward=0", PLAIN },
	{ "ip6-forward", "sysctl -qw net.ipv6.conf.all.forwarding=0", PLAIN },
	{ "gateway-gone", "ip addr del 10.1.0.1/24 dev br0", PLAIN },
	{ "gateway-gone", "ip addr del 2001:db8::1/64 dev br0", PLAIN },
	{ "no-default-route", "pod ip route del default", PLAIN },
	{ "address-duplicate", "ip addr add 10.1.0.2/24 dev d0", PLAIN },
	{ "mac-duplicate", "ip link set d1 address " MAC, PLAIN },
	{ "neighbour-wrong", "ip neigh replace 10.1.0.2 lladdr 02:00:00:00:00:99 dev br0 nud permanent",
	  PLAIN },
	{ "address-taken", "ip neigh replace 10.1.0.2 lladdr 02:00:00:00:00:99 dev d0 nud reachable", PLAIN },
	{ "mac-elsewhere", "ip link set d0 master br0 && bridge fdb replace " MAC " dev d0 master static sticky",
	  PLAIN },
	{ "forward-drop", "nft add table ip filter && nft 'add chain ip filter FORWARD "
	  "{ type filter hook forward priority 0; policy drop; }'", PLAIN },
	{ "forward-drop", "iptables -P FORWARD DROP", PLAIN },
	{ "conntrack-full", "mount -t tmpfs t /proc/sys/net/netfilter && "
	  "echo 990 > /proc/sys/net/netfilter/nf_conntrack_count && "
	  "echo 1000 > /proc/sys/net/netfilter/nf_conntrack_max", PLAIN },
	{ "host-ipv6-off", "sysctl -qw net.ipv6.conf.br0.disable_ipv6=1", PLAIN },
	{ "offload-off", "ethtool -K h0 tx off", PLAIN },
	{ "offload-off", "pod ethtool -K eth0 tso off", PLAIN },
	{ "dad-failed", "ip addr add 2001:db8::3/64 dev br0 nodad && "
	  "pod sysctl -qw net.ipv6.conf.eth0.router_solicitation_delay=0 && "
	  "pod ip addr add 2001:db8::3/64 dev eth0 && "
	  "until pod ip addr show dev eth0 | grep -q dadfailed; do sleep 0.05; done", BEFORE },
	{ "netns-moved", "umount /run/netns/cni-1 && mount --bind $GUEST /run/netns/cni-1", PLAIN },
	{ "netns-moved", "umount /run/netns/cni-1 && rm /run/netns/cni-1", PLAIN },
	{ "guest-no-link", "guest ip link set eth0 address 02:00:00:00:00:98", PLAIN },
	{ "guest-link-down", "guest ip link set eth0 down", PLAIN },
	{ "guest-name", "guest ip link set eth0 down && guest ip link set eth0 name net0", PLAIN },
	{ "guest-mtu", "guest ip link set eth0 mtu 1400", PLAIN },
	{ "guest-mtu", "pod ip link set eth0 mtu 1400", PLAIN },
	{ "guest-ipv6-off", "guest sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", PLAIN },
	{ "guest-address", "guest ip addr del 10.1.0.2/24 dev eth0", PLAIN },
	{ "guest-address", "pod ip addr add 10.7.0.1/16 dev eth0", PLAIN },
	{ "guest-address-extra", "guest ip addr add 10.7.0.1/16 dev eth0", PLAIN },
	{ "guest-route", "guest ip route del default", PLAIN },
	{ "guest-route", "pod ip route add 10.9.0.0/16 via 10.1.0.1 mtu 1300", PLAIN },
	{ "guest-route-extra", "guest ip route add 10.9.0.0/16 via 10.1.0.1 table 7 metric 5", PLAIN },
	{ "guest-rule", "pod ip rule add from 10.1.0.2 table 100 pref 90", PLAIN },
	{ "guest-rule-extra", "guest ip -6 rule add from 2001:db8::2 table 100 pref 90", PLAIN },
	{ "guest-neighbour", "pod ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
	  PLAIN },
	{ "guest-gateway", "guest ip neigh replace 10.1.0.1 dev eth0 nud failed", PLAIN },
	{ "guest-offload", "guest ethtool -K eth0 tx off", PLAIN },
	{ "dns-none", "echo '#nameserver 192.0.2.1' > $ROOT/resolv.conf", PLAIN },
};

/* The machine has ended without its tap. */
static void leave_tap(void)
{
	ck_assert(!ioctl(port[0].tap_fd[0], TUNSETPERSIST, 1));
	while (n_ports)
		netplug_port_close(&port[--n_ports]);
}

START_TEST(found_and_mended)
{
	const char *word = faults[_i].how & (ALONE | BEFORE) ? place : "web-0";

	if (!(faults[_i].how & BEFORE)) {
		join();
		if (!(faults[_i].how & ALONE))
			fakepod_start(&pod, "web-0");
		ck_assert_uint_eq(check(word), 0);
	}
	if (faults[_i].how & LEFT)
		leave_tap();
	run(faults[_i].make);
	ck_assert_uint_ne(check(word), 0);
	ck_assert_msg(found(faults[_i].code), "%s is not found", faults[_i].code);
	mend_all(word);
}
END_TEST

/* ---- what only a real pod can mend, and notes ------------------------------------- */

static char mac[] = MAC;
static Podvm__Pod__NetDevice device, *devices[] = { &device };

static void make_silent(void)
{
	guest.silent = true;
}

static void make_dead(void)
{
	pod.agent = NULL;
}

static void make_broken(void)
{
	device.status = 64 | 15;
}

static void make_late(void)
{
	run("pod ip link add late0 type veth peer name late1 && pod ip link set late0 up");
}

static void make_empty(void)
{
	run("pod ip link del eth0");
}

/* A supervisor that was killed: its socket is there, and nobody listens. */
static void make_stale(void)
{
	run("mkdir $ROOT/pods/dead && cd $ROOT/pods/dead && echo tap > journal && "
	    "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_SEQPACKET, 0); bind(S, sockaddr_un(\"control.sock\"))'");
}

static void make_slow(void)
{
	pod.network.vhost_wanted = true;
}

static const struct {
	const char *code;
	void (*make)(void);
	const char *mend;
} told[] = {
	{ "guest-silent", make_silent, "podvm delete --force nginx" },
	{ "guest-silent", make_dead, "podvm delete --force nginx" },
	{ "device-broken", make_broken, "podvm delete --force nginx" },
	{ "not-joined", make_late, "podvm delete --force nginx" },
	{ "no-interface", make_empty, "podvm delete --force nginx" },
	{ "stale-pod", make_stale, "podvm --root" },
	{ "no-vhost", make_slow, "modprobe vhost_net" },
};

START_TEST(found_and_told)
{
	size_t i;

	join();
	podvm__pod__net_device__init(&device);
	device.mac = mac;
	pod.network.devices = devices;
	pod.network.n_devices = 1;
	fakepod_start(&pod, "web-0");
	fakepod_container(&pod, "nginx", "{\"pod\":\"web-0\"}");
	ck_assert_uint_eq(check("nginx"), 0);
	ck_assert_uint_eq(json_len(&findings), 0);
	told[_i].make();
	check("nginx");
	if (!strcmp(told[_i].code, "no-vhost") && !access("/dev/vhost-net", F_OK))
		return;
	ck_assert(found(told[_i].code));
	for (i = 0; strcmp(field(i, "code"), told[_i].code); i++)
		;
	ck_assert_msg(!strncmp(field(i, "mend"), told[_i].mend, strlen(told[_i].mend)), "%s",
		      field(i, "mend"));
}
END_TEST

/* ---- a guest that lies ------------------------------------------------------------- */

static unsigned int seed;

static void lie(Podvm__NetState *s)
{
	int n;

	for (n = 0; n < 3; n++)
		s->messages.data[(size_t)rand_r(&seed) % s->messages.len] = (uint8_t)rand_r(&seed);
	if (s->n_links && s->links[0]->name[0])
		s->links[0]->name[0] = (char)(rand_r(&seed) % 255 + 1);
	if (!s->n_resolvers) /* its child was late */
		return;
	s->resolvers[0]->container[0] = '\x1b';
	s->resolvers[0]->text.len = s->resolvers[0]->text.len ? 1 : 0;
}

/* Whatever it tells: findings that can be printed, and that is all. */
START_TEST(liar)
{
	int i;

	seed = (unsigned int)kit_seed("netplug_check");
	guest.liar = lie;
	join();
	fakepod_start(&pod, "web-0");
	for (i = 0; i < 40; i++) {
		size_t k;

		check("web-0");
		for (k = 0; k < json_len(&findings); k++) {
			ck_assert_ptr_null(strchr(field(k, "mend"), '\x1b'));
			ck_assert_ptr_null(strchr(field(k, "text"), '\x1b'));
		}
	}
}
END_TEST

/* A name that the guest chose is one word of a command, whatever is in it. */
START_TEST(words)
{
	static const struct { const char *name, *word; } rows[] = {
		{ "eth0", "eth0" }, { "eth0.5", "eth0.5" }, { "", "''" }, { "a b", "'a b'" },
		{ "$(reboot)", "'$(reboot)'" }, { "a'b", "'a'\\''b'" }, { "a;b", "'a;b'" },
	};

	ck_assert_str_eq(check_word(rows[_i].name).s, rows[_i].word);
}
END_TEST

static int text_of(struct target *t, char **ret)
{
	struct err e = { 0 };
	size_t len;
	FILE *f = open_memstream(ret, &len);
	int rc = check_run(t, f, &e);

	fclose(f);
	if (rc < 0)
		fprintf(stderr, "%s\n", e.text);
	return rc;
}

START_TEST(for_people)
{
	_cleanup_free_ char *text = NULL;
	struct target t = TARGET_INIT;

	join();
	run("pod ip link set $TAP down");
	t.word = place;
	t.root = "/nonexistent";
	ck_assert_int_eq(text_of(&t, &text), 1);
	ck_assert_msg(strstr(text, "error tap-down eth0: its tap tap2 is down") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "\n  mend: nsenter --net=/run/netns/cni-1 ip link set dev tap2 up\n") != NULL,
		      "%s", text);
	ck_assert_msg(strstr(text, "\n1 interfaces; 1 errors, 0 warnings, 0 notes\n") != NULL, "%s", text);
}
END_TEST

/* From inside the pod's namespace the host's side is not judged. */
START_TEST(from_inside)
{
	_cleanup_free_ char *text = NULL;
	struct target t = TARGET_INIT;

	join();
	run("ip link set br0 down; sysctl -qw net.ipv4.ip_forward=0");
	kit_net_enter(net.pod);
	t.root = "/nonexistent";
	ck_assert_int_eq(text_of(&t, &text), 0);
	kit_net_enter(net.host);
	t = (struct target)TARGET_INIT;
	t.word = "/etc/passwd";
	free(text);
	ck_assert_int_eq(text_of(&t, &text), -EINVAL);
}
END_TEST

/* ---- show ------------------------------------------------------------------------- */

/* In a child: show --watch into a pipe. */
static pid_t start_show(int *ret_fd)
{
	char *argv[] = { (char[]){ "show" }, (char[]){ "web-0" }, (char[]){ "--json" },
			 (char[]){ "--watch" }, (char[]){ "--root" }, pod.root };
	int p[2];
	pid_t pid;

	ck_assert(!pipe(p));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(p[1], 1);
		close(p[0]);
		close(p[1]);
		_exit(cmd_show(6, argv));
	}
	close(p[1]);
	*ret_fd = p[0];
	return pid;
}

static void member(const char *line, const char *path, uint64_t want)
{
	_cleanup_free_ char *cmd = NULL;

	ck_assert_int_gt(asprintf(&cmd, "echo '%s' | jq -e '%s == %llu'", line, path,
				  (unsigned long long)want), 0);
	kit_run("%s", cmd);
}

START_TEST(show_watches)
{
	char line[8192];
	int fd, status, i;
	pid_t pid;
	FILE *f;

	join();
	podvm__pod__net_device__init(&device);
	device.mac = mac;
	device.queues = 4;
	device.requests = 77;
	pod.network.devices = devices;
	pod.network.n_devices = 1;
	fakepod_start(&pod, "web-0");
	pid = start_show(&fd);
	f = fdopen(fd, "r");
	for (i = 0; i < 2; i++) {
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
		line[strcspn(line, "\n")] = 0;
		member(line, ".interfaces[0].queue.packets", 77);
		member(line, ".interfaces[0].guest.mtu", 1500);
		member(line, ".interfaces[0].tap.mtu", 1500);
		member(line, "(.interfaces[0].queue.perSecond.packets // 99)", i ? 0 : 99);
		member(line, "(.milliseconds // 0 | . > 0 | if . then 1 else 0 end)", (uint64_t)i);
	}
	kill(pid, SIGINT);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	fclose(f);
}
END_TEST

Suite *netplug_check_suite(void)
{
	Suite *s = suite_create("netplug_check");
	TCase *t = tcase_create("faults");
	const char *missing = kit_net_missing(true);

	if (missing) {
		kit_skip("netplug_check", missing);
		return s;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, found_and_mended, 0, ARRAY_LEN(faults));
	tcase_add_loop_test(t, found_and_told, 0, ARRAY_LEN(told));
	tcase_add_test(t, liar);
	tcase_add_test(t, for_people);
	tcase_add_test(t, from_inside);
	tcase_add_test(t, show_watches);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	t = tcase_create("words");
	tcase_add_loop_test(t, words, 0, 7);
	suite_add_tcase(s, t);
	return s;
}
