/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_CAPTURE_H
#define NETPLUG_CAPTURE_H

#include "lib/loop.h"
#include "lib/packet.h"
#include "netplug/half.h"
#include "netplug/hop.h"
#include "netplug/target.h"

struct capture;

/* Called for each packet; @source as capture_add() has numbered it. */
typedef int capture_fn(void *arg, size_t source, const struct packet *k, struct err *e);

/* Called with a line for people: an interface that went, a guest that lies. */
typedef void capture_say_fn(void *arg, const char *text);

/**
 * struct capture_config - what is captured and who gets it; all borrowed
 * @filter:  compiled
 * @snaplen: bytes of a packet that are kept, 1 to PACKET_SNAPLEN_MAX
 * @arg:     for the functions
 */
struct capture_config {
	const struct filter *filter;
	uint32_t snaplen;
	capture_fn *fn;
	capture_say_fn *say;
	void *arg;
};

/**
 * struct capture_source - one hop that is listened to
 * @start_ns: our CLOCK_REALTIME when that began
 * @packets:  that were given to the function
 * @received: that passed the filter
 * @dropped:  of these, lost for want of room
 * @clock:    of a guest
 */
struct capture_source {
	const struct hop *hop;
	uint64_t start_ns;
	uint64_t packets, received, dropped;
	struct half_clock clock;
};

int capture_new(const struct capture_config *config, struct capture **ret, struct err *e);
void capture_free(struct capture *c);
int capture_add(struct capture *c, const struct hop *hop, int netns_fd, struct err *e);
int capture_add_guest(struct capture *c, const struct hop *hop, const struct target *t,
		      struct err *e);
int capture_add_hops(struct capture *c, const struct hops *h, unsigned int sides, bool must,
		     const struct target *t, struct err *e);
struct loop *capture_loop(struct capture *c);
struct agent *capture_agent(struct capture *c);
int capture_run(struct capture *c, struct err *e);
int capture_finish(struct capture *c, struct err *e);
size_t capture_sources(const struct capture *c);
const struct capture_source *capture_source(struct capture *c, size_t i);
int capture_unprivileged(struct err *e);

#endif
