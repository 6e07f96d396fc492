/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_POD_H
#define LIB_POD_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/pod.pb-c.h"

/* The state directory, where nothing else is said. */
#define POD_DEFAULT_ROOT "/run/podvm"

/* Longest packet on a pod's control socket. */
#define POD_MESSAGE_BYTES 65536

/* Longest that a supervisor takes for one answer. */
#define POD_ANSWER_MS 120000

#define POD_REQUEST(field, case_) \
	{ .base = PROTOBUF_C_MESSAGE_INIT(&podvm__pod__request__descriptor), \
	  .body_case = PODVM__POD__REQUEST__BODY_##case_, .field }

int pod_socket_path(int dirfd, char *dst, size_t room, struct err *e);
int pod_call_open(int dirfd, int timeout_ms, int *ret_sock, struct err *e);
int pod_ask(int sock, const Podvm__Pod__Request *rq, struct err *e);
int pod_answer(int sock, int *ret_fds, size_t min, size_t max, size_t *ret_n,
	       Podvm__Pod__Response **ret, struct err *e);
int pod_call_fds(int sock, const Podvm__Pod__Request *rq, int *ret_fds, size_t min, size_t max,
		 size_t *ret_n, Podvm__Pod__Response **ret, struct err *e);
int pod_call(int sock, const Podvm__Pod__Request *rq, int *ret_fds,
	     size_t n_fds, Podvm__Pod__Response **ret, struct err *e);
int pod_call_give(int sock, const Podvm__Pod__Request *rq, int fd, struct err *e);
int pod_stream(int sock, int *ret_fd, struct err *e);

#endif
