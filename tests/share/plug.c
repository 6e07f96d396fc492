// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The devices of share-boot that are no shares, each with nothing around it, and a
 * look at what the monitor holds of the host: descriptors and memory.
 */
#include "tests/share/plug.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/str.h"

/**
 * plug_disk() - a raw disk, called disk0, disk1, ...
 *
 * Return: 0 or minus errno
 */
int plug_disk(struct vmm *v, const char *path, struct err *e)
{
	static unsigned int n;
	struct vmm_request rq = { .type = VMM_DISK };
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	struct vmm_reply rp;

	if (fd < 0)
		return err_sys(e, "%s", path);
	rq.disk.number = n++;
	snprintf(rq.disk.serial, sizeof(rq.disk.serial), "disk%u", rq.disk.number);
	return vmm_call(v, &rq, &fd, 1, CALL_MS, &rp, e);
}

static int open_tap(const char *name, struct err *e)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "/dev/net/tun");
	if (str_copy(r.ifr_name, sizeof(r.ifr_name), name) < 0)
		return err_set(e, EINVAL, "tap %s: too long", name);
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return err_sys(e, "tap %s", name);
	return fd_steal(&fd);
}

/**
 * plug_tap() - a network interface with one pair of queues
 * @text: "NAME", or "NAME,vhost"
 *
 * Return: 0 or minus errno
 */
int plug_tap(struct vmm *v, const char *text, struct err *e)
{
	static uint8_t n;
	struct vmm_request rq = { .type = VMM_NET,
				  .net = { .mac = { 2, 0, 0, 0, 0, ++n }, .mtu = 1500 } };
	_cleanup_close_ int tap = -1, vhost = -1;
	size_t len = strcspn(text, ",");
	struct vmm_reply rp;
	char name[64];

	if (len >= sizeof(name))
		return err_set(e, EINVAL, "tap %s: too long", text);
	memcpy(name, text, len);
	name[len] = 0;
	tap = open_tap(name, e);
	if (tap < 0)
		return tap;
	rq.net.vhost = !strcmp(text + len, ",vhost");
	if (rq.net.vhost && (vhost = open("/dev/vhost-net", O_RDWR | O_CLOEXEC)) < 0)
		return err_sys(e, "/dev/vhost-net");
	return vmm_call(v, &rq, (int[]){ tap, vhost }, rq.net.vhost ? 2 : 1, CALL_MS, &rp, e);
}

/**
 * plug_port() - a console port
 *
 * Return: our end, owned by the caller; minus errno
 */
int plug_port(struct vmm *v, const char *name, struct err *e)
{
	struct vmm_request rq = { .type = VMM_CONSOLE_PORT };
	_cleanup_close_ int ours = -1, theirs = -1;
	struct vmm_reply rp;
	int s[2], rc;

	if (str_copy(rq.name, sizeof(rq.name), name) < 0)
		return err_set(e, EINVAL, "port %s: too long", name);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "socketpair");
	ours = s[0];
	theirs = s[1];
	rc = vmm_call(v, &rq, &theirs, 1, CALL_MS, &rp, e);
	return rc < 0 ? rc : fd_steal(&ours);
}

static int count_descriptors(pid_t pid, struct err *e)
{
	const struct dirent *d;
	char path[40];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return err_sys(e, "%s", path);
	while ((d = readdir(dir)))
		n += d->d_name[0] != '.';
	closedir(dir);
	return n;
}

/**
 * look() - print what the monitor holds: "look: N descriptors, N KiB"
 * @ram_bytes: mappings that are at least so large are guest memory and do not count
 *
 * Return: 0 or minus errno
 */
int look(const struct vmm *v, uint64_t ram_bytes, struct err *e)
{
	unsigned long long from, to, kb, sum = 0;
	char path[40], line[256];
	bool is_ram = false;
	int n = count_descriptors(v->pid, e);
	FILE *f;

	if (n < 0)
		return n;
	snprintf(path, sizeof(path), "/proc/%d/smaps", v->pid);
	f = fopen(path, "re");
	if (!f)
		return err_sys(e, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			is_ram = to - from >= ram_bytes;
		else if (!is_ram && sscanf(line, "Private_Dirty: %llu kB", &kb) == 1)
			sum += kb;
	}
	fclose(f);
	fprintf(stderr, "look: %d descriptors, %llu KiB\n", n, sum);
	return 0;
}
