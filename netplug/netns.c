// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A network namespace is entered by one thread, only for the system calls that
 * bind something to the caller's namespace for good (a netlink socket, a tun
 * file), and left at once. A thread that cannot go back would do the host's
 * work in the pod's namespace, so that ends the process.
 *
 * The thread's own namespace is /proc/thread-self/ns/net: /proc/self is the
 * main thread's.
 */
#include "netplug/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"

/**
 * netns_open() - open what should be a network namespace
 * @path: as /run/netns/NAME or /proc/PID/ns/net; whether it is one shows in netns_enter()
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int netns_open(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? err_sys(e, "network namespace %s", path) : fd;
}

/**
 * netns_self() - the calling thread's network namespace
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int netns_self(struct err *e)
{
	return netns_open("/proc/thread-self/ns/net", e);
}

/**
 * netns_same() - whether two descriptors are of one network namespace
 *
 * Return: 1 or 0; minus errno
 */
int netns_same(int a, int b, struct err *e)
{
	struct stat x, y;

	if (fstat(a, &x) < 0 || fstat(b, &y) < 0)
		return err_sys(e, "network namespace: stat");
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/**
 * netns_leads() - whether a path leads to a network namespace
 */
bool netns_leads(const char *path, int netns_fd)
{
	struct stat x, y;

	return *path && !stat(path, &x) && !fstat(netns_fd, &y) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/**
 * netns_enter() - move the calling thread into a network namespace
 * @netns_fd: the namespace, borrowed
 * @ret_back: for netns_leave(), which must follow on the same thread
 *
 * Return: 0; -EINVAL if @netns_fd is no network namespace; minus errno
 * Context: no other code of the thread may run before netns_leave()
 */
int netns_enter(int netns_fd, int *ret_back, struct err *e)
{
	int back = netns_self(e), rc;

	if (back < 0)
		return back;
	if (setns(netns_fd, CLONE_NEWNET) < 0) {
		if (errno == EINVAL)
			rc = err_set(e, EINVAL, "this is no network namespace");
		else
			rc = err_sys(e, "enter the network namespace");
		fd_close(&back);
		return rc;
	}
	*ret_back = back;
	return 0;
}

/**
 * netns_leave() - move the calling thread back; aborts the process if it cannot
 * @back: from netns_enter(), consumed
 */
void netns_leave(int back)
{
	int saved = errno;

	if (setns(back, CLONE_NEWNET) < 0)
		abort();
	fd_close(&back);
	errno = saved;
}
