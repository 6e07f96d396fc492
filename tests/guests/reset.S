/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI reset register; values that mean nothing are tried before. */
#include "guest.h"

	begin
	movw $PORT_RESET, %dx
	movb $0, %al
	outb %al, %dx
	movb $0xff, %al
	outb %al, %dx
	movw $PORT_SLEEP, %dx
	movb $0x14, %al			/* the type without SLP_EN */
	outb %al, %dx
	movb $0x24, %al			/* SLP_EN with a type that is not S5 */
	outb %al, %dx
	movw $0x601, %dx
	inb %dx, %al
	movzbl %al, %eax
	check($0, %eax)
	say "DONE"
	movw $PORT_RESET, %dx
	movb $1, %al
	outb %al, %dx
1:	hlt
	jmp 1b
