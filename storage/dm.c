// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Names device-mapper devices for people. Nothing here changes a device.
 */
#include "storage/dm.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdio.h>

#include "lib/str.h"

/* libdevmapper prints to standard error unless it is told where to log. */
static void silent(int level, const char *file, int line, int dm_errno,
		   const char *f, ...)
{
	(void)level;
	(void)file;
	(void)line;
	(void)dm_errno;
	(void)f;
}

/**
 * dm_describe() - name and target of a device-mapper device
 * @dst: such as: device mapper "vg-root" (linear); untouched on failure
 *
 * Return: 0; -ENODEV when it is none, or cannot be asked
 */
int dm_describe(uint32_t major, uint32_t minor, char *dst, size_t room)
{
	char *type = NULL, *params;
	uint64_t start, length;
	struct dm_task *t;
	int rc = -ENODEV;

	dm_log_with_errno_init(silent);
	t = dm_task_create(DM_DEVICE_TABLE);
	if (t && dm_task_set_major(t, (int)major) && dm_task_set_minor(t, (int)minor) &&
	    dm_task_run(t) && dm_task_get_name(t)) {
		char shown[160];

		dm_get_next_target(t, NULL, &start, &length, &type, &params);
		str_quote(shown, sizeof(shown), dm_task_get_name(t));
		snprintf(dst, room, "device mapper %s (%s)", shown, type ? type : "no table");
		rc = 0;
	}
	if (t)
		dm_task_destroy(t);
	return rc;
}
