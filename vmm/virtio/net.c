// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-net device (virtio 1.2, section 5.1) over a tap or macvtap
 * whose descriptors were opened by somebody else. Parts:
 *
 *   net.c         the device: what it offers, its life, its link
 *   net-tap.c     the ends of the tap, one per pair of queues
 *   net-rx.c, net-tx.c   the monitor's own path: packets of a pair
 *   net-kernel.c  the other path: the kernel moves the packets (vhost.c)
 *   net-ctrl.c    the control queue, which switches pairs on and off
 *
 * Queues: receive and transmit queue of each pair, then the control queue, which
 * there is only with more than one pair. A driver that does not take MQ has one
 * pair, and finds the control queue behind it. After a start one pair is on.
 *
 * Threads: start and stop run on vCPU threads; they set flags and signal @wake only.
 * All system calls on taps and vhosts are made on the I/O thread, where settle()
 * makes what they are what the driver has asked for. @lock of the device guards
 * everything.
 *
 * Limits count packets and bytes of frames, in each direction for the whole
 * device. While one is reached, packets stay where they are until the timer.
 *
 * A driver that starts, resets and switches pairs makes the host change its tap,
 * under a lock that all of the host's network shares. So the guest has a budget
 * for that (HOST_OPS_PER_S): when it is used up, the driver waits.
 *
 * Sources: virtio 1.2, section 5.1; virtio 1.3 for UDP segmentation.
 */
#include "vmm/virtio/net.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "vmm/batch.h"
#include "vmm/virtio/config.h"

#define MTU_MIN 68

/* Changes of the tap: a driver that comes and goes with 8 pairs makes 15 each time. */
#define HOST_OPS_PER_S 50
#define HOST_OPS_BURST 200

static struct net *net_of(struct virtio_dev *d)
{
	return (struct net *)d;
}

/**
 * net_wake() - look at all queues once more when others had their turn
 * Context: any thread
 *
 * #syscalls write
 */
void net_wake(struct net *n)
{
	eventfd_write(n->wake, 1);
}

/**
 * net_later() - look at all queues again in @ms milliseconds, or before
 * Context: I/O thread, the device's lock
 *
 * #syscalls timerfd_settime clock_gettime
 */
void net_later(struct net *n, uint64_t ms)
{
	uint64_t due = clock_ms() + ms;

	if (n->timer_due_ms && n->timer_due_ms <= due)
		return;
	n->timer_due_ms = due;
	timer_set(n->timer, ms, NULL);
}

/* What the loop shall wait for; while a vhost has the tap, only for its end. */
static void watch(struct net *n)
{
	uint16_t i;

	for (i = 0; i < n->n_pairs; i++) {
		struct net_pair *p = &n->pair[i];
		uint32_t events = 0;

		if (n->ready && !n->served && n->link) {
			if (i < n->pairs && !p->starved && !n->rx_held &&
			    !n->d.q[net_rxq(p)].broken)
				events |= EPOLLIN;
			if (p->tx_full && !n->tx_held)
				events |= EPOLLOUT;
		}
		if (p->src && events != p->watched)
			loop_mod(p->src, events);
		p->watched = events;
	}
}

/**
 * net_set_pairs() - switch pairs on and off
 * @pairs: 1 to @n->n_pairs; the first ones are on afterwards
 *
 * Return: 0; minus errno, then only the first pair is on
 * Context: I/O thread, the device's lock
 */
int net_set_pairs(struct net *n, uint16_t pairs, struct err *e)
{
	uint16_t i;
	int rc = 0;

	n->pairs = pairs;
	for (i = 1; i < n->n_pairs && rc >= 0; i++) {
		struct net_pair *p = &n->pair[i];
		bool on = i < pairs;

		/* Attached before somebody works on its queue, detached after. */
		if (on)
			rc = net_tap_attach(p, true, e);
		if (rc >= 0 && n->served)
			rc = net_kernel_serve(p, e);
		if (rc >= 0 && !on)
			rc = net_tap_attach(p, false, e);
		if (!on)
			p->rx_len = 0;
		if (!on)
			p->starved = false;
	}
	if (rc < 0 && pairs > 1)
		net_set_pairs(n, 1, NULL);
	return rc;
}

/* Sets all up for the driver that has come. */
static void begin(struct net *n)
{
	struct err e = { 0 };

	net_tap_offload(n);
	if (net_set_pairs(n, 1, &e) < 0)
		log_warn("net: %s", e.text);
	n->ready = true;
	if (!n->kernel || !net_tap_alive(n))
		return;
	/* Packets from before may be of a kind that this driver did not take. */
	net_tap_drain(&n->pair[0]);
	if (net_kernel_start(n, &e) < 0)
		log_warn("net: vhost: %s", e.text);
}

/* Makes taps and vhosts what the driver has asked for. */
static void settle(struct net *n)
{
	bool broken = n->d.q[0].broken;
	uint64_t ms;

	if (n->served && (n->d.resetting || broken)) {
		net_kernel_stop(n);
		n->ready = false;
	}
	virtio_reset_done(&n->d);
	if (!n->d.running || n->ready || broken)
		return;
	ms = limit_wait_ms(&n->host, limit_now_ns());
	if (ms)
		net_later(n, ms);
	else
		begin(n);
}

/* Everybody's turn; the pair that was first is last the next time. */
static void pump(struct net *n)
{
	uint16_t i;

	settle(n);
	net_ctrl_pump(n);
	for (i = 0; i < n->n_pairs; i++) {
		struct net_pair *p = &n->pair[(n->turn + i) % n->n_pairs];

		net_tx_pump(p);
		net_rx_pump(p);
	}
	n->turn = (uint16_t)((n->turn + 1) % n->n_pairs);
	watch(n);
}

static void on_wake(void *arg, uint32_t events)
{
	struct net *n = arg;
	eventfd_t count;

	(void)events;
	pthread_mutex_lock(&n->d.lock);
	eventfd_read(n->wake, &count);
	pump(n);
	pthread_mutex_unlock(&n->d.lock);
}

static void on_timer(void *arg, uint32_t events)
{
	struct net *n = arg;

	(void)events;
	pthread_mutex_lock(&n->d.lock);
	timer_ack(n->timer);
	n->timer_due_ms = 0;
	n->rx_held = n->tx_held = false;
	pump(n);
	pthread_mutex_unlock(&n->d.lock);
}

static void on_tap(void *arg, uint32_t events)
{
	struct net_pair *p = arg;
	struct net *n = p->net;

	pthread_mutex_lock(&n->d.lock);
	if (events & (EPOLLERR | EPOLLHUP))
		net_tap_gone(n);
	if (events & EPOLLOUT) {
		p->tx_full = false;
		net_tx_pump(p);
	}
	if (events & EPOLLIN)
		batch_round(net_rx_pump(p));
	watch(n);
	pthread_mutex_unlock(&n->d.lock);
}

static void net_kick(struct virtio_dev *d, uint16_t q)
{
	struct net *n = net_of(d);
	struct net_pair *p = &n->pair[q / 2 < n->n_pairs ? q / 2 : 0];

	if (q == net_ctrlq(n)) {
		net_ctrl_pump(n);
	} else if (q == net_rxq(p)) {
		p->starved = false;
		net_rx_pump(p);
	} else if (q == net_txq(p)) {
		net_tx_pump(p);
	}
	watch(n);
}

static void net_config_read(struct virtio_dev *d, uint32_t offset, void *buf,
			    uint32_t len)
{
	config_copy(&net_of(d)->config, sizeof(net_of(d)->config), offset, buf, len);
}

static void net_start(struct virtio_dev *d)
{
	net_of(d)->ready = false;
	net_wake(net_of(d));
}

/* The loop may still watch the tap: on_tap() sees @ready and stops that. */
static bool net_stop(struct virtio_dev *d)
{
	struct net *n = net_of(d);
	uint16_t i;

	n->ready = false;
	for (i = 0; i < n->n_pairs; i++) {
		struct net_pair *p = &n->pair[i];

		p->starved = p->tx_full = false;
		p->rx_len = 0;
	}
	if (n->served)
		net_wake(n);
	return !n->served;
}

/* What vhosts do has an end only on the I/O thread. */
static void net_broken(struct virtio_dev *d)
{
	if (net_of(d)->served)
		net_wake(net_of(d));
}

static void net_free(struct virtio_dev *d)
{
	struct net *n = net_of(d);
	uint16_t i;

	net_kernel_stop(n);
	for (i = 0; i < n->n_pairs; i++) {
		struct net_pair *p = &n->pair[i];

		loop_del(p->failed);
		vhost_done(&p->vhost);
		loop_del(p->src);
		fd_close(&p->tap);
	}
	loop_del(n->wake_src);
	loop_del(n->timer_src);
	fd_close(&n->wake);
	fd_close(&n->timer);
	free(n);
}

/* Both or none. */
static int set_limits(struct net *n, const struct vmm_limit *rx_cfg,
		      const struct vmm_limit *tx_cfg, bool vhost, struct err *e)
{
	uint64_t now = limit_now_ns();
	struct limit rx, tx;

	if (limit_init(&rx, rx_cfg, now, e) < 0)
		return err_wrap(e, "rx");
	if (limit_init(&tx, tx_cfg, now, e) < 0)
		return err_wrap(e, "tx");
	if (vhost && (limit_is_set(&rx) || limit_is_set(&tx)))
		return err_set(e, EINVAL, "rx, tx: vhost keeps no limits: send no vhost "
			       "descriptors with them");
	rx.waits = n->rx_limit.waits;
	tx.waits = n->tx_limit.waits;
	n->rx_limit = rx;
	n->tx_limit = tx;
	return 0;
}

static int net_limit(struct virtio_dev *d, const struct vmm_set_limit *cfg, struct err *e)
{
	struct net *n = net_of(d);
	int rc = set_limits(n, &cfg->limit, &cfg->tx, n->kernel, e);

	if (rc < 0)
		return rc;
	/* Who waits, asks again. */
	n->rx_held = n->tx_held = false;
	eventfd_write(n->wake, 1);
	return 0;
}

static const struct virtio_ops net_ops = {
	.name = "net",
	.device_id = VIRTIO_ID_NET,
	.pci_class = 0x020000,
	.config_read = net_config_read,
	.start = net_start,
	.stop = net_stop,
	.kick = net_kick,
	.free = net_free,
	.limit = net_limit,
	.broken = net_broken,
};

/* What came while the link was down is lost. */
static void follow_link(struct net_pair *p)
{
	struct err e = { 0 };

	p->rx_len = 0;
	p->starved = false;
	if (p->net->link)
		net_tap_drain(p);
	if (p->net->served && net_kernel_serve(p, &e) < 0) {
		log_warn("net: vhost: %s", e.text);
		net_kernel_stop(p->net);
	}
}

/**
 * net_link() - set the link up or down
 * @d: any device
 *
 * Return: 0; -EINVAL if @d is no network card; -ENODEV if its tap is gone
 * Context: I/O thread
 *
 * #syscalls ioctl read write epoll_ctl
 */
int net_link(struct virtio_dev *d, bool up, struct err *e)
{
	struct net *n = net_of(d);
	uint16_t i;
	int rc = 0;

	if (d->ops != &net_ops)
		return err_set(e, EINVAL, "a device of kind %s has no link", d->ops->name);
	pthread_mutex_lock(&d->lock);
	if (!net_tap_alive(n) && up)
		rc = err_set(e, ENODEV, "the tap is gone: unplug the interface");
	if (rc >= 0 && n->link != up) {
		n->link = up;
		n->config.status = up ? VIRTIO_NET_S_LINK_UP : 0;
		for (i = 0; i < n->n_pairs; i++)
			follow_link(&n->pair[i]);
		virtio_config_changed(d);
		pump(n);
	}
	pthread_mutex_unlock(&d->lock);
	return rc;
}

static int check_config(const struct vmm_net *cfg, size_t n_fds, struct err *e)
{
	static const uint8_t none[6];
	size_t pairs = cfg->pairs ? cfg->pairs : 1, want = pairs * (cfg->vhost ? 2 : 1);

	if (cfg->mac[0] & 1 || !memcmp(cfg->mac, none, sizeof(none)))
		return err_set(e, EINVAL, "the MAC address is not one of a single interface");
	if (cfg->mtu < MTU_MIN)
		return err_set(e, EINVAL, "MTU %u is below %d", cfg->mtu, MTU_MIN);
	if (pairs > VMM_NET_PAIRS_MAX)
		return err_set(e, EINVAL, "%zu pairs of queues: give 1 to %d", pairs,
			       VMM_NET_PAIRS_MAX);
	if (cfg->vhost > 1)
		return err_set(e, EINVAL, "vhost %u: give 0 or 1", cfg->vhost);
	if (n_fds != want)
		return err_set(e, EINVAL, "%zu descriptors: %zu pairs%s take %zu", n_fds, pairs,
			       cfg->vhost ? " with vhost" : "", want);
	return 0;
}

static int init_limits(struct net *n, const struct vmm_net *cfg, struct err *e)
{
	const struct vmm_limit host = { .ops_per_s = HOST_OPS_PER_S,
					.burst_ops = HOST_OPS_BURST };
	int rc = set_limits(n, &cfg->rx, &cfg->tx, cfg->vhost, e);

	return rc < 0 ? rc : limit_init(&n->host, &host, limit_now_ns(), e);
}

static uint64_t features(const struct net *n)
{
	static const uint8_t bits[] = {
		VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
		VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,
		VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6,
		VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_MRG_RXBUF,
	};
	uint64_t f = 0;
	size_t i;

	for (i = 0; i < ARRAY_LEN(bits); i++)
		f |= 1ull << bits[i];
	if (n->n_pairs > 1)
		f |= 1ull << VIRTIO_NET_F_MQ | 1ull << VIRTIO_NET_F_CTRL_VQ;
	if (n->uso)
		f |= 1ull << VIRTIO_NET_F_HOST_USO | 1ull << VIRTIO_NET_F_GUEST_USO4 |
		     1ull << VIRTIO_NET_F_GUEST_USO6;
	return f;
}

/* Everything but the descriptors: they are the caller's until all has succeeded. */
static struct net *make(const struct vmm_net *cfg)
{
	uint16_t pairs = cfg->pairs ? cfg->pairs : 1, i;
	struct net *n = calloc(1, sizeof(*n) + pairs * sizeof(n->pair[0]));

	if (!n)
		return NULL;
	n->wake = n->timer = -1;
	n->n_pairs = pairs;
	n->link = true;
	n->tx[0] = (struct iovec){ &n->tx_hdr, sizeof(n->tx_hdr) };
	memcpy(n->config.mac, cfg->mac, sizeof(n->config.mac));
	n->config.status = VIRTIO_NET_S_LINK_UP;
	n->config.mtu = cfg->mtu;
	n->config.max_virtqueue_pairs = pairs;
	for (i = 0; i < pairs; i++) {
		struct net_pair *p = &n->pair[i];

		p->net = n;
		p->index = i;
		p->tap = -1;
		p->attached = !i;
		p->vhost = (struct vhost){ .fd = -1, .call = { -1, -1 }, .failed = -1 };
		p->kick[VHOST_RX] = p->kick[VHOST_TX] = -1;
	}
	return n;
}

static int attach(struct net *n, const int *fds, const struct gmem *mem, struct loop *loop,
		  struct err *e)
{
	uint16_t i;
	int rc;

	n->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->wake < 0)
		return err_sys(e, "eventfd");
	n->timer = timer_new(e);
	if (n->timer < 0)
		return n->timer;
	rc = virtio_init(&n->d, &net_ops, features(n), mem, loop);
	if (rc < 0)
		return err_set(e, -rc, "virtio device");
	virtio_set_queues(&n->d, (uint16_t)(2 * n->n_pairs + (n->n_pairs > 1)));
	if ((rc = loop_add(loop, n->wake, EPOLLIN, on_wake, n, &n->wake_src, e)) < 0 ||
	    (rc = loop_add(loop, n->timer, EPOLLIN, on_timer, n, &n->timer_src, e)) < 0)
		return rc;
	for (i = 0; i < n->n_pairs; i++) {
		rc = loop_add(loop, fds[i], 0, on_tap, &n->pair[i], &n->pair[i].src, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/**
 * net_new() - make a network card
 * @cfg:   copied; vmm/vmm.h says what it may be
 * @fds:   as vmm/vmm.h says; taken over on success, and -1 then
 * @mem:   borrowed, outlives the device
 * @loop:  of the I/O thread, borrowed, outlives the device
 * @ret:   owned by the caller, freed by its ops
 *
 * Return: 0; -EINVAL for a configuration or a descriptor that will not do;
 * else minus errno
 * Context: I/O thread, or before it runs
 * Source: virtio 1.2, section 5.1
 *
 * #syscalls ioctl fcntl eventfd2 timerfd_create epoll_ctl read write writev close
 */
int net_new(const struct vmm_net *cfg, int *fds, size_t n_fds, const struct gmem *mem,
	    struct loop *loop, struct virtio_dev **ret, struct err *e)
{
	struct net *n;
	size_t i;
	int rc = check_config(cfg, n_fds, e);

	if (rc < 0)
		return rc;
	n = make(cfg);
	if (!n)
		return err_set(e, ENOMEM, "out of memory");
	if ((rc = init_limits(n, cfg, e)) >= 0 && (rc = net_tap_check(n, fds, e)) >= 0 &&
	    (rc = attach(n, fds, mem, loop, e)) >= 0 && cfg->vhost)
		rc = net_kernel_init(n, fds + n->n_pairs, e);
	if (rc < 0) {
		for (i = 0; i < n->n_pairs; i++)
			n->pair[i].vhost.fd = -1;
		net_free(&n->d);
		return rc;
	}
	for (i = 0; i < n->n_pairs; i++)
		n->pair[i].tap = fds[i];
	for (i = 0; i < n_fds; i++)
		fds[i] = -1;
	*ret = &n->d;
	return 0;
}
