/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_QUEUE_H
#define VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/gmem.h"

/* Largest ring that we offer; also the longest chain, indirect or not. */
#define VIRTQ_SIZE_MAX 256

/* MSI-X vector of a queue that has none (virtio 1.2, section 4.1.5.1.2). */
#define VIRTQ_NO_VECTOR 0xffff

/**
 * struct virtq_state - what a snapshot of a queue holds; set through virtio/pci.c
 * @desc, @avail, @used: guest physical addresses of the ring's parts
 * @size:       entries, a power of two, at most VIRTQ_SIZE_MAX
 * @enabled:    0 or 1
 * @vector:     MSI-X vector or VIRTQ_NO_VECTOR
 * @next_avail: free-running index of the next head to take
 * @next_used:  free-running index of the next used entry to write
 */
struct virtq_state {
	uint64_t desc, avail, used;
	uint16_t size;
	uint16_t enabled;
	uint16_t vector;
	uint16_t next_avail;
	uint16_t next_used;
};

/**
 * struct virtq_count - what went through a queue since it was made
 * @requests:  that were given back
 * @in_bytes:  that the device wrote for the guest
 * @out_bytes: that the device took from the guest; counted by the device, since
 *             headers are not among them
 */
struct virtq_count {
	uint64_t requests, in_bytes, out_bytes;
};

/**
 * struct virtq - a split virtqueue (virtio 1.2, section 2.7)
 * @s:         state
 * @mem:       borrowed
 * @event_idx: VIRTIO_F_EVENT_IDX was negotiated
 * @broken:    the driver broke a rule: nothing is taken any more until reset
 * @desc_hva, @avail_hva, @used_hva: checked whole spans, valid while enabled
 * @in_flight: one bit per head that the device holds
 * @signalled: used index at the last interrupt, for EVENT_IDX
 * @count:     outlives a reset
 */
struct virtq {
	struct virtq_state s;
	const struct gmem *mem;
	bool event_idx;
	bool broken;
	void *desc_hva, *avail_hva, *used_hva;
	uint64_t in_flight[VIRTQ_SIZE_MAX / 64];
	uint16_t signalled;
	bool signalled_valid;
	struct virtq_count count;
};

/**
 * struct virtq_chain - one request, copied out of the rings and checked
 * @head:  index of its first descriptor, for virtq_push()
 * @out:   device-readable buffers, host addresses
 * @in:    device-writable buffers, host addresses
 * @out_bytes, @in_bytes: their sums
 */
struct virtq_chain {
	uint16_t head;
	uint16_t n_out, n_in;
	struct iovec out[VIRTQ_SIZE_MAX];
	struct iovec in[VIRTQ_SIZE_MAX];
	uint64_t out_bytes, in_bytes;
};

int virtq_start(struct virtq *q, const struct gmem *mem, bool event_idx,
		struct err *e);
void virtq_reset(struct virtq *q);
void virtq_resume(struct virtq *q);
int virtq_pop(struct virtq *q, struct virtq_chain *ret, struct err *e);
int virtq_take(struct virtq *q, struct virtq_chain *ret, struct err *e);
int virtq_push(struct virtq *q, uint16_t head, uint32_t written);
int virtq_push_batch(struct virtq *q, const uint16_t *heads,
		     const uint32_t *written, uint16_t n);
void virtq_unpop(struct virtq *q, const struct virtq_chain *c);
bool virtq_should_notify(struct virtq *q);
bool virtq_enable_kicks(struct virtq *q);
void virtq_disable_kicks(struct virtq *q);

size_t chain_read(const struct virtq_chain *c, size_t offset, void *dst,
		  size_t len);
size_t chain_write(const struct virtq_chain *c, size_t offset, const void *src,
		   size_t len);
size_t iov_trim(struct iovec *v, size_t n, uint64_t skip, uint64_t len);

#endif
