// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The command "trace". Flows are parsed, and their expressions are run over packets that
 * belong to them and some that do not. The verdict is a table of what was seen and
 * counted. On namespaces, with a third one as guest, a path is broken in one place
 * after the other, and trace must name it.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/filter.h"
#include "netplug/flow.h"
#include "netplug/trace.h"
#include "tests/kit/kit.h"
#include "tests/kit/netpod.h"

Suite *netplug_trace_suite(void);

/* ---- flows ------------------------------------------------------------------------------ */

static const struct {
	const char *to, *from, *protocol;
	const char *text;	/* NULL: refused, */
	const char *why;	/* with this */
} flows[] = {
	{ "10.1.2.3:443/tcp", NULL, NULL, "tcp from any to 10.1.2.3:443", NULL },
	{ "10.1.2.3", NULL, NULL, "any protocol from any to 10.1.2.3", NULL },
	{ "10.1.2.3", NULL, "icmp", "icmp from any to 10.1.2.3", NULL },
	{ "10.1.2.3/udp", "10.0.0.1:53", NULL, "udp from 10.0.0.1:53 to 10.1.2.3", NULL },
	{ "10.1.2.3:1/udp", "10.0.0.1:65535/udp", "udp", "udp from 10.0.0.1:65535 to 10.1.2.3:1", NULL },
	{ "fd00::1", NULL, NULL, "any protocol from any to fd00::1", NULL },
	{ "[fd00::1]:443/tcp", NULL, NULL, "tcp from any to [fd00::1]:443", NULL },
	{ "[fd00::1]", "fd00::2", "icmp6", "icmp from fd00::2 to fd00::1", NULL },
	{ "::/icmp", NULL, NULL, "icmp from any to ::", NULL },
	{ ":80/tcp", NULL, NULL, "tcp from any to any:80", NULL },
	{ NULL, NULL, "udp", "udp from any to any", NULL },
	{ NULL, "10.0.0.1", NULL, "any protocol from 10.0.0.1 to any", NULL },
	{ NULL, NULL, NULL, NULL, "which flow?" },
	{ "", NULL, NULL, NULL, "--to: address \"\"" },
	{ "10.1.2.3:", NULL, NULL, NULL, "port \"\"" },
	{ "10.1.2.3:0", NULL, NULL, NULL, "port \"0\": 1 to 65535" },
	{ "10.1.2.3:65536", NULL, NULL, NULL, "port \"65536\"" },
	{ "10.1.2.3:1x", NULL, NULL, NULL, "port \"1x\"" },
	{ "10.1.2", NULL, NULL, NULL, "address \"10.1.2\"" },
	{ "example.org:80", NULL, NULL, NULL, "address \"example.org\"" },
	{ "10.1.2.3/", NULL, NULL, NULL, "protocol \"\"" },
	{ "10.1.2.3/gre", NULL, NULL, NULL, "protocol \"gre\": tcp, udp and icmp" },
	{ "10.1.2.3/tcp", NULL, "udp", NULL, "two protocols" },
	{ "10.1.2.3/tcp", "10.0.0.1/udp", NULL, NULL, "--from: two protocols" },
	{ "10.1.2.3", "fd00::1", NULL, NULL, "different families" },
	{ "10.1.2.3:80/icmp", NULL, NULL, NULL, "ICMP has no ports" },
	{ "[fd00::1", NULL, NULL, NULL, "address" },
	{ "[fd00::1]x", NULL, NULL, NULL, "nothing but :PORT follows" },
	{ "[fd00::1]:", NULL, NULL, NULL, "port" },
	{ "10.1.2.3 and host 1.1.1.1", NULL, NULL, NULL, "address" },
	{ "10.1.2.3/tcp/udp", NULL, NULL, NULL, "protocol \"tcp/udp\"" },
	{ ":", NULL, NULL, NULL, "port" },
};

START_TEST(flows_are_parsed)
{
	char text[192], expression[FLOW_EXPRESSION_BYTES];
	struct filter filter;
	struct err e = { 0 };
	struct flow f;
	int rc = flow_parse(flows[_i].to, flows[_i].from, flows[_i].protocol, &f, &e);

	ck_assert_msg(!rc == !!flows[_i].text, "%s: %s", flows[_i].to, e.text);
	if (rc < 0) {
		ck_assert_int_eq(rc, -EINVAL);
		ck_assert_msg(strstr(e.text, flows[_i].why), "%s: %s", flows[_i].to, e.text);
		return;
	}
	flow_text(&f, text, sizeof(text));
	ck_assert_str_eq(text, flows[_i].text);
	flow_expression(&f, expression);
	ck_assert_msg(!filter_compile(expression, &filter, &e), "%s: %s", expression, e.text);
	filter_done(&filter);
}
END_TEST

#define ETH "\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x09"
#define V4(proto) "\x08\0\x45\0\0\x54\0\0\0\0\x40" proto "\0\0\x0a\1\0\1\x0a\1\0\2"
#define V6(next) "\x86\xdd\x60\0\0\0\0\x20" next "\x40" \
	"\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2"

static const struct {
	const char *frame;
	size_t len;
	enum flow_class class;
} frames[] = {
#define FRAME(text) text, sizeof(text) - 1
	{ FRAME(ETH V4("\1") "\x08\0"), FLOW_PACKET },
	{ FRAME(ETH V4("\1") "\x03\1"), FLOW_ERROR },
	{ FRAME(ETH V4("\1") "\x0b\0"), FLOW_ERROR },
	{ FRAME(ETH V4("\x06") "\x03\1"), FLOW_PACKET },
	{ FRAME(ETH "\x08\x06\0\1"), FLOW_NEIGHBOUR },
	{ FRAME(ETH "\x81\0\0\5\x08\x06\0\1"), FLOW_NEIGHBOUR },
	{ FRAME(ETH "\x81\0\0\5" V4("\1") "\x03\1"), FLOW_ERROR },
	{ FRAME(ETH V6("\x3a") "\x87"), FLOW_NEIGHBOUR },
	{ FRAME(ETH V6("\x3a") "\x88"), FLOW_NEIGHBOUR },
	{ FRAME(ETH V6("\x3a") "\x01"), FLOW_ERROR },
	{ FRAME(ETH V6("\x3a") "\x80"), FLOW_PACKET },
	{ FRAME(ETH V6("\x06") "\x87"), FLOW_PACKET },
	/* A head with options; one that is a lie. */
	{ FRAME(ETH "\x08\0\x46\0\0\x54\0\0\0\0\x40\1\0\0\x0a\1\0\1\x0a\1\0\2\0\0\0\0\x03"), FLOW_ERROR },
	{ FRAME(ETH "\x08\0\x40\0\0\x54\0\0\0\0\x40\1\0\0\x0a\1\0\1\x0a\1\0\2\x03"), FLOW_PACKET },
	{ FRAME(ETH "\x08\0\x4f\0\0\x54\0\0\0\0\x40\1\0\0\x0a\1\0\1\x0a\1\0\2\x03"), FLOW_PACKET },
};

/* Also of every beginning, in memory that ends there. */
START_TEST(frames_are_classified)
{
	size_t i, n;

	for (i = 0; i < ARRAY_LEN(frames); i++)
		for (n = 0; n <= frames[i].len; n++) {
			uint8_t *exact = malloc(n ? n : 1);
			enum flow_class class;

			memcpy(exact, frames[i].frame, n);
			class = flow_classify(exact, n);
			ck_assert_msg(n < frames[i].len || class == frames[i].class, "frame %zu", i);
			free(exact);
		}
}
END_TEST

/* ---- verdicts ------------------------------------------------------------------------------ */

/*
 * What was seen, "host pod tap guest / host pod tap guest", to and from the guest; '-' is a
 * hop that cannot be seen. Then what is wrong, and what must be said.
 */
static const struct {
	const char *name, *seen, *neighbours;
	const char *faults;
	uint8_t protocol;
	int probes;	/* 1: to the guest; 2: from it */
	enum trace_outcome outcome;
	enum trace_place place;
	enum trace_way way;
	const char *why;
} cases[] = {
	{ "all is well", "3 3 3 3 / 3 3 3 3", "", "", IPPROTO_ICMP, 1, TRACE_PASSES, 0, 0, "" },
	{ "one way is enough for UDP", "3 3 3 3 / 0 0 0 0", "", "", IPPROTO_UDP, 1, TRACE_PASSES, 0, 0, "" },
	{ "from the guest", "2 2 2 2 / 2 2 2 2", "", "", IPPROTO_TCP, 2, TRACE_PASSES, 0, 0, "" },
	{ "without guest and host", "- 3 3 - / - 3 3 -", "", "", IPPROTO_TCP, 1, TRACE_PASSES, 0, 0, "" },
	{ "TCP is joined on its way", "9 9 4 4 / 5 5 5 5", "", "", IPPROTO_TCP, 0, TRACE_PASSES, 0, 0, "" },
	{ "no filter", "3 3 0 0 / 0 0 0 0", "", "nofilter0", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_TC, TRACE_TO_GUEST, "no filter of podvm" },
	{ "filter elsewhere", "3 3 0 0 / 0 0 0 0", "", "wrong0", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_TC, TRACE_TO_GUEST, "does not lead to" },
	{ "another filter", "3 3 0 0 / 0 0 0 0", "", "unhit0", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_TC, TRACE_TO_GUEST, "hit by no packet" },
	{ "tap down", "3 3 0 0 / 0 0 0 0", "", "down-tap", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_TAP, TRACE_TO_GUEST, "is down" },
	{ "pod down", "3 0 0 0 / 0 0 0 0", "", "down-pod", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_POD, TRACE_TO_GUEST, "is down" },
	{ "pod drops", "3 0 0 0 / 0 0 0 0", "", "rxdrop-pod", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_POD, TRACE_TO_GUEST, "dropped 5" },
	{ "veth loses", "3 0 0 0 / 0 0 0 0", "", "", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_POD, TRACE_TO_GUEST, "no counter tells" },
	{ "tap gone", "3 3 - - / 0 0 - -", "", "gone-tap", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_TAP, TRACE_TO_GUEST, "is gone" },
	{ "queue full", "3 3 3 0 / 0 0 0 0", "", "txdrop-tap", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_VIRTIO, TRACE_TO_GUEST, "queue is full" },
	{ "no machine", "3 3 3 - / 0 0 0 -", "", "nocarrier", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_VIRTIO, TRACE_FROM_GUEST, "the virtual machine has ended" },
	{ "monitor stuck", "3 3 3 0 / 0 0 0 0", "", "stuck", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_VIRTIO, TRACE_TO_GUEST, "moved no packet" },
	{ "driver broke a rule", "3 3 3 0 / 0 0 0 0", "", "broken", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_VIRTIO, TRACE_TO_GUEST, "broke a rule" },
	{ "guest's driver", "3 3 3 0 / 0 0 0 0", "", "moved", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_GUEST, TRACE_TO_GUEST, "does not show them" },
	{ "vhost counts nothing", "3 3 3 0 / 0 0 0 0", "", "vhost", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_GUEST, TRACE_TO_GUEST, "does not show them" },
	{ "guest is silent", "3 3 3 3 / 0 0 0 0", "", "grown", IPPROTO_TCP, 1, TRACE_DIES, TRACE_GUEST, TRACE_FROM_GUEST, "TcpExtListenDrops +7" },
	{ "network is silent", "0 0 0 0 / 3 3 3 3", "", "", IPPROTO_TCP, 2, TRACE_DIES, TRACE_NETWORK, TRACE_TO_GUEST, "no answer came back" },
	{ "nobody answers UDP", "0 0 0 0 / 3 3 3 3", "", "", IPPROTO_UDP, 2, TRACE_PASSES, 0, 0, "" },
	{ "back: monitor", "3 3 3 3 / 0 0 0 3", "", "stuck", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_VIRTIO, TRACE_FROM_GUEST, "moved no packet" },
	{ "back: no filter", "3 3 3 3 / 0 0 3 3", "", "nofilter1", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_TC, TRACE_FROM_GUEST, "no filter of podvm" },
	{ "back: discipline", "3 3 3 3 / 0 0 3 3", "", "qdisc-pod", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_POD, TRACE_FROM_GUEST, "queueing discipline of eth0 dropped 6" },
	{ "back: host down", "3 3 3 3 / 0 3 3 3", "", "down-host", IPPROTO_ICMP, 1, TRACE_DIES, TRACE_HOST, TRACE_FROM_GUEST, "is down" },
	{ "some are lost", "5 5 3 3 / 3 3 3 3", "", "", IPPROTO_ICMP, 1, TRACE_LOSES, TRACE_TC, TRACE_TO_GUEST, "" },
	{ "some are lost on the way back", "5 5 5 5 / 4 4 4 5", "", "", IPPROTO_UDP, 1, TRACE_LOSES, TRACE_VIRTIO, TRACE_FROM_GUEST, "" },
	{ "neighbour is not found", "0 0 0 0 / 0 0 0 0", "2 2 2 2 / 0 0 0 0", "", IPPROTO_TCP, 1, TRACE_DIES, TRACE_GUEST, TRACE_FROM_GUEST, "sent no answer" },
	{ "gateway is not found", "0 0 0 0 / 0 0 0 0", "0 0 0 0 / 2 2 2 2", "", IPPROTO_UDP, 2, TRACE_DIES, TRACE_NETWORK, TRACE_TO_GUEST, "no answer came back" },
	{ "neighbour's request dies", "0 0 0 0 / 0 0 0 0", "2 2 0 0 / 0 0 0 0", "nofilter0", IPPROTO_TCP, 1, TRACE_DIES, TRACE_TC, TRACE_TO_GUEST, "no filter" },
	{ "nothing", "0 0 0 0 / 0 0 0 0", "", "", IPPROTO_TCP, 0, TRACE_UNSEEN, TRACE_NETWORK, TRACE_TO_GUEST, "no packet of the flow was seen" },
	{ "host sends nothing", "0 0 0 0 / 0 0 0 0", "", "unsent", IPPROTO_TCP, 1, TRACE_DIES, TRACE_NETWORK, TRACE_TO_GUEST, "No route to host" },
	{ "host's discipline", "0 0 0 0 / 0 0 0 0", "", "qdisc-host", IPPROTO_TCP, 1, TRACE_DIES, TRACE_HOST, TRACE_TO_GUEST, "dropped 6" },
	{ "guest sends nothing", "0 0 0 0 / 0 0 0 0", "", "unsent", IPPROTO_TCP, 2, TRACE_DIES, TRACE_GUEST, TRACE_FROM_GUEST, "No route to host" },
};

static void fill_seen(struct trace_path *p, const char *text, enum flow_class class)
{
	static const struct hop hop[HOP_SIDES] = {
		{ .side = HOP_HOST, .name = "h0" }, { .side = HOP_POD, .name = "eth0" },
		{ .side = HOP_TAP, .name = "tap2" }, { .side = HOP_GUEST, .name = "eth0" },
	};
	int i, way;

	for (way = 0; way < TRACE_WAYS && *text; way++)
		for (i = 0; i < HOP_SIDES; i++) {
			while (*text == ' ' || *text == '/')
				text++;
			if (*text == '-') {
				text++;
				continue;
			}
			p->hop[i].hop = &hop[i];
			p->hop[i].n[class][way] = (uint64_t)strtoul(text, (char **)(uintptr_t)&text, 10);
			if (p->hop[i].n[class][way])
				p->hop[i].first_ns[class][way] = 100 + (uint64_t)way;
		}
}

static void fill_faults(struct trace_path *p, const char *f)
{
	static const char *const devices[] = { "host", "pod", "tap" };
	char what[32];
	int i;

	for (i = 0; i < 3; i++) {
		struct trace_device *d = &p->is.device[i];

		snprintf(what, sizeof(what), "gone-%s", devices[i]);
		d->there = strcmp(f, what);
		snprintf(what, sizeof(what), "down-%s", devices[i]);
		d->up = strcmp(f, what);
		d->carrier = strcmp(f, "nocarrier");
		snprintf(what, sizeof(what), "rxdrop-%s", devices[i]);
		d->rx_dropped = !strcmp(f, what) ? 5 : 0;
		snprintf(what, sizeof(what), "txdrop-%s", devices[i]);
		d->tx_dropped = !strcmp(f, what) ? 5 : 0;
		snprintf(what, sizeof(what), "qdisc-%s", devices[i]);
		d->qdisc = !strcmp(f, what) ? 6 : 0;
	}
	for (i = 0; i < TRACE_WAYS; i++) {
		struct trace_filter *x = &p->is.filter[i];

		snprintf(what, sizeof(what), "nofilter%d", i);
		x->there = strcmp(f, what);
		snprintf(what, sizeof(what), "wrong%d", i);
		x->right = strcmp(f, what);
		snprintf(what, sizeof(what), "unhit%d", i);
		x->packets = strcmp(f, what) ? 3 : 0;
	}
	p->is.machine.there = !strcmp(f, "stuck") || !strcmp(f, "broken") || !strcmp(f, "moved") ||
			      !strcmp(f, "vhost");
	p->is.machine.packets = !strcmp(f, "moved") ? 3 : 0;
	p->is.machine.broken = !strcmp(f, "broken");
	p->is.machine.kernel = !strcmp(f, "vhost");
	if (!strcmp(f, "grown")) {
		p->was.n = p->is.n = 2;
		strcpy(p->was.name[0], "rx_packets");
		strcpy(p->is.name[0], "rx_packets");
		strcpy(p->was.name[1], "TcpExtListenDrops");
		strcpy(p->is.name[1], "TcpExtListenDrops");
		p->is.value[0] = 3;
		p->is.value[1] = 7;
	}
	if (!strcmp(f, "unsent"))
		strcpy(p->probe_error, "probe: No route to host");
}

START_TEST(verdicts)
{
	struct trace_path *p = mem_new(struct trace_path);
	struct trace_verdict v;

	strcpy(p->port, "eth0");
	p->tc = true;
	p->protocol = cases[_i].protocol;
	p->probes = cases[_i].probes ? 3 : 0;
	p->probe_way = cases[_i].probes == 2 ? TRACE_FROM_GUEST : TRACE_TO_GUEST;
	fill_seen(p, cases[_i].seen, FLOW_PACKET);
	fill_seen(p, cases[_i].neighbours, FLOW_NEIGHBOUR);
	fill_faults(p, cases[_i].faults);
	trace_judge(p, &v);
	ck_assert_msg(v.outcome == cases[_i].outcome, "%s: %d at %s: %s", cases[_i].name, v.outcome,
		      trace_place_name(v.place), v.why);
	ck_assert_msg(strstr(v.why, cases[_i].why), "%s: %s", cases[_i].name, v.why);
	if (v.outcome != TRACE_PASSES)
		ck_assert_msg(v.place == cases[_i].place && v.way == cases[_i].way,
			      "%s: at %s, %d: %s", cases[_i].name, trace_place_name(v.place), v.way,
			      v.why);
	free(p);
}
END_TEST

START_TEST(guests_names_are_checked)
{
	Podvm__TraceTold told = PODVM__TRACE_TOLD__INIT;
	Podvm__Counter c[200], *list[200];
	struct trace_counters *got = mem_new(struct trace_counters);
	char bad[] = "x\033[2J", longest[TRACE_NAME_BYTES + 1], good[] = "IpInDiscards", empty[] = "";
	size_t i;

	memset(longest, 'a', TRACE_NAME_BYTES);
	longest[TRACE_NAME_BYTES] = 0;
	for (i = 0; i < 200; i++) {
		podvm__counter__init(&c[i]);
		c[i].name = good;
		c[i].value = i;
		list[i] = &c[i];
	}
	c[0].name = bad;
	c[1].name = longest;
	c[2].name = empty;
	told.counters = list;
	told.n_counters = 200;
	trace_take_told(&told, got);
	ck_assert_uint_eq(got->n, TRACE_GUEST_COUNTERS);
	ck_assert_str_eq(got->name[0], "IpInDiscards");
	ck_assert_uint_eq(got->value[0], 3);
	free(got);
}
END_TEST

/* ---- on namespaces -------------------------------------------------------------------------- */

static char dir[32];

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/netplug-trace.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
	struct err e;

	ck_assert_int_eq(dir_remove(AT_FDCWD, dir, &e), 0);
}

#define TRACE_PING "--ping"
#define TRACE_PING6 "--ping --to 2001:db8::2"
#define TRACE_TCP "--probe --to 10.1.0.2:7777/tcp"
#define TRACE_UDP "--probe --to 10.1.0.2:7777/udp"
#define TRACE_OUT "--ping --to 10.1.0.1"
#define TRACE_OUT_TCP "--probe --to 10.1.0.1:7777/tcp"

/* Broken by what, in which namespace ('h'ost, 'p'od, 'g'uest, or a switch of the machine). */
static const struct {
	const char *name, *args;
	char where;
	const char *command;
	int status;
	const char *want;
} rows[] = {
	{ "echo", TRACE_PING, 0, NULL, 0, "the flow passes" },
	{ "echo, IPv6", TRACE_PING6, 0, NULL, 0, "the flow passes" },
	{ "TCP to a closed port", TRACE_TCP, 0, NULL, 0, "the flow passes" },
	{ "UDP", TRACE_UDP, 0, NULL, 0, "the flow passes" },
	{ "echo from the guest", TRACE_OUT, 0, NULL, 0, "the flow passes" },
	{ "TCP from the guest", TRACE_OUT_TCP, 0, NULL, 0, "the flow passes" },
	{ "filter of the veth is gone", TRACE_PING, 'p', "tc filter del dev eth0 ingress", 1, "at tc, on its way to the guest: no filter" },
	{ "filter of the tap is gone", TRACE_PING, 'p', "tc filter del dev tap2 ingress", 1, "at tc, on its way from the guest: no filter" },
	{ "discipline is gone", TRACE_PING, 'p', "tc qdisc del dev eth0 ingress", 1, "at tc, on its way to the guest: no filter" },
	{ "tap is down", TRACE_PING, 'p', "ip link set tap2 down", 1, "at tap, on its way to the guest: tap2 is down" },
	{ "veth is down", TRACE_PING, 'p', "ip link set eth0 down", 1, "at pod, on its way to the guest: eth0 is down" },
	{ "host's end is down", TRACE_PING, 'h', "ip link set h0 down", 1, "dies at" },
	{ "host's end is down, from the guest", TRACE_OUT, 'h', "ip link set h0 down", 1, "at host, on its way from the guest: h0 is down" },
	{ "host's firewall", TRACE_PING, 'h', "tc qdisc add dev h0 clsact; tc filter add dev h0 egress protocol all u32 match u32 0 0 action mirred egress redirect dev lo", 1, "at network, on its way to the guest: no packet reached" },
	{ "queue is full", "--ping --count 20", 's', "ip link set tap2 txqueuelen 2", 1, "at virtio, on its way to the guest: tap2 dropped" },
	{ "machine loses what goes in", TRACE_PING, 'd', NULL, 1, "at virtio, on its way to the guest: the monitor moved no packet" },
	{ "machine loses what comes out", TRACE_PING, 'm', NULL, 1, "on its way from the guest" },
	{ "guest has another address", TRACE_PING, 'g', "ip addr flush dev eth0", 1, "at guest, on its way from the guest: the guest got the packets" },
	{ "guest ignores echoes", TRACE_PING, 'g', "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all", 1, "at guest, on its way from the guest: the guest got the packets" },
	{ "guest's interface is down", TRACE_PING, 'g', "ip link set eth0 down", 1, "on its way to the guest" },
	{ "guest without a route", "--ping --to 192.0.2.1", 'g', "ip route del default", 1, "at guest, on its way from the guest: no packet left the guest: probe: Network is unreachable" },
	{ "network does not answer", "--ping --to 192.0.2.1", 0, NULL, 1, "at network, on its way to the guest: the packets left by h0" },
	{ "nobody sends", "--to 10.1.0.2:9/udp --seconds 1", 0, NULL, 2, "no packet of the flow was seen" },
};

static void break_it(struct netpod *t, char where, const char *command)
{
	atomic_bool *flag = where == 'd' ? &t->g.deaf : where == 'm' ? &t->g.mute :
			    where == 's' ? &t->g.stuck : NULL;

	if (flag)
		*flag = true;
	if (command)
		kit_run_in(where == 'h' ? t->n.host : where == 'g' ? t->g.netns : t->n.pod, "%s",
			   command);
}

static pid_t trace(struct netpod *t, const char *args)
{
	char copy[128], *argv[24] = { (char[]){ "trace" }, (char[]){ "web" },
				      (char[]){ "--root" }, t->g.pod.root }, *at;
	int n = 4;

	snprintf(copy, sizeof(copy), "%s", args);
	for (argv[n] = strtok_r(copy, " ", &at); argv[n]; argv[n] = strtok_r(NULL, " ", &at))
		n++;
	return netpod_run(t, argv);
}

/* Most take a second of waiting for answers, so that some are run at once. */
#define AT_ONCE 12

static struct {
	int status;
	char *text;
} results[ARRAY_LEN(rows)];

/* In a process of its own. */
static void run_row(size_t i, const char *place)
{
	struct netpod t;
	int status;

	netpod_start(&t, place);
	/* Neighbours are known, as on a pod that has been working. */
	kit_run("ping -q -c 1 -W 5 10.1.0.2 >&2 && ping -q -c 1 -W 5 2001:db8::2 >&2");
	break_it(&t, rows[i].where, rows[i].command);
	status = netpod_status(trace(&t, rows[i].args));
	netpod_end(&t);
	_exit(status);
}

static void run_rows(void)
{
	pid_t pid[ARRAY_LEN(rows)];
	char place[64];
	size_t i, k;
	int status;

	setup();
	for (i = 0; i < ARRAY_LEN(rows); i += AT_ONCE) {
		fflush(NULL);
		for (k = i; k < i + AT_ONCE && k < ARRAY_LEN(rows); k++) {
			snprintf(place, sizeof(place), "%s/%zu", dir, k);
			mkdir(place, 0700);
			pid[k] = fork();
			if (!pid[k])
				run_row(k, place);
		}
		for (k = i; k < i + AT_ONCE && k < ARRAY_LEN(rows); k++) {
			if (waitpid(pid[k], &status, 0) == pid[k] && WIFEXITED(status))
				results[k].status = WEXITSTATUS(status);
			else
				results[k].status = 99;
			results[k].text = kit_output("cat %s/%zu/out %s/%zu/err", dir, k, dir, k);
		}
	}
}

static void forget_rows(void)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(rows); i++)
		free(results[i].text);
	teardown();
}

START_TEST(places)
{
	ck_assert_msg(results[_i].status == rows[_i].status &&
			      strstr(results[_i].text, rows[_i].want),
		      "%s: status %d, %s", rows[_i].name, results[_i].status, results[_i].text);
}
END_TEST

/* Packets of others, with neighbours that are not known yet; JSON. */
START_TEST(packets_of_others)
{
	struct netpod t;
	pid_t pid;

	netpod_start(&t, dir);
	pid = trace(&t, "--to 10.1.0.2 --proto icmp --json --seconds 60");
	/* It waits for signals when everything listens. */
	kit_run("until grep -q 'SigBlk:.*4002$' /proc/%d/status; do sleep 0.02; done", pid);
	kit_run("ping -q -i 0.1 -w 1 10.1.0.2 >&2");
	kill(pid, SIGINT);
	ck_assert_int_eq(netpod_status(pid), 0);
	kit_run("jq -e '.outcome == \"passes\" and .pod == \"web\" and .interface == \"eth0\" and "
		"(.hops | length) == 4 and ([.hops[].toGuest.packets] | min) > 3 and "
		".tcToGuest.packets > 3 and .virtio.packets > 3' %s/out >&2", dir);
	netpod_end(&t);
}
END_TEST

/* Not even ARP comes through: that is what is said. */
START_TEST(neighbour_is_unknown)
{
	_cleanup_free_ char *out = NULL;
	struct netpod t;

	netpod_start(&t, dir);
	kit_run_in(t.n.pod, "ip link set tap2 down");
	ck_assert_int_eq(netpod_status(trace(&t, TRACE_TCP)), 1);
	out = kit_output("cat %s/out", dir);
	ck_assert_msg(strstr(out, "what asks for the neighbour's address dies at tap, on its way to the guest: tap2 is down"), "%s", out);
	netpod_end(&t);
}
END_TEST

static const struct { const char *args, *want; } refused[] = {
	{ "", "which flow?" },
	{ "--to 10.1.0.2 --probe --count 0", "--count: 1 to 1000" },
	{ "--to 10.1.0.2/tcp --probe", "--probe needs the port" },
	{ "--to 10.1.0.2:80 --ping", "ICMP has no ports" },
	{ "--to 192.0.2.1 --ping", "its guest must send" },
	{ "--ping --interface eth1", "no interface \"eth1\"" },
	{ "--ping --seconds 99999999999", "--seconds" },
};

START_TEST(refusals)
{
	char copy[128], *argv[24] = { (char[]){ "trace" }, NULL }, *at;
	_cleanup_free_ char *err = NULL;
	struct kit_net n;
	int i = 2;

	kit_net_new(&n);
	kit_run("ip addr add 10.1.0.2/24 dev eth0");
	argv[1] = n.path;
	snprintf(copy, sizeof(copy), "%s", refused[_i].args);
	for (argv[i] = strtok_r(copy, " ", &at); argv[i]; argv[i] = strtok_r(NULL, " ", &at))
		i++;
	ck_assert_int_eq(netpod_status(netpod_spawn(dir, argv)), 2);
	err = kit_output("cat %s/err", dir);
	ck_assert_msg(strstr(err, refused[_i].want), "%s", err);
	ck_assert_msg(strchr(err, '\n') == err + strlen(err) - 1, "%s", err);
}
END_TEST

Suite *netplug_trace_suite(void)
{
	Suite *s = suite_create("netplug_trace");
	TCase *t = tcase_create("pure");
	const char *missing = kit_net_missing(true);

	tcase_add_loop_test(t, flows_are_parsed, 0, ARRAY_LEN(flows));
	tcase_add_test(t, frames_are_classified);
	tcase_add_loop_test(t, verdicts, 0, ARRAY_LEN(cases));
	tcase_add_test(t, guests_names_are_checked);
	suite_add_tcase(s, t);
	if (missing) {
		kit_skip("netplug_trace", missing);
		return s;
	}
	t = tcase_create("places");
	tcase_add_unchecked_fixture(t, run_rows, forget_rows);
	tcase_add_loop_test(t, places, 0, ARRAY_LEN(rows));
	suite_add_tcase(s, t);
	t = tcase_create("netns");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, packets_of_others);
	tcase_add_test(t, neighbour_is_unknown);
	tcase_add_loop_test(t, refusals, 0, ARRAY_LEN(refused));
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
