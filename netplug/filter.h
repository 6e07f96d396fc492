/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_FILTER_H
#define NETPLUG_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "lib/err.h"

/**
 * struct filter - which packets
 * @insn: @n instructions of classic BPF, owned; NULL: all packets
 */
struct filter {
	struct sock_filter *insn;
	size_t n;
};

int filter_compile(const char *expression, struct filter *ret, struct err *e);
void filter_done(struct filter *f);

#endif
