// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Somebody on the host wants to hear when a container runs out of memory. The kernel
 * tells of a change in memory.events and cgroup.events by an event of the file
 * (EPOLLPRI), once until it is read again; so nothing polls. A watch ends with its
 * connection, with the container, and when no process of the container is left, which is
 * the last thing that it tells. Processes that were killed before a watch began are in
 * the number of its first message, and not news.
 *
 * Source: kernel Documentation/admin-guide/cgroup-v2.rst (memory.events, cgroup.events).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/loop.h"
#include "lib/mem.h"

/**
 * struct watch - who listens to one container
 * @conn:           borrowed
 * @memory, @group: its memory.events and cgroup.events, owned
 * @kills:          that @conn knows of
 */
struct watch {
	struct watch *next;
	struct container *ctr;
	struct conn *conn;
	int memory, group;
	struct loop_src *memory_src, *group_src;
	uint64_t kills;
};

static void watch_free(struct watch *w)
{
	struct watch **at;

	for (at = &w->ctr->watches; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			break;
		}
	loop_del(w->memory_src);
	loop_del(w->group_src);
	fd_close(&w->memory);
	fd_close(&w->group);
	free(w);
}

static void tell(const struct watch *w, bool ended)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Watched told = PODVM__WATCHED__INIT;

	told.oom_kills = w->kills;
	told.ended = ended;
	r.body_case = PODVM__RESPONSE__BODY_WATCHED;
	r.watched = &told;
	conn_send(w->conn, &r);
}

static void on_change(void *arg, uint32_t events)
{
	struct watch *w = arg;
	uint64_t kills;
	bool ended;
	char c;

	(void)events;
	/* The kernel tells of the next change only after this one was read. */
	ended = pread(w->memory, &c, 1, 0) < 0 || pread(w->group, &c, 1, 0) < 0 ||
		!cgroup_populated(w->ctr->cgroup_fd);
	kills = cgroup_oom_kills(w->ctr->cgroup_fd);
	if (kills > w->kills || ended) {
		if (kills > w->kills)
			w->kills = kills;
		tell(w, ended);
	}
	if (ended)
		watch_free(w);
}

static int join(struct watch *w, const char *file, int *ret_fd, struct loop_src **ret_src,
		struct err *e)
{
	*ret_fd = openat(w->ctr->cgroup_fd, file, O_RDONLY | O_CLOEXEC);
	if (*ret_fd < 0)
		return err_sys(e, "%s", file);
	return loop_add(w->ctr->agent->loop, *ret_fd, EPOLLPRI, on_change, w, ret_src, e);
}

/**
 * watch_container() - carry out the request; answered at once, and told more later
 * @c: that hears of it, until it closes
 *
 * Return: 0; minus errno
 */
int watch_container(struct conn *c, const Podvm__ContainerWatch *m, struct err *e)
{
	struct task *init;
	struct watch *w;
	int rc;

	if (c->main || c->owner)
		return err_set(e, EINVAL, "a watch has a connection of its own");
	init = task_running(c->agent, m->id, e);
	if (!init)
		return -e->code;
	w = mem_new(struct watch);
	if (!w)
		return err_set(e, ENOMEM, "out of memory");
	w->ctr = init->ctr;
	w->conn = c;
	w->memory = w->group = -1;
	w->kills = cgroup_oom_kills(w->ctr->cgroup_fd);
	rc = join(w, "memory.events", &w->memory, &w->memory_src, e);
	if (rc >= 0)
		rc = join(w, "cgroup.events", &w->group, &w->group_src, e);
	if (rc < 0) {
		watch_free(w);
		return rc;
	}
	w->next = w->ctr->watches;
	w->ctr->watches = w;
	conn_answer(c, NULL);
	tell(w, false);
	/* What changed meanwhile gives no event: its file was not read before. */
	on_change(w, 0);
	return 0;
}

/**
 * watch_forget_conn() - a connection goes: its watches of a container end
 */
void watch_forget_conn(struct container *ctr, const struct conn *c)
{
	struct watch *w, *next;

	for (w = ctr->watches; w; w = next) {
		next = w->next;
		if (w->conn == c)
			watch_free(w);
	}
}

/**
 * watch_forget_all() - a container goes
 */
void watch_forget_all(struct container *ctr)
{
	while (ctr->watches)
		watch_free(ctr->watches);
}
