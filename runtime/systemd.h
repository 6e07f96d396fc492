/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SYSTEMD_H
#define RUNTIME_SYSTEMD_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/**
 * struct systemd_scope - a transient scope
 * @unit:        its name, with ".scope"
 * @slice:       that it is in
 * @description: for people
 * @pid:         its first process
 * @cpu_weight:  1 to 10000; 0: as systemd has it
 * @timeout_ms:  for each answer of systemd, and for the job
 */
struct systemd_scope {
	const char *unit, *slice, *description;
	pid_t pid;
	uint64_t cpu_weight;
	uint32_t timeout_ms;
};

int systemd_scope_start(const struct systemd_scope *s, struct err *e);
int systemd_scope_weight(const char *unit, uint64_t weight, uint32_t timeout_ms, struct err *e);
int systemd_scope_stop(const char *unit, uint32_t timeout_ms, struct err *e);

#endif
