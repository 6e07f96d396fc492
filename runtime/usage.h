/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_USAGE_H
#define RUNTIME_USAGE_H

#include <stdint.h>
#include <sys/types.h>

/**
 * struct usage - what a process of the host uses
 * @cpu_ms:         of all its threads, user and system
 * @resident_bytes: pages in memory, shared ones included
 */
struct usage {
	uint64_t cpu_ms;
	uint64_t resident_bytes;
};

int usage_of(pid_t pid, struct usage *ret);

#endif
