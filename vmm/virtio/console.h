/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_CONSOLE_H
#define VMM_VIRTIO_CONSOLE_H

#include "vmm/sink.h"
#include "vmm/virtio/pace.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

/* Queues of port 0, then of the control messages, then a pair for each further port. */
#define CONSOLE_RX(id) ((uint16_t)((id) ? 2 * (id) + 2 : 0))
#define CONSOLE_TX(id) ((uint16_t)(CONSOLE_RX(id) + 1))
#define CONSOLE_CONTROL_RX 2
#define CONSOLE_CONTROL_TX 3

/* Ports of a console, hvc0 among them: what VIRTIO_QUEUES_MAX has room for. */
#define CONSOLE_PORTS_MAX 7
_Static_assert(CONSOLE_TX(CONSOLE_PORTS_MAX - 1) < VIRTIO_QUEUES_MAX, "queues of the last port");

struct console;

/**
 * struct console_port_state - what a snapshot of a port holds
 * @open:     the guest reads and writes it
 * @pending:  control messages that wait for a buffer, bits of enum console_pending
 * @out_done: bytes of the oldest request for output that have gone out
 */
struct console_port_state {
	uint8_t open;
	uint8_t pending;
	uint64_t out_done;
};

/* In the order in which they are sent. */
enum console_pending { CONSOLE_ADD = 1, CONSOLE_KIND = 2, CONSOLE_OPEN = 4 };

/**
 * struct console_port - one port; under the device's lock
 * @fd:      stream socket; owned but for port 0, whose sink owns it; -1: no input
 * @src:     owned by the loop, only while there is something to wait for
 * @watched: EPOLL* of @src
 * @starved: no receive buffers since the driver last offered some
 * @blocked: output waits for the socket
 * @in_end:  the other end sends nothing any more
 * @closed:  and takes nothing any more
 */
struct console_port {
	struct console *t;
	uint16_t id;
	char name[VMM_NAME_BYTES];
	struct console_port_state s;
	int fd;
	struct loop_src *src;
	uint32_t watched;
	bool starved, blocked, in_end, closed;
};

/**
 * struct console - the device
 * @sink: output of port 0
 * @pace, @control_pace: pauses of port 0's output and of the driver's messages
 */
struct console {
	struct virtio_dev dev;
	struct sink sink;
	struct pace pace, control_pace;
	struct console_port port[CONSOLE_PORTS_MAX];
	uint16_t n_ports;
};

/* All of these want the device's lock held, on the I/O thread. */
void console_port_input(struct console_port *p);
void console_port_output(struct console_port *p);
void console_port_watch(struct console_port *p);
void console_control_send(struct console *t);
void console_control_receive(struct console *t);

#endif
