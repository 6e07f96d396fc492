// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The mounts of a container are made in the guest. Kernel file systems and memory
 * need nothing of the host; each type of file system that would need a disk is
 * refused by name. A bind mount keeps the path of its source as it is written, for
 * the supervisor to open and share (supervisor/volume.c). Its type says nothing;
 * options that are data for a file system have none to go to, and a mount that
 * comes back to the host (shared) cannot: both are refused.
 *
 * Options: a table gives each name of the specification its mount(2) flag; what
 * is not in it is data for the file system. The recursive forms (rro, rnosuid,
 * ...) mean the plain ones, since nothing is mounted below a fresh mount.
 * Access-time options exclude each other, the last one wins.
 *
 * Sources: OCI runtime-spec 1.2, config.md "Linux mount options"; mount(2).
 */
#include <errno.h>
#include <limits.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

/* mount(2) copies one page of data, its last byte a NUL. */
#define MOUNT_DATA_MAX 4095

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

#define ATIME (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)

enum kind { SET, CLEAR, PROPAGATION, COPY_UP, REFUSED };

static const struct option {
	const char *name;
	enum kind kind;
	uint64_t flags;
} options[] = {
	{ "async", CLEAR, MS_SYNCHRONOUS },
	{ "atime", CLEAR, MS_NOATIME },
	{ "bind", SET, MS_BIND },
	{ "defaults", SET, 0 },
	{ "dev", CLEAR, MS_NODEV },
	{ "diratime", CLEAR, MS_NODIRATIME },
	{ "dirsync", SET, MS_DIRSYNC },
	{ "exec", CLEAR, MS_NOEXEC },
	{ "iversion", SET, MS_I_VERSION },
	{ "lazytime", SET, MS_LAZYTIME },
	{ "loud", CLEAR, MS_SILENT },
	{ "mand", SET, MS_MANDLOCK },
	{ "noatime", SET, MS_NOATIME },
	{ "nodev", SET, MS_NODEV },
	{ "nodiratime", SET, MS_NODIRATIME },
	{ "noexec", SET, MS_NOEXEC },
	{ "noiversion", CLEAR, MS_I_VERSION },
	{ "nolazytime", CLEAR, MS_LAZYTIME },
	{ "nomand", CLEAR, MS_MANDLOCK },
	{ "norelatime", CLEAR, MS_RELATIME },
	{ "nostrictatime", CLEAR, MS_STRICTATIME },
	{ "nosuid", SET, MS_NOSUID },
	{ "nosymfollow", SET, MS_NOSYMFOLLOW },
	{ "private", PROPAGATION, MS_PRIVATE },
	{ "ratime", CLEAR, MS_NOATIME },
	{ "rbind", SET, MS_BIND | MS_REC },
	{ "rdev", CLEAR, MS_NODEV },
	{ "rdiratime", CLEAR, MS_NODIRATIME },
	{ "relatime", SET, MS_RELATIME },
	{ "remount", SET, MS_REMOUNT },
	{ "rexec", CLEAR, MS_NOEXEC },
	{ "rnoatime", SET, MS_NOATIME },
	{ "rnodev", SET, MS_NODEV },
	{ "rnodiratime", SET, MS_NODIRATIME },
	{ "rnoexec", SET, MS_NOEXEC },
	{ "rnorelatime", CLEAR, MS_RELATIME },
	{ "rnostrictatime", CLEAR, MS_STRICTATIME },
	{ "rnosuid", SET, MS_NOSUID },
	{ "rnosymfollow", SET, MS_NOSYMFOLLOW },
	{ "ro", SET, MS_RDONLY },
	{ "rprivate", PROPAGATION, MS_PRIVATE | MS_REC },
	{ "rrelatime", SET, MS_RELATIME },
	{ "rro", SET, MS_RDONLY },
	{ "rrw", CLEAR, MS_RDONLY },
	{ "rshared", PROPAGATION, MS_SHARED | MS_REC },
	{ "rslave", PROPAGATION, MS_SLAVE | MS_REC },
	{ "rstrictatime", SET, MS_STRICTATIME },
	{ "rsuid", CLEAR, MS_NOSUID },
	{ "rsymfollow", CLEAR, MS_NOSYMFOLLOW },
	{ "runbindable", PROPAGATION, MS_UNBINDABLE | MS_REC },
	{ "rw", CLEAR, MS_RDONLY },
	{ "shared", PROPAGATION, MS_SHARED },
	{ "silent", SET, MS_SILENT },
	{ "slave", PROPAGATION, MS_SLAVE },
	{ "strictatime", SET, MS_STRICTATIME },
	{ "suid", CLEAR, MS_NOSUID },
	{ "symfollow", CLEAR, MS_NOSYMFOLLOW },
	{ "sync", SET, MS_SYNCHRONOUS },
	{ "tmpcopyup", COPY_UP, 0 },
	{ "unbindable", PROPAGATION, MS_UNBINDABLE },
	/* Behind here: not in the feature list. */
	{ "idmap", REFUSED, 0 },
	{ "ridmap", REFUSED, 0 },
};

static const char *const types[] = {
	"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2",
};

/**
 * spec_mount_option() - the i-th mount option that works; NULL behind the last
 */
const char *spec_mount_option(size_t i)
{
	if (i >= ARRAY_LEN(options) || options[i].kind >= REFUSED)
		return NULL;
	return options[i].name;
}

static const struct option *option_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(options); i++)
		if (!strcmp(options[i].name, name))
			return &options[i];
	return NULL;
}

/**
 * spec_propagation() - member that names a mount propagation
 * @ret: MS_SHARED and so on, with MS_REC; untouched when absent or empty
 *
 * Return: 0 or -EINVAL
 */
int spec_propagation(const struct jnode *n, const char *key, uint64_t *ret,
		     struct err *e)
{
	const struct option *o;
	const char *text;
	int rc = json_str(n, key, &text, e);

	if (rc <= 0 || !*text)
		return rc < 0 ? rc : 0;
	o = option_find(text);
	if (!o || o->kind != PROPAGATION)
		return json_fail(n, key, e, "unknown propagation %s",
				 SPEC_Q(text));
	*ret = o->flags;
	return 0;
}

static int option(const struct jnode *el, Podvm__Mount *m, struct strbuf *data,
		  struct err *e)
{
	const struct option *o;
	const char *name;
	int rc = json_as_str(el, &name, e);

	if (rc < 0)
		return rc;
	o = option_find(name);
	if (!o) {
		strbuf_add(data, "%s%s", data->len ? "," : "", name);
		return 0;
	}
	switch (o->kind) {
	case SET:
		if (o->flags & ATIME)
			m->flags &= ~(uint64_t)ATIME;
		m->flags |= o->flags;
		return 0;
	case CLEAR:
		m->flags &= ~o->flags;
		return 0;
	case PROPAGATION:
		m->propagation = o->flags;
		return 0;
	case COPY_UP:
		m->copy_up = true;
		return 0;
	case REFUSED:
		break;
	}
	return json_fail(el, NULL, e, "not supported: mount option %s: ids of volumes are the "
			 "host's in a pod; leave it out and change the owners of the source",
			 SPEC_Q(name));
}

static int option_list(const struct jnode *n, Podvm__Mount *m, struct err *e)
{
	struct strbuf data = { 0 };
	struct jnode arr, el;
	size_t i;
	int rc = json_arr(n, "options", &arr, e);

	if (rc <= 0)
		return rc;
	rc = 0;
	for (i = 0; i < json_len(&arr) && !rc; i++) {
		el = json_at(&arr, i);
		rc = option(&el, m, &data, e);
	}
	if (!rc && data.failed)
		rc = err_set(e, ENOMEM, "out of memory");
	if (!rc && data.len > MOUNT_DATA_MAX)
		rc = json_fail(n, "options", e, "longer than %d bytes",
			       MOUNT_DATA_MAX);
	if (!rc && data.len)
		m->data = mem_steal(data.text);
	free(data.text);
	return rc;
}

/* Written without doubled or trailing slashes and "." components. */
static int destination(const struct jnode *n, Podvm__Mount *m, struct err *e)
{
	struct strbuf b = { 0 };
	const char *path;
	size_t len;
	int rc = json_str(n, "destination", &path, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, "destination", e, "missing");
	/* "MAY be a relative path, in which case it MUST be interpreted as relative to /" */
	rc = path[0] == '/' ? spec_path_check(n, "destination", path, e)
	   : path_climbs(path) ? json_fail(n, "destination", e, "%s: \"..\" is not allowed here",
					   SPEC_Q(path)) : 0;
	if (rc < 0)
		return rc;
	for (;; path += len) {
		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (!len)
			break;
		if (len != 1 || *path != '.')
			strbuf_add(&b, "/%.*s", (int)len, path);
	}
	if (b.failed) {
		strbuf_done(&b);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (!b.len)
		return json_fail(n, "destination", e, "must lie below \"/\"");
	if (b.len >= PATH_MAX) {
		strbuf_done(&b);
		return json_fail(n, "destination", e, "longer than %d bytes", PATH_MAX - 1);
	}
	m->destination = b.text;
	return 0;
}

static bool is_bind(const char *type)
{
	return !strcmp(type, "bind") || !strcmp(type, "rbind");
}

static int type_check(const struct jnode *n, const char *type, struct err *e)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(types); i++)
		if (!strcmp(types[i], type))
			return 0;
	return json_fail(n, "type", e, "%s: not supported: a pod mounts proc, "
			 "sysfs, tmpfs, devpts, mqueue, cgroup, cgroup2, and bind",
			 SPEC_Q(type));
}

/* A bind mount, all but where its source leads. */
static int bind_check(const struct jnode *n, const char *source, const Podvm__Mount *m,
		      struct err *e)
{
	if (!source || !*source)
		return json_fail(n, "source", e, "missing: a bind mount shows a path of "
				 "the host");
	if (*m->data)
		return json_fail(n, "options", e, "%s: means nothing to a bind mount: "
				 "leave it out", SPEC_Q(m->data));
	if (m->copy_up)
		return json_fail(n, "options", e, "tmpcopyup: is for a tmpfs");
	if (m->flags & MS_REMOUNT)
		return json_fail(n, "options", e, "remount: means nothing to a bind "
				 "mount: leave it out");
	if (m->propagation & (MS_SHARED | MS_UNBINDABLE))
		return json_fail(n, "options", e, "not supported: %s: mounts of a "
				 "container are made in the pod's machine and cannot "
				 "appear on the host; use rprivate or rslave",
				 m->propagation & MS_SHARED ? "shared propagation"
							    : "unbindable");
	return 0;
}

static int translate(const struct jnode *n, const char *type, const char *source,
		     Podvm__Mount *m, struct err *e)
{
	int rc;

	if (type && is_bind(type))
		m->flags |= MS_BIND | (*type == 'r' ? MS_REC : 0);
	if (m->flags & MS_BIND) {
		rc = bind_check(n, source, m, e);
		return rc ? rc : spec_strdup(source, &m->source, e);
	}
	if (!type)
		return json_fail(n, "type", e, "missing");
	if (m->copy_up && strcmp(type, "tmpfs"))
		return json_fail(n, "options", e, "tmpcopyup: is for a tmpfs");
	rc = type_check(n, type, e);
	if (!rc)
		rc = spec_strdup(type, &m->type, e);
	return rc ? rc : spec_strdup(source && *source ? source : type, &m->source, e);
}

static int mount_one(const struct jnode *n, Podvm__Mount *m, struct err *e)
{
	static const struct spec_refusal maps[] = {
		{ "uidMappings", "ids of volumes are the host's in a pod; leave it out and "
		  "change the owners of the source" },
		{ "gidMappings", "ids of volumes are the host's in a pod; leave it out and "
		  "change the owners of the source" },
	};
	const char *type = NULL, *source = NULL;
	int rc = json_as_obj(n, e);

	if (!rc)
		rc = spec_refuse(n, maps, ARRAY_LEN(maps), e);
	if (!rc)
		rc = destination(n, m, e);
	if (!rc)
		rc = json_str(n, "type", &type, e);
	if (rc >= 0)
		rc = json_str(n, "source", &source, e);
	if (rc < 0)
		return rc;
	rc = option_list(n, m, e);
	return rc < 0 ? rc : translate(n, type, source, m, e);
}

/**
 * spec_mounts() - translate the mounts of a container
 * @top: the whole configuration
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config.md "Mounts"
 */
int spec_mounts(Podvm__ContainerCreate *c, const struct jnode *top,
		struct err *e)
{
	struct jnode arr, el;
	Podvm__Mount *m;
	size_t i;
	int rc = json_arr(top, "mounts", &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		m = mem_new(Podvm__Mount);
		if (!m)
			return err_set(e, ENOMEM, "out of memory");
		podvm__mount__init(m);
		rc = spec_push(&c->mounts, &c->n_mounts, m, e);
		if (rc < 0) {
			free(m);
			return rc;
		}
		el = json_at(&arr, i);
		rc = mount_one(&el, m, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}
