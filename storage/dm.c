// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Asks the kernel, by libdevmapper, what a device-mapper device is. Nothing here
 * changes a device, opens one, or waits for its I/O: a table, the general
 * information, and a status without flush (which would have a pool write its
 * metadata first) are told of a suspended device, too.
 *
 * Source: Linux Documentation/admin-guide/device-mapper/{thin-provisioning,snapshot}.rst
 */
#include "storage/dm.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdio.h>
#include <string.h>

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

/* Runs a query; @ret: dm_task_destroy(). Return: 0; -ENODEV for no such device. */
static int ask(int what, uint32_t major, uint32_t minor, struct dm_task **ret,
	       struct dm_info *info)
{
	struct dm_task *t;

	dm_log_with_errno_init(silent);
	t = dm_task_create(what);
	if (t && dm_task_set_major(t, (int)major) && dm_task_set_minor(t, (int)minor) &&
	    dm_task_no_flush(t) && dm_task_run(t) && dm_task_get_info(t, info) &&
	    info->exists && dm_task_get_name(t)) {
		*ret = t;
		return 0;
	}
	if (t)
		dm_task_destroy(t);
	return -ENODEV;
}

/* Cuts "USED/TOTAL". */
static int ratio(const char *word, uint64_t *ret_used, uint64_t *ret_total)
{
	const char *slash = strchr(word, '/');
	char used[24];

	if (!slash || (size_t)(slash - word) >= sizeof(used))
		return -EINVAL;
	memcpy(used, word, (size_t)(slash - word));
	used[slash - word] = 0;
	return parse_u64(used, ret_used) < 0 || parse_u64(slash + 1, ret_total) < 0
		       ? -EINVAL : 0;
}

static int mode_of(const char *word, enum dm_pool_mode *ret)
{
	static const char *const names[] = { "rw", "ro", "out_of_data_space" };
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(word, names[i]))
			continue;
		*ret = (enum dm_pool_mode)i;
		return 0;
	}
	return -EINVAL;
}

/**
 * dm_pool_parse() - take the status line of a thin pool apart
 * @params: as the kernel gives it, without start, length and target
 * @ret:    untouched on failure
 *
 * Return: 0 or -EINVAL
 * Source: Linux Documentation/admin-guide/device-mapper/thin-provisioning.rst, "Status"
 */
int dm_pool_parse(const char *params, struct dm_pool *ret)
{
	char text[512], *word[12], *rest = text, *w;
	struct dm_pool p = { 0 };
	size_t n = 0, i;

	if (str_copy(text, sizeof(text), params) < 0)
		return -EINVAL;
	while (n < sizeof(word) / sizeof(word[0]) && (w = strsep(&rest, " ")))
		if (*w)
			word[n++] = w;
	if (n && (!strcmp(word[0], "Fail") || !strcmp(word[0], "Error"))) {
		*ret = (struct dm_pool){ .mode = DM_POOL_FAILED };
		return 0;
	}
	/* Kernels before 4.4 end sooner; what is missing is not known to be wrong. */
	if (n < 5 || ratio(word[1], &p.meta_used, &p.meta_total) < 0 ||
	    ratio(word[2], &p.data_used, &p.data_total) < 0 ||
	    mode_of(word[4], &p.mode) < 0)
		return -EINVAL;
	for (i = 5; i < n; i++)
		if (!strcmp(word[i], "needs_check"))
			p.needs_check = true;
	*ret = p;
	return 0;
}

/**
 * dm_pool_mode_name() - as the kernel calls it
 */
const char *dm_pool_mode_name(enum dm_pool_mode mode)
{
	static const char *const names[] = { "rw", "ro", "out_of_data_space", "failed" };

	return names[mode];
}

/* The pool of a thin device, whose table names it first. */
static void fill_pool(const char *table, struct dm_device *d)
{
	unsigned int major, minor;
	struct dm_info info = { 0 };
	uint64_t start, length;
	char *type = NULL, *params = NULL;
	struct dm_task *t;

	if (sscanf(table, "%u:%u", &major, &minor) != 2 ||
	    ask(DM_DEVICE_STATUS, major, minor, &t, &info) < 0)
		return;
	dm_get_next_target(t, NULL, &start, &length, &type, &params);
	str_copy(d->pool_name, sizeof(d->pool_name), dm_task_get_name(t));
	d->pool_suspended = info.suspended;
	d->has_pool = type && !strcmp(type, "thin-pool") && params &&
		      !dm_pool_parse(params, &d->pool);
	dm_task_destroy(t);
}

static bool lost(const char *type, const char *status)
{
	if (!strcmp(type, "thin"))
		return str_starts(status, "Fail") || str_starts(status, "Error");
	return !strcmp(type, "snapshot") &&
	       (str_starts(status, "Invalid") || str_starts(status, "Overflow") ||
		str_starts(status, "Merge failed"));
}

static void fill_status(uint32_t major, uint32_t minor, struct dm_device *d)
{
	struct dm_info info = { 0 };
	char *type = NULL, *params = NULL;
	uint64_t start, length;
	struct dm_task *t;

	if (ask(DM_DEVICE_STATUS, major, minor, &t, &info) < 0)
		return;
	dm_get_next_target(t, NULL, &start, &length, &type, &params);
	if (type && params)
		d->invalid = lost(type, params);
	dm_task_destroy(t);
}

/**
 * dm_query() - all about a device-mapper device
 * @ret: untouched on failure
 *
 * Return: 0; -ENODEV when it is none, or cannot be asked
 * Context: does not wait for the device's I/O
 */
int dm_query(uint32_t major, uint32_t minor, struct dm_device *ret, struct err *e)
{
	char *type = NULL, *params = NULL;
	struct dm_device d = { 0 };
	struct dm_info info = { 0 };
	uint64_t start, length;
	const char *uuid;
	struct dm_task *t;

	if (ask(DM_DEVICE_TABLE, major, minor, &t, &info) < 0)
		return err_set(e, ENODEV, "device %u:%u is not of the device mapper", major,
			       minor);
	dm_get_next_target(t, NULL, &start, &length, &type, &params);
	uuid = dm_task_get_uuid(t);
	if (str_copy(d.name, sizeof(d.name), dm_task_get_name(t)) < 0 ||
	    str_copy(d.uuid, sizeof(d.uuid), uuid ? uuid : "") < 0 ||
	    str_copy(d.type, sizeof(d.type), info.live_table && type ? type : "") < 0) {
		dm_task_destroy(t);
		return err_set(e, ENODEV, "device %u:%u: name too long", major, minor);
	}
	d.n_targets = (uint32_t)info.target_count;
	d.openers = info.open_count;
	d.readonly = info.read_only;
	d.suspended = info.suspended || info.internal_suspend;
	d.deferred = info.deferred_remove;
	if (!strcmp(d.type, "thin") && params)
		fill_pool(params, &d);
	dm_task_destroy(t);
	fill_status(major, minor, &d);
	*ret = d;
	return 0;
}

/**
 * dm_openers() - how many have a device open now, mounts included
 *
 * Return: the number; -ENODEV when it is not of the device mapper
 */
int dm_openers(uint32_t major, uint32_t minor)
{
	struct dm_info info = { 0 };
	struct dm_task *t;

	if (ask(DM_DEVICE_INFO, major, minor, &t, &info) < 0)
		return -ENODEV;
	dm_task_destroy(t);
	return info.open_count;
}
