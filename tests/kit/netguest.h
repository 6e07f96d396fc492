/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_NETGUEST_H
#define TESTS_KIT_NETGUEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/kit/fakepod.h"
#include "tests/kit/net.h"

/**
 * struct netguest - a network namespace that is a guest, on the other end of a tap
 * @netns:  of it, with eth0; borrowed from the kit until netguest_stop()
 * @pod:    its supervisor and agent
 * @ahead_ns: how far the guest's clock is ahead
 * @to_guest, @from_guest: frames that a virtual machine would have moved
 * @deaf:   frames to the guest are lost in the machine
 * @mute:   frames from the guest are
 * @stuck:  nothing is read of the pod's tap
 */
struct netguest {
	int netns;
	struct fakepod pod;
	int64_t ahead_ns;
	int outer, inner;
	pthread_t thread;
	Podvm__Pod__NetDevice device, *devices[1];
	Podvm__TraceTold told;
	char mac[18], failure[256];
	atomic_bool stop, deaf, mute, stuck;
	atomic_uint to_guest, from_guest;
};

void netguest_start(struct netguest *g, const struct kit_net *n, int tap_fd,
		    const uint8_t mac[6], const char *addresses);
void netguest_stop(struct netguest *g);

#endif
