// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One packet that begins a flow, for a trace: on the host from its network namespace
 * to the guest, in the guest to wherever. What comes back is seen by those who
 * capture, not by us; so nothing waits here, and nothing is kept. A connection is
 * given up while its SYN is under way, and the kernel answers what comes with a reset.
 *
 * Sources: raw(7), icmp(7), RFC 792, RFC 4443 section 4.1.
 */
#include "lib/probe.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"

/* Behind the header of an echo request, and in a datagram. */
static const char payload[] = "podvm-netplug trace";

union address {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int take_address(const Podvm__Probe *p, union address *a, socklen_t *len, struct err *e)
{
	memset(a, 0, sizeof(*a));
	if (p->port > 65535)
		return err_set(e, EINVAL, "probe: port %u", p->port);
	if (p->address.len == 4) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons((uint16_t)p->port);
		memcpy(&a->v4.sin_addr, p->address.data, 4);
		*len = sizeof(a->v4);
	} else if (p->address.len == 16) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons((uint16_t)p->port);
		memcpy(&a->v6.sin6_addr, p->address.data, 16);
		*len = sizeof(a->v6);
	} else {
		return err_set(e, EINVAL, "probe: address of %zu bytes", p->address.len);
	}
	return 0;
}

static uint16_t checksum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~(sum + (sum >> 16)));
}

/* An echo request; both families have the same layout. Return: its length */
static size_t make_echo(uint8_t *buf, bool v6, uint16_t sequence)
{
	struct icmphdr h = { .type = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO };

	h.un.echo.id = htons((uint16_t)getpid());
	h.un.echo.sequence = htons(sequence);
	memcpy(buf, &h, sizeof(h));
	memcpy(buf + sizeof(h), payload, sizeof(payload));
	if (!v6) /* the kernel does it for IPv6 */
		h.checksum = checksum(buf, sizeof(h) + sizeof(payload));
	memcpy(buf, &h, sizeof(h));
	return sizeof(h) + sizeof(payload);
}

static int send_echo(const union address *a, socklen_t len, uint16_t sequence, struct err *e)
{
	bool v6 = a->sa.sa_family == AF_INET6;
	_cleanup_close_ int fd = socket(a->sa.sa_family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
					v6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);
	union address to = *a;
	uint8_t buf[sizeof(struct icmphdr) + sizeof(payload)];
	size_t n = make_echo(buf, v6, sequence);

	if (fd < 0)
		return err_sys(e, "probe: raw socket");
	if (v6)
		to.v6.sin6_port = 0;
	return sendto(fd, buf, n, MSG_NOSIGNAL, &to.sa, len) < 0 ? err_sys(e, "probe") : 0;
}

static int send_datagram(const union address *a, socklen_t len, struct err *e)
{
	_cleanup_close_ int fd =
		socket(a->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(e, "probe: socket");
	return sendto(fd, payload, sizeof(payload), MSG_NOSIGNAL, &a->sa, len) < 0 ?
		       err_sys(e, "probe") : 0;
}

static int send_syn(const union address *a, socklen_t len, struct err *e)
{
	_cleanup_close_ int fd =
		socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(e, "probe: socket");
	/* A refusal may come at once where the way is short. */
	if (connect(fd, &a->sa, len) < 0 && errno != EINPROGRESS && errno != ECONNREFUSED)
		return err_sys(e, "probe");
	return 0;
}

/**
 * probe_send() - send one packet that begins a flow
 * @p: borrowed; every field is checked
 *
 * Return: 0: it is on its way, or waits for its neighbour's address; -EINVAL;
 * -ENETUNREACH and other errors of routing; minus errno
 * Context: any thread, in whose network namespace it is sent; does not block
 */
int probe_send(const Podvm__Probe *p, struct err *e)
{
	union address a;
	socklen_t len = 0;
	int rc = take_address(p, &a, &len, e);

	if (rc < 0)
		return rc;
	switch (p->protocol) {
	case IPPROTO_ICMP:
		return send_echo(&a, len, (uint16_t)p->sequence, e);
	case IPPROTO_UDP:
		return send_datagram(&a, len, e);
	case IPPROTO_TCP:
		return send_syn(&a, len, e);
	default:
		return err_set(e, EINVAL, "probe: protocol %u is not ICMP, TCP or UDP", p->protocol);
	}
}
