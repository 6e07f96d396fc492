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
 * Streams. A thread that is woken for each packet sends it, finds nothing more and
 * sleeps before the next one is there: where it shares a processor with the guest, each
 * packet costs a notification, two switches of threads and an interrupt, and that is
 * more than sending it. So when a stream's packets are sent, notifications stay off and the
 * pair rests: for as long as a few of these packets took, since what is saved is worth
 * as much, and never longer than REST_NS_MAX. Then a look takes what has come meanwhile,
 * acknowledgements in the tap too, with one interrupt for each direction; what was sent
 * goes back at once, so that a driver that waits for it (Linux's TCP has two or three packets
 * under way) goes on while the pair rests. A look that finds nothing to send ends the
 * stream, and notifications are on.
 *
 * A stream is what goes one way: STREAM_BYTES without an answer. Data that comes in is
 * an answer; an acknowledgement, or what is as short, takes ANSWER_BYTES off. So a driver
 * that asks and waits never gets to a rest, nor one that is asked, up to that size. What
 * can wait for a rest all the same: questions of more than ANSWER_BYTES with answers as
 * short as that, the first few such exchanges after a stream, and what goes on beside a stream in
 * the same pair.
 *
 * A driver cannot make the thread spin: looks lie REST_NS_MIN apart, and a look is
 * a round as any other.
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

/* A stream has begun, so many packets or acknowledged packets later. */
#define STREAM_BYTES 65536u

/* A packet counts as so much at least: what it costs does not lie in its bytes. */
#define PACKET_BYTES_MIN 4096u

/* Longest frame that is taken for an acknowledgement (IPv6, VLAN, options), and what it is worth. */
#define ACK_BYTES_MAX 128u
#define ANSWER_BYTES 16384u

/* A rest, in packets of the kind that was just sent, and its limits. */
#define REST_PACKETS 4
#define REST_NS_MIN 50000u
#define REST_NS_MAX 2000000u

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

static bool is_stream(const struct net_pair *p)
{
	return p->one_way >= STREAM_BYTES;
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
	if (!is_stream(p))
		p->one_way += len > PACKET_BYTES_MIN ? len : PACKET_BYTES_MIN;
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

/*
 * One packet: 1 sent or dropped, 0 there is none or it must wait, < 0 broken. With
 * @quiet no notification is asked for where there is none.
 */
static int send_next(struct net_pair *p, struct virtq *q, bool quiet, struct err *e)
{
	struct virtq_chain *c = &p->net->chain;
	int rc = quiet ? virtq_pop(q, c, e) : virtq_take(q, c, e);

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

/* Until @rest: nothing is asked for, and the driver is not listened to. */
static void rest(struct net_pair *p, uint64_t began_ns, unsigned int sent)
{
	struct net *n = p->net;
	uint64_t now = limit_now_ns(), ns = (now - began_ns) / sent * REST_PACKETS;

	ns = ns < REST_NS_MIN ? REST_NS_MIN : ns > REST_NS_MAX ? REST_NS_MAX : ns;
	p->rests = true;
	if (n->rest_due_ns && n->rest_due_ns <= now + ns)
		return;
	n->rest_due_ns = now + ns;
	timer_set_ns(n->rest, ns, NULL);
}

/**
 * net_tx_answered() - the driver was given a packet
 * @len: of its frame, bytes
 * Context: I/O thread, the device's lock
 *
 * #syscalls none
 */
void net_tx_answered(struct net_pair *p, size_t len)
{
	if (len > ACK_BYTES_MAX || p->one_way < ANSWER_BYTES)
		p->one_way = 0;
	else
		p->one_way -= ANSWER_BYTES;
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
	unsigned int sent = 0;
	uint64_t began;
	struct err e = { 0 };
	int rc = 1;

	p->rests = false;
	if (!n->ready || n->served || !n->link || p->index >= net_usable(n) || p->tx_full ||
	    n->tx_held)
		return;
	began = limit_now_ns();
	virtq_disable_kicks(q);
	while (rc > 0 && sent < NET_ROUND) {
		rc = may_send(n) ? send_next(p, q, sent && is_stream(p), &e) : 0;
		sent += rc > 0;
	}
	if (rc < 0)
		virtio_broken(&n->d, e.text);
	else if (rc)
		net_wake(n);
	else if (sent && is_stream(p) && !p->tx_full && !n->tx_held)
		rest(p, began, sent);
	virtio_notify(&n->d, net_txq(p));
}
