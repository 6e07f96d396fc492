// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Stays with a machine that alone.c has started: what the guest prints goes to
 * standard output, what comes from standard input goes to its console (a terminal
 * gives every key at once, and the guest echoes), until the guest or the person
 * ends it.
 *
 *   SIGINT, SIGTERM, SIGHUP   stop the machine at once
 *   SIGUSR1                   write the metrics
 *
 * When the guest has ended, its last output is taken from the socket, the metrics
 * are written, and the terminal is as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/loop.h"
#include "vmm/alone.h"

#define CALL_MS 10000
#define PIECE_BYTES 4096

/**
 * struct watch - a machine that runs
 * @console:  our end of its console, borrowed; -1 for none
 * @console_src, @in: of the console and of standard input; NULL when they are over,
 *            and @in also while @held waits, or for a file
 * @file:     standard input is a file: it is never waited for
 * @held, @n: input that the console did not take yet
 * @rc:       exit status, or minus errno with @e
 * @terminal: @before is what standard input was
 */
struct watch {
	struct vmm *v;
	struct loop *loop;
	int console;
	int signals;
	const char *metrics;
	struct loop_src *console_src, *in;
	bool file;
	char held[PIECE_BYTES];
	size_t n;
	int rc;
	struct err *e;
	bool terminal;
	struct termios before;
};

static void finish(struct watch *w, int rc)
{
	w->rc = rc;
	loop_stop(w->loop);
}

/* Return: bytes of the console that were shown; 0 for none now; minus errno at its end */
static int copy_output(struct watch *w)
{
	char piece[PIECE_BYTES];
	ssize_t n = recv(w->console, piece, sizeof(piece), MSG_DONTWAIT);
	int rc;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!n)
		return -EPIPE;
	rc = write_full(STDOUT_FILENO, piece, (size_t)n, NULL);
	return rc < 0 ? rc : (int)n;
}

static void end_input(struct watch *w)
{
	loop_del(w->in);
	w->in = NULL;
	w->file = false;
	w->n = 0;
	shutdown(w->console, SHUT_WR);
}

static void on_input(void *arg, uint32_t events);

/* Waits for what is missing: input, or room for it. */
static void rearm(struct watch *w, bool over)
{
	bool wait = w->n || w->file;

	if (w->console_src)
		loop_mod(w->console_src, EPOLLIN | (wait ? EPOLLOUT : 0));
	if (over || w->file)
		return;
	if (w->n) {
		loop_del(w->in);
		w->in = NULL;
	} else if (!w->in && loop_add(w->loop, STDIN_FILENO, EPOLLIN, on_input, w, &w->in, NULL) < 0) {
		end_input(w);
	}
}

/* One piece of input, as much of it as the console takes now. */
static void feed(struct watch *w)
{
	bool over = false;
	ssize_t n;

	if (!w->n) {
		n = read(STDIN_FILENO, w->held, sizeof(w->held));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		over = n <= 0;
		w->n = over ? 0 : (size_t)n;
	}
	if (w->n) {
		n = send(w->console, w->held, w->n, MSG_DONTWAIT | MSG_NOSIGNAL);
		over = n < 0 && errno != EAGAIN && errno != EINTR;
		if (n > 0) {
			w->n -= (size_t)n;
			memmove(w->held, w->held + n, w->n);
		}
	}
	if (over)
		end_input(w);
	rearm(w, over);
}

static void on_input(void *arg, uint32_t events)
{
	(void)events;
	feed(arg);
}

/* When the console ends, so does the monitor, which tells more. */
static void on_console(void *arg, uint32_t events)
{
	struct watch *w = arg;
	int rc = 0;

	if ((events & EPOLLOUT) && (w->n || w->file))
		feed(w);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		rc = copy_output(w);
	if (rc >= 0)
		return;
	loop_del(w->console_src);
	w->console_src = NULL;
}

static int write_metrics(struct watch *w, struct err *e)
{
	struct strbuf text = { .text = NULL };
	const char *dot = strrchr(w->metrics, '.');
	struct vmm_metrics m;
	int rc = vmm_metrics_get(w->v, CALL_MS, &m, e);

	if (rc < 0)
		return rc;
	if (dot && !strcmp(dot, ".json")) {
		vmm_metrics_json(&m, &text);
	} else {
		vmm_metrics_openmetrics(&m, 1, &text);
		strbuf_add(&text, VMM_OPENMETRICS_END);
	}
	vmm_metrics_done(&m);
	rc = text.failed ? err_set(e, ENOMEM, "out of memory")
			 : file_replace(AT_FDCWD, w->metrics, text.text, text.len, 0644, e);
	strbuf_done(&text);
	return rc < 0 ? err_wrap(e, "--metrics %s", w->metrics) : 0;
}

/* A monitor has one event, its end; but a dead one has none. */
static void on_event(struct watch *w)
{
	struct vmm_reply ev;
	int rc = vmm_event(w->v, &ev, w->e);

	if (rc < 0)
		finish(w, rc);
	else if (ev.event == VMM_EVENT_SHUTDOWN)
		finish(w, ALONE_OFF);
	else
		finish(w, err_set(w->e, EIO, "machine: %s", ev.text));
}

static void on_monitor(void *arg, uint32_t events)
{
	(void)events;
	on_event(arg);
}

static void on_signal(void *arg, uint32_t events)
{
	struct watch *w = arg;
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->signals, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo != SIGUSR1) {
		finish(w, ALONE_STOPPED);
		return;
	}
	if (!w->metrics)
		return;
	if (write_metrics(w, w->e) < 0)
		finish(w, -w->e->code);
	else if (w->v->have_event)	/* it came with an answer */
		on_event(w);
}

static int watch_signals(struct watch *w, struct err *e)
{
	struct loop_src *s;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signals < 0)
		return err_sys(e, "signalfd");
	return loop_add(w->loop, w->signals, EPOLLIN, on_signal, w, &s, e);
}

/* Keys come one by one and without echo; Ctrl-C stays a signal. */
static void take_terminal(struct watch *w)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &w->before) < 0)
		return;
	raw = w->before;
	raw.c_iflag &= ~(tcflag_t)ICRNL;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	w->terminal = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static int watch_console(struct watch *w, struct err *e)
{
	int rc;

	if (w->console < 0)
		return 0;
	rc = loop_add(w->loop, w->console, EPOLLIN, on_console, w, &w->console_src, e);
	if (rc < 0)
		return rc;
	take_terminal(w);
	/* What cannot be waited for is a file. */
	w->file = loop_add(w->loop, STDIN_FILENO, EPOLLIN, on_input, w, &w->in, NULL) < 0;
	rearm(w, false);
	return 0;
}

/**
 * alone_watch() - stay with a machine until its end
 * @console: our end of its console, borrowed; -1 for none
 * @metrics: file to write, .json for JSON; NULL for none
 *
 * Return: exit status ALONE_OFF, ALONE_STOPPED; minus errno for any other end
 */
int alone_watch(struct vmm *v, int console, const char *metrics, struct err *e)
{
	struct watch w = { .v = v, .console = console, .metrics = metrics, .signals = -1, .e = e };
	struct loop_src *s;
	struct err ignored;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if ((rc = loop_new(&w.loop, e)) < 0)
		return rc;
	if ((rc = watch_signals(&w, e)) >= 0 && (rc = watch_console(&w, e)) >= 0 &&
	    (rc = loop_add(w.loop, v->sock, EPOLLIN, on_monitor, &w, &s, e)) >= 0)
		rc = loop_run(w.loop, e);
	if (rc >= 0)
		rc = w.rc;
	/* All vCPUs stand still by now: what is in the socket is all that there will be. */
	while (console >= 0 && copy_output(&w) > 0)
		;
	if (metrics && write_metrics(&w, rc < 0 ? &ignored : e) < 0 && rc >= 0)
		rc = -e->code;
	if (w.terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &w.before);
	loop_free(w.loop);
	fd_close(&w.signals);
	return rc;
}
