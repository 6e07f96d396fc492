// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container is a cgroup, a first process and execs. Its mounts live in the
 * first process's mount namespace, so undoing it is: kill the cgroup, wait
 * until the processes are reaped and no mount holds its disks, remove the
 * cgroup, take the disks off their bus. The waiting is a short poll by a timer,
 * for the kernel tells nobody when a dead namespace has let go of a disk. A
 * creation that fails is undone in the same way before it is answered.
 *
 * Sources: OCI runtime-spec runtime.md; kernel cgroup-v2.rst (cgroup.kill).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

#define UNDO_POLL_MS 2
#define UNDO_MS 10000
#define SERIAL_PREFIX "serial:"

/**
 * container_find() - a container by its id; NULL: none
 */
struct container *container_find(struct agent *a, const char *id)
{
	struct container *c;

	for (c = a->containers; c; c = c->next)
		if (!strcmp(c->id, id))
			return c;
	return NULL;
}

/**
 * task_find() - a process by container and exec id
 *
 * Return: borrowed; NULL with @e set (ESRCH, in the words that engines look for)
 */
struct task *task_find(struct agent *a, const char *id, const char *exec_id,
		       struct err *e)
{
	struct container *c = container_find(a, id);
	struct task *t;

	if (!c || c->deleting || !c->init) {
		err_set(e, ESRCH, "container %s does not exist", id);
		return NULL;
	}
	if (!*exec_id)
		return c->init;
	for (t = c->execs; t; t = t->next)
		if (!strcmp(t->exec_id, exec_id))
			return t;
	err_set(e, ESRCH, "no such process");
	return NULL;
}

/**
 * task_running() - the first process of a container that has been made and has not ended
 *
 * Return: borrowed; NULL with @e set (ESRCH, as task_find() has it)
 */
struct task *task_running(struct agent *a, const char *id, struct err *e)
{
	struct task *init = task_find(a, id, "", e);

	if (!init || (init->state != TASK_ENDED && init->state != TASK_SETUP))
		return init;
	err_set(e, ESRCH, "container not running");
	return NULL;
}

static int check_id(const char *id, struct err *e)
{
	size_t len = strlen(id);

	/* cgroup.procs and its like are the kernel's names there. */
	if (!len || len > AGENT_ID_BYTES || strchr(id, '/') || id[0] == '.' ||
	    str_starts(id, "cgroup."))
		return err_set(e, EINVAL, "id of %zu bytes: 1 to %d without a slash, "
			       "not beginning with a dot", len, AGENT_ID_BYTES);
	return 0;
}

static int add_disk(struct container *c, const char *serial, size_t len,
		    struct err *e)
{
	size_t i;

	for (i = 0; i < c->n_disks; i++)
		if (strlen(c->disks[i]) == len && !strncmp(c->disks[i], serial, len))
			return 0;
	c->disks[c->n_disks] = strndup(serial, len);
	if (!c->disks[c->n_disks])
		return err_set(e, ENOMEM, "out of memory");
	c->n_disks++;
	return 0;
}

static int note_disks(struct container *c, const Podvm__ContainerCreate *m,
		      struct err *e)
{
	const Podvm__Rootfs *r = m->rootfs;
	const char *root[] = { r->disk ? r->disk->serial : "", r->lower_serial,
			       r->scratch_serial };
	size_t i;
	int rc = 0;

	c->disks = mem_new_n(char *, m->n_mounts + m->n_devices + ARRAY_LEN(root));
	if (!c->disks)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; rc >= 0 && i < ARRAY_LEN(root); i++)
		if (*root[i])
			rc = add_disk(c, root[i], strlen(root[i]), e);
	for (i = 0; rc >= 0 && i < m->n_devices; i++)
		if (*m->devices[i]->serial)
			rc = add_disk(c, m->devices[i]->serial, strlen(m->devices[i]->serial), e);
	for (i = 0; rc >= 0 && i < m->n_disks; i++)
		rc = disk_tell(m->disks[i]->serial, m->disks[i]->devfn, e);
	for (i = 0; rc >= 0 && i < m->n_mounts; i++) {
		const char *s = m->mounts[i]->source;

		if (!str_starts(s, SERIAL_PREFIX))
			continue;
		s += strlen(SERIAL_PREFIX);
		rc = add_disk(c, s, strcspn(s, "/"), e);
	}
	return rc;
}

static void container_free(struct container *c)
{
	struct agent *a = c->agent;
	struct container **p;
	size_t i;

	for (p = &a->containers; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			a->n_containers--;
			break;
		}
	while (c->execs) {
		struct task *t = c->execs;

		c->execs = t->next;
		task_free(t);
	}
	task_free(c->init);
	freeze_free(c->freeze);
	release_free(c->release);
	watch_forget_all(c);
	loop_del(c->timer_src);
	fd_close(&c->timer);
	fd_close(&c->cgroup_fd);
	fd_close(&c->devfilter);
	fd_close(&c->upper);
	if (c->user)
		podvm__namespace__free_unpacked(c->user, NULL);
	for (i = 0; i < c->n_disks; i++)
		free(c->disks[i]);
	free(c->disks);
	free(c);
}

/* Another container may show the same image. */
static bool disk_shared(const struct container *c, const char *serial)
{
	const struct container *o;
	size_t i;

	for (o = c->agent->containers; o; o = o->next)
		for (i = 0; o != c && i < o->n_disks; i++)
			if (!strcmp(o->disks[i], serial))
				return true;
	return false;
}

static bool still_held(const struct container *c)
{
	const struct task *t;
	size_t i;

	if ((c->init && c->init->pid) || c->teller || cgroup_populated(c->cgroup_fd))
		return true;
	for (t = c->execs; t; t = t->next)
		if (t->pid)
			return true;
	for (i = 0; i < c->n_disks; i++)
		if (!disk_shared(c, c->disks[i]) && disk_busy(c->disks[i]))
			return true;
	return false;
}

static void undo_step(void *arg, uint32_t events)
{
	struct container *c = arg;
	struct conn *pending = c->pending;
	struct err e = { 0 };
	size_t i;

	(void)events;
	timer_ack(c->timer);
	if (still_held(c) && clock_ms() < c->end_ms) {
		timer_set(c->timer, UNDO_POLL_MS, &e);
		return;
	}
	c->pending = NULL;
	if (still_held(c)) {
		/* Stays for another ContainerDelete. */
		err_set(&e, EBUSY, "container %s: processes or disks are still in use after %d ms",
			c->id, UNDO_MS);
		conn_answer(pending, &e);
		return;
	}
	if (cgroup_remove(c->id, &e) < 0)
		log_error("agent: container %s: %s", c->id, e.text);
	for (i = 0; i < c->n_disks; i++)
		if (!disk_shared(c, c->disks[i]))
			disk_remove(c->disks[i]);
	e = c->failure;
	container_free(c);
	conn_answer(pending, &e);
}

/**
 * container_undo() - kill all of a container, remove its traces, then answer
 * @pending: to be answered; NULL: nobody
 * @failure: what to answer; NULL: success
 *
 * The container is freed in a later round of the loop.
 */
void container_undo(struct container *ctr, struct conn *pending,
		    const struct err *failure)
{
	struct task *t;
	struct err e;

	ctr->deleting = true;
	changes_forget(ctr);
	ctr->pending = pending;
	memset(&ctr->failure, 0, sizeof(ctr->failure));
	if (failure)
		ctr->failure = *failure;
	ctr->end_ms = clock_ms() + UNDO_MS;
	if (cgroup_kill(ctr->cgroup_fd, &e) < 0)
		log_error("agent: container %s: kill: %s", ctr->id, e.text);
	/* Shells are in no container's cgroup. */
	for (t = ctr->execs; t; t = t->next)
		if (t->shell && t->pid)
			kill(t->pid, SIGKILL);
	timer_set(ctr->timer, 1, &e);
}

static int container_new(struct agent *a, const Podvm__ContainerCreate *m,
			 struct container **ret, struct err *e)
{
	struct container *c = mem_new(struct container);
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->agent = a;
	c->cgroup_fd = c->devfilter = c->upper = -1;
	memcpy(c->id, m->id, strlen(m->id) + 1);
	c->timens = timens_flag(m);
	rc = userns_of(m) ? userns_keep(userns_of(m), &c->user, e) : 0;
	if (rc >= 0)
		rc = c->timer = timer_new(e);
	else
		c->timer = -1;
	if (rc >= 0)
		rc = loop_add(a->loop, c->timer, EPOLLIN, undo_step, c, &c->timer_src, e);
	if (rc >= 0)
		rc = note_disks(c, m, e);
	if (rc >= 0)
		rc = devices_number(m, e);
	if (rc >= 0)
		rc = devfilter_load(m->device_rules, m->n_device_rules, &c->devfilter, e);
	if (rc >= 0)
		rc = cgroup_make(m->id, m, &c->cgroup_fd, e);
	if (rc < 0) {
		container_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

static int check_create(struct agent *a, const Podvm__ContainerCreate *m,
			struct err *e)
{
	int rc = check_id(m->id, e);

	if (rc < 0)
		return rc;
	if (container_find(a, m->id))
		return err_set(e, EEXIST, "container %s exists already", m->id);
	if (a->n_containers >= AGENT_CONTAINERS_MAX)
		return err_set(e, EMFILE, "more than %d containers", AGENT_CONTAINERS_MAX);
	if (!m->process || !m->process->n_args)
		return err_set(e, EINVAL, "container %s: process.args is empty", m->id);
	if (!m->rootfs || (m->rootfs->disk ? !*m->rootfs->disk->serial
					   : !*m->rootfs->lower_serial && !m->rootfs->share))
		return err_set(e, EINVAL, "container %s: no disk for the root file system",
			       m->id);
	return 0;
}

/**
 * container_create() - make a container; answered when its first process is ready
 * @c: waits for the answer
 *
 * Return: 0: answered later; minus errno: nothing was made
 */
int container_create(struct agent *a, const Podvm__ContainerCreate *m,
		     struct conn *c, struct err *e)
{
	struct container *ctr = NULL;
	int rc = check_create(a, m, e);

	if (rc >= 0)
		rc = memories_make(m, e);
	if (rc >= 0)
		rc = task_pause(a, e);
	if (rc >= 0)
		rc = container_new(a, m, &ctr, e);
	if (rc < 0)
		return rc;
	rc = task_spawn(ctr, "", m, NULL, &ctr->init, e);
	if (rc < 0) {
		cgroup_remove(ctr->id, NULL);
		container_free(ctr);
		return rc;
	}
	ctr->init->pending = c;
	ctr->next = a->containers;
	a->containers = ctr;
	a->n_containers++;
	return 0;
}

/**
 * container_start() - run the container's program; answered when it has been executed
 *
 * Return: 0: answered later; minus errno
 */
int container_start(struct agent *a, const char *id, struct conn *c, struct err *e)
{
	struct task *t = task_find(a, id, "", e);
	int rc;

	if (!t)
		return -e->code;
	rc = task_start(t, e);
	if (rc >= 0)
		t->pending = c;
	return rc;
}

/**
 * container_hooks() - run hooks of a container that waits for its start
 *
 * Return: 0: answered later, when they have ended; minus errno
 */
int container_hooks(struct agent *a, const Podvm__ContainerHooks *m, struct conn *c,
		    struct err *e)
{
	struct task *t = task_find(a, m->id, "", e);
	int rc;

	if (!t)
		return -e->code;
	rc = task_hooks(t, m->start, e);
	if (rc >= 0)
		t->pending = c;
	return rc;
}

/**
 * container_exec() - run one more process; answered when it has been executed,
 * from then on owned by @c
 *
 * Return: 0: answered later; minus errno
 */
int container_exec(struct agent *a, const Podvm__ProcessExec *m, struct conn *c,
		   struct err *e)
{
	struct task *init, *t;
	int rc;

	if (c->main || c->owner)
		return err_set(e, EINVAL, "a process is owned by a connection of its own");
	rc = check_id(m->exec_id, e);
	if (rc < 0)
		return rc;
	if (!m->process || !m->process->n_args)
		return err_set(e, EINVAL, "exec: process.args is empty");
	init = task_running(a, m->id, e);
	if (!init)
		return -e->code;
	if (init->ctr->freeze || cgroup_frozen(init->ctr->cgroup_fd))
		return err_set(e, EBUSY, "container %s is paused", m->id);
	if (task_find(a, m->id, m->exec_id, NULL))
		return err_set(e, EEXIST, "exec %s exists already", m->exec_id);
	rc = task_spawn(init->ctr, m->exec_id, NULL, m, &t, e);
	if (rc < 0)
		return rc;
	t->pending = c;
	t->next = init->ctr->execs;
	init->ctr->execs = t;
	return 0;
}

/**
 * container_shell() - run a process of the mini-OS itself, which goes with a container
 * @c: has the program; owns the process as with container_exec()
 *
 * Whether the container runs, has ended or stands still does not matter.
 *
 * Return: 0: answered later; minus errno
 */
int container_shell(struct agent *a, const Podvm__ShellOpen *m, struct conn *c,
		    struct err *e)
{
	struct task *init = task_find(a, m->id, "", e), *t;
	int rc;

	if (!init)
		return -e->code;
	rc = check_id(m->exec_id, e);
	if (rc < 0)
		return rc;
	if (!m->process->n_args)
		return err_set(e, EINVAL, "shell: process.args is empty");
	if (task_find(a, m->id, m->exec_id, NULL))
		return err_set(e, EEXIST, "exec %s exists already", m->exec_id);
	rc = task_shell(init->ctr, m->exec_id, m->process, c->program, &t, e);
	if (rc < 0)
		return rc;
	t->pending = c;
	t->next = init->ctr->execs;
	init->ctr->execs = t;
	return 0;
}

/**
 * container_delete() - kill and undo; answered when nothing of it is left
 *
 * Return: 0: answered now (it does not exist) or later; minus errno
 */
int container_delete(struct agent *a, const char *id, struct conn *c, struct err *e)
{
	struct container *ctr = container_find(a, id);

	if (!ctr) {
		conn_answer(c, NULL);
		return 0;
	}
	if (ctr->pending || (ctr->init && ctr->init->state == TASK_SETUP &&
			     ctr->init->pending))
		return err_set(e, EBUSY, "container %s is being created or deleted", id);
	container_undo(ctr, c, NULL);
	return 0;
}

/**
 * container_forget_conn() - a connection goes: nobody answers it any more
 *
 * An exec that nobody will own is killed.
 */
void container_forget_conn(struct agent *a, const struct conn *c)
{
	struct container *ctr;
	struct task *t;

	for (ctr = a->containers; ctr; ctr = ctr->next) {
		if (ctr->pending == c)
			ctr->pending = NULL;
		freeze_forget_conn(ctr->freeze, c);
		release_forget_conn(ctr->release, c);
		watch_forget_conn(ctr, c);
		if (ctr->init && ctr->init->pending == c)
			ctr->init->pending = NULL;
		for (t = ctr->execs; t; t = t->next) {
			if (t->pending != c)
				continue;
			t->pending = NULL;
			task_owner_lost(t);
			break;
		}
	}
}
