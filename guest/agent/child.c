// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What runs between clone3() and exec, in the child: a copy of the agent with
 * one thread, in the new namespaces and in the container's cgroup. It talks to
 * the agent over one socket: READY, a terminal with its descriptor, or one
 * FAILED with a text; that socket closes with the exec, which is how the agent
 * knows that it succeeded (and with that of a container's program which the kernel
 * refuses, for that is its end, not a start that failed). Stages of a container's first process:
 * 1. in the agent's root: namespaces that clone3() cannot give, host name,
 *    loopback, sysctls, root file system with all mounts;
 * 2. in the container's root: terminal, working directory, program;
 * 3. READY; the word to start is awaited, and before it words to run hooks;
 * 4. ids, capabilities, seccomp, exec.
 * Where hooks of the creation may still change the root, it stays writable, and the
 * program is looked for behind them. A user namespace comes between 2 and 3 (userns.c),
 * and the program is looked for in it.
 * An exec joins the container's namespaces and goes through 2 and 4. A shell stays
 * where the agent is, and is the program that its descriptor leads to.
 *
 * A process of the same pid namespace may look at the child through /proc.
 * So the child first closes every descriptor of the agent's, and is not
 * dumpable until its exec.
 *
 * Sources: OCI runtime-spec runtime.md "Lifecycle"; namespaces(7); seccomp(2).
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

/*
 * Where the report socket is in the child and, for an exec, the namespaces; for a
 * shell, its program.
 */
#define REPORT_FD 3
#define PIDFD_FD 4

#define PTMX_MAJOR 5
#define PTMX_MINOR 2

/*
 * @user: its user namespace; NULL: the machine's. @created, @starting: the hooks of the
 * creation, of the start, have run.
 */
struct program {
	const Podvm__Process *p;
	char *path;
	char **argv;
	char **env;
	const Podvm__Namespace *user;
	bool created, starting;
};

static void send_report(enum report_kind kind, const struct err *e, int fd)
{
	struct report r = { .kind = kind };
	struct err ignored;

	if (e) {
		r.code = e->code ? e->code : EIO;
		snprintf(r.text, sizeof(r.text), "%s", e->text);
	}
	if (fd_send(REPORT_FD, &r, sizeof(r), &fd, fd >= 0, &ignored) < 0)
		_exit(126);
}

__attribute__((noreturn)) static void fail(const struct err *e)
{
	send_report(REPORT_FAILED, e, -1);
	_exit(127);
}

/*
 * The agent keeps 0 to 4 occupied, so nothing that is still needed is
 * overwritten: every source is 5 or above.
 */
static int place_fds(const int std[3], int report, int pidfd, struct err *e)
{
	unsigned int first = pidfd < 0 ? PIDFD_FD : PIDFD_FD + 1;
	int null = -1, i;

	for (i = 0; i < 3; i++) {
		if (std[i] < 0 && null < 0)
			null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (dup2(std[i] < 0 ? null : std[i], i) < 0)
			return err_sys(e, "standard stream %d", i);
	}
	if (dup3(report, REPORT_FD, O_CLOEXEC) < 0 ||
	    (pidfd >= 0 && dup3(pidfd, PIDFD_FD, O_CLOEXEC) < 0))
		return err_sys(e, "descriptors");
	if (syscall(SYS_close_range, first, ~0u, 0) < 0)
		return err_sys(e, "close_range");
	return 0;
}

/* First of all in the child: nothing of the agent's is left to find. */
static int prepare(const Podvm__Process *p, const int std[3], int report,
		   int pidfd, struct err *e)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	char score[16];
	sigset_t none;
	int i, rc;

	rc = place_fds(std, report, pidfd, e);
	if (rc < 0)
		return rc;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	for (i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	/* Keys of the agent or of another container are out of reach; no keys, no risk. */
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	snprintf(score, sizeof(score), "%d", p->oom_score_adj);
	return file_write(AT_FDCWD, "/proc/self/oom_score_adj", score, e);
}

static int make_namespaces(const Podvm__ContainerCreate *c, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc >= 0 && i < c->n_namespaces; i++) {
		const Podvm__Namespace *n = c->namespaces[i];

		if (n->shared)
			continue;
		if (n->type == PODVM__NAMESPACE__TYPE__NETWORK)
			rc = net_loopback_up(e);
		/* Its root is the cgroup one is in: too early at clone3(). */
		if (n->type == PODVM__NAMESPACE__TYPE__CGROUP && unshare(CLONE_NEWCGROUP) < 0)
			rc = err_sys(e, "cgroup namespace");
		if (n->type == PODVM__NAMESPACE__TYPE__UTS && *c->hostname &&
		    sethostname(c->hostname, strlen(c->hostname)) < 0)
			rc = err_sys(e, "hostname %s", c->hostname);
		if (n->type == PODVM__NAMESPACE__TYPE__UTS && *c->domainname &&
		    setdomainname(c->domainname, strlen(c->domainname)) < 0)
			rc = err_sys(e, "domainname %s", c->domainname);
	}
	for (i = 0; rc >= 0 && i < c->n_sysctls; i++)
		rc = sysctl_write(c->sysctls[i]->key, c->sysctls[i]->value, e);
	return rc;
}

static int make_root(const Podvm__ContainerCreate *c, struct err *e)
{
	_cleanup_close_ int root = -1, upper = -1;
	int rc;

	rc = rootfs_mount(c->rootfs, &root, &upper, e);
	if (rc >= 0 && upper >= 0)
		send_report(REPORT_UPPER, NULL, upper);
	if (rc >= 0)
		rc = mounts_apply(root, c, e);
	if (rc >= 0)
		rc = devices_make(root, c, e);
	if (rc >= 0)
		rc = mounts_mask(root, c, e);
	if (rc >= 0)
		rc = rootfs_enter(root, c->rootfs, e);
	return rc < 0 || c->create_hooks ? rc : rootfs_readonly(c->rootfs, e);
}

/* A pair in the container's devpts; the master goes to the agent. */
static int make_terminal(const Podvm__Process *p, bool console, uid_t owner, struct err *e)
{
	struct winsize size = { .ws_row = (unsigned short)p->rows,
				.ws_col = (unsigned short)p->columns };
	_cleanup_close_ int master = -1, slave = -1;
	struct stat st;
	int i, rc, no = 0;

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0)
		return err_sys(e, "terminal: /dev/ptmx (is devpts mounted on /dev/pts?)");
	if (fstat(master, &st) < 0 || st.st_rdev != makedev(PTMX_MAJOR, PTMX_MINOR))
		return err_set(e, ENOTTY, "terminal: /dev/ptmx is not a terminal multiplexer");
	if (ioctl(master, TIOCSPTLCK, &no) < 0)
		return err_sys(e, "terminal: unlock");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(e, "terminal");
	if (p->rows && p->columns && ioctl(slave, TIOCSWINSZ, &size) < 0)
		return err_sys(e, "terminal: size");
	if (fchown(slave, owner, (gid_t)-1) < 0 || fchmod(slave, 0620) < 0)
		return err_sys(e, "terminal: owner");
	rc = console ? devices_console(slave, e) : 0;
	if (rc < 0)
		return rc;
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(e, "terminal: controlling terminal");
	for (i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return err_sys(e, "terminal: dup2");
	send_report(REPORT_TTY, NULL, master);
	return 0;
}

/* The kernel marks a directory outside the root; nobody may start there. */
static int enter_cwd(const char *cwd, struct err *e)
{
	char now[PATH_MAX];
	int rc;

	if (*cwd != '/')
		return err_set(e, EINVAL, "cwd %s: not an absolute path", cwd);
	if (chdir(cwd) < 0) {
		if (errno != ENOENT)
			return err_sys(e, "cwd %s", cwd);
		rc = dir_make(cwd, 0755, e);
		if (rc < 0)
			return err_wrap(e, "cwd");
		if (chdir(cwd) < 0)
			return err_sys(e, "cwd %s", cwd);
	}
	if (!getcwd(now, sizeof(now)) || *now != '/')
		return err_set(e, EACCES, "cwd %s: outside of the container", cwd);
	return 0;
}

/* In the container's user namespace, if it has one. */
static int find_program(struct program *g, struct err *e)
{
	const Podvm__Process *p = g->p;
	int rc = enter_cwd(*p->cwd ? p->cwd : "/", e);

	if (rc >= 0)
		rc = user_try(p, e);
	if (rc >= 0)
		rc = user_lookup(p, *p->cwd ? p->cwd : "/", &g->path, e);
	return rc < 0 ? rc : user_untry(e);
}

/* In the container's root, as the machine's: what needs its rights. */
static int make_program(struct program *g, bool console, struct err *e)
{
	const Podvm__Process *p = g->p;
	uint32_t uid, gid;
	int rc = userns_owner(g->user, p, &uid, &gid, e), i;

	if (rc < 0)
		return rc;
	if (p->seccomp.len % sizeof(struct sock_filter) ||
	    p->seccomp.len / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return err_set(e, EINVAL, "seccomp: filter of %zu bytes", p->seccomp.len);
	rc = p->terminal ? make_terminal(p, console, uid, e) : 0;
	for (i = 0; !p->terminal && i < 3; i++) /* opens of /dev/stdout by the user */
		if (fchown(i, uid, gid) < 0)
			return err_sys(e, "standard stream %d: owner", i);
	if (rc >= 0)
		rc = user_limits(p, e);
	if (rc >= 0)
		rc = user_env(p, &g->env, e);
	if (rc < 0)
		return rc;
	g->argv = mem_new_n(char *, p->n_args + 1);
	if (!g->argv)
		return err_set(e, ENOMEM, "out of memory");
	memcpy(g->argv, p->args, p->n_args * sizeof(*g->argv));
	return traits_set(p, e);
}

static int set_seccomp(const Podvm__Process *p, struct err *e)
{
	struct sock_fprog prog = {
		.len = (unsigned short)(p->seccomp.len / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(void *)p->seccomp.data,
	};

	if (p->seccomp.len &&
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, p->traits ? p->traits->seccomp_flags : 0,
		    &prog) < 0)
		return err_sys(e, "seccomp");
	return 0;
}

/* Without no_new_privs a filter needs privilege, so it comes before its loss. */
static int become(const Podvm__Process *p, struct err *e)
{
	bool nnp = p->no_new_privileges;
	int rc = nnp ? 0 : set_seccomp(p, e);

	if (rc >= 0)
		rc = user_become(p, e);
	if (rc >= 0 && nnp && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = err_sys(e, "no_new_privs");
	if (rc >= 0 && nnp)
		rc = set_seccomp(p, e);
	return rc;
}

/*
 * A container's program is there, and the kernel does not run it: it is another
 * architecture's, or its interpreter is missing. By then the start of other runtimes has
 * succeeded, so that engines see a container that ended, and its log has the reason, in
 * runc's words.
 */
__attribute__((noreturn)) static void not_run(const char *path, int code)
{
	const char *why = strerror(code);

	close(REPORT_FD);
	dprintf(STDERR_FILENO, "exec %s: %c%s\n", path, tolower(*why), why + 1);
	_exit(1);
}

/* @init: of the container, not of an exec in it, whose engine is told */
__attribute__((noreturn)) static void run(struct program *g, bool init, struct err *e)
{
	if (become(g->p, e) < 0)
		fail(e);
	execve(g->path, g->argv, g->env);
	if (init)
		not_run(g->path, errno);
	err_sys(e, "exec %s", g->path);
	fail(e);
}

/* As root, with all capabilities: the hooks of the creation make the container. */
static int create_hooks(struct program *g, const Podvm__ContainerCreate *c, struct err *e)
{
	int rc;

	if (!c->create_hooks || g->created)
		return 0;
	g->created = true;
	rc = hooks_inside(c->create_hooks, "createContainer", NULL, NULL, e);
	if (rc >= 0)
		rc = rootfs_readonly(c->rootfs, e);
	return rc < 0 ? rc : find_program(g, e);
}

static int become_hook(void *arg)
{
	return become(arg, NULL);
}

/* As what the process will be. */
static int start_hooks(struct program *g, const Podvm__ContainerCreate *c, struct err *e)
{
	int rc = create_hooks(g, c, e);

	if (rc < 0 || !c->start_hooks || g->starting)
		return rc;
	g->starting = true;
	return hooks_inside(c->start_hooks, "startContainer", become_hook, c->process, e);
}

/* Carries out orders up to the start; 0 when it has come. */
static int await_start(struct program *g, const Podvm__ContainerCreate *c, struct err *e)
{
	for (;;) {
		char order;
		ssize_t n = recv(REPORT_FD, &order, 1, 0);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		/* The agent's end closes when the container is deleted before its start. */
		if (n != 1)
			_exit(127);
		rc = order == ORDER_CREATE_HOOKS ? create_hooks(g, c, e) : start_hooks(g, c, e);
		if (rc < 0 || order == ORDER_START)
			return rc;
		send_report(REPORT_DONE, NULL, -1);
	}
}

/* The agent, which writes the mappings, is asked in the middle. */
static int enter_user(const Podvm__ContainerCreate *c, struct err *e)
{
	int rc = userns_make(c, e);
	char order;

	if (rc < 0)
		return rc;
	send_report(REPORT_USER, NULL, -1);
	if (recv(REPORT_FD, &order, 1, 0) != 1 || order != ORDER_MAPPED)
		_exit(127);
	return userns_root(e);
}

/**
 * child_container() - become a container's first process; never returns
 * @c:      borrowed, the child's copy
 * @std:    pipe ends for 0, 1, 2; -1: none (a terminal, or /dev/null)
 * @report: socket to the agent
 */
void child_container(const Podvm__ContainerCreate *c, const int std[3], int report)
{
	struct program g = { .p = c->process, .user = userns_of(c) };
	struct err e = { 0 };
	int rc;

	rc = prepare(c->process, std, report, -1, &e);
	if (rc >= 0 && g.user)
		rc = userns_network(&e);
	if (rc >= 0)
		rc = make_namespaces(c, &e);
	if (rc >= 0)
		rc = make_root(c, &e);
	if (rc >= 0)
		rc = make_program(&g, true, &e);
	if (rc >= 0 && g.user)
		rc = enter_user(c, &e);
	if (rc >= 0 && !c->create_hooks)
		rc = find_program(&g, &e);
	if (rc < 0)
		fail(&e);
	send_report(REPORT_READY, NULL, -1);
	if (await_start(&g, c, &e) < 0)
		fail(&e);
	run(&g, true, &e);
}

/**
 * child_exec() - become one more process of a container; never returns
 * @p:   borrowed, the child's copy
 * @ctr: its first process is in what this one joins, borrowed
 */
void child_exec(const Podvm__Process *p, const struct container *ctr, const int std[3],
		int report)
{
	const int flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
			  CLONE_NEWCGROUP | (int)ctr->timens;
	struct program g = { .p = p, .user = ctr->user };
	struct err e = { 0 };
	int rc;

	rc = prepare(p, std, report, ctr->init->pidfd, &e);
	if (rc >= 0)
		rc = traits_cpus(p, false, &e);
	/* What fails here has ended meanwhile. */
	if (rc >= 0 && setns(PIDFD_FD, flags) < 0)
		rc = err_sys(&e, "container not running: setns");
	if (rc >= 0)
		rc = make_program(&g, false, &e);
	if (rc >= 0 && g.user && setns(PIDFD_FD, CLONE_NEWUSER) < 0)
		rc = err_sys(&e, "container not running: user namespace");
	if (rc >= 0 && g.user)
		rc = userns_root(&e);
	close(PIDFD_FD);
	if (rc >= 0)
		rc = find_program(&g, &e);
	if (rc >= 0)
		rc = traits_cpus(p, true, &e);
	if (rc < 0)
		fail(&e);
	run(&g, false, &e);
}

static char **env_of(const Podvm__Process *p)
{
	char **env = mem_new_n(char *, p->n_env + 1);

	if (env)
		memcpy(env, p->env, p->n_env * sizeof(*env));
	return env;
}

/**
 * child_shell() - become a process of the mini-OS itself; never returns
 * @p:       borrowed, the child's copy
 * @program: an ELF file that nobody has open for writing
 */
void child_shell(const Podvm__Process *p, int program, const int std[3], int report)
{
	struct err e = { 0 };
	char **argv = NULL, **env = NULL;
	int rc = prepare(p, std, report, program, &e);

	if (rc >= 0 && p->terminal)
		rc = make_terminal(p, false, 0, &e);
	if (rc >= 0)
		rc = enter_cwd(*p->cwd ? p->cwd : "/", &e);
	if (rc >= 0) {
		argv = mem_new_n(char *, p->n_args + 1);
		env = env_of(p);
		if (!argv || !env)
			rc = err_set(&e, ENOMEM, "out of memory");
	}
	if (rc < 0)
		fail(&e);
	memcpy(argv, p->args, p->n_args * sizeof(*argv));
	execveat(PIDFD_FD, "", argv, env, AT_EMPTY_PATH);
	err_sys(&e, "shell: exec");
	fail(&e);
}
