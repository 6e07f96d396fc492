// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What all virtio devices share, whatever the transport: the device status,
 * feature negotiation, and the two kinds of notification. The status only
 * grows until a reset:
 *
 *   ACKNOWLEDGE, DRIVER -> FEATURES_OK -> DRIVER_OK
 *
 * FEATURES_OK is not taken unless VERSION_1 was accepted and nothing beyond the
 * offer; the driver finds that by reading back. At DRIVER_OK the enabled
 * queues are checked as a whole and the device starts. A driver that breaks a
 * rule gets DEVICE_NEEDS_RESET: the device takes nothing more from any queue
 * until the driver resets it.
 *
 * Source: virtio 1.2, sections 2.1, 2.2 and 3.1.
 */
#include "vmm/virtio/virtio.h"

#include <string.h>

#include "lib/log.h"
#include "vmm/metrics.h"

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64
#define STATUS_FAILED 128

#define F_INDIRECT_DESC (1ull << 28)
#define F_EVENT_IDX (1ull << 29)
#define F_VERSION_1 (1ull << 32)

static void queues_init(struct virtio_dev *d)
{
	uint16_t i;

	for (i = 0; i < d->n_queues; i++) {
		virtq_reset(&d->q[i]);
		d->q[i].mem = d->mem;
		d->q[i].s.size = VIRTQ_SIZE_MAX;
		d->q[i].s.vector = VIRTQ_NO_VECTOR;
	}
}

/**
 * virtio_set_queues() - how many queues a device has whose kind leaves that open
 * @n: 1 to VIRTIO_QUEUES_MAX
 * Context: before the device is on a bus
 */
void virtio_set_queues(struct virtio_dev *d, uint16_t n)
{
	d->n_queues = n;
	d->vectors = d->ops->one_vector ? 2 : (uint16_t)(n + 1);
	queues_init(d);
}

/**
 * virtio_init() - a device before its driver came
 * @d:        zeroed
 * @features: of the kind; VERSION_1, INDIRECT_DESC and EVENT_IDX are added
 *
 * Return: 0 or minus errno
 */
int virtio_init(struct virtio_dev *d, const struct virtio_ops *ops,
		uint64_t features, const struct gmem *mem, struct loop *loop)
{
	d->ops = ops;
	d->s.offered = features | F_VERSION_1 | F_INDIRECT_DESC | F_EVENT_IDX;
	d->s.config_vector = VIRTQ_NO_VECTOR;
	d->mem = mem;
	d->loop = loop;
	virtio_set_queues(d, ops->n_queues);
	return -pthread_mutex_init(&d->lock, NULL);
}

static void raise_vector(struct virtio_dev *d, uint16_t vector)
{
	d->count.interrupts++;
	if (d->interrupt)
		d->interrupt(d->transport, vector);
}

/**
 * virtio_notify() - interrupt the driver for queue @q if it wants that
 * Context: @lock held
 */
void virtio_notify(struct virtio_dev *d, uint16_t q)
{
	if (q >= d->n_queues || !d->running || d->q[q].broken)
		return;
	if (virtq_should_notify(&d->q[q]))
		raise_vector(d, d->q[q].s.vector);
}

/**
 * virtio_config_changed() - tell the driver to read the configuration again
 * Context: @lock held
 */
void virtio_config_changed(struct virtio_dev *d)
{
	d->s.config_generation++;
	if (d->s.status & STATUS_DRIVER_OK)
		raise_vector(d, d->s.config_vector);
}

/**
 * virtio_broken() - the driver broke a rule: NEEDS_RESET
 * @why: for the log
 * Context: @lock held
 */
void virtio_broken(struct virtio_dev *d, const char *why)
{
	uint16_t i;

	for (i = 0; i < d->n_queues; i++)
		d->q[i].broken = true;
	if (d->s.status & STATUS_NEEDS_RESET)
		return;
	if (metrics_may_log())
		log_warn("vmm: %s: needs reset: %s", d->ops->name, why);
	d->count.broken++;
	d->s.status |= STATUS_NEEDS_RESET;
	virtio_config_changed(d);
	if (d->ops->broken)
		d->ops->broken(d);
}

static void forget_driver(struct virtio_dev *d)
{
	d->resetting = false;
	queues_init(d);
	d->s.acked = 0;
	d->s.status = 0;
	d->s.config_vector = VIRTQ_NO_VECTOR;
}

/**
 * virtio_reset() - back to the state before the driver came
 *
 * Where the device cannot stop at once, its status stays what it was until it
 * has: that is how a driver learns that its memory is its own again (virtio 1.2,
 * section 4.1.4.3.2).
 *
 * Context: @lock held
 */
void virtio_reset(struct virtio_dev *d)
{
	bool stopped = d->ops->stop(d);

	d->count.resets++;
	d->running = false;
	if (stopped)
		forget_driver(d);
	else
		d->resetting = true;
}

/**
 * virtio_reset_done() - the end of a reset that ops->stop() could not finish
 * Context: I/O thread, @lock held; does nothing where none is under way
 */
void virtio_reset_done(struct virtio_dev *d)
{
	if (d->resetting)
		forget_driver(d);
}

/**
 * virtio_features_read() - 32 offered feature bits
 * @select: which 32: 0 or 1; others have none
 */
uint32_t virtio_features_read(const struct virtio_dev *d, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(d->s.offered >> 32 * select);
}

/**
 * virtio_features_write() - 32 bits that the driver accepts
 *
 * Kept as written, judged at FEATURES_OK; dropped after it, when the choice is final.
 * Context: @lock held
 */
void virtio_features_write(struct virtio_dev *d, uint32_t select, uint32_t v)
{
	uint64_t mask;

	if (select > 1 || d->resetting || (d->s.status & STATUS_FEATURES_OK))
		return;
	mask = 0xffffffffull << 32 * select;
	d->s.acked = (d->s.acked & ~mask) | (uint64_t)v << 32 * select;
}

static bool features_ok(const struct virtio_dev *d)
{
	return (d->s.acked & F_VERSION_1) && !(d->s.acked & ~d->s.offered);
}

static void start(struct virtio_dev *d)
{
	bool event_idx = d->s.acked & F_EVENT_IDX;
	struct err e;
	uint16_t i;

	for (i = 0; i < d->n_queues; i++) {
		if (!d->q[i].s.enabled)
			continue;
		if (virtq_start(&d->q[i], d->mem, event_idx, &e) < 0) {
			virtio_broken(d, e.text);
			return;
		}
	}
	d->running = true;
	d->ops->start(d);
}

/**
 * virtio_status_write() - the driver writes the device status
 * @status: 0 resets
 * Context: @lock held
 */
void virtio_status_write(struct virtio_dev *d, uint8_t status)
{
	uint8_t old = d->s.status, added;

	if (d->resetting)
		return;
	if (!status) {
		virtio_reset(d);
		return;
	}
	status = (uint8_t)((status & ~STATUS_NEEDS_RESET) | (old & STATUS_NEEDS_RESET));
	if (old & ~status) {
		virtio_broken(d, "the driver cleared bits of the device status");
		return;
	}
	added = status & (uint8_t)~old;
	if ((added & STATUS_FEATURES_OK) &&
	    (!features_ok(d) || !(status & STATUS_DRIVER))) {
		if (metrics_may_log())
			log_warn("vmm: %s: features %#llx refused, offered %#llx", d->ops->name,
				 (unsigned long long)d->s.acked,
				 (unsigned long long)d->s.offered);
		status &= (uint8_t)~STATUS_FEATURES_OK;
	}
	if ((added & STATUS_DRIVER_OK) && !(status & STATUS_FEATURES_OK)) {
		virtio_broken(d, "DRIVER_OK without FEATURES_OK");
		return;
	}
	d->s.status = status;
	if ((added & STATUS_DRIVER_OK) && !(status & (STATUS_NEEDS_RESET | STATUS_FAILED)))
		start(d);
}
