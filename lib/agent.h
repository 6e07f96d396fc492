/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_AGENT_H
#define LIB_AGENT_H

#include "lib/agent.pb-c.h"
#include "lib/err.h"
#include "lib/frame.h"

/* Called for an event that arrives between request and answer. */
typedef void agent_event_fn(void *arg, const Podvm__Exited *x);

/**
 * struct agent - one connection to the guest's agent
 * @fd:       stream socket, owned
 * @rx:       its reader
 * @owed:     answers that came too late for their call and are still to come
 * @on_event: may be NULL: events are dropped
 * @arg:      for @on_event
 */
struct agent {
	int fd;
	struct frame_rx rx;
	unsigned int owed;
	agent_event_fn *on_event;
	void *arg;
};

#define AGENT_REQUEST(field, case_) \
	{ .base = PROTOBUF_C_MESSAGE_INIT(&podvm__request__descriptor), \
	  .body_case = PODVM__REQUEST__BODY_##case_, .field }

int agent_call(struct agent *a, const Podvm__Request *rq, int timeout_ms,
	       Podvm__Response **ret, struct err *e);
int agent_take(struct agent *a, Podvm__Response **ret, struct err *e);
int agent_hello(struct agent *a, int timeout_ms, Podvm__Response **ret,
		struct err *e);
void agent_done(struct agent *a);

#endif
