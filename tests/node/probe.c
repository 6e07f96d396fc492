// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: say whether /dev/kvm of this machine runs Linux guests.  That a virtual
 * machine can be made says little: some hosts offer a KVM that stops at
 * instructions which every Linux kernel executes while it boots.  So this
 * program runs the two that are known to be missing, in a guest of its own:
 * int3, with a handler that returns (static keys and alternatives), and
 * cmpxchg16b (the slab allocator), both at privilege level 0 in 64-bit mode.
 *
 * Objects: one VM, one vCPU, one memory slot of GUEST_SIZE bytes that holds
 * page tables (one 2 MiB page, identity), GDT, IDT, code, operand and stack.
 *
 * Stages: the guest writes STAGE_INT3 to PORT after the handler has returned,
 * then STAGE_CMPXCHG16B, then halts.  Each must arrive in this order; any other
 * exit names the stage that the guest did not reach.
 *
 * Limits: an alarm ends the program after TIMEOUT_S seconds, whatever KVM does.
 * Exit status 0 and no output: yes.  1 and one line on standard error: no.
 *
 * Sources: linux/kvm.h; AMD64 Architecture Programmer's Manual, volume 2,
 * sections 4.8 (descriptors), 5.3 (long-mode paging) and 8.9 (exceptions).
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define TIMEOUT_S 20
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
	"guest_code:\n"
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
	"guest_handler:\n"
	"	incl %ebx\n"
	"	iretq\n"
	"guest_end:\n"
	".popsection\n");

extern const uint8_t guest_code[], guest_handler[], guest_end[];

static const char *const stage_names[] = {
	"the first instructions of a guest, or int3 in kernel mode",
	"cmpxchg16b in kernel mode",
};

__attribute__((noreturn, format(printf, 1, 2)))
static void no(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("probe: /dev/kvm does not run Linux guests here: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void on_alarm(int signal_number)
{
	static const char text[] =
		"probe: /dev/kvm does not run Linux guests here: no answer\n";

	(void)signal_number;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(1);
}

static int kvm(int fd, unsigned long request, const char *name, void *arg)
{
	int result = ioctl(fd, request, arg);

	if (result < 0)
		no("%s: %s", name, strerror(errno));
	return result;
}

#define KVM(fd, request, arg) kvm(fd, request, #request, arg)

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
	put_gate(memory, 3, GUEST_CODE + (guest_handler - guest_code));
	memcpy(memory + GUEST_CODE, guest_code, guest_end - guest_code);
}

static void *make_memory(int vm)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = GUEST_SIZE,
	};
	void *memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		no("mmap: %s", strerror(errno));
	fill_memory(memory);
	slot.userspace_addr = (uintptr_t)memory;
	KVM(vm, KVM_SET_USER_MEMORY_REGION, &slot);
	return memory;
}

/* A guest gets what the host supports, as any VMM gives it. */
static void set_cpuid(int dev, int vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUID_ENTRIES];
	} cpuid = { .head.nent = CPUID_ENTRIES };

	KVM(dev, KVM_GET_SUPPORTED_CPUID, &cpuid);
	KVM(vcpu, KVM_SET_CPUID2, &cpuid);
}

static void set_registers(int vcpu)
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

	KVM(vcpu, KVM_GET_SREGS, &sregs);
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
	KVM(vcpu, KVM_SET_SREGS, &sregs);
	KVM(vcpu, KVM_SET_REGS, &regs);
}

/* Returns the value that the guest wrote to PORT; all else is a no. */
static uint8_t run_to_port(int vcpu, const struct kvm_run *run,
			   const char *stage)
{
	while (ioctl(vcpu, KVM_RUN, 0) < 0)
		if (errno != EINTR)
			no("%s: KVM_RUN: %s", stage, strerror(errno));

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.port == PORT &&
		    run->io.direction == KVM_EXIT_IO_OUT && run->io.size == 1)
			return *((const uint8_t *)run + run->io.data_offset);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		no("%s: internal error %u", stage, run->internal.suberror);
	case KVM_EXIT_FAIL_ENTRY:
		no("%s: entry failed, hardware reason 0x%llx", stage,
		   run->fail_entry.hardware_entry_failure_reason);
	}
	no("%s: exit reason %u", stage, run->exit_reason);
}

static void run_guest(int vcpu, const struct kvm_run *run,
		      const uint8_t *memory)
{
	uint64_t operand;

	for (unsigned int stage = STAGE_INT3; stage <= STAGE_CMPXCHG16B;
	     stage++) {
		const char *name = stage_names[stage - STAGE_INT3];
		unsigned int value = run_to_port(vcpu, run, name);

		if (value != stage)
			no("%s: the guest reports %u", name, value);
	}

	memcpy(&operand, memory + GUEST_OPERAND, sizeof(operand));
	if (operand != STAGE_INT3)
		no("%s: wrong result", stage_names[1]);
}

int main(void)
{
	const struct kvm_run *run;
	int dev, vm, vcpu, size;
	const uint8_t *memory;

	signal(SIGALRM, on_alarm);
	alarm(TIMEOUT_S);

	dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		no("open: %s", strerror(errno));
	if (KVM(dev, KVM_GET_API_VERSION, NULL) != KVM_API_VERSION)
		no("unknown version of the interface");

	vm = KVM(dev, KVM_CREATE_VM, NULL);
	memory = make_memory(vm);
	vcpu = KVM(vm, KVM_CREATE_VCPU, NULL);
	set_cpuid(dev, vcpu);
	set_registers(vcpu);

	size = KVM(dev, KVM_GET_VCPU_MMAP_SIZE, NULL);
	run = mmap(NULL, size, PROT_READ, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		no("mmap of the vCPU: %s", strerror(errno));
	run_guest(vcpu, run, memory);
	return 0;
}
