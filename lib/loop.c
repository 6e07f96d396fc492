// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One epoll loop per process or thread. A source is a borrowed descriptor with
 * a callback; timers, signals and child processes are descriptors too
 * (timerfd, signalfd, pidfd). A callback may delete any source, also one whose
 * event of the same round has not been delivered: deleted sources are freed
 * when the round is over.
 */
#include "lib/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"

#define LOOP_BATCH 64

struct loop {
	int epfd;		/* owned */
	bool stop;
	unsigned int depth;	/* loop_step() calls under way */
	struct loop_src *dead;	/* deleted in this round, freed at its end */
	struct loop_src *all;
};

struct loop_src {
	struct loop *loop;	/* borrowed; NULL once deleted */
	int fd;			/* borrowed */
	loop_fn *fn;
	void *arg;
	struct loop_src *next, *prev;
};

/**
 * loop_new() - make an empty loop
 * @ret: owned by the caller, loop_free()
 *
 * Return: 0 or minus errno
 */
int loop_new(struct loop **ret, struct err *e)
{
	struct loop *l = mem_new(struct loop);

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		int rc = err_sys(e, "epoll_create1");

		free(l);
		return rc;
	}
	*ret = l;
	return 0;
}

static void free_dead(struct loop *l)
{
	while (l->dead) {
		struct loop_src *s = l->dead;

		l->dead = s->next;
		free(s);
	}
}

/**
 * loop_free() - free a loop and its sources; their descriptors stay open; NULL is fine
 */
void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->all)
		loop_del(l->all);
	free_dead(l);
	fd_close(&l->epfd);
	free(l);
}

/**
 * loop_add() - watch a descriptor
 * @fd:     borrowed; loop_del() before it is closed
 * @events: EPOLLIN, EPOLLOUT, …; 0 reports errors and hang-ups only
 * @ret:    owned by the loop; valid until loop_del()
 *
 * Return: 0 or minus errno
 */
int loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg,
	     struct loop_src **ret, struct err *e)
{
	struct loop_src *s = mem_new(struct loop_src);
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->loop = l;
	s->fd = fd;
	s->fn = fn;
	s->arg = arg;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int rc = err_sys(e, "epoll_ctl: add fd %d", fd);

		free(s);
		return rc;
	}
	s->next = l->all;
	if (l->all)
		l->all->prev = s;
	l->all = s;
	*ret = s;
	return 0;
}

/**
 * loop_mod() - change what a source waits for
 */
void loop_mod(struct loop_src *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	epoll_ctl(s->loop->epfd, EPOLL_CTL_MOD, s->fd, &ev);
}

/**
 * loop_del() - stop watching; NULL is fine; the callback is not called again
 */
void loop_del(struct loop_src *s)
{
	struct loop *l;

	if (!s || !s->loop)
		return;
	l = s->loop;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	if (s->prev)
		s->prev->next = s->next;
	else
		l->all = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->loop = NULL;
	s->next = l->dead;
	l->dead = s;
	if (!l->depth)
		free_dead(l);
}

/**
 * loop_step() - wait once and call back
 * @timeout_ms: -1 waits for ever
 *
 * Return: number of events handled, 0 on time-out, or minus errno
 */
int loop_step(struct loop *l, int timeout_ms, struct err *e)
{
	struct epoll_event ev[LOOP_BATCH];
	int i, n;

	n = epoll_wait(l->epfd, ev, LOOP_BATCH, timeout_ms);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0)
		return err_sys(e, "epoll_wait");
	l->depth++;
	for (i = 0; i < n; i++) {
		struct loop_src *s = ev[i].data.ptr;

		if (s->loop)
			s->fn(s->arg, ev[i].events);
	}
	if (!--l->depth)
		free_dead(l);
	return n;
}

/**
 * loop_run() - call back until loop_stop()
 *
 * Return: 0 or minus errno
 */
int loop_run(struct loop *l, struct err *e)
{
	l->stop = false;
	while (!l->stop) {
		int rc = loop_step(l, -1, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/**
 * loop_stop() - make loop_run() return after this round
 */
void loop_stop(struct loop *l)
{
	l->stop = true;
}

/**
 * timer_new() - an unarmed timerfd on the monotonic clock
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int timer_new(struct err *e)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	return fd < 0 ? err_sys(e, "timerfd_create") : fd;
}

/**
 * timer_set() - fire once in @ms milliseconds; 0 disarms
 *
 * Return: 0 or minus errno
 */
int timer_set(int fd, uint64_t ms, struct err *e)
{
	struct itimerspec t = { .it_value = { .tv_sec = (time_t)(ms / 1000),
					      .tv_nsec = (long)(ms % 1000) * 1000000 } };

	return timerfd_settime(fd, 0, &t, NULL) < 0 ? err_sys(e, "timerfd_settime") : 0;
}

/**
 * timer_ack() - take the expiration, so that the descriptor is not readable any more
 */
void timer_ack(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return; /* EAGAIN: nothing had expired */
}

/**
 * signals_new() - signals as a descriptor; they are blocked for the calling thread
 * @list: of @n signals
 *
 * Return: a signalfd(2) owned by the caller, or minus errno
 */
int signals_new(const int *list, size_t n, struct err *e)
{
	sigset_t set;
	size_t i;
	int fd;

	sigemptyset(&set);
	for (i = 0; i < n; i++)
		sigaddset(&set, list[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, "sigprocmask");
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? err_sys(e, "signalfd") : fd;
}
