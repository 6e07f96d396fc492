/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * DOC: Talking to the monitor
 *
 * podvm-vmm is a process of its own, one per pod. Its only way in is a
 * SOCK_SEQPACKET unix socket, descriptor VMM_CONTROL_FD in the monitor. The
 * supervisor sends one struct vmm_request with descriptors (SCM_RIGHTS), the
 * monitor answers one struct vmm_reply, in order; struct vmm_reply with @type
 * VMM_EVENT comes in between at any time. The monitor trusts the supervisor;
 * the supervisor does not trust the monitor (it faces the guest): replies have
 * a fixed size and carry no descriptors. When the socket closes, the monitor
 * ends.
 *
 * Order: CONFIG or RESTORE first; then DISK, SHARE, NET, LISTEN, BROKER, CONSOLE_PORT in any number; START;
 * after it also DISK, SHARE and NET (hot plug), UNPLUG, RESIZE, LIMIT, LINK, CONNECT,
 * LISTEN, PAUSE, SAVE, RESUME, STATS, STOP; BALLOON, MEMORY and MEMORY_STATE before and
 * after it.
 *
 * A template is a machine with nothing plugged that was saved while it was paused: a file
 * that has its RAM, and one with the rest of its state. Both are of use only
 * on the host that made them, until it boots, to a monitor of the same build. A machine that
 * comes from one can have no further console ports.
 *
 * A device is named by what its guest finds it by: a disk by its serial, a share by
 * its tag, a network interface by its MAC address in lower case with colons. Names are
 * unique. To unplug one, have the guest remove it first: as long as a driver
 * holds it, UNPLUG answers EBUSY.
 */
#define VMM_CONTROL_FD 3
#define VMM_CMDLINE_BYTES 2048
#define VMM_SERIAL_BYTES 21
#define VMM_NAME_BYTES 40
#define VMM_TAG_BYTES 37
#define VMM_VCPUS_MAX 64

/* Pairs of queues of a network interface; with as many vhosts they fill a message. */
#define VMM_NET_PAIRS_MAX 8

enum vmm_type {
	/*
	 * fds: kvm, kernel, initramfs, console: a file or pipe for output, or a stream
	 * socket for input, too; and for a machine that is to become a template an empty
	 * file, which SAVE writes its RAM to
	 */
	VMM_CONFIG = 1,
	VMM_DISK,	/* fds: table or raw disk */
	VMM_NET,	/* fds: see struct vmm_net */
	VMM_BROKER,	/* fds: lib/broker.h socket */
	VMM_LISTEN,	/* fds: stream socket that the guest's next call to @port gets */
	VMM_CONNECT,	/* fds: stream socket; the monitor calls the guest's @port for it */
	VMM_START,
	VMM_STATS,
	VMM_STOP,  /* at once, without the guest's help */
	VMM_EVENT, /* reply only */
	VMM_PAUSE,  /* vCPUs leave the guest; devices go on */
	VMM_RESUME,
	VMM_UNPLUG, /* @name */
	VMM_DEVICE, /* counters of device @port, from 0; ENOENT behind the last one */
	VMM_CONSOLE_PORT, /* @name; fds: stream socket */
	VMM_RESIZE, /* @name: a raw disk that has grown; the guest is told */
	VMM_LIMIT,  /* @limit: new limits of a disk, or of a network interface without vhost */
	VMM_LINK,   /* link of the network interface @name: @port 1 is up, 0 down */
	VMM_BALLOON, /* @bytes that the guest shall give up: a multiple of 4096, below its RAM */
	VMM_MEMORY,  /* @bytes that the guest shall plug: a multiple of @block_bytes */
	VMM_MEMORY_STATE, /* state of both; asks the guest for its statistics anew */
	VMM_SHARE,  /* fds: channels of lib/share.h, one to SHARE_CHANNELS_MAX */
	VMM_SAVE,    /* fds: an empty file, which gets the state of a machine that is a template */
	/*
	 * In the place of CONFIG: a copy of a template, with the same @config. fds: kvm,
	 * the template's memory and its state, to be read, console as above
	 */
	VMM_RESTORE,
};

enum vmm_event { VMM_EVENT_NONE, VMM_EVENT_SHUTDOWN, VMM_EVENT_RESET, VMM_EVENT_ERROR };

/* The pages that guest RAM is made of. */
enum vmm_pages {
	VMM_PAGES_HOST,	  /* as /sys/kernel/mm/transparent_hugepage/enabled says */
	VMM_PAGES_NEVER,  /* 4 KiB */
	VMM_PAGES_ALWAYS, /* transparent huge pages where they fit */
	VMM_PAGES_2M,	  /* the host's reserved ones (hugetlb); nothing goes back to it */
	VMM_PAGES_1G,
	VMM_PAGES_KINDS
};

/* Step of @hotplug_bytes: a memory block of Linux (Documentation/admin-guide/mm). */
#define VMM_HOTPLUG_STEP_BYTES (128ull << 20)

/**
 * struct vmm_config - the machine
 * @ram_bytes: multiple of 2 MiB (1 GiB with VMM_PAGES_1G), 32 MiB at least
 * @vcpus:     1 to VMM_VCPUS_MAX; the guest may start fewer, and others later
 * @guest_cid: vsock address of the guest, 3 or above
 * @cmdline:   kernel command line; NUL-terminated
 * @hotplug_bytes: how far memory can grow beyond @ram_bytes, by virtio-mem; multiple
 *             of VMM_HOTPLUG_STEP_BYTES; 0: it cannot
 * @pages:     enum vmm_pages; reserved ones exclude @hotplug_bytes and @merge
 * @merge:     the host may merge equal pages with those of others (KSM)
 * @prefault:  take all RAM at CONFIG; none of it is reported as free later
 */
struct vmm_config {
	uint64_t ram_bytes;
	uint32_t vcpus;
	uint32_t guest_cid;
	char cmdline[VMM_CMDLINE_BYTES];
	uint64_t hotplug_bytes;
	uint8_t pages;
	uint8_t merge;
	uint8_t prefault;
	uint8_t reserved[5];
};

/**
 * struct vmm_limit - how much a device may move; zeros: as much as it can
 * @bytes_per_s: on average
 * @ops_per_s:   requests or packets, on average
 * @burst_bytes, @burst_ops: what may come at once after a pause; 0 with a rate:
 *               what comes in a tenth of a second
 */
struct vmm_limit {
	uint64_t bytes_per_s;
	uint64_t ops_per_s;
	uint64_t burst_bytes;
	uint64_t burst_ops;
};

/*
 * So many disks have an interrupt vector for each queue; those beyond have one for all
 * queues together. Linux takes a vector of its own kind on every processor for each of
 * the former, and of the latter one on any.
 */
#define VMM_DISKS_OWN_VECTORS 32

/**
 * struct vmm_disk - a virtio-blk device
 * @serial:    that the guest finds it by, its name; unique in the VM
 * @synthetic: the descriptor is a table (lib/disktab.h), else the raw content: a
 *             file or a block device. Where it was opened with O_DIRECT, the guest
 *             is told the blocks that this wants
 * @readonly:  writes are refused
 * @number:    for lib/broker.h
 * @limit:     requests beyond it wait in the guest's queue
 */
struct vmm_disk {
	char serial[VMM_SERIAL_BYTES];
	uint8_t synthetic;
	uint8_t readonly;
	uint8_t reserved;
	uint32_t number;
	struct vmm_limit limit;
};

/**
 * struct vmm_net - a virtio-net device
 * @pairs: queues for receiving and sending, 1 to VMM_NET_PAIRS_MAX; 0 means 1
 * @vhost: 1: the kernel moves the packets; 0: the monitor does
 * @rx, @tx: what the guest may receive and send; only where the monitor moves the
 *         packets, so not with @vhost
 *
 * Descriptors: @pairs of a tap or macvtap, opened with IFF_TAP, IFF_NO_PI and
 * IFF_VNET_HDR and, for more than one pair, IFF_MULTI_QUEUE; with @vhost then as
 * many of /dev/vhost-net, each opened by itself.
 *
 * While the link is down nothing is moved: frames of the guest wait in its queues,
 * and frames for it are lost.
 */
struct vmm_net {
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t pairs;
	uint8_t vhost;
	uint8_t reserved[5];
	struct vmm_limit rx, tx;
};

/**
 * struct vmm_set_limit - replace the limits of a device
 * @name:  as above
 * @limit: of a disk; of what the guest may receive over a network interface
 * @tx:    of what it may send over that; zeros for a disk
 */
struct vmm_set_limit {
	char name[VMM_NAME_BYTES];
	struct vmm_limit limit;
	struct vmm_limit tx;
};

/*
 * How long the guest may believe what it read of a share: a second; not at all, and
 * its files cannot be mapped for writing then; until it changes something itself,
 * which is for directories that nobody else changes.
 */
enum vmm_cache { VMM_CACHE_AUTO, VMM_CACHE_NONE, VMM_CACHE_ALWAYS };

/**
 * struct vmm_share - a virtio-fs device
 * @tag:   that the guest mounts it by, its name; unique in the VM
 * @cache: enum vmm_cache
 *
 * Whether it may be changed is the broker's to decide.
 */
struct vmm_share {
	char tag[VMM_TAG_BYTES];
	uint8_t cache;
};

struct vmm_request {
	uint32_t type; /* enum vmm_type */
	uint32_t port; /* LISTEN, CONNECT: vsock port of the guest or of the host; DEVICE; LINK */
	union {
		struct vmm_config config;
		struct vmm_disk disk;
		struct vmm_net net;
		struct vmm_share share;
		char name[VMM_NAME_BYTES];
		struct vmm_set_limit limit;
		uint64_t bytes;
	};
};

/* Exits that are counted each by itself; FAULT: no host memory for the guest. */
enum vmm_exit {
	VMM_EXIT_PIO,
	VMM_EXIT_MMIO,
	VMM_EXIT_HLT,
	VMM_EXIT_INTR,
	VMM_EXIT_OTHER,
	VMM_EXIT_IRQ_WINDOW,
	VMM_EXIT_EOI,
	VMM_EXIT_SHUTDOWN,
	VMM_EXIT_SYSTEM_EVENT,
	VMM_EXIT_INTERNAL_ERROR,
	VMM_EXIT_FAIL_ENTRY,
	VMM_EXIT_FAULT,
	VMM_EXIT_KINDS
};

/**
 * struct vmm_stats - counters and the boot timeline
 * @exits:       returns of KVM_RUN by reason, all vCPUs
 * @start_ns:    CLOCK_MONOTONIC when main() began
 * @config_ns:   the same when CONFIG had been carried out
 * @run_ns:      the same when the first vCPU entered the guest
 * @connect_ns:  the same when the guest made its first vsock call; 0 before
 */
struct vmm_stats {
	uint64_t exits[VMM_EXIT_KINDS];
	uint64_t start_ns;
	uint64_t config_ns;
	uint64_t run_ns;
	uint64_t connect_ns;
};

/* Counters of a device: field, unit, what it counts. New ones go to the end. */
#define VMM_DEVICE_COUNTERS(X) \
	X(kicks, "", "Notifications by the driver.") \
	X(interrupts, "", "Interrupts of the driver.") \
	X(requests, "", "Requests that were served.") \
	X(in_bytes, "bytes", "Bytes that the device gave to the guest.") \
	X(out_bytes, "bytes", "Bytes that the device took from the guest.") \
	X(resets, "", "Resets by the driver.") \
	X(broken, "", "Times that the driver broke a rule, and the device needed a reset.")

/**
 * struct vmm_device - counters of one device since it was plugged
 * @kind:       "blk", "net", ...
 * @name:       as it was plugged; empty where nobody gave one
 * @status:     device status (virtio 1.2, section 2.1); 64: it needs a reset
 * @kernel_queues: of @queues, how many the kernel serves now (vhost); requests,
 *              bytes and interrupts of these are not counted
 * and VMM_DEVICE_COUNTERS
 */
struct vmm_device {
	char kind[16];
	char name[VMM_NAME_BYTES];
	uint32_t status;
	uint32_t queues;
	uint32_t kernel_queues;
#define VMM_COUNTER(field, unit, help) uint64_t field;
	VMM_DEVICE_COUNTERS(VMM_COUNTER)
#undef VMM_COUNTER
};

/* Closes an OpenMetrics text. */
#define VMM_OPENMETRICS_END "# EOF\n"

/**
 * struct vmm_metrics - all that a machine counts
 * @machine:  OpenMetrics' label "pod", borrowed; NULL for none
 * @devices:  owned where vmm_metrics_get() made them
 */
struct vmm_metrics {
	const char *machine;
	struct vmm_stats stats;
	struct vmm_device *devices;
	size_t n_devices;
};

/* Statistics that a guest may give of its memory; numbers are the tags of virtio. */
enum vmm_memory_stat {
	VMM_STAT_SWAP_IN, VMM_STAT_SWAP_OUT, VMM_STAT_MAJOR_FAULTS, VMM_STAT_MINOR_FAULTS,
	VMM_STAT_FREE, VMM_STAT_TOTAL, VMM_STAT_AVAILABLE, VMM_STAT_CACHES,
	VMM_STAT_HUGE_ALLOCS, VMM_STAT_HUGE_FAILS, VMM_STAT_OOM_KILLS, VMM_STAT_ALLOC_STALLS,
	VMM_STAT_ASYNC_SCAN, VMM_STAT_DIRECT_SCAN, VMM_STAT_ASYNC_RECLAIM,
	VMM_STAT_DIRECT_RECLAIM, VMM_STAT_KINDS
};

/**
 * struct vmm_memory - guest memory; all of it in bytes where nothing else is said
 * @ram_bytes:     at START
 * @balloon_bytes: that VMM_BALLOON asked for
 * @balloon_actual: that the guest says it has given up: guest data
 * @inflated, @reported: that went back to the host by the balloon and as free
 *                 pages, since START; what the guest took again is not taken off
 * @discards:      system calls that gave it back
 * @hotplug_bytes, @block_bytes: size of the region that can be plugged, and the step
 *                 of VMM_MEMORY; 0 where there is none
 * @requested:     that VMM_MEMORY asked for
 * @plugged:       that the guest has plugged
 * @stats_ns:      CLOCK_MONOTONIC when @stat came; 0: never
 * @stats_mask:    bit n: the guest gave stat[n]
 * @stat:          by enum vmm_memory_stat: guest data, in its driver's units
 */
struct vmm_memory {
	uint64_t ram_bytes;
	uint64_t balloon_bytes, balloon_actual;
	uint64_t inflated, reported, discards;
	uint64_t hotplug_bytes, block_bytes, requested, plugged;
	uint64_t stats_ns;
	uint64_t stats_mask;
	uint64_t stat[VMM_STAT_KINDS];
};

/**
 * struct vmm_reply - answer or event
 * @type:  of the request, or VMM_EVENT
 * @error: 0 or a positive errno; @text says what to do, NUL-terminated by the reader
 * @event: enum vmm_event when @type is VMM_EVENT
 * @devfn: of DISK: where the guest finds it on PCI bus 0, slot << 3 | function
 * @stats: of STATS and of an event
 * @device: of DEVICE
 * @memory: of MEMORY_STATE
 */
struct vmm_reply {
	uint32_t type;
	int32_t error;
	uint32_t event;
	uint32_t devfn;
	struct vmm_stats stats;
	struct vmm_device device;
	struct vmm_memory memory;
	char text[256];
};

/**
 * struct vmm_spawn - how a monitor is started
 * @log_fd:    its standard error, borrowed
 * @cgroup_fd: directory of the cgroup that it starts in, borrowed; -1: ours
 * @weak_sandbox: it may go on where namespaces cannot be made
 */
struct vmm_spawn {
	int log_fd;
	int cgroup_fd;
	bool weak_sandbox;
};

/**
 * struct vmm - the supervisor's end
 * @sock:  control socket, owned
 * @pidfd: the monitor's process, owned
 * @pid:   its pid in the supervisor's namespace
 * @event: that came while vmm_call() waited for an answer; for vmm_event()
 * @have_event: @event is set: @sock may stay silent, so call vmm_event()
 */
struct vmm {
	int sock;
	int pidfd;
	pid_t pid;
	struct vmm_reply event;
	bool have_event;
};

int vmm_spawn(const char *program, const struct vmm_spawn *how, struct vmm *ret, struct err *e);
int vmm_call(struct vmm *v, const struct vmm_request *rq, const int *fds, size_t n_fds,
	     int timeout_ms, struct vmm_reply *ret, struct err *e);
void vmm_batch_vhosts(int cgroup_fd);
int vmm_event(struct vmm *v, struct vmm_reply *ret, struct err *e);
void vmm_done(struct vmm *v);

/* Whether this host could run a machine; for its administrator. */
int vmm_check_kvm(int kvm_fd, uint32_t vcpus, struct err *e);
int vmm_probe_kvm(int kvm_fd, struct err *e);
int vmm_check_images(int kernel_fd, int initramfs_fd, uint64_t ram_bytes, struct err *e);

int vmm_metrics_get(struct vmm *v, int timeout_ms, struct vmm_metrics *ret, struct err *e);
void vmm_metrics_done(struct vmm_metrics *m);
void vmm_metrics_json(const struct vmm_metrics *m, struct strbuf *o);
void vmm_metrics_openmetrics(const struct vmm_metrics *m, size_t n, struct strbuf *o);
void vmm_metrics_table(const struct vmm_metrics *m, struct strbuf *o);
const char *vmm_exit_name(enum vmm_exit kind);

#endif
