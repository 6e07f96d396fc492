// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Steps of netlink and of taps for fault.c: a request that is not sent, an answer that
 * is lost though the kernel has done what it was asked, a socket or a tap that cannot be
 * had.
 */
#include <libmnl/libmnl.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "tests/kit/fault.h"

struct mnl_socket *__real_mnl_socket_open2(int bus, int flags);
ssize_t __real_mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t len);
ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t len);
int __real_ioctl(int fd, unsigned long request, void *arg);

struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t len);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t len);
int __wrap_ioctl(int fd, unsigned long request, ...);

struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags)
{
	return kit_fault_now(KIT_FAULT_NETLINK) ? NULL : __real_mnl_socket_open2(bus, flags);
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t len)
{
	return kit_fault_now(KIT_FAULT_NETLINK) ? -1 : __real_mnl_socket_sendto(s, buf, len);
}

/* The answer comes, so that it is not taken for that of the next request, and is lost. */
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t len)
{
	ssize_t n = __real_mnl_socket_recvfrom(s, buf, len);

	return kit_fault_now(KIT_FAULT_NETLINK) ? -1 : n;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return kit_fault_now(KIT_FAULT_NETLINK) ? -1 : __real_ioctl(fd, request, arg);
}
