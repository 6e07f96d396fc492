// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * MSI-X of one function (PCI 3.0, section 6.8.2). A vector that is raised
 * while it, or the function, is masked becomes pending and is delivered when
 * it is unmasked.
 *
 * Delivery is one call with address and data, KVM_SIGNAL_MSI in vmm/kvm.c, and
 * not an irqfd, where a thread of this process raises the interrupt: an eventfd
 * write and this ioctl cost the same, while irqfds need a KVM_SET_GSI_ROUTING for
 * each change of a table entry, a descriptor per vector, and a wait for all
 * running vCPUs when a device is plugged.
 *
 * Where the kernel raises it (vhost), an eventfd is wired to a line whose message
 * is that of a vector. The wire follows the table: while the vector or the
 * function is masked, or MSI-X is off, the line is not connected, and what is
 * signalled stays in the eventfd, which is the pending bit; connecting it again
 * delivers that.
 *
 * What the guest wrote as an address is data: only the local APICs' range
 * (Intel SDM 3A, 10.11.1) is delivered, anything else is dropped.
 */
#include "vmm/irq.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "lib/log.h"
#include "vmm/metrics.h"

#define ENTRY_MASKED 1u
#define MSI_BASE 0xfee00000u
#define MSI_BASE_MASK 0xfff00000u

/**
 * msix_init() - all vectors masked, disabled
 * @n: at most MSIX_VECTORS_MAX
 *
 * Return: 0 or minus errno
 */
int msix_init(struct msix *m, uint16_t n, const struct irq_ops *ops, void *arg)
{
	uint16_t i;

	memset(m, 0, sizeof(*m));
	m->n = n;
	m->ops = ops;
	m->arg = arg;
	for (i = 0; i < n; i++)
		m->s.entry[i].control = ENTRY_MASKED;
	for (i = 0; i < MSIX_VECTORS_MAX; i++)
		m->wire[i].fd = -1;
	return -pthread_mutex_init(&m->lock, NULL);
}

/**
 * msix_done() - undo msix_init()
 */
void msix_done(struct msix *m)
{
	pthread_mutex_destroy(&m->lock);
}

/* Whether a message reaches the local APICs. */
static bool is_msi(const struct msix_entry *t)
{
	return !t->address_hi && (t->address_lo & MSI_BASE_MASK) == MSI_BASE;
}

/* Under @lock. */
static void deliver(struct msix *m, uint16_t v)
{
	const struct msix_entry *t = &m->s.entry[v];

	if (is_msi(t))
		m->ops->msi(m->arg, t->address_lo, t->data);
}

static bool masked(const struct msix *m, uint16_t v)
{
	return (m->s.control & MSIX_CONTROL_MASK) || (m->s.entry[v].control & ENTRY_MASKED);
}

/* Connects a wire's line, or not, as its vector says now. Under @lock. */
static void follow(struct msix *m, struct msix_wire *w)
{
	const struct msix_entry *t = w->vector < m->n ? &m->s.entry[w->vector] : NULL;
	bool want = t && (m->s.control & MSIX_CONTROL_ENABLE) && !masked(m, w->vector) &&
		    is_msi(t);
	int rc;

	if (want && w->on && w->address == t->address_lo && w->data == t->data)
		return;
	if (!want) {
		if (w->on)
			m->ops->unwire(m->arg, w->line, w->fd);
		w->on = false;
		return;
	}
	rc = m->ops->wire(m->arg, w->line, w->fd, t->address_lo, t->data);
	if (rc < 0 && metrics_may_log())
		log_error("vmm: MSI-X vector %u: its interrupts are lost: %s", w->vector,
			  strerror(-rc));
	w->on = rc >= 0;
	w->address = t->address_lo;
	w->data = t->data;
}

/* Delivers what was pending and is not masked any more. Under @lock. */
static void flush(struct msix *m)
{
	uint16_t v;

	for (v = 0; v < MSIX_VECTORS_MAX; v++)
		if (m->wire[v].fd >= 0)
			follow(m, &m->wire[v]);
	if (!(m->s.control & MSIX_CONTROL_ENABLE))
		return;
	for (v = 0; m->s.pending && v < m->n; v++) {
		if (!(m->s.pending & 1u << v) || masked(m, v))
			continue;
		m->s.pending &= ~(1u << v);
		deliver(m, v);
	}
}

/**
 * msix_control() - the guest wrote message control
 */
void msix_control(struct msix *m, uint16_t control)
{
	pthread_mutex_lock(&m->lock);
	m->s.control = control & (MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK);
	flush(m);
	pthread_mutex_unlock(&m->lock);
}

/**
 * msix_raise() - deliver a vector, now or when it is unmasked
 * @vector: one out of range, or any while MSI-X is disabled, is dropped
 */
void msix_raise(struct msix *m, uint16_t vector)
{
	if (vector >= m->n)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->s.control & MSIX_CONTROL_ENABLE) {
		if (masked(m, vector))
			m->s.pending |= 1u << vector;
		else
			deliver(m, vector);
	}
	pthread_mutex_unlock(&m->lock);
}

/**
 * msix_wire() - let an eventfd raise a vector
 * @which:  a number below MSIX_VECTORS_MAX that has no wire
 * @fd:     borrowed until msix_unwire()
 * @vector: one out of range raises nothing
 *
 * Return: 0; -ENOTSUP where there are no lines; minus errno
 * Context: any thread; may wait for the kernel
 */
int msix_wire(struct msix *m, uint16_t which, int fd, uint16_t vector)
{
	struct msix_wire *w = &m->wire[which];
	int line = m->ops->line_get ? m->ops->line_get(m->arg) : -ENOTSUP;

	if (line < 0)
		return line;
	pthread_mutex_lock(&m->lock);
	*w = (struct msix_wire){ .fd = fd, .line = line, .vector = vector };
	follow(m, w);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/**
 * msix_rewire() - a wire raises another vector from now on
 * @which: one without a wire is fine
 */
void msix_rewire(struct msix *m, uint16_t which, uint16_t vector)
{
	struct msix_wire *w = &m->wire[which];

	pthread_mutex_lock(&m->lock);
	if (w->fd >= 0 && w->vector != vector) {
		w->vector = vector;
		follow(m, w);
	}
	pthread_mutex_unlock(&m->lock);
}

/**
 * msix_unwire() - undo msix_wire(); twice is fine
 */
void msix_unwire(struct msix *m, uint16_t which)
{
	struct msix_wire *w = &m->wire[which];

	pthread_mutex_lock(&m->lock);
	if (w->fd >= 0) {
		if (w->on)
			m->ops->unwire(m->arg, w->line, w->fd);
		m->ops->line_put(m->arg, w->line);
		w->fd = -1;
	}
	pthread_mutex_unlock(&m->lock);
}

/* Vectors whose wires were signalled and are not connected. Under @lock. */
static uint64_t wires_pending(const struct msix *m)
{
	uint64_t bits = 0;
	uint16_t i;

	for (i = 0; i < MSIX_VECTORS_MAX; i++) {
		const struct msix_wire *w = &m->wire[i];
		struct pollfd p = { .fd = w->fd, .events = POLLIN };

		if (w->fd >= 0 && !w->on && w->vector < m->n && poll(&p, 1, 0) == 1)
			bits |= 1ull << w->vector;
	}
	return bits;
}

/**
 * msix_reset_pending() - the device was reset: what it had to say is void
 */
void msix_reset_pending(struct msix *m)
{
	pthread_mutex_lock(&m->lock);
	m->s.pending = 0;
	pthread_mutex_unlock(&m->lock);
}

/* Only whole, aligned 4- and 8-byte accesses are defined (section 6.8.2). */
static bool defined(const struct msix *m, uint32_t offset, uint32_t len)
{
	return (len == 4 || len == 8) && !(offset % len) &&
	       offset < (uint32_t)m->n * MSIX_ENTRY_BYTES;
}

/**
 * msix_table_read() - the guest reads the table
 * @offset: bytes; what is not defined reads as zeros
 */
void msix_table_read(struct msix *m, uint32_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
	if (!defined(m, offset, len))
		return;
	pthread_mutex_lock(&m->lock);
	memcpy(data, (const uint8_t *)m->s.entry + offset, len);
	pthread_mutex_unlock(&m->lock);
}

/**
 * msix_table_write() - the guest writes the table; what is not defined is dropped
 */
void msix_table_write(struct msix *m, uint32_t offset, const void *data,
		      uint32_t len)
{
	struct msix_entry *t;

	if (!defined(m, offset, len))
		return;
	pthread_mutex_lock(&m->lock);
	memcpy((uint8_t *)m->s.entry + offset, data, len);
	t = &m->s.entry[offset / MSIX_ENTRY_BYTES];
	t->control &= ENTRY_MASKED;
	t->address_lo &= ~3u;
	flush(m);
	pthread_mutex_unlock(&m->lock);
}

/**
 * msix_pba_read() - the guest reads the pending bits
 */
void msix_pba_read(struct msix *m, uint32_t offset, void *data, uint32_t len)
{
	uint64_t bits;

	memset(data, 0, len);
	if ((len != 4 && len != 8) || offset % len || offset >= 8)
		return;
	pthread_mutex_lock(&m->lock);
	bits = m->s.pending | wires_pending(m);
	pthread_mutex_unlock(&m->lock);
	memcpy(data, (const uint8_t *)&bits + offset, len);
}
