/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ALONE_H
#define VMM_ALONE_H

#include <stdbool.h>

#include "lib/err.h"
#include "lib/opt.h"
#include "vmm/vmm.h"

/**
 * struct alone - what the command line of a monitor without a supervisor says
 * @disks, @taps, @ports: as they were written
 * @weak:  the monitor may do without namespaces
 */
struct alone {
	const char *kernel, *initramfs, *cmdline, *memory, *console, *metrics;
	struct opt_strs disks, taps, ports;
	uint64_t vcpus;
	bool weak;
};

/* Exit status after the guest powered itself off, anything that failed, and Ctrl-C. */
enum { ALONE_OFF = 0, ALONE_FAILED = 1, ALONE_STOPPED = 130 };

int alone_run(const struct alone *a, struct err *e);

/* Of alone-watch.c, for alone.c. */
int alone_watch(struct vmm *v, int console, const char *metrics, struct err *e);

#endif
