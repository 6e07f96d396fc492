// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A bundle's config.json becomes a struct spec: the messages that the guest's
 * agent gets, and what the host needs beside them. The parser is total: each
 * member that the runtime specification knows is translated, or refused with
 * its JSON path and what to do; members that it does not know are ignored, as
 * the specification has it (config.md, "Extensibility").
 *
 * Order matters in one place: annotations come first, since the role decides
 * what a namespace with a path means. Objects: struct spec owns everything, and
 * spec_free() frees a half-built one.
 *
 * Limits: config.json 4 MiB, 4096 annotations, and the message for the agent
 * must fit into one frame.
 *
 * Sources: OCI runtime-spec 1.2, config.md, config-linux.md, bundle.md.
 */
#include "runtime/spec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/mem.h"
#include "lib/rootpath.h"
#include "runtime/spec_impl.h"

#define SPEC_MAX_ANNOTATIONS 4096

#define HOST_NAME_BYTES 64

/**
 * spec_refuse() - refuse members that are there and say something
 * @n: object
 * @t: members and reasons
 *
 * An empty object, array or string asks for nothing and passes.
 *
 * Return: 0 or -EINVAL
 */
int spec_refuse(const struct jnode *n, const struct spec_refusal *t,
		size_t n_t, struct err *e)
{
	struct jnode child;
	const char *text;
	size_t i;

	for (i = 0; i < n_t; i++) {
		if (!json_has(n, t[i].key))
			continue;
		if (json_obj(n, t[i].key, &child, NULL) == 1 && !json_len(&child))
			continue;
		if (json_arr(n, t[i].key, &child, NULL) == 1 && !json_len(&child))
			continue;
		if (json_str(n, t[i].key, &text, NULL) == 1 && !*text)
			continue;
		return json_fail(n, t[i].key, e, "not supported: %s", t[i].why);
	}
	return 0;
}

/**
 * spec_push() - append to a repeated field
 * @v:    address of the field's pointer (T ***)
 * @n:    number of elements
 * @item: belongs to the array on success
 *
 * Return: 0 or -ENOMEM
 */
int spec_push(void *v, size_t *n, void *item, struct err *e)
{
	void **old, **grown;

	memcpy(&old, v, sizeof(old));
	grown = item ? realloc(old, (*n + 1) * sizeof(*grown)) : NULL;
	if (!grown)
		return err_set(e, ENOMEM, "out of memory");
	grown[(*n)++] = item;
	memcpy(v, &grown, sizeof(grown));
	return 0;
}

/**
 * spec_strdup() - set a string field that holds its default
 *
 * Return: 0 or -ENOMEM
 */
int spec_strdup(const char *s, char **ret, struct err *e)
{
	char *copy = strdup(s);

	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	*ret = copy;
	return 0;
}

/**
 * spec_kv() - append a pair to a repeated KeyValue
 *
 * Return: 0 or -ENOMEM
 */
int spec_kv(Podvm__KeyValue ***v, size_t *n, const char *key,
	    const char *value, struct err *e)
{
	Podvm__KeyValue *kv = mem_new(Podvm__KeyValue);

	if (!kv)
		return err_set(e, ENOMEM, "out of memory");
	podvm__key_value__init(kv);
	if (spec_strdup(key, &kv->key, e) || spec_strdup(value, &kv->value, e) ||
	    spec_push(v, n, kv, e)) {
		podvm__key_value__free_unpacked(kv, NULL);
		return -ENOMEM;
	}
	return 0;
}

/**
 * spec_disk_place() - have the agent told where a disk is
 * @devfn: on PCI bus 0, slot << 3 | function
 *
 * Return: 0 or -ENOMEM
 */
int spec_disk_place(struct spec *s, const char *serial, uint32_t devfn, struct err *e)
{
	Podvm__ContainerCreate *c = s->create;
	Podvm__DiskPlace *d = mem_new(Podvm__DiskPlace);

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	podvm__disk_place__init(d);
	d->devfn = devfn;
	if (spec_strdup(serial, &d->serial, e) || spec_push(&c->disks, &c->n_disks, d, e)) {
		podvm__disk_place__free_unpacked(d, NULL);
		return -ENOMEM;
	}
	return 0;
}

/**
 * spec_path_check() - a path inside the container: absolute, without ".."
 * @n, @key: where it stands, for the message
 *
 * Return: 0 or -EINVAL
 */
int spec_path_check(const struct jnode *n, const char *key, const char *path,
		    struct err *e)
{
	if (path[0] != '/')
		return json_fail(n, key, e, "must be an absolute path, not %s",
				 SPEC_Q(path));
	if (path_climbs(path))
		return json_fail(n, key, e, "%s: \"..\" is not allowed here",
				 SPEC_Q(path));
	if (strlen(path) >= PATH_MAX)
		return json_fail(n, key, e, "longer than %d bytes", PATH_MAX - 1);
	return 0;
}

/* ociVersion: SemVer 2.0 with major 1; minors add only what may be ignored. */
static int version(struct spec *s, const struct jnode *top, struct err *e)
{
	unsigned int minor, patch;
	const char *text;
	int n = 0, rc = json_str(top, "ociVersion", &text, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(top, "ociVersion", e, "missing: it is required");
	if (!str_starts(text, "1."))
		return json_fail(top, "ociVersion", e,
				 "%s: not supported: the major version must be 1",
				 SPEC_Q(text));
	if (!isdigit((unsigned char)text[2]) ||
	    sscanf(text, "1.%3u.%3u%n", &minor, &patch, &n) != 2 || !n ||
	    !strchr("-+", text[n]))
		return json_fail(top, "ociVersion", e, "%s: not a version",
				 SPEC_Q(text));
	return spec_strdup(text, &s->oci_version, e);
}

static int annotations(struct spec *s, const struct jnode *top, struct err *e)
{
	struct jnode map, el;
	const char *text;
	size_t i;
	int rc = json_obj(top, "annotations", &map, e);

	if (rc <= 0)
		return rc;
	if (json_len(&map) > SPEC_MAX_ANNOTATIONS)
		return json_fail(top, "annotations", e, "more than %d",
				 SPEC_MAX_ANNOTATIONS);
	for (i = 0; !json_member(&map, i, &el); i++) {
		if (!*el.key)
			return json_fail(top, "annotations", e,
					 "a key must not be empty");
		rc = json_as_str(&el, &text, e);
		if (!rc)
			rc = spec_kv(&s->annotations, &s->n_annotations, el.key,
				     text, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int host_name(const struct jnode *top, const char *key, char **ret,
		     struct err *e)
{
	const char *name;
	size_t len;
	int rc = json_str(top, key, &name, e);

	if (rc <= 0 || !*name)
		return rc < 0 ? rc : 0;
	len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789_.-");
	if (name[len] || !isalnum((unsigned char)name[0]))
		return json_fail(top, key, e, "%s: must be letters, digits, \"-\", "
				 "\"_\", \".\", a letter or digit first",
				 SPEC_Q(name));
	if (len > HOST_NAME_BYTES)
		return json_fail(top, key, e, "longer than %d bytes",
				 HOST_NAME_BYTES);
	return spec_strdup(name, ret, e);
}

/**
 * spec_free() - free a spec, also a half-built one; NULL is fine
 */
void spec_free(struct spec *s)
{
	size_t i;

	if (!s)
		return;
	for (i = 0; i < s->n_annotations; i++)
		podvm__key_value__free_unpacked(s->annotations[i], NULL);
	free(s->annotations);
	spec_hooks_done(&s->prestart);
	spec_hooks_done(&s->create_runtime);
	spec_hooks_done(&s->poststart);
	spec_hooks_done(&s->poststop);
	if (s->create)
		podvm__container_create__free_unpacked(s->create, NULL);
	free(s->sandbox_id);
	free(s->rootfs);
	free(s->netns_path);
	free(s->cgroups_path);
	free(s->resources);
	free(s->oci_version);
	free(s);
}

static struct spec *spec_new(void)
{
	struct spec *s = mem_new(struct spec);
	Podvm__Rootfs *r = mem_new(Podvm__Rootfs);
	Podvm__ContainerCreate *c = mem_new(Podvm__ContainerCreate);

	if (!s || !r || !c) {
		free(s);
		free(r);
		free(c);
		return NULL;
	}
	podvm__rootfs__init(r);
	podvm__container_create__init(c);
	c->rootfs = r;
	s->create = c;
	return s;
}

static int process(struct spec *s, const struct jnode *top, struct err *e)
{
	struct jnode n;
	int rc = json_obj(top, "process", &n, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(top, "process", e, "missing: a container needs a "
				 "process to start");
	return spec_process(&n, &s->create->process, e);
}

static int linux_part(struct spec *s, const struct jnode *top,
		      struct spec_limits *l, struct err *e)
{
	struct jnode n;
	int rc = json_obj(top, "linux", &n, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(top, "linux", e, "missing: a pod in a virtual "
				 "machine needs linux.namespaces at least");
	return spec_linux(s, &n, l, e);
}

static int root_part(struct spec *s, const struct jnode *top, int bundle_fd, struct err *e)
{
	struct rootpath r;
	int rc = rootpath_read(top, bundle_fd, &r, e);

	if (rc < 0)
		return rc;
	s->create->rootfs->readonly = r.readonly;
	return spec_strdup(r.path, &s->rootfs, e);
}

static int fill(struct spec *s, const struct jnode *top, int bundle_fd,
		struct err *e)
{
	static const struct spec_refusal others[] = {
		{ "vm", "the virtual machine is podvm's own; leave the section out" },
		{ "windows", "this is a runtime for Linux containers; leave the section out" },
		{ "solaris", "this is a runtime for Linux containers; leave the section out" },
		{ "zos", "this is a runtime for Linux containers; leave the section out" },
		{ "freebsd", "this is a runtime for Linux containers; leave the section out" },
	};
	struct spec_limits limits = { 0 };
	int rc = json_as_obj(top, e);

	if (!rc)
		rc = version(s, top, e);
	if (!rc)
		rc = annotations(s, top, e);
	if (!rc)
		rc = spec_role(s, e);
	if (!rc)
		rc = spec_refuse(top, others, ARRAY_LEN(others), e);
	if (!rc)
		rc = process(s, top, e);
	if (!rc)
		rc = host_name(top, "hostname", &s->create->hostname, e);
	if (!rc)
		rc = host_name(top, "domainname", &s->create->domainname, e);
	if (!rc)
		rc = linux_part(s, top, &limits, e);
	if (!rc)
		rc = spec_mounts(s->create, top, e);
	if (!rc)
		rc = spec_userns_ids(s->create, e);
	if (!rc)
		rc = spec_hooks(s, top, e);
	if (!rc)
		rc = root_part(s, top, bundle_fd, e);
	if (!rc)
		rc = spec_storage(s, e);
	if (!rc)
		rc = spec_relay(s, e);
	if (rc >= 0)
		rc = spec_debug(s, e);
	if (!rc)
		rc = spec_network(s, e);
	return rc ? rc : spec_size(s, &limits, e);
}

/**
 * spec_parse() - check a configuration and translate it
 * @text:      JSON, need not be NUL-terminated
 * @bundle_fd: directory that a relative root.path starts in, borrowed
 * @ret:       owned by the caller, spec_free(); untouched on failure
 *
 * Return: 0; -EINVAL with the JSON path; -E2BIG when the agent could not take
 * it; -ENOMEM
 */
int spec_parse(const char *text, size_t len, int bundle_fd, struct spec **ret,
	       struct err *e)
{
	/* Room for the envelope, the id and the disks' serials. */
	const size_t most = FRAME_MAX_BYTES - 4096;
	struct json_doc *doc;
	struct jnode top;
	struct spec *s;
	size_t packed;
	int rc = json_parse(text, len, &doc, e);

	if (rc < 0)
		return rc;
	s = spec_new();
	top = json_root(doc);
	rc = s ? fill(s, &top, bundle_fd, e)
	       : err_set(e, ENOMEM, "out of memory");
	json_free(doc);
	if (!rc) {
		packed = podvm__container_create__get_packed_size(s->create);
		if (packed > most)
			rc = err_set(e, E2BIG, "%zu bytes for the pod's agent, which "
				     "takes %zu: shorten args, env or seccomp",
				     packed, most);
	}
	if (rc < 0) {
		spec_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* Takes a part of config.json, behind its version, annotations and role. */
typedef int spec_part(struct spec *s, const struct jnode *top, void *arg, struct err *e);

/* Everything but what may have gone when a container ends. */
static int hooks_part(struct spec *s, const struct jnode *top, void *arg, struct err *e)
{
	(void)arg;
	return spec_hooks(s, top, e);
}

struct trust_part {
	const char *privileged_key;
	struct spec_trust *ret;
};

static int trust_part(struct spec *s, const struct jnode *top, void *arg, struct err *e)
{
	const struct trust_part *t = arg;

	return spec_trust(s, top, t->privileged_key, t->ret, e);
}

/**
 * spec_load_from() - check a config.json that was read
 * @ret: owned by the caller, spec_free(); untouched on failure
 *
 * Return: 0; -EINVAL with the JSON path; another negative errno
 * Context: may block on the file system; the root file system is only named
 */
int spec_load_from(const struct spec_source *src, struct spec **ret, struct err *e)
{
	_cleanup_close_ int fd = open(src->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	size_t len;
	int rc;

	if (fd < 0)
		return err_sys(e, "bundle %s", src->bundle);
	rc = spec_source_text(src, &text, &len, e);
	if (rc < 0)
		return rc;
	rc = spec_parse(text, len, fd, ret, e);
	return rc < 0 ? err_wrap(e, "config.json") : 0;
}

/**
 * spec_load() - read and check a bundle's config.json
 * @bundle: directory
 * @ret:    owned by the caller, spec_free(); untouched on failure
 *
 * Return: as spec_load_from()
 */
int spec_load(const char *bundle, struct spec **ret, struct err *e)
{
	struct spec_source src;
	int rc = spec_source_read(bundle, &src, e);

	if (rc < 0)
		return rc;
	rc = spec_load_from(&src, ret, e);
	spec_source_done(&src);
	return rc;
}

static int load_part(const struct spec_source *src, spec_part *part, void *arg,
		     struct spec **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc;
	struct jnode top;
	struct spec *s;
	size_t len;
	int rc = spec_source_text(src, &text, &len, e);

	if (rc < 0)
		return rc;
	rc = json_parse(text, len, &doc, e);
	if (rc < 0)
		return err_wrap(e, "config.json");
	s = spec_new();
	top = json_root(doc);
	rc = s ? json_as_obj(&top, e) : err_set(e, ENOMEM, "out of memory");
	if (!rc)
		rc = version(s, &top, e);
	if (!rc)
		rc = annotations(s, &top, e);
	if (!rc)
		rc = spec_role(s, e);
	if (!rc)
		rc = part(s, &top, arg, e);
	json_free(doc);
	if (rc < 0) {
		spec_free(s);
		return err_wrap(e, "config.json");
	}
	*ret = s;
	return 0;
}

/**
 * spec_load_hooks() - read what start and delete need of a config.json
 * @bundle: directory
 * @ret:    owned by the caller, spec_free(); only role, sandbox, annotations and
 *          hooks are set, @create is empty; untouched on failure
 *
 * When a container is deleted, its root file system and its pod's network
 * namespace may be gone already, and its poststop hooks must run all the same.
 *
 * Return: 0; -EINVAL with the JSON path; another negative errno
 */
int spec_load_hooks(const char *bundle, struct spec **ret, struct err *e)
{
	struct spec_source src;
	int rc = spec_source_read(bundle, &src, e);

	if (rc < 0)
		return rc;
	rc = load_part(&src, hooks_part, NULL, ret, e);
	spec_source_done(&src);
	return rc;
}

/**
 * spec_load_trust() - what a trust decision needs of a config.json
 * @privileged_key: annotation whose "true" is believed; "": none
 * @ret_trust:      its strings are @ret's
 * @ret:            owned by the caller, spec_free(); only role, sandbox and annotations
 *                  are set; untouched on failure
 *
 * What only a virtual machine could refuse is no failure here: the trusted runtime
 * may have it.
 *
 * Return: 0; -EINVAL with the JSON path; another negative errno
 */
int spec_load_trust(const struct spec_source *src, const char *privileged_key,
		    struct spec_trust *ret_trust, struct spec **ret, struct err *e)
{
	struct trust_part t = { .privileged_key = privileged_key, .ret = ret_trust };

	return load_part(src, trust_part, &t, ret, e);
}
