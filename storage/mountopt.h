/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_MOUNTOPT_H
#define STORAGE_MOUNTOPT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

/**
 * struct mount_opts - options of a mount as mount(2) takes them
 * @mnt: MS_* of the mount itself
 * @sb:  MS_* of the file system (MS_RDONLY, MS_SYNCHRONOUS, …)
 * @data: the file system's own, comma-separated; owned, never NULL
 */
struct mount_opts {
	unsigned long mnt, sb;
	char *data;
};

int mountopt_parse(const char *mnt, const char *super, struct mount_opts *ret, struct err *e);
int mountopt_mount(const struct mount_opts *o, const char *source, const char *point,
		   const char *fstype, struct err *e);

#endif
