// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The one file that talks to /dev/vhost-net: a worker of the kernel that moves
 * packets between a tap and the two rings of a pair, in this process's memory.
 * Somebody else has opened it; its owner is this process, since the worker
 * reaches guest RAM through our mappings. Stages:
 *
 *   init    it has an owner; what it can do is known
 *   setup   features and guest RAM; then each ring: size, place, eventfds
 *   serve   it works on a ring, from now on and until it is told -1
 *   stop    no ring is worked on, and the driver's signals are not waited for
 *
 * setup and ring must come while no ring is served. After a serve of -1 has
 * returned, guest memory of that ring is not touched any more; if it fails, the
 * descriptor is closed, which ends all of it.
 *
 * What it gets: guest RAM alone, and rings that virtq_start() has found to be
 * whole and in RAM. What the driver puts into them later the kernel checks
 * by itself, against the same table of RAM; it tells of a ring that makes no
 * sense by @failed, and leaves that ring. Headers go to the tap as they are: the
 * kernel checks them there.
 *
 * Source: linux/vhost.h; drivers/vhost/vhost.c and net.c for what returns when.
 */
#include "vmm/virtio/vhost.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fd.h"

#define B(bit) (1ull << (bit))

/* What concerns a ring and the header before a packet; all else is the tap's. */
#define RING_FEATURES (B(VIRTIO_F_VERSION_1) | B(VIRTIO_NET_F_MRG_RXBUF) |               \
		       B(VIRTIO_RING_F_INDIRECT_DESC) | B(VIRTIO_RING_F_EVENT_IDX))

static int set_memory(int fd, const struct gmem *mem, struct err *e)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region r[GMEM_REGIONS_MAX + 1];
	} m = { .head.nregions = (uint32_t)mem->n };
	size_t i;

	for (i = 0; i < mem->n; i++)
		m.r[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->r[i].gpa,
			.memory_size = mem->r[i].len,
			.userspace_addr = (uintptr_t)mem->r[i].hva,
		};
	/* What is not plugged of it cannot be touched: the kernel gets a fault there. */
	if (mem->hot.r.len)
		m.r[m.head.nregions++] = (struct vhost_memory_region){
			.guest_phys_addr = mem->hot.r.gpa,
			.memory_size = mem->hot.r.len,
			.userspace_addr = (uintptr_t)mem->hot.r.hva,
		};
	return ioctl(fd, VHOST_SET_MEM_TABLE, &m) < 0 ? err_sys(e, "VHOST_SET_MEM_TABLE") : 0;
}

static int set_backend(int fd, enum vhost_ring r, int tap_fd)
{
	struct vhost_vring_file f = { .index = r, .fd = tap_fd };

	return ioctl(fd, VHOST_NET_SET_BACKEND, &f) < 0 ? -errno : 0;
}

/* Makes it ours, and asks what it can do. */
static int own(struct vhost *v, int fd, const struct gmem *mem, struct err *e)
{
	int rc;

	if (ioctl(fd, VHOST_GET_FEATURES, &v->features) < 0)
		return err_set(e, EINVAL, "not /dev/vhost-net");
	if (ioctl(fd, VHOST_SET_OWNER) < 0)
		return err_sys(e, "VHOST_SET_OWNER (each pair needs /dev/vhost-net opened anew)");
	rc = set_memory(fd, mem, e);
	if (rc < 0)
		return rc;
	/* Other kinds of vhost do not know this one. */
	if (set_backend(fd, VHOST_RX, -1) < 0)
		return err_set(e, EINVAL, "not /dev/vhost-net, but another kind of vhost");
	if (!(v->features & B(VIRTIO_F_VERSION_1)))
		return err_set(e, ENOTSUP, "this kernel's vhost-net knows no virtio 1: do without");
	return 0;
}

static int make_eventfds(struct vhost *v, struct err *e)
{
	int *const at[] = { &v->call[VHOST_RX], &v->call[VHOST_TX], &v->failed };
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		*at[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (*at[i] < 0)
			return err_sys(e, "eventfd");
	}
	return 0;
}

/**
 * vhost_init() - take a vhost-net over
 * @v:   untouched on failure; vhost_done()
 * @fd:  /dev/vhost-net, opened for this pair alone; owned by @v on success
 * @mem: guest RAM, for a check; borrowed for the call
 *
 * Return: 0; -EINVAL for a descriptor that will not do; minus errno
 * Context: I/O thread
 *
 * #syscalls ioctl eventfd2 close
 */
int vhost_init(struct vhost *v, int fd, const struct gmem *mem, struct err *e)
{
	struct vhost n = { .fd = -1, .call = { -1, -1 }, .failed = -1 };
	int rc = own(&n, fd, mem, e);

	if (rc >= 0)
		rc = make_eventfds(&n, e);
	if (rc < 0) {
		vhost_done(&n);
		return rc;
	}
	n.fd = fd;
	*v = n;
	return 0;
}

/**
 * vhost_done() - end it; twice is fine, and so is one of -1 descriptors
 * Context: I/O thread; waits until the kernel has let go of guest memory
 *
 * #syscalls close
 */
void vhost_done(struct vhost *v)
{
	fd_close(&v->fd);
	fd_close(&v->call[VHOST_RX]);
	fd_close(&v->call[VHOST_TX]);
	fd_close(&v->failed);
}

/**
 * vhost_offer() - of features that a device would offer, those that the kernel knows
 *
 * #syscalls none
 */
uint64_t vhost_offer(const struct vhost *v, uint64_t features)
{
	return features & (v->features | ~RING_FEATURES);
}

/**
 * vhost_setup() - features and memory for a driver
 * @acked: feature bits that the driver took
 * @mem:   all of guest RAM, which stays as it is until vhost_stop()
 *
 * Return: 0; -ENODEV after a stop that failed; minus errno
 * Context: I/O thread; no ring is served
 *
 * #syscalls ioctl
 */
int vhost_setup(struct vhost *v, uint64_t acked, const struct gmem *mem, struct err *e)
{
	uint64_t f = acked & v->features & RING_FEATURES;

	if (v->fd < 0)
		return err_set(e, ENODEV, "vhost-net has been given up");
	if (ioctl(v->fd, VHOST_SET_FEATURES, &f) < 0)
		return err_sys(e, "VHOST_SET_FEATURES");
	return set_memory(v->fd, mem, e);
}

static int set_file(struct vhost *v, unsigned long what, enum vhost_ring r, int fd)
{
	struct vhost_vring_file f = { .index = r, .fd = fd };

	return ioctl(v->fd, what, &f);
}

/**
 * vhost_ring() - where a ring is, and whom to signal
 * @q:       started, nothing in flight; its indices are where the kernel goes on
 * @kick_fd: eventfd that the driver's notifications signal, borrowed
 *
 * Return: 0 or minus errno
 * Context: I/O thread; the ring is not served
 *
 * #syscalls ioctl read
 */
int vhost_ring(struct vhost *v, enum vhost_ring r, const struct virtq *q, int kick_fd,
	       struct err *e)
{
	struct vhost_vring_state num = { .index = r, .num = q->s.size };
	struct vhost_vring_state base = { .index = r, .num = q->s.next_avail };
	struct vhost_vring_addr at = {
		.index = r,
		.desc_user_addr = (uintptr_t)q->desc_hva,
		.avail_user_addr = (uintptr_t)q->avail_hva,
		.used_user_addr = (uintptr_t)q->used_hva,
	};
	eventfd_t stale;

	if (eventfd_read(v->call[r], &stale) < 0 && errno != EAGAIN)
		return err_sys(e, "eventfd");
	if (ioctl(v->fd, VHOST_SET_VRING_NUM, &num) < 0)
		return err_sys(e, "VHOST_SET_VRING_NUM");
	if (ioctl(v->fd, VHOST_SET_VRING_BASE, &base) < 0)
		return err_sys(e, "VHOST_SET_VRING_BASE");
	if (ioctl(v->fd, VHOST_SET_VRING_ADDR, &at) < 0)
		return err_sys(e, "VHOST_SET_VRING_ADDR");
	if (set_file(v, VHOST_SET_VRING_CALL, r, v->call[r]) < 0)
		return err_sys(e, "VHOST_SET_VRING_CALL");
	if (set_file(v, VHOST_SET_VRING_ERR, r, v->failed) < 0)
		return err_sys(e, "VHOST_SET_VRING_ERR");
	if (set_file(v, VHOST_SET_VRING_KICK, r, kick_fd) < 0)
		return err_sys(e, "VHOST_SET_VRING_KICK");
	return 0;
}

/**
 * vhost_serve() - work on a ring, or stop that
 * @tap_fd: where packets come from or go to, borrowed; -1: stop
 *
 * A ring that is served again goes on where it stopped.
 *
 * Return: 0; minus errno: then the ring is not served
 * Context: I/O thread; waits for the kernel's worker
 *
 * #syscalls ioctl close
 */
int vhost_serve(struct vhost *v, enum vhost_ring r, int tap_fd, struct err *e)
{
	int rc;

	if (v->fd < 0)
		return tap_fd < 0 ? 0 : err_set(e, ENODEV, "vhost-net has been given up");
	rc = set_backend(v->fd, r, tap_fd);
	if (rc >= 0)
		return 0;
	if (tap_fd < 0)
		fd_close(&v->fd);
	return err_set(e, -rc, "VHOST_NET_SET_BACKEND");
}

/**
 * vhost_stop() - leave both rings; fine at any stage, also twice
 * Context: I/O thread; waits for the kernel's worker
 *
 * #syscalls ioctl close
 */
void vhost_stop(struct vhost *v)
{
	int r;

	for (r = 0; r < VHOST_RINGS; r++) {
		vhost_serve(v, (enum vhost_ring)r, -1, NULL);
		/* Nor shall the driver's signals wake it. */
		if (v->fd >= 0)
			set_file(v, VHOST_SET_VRING_KICK, (enum vhost_ring)r, -1);
	}
}
