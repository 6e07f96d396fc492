/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_FAKEBLK_H
#define TESTS_KIT_FAKEBLK_H

#include <linux/virtio_blk.h>

#include "tests/kit/fakedrv.h"
#include "vmm/aio.h"
#include "vmm/vmm.h"

#define FAKEBLK_RAW (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH | \
		     1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)
#define FAKEBLK_RO (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_RO)

#define FAKEBLK_DATA_BYTES (8u << 20)

/**
 * struct fakeblk - a driver of a disk
 * @f:    rings and memory
 * @aio:  owned
 * @host: for blk_new()
 * @hdr, @status: room for one of each request under way, 16 bytes apart
 * @data: FAKEBLK_DATA_BYTES
 */
struct fakeblk {
	struct fakedrv f;
	struct aio *aio;
	struct blk_host host;
	uint64_t hdr, data, status;
};

int fakeblk_file(off_t size);
void fakeblk_init(struct fakeblk *b, bool use_ring);
void fakeblk_done(struct fakeblk *b);
struct virtio_dev *fakeblk_new(struct fakeblk *b, const struct vmm_disk *cfg, int fd);
void fakeblk_refuse(struct fakeblk *b, const struct vmm_disk *cfg, int fd, const char *text);
void fakeblk_header(struct fakeblk *b, unsigned int slot, uint32_t type, uint64_t sector);
void fakeblk_add(struct fakeblk *b, uint16_t q, unsigned int slot, uint32_t type,
		 uint64_t sector, uint64_t data, uint32_t len);
uint8_t fakeblk_status(struct fakeblk *b, unsigned int slot);
void fakeblk_wait(struct fakeblk *b, uint16_t q, uint32_t *ret_len);
int fakeblk_do(struct fakeblk *b, uint32_t type, uint64_t sector, uint32_t len);
uint8_t *fakeblk_mem(struct fakeblk *b, uint32_t len);

#endif
