/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_PCI_H
#define VMM_VIRTIO_PCI_H

#include <stdatomic.h>

#include "vmm/irq.h"
#include "vmm/pci.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

/* Layout of BAR 0. */
#define VPCI_BAR_BYTES 4096u
#define VPCI_COMMON 0x000u
#define VPCI_ISR 0x100u
#define VPCI_DEVICE 0x200u
#define VPCI_DEVICE_BYTES 0x200u
#define VPCI_NOTIFY 0x400u
#define VPCI_NOTIFY_STEP 4u
#define VPCI_TABLE 0x800u
#define VPCI_PBA 0xc00u

/**
 * struct vpci_host - what the transport needs of the machine
 * @irq:  delivers interrupts
 * @bind: make (@on) or stop a guest write at @gpa signal @fd without an exit;
 *        any thread; failure is fine, then the write comes as an exit
 * @arg:  for both
 */
struct vpci_host {
	const struct irq_ops *irq;
	int (*bind)(void *arg, uint64_t gpa, int fd, bool on);
	void *arg;
};

/**
 * struct vpci_kick - notifications of one queue
 * @fd:    eventfd, owned
 * @src:   owned by the loop
 * @bound: where the guest's write signals @fd without an exit; 0 for nowhere
 * @lent:  the kernel serves the queue; under the device's lock
 */
struct vpci_kick {
	struct vpci *vpci;
	uint16_t queue;
	int fd;
	struct loop_src *src;
	uint64_t bound;
	bool lent;
};

/**
 * struct vpci - a virtio device as a PCI function
 * @fn:    first, so that one is the other
 * @dev:   owned
 * @isr:   ISR status; cleared by reading
 * @select, @feature_select, @driver_select: registers, under the device's lock
 * @cfg_cap: offset of the configuration access capability
 * @name:  see vmm/vmm.h; empty for a device that is never unplugged
 * @next:  list of the machine's devices
 */
struct vpci {
	struct pci_fn fn;
	struct virtio_dev *dev;
	struct msix msix;
	const struct vpci_host *host;
	struct vpci_kick kick[VIRTIO_QUEUES_MAX];
	atomic_uint isr;
	uint16_t select;
	uint32_t feature_select, driver_select;
	uint8_t msix_cap, cfg_cap;
	char name[VMM_NAME_BYTES];
	struct vpci *next;
};

/**
 * struct vpci_state - what a snapshot of a device holds
 * @kind:     of struct virtio_ops, NUL-terminated
 * @devfn:    its place on bus 0
 * @n_queues: of @queue
 * @config:   PCI configuration, without the window of the access capability
 */
struct vpci_state {
	char kind[16];
	uint16_t devfn;
	uint16_t n_queues;
	uint32_t feature_select, driver_select, select;
	uint8_t config[PCI_CONFIG_BYTES];
	struct virtio_state virtio;
	struct virtq_state queue[VIRTIO_QUEUES_MAX];
	struct msix_state msix;
};

int vpci_new(struct virtio_dev *d, const struct vpci_host *host, struct vpci **ret,
	     struct err *e);
void vpci_count(struct vpci *v, struct vmm_device *ret);
bool vpci_in_use(struct vpci *v);
void vpci_unbind(struct vpci *v);
void vpci_free(struct vpci *v);

/* vmm/virtio/pci-state.c */
int vpci_save(struct vpci *v, struct vpci_state *ret, struct err *e);
int vpci_load(struct vpci *v, struct pci *bus, const struct vpci_state *s, struct err *e);

#endif
