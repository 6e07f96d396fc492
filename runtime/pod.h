/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_POD_H
#define RUNTIME_POD_H

#include <stdbool.h>

#include "lib/err.h"
#include "lib/journal.h"
#include "runtime/pod.pb-c.h"
#include "runtime/state.h"

/* Longest packet on a pod's control socket. */
#define POD_MESSAGE_BYTES 65536

/* Descriptors of a supervisor process. */
#define POD_READY_FD 3
#define POD_LOCK_FD 4

/* Until a pod without containers must have gone. */
#define POD_END_MS 20000

#define POD_REQUEST(field, case_) \
	{ .base = PROTOBUF_C_MESSAGE_INIT(&podvm__pod__request__descriptor), \
	  .body_case = PODVM__POD__REQUEST__BODY_##case_, .field }

int pod_connect(int rootfd, const char *pod, int *ret_sock, struct err *e);
int pod_ensure(const char *root, int rootfd, const char *pod,
	       const char *bundle, int *ret_sock, struct err *e);
int pod_call_fds(int sock, const Podvm__Pod__Request *rq, int *ret_fds, size_t min, size_t max,
		 size_t *ret_n, Podvm__Pod__Response **ret, struct err *e);
int pod_call(int sock, const Podvm__Pod__Request *rq, int *ret_fds,
	     size_t n_fds, Podvm__Pod__Response **ret, struct err *e);
int pod_wait_end(int rootfd, const char *pod, int sock, struct err *e);
int pod_abandon(int rootfd, const char *pod, int sock, struct err *e);
int pod_recover(int rootfd, const char *pod, struct err *e);
int pod_recover_all(int rootfd, struct err *e);
int pod_load_state(int rootfd, const char *id, struct state **ret,
		   struct err *e);
int pod_socket_path(int dirfd, char *dst, size_t room, struct err *e);
int pod_undo(void *arg, const struct journal_rec *r, struct err *e);
int pod_wait_ready(int fd, struct err *e);
void pod_say_ready(int fd, const struct err *e);

#endif
