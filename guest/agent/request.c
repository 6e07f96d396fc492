// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One function per kind of request of lib/agent.proto. It answers at once, or
 * leaves the connection busy for whoever finishes the work (a container's
 * setup and deletion, an exec, the shutdown), or fails with a text.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/probe.h"
#include "lib/proc.h"

/* How long the shutdown waits for processes and disks. */
#define OFF_MS 5000
#define OFF_POLL_MS 5

#define SYS_CPU "/sys/devices/system/cpu"

static int on_pod_setup(struct conn *c, const Podvm__PodSetup *m, struct err *e)
{
	int rc;

	if (c->agent->set_up)
		return err_set(e, EALREADY, "the pod is set up already");
	rc = setup_pod(m, e);
	if (rc < 0)
		return rc;
	c->agent->set_up = true;
	conn_answer(c, NULL);
	return 0;
}

static int on_links(struct conn *c, const Podvm__LinksAdd *m, struct err *e)
{
	int rc = m->network ? net_setup(m->network, e) : 0;

	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int on_update(struct conn *c, const Podvm__NetworkUpdate *m, struct err *e)
{
	int rc = net_update(m, e);

	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int on_unlink(struct conn *c, const Podvm__LinkRemove *m, struct err *e)
{
	int rc = net_remove(&m->mac, e);

	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int on_net_state(struct conn *c, struct err *e)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__NetState *s = NULL;
	int rc = netstate_get(c->agent, &s, e);

	if (rc < 0)
		return rc;
	r.body_case = PODVM__RESPONSE__BODY_NET_STATE;
	r.net_state = s;
	c->busy = false;
	conn_send(c, &r);
	podvm__net_state__free_unpacked(s, NULL);
	return 0;
}

static int on_attach(struct conn *c, const Podvm__ProcessAttach *m, struct err *e)
{
	struct task *t = task_find(c->agent, m->id, m->exec_id, e);

	if (!t)
		return -e->code;
	if (c->main || c->owner)
		return err_set(e, EINVAL, "a process is owned by a connection of its own");
	if (t->owner || t->pending == c)
		return err_set(e, EBUSY, "the process has an owner already");
	conn_answer(c, NULL);
	task_own(t, c);
	return 0;
}

static int on_signal(struct conn *c, const Podvm__ProcessSignal *m, struct err *e)
{
	struct task *t = task_find(c->agent, m->id, m->exec_id, e);
	int rc;

	if (!t)
		return -e->code;
	rc = m->signal > 64 ? err_set(e, EINVAL, "signal %u: unknown", m->signal)
			    : task_signal(t, (int)m->signal, m->all, e);
	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int on_resize(struct conn *c, const Podvm__ProcessResize *m, struct err *e)
{
	struct task *t = task_find(c->agent, m->id, m->exec_id, e);
	int rc;

	if (!t)
		return -e->code;
	rc = task_resize(t, m->rows, m->columns, e);
	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int on_stream(struct conn *c, const Podvm__StreamOpen *m, struct err *e)
{
	static const enum stream_kind kinds[] = { STREAM_IN, STREAM_OUT, STREAM_ERR,
						  STREAM_TTY };
	struct task *t = task_find(c->agent, m->id, m->exec_id, e);
	Podvm__Response ok = PODVM__RESPONSE__INIT;
	_cleanup_close_ int fd = -1;
	int rc;

	if (!t)
		return -e->code;
	if (c->main || c->owner)
		return err_set(e, EINVAL, "a stream has a connection of its own");
	if ((unsigned int)m->kind >= ARRAY_LEN(kinds))
		return err_set(e, EINVAL, "stream kind %d: unknown", (int)m->kind);
	/* The answer comes before any byte of the stream; it is small. */
	fd = dup(c->fd);
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(e, "stream");
	rc = stream_attach(t, kinds[m->kind], fd, e);
	if (rc < 0)
		return rc;
	fd_steal(&fd);
	rc = frame_send(c->fd, &ok.base, 1000, e);
	if (rc < 0)
		log_warn("agent: stream: %s", e->text);
	fd = conn_take_fd(c);
	stream_start(t->stream[kinds[m->kind]]);
	return 0;
}

static int on_pids(struct conn *c, const Podvm__ContainerPids *m, struct err *e)
{
	struct container *ctr = container_find(c->agent, m->id);
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Pids pids = PODVM__PIDS__INIT;
	int rc;

	if (!ctr)
		return err_set(e, ENOENT, "container %s does not exist", m->id);
	rc = cgroup_pids(ctr->cgroup_fd, &pids.pids, &pids.n_pids, e);
	if (rc < 0)
		return rc;
	r.body_case = PODVM__RESPONSE__BODY_PIDS;
	r.pids = &pids;
	c->busy = false;
	conn_send(c, &r);
	free(pids.pids);
	return 0;
}

static int on_cpus(struct conn *c, const Podvm__CpusOnline *m, struct err *e)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Cpus cpus = PODVM__CPUS__INIT;
	int rc = cpu_set_online(SYS_CPU, m->count, &cpus.present, &cpus.online, e);

	if (rc < 0)
		return rc;
	r.body_case = PODVM__RESPONSE__BODY_CPUS;
	r.cpus = &cpus;
	c->busy = false;
	conn_send(c, &r);
	return 0;
}

static int on_mirror_put(struct conn *c, const Podvm__MirrorPut *m, struct err *e)
{
	int rc = mirror_put(m, e);

	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int on_mirror_remove(struct conn *c, const Podvm__MirrorRemove *m, struct err *e)
{
	int rc = mirror_drop(m->key, e);

	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int on_trace(struct conn *c, const Podvm__TraceAsk *m, struct err *e)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__TraceTold told = PODVM__TRACE_TOLD__INIT;
	struct timespec now;
	int rc = m->probe ? probe_send(m->probe, e) : 0;

	if (rc >= 0)
		rc = capture_counters(&m->mac, &told, e);
	if (rc < 0)
		return rc;
	clock_gettime(CLOCK_REALTIME, &now);
	told.realtime_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	r.body_case = PODVM__RESPONSE__BODY_TOLD;
	r.told = &told;
	c->busy = false;
	conn_send(c, &r);
	capture_counters_free(&told);
	return 0;
}

static bool all_ended(const struct agent *a)
{
	const struct container *c;
	size_t i;

	for (c = a->containers; c; c = c->next) {
		if (cgroup_populated(c->cgroup_fd))
			return false;
		for (i = 0; i < c->n_disks; i++)
			if (disk_busy(c->disks[i]))
				return false;
	}
	return true;
}

/**
 * request_shutdown_poll() - end the agent once every container has ended
 */
void request_shutdown_poll(struct agent *a)
{
	struct err e;

	timer_ack(a->off_timer);
	if (!all_ended(a) && clock_ms() < a->off_end_ms) {
		timer_set(a->off_timer, OFF_POLL_MS, &e);
		return;
	}
	sync();
	if (a->off_conn) {
		conn_answer(a->off_conn, NULL);
		conn_flushed(a->off_conn, 1000);
	}
	loop_stop(a->loop);
}

static int on_shutdown(struct conn *c, struct err *e)
{
	struct agent *a = c->agent;
	struct container *ctr;
	struct err ignored;

	if (a->off)
		return err_set(e, EALREADY, "the pod is shutting down already");
	a->off = true;
	a->off_conn = c;
	a->off_end_ms = clock_ms() + OFF_MS;
	for (ctr = a->containers; ctr; ctr = ctr->next) {
		changes_forget(ctr);
		cgroup_kill(ctr->cgroup_fd, &ignored);
	}
	request_shutdown_poll(a);
	return 0;
}

/**
 * request_handle() - carry out one request
 * @c: busy; answered now or later by conn_answer() or conn_send(), or has given
 *     its descriptor away
 *
 * Return: 0; minus errno: the caller answers with @e
 */
int request_handle(struct conn *c, const Podvm__Request *r, struct err *e)
{
	struct agent *a = c->agent;

	if (a->off && r->body_case != PODVM__REQUEST__BODY_PING &&
	    r->body_case != PODVM__REQUEST__BODY_PROCESS_ATTACH)
		return err_set(e, ESHUTDOWN, "the pod is shutting down");
	switch (r->body_case) {
	case PODVM__REQUEST__BODY_POD_SETUP:
		return on_pod_setup(c, r->pod_setup, e);
	case PODVM__REQUEST__BODY_LINKS_ADD:
		return on_links(c, r->links_add, e);
	case PODVM__REQUEST__BODY_LINK_REMOVE:
		return on_unlink(c, r->link_remove, e);
	case PODVM__REQUEST__BODY_NETWORK_UPDATE:
		return on_update(c, r->network_update, e);
	case PODVM__REQUEST__BODY_NET_STATE_GET:
		return on_net_state(c, e);
	case PODVM__REQUEST__BODY_CONTAINER_CREATE:
		return container_create(a, r->container_create, c, e);
	case PODVM__REQUEST__BODY_CONTAINER_START:
		return container_start(a, r->container_start->id, c, e);
	case PODVM__REQUEST__BODY_CONTAINER_HOOKS:
		return container_hooks(a, r->container_hooks, c, e);
	case PODVM__REQUEST__BODY_CONTAINER_DELETE:
		return container_delete(a, r->container_delete->id, c, e);
	case PODVM__REQUEST__BODY_CONTAINER_FREEZE:
		return freeze_container(a, r->container_freeze, c, e);
	case PODVM__REQUEST__BODY_CONTAINER_UPDATE:
		return limits_update(c, r->container_update, e);
	case PODVM__REQUEST__BODY_CGROUP_READ:
		return limits_tell(c, r->cgroup_read, e);
	case PODVM__REQUEST__BODY_CONTAINER_WATCH:
		return watch_container(c, r->container_watch, e);
	case PODVM__REQUEST__BODY_PROCESS_ATTACH:
		return on_attach(c, r->process_attach, e);
	case PODVM__REQUEST__BODY_PROCESS_EXEC:
		return container_exec(a, r->process_exec, c, e);
	case PODVM__REQUEST__BODY_SHELL_OPEN:
		return shell_open(c, r->shell_open, e);
	case PODVM__REQUEST__BODY_GUEST_GET:
		return figures_tell(c, r->guest_get, e);
	case PODVM__REQUEST__BODY_PROCESS_SIGNAL:
		return on_signal(c, r->process_signal, e);
	case PODVM__REQUEST__BODY_PROCESS_RESIZE:
		return on_resize(c, r->process_resize, e);
	case PODVM__REQUEST__BODY_STREAM_OPEN:
		return on_stream(c, r->stream_open, e);
	case PODVM__REQUEST__BODY_CHANGES_OPEN:
		return changes_tell(c, r->changes_open->id, e);
	case PODVM__REQUEST__BODY_CONTAINER_PIDS:
		return on_pids(c, r->container_pids, e);
	case PODVM__REQUEST__BODY_PING:
		conn_answer(c, NULL);
		return 0;
	case PODVM__REQUEST__BODY_POD_SHUTDOWN:
		return on_shutdown(c, e);
	case PODVM__REQUEST__BODY_CPUS_ONLINE:
		return on_cpus(c, r->cpus_online, e);
	case PODVM__REQUEST__BODY_MIRROR_PUT:
		return on_mirror_put(c, r->mirror_put, e);
	case PODVM__REQUEST__BODY_MIRROR_REMOVE:
		return on_mirror_remove(c, r->mirror_remove, e);
	case PODVM__REQUEST__BODY_DISKS_RELEASE:
		return release_disks(a, r->disks_release, c, e);
	case PODVM__REQUEST__BODY_RELAY_OPEN:
		return relay_open(c, r->relay_open, e);
	case PODVM__REQUEST__BODY_RELAY:
		return relay_watch(c, r->relay, e);
	case PODVM__REQUEST__BODY_CAPTURE_OPEN:
		return capture_begin(c, r->capture_open, e);
	case PODVM__REQUEST__BODY_TRACE_ASK:
		return on_trace(c, r->trace_ask, e);
	case PODVM__REQUEST__BODY__NOT_SET:
	default:
		return err_set(e, ENOSYS, "this agent does not know the request; is it of another version?");
	}
}
