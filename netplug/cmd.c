// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The commands "show" and "plan". Both only read; both name their namespace by
 * a TARGET (target.c).
 */
#include "netplug/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "netplug/netplug.h"
#include "netplug/target.h"

static int fail(const char *cmd, const struct err *e)
{
	fprintf(stderr, "podvm-netplug %s: %s\n", cmd, e->text);
	return 1;
}

/* A failure behind target_open(): say where. */
static int fail_in(const char *cmd, const struct target *t, struct err *e)
{
	if (t->netns_fd >= 0)
		err_wrap(e, "network namespace %s", t->shown);
	return fail(cmd, e);
}

/* Output that did not arrive is a failure. */
static int finish(const char *cmd, struct err *e)
{
	if (fflush(stdout) || ferror(stdout)) {
		err_sys(e, "write the output");
		return fail(cmd, e);
	}
	return 0;
}

/**
 * cmd_show() - the command "show"
 *
 * Return: exit status
 */
int cmd_show(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug show TARGET [OPTION...]\n"
		"\n"
		"Shows each interface of a pod's network namespace, the tap that joins it\n"
		"to the pod's VM, and the two tc redirects between them with counters.\n"
		"Where a half is missing, STATE says which.\n"
		"\n"
		"  podvm-netplug show web-0\n"
		"  podvm-netplug show /run/netns/cni-1234 --json\n"
		"\n";
	struct target t = TARGET_INIT;
	const struct opt table[] = { TARGET_OPTIONS(t), OPT_END };
	struct scan *s = NULL;
	struct nl *nl = NULL;
	struct err e = { 0 };
	int rc = target_parse(table, &t, argc, argv, help, &e);

	if (rc == 1)
		return finish("show", &e);
	if (!rc)
		rc = target_open(&t, &e);
	if (rc >= 0)
		rc = nl_open(t.netns_fd, &nl, &e);
	if (rc >= 0)
		rc = scan_read(nl, &s, &e);
	if (rc >= 0)
		rc = show_print(s, t.shown, t.json, stdout, &e);
	scan_free(s);
	nl_free(nl);
	rc = rc < 0 ? fail_in("show", &t, &e) : finish("show", &e);
	target_close(&t);
	return rc;
}

static int print_plan(const struct netplug_plan *p, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int rc = netplug_plan_json(p, &text, e);

	if (!rc)
		printf("%s\n", text);
	return rc;
}

/**
 * cmd_plan() - the command "plan"
 *
 * Return: exit status
 */
int cmd_plan(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug plan TARGET [OPTION...]\n"
		"\n"
		"Tells what joining a network namespace to a VM would do on the host, and\n"
		"what addresses, routes and neighbours the guest would be given. Changes\n"
		"nothing. If something cannot be joined, the error names it.\n"
		"\n"
		"  podvm-netplug plan cni-1234\n"
		"  podvm-netplug plan --pid 4711 --json\n"
		"\n";
	struct target t = TARGET_INIT;
	const struct opt table[] = { TARGET_OPTIONS(t), OPT_END };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	int rc = target_parse(table, &t, argc, argv, help, &e);

	if (rc == 1)
		return finish("plan", &e);
	if (!rc)
		rc = target_open(&t, &e);
	if (rc >= 0)
		rc = netplug_plan(t.netns_fd, &p, &e);
	if (rc >= 0 && t.json)
		rc = print_plan(p, &e);
	else if (rc >= 0)
		plan_print(p, t.shown, stdout);
	netplug_plan_free(p);
	rc = rc < 0 ? fail_in("plan", &t, &e) : finish("plan", &e);
	target_close(&t);
	return rc;
}
