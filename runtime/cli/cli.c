// SPDX-License-Identifier: Apache-2.0
#include "runtime/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/fd.h"
#include "lib/str.h"

static void command_help(const struct command *cmd, const struct opt *t)
{
	printf("Usage: podvm %s %s\n\n%c%s.\n", cmd->name, cmd->args,
	       cmd->help[0] >= 'a' ? cmd->help[0] - 32 : cmd->help[0], cmd->help + 1);
	if (t->kind != OPT_KIND_END)
		printf("\nOptions:\n");
	opt_help(stdout, t);
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
	const struct command *cmd = cli_commands();
	int rc, n;

	if (str_starts(argv[0], "pod "))
		cmd = cli_pod_commands();
	else if (str_starts(argv[0], "template "))
		cmd = cli_template_commands();
	while (cmd->name && strcmp(cmd->name, argv[0]))
		cmd++;
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
