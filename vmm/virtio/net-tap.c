// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The taps of a device: all ends of one tap or macvtap, which somebody else has
 * opened. It speaks the same 12-byte header as the driver (IFF_VNET_HDR), so
 * checksum and segmentation offloads pass through: the tap is told which of them the
 * driver takes for what it receives. What it can do is found by asking for it.
 *
 * Each end that is attached gets its share of the packets, by flow. So the first
 * one is always, the others while the driver has their pair switched on. A detached
 * end still takes packets.
 *
 * When a tap's interface is deleted its ends report an error, and the link is down
 * for good. That wakes only who waits for packets; while a vhost does, we find out
 * when we use the tap for something. A macvtap does not tell at all: it falls silent.
 *
 * Sources: Linux Documentation/networking/tuntap.rst; linux/if_tun.h;
 * drivers/net/tun.c and tap.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/log.h"
#include "vmm/virtio/net.h"

/* UDP segmentation, which headers before Linux 6.2 do not name. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* A kernel that has one has both, and wants them together. */
#define USO (TUN_F_USO4 | TUN_F_USO6)

/* Stale packets that are thrown away at once: more than a tap's queue holds. */
#define DRAIN_MAX 4096

static int setup(int fd, bool many, char name[IFNAMSIZ], struct err *e)
{
	short want = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq ifr = { 0 };
	int size = NET_HDR_BYTES, flags;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_sys(e, "not a tap that is attached to an interface");
	if ((ifr.ifr_flags & want) != want)
		return err_set(e, EINVAL, "%.15s: open it with IFF_TAP, IFF_NO_PI and "
			       "IFF_VNET_HDR", ifr.ifr_name);
	if (many && !(ifr.ifr_flags & IFF_MULTI_QUEUE))
		return err_set(e, EINVAL, "%.15s: for more than one pair open it with "
			       "IFF_MULTI_QUEUE", ifr.ifr_name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return err_sys(e, "%.15s: TUNSETVNETHDRSZ", ifr.ifr_name);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "%.15s: O_NONBLOCK", ifr.ifr_name);
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	name[IFNAMSIZ - 1] = 0;
	return 0;
}

static int attach(int fd, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(fd, TUNSETQUEUE, &ifr) < 0 ? -errno : 0;
}

/* Also finds ends that are one: such a one is detached twice, or was the first. */
static int detach_others(const struct net *n, const int *fds, const char *name, struct err *e)
{
	uint16_t i;
	int rc = 0;

	for (i = 1; i < n->n_pairs && rc >= 0; i++)
		rc = attach(fds[i], false);
	if (rc >= 0 && n->n_pairs > 1 && !attach(fds[0], true))
		rc = -EINVAL;
	return rc < 0 ? err_set(e, -rc, "%s: IFF_DETACH_QUEUE: open the tap anew for each pair",
				name) : 0;
}

/**
 * net_tap_check() - are these the ends of one tap with our header?
 * @n:   its @n_pairs says how many; @uso is set
 * @fds: borrowed; afterwards the first one is attached and the others are not, and
 *       no offload is on
 *
 * Return: 0; -EINVAL with what to do; minus errno
 * Context: I/O thread
 *
 * #syscalls ioctl fcntl
 */
int net_tap_check(struct net *n, const int *fds, struct err *e)
{
	char first[IFNAMSIZ], name[IFNAMSIZ];
	uint16_t i;
	int rc;

	for (i = 0; i < n->n_pairs; i++) {
		rc = setup(fds[i], n->n_pairs > 1, i ? name : first, e);
		if (rc < 0)
			return rc;
		if (i && strcmp(first, name))
			return err_set(e, EINVAL, "taps %s and %s: all pairs are of one tap", first,
				       name);
	}
	rc = detach_others(n, fds, first, e);
	if (rc < 0)
		return rc;
	n->uso = !ioctl(fds[0], TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | USO));
	if (ioctl(fds[0], TUNSETOFFLOAD, 0ul) < 0)
		return err_sys(e, "%s: TUNSETOFFLOAD", first);
	return 0;
}

/**
 * net_tap_alive() - whether there is still an interface; if not, the link is down
 * Context: I/O thread, the device's lock
 *
 * #syscalls poll epoll_ctl
 */
bool net_tap_alive(struct net *n)
{
	struct pollfd p = { .fd = n->pair[0].tap };

	if (n->pair[0].src && poll(&p, 1, 0) == 1 && p.revents & POLLERR)
		net_tap_gone(n);
	return n->pair[0].src;
}

/**
 * net_tap_attach() - let an end have its share of the packets, or not
 * @on: what is in its queue is lost when it is off
 *
 * Ends of a tap that is gone have nothing to share.
 *
 * Return: 0; minus errno, and all is as it was
 * Context: I/O thread, the device's lock; waits for the host's network lock
 *
 * #syscalls ioctl
 */
int net_tap_attach(struct net_pair *p, bool on, struct err *e)
{
	int rc;

	if (p->attached == on || !net_tap_alive(p->net))
		return 0;
	limit_take(&p->net->host, 0);
	rc = attach(p->tap, on);
	if (rc < 0)
		return err_set(e, -rc, "tap: pair %u: %s", p->index,
			       on ? "IFF_ATTACH_QUEUE" : "IFF_DETACH_QUEUE");
	p->attached = on;
	return 0;
}

/* TUN_F_* for the features that the driver took; all else needs the checksum. */
static unsigned int offloads(const struct net *n)
{
	unsigned int f = 0;

	if (!net_acked(n, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	f |= TUN_F_CSUM;
	if (net_acked(n, VIRTIO_NET_F_GUEST_TSO4))
		f |= TUN_F_TSO4;
	if (net_acked(n, VIRTIO_NET_F_GUEST_TSO6))
		f |= TUN_F_TSO6;
	if (f != TUN_F_CSUM && net_acked(n, VIRTIO_NET_F_GUEST_ECN))
		f |= TUN_F_TSO_ECN;
	if (net_acked(n, VIRTIO_NET_F_GUEST_USO4) && net_acked(n, VIRTIO_NET_F_GUEST_USO6))
		f |= USO;
	return f;
}

/**
 * net_tap_offload() - tell the tap what the driver takes
 * Context: I/O thread, the device's lock; waits for the host's network lock
 *
 * #syscalls ioctl
 */
void net_tap_offload(struct net *n)
{
	unsigned int f = offloads(n);

	if (f == n->offload)
		return;
	limit_take(&n->host, 0);
	if (ioctl(n->pair[0].tap, TUNSETOFFLOAD, (unsigned long)f) < 0)
		log_warn("net: tap: receive offloads %#x: %s", f, strerror(errno));
	else
		n->offload = f;
}

/**
 * net_tap_drain() - throw away what a tap has kept
 * Context: I/O thread, the device's lock; @p->rx is free
 *
 * #syscalls read
 */
void net_tap_drain(struct net_pair *p)
{
	int left;

	for (left = DRAIN_MAX; left; left--)
		if (read(p->tap, p->rx, sizeof(p->rx)) < 0 && errno != EINTR)
			return;
}

/**
 * net_tap_gone() - its interface was deleted: no link any more
 * Context: I/O thread, the device's lock
 *
 * #syscalls epoll_ctl
 */
void net_tap_gone(struct net *n)
{
	uint16_t i;

	if (!n->pair[0].src)
		return;
	log_warn("net: tap: gone: the link is down");
	for (i = 0; i < n->n_pairs; i++) {
		loop_del(n->pair[i].src);
		n->pair[i].src = NULL;
	}
	n->config.status = 0;
	virtio_config_changed(&n->d);
}
