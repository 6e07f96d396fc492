// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container's root file system is put together by its child, in the child's
 * own mount namespace: the image disk (EROFS) below, a scratch disk or memory
 * above, overlayfs over both; or a disk whose file system is the root as it is
 * (a device that an engine's snapshotter made). One that no disk can show is a tree of
 * the pod's share: it is the root itself, or, read-only, what lies below in the place of
 * the image. Nobody else sees these mounts, and they go with
 * the last process of the namespace; so nothing has to be unmounted. Steps:
 * rootfs_mount(), then everything that is mounted inside, then rootfs_enter().
 * A read-only root is mounted writable first, since mount points may have to
 * be made on it, and turned read-only last, behind hooks that change it.
 *
 * Sources: kernel Documentation/filesystems/overlayfs.rst, pivot_root(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"

#define LOWER AGENT_RUN "/lower"
#define SCRATCH AGENT_RUN "/scratch"
#define ROOT AGENT_RUN "/root"

/*
 * Space that is freed goes back to the host at once; and where the host's storage is
 * full, who writes gets an error, and all others of the container go on.
 */
#define SCRATCH_OPTIONS "discard,errors=continue"

/* What is written must be whole by itself: it may go to the host (guest/agent/delta.c). */
#define OVERLAY_OPTIONS ",redirect_dir=off,metacopy=off,index=off"

static int make_places(struct err *e)
{
	static const char *const dirs[] = { LOWER, SCRATCH, ROOT };
	size_t i;

	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		int rc = dir_make(dirs[i], 0700, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int mount_disk(const char *serial, const char *type, unsigned long flags,
		      const char *data, const char *where, struct err *e)
{
	char path[300];
	int rc = disk_wait(serial, path, sizeof(path), e);

	if (rc < 0)
		return rc;
	if (mount(path, where, type, flags, *data ? data : NULL) < 0)
		return err_sys(e, "disk %s: mount as %s", serial, type);
	return 0;
}

static int mount_share(uint32_t number, const char *where, struct err *e)
{
	_cleanup_close_ int from = -1;
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	from = volume_open(name, e);
	if (from < 0)
		return from;
	if (mount(fd_path(from).s, where, NULL, MS_BIND, NULL) < 0)
		return err_sys(e, "bind");
	return 0;
}

/* The overlay's root takes its attributes from the upper directory. */
static int make_upper(struct err *e)
{
	if ((mkdir(SCRATCH "/upper", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(SCRATCH "/work", 0700) < 0 && errno != EEXIST))
		return err_sys(e, "scratch: mkdir");
	return changes_root(LOWER, SCRATCH "/upper", e);
}

static int mount_layers(const Podvm__Rootfs *r, int *ret_upper, struct err *e)
{
	const char *type = *r->lower_type ? r->lower_type : "erofs";
	int rc = r->share ? mount_share(r->share, LOWER, e)
			  : mount_disk(r->lower_serial, type, MS_RDONLY, r->lower_data, LOWER, e);

	if (rc < 0)
		return rc;
	if (*r->scratch_serial)
		rc = mount_disk(r->scratch_serial, "ext4", 0, SCRATCH_OPTIONS, SCRATCH, e);
	else if (mount("tmpfs", SCRATCH, "tmpfs", 0, "mode=0700") < 0)
		rc = err_sys(e, "scratch: mount tmpfs");
	if (rc >= 0)
		rc = make_upper(e);
	if (rc < 0)
		return rc;
	if (mount("overlay", ROOT, "overlay", 0,
		  "lowerdir=" LOWER ",upperdir=" SCRATCH "/upper,workdir=" SCRATCH "/work"
		  OVERLAY_OPTIONS) < 0)
		return err_sys(e, "mount overlay");
	if (!r->keep)
		return 0;
	*ret_upper = open(SCRATCH "/upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_upper < 0 ? err_sys(e, "scratch") : 0;
}

/**
 * rootfs_mount() - mount a container's root somewhere in this mount namespace
 * @ret_root: O_PATH descriptor of it, owned by the caller
 * @ret_upper: of the upper directory, if it is to be kept, else untouched; owned by
 *             the caller
 *
 * Return: 0 or minus errno, naming the disk
 * Context: the child, in a mount namespace of its own; waits for disks, bounded
 */
int rootfs_mount(const Podvm__Rootfs *r, int *ret_root, int *ret_upper, struct err *e)
{
	int root, rc;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, "mounts: private");
	rc = make_places(e);
	if (rc >= 0 && r->share && !r->readonly)
		rc = mount_share(r->share, ROOT, e);
	else if (rc >= 0 && r->disk)
		rc = mount_disk(r->disk->serial, r->disk->type, (unsigned long)r->disk->flags,
				r->disk->data, ROOT, e);
	else if (rc >= 0)
		rc = mount_layers(r, ret_upper, e);
	if (rc < 0)
		return err_wrap(e, "root file system");
	root = open(ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, "root file system");
	*ret_root = root;
	return 0;
}

/**
 * rootfs_enter() - make it the root, and nothing else reachable
 * @root: from rootfs_mount(), borrowed
 *
 * Return: 0 or minus errno
 */
int rootfs_enter(int root, const Podvm__Rootfs *r, struct err *e)
{
	/* pivot_root(".", ".") stacks the old root on the new one, pivot_root(2). */
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(e, "root file system: pivot_root");
	if (r->propagation &&
	    mount(NULL, "/", NULL, (unsigned long)r->propagation, NULL) < 0)
		return err_sys(e, "root file system: propagation 0x%llx",
			       (unsigned long long)r->propagation);
	return 0;
}

/**
 * rootfs_readonly() - turn the root read-only, if it is to be
 *
 * Return: 0 or minus errno
 * Context: the child, behind rootfs_enter() and all that writes to it
 */
int rootfs_readonly(const Podvm__Rootfs *r, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };

	if (r->readonly && mount_setattr(AT_FDCWD, "/", 0, &ro, sizeof(ro)) < 0)
		return err_sys(e, "root file system: read-only");
	return 0;
}
