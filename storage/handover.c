// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A block device with a file system changes hands: from the host's mount to the
 * guest of a pod, and back. It has one owner at any time, and it is the kernel that
 * sees to that: a mounted file system claims its device, and so does a descriptor
 * that was opened with O_EXCL, which is ours and, as a copy, the monitor's.
 *
 * The way there (handover_take()); a failure at any step goes all the way back:
 * 1. written down in the journal: device, mount point, type, options;
 * 2. the device is opened, so that it stays when the mount goes (a loop device may
 *    be set to go with its last opener: that is turned off for the while, so that a
 *    crash does not lose it);
 * 3. what the host has cached is written: syncfs, whose errors would be lost later;
 * 4. the host's mount is unmounted, at its place and wherever it was propagated to.
 *    A copy in a mount namespace of its own stays, and then
 * 5. the claim fails, and the container is refused. So it is if somebody has the
 *    device open without a claim: device mapper counts openers, and for others
 *    /proc is searched;
 * 6. for a guest that will only read: there must be nothing to replay.
 *
 * The way back (handover_give_back()) begins when the monitor has closed its copy,
 * or is dead: what it wrote is made durable, the claim is dropped, the host mounts
 * as before. If we are killed in between, the journal's undo (handover-record.c)
 * does that.
 *
 * Limits: somebody with privilege who opens the device later without O_EXCL is not
 * kept out; the kernel has no means for that before Linux 6.8. A device that is
 * suspended right between the last look and the unmount holds us up until it is
 * resumed.
 *
 * Sources: open(2) on O_EXCL with block devices; Linux block/bdev.c;
 * Documentation/filesystems/ext4, "Super Block"
 */
#include "storage/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

/* udev and others look into a device for a moment when something about it changes. */
#define PASSING_MS 2000

/* Our own openers while a device is taken: @hold and @fd. */
#define OWN_OPENERS 2

/**
 * struct handover - a device that a guest has, or may have
 * @mode:   as planned
 * @rec:    borrows from the strings, which are owned
 * @mark:   of the journal's record, when @noted
 * @hold:   keeps the device there, owned
 * @fd:     carries the claim, or reads a shared device; owned
 * @unmounted: the host's mount has gone
 */
struct handover {
	enum blockplan_mode mode;
	struct handover_record rec;
	char *source, *point, *fstype, *data;
	struct journal *journal;	/* borrowed */
	size_t mark;
	bool noted, unmounted;
	int hold, fd;
};

static int copy_record(struct handover *h, const struct blockmount *m, bool leave,
		       struct err *e)
{
	struct handover_record *r = &h->rec;

	h->source = strdup(m->source);
	h->point = strdup(m->point);
	h->fstype = strdup(m->fstype);
	h->data = strdup(m->opts.data ? m->opts.data : "");
	if (!h->source || !h->point || !h->fstype || !h->data)
		return err_set(e, ENOMEM, "out of memory");
	*r = (struct handover_record){
		.major = m->dev.major, .minor = m->dev.minor, .seq = m->dev.seq,
		.source = h->source, .point = h->point, .fstype = h->fstype,
		.opts = { .mnt = m->opts.mnt, .sb = m->opts.sb, .data = h->data },
		.bits = (m->shared ? RECORD_SHARED : 0) | (m->slave ? RECORD_SLAVE : 0) |
			(m->dev.autoclear ? RECORD_AUTOCLEAR : 0) | (leave ? RECORD_LEAVE : 0),
	};
	return handover_namespace(&r->ns, e);
}

static int write_caches(const char *point, struct err *e)
{
	_cleanup_close_ int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd) < 0)
		return err_sys(e, "the host could not write its caches");
	return 0;
}

static int unmount(struct handover *h, struct err *e)
{
	struct err why = { 0 };
	char who[200];
	struct statx x;
	int rc;

	if (umount2(h->point, UMOUNT_NOFOLLOW) < 0) {
		if (errno != EBUSY)
			return err_sys(e, "unmount");
		holders_name(h->rec.major, h->rec.minor, true, who, sizeof(who));
		return err_set(e, EBUSY, "its mount is in use%s%s: only a rootfs that nobody on the host uses can be given to a guest",
			       *who ? " by " : "", who);
	}
	h->unmounted = true;
	rc = statx(AT_FDCWD, h->point, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x);
	if (rc || !(x.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return 0;
	/* What is below came after the plan; to the way back it would be a new owner's. */
	h->unmounted = handover_mount_over(&h->rec, &why) != 0;
	return err_set(e, EBUSY, "something else is mounted below it at the same place: unmount that first%s%s",
		       h->unmounted ? "; " : "", why.text);
}

/* Waits for those who pass by. */
static int claim(struct handover *h, const struct blockdev *d, struct err *e)
{
	int flags = (h->mode == BLOCKPLAN_READONLY ? O_RDONLY : O_RDWR) | O_EXCL;
	const struct timespec nap = { .tv_nsec = 50000000 };
	uint64_t end = clock_ms() + PASSING_MS;
	int rc;

	while ((rc = blockdev_open(d, flags, &h->fd, e)) == -EBUSY && clock_ms() < end)
		nanosleep(&nap, NULL);
	return rc == -EBUSY ? blockdev_in_use(h->rec.major, h->rec.minor, e) : rc;
}

static bool alone(const struct blockdev *d)
{
	if (d->kind == BLOCKDEV_DM)
		return dm_openers(d->major, d->minor) == OWN_OPENERS;
	return !holders_count(d->major, d->minor);
}

static int check_alone(const struct handover *h, const struct blockdev *d, struct err *e)
{
	const struct timespec nap = { .tv_nsec = 100000000 };
	uint64_t end = clock_ms() + PASSING_MS;

	while (!alone(d)) {
		if (clock_ms() > end)
			return blockdev_in_use(h->rec.major, h->rec.minor, e);
		nanosleep(&nap, NULL);
	}
	return 0;
}

/* A journal that a guest could not replay. */
static int check_replayed(const struct handover *h, struct err *e)
{
	struct ext2_super_block sb;
	int rc;

	if (h->mode != BLOCKPLAN_READONLY || strcmp(h->fstype, "ext4"))
		return 0;
	rc = handover_super(h->fd, &sb, e);
	if (rc < 0)
		return rc;
	if (sb.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER)
		return err_set(e, EUCLEAN, "its ext4 has a journal to replay, which a read-only guest cannot: mount it writable once on the host");
	return 0;
}

static int take(struct handover *h, const struct blockdev *d, struct err *e)
{
	int rc;

	h->mark = journal_mark(h->journal);
	rc = handover_record_add(&h->rec, h->journal, e);
	if (rc < 0)
		return rc;
	h->noted = true;
	rc = blockdev_open(d, O_RDONLY, &h->hold, e);
	if (!rc && d->autoclear)
		rc = blockdev_autoclear(h->hold, false, e);
	if (!rc)
		rc = write_caches(h->point, e);
	if (!rc)
		rc = unmount(h, e);
	if (!rc)
		rc = claim(h, d, e);
	if (!rc)
		rc = check_alone(h, d, e);
	return rc ? rc : check_replayed(h, e);
}

/* Puts back what was taken so far, and forgets the record where that went well. */
static int put_back(struct handover *h, struct err *e)
{
	int rc = 0;

	fd_close(&h->fd);
	if (h->unmounted && !(h->rec.bits & RECORD_LEAVE))
		rc = handover_mount_back(&h->rec, e);
	if (rc < 0)
		return rc;
	h->unmounted = false;
	if (h->hold >= 0 && (h->rec.bits & RECORD_AUTOCLEAR))
		blockdev_autoclear(h->hold, true, NULL);
	fd_close(&h->hold);
	if (h->noted && journal_retire(h->journal, h->mark, rc ? NULL : e) < 0 && !rc)
		return -e->code;
	h->noted = false;
	return rc;
}

/**
 * handover_take() - take a device from the host, as planned
 * @m:     what is mounted; must be unchanged since it was looked at
 * @leave: do not mount it again afterwards
 * @j:     journal, borrowed until handover_free(); handover_undo() undoes its record
 * @ret:   handover_free(); untouched on failure
 *
 * The caller has closed whatever it has open below the mount.
 *
 * Return: 0; -EBUSY, naming who has it; else minus errno; then the host has it as before,
 * or the journal knows
 * Context: waits for the host's caches to be written
 */
int handover_take(const struct blockmount *m, const struct blockplan *p, bool leave,
		  struct journal *j, struct handover **ret, struct err *e)
{
	struct handover *h = mem_new(struct handover);
	struct err why = { 0 };
	int rc;

	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	h->mode = p->mode;
	h->journal = j;
	h->hold = h->fd = -1;
	/* A failed start gives the mount back whatever is to be done later. */
	rc = copy_record(h, m, leave, e);
	if (!rc)
		rc = p->mode == BLOCKPLAN_SHARED ? blockdev_open(&m->dev, O_RDONLY, &h->fd, e)
						 : take(h, &m->dev, e);
	if (!rc) {
		*ret = h;
		return 0;
	}
	h->rec.bits &= ~RECORD_LEAVE;
	if (put_back(h, &why))
		err_wrap(e, "%s", why.text);
	handover_free(h);
	return rc;
}

/**
 * handover_fd() - descriptor of the device, borrowed; lives until it is given back
 */
int handover_fd(const struct handover *h)
{
	return h->fd;
}

/**
 * handover_give_back() - the guest has let go of the device: the host has it again
 *
 * Return: 0, also when it was given back before; 1: the host has the device, but not
 * the mount, for the reason in @e; minus errno (-EAGAIN while somebody has the device):
 * not now, this can be called again, and the journal keeps it
 * Context: waits some seconds for the device to be free
 */
int handover_give_back(struct handover *h, struct err *e)
{
	struct err sync = { 0 };
	int rc;

	if (h->fd >= 0 && h->mode == BLOCKPLAN_EXCLUSIVE && fsync(h->fd) < 0)
		err_sys(&sync, "what the guest wrote last may be lost: fsync");
	rc = put_back(h, e);
	if (!sync.code)
		return rc;
	if (rc)
		err_wrap(e, "%s", sync.text);
	else
		*e = sync;
	return rc ? rc : 1;
}

/**
 * handover_free() - forget it; what was not given back stays in the journal; NULL is fine
 */
void handover_free(struct handover *h)
{
	if (!h)
		return;
	fd_close(&h->fd);
	fd_close(&h->hold);
	free(h->source);
	free(h->point);
	free(h->fstype);
	free(h->data);
	free(h);
}
