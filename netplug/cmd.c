// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The commands "show" and "plan". Both only read; both name their namespace by
 * a TARGET (target.c).
 */
#include "netplug/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/proc.h"
#include "netplug/netplug.h"
#include "netplug/show.h"
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

static void view_done(struct show_view *v)
{
	scan_free(v->scan);
	if (v->machine)
		podvm__pod__response__free_unpacked(v->machine, NULL);
	guest_done(&v->guest);
	*v = (struct show_view){ .scan = NULL };
}

static int view_read(const struct target *t, struct show_view *ret, struct err *e)
{
	struct show_view v = { .ms = clock_ms() };
	struct nl *nl = NULL;
	struct err none;
	int rc = nl_open(t->netns_fd, &nl, e);

	if (!rc)
		rc = scan_read(nl, &v.scan, e);
	nl_free(nl);
	if (rc < 0)
		return rc;
	if (t->sock >= 0) {
		memcpy(v.pod, t->pod, sizeof(v.pod));
		target_network(t, &v.machine, &none);
		guest_get(t, &v.guest, &v.guest_why);
	}
	*ret = v;
	return 0;
}

/**
 * cmd_wait() - wait between two looks of --watch
 *
 * Return: false when the user has interrupted
 */
bool cmd_wait(uint64_t seconds)
{
	struct timespec limit = { .tv_sec = (time_t)(seconds > 86400 ? 86400 : seconds) };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &limit) < 0;
}

/* Prints until interrupted; numbers are per second from the second time on. */
static int watch(const struct target *t, uint64_t seconds, struct err *e)
{
	struct show_view was = { .scan = NULL }, now;
	const char *clear = isatty(STDOUT_FILENO) && !t->json ? "\033[H\033[2J" : "";
	int rc;

	do {
		rc = view_read(t, &now, e);
		if (rc < 0)
			break;
		printf("%s", clear);
		rc = show_print(&now, was.scan ? &was : NULL, t->shown,
				!t->json ? SHOW_TEXT : seconds ? SHOW_JSON_LINE : SHOW_JSON,
				stdout, e);
		view_done(&was);
		was = now;
	} while (!rc && seconds && !fflush(stdout) && cmd_wait(seconds));
	view_done(&was);
	return rc;
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
		"Shows the way of a pod's packets: each interface of its network namespace, the\n"
		"tap that joins it to the pod's VM, the two tc redirects between them, the VM's\n"
		"queues and the guest's interface, with counters. Where a half is missing, STATE\n"
		"says which. With --watch again and again, numbers per second, until interrupted.\n"
		"\n"
		"  podvm-netplug show web-0\n"
		"  podvm-netplug show web-0 --watch 2\n"
		"  podvm-netplug show /run/netns/cni-1234 --json\n"
		"\n";
	struct target t = TARGET_INIT;
	uint64_t seconds = 0;
	const struct opt table[] = {
		OPT_MAYBE_U64('w', "watch", &seconds, "[SECONDS]",
			      "again every second, or so many; until interrupted"),
		TARGET_OPTIONS(t), OPT_END
	};
	struct err e = { 0 };
	int rc = target_parse(table, &t, argc, argv, help, &e);

	if (rc == 1)
		return finish("show", &e);
	if (!rc)
		rc = target_open(&t, &e);
	if (rc >= 0)
		rc = watch(&t, seconds, &e);
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
		"nothing. If something cannot be joined, the error names it. --model asks for\n"
		"a way of joining; with auto the plan says which one it took, and why.\n"
		"\n"
		"  podvm-netplug plan cni-1234\n"
		"  podvm-netplug plan --pid 4711 --json\n"
		"\n";
	struct target t = TARGET_INIT;
	const char *model = "auto";
	const struct opt table[] = { TARGET_OPTIONS(t),
		OPT_STR(0, "model", &model, "NAME",
			"auto, tc, macvtap or macvtap-passthru (auto)"), OPT_END };
	struct netplug_options o = { 0 };
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	int rc = target_parse(table, &t, argc, argv, help, &e);

	if (rc == 1)
		return finish("plan", &e);
	if (!rc && netplug_model_parse(model, &o.model, &e) < 0)
		rc = err_wrap(&e, "--model");
	if (!rc)
		rc = target_open(&t, &e);
	if (rc >= 0)
		rc = netplug_plan(t.netns_fd, &o, &p, &e);
	if (rc >= 0 && t.json)
		rc = print_plan(p, &e);
	else if (rc >= 0)
		plan_print(p, t.shown, stdout);
	netplug_plan_free(p);
	rc = rc < 0 ? fail_in("plan", &t, &e) : finish("plan", &e);
	target_close(&t);
	return rc;
}
