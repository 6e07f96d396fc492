// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Joins an interface by a macvtap on it, in the pod's network namespace:
 *
 *	network == eth0 -- macvlan's receive handler --> macvtap == guest
 *
 * Ingress filters of the interface see a packet before the macvtap does, and what the
 * guest sends leaves by the interface's own disciplines and egress filters: whatever is
 * there stays in force. In bridge mode the macvtap has the MAC that the interface had,
 * and the interface another one; in passthru mode both have the same. Either way the
 * interface itself still hears what goes to everybody, so its addresses leave it for the
 * while (park.c).
 *
 * The macvtap takes all multicast, since nobody tells it what the guest has joined:
 * without that no neighbour solicitation would arrive.
 *
 * Records, in this order, behind those of park.c:
 *
 *	netplug macvtap PATH ID MACVTAP IFINDEX		of the interface below
 *
 * It stays when its last descriptor is closed, unlike a tap. Each descriptor is one of
 * its queues. It is opened through a device node, whose number sysfs tells, each as it
 * is in the namespace: both file systems are mounted nowhere, and end with their
 * descriptors. The name that /dev may have for it says nothing: it is made of the
 * index, which two namespaces can have both.
 *
 * One that somebody else has made for a VM is opened as it is, if nobody holds it. The
 * kernel gives each further descriptor a share of the packets and tells of none, so that
 * the processes are asked (/proc/PID/fd): those of our own PID namespace.
 *
 * Sources: ip-link(8) macvtap; drivers/net/macvlan.c (macvlan_handle_frame,
 * macvlan_compute_filter), tap.c (tap_open) in the kernel; fsopen(2), fsmount(2).
 */
#include "netplug/macvtap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/link.h"
#include "netplug/netns.h"

/**
 * macvtap_create() - make the macvtap of a port; it is down
 * @queues: how many it gets, from 1
 *
 * Return: 0; -EEXIST if its name is taken; minus errno
 */
int macvtap_create(struct nl *nl, const struct plan_port *p, size_t queues, struct err *e)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *h = nl_msg(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	struct nlattr *info, *data;

	mnl_attr_put_strz(h, IFLA_IFNAME, p->tap);
	mnl_attr_put_u32(h, IFLA_LINK, p->ifindex);
	mnl_attr_put(h, IFLA_ADDRESS, sizeof(p->mac), p->mac);
	mnl_attr_put_u32(h, IFLA_MTU, p->mtu);
	mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, (uint32_t)queues);
	mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, (uint32_t)queues);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "macvtap");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u32(h, IFLA_MACVLAN_MODE, p->model == NETPLUG_MACVTAP_PASSTHRU ?
			 MACVLAN_MODE_PASSTHRU : MACVLAN_MODE_BRIDGE);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	if (nl_talk(nl, e) < 0)
		return err_wrap(e, "make macvtap %s (is the macvtap module there?)", p->tap);
	return 0;
}

/**
 * macvtap_setup() - make a new macvtap quiet, and set it up
 * @ret_index: its index
 *
 * Return: 0 or minus errno
 */
int macvtap_setup(struct nl *nl, const struct plan_port *p, uint32_t *ret_index, struct err *e)
{
	uint32_t index = 0;
	int rc = link_index(nl, p->tap, &index, e);

	if (!rc)
		rc = link_quiet(nl, index, p->name, p->mtu, IFF_ALLMULTI, e);
	if (!rc)
		rc = link_up(nl, index, e);
	if (rc < 0)
		return err_wrap(e, "macvtap %s", p->tap);
	*ret_index = index;
	return 0;
}

/* A file system that is mounted nowhere. Return: its root, owned by the caller */
static int detached(const char *type, struct err *e)
{
	_cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
	int root = -1;

	if (fs >= 0 && !fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		root = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	return root < 0 ? err_sys(e, "a %s of the network namespace", type) : root;
}

/* The device of a macvtap of the namespace that the thread is in. */
static int device_of(uint32_t ifindex, dev_t *ret, struct err *e)
{
	_cleanup_close_ int sys = detached("sysfs", e);
	_cleanup_free_ char *text = NULL;
	unsigned int ma, mi;
	char path[64];
	int rc;

	if (sys < 0)
		return sys;
	snprintf(path, sizeof(path), "class/macvtap/tap%u/dev", ifindex);
	rc = file_read(sys, path, 64, &text, NULL, e);
	if (rc < 0)
		return rc;
	if (sscanf(text, "%u:%u", &ma, &mi) != 2)
		return err_set(e, EBADMSG, "sysfs: %s: no device", path);
	*ret = makedev(ma, mi);
	return 0;
}

static int open_queue(int dir, const char *node, bool many, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	_cleanup_close_ int fd = openat(dir, node, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (many)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_sys(e, "open a macvtap");
	return fd_steal(&fd);
}

/* In the namespace. */
static int open_all(uint32_t ifindex, int *fds, size_t n, struct err *e)
{
	_cleanup_close_ int dir = -1;
	dev_t dev = 0;
	size_t i;
	int rc = device_of(ifindex, &dev, e);

	if (!rc)
		rc = dir = detached("tmpfs", e);
	if (rc >= 0 && mknodat(dir, "tap", S_IFCHR | 0600, dev) < 0)
		rc = err_sys(e, "make a device node");
	for (i = 0; i < n && rc >= 0; i++)
		rc = fds[i] = open_queue(dir, "tap", n > 1, e);
	return rc < 0 ? rc : 0;
}

/**
 * macvtap_open() - open the queues of a macvtap
 * @netns_fd: where it is, borrowed
 * @ret_fds:  non-blocking, owned by the caller; on failure all are -1
 * @n:        how many, from 1
 *
 * Return: 0; -EBUSY if it has no more queues; minus errno
 * Context: the calling thread is in the namespace meanwhile
 */
int macvtap_open(int netns_fd, uint32_t ifindex, int *ret_fds, size_t n, struct err *e)
{
	size_t i;
	int back, rc;

	for (i = 0; i < n; i++)
		ret_fds[i] = -1;
	rc = netns_enter(netns_fd, &back, e);
	if (rc < 0)
		return rc;
	rc = open_all(ifindex, ret_fds, n, e);
	netns_leave(back);
	for (i = 0; i < n && rc < 0; i++)
		fd_close(&ret_fds[i]);
	return rc;
}

static bool holds(int proc, const char *pid, dev_t dev)
{
	char path[300];
	struct dirent *en;
	bool found = false;
	DIR *d;
	int fd;

	snprintf(path, sizeof(path), "%s/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		fd_close(&fd);
	while (d && !found && (en = readdir(d))) {
		struct stat st;

		found = !fstatat(dirfd(d), en->d_name, &st, 0) && S_ISCHR(st.st_mode) &&
			st.st_rdev == dev;
	}
	if (d)
		closedir(d);
	return found;
}

/* Return: 0; -EBUSY, naming a process that holds the device; minus errno */
static int check_free(dev_t dev, struct err *e)
{
	DIR *d = opendir("/proc");
	struct dirent *en;
	int rc = 0;

	if (!d)
		return err_sys(e, "/proc");
	while (!rc && (en = readdir(d)))
		if (strspn(en->d_name, "0123456789") == strlen(en->d_name) &&
		    holds(dirfd(d), en->d_name, dev))
			rc = err_set(e, EBUSY, "process %s holds it already; end that VM first",
				     en->d_name);
	closedir(d);
	return rc;
}

/* In the namespace. */
static int device_in(int netns_fd, uint32_t ifindex, dev_t *ret, struct err *e)
{
	int back, rc = netns_enter(netns_fd, &back, e);

	if (rc < 0)
		return rc;
	rc = device_of(ifindex, ret, e);
	netns_leave(back);
	return rc;
}

/**
 * macvtap_take() - open the queues of a macvtap that somebody else has made
 * @netns_fd: where it is, borrowed
 * @ret_fds:  as of macvtap_open()
 *
 * Return: 0; -EBUSY if a process holds it; minus errno
 * Context: the calling thread is in the namespace meanwhile
 */
int macvtap_take(int netns_fd, const struct plan_port *p, int *ret_fds, size_t n, struct err *e)
{
	dev_t dev = 0;
	int rc = device_in(netns_fd, p->ifindex, &dev, e);

	if (!rc)
		rc = check_free(dev, e);
	return rc < 0 ? rc : macvtap_open(netns_fd, p->ifindex, ret_fds, n, e);
}

/**
 * macvtap_del() - remove our macvtap, if it is there and ours
 * @lower: interface that it is on; 0: unknown
 *
 * Return: 0 or minus errno
 */
int macvtap_del(struct nl *nl, const char *name, uint32_t lower, struct err *e)
{
	return link_del(nl, name, "macvtap", lower, e);
}
