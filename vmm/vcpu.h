/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/kvm.h"
#include "vmm/sandbox.h"

/* Stack of a vCPU thread; exits need a few KiB, seldom touched ones cost nothing. */
#define VCPU_STACK_BYTES (128u << 10)

enum vcpu_stage { VCPU_WAIT, VCPU_GO, VCPU_PAUSE, VCPU_STOP };

/**
 * struct vcpu - one virtual processor and its thread
 * @all:    borrowed
 * @fd, @run: owned
 * @joined: there is no thread
 */
struct vcpu {
	struct vcpus *all;
	uint32_t id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool joined;
};

/**
 * struct vcpus - all virtual processors
 * @v, @n:   owned array
 * @kvm, @bus, @filter: borrowed
 * @lock:    of @stage, @ready, @idle and @rc
 * @changed: signals them
 * @ready:   threads that are confined and wait
 * @idle:    threads that are not in the guest and touch nothing of the machine:
 *           paused, or at their end
 * @rc, @why: first failure of a thread to confine itself
 * @leave:   @stage is not VCPU_GO, for the loop around KVM_RUN
 */
struct vcpus {
	struct vcpu *v;
	uint32_t n;
	struct kvm *kvm;
	struct bus *bus;
	const struct sandbox_filter *filter;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum vcpu_stage stage;
	uint32_t ready;
	uint32_t idle;
	int rc;
	struct err why;
	atomic_bool leave;
};

int vcpus_init(struct vcpus *c, struct kvm *kvm, struct bus *bus, uint32_t n,
	       struct err *e);
int vcpus_start(struct vcpus *c, const struct sandbox_filter *filter, struct err *e);
void vcpus_go(struct vcpus *c);
void vcpus_pause(struct vcpus *c);
void vcpus_resume(struct vcpus *c);
void vcpus_stop(struct vcpus *c);
void vcpus_done(struct vcpus *c);

#endif
