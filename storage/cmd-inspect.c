// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage inspect: what is behind a directory, and whether a pod's rootfs
 * may be there. Reads only.
 */
#include "storage/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "lib/opt.h"
#include "lib/str.h"
#include "storage/layers.h"
#include "storage/source.h"

static const char *role(const struct overlay *o, size_t layer)
{
	if (o->has_upper && !layer)
		return "upper";
	return layer < o->n_layers - o->n_data ? "lower" : "data";
}

static void json_layers(struct json_out *o, const struct overlay *v, const struct layers *l)
{
	size_t i;

	json_out_bool(o, "userxattr", v->userxattr);
	cmd_json_name(o, "workDir", v->work);
	json_out_arr(o, "layers");
	for (i = 0; i < v->n_layers; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "role", role(v, i));
		cmd_json_name(o, "path", v->layer[i].path);
		if (l)
			json_out_u64(o, "names", layers_count(l, i));
		json_out_end(o);
	}
	json_out_end(o);
}

/* The names of members are documented in podvm-storage(8), and stay. */
static int print_json(const struct source *s, const struct layers *l, const struct err *why,
		      struct err *e)
{
	struct json_out *o = json_out_new();

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	cmd_json_name(o, "path", s->path);
	json_out_str(o, "kind", source_kind_name(s->kind));
	json_out_bool(o, "supported", !why->code);
	json_out_str(o, "reason", why->code ? why->text : NULL);
	cmd_json_name(o, "mountPoint", s->point);
	cmd_json_name(o, "mountRoot", s->root);
	json_out_str(o, "fsType", s->fstype);
	cmd_json_name(o, "device", s->device);
	cmd_json_name(o, "nestedMount", s->nested);
	if (s->block)
		blockmount_json(s->block, o);
	if (s->overlay)
		json_layers(o, s->overlay, l);
	return json_out_print(o, true, stdout, e);
}

static void row(const char *name, const char *value)
{
	char shown[600];

	if (!value)
		return;
	str_quote(shown, sizeof(shown), value);
	printf("%-14s %s\n", name, shown);
}

static void print_table(const struct source *s, const struct layers *l, const struct err *why)
{
	size_t i;

	row("path", s->path);
	printf("%-14s %s\n", "kind", source_kind_name(s->kind));
	row("mount point", s->point);
	row("mount root", s->root);
	printf("%-14s %s on %s\n", "file system", s->fstype, s->device);
	row("nested mount", s->nested);
	if (s->block)
		blockmount_print(s->block);
	for (i = 0; s->overlay && i < s->overlay->n_layers; i++) {
		char shown[600];

		if (!i)
			printf("\n%5s  %-5s  %9s  %s\n", "LAYER", "ROLE", "NAMES", "PATH");
		str_quote(shown, sizeof(shown), s->overlay->layer[i].path);
		printf("%5zu  %-5s  ", i, role(s->overlay, i));
		if (l)
			printf("%9llu  ", (unsigned long long)layers_count(l, i));
		else
			printf("%9s  ", "?");
		printf("%s\n", shown);
	}
	if (why->code)
		printf("\ncannot be mapped: %s\n", why->text);
	else
		printf("\ncan be mapped: 'podvm-storage plan' shows the disks\n");
}

/**
 * cmd_inspect() - podvm-storage inspect PATH [--json]
 *
 * Return: 0, also for what cannot be mapped (the output says why); minus errno
 */
int cmd_inspect(int argc, char **argv, struct err *e)
{
	bool json = false;
	const struct opt table[] = {
		OPT_FLAG('j', "json", &json, "print JSON"),
		OPT_END,
	};
	const char *path;
	struct layers *l = NULL;
	struct err why = {0};
	struct source *s;
	int rc = cmd_args(table, argc, argv, &path, e);

	if (rc <= 0)
		return rc;
	if (!path)
		return err_set(e, EINVAL, "needs a path; see inspect --help");
	rc = source_probe(path, &s, e);
	if (rc < 0)
		return rc == -EINVAL ? -EIO : rc;
	rc = source_check(s, &why);
	if (!rc && s->overlay)
		rc = layers_read(s->overlay, NULL, &l, &why);
	if (!rc && s->overlay)
		layers_verify(l, s->fd, &why);
	rc = 0;
	if (json)
		rc = print_json(s, l, &why, e);
	else
		print_table(s, l, &why);
	layers_free(l);
	source_free(s);
	return rc;
}
