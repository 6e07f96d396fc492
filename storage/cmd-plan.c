// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage plan: maps the rootfs of a bundle, or one by its path, as a pod
 * would, prints the disks and what they took to make, and lets go of them. Nothing
 * stays on the host. What no disk can show is shared by virtio-fs: then the plan is
 * that, and why. What cannot be given to a guest at all is a failure with the reason;
 * with --json the document says so too.
 */
#include "storage/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "lib/opt.h"
#include "lib/str.h"
#include "storage/bundle.h"
#include "storage/disk.h"
#include "storage/source.h"

/* A figure of struct storage_stats and how it is called. */
struct figure {
	const char *json, *text;
	uint64_t value;
};

#define FIGURES_MAX 16

static size_t figures(const struct storage_map *m, struct figure v[FIGURES_MAX])
{
	const struct storage_stats *s = storage_map_stats(m);
	size_t n = 0;

	v[n++] = (struct figure){"layers", "layers", s->layers};
	v[n++] = (struct figure){"cachedLayers", "layers from the cache", s->cached};
	v[n++] = (struct figure){"layerNames", "names in the layers", s->layer_names};
	v[n++] = (struct figure){"names", "names in the merged tree", s->names};
	v[n++] = (struct figure){"inodes", "inodes", s->inodes};
	v[n++] = (struct figure){"files", "files with content", s->files};
	v[n++] = (struct figure){"extents", "extents of the table", s->extents};
	v[n++] = (struct figure){"metadataBytes", "metadata built, bytes", s->meta_bytes};
	v[n++] = (struct figure){"dataBytes", "content referred to, bytes", s->data_bytes};
	v[n++] = (struct figure){"copiedBytes", "content copied, bytes", 0};
	v[n++] = (struct figure){"readLayersMicroseconds", "reading and merging, us", s->scan_us};
	v[n++] = (struct figure){"layoutMicroseconds", "laying out the disk, us", s->layout_us};
	v[n++] = (struct figure){"scratchMicroseconds", "making the scratch disk, us",
				 s->scratch_us};
	v[n++] = (struct figure){"totalMicroseconds", "total, us", s->total_us};
	return n;
}

static const char *disk_kind(const struct storage_disk *d)
{
	return d->kind == STORAGE_DISK_SYNTHETIC ? "synthetic" : "raw";
}

static void json_disks(struct json_out *o, const struct storage_map *m)
{
	const struct storage_disk *d;
	size_t i, n = storage_map_disks(m, &d);

	json_out_arr(o, "disks");
	for (i = 0; i < n; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "serial", d[i].serial);
		json_out_str(o, "kind", disk_kind(&d[i]));
		json_out_bool(o, "readonly", d[i].readonly);
		json_out_u64(o, "sizeBytes", d[i].size_bytes);
		json_out_u64(o, "blocks", d[i].size_bytes / EROFS_BLOCK_BYTES);
		json_out_end(o);
	}
	json_out_end(o);
}

/* What every plan begins with; NULL when memory is short. */
static struct json_out *json_begin(const struct bundle *b, bool supported)
{
	struct json_out *o = json_out_new();

	if (!o)
		return NULL;
	cmd_json_name(o, "bundle", b->bundle);
	cmd_json_name(o, "path", b->root.path);
	json_out_bool(o, "readonly", b->root.readonly);
	json_out_bool(o, "supported", supported);
	return o;
}

/*
 * The names of members are documented in podvm-storage(8), and stay.
 * @m: NULL: not mapped, because of @why
 */
static int print_json(const struct bundle *b, const struct storage_map *m, const struct err *why,
		      struct err *e)
{
	struct json_out *o = json_begin(b, m);
	struct figure v[FIGURES_MAX];
	size_t i, n;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	if (!m) {
		json_out_str(o, "reason", why->text);
		return json_out_print(o, true, stdout, e);
	}
	json_disks(o, m);
	json_out_obj(o, "stats");
	n = figures(m, v);
	for (i = 0; i < n; i++)
		json_out_u64(o, v[i].json, v[i].value);
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

static void print_table(const struct bundle *b, const struct storage_map *m)
{
	struct figure v[FIGURES_MAX];
	const struct storage_disk *d;
	size_t i, n = storage_map_disks(m, &d);
	char shown[600];

	str_quote(shown, sizeof(shown), b->root.path);
	printf("rootfs %s%s\n\n", shown, b->root.readonly ? ", read-only for the container" : "");
	printf("%-21s  %-9s  %-6s  %15s  %12s\n", "DISK", "KIND", "ACCESS", "BYTES", "BLOCKS");
	for (i = 0; i < n; i++)
		printf("%-21s  %-9s  %-6s  %15llu  %12llu\n", d[i].serial, disk_kind(&d[i]),
		       d[i].readonly ? "ro" : "rw", (unsigned long long)d[i].size_bytes,
		       (unsigned long long)d[i].size_bytes / EROFS_BLOCK_BYTES);
	printf("\n");
	n = figures(m, v);
	for (i = 0; i < n; i++)
		printf("%-28s %15llu\n", v[i].text, (unsigned long long)v[i].value);
}

/* "disks" and "stats" belong to what is mapped; "share" to what is not. */
static int print_share(const struct bundle *b, bool json, const char *why, struct err *e)
{
	struct json_out *o;

	if (!json) {
		printf("%-21s  %-9s  %-6s\n", "SHARE", "KIND", "ACCESS");
		printf("%-21s  %-9s  %-6s\n\n%s\n", "volume", "virtio-fs",
		       b->root.readonly ? "ro" : "rw", why);
		return 0;
	}
	o = json_begin(b, true);
	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_arr(o, "disks");
	json_out_end(o);
	json_out_obj(o, "share");
	json_out_str(o, "kind", "virtio-fs");
	json_out_str(o, "reason", why);
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

static int plan(const struct bundle *b, struct storage_request req, bool json, struct err *e)
{
	struct storage_map *m = NULL;
	struct err ignored;
	int rc;

	req.rootfs = b->root.path;
	rc = storage_map_rootfs(&req, &m, e);
	if (rc == -EOPNOTSUPP) {
		struct err why = *e;

		return print_share(b, json, why.text, e);
	}
	if (json && rc < 0)
		print_json(b, NULL, e, &ignored);
	else if (json)
		rc = print_json(b, m, NULL, e);
	else if (!rc)
		print_table(b, m);
	storage_map_free(m);
	return rc == -EINVAL ? -EIO : rc;
}

/*
 * A block device is not taken from the host to show what would be done with it. What
 * cannot be handed over is told as by plan().
 */
static int plan_block(const struct bundle *b, const struct source *s, bool json, struct err *e)
{
	struct blockplan p = { 0 };
	struct json_out *o;
	struct err ignored;
	int rc = source_check(s, e);

	if (!rc)
		rc = blockplan_make(s->block, b->root.readonly, &p, e);
	if (rc < 0 && json)
		print_json(b, NULL, e, &ignored);
	if (rc < 0)
		return rc == -EINVAL ? -EIO : rc;
	if (!json) {
		blockmount_print(s->block);
		blockplan_print(&p);
		return 0;
	}
	o = json_begin(b, true);
	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	blockmount_json(s->block, o);
	blockplan_json(&p, o);
	return json_out_print(o, true, stdout, e);
}

/**
 * cmd_plan() - podvm-storage plan BUNDLE|PATH [--scratch SIZE] [--read-only] [--json]
 *
 * Return: 0 or minus errno
 */
int cmd_plan(int argc, char **argv, struct err *e)
{
	const char *path, *scratch = NULL;
	struct storage_request req = { .serial_stem = "plan" };
	bool json = false;
	const struct opt table[] = {
		OPT_STR('s', "scratch", &scratch, "SIZE",
			"writable disk too, such as 10G (default: none)"),
		OPT_STR('c', "cache", &req.cache_dir, "DIR", "remember layers there, as pods do (default: nowhere)"),
		OPT_FLAG('r', "read-only", &req.readonly, "for a container that does not write to its root"),
		OPT_FLAG('j', "json", &json, "print JSON"),
		OPT_END,
	};
	struct err ignored;
	struct source *s;
	struct bundle b;
	int rc = cmd_args(table, argc, argv, &path, e);

	if (rc <= 0)
		return rc;
	if (!path)
		return err_set(e, EINVAL, "needs a bundle or a path; see plan --help");
	if (scratch && parse_size(scratch, &req.scratch_bytes) < 0)
		return err_set(e, EINVAL, "--scratch: not a size such as 512M or 10G");
	rc = bundle_find(path, &b, e);
	if (rc < 0)
		return rc == -EINVAL ? -EIO : rc;
	b.root.readonly |= req.readonly;
	req.readonly = b.root.readonly;
	if (b.root.readonly && scratch)
		return err_set(e, EINVAL,
			       "--scratch: the root is read-only (/root/readonly of the bundle, or "
			       "--read-only): it gets no writable disk; leave --scratch out");
	rc = source_probe(b.root.path, &s, e);
	if (rc < 0 && json)
		print_json(&b, NULL, e, &ignored);
	if (rc < 0)
		return rc == -EINVAL ? -EIO : rc;
	if (s->kind == SOURCE_BLOCK) {
		rc = plan_block(&b, s, json, e);
		source_free(s);
		return rc;
	}
	source_free(s);
	return plan(&b, req, json, e);
}
