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

#include "lib/json.h"
#include "lib/mem.h"
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

static int print_json(const struct source *s, const struct layers *l,
		      const struct err *why)
{
	struct json_out *o = json_out_new();
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	size_t i;

	if (!o)
		return -ENOMEM;
	json_out_str(o, "path", s->path);
	json_out_str(o, "kind", source_kind_name(s->kind));
	json_out_bool(o, "supported", !why->code);
	json_out_str(o, "reason", why->code ? why->text : NULL);
	json_out_str(o, "mountPoint", s->point);
	json_out_str(o, "mountRoot", s->root);
	json_out_str(o, "fsType", s->fstype);
	json_out_str(o, "device", s->device);
	json_out_str(o, "nestedMount", s->nested);
	if (s->block)
		blockmount_json(s->block, o);
	if (s->overlay) {
		json_out_bool(o, "userxattr", s->overlay->userxattr);
		json_out_str(o, "workDir", s->overlay->work);
		json_out_arr(o, "layers");
		for (i = 0; i < s->overlay->n_layers; i++) {
			json_out_obj(o, NULL);
			json_out_str(o, "role", role(s->overlay, i));
			json_out_str(o, "path", s->overlay->layer[i].path);
			if (l)
				json_out_u64(o, "names", layers_count(l, i));
			json_out_end(o);
		}
		json_out_end(o);
	}
	if (!json_out_text(o, true, &text, &e))
		puts(text);
	json_out_free(o);
	return text ? 0 : -ENOMEM;
}

static void row(const char *name, const char *value)
{
	char shown[600];

	if (!value)
		return;
	str_quote(shown, sizeof(shown), value);
	printf("%-14s %s\n", name, shown);
}

static void print_table(const struct source *s, const struct layers *l,
			const struct err *why)
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
	bool json = false, help = false;
	const struct opt table[] = {
		OPT_FLAG('j', "json", &json, "print JSON"),
		OPT_FLAG('h', "help", &help, "print this"),
		OPT_END,
	};
	struct layers *l = NULL;
	struct err why = { 0 };
	struct source *s;
	int first, rc;

	/* Options are fine on both sides of the path. */
	rc = opt_parse(table, argc, argv, &first, e);
	if (rc < 0)
		return rc;
	if (help) {
		printf("usage: podvm-storage inspect PATH [--json]\n\n"
		       "Tells what is behind a directory: the mount it is on, the layers of an overlay\n"
		       "(topmost first) with the names that each holds, and whether podvm can map it.\n\n");
		opt_help(stdout, table);
		return 0;
	}
	if (first < argc) {
		int next;

		rc = opt_parse(table, argc - first, argv + first, &next, e);
		if (rc < 0)
			return rc;
		if (first + next != argc)
			return err_set(e, EINVAL, "inspect takes one path; see inspect --help");
	} else {
		return err_set(e, EINVAL, "inspect needs a path; see inspect --help");
	}
	rc = source_probe(argv[first], &s, e);
	if (rc < 0)
		return rc;
	rc = source_check(s, &why);
	if (!rc && s->overlay)
		rc = layers_read(s->overlay, NULL, &l, &why);
	if (!rc && s->overlay)
		layers_verify(l, s->fd, &why);
	rc = 0;
	if (json && print_json(s, l, &why) < 0)
		rc = err_set(e, ENOMEM, "out of memory");
	else if (!json)
		print_table(s, l, &why);
	layers_free(l);
	source_free(s);
	return rc;
}
