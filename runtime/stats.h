/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_STATS_H
#define RUNTIME_STATS_H

#include "lib/agent.pb-c.h"
#include "lib/err.h"

/* What an event's statistics are made of, closed by NULL; for CgroupRead. */
extern const char *const stats_files[];

int stats_event(const char *id, const Podvm__CgroupFiles *f, char **ret, struct err *e);
int oom_event(const char *id, char **ret, struct err *e);

#endif
