// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * virtio-console (virtio 1.2, section 5.3), one port, output only: the
 * guest's hvc0. What the driver sends goes to a sink, which drops rather than
 * blocks and which is finite. Receive buffers are accepted and never used:
 * there is no input. No more than CHAIN_BYTES of a request are looked at, and
 * after BUDGET_CHAINS requests the device pauses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "vmm/sink.h"
#include "vmm/virtio/pace.h"
#include "vmm/virtio/virtio.h"

#define DEVICE_ID 3
#define PCI_CLASS 0x078000	/* other communication device */
#define QUEUE_TX 1
#define CHAIN_BYTES 65536u
#define PIECE_BYTES 1024u
#define BUDGET_CHAINS 128
#define PAUSE_MS 1

struct console {
	struct virtio_dev dev;
	struct sink sink;
	struct pace pace;
};

/* cols, rows, max_nr_ports, emerg_wr: none of them is offered. */
static void config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	(void)d;
	(void)offset;
	memset(buf, 0, len);
}

static void start(struct virtio_dev *d)
{
	(void)d;
}

static bool stop(struct virtio_dev *d)
{
	(void)d;
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
}

static void kick(struct virtio_dev *d, uint16_t qi)
{
	struct console *t = (struct console *)d;
	struct virtq *q = &d->q[qi];
	struct virtq_chain c;
	int rc = 0, left = BUDGET_CHAINS;
	struct err e;

	if (qi != QUEUE_TX)
		return;
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
		virtio_broken(d, e.text);
	else if (!left)
		pace_later(&t->pace, PAUSE_MS);
	virtio_notify(d, qi);
}

static void console_free(struct virtio_dev *d)
{
	struct console *t = (struct console *)d;

	pace_done(&t->pace);
	sink_done(&t->sink);
	pthread_mutex_destroy(&d->lock);
	free(t);
}

static const struct virtio_ops ops = {
	.name = "console",
	.device_id = DEVICE_ID,
	.pci_class = PCI_CLASS,
	.n_queues = 2,
	.config_read = config_read,
	.start = start,
	.stop = stop,
	.kick = kick,
	.free = console_free,
};

/**
 * console_new() - the guest's hvc0
 * @out_fd: file or pipe; taken over on success
 * @ret:    owned by the caller
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 *
 * #syscalls poll write timerfd_settime
 */
int console_new(int out_fd, const struct gmem *mem, struct loop *loop,
		struct virtio_dev **ret, struct err *e)
{
	struct console *t = mem_new(struct console);
	int rc;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	rc = virtio_init(&t->dev, &ops, 0, mem, loop);
	if (rc < 0) {
		free(t);
		return err_set(e, -rc, "console");
	}
	rc = pace_init(&t->pace, &t->dev, QUEUE_TX, e);
	if (rc < 0) {
		pthread_mutex_destroy(&t->dev.lock);
		free(t);
		return rc;
	}
	t->sink.fd = out_fd;
	*ret = &t->dev;
	return 0;
}
