// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Takes an access that left the guest to whoever answers it. Ports: the ACPI
 * sleep and reset registers, the debugging serial port. Memory: PCI configuration
 * space and BARs. Whatever else a kernel probes (PIT, PIC, CMOS,
 * keyboard controller) does not exist: it reads as ones, and writes are lost,
 * as on a PC without the device.
 */
#include "vmm/bus.h"

#include <string.h>

#include "vmm/acpi.h"

static void acpi_port_write(struct bus *b, uint16_t port, uint8_t v)
{
	if (port == ACPI_PORT_SLEEP_CONTROL && (v & ACPI_SLEEP_ENABLE) &&
	    ACPI_SLEEP_TYPE(v) == ACPI_SLEEP_TYPE_S5)
		b->event(b->arg, VMM_EVENT_SHUTDOWN, "the guest powered itself off");
	else if (port == ACPI_PORT_RESET && v == ACPI_RESET_VALUE)
		b->event(b->arg, VMM_EVENT_RESET, "the guest asked for a reset");
}

/**
 * bus_pio() - one port access
 * @len: 1, 2 or 4
 * Context: any vCPU thread
 */
void bus_pio(struct bus *b, uint16_t port, void *data, uint32_t len, bool write)
{
	uint8_t *byte = data;

	if (port >= SERIAL_PORT && port < SERIAL_PORT + SERIAL_PORTS && len == 1) {
		if (write)
			serial_write(&b->serial, port, *byte);
		else
			*byte = serial_read(&b->serial, port);
	} else if (port >= ACPI_PORT_SLEEP_CONTROL && port <= ACPI_PORT_RESET && len == 1) {
		if (write)
			acpi_port_write(b, port, *byte);
		else
			*byte = 0;	/* awake, never slept */
	} else if (!write) {
		memset(data, 0xff, len);
	}
}

/**
 * bus_mmio() - one access to memory that is not RAM
 * @len: 1, 2, 4 or 8
 * Context: any vCPU thread
 */
void bus_mmio(struct bus *b, uint64_t gpa, void *data, uint32_t len, bool write)
{
	pci_mmio(&b->pci, gpa, data, len, write);
}
