// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A block device of the host that a container asks for as a device (Kubernetes:
 * volumeDevices): opened once with a claim, O_EXCL, so that no file system of the
 * host, no RAID, no LVM and no other pod uses it meanwhile. Somebody who only holds
 * it open is no hindrance: kubelet keeps a loop device on it to pin it. What is on it
 * is nobody's business here. There is nothing to undo: the claim goes with the
 * last descriptor.
 */
#include <errno.h>
#include <fcntl.h>

#include "lib/fd.h"
#include "storage/blockdev.h"
#include "storage/storage.h"

/**
 * storage_rawvol_open() - claim a block device of the host
 * @readonly: it must not be written
 * @ret_fd:   owned by the caller, who gives the claim back by closing it and its copies;
 *            untouched on failure
 *
 * Return: 0; -EBUSY, naming who has it; -ENODEV; else minus errno
 * Context: does not wait for a suspended device
 */
int storage_rawvol_open(uint32_t major, uint32_t minor, bool readonly, int *ret_fd,
			struct err *e)
{
	struct blockdev d = { 0 };
	int rc = blockdev_probe(major, minor, &d, e);

	if (rc < 0)
		return rc;
	rc = blockdev_ready(&d, readonly, e);
	if (!rc)
		rc = blockdev_open(&d, (readonly ? O_RDONLY : O_RDWR) | O_EXCL, ret_fd, e);
	if (rc == -EBUSY && !d.asleep && !d.holder && !d.dm.deferred)
		rc = blockdev_in_use(major, minor, e);
	blockdev_done(&d);
	return rc;
}
