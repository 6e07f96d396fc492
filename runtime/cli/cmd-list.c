// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/cli/cli.h"
#include "runtime/handed.h"

struct list {
	struct cli *cli;
	bool json, quiet;
	size_t n;
};

static int print_one(void *arg, const char *id, struct err *e)
{
	_cleanup_free_ char *json = NULL;
	struct list *l = arg;
	struct state *s;
	int rc = pod_load_state(l->cli->rootfd, id, &s, e);

	if (rc == -ENOENT)
		return 0; /* deleted meanwhile */
	if (rc < 0)
		return rc;
	if (l->quiet) {
		printf("%s\n", s->id);
	} else if (l->json) {
		rc = state_json(s, &json, e);
		if (!rc)
			printf("%s%s", l->n ? ",\n" : "", json);
	} else {
		printf(CLI_LIST_ROW, s->id, s->status == STATE_STOPPED ? 0 : s->pid,
		       state_status_name(s->status), s->bundle, s->created, STATE_OWNER, s->pod,
		       "podvm");
	}
	l->n++;
	state_free(s);
	return rc;
}

/* Decisions about containers that have gone. */
static int sweep(int rootfd, struct err *e)
{
	_cleanup_close_ int dir = handed_open(rootfd, false, e);

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	return handed_sweep(rootfd, dir, e);
}

/**
 * cmd_list() - podvm list; also puts right what dead pods have left
 */
int cmd_list(struct cli *c, int argc, char **argv, struct err *e)
{
	struct list l = { .cli = c };
	const char *format = "table";
	const struct opt t[] = {
		OPT_STR('f', "format", &format, "FORMAT", "table or json"),
		OPT_FLAG('q', "quiet", &l.quiet, "ids only"),
		OPT_END
	};
	_cleanup_close_ int dir = -1;
	int first, rc = cli_args(t, argc, argv, 0, 0, &first, e);

	if (rc <= 0)
		return rc;
	l.json = !strcmp(format, "json");
	if (!l.json && strcmp(format, "table"))
		return err_set(e, EINVAL, "--format is table or json");
	rc = pod_recover_all(c->rootfd, e);
	if (!rc)
		rc = sweep(c->rootfd, e);
	if (rc < 0)
		return rc;
	dir = state_containers_open(c->rootfd, e);
	if (dir < 0)
		return dir;
	if (l.json)
		printf("[");
	else if (!l.quiet)
		printf("%-24s %-8s %-9s %-24s %-21s %-8s %-24s %s\n", "ID", "PID", "STATUS",
		       "BUNDLE", "CREATED", "OWNER", "POD", "RUNTIME");
	rc = state_each(dir, print_one, &l, e);
	if (!rc)
		rc = handed_list(c, &(struct handed_rows){ l.json, l.quiet, l.n }, e);
	if (l.json)
		printf("]\n");
	return rc;
}
