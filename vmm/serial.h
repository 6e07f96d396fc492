/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SERIAL_H
#define VMM_SERIAL_H

#include <pthread.h>
#include <stdint.h>

#include "vmm/sink.h"

#define SERIAL_PORT 0x3f8
#define SERIAL_PORTS 8

/**
 * struct serial_state - what a snapshot of the port holds
 * @reg:     registers that only keep what was written
 * @divisor: behind DLAB
 */
struct serial_state {
	uint8_t reg[SERIAL_PORTS];
	uint8_t divisor[2];
};

/**
 * struct serial - transmit-only 8250
 * @lock: of everything here
 * @s:    state
 * @sink: where output goes
 * @line, @n: output that waits for its end of line
 */
struct serial {
	pthread_mutex_t lock;
	struct serial_state s;
	struct sink sink;
	uint8_t line[128];
	uint32_t n;
};

int serial_init(struct serial *s, int fd);
void serial_done(struct serial *s);
uint8_t serial_read(struct serial *s, uint16_t port);
void serial_write(struct serial *s, uint16_t port, uint8_t v);

#endif
