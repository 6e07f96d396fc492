/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_PCI_H
#define VMM_PCI_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

#define PCI_CONFIG_BYTES 256
#define PCI_FUNCTIONS 256

/*
 * Memory window of the root: between low RAM and the local APICs. Each function
 * has a part of its own, by its number, so that one that comes after another
 * needs no search.
 */
#define PCI_MMIO_BASE 0xc0000000u
#define PCI_MMIO_END 0xfeb00000u
#define PCI_BAR_MAX_BYTES 0x10000u

/*
 * Configuration space of bus 0 (PCI Firmware Specification 3.0, section 4.1: "MMCONFIG"):
 * one page for each function.
 */
#define PCI_ECAM_BASE 0xfeb00000u
#define PCI_ECAM_FN_BYTES 4096u
#define PCI_ECAM_BYTES (PCI_FUNCTIONS * PCI_ECAM_FN_BYTES)

/* Registers that more than one file needs. */
#define PCI_REG_COMMAND 0x04
#define PCI_REG_STATUS 0x06
#define PCI_REG_HEADER 0x0e
#define PCI_REG_BAR0 0x10
#define PCI_REG_CAPS 0x34
#define PCI_COMMAND_MEM 0x0002

struct pci_fn;

/**
 * struct pci_fn_ops - what a function does; any vCPU thread
 * @config_write: after writable bytes of the range have changed; may change others,
 *                which the guest then sees; pci lock held; may be NULL
 * @bar_moved:    BAR 0 was given @address, or decodes there now and did not at
 *                the last call; pci lock held; may be NULL
 * @bar_read, @bar_write: inside BAR 0; no pci lock; @len is 1, 2, 4 or 8
 */
struct pci_fn_ops {
	void (*config_write)(struct pci_fn *f, uint32_t offset, uint32_t len);
	void (*bar_moved)(struct pci_fn *f, uint64_t address);
	void (*bar_read)(struct pci_fn *f, uint32_t offset, void *data, uint32_t len);
	void (*bar_write)(struct pci_fn *f, uint32_t offset, const void *data,
			  uint32_t len);
};

/**
 * struct pci_fn - a function of bus 0, embedded in its device
 * @ops:       borrowed; NULL for one that only has configuration bytes
 * @config:    state, under the pci lock; the guest reads a copy
 * @writable:  mask of bits that the guest may change
 * @bar_bytes: size of BAR 0, a power of two from 4 KiB to PCI_BAR_MAX_BYTES; 0 for none
 * @bar_at:    where @bar_moved was last told
 * @devfn:     set by pci_add()
 * @cap_link:  where the next capability's offset goes; 0 before the first one
 * @cap_end:   first free byte behind the last capability
 */
struct pci_fn {
	const struct pci_fn_ops *ops;
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES];
	uint32_t bar_bytes;
	uint64_t bar_at;
	uint8_t devfn;
	uint8_t cap_link;
	uint8_t cap_end;
};

/**
 * struct pci - bus 0
 * @lock:    of everything here and of all functions' configuration; outside of
 *           device locks
 * @space:   PCI_ECAM_BYTES of configuration space as the guest reads it, owned;
 *           written under @lock, read by guests at any time
 * @fn:      functions by devfn, borrowed; never removed while vCPUs run
 * @host:    the host bridge, 00:00.0
 * @end:     highest devfn that was ever used, and one
 */
struct pci {
	pthread_mutex_t lock;
	uint8_t *space;
	struct pci_fn *fn[PCI_FUNCTIONS];
	struct pci_fn host;
	uint32_t end;
};

int pci_init(struct pci *p, struct err *e);
void pci_done(struct pci *p);
void pci_fn_init(struct pci_fn *f, const struct pci_fn_ops *ops, uint16_t vendor,
		 uint16_t device, uint32_t class_code, uint8_t revision,
		 uint32_t bar_bytes);
uint8_t pci_fn_cap(struct pci_fn *f, const void *cap, uint8_t len);
int pci_add(struct pci *p, struct pci_fn *f, struct err *e);
void pci_remove(struct pci *p, struct pci_fn *f);
void pci_load(struct pci *p, struct pci_fn *f, const uint8_t config[PCI_CONFIG_BYTES]);
bool pci_mmio(struct pci *p, uint64_t gpa, void *data, uint32_t len, bool write);

#endif
