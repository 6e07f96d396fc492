/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole bzImage: a setup header without setup code, and a kernel that is
 * entered in 64-bit mode. It checks that state and its boot parameters, and
 * reports as guest.h tells, one byte after the other by the serial port. Linked
 * nowhere: all its addresses are relative.
 */
#define PORT_SERIAL 0x3f8
#define PORT_SLEEP 0x600
#define SLEEP_S5 0x34
#define LOAD 0x1000000
#define INIT_SIZE 0x200000

	.text
	.code64
	.org 0x1f1
	.byte 1				/* setup_sects */
	.word 0
	.long (kernel_end - kernel) / 16
	.word 0, 0, 0
	.word 0xaa55
	.byte 0xeb, header_end - . - 1	/* jump: where the header ends */
	.ascii "HdrS"
	.word 0x20f
	.org 0x211
	.byte 1				/* loadflags: loaded high */
	.org 0x22c
	.long 0x7fffffff		/* initrd_addr_max */
	.long 0x200000
	.byte 1, 21
	.word 1				/* xloadflags: 64-bit entry */
	.long 255			/* cmdline_size */
	.org 0x258
	.quad LOAD
	.long INIT_SIZE
	.long 0, 0
header_end:
	.org 0x3ff
	.byte 0

/* say "text": a line on the serial port; changes rdi, rdx, al */
.macro say text
	leaq 8f(%rip), %rdi
	call puts
	jmp 9f
8:	.asciz "\text"
9:
.endm

/* check(a, b): compares two operands as cmpq does */
#define check(a, b) cmpq a, b; je 1f; movl $__LINE__, %ebx; jmp failed; 1:

kernel:					/* what is loaded; its first 0x200 bytes are of no use */
	.org 0x600
entry:
	leaq kernel(%rip), %rax
	check($LOAD, %rax)
	movl %cs, %eax
	check($0x10, %rax)
	movl %ds, %eax
	check($0x18, %rax)
	movl %ss, %eax
	check($0x18, %rax)
	movq %cr0, %rax
	movl $0x80000001, %ecx
	andq %rcx, %rax
	check(%rcx, %rax)
	movq %cr4, %rax
	check($0x20, %rax)
	movl $0xc0000080, %ecx		/* EFER: LMA, LME */
	rdmsr
	andl $0x500, %eax
	check($0x500, %rax)
	leaq stack(%rip), %rsp
	pushfq
	popq %rax
	andl $0x200, %eax
	check($0, %rax)
	movl $0x18, %eax		/* the GDT has these */
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	leaq far(%rip), %rax
	pushq $0x10
	pushq %rax
	lretq
far:	say "SYNC entry"

	movl 0x202(%rsi), %eax
	check($0x53726448, %rax)	/* header */
	movzbl 0x210(%rsi), %eax
	check($0xff, %rax)		/* type_of_loader */
	movzbl 0x1ef(%rsi), %eax
	check($0, %rax)			/* sentinel */
	movzbl 0x1e8(%rsi), %eax
	check($4, %rax)			/* memory map */
	movq 0x2d0(%rsi), %rax
	check($0, %rax)
	movl 0x2d0 + 20 + 16(%rsi), %eax
	check($2, %rax)
	say "SYNC parameters"

	movl 0x228(%rsi), %edi		/* command line */
	leaq wanted(%rip), %rbx
2:	movb (%rbx), %al
	cmpb %al, (%rdi)
	je 3f
	movl $__LINE__, %ebx
	jmp failed
3:	incq %rdi
	incq %rbx
	testb %al, %al
	jnz 2b
	say "SYNC cmdline"

	movq 0x70(%rsi), %rdi
	movq (%rdi), %rax
	movq rsdp(%rip), %rcx
	check(%rcx, %rax)
	say "SYNC acpi"

	movq 0x250(%rsi), %rdi		/* setup_data */
	movl 8(%rdi), %eax
	check($9, %rax)
	movl 12(%rdi), %eax
	check($32, %rax)
	movq 16(%rdi), %rax
	orq 24(%rdi), %rax
	jnz 4f
	movl $__LINE__, %ebx
	jmp failed
4:	movq 0(%rdi), %rax		/* it is the only one */
	check($0, %rax)
	say "SYNC seed"

	movl $LOAD + INIT_SIZE - 8, %edi	/* all of init_size is there */
	movq %rsi, (%rdi)
	movq (%rdi), %rax
	check(%rsi, %rax)
	say "DONE"
off:	movw $PORT_SLEEP, %dx
	movb $SLEEP_S5, %al
	outb %al, %dx
5:	hlt
	jmp 5b

/* puts: rdi has the text; changes rdi, rdx, al */
puts:	movl $PORT_SERIAL, %edx
6:	movb (%rdi), %al
	testb %al, %al
	jz 7f
	outb %al, %dx
	incq %rdi
	jmp 6b
7:	movb $'\n', %al
	outb %al, %dx
	ret

/* failed: ebx has the line; it is shown in octal, which needs no division */
failed:
	leaq stack(%rip), %rsp
	movl $5, %ecx
	leaq digits(%rip), %rdi
7:	movl %ebx, %eax
	andl $7, %eax
	addb $'0', %al
	movb %al, -1(%rdi, %rcx)
	shrl $3, %ebx
	decl %ecx
	jnz 7b
	leaq text(%rip), %rdi
	call puts
	jmp off

text:	.ascii "ASSERT 0"
digits:	.asciz "00000"
wanted:	.asciz "hello guest"
rsdp:	.ascii "RSD PTR "
	.balign 16
	.skip 256
stack:
	.balign 512
kernel_end:
