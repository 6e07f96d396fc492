// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * User and time namespaces, which a container has in the guest. The mappings are those
 * of the host, number by number: what an engine has given to an id for a root file
 * system or a volume belongs to that id in the guest, too, so files have the owners that
 * they have with runc where no mount is mapped.
 *
 * Memory and terminals are mounted in the guest by its root: options that name an id get
 * the machine's, and a tmpfs without an owner belongs to the container's root.
 *
 * A user namespace that is the pod's (a path) is one of the same mappings for each
 * container: what it guards is the same, since the pod's other namespaces are the
 * machine's.
 *
 * Sources: OCI runtime-spec 1.2, config-linux.md "User namespace mappings", "Offset for
 * Time Namespace"; user_namespaces(7), time_namespaces(7).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/idmap.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"

/* What one write to /proc/PID/uid_map has room for: a page, lines of 33 bytes. */
#define MAPS_MAX 100

#define NANOSECONDS 1000000000u

static Podvm__Namespace *find(const Podvm__ContainerCreate *c, Podvm__Namespace__Type t)
{
	size_t i;

	for (i = 0; i < c->n_namespaces; i++)
		if (c->namespaces[i]->type == t)
			return c->namespaces[i];
	return NULL;
}

static int number(const struct jnode *n, const char *key, uint32_t *ret, struct err *e)
{
	uint64_t v;
	int rc = json_u64(n, key, &v, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, key, e, "missing");
	if (v >= UINT32_MAX)
		return json_fail(n, key, e, "must be below %u", UINT32_MAX);
	*ret = (uint32_t)v;
	return 0;
}

static bool overlap(uint32_t a, uint32_t a_size, uint32_t b, uint32_t b_size)
{
	return (uint64_t)a < (uint64_t)b + b_size && (uint64_t)b < (uint64_t)a + a_size;
}

static int map_one(const struct jnode *n, Podvm__IdMap **others, size_t n_others,
		   Podvm__IdMap *m, struct err *e)
{
	size_t i;
	int rc = json_as_obj(n, e);

	if (!rc)
		rc = number(n, "containerID", &m->inside, e);
	if (!rc)
		rc = number(n, "hostID", &m->outside, e);
	if (!rc)
		rc = number(n, "size", &m->size, e);
	if (rc < 0)
		return rc;
	if (!m->size || (uint64_t)m->inside + m->size > UINT32_MAX ||
	    (uint64_t)m->outside + m->size > UINT32_MAX)
		return json_fail(n, "size", e, "must be 1 at least, and no id above %u",
				 UINT32_MAX - 1);
	for (i = 0; i < n_others; i++)
		if (overlap(m->inside, m->size, others[i]->inside, others[i]->size) ||
		    overlap(m->outside, m->size, others[i]->outside, others[i]->size))
			return json_fail(n, NULL, e, "overlaps with entry %zu", i);
	return 0;
}

static int maps(const struct jnode *n, const char *key, Podvm__IdMap ***ret, size_t *ret_n,
		struct err *e)
{
	struct jnode arr, el;
	Podvm__IdMap *m;
	uint32_t root;
	size_t i;
	int rc = json_arr(n, key, &arr, e);

	if (rc < 0)
		return rc;
	if (!rc || !json_len(&arr))
		return json_fail(n, key, e, "missing: the user namespace needs it");
	if (json_len(&arr) > MAPS_MAX)
		return json_fail(n, key, e, "more than %d", MAPS_MAX);
	for (i = 0; i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		m = mem_new(Podvm__IdMap);
		if (!m)
			return err_set(e, ENOMEM, "out of memory");
		podvm__id_map__init(m);
		rc = map_one(&el, *ret, *ret_n, m, e);
		if (!rc)
			rc = spec_push(ret, ret_n, m, e);
		if (rc < 0) {
			free(m);
			return rc;
		}
	}
	if (!idmap_outside(*ret, *ret_n, 0, &root))
		return json_fail(n, key, e, "must map 0, which is the container's root");
	return 0;
}

/* The ids of the container's process must be there. */
static int check_process(const Podvm__Process *p, const Podvm__Namespace *u, struct err *e)
{
	uint32_t id;
	size_t i;

	if (!idmap_outside(u->uid_maps, u->n_uid_maps, p->uid, &id))
		return err_set(e, EINVAL, "/process/user/uid: %u is not in linux.uidMappings", p->uid);
	if (!idmap_outside(u->gid_maps, u->n_gid_maps, p->gid, &id))
		return err_set(e, EINVAL, "/process/user/gid: %u is not in linux.gidMappings", p->gid);
	for (i = 0; i < p->n_additional_gids; i++)
		if (!idmap_outside(u->gid_maps, u->n_gid_maps, p->additional_gids[i], &id))
			return err_set(e, EINVAL, "/process/user/additionalGids/%zu: %u is not in "
				       "linux.gidMappings", i, p->additional_gids[i]);
	return 0;
}

static int map_device(Podvm__Device *d, size_t i, const Podvm__Namespace *u, struct err *e)
{
	uint32_t uid, gid;

	if (!idmap_outside(u->uid_maps, u->n_uid_maps, d->uid, &uid))
		return err_set(e, EINVAL, "/linux/devices/%zu/uid: %u is not in linux.uidMappings", i,
			       d->uid);
	if (!idmap_outside(u->gid_maps, u->n_gid_maps, d->gid, &gid))
		return err_set(e, EINVAL, "/linux/devices/%zu/gid: %u is not in linux.gidMappings", i,
			       d->gid);
	d->uid = uid;
	d->gid = gid;
	return 0;
}

/* One option of a mount; @seen: 1 uid, 2 gid. */
static int map_option(struct strbuf *to, const char *word, size_t len, const Podvm__Namespace *u,
		      unsigned int *seen)
{
	bool uid = len > 4 && !memcmp(word, "uid=", 4), gid = len > 4 && !memcmp(word, "gid=", 4);
	char text[24];
	uint64_t inside;
	uint32_t id;

	if (!uid && !gid) {
		strbuf_add(to, "%s%.*s", to->len ? "," : "", (int)len, word);
		return 0;
	}
	if (len - 4 >= sizeof(text))
		return -EINVAL;
	memcpy(text, word + 4, len - 4);
	text[len - 4] = 0;
	if (parse_u64(text, &inside) < 0 ||
	    !(uid ? idmap_outside(u->uid_maps, u->n_uid_maps, inside, &id)
		  : idmap_outside(u->gid_maps, u->n_gid_maps, inside, &id)))
		return -EINVAL;
	*seen |= uid ? 1 : 2;
	strbuf_add(to, "%s%.4s%u", to->len ? "," : "", word, id);
	return 0;
}

static int map_mount(Podvm__Mount *m, size_t i, const Podvm__Namespace *u, struct err *e)
{
	bool tmpfs = !strcmp(m->type, "tmpfs");
	unsigned int seen = tmpfs ? 0 : 3;
	struct strbuf b = { 0 };
	const char *word, *end;
	uint32_t uid = 0, gid = 0;

	if (!tmpfs && strcmp(m->type, "devpts") && strcmp(m->type, "proc"))
		return 0;
	for (word = m->data; *word; word = *end ? end + 1 : end) {
		end = strchrnul(word, ',');
		if (map_option(&b, word, (size_t)(end - word), u, &seen) < 0) {
			strbuf_done(&b);
			return err_set(e, EINVAL, "/mounts/%zu/options: \"%.*s\": not an id of "
				       "linux.uidMappings or gidMappings", i, (int)(end - word), word);
		}
	}
	idmap_outside(u->uid_maps, u->n_uid_maps, 0, &uid);
	idmap_outside(u->gid_maps, u->n_gid_maps, 0, &gid);
	if (!(seen & 1))
		strbuf_add(&b, "%suid=%u", b.len ? "," : "", uid);
	if (!(seen & 2))
		strbuf_add(&b, "%sgid=%u", b.len ? "," : "", gid);
	if (b.failed) {
		strbuf_done(&b);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (!b.text)
		return 0;
	if (m->data != protobuf_c_empty_string)
		free(m->data);
	m->data = b.text;
	return 0;
}

/**
 * spec_userns() - translate uidMappings and gidMappings
 * @c: its namespaces and process are set
 * @n: the linux object
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 */
int spec_userns(Podvm__ContainerCreate *c, const struct jnode *n, struct err *e)
{
	static const struct spec_refusal alone[] = {
		{ "uidMappings", "there is no user namespace in linux.namespaces; add one, or "
		  "leave it out" },
		{ "gidMappings", "there is no user namespace in linux.namespaces; add one, or "
		  "leave it out" },
	};
	Podvm__Namespace *u = find(c, PODVM__NAMESPACE__TYPE__USER);
	int rc;

	if (!u)
		return spec_refuse(n, alone, ARRAY_LEN(alone), e);
	rc = maps(n, "uidMappings", &u->uid_maps, &u->n_uid_maps, e);
	if (!rc)
		rc = maps(n, "gidMappings", &u->gid_maps, &u->n_gid_maps, e);
	return rc ? rc : check_process(c->process, u, e);
}

/**
 * spec_userns_ids() - give the machine's ids to what the guest's root makes
 * @c: its mounts and devices are set
 *
 * Return: 0; -EINVAL for an id that is not mapped; -ENOMEM
 */
int spec_userns_ids(Podvm__ContainerCreate *c, struct err *e)
{
	const Podvm__Namespace *u = find(c, PODVM__NAMESPACE__TYPE__USER);
	size_t i;
	int rc = 0;

	for (i = 0; u && i < c->n_devices && !rc; i++)
		rc = map_device(c->devices[i], i, u, e);
	for (i = 0; u && i < c->n_mounts && !rc; i++)
		rc = map_mount(c->mounts[i], i, u, e);
	return rc;
}

static int offset(const struct jnode *el, struct strbuf *b, struct err *e)
{
	uint64_t nanosecs = 0;
	int64_t secs = 0;

	if (json_as_obj(el, e) < 0 || json_i64(el, "secs", &secs, e) < 0 ||
	    json_u64(el, "nanosecs", &nanosecs, e) < 0)
		return -EINVAL;
	if (strcmp(el->key, "monotonic") && strcmp(el->key, "boottime"))
		return json_fail(el, NULL, e, "unknown clock; \"monotonic\" and \"boottime\" can be "
				 "set off");
	if (nanosecs >= NANOSECONDS)
		return json_fail(el, "nanosecs", e, "must be below %u", NANOSECONDS);
	strbuf_add(b, "%s %" PRId64 " %" PRIu64 "\n", el->key, secs, nanosecs);
	return 0;
}

/**
 * spec_timens() - translate timeOffsets
 * @c: its namespaces are set
 * @n: the linux object
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 */
int spec_timens(Podvm__ContainerCreate *c, const struct jnode *n, struct err *e)
{
	struct strbuf b = { 0 };
	struct jnode map, el;
	size_t i;
	int rc = json_obj(n, "timeOffsets", &map, e);

	if (rc <= 0 || !json_len(&map))
		return rc < 0 ? rc : 0;
	if (!find(c, PODVM__NAMESPACE__TYPE__TIME))
		return json_fail(n, "timeOffsets", e, "not supported: there is no time namespace in "
				 "linux.namespaces; add one, or leave it out");
	rc = 0;
	for (i = 0; !rc && !json_member(&map, i, &el); i++)
		rc = offset(&el, &b, e);
	if (!rc && b.failed)
		rc = err_set(e, ENOMEM, "out of memory");
	if (!rc) {
		c->time_offsets = b.text;
		return 0;
	}
	strbuf_done(&b);
	return rc;
}
