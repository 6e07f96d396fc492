// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Everything that is mounted inside a container's root, by the child, before
 * it enters the root. The image is hostile: its symbolic links may point
 * anywhere, so a path is opened with RESOLVE_IN_ROOT, which takes the root's
 * descriptor for "/" and never leaves it, and a mount goes onto the descriptor
 * that came of it (/proc/self/fd/N), not onto the path. Missing directories
 * are made one by one in the same way.
 *
 * Sources of mounts:
 * - "serial:NAME" is the disk with that serial; "serial:NAME/SUB" with MS_BIND
 *   is the file or directory SUB of the file system on it (@data names its
 *   type, default erofs), mounted once per container;
 * - "share:N" and "memory:KEY" with MS_BIND are a volume and memory of the pod, share.c;
 *   "mirror:KEY" is a directory that the host replaces as a whole, mirror.c;
 * - other MS_BIND sources are paths of the VM's own root;
 * - the rest goes to mount(2) as it is (tmpfs, proc, a virtiofs tag, …).
 *
 * Sources: openat2(2), mount(2), mount_setattr(2); OCI runtime-spec config.md
 * "Mounts", config-linux.md "Masked Paths", "Readonly Paths".
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

#define SERIAL_PREFIX "serial:"
#define SHARE_PREFIX "share:"
#define MEMORY_PREFIX "memory:"
#define MIRROR_PREFIX "mirror:"
#define DISKS AGENT_RUN "/disks"

/* Dangling links that lead to each other, as many as Linux follows. */
#define FOLLOW_MAX 40

/* What a bind mount takes over only by a remount. */
#define REMOUNT_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | \
		       MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME | MS_NOSYMFOLLOW)

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

/* Paths by fd_path(): the child has the agent's /proc until it enters its root. */
static int open_in_root(int root, const char *path, uint64_t flags)
{
	return fd_openat2(root, path, flags | O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/**
 * path_open() - a path inside a root, links followed but never out of it
 * @root: directory that is "/", borrowed
 *
 * Return: O_PATH descriptor owned by the caller, or minus errno
 */
int path_open(int root, const char *path, struct err *e)
{
	int fd = open_in_root(root, path, 0);

	return fd < 0 ? err_sys(e, "%s", path) : fd;
}

/* Makes the last component of @path; its parent exists. */
static int make_last(int root, const char *path, bool dir, struct err *e)
{
	_cleanup_close_ int parent = -1, made = -1;
	char up[PATH_MAX];
	const char *name = strrchr(path, '/') + 1;

	memcpy(up, path, (size_t)(name - path));
	up[name - path] = 0;
	parent = path_open(root, up, e);
	if (parent == -ENOENT)
		return err_set(e, ENOENT, "%s: is there a dangling symbolic link in it?", path);
	if (parent < 0)
		return parent;
	if (dir) {
		if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
			return err_sys(e, "%s: mkdir", path);
		return 0;
	}
	made = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (made < 0 && errno != EEXIST)
		return err_sys(e, "%s: create", path);
	return 0;
}

/* Where the dangling link at the end of @at leads, and from there @rest. */
static int link_path(int root, const char *at, const char *rest, char ret[PATH_MAX], struct err *e)
{
	char target[PATH_MAX], up[PATH_MAX];
	const char *name = strrchr(at, '/') + 1;
	_cleanup_close_ int parent = -1;
	ssize_t n;

	memcpy(up, at, (size_t)(name - at));
	up[name - at] = 0;
	parent = path_open(root, up, e);
	if (parent < 0)
		return parent;
	n = readlinkat(parent, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(e, "%s", at);
	target[n] = 0;
	if (snprintf(ret, PATH_MAX, "%s%s%s", *target == '/' ? "" : up, target, rest) >= PATH_MAX)
		return err_set(e, ENAMETOOLONG, "%s: a symbolic link", at);
	return 0;
}

static int make_path(int root, const char *path, bool dir, unsigned int links, struct err *e)
{
	char p[PATH_MAX], other[PATH_MAX];
	size_t len, i;
	int fd, rc;

	if (*path != '/' || str_copy(p, sizeof(p), path) < 0)
		return err_set(e, EINVAL, "%s: not an absolute path", path);
	for (len = strlen(p); len > 1 && p[len - 1] == '/';)
		p[--len] = 0;
	fd = open_in_root(root, p, 0);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		return err_sys(e, "%s", path);
	for (i = 1; i <= len; i++) {
		if (p[i] && p[i] != '/')
			continue;
		p[i] = 0;
		fd = open_in_root(root, p, 0);
		if (fd < 0 && errno != ENOENT)
			return err_sys(e, "%s", path);
		if (fd < 0 && (rc = make_last(root, p, dir || i < len, e)) < 0)
			return rc;
		if (fd < 0)
			fd = open_in_root(root, p, 0);
		if (fd < 0 && errno != ENOENT)
			return err_sys(e, "%s", path);
		if (fd < 0 && links == FOLLOW_MAX)
			return err_set(e, ELOOP, "%s: too many symbolic links", path);
		if (fd < 0) {
			rc = link_path(root, p, i < len ? path + i : "", other, e);
			return rc < 0 ? rc : make_path(root, other, dir, links + 1, e);
		}
		close(fd);
		if (i < len)
			p[i] = '/';
	}
	fd = open_in_root(root, p, 0);
	return fd < 0 ? err_sys(e, "%s", path) : fd;
}

/**
 * path_make() - a path inside a root; what is missing of it is made
 * @root: directory that is "/", borrowed
 * @path: absolute
 * @dir:  make the last component as a directory, else as an empty file
 *
 * What a dangling link leads to is made as well: images have such a link for
 * /etc/resolv.conf.
 *
 * Return: O_PATH descriptor owned by the caller; minus errno
 */
int path_make(int root, const char *path, bool dir, struct err *e)
{
	return make_path(root, path, dir, 0, e);
}

/* Mounts the file system of a disk once; @ret_dir: O_PATH, owned by the caller. */
static int disk_mount(const char *serial, const char *type, int *ret_dir,
		      struct err *e)
{
	char where[sizeof(DISKS) + 40], dev[300];
	struct stat here, up;
	int rc;

	snprintf(where, sizeof(where), DISKS "/%s", serial);
	rc = dir_make(where, 0700, e);
	if (rc < 0)
		return rc;
	if (stat(DISKS, &up) < 0 || stat(where, &here) < 0)
		return err_sys(e, "%s", where);
	if (up.st_dev == here.st_dev) {
		rc = disk_wait(serial, dev, sizeof(dev), e);
		if (rc < 0)
			return rc;
		if (mount(dev, where, type, !strcmp(type, "erofs") ? MS_RDONLY : 0, NULL) < 0)
			return err_sys(e, "disk %s: mount as %s", serial, type);
	}
	*ret_dir = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret_dir < 0 ? err_sys(e, "%s", where) : 0;
}

/* What a bind mount shows; O_PATH descriptor owned by the caller. */
static int bind_source(const Podvm__Mount *m, struct err *e)
{
	const char *s = m->source, *sub;
	_cleanup_close_ int dir = -1;
	char serial[32], dev[300];
	int fd, rc;

	if (str_starts(s, SHARE_PREFIX))
		return volume_open(s + strlen(SHARE_PREFIX), e);
	if (str_starts(s, MEMORY_PREFIX))
		return memory_open(s + strlen(MEMORY_PREFIX), e);
	if (str_starts(s, MIRROR_PREFIX))
		return mirror_open(s + strlen(MIRROR_PREFIX), e);
	if (!str_starts(s, SERIAL_PREFIX)) {
		fd = open(s, O_PATH | O_CLOEXEC);
		return fd < 0 ? err_sys(e, "source %s", s) : fd;
	}
	s += strlen(SERIAL_PREFIX);
	sub = strchrnul(s, '/');
	if ((size_t)(sub - s) >= sizeof(serial))
		return err_set(e, EINVAL, "source %s: serial too long", m->source);
	memcpy(serial, s, (size_t)(sub - s));
	serial[sub - s] = 0;
	if (!*sub) { /* the block device itself: a raw volume */
		rc = disk_wait(serial, dev, sizeof(dev), e);
		if (rc < 0)
			return rc;
		fd = open(dev, O_PATH | O_CLOEXEC);
		return fd < 0 ? err_sys(e, "%s", dev) : fd;
	}
	rc = disk_mount(serial, *m->data ? m->data : "erofs", &dir, e);
	return rc < 0 ? rc : path_open(dir, sub, e);
}

static int remount(const char *where, const Podvm__Mount *m, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	unsigned long flags = (unsigned long)m->flags & REMOUNT_FLAGS;

	if (!(m->flags & MS_BIND) || !flags)
		return 0;
	if (mount(NULL, where, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0)
		return err_sys(e, "flags 0x%lx", flags);
	if ((m->flags & MS_REC) && (flags & MS_RDONLY) &&
	    mount_setattr(AT_FDCWD, where, AT_RECURSIVE, &ro, sizeof(ro)) < 0)
		return err_sys(e, "read-only");
	return 0;
}

static int propagate(const char *where, const Podvm__Mount *m, struct err *e)
{
	if (m->propagation &&
	    mount(NULL, where, NULL, (unsigned long)m->propagation, NULL) < 0)
		return err_sys(e, "propagation 0x%llx", (unsigned long long)m->propagation);
	return 0;
}

/* @source, @type: already what mount(2) wants. */
static int mount_on(int root, const Podvm__Mount *m, const char *source,
		    const char *type, bool dir, struct err *e)
{
	_cleanup_close_ int at = path_make(root, m->destination, dir, e), top = -1;
	const char *data = *m->data && !(m->flags & MS_BIND) ? m->data : NULL;
	struct stat st;
	int rc;

	if (at < 0)
		return at;
	if (fstat(at, &st) < 0)
		return err_sys(e, "stat");
	if (S_ISDIR(st.st_mode) != dir)
		return err_set(e, dir ? ENOTDIR : EISDIR, dir ?
			       "a directory cannot be mounted on a file" :
			       "a file cannot be mounted on a directory");
	if (mount(source, fd_path(at).s, type, (unsigned long)m->flags, data) < 0)
		return err_sys(e, "mount %s%s%s", type ? type : "bind",
			       data ? " with " : "", data ? data : "");
	top = path_open(root, m->destination, e);
	if (top < 0)
		return top;
	if (m->copy_up && (rc = copy_up(at, top, e)) < 0)
		return rc;
	rc = remount(fd_path(top).s, m, e);
	return rc < 0 ? rc : propagate(fd_path(top).s, m, e);
}

static int mount_one(int root, const Podvm__Mount *m, struct err *e)
{
	_cleanup_close_ int from = -1;
	const char *type = m->type;
	char dev[300];
	struct stat st;
	int rc;

	if (m->flags & MS_BIND) {
		from = bind_source(m, e);
		if (from < 0)
			return from;
		if (fstat(from, &st) < 0)
			return err_sys(e, "source %s", m->source);
		return mount_on(root, m, fd_path(from).s, NULL, S_ISDIR(st.st_mode), e);
	}
	if (!*type)
		return err_set(e, EINVAL, "type is missing");
	/* OCI says cgroup for whatever the host has; this kernel has v2. */
	if (!strcmp(type, "cgroup"))
		type = "cgroup2";
	if (!str_starts(m->source, SERIAL_PREFIX))
		return mount_on(root, m, *m->source ? m->source : type, type, true, e);
	rc = disk_wait(m->source + strlen(SERIAL_PREFIX), dev, sizeof(dev), e);
	return rc < 0 ? rc : mount_on(root, m, dev, type, true, e);
}

/**
 * mounts_apply() - the container's mounts, in order
 * @root: from rootfs_mount(), borrowed
 *
 * Return: 0 or minus errno, naming the mount
 * Context: the child before rootfs_enter(), in the container's namespaces
 */
int mounts_apply(int root, const Podvm__ContainerCreate *c, struct err *e)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++)
		if (mount_one(root, c->mounts[i], e) < 0)
			return err_wrap(e, "mount %s", c->mounts[i]->destination);
	return 0;
}

/* The container's own null device, so that no node of the VM is lent out. */
static int null_device(int root, struct err *e)
{
	_cleanup_close_ int fd = open_in_root(root, "/dev/null", O_NOFOLLOW);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) &&
	    st.st_rdev == makedev(1, 3))
		return fd_steal(&fd);
	fd_close(&fd);
	fd = open("/dev/null", O_PATH | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "/dev/null") : fd_steal(&fd);
}

static int mask(int root, const char *path, struct err *e)
{
	_cleanup_close_ int at = open_in_root(root, path, 0), null = -1;
	struct stat st;
	int rc;

	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, "masked path %s", path);
	if (fstat(at, &st) < 0)
		return err_sys(e, "masked path %s", path);
	if (S_ISDIR(st.st_mode)) {
		rc = mount("tmpfs", fd_path(at).s, "tmpfs", MS_RDONLY, "size=0k");
	} else {
		null = null_device(root, e);
		if (null < 0)
			return null;
		rc = mount(fd_path(null).s, fd_path(at).s, NULL, MS_BIND, NULL);
	}
	return rc < 0 ? err_sys(e, "masked path %s", path) : 0;
}

/* Flags that the path has already (nosuid, …) stay: mount_setattr() only adds. */
static int make_readonly(int root, const char *path, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int at = open_in_root(root, path, 0), top = -1;

	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0
			: err_sys(e, "read-only path %s", path);
	if (mount(fd_path(at).s, fd_path(at).s, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(e, "read-only path %s: bind", path);
	top = open_in_root(root, path, 0);
	if (top < 0 || mount_setattr(top, "", AT_EMPTY_PATH | AT_RECURSIVE, &ro, sizeof(ro)) < 0)
		return err_sys(e, "read-only path %s", path);
	return 0;
}

/**
 * mounts_mask() - hide the masked paths, write-protect the read-only ones
 *
 * A path that the container does not have is fine.
 *
 * Return: 0 or minus errno, naming the path
 * Context: as mounts_apply(), after it
 */
int mounts_mask(int root, const Podvm__ContainerCreate *c, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc >= 0 && i < c->n_readonly_paths; i++)
		rc = make_readonly(root, c->readonly_paths[i], e);
	for (i = 0; rc >= 0 && i < c->n_masked_paths; i++)
		rc = mask(root, c->masked_paths[i], e);
	return rc;
}
