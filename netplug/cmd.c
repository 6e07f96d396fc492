// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The commands "show" and "plan". Both only read; both name their namespace in
 * the same way: by a path, by a process in it, or not at all, which means the
 * caller's own.
 */
#include "netplug/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/str.h"
#include "netplug/netns.h"
#include "netplug/netplug.h"

/**
 * struct target - options that the commands share
 * @pid:   UINT64_MAX if not given
 * @shown: the namespace for people
 */
struct target {
	const char *netns;
	uint64_t pid;
	bool json;
	bool help;
	char shown[128];
};

#define TARGET_OPTIONS(t) \
	OPT_STR(0, "netns", &(t).netns, "PATH", "network namespace, as /run/netns/NAME"), \
	OPT_U64(0, "pid", &(t).pid, "PID", "network namespace of a process"), \
	OPT_FLAG(0, "json", &(t).json, "JSON instead of text"), \
	OPT_FLAG('h', "help", &(t).help, "this text"), \
	OPT_END

static int target_open(struct target *t, struct err *e)
{
	char path[64];

	if (t->netns && t->pid != UINT64_MAX)
		return err_set(e, EINVAL, "--netns and --pid exclude each other");
	if (t->netns) {
		snprintf(t->shown, sizeof(t->shown), "%s", t->netns);
		return netns_open(t->netns, e);
	}
	if (t->pid == UINT64_MAX) {
		snprintf(t->shown, sizeof(t->shown), "of this process");
		return netns_self(e);
	}
	snprintf(t->shown, sizeof(t->shown), "of process %llu",
		 (unsigned long long)t->pid);
	snprintf(path, sizeof(path), "/proc/%llu/ns/net",
		 (unsigned long long)t->pid);
	return netns_open(path, e);
}

/* Parses the options. Return: 0; 1 if --help was all; minus errno */
static int parse(const struct opt *table, struct target *t, int argc, char **argv,
		 const char *help, struct err *e)
{
	char shown[64];
	int first, rc;

	rc = opt_parse(table, argc, argv, &first, e);
	if (rc < 0)
		return rc;
	if (t->help) {
		printf("%s", help);
		opt_help(stdout, table);
		return 1;
	}
	if (first < argc) {
		str_quote(shown, sizeof(shown), argv[first]);
		return err_set(e, EINVAL, "unknown argument %s; see --help", shown);
	}
	return 0;
}

/* A failure behind target_open(): say where. */
static int fail_in(const char *cmd, const struct target *t, struct err *e)
{
	err_wrap(e, "network namespace %s", t->shown);
	fprintf(stderr, "podvm-netplug %s: %s\n", cmd, e->text);
	return 1;
}

static int fail(const char *cmd, const struct err *e)
{
	fprintf(stderr, "podvm-netplug %s: %s\n", cmd, e->text);
	return 1;
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
		"Usage: podvm-netplug show [--netns PATH | --pid PID] [--json]\n"
		"\n"
		"Shows each interface of a pod's network namespace, the tap that joins it\n"
		"to the pod's VM, and the two tc redirects between them with counters.\n"
		"Where a half is missing, STATE says which.\n"
		"\n"
		"  podvm-netplug show --netns /run/netns/cni-1234\n"
		"  podvm-netplug show --pid \"$(cat /run/pod.pid)\" --json\n"
		"\n";
	struct target t = { .pid = UINT64_MAX };
	const struct opt table[] = { TARGET_OPTIONS(t) };
	_cleanup_close_ int fd = -1;
	struct scan *s = NULL;
	struct nl *nl = NULL;
	struct err e = { 0 };
	int rc = parse(table, &t, argc, argv, help, &e);

	if (rc == 1)
		return finish("show", &e);
	if (!rc)
		rc = fd = target_open(&t, &e);
	if (rc >= 0)
		rc = nl_open(fd, &nl, &e);
	if (rc >= 0)
		rc = scan_read(nl, &s, &e);
	if (rc >= 0)
		rc = show_print(s, t.shown, t.json, stdout, &e);
	scan_free(s);
	nl_free(nl);
	if (rc < 0)
		return fd < 0 ? fail("show", &e) : fail_in("show", &t, &e);
	return finish("show", &e);
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
		"Usage: podvm-netplug plan [--netns PATH | --pid PID] [--json]\n"
		"\n"
		"Tells what joining a network namespace to a VM would do on the host, and\n"
		"what addresses, routes and neighbours the guest would be given. Changes\n"
		"nothing. If something cannot be joined, the error names it.\n"
		"\n"
		"  podvm-netplug plan --netns /run/netns/cni-1234\n"
		"  podvm-netplug plan --pid 4711 --json\n"
		"\n";
	struct target t = { .pid = UINT64_MAX };
	const struct opt table[] = { TARGET_OPTIONS(t) };
	_cleanup_close_ int fd = -1;
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	int rc = parse(table, &t, argc, argv, help, &e);

	if (rc == 1)
		return finish("plan", &e);
	if (!rc)
		rc = fd = target_open(&t, &e);
	if (rc >= 0)
		rc = netplug_plan(fd, &p, &e);
	if (rc >= 0 && t.json)
		rc = print_plan(p, &e);
	else if (rc >= 0)
		plan_print(p, t.shown, stdout);
	netplug_plan_free(p);
	if (rc < 0)
		return fd < 0 ? fail("plan", &e) : fail_in("plan", &t, &e);
	return finish("plan", &e);
}
