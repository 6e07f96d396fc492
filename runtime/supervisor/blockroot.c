// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A container whose root file system is a block device's: storage/handover.c takes
 * the device from the host; here is what the agent is told of it.
 */
#include <errno.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/supervisor/supervisor.h"

/* Replaces a text of a message. */
static int set(char **field, const char *text, struct err *e)
{
	char *copy = strdup(text);

	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	if (*field != protobuf_c_empty_string)
		free(*field);
	*field = copy;
	return 0;
}

/**
 * blockroot_describe() - tell the agent how to mount the root
 * @fs:     of the message, filled
 * @root:   from storage_map_root()
 * @serial: of the disk
 *
 * Return: 0 or -ENOMEM
 */
int blockroot_describe(Podvm__Rootfs *fs, const struct storage_root *root, const char *serial,
		       struct err *e)
{
	if (root->readonly)
		fs->readonly = true;
	if (root->lower) {
		if (set(&fs->lower_serial, serial, e) < 0 ||
		    set(&fs->lower_type, root->type, e) < 0 ||
		    set(&fs->lower_data, root->data, e) < 0)
			return -ENOMEM;
		return 0;
	}
	fs->disk = mem_new(Podvm__RootDisk);
	if (!fs->disk)
		return err_set(e, ENOMEM, "out of memory");
	podvm__root_disk__init(fs->disk);
	fs->disk->flags = root->flags;
	if (set(&fs->disk->serial, serial, e) < 0 || set(&fs->disk->type, root->type, e) < 0 ||
	    set(&fs->disk->data, root->data, e) < 0)
		return -ENOMEM;
	return 0;
}
