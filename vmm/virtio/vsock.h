/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_VSOCK_H
#define VMM_VIRTIO_VSOCK_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "vmm/virtio/virtio.h"

/* Connections of one guest, in whatever state. */
#define VSOCK_CONNS_MAX 1024

/* Bytes from the guest that wait for the host's reader, per connection. */
#define VSOCK_BUF_BYTES 65536u

/* Answers to packets that belong to no connection. */
#define VSOCK_RSTS_MAX 128

#define VSOCK_HASH 256
#define VSOCK_HOST_CID 2u

/**
 * enum vconn_state - life of a connection
 * @VCONN_QUEUED:    the host calls; the guest has not been told
 * @VCONN_REQUESTED: it has been told, and has not answered
 * @VCONN_OPEN:      bytes flow, in one direction at least
 * @VCONN_CLOSING:   the host's socket is closed; the guest must say RST
 * @VCONN_RESET:     the host's socket is closed; we must say RST
 * @VCONN_DRAIN:     the guest has forgotten it; the host has still to read
 * @VCONN_DEAD:      the device was reset; the I/O thread frees it
 */
enum vconn_state {
	VCONN_QUEUED, VCONN_REQUESTED, VCONN_OPEN, VCONN_CLOSING, VCONN_RESET,
	VCONN_DRAIN, VCONN_DEAD
};

struct vsock;

/**
 * struct vconn - one connection; guarded by the device's lock
 * @fd:         the host's stream socket, owned; -1 once closed
 * @src:        edge-triggered source of @fd
 * @pending:    bit 1 << op for each packet that the guest is to get
 * @readable, @writable: edges of @fd; false after EAGAIN
 * @host_eof:   nothing more from the host for the guest
 * @host_deaf:  the host takes nothing more
 * @guest_done: the guest sends nothing more
 * @guest_deaf: the guest takes nothing more
 * @shut:       the host has been told @guest_done
 * @asked:      CREDIT_REQUEST was sent and not answered
 * @ring:       VSOCK_BUF_BYTES for what @fd did not take, or NULL; owned
 * @rx_cnt, @fwd_cnt, @told: bytes from the guest: received, given to the host, acknowledged
 * @tx_cnt, @peer_fwd, @peer_buf: bytes to the guest: sent, acknowledged, its room
 */
struct vconn {
	struct vsock *v;
	LIST_ENTRY(vconn) hash;
	TAILQ_ENTRY(vconn) all;
	TAILQ_ENTRY(vconn) ready;
	bool hashed, is_ready;
	enum vconn_state state;
	uint32_t guest_port, host_port;
	int fd;
	struct loop_src *src;
	uint32_t pending;
	bool readable, writable;
	bool host_eof, host_deaf, guest_done, guest_deaf, shut, asked;
	uint8_t *ring;
	uint32_t ring_at, ring_len;
	uint32_t rx_cnt, fwd_cnt, told;
	uint32_t tx_cnt, peer_fwd, peer_buf;
};

LIST_HEAD(vconn_list, vconn);
TAILQ_HEAD(vconn_queue, vconn);

struct vlisten {
	TAILQ_ENTRY(vlisten) all;
	uint32_t port;
	int fd;			/* owned */
};
TAILQ_HEAD(vlisten_queue, vlisten);

/* An RST that answers a packet without a connection; ports as the guest sees them. */
struct vrst {
	uint64_t src_cid;
	uint32_t src_port, dst_port;
	uint16_t type;
};

struct vsock {
	struct virtio_dev d;
	struct virtq_chain chain;
	struct iovec iov[VIRTQ_SIZE_MAX];
	uint32_t guest_cid;
	int wake;		/* eventfd, owned */
	struct loop_src *wake_src;
	bool fresh;		/* started or stopped: the I/O thread has to tidy up */
	bool tx_stalled;	/* too many RSTs wait */
	uint32_t next_port;
	uint64_t first_call_ns;
	unsigned int n_conns, n_listen;
	struct vconn_list hash[VSOCK_HASH];
	struct vconn_queue conns, ready;
	struct vlisten_queue listen;
	struct vrst rst[VSOCK_RSTS_MAX];
	unsigned int rst_at, n_rst;
};

void vsock_pump(struct vsock *v);

struct vconn *vconn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port);
int vconn_new(struct vsock *v, uint32_t guest_port, uint32_t host_port, int fd,
	      enum vconn_state state, struct vconn **ret, struct err *e);
void vconn_free(struct vconn *c);
void vconn_kill(struct vconn *c);
void vconn_ready(struct vconn *c);
void vconn_send(struct vconn *c, uint16_t op);
void vconn_reset(struct vconn *c);
void vconn_packet(struct vconn *c, const struct virtio_vsock_hdr *h,
		  const struct virtq_chain *chain);
void vconn_header(const struct vconn *c, uint16_t op, struct virtio_vsock_hdr *ret);
uint32_t vconn_credit(const struct vconn *c);
ssize_t vconn_read(struct vconn *c, struct iovec *v, size_t n);

#endif
