// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of the network card, with one pair of queues or two: a tap in a network namespace of its own, whose
 * other end, a packet socket, sends what the input says.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/drive.h"

static int raw = -1;
static unsigned int ifindex;

static int open_tap(void)
{
	struct ifreq ifr = { .ifr_name = "tap0" };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		abort();
	return fd;
}

/* Once: a tap that stays, and is up. */
static void make_tap(void)
{
	struct ifreq ifr = { .ifr_name = "tap0", .ifr_flags = IFF_UP };
	int fd;

	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "fuzz_net: network namespace: %m: run as root\n");
		exit(1);
	}
	fd = open_tap();
	if (ioctl(fd, TUNSETPERSIST, 1ul) < 0)
		abort();
	close(fd);
	raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (raw < 0 || ioctl(raw, SIOCSIFFLAGS, &ifr) < 0)
		abort();
	ifindex = if_nametoindex("tap0");
}

static void send_frame(struct drive *t, struct virtio_dev *d, uint8_t what)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)ifindex,
				  .sll_protocol = htons(ETH_P_ALL) };
	uint8_t frame[1514] = { 0 };
	size_t len = ETH_HLEN + fuzz_take(&t->in, 2) % (sizeof(frame) - ETH_HLEN);

	(void)d;
	(void)what;
	sendto(raw, frame, len, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

static void compose(struct drive *t, struct message *m)
{
	struct virtio_net_hdr_v1 h = {
		.flags = (uint8_t)fuzz_take(&t->in, 1) & VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = (uint8_t)fuzz_take(&t->in, 1),
		.hdr_len = (uint16_t)fuzz_take(&t->in, 1),
		.gso_size = (uint16_t)fuzz_take(&t->in, 2),
		.csum_start = (uint16_t)fuzz_take(&t->in, 1),
		.csum_offset = (uint16_t)fuzz_take(&t->in, 1),
	};
	uint8_t frame[DRIVE_MESSAGE_BYTES] = { 0 };

	m->q = 1;
	if (t->v->dev->n_queues > 2 && fuzz_odd(&t->in))
		m->q = (uint16_t)(fuzz_take(&t->in, 1) % t->v->dev->n_queues);
	if (fuzz_odd(&t->in))
		fuzz_take_bytes(&t->in, &h, sizeof(h));
	fuzz_take_bytes(&t->in, frame, 64);
	message_add(m, &h, sizeof(h));
	message_add(m, frame, fuzz_take(&t->in, 2) % sizeof(frame));
}

/**
 * LLVMFuzzerTestOneInput() - a life of a network card; the first byte: bit 0 two pairs
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmm_net cfg = { .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500 };
	struct drive t = { .compose = compose, .back_end = send_frame };
	int taps[2] = { -1, -1 };
	struct virtio_dev *d;
	struct err e;

	if (raw < 0)
		make_tap();
	cfg.pairs = size && data[0] & 1 ? 2 : 1;
	taps[0] = open_tap();
	if (cfg.pairs > 1)
		taps[1] = open_tap();
	drive_begin(&t, data + !!size, size - !!size);
	if (net_new(&cfg, taps, cfg.pairs, &t.mem, t.loop, &d, &e) < 0)
		abort();
	drive_run(&t, d);
	drive_end(&t);
	return 0;
}
