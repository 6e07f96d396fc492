// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A transmit-only 8250 at 0x3f8, so that `console=ttyS0` or
 * `earlyprintk=ttyS0` shows what a kernel says before its virtio console works.
 * It is always ready, has no input and no interrupt; each byte costs an exit, so
 * it is for debugging and not for production. Output is written by lines.
 *
 * Source: National Semiconductor PC16550D, table 2.
 */
#include "vmm/serial.h"

#include <stdbool.h>
#include <string.h>

enum reg { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define LCR_DLAB 0x80
#define IIR_NONE 0x01
#define MCR_LOOP 0x10
#define LSR_EMPTY 0x60
#define MSR_READY 0xb0	/* carrier, data set ready, clear to send */

/**
 * serial_init() - a silent port
 * @fd: taken over
 *
 * Return: 0 or minus errno
 */
int serial_init(struct serial *s, int fd)
{
	memset(s, 0, sizeof(*s));
	s->sink.fd = fd;
	return -pthread_mutex_init(&s->lock, NULL);
}

static void flush(struct serial *s)
{
	sink_write(&s->sink, s->line, s->n);
	s->n = 0;
}

/**
 * serial_done() - write out what waits, and close
 */
void serial_done(struct serial *s)
{
	flush(s);
	sink_done(&s->sink);
	pthread_mutex_destroy(&s->lock);
}

/* In loop-back mode the modem lines are what the driver set: RTS, DTR, OUT1, OUT2. */
static uint8_t modem(const struct serial *s)
{
	uint8_t m = s->s.reg[REG_MCR];

	if (!(m & MCR_LOOP))
		return MSR_READY;
	return (uint8_t)((m & 2) << 3 | (m & 1) << 5 | (m & 4) << 4 | (m & 8) << 4);
}

/**
 * serial_read() - the guest reads a register
 * @port: SERIAL_PORT to SERIAL_PORT + SERIAL_PORTS - 1
 */
uint8_t serial_read(struct serial *s, uint16_t port)
{
	unsigned int r = port - SERIAL_PORT;
	uint8_t v;

	pthread_mutex_lock(&s->lock);
	if (r <= REG_IER && (s->s.reg[REG_LCR] & LCR_DLAB))
		v = s->s.divisor[r];
	else if (r == REG_DATA)
		v = 0;
	else if (r == REG_IIR)
		v = IIR_NONE;
	else if (r == REG_LSR)
		v = LSR_EMPTY;
	else if (r == REG_MSR)
		v = modem(s);
	else
		v = s->s.reg[r];
	pthread_mutex_unlock(&s->lock);
	return v;
}

/**
 * serial_write() - the guest writes a register
 */
void serial_write(struct serial *s, uint16_t port, uint8_t v)
{
	unsigned int r = port - SERIAL_PORT;

	pthread_mutex_lock(&s->lock);
	if (r <= REG_IER && (s->s.reg[REG_LCR] & LCR_DLAB)) {
		s->s.divisor[r] = v;
	} else if (r == REG_DATA) {
		s->line[s->n++] = v;
		if (v == '\n' || s->n == sizeof(s->line))
			flush(s);
	} else if (r == REG_IER) {
		s->s.reg[r] = v & 0x0f;
	} else {
		s->s.reg[r] = v;
	}
	pthread_mutex_unlock(&s->lock);
}
