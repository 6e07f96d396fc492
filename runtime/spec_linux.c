// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The linux section, but for namespaces and resources, which have files of
 * their own. Devices are the guest's: a number that means the same on every
 * Linux machine (null, tty, fuse) is passed on; a block device becomes a disk of the
 * machine (spec_block.c); any other names hardware of the host, which would be
 * something else in the guest, and is refused. Sysctls are
 * limited to those that belong to a namespace, as other runtimes have it, so
 * that a container's cannot change the pod's kernel under its neighbours.
 *
 * Sources: OCI runtime-spec 1.2, config-linux.md; Linux
 * Documentation/admin-guide/devices.txt; sysctl.d(5).
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"
#include "runtime/trust.h"

#define SYSCTL_MAX 256

/* Devices without hardware, in every Linux kernel of ours. */
static const struct {
	uint32_t major;
	uint32_t minor;
} virtual_devices[] = {
	{ 1, 3 },  { 1, 5 },  { 1, 7 },	   { 1, 8 },	{ 1, 9 }, { 1, 11 },
	{ 5, 0 },  { 5, 1 },  { 5, 2 },	   { 10, 200 }, { 10, 229 },
};

static const char *const sysctls_ok[] = {
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	"kernel.shm_rmid_forced", "kernel.hostname", "kernel.domainname",
};

static const struct spec_refusal refusals[] = {
	{ "intelRdt", "cache and bandwidth classes are the host's; leave it out" },
	{ "mountLabel", "the pod's virtual machine has no SELinux; set "
	  "label=disable in the engine" },
	{ "netDevices", "devices of the host cannot move into a pod; leave it out" },
	{ "memoryPolicy", "the host's memory nodes are not the virtual machine's; "
	  "leave it out" },
};

static int device_number(const struct jnode *n, const char *key, uint32_t most,
			 uint32_t *ret, struct err *e)
{
	int64_t v;
	int rc = json_i64(n, key, &v, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, key, e, "missing");
	if (v < 0 || v > most)
		return json_fail(n, key, e, "must be 0 to %u", most);
	*ret = (uint32_t)v;
	return 0;
}

static int device_exists(const struct jnode *n, const Podvm__Device *d,
			 struct err *e)
{
	size_t i;

	if (d->type == S_IFIFO || d->type == S_IFBLK)
		return 0;
	for (i = 0; i < ARRAY_LEN(virtual_devices) && d->type == S_IFCHR; i++)
		if (virtual_devices[i].major == d->major &&
		    virtual_devices[i].minor == d->minor)
			return 0;
	return json_fail(n, NULL, e, "device %s (character %u:%u): not supported: the "
			 "host's hardware is not in the pod's virtual machine; "
			 "leave it out or " TRUST_USE,
			 SPEC_Q(d->path), d->major, d->minor);
}

static int device_attributes(const struct jnode *n, Podvm__Device *d,
			     struct err *e)
{
	uint64_t mode = 0666, uid = 0, gid = 0;

	if (json_u64(n, "fileMode", &mode, e) < 0 ||
	    json_u64(n, "uid", &uid, e) < 0 || json_u64(n, "gid", &gid, e) < 0)
		return -EINVAL;
	/* Engines give the whole st_mode; the type bits say nothing new. */
	if (mode > 0177777)
		return json_fail(n, "fileMode", e, "not a file mode");
	if (uid >= UINT32_MAX || gid >= UINT32_MAX)
		return json_fail(n, uid >= UINT32_MAX ? "uid" : "gid", e,
				 "must be below %u", UINT32_MAX);
	d->mode = (uint32_t)mode & 07777;
	d->uid = (uint32_t)uid;
	d->gid = (uint32_t)gid;
	return 0;
}

static int device(const struct jnode *n, Podvm__Device *d, struct err *e)
{
	const char *type, *path;
	int rc = json_as_obj(n, e);

	if (!rc)
		rc = json_str(n, "path", &path, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, "path", e, "missing");
	rc = spec_path_check(n, "path", path, e);
	if (!rc)
		rc = spec_strdup(path, &d->path, e);
	if (!rc)
		rc = json_str(n, "type", &type, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, "type", e, "missing");
	if (strlen(type) != 1 || !strchr("cubp", type[0]))
		return json_fail(n, "type", e, "must be c, u, b or p, not %s",
				 SPEC_Q(type));
	d->type = type[0] == 'b' ? S_IFBLK : type[0] == 'p' ? S_IFIFO : S_IFCHR;
	if (d->type != S_IFIFO) {
		rc = device_number(n, "major", 0xfff, &d->major, e);
		if (!rc)
			rc = device_number(n, "minor", 0xfffff, &d->minor, e);
		if (rc < 0)
			return rc;
	}
	rc = device_attributes(n, d, e);
	return rc ? rc : device_exists(n, d, e);
}

static int devices(Podvm__ContainerCreate *c, const struct jnode *n,
		   struct err *e)
{
	struct jnode arr, el;
	Podvm__Device *d;
	size_t i;
	int rc = json_arr(n, "devices", &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		d = mem_new(Podvm__Device);
		if (!d)
			return err_set(e, ENOMEM, "out of memory");
		podvm__device__init(d);
		rc = spec_push(&c->devices, &c->n_devices, d, e);
		if (rc < 0) {
			free(d);
			return rc;
		}
		el = json_at(&arr, i);
		rc = device(&el, d, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* In a dotted key "/" stands for "."; with "/" first, it is the other way round. */
static int sysctl_key(const struct jnode *el, char *key, struct err *e)
{
	size_t len = strlen(el->key), part = 0, i;
	bool slashed = el->key[strcspn(el->key, "./")] == '/';

	if (len >= SYSCTL_MAX)
		return json_fail(el, NULL, e, "longer than %d bytes",
				 SYSCTL_MAX - 1);
	for (i = 0; i <= len; i++) {
		char c = el->key[i];

		if (slashed && (c == '.' || c == '/'))
			c = c == '.' ? '/' : '.';
		key[i] = c;
		if (c && c != '.') {
			part++;
			if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
				    "UVWXYZ0123456789_-:@/", c) ||
			    (c == '/' && (part == 1 || key[i - 1] == '/')))
				return json_fail(el, NULL, e, "not a sysctl's name");
			continue;
		}
		if (!part)
			return json_fail(el, NULL, e, "not a sysctl's name");
		part = 0;
	}
	return 0;
}

static int sysctl(Podvm__ContainerCreate *c, const struct jnode *el,
		  struct err *e)
{
	char key[SYSCTL_MAX];
	const char *value;
	bool ok;
	size_t i;
	int rc = json_as_str(el, &value, e);

	if (!rc)
		rc = sysctl_key(el, key, e);
	if (rc < 0)
		return rc;
	ok = str_starts(key, "net.") || str_starts(key, "fs.mqueue.");
	for (i = 0; i < ARRAY_LEN(sysctls_ok) && !ok; i++)
		ok = !strcmp(key, sysctls_ok[i]);
	if (!ok)
		return json_fail(el, NULL, e, "not supported: it belongs to no "
				 "namespace and would change the whole pod; net.*, "
				 "fs.mqueue.* and kernel.{msg*,sem,shm*} do");
	return spec_kv(&c->sysctls, &c->n_sysctls, key, value, e);
}

static int sysctls(Podvm__ContainerCreate *c, const struct jnode *n,
		   struct err *e)
{
	struct jnode map, el;
	size_t i;
	int rc = json_obj(n, "sysctl", &map, e);

	if (rc <= 0)
		return rc;
	if (json_len(&map) > 1024)
		return json_fail(n, "sysctl", e, "more than 1024");
	for (i = 0; !json_member(&map, i, &el); i++) {
		rc = sysctl(c, &el, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int paths(const struct jnode *n, const char *key, char ***ret,
		 size_t *ret_n, struct err *e)
{
	struct jnode arr, el;
	size_t i;
	int rc = json_strv(n, key, ret, ret_n, e);

	if (rc <= 0)
		return rc;
	rc = json_arr(n, key, &arr, e);
	for (i = 0; i < *ret_n && rc >= 0; i++) {
		el = json_at(&arr, i);
		rc = spec_path_check(&el, NULL, (*ret)[i], e);
	}
	return rc < 0 ? rc : 0;
}

static int cgroups_path(struct spec *s, const struct jnode *n, struct err *e)
{
	const char *path;
	int rc = json_str(n, "cgroupsPath", &path, e);

	if (rc <= 0 || !*path)
		return rc < 0 ? rc : 0;
	if (path_climbs(path))
		return json_fail(n, "cgroupsPath", e, "%s: \"..\" is not allowed "
				 "here", SPEC_Q(path));
	return spec_strdup(path, &s->cgroups_path, e);
}

static int seccomp(struct spec *s, const struct jnode *n, struct err *e)
{
	Podvm__Process *p = s->create->process;
	struct jnode filter;
	uint32_t flags;
	int rc = json_obj(n, "seccomp", &filter, e);

	if (rc <= 0)
		return rc;
	rc = spec_seccomp(&filter, &p->seccomp, &flags, e);
	return rc ? rc : spec_seccomp_flags(p, flags, e);
}

/**
 * spec_linux() - translate the linux section
 * @s: its role and process are set
 * @n: the section
 * @l: gets the limits that size a VM
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config-linux.md
 */
int spec_linux(struct spec *s, const struct jnode *n, struct spec_limits *l,
	       struct err *e)
{
	Podvm__ContainerCreate *c = s->create;
	int rc = spec_refuse(n, refusals, ARRAY_LEN(refusals), e);

	if (!rc)
		rc = spec_namespaces(s, n, e);
	if (!rc)
		rc = spec_userns(c, n, e);
	if (!rc)
		rc = spec_timens(c, n, e);
	if (!rc)
		rc = spec_personality(n, c->process, e);
	if (!rc)
		rc = cgroups_path(s, n, e);
	if (!rc)
		rc = devices(c, n, e);
	if (!rc)
		rc = spec_resources(c, n, l, e);
	if (!rc)
		rc = spec_resources_text(n, &s->resources, e);
	if (!rc)
		rc = spec_block_rules(c, n, e);
	if (!rc)
		rc = sysctls(c, n, e);
	if (!rc)
		rc = paths(n, "maskedPaths", &c->masked_paths,
			   &c->n_masked_paths, e);
	if (!rc)
		rc = paths(n, "readonlyPaths", &c->readonly_paths,
			   &c->n_readonly_paths, e);
	if (!rc)
		rc = spec_propagation(n, "rootfsPropagation",
				      &c->rootfs->propagation, e);
	return rc ? rc : seccomp(s, n, e);
}
