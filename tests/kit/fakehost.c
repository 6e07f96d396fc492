// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The calls by which a block device changes hands, against a model of the host with
 * the kernel's rules: a mounted file system and a descriptor opened with O_EXCL
 * exclude each other. Each call counts as a step, which may fail, or before which
 * the process may die; so a test that forks keeps the model in shared memory. While kit_host is NULL the real calls are made.
 */
#include "tests/kit/fault.h"
#include "tests/kit/fakehost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "storage/blockdev.h"

struct fakehost *kit_host;
bool kit_no_sync;

int __real_syncfs(int fd);
int __real_fsync(int fd);
int __real_umount2(const char *point, int flags);
int __real_statx(int dir, const char *path, int flags, unsigned int mask, struct statx *x);
int __real_mount(const char *source, const char *point, const char *type, unsigned long flags,
		 const void *data);
int __real_mountopt_mount(const struct mount_opts *o, const char *source, const char *point,
			  const char *fstype, struct err *e);
int __real_blockdev_open(const struct blockdev *d, int flags, int *ret_fd, struct err *e);
int __real_blockdev_autoclear(int fd, bool on, struct err *e);
bool __real_blockdev_same(uint32_t major, uint32_t minor, uint64_t seq);
int __real_blockdev_probe(uint32_t major, uint32_t minor, struct blockdev *ret, struct err *e);
int __real_dm_openers(uint32_t major, uint32_t minor);
void __real_holders_name(uint32_t major, uint32_t minor, bool mounted, char *dst, size_t room);
void __real_holders_mount(uint32_t major, uint32_t minor, char *dst, size_t room);
unsigned int __real_holders_count(uint32_t major, uint32_t minor);
uint64_t __real_clock_ms(void);

int __wrap_syncfs(int fd);
int __wrap_fsync(int fd);
int __wrap_umount2(const char *point, int flags);
int __wrap_statx(int dir, const char *path, int flags, unsigned int mask, struct statx *x);
int __wrap_mount(const char *source, const char *point, const char *type, unsigned long flags,
		 const void *data);
int __wrap_mountopt_mount(const struct mount_opts *o, const char *source, const char *point,
			  const char *fstype, struct err *e);
int __wrap_blockdev_open(const struct blockdev *d, int flags, int *ret_fd, struct err *e);
int __wrap_blockdev_autoclear(int fd, bool on, struct err *e);
bool __wrap_blockdev_same(uint32_t major, uint32_t minor, uint64_t seq);
int __wrap_blockdev_probe(uint32_t major, uint32_t minor, struct blockdev *ret, struct err *e);
int __wrap_dm_openers(uint32_t major, uint32_t minor);
void __wrap_holders_name(uint32_t major, uint32_t minor, bool mounted, char *dst, size_t room);
void __wrap_holders_mount(uint32_t major, uint32_t minor, char *dst, size_t room);
unsigned int __wrap_holders_count(uint32_t major, uint32_t minor);
uint64_t __wrap_clock_ms(void);

static bool fails(void)
{
	struct fakehost *h = kit_host;

	h->steps++;
	if (h->steps == h->kill_at)
		_exit(9);
	if (h->steps != h->fail_at)
		return false;
	errno = h->code;
	return true;
}

/**
 * kit_host_claimed() - whether a descriptor with a claim is open
 */
bool kit_host_claimed(struct fakehost *h)
{
	struct stat st;

	return h->claim_fd > 0 && !fstat(h->claim_fd, &st) && st.st_ino == h->claim_ino;
}

int __wrap_syncfs(int fd)
{
	if (!kit_host)
		/* A test that fails call after call would wait for the whole disk each time. */
		return kit_fault_now(KIT_FAULT_TREE) ? -1 :
		       kit_no_sync || kit_fault_armed(KIT_FAULT_TREE) ? 0 : __real_syncfs(fd);
	return fails() ? -1 : 0;
}

int __wrap_fsync(int fd)
{
	if (!kit_host)
		return kit_fault_now(KIT_FAULT_TREE) ? -1 : kit_no_sync ? 0 : __real_fsync(fd);
	return fails() ? -1 : 0;
}

int __wrap_umount2(const char *point, int flags)
{
	if (!kit_host)
		return kit_fault_now(KIT_FAULT_TREE) ? -1 : __real_umount2(point, flags);
	if (fails())
		return -1;
	if (!kit_host->mounted || strcmp(point, kit_host->point)) {
		errno = EINVAL;
		return -1;
	}
	if (kit_host->busy) {
		errno = EBUSY;
		return -1;
	}
	kit_host->mounted = false;
	return 0;
}

int __wrap_statx(int dir, const char *path, int flags, unsigned int mask, struct statx *x)
{
	struct fakehost *h = kit_host;

	if (!h || strcmp(path, h->point))
		return __real_statx(dir, path, flags, mask, x);
	if (__real_statx(dir, path, flags, mask, x) < 0)
		return -1;
	x->stx_attributes &= ~(uint64_t)STATX_ATTR_MOUNT_ROOT;
	if (h->mounted || h->covered)
		x->stx_attributes |= STATX_ATTR_MOUNT_ROOT;
	if (h->mounted) {
		x->stx_dev_major = 7;
		x->stx_dev_minor = 99;
	}
	return 0;
}

int __wrap_mount(const char *source, const char *point, const char *type, unsigned long flags,
		 const void *data)
{
	if (!kit_host)
		return kit_fault_now(KIT_FAULT_TREE) ? -1 :
			__real_mount(source, point, type, flags, data);
	return fails() ? -1 : 0;
}

int __wrap_mountopt_mount(const struct mount_opts *o, const char *source, const char *point,
			  const char *fstype, struct err *e)
{
	struct fakehost *h = kit_host;

	if (!h)
		return __real_mountopt_mount(o, source, point, fstype, e);
	if (fails())
		return err_sys(e, "mount");
	if (!h->present || h->mounted || strcmp(point, h->point))
		return err_set(e, EINVAL, "mount");
	snprintf(h->data, sizeof(h->data), "%s", o->data);
	if (h->rival || kit_host_claimed(h))
		return err_set(e, EBUSY, "mount");
	h->mounted = true;
	return 0;
}

int __wrap_blockdev_open(const struct blockdev *d, int flags, int *ret_fd, struct err *e)
{
	struct fakehost *h = kit_host;
	uint32_t incompat;
	struct stat st;
	int fd;

	if (!h)
		return __real_blockdev_open(d, flags, ret_fd, e);
	if (fails())
		return err_sys(e, "open");
	if (!h->present)
		return err_set(e, ENXIO, "open");
	if ((flags & O_EXCL) && (h->mounted || h->rival || kit_host_claimed(h)))
		return err_set(e, EBUSY, "open");
	incompat = h->dirty ? 4 : 0;
	fd = memfd_create("device", MFD_CLOEXEC);
	if (fd < 0 || pwrite(fd, "", 1, 4095) != 1 || pwrite(fd, &incompat, 4, 1024 + 0x60) != 4 ||
	    fstat(fd, &st) < 0)
		abort();
	if (flags & O_EXCL) {
		h->claim_fd = fd;
		h->claim_ino = st.st_ino;
	}
	*ret_fd = fd;
	return 0;
}

int __wrap_blockdev_autoclear(int fd, bool on, struct err *e)
{
	if (!kit_host)
		return __real_blockdev_autoclear(fd, on, e);
	if (fails())
		return err_sys(e, "autoclear");
	kit_host->autoclear = on;
	return 0;
}

bool __wrap_blockdev_same(uint32_t major, uint32_t minor, uint64_t seq)
{
	return kit_host ? kit_host->present && seq == 5 : __real_blockdev_same(major, minor, seq);
}

int __wrap_blockdev_probe(uint32_t major, uint32_t minor, struct blockdev *ret, struct err *e)
{
	if (!kit_host)
		return __real_blockdev_probe(major, minor, ret, e);
	if (!kit_host->present)
		return err_set(e, ENODEV, "gone");
	*ret = (struct blockdev){ .kind = BLOCKDEV_LOOP, .major = major, .minor = minor,
				  .seq = 5, .node = "/dev/loop99", .size_bytes = 8192,
				  .autoclear = kit_host->autoclear };
	if (kit_host->node)
		snprintf(ret->node, sizeof(ret->node), "%s", kit_host->node);
	if (kit_host->asleep)
		ret->asleep = strdup("sleeper");
	return 0;
}

int __wrap_dm_openers(uint32_t major, uint32_t minor)
{
	return kit_host ? (int)kit_host->onlookers + 2 : __real_dm_openers(major, minor);
}

void __wrap_holders_name(uint32_t major, uint32_t minor, bool mounted, char *dst, size_t room)
{
	if (!kit_host)
		__real_holders_name(major, minor, mounted, dst, room);
	else
		snprintf(dst, room, "%s", kit_host->onlookers || kit_host->busy ? "\"cat\" (pid 7)" : "");
}

void __wrap_holders_mount(uint32_t major, uint32_t minor, char *dst, size_t room)
{
	if (!kit_host)
		__real_holders_mount(major, minor, dst, room);
	else
		*dst = 0;
}

unsigned int __wrap_holders_count(uint32_t major, uint32_t minor)
{
	return kit_host ? kit_host->onlookers : __real_holders_count(major, minor);
}

/* Each look at the clock is half a second of waiting. */
uint64_t __wrap_clock_ms(void)
{
	return kit_host ? kit_host->ms += 500 : __real_clock_ms();
}
