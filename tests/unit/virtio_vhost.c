// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A network card whose packets the kernel moves: a fake driver's rings, the real
 * /dev/vhost-net, a real tap or macvtap. The fake transport lends its queues by
 * eventfds, so no virtual machine is needed.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "tests/kit/fakenet.h"
#include "tests/kit/kit.h"
#include "tests/kit/tap.h"
#include "vmm/virtio/net.h"

#define VHOST "/dev/vhost-net"
#define PAIRS 2
#define CTRL (2 * PAIRS)
#define WAIT_MS 10000

Suite *virtio_vhost_suite(void);

static struct fakenet card;

static struct net *net(void)
{
	return (struct net *)card.f.d;
}

static int open_vhost(void)
{
	int fd = open(VHOST, O_RDWR | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "%s: %s", VHOST, strerror(errno));
	return fd;
}

static void make(bool macvtap)
{
	struct vmm_net c = {.mtu = 1500, .pairs = PAIRS, .vhost = 1};
	struct virtio_dev *d = NULL;
	int fds[2 * PAIRS], i;
	struct err e = {0};

	memcpy(c.mac, fakenet_mac, sizeof(fakenet_mac));
	fakenet_open(&card, macvtap, fds, PAIRS);
	for (i = PAIRS; i < 2 * PAIRS; i++)
		fds[i] = open_vhost();
	ck_assert_msg(!net_new(&c, fds, 2 * PAIRS, &card.f.mem, card.f.loop, &d, &e), "%s", e.text);
	for (i = 0; i < 2 * PAIRS; i++)
		ck_assert_int_eq(fds[i], -1);
	card.f.d = d;
	card.f.lends = true;
}

static void setup_none(void)
{
	fakenet_init(&card);
}

static void setup(void)
{
	fakenet_init(&card);
	make(false);
}

static void setup_macvtap(void)
{
	fakenet_init(&card);
	kit_macvtap_make("mv0", fakenet_mac);
	make(true);
}

static void teardown(void)
{
	fakenet_done(&card);
}

static void attach(uint64_t features)
{
	fakedrv_attach(&card.f, card.f.d, features, 256);
	ck_assert(net()->served);
}

/* The driver resets, and sees that it takes until the kernel has let go. */
static void reset(void)
{
	fakedrv_reset(&card.f);
	ck_assert_uint_ne(card.f.d->s.status, 0);
	fakedrv_poll(&card.f);
	ck_assert_uint_eq(card.f.d->s.status, 0);
	ck_assert(!net()->served);
}

/* Takes @n requests back, however long the kernel's worker needs. */
static void take(uint16_t q, unsigned int n)
{
	while (n--) {
		fakedrv_wait(&card.f, q);
		ck_assert(fakedrv_used(&card.f, q, NULL, NULL));
	}
}

/* Takes @n requests back from any of the receive queues. */
static unsigned int take_any(unsigned int n, unsigned int *ret_queues)
{
	unsigned int got[PAIRS] = {0}, sum = 0, i;

	*ret_queues = 0;
	while (sum < n) {
		struct pollfd p[PAIRS];
		bool more = false;

		for (i = 0; i < PAIRS; i++) {
			unsigned int k = fakenet_used(&card, FAKENET_RX(i));

			got[i] += k;
			sum += k;
			more |= fakedrv_want(&card.f, FAKENET_RX(i));
			p[i] = (struct pollfd){.fd = card.f.call_fd[FAKENET_RX(i)],
					       .events = POLLIN};
		}
		if (sum < n)
			ck_assert_int_ge(poll(p, PAIRS, more ? 0 : WAIT_MS), !more);
		for (i = 0; i < PAIRS; i++) {
			uint64_t count;

			if (p[i].revents)
				ck_assert_int_eq(read(p[i].fd, &count, 8), 8);
		}
	}
	for (i = 0; i < PAIRS; i++)
		*ret_queues += !!got[i];
	return sum;
}

static unsigned int host_gets(unsigned int n)
{
	struct pollfd p = {.fd = card.wire, .events = POLLIN};
	static uint8_t buf[2000];
	unsigned int got = 0;

	while (got < n && poll(&p, 1, WAIT_MS) == 1)
		got += recv(card.wire, buf, sizeof(buf), 0) == FAKENET_FRAME_BYTES;
	return got;
}

static uint8_t set_pairs(uint8_t pairs)
{
	uint64_t at = fakenet_buffer(&card, CTRL, 0);
	struct fakebuf b[2] = {{at, 4, false}, {at + 100, 1, true}};
	const uint8_t c[4] = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs, 0};

	memcpy(fakedrv_ptr(&card.f, at, 4), c, 4);
	fakedrv_add(&card.f, CTRL, b, 2);
	fakedrv_kick(&card.f, CTRL);
	ck_assert(fakedrv_used(&card.f, CTRL, NULL, NULL));
	return *(uint8_t *)fakedrv_ptr(&card.f, at + 100, 1);
}

START_TEST(test_both_ways)
{
	uint64_t features = (_i & 1 ? FAKENET_MRG : 0) | (_i & 2 ? FAKENET_MQ : 0);
	uint32_t len;

	attach(FAKENET_BASE | features);
	fakenet_fill(&card, 0, 20);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	fakedrv_wait(&card.f, FAKENET_RX(0));
	ck_assert(fakedrv_used(&card.f, FAKENET_RX(0), NULL, &len));
	ck_assert_uint_eq(len, FAKENET_HDR_BYTES + FAKENET_FRAME_BYTES);
	ck_assert_mem_eq(fakedrv_ptr(&card.f,
				     fakenet_buffer(&card, FAKENET_RX(0), 0) + FAKENET_HDR_BYTES,
				     6),
			 fakenet_mac, 6);
	ck_assert_uint_eq(*(uint8_t *)fakedrv_ptr(&card.f,
						  fakenet_buffer(&card, FAKENET_RX(0), 0) +
							  FAKENET_HDR_BYTES + FAKENET_FRAME_BYTES -
							  1,
						  1),
			  0x6b);
	fakenet_guest_sends(&card, 0, 10, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_TX(0), 10);
	ck_assert_uint_eq(host_gets(10), 10);
	ck_assert(!fakedrv_is_broken(&card.f));
}
END_TEST

/* What the kernel serves neither signals nor counts here. */
START_TEST(test_lent)
{
	int i;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ);
	for (i = 0; i < 2 * PAIRS; i++)
		ck_assert_int_ge(card.f.call_fd[i], 0);
	ck_assert_int_lt(card.f.call_fd[CTRL], 0);
	fakenet_guest_sends(&card, 0, 5, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_TX(0), 5);
	ck_assert_uint_eq(card.f.d->q[FAKENET_TX(0)].count.requests, 0);
	reset();
	for (i = 0; i <= CTRL; i++)
		ck_assert_int_lt(card.f.call_fd[i], 0);
	/* Without MQ only the first pair is. */
	attach(FAKENET_BASE | FAKENET_MRG);
	ck_assert_int_ge(card.f.call_fd[FAKENET_TX(0)], 0);
	ck_assert_int_lt(card.f.call_fd[FAKENET_RX(1)], 0);
}
END_TEST

/* A driver that says nothing of a queue that it has filled before DRIVER_OK. */
START_TEST(test_no_kick)
{
	struct fakebuf b = {fakenet_buffer(&card, FAKENET_RX(0), 0), 2048, true};

	attach(FAKENET_BASE | FAKENET_MRG);
	fakedrv_add(&card.f, FAKENET_RX(0), &b, 1);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_RX(0), 1);
}
END_TEST

START_TEST(test_pairs)
{
	unsigned int queues;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ);
	fakenet_fill(&card, 0, 200);
	fakenet_fill(&card, 1, 100);
	fakenet_flows(&card, 32);
	take(FAKENET_RX(0), 32);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	fakenet_flows(&card, 32);
	ck_assert_uint_eq(take_any(32, &queues), 32);
	ck_assert_uint_eq(queues, 2);
	fakenet_guest_sends(&card, 1, 10, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_TX(1), 10);
	ck_assert_uint_eq(host_gets(10), 10);
	ck_assert_uint_eq(set_pairs(3), VIRTIO_NET_ERR);
	ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
	fakenet_flows(&card, 32);
	take(FAKENET_RX(0), 32);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(1)), 0);
	/* The pair that is off still sends. */
	fakenet_guest_sends(&card, 1, 10, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_TX(1), 10);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	fakenet_flows(&card, 32);
	ck_assert_uint_eq(take_any(32, &queues), 32);
	ck_assert(!fakedrv_is_broken(&card.f));
}
END_TEST

/* Resets with packets in all places: memory is the driver's own afterwards. */
START_TEST(test_reset_under_traffic)
{
	unsigned int round;

	for (round = 0; round < 20; round++) {
		uint64_t at = fakenet_buffer(&card, FAKENET_RX(0), 0);

		attach(FAKENET_BASE | FAKENET_MRG | (round % 2 ? FAKENET_MQ : 0));
		fakenet_fill(&card, 0, 50);
		if (round % 2)
			ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
		fakenet_guest_sends(&card, 0, 50, FAKENET_PAYLOAD_BYTES);
		fakenet_flows(&card, 40);
		reset();
		memset(fakedrv_ptr(&card.f, at, 50 * 2048), 0x11, 50 * 2048);
		fakenet_flows(&card, 10);
		fakenet_guest_sends(&card, 0, 1, FAKENET_PAYLOAD_BYTES);
		ck_assert_uint_eq(*(uint8_t *)fakedrv_ptr(&card.f, at + FAKENET_HDR_BYTES, 1),
				  0x11);
		card.f.brk = card.room + (8 << 20);
	}
	attach(FAKENET_BASE | FAKENET_MRG);
	fakenet_fill(&card, 0, 50);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_RX(0), 1);
}
END_TEST

/* Waits until the device has noticed. */
static void wait_broken(void)
{
	struct err e;
	int i;

	for (i = 0; i < 1000 && !fakedrv_is_broken(&card.f); i++)
		ck_assert_int_gt(loop_step(card.f.loop, WAIT_MS, &e), 0);
	ck_assert(fakedrv_is_broken(&card.f));
	fakedrv_poll(&card.f);
	ck_assert(!net()->served);
}

static void loop_chain(void)
{
	fakedrv_desc(&card.f, FAKENET_TX(0), 0, card.room, 100, 1, 1);
	fakedrv_desc(&card.f, FAKENET_TX(0), 1, card.room, 100, 1, 0);
	fakedrv_avail(&card.f, FAKENET_TX(0), 0);
}

static void far_head(void)
{
	fakedrv_avail(&card.f, FAKENET_TX(0), 256);
}

static void far_next(void)
{
	fakedrv_desc(&card.f, FAKENET_TX(0), 0, card.room, 100, 1, 4000);
	fakedrv_avail(&card.f, FAKENET_TX(0), 0);
}

static void in_hole(void)
{
	fakedrv_desc(&card.f, FAKENET_TX(0), 0, GMEM_LOW_MAX_BYTES, 100, 0, 0);
	fakedrv_avail(&card.f, FAKENET_TX(0), 0);
}

static void over_the_end(void)
{
	fakedrv_desc(&card.f, FAKENET_TX(0), 0, GMEM_LOW_MAX_BYTES - 10, 100, 0, 0);
	fakedrv_avail(&card.f, FAKENET_TX(0), 0);
}

static void writable(void)
{
	fakedrv_desc(&card.f, FAKENET_TX(0), 0, card.room, 100, 2, 0);
	fakedrv_avail(&card.f, FAKENET_TX(0), 0);
}

static void index_ahead(void)
{
	uint16_t *avail = fakedrv_ptr(&card.f, card.f.q[FAKENET_TX(0)].avail, 4);

	__atomic_store_n(&avail[1], 3000, __ATOMIC_RELEASE);
}

static void indirect_in_indirect(void)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} inner = {card.room, 100, 4, 0};

	memcpy(fakedrv_ptr(&card.f, card.room + 4096, 16), &inner, 16);
	fakedrv_desc(&card.f, FAKENET_TX(0), 0, card.room + 4096, 16, 4, 0);
	fakedrv_avail(&card.f, FAKENET_TX(0), 0);
}

static const struct {
	const char *name;
	void (*put)(void);
} hostile[] = {
	{"loop", loop_chain},	{"head", far_head},
	{"next", far_next},	{"hole", in_hole},
	{"end", over_the_end},	{"writable", writable},
	{"index", index_ahead}, {"indirect", indirect_in_indirect},
};

/* What the kernel finds wrong with a ring breaks the device; a reset mends it. */
START_TEST(test_hostile)
{
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ);
	fakenet_fill(&card, 0, 10);
	hostile[_i].put();
	fakedrv_kick(&card.f, FAKENET_TX(0));
	wait_broken();
	fakenet_flows(&card, 5);
	fakedrv_reset(&card.f);
	fakedrv_poll(&card.f);
	ck_assert_uint_eq(card.f.d->s.status, 0);
	attach(FAKENET_BASE | FAKENET_MRG);
	fakenet_fill(&card, 0, 10);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_RX(0), 1);
}
END_TEST

/* A buffer for receiving that cannot be written. */
START_TEST(test_hostile_rx)
{
	attach(FAKENET_BASE | FAKENET_MRG);
	fakedrv_desc(&card.f, FAKENET_RX(0), 0, _i ? card.room : GMEM_LOW_MAX_BYTES, 2000,
		     _i ? 0 : 2, 0);
	fakedrv_avail(&card.f, FAKENET_RX(0), 0);
	fakedrv_kick(&card.f, FAKENET_RX(0));
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	wait_broken();
}
END_TEST

/* The driver breaks a rule of the device: the kernel lets go, too. */
START_TEST(test_broken_elsewhere)
{
	attach(FAKENET_BASE | FAKENET_MRG);
	pthread_mutex_lock(&card.f.d->lock);
	virtio_status_write(card.f.d, 3);
	pthread_mutex_unlock(&card.f.d->lock);
	ck_assert(fakedrv_is_broken(&card.f));
	ck_assert(net()->served);
	fakedrv_poll(&card.f);
	ck_assert(!net()->served);
}
END_TEST

static void set_link(bool up)
{
	struct err e = {0};

	ck_assert_msg(!net_link(card.f.d, up, &e), "%s", e.text);
	fakedrv_poll(&card.f);
}

START_TEST(test_link)
{
	unsigned int i, queues;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	fakenet_fill(&card, 0, 200);
	fakenet_fill(&card, 1, 200);
	for (i = 0; i < 10; i++) {
		set_link(false);
		fakenet_flows(&card, 10);
		fakenet_guest_sends(&card, i % PAIRS, 2, FAKENET_PAYLOAD_BYTES);
		ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(i % PAIRS)) +
					  fakenet_used(&card, FAKENET_RX(0)) +
					  fakenet_used(&card, FAKENET_RX(1)),
				  0);
		set_link(true);
		take(FAKENET_TX(i % PAIRS), 2);
		fakenet_flows(&card, 10);
		ck_assert_uint_eq(take_any(10, &queues), 10);
	}
	set_link(false);
	ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
	reset();
	attach(FAKENET_BASE | FAKENET_MRG);
	fakenet_fill(&card, 0, 5);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 0);
	set_link(true);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_RX(0), 1);
}
END_TEST

START_TEST(test_gone)
{
	struct virtio_net_config c;
	struct err e;
	int i;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	ck_assert_int_eq(WEXITSTATUS(system("ip link delete tap0")), 0);
	fakedrv_poll(&card.f);
	/* Nobody tells us while the kernel has the tap: we see it when we use it. */
	if (_i == 0) {
		ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
	} else if (_i == 1) {
		ck_assert_int_eq(net_link(card.f.d, false, &e) + net_link(card.f.d, true, &e),
				 -ENODEV);
	} else if (_i == 2) {
		fakenet_guest_sends(&card, 0, 3, FAKENET_PAYLOAD_BYTES);
		for (i = 0; i < 100 && net()->served; i++)
			ck_assert_int_gt(loop_step(card.f.loop, WAIT_MS, &e), 0);
		fakedrv_poll(&card.f);
		ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)), 3);
		/* Our own path goes on in the same rings. */
		fakenet_guest_sends(&card, 0, 3, FAKENET_PAYLOAD_BYTES);
		ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)), 3);
		ck_assert(!fakedrv_is_broken(&card.f));
	}
	fakedrv_reset(&card.f);
	fakedrv_poll(&card.f);
	fakedrv_attach(&card.f, card.f.d, FAKENET_BASE | FAKENET_MRG, 256);
	card.f.d->ops->config_read(card.f.d, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.status, 0);
	/* Our own path loses what cannot be sent. */
	ck_assert(!net()->served);
	fakenet_guest_sends(&card, 0, 3, FAKENET_PAYLOAD_BYTES);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)), _i == 1 ? 0 : 3);
}
END_TEST

/* A transport that lends nothing: our own path does the work. */
START_TEST(test_own_path)
{
	card.f.lends = false;
	fakedrv_attach(&card.f, card.f.d, FAKENET_BASE | FAKENET_MRG, 256);
	ck_assert(!net()->served);
	fakenet_fill(&card, 0, 20);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
	fakenet_guest_sends(&card, 0, 4, FAKENET_PAYLOAD_BYTES);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)), 4);
	fakedrv_reset(&card.f);
	ck_assert_uint_eq(card.f.d->s.status, 0);
	card.f.lends = true;
	attach(FAKENET_BASE | FAKENET_MRG);
	fakenet_guest_sends(&card, 0, 4, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_TX(0), 4);
}
END_TEST

/* Freed while the kernel is at work: nothing of it stays. */
START_TEST(test_free)
{
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ);
	fakenet_fill(&card, 0, 100);
	fakenet_guest_sends(&card, 0, 100, FAKENET_PAYLOAD_BYTES);
	fakenet_flows(&card, 20);
	if (_i)
		fakedrv_reset(&card.f); /* and it has not been finished */
	card.f.d->ops->free(card.f.d);
	card.f.d = NULL;
	ck_assert_uint_eq(if_nametoindex("tap0"), 0);
}
END_TEST

START_TEST(test_macvtap)
{
	unsigned int queues;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ);
	fakenet_fill(&card, 0, 200);
	fakenet_fill(&card, 1, 200);
	fakenet_flows(&card, 20);
	take(FAKENET_RX(0), 20);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	fakenet_flows(&card, 32);
	ck_assert_uint_eq(take_any(32, &queues), 32);
	ck_assert_uint_eq(queues, 2);
	fakenet_guest_sends(&card, 0, 5, FAKENET_PAYLOAD_BYTES);
	fakenet_guest_sends(&card, 1, 5, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_TX(0), 5);
	take(FAKENET_TX(1), 5);
	ck_assert_uint_eq(host_gets(10), 10);
	set_link(false);
	set_link(true);
	reset();
	attach(FAKENET_BASE | FAKENET_MRG);
	fakenet_fill(&card, 0, 10);
	fakenet_host_sends(&card, 1, FAKENET_PAYLOAD_BYTES);
	take(FAKENET_RX(0), 1);
}
END_TEST

START_TEST(test_refused)
{
	short many = KIT_TAP_FLAGS | IFF_MULTI_QUEUE;
	int tap = kit_tap_open("tap1", many), vhost = open_vhost();
	int fds[4] = {tap, vhost}, other = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	struct vmm_net c = {.mac = {2}, .mtu = 1500, .pairs = 1, .vhost = 1};
	struct virtio_dev *d = NULL;
	struct err e = {0};

	fds[1] = tap;
	ck_assert_int_eq(net_new(&c, fds, 2, &card.f.mem, card.f.loop, &d, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "not /dev/vhost-net"), "%s", e.text);
	if (other >= 0) {
		fds[1] = other;
		ck_assert_int_eq(net_new(&c, fds, 2, &card.f.mem, card.f.loop, &d, &e), -EINVAL);
		ck_assert_msg(strstr(e.text, "another kind of vhost"), "%s", e.text);
		ck_assert_int_ge(fcntl(other, F_GETFD), 0);
	}
	/* One that has an owner already. */
	fds[1] = vhost;
	ck_assert_int_eq(net_new(&c, fds, 2, &card.f.mem, card.f.loop, &d, &e), 0);
	d->ops->free(d);
	c.pairs = 2;
	fds[0] = kit_tap_open("tap2", many);
	fds[1] = kit_tap_open("tap2", many);
	fds[2] = open_vhost();
	fds[3] = fcntl(fds[2], F_DUPFD_CLOEXEC, 0);
	ck_assert_int_lt(net_new(&c, fds, 4, &card.f.mem, card.f.loop, &d, &e), 0);
	ck_assert_msg(strstr(e.text, "opened anew"), "%s", e.text);
	ck_assert_int_ge(fcntl(fds[3], F_GETFD), 0);
}
END_TEST

static void add_tests(Suite *s)
{
	TCase *t = tcase_create("tap");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_both_ways, 0, 4);
	tcase_add_test(t, test_lent);
	tcase_add_test(t, test_no_kick);
	tcase_add_test(t, test_pairs);
	tcase_add_test(t, test_reset_under_traffic);
	tcase_add_loop_test(t, test_hostile, 0, (int)ARRAY_LEN(hostile));
	tcase_add_loop_test(t, test_hostile_rx, 0, 2);
	tcase_add_test(t, test_broken_elsewhere);
	tcase_add_test(t, test_link);
	tcase_add_loop_test(t, test_gone, 0, 4);
	tcase_add_test(t, test_own_path);
	tcase_add_loop_test(t, test_free, 0, 2);
	suite_add_tcase(s, t);
	t = tcase_create("making");
	tcase_add_checked_fixture(t, setup_none, teardown);
	tcase_add_test(t, test_refused);
	suite_add_tcase(s, t);
	t = tcase_create("macvtap");
	tcase_add_checked_fixture(t, setup_macvtap, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_macvtap);
	suite_add_tcase(s, t);
}

Suite *virtio_vhost_suite(void)
{
	Suite *s = suite_create("virtio_vhost");
	int fd = open(VHOST, O_RDWR | O_CLOEXEC);
	const char *missing = fd < 0 ? "no " VHOST " (make check runs it on the node)"
				     : kit_macvtap_missing();

	fd_close(&fd);
	if (!missing)
		missing = kit_tap_missing();
	if (missing)
		kit_skip("virtio_vhost", missing);
	else
		add_tests(s);
	return s;
}
