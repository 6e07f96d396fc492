// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Prints what is known of a block device behind a rootfs, and what would be done
 * with it: as rows of a table, and as members of a JSON object.
 */
#include <stdio.h>
#include <sys/mount.h>

#include "lib/str.h"
#include "storage/blockdev.h"

static void row(const char *name, const char *value)
{
	char shown[600];

	if (!value || !*value)
		return;
	str_quote(shown, sizeof(shown), value);
	printf("%-14s %s\n", name, shown);
}

static void print_pool(const struct dm_device *d)
{
	const struct dm_pool *p = &d->pool;
	char shown[140];

	str_quote(shown, sizeof(shown), d->pool_name);
	printf("%-14s %s: %s%s, data %llu of %llu blocks, metadata %llu of %llu\n", "thin pool",
	       shown, dm_pool_mode_name(p->mode), p->needs_check ? ", needs check" : "",
	       (unsigned long long)p->data_used, (unsigned long long)p->data_total,
	       (unsigned long long)p->meta_used, (unsigned long long)p->meta_total);
}

/**
 * blockmount_print() - rows of `podvm-storage inspect`
 */
void blockmount_print(const struct blockmount *m)
{
	const struct blockdev *d = &m->dev;

	printf("%-14s %s, %u:%u, %llu bytes%s\n", "block device", blockdev_kind_name(d),
	       d->major, d->minor, (unsigned long long)d->size_bytes,
	       d->readonly ? ", read-only" : "");
	if (d->kind == BLOCKDEV_DM) {
		row("name", d->dm.name);
		row("uuid", d->dm.uuid);
		printf("%-14s %d\n", "openers", d->dm.openers);
		if (d->dm.has_pool)
			print_pool(&d->dm);
	}
	row("backing file", d->backing);
	row("on disk", d->whole);
	row("suspended", d->asleep);
	row("used by", d->holder);
	row("also mounted", m->other);
	row("options", m->opts.data);
}

/**
 * blockmount_json() - object "block" of `podvm-storage inspect --json`
 */
void blockmount_json(const struct blockmount *m, struct json_out *o)
{
	const struct blockdev *d = &m->dev;
	const struct dm_pool *p = &d->dm.pool;

	json_out_obj(o, "block");
	json_out_str(o, "kind", blockdev_kind_name(d));
	json_out_str(o, "node", d->node);
	json_out_u64(o, "major", d->major);
	json_out_u64(o, "minor", d->minor);
	json_out_u64(o, "diskSequence", d->seq);
	json_out_u64(o, "sizeBytes", d->size_bytes);
	json_out_bool(o, "readonly", d->readonly);
	json_out_str(o, "backingFile", d->backing);
	json_out_str(o, "wholeDisk", d->whole);
	json_out_str(o, "suspended", d->asleep);
	json_out_str(o, "usedBy", d->holder);
	json_out_str(o, "otherMount", m->other);
	json_out_str(o, "options", m->opts.data);
	if (d->kind == BLOCKDEV_DM) {
		json_out_str(o, "dmName", d->dm.name);
		json_out_str(o, "dmUuid", d->dm.uuid);
		json_out_i64(o, "openers", d->dm.openers);
	}
	if (d->dm.has_pool) {
		json_out_obj(o, "thinPool");
		json_out_str(o, "name", d->dm.pool_name);
		json_out_str(o, "mode", dm_pool_mode_name(p->mode));
		json_out_bool(o, "needsCheck", p->needs_check);
		json_out_u64(o, "dataUsed", p->data_used);
		json_out_u64(o, "dataTotal", p->data_total);
		json_out_u64(o, "metadataUsed", p->meta_used);
		json_out_u64(o, "metadataTotal", p->meta_total);
		json_out_end(o);
	}
	json_out_end(o);
}

static const char *steps(enum blockplan_mode mode)
{
	static const char *const text[] = {
		"unmount on the host, claim the device, guest mounts it; the host mounts it again afterwards",
		"unmount on the host, claim the device, guest reads it; the host mounts it again afterwards",
		"guest reads the device beside the host's mount",
	};

	return text[mode];
}

/**
 * blockplan_print() - rows of `podvm-storage plan` for a block device
 */
void blockplan_print(const struct blockplan *p)
{
	printf("%-14s %s\n", "hand-over", blockplan_mode_name(p->mode));
	printf("%-14s %s\n", "steps", steps(p->mode));
	printf("%-14s %s%s%s\n", "guest mounts", p->guest_type, *p->guest_data ? " with " : "",
	       p->guest_data);
	if (p->readonly_root)
		printf("%-14s %s\n", "root", "read-only, as the host's mount is");
}

/**
 * blockplan_json() - object "handOver" of `podvm-storage plan --json`
 */
void blockplan_json(const struct blockplan *p, struct json_out *o)
{
	json_out_obj(o, "handOver");
	json_out_str(o, "mode", blockplan_mode_name(p->mode));
	json_out_str(o, "steps", steps(p->mode));
	json_out_str(o, "guestType", p->guest_type);
	json_out_str(o, "guestOptions", p->guest_data);
	json_out_bool(o, "readonlyRoot", p->readonly_root);
	json_out_end(o);
}
