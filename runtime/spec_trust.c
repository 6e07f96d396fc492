// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a trust decision wants to know of a config.json. It must hold against the
 * author of a pod: what leads to a virtual machine may be an annotation; what leads
 * out of one must be something that an engine grants and an admission policy guards,
 * so it is read from what the container really gets.
 *
 *	host        a namespace that is not there is the host's; so is one by the
 *	            path of ours. A container of a pod names those of its sandbox's
 *	            process, which is a shim and stands in the host's: such a path
 *	            in /proc means the pod's. CRI-O names files that it keeps the
 *	            pod's namespaces by, the host's among them (hostIPC)
 *	privileged  capabilities over modules, raw I/O and administration, no seccomp
 *	            filter, and no masked or read-only path: what engines give a
 *	            privileged container, and what amounts to the same if they did not
 *	            call it that
 *
 * Sandboxes are never made like that, for their process only waits. CRI-O says of a
 * sandbox that its pod is privileged by an annotation; but pod annotations may
 * replace it, so it is believed only where podvm.json names it.
 *
 * Sources: OCI runtime-spec 1.2, config-linux.md; Kubernetes, Pod Security Standards;
 * CRI-O 1.0 to 1.31, server/sandbox_run_linux.go.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/spec_impl.h"
#include "runtime/trust.h"

static const struct {
	const char *type;
	const char *own;
	unsigned int bit;
} kinds[] = {
	{"network", "/proc/self/ns/net", TRUST_HOST_NETWORK},
	{"pid", "/proc/self/ns/pid", TRUST_HOST_PID},
	{"ipc", "/proc/self/ns/ipc", TRUST_HOST_IPC},
};

static bool is_own(const char *own, const char *path)
{
	struct stat a, b;

	return !stat(own, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Whether @path leads to the host's namespace @own and not to a pod's. */
static bool is_host(const char *own, bool member, const char *path)
{
	if (member && str_starts(path, "/proc/"))
		return false;
	return is_own(own, path);
}

/* Takes a namespace that is the pod's own off @host. */
static int namespace_one(const struct jnode *n, bool member, unsigned int *host, struct err *e)
{
	const char *type = NULL, *path = NULL;
	size_t i;

	if (json_as_obj(n, e) < 0 || json_str(n, "type", &type, e) < 0 ||
	    json_str(n, "path", &path, e) < 0)
		return -EINVAL;
	for (i = 0; type && i < ARRAY_LEN(kinds); i++)
		if (!strcmp(type, kinds[i].type) &&
		    (!path || !*path || !is_host(kinds[i].own, member, path)))
			*host &= ~kinds[i].bit;
	return 0;
}

static int namespaces(const struct spec *s, const struct jnode *linux_part, unsigned int *ret,
		      struct err *e)
{
	unsigned int host = TRUST_HOST_NETWORK | TRUST_HOST_PID | TRUST_HOST_IPC;
	struct jnode arr, el;
	size_t i, n;
	int rc = json_arr(linux_part, "namespaces", &arr, e);

	n = rc == 1 ? json_len(&arr) : 0;
	for (i = 0; i < n && rc >= 0; i++) {
		el = json_at(&arr, i);
		rc = namespace_one(&el, s->role == SPEC_ROLE_CONTAINER, &host, e);
	}
	*ret = host;
	return rc < 0 ? rc : 0;
}

/* An array that is there and not empty: 1. */
static int some(const struct jnode *n, const char *key, struct err *e)
{
	struct jnode arr;
	int rc = json_arr(n, key, &arr, e);

	return rc == 1 ? json_len(&arr) > 0 : rc;
}

static int all_capabilities(const struct jnode *top, bool *ret, struct err *e)
{
	static const char *const wanted[] = {"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"};
	struct jnode process, caps, bounding, el;
	unsigned int seen = 0;
	size_t i, k;
	int rc;

	*ret = false;
	if ((rc = json_obj(top, "process", &process, e)) <= 0 ||
	    (rc = json_obj(&process, "capabilities", &caps, e)) <= 0 ||
	    (rc = json_arr(&caps, "bounding", &bounding, e)) <= 0)
		return rc;
	for (i = 0; i < json_len(&bounding); i++) {
		const char *name;

		el = json_at(&bounding, i);
		if (json_as_str(&el, &name, e) < 0)
			return -EINVAL;
		for (k = 0; k < ARRAY_LEN(wanted); k++)
			if (!strcmp(name, wanted[k]))
				seen |= 1u << k;
	}
	*ret = seen == (1u << ARRAY_LEN(wanted)) - 1;
	return 0;
}

static int privileged(const struct jnode *top, const struct jnode *linux_part, bool *ret,
		      struct err *e)
{
	int masked = some(linux_part, "maskedPaths", e);
	int readonly = masked < 0 ? masked : some(linux_part, "readonlyPaths", e);
	int rc = readonly < 0 ? readonly : all_capabilities(top, ret, e);

	if (rc < 0)
		return rc;
	if (masked || readonly || json_has(linux_part, "seccomp"))
		*ret = false;
	return 0;
}

/**
 * spec_trust() - what a trust decision needs
 * @s:              its role and annotations are known
 * @top:            the whole configuration
 * @privileged_key: see spec_load_trust()
 * @ret:            strings are @s's
 *
 * Return: 0; -EINVAL with the JSON path
 */
int spec_trust(const struct spec *s, const struct jnode *top, const char *privileged_key,
	       struct spec_trust *ret, struct err *e)
{
	struct spec_trust t = {.mark = spec_annotation(s, TRUST_ANNOTATION)};
	struct jnode linux_part;
	const char *said = *privileged_key ? spec_annotation(s, privileged_key) : NULL;
	size_t i;
	int rc = json_obj(top, "linux", &linux_part, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(top, "linux", e, "missing");
	rc = namespaces(s, &linux_part, &t.host, e);
	if (!rc)
		rc = privileged(top, &linux_part, &t.privileged, e);
	if (rc < 0)
		return rc;
	t.said = said && !strcmp(said, "true");
	for (i = 0; i < s->n_annotations; i++)
		if (!strcasecmp(s->annotations[i]->key, TRUST_ANNOTATION) &&
		    strcmp(s->annotations[i]->key, TRUST_ANNOTATION))
			t.alike = s->annotations[i]->key;
	*ret = t;
	return 0;
}
