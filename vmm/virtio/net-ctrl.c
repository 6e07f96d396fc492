// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The control queue: a command is a class, a number, what belongs to it, and one
 * writable byte for the answer, however the driver cuts that into buffers. A
 * command without room for its answer breaks the device, since nothing could be
 * answered; one that is cut short, too long, or of a feature that was not taken
 * gets ERR. We offer one feature that has commands, MQ, so the only one that
 * succeeds is VQ_PAIRS_SET.
 *
 * A change of pairs makes the host change its tap, under a lock of all of its
 * network, so a guest may ask for it only so often (struct net's @host): further
 * commands wait in the queue.
 *
 * Source: virtio 1.2, section 5.1.6.5.
 */
#include <errno.h>

#include "vmm/virtio/net.h"

/* Commands before others get their turn. */
#define CTRL_ROUND 16

/* Whether both queues of all pairs up to @pairs are there (section 5.1.6.5.5.1). */
static bool queues_ready(const struct net *n, uint16_t pairs)
{
	uint16_t i;

	for (i = 0; i < 2 * pairs; i++)
		if (!n->d.q[i].s.enabled)
			return false;
	return true;
}

static uint8_t set_pairs(struct net *n, const struct virtq_chain *c)
{
	struct virtio_net_ctrl_mq mq;
	struct err e = { 0 };
	uint16_t pairs;

	if (!net_is_mq(n) || c->out_bytes != sizeof(struct virtio_net_ctrl_hdr) + sizeof(mq))
		return VIRTIO_NET_ERR;
	chain_read(c, sizeof(struct virtio_net_ctrl_hdr), &mq, sizeof(mq));
	pairs = mq.virtqueue_pairs;
	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > n->n_pairs ||
	    !queues_ready(n, pairs))
		return VIRTIO_NET_ERR;
	return net_set_pairs(n, pairs, &e) < 0 ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
}

static uint8_t carry_out(struct net *n, const struct virtq_chain *c)
{
	struct virtio_net_ctrl_hdr h;

	if (chain_read(c, 0, &h, sizeof(h)) != sizeof(h))
		return VIRTIO_NET_ERR;
	if (h.class == VIRTIO_NET_CTRL_MQ && h.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		return set_pairs(n, c);
	return VIRTIO_NET_ERR;
}

/**
 * net_ctrl_pump() - answer the driver's commands
 * Context: I/O thread, the device's lock
 *
 * #syscalls ioctl write epoll_ctl timerfd_settime clock_gettime
 */
void net_ctrl_pump(struct net *n)
{
	uint16_t at = net_ctrlq(n);
	struct virtq *q = &n->d.q[at];
	unsigned int left;
	struct err e = { 0 };
	int rc = 1;

	if (!n->ready || !net_acked(n, VIRTIO_NET_F_CTRL_VQ))
		return;
	for (left = CTRL_ROUND; left && rc > 0; left--) {
		uint64_t ms = limit_wait_ms(&n->host, limit_now_ns());
		uint8_t answer;

		if (ms)
			net_later(n, ms);
		rc = ms ? 0 : virtq_take(q, &n->chain, &e);
		if (rc > 0 && !n->chain.in_bytes)
			rc = err_set(&e, EPROTO, "a command without room for its answer");
		if (rc <= 0)
			break;
		answer = carry_out(n, &n->chain);
		chain_write(&n->chain, 0, &answer, sizeof(answer));
		virtq_push(q, n->chain.head, sizeof(answer));
	}
	if (rc < 0)
		virtio_broken(&n->d, e.text);
	else if (rc)
		net_wake(n);
	virtio_notify(&n->d, at);
}
