/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_HANDED_H
#define RUNTIME_HANDED_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "runtime/state.h"
#include "runtime/trust.h"

/* Below the state directory: the records, and the trusted runtime's own --root. */
#define HANDED_DIR "handed"
#define HANDED_ROOT "trusted"

/**
 * struct handed - a decision that later calls must find
 * @id:        container
 * @pod:       its sandbox's id, or @id
 * @runtime:   that it was handed to; "": a machine that is being made
 * @bundle:    absolute path
 * @pid:       of the call that decided; it keeps its pid when it becomes the runtime
 * @pid_start: start time of that process
 */
struct handed {
	char id[STATE_ID_BYTES];
	char pod[STATE_ID_BYTES];
	char runtime[PATH_MAX];
	char bundle[PATH_MAX];
	pid_t pid;
	uint64_t pid_start;
};

/* Visits one living record; a negative return stops the walk. */
typedef int handed_fn(void *arg, const struct handed *h, struct err *e);

int handed_find(int rootfd, const char *id, struct handed *ret, struct err *e);
int handed_open(int rootfd, bool make, struct err *e);
int handed_sweep(int rootfd, int dir, struct err *e);
int handed_pod(int rootfd, int dir, const char *pod, enum trust_pod *ret, char *ret_runtime,
	       struct err *e);
int handed_claim(int rootfd, int dir, struct handed *h, struct err *e);
void handed_forget(int dir, const char *id);
void handed_release(int rootfd, const char *id);
int handed_each(int rootfd, handed_fn *fn, void *arg, struct err *e);

#endif
