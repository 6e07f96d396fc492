/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SUPERVISOR_GROW_H
#define RUNTIME_SUPERVISOR_GROW_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "runtime/spec.h"

/**
 * struct grow_base - a machine, for the plan
 * @memory_bytes, @vcpus: it never has less
 * @memory_max, @vcpus_max: it can never have more
 * @overhead_bytes: of its memory, what the guest itself needs
 * @rest_bytes, @rest_vcpus: for all containers without a limit together
 */
struct grow_base {
	uint64_t memory_bytes, memory_max;
	uint64_t overhead_bytes, rest_bytes;
	uint32_t vcpus, vcpus_max, rest_vcpus;
};

/**
 * struct grow_need - what containers need together; zeros: there are none
 * @memory_bytes: their limits
 * @milli:        their quotas, thousandths of a processor
 * @rest_memory, @rest_vcpus: one has no limit
 * @cpus, @mems: the host's, of those that name some; @any_cpu, @any_mem: one names none
 */
struct grow_need {
	uint64_t memory_bytes, milli;
	bool rest_memory, rest_vcpus;
	cpu_set_t cpus, mems;
	bool any_cpu, any_mem;
};

/**
 * struct grow_plan - what a machine shall have
 * @cpus, @mems: the host's that it may run on; empty: all
 */
struct grow_plan {
	uint64_t memory_bytes;
	uint32_t vcpus;
	cpu_set_t cpus, mems;
};

void grow_add(struct grow_need *n, const struct spec_limits *l, bool infra);
void grow_plan(const struct grow_base *b, const struct grow_need *n, struct grow_plan *ret);
int grow_check(const struct grow_base *b, const struct spec_limits *l, struct err *e);

#endif
