// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What the host has lent to a container (the block device of its root file system,
 * raw block volumes) comes back when the container has ended,
 * not when it is deleted: engines look at the root file system of a stopped
 * container, and some unmount it before they delete (CRI-O does). So
 * - the end of the container's init, which the agent reports, starts it: the agent
 *   lets go of the disks, they are unplugged, the host mounts again;
 * - only then is the container "stopped", and its shim, whose end is what engines
 *   wait for, ends: it waits for a descriptor to close.
 * The report may come in the middle of another call to the agent, so the work is
 * put off to the loop's next round. Deletion does it where that did not happen, or
 * failed; when the machine is dead, nobody needs to be asked. If all that fails,
 * the journal's undo is left.
 *
 * A guest that does not let go keeps its device until the pod ends. Nothing else can
 * be done about that: the container is gone for its engine, so it is said in the log.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "runtime/supervisor/supervisor.h"

/* Longer than the agent takes to give up. */
#define RELEASE_MS 20000

static void on_event(void *arg, uint32_t events)
{
	struct pod *p = arg;
	struct container *c;
	uint64_t n;

	(void)events;
	if (read(p->settle_event, &n, sizeof(n)) != sizeof(n))
		return;
	for (c = p->containers; c; c = c->next)
		if (c->ended && c->lent && !wayback_pending(c))
			settle_now(p, c, true);
}

/**
 * settle_watch() - have the loop do what settle_later() puts off
 *
 * Return: 0 or minus errno
 */
int settle_watch(struct pod *p, struct err *e)
{
	struct loop_src *src;

	p->settle_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->settle_event < 0)
		return err_sys(e, "eventfd");
	return loop_add(p->loop, p->settle_event, EPOLLIN, on_event, p, &src, e);
}

/**
 * settle_later() - a container has ended: settle_now() in the loop's next round
 */
void settle_later(struct pod *p, struct container *c)
{
	const uint64_t one = 1;

	/* It is there to be read even if this could fail: deletion would find it. */
	if (write(p->settle_event, &one, sizeof(one)) != sizeof(one))
		log_warn("container %s: eventfd is full", c->id);
}

/* The agent takes the disks off the guest's bus. */
static int release(struct pod *p, struct container *c, bool root, struct err *e)
{
	Podvm__DisksRelease m = PODVM__DISKS_RELEASE__INIT;
	Podvm__Request rq = AGENT_REQUEST(disks_release = &m, DISKS_RELEASE);
	char *serials[STORAGE_DISKS_MAX + POD_DISKS_MAX];
	const struct storage_disk *disks = NULL;
	size_t i;

	/* A root file system that is shared has no map. */
	if (c->map)
		storage_map_disks(c->map, &disks);
	for (i = 0; root && i < c->n_disks; i++)
		serials[m.n_serials++] = (char *)(uintptr_t)disks[i].serial;
	m.n_serials += rawvols_serials(c, serials + m.n_serials, POD_DISKS_MAX);
	m.id = c->id;
	m.serials = serials;
	return agent_call(&p->agent, &rq, RELEASE_MS, NULL, e);
}

/* Volumes need no more than that nobody has them open. */
static int give_back(struct pod *p, struct container *c, struct err *e)
{
	int rc;

	rawvols_unplug(p, c);
	rc = c->map ? storage_map_give_back(c->map, e) : 0;
	if (!rc)
		pod_stamp(p, 0, "container %.32s: block devices are the host's again", c->id);
	return rc;
}

/**
 * settle_now() - the host has what it lent; fine when that is nothing
 * @ask: the agent must let go first; else it has, or is dead, and so has the monitor
 */
void settle_now(struct pod *p, struct container *c, bool ask)
{
	struct storage_root ignored;
	bool root = c->map && storage_map_root(c->map, &ignored);
	struct err e = { 0 };
	int rc = 0;

	if (c->lent && ask && !p->dead) {
		rc = release(p, c, root, &e);
		if (!rc && root)
			container_unplug(p, c);
	}
	if (c->lent && !rc)
		rc = give_back(p, c, &e);
	if (rc)
		log_warn("container %s: block devices: %s", c->id, e.text);
	/* After a failure deletion tries again; the container has ended all the same. */
	if (rc >= 0 || !ask)
		c->lent = false;
	if (c->ended && c->state && c->state->status != STATE_STOPPED)
		container_stopped(p, c);
}
