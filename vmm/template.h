/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_TEMPLATE_H
#define VMM_TEMPLATE_H

#include "vmm/kvm-state.h"
#include "vmm/machine.h"

/* Devices of a template: console, rng, vsock, balloon, mem. */
#define TEMPLATE_DEVICES_MAX 8

/**
 * struct template - the state of a machine but for its memory
 * @config:   that the machine was made with
 * @clock_ns: of kvm-clock
 * @host_bridge: PCI configuration of 00:00.0
 * @vcpu:     @n_vcpus of them, owned; those that have never run are left out
 * @device:   @n_devices, the oldest first, owned
 */
struct template {
	struct vmm_config config;
	uint64_t clock_ns;
	struct serial_state serial;
	uint8_t host_bridge[PCI_CONFIG_BYTES];
	uint32_t n_vcpus, n_devices;
	struct kvm_vcpu_state *vcpu;
	struct vpci_state *device;
};

int template_read(int fd, struct template *ret, struct err *e);
int template_write(int fd, const struct template *t, struct err *e);
void template_done(struct template *t);

int template_save(struct machine *m, struct template *ret, struct err *e);
int template_load_cpus(struct machine *m, const struct template *t, struct err *e);
int template_load_devices(struct machine *m, const struct template *t, struct err *e);

#endif
