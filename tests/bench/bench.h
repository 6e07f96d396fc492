/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/* Counters of KVM that are read, by their names in its debugfs folder. */
#define BENCH_COUNTERS(X) \
	X(exits) X(io_exits) X(mmio_exits) X(halt_exits) X(signal_exits) X(irq_exits) \
	X(irq_injections) X(insn_emulation) X(pf_taken) X(pf_fixed)

#define BENCH_MEMBER(name) uint64_t name;

/**
 * struct bench_kvm - what KVM counted for one machine, all vCPUs
 */
struct bench_kvm {
	BENCH_COUNTERS(BENCH_MEMBER)
};

/**
 * struct bench_memory - a monitor's memory, KiB
 * @private_kb:  private pages of every mapping that is not guest RAM
 * @file_kb:     those of them in mappings of files (programs, libraries)
 * @guest_kb:    anonymous pages of guest RAM
 * @process_kb:  proportional set of everything but guest RAM: shared pages
 *               counted by share
 * @mappings:    how many mappings are not guest RAM
 */
struct bench_memory {
	uint64_t private_kb;
	uint64_t file_kb;
	uint64_t guest_kb;
	uint64_t process_kb;
	uint64_t mappings;
};

int bench_kvm_read(pid_t pid, struct bench_kvm *ret, struct err *e);
int bench_memory_read(pid_t pid, uint64_t ram_bytes, struct bench_memory *ret,
		      struct err *e);
uint64_t bench_now_ns(void);

#endif
