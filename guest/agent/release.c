// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container that has ended lets go of disks that the host wants back before it
 * is deleted. Its processes are dead or dying (task.c kills the cgroup with the
 * first process), and its mounts go with the last of them; the kernel tells nobody
 * when a disk is free, so a timer looks. Then the disk goes off its bus, and the
 * rest of the container stays as it was, with its streams and its exit status.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/proc.h"

#define POLL_MS 2
#define RELEASE_MS 10000

/**
 * struct release - one such request
 * @pending: who waits for the answer, borrowed; NULL: nobody
 * @serials: owned strings
 * @timer:   owned
 */
struct release {
	struct container *ctr;
	struct conn *pending;
	char **serials;
	size_t n;
	int timer;
	struct loop_src *src;
	uint64_t end_ms;
};

/**
 * release_free() - give up; NULL is fine
 */
void release_free(struct release *r)
{
	size_t i;

	if (!r)
		return;
	loop_del(r->src);
	fd_close(&r->timer);
	for (i = 0; i < r->n; i++)
		free(r->serials[i]);
	free(r->serials);
	free(r);
}

/**
 * release_forget_conn() - a connection goes: nobody answers it any more; NULL is fine
 */
void release_forget_conn(struct release *r, const struct conn *c)
{
	if (r && r->pending == c)
		r->pending = NULL;
}

static bool held(const struct release *r)
{
	const struct container *c = r->ctr;
	size_t i;

	if ((c->init && c->init->pid) || cgroup_populated(c->cgroup_fd))
		return true;
	for (i = 0; i < r->n; i++)
		if (disk_busy(r->serials[i]))
			return true;
	return false;
}

/* The container's later deletion has nothing to do with it any more. */
static void forget_disk(struct container *c, const char *serial)
{
	size_t i;

	for (i = 0; i < c->n_disks; i++) {
		if (strcmp(c->disks[i], serial))
			continue;
		free(c->disks[i]);
		c->disks[i] = c->disks[--c->n_disks];
		return;
	}
}

static void step(void *arg, uint32_t events)
{
	struct release *r = arg;
	struct conn *pending = r->pending;
	struct err e = { 0 };
	size_t i;

	(void)events;
	timer_ack(r->timer);
	if (held(r) && clock_ms() < r->end_ms) {
		timer_set(r->timer, POLL_MS, &e);
		return;
	}
	if (held(r)) {
		err_set(&e, EBUSY, "container %s: processes or disks are still in use after %d ms",
			r->ctr->id, RELEASE_MS);
	} else {
		for (i = 0; i < r->n; i++) {
			disk_remove(r->serials[i]);
			forget_disk(r->ctr, r->serials[i]);
		}
	}
	r->ctr->release = NULL;
	release_free(r);
	if (pending)
		conn_answer(pending, &e);
}

static int copy_serials(struct release *r, const Podvm__DisksRelease *m, struct err *e)
{
	r->serials = mem_new_n(char *, m->n_serials + 1);
	for (; r->serials && r->n < m->n_serials; r->n++) {
		r->serials[r->n] = strdup(m->serials[r->n]);
		if (!r->serials[r->n])
			break;
	}
	return r->serials && r->n == m->n_serials ? 0 : err_set(e, ENOMEM, "out of memory");
}

/**
 * release_disks() - carry out the request; answered when the disks are free
 * @c: waits for the answer
 *
 * Return: 0: answered now (no such container) or later; minus errno
 */
int release_disks(struct agent *a, const Podvm__DisksRelease *m, struct conn *c, struct err *e)
{
	struct container *ctr = container_find(a, m->id);
	struct release *r;
	size_t i;
	int rc;

	if (!ctr) {
		for (i = 0; i < m->n_serials; i++)
			if (!disk_busy(m->serials[i]))
				disk_remove(m->serials[i]);
		conn_answer(c, NULL);
		return 0;
	}
	if (ctr->release || ctr->deleting || !ctr->init || ctr->init->state != TASK_ENDED)
		return err_set(e, EBUSY, "container %s has not ended, or is being deleted", m->id);
	r = mem_new(struct release);
	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->ctr = ctr;
	r->pending = c;
	r->end_ms = clock_ms() + RELEASE_MS;
	rc = r->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(a->loop, r->timer, EPOLLIN, step, r, &r->src, e);
	if (rc >= 0)
		rc = copy_serials(r, m, e);
	if (rc >= 0)
		rc = timer_set(r->timer, 1, e);
	if (rc < 0) {
		release_free(r);
		return rc;
	}
	ctr->release = r;
	return 0;
}
