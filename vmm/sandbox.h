/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SANDBOX_H
#define VMM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

/*
 * Each monitor has a user of its own: SANDBOX_UID_BASE plus its pid, so that
 * monitors cannot signal or trace one another. The range ends below 2^31 and is
 * one that systemd and shadow leave alone.
 */
#define SANDBOX_UID_BASE 0x7e000000u
#define SANDBOX_UID_MASK 0x003fffffu

/* Where SANDBOX_UID_BASE is not mapped (inside a user namespace): nobody. */
#define SANDBOX_UID_NOBODY 65534u

#define SANDBOX_FILES_MAX 32768
#define SANDBOX_PROCS_MAX 512

struct sock_filter;

/**
 * struct sandbox_filter - system calls that a kind of thread may make
 * @code: owned
 * @n:    instructions
 */
struct sandbox_filter {
	struct sock_filter *code;
	unsigned short n;
};

/* SANDBOX_IO_SAVE: of a machine that becomes a template, and that runs nothing of a tenant. */
enum sandbox_kind { SANDBOX_VCPU, SANDBOX_IO, SANDBOX_IO_SAVE, SANDBOX_FS };

int sandbox_isolate(bool weak, struct err *e);
int sandbox_compile(enum sandbox_kind kind, struct sandbox_filter *ret, struct err *e);
int sandbox_enter(const struct sandbox_filter *f, struct err *e);
void sandbox_done(struct sandbox_filter *f);

#endif
