/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_BLK_H
#define VMM_VIRTIO_BLK_H

#include <linux/virtio_blk.h>

#include "vmm/aio.h"
#include "vmm/virtio/limit.h"
#include "vmm/virtio/raw.h"
#include "vmm/virtio/synth.h"
#include "vmm/virtio/virtio.h"

/* Queues of a disk; the guest's driver uses one per vCPU up to this. */
#define BLK_QUEUES_MAX 16

/* Requests of one disk that are under way at a time; the rest waits in its queues. */
#define BLK_DEPTH 128

/*
 * What one operation moves at most: a larger request takes several, so that a
 * copy from the page cache keeps the I/O thread for a bounded time.
 */
#define BLK_PART_BYTES (1u << 20)

/* Ranges of one DISCARD or WRITE_ZEROES request, and sectors of one range. */
#define BLK_RANGES_MAX 16
#define BLK_DISCARD_SECTORS_MAX (1u << 21)
#define BLK_ZEROES_SECTORS_MAX (1u << 15)

/* Buffer of a disk for what is not aligned as O_DIRECT wants it. */
#define BLK_BOUNCE_BYTES (64u << 10)

enum blk_kind { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_CLEAR };

/**
 * struct blk_req - a request under way
 * @op:      first, so that one is the other
 * @next:    in the list of free ones, or of those that wait for the bounce buffer
 * @piece:   of a synthetic disk, that @op reads from
 * @head, @queue: where it came from
 * @status:  VIRTIO_BLK_S_*
 * @tries:   times that the host said "again"
 * @bounce:  its buffers are not aligned as the disk wants them
 * @status_at: in guest memory
 * @used_bytes: that it writes in guest memory, the status included
 * @offset, @left: what of the disk is still to be moved, or to be zeroed, bytes
 * @v, @n:   the guest's buffers for @left
 * @n_part:  of them, that @op has; the last one is shorter by @cut
 * @cut:     bytes
 * @zeroes:  WRITE_ZEROES, else DISCARD
 * @writing: the host cannot make zeros of @range: they are written
 * @sync_due: what was done must still be made safe
 * @range, @n_ranges, @ranges: of @zeroes or DISCARD
 */
struct blk_req {
	struct aio_op op;
	struct blk_req *next;
	struct synth_piece piece;
	uint16_t head, queue;
	enum blk_kind kind;
	uint8_t status;
	uint8_t tries;
	bool bounce, zeroes, writing, sync_due;
	uint8_t *status_at;
	uint64_t used_bytes;
	uint64_t offset, left;
	uint64_t cut;
	uint16_t n, n_part;
	uint16_t range, n_ranges;
	struct virtio_blk_discard_write_zeroes ranges[BLK_RANGES_MAX];
	struct iovec v[VIRTQ_SIZE_MAX];
};

/**
 * struct blk - a disk; all of it is guarded by the device's lock
 * @chain:   that is being taken from a queue
 * @synth:   owned; NULL: raw
 * @fd:      of a raw disk, owned; -1: synthetic
 * @raw:     what is behind @fd
 * @sectors: capacity
 * @aio:     borrowed
 * @user:    of @aio
 * @pool:    BLK_DEPTH requests, owned; memory is used up to the most that were
 *           under way at a time
 * @fresh:   of them, that were never used
 * @free:    of the others
 * @busy:    requests under way
 * @pending: one bit per queue that may have more
 * @turn:    queue that is next
 * @notify:  one bit per queue that had requests given back
 * @limit:   of what the disk may move
 * @timer:   timerfd, owned; -1: there was no limit yet
 * @paused:  until @timer fires
 * @wake:    eventfd, owned: look at the queues
 * @bounce:  BLK_BOUNCE_BYTES, owned; NULL: every buffer is good
 * @bounce_user: request that has it
 * @waiting, @waiting_last: for it
 * @n_logged: failures of the host
 */
struct blk {
	struct virtio_dev d;
	struct virtq_chain chain;
	struct virtio_blk_config config;
	struct synth *synth;
	int fd;
	struct raw raw;
	bool readonly;
	uint64_t sectors;
	char serial[VIRTIO_BLK_ID_BYTES];
	struct aio *aio;
	struct aio_user user;
	struct blk_req *pool, *free;
	unsigned int fresh, busy;
	uint32_t pending, notify;
	uint16_t turn;
	struct limit limit;
	int timer;
	struct loop_src *timer_src;
	bool paused;
	int wake;
	struct loop_src *wake_src;
	uint8_t *bounce;
	struct iovec bounce_v;
	struct blk_req *bounce_user, *waiting, *waiting_last;
	unsigned int n_logged;
};

int blk_pool_init(struct blk *b, struct err *e);
void blk_pool_trim(struct blk *b);
void blk_pool_done(struct blk *b);
bool blk_pool_full(const struct blk *b);
struct blk_req *blk_pool_get(struct blk *b);
void blk_pool_put(struct blk *b, struct blk_req *r);
bool blk_parse(struct blk *b, struct blk_req *r);
uint64_t blk_begin(struct blk *b, uint16_t queue);
bool blk_collect(struct blk *b);

#endif
