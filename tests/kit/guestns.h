/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_GUESTNS_H
#define TESTS_KIT_GUESTNS_H

#include <stdbool.h>

#include "lib/agent.pb-c.h"

/**
 * struct guestns - a network namespace that stands for a guest
 * @netns:  owned by who made it
 * @silent: the agent answers with an error
 * @liar:   called with each answer, to change it; may be NULL
 * @told:   its last answer, owned
 */
struct guestns {
	int netns;
	bool silent;
	void (*liar)(Podvm__NetState *s);
	Podvm__NetState *told;
};

void guestns_give(int netns, const Podvm__Network *n);
bool guestns_agent(void *arg, const Podvm__Request *rq, Podvm__Response *rs);
void guestns_done(struct guestns *g);

#endif
