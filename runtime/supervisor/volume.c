// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Bind mounts of a container, and root file systems that no disk can show. The source
 * is opened once, here, with the engine's word for where it leads; what was opened
 * becomes a tree of the pod's one share (storage/share-tree.c), and its number the
 * mount's source for the agent. What happens to the path afterwards changes nothing.
 *
 * By what the source is:
 *
 *   directory, regular file   a tree; recursive for rbind, read-only for ro
 *   configMap and its like, ro   a mirror (mirror.c), unless it is too large for one
 *   tmpfs on /dev/shm         a tmpfs of the same size in the guest, one for all
 *                             containers that bind that source
 *   null, zero, full, random, urandom, tty   the guest's own device
 *   socket, FIFO              refused: its two ends would be on two kernels
 *   other devices, file systems that show the host's kernel   refused
 *
 * What cannot be seen through a share: mounts that the host makes below the source
 * later (rslave has those that are there at the container's creation), and changes of
 * a read-only volume by mounts inside it (ro holds for them, too).
 *
 * Trees and mirrors belong to the container and go with it.
 *
 * Sources: OCI runtime-spec 1.2, config.md "Mounts".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"
#include "runtime/trust.h"

#define QUOTED_BYTES 160

/* Character devices that are the same on any machine: linux/major.h, MEM_MAJOR, TTYAUX_MAJOR. */
static const struct {
	unsigned int major, minor;
	const char *path;
} same_devices[] = {
	{ 1, 3, "/dev/null" },	 { 1, 5, "/dev/zero" },	   { 1, 7, "/dev/full" },
	{ 1, 8, "/dev/random" }, { 1, 9, "/dev/urandom" }, { 5, 0, "/dev/tty" },
};

static int set_text(char **at, const char *text, struct err *e)
{
	char *copy = strdup(text);

	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	if (*at != protobuf_c_empty_string)
		free(*at);
	*at = copy;
	return 0;
}

static int open_source(const char *bundle, const char *path, struct stat *st, int *ret,
		       struct err *e)
{
	_cleanup_close_ int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;

	if (dir < 0)
		return err_sys(e, "bundle %s", bundle);
	fd = fd_openat2(dir, path, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
	if (fd < 0 || fstat(fd, st) < 0)
		return err_sys(e, "cannot be opened");
	*ret = fd_steal(&fd);
	return 0;
}

/* Whether a directory lies on the host's file system of device nodes. */
static bool in_dev(const struct stat *st)
{
	struct stat dev, root;

	return !stat("/dev", &dev) && !stat("/", &root) && dev.st_dev != root.st_dev &&
	       st->st_dev == dev.st_dev;
}

static int same_device(Podvm__Mount *m, const struct stat *st, struct err *e)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(same_devices); i++)
		if (major(st->st_rdev) == same_devices[i].major &&
		    minor(st->st_rdev) == same_devices[i].minor)
			return set_text(&m->source, same_devices[i].path, e);
	return err_set(e, ENOTSUP,
		       "is a device of the host (%u:%u), which a pod does not have: leave it out, "
		       "or " TRUST_USE,
		       major(st->st_rdev), minor(st->st_rdev));
}

/* The root of a mount of tmpfs: /dev/shm as engines make it. */
static bool is_shm(const Podvm__Mount *m, int fd, struct statfs *f)
{
	struct statx sx;

	return !strcmp(m->destination, "/dev/shm") && !fstatfs(fd, f) &&
	       (uint32_t)f->f_type == TMPFS_MAGIC &&
	       !statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &sx) && S_ISDIR(sx.stx_mode) &&
	       sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

static int memory(Podvm__Mount *m, const struct stat *st, const struct statfs *f, struct err *e)
{
	char key[64], options[64];
	int rc;

	snprintf(key, sizeof(key), "memory:%llx-%llx", (unsigned long long)st->st_dev,
		 (unsigned long long)st->st_ino);
	snprintf(options, sizeof(options), "mode=%o,size=%llu", st->st_mode & 07777,
		 (unsigned long long)f->f_blocks * (unsigned long long)f->f_bsize);
	rc = set_text(&m->data, options, e);
	return rc < 0 ? rc : set_text(&m->source, key, e);
}

/* What the source's mount does not allow, the container's does not either. */
static void inherit(Podvm__Mount *m, int fd)
{
	struct statvfs v;

	if (fstatvfs(fd, &v) < 0)
		return;
	m->flags |= (v.f_flag & ST_RDONLY ? MS_RDONLY : 0) |
		    (v.f_flag & ST_NOSUID ? MS_NOSUID : 0) | (v.f_flag & ST_NODEV ? MS_NODEV : 0) |
		    (v.f_flag & ST_NOEXEC ? MS_NOEXEC : 0);
}

/* Shares what @fd is; the number is in the container's list. */
static int add_tree(struct pod *p, struct container *c, int fd, unsigned int flags, uint32_t *ret,
		    struct err *e)
{
	uint32_t *more;
	int rc = share_pod_start(p, e);

	if (rc < 0)
		return rc;
	more = realloc(c->trees, (c->n_trees + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	c->trees = more;
	rc = share_add(p->share.share, fd, flags, ret, e);
	if (rc < 0)
		return rc;
	c->trees[c->n_trees++] = *ret;
	return 0;
}

static int tree(struct pod *p, struct container *c, Podvm__Mount *m, int fd, struct err *e)
{
	unsigned int flags = 0;
	char name[24];
	uint32_t n;
	int rc;

	inherit(m, fd);
	if (m->flags & MS_RDONLY)
		flags |= SHARE_READONLY;
	if (m->flags & MS_REC)
		flags |= SHARE_RECURSIVE;
	rc = add_tree(p, c, fd, flags, &n, e);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "share:%u", n);
	return set_text(&m->source, name, e);
}

/* Return: 0; -EOPNOTSUPP for what must be shared; minus errno */
static int mirror(struct pod *p, struct container *c, Podvm__Mount *m, int fd, struct err *e)
{
	uint32_t *more = realloc(c->mirrors, (c->n_mirrors + 1) * sizeof(*more));
	char name[24];
	int rc;

	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	c->mirrors = more;
	rc = mirror_add(p, fd, &more[c->n_mirrors], e);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "mirror:%u", more[c->n_mirrors++]);
	return set_text(&m->source, name, e);
}

/* Whether it is written by renaming "..data"; what is not is no matter for the log. */
static bool is_atomic(int fd)
{
	struct stat st;

	return !fstatat(fd, "..data", &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode);
}

static int directory(struct pod *p, struct container *c, Podvm__Mount *m, int fd, struct err *e)
{
	char shown[QUOTED_BYTES];
	int rc;

	inherit(m, fd);
	if (!(m->flags & MS_RDONLY) || !is_atomic(fd))
		return tree(p, c, m, fd, e);
	rc = mirror(p, c, m, fd, e);
	if (rc != -EOPNOTSUPP)
		return rc;
	str_quote(shown, sizeof(shown), m->source);
	log_info("container %s: %s is shared without change events: %s", c->id, shown, e->text);
	return tree(p, c, m, fd, e);
}

static int volume(struct pod *p, struct container *c, Podvm__Mount *m, const char *bundle,
		  struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct statfs f;
	struct stat st;
	int rc = open_source(bundle, m->source, &st, &fd, e);

	if (rc < 0)
		return rc;
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		if (in_dev(&st))
			return err_set(e, ENOTSUP,
				       "holds the devices of the host, and a pod has its own: "
				       "leave it out");
		if (is_shm(m, fd, &f))
			return memory(m, &st, &f, e);
		return directory(p, c, m, fd, e);
	case S_IFREG:
		break;
	case S_IFCHR:
		return same_device(m, &st, e);
	case S_IFBLK:
		return err_set(e, ENOTSUP,
			       "is a block device, which cannot be a bind mount: give it in "
			       "linux.devices");
	default:
		return err_set(e, ENOTSUP,
			       "is a %s, whose two ends would be on two kernels, the host's and "
			       "the pod's: leave it out, or " TRUST_USE,
			       S_ISSOCK(st.st_mode) ? "socket" : "FIFO");
	}
	return tree(p, c, m, fd, e);
}

/**
 * volumes_add() - share what a container's bind mounts show
 * @spec:   its mounts get the sources that the agent knows
 * @bundle: that relative sources start in
 *
 * Return: 0; minus errno, naming the mount: volumes_remove() undoes the others
 */
int volumes_add(struct pod *p, struct container *c, struct spec *spec, const char *bundle,
		struct err *e)
{
	size_t i, n = c->n_trees;

	for (i = 0; i < spec->create->n_mounts; i++) {
		Podvm__Mount *m = spec->create->mounts[i];
		char shown[QUOTED_BYTES];

		if (!(m->flags & MS_BIND))
			continue;
		str_quote(shown, sizeof(shown), m->source);
		if (volume(p, c, m, bundle, e) < 0)
			return err_wrap(e, "/mounts/%zu/source: %s", i, shown);
	}
	if (c->n_trees > n || c->n_mirrors)
		pod_stamp(p, 0, "container %.32s: %zu volumes shared, %zu mirrored", c->id,
			  c->n_trees - n, c->n_mirrors);
	return 0;
}

/**
 * volume_rootfs() - share a root file system that no disk can show
 * @why: for the timeline
 *
 * It is shared with the mounts inside it. What the container changes is changed on the
 * host; a read-only one is shared read-only.
 *
 * Return: 0 or minus errno
 */
int volume_rootfs(struct pod *p, struct container *c, struct spec *spec, const char *why,
		  struct err *e)
{
	_cleanup_close_ int fd = open(spec->rootfs, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const char *reason = strstr(why, ": is ");
	Podvm__Rootfs *fs = spec->create->rootfs;
	unsigned int flags = SHARE_RECURSIVE;
	int rc;

	if (fd < 0)
		return err_sys(e, "/root/path: %s", spec->rootfs);
	if (fs->readonly)
		flags |= SHARE_READONLY;
	rc = add_tree(p, c, fd, flags, &fs->share, e);
	if (rc < 0)
		return err_wrap(e, "/root/path: %s", spec->rootfs);
	log_info("container %s: root file system by virtio-fs: %s", c->id, why);
	pod_stamp(p, 0, "container %.16s: rootfs shared: %s", c->id, reason ? reason + 2 : why);
	return 0;
}

/**
 * volumes_remove() - the container's volumes are no more; fine if there are none
 */
void volumes_remove(struct pod *p, struct container *c)
{
	while (c->n_trees) {
		c->n_trees--;
		if (p->share.share)
			share_remove(p->share.share, c->trees[c->n_trees]);
	}
	free(mem_steal(c->trees));
	while (c->n_mirrors)
		mirror_remove(p, c->mirrors[--c->n_mirrors]);
	free(mem_steal(c->mirrors));
}
