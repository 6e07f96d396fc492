/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <pthread.h>
#include <stdint.h>

/* Vectors of a function: one per queue and one for its configuration. */
#define MSIX_VECTORS_MAX 32
#define MSIX_ENTRY_BYTES 16

/* Message control (PCI 3.0, section 6.8.2.3). */
#define MSIX_CONTROL_ENABLE 0x8000
#define MSIX_CONTROL_MASK 0x4000

/**
 * struct irq_ops - who delivers a message to the local APICs
 * @msi: any thread; must not block
 */
struct irq_ops {
	void (*msi)(void *arg, uint64_t address, uint32_t data);
};

struct msix_entry {
	uint32_t address_lo, address_hi, data, control;
};

/**
 * struct msix_state - what a snapshot holds
 * @control: MSIX_CONTROL_* bits that the guest set
 * @pending: one bit per vector
 */
struct msix_state {
	struct msix_entry entry[MSIX_VECTORS_MAX];
	uint16_t control;
	uint32_t pending;
};

/**
 * struct msix - MSI-X table and pending bits of one function
 * @s:    state, under @lock
 * @n:    vectors
 * @ops, @arg: delivery, borrowed
 * @lock: innermost: nothing is taken while it is held
 */
struct msix {
	struct msix_state s;
	uint16_t n;
	const struct irq_ops *ops;
	void *arg;
	pthread_mutex_t lock;
};

int msix_init(struct msix *m, uint16_t n, const struct irq_ops *ops, void *arg);
void msix_done(struct msix *m);
void msix_control(struct msix *m, uint16_t control);
void msix_raise(struct msix *m, uint16_t vector);
void msix_reset_pending(struct msix *m);
void msix_table_read(struct msix *m, uint32_t offset, void *data, uint32_t len);
void msix_table_write(struct msix *m, uint32_t offset, const void *data, uint32_t len);
void msix_pba_read(struct msix *m, uint32_t offset, void *data, uint32_t len);

#endif
