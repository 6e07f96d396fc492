/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_LIMIT_H
#define VMM_VIRTIO_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "vmm/vmm.h"

/**
 * struct limit_bucket - tokens of one kind
 * @per_s: refill; 0: no limit
 * @burst: most tokens that gather
 * @left:  tokens now; below zero after a request that was larger than what was left
 */
struct limit_bucket {
	uint64_t per_s;
	int64_t burst;
	int64_t left;
};

/**
 * struct limit - how much a device may move; guarded by the device's lock
 * @bytes, @ops: buckets; a request needs both
 * @refilled_ns: CLOCK_MONOTONIC of the latest whole token
 * @waits:       requests that had to wait
 */
struct limit {
	struct limit_bucket bytes, ops;
	uint64_t refilled_ns;
	uint64_t waits;
};

int limit_init(struct limit *l, const struct vmm_limit *cfg, uint64_t now_ns, struct err *e);
uint64_t limit_wait_ms(struct limit *l, uint64_t now_ns);
void limit_take(struct limit *l, uint64_t bytes);
bool limit_is_set(const struct limit *l);
uint64_t limit_now_ns(void);

#endif
