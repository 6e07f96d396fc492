// SPDX-License-Identifier: Apache-2.0
/*
 * /init of a guest that QEMU runs with -icount shift=0, where the TSC counts instructions:
 * it writes how many there were until now to the console, and reboots.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>
#include <x86intrin.h>

int main(void)
{
	unsigned long long n = __rdtsc();
	int fd = open("/dev/console", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && dprintf(fd, "instructions %llu\n", n) > 0)
		fsync(fd);
	return reboot(RB_AUTOBOOT) < 0;
}
