/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: who is on it, BAR sizes, and what must not exist. */
#include "guest.h"

	begin
	movw $0xcf8, %dx		/* there are no ports for it */
	movl $0x80000000, %eax
	outl %eax, %dx
	inl %dx, %eax
	check($-1, %eax)
	movl $8, %eax			/* host bridge */
	call pci_read
	check($0x06000000, %eax)
	movl $12, %eax			/* with more functions in its slot */
	call pci_read
	shrl $16, %eax
	check($0x80, %eax)

	xorl %esi, %esi			/* virtio functions */
	xorl %edi, %edi
1:	movl %edi, %eax
	call pci_read
	cmpw $0x1af4, %ax
	jne 2f
	incl %esi
2:	addl $0x100, %edi
	cmpl $0x10000, %edi
	jne 1b
	check($4, %esi)
	movl $0xff00, %eax
	call pci_read
	check($0xffffffff, %eax)
	movl $0x10000, %eax		/* behind the last function */
	call pci_read
	check($0xffffffff, %eax)
	check($0xffffffff, PCI_ECAM + 0x100)	/* no extended space */
	movl $0, PCI_ECAM		/* and numbers that cannot be written */
	check($0x00081b36, PCI_ECAM)
	say "SYNC scan"

	movl $0x10441af4, %ecx
	call pci_find
	movl %edi, %eax
	orl $0x10, %eax
	call pci_read
	movl %eax, %esi
	movl $-1, %ecx
	movl %edi, %eax
	orl $0x10, %eax
	call pci_write
	movl %edi, %eax
	orl $0x10, %eax
	call pci_read
	check($0xfffff000, %eax)
	movl %esi, %ecx
	movl %edi, %eax
	orl $0x10, %eax
	call pci_write
	movl %edi, %eax
	orl $0x14, %eax			/* there is one BAR */
	call pci_read
	check($0, %eax)
	check($0xffffffff, (%esi))	/* and it does not decode yet */
	done
