// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * virtio-rng (virtio 1.2, section 5.4): one queue of buffers to fill from the
 * host's getrandom(2). A buffer gets CHUNK_BYTES at most, which the
 * specification allows, and after BUDGET_BYTES the device pauses, so that a
 * guest that reads without end costs the host about 3 MiB/s and no more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/mem.h"
#include "vmm/virtio/pace.h"
#include "vmm/virtio/virtio.h"

#define DEVICE_ID 4
#define PCI_CLASS 0xff0000	/* unassigned class */
#define CHUNK_BYTES 1024u
#define BUDGET_BYTES (32u << 10)
#define PAUSE_MS 10

struct rng {
	struct virtio_dev dev;
	struct pace pace;
};

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

/* Fills one buffer. Return: bytes. */
static uint32_t fill(const struct virtq_chain *c)
{
	uint8_t bytes[CHUNK_BYTES];
	size_t n = c->in_bytes < sizeof(bytes) ? c->in_bytes : sizeof(bytes);
	ssize_t got = getrandom(bytes, n, 0);

	return got <= 0 ? 0 : (uint32_t)chain_write(c, 0, bytes, (size_t)got);
}

static void kick(struct virtio_dev *d, uint16_t qi)
{
	struct rng *r = (struct rng *)d;
	struct virtq *q = &d->q[qi];
	struct virtq_chain c;
	uint32_t used = 0;
	struct err e;
	int rc = 0;

	virtq_disable_kicks(q);
	do {
		while (used < BUDGET_BYTES && (rc = virtq_pop(q, &c, &e)) > 0) {
			uint32_t n = fill(&c);

			used += n + CHUNK_BYTES / 16;
			if (virtq_push(q, c.head, n) < 0)
				break;
		}
	} while (rc >= 0 && used < BUDGET_BYTES && virtq_enable_kicks(q));
	if (rc < 0)
		virtio_broken(d, e.text);
	else if (used >= BUDGET_BYTES)
		pace_later(&r->pace, PAUSE_MS);
	virtio_notify(d, qi);
}

static void rng_free(struct virtio_dev *d)
{
	struct rng *r = (struct rng *)d;

	pace_done(&r->pace);
	pthread_mutex_destroy(&d->lock);
	free(r);
}

static const struct virtio_ops ops = {
	.name = "rng",
	.device_id = DEVICE_ID,
	.pci_class = PCI_CLASS,
	.n_queues = 1,
	.config_read = config_read,
	.start = start,
	.stop = stop,
	.kick = kick,
	.free = rng_free,
};

/**
 * rng_new() - an entropy device
 * @ret: owned by the caller
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 *
 * #syscalls getrandom timerfd_settime
 */
int rng_new(const struct gmem *mem, struct loop *loop, struct virtio_dev **ret,
	    struct err *e)
{
	struct rng *r = mem_new(struct rng);
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	rc = virtio_init(&r->dev, &ops, 0, mem, loop);
	if (rc < 0) {
		free(r);
		return err_set(e, -rc, "rng");
	}
	rc = pace_init(&r->pace, &r->dev, 0, e);
	if (rc < 0) {
		pthread_mutex_destroy(&r->dev.lock);
		free(r);
		return rc;
	}
	*ret = &r->dev;
	return 0;
}
