// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The command "capture", on namespaces: the host's and the pod's, joined by netplug, and
 * a third one that is the guest (tests/kit/netguest.c). Files are read by a small
 * reader of our own, which believes nothing, and by tcpdump. What a guest may tell is
 * a table of lies.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/packet.h"
#include "netplug/cmd.h"
#include "netplug/filter.h"
#include "netplug/half.h"
#include "netplug/hop.h"
#include "netplug/netplug.h"
#include "netplug/order.h"
#include "netplug/pcapng.h"
#include "tests/kit/kit.h"
#include "tests/kit/netpod.h"
#include "tests/kit/tap.h"

Suite *netplug_capture_suite(void);

/* ---- a reader of pcapng ------------------------------------------------------------ */

/**
 * struct reading - what a file holds
 * @times: it is in the order of its times
 */
struct reading {
	size_t interfaces, packets, stats;
	char name[16][64];
	char comment[16][256];
	size_t of[16], in[16], out[16];
	uint64_t dropped[16], first_ns[16];
	bool times;
	uint64_t last_ns;
	uint32_t len, caplen;
};

static uint32_t u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static uint16_t u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

/* The value of an option, from @at to the end of the block's body. */
static const uint8_t *option(const uint8_t *p, size_t at, size_t end, uint16_t code, size_t *len)
{
	bool closed = false;
	const uint8_t *found = NULL;

	while (at < end) {
		size_t n = u16(p + at + 2);

		ck_assert_uint_le(at + 4 + n, end);
		if (!u16(p + at)) {
			ck_assert_uint_eq(at + 4, end);
			closed = true;
		}
		if (u16(p + at) == code && code) {
			found = p + at + 4;
			*len = n;
		}
		at += 4 + ((n + 3) & ~(size_t)3);
	}
	ck_assert(closed);
	return found;
}

static void text_option(const uint8_t *p, size_t at, size_t end, uint16_t code, char *to,
			size_t room)
{
	size_t n = 0;
	const uint8_t *v = option(p, at, end, code, &n);

	snprintf(to, room, "%.*s", v ? (int)n : 0, v ? (const char *)v : "");
}

static void read_packet(struct reading *r, const uint8_t *p, size_t end)
{
	uint32_t i = u32(p + 8), flags;
	uint64_t ns = (uint64_t)u32(p + 12) << 32 | u32(p + 16);
	size_t n, at;

	ck_assert_uint_lt(i, r->interfaces);
	r->caplen = u32(p + 20);
	r->len = u32(p + 24);
	ck_assert_uint_le(r->caplen, r->len);
	at = 28 + ((r->caplen + 3) & ~3u);
	flags = u32(option(p, at, end, 2, &n));
	ck_assert_uint_eq(n, 4);
	*((flags & 3) == PCAPNG_IN ? &r->in[i] : &r->out[i]) += 1;
	r->times &= ns >= r->last_ns;
	r->last_ns = ns;
	if (!r->of[i]++)
		r->first_ns[i] = ns;
	r->packets++;
}

static void read_block(struct reading *r, const uint8_t *p, size_t len)
{
	size_t end = len - 4, n;
	const uint8_t *v;

	switch (u32(p)) {
	case 0x0a0d0d0a:
		ck_assert_uint_eq(u32(p + 8), 0x1a2b3c4d);
		ck_assert_uint_eq(u16(p + 12), 1);
		option(p, 24, end, 0, &n);
		return;
	case 1:
		ck_assert_uint_eq(u16(p + 8), 1);
		v = option(p, 16, end, 9, &n);
		ck_assert(v && n == 1 && *v == 9);
		text_option(p, 16, end, 2, r->name[r->interfaces], sizeof(r->name[0]));
		text_option(p, 16, end, 1, r->comment[r->interfaces], sizeof(r->comment[0]));
		r->interfaces++;
		return;
	case 6:
		read_packet(r, p, end);
		return;
	case 5:
		v = option(p, 20, end, 5, &n);
		ck_assert(v && n == 8);
		memcpy(&r->dropped[u32(p + 8)], v, 8);
		r->stats++;
		return;
	default:
		ck_abort_msg("block of type 0x%x", u32(p));
	}
}

/* Every block is whole, and the file is nothing but blocks. */
static void read_file(struct reading *r, const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t len, at = 0;
	struct err e;

	memset(r, 0, sizeof(*r));
	r->times = true;
	ck_assert_msg(!file_read(AT_FDCWD, path, 64u << 20, &text, &len, &e), "%s", e.text);
	while (at < len) {
		const uint8_t *p = (const uint8_t *)text + at;
		size_t n;

		ck_assert_uint_ge(len - at, 12);
		n = u32(p + 4);
		ck_assert(n >= 12 && !(n & 3) && n <= len - at);
		ck_assert_uint_eq(u32(p + n - 4), n);
		ck_assert((at == 0) == (u32(p) == 0x0a0d0d0a));
		read_block(r, p, n);
		at += n;
	}
	ck_assert_uint_gt(r->interfaces, 0);
}

/* How many packets tcpdump finds. */
static size_t tcpdump(const char *path, const char *filter)
{
	_cleanup_free_ char *text = kit_output("tcpdump -n -r %s '%s' 2>/dev/null | wc -l", path,
					       filter);

	return (size_t)strtoul(text, NULL, 10);
}

/* ---- files --------------------------------------------------------------------------- */

static char dir[32];

static const char *dir_of_files(void)
{
	if (!*dir) {
		snprintf(dir, sizeof(dir), "/tmp/netplug-capture.XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(dir));
	}
	return dir;
}

static const char *file(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir_of_files(), name);
	return path;
}

static void teardown(void)
{
	struct err e;

	if (*dir)
		ck_assert_int_eq(dir_remove(AT_FDCWD, dir, &e), 0);
	*dir = 0;
}

static const uint8_t bytes[PCAPNG_SNAPLEN_MAX + 1];

START_TEST(file_is_what_was_written)
{
	const struct pcapng_interface i = { .name = "tap:tap2", .description = "d", .comment = "c",
					    .filter = "icmp", .mac = bytes,
					    .snaplen = PCAPNG_SNAPLEN_MAX };
	const struct pcapng_stats st = { 1, 2, 30, 4 };
	const char *path = file("x");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct pcapng_packet k = { .data = bytes };
	struct pcapng *p;
	struct reading r;
	struct err e;
	uint32_t n;

	ck_assert_int_eq(pcapng_new(fd, path, &p, &e), 0);
	ck_assert_int_eq(pcapng_packet(p, &k, &e), -EINVAL);
	ck_assert_int_eq(pcapng_stats(p, 0, &st, &e), -EINVAL);
	ck_assert_int_eq(pcapng_interface(p, &i, &e), 0);
	ck_assert_int_eq(pcapng_interface(p, &i, &e), 1);
	/* All paddings, and one that is longer than may be. */
	for (n = 0; n < 9; n++) {
		k.len = k.caplen = n < 8 ? n : PCAPNG_SNAPLEN_MAX + 1;
		k.interface = n & 1;
		k.flags = n & 2 ? PCAPNG_IN : PCAPNG_OUT;
		k.ts_ns = 0x1234567890abcdefull + n;
		ck_assert_int_eq(pcapng_packet(p, &k, &e), 0);
	}
	ck_assert_int_eq(pcapng_stats(p, 1, &st, &e), 0);
	ck_assert_int_eq(pcapng_flush(p, &e), 0);
	pcapng_free(p);
	close(fd);
	read_file(&r, path);
	ck_assert_uint_eq(r.interfaces, 2);
	ck_assert_uint_eq(r.packets, 9);
	ck_assert_uint_eq(r.stats, 1);
	ck_assert_uint_eq(r.dropped[1], 4);
	ck_assert_uint_eq(r.in[0], 2);
	ck_assert_uint_eq(r.out[1], 2);
	ck_assert_uint_eq(r.first_ns[1], 0x1234567890abcdefull + 1);
	ck_assert_uint_eq(r.caplen, PCAPNG_SNAPLEN_MAX);
	ck_assert_str_eq(r.name[0], "tap:tap2");
	ck_assert_str_eq(r.comment[1], "c");
	ck_assert_uint_eq(tcpdump(path, ""), 9);
}
END_TEST

/* A disk that is full in the middle: one error, and what is there can be read. */
START_TEST(full_disk)
{
	const struct pcapng_interface i = { .name = "x", .snaplen = 1000 };
	struct pcapng_packet k = { .data = bytes, .len = 1000, .caplen = 1000 };
	char *path = strdup(file("disk"));
	char name[64];
	struct pcapng *p;
	struct reading r;
	struct err e;
	int fd, n, rc = 0;

	ck_assert(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	ck_assert(!mkdir(path, 0700) && !mount("none", path, "tmpfs", 0, "size=1m"));
	snprintf(name, sizeof(name), "%s/x", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(pcapng_new(fd, name, &p, &e), 0);
	ck_assert_int_eq(pcapng_interface(p, &i, &e), 0);
	for (n = 0; !rc; n++)
		rc = pcapng_packet(p, &k, &e);
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_msg(strstr(e.text, name) && strstr(e.text, "No space left"), "%s", e.text);
	ck_assert_int_eq(pcapng_packet(p, &k, &e), -ENOSPC);
	ck_assert_int_eq(pcapng_flush(p, &e), -ENOSPC);
	pcapng_free(p);
	close(fd);
	read_file(&r, name);
	ck_assert_uint_gt(r.packets, 500);
	ck_assert(!umount(path));
	free(path);
}
END_TEST

/* ---- filters, hops, order ------------------------------------------------------------ */

START_TEST(filters)
{
	static const char *const bad[] = { "nonsense", "port 99999", "host", "tcp port", "(icmp",
					   "icmp and \n", "ether[70000000000]", "host nowhere.invalid" };
	struct filter f;
	struct err e;
	size_t i;

	ck_assert_int_eq(filter_compile(NULL, &f, &e), 0);
	ck_assert_ptr_null(f.insn);
	ck_assert_int_eq(filter_compile("", &f, &e), 0);
	ck_assert_int_eq(filter_compile("tcp port 443 or arp", &f, &e), 0);
	ck_assert_uint_gt(f.n, 3);
	filter_done(&f);
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_msg(filter_compile(bad[i], &f, &e) == -EINVAL, "%s", bad[i]);
		ck_assert_msg(strstr(e.text, "filter: ") && strstr(e.text, "pcap-filter(7)"), "%s",
			      e.text);
	}
}
END_TEST

START_TEST(lists_of_hops)
{
	static const struct { const char *list; int rc; unsigned int mask; } rows[] = {
		{ NULL, 0, 15 }, { "host", 0, 1 }, { "guest,tap", 0, 12 }, { "pod,pod", 0, 2 },
		{ "", -EINVAL, 0 }, { "host,", -EINVAL, 0 }, { "hos", -EINVAL, 0 },
		{ "hosts", -EINVAL, 0 }, { "host tap", -EINVAL, 0 },
	};
	unsigned int mask;
	struct err e;
	size_t i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(hop_sides_parse(rows[i].list, &mask, &e), rows[i].rc);
		if (!rows[i].rc)
			ck_assert_uint_eq(mask, rows[i].mask);
	}
}
END_TEST

struct ordered {
	uint64_t last_ns;
	size_t n, bytes;
};

static int in_order(void *arg, size_t source, const struct packet *k, struct err *e)
{
	struct ordered *o = arg;

	(void)source;
	(void)e;
	ck_assert_uint_ge(k->ts_ns, o->last_ns);
	ck_assert_uint_eq(k->data[0], k->ts_ns & 0xff);
	o->last_ns = k->ts_ns;
	o->n++;
	return 0;
}

START_TEST(packets_are_put_in_order)
{
	uint64_t seed = kit_seed("netplug_capture"), now = 1000000000000ull;
	struct ordered o = { 0 };
	struct order *q;
	struct err e = { 0 };
	int i;

	srand48((long)seed);
	ck_assert_int_eq(order_new(in_order, &o, &q, &e), 0);
	for (i = 0; i < 20000; i++) {
		/* As far apart as a packet may be late. */
		struct packet k = { .ts_ns = now + (uint64_t)(lrand48() % 100000000) };
		uint8_t data[700] = { (uint8_t)k.ts_ns };

		k.data = data;
		k.len = k.caplen = 1 + (uint32_t)lrand48() % 700;
		ck_assert_int_eq(order_add(q, 0, &k, &e), 0);
		now += 50000;
		if (i % 100 == 0)
			ck_assert_int_eq(order_release(q, now, &e), 0);
	}
	ck_assert_uint_gt(o.n, 10000);
	ck_assert_int_eq(order_release(q, UINT64_MAX, &e), 0);
	ck_assert_uint_eq(o.n, 20000);
	order_free(q);
}
END_TEST

/* What is held has a bound: the oldest goes. */
START_TEST(order_is_bounded)
{
	struct packet k = { .ts_ns = 0, .len = 200000, .caplen = 200000, .data = bytes };
	struct ordered o = { 0 };
	struct order *q;
	struct err e = { 0 };
	size_t i;

	ck_assert_int_eq(order_new(in_order, &o, &q, &e), 0);
	for (i = 0; i < 1000; i++) {
		k.ts_ns += 256;
		ck_assert_int_eq(order_add(q, 0, &k, &e), 0);
	}
	ck_assert_uint_ge(o.n, 1000 - (32u << 20) / 200000 - 1);
	order_free(q); /* with what it holds */
}
END_TEST

/* ---- what a guest tells ---------------------------------------------------------------- */

struct lie {
	const char *name;
	uint64_t ts_ns;
	uint32_t len, data, type;
	uint64_t received, dropped;
	size_t n;
	int want;
	uint64_t ts_want;
	uint64_t odd;
};

#define SECOND 1000000000ull
#define START (100 * SECOND)
#define NOW (110 * SECOND)
#define AHEAD (5 * SECOND)

static const struct lie lies[] = {
	{ "true", START + AHEAD + 7, 60, 60, 0, 1, 0, 1, 0, START + 7, 0 },
	{ "cut", START + AHEAD + 7, 1500, 96, 4, 1, 0, 1, 0, START + 7, 0 },
	{ "a full batch", START + AHEAD, 60, 60, 0, 64, 0, 64, 0, START, 0 },
	{ "one too many", START + AHEAD, 60, 60, 0, 64, 0, 65, -EPROTO, 0, 0 },
	{ "longer than asked for", START + AHEAD, 97, 97, 0, 1, 0, 1, -EPROTO, 0, 0 },
	{ "more than there was", START + AHEAD, 59, 60, 0, 1, 0, 1, -EPROTO, 0, 0 },
	{ "impossible length", START + AHEAD, PACKET_LEN_MAX + 1, 60, 0, 1, 0, 1, -EPROTO, 0, 0 },
	{ "wrapping length", START + AHEAD, UINT32_MAX, 60, 0, 1, 0, 1, -EPROTO, 0, 0 },
	{ "unknown kind", START + AHEAD, 60, 60, 5, 1, 0, 1, -EPROTO, 0, 0 },
	{ "kind of 256", START + AHEAD, 60, 60, 256, 1, 0, 1, -EPROTO, 0, 0 },
	{ "more dropped than received", START + AHEAD, 60, 60, 0, 1, 2, 1, -EPROTO, 0, 0 },
	{ "nothing at all", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "an empty packet", START + AHEAD, 0, 0, 0, 1, 0, 1, 0, START, 0 },
	{ "before the beginning", START + AHEAD - SECOND, 60, 60, 0, 1, 0, 1, 0, START - 1000, 1 },
	{ "time zero", 0, 60, 60, 0, 1, 0, 1, 0, START - 1000, 1 },
	{ "the future", NOW + AHEAD + SECOND, 60, 60, 0, 1, 0, 1, 0, NOW + 1000, 1 },
	{ "the end of time", UINT64_MAX, 60, 60, 0, 1, 0, 1, 0, 0, 1 },
	{ "half way round", 1ull << 63, 60, 60, 0, 1, 0, 1, 0, 0, 1 },
};

static int take_packet_test(void *arg, const struct packet *k, struct err *e)
{
	(void)e;
	*(struct packet *)arg = *k;
	return 0;
}

START_TEST(lies_of_a_guest)
{
	const struct lie *l = &lies[_i];
	struct half h = { .clock = { (int64_t)AHEAD, 1000 }, .snaplen = 96,
				.start_ns = START };
	Podvm__Captured m = PODVM__CAPTURED__INIT;
	Podvm__Packet k = PODVM__PACKET__INIT, *list[65];
	struct packet got = { 0 };
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(list); i++)
		list[i] = &k;
	k.ts_ns = l->ts_ns;
	k.len = l->len;
	k.type = l->type;
	k.data.data = malloc(l->data ? l->data : 1);
	k.data.len = l->data;
	m.packets = list;
	m.n_packets = l->n;
	m.received = l->received;
	m.dropped = l->dropped;
	ck_assert_msg(half_take(&h, &m, NOW, take_packet_test, &got, &e) == l->want, "%s: %s",
		      l->name, e.text);
	ck_assert_msg(!l->want == !e.text[0], "%s", l->name);
	if (!l->want && l->n) {
		ck_assert_msg(h.odd == l->odd, "%s", l->name);
		if (l->ts_want)
			ck_assert_msg(got.ts_ns == l->ts_want, "%s: %llu", l->name,
				      (unsigned long long)got.ts_ns);
		ck_assert_msg(got.ts_ns >= START - 1000 && got.ts_ns <= NOW + 1000, "%s", l->name);
		/* A count that goes back. */
		m.received = 0;
		m.n_packets = 0;
		m.dropped = 0;
		ck_assert_int_eq(half_take(&h, &m, NOW, take_packet_test, &got, &e),
				 l->received ? -EPROTO : 0);
	}
	free(k.data.data);
}
END_TEST

/* ---- packets ----------------------------------------------------------------------------- */

/* Silent but for what the test sends, with eth0 and its peer up. */
static void two_ends(struct kit_net *n)
{
	kit_tap_netns();
	kit_net_new(n);
	kit_run("until ip -br link show eth0 | grep -q ' UP '; do sleep 0.01; done");
}

struct seen {
	size_t n;
	struct packet k;
	uint8_t head[18];
};

static int see(void *arg, const struct packet *k, struct err *e)
{
	struct seen *s = arg;

	(void)e;
	s->n++;
	s->k = *k;
	memcpy(s->head, k->data, k->caplen < 18 ? k->caplen : 18);
	return 0;
}

static void see_one(int fd, uint32_t snaplen, struct seen *s)
{
	struct packet_reader *r;
	struct err e;
	int i;

	memset(s, 0, sizeof(*s));
	ck_assert_int_eq(packet_reader_new(snaplen, &r, &e), 0);
	for (i = 0; i < 500 && !s->n; i++) {
		ck_assert_int_ge(packet_read(r, fd, see, s, &e), 0);
		usleep(2000);
	}
	ck_assert_uint_eq(s->n, 1);
	packet_reader_free(r);
}

/* The tag of a frame that comes in is kept apart, and is back where it was. */
START_TEST(vlan_tags)
{
	uint8_t frame[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9,
			      0x81, 0, 0x60, 5, 0x88, 0xb5, 7 };
	uint64_t received = 0, dropped = 0;
	struct filter f, tagged;
	struct kit_net n;
	struct seen s;
	struct err e;
	int wire, out, in;

	two_ends(&n);
	ck_assert_int_eq(filter_compile("ether proto 0x88b5", &f, &e), 0);
	ck_assert_int_eq(filter_compile("ether proto 0x8100", &tagged, &e), 0);
	ck_assert_int_eq(packet_open(2, tagged.insn, tagged.n, &out, &e), 0);
	kit_net_enter(n.host);
	ck_assert_int_eq(packet_open(2, f.insn, f.n, &in, &e), 0);
	kit_net_enter(n.pod);
	wire = kit_wire_open("eth0", 0x88b5);
	ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	see_one(in, 1000, &s);
	ck_assert_uint_eq(s.k.len, 64);
	ck_assert_uint_eq(s.k.caplen, 64);
	ck_assert_uint_eq(s.k.type, PACKET_BROADCAST);
	ck_assert_mem_eq(s.head, frame, 18);
	see_one(out, 17, &s);
	ck_assert_uint_eq(s.k.len, 64);
	ck_assert_uint_eq(s.k.caplen, 17);
	ck_assert_uint_eq(s.k.type, PACKET_OUTGOING);
	ck_assert_mem_eq(s.head, frame, 17);
	/* Again, cut on the way in: the tag counts. */
	ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	see_one(in, 17, &s);
	ck_assert_uint_eq(s.k.len, 64);
	ck_assert_uint_eq(s.k.caplen, 17);
	ck_assert_mem_eq(s.head, frame, 17);
	packet_counts(in, &received, &dropped);
	ck_assert_uint_eq(received, 2);
	ck_assert_uint_eq(dropped, 0);
	filter_done(&f);
	filter_done(&tagged);
	close(wire);
	close(in);
	close(out);
}
END_TEST

/* What does not fit into the socket is counted. */
START_TEST(drops_are_counted)
{
	uint8_t frame[1400] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x88, 0xb5 };
	uint64_t received = 0, dropped = 0;
	int fd, wire, small = 4096, i;
	struct kit_net n;
	struct err e;

	two_ends(&n);
	ck_assert_int_eq(packet_open(2, NULL, 0, &fd, &e), 0);
	ck_assert(!setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	wire = kit_wire_open("eth0", 0x88b5);
	for (i = 0; i < 100; i++)
		ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	packet_counts(fd, &received, &dropped);
	ck_assert_uint_ge(received, 100);
	ck_assert_uint_ge(dropped, 50);
	close(wire);
	close(fd);
}
END_TEST

START_TEST(interface_goes_away)
{
	struct packet_reader *r;
	struct kit_net n;
	struct seen s = { 0 };
	struct err e;
	int fd, rc;

	two_ends(&n);
	ck_assert_int_eq(packet_open(2, NULL, 0, &fd, &e), 0);
	ck_assert_int_eq(packet_reader_new(96, &r, &e), 0);
	kit_run("ip link del eth0");
	while (packet_read(r, fd, see, &s, &e) > 0)
		;
	ck_assert_int_eq(e.code, ENETDOWN);
	while ((rc = packet_read(r, fd, see, &s, &e)) > 0)
		;
	ck_assert_int_eq(rc, 0);
	packet_reader_free(r);
	ck_assert_int_eq(packet_reader_new(0, &r, &e), -EINVAL);
	ck_assert_int_eq(packet_reader_new(PACKET_SNAPLEN_MAX + 1, &r, &e), -EINVAL);
	ck_assert_int_lt(packet_open(99, NULL, 0, &fd, &e), 0);
}
END_TEST

/* ---- the command --------------------------------------------------------------------------- */

/* Where there are no threads. */
static pid_t capture(char **argv)
{
	return netpod_spawn(dir_of_files(), argv);
}

/* Until the file describes its interfaces: then everything listens. */
static void wait_for_file(const char *path)
{
	struct stat st = { 0 };
	int i;

	for (i = 0; i < 3000 && (stat(path, &st) < 0 || !st.st_size); i++)
		usleep(10000);
	ck_assert_msg(st.st_size, "%s", kit_output("cat %s", file("err")));
}

#define ARG(s) ((char *)(uintptr_t)(s))

START_TEST(all_hops_of_a_pod)
{
	static const char *const names[] = { "host:h0", "pod:eth0", "tap:tap2", "guest:eth0" };
	char *path = strdup(file("x"));
	struct netpod t;
	struct reading r;
	pid_t pid;
	int i;

	netpod_start(&t, dir_of_files());
	t.g.ahead_ns = 3600ll * 1000000000;
	pid = netpod_run(&t, (char *[]){ ARG("capture"), ARG("web"), ARG("--root"), t.g.pod.root, ARG("-w"),
				  path, ARG("--filter"), ARG("icmp"), ARG("--json"), NULL });
	wait_for_file(path);
	kit_run("ping -q -c 3 -i 0.05 -W 5 10.1.0.2 >&2");
	kill(pid, SIGINT);
	ck_assert_msg(!netpod_status(pid), "%s", kit_output("cat %s", file("err")));
	read_file(&r, path);
	ck_assert_uint_eq(r.interfaces, 4);
	ck_assert_uint_eq(r.stats, 4);
	for (i = 0; i < 4; i++) {
		ck_assert_str_eq(r.name[i], names[i]);
		ck_assert_msg(r.in[i] == 3 && r.out[i] == 3, "%s: %zu in, %zu out: %s", names[i],
			      r.in[i], r.out[i], kit_output("cat %s", file("err")));
		ck_assert_uint_eq(r.dropped[i], 0);
	}
	/* One clock: on the guest's interface it was a moment later, not an hour. */
	ck_assert_msg(strstr(r.comment[3], "guest's was +36"), "%s", r.comment[3]);
	ck_assert_msg(r.first_ns[3] + 50000000 > r.first_ns[2] &&
		      r.first_ns[3] < r.first_ns[2] + SECOND, "%llu %llu",
		      (unsigned long long)r.first_ns[2], (unsigned long long)r.first_ns[3]);
	ck_assert(r.times);
	ck_assert_uint_eq(tcpdump(path, "icmp[0] == 8"), 12);
	ck_assert(kit_try("grep -q '\"written\": 24' %s", file("err")));
	netpod_end(&t);
	free(path);
}
END_TEST

START_TEST(count_snaplen_and_a_pipe)
{
	char *path = strdup(file("out"));
	struct netpod t;
	struct reading r;
	pid_t pid;

	netpod_start(&t, dir_of_files());
	pid = netpod_run(&t, (char *[]){ ARG("capture"), t.n.path, ARG("--root"), t.g.pod.root, ARG("-w"),
				  ARG("-"), ARG("--hop"), ARG("guest"), ARG("--count"), ARG("2"),
				  ARG("--snaplen"), ARG("60"), ARG("-f"), ARG("icmp"), NULL });
	wait_for_file(path);
	kit_run("ping -q -c 4 -i 0.05 -s 1000 -W 5 10.1.0.2 >&2");
	ck_assert_int_eq(netpod_status(pid), 0);
	read_file(&r, path);
	ck_assert_uint_eq(r.interfaces, 1);
	ck_assert_uint_eq(r.packets, 2);
	ck_assert_uint_eq(r.caplen, 60);
	ck_assert_uint_eq(r.len, 1042);
	netpod_end(&t);
	free(path);
}
END_TEST

/* Without a guest, or a supervisor, the rest is captured; asked for, it is refused. */
START_TEST(guest_is_missing)
{
	char *path = strdup(file("x")), *err;
	struct netpod t;
	struct reading r;

	netpod_start(&t, dir_of_files());
	t.g.pod.agent = NULL;
	ck_assert_int_eq(netpod_status(netpod_run(&t, (char *[]){ ARG("capture"), ARG("web"), ARG("--root"), t.g.pod.root, ARG("-w"),
			path, ARG("--seconds"), ARG("0"), NULL })), 0);
	read_file(&r, path);
	ck_assert_uint_eq(r.interfaces, 3);
	err = kit_output("cat %s", file("err"));
	ck_assert_msg(strstr(err, "guest eth0: the pod's machine has ended"), "%s", err);
	free(err);
	ck_assert_int_eq(netpod_status(netpod_run(&t, (char *[]){ ARG("capture"), ARG("web"), ARG("--root"), t.g.pod.root, ARG("-w"),
			path, ARG("--hop"), ARG("guest"), NULL })), 1);
	netpod_end(&t);
	free(path);
}
END_TEST

static const struct {
	const char *argv[6];
	const char *want;
} refused[] = {
	{ { "--hop", "nic" }, "hops are host, pod, tap and guest" },
	{ { "--snaplen", "0" }, "--snaplen: 1 to 262144" },
	{ { "--snaplen", "262145" }, "--snaplen: 1 to 262144" },
	{ { "--seconds", "4294967296" }, "--seconds: 4294967295 at most" },
	{ { "--count", "-1" }, "--count" },
	{ { "--filter", "icmp and" }, "filter: " },
	{ { "--interface", "eth7" }, "no interface \"eth7\"" },
	{ { "--hop", "tap" }, "none of these hops can be seen" },
	{ { "--hop", "guest" }, "no pod below" },
	{ { "-w", "/proc/nowhere" }, "/proc/nowhere" },
	{ { "--bpf", "x" }, "unknown option" },
	{ { "--seconds", "1", "-w", "/dev/full" }, "write /dev/full: No space left on device" },
};

START_TEST(refusals)
{
	char *argv[12] = { ARG("capture") };
	_cleanup_free_ char *err = NULL;
	struct kit_net n;
	int i;

	kit_tap_netns();
	kit_net_new(&n);
	argv[1] = n.path;
	argv[2] = ARG("--root");
	argv[3] = ARG("/nonexistent");
	for (i = 0; i < 6 && refused[_i].argv[i]; i++)
		argv[4 + i] = ARG(refused[_i].argv[i]);
	if (!strstr(refused[_i].want, "/")) {
		argv[4 + i] = ARG("-w");
		argv[5 + i] = ARG(file("x"));
	}
	ck_assert_int_eq(netpod_status(capture(argv)), 1);
	err = kit_output("cat %s", file("err"));
	ck_assert_msg(strstr(err, refused[_i].want), "%s", err);
	ck_assert_msg(strchr(err, '\n') == err + strlen(err) - 1, "%s", err);
}
END_TEST

Suite *netplug_capture_suite(void)
{
	Suite *s = suite_create("netplug_capture");
	TCase *t = tcase_create("pure");
	const char *missing = kit_net_missing(true);

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, file_is_what_was_written);
	tcase_add_test(t, filters);
	tcase_add_test(t, lists_of_hops);
	tcase_add_test(t, packets_are_put_in_order);
	tcase_add_test(t, order_is_bounded);
	tcase_add_loop_test(t, lies_of_a_guest, 0, ARRAY_LEN(lies));
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	if (missing) {
		kit_skip("netplug_capture", missing);
		return s;
	}
	t = tcase_create("netns");
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, vlan_tags);
	tcase_add_test(t, drops_are_counted);
	tcase_add_test(t, interface_goes_away);
	tcase_add_test(t, all_hops_of_a_pod);
	tcase_add_test(t, count_snaplen_and_a_pipe);
	tcase_add_test(t, guest_is_missing);
	tcase_add_loop_test(t, refusals, 0, ARRAY_LEN(refused));
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
