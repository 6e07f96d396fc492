/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_TC_H
#define NETPLUG_TC_H

#include "netplug/nl.h"
#include "netplug/plan.h"

int tc_tap_open(int netns_fd, const char *name, int *ret_fds, size_t n, struct err *e);
int tc_tap_take(int netns_fd, const struct plan_port *p, int *ret_fds, size_t n, struct err *e);
int tc_tap_keep(int fd, const struct plan_keep *keep, struct err *e);
int tc_tap_setup(struct nl *nl, const struct plan_port *p, uint32_t *ret_tap,
		 struct err *e);
int tc_tap_mtu(struct nl *nl, const struct plan_port *p, struct err *e);
int tc_hook_add(struct nl *nl, const struct plan_port *p, struct err *e);
int tc_filter_add(struct nl *nl, const struct plan_port *p, uint32_t tap,
		  struct err *e);
int tc_tap_del(struct nl *nl, const char *name, struct err *e);
int tc_filter_del(struct nl *nl, uint32_t ifindex, struct err *e);
int tc_queue_none(struct nl *nl, uint32_t ifindex, struct err *e);
int tc_hook_del(struct nl *nl, uint32_t ifindex, struct err *e);

#endif
