// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Where a container and its pod belong on the host, by linux.cgroupsPath; pure. The path
 * is one below the hierarchies' roots, or, with --systemd-cgroup, "SLICE:PREFIX:NAME": the
 * scope PREFIX-NAME.scope in SLICE (system.slice if that is empty). The pod's own place is
 * beside its first container's, so that both are in what the engine made for the pod.
 *
 *	                    container                     pod
 *	  /a/b              /a/b                          /a/podvm-POD
 *	  none              /podvm/ID                     /podvm/podvm-POD
 *	  a-b.slice:p:n     /a.slice/a-b.slice/p-n.scope  /a.slice/a-b.slice/podvmpod-POD.scope
 *	  none, systemd     /system.slice/podvm-ID.scope  /system.slice/podvmpod-POD.scope
 *
 * Sources: OCI runtime-spec config-linux.md "Cgroups Path"; systemd.slice(5),
 * systemd.unit(5).
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/str.h"
#include "runtime/cgroup.h"

#define SLICE ".slice"
#define SCOPE ".scope"

static const char field[] = "/linux/cgroupsPath";

struct quoted {
	char s[128];
};

static struct quoted quote(const char *s)
{
	struct quoted q = { "" };

	str_quote(q.s, sizeof(q.s), s);
	return q;
}

static int too_long(struct err *e)
{
	return err_set(e, ENAMETOOLONG, "%s: too long", field);
}

/* Whether a text has the form SLICE:PREFIX:NAME. */
static bool is_systemd(const char *s)
{
	const char *colon = strchr(s, ':');

	colon = colon ? strchr(colon + 1, ':') : NULL;
	return colon && !strchr(colon + 1, ':') && !strchr(s, '/');
}

static int plain(const char *path, const char *id, struct cgroup *ret, struct err *e)
{
	int n;

	if (is_systemd(path))
		return err_set(e, ENOTSUP,
			       "%s: %s has systemd's form, which needs --systemd-cgroup: set the engine's cgroup manager to systemd",
			       field, quote(path).s);
	if (path_climbs(path))
		return err_set(e, EINVAL, "%s: %s must not hold '..'", field, quote(path).s);
	path += strspn(path, "/");
	n = *path ? snprintf(ret->path, sizeof(ret->path), "/%s", path) :
		    snprintf(ret->path, sizeof(ret->path), "/podvm/%s", id);
	return n >= (int)sizeof(ret->path) ? too_long(e) : 0;
}

static bool unit_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr(":-_.\\@", c));
}

static int check_unit(const char *unit, struct err *e)
{
	const char *s;

	for (s = unit; unit_char(*s); s++)
		;
	if (*s)
		return err_set(e, EINVAL, "%s: %s: a unit's name has letters, digits and :-_.\\@ only",
			       field, quote(unit).s);
	return 0;
}

/* "a-b.slice" lies in "a.slice"; "-.slice" is the root. Appends to ret->path. */
static int expand_slice(struct cgroup *ret, struct err *e)
{
	size_t stem = strlen(ret->slice), i, len = 0;

	if (stem <= strlen(SLICE) || strcmp(ret->slice + stem - strlen(SLICE), SLICE))
		return err_set(e, EINVAL, "%s: %s is no slice: it must end in " SLICE, field,
			       quote(ret->slice).s);
	stem -= strlen(SLICE);
	ret->path[0] = 0;
	if (stem == 1 && ret->slice[0] == '-')
		return 0;
	if (strstr(ret->slice, "--") || ret->slice[0] == '-' || ret->slice[stem - 1] == '-')
		return err_set(e, EINVAL, "%s: %s is no slice: a part of its name is empty", field,
			       quote(ret->slice).s);
	for (i = 0; i <= stem; i++) {
		int n;

		if (i < stem && ret->slice[i] != '-')
			continue;
		n = snprintf(ret->path + len, sizeof(ret->path) - len, "/%.*s" SLICE, (int)i,
			     ret->slice);
		len += (size_t)n;
		if (len >= sizeof(ret->path))
			return too_long(e);
	}
	return 0;
}

/* With slice and unit set: checks both, and makes the path. */
static int finish_unit(struct cgroup *ret, struct err *e)
{
	size_t len;
	int rc = check_unit(ret->slice, e);

	if (!rc)
		rc = check_unit(ret->unit, e);
	if (!rc)
		rc = expand_slice(ret, e);
	if (rc < 0)
		return rc;
	len = strlen(ret->path);
	return snprintf(ret->path + len, sizeof(ret->path) - len, "/%s", ret->unit) >=
		       (int)(sizeof(ret->path) - len) ? too_long(e) : 0;
}

/* Sets the slice, and gives prefix and name, which are not closed by a NUL. */
static int split(const char *path, struct cgroup *ret, const char **prefix, int *prefix_len,
		 const char **name, struct err *e)
{
	size_t slice = strcspn(path, ":");

	if (!is_systemd(path))
		return err_set(e, EINVAL, "%s: %s: with --systemd-cgroup it is SLICE:PREFIX:NAME",
			       field, quote(path).s);
	if (slice >= sizeof(ret->slice))
		return too_long(e);
	if (slice)
		snprintf(ret->slice, sizeof(ret->slice), "%.*s", (int)slice, path);
	*prefix = path + slice + 1;
	*prefix_len = (int)strcspn(*prefix, ":");
	*name = *prefix + *prefix_len + 1;
	return 0;
}

static int scope(const char *path, const char *id, struct cgroup *ret, struct err *e)
{
	const char *prefix = "podvm", *name = id;
	int n, len = (int)strlen(prefix), rc = 0;

	snprintf(ret->slice, sizeof(ret->slice), "system" SLICE);
	if (*path)
		rc = split(path, ret, &prefix, &len, &name, e);
	if (rc < 0)
		return rc;
	if (!*name)
		return err_set(e, EINVAL, "%s: %s has no name behind its last colon", field,
			       quote(path).s);
	if (strlen(name) > strlen(SLICE) && !strcmp(name + strlen(name) - strlen(SLICE), SLICE))
		return err_set(e, EINVAL, "%s: %s is a slice, which holds no process", field,
			       quote(path).s);
	n = snprintf(ret->unit, sizeof(ret->unit), "%.*s%s%s" SCOPE, len, prefix, len ? "-" : "",
		     name);
	return n >= (int)sizeof(ret->unit) ? too_long(e) : finish_unit(ret, e);
}

/**
 * cgroup_of_container() - where a container belongs
 * @cgroups_path: linux.cgroupsPath, or NULL
 * @systemd:      it names a scope of systemd's
 * @ret:          untouched on failure
 *
 * Return: 0; -ENOTSUP, -EINVAL, -ENAMETOOLONG naming the field
 */
int cgroup_of_container(const char *cgroups_path, const char *id, bool systemd,
			struct cgroup *ret, struct err *e)
{
	const char *path = cgroups_path ? cgroups_path : "";
	struct cgroup c = { .begun = false };
	int rc = systemd ? scope(path, id, &c, e) : plain(path, id, &c, e);

	if (!rc)
		*ret = c;
	return rc;
}

/* A pod's id may have what a unit's name may not. */
static int pod_unit(const char *pod, char *dst, size_t room, struct err *e)
{
	size_t len = (size_t)snprintf(dst, room, "podvmpod-");

	for (; *pod && len + 5 < room; pod++)
		len += (size_t)snprintf(dst + len, room - len, unit_char(*pod) ? "%c" : "\\x%02x",
					(unsigned char)*pod);
	if (*pod || len + sizeof(SCOPE) > room)
		return too_long(e);
	memcpy(dst + len, SCOPE, sizeof(SCOPE));
	return 0;
}

/**
 * cgroup_of_pod() - where a pod's supervisor and monitor belong, in leaves below it
 * @cgroups_path: of the pod's first container, or NULL
 *
 * Return: as cgroup_of_container()
 */
int cgroup_of_pod(const char *cgroups_path, const char *pod, bool systemd, struct cgroup *ret,
		  struct err *e)
{
	struct cgroup c = { .begun = false };
	int rc = cgroup_of_container(cgroups_path, "x", systemd, &c, e);
	size_t len;

	if (rc < 0)
		return rc;
	if (systemd) {
		rc = pod_unit(pod, c.unit, sizeof(c.unit), e);
		if (!rc)
			rc = finish_unit(&c, e);
	} else {
		len = (size_t)(strrchr(c.path, '/') - c.path);
		if (snprintf(c.path + len, sizeof(c.path) - len, "/podvm-%s", pod) >=
		    (int)(sizeof(c.path) - len))
			rc = too_long(e);
	}
	if (!rc)
		*ret = c;
	return rc;
}

/**
 * cgroup_weight() - cpu.weight for cpu.shares
 *
 * Return: 1 to 10000; 0 for 0
 * Source: Kubernetes KEP-2254
 */
uint64_t cgroup_weight(uint64_t shares)
{
	if (!shares)
		return 0;
	shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
	return 1 + (shares - 2) * 9999 / 262142;
}
