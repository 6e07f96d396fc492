// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of virtio-mem: requests, and buffers in blocks that are plugged and unplugged
 * meanwhile, and a host that asks for sizes in between. A find is also more plugged than
 * was ever allowed, a device that counts other blocks than there are, and a piece of the
 * region that becomes the guest's twice, or is no piece of it.
 */
#include <linux/virtio_mem.h>
#include <stdlib.h>

#include "lib/mem.h"
#include "tests/fuzz/drive.h"
#include "vmm/vmm.h"

#define HOTPLUG_BYTES VMM_HOTPLUG_STEP_BYTES

/* Longer than a pause of the device. */
#define WAIT_MS 12

/* What was allowed at some time, which is what may be plugged. */
static uint64_t allowed;

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

static void compose(struct drive *t, struct message *m)
{
	static const uint16_t types[] = { VIRTIO_MEM_REQ_PLUG, VIRTIO_MEM_REQ_UNPLUG,
					  VIRTIO_MEM_REQ_UNPLUG_ALL, VIRTIO_MEM_REQ_STATE };
	struct virtio_mem_req r = { .type = types[fuzz_take(&t->in, 1) % ARRAY_LEN(types)] };

	r.u.plug.addr = t->mem.hot.r.gpa + fuzz_take(&t->in, 1) % 80 * GMEM_BLOCK_MIN_BYTES;
	r.u.plug.nb_blocks = (uint16_t)(fuzz_take(&t->in, 1) % 80);
	m->in_len = sizeof(struct virtio_mem_resp);
	if (fuzz_odd(&t->in))
		fuzz_take_bytes(&t->in, &r, sizeof(r));
	if (fuzz_odd(&t->in))
		m->in_len = fuzz_take(&t->in, 1);
	message_add(m, &r, fuzz_odd(&t->in) ? fuzz_take(&t->in, 1) % sizeof(r) : sizeof(r));
}

static void check(struct drive *t, struct virtio_dev *d)
{
	struct vmm_memory s = { 0 };

	vmem_state(d, &s);
	if (s.plugged > allowed || s.requested > HOTPLUG_BYTES ||
	    s.plugged != gmem_hot_count(&t->mem, 0, t->mem.hot.n) * s.block_bytes)
		abort();
}

static void back_end(struct drive *t, struct virtio_dev *d, uint8_t what)
{
	uint64_t bytes;
	struct err e;

	if (what & 1) {
		bytes = fuzz_take(&t->in, 1) % 80 * GMEM_BLOCK_MIN_BYTES + fuzz_odd(&t->in);
		if (!vmem_target(d, bytes, &e) && bytes > allowed)
			allowed = bytes;
	} else if (what & 2) {
		gmem_hot_sweep(&t->mem);
	} else {
		drive_wait(t, WAIT_MS);
	}
}

/**
 * LLVMFuzzerTestOneInput() - a life of a device
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive t = { .hotplug_bytes = HOTPLUG_BYTES, .compose = compose,
			   .back_end = back_end, .check = check };
	struct virtio_dev *d;
	struct err e;

	allowed = pieces = 0;
	drive_begin(&t, data, size);
	if (vmem_new(&t.mem, map_piece, &t.mem, t.loop, &d, &e) < 0)
		abort();
	drive_run(&t, d);
	drive_end(&t);
	return 0;
}
