/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_FLOW_H
#define NETPLUG_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Longest expression of flow_expression(), NUL included. */
#define FLOW_EXPRESSION_BYTES 2048

/**
 * struct flow_end - one end of a flow
 * @family: AF_INET, AF_INET6; 0: any address
 * @port:   0: any
 */
struct flow_end {
	uint8_t family;
	uint8_t ip[16];
	uint16_t port;
};

/**
 * struct flow - packets of both directions between two ends
 * @protocol: IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP (also for IPv6); 0: any
 */
struct flow {
	struct flow_end to, from;
	uint8_t protocol;
};

/* What a packet has to do with a flow. */
enum flow_class {
	FLOW_PACKET,	/* belongs to it */
	FLOW_NEIGHBOUR, /* ARP or neighbour discovery for one of its ends */
	FLOW_ERROR,	/* an ICMP error about it */
	FLOW_CLASSES
};

int flow_parse(const char *to, const char *from, const char *protocol, struct flow *ret,
	       struct err *e);
void flow_expression(const struct flow *f, char dst[FLOW_EXPRESSION_BYTES]);
void flow_text(const struct flow *f, char *dst, size_t room);
enum flow_class flow_classify(const uint8_t *frame, size_t len);

#endif
