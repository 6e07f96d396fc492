// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Disks are known by their virtio-blk serial, never by name: names depend on
 * the order of probing. To read a serial is a request to its disk, so that a look
 * at all of them grows with their number; the host therefore tells where on the PCI
 * bus a disk is (disk_tell()), and only that one is asked. A disk may be plugged while the pod runs; the machine
 * sends no event for that, so whoever misses one asks the PCI bus to look
 * again, which probes what is new before the write returns. The wait is
 * bounded and happens in a container's child, never in the agent's loop.
 *
 * Sources: virtio 1.2, section 5.2.6.1 (serial); kernel
 * Documentation/ABI/testing/sysfs-bus-pci (rescan, remove).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

#define SYS_BLOCK "/sys/block"
#define SYS_PCI "/sys/bus/pci/devices"
#define PCI_FUNCTIONS 256
#define SERIAL_BYTES 20
#define WAIT_MS 5000
#define POLL_MS 10

/* Whether block device @name of @dir has that serial. */
static bool has_serial(int dir, const char *name, const char *serial)
{
	_cleanup_free_ char *text = NULL;
	char path[300];

	snprintf(path, sizeof(path), "%s/serial", name);
	if (file_read(dir, path, 256, &text, NULL, NULL) < 0)
		return false;
	text[strcspn(text, "\n")] = 0;
	return !strcmp(text, serial);
}

/* What the host told: by device and function, a serial or nothing. */
static char told[PCI_FUNCTIONS][SERIAL_BYTES + 1];

static void forget(const char *serial)
{
	uint32_t i;

	for (i = 0; i < PCI_FUNCTIONS; i++)
		if (!strcmp(told[i], serial))
			told[i][0] = 0;
}

/**
 * disk_tell() - where a disk is, or will be, on PCI bus 0
 * @devfn: slot << 3 | function, below 256; what was told of it before is forgotten
 *
 * Return: 0 or -EINVAL
 */
int disk_tell(const char *serial, uint32_t devfn, struct err *e)
{
	if (devfn >= PCI_FUNCTIONS || !*serial || strlen(serial) > SERIAL_BYTES)
		return err_set(e, EINVAL, "disk %s at %u: not a place on the bus", serial, devfn);
	forget(serial);
	str_copy(told[devfn], sizeof(told[devfn]), serial);
	return 0;
}

/* The entry of directory @path that begins with @prefix. Return: false: none */
static bool entry_of(int dir, const char *path, const char *prefix, char *ret, size_t room)
{
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent = NULL;

	if (!d) {
		fd_close(&fd);
		return false;
	}
	while ((ent = readdir(d)) &&
	       (ent->d_name[0] == '.' || strncmp(ent->d_name, prefix, strlen(prefix)) != 0))
		;
	if (ent)
		snprintf(ret, room, "%s", ent->d_name);
	closedir(d);
	return ent;
}

/* Name of the disk at a place of the bus; @pci: SYS_PCI. */
static bool name_at(int pci, uint32_t devfn, char *ret, size_t room)
{
	char path[600], virtio[256];

	snprintf(path, sizeof(path), "0000:00:%02x.%u", devfn >> 3, devfn & 7);
	if (!entry_of(pci, path, "virtio", virtio, sizeof(virtio)))
		return false;
	snprintf(path, sizeof(path), "0000:00:%02x.%u/%s/block", devfn >> 3, devfn & 7, virtio);
	return entry_of(pci, path, "", ret, room);
}

static int find_told(uint32_t devfn, char *ret, size_t room, struct err *e)
{
	_cleanup_close_ int pci = open(SYS_PCI, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int block = open(SYS_BLOCK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (pci < 0 || block < 0)
		return err_sys(e, SYS_PCI " and " SYS_BLOCK);
	if (!name_at(pci, devfn, ret, room) || !has_serial(block, ret, told[devfn]))
		return err_set(e, ENOENT, "no disk with serial %s at %02x.%u", told[devfn],
			       devfn >> 3, devfn & 7);
	return 0;
}

static int find_name(const char *serial, char *ret, size_t room, struct err *e)
{
	struct dirent *ent;
	int rc = -ENOENT;
	uint32_t i;
	DIR *d;

	for (i = 0; *serial && i < PCI_FUNCTIONS; i++)
		if (!strcmp(told[i], serial))
			return find_told(i, ret, room, e);
	d = opendir(SYS_BLOCK);

	if (!d)
		return err_sys(e, SYS_BLOCK);
	while ((ent = readdir(d))) {
		if (ent->d_name[0] == '.' || !has_serial(dirfd(d), ent->d_name, serial))
			continue;
		snprintf(ret, room, "%s", ent->d_name);
		rc = 0;
		break;
	}
	closedir(d);
	return rc < 0 ? err_set(e, ENOENT, "no disk with serial %s", serial) : 0;
}

/**
 * disk_find() - path of the disk with a serial
 * @serial:   1 to 20 bytes
 * @ret_path: /dev/…
 *
 * Return: 0; -ENOENT; minus errno
 */
int disk_find(const char *serial, char *ret_path, size_t room, struct err *e)
{
	char name[256];
	int rc;

	if (!*serial || strlen(serial) > SERIAL_BYTES)
		return err_set(e, EINVAL, "disk serial of %zu bytes, 1 to %d are possible",
			       strlen(serial), SERIAL_BYTES);
	rc = find_name(serial, name, sizeof(name), e);
	if (rc < 0)
		return rc;
	snprintf(ret_path, room, "/dev/%s", name);
	return 0;
}

/**
 * disk_rescan() - have the PCI bus look for devices that were plugged
 */
void disk_rescan(void)
{
	/* A machine without PCI has nothing to plug; the caller's wait then fails. */
	file_write(AT_FDCWD, "/sys/bus/pci/rescan", "1", NULL);
}

/**
 * disk_wait() - disk_find(), for a disk that may be on its way
 *
 * Return: as disk_find(); -ENOENT after 5 seconds
 * Context: the child; blocks
 */
int disk_wait(const char *serial, char *ret_path, size_t room, struct err *e)
{
	const struct timespec nap = { 0, POLL_MS * 1000000 };
	uint64_t end = clock_ms() + WAIT_MS;
	unsigned int round = 0;
	int rc;

	for (;;) {
		rc = disk_find(serial, ret_path, room, e);
		if (rc >= 0 && !access(ret_path, F_OK))
			return 0;
		if (rc < 0 && rc != -ENOENT)
			return rc;
		if (clock_ms() > end && rc >= 0)
			return err_set(e, ENODEV, "disk with serial %s: no device node %s",
				       serial, ret_path);
		if (clock_ms() > end)
			return err_set(e, ENOENT, "no disk with serial %s after %d ms",
				       serial, WAIT_MS);
		if (!(round++ % 10))
			disk_rescan();
		else
			nanosleep(&nap, NULL);
	}
}

/**
 * disk_number() - device number of the disk with a serial
 *
 * One that was plugged just now is looked for on the bus.
 *
 * Return: 0; -ENOENT; minus errno
 */
int disk_number(const char *serial, uint32_t *ret_major, uint32_t *ret_minor, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char name[256], path[300];
	int rc = find_name(serial, name, sizeof(name), e);

	if (rc == -ENOENT) {
		disk_rescan();
		rc = find_name(serial, name, sizeof(name), e);
	}
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), SYS_BLOCK "/%s/dev", name);
	rc = file_read(AT_FDCWD, path, 64, &text, NULL, e);
	if (rc < 0)
		return rc;
	if (sscanf(text, "%u:%u", ret_major, ret_minor) != 2)
		return err_set(e, EIO, "%s: not a device number", path);
	return 0;
}

/**
 * disk_busy() - whether a mount still holds the disk
 */
bool disk_busy(const char *serial)
{
	_cleanup_close_ int fd = -1;
	char path[300];

	if (disk_find(serial, path, sizeof(path), NULL) < 0)
		return false;
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	return fd < 0 && errno == EBUSY;
}

/**
 * disk_remove() - take the disk off its bus, so that the host can unplug it
 *
 * A disk that is not on PCI stays.
 */
void disk_remove(const char *serial)
{
	char name[256], path[320];

	if (find_name(serial, name, sizeof(name), NULL) < 0)
		return;
	snprintf(path, sizeof(path), SYS_BLOCK "/%s/device/../remove", name);
	file_write(AT_FDCWD, path, "1", NULL);
	forget(serial);
}
