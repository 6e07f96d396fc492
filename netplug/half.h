/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_HALF_H
#define NETPLUG_HALF_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/agent.h"
#include "lib/packet.h"
#include "netplug/filter.h"

/* How long a guest may take for an answer. */
#define HALF_ANSWER_MS 5000

/**
 * struct half_clock - how a guest's CLOCK_REALTIME stands to ours
 * @ahead_ns:  the guest's less ours
 * @within_ns: by how much that may be wrong
 */
struct half_clock {
	int64_t ahead_ns;
	uint64_t within_ns;
};

/**
 * struct half - a capture in the guest; all that it tells is guest data
 * @agent:    the connection that it comes by, owned
 * @clock:    for its times
 * @snaplen:  that was asked for
 * @start_ns: our CLOCK_REALTIME when it began
 * @received, @dropped: packets that passed the filter there, and of these those that were lost
 * @odd:      packets whose time cannot be true; they got the nearest one that can
 * @last:     nothing more comes
 */
struct half {
	struct agent agent;
	struct half_clock clock;
	uint32_t snaplen;
	uint64_t start_ns;
	uint64_t received, dropped, odd;
	bool last;
};

uint64_t half_now_ns(void);
int half_ask(struct agent *a, const uint8_t *mac, const Podvm__Probe *probe,
	      Podvm__Response **ret, struct err *e);
int half_clock(struct agent *a, unsigned int times, struct half_clock *ret, struct err *e);
int half_begin(struct half *h, const uint8_t mac[6], const struct filter *f,
		  uint32_t snaplen, struct err *e);
int half_take(struct half *h, const Podvm__Captured *m, uint64_t now_ns,
		   packet_fn *fn, void *arg, struct err *e);

#endif
