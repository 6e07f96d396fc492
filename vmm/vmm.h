/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

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
 * Order: CONFIG first; then DISK, SHARE, NET, LISTEN, BROKER in any number; START;
 * after it also DISK, SHARE (hot plug), UNPLUG, CONNECT, LISTEN, PAUSE, RESUME,
 * STATS, STOP.
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

enum vmm_type {
	VMM_CONFIG = 1, /* fds: kvm, kernel, initramfs, console output (a file or pipe) */
	VMM_DISK,	/* fds: table or raw disk */
	VMM_NET,	/* fds: tap */
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
	VMM_SHARE,  /* fds: channels of lib/share.h, one to SHARE_CHANNELS_MAX */
};

enum vmm_event { VMM_EVENT_NONE, VMM_EVENT_SHUTDOWN, VMM_EVENT_RESET, VMM_EVENT_ERROR };

/**
 * struct vmm_config - the machine
 * @ram_bytes: multiple of 2 MiB, 32 MiB at least
 * @vcpus:     1 to VMM_VCPUS_MAX
 * @guest_cid: vsock address of the guest, 3 or above
 * @cmdline:   kernel command line; NUL-terminated
 */
struct vmm_config {
	uint64_t ram_bytes;
	uint32_t vcpus;
	uint32_t guest_cid;
	char cmdline[VMM_CMDLINE_BYTES];
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

/**
 * struct vmm_disk - a virtio-blk device
 * @serial:    that the guest finds it by, its name; unique in the VM
 * @synthetic: the descriptor is a table (lib/disktab.h), else the raw content
 * @readonly:  writes are refused
 * @number:    for lib/broker.h
 */
struct vmm_disk {
	char serial[VMM_SERIAL_BYTES];
	uint8_t synthetic;
	uint8_t readonly;
	uint8_t reserved;
	uint32_t number;
};

/**
 * struct vmm_net - a virtio-net device
 */
struct vmm_net {
	uint8_t mac[6];
	uint16_t mtu;
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
	uint32_t port; /* LISTEN, CONNECT: vsock port of the guest or of the host; DEVICE */
	union {
		struct vmm_config config;
		struct vmm_disk disk;
		struct vmm_net net;
		struct vmm_share share;
		char name[VMM_NAME_BYTES];
	};
};

/* Exits that are counted each by itself. */
enum vmm_exit {
	VMM_EXIT_PIO,
	VMM_EXIT_MMIO,
	VMM_EXIT_HLT,
	VMM_EXIT_INTR,
	VMM_EXIT_OTHER,
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

/**
 * struct vmm_device - counters of one device since it was plugged
 * @kind:       "blk", "net", ...
 * @name:       as it was plugged; empty where nobody gave one
 * @status:     device status (virtio 1.2, section 2.1); 64: it needs a reset
 * @kicks, @interrupts: notifications of its driver, and of the driver
 * @requests:   that it served
 * @in_bytes, @out_bytes: that it gave to the guest, and took from it
 * @resets, @broken: times that it was reset, and that its driver broke a rule
 */
struct vmm_device {
	char kind[16];
	char name[VMM_NAME_BYTES];
	uint32_t status;
	uint32_t queues;
	uint64_t kicks, interrupts, requests, in_bytes, out_bytes, resets, broken;
};

/**
 * struct vmm_reply - answer or event
 * @type:  of the request, or VMM_EVENT
 * @error: 0 or a positive errno; @text says what to do, NUL-terminated by the reader
 * @event: enum vmm_event when @type is VMM_EVENT
 * @stats: of STATS and of an event
 * @device: of DEVICE
 */
struct vmm_reply {
	uint32_t type;
	int32_t error;
	uint32_t event;
	uint32_t reserved;
	struct vmm_stats stats;
	struct vmm_device device;
	char text[256];
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

int vmm_spawn(const char *program, int log_fd, struct vmm *ret, struct err *e);
int vmm_call(struct vmm *v, const struct vmm_request *rq, const int *fds, size_t n_fds,
	     int timeout_ms, struct vmm_reply *ret, struct err *e);
int vmm_event(struct vmm *v, struct vmm_reply *ret, struct err *e);
void vmm_done(struct vmm *v);

#endif
