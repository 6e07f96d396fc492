/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_POD_H
#define RUNTIME_POD_H

#include <stdbool.h>

#include "lib/err.h"
#include "lib/journal.h"
#include "lib/pod.h"
#include "runtime/spec.h"
#include "runtime/state.h"

/* Descriptors of a supervisor process. */
#define POD_READY_FD 3
#define POD_LOCK_FD 4
#define POD_CONFIG_FD 5

/* Until a pod without containers must have gone. */
#define POD_END_MS 20000

/**
 * struct pod_undo - what the undo of a pod's journal knows beside a record
 * @rebooted: the host was booted since
 * @busy:     a cgroup is still in use
 */
struct pod_undo {
	bool rebooted, busy;
};

int pod_connect(int rootfd, const char *pod, int *ret_sock, struct err *e);
int pod_ensure(const char *root, int rootfd, const char *pod, const struct spec_source *src,
	       bool systemd, int *ret_sock, struct err *e);
int pod_wait_end(int rootfd, const char *pod, int sock, struct err *e);
int pod_abandon(int rootfd, const char *pod, int sock, struct err *e);
int pod_recover(int rootfd, const char *pod, struct err *e);
int pod_recover_all(int rootfd, struct err *e);
int pod_load_state(int rootfd, const char *id, struct state **ret,
		   struct err *e);
int pod_undo(void *arg, const struct journal_rec *r, struct err *e);
int pod_wait_ready(int fd, struct err *e);
void pod_say_ready(int fd, const struct err *e);

#endif
