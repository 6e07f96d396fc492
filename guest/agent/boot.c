// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * From the kernel's hand-over to a system that containers can run in. Stages:
 * - In the initramfs: load the modules that its builder listed, if any.
 * - Make a root of our own, a tmpfs over the initramfs. The kernel's first
 *   root has no parent mount and cannot be left by pivot_root(2), which every
 *   container does; a mount on it can. The initramfs's program is unlinked:
 *   nothing below a container's root is left to write to.
 * - Mount what the agent and containers need, open the console.
 * Every step must succeed but the modules' and the console's; a pod that
 * cannot boot says why on the console and powers off.
 *
 * Sources: kernel Documentation/filesystems/ramfs-rootfs-initramfs.rst,
 * pivot_root(2) NOTES, Documentation/admin-guide/cgroup-v2.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"

#define NEW_ROOT "/newroot"
#define MODULES_LIST "/lib/modules.list"

/* Containers start with the soft limit of 1024 and may raise it up to this. */
#define NOFILE_MAX (1u << 20)

static const struct boot_mount {
	const char *type;
	const char *path;
	unsigned long flags;
	const char *data;
} boot_mounts[] = {
	{ "devtmpfs", "/dev", MS_NOSUID, "mode=0755" },
	{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755" },
	{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5" },
	{ "mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "cgroup2", AGENT_CGROUP, MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
};

static void load_module(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		log_error("boot: module %s: %s", path, strerror(errno));
}

/* A device whose module does not load is missed, and named, later on. */
static void load_modules(void)
{
	_cleanup_free_ char *text = NULL;
	char *line, *save = NULL;

	if (file_read(AT_FDCWD, MODULES_LIST, 1u << 20, &text, NULL, NULL) < 0)
		return;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		load_module(line);
}

static int own_root(struct err *e)
{
	if (mkdir(NEW_ROOT, 0755) < 0 && errno != EEXIST)
		return err_sys(e, NEW_ROOT ": mkdir");
	if (mount("tmpfs", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV,
		  "mode=0755,size=16m") < 0)
		return err_sys(e, NEW_ROOT ": mount tmpfs");
	unlink("/init");
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		return err_sys(e, "switch to the root of the agent");
	return 0;
}

static int mount_all(struct err *e)
{
	size_t i;
	int rc;

	for (i = 0; i < ARRAY_LEN(boot_mounts); i++) {
		const struct boot_mount *m = &boot_mounts[i];

		rc = dir_make(m->path, 0755, e);
		if (rc < 0)
			return rc;
		if (mount(m->type, m->path, m->type, m->flags, m->data) < 0)
			return err_sys(e, "%s: mount %s", m->path, m->type);
	}
	return 0;
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
}

/**
 * boot_init() - make a bare initramfs into the agent's system; PID 1 only
 *
 * Return: 0 or minus errno, naming the step
 */
int boot_init(struct err *e)
{
	struct rlimit files = { NOFILE_MAX, NOFILE_MAX };
	int rc;

	load_modules();
	rc = own_root(e);
	if (rc >= 0)
		rc = mount_all(e);
	if (rc < 0)
		return rc;
	open_console();
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_sys(e, "setrlimit");
	rc = net_loopback_up(e);
	return rc < 0 ? rc : cgroup_boot(e);
}

/**
 * boot_power_off() - write everything out and switch the machine off
 */
void boot_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
