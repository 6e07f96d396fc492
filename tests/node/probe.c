// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: say whether /dev/kvm of this machine runs Linux guests (vmm/probe.c), before
 * anything else is built. Exit status 0 and no output: yes. 1 and one line on standard
 * error: no.
 */
#include <fcntl.h>
#include <stdio.h>

#include "vmm/vmm.h"

int main(void)
{
	struct err e = { 0 };
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err_sys(&e, "open");
	else if (!vmm_probe_kvm(fd, &e))
		return 0;
	fprintf(stderr, "probe: /dev/kvm does not run Linux guests here: %s\n", e.text);
	return 1;
}
