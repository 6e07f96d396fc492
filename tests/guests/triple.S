/* SPDX-License-Identifier: Apache-2.0 */
/* A triple fault: no handler for the exception, none for that, none for that. */
#include "guest.h"

	begin
	say "DONE"
	lidt nothing
	ud2

	.section .rodata
nothing: .skip 6
