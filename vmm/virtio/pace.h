/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_PACE_H
#define VMM_VIRTIO_PACE_H

#include "vmm/virtio/virtio.h"

/**
 * struct pace - a pause in serving a queue, so that one busy queue neither keeps
 * the I/O thread nor costs the host without bound
 * @dev:   borrowed
 * @queue: whose kick is repeated after the pause
 * @timer: timerfd, owned
 * @src:   owned by the loop
 */
struct pace {
	struct virtio_dev *dev;
	uint16_t queue;
	int timer;
	struct loop_src *src;
};

int pace_init(struct pace *p, struct virtio_dev *d, uint16_t queue, struct err *e);
void pace_done(struct pace *p);
void pace_later(struct pace *p, uint64_t ms);

#endif
