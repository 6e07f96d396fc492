/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets up registers, memory and a device, and waits for a disk, which its copy is given. Then
 * all is as it was: the device serves the next request without a word to it. Processors
 * that have not run before have the time of the first one when they begin.
 */
#include "guest.h"

#define QUEUE 0x400
#define CR0_EM 4
#define CR4_OSFXSR 0x200

/* Processors that have begun, and the time of each. */
#define COUNT 0x7000
#define NEXT 0x7004
#define TIMES 0x7010
#define TRAMPOLINE 0x8000

	begin
	movl %cr0, %eax			/* SSE: a register that is in XSAVE's area */
	andl $~CR0_EM, %eax
	movl %eax, %cr0
	movl %cr4, %eax
	orl $CR4_OSFXSR, %eax
	movl %eax, %cr4
	movups pattern, %xmm3
	movl $0x5eed, %ebp
	movl $0xc0de0001, high		/* memory that is not in the file of the guest */
	movl $0x176, %ecx		/* IA32_SYSENTER_EIP: an MSR that keeps what it is given */
	movl $0x12345678, %eax
	xorl %edx, %edx
	wrmsr

	movl $0x10441af4, %ecx
	call pci_map
	movl $0xd0000000, %ecx		/* another place */
	call pci_move

	movb $0, STATUS
	movb $1, STATUS
	movb $3, STATUS
	movl $1, 8(%esi)		/* accept VERSION_1 and nothing else */
	movl $1, 12(%esi)
	virtio_queue
	movl $buffer, ring
	movl $64, ring + 8
	movw $2, ring + 12		/* the device writes */
	call request
	movl buffer, %eax
	movl %eax, first
	say "SYNC waiting"

	/* The disk is there once this is a copy. */
1:	rdtsc
	movl %eax, tsc
	movl %edx, tsc + 4
	movl $0x10421af4, %ecx
	call pci_find
	cmpl $-1, %edi
	je 1b
	say "SYNC copied"
	check($0x5eed, %ebp)
	check($0xd0000000, %esi)
	cmpl $0xc0de0001, high
	je 2f
	pushl $__LINE__
	jmp failed
2:	movups %xmm3, buffer + 16
	movl buffer + 16, %eax
	check(pattern, %eax)
	movl buffer + 28, %eax
	check(pattern + 12, %eax)
	movl $0x176, %ecx
	rdmsr
	check($0x12345678, %eax)
	rdtsc				/* time has not gone back */
	subl tsc, %eax
	sbbl tsc + 4, %edx
	jnc 3f
	pushl $__LINE__
	jmp failed
3:	movzbl STATUS, %eax
	check($15, %eax)
	call request			/* the ring goes on where it was */
	movl buffer, %eax
	cmpl first, %eax
	jne 4f
	pushl $__LINE__
	jmp failed
4:	movl $1, %eax			/* how many processors there are */
	cpuid
	shrl $16, %ebx
	andl $0xff, %ebx
	cmpl $1, %ebx
	jbe 5f
	call others
5:	done

/* less: the time at %esi is before that at %edi; changes %eax, %edx */
.macro less
	movl (%edi), %eax
	movl 4(%edi), %edx
	subl (%esi), %eax
	sbbl 4(%esi), %edx
	jnc 8f
	pushl $__LINE__
	jmp failed
8:
.endm

/* others: starts all processors of %ebx and compares their times with this one's */
others:
	movl $0, COUNT
	movl $0, NEXT
	movl $trampoline, %esi
	movl $TRAMPOLINE, %edi
	movl $(trampoline_end - trampoline), %ecx
	rep movsb
	rdtsc
	movl %eax, tsc
	movl %edx, tsc + 4
	movl $0xfee000f0, %esi		/* spurious vector register: APIC on */
	movl $0x1ff, (%esi)
	movl $0xfee00300, %esi
	movl $0xc4500, (%esi)		/* INIT, all but self */
	movl $0xc4608, (%esi)		/* SIPI at 0x8000 */
	movl $0xc4608, (%esi)
	decl %ebx
1:	pause
	cmpl %ebx, COUNT
	jne 1b
	rdtsc
	movl %eax, tsc + 8
	movl %edx, tsc + 12
	movl $TIMES, %ecx
2:	movl $tsc, %esi
	movl %ecx, %edi
	less
	movl %ecx, %esi
	movl $(tsc + 8), %edi
	less
	addl $8, %ecx
	decl %ebx
	jnz 2b
	say "SYNC same time"
	ret

	.code16
trampoline:
	xorw %ax, %ax
	movw %ax, %ds
	rdtsc
	movl %eax, %ecx
	movl $1, %ebx
	lock xaddl %ebx, NEXT
	movl %ecx, TIMES(, %ebx, 8)
	movl %edx, TIMES + 4(, %ebx, 8)
	lock incl COUNT
1:	hlt
	jmp 1b
trampoline_end:
	.code32

/* request: the next one to the device at %esi; changes %eax */
request:
	movzwl ring + 1026, %eax
	incl %eax
	movw %ax, ring + 1026
	movw $0, QUEUE(%esi)
1:	pause
	cmpw %ax, ring + 2050
	jne 1b
	ret

	.section .rodata
	.balign 16
pattern: .long 0x01020304, 0x05060708, 0x090a0b0c, 0x0d0e0f10

	.bss
	.balign 4096
ring:	.skip 4096
buffer:	.skip 64
first:	.skip 4
tsc:	.skip 16
	.balign 4096
high:	.skip 4096
