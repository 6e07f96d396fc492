// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * virtio-console (virtio 1.2, section 5.3). Port 0 is the guest's hvc0: what the
 * driver sends goes to a sink, which drops rather than blocks and which is finite.
 * Where that is a stream socket, what comes from it is its input.
 *
 * Further ports have a name and a stream socket each, for both directions and with
 * back-pressure (console-port.c). Only a console that has some offers MULTIPORT
 * and the control queues (console-control.c), so that other machines do not pay for
 * it. They are added before the device is on a bus.
 *
 * The emergency write takes one character from a driver that may not have set up
 * anything yet; it goes to the same sink.
 *
 * No more than CHAIN_BYTES of a request of port 0 are looked at, and after
 * BUDGET_CHAINS requests the device pauses.
 */
#include "vmm/virtio/console.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/virtio/config.h"

#define DEVICE_ID 3
#define PCI_CLASS 0x078000	/* other communication device */
#define F_MULTIPORT (1ull << 1)
#define F_EMERG_WRITE (1ull << 2)
#define CHAIN_BYTES 65536u
#define PIECE_BYTES 1024u
#define BUDGET_CHAINS 128
#define PAUSE_MS 1

/* struct virtio_console_config (section 5.3.4). */
struct config {
	uint16_t cols, rows;
	uint32_t max_nr_ports;
	uint32_t emerg_wr;
};

static void config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	const struct console *t = (const struct console *)d;
	struct config c = { .max_nr_ports = t->n_ports };

	config_copy(&c, sizeof(c), offset, buf, len);
}

static void config_write(struct virtio_dev *d, uint32_t offset, const void *buf, uint32_t len)
{
	struct console *t = (struct console *)d;

	if (offset == offsetof(struct config, emerg_wr) && len <= sizeof(uint32_t))
		sink_write(&t->sink, buf, 1);
}

static void start(struct virtio_dev *d)
{
	(void)d;
}

/* May be a vCPU thread: sources are dropped by their next event. */
static bool stop(struct virtio_dev *d)
{
	struct console *t = (struct console *)d;
	uint16_t i;

	for (i = 0; i < t->n_ports; i++) {
		t->port[i].s = (struct console_port_state){ .open = !i };
		t->port[i].starved = t->port[i].blocked = false;
	}
	return true;
}

static void drain(struct console *t, const struct virtq_chain *c)
{
	uint64_t len = c->out_bytes < CHAIN_BYTES ? c->out_bytes : CHAIN_BYTES;
	uint8_t piece[PIECE_BYTES];
	size_t at = 0;

	while (at < len) {
		size_t n = len - at < sizeof(piece) ? len - at : sizeof(piece);

		n = chain_read(c, at, piece, n);
		if (!n)
			return;
		sink_write(&t->sink, piece, n);
		at += n;
	}
	t->dev.q[CONSOLE_TX(0)].count.out_bytes += len;
}

static void print(struct console *t)
{
	struct virtq *q = &t->dev.q[CONSOLE_TX(0)];
	struct virtq_chain c;
	int rc = 0, left = BUDGET_CHAINS;
	struct err e;

	virtq_disable_kicks(q);
	do {
		while (left && (rc = virtq_pop(q, &c, &e)) > 0) {
			left--;
			drain(t, &c);
			if (virtq_push(q, c.head, 0) < 0)
				break;
		}
	} while (rc >= 0 && left && virtq_enable_kicks(q));
	if (rc < 0)
		virtio_broken(&t->dev, e.text);
	else if (!left)
		pace_later(&t->pace, PAUSE_MS);
	virtio_notify(&t->dev, CONSOLE_TX(0));
}

static void kick_port(struct console *t, uint16_t qi)
{
	struct console_port *p = &t->port[qi < CONSOLE_CONTROL_RX ? 0 : qi / 2 - 1];

	if (qi == CONSOLE_TX(p->id)) {
		console_port_output(p);
		return;
	}
	p->starved = false;
	console_port_input(p);
}

static void kick(struct virtio_dev *d, uint16_t qi)
{
	struct console *t = (struct console *)d;

	if (qi == CONSOLE_TX(0))
		print(t);
	else if (qi >= CONSOLE_CONTROL_RX && !(d->s.acked & F_MULTIPORT))
		return;
	else if (qi == CONSOLE_CONTROL_RX)
		console_control_send(t);
	else if (qi == CONSOLE_CONTROL_TX)
		console_control_receive(t);
	else
		kick_port(t, qi);
}

static void console_free(struct virtio_dev *d)
{
	struct console *t = (struct console *)d;
	uint16_t i;

	for (i = 0; i < t->n_ports; i++) {
		loop_del(t->port[i].src);
		if (i)
			fd_close(&t->port[i].fd);
	}
	pace_done(&t->pace);
	pace_done(&t->control_pace);
	sink_done(&t->sink);
	pthread_mutex_destroy(&d->lock);
	free(t);
}

static const struct virtio_ops ops = {
	.name = "console",
	.device_id = DEVICE_ID,
	.pci_class = PCI_CLASS,
	.one_vector = true,
	.config_read = config_read,
	.config_write = config_write,
	.start = start,
	.stop = stop,
	.kick = kick,
	.free = console_free,
};

static bool is_stream(int fd)
{
	socklen_t len = sizeof(int);
	int type = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_STREAM;
}

static struct console_port *add(struct console *t, const char *name, int fd)
{
	struct console_port *p = &t->port[t->n_ports];

	*p = (struct console_port){ .t = t, .id = t->n_ports, .fd = fd };
	p->s.open = !t->n_ports;
	memcpy(p->name, name, strlen(name) + 1);
	t->n_ports++;
	return p;
}

/**
 * console_new() - the guest's hvc0
 * @out_fd: file or pipe; a stream socket, for input as well; taken over on success
 * @ret:    owned by the caller
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 *
 * #syscalls poll write timerfd_settime
 * #syscalls start: getsockopt timerfd_create
 */
int console_new(int out_fd, const struct gmem *mem, struct loop *loop,
		struct virtio_dev **ret, struct err *e)
{
	struct console *t = mem_new(struct console);
	int rc;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	t->pace.timer = t->control_pace.timer = t->sink.fd = -1;
	rc = virtio_init(&t->dev, &ops, F_EMERG_WRITE, mem, loop);
	if (rc < 0) {
		free(t);
		return err_set(e, -rc, "console");
	}
	virtio_set_queues(&t->dev, 2);
	if ((rc = pace_init(&t->pace, &t->dev, CONSOLE_TX(0), e)) < 0 ||
	    (rc = pace_init(&t->control_pace, &t->dev, CONSOLE_CONTROL_TX, e)) < 0) {
		console_free(&t->dev);
		return rc;
	}
	t->sink.fd = out_fd;
	add(t, "", is_stream(out_fd) ? out_fd : -1);
	*ret = &t->dev;
	return 0;
}

static int check_name(const struct console *t, const char *name, struct err *e)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	uint16_t i;

	if (!memchr(name, 0, VMM_NAME_BYTES) || !*name || name[strspn(name, letters)])
		return err_set(e, EINVAL,
			       "console port: give a name of 1 to %d letters, digits, dots and dashes",
			       VMM_NAME_BYTES - 1);
	for (i = 1; i < t->n_ports; i++)
		if (!strcmp(t->port[i].name, name))
			return err_set(e, EEXIST, "console port %s: there is one of that name", name);
	if (t->n_ports == CONSOLE_PORTS_MAX)
		return err_set(e, ENOSPC, "console port %s: %d are the most", name,
			       CONSOLE_PORTS_MAX - 1);
	return 0;
}

/**
 * console_add_port() - a further port
 * @d:    from console_new(), not on a bus yet
 * @name: the guest finds it as /sys/class/virtio-ports/.../name; VMM_NAME_BYTES of room
 * @fd:   stream socket; taken over on success
 *
 * Return: 0; -EINVAL, -EEXIST, -ENOSPC naming what is wrong
 * Context: I/O thread
 *
 * #syscalls io: getsockopt
 */
int console_add_port(struct virtio_dev *d, const char *name, int fd, struct err *e)
{
	struct console *t = (struct console *)d;
	int rc = check_name(t, name, e);

	if (rc < 0)
		return rc;
	if (!is_stream(fd))
		return err_set(e, EINVAL,
			       "console port %s: not a stream socket; give one end of a socket pair",
			       name);
	add(t, name, fd);
	d->s.offered |= F_MULTIPORT;
	virtio_set_queues(d, (uint16_t)(CONSOLE_TX(t->n_ports - 1) + 1));
	return 0;
}
