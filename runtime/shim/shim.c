// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A shim is the host process that stands for one process in the guest: its
 * pid is what engines see, its stdio is what the engine gave, its end is the
 * process's end. It holds one connection to the guest's agent that owns the
 * process (if the shim dies, the agent kills the process) and one per stream.
 *
 * Stages:
 *   1. join: agent connection, terminal, process attached or made; then it leaves the
 *      host's files for an empty root of its own, and opens the streams. Engines enter
 *      the mount namespace of a container's pid to reach its files by path (podman cp):
 *      they find nothing there, and not the host's files.
 *      Any failure is told to the command that waits on SHIM_READY_FD.
 *   2. serve: relays copy on threads; this thread passes signals and window
 *      sizes on and waits for the message that the process has ended.
 *   3. end: output is copied to its end (which the guest cannot put off, see relay.c);
 *      the supervisor lets go of a container when what
 *      it changed is on the host, and what the host lent to it is back; then exit as the
 *      process did.
 */
#include "runtime/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/emptyroot.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "runtime/pod.h"

/* Messages of the agent that are taken before signals get their turn. */
#define AGENT_ROUND 64

/* How long a stream of a process that has ended may stay silent without an end. */
#define OUTPUT_QUIET_MS 10000

/* Exit status when the machine is lost under the process. */
#define EXIT_LOST 255

struct shim {
	char *id, *exec_id;
	bool terminal;
	bool console;		/* the terminal goes to the engine over SHIM_CONSOLE_FD */
	struct agent agent;
	int tty;		/* our side of the terminal, -1 without one */
	struct shim_streams streams;
	int sigfd;
	int hold;		/* of the supervisor, for a container's init; owned; -1 */
	uint32_t settle_ms;	/* how long it may hold us */
	bool write_back;	/* until what the container changed is on the host */
	struct shim_oom oom;
	bool was_oom;
};

/* The agent's connection; and into the pod's network namespace and cgroup. */
static int join_pod(struct shim *s, struct err *e)
{
	Podvm__Pod__Agent ask = PODVM__POD__AGENT__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(agent = &ask, AGENT);
	_cleanup_close_ int netns = -1;
	Podvm__Pod__Response *rs;
	int fds[3], rc;

	ask.id = s->id;
	ask.shim_pid = (uint32_t)getpid();
	ask.hold = !*s->exec_id;
	rc = pod_call(SHIM_CONTROL_FD, &rq, fds, ask.hold ? 3 : 2, &rs, e);
	if (rc < 0)
		return rc;
	s->settle_ms = rs->settle_ms;
	s->write_back = rs->write_back;
	podvm__pod__response__free_unpacked(rs, NULL);
	s->hold = ask.hold ? fds[2] : -1;
	s->agent.fd = fds[0];
	netns = fds[1];
	/* Engines look at /proc/PID/ns/net of the container's pid. */
	if (setns(netns, CLONE_NEWNET) < 0)
		return err_sys(e, "pod's network namespace");
	return 0;
}

static int read_process(Podvm__Process **ret, struct err *e)
{
	_cleanup_free_ uint8_t *buf = NULL;
	struct stat st;

	if (fstat(SHIM_PROCESS_FD, &st) < 0)
		return err_sys(e, "process");
	buf = malloc((size_t)st.st_size + 1);
	if (!buf || pread(SHIM_PROCESS_FD, buf, (size_t)st.st_size, 0) != st.st_size)
		return err_sys(e, "process");
	*ret = podvm__process__unpack(NULL, (size_t)st.st_size, buf);
	return *ret ? 0 : err_set(e, EPROTO, "process does not parse");
}

static int attach(struct shim *s, struct err *e)
{
	Podvm__ProcessAttach a = PODVM__PROCESS_ATTACH__INIT;
	Podvm__Request rq = AGENT_REQUEST(process_attach = &a, PROCESS_ATTACH);

	a.id = s->id;
	a.exec_id = s->exec_id;
	return agent_call(&s->agent, &rq, SHIM_ANSWER_MS, NULL, e);
}

static int exec(struct shim *s, struct err *e)
{
	Podvm__ProcessExec x = PODVM__PROCESS_EXEC__INIT;
	Podvm__Request rq = AGENT_REQUEST(process_exec = &x, PROCESS_EXEC);
	int rc = read_process(&x.process, e);

	if (rc < 0)
		return rc;
	x.id = s->id;
	x.exec_id = s->exec_id;
	if (s->terminal && s->tty >= 0)
		terminal_size(s->tty, &x.process->rows, &x.process->columns);
	rc = agent_call(&s->agent, &rq, SHIM_ANSWER_MS, NULL, e);
	podvm__process__free_unpacked(x.process, NULL);
	return rc;
}

static int open_terminal(struct shim *s, struct err *e)
{
	if (!s->terminal)
		return 0;
	if (s->console)
		return terminal_to_engine(SHIM_CONSOLE_FD, &s->tty, e);
	if (!isatty(0))
		return err_set(e, EINVAL,
			       "/process/terminal: standard input is no terminal and no --console-socket is given");
	s->tty = 0;
	return 0;
}

static int join_streams(struct shim *s, struct err *e)
{
	if (!s->terminal)
		return shim_streams_join(SHIM_CONTROL_FD, s->id, s->exec_id, &s->streams, e);
	return shim_terminal_join(SHIM_CONTROL_FD, s->id, s->exec_id, s->tty, s->tty ? s->tty : 1, true,
				  &s->streams, e);
}

/*
 * Answered in order; serve() takes the answer. An agent that does not take the request has
 * got a part of it: nothing can follow.
 */
static void tell_agent(struct shim *s, const Podvm__Request *rq)
{
	struct err e;

	if (frame_send(s->agent.fd, &rq->base, SHIM_ANSWER_MS, &e) == -ETIMEDOUT)
		shutdown(s->agent.fd, SHUT_RDWR);
}

static void send_resize(struct shim *s)
{
	Podvm__ProcessResize r = PODVM__PROCESS_RESIZE__INIT;
	Podvm__Request rq = AGENT_REQUEST(process_resize = &r, PROCESS_RESIZE);

	r.id = s->id;
	r.exec_id = s->exec_id;
	if (s->tty < 0 || terminal_size(s->tty, &r.rows, &r.columns) < 0)
		return;
	tell_agent(s, &rq);
}

static void send_signal(struct shim *s, uint32_t sig)
{
	Podvm__ProcessSignal p = PODVM__PROCESS_SIGNAL__INIT;
	Podvm__Request rq = AGENT_REQUEST(process_signal = &p, PROCESS_SIGNAL);

	p.id = s->id;
	p.exec_id = s->exec_id;
	p.signal = sig;
	tell_agent(s, &rq);
}

static void on_signal(struct shim *s)
{
	struct signalfd_siginfo si;

	if (read(s->sigfd, &si, sizeof(si)) != sizeof(si))
		return;
	switch (si.ssi_signo) {
	case SIGWINCH:
		send_resize(s);
		break;
	case SIGCHLD:
	case SIGPIPE:
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
		break; /* about the shim, not about the process */
	default:
		send_signal(s, si.ssi_signo);
	}
}

static int leave_files(struct shim *s, struct err *e)
{
	if (!*s->exec_id)
		shim_oom_open(&s->oom);
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(e, "mount namespace");
	return emptyroot_enter(e);
}

static int join(struct shim *s, struct err *e)
{
	sigset_t all;
	int rc;

	/* Before any thread, so that they all block them. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	s->sigfd = signalfd(-1, &all, SFD_CLOEXEC);
	if (s->sigfd < 0)
		return err_sys(e, "signalfd");
	if ((rc = join_pod(s, e)) < 0 || (rc = open_terminal(s, e)) < 0 ||
	    (rc = *s->exec_id ? exec(s, e) : attach(s, e)) < 0)
		return rc;
	if (s->terminal)
		send_resize(s);
	rc = leave_files(s, e);
	return rc < 0 ? rc : join_streams(s, e);
}

/* Exits as the process did: with its status, or by its signal. */
__attribute__((noreturn)) static void exit_like(uint32_t code, uint32_t sig)
{
	struct rlimit no_core = { 0, 0 };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t one;

	if (!sig)
		_exit((int)(code & 255));
	setrlimit(RLIMIT_CORE, &no_core);
	prctl(PR_SET_DUMPABLE, 0);
	sigaction((int)sig, &dfl, NULL);
	sigemptyset(&one);
	sigaddset(&one, (int)sig);
	kill(getpid(), (int)sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + (int)(sig & 127)); /* a signal that ends nobody */
}

/* What is to be said where the supervisor has said nothing; @lost: NULL: the process ended. */
static void say_end(const struct shim *s, bool killed, const struct err *lost)
{
	if (killed && s->write_back)
		log_error("container %s: its pod's supervisor was killed: what it changed may be lost",
			  s->id);
	else if (lost)
		log_error("container %s: the machine is lost under its process: %s", s->id,
			  killed ? "its pod's supervisor was killed" : lost->text);
}

/*
 * The supervisor closes its end when the container is settled, and at its own end. One
 * that stands still must not hold the engine for ever.
 */
static void await_settled(struct shim *s, const struct err *lost)
{
	struct pollfd f = { .fd = s->hold, .events = POLLIN };
	char text[ERR_TEXT_BYTES + 256];
	ssize_t n;
	int rc;

	if (s->hold < 0) {
		say_end(s, false, lost);
		return;
	}
	while ((rc = poll(&f, 1, (int)s->settle_ms)) < 0 && errno == EINTR)
		;
	if (!rc) {
		log_error("container %s: %s in %u s: gave up waiting", s->id,
			  s->write_back ? "what it changed has not come back"
					: "its pod's supervisor has not let go of it",
			  s->settle_ms / 1000);
		return;
	}
	n = recv(s->hold, text, sizeof(text) - 1, 0);
	text[n < 0 ? 0 : n] = 0;
	if (text[0] == SHIM_SETTLED && text[1])
		log_error("container %s: %s", s->id, text + 1);
	else
		say_end(s, text[0] != SHIM_SETTLED, lost);
}

/* The signal that a process has ended by, as the guest tells; guest data. */
static uint32_t end_signal(uint32_t sig)
{
	switch (sig) {
	case SIGSTOP: /* nobody ends by these, and we would stop */
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		return SIGKILL;
	default:
		return sig < NSIG ? sig : SIGKILL;
	}
}

/*
 * What the agent says, up to a bound: one that floods must not keep signals waiting.
 * Return: 1 the process has ended; 0; minus errno: the machine is lost
 */
static int on_agent(struct shim *s, uint32_t *ret_code, uint32_t *ret_sig, struct err *e)
{
	int rc = 0, left = AGENT_ROUND;
	Podvm__Response *rs;
	bool ended = false;

	while (!ended && left-- && (rc = agent_take(&s->agent, &rs, e)) == 1) {
		ended = rs->body_case == PODVM__RESPONSE__BODY_EXITED;
		if (ended) {
			*ret_code = rs->exited->code;
			*ret_sig = end_signal(rs->exited->signal);
			s->was_oom = rs->exited->oom;
		}
		podvm__response__free_unpacked(rs, NULL);
	}
	return rc < 0 ? rc : ended;
}

__attribute__((noreturn)) static void serve(struct shim *s)
{
	struct pollfd f[2] = { { .fd = s->agent.fd, .events = POLLIN },
			       { .fd = s->sigfd, .events = POLLIN } };
	uint32_t code = EXIT_LOST, sig = 0;
	struct err e = { 0 };
	int rc = 0;

	while (!rc) {
		if (poll(f, 2, -1) < 0 && errno != EINTR)
			break;
		if (f[1].revents)
			on_signal(s);
		if (f[0].revents)
			rc = on_agent(s, &code, &sig, &e);
	}
	/* Without the machine there is no more output than what has arrived. */
	relay_finish(s->streams.relay_out, OUTPUT_QUIET_MS);
	relay_finish(s->streams.relay_err, OUTPUT_QUIET_MS);
	if (s->was_oom)
		shim_oom_tell(&s->oom);
	await_settled(s, rc < 0 ? &e : NULL);
	exit_like(code, sig);
}

/**
 * shim_main() - the shim's process; started by shim_spawn() only
 * @argv: "shim", container id, exec id (may be empty), then "pipes", "terminal"
 *        (our standard input is one) or "console" (SHIM_CONSOLE_FD gets it), then the
 *        format of SHIM_LOG_FD: "silent" (there is none), "text" or "json"
 *
 * Return: exit status of a shim that could not begin
 */
int shim_main(int argc, char **argv)
{
	struct shim s = { .agent = { .fd = -1 }, .tty = -1, .streams = SHIM_STREAMS_NONE,
			  .sigfd = -1, .hold = -1, .oom = { -1, -1, -1 } };
	struct err e = { 0 };
	int rc;

	if (argc != 5 || fcntl(SHIM_CONTROL_FD, F_GETFD) < 0)
		return 2;
	/* What engines and ps(1) show of it: else the "exe" of /proc/self/exe. */
	prctl(PR_SET_NAME, "podvm-shim", 0, 0, 0);
	log_open(strcmp(argv[4], "silent") ? SHIM_LOG_FD : -1, LOG_LEVEL_WARN,
		 !strcmp(argv[4], "json"));
	s.id = argv[1];
	s.exec_id = argv[2];
	s.console = !strcmp(argv[3], "console");
	s.terminal = s.console || !strcmp(argv[3], "terminal");
	rc = join(&s, &e);
	if (rc < 0) {
		pod_say_ready(SHIM_READY_FD, &e);
		return 1;
	}
	close(SHIM_CONTROL_FD);
	pod_say_ready(SHIM_READY_FD, NULL);
	serve(&s);
}
