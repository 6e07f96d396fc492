// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What is behind a directory is decided by the mount that it is on (statx mount
 * id, looked up in mountinfo), never by its device number: a directory on the
 * host's own volume has that volume's number, and must not hand the volume to a
 * guest. Probing only looks; source_check() then says whether the rootfs can be
 * mapped to disks, or why not. The root of an overlay mount can be, and that of a
 * block device's file system which is mounted there and nowhere else
 * (storage/blockplan.c); and only without mounts inside: a disk shows the layers
 * or the file system, and would silently lack them. What cannot be mapped, and is no
 * block device, can still be shared.
 */
#include "storage/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/dm.h"
#include "storage/mountinfo.h"
#include "storage/probe.h"

/* A node with 10,000 mounts of long overlay options stays below it. */
#define MOUNTINFO_BYTES_MAX (64u << 20)

static bool is_block(const struct mount_entry *m)
{
	struct stat st;

	/* Some file systems (btrfs) use an anonymous number over a block device. */
	return m->major || (m->source[0] == '/' && !stat(m->source, &st) &&
			    S_ISBLK(st.st_mode));
}

static enum source_kind kind_of(const struct mount_entry *m, bool mount_root)
{
	if (!mount_root || strcmp(m->root, "/"))
		return SOURCE_PLAIN;
	if (!strcmp(m->fstype, "overlay"))
		return SOURCE_OVERLAY;
	return is_block(m) ? SOURCE_BLOCK : SOURCE_OTHER;
}

static char *describe_device(const struct mount_entry *m)
{
	char name[256] = "", shown[256], *text;
	struct dm_device dm = { 0 };
	uint32_t major_nr = m->major, minor_nr = m->minor;
	struct stat st;

	if (!major_nr && is_block(m) && !stat(m->source, &st)) {
		major_nr = major(st.st_rdev);
		minor_nr = minor(st.st_rdev);
	}
	if (!major_nr) {
		str_quote(shown, sizeof(shown), m->source);
		return strdup(shown);
	}
	probe_devname(major_nr, minor_nr, name, sizeof(name));
	if (!name[0])
		snprintf(name, sizeof(name), "unnamed block device");
	if (dm_query(major_nr, minor_nr, &dm, NULL) < 0)
		return strdup(name);
	str_quote(shown, sizeof(shown), dm.name);
	if (asprintf(&text, "%s, device mapper %s (%s)", name, shown,
		     dm.type[0] ? dm.type : "no table") < 0)
		return NULL;
	return text;
}

/* Fills @s from its mount; @text is cut up. */
static int fill(struct source *s, char *text, uint64_t mount_id, bool mount_root,
		struct err *e)
{
	_cleanup_free_ char *again = strdup(text), *third = strdup(text);
	struct mount_entry m, child;
	int rc;

	if (!again || !third)
		return err_set(e, ENOMEM, "out of memory");
	rc = mountinfo_find(text, mount_id, &m);
	if (rc < 0)
		return err_set(e, -rc, "its mount is %s /proc/self/mountinfo: is it in another mount namespace?",
			       rc == -ENOENT ? "not in" : "malformed in");
	s->kind = kind_of(&m, mount_root);
	s->point = strdup(m.point);
	s->root = strdup(m.root);
	s->fstype = strdup(m.fstype);
	s->device = describe_device(&m);
	s->id = mount_id;
	s->opts = strdup(m.opts);
	s->super = strdup(m.super);
	s->from = strdup(m.source);
	if (!s->point || !s->root || !s->fstype || !s->device || !s->opts || !s->super ||
	    !s->from)
		return err_set(e, ENOMEM, "out of memory");
	if (s->kind != SOURCE_PLAIN) {
		rc = mountinfo_child(again, mount_id, &child);
		if (rc != -ENOENT) {
			s->nested = strdup(rc ? "(malformed)" : child.point);
			if (!s->nested)
				return err_set(e, ENOMEM, "out of memory");
		}
	}
	if (s->kind == SOURCE_BLOCK && m.major)
		return blockmount_new(&m, third, &s->block, e);
	if (s->kind != SOURCE_OVERLAY)
		return 0;
	rc = overlay_parse(m.super, &s->overlay, e);
	return rc < 0 ? rc : overlay_open(s->overlay, s->point, e);
}

/**
 * source_probe() - look what is behind a directory
 * @path: directory
 * @ret:  owned by the caller, source_free(); untouched on failure
 *
 * Return: 0 or minus errno; an overlay whose layers cannot be found is a failure
 */
int source_probe(const char *path, struct source **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct source *s = mem_new(struct source);
	char shown[256];
	struct statx sx;
	int rc;

	str_quote(shown, sizeof(shown), path);
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->fd < 0) {
		rc = err_sys(e, "rootfs %s", shown);
		goto fail;
	}
	s->path = strdup(path);
	if (!s->path) {
		rc = err_set(e, ENOMEM, "out of memory");
		goto fail;
	}
	if (statx(s->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &sx) < 0) {
		rc = err_sys(e, "rootfs %s: statx", shown);
		goto fail;
	}
	if (!(sx.stx_mask & STATX_MNT_ID) ||
	    !(sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)) {
		rc = err_set(e, EOPNOTSUPP, "statx tells no mount id: needs Linux 5.8");
		goto fail;
	}
	rc = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_BYTES_MAX, &text,
		       NULL, e);
	if (!rc)
		rc = fill(s, text, sx.stx_mnt_id,
			  sx.stx_attributes & STATX_ATTR_MOUNT_ROOT, e);
	if (rc < 0) {
		err_wrap(e, "rootfs %s", shown);
		goto fail;
	}
	*ret = s;
	return 0;
fail:
	source_free(s);
	return rc;
}

static int check_block(const struct source *s, struct err *e)
{
	struct blockplan plan;
	char shown[256];
	int rc;

	str_quote(shown, sizeof(shown), s->path);
	if (!s->block)
		return err_set(e, EOPNOTSUPP, "rootfs %s: is a mount of %s (%s), which the guest's kernel does not take: use ext4, or an overlay storage driver",
			       shown, s->device, s->fstype);
	rc = blockplan_make(s->block, false, &plan, e);
	return rc < 0 ? err_wrap(e, "rootfs %s: is a mount of %s", shown, s->device) : 0;
}

/**
 * source_check() - whether a rootfs can be mapped to disks
 *
 * Return: 0; -EOPNOTSUPP with the reason: virtio-fs can share it, but for a block
 * device; -EBUSY for one with mounts inside; what blockplan_make() says
 */
int source_check(const struct source *s, struct err *e)
{
	char shown[256], point[256], nested[256];

	str_quote(shown, sizeof(shown), s->path);
	str_quote(point, sizeof(point), s->point);
	switch (s->kind) {
	case SOURCE_OVERLAY:
	case SOURCE_BLOCK:
		if (!s->nested)
			return s->kind == SOURCE_BLOCK ? check_block(s, e) : 0;
		str_quote(nested, sizeof(nested), s->nested);
		if (s->kind == SOURCE_BLOCK)
			return err_set(e, EBUSY, "rootfs %s: %s is mounted inside it and would be missing in the guest: unmount it, or give it as a mount of the container",
				       shown, nested);
		return err_set(e, EOPNOTSUPP, "rootfs %s: is an overlay with mounts inside it (%s), which a disk would lack",
			       shown, nested);
	case SOURCE_PLAIN:
		return err_set(e, EOPNOTSUPP, "rootfs %s: is a directory inside the %s mount at %s, not the root of a mount: no disk of it can be made",
			       shown, s->fstype, point);
	case SOURCE_OTHER:
		break;
	}
	return err_set(e, EOPNOTSUPP, "rootfs %s: is a mount of type %s, of which no disk can be made",
		       shown, s->fstype);
}

/**
 * source_kind_name() - for people and JSON
 */
const char *source_kind_name(enum source_kind kind)
{
	static const char *const names[] = { "overlay", "block-device",
					     "plain-directory", "other" };

	return names[kind];
}

/**
 * source_free() - close and free; NULL is fine
 */
void source_free(struct source *s)
{
	if (!s)
		return;
	overlay_free(s->overlay);
	blockmount_free(s->block);
	fd_close(&s->fd);
	free(s->path);
	free(s->point);
	free(s->root);
	free(s->fstype);
	free(s->device);
	free(s->opts);
	free(s->super);
	free(s->from);
	free(s->nested);
	free(s);
}
