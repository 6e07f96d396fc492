// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of virtio-mem: a driver that writes rings, requests and registers as the input
 * says (tests/fuzz/memdrv.h), some of them in blocks that it plugs and unplugs, and a
 * host that asks for sizes in between. Anything but an answer or NEEDS_RESET is a find:
 * a crash, an access beyond guest memory, a leak, more plugged than was allowed, a
 * device that counts other blocks than there are.
 */
#include <linux/virtio_mem.h>

#include "tests/fuzz/memdrv.h"

#define HOTPLUG_BYTES VMM_HOTPLUG_STEP_BYTES

enum {
	STEP_TARGET = STEP_DEVICE,	/* blocks u8 */
	STEP_REQUEST,	/* type u8, block u8, blocks u8: a good one, or almost */
	STEP_SWEEP,
	STEPS
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was allowed at some time, which is what may be plugged. */
static uint64_t allowed;

static void target(struct memdrv *m)
{
	uint64_t bytes = memdrv_take(m, 1) * GMEM_BLOCK_MIN_BYTES;
	struct err e;

	pthread_mutex_unlock(&m->d->lock);
	if (!vmem_target(m->d, bytes, &e) && bytes > allowed)
		allowed = bytes;
	pthread_mutex_lock(&m->d->lock);
}

/* Two descriptors, a request in RAM, and its answer. */
static void request(struct memdrv *m)
{
	struct virtio_mem_req r = { .type = (uint16_t)memdrv_take(m, 1) };
	struct vring_desc d[2] = { { 0x8000, sizeof(r), VRING_DESC_F_NEXT, 1 },
				   { 0x9000, 10, VRING_DESC_F_WRITE, 0 } };
	uint16_t zero = 0;

	r.u.plug.addr = GMEM_HIGH_GPA + memdrv_take(m, 1) * GMEM_BLOCK_MIN_BYTES;
	r.u.plug.nb_blocks = (uint16_t)memdrv_take(m, 1);
	memdrv_put(m, 0x8000, &r, sizeof(r));
	memdrv_put(m, m->d->q[0].s.desc, d, sizeof(d));
	memdrv_put(m, m->d->q[0].s.avail + 4 + 2u * (m->avail[0] % MEMDRV_RING), &zero, 2);
	m->avail[0]++;
	memdrv_put(m, m->d->q[0].s.avail + 2, &m->avail[0], 2);
	if (m->d->running && !m->d->q[0].broken)
		m->d->ops->kick(m->d, 0);
}

static void check(struct memdrv *m)
{
	struct vmm_memory s = { 0 };

	pthread_mutex_unlock(&m->d->lock);
	vmem_state(m->d, &s);
	pthread_mutex_lock(&m->d->lock);
	if (s.plugged > allowed || s.requested > HOTPLUG_BYTES ||
	    s.plugged != gmem_hot_count(m->mem, 0, m->mem->hot.n) * s.block_bytes)
		abort();
}

static void own_step(struct memdrv *m, uint64_t kind)
{
	if (kind == STEP_TARGET)
		target(m);
	else if (kind == STEP_REQUEST)
		request(m);
	else
		gmem_hot_sweep(m->mem);
}

/* Each piece once, inside the region. */
static uint64_t pieces;

static int map_piece(void *arg, uint32_t n, const struct gmem_region *r)
{
	const struct gmem *m = arg;

	if (pieces >> n & 1 || r->gpa < m->hot.r.gpa || !r->len ||
	    r->gpa - m->hot.r.gpa + r->len > m->hot.r.len ||
	    r->hva - m->hot.r.hva != (ptrdiff_t)(r->gpa - m->hot.r.gpa))
		abort();
	pieces |= 1ull << n;
	return 0;
}

/**
 * LLVMFuzzerTestOneInput() - drive one device by one input
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memdrv m = { .p = data, .n = size, .mem = memdrv_memory(HOTPLUG_BYTES) };
	unsigned int i;
	struct err e;

	allowed = pieces = 0;
	if (loop_new(&m.loop, &e) < 0 || vmem_new(m.mem, map_piece, m.mem, m.loop, &m.d, &e) < 0)
		abort();
	pthread_mutex_lock(&m.d->lock);
	memdrv_attach(&m, UINT64_MAX);
	for (i = 0; m.n && i < MEMDRV_STEPS; i++) {
		uint64_t kind = memdrv_take(&m, 1) % STEPS;

		if (!memdrv_common(&m, kind))
			own_step(&m, kind);
		check(&m);
	}
	m.d->ops->stop(m.d);
	pthread_mutex_unlock(&m.d->lock);
	m.d->ops->free(m.d);
	loop_free(m.loop);
	if (gmem_hot_count(m.mem, 0, m.mem->hot.n))
		gmem_hot_unplug(m.mem, 0, m.mem->hot.n);
	gmem_hot_sweep(m.mem);
	return 0;
}
