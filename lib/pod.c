// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The asking side of a pod's control socket (lib/pod.proto): one packet is a
 * request, one packet its answer, which may carry descriptors.
 */
#include "lib/pod.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"

/**
 * pod_socket_path() - path of a pod's control socket that fits sun_path
 * @dirfd: the pod's directory; the path is valid while it is open
 *
 * Return: 0 or -ENAMETOOLONG
 */
int pod_socket_path(int dirfd, char *dst, size_t room, struct err *e)
{
	int n = snprintf(dst, room, "/proc/self/fd/%d/control.sock", dirfd);

	return n < (int)room ? 0 : err_set(e, ENAMETOOLONG, "socket path too long");
}

/**
 * pod_call_open() - a connection to the supervisor of a pod
 * @dirfd:      the pod's directory, borrowed
 * @timeout_ms: longest that it may take to accept, and for one answer
 * @ret_sock:   owned by the caller
 *
 * Return: 0; -ENOENT, -ECONNREFUSED when there is none; minus errno
 */
int pod_call_open(int dirfd, int timeout_ms, int *ret_sock, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = timeout_ms / 1000,
				 .tv_usec = timeout_ms % 1000 * 1000 };
	_cleanup_close_ int s = -1;

	if (pod_socket_path(dirfd, sa.sun_path, sizeof(sa.sun_path), e) < 0)
		return -ENAMETOOLONG;
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s < 0)
		return err_sys(e, "socket");
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(s, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "pod's supervisor");
	*ret_sock = fd_steal(&s);
	return 0;
}

static int ask(int sock, const Podvm__Pod__Request *rq, const int *fds, size_t n, struct err *e)
{
	size_t len = podvm__pod__request__get_packed_size(rq);
	_cleanup_free_ uint8_t *buf = malloc(len + 1);

	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	if (len > POD_MESSAGE_BYTES)
		return err_set(e, EMSGSIZE, "request too long");
	podvm__pod__request__pack(rq, buf);
	return fd_send(sock, buf, len, fds, n, e) < 0
		? err_set(e, EPIPE, "pod's supervisor has ended") : 0;
}

/**
 * pod_ask() - send one request; its answer comes behind those of earlier ones
 *
 * Return: 0; -EPIPE when the supervisor has ended; -EMSGSIZE; -ENOMEM
 */
int pod_ask(int sock, const Podvm__Pod__Request *rq, struct err *e)
{
	return ask(sock, rq, NULL, 0, e);
}

/**
 * pod_answer() - take the next answer
 * @ret_fds, @min, @max, @ret_n, @ret: as pod_call_fds()
 *
 * Return: as pod_call()
 */
int pod_answer(int sock, int *ret_fds, size_t min, size_t max, size_t *ret_n,
	       Podvm__Pod__Response **ret, struct err *e)
{
	_cleanup_free_ uint8_t *buf = malloc(POD_MESSAGE_BYTES);
	Podvm__Pod__Response *rs;
	size_t got = 0;
	ssize_t n;
	int rc = 0;

	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	n = fd_recv(sock, buf, POD_MESSAGE_BYTES, ret_fds, max, &got, e);
	if (n == -EAGAIN)
		return err_set(e, ETIMEDOUT, "pod's supervisor did not answer in time");
	if (n <= 0)
		return err_set(e, EPIPE, "pod's supervisor ended in the middle of the request");
	rs = podvm__pod__response__unpack(NULL, (size_t)n, buf);
	if (!rs)
		rc = err_set(e, EPROTO, "pod's supervisor sent a message that does not parse");
	else if (rs->error)
		rc = err_set(e, rs->error > 0 ? rs->error : EPROTO, "%s", rs->text);
	else if (got < min)
		rc = err_set(e, EPROTO, "pod's supervisor sent %zu descriptors, not %zu",
			     got, min);
	if (!rc)
		*ret_n = got;
	if (rc < 0 || !ret) {
		while (rc < 0 && got)
			close(ret_fds[--got]);
		if (rs)
			podvm__pod__response__free_unpacked(rs, NULL);
		return rc;
	}
	*ret = rs;
	return 0;
}

/**
 * pod_call_fds() - one request, one answer that may carry more or fewer descriptors
 * @ret_fds: room for @max descriptors; owned by the caller
 * @min:     fewer are a failure
 * @ret_n:   how many came
 * @ret:     answer, podvm__pod__response__free_unpacked(); NULL if it does not matter
 *
 * Return: as pod_call()
 */
int pod_call_fds(int sock, const Podvm__Pod__Request *rq, int *ret_fds, size_t min, size_t max,
		 size_t *ret_n, Podvm__Pod__Response **ret, struct err *e)
{
	int rc = pod_ask(sock, rq, e);

	return rc < 0 ? rc : pod_answer(sock, ret_fds, min, max, ret_n, ret, e);
}

/**
 * pod_call() - one request, one answer
 * @ret_fds: room for @n_fds descriptors that the answer must carry; owned by the caller
 * @ret:     answer, podvm__pod__response__free_unpacked(); NULL if it does not matter
 *
 * Return: 0; minus the errno that was answered, with its text; -EPIPE when the
 * supervisor has ended; -ETIMEDOUT; -EPROTO
 */
int pod_call(int sock, const Podvm__Pod__Request *rq, int *ret_fds,
	     size_t n_fds, Podvm__Pod__Response **ret, struct err *e)
{
	size_t got;

	return pod_call_fds(sock, rq, ret_fds, n_fds, n_fds, &got, ret, e);
}

/**
 * pod_call_give() - one request with a descriptor, one answer
 * @fd: borrowed
 *
 * Return: as pod_call()
 */
int pod_call_give(int sock, const Podvm__Pod__Request *rq, int fd, struct err *e)
{
	size_t got;
	int rc = ask(sock, rq, &fd, 1, e);

	return rc < 0 ? rc : pod_answer(sock, NULL, 0, 0, &got, NULL, e);
}

/**
 * pod_stream() - one more connection to the guest's agent
 * @sock:   to the pod's supervisor, borrowed
 * @ret_fd: owned by the caller
 *
 * Return: as pod_call()
 */
int pod_stream(int sock, int *ret_fd, struct err *e)
{
	Podvm__Pod__Stream m = PODVM__POD__STREAM__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(stream = &m, STREAM);

	return pod_call(sock, &rq, ret_fd, 1, NULL, e);
}
