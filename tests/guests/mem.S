/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem: where nothing was ever plugged, there is nothing. Then a block is memory
 * once it is plugged; unplugged ones read as zeros, and the one who writes there ends.
 * Blocks are at 4 GiB, which PAE shows at 1 GiB.
 */
#include "guest.h"

#define QUEUE 0x400
#define WINDOW 0x40000000
#define BLOCK 0x200000
#define PLUG 0
#define UNPLUG 1

/* ask(type, block): a request for one block at that number; its answer in %eax */
.macro ask type, block
	movl $\type, request
	movl $(\block * BLOCK), request + 8
	call send
.endm

	begin
	movl $0x10581af4, %ecx
	call pci_map
	call page_tables
	call start
	check($0, 0x210(%esi))		/* where: 4 GiB */
	check($1, 0x214(%esi))
	say "SYNC started"

	movl $1, WINDOW			/* nothing there */
	movl WINDOW, %eax
	check($-1, %eax)
	ask PLUG, 0
	check($0, %eax)
	ask PLUG, 2
	check($0, %eax)
	ask PLUG, 2
	check($3, %eax)			/* twice */
	check($0, WINDOW + BLOCK)	/* not yet */
	movl $0x12345678, WINDOW
	movl $0x12345678, WINDOW + BLOCK - 4
	movl $0x12345678, WINDOW + 2 * BLOCK
	check($0x12345678, WINDOW + BLOCK - 4)
	check($0x12345678, WINDOW)
	movl WINDOW + BLOCK - 2, %eax	/* across the end of what is plugged */
	check($0x1234, %eax)
	say "SYNC plugged"

	ask UNPLUG, 0
	check($0, %eax)
	check($0, WINDOW)
	check($0, WINDOW + BLOCK - 4)
	check($0x12345678, WINDOW + 2 * BLOCK)
	ask PLUG, 0
	check($0, %eax)
	check($0, WINDOW)
	movl $1, WINDOW
	ask UNPLUG, 0
	check($0, %eax)
	say "SYNC unplugged"
	say "DONE"
	movl $1, WINDOW			/* the end */
	say "ASSERT still there"
	power_off

/* page_tables: 1 to 1, but for 1 GiB from WINDOW; changes %eax, %ecx, %edx */
page_tables:
	movl $(pd + 1), pdpt
	movl $(pd + 0x1001), pdpt + 8
	movl $(pd + 0x2001), pdpt + 16
	movl $(pd + 0x3001), pdpt + 24
	xorl %ecx, %ecx
	movl $0x83, %eax		/* present, writable, 2 MiB */
1:	movl %eax, pd(, %ecx, 8)
	addl $BLOCK, %eax
	incl %ecx
	cmpl $2048, %ecx
	jne 1b
	xorl %ecx, %ecx
	movl $0x83, %eax
1:	movl %eax, pd + 0x1000(, %ecx, 8)
	movl $1, pd + 0x1004(, %ecx, 8)
	addl $BLOCK, %eax
	incl %ecx
	cmpl $512, %ecx
	jne 1b
	movl $pdpt, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax			/* PAE */
	movl %eax, %cr4
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	ret

/* start: takes the device at %esi to DRIVER_OK; changes %eax */
start:
	movb $0, STATUS
	movb $1, STATUS
	movb $3, STATUS
	movl $0, 8(%esi)
	movl $2, 12(%esi)		/* UNPLUGGED_INACCESSIBLE */
	movl $1, 8(%esi)
	movl $1, 12(%esi)		/* VERSION_1 */
	virtio_queue
	movl $request, ring
	movl $24, ring + 8
	movw $1, ring + 12		/* has a next one, */
	movw $1, ring + 14
	movl $response, ring + 16
	movl $10, ring + 24
	movw $2, ring + 28		/* which the device writes */
	ret

/* send: waits for the answer to @request, returns it in %eax */
send:
	movl $1, request + 12
	movl $1, request + 16
	incw ring + 1026		/* available index */
	movw $0, QUEUE(%esi)
1:	pause
	movw ring + 1026, %ax
	cmpw ring + 2050, %ax		/* used index */
	jne 1b
	movzwl response, %eax
	ret

	.bss
	.balign 4096
pd:	.skip 4 * 4096
ring:	.skip 4096
pdpt:	.skip 32
request: .skip 24
response: .skip 16
