// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Steps of programs that live on sockets and a loop for fault.c: a socket that cannot be
 * had, bound or listened on, a call that cannot be accepted, a source that the loop does not
 * take, a message that is not sent.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "tests/kit/fault.h"

#define CALLS(X) \
	X(int, socket, (int f, int t, int p), (f, t, p)) \
	X(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n)) \
	X(int, listen, (int fd, int n), (fd, n)) \
	X(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int f), (fd, a, n, f)) \
	X(int, epoll_ctl, (int ep, int op, int fd, struct epoll_event *ev), (ep, op, fd, ev)) \
	X(int, timerfd_create, (int clock, int f), (clock, f)) \
	X(int, timerfd_settime, (int fd, int f, const struct itimerspec *a, struct itimerspec *b), \
	  (fd, f, a, b)) \
	X(ssize_t, send, (int fd, const void *p, size_t n, int f), (fd, p, n, f)) \
	X(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f))

#define WRAP(type, name, params, args) \
	type __real_##name params; \
	type __wrap_##name params; \
	type __wrap_##name params \
	{ \
		return kit_fault_now(KIT_FAULT_SOCKETS) ? -1 : __real_##name args; \
	}

CALLS(WRAP)
