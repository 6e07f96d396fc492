/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SUPERVISOR_RELAY_H
#define RUNTIME_SUPERVISOR_RELAY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/agent.pb-c.h"
#include "lib/err.h"
#include "lib/frame.h"
#include "lib/loop.h"

/* Descriptors of the relay's process: socket to the supervisor, the pod's netns. */
#define RELAYD_SUP_FD 3
#define RELAYD_NETNS_FD 4

/* Callers at a time; further ones wait in the kernel's queues of their ports. */
#define RELAYD_CALLERS_MAX 512

/*
 * Of these, that the agent has not answered yet, in all and of one port, so that a port
 * which accepts nobody does not hold up others. The agent's own queue has 128 places.
 */
#define RELAYD_OPENING_MAX 64
#define RELAYD_OPENING_PORT_MAX 16

/* A caller whose connection in the guest is not made by then gets RST. */
#define RELAYD_OPEN_MS 30000

/* Bytes for the agent that wait; further answers of the DNS stub are dropped. */
#define RELAYD_OUT_BYTES 262144u

/* An answer that the DNS stub has not given by then is not passed on. */
#define RELAYD_DNS_MS 10000

/* Lines that a guest can bring about in the log. */
#define RELAYD_LINES_MAX 32

/*
 * Between supervisor and relay: packets of struct relayd_msg.
 * LINK:  the relay wants a connection to the agent; answered in order, with a
 *        descriptor or an error
 * DNS:   the supervisor: the guest shall reach the engine's DNS stub
 * READY: the relay: it knows the guest's listening ports
 */
enum relayd_what { RELAYD_LINK = 1, RELAYD_DNS, RELAYD_READY };

struct relayd_msg {
	uint32_t what;
	int32_t error; /* 0 or a positive errno */
};

/* Gets a connection to the agent, to own, or -1 with the reason. */
typedef void relayd_link_fn(void *arg, int fd, const struct err *why);

/* Who waits for a connection to the agent. */
struct relayd_want {
	TAILQ_ENTRY(relayd_want) all;
	relayd_link_fn *fn;
	void *arg;
};
TAILQ_HEAD(relayd_wants, relayd_want);

struct caller;
struct port;
struct ask;
TAILQ_HEAD(callers, caller);
LIST_HEAD(port_list, port);

/**
 * struct relayd - the relay's process
 * @sup:      socket to the supervisor, owned
 * @wants:    in the order in which the supervisor answers
 * @waiting:  callers without a connection to the agent
 * @opening:  callers that the agent has to answer, the first one longest
 * @carried:  callers that are connected
 * @control:  the agent's own connection for us, owned; -1: none yet
 * @out:      what waits for it, owned
 * @dns:      the guest shall reach the stub; @dns_told: the agent knows
 * @known:    the agent has told its ports
 * @lines:    that were written to the log because of the guest
 * @done:     the supervisor is gone
 * @failed:   the reason why the process ends
 */
struct relayd {
	struct loop *loop;
	int sup;
	struct loop_src *sup_src;
	int timer; /* owned; runs while @opening or @asks have something */
	struct loop_src *timer_src;
	bool ticking;
	struct relayd_wants wants;
	struct callers waiting, opening, carried;
	unsigned int n_opening, n_callers;
	struct port_list ports;
	uint64_t have[2][65536 / 64]; /* ports that are in @ports */
	bool paused;		      /* no more callers are taken */
	struct relayd_want control_want;
	int control;
	struct loop_src *control_src;
	struct frame_rx control_rx;
	uint8_t *out;
	size_t out_len, out_off;
	bool dns, dns_told, known, done;
	struct ask *asks[RELAY_QUERIES_MAX]; /* owned */
	unsigned int lines;
	int failed;
	struct err why;
};

/* relay-main.c */
int relayd_new(int sup, struct relayd **ret, struct err *e);
int relayd_run(struct relayd *d, struct err *e);
void relayd_free(struct relayd *d);
void relayd_fail(struct relayd *d, int rc, const struct err *why);
void relayd_tell(struct relayd *d, enum relayd_what what);
void relayd_want(struct relayd *d, struct relayd_want *w, relayd_link_fn *fn, void *arg);
void relayd_tick(struct relayd *d);
void relayd_log(struct relayd *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* relay-control.c */
void control_start(struct relayd *d);
void control_dns(struct relayd *d);
void control_answer(struct relayd *d, const Podvm__DnsMessage *m);
void control_done(struct relayd *d);

/* relay-port.c */
void ports_apply(struct relayd *d, const Podvm__Relay *m);
void ports_done(struct relayd *d);

/* relay-caller.c */
int caller_new(struct relayd *d, int tcp, uint16_t port, bool ipv6, struct err *e);
bool callers_expire(struct relayd *d, uint64_t now_ms);
void callers_done(struct relayd *d);
void ports_pause(struct relayd *d, bool pause);

/* relay-stub.c */
void stub_ask(struct relayd *d, const Podvm__DnsMessage *m);
bool stub_expire(struct relayd *d, uint64_t now_ms);
void stub_done(struct relayd *d);

/* relay-sandbox.c */
int relayd_isolate(int netns_fd, struct err *e);
int relayd_filter(struct err *e);

#endif
