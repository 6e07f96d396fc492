// SPDX-License-Identifier: Apache-2.0
#include "runtime/usage.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/proc.h"

/**
 * usage_of() - what a process uses
 * @ret: untouched on failure
 *
 * Return: 0; -ESRCH: there is no such process
 * Source: proc(5), /proc/PID/stat fields 14, 15 and 24
 */
int usage_of(pid_t pid, struct usage *ret)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long user, system, pages;
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK), page = (uint64_t)sysconf(_SC_PAGESIZE);
	const char *s;

	if (proc_stat(pid, &text, &s) < 0 ||
	    sscanf(s, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %llu",
		   &user, &system, &pages) != 3)
		return -ESRCH;
	ret->cpu_ms = (user + system) * 1000 / hz;
	ret->resident_bytes = pages * page;
	return 0;
}
