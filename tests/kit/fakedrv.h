/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_FAKEDRV_H
#define TESTS_KIT_FAKEDRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/loop.h"
#include "vmm/gmem.h"
#include "vmm/virtio/virtio.h"

/* The guest's RAM: below the hole, and this much above it. */
#define FAKEDRV_HIGH_BYTES (2ull << 20)

#define FAKE_F_INDIRECT (1ull << 28)
#define FAKE_F_EVENT_IDX (1ull << 29)
#define FAKE_F_VERSION_1 (1ull << 32)

/**
 * struct fakebuf - one buffer of a request
 */
struct fakebuf {
	uint64_t gpa;
	uint32_t len;
	bool in;	/* device-writable */
};

struct fakeq {
	uint16_t size;
	uint64_t desc, avail, used;
	uint16_t avail_idx;	/* next to fill */
	uint16_t seen_used;	/* next to look at */
	bool busy[VIRTQ_SIZE_MAX];
	uint16_t next[VIRTQ_SIZE_MAX];	/* chain of a head, size ends it */
};

/**
 * struct fakedrv - a driver that writes rings into plain guest memory
 * @d:   device under test; NULL where a test drives a bare queue
 * @irq: interrupts by vector; vector n belongs to queue n
 * @off: bit n: queue n is left out by fakedrv_attach()
 * @lends: the transport lends queues to the kernel
 * @kick_fd, @call_fd: by queue, where it is lent; @call_fd is -1 where not
 */
struct fakedrv {
	struct gmem mem;
	struct loop *loop;
	struct virtio_dev *d;
	struct fakeq q[VIRTIO_QUEUES_MAX];
	uint64_t brk;
	unsigned int irq[VIRTIO_QUEUES_MAX + 1];
	uint32_t off;
	bool lends;
	int kick_fd[VIRTIO_QUEUES_MAX], call_fd[VIRTIO_QUEUES_MAX];
};

void fakedrv_init(struct fakedrv *f);
void fakedrv_done(struct fakedrv *f);
void fakedrv_ring(struct fakedrv *f, uint16_t q, uint16_t size,
		  struct virtq_state *ret);
void fakedrv_attach(struct fakedrv *f, struct virtio_dev *d, uint64_t features,
		    uint16_t size);
void fakedrv_reset(struct fakedrv *f);
bool fakedrv_is_broken(struct fakedrv *f);
uint64_t fakedrv_alloc(struct fakedrv *f, uint64_t len);
void *fakedrv_ptr(struct fakedrv *f, uint64_t gpa, uint64_t len);
void fakedrv_desc(struct fakedrv *f, uint16_t q, uint16_t i, uint64_t gpa,
		  uint32_t len, uint16_t flags, uint16_t next);
void fakedrv_avail(struct fakedrv *f, uint16_t q, uint16_t head);
uint16_t fakedrv_add(struct fakedrv *f, uint16_t q, const struct fakebuf *b,
		     size_t n);
void fakedrv_kick(struct fakedrv *f, uint16_t q);
bool fakedrv_used(struct fakedrv *f, uint16_t q, uint32_t *ret_id,
		  uint32_t *ret_len);
void fakedrv_poll(struct fakedrv *f);
bool fakedrv_want(struct fakedrv *f, uint16_t q);
void fakedrv_wait(struct fakedrv *f, uint16_t q);

#endif
