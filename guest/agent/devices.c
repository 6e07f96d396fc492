// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * /dev of a container: the default devices and links that OCI wants in every
 * container, then those that its configuration adds. A disk among them is known by
 * its serial: its numbers are this kernel's. Where /dev is a bind
 * mount its owner has filled it, and nothing is made. An image's own file of
 * the same name is replaced.
 *
 * Sources: OCI runtime-spec config-linux.md "Default Devices", "Devices";
 * runtime-linux.md "Dev symbolic links".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

static const struct default_device {
	const char *name;
	unsigned int major, minor;
} default_devices[] = {
	{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 },
	{ "urandom", 1, 9 }, { "tty", 5, 0 },
};

static const char *const default_links[][2] = {
	{ "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" },
	{ "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
	{ "core", "/proc/kcore" }, { "ptmx", "pts/ptmx" },
};

static int make_node(int dir, const char *name, mode_t mode, dev_t dev,
		     uid_t uid, gid_t gid, struct err *e)
{
	_cleanup_close_ int fd = -1;

	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "device %s: replace", name);
	if (mknodat(dir, name, mode, dev) < 0)
		return err_sys(e, "device %s: mknod", name);
	if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "device %s: chown", name);
	/* The umask has cut the mode; the node is new, so it is no link. */
	if (fchmodat(dir, name, mode & 07777, 0) < 0)
		return err_sys(e, "device %s: chmod", name);
	return 0;
}

static int make_extra(int root, const Podvm__Device *d, struct err *e)
{
	_cleanup_close_ int dir = -1;
	const char *name = strrchr(d->path, '/');
	char up[512];

	if (!name || !name[1] || !strcmp(name, "/..") ||
	    (size_t)(name - d->path) + 2 > sizeof(up) ||
	    (d->type != S_IFCHR && d->type != S_IFBLK && d->type != S_IFIFO))
		return err_set(e, EINVAL, "device %s: bad path or type", d->path);
	snprintf(up, sizeof(up), "%.*s/", (int)(name - d->path), d->path);
	dir = path_make(root, up, true, e);
	if (dir < 0)
		return err_wrap(e, "device %s", d->path);
	return make_node(dir, name + 1, (mode_t)(d->type | (d->mode & 07777)),
			 makedev(d->major, d->minor), d->uid, d->gid, e);
}

static bool dev_is_bound(const Podvm__ContainerCreate *c)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++)
		if ((!strcmp(c->mounts[i]->destination, "/dev") ||
		     !strcmp(c->mounts[i]->destination, "/dev/")) &&
		    (c->mounts[i]->flags & MS_BIND))
			return true;
	return false;
}

/**
 * devices_number() - give devices and rules that name a disk that disk's numbers
 * @c: its devices and device rules are changed
 *
 * Return: 0; -ENOENT, naming the disk; minus errno
 * Context: the agent, before the rules become a program
 */
int devices_number(const Podvm__ContainerCreate *c, struct err *e)
{
	uint32_t major_nr, minor_nr;
	size_t i, k;
	int rc;

	for (i = 0; i < c->n_devices; i++) {
		Podvm__Device *d = c->devices[i];

		if (!*d->serial)
			continue;
		rc = disk_number(d->serial, &major_nr, &minor_nr, e);
		if (rc < 0)
			return err_wrap(e, "device %s", d->path);
		d->major = major_nr;
		d->minor = minor_nr;
		for (k = 0; k < c->n_device_rules; k++) {
			if (strcmp(c->device_rules[k]->serial, d->serial))
				continue;
			c->device_rules[k]->major = major_nr;
			c->device_rules[k]->minor = minor_nr;
		}
	}
	return 0;
}

/**
 * devices_make() - fill /dev
 * @root: from rootfs_mount(), borrowed
 *
 * Return: 0 or minus errno, naming the device
 * Context: the child before rootfs_enter(), after mounts_apply()
 */
int devices_make(int root, const Podvm__ContainerCreate *c, struct err *e)
{
	_cleanup_close_ int dev = -1;
	size_t i;
	int rc;

	if (dev_is_bound(c))
		return 0;
	dev = path_make(root, "/dev", true, e);
	if (dev < 0)
		return dev;
	for (i = 0; i < ARRAY_LEN(default_devices); i++) {
		const struct default_device *d = &default_devices[i];

		rc = make_node(dev, d->name, S_IFCHR | 0666, makedev(d->major, d->minor),
			       0, 0, e);
		if (rc < 0)
			return rc;
	}
	for (i = 0; i < ARRAY_LEN(default_links); i++) {
		const char *const *l = default_links[i];

		if (unlinkat(dev, l[0], 0) < 0 && errno != ENOENT)
			return err_sys(e, "/dev/%s: replace", l[0]);
		if (symlinkat(l[1], dev, l[0]) < 0)
			return err_sys(e, "/dev/%s: symlink", l[0]);
	}
	for (i = 0; i < c->n_devices; i++) {
		rc = make_extra(root, c->devices[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/**
 * devices_console() - /dev/console of a container with a terminal
 * @tty: the terminal, borrowed
 *
 * Return: 0 or minus errno
 * Context: the child, after rootfs_enter()
 */
int devices_console(int tty, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	if (ttyname_r(tty, path, sizeof(path)))
		return err_set(e, ENOTTY, "terminal: it has no name in the container's /dev/pts");
	fd = open("/dev/console", O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | O_WRONLY, 0666);
	if (fd < 0 && errno != ENXIO && errno != ENODEV && errno != EPERM)
		return err_sys(e, "/dev/console");
	if (mount(path, "/dev/console", NULL, MS_BIND, NULL) < 0)
		return err_sys(e, "/dev/console: bind");
	return 0;
}
