/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/gmem.h"
#include "vmm/irq.h"

/* Interrupt lines: two for each pair of queues that the kernel serves. */
#define KVM_LINES_MAX 512

struct kvm_run;
struct kvm_irq_routing;

/**
 * struct kvm - the kernel's virtual machine
 * @sys:       /dev/kvm, owned
 * @vm:        owned
 * @run_bytes: of the mapping that each vCPU has
 * @lines_max: interrupt lines that this kernel has for us; 0: none
 * @line_used: lines that somebody has; under @lines_lock
 * @routes:    their messages, owned; NULL before the first one; under @lines_lock
 */
struct kvm {
	int sys;
	int vm;
	size_t run_bytes;
	uint32_t lines_max;
	bool line_used[KVM_LINES_MAX];
	struct kvm_irq_routing *routes;
	pthread_mutex_t lines_lock;
};

/* struct irq_ops with a struct kvm as argument. */
extern const struct irq_ops kvm_irq_ops;

int kvm_init(struct kvm *k, int sys_fd, uint32_t vcpus, struct err *e);
void kvm_done(struct kvm *k);
int kvm_set_memory(struct kvm *k, const struct gmem *m, struct err *e);
int kvm_set_readonly(struct kvm *k, uint64_t gpa, void *hva, uint64_t len, struct err *e);
int kvm_add_memory(void *kvm, uint32_t n, const struct gmem_region *r);
int kvm_vcpu_new(struct kvm *k, uint32_t id, uint32_t n, int *ret_fd,
		 struct kvm_run **ret_run, struct err *e);
void kvm_vcpu_done(struct kvm *k, int *fd, struct kvm_run **run);
int kvm_vcpu_boot(int fd, uint32_t entry, uint32_t start_info, struct err *e);
int kvm_vcpu_boot64(int fd, uint64_t entry, uint64_t params, uint64_t pages, uint64_t gdt,
		    uint16_t gdt_bytes, struct err *e);
int kvm_bind(void *kvm, uint64_t gpa, int fd, bool on);
int kvm_vcpu_run(int fd);
void kvm_vcpu_stood_still(int fd);

#endif
