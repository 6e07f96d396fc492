/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal virtio driver: 64 bytes of entropy, before and after the BAR moves. */
#include "guest.h"

#define STATUS 20(%esi)
#define QUEUE 0x400

	begin
	movl $0x10441af4, %ecx
	call pci_find
	movl %edi, %eax
	orl $0x10, %eax
	call pci_read
	movl %eax, %esi
	movl $6, %ecx			/* memory, bus master */
	movl %edi, %eax
	orl $4, %eax
	call pci_write
	call drive
	say "SYNC random"

	movl $0xd0000000, %ecx		/* another place */
	movl %ecx, %esi
	movl %edi, %eax
	orl $0x10, %eax
	call pci_write
	call drive
	say "SYNC moved"
	done

/* drive: reset and use the device at %esi; changes %eax, %ecx */
drive:
	movb $0, STATUS
	movzbl STATUS, %eax
	check($0, %eax)
	movb $1, STATUS
	movb $3, STATUS
	movl $1, 8(%esi)		/* accept VERSION_1 and nothing else */
	movl $1, 12(%esi)
	movb $11, STATUS
	movzbl STATUS, %eax
	check($11, %eax)
	movw $0, 22(%esi)
	movw $8, 24(%esi)
	movl $ring, 32(%esi)
	movl $(ring + 1024), 40(%esi)
	movl $(ring + 2048), 48(%esi)
	movw $1, 28(%esi)
	movb $15, STATUS
	movzbl STATUS, %eax
	check($15, %eax)

	xorl %eax, %eax
	movl $1024, %ecx
	pushl %edi
	movl $ring, %edi
	rep stosl
	popl %edi
	movl $buffer, ring
	movl $64, ring + 8
	movw $2, ring + 12		/* the device writes */
	movw $1, ring + 1026		/* available index */
	movw $0, QUEUE(%esi)
1:	pause
	cmpw $1, ring + 2050		/* used index */
	jne 1b
	check($64, ring + 2056)
	movl buffer, %eax
	orl buffer + 32, %eax
	cmpl $0, %eax
	jne 2f
	pushl $__LINE__
	jmp failed
2:	ret

	.bss
	.balign 4096
ring:	.skip 4096
buffer:	.skip 64
