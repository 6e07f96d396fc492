// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Decides how the guest of a container gets the block device that the container's
 * root file system is mounted from; a pure function of what was found, so it can
 * be printed before anything is done, and tested without a device.
 *
 * A file system has one owner. Where the guest may write, or the host could, the
 * host's mount goes before the guest's comes (exclusive; read-only where the
 * container must not write). Making the host's mount read-only would not do: its
 * caches would go stale, and what the host read afterwards would be a mixture.
 * Only a device that refuses writes, with a mount that is read-only as well, is
 * read by both at once, and by any number of pods: nobody can change it.
 *
 * The guest's kernel mounts ext4, and EROFS, which is read-only by nature. A
 * journal cannot be replayed on a read-only disk: the guest is told not to try,
 * and the hand-over has made sure that there is nothing to replay.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "storage/blockdev.h"

static const struct {
	const char *type;
	bool writable;
	const char *readonly_data;
} guest_types[] = {
	{ "ext4", true, "noload" },
	{ "erofs", false, "" },
};

static int check_pool(const struct dm_device *d, bool readonly, struct err *e)
{
	const struct dm_pool *p = &d->pool;
	char shown[140];

	str_quote(shown, sizeof(shown), d->pool_name);
	if (!d->has_pool)
		return err_set(e, EIO, "its thin pool %s does not say how it is: see dmsetup status",
			       shown);
	if (p->mode == DM_POOL_FAILED)
		return err_set(e, EIO, "its thin pool %s has failed: repair it (thin_repair)", shown);
	if (readonly)
		return 0;
	if (p->needs_check)
		return err_set(e, EUCLEAN, "its thin pool %s needs a check: take it down and run thin_check --clear-needs-check-flag on its metadata",
			       shown);
	if (p->mode == DM_POOL_RO)
		return err_set(e, EROFS, "its thin pool %s is read-only: its metadata is full or damaged; see dmsetup status and the kernel's log",
			       shown);
	if (p->mode == DM_POOL_NO_SPACE || p->data_used >= p->data_total)
		return err_set(e, ENOSPC, "its thin pool %s is out of data space: extend it", shown);
	if (p->meta_used >= p->meta_total)
		return err_set(e, ENOSPC, "its thin pool %s is out of metadata space: extend it",
			       shown);
	return 0;
}

static int check_dm(const struct dm_device *d, bool readonly, struct err *e)
{
	char shown[140];

	str_quote(shown, sizeof(shown), d->name);
	if (!d->type[0])
		return err_set(e, ENXIO, "device %s has no table: load one", shown);
	if (!strcmp(d->type, "thin-pool") || !strcmp(d->type, "error"))
		return err_set(e, EINVAL, "device %s is of type %s, which holds no file system",
			       shown, d->type);
	if (d->deferred)
		return err_set(e, EBUSY, "device %s is to be removed when it is closed (deferred remove): take that back (dmsetup message DEVICE 0 @cancel_deferred_remove), or give another device",
			       shown);
	if (d->invalid)
		return err_set(e, EIO, "device %s has lost its data (%s is invalid or failed): see dmsetup status",
			       shown, d->type);
	return strcmp(d->type, "thin") ? 0 : check_pool(d, readonly, e);
}

/**
 * blockdev_ready() - whether a device can do I/O now, and be given away
 * @readonly: it will not be written
 *
 * Return: 0; minus errno with the reason and what to do
 */
int blockdev_ready(const struct blockdev *d, bool readonly, struct err *e)
{
	char shown[140];

	if (d->asleep) {
		str_quote(shown, sizeof(shown), d->asleep);
		return err_set(e, EBUSY, "device %s is suspended, and its I/O would wait: dmsetup resume it",
			       shown);
	}
	if (d->kind == BLOCKDEV_DM) {
		int rc = check_dm(&d->dm, readonly, e);

		if (rc < 0)
			return rc;
	}
	if (d->holder) {
		str_quote(shown, sizeof(shown), d->holder);
		return err_set(e, EBUSY, "device %s (RAID, LVM, device mapper) is made of it: take that down, or give that instead",
			       shown);
	}
	if (!d->size_bytes)
		return err_set(e, ENXIO, "it has no size: is a medium or a file behind it?");
	if (d->readonly && !readonly)
		return err_set(e, EROFS, "the device is read-only");
	return 0;
}

static int check_options(const struct blockmount *m, struct err *e)
{
	if (m->opts_rc && e)
		*e = m->opts_why;
	return m->opts_rc;
}

static int check_mount(const struct blockmount *m, struct err *e)
{
	char shown[256];

	if (m->stacked)
		return err_set(e, EBUSY, "another file system is mounted below it at the same place: unmount that");
	if (!m->other)
		return 0;
	str_quote(shown, sizeof(shown), m->other);
	return err_set(e, EBUSY, "the same file system is mounted at %s: unmount it there", shown);
}

static int choose_type(const struct blockmount *m, bool readonly, struct blockplan *p,
		       struct err *e)
{
	char shown[80];
	size_t i;

	for (i = 0; i < ARRAY_LEN(guest_types); i++) {
		if (strcmp(guest_types[i].type, m->fstype))
			continue;
		p->guest_type = guest_types[i].type;
		p->guest_data = readonly ? guest_types[i].readonly_data : "";
		return 0;
	}
	str_quote(shown, sizeof(shown), m->fstype);
	return err_set(e, EOPNOTSUPP, "file system %s: the guest's kernel takes ext4, and erofs: have the engine make its devices with ext4 (containerd: fs_type = \"ext4\")",
		       shown);
}

/* An image may lie on more devices than the one that is mounted. */
static int check_erofs(const struct blockmount *m, struct err *e)
{
	if (!strcmp(m->fstype, "erofs") &&
	    (strstr(m->opts.data, "device=") || strstr(m->opts.data, "fsid=")))
		return err_set(e, EOPNOTSUPP, "an EROFS image with further devices or in a cache: not supported: use an image of one device");
	return 0;
}

/**
 * blockplan_make() - decide how a guest gets the device of a mount
 * @readonly: the container must not write to its root
 * @ret:      untouched on failure
 *
 * Return: 0; -EOPNOTSUPP, -EBUSY and others with the reason and what to do
 */
int blockplan_make(const struct blockmount *m, bool readonly, struct blockplan *ret,
		   struct err *e)
{
	struct blockplan p = { .mode = BLOCKPLAN_EXCLUSIVE };
	bool ro = readonly || (m->opts.sb & MS_RDONLY) || (m->opts.mnt & MS_RDONLY) ||
		  !strcmp(m->fstype, "erofs");
	bool shared = m->dev.readonly && (m->opts.sb & MS_RDONLY);
	int rc = choose_type(m, ro, &p, e);

	/* Of options that were not understood nothing is known, not even read-only. */
	if (!rc)
		rc = check_options(m, e);
	if (!rc)
		rc = blockdev_ready(&m->dev, ro, e);
	if (!rc)
		rc = check_erofs(m, e);
	if (!rc && !shared)
		rc = check_mount(m, e);
	if (rc < 0)
		return rc;
	p.readonly_root = ro && !readonly;
	if (shared)
		p.mode = BLOCKPLAN_SHARED;
	else if (ro)
		p.mode = BLOCKPLAN_READONLY;
	*ret = p;
	return 0;
}

/**
 * blockplan_mode_name() - for people and JSON
 */
const char *blockplan_mode_name(enum blockplan_mode mode)
{
	static const char *const names[] = { "exclusive", "exclusive-readonly", "shared-readonly" };

	return names[mode];
}
