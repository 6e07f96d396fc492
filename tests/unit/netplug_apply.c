// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * netplug's apply and undo in the kernel. What ip(8) and tc(8) print of the
 * pod's namespace must be, byte by byte, the same before apply and after undo:
 * after a whole apply, after one that was killed at any byte of its journal,
 * after a failed one, and after undoing twice. What belongs to others stays.
 *
 * A crash is simulated by RLIMIT_FSIZE: the child that applies dies of SIGXFSZ
 * in the write of the first record that does not fit, that is, with all
 * before it made.
 *
 * A thread that answers ARP, neighbour solicitations and echo requests on the
 * tap stands for the guest; ping(8) in the host's namespace stands for the
 * network.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/cmd.h"
#include "netplug/netplug.h"
#include "netplug/nl.h"
#include "netplug/show.h"
#include "tests/kit/joined.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_apply_suite(void);

/* A vnet header of a tap on which nobody has set another size. */
#define VNET_BYTES sizeof(struct virtio_net_hdr)

/* Longest record of the journal here, times the records of one port. */
#define JOURNAL_BYTES 4096

static void joined_prepare(struct kit_joined *t, const char *setup)
{
	kit_joined_new(t);
	kit_run("ip link set eth0 down && ip link set eth0 address 02:00:00:00:00:02 && "
		"ip -6 addr flush dev eth0 && ip link set eth0 up && "
		"ip addr add 10.1.0.2/24 dev eth0 && "
		"ip addr add 2001:db8::2/64 dev eth0 nodad");
	kit_run_in(t->n.host, "ip addr add 10.1.0.1/24 dev h0 && "
		   "ip addr add 2001:db8::1/64 dev h0 nodad");
	if (setup)
		kit_run("%s", setup);
	kit_joined_plan(t, NULL);
}

static void joined_unchanged(struct kit_joined *t)
{
	_cleanup_free_ char *after = NULL;

	kit_net_enter(t->n.pod);
	after = kit_net_state();
	kit_same_text(after, t->before);
}

/* ---- apply and undo ----------------------------------------------------------- */

START_TEST(there_and_back)
{
	static const char *const setups[] = {
		NULL,
		"tc qdisc add dev eth0 ingress",
		"tc qdisc add dev eth0 clsact",
		/* Somebody's egress filter stays, and is in the guest's way out. */
		"tc qdisc add dev eth0 clsact && tc filter add dev eth0 egress pref 5 "
		"protocol ip u32 match u32 0 0 classid 1:1",
		"tc qdisc add dev eth0 root tbf rate 100mbit burst 100kb latency 50ms",
		"ip link set eth0 mtu 1300",
		/* As CNI plugins make it; the kernel gives it a length with the hook. */
		"ip link set eth0 txqueuelen 0",
	};
	struct kit_joined t;

	joined_prepare(&t, setups[_i]);
	kit_joined_apply(&t);
	ck_assert_uint_eq(t.n_ports, 1);
	ck_assert_str_eq(t.port[0].name, "eth0");
	ck_assert_uint_eq(t.port[0].mtu, _i == 5 ? 1300 : 1500);
	ck_assert_mem_eq(t.port[0].mac, "\x02\0\0\0\0\x02", 6);
	ck_assert_int_eq(fcntl(t.port[0].tap_fd[0], F_GETFD), FD_CLOEXEC);
	/* The monitor may still hold the tap. */
	ck_assert_uint_eq(kit_joined_undo(&t), _i >= 1 && _i <= 3 ? 2 : _i == 6 ? 4 : 3);
	joined_unchanged(&t);
	ck_assert_uint_eq(journal_mark(t.j), 0);
	kit_joined_done(&t);
}
END_TEST

/* A tap of several ends: made and undone as one is. */
START_TEST(several_ends)
{
	_cleanup_free_ char *link = NULL;
	struct kit_joined t;
	struct err e;
	size_t i;

	joined_prepare(&t, NULL);
	t.taps = NETPLUG_TAPS_MAX + 1;
	ck_assert_int_eq(kit_joined_try(&t, &e), -EINVAL);
	t.taps = NETPLUG_TAPS_MAX;
	kit_joined_apply(&t);
	ck_assert_uint_eq(t.port[0].n_taps, NETPLUG_TAPS_MAX);
	for (i = 0; i < NETPLUG_TAPS_MAX; i++)
		ck_assert_int_eq(fcntl(t.port[0].tap_fd[i], F_GETFD), FD_CLOEXEC);
	link = kit_output("ip -d link show dev tap2");
	ck_assert_msg(strstr(link, "multi_queue numqueues 8"), "%s", link);
	ck_assert_msg(strstr(link, "qdisc noqueue"), "%s", link);
	/* With only some of its ends the tap stays; undo takes it. */
	while (t.port[0].n_taps > 3)
		fd_close(&t.port[0].tap_fd[--t.port[0].n_taps]);
	if (_i) {
		kit_joined_close_taps(&t);
		ck_assert(!kit_try("ip link show dev tap2"));
	}
	ck_assert_uint_eq(kit_joined_undo(&t), 3);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

START_TEST(tap_is_quiet)
{
	_cleanup_free_ char *link = NULL, *addr = NULL;
	struct kit_joined t;

	joined_prepare(&t, "ip link set eth0 mtu 1300");
	kit_joined_apply(&t);
	link = kit_output("ip -d link show dev tap2");
	ck_assert_msg(strstr(link, "mtu 1300 qdisc noqueue"), "%s", link);
	ck_assert_msg(strstr(link, "NOARP,UP,LOWER_UP"), "%s", link);
	ck_assert_msg(strstr(link, "addrgenmode none"), "%s", link);
	ck_assert_msg(strstr(link, "vnet_hdr on"), "%s", link);
	ck_assert_msg(strstr(link, "persist off"), "%s", link);
	ck_assert_msg(strstr(link, "alias podvm:eth0"), "%s", link);
	addr = kit_output("ip addr show dev tap2");
	ck_assert_msg(!strstr(addr, "inet"), "%s", addr);
	kit_joined_done(&t);
}
END_TEST

START_TEST(taps_end_with_their_holder)
{
	struct kit_joined t;

	joined_prepare(&t, NULL);
	kit_joined_apply(&t);
	kit_joined_close_taps(&t);
	ck_assert(!kit_try("ip link show dev tap2"));
	kit_joined_undo(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

START_TEST(two_ports)
{
	char setup[256];
	struct kit_joined t;
	int host;

	/* The second interface's name is the one that the first tap would get. */
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	host = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(setup, sizeof(setup), "ip link add tap2 type veth peer name h1 netns "
		 "/proc/%d/fd/%d && ip link set tap2 up", getpid(), host);
	joined_prepare(&t, setup);
	kit_joined_apply(&t);
	ck_assert_uint_eq(t.n_ports, 2);
	ck_assert_uint_eq(kit_joined_undo(&t), 6);
	joined_unchanged(&t);
	kit_joined_done(&t);
	close(host);
}
END_TEST

/* A second VM on the same namespace is refused, and disturbs nothing. */
START_TEST(joined_twice)
{
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	struct kit_joined t;

	joined_prepare(&t, NULL);
	kit_joined_apply(&t);
	ck_assert_int_eq(netplug_plan(t.n.pod, NULL, &p, &e), -EEXIST);
	ck_assert_msg(strstr(e.text, "eth0: this network namespace is joined"), "%s",
		      e.text);
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
	{ "ip link set eth0 name eth9", -ESTALE },
	{ "ip link set eth0 address 02:00:00:00:00:77", -ESTALE },
	{ "ip link del eth0", -ENODEV },
	{ "tc qdisc add dev eth0 clsact", -EEXIST },
	{ "tc qdisc add dev eth0 ingress", -EEXIST },
	{ "ip tuntap add mode tap name tap2", -EBUSY },
};

START_TEST(changed_after_plan)
{
	struct err e = { 0 };
	struct kit_joined t;
	int rc;

	joined_prepare(&t, NULL);
	kit_run("%s", races[_i].setup);
	kit_run("while ip addr | grep -q tentative; do sleep 0.1; done");
	free(t.before);
	t.before = kit_net_state();
	rc = kit_joined_try(&t, &e);
	ck_assert_msg(rc == races[_i].want, "%s: %d: %s", races[_i].setup, rc, e.text);
	ck_assert_msg(strstr(e.text, "interface eth0"), "%s", e.text);
	ck_assert_uint_eq(t.n_ports, 0);
	ck_assert_uint_eq(journal_mark(t.j), 0);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* A filter that came at our place between plan and apply stays, ours does not. */
START_TEST(filter_after_plan)
{
	struct err e = { 0 };
	struct kit_joined t;

	joined_prepare(&t, "tc qdisc add dev eth0 clsact");
	kit_run("tc filter add dev eth0 ingress pref 1 protocol ip u32 match u32 0 0 "
		"classid 1:1");
	free(t.before);
	t.before = kit_net_state();
	ck_assert_int_lt(kit_joined_try(&t, &e), 0);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

START_TEST(path_of_another)
{
	struct err e = { 0 };
	struct kit_joined t;
	char path[64];

	joined_prepare(&t, NULL);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), t.n.host);
	ck_assert_int_eq(netplug_apply(t.p, t.n.pod, path, 1, t.j, t.port, &t.n_ports, &e),
			 -ESTALE);
	ck_assert_int_eq(netplug_apply(t.p, t.n.pod, "", 1, t.j, t.port, &t.n_ports, &e),
			 -ENOENT);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* A pod without an interface has no path to remember. */
START_TEST(nothing_to_join)
{
	struct netplug_port port[NETPLUG_PORTS_MAX];
	struct netplug_plan *p = NULL;
	struct journal *j = NULL;
	struct err e = { 0 };
	size_t n = 99;
	int fd;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(netplug_plan(fd, NULL, &p, &e), 0);
	ck_assert_int_eq(journal_open(AT_FDCWD, "/dev/null", &j, &e), 0);
	ck_assert_msg(!netplug_apply(p, fd, "", 1, j, port, &n, &e), "%s", e.text);
	ck_assert_uint_eq(n, 0);
	journal_free(j);
	netplug_plan_free(p);
	close(fd);
}
END_TEST

/* ---- crashes --------------------------------------------------------------------- */

/* Killed at, and failing at, each few bytes of the journal. */
START_TEST(crash_at_every_record)
{
	static const char *const setups[] = { NULL, "tc qdisc add dev eth0 clsact" };
	bool killed = _i & 1, through = false;
	unsigned int steps = 0;
	struct kit_joined t;
	rlim_t limit;

	joined_prepare(&t, setups[_i >> 1]);
	for (limit = 0; !through && limit < JOURNAL_BYTES; limit += 23) {
		through = kit_joined_limited(&t, limit, killed);
		if (!killed && !through)
			ck_assert_uint_eq(journal_mark(t.j), 0);
		steps += !through && journal_mark(t.j);
		kit_joined_undo(&t);
		joined_unchanged(&t);
	}
	ck_assert(through);
	ck_assert(!killed || steps > 4);
	kit_joined_done(&t);
}
END_TEST

/* The machine dies while it undoes: the rest is undone later, from the start. */
START_TEST(undo_in_two_halves)
{
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	struct kit_joined t;
	size_t len;

	joined_prepare(&t, NULL);
	kit_joined_apply(&t);
	kit_joined_close_taps(&t);
	ck_assert_int_eq(file_read(t.dirfd, "journal", 65536, &text, &len, &e), 0);
	kit_joined_undo(&t);
	/* The same journal again: everything in it is gone. */
	ck_assert_int_eq(file_replace(t.dirfd, "journal", text, len, 0600, &e), 0);
	journal_free(t.j);
	ck_assert_int_eq(journal_open(t.dirfd, "journal", &t.j, &e), 0);
	ck_assert_uint_eq(kit_joined_undo(&t), 3);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* ---- what is gone, and what is somebody else's -------------------------------------- */

static int undo_words(const char *action, const char *path, const char *id,
		      const char *name, const char *index, struct err *e)
{
	struct journal_rec r = { { "netplug", action, path, id, name, index },
				 index ? 6 : 5 };

	return netplug_undo(&r, e);
}

START_TEST(netns_gone)
{
	static const char *const actions[] = { "tap", "ingress", "filter" };
	char file[64];
	struct err e = { 0 };
	struct kit_joined t;
	struct stat st;
	char id[80];
	size_t i;
	FILE *f;

	joined_prepare(&t, "tc qdisc add dev eth0 ingress");
	snprintf(file, sizeof(file), "%s/netns", t.dir);
	f = fopen(file, "we"); /* what is left of /run/netns/NAME after umount */
	fclose(f);
	ck_assert_int_eq(fstat(t.n.pod, &st), 0);
	/* The right inode, but the cookie of a namespace that was before. */
	snprintf(id, sizeof(id), "%llu:%llu:1", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	for (i = 0; i < 3; i++) {
		const char *index = i ? "2" : NULL;

		ck_assert_int_eq(undo_words(actions[i], "/nowhere/at/all", "1:2:3",
					    "eth0", index, &e), 0);
		ck_assert_int_eq(undo_words(actions[i], "/proc/999999999/ns/net", "1:2:3",
					    "eth0", index, &e), 0);
		ck_assert_int_eq(undo_words(actions[i], "/dev/null/x", "1:2:3", "eth0",
					    index, &e), 0);
		ck_assert_int_eq(undo_words(actions[i], file, "1:2:3", "eth0", index,
					    &e), 0);
		ck_assert_int_eq(undo_words(actions[i], t.n.path, "1:2:3", "eth0", index,
					    &e), 0);
		ck_assert_int_eq(undo_words(actions[i], t.n.path, id, "eth0", index, &e),
				 0);
	}
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

START_TEST(veth_gone)
{
	struct kit_joined t;

	joined_prepare(&t, NULL);
	kit_joined_apply(&t);
	kit_run("ip link del eth0");
	kit_joined_undo(&t);
	ck_assert(!kit_try("ip link show dev tap2"));
	kit_joined_done(&t);
}
END_TEST

START_TEST(hook_gone)
{
	struct kit_joined t;

	joined_prepare(&t, NULL);
	kit_joined_apply(&t);
	kit_run("tc qdisc del dev eth0 ingress");
	kit_joined_undo(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

/* Records whose things were never made; somebody else has made some like them. */
START_TEST(others_stay)
{
	struct kit_joined t;

	joined_prepare(&t, NULL);
	kit_joined_apply(&t);
	kit_joined_close_taps(&t);
	kit_run("tc qdisc del dev eth0 ingress && ip tuntap add mode tap name tap2 && "
		"tc qdisc add dev eth0 ingress && tc filter add dev eth0 ingress pref 1 "
		"protocol all u32 match u32 0 0 action mirred egress redirect dev tap2");
	free(t.before);
	t.before = kit_net_state();
	kit_joined_undo(&t);
	joined_unchanged(&t);
	kit_joined_done(&t);
}
END_TEST

START_TEST(record_of_another_sort)
{
	struct journal_rec kind = { { "scratch", "tap", "/x", "1:2:3", "tap2" }, 5 };
	struct journal_rec short_one = { { "netplug", "tap" }, 2 };
	struct journal_rec empty = { .n = 0 };
	struct err e = { 0 };

	ck_assert_int_eq(netplug_undo(&kind, &e), -EINVAL);
	ck_assert_int_eq(netplug_undo(&short_one, &e), -EINVAL);
	ck_assert_int_eq(netplug_undo(&empty, &e), -EINVAL);
	ck_assert_int_eq(undo_words("bridge", "/x", "1:2:3", "eth0", "2", &e), -EINVAL);
	ck_assert_int_eq(undo_words("filter", "/x", "1:2:3", "eth0", NULL, &e), -EINVAL);
	ck_assert_int_eq(undo_words("filter", "/x", "1:2:3", "eth0", "2x", &e), -EINVAL);
	ck_assert_int_eq(undo_words("filter", "/x", "1:2:3", "eth0", "99999999999", &e),
			 -EINVAL);
}
END_TEST

/* ---- packets ------------------------------------------------------------------------ */

/**
 * struct guest - a thread that answers on a tap as a guest would
 * @bad: frames with a header that a tap must not give
 */
struct guest {
	pthread_t thread;
	int tap;
	atomic_bool stop;
	atomic_uint arps, solicitations, echoes, bad;
};

static uint16_t checksum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *b = data;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? b[i] : (uint32_t)b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t len)
{
	while (len--) {
		uint8_t c = *a;

		*a++ = *b;
		*b++ = c;
	}
}

static const uint8_t guest_mac[6] = { 2, 0, 0, 0, 0, 2 };

static bool answer_arp(struct guest *g, uint8_t *arp)
{
	static const uint8_t own[4] = { 10, 1, 0, 2 };

	if (arp[7] != 1 || memcmp(arp + 24, own, 4))
		return false;
	g->arps++;
	arp[7] = 2;
	swap_bytes(arp + 8, arp + 18, 10);
	memcpy(arp + 8, guest_mac, 6);
	return true;
}

static bool answer_ping(struct guest *g, uint8_t *ip, size_t len)
{
	size_t head = (size_t)(ip[0] & 15) * 4;
	struct icmphdr *icmp = (void *)(ip + head);

	if (ip[9] != IPPROTO_ICMP || len < head + sizeof(*icmp) ||
	    icmp->type != ICMP_ECHO)
		return false;
	g->echoes++;
	swap_bytes(ip + 12, ip + 16, 4);
	icmp->type = ICMP_ECHOREPLY;
	icmp->checksum = 0;
	icmp->checksum = checksum(icmp, len - head, 0);
	return true;
}

static uint16_t icmp6_sum(const struct ip6_hdr *ip, const void *icmp, size_t len)
{
	uint32_t sum = (uint32_t)len + IPPROTO_ICMPV6;
	const uint8_t *a = (const void *)&ip->ip6_src;
	size_t i;

	for (i = 0; i < 32; i++)
		sum += i & 1 ? a[i] : (uint32_t)a[i] << 8;
	return checksum(icmp, len, sum);
}

static bool answer_ip6(struct guest *g, uint8_t *pkt, size_t len)
{
	struct ip6_hdr *ip = (void *)pkt;
	struct icmp6_hdr *icmp = (void *)(ip + 1);
	struct nd_neighbor_advert *na = (void *)icmp;
	uint8_t *lladdr = (void *)(na + 1);

	if (len < sizeof(*ip) + sizeof(*icmp) || ip->ip6_nxt != IPPROTO_ICMPV6)
		return false;
	if (icmp->icmp6_type == ICMP6_ECHO_REQUEST) {
		g->echoes++;
		swap_bytes((void *)&ip->ip6_src, (void *)&ip->ip6_dst, 16);
		icmp->icmp6_type = ICMP6_ECHO_REPLY;
	} else if (icmp->icmp6_type == ND_NEIGHBOR_SOLICIT &&
		   len >= sizeof(*ip) + sizeof(*na) + 8 &&
		   na->nd_na_target.s6_addr[0] == 0x20) {
		g->solicitations++;
		ip->ip6_dst = ip->ip6_src;
		ip->ip6_src = na->nd_na_target;
		na->nd_na_type = ND_NEIGHBOR_ADVERT;
		na->nd_na_flags_reserved = ND_NA_FLAG_SOLICITED | ND_NA_FLAG_OVERRIDE;
		lladdr[0] = ND_OPT_TARGET_LINKADDR;
		lladdr[1] = 1;
		memcpy(lladdr + 2, guest_mac, 6);
	} else {
		return false;
	}
	icmp->icmp6_cksum = 0;
	icmp->icmp6_cksum = icmp6_sum(ip, icmp, len - sizeof(*ip));
	return true;
}

static bool answer(struct guest *g, uint8_t *frame, size_t len)
{
	struct ether_header *eth = (void *)frame;
	uint8_t *net = frame + sizeof(*eth);
	bool reply = false;

	if (len < sizeof(*eth) + 28)
		return false;
	len -= sizeof(*eth);
	switch (ntohs(eth->ether_type)) {
	case ETHERTYPE_ARP:
		reply = answer_arp(g, net);
		break;
	case ETHERTYPE_IP:
		reply = answer_ping(g, net, len);
		break;
	case ETHERTYPE_IPV6:
		reply = answer_ip6(g, net, len);
		break;
	}
	memcpy(eth->ether_dhost, eth->ether_shost, 6);
	memcpy(eth->ether_shost, guest_mac, 6);
	return reply;
}

static void *guest_main(void *arg)
{
	_Alignas(16) static uint8_t room[6 + VNET_BYTES + 65536];
	/* The packet behind vnet and Ethernet header is aligned. */
	uint8_t *buf = room + 6 + (16 - (6 + VNET_BYTES + 14) % 16) % 16;
	struct guest *g = arg;

	while (!g->stop) {
		struct pollfd p = { .fd = g->tap, .events = POLLIN };
		struct virtio_net_hdr *vnet = (void *)buf;
		ssize_t n;

		if (poll(&p, 1, 20) <= 0)
			continue;
		n = read(g->tap, buf, 65536);
		if (n < (ssize_t)VNET_BYTES)
			continue;
		if (vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE)
			g->bad++;
		if (!answer(g, buf + VNET_BYTES, (size_t)n - VNET_BYTES))
			continue;
		memset(vnet, 0, sizeof(*vnet));
		if (write(g->tap, buf, (size_t)n) != n)
			g->bad++;
	}
	return NULL;
}

START_TEST(packets_reach_the_guest)
{
	struct ifreq detach = { .ifr_flags = IFF_DETACH_QUEUE };
	struct guest g = { 0 };
	struct kit_joined t;
	size_t i;

	joined_prepare(&t, NULL);
	/* Before: the namespace's own stack answers. */
	kit_run_in(t.n.host, "ping -q -c1 -W2 10.1.0.2 >&2");
	t.taps = _i ? 4 : 1;
	kit_joined_apply(&t);
	g.tap = t.port[0].tap_fd[0];
	/* As a guest does that uses one pair of queues. */
	for (i = 1; i < t.port[0].n_taps; i++)
		ck_assert(!ioctl(t.port[0].tap_fd[i], TUNSETQUEUE, &detach));
	kit_net_enter(t.n.host);
	kit_run("ip neigh flush dev h0");
	/* Joined, but no guest yet: nobody answers, the host's stack least of all. */
	ck_assert(!kit_try("ping -q -c1 -W1 10.1.0.2"));
	ck_assert(!kit_try("ping -q -c1 -W1 2001:db8::2"));
	ck_assert(!kit_try("ip neigh show 10.1.0.2 | grep lladdr"));
	ck_assert_int_eq(pthread_create(&g.thread, NULL, guest_main, &g), 0);
	kit_run("ip neigh flush dev h0; ping -q -c5 -i0.2 -W2 10.1.0.2 >&2 && "
		"ping -q -c2 -s 1400 -M do -W2 10.1.0.2 >&2 && "
		"ping -q -c2 -s 9000 -W2 10.1.0.1 >&2 && "
		"ping -6 -q -c5 -i0.2 -W2 2001:db8::2 >&2");
	g.stop = true;
	pthread_join(g.thread, NULL);
	ck_assert_uint_ge(g.arps, 1);
	ck_assert_uint_ge(g.solicitations, 1);
	ck_assert_uint_ge(g.echoes, 12);
	ck_assert_uint_eq(g.bad, 0);
	kit_joined_undo(&t);
	joined_unchanged(&t);
	/* After: the namespace's own stack answers again. */
	kit_run_in(t.n.host, "ip neigh flush dev h0; ping -q -c1 -W2 10.1.0.2 >&2");
	kit_joined_done(&t);
}
END_TEST

/* ---- show --------------------------------------------------------------------------- */

static char *show_text(int netns, bool json)
{
	struct show_view v = { .scan = NULL };
	struct nl *nl = NULL;
	struct err e = { 0 };
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	ck_assert_int_eq(nl_open(netns, &nl, &e), 0);
	ck_assert_msg(!scan_read(nl, &v.scan, &e), "%s", e.text);
	ck_assert_int_eq(show_print(&v, NULL, "/run/netns/x", json ? SHOW_JSON : SHOW_TEXT, f, &e), 0);
	fclose(f);
	scan_free(v.scan);
	nl_free(nl);
	return text;
}

static void shown(int netns, bool json, const char *want)
{
	_cleanup_free_ char *text = show_text(netns, json);

	ck_assert_msg(strstr(text, want), "want \"%s\" in\n%s", want, text);
}

START_TEST(show_states)
{
	struct kit_joined t;

	joined_prepare(&t, NULL);
	shown(t.n.pod, false, "eth0: not joined");
	kit_joined_apply(&t);
	shown(t.n.pod, false, "eth0: joined");
	shown(t.n.pod, false, "ingress u32 pref 1 redirect");
	shown(t.n.pod, true, "\"state\": \"joined\"");
	kit_run_in(t.n.host, "ping -q -c1 -W1 10.1.0.2 >/dev/null; true");
	ck_assert(kit_try("tc -s filter show dev eth0 ingress | grep -q 'Sent [1-9]'"));
	kit_run("ip link set tap2 down");
	shown(t.n.pod, false, "target is down");
	kit_run("ip link set tap2 up && tc qdisc del dev tap2 ingress");
	shown(t.n.pod, false, "eth0: broken");
	shown(t.n.pod, false, "no filter");
	kit_joined_close_taps(&t);
	shown(t.n.pod, false, "eth0: broken");
	shown(t.n.pod, true, "\"no tap\"");
	kit_joined_done(&t);
}
END_TEST

Suite *netplug_apply_suite(void)
{
	Suite *s = suite_create("netplug_apply");
	TCase *t = tcase_create("records"), *tc;
	const char *missing = kit_net_missing(true);

	tcase_add_test(t, record_of_another_sort);
	suite_add_tcase(s, t);
	if (missing) {
		kit_skip("netplug_apply/tc", missing);
		return s;
	}
	tc = tcase_create("tc");
	tcase_add_loop_test(tc, there_and_back, 0, 7);
	tcase_add_loop_test(tc, several_ends, 0, 2);
	tcase_add_test(tc, tap_is_quiet);
	tcase_add_test(tc, taps_end_with_their_holder);
	tcase_add_test(tc, two_ports);
	tcase_add_test(tc, joined_twice);
	tcase_add_loop_test(tc, changed_after_plan, 0, ARRAY_LEN(races));
	tcase_add_test(tc, filter_after_plan);
	tcase_add_test(tc, path_of_another);
	tcase_add_test(tc, nothing_to_join);
	tcase_add_loop_test(tc, crash_at_every_record, 0, 4);
	tcase_add_test(tc, undo_in_two_halves);
	tcase_add_test(tc, netns_gone);
	tcase_add_test(tc, veth_gone);
	tcase_add_test(tc, hook_gone);
	tcase_add_test(tc, others_stay);
	tcase_add_loop_test(tc, packets_reach_the_guest, 0, 2);
	tcase_add_test(tc, show_states);
	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	return s;
}
