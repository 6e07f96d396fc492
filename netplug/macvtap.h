/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_MACVTAP_H
#define NETPLUG_MACVTAP_H

#include "netplug/nl.h"
#include "netplug/plan.h"

int macvtap_create(struct nl *nl, const struct plan_port *p, size_t queues, struct err *e);
int macvtap_setup(struct nl *nl, const struct plan_port *p, uint32_t *ret_index, struct err *e);
int macvtap_open(int netns_fd, uint32_t ifindex, int *ret_fds, size_t n, struct err *e);
int macvtap_take(int netns_fd, const struct plan_port *p, int *ret_fds, size_t n, struct err *e);
int macvtap_del(struct nl *nl, const char *name, uint32_t lower, struct err *e);

#endif
