// SPDX-License-Identifier: Apache-2.0
#include "lib/emptyroot.h"

#include <stddef.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/mem.h"

/**
 * emptyroot_enter() - give the process's own mount namespace an empty, read-only root
 *
 * Whoever enters that namespace later finds nothing else either. Descriptors stay as they are.
 *
 * Return: 0 or minus errno
 * Context: one thread only, in a mount namespace that is shared with nobody
 * Source: pivot_root(2), NOTES
 *
 * #syscalls start: mount chdir pivot_root umount2
 */
int emptyroot_enter(struct err *e)
{
	static const char *const at[] = {"/tmp", "/proc", "/dev", "/"};
	unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	size_t i;

	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		return err_sys(e, "make mounts private");
	for (i = 0; i < ARRAY_LEN(at); i++)
		if (!mount("none", at[i], "tmpfs", flags, "size=4k,nr_inodes=2,mode=0555"))
			break;
	if (i == ARRAY_LEN(at))
		return err_sys(e, "mount an empty root");
	if (chdir(at[i]) < 0)
		return err_sys(e, "chdir %s", at[i]);
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(e, "pivot_root");
	/* The old root lies on top of the new one now. */
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(e, "unmount the old root");
	if (chdir("/") < 0)
		return err_sys(e, "chdir /");
	return 0;
}
