// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Block devices of the host in linux.devices (Kubernetes: volumeDevices) become
 * disks of the pod's machine. Engines allow each of them by a device rule with the
 * host's numbers. In the guest those mean another disk, maybe another container's:
 * so a rule for a certain block device must be about one that the container has; the
 * agent then puts in the numbers that it has there.
 *
 * Source: OCI runtime-spec, config-linux.md "Devices", "Allowed Device List"
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/spec_impl.h"

static bool is_about(const Podvm__DeviceRule *r, const Podvm__Device *d)
{
	return d->type == S_IFBLK && r->type == 'b' && r->major == d->major &&
	       r->minor == d->minor;
}

static bool has_device(const Podvm__ContainerCreate *c, const Podvm__DeviceRule *r)
{
	size_t i;

	for (i = 0; i < c->n_devices; i++)
		if (is_about(r, c->devices[i]))
			return true;
	return false;
}

/**
 * spec_block_rules() - have device rules for block devices name only those it has
 * @n: the linux section, for messages
 *
 * A rule that forbids a device which is not there is left out.
 *
 * Return: 0; -EINVAL for one that allows it
 */
int spec_block_rules(Podvm__ContainerCreate *c, const struct jnode *n, struct err *e)
{
	size_t i, kept = 0;

	for (i = 0; i < c->n_device_rules; i++) {
		Podvm__DeviceRule *r = c->device_rules[i];

		if (r->type != 'b' || (r->major < 0 && r->minor < 0) || has_device(c, r)) {
			c->device_rules[kept++] = r;
			continue;
		}
		if (r->allow) {
			for (; i < c->n_device_rules; i++)
				c->device_rules[kept++] = c->device_rules[i];
			c->n_device_rules = kept;
			return json_fail(n, "resources/devices", e, "block device %lld:%lld: "
					 "not supported: the host's numbers mean another "
					 "device in the pod's virtual machine; name the "
					 "device in linux.devices, too, or leave it out",
					 (long long)r->major, (long long)r->minor);
		}
		podvm__device_rule__free_unpacked(r, NULL);
	}
	c->n_device_rules = kept;
	return 0;
}

/**
 * spec_block_access() - what a container may do with a block device of its own
 * @d: of @c, with the host's numbers
 *
 * Return: sum of 1 mknod, 2 read, 4 write
 */
uint32_t spec_block_access(const Podvm__ContainerCreate *c, const Podvm__Device *d)
{
	uint32_t access = 0;
	size_t i;

	for (i = 0; i < c->n_device_rules; i++) {
		const Podvm__DeviceRule *r = c->device_rules[i];

		if ((r->type != 'a' && r->type != 'b') ||
		    (r->major >= 0 && r->major != d->major) ||
		    (r->minor >= 0 && r->minor != d->minor))
			continue;
		if (r->allow)
			access |= r->access;
		else
			access &= ~r->access;
	}
	return access;
}
