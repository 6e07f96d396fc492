// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of the balloon: lists of pages, statistics and ranges, and a host that asks for
 * sizes in between. More given back than a balloon can hold is a find, too.
 */
#include <linux/virtio_balloon.h>
#include <stdlib.h>

#include "lib/mem.h"
#include "tests/fuzz/drive.h"
#include "vmm/vmm.h"

/* Longer than a pause of the device. */
#define WAIT_MS 12

enum { INFLATE, DEFLATE, STATS, QUEUES = 5 };

/* Pages from a first one on, each so far from the one before. */
static void compose_pages(struct fuzz *f, struct message *m)
{
	uint32_t pfn = (uint32_t)fuzz_take(f, fuzz_odd(f) ? 4 : 2);
	uint32_t step = (uint32_t)fuzz_take(f, 1), n = (uint32_t)fuzz_take(f, 2) % 1200;

	for (; n; n--, pfn += step)
		message_add(m, &pfn, sizeof(pfn));
}

static void compose_stats(struct fuzz *f, struct message *m)
{
	uint8_t n = (uint8_t)fuzz_take(f, 1);

	for (; n; n--) {
		struct virtio_balloon_stat s = { .tag = (uint16_t)(fuzz_take(f, 1) % 20) };

		s.val = fuzz_take(f, 2);
		message_add(m, &s, sizeof(s));
	}
}

static void compose(struct drive *t, struct message *m)
{
	m->q = (uint16_t)(fuzz_take(&t->in, 1) % QUEUES);
	if (m->q == STATS)
		compose_stats(&t->in, m);
	else if (m->q <= DEFLATE)
		compose_pages(&t->in, m);
	else
		m->in_len = fuzz_take(&t->in, fuzz_odd(&t->in) ? 4 : 2) << 8;
	if (fuzz_odd(&t->in))
		message_add(m, "odd", (size_t)fuzz_take(&t->in, 1) & 3);
	if (fuzz_odd(&t->in))
		m->in_len += fuzz_take(&t->in, 2);
}

static void check(struct drive *t, struct virtio_dev *d)
{
	struct vmm_memory s = { 0 };

	balloon_state(d, &s);
	if (s.balloon_bytes >= gmem_ram_bytes(&t->mem) || s.balloon_bytes % 4096 ||
	    s.inflated % 4096 || s.reported % 4096 ||
	    (s.inflated + s.reported) / 4096 < s.discards || s.stats_mask > 0xffff)
		abort();
}

static void back_end(struct drive *t, struct virtio_dev *d, uint8_t what)
{
	struct err e;

	if (what & 1)
		balloon_target(d, fuzz_take(&t->in, 4) << (what & 2 ? 12 : 0), &e);
	else if (what & 4)
		drive_wait(t, WAIT_MS);
	else
		check(t, d);
}

/**
 * LLVMFuzzerTestOneInput() - a life of a balloon; the first byte: bit 0 no reporting
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive t = { .compose = compose, .back_end = back_end };
	struct virtio_dev *d;
	struct err e;

	drive_begin(&t, data + !!size, size - !!size);
	if (balloon_new(!(size && data[0] & 1), &t.mem, t.loop, &d, &e) < 0)
		abort();
	drive_run(&t, d);
	drive_end(&t);
	return 0;
}
