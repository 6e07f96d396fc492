/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_PCAPNG_H
#define NETPLUG_PCAPNG_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Longest part of a packet that is kept, bytes. */
#define PCAPNG_SNAPLEN_MAX 262144u

/* Interfaces of one file. */
#define PCAPNG_INTERFACES_MAX 256

/* epb_flags: direction (bits 0-1), and how it was addressed (bits 2-4). */
#define PCAPNG_IN 1u
#define PCAPNG_OUT 2u
#define PCAPNG_UNICAST (1u << 2)
#define PCAPNG_MULTICAST (2u << 2)
#define PCAPNG_BROADCAST (3u << 2)
#define PCAPNG_OTHER (4u << 2)

struct pcapng;

/**
 * struct pcapng_interface - where packets were seen; texts are borrowed
 * @name:        if_name
 * @description: if_description; NULL: none
 * @comment:     opt_comment; NULL: none
 * @filter:      if_filter, a pcap-filter(7) expression; NULL: none
 * @mac:         if_MACaddr, 6 bytes; NULL: none
 * @snaplen:     bytes that are kept of a packet at most
 */
struct pcapng_interface {
	const char *name;
	const char *description;
	const char *comment;
	const char *filter;
	const uint8_t *mac;
	uint32_t snaplen;
};

/**
 * struct pcapng_packet - one Ethernet frame
 * @interface: number from pcapng_interface()
 * @flags:     PCAPNG_IN, ...
 * @ts_ns:     nanoseconds since 1970
 * @len:       bytes that it had
 * @caplen:    bytes of @data, at most PCAPNG_SNAPLEN_MAX; the rest was cut off
 * @data:      borrowed
 */
struct pcapng_packet {
	uint32_t interface;
	uint32_t flags;
	uint64_t ts_ns;
	uint32_t len;
	uint32_t caplen;
	const uint8_t *data;
};

/**
 * struct pcapng_stats - what came of an interface's packets
 * @start_ns, @end_ns: when it was listened to, nanoseconds since 1970
 * @received: packets that passed the filter
 * @dropped:  of these, how many were lost for want of room
 */
struct pcapng_stats {
	uint64_t start_ns, end_ns;
	uint64_t received, dropped;
};

int pcapng_new(int fd, const char *name, struct pcapng **ret, struct err *e);
int pcapng_interface(struct pcapng *p, const struct pcapng_interface *i, struct err *e);
int pcapng_packet(struct pcapng *p, const struct pcapng_packet *k, struct err *e);
int pcapng_stats(struct pcapng *p, uint32_t interface, const struct pcapng_stats *s,
		 struct err *e);
int pcapng_flush(struct pcapng *p, struct err *e);
void pcapng_free(struct pcapng *p);

#endif
