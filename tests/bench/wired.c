// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Joins a pod's namespace to taps by netplug's functions, as the supervisor does, and runs
 * any monitor with them: each gets the same wiring.
 *
 *   bench-wired [OPTION]... DIR POD COMMAND...
 *
 * DIR is for the journal, POD the path of a namespace with one interface. The ends of its
 * tap are the descriptors 10, 11, ... of COMMAND. When COMMAND has ended, or on TERM, which
 * ends it, all is undone. Exit status that of COMMAND; 1 with one line when it was not run.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/opt.h"
#include "netplug/netplug.h"

#define FIRST_FD 10

struct options {
	const char *model;
	uint64_t queues;
	bool help;
};

static volatile sig_atomic_t told_to_end;
static pid_t child;

static void on_term(int sig)
{
	told_to_end = sig;
	if (child > 0)
		kill(child, SIGKILL);
}

static int undo_one(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return netplug_undo(r, e);
}

static int join(const struct options *o, const char *pod, struct journal *j,
		struct netplug_port *ret, struct err *e)
{
	_cleanup_close_ int netns = open(pod, O_RDONLY | O_CLOEXEC);
	struct netplug_port port[NETPLUG_PORTS_MAX];
	struct netplug_options model;
	struct netplug_plan *p = NULL;
	size_t n = 0;
	int rc;

	if (netns < 0)
		return err_sys(e, "%s", pod);
	rc = netplug_model_parse(o->model, &model.model, e);
	if (!rc)
		rc = netplug_plan(netns, &model, &p, e);
	if (!rc && netplug_plan_ports(p) != 1)
		rc = err_set(e, EINVAL, "%s: not one interface", pod);
	if (!rc)
		rc = netplug_apply(p, netns, pod, o->queues, j, port, &n, e);
	if (!rc)
		*ret = port[0];
	netplug_plan_free(p);
	return rc;
}

/* Does not return. */
static void exec_monitor(const struct netplug_port *p, char **argv)
{
	size_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Its own numbers may be among those that are wanted. */
	for (i = 0; i < p->n_taps; i++)
		if (fcntl(p->tap_fd[i], F_DUPFD, FIRST_FD + NETPLUG_TAPS_MAX + (int)i) !=
		    FIRST_FD + NETPLUG_TAPS_MAX + (int)i)
			_exit(125);
	for (i = 0; i < p->n_taps; i++) {
		int high = FIRST_FD + NETPLUG_TAPS_MAX + (int)i;

		if (dup2(high, FIRST_FD + (int)i) < 0)
			_exit(125);
		close(high);
	}
	execvp(argv[0], argv);
	_exit(127);
}

static int run(const struct netplug_port *p, char **argv, int *ret_status, struct err *e)
{
	int status;

	child = fork();
	if (!child)
		exec_monitor(p, argv);
	if (child < 0)
		return err_sys(e, "fork");
	if (told_to_end)
		kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, "wait");
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

static int all(const struct options *o, char **words, int *ret_status, struct err *e)
{
	_cleanup_close_ int dir = open(words[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct netplug_port port = { 0 };
	struct journal *j = NULL;
	struct err why = { 0 };
	int rc, undone;

	if (dir < 0)
		return err_sys(e, "%s", words[0]);
	rc = journal_open(dir, "journal", &j, e);
	if (rc < 0)
		return rc;
	rc = join(o, words[1], j, &port, e);
	if (!rc)
		rc = run(&port, words + 2, ret_status, e);
	netplug_port_close(&port);
	undone = journal_undo(j, undo_one, NULL, &why);
	journal_free(j);
	if (!rc && undone < 0)
		return err_set(e, -undone, "%s", why.text);
	return rc;
}

int main(int argc, char **argv)
{
	struct sigaction term = { .sa_handler = on_term };
	struct options o = { .model = "tc", .queues = 1 };
	const struct opt table[] = {
		OPT_STR(0, "model", &o.model, "MODEL", "as podvm.json says it (tc)"),
		OPT_U64(0, "queues", &o.queues, "N", "pairs of queues (1)"),
		OPT_FLAG('h', "help", &o.help, "this text"),
		OPT_END
	};
	struct err e = { 0 };
	int first, status = 1, rc = opt_parse(table, argc, argv, &first, &e);

	sigaction(SIGTERM, &term, NULL);
	if (o.help) {
		puts("usage: bench-wired [OPTION]... DIR POD COMMAND...");
		opt_help(stdout, table);
		return 0;
	}
	if (!rc && argc - first < 3)
		rc = err_set(&e, EINVAL, "DIR, POD and a command are needed");
	if (!rc)
		rc = all(&o, argv + first, &status, &e);
	if (rc < 0)
		fprintf(stderr, "bench-wired: %s\n", e.text);
	return rc < 0 ? 1 : status;
}
