// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A monitor for a person at a shell, without a supervisor: podvm-vmm --kernel FILE.
 * This process opens what the command line names and hands it to a monitor of its
 * own, an ordinary one that is confined and is driven over its control socket; so
 * what is debugged here is what pods run on, sandbox included. The guest meets
 * that monitor only, and this process trusts it no more than a supervisor does.
 *
 * Each failure is one line that names the option. What the monitor refuses is told
 * by the part of its message that says what it is about.
 *
 * Steps: read the command line; start the monitor; CONFIG; DISK, NET, CONSOLE_PORT;
 * START; then alone-watch.c until the end.
 */
#include "vmm/alone.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"

#define CALL_MS 60000
#define GUEST_CID 3
#define MEMORY_DEFAULT (256ull << 20)

/* A locally administered address; the name of the tap makes the rest. */
#define MAC_FIRST 0x02

/* What a refusal of CONFIG is about, by what stands in it. */
static const struct {
	const char *text, *option;
} causes[] = {
	{ "kernel command line", "--cmdline" }, { "kernel: ", "--kernel" },
	{ "initramfs", "--initramfs" }, { "bytes of RAM", "--memory" },
	{ "guest RAM", "--memory" }, { "vCPUs", "--vcpus" }, { "/dev/kvm", "/dev/kvm" },
};

static int open_file(const char *option, const char *path, int flags, struct err *e)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, "%s %s", option, path) : fd;
}

/* The way that a refusal came is of no interest here: "monitor: CONFIG: ". */
static int refused(struct err *e, const char *option, const char *value)
{
	static const char from[] = "monitor: ";
	char *text = e->text, *colon;

	if (str_starts(text, from) && (colon = strstr(text + strlen(from), ": ")))
		memmove(text, colon + 2, strlen(colon + 2) + 1);
	return err_wrap(e, "%s%s%s", option, value ? " " : "", value ? value : "");
}

/* Names the option that a refusal of CONFIG is about. */
static int blame(struct err *e)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(causes); i++)
		if (strstr(e->text, causes[i].text))
			return refused(e, causes[i].option, NULL);
	return refused(e, "machine", NULL);
}

/* The parent's end of the console, where that is standard input and output. */
static int open_console(const char *path, int *ret_ours, struct err *e)
{
	int s[2];

	*ret_ours = -1;
	if (strcmp(path, "-"))
		return open_file("--console", path, O_WRONLY | O_CREAT | O_TRUNC, e);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "--console");
	*ret_ours = s[0];
	return s[1];
}

static int fill_config(const struct alone *a, struct vmm_config *c, struct err *e)
{
	c->ram_bytes = MEMORY_DEFAULT;
	if (a->memory && parse_size(a->memory, &c->ram_bytes) < 0)
		return err_set(e, EINVAL, "--memory %s: give a size such as 256M or 2G", a->memory);
	if (a->vcpus > UINT32_MAX)
		return err_set(e, EINVAL, "--vcpus: give 1 to %d", VMM_VCPUS_MAX);
	c->vcpus = (uint32_t)a->vcpus;
	c->guest_cid = GUEST_CID;
	if (str_copy(c->cmdline, sizeof(c->cmdline), a->cmdline) < 0)
		return err_set(e, E2BIG, "--cmdline: %zu bytes at most", sizeof(c->cmdline) - 1);
	return 0;
}

static int configure(struct vmm *v, const struct alone *a, int *ret_console, struct err *e)
{
	_cleanup_close_ int kvm = -1, kernel = -1, initramfs = -1, console = -1, ours = -1;
	struct vmm_request rq = { .type = VMM_CONFIG };
	struct vmm_reply rp;
	int rc = fill_config(a, &rq.config, e);

	if (rc < 0)
		return rc;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return err_sys(e, "/dev/kvm");
	if ((kernel = open_file("--kernel", a->kernel, O_RDONLY, e)) < 0)
		return kernel;
	initramfs = a->initramfs ? open_file("--initramfs", a->initramfs, O_RDONLY, e)
				 : memfd_create("none", MFD_CLOEXEC);
	if (initramfs < 0)
		return a->initramfs ? initramfs : err_sys(e, "memfd_create");
	if ((console = open_console(a->console, &ours, e)) < 0)
		return console;
	rc = vmm_call(v, &rq, (int[]){ kvm, kernel, initramfs, console }, 4, CALL_MS, &rp, e);
	if (rc < 0)
		return blame(e);
	*ret_console = fd_steal(&ours);
	return 0;
}

/*
 * Takes the next part of "value,word,name=value": what stands before the next comma.
 * Return: NULL at the end
 */
static char *next_part(char **rest)
{
	char *part = *rest, *comma;

	if (!part)
		return NULL;
	comma = strchr(part, ',');
	*rest = comma ? comma + 1 : NULL;
	if (comma)
		*comma = 0;
	return part;
}

/* @path: PATH_MAX bytes of room; @ret_flags: of open(), left as it is or set */
static int parse_disk(const char *text, size_t i, char *path, int *ret_flags,
		      struct vmm_disk *ret, struct err *e)
{
	char *rest = path, *part;

	if (str_copy(path, PATH_MAX, text) < 0)
		return err_set(e, ENAMETOOLONG, "--disk: too long");
	*ret = (struct vmm_disk){ .number = (uint32_t)i };
	snprintf(ret->serial, sizeof(ret->serial), "disk%u", ret->number);
	next_part(&rest);
	while ((part = next_part(&rest))) {
		if (!strcmp(part, "readonly"))
			ret->readonly = 1;
		else if (!strcmp(part, "direct"))
			*ret_flags = O_DIRECT;
		else if (!str_starts(part, "serial="))
			return err_set(e, EINVAL, "--disk %s: %s is none of readonly, direct and serial=NAME",
				       text, part);
		else if (str_copy(ret->serial, sizeof(ret->serial), part + strlen("serial=")) < 0)
			return err_set(e, EINVAL, "--disk %s: a serial has %d bytes at most", text,
				       VMM_SERIAL_BYTES - 1);
	}
	return 0;
}

static int plug_disk(struct vmm *v, const char *text, size_t i, struct err *e)
{
	struct vmm_request rq = { .type = VMM_DISK };
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct vmm_reply rp;
	int flags = 0, rc = parse_disk(text, i, path, &flags, &rq.disk, e);

	if (rc < 0)
		return rc;
	fd = open_file("--disk", path, flags | (rq.disk.readonly ? O_RDONLY : O_RDWR), e);
	if (fd < 0)
		return fd;
	rc = vmm_call(v, &rq, &fd, 1, CALL_MS, &rp, e);
	return rc < 0 ? refused(e, "--disk", text) : 0;
}

/* Queues that are open already: "fd:10:11" has two. Return: how many; 0: it is a name */
static uint16_t inherited_taps(const char *name)
{
	uint16_t n = 0;

	if (!str_starts(name, "fd:"))
		return 0;
	for (; *name; name++)
		n += *name == ':';
	return n;
}

/* @fds: as of open_taps() */
static int take_taps(const char *name, int *fds, size_t n, struct err *e)
{
	const char *from = strchr(name, ':') + 1;
	size_t i, len;

	for (i = 0; i < n; i++, from += len + !!from[len]) {
		char one[12];
		uint64_t fd;

		len = strcspn(from, ":");
		snprintf(one, sizeof(one), "%.*s", (int)len, from);
		if (parse_u64(one, &fd) < 0 || fd > INT_MAX)
			return err_set(e, EINVAL, "--tap %s: give fd:NUMBER[:NUMBER]...", name);
		fds[i] = fcntl((int)fd, F_DUPFD_CLOEXEC, VMM_CONTROL_FD + 1);
		if (fds[i] < 0)
			return err_sys(e, "--tap %s: descriptor %d", name, (int)fd);
	}
	return 0;
}

/* Opens @n queues of a tap. @fds: filled from its start on, also where it fails */
static int open_taps(const char *name, int *fds, size_t n, struct err *e)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	size_t i;

	if (n > 1)
		r.ifr_flags |= IFF_MULTI_QUEUE;
	if (!*name || str_copy(r.ifr_name, sizeof(r.ifr_name), name) < 0)
		return err_set(e, EINVAL, "--tap %s: give the name of an interface", name);
	for (i = 0; i < n; i++) {
		fds[i] = open_file("--tap", "/dev/net/tun", O_RDWR | O_NONBLOCK, e);
		if (fds[i] < 0)
			return fds[i];
		if (ioctl(fds[i], TUNSETIFF, &r) < 0)
			return err_sys(e, "--tap %s: ip tuntap add %s mode tap vnet_hdr%s makes one",
				       name, name, n > 1 ? " multi_queue" : "");
	}
	return 0;
}

static int open_vhosts(int *fds, size_t n, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++)
		if ((fds[i] = open_file("--tap", "/dev/vhost-net", O_RDWR, e)) < 0)
			return fds[i];
	return 0;
}

/* The same name gives the same address, so that a guest finds its interface again. */
static void make_mac(const char *name, uint8_t mac[6])
{
	uint32_t hash = 2166136261u;	/* FNV-1a */
	int i;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	mac[0] = MAC_FIRST;
	mac[1] = 0;
	for (i = 2; i < 6; i++)
		mac[i] = (uint8_t)(hash >> 8 * (i - 2));
}

static int parse_tap(const char *text, char name[64], struct vmm_net *ret, struct err *e)
{
	char *rest = name, *part;
	uint16_t open;
	uint64_t n;

	*ret = (struct vmm_net){ .mtu = 1500 };
	if (str_copy(name, 64, text) < 0)
		return err_set(e, ENAMETOOLONG, "--tap: too long");
	next_part(&rest);
	make_mac(name, ret->mac);
	open = inherited_taps(name);
	if (open > VMM_NET_PAIRS_MAX)
		return err_set(e, EINVAL, "--tap %s: %d descriptors at most", text,
			       VMM_NET_PAIRS_MAX);
	ret->pairs = open ? open : 1;
	while ((part = next_part(&rest))) {
		if (!strcmp(part, "vhost")) {
			ret->vhost = 1;
		} else if (str_starts(part, "queues=")) {
			if (open)
				return err_set(e, EINVAL, "--tap %s: each descriptor is a pair of queues: leave %s out",
					       text, part);
			if (parse_u64(part + strlen("queues="), &n) < 0 || !n ||
			    n > VMM_NET_PAIRS_MAX)
				return err_set(e, EINVAL, "--tap %s: queues is 1 to %d", text,
					       VMM_NET_PAIRS_MAX);
			ret->pairs = (uint16_t)n;
		} else if (!str_starts(part, "mac=")) {
			return err_set(e, EINVAL, "--tap %s: %s is none of vhost, queues=N and mac=MAC",
				       text, part);
		} else if (parse_mac(part + strlen("mac="), ret->mac) < 0) {
			return err_set(e, EINVAL, "--tap %s: %s is not mac=XX:XX:XX:XX:XX:XX", text,
				       part);
		}
	}
	return 0;
}

/* Ours, which is the monitor's. Return: descriptor; -1: there is none of version 2 */
static int own_cgroup(void)
{
	/* Where version 1 has the controllers, version 2 is beside it. */
	static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	char path[PATH_MAX], file[PATH_MAX + 80];
	size_t i;

	if (proc_cgroup(path) < 0)
		return -1;
	for (i = 0; i < ARRAY_LEN(mounts); i++) {
		snprintf(file, sizeof(file), "%s%s/cgroup.threads", mounts[i], path);
		if (access(file, R_OK) < 0)
			continue;
		snprintf(file, sizeof(file), "%s%s", mounts[i], path);
		return open(file, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return -1;
}

static void batch_vhosts(void)
{
	_cleanup_close_ int fd = own_cgroup();

	vmm_batch_vhosts(fd);
}

static int plug_tap(struct vmm *v, const char *text, struct err *e)
{
	struct vmm_request rq = { .type = VMM_NET };
	int fds[2 * VMM_NET_PAIRS_MAX];
	struct vmm_reply rp;
	char name[64];
	size_t i, n;
	int rc = parse_tap(text, name, &rq.net, e);

	if (rc < 0)
		return rc;
	for (i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = -1;
	n = rq.net.pairs;
	rc = (inherited_taps(name) ? take_taps : open_taps)(name, fds, n, e);
	if (!rc && rq.net.vhost)
		rc = open_vhosts(fds + n, n, e);
	if (!rc) {
		rc = vmm_call(v, &rq, fds, rq.net.vhost ? 2 * n : n, CALL_MS, &rp, e);
		if (rc < 0)
			refused(e, "--tap", text);
		else if (rq.net.vhost)
			batch_vhosts();
	}
	for (i = 0; i < ARRAY_LEN(fds); i++)
		fd_close(&fds[i]);
	return rc;
}

static int plug_port(struct vmm *v, const char *text, struct err *e)
{
	struct vmm_request rq = { .type = VMM_CONSOLE_PORT };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	const char *eq = strchr(text, '=');
	struct vmm_reply rp;
	int rc;

	if (!eq || (size_t)(eq - text) >= sizeof(rq.name) ||
	    str_copy(sa.sun_path, sizeof(sa.sun_path), eq + 1) < 0)
		return err_set(e, EINVAL, "--port %s: give NAME=SOCKET", text);
	memcpy(rq.name, text, (size_t)(eq - text));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "--port %s", text);
	rc = vmm_call(v, &rq, &fd, 1, CALL_MS, &rp, e);
	return rc < 0 ? refused(e, "--port", text) : 0;
}

static int plug_all(struct vmm *v, const struct alone *a, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < a->disks.n && !rc; i++)
		rc = plug_disk(v, a->disks.v[i], i, e);
	for (i = 0; i < a->taps.n && !rc; i++)
		rc = plug_tap(v, a->taps.v[i], e);
	for (i = 0; i < a->ports.n && !rc; i++)
		rc = plug_port(v, a->ports.v[i], e);
	return rc;
}

static int start_monitor(const struct alone *a, struct vmm *ret, struct err *e)
{
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1, .weak_sandbox = a->weak };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_sys(e, "/proc/self/exe");
	self[n] = 0;
	return vmm_spawn(self, &how, ret, e);
}

/**
 * alone_run() - run a machine until its end
 *
 * Return: an exit status, ALONE_*; minus errno with the option that is wrong
 */
int alone_run(const struct alone *a, struct err *e)
{
	struct vmm v = { .sock = -1, .pidfd = -1 };
	struct vmm_request start = { .type = VMM_START };
	_cleanup_close_ int console = -1;
	struct vmm_reply rp;
	int rc = start_monitor(a, &v, e);

	if (!rc)
		rc = configure(&v, a, &console, e);
	if (!rc)
		rc = plug_all(&v, a, e);
	if (!rc)
		rc = vmm_call(&v, &start, NULL, 0, CALL_MS, &rp, e);
	if (!rc)
		rc = alone_watch(&v, console, a->metrics, e);
	vmm_done(&v);
	return rc;
}
