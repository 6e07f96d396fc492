// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One vsock connection: the guest's packets on one side, a unix stream socket
 * of the host on the other. vsock.c moves packets and calls in here.
 *
 * Guest to host: a packet's bytes go to the socket at once; what it does not
 * take waits in @ring, which exists only then. The guest may have at most
 * VSOCK_BUF_BYTES on the way (virtio 1.2, section 5.10.6.3); one that sends
 * more is reset, so the ring never overflows. Host to guest: bytes are read
 * from the socket straight into the guest's buffers, never more than its
 * credit; without credit or buffers they stay in the socket, whose own limit
 * then stops the writer.
 *
 * The socket is watched with edges: an event sets @readable or @writable, and
 * EAGAIN clears it. So nothing spins on a hung-up socket that cannot be served.
 *
 * Ends: each side can end its sending, or its receiving, by itself. What the
 * guest ends is passed on as shutdown(2) after the bytes before it; the host's
 * end of file goes to the guest as SHUTDOWN. vconn_settle() closes a
 * connection once nothing can move: if the guest has ended both directions it
 * gets RST, if the host has, the guest gets SHUTDOWN of both and answers RST.
 * A guest that says RST while the host has not read all: the host may still
 * read the rest (VCONN_DRAIN).
 *
 * Only the I/O thread frees connections, since it owns the loop's sources;
 * everything else marks them (vconn_kill()).
 */
#include "vmm/virtio/vsock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"

/* More credit than that is not used, which keeps the counters' order defined. */
#define CREDIT_MAX (1u << 30)

static struct vconn_list *bucket(struct vsock *v, uint32_t guest_port,
				 uint32_t host_port)
{
	uint32_t x = guest_port * 2654435761u ^ host_port * 2246822519u;

	return &v->hash[(x >> 16 ^ x) % VSOCK_HASH];
}

/**
 * vconn_find() - connection by its two ports, or NULL
 *
 * #syscalls none
 */
struct vconn *vconn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	struct vconn *c;

	LIST_FOREACH(c, bucket(v, guest_port, host_port), hash)
		if (c->guest_port == guest_port && c->host_port == host_port &&
		    c->state != VCONN_DEAD)
			return c;
	return NULL;
}

static void unhash(struct vconn *c)
{
	if (c->hashed)
		LIST_REMOVE(c, hash);
	c->hashed = false;
}

static void unready(struct vconn *c)
{
	if (c->is_ready)
		TAILQ_REMOVE(&c->v->ready, c, ready);
	c->is_ready = false;
}

/* The ring is gone: its bytes count as taken, or the guest's credit would leak. */
static void drop_ring(struct vconn *c)
{
	c->fwd_cnt += c->ring_len;
	c->ring_len = c->ring_at = 0;
	free(c->ring);
	c->ring = NULL;
}

static void close_fd(struct vconn *c)
{
	loop_del(c->src);
	c->src = NULL;
	fd_close(&c->fd);
	drop_ring(c);
}

/**
 * vconn_free() - close and forget a connection
 *
 * Context: I/O thread, the device's lock
 *
 * #syscalls epoll_ctl close
 */
void vconn_free(struct vconn *c)
{
	close_fd(c);
	unhash(c);
	unready(c);
	TAILQ_REMOVE(&c->v->conns, c, all);
	c->v->n_conns--;
	free(c);
}

/**
 * vconn_kill() - mark a connection for vconn_free() by the I/O thread
 *
 * Context: any thread, the device's lock
 *
 * #syscalls none
 */
void vconn_kill(struct vconn *c)
{
	unready(c);
	c->state = VCONN_DEAD;
	c->pending = 0;
}

/**
 * vconn_credit() - bytes that the guest has room for
 *
 * #syscalls none
 */
uint32_t vconn_credit(const struct vconn *c)
{
	uint32_t on_the_way = c->tx_cnt - c->peer_fwd;

	return on_the_way < c->peer_buf ? c->peer_buf - on_the_way : 0;
}

static bool can_read(const struct vconn *c)
{
	return c->state == VCONN_OPEN && c->readable && !c->host_eof;
}

/**
 * vconn_ready() - line the connection up if it has something for the guest
 *
 * Context: the device's lock
 *
 * #syscalls none
 */
void vconn_ready(struct vconn *c)
{
	if (c->state == VCONN_DEAD || c->state == VCONN_DRAIN)
		return;
	if (can_read(c) && !vconn_credit(c) && !c->asked) {
		c->asked = true;
		c->pending |= 1u << VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	}
	if (c->is_ready || !(c->pending || (can_read(c) && vconn_credit(c))))
		return;
	TAILQ_INSERT_TAIL(&c->v->ready, c, ready);
	c->is_ready = true;
}

/**
 * vconn_send() - have packet @op sent when the guest has a buffer for it
 *
 * Context: the device's lock
 *
 * #syscalls none
 */
void vconn_send(struct vconn *c, uint16_t op)
{
	c->pending |= 1u << op;
	vconn_ready(c);
}

/**
 * vconn_reset() - close the host's socket and tell the guest RST
 *
 * Context: I/O thread, the device's lock
 *
 * #syscalls epoll_ctl close
 */
void vconn_reset(struct vconn *c)
{
	close_fd(c);
	c->state = VCONN_RESET;
	c->pending = 0;
	vconn_send(c, VIRTIO_VSOCK_OP_RST);
}

/* Closes what has ended; sends the ends on. May free a draining connection. */
static void settle(struct vconn *c)
{
	if (c->state == VCONN_DRAIN && (!c->ring_len || c->host_deaf)) {
		vconn_free(c);
		return;
	}
	if (c->state != VCONN_OPEN && c->state != VCONN_CLOSING)
		return;
	if (c->guest_done && c->guest_deaf && !c->ring_len) {
		vconn_reset(c);
		return;
	}
	if (c->state == VCONN_OPEN && c->guest_done && !c->ring_len && !c->shut) {
		c->shut = true;
		shutdown(c->fd, SHUT_WR);
	}
	if (c->state == VCONN_OPEN && c->host_eof && (c->host_deaf || c->shut)) {
		close_fd(c);
		c->host_deaf = true;
		c->state = VCONN_CLOSING;
		c->pending |= 1u << VIRTIO_VSOCK_OP_SHUTDOWN;
	}
	vconn_ready(c);
}

/* Counts bytes that left us; tells the guest before it runs out of credit. */
static void forwarded(struct vconn *c, uint32_t n)
{
	c->fwd_cnt += n;
	if (c->fwd_cnt - c->told >= VSOCK_BUF_BYTES / 2)
		c->pending |= 1u << VIRTIO_VSOCK_OP_CREDIT_UPDATE;
}

static void host_is_deaf(struct vconn *c)
{
	if (c->host_deaf)
		return;
	c->host_deaf = true;
	drop_ring(c);
	c->pending |= 1u << VIRTIO_VSOCK_OP_SHUTDOWN;
}

/* Sends to the host: bytes taken, 0 when it takes none now or never more. */
static size_t send_some(struct vconn *c, struct iovec *v, size_t n)
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
	ssize_t sent;

	if (!c->writable || c->host_deaf)
		return 0;
	do {
		sent = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (size_t)sent;
	c->writable = false;
	if (errno != EAGAIN)
		host_is_deaf(c);
	return 0;
}

static void flush_ring(struct vconn *c)
{
	while (c->ring_len) {
		uint32_t first = VSOCK_BUF_BYTES - c->ring_at;
		struct iovec v[2];
		size_t n;

		if (first > c->ring_len)
			first = c->ring_len;
		v[0] = (struct iovec){ c->ring + c->ring_at, first };
		v[1] = (struct iovec){ c->ring, c->ring_len - first };
		n = send_some(c, v, v[1].iov_len ? 2 : 1);
		if (!n)
			break;
		c->ring_at = (c->ring_at + (uint32_t)n) % VSOCK_BUF_BYTES;
		c->ring_len -= (uint32_t)n;
		forwarded(c, (uint32_t)n);
	}
	if (!c->ring_len)
		drop_ring(c);
}

static bool peer_left_nothing(const struct vconn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_socket(void *arg, uint32_t events)
{
	struct vconn *c = arg;
	struct vsock *v = c->v;
	bool hup = events & (EPOLLHUP | EPOLLERR);

	pthread_mutex_lock(&v->d.lock);
	if (hup || events & (EPOLLIN | EPOLLRDHUP))
		c->readable = true;
	if (hup || events & EPOLLOUT)
		c->writable = true;
	if (c->state == VCONN_QUEUED && hup && peer_left_nothing(c)) {
		vconn_free(c);
	} else if (c->state == VCONN_REQUESTED && hup && peer_left_nothing(c)) {
		vconn_reset(c);
	} else if (c->state == VCONN_OPEN || c->state == VCONN_DRAIN) {
		if (hup)
			host_is_deaf(c);
		else
			flush_ring(c);
		settle(c);
	}
	vsock_pump(v);
	pthread_mutex_unlock(&v->d.lock);
}

/**
 * vconn_new() - make a connection
 * @fd:    stream socket of the host, taken over on success
 * @state: VCONN_QUEUED or VCONN_OPEN
 * @ret:   owned by @v
 *
 * Return: 0; -ENOSPC when there are VSOCK_CONNS_MAX; else minus errno
 * Context: I/O thread, the device's lock
 *
 * #syscalls epoll_ctl
 */
int vconn_new(struct vsock *v, uint32_t guest_port, uint32_t host_port, int fd,
	      enum vconn_state state, struct vconn **ret, struct err *e)
{
	struct vconn *c;
	int rc;

	if (v->n_conns >= VSOCK_CONNS_MAX)
		return err_set(e, ENOSPC, "%d connections are open: close some",
			       VSOCK_CONNS_MAX);
	c = mem_new(struct vconn);
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->v = v;
	c->state = state;
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->readable = c->writable = true;
	rc = loop_add(v->d.loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		      on_socket, c, &c->src, e);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->fd = fd;
	LIST_INSERT_HEAD(bucket(v, guest_port, host_port), c, hash);
	c->hashed = true;
	TAILQ_INSERT_TAIL(&v->conns, c, all);
	v->n_conns++;
	*ret = c;
	return 0;
}

/* Keeps what the socket did not take; credit has made sure that it fits. */
static int store(struct vconn *c, const struct iovec *v, size_t n)
{
	size_t i;

	if (n && !c->ring)
		c->ring = malloc(VSOCK_BUF_BYTES);
	if (n && !c->ring)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		uint32_t len = (uint32_t)v[i].iov_len;
		uint32_t to = (c->ring_at + c->ring_len) % VSOCK_BUF_BYTES;
		uint32_t first = VSOCK_BUF_BYTES - to < len ? VSOCK_BUF_BYTES - to : len;

		memcpy(c->ring + to, v[i].iov_base, first);
		memcpy(c->ring, (uint8_t *)v[i].iov_base + first, len - first);
		c->ring_len += len;
	}
	return 0;
}

/* RW: false if the guest broke the rules of the connection. */
static bool receive(struct vconn *c, uint32_t len, const struct virtq_chain *chain)
{
	struct iovec *v = c->v->iov;
	size_t n;

	if (c->guest_done || len > VSOCK_BUF_BYTES - (c->rx_cnt - c->fwd_cnt))
		return false;
	c->rx_cnt += len;
	if (c->host_deaf) {
		forwarded(c, len);
		return true;
	}
	memcpy(v, chain->out, chain->n_out * sizeof(*v));
	n = iov_trim(v, chain->n_out, sizeof(struct virtio_vsock_hdr), len);
	while (n && !c->ring_len) {
		size_t sent = send_some(c, v, n);

		if (!sent)
			break;
		forwarded(c, (uint32_t)sent);
		len -= (uint32_t)sent;
		n = iov_trim(v, n, sent, UINT64_MAX);
	}
	if (c->host_deaf) {
		forwarded(c, len);
		return true;
	}
	return store(c, v, n) >= 0;
}

static void guest_shutdown(struct vconn *c, uint32_t flags)
{
	if (flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
		c->guest_done = true;
	if (!(flags & VIRTIO_VSOCK_SHUTDOWN_RCV) || c->guest_deaf)
		return;
	c->guest_deaf = true;
	c->host_eof = true;
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RD);
}

static void guest_reset(struct vconn *c)
{
	if (c->state == VCONN_QUEUED)
		return; /* the guest cannot know of it yet */
	if (c->state != VCONN_OPEN || !c->ring_len) {
		vconn_free(c);
		return;
	}
	unhash(c);
	unready(c);
	c->pending = 0;
	c->state = VCONN_DRAIN;
}

/*
 * False if the guest acknowledges what it never got. Its threads may send
 * packets in another order than they filled them in: an older count is passed by.
 */
static bool take_credit(struct vconn *c, const struct virtio_vsock_hdr *h)
{
	if ((int32_t)(h->fwd_cnt - c->tx_cnt) > 0)
		return false;
	if ((int32_t)(h->fwd_cnt - c->peer_fwd) > 0)
		c->peer_fwd = h->fwd_cnt;
	c->peer_buf = h->buf_alloc < CREDIT_MAX ? h->buf_alloc : CREDIT_MAX;
	if (vconn_credit(c))
		c->asked = false;
	return true;
}

static bool established(struct vconn *c, const struct virtio_vsock_hdr *h,
			const struct virtq_chain *chain)
{
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RW:
		return receive(c, h->len, chain);
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		guest_shutdown(c, h->flags);
		return true;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return true;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->pending |= 1u << VIRTIO_VSOCK_OP_CREDIT_UPDATE;
		return true;
	default:
		return false;
	}
}

/**
 * vconn_packet() - a packet of the guest for this connection
 * @h:     copied, its length is inside @chain
 * @chain: where the bytes are
 *
 * Context: I/O thread, the device's lock; may free @c
 *
 * #syscalls sendmsg shutdown epoll_ctl close
 */
void vconn_packet(struct vconn *c, const struct virtio_vsock_hdr *h,
		  const struct virtq_chain *chain)
{
	bool fine = false;

	if (h->op == VIRTIO_VSOCK_OP_RST) {
		guest_reset(c);
		return;
	}
	if (c->state == VCONN_RESET || c->state == VCONN_QUEUED)
		return;
	if (take_credit(c, h)) {
		if (c->state != VCONN_REQUESTED) {
			fine = established(c, h, chain);
		} else if (h->op == VIRTIO_VSOCK_OP_RESPONSE) {
			c->state = VCONN_OPEN;
			fine = true;
		}
	}
	if (fine)
		settle(c);
	else
		vconn_reset(c);
}

/**
 * vconn_header() - fill in the header of a packet to the guest
 *
 * #syscalls none
 */
void vconn_header(const struct vconn *c, uint16_t op, struct virtio_vsock_hdr *ret)
{
	*ret = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = c->v->guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = VSOCK_BUF_BYTES,
		.fwd_cnt = c->fwd_cnt,
	};
	if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
		ret->flags = (c->host_deaf ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0u) |
			     (c->host_eof ? VIRTIO_VSOCK_SHUTDOWN_SEND : 0u);
}

/**
 * vconn_read() - read from the host for the guest
 * @v: guest buffers, @n of them, no more than the guest's credit in all
 *
 * At the host's end of file, SHUTDOWN is made ready.
 *
 * Return: bytes read; 0 there are none now
 * Context: I/O thread, the device's lock
 *
 * #syscalls recvmsg shutdown epoll_ctl close
 */
ssize_t vconn_read(struct vconn *c, struct iovec *v, size_t n)
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
	ssize_t got;

	do {
		got = recvmsg(c->fd, &m, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		return got;
	c->readable = false;
	if (got < 0 && errno == EAGAIN)
		return 0;
	c->host_eof = true;
	c->pending |= 1u << VIRTIO_VSOCK_OP_SHUTDOWN;
	if (got < 0)
		host_is_deaf(c);
	settle(c);
	return 0;
}
