/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SOURCE_H
#define STORAGE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "storage/blockdev.h"
#include "storage/overlay.h"

enum source_kind {
	SOURCE_OVERLAY,	/* the root of an overlay mount */
	SOURCE_BLOCK,	/* the root of a mount of a block device */
	SOURCE_PLAIN,	/* a directory inside some mount */
	SOURCE_OTHER,	/* the root of any other mount */
};

/**
 * struct source - what is behind a directory; strings are owned
 * @kind:    see enum source_kind
 * @path:    as asked
 * @point:   mount point of the mount that it is on
 * @root:    directory of the file system that is the mount's root
 * @fstype:  type of the file system
 * @device:  for people: what the file system is on
 * @id, @opts, @super, @from: of the mount, as struct mount_entry has them
 * @nested:  a mount point below it, NULL if there is none
 * @block:   the device and its mount, if SOURCE_BLOCK
 * @overlay: stack with open layers, if SOURCE_OVERLAY
 * @fd:      the directory, O_RDONLY
 */
struct source {
	enum source_kind kind;
	char *path;
	char *point;
	char *root;
	char *fstype;
	char *device;
	uint64_t id;
	char *opts, *super, *from;
	char *nested;
	struct blockmount *block;
	struct overlay *overlay;
	int fd;
};

int source_probe(const char *path, struct source **ret, struct err *e);
int source_check(const struct source *s, struct err *e);
const char *source_kind_name(enum source_kind kind);
void source_free(struct source *s);

#endif
