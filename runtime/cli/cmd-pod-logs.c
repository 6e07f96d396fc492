// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a pod's processes and its guest wrote: supervisor.log, of supervisor and monitor;
 * console.log, of the guest's kernel and agent; and the guest kernel's own log, for which
 * its agent is asked. The files are the pod's and go with it; they can be read while a
 * dead pod waits for its clean-up.
 *
 * A guest writes what it likes, so a line is shown as one line and cannot drive the
 * terminal (str_mask()), unless --raw says so; longer ones are cut into pieces. With
 * --follow a watch of the pod's directory tells when to look again, and the end of
 * the connection to the supervisor that there is no more to come.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/mem.h"
#include "lib/progress.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "runtime/gather.h"

#define LINE_BYTES 4096
#define AGENT_ANSWER_MS 10000

/* Looks again at least so often, in case the watch fails. */
#define LOOK_MS 1000

/**
 * struct tail - one log that is shown
 * @prefix: before each line; empty: none
 * @fd:     owned; -1: there is none
 */
struct tail {
	const char *prefix;
	int fd;
	char line[LINE_BYTES];
	size_t len;
};

struct logs_args {
	bool follow, raw, host, guest, kernel, prefixes;
	const char *word;
};

static void show_line(struct tail *t)
{
	char *s;

	while (t->len && t->line[t->len - 1] == '\r')
		t->len--;
	t->line[t->len] = 0;
	for (s = t->line; *s; s++)
		if (*s == '\t')
			*s = ' ';
	str_mask(t->line);
	printf("%s%s\n", t->prefix, t->line);
	t->len = 0;
}

static void show(struct tail *t, const char *data, size_t n, bool raw)
{
	size_t i;

	if (raw) {
		fwrite(data, 1, n, stdout);
		return;
	}
	for (i = 0; i < n; i++) {
		if (data[i] == '\n' || t->len == sizeof(t->line) - 1)
			show_line(t);
		if (data[i] != '\n')
			t->line[t->len++] = data[i] ? data[i] : '?';
	}
}

/* All that has come since the last look. */
static void drain(struct tail *t, bool raw)
{
	char buf[8192];
	ssize_t n;

	while (t->fd >= 0 && (n = read(t->fd, buf, sizeof(buf))) > 0)
		show(t, buf, (size_t)n, raw);
}

static void tail_done(struct tail *t)
{
	if (t->len)
		show_line(t);
	fd_close(&t->fd);
}

static int follow(int dir, int sock, struct tail *v, size_t n, bool raw, struct err *e)
{
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd f[2] = { { .fd = watch, .events = POLLIN }, { .fd = sock, .events = 0 } };
	char events[4096];
	size_t i;

	if (watch < 0 || inotify_add_watch(watch, fd_path(dir).s, IN_MODIFY) < 0)
		return err_sys(e, "watch of the pod's directory");
	do {
		fflush(stdout);
		if (poll(f, 2, LOOK_MS) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		while (read(watch, events, sizeof(events)) > 0)
			;
		for (i = 0; i < n; i++)
			drain(&v[i], raw);
	} while (!f[1].revents && !ferror(stdout));
	return 0;
}

/* The end of the guest kernel's log, which is guest data. */
static int show_kernel(int sock, const struct logs_args *a, struct err *e)
{
	Podvm__GuestGet m = PODVM__GUEST_GET__INIT;
	Podvm__Request rq = AGENT_REQUEST(guest_get = &m, GUEST_GET);
	struct tail t = { .prefix = a->prefixes ? "kernel | " : "", .fd = -1 };
	struct progress_wait *w = progress_wait("asking the guest for its kernel's log");
	struct agent agent = { .fd = -1 };
	Podvm__Response *rs = NULL;
	int rc = pod_stream(sock, &agent.fd, e);

	m.log = true;
	if (!rc)
		rc = agent_call(&agent, &rq, AGENT_ANSWER_MS, &rs, e);
	progress_wait_end(w);
	if (!rc && rs->body_case != PODVM__RESPONSE__BODY_GUEST)
		rc = err_set(e, EPROTO, "the guest's agent did not tell its kernel's log");
	if (!rc)
		show(&t, (const char *)rs->guest->log.data, rs->guest->log.len, a->raw);
	tail_done(&t);
	if (rs)
		podvm__response__free_unpacked(rs, NULL);
	agent_done(&agent);
	return rc;
}

static int show_logs(struct cli *c, const struct logs_args *a, const char *pod, struct err *e)
{
	struct tail v[2] = { { .prefix = a->prefixes ? "host   | " : "", .fd = -1 },
			     { .prefix = a->prefixes ? "guest  | " : "", .fd = -1 } };
	_cleanup_close_ int pods = state_pods_open(c->rootfd, e), dir = -1, sock = -1;
	size_t i;
	int rc = 0;

	if (pods < 0)
		return pods;
	dir = openat(pods, pod, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_set(e, ESRCH, "pod %s has ended, and its logs with it", pod);
	pod_call_open(dir, POD_ANSWER_MS, &sock, NULL);
	if (a->host)
		v[0].fd = openat(dir, "supervisor.log", O_RDONLY | O_CLOEXEC);
	if (a->guest)
		v[1].fd = openat(dir, "console.log", O_RDONLY | O_CLOEXEC);
	for (i = 0; i < 2; i++)
		drain(&v[i], a->raw);
	if (a->kernel)
		rc = sock < 0 ? err_set(e, ESRCH, "pod %s has no guest any more", pod) :
				show_kernel(sock, a, e);
	if (!rc && a->follow && sock >= 0)
		rc = follow(dir, sock, v, 2, a->raw, e);
	for (i = 0; i < 2; i++)
		tail_done(&v[i]);
	return rc;
}

static int run(struct cli *c, const struct logs_args *a, struct err *e)
{
	char pod[STATE_ID_BYTES];
	int rc = pod_of(c->rootfd, a->word, pod, e);

	return rc < 0 ? rc : show_logs(c, a, pod, e);
}

/**
 * cmd_pod_console() - podvm pod console: what the guest's kernel and agent wrote
 */
int cmd_pod_console(struct cli *c, int argc, char **argv, struct err *e)
{
	struct logs_args a = { .guest = true };
	const struct opt t[] = {
		OPT_FLAG('f', "follow", &a.follow, "go on until the pod ends"),
		OPT_FLAG(0, "raw", &a.raw, "as the guest wrote it, control characters included"),
		OPT_END
	};
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	if (rc <= 0)
		return rc;
	a.word = argv[first];
	return run(c, &a, e);
}

/**
 * cmd_pod_logs() - podvm pod logs
 */
int cmd_pod_logs(struct cli *c, int argc, char **argv, struct err *e)
{
	struct logs_args a = { .prefixes = true };
	const char *source = "all";
	const struct opt t[] = {
		OPT_FLAG('f', "follow", &a.follow, "go on until the pod ends"),
		OPT_STR('s', "source", &source, "FORMAT", "host, guest, kernel or all"),
		OPT_FLAG(0, "raw", &a.raw, "as it was written, control characters included"),
		OPT_END
	};
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	if (rc <= 0)
		return rc;
	a.host = !strcmp(source, "host") || !strcmp(source, "all");
	a.guest = !strcmp(source, "guest") || !strcmp(source, "all");
	a.kernel = !strcmp(source, "kernel");
	if (!a.host && !a.guest && !a.kernel)
		return err_set(e, EINVAL, "--source is host, guest, kernel or all");
	a.prefixes = a.host && a.guest;
	a.word = argv[first];
	return run(c, &a, e);
}
