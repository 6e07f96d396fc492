/* SPDX-License-Identifier: Apache-2.0 */
/* Application processors: INIT and SIPI by the local APIC; each counts itself. */
#include "guest.h"

#define COUNT 0x7000
#define TRAMPOLINE 0x8000

	begin
	movl $0, COUNT
	movl $trampoline, %esi
	movl $TRAMPOLINE, %edi
	movl $(trampoline_end - trampoline), %ecx
	rep movsb
	movl $0xfee000f0, %esi		/* spurious vector register: APIC on */
	movl $0x1ff, (%esi)
	movl $0xfee00300, %esi
	movl $0xc4500, (%esi)		/* INIT, all but self */
	movl $0xc4608, (%esi)		/* SIPI at 0x8000 */
	movl $0xc4608, (%esi)
1:	pause
	cmpl $2, COUNT
	jne 1b
	done

	.code16
trampoline:
	xorw %ax, %ax
	movw %ax, %ds
	lock incl COUNT
1:	hlt
	jmp 1b
trampoline_end:
