/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_APPLY_H
#define NETPLUG_APPLY_H

#include "netplug/nl.h"

/* Of three numbers and two colons. */
#define NETNS_ID_BYTES 80

int apply_netns_id(int netns_fd, const struct nl *nl, char id[NETNS_ID_BYTES], struct err *e);
int apply_find_netns(const char *path, const char *id, struct nl **ret_nl, int *ret_fd,
		     struct err *e);

#endif
