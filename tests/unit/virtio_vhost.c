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
#include "tests/kit/fakedrv.h"
#include "tests/kit/kit.h"
#include "tests/kit/tap.h"
#include "vmm/virtio/net.h"

#define VHOST "/dev/vhost-net"
#define PAIRS 2
#define RX(pair) ((uint16_t)(2 * (pair)))
#define TX(pair) ((uint16_t)(2 * (pair) + 1))
#define CTRL (2 * PAIRS)
#define HDR 12
#define FRAME 142
#define B(n) (1ull << (n))
#define BASE (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | B(VIRTIO_NET_F_MAC))
#define MRG B(VIRTIO_NET_F_MRG_RXBUF)
#define MQ (B(VIRTIO_NET_F_MQ) | B(VIRTIO_NET_F_CTRL_VQ))
#define WAIT_MS 10000

Suite *virtio_vhost_suite(void);

static struct fakedrv f;
static int wire = -1;
static uint64_t room;
static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };

static struct net *net(void)
{
	return (struct net *)f.d;
}

static int open_vhost(void)
{
	int fd = open(VHOST, O_RDWR | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "%s: %s", VHOST, strerror(errno));
	return fd;
}

static void make(bool macvtap)
{
	struct vmm_net c = { .mtu = 1500, .pairs = PAIRS, .vhost = 1 };
	struct virtio_dev *d = NULL;
	int fds[2 * PAIRS], i;
	struct err e = { 0 };

	memcpy(c.mac, mac, sizeof(mac));
	for (i = 0; i < PAIRS; i++) {
		fds[i] = macvtap ? kit_macvtap_open("mv0", KIT_TAP_FLAGS | IFF_MULTI_QUEUE)
				 : kit_tap_open("tap0", KIT_TAP_FLAGS | IFF_MULTI_QUEUE);
		fds[PAIRS + i] = open_vhost();
	}
	if (!macvtap)
		kit_link_set("tap0", true, 9000);
	wire = kit_wire_open(macvtap ? "wire1" : "tap0", ETH_P_IP);
	ck_assert_msg(!net_new(&c, fds, 2 * PAIRS, &f.mem, f.loop, &d, &e), "%s", e.text);
	for (i = 0; i < 2 * PAIRS; i++)
		ck_assert_int_eq(fds[i], -1);
	f.d = d;
	f.lends = true;
}

static void setup_none(void)
{
	kit_tap_netns();
	fakedrv_init(&f);
	room = fakedrv_alloc(&f, 8 << 20);
}

static void setup(void)
{
	setup_none();
	make(false);
}

static void setup_macvtap(void)
{
	setup_none();
	kit_macvtap_make("mv0", mac);
	make(true);
}

static void teardown(void)
{
	fakedrv_done(&f);
	fd_close(&wire);
}

static void attach(uint64_t features)
{
	fakedrv_attach(&f, f.d, features, 256);
	ck_assert(net()->served);
}

/* The driver resets, and sees that it takes until the kernel has let go. */
static void reset(void)
{
	fakedrv_reset(&f);
	ck_assert_uint_ne(f.d->s.status, 0);
	fakedrv_poll(&f);
	ck_assert_uint_eq(f.d->s.status, 0);
	ck_assert(!net()->served);
}

static uint64_t buffer(uint16_t q, uint32_t i)
{
	return room + ((uint64_t)q << 19) + 2048ull * i;
}

static void rx_fill(unsigned int pair, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		struct fakebuf b = { buffer(RX(pair), i), 2048, true };

		fakedrv_add(&f, RX(pair), &b, 1);
	}
	fakedrv_kick(&f, RX(pair));
}

static void host_sends(uint16_t port)
{
	static uint8_t frame[2000];
	size_t len = kit_udp_frame(frame, mac, port, FRAME - 42);

	ck_assert_int_eq(send(wire, frame, len, 0), (ssize_t)len);
	fakedrv_poll(&f);
}

static void host_sends_flows(unsigned int n)
{
	while (n--)
		host_sends((uint16_t)(1000 + n));
}

static void guest_sends(unsigned int pair, unsigned int n)
{
	const uint8_t to[6] = { 2, 0, 0, 0, 0, 9 };
	uint64_t at = buffer(TX(pair), 0);
	struct fakebuf b = { at, HDR + FRAME, false };

	memset(fakedrv_ptr(&f, at, HDR), 0, HDR);
	kit_udp_frame(fakedrv_ptr(&f, at + HDR, FRAME), to, (uint16_t)(2000 + pair), FRAME - 42);
	while (n--)
		fakedrv_add(&f, TX(pair), &b, 1);
	fakedrv_kick(&f, TX(pair));
}

static unsigned int used(uint16_t q)
{
	unsigned int n = 0;

	while (fakedrv_used(&f, q, NULL, NULL))
		n++;
	return n;
}

/* Takes @n requests back, however long the kernel's worker needs. */
static void take(uint16_t q, unsigned int n)
{
	while (n--) {
		fakedrv_wait(&f, q);
		ck_assert(fakedrv_used(&f, q, NULL, NULL));
	}
}

/* Takes @n requests back from any of the receive queues. */
static unsigned int take_any(unsigned int n, unsigned int *ret_queues)
{
	unsigned int got[PAIRS] = { 0 }, sum = 0, i;

	*ret_queues = 0;
	while (sum < n) {
		struct pollfd p[PAIRS];
		bool more = false;

		for (i = 0; i < PAIRS; i++) {
			unsigned int k = used(RX(i));

			got[i] += k;
			sum += k;
			more |= fakedrv_want(&f, RX(i));
			p[i] = (struct pollfd){ .fd = f.call_fd[RX(i)], .events = POLLIN };
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
	struct pollfd p = { .fd = wire, .events = POLLIN };
	static uint8_t buf[2000];
	unsigned int got = 0;

	while (got < n && poll(&p, 1, WAIT_MS) == 1)
		got += recv(wire, buf, sizeof(buf), 0) == FRAME;
	return got;
}

static uint8_t set_pairs(uint8_t pairs)
{
	uint64_t at = buffer(CTRL, 0);
	struct fakebuf b[2] = { { at, 4, false }, { at + 100, 1, true } };
	const uint8_t c[4] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs, 0 };

	memcpy(fakedrv_ptr(&f, at, 4), c, 4);
	fakedrv_add(&f, CTRL, b, 2);
	fakedrv_kick(&f, CTRL);
	ck_assert(fakedrv_used(&f, CTRL, NULL, NULL));
	return *(uint8_t *)fakedrv_ptr(&f, at + 100, 1);
}

START_TEST(test_both_ways)
{
	uint64_t features = (_i & 1 ? MRG : 0) | (_i & 2 ? MQ : 0);
	uint32_t len;

	attach(BASE | features);
	rx_fill(0, 20);
	host_sends(1);
	fakedrv_wait(&f, RX(0));
	ck_assert(fakedrv_used(&f, RX(0), NULL, &len));
	ck_assert_uint_eq(len, HDR + FRAME);
	ck_assert_mem_eq(fakedrv_ptr(&f, buffer(RX(0), 0) + HDR, 6), mac, 6);
	ck_assert_uint_eq(*(uint8_t *)fakedrv_ptr(&f, buffer(RX(0), 0) + HDR + FRAME - 1, 1), 0x6b);
	guest_sends(0, 10);
	take(TX(0), 10);
	ck_assert_uint_eq(host_gets(10), 10);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* What the kernel serves neither signals nor counts here. */
START_TEST(test_lent)
{
	int i;

	attach(BASE | MRG | MQ);
	for (i = 0; i < 2 * PAIRS; i++)
		ck_assert_int_ge(f.call_fd[i], 0);
	ck_assert_int_lt(f.call_fd[CTRL], 0);
	guest_sends(0, 5);
	take(TX(0), 5);
	ck_assert_uint_eq(f.d->q[TX(0)].count.requests, 0);
	reset();
	for (i = 0; i <= CTRL; i++)
		ck_assert_int_lt(f.call_fd[i], 0);
	/* Without MQ only the first pair is. */
	attach(BASE | MRG);
	ck_assert_int_ge(f.call_fd[TX(0)], 0);
	ck_assert_int_lt(f.call_fd[RX(1)], 0);
}
END_TEST

/* A driver that says nothing of a queue that it has filled before DRIVER_OK. */
START_TEST(test_no_kick)
{
	struct fakebuf b = { buffer(RX(0), 0), 2048, true };

	attach(BASE | MRG);
	fakedrv_add(&f, RX(0), &b, 1);
	host_sends(1);
	take(RX(0), 1);
}
END_TEST

START_TEST(test_pairs)
{
	unsigned int queues;

	attach(BASE | MRG | MQ);
	rx_fill(0, 200);
	rx_fill(1, 100);
	host_sends_flows(32);
	take(RX(0), 32);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	host_sends_flows(32);
	ck_assert_uint_eq(take_any(32, &queues), 32);
	ck_assert_uint_eq(queues, 2);
	guest_sends(1, 10);
	take(TX(1), 10);
	ck_assert_uint_eq(host_gets(10), 10);
	ck_assert_uint_eq(set_pairs(3), VIRTIO_NET_ERR);
	ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
	host_sends_flows(32);
	take(RX(0), 32);
	ck_assert_uint_eq(used(RX(1)), 0);
	/* The pair that is off still sends. */
	guest_sends(1, 10);
	take(TX(1), 10);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	host_sends_flows(32);
	ck_assert_uint_eq(take_any(32, &queues), 32);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

/* Resets with packets in all places: memory is the driver's own afterwards. */
START_TEST(test_reset_under_traffic)
{
	unsigned int round;

	for (round = 0; round < 20; round++) {
		uint64_t at = buffer(RX(0), 0);

		attach(BASE | MRG | (round % 2 ? MQ : 0));
		rx_fill(0, 50);
		if (round % 2)
			ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
		guest_sends(0, 50);
		host_sends_flows(40);
		reset();
		memset(fakedrv_ptr(&f, at, 50 * 2048), 0x11, 50 * 2048);
		host_sends_flows(10);
		guest_sends(0, 1);
		ck_assert_uint_eq(*(uint8_t *)fakedrv_ptr(&f, at + HDR, 1), 0x11);
		f.brk = room + (8 << 20);
	}
	attach(BASE | MRG);
	rx_fill(0, 50);
	host_sends(1);
	take(RX(0), 1);
}
END_TEST

/* Waits until the device has noticed. */
static void wait_broken(void)
{
	struct err e;
	int i;

	for (i = 0; i < 1000 && !fakedrv_is_broken(&f); i++)
		ck_assert_int_gt(loop_step(f.loop, WAIT_MS, &e), 0);
	ck_assert(fakedrv_is_broken(&f));
	fakedrv_poll(&f);
	ck_assert(!net()->served);
}

static void loop_chain(void)
{
	fakedrv_desc(&f, TX(0), 0, room, 100, 1, 1);
	fakedrv_desc(&f, TX(0), 1, room, 100, 1, 0);
	fakedrv_avail(&f, TX(0), 0);
}

static void far_head(void)
{
	fakedrv_avail(&f, TX(0), 256);
}

static void far_next(void)
{
	fakedrv_desc(&f, TX(0), 0, room, 100, 1, 4000);
	fakedrv_avail(&f, TX(0), 0);
}

static void in_hole(void)
{
	fakedrv_desc(&f, TX(0), 0, GMEM_LOW_MAX_BYTES, 100, 0, 0);
	fakedrv_avail(&f, TX(0), 0);
}

static void over_the_end(void)
{
	fakedrv_desc(&f, TX(0), 0, GMEM_LOW_MAX_BYTES - 10, 100, 0, 0);
	fakedrv_avail(&f, TX(0), 0);
}

static void writable(void)
{
	fakedrv_desc(&f, TX(0), 0, room, 100, 2, 0);
	fakedrv_avail(&f, TX(0), 0);
}

static void index_ahead(void)
{
	uint16_t *avail = fakedrv_ptr(&f, f.q[TX(0)].avail, 4);

	__atomic_store_n(&avail[1], 3000, __ATOMIC_RELEASE);
}

static void indirect_in_indirect(void)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} inner = { room, 100, 4, 0 };

	memcpy(fakedrv_ptr(&f, room + 4096, 16), &inner, 16);
	fakedrv_desc(&f, TX(0), 0, room + 4096, 16, 4, 0);
	fakedrv_avail(&f, TX(0), 0);
}

static const struct {
	const char *name;
	void (*put)(void);
} hostile[] = {
	{ "loop", loop_chain }, { "head", far_head }, { "next", far_next },
	{ "hole", in_hole }, { "end", over_the_end }, { "writable", writable },
	{ "index", index_ahead }, { "indirect", indirect_in_indirect },
};

/* What the kernel finds wrong with a ring breaks the device; a reset mends it. */
START_TEST(test_hostile)
{
	attach(BASE | MRG | MQ);
	rx_fill(0, 10);
	hostile[_i].put();
	fakedrv_kick(&f, TX(0));
	wait_broken();
	host_sends_flows(5);
	fakedrv_reset(&f);
	fakedrv_poll(&f);
	ck_assert_uint_eq(f.d->s.status, 0);
	attach(BASE | MRG);
	rx_fill(0, 10);
	host_sends(1);
	take(RX(0), 1);
}
END_TEST

/* A buffer for receiving that cannot be written. */
START_TEST(test_hostile_rx)
{
	attach(BASE | MRG);
	fakedrv_desc(&f, RX(0), 0, _i ? room : GMEM_LOW_MAX_BYTES, 2000, _i ? 0 : 2, 0);
	fakedrv_avail(&f, RX(0), 0);
	fakedrv_kick(&f, RX(0));
	host_sends(1);
	wait_broken();
}
END_TEST

/* The driver breaks a rule of the device: the kernel lets go, too. */
START_TEST(test_broken_elsewhere)
{
	attach(BASE | MRG);
	pthread_mutex_lock(&f.d->lock);
	virtio_status_write(f.d, 3);
	pthread_mutex_unlock(&f.d->lock);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert(net()->served);
	fakedrv_poll(&f);
	ck_assert(!net()->served);
}
END_TEST

static void set_link(bool up)
{
	struct err e = { 0 };

	ck_assert_msg(!net_link(f.d, up, &e), "%s", e.text);
	fakedrv_poll(&f);
}

START_TEST(test_link)
{
	unsigned int i, queues;

	attach(BASE | MRG | MQ);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	rx_fill(0, 200);
	rx_fill(1, 200);
	for (i = 0; i < 10; i++) {
		set_link(false);
		host_sends_flows(10);
		guest_sends(i % PAIRS, 2);
		ck_assert_uint_eq(used(TX(i % PAIRS)) + used(RX(0)) + used(RX(1)), 0);
		set_link(true);
		take(TX(i % PAIRS), 2);
		host_sends_flows(10);
		ck_assert_uint_eq(take_any(10, &queues), 10);
	}
	set_link(false);
	ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
	reset();
	attach(BASE | MRG);
	rx_fill(0, 5);
	host_sends(1);
	ck_assert_uint_eq(used(RX(0)), 0);
	set_link(true);
	host_sends(1);
	take(RX(0), 1);
}
END_TEST

START_TEST(test_gone)
{
	struct virtio_net_config c;
	struct err e;
	int i;

	attach(BASE | MRG | MQ);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	ck_assert_int_eq(WEXITSTATUS(system("ip link delete tap0")), 0);
	fakedrv_poll(&f);
	/* Nobody tells us while the kernel has the tap: we see it when we use it. */
	if (_i == 0) {
		ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
	} else if (_i == 1) {
		ck_assert_int_eq(net_link(f.d, false, &e) + net_link(f.d, true, &e), -ENODEV);
	} else if (_i == 2) {
		guest_sends(0, 3);
		for (i = 0; i < 100 && net()->served; i++)
			ck_assert_int_gt(loop_step(f.loop, WAIT_MS, &e), 0);
		fakedrv_poll(&f);
		ck_assert_uint_eq(used(TX(0)), 3);
		/* Our own path goes on in the same rings. */
		guest_sends(0, 3);
		ck_assert_uint_eq(used(TX(0)), 3);
		ck_assert(!fakedrv_is_broken(&f));
	}
	fakedrv_reset(&f);
	fakedrv_poll(&f);
	fakedrv_attach(&f, f.d, BASE | MRG, 256);
	f.d->ops->config_read(f.d, 0, &c, sizeof(c));
	ck_assert_uint_eq(c.status, 0);
	/* Our own path loses what cannot be sent. */
	ck_assert(!net()->served);
	guest_sends(0, 3);
	ck_assert_uint_eq(used(TX(0)), _i == 1 ? 0 : 3);
}
END_TEST

/* A transport that lends nothing: our own path does the work. */
START_TEST(test_own_path)
{
	f.lends = false;
	fakedrv_attach(&f, f.d, BASE | MRG, 256);
	ck_assert(!net()->served);
	rx_fill(0, 20);
	host_sends(1);
	ck_assert_uint_eq(used(RX(0)), 1);
	guest_sends(0, 4);
	ck_assert_uint_eq(used(TX(0)), 4);
	fakedrv_reset(&f);
	ck_assert_uint_eq(f.d->s.status, 0);
	f.lends = true;
	attach(BASE | MRG);
	guest_sends(0, 4);
	take(TX(0), 4);
}
END_TEST

/* Freed while the kernel is at work: nothing of it stays. */
START_TEST(test_free)
{
	attach(BASE | MRG | MQ);
	rx_fill(0, 100);
	guest_sends(0, 100);
	host_sends_flows(20);
	if (_i)
		fakedrv_reset(&f);	/* and it has not been finished */
	f.d->ops->free(f.d);
	f.d = NULL;
	ck_assert_uint_eq(if_nametoindex("tap0"), 0);
}
END_TEST

START_TEST(test_macvtap)
{
	unsigned int queues;

	attach(BASE | MRG | MQ);
	rx_fill(0, 200);
	rx_fill(1, 200);
	host_sends_flows(20);
	take(RX(0), 20);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	host_sends_flows(32);
	ck_assert_uint_eq(take_any(32, &queues), 32);
	ck_assert_uint_eq(queues, 2);
	guest_sends(0, 5);
	guest_sends(1, 5);
	take(TX(0), 5);
	take(TX(1), 5);
	ck_assert_uint_eq(host_gets(10), 10);
	set_link(false);
	set_link(true);
	reset();
	attach(BASE | MRG);
	rx_fill(0, 10);
	host_sends(1);
	take(RX(0), 1);
}
END_TEST

START_TEST(test_refused)
{
	short many = KIT_TAP_FLAGS | IFF_MULTI_QUEUE;
	int tap = kit_tap_open("tap1", many), vhost = open_vhost();
	int fds[4] = { tap, vhost }, other = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	struct vmm_net c = { .mac = { 2 }, .mtu = 1500, .pairs = 1, .vhost = 1 };
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	fds[1] = tap;
	ck_assert_int_eq(net_new(&c, fds, 2, &f.mem, f.loop, &d, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "not /dev/vhost-net"), "%s", e.text);
	if (other >= 0) {
		fds[1] = other;
		ck_assert_int_eq(net_new(&c, fds, 2, &f.mem, f.loop, &d, &e), -EINVAL);
		ck_assert_msg(strstr(e.text, "another kind of vhost"), "%s", e.text);
		ck_assert_int_ge(fcntl(other, F_GETFD), 0);
	}
	/* One that has an owner already. */
	fds[1] = vhost;
	ck_assert_int_eq(net_new(&c, fds, 2, &f.mem, f.loop, &d, &e), 0);
	d->ops->free(d);
	c.pairs = 2;
	fds[0] = kit_tap_open("tap2", many);
	fds[1] = kit_tap_open("tap2", many);
	fds[2] = open_vhost();
	fds[3] = fcntl(fds[2], F_DUPFD_CLOEXEC, 0);
	ck_assert_int_lt(net_new(&c, fds, 4, &f.mem, f.loop, &d, &e), 0);
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
	const char *missing = fd < 0 ? "no " VHOST " (tests/e2e/45-net-fast.t runs it on the node)"
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
