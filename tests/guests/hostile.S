/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes bytes, words and longs of all functions' configuration and of
 * what BARs have, at every offset, aligned or not, on BARs that lie where the
 * guest put them. The machine must live through it.
 */
#include "guest.h"

	begin
	movl $0x100, %edi
1:	movl %edi, %eax
	call pci_read
	cmpl $-1, %eax
	je done_all
	movl $-1, %ebp			/* every configuration register */
	call config
	movl $0x5a5aa5a5, %ebp
	call config
	movl $0xe0000000, %ecx		/* a place for BAR 0, decoding on */
	movl %edi, %eax
	orl $0x10, %eax
	call pci_write
	movl $6, %ecx
	movl %edi, %eax
	orl $4, %eax
	call pci_write
	movl $-1, %ebp
	call bar
	movl $15, %ebp			/* looks like a driver that goes on */
	call bar
	movl $0x01010101, %ebp
	call bar
	movl $0, %ecx			/* out of the way of the next one */
	movl %edi, %eax
	orl $4, %eax
	call pci_write
	say "SYNC function"
	addl $0x100, %edi
	jmp 1b
done_all:
	done

/* config: write %ebp to all registers of %edi by 1, 2 and 4 bytes */
config:
	xorl %esi, %esi
1:	movl %edi, %eax
	orl %esi, %eax
	call pci_at
	movl %ebp, %eax
	movb %al, (%edx)
	movw %ax, (%edx)
	movl %eax, (%edx)
	movb (%edx), %al
	movw (%edx), %ax
	movl (%edx), %eax
	incl %esi
	cmpl $256, %esi
	jne 1b
	ret

/* bar: write %ebp to all of BAR 0 at 0xe0000000 by 1, 2 and 4 bytes */
bar:
	movl $0xe0000000, %esi
1:	movl %ebp, %eax
	movb %al, (%esi)
	movw %ax, (%esi)
	movl %eax, (%esi)
	movb (%esi), %al
	movw (%esi), %ax
	movl (%esi), %eax
	addl $1, %esi
	cmpl $0xe0000040, %esi		/* behind the common configuration */
	jne 2f
	movl $0xe00003f8, %esi
2:	cmpl $0xe0000410, %esi		/* behind the first notify registers */
	jne 3f
	movl $0xe00007f8, %esi
3:	cmpl $0xe0000810, %esi		/* behind the first vector */
	jne 1b
	ret
