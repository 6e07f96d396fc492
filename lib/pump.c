// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One TCP connection, carried between the pod's network namespace and its guest by a
 * stream, the link. Both ends run this code: one has the socket of who has called, the
 * other that of who was called.
 *
 * On the link each direction is a sequence of chunks: a length (16 bits, little-endian),
 * then as many bytes; length 0 is the END of the direction, and nothing follows. Who has
 * sent END and received END closes the link. A link that closes earlier is a reset, and
 * the TCP connection gets RST. So a half-close passes in both directions, and what was
 * cut never looks like what has ended; the link's own half-close could not tell the two
 * apart once one direction has ended.
 *
 * A side is read only while nothing waits for the other one: a reader that is slow stops
 * its writer, and PUMP_CHUNK_BYTES at most wait here, in memory that exists only then.
 * When a reset comes while something waits, that is lost, as what is on its way is in TCP;
 * what had arrived before is delivered.
 *
 * Both sockets are watched with edges: an event sets what a side is ready for, EAGAIN
 * clears it. So nothing spins on a socket that has hung up and cannot be served yet.
 *
 * Bytes are copied, not spliced: chunks need a length before them, and vsock knows no
 * splice.
 */
#include "lib/pump.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"

#define HEAD_BYTES 2

/* Chunks that one event moves before others get their turn. */
#define TURNS 16

#define WATCHED (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* What a side did not take; NULL while there is nothing. */
struct rest {
	uint8_t *b; /* owned */
	size_t off, len;
};

/**
 * struct side - one of the two sockets
 * @fd:        owned
 * @rest:      that waits to be sent to it
 * @in, @out:  may be read, written; false after EAGAIN
 * @gone:      it has been reset, or closed by the other end
 */
struct side {
	int fd;
	struct loop_src *src;
	struct rest rest;
	bool in, out, gone;
};

/**
 * struct pump - one connection
 * @eof:     nothing more comes from TCP: END is sent, or waits in @link.rest
 * @end:     nothing more comes from the link
 * @fin:     TCP has been told so
 * @left:    bytes of the link's chunk that are still to come
 * @half:    @low is the first byte of a length
 */
struct pump {
	struct side tcp, link;
	pump_fn *ended;
	void *arg;
	bool eof, end, fin;
	size_t left;
	bool half;
	uint8_t low;
};

static void side_done(struct side *s)
{
	loop_del(s->src);
	s->src = NULL;
	fd_close(&s->fd);
	free(s->rest.b);
	s->rest.b = NULL;
}

/**
 * pump_reset() - close a TCP socket so that its peer gets RST
 * @tcp: closed; -1 afterwards
 */
void pump_reset(int *tcp)
{
	struct linger now = { .l_onoff = 1 };

	if (*tcp >= 0)
		setsockopt(*tcp, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	fd_close(tcp);
}

/* Return: bytes that moved; 0 it takes none now; minus errno: it never will. */
static ssize_t send_some(struct side *s, const uint8_t *b, size_t len)
{
	ssize_t n;

	if (!s->out)
		return 0;
	do {
		n = send(s->fd, b, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	s->out = false;
	return errno == EAGAIN ? 0 : -errno;
}

/* Sends; what is not taken waits. */
static int put(struct side *s, const uint8_t *b, size_t len)
{
	ssize_t n = len ? send_some(s, b, len) : 0;

	if (n < 0)
		return (int)n;
	if ((size_t)n == len)
		return 1;
	s->rest.b = malloc(len - (size_t)n);
	if (!s->rest.b)
		return -ENOMEM;
	s->rest.len = len - (size_t)n;
	s->rest.off = 0;
	memcpy(s->rest.b, b + n, s->rest.len);
	return 1;
}

static int flush(struct side *s)
{
	ssize_t n = s->rest.len ? send_some(s, s->rest.b + s->rest.off, s->rest.len) : 0;

	if (n <= 0)
		return (int)n;
	s->rest.off += (size_t)n;
	s->rest.len -= (size_t)n;
	if (s->rest.len)
		return 1;
	free(s->rest.b);
	s->rest.b = NULL;
	return 1;
}

/* Return: as recv(), but 0 when there is nothing now; *ret_eof: the end of file */
static ssize_t take(struct side *s, uint8_t *b, size_t room, bool *ret_eof)
{
	ssize_t n;

	*ret_eof = false;
	do {
		n = recv(s->fd, b, room, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	s->in = false;
	*ret_eof = !n;
	return !n || errno == EAGAIN ? 0 : -errno;
}

/* Each of the two: 1 it moved something, 0 nothing, minus errno the connection is broken. */
static int from_tcp(struct pump *p)
{
	uint8_t b[HEAD_BYTES + PUMP_CHUNK_BYTES];
	ssize_t n;

	if (p->link.rest.len || p->eof || !p->tcp.in)
		return 0;
	n = take(&p->tcp, b + HEAD_BYTES, PUMP_CHUNK_BYTES, &p->eof);
	if (n < 0 || (!n && !p->eof))
		return (int)n;
	b[0] = (uint8_t)n;
	b[1] = (uint8_t)(n >> 8);
	return put(&p->link, b, HEAD_BYTES + (size_t)n);
}

/* Takes the lengths out. Return: bytes that are left at the start of @b; -EPROTO */
static ssize_t strip(struct pump *p, uint8_t *b, size_t n)
{
	size_t i = 0, len = 0;

	while (i < n) {
		size_t part = p->left < n - i ? p->left : n - i;

		if (p->end)
			return -EPROTO;
		memmove(b + len, b + i, part);
		len += part;
		i += part;
		p->left -= part;
		if (part)
			continue;
		if (p->half) {
			p->left = p->low | (size_t)b[i] << 8;
			p->end = !p->left;
		}
		p->low = b[i++];
		p->half = !p->half;
	}
	return (ssize_t)len;
}

static int from_link(struct pump *p)
{
	uint8_t b[HEAD_BYTES + PUMP_CHUNK_BYTES];
	bool closed;
	ssize_t n;

	if (p->tcp.rest.len || p->end || !p->link.in)
		return 0;
	n = take(&p->link, b, PUMP_CHUNK_BYTES, &closed);
	if (closed)
		return -ECONNRESET;
	if (n <= 0)
		return (int)n;
	n = strip(p, b, (size_t)n);
	return n < 0 ? (int)n : put(&p->tcp, b, (size_t)n);
}

/*
 * Whether a reset need not be read to be known: nothing more can be read from there, or
 * not before something is taken that waits. The other end closes the link only when it
 * has our END.
 */
static bool was_reset(const struct pump *p)
{
	bool done = p->eof && !p->link.rest.len;

	return (p->tcp.gone && (p->eof || p->link.rest.len)) ||
	       (p->link.gone && !done && (p->end || p->tcp.rest.len));
}

/* Return: 1 go on, 0 nothing more to do now, minus errno: broken. */
static int turn(struct pump *p)
{
	int a, b, rc;

	if ((rc = a = flush(&p->link)) < 0 || (rc = b = flush(&p->tcp)) < 0)
		return rc;
	rc = from_link(p);
	if (rc < 0)
		return rc;
	b |= rc;
	if (p->end && !p->tcp.rest.len && !p->fin) {
		p->fin = true;
		shutdown(p->tcp.fd, SHUT_WR);
	}
	rc = from_tcp(p);
	if (rc < 0)
		return rc;
	return was_reset(p) ? -ECONNRESET : a | b | rc;
}

static void end(struct pump *p, bool reset)
{
	pump_fn *ended = p->ended;
	void *arg = p->arg;

	if (!reset)
		side_done(&p->tcp);
	pump_free(p);
	ended(arg);
}

static void move(struct pump *p)
{
	int i, rc = 1;

	for (i = 0; i < TURNS && rc > 0; i++)
		rc = turn(p);
	if (rc < 0) {
		end(p, true);
	} else if (p->eof && p->fin && !p->link.rest.len) {
		end(p, false);
	} else if (rc) { /* asks for the edges anew */
		loop_mod(p->link.src, WATCHED);
		loop_mod(p->tcp.src, WATCHED);
	}
}

static void ready(struct side *s, uint32_t events, uint32_t gone)
{
	s->gone |= !!(events & gone);
	s->in |= !!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR));
	s->out |= !!(events & (EPOLLOUT | EPOLLHUP | EPOLLERR));
}

static void on_tcp(void *arg, uint32_t events)
{
	struct pump *p = arg;

	ready(&p->tcp, events, EPOLLERR);
	move(p);
}

static void on_link(void *arg, uint32_t events)
{
	struct pump *p = arg;

	ready(&p->link, events, EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	move(p);
}

/**
 * pump_new() - carry a TCP connection
 * @l:     borrowed, outlives the pump
 * @tcp:   connected socket; owned by the pump on success
 * @link:  stream socket whose other end is a pump, too; owned by the pump on success
 * @ended: called once, when it has ended by itself; the pump is freed then
 * @ret:   pump_start() follows; pump_free() ends it early
 *
 * Return: 0 or minus errno
 */
int pump_new(struct loop *l, int tcp, int link, pump_fn *ended, void *arg, struct pump **ret,
	     struct err *e)
{
	struct pump *p = mem_new(struct pump);
	int rc, on = 1;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->tcp.fd = p->link.fd = -1;
	p->ended = ended;
	p->arg = arg;
	rc = loop_add(l, tcp, WATCHED, on_tcp, p, &p->tcp.src, e);
	if (rc >= 0)
		rc = loop_add(l, link, WATCHED, on_link, p, &p->link.src, e);
	if (rc < 0) {
		pump_free(p);
		return rc;
	}
	/* Chunks go as they come: who wrote them has decided how much is one. */
	setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	p->tcp.fd = tcp;
	p->link.fd = link;
	*ret = p;
	return 0;
}

/**
 * pump_start() - begin to copy; may free @p
 */
void pump_start(struct pump *p)
{
	p->tcp.in = p->tcp.out = p->link.in = p->link.out = true;
	move(p);
}

/**
 * pump_free() - end the connection at once, with RST; NULL is fine; @ended is not called
 */
void pump_free(struct pump *p)
{
	if (!p)
		return;
	loop_del(p->tcp.src);
	p->tcp.src = NULL;
	pump_reset(&p->tcp.fd);
	side_done(&p->tcp);
	side_done(&p->link);
	free(p);
}
