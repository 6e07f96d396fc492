// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Names block devices for people by libblkid. The content of a device is not
 * read: a guest may have written it, and what is mounted is known by its mount.
 */
#include "storage/probe.h"

#include <blkid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "lib/mem.h"

/**
 * probe_devname() - device node of a block device
 * @dst: path below /dev; untouched on failure
 *
 * Return: 0 or -ENODEV
 */
int probe_devname(uint32_t major, uint32_t minor, char *dst, size_t room)
{
	_cleanup_free_ char *name = blkid_devno_to_devname(makedev(major, minor));

	if (!name)
		return -ENODEV;
	snprintf(dst, room, "%s", name);
	return 0;
}

/**
 * probe_whole() - name of the disk that a partition is on
 * @dst: such as sda; untouched on failure
 *
 * Return: 0 or -ENODEV
 */
int probe_whole(uint32_t major, uint32_t minor, char *dst, size_t room)
{
	char name[64];
	dev_t whole;

	if (blkid_devno_to_wholedisk(makedev(major, minor), name, sizeof(name), &whole) < 0)
		return -ENODEV;
	snprintf(dst, room, "%s", name);
	return 0;
}
