// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm: the OCI runtime's command line and the operator's command. Global
 * options as runc has them, then a verb; each verb is a file cmd-<verb>.c. A
 * failure is one line on standard error and, with --log, one in the log file;
 * exit status 1. Supervisor, shim and relay are this program too, under verbs
 * that only podvm itself uses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "runtime/cli/cli.h"
#include "runtime/cli/handover.h"
#include "runtime/shim/shim.h"
#include "runtime/supervisor/supervisor.h"

#define OCI_VERSION "1.2.0"

static const struct command commands[] = {
	{ "create", "[--bundle DIR] [--pid-file F] [--console-socket S] ID",
	  "create a container; its pod's machine starts if there is none", cmd_create },
	{ "start", "ID", "let a created container run", cmd_start },
	{ "run", "[--bundle DIR] [--detach] [--keep] ID", "create, start, wait, delete", cmd_run },
	{ "state", "ID", "a container's state as JSON", cmd_state },
	{ "kill", "[--all] ID [SIGNAL]", "send a signal (default TERM)", cmd_kill },
	{ "pause", "ID", "let all processes of a container stand still", cmd_pause },
	{ "resume", "ID", "let a paused container run again", cmd_resume },
	{ "update", "[--memory SIZE] … | [--resources FILE] ID",
	  "change limits of a running container", cmd_update },
	{ "events", "[--stats] [--interval TIME] ID",
	  "what a container uses, and that it ran out of memory, as JSON lines", cmd_events },
	{ "delete", "[--force] ID", "remove a container; the last one ends the pod", cmd_delete },
	{ "exec", "[--tty] [--process F] [--detach] ID [COMMAND…]",
	  "run a command in a running container", cmd_exec },
	{ "list", "[--format table|json] [--quiet]", "containers", cmd_list },
	{ "ps", "[--format table|json] ID", "processes of a container: the guest's; as JSON, the host's", cmd_ps },
	{ "pod", "COMMAND …", "look at pods: list, inspect, stats, timeline, console, logs, shell", cmd_pod },
	{ "template", "COMMAND …", "saved machines that pods begin from: list, remove", cmd_template },
	{ "metrics", "[--timeout MS] [POD…]", "counters of all pods, as OpenMetrics", cmd_metrics },
	{ "resize", "[--memory SIZE] [--vcpus N] ID",
	  "memory and processors of a container's pod: change them, or show them", cmd_resize },
	{ "doctor", "[--json]", "what keeps pods from running on this host, and what mends it", cmd_doctor },
	{ "trust", "explain [--json] BUNDLE", "which runtime a bundle gets, and why", cmd_trust },
	{ "features", "", "what this runtime supports, as OCI features JSON", cmd_features },
	{ "spec", "[--bundle DIR]", "an example config.json", cmd_spec },
	{ "checkpoint", "ID", "refused, as is restore", cmd_checkpoint },
	{ "restore", "ID", "refused, as is checkpoint", cmd_restore },
	{ NULL, NULL, NULL, NULL },
};

/* Short for commands of podvm pod; not in the help. */
static const struct command shortcuts[] = {
	{ "stats", "", "", cmd_stats },
	{ "timeline", "", "", cmd_pod_timeline },
	{ NULL, NULL, NULL, NULL },
};

/**
 * cli_commands() - the verbs, closed by one without a name
 */
const struct command *cli_commands(void)
{
	return commands;
}

static void help(const struct opt *global)
{
	const struct command *c;

	printf("podvm runs every pod in a virtual machine of its own.\n\n"
	       "Usage: podvm [OPTIONS] COMMAND [ARGS]\n\n"
	       "A container whose config.json has no pod annotations gets a machine of its own;\n"
	       "with those of CRI-O or containerd it goes into the machine of its pod.\n\nCommands:\n");
	for (c = commands; c->name; c++)
		printf("  %-9s %-53s %s\n", c->name, c->args, c->help);
	printf("\nOptions:\n");
	opt_help(stdout, global);
	printf("\nExample, from a directory with rootfs/ mounted as an overlay:\n"
	       "  podvm spec > config.json && podvm run demo\n");
}

static int run(const char *root, bool systemd, const struct spec_source *source, int argc,
	       char **argv, struct err *e)
{
	struct cli c = { .root = root, .rootfd = -1, .systemd = systemd, .source = source };
	const struct command *cmd;
	int rc;

	for (cmd = commands; cmd->name && strcmp(cmd->name, argv[0]); cmd++)
		;
	if (!cmd->name)
		for (cmd = shortcuts; cmd->name && strcmp(cmd->name, argv[0]); cmd++)
			;
	if (!cmd->name)
		return err_set(e, EINVAL, "unknown command \"%.40s\"; see podvm --help",
			       argv[0]);
	/* features and spec touch no state; doctor and trust make none. */
	if (cmd->run != cmd_features && cmd->run != cmd_spec && cmd->run != cmd_doctor &&
	    cmd->run != cmd_trust) {
		c.rootfd = state_root_open(root, e);
		if (c.rootfd < 0)
			return c.rootfd;
	}
	rc = cmd->run(&c, argc, argv, e);
	fd_close(&c.rootfd);
	return rc;
}

static int check_words(const char *format, const char *rootless, struct err *e)
{
	if (strcmp(format, "text") && strcmp(format, "json"))
		return err_set(e, EINVAL, "--log-format is text or json");
	if (!strcmp(rootless, "true"))
		return err_set(e, ENOTSUP,
			       "--rootless: not supported: networks and disks of a virtual machine need root");
	if (strcmp(rootless, "auto") && strcmp(rootless, "false"))
		return err_set(e, EINVAL, "--rootless is auto, true or false");
	return 0;
}

int main(int argc, char **argv)
{
	bool show_help = false, version = false, debug = false, systemd = false;
	const char *root = POD_DEFAULT_ROOT, *log = NULL, *format = "text", *level = NULL;
	const char *criu = NULL, *rootless = "auto";
	const struct opt global[] = {
		OPT_STR(0, "root", &root, "DIR", "state directory (default " POD_DEFAULT_ROOT ")"),
		OPT_STR(0, "log", &log, "FILE", "also log to this file"),
		OPT_STR(0, "log-format", &format, "FORMAT", "text or json"),
		OPT_STR(0, "log-level", &level, "LEVEL", "error, warning, info or debug"),
		OPT_FLAG(0, "debug", &debug, "log more"),
		OPT_FLAG(0, "systemd-cgroup", &systemd,
			 "cgroups on the host are scopes of systemd's"),
		OPT_STR(0, "criu", &criu, "FILE", "no effect: it is for checkpoint and restore"),
		OPT_STR(0, "rootless", &rootless, "HOW", "auto or false; true is refused"),
		OPT_FLAG('v', "version", &version, "print the version"),
		OPT_FLAG('h', "help", &show_help, "print this"),
		OPT_END
	};
	struct spec_source source = SPEC_SOURCE_NONE;
	struct err e = { 0 }, theirs;
	int first, rc, fd = -1;

	if (argc > 1 && !strcmp(argv[1], "shim"))
		return shim_main(argc - 1, argv + 1);
	if (argc == 2 && !strcmp(argv[1], "relay"))
		return relayd_main();
	rc = opt_parse(global, argc, argv, &first, &e);
	if (!rc && log) {
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (fd < 0)
			rc = err_sys(&e, "--log %s", log);
	}
	log_open(fd, debug || (level && !strcmp(level, "debug")) ? LOG_LEVEL_DEBUG
							     : LOG_LEVEL_WARN,
		 !strcmp(format, "json"));
	if (!rc && version) {
		printf("podvm version %s\nspec: %s\n", PODVM_VERSION, OCI_VERSION);
		return 0;
	}
	if (!rc && (show_help || first >= argc)) {
		help(global);
		return show_help ? 0 : 1;
	}
	if (!rc && argc - first >= 3 && !strcmp(argv[first], "supervisor"))
		return supervisor_main(root, argv[first + 1], argv[first + 2], argc - first > 3);
	if (!rc)
		rc = check_words(format, rootless, &e);
	/* The trusted runtime has options that are not ours; so this comes before their errors. */
	if (handover(argc, argv, &source, &theirs) < 0) {
		e = theirs;
		rc = -e.code;
	}
	if (!rc)
		rc = run(root, systemd, &source, argc - first, argv + first, &e);
	spec_source_done(&source);
	if (rc < 0) {
		log_error("%s", e.text);
		fprintf(stderr, "podvm: %s\n", e.text);
		return 1;
	}
	return rc;
}
