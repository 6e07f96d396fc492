// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Rights (capabilities) of one thread, given up while it handles what a guest has written:
 * the kernel then refuses what a mistake of ours would let through. They can be had back,
 * so this is no wall against code that runs amok; share-cred.c builds that one.
 *
 * Source: capabilities(7), "Thread capability sets"; capset(2)
 */
#include "storage/rights.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_effective(uint64_t mask, uint64_t *ret_before)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -1;
	if (ret_before)
		*ret_before = d[0].effective | (uint64_t)d[1].effective << 32;
	d[0].effective = d[0].permitted & (uint32_t)mask;
	d[1].effective = d[1].permitted & (uint32_t)(mask >> 32);
	return syscall(SYS_capset, &h, d) < 0 ? -1 : 0;
}

/**
 * rights_reduce() - act without the calling thread's rights, but for some
 * @kept:       bits by number, 1 << CAP_*; those that the thread does not have stay away
 * @ret_before: for rights_restore(); untouched on failure
 *
 * Return: 0; minus errno: nothing has changed
 * Context: of the thread alone, others of the process keep theirs
 */
int rights_reduce(uint64_t kept, uint64_t *ret_before, struct err *e)
{
	uint64_t before;

	if (set_effective(kept, &before) < 0)
		return err_sys(e, "capabilities");
	*ret_before = before;
	return 0;
}

/**
 * rights_restore() - have what was given up again
 */
void rights_restore(uint64_t before)
{
	set_effective(before, NULL);
}
