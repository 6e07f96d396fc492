// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * When the thread that serves the devices preempts a guest. Where both share a processor, a
 * thread that is woken for each request and runs at once finds one request, serves it and sleeps
 * before the next one is made: two switches of threads and an interrupt for each packet or
 * block. A batch thread (SCHED_BATCH) does not preempt when it is woken: it finds all
 * that the guest's turn has brought, and answers with one interrupt. Where a processor is
 * idle it runs there at once, so that all this makes no difference.
 *
 * A guest that waits for each answer, or spins for it as Linux does for its console, gains
 * nothing by that and has to halt first. So what rounds find decides: after BATCH_LONE_MAX rounds of one
 * request at most the thread is a normal one, until a round finds more, or for
 * BATCH_RETRY rounds: as a normal thread it cannot see what it would find as the other.
 *
 * The state is the calling thread's, and only a thread that has said batch_begin() has one.
 * Nothing depends on it: where the system refuses, things go on as they are.
 *
 * Source: sched(7), SCHED_BATCH; Linux kernel/sched/fair.c, check_preempt_wakeup().
 */
#include "vmm/batch.h"

#include <sched.h>
#include <stdbool.h>

static _Thread_local struct {
	bool begun, on;
	unsigned int lone;
} self;

static void set(bool on)
{
	const struct sched_param none = { 0 };

	self.on = on;
	self.lone = 0;
	sched_setscheduler(0, on ? SCHED_BATCH : SCHED_OTHER, &none);
}

/**
 * batch_begin() - the calling thread serves devices from now on
 *
 * A policy that somebody else has given it stays.
 *
 * Context: before the filter of the calling thread
 */
void batch_begin(void)
{
	self.begun = sched_getscheduler(0) == SCHED_OTHER;
	if (self.begun)
		set(true);
}

/**
 * batch_round() - what the calling thread found when it was woken for a queue
 * @found: requests, or packets
 *
 * #syscalls sched_setscheduler
 */
void batch_round(unsigned int found)
{
	if (!self.begun)
		return;
	self.lone = found > 1 ? 0 : self.lone + 1;
	if (self.on ? self.lone >= BATCH_LONE_MAX : !self.lone || self.lone >= BATCH_RETRY)
		set(!self.on);
}
