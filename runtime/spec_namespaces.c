// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * An engine speaks of namespaces of the host; the container's are in the guest.
 * What carries over is who shares with whom: "shared" is the pod's own, one per
 * virtual machine, else the container gets a new one.
 *
 *	              no path                path
 *	  single      new; network: VM's     only network: joined to the VM
 *	  sandbox     the pod's own          the pod's own (CRI-O makes them ahead);
 *	                                     not pid
 *	  container   new; not network       the pod's own
 *
 * The sandbox's pid, ipc and uts are the pod's, since its containers join them.
 * A container of a pod joins the pod's processes, which engines name by the sandbox's process,
 * or those of one other container (kubectl debug --target), by that one's: its shim. CRI-O
 * keeps the latter by a file, which holds the shim's namespace and does not tell whose it is.
 * A path is not opened but for the network, whose interfaces become the VM's: it
 * must be a network namespace, and not the one that the engine runs in.
 *
 * A namespace that is not listed is the host's: that cannot be had from inside a
 * virtual machine, but for cgroup, where the container sees the VM's hierarchy, and for
 * user and time, where it is the machine's. User and time are always new (spec_userns.c).
 *
 * Sources: OCI runtime-spec 1.2, config-linux.md "Namespaces"; ioctl_ns(2); CRI-O 1.13 to 1.32,
 * SpecAddNamespaces().
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"
#include "runtime/trust.h"

static const struct ns_type {
	const char *name;
	Podvm__Namespace__Type type;
	const char *missing;	/* why its absence is refused; NULL: it is not */
} ns_types[] = {
	{ "cgroup", PODVM__NAMESPACE__TYPE__CGROUP, NULL },
	{ "ipc", PODVM__NAMESPACE__TYPE__IPC,
	  "the host's IPC (hostIPC, --ipc host)" },
	{ "mount", PODVM__NAMESPACE__TYPE__MOUNT, "the host's mounts" },
	{ "network", PODVM__NAMESPACE__TYPE__NETWORK,
	  "the host's network (hostNetwork, --network host)" },
	{ "pid", PODVM__NAMESPACE__TYPE__PID,
	  "the host's processes (hostPID, --pid host)" },
	{ "uts", PODVM__NAMESPACE__TYPE__UTS, "the host's name (--uts host)" },
	{ "user", PODVM__NAMESPACE__TYPE__USER, NULL },
	{ "time", PODVM__NAMESPACE__TYPE__TIME, NULL },
};

/* In the order in which the absent ones are told. */
static const size_t ns_required[] = { 3, 4, 1, 5, 2 };

/**
 * spec_namespace_name() - the i-th type of namespace that works; NULL behind the last
 */
const char *spec_namespace_name(size_t i)
{
	return i < ARRAY_LEN(ns_types) ? ns_types[i].name : NULL;
}

static const struct ns_type *ns_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(ns_types); i++)
		if (!strcmp(ns_types[i].name, name))
			return &ns_types[i];
	return NULL;
}

/* Fails unless @path is a network namespace. */
static int netns_check(const struct jnode *n, const char *path, bool own_ok,
		       struct err *e)
{
	_cleanup_close_ int at = -1;
	_cleanup_close_ int fd = -1;
	struct stat that, own;
	struct statfs fs;

	/* By O_PATH first: opening what is no nsfs file could do anything. */
	at = open(path, O_PATH | O_CLOEXEC);
	if (at < 0)
		return json_fail(n, "path", e, "network namespace %s: %s",
				 SPEC_Q(path), strerror(errno));
	if (fstatfs(at, &fs) < 0 || fs.f_type != NSFS_MAGIC)
		return json_fail(n, "path", e, "%s is not a namespace; did it go "
				 "away?", SPEC_Q(path));
	fd = open(fd_path(at).s, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return json_fail(n, "path", e, "network namespace %s: %s",
				 SPEC_Q(path), strerror(errno));
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return json_fail(n, "path", e, "%s is not a network namespace",
				 SPEC_Q(path));
	if (own_ok || fstat(fd, &that) < 0 ||
	    stat("/proc/self/ns/net", &own) < 0)
		return 0;
	if (that.st_dev == own.st_dev && that.st_ino == own.st_ino)
		return json_fail(n, "path", e, "%s: not supported: it is the host's "
				 "network (hostNetwork, --network host); give the "
				 "pod a network of its own or " TRUST_USE,
				 SPEC_Q(path));
	return 0;
}

static int network(struct spec *s, const struct jnode *n, const char *path,
		   bool *ret_shared, struct err *e)
{
	int rc;

	*ret_shared = true;
	if (!path && s->role == SPEC_ROLE_CONTAINER)
		return json_fail(n, NULL, e, "not supported: a container with a "
				 "network of its own inside a pod; share the pod's");
	if (!path)
		return 0;
	/* A shim of containerd's pod stands in the host's network itself. */
	rc = netns_check(n, path, s->role == SPEC_ROLE_CONTAINER, e);
	return rc ? rc : spec_strdup(path, &s->netns_path, e);
}

/* The process that a path into /proc names; 0: none. */
static pid_t pid_of(const char *path)
{
	int pid, len = 0;

	return sscanf(path, "/proc/%9d/ns/pid%n", &pid, &len) == 1 && len && !path[len] ? pid : 0;
}

static int sharing(struct spec *s, const struct jnode *n,
		   const struct ns_type *t, const char *path, bool *ret,
		   struct err *e)
{
	bool pid = t->type == PODVM__NAMESPACE__TYPE__PID;

	if (path && path[0] != '/')
		return json_fail(n, "path", e, "must be an absolute path, not %s",
				 SPEC_Q(path));
	if (t->type == PODVM__NAMESPACE__TYPE__NETWORK)
		return network(s, n, path, ret, e);
	if (path && t->type == PODVM__NAMESPACE__TYPE__MOUNT)
		return json_fail(n, "path", e, "not supported: joining the mount "
				 "namespace %s", SPEC_Q(path));
	if (path && (s->role == SPEC_ROLE_SINGLE ||
		     (pid && s->role == SPEC_ROLE_SANDBOX)))
		return json_fail(n, "path", e, "not supported: joining the %s "
				 "namespace %s: only containers of one pod share "
				 "namespaces", t->name, SPEC_Q(path));
	if (path && pid && !str_starts(path, "/proc/"))
		return json_fail(n, "path", e, "not supported: joining the processes that %s keeps, "
				 "of one other container (kubectl debug --target): leave the target "
				 "out, or have the pod's containers share all processes "
				 "(shareProcessNamespace)", SPEC_Q(path));
	if (path && t->type == PODVM__NAMESPACE__TYPE__TIME)
		return json_fail(n, "path", e, "not supported: joining the time namespace %s: each "
				 "container has its own; leave the path out", SPEC_Q(path));
	if (path && pid)
		s->pid_of = pid_of(path);
	/* Of a pod's user namespace each container has one with its mappings. */
	if (t->type == PODVM__NAMESPACE__TYPE__USER)
		return 0;
	*ret = path || (s->role == SPEC_ROLE_SANDBOX &&
			(pid || t->type == PODVM__NAMESPACE__TYPE__IPC ||
			 t->type == PODVM__NAMESPACE__TYPE__UTS));
	return 0;
}

static int namespace_one(struct spec *s, const struct jnode *n,
			 uint32_t *seen, struct err *e)
{
	const char *name, *path = NULL;
	const struct ns_type *t;
	Podvm__Namespace *ns;
	bool shared = false;
	int rc = json_as_obj(n, e);

	if (!rc)
		rc = json_str(n, "type", &name, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, "type", e, "missing");
	t = ns_find(name);
	if (!t)
		return json_fail(n, "type", e, "unknown namespace %s",
				 SPEC_Q(name));
	if (*seen & 1u << t->type)
		return json_fail(n, "type", e, "%s is given twice", name);
	*seen |= 1u << t->type;
	rc = json_str(n, "path", &path, e);
	if (rc >= 0)
		rc = sharing(s, n, t, path && *path ? path : NULL, &shared, e);
	if (rc < 0)
		return rc;
	ns = mem_new(Podvm__Namespace);
	if (!ns)
		return err_set(e, ENOMEM, "out of memory");
	podvm__namespace__init(ns);
	ns->type = t->type;
	ns->shared = shared;
	rc = spec_push(&s->create->namespaces, &s->create->n_namespaces, ns, e);
	if (rc < 0)
		free(ns);
	return rc;
}

/**
 * spec_namespaces() - translate linux.namespaces
 * @s: its role is known; gets @netns_path
 * @n: the linux object
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config-linux.md "Namespaces"
 */
int spec_namespaces(struct spec *s, const struct jnode *n, struct err *e)
{
	struct jnode arr, el;
	uint32_t seen = 0;
	size_t i;
	int rc = json_arr(n, "namespaces", &arr, e);

	if (rc < 0)
		return rc;
	for (i = 0; rc && i < json_len(&arr); i++) {
		int bad;

		el = json_at(&arr, i);
		bad = namespace_one(s, &el, &seen, e);
		if (bad < 0)
			return bad;
	}
	for (i = 0; i < ARRAY_LEN(ns_required); i++) {
		const struct ns_type *t = &ns_types[ns_required[i]];

		if (!(seen & 1u << t->type))
			return json_fail(n, "namespaces", e, "no \"%s\": %s is not "
					 "within reach of a virtual machine; give the "
					 "pod its own or " TRUST_USE,
					 t->name, t->missing);
	}
	return 0;
}
