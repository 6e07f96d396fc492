/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Vectors of a function: one per queue and one for its configuration. */
#define MSIX_VECTORS_MAX 32
#define MSIX_ENTRY_BYTES 16

/* Message control (PCI 3.0, section 6.8.2.3). */
#define MSIX_CONTROL_ENABLE 0x8000
#define MSIX_CONTROL_MASK 0x4000

/**
 * struct irq_ops - who delivers a message to the local APICs
 * @msi:      any thread; must not block
 * @line_get: number of a line that nobody has, or minus errno; NULL, as all of the
 *            others are then: there are no lines
 * @line_put: it is free again; nothing is wired to it
 * @wire:     each signal of eventfd @fd sends the message from now on, without us;
 *            what was signalled before is sent at once. May be repeated with
 *            another message. Return: 0 or minus errno
 * @unwire:   signals stay in @fd from now on
 *
 * The last four: any thread; they may wait for the kernel.
 */
struct irq_ops {
	void (*msi)(void *arg, uint64_t address, uint32_t data);
	int (*line_get)(void *arg);
	void (*line_put)(void *arg, int line);
	int (*wire)(void *arg, int line, int fd, uint64_t address, uint32_t data);
	void (*unwire)(void *arg, int line, int fd);
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
 * struct msix_wire - an eventfd that raises a vector without us
 * @fd:     borrowed; -1: not in use
 * @line:   of struct irq_ops
 * @vector: any; one out of range raises nothing
 * @on:     the line is connected: neither masked nor disabled
 * @address, @data: what the line sends
 */
struct msix_wire {
	int fd;
	int line;
	uint16_t vector;
	bool on;
	uint32_t address, data;
};

/**
 * struct msix - MSI-X table and pending bits of one function
 * @s:    state, under @lock
 * @n:    vectors
 * @wire: by number, which is their user's; under @lock
 * @ops, @arg: delivery, borrowed
 * @lock: innermost but for locks inside of @ops
 */
struct msix {
	struct msix_state s;
	uint16_t n;
	struct msix_wire wire[MSIX_VECTORS_MAX];
	const struct irq_ops *ops;
	void *arg;
	pthread_mutex_t lock;
};

int msix_init(struct msix *m, uint16_t n, const struct irq_ops *ops, void *arg);
void msix_done(struct msix *m);
void msix_control(struct msix *m, uint16_t control);
void msix_raise(struct msix *m, uint16_t vector);
int msix_wire(struct msix *m, uint16_t which, int fd, uint16_t vector);
void msix_rewire(struct msix *m, uint16_t which, uint16_t vector);
void msix_unwire(struct msix *m, uint16_t which);
void msix_reset_pending(struct msix *m);
void msix_table_read(struct msix *m, uint32_t offset, void *data, uint32_t len);
void msix_table_write(struct msix *m, uint32_t offset, const void *data, uint32_t len);
void msix_pba_read(struct msix *m, uint32_t offset, void *data, uint32_t len);

#endif
