// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The relay's process, one per pod: what listens on localhost of the guest is reached
 * on localhost of the pod's network namespace, and the guest's programs reach the DNS
 * stub that an engine has there.
 *
 * The relay listens where the guest listens (relay-port.c), so who calls a port that
 * nobody serves in the guest is refused by the kernel, as in a container without a
 * machine: engines try IPv4, then IPv6, and rely on it. A redirect of all ports would
 * accept first and know later. Sockets are all that there is of it in the namespace:
 * they need no module and no privilege over the network, a port that something of the
 * host has there stays its own, and they are gone with the process.
 *
 * The process lives in the namespace, as a user of its own with CAP_NET_BIND_SERVICE
 * alone, and opens nothing but TCP and UDP sockets (relay-sandbox.c). Connections to the
 * agent come from the supervisor, which makes one when asked to; an own connection
 * (relay-control.c) tells of ports and carries DNS, and each caller has one
 * (relay-caller.c). One loop, no thread; when the supervisor's socket closes, the process
 * ends, and so it does when the agent breaks the rules: the supervisor starts it anew, a
 * few times.
 */
#include <errno.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/relay.h"
#include "runtime/supervisor/supervisor.h"

#define TICK_MS 1000

/**
 * relayd_log() - a line that a guest can bring about; after some there are no more
 */
void relayd_log(struct relayd *d, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (d->lines == RELAYD_LINES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_info("relay: %s%s", text,
		 ++d->lines == RELAYD_LINES_MAX ? " (further ones are not told)" : "");
}

/**
 * relayd_fail() - end the process after this round
 * @rc: minus errno
 */
void relayd_fail(struct relayd *d, int rc, const struct err *why)
{
	if (d->failed)
		return;
	d->failed = rc;
	d->why = *why;
}

/**
 * relayd_tell() - say something to the supervisor; if it is gone, the relay ends
 */
void relayd_tell(struct relayd *d, enum relayd_what what)
{
	struct relayd_msg m = { .what = what };
	struct err e;

	d->done |= fd_send(d->sup, &m, sizeof(m), NULL, 0, &e) < 0;
}

/**
 * relayd_want() - ask the supervisor for a connection to the agent
 * @w:  borrowed until @fn is called, once, from the loop
 */
void relayd_want(struct relayd *d, struct relayd_want *w, relayd_link_fn *fn, void *arg)
{
	w->fn = fn;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&d->wants, w, all);
	relayd_tell(d, RELAYD_LINK);
}

static void on_sup(void *arg, uint32_t events)
{
	struct relayd *d = arg;
	struct relayd_msg m = { 0 };
	struct relayd_want *w;
	struct err e = { 0 };
	size_t n_fds = 0;
	int fd = -1;
	ssize_t n = fd_recv(d->sup, &m, sizeof(m), &fd, 1, &n_fds, &e);

	(void)events;
	if (n != sizeof(m)) { /* the pod ends */
		d->done = true;
		return;
	}
	if (m.what == RELAYD_DNS) {
		d->dns = true;
		control_dns(d);
	}
	w = m.what == RELAYD_LINK ? TAILQ_FIRST(&d->wants) : NULL;
	if (!w) {
		fd_close(&fd);
		return;
	}
	TAILQ_REMOVE(&d->wants, w, all);
	if (!n_fds)
		err_set(&e, m.error > 0 ? m.error : EPROTO, "the supervisor could not connect");
	w->fn(w->arg, n_fds ? fd : -1, &e);
}

/**
 * relayd_tick() - something waits that may take too long
 */
void relayd_tick(struct relayd *d)
{
	struct err e = { 0 };
	int rc;

	if (d->ticking)
		return;
	d->ticking = true;
	rc = timer_set(d->timer, TICK_MS, &e);
	if (rc < 0)
		relayd_fail(d, rc, &e);
}

static void on_timer(void *arg, uint32_t events)
{
	struct relayd *d = arg;
	uint64_t now = clock_ms();
	bool more;

	(void)events;
	timer_ack(d->timer);
	d->ticking = false;
	more = callers_expire(d, now);
	if (stub_expire(d, now) || more)
		relayd_tick(d);
}

/**
 * relayd_new() - a relay in the network namespace of the caller
 * @sup: socket to the supervisor (struct relayd_msg), owned by the relay on success
 * @ret: owned by the caller, relayd_free()
 *
 * Return: 0 or minus errno
 */
int relayd_new(int sup, struct relayd **ret, struct err *e)
{
	struct relayd *d = mem_new(struct relayd);
	int rc;

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	d->sup = d->timer = d->control = -1;
	TAILQ_INIT(&d->wants);
	TAILQ_INIT(&d->waiting);
	TAILQ_INIT(&d->opening);
	TAILQ_INIT(&d->carried);
	rc = loop_new(&d->loop, e);
	if (rc >= 0)
		rc = d->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(d->loop, d->timer, EPOLLIN, on_timer, d, &d->timer_src, e);
	if (rc >= 0)
		rc = loop_add(d->loop, sup, EPOLLIN, on_sup, d, &d->sup_src, e);
	if (rc < 0) {
		relayd_free(d);
		return rc;
	}
	d->sup = sup;
	*ret = d;
	return 0;
}

/**
 * relayd_run() - serve until the supervisor's socket closes
 *
 * Return: 0; minus errno, with the reason, when the relay cannot go on
 */
int relayd_run(struct relayd *d, struct err *e)
{
	int rc;

	control_start(d);
	while (!d->done && !d->failed) {
		rc = loop_step(d->loop, -1, e);
		if (rc < 0)
			return rc;
	}
	if (d->failed)
		*e = d->why;
	return d->failed;
}

/**
 * relayd_free() - close everything; who is connected gets RST; NULL is fine
 */
void relayd_free(struct relayd *d)
{
	if (!d)
		return;
	ports_done(d);
	callers_done(d);
	stub_done(d);
	control_done(d);
	fd_close(&d->timer);
	fd_close(&d->sup);
	loop_free(d->loop);
	free(d);
}

/**
 * relayd_main() - the relay's process, started by relayd_spawn() only
 *
 * Return: exit status
 */
int relayd_main(void)
{
	struct relayd *d = NULL;
	struct err e = { 0 };
	int rc;

	log_open(2, LOG_LEVEL_INFO, false);
	tzset(); /* reads a file, which is not possible later */
	prctl(PR_SET_NAME, "podvm-relay", 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN); /* the supervisor gets its own, and needs us until the end */
	rc = relayd_isolate(RELAYD_NETNS_FD, &e);
	if (!rc)
		rc = relayd_new(RELAYD_SUP_FD, &d, &e);
	if (!rc)
		rc = relayd_filter(&e);
	if (!rc)
		rc = relayd_run(d, &e);
	if (rc < 0)
		log_warn("relay: %s", e.text);
	relayd_free(d);
	return rc < 0;
}
