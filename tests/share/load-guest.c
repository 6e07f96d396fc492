// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * PID 1 of the guest of the story: mounts the shares that share-boot has plugged, runs
 * the load on one, tries to change a read-only one, and has a third plugged and
 * unplugged while it runs. Lines on the console are for share-boot and the story:
 * "PLUG" and "UNPLUG" ask share-boot for these, "run|", "list|" and "more|" are
 * results. At the end the machine goes off.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/share/load.h"

#define DRIVER "/sys/bus/virtio/drivers/virtiofs"

static void more(const char *name, long rc)
{
	printf("more|%s: %s\n", name, rc < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		more(path, -1);
	close(fd);
}

static long mount_share(const char *tag, const char *at, unsigned long flags)
{
	mkdir(at, 0755);
	return mount(tag, at, "virtiofs", flags, NULL);
}

static void read_only(void)
{
	char text[40] = "";
	int fd;

	more("mount read-only", mount_share("ro", "/ro", 0));
	fd = open("/ro/file", O_RDONLY);
	more("read", read(fd, text, sizeof(text) - 1));
	close(fd);
	printf("more|it says: %s\n", text);
	more("create", open("/ro/new", O_RDWR | O_CREAT, 0600));
	more("open for writing", open("/ro/file", O_RDWR));
	more("unlink", unlink("/ro/file"));
	more("chmod", chmod("/ro/file", 0777));
	more("rename", rename("/ro/file", "/ro/other"));
	more("look up a link out", access("/ro/out", F_OK));
	more("no tag of that name", mount_share("none", "/none", 0));
	more("unmount", umount("/ro"));
	more("mount again", mount_share("ro", "/ro", MS_RDONLY));
	more("read again", access("/ro/file", R_OK));
	more("a device cannot be made", mknod("/load/device", S_IFCHR | 0666, makedev(1, 5)));
}

/* The device behind the newest virtio-fs device: the highest number. */
static int newest(char *ret, size_t room)
{
	DIR *d = opendir(DRIVER);
	struct dirent *e;
	char link[300], target[300];
	int best = -1, n;
	ssize_t len;
	char *last;

	while (d && (e = readdir(d)))
		if (sscanf(e->d_name, "virtio%d", &n) == 1 && n > best)
			best = n;
	if (d)
		closedir(d);
	if (best < 0)
		return -1;
	snprintf(link, sizeof(link), DRIVER "/virtio%d", best);
	len = readlink(link, target, sizeof(target) - 1);
	if (len <= 0)
		return -1;
	target[len] = 0;
	/* .../0000:00:05.0/virtio4 */
	last = strrchr(target, '/');
	if (!last)
		return -1;
	*last = 0;
	last = strrchr(target, '/');
	snprintf(ret, room, "/sys/bus/pci/devices/%s/remove", last ? last + 1 : target);
	return 0;
}

static void hot_plug(void)
{
	char path[400], text[40] = "";
	int i, fd;
	long rc = -1;

	printf("PLUG\n");
	fflush(stdout);
	for (i = 0; i < 300 && rc < 0; i++) {
		put_text("/sys/bus/pci/rescan", "1");
		rc = mount_share("hot", "/hot", 0);
		if (rc < 0)
			usleep(100000);
	}
	more("mount a share that was plugged", rc);
	fd = open("/hot/file", O_RDWR);
	more("read it", read(fd, text, sizeof(text) - 1));
	printf("more|it says: %s\n", text);
	more("write it", pwrite(fd, "guest", 5, 0));
	close(fd);
	more("unmount it", umount("/hot"));
	if (newest(path, sizeof(path)) < 0)
		more("its device", -1);
	else
		put_text(path, "1");
	printf("UNPLUG\n");
	fflush(stdout);
	more("it cannot be mounted any more", mount_share("hot", "/hot", 0));
}

/**
 * load_init() - the guest
 */
void load_init(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	more("mount", mount_share("load", "/load", 0));
	load_run("/load", "run|");
	load_list("/load", "list|");
	read_only();
	hot_plug();
	printf("BYE\n");
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
