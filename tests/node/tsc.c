// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * tsc - print how fast this machine's time-stamp counter is, in kHz. An emulated
 * processor's counter is this one, and a node that measures it itself, against an
 * emulated timer, on a machine with other work, can be wrong by far (a quarter was seen):
 * all its time-outs are wrong then. Here both clocks are read next to each other, and a
 * reading between which something else ran is taken again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define TRIES 50
#define APART_NS 50000000

struct reading {
	uint64_t tsc, ns, width;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Both clocks at one moment: the narrowest of some tries. */
static struct reading both(void)
{
	struct reading best = { .width = UINT64_MAX };
	int i;

	for (i = 0; i < TRIES; i++) {
		uint64_t before = __rdtsc(), ns = now_ns(), width = __rdtsc() - before;

		if (width < best.width)
			best = (struct reading){ before + width / 2, ns, width };
	}
	return best;
}

int main(void)
{
	struct timespec apart = { 0, APART_NS };
	struct reading a = both(), b;

	nanosleep(&apart, NULL);
	b = both();
	printf("%" PRIu64 "\n", (b.tsc - a.tsc) * 1000000u / (b.ns - a.ns));
	return 0;
}
