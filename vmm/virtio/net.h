/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include <linux/virtio_net.h>
#include <net/if.h>

#include "vmm/virtio/limit.h"
#include "vmm/virtio/vhost.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

/* UDP segmentation, which headers before Linux 6.2 do not name (virtio 1.3, 5.1.3). */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define NET_HDR_BYTES sizeof(struct virtio_net_hdr_v1)
#define NET_ETH_BYTES 14u

/* Longest IP packet with an Ethernet header and a VLAN tag. */
#define NET_FRAME_BYTES_MAX (65535u + NET_ETH_BYTES + 4u)

/* Packets per queue before others get their turn. */
#define NET_ROUND 64

/**
 * struct net_pair - a receive and a transmit queue, and their end of the tap
 * @tap:      owned
 * @src:      NULL once the tap is gone
 * @watched:  EPOLL* bits that the loop waits for
 * @attached: the tap gives packets to this end
 * @starved:  @rx waits for buffers
 * @tx_full:  the tap had no room
 * @vhost:    of this pair; without descriptors where there is none
 * @failed:   its @vhost.failed in the loop
 * @kick:     eventfds of the queues that are lent to @vhost, by ring, borrowed; -1:
 *            it is not
 * @rx_len:   of the packet in @rx that waits for the driver; 0: @rx is free
 */
struct net_pair {
	struct net *net;
	uint16_t index;
	int tap;
	struct loop_src *src;
	uint32_t watched;
	bool attached;
	bool starved;
	bool tx_full;
	struct vhost vhost;
	struct loop_src *failed;
	int kick[VHOST_RINGS];
	size_t rx_len;
	uint8_t rx[NET_HDR_BYTES + NET_FRAME_BYTES_MAX + 1];
};

/**
 * struct net - see net.c; everything is guarded by the device's lock
 * @config:   as the driver reads it
 * @n_pairs:  that there are
 * @pairs:    that the driver has switched on
 * @uso:      the tap knows UDP segmentation
 * @offload:  TUN_F_* that the tap was told last
 * @kernel:   there are vhosts
 * @served:   they work, and the queues are lent to them
 * @link:     it is up, as far as the supervisor is concerned
 * @ready:    the I/O thread has set all up for the driver
 * @rx_held, @tx_held: the limit is reached, @timer tells when to go on
 * @host:     how often the guest may make the host change the tap
 * @wake, @timer: eventfd and timerfd, owned
 * @timer_due_ms: when @timer fires, CLOCK_MONOTONIC; 0: it is not set
 * @turn:     pair that is served first next time
 * @first, @chain, @heads, @written, @tx_hdr, @tx: of the packet that is being moved
 * @pair:     @n_pairs of them
 */
struct net {
	struct virtio_dev d;
	struct virtio_net_config config;
	uint16_t n_pairs;
	uint16_t pairs;
	bool uso;
	unsigned int offload;
	bool kernel;
	bool served;
	bool link;
	bool ready;
	bool rx_held, tx_held;
	struct limit rx_limit, tx_limit, host;
	int wake;
	struct loop_src *wake_src;
	int timer;
	struct loop_src *timer_src;
	uint64_t timer_due_ms;
	uint16_t turn;
	struct virtq_chain first, chain;
	uint16_t heads[VIRTQ_SIZE_MAX];
	uint32_t written[VIRTQ_SIZE_MAX];
	struct virtio_net_hdr_v1 tx_hdr;
	struct iovec tx[VIRTQ_SIZE_MAX + 1];	/* @tx_hdr, then the frame */
	struct net_pair pair[];
};

static inline bool net_acked(const struct net *n, unsigned int bit)
{
	return n->d.s.acked >> bit & 1;
}

/* Queues of a pair, and the control queue behind all pairs (virtio 1.2, section 5.1.2). */
static inline uint16_t net_rxq(const struct net_pair *p)
{
	return (uint16_t)(2 * p->index);
}

static inline uint16_t net_txq(const struct net_pair *p)
{
	return (uint16_t)(2 * p->index + 1);
}

/* Whether the driver may switch on more than one pair. */
static inline bool net_is_mq(const struct net *n)
{
	return net_acked(n, VIRTIO_NET_F_MQ) && net_acked(n, VIRTIO_NET_F_CTRL_VQ);
}

/* Pairs whose queues are pairs, whether switched on or not. */
static inline uint16_t net_usable(const struct net *n)
{
	return net_is_mq(n) ? n->n_pairs : 1;
}

static inline uint16_t net_ctrlq(const struct net *n)
{
	return net_acked(n, VIRTIO_NET_F_MQ) ? (uint16_t)(2 * n->n_pairs) : 2;
}

/* net.c */
void net_later(struct net *n, uint64_t ms);
void net_wake(struct net *n);
int net_set_pairs(struct net *n, uint16_t pairs, struct err *e);

/* net-kernel.c */
int net_kernel_init(struct net *n, const int *fds, struct err *e);
int net_kernel_start(struct net *n, struct err *e);
int net_kernel_serve(struct net_pair *p, struct err *e);
void net_kernel_stop(struct net *n);

/* net-tap.c */
int net_tap_check(struct net *n, const int *fds, struct err *e);
bool net_tap_alive(struct net *n);
int net_tap_attach(struct net_pair *p, bool on, struct err *e);
void net_tap_offload(struct net *n);
void net_tap_drain(struct net_pair *p);
void net_tap_gone(struct net *n);

/* net-rx.c, net-tx.c, net-ctrl.c */
unsigned int net_rx_pump(struct net_pair *p);
void net_tx_pump(struct net_pair *p);
void net_ctrl_pump(struct net *n);

#endif
