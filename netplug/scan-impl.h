/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_SCAN_IMPL_H
#define NETPLUG_SCAN_IMPL_H

#include "netplug/scan.h"

/* Shared by scan.c and scan-tc.c alone. */
void *scan_grow(void *array, size_t *n, size_t size, const char *what,
		struct err *e);
int scan_tc(struct nl *nl, struct scan *s, struct err *e);

#endif
