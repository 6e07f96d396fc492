// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/net.c between a fake driver and a real tap in a network namespace
 * of its own. The host's side of the tap is a packet socket.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/kit/fakedrv.h"
#include "tests/kit/kit.h"
#include "tests/kit/tap.h"
#include "vmm/batch.h"
#include "vmm/virtio/net.h"

#define RX 0
#define TX 1
#define HDR 12
#define MTU 9000
#define B(n) (1ull << (n))
#define BASE (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | B(VIRTIO_NET_F_MAC) | B(VIRTIO_NET_F_MTU))
#define MRG B(VIRTIO_NET_F_MRG_RXBUF)
#define CSUM (B(VIRTIO_NET_F_CSUM) | B(VIRTIO_NET_F_GUEST_CSUM))
#define TSO (B(VIRTIO_NET_F_HOST_TSO4) | B(VIRTIO_NET_F_HOST_TSO6))
#define USO B(VIRTIO_NET_F_HOST_USO)
#define ECN B(VIRTIO_NET_F_HOST_ECN)

/* What the guest sends leaves through a slow link. */
#define SHAPER "ip link add v0 type veth peer name v1 && " \
	"ip link set v0 up && ip link set v1 up && " \
	"tc qdisc add dev v0 root tbf rate 8mbit burst 2000 limit 100000 && " \
	"tc qdisc add dev tap0 ingress && " \
	"tc filter add dev tap0 parent ffff: protocol all u32 match u32 0 0 " \
	"action mirred egress redirect dev v0"

Suite *virtio_net_suite(void);

static struct fakedrv f;
static int wire = -1;
static uint64_t room;
static const struct vmm_net cfg = { .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500 };

static void setup(void)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };
	int fd;

	kit_tap_netns();
	fakedrv_init(&f);
	room = fakedrv_alloc(&f, 1 << 20);
	fd = kit_tap_open("tap0", KIT_TAP_FLAGS);
	kit_link_set("tap0", true, MTU);
	wire = kit_wire_open("tap0", KIT_PROTO);
	ck_assert_msg(!net_new(&cfg, &fd, 1, &f.mem, f.loop, &d, &e), "%s", e.text);
	ck_assert_int_eq(fd, -1);
	f.d = d;
}

static void teardown(void)
{
	fakedrv_done(&f);
	fd_close(&wire);
}

static void attach_dev(struct virtio_dev *d, uint64_t features, uint16_t size)
{
	fakedrv_attach(&f, d, features, size);
}

static void attach(uint64_t features, uint16_t size)
{
	attach_dev(f.d, features, size);
}

/* Puts a frame of @len bytes on the wire towards the guest. */
static void host_puts(size_t len, uint8_t fill)
{
	static uint8_t frame[65536];

	memset(frame, fill, sizeof(frame));
	memcpy(frame, cfg.mac, 6);
	frame[12] = KIT_PROTO >> 8;
	frame[13] = KIT_PROTO & 0xff;
	ck_assert_int_eq(send(wire, frame, len, 0), (ssize_t)len);
}

static void host_sends(size_t len, uint8_t fill)
{
	host_puts(len, fill);
	fakedrv_poll(&f);
}

static void rx_buffer(uint32_t i, uint32_t len)
{
	struct fakebuf b = { room + 4096ull * i, len, true };

	fakedrv_add(&f, RX, &b, 1);
}

static uint16_t num_buffers(uint32_t i)
{
	struct virtio_net_hdr_v1 h;

	memcpy(&h, fakedrv_ptr(&f, room + 4096ull * i, sizeof(h)), sizeof(h));
	return h.num_buffers;
}

static const uint8_t *at(uint64_t offset)
{
	return fakedrv_ptr(&f, room + offset, 1);
}

START_TEST(test_rx_one)
{
	uint32_t id, len;

	attach(_i ? BASE | MRG : BASE, 16);
	rx_buffer(0, 2048);
	fakedrv_kick(&f, RX);
	host_sends(100, 0x42);
	ck_assert(fakedrv_used(&f, RX, &id, &len));
	ck_assert_uint_eq(len, 100 + HDR);
	ck_assert_uint_eq(num_buffers(0), 1);
	ck_assert_mem_eq(at(HDR), cfg.mac, 6);
	ck_assert_uint_eq(*at(HDR + 99), 0x42);
	ck_assert_uint_ge(f.irq[RX], 1);
	ck_assert(!fakedrv_used(&f, RX, NULL, NULL));
}
END_TEST

/* 3000 bytes over buffers of 1024. */
START_TEST(test_rx_merge)
{
	static const uint32_t want[] = { 1024, 1024, 3000 + HDR - 2048 };
	uint32_t len, i;

	attach(BASE | MRG, 16);
	for (i = 0; i < 4; i++)
		rx_buffer(i, 1024);
	fakedrv_kick(&f, RX);
	host_sends(3000, 0x43);
	for (i = 0; i < 3; i++) {
		ck_assert(fakedrv_used(&f, RX, NULL, &len));
		ck_assert_uint_eq(len, want[i]);
	}
	ck_assert(!fakedrv_used(&f, RX, NULL, NULL));
	ck_assert_uint_eq(num_buffers(0), 3);
	ck_assert_uint_eq(*at(4096), 0x43);
	ck_assert_uint_eq(*at(8192 + want[2] - 1), 0x43);
}
END_TEST

/* The header itself is cut into single bytes. */
START_TEST(test_rx_split_header)
{
	struct fakebuf b[14];
	uint16_t n;
	uint32_t i;

	attach(BASE | MRG, 16);
	for (i = 0; i < 13; i++)
		b[i] = (struct fakebuf){ room + 64ull * i, 1, true };
	b[13] = (struct fakebuf){ room + 4096, 1000, true };
	fakedrv_add(&f, RX, b, 14);
	fakedrv_kick(&f, RX);
	host_sends(60, 0x44);
	ck_assert(fakedrv_used(&f, RX, NULL, NULL));
	n = (uint16_t)(*at(64 * 10) | *at(64 * 11) << 8);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(*at(4096 + 58), 0x44);
}
END_TEST

/* Too few buffers: the packet waits, in order, and nothing spins. */
START_TEST(test_rx_starved)
{
	uint32_t i, len;

	attach(BASE | MRG, 16);
	host_sends(3000, 0x45);
	host_sends(100, 0x46);
	rx_buffer(0, 1024);
	fakedrv_kick(&f, RX);
	ck_assert(!fakedrv_used(&f, RX, NULL, NULL));
	for (i = 1; i < 4; i++)
		rx_buffer(i, 1024);
	fakedrv_kick(&f, RX);
	for (i = 0; i < 4; i++)
		ck_assert(fakedrv_used(&f, RX, NULL, &len));
	ck_assert_uint_eq(len, 100 + HDR);
	ck_assert_uint_eq(num_buffers(0), 3);
	ck_assert_uint_eq(num_buffers(3), 1);
}
END_TEST

/* Not even the whole queue holds it: dropped, the next one arrives. */
START_TEST(test_rx_never_fits)
{
	uint32_t i, len;

	attach(BASE | MRG, 4);
	for (i = 0; i < 4; i++)
		rx_buffer(i, 200);
	fakedrv_kick(&f, RX);
	host_sends(3000, 0x47);
	host_sends(64, 0x48);
	ck_assert(fakedrv_used(&f, RX, NULL, &len));
	ck_assert_uint_eq(len, 64 + HDR);
	ck_assert(!fakedrv_used(&f, RX, NULL, NULL));
}
END_TEST

START_TEST(test_rx_plain_too_small)
{
	uint32_t len;

	attach(BASE, 4);
	rx_buffer(0, 500);
	fakedrv_kick(&f, RX);
	host_sends(3000, 0x49);
	host_sends(64, 0x4a);
	ck_assert(fakedrv_used(&f, RX, NULL, &len));
	ck_assert_uint_eq(len, 64 + HDR);
}
END_TEST

START_TEST(test_rx_many)
{
	uint32_t i, got = 0, len;

	attach(BASE | MRG, 256);
	for (i = 0; i < 200; i++)
		rx_buffer(i, 2048);
	fakedrv_kick(&f, RX);
	for (i = 0; i < 200; i++)
		host_sends(60 + i, (uint8_t)i);
	while (fakedrv_used(&f, RX, NULL, &len))
		ck_assert_uint_eq(len, 60 + got++ + HDR);
	ck_assert_uint_eq(got, 200);
}
END_TEST

/* Packets that a round finds in the tap decide about batches (vmm/batch.c), not their buffers. */
START_TEST(test_rx_batches)
{
	uint32_t i;

	attach(BASE | MRG, 256);
	for (i = 0; i < 200; i++)
		rx_buffer(i, 64);
	fakedrv_kick(&f, RX);
	batch_begin();
	for (i = 0; i < BATCH_LONE_MAX; i++)
		host_sends(200, 1);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
	host_puts(60, 1);
	host_puts(60, 2);
	fakedrv_poll(&f);
	ck_assert_int_eq(sched_getscheduler(0), SCHED_BATCH);
}
END_TEST

START_TEST(test_rx_hostile)
{
	struct fakebuf readable = { room, 100, false }, small = { room, HDR - 1, true };

	attach(BASE | MRG, 4);
	fakedrv_add(&f, RX, _i ? &small : &readable, 1);
	fakedrv_kick(&f, RX);
	host_sends(64, 1);
	ck_assert(fakedrv_is_broken(&f));
	host_sends(64, 1);
	fakedrv_reset(&f);
	attach(BASE, 4);
	rx_buffer(0, 2048);
	fakedrv_kick(&f, RX);
	host_sends(64, 2);
	ck_assert(fakedrv_used(&f, RX, NULL, NULL));
}
END_TEST

/* A frame of the guest with @h in front, in two buffers. */
static void guest_sends(struct virtio_net_hdr_v1 h, uint32_t len)
{
	struct fakebuf b[2] = { { room, 20, false }, { room + 20, 0, false } };
	uint8_t *p = fakedrv_ptr(&f, room, HDR + 65536 + 100);

	memset(p, 0x61, HDR + len);
	memcpy(p, &h, HDR);
	p[HDR + 12] = KIT_PROTO >> 8;
	p[HDR + 13] = KIT_PROTO & 0xff;
	b[1].len = len + HDR - 20;
	fakedrv_add(&f, TX, b, 2);
	fakedrv_kick(&f, TX);
	ck_assert(fakedrv_used(&f, TX, NULL, NULL));
}

static ssize_t host_gets(void)
{
	static uint8_t buf[70000];

	return recv(wire, buf, sizeof(buf), 0);
}

struct sent {
	const char *name;
	uint64_t features;
	struct virtio_net_hdr_v1 h;
	uint32_t len;
	bool arrives;
};

static const struct sent sents[] = {
	{ "plain", 0, { 0 }, 100, true },
	{ "shortest", 0, { 0 }, 14, true },
	{ "no header of Ethernet", 0, { 0 }, 13, false },
	{ "jumbo", 0, { 0 }, 9014, true },
	{ "oversize", 0, { 0 }, 65535 + 19, false },
	{ "unknown flag", CSUM, { .flags = 8 }, 100, false },
	{ "checksum", CSUM, { .flags = 1, .csum_start = 34, .csum_offset = 6 }, 100, true },
	{ "checksum not taken", 0, { .flags = 1, .csum_start = 34, .csum_offset = 6 }, 100,
	  false },
	{ "checksum behind the end", CSUM,
	  { .flags = 1, .csum_start = 98, .csum_offset = 1 }, 100, false },
	{ "checksum wraps", CSUM,
	  { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff }, 100, false },
	{ "ecn alone", CSUM | TSO, { .gso_type = 0x80 }, 100, false },
	{ "tso not taken", CSUM, { .flags = 1, .gso_type = 1, .gso_size = 100, .hdr_len = 54,
	  .csum_start = 34, .csum_offset = 16 }, 500, false },
	{ "tso without checksum", CSUM | TSO,
	  { .gso_type = 1, .gso_size = 100, .hdr_len = 54 }, 500, false },
	{ "tso of size 0", CSUM | TSO, { .flags = 1, .gso_type = 1, .hdr_len = 54,
	  .csum_start = 34, .csum_offset = 16 }, 500, false },
	{ "tso header too long", CSUM | TSO, { .flags = 1, .gso_type = 1, .gso_size = 100,
	  .hdr_len = 501, .csum_start = 34, .csum_offset = 16 }, 500, false },
	{ "ufo", CSUM | TSO, { .flags = 1, .gso_type = 3, .gso_size = 100, .hdr_len = 42,
	  .csum_start = 34, .csum_offset = 6 }, 500, false },
	{ "tso with UDP's checksum", CSUM | TSO, { .flags = 1, .gso_type = 1, .gso_size = 100,
	  .hdr_len = 54, .csum_start = 34, .csum_offset = 6 }, 500, false },
	{ "tso with half a TCP header", CSUM | TSO, { .flags = 1, .gso_type = 1, .gso_size = 100,
	  .hdr_len = 54, .csum_start = 481, .csum_offset = 16 }, 500, false },
	{ "tso of far behind", CSUM | TSO, { .flags = 1, .gso_type = 4, .gso_size = 100,
	  .hdr_len = 54, .csum_start = 0xffff, .csum_offset = 16 }, 500, false },
	{ "tso with ecn not taken", CSUM | TSO, { .flags = 1, .gso_type = 0x81, .gso_size = 100,
	  .hdr_len = 54, .csum_start = 34, .csum_offset = 16 }, 500, false },
	{ "uso not taken", CSUM | TSO, { .flags = 1, .gso_type = 5, .gso_size = 100,
	  .hdr_len = 42, .csum_start = 34, .csum_offset = 6 }, 500, false },
	{ "uso with TCP's checksum", CSUM | USO, { .flags = 1, .gso_type = 5, .gso_size = 100,
	  .hdr_len = 42, .csum_start = 34, .csum_offset = 16 }, 500, false },
	{ "uso without checksum", CSUM | USO, { .gso_type = 5, .gso_size = 100, .hdr_len = 42 },
	  500, false },
	{ "uso of size 0", CSUM | USO, { .flags = 1, .gso_type = 5, .hdr_len = 42,
	  .csum_start = 34, .csum_offset = 6 }, 500, false },
	{ "uso with half a UDP header", CSUM | USO, { .flags = 1, .gso_type = 5, .gso_size = 100,
	  .hdr_len = 42, .csum_start = 493, .csum_offset = 6 }, 500, false },
	{ "uso with ecn", CSUM | USO | TSO | ECN, { .flags = 1, .gso_type = 0x85, .gso_size = 100,
	  .hdr_len = 42, .csum_start = 34, .csum_offset = 6 }, 500, false },
	{ "gso of number 2", CSUM | TSO | USO, { .flags = 1, .gso_type = 2, .gso_size = 100,
	  .hdr_len = 42, .csum_start = 34, .csum_offset = 6 }, 500, false },
	{ "gso of number 6", CSUM | TSO | USO, { .flags = 1, .gso_type = 6, .gso_size = 100,
	  .hdr_len = 42, .csum_start = 34, .csum_offset = 6 }, 500, false },
	{ "garbage", CSUM | TSO, { .flags = 0xff, .gso_type = 0xff }, 500, false },
};

START_TEST(test_tx)
{
	const struct sent *s = &sents[_i];

	/* A kernel without UDP segmentation does not let it through either. */
	attach((BASE | s->features) & f.d->s.offered, 16);
	guest_sends(s->h, s->len);
	ck_assert_msg(host_gets() == (s->arrives ? (ssize_t)s->len : -1), "%s", s->name);
	ck_assert(!fakedrv_is_broken(&f));
	guest_sends((struct virtio_net_hdr_v1){ 0 }, 77);
	ck_assert_int_eq(host_gets(), 77);
}
END_TEST

START_TEST(test_tx_hostile)
{
	struct fakebuf b[2] = { { room, 100, false }, { room + 4096, 10, true } };

	attach(BASE, 16);
	fakedrv_add(&f, TX, b, 2);
	fakedrv_kick(&f, TX);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert(!fakedrv_used(&f, TX, NULL, NULL));
}
END_TEST

START_TEST(test_tx_many)
{
	struct fakebuf b = { room, HDR + 60, false };
	int i, got = 0;

	attach(BASE, 256);
	memset(fakedrv_ptr(&f, room, 100), 0, 100);
	*(uint8_t *)fakedrv_ptr(&f, room + HDR + 12, 1) = KIT_PROTO >> 8;
	*(uint8_t *)fakedrv_ptr(&f, room + HDR + 13, 1) = KIT_PROTO & 0xff;
	for (i = 0; i < 256; i++)
		fakedrv_add(&f, TX, &b, 1);
	fakedrv_kick(&f, TX);
	while (host_gets() > 0)
		got++;
	ck_assert_int_eq(got, 256);
}
END_TEST

#define GSO_BYTES 20000u

/* An IPv4 TCP segment far above the MTU, with a checksum to be filled in. */
static void gso_frame(struct virtio_net_hdr *h, uint8_t *frame)
{
	static const uint8_t head[] = {
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
		0x45, 0, (GSO_BYTES - 14) >> 8, (GSO_BYTES - 14) & 0xff, 0, 1, 0x40, 0,
		64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0,
	};

	memset(frame, 0x6b, GSO_BYTES);
	memcpy(frame, head, sizeof(head));
	*h = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = 54, .gso_size = 1448,
		.csum_start = 34, .csum_offset = 16 };
}

/* With the features one packet arrives as it is; without, the host cuts it up. */
START_TEST(test_rx_gso)
{
	uint64_t take = CSUM | B(VIRTIO_NET_F_GUEST_TSO4);
	static uint8_t packet[sizeof(struct virtio_net_hdr) + GSO_BYTES];
	uint32_t len, sum = 0, buffers = 0, i;
	struct virtio_net_hdr_v1 h;
	struct virtio_net_hdr gso;
	int one = 1;

	attach(_i ? BASE | MRG | take : BASE | MRG, 64);
	for (i = 0; i < 40; i++)
		rx_buffer(i, 2048);
	fakedrv_kick(&f, RX);
	kit_wire_bind(wire, "tap0", ETH_P_IP);
	ck_assert(!setsockopt(wire, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)));
	gso_frame(&gso, packet + sizeof(gso));
	memcpy(packet, &gso, sizeof(gso));
	ck_assert_msg(send(wire, packet, sizeof(packet), 0) == sizeof(packet), "%s",
		      strerror(errno));
	fakedrv_poll(&f);
	while (fakedrv_used(&f, RX, NULL, &len)) {
		sum += len;
		buffers++;
	}
	memcpy(&h, at(0), sizeof(h));
	if (_i) {
		ck_assert_uint_eq(sum, GSO_BYTES + HDR);
		ck_assert_uint_eq(h.num_buffers, buffers);
		ck_assert_uint_eq(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
		ck_assert_uint_eq(h.gso_size, 1448);
		ck_assert_uint_eq(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	} else {
		ck_assert_uint_eq(buffers, (GSO_BYTES - 54 + 1447) / 1448);
		ck_assert_uint_eq(h.num_buffers, 1);
		ck_assert_uint_eq(h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		ck_assert_uint_eq(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
	}
}
END_TEST

START_TEST(test_tx_gso)
{
	struct fakebuf b = { room, HDR + GSO_BYTES, false };
	static uint8_t frame[GSO_BYTES];
	struct virtio_net_hdr h;

	attach(BASE | CSUM | TSO, 16);
	kit_wire_bind(wire, "tap0", ETH_P_IP);
	gso_frame(&h, frame);
	memset(fakedrv_ptr(&f, room, HDR), 0, HDR);
	memcpy(fakedrv_ptr(&f, room, sizeof(h)), &h, sizeof(h));
	memcpy(fakedrv_ptr(&f, room + HDR, GSO_BYTES), frame, GSO_BYTES);
	fakedrv_add(&f, TX, &b, 1);
	fakedrv_kick(&f, TX);
	ck_assert(fakedrv_used(&f, TX, NULL, NULL));
	ck_assert_int_eq(host_gets(), GSO_BYTES);
}
END_TEST

#define USO_BYTES 8000u
#define USO_SEGMENT 1000u

/* UDP far above the MTU, with a checksum to be filled in, to be cut by us or the host. */
static void uso_frame(struct virtio_net_hdr *h, uint8_t *frame)
{
	size_t len = kit_udp_frame(frame, cfg.mac, 7, USO_BYTES - 42);

	ck_assert_uint_eq(len, USO_BYTES);
	*h = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4, .hdr_len = 42, .gso_size = USO_SEGMENT,
		.csum_start = 34, .csum_offset = 6 };
}

START_TEST(test_tx_uso)
{
	struct fakebuf b = { room, HDR + USO_BYTES, false };
	struct virtio_net_hdr h;

	attach(BASE | CSUM | USO, 16);
	kit_wire_bind(wire, "tap0", ETH_P_IP);
	memset(fakedrv_ptr(&f, room, HDR), 0, HDR);
	uso_frame(&h, fakedrv_ptr(&f, room + HDR, USO_BYTES));
	memcpy(fakedrv_ptr(&f, room, sizeof(h)), &h, sizeof(h));
	fakedrv_add(&f, TX, &b, 1);
	fakedrv_kick(&f, TX);
	ck_assert(fakedrv_used(&f, TX, NULL, NULL));
	ck_assert_int_eq(host_gets(), USO_BYTES);
}
END_TEST

static const struct {
	uint64_t features;
	bool whole;
} usos[] = {
	{ CSUM, false },
	{ CSUM | B(VIRTIO_NET_F_GUEST_USO4), false },
	{ CSUM | B(VIRTIO_NET_F_GUEST_USO6), false },
	{ B(VIRTIO_NET_F_GUEST_USO4) | B(VIRTIO_NET_F_GUEST_USO6), false },
	{ CSUM | B(VIRTIO_NET_F_GUEST_USO4) | B(VIRTIO_NET_F_GUEST_USO6), true },
};

/* With both features one datagram train arrives as it is; else the host cuts it up. */
START_TEST(test_rx_uso)
{
	static uint8_t packet[sizeof(struct virtio_net_hdr) + USO_BYTES];
	unsigned int segments = (USO_BYTES - 42 + USO_SEGMENT - 1) / USO_SEGMENT;
	struct virtio_net_hdr_v1 h;
	struct virtio_net_hdr uso;
	uint32_t len, n = 0, i;
	int one = 1;

	attach(BASE | MRG | usos[_i].features, 64);
	for (i = 0; i < 20; i++)
		rx_buffer(i, 4096);
	fakedrv_kick(&f, RX);
	kit_wire_bind(wire, "tap0", ETH_P_IP);
	ck_assert(!setsockopt(wire, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)));
	uso_frame(&uso, packet + sizeof(uso));
	memcpy(packet, &uso, sizeof(uso));
	ck_assert_msg(send(wire, packet, sizeof(packet), 0) == sizeof(packet), "%s",
		      strerror(errno));
	fakedrv_poll(&f);
	while (fakedrv_used(&f, RX, NULL, &len))
		n++;
	memcpy(&h, at(0), sizeof(h));
	ck_assert_uint_eq(n, usos[_i].whole ? (USO_BYTES + HDR + 4095) / 4096 : segments);
	ck_assert_uint_eq(h.gso_type, usos[_i].whole ? VIRTIO_NET_HDR_GSO_UDP_L4 : 0);
	if (usos[_i].whole)
		ck_assert_uint_eq(h.gso_size, USO_SEGMENT);
}
END_TEST

/*
 * A full tap gives EAGAIN: the packet goes back, and nothing is lost or spins.
 * A shaper behind the tap holds what the tap counts as its own.
 */
START_TEST(test_tx_full)
{
	struct fakebuf b = { room, HDR + 1000, false };
	struct virtio_dev *d = NULL;
	int small = 3000, i, used = 0, fd;
	struct err e = { 0 };

	fakedrv_reset(&f);
	f.d->ops->free(f.d);
	f.d = NULL;
	fd = kit_tap_open("tap0", KIT_TAP_FLAGS);
	kit_link_set("tap0", true, MTU);
	ck_assert_int_eq(system(SHAPER), 0);
	ck_assert(!ioctl(fd, TUNSETSNDBUF, &small));
	ck_assert(!net_new(&cfg, &fd, 1, &f.mem, f.loop, &d, &e));
	attach_dev(d, BASE, 64);
	memset(fakedrv_ptr(&f, room, 1100), 0, 1100);
	for (i = 0; i < 32; i++)
		fakedrv_add(&f, TX, &b, 1);
	fakedrv_kick(&f, TX);
	while (fakedrv_used(&f, TX, NULL, NULL))
		used++;
	ck_assert_int_lt(used, 32);
	for (i = 0; i < 500 && used < 32; i++) {
		ck_assert_int_gt(loop_step(f.loop, 2000, &e), 0);
		while (fakedrv_used(&f, TX, NULL, NULL))
			used++;
	}
	ck_assert_int_eq(used, 32);
	ck_assert_int_lt(i, 100);
}
END_TEST

START_TEST(test_tap_down)
{
	attach(BASE, 16);
	kit_link_set("tap0", false, MTU);
	guest_sends((struct virtio_net_hdr_v1){ 0 }, 100);
	kit_link_set("tap0", true, MTU);
	guest_sends((struct virtio_net_hdr_v1){ 0 }, 101);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* The interface is deleted under the device: link down, once, without spinning. */
START_TEST(test_tap_gone)
{
	struct virtio_net_config c;

	attach(BASE | B(VIRTIO_NET_F_STATUS), 16);
	f.d->ops->config_read(f.d, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.status, VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(c.mtu, 1500);
	ck_assert_mem_eq(c.mac, cfg.mac, 6);
	ck_assert_int_eq(WEXITSTATUS(system("ip link delete tap0")), 0);
	fakedrv_poll(&f);
	f.d->ops->config_read(f.d, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.status, 0);
	ck_assert_uint_eq(f.d->s.config_generation, 1);
	guest_sends((struct virtio_net_hdr_v1){ 0 }, 100);
	rx_buffer(0, 2048);
	fakedrv_kick(&f, RX);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* Packets that come while no driver is there neither spin nor crash. */
START_TEST(test_reset_under_traffic)
{
	uint32_t len;

	host_sends(64, 1);
	attach(BASE | MRG, 8);
	host_sends(64, 2);
	fakedrv_reset(&f);
	host_sends(64, 3);
	fakedrv_reset(&f);
	attach(BASE | CSUM | B(VIRTIO_NET_F_GUEST_TSO4), 8);
	rx_buffer(0, 2048);
	fakedrv_kick(&f, RX);
	ck_assert(fakedrv_used(&f, RX, NULL, &len));
	ck_assert_uint_eq(len, 64 + HDR);
}
END_TEST

static void refuse(const struct vmm_net *c, int fd, const char *text)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	ck_assert_int_lt(net_new(c, &fd, 1, &f.mem, f.loop, &d, &e), 0);
	ck_assert_msg(strstr(e.text, text), "%s", e.text);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
}

START_TEST(test_refused)
{
	struct vmm_net c = cfg;
	int fd, sp[2];

	fakedrv_reset(&f);
	f.d->ops->free(f.d);
	f.d = NULL;
	ck_assert(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sp));
	refuse(&cfg, sp[0], "not a tap");
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	refuse(&cfg, fd, "not a tap");
	close(fd);
	fd = kit_tap_open("tap0", IFF_TAP | IFF_NO_PI);
	refuse(&cfg, fd, "IFF_VNET_HDR");
	close(fd);
	fd = kit_tap_open("tap0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
	refuse(&cfg, fd, "IFF_TAP");
	close(fd);
	c.mac[0] = 1;
	refuse(&c, sp[0], "MAC");
	memset(c.mac, 0, 6);
	refuse(&c, sp[0], "MAC");
	c = cfg;
	c.mtu = 67;
	refuse(&c, sp[0], "MTU");
	close(sp[0]);
	close(sp[1]);
}
END_TEST

static bool can_shape(void)
{
	return !system("unshare -n sh -c 'ip tuntap add tap0 mode tap && " SHAPER
		       "' >/dev/null 2>&1");
}

Suite *virtio_net_suite(void)
{
	Suite *s = suite_create("virtio_net");
	const char *missing = kit_tap_missing();
	TCase *t = tcase_create("tap");

	if (missing) {
		kit_skip("virtio_net", missing);
		return s;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, test_rx_one, 0, 2);
	tcase_add_test(t, test_rx_merge);
	tcase_add_test(t, test_rx_split_header);
	tcase_add_test(t, test_rx_starved);
	tcase_add_test(t, test_rx_never_fits);
	tcase_add_test(t, test_rx_plain_too_small);
	tcase_add_test(t, test_rx_many);
	tcase_add_test(t, test_rx_batches);
	tcase_add_loop_test(t, test_rx_hostile, 0, 2);
	tcase_add_loop_test(t, test_tx, 0, (int)(sizeof(sents) / sizeof(sents[0])));
	tcase_add_test(t, test_tx_hostile);
	tcase_add_test(t, test_tx_many);
	if (can_shape())
		tcase_add_test(t, test_tx_full);
	else
		kit_skip("virtio_net", "no tc with tbf and mirred, or no veth");
	tcase_add_loop_test(t, test_rx_gso, 0, 2);
	tcase_add_test(t, test_tx_gso);
	missing = kit_uso_missing();
	if (!missing) {
		tcase_add_test(t, test_tx_uso);
		tcase_add_loop_test(t, test_rx_uso, 0, (int)(sizeof(usos) / sizeof(usos[0])));
	} else {
		kit_skip("virtio_net", missing);
	}
	tcase_add_test(t, test_tap_down);
	tcase_add_test(t, test_tap_gone);
	tcase_add_test(t, test_reset_under_traffic);
	tcase_add_test(t, test_refused);
	suite_add_tcase(s, t);
	return s;
}
