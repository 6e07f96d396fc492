// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container's user namespace. Everything that needs the machine's root comes before:
 * its mounts (no file system of a disk can be mounted from inside), limits, scheduling,
 * terminal. Then its first process makes the user namespace and, in it, new mount, UTS
 * and cgroup namespaces: copies, of which nothing that was mounted can be taken off or
 * loosened any more, not even by the container's root. The agent writes the mappings
 * and says so; the process becomes the container's root, and goes on. An exec is
 * prepared in the same way and joins last.
 *
 * Network, IPC and pid namespaces stay the machine's root's, since the network is the
 * machine's own. What that would take from a container's root, ports below 1024 and
 * ping, is opened to all of the pod.
 *
 * A time namespace is made by the agent for the child that it is about to have; its
 * clocks are set off before anybody is in it.
 *
 * Sources: user_namespaces(7), time_namespaces(7), mount_namespaces(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/idmap.h"
#include "lib/mem.h"
#include "lib/str.h"

/**
 * userns_of() - the user namespace of a container; NULL: the machine's
 */
const Podvm__Namespace *userns_of(const Podvm__ContainerCreate *c)
{
	size_t i;

	for (i = 0; i < c->n_namespaces; i++)
		if (c->namespaces[i]->type == PODVM__NAMESPACE__TYPE__USER)
			return c->namespaces[i];
	return NULL;
}

/**
 * userns_keep() - a copy that outlives the message
 * @ret: podvm__namespace__free_unpacked()
 *
 * Return: 0 or -ENOMEM
 */
int userns_keep(const Podvm__Namespace *u, Podvm__Namespace **ret, struct err *e)
{
	size_t len = podvm__namespace__get_packed_size(u);
	_cleanup_free_ uint8_t *buf = malloc(len + 1);

	if (buf)
		podvm__namespace__pack(u, buf);
	*ret = buf ? podvm__namespace__unpack(NULL, len, buf) : NULL;
	return *ret ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int outside(Podvm__IdMap *const *v, size_t n, const char *what, uint32_t *id, struct err *e)
{
	if (idmap_outside(v, n, *id, id))
		return 0;
	return err_set(e, EINVAL, "%s %u: not in the container's user namespace", what, *id);
}

/**
 * userns_owner() - a process's ids as the machine has them
 * @u: its user namespace; NULL: the machine's
 *
 * Return: 0; -EINVAL for one that is not mapped
 */
int userns_owner(const Podvm__Namespace *u, const Podvm__Process *p, uint32_t *ret_uid,
		 uint32_t *ret_gid, struct err *e)
{
	int rc = 0;

	*ret_uid = p->uid;
	*ret_gid = p->gid;
	if (u)
		rc = outside(u->uid_maps, u->n_uid_maps, "uid", ret_uid, e);
	return rc || !u ? rc : outside(u->gid_maps, u->n_gid_maps, "gid", ret_gid, e);
}

static int write_maps(pid_t pid, const char *file, Podvm__IdMap *const *v, size_t n, struct err *e)
{
	struct strbuf b = { 0 };
	char path[48];
	size_t i;
	int rc;

	for (i = 0; i < n; i++)
		strbuf_add(&b, "%u %u %u\n", v[i]->inside, v[i]->outside, v[i]->size);
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	rc = b.failed || !b.text ? err_set(e, EINVAL, "%s: no mappings", file)
				 : file_write(AT_FDCWD, path, b.text, e);
	strbuf_done(&b);
	return rc < 0 ? err_wrap(e, "user namespace") : 0;
}

/**
 * userns_write() - write the mappings of a process that has made its user namespace
 *
 * Return: 0 or minus errno
 * Context: the agent
 */
int userns_write(pid_t pid, const Podvm__Namespace *u, struct err *e)
{
	int rc = write_maps(pid, "uid_map", u->uid_maps, u->n_uid_maps, e);

	return rc < 0 ? rc : write_maps(pid, "gid_map", u->gid_maps, u->n_gid_maps, e);
}

/**
 * userns_root() - be the container's root, behind the mappings
 *
 * Return: 0 or minus errno
 * Context: the child, in its user namespace
 */
int userns_root(struct err *e)
{
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_sys(e, "user namespace: root");
	return 0;
}

/**
 * userns_make() - make the user namespace and what it owns
 *
 * Return: 0 or minus errno; the mappings are still to be written
 * Context: the child, in the container's root, with all mounts made
 */
int userns_make(const Podvm__ContainerCreate *c, struct err *e)
{
	int flags = CLONE_NEWUSER | CLONE_NEWNS;
	size_t i;

	for (i = 0; i < c->n_namespaces; i++) {
		if (c->namespaces[i]->shared)
			continue;
		if (c->namespaces[i]->type == PODVM__NAMESPACE__TYPE__UTS)
			flags |= CLONE_NEWUTS;
		if (c->namespaces[i]->type == PODVM__NAMESPACE__TYPE__CGROUP)
			flags |= CLONE_NEWCGROUP;
	}
	return unshare(flags) < 0 ? err_sys(e, "user namespace") : 0;
}

/**
 * userns_network() - open what a container's root could do with a network of its own
 *
 * Return: 0 or minus errno
 * Context: the child, before its user namespace
 */
int userns_network(struct err *e)
{
	int rc = sysctl_write("net.ipv4.ip_unprivileged_port_start", "0", e);

	return rc < 0 ? rc : sysctl_write("net.ipv4.ping_group_range", "0 2147483647", e);
}

static bool has_timens(const Podvm__ContainerCreate *c)
{
	size_t i;

	for (i = 0; i < c->n_namespaces; i++)
		if (c->namespaces[i]->type == PODVM__NAMESPACE__TYPE__TIME)
			return true;
	return false;
}

/**
 * timens_begin() - have the next child born in a time namespace of its own
 * @ret_back: for timens_end(); -1: it has none
 *
 * Return: 0 or minus errno
 * Context: the agent, which has one thread
 */
int timens_begin(const Podvm__ContainerCreate *c, int *ret_back, struct err *e)
{
	_cleanup_close_ int back = -1;
	int rc;

	*ret_back = -1;
	if (!has_timens(c))
		return 0;
	back = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
	if (back < 0 || unshare(CLONE_NEWTIME) < 0)
		return err_sys(e, "time namespace");
	*ret_back = fd_steal(&back);
	rc = *c->time_offsets ? file_write(AT_FDCWD, "/proc/self/timens_offsets", c->time_offsets, e)
			      : 0;
	return rc < 0 ? err_wrap(e, "/linux/timeOffsets") : 0;
}

/**
 * timens_end() - the child is born: the next one is in the machine's again
 * @back: closed; -1 is fine
 *
 * Return: 0 or minus errno
 */
int timens_end(int back, struct err *e)
{
	_cleanup_close_ int fd = back;

	return fd >= 0 && setns(fd, CLONE_NEWTIME) < 0 ? err_sys(e, "time namespace") : 0;
}

/**
 * timens_flag() - what an exec joins beside the rest
 */
uint64_t timens_flag(const Podvm__ContainerCreate *c)
{
	return has_timens(c) ? CLONE_NEWTIME : 0;
}
