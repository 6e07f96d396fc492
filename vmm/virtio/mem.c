// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-mem device (virtio 1.2, section 5.15): memory of the guest that
 * grows and shrinks by blocks. The host names a size (vmem_target()); the driver
 * plugs and unplugs blocks of its choice until it has that much. A plug beyond the
 * size is refused, so that the guest never has more than the host allowed; it may have
 * more than it should for as long as it does not shrink.
 *
 * vmm/gmem-hot.c does what a request means for memory, and says what becomes of
 * those who still use a block that is unplugged. This file checks requests and
 * answers them:
 *
 *   ERROR  blocks outside of the region, none, not at a block's beginning; blocks that
 *          are in that state already
 *   NACK   a plug beyond the size
 *   BUSY   the host has no memory for the change now; nothing has changed
 *   ACK    done
 *
 * Pieces. The region becomes the guest's by up to PIECES_MAX pieces, each with the
 * first block that is plugged in it, and stays so. A memory slot of KVM costs the host
 * up to 1/2048 of its size at once (Linux 6.1 with KVM_EXTERNAL_WRITE_TRACKING, as
 * Debian builds it), which a guest that never grows must not cost; to take one away
 * makes KVM forget all that it knows about all of the guest's memory. Where there is
 * no piece, an access is one to a device that does not exist.
 *
 * A request that is too short, or has no room for the answer, breaks the device.
 *
 * Pace. To plug takes no time; what the guest unplugs has to be taken apart page by
 * page, so that is done in slices of SLICE_BYTES, and after BUDGET units the device
 * pauses for PAUSE_MS, also in the middle of a request, whatever the guest notifies
 * meanwhile. While one is under way, the next is not looked at.
 *
 * A reset leaves blocks as they are (section 5.15.5.2); a request under way is
 * dropped, what it had done by then stays done. Linux unplugs all when its driver comes.
 *
 * UNPLUGGED_INACCESSIBLE is offered, since a guest that touches unplugged memory for
 * writing ends; a driver that does not take it may read there, which it can.
 *
 * The guest finds the region by the device alone: it is not in the memory map, and
 * there is no SRAT. Linux 6.1 takes that as it is (no NUMA node: ACPI_PXM is not
 * offered).
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "vmm/virtio/config.h"
#include "vmm/virtio/pace.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

#define PCI_CLASS 0xff0000	/* unassigned class */
#define RESP_BYTES 10

/* A unit is a request, a look at so many blocks, or UNIT_BYTES that are discarded; about 2 us. */
#define UNIT_BLOCKS 64
#define UNIT_BYTES (256ull << 10)
#define BUDGET 1024u
#define PAUSE_MS 10
#define SLICE_BYTES (64ull << 20)

/* Units that a piece costs, all in all seldom. */
#define PIECE_UNITS 64
#define PIECES_MAX 64

/**
 * struct vmem
 * @gmem:      its @hot is ours to change; borrowed
 * @map, @map_arg: makes pieces the guest's
 * @piece_blocks: size of a piece
 * @mapped:    one bit for each piece that is
 * @requested: size that the host allows, bytes
 * @plugged:   blocks
 * @chain:     request under way while @next < @end
 * @from, @next, @end: its blocks: [@from, @next) are unplugged already
 * @all:       it is UNPLUG_ALL: blocks that are not plugged are left out
 * @left, @not_before_ms, @pace: as in vmm/virtio/balloon.c
 * @sweep:     timerfd of gmem_hot_sweep(), owned
 */
struct vmem {
	struct virtio_dev d;
	struct gmem *gmem;
	vmem_map_fn *map;
	void *map_arg;
	uint32_t piece_blocks;
	uint64_t mapped;
	uint64_t requested;
	uint32_t plugged;
	struct virtq_chain chain;
	uint32_t from, next, end;
	bool all;
	unsigned int left;
	uint64_t not_before_ms;
	struct pace pace;
	int sweep;
	struct loop_src *sweep_src;
};

static struct vmem *vmem_of(struct virtio_dev *d)
{
	return (struct vmem *)d;
}

static void spend(struct vmem *v, uint64_t units)
{
	v->left = units < v->left ? v->left - (unsigned int)units : 0;
}

static void answer(struct vmem *v, uint16_t type, uint16_t state)
{
	struct virtio_mem_resp r = { .type = type, .u.state.state = state };

	chain_write(&v->chain, 0, &r, RESP_BYTES);
	virtq_push(&v->d.q[0], v->chain.head, RESP_BYTES);
	virtio_notify(&v->d, 0);
	v->next = v->end = 0;
}

/* The blocks of a request. Return: false if they are not all in the region */
static bool range(struct vmem *v, uint64_t gpa, uint16_t n, uint32_t *ret_first)
{
	const struct gmem_hot *h = &v->gmem->hot;
	uint64_t at = gpa - h->r.gpa;

	if (gpa < h->r.gpa || at >= h->r.len || at % h->block_bytes || !n)
		return false;
	spend(v, n / UNIT_BLOCKS);
	*ret_first = (uint32_t)(at / h->block_bytes);
	return n <= h->n - *ret_first;
}

/* Makes the pieces of some blocks the guest's, where they are not. */
static int map_pieces(struct vmem *v, uint32_t first, uint32_t n)
{
	const struct gmem_hot *h = &v->gmem->hot;
	uint32_t i;

	for (i = first / v->piece_blocks; i <= (first + n - 1) / v->piece_blocks; i++) {
		uint64_t at = (uint64_t)i * v->piece_blocks * h->block_bytes;
		uint64_t len = v->piece_blocks * h->block_bytes;
		struct gmem_region r = { .gpa = h->r.gpa + at, .hva = h->r.hva + at };
		int rc;

		if (v->mapped >> i & 1)
			continue;
		r.len = len < h->r.len - at ? len : h->r.len - at;
		spend(v, PIECE_UNITS);
		rc = v->map(v->map_arg, i, &r);
		if (rc < 0)
			return rc;
		v->mapped |= 1ull << i;
	}
	return 0;
}

static void plug(struct vmem *v, uint64_t gpa, uint16_t n)
{
	uint64_t block = v->gmem->hot.block_bytes;
	uint32_t first;

	if (!range(v, gpa, n, &first) || gmem_hot_count(v->gmem, first, n)) {
		answer(v, VIRTIO_MEM_RESP_ERROR, 0);
	} else if ((v->plugged + (uint64_t)n) * block > v->requested) {
		answer(v, VIRTIO_MEM_RESP_NACK, 0);
	} else if (map_pieces(v, first, n) < 0 || gmem_hot_plug(v->gmem, first, n) < 0) {
		answer(v, VIRTIO_MEM_RESP_BUSY, 0);
	} else {
		v->plugged += n;
		answer(v, VIRTIO_MEM_RESP_ACK, 0);
	}
}

static void state(struct vmem *v, uint64_t gpa, uint16_t n)
{
	uint32_t first, plugged;

	if (!range(v, gpa, n, &first)) {
		answer(v, VIRTIO_MEM_RESP_ERROR, 0);
		return;
	}
	plugged = gmem_hot_count(v->gmem, first, n);
	answer(v, VIRTIO_MEM_RESP_ACK, plugged == n ? VIRTIO_MEM_STATE_PLUGGED
			     : plugged ? VIRTIO_MEM_STATE_MIXED : VIRTIO_MEM_STATE_UNPLUGGED);
}

static void unplug(struct vmem *v, uint64_t gpa, uint16_t n)
{
	uint32_t first;

	if (!range(v, gpa, n, &first) || gmem_hot_count(v->gmem, first, n) != n) {
		answer(v, VIRTIO_MEM_RESP_ERROR, 0);
		return;
	}
	v->from = v->next = first;
	v->end = first + n;
	v->all = false;
}

static void unplug_all(struct vmem *v)
{
	v->from = v->next = 0;
	v->end = v->gmem->hot.n;
	v->all = true;
}

/*
 * The host could not: the driver is told that nothing has changed, so what was
 * unplugged comes back, empty. UNPLUG_ALL makes no such promise.
 */
static void give_up(struct vmem *v)
{
	if (!v->all && v->next > v->from)
		gmem_hot_plug(v->gmem, v->from, v->next - v->from);
	v->plugged = gmem_hot_count(v->gmem, 0, v->gmem->hot.n);
	answer(v, VIRTIO_MEM_RESP_BUSY, 0);
}

/* Unplugs the next slice of the request under way, and answers it at its end. */
static void unplug_slice(struct vmem *v)
{
	const struct gmem_hot *h = &v->gmem->hot;
	uint32_t most = (uint32_t)(SLICE_BYTES / h->block_bytes), n;

	n = gmem_hot_run(v->gmem, v->next, v->end - v->next, false);
	spend(v, n / UNIT_BLOCKS);
	v->next += n;
	n = v->end - v->next < most ? v->end - v->next : most;
	n = gmem_hot_run(v->gmem, v->next, n, true);
	spend(v, n * h->block_bytes / UNIT_BYTES + 1);
	if (n && gmem_hot_unplug(v->gmem, v->next, n) < 0) {
		give_up(v);
		return;
	}
	v->plugged -= n;
	v->next += n;
	if (v->next == v->end)
		answer(v, VIRTIO_MEM_RESP_ACK, 0);
}

/* Takes and begins a request. Return: as virtq_take() */
static int take(struct vmem *v, struct err *e)
{
	struct virtio_mem_req r;
	int rc = virtq_take(&v->d.q[0], &v->chain, e);

	if (rc <= 0)
		return rc;
	if (chain_read(&v->chain, 0, &r, sizeof(r)) < sizeof(r))
		return err_set(e, EPROTO, "a request of %llu bytes",
			       (unsigned long long)v->chain.out_bytes);
	if (v->chain.in_bytes < RESP_BYTES)
		return err_set(e, EPROTO, "a request with room of %llu bytes for its answer",
			       (unsigned long long)v->chain.in_bytes);
	spend(v, 1);
	switch (r.type) {
	case VIRTIO_MEM_REQ_PLUG:
		plug(v, r.u.plug.addr, r.u.plug.nb_blocks);
		break;
	case VIRTIO_MEM_REQ_UNPLUG:
		unplug(v, r.u.unplug.addr, r.u.unplug.nb_blocks);
		break;
	case VIRTIO_MEM_REQ_UNPLUG_ALL:
		unplug_all(v);
		break;
	case VIRTIO_MEM_REQ_STATE:
		state(v, r.u.state.addr, r.u.state.nb_blocks);
		break;
	default:
		answer(v, VIRTIO_MEM_RESP_ERROR, 0);
	}
	return 1;
}

static void vmem_kick(struct virtio_dev *d, uint16_t q)
{
	struct vmem *v = vmem_of(d);
	uint64_t now = clock_ms();
	struct err e;
	int rc = 1;

	(void)q;
	if (now < v->not_before_ms) {
		pace_later(&v->pace, v->not_before_ms - now);
		return;
	}
	v->left = BUDGET;
	while (v->left && rc > 0) {
		if (v->next < v->end)
			unplug_slice(v);
		else
			rc = take(v, &e);
	}
	if (rc < 0) {
		virtio_broken(d, e.text);
	} else if (rc) {
		v->not_before_ms = clock_ms() + PAUSE_MS;
		pace_later(&v->pace, PAUSE_MS);
	}
}

static void on_sweep(void *arg, uint32_t events)
{
	struct vmem *v = arg;

	(void)events;
	timer_ack(v->sweep);
	gmem_hot_sweep(v->gmem);
}

static void vmem_config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	const struct vmem *v = vmem_of(d);
	const struct gmem_hot *h = &v->gmem->hot;
	struct virtio_mem_config c = { .block_size = h->block_bytes,
				       .addr = h->r.gpa,
				       .region_size = h->r.len,
				       .usable_region_size = h->r.len,
				       .plugged_size = v->plugged * h->block_bytes,
				       .requested_size = v->requested };

	config_copy(&c, sizeof(c), offset, buf, len);
}

/* What the driver put in the queue before DRIVER_OK may come without a kick. */
static void vmem_start(struct virtio_dev *d)
{
	pace_later(&vmem_of(d)->pace, 1);
}

static bool vmem_stop(struct virtio_dev *d)
{
	vmem_of(d)->next = vmem_of(d)->end = 0;
	return true;
}

static void vmem_free(struct virtio_dev *d)
{
	struct vmem *v = vmem_of(d);

	v->gmem->hot.sweep_fd = -1;
	loop_del(v->sweep_src);
	fd_close(&v->sweep);
	pace_done(&v->pace);
	pthread_mutex_destroy(&d->lock);
	free(v);
}

/* Pieces begin where the blocks of Linux do. */
static uint32_t piece_blocks(const struct gmem_hot *h)
{
	uint64_t bytes = VMM_HOTPLUG_STEP_BYTES;

	while (h->r.len > bytes * PIECES_MAX)
		bytes *= 2;
	return (uint32_t)(bytes / h->block_bytes);
}

static const struct virtio_ops vmem_ops = {
	.name = "mem",
	.device_id = VIRTIO_ID_MEM,
	.pci_class = PCI_CLASS,
	.n_queues = 1,
	.config_read = vmem_config_read,
	.start = vmem_start,
	.stop = vmem_stop,
	.kick = vmem_kick,
	.free = vmem_free,
};

/**
 * vmem_new() - a device that plugs the blocks of @mem, none of them so far
 * @mem:  has a pluggable region; borrowed, outlives the device
 * @map:  makes a piece of the region the guest's; called on the I/O thread, with the
 *        device's lock held; of memory, only pages of plugged blocks can be written
 * @loop: of the I/O thread, borrowed, outlives the device
 * @ret:  owned by the caller, freed by its ops
 *
 * Return: 0 or minus errno
 * Context: I/O thread, or before it runs
 * Source: virtio 1.2, section 5.15
 *
 * #syscalls mprotect madvise timerfd_create timerfd_settime epoll_ctl close ioctl
 */
int vmem_new(struct gmem *mem, vmem_map_fn *map, void *arg, struct loop *loop,
	     struct virtio_dev **ret, struct err *e)
{
	struct vmem *v = mem_new(struct vmem);
	int rc;

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	v->gmem = mem;
	v->map = map;
	v->map_arg = arg;
	v->piece_blocks = piece_blocks(&mem->hot);
	v->sweep = v->pace.timer = -1;
	rc = virtio_init(&v->d, &vmem_ops, 1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE, mem,
			 loop);
	if (rc < 0) {
		free(v);
		return err_set(e, -rc, "mem");
	}
	v->sweep = timer_new(e);
	if (v->sweep < 0)
		rc = v->sweep;
	if (!rc)
		rc = loop_add(loop, v->sweep, EPOLLIN, on_sweep, v, &v->sweep_src, e);
	if (!rc)
		rc = pace_init(&v->pace, &v->d, 0, e);
	if (rc < 0) {
		vmem_free(&v->d);
		return rc;
	}
	mem->hot.sweep_fd = v->sweep;
	*ret = &v->d;
	return 0;
}

/**
 * vmem_target() - how much the guest shall have plugged
 * @bytes: multiple of the block size, up to the region's
 *
 * Return: 0; -EINVAL
 * Context: I/O thread, @lock not held
 *
 * #syscalls none
 */
int vmem_target(struct virtio_dev *d, uint64_t bytes, struct err *e)
{
	const struct gmem_hot *h = &vmem_of(d)->gmem->hot;

	if (bytes % h->block_bytes || bytes > h->r.len)
		return err_set(e, EINVAL,
			       "%llu bytes to be plugged: give a multiple of %llu MiB up to %llu MiB",
			       (unsigned long long)bytes, (unsigned long long)h->block_bytes >> 20,
			       (unsigned long long)h->r.len >> 20);
	pthread_mutex_lock(&d->lock);
	vmem_of(d)->requested = bytes;
	virtio_config_changed(d);
	pthread_mutex_unlock(&d->lock);
	return 0;
}

/**
 * vmem_state() - tell sizes
 * @ret: the fields of pluggable memory are set
 *
 * Context: I/O thread, @lock not held
 *
 * #syscalls none
 */
void vmem_state(struct virtio_dev *d, struct vmm_memory *ret)
{
	const struct vmem *v = vmem_of(d);
	const struct gmem_hot *h = &v->gmem->hot;

	pthread_mutex_lock(&d->lock);
	ret->hotplug_bytes = h->r.len;
	ret->block_bytes = h->block_bytes;
	ret->requested = v->requested;
	ret->plugged = v->plugged * h->block_bytes;
	pthread_mutex_unlock(&d->lock);
}
