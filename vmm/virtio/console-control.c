// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Control messages of a console with several ports (virtio 1.2, section 5.3.6.2).
 * The driver says that it is ready and is told of each port; it says that a port is
 * ready and is told whether that is a console, or its name, and that its other
 * end is open; it says when a program opens a port and closes it.
 *
 * What is to be told is a set of bits for each port and no list, so that a driver
 * that asks without reading answers makes nothing grow. It is sent as far as the
 * driver has buffers, one message in each, ports in order and in a port in the
 * order of the bits.
 *
 * Messages of an unknown kind or port are ignored, those that are too short break
 * the device. After BUDGET_MESSAGES it pauses.
 */
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "vmm/metrics.h"
#include "vmm/virtio/console.h"

#define BUDGET_MESSAGES 64
#define PAUSE_MS 1

enum event { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN,
	     PORT_NAME };

struct message {
	uint32_t id;
	uint16_t event;
	uint16_t value;
	char name[VMM_NAME_BYTES];
};

#define HEAD_BYTES 8u
_Static_assert(offsetof(struct message, name) == HEAD_BYTES, "virtio_console_control");

/* The next message for a port. Return: its bytes; 0 for none. */
static size_t compose(const struct console_port *p, struct message *m, uint8_t *ret_bit)
{
	*m = (struct message){ .id = p->id, .value = 1 };
	if (p->s.pending & CONSOLE_ADD) {
		*ret_bit = CONSOLE_ADD;
		m->event = DEVICE_ADD;
	} else if (p->s.pending & CONSOLE_KIND) {
		*ret_bit = CONSOLE_KIND;
		m->event = p->id ? PORT_NAME : CONSOLE_PORT;
		memcpy(m->name, p->name, sizeof(m->name));
		return HEAD_BYTES + (p->id ? strlen(p->name) : 0);
	} else if (p->s.pending & CONSOLE_OPEN) {
		*ret_bit = CONSOLE_OPEN;
		m->event = PORT_OPEN;
		m->value = !p->closed;
	} else {
		return 0;
	}
	return HEAD_BYTES;
}

/* Return: 1 when one was sent, 0 without a buffer, -EPROTO */
static int send_one(struct virtq *q, const struct message *m, size_t len, struct err *e)
{
	struct virtq_chain c;
	int rc = virtq_take(q, &c, e);

	if (rc <= 0)
		return rc;
	if (chain_write(&c, 0, m, len) < len)
		return err_set(e, EPROTO, "a buffer for control messages of less than %zu bytes",
			       len);
	virtq_push(q, c.head, (uint32_t)len);
	return 1;
}

/**
 * console_control_send() - tell the driver what it can take
 */
void console_control_send(struct console *t)
{
	struct virtq *q = &t->dev.q[CONSOLE_CONTROL_RX];
	bool sent = false;
	struct message m;
	struct err e;
	uint8_t bit;
	uint16_t i;
	size_t len;
	int rc = 1;

	for (i = 0; i < t->n_ports && rc > 0; i++) {
		struct console_port *p = &t->port[i];

		while (rc > 0 && (len = compose(p, &m, &bit))) {
			rc = send_one(q, &m, len, &e);
			if (rc <= 0)
				break;
			p->s.pending &= (uint8_t)~bit;
			sent = true;
		}
	}
	if (rc < 0)
		virtio_broken(&t->dev, e.text);
	else if (sent)
		virtio_notify(&t->dev, CONSOLE_CONTROL_RX);
}

static void say_ignored(const struct message *m)
{
	if (metrics_may_log())
		log_warn("vmm: console: message %u for port %u is ignored", m->event, m->id);
}

static void take(struct console *t, const struct message *m)
{
	struct console_port *p = m->id < t->n_ports ? &t->port[m->id] : NULL;
	uint16_t i;

	if (m->event == DEVICE_READY) {
		for (i = 0; m->value && i < t->n_ports; i++)
			t->port[i].s.pending |= CONSOLE_ADD;
	} else if (m->event == PORT_READY && p) {
		if (m->value)
			p->s.pending |= CONSOLE_KIND | CONSOLE_OPEN;
	} else if (m->event == PORT_OPEN && p) {
		/* A console is not opened: it is there. */
		p->s.open = !p->id || m->value;
		console_port_input(p);
	} else {
		say_ignored(m);
	}
}

/**
 * console_control_receive() - take what the driver says
 *
 * #syscalls timerfd_settime
 */
void console_control_receive(struct console *t)
{
	struct virtq *q = &t->dev.q[CONSOLE_CONTROL_TX];
	int rc = 0, left = BUDGET_MESSAGES;
	struct message m;
	struct virtq_chain c;
	struct err e;

	while (left && (rc = virtq_take(q, &c, &e)) > 0) {
		left--;
		if (chain_read(&c, 0, &m, HEAD_BYTES) < HEAD_BYTES) {
			rc = err_set(&e, EPROTO, "a control message of %llu bytes",
				     (unsigned long long)c.out_bytes);
			break;
		}
		virtq_push(q, c.head, 0);
		take(t, &m);
	}
	if (rc < 0) {
		virtio_broken(&t->dev, e.text);
		return;
	}
	if (!left)
		pace_later(&t->control_pace, PAUSE_MS);
	virtio_notify(&t->dev, CONSOLE_CONTROL_TX);
	console_control_send(t);
}
