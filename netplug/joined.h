/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_JOINED_H
#define NETPLUG_JOINED_H

#include <stdbool.h>

#include "netplug/scan.h"

bool joined_is_tap(const struct scan_link *l);
bool joined_is_macvtap(const struct scan_link *tap);
const struct scan_link *joined_tap(const struct scan *s, const struct scan_link *l);
const struct scan_filter *joined_filter(const struct scan *s, uint32_t ifindex);
const uint8_t *joined_mac(const struct scan *s, const struct scan_link *l);
const char *joined_hook(const struct scan *s, uint32_t ifindex);
const struct scan_link *joined_peer(const struct scan *host, const struct scan_link *l);

#endif
