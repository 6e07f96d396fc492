// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Network namespaces for tests. Check forks for each test, so a test may move
 * itself into new namespaces, and all of them end with the test's process.
 * Namespaces are set up and looked at by ip(8) and tc(8), which know nothing
 * of the code under test. The mount namespace is left alone: a namespace is
 * reached through /proc/PID/fd.
 */
#include "tests/kit/net.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "netplug/netplug.h"

static int self_netns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/*
 * Runs a shell command with its output in @out (-1: our standard error).
 * Also used outside of tests, where Check's assertions do not work.
 * Return: exit status, or -1
 */
static int shell(const char *cmd, int out)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, strdup(cmd), NULL };
	struct proc_fd map[] = { { out < 0 ? 2 : out, 1 }, { out < 0 ? 2 : out, 2 } };
	struct proc_spec s = { .path = "/bin/sh", .argv = argv, .fds = map, .n_fds = 2 };
	struct err e = { 0 };
	int pidfd, status = -1;

	if (!proc_spawn(&s, NULL, &pidfd, &e)) {
		if (proc_wait(pidfd, -1, &status, &e) < 0)
			status = -1;
		close(pidfd);
	}
	if (e.code)
		fprintf(stderr, "%s: %s\n", cmd, e.text);
	free(argv[2]);
	return status;
}

static char *format(const char *fmt, va_list ap)
{
	char *cmd;

	ck_assert_int_ge(vasprintf(&cmd, fmt, ap), 0);
	return cmd;
}

/**
 * kit_run() - run a shell command in the namespace of the test; it must succeed
 */
void kit_run(const char *fmt, ...)
{
	char *cmd;
	va_list ap;

	va_start(ap, fmt);
	cmd = format(fmt, ap);
	va_end(ap);
	ck_assert_msg(!shell(cmd, -1), "%s", cmd);
	free(cmd);
}

/**
 * kit_run_in() - as kit_run(), in another namespace
 */
void kit_run_in(int netns, const char *fmt, ...)
{
	int back = self_netns();
	char *cmd;
	va_list ap;

	va_start(ap, fmt);
	cmd = format(fmt, ap);
	va_end(ap);
	kit_net_enter(netns);
	ck_assert_msg(!shell(cmd, -1), "%s", cmd);
	kit_net_enter(back);
	close(back);
	free(cmd);
}

/**
 * kit_try() - whether a shell command succeeds; its output is dropped
 */
bool kit_try(const char *fmt, ...)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), status;
	char *cmd;
	va_list ap;

	va_start(ap, fmt);
	cmd = format(fmt, ap);
	va_end(ap);
	status = shell(cmd, null_fd);
	close(null_fd);
	free(cmd);
	return !status;
}

/**
 * kit_output() - what a shell command prints; it must succeed
 *
 * Return: malloc'd, owned by the caller
 */
char *kit_output(const char *fmt, ...)
{
	int fd = memfd_create("output", MFD_CLOEXEC);
	char *cmd, *text = NULL, path[32];
	va_list ap;

	va_start(ap, fmt);
	cmd = format(fmt, ap);
	va_end(ap);
	ck_assert_int_ge(fd, 0);
	ck_assert_msg(!shell(cmd, fd), "%s", cmd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(file_read(AT_FDCWD, path, 1u << 20, &text, NULL, NULL), 0);
	close(fd);
	free(cmd);
	return text;
}

/**
 * kit_same_text() - two texts must be the same; a failure shows the first other line
 */
void kit_same_text(const char *got, const char *want)
{
	while (*got || *want) {
		size_t g = strcspn(got, "\n"), w = strcspn(want, "\n");

		ck_assert_msg(g == w && !memcmp(got, want, g) && got[g] == want[w],
			      "want \"%.*s\", got \"%.*s\"", (int)w, want, (int)g, got);
		got += g + !!got[g];
		want += w + !!want[w];
	}
}

/**
 * kit_net_enter() - move the test into a namespace
 */
void kit_net_enter(int netns)
{
	ck_assert_int_eq(setns(netns, CLONE_NEWNET), 0);
}

/**
 * kit_net_new() - two new namespaces joined by a veth; the test is in the pod's
 */
void kit_net_new(struct kit_net *n)
{
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	n->host = self_netns();
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	n->pod = self_netns();
	snprintf(n->path, sizeof(n->path), "/proc/%d/fd/%d", getpid(), n->pod);
	kit_run_in(n->host, "ip link set lo up");
	kit_run("ip link set lo up && ip link add eth0 type veth peer name h0 "
		"netns /proc/%d/fd/%d && ip link set eth0 up", getpid(), n->host);
	kit_run_in(n->host, "ip link set h0 up");
}

/**
 * kit_net_state() - all that ip(8) and tc(8) say of the namespace of the test
 *
 * Return: malloc'd, owned by the caller
 */
char *kit_net_state(void)
{
	return kit_output("ip -d link; ip -d addr; ip -d route show table all; "
			  "ip -d -6 route show table all; ip rule; ip -6 rule; "
			  "ip neigh show nud permanent | sort; tc qdisc; for d in "
			  "$(ip -o link | sed 's/^[0-9]*: //; s/[:@].*//'); do "
			  "tc filter show dev $d ingress; "
			  "tc filter show dev $d egress; done");
}

/* In a child: 0 if namespaces, and with @tc the redirects, work here. */
static int probe(bool tc)
{
	struct netplug_port ports[NETPLUG_PORTS_MAX];
	char path[64];
	struct netplug_plan *p = NULL;
	struct journal *j = NULL;
	struct err e = { 0 };
	size_t n;
	int fd, rc;

	if (geteuid() || unshare(CLONE_NEWNET) < 0)
		return 1;
	if (shell("ip link set lo up && ip link add eth0 type veth peer name h0 && "
		  "ip link set eth0 up && ip link set h0 up", -1))
		return 2;
	if (!tc)
		return 0;
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	rc = netplug_plan(fd, NULL, &p, &e);
	if (!rc)
		rc = journal_open(AT_FDCWD, "/dev/null", &j, &e);
	if (!rc)
		rc = netplug_apply(p, fd, path, 1, j, ports, &n, &e);
	if (rc < 0)
		fprintf(stderr, "probe: %s\n", e.text);
	journal_free(j);
	netplug_plan_free(p);
	return rc < 0 ? 3 : 0;
}

/**
 * kit_net_has_kind() - whether this kernel makes interfaces of a kind on top of another
 * @kind: with its options, as "vlan id 5"
 */
bool kit_net_has_kind(const char *kind)
{
	char cmd[256];
	pid_t pid;
	int status;

	snprintf(cmd, sizeof(cmd), "ip link add v0 type veth peer name v1 && "
		 "ip link add link v0 name x0 type %s 2> /dev/null", kind);
	fflush(NULL);
	pid = fork();
	if (!pid)
		_exit(unshare(CLONE_NEWNET) < 0 || shell(cmd, -1));
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

/**
 * kit_net_missing() - what this machine lacks for tests with network namespaces
 * @tc: they also redirect packets
 *
 * Return: NULL if nothing; else the reason to skip
 */
const char *kit_net_missing(bool tc)
{
	pid_t pid;
	int status;

	if (geteuid())
		return "needs root, for network namespaces";
	if (access("/sbin/ip", X_OK) || access("/sbin/tc", X_OK))
		return "needs ip(8) and tc(8) of iproute2";
	if (tc && access("/dev/net/tun", F_OK))
		return "needs /dev/net/tun";
	fflush(NULL);
	pid = fork();
	if (!pid)
		_exit(probe(tc));
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return "cannot fork a probe";
	switch (WEXITSTATUS(status)) {
	case 0:
		return NULL;
	case 1:
	case 2:
		return "needs network namespaces and veth";
	default:
		return "needs sch_ingress, cls_u32, act_mirred and tun in the kernel";
	}
}
