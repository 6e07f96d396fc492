/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_VHOST_H
#define VMM_VIRTIO_VHOST_H

#include <stdint.h>

#include "vmm/virtio/queue.h"

enum vhost_ring { VHOST_RX, VHOST_TX, VHOST_RINGS };

/**
 * struct vhost - the kernel's vhost-net for one pair of queues
 * @fd:       /dev/vhost-net, owned; -1: none, or not any more
 * @call:     eventfds that it signals for the driver, by ring; owned
 * @failed:   eventfd that it signals when a ring makes no sense; owned
 * @features: that it knows
 */
struct vhost {
	int fd;
	int call[VHOST_RINGS];
	int failed;
	uint64_t features;
};

int vhost_init(struct vhost *v, int fd, const struct gmem *mem, struct err *e);
void vhost_done(struct vhost *v);
uint64_t vhost_offer(const struct vhost *v, uint64_t features);
int vhost_setup(struct vhost *v, uint64_t acked, const struct gmem *mem, struct err *e);
int vhost_ring(struct vhost *v, enum vhost_ring r, const struct virtq *q, int kick_fd,
	       struct err *e);
int vhost_serve(struct vhost *v, enum vhost_ring r, int tap_fd, struct err *e);
void vhost_stop(struct vhost *v);

#endif
