// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: say whether a KVM runs Linux guests. That a virtual machine can be made says
 * little: some hosts offer a KVM that stops at instructions which every Linux kernel
 * executes while it boots. So a guest of our own runs the two that are known to be
 * missing: int3, with a handler that returns (static keys and alternatives), and
 * cmpxchg16b (the slab allocator), both at privilege level 0 in 64-bit mode.
 *
 * Objects: one VM, one vCPU, one memory slot of GUEST_SIZE bytes that holds page tables
 * (one 2 MiB page, identity), GDT, IDT, code, operand and stack.
 *
 * Stages: the guest writes STAGE_INT3 to PORT after the handler has returned, then
 * STAGE_CMPXCHG16B, then halts. Each must arrive in this order; any other exit names
 * the stage that the guest did not reach.
 *
 * Limits: a timer interrupts a vCPU that does not come back within PROBE_S. It stands
 * apart from vmm/kvm.c, whose machines it must not depend on, and is built into a
 * program without the rest (tests/node/probe.c).
 *
 * Sources: linux/kvm.h; AMD64 Architecture Programmer's Manual, volume 2, sections 4.8
 * (descriptors), 5.3 (long-mode paging) and 8.9 (exceptions).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "vmm/vmm.h"

#define PROBE_S 10
#define CPUID_ENTRIES 256

#define PORT 0xf4
#define STAGE_INT3 1
#define STAGE_CMPXCHG16B 2

/* Guest physical addresses; virtual ones are the same. */
enum {
	GUEST_PML4 = 0x1000,
	GUEST_PDPT = 0x2000,
	GUEST_PD = 0x3000,
	GUEST_GDT = 0x4000,
	GUEST_IDT = 0x5000,
	GUEST_CODE = 0x6000,
	GUEST_OPERAND = 0x7000,
	GUEST_SIZE = 0x9000, /* the stack starts here, downwards */
};

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10

#define PTE_PRESENT (1ull << 0)
#define PTE_WRITE (1ull << 1)
#define PTE_HUGE (1ull << 7)

#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* rbx counts the calls of the handler and is the new value of the operand. */
__asm__(".pushsection .rodata\n"
	"probe_code:\n"
	"	xorl %ebx, %ebx\n"
	"	int3\n"
	"	movb %bl, %al\n"
	"	outb %al, $" STRING(PORT) "\n"
	"	xorl %eax, %eax\n"
	"	xorl %edx, %edx\n"
	"	xorl %ecx, %ecx\n"
	"	lock cmpxchg16b (%rdi)\n"
	"	jnz 1f\n"
	"	movb $" STRING(STAGE_CMPXCHG16B) ", %al\n"
	"	outb %al, $" STRING(PORT) "\n"
	"1:	hlt\n"
	"probe_handler:\n"
	"	incl %ebx\n"
	"	iretq\n"
	"probe_end:\n"
	".popsection\n");

extern const uint8_t probe_code[], probe_handler[], probe_end[];

static const char *const stage_names[] = {
	"the first instructions of a guest, or int3 in kernel mode",
	"cmpxchg16b in kernel mode",
};

/* One virtual machine; descriptors are owned. */
struct probe {
	int sys, vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	size_t run_bytes;
};

static int call(int fd, unsigned long request, const char *name, void *arg, struct err *e)
{
	int rc = ioctl(fd, request, arg);

	return rc < 0 ? err_sys(e, "%s", name) : rc;
}

#define KVM(fd, request, arg, e) call(fd, request, #request, arg, e)

static void put64(uint8_t *memory, unsigned int offset, uint64_t value)
{
	memcpy(memory + offset, &value, sizeof(value));
}

/* Interrupt gate, present, privilege level 0. */
static void put_gate(uint8_t *memory, unsigned int vector, uint64_t handler)
{
	unsigned int gate = GUEST_IDT + vector * 16;

	put64(memory, gate,
	      (handler & 0xffff) | SELECTOR_CODE << 16 | 0x8eull << 40 |
		      (handler >> 16 & 0xffff) << 48);
	put64(memory, gate + 8, handler >> 32);
}

static void fill_memory(uint8_t *memory)
{
	put64(memory, GUEST_PML4, GUEST_PDPT | PTE_PRESENT | PTE_WRITE);
	put64(memory, GUEST_PDPT, GUEST_PD | PTE_PRESENT | PTE_WRITE);
	put64(memory, GUEST_PD, PTE_PRESENT | PTE_WRITE | PTE_HUGE);
	put64(memory, GUEST_GDT + SELECTOR_CODE, 0x00af9b000000ffffull);
	put64(memory, GUEST_GDT + SELECTOR_DATA, 0x00cf93000000ffffull);
	put_gate(memory, 3, GUEST_CODE + ((uintptr_t)probe_handler - (uintptr_t)probe_code));
	memcpy(memory + GUEST_CODE, probe_code, (uintptr_t)probe_end - (uintptr_t)probe_code);
}

static int make_memory(struct probe *p, struct err *e)
{
	struct kvm_userspace_memory_region slot = { .memory_size = GUEST_SIZE };

	p->memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (p->memory == MAP_FAILED)
		return err_sys(e, "mmap");
	fill_memory(p->memory);
	slot.userspace_addr = (uintptr_t)p->memory;
	return KVM(p->vm, KVM_SET_USER_MEMORY_REGION, &slot, e);
}

/* A guest gets what the host supports, as any VMM gives it. */
static int set_cpuid(struct probe *p, struct err *e)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUID_ENTRIES];
	} cpuid = { .head.nent = CPUID_ENTRIES };
	int rc = KVM(p->sys, KVM_GET_SUPPORTED_CPUID, &cpuid, e);

	return rc < 0 ? rc : KVM(p->vcpu, KVM_SET_CPUID2, &cpuid, e);
}

static int set_registers(struct probe *p, struct err *e)
{
	struct kvm_segment code = {
		.selector = SELECTOR_CODE, .limit = 0xffffffff, .type = 11,
		.present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.selector = SELECTOR_DATA, .limit = 0xffffffff, .type = 3,
		.present = 1, .s = 1, .db = 1, .g = 1,
	};
	struct kvm_regs regs = {
		.rip = GUEST_CODE, .rsp = GUEST_SIZE, .rdi = GUEST_OPERAND,
		.rflags = 2,
	};
	struct kvm_sregs sregs;
	int rc = KVM(p->vcpu, KVM_GET_SREGS, &sregs, e);

	if (rc < 0)
		return rc;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = GUEST_GDT;
	sregs.gdt.limit = SELECTOR_DATA + 7;
	sregs.idt.base = GUEST_IDT;
	sregs.idt.limit = 4 * 16 - 1;
	sregs.cr0 = 0x80000033; /* PG, NE, ET, MP, PE */
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = 0x20; /* PAE */
	sregs.efer = 0x500; /* LMA, LME */
	rc = KVM(p->vcpu, KVM_SET_SREGS, &sregs, e);
	return rc < 0 ? rc : KVM(p->vcpu, KVM_SET_REGS, &regs, e);
}

static int make_machine(struct probe *p, struct err *e)
{
	int rc, size;

	if ((rc = p->vm = KVM(p->sys, KVM_CREATE_VM, NULL, e)) < 0 ||
	    (rc = make_memory(p, e)) < 0 ||
	    (rc = p->vcpu = KVM(p->vm, KVM_CREATE_VCPU, NULL, e)) < 0 ||
	    (rc = set_cpuid(p, e)) < 0 || (rc = set_registers(p, e)) < 0 ||
	    (rc = size = KVM(p->sys, KVM_GET_VCPU_MMAP_SIZE, NULL, e)) < 0)
		return rc;
	p->run_bytes = (size_t)size;
	p->run = mmap(NULL, p->run_bytes, PROT_READ, MAP_SHARED, p->vcpu, 0);
	return p->run == MAP_FAILED ? err_sys(e, "mmap of the vCPU") : 0;
}

static volatile sig_atomic_t late;

static void on_alarm(int sig)
{
	(void)sig;
	late = 1; /* and KVM_RUN returns */
}

/* The byte that the guest writes to PORT; all else is a failure that names the stage. */
static int run_to_port(const struct probe *p, const char *stage, struct err *e)
{
	const struct kvm_run *run = p->run;

	while (ioctl(p->vcpu, KVM_RUN, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, "%s: KVM_RUN", stage);
		else if (late)
			return err_set(e, ETIMEDOUT, "%s: no answer", stage);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.port == PORT && run->io.direction == KVM_EXIT_IO_OUT &&
		    run->io.size == 1)
			return *((const uint8_t *)run + run->io.data_offset);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		return err_set(e, ENOTSUP, "%s: internal error %u", stage, run->internal.suberror);
	case KVM_EXIT_FAIL_ENTRY:
		return err_set(e, ENOTSUP, "%s: entry failed, hardware reason 0x%llx", stage,
			       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	}
	return err_set(e, ENOTSUP, "%s: exit reason %u", stage, run->exit_reason);
}

static int run_guest(const struct probe *p, struct err *e)
{
	uint64_t operand;
	int stage;

	for (stage = STAGE_INT3; stage <= STAGE_CMPXCHG16B; stage++) {
		const char *name = stage_names[stage - STAGE_INT3];
		int value = run_to_port(p, name, e);

		if (value < 0)
			return value;
		if (value != stage)
			return err_set(e, ENOTSUP, "%s: the guest reports %d", name, value);
	}
	memcpy(&operand, p->memory + GUEST_OPERAND, sizeof(operand));
	if (operand != STAGE_INT3)
		return err_set(e, ENOTSUP, "%s: wrong result", stage_names[1]);
	return 0;
}

/* With a timer that interrupts a vCPU; the process's own is put back. */
static int run_limited(const struct probe *p, struct err *e)
{
	struct itimerval limit = { .it_interval = { 1, 0 }, .it_value = { PROBE_S, 0 } }, old;
	struct sigaction act = { .sa_handler = on_alarm }, was;
	int rc;

	late = 0;
	sigaction(SIGALRM, &act, &was);
	setitimer(ITIMER_REAL, &limit, &old);
	rc = run_guest(p, e);
	setitimer(ITIMER_REAL, &old, NULL);
	sigaction(SIGALRM, &was, NULL);
	return rc;
}

/**
 * vmm_probe_kvm() - whether this KVM runs Linux guests
 * @kvm_fd: /dev/kvm, borrowed
 *
 * Return: 0; minus errno naming what its guest did not get over
 * Context: uses SIGALRM for the while; PROBE_S at most
 *
 * #syscalls none
 */
int vmm_probe_kvm(int kvm_fd, struct err *e)
{
	struct probe p = { .sys = kvm_fd, .vm = -1, .vcpu = -1, .memory = MAP_FAILED,
			   .run = MAP_FAILED };
	int rc = make_machine(&p, e);

	if (!rc)
		rc = run_limited(&p, e);
	if (p.run != MAP_FAILED)
		munmap(p.run, p.run_bytes);
	if (p.vcpu >= 0)
		close(p.vcpu);
	if (p.vm >= 0)
		close(p.vm);
	if (p.memory != MAP_FAILED)
		munmap(p.memory, GUEST_SIZE);
	return rc;
}
