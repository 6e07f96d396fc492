/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_MEMDRV_H
#define TESTS_FUZZ_MEMDRV_H

/*
 * DOC: A driver that does what the bytes of an input say
 *
 * An input is a list of steps, one byte for the kind and its operands behind it,
 * little endian; what an input lacks at its end reads as zero. The steps of all devices
 * are here; a device adds its own behind them. Memory is 32 MiB of RAM, and for the
 * device that wants it a region to plug at 4 GiB; rings are in the first MiB unless an
 * input puts them elsewhere.
 */
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "vmm/gmem.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

#define MEMDRV_RAM_BYTES (32ull << 20)
#define MEMDRV_RING 16
#define MEMDRV_STEPS 400

enum memdrv_step {
	STEP_ATTACH,	/* features u8; then queues as usual, DRIVER_OK */
	STEP_DESC,	/* queue u8, index u8, where u8, offset u32, length u32, flags u8, next u8 */
	STEP_AVAIL,	/* queue u8, head u8 */
	STEP_KICK,	/* queue u8 */
	STEP_WRITE,	/* where u8, offset u32, length u8, bytes */
	STEP_STATUS,	/* value u8 */
	STEP_QUEUE,	/* queue u8, size u8, where u8, offset u32: rings one behind the other */
	STEP_CONFIG_READ,	/* offset u16, length u8 */
	STEP_CONFIG_WRITE,	/* offset u16, length u8, value u32 */
	STEP_FEATURES,	/* select u8, value u32 */
	STEP_LOOP,
	STEP_WAIT,	/* as long as a pause of a device */
	STEP_DEVICE,	/* the first one of the device's own */
};

struct memdrv {
	const uint8_t *p;
	size_t n;
	struct gmem *mem;
	struct loop *loop;
	struct virtio_dev *d;
	uint16_t avail[VIRTIO_QUEUES_MAX];
	unsigned int waits;
};

static inline uint64_t memdrv_take(struct memdrv *m, size_t bytes)
{
	uint64_t v = 0;

	if (bytes > m->n)
		bytes = m->n;
	memcpy(&v, m->p, bytes);
	m->p += bytes;
	m->n -= bytes;
	return v;
}

/* Guest addresses at and around what is interesting. */
static inline uint64_t memdrv_gpa(struct memdrv *m)
{
	static const uint64_t base[] = { 0, 1 << 20, MEMDRV_RAM_BYTES - 4096, MEMDRV_RAM_BYTES,
					 GMEM_HIGH_GPA - 4096, GMEM_HIGH_GPA,
					 GMEM_HIGH_GPA + GMEM_BLOCK_MIN_BYTES, UINT64_MAX - 65535 };
	uint64_t where = memdrv_take(m, 1);

	return base[where % (sizeof(base) / sizeof(*base))] + memdrv_take(m, 4);
}

static inline void memdrv_put(struct memdrv *m, uint64_t gpa, const void *p, size_t len)
{
	gmem_write(m->mem, gpa, p, len);
}

static inline void memdrv_queue(struct memdrv *m, uint16_t q, uint16_t size, uint64_t at)
{
	m->d->q[q].s = (struct virtq_state){ .desc = at, .avail = at + 4096, .used = at + 8192,
					     .size = size, .enabled = 1, .vector = q };
	m->avail[q] = 0;
}

static inline void memdrv_attach(struct memdrv *m, uint64_t features)
{
	uint16_t q;

	virtio_status_write(m->d, 0);
	virtio_status_write(m->d, 3);
	virtio_features_write(m->d, 0, (uint32_t)(m->d->s.offered & features));
	virtio_features_write(m->d, 1, 1);
	virtio_status_write(m->d, 11);
	for (q = 0; q < m->d->n_queues; q++) {
		static const uint8_t zero[3 * 4096];

		memdrv_put(m, (q + 1u) * 0x10000u, zero, sizeof(zero));
		memdrv_queue(m, q, MEMDRV_RING, (q + 1u) * 0x10000u);
	}
	virtio_status_write(m->d, 15);
}

static inline void memdrv_desc(struct memdrv *m)
{
	uint64_t q = memdrv_take(m, 1) % m->d->n_queues, i = memdrv_take(m, 1);
	struct vring_desc d = { .addr = memdrv_gpa(m) };

	d.len = (uint32_t)memdrv_take(m, 4);
	d.flags = (uint16_t)memdrv_take(m, 1);
	d.next = (uint16_t)memdrv_take(m, 1);
	memdrv_put(m, m->d->q[q].s.desc + 16 * (i % MEMDRV_RING), &d, sizeof(d));
}

static inline void memdrv_avail(struct memdrv *m)
{
	uint64_t q = memdrv_take(m, 1) % m->d->n_queues;
	uint16_t head = (uint16_t)memdrv_take(m, 1);
	uint64_t at = m->d->q[q].s.avail;

	memdrv_put(m, at + 4 + 2u * (m->avail[q] % MEMDRV_RING), &head, 2);
	m->avail[q]++;
	memdrv_put(m, at + 2, &m->avail[q], 2);
}

static inline void memdrv_write(struct memdrv *m)
{
	uint64_t gpa = memdrv_gpa(m);
	size_t len = memdrv_take(m, 1);

	if (len > m->n)
		len = m->n;
	memdrv_put(m, gpa, m->p, len);
	m->p += len;
	m->n -= len;
}

/* As the transport does: only what a running device has enabled. */
static inline void memdrv_kick(struct memdrv *m)
{
	uint16_t q = (uint16_t)(memdrv_take(m, 1) % m->d->n_queues);

	if (m->d->running && m->d->q[q].s.enabled && !m->d->q[q].broken)
		m->d->ops->kick(m->d, q);
}

static inline void memdrv_config(struct memdrv *m, bool write)
{
	uint32_t offset = (uint32_t)memdrv_take(m, 2), len = (uint32_t)memdrv_take(m, 1) % 9;
	uint8_t buf[8] = { 0 };
	uint64_t v;

	if (!write) {
		m->d->ops->config_read(m->d, offset, buf, len);
		return;
	}
	v = memdrv_take(m, 4);
	memcpy(buf, &v, 8);
	if (m->d->ops->config_write)
		m->d->ops->config_write(m->d, offset, buf, len);
}

static inline void memdrv_loop(struct memdrv *m, int timeout_ms)
{
	int rounds = 0;

	pthread_mutex_unlock(&m->d->lock);
	while (rounds < 8 && loop_step(m->loop, rounds++ ? 0 : timeout_ms, NULL) > 0)
		;
	pthread_mutex_lock(&m->d->lock);
}

/* One step. Return: false if it is one of the device's own, or of nobody */
static inline bool memdrv_common(struct memdrv *m, uint64_t kind)
{
	uint16_t q;

	switch (kind) {
	case STEP_ATTACH:
		memdrv_attach(m, memdrv_take(m, 1) | 3u << 28);
		return true;
	case STEP_DESC:
		memdrv_desc(m);
		return true;
	case STEP_AVAIL:
		memdrv_avail(m);
		return true;
	case STEP_KICK:
		memdrv_kick(m);
		return true;
	case STEP_WRITE:
		memdrv_write(m);
		return true;
	case STEP_STATUS:
		virtio_status_write(m->d, (uint8_t)memdrv_take(m, 1));
		return true;
	case STEP_QUEUE:
		q = (uint16_t)(memdrv_take(m, 1) % m->d->n_queues);
		if (m->d->s.status & 4)
			return true;	/* the transport refuses that */
		memdrv_queue(m, q, (uint16_t)memdrv_take(m, 1), 0);
		m->d->q[q].s.desc = memdrv_gpa(m);
		m->d->q[q].s.avail = m->d->q[q].s.desc + 4096;
		m->d->q[q].s.used = m->d->q[q].s.desc + 8192;
		return true;
	case STEP_CONFIG_READ:
	case STEP_CONFIG_WRITE:
		memdrv_config(m, kind == STEP_CONFIG_WRITE);
		return true;
	case STEP_FEATURES:
		kind = memdrv_take(m, 1);
		virtio_features_write(m->d, (uint32_t)kind, (uint32_t)memdrv_take(m, 4));
		return true;
	case STEP_LOOP:
		memdrv_loop(m, 0);
		return true;
	case STEP_WAIT:
		if (m->waits++ < 2)
			memdrv_loop(m, 12);
		return true;
	default:
		return false;
	}
}

/* Whole memory, once per process. */
static inline struct gmem *memdrv_memory(uint64_t hotplug_bytes)
{
	struct gmem_policy p = { .ram_bytes = MEMDRV_RAM_BYTES, .hotplug_bytes = hotplug_bytes };
	static struct gmem mem;
	struct err e;

	if (!mem.map && gmem_init_policy(&mem, &p, &e) < 0)
		abort();
	log_open(2, LOG_LEVEL_ERROR, false);
	return &mem;
}

#endif
