// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of the balloon: a driver that writes rings, page numbers, ranges,
 * statistics and registers as the input says (tests/fuzz/memdrv.h), and a host that
 * asks for sizes in between. Anything but an answer or NEEDS_RESET is a find: a crash, an
 * access beyond guest memory, a leak, more given back than a balloon can hold.
 */
#include "tests/fuzz/memdrv.h"

enum { STEP_TARGET = STEP_DEVICE, /* bytes u32 */ STEP_STATE, STEPS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void own_step(struct memdrv *m, uint64_t kind)
{
	struct vmm_memory s = { 0 };
	struct err e;

	pthread_mutex_unlock(&m->d->lock);
	if (kind == STEP_TARGET)
		balloon_target(m->d, memdrv_take(m, 4), &e);
	balloon_state(m->d, &s);
	pthread_mutex_lock(&m->d->lock);
	if (s.balloon_bytes >= MEMDRV_RAM_BYTES || s.balloon_bytes % 4096 ||
	    s.inflated % 4096 || s.reported % 4096 ||
	    (s.inflated + s.reported) / 4096 < s.discards || s.stats_mask > 0xffff)
		abort();
}

/**
 * LLVMFuzzerTestOneInput() - drive one balloon by one input
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memdrv m = { .p = data, .n = size, .mem = memdrv_memory(0) };
	unsigned int i;
	struct err e;

	if (loop_new(&m.loop, &e) < 0 || balloon_new(true, m.mem, m.loop, &m.d, &e) < 0)
		abort();
	pthread_mutex_lock(&m.d->lock);
	memdrv_attach(&m, UINT64_MAX & ~(1ull << 4));
	for (i = 0; m.n && i < MEMDRV_STEPS; i++) {
		uint64_t kind = memdrv_take(&m, 1) % STEPS;

		if (!memdrv_common(&m, kind))
			own_step(&m, kind);
	}
	m.d->ops->stop(m.d);
	pthread_mutex_unlock(&m.d->lock);
	m.d->ops->free(m.d);
	loop_free(m.loop);
	return 0;
}
