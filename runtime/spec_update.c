// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * An update of a running container's limits, as a pure function: the limits that it has
 * and those that are asked for, both as linux.resources has them, become the limits that
 * it will have, and the cgroup v2 files that differ, in the order in which they are
 * written. Both sides go through spec_resources(), so that what a limit means, and which
 * are refused, is decided in one place; and a value that depends on another one (memory
 * and swap together, quota and period) is right whichever of the two is asked for.
 *
 * What is not asked for stays. 0 and "" ask for nothing, as engines use them, but for a
 * period (the default one), a burst and idle (none). A limit that is asked for by its
 * name takes the place of an older one of "unified". Device rules are left as they are,
 * as runc has it: engines send them along.
 *
 * Order: the kernel wants a burst to be no more than the quota at any time, so the burst
 * goes first and comes back last. A group that is idle takes no weight, and has the
 * default one when it is no longer idle, so the weight is written behind that.
 *
 * Sources: OCI runtime-spec 1.2, config-linux.md "Control groups"; runc-update(8); Linux
 * kernel/sched/core.c (tg_set_cfs_bandwidth), kernel/sched/fair.c (sched_group_set_idle).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

#define SECTION "resources"

/* Members of linux.resources by the file that they become. */
static const struct {
	const char *section, *key, *file;
} members[] = {
	{ "memory", "limit", "memory.max" },
	{ "memory", "swap", "memory.swap.max" },
	{ "memory", "reservation", "memory.low" },
	{ "cpu", "shares", "cpu.weight" },
	{ "cpu", "quota", "cpu.max" },
	{ "cpu", "period", "cpu.max" },
	{ "cpu", "burst", "cpu.max.burst" },
	{ "cpu", "idle", "cpu.idle" },
	{ "cpu", "cpus", "cpuset.cpus" },
	{ "cpu", "mems", "cpuset.mems" },
	{ "pids", "limit", "pids.max" },
	{ "blockIO", "weight", "io.weight" },
};

/* What a file says when a limit is taken back that no other value takes back. */
static const struct {
	const char *file, *value;
} unlimited[] = {
	{ "memory.low", "0" },
	{ "cpu.max", "max 100000" },
	{ "cpu.max.burst", "0" },
	{ "cpu.idle", "0" },
};

/* Files of which the order matters; written behind all others. */
static const char *const ordered[] = {
	"cpu.weight", "cpu.idle", "cpu.max", "cpu.max.burst",
};

/* Whether a member asks for nothing. */
static bool leaves(const char *section, const struct jnode *n)
{
	static const char *const zero[] = { "period", "burst", "idle" };
	const char *text;
	uint64_t v = 1;
	size_t i;

	if (!n->obj || (!json_as_str(n, &text, NULL) && !*text))
		return true;
	if (json_as_u64(n, &v, NULL) < 0 || v)
		return false;
	for (i = 0; i < ARRAY_LEN(zero); i++)
		if (!strcmp(section, "cpu") && !strcmp(n->key, zero[i]))
			return false;
	return true;
}

static bool asks(const struct jnode *given, const char *section, const char *key)
{
	struct jnode s, m;
	size_t i;

	if (json_obj(given, section, &s, NULL) != 1)
		return false;
	for (i = 0; !json_member(&s, i, &m); i++)
		if (!strcmp(m.key, key))
			return !leaves(section, &m);
	return false;
}

/* A member of the limits so far that has no place among the new ones. */
static bool superseded(const char *section, const char *key, const struct jnode *given)
{
	int64_t v = 0;
	struct jnode s;
	size_t i;

	if (asks(given, section, key))
		return true;
	if (!strcmp(section, "cpu") && !strcmp(key, "burst"))
		return json_obj(given, section, &s, NULL) == 1 &&
		       json_i64(&s, "quota", &v, NULL) == 1 && v < 0;
	for (i = 0; i < ARRAY_LEN(members) && !strcmp(section, "unified"); i++)
		if (!strcmp(key, members[i].file) &&
		    asks(given, members[i].section, members[i].key))
			return true;
	return false;
}

/* One section of both; @old or @new is NULL where one has none. */
static void merge_section(struct json_out *o, const char *name, const struct jnode *old,
			  const struct jnode *new, const struct jnode *given)
{
	bool memory = !strcmp(name, "memory");
	int64_t limit = 0;
	struct jnode m;
	size_t i;

	json_out_obj(o, name);
	for (i = 0; old && !json_member(old, i, &m); i++)
		if (!superseded(name, m.key, given))
			json_out_copy(o, m.key, &m);
	for (i = 0; new && !json_member(new, i, &m); i++)
		if (!leaves(name, &m) && !(memory && !strcmp(m.key, "checkBeforeUpdate")))
			json_out_copy(o, m.key, &m);
	/* As with cgroup v1, where swap counts memory, too. */
	if (new && memory && json_i64(new, "limit", &limit, NULL) == 1 && limit < 0 &&
	    !asks(given, name, "swap"))
		json_out_i64(o, "swap", -1);
	json_out_end(o);
}

static void merge(struct json_out *o, const struct jnode *old, const struct jnode *given)
{
	struct jnode a, b;
	size_t i;

	for (i = 0; !json_member(old, i, &a); i++) {
		if (json_obj(given, a.key, &b, NULL) == 1)
			merge_section(o, a.key, &a, &b, given);
		else if (json_as_obj(&a, NULL) == 0)
			merge_section(o, a.key, &a, NULL, given);
		else if (!json_has(given, a.key))
			json_out_copy(o, a.key, &a);
	}
	for (i = 0; !json_member(given, i, &b); i++) {
		if (!strcmp(b.key, "devices"))
			continue;
		if (json_as_obj(&b, NULL) < 0)
			json_out_copy(o, b.key, &b);
		else if (json_obj(old, b.key, &a, NULL) != 1)
			merge_section(o, b.key, NULL, &b, given);
	}
}

/* A document that holds the limits as a bundle's section "linux" does. */
static int wrap(const struct jnode *old, const struct jnode *given, struct json_doc **ret,
		struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct json_out *o = json_out_new();
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_obj(o, SECTION);
	merge(o, old, given);
	json_out_end(o);
	rc = json_out_text(o, false, &text, e);
	json_out_free(o);
	return rc < 0 ? rc : json_parse(text, strlen(text), ret, e);
}

static int convert(struct json_doc *doc, Podvm__ContainerCreate *c, struct spec_limits *l,
		   struct err *e)
{
	struct jnode top = json_root(doc);

	return spec_resources(c, &top, l, e);
}

/* The last one counts. */
static const char *value_of(const Podvm__ContainerCreate *c, const char *file)
{
	size_t i = c->n_cgroup;

	while (i--)
		if (!strcmp(c->cgroup[i]->key, file))
			return c->cgroup[i]->value;
	return NULL;
}

/* The new value of a file, if it is another one; NULL: it stays. */
static const char *change(const Podvm__ContainerCreate *old, const Podvm__ContainerCreate *new,
			  const char *file)
{
	const char *was = value_of(old, file), *is = value_of(new, file);
	size_t i;

	for (i = 0; i < ARRAY_LEN(unlimited) && was && !is; i++)
		if (!strcmp(file, unlimited[i].file))
			is = unlimited[i].value;
	return is && (!was || strcmp(was, is)) ? is : NULL;
}

static int put(struct spec_update *u, const char *file, const char *value, struct err *e)
{
	return value ? spec_kv(&u->files, &u->n_files, file, value, e) : 0;
}

static bool is_ordered(const char *file)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(ordered); i++)
		if (!strcmp(file, ordered[i]))
			return true;
	return false;
}

static int plan_weight(struct spec_update *u, const Podvm__ContainerCreate *old,
		       const Podvm__ContainerCreate *new, struct err *e)
{
	const char *was = value_of(old, "cpu.idle"), *is = value_of(new, "cpu.idle");
	bool idle_was = was && strcmp(was, "0"), idle = is && strcmp(is, "0");
	int rc = 0;

	if (idle_was && !idle) {
		rc = put(u, "cpu.idle", "0", e);
		return rc ? rc : put(u, "cpu.weight", value_of(new, "cpu.weight"), e);
	}
	if (!idle_was)
		rc = put(u, "cpu.weight", change(old, new, "cpu.weight"), e);
	return rc || !idle || idle_was ? rc : put(u, "cpu.idle", is, e);
}

static int plan_bandwidth(struct spec_update *u, const Podvm__ContainerCreate *old,
			  const Podvm__ContainerCreate *new, struct err *e)
{
	const char *was = value_of(old, "cpu.max.burst");
	const char *max = change(old, new, "cpu.max");
	int rc = 0;

	if (!max || !was || !strcmp(was, "0")) {
		rc = put(u, "cpu.max", max, e);
		return rc ? rc : put(u, "cpu.max.burst", change(old, new, "cpu.max.burst"), e);
	}
	rc = put(u, "cpu.max.burst", "0", e);
	if (!rc)
		rc = put(u, "cpu.max", max, e);
	return rc ? rc : put(u, "cpu.max.burst", value_of(new, "cpu.max.burst"), e);
}

static int plan(struct spec_update *u, const Podvm__ContainerCreate *old,
		const Podvm__ContainerCreate *new, struct err *e)
{
	const char *file, *value;
	size_t i;
	int rc = 0;

	for (i = 0; i < new->n_cgroup && !rc; i++) {
		file = new->cgroup[i]->key;
		value = new->cgroup[i]->value;
		if (value != value_of(new, file) || is_ordered(file) || !change(old, new, file))
			continue;
		if (str_starts(file, "io.") && strcmp(file, "io.weight"))
			return err_set(e, EINVAL, "/" SECTION "/unified/%s: not supported: it "
				       "cannot be taken back when another limit is refused; set "
				       "it when the container is created", file);
		rc = put(u, file, value, e);
	}
	if (!rc && !value_of(new, "memory.low"))
		rc = put(u, "memory.low", change(old, new, "memory.low"), e);
	if (!rc)
		rc = plan_weight(u, old, new, e);
	return rc ? rc : plan_bandwidth(u, old, new, e);
}

/* The limits themselves, for the next update. */
static int keep(const struct jnode *resources, char **ret, struct err *e)
{
	struct json_out *o = json_out_new();
	struct jnode m;
	size_t i;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; !json_member(resources, i, &m); i++)
		if (strcmp(m.key, "devices"))
			json_out_copy(o, m.key, &m);
	rc = json_out_text(o, false, ret, e);
	json_out_free(o);
	return rc;
}

/**
 * spec_resources_text() - limits of a configuration, as spec_update() takes them
 * @n:   the linux section, checked by spec_resources()
 * @ret: JSON of an object, malloc'd; without device rules
 *
 * Return: 0 or -ENOMEM
 */
int spec_resources_text(const struct jnode *n, char **ret, struct err *e)
{
	struct jnode r = { 0 };

	json_obj(n, SECTION, &r, NULL);
	return keep(&r, ret, e);
}

/* A limit on memory that must not be below what is in use. */
static int memory_check(struct spec_update *u, const struct jnode *given, struct err *e)
{
	bool wanted = false;
	int64_t limit = 0;
	struct jnode m;

	if (json_obj(given, "memory", &m, NULL) != 1)
		return 0;
	if (json_flag(&m, "checkBeforeUpdate", &wanted, e) < 0)
		return -EINVAL;
	if (wanted && json_i64(&m, "limit", &limit, NULL) == 1 && limit > 0)
		u->memory_check = (uint64_t)limit;
	return 0;
}

static int update(const struct jnode *old, const struct jnode *given, struct spec_update *u,
		  struct err *e)
{
	Podvm__ContainerCreate *was = mem_new(Podvm__ContainerCreate);
	Podvm__ContainerCreate *is = mem_new(Podvm__ContainerCreate);
	struct json_doc *before = NULL, *after = NULL;
	struct jnode none = { 0 }, top, r = { 0 };
	struct spec_limits unused = { 0 };
	int rc = 0;

	if (!was || !is) {
		free(was);
		free(is);
		return err_set(e, ENOMEM, "out of memory");
	}
	podvm__container_create__init(was);
	podvm__container_create__init(is);
	if ((rc = wrap(old, &none, &before, e)) == 0 && (rc = convert(before, was, &unused, e)) == 0 &&
	    (rc = wrap(old, given, &after, e)) == 0 &&
	    (rc = convert(after, is, &u->limits, e)) == 0)
		rc = plan(u, was, is, e);
	if (!rc) {
		top = json_root(after);
		json_obj(&top, SECTION, &r, NULL);
		rc = keep(&r, &u->resources, e);
	}
	if (!rc)
		rc = memory_check(u, given, e);
	podvm__container_create__free_unpacked(was, NULL);
	podvm__container_create__free_unpacked(is, NULL);
	json_free(before);
	json_free(after);
	return rc;
}

/**
 * spec_update() - what an update of a container's limits comes to
 * @old:   limits that it has, from spec_resources_text() or an earlier update; NULL: none
 * @given: JSON of an object like linux.resources; hostile
 * @len:   of @given, bytes
 * @ret:   spec_update_done(); untouched on failure
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config-linux.md "Control groups"; runc-update(8)
 */
int spec_update(const char *old, const char *given, size_t len, struct spec_update *ret,
		struct err *e)
{
	struct json_doc *was = NULL, *is = NULL;
	struct spec_update u = { 0 };
	struct jnode a, b;
	int rc;

	if (!old)
		old = "{}";
	rc = json_parse(old, strlen(old), &was, e);
	if (!rc)
		rc = json_parse(given, len, &is, e);
	if (!rc) {
		a = json_root(was);
		b = json_root(is);
		rc = json_as_obj(&b, e);
	}
	if (!rc)
		rc = update(&a, &b, &u, e);
	json_free(was);
	json_free(is);
	if (rc < 0)
		spec_update_done(&u);
	else
		*ret = u;
	return rc;
}

/**
 * spec_update_done() - free what it holds
 */
void spec_update_done(struct spec_update *u)
{
	size_t i;

	for (i = 0; i < u->n_files; i++)
		podvm__key_value__free_unpacked(u->files[i], NULL);
	free(u->files);
	free(u->resources);
	memset(u, 0, sizeof(*u));
}
