// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage gc: finds and removes what crashes have left on a host, or with
 * --dry-run only tells of it. gc.c has the collectors.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/opt.h"
#include "lib/str.h"
#include "storage/cmd.h"
#include "storage/gc.h"

static void say_json(struct gc *g, const char *kind, const char *what, uint64_t bytes,
		     const struct err *failure)
{
	struct json_out *o = g->arg;

	json_out_obj(o, NULL);
	json_out_str(o, "kind", kind);
	cmd_json_name(o, "what", what);
	json_out_u64(o, "bytes", bytes);
	json_out_bool(o, "removed", !g->dry && !failure);
	json_out_str(o, "reason", failure ? failure->text : NULL);
	json_out_end(o);
}

static void say_table(struct gc *g, const char *kind, const char *what, uint64_t bytes,
		      const struct err *failure)
{
	char shown[300];

	if (g->found == 1)
		printf("%-16s %14s  %-9s %s\n", "KIND", "BYTES", "", "WHAT");
	str_quote(shown, sizeof(shown), what);
	printf("%-16s %14llu  %-9s %s%s%s\n", kind, (unsigned long long)bytes,
	       failure	? "failed"
	       : g->dry ? "found"
			: "removed",
	       shown, failure ? ": " : "", failure ? failure->text : "");
}

static int run_json(struct gc *g, struct err *e)
{
	struct json_out *o = json_out_new();
	struct err ignored;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	g->arg = o;
	g->say = say_json;
	json_out_bool(o, "dryRun", g->dry);
	json_out_arr(o, "found");
	rc = gc_run(g, e);
	json_out_end(o);
	json_out_u64(o, "bytes", g->bytes);
	json_out_u64(o, "failed", g->failed);
	return json_out_print(o, true, stdout, rc < 0 ? &ignored : e) < 0 && !rc ? -e->code : rc;
}

static int run_table(struct gc *g, struct err *e)
{
	int rc;

	g->say = say_table;
	rc = gc_run(g, e);
	printf("%s%llu things, %llu bytes%s\n", g->found ? "\n" : "", (unsigned long long)g->found,
	       (unsigned long long)g->bytes,
	       !g->found ? ": nothing is left behind"
	       : g->dry	 ? "; nothing was removed"
			 : "");
	return rc;
}

/**
 * cmd_gc() - podvm-storage gc [--dry-run]
 *
 * Return: 0; 1: something could not be removed; minus errno
 */
int cmd_gc(int argc, char **argv, struct err *e)
{
	struct gc g = {0};
	bool json = false;
	const struct opt table[] = {
		OPT_FLAG('n', "dry-run", &g.dry, "tell what would be removed, and remove nothing"),
		OPT_FLAG('j', "json", &json, "print JSON"),
		OPT_END,
	};
	const char *path;
	int rc = cmd_args(table, argc, argv, &path, e);

	if (rc <= 0)
		return rc;
	if (path)
		return err_set(e, EINVAL, "takes no argument; see gc --help");
	rc = json ? run_json(&g, e) : run_table(&g, e);
	if (rc < 0)
		return rc == -EINVAL ? -EIO : rc;
	return g.failed > 0;
}
