// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A network card with several pairs of queues, between a fake driver and a real
 * tap or macvtap: the control queue, pairs that come and go under traffic, the
 * link, limits, and what is refused.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
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

#define PAIRS 4
#define CTRL (2 * PAIRS)

Suite *virtio_net_mq_suite(void);

static struct fakenet card;

static struct net *net(void)
{
	return (struct net *)card.f.d;
}

static struct vmm_net config(uint16_t pairs)
{
	struct vmm_net c = {.mtu = 1500, .pairs = pairs};

	memcpy(c.mac, fakenet_mac, sizeof(fakenet_mac));
	return c;
}

static void make(const struct vmm_net *c, bool macvtap)
{
	size_t n = c->pairs ? c->pairs : 1;
	struct virtio_dev *d = NULL;
	int fds[VMM_NET_PAIRS_MAX];
	struct err e = {0};

	fakenet_open(&card, macvtap, fds, n);
	ck_assert_msg(!net_new(c, fds, n, &card.f.mem, card.f.loop, &d, &e), "%s", e.text);
	card.f.d = d;
}

static void setup_none(void)
{
	fakenet_init(&card);
}

static void setup(void)
{
	struct vmm_net c = config(PAIRS);

	fakenet_init(&card);
	make(&c, false);
}

static void setup_macvtap(void)
{
	struct vmm_net c = config(PAIRS);

	fakenet_init(&card);
	kit_macvtap_make("mv0", fakenet_mac);
	make(&c, true);
}

static void teardown(void)
{
	fakenet_done(&card);
}

static void attach(uint64_t features, uint16_t size)
{
	fakedrv_attach(&card.f, card.f.d, features, size);
}

static unsigned int host_gets(void)
{
	static uint8_t buf[2000];
	unsigned int n = 0;

	while (recv(card.wire, buf, sizeof(buf), 0) > 0)
		n++;
	return n;
}

#define OK VIRTIO_NET_OK
#define ERR VIRTIO_NET_ERR
#define NONE 0x77 /* no answer at all */

/* Sends a command in buffers of @step bytes; its answer. */
static uint8_t command(uint16_t q, const uint8_t *bytes, uint32_t n, uint32_t step, uint32_t in)
{
	struct fakebuf b[16];
	uint64_t at = fakenet_buffer(&card, CTRL, 0);
	uint8_t *answer = fakedrv_ptr(&card.f, at + 100, 1);
	uint32_t i, len;
	size_t k = 0;

	memcpy(fakedrv_ptr(&card.f, at, n + 1), bytes, n);
	*answer = NONE;
	for (i = 0; i < n; i += step)
		b[k++] = (struct fakebuf){at + i, n - i < step ? n - i : step, false};
	if (in)
		b[k++] = (struct fakebuf){at + 100, in, true};
	fakedrv_add(&card.f, q, b, k);
	fakedrv_kick(&card.f, q);
	while (!fakedrv_used(&card.f, q, NULL, &len)) {
		struct err e;

		if (fakedrv_is_broken(&card.f))
			return NONE;
		/* The budget is used up: the timer will come. */
		ck_assert_int_gt(loop_step(card.f.loop, 5000, &e), 0);
	}
	ck_assert_uint_eq(len, 1);
	return *answer;
}

static uint8_t set_pairs(uint16_t pairs)
{
	const uint8_t c[] = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (uint8_t)pairs,
			     (uint8_t)(pairs >> 8)};

	return command(CTRL, c, sizeof(c), sizeof(c), 1);
}

static const struct {
	const char *name;
	uint8_t bytes[9];
	uint32_t n, in;
	uint8_t answer;
	uint16_t pairs;
} commands[] = {
	{"one pair", {4, 0, 1, 0}, 4, 1, OK, 1},
	{"two pairs", {4, 0, 2, 0}, 4, 1, OK, 2},
	{"all pairs", {4, 0, PAIRS, 0}, 4, 1, OK, PAIRS},
	{"room for more than an answer", {4, 0, 2, 0}, 4, 50, OK, 2},
	{"no pair", {4, 0, 0, 0}, 4, 1, ERR, 1},
	{"one too many", {4, 0, PAIRS + 1, 0}, 4, 1, ERR, 1},
	{"most pairs", {4, 0, 0xff, 0xff}, 4, 1, ERR, 1},
	{"a high byte", {4, 0, 1, 1}, 4, 1, ERR, 1},
	{"half a number", {4, 0, 2}, 3, 1, ERR, 1},
	{"no number", {4, 0}, 2, 1, ERR, 1},
	{"no command", {4}, 1, 1, ERR, 1},
	{"nothing but room", {0}, 0, 1, ERR, 1},
	{"too long", {4, 0, 2, 0, 0}, 5, 1, ERR, 1},
	{"RSS", {4, 1, 2, 0}, 4, 1, ERR, 1},
	{"hash", {4, 2, 2, 0}, 4, 1, ERR, 1},
	{"MQ 255", {4, 255, 2, 0}, 4, 1, ERR, 1},
	{"promiscuous", {0, 0, 1}, 3, 1, ERR, 1},
	{"all multicast", {0, 1, 1}, 3, 1, ERR, 1},
	{"MAC table", {1, 0, 0, 0, 0, 0}, 6, 1, ERR, 1},
	{"MAC address", {1, 1, 2, 0, 0, 0, 0, 7}, 8, 1, ERR, 1},
	{"VLAN", {2, 0, 1, 0}, 4, 1, ERR, 1},
	{"announce", {3, 0}, 2, 1, ERR, 1},
	{"guest offloads", {5, 0, 0, 0, 0, 0}, 6, 1, ERR, 1},
	{"coalescing", {6, 0, 0, 0, 0, 0}, 6, 1, ERR, 1},
	{"class 255", {255, 255, 255, 255}, 4, 1, ERR, 1},
};

START_TEST(test_command)
{
	uint32_t step;

	for (step = 1; step <= 4; step++) {
		attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 64);
		ck_assert_msg(command(CTRL, commands[_i].bytes, commands[_i].n, step,
				      commands[_i].in) == commands[_i].answer,
			      "%s", commands[_i].name);
		ck_assert_uint_eq(net()->pairs, commands[_i].pairs);
		ck_assert(!fakedrv_is_broken(&card.f));
		fakedrv_reset(&card.f);
	}
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 64);
	ck_assert_uint_eq(net()->pairs, 1);
	ck_assert_uint_eq(set_pairs(2), OK);
}
END_TEST

/* Without room for an answer, or the other way round. */
START_TEST(test_command_hostile)
{
	struct fakebuf b[2] = {{fakenet_buffer(&card, CTRL, 0), 4, false},
			       {fakenet_buffer(&card, CTRL, 1), 1, false}};

	attach(FAKENET_BASE | FAKENET_MQ, 64);
	fakedrv_add(&card.f, CTRL, b, _i ? 2 : 1);
	fakedrv_kick(&card.f, CTRL);
	ck_assert(fakedrv_is_broken(&card.f));
	ck_assert(!fakedrv_used(&card.f, CTRL, NULL, NULL));
	fakedrv_reset(&card.f);
	attach(FAKENET_BASE | FAKENET_MQ, 64);
	ck_assert_uint_eq(set_pairs(2), OK);
}
END_TEST

/* Without MQ there is one pair, and the control queue is the third. */
START_TEST(test_no_mq)
{
	const uint8_t c[] = {4, 0, 2, 0};

	attach(FAKENET_BASE | FAKENET_MRG | 1ull << VIRTIO_NET_F_CTRL_VQ, 64);
	ck_assert_uint_eq(command(2, c, 4, 4, 1), ERR);
	fakenet_fill(&card, 0, 60);
	fakenet_flows(&card, 40);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 40);
	fakenet_guest_sends(&card, 0, 5, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)), 5);
	/* Queue 3 is nobody's. */
	fakenet_guest_sends(&card, 1, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(1)), 0);
	ck_assert(!fakedrv_is_broken(&card.f));
}
END_TEST

/* MQ without a control queue: nobody can switch pairs on. */
START_TEST(test_no_ctrl)
{
	const uint8_t c[] = {4, 0, 2, 0};
	struct fakebuf b[2] = {{fakenet_buffer(&card, CTRL, 0), 4, false},
			       {fakenet_buffer(&card, CTRL, 1), 1, true}};

	attach(FAKENET_BASE | FAKENET_MRG | 1ull << VIRTIO_NET_F_MQ, 64);
	memcpy(fakedrv_ptr(&card.f, b[0].gpa, 4), c, 4);
	fakedrv_add(&card.f, CTRL, b, 2);
	fakedrv_kick(&card.f, CTRL);
	ck_assert_uint_eq(fakenet_used(&card, CTRL), 0);
	fakenet_fill(&card, 0, 60);
	fakenet_flows(&card, 40);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 40);
}
END_TEST

/* A pair whose queues the driver has not set up cannot be switched on. */
START_TEST(test_queue_missing)
{
	card.f.off = 1u << (_i ? FAKENET_RX(2) : FAKENET_TX(2));
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 64);
	ck_assert_uint_eq(set_pairs(3), ERR);
	ck_assert_uint_eq(set_pairs(4), ERR);
	ck_assert_uint_eq(set_pairs(2), OK);
	ck_assert_uint_eq(net()->pairs, 2);
}
END_TEST

START_TEST(test_spread)
{
	unsigned int i, queues = 0, sum = 0;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 256);
	for (i = 0; i < PAIRS; i++)
		fakenet_fill(&card, i, 100);
	fakenet_flows(&card, 64);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 64);
	ck_assert_uint_eq(set_pairs(PAIRS), OK);
	fakenet_flows(&card, 64);
	for (i = 0; i < PAIRS; i++) {
		unsigned int n = fakenet_used(&card, FAKENET_RX(i));

		sum += n;
		queues += !!n;
	}
	ck_assert_uint_eq(sum, 64);
	ck_assert_uint_gt(queues, 1);
	for (i = 0; i < PAIRS; i++) {
		fakenet_guest_sends(&card, i, 10, 200);
		ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(i)), 10);
		ck_assert_uint_ge(card.f.irq[FAKENET_TX(i)], 1);
	}
	ck_assert_uint_eq(host_gets(), 10 * PAIRS);
	/* An interrupt is that of the queue that the packet came on. */
	for (i = 1; i < PAIRS; i++)
		ck_assert(!card.f.irq[CTRL + 1]);
}
END_TEST

/* Pairs are switched off while packets wait on both of their queues. */
START_TEST(test_off_in_flight)
{
	unsigned int i, sum = 0;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 256);
	fakenet_fill(&card, 0, 200);
	ck_assert_uint_eq(set_pairs(PAIRS), OK);
	/* The other queues have no buffers: their packets wait. */
	fakenet_flows(&card, 64);
	sum = fakenet_used(&card, FAKENET_RX(0));
	ck_assert_uint_lt(sum, 64);
	net()->link = false; /* holds back what is sent */
	fakenet_guest_sends(&card, 3, 20, 100);
	net()->link = true;
	ck_assert_uint_eq(set_pairs(1), OK);
	for (i = 1; i < PAIRS; i++)
		fakenet_fill(&card, i, 20);
	fakenet_flows(&card, 64);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 64);
	for (i = 1; i < PAIRS; i++)
		ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(i)), 0);
	/* What was to be sent is sent. */
	fakenet_guest_sends(&card, 3, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(3)), 21);
	ck_assert_uint_eq(host_gets(), 21);
	ck_assert_uint_eq(set_pairs(PAIRS), OK);
	fakenet_flows(&card, 64);
	for (i = 0, sum = 0; i < PAIRS; i++)
		sum += fakenet_used(&card, FAKENET_RX(i));
	ck_assert_uint_eq(sum, 64);
	ck_assert(!fakedrv_is_broken(&card.f));
}
END_TEST

/* Each queue can break the device, and a reset mends it. */
START_TEST(test_each_queue_hostile)
{
	struct fakebuf wrong = {card.room, 100, _i == CTRL || _i % 2};

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 64);
	ck_assert_uint_eq(set_pairs(PAIRS), OK);
	if (_i == CTRL)
		wrong.in = false;
	fakedrv_add(&card.f, (uint16_t)_i, &wrong, 1);
	fakedrv_kick(&card.f, (uint16_t)_i);
	fakenet_flows(&card, 64);
	ck_assert(fakedrv_is_broken(&card.f));
	fakenet_flows(&card, 64);
	fakedrv_reset(&card.f);
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 64);
	ck_assert_uint_eq(net()->pairs, 1);
	fakenet_fill(&card, 0, 10);
	fakenet_host_sends(&card, 1, 100);
	ck_assert_uint_ge(fakenet_used(&card, FAKENET_RX(0)), 1);
}
END_TEST

/* A guest that has the tap changed all the time waits; it gets all of its answers. */
START_TEST(test_budget)
{
	int i;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 64);
	for (i = 0; i < 90; i++)
		ck_assert_uint_eq(set_pairs(i % 2 ? 1 : PAIRS), OK);
	ck_assert_uint_gt(net()->host.waits, 0);
}
END_TEST

/* The same for one that comes and goes. */
START_TEST(test_budget_resets)
{
	uint64_t csum = 1ull << VIRTIO_NET_F_GUEST_CSUM;
	struct err e;
	int i;

	for (i = 0; i < 400; i++) {
		attach(FAKENET_BASE | FAKENET_MRG | (i % 2 ? csum : 0), 64);
		fakedrv_reset(&card.f);
		card.f.brk = card.room + (8 << 20);
	}
	ck_assert_uint_gt(net()->host.waits, 0);
	attach(FAKENET_BASE | FAKENET_MRG, 64);
	fakenet_fill(&card, 0, 10);
	fakenet_host_sends(&card, 1, 100);
	for (i = 0; i < 100 && !net()->d.q[FAKENET_RX(0)].count.requests; i++)
		ck_assert_int_gt(loop_step(card.f.loop, 5000, &e), 0);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
}
END_TEST

static uint16_t status(void)
{
	struct virtio_net_config c;

	card.f.d->ops->config_read(card.f.d, 0, &c, sizeof(c));
	return c.status;
}

static void set_link(bool up)
{
	struct err e = {0};

	ck_assert_msg(!net_link(card.f.d, up, &e), "%s", e.text);
	fakedrv_poll(&card.f);
}

START_TEST(test_link)
{
	uint64_t features =
		FAKENET_BASE | FAKENET_MRG | (_i ? FAKENET_MQ | 1ull << VIRTIO_NET_F_STATUS : 0);
	uint8_t generation;

	attach(features, 256);
	fakenet_fill(&card, 0, 100);
	generation = card.f.d->s.config_generation;
	card.f.d->s.config_vector = CTRL + 1;
	set_link(false);
	set_link(false);
	ck_assert_uint_eq(status(), 0);
	ck_assert_uint_eq(card.f.irq[CTRL + 1], 1);
	ck_assert_uint_eq(card.f.d->s.config_generation, generation + 1);
	fakenet_guest_sends(&card, 0, 3, 100);
	fakenet_flows(&card, 10);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)) + fakenet_used(&card, FAKENET_RX(0)),
			  0);
	set_link(true);
	ck_assert_uint_eq(status(), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(card.f.irq[CTRL + 1], 2);
	/* Frames of the guest have waited, those for it are lost. */
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)), 3);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 0);
	ck_assert_uint_eq(host_gets(), 3);
	fakenet_host_sends(&card, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
}
END_TEST

/* The link goes up and down with packets in all places, and with a reset between. */
START_TEST(test_link_flaps)
{
	struct err e = {0};
	unsigned int i;

	set_link(false);
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 256);
	ck_assert_uint_eq(set_pairs(PAIRS), OK);
	for (i = 0; i < 50; i++) {
		set_link(i % 2);
		fakenet_flows(&card, 8);
		fakenet_guest_sends(&card, i % PAIRS, 2, 100);
	}
	set_link(false);
	fakedrv_reset(&card.f);
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 256);
	ck_assert_uint_eq(status(), 0);
	fakenet_fill(&card, 0, 10);
	fakenet_host_sends(&card, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 0);
	set_link(true);
	fakenet_host_sends(&card, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
	ck_assert_int_eq(WEXITSTATUS(system("ip link delete tap0")), 0);
	fakedrv_poll(&card.f);
	ck_assert_int_eq(net_link(card.f.d, false, &e), 0);
	ck_assert_int_eq(net_link(card.f.d, true, &e), -ENODEV);
	ck_assert(!fakedrv_is_broken(&card.f));
}
END_TEST

/* A packet that waits for buffers is lost when the link goes down. */
START_TEST(test_link_starved)
{
	attach(FAKENET_BASE | FAKENET_MRG, 64);
	fakenet_host_sends(&card, 1, 1400);
	set_link(false);
	set_link(true);
	fakenet_fill(&card, 0, 4);
	fakenet_host_sends(&card, 2, 50);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
}
END_TEST

START_TEST(test_link_of_another)
{
	struct virtio_dev *d = NULL;
	struct err e = {0};

	ck_assert(!rng_new(&card.f.mem, card.f.loop, &d, &e));
	ck_assert_int_eq(net_link(d, true, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "rng"));
	d->ops->free(d);
}
END_TEST

/* The tap goes away under all of its ends. */
START_TEST(test_gone)
{
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 64);
	ck_assert_uint_eq(set_pairs(_i ? PAIRS : 2), OK);
	ck_assert_int_eq(WEXITSTATUS(system("ip link delete tap0")), 0);
	fakedrv_poll(&card.f);
	ck_assert_uint_eq(status(), 0);
	ck_assert_uint_eq(set_pairs(1), OK);
	ck_assert_uint_eq(set_pairs(PAIRS), OK);
	fakenet_guest_sends(&card, 1, 3, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(1)), 3);
	ck_assert(!fakedrv_is_broken(&card.f));
}
END_TEST

/* A rate so low that nothing comes back while the test runs: the burst is all. */
static struct vmm_net limited(bool rx, bool bytes)
{
	struct vmm_limit slow = {.bytes_per_s = 1, .burst_bytes = 5 * FAKENET_FRAME_BYTES - 1};
	struct vmm_net c = config(2);

	if (!bytes)
		slow = (struct vmm_limit){.ops_per_s = 1, .burst_ops = 1000000};
	if (rx)
		c.rx = slow;
	else
		c.tx = slow;
	return c;
}

START_TEST(test_limit)
{
	bool rx = _i;
	struct vmm_net c = limited(rx, true);

	make(&c, false);
	attach(FAKENET_BASE | FAKENET_MRG, 256);
	fakenet_fill(&card, 0, 100);
	fakenet_flows(&card, 20);
	fakenet_guest_sends(&card, 0, 20, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), rx ? 5 : 20);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(0)), rx ? 20 : 5);
	ck_assert_uint_gt((rx ? &net()->rx_limit : &net()->tx_limit)->waits, 0);
	/* A new driver begins with the same debt. */
	fakedrv_reset(&card.f);
	attach(FAKENET_BASE | FAKENET_MRG, 256);
	fakenet_fill(&card, 0, 100);
	fakenet_guest_sends(&card, 0, 20, 100);
	ck_assert_uint_eq(fakenet_used(&card, rx ? FAKENET_RX(0) : FAKENET_TX(0)), 0);
}
END_TEST

static int set_limit(const struct vmm_set_limit *l)
{
	struct err e = {0};
	int rc;

	pthread_mutex_lock(&card.f.d->lock);
	rc = card.f.d->ops->limit(card.f.d, l, &e);
	pthread_mutex_unlock(&card.f.d->lock);
	fakedrv_poll(&card.f);
	return rc;
}

/* New limits hold at once, in each direction; wrong ones change nothing. */
START_TEST(test_limit_changed)
{
	const struct vmm_limit slow = {.ops_per_s = 1, .burst_ops = 5};
	struct vmm_set_limit l = {.name = ""};
	struct vmm_net c = config(2);
	bool rx = _i;
	unsigned int got;

	make(&c, false);
	attach(FAKENET_BASE | FAKENET_MRG, 256);
	fakenet_fill(&card, 0, 200);
	*(rx ? &l.limit : &l.tx) = slow;
	ck_assert_int_eq(set_limit(&l), 0);
	fakenet_flows(&card, 20);
	fakenet_guest_sends(&card, 0, 20, 100);
	got = fakenet_used(&card, FAKENET_RX(0));
	ck_assert_uint_ge(got, rx ? 5 : 20);
	ck_assert_uint_le(got, rx ? 7 : 20);
	got = fakenet_used(&card, FAKENET_TX(0));
	ck_assert_uint_ge(got, rx ? 20 : 5);
	ck_assert_uint_le(got, rx ? 20 : 7);
	*(rx ? &l.tx : &l.limit) = (struct vmm_limit){.burst_ops = 1};
	ck_assert_int_eq(set_limit(&l), -EINVAL);
	ck_assert(limit_is_set(rx ? &net()->rx_limit : &net()->tx_limit));
	/* Without limits what waits goes, without a kick. */
	ck_assert_int_eq(set_limit(&(struct vmm_set_limit){.name = ""}), 0);
	ck_assert_uint_ge(fakenet_used(&card, rx ? FAKENET_RX(0) : FAKENET_TX(0)), 13);
	ck_assert_uint_gt((rx ? &net()->rx_limit : &net()->tx_limit)->waits, 0);
}
END_TEST

/* With a limit that is soon there again all packets arrive, in each direction. */
START_TEST(test_limit_goes_on)
{
	struct vmm_limit l = {.ops_per_s = 2000, .burst_ops = 3};
	unsigned int rx = 0, tx = 0, steps = 0;
	struct vmm_net c = config(2);
	struct err e;

	c.rx = c.tx = l;
	make(&c, false);
	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 256);
	fakenet_fill(&card, 0, 100);
	fakenet_flows(&card, 50);
	fakenet_guest_sends(&card, 0, 50, 100);
	while ((rx += fakenet_used(&card, FAKENET_RX(0))) < 50 ||
	       (tx += fakenet_used(&card, FAKENET_TX(0))) < 50) {
		ck_assert_int_gt(loop_step(card.f.loop, 5000, &e), 0);
		ck_assert_uint_lt(steps++, 10000);
	}
	ck_assert_uint_eq(rx, 50);
	ck_assert_uint_gt(net()->rx_limit.waits, 0);
	ck_assert_uint_gt(net()->tx_limit.waits, 0);
}
END_TEST

/* A plain tap and a macvtap behave alike; what differs is where packets come out. */
START_TEST(test_macvtap)
{
	unsigned int i, sum = 0;

	attach(FAKENET_BASE | FAKENET_MRG | FAKENET_MQ, 256);
	for (i = 0; i < PAIRS; i++)
		fakenet_fill(&card, i, 200);
	fakenet_flows(&card, 64);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 64);
	ck_assert_uint_eq(set_pairs(PAIRS), OK);
	fakenet_flows(&card, 64);
	for (i = 0; i < PAIRS; i++)
		sum += fakenet_used(&card, FAKENET_RX(i));
	ck_assert_uint_eq(sum, 64);
	for (i = 0; i < PAIRS; i++) {
		fakenet_guest_sends(&card, i, 10, 200);
		ck_assert_uint_eq(fakenet_used(&card, FAKENET_TX(i)), 10);
	}
	ck_assert_uint_eq(host_gets(), 10 * PAIRS);
	ck_assert_uint_eq(set_pairs(1), OK);
	fakenet_flows(&card, 64);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 64);
	set_link(false);
	fakenet_flows(&card, 10);
	set_link(true);
	fakenet_host_sends(&card, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
	fakedrv_reset(&card.f);
	attach(FAKENET_BASE | FAKENET_MRG, 64);
	fakenet_fill(&card, 0, 10);
	fakenet_host_sends(&card, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
}
END_TEST

static void refuse(const struct vmm_net *c, int *fds, size_t n, const char *text)
{
	struct virtio_dev *d = NULL;
	struct err e = {0};
	size_t i;

	ck_assert_int_lt(net_new(c, fds, n, &card.f.mem, card.f.loop, &d, &e), 0);
	ck_assert_msg(strstr(e.text, text), "%s", e.text);
	for (i = 0; i < n; i++)
		ck_assert_int_ge(fcntl(fds[i], F_GETFD), 0);
}

START_TEST(test_refused)
{
	short many = KIT_TAP_FLAGS | IFF_MULTI_QUEUE;
	int a = kit_tap_open("tap0", many), b = kit_tap_open("tap0", many);
	int other = kit_tap_open("tap1", many), plain = kit_tap_open("tap2", KIT_TAP_FLAGS);
	int same = fcntl(a, F_DUPFD_CLOEXEC, 0);
	struct vmm_net c = config(2);

	refuse(&c, (int[]){a}, 1, "2 pairs take 2");
	refuse(&c, (int[]){a, b, other}, 3, "2 pairs take 2");
	refuse(&c, (int[]){a, other}, 2, "taps tap0 and tap1");
	refuse(&c, (int[]){plain, plain}, 2, "IFF_MULTI_QUEUE");
	refuse(&c, (int[]){a, same}, 2, "open the tap anew");
	c.pairs = 3;
	refuse(&c, (int[]){b, a, same}, 3, "open the tap anew");
	c.pairs = VMM_NET_PAIRS_MAX + 1;
	refuse(&c, (int[]){a, b}, 2, "give 1 to 8");
	c.pairs = 2;
	c.vhost = 1;
	refuse(&c, (int[]){a, b}, 2, "2 pairs with vhost take 4");
	a = kit_tap_open("tap3", many);
	b = kit_tap_open("tap3", many);
	refuse(&c, (int[]){a, b, same, same}, 4, "vhost of pair 0: not /dev/vhost-net");
	c.rx.bytes_per_s = 1000;
	refuse(&c, (int[]){a, b, same, same}, 4, "no limits");
	c.vhost = 2;
	refuse(&c, (int[]){a, b}, 2, "vhost 2");
	c.vhost = 0;
	c.rx = (struct vmm_limit){.burst_bytes = 1};
	refuse(&c, (int[]){a, b}, 2, "rx: limit of bytes");
	c.rx = (struct vmm_limit){0};
	c.tx = (struct vmm_limit){.ops_per_s = UINT64_MAX};
	refuse(&c, (int[]){a, b}, 2, "tx: limit of operations");
}
END_TEST

/* One pair needs no IFF_MULTI_QUEUE, and has no control queue. */
START_TEST(test_single)
{
	struct vmm_net c = config((uint16_t)_i);

	make(&c, false);
	ck_assert_uint_eq(card.f.d->n_queues, 2);
	ck_assert(!(card.f.d->s.offered & FAKENET_MQ));
	attach(FAKENET_BASE | FAKENET_MRG, 64);
	fakenet_fill(&card, 0, 10);
	fakenet_host_sends(&card, 1, 100);
	ck_assert_uint_eq(fakenet_used(&card, FAKENET_RX(0)), 1);
}
END_TEST

static void add_tap_tests(Suite *s)
{
	TCase *t = tcase_create("pairs");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_command, 0, (int)ARRAY_LEN(commands));
	tcase_add_loop_test(t, test_command_hostile, 0, 2);
	tcase_add_test(t, test_no_mq);
	tcase_add_test(t, test_no_ctrl);
	tcase_add_loop_test(t, test_queue_missing, 0, 2);
	tcase_add_test(t, test_spread);
	tcase_add_test(t, test_off_in_flight);
	tcase_add_loop_test(t, test_each_queue_hostile, 0, CTRL + 1);
	tcase_add_test(t, test_budget);
	tcase_add_test(t, test_budget_resets);
	tcase_add_loop_test(t, test_link, 0, 2);
	tcase_add_test(t, test_link_flaps);
	tcase_add_test(t, test_link_starved);
	tcase_add_test(t, test_link_of_another);
	tcase_add_loop_test(t, test_gone, 0, 2);
	suite_add_tcase(s, t);
	t = tcase_create("making");
	tcase_add_checked_fixture(t, setup_none, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_limit, 0, 2);
	tcase_add_loop_test(t, test_limit_changed, 0, 2);
	tcase_add_test(t, test_limit_goes_on);
	tcase_add_test(t, test_refused);
	tcase_add_loop_test(t, test_single, 0, 2);
	suite_add_tcase(s, t);
}

Suite *virtio_net_mq_suite(void)
{
	Suite *s = suite_create("virtio_net_mq");
	const char *missing = kit_tap_missing();
	TCase *t;

	if (missing) {
		kit_skip("virtio_net_mq", missing);
		return s;
	}
	add_tap_tests(s);
	missing = kit_macvtap_missing();
	if (missing) {
		kit_skip("virtio_net_mq/macvtap", missing);
		return s;
	}
	t = tcase_create("macvtap");
	tcase_add_checked_fixture(t, setup_macvtap, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_macvtap);
	suite_add_tcase(s, t);
	return s;
}
