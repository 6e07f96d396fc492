/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PACKET_H
#define LIB_PACKET_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Longest part of a packet that a reader keeps, bytes. */
#define PACKET_SNAPLEN_MAX 262144u

/* Longest packet that one can believe in: the largest that segmentation offload makes. */
#define PACKET_LEN_MAX (1u << 20)

/* Packets of one message of a guest. */
#define PACKET_BATCH_MAX 64

/* Longest filter, instructions (BPF_MAXINSNS of linux/bpf_common.h). */
#define PACKET_FILTER_MAX 4096u

/**
 * struct packet - a frame as an interface received or sent it
 * @ts_ns:   CLOCK_REALTIME when the kernel saw it there
 * @len:     bytes that it had, with the VLAN tag that its device kept apart
 * @caplen:  bytes of @data
 * @type:    PACKET_HOST, PACKET_BROADCAST, ... or PACKET_OUTGOING (packet(7))
 * @data:    borrowed, until the reader reads again
 */
struct packet {
	uint64_t ts_ns;
	uint32_t len;
	uint32_t caplen;
	uint8_t type;
	const uint8_t *data;
};

/* Called for each packet; a negative return ends the reading. */
typedef int packet_fn(void *arg, const struct packet *k, struct err *e);

struct packet_reader;

int packet_open(uint32_t ifindex, const struct sock_filter *filter, size_t n, int *ret_fd,
		struct err *e);
int packet_reader_new(uint32_t snaplen, struct packet_reader **ret, struct err *e);
void packet_reader_free(struct packet_reader *r);
int packet_read(struct packet_reader *r, int fd, packet_fn *fn, void *arg, struct err *e);
void packet_counts(int fd, uint64_t *received, uint64_t *dropped);

#endif
