// SPDX-License-Identifier: Apache-2.0
#include "runtime/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

static void command_help(const struct command *cmd, const struct opt *t)
{
	printf("Usage: podvm %s %s\n\n%c%s.\n", cmd->name, cmd->args,
	       cmd->help[0] >= 'a' ? cmd->help[0] - 32 : cmd->help[0], cmd->help + 1);
	if (t->kind != OPT_KIND_END)
		printf("\nOptions:\n");
	opt_help(stdout, t);
}

static const struct command_group *const groups[] = { &cli_pod, &cli_template };

/* Of the whole name, which may be a group's and its command's; the end of a table otherwise. */
static const struct command *find(const char *name)
{
	const struct command *cmd = cli_commands();
	size_t i, len;

	for (i = 0; i < ARRAY_LEN(groups); i++) {
		len = strlen(groups[i]->name);
		if (str_starts(name, groups[i]->name) && name[len] == ' ')
			cmd = groups[i]->commands;
	}
	while (cmd->name && strcmp(cmd->name, name))
		cmd++;
	return cmd;
}

/**
 * cli_args() - a verb's options and the number of its arguments
 * @t:         option table; --help is added
 * @min, @max: arguments behind the options; @max -1: any number
 * @ret_first: index of the first one
 *
 * Return: 1 go on; 0 --help was printed; -EINVAL
 */
int cli_args(const struct opt *t, int argc, char **argv, int min, int max,
	     int *ret_first, struct err *e)
{
	const struct command *cmd = find(argv[0]);
	int rc, n;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		command_help(cmd, t);
		return 0;
	}
	rc = opt_parse(t, argc, argv, ret_first, e);
	if (rc < 0)
		return rc;
	n = argc - *ret_first;
	if (n < min || (max >= 0 && n > max))
		return err_set(e, EINVAL, "usage: podvm %s %s", cmd->name, cmd->args);
	return 1;
}

static void group_help(const struct command_group *g)
{
	const struct command *c;

	printf("Usage: podvm %s COMMAND [ARGS]\n\n%s\nCommands:\n", g->name, g->about);
	for (c = g->commands; c->name; c++)
		printf("  %-9s %-53s %s\n", c->name + strlen(g->name) + 1, c->args, c->help);
	printf("\n%s", g->more);
}

/**
 * cli_group_run() - carry out a group's command, or show its help
 * @argv: from the group's name on
 *
 * Return: the command's; -EINVAL for none that there is
 */
int cli_group_run(const struct command_group *g, struct cli *c, int argc, char **argv,
		  struct err *e)
{
	const struct command *cmd;

	if (argc < 2)
		return err_set(e, EINVAL, "podvm %s needs a command; see podvm %s --help", g->name,
			       g->name);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		group_help(g);
		return 0;
	}
	for (cmd = g->commands; cmd->name && strcmp(cmd->name + strlen(g->name) + 1, argv[1]); cmd++)
		;
	if (!cmd->name)
		return err_set(e, EINVAL, "unknown command \"%s %.40s\"; see podvm %s --help", g->name,
			       argv[1], g->name);
	argv[1] = (char *)(uintptr_t)cmd->name;
	return cmd->run(c, argc - 1, argv + 1, e);
}

/**
 * cli_no_fds() - refuse to pass on descriptors
 * @n: value of --preserve-fds
 *
 * Return: 0 or -ENOTSUP
 */
int cli_no_fds(uint64_t n, struct err *e)
{
	return n ? err_set(e, ENOTSUP, "--preserve-fds: not supported: open files of the host cannot enter a virtual machine; leave it out")
		 : 0;
}

/**
 * cli_send_pidfd() - hand a pidfd to whoever listens on a unix socket
 * @path:  NULL: nobody does
 * @pidfd: borrowed
 *
 * Return: 0 or minus errno
 */
int cli_send_pidfd(const char *path, int pidfd, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int s = -1;
	int rc;

	if (!path)
		return 0;
	if (str_copy(sa.sun_path, sizeof(sa.sun_path), path) < 0)
		return err_set(e, ENAMETOOLONG, "--pidfd-socket: path longer than %zu bytes",
			       sizeof(sa.sun_path) - 1);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "--pidfd-socket %s", path);
	rc = fd_send(s, "pidfd", 5, &pidfd, 1, e);
	return rc < 0 ? err_wrap(e, "--pidfd-socket %s", path) : 0;
}

/**
 * cli_write_pid() - write a pid file
 * @path: NULL: none wanted
 *
 * Return: 0 or minus errno
 */
int cli_write_pid(const char *path, pid_t pid, struct err *e)
{
	char text[24];
	int rc;

	if (!path)
		return 0;
	snprintf(text, sizeof(text), "%d", pid);
	rc = file_replace(AT_FDCWD, path, text, strlen(text), 0644, e);
	return rc < 0 ? err_wrap(e, "--pid-file") : 0;
}

/**
 * cli_connect() - a container's record and its pod's supervisor
 * @ret_state: owned by the caller
 * @ret_sock:  owned by the caller
 *
 * Return: 0; -ENOENT; -ESRCH "container not running" when its pod has ended
 */
int cli_connect(struct cli *c, const char *id, struct state **ret_state,
		int *ret_sock, struct err *e)
{
	struct state *s;
	int rc = pod_load_state(c->rootfd, id, &s, e);

	if (rc < 0)
		return rc;
	rc = pod_connect(c->rootfd, s->pod, ret_sock, e);
	if (rc < 0) {
		state_free(s);
		return err_set(e, ESRCH, "container not running: its pod has ended");
	}
	*ret_state = s;
	return 0;
}
