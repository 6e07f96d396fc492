// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * From the driver to the tap: the header is copied out and checked, the rest goes
 * to the tap straight from guest memory. What makes no sense is dropped; a chain
 * that breaks the device's rules (a buffer of the wrong direction) breaks the
 * device. When the tap is full the chain goes back and waits for EPOLLOUT; when
 * a limit is reached, for the timer.
 *
 * Pairs that the driver has switched off again may still have packets to send;
 * they are sent, since the end of a tap that gets none takes them all the same.
 *
 * Source: virtio 1.2, section 5.1.6.2; virtio 1.3 for UDP segmentation.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "vmm/virtio/net.h"

/**
 * struct gso - a kind of segmentation
 * @bit:      feature that the driver must have taken
 * @check_at: where the checksum is in the transport header
 * @bytes:    of the shortest transport header
 */
struct gso {
	unsigned int bit;
	uint16_t check_at, bytes;
};

static const struct gso *gso_of(unsigned int type)
{
	static const struct gso kinds[] = {
		[VIRTIO_NET_HDR_GSO_TCPV4] = { VIRTIO_NET_F_HOST_TSO4,
					       offsetof(struct tcphdr, check),
					       sizeof(struct tcphdr) },
		[VIRTIO_NET_HDR_GSO_TCPV6] = { VIRTIO_NET_F_HOST_TSO6,
					       offsetof(struct tcphdr, check),
					       sizeof(struct tcphdr) },
		[VIRTIO_NET_HDR_GSO_UDP_L4] = { VIRTIO_NET_F_HOST_USO,
						offsetof(struct udphdr, check),
						sizeof(struct udphdr) },
	};

	return type < sizeof(kinds) / sizeof(kinds[0]) && kinds[type].bytes ? &kinds[type] : NULL;
}

static bool gso_ok(const struct net *n, const struct virtio_net_hdr_v1 *h, uint64_t len)
{
	const struct gso *g = gso_of(h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN);

	if (!g || !net_acked(n, g->bit))
		return false;
	if (h->gso_type & VIRTIO_NET_HDR_GSO_ECN &&
	    (g->bit == VIRTIO_NET_F_HOST_USO || !net_acked(n, VIRTIO_NET_F_HOST_ECN)))
		return false;
	return h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && h->gso_size && h->hdr_len <= len &&
	       h->csum_offset == g->check_at && (uint64_t)h->csum_start + g->bytes <= len;
}

/* Is this header one that the features allow, for a frame of @len bytes? */
static bool header_ok(const struct net *n, const struct virtio_net_hdr_v1 *h, uint64_t len)
{
	if (h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return false;
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	    (!net_acked(n, VIRTIO_NET_F_CSUM) ||
	     (uint64_t)h->csum_start + h->csum_offset + 2 > len))
		return false;
	return h->gso_type ? gso_ok(n, h, len) : true;
}

/* 1 sent or dropped, 0 the tap is full, < 0 broken. */
static int send_packet(struct net_pair *p)
{
	struct net *n = p->net;
	struct virtq_chain *c = &n->chain;
	struct virtio_net_hdr_v1 h;
	uint64_t len = c->out_bytes - NET_HDR_BYTES;
	ssize_t sent;

	if (c->n_in)
		return -EPROTO;
	if (c->out_bytes < NET_HDR_BYTES + NET_ETH_BYTES || len > NET_FRAME_BYTES_MAX)
		return 1;
	chain_read(c, 0, &h, sizeof(h));
	if (!header_ok(n, &h, len))
		return 1;
	h.num_buffers = 0;
	n->tx_hdr = h;
	c->n_out = (uint16_t)iov_trim(c->out, c->n_out, NET_HDR_BYTES, UINT64_MAX);
	memcpy(n->tx + 1, c->out, c->n_out * sizeof(c->out[0]));
	do {
		sent = writev(p->tap, n->tx, c->n_out + 1);
	} while (sent < 0 && errno == EINTR);
	/* All other failures lose the packet: the tap is down, gone or refuses it. */
	if (sent < 0)
		return errno == EAGAIN ? 0 : 1;
	n->d.q[net_txq(p)].count.out_bytes += len;
	limit_take(&n->tx_limit, len);
	return 1;
}

/* Whether the limit lets a packet through now; if not, the timer is set. */
static bool may_send(struct net *n)
{
	uint64_t ms = limit_is_set(&n->tx_limit) ? limit_wait_ms(&n->tx_limit, limit_now_ns()) : 0;

	if (ms) {
		n->tx_held = true;
		net_later(n, ms);
	}
	return !ms;
}

/* One packet: 1 sent or dropped, 0 there is none or it must wait, < 0 broken. */
static int send_next(struct net_pair *p, struct virtq *q, struct err *e)
{
	struct virtq_chain *c = &p->net->chain;
	int rc = virtq_take(q, c, e);

	if (rc <= 0)
		return rc;
	rc = send_packet(p);
	if (rc > 0) {
		virtq_push(q, c->head, 0);
	} else if (!rc) {
		virtq_unpop(q, c);
		p->tx_full = true;
	} else {
		err_set(e, EPROTO, "a transmit buffer that is writable");
	}
	return rc;
}

/**
 * net_tx_pump() - send what the driver has, up to NET_ROUND packets
 * Context: I/O thread, the device's lock
 *
 * #syscalls writev write timerfd_settime clock_gettime
 */
void net_tx_pump(struct net_pair *p)
{
	struct net *n = p->net;
	struct virtq *q = &n->d.q[net_txq(p)];
	unsigned int left;
	struct err e = { 0 };
	int rc = 1;

	if (!n->ready || n->served || !n->link || p->index >= net_usable(n) || p->tx_full ||
	    n->tx_held)
		return;
	virtq_disable_kicks(q);
	for (left = NET_ROUND; left && rc > 0; left--)
		rc = may_send(n) ? send_next(p, q, &e) : 0;
	if (rc < 0)
		virtio_broken(&n->d, e.text);
	else if (rc)
		net_wake(n);
	virtio_notify(&n->d, net_txq(p));
}
