/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_GUEST_H
#define NETPLUG_GUEST_H

#include "lib/agent.pb-c.h"
#include "netplug/scan.h"
#include "netplug/target.h"

/**
 * struct guest_half - what the agent told of the guest's network; all of it is guest data
 * @answer: owned
 * @state:  borrowed from @answer; NULL: nothing was told
 * @scan:   its messages, owned; names are printable
 */
struct guest_half {
	Podvm__Response *answer;
	const Podvm__NetState *state;
	struct scan *scan;
};

int guest_get(const struct target *t, struct guest_half *ret, struct err *e);
const Podvm__LinkState *guest_link(const struct guest_half *g, const char *name);
uint16_t guest_neigh_state(const struct guest_half *g, uint8_t family, const uint8_t *ip);
void guest_done(struct guest_half *g);

#endif
