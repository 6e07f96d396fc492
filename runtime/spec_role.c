// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a container is to its pod, by the annotations of CRI-O or containerd: the sandbox, one
 * that joins it, or none of both.
 *
 * Annotations are the engine's word, with one exception. CRI-O writes what a pod's author
 * annotated after its own words of the sandbox's container, which is so replaced: that could
 * name another pod as its own, and would be put into that pod's machine. Labels it writes
 * still later, among them one of its own that says so: "POD" is no name that Kubernetes gives a
 * container. A container that is not the sandbox's has CRI-O's words last.
 *
 * Sources: CRI-O 1.13 and 1.32, server/sandbox_run_linux.go; Kubernetes, names of objects.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "runtime/spec_impl.h"

#define CRIO_TYPE "io.kubernetes.cri-o.ContainerType"
#define CRIO_POD "io.kubernetes.cri-o.SandboxID"

/* Names of pods become names of directories and sockets. */
#define SPEC_ID_MAX 128

static bool id_ok(const char *id)
{
	size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				"0123456789_.+-");

	return len && !id[len] && len <= SPEC_ID_MAX && isalnum((unsigned char)id[0]);
}

/* One engine's pair of annotations; 1 when it is there. */
static int role_of(const struct spec *s, const char *type_key, const char *id_key,
		   enum spec_role *ret_role, const char **ret_id, struct err *e)
{
	const char *type = spec_annotation(s, type_key);
	const char *id = spec_annotation(s, id_key);

	if (!type)
		return 0;
	if (strcmp(type, "sandbox") && strcmp(type, "container"))
		return err_set(e, EINVAL,
			       "/annotations/%s: must be \"sandbox\" or "
			       "\"container\", not %s",
			       type_key, SPEC_Q(type));
	if (!id)
		return err_set(e, EINVAL,
			       "/annotations/%s: missing: a %s of a pod "
			       "must name its sandbox",
			       id_key, type);
	if (!id_ok(id))
		return err_set(e, EINVAL,
			       "/annotations/%s: %s: not a pod's name: at "
			       "most %d of A-Z a-z 0-9 _ . + -, a letter or digit "
			       "first",
			       id_key, SPEC_Q(id), SPEC_ID_MAX);
	*ret_role = type[0] == 's' ? SPEC_ROLE_SANDBOX : SPEC_ROLE_CONTAINER;
	*ret_id = id;
	return 1;
}

/* Whether CRI-O made this as a sandbox's own container, whatever else is said. */
static bool crio_infra(const struct spec *s)
{
	const char *name = spec_annotation(s, "io.kubernetes.container.name");

	return name && !strcmp(name, "POD");
}

/**
 * spec_role() - set what the annotations say that a container is, and in which pod
 * @s: its annotations are known; gets @role and @sandbox_id
 *
 * Return: 0; -EINVAL naming the annotation
 */
int spec_role(struct spec *s, struct err *e)
{
	enum spec_role crio = SPEC_ROLE_SINGLE, cri = SPEC_ROLE_SINGLE;
	const char *crio_id = NULL, *cri_id = NULL;
	int a = role_of(s, CRIO_TYPE, CRIO_POD, &crio, &crio_id, e);
	int b = a < 0 ? a
		      : role_of(s, "io.kubernetes.cri.container-type",
				"io.kubernetes.cri.sandbox-id", &cri, &cri_id, e);

	if (b < 0)
		return b;
	if (a && b && (crio != cri || strcmp(crio_id, cri_id)))
		return err_set(e, EINVAL,
			       "/annotations: CRI-O's and containerd's "
			       "disagree on what this container is");
	if (a && crio != SPEC_ROLE_SANDBOX && crio_infra(s))
		return err_set(e, EINVAL,
			       "/annotations/" CRIO_TYPE ": container, but "
			       "io.kubernetes.container.name says that it is its pod's sandbox: "
			       "the pod must not be annotated with " CRIO_TYPE);
	s->role = a ? crio : cri;
	if (!a && !b)
		return 0;
	return spec_strdup(a ? crio_id : cri_id, &s->sandbox_id, e);
}

/**
 * spec_check_id() - whether a container may have this id
 *
 * Return: 0; -EINVAL when it is the sandbox that CRI-O made for another pod than it says
 */
int spec_check_id(const struct spec *s, const char *id, struct err *e)
{
	if (!s->sandbox_id || !crio_infra(s) || !strcmp(s->sandbox_id, id))
		return 0;
	return err_set(e, EINVAL,
		       "/annotations/" CRIO_POD ": %s, but the sandbox that CRI-O makes "
		       "is %s: the pod must not be annotated with " CRIO_POD,
		       SPEC_Q(s->sandbox_id), SPEC_Q(id));
}
