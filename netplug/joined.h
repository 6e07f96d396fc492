/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_JOINED_H
#define NETPLUG_JOINED_H

#include <stdbool.h>

#include "netplug/scan.h"

bool joined_is_tap(const struct scan_link *l);
const struct scan_link *joined_tap(const struct scan *s, const struct scan_link *l);
const struct scan_filter *joined_filter(const struct scan *s, uint32_t ifindex);
const char *joined_hook(const struct scan *s, uint32_t ifindex);
const struct scan_link *joined_peer(const struct scan *host, const struct scan_link *l);

#endif
