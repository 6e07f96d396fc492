// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How long a question of one byte and its answer take, by TCP and UDP.
 *
 *   bench-delay serve                       answers on port 5300 until it is killed
 *   bench-delay tcp|udp ADDRESS SECONDS     asks, one question after the other
 *
 * Who asks prints one object: how many answers came, and the median and the 99th percentile
 * of the microseconds. A datagram that is not answered in a second is asked again, and
 * counted as lost. Exit status 1 with one line when nothing answers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 5300
#define SAMPLES_MAX 1000000
#define ANSWER_MS 1000
#define CONNECTIONS_MAX 16

static int die(const char *what)
{
	fprintf(stderr, "bench-delay: %s: %s\n", what, strerror(errno));
	return 1;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- who answers ---------------------------------------------------------------------- */

static int open_server(int type)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, CONNECTIONS_MAX) < 0))
		return -1;
	return fd;
}

static void answer_datagram(int fd)
{
	struct sockaddr_in who;
	socklen_t len = sizeof(who);
	char buf[2048];
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&who, &len);

	if (n > 0)
		sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&who, len);
}

/* Return: whether the connection goes on */
static int answer_stream(int fd)
{
	char buf[2048];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	return n > 0 && send(fd, buf, (size_t)n, MSG_NOSIGNAL) == n;
}

static void take_call(int listener, struct pollfd *p, nfds_t *n)
{
	int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (*n == CONNECTIONS_MAX + 2) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	p[(*n)++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static int serve(void)
{
	struct pollfd p[CONNECTIONS_MAX + 2] = {
		{ .fd = open_server(SOCK_STREAM), .events = POLLIN },
		{ .fd = open_server(SOCK_DGRAM), .events = POLLIN },
	};
	nfds_t n = 2, i;

	if (p[0].fd < 0 || p[1].fd < 0)
		return die("port 5300");
	for (;;) {
		if (poll(p, n, -1) < 0 && errno != EINTR)
			return die("poll");
		for (i = n; i-- > 2;)
			if (p[i].revents && !answer_stream(p[i].fd)) {
				close(p[i].fd);
				p[i] = p[--n];
			}
		if (p[1].revents)
			answer_datagram(p[1].fd);
		if (p[0].revents)
			take_call(p[0].fd, p, &n);
	}
}

/* ---- who asks --------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Return: 1 it was answered; 0 it was lost; -1 with errno */
static int ask(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c = 'q';
	int n;

	if (send(fd, &c, 1, MSG_NOSIGNAL) != 1)
		return -1;
	n = poll(&p, 1, ANSWER_MS);
	if (n <= 0)
		return n;
	return recv(fd, &c, 1, 0) == 1 ? 1 : -1;
}

static int measure(int fd, double seconds)
{
	float *took = malloc(SAMPLES_MAX * sizeof(*took));
	size_t n = 0, lost = 0;
	double begin, end;
	int rc;

	if (!took)
		return die("memory");
	/* The first one waits for neighbours. */
	if (ask(fd) < 0)
		return die("ask");
	end = now_us() + seconds * 1e6;
	do {
		begin = now_us();
		rc = ask(fd);
		if (rc < 0)
			return die("ask");
		lost += !rc;
		if (rc)
			took[n++] = (float)(now_us() - begin);
	} while (now_us() < end && n < SAMPLES_MAX);
	errno = ETIMEDOUT;
	if (!n)
		return die("no answer");
	qsort(took, n, sizeof(*took), compare);
	printf("{\"answers\": %zu, \"lost\": %zu, \"median_us\": %.1f, \"p99_us\": %.1f}\n", n, lost,
	       (double)took[n / 2], (double)took[n * 99 / 100]);
	free(took);
	return 0;
}

static int call(int type, const char *address, const char *seconds)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	errno = EINVAL;
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return die(address);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return die(address);
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return measure(fd, strtod(seconds, NULL));
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc == 4 && !strcmp(argv[1], "tcp"))
		return call(SOCK_STREAM, argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "udp"))
		return call(SOCK_DGRAM, argv[2], argv[3]);
	fprintf(stderr, "usage: bench-delay serve | tcp ADDRESS SECONDS | udp ADDRESS SECONDS\n");
	return 1;
}
