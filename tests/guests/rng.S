/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal virtio driver: 64 bytes of entropy, before and after the BAR moves. */
#include "guest.h"

#define QUEUE 0x400

	begin
	movl $0x10441af4, %ecx
	call pci_map
	call drive
	say "SYNC random"

	movl $0xd0000000, %ecx		/* another place */
	call pci_move
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
	virtio_queue

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
