// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One program, two callers: a container runtime, which sets CNI_COMMAND and
 * speaks CNI, and a person, who gives a command.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/str.h"
#include "netplug/cmd.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "show", cmd_show, "how a pod's interfaces are joined to its VM, with counters" },
	{ "check", cmd_check, "what keeps packets from a pod, and the command that mends it" },
	{ "sync", cmd_sync, "give the guest again what the pod's namespace has" },
	{ "plan", cmd_plan, "what joining would do, and what the guest would be given" },
	{ "trace", cmd_trace, "where a flow of a pod dies: veth, tc, tap, virtio queue, guest" },
	{ "attach", cmd_attach, "give interfaces taps that wait for a VMM" },
	{ "detach", cmd_detach, "take them away again" },
	{ "capture", cmd_capture, "a pod's packets at each hop, as pcapng" },
};

static void help(const struct opt *table)
{
	size_t i;

	printf("Usage: podvm-netplug COMMAND [OPTION...]\n"
	       "\n"
	       "Joins the network namespace of a pod to the pod's virtual machine. podvm does\n"
	       "that by itself; this command looks at it, and does it for other VMMs. It needs\n"
	       "the privilege to enter the namespace (root).\n"
	       "\n");
	for (i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].help);
	printf("\n");
	opt_help(stdout, table);
	printf("\n"
	       "Examples:\n"
	       "  ip netns list                       # find the pod's namespace\n"
	       "  podvm-netplug plan cni-1234\n"
	       "  podvm list                          # or the pod, or one of its containers\n"
	       "  podvm-netplug show web-0\n"
	       "  podvm-netplug show --pid 4711 --json\n"
	       "\n"
	       "podvm-netplug COMMAND --help tells more; so does podvm-netplug(8).\n");
}

int main(int argc, char **argv)
{
	bool want_help = false, want_version = false;
	const struct opt table[] = {
		OPT_FLAG('h', "help", &want_help, "this text"),
		OPT_FLAG('v', "version", &want_version, "version"),
		OPT_END,
	};
	const char *cni = getenv("CNI_COMMAND");
	struct err e = { 0 };
	char shown[64];
	int first;
	size_t i;

	if (cni && cni[0]) {
		signal(SIGPIPE, SIG_IGN);
		return cni_run(cni, STDIN_FILENO, stdout);
	}
	if (opt_parse(table, argc, argv, &first, &e) < 0) {
		fprintf(stderr, "podvm-netplug: %s\n", e.text);
		return 1;
	}
	if (want_version)
		return printf("podvm-netplug %s\n", PODVM_VERSION) < 0;
	if (want_help) {
		help(table);
		return 0;
	}
	if (first >= argc) {
		fprintf(stderr, "podvm-netplug: no command given; see --help\n");
		return 1;
	}
	for (i = 0; i < ARRAY_LEN(commands); i++)
		if (!strcmp(argv[first], commands[i].name))
			return commands[i].run(argc - first, argv + first);
	str_quote(shown, sizeof(shown), argv[first]);
	fprintf(stderr, "podvm-netplug: unknown command %s; see --help\n", shown);
	return 1;
}
