// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-net device (virtio 1.2, section 5.1) over a tap or macvtap
 * whose descriptor was opened by somebody else. The tap speaks the same
 * 12-byte header as the driver (IFF_VNET_HDR), so checksum and segmentation
 * offloads pass through: the tap is told which ones the driver takes.
 *
 * Receiving: one packet at a time is read into @rx, then spread over as many
 * buffers as it needs (MRG_RXBUF) or put into one. If there are not enough
 * buffers the packet stays in @rx and the tap is not watched until the driver
 * gives more; the tap's own queue then fills and drops, as a network does. A
 * packet that cannot fit, however many buffers come, is dropped.
 *
 * Sending: the header is copied out and checked, the rest goes to the tap
 * straight from guest memory. What makes no sense is dropped; a chain that
 * breaks the device's rules (a buffer of the wrong direction) breaks the
 * device. When the tap is full the chain goes back and waits for EPOLLOUT.
 *
 * Threads: start and stop run on vCPU threads; they set flags and @wake only.
 * All system calls on the tap are made on the I/O thread. @lock of the device
 * guards everything here.
 *
 * Sources: virtio 1.2, section 5.1; Linux Documentation/networking/tuntap.rst
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "vmm/virtio/config.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

#define RXQ 0
#define TXQ 1

#define HDR_BYTES sizeof(struct virtio_net_hdr_v1)
#define ETH_BYTES 14u

/* Longest IP packet with an Ethernet header and a VLAN tag. */
#define FRAME_BYTES_MAX (65535u + ETH_BYTES + 4u)

/* Packets per direction before others get their turn. */
#define NET_ROUND 64

#define MTU_MIN 68

struct net {
	struct virtio_dev d;
	struct virtq_chain first, chain;
	struct virtio_net_config config;
	int tap;		/* owned */
	struct loop_src *tap_src;	/* NULL once the tap is gone */
	uint32_t watched;	/* EPOLL* bits that the loop waits for */
	int wake;		/* eventfd, owned */
	struct loop_src *wake_src;
	bool ready;		/* the I/O thread has told the tap the offloads */
	bool starved;		/* @rx waits for buffers */
	bool tx_full;		/* the tap had no room */
	size_t rx_len;		/* 0: @rx is free */
	uint16_t heads[VIRTQ_SIZE_MAX];
	uint32_t written[VIRTQ_SIZE_MAX];
	struct virtio_net_hdr_v1 tx_hdr;
	struct iovec tx[VIRTQ_SIZE_MAX + 1];	/* @tx_hdr, then the frame */
	uint8_t rx[HDR_BYTES + FRAME_BYTES_MAX + 1];
};

static struct net *net_of(struct virtio_dev *d)
{
	return (struct net *)d;
}

static bool acked(const struct net *n, unsigned int bit)
{
	return n->d.s.acked >> bit & 1;
}

static void watch(struct net *n)
{
	uint32_t events = 0;

	if (n->ready && !n->starved && !n->d.q[RXQ].broken)
		events |= EPOLLIN;
	if (n->ready && n->tx_full)
		events |= EPOLLOUT;
	if (n->tap_src && events != n->watched)
		loop_mod(n->tap_src, events);
	n->watched = events;
}

static void tap_gone(struct net *n)
{
	if (!n->tap_src)
		return;
	log_warn("net: tap: gone: the link is down");
	loop_del(n->tap_src);
	n->tap_src = NULL;
	n->config.status = 0;
	virtio_config_changed(&n->d);
}

/* The driver must not see an offload that it did not take (section 5.1.6.4.2). */
static bool rx_header_ok(const struct net *n, const struct virtio_net_hdr_v1 *h)
{
	unsigned int kind = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !acked(n, VIRTIO_NET_F_GUEST_CSUM))
		return false;
	if (h->gso_type & VIRTIO_NET_HDR_GSO_ECN && !acked(n, VIRTIO_NET_F_GUEST_ECN))
		return false;
	if (kind == VIRTIO_NET_HDR_GSO_TCPV4)
		return acked(n, VIRTIO_NET_F_GUEST_TSO4);
	if (kind == VIRTIO_NET_HDR_GSO_TCPV6)
		return acked(n, VIRTIO_NET_F_GUEST_TSO6);
	return kind == VIRTIO_NET_HDR_GSO_NONE;
}

/* Fills @rx: 1 a packet is there, 0 none. */
static int rx_read(struct net *n)
{
	for (;;) {
		struct virtio_net_hdr_v1 h;
		ssize_t got = read(n->tap, n->rx, sizeof(n->rx));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			if (errno != EAGAIN)
				tap_gone(n);
			return 0;
		}
		if ((size_t)got < HDR_BYTES + ETH_BYTES || (size_t)got == sizeof(n->rx))
			return 0;
		memcpy(&h, n->rx, sizeof(h));
		if (!acked(n, VIRTIO_NET_F_GUEST_CSUM))
			h.flags &= (uint8_t)~VIRTIO_NET_HDR_F_DATA_VALID;
		if (!rx_header_ok(n, &h))
			return 0;
		h.num_buffers = 1;
		memcpy(n->rx, &h, sizeof(h));
		n->rx_len = (size_t)got;
		return 1;
	}
}

static void rx_undo(struct net *n, uint16_t count)
{
	while (count) {
		n->chain.head = n->heads[--count];
		virtq_unpop(&n->d.q[RXQ], &n->chain);
	}
}

static int rx_take(struct net *n, struct virtq_chain *c, bool is_first)
{
	struct err e = { 0 };
	int rc = virtq_take(&n->d.q[RXQ], c, &e);

	if (rc > 0 && (c->n_out || (is_first && c->in_bytes < HDR_BYTES)))
		rc = err_set(&e, EPROTO, "a receive buffer that is readable or too short");
	if (rc < 0)
		virtio_broken(&n->d, e.text);
	return rc;
}

/* Gives @rx to the driver: 1 gone (or dropped), 0 not enough buffers, < 0 broken. */
static int rx_deliver(struct net *n)
{
	struct virtq *q = &n->d.q[RXQ];
	bool merge = acked(n, VIRTIO_NET_F_MRG_RXBUF);
	uint16_t count = 0;
	size_t done = 0;

	while (done < n->rx_len) {
		struct virtq_chain *c = count ? &n->chain : &n->first;
		int rc = count == q->s.size ? 0 : rx_take(n, c, !count);

		if (rc < 0)
			return rc;
		if (!rc) {
			/* Even the whole queue is too small: waiting is no use. */
			if (count == q->s.size)
				n->rx_len = 0;
			rx_undo(n, count);
			return n->rx_len ? 0 : 1;
		}
		n->heads[count] = c->head;
		if (!merge && c->in_bytes < n->rx_len) {
			rx_undo(n, 1);
			n->rx_len = 0;
			return 1;
		}
		n->written[count] = (uint32_t)chain_write(c, 0, n->rx + done,
							  n->rx_len - done);
		done += n->written[count++];
	}
	chain_write(&n->first, offsetof(struct virtio_net_hdr_v1, num_buffers), &count,
		    sizeof(count));
	virtq_push_batch(q, n->heads, n->written, count);
	n->rx_len = 0;
	return 1;
}

static void rx_pump(struct net *n)
{
	unsigned int left;

	if (!n->ready || n->starved || !n->tap_src)
		return;
	virtq_disable_kicks(&n->d.q[RXQ]);
	for (left = NET_ROUND; left; left--) {
		int rc;

		/* After a packet that was dropped EPOLLIN tells of the next one. */
		if (!n->rx_len && !rx_read(n))
			break;
		rc = rx_deliver(n);
		if (rc <= 0) {
			n->starved = true;
			break;
		}
	}
	virtio_notify(&n->d, RXQ);
}

/* Is this header one that the features allow, for a frame of @len bytes? */
static bool tx_header_ok(const struct net *n, const struct virtio_net_hdr_v1 *h,
			 uint64_t len)
{
	unsigned int kind = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	bool csum = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	if (h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return false;
	if (csum && (!acked(n, VIRTIO_NET_F_CSUM) ||
		     (uint64_t)h->csum_start + h->csum_offset + 2 > len))
		return false;
	if (kind == VIRTIO_NET_HDR_GSO_NONE)
		return !h->gso_type;
	if (!csum || !h->gso_size || h->hdr_len > len)
		return false;
	if (h->gso_type & VIRTIO_NET_HDR_GSO_ECN && !acked(n, VIRTIO_NET_F_HOST_ECN))
		return false;
	if (kind == VIRTIO_NET_HDR_GSO_TCPV4)
		return acked(n, VIRTIO_NET_F_HOST_TSO4);
	if (kind == VIRTIO_NET_HDR_GSO_TCPV6)
		return acked(n, VIRTIO_NET_F_HOST_TSO6);
	return false;
}

/* 1 sent or dropped, 0 the tap is full, < 0 broken. */
static int tx_packet(struct net *n)
{
	struct virtq_chain *c = &n->chain;
	struct virtio_net_hdr_v1 h;
	ssize_t sent;

	if (c->n_in)
		return -EPROTO;
	if (c->out_bytes < HDR_BYTES + ETH_BYTES ||
	    c->out_bytes > HDR_BYTES + FRAME_BYTES_MAX)
		return 1;
	chain_read(c, 0, &h, sizeof(h));
	if (!tx_header_ok(n, &h, c->out_bytes - HDR_BYTES))
		return 1;
	h.num_buffers = 0;
	n->tx_hdr = h;
	c->n_out = (uint16_t)iov_trim(c->out, c->n_out, HDR_BYTES, UINT64_MAX);
	memcpy(n->tx + 1, c->out, c->n_out * sizeof(c->out[0]));
	do {
		sent = writev(n->tap, n->tx, c->n_out + 1);
	} while (sent < 0 && errno == EINTR);
	/* All other failures lose the packet: the tap is down, gone or refuses it. */
	return sent < 0 && errno == EAGAIN ? 0 : 1;
}

static void tx_pump(struct net *n)
{
	struct virtq *q = &n->d.q[TXQ];
	unsigned int left;
	struct err e = { 0 };
	int rc = 1;

	if (!n->ready || n->tx_full)
		return;
	virtq_disable_kicks(q);
	for (left = NET_ROUND; left && rc > 0; left--) {
		rc = virtq_take(q, &n->chain, &e);
		if (rc <= 0)
			break;
		rc = tx_packet(n);
		if (rc > 0) {
			virtq_push(q, n->chain.head, 0);
		} else if (!rc) {
			virtq_unpop(q, &n->chain);
			n->tx_full = true;
		} else {
			err_set(&e, EPROTO, "a transmit buffer that is writable");
		}
	}
	if (rc < 0)
		virtio_broken(&n->d, e.text);
	else if (rc)
		eventfd_write(n->wake, 1);
	virtio_notify(&n->d, TXQ);
}

static void on_tap(void *arg, uint32_t events)
{
	struct net *n = arg;

	pthread_mutex_lock(&n->d.lock);
	if (events & (EPOLLERR | EPOLLHUP))
		tap_gone(n);
	if (events & EPOLLOUT) {
		n->tx_full = false;
		tx_pump(n);
	}
	if (events & EPOLLIN)
		rx_pump(n);
	watch(n);
	pthread_mutex_unlock(&n->d.lock);
}

/* TUN_F_* for the features that the driver took; TSO needs the checksum. */
static unsigned int offloads(const struct net *n)
{
	unsigned int f = 0;

	if (!acked(n, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	f |= TUN_F_CSUM;
	if (acked(n, VIRTIO_NET_F_GUEST_TSO4))
		f |= TUN_F_TSO4;
	if (acked(n, VIRTIO_NET_F_GUEST_TSO6))
		f |= TUN_F_TSO6;
	if (f != TUN_F_CSUM && acked(n, VIRTIO_NET_F_GUEST_ECN))
		f |= TUN_F_TSO_ECN;
	return f;
}

static void on_wake(void *arg, uint32_t events)
{
	struct net *n = arg;
	eventfd_t count;

	(void)events;
	pthread_mutex_lock(&n->d.lock);
	eventfd_read(n->wake, &count);
	if (n->d.running && !n->ready) {
		if (ioctl(n->tap, TUNSETOFFLOAD, (unsigned long)offloads(n)) < 0)
			log_warn("net: tap: receive offloads %#x: %s", offloads(n),
				 strerror(errno));
		n->ready = true;
	}
	tx_pump(n);
	rx_pump(n);
	watch(n);
	pthread_mutex_unlock(&n->d.lock);
}

static void net_kick(struct virtio_dev *d, uint16_t q)
{
	struct net *n = net_of(d);

	if (q == RXQ) {
		n->starved = false;
		rx_pump(n);
	} else {
		tx_pump(n);
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
	eventfd_write(net_of(d)->wake, 1);
}

/* The loop may still watch the tap: on_tap() sees @ready and stops that. */
static bool net_stop(struct virtio_dev *d)
{
	struct net *n = net_of(d);

	n->ready = false;
	n->starved = false;
	n->tx_full = false;
	n->rx_len = 0;
	return true;
}

static void net_free(struct virtio_dev *d)
{
	struct net *n = net_of(d);

	loop_del(n->tap_src);
	loop_del(n->wake_src);
	fd_close(&n->wake);
	fd_close(&n->tap);
	free(n);
}

static const struct virtio_ops net_ops = {
	.name = "net",
	.device_id = VIRTIO_ID_NET,
	.pci_class = 0x020000,
	.n_queues = 2,
	.config_read = net_config_read,
	.start = net_start,
	.stop = net_stop,
	.kick = net_kick,
	.free = net_free,
};

/* Checks that it is a tap with our header, and takes its offloads back. */
static int setup_tap(int fd, struct err *e)
{
	struct ifreq ifr = { 0 };
	int size = HDR_BYTES, flags;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_sys(e, "not a tap that is attached to an interface");
	if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
	    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
		return err_set(e, EINVAL, "%.15s: open it with IFF_TAP, IFF_NO_PI and "
			       "IFF_VNET_HDR", ifr.ifr_name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return err_sys(e, "%.15s: TUNSETVNETHDRSZ", ifr.ifr_name);
	if (ioctl(fd, TUNSETOFFLOAD, 0ul) < 0)
		return err_sys(e, "%.15s: TUNSETOFFLOAD", ifr.ifr_name);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "%.15s: O_NONBLOCK", ifr.ifr_name);
	return 0;
}

static int check_config(const struct vmm_net *cfg, struct err *e)
{
	static const uint8_t none[6];

	if (cfg->mac[0] & 1 || !memcmp(cfg->mac, none, sizeof(none)))
		return err_set(e, EINVAL, "the MAC address is not one of a single interface");
	if (cfg->mtu < MTU_MIN)
		return err_set(e, EINVAL, "MTU %u is below %d", cfg->mtu, MTU_MIN);
	return 0;
}

static int attach(struct net *n, int tap_fd, const struct gmem *mem,
		  struct loop *loop, struct err *e)
{
	static const uint8_t bits[] = {
		VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
		VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,
		VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6,
		VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_MRG_RXBUF,
	};
	uint64_t features = 0;
	size_t i;
	int rc;

	for (i = 0; i < ARRAY_LEN(bits); i++)
		features |= 1ull << bits[i];
	n->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->wake < 0)
		return err_sys(e, "eventfd");
	rc = virtio_init(&n->d, &net_ops, features, mem, loop);
	if (rc < 0)
		return err_set(e, -rc, "virtio device");
	rc = loop_add(loop, n->wake, EPOLLIN, on_wake, n, &n->wake_src, e);
	if (rc < 0)
		return rc;
	return loop_add(loop, tap_fd, 0, on_tap, n, &n->tap_src, e);
}

/**
 * net_new() - make a network card
 * @cfg:    copied; a MAC of one station, an MTU of at least 68
 * @tap_fd: tap or macvtap with IFF_VNET_HDR and IFF_NO_PI, taken over on success
 * @mem:    borrowed, outlives the device
 * @loop:   of the I/O thread, borrowed, outlives the device
 * @ret:    owned by the caller, freed by its ops
 *
 * Return: 0; -EINVAL for a configuration or a descriptor that will not do;
 * else minus errno
 * Context: I/O thread, or before it runs
 * Source: virtio 1.2, section 5.1
 *
 * #syscalls ioctl fcntl eventfd2 epoll_ctl read write writev close
 */
int net_new(const struct vmm_net *cfg, int tap_fd, const struct gmem *mem,
	    struct loop *loop, struct virtio_dev **ret, struct err *e)
{
	struct net *n;
	int rc = check_config(cfg, e);

	if (rc >= 0)
		rc = setup_tap(tap_fd, e);
	if (rc < 0)
		return rc;
	n = mem_new(struct net);
	if (!n)
		return err_set(e, ENOMEM, "out of memory");
	n->tap = -1;
	n->wake = -1;
	n->tx[0] = (struct iovec){ &n->tx_hdr, sizeof(n->tx_hdr) };
	memcpy(n->config.mac, cfg->mac, sizeof(n->config.mac));
	n->config.status = VIRTIO_NET_S_LINK_UP;
	n->config.mtu = cfg->mtu;
	rc = attach(n, tap_fd, mem, loop, e);
	if (rc < 0) {
		net_free(&n->d);
		return rc;
	}
	n->tap = tap_fd;
	*ret = &n->d;
	return 0;
}
