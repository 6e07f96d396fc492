// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A task is one process that the host asked for. States:
 * - SETUP: the child prepares itself; it must not run anything of the image;
 * - READY: a container's first process that waits for its start;
 * - HOOKS: it runs hooks, and is READY again behind them;
 * - STARTING: told to start, its exec not seen yet;
 * - RUNNING: the report socket closed by its exec;
 * - ENDED: reaped; output may still be on its way.
 * The owner (a connection) is told `exited` once, when the output that has a
 * connection is delivered. When the owner goes first, the process is killed:
 * a container's first process with all that is in the container.
 *
 * pids are the agent's own children, so a pid stays that process's until the
 * agent reaps it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"

static const struct {
	uint64_t clone;
	Podvm__Namespace__Type type;
} ns_flags[] = {
	{ CLONE_NEWPID, PODVM__NAMESPACE__TYPE__PID },
	{ CLONE_NEWIPC, PODVM__NAMESPACE__TYPE__IPC },
	{ CLONE_NEWUTS, PODVM__NAMESPACE__TYPE__UTS },
	{ CLONE_NEWNET, PODVM__NAMESPACE__TYPE__NETWORK },
};

/* A namespace that is not named is the pod's own; the mount namespace is always new. */
static uint64_t clone_flags(const Podvm__ContainerCreate *c)
{
	uint64_t flags = CLONE_NEWNS;
	size_t i, k;

	for (i = 0; i < c->n_namespaces; i++)
		for (k = 0; k < ARRAY_LEN(ns_flags); k++)
			if (c->namespaces[i]->type == ns_flags[k].type &&
			    !c->namespaces[i]->shared)
				flags |= ns_flags[k].clone;
	return flags;
}

static long clone_into(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD | (cgroup_fd < 0 ? 0 : CLONE_INTO_CGROUP),
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup_fd,
	};

	return syscall(SYS_clone3, &args, sizeof(args));
}

/* Ends of the child; the agent's are in the task. */
struct ends {
	int std[3];
	int report;
};

static void ends_close(struct ends *x)
{
	int i;

	for (i = 0; i < 3; i++)
		fd_close(&x->std[i]);
	fd_close(&x->report);
}

static int set_nonblock(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "fcntl");
	return 0;
}

static int make_ends(struct task *t, struct ends *x, struct err *e)
{
	int p[2], i, rc = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) < 0)
		return err_sys(e, "socketpair");
	t->report = p[0];
	x->report = p[1];
	rc = set_nonblock(t->report, e);
	for (i = 0; rc >= 0 && !t->terminal && i < 3; i++) {
		if (pipe2(p, O_CLOEXEC) < 0)
			return err_sys(e, "pipe");
		t->fd[i] = p[i ? 0 : 1];
		x->std[i] = p[i ? 1 : 0];
		rc = set_nonblock(t->fd[i], e);
	}
	return rc;
}

static void tell_exited(struct task *t)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;
	enum stream_kind k;

	if (!t->owner || t->told || t->state != TASK_ENDED)
		return;
	for (k = 0; k < STREAM_KINDS; k++)
		if (!stream_delivered(t->stream[k]))
			return;
	x.id = t->ctr->id;
	x.exec_id = t->exec_id;
	x.code = t->code;
	x.signal = t->sig;
	x.oom = t->oom;
	r.body_case = PODVM__RESPONSE__BODY_EXITED;
	r.exited = &x;
	t->told = true;
	conn_send(t->owner, &r);
}

/**
 * task_output_done() - a stream has delivered all, or is gone
 */
void task_output_done(struct task *t)
{
	tell_exited(t);
}

/**
 * task_own() - @c owns the process from now on
 */
void task_own(struct task *t, struct conn *c)
{
	t->owner = c;
	c->owner = t;
	tell_exited(t);
}

static void unlink_exec(struct task *t)
{
	struct task **p;

	for (p = &t->ctr->execs; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			return;
		}
}

/* An exec that nobody can ask for any more. */
static void forget_exec(struct task *t)
{
	if (!*t->exec_id || t->pid || t->owner)
		return;
	unlink_exec(t);
	task_free(t);
}

/**
 * task_owner_lost() - the owning connection is gone
 */
void task_owner_lost(struct task *t)
{
	struct err e;

	t->owner = NULL;
	if (t->state == TASK_ENDED) {
		forget_exec(t);
		return;
	}
	if (*t->exec_id)
		kill(t->pid, SIGKILL);
	else if (cgroup_kill(t->ctr->cgroup_fd, &e) < 0)
		log_error("agent: container %s: kill: %s", t->ctr->id, e.text);
}

static void report_closed(struct task *t)
{
	loop_del(t->report_src);
	t->report_src = NULL;
	fd_close(&t->report);
}

/* The child could not become its program. */
static void failed(struct task *t, const struct err *why)
{
	struct conn *c = t->pending;
	struct err e = *why;

	report_closed(t);
	t->pending = NULL;
	if (!*t->exec_id && t->state == TASK_SETUP) {
		container_undo(t->ctr, c, &e);
		return;
	}
	conn_answer(c, &e);
}

/* The socket has closed without a failure. */
static void execed(struct task *t)
{
	struct conn *c = t->pending;
	struct err e;

	if (t->state == TASK_READY || t->state == TASK_HOOKS ||
	    (t->state == TASK_SETUP && !*t->exec_id)) {
		err_set(&e, ECANCELED, "container %s: its first process was killed", t->ctr->id);
		failed(t, &e);
		return;
	}
	report_closed(t);
	t->state = TASK_RUNNING;
	t->pending = NULL;
	conn_answer(c, NULL);
	if (*t->exec_id && c)
		task_own(t, c);
}

/* Takes one report; false when there is none (now, or for ever). */
static bool take_report(struct task *t)
{
	struct report r;
	struct err e;
	size_t n_fds = 0;
	ssize_t n;
	int fd = -1;

	n = fd_recv(t->report, &r, sizeof(r), &fd, 1, &n_fds, &e);
	if (n == -EAGAIN)
		return false;
	if (n != sizeof(r)) {
		execed(t);
		return false;
	}
	r.text[sizeof(r.text) - 1] = 0;
	if (r.kind == REPORT_TTY && n_fds && t->fd[STREAM_TTY] < 0 &&
	    set_nonblock(fd, &e) >= 0) {
		t->fd[STREAM_TTY] = fd;
		return true;
	}
	if (r.kind == REPORT_UPPER && n_fds && !*t->exec_id && t->state == TASK_SETUP &&
	    t->ctr->upper < 0) {
		t->ctr->upper = fd;
		return true;
	}
	fd_close(&fd);
	if (r.kind == REPORT_DONE && t->state == TASK_HOOKS) {
		struct conn *c = t->pending;

		t->state = TASK_READY;
		t->pending = NULL;
		conn_answer(c, NULL);
		return true;
	}
	if (r.kind == REPORT_USER && t->state == TASK_SETUP && t->ctr->user) {
		char order = ORDER_MAPPED;

		if (userns_write(t->pid, t->ctr->user, &e) < 0) {
			failed(t, &e);
			return false;
		}
		/* Whether it is there to hear it tells its next report, or its end. */
		send(t->report, &order, 1, MSG_NOSIGNAL);
		return true;
	}
	if (r.kind == REPORT_FAILED) {
		err_set(&e, r.code > 0 ? r.code : EIO, "%s", r.text);
		failed(t, &e);
		return false;
	}
	if (r.kind == REPORT_READY && t->state == TASK_SETUP) {
		struct conn *c = t->pending;

		if (devfilter_attach(t->ctr->cgroup_fd, t->ctr->devfilter, &e) < 0) {
			failed(t, &e);
			return false;
		}
		fd_close(&t->ctr->devfilter);
		t->state = TASK_READY;
		t->pending = NULL;
		conn_answer(c, NULL);
	}
	return true;
}

static void on_report(void *arg, uint32_t events)
{
	(void)events;
	while (take_report(arg))
		;
}

static struct task *task_new(struct container *ctr, const char *exec_id, bool terminal)
{
	struct task *t = mem_new(struct task);
	enum stream_kind k;

	if (!t)
		return NULL;
	t->ctr = ctr;
	snprintf(t->exec_id, sizeof(t->exec_id), "%s", exec_id);
	t->terminal = terminal;
	t->pidfd = t->report = -1;
	for (k = 0; k < STREAM_KINDS; k++)
		t->fd[k] = -1;
	return t;
}

/* Children of the agent are born in that pid namespace; -1: in its own. */
static int aim_pidns(const struct agent *a, int target, struct err *e)
{
	if (setns(target < 0 ? a->pidns_fd : target, CLONE_NEWPID) < 0)
		return err_sys(e, "pid namespace");
	return 0;
}

/*
 * Whose pid namespace a container is born in: that of one other, the pod's, or with -1 the
 * agent's, in which it gets a new one.
 */
static int pidns_of(struct agent *a, const Podvm__ContainerCreate *m, int *ret, struct err *e)
{
	size_t i;

	*ret = clone_flags(m) & CLONE_NEWPID ? -1 : a->pause_pidfd;
	for (i = 0; i < m->n_namespaces; i++) {
		const Podvm__Namespace *n = m->namespaces[i];
		struct task *t;

		if (n->type != PODVM__NAMESPACE__TYPE__PID || !n->shared || !*n->of)
			continue;
		t = task_find(a, n->of, "", e);
		if (!t)
			return -ESRCH;
		if (t->pidfd < 0)
			return err_set(e, ESRCH, "container %s is not running", n->of);
		*ret = t->pidfd;
	}
	return 0;
}

static int spawn(struct task *t, const Podvm__ContainerCreate *create,
		 const Podvm__ProcessExec *exec, struct ends *x, struct err *e)
{
	struct agent *a = t->ctr->agent;
	uint64_t flags = create ? clone_flags(create) : 0;
	int target = exec ? t->ctr->init->pidfd : -1;
	int rc = create ? pidns_of(a, create, &target, e) : 0, back = -1;
	long pid;

	if (rc < 0)
		return rc;
	rc = aim_pidns(a, target, e);
	if (rc < 0)
		return exec ? err_set(e, ESRCH, "container not running") : rc;
	rc = create ? timens_begin(create, &back, e) : 0;
	pid = rc < 0 ? rc : clone_into(flags, t->ctr->cgroup_fd, &t->pidfd);
	if (!pid) {
		if (create)
			child_container(create, x->std, x->report);
		child_exec(exec->process, t->ctr, x->std, x->report);
	}
	if (pid < 0 && rc >= 0)
		rc = err_sys(e, "clone3");
	else if (pid >= 0)
		t->pid = (pid_t)pid;
	if (timens_end(back, pid < 0 ? NULL : e) < 0)
		log_error("agent: cannot get back to the time namespace");
	if (aim_pidns(a, -1, pid < 0 ? NULL : e) < 0)
		log_error("agent: cannot get back to the pid namespace");
	return rc;
}

static int spawn_shell(struct task *t, const Podvm__Process *p, int program,
		       struct ends *x, struct err *e)
{
	long pid = clone_into(0, -1, &t->pidfd);

	if (!pid)
		child_shell(p, program, x->std, x->report);
	if (pid < 0)
		return err_sys(e, "clone3");
	t->pid = (pid_t)pid;
	return 0;
}

/* Ends of a new task, and who hears of it. */
static int begin(struct task *t, struct ends *x, struct err *e)
{
	int rc = make_ends(t, x, e);

	if (rc >= 0)
		rc = loop_add(t->ctr->agent->loop, t->report, EPOLLIN, on_report, t,
			      &t->report_src, e);
	return rc;
}

/* The child has its ends now, or with @rc there is none. */
static int born(struct task *t, struct ends *x, int rc, struct task **ret)
{
	ends_close(x);
	if (rc < 0)
		task_free(t);
	else
		*ret = t;
	return rc < 0 ? rc : 0;
}

/**
 * task_shell() - start a child that is in no container
 * @ctr:     whose deletion ends it
 * @p:       borrowed
 * @program: that it runs, borrowed
 * @ret:     as task_spawn()
 *
 * Return: 0 or minus errno
 */
int task_shell(struct container *ctr, const char *exec_id, const Podvm__Process *p,
	       int program, struct task **ret, struct err *e)
{
	struct ends x = { { -1, -1, -1 }, -1 };
	struct task *t = task_new(ctr, exec_id, p->terminal);
	int rc;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	t->shell = true;
	rc = begin(t, &x, e);
	if (rc >= 0)
		rc = spawn_shell(t, p, program, &x, e);
	return born(t, &x, rc, ret);
}

/**
 * task_spawn() - start a child in a container
 * @exec_id: empty for the first process
 * @create:  for the first process, else NULL; borrowed
 * @exec:    for an exec, else NULL; borrowed
 * @ret:     owned by the caller; its report will answer @ret->pending
 *
 * Return: 0 or minus errno
 */
int task_spawn(struct container *ctr, const char *exec_id,
	       const Podvm__ContainerCreate *create,
	       const Podvm__ProcessExec *exec, struct task **ret, struct err *e)
{
	const Podvm__Process *p = create ? create->process : exec->process;
	struct ends x = { { -1, -1, -1 }, -1 };
	struct task *t = task_new(ctr, exec_id, p->terminal);
	int rc;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	rc = begin(t, &x, e);
	if (rc >= 0)
		rc = spawn(t, create, exec, &x, e);
	return born(t, &x, rc, ret);
}

/**
 * task_free() - free a task that has been reaped, or was never born; NULL is fine
 */
void task_free(struct task *t)
{
	enum stream_kind k;

	if (!t)
		return;
	report_closed(t);
	for (k = 0; k < STREAM_KINDS; k++) {
		stream_free(t->stream[k]);
		fd_close(&t->fd[k]);
	}
	fd_close(&t->pidfd);
	if (t->owner)
		t->owner->owner = NULL;
	free(t);
}

static void tell_init_ended(const struct task *t)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;
	struct agent *a = t->ctr->agent;

	if (!a->main)
		return;
	x.id = t->ctr->id;
	x.code = t->code;
	x.signal = t->sig;
	x.oom = t->oom;
	r.body_case = PODVM__RESPONSE__BODY_EVENT;
	r.event = &x;
	conn_send(a->main, &r);
}

/**
 * task_reaped() - the process has ended
 * @t:      freed here when it is an exec that nobody owns
 * @status: of waitpid(2)
 */
void task_reaped(struct task *t, int status)
{
	bool created;
	enum stream_kind k;
	struct err e;

	t->pid = 0;
	/* What the child told before its end comes first. */
	while (t->report >= 0 && take_report(t))
		;
	if (t->report >= 0)
		execed(t);
	created = t->state != TASK_SETUP;
	t->state = TASK_ENDED;
	t->code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0;
	t->sig = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
	if (t->kill_sig && t->sig == SIGKILL)
		t->sig = t->kill_sig;
	t->oom = cgroup_oom_kills(t->ctr->cgroup_fd) != 0;
	if (!*t->exec_id) {
		if (cgroup_kill(t->ctr->cgroup_fd, &e) < 0)
			log_error("agent: container %s: kill: %s", t->ctr->id, e.text);
		if (created)
			tell_init_ended(t);
	}
	for (k = 0; k < STREAM_KINDS; k++)
		if (t->stream[k])
			stream_drain(t->stream[k]);
	tell_exited(t);
	forget_exec(t);
}

static int tell_order(struct task *t, char order, enum task_state next, struct err *e)
{
	if (t->state != TASK_READY)
		return err_set(e, EINVAL, t->state == TASK_ENDED ? "container %s has ended" :
			       t->state == TASK_HOOKS ? "container %s: its hooks are running" :
			       "container %s has been started already", t->ctr->id);
	if (send(t->report, &order, 1, MSG_NOSIGNAL) != 1)
		return err_set(e, ESRCH, "container not running");
	t->state = next;
	return 0;
}

/**
 * task_start() - let a ready first process go on
 *
 * Return: 0: its report will answer @t->pending; minus errno
 */
int task_start(struct task *t, struct err *e)
{
	return tell_order(t, ORDER_START, TASK_STARTING, e);
}

/**
 * task_hooks() - have a ready first process run hooks
 * @start: those of the start, else those of the creation
 *
 * Return: 0: its report will answer @t->pending; minus errno
 */
int task_hooks(struct task *t, bool start, struct err *e)
{
	return tell_order(t, start ? ORDER_START_HOOKS : ORDER_CREATE_HOOKS, TASK_HOOKS, e);
}

static bool ends_by_default(int sig)
{
	static const int harmless[] = { 0, SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP,
					SIGTSTP, SIGTTIN, SIGTTOU };
	size_t i;

	for (i = 0; i < ARRAY_LEN(harmless); i++)
		if (sig == harmless[i])
			return false;
	return true;
}

static int signal_all(struct container *ctr, int sig, struct err *e)
{
	_cleanup_free_ uint32_t *pids = NULL;
	size_t n, i;
	int rc;

	if (sig == SIGKILL)
		return cgroup_kill(ctr->cgroup_fd, e);
	rc = cgroup_pids(ctr->cgroup_fd, &pids, &n, e);
	if (rc < 0)
		return rc;
	for (i = 0; i < n; i++)
		if (pids[i])
			kill((pid_t)pids[i], sig);
	return 0;
}

/**
 * task_signal() - send a signal
 * @sig: 0 only asks whether the process is there
 * @all: every process of the container
 *
 * The kernel drops most signals to the first process of a pid namespace that
 * has no handler for them; before its start it has none. A signal that ends a
 * process then ends it all the same, and is what it is said to have died of.
 *
 * Return: 0; -ESRCH when it has ended; minus errno
 */
int task_signal(struct task *t, int sig, bool all, struct err *e)
{
	if (t->state == TASK_ENDED || !t->pid) {
		if (all && cgroup_populated(t->ctr->cgroup_fd))
			return signal_all(t->ctr, sig, e);
		return err_set(e, ESRCH, *t->exec_id ? "no such process"
						     : "container not running");
	}
	if (!*t->exec_id && t->state < TASK_STARTING && ends_by_default(sig)) {
		t->kill_sig = (uint32_t)sig;
		sig = SIGKILL;
	} else if (all) {
		return signal_all(t->ctr, sig, e);
	}
	if (kill(t->pid, sig) < 0)
		return err_sys(e, "signal %d", sig);
	return 0;
}

/**
 * task_resize() - set the terminal's size
 *
 * Return: 0; -ENOTTY without a terminal; minus errno
 */
int task_resize(struct task *t, uint32_t rows, uint32_t columns, struct err *e)
{
	struct winsize size = { .ws_row = (unsigned short)rows,
				.ws_col = (unsigned short)columns };

	if (t->fd[STREAM_TTY] < 0)
		return err_set(e, ENOTTY, "the process has no terminal");
	if (ioctl(t->fd[STREAM_TTY], TIOCSWINSZ, &size) < 0)
		return err_sys(e, "terminal: size");
	return 0;
}

__attribute__((noreturn)) static void pause_process(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN, .sa_flags = SA_NOCLDWAIT };
	sigset_t none;

	/* Named for people; its children are reaped by the kernel. */
	prctl(PR_SET_NAME, "pause", 0, 0, 0);
	sigaction(SIGCHLD, &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setsid();
	syscall(SYS_close_range, 0, ~0u, 0);
	for (;;)
		pause();
}

/**
 * task_pause() - have the pod's shared pid namespace; its first process only reaps
 *
 * Return: 0 or minus errno
 */
int task_pause(struct agent *a, struct err *e)
{
	int pidfd = -1;
	long pid;

	if (a->pause_pidfd >= 0)
		return 0;
	pid = clone_into(CLONE_NEWPID, -1, &pidfd);
	if (!pid)
		pause_process();
	if (pid < 0)
		return err_sys(e, "pod's pid namespace");
	a->pause_pid = (pid_t)pid;
	a->pause_pidfd = pidfd;
	return 0;
}
