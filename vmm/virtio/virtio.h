/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "vmm/virtio/queue.h"

/* Queues of one device: eight pairs of virtio-net and its control queue. */
#define VIRTIO_QUEUES_MAX 17

struct virtio_dev;
struct vmm_set_limit;

/**
 * struct virtio_ops - what a kind of device does
 * @name:         for logs and counters: "blk", "net", …
 * @device_id:    virtio device number (virtio 1.2, section 5)
 * @pci_class:    24-bit PCI class code
 * @n_queues:     how many; 0: the device sets virtio_dev.n_queues itself, after
 *                virtio_init() with virtio_set_queues()
 * @one_vector:   of MSI-X for all queues: for a device that interrupts seldom. A vector
 *                costs a guest 16 exits at boot
 * @config_read:  fill @len bytes from @offset of the device configuration; bytes
 *                behind its end read as zero; any vCPU thread, @lock held
 * @config_write: as above; NULL: writes are ignored
 * @start:        DRIVER_OK was set, queues are ready; any vCPU thread, @lock held
 * @stop:         reset or end; drop every reference into queues and guest memory;
 *                must be fine before @start and twice; @lock held. Return: true when
 *                that is done; false if others still work on guest memory: the I/O
 *                thread calls virtio_reset_done() when they have ended
 * @kick:         the driver notified queue @q; I/O thread, @lock held
 * @free:         the device's end, after @stop; waits for what @stop could not end
 * @resize:       look at what is behind the device anew, and tell the driver; NULL: has
 *                no size; I/O thread, @lock held. Return: 0 or minus errno
 * @limit:        new limits of what it may move; NULL: takes none; I/O thread, @lock
 *                held. Return: 0 or minus errno
 * @broken:       NEEDS_RESET was set; any thread, @lock held; NULL: nothing to do
 */
struct virtio_ops {
	const char *name;
	uint16_t device_id;
	uint32_t pci_class;
	uint16_t n_queues;
	bool one_vector;
	void (*config_read)(struct virtio_dev *d, uint32_t offset, void *buf,
			    uint32_t len);
	void (*config_write)(struct virtio_dev *d, uint32_t offset,
			     const void *buf, uint32_t len);
	void (*start)(struct virtio_dev *d);
	bool (*stop)(struct virtio_dev *d);
	void (*kick)(struct virtio_dev *d, uint16_t q);
	void (*free)(struct virtio_dev *d);
	int (*resize)(struct virtio_dev *d, struct err *e);
	int (*limit)(struct virtio_dev *d, const struct vmm_set_limit *cfg, struct err *e);
	void (*broken)(struct virtio_dev *d);
};

/**
 * struct virtio_state - what a snapshot of a device holds
 * @offered:  feature bits that the device offers
 * @acked:    feature bits that the driver took
 * @status:   device status (virtio 1.2, section 2.1)
 * @config_generation: grows with every change of the configuration
 * @config_vector:     MSI-X vector of configuration changes or VIRTQ_NO_VECTOR
 */
struct virtio_state {
	uint64_t offered;
	uint64_t acked;
	uint8_t status;
	uint8_t config_generation;
	uint16_t config_vector;
};

/**
 * struct virtio_count - what happened to a device since it was made
 * @kicks:      notifications of the driver that arrived
 * @interrupts: that were raised, those of the configuration too
 * @resets:     by the driver, the first one of each start included
 * @broken:     times that NEEDS_RESET was set
 */
struct virtio_count {
	uint64_t kicks, interrupts, resets, broken;
};

/**
 * struct virtio_dev - one device, embedded first in each device's own struct
 * @ops:      its kind
 * @s:        state
 * @q:        queues
 * @mem:      borrowed
 * @loop:     the I/O thread's loop, borrowed: devices add their descriptors to it
 * @lock:     held during every ops call and by the device's own loop callbacks
 * @interrupt: transport's way to raise MSI-X @vector; may be called with @lock held
 * @transport: for @interrupt, @lend and @take_back
 * @lend:      transport's way to have the kernel serve running queue @q: from now on
 *             a notification signals the eventfd that is returned (borrowed), and
 *             nobody here looks at it; a signal of eventfd @call_fd (borrowed until
 *             @take_back) interrupts the driver. I/O thread, @lock held. Return:
 *             a descriptor, or minus errno. NULL: this transport cannot
 * @take_back: undoes @lend; twice is fine. I/O thread, @lock held
 * @n_queues: how many of @q there are
 * @vectors:  of MSI-X that the driver is offered: one for each queue and one for the
 *            configuration; where there are two, all queues share the second one
 * @count:    under @lock
 * @running:  between @start and @stop
 * @resetting: a reset waits for virtio_reset_done(); the driver still reads the
 *            old status, and what it writes is dropped
 */
struct virtio_dev {
	const struct virtio_ops *ops;
	struct virtio_state s;
	struct virtq q[VIRTIO_QUEUES_MAX];
	const struct gmem *mem;
	struct loop *loop;
	pthread_mutex_t lock;
	void (*interrupt)(void *transport, uint16_t vector);
	void *transport;
	int (*lend)(void *transport, uint16_t q, int call_fd);
	void (*take_back)(void *transport, uint16_t q);
	uint16_t n_queues;
	uint16_t vectors;
	struct virtio_count count;
	bool running;
	bool resetting;
};

/*
 * All of these want @lock held, except virtio_init(). virtio_notify() asks
 * virtq_should_notify() itself, once: devices call only virtio_notify() after
 * a batch of virtq_push().
 */
int virtio_init(struct virtio_dev *d, const struct virtio_ops *ops,
		uint64_t features, const struct gmem *mem, struct loop *loop);
void virtio_notify(struct virtio_dev *d, uint16_t q);
void virtio_config_changed(struct virtio_dev *d);
void virtio_broken(struct virtio_dev *d, const char *why);
void virtio_reset(struct virtio_dev *d);
void virtio_reset_done(struct virtio_dev *d);
void virtio_set_queues(struct virtio_dev *d, uint16_t n);
uint32_t virtio_features_read(const struct virtio_dev *d, uint32_t select);
void virtio_features_write(struct virtio_dev *d, uint32_t select, uint32_t v);
void virtio_status_write(struct virtio_dev *d, uint8_t status);

/* Constructors: descriptors are taken over on success only. */
struct vmm_disk;
struct vmm_net;
struct aio;

/**
 * struct blk_host - what a disk needs of the machine; all borrowed, outlives it
 * @broker_fd: lib/broker.h socket; -1 where no synthetic disk names files
 * @vcpus:     of the guest, for the number of queues
 * @one_vector: for all queues of the disk
 */
struct blk_host {
	const struct gmem *mem;
	struct loop *loop;
	struct aio *aio;
	int broker_fd;
	uint32_t vcpus;
	bool one_vector;
};

int blk_new(const struct vmm_disk *cfg, int fd, const struct blk_host *host,
	    struct virtio_dev **ret, struct err *e);
int net_new(const struct vmm_net *cfg, int *fds, size_t n_fds, const struct gmem *mem,
	    struct loop *loop, struct virtio_dev **ret, struct err *e);
int net_link(struct virtio_dev *d, bool up, struct err *e);
int vsock_new(uint32_t guest_cid, const struct gmem *mem, struct loop *loop,
	      struct virtio_dev **ret, struct err *e);
int vsock_listen(struct virtio_dev *d, uint32_t port, int fd, struct err *e);
int vsock_connect(struct virtio_dev *d, uint32_t port, int fd, struct err *e);
bool vsock_in_use(struct virtio_dev *d);
uint64_t vsock_first_call_ns(const struct virtio_dev *d);
int rng_new(const struct gmem *mem, struct loop *loop, struct virtio_dev **ret,
	    struct err *e);
struct fs_pool;
struct vmm_share;
int fs_new(const struct vmm_share *cfg, const int *fds, unsigned int n_fds,
	   unsigned int queues, struct fs_pool *pool, const struct gmem *mem,
	   struct loop *loop, struct virtio_dev **ret, struct err *e);
int console_new(int out_fd, const struct gmem *mem, struct loop *loop,
		struct virtio_dev **ret, struct err *e);
int console_add_port(struct virtio_dev *d, const char *name, int fd, struct err *e);

struct vmm_memory;
int balloon_new(bool report_free, const struct gmem *mem, struct loop *loop,
		struct virtio_dev **ret, struct err *e);
int balloon_target(struct virtio_dev *d, uint64_t bytes, struct err *e);
void balloon_state(struct virtio_dev *d, struct vmm_memory *ret);
/* Makes a piece of memory the guest's, once for each piece; minus errno if that fails. */
typedef int vmem_map_fn(void *arg, uint32_t n, const struct gmem_region *r);

int vmem_new(struct gmem *mem, vmem_map_fn *map, void *arg, struct loop *loop,
	     struct virtio_dev **ret, struct err *e);
int vmem_target(struct virtio_dev *d, uint64_t bytes, struct err *e);
void vmem_state(struct virtio_dev *d, struct vmm_memory *ret);

#endif
