/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_LINK_H
#define NETPLUG_LINK_H

#include <stdint.h>

#include "netplug/nl.h"

int link_index(struct nl *nl, const char *name, uint32_t *ret, struct err *e);
int link_quiet(struct nl *nl, uint32_t ifindex, const char *of, uint32_t mtu, uint32_t flags,
	       struct err *e);
int link_up(struct nl *nl, uint32_t ifindex, struct err *e);
int link_del(struct nl *nl, const char *name, const char *kind, uint32_t lower, struct err *e);

#endif
