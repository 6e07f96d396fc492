// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container from Create to Delete, on the supervisor's side. Create maps the
 * rootfs to disks, plugs them, shares the volumes (volume.c) and has the agent make the container; it belongs
 * to the connection of the creating command until Commit, which tells that the
 * shim is up, so that a command that dies in between leaves nothing. Its record
 * (runtime/state.c) is written at Commit, Start and end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

#define AGENT_CREATE_MS 60000
#define AGENT_ANSWER_MS 20000
#define SHIM_EXIT_MS 3000

/**
 * container_find() - a container of this pod by id, or NULL
 */
struct container *container_find(struct pod *p, const char *id)
{
	struct container *c;

	for (c = p->containers; c && strcmp(c->id, id); c = c->next)
		;
	return c;
}

static int find(struct pod *p, const char *id, struct container **ret,
		struct err *e)
{
	*ret = container_find(p, id);
	return *ret ? 0 : err_set(e, ENOENT, "container %s does not exist", id);
}

/* Where a container is in its life (runtime/life.c). */
static enum life life_of(const struct container *c)
{
	static const enum life by_status[] = {
		[STATE_CREATED] = LIFE_CREATED, [STATE_RUNNING] = LIFE_RUNNING,
		[STATE_STOPPED] = LIFE_STOPPED, [STATE_PAUSED] = LIFE_PAUSED,
	};

	if (c->state && c->state->status == STATE_STOPPED)
		return LIFE_STOPPED;
	if (c->ended)
		return LIFE_ENDING;
	return c->committed ? by_status[c->state->status] : LIFE_CREATING;
}

static int alive(struct pod *p, struct err *e)
{
	return p->dead ? err_set(e, ESRCH, "the pod's machine has ended") : 0;
}

/**
 * container_unplug() - take a container's disks from the machine
 *
 * The agent has taken them off the guest's bus. A disk that the guest holds on to
 * stays plugged, and its number taken, until the pod ends.
 */
void container_unplug(struct pod *p, struct container *c)
{
	const struct storage_disk *disks = NULL;
	size_t i;
	struct err e;

	if (c->map)
		storage_map_disks(c->map, &disks);
	for (i = 0; i < c->n_disks; i++) {
		int rc = p->dead || p->vmm.sock < 0 ? 0 : machine_unplug(p, disks[i].serial, &e);

		broker_remove(&p->broker, c->disk[i]);
		if (rc < 0)
			log_warn("container %s: disk stays until the pod ends: %s", c->id, e.text);
		else
			p->disk_used[c->disk[i]] = false;
	}
	c->n_disks = 0;
}

/* Frees what the supervisor holds of a container; its record stays. */
static void drop(struct pod *p, struct container *c)
{
	struct container **at;

	wayback_end(p, c);
	container_unplug(p, c);
	settle_now(p, c, false);
	volumes_remove(p, c);
	storage_map_free(c->map);
	place_container_end(p, c);
	for (at = &p->containers; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	state_free(c->state);
	free(c->resolv_conf);
	free(c);
	pod_resize_shrink(p);
}

/* @taken: vectors that are others' */
static uint32_t disks_max(uint32_t vcpus, uint32_t taken)
{
	uint32_t all = POD_DISK_VECTORS * vcpus - taken, own = VMM_DISKS_OWN_VECTORS * (vcpus + 1);
	uint32_t max = VMM_DISKS_OWN_VECTORS + (all - own) / 2;

	return max < POD_DISKS_MAX ? max : POD_DISKS_MAX;
}

/**
 * container_take_number() - a number for a disk that is to be plugged
 * @ret: below POD_DISKS_MAX; given back by p->disk_used
 *
 * Return: 0; -ENOSPC when the guest has as many disks as it takes
 */
int container_take_number(struct pod *p, uint32_t *ret, struct err *e)
{
	uint32_t taken = (p->share.n ? POD_SHARE_VECTORS : 0) +
			 (p->hotplug_bytes ? POD_GROW_VECTORS : 0);
	uint32_t i, max = disks_max(p->vcpus, taken);

	for (i = 0; i < max && p->disk_used[i]; i++)
		;
	if (i == max)
		return err_set(e, ENOSPC, "pod %s has %u disks, the most a guest with %u vCPUs takes: delete containers, or start a new pod",
			       p->id, max, p->vcpus);
	p->disk_used[i] = true;
	*ret = i;
	return 0;
}

/* Plugs disk @i; from then on it is undone by container_unplug(). */
static int plug(struct pod *p, struct container *c, size_t i,
		const struct storage_disk *disk, struct spec *spec, struct err *e)
{
	uint32_t number = 0, devfn = 0;
	int rc = container_take_number(p, &number, e);

	if (rc < 0)
		return rc;
	if (disk->kind == STORAGE_DISK_SYNTHETIC)
		broker_add(&p->broker, number, c->map);
	rc = machine_plug(p, disk, number, &devfn, e);
	if (rc < 0) {
		broker_remove(&p->broker, number);
		p->disk_used[number] = false;
		return rc;
	}
	c->disk[i] = number;
	c->n_disks = i + 1;
	return spec_disk_place(spec, disk->serial, devfn, e);
}

static int map_rootfs(struct pod *p, struct container *c, struct spec *spec,
		      struct err *e)
{
	struct storage_request rq = { .rootfs = spec->rootfs,
				      .scratch_bytes = spec->scratch_bytes,
				      .readonly = spec->create->rootfs->readonly,
				      .leave = p->config.block_rootfs == CONFIG_BLOCK_LEAVE };
	Podvm__Rootfs *fs = spec->create->rootfs;
	const struct storage_disk *disks;
	struct storage_root root;
	char stem[17];
	size_t i, n;
	int rc;

	if (p->config.block_rootfs != CONFIG_BLOCK_REFUSE)
		rq.journal = p->journal;

	snprintf(stem, sizeof(stem), "d%u", p->n_disks++);
	rq.serial_stem = stem;
	if (!rq.scratch_bytes)
		rq.scratch_bytes = p->config.scratch_bytes;
	if (fs->readonly)
		rq.scratch_bytes = 0;
	if (p->config.layer_cache[0])
		rq.cache_dir = p->config.layer_cache;
	rc = storage_map_rootfs(&rq, &c->map, e);
	if (rc == -EOPNOTSUPP) {
		struct err why = *e;

		return volume_rootfs(p, c, spec, why.text, e);
	}
	if (rc < 0)
		return err_wrap(e, "/root/path");
	n = storage_map_disks(c->map, &disks);
	if (storage_map_root(c->map, &root)) {
		c->lent = true;
		rc = blockroot_describe(fs, &root, disks[0].serial, e);
		if (!rc)
			rc = machine_journal(p, &p->vmm, e);
		if (!rc)
			rc = plug(p, c, 0, &disks[0], spec, e);
		if (!rc)
			pod_stamp(p, 0, "container %.32s: block device handed over and plugged", c->id);
		return rc;
	}
	wayback_plan(p, c, spec, rq.scratch_bytes);
	for (i = 0; i < n; i++) {
		bool lower = disks[i].kind == STORAGE_DISK_SYNTHETIC;
		char **serial = lower ? &fs->lower_serial : &fs->scratch_serial;
		char *copy = strdup(disks[i].serial);

		if (!copy)
			return err_set(e, ENOMEM, "out of memory");
		if (*serial != protobuf_c_empty_string)
			free(*serial);
		*serial = copy;
		rc = plug(p, c, i, &disks[i], spec, e);
		if (rc < 0)
			return rc;
	}
	pod_stamp(p, 0, "container %.32s: rootfs mapped and plugged (%zu disks)", c->id, n);
	return 0;
}

static int agent_create(struct pod *p, struct container *c, struct spec *spec,
			struct err *e)
{
	Podvm__Request rq = AGENT_REQUEST(container_create = spec->create,
					  CONTAINER_CREATE);
	char *own = spec->create->id;
	int rc;

	spec->create->id = c->id;
	rc = agent_call(&p->agent, &rq, AGENT_CREATE_MS, NULL, e);
	spec->create->id = own;
	if (!rc)
		pod_stamp(p, 0, "container %.32s: created in the guest", c->id);
	return rc;
}

static int agent_delete(struct pod *p, struct container *c, struct err *e)
{
	Podvm__ContainerDelete del = PODVM__CONTAINER_DELETE__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_delete = &del, CONTAINER_DELETE);

	del.id = c->id;
	return p->dead ? 0 : agent_call(&p->agent, &rq, AGENT_CREATE_MS, NULL, e);
}

/* Of a container that was not committed nothing stays, wherever it came to an end. */
static void take_back(struct pod *p, struct container *c)
{
	agent_delete(p, c, NULL);
	/* The guest may have seen a disk of which its agent was never told. */
	settle_now(p, c, true);
	drop(p, c);
}

/* Of the host; NULL stays where the container has the image's own. */
static int keep_resolv_conf(struct container *c, const struct spec *spec, struct err *e)
{
	const char *path = spec_resolv_conf(spec);

	if (!path)
		return 0;
	c->resolv_conf = strdup(path);
	return c->resolv_conf ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* Has it join the processes of another container of the pod, if it names that one's shim. */
static int join_pids(struct pod *p, struct spec *spec, struct err *e)
{
	struct container *o = p->containers;
	size_t i;

	while (o && (!o->committed || o->infra || o->state->pid != spec->pid_of))
		o = o->next;
	if (!o || !spec->pid_of)
		return 0;
	for (i = 0; i < spec->create->n_namespaces; i++) {
		Podvm__Namespace *n = spec->create->namespaces[i];

		if (n->type != PODVM__NAMESPACE__TYPE__PID)
			continue;
		n->of = strdup(o->id);
		if (!n->of)
			return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

static int make(struct pod *p, struct container *c, const struct spec_source *src, bool systemd,
		struct err *e)
{
	struct spec *spec;
	int rc = spec_load_from(src, &spec, e);

	if (rc < 0)
		return rc;
	rc = state_new(c->id, p->id, src->bundle, spec, &c->state, e);
	if (!rc && spec->create->create_hooks)
		rc = state_hooks(c->state, "creating", spec->create->create_hooks, e);
	if (!rc && spec->create->start_hooks)
		rc = state_hooks(c->state, "created", spec->create->start_hooks, e);
	if (!rc)
		rc = cgroup_of_container(spec->cgroups_path, c->id, systemd, &c->cgroup, e);
	if (!rc)
		oom_forget(c);
	c->infra = spec->role == SPEC_ROLE_SANDBOX;
	if (!rc)
		rc = join_pids(p, spec, e);
	if (!rc)
		rc = pod_resize_for(p, c, &spec->limits, e);
	if (!rc)
		rc = keep_resolv_conf(c, spec, e);
	if (!rc)
		relayd_container(p, c);
	if (!rc)
		rc = map_rootfs(p, c, spec, e);
	if (!rc)
		rc = rawvols_plug(p, c, spec, e);
	if (!rc)
		rc = volumes_add(p, c, spec, src->bundle, e);
	if (!rc)
		rc = agent_create(p, c, spec, e);
	spec_free(spec);
	return rc;
}

/**
 * container_create() - make a container that waits for its start
 * @src:    its config.json
 * @systemd: linux.cgroupsPath names a scope of systemd's
 * @owner:  connection that it belongs to until container_commit()
 *
 * Return: 0; -EEXIST; what failed, with nothing left behind
 */
int container_create(struct pod *p, const char *id, const struct spec_source *src, bool systemd,
		     const void *owner, struct err *e)
{
	struct container *c;
	struct state *old;
	int rc = state_check_id(id, e);

	if (rc < 0)
		return rc;
	if (container_find(p, id))
		return err_set(e, EEXIST, "container %s exists already", id);
	if (!state_load(p->rootfd, id, &old, NULL)) {
		state_free(old);
		return err_set(e, EEXIST, "container %s exists already", id);
	}
	rc = alive(p, e);
	if (rc < 0)
		return rc;
	c = mem_new(struct container);
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	strcpy(c->id, id); /* state_check_id() has checked the length */
	c->owner = owner;
	c->back.hold = c->back.stream = -1;
	c->next = p->containers;
	p->containers = c;
	rc = make(p, c, src, systemd, e);
	if (rc < 0)
		take_back(p, c);
	return rc;
}

/**
 * container_commit() - the shim of a created container is up
 * @shim: its pid; moved into the container's cgroup before, by the Agent request
 *
 * Return: 0 or minus errno
 */
int container_commit(struct pod *p, const char *id, pid_t shim,
		     const void *owner, struct err *e)
{
	char boot[PROC_BOOT_ID_BYTES];
	struct container *c;
	int rc = find(p, id, &c, e);

	if (rc < 0)
		return rc;
	if (c->owner != owner || c->committed)
		return err_set(e, EPERM, "container %s is not this command's to commit", id);
	rc = proc_start_ticks(shim, &c->state->pid_start, e);
	if (rc < 0)
		return err_wrap(e, "shim");
	free(c->state->boot);
	c->state->boot = NULL;
	if (proc_boot_id(boot, NULL) >= 0)
		c->state->boot = strdup(boot);
	c->state->pid = shim;
	rc = state_save(p->rootfd, c->state, e);
	if (rc < 0)
		return rc;
	c->committed = true;
	c->owner = NULL;
	return 0;
}

/**
 * container_start() - let a created container run
 *
 * Return: 0; -EINVAL when it is not "created"; what the agent says
 */
int container_start(struct pod *p, const char *id, struct err *e)
{
	Podvm__ContainerStart start = PODVM__CONTAINER_START__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_start = &start, CONTAINER_START);
	struct container *c;
	int rc = find(p, id, &c, e);

	if (rc < 0)
		return rc;
	if (life_next(life_of(c), LIFE_START) < 0)
		return err_set(e, EINVAL, "container %s is %s: cannot start it", id,
			       life_name(life_of(c)));
	rc = alive(p, e);
	if (rc < 0)
		return rc;
	netwatch_settle(p);
	relayd_container(p, c);
	/* Written first: the container's end may be reported within the call. */
	c->state->status = STATE_RUNNING;
	rc = state_save(p->rootfd, c->state, e);
	if (rc < 0)
		return rc;
	start.id = c->id;
	rc = agent_call(&p->agent, &rq, AGENT_ANSWER_MS, NULL, e);
	/*
	 * Nothing of it ran: nothing comes back, and its shim waits for nothing. But where the
	 * machine was lost within the call, lose() has the reason.
	 */
	if (rc < 0 && rc != -EPIPE && c->state->status == STATE_RUNNING && !c->ended)
		container_stopped(p, c);
	if (!rc)
		pod_stamp(p, 0, "container %.32s: started", id);
	return rc;
}

/**
 * container_freeze() - pause a running container, or let a paused one run
 *
 * Return: 0; -EINVAL when it is neither; what the agent says
 */
int container_freeze(struct pod *p, const char *id, bool frozen, struct err *e)
{
	Podvm__ContainerFreeze m = PODVM__CONTAINER_FREEZE__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_freeze = &m, CONTAINER_FREEZE);
	struct container *c;
	int rc = find(p, id, &c, e);

	if (!rc)
		rc = alive(p, e);
	if (rc < 0)
		return rc;
	if (life_next(life_of(c), frozen ? LIFE_PAUSE : LIFE_RESUME) < 0)
		return err_set(e, EINVAL, "container %s is %s: cannot %s it", id,
			       life_name(life_of(c)), frozen ? "pause" : "resume");
	m.id = c->id;
	m.frozen = frozen;
	rc = agent_call(&p->agent, &rq, AGENT_ANSWER_MS, NULL, e);
	/* Its end may have been reported within the call. */
	if (rc < 0 || c->ended)
		return rc;
	c->state->status = frozen ? STATE_PAUSED : STATE_RUNNING;
	pod_stamp(p, 0, "container %.32s: %s", id, frozen ? "paused" : "resumed");
	return state_save(p->rootfd, c->state, e);
}

/**
 * container_signal() - send a signal to a container's init, or to all of it
 *
 * Return: 0; -ESRCH "container not running"
 */
int container_signal(struct pod *p, const char *id, uint32_t sig, bool all,
		     struct err *e)
{
	Podvm__ProcessSignal s = PODVM__PROCESS_SIGNAL__INIT;
	Podvm__Request rq = AGENT_REQUEST(process_signal = &s, PROCESS_SIGNAL);
	struct container *c;
	int rc = find(p, id, &c, e);

	if (rc < 0)
		return rc;
	if (p->dead || life_next(life_of(c), LIFE_SIGNAL) < 0)
		return err_set(e, ESRCH, "container not running");
	/* Its shim is there until its changes are: to a process that has ended, any signal
	 * can be sent. */
	if (c->ended)
		return 0;
	s.id = c->id;
	s.signal = sig;
	s.all = all;
	return agent_call(&p->agent, &rq, AGENT_ANSWER_MS, NULL, e);
}

/**
 * container_pids() - processes of a container, as numbered in the guest
 * @ret: podvm__response__free_unpacked()
 *
 * Return: 0 or minus errno
 */
int container_pids(struct pod *p, const char *id, Podvm__Response **ret,
		   struct err *e)
{
	Podvm__ContainerPids pids = PODVM__CONTAINER_PIDS__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_pids = &pids, CONTAINER_PIDS);
	struct container *c;
	int rc = find(p, id, &c, e);

	if (!rc)
		rc = alive(p, e);
	if (rc < 0)
		return rc;
	pids.id = c->id;
	return agent_call(&p->agent, &rq, AGENT_ANSWER_MS, ret, e);
}

/**
 * container_exited() - the agent says that a container's init has ended
 * @x: guest data: an id that is not known is dropped
 */
void container_exited(struct pod *p, const Podvm__Exited *x)
{
	struct container *c = x->id ? container_find(p, x->id) : NULL;

	/* One whose bundle does not load has no state, and the guest can name it all the same. */
	if (!c || !c->state || (x->exec_id && *x->exec_id) || life_next(life_of(c), LIFE_EXITED) < 0)
		return;
	c->ended = true;
	if (x->oom)
		oom_tell(c);
	c->state->exit_code = (int)(x->signal ? 128 + (x->signal & 127) : x->code & 255);
	p->exits++;
	p->oom_kills += x->oom;
	pod_stamp(p, 0, "container %.32s: ended with %d", c->id, c->state->exit_code);
	if (c->state->status == STATE_CREATED || !wayback_begin(p, c))
		container_settle(p, c);
}

/**
 * container_settle() - a container has ended, and its changes are back or never come
 */
void container_settle(struct pod *p, struct container *c)
{
	if (c->lent)
		settle_later(p, c);
	else
		container_stopped(p, c);
}

/* Its end was the pod's: for its record and the engine's log. */
static void say_end(const struct pod *p, struct container *c)
{
	state_end(c->state, c->state->exit_code, p->end_text, NULL);
	if (c->back.text[0])
		return;
	snprintf(c->back.text, sizeof(c->back.text), "its pod's machine has ended: %s",
		 p->end_text);
}

/**
 * container_stopped() - a container has ended, and all that it was lent is back
 */
void container_stopped(struct pod *p, struct container *c)
{
	struct err e;

	if (p->end)
		say_end(p, c);
	c->state->status = STATE_STOPPED;
	if (c->committed && state_save(p->rootfd, c->state, &e) < 0)
		log_error("container %s: %s", c->id, e.text);
	wayback_end(p, c);
	ending_settled(p);
}

/* A shim ends by itself when its process has ended; one that hangs is killed. */
static void end_shim(struct container *c)
{
	_cleanup_close_ int pidfd = -1;
	int status;

	if (!c->committed)
		return;
	pidfd = proc_pidfd(c->state->pid, c->state->pid_start, NULL);
	if (pidfd < 0 || proc_wait(pidfd, SHIM_EXIT_MS, &status, NULL) != -ETIMEDOUT)
		return;
	proc_kill(pidfd, SIGKILL);
	proc_wait(pidfd, SHIM_EXIT_MS, &status, NULL);
}

/**
 * container_delete() - undo a container
 * @force: also when it still runs
 *
 * Return: 0; -EBUSY when it runs and @force is not given; minus errno
 */
int container_delete(struct pod *p, const char *id, bool force, struct err *e)
{
	struct container *c;
	int rc = find(p, id, &c, e);

	if (rc < 0)
		return rc;
	if (force)
		wayback_end(p, c);
	if (c->lent && c->ended && !wayback_pending(c))
		settle_now(p, c, true);
	if (life_next(life_of(c), force ? LIFE_FORCE : LIFE_DELETE) < 0)
		return err_set(e, EBUSY, "container %s is %s: kill it first, or use --force",
			       id, life_name(life_of(c)));
	rc = agent_delete(p, c, e);
	if (rc < 0 && !force)
		return rc;
	if (rc < 0)
		log_warn("container %s: %s", id, e->text);
	container_unplug(p, c);
	settle_now(p, c, false);
	end_shim(c);
	rc = state_remove(p->rootfd, id, e);
	drop(p, c);
	pod_stamp(p, 0, "container %.32s: deleted", id);
	p->ending = !p->containers;
	return rc;
}

/**
 * container_abandon() - take back what a connection did not commit
 * @owner: the connection; it has closed or gives up
 */
void container_abandon(struct pod *p, const void *owner)
{
	struct container *c, *next;

	for (c = p->containers; c; c = next) {
		next = c->next;
		if (c->committed || c->owner != owner)
			continue;
		log_warn("container %s: its create command ended early; taken back", c->id);
		take_back(p, c);
	}
	p->ending = !p->containers;
}

/* Its machine is gone: what had not ended before has ended with it. */
static void lose(struct pod *p, struct container *c)
{
	if (c->state->status == STATE_STOPPED)
		return;
	if (!c->ended)
		c->state->exit_code = life_end_code(p->end);
	if (p->end && !c->ended)
		say_end(p, c);
	c->state->status = STATE_STOPPED;
	state_save(p->rootfd, c->state, NULL);
}

/**
 * container_forget_all() - the machine is gone: mark all stopped, free all
 */
void container_forget_all(struct pod *p)
{
	while (p->containers) {
		struct container *c = p->containers;

		settle_now(p, c, false);
		/* Who sees the shim's end finds the record right. */
		if (c->committed)
			lose(p, c);
		wayback_end(p, c);
		if (c->committed)
			end_shim(c);
		drop(p, c);
	}
}
