// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-vsock device (virtio 1.2, section 5.10) with stream sockets,
 * whose host side are unix stream sockets that somebody else opened: no kernel
 * module, and no address of the host that the guest could reach.
 *
 * A call of the guest to host port P gets the oldest socket that
 * vsock_listen(P) left here, once; without one it gets RST. A call of the host,
 * vsock_connect(), is sent as soon as the guest's driver runs. What a
 * connection does is in vsock-conn.c; here are the queues.
 *
 * All work is done by vsock_pump() on the I/O thread: packets of the guest
 * first, then answers and data for it, one packet per connection and turn, as
 * long as the guest has buffers. What cannot be sent waits as state: a bit in
 * the connection, or an entry of @rst for packets that belong to none. When
 * @rst is full, the guest's packets wait too, so nothing grows without bound.
 *
 * start and stop run on vCPU threads: they mark connections and ring @wake;
 * only the I/O thread closes sockets and changes the loop. A reset drops what
 * the guest knew of: all connections but the calls it has not been told, and no
 * listener.
 *
 * A packet from a wrong address is dropped. A packet that is not as long as
 * its header says, or a buffer of the wrong direction, breaks the device.
 */
#include "vmm/virtio/vsock.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/virtio/config.h"

#define RXQ 0
#define TXQ 1

/* virtio 1.2, section 5.10.3; the system's header does not name it. */
#define VSOCK_F_STREAM 0

/* Packets per direction before others get their turn. */
#define VSOCK_ROUND 64

/* Most bytes of one packet to the guest. */
#define PACKET_BYTES_MAX 65536u

/* Ports of our end of the host's calls. */
#define PORT_FIRST (1u << 30)
#define PORT_LAST ((1u << 31) - 1)

#define LISTEN_MAX 1024

#define HDR_BYTES sizeof(struct virtio_vsock_hdr)

static struct vsock *vsock_of(struct virtio_dev *d)
{
	return (struct vsock *)d;
}

static void broken(struct vsock *v, const char *why)
{
	virtio_broken(&v->d, why);
}

static void add_rst(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	struct vrst *r;

	if (h->op == VIRTIO_VSOCK_OP_RST || v->n_rst == VSOCK_RSTS_MAX)
		return;
	r = &v->rst[(v->rst_at + v->n_rst++) % VSOCK_RSTS_MAX];
	*r = (struct vrst){ .src_cid = h->dst_cid, .src_port = h->dst_port,
			    .dst_port = h->src_port, .type = h->type };
}

static struct vlisten *find_listener(struct vsock *v, uint32_t port)
{
	struct vlisten *l;

	TAILQ_FOREACH(l, &v->listen, all)
		if (l->port == port)
			return l;
	return NULL;
}

static void free_listener(struct vsock *v, struct vlisten *l)
{
	TAILQ_REMOVE(&v->listen, l, all);
	v->n_listen--;
	fd_close(&l->fd);
	free(l);
}

static void note_first_call(struct vsock *v)
{
	struct timespec t;

	if (v->first_call_ns)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	__atomic_store_n(&v->first_call_ns,
			 (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec,
			 __ATOMIC_RELAXED);
}

/* The guest calls. */
static void accept_call(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	struct vlisten *l = find_listener(v, h->dst_port);
	struct vconn *c;

	note_first_call(v);
	if (!l || vconn_new(v, h->src_port, h->dst_port, l->fd, VCONN_OPEN, &c, NULL) < 0) {
		add_rst(v, h);
		return;
	}
	l->fd = -1;
	free_listener(v, l);
	c->peer_buf = h->buf_alloc;
	vconn_send(c, VIRTIO_VSOCK_OP_RESPONSE);
}

/* One packet of the guest; false if the device is broken. */
static bool handle_packet(struct vsock *v)
{
	struct virtq_chain *chain = &v->chain;
	struct virtio_vsock_hdr h;
	struct vconn *c;

	if (chain->n_in || chain_read(chain, 0, &h, HDR_BYTES) != HDR_BYTES) {
		broken(v, "a packet that is writable or shorter than its header");
		return false;
	}
	if (h.len > chain->out_bytes - HDR_BYTES) {
		broken(v, "a packet shorter than its header says");
		return false;
	}
	if (h.src_cid != v->guest_cid)
		return true;
	if (h.dst_cid != VSOCK_HOST_CID || h.type != VIRTIO_VSOCK_TYPE_STREAM) {
		add_rst(v, &h);
		return true;
	}
	c = vconn_find(v, h.src_port, h.dst_port);
	if (c)
		vconn_packet(c, &h, chain);
	else if (h.op == VIRTIO_VSOCK_OP_REQUEST)
		accept_call(v, &h);
	else
		add_rst(v, &h);
	return true;
}

static void pump_tx(struct vsock *v)
{
	struct virtq *q = &v->d.q[TXQ];
	unsigned int left = VSOCK_ROUND;
	struct err e = { 0 };
	int rc = 1;

	v->tx_stalled = false;
	virtq_disable_kicks(q);
	while (rc > 0) {
		if (v->n_rst == VSOCK_RSTS_MAX) {
			v->tx_stalled = true;
			break;
		}
		if (!left--) {
			eventfd_write(v->wake, 1);
			break;
		}
		rc = virtq_take(q, &v->chain, &e);
		if (rc < 0)
			broken(v, e.text);
		if (rc <= 0 || !handle_packet(v))
			break;
		virtq_push(q, v->chain.head, 0);
	}
	virtio_notify(&v->d, TXQ);
}

static void push_packet(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	chain_write(&v->chain, 0, h, HDR_BYTES);
	virtq_push(&v->d.q[RXQ], v->chain.head, (uint32_t)HDR_BYTES + h->len);
}

static void send_rst(struct vsock *v)
{
	const struct vrst *r = &v->rst[v->rst_at];
	struct virtio_vsock_hdr h = {
		.src_cid = r->src_cid, .dst_cid = v->guest_cid, .src_port = r->src_port,
		.dst_port = r->dst_port, .type = r->type, .op = VIRTIO_VSOCK_OP_RST,
	};

	v->rst_at = (v->rst_at + 1) % VSOCK_RSTS_MAX;
	v->n_rst--;
	push_packet(v, &h);
}

static void send_control(struct vconn *c)
{
	uint16_t op = (uint16_t)__builtin_ctz(c->pending);
	struct virtio_vsock_hdr h;

	c->pending &= c->pending - 1;
	vconn_header(c, op, &h);
	c->told = c->fwd_cnt;
	push_packet(c->v, &h);
	if (op == VIRTIO_VSOCK_OP_REQUEST)
		c->state = VCONN_REQUESTED;
	if (op == VIRTIO_VSOCK_OP_RST)
		vconn_free(c);
	else
		vconn_ready(c);
}

/* Reads bytes of the host into the guest's buffer, or gives the buffer back. */
static void send_data(struct vconn *c)
{
	struct vsock *v = c->v;
	struct virtio_vsock_hdr h;
	uint32_t max = vconn_credit(c);
	ssize_t got = 0;
	size_t n;

	if (c->state == VCONN_OPEN && c->readable && !c->host_eof && max) {
		if (max > PACKET_BYTES_MAX)
			max = PACKET_BYTES_MAX;
		memcpy(v->iov, v->chain.in, v->chain.n_in * sizeof(v->iov[0]));
		n = iov_trim(v->iov, v->chain.n_in, HDR_BYTES, max);
		got = vconn_read(c, v->iov, n);
	}
	if (!got) {
		virtq_unpop(&v->d.q[RXQ], &v->chain);
		return;
	}
	c->tx_cnt += (uint32_t)got;
	vconn_header(c, VIRTIO_VSOCK_OP_RW, &h);
	h.len = (uint32_t)got;
	c->told = c->fwd_cnt;
	c->pending &= ~(1u << VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	push_packet(v, &h);
	vconn_ready(c);
}

/* One packet to the guest, whose buffer is in @chain. */
static void send_one(struct vsock *v)
{
	struct vconn *c;

	if (v->n_rst) {
		send_rst(v);
		return;
	}
	c = TAILQ_FIRST(&v->ready);
	TAILQ_REMOVE(&v->ready, c, ready);
	c->is_ready = false;
	if (c->pending)
		send_control(c);
	else
		send_data(c);
}

static void pump_rx(struct vsock *v)
{
	struct virtq *q = &v->d.q[RXQ];
	unsigned int left = VSOCK_ROUND;
	struct err e = { 0 };

	virtq_disable_kicks(q);
	while (v->n_rst || !TAILQ_EMPTY(&v->ready)) {
		int rc;

		if (!left--) {
			eventfd_write(v->wake, 1);
			break;
		}
		rc = virtq_take(q, &v->chain, &e);
		if (rc > 0 && (v->chain.n_out || v->chain.in_bytes <= HDR_BYTES))
			rc = err_set(&e, EPROTO, "a receive buffer that is readable or too short");
		if (rc < 0)
			broken(v, e.text);
		if (rc <= 0)
			break;
		send_one(v);
	}
	virtio_notify(&v->d, RXQ);
}

/* What start and stop left to the I/O thread. */
static void tidy(struct vsock *v)
{
	struct vconn *c, *next;

	v->fresh = false;
	for (c = TAILQ_FIRST(&v->conns); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->state == VCONN_DEAD)
			vconn_free(c);
		else if (c->state == VCONN_QUEUED && v->d.running)
			vconn_send(c, VIRTIO_VSOCK_OP_REQUEST);
	}
}

/**
 * vsock_pump() - move what can be moved, in both directions
 *
 * Context: I/O thread, the device's lock; may free connections
 *
 * #syscalls write sendmsg recvmsg shutdown epoll_ctl close
 */
void vsock_pump(struct vsock *v)
{
	if (v->fresh)
		tidy(v);
	if (!v->d.running)
		return;
	pump_tx(v);
	pump_rx(v);
	if (v->tx_stalled && v->n_rst < VSOCK_RSTS_MAX)
		eventfd_write(v->wake, 1);
}

static void on_wake(void *arg, uint32_t events)
{
	struct vsock *v = arg;
	eventfd_t n;

	(void)events;
	pthread_mutex_lock(&v->d.lock);
	eventfd_read(v->wake, &n);
	vsock_pump(v);
	pthread_mutex_unlock(&v->d.lock);
}

static void vsock_kick(struct virtio_dev *d, uint16_t q)
{
	(void)q;
	vsock_pump(vsock_of(d));
}

static void vsock_config_read(struct virtio_dev *d, uint32_t offset, void *buf,
			      uint32_t len)
{
	struct virtio_vsock_config config = { .guest_cid = vsock_of(d)->guest_cid };

	config_copy(&config, sizeof(config), offset, buf, len);
}

static void vsock_start(struct virtio_dev *d)
{
	vsock_of(d)->fresh = true;
	eventfd_write(vsock_of(d)->wake, 1);
}

static bool vsock_stop(struct virtio_dev *d)
{
	struct vsock *v = vsock_of(d);
	struct vconn *c;

	TAILQ_FOREACH(c, &v->conns, all) {
		if (c->state != VCONN_QUEUED) {
			vconn_kill(c);
		} else if (c->is_ready) {
			TAILQ_REMOVE(&v->ready, c, ready);
			c->is_ready = false;
			c->pending = 0;
		}
	}
	v->n_rst = 0;
	v->fresh = true;
	if (v->wake >= 0)
		eventfd_write(v->wake, 1);
	return true;
}

static void vsock_free(struct virtio_dev *d)
{
	struct vsock *v = vsock_of(d);

	while (!TAILQ_EMPTY(&v->conns))
		vconn_free(TAILQ_FIRST(&v->conns));
	while (!TAILQ_EMPTY(&v->listen))
		free_listener(v, TAILQ_FIRST(&v->listen));
	loop_del(v->wake_src);
	fd_close(&v->wake);
	free(v);
}

static const struct virtio_ops vsock_ops = {
	.name = "vsock",
	.device_id = VIRTIO_ID_VSOCK,
	.pci_class = 0x078000,
	.n_queues = 3,
	.one_vector = true,
	.config_read = vsock_config_read,
	.start = vsock_start,
	.stop = vsock_stop,
	.kick = vsock_kick,
	.free = vsock_free,
};

/**
 * vsock_new() - make the guest's vsock device
 * @guest_cid: 3 or above
 * @mem:       borrowed, outlives the device
 * @loop:      of the I/O thread, borrowed, outlives the device
 * @ret:       owned by the caller, freed by its ops
 *
 * Return: 0; -EINVAL for a reserved address; else minus errno
 * Context: I/O thread, or before it runs
 * Source: virtio 1.2, section 5.10
 *
 * #syscalls eventfd2 epoll_ctl read write sendmsg recvmsg recvfrom shutdown close
 */
int vsock_new(uint32_t guest_cid, const struct gmem *mem, struct loop *loop,
	      struct virtio_dev **ret, struct err *e)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
			    1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VSOCK_F_STREAM;
	struct vsock *v;
	int rc;

	if (guest_cid <= VSOCK_HOST_CID || guest_cid == UINT32_MAX)
		return err_set(e, EINVAL, "vsock: guest address %u is reserved", guest_cid);
	v = mem_new(struct vsock);
	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	v->guest_cid = guest_cid;
	v->next_port = PORT_FIRST;
	TAILQ_INIT(&v->conns);
	TAILQ_INIT(&v->ready);
	TAILQ_INIT(&v->listen);
	v->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = v->wake < 0 ? err_sys(e, "eventfd")
			 : virtio_init(&v->d, &vsock_ops, features, mem, loop);
	if (rc >= 0)
		rc = loop_add(loop, v->wake, EPOLLIN, on_wake, v, &v->wake_src, e);
	if (rc < 0) {
		vsock_free(&v->d);
		return rc;
	}
	*ret = &v->d;
	return 0;
}

static int check_socket(int fd, struct err *e)
{
	socklen_t len = sizeof(int);
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return err_sys(e, "vsock: not a socket");
	if (type != SOCK_STREAM)
		return err_set(e, EINVAL, "vsock: not a stream socket");
	return 0;
}

/**
 * vsock_listen() - leave a socket for the guest's next call
 * @d:    from vsock_new()
 * @port: of the host, that the guest calls; several sockets per port queue up
 * @fd:   stream socket, taken over on success
 *
 * Return: 0; -EINVAL for another kind of descriptor; -ENOSPC when LISTEN_MAX wait
 * Context: I/O thread; takes the device's lock
 *
 * #syscalls getsockopt
 */
int vsock_listen(struct virtio_dev *d, uint32_t port, int fd, struct err *e)
{
	struct vsock *v = vsock_of(d);
	struct vlisten *l;
	int rc = check_socket(fd, e);

	if (rc < 0)
		return rc;
	l = mem_new(struct vlisten);
	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->port = port;
	l->fd = fd;
	pthread_mutex_lock(&d->lock);
	if (v->n_listen >= LISTEN_MAX) {
		rc = err_set(e, ENOSPC, "vsock: %d sockets wait for the guest already",
			     LISTEN_MAX);
	} else {
		TAILQ_INSERT_TAIL(&v->listen, l, all);
		v->n_listen++;
	}
	pthread_mutex_unlock(&d->lock);
	if (rc < 0)
		free(l);
	return rc;
}

/* There are fewer connections than ports, so the search ends. */
static uint32_t pick_port(struct vsock *v, uint32_t guest_port)
{
	for (;;) {
		uint32_t port = v->next_port;

		v->next_port = port == PORT_LAST ? PORT_FIRST : port + 1;
		if (!vconn_find(v, guest_port, port))
			return port;
	}
}

/**
 * vsock_connect() - call the guest
 * @d:    from vsock_new()
 * @port: of the guest; before its driver runs, the call waits
 * @fd:   stream socket that the call is for, taken over on success; it is
 *        closed if the guest refuses
 *
 * Return: 0 once the call is under way; -EINVAL for another kind of
 * descriptor; -ENOSPC at VSOCK_CONNS_MAX; else minus errno
 * Context: I/O thread; takes the device's lock
 *
 * #syscalls getsockopt epoll_ctl write
 */
int vsock_connect(struct virtio_dev *d, uint32_t port, int fd, struct err *e)
{
	struct vsock *v = vsock_of(d);
	struct vconn *c;
	int rc = check_socket(fd, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&d->lock);
	rc = vconn_new(v, port, pick_port(v, port), fd, VCONN_QUEUED, &c, e);
	if (rc < 0)
		err_wrap(e, "vsock");
	else if (d->running)
		vconn_send(c, VIRTIO_VSOCK_OP_REQUEST);
	vsock_pump(v);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/**
 * vsock_in_use() - whether there is a connection, or an answer that the guest has not got
 * Context: I/O thread, @lock not held
 *
 * #syscalls none
 */
bool vsock_in_use(struct virtio_dev *d)
{
	struct vsock *v = vsock_of(d);
	bool used;

	pthread_mutex_lock(&d->lock);
	used = v->n_conns || v->n_rst;
	pthread_mutex_unlock(&d->lock);
	return used;
}

/**
 * vsock_first_call_ns() - CLOCK_MONOTONIC of the guest's first call; 0 before it
 * @d: from vsock_new()
 *
 * Context: any thread
 *
 * #syscalls none
 */
uint64_t vsock_first_call_ns(const struct virtio_dev *d)
{
	return __atomic_load_n(&((const struct vsock *)d)->first_call_ns,
			       __ATOMIC_RELAXED);
}
