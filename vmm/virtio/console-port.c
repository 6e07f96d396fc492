// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A port of a console and its stream socket, both ways, on the I/O thread.
 *
 * Nothing is held here. Output that the socket does not take stays in the guest's
 * queue, which is asked again when it can be written; of a request that went out in
 * part only how many bytes is kept, and it is read anew. Input that the guest has
 * no buffers for, or has not opened the port for, stays in the socket. So a peer
 * that does not read stops the guest's writer, and the other way round.
 *
 * The socket is in the loop only while there is something to wait for: one
 * whose other end is closed reports that as long as it is there. One turn moves
 * BUDGET_BYTES at most, then other devices have theirs.
 *
 * The other end may stop to send (input is over), or close (the driver is told
 * with PORT_OPEN 0, and output is dropped from then on).
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "vmm/virtio/console.h"

#define PIECE_BYTES 4096u
#define BUDGET_BYTES (256u << 10)

static struct virtio_dev *dev(struct console_port *p)
{
	return &p->t->dev;
}

/* The other end is gone: says so to the driver, once. */
static void close_port(struct console_port *p)
{
	if (p->closed)
		return;
	p->closed = p->in_end = true;
	if (p->id) {
		p->s.pending |= CONSOLE_OPEN;
		console_control_send(p->t);
	}
}

static bool hung_up(int fd)
{
	struct pollfd f = { .fd = fd };

	return poll(&f, 1, 0) == 1 && (f.revents & (POLLHUP | POLLERR));
}

/* Return: bytes; 0 when there is nothing now, or will be nothing any more */
static size_t take_in(struct console_port *p, void *buf, size_t len)
{
	ssize_t n = recv(p->fd, buf, len, MSG_DONTWAIT);

	if (n > 0)
		return (size_t)n;
	if (!n && !hung_up(p->fd))
		p->in_end = true;
	else if (!n || (errno != EAGAIN && errno != EINTR))
		close_port(p);
	return 0;
}

/* One buffer of input. Return: bytes; 0 without any; -EPROTO */
static int receive(struct console_port *p, struct virtq *q, struct err *e)
{
	uint8_t piece[PIECE_BYTES];
	struct virtq_chain c;
	size_t n;
	int rc = virtq_take(q, &c, e);

	if (rc <= 0) {
		p->starved = !rc;
		return rc;
	}
	if (!c.in_bytes)
		return err_set(e, EPROTO, "a receive buffer that cannot be written");
	n = take_in(p, piece, c.in_bytes < sizeof(piece) ? c.in_bytes : sizeof(piece));
	if (!n) {
		virtq_unpop(q, &c);
		return 0;
	}
	chain_write(&c, 0, piece, n);
	virtq_push(q, c.head, (uint32_t)n);
	return (int)n;
}

/**
 * console_port_input() - move what has come in to the guest
 *
 * #syscalls recvfrom poll
 */
void console_port_input(struct console_port *p)
{
	struct virtq *q = &dev(p)->q[CONSOLE_RX(p->id)];
	uint32_t done = 0;
	struct err e;
	int rc = 0;

	if (p->fd < 0 || !p->s.open || p->in_end)
		return;
	while (done < BUDGET_BYTES && (rc = receive(p, q, &e)) > 0)
		done += (uint32_t)rc;
	if (rc < 0)
		virtio_broken(dev(p), e.text);
	else if (done)
		virtio_notify(dev(p), CONSOLE_RX(p->id));
	console_port_watch(p);
}

/* Return: true when the whole request has gone, or has nowhere to go */
static bool send_out(struct console_port *p, const struct virtq_chain *c, uint32_t *left)
{
	uint8_t piece[PIECE_BYTES];

	while (!p->closed && p->s.out_done < c->out_bytes) {
		size_t n = chain_read(c, p->s.out_done, piece, sizeof(piece));
		ssize_t sent = send(p->fd, piece, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			close_port(p);
		if (sent <= 0)
			return p->closed;
		p->s.out_done += (uint64_t)sent;
		*left = (uint32_t)sent < *left ? *left - (uint32_t)sent : 0;
		if (!*left)
			return p->s.out_done >= c->out_bytes;
	}
	return true;
}

/**
 * console_port_output() - move what the guest has written to the socket
 *
 * #syscalls sendto
 */
void console_port_output(struct console_port *p)
{
	struct virtq *q = &dev(p)->q[CONSOLE_TX(p->id)];
	uint32_t left = BUDGET_BYTES;
	struct virtq_chain c;
	struct err e;
	int rc = 0;

	p->blocked = false;
	virtq_disable_kicks(q);
	while (!p->blocked && (rc = virtq_take(q, &c, &e)) > 0) {
		if (!left || !send_out(p, &c, &left)) {
			virtq_unpop(q, &c);
			p->blocked = true;
			break;
		}
		left = left > 64 ? left - 64 : 0;	/* empty ones count, too */
		q->count.out_bytes += p->s.out_done;
		p->s.out_done = 0;
		virtq_push(q, c.head, 0);
	}
	if (rc < 0)
		virtio_broken(dev(p), e.text);
	else
		virtio_notify(dev(p), CONSOLE_TX(p->id));
	console_port_watch(p);
}

static void on_socket(void *arg, uint32_t events)
{
	struct console_port *p = arg;
	struct virtio_dev *d = dev(p);

	pthread_mutex_lock(&d->lock);
	if (d->running && p->blocked)
		console_port_output(p);
	if (d->running && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		console_port_input(p);
	console_port_watch(p);
	pthread_mutex_unlock(&d->lock);
}

static uint32_t wanted(struct console_port *p)
{
	struct virtio_dev *d = dev(p);
	uint32_t events = 0;

	if (!d->running || p->fd < 0)
		return 0;
	if (p->s.open && !p->in_end && !p->starved && d->q[CONSOLE_RX(p->id)].s.enabled &&
	    !d->q[CONSOLE_RX(p->id)].broken)
		events |= EPOLLIN;
	if (p->blocked && !d->q[CONSOLE_TX(p->id)].broken)
		events |= EPOLLOUT;
	return events;
}

/**
 * console_port_watch() - wait for what has to be waited for, and nothing else
 *
 * #syscalls epoll_ctl
 */
void console_port_watch(struct console_port *p)
{
	uint32_t events = wanted(p);
	struct err e;

	if (!events) {
		loop_del(p->src);
		p->src = NULL;
	} else if (!p->src) {
		if (loop_add(dev(p)->loop, p->fd, events, on_socket, p, &p->src, &e) < 0) {
			log_error("vmm: console port %s: %s", p->name, e.text);
			close_port(p);
		}
	} else if (events != p->watched) {
		loop_mod(p->src, events);
	}
	p->watched = events;
}
