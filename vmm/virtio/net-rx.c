// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * From the tap to the driver, one packet at a time: it is read into the pair's
 * @rx, its header is checked against what the driver has taken, then it is
 * spread over as many buffers as it needs (MRG_RXBUF) or put into one. If there
 * are not enough buffers it stays in @rx, and the tap is not watched until the
 * driver gives more; the tap's own queue then fills and drops, as a network does. A
 * packet that cannot fit, however many buffers come, is dropped.
 *
 * A limit that is reached leaves packets in the tap in the same way.
 *
 * Source: virtio 1.2, section 5.1.6.3 and 5.1.6.4.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "vmm/virtio/net.h"

/* The driver must not see an offload that it did not take (section 5.1.6.4.2). */
static bool header_ok(const struct net *n, const struct virtio_net_hdr_v1 *h)
{
	unsigned int kind = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !net_acked(n, VIRTIO_NET_F_GUEST_CSUM))
		return false;
	if (h->gso_type & VIRTIO_NET_HDR_GSO_ECN && !net_acked(n, VIRTIO_NET_F_GUEST_ECN))
		return false;
	switch (kind) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return net_acked(n, VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return net_acked(n, VIRTIO_NET_F_GUEST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return net_acked(n, VIRTIO_NET_F_GUEST_USO4) &&
		       net_acked(n, VIRTIO_NET_F_GUEST_USO6);
	default:
		return false;
	}
}

/* Fills @rx: 1 a packet is there, 0 none, or one that was dropped. */
static int take(struct net_pair *p)
{
	struct net *n = p->net;
	struct virtio_net_hdr_v1 h;
	ssize_t got;

	do {
		got = read(p->tap, p->rx, sizeof(p->rx));
	} while (got < 0 && errno == EINTR);
	if (got < 0) {
		if (errno != EAGAIN)
			net_tap_gone(n);
		return 0;
	}
	if ((size_t)got < NET_HDR_BYTES + NET_ETH_BYTES || (size_t)got == sizeof(p->rx))
		return 0;
	memcpy(&h, p->rx, sizeof(h));
	if (!net_acked(n, VIRTIO_NET_F_GUEST_CSUM))
		h.flags &= (uint8_t)~VIRTIO_NET_HDR_F_DATA_VALID;
	if (!header_ok(n, &h))
		return 0;
	h.num_buffers = 1;
	memcpy(p->rx, &h, sizeof(h));
	p->rx_len = (size_t)got;
	return 1;
}

static void undo(struct net *n, struct virtq *q, uint16_t count)
{
	while (count) {
		n->chain.head = n->heads[--count];
		virtq_unpop(q, &n->chain);
	}
}

static int take_buffer(struct net *n, struct virtq *q, struct virtq_chain *c, bool is_first)
{
	struct err e = { 0 };
	int rc = virtq_take(q, c, &e);

	if (rc > 0 && (c->n_out || (is_first && c->in_bytes < NET_HDR_BYTES)))
		rc = err_set(&e, EPROTO, "a receive buffer that is readable or too short");
	if (rc < 0)
		virtio_broken(&n->d, e.text);
	return rc;
}

/* Gives @rx to the driver: 1 gone (or dropped), 0 not enough buffers, < 0 broken. */
static int deliver(struct net_pair *p)
{
	struct net *n = p->net;
	struct virtq *q = &n->d.q[net_rxq(p)];
	bool merge = net_acked(n, VIRTIO_NET_F_MRG_RXBUF);
	uint16_t count = 0;
	size_t done = 0;

	while (done < p->rx_len) {
		struct virtq_chain *c = count ? &n->chain : &n->first;
		int rc = count == q->s.size ? 0 : take_buffer(n, q, c, !count);

		if (rc < 0)
			return rc;
		if (!rc) {
			/* Even the whole queue is too small: waiting is no use. */
			if (count == q->s.size)
				p->rx_len = 0;
			undo(n, q, count);
			return p->rx_len ? 0 : 1;
		}
		n->heads[count] = c->head;
		if (!merge && c->in_bytes < p->rx_len) {
			undo(n, q, 1);
			p->rx_len = 0;
			return 1;
		}
		n->written[count] = (uint32_t)chain_write(c, 0, p->rx + done, p->rx_len - done);
		done += n->written[count++];
	}
	chain_write(&n->first, offsetof(struct virtio_net_hdr_v1, num_buffers), &count,
		    sizeof(count));
	virtq_push_batch(q, n->heads, n->written, count);
	limit_take(&n->rx_limit, p->rx_len - NET_HDR_BYTES);
	p->rx_len = 0;
	return 1;
}

/* Whether the limit lets a packet through now; if not, the timer is set. */
static bool may_take(struct net *n)
{
	uint64_t ms = limit_is_set(&n->rx_limit) ? limit_wait_ms(&n->rx_limit, limit_now_ns()) : 0;

	if (ms) {
		n->rx_held = true;
		net_later(n, ms);
	}
	return !ms;
}

/**
 * net_rx_pump() - give the driver what the tap has, up to NET_ROUND packets
 *
 * Return: how many
 * Context: I/O thread, the device's lock
 *
 * #syscalls read timerfd_settime clock_gettime
 */
unsigned int net_rx_pump(struct net_pair *p)
{
	struct net *n = p->net;
	struct virtq *q = &n->d.q[net_rxq(p)];
	unsigned int left;

	if (!n->ready || n->served || !n->link || p->index >= n->pairs || !p->src ||
	    p->starved || n->rx_held)
		return 0;
	virtq_disable_kicks(q);
	for (left = NET_ROUND; left; left--) {
		/* After a packet that was dropped EPOLLIN tells of the next one. */
		if (!p->rx_len && (!may_take(n) || !take(p)))
			break;
		if (deliver(p) <= 0) {
			p->starved = true;
			break;
		}
	}
	virtio_notify(&n->d, net_rxq(p));
	return NET_ROUND - left;
}
