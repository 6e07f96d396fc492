// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Listens to an interface by a packet socket, without changing it: no promiscuous
 * mode, since what a device of a pod has for its guest reaches it anyway.
 *
 * A socket without a protocol gets nothing; the filter is attached before it is
 * bound, so no packet comes that the filter would not let through. The kernel
 * stamps packets when they pass the device, in both directions, and keeps a VLAN tag
 * apart, which goes back to where it was. Packets are read in batches by
 * recvmmsg(2): a ring shared with the kernel would spare one copy, and is not worth
 * its states here.
 *
 * Sources: packet(7); linux/if_packet.h, linux/filter.h.
 */
#include "lib/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/mem.h"

/* Packets that wait in the kernel, bytes: what a burst needs until we run. */
#define QUEUE_BYTES (8 << 20)

/* Packets of one system call, and calls of one packet_read(), before others have a turn. */
#define BATCH 16
#define TURNS 16

/* A VLAN tag, and where it belongs. */
#define TAG_BYTES 4
#define TAG_AT 12

#ifndef TP_STATUS_VLAN_TPID_VALID
#define TP_STATUS_VLAN_TPID_VALID (1 << 6)
#endif

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(struct tpacket_auxdata)) +
		  CMSG_SPACE(sizeof(struct timespec))];
};

/**
 * struct packet_reader - buffers of one batch
 * @buf: BATCH times TAG_BYTES and @snaplen, owned
 */
struct packet_reader {
	uint32_t snaplen;
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_ll from[BATCH];
	union control control[BATCH];
	uint8_t *buf;
};

static int set_options(int fd, struct err *e)
{
	int on = 1, bytes = QUEUE_BYTES;

	if (setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
		return err_sys(e, "packet socket");
	/* Beyond net.core.rmem_max for root; a smaller queue works as well. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return 0;
}

/**
 * packet_open() - begin to listen to an interface of the thread's network namespace
 * @filter: @n instructions, borrowed; 0: everything
 * @ret_fd: non-blocking packet socket, owned by the caller
 *
 * Return: 0; -EINVAL for a filter that the kernel does not take; minus errno
 */
int packet_open(uint32_t ifindex, const struct sock_filter *filter, size_t n, int *ret_fd,
		struct err *e)
{
	struct sock_fprog prog = { .len = (unsigned short)n,
				   .filter = (struct sock_filter *)(uintptr_t)filter };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)ifindex };
	_cleanup_close_ int fd = -1;
	int rc;

	if (n > PACKET_FILTER_MAX)
		return err_set(e, EINVAL, "filter of %zu instructions, at most %u", n,
			       PACKET_FILTER_MAX);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "packet socket");
	if (n && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		return err_sys(e, "packet filter");
	rc = set_options(fd, e);
	if (rc < 0)
		return rc;
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(e, "packet socket: bind");
	*ret_fd = fd_steal(&fd);
	return 0;
}

/**
 * packet_reader_new() - buffers to read packets with, from any number of sockets
 * @snaplen: bytes that are kept of a packet at most, 1 to PACKET_SNAPLEN_MAX
 * @ret:     owned by the caller, packet_reader_free()
 *
 * Return: 0; -EINVAL; -ENOMEM
 */
int packet_reader_new(uint32_t snaplen, struct packet_reader **ret, struct err *e)
{
	size_t each = snaplen + TAG_BYTES, i;
	struct packet_reader *r;

	if (!snaplen || snaplen > PACKET_SNAPLEN_MAX)
		return err_set(e, EINVAL, "%u bytes of a packet, not 1 to %u", snaplen,
			       PACKET_SNAPLEN_MAX);
	r = mem_new(struct packet_reader);
	if (r)
		r->buf = malloc(each * BATCH); /* pages that no packet reaches are not touched */
	if (!r || !r->buf) {
		free(r);
		return err_set(e, ENOMEM, "out of memory");
	}
	r->snaplen = snaplen;
	for (i = 0; i < BATCH; i++) {
		struct msghdr *m = &r->msg[i].msg_hdr;

		r->iov[i].iov_base = r->buf + i * each + TAG_BYTES;
		r->iov[i].iov_len = snaplen;
		m->msg_iov = &r->iov[i];
		m->msg_iovlen = 1;
		m->msg_name = &r->from[i];
		m->msg_control = &r->control[i];
	}
	*ret = r;
	return 0;
}

/**
 * packet_reader_free() - free the buffers; NULL is fine
 */
void packet_reader_free(struct packet_reader *r)
{
	if (r)
		free(r->buf);
	free(r);
}

/* What came beside a packet. */
static void read_control(struct msghdr *m, struct timespec *ts, struct tpacket_auxdata *aux)
{
	struct cmsghdr *c;

	memset(ts, 0, sizeof(*ts));
	memset(aux, 0, sizeof(*aux));
	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA &&
		    c->cmsg_len >= CMSG_LEN(sizeof(*aux)))
			memcpy(aux, CMSG_DATA(c), sizeof(*aux));
		else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS &&
			 c->cmsg_len >= CMSG_LEN(sizeof(*ts)))
			memcpy(ts, CMSG_DATA(c), sizeof(*ts));
	}
}

/* Moves the addresses into the room before the frame, and puts the tag behind them. */
static uint8_t *put_tag(uint8_t *frame, const struct tpacket_auxdata *aux)
{
	uint16_t tpid = aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid :
								     ETH_P_8021Q;
	const uint16_t tag[] = { htons(tpid), htons(aux->tp_vlan_tci) };

	memmove(frame - TAG_BYTES, frame, TAG_AT);
	memcpy(frame - TAG_BYTES + TAG_AT, tag, sizeof(tag));
	return frame - TAG_BYTES;
}

static struct packet packet_at(struct packet_reader *r, size_t i)
{
	struct packet k = { .len = r->msg[i].msg_len, .type = r->from[i].sll_pkttype };
	uint8_t *data = r->iov[i].iov_base;
	struct tpacket_auxdata aux;
	struct timespec ts;

	read_control(&r->msg[i].msg_hdr, &ts, &aux);
	if (aux.tp_len > k.len) /* a filter can cut, too */
		k.len = aux.tp_len;
	k.ts_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	k.caplen = r->msg[i].msg_len < r->snaplen ? r->msg[i].msg_len : r->snaplen;
	if (aux.tp_status & TP_STATUS_VLAN_VALID && k.caplen >= TAG_AT) {
		data = put_tag(data, &aux);
		k.len += TAG_BYTES;
		k.caplen += TAG_BYTES;
		if (k.caplen > r->snaplen)
			k.caplen = r->snaplen;
	}
	k.data = data;
	return k;
}

/**
 * packet_read() - read what has come, up to a bound
 * @fd: from packet_open(), borrowed
 * @fn: called for each packet
 *
 * Return: number of packets; -ENETDOWN when the interface went down or away, told once;
 * what @fn returned; minus errno
 */
int packet_read(struct packet_reader *r, int fd, packet_fn *fn, void *arg, struct err *e)
{
	int turn, i, total = 0;

	for (turn = 0; turn < TURNS; turn++) {
		int n;

		for (i = 0; i < BATCH; i++) {
			r->msg[i].msg_hdr.msg_namelen = sizeof(r->from[i]);
			r->msg[i].msg_hdr.msg_controllen = sizeof(r->control[i]);
		}
		n = recvmmsg(fd, r->msg, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return total;
		if (n < 0)
			return err_sys(e, "packet socket");
		for (i = 0; i < n; i++) {
			struct packet k = packet_at(r, (size_t)i);
			int rc = fn(arg, &k, e);

			if (rc < 0)
				return rc;
		}
		total += n;
		if (n < BATCH)
			break;
	}
	return total;
}

/**
 * packet_counts() - add what came of packets that passed the filter since the last call
 * @received: all of them
 * @dropped:  of these, lost for want of room in the socket
 */
void packet_counts(int fd, uint64_t *received, uint64_t *dropped)
{
	struct tpacket_stats st = { 0 };
	socklen_t len = sizeof(st);

	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) < 0)
		return;
	*received += st.tp_packets;
	*dropped += st.tp_drops;
}
