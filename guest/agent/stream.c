// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Copies between a process's pipe or terminal and one connection to the host.
 * One small buffer per direction: a side is read only while the buffer to the
 * other side is empty, so a host that does not read stops its process at a
 * full pipe, and nobody else. Without a stream the pipe is not read at all:
 * output waits for the host to attach, also after the process has ended.
 *
 * States of the output direction: open -> end seen (end of file, or nothing
 * left of an ended process, whose children may hold the pipe) -> delivered
 * (the host has our half-close). A connection that breaks is gone; the host
 * may open another one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

/* Buffers that one call moves before others get their turn. */
#define TURNS 16

/* Output of a terminal that is passed on after its process has ended. */
#define TTY_DRAIN_BYTES 65536u

struct buffer {
	size_t off, len;
	uint8_t b[STREAM_BUF_BYTES];
};

/**
 * struct stream - one connection of one process
 * @sock:      owned; -1: gone
 * @in_open:   the host may still send
 * @out_open:  the process may still write
 * @draining:  the process has ended: an empty pipe is its end
 * @left:      when @draining: bytes of it at most, for its children may go on writing
 * @delivered: all output and the half-close are on their way
 */
struct stream {
	struct task *task;
	enum stream_kind kind;
	int sock;
	struct loop_src *sock_src, *pipe_src;
	bool in_open, out_open, draining, delivered;
	size_t left;
	struct buffer in, out;
};

static void on_pipe(void *arg, uint32_t events);

static int *pipe_of(struct stream *s)
{
	return &s->task->fd[s->kind];
}

static void close_pipe(struct stream *s)
{
	loop_del(s->pipe_src);
	s->pipe_src = NULL;
	fd_close(pipe_of(s));
}

static void gone(struct stream *s)
{
	loop_del(s->sock_src);
	loop_del(s->pipe_src);
	s->sock_src = s->pipe_src = NULL;
	fd_close(&s->sock);
	s->in_open = s->out_open = false;
}

/* Each returns whether it moved anything. */
static bool fill_out(struct stream *s)
{
	size_t room = sizeof(s->out.b);
	ssize_t n;

	if (!s->out_open || s->out.len)
		return false;
	if (s->draining && room > s->left)
		room = s->left;
	n = *pipe_of(s) < 0 || !room ? 0 : read(*pipe_of(s), s->out.b, room);
	if (n < 0 && (errno == EINTR || (errno == EAGAIN && !s->draining)))
		return false;
	if (n <= 0) { /* EIO is how a terminal without a process ends */
		s->out_open = false;
		if (s->kind != STREAM_TTY)
			close_pipe(s);
		else
			s->in_open = false, s->in.len = 0;
		return true;
	}
	s->left -= s->draining ? (size_t)n : 0;
	s->out.off = 0;
	s->out.len = (size_t)n;
	return true;
}

static bool drain_out(struct stream *s)
{
	ssize_t n;

	if (!s->out.len)
		return false;
	n = send(s->sock, s->out.b + s->out.off, s->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0) {
		gone(s);
		return true;
	}
	s->out.off += (size_t)n;
	s->out.len -= (size_t)n;
	return true;
}

static bool fill_in(struct stream *s)
{
	ssize_t n;

	if (!s->in_open || s->in.len)
		return false;
	n = recv(s->sock, s->in.b, sizeof(s->in.b), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0) {
		gone(s);
		return true;
	}
	if (!n)
		s->in_open = false;
	/* What comes on an output stream is nobody's input. */
	if (s->kind == STREAM_IN || s->kind == STREAM_TTY) {
		s->in.off = 0;
		s->in.len = (size_t)n;
	}
	return n > 0;
}

static bool drain_in(struct stream *s)
{
	ssize_t n;

	if (!s->in.len)
		return false;
	n = *pipe_of(s) < 0 ? -1 : write(*pipe_of(s), s->in.b + s->in.off, s->in.len);
	if (n < 0 && *pipe_of(s) >= 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0) { /* the process has closed its input */
		s->in.len = 0;
		if (s->kind == STREAM_IN)
			s->in_open = false;
		return true;
	}
	s->in.off += (size_t)n;
	s->in.len -= (size_t)n;
	return true;
}

static void watch_pipe(struct stream *s)
{
	uint32_t want = 0;
	struct err e;

	if (s->out_open && !s->out.len)
		want |= EPOLLIN;
	if (s->in.len)
		want |= EPOLLOUT;
	if (!want || *pipe_of(s) < 0) { /* else a hang-up would be told for ever */
		loop_del(s->pipe_src);
		s->pipe_src = NULL;
	} else if (s->pipe_src) {
		loop_mod(s->pipe_src, want);
	} else if (loop_add(s->task->ctr->agent->loop, *pipe_of(s), want, on_pipe, s,
			    &s->pipe_src, &e) < 0) {
		gone(s);
	}
}

static void pump(struct stream *s)
{
	struct task *t = s->task;
	bool was = s->delivered;
	int turn;

	/* Without a source for the socket nobody would call again. */
	for (turn = 0; (turn < TURNS || !s->sock_src) && s->sock >= 0; turn++) {
		bool moved = fill_out(s);

		moved |= s->sock >= 0 && drain_out(s);
		moved |= s->sock >= 0 && fill_in(s);
		moved |= s->sock >= 0 && drain_in(s);
		if (!moved)
			break;
	}
	if (s->sock < 0) {
		task_output_done(t);
		return;
	}
	if (s->kind == STREAM_IN && !s->in_open && !s->in.len)
		close_pipe(s);
	if (s->kind != STREAM_IN && !s->out_open && !s->out.len && !s->delivered) {
		shutdown(s->sock, SHUT_WR);
		s->delivered = true;
	}
	watch_pipe(s);
	if (s->sock_src)
		loop_mod(s->sock_src, (s->in_open && !s->in.len ? EPOLLIN : 0u) |
				      (s->out.len ? EPOLLOUT : 0u));
	if (s->delivered != was || s->sock < 0)
		task_output_done(t);
}

static void on_sock(void *arg, uint32_t events)
{
	struct stream *s = arg;

	pump(s);
	if (s->sock < 0 || !(events & (EPOLLHUP | EPOLLERR)))
		return;
	if (s->in_open && !(events & EPOLLERR)) {
		/* Input waits for the process: its pipe tells when to go on. */
		loop_del(s->sock_src);
		s->sock_src = NULL;
		pump(s);
	} else {
		gone(s);
		task_output_done(s->task);
	}
}

static void on_pipe(void *arg, uint32_t events)
{
	(void)events;
	pump(arg);
}

/* What the process wrote before it ended is what is in the pipe now. */
static void begin_drain(struct stream *s)
{
	int n = 0;

	s->draining = true;
	s->left = TTY_DRAIN_BYTES;
	if (s->kind != STREAM_TTY && *pipe_of(s) >= 0 && !ioctl(*pipe_of(s), FIONREAD, &n))
		s->left = (size_t)n;
}

/**
 * stream_attach() - connect a process's stream to the host; stream_start() follows
 * @kind: STREAM_IN, STREAM_OUT, STREAM_ERR, or STREAM_TTY for a terminal
 * @fd:   socket; owned by the stream on success
 *
 * Return: 0; -EBUSY while another connection has it; -EINVAL for a stream that
 * the process does not have; minus errno
 */
int stream_attach(struct task *t, enum stream_kind kind, int fd, struct err *e)
{
	struct stream *s;
	int rc;

	if (t->terminal != (kind == STREAM_TTY))
		return err_set(e, EINVAL, t->terminal ?
			       "the process has a terminal, not standard streams" :
			       "the process has no terminal");
	if (t->stream[kind] && t->stream[kind]->sock >= 0)
		return err_set(e, EBUSY, "the stream has a connection already");
	s = mem_new(struct stream);
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->task = t;
	s->kind = kind;
	s->sock = fd;
	s->in_open = true;
	s->out_open = kind != STREAM_IN;
	if (t->state == TASK_ENDED)
		begin_drain(s);
	rc = loop_add(t->ctr->agent->loop, fd, EPOLLIN, on_sock, s, &s->sock_src, e);
	if (rc < 0) {
		free(s);
		return rc;
	}
	stream_free(t->stream[kind]);
	t->stream[kind] = s;
	return 0;
}

/**
 * stream_start() - begin to copy; once the host has been answered
 */
void stream_start(struct stream *s)
{
	if (s->sock >= 0)
		pump(s);
}

/**
 * stream_free() - close the connection and free it; NULL is fine; the pipe stays
 */
void stream_free(struct stream *s)
{
	if (!s)
		return;
	gone(s);
	free(s);
}

/**
 * stream_drain() - the process has ended: pass on what is left, then the end
 *
 * Tells task_output_done() when that is done, maybe at once.
 */
void stream_drain(struct stream *s)
{
	if (s->sock < 0)
		return;
	begin_drain(s);
	if (s->kind == STREAM_IN)
		gone(s);
	else
		pump(s);
}

/**
 * stream_delivered() - nothing is to come any more, or nobody is there to take it
 */
bool stream_delivered(const struct stream *s)
{
	return !s || s->sock < 0 || s->delivered || s->kind == STREAM_IN;
}
