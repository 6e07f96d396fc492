/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_GATHER_H
#define RUNTIME_GATHER_H

#include <stdint.h>

#include "lib/agent.h"
#include "lib/err.h"
#include "lib/pod.h"
#include "runtime/state.h"

/* Longest that a pod may take before it counts as silent. */
#define GATHER_MS 2000

enum gather_state {
	GATHER_ANSWERED,
	GATHER_STARTING,	/* its supervisor does not serve yet */
	GATHER_SILENT,		/* it did not answer in time */
	GATHER_GONE,		/* it ended meanwhile */
};

/* What is asked for, beside what the supervisor knows. */
enum { GATHER_DETAILS = 1, GATHER_MACHINE = 2, GATHER_GUEST = 4 };

/**
 * struct gather_pod - what one pod has told
 * @info:  podvm.pod.Info, set with GATHER_ANSWERED; owned
 * @stats: the machine's counters, with GATHER_MACHINE; NULL: they did not come; owned
 * @guest: guest data, with GATHER_GUEST; NULL: it did not come in time; owned
 * @why:   for all but GATHER_ANSWERED
 *
 * The rest is gather.c's own.
 */
struct gather_pod {
	char id[STATE_ID_BYTES];
	enum gather_state state;
	Podvm__Pod__Response *info, *stats;
	Podvm__Response *guest;
	struct err why;
	int sock;
	struct agent agent;
	unsigned int step;
};

struct gather {
	struct gather_pod *v;
	size_t n;
};

int gather_pods(int rootfd, struct gather *ret, struct err *e);
int gather_pod(struct gather *g, const char *id, struct err *e);
int gather_words(int rootfd, char *const *words, size_t n, struct gather *ret, struct err *e);
void gather_ask(int rootfd, struct gather *g, unsigned int what, int timeout_ms);
void gather_done(struct gather *g);
const char *gather_state_name(enum gather_state s);

int pod_of(int rootfd, const char *word, char pod[STATE_ID_BYTES], struct err *e);

#endif
