/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_TRACE_H
#define NETPLUG_TRACE_H

#include <stdio.h>

#include "netplug/capture.h"
#include "netplug/flow.h"
#include "netplug/hop.h"
#include "netplug/scan.h"

/* Counters that a guest may tell, and the longest name of one, NUL included. */
#define TRACE_GUEST_COUNTERS 128
#define TRACE_NAME_BYTES 48

enum trace_way { TRACE_TO_GUEST, TRACE_FROM_GUEST, TRACE_WAYS };

/* Where a packet can get lost, from the network to the guest. */
enum trace_place {
	TRACE_NETWORK, /* beyond the host's end of the pod's interface */
	TRACE_HOST,
	TRACE_POD,
	TRACE_TC,
	TRACE_TAP,
	TRACE_VIRTIO,
	TRACE_GUEST,
	TRACE_PLACES
};

/**
 * struct trace_filter - a redirect of tc
 * @there: there is one of ours
 * @right: it leads where it should
 */
struct trace_filter {
	bool there, right;
	uint64_t packets, drops;
};

/**
 * struct trace_device - a device of the host
 * @there:  it exists
 * @up:     and is up
 * @carrier: somebody holds the other end
 * @qdisc:  packets that its queueing discipline dropped
 */
struct trace_device {
	bool there, up, carrier;
	uint64_t rx, tx, rx_dropped, tx_dropped, qdisc;
};

/**
 * struct trace_machine - the network card as the machine's monitor counts it
 * @kernel: the kernel moves the packets (vhost), and the monitor does not count them
 */
struct trace_machine {
	bool there, kernel;
	uint64_t packets, broken;
};

/**
 * struct trace_counters - what is counted on the path of one interface
 * @device: by enum hop_side, those of the host
 * @filter: by way
 * @name, @value: of the guest, @n of them; names are checked
 */
struct trace_counters {
	struct trace_device device[HOP_GUEST];
	struct trace_filter filter[TRACE_WAYS];
	struct trace_machine machine;
	char name[TRACE_GUEST_COUNTERS][TRACE_NAME_BYTES];
	uint64_t value[TRACE_GUEST_COUNTERS];
	size_t n;
};

/**
 * struct trace_hop - what one hop saw
 * @hop:      NULL: it cannot be seen
 * @n:        packets
 * @first_ns: time of the first of the flow; 0: none
 * @lost:     that the hop's socket had no room for: counts are too low then
 */
struct trace_hop {
	const struct hop *hop;
	uint64_t n[FLOW_CLASSES][TRACE_WAYS];
	uint64_t first_ns[FLOW_CLASSES][TRACE_WAYS];
	uint64_t lost;
};

/**
 * struct trace_path - one interface of the pod and what was seen on its way
 * @was, @is: counters before and after
 * @tc:       it is joined by redirects (else by a macvtap, or not at all)
 * @probes:   packets that we sent ourselves; @probe_way: their direction
 * @probe_error: why the last one could not be sent; empty: it could
 */
struct trace_path {
	char port[SCAN_NAME_BYTES];
	struct trace_hop hop[HOP_SIDES];
	struct trace_counters was, is;
	bool tc;
	uint8_t protocol;
	uint64_t probes;
	enum trace_way probe_way;
	char probe_error[160];
};

enum trace_outcome { TRACE_PASSES, TRACE_DIES, TRACE_LOSES, TRACE_UNSEEN };

/**
 * struct trace_verdict - what became of the flow
 * @place: where it dies or loses packets
 * @way:   in which direction
 * @class: FLOW_NEIGHBOUR: not even the neighbour's address was learnt
 * @why:   a sentence for people
 */
struct trace_verdict {
	enum trace_outcome outcome;
	enum trace_place place;
	enum trace_way way;
	enum flow_class class;
	char why[400];
};

/* trace-judge.c */
const char *trace_place_name(enum trace_place p);
void trace_judge(const struct trace_path *p, struct trace_verdict *ret);

/* trace-counters.c */
int trace_count(struct nl *pod, struct nl *host, const struct hops *h, const char *port,
		const struct target *t, struct agent *guest, struct trace_counters *ret,
		struct err *e);
void trace_take_told(const Podvm__TraceTold *told, struct trace_counters *c);

/* trace-print.c */
void trace_print(const struct trace_path *p, const struct trace_verdict *v, FILE *f);
int trace_json(const struct target *t, const struct flow *flow, const struct trace_path *p,
	       const struct trace_verdict *v, FILE *f, struct err *e);

#endif
