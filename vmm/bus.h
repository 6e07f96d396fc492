/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/pci.h"
#include "vmm/serial.h"
#include "vmm/vmm.h"

/**
 * struct bus - where exits go
 * @pci:    bus 0
 * @serial: debugging port
 * @event:  the guest ended itself; any vCPU thread; the first call counts
 * @arg:    for @event
 */
struct bus {
	struct pci pci;
	struct serial serial;
	void (*event)(void *arg, enum vmm_event what, const char *text);
	void *arg;
};

void bus_pio(struct bus *b, uint16_t port, void *data, uint32_t len, bool write);
void bus_mmio(struct bus *b, uint64_t gpa, void *data, uint32_t len, bool write);

#endif
