/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_FAKENET_H
#define TESTS_KIT_FAKENET_H

#include <linux/virtio_net.h>

#include "tests/kit/fakedrv.h"

/* Queues of a pair. */
#define FAKENET_RX(pair) ((uint16_t)(2 * (pair)))
#define FAKENET_TX(pair) ((uint16_t)(2 * (pair) + 1))

#define FAKENET_HDR_BYTES 12
/* Datagrams of fakenet_flows(): what they carry, and the whole frame. */
#define FAKENET_PAYLOAD_BYTES 100
#define FAKENET_FRAME_BYTES 142

#define FAKENET_BASE (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | 1ull << VIRTIO_NET_F_MAC)
#define FAKENET_MRG (1ull << VIRTIO_NET_F_MRG_RXBUF)
#define FAKENET_MQ (1ull << VIRTIO_NET_F_MQ | 1ull << VIRTIO_NET_F_CTRL_VQ)

/**
 * struct fakenet - a driver of a network card with several pairs of queues, over a real
 * tap or macvtap
 * @f:    rings and memory
 * @room: guest address of buffers, half a MiB for each queue
 * @wire: packet socket at the other end, owned; -1: none
 */
struct fakenet {
	struct fakedrv f;
	uint64_t room;
	int wire;
};

extern const uint8_t fakenet_mac[6];

void fakenet_init(struct fakenet *k);
void fakenet_open(struct fakenet *k, bool macvtap, int *ret_fds, size_t n);
void fakenet_done(struct fakenet *k);
uint64_t fakenet_buffer(const struct fakenet *k, uint16_t q, uint32_t i);
void fakenet_fill(struct fakenet *k, unsigned int pair, uint32_t n);
void fakenet_host_sends(struct fakenet *k, uint16_t port, size_t payload);
void fakenet_flows(struct fakenet *k, unsigned int n);
void fakenet_guest_sends(struct fakenet *k, unsigned int pair, unsigned int n, size_t payload);
unsigned int fakenet_used(struct fakenet *k, uint16_t q);

#endif
