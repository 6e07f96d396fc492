/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that lies, to all kinds of device that need nothing but the monitor: in
 * what it puts into a queue, where it puts the queue, and what it writes to
 * registers, at every stage of a device's life and with every width. A lie is
 * ignored or ends in NEEDS_RESET; after each of them the device can be reset, and
 * another one serves. RAM must reach across the hole: 3 GiB below it, and some above 4 GiB.
 */
#include "guest.h"

#define NOTIFY 0x400
#define NEEDS_RESET 64
	.set N, 8			/* entries of a queue */

	.set NEXT, 1
	.set WRITE, 2
	.set IND, 4

	.set HOLE, 0xc0000000
	.set HIGH_END, 0x140000000

#define NAME 0
#define HEAD 4
#define AHEAD 6
#define DESCS 8
#define LIE_BYTES (DESCS + 8 * 16)

.macro d addr=0, len=0, flags=0, next=0
	.quad \addr
	.long \len
	.short \flags, \next
.endm

/* lie "name", head, how far the index goes; then four descriptors, four of a table */
.macro lie name, head=0, ahead=1
	.pushsection .rodata.names, "a"
.Llie\@: .asciz "\name"
	.popsection
	.long .Llie\@
	.short \head, \ahead
.endm

/* Only the first descriptors and those of the table matter for most of them. */
.macro lie1 name, addr, len, flags=0, next=0
	lie "\name"
	d \addr, \len, \flags, \next
	d page, 16
	d; d; d; d; d; d
.endm
.macro lie2 name, addr, len, flags, next, addr2, len2, flags2=0, next2=0
	lie "\name"
	d \addr, \len, \flags, \next
	d \addr2, \len2, \flags2, \next2
	d 0, 1
	d; d; d; d; d
.endm
.macro lie_t name, len, addr, tlen, tflags=0, tnext=0
	lie "\name"
	d table, \len, IND
	d; d; d
	d \addr, \tlen, \tflags, \tnext
	d page, 8
	d; d
.endm

	begin
	fninit
	movl $0xffffffff, %eax
	movl %eax, wide
	movl %eax, wide + 4
	movl $devices, %ebp
device:	movl (%ebp), %ecx
	testl %ecx, %ecx
	jz all_lied
	call pci_map
	movl 4(%ebp), %eax
	movl %eax, queue
	movl 8(%ebp), %eax
	pushl %eax
	call puts
	addl $4, %esp
	call tell_lies
	call misplace
	call registers
	call notify_all
	call config
	call serve_other
	addl $16, %ebp
	jmp device
all_lied:
	movl $0x10441af4, %ecx
	call pci_map
	call vectors
	done

/* reset: and wait for its end; changes %eax */
reset:	movb $0, STATUS
2:	movzbl STATUS, %eax
	testl %eax, %eax
	jz 3f
	pause
	jmp 2b
3:	ret

/*
 * stage: from a reset to the status %eax: 0, 1, 3, 11, 15 or 79, by a driver that
 * behaves but for the last one; changes %eax, %ecx
 */
stage:	movl %eax, %ecx
	call reset
	cmpl $1, %ecx
	jb 9f
	movb $1, STATUS
	cmpl $3, %ecx
	jb 9f
	movb $3, STATUS
	cmpl $11, %ecx
	jb 9f
	movl $0, 8(%esi)
	movl $(1 << 28), 12(%esi)	/* INDIRECT_DESC */
	movl $1, 8(%esi)
	movl $1, 12(%esi)		/* VERSION_1 */
	virtio_status(11, 11)
	cmpl $15, %ecx
	jb 9f
	call clear_ring
	movl queue, %eax
	movw %ax, 22(%esi)
	virtio_rings(N)
	virtio_status(15, 15)
	cmpl $15, %ecx
	je 9f
	virtio_status(11, 79)		/* takes DRIVER_OK back */
9:	ret

clear_ring:
	pushal
	xorl %eax, %eax
	movl $ring, %edi
	movl $1024, %ecx
	rep stosl
	popal
	ret

/* kick: notify the queue under attack; changes %eax */
kick:	movl queue, %eax
	movw %ax, NOTIFY(%esi, %eax, 4)
	ret

/* tell_lies: each of @lies in the ring; changes all but %ebp, %esi */
tell_lies:
	movl $lies, %ebx
lie_on:	cmpl $lies_end, %ebx
	jae lies_told
	movl $15, %eax
	call stage
	pushl %esi
	leal DESCS(%ebx), %esi
	movl $ring, %edi
	movl $16, %ecx
	rep movsl
	movl $table, %edi
	movl $16, %ecx
	rep movsl
	popl %esi
	movw HEAD(%ebx), %ax
	movw %ax, ring + 1028
	movw AHEAD(%ebx), %ax
	movw %ax, ring + 1026
	call kick
	movl NAME(%ebx), %eax
	call believed
	cmpw $0, ring + 2050
	je 2f
	pushl $__LINE__
	jmp failed
2:	addl $LIE_BYTES, %ebx
	jmp lie_on
lies_told:
	call reset
	ret

/* believed: waits for NEEDS_RESET, and names the lie %eax if that takes long; changes %eax, %ecx */
believed:
	movl $200000, %ecx
2:	testb $NEEDS_RESET, STATUS
	jnz 3f
	pause
	loop 2b
	pushl %eax
	call puts
	pushl $__LINE__
	jmp failed
3:	ret

/* misplace: each of @places for a queue; changes all but %ebp, %esi */
misplace:
	movl $places, %ebx
place_on:
	cmpl $places_end, %ebx
	jae placed
	movl $11, %eax
	call stage
	movl queue, %eax
	movw %ax, 22(%esi)
	movw $N, 24(%esi)
	xorl %ecx, %ecx
2:	movl (%ebx, %ecx), %eax
	movl %eax, 32(%esi, %ecx)
	addl $4, %ecx
	cmpl $24, %ecx
	jne 2b
	movw $1, 28(%esi)
	movb $15, STATUS
	testb $NEEDS_RESET, STATUS
	jnz 3f
	pushl $__LINE__
	jmp failed
3:	call kick
	addl $24, %ebx
	jmp place_on
placed:	call reset
	ret

/*
 * registers: at each stage, each value to the bytes of the common configuration by
 * each width; to all of them for the devices that reset at once and that may not. Only a write of a byte to the status may change it to anything but
 * NEEDS_RESET. Changes all but %ebp, %esi
 */
registers:
	movl $stages, %ebx
reg_stage:
	movl $values, %edx
reg_value:
	xorl %edi, %edi
reg_at:	movl $1, width
reg_width:
	movl (%ebx), %eax
	call stage
	movl (%edx), %eax
	call write
	movzbl STATUS, %eax
	movl width, %ecx
	cmpl $20, %edi			/* the status itself */
	jne 2f
	cmpl $1, %ecx
	je 4f
2:	cmpl (%ebx), %eax
	je 3f
	movl (%ebx), %ecx
	orl $NEEDS_RESET, %ecx
	cmpl %ecx, %eax
	je 4f
	pushl $__LINE__
	jmp failed
3:	cmpl $15, %eax			/* it goes on as if nothing had been */
	jne 4f
	movl queue, %eax
	movw %ax, 22(%esi)
	check($ring, 32(%esi))
	check($(ring + 1024), 40(%esi))
	check($(ring + 2048), 48(%esi))
	check($0, 52(%esi))
	movzwl 24(%esi), %eax
	check($N, %eax)
4:	shll $1, width
	cmpl $8, width
	jbe reg_width
	addl 12(%ebp), %edi
	cmpl $64, %edi
	jne reg_at
	addl $4, %edx
	cmpl $values_end, %edx
	jne reg_value
	addl $4, %ebx
	cmpl $stages_end, %ebx
	jne reg_stage
	call reset
	ret

/* write: %eax by @width bytes to offset %edi of the BAR; 8 bytes are always ones */
write:	cmpl $2, width
	jb 2f
	je 3f
	cmpl $8, width
	je 4f
	movl %eax, (%esi, %edi)
	ret
2:	movb %al, (%esi, %edi)
	ret
3:	movw %ax, (%esi, %edi)
	ret
4:	movq wide, %mm0
	movq %mm0, (%esi, %edi)
	ret

/* sweep: %eax to each byte from %edi to before %ecx of the BAR by each width; changes %edi */
sweep:	movl $1, width
2:	call write
	shll $1, width
	cmpl $8, width
	jbe 2b
	incl %edi
	cmpl %ecx, %edi
	jb sweep
	ret

/* notify_all: queues that there are and are not, at each stage; changes all but %ebp, %esi */
notify_all:
	movl $stages, %ebx
2:	movl (%ebx), %eax
	call stage
	movl $NOTIFY, %edi
	movl $0x7f8, %ecx
	movl $0x00030001, %eax
	call sweep
	movzbl STATUS, %eax
	check((%ebx), %eax)
	addl $4, %ebx
	cmpl $stages_end, %ebx
	jne 2b
	call reset
	ret

/* config: all of the device's configuration, while a driver is there; changes all but %ebp, %esi */
config:	movl $15, %eax
	call stage
	movl $0x200, %edi
	movl $0x3f8, %ecx
	movl $0x5a5aa5a5, %eax
	call sweep
	movl $0x200, %edi
2:	movb (%esi, %edi), %al
	movw (%esi, %edi), %ax
	movl (%esi, %edi), %eax
	incl %edi
	cmpl $0x400, %edi
	jne 2b
	movzbl STATUS, %eax
	check($15, %eax)
	call reset
	ret

/* serve_other: 64 random bytes; changes all but %ebp */
serve_other:
	pushl queue
	movl $0, queue
	movl $0x10441af4, %ecx
	call pci_map
	movl $15, %eax
	call stage
	call random
	call reset
	popl queue
	ret

/* random: one request to the device at %esi, whose ring is clear; changes %eax */
random:	movl $0, page
	movl $0, page + 4
	movl $page, ring
	movl $64, ring + 8
	movw $WRITE, ring + 12
	incw ring + 1026
	call kick
2:	pause
	movw ring + 2050, %ax
	cmpw ring + 1026, %ax
	jne 2b
	movl page, %eax
	orl page + 4, %eax
	jnz 3f
	pushl $__LINE__
	jmp failed
3:	ret

/*
 * vectors: interrupts of the device at %esi, devfn << 8 in %edi, that do not exist, and
 * messages that go into RAM; changes all
 */
vectors:
	movl $0, queue
	movl $15, %eax
	call stage
	xorl %ebx, %ebx			/* every vector, the last one is none */
2:	movw %bx, 16(%esi)
	movw %bx, 26(%esi)
	movzwl 16(%esi), %eax
	cmpl %ebx, %eax
	je 3f
	check($0xffff, %eax)
3:	movzwl 26(%esi), %eax
	cmpl %ebx, %eax
	je 4f
	check($0xffff, %eax)
4:	incl %ebx
	cmpl $0x200, %ebx
	jne 2b
	movw $0xfffe, 26(%esi)
	movzwl 26(%esi), %eax
	check($0xffff, %eax)
	say "SYNC vectors"

	pushl %edi			/* behind the table, and what is pending */
	movl $0x820, %edi
	movl $0xff8, %ecx
	movl $0x01010101, %eax
	call sweep
	popl %edi
	call random

	movl %edi, %eax			/* the MSI-X capability */
	orl $0x34, %eax
	call pci_read
5:	movzbl %al, %ebx
	movl %edi, %eax
	orl %ebx, %eax
	call pci_read
	cmpb $0x11, %al
	je 6f
	shrl $8, %eax
	jmp 5b
6:	movl %edi, %ecx
	orl %ebx, %ecx
	orl $0x80000000, %eax
	xchgl %eax, %ecx
	call pci_write			/* on */
	movl $untouched, 0x800(%esi)
	movl $0, 0x804(%esi)
	movl $0x12345678, 0x808(%esi)
	movl $0, 0x80c(%esi)
	movl $untouched, 0x810(%esi)
	movl $1, 0x814(%esi)
	movl $0x12345678, 0x818(%esi)
	movl $0, 0x81c(%esi)
	movw $0, 26(%esi)
	movw $1, 16(%esi)
	call random
	movw $1, 26(%esi)
	call random
	movb $11, STATUS		/* breaks it: the configuration's vector */
	movzbl STATUS, %eax
	check($79, %eax)
	check($0, untouched)
	movl $15, %eax
	call stage
	call random
	say "SYNC messages"
	ret

	.section .rodata
	.balign 4
/* What, which queue, name, step from one register to the next. */
devices:
	.long 0x10441af4, 0, 7f, 1		/* rng */
	.long 0x10421af4, 0, 8f, 1		/* blk */
	.long 0x10431af4, 1, 9f, 2		/* console: what it sends */
	.long 0x10451af4, 0, 10f, 2	/* balloon: inflate */
	.long 0x10531af4, 1, 11f, 2	/* vsock: what it sends */
	.long 0x10581af4, 0, 12f, 2	/* mem */
	.long 0
7:	.asciz "SYNC rng"
8:	.asciz "SYNC blk"
9:	.asciz "SYNC console"
10:	.asciz "SYNC balloon"
11:	.asciz "SYNC vsock"
12:	.asciz "SYNC mem"

	.balign 4
stages:	.long 0, 1, 3, 11, 15, 79
stages_end:
values:	.long 0, 1, 0xffffffff, 0x0f0f0f0f
values_end:

	.balign 8
/* Descriptors, available ring, used ring. */
places:
	.quad ring + 8, ring + 1024, ring + 2048
	.quad ring, ring + 1025, ring + 2048
	.quad ring, ring + 1024, ring + 2050
	.quad HOLE - 16, ring + 1024, ring + 2048
	.quad HOLE, ring + 1024, ring + 2048
	.quad ring, HIGH_END - 8, ring + 2048
	.quad ring, ring + 1024, HIGH_END
	.quad ring, ring + 1024, 0xfffffffffffffffc
	.quad 0xfffffffffffffff0, ring + 1024, ring + 2048
	.quad ring, ring + 1024, 0xfeb00000
places_end:

	.balign 8
lies:
	lie "index far ahead", 0, N+1
	d page, 16; d; d; d; d; d; d; d
	lie "index went back", 0, 0xffff
	d page, 16; d; d; d; d; d; d; d
	lie "head out of range", N
	d; d; d; d; d; d; d; d
	lie "head far out of range", 0xffff
	d; d; d; d; d; d; d; d
	lie1 "next out of range", page, 16, NEXT, N
	lie1 "loop to itself", page, 16, NEXT, 0
	lie2 "loop of two", page, 16, NEXT, 1, page, 16, NEXT, 0
	lie1 "no bytes", page, 0
	lie1 "no bytes, writable", page, 0, WRITE
	lie1 "in the hole", HOLE, 16
	lie1 "into the hole", HOLE-8, 16, WRITE
	lie1 "out of the hole", 0xfffffff8, 16, WRITE
	lie1 "across the hole", HOLE-16, 0x40000020, WRITE
	lie1 "configuration space", PCI_ECAM, 16
	lie1 "behind the end", HIGH_END, 1
	lie1 "over the end", HIGH_END-1, 2, WRITE
	lie1 "address wraps", 0xfffffffffffffff8, 16
	lie1 "length wraps", page, 0xffffffff, WRITE
	lie2 "readable behind writable", page, 16, WRITE|NEXT, 1, page, 16
	lie2 "above 4 GiB", 0x1000, 0x80000000, NEXT, 1, 0x1000, 0x80000000, NEXT, 2
	lie2 "above 4 GiB, both ways", 0x1000, 0x80000000, NEXT, 1, 0x1000, 0x80000001, WRITE
	lie_t "nested tables", 16, table, 16, IND
	lie1 "table with a next", table, 16, IND|NEXT, 1
	lie_t "empty table", 0, page, 8
	lie_t "crooked table", 17, page, 8
	lie_t "short table", 15, page, 8
	lie_t "large table", 16*(N+1), page, 8
	lie_t "huge table", 0xfffffff0, page, 8
	lie1 "table in the hole", HOLE, 16, IND
	lie1 "table over the end", HIGH_END-16, 32, IND
	lie1 "table address wraps", 0xfffffffffffffff0, 32, IND
	lie_t "next leaves table", 32, page, 8, NEXT, 2
	lie_t "loop in table", 16, page, 8, NEXT, 0
	lie2 "order across table", page, 8, WRITE|NEXT, 1, table, 16, IND
	lie_t "no bytes in table", 16, page, 0
lies_end:

	.bss
	.balign 4096
ring:	.skip 4096
page:	.skip 4096
table:	.skip 4096
untouched: .skip 8
queue:	.skip 4
width:	.skip 4
wide:	.skip 8
