// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A guest whose processors spin, or whose agent stands still, ends nothing by itself. So the
 * agent is asked (Ping) every watchdogPeriodMs on a connection of its own, where no other
 * request can be in the way, by a thread of its own, since the supervisor's loop may be
 * waiting for that agent. One that has not answered for watchdogLimitMs is given up: the
 * main connection is shut down, which ends every call that waits on it, and the loop is
 * woken, which takes the pod down (ending.c).
 *
 * What does not count, so that there is no false alarm:
 * - the host's sleep: the clock is CLOCK_MONOTONIC;
 * - a period that took far longer than it should: we were stopped, or the host has no
 *   processor to spare, and then the guest had none either;
 * - a monitor that is stopped, traced, or in a frozen cgroup: counting begins anew.
 * A guest that is merely busy answers: the agent is no part of its containers' cgroups, and
 * the limit is long. Paused containers are frozen, and the agent is not.
 *
 * Answers are guest data. More than one answer to a question, an error or anything else on
 * this connection breaks the protocol; it is lost then, as when the agent closes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

/* A period that took so many times as long says nothing. */
#define LATE 2

enum verdict { WATCHED, BITES, LOST };

/**
 * struct watchdog - of one pod
 * @fd:       its connection to the agent, owned
 * @main_fd:  the supervisor's, borrowed; shut down when the agent is given up
 * @stop_fd, @wake_fd: eventfds to the thread and to the loop, owned
 * @cgroup_fd: of the monitor, or -1; borrowed
 * @verdict:  enum verdict, set once, before @wake_fd
 */
struct watchdog {
	int fd, main_fd, stop_fd, wake_fd, cgroup_fd;
	pid_t monitor;
	uint64_t period_ms, limit_ms;
	struct frame_rx rx;
	struct loop_src *src;
	pthread_t thread;
	bool running;
	atomic_int verdict;
};

/* Whether /proc says that a process is stopped or traced. */
static bool is_stopped(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	const char *s;

	return !proc_stat(pid, &text, &s) && (*s == 'T' || *s == 't');
}

static bool is_frozen(int cgroup_fd)
{
	_cleanup_free_ char *text = NULL;

	return cgroup_fd >= 0 &&
	       file_read(cgroup_fd, "cgroup.events", 4096, &text, NULL, NULL) >= 0 &&
	       strstr(text, "frozen 1");
}

static int question(struct watchdog *w, struct err *e)
{
	Podvm__Ping p = PODVM__PING__INIT;
	Podvm__Request rq = AGENT_REQUEST(ping = &p, PING);

	/* A connection on which everything was answered has room for so few bytes. */
	return frame_send(w->fd, &rq.base, 0, e);
}

/* Return: 1 it has answered; 0 not yet; minus errno: the connection is of no use */
static int answer(struct watchdog *w, struct err *e)
{
	int rc = frame_feed(&w->rx, w->fd, e);
	Podvm__Response *rs;

	if (rc != 1)
		return rc;
	rs = podvm__response__unpack(NULL, w->rx.len, w->rx.buf);
	if (!rs || rs->error || rs->body_case != PODVM__RESPONSE__BODY__NOT_SET)
		rc = err_set(e, EPROTO, "the guest's agent answered a ping with something else");
	if (rs)
		podvm__response__free_unpacked(rs, NULL);
	frame_done(&w->rx);
	return rc;
}

/* Waits up to a period. Return: false: stop; @ret_ready: something has come */
static bool wait_on(struct watchdog *w, bool for_answer, uint64_t ms, bool *ret_ready)
{
	struct pollfd f[2] = { { .fd = w->stop_fd, .events = POLLIN },
			       { .fd = for_answer ? w->fd : -1, .events = POLLIN } };

	*ret_ready = poll(f, 2, (int)ms) > 0 && f[1].revents;
	return !f[0].revents;
}

/*
 * Asks once and waits for the answer.
 * Return: 1 answered; 0 stop; -ETIMEDOUT given up; minus errno: the connection is lost
 */
static int ask_agent(struct watchdog *w, struct err *e)
{
	int rc = answer(w, e); /* what has come before the question answers nothing */
	uint64_t silent = 0;
	bool ready;

	if (rc == 1)
		rc = err_set(e, EPROTO, "the guest's agent answered what nobody had asked");
	if (!rc)
		rc = question(w, e);

	while (!rc && silent < w->limit_ms) {
		uint64_t before = clock_ms(), took;

		if (!wait_on(w, true, w->period_ms, &ready))
			return 0;
		took = clock_ms() - before;
		if (ready)
			rc = answer(w, e);
		if (is_stopped(w->monitor) || is_frozen(w->cgroup_fd))
			silent = 0;
		else if (took < LATE * w->period_ms)
			silent += took;
	}
	return rc ? rc : err_set(e, ETIMEDOUT, "silent");
}

static void *watch_agent(void *arg)
{
	struct watchdog *w = arg;
	const uint64_t one = 1;
	struct err e = { 0 };
	bool ready;
	int rc;

	while ((rc = ask_agent(w, &e)) == 1)
		if (!wait_on(w, false, w->period_ms, &ready))
			return NULL;
	if (!rc)
		return NULL;
	atomic_store(&w->verdict, rc == -ETIMEDOUT ? BITES : LOST);
	shutdown(w->main_fd, SHUT_RDWR);
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		log_debug("watchdog: %m");
	return NULL;
}

static void on_verdict(void *arg, uint32_t events)
{
	struct pod *p = arg;

	(void)events;
	ending_agent(p, -EPIPE, "the guest's agent: it closed the connection of its watchdog");
}

static int begin(struct pod *p, struct watchdog *w, struct err *e)
{
	int rc = machine_connect(p, &w->fd, e);

	if (rc < 0)
		return rc;
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (w->stop_fd < 0 || w->wake_fd < 0)
		return err_sys(e, "eventfd");
	rc = loop_add(p->loop, w->wake_fd, EPOLLIN, on_verdict, p, &w->src, e);
	if (rc < 0)
		return rc;
	rc = pthread_create(&w->thread, NULL, watch_agent, w);
	if (rc)
		return err_set(e, rc, "cannot start a thread");
	w->running = true;
	return 0;
}

/**
 * watchdog_start() - watch the guest of a machine that is set up, if the configuration wants that
 *
 * Return: 0 or minus errno
 */
int watchdog_start(struct pod *p, struct err *e)
{
	struct watchdog *w;

	if (!p->config.watchdog_limit_ms)
		return 0;
	w = mem_new(struct watchdog);
	if (!w)
		return err_set(e, ENOMEM, "out of memory");
	w->fd = w->stop_fd = w->wake_fd = -1;
	w->main_fd = p->agent.fd;
	w->cgroup_fd = p->cgroup_fd;
	w->monitor = p->vmm.pid;
	w->period_ms = p->config.watchdog_period_ms;
	w->limit_ms = p->config.watchdog_limit_ms;
	p->watchdog = w;
	return begin(p, w, e) < 0 ? err_wrap(e, "watchdog") : 0;
}

/**
 * watchdog_bit() - whether it has given the guest up
 */
bool watchdog_bit(const struct pod *p)
{
	return p->watchdog && atomic_load(&p->watchdog->verdict) == BITES;
}

/**
 * watchdog_stop() - end it; fine if there is none
 *
 * Context: before the main connection and the monitor's cgroup are closed
 */
void watchdog_stop(struct pod *p)
{
	struct watchdog *w = p->watchdog;
	const uint64_t one = 1;

	if (!w)
		return;
	p->watchdog = NULL;
	if (w->running && write(w->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(w->thread, NULL);
	loop_del(w->src);
	fd_close(&w->fd);
	fd_close(&w->stop_fd);
	fd_close(&w->wake_fd);
	frame_done(&w->rx);
	free(w);
}
