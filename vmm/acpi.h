/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include <stdint.h>

#include "vmm/gmem.h"

/* Ports of the hardware-reduced sleep and reset registers, one byte each. */
#define ACPI_PORT_SLEEP_CONTROL 0x600
#define ACPI_PORT_SLEEP_STATUS 0x601
#define ACPI_PORT_RESET 0x602

/* What to write there: SLP_EN with the type that \_S5 names; a reset. */
#define ACPI_SLEEP_ENABLE 0x20
#define ACPI_SLEEP_TYPE_S5 5
#define ACPI_SLEEP_TYPE(v) ((v) >> 2 & 7)
#define ACPI_RESET_VALUE 1

int acpi_write(const struct gmem *m, uint64_t gpa, uint64_t room, uint32_t vcpus,
	       uint64_t *ret_rsdp, struct err *e);

#endif
