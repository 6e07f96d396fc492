// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Stands for vmm/kvm.c and vmm/kvm-state.c, which the linker then leaves in its archive: a machine can be
 * made where there is no KVM, in microseconds, and any number of times. /dev/null
 * passes for /dev/kvm. A processor that enters the guest does nothing until it has to
 * leave; the first one resets the machine at once if it is told to.
 */
#include "tests/fuzz/fakekvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/kvm-state.h"
#include "vmm/virtio/pci.h"

/* How often a processor in the guest looks whether it has to leave. */
#define LOOK_NS 200000

static struct kvm_run *runs[VMM_VCPUS_MAX];
static atomic_bool ends;

/**
 * fakekvm_begin() - before a machine is made
 * @guest_ends: the guest resets the machine when it is entered
 */
void fakekvm_begin(bool guest_ends)
{
	atomic_store(&ends, guest_ends);
}

int kvm_init(struct kvm *k, int sys_fd, uint32_t vcpus, struct err *e)
{
	struct stat st;

	(void)vcpus;
	if (fstat(sys_fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(e, ENODEV, "the first descriptor is not /dev/null");
	pthread_mutex_init(&k->lines_lock, NULL);
	k->run_bytes = sizeof(struct kvm_run);
	k->sys = sys_fd;
	return 0;
}

void kvm_done(struct kvm *k)
{
	if (k->sys >= 0)
		pthread_mutex_destroy(&k->lines_lock);
	fd_close(&k->sys);
}

int kvm_set_memory(struct kvm *k, const struct gmem *m, struct err *e)
{
	(void)k;
	(void)m;
	(void)e;
	return 0;
}

int kvm_set_readonly(struct kvm *k, uint64_t gpa, void *hva, uint64_t len, struct err *e)
{
	(void)k;
	(void)gpa;
	(void)hva;
	(void)len;
	(void)e;
	return 0;
}

int kvm_add_memory(void *kvm, uint32_t n, const struct gmem_region *r)
{
	(void)kvm;
	(void)n;
	(void)r;
	return 0;
}

int kvm_vcpu_new(struct kvm *k, uint32_t id, uint32_t n, int *ret_fd, struct kvm_run **ret_run,
		 struct err *e)
{
	(void)k;
	(void)n;
	runs[id] = mem_new(struct kvm_run);
	if (!runs[id])
		return err_set(e, ENOMEM, "out of memory");
	*ret_fd = (int)id;
	*ret_run = runs[id];
	return 0;
}

void kvm_vcpu_done(struct kvm *k, int *fd, struct kvm_run **run)
{
	(void)k;
	free(*run);
	*run = NULL;
	*fd = -1;
}

int kvm_vcpu_boot(int fd, uint32_t entry, uint32_t start_info, struct err *e)
{
	(void)fd;
	(void)entry;
	(void)start_info;
	(void)e;
	return 0;
}

int kvm_vcpu_boot64(int fd, uint64_t entry, uint64_t params, uint64_t pages, uint64_t gdt,
		    uint16_t gdt_bytes, struct err *e)
{
	(void)fd;
	(void)entry;
	(void)params;
	(void)pages;
	(void)gdt;
	(void)gdt_bytes;
	(void)e;
	return 0;
}

/* Every other binding fails, so that notifications come both ways. */
int kvm_bind(void *kvm, uint64_t gpa, int fd, bool on)
{
	(void)kvm;
	(void)fd;
	return on && gpa & VPCI_NOTIFY_STEP ? -ENOSPC : 0;
}

int kvm_vcpu_run(int fd)
{
	struct timespec t = { .tv_nsec = LOOK_NS };

	while (!__atomic_load_n(&runs[fd]->immediate_exit, __ATOMIC_SEQ_CST)) {
		if (!fd && atomic_exchange(&ends, false)) {
			runs[fd]->exit_reason = KVM_EXIT_SHUTDOWN;
			return 0;
		}
		nanosleep(&t, NULL);
	}
	return -EINTR;
}

void kvm_vcpu_stood_still(int fd)
{
	(void)fd;
}

int kvm_clock_save(const struct kvm *k, uint64_t *ret_ns, struct err *e)
{
	(void)k;
	(void)e;
	*ret_ns = 1;
	return 0;
}

int kvm_clock_load(const struct kvm *k, uint64_t ns, struct err *e)
{
	(void)k;
	(void)ns;
	(void)e;
	return 0;
}

uint64_t kvm_vcpu_tsc(const struct kvm_vcpu_state *s)
{
	(void)s;
	return 1;
}

int kvm_vcpu_set_tsc(int fd, bool first, uint64_t tsc, struct err *e)
{
	(void)fd;
	(void)first;
	(void)tsc;
	(void)e;
	return 0;
}

/* The first one has run. */
int kvm_vcpu_save(const struct kvm *k, int fd, struct kvm_vcpu_state *ret, struct err *e)
{
	(void)k;
	(void)e;
	ret->mp.mp_state = fd ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_HALTED;
	return 0;
}

int kvm_vcpu_load(int fd, const struct kvm_vcpu_state *s, struct err *e)
{
	(void)fd;
	return s->n_msr > KVM_STATE_MSRS_MAX ? err_set(e, EINVAL, "too many MSRs") : 0;
}

static void no_msi(void *arg, uint64_t address, uint32_t data)
{
	(void)arg;
	(void)address;
	(void)data;
}

const struct irq_ops kvm_irq_ops = { .msi = no_msi };
