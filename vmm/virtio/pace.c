// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A device that has served its share of requests in one go calls
 * pace_later(); after the pause its kick is called again, as if the driver had
 * notified. Requests wait in the ring meanwhile, so nothing is queued here.
 */
#include "vmm/virtio/pace.h"

#include "lib/fd.h"

static void on_timer(void *arg, uint32_t events)
{
	struct pace *p = arg;
	struct virtio_dev *d = p->dev;

	(void)events;
	timer_ack(p->timer);
	pthread_mutex_lock(&d->lock);
	if (d->running && d->q[p->queue].s.enabled && !d->q[p->queue].broken)
		d->ops->kick(d, p->queue);
	pthread_mutex_unlock(&d->lock);
}

/**
 * pace_init() - no pause yet
 * @p: embedded in @d's own struct
 * @d: its loop is set
 *
 * Return: 0 or minus errno
 */
int pace_init(struct pace *p, struct virtio_dev *d, uint16_t queue, struct err *e)
{
	int rc;

	*p = (struct pace){ .dev = d, .queue = queue, .timer = timer_new(e) };
	if (p->timer < 0)
		return p->timer;
	rc = loop_add(d->loop, p->timer, EPOLLIN, on_timer, p, &p->src, e);
	if (rc < 0)
		fd_close(&p->timer);
	return rc;
}

/**
 * pace_done() - end; I/O thread
 */
void pace_done(struct pace *p)
{
	loop_del(p->src);
	p->src = NULL;
	fd_close(&p->timer);
}

/**
 * pace_later() - call the kick again in @ms milliseconds
 * Context: the device's lock held
 */
void pace_later(struct pace *p, uint64_t ms)
{
	timer_set(p->timer, ms, NULL);
}
