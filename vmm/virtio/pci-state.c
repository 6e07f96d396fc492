// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A virtio device as plain data, and back. To put a device into a state is to do to it
 * what its driver did: the same registers are written in the order that virtio wants
 * (virtio 1.2, section 3.1), so that the checks that a guest meets are those that a
 * state meets, and there are no others. What the driver cannot write is set before
 * DRIVER_OK: how far the queues are, and which interrupts are pending.
 *
 * A queue counts as being where its used ring is. What had been taken and not given back
 * (the buffer of the balloon's statistics, a report of free pages) is taken again, which
 * is right for devices that serve a queue in order and can serve a request twice; others
 * are not saved (vmm/template.c). Then each queue is looked at once, since what the
 * driver notified may not have been seen before.
 *
 * The window of the configuration access capability is not kept: it has to be set anew for
 * each access anyway (vmm/virtio/pci.c).
 */
#include <errno.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vmm/virtio/pci.h"

#define STATUS_DRIVER_MASK 3u	/* ACKNOWLEDGE, DRIVER */
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 64u
#define STATUS_FAILED 128u

#define CAP_EXTRA_BYTES 20

#define COMMON(field) (VPCI_COMMON + (uint32_t)offsetof(struct virtio_pci_common_cfg, field))

static bool is_lost(uint8_t status)
{
	return status & (STATUS_NEEDS_RESET | STATUS_FAILED);
}

/**
 * vpci_save() - the state of a device
 *
 * Return: 0; -EBUSY for one that its driver has broken, is resetting or that the kernel serves
 * Context: I/O thread, while no vCPU runs
 *
 * #syscalls none
 */
int vpci_save(struct vpci *v, struct vpci_state *ret, struct err *e)
{
	struct virtio_dev *d = v->dev;
	bool lent = false;
	uint16_t i;
	int rc = 0;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->kind, sizeof(ret->kind), "%s", d->ops->name);
	ret->devfn = v->fn.devfn;
	ret->n_queues = d->n_queues;
	memcpy(ret->config, v->fn.config, sizeof(ret->config));
	memset(ret->config + v->cfg_cap + 4, 0, CAP_EXTRA_BYTES - 4);
	pthread_mutex_lock(&v->msix.lock);
	ret->msix = v->msix.s;
	pthread_mutex_unlock(&v->msix.lock);
	pthread_mutex_lock(&d->lock);
	ret->feature_select = v->feature_select;
	ret->driver_select = v->driver_select;
	ret->select = v->select;
	ret->virtio = d->s;
	for (i = 0; i < d->n_queues; i++) {
		ret->queue[i] = d->q[i].s;
		ret->queue[i].next_avail = ret->queue[i].next_used;
		lent |= v->kick[i].lent;
	}
	if (lent || d->resetting || is_lost(d->s.status))
		rc = err_set(e, EBUSY, "device %s: its driver has broken it or resets it, or the kernel serves it",
			     ret->kind);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

static void put(struct vpci *v, uint32_t offset, uint32_t value, uint32_t len)
{
	v->fn.ops->bar_write(&v->fn, offset, &value, len);
}

static void put_address(struct vpci *v, uint32_t offset, uint64_t address)
{
	put(v, offset, (uint32_t)address, 4);
	put(v, offset + 4, (uint32_t)(address >> 32), 4);
}

static void put_queue(struct vpci *v, uint16_t i, const struct virtq_state *q)
{
	put(v, COMMON(queue_select), i, 2);
	put(v, COMMON(queue_msix_vector), q->vector, 2);
	if (!q->enabled)
		return;
	put(v, COMMON(queue_size), q->size, 2);
	put_address(v, COMMON(queue_desc_lo), q->desc);
	put_address(v, COMMON(queue_avail_lo), q->avail);
	put_address(v, COMMON(queue_used_lo), q->used);
	put(v, COMMON(queue_enable), 1, 2);
	v->dev->q[i].s.next_avail = v->dev->q[i].s.next_used = q->next_used;
}

static void put_driver(struct vpci *v, const struct vpci_state *s)
{
	uint8_t status = s->virtio.status;
	uint16_t i;

	put(v, COMMON(device_status), status & STATUS_DRIVER_MASK, 1);
	if (!(status & STATUS_FEATURES_OK))
		return;
	for (i = 0; i < 2; i++) {
		put(v, COMMON(guest_feature_select), i, 4);
		put(v, COMMON(guest_feature), (uint32_t)(s->virtio.acked >> 32 * i), 4);
	}
	put(v, COMMON(device_status), status & (STATUS_DRIVER_MASK | STATUS_FEATURES_OK), 1);
	put(v, COMMON(msix_config), s->virtio.config_vector, 2);
	for (i = 0; i < s->n_queues; i++)
		put_queue(v, i, &s->queue[i]);
	put(v, COMMON(device_status), status, 1);
}

static void put_interrupts(struct vpci *v, const struct msix_state *s)
{
	uint16_t i;

	for (i = 0; i < v->msix.n; i++) {
		uint32_t at = VPCI_TABLE + (uint32_t)i * MSIX_ENTRY_BYTES;

		put(v, at, s->entry[i].address_lo, 4);
		put(v, at + 4, s->entry[i].address_hi, 4);
		put(v, at + 8, s->entry[i].data, 4);
		put(v, at + 12, s->entry[i].control, 4);
	}
	/* Those that are not masked go out when MSI-X is enabled. */
	pthread_mutex_lock(&v->msix.lock);
	v->msix.s.pending = s->pending & (uint32_t)((1ull << v->msix.n) - 1);
	pthread_mutex_unlock(&v->msix.lock);
}

/* Whether the device is as the state says. */
static bool took(struct vpci *v, const struct vpci_state *s)
{
	const struct virtio_dev *d = v->dev;
	bool same = d->s.status == s->virtio.status && d->s.acked == s->virtio.acked;
	uint16_t i;

	for (i = 0; i < s->n_queues; i++)
		same &= d->q[i].s.enabled == s->queue[i].enabled;
	return same;
}

/**
 * vpci_load() - put a device into a state
 * @v:   on the bus, and no driver has touched it
 * @bus: that it is on
 * @s:   checked here, as a guest's writes are
 *
 * Return: 0; -EINVAL for the state of another device, or one that its driver could not
 * have made
 * Context: I/O thread, while no vCPU runs
 *
 * #syscalls write
 */
int vpci_load(struct vpci *v, struct pci *bus, const struct vpci_state *s, struct err *e)
{
	struct virtio_dev *d = v->dev;
	bool same;
	uint16_t i;

	if (strncmp(s->kind, d->ops->name, sizeof(s->kind)) || s->devfn != v->fn.devfn ||
	    s->n_queues != d->n_queues)
		return err_set(e, EINVAL, "device %s at %02x.%u: the state of another one", d->ops->name,
			       v->fn.devfn >> 3, v->fn.devfn & 7);
	put_interrupts(v, &s->msix);
	pci_load(bus, &v->fn, s->config);
	put_driver(v, s);
	put(v, COMMON(device_feature_select), s->feature_select, 4);
	put(v, COMMON(guest_feature_select), s->driver_select, 4);
	put(v, COMMON(queue_select), s->select, 2);
	pthread_mutex_lock(&d->lock);
	d->s.config_generation = s->virtio.config_generation;
	same = took(v, s);
	pthread_mutex_unlock(&d->lock);
	if (!same)
		return err_set(e, EINVAL, "device %s: it does not take the state", d->ops->name);
	for (i = 0; i < d->n_queues; i++)
		if (d->q[i].s.enabled)
			eventfd_write(v->kick[i].fd, 1);
	return 0;
}
