// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Counters and the boot timeline of the one machine of this process. Counters
 * are relaxed atomics: vCPU threads add, the I/O thread reads. A guest can
 * provoke log lines as fast as it can exit, so whatever it triggers asks
 * metrics_may_log() first: LOG_BURST lines at once, then LOG_PER_S a second.
 */
#include "vmm/metrics.h"

#include <stdatomic.h>
#include <time.h>

#define LOG_BURST 20
#define LOG_PER_S 1

static _Atomic uint64_t exits[VMM_EXIT_KINDS];
static _Atomic uint64_t stamps[METRICS_STAMPS];
static _Atomic uint64_t log_used;	/* lines, counted against the time since boot */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/**
 * metrics_exit() - count a return of KVM_RUN
 */
void metrics_exit(enum vmm_exit kind)
{
	atomic_fetch_add_explicit(&exits[kind], 1, memory_order_relaxed);
}

/**
 * metrics_stamp() - note when a stage was reached; the first time counts
 */
void metrics_stamp(enum metrics_stamp which)
{
	uint64_t unset = 0;

	if (!atomic_load_explicit(&stamps[which], memory_order_relaxed))
		atomic_compare_exchange_strong(&stamps[which], &unset, now_ns());
}

/**
 * metrics_fill() - copy counters and timeline; @connect_ns is the vsock device's
 */
void metrics_fill(struct vmm_stats *ret)
{
	int i;

	for (i = 0; i < VMM_EXIT_KINDS; i++)
		ret->exits[i] = atomic_load_explicit(&exits[i], memory_order_relaxed);
	ret->start_ns = stamps[METRICS_START];
	ret->config_ns = stamps[METRICS_CONFIG];
	ret->run_ns = stamps[METRICS_RUN];
}

/**
 * metrics_may_log() - whether a line that the guest provoked may be written now
 */
bool metrics_may_log(void)
{
	uint64_t s = now_ns() / 1000000000u * LOG_PER_S, used = log_used, next;

	do {
		next = used < s ? s : used;
		if (next - s >= LOG_BURST)
			return false;
	} while (!atomic_compare_exchange_weak(&log_used, &used, next + 1));
	return true;
}
