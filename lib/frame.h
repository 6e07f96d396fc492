/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_FRAME_H
#define LIB_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Longest message in bytes; also what a lying peer can make us allocate. */
#define FRAME_MAX_BYTES (1u << 20)

/* vsock port of the guest's agent, and of the host's end for its first call. */
#define AGENT_PORT 1024

/* Version of lib/agent.proto; both ends must have the same. */
#define AGENT_PROTOCOL 1

/*
 * Where an engine's DNS stub is in a pod's network namespace, and what the guest's
 * programs may ask it: bytes of a query, and queries that wait for their answers.
 */
#define RELAY_DNS_IP "127.0.0.11"
#define RELAY_DNS_PORT 53
#define RELAY_QUERY_BYTES 4096u
#define RELAY_QUERIES_MAX 64

/* Listening ports that the guest tells of, of each family. */
#define RELAY_PORTS_MAX 512

struct ProtobufCMessage;

/**
 * struct frame_rx - incremental reader for one connection
 * @buf:  message being assembled, owned
 * @have: bytes of length word and message that have arrived
 * @len:  message length once the length word is complete
 */
struct frame_rx {
	uint8_t *buf;
	size_t have;
	uint32_t len;
	uint8_t head[4];
};

int frame_send(int fd, const struct ProtobufCMessage *m, int timeout_ms,
	       struct err *e);
int frame_recv(int fd, struct frame_rx *rx, int timeout_ms, struct err *e);
int frame_feed(struct frame_rx *rx, int fd, struct err *e);
void frame_done(struct frame_rx *rx);

#endif
