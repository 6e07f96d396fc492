/* SPDX-License-Identifier: Apache-2.0 */
/* The state at the PVH entry, and what the start info points to. */
#include "guest.h"

	begin
	movl %cr0, %eax
	andl $~0x10, %eax		/* ET is wired to one */
	check($1, %eax)
	movl %cr4, %eax
	check($0, %eax)
	pushfl
	popl %eax
	andl $0x20300, %eax		/* VM, IF, TF */
	check($0, %eax)
	movl info, %ebx
	check($0x336ec578, 0(%ebx))
	check($1, 4(%ebx))		/* version */
	check($0, 12(%ebx))		/* no initramfs here */
	say "SYNC entry"

	movl 24(%ebx), %esi		/* command line */
	movl $wanted, %edi
	movl $(wanted_end - wanted), %ecx
	repe cmpsb
	movl %ecx, %eax
	check($0, %eax)
	say "SYNC cmdline"

	movl 32(%ebx), %esi		/* RSDP */
	check($0x20445352, 0(%esi))
	check($0x20525450, 4(%esi))
	movl 24(%esi), %esi		/* XSDT */
	check($0x54445358, 0(%esi))
	movl 36(%esi), %edi		/* FADT */
	check($0x50434146, 0(%edi))
	check($276, 4(%edi))
	movl 140(%edi), %edi		/* DSDT */
	check($0x54445344, 0(%edi))
	movl 44(%esi), %edi		/* MADT */
	check($0x43495041, 0(%edi))
	say "SYNC acpi"

	movl 40(%ebx), %esi		/* memory map: RAM from 0, reserved, RAM from 1 MiB, reserved */
	check($4, 48(%ebx))
	check($0, 0(%esi))
	check($1, 16(%esi))
	check($2, 40(%esi))
	check($0x100000, 48(%esi))
	check($1, 64(%esi))
	movl 48(%esi), %edi		/* its last word can be written */
	addl 56(%esi), %edi
	movl $0x12345678, -4(%edi)
	check($0x12345678, -4(%edi))
	say "SYNC memory"
	done

	.section .rodata
wanted:	.asciz "hello guest"
wanted_end:
