// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Copies packets of an interface to the host over the connection that it asked by. A
 * child of our own does it, so that it may wait: for packets, and for a host that
 * reads slowly, while the kernel's queue fills and then drops, which it counts. The
 * child has one batch in memory and nothing else; it ends when the host closes its half
 * (with a last batch), goes away, or the interface does.
 *
 * The connection is no network traffic of the guest, so a capture does not see itself.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/packet.h"

/* Captures at a time: those of some people who look at the same pod. */
#define CAPTURES_MAX 32

/* Bytes of packets in a batch; one more packet of the longest kind still fits a frame. */
#define BATCH_BYTES 262144u

#define PACKETS_FD 3
#define HOST_FD 4

static pid_t captures[CAPTURES_MAX];

/**
 * struct batch - packets on their way to the host
 * @used: bytes of @data
 */
struct batch {
	struct packet_reader *reader;
	Podvm__Captured captured;
	Podvm__Packet packet[PACKET_BATCH_MAX];
	Podvm__Packet *list[PACKET_BATCH_MAX];
	size_t used;
	uint8_t data[BATCH_BYTES + PACKET_SNAPLEN_MAX];
};

static int send_batch(struct batch *b, struct err *e)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	int rc;

	packet_counts(PACKETS_FD, &b->captured.received, &b->captured.dropped);
	r.body_case = PODVM__RESPONSE__BODY_CAPTURED;
	r.captured = &b->captured;
	rc = frame_send(HOST_FD, &r.base, -1, e);
	b->captured.n_packets = 0;
	b->used = 0;
	return rc;
}

static int on_packet(void *arg, const struct packet *k, struct err *e)
{
	struct batch *b = arg;
	Podvm__Packet *to = &b->packet[b->captured.n_packets];

	podvm__packet__init(to);
	to->ts_ns = k->ts_ns;
	to->len = k->len;
	to->type = k->type;
	to->data.data = b->data + b->used;
	to->data.len = k->caplen;
	memcpy(to->data.data, k->data, k->caplen);
	b->used += k->caplen;
	b->list[b->captured.n_packets++] = to;
	if (b->captured.n_packets < PACKET_BATCH_MAX && b->used < BATCH_BYTES)
		return 0;
	return send_batch(b, e);
}

/* What the host sends has no meaning but its end. Return: false then */
static bool host_listens(short events)
{
	char ignored[64];
	ssize_t n;

	if (!events)
		return true;
	n = recv(HOST_FD, ignored, sizeof(ignored), MSG_DONTWAIT);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static int copy_packets(struct batch *b, struct err *e)
{
	struct pollfd p[] = { { PACKETS_FD, POLLIN, 0 }, { HOST_FD, POLLIN, 0 } };
	int rc = 0;

	while (!b->captured.last) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		b->captured.last = !host_listens(p[1].revents);
		rc = packet_read(b->reader, PACKETS_FD, on_packet, b, e);
		if (rc == -ENETDOWN) /* it may come up again, or never */
			rc = 0;
		if (rc >= 0 && (b->captured.n_packets || b->captured.last))
			rc = send_batch(b, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

__attribute__((noreturn)) static void child(int packets, int host, uint32_t snaplen)
{
	struct batch *b;
	struct err e = { 0 };
	sigset_t none;
	size_t i;

	if (dup2(packets, PACKETS_FD) < 0 || dup2(host, HOST_FD) < 0)
		_exit(1);
	syscall(SYS_close_range, HOST_FD + 1, ~0u, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	b = mem_new(struct batch);
	if (!b || packet_reader_new(snaplen, &b->reader, &e) < 0)
		_exit(1);
	podvm__captured__init(&b->captured);
	for (i = 0; i < PACKET_BATCH_MAX; i++)
		b->list[i] = &b->packet[i];
	b->captured.packets = b->list;
	_exit(copy_packets(b, &e) < 0);
}

/**
 * capture_link() - the interface with an address
 *
 * Return: 0; -ENODEV; minus errno
 */
int capture_link(const ProtobufCBinaryData *mac, struct rtm_link *ret, struct err *e)
{
	_cleanup_free_ struct rtm_link *v = NULL;
	_cleanup_close_ int nl = rtm_open(e);
	size_t n, i;
	int rc = nl < 0 ? nl : rtm_links(nl, &v, &n, e);

	if (rc < 0)
		return rc;
	for (i = 0; i < n; i++)
		if (v[i].has_mac && mac->len == 6 && !memcmp(v[i].mac, mac->data, 6)) {
			*ret = v[i];
			return 0;
		}
	return err_set(e, ENODEV, "the guest has no interface with this address");
}

static int open_packets(const Podvm__CaptureOpen *m, int *ret, struct err *e)
{
	_cleanup_free_ struct sock_filter *filter = NULL;
	struct rtm_link link;
	int rc;

	if (m->filter.len % sizeof(*filter) || m->filter.len / sizeof(*filter) > PACKET_FILTER_MAX)
		return err_set(e, EINVAL, "filter of %zu bytes", m->filter.len);
	if (!m->snaplen || m->snaplen > PACKET_SNAPLEN_MAX)
		return err_set(e, EINVAL, "%u bytes of a packet", m->snaplen);
	rc = capture_link(&m->mac, &link, e);
	if (rc < 0)
		return rc;
	/* The message's bytes may lie anywhere. */
	filter = malloc(m->filter.len ? m->filter.len : 1);
	if (!filter)
		return err_set(e, ENOMEM, "out of memory");
	if (m->filter.len)
		memcpy(filter, m->filter.data, m->filter.len);
	return packet_open((uint32_t)link.index, filter, m->filter.len / sizeof(*filter), ret, e);
}

/**
 * capture_begin() - begin to copy the packets of an interface over this connection
 * @c: gives its descriptor away on success
 *
 * Return: 0; -ENODEV; -EINVAL; -EBUSY when there are too many captures; minus errno
 */
int capture_begin(struct conn *c, const Podvm__CaptureOpen *m, struct err *e)
{
	Podvm__Response ok = PODVM__RESPONSE__INIT;
	_cleanup_close_ int fd = -1, packets = -1;
	size_t i;
	int rc;

	if (c->main || c->owner)
		return err_set(e, EINVAL, "a capture has a connection of its own");
	for (i = 0; i < CAPTURES_MAX && captures[i]; i++)
		;
	if (i == CAPTURES_MAX)
		return err_set(e, EBUSY, "there are %d captures already", CAPTURES_MAX);
	rc = open_packets(m, &packets, e);
	/* The answer comes before any packet; it is small. */
	if (rc >= 0)
		rc = frame_send(c->fd, &ok.base, 1000, e);
	if (rc < 0)
		return rc;
	fd = conn_take_fd(c);
	captures[i] = fork();
	if (!captures[i])
		child(packets, fd, m->snaplen);
	if (captures[i] < 0) {
		log_error("agent: capture: fork: %m"); /* the connection closes */
		captures[i] = 0;
	}
	return 0;
}

/**
 * capture_reaped() - a child of ours has ended
 *
 * Return: whether it copied packets
 */
bool capture_reaped(pid_t pid)
{
	size_t i;

	for (i = 0; i < CAPTURES_MAX; i++)
		if (captures[i] == pid) {
			captures[i] = 0;
			return true;
		}
	return false;
}
