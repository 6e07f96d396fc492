/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_ORDER_H
#define NETPLUG_ORDER_H

#include "lib/packet.h"
#include "netplug/capture.h"

struct order;

int order_new(capture_fn *fn, void *arg, struct order **ret, struct err *e);
void order_free(struct order *o);
int order_add(struct order *o, size_t source, const struct packet *k, struct err *e);
int order_release(struct order *o, uint64_t now_ns, struct err *e);

#endif
