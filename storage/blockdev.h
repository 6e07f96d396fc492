/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_BLOCKDEV_H
#define STORAGE_BLOCKDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/json.h"
#include "storage/dm.h"
#include "storage/mountinfo.h"
#include "storage/mountopt.h"

enum blockdev_kind { BLOCKDEV_DM, BLOCKDEV_LOOP, BLOCKDEV_PARTITION, BLOCKDEV_DISK };

/**
 * struct blockdev - a block device of the host, as sysfs and libdevmapper show it
 * @seq:       number that the kernel gives each disk once (since Linux 5.15); 0: unknown
 * @node:      device node
 * @readonly:  the device refuses writes
 * @autoclear: a loop device that goes when the last one closes it
 * @dm:        when @kind is BLOCKDEV_DM
 * @backing:   file behind a loop device, @whole: disk of a partition; owned, may be NULL
 * @asleep:    name of a suspended device-mapper device below it, owned; NULL: none
 * @holder:    name of a device on top of it, owned; NULL: none
 */
struct blockdev {
	enum blockdev_kind kind;
	uint32_t major, minor;
	uint64_t seq;
	char node[64];
	uint64_t size_bytes;
	bool readonly, autoclear;
	struct dm_device dm;
	char *backing, *whole, *asleep, *holder;
};

/**
 * struct blockmount - the host's mount of a block device; strings are owned
 * @opts:   that it can be mounted again with, when @opts_rc is 0
 * @opts_rc, @opts_why: why it cannot
 * @shared, @slave: propagation of mounts inside
 * @other:  another mount point of the same file system, NULL if there is none
 * @stacked: another mount lies below it at the same place
 */
struct blockmount {
	struct blockdev dev;
	char *source, *point, *fstype;
	struct mount_opts opts;
	int opts_rc;
	struct err opts_why;
	bool shared, slave, stacked;
	char *other;
};

/* How a guest gets the device behind a rootfs. */
enum blockplan_mode {
	BLOCKPLAN_EXCLUSIVE,	/* the host unmounts it; the guest reads and writes it */
	BLOCKPLAN_READONLY,	/* the host unmounts it; the guest only reads it */
	BLOCKPLAN_SHARED,	/* nobody can write it: it is read beside the host's mount */
};

/**
 * struct blockplan - what is to be done, before anything is
 * @guest_type, @guest_data: for the guest's mount
 * @readonly_root: the container must not write, though it did not ask for that
 */
struct blockplan {
	enum blockplan_mode mode;
	const char *guest_type;
	const char *guest_data;
	bool readonly_root;
};

int blockdev_probe(uint32_t major, uint32_t minor, struct blockdev *ret, struct err *e);
void blockdev_done(struct blockdev *d);
const char *blockdev_kind_name(const struct blockdev *d);
int blockdev_open(const struct blockdev *d, int flags, int *ret_fd, struct err *e);
int blockdev_autoclear(int fd, bool on, struct err *e);
int blockdev_in_use(uint32_t major, uint32_t minor, struct err *e);
bool blockdev_same(uint32_t major, uint32_t minor, uint64_t seq);

int blockmount_new(const struct mount_entry *m, char *mountinfo, struct blockmount **ret,
		   struct err *e);
void blockmount_free(struct blockmount *m);

int blockdev_ready(const struct blockdev *d, bool readonly, struct err *e);
int blockplan_make(const struct blockmount *m, bool readonly, struct blockplan *ret,
		   struct err *e);
const char *blockplan_mode_name(enum blockplan_mode mode);

void blockmount_print(const struct blockmount *m);
void blockmount_json(const struct blockmount *m, struct json_out *o);
void blockplan_print(const struct blockplan *p);
void blockplan_json(const struct blockplan *p, struct json_out *o);

/* holders.c */
void holders_name(uint32_t major, uint32_t minor, bool mounted, char *dst, size_t room);
void holders_mount(uint32_t major, uint32_t minor, char *dst, size_t room);
unsigned int holders_count(uint32_t major, uint32_t minor);

#endif
