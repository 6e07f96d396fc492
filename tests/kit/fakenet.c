// SPDX-License-Identifier: Apache-2.0
#include "tests/kit/fakenet.h"

#include <check.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "tests/kit/tap.h"

#define UDP_HEAD_BYTES 42
#define BUFFER_BYTES 2048

const uint8_t fakenet_mac[6] = {2, 0, 0, 0, 0, 1};

/**
 * fakenet_init() - a driver without a device, in a network namespace of its own
 */
void fakenet_init(struct fakenet *k)
{
	kit_tap_netns();
	fakedrv_init(&k->f);
	k->room = fakedrv_alloc(&k->f, 8 << 20);
	k->wire = -1;
}

/**
 * fakenet_open() - open queues of tap0 or mv0, and the other end
 * @macvtap: mv0, which kit_macvtap_make() has made
 * @ret_fds: @n of them, owned by the caller
 */
void fakenet_open(struct fakenet *k, bool macvtap, int *ret_fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		ret_fds[i] = macvtap ? kit_macvtap_open("mv0", KIT_TAP_FLAGS | IFF_MULTI_QUEUE)
				     : kit_tap_open("tap0", KIT_TAP_FLAGS | IFF_MULTI_QUEUE);
	if (!macvtap)
		kit_link_set("tap0", true, 9000);
	k->wire = kit_wire_open(macvtap ? "wire1" : "tap0", ETH_P_IP);
}

/**
 * fakenet_done() - end, with the device
 */
void fakenet_done(struct fakenet *k)
{
	fakedrv_done(&k->f);
	fd_close(&k->wire);
}

/**
 * fakenet_buffer() - guest address of buffer @i, of 2048 bytes, of a queue
 */
uint64_t fakenet_buffer(const struct fakenet *k, uint16_t q, uint32_t i)
{
	return k->room + ((uint64_t)q << 19) + (uint64_t)BUFFER_BYTES * i;
}

/**
 * fakenet_fill() - give @n receive buffers to a pair, with one kick
 */
void fakenet_fill(struct fakenet *k, unsigned int pair, uint32_t n)
{
	uint16_t q = FAKENET_RX(pair);
	uint32_t i;

	for (i = 0; i < n; i++) {
		struct fakebuf b = {fakenet_buffer(k, q, i), BUFFER_BYTES, true};

		fakedrv_add(&k->f, q, &b, 1);
	}
	fakedrv_kick(&k->f, q);
}

/**
 * fakenet_host_sends() - a datagram of the flow @port from the network to the guest
 */
void fakenet_host_sends(struct fakenet *k, uint16_t port, size_t payload)
{
	static uint8_t frame[2000];
	size_t len = kit_udp_frame(frame, fakenet_mac, port, payload);

	ck_assert_int_eq(send(k->wire, frame, len, 0), (ssize_t)len);
	fakedrv_poll(&k->f);
}

/**
 * fakenet_flows() - a datagram of each of @n flows, from port 1000 on
 */
void fakenet_flows(struct fakenet *k, unsigned int n)
{
	while (n--)
		fakenet_host_sends(k, (uint16_t)(1000 + n), FAKENET_PAYLOAD_BYTES);
}

/**
 * fakenet_guest_sends() - @n frames of the guest to the network, all with one kick
 */
void fakenet_guest_sends(struct fakenet *k, unsigned int pair, unsigned int n, size_t payload)
{
	const uint8_t to[6] = {2, 0, 0, 0, 0, 9};
	uint16_t q = FAKENET_TX(pair);
	uint64_t at = fakenet_buffer(k, q, 0);
	struct fakebuf b = {at, FAKENET_HDR_BYTES, false};

	memset(fakedrv_ptr(&k->f, at, FAKENET_HDR_BYTES), 0, FAKENET_HDR_BYTES);
	b.len += (uint32_t)kit_udp_frame(
		fakedrv_ptr(&k->f, at + FAKENET_HDR_BYTES, UDP_HEAD_BYTES + payload), to,
		(uint16_t)(2000 + pair), payload);
	while (n--)
		fakedrv_add(&k->f, q, &b, 1);
	fakedrv_kick(&k->f, q);
}

/**
 * fakenet_used() - take back what the device has used of a queue
 *
 * Return: how many requests
 */
unsigned int fakenet_used(struct fakenet *k, uint16_t q)
{
	unsigned int n = 0;

	while (fakedrv_used(&k->f, q, NULL, NULL))
		n++;
	return n;
}
