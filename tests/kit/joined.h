/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_JOINED_H
#define TESTS_KIT_JOINED_H

#include <sys/resource.h>

#include "netplug/netplug.h"
#include "tests/kit/net.h"

/**
 * struct kit_joined - a namespace with a plan and a journal
 * @taps:   ends of each tap
 * @before: kit_net_state() when it was planned
 */
struct kit_joined {
	struct kit_net n;
	char dir[40];
	int dirfd;
	struct journal *j;
	struct netplug_plan *p;
	struct netplug_port port[NETPLUG_PORTS_MAX];
	size_t n_ports;
	size_t taps;
	char *before;
};

void kit_joined_new(struct kit_joined *t);
void kit_joined_plan(struct kit_joined *t, const struct netplug_options *o);
int kit_joined_try(struct kit_joined *t, struct err *e);
void kit_joined_apply(struct kit_joined *t);
bool kit_joined_limited(struct kit_joined *t, rlim_t limit, bool killed);
size_t kit_joined_undo(struct kit_joined *t);
void kit_joined_close_taps(struct kit_joined *t);
void kit_joined_done(struct kit_joined *t);

#endif
