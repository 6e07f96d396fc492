// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage plan: maps a rootfs as a pod would, prints the disks and what
 * they took to make, and lets go of them. Nothing stays on the host. What no disk
 * can show is shared by virtio-fs: then the plan is that, and why.
 */
#include "storage/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/str.h"
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

	v[n++] = (struct figure){ "layers", "layers", s->layers };
	v[n++] = (struct figure){ "cachedLayers", "layers from the cache", s->cached };
	v[n++] = (struct figure){ "layerNames", "names in the layers", s->layer_names };
	v[n++] = (struct figure){ "names", "names in the merged tree", s->names };
	v[n++] = (struct figure){ "inodes", "inodes", s->inodes };
	v[n++] = (struct figure){ "files", "files with content", s->files };
	v[n++] = (struct figure){ "extents", "extents of the table", s->extents };
	v[n++] = (struct figure){ "metadataBytes", "metadata built, bytes", s->meta_bytes };
	v[n++] = (struct figure){ "dataBytes", "content referred to, bytes", s->data_bytes };
	v[n++] = (struct figure){ "copiedBytes", "content copied, bytes", 0 };
	v[n++] = (struct figure){ "readLayersMicroseconds", "reading and merging, us", s->scan_us };
	v[n++] = (struct figure){ "layoutMicroseconds", "laying out the disk, us", s->layout_us };
	v[n++] = (struct figure){ "scratchMicroseconds", "making the scratch disk, us", s->scratch_us };
	v[n++] = (struct figure){ "totalMicroseconds", "total, us", s->total_us };
	return n;
}

static const char *disk_kind(const struct storage_disk *d)
{
	return d->kind == STORAGE_DISK_SYNTHETIC ? "synthetic" : "raw";
}

static int print_json(const char *path, const struct storage_map *m, struct err *e)
{
	struct json_out *o = json_out_new();
	_cleanup_free_ char *text = NULL;
	const struct storage_disk *d;
	struct figure v[FIGURES_MAX];
	size_t i, n;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "path", path);
	json_out_arr(o, "disks");
	n = storage_map_disks(m, &d);
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
	json_out_obj(o, "stats");
	n = figures(m, v);
	for (i = 0; i < n; i++)
		json_out_u64(o, v[i].json, v[i].value);
	json_out_end(o);
	rc = json_out_text(o, true, &text, e);
	if (!rc)
		puts(text);
	json_out_free(o);
	return rc;
}

static void print_table(const struct storage_map *m)
{
	struct figure v[FIGURES_MAX];
	const struct storage_disk *d;
	size_t i, n = storage_map_disks(m, &d);

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

static int print_share(const char *path, bool json, const char *why, struct err *e)
{
	struct json_out *o;
	_cleanup_free_ char *text = NULL;
	int rc;

	if (!json) {
		printf("%-21s  %-9s  %-6s\n", "SHARE", "KIND", "ACCESS");
		printf("%-21s  %-9s  %-6s\n\n%s\n", "volume", "virtio-fs", "rw", why);
		return 0;
	}
	o = json_out_new();
	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "path", path);
	json_out_arr(o, "disks");
	json_out_end(o);
	json_out_obj(o, "share");
	json_out_str(o, "kind", "virtio-fs");
	json_out_str(o, "reason", why);
	json_out_end(o);
	rc = json_out_text(o, true, &text, e);
	if (!rc)
		puts(text);
	json_out_free(o);
	return rc;
}

/* A block device is not taken from the host to show what would be done with it. */
static int plan_block(const struct source *s, bool readonly, bool json, struct err *e)
{
	struct json_out *o;
	_cleanup_free_ char *text = NULL;
	struct blockplan p = { 0 };
	int rc = source_check(s, e);

	if (!rc)
		rc = blockplan_make(s->block, readonly, &p, e);
	if (rc < 0)
		return rc;
	if (!json) {
		blockmount_print(s->block);
		blockplan_print(&p);
		return 0;
	}
	o = json_out_new();
	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "path", s->path);
	blockmount_json(s->block, o);
	blockplan_json(&p, o);
	rc = json_out_text(o, true, &text, e);
	if (!rc)
		puts(text);
	json_out_free(o);
	return rc;
}

static void usage(const struct opt *table)
{
	printf("usage: podvm-storage plan PATH [--scratch SIZE] [--read-only] [--cache DIR] [--json]\n\n"
	       "Maps the overlay mounted at PATH as a pod would, shows the disks that the VM\n"
	       "would get and what they took to make, and lets go of them. Contents of files are\n"
	       "not read or copied: the disk refers to the layers' files. What no disk can show,\n"
	       "such as a plain directory, is shared by virtio-fs; the plan says why.\n"
	       "Of a block device mounted at PATH it shows how it would be handed over, and does\n"
	       "nothing to it.\n\n");
	opt_help(stdout, table);
}

/**
 * cmd_plan() - podvm-storage plan PATH [--scratch SIZE] [--read-only] [--cache DIR] [--json]
 *
 * Return: 0 or minus errno
 */
int cmd_plan(int argc, char **argv, struct err *e)
{
	struct storage_request req = { .serial_stem = "plan" };
	bool json = false, help = false;
	const char *scratch = NULL;
	const struct opt table[] = {
		OPT_STR('s', "scratch", &scratch, "SIZE", "writable disk too, such as 10G (default: none)"),
		OPT_STR('c', "cache", &req.cache_dir, "DIR", "remember layers there, as pods do (default: nowhere)"),
		OPT_FLAG('r', "read-only", &req.readonly, "for a container that does not write to its root"),
		OPT_FLAG('j', "json", &json, "print JSON"),
		OPT_FLAG('h', "help", &help, "print this"),
		OPT_END,
	};
	struct source *s;
	struct storage_map *m;
	int first, next, rc;

	rc = opt_parse(table, argc, argv, &first, e);
	if (rc < 0)
		return rc;
	if (help) {
		usage(table);
		return 0;
	}
	if (first == argc)
		return err_set(e, EINVAL, "plan needs a path; see plan --help");
	rc = opt_parse(table, argc - first, argv + first, &next, e);
	if (rc < 0)
		return rc;
	if (first + next != argc)
		return err_set(e, EINVAL, "plan takes one path; see plan --help");
	if (scratch && parse_size(scratch, &req.scratch_bytes) < 0)
		return err_set(e, EINVAL, "--scratch: not a size such as 512M or 10G");
	req.rootfs = argv[first];
	rc = source_probe(req.rootfs, &s, e);
	if (rc < 0)
		return rc;
	if (s->kind == SOURCE_BLOCK) {
		rc = plan_block(s, req.readonly, json, e);
		source_free(s);
		return rc;
	}
	source_free(s);
	rc = storage_map_rootfs(&req, &m, e);
	if (rc == -EOPNOTSUPP) {
		struct err why = *e;

		return print_share(req.rootfs, json, why.text, e);
	}
	if (rc < 0)
		return rc;
	if (json)
		rc = print_json(req.rootfs, m, e);
	else
		print_table(m);
	storage_map_free(m);
	return rc;
}
