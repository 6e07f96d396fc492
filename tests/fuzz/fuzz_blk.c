// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of the disk: a raw file of 1 MiB, with one queue or two; the host shrinks and
 * grows it. Without io_uring, so that an input does the same each time.
 */
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/mem.h"
#include "tests/fuzz/drive.h"
#include "vmm/aio.h"

#define DISK_BYTES (1u << 20)

static int disk = -1;

static void resize(struct drive *t, struct virtio_dev *d, uint8_t what)
{
	(void)t;
	(void)d;
	if (ftruncate(disk, what & 1 ? DISK_BYTES : DISK_BYTES / 2) < 0)
		abort();
}

static void compose(struct drive *t, struct message *m)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
					  VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD,
					  VIRTIO_BLK_T_WRITE_ZEROES };
	struct virtio_blk_outhdr h = { .type = types[fuzz_take(&t->in, 1) % ARRAY_LEN(types)] };
	struct virtio_blk_discard_write_zeroes range = { .flags = 0 };
	uint8_t bytes[DRIVE_MESSAGE_BYTES] = { 0 };
	size_t len = (size_t)fuzz_take(&t->in, 1) % 5 * 512;

	h.sector = fuzz_take(&t->in, fuzz_odd(&t->in) ? 8 : 2);
	if (fuzz_odd(&t->in))
		h.type = (uint32_t)fuzz_take(&t->in, 4);
	if (fuzz_odd(&t->in))
		len += fuzz_take(&t->in, 1);
	m->q = (uint16_t)(fuzz_take(&t->in, 1) % t->v->dev->n_queues);
	message_add(m, &h, sizeof(h));
	m->in_len = 1;
	if (h.type == VIRTIO_BLK_T_IN || h.type == VIRTIO_BLK_T_GET_ID)
		m->in_len += len;
	else if (h.type == VIRTIO_BLK_T_OUT)
		message_add(m, bytes, len);
	for (len = fuzz_take(&t->in, 1) & 3; h.type >= VIRTIO_BLK_T_DISCARD && len; len--) {
		range.sector = fuzz_take(&t->in, fuzz_odd(&t->in) ? 8 : 2);
		range.num_sectors = (uint32_t)fuzz_take(&t->in, fuzz_odd(&t->in) ? 4 : 1);
		range.flags = (uint32_t)fuzz_take(&t->in, 1) & 1;
		message_add(m, &range, sizeof(range));
	}
	if (fuzz_odd(&t->in))
		m->in_len = 0;
}

/**
 * LLVMFuzzerTestOneInput() - a life of a disk; the first byte: bit 0 read-only, bit 1 two queues
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmm_disk cfg = { .serial = "fuzz", .readonly = size && data[0] & 1 };
	struct drive t = { .compose = compose, .back_end = resize };
	struct blk_host host = { .broker_fd = -1, .vcpus = size && data[0] & 2 ? 2 : 1 };
	struct virtio_dev *d;
	struct aio *aio;
	struct err e;

	disk = memfd_create("disk", MFD_CLOEXEC);
	if (disk < 0 || ftruncate(disk, DISK_BYTES) < 0)
		abort();
	drive_begin(&t, data + !!size, size - !!size);
	if (aio_new(t.loop, false, &aio, &e) < 0)
		abort();
	host.mem = &t.mem;
	host.loop = t.loop;
	host.aio = aio;
	if (blk_new(&cfg, disk, &host, &d, &e) < 0)
		abort();
	drive_run(&t, d);
	aio_free(aio);
	drive_end(&t);
	return 0;
}
