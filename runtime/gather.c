// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Asks many pods at once, for lists and metrics. Each supervisor gets all questions in
 * one go and answers them in order; the guest is asked over a connection of ours to its
 * agent, so that a supervisor never waits for a guest on our behalf. One poll waits for
 * all of them, up to one deadline: a pod that stands still costs nobody else anything,
 * and is reported as silent. What a guest tells is guest data: its frame is bounded
 * (lib/frame.h), and who prints it masks it.
 *
 * Steps of a pod: info, counters, a connection to the agent, the guest's answer; those
 * that nobody wants are left out.
 */
#include "runtime/gather.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

/* A supervisor whose queue of callers is full does not answer either. */
#define CONNECT_MS 100

/* Requests of a few bytes fit a socket that is empty. */
#define SEND_MS 100

enum step { STEP_INFO, STEP_MACHINE, STEP_CONNECT, STEP_GUEST, STEP_END };

/**
 * gather_state_name() - what is told of a pod
 */
const char *gather_state_name(enum gather_state s)
{
	static const char *const names[] = { "running", "starting", "silent", "gone" };

	return names[s];
}

static bool wanted(enum step s, unsigned int what)
{
	return s == STEP_INFO || s == STEP_END || (s == STEP_MACHINE && what & GATHER_MACHINE) ||
	       ((s == STEP_CONNECT || s == STEP_GUEST) && what & GATHER_GUEST);
}

static void advance(struct gather_pod *p, unsigned int what)
{
	do {
		p->step++;
	} while (!wanted(p->step, what));
}

/* Nothing more comes of this pod. */
static void end(struct gather_pod *p)
{
	p->step = STEP_END;
	fd_close(&p->sock);
	agent_done(&p->agent);
}

/* Before its first answer it decides what the pod is; later it only ends the questions. */
static void fail(struct gather_pod *p, enum gather_state s)
{
	if (!p->info)
		p->state = s;
	end(p);
}

static int ask_all(struct gather_pod *p, unsigned int what, struct err *e)
{
	Podvm__Pod__InfoGet info = PODVM__POD__INFO_GET__INIT;
	Podvm__Pod__Stats stats = PODVM__POD__STATS__INIT;
	Podvm__Pod__Stream stream = PODVM__POD__STREAM__INIT;
	Podvm__Pod__Request first = POD_REQUEST(info = &info, INFO);
	Podvm__Pod__Request second = POD_REQUEST(stats = &stats, STATS);
	Podvm__Pod__Request third = POD_REQUEST(stream = &stream, STREAM);
	int rc;

	info.details = what & GATHER_DETAILS;
	rc = pod_ask(p->sock, &first, e);
	if (!rc && what & GATHER_MACHINE)
		rc = pod_ask(p->sock, &second, e);
	if (!rc && what & GATHER_GUEST)
		rc = pod_ask(p->sock, &third, e);
	return rc;
}

static void begin(int pods, struct gather_pod *p, unsigned int what)
{
	_cleanup_close_ int dir = openat(pods, p->id, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (dir < 0) {
		err_sys(&p->why, "pod %s", p->id);
		fail(p, GATHER_GONE);
		return;
	}
	rc = pod_call_open(dir, CONNECT_MS, &p->sock, &p->why);
	if (!rc)
		rc = ask_all(p, what, &p->why);
	if (rc == -ENOENT)
		fail(p, GATHER_STARTING);
	else if (rc < 0)
		fail(p, rc == -EAGAIN || rc == -ETIMEDOUT ? GATHER_SILENT : GATHER_GONE);
}

static int ask_guest(struct gather_pod *p, struct err *e)
{
	Podvm__GuestGet m = PODVM__GUEST_GET__INIT;
	Podvm__Request rq = AGENT_REQUEST(guest_get = &m, GUEST_GET);

	return frame_send(p->agent.fd, &rq.base, SEND_MS, e);
}

/* One answer of the supervisor; an error of its is the end of that question alone. */
static void take_answer(struct gather_pod *p, unsigned int what)
{
	Podvm__Pod__Response *rs = NULL;
	bool connects = p->step == STEP_CONNECT;
	size_t n = 0;
	struct err e;
	int fd = -1, rc = pod_answer(p->sock, &fd, connects, connects, &n, &rs, &e);

	if (!rc && connects)
		p->agent.fd = fd;
	if (rc == -EPIPE || rc == -EPROTO || (rc < 0 && p->step == STEP_INFO)) {
		p->why = e;
		fail(p, GATHER_GONE);
		return;
	}
	if (p->step == STEP_INFO && !rs->info) {
		err_set(&p->why, EPROTO, "its supervisor does not tell what it knows; is it an older one?");
		podvm__pod__response__free_unpacked(rs, NULL);
		fail(p, GATHER_GONE);
		return;
	}
	if (p->step == STEP_INFO)
		p->info = mem_steal(rs);
	else if (p->step == STEP_MACHINE && !rc && rs->metrics)
		p->stats = mem_steal(rs);
	if (rs)
		podvm__pod__response__free_unpacked(rs, NULL);
	advance(p, what);
	if (connects && (rc < 0 || ask_guest(p, &e) < 0))
		end(p);
}

static void take_guest(struct gather_pod *p)
{
	Podvm__Response *rs;
	struct err e;
	int rc = agent_take(&p->agent, &rs, &e);

	if (!rc)
		return;
	if (rc == 1 && !rs->error && rs->body_case == PODVM__RESPONSE__BODY_GUEST)
		p->guest = rs;
	else if (rc == 1)
		podvm__response__free_unpacked(rs, NULL);
	end(p);
}

/* Return: how many pods are still to be waited for */
static size_t fill_poll(const struct gather *g, struct pollfd *f)
{
	size_t i, n = 0;

	for (i = 0; i < g->n; i++) {
		const struct gather_pod *p = &g->v[i];

		f[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
		if (p->step == STEP_END)
			continue;
		f[i].fd = p->step == STEP_GUEST ? p->agent.fd : p->sock;
		n++;
	}
	return n;
}

static void wait_all(struct gather *g, struct pollfd *f, unsigned int what, int timeout_ms)
{
	uint64_t now = clock_ms(), until = now + (uint64_t)timeout_ms;
	size_t i;

	for (; now < until && fill_poll(g, f); now = clock_ms()) {
		if (poll(f, g->n, (int)(until - now)) <= 0)
			continue;
		for (i = 0; i < g->n; i++)
			if (f[i].revents && g->v[i].step == STEP_GUEST)
				take_guest(&g->v[i]);
			else if (f[i].revents)
				take_answer(&g->v[i], what);
	}
}

/**
 * gather_ask() - ask all pods of a list
 * @g:          from gather_pods() or gather_pod()
 * @what:       GATHER_* bits
 * @timeout_ms: for all of them together
 */
void gather_ask(int rootfd, struct gather *g, unsigned int what, int timeout_ms)
{
	_cleanup_close_ int pods = state_pods_open(rootfd, NULL);
	_cleanup_free_ struct pollfd *f = mem_new_n(struct pollfd, g->n + 1);
	size_t i;

	for (i = 0; f && i < g->n; i++)
		begin(pods, &g->v[i], what);
	if (f)
		wait_all(g, f, what, timeout_ms);
	for (i = 0; i < g->n; i++) {
		struct gather_pod *p = &g->v[i];

		if (p->step == STEP_END)
			continue;
		if (!p->info)
			err_set(&p->why, ETIMEDOUT, "pod %s did not answer within %d ms", p->id, timeout_ms);
		fail(p, GATHER_SILENT);
	}
}

/**
 * gather_pod() - add a pod to a list, zeroed before the first one
 * @id: checked here
 *
 * Return: 0; -EINVAL; -ENOMEM
 */
int gather_pod(struct gather *g, const char *id, struct err *e)
{
	struct gather_pod *more;
	int rc = state_check_id(id, e);

	if (rc < 0)
		return rc;
	more = realloc(g->v, (g->n + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	g->v = more;
	g->v[g->n] = (struct gather_pod){ .sock = -1, .agent = { .fd = -1 } };
	strcpy(g->v[g->n++].id, id); /* its length is checked */
	return 0;
}

static int add_pod(void *arg, const char *id, struct err *e)
{
	return gather_pod(arg, id, e);
}

/**
 * gather_pods() - list all pods of a state directory, by name
 * @ret: gather_done(), also after a failure
 *
 * Return: 0 or minus errno
 */
int gather_pods(int rootfd, struct gather *ret, struct err *e)
{
	_cleanup_close_ int pods = state_pods_open(rootfd, e);

	*ret = (struct gather){ .v = NULL };
	return pods < 0 ? pods : state_each(pods, add_pod, ret, e);
}

/**
 * gather_words() - list the pods that words mean, or all of them
 * @words: pods or containers, outside strings; @n of them, 0: all pods
 * @ret:   gather_done(), also after a failure
 *
 * Return: 0; as pod_of(); minus errno
 */
int gather_words(int rootfd, char *const *words, size_t n, struct gather *ret, struct err *e)
{
	char pod[STATE_ID_BYTES];
	size_t i;
	int rc = 0;

	*ret = (struct gather){ .v = NULL };
	if (!n)
		return gather_pods(rootfd, ret, e);
	for (i = 0; i < n && !rc; i++) {
		rc = pod_of(rootfd, words[i], pod, e);
		if (!rc)
			rc = gather_pod(ret, pod, e);
	}
	return rc;
}

/**
 * gather_done() - free a list and all that was told
 */
void gather_done(struct gather *g)
{
	size_t i;

	for (i = 0; i < g->n; i++) {
		struct gather_pod *p = &g->v[i];

		end(p);
		if (p->info)
			podvm__pod__response__free_unpacked(p->info, NULL);
		if (p->stats)
			podvm__pod__response__free_unpacked(p->stats, NULL);
		if (p->guest)
			podvm__response__free_unpacked(p->guest, NULL);
	}
	free(g->v);
	*g = (struct gather){ .v = NULL };
}

/**
 * pod_of() - the pod that a word means: its own id, or that of a container
 * @word: outside string
 *
 * A pod and a container of the same name are fine where the container is in that pod,
 * as the first one of a pod is.
 *
 * Return: 0; -ENOENT; -ENOTUNIQ; minus errno
 */
int pod_of(int rootfd, const char *word, char pod[STATE_ID_BYTES], struct err *e)
{
	_cleanup_close_ int pods = -1, dir = -1;
	struct state *s = NULL;
	bool other;
	int rc = state_check_id(word, e);

	if (rc < 0)
		return rc;
	pods = state_pods_open(rootfd, e);
	if (pods < 0)
		return pods;
	dir = openat(pods, word, O_PATH | O_DIRECTORY | O_CLOEXEC);
	rc = state_load(rootfd, word, &s, e);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc < 0 && dir < 0)
		return err_set(e, ENOENT, "%s is no pod and no container; podvm pod list shows what there is", word);
	other = s && dir >= 0 && strcmp(s->pod, word);
	if (!other)
		str_copy(pod, STATE_ID_BYTES, s ? s->pod : word);
	state_free(s);
	return other ? err_set(e, ENOTUNIQ, "%s is a pod, and a container of another one: name another container of the one that is meant", word) : 0;
}
