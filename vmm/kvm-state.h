/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_KVM_STATE_H
#define VMM_KVM_STATE_H

#include <linux/kvm.h>
#include <stdint.h>

#include "lib/err.h"
#include "vmm/kvm.h"

/* Registers of Linux 6.12's list and some room; XSAVE with AMX is 11 KiB. */
#define KVM_STATE_MSRS_MAX 512
#define KVM_STATE_XSAVE_BYTES 16384

/**
 * struct kvm_vcpu_state - a processor between two instructions
 * @id:    of the vCPU
 * @n_msr: of @msr
 */
struct kvm_vcpu_state {
	uint32_t id;
	uint32_t n_msr;
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_msr_entry msr[KVM_STATE_MSRS_MAX];
	uint8_t xsave[KVM_STATE_XSAVE_BYTES];
};

int kvm_clock_save(const struct kvm *k, uint64_t *ret_ns, struct err *e);
int kvm_clock_load(const struct kvm *k, uint64_t ns, struct err *e);
uint64_t kvm_vcpu_tsc(const struct kvm_vcpu_state *s);
int kvm_vcpu_set_tsc(int fd, bool first, uint64_t tsc, struct err *e);
int kvm_vcpu_save(const struct kvm *k, int fd, struct kvm_vcpu_state *ret, struct err *e);
int kvm_vcpu_load(int fd, const struct kvm_vcpu_state *s, struct err *e);

#endif
