// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A shell in the guest, beside the containers: with all privileges there, among all of the
 * pod's processes, for who looks for a fault. The mini-OS has no program but the agent,
 * so a static one of the host's (busybox) goes over in parts and is executed from
 * memory. It is off unless the configuration ("debugShell") or an annotation of the pod
 * allows it, and each one is in the supervisor's log; see README.md, "Security".
 *
 * Steps: which container it goes with; whether it may; the program; the process, owned
 * by our connection, so that it ends with us; its streams, or a terminal. What comes
 * back is guest data: bytes for our output, and a status.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/progress.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "runtime/config.h"
#include "runtime/gather.h"
#include "runtime/shim/shim.h"

#define PROGRAM "/bin/busybox"

/* The agent takes no more; parts leave room in a frame (lib/frame.h). */
#define PROGRAM_MAX_BYTES (16u << 20)
#define PART_BYTES (512u << 10)

/* What a process that has ended may still have on its way to us. */
#define QUIET_MS 2000

struct shell {
	const char *program;
	char *id;		/* container that it goes with, owned */
	char exec_id[48];
	bool terminal;
	int control;		/* connection to the supervisor, owned */
	struct agent agent;	/* owns the process */
	struct shim_streams streams;
};

/* ---- whether it may --------------------------------------------------------------- */

static bool annotated(const struct state *s)
{
	struct json_doc *doc;
	struct jnode root;
	const char *v = NULL;
	bool on;

	if (!s->annotations || json_parse(s->annotations, strlen(s->annotations), &doc, NULL) < 0)
		return false;
	root = json_root(doc);
	on = json_str(&root, SPEC_DEBUG_SHELL, &v, NULL) == 1 && !strcmp(v, "on");
	json_free(doc);
	return on;
}

static int may(struct cli *c, const Podvm__Pod__Info *info, const char *pod, struct err *e)
{
	struct config config;
	bool on = false;
	size_t i;
	int rc = config_load(&config, e);

	if (rc < 0 || config.debug_shell == CONFIG_SHELL_ON)
		return rc;
	for (i = 0; config.debug_shell == CONFIG_SHELL_ANNOTATION && i < info->n_containers && !on; i++) {
		struct state *s;

		if (state_load(c->rootfd, info->containers[i]->id, &s, NULL) < 0)
			continue;
		on = annotated(s);
		state_free(s);
	}
	if (on)
		return 0;
	return err_set(e, EPERM, config.debug_shell == CONFIG_SHELL_OFF ?
		       "pod %s: the configuration forbids shells in guests (debugShell)" :
		       "pod %s: no shell in its guest: neither the setting debugShell nor the annotation " SPEC_DEBUG_SHELL " is \"on\"", pod);
}

/* The container that was named, or the pod's first one. */
static int choose(struct cli *c, const char *word, const char *pod, char **ret, struct err *e)
{
	struct gather g = { .v = NULL };
	const Podvm__Pod__Info *info;
	size_t i, at = 0;
	int rc = gather_pod(&g, pod, e);

	if (rc < 0)
		return rc;
	gather_ask(c->rootfd, &g, 0, GATHER_MS);
	info = g.v->info ? g.v->info->info : NULL;
	if (!info)
		rc = err_set(e, g.v->why.code, "%s", g.v->why.text);
	else if (!info->n_containers)
		rc = err_set(e, ESRCH, "pod %s has no container", pod);
	else
		rc = may(c, info, pod, e);
	for (i = 0; !rc && i < info->n_containers; i++)
		if (!strcmp(info->containers[i]->id, word))
			at = i;
	if (!rc && !(*ret = strdup(info->containers[at]->id)))
		rc = err_set(e, ENOMEM, "out of memory");
	gather_done(&g);
	return rc;
}

/* ---- its program -------------------------------------------------------------------- */

/* A program that wants an interpreter would find none. */
static int check_static(const char *data, size_t len, const char *path, struct err *e)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;
	size_t i;

	if (len < sizeof(h) || memcmp(data, ELFMAG, SELFMAG) || data[EI_CLASS] != ELFCLASS64)
		return err_set(e, ENOEXEC, "--program %s: not a program for x86-64", path);
	memcpy(&h, data, sizeof(h));
	if (h.e_machine != EM_X86_64 || h.e_phentsize != sizeof(p) || h.e_phoff > len ||
	    h.e_phnum * sizeof(p) > len - h.e_phoff)
		return err_set(e, ENOEXEC, "--program %s: not a program for x86-64", path);
	for (i = 0; i < h.e_phnum; i++) {
		memcpy(&p, data + h.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type == PT_INTERP)
			return err_set(e, ENOEXEC, "--program %s: needs libraries, which the guest does not have; give a static one", path);
	}
	return 0;
}

static int send_part(struct shell *s, const char *data, size_t len, struct err *e)
{
	Podvm__ShellOpen m = PODVM__SHELL_OPEN__INIT;
	Podvm__Request rq = AGENT_REQUEST(shell_open = &m, SHELL_OPEN);

	m.id = s->id;
	m.exec_id = s->exec_id;
	m.program.data = (uint8_t *)(uintptr_t)data;
	m.program.len = len;
	return agent_call(&s->agent, &rq, SHIM_ANSWER_MS, NULL, e);
}

static int send_program(struct shell *s, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	size_t len, at;
	int rc = file_read(AT_FDCWD, s->program, PROGRAM_MAX_BYTES, &data, &len, e);

	if (rc == -ENOENT)
		return err_set(e, ENOENT, "%s: install busybox-static, or name another static shell with --program", s->program);
	if (rc < 0)
		return err_wrap(e, "--program");
	rc = check_static(data, len, s->program, e);
	for (at = 0; !rc && at < len; at += PART_BYTES)
		rc = send_part(s, data + at, len - at < PART_BYTES ? len - at : PART_BYTES, e);
	return rc;
}

/* ---- its process --------------------------------------------------------------------- */

static int start(struct shell *s, char **args, size_t n, struct err *e)
{
	Podvm__ShellOpen m = PODVM__SHELL_OPEN__INIT;
	Podvm__Process p = PODVM__PROCESS__INIT;
	Podvm__Request rq = AGENT_REQUEST(shell_open = &m, SHELL_OPEN);
	const char *term = getenv("TERM");
	char text[80], sh[] = "sh", *shell[] = { sh };
	char *env[] = { strdupa("PATH=/"), strdupa("HOME=/"), strdupa("PS1=guest:\\w# "), text };

	snprintf(text, sizeof(text), "TERM=%.70s", term ? term : "linux");
	m.id = s->id;
	m.exec_id = s->exec_id;
	m.process = &p;
	p.args = n ? args : shell;
	p.n_args = n ? n : 1;
	p.env = env;
	p.n_env = ARRAY_LEN(env);
	p.terminal = s->terminal;
	if (s->terminal)
		terminal_size(0, &p.rows, &p.columns);
	return agent_call(&s->agent, &rq, SHIM_ANSWER_MS, NULL, e);
}

static int join_streams(struct shell *s, struct err *e)
{
	if (!s->terminal)
		return shim_streams_join(s->control, s->id, s->exec_id, &s->streams, e);
	return shim_terminal_join(s->control, s->id, s->exec_id, 0, 1, false, &s->streams, e);
}

static void resize(struct shell *s)
{
	Podvm__ProcessResize m = PODVM__PROCESS_RESIZE__INIT;
	Podvm__Request rq = AGENT_REQUEST(process_resize = &m, PROCESS_RESIZE);

	m.id = s->id;
	m.exec_id = s->exec_id;
	if (!terminal_size(0, &m.rows, &m.columns))
		frame_send(s->agent.fd, &rq.base, SHIM_ANSWER_MS, NULL);
}

/* Return: exit status of the process; 128 + signal; minus errno when the guest has gone */
static int await(struct shell *s, int sigfd, struct err *e)
{
	struct pollfd f[2] = { { .fd = s->agent.fd, .events = POLLIN },
			       { .fd = sigfd, .events = POLLIN } };
	struct signalfd_siginfo si;
	Podvm__Response *rs;
	int rc, status = -1;

	for (;;) {
		if (poll(f, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (f[1].revents && read(sigfd, &si, sizeof(si)) == sizeof(si)) {
			if (si.ssi_signo != SIGWINCH)
				return 128 + (int)si.ssi_signo;
			resize(s);
		}
		while (f[0].revents && status < 0 && (rc = agent_take(&s->agent, &rs, e)) != 0) {
			if (rc < 0)
				return rc;
			if (rs->body_case == PODVM__RESPONSE__BODY_EXITED)
				status = rs->exited->signal ? 128 + (int)(rs->exited->signal & 127) :
							      (int)(rs->exited->code & 255);
			podvm__response__free_unpacked(rs, NULL);
		}
		if (status >= 0)
			return status;
	}
}

/* With the terminal raw for the while, and put back however it ends. */
static int serve(struct shell *s, struct err *e)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH };
	_cleanup_close_ int sigfd = signals_new(ends, ARRAY_LEN(ends), e);
	struct termios saved;
	bool raw = s->terminal && !tcgetattr(0, &saved);
	int rc = sigfd < 0 ? sigfd : join_streams(s, e);

	if (rc < 0)
		return rc;
	if (raw)
		terminal_raw(0);
	rc = await(s, sigfd, e);
	if (rc >= 0 && rc < 128) {
		relay_finish(s->streams.relay_out, QUIET_MS);
		relay_finish(s->streams.relay_err, QUIET_MS);
	}
	if (raw)
		tcsetattr(0, TCSANOW, &saved);
	return rc;
}

static int ask_shell(struct shell *s, char **args, size_t n, struct err *e)
{
	Podvm__Pod__Shell m = PODVM__POD__SHELL__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(shell = &m, SHELL);
	struct strbuf text = { .text = NULL };
	size_t i;
	int rc;

	strbuf_add(&text, "by process %d of user %u:", getppid(), getuid());
	for (i = 0; i < n; i++)
		strbuf_add(&text, " %.100s", args[i]);
	if (!n)
		strbuf_add(&text, " sh");
	if (text.failed)
		return err_set(e, ENOMEM, "out of memory");
	m.id = s->id;
	m.command = text.text;
	rc = pod_call(s->control, &rq, &s->agent.fd, 1, NULL, e);
	strbuf_done(&text);
	return rc;
}

static int open_shell(struct cli *c, struct shell *s, const char *pod, char **args, size_t n,
		      struct err *e)
{
	struct progress_wait *w = progress_wait("opening a shell in the guest");
	int rc = pod_connect(c->rootfd, pod, &s->control, e);

	snprintf(s->exec_id, sizeof(s->exec_id), "shell-%d-%llx", getpid(),
		 (unsigned long long)clock_ms());
	if (rc < 0)
		rc = err_set(e, ESRCH, "pod %s has ended", pod);
	if (!rc)
		rc = ask_shell(s, args, n, e);
	if (!rc)
		rc = send_program(s, e);
	if (!rc)
		rc = start(s, args, n, e);
	progress_wait_end(w);
	return rc;
}

static int run(struct cli *c, struct shell *s, const char *pod, char **args, size_t n, struct err *e)
{
	int rc = open_shell(c, s, pod, args, n, e);

	return rc < 0 ? rc : serve(s, e);
}

/**
 * cmd_pod_shell() - podvm pod shell
 *
 * Exits as the process did.
 */
int cmd_pod_shell(struct cli *c, int argc, char **argv, struct err *e)
{
	struct shell s = { .program = PROGRAM, .control = -1, .agent = { .fd = -1 },
			   .streams = SHIM_STREAMS_NONE };
	bool tty = false;
	const struct opt t[] = {
		OPT_STR('p', "program", &s.program, "FILE", "static program of the host that is run (" PROGRAM ")"),
		OPT_FLAG('t', "tty", &tty, "give it a terminal, also where standard input is none"),
		OPT_END
	};
	char pod[STATE_ID_BYTES];
	int first, rc = cli_args(t, argc, argv, 1, -1, &first, e);

	if (rc <= 0)
		return rc;
	s.terminal = tty || (isatty(0) && isatty(1));
	rc = pod_of(c->rootfd, argv[first], pod, e);
	if (!rc)
		rc = choose(c, argv[first], pod, &s.id, e);
	if (!rc)
		rc = run(c, &s, pod, argv + first + 1, (size_t)(argc - first - 1), e);
	agent_done(&s.agent);
	fd_close(&s.control);
	free(s.id);
	return rc;
}
