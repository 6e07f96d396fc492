// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The way back of a hand-over (storage/handover.c), from what is written down about
 * it: after an orderly end, and by another process after a crash. It may be walked
 * any number of times, at any stage of the way there. What counts is what is the
 * case now: the mount is there (nothing was done yet, or all is done), the place or
 * the device has gone (whoever removed it has decided), something else has been
 * mounted there, or the device lies free and is mounted again. The number of a
 * device may be another one's by then: the disk's sequence number tells.
 *
 * Who has the device, a file system or an opener with O_EXCL, the kernel lets be
 * one at a time; so a mount that fails with EBUSY has come too early, before the
 * last descriptor of the monitor was closed, or too late, after somebody else
 * took it. It is tried for a while; then the record stays, and it is tried again
 * later. The undo of the journal comes when the monitor has ended, so that it can
 * only be too late: it gives up.
 *
 * The file system was written by a guest. If the host's kernel does not take it,
 * that is the end of it, said to a person, and no reason to try for ever.
 */
#include "storage/handover.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

/* How long a device may still be held by a process that has just ended. */
#define FREE_MS 5000

#define KIND "handover"

/**
 * handover_namespace() - inode of our mount namespace
 *
 * Return: 0 or minus errno
 */
int handover_namespace(uint64_t *ret, struct err *e)
{
	struct stat st;

	if (stat("/proc/self/ns/mnt", &st) < 0)
		return err_sys(e, "/proc/self/ns/mnt");
	*ret = st.st_ino;
	return 0;
}

/**
 * handover_record_add() - write down what is going to be given up
 *
 * Return: 0 or minus errno: then do not
 */
int handover_record_add(const struct handover_record *r, struct journal *j, struct err *e)
{
	char device[64], flags[64], ns[24];

	snprintf(device, sizeof(device), "%u:%u/%llu", r->major, r->minor,
		 (unsigned long long)r->seq);
	snprintf(flags, sizeof(flags), "%lx/%lx/%x", r->opts.mnt, r->opts.sb, r->bits);
	snprintf(ns, sizeof(ns), "%llu", (unsigned long long)r->ns);
	return journal_add(j, e, KIND, device, r->source, r->point, r->fstype, flags,
			   r->opts.data, ns, NULL);
}

/**
 * handover_record_parse() - read it back
 * @ret: borrows from @j; untouched on failure
 *
 * Return: 0 or -EINVAL
 */
int handover_record_parse(const struct journal_rec *j, struct handover_record *ret,
			  struct err *e)
{
	struct handover_record r = { 0 };
	unsigned long long seq;
	int end_device = 0, end_flags = 0;

	if (j->n != 8 ||
	    sscanf(j->word[1], "%u:%u/%llu%n", &r.major, &r.minor, &seq, &end_device) != 3 ||
	    j->word[1][end_device] || j->word[3][0] != '/' ||
	    sscanf(j->word[5], "%lx/%lx/%x%n", &r.opts.mnt, &r.opts.sb, &r.bits, &end_flags) != 3 ||
	    j->word[5][end_flags] || parse_u64(j->word[7], &r.ns) < 0)
		return err_set(e, EINVAL, "journal: damaged %s record", KIND);
	r.seq = seq;
	r.source = j->word[2];
	r.point = j->word[3];
	r.fstype = j->word[4];
	r.opts.data = (char *)(uintptr_t)j->word[6];
	*ret = r;
	return 0;
}

enum place { PLACE_FREE, PLACE_GONE, PLACE_OURS, PLACE_TAKEN };

/* What is at the mount point now. */
static enum place look(const struct handover_record *r)
{
	struct statx x;

	if (statx(AT_FDCWD, r->point, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
		  STATX_TYPE, &x) < 0 || !S_ISDIR(x.stx_mode))
		return PLACE_GONE;
	if (!(x.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return PLACE_FREE;
	return x.stx_dev_major == r->major && x.stx_dev_minor == r->minor ? PLACE_OURS
									    : PLACE_TAKEN;
}

/* The name that the mount had, if it still leads to the device. */
static const char *source_of(const struct handover_record *r, const char *node)
{
	struct stat st;

	if (r->source[0] == '/' && !stat(r->source, &st) && S_ISBLK(st.st_mode) &&
	    st.st_rdev == makedev(r->major, r->minor))
		return r->source;
	return node;
}

/**
 * handover_super() - the superblock of an ext4 file system, as its writer left it
 * @fd: the device, borrowed
 *
 * Return: 0 or minus errno
 */
int handover_super(int fd, struct ext2_super_block *ret, struct err *e)
{
	ssize_t n = pread(fd, ret, sizeof(*ret), SUPERBLOCK_OFFSET);

	if (n == sizeof(*ret))
		return 0;
	return n < 0 ? err_sys(e, "superblock") : err_set(e, EIO, "superblock: the device ends in it");
}

/*
 * Whether the superblock, which is the guest's by now, says no more of what the host's
 * kernel shall do about an error than what does no harm: ext4 knows "panic", too.
 */
static bool is_tame(const char *source)
{
	_cleanup_close_ int fd = open(source, O_RDONLY | O_CLOEXEC);
	struct ext2_super_block sb;

	return fd >= 0 && handover_super(fd, &sb, NULL) >= 0 &&
	       (sb.s_errors == EXT2_ERRORS_CONTINUE || sb.s_errors == EXT2_ERRORS_RO) &&
	       !sb.s_mount_opts[0];
}

/* The options of the mount, malloc'd; NULL when memory is short. The last word wins. */
static char *safe_data(const struct handover_record *r, const char *source)
{
	const char *data = r->opts.data;
	char *text;

	if (strcmp(r->fstype, "ext4") != 0 ||
	    (!strstr(data, "errors=panic") && (strstr(data, "errors=") || is_tame(source))))
		return strdup(data);
	return asprintf(&text, "%s%serrors=remount-ro", data, *data ? "," : "") < 0 ? NULL : text;
}

static int mount_free(const struct handover_record *r, const char *source, struct err *e)
{
	const struct timespec nap = { .tv_nsec = 20000000 };
	_cleanup_free_ char *data = safe_data(r, source);
	uint64_t end = clock_ms() + FREE_MS;
	struct mount_opts o = r->opts;
	int rc;

	if (!data)
		return err_set(e, ENOMEM, "out of memory");
	o.data = data;
	while ((rc = mountopt_mount(&o, source, r->point, r->fstype, e)) == -EBUSY &&
	       clock_ms() < end)
		nanosleep(&nap, NULL);
	if (rc < 0 || (r->bits & RECORD_SHARED))
		return rc;
	if (mount(NULL, r->point, NULL, r->bits & RECORD_SLAVE ? MS_SLAVE : MS_PRIVATE, NULL) < 0)
		return err_sys(e, "mount of %s: propagation", source);
	return 0;
}

/* The device is there and nobody waits for its I/O in vain. Return: as handover_mount_over() */
static int mount_device(const struct handover_record *r, const struct blockdev *d, struct err *e)
{
	char point[256], who[200];
	int rc = mount_free(r, source_of(r, d->node), e);

	if (rc >= 0)
		return 0;
	str_quote(point, sizeof(point), r->point);
	if (rc == -EBUSY) {
		holders_name(r->major, r->minor, false, who, sizeof(who));
		return err_set(e, EAGAIN, "%s was not mounted again at %s: it is in use%s%s",
			       d->node, point, *who ? " by " : "", who);
	}
	err_wrap(e, "%s was not mounted again at %s; the device is free: check it with fsck",
		 d->node, point);
	return 1;
}

/**
 * handover_mount_over() - the host's mount as it was, over whatever is at its place
 *
 * Return: 0: it is there, or its device has gone; 1: it is not, for the reason in @e,
 * and will not be; not now: -EBUSY while the device is suspended, -EAGAIN while
 * somebody else has it
 * Context: waits some seconds for the device
 */
int handover_mount_over(const struct handover_record *r, struct err *e)
{
	struct blockdev d = { 0 };
	char shown[256];
	int rc;

	if (!blockdev_same(r->major, r->minor, r->seq) ||
	    blockdev_probe(r->major, r->minor, &d, e) < 0)
		return 0;
	if (d.asleep) {
		str_quote(shown, sizeof(shown), d.asleep);
		rc = err_set(e, EBUSY, "device %s is suspended: dmsetup resume it, so that %s can be mounted again",
			     shown, r->point);
	} else {
		rc = mount_device(r, &d, e);
	}
	blockdev_done(&d);
	return rc;
}

/**
 * handover_mount_back() - the host's mount as it was, if that makes sense now
 *
 * Return: 0: it is there, or is not wanted any more; else as handover_mount_over()
 * Context: waits some seconds for the device
 */
int handover_mount_back(const struct handover_record *r, struct err *e)
{
	char shown[256];

	switch (look(r)) {
	case PLACE_GONE:
	case PLACE_OURS:
		return 0;
	case PLACE_TAKEN:
		str_quote(shown, sizeof(shown), r->point);
		err_set(e, EBUSY, "%s: another file system was mounted there meanwhile: %s was not mounted again",
			shown, r->source);
		return 1;
	case PLACE_FREE:
		break;
	}
	return handover_mount_over(r, e);
}

/* Whether any process is in a mount namespace; a pid of it. */
static pid_t find_namespace(uint64_t ns)
{
	DIR *all = opendir("/proc");
	struct dirent *ent;
	pid_t found = 0;

	while (all && !found && (ent = readdir(all))) {
		char path[300];
		struct stat st;

		if (!isdigit((unsigned char)ent->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/mnt", ent->d_name);
		if (!stat(path, &st) && st.st_ino == ns)
			found = (pid_t)strtol(ent->d_name, NULL, 10);
	}
	if (all)
		closedir(all);
	return found;
}

/* A loop device was kept from going with its last opener; it may go again. */
static void restore_autoclear(const struct handover_record *r)
{
	_cleanup_close_ int fd = -1;
	struct blockdev d = { 0 };

	if (!(r->bits & RECORD_AUTOCLEAR) || !blockdev_same(r->major, r->minor, r->seq) ||
	    blockdev_probe(r->major, r->minor, &d, NULL) < 0)
		return;
	if (!blockdev_open(&d, O_RDONLY, &fd, NULL))
		blockdev_autoclear(fd, true, NULL);
	blockdev_done(&d);
}

/**
 * handover_undo() - undo what a record of the journal says; may be repeated
 *
 * Return: 0; 1: nothing more to do, but the mount is not there, for the reason in @e;
 * minus errno: try again
 */
int handover_undo(const struct journal_rec *j, struct err *e)
{
	struct handover_record r;
	uint64_t ns = 0;
	pid_t pid;
	int rc = handover_record_parse(j, &r, e);

	if (!rc)
		rc = handover_namespace(&ns, e);
	if (rc < 0)
		return rc;
	if (ns != r.ns) {
		pid = find_namespace(r.ns);
		if (pid)
			return err_set(e, EXDEV, "the mount at %s belongs to another mount namespace: run nsenter -t %d -m podvm list",
				       r.point, pid);
		return 0;
	}
	rc = r.bits & RECORD_LEAVE ? 0 : handover_mount_back(&r, e);
	if (rc == -EAGAIN)
		rc = 1; /* it is not the monitor, and may stay for ever */
	if (rc >= 0)
		restore_autoclear(&r);
	return rc;
}
