// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The virtio PCI transport, modern only, MSI-X only (virtio 1.2, section 4.1).
 * BAR 0 is one page: common configuration, ISR, device configuration, notify
 * registers, MSI-X table and pending bits.
 *
 * Registers are accessed from vCPU threads under the device's lock. Each has
 * one width and place; any other access reads as zeros or is dropped, and said
 * in the log. A queue's size and addresses are locked from the moment that it is
 * enabled, and all queues from DRIVER_OK, until a reset, so that what
 * virtq_start() has checked stays what it was.
 *
 * A notification is a write to a queue's notify register. KVM turns it into an
 * eventfd signal (ioeventfd) that the I/O thread waits for. When the guest moves
 * the BAR, the bindings follow; where one is impossible (two BARs at one place),
 * the write arrives as an exit and signals the same eventfd.
 *
 * Interrupts go out by MSI-X vector; a vector that does not exist reads back as
 * VIRTQ_NO_VECTOR. There is no INTx, hence ISR is only for drivers that look.
 *
 * A queue that the kernel serves (vhost) is lent to it: its eventfd goes to the
 * kernel and is not watched here, and the kernel's own eventfd raises the queue's
 * vector through a wire (vmm/irq.c).
 *
 * The device belongs to its struct vpci.
 */
#include "vmm/virtio/pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "vmm/batch.h"
#include "vmm/metrics.h"

#define VENDOR 0x1af4
#define DEVICE_BASE 0x1040
#define REVISION 1

/* cfg_type of virtio_pci_cap (section 4.1.4). */
enum cap_type { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI };

#define CAP_ID_VENDOR 0x09
#define CAP_ID_MSIX 0x11

struct virtio_cap {
	uint8_t id, link, len, type, bar, id2, padding[2];
	uint32_t offset, length;
	uint32_t extra;	/* notify_off_multiplier, or pci_cfg_data */
};

#define CAP_BYTES 16
#define CAP_EXTRA_BYTES 20

/* Offsets and widths of struct virtio_pci_common_cfg (section 4.1.4.3). */
#define REG(offset, len) ((offset) << 4 | (len))
enum common_reg {
	REG_FEATURE_SELECT = REG(0, 4),
	REG_FEATURE = REG(4, 4),
	REG_DRIVER_SELECT = REG(8, 4),
	REG_DRIVER = REG(12, 4),
	REG_CONFIG_VECTOR = REG(16, 2),
	REG_NUM_QUEUES = REG(18, 2),
	REG_STATUS = REG(20, 1),
	REG_GENERATION = REG(21, 1),
	REG_SELECT = REG(22, 2),
	REG_SIZE = REG(24, 2),
	REG_VECTOR = REG(26, 2),
	REG_ENABLE = REG(28, 2),
	REG_NOTIFY_OFF = REG(30, 2),
	REG_DESC_LO = REG(32, 4),
	REG_DESC_HI = REG(36, 4),
	REG_AVAIL_LO = REG(40, 4),
	REG_AVAIL_HI = REG(44, 4),
	REG_USED_LO = REG(48, 4),
	REG_USED_HI = REG(52, 4),
};

#define COMMON_BYTES 56
#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8

static void complain(const struct vpci *v, const char *what, uint32_t offset,
		     uint32_t len)
{
	if (metrics_may_log())
		log_warn("vmm: %s at %02x.%u: %s: offset %#x, %u bytes", v->dev->ops->name,
			 v->fn.devfn >> 3, v->fn.devfn & 7, what, offset, len);
}

/* The selected queue; NULL if there is none of that number. */
static struct virtq *queue(struct vpci *v)
{
	return v->select < v->dev->n_queues ? &v->dev->q[v->select] : NULL;
}

static uint32_t queue_read(struct vpci *v, enum common_reg reg)
{
	const struct virtq *q = queue(v);

	if (!q)
		return reg == REG_VECTOR ? VIRTQ_NO_VECTOR : 0;
	switch (reg) {
	case REG_SIZE:		return q->s.size;
	case REG_VECTOR:	return q->s.vector;
	case REG_ENABLE:	return q->s.enabled;
	case REG_NOTIFY_OFF:	return v->select;
	case REG_DESC_LO:	return (uint32_t)q->s.desc;
	case REG_DESC_HI:	return (uint32_t)(q->s.desc >> 32);
	case REG_AVAIL_LO:	return (uint32_t)q->s.avail;
	case REG_AVAIL_HI:	return (uint32_t)(q->s.avail >> 32);
	case REG_USED_LO:	return (uint32_t)q->s.used;
	case REG_USED_HI:	return (uint32_t)(q->s.used >> 32);
	default:		return 0;
	}
}

static uint32_t common_read(struct vpci *v, uint32_t offset, uint32_t len)
{
	const struct virtio_dev *d = v->dev;

	switch (REG(offset, len)) {
	case REG_FEATURE_SELECT: return v->feature_select;
	case REG_FEATURE:	return virtio_features_read(d, v->feature_select);
	case REG_DRIVER_SELECT:	return v->driver_select;
	case REG_DRIVER:
		return v->driver_select > 1 ? 0
			: (uint32_t)(d->s.acked >> 32 * v->driver_select);
	case REG_CONFIG_VECTOR:	return d->s.config_vector;
	case REG_NUM_QUEUES:	return d->n_queues;
	case REG_STATUS:	return d->s.status;
	case REG_GENERATION:	return d->s.config_generation;
	case REG_SELECT:	return v->select;
	case REG_SIZE:
	case REG_VECTOR:
	case REG_ENABLE:
	case REG_NOTIFY_OFF:
	case REG_DESC_LO:
	case REG_DESC_HI:
	case REG_AVAIL_LO:
	case REG_AVAIL_HI:
	case REG_USED_LO:
	case REG_USED_HI:
		return queue_read(v, (enum common_reg)REG(offset, len));
	default:
		complain(v, "read of no common register", offset, len);
		return 0;
	}
}

static uint16_t valid_vector(const struct vpci *v, uint32_t vector)
{
	return vector < v->msix.n ? (uint16_t)vector : VIRTQ_NO_VECTOR;
}

static void set_half(uint64_t *address, uint32_t value, bool high)
{
	*address = high ? (*address & 0xffffffffull) | (uint64_t)value << 32
			: (*address & ~0xffffffffull) | value;
}

static void queue_enable(struct vpci *v, struct virtq *q, uint32_t value)
{
	if (value != 1)
		virtio_broken(v->dev, "queue_enable: only 1 may be written");
	else if (!(v->dev->s.status & STATUS_FEATURES_OK))
		virtio_broken(v->dev, "queue enabled before FEATURES_OK");
	else
		q->s.enabled = 1;
}

static void queue_write(struct vpci *v, enum common_reg reg, uint32_t value)
{
	struct virtq *q = queue(v);

	if (!q) {
		complain(v, "write to no queue", v->select, 0);
		return;
	}
	if (reg == REG_VECTOR) {
		q->s.vector = valid_vector(v, value);
		msix_rewire(&v->msix, v->select, q->s.vector);
		return;
	}
	if (q->s.enabled || (v->dev->s.status & STATUS_DRIVER_OK)) {
		complain(v, "write to a locked queue register", (uint32_t)reg >> 4, reg & 15);
		return;
	}
	switch (reg) {
	case REG_SIZE:
		if (!value || value > VIRTQ_SIZE_MAX || (value & (value - 1)))
			virtio_broken(v->dev, "queue size is no power of two up to the maximum");
		else
			q->s.size = (uint16_t)value;
		break;
	case REG_ENABLE:
		queue_enable(v, q, value);
		break;
	case REG_DESC_LO:
	case REG_DESC_HI:
		set_half(&q->s.desc, value, reg == REG_DESC_HI);
		break;
	case REG_AVAIL_LO:
	case REG_AVAIL_HI:
		set_half(&q->s.avail, value, reg == REG_AVAIL_HI);
		break;
	default:
		set_half(&q->s.used, value, reg == REG_USED_HI);
	}
}

static void status_write(struct vpci *v, uint8_t status)
{
	virtio_status_write(v->dev, status);
	if (status)
		return;
	v->select = 0;
	v->feature_select = 0;
	v->driver_select = 0;
	atomic_store(&v->isr, 0);
	msix_reset_pending(&v->msix);
}

static void common_write(struct vpci *v, uint32_t offset, uint32_t value, uint32_t len)
{
	struct virtio_dev *d = v->dev;

	switch (REG(offset, len)) {
	case REG_FEATURE_SELECT:
		v->feature_select = value;
		break;
	case REG_DRIVER_SELECT:
		v->driver_select = value;
		break;
	case REG_DRIVER:
		virtio_features_write(d, v->driver_select, value);
		break;
	case REG_CONFIG_VECTOR:
		d->s.config_vector = valid_vector(v, value);
		break;
	case REG_STATUS:
		status_write(v, (uint8_t)value);
		break;
	case REG_SELECT:
		v->select = (uint16_t)value;
		break;
	case REG_SIZE:
	case REG_VECTOR:
	case REG_ENABLE:
	case REG_DESC_LO:
	case REG_DESC_HI:
	case REG_AVAIL_LO:
	case REG_AVAIL_HI:
	case REG_USED_LO:
	case REG_USED_HI:
		queue_write(v, (enum common_reg)REG(offset, len), value);
		break;
	default:
		complain(v, "write to no common register", offset, len);
	}
}

static void bar_read(struct pci_fn *f, uint32_t offset, void *data, uint32_t len)
{
	struct vpci *v = (struct vpci *)f;
	uint32_t value;

	memset(data, 0, len);
	if (offset >= VPCI_PBA) {
		msix_pba_read(&v->msix, offset - VPCI_PBA, data, len);
	} else if (offset >= VPCI_TABLE) {
		msix_table_read(&v->msix, offset - VPCI_TABLE, data, len);
	} else if (offset >= VPCI_NOTIFY) {
		return;
	} else if (offset >= VPCI_DEVICE) {
		if (offset + len > VPCI_DEVICE + VPCI_DEVICE_BYTES)
			return;
		pthread_mutex_lock(&v->dev->lock);
		v->dev->ops->config_read(v->dev, offset - VPCI_DEVICE, data, len);
		pthread_mutex_unlock(&v->dev->lock);
	} else if (offset == VPCI_ISR) {
		*(uint8_t *)data = (uint8_t)atomic_exchange(&v->isr, 0);
	} else if (offset < VPCI_COMMON + COMMON_BYTES) {
		pthread_mutex_lock(&v->dev->lock);
		value = common_read(v, offset - VPCI_COMMON, len);
		pthread_mutex_unlock(&v->dev->lock);
		memcpy(data, &value, len < 4 ? len : 4);
	}
}

/* A notification that came as an exit. */
static void notify(struct vpci *v, uint32_t offset)
{
	uint32_t q = offset / VPCI_NOTIFY_STEP;

	if (q < v->dev->n_queues && !(offset % VPCI_NOTIFY_STEP))
		eventfd_write(v->kick[q].fd, 1);
}

static void bar_write(struct pci_fn *f, uint32_t offset, const void *data, uint32_t len)
{
	struct vpci *v = (struct vpci *)f;
	uint32_t value = 0;

	if (offset >= VPCI_PBA) {
		return;
	} else if (offset >= VPCI_TABLE) {
		msix_table_write(&v->msix, offset - VPCI_TABLE, data, len);
	} else if (offset >= VPCI_NOTIFY) {
		notify(v, offset - VPCI_NOTIFY);
	} else if (offset >= VPCI_DEVICE) {
		if (offset + len > VPCI_DEVICE + VPCI_DEVICE_BYTES ||
		    !v->dev->ops->config_write)
			return;
		pthread_mutex_lock(&v->dev->lock);
		v->dev->ops->config_write(v->dev, offset - VPCI_DEVICE, data, len);
		pthread_mutex_unlock(&v->dev->lock);
	} else if (offset < VPCI_COMMON + COMMON_BYTES) {
		memcpy(&value, data, len < 4 ? len : 4);
		pthread_mutex_lock(&v->dev->lock);
		common_write(v, offset - VPCI_COMMON, value, len);
		pthread_mutex_unlock(&v->dev->lock);
	}
}

/* Moves the eventfd bindings with the BAR. */
static void bar_moved(struct pci_fn *f, uint64_t address)
{
	struct vpci *v = (struct vpci *)f;
	uint16_t i;

	for (i = 0; i < v->dev->n_queues; i++) {
		struct vpci_kick *k = &v->kick[i];
		uint64_t at = address + VPCI_NOTIFY + i * VPCI_NOTIFY_STEP;

		if (k->bound)
			v->host->bind(v->host->arg, k->bound, k->fd, false);
		k->bound = v->host->bind(v->host->arg, at, k->fd, true) < 0 ? 0 : at;
	}
}

static bool overlaps(uint32_t offset, uint32_t len, uint32_t at, uint32_t n)
{
	return offset < at + n && at < offset + len;
}

/*
 * The window of the configuration access capability (section 4.1.4.9): where and
 * how wide the driver asked for; false if that is no valid access to BAR 0.
 */
static bool window(const struct vpci *v, uint32_t *ret_offset, uint32_t *ret_len)
{
	struct virtio_cap c;

	memcpy(&c, v->fn.config + v->cfg_cap, CAP_EXTRA_BYTES);
	if (c.bar || (c.length != 1 && c.length != 2 && c.length != 4) ||
	    c.offset % c.length || c.offset >= VPCI_BAR_BYTES)
		return false;
	*ret_offset = c.offset;
	*ret_len = c.length;
	return true;
}

/*
 * The guest reads pci_cfg_data from memory, so that there is no moment at which to
 * fetch it: it is fetched whenever the window is set. A driver that polls a
 * register this way has to set the window for each read.
 */
static void config_write(struct pci_fn *f, uint32_t offset, uint32_t len)
{
	struct vpci *v = (struct vpci *)f;
	uint32_t at = v->cfg_cap + (uint32_t)CAP_BYTES, bar_offset, n;
	uint16_t control;

	if (overlaps(offset, len, v->msix_cap + 2u, 2)) {
		memcpy(&control, f->config + v->msix_cap + 2, 2);
		msix_control(&v->msix, control);
	}
	if (!overlaps(offset, len, v->cfg_cap, CAP_EXTRA_BYTES) || !window(v, &bar_offset, &n))
		return;
	if (overlaps(offset, len, at, 4))
		bar_write(f, bar_offset, f->config + at, n);
	else
		bar_read(f, bar_offset, f->config + at, n);
}

static const struct pci_fn_ops fn_ops = {
	.config_write = config_write,
	.bar_moved = bar_moved,
	.bar_read = bar_read,
	.bar_write = bar_write,
};

static uint8_t add_cap(struct vpci *v, enum cap_type type, uint32_t offset,
		       uint32_t length, uint32_t extra)
{
	struct virtio_cap c = { .id = CAP_ID_VENDOR, .len = CAP_BYTES,
				.type = (uint8_t)type, .offset = offset,
				.length = length, .extra = extra };

	if (type == CAP_NOTIFY || type == CAP_PCI)
		c.len = CAP_EXTRA_BYTES;
	return pci_fn_cap(&v->fn, &c, c.len);
}

static void add_caps(struct vpci *v)
{
	struct {
		uint8_t id, link;
		uint16_t control;
		uint32_t table, pba;
	} m = { .id = CAP_ID_MSIX, .control = (uint16_t)(v->msix.n - 1),
		.table = VPCI_TABLE, .pba = VPCI_PBA };

	v->msix_cap = pci_fn_cap(&v->fn, &m, sizeof(m));
	v->fn.writable[v->msix_cap + 3] = (MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK) >> 8;
	add_cap(v, CAP_COMMON, VPCI_COMMON, COMMON_BYTES, 0);
	add_cap(v, CAP_ISR, VPCI_ISR, 1, 0);
	add_cap(v, CAP_DEVICE, VPCI_DEVICE, VPCI_DEVICE_BYTES, 0);
	add_cap(v, CAP_NOTIFY, VPCI_NOTIFY, v->dev->n_queues * VPCI_NOTIFY_STEP,
		VPCI_NOTIFY_STEP);
	v->cfg_cap = add_cap(v, CAP_PCI, 0, 0, 0);
	v->fn.writable[v->cfg_cap + 4] = 0xff;			/* bar */
	memset(v->fn.writable + v->cfg_cap + 8, 0xff, 12);	/* offset, length, data */
}

/* The driver notified a queue. */
static void on_kick(void *arg, uint32_t events)
{
	struct vpci_kick *k = arg;
	struct virtio_dev *d = k->vpci->dev;
	const struct virtq *q = &d->q[k->queue];
	eventfd_t n;

	(void)events;
	pthread_mutex_lock(&d->lock);
	if (!k->lent && !eventfd_read(k->fd, &n)) {
		uint16_t before = q->s.next_avail;

		d->count.kicks++;
		if (d->running && q->s.enabled && !q->broken)
			d->ops->kick(d, k->queue);
		batch_round((uint16_t)(q->s.next_avail - before));
	}
	pthread_mutex_unlock(&d->lock);
}

/* struct virtio_dev's way to raise a vector; also with the device's lock held. */
static void interrupt(void *transport, uint16_t vector)
{
	struct vpci *v = transport;

	atomic_fetch_or(&v->isr, vector == v->dev->s.config_vector ? 2u : 1u);
	msix_raise(&v->msix, vector);
}

/* struct virtio_dev's way to have the kernel serve a queue. */
static int lend(void *transport, uint16_t q, int call_fd)
{
	struct vpci *v = transport;
	struct vpci_kick *k = &v->kick[q];
	int rc;

	if (k->lent)
		return -EBUSY;
	rc = msix_wire(&v->msix, q, call_fd, v->dev->q[q].s.vector);
	if (rc < 0)
		return rc;
	k->lent = true;
	loop_mod(k->src, 0);
	return k->fd;
}

static void take_back(void *transport, uint16_t q)
{
	struct vpci *v = transport;
	struct vpci_kick *k = &v->kick[q];

	if (!k->lent)
		return;
	k->lent = false;
	msix_unwire(&v->msix, q);
	loop_mod(k->src, EPOLLIN);
}

static int add_kicks(struct vpci *v, struct err *e)
{
	uint16_t i;

	for (i = 0; i < v->dev->n_queues; i++) {
		struct vpci_kick *k = &v->kick[i];
		int rc;

		k->vpci = v;
		k->queue = i;
		k->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (k->fd < 0)
			return err_sys(e, "eventfd");
		rc = loop_add(v->dev->loop, k->fd, EPOLLIN, on_kick, k, &k->src, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void drop_kicks(struct vpci *v)
{
	int i;

	for (i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		loop_del(v->kick[i].src);
		fd_close(&v->kick[i].fd);
	}
}

/**
 * vpci_new() - make a PCI function of a virtio device
 * @d:    taken over on success
 * @host: borrowed
 * @ret:  owned by the caller; put it on the bus with pci_add()
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 */
int vpci_new(struct virtio_dev *d, const struct vpci_host *host, struct vpci **ret,
	     struct err *e)
{
	struct vpci *v = mem_new(struct vpci);
	int rc, i;

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++)
		v->kick[i].fd = -1;
	v->dev = d;
	v->host = host;
	rc = msix_init(&v->msix, d->vectors, host->irq, host->arg);
	if (rc < 0) {
		free(v);
		return err_set(e, -rc, "pthread_mutex_init");
	}
	pci_fn_init(&v->fn, &fn_ops, VENDOR, (uint16_t)(DEVICE_BASE + d->ops->device_id),
		    d->ops->pci_class, REVISION, VPCI_BAR_BYTES);
	add_caps(v);
	rc = add_kicks(v, e);
	if (rc < 0) {
		drop_kicks(v);
		msix_done(&v->msix);
		free(v);
		return rc;
	}
	d->interrupt = interrupt;
	d->lend = lend;
	d->take_back = take_back;
	d->transport = v;
	*ret = v;
	return 0;
}

/*
 * Counts lent queues, and their kicks: vhost waits for signals and leaves their
 * number in the eventfd. Lock held.
 */
static uint32_t count_lent(struct vpci *v)
{
	uint32_t lent = 0;
	eventfd_t n;
	uint16_t i;

	for (i = 0; i < v->dev->n_queues; i++) {
		if (!v->kick[i].lent)
			continue;
		lent++;
		if (!eventfd_read(v->kick[i].fd, &n))
			v->dev->count.kicks += n;
	}
	return lent;
}

/**
 * vpci_count() - name, kind and counters of the device
 * Context: any thread
 */
void vpci_count(struct vpci *v, struct vmm_device *ret)
{
	struct virtio_dev *d = v->dev;
	uint16_t i;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->kind, sizeof(ret->kind), "%s", d->ops->name);
	snprintf(ret->name, sizeof(ret->name), "%s", v->name);
	pthread_mutex_lock(&d->lock);
	ret->kernel_queues = count_lent(v);
	ret->status = d->s.status;
	ret->queues = d->n_queues;
	ret->kicks = d->count.kicks;
	ret->interrupts = d->count.interrupts;
	ret->resets = d->count.resets;
	ret->broken = d->count.broken;
	for (i = 0; i < d->n_queues; i++) {
		ret->requests += d->q[i].count.requests;
		ret->in_bytes += d->q[i].count.in_bytes;
		ret->out_bytes += d->q[i].count.out_bytes;
	}
	pthread_mutex_unlock(&d->lock);
}

/**
 * vpci_in_use() - whether a driver holds the device, or has not let go of it wholly
 *
 * Linux acknowledges a device anew when its driver has gone.
 *
 * Context: any thread
 */
bool vpci_in_use(struct vpci *v)
{
	bool used;

	pthread_mutex_lock(&v->dev->lock);
	used = v->dev->s.status & ~STATUS_ACKNOWLEDGE;
	pthread_mutex_unlock(&v->dev->lock);
	return used;
}

/**
 * vpci_unbind() - give the addresses of its notifications back to the machine
 *
 * For a machine that goes on without the device; its end needs none of it.
 *
 * Context: I/O thread, before vpci_free(); waits for running vCPUs
 */
void vpci_unbind(struct vpci *v)
{
	int i;

	for (i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		struct vpci_kick *k = &v->kick[i];

		if (k->bound)
			v->host->bind(v->host->arg, k->bound, k->fd, false);
		k->bound = 0;
	}
}

/**
 * vpci_free() - end a function and its device; NULL is fine
 * Context: I/O thread; no vCPU runs any more
 */
void vpci_free(struct vpci *v)
{
	if (!v)
		return;
	pthread_mutex_lock(&v->dev->lock);
	v->dev->ops->stop(v->dev);
	v->dev->running = false;
	pthread_mutex_unlock(&v->dev->lock);
	v->dev->ops->free(v->dev);
	drop_kicks(v);
	msix_done(&v->msix);
	free(v);
}
