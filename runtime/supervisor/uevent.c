// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The kernel tells of changes to its objects by messages of "KEY=value" texts, after
 * a first one with action and path. Nothing is taken for granted about them: any
 * process with privilege can send one that looks like it.
 *
 * Source: Linux lib/kobject_uevent.c
 */
#include <string.h>

#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"

/**
 * uevent_block_change() - whether a message of the kernel says that a block device changed
 * @msg: NUL-terminated texts, one after the other
 * @ret_major, @ret_minor: untouched when it does not
 */
bool uevent_block_change(const char *msg, size_t len, uint32_t *ret_major, uint32_t *ret_minor)
{
	bool change = false, block = false;
	uint64_t major = UINT64_MAX, minor = UINT64_MAX;
	const char *at, *end = msg + len;

	if (!len || msg[len - 1])
		return false;
	for (at = msg; at < end; at += strlen(at) + 1) {
		change |= !strcmp(at, "ACTION=change");
		block |= !strcmp(at, "SUBSYSTEM=block");
		if (str_starts(at, "MAJOR="))
			parse_u64(at + 6, &major);
		if (str_starts(at, "MINOR="))
			parse_u64(at + 6, &minor);
	}
	if (!change || !block || major > UINT32_MAX || minor > UINT32_MAX)
		return false;
	*ret_major = (uint32_t)major;
	*ret_minor = (uint32_t)minor;
	return true;
}
