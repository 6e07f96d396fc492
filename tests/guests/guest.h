/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: Small guests
 *
 * A guest is 32-bit code without paging that podvm-vmm enters by its PVH note.
 * It reports through the serial port, a line at a time:
 *
 *   SYNC text    a stage was reached
 *   ASSERT n     the check in line n of its source failed; it powers off
 *   DONE         all is well; it powers off, unless its end is what is tested
 *
 * %ebx (the start info) is kept in @info. check and say change no register but
 * flags; the subroutines say what they change.
 */
#define PORT_SERIAL 0x3f8
#define PORT_SLEEP 0x600
#define PORT_RESET 0x602
#define SLEEP_S5 0x34
#define PCI_ECAM 0xfeb00000

/* Device status of a virtio device whose BAR is in %esi. */
#define STATUS 20(%esi)

	.section .note.pvh, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long _start

	.section .note.GNU-stack, "", @progbits

	.bss
	.balign 4096
stack:	.skip 4096
stack_top:
info:	.skip 4

	.text
	.code32

/* say "text": a line on the serial port */
.macro say text:vararg
	.pushsection .rodata
.Lsay\@: .asciz \text
	.popsection
	pushl $.Lsay\@
	call puts
	addl $4, %esp
.endm

/* check(a, b): compares two operands as cmpl does; names the line if they differ */
#define check(a, b) cmpl a, b; je 1f; pushl $__LINE__; jmp failed; 1:

.macro begin
	.globl _start
_start:
	movl $stack_top, %esp
	movl %ebx, info
.endm

.macro power_off
	movw $PORT_SLEEP, %dx
	movb $SLEEP_S5, %al
	outb %al, %dx
9:	hlt
	jmp 9b
.endm

.macro done
	say "DONE"
	power_off
.endm

/* puts(text): keeps all registers */
puts:
	pushal
	movl 36(%esp), %esi
	movw $PORT_SERIAL, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	movb $'\n', %al
	outb %al, %dx
	popal
	ret

/* failed: the line number is on top of the stack */
failed:
	movw $PORT_SERIAL, %dx
	movl $.Lassert, %esi
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	popl %eax
	xorl %ecx, %ecx
	movl $10, %ebx
3:	xorl %edx, %edx
	divl %ebx
	pushl %edx
	incl %ecx
	testl %eax, %eax
	jnz 3b
	movw $PORT_SERIAL, %dx
4:	popl %eax
	addb $'0', %al
	outb %al, %dx
	loop 4b
	movb $'\n', %al
	outb %al, %dx
	power_off

	.pushsection .rodata
.Lassert: .asciz "ASSERT "
	.popsection

/* pci_at: %eax = devfn << 8 | register; the register's address in %edx */
pci_at:	movl %eax, %edx
	andl $0xffff00, %edx
	shll $4, %edx
	movb %al, %dl
	addl $PCI_ECAM, %edx
	ret

/* pci_read: %eax = devfn << 8 | register; result in %eax; changes %edx */
pci_read:
	call pci_at
	movl (%edx), %eax
	ret

/* pci_write: %eax = devfn << 8 | register, %ecx = value; changes %edx */
pci_write:
	call pci_at
	movl %ecx, (%edx)
	ret

/*
 * pci_map: turns the device %ecx (as pci_find) on; BAR in %esi, devfn << 8 in %edi; changes
 * %eax, %ecx, %edx. ASSERT names the line here where there is no such device.
 */
pci_map:
	call pci_find
	cmpl $-1, %edi
	jne 1f
	pushl $__LINE__
	jmp failed
1:	movl %edi, %eax
	orl $0x10, %eax
	call pci_read
	movl %eax, %esi
	movl $6, %ecx			/* memory, bus master */
	movl %edi, %eax
	orl $4, %eax
	call pci_write
	ret

/* pci_move: BAR of the function %edi to %ecx, which is in %esi then; changes %eax, %edx */
pci_move:
	movl %ecx, %esi
	movl %edi, %eax
	orl $0x10, %eax
	call pci_write
	ret

/* virtio_status(set, is): writes the status of the device at %esi, and looks at it; changes %eax */
#define virtio_status(set, is) movb $set, STATUS; movzbl STATUS, %eax; check($is, %eax)

/* virtio_rings(n): the queue that is selected at %esi has @n entries in the page @ring, and is on */
#define virtio_rings(n) movw $n, 24(%esi); movl $ring, 32(%esi); movl $(ring + 1024), 40(%esi); \
	movl $(ring + 2048), 48(%esi); movw $1, 28(%esi)

/*
 * virtio_queue: to a device at %esi whose features are chosen: queue 0 has 8 entries, and
 * DRIVER_OK; changes %eax
 */
#define virtio_queue virtio_status(11, 11); movw $0, 22(%esi); virtio_rings(8); virtio_status(15, 15)

/* pci_find: %ecx = device << 16 | vendor; devfn << 8 in %edi, or -1; changes %eax, %edx */
pci_find:
	xorl %edi, %edi
1:	movl %edi, %eax
	call pci_read
	cmpl %ecx, %eax
	je 2f
	addl $0x100, %edi
	cmpl $0x10000, %edi
	jne 1b
	movl $-1, %edi
2:	ret
