// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A shim as a process of its own, with the test as its supervisor and its guest. The
 * functions are the steps of its beginning, in their order; a test may leave off anywhere
 * and do something else.
 */
#include "tests/kit/shimhost.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/agent.pb-c.h"
#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/pod.h"
#include "runtime/shim/shim.h"

#define ANSWER_MS 60000

/* What the shim's process has, and nothing else. */
static void be_shim(int (*shim)(int, char **), int sock, int ready, int log_to, int out)
{
	char *argv[] = { strdup("shim"), strdup("c"), strdup(""), strdup("pipes"), strdup("text") };
	int null = open("/dev/null", O_RDWR), moved[4], i;

	moved[0] = fcntl(ready, F_DUPFD, 20);
	moved[1] = fcntl(sock, F_DUPFD, 20);
	moved[2] = fcntl(log_to, F_DUPFD, 20);
	moved[3] = fcntl(out < 0 ? null : out, F_DUPFD, 20);
	for (i = 0; i < 3; i++)
		dup2(i == 1 ? moved[3] : null, i);
	close_range(3, 19, 0);
	dup2(moved[0], SHIM_READY_FD);
	dup2(moved[1], SHIM_CONTROL_FD);
	dup2(moved[2], SHIM_LOG_FD);
	close_range(20, ~0u, 0);
	_exit(shim(5, argv));
}

/**
 * shimhost_spawn() - start a shim
 * @shim:   its main()
 * @output: its standard output is a pipe, whose other end is @h->out
 */
void shimhost_spawn(struct shimhost *h, int (*shim)(int argc, char **argv), bool output)
{
	int s[2], ready[2], out[2] = { -1, -1 };

	*h = (struct shimhost){ .agent = -1, .hold = -1, .streams = { -1, -1, -1 } };
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	ck_assert(!output || !pipe2(out, O_CLOEXEC));
	h->log = memfd_create("log", MFD_CLOEXEC);
	h->pid = fork();
	if (!h->pid)
		be_shim(shim, s[1], ready[1], h->log, out[1]);
	close(s[1]);
	close(ready[1]);
	fd_close(&out[1]);
	h->control = s[0];
	h->ready = ready[0];
	h->out = out[0];
}

/* A connection of the guest: ours; the other end goes to the shim. */
static int connection(int *ret_theirs)
{
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	*ret_theirs = s[1];
	return s[0];
}

static void answer_control(struct shimhost *h, Podvm__Pod__Response *rs, int *fds, size_t n)
{
	uint8_t buf[4096];
	struct err e = { 0 };
	size_t len, got;

	ck_assert_int_gt(fd_recv(h->control, buf, sizeof(buf), NULL, 0, &got, &e), 0);
	len = podvm__pod__response__pack(rs, buf);
	if (!len)
		buf[len++] = 0x08, buf[len++] = 0x00;
	ck_assert_int_eq(fd_send(h->control, buf, len, fds, n, &e), 0);
	while (n)
		close(fds[--n]);
}

/**
 * shimhost_join() - the supervisor gives the shim its connection to the agent
 * @settle_ms:  how long it may be held after its process
 * @write_back: something is to come back
 */
void shimhost_join(struct shimhost *h, uint32_t settle_ms, bool write_back)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;
	int s[2], fds[3];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	h->hold = s[0];
	rs.settle_ms = settle_ms;
	rs.write_back = write_back;
	h->agent = connection(&fds[0]);
	fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	fds[2] = s[1];
	answer_control(h, &rs, fds, 3);
}

/**
 * shimhost_answer() - the agent takes a request and has no objection
 */
void shimhost_answer(int fd)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	struct frame_rx rx = { 0 };
	struct err e = { 0 };

	ck_assert_msg(!frame_recv(fd, &rx, ANSWER_MS, &e), "%s", e.text);
	frame_done(&rx);
	ck_assert_int_eq(frame_send(fd, &rs.base, ANSWER_MS, &e), 0);
}

/**
 * shimhost_stream() - the supervisor gives the shim the connection for a stream
 * @i: 0, 1 or 2, in this order
 */
void shimhost_stream(struct shimhost *h, int i)
{
	Podvm__Pod__Response plain = PODVM__POD__RESPONSE__INIT;
	int fd;

	h->streams[i] = connection(&fd);
	answer_control(h, &plain, &fd, 1);
}

/**
 * shimhost_streams() - the agent has the process and all its streams: the shim is ready
 */
void shimhost_streams(struct shimhost *h)
{
	char c;
	int i;

	shimhost_answer(h->agent);
	for (i = 0; i < 3; i++) {
		shimhost_stream(h, i);
		shimhost_answer(h->streams[i]);
	}
	ck_assert_int_eq(read(h->ready, &c, 1), 1);
}

/**
 * shimhost_exited() - the agent tells that the process has ended
 */
void shimhost_exited(int fd, uint32_t code, uint32_t sig)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;
	struct err e = { 0 };

	x.code = code;
	x.signal = sig;
	rs.body_case = PODVM__RESPONSE__BODY_EXITED;
	rs.exited = &x;
	ck_assert_int_eq(frame_send(fd, &rs.base, ANSWER_MS, &e), 0);
}

/**
 * shimhost_end() - wait for the shim's end, and close everything
 * @said: gets what is in the engine's log
 *
 * Return: status as wait(2) has it
 */
int shimhost_end(struct shimhost *h, char said[500])
{
	int status = 0, i;
	ssize_t n;

	ck_assert_int_eq(waitpid(h->pid, &status, 0), h->pid);
	n = pread(h->log, said, 499, 0);
	said[n < 0 ? 0 : n] = 0;
	for (i = 0; i < 3; i++)
		fd_close(&h->streams[i]);
	fd_close(&h->control);
	fd_close(&h->agent);
	fd_close(&h->hold);
	fd_close(&h->log);
	fd_close(&h->ready);
	fd_close(&h->out);
	return status;
}
