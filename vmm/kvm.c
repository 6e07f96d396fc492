// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The one file that talks to KVM. The order of calls matters, because some of
 * them wait for grace periods that are longer the more the machine has:
 *
 *   split irqchip -> memory slots -> vCPUs -> ioeventfds -> irqfds
 *
 * The local APICs are in the kernel; there is no I/O APIC (all interrupts are
 * messages), no PIC and no PIT. Messages that this process sends go by
 * KVM_SIGNAL_MSI (see vmm/irq.c) and need no routing. A line, for interrupts that
 * the kernel raises, is a GSI of the routing table with one message, and the
 * irqfds that are bound to it; the table is written as a whole whenever the
 * message of a line changes.
 * Whether the processor can virtualize is /dev/kvm's matter, not that of CPUID.
 *
 * Source: Linux Documentation/virt/kvm/api.rst.
 */
#include "vmm/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/cpuid.h"

#define CPUID_MAX 256

/* Slots: of the RAM that a guest begins with, of what it only reads, of what it plugs. */
#define SLOT_READONLY GMEM_REGIONS_MAX
#define SLOT_PLUGGED (SLOT_READONLY + 1)

/* Three pages for real mode emulation, which old Intel processors need. */
#define TSS_GPA 0xfffbd000u

/* Descriptor types and bits of CR0 and RFLAGS (Intel SDM 3A, 2.5 and 3.4.5). */
#define SEG_CODE_RX 11
#define SEG_DATA_RW 3
#define SEG_TSS_BUSY 11
#define CR0_PE 1u
#define CR0_PG (1u << 31)
#define CR4_PAE (1u << 5)
#define EFER_LME_LMA (1u << 8 | 1u << 10)
#define RFLAGS_RESERVED 2u

#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLE_WRITE_BACK (1u << 11 | 6)

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
};

/**
 * vmm_check_kvm() - whether this KVM has what the monitor needs
 * @fd:    /dev/kvm, borrowed
 * @vcpus: that a machine is to have
 *
 * Return: 0; -ENODEV where it is none; -ENOTSUP naming what is missing; -EINVAL for
 * too many @vcpus
 *
 * #syscalls ioctl
 */
int vmm_check_kvm(int fd, uint32_t vcpus, struct err *e)
{
	int version = ioctl(fd, KVM_GET_API_VERSION, 0), max;
	size_t i;

	if (version != KVM_API_VERSION)
		return err_set(e, ENODEV, "the first descriptor is not /dev/kvm, or speaks version %d",
			       version);
	for (i = 0; i < ARRAY_LEN(needed); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_set(e, ENOTSUP, "/dev/kvm lacks %s: use a newer host kernel",
				       needed[i].name);
	max = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max > 0 && vcpus > (uint32_t)max)
		return err_set(e, EINVAL, "%u vCPUs: /dev/kvm has %d at most", vcpus, max);
	return 0;
}

static uint32_t lines_max(int sys_fd)
{
	int n = ioctl(sys_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);

	if (n <= 0 || ioctl(sys_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) <= 0)
		return 0;
	return n < KVM_LINES_MAX ? (uint32_t)n : KVM_LINES_MAX;
}

/**
 * kvm_init() - make a virtual machine without memory and vCPUs
 * @sys_fd: /dev/kvm; taken over on success
 * @vcpus:  how many are to come
 *
 * Return: 0 or minus errno
 *
 * #syscalls ioctl
 */
int kvm_init(struct kvm *k, int sys_fd, uint32_t vcpus, struct err *e)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP };
	_cleanup_close_ int vm = -1;
	int rc = vmm_check_kvm(sys_fd, vcpus, e), bytes;

	if (rc < 0)
		return rc;
	do {
		vm = ioctl(sys_fd, KVM_CREATE_VM, 0);
	} while (vm < 0 && errno == EINTR);
	if (vm < 0)
		return err_sys(e, "KVM_CREATE_VM");
	if (ioctl(vm, KVM_SET_TSS_ADDR, TSS_GPA) < 0)
		return err_sys(e, "KVM_SET_TSS_ADDR");
	if (ioctl(vm, KVM_ENABLE_CAP, &split) < 0)
		return err_sys(e, "KVM_CAP_SPLIT_IRQCHIP");
	k->lines_max = lines_max(sys_fd);
	rc = pthread_mutex_init(&k->lines_lock, NULL);
	if (rc)
		return err_set(e, rc, "pthread_mutex_init");
	bytes = ioctl(sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return err_set(e, EIO, "KVM_GET_VCPU_MMAP_SIZE: %d", bytes);
	k->run_bytes = (size_t)bytes;
	k->sys = sys_fd;
	k->vm = fd_steal(&vm);
	return 0;
}

/**
 * kvm_done() - close; vCPUs are done already; -1 descriptors are fine
 */
void kvm_done(struct kvm *k)
{
	if (k->vm >= 0)
		pthread_mutex_destroy(&k->lines_lock);
	fd_close(&k->vm);
	fd_close(&k->sys);
	free(k->routes);
	k->routes = NULL;
}

static int set_slot(struct kvm *k, uint32_t slot, const struct gmem_region *r, struct err *e)
{
	struct kvm_userspace_memory_region u = {
		.slot = slot,
		.guest_phys_addr = r->gpa,
		.memory_size = r->len,
		.userspace_addr = (uintptr_t)r->hva,
	};

	if (ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &u) < 0)
		return err_sys(e, "KVM_SET_USER_MEMORY_REGION: %llu MiB",
			       (unsigned long long)r->len >> 20);
	return 0;
}

/**
 * kvm_set_memory() - give the machine its RAM
 * @m: outlives the machine
 *
 * Return: 0 or minus errno
 *
 * #syscalls ioctl
 */
int kvm_set_memory(struct kvm *k, const struct gmem *m, struct err *e)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < m->n && !rc; i++)
		rc = set_slot(k, i, &m->r[i], e);
	return rc;
}

/**
 * kvm_add_memory() - give the machine a further piece of memory, for good
 * @kvm: struct kvm
 * @n:   number of the piece, from 0, each once
 * @r:   its memory outlives the machine
 *
 * Return: 0 or minus errno
 * Context: any thread, also while vCPUs run
 *
 * #syscalls ioctl
 */
int kvm_add_memory(void *kvm, uint32_t n, const struct gmem_region *r)
{
	struct err e;

	return set_slot(kvm, SLOT_PLUGGED + n, r, &e);
}

/**
 * kvm_set_readonly() - show the guest memory that it can read; its writes are exits
 * @hva: page aligned, as is @len; outlives the machine
 *
 * Where KVM cannot do that, reads are exits, too.
 *
 * Return: 0 or minus errno
 *
 * #syscalls start: ioctl
 */
int kvm_set_readonly(struct kvm *k, uint64_t gpa, void *hva, uint64_t len, struct err *e)
{
	struct kvm_userspace_memory_region r = { .slot = SLOT_READONLY, .guest_phys_addr = gpa,
						 .memory_size = len, .flags = KVM_MEM_READONLY,
						 .userspace_addr = (uintptr_t)hva };

	if (ioctl(k->sys, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0)
		return 0;
	return ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &r) < 0
		? err_sys(e, "KVM_MEM_READONLY at %#llx", (unsigned long long)gpa) : 0;
}

static int set_cpuid(struct kvm *k, int fd, uint32_t id, uint32_t n, struct err *e)
{
	_cleanup_free_ struct kvm_cpuid2 *c =
		calloc(1, sizeof(*c) + CPUID_MAX * sizeof(c->entries[0]));
	bool deadline = ioctl(k->sys, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->nent = CPUID_MAX - 3;
	if (ioctl(k->sys, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return err_sys(e, "KVM_GET_SUPPORTED_CPUID");
	c->nent = (uint32_t)cpuid_prepare(c->entries, c->nent, CPUID_MAX, id, n, deadline);
	if (ioctl(fd, KVM_SET_CPUID2, c) < 0)
		return err_sys(e, "KVM_SET_CPUID2");
	return 0;
}

/*
 * What firmware would have set. A processor that lacks one of the two registers
 * does without: KVM then takes fewer, which is no error.
 */
static int set_msrs(int fd, struct err *e)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[2];
	} m = { .head.nmsrs = 2,
		.entry = { { .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
			   { .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE_WRITE_BACK } } };

	return ioctl(fd, KVM_SET_MSRS, &m) < 0 ? err_sys(e, "KVM_SET_MSRS") : 0;
}

/**
 * kvm_vcpu_new() - make vCPU @id of @n; others than 0 wait for their SIPI
 * @ret_fd, @ret_run: owned by the caller, kvm_vcpu_done()
 *
 * Return: 0 or minus errno
 *
 * #syscalls ioctl mmap
 */
int kvm_vcpu_new(struct kvm *k, uint32_t id, uint32_t n, int *ret_fd,
		 struct kvm_run **ret_run, struct err *e)
{
	_cleanup_close_ int fd = ioctl(k->vm, KVM_CREATE_VCPU, id);
	void *run;
	int rc;

	if (fd < 0)
		return err_sys(e, "KVM_CREATE_VCPU %u", id);
	if ((rc = set_cpuid(k, fd, id, n, e)) < 0 || (rc = set_msrs(fd, e)) < 0)
		return rc;
	run = mmap(NULL, k->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		return err_sys(e, "vCPU %u: mmap", id);
	*ret_run = run;
	*ret_fd = fd_steal(&fd);
	return 0;
}

/**
 * kvm_vcpu_done() - undo kvm_vcpu_new(); its thread has ended; twice is fine
 */
void kvm_vcpu_done(struct kvm *k, int *fd, struct kvm_run **run)
{
	if (*run)
		munmap(*run, k->run_bytes);
	*run = NULL;
	fd_close(fd);
}

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){ .limit = 0xffffffff, .selector = selector,
				     .type = type, .present = 1, .db = 1, .s = 1, .g = 1 };
}

/**
 * kvm_vcpu_boot() - put vCPU 0 into the state that the PVH entry wants
 * @entry:      physical address
 * @start_info: address of struct hvm_start_info
 *
 * Return: 0 or minus errno
 * Source: Xen docs/misc/pvh.pandoc
 *
 * #syscalls ioctl
 */
int kvm_vcpu_boot(int fd, uint32_t entry, uint32_t start_info, struct err *e)
{
	struct kvm_regs r = { .rip = entry, .rbx = start_info, .rflags = RFLAGS_RESERVED };
	struct kvm_sregs s;

	if (ioctl(fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, "KVM_GET_SREGS");
	s.cr0 = CR0_PE;
	s.cr4 = 0;
	s.efer = 0;
	s.cs = flat(0x8, SEG_CODE_RX);
	s.ds = s.es = s.ss = s.fs = s.gs = flat(0x10, SEG_DATA_RW);
	s.tr = (struct kvm_segment){ .limit = 0x67, .selector = 0x18,
				     .type = SEG_TSS_BUSY, .present = 1 };
	s.gdt = s.idt = (struct kvm_dtable){ 0 };
	if (ioctl(fd, KVM_SET_SREGS, &s) < 0)
		return err_sys(e, "KVM_SET_SREGS");
	if (ioctl(fd, KVM_SET_REGS, &r) < 0)
		return err_sys(e, "KVM_SET_REGS");
	return 0;
}

/**
 * kvm_vcpu_boot64() - put vCPU 0 into the state that Linux's 64-bit entry wants
 * @entry:  physical address
 * @params: address of struct boot_params
 * @pages:  address of the page tables
 * @gdt:    address of a GDT with flat code at selector 0x10 and data at 0x18
 * @gdt_bytes: its size
 *
 * Return: 0 or minus errno
 * Source: Linux Documentation/x86/boot.rst, 64-bit boot protocol
 *
 * #syscalls start: ioctl
 */
int kvm_vcpu_boot64(int fd, uint64_t entry, uint64_t params, uint64_t pages, uint64_t gdt,
		    uint16_t gdt_bytes, struct err *e)
{
	struct kvm_regs r = { .rip = entry, .rsi = params, .rflags = RFLAGS_RESERVED };
	struct kvm_sregs s;

	if (ioctl(fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, "KVM_GET_SREGS");
	s.cr0 = CR0_PE | CR0_PG;
	s.cr3 = pages;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME_LMA;
	s.cs = flat(0x10, SEG_CODE_RX);
	s.cs.db = 0;
	s.cs.l = 1;
	s.ds = s.es = s.ss = s.fs = s.gs = flat(0x18, SEG_DATA_RW);
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = SEG_TSS_BUSY, .present = 1 };
	s.gdt = (struct kvm_dtable){ .base = gdt, .limit = (uint16_t)(gdt_bytes - 1) };
	s.idt = (struct kvm_dtable){ 0 };
	if (ioctl(fd, KVM_SET_SREGS, &s) < 0)
		return err_sys(e, "KVM_SET_SREGS");
	if (ioctl(fd, KVM_SET_REGS, &r) < 0)
		return err_sys(e, "KVM_SET_REGS");
	return 0;
}

/**
 * kvm_bind() - make guest writes to an address signal an eventfd, or stop that
 * @kvm: struct kvm
 * @gpa: a write of any width to this address counts
 *
 * Return: 0 or minus errno
 * Context: any thread; waits for running vCPUs
 *
 * #syscalls ioctl
 */
int kvm_bind(void *kvm, uint64_t gpa, int fd, bool on)
{
	struct kvm *k = kvm;
	struct kvm_ioeventfd io = { .addr = gpa, .fd = fd,
				    .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN };

	return ioctl(k->vm, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

/**
 * kvm_vcpu_run() - enter the guest
 *
 * Return: 0 with an exit in the mapping; -EINTR, -EAGAIN, -EFAULT and others
 *
 * #syscalls ioctl
 */
int kvm_vcpu_run(int fd)
{
	return ioctl(fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

/**
 * kvm_vcpu_stood_still() - tell the guest that its clock went on without it
 *
 * Only guests that use kvm-clock can be told; the others need not be.
 *
 * #syscalls ioctl
 */
void kvm_vcpu_stood_still(int fd)
{
	int saved = errno;

	if (ioctl(fd, KVM_KVMCLOCK_CTRL, 0) < 0)
		errno = saved;
}

/* A message that KVM refuses is one that the guest composed wrongly: its loss. */
static void send_msi(void *kvm, uint64_t address, uint32_t data)
{
	struct kvm *k = kvm;
	struct kvm_msi m = { .address_lo = (uint32_t)address,
			     .address_hi = (uint32_t)(address >> 32), .data = data };
	int saved = errno;

	if (ioctl(k->vm, KVM_SIGNAL_MSI, &m) < 0)
		errno = saved;
}

/* Lock held. */
static int routes_make(struct kvm *k)
{
	if (k->routes)
		return 0;
	if (!k->lines_max)
		return -ENOTSUP;
	k->routes = calloc(1, sizeof(*k->routes) +
			   k->lines_max * sizeof(k->routes->entries[0]));
	return k->routes ? 0 : -ENOMEM;
}

static int line_get(void *kvm)
{
	struct kvm *k = kvm;
	uint32_t i = 0;
	int rc;

	pthread_mutex_lock(&k->lines_lock);
	rc = routes_make(k);
	while (!rc && i < k->lines_max && k->line_used[i])
		i++;
	if (!rc && i == k->lines_max)
		rc = -ENOSPC;
	if (!rc) {
		k->line_used[i] = true;
		rc = (int)i;
	}
	pthread_mutex_unlock(&k->lines_lock);
	return rc;
}

static void line_put(void *kvm, int line)
{
	struct kvm *k = kvm;

	pthread_mutex_lock(&k->lines_lock);
	k->line_used[line] = false;
	pthread_mutex_unlock(&k->lines_lock);
}

/*
 * The table has an entry for each line up to the highest that was ever wired;
 * to one without a message nothing is bound. Lock held.
 */
static int route(struct kvm *k, uint32_t line, uint64_t address, uint32_t data)
{
	struct kvm_irq_routing *t = k->routes;
	struct kvm_irq_routing_entry *r = &t->entries[line];

	for (; t->nr <= line; t->nr++)
		t->entries[t->nr] = (struct kvm_irq_routing_entry){
			.gsi = t->nr, .type = KVM_IRQ_ROUTING_MSI };
	if (r->u.msi.address_lo == (uint32_t)address && r->u.msi.data == data &&
	    r->u.msi.address_hi == (uint32_t)(address >> 32))
		return 0;
	r->u.msi.address_lo = (uint32_t)address;
	r->u.msi.address_hi = (uint32_t)(address >> 32);
	r->u.msi.data = data;
	if (!ioctl(k->vm, KVM_SET_GSI_ROUTING, t))
		return 0;
	r->u.msi.address_lo = 0;
	return -errno;
}

/*
 * What was signalled before is delivered when the line is bound, but KVM leaves it
 * in the eventfd; later signals it takes out itself.
 */
static int wire(void *kvm, int line, int fd, uint64_t address, uint32_t data)
{
	struct kvm *k = kvm;
	struct kvm_irqfd q = { .fd = (uint32_t)fd, .gsi = (uint32_t)line };
	int saved = errno, rc;
	eventfd_t delivered;

	pthread_mutex_lock(&k->lines_lock);
	rc = route(k, (uint32_t)line, address, data);
	/* Bound already: then only the message is another one. */
	if (!rc && ioctl(k->vm, KVM_IRQFD, &q) < 0 && errno != EBUSY)
		rc = -errno;
	if (!rc && eventfd_read(fd, &delivered) < 0 && errno != EAGAIN)
		rc = -errno;
	pthread_mutex_unlock(&k->lines_lock);
	errno = saved;
	return rc;
}

static void unwire(void *kvm, int line, int fd)
{
	struct kvm *k = kvm;
	struct kvm_irqfd q = { .fd = (uint32_t)fd, .gsi = (uint32_t)line,
			       .flags = KVM_IRQFD_FLAG_DEASSIGN };
	int saved = errno;

	if (ioctl(k->vm, KVM_IRQFD, &q) < 0)
		errno = saved;
}

const struct irq_ops kvm_irq_ops = { .msi = send_msi, .line_get = line_get,
				     .line_put = line_put, .wire = wire,
				     .unwire = unwire };
