// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The pod's share: one virtio-fs device with all volumes of all containers, a
 * directory of numbers. Each container's child mounts it in its own namespace, for
 * nobody else to see; Linux makes these mounts one file system, so that containers that
 * have the same volume share its pages and locks. The device is plugged with the first
 * volume; as with disks, who misses it asks the PCI bus to look again.
 *
 * Memory that containers share (/dev/shm of a pod) is a tmpfs of the agent's, made before
 * the first container that has it, one for each key. It stays until the pod ends.
 *
 * Sources: virtio 1.2, section 5.11; kernel Documentation/filesystems/virtiofs.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/proc.h"
#include "lib/share.h"
#include "lib/str.h"

#define SHARE AGENT_RUN "/share"
#define MEMORY AGENT_RUN "/memory"
#define MEMORY_PREFIX "memory:"

#define KEY_BYTES 64
#define WAIT_MS 5000
#define POLL_MS 10

/* Return: 1 when something is mounted on @where, 0 when not; minus errno */
static int is_mounted(const char *where, struct err *e)
{
	struct stat here, up;

	if (stat(AGENT_RUN, &up) < 0 || stat(where, &here) < 0)
		return err_sys(e, "%s", where);
	return up.st_dev != here.st_dev;
}

/* The kernel says EINVAL for a tag that no device has. */
static int mount_tag(struct err *e)
{
	const struct timespec nap = { 0, POLL_MS * 1000000 };
	uint64_t end = clock_ms() + WAIT_MS;
	unsigned int round = 0;

	while (mount(SHARE_POD_TAG, SHARE, "virtiofs", 0, NULL) < 0) {
		if (errno != EINVAL)
			return err_sys(e, "the pod's share: mount as virtiofs");
		if (clock_ms() > end)
			return err_set(e, ENODEV, "the pod's share: no device after %d ms",
				       WAIT_MS);
		if (!(round++ % 10))
			disk_rescan();
		else
			nanosleep(&nap, NULL);
	}
	return 0;
}

/**
 * volume_open() - the root of a tree of the pod's share
 * @number: of the tree, its name
 *
 * Return: O_PATH descriptor, owned by the caller; minus errno
 * Context: the child, in a mount namespace of its own; waits for the device, bounded
 */
int volume_open(const char *number, struct err *e)
{
	char path[sizeof(SHARE) + 16];
	int rc, fd;

	if (!*number || strlen(number) > 10 || number[strspn(number, "0123456789")])
		return err_set(e, EINVAL, "the pod's share: %s is no number", number);
	rc = dir_make(SHARE, 0700, e);
	if (rc >= 0)
		rc = is_mounted(SHARE, e);
	if (!rc)
		rc = mount_tag(e);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), SHARE "/%s", number);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "the pod's share: tree %s", number) : fd;
}

static int memory_path(const char *key, char ret[sizeof(MEMORY) + KEY_BYTES + 1], struct err *e)
{
	size_t len = strlen(key);

	if (!len || len > KEY_BYTES || key[strspn(key, "0123456789abcdef-")])
		return err_set(e, EINVAL, "memory: %s is no key", key);
	snprintf(ret, sizeof(MEMORY) + KEY_BYTES + 1, MEMORY "/%s", key);
	return 0;
}

static int memory_make(const Podvm__Mount *m, struct err *e)
{
	char path[sizeof(MEMORY) + KEY_BYTES + 1];
	int rc = memory_path(m->source + strlen(MEMORY_PREFIX), path, e);

	if (rc >= 0)
		rc = dir_make(path, 0700, e);
	if (rc >= 0)
		rc = is_mounted(path, e);
	if (rc)
		return rc < 0 ? rc : 0;
	if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV, m->data) < 0)
		return err_sys(e, "memory: mount tmpfs with %s", m->data);
	return 0;
}

/**
 * memories_make() - make the memory that a container shares with others
 *
 * Return: 0 or minus errno, naming the mount
 * Context: the agent, before the container's child; memory that is there stays as it is
 */
int memories_make(const Podvm__ContainerCreate *c, struct err *e)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++) {
		const Podvm__Mount *m = c->mounts[i];

		if (m->flags & MS_BIND && str_starts(m->source, MEMORY_PREFIX) &&
		    memory_make(m, e) < 0)
			return err_wrap(e, "mount %s", m->destination);
	}
	return 0;
}

/**
 * memory_open() - the root of memory that containers share
 *
 * Return: O_PATH descriptor, owned by the caller; minus errno
 * Context: the child
 */
int memory_open(const char *key, struct err *e)
{
	char path[sizeof(MEMORY) + KEY_BYTES + 1];
	int rc = memory_path(key, path, e), fd;

	if (rc < 0)
		return rc;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "memory: %s", key) : fd;
}
