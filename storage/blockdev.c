// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a block device is, without opening it: an open of a device whose I/O hangs
 * may hang as well. sysfs has its name, size, the device below and on top of it,
 * and the file of a loop device; libdevmapper the rest (storage/dm.c). Whether
 * anything below it is suspended is followed down through sysfs, since I/O to a
 * linear device on a suspended thin device waits just as long.
 *
 * Its content is not looked at: a guest may have written it.
 *
 * Source: Linux Documentation/ABI/{stable,testing}/sysfs-block, loop(4)
 */
#include "storage/blockdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/probe.h"

#define SYS_DEV "/sys/dev/block"

/* Devices below devices: more is a loop of names, or a setup that nobody made. */
#define DEPTH_MAX 16

#define SECTOR_BYTES 512u

/* One line of sysfs without its newline; NULL when there is no such file. */
static char *line_of(const char *dir, const char *name)
{
	char path[400];
	char *text;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
		return NULL;
	text[strcspn(text, "\n")] = 0;
	return text;
}

static uint64_t number_of(const char *dir, const char *name)
{
	_cleanup_free_ char *text = line_of(dir, name);
	uint64_t v = 0;

	if (text)
		parse_u64(text, &v);
	return v;
}

static int take_node(const char *dir, struct blockdev *d, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char path[300], *at;
	int rc;

	snprintf(path, sizeof(path), "%s/uevent", dir);
	rc = file_read(AT_FDCWD, path, 65536, &text, NULL, NULL);
	at = rc < 0 ? NULL : strstr(text, "DEVNAME=");
	if (!at)
		return err_set(e, ENODEV, "block device %u:%u is gone", d->major, d->minor);
	at += strlen("DEVNAME=");
	at[strcspn(at, "\n")] = 0;
	if (snprintf(d->node, sizeof(d->node), "/dev/%s", at) >= (int)sizeof(d->node))
		return err_set(e, ENAMETOOLONG, "block device %u:%u: name too long", d->major,
			       d->minor);
	return 0;
}

/* First entry of a folder such as holders; NULL: empty. */
static char *first_entry(const char *dir, const char *folder)
{
	char path[300], *found = NULL;
	struct dirent *ent;
	DIR *list;

	snprintf(path, sizeof(path), "%s/%s", dir, folder);
	list = opendir(path);
	while (list && !found && (ent = readdir(list)))
		if (ent->d_name[0] != '.')
			found = strdup(ent->d_name);
	if (list)
		closedir(list);
	return found;
}

/* Name of a suspended device at @dir or below; NULL: none. */
static char *find_asleep(const char *dir, unsigned int depth)
{
	_cleanup_free_ char *asleep = line_of(dir, "dm/suspended");
	char path[300], *found = NULL;
	struct dirent *ent;
	DIR *list;

	if (asleep && !strcmp(asleep, "1"))
		return line_of(dir, "dm/name");
	snprintf(path, sizeof(path), "%s/slaves", dir);
	list = depth < DEPTH_MAX ? opendir(path) : NULL;
	while (list && !found && (ent = readdir(list))) {
		if (ent->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/class/block/%.200s", ent->d_name);
		found = find_asleep(path, depth + 1);
	}
	if (list)
		closedir(list);
	return found;
}

static enum blockdev_kind kind_of(const char *dir)
{
	static const struct {
		const char *file;
		enum blockdev_kind kind;
	} signs[] = {
		{ "dm", BLOCKDEV_DM },
		{ "loop", BLOCKDEV_LOOP },
		{ "partition", BLOCKDEV_PARTITION },
	};
	char path[300];
	size_t i;

	for (i = 0; i < ARRAY_LEN(signs); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, signs[i].file);
		if (!access(path, F_OK))
			return signs[i].kind;
	}
	return BLOCKDEV_DISK;
}

static uint64_t seq_of(const char *dir)
{
	uint64_t seq = number_of(dir, "diskseq");

	return seq ? seq : number_of(dir, "../diskseq");
}

/**
 * blockdev_probe() - what a block device is
 * @ret: blockdev_done(); untouched on failure
 *
 * Return: 0; -ENODEV when there is none; minus errno
 * Context: does not open the device, nor wait for its I/O
 */
int blockdev_probe(uint32_t major, uint32_t minor, struct blockdev *ret, struct err *e)
{
	struct blockdev d = { .major = major, .minor = minor };
	char dir[64], whole[64];
	int rc;

	snprintf(dir, sizeof(dir), SYS_DEV "/%u:%u", major, minor);
	rc = take_node(dir, &d, e);
	if (rc < 0)
		return rc;
	d.kind = kind_of(dir);
	d.seq = seq_of(dir);
	d.size_bytes = number_of(dir, "size") * SECTOR_BYTES;
	d.readonly = number_of(dir, "ro");
	d.holder = first_entry(dir, "holders");
	d.asleep = find_asleep(dir, 0);
	if (d.kind == BLOCKDEV_LOOP) {
		d.autoclear = number_of(dir, "loop/autoclear");
		d.backing = line_of(dir, "loop/backing_file");
	}
	if (d.kind == BLOCKDEV_PARTITION && !probe_whole(major, minor, whole, sizeof(whole)))
		d.whole = strdup(whole);
	if (d.kind == BLOCKDEV_DM) {
		rc = dm_query(major, minor, &d.dm, e);
		if (rc < 0) {
			blockdev_done(&d);
			return rc;
		}
	}
	*ret = d;
	return 0;
}

/**
 * blockdev_done() - free what a probe made; zeros are fine
 */
void blockdev_done(struct blockdev *d)
{
	free(d->backing);
	free(d->whole);
	free(d->asleep);
	free(d->holder);
	d->backing = d->whole = d->asleep = d->holder = NULL;
}

/**
 * blockdev_kind_name() - for people and JSON; of a device-mapper device its target
 */
const char *blockdev_kind_name(const struct blockdev *d)
{
	static const char *const names[] = { NULL, "loop", "partition", "disk" };

	if (d->kind != BLOCKDEV_DM)
		return names[d->kind];
	return d->dm.type[0] ? d->dm.type : "no table";
}

/**
 * blockdev_same() - whether a device number still means the same disk
 * @seq: of the probe; 0: only whether there is a device of that number
 */
bool blockdev_same(uint32_t major, uint32_t minor, uint64_t seq)
{
	char dir[64];

	snprintf(dir, sizeof(dir), SYS_DEV "/%u:%u", major, minor);
	return !access(dir, F_OK) && (!seq || seq_of(dir) == seq);
}

/**
 * blockdev_open() - open a device, and make sure that it is that one
 * @flags:  of open(2); O_CLOEXEC is added, and O_NONBLOCK for the open itself
 * @ret_fd: owned by the caller; untouched on failure
 *
 * Return: 0; -EBUSY with O_EXCL when something else holds it; minus errno
 */
int blockdev_open(const struct blockdev *d, int flags, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = open(d->node, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_sys(e, "%s", d->node);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", d->node);
	if (!S_ISBLK(st.st_mode) || st.st_rdev != makedev(d->major, d->minor) ||
	    !blockdev_same(d->major, d->minor, d->seq))
		return err_set(e, ENODEV, "%s is not block device %u:%u any more", d->node,
			       d->major, d->minor);
	if (fcntl(fd, F_SETFL, flags & (O_DIRECT | O_APPEND)) < 0)
		return err_sys(e, "%s: fcntl", d->node);
	*ret_fd = fd_steal(&fd);
	return 0;
}

/**
 * blockdev_autoclear() - whether a loop device goes with its last opener
 * @fd: of the loop device, borrowed
 *
 * Return: 0 or minus errno
 */
int blockdev_autoclear(int fd, bool on, struct err *e)
{
	struct loop_info64 info;

	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return err_sys(e, "loop device: LOOP_GET_STATUS64");
	if (on == !!(info.lo_flags & LO_FLAGS_AUTOCLEAR))
		return 0;
	info.lo_flags ^= LO_FLAGS_AUTOCLEAR;
	if (ioctl(fd, LOOP_SET_STATUS64, &info) < 0)
		return err_sys(e, "loop device: LOOP_SET_STATUS64");
	return 0;
}

/**
 * blockdev_in_use() - the words for a device that something else has
 *
 * Return: -EBUSY
 */
int blockdev_in_use(uint32_t major, uint32_t minor, struct err *e)
{
	char who[200], where[200];

	holders_name(major, minor, false, who, sizeof(who));
	if (*who)
		return err_set(e, EBUSY, "the device is open elsewhere, by %s", who);
	holders_mount(major, minor, where, sizeof(where));
	if (*where)
		return err_set(e, EBUSY, "the device is open elsewhere: it is mounted in the mount namespace of %s",
			       where);
	return err_set(e, EBUSY, "the device is open elsewhere: by the kernel (swap, a partition of it, another mount), or a process that hides");
}

/* ---- the host's mount of one ----------------------------------------------- */

static int fill_mount(struct blockmount *b, const struct mount_entry *m, char *mountinfo,
		      struct err *e)
{
	_cleanup_free_ char *again = strdup(mountinfo);
	struct mount_entry other, parent;
	int rc = blockdev_probe(m->major, m->minor, &b->dev, e);

	if (rc < 0)
		return rc;
	if (!again)
		return err_set(e, ENOMEM, "out of memory");
	b->stacked = !mountinfo_find(again, m->parent, &parent) &&
		     !strcmp(parent.point, m->point);
	b->source = strdup(m->source);
	b->point = strdup(m->point);
	b->fstype = strdup(m->fstype);
	b->shared = m->shared;
	b->slave = m->slave;
	b->opts_rc = mountopt_parse(m->opts, m->super, &b->opts, &b->opts_why);
	rc = mountinfo_other(mountinfo, m->id, m->major, m->minor, &other);
	if (rc != -ENOENT)
		b->other = strdup(rc ? "(a malformed line of mountinfo)" : other.point);
	if (!b->source || !b->point || !b->fstype || (rc != -ENOENT && !b->other))
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}

/**
 * blockmount_new() - all about the host's mount of a block device
 * @m:         its line
 * @mountinfo: all lines, to look for other mounts; is cut up
 * @ret:       blockmount_free(); untouched on failure
 *
 * Return: 0; -ENODEV; minus errno
 */
int blockmount_new(const struct mount_entry *m, char *mountinfo, struct blockmount **ret,
		   struct err *e)
{
	struct blockmount *b = mem_new(struct blockmount);
	int rc;

	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	rc = fill_mount(b, m, mountinfo, e);
	if (rc < 0) {
		blockmount_free(b);
		return rc;
	}
	*ret = b;
	return 0;
}

/**
 * blockmount_free() - NULL is fine
 */
void blockmount_free(struct blockmount *m)
{
	if (!m)
		return;
	blockdev_done(&m->dev);
	free(m->source);
	free(m->point);
	free(m->fstype);
	free(m->opts.data);
	free(m->other);
	free(m);
}
