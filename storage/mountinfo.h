/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_MOUNTINFO_H
#define STORAGE_MOUNTINFO_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct mount_entry - one line of /proc/self/mountinfo; strings are borrowed from it
 * @id:     of the mount
 * @parent: mount that this one is mounted in
 * @major, @minor: st_dev of its files
 * @root:   directory of the file system that is the mount's root; decoded
 * @point:  mount point seen from our root; decoded
 * @fstype: such as overlay; decoded
 * @opts:   options of the mount, such as rw,relatime
 * @shared, @slave: how mounts inside it propagate; neither: private or unbindable
 * @source: such as /dev/dm-3; decoded, may be empty
 * @super:  file system options, still encoded: decode after splitting
 */
struct mount_entry {
	uint64_t id, parent;
	uint32_t major, minor;
	char *root, *point, *opts, *fstype, *source, *super;
	bool shared, slave;
};

int mountinfo_decode(char *s);
int mountinfo_parse(char *line, struct mount_entry *ret);
int mountinfo_find(char *text, uint64_t id, struct mount_entry *ret);
int mountinfo_child(char *text, uint64_t id, struct mount_entry *ret);
int mountinfo_other(char *text, uint64_t id, uint32_t major, uint32_t minor,
		    struct mount_entry *ret);

#endif
