/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_PARK_H
#define NETPLUG_PARK_H

#include <stdbool.h>

#include "lib/journal.h"
#include "netplug/nl.h"
#include "netplug/plan.h"

/**
 * struct park_place - whose interface it is
 * @netns_fd: borrowed
 * @path, @id: of the namespace, for the journal
 */
struct park_place {
	struct nl *nl;
	int netns_fd;
	const char *path, *id;
	struct journal *j;
};

int park_leave(const struct park_place *at, const struct plan_port *p, struct err *e);
bool park_knows(const char *action);
int park_return(struct nl *nl, int netns_fd, uint32_t ifindex, const struct journal_rec *r,
		struct err *e);

#endif
