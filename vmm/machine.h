/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "lib/loop.h"
#include "vmm/aio.h"
#include "vmm/bus.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"
#include "vmm/virtio/pci.h"
#include "vmm/vmm.h"

/*
 * Descriptors of VMM_CONFIG, in this order, the last one only for a machine that is to
 * become a template; and of VMM_RESTORE.
 */
enum machine_fd { MACHINE_KVM, MACHINE_KERNEL, MACHINE_INITRAMFS, MACHINE_CONSOLE,
		  MACHINE_FDS, MACHINE_TEMPLATE = MACHINE_FDS, MACHINE_FDS_MAX,
		  MACHINE_CLONE = MACHINE_KERNEL, MACHINE_STATE = MACHINE_INITRAMFS };

enum machine_stage { MACHINE_NEW, MACHINE_CONFIGURED, MACHINE_RUNNING, MACHINE_PAUSED,
		     MACHINE_ENDED };

/**
 * struct machine - the virtual machine of this process
 * @stage:    I/O thread only
 * @config:   that it was made with
 * @template: where machine_save() writes RAM, owned; -1: it is not to be saved
 * @swap:     the host has swap space; only where it is to be saved
 * @loop:     the I/O thread's, owned
 * @mem, @kvm, @bus, @cpus: owned
 * @host:     what virtio devices need of us
 * @devices:  list, owned
 * @console:  until START, which puts it on the bus; owned
 * @aio:      what disks have carried out, owned
 * @vsock, @balloon, @memory: among them; @memory NULL where memory does not grow
 * @broker:   lib/broker.h socket, owned; -1 for none
 * @shares:   workers of virtio-fs devices, owned
 * @lock:     of @event and @text
 * @event:    how the guest ended; the first one counts
 * @event_fd: eventfd, signalled when @event is set; owned
 */
struct machine {
	enum machine_stage stage;
	struct vmm_config config;
	int template;
	bool swap;
	struct loop *loop;
	struct gmem mem;
	struct kvm kvm;
	struct bus bus;
	struct vcpus cpus;
	struct vpci_host host;
	struct vpci *devices;
	struct virtio_dev *vsock;
	struct virtio_dev *console;
	struct aio *aio;
	struct virtio_dev *balloon;
	struct virtio_dev *memory;
	int broker;
	struct fs_pool *shares;
	pthread_mutex_t lock;
	enum vmm_event event;
	char text[200];
	int event_fd;
};

int machine_init(struct machine *m, struct err *e);
int machine_config(struct machine *m, const struct vmm_config *cfg,
		   int fds[MACHINE_FDS_MAX], struct err *e);
int machine_restore(struct machine *m, const struct vmm_config *cfg, int fds[MACHINE_FDS],
		    struct err *e);
int machine_save(struct machine *m, int fd, struct err *e);
int machine_disk(struct machine *m, const struct vmm_disk *cfg, int *fd, uint32_t *ret_devfn,
		 struct err *e);
int machine_console_port(struct machine *m, const char *name, int *fd, struct err *e);
int machine_net(struct machine *m, const struct vmm_net *cfg, int *fds, size_t n_fds,
		struct err *e);
int machine_link(struct machine *m, const char *name, bool up, struct err *e);
int machine_share(struct machine *m, const struct vmm_share *cfg, int *fds, size_t n_fds,
		  struct err *e);
int machine_unplug(struct machine *m, const char *name, struct err *e);
int machine_resize(struct machine *m, const char *name, struct err *e);
int machine_limit(struct machine *m, const struct vmm_set_limit *cfg, struct err *e);
int machine_start(struct machine *m, struct err *e);
void machine_pause(struct machine *m);
void machine_resume(struct machine *m);
void machine_stop(struct machine *m);
enum vmm_event machine_event(struct machine *m, char *text, size_t room);
void machine_stats(struct machine *m, struct vmm_stats *ret);
int machine_device(struct machine *m, uint32_t i, struct vmm_device *ret, struct err *e);
void machine_done(struct machine *m);

/* vmm/memory.c */
int machine_make_memory(struct machine *m, int clone, struct err *e);
int machine_balloon(struct machine *m, uint64_t bytes, struct err *e);
int machine_memory(struct machine *m, uint64_t bytes, struct err *e);
void machine_memory_state(struct machine *m, struct vmm_memory *ret);

#endif
