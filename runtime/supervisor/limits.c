// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The limits of a container that is there. What an update comes to is decided here
 * (runtime/spec_update.c), from the limits in the container's record, and checked before
 * anything is sent; the machine grows to what the new limits need before the guest has
 * them (grow.c), and shrinks afterwards; the agent writes all files or none. The record
 * has the new limits when the guest has them. An answer that does not come leaves the record as it was: the
 * guest may have either, and the same update, given again, sets them anew.
 */
#include <errno.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"

/* Giving memory back to stay below a new limit takes the guest its time. */
#define UPDATE_MS 20000
#define READ_MS 5000

/* A file with one number. */
static int number(const Podvm__CgroupFiles *f, uint64_t *ret)
{
	char text[24];
	size_t len;

	if (f->n_files != 1)
		return -EPROTO;
	len = strcspn(f->files[0]->value, "\n");
	if (len >= sizeof(text))
		return -EPROTO;
	memcpy(text, f->files[0]->value, len);
	text[len] = 0;
	return parse_u64(text, ret);
}

/* What the guest says that the container has in use. */
static int memory_in_use(struct pod *p, struct container *c, uint64_t *ret, struct err *e)
{
	char *names[] = { strdupa("memory.current") };
	Podvm__CgroupRead m = PODVM__CGROUP_READ__INIT;
	Podvm__Request rq = AGENT_REQUEST(cgroup_read = &m, CGROUP_READ);
	Podvm__Response *rs;
	int rc;

	m.id = c->id;
	m.files = names;
	m.n_files = 1;
	rc = agent_call(&p->agent, &rq, READ_MS, &rs, e);
	if (rc < 0)
		return rc;
	rc = rs->body_case == PODVM__RESPONSE__BODY_CGROUP_FILES ? number(rs->cgroup_files, ret)
								 : -EPROTO;
	podvm__response__free_unpacked(rs, NULL);
	return rc < 0 ? err_set(e, EPROTO, "the guest's agent did not tell the memory in use") : 0;
}

static int check_memory(struct pod *p, struct container *c, uint64_t limit, struct err *e)
{
	uint64_t used = 0;
	int rc = memory_in_use(p, c, &used, e);

	if (rc < 0 || used <= limit)
		return rc;
	return err_set(e, EBUSY,
		       "/resources/memory/limit: %llu bytes are in use, more than %llu; without checkBeforeUpdate the guest would free or kill",
		       (unsigned long long)used, (unsigned long long)limit);
}

static int send_files(struct pod *p, struct container *c, const struct spec_update *u,
		      struct err *e)
{
	Podvm__ContainerUpdate m = PODVM__CONTAINER_UPDATE__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_update = &m, CONTAINER_UPDATE);

	if (!u->n_files)
		return 0;
	m.id = c->id;
	m.cgroup = u->files;
	m.n_cgroup = u->n_files;
	return agent_call(&p->agent, &rq, UPDATE_MS, NULL, e);
}

/* The machine, then the guest. */
static int carry_out(struct pod *p, struct container *c, const struct spec_update *u,
		     struct err *e)
{
	const struct spec_limits before = c->limits;
	int rc = pod_resize_for(p, c, &u->limits, e);

	if (rc < 0)
		return rc;
	rc = send_files(p, c, u, e);
	if (rc < 0)
		c->limits = before;
	else if (c->limits.shares != before.shares)
		place_weight(p, c);
	pod_resize_shrink(p);
	return rc;
}

static int find(struct pod *p, const char *id, struct container **ret, struct err *e)
{
	struct container *c = container_find(p, id);

	if (!c || !c->committed)
		return err_set(e, ENOENT, "container %s does not exist", id);
	if (p->dead || c->ended || c->state->status == STATE_STOPPED)
		return err_set(e, ESRCH, "container not running");
	*ret = c;
	return 0;
}

/**
 * container_update() - change limits of a container
 * @resources: JSON of an object like linux.resources; what it does not have stays
 *
 * Return: 0; -EINVAL with the JSON path, nothing was sent; what the agent says, and all
 * limits are as they were; -ETIMEDOUT: they may be either
 */
int container_update(struct pod *p, const char *id, const char *resources, struct err *e)
{
	struct spec_update u = { 0 };
	struct container *c = NULL;
	int rc = find(p, id, &c, e);

	if (!rc)
		rc = spec_update(c->state->resources, resources, strlen(resources), &u, e);
	if (!rc && u.memory_check)
		rc = check_memory(p, c, u.memory_check, e);
	if (!rc)
		rc = carry_out(p, c, &u, e);
	if (!rc) {
		free(c->state->resources);
		c->state->resources = mem_steal(u.resources);
		pod_stamp(p, 0, "container %.32s: limits changed (%zu files)", id, u.n_files);
		/* Its end may have been reported within the call, and has its own record. */
		rc = state_save(p->rootfd, c->state, e);
	}
	spec_update_done(&u);
	return rc;
}
