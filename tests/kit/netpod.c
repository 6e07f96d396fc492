// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A pod's namespace with a veth, joined to a guest by netplug, and commands of
 * podvm-netplug that look at it, each in a process of its own. Those are forked before
 * the guest's threads start, for a fork copies their locks.
 */
#include "tests/kit/netpod.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/cmd.h"
#include "tests/kit/tap.h"

static void run(const char *dir, int argc, char **argv)
{
	static const char *const names[] = { "out", "err" };
	char path[64];
	int i;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (dup2(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), i + 1) < 0)
			_exit(99);
	}
	i = !strcmp(argv[0], "trace") ? cmd_trace(argc, argv) : cmd_capture(argc, argv);
	fflush(NULL);
	_exit(i);
}

static void runner(const char *dir, int go)
{
	char text[4096], *argv[32], *at = text;
	ssize_t n = read(go, text, sizeof(text));
	int argc = 0;

	if (n <= 0)
		_exit(1);
	for (; at < text + n; at += strlen(at) + 1)
		argv[argc++] = at;
	argv[argc] = NULL;
	run(dir, argc, argv);
}

static void runners_start(struct netpod *t)
{
	size_t i;
	int pair[2];

	fflush(NULL);
	for (i = 0; i < NETPOD_RUNNERS; i++) {
		ck_assert(!pipe2(pair, O_CLOEXEC));
		t->runner[i] = fork();
		if (!t->runner[i]) {
			close(pair[1]);
			runner(t->dir, pair[0]);
		}
		close(pair[0]);
		t->go[i] = pair[1];
	}
}

/**
 * netpod_start() - make the namespaces, join them, let the guest live
 */
void netpod_start(struct netpod *t, const char *dir)
{
	struct err e = { 0 };

	memset(t, 0, sizeof(*t));
	t->dir = dir;
	kit_tap_netns();
	kit_net_new(&t->n);
	kit_run("ip addr add 10.1.0.2/24 dev eth0 && ip addr add 2001:db8::2/64 dev eth0 nodad");
	kit_run_in(t->n.host, "ip addr add 10.1.0.1/24 dev h0 && "
		   "ip addr add 2001:db8::1/64 dev h0 nodad");
	ck_assert_int_eq(journal_open(AT_FDCWD, "/dev/null", &t->j, &e), 0);
	ck_assert_msg(!netplug_plan(t->n.pod, NULL, &t->p, &e), "%s", e.text);
	ck_assert_msg(!netplug_apply(t->p, t->n.pod, t->n.path, 1, t->j, t->port, &t->n_ports, &e),
		      "%s", e.text);
	kit_net_enter(t->n.host);
	runners_start(t);
	netguest_start(&t->g, &t->n, t->port[0].tap_fd[0], t->port[0].mac,
		       "ip addr add 10.1.0.2/24 dev eth0 && "
		       "ip addr add 2001:db8::2/64 dev eth0 nodad && "
		       "ip route add default via 10.1.0.1");
}

/**
 * netpod_end() - end all of it
 */
void netpod_end(struct netpod *t)
{
	size_t i;

	for (i = 0; i < NETPOD_RUNNERS; i++)
		close(t->go[i]);
	netguest_stop(&t->g);
	while (t->n_ports)
		netplug_port_close(&t->port[--t->n_ports]);
	journal_free(t->j);
	netplug_plan_free(t->p);
}

/**
 * netpod_run() - run a command: argv[0] is "capture" or "trace"
 *
 * Return: its process, for netpod_status()
 */
pid_t netpod_run(struct netpod *t, char **argv)
{
	char text[4096];
	size_t len = 0;

	ck_assert_uint_lt(t->n_run, NETPOD_RUNNERS);
	for (; *argv; argv++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", *argv) + 1;
	ck_assert_int_eq(write(t->go[t->n_run], text, len), (ssize_t)len);
	return t->runner[t->n_run++];
}

/**
 * netpod_spawn() - the same without a pod, where there are no threads
 */
pid_t netpod_spawn(const char *dir, char **argv)
{
	int argc = 0;
	pid_t pid;

	while (argv[argc])
		argc++;
	fflush(NULL);
	pid = fork();
	if (!pid)
		run(dir, argc, argv);
	ck_assert_int_gt(pid, 0);
	return pid;
}

/**
 * netpod_status() - wait for a command
 *
 * Return: its exit status
 */
int netpod_status(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}
