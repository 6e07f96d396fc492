// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container is paused by the freezer of its cgroup. The kernel freezes what it can at
 * once and tells in cgroup.events when all of it stands still, by an event of that
 * file (EPOLLPRI). A process that waits in the kernel for long keeps that from
 * coming: then the container is thawed again and the request fails, so that it is
 * never half paused. What is frozen can be killed, and so deleted.
 *
 * Source: kernel Documentation/admin-guide/cgroup-v2.rst (cgroup.freeze, cgroup.events).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/proc.h"

#define FREEZE_MS 10000

/**
 * struct freeze - one such request
 * @pending: who waits for the answer, borrowed; NULL: nobody
 * @frozen:  what the container shall be
 * @events:  its cgroup.events, owned
 * @timer:   owned; the time is up
 */
struct freeze {
	struct container *ctr;
	struct conn *pending;
	bool frozen;
	int events, timer;
	struct loop_src *events_src, *timer_src;
};

/**
 * freeze_free() - give up; NULL is fine
 */
void freeze_free(struct freeze *f)
{
	if (!f)
		return;
	loop_del(f->events_src);
	loop_del(f->timer_src);
	fd_close(&f->events);
	fd_close(&f->timer);
	free(f);
}

/**
 * freeze_forget_conn() - a connection goes: nobody answers it any more; NULL is fine
 */
void freeze_forget_conn(struct freeze *f, const struct conn *c)
{
	if (f && f->pending == c)
		f->pending = NULL;
}

static void finish(struct freeze *f, const struct err *failure)
{
	struct conn *pending = f->pending;

	f->ctr->freeze = NULL;
	freeze_free(f);
	if (pending)
		conn_answer(pending, failure);
}

static void on_event(void *arg, uint32_t events)
{
	struct freeze *f = arg;
	char c;

	(void)events;
	/* The kernel tells of the next change only after this one was read. */
	if (pread(f->events, &c, 1, 0) < 0 || cgroup_frozen(f->ctr->cgroup_fd) == f->frozen)
		finish(f, NULL);
}

static void on_timeout(void *arg, uint32_t events)
{
	struct freeze *f = arg;
	struct err e = {0};

	(void)events;
	cgroup_freeze(f->ctr->cgroup_fd, !f->frozen, NULL);
	err_set(&e, EBUSY, "container %s: processes do not stand still after %d ms", f->ctr->id,
		FREEZE_MS);
	finish(f, &e);
}

static int watch(struct freeze *f, struct err *e)
{
	struct loop *loop = f->ctr->agent->loop;
	int rc;

	f->events = openat(f->ctr->cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (f->events < 0)
		return err_sys(e, "cgroup.events");
	rc = loop_add(loop, f->events, EPOLLPRI, on_event, f, &f->events_src, e);
	if (rc >= 0)
		rc = f->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(loop, f->timer, EPOLLIN, on_timeout, f, &f->timer_src, e);
	return rc < 0 ? rc : timer_set(f->timer, FREEZE_MS, e);
}

/**
 * freeze_container() - carry out the request; answered when the container stands still,
 * or runs again
 * @c: waits for the answer
 *
 * Return: 0: answered now or later; minus errno: the container is as it was
 */
int freeze_container(struct agent *a, const Podvm__ContainerFreeze *m, struct conn *c,
		     struct err *e)
{
	struct task *init = task_find(a, m->id, "", e);
	struct freeze *f;
	int rc;

	if (!init)
		return -e->code;
	if (init->state != TASK_RUNNING)
		return err_set(e, ESRCH, "container not running");
	if (init->ctr->freeze)
		return err_set(e, EBUSY, "container %s is being paused or resumed", m->id);
	f = mem_new(struct freeze);
	if (!f)
		return err_set(e, ENOMEM, "out of memory");
	f->ctr = init->ctr;
	f->pending = c;
	f->frozen = m->frozen;
	f->events = f->timer = -1;
	rc = watch(f, e);
	if (rc >= 0)
		rc = cgroup_freeze(f->ctr->cgroup_fd, m->frozen, e);
	if (rc < 0) {
		freeze_free(f);
		return rc;
	}
	f->ctr->freeze = f;
	if (cgroup_frozen(f->ctr->cgroup_fd) == m->frozen)
		finish(f, NULL);
	return 0;
}
