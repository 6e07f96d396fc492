// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A device whose packets the kernel moves: each pair of queues has a vhost-net
 * (vhost.c). While a driver runs, its queues are lent by the transport, so that
 * neither notifications nor interrupts come here; the control queue stays ours.
 *
 * All of it happens on the I/O thread. A reset therefore takes until that thread
 * has stopped the vhosts (ops->stop() returns false), and so does what follows when a
 * ring makes no sense: the device needs a reset, and nothing is moved any more.
 *
 * Whenever the vhosts are stopped, the rings are in a state from which our own path
 * can go on. It does where the kernel refuses to work, and when the tap is gone.
 */
#include <errno.h>
#include <sys/eventfd.h>

#include "vmm/virtio/net.h"

static uint16_t queue_of(const struct net_pair *p, int ring)
{
	return ring == VHOST_RX ? net_rxq(p) : net_txq(p);
}

/* A vhost found a ring that makes no sense, or could not send to a tap that is gone. */
static void on_failed(void *arg, uint32_t events)
{
	struct net_pair *p = arg;
	struct net *n = p->net;
	eventfd_t count;

	(void)events;
	pthread_mutex_lock(&n->d.lock);
	if (!eventfd_read(p->vhost.failed, &count) && n->served && !n->d.resetting) {
		if (net_tap_alive(n)) {
			virtio_broken(&n->d, "vhost: a ring or a buffer that breaks the rules");
		} else {
			net_kernel_stop(n);
			net_wake(n);
		}
	}
	pthread_mutex_unlock(&n->d.lock);
}

/**
 * net_kernel_init() - make the device one whose packets the kernel moves
 * @fds: /dev/vhost-net, one per pair; they become those of the pairs, one by one
 *
 * The device offers only what both the kernel and we know.
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 */
int net_kernel_init(struct net *n, const int *fds, struct err *e)
{
	uint16_t i;
	int rc;

	for (i = 0; i < n->n_pairs; i++) {
		struct net_pair *p = &n->pair[i];

		rc = vhost_init(&p->vhost, fds[i], n->d.mem, e);
		if (rc < 0)
			return err_wrap(e, "vhost of pair %u", i);
		n->d.s.offered = vhost_offer(&p->vhost, n->d.s.offered);
		rc = loop_add(n->d.loop, p->vhost.failed, EPOLLIN, on_failed, p, &p->failed, e);
		if (rc < 0)
			return rc;
	}
	n->kernel = true;
	return 0;
}

/* Lends the queues of a pair that the driver has enabled. */
static int lend(struct net_pair *p, struct err *e)
{
	struct virtio_dev *d = &p->net->d;
	int r, rc = vhost_setup(&p->vhost, d->s.acked, d->mem, e);

	for (r = 0; rc >= 0 && r < VHOST_RINGS; r++) {
		uint16_t q = queue_of(p, r);

		if (!d->q[q].s.enabled)
			continue;
		rc = d->lend(d->transport, q, p->vhost.call[r]);
		if (rc < 0)
			return err_set(e, -rc, "queue %u cannot be lent", q);
		p->kick[r] = rc;
		rc = vhost_ring(&p->vhost, (enum vhost_ring)r, &d->q[q], p->kick[r], e);
	}
	return rc;
}

/**
 * net_kernel_start() - have the kernel serve the driver's queues
 *
 * Return: 0; minus errno, then our own path is to serve them
 * Context: I/O thread, the device's lock
 */
int net_kernel_start(struct net *n, struct err *e)
{
	uint16_t i;
	int rc = n->d.lend ? 0 : err_set(e, ENOTSUP, "this transport lends no queues");

	n->served = true;
	for (i = 0; rc >= 0 && i < net_usable(n); i++)
		rc = lend(&n->pair[i], e);
	for (i = 0; rc >= 0 && i < net_usable(n); i++)
		rc = net_kernel_serve(&n->pair[i], e);
	if (rc < 0)
		net_kernel_stop(n);
	return rc;
}

/**
 * net_kernel_serve() - work on the rings of a pair that shall be worked on now
 *
 * Those for sending while the link is up and the tap there, those for receiving if
 * the pair is switched on besides.
 *
 * Return: 0 or minus errno
 * Context: I/O thread, the device's lock; waits for the kernel's worker
 */
int net_kernel_serve(struct net_pair *p, struct err *e)
{
	struct net *n = p->net;
	int r;

	for (r = 0; r < VHOST_RINGS; r++) {
		bool on = n->link && p->src && (r == VHOST_TX || p->index < n->pairs);
		int rc;

		if (p->kick[r] < 0)
			continue;
		rc = vhost_serve(&p->vhost, (enum vhost_ring)r, on ? p->tap : -1, e);
		if (rc < 0)
			return err_wrap(e, "vhost of pair %u", p->index);
		/* The driver may have notified before anybody listened. */
		if (on)
			eventfd_write(p->kick[r], 1);
	}
	return 0;
}

/* Takes the queues of a pair back. */
static void take_back(struct net_pair *p)
{
	struct virtio_dev *d = &p->net->d;
	int r;

	vhost_stop(&p->vhost);
	for (r = 0; r < VHOST_RINGS; r++) {
		uint16_t q = queue_of(p, r);

		if (p->kick[r] < 0)
			continue;
		d->take_back(d->transport, q);
		p->kick[r] = -1;
		virtq_resume(&d->q[q]);
	}
}

/**
 * net_kernel_stop() - take all queues back; fine at any stage, also twice
 * Context: I/O thread, the device's lock; waits for the kernel's workers
 */
void net_kernel_stop(struct net *n)
{
	uint16_t i;

	for (i = 0; i < n->n_pairs; i++) {
		struct net_pair *p = &n->pair[i];

		if (p->kick[VHOST_RX] >= 0 || p->kick[VHOST_TX] >= 0)
			take_back(p);
	}
	n->served = false;
}
