// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Stands for podvm-vmm and for the guest behind it, so that the life of pods (podvm, its
 * supervisors and shims, thousands of them) is tested on this machine, in seconds. The
 * control socket is answered as vmm/vmm.h says, with no machine behind it; the agent is one
 * that has containers without processes: "true" ends at once, with 0, "exit N" with N, "fail"
 * cannot be executed, and everything else runs until a signal ends it, "stubborn" until
 * KILL does. Output is the arguments, on one line. A machine that was given a file for its memory can be
 * saved, and restored where memory and state are what was saved. Words of the kernel's command
 * line make it worse: "slow" takes a second until the guest calls, "nocall" never does,
 * "nosave" and "norestore" refuse, "mute" restores a guest that does not call.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/agent.pb-c.h"
#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/mem.h"
#include "vmm/vmm.h"

#define CONNS_MAX 400
#define SEND_MS 5000

/**
 * struct task - a process that is none
 * @owner:   index of the connection that owns it, or -1
 * @streams: of which it has got as many as @wanted
 */
struct task {
	struct task *next;
	char id[160], exec_id[80];
	char said[200];
	bool runs, ended, fails;
	uint32_t code, sig, oneshot, oneshot_code;
	int owner, streams[3], n_streams;
};

/* A connection to the agent; @main: the supervisor's. */
static struct conn {
	int fd;
	struct frame_rx rx;
	bool main;
} conns[CONNS_MAX];

static struct task *tasks;
static int main_conn = -1;

static struct vmm_config config;
static int memory = -1;
static bool restored;
static struct timespec started;

static struct task *find(const char *id, const char *exec_id)
{
	struct task *t;

	for (t = tasks; t && (strcmp(t->id, id) || strcmp(t->exec_id, exec_id)); t = t->next)
		;
	return t;
}

static int add_conn(int fd, bool is_main)
{
	int i;

	for (i = 0; i < CONNS_MAX && conns[i].fd >= 0; i++)
		;
	if (i == CONNS_MAX) {
		close(fd);
		return -1;
	}
	conns[i] = (struct conn){ .fd = fd, .main = is_main };
	return i;
}

static void tell(int conn, const Podvm__Response *rs)
{
	if (conn >= 0 && conns[conn].fd >= 0)
		frame_send(conns[conn].fd, &rs->base, SEND_MS, NULL);
}

static void answer(int conn, int code, const char *text)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;

	rs.error = code;
	rs.text = (char *)(uintptr_t)text;
	tell(conn, &rs);
}

static void tell_exited(const struct task *t, int conn, bool event)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;

	x.id = (char *)(uintptr_t)t->id;
	x.exec_id = (char *)(uintptr_t)t->exec_id;
	x.code = t->code;
	x.signal = t->sig;
	rs.body_case = event ? PODVM__RESPONSE__BODY_EVENT : PODVM__RESPONSE__BODY_EXITED;
	if (event)
		rs.event = &x;
	else
		rs.exited = &x;
	tell(conn, &rs);
}

/* The end of a process: its streams', its owner's news, and for a container's the event. */
static void end(struct task *t, uint32_t code, uint32_t sig)
{
	int i;

	if (t->ended)
		return;
	t->ended = true;
	t->code = code;
	t->sig = sig;
	for (i = 0; i < t->n_streams; i++)
		fd_close(&t->streams[i]);
	if (!*t->exec_id)
		tell_exited(t, main_conn, true);
	tell_exited(t, t->owner, false);
}

/* One that ends by itself does so once somebody can hear it. */
static void go_on(struct task *t)
{
	if (t->runs && !t->ended && t->oneshot && t->owner >= 0 && t->n_streams == 3) {
		if (write(t->streams[1], t->said, strlen(t->said)) < 0)
			t->n_streams = 3;
		end(t, t->oneshot_code, 0);
	}
}

static void forget(const char *id)
{
	struct task **at = &tasks;

	while (*at) {
		struct task *t = *at;

		if (strcmp(t->id, id)) {
			at = &t->next;
			continue;
		}
		end(t, 0, SIGKILL);
		*at = t->next;
		free(t);
	}
}

static struct task *add(const char *id, const char *exec_id, const Podvm__Process *p)
{
	struct task *t = mem_new(struct task);
	size_t i;

	if (!t)
		exit(1);
	snprintf(t->id, sizeof(t->id), "%s", id);
	snprintf(t->exec_id, sizeof(t->exec_id), "%s", exec_id);
	t->owner = -1;
	for (i = 0; i < p->n_args; i++)
		snprintf(t->said + strlen(t->said), sizeof(t->said) - strlen(t->said), "%s%s",
			 i ? " " : "", p->args[i]);
	t->oneshot = p->n_args && (!strcmp(p->args[0], "true") || !strcmp(p->args[0], "exit"));
	t->fails = p->n_args && !strcmp(p->args[0], "fail");
	if (t->oneshot && p->n_args > 1)
		t->oneshot_code = (uint32_t)strtoul(p->args[1], NULL, 10);
	strncat(t->said, "\n", sizeof(t->said) - strlen(t->said) - 1);
	t->next = tasks;
	tasks = t;
	return t;
}

static void on_signal(int conn, const Podvm__ProcessSignal *m)
{
	struct task *t = find(m->id, m->exec_id);

	if (!t || t->ended) {
		answer(conn, ESRCH, "no such process");
		return;
	}
	answer(conn, 0, "");
	if (m->signal == SIGKILL ||
	    ((m->signal == SIGTERM || m->signal == SIGINT) && strcmp(t->said, "stubborn\n")))
		end(t, 0, m->signal);
}

/* Return: false: the connection is a stream now */
static bool on_stream(int conn, const Podvm__StreamOpen *m)
{
	struct task *t = find(m->id, m->exec_id);

	if (!t || t->n_streams == 3) {
		answer(conn, ESRCH, "no such process");
		return true;
	}
	answer(conn, 0, "");
	t->streams[t->n_streams++] = fd_steal(&conns[conn].fd);
	frame_done(&conns[conn].rx);
	if (t->ended)
		fd_close(&t->streams[t->n_streams - 1]);
	go_on(t);
	return false;
}

static void on_pids(int conn, const char *id)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Pids p = PODVM__PIDS__INIT;
	uint32_t one = 42;

	p.pids = &one;
	p.n_pids = find(id, "") ? 1 : 0;
	rs.body_case = PODVM__RESPONSE__BODY_PIDS;
	rs.pids = &p;
	tell(conn, &rs);
}

static void on_cpus(int conn, uint32_t count)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Cpus c = PODVM__CPUS__INIT;

	c.present = c.online = count ? count : 1;
	rs.body_case = PODVM__RESPONSE__BODY_CPUS;
	rs.cpus = &c;
	tell(conn, &rs);
}

static void own(int conn, struct task *t)
{
	if (!t) {
		answer(conn, ESRCH, "no such process");
		return;
	}
	answer(conn, 0, "");
	t->owner = conn;
	if (t->ended)
		tell_exited(t, conn, false);
	go_on(t);
}

/* Return: false: the connection is no such any more */
static bool serve(int conn, const Podvm__Request *rq)
{
	struct task *t;

	switch (rq->body_case) {
	case PODVM__REQUEST__BODY_CONTAINER_CREATE:
		add(rq->container_create->id, "", rq->container_create->process);
		break;
	case PODVM__REQUEST__BODY_CONTAINER_START:
		t = find(rq->container_start->id, "");
		answer(conn, t && t->fails ? ENOENT : t && !t->ended ? 0 : ESRCH, "no such process");
		if (t && t->fails)
			end(t, 255, 0);
		if (t)
			t->runs = true;
		if (t)
			go_on(t);
		return true;
	case PODVM__REQUEST__BODY_CONTAINER_DELETE:
		forget(rq->container_delete->id);
		break;
	case PODVM__REQUEST__BODY_PROCESS_ATTACH:
		own(conn, find(rq->process_attach->id, rq->process_attach->exec_id));
		return true;
	case PODVM__REQUEST__BODY_PROCESS_EXEC:
		t = find(rq->process_exec->id, "");
		if (t && t->runs && !t->ended)
			t = add(t->id, rq->process_exec->exec_id, rq->process_exec->process);
		else
			t = NULL;
		if (t)
			t->runs = true;
		own(conn, t);
		return true;
	case PODVM__REQUEST__BODY_PROCESS_SIGNAL:
		on_signal(conn, rq->process_signal);
		return true;
	case PODVM__REQUEST__BODY_STREAM_OPEN:
		return on_stream(conn, rq->stream_open);
	case PODVM__REQUEST__BODY_CONTAINER_PIDS:
		on_pids(conn, rq->container_pids->id);
		return true;
	case PODVM__REQUEST__BODY_CPUS_ONLINE:
		on_cpus(conn, rq->cpus_online->count);
		return true;
	default:
		break; /* everything else is fine */
	}
	answer(conn, 0, "");
	return true;
}

static void drop_conn(int conn)
{
	struct task *t;

	for (t = tasks; t; t = t->next)
		if (t->owner == conn) {
			t->owner = -1;
			end(t, 0, SIGKILL);
		}
	frame_done(&conns[conn].rx);
	fd_close(&conns[conn].fd);
}

/* Return: true: the pod shall end */
static bool on_conn(int conn)
{
	struct conn *c = &conns[conn];
	bool off = false;
	int rc;

	while ((rc = frame_feed(&c->rx, c->fd, NULL)) == 1) {
		Podvm__Request *rq = podvm__request__unpack(NULL, c->rx.len, c->rx.buf);
		bool still;

		if (!rq)
			break;
		off |= rq->body_case == PODVM__REQUEST__BODY_POD_SHUTDOWN;
		still = serve(conn, rq);
		podvm__request__free_unpacked(rq, NULL);
		if (!still)
			return off;
	}
	if (rc < 0)
		drop_conn(conn);
	return off;
}

static void say_hello(void)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Hello h = PODVM__HELLO__INIT;
	char kernel[] = "none";

	h.protocol = AGENT_PROTOCOL;
	h.kernel = kernel;
	rs.body_case = PODVM__RESPONSE__BODY_HELLO;
	rs.hello = &h;
	tell(main_conn, &rs);
}

static bool told(const char *word)
{
	return strstr(config.cmdline, word) != NULL;
}

static void refuse(struct vmm_reply *rp, int code, const char *text)
{
	rp->error = code;
	snprintf(rp->text, sizeof(rp->text), "%s", text);
}

static void on_config(const struct vmm_request *rq, int *fds, size_t n, struct vmm_reply *rp)
{
	config = rq->config;
	if (n != 5)
		return;
	memory = fds[4];
	fds[4] = -1;
	if (ftruncate(memory, (off_t)config.ram_bytes) < 0 || pwrite(memory, "kernel", 6, 4096) != 6)
		refuse(rp, EIO, "memory");
}

static void on_save(const int *fds, size_t n, struct vmm_reply *rp)
{
	if (n != 1 || memory < 0 || told("nosave"))
		refuse(rp, ENOTSUP, "it cannot be saved");
	else if (write(fds[0], &config, sizeof(config)) != sizeof(config))
		refuse(rp, EIO, "state");
}

static void on_restore(const struct vmm_request *rq, const int *fds, size_t n, struct vmm_reply *rp)
{
	struct vmm_config was;
	char word[6];

	config = rq->config;
	restored = true;
	if (n != 4 || told("norestore"))
		refuse(rp, ENOTSUP, "it cannot be restored");
	else if (read(fds[2], &was, sizeof(was)) != sizeof(was) || memcmp(&was, &config, sizeof(was)))
		refuse(rp, EINVAL, "state: of another machine");
	else if (pread(fds[1], word, 6, 4096) != 6 || memcmp(word, "kernel", 6))
		refuse(rp, EINVAL, "memory: it has no kernel");
}

static uint64_t connect_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!started.tv_sec || told("nocall") ||
	    (told("slow") && now.tv_sec < started.tv_sec + 2))
		return 0;
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Return: false: it was the last one */
static bool control(void)
{
	struct vmm_reply rp = { 0 };
	int fds[FD_PASS_MAX];
	struct vmm_request rq;
	size_t n, i;

	if (fd_recv(VMM_CONTROL_FD, &rq, sizeof(rq), fds, FD_PASS_MAX, &n, NULL) != sizeof(rq) ||
	    rq.type == VMM_STOP)
		return false;
	rp.type = rq.type;
	if (rq.type == VMM_LISTEN || rq.type == VMM_CONNECT) {
		int conn = add_conn(fds[0], rq.type == VMM_LISTEN);

		if (rq.type == VMM_LISTEN)
			main_conn = conn;
		n = 0;
	}
	if (rq.type == VMM_CONFIG)
		on_config(&rq, fds, n, &rp);
	if (rq.type == VMM_SAVE)
		on_save(fds, n, &rp);
	if (rq.type == VMM_RESTORE)
		on_restore(&rq, fds, n, &rp);
	if (rq.type == VMM_STATS)
		rp.stats.connect_ns = connect_ns();
	for (i = 0; i < n; i++)
		fd_close(&fds[i]);
	if (rq.type == VMM_DEVICE)
		rp.error = ENOENT;
	if (rq.type == VMM_START)
		clock_gettime(CLOCK_MONOTONIC, &started);
	if (fd_send(VMM_CONTROL_FD, &rp, sizeof(rp), NULL, 0, NULL) < 0)
		return false;
	if (rq.type == VMM_START && !(restored && told("mute")))
		say_hello();
	return true;
}

static void power_off(void)
{
	struct vmm_reply rp = { .type = VMM_EVENT, .event = VMM_EVENT_SHUTDOWN };

	snprintf(rp.text, sizeof(rp.text), "the guest powered itself off");
	fd_send(VMM_CONTROL_FD, &rp, sizeof(rp), NULL, 0, NULL);
}

int main(void)
{
	struct pollfd f[CONNS_MAX + 1];
	int i;

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < CONNS_MAX; i++)
		conns[i].fd = -1;
	for (;;) {
		f[0] = (struct pollfd){ .fd = VMM_CONTROL_FD, .events = POLLIN };
		for (i = 0; i < CONNS_MAX; i++)
			f[i + 1] = (struct pollfd){ .fd = conns[i].fd, .events = POLLIN };
		if (poll(f, CONNS_MAX + 1, -1) < 0 && errno != EINTR)
			return 1;
		/* What a command has asked for before it went counts before its end. */
		for (i = 0; i < CONNS_MAX; i++)
			if (f[i + 1].revents && conns[i].fd == f[i + 1].fd && on_conn(i))
				power_off();
		if (f[0].revents && !control())
			return 0;
	}
}
