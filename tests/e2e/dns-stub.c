// SPDX-License-Identifier: Apache-2.0
/*
 * dns-stub IP PORT - a DNS server as engines have it in a pod's network namespace: every
 * name has the address 192.0.2.53 and no other record. Names that begin with "long" are
 * truncated by UDP. Says "ready" when it serves.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER 12

/* Makes the answer of a query in place. Return: its length, 0 for what is no query */
static size_t answer(unsigned char *b, size_t n, size_t room, int tcp)
{
	static const unsigned char record[] = { 0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4,
						192, 0, 2, 53 };
	size_t at = HEADER;

	if (n < HEADER || b[2] & 0x80)
		return 0;
	while (at < n && b[at])
		at += 1u + b[at];
	at += 5;
	if (at > n || at + sizeof(record) > room)
		return 0;
	b[2] |= 0x80;
	memset(b + 6, 0, 6);
	if (!tcp && !memcmp(b + HEADER + 1, "long", 4)) {
		b[2] |= 0x02;
		return at;
	}
	if (b[at - 3] == 1) {
		b[7] = 1;
		memcpy(b + at, record, sizeof(record));
		at += sizeof(record);
	}
	return at;
}

static void serve_tcp(int l)
{
	int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	unsigned char b[2 + 4096];
	size_t n;

	while (recv(fd, b, 2, MSG_WAITALL) == 2) {
		n = (size_t)b[0] << 8 | b[1];
		if (n > 4000 || recv(fd, b + 2, n, MSG_WAITALL) != (ssize_t)n)
			break;
		n = answer(b + 2, n, 4096, 1);
		b[0] = (unsigned char)(n >> 8);
		b[1] = (unsigned char)n;
		if (!n || send(fd, b, n + 2, MSG_NOSIGNAL) < 0)
			break;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET }, from;
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd p[] = { { .fd = udp, .events = POLLIN }, { .fd = tcp, .events = POLLIN } };
	unsigned char b[4096];

	if (argc != 3 || inet_pton(AF_INET, argv[1], &sa.sin_addr) != 1)
		return 2;
	sa.sin_port = htons((unsigned short)strtoul(argv[2], NULL, 10));
	if (bind(udp, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    bind(tcp, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(tcp, 8) < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (poll(p, 2, -1) > 0) {
		socklen_t len = sizeof(from);
		ssize_t n;
		size_t out;

		if (p[1].revents)
			serve_tcp(tcp);
		if (!p[0].revents)
			continue;
		n = recvfrom(udp, b, sizeof(b), 0, (struct sockaddr *)&from, &len);
		out = n > 0 ? answer(b, (size_t)n, sizeof(b), 0) : 0;
		if (out)
			sendto(udp, b, out, 0, (struct sockaddr *)&from, len);
	}
	return 1;
}
