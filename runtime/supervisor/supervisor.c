// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The pod's process on the host. It holds the lock of the pod's directory from
 * its first to its last instruction (runtime/pod.c), starts the machine, then
 * serves the control socket until the last container is deleted or the machine
 * is gone. However the machine ends, the same way down is taken: containers
 * are marked stopped, the monitor is killed, the journal undone, the directory
 * removed. If this process itself is killed, the monitor ends with its control
 * socket, and the next command of podvm does the rest.
 */
#include "runtime/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"

/* Messages of the agent that are taken before others get their turn. */
#define AGENT_ROUND 64

/* A pod whose starter died before it created anything ends after this time. */
#define EMPTY_POD_MS 30000

/**
 * pod_now_ns() - CLOCK_MONOTONIC
 */
uint64_t pod_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/**
 * pod_stamp() - add an event to the pod's timeline; the oldest are kept when it is full
 * @ns:  CLOCK_MONOTONIC; 0: now
 * @fmt: what happened; words of the guest are masked
 */
void pod_stamp(struct pod *p, uint64_t ns, const char *fmt, ...)
{
	struct stamp *s;
	va_list ap;

	if (p->n_stamps == POD_STAMPS_MAX)
		return;
	s = &p->stamps[p->n_stamps++];
	s->ns = ns ? ns : pod_now_ns();
	va_start(ap, fmt);
	vsnprintf(s->what, sizeof(s->what), fmt, ap);
	va_end(ap);
	str_mask(s->what);
}

static void on_event(void *arg, const Podvm__Exited *x)
{
	container_exited(arg, x);
}

/* A message that comes by itself: an event. Return: 0; -EPROTO */
static int on_message(struct pod *p, const Podvm__Response *rs, struct err *e)
{
	if (rs->body_case != PODVM__RESPONSE__BODY_EVENT)
		return err_set(e, EPROTO, "the guest's agent answered what nobody had asked");
	container_exited(p, rs->event);
	return 0;
}

static void on_agent(void *arg, uint32_t events)
{
	struct pod *p = arg;
	Podvm__Response *rs;
	int rc = 1, left = AGENT_ROUND;
	struct err e;

	(void)events;
	/* Bounded: a guest that floods must not keep commands waiting. */
	while (rc >= 0 && left-- && (rc = agent_take(&p->agent, &rs, &e)) == 1) {
		rc = on_message(p, rs, &e);
		podvm__response__free_unpacked(rs, NULL);
	}
	if (rc < 0)
		ending_agent(p, rc, e.text);
}

static void on_vmm(void *arg, uint32_t events)
{
	(void)events;
	ending_monitor(arg);
}

static void on_signal(void *arg, uint32_t events)
{
	struct pod *p = arg;
	struct signalfd_siginfo si;

	(void)events;
	if (read(p->signal_fd, &si, sizeof(si)) == sizeof(si))
		ending_told(p);
}

static void on_empty(void *arg, uint32_t events)
{
	struct pod *p = arg;

	(void)events;
	p->ending |= !p->containers;
}

static int watch(struct pod *p, int *empty_fd, struct err *e)
{
	struct loop_src *src;
	int rc;

	*empty_fd = timer_new(e);
	if (*empty_fd < 0)
		return *empty_fd;
	if ((rc = timer_set(*empty_fd, EMPTY_POD_MS, e)) < 0 ||
	    (rc = loop_add(p->loop, *empty_fd, EPOLLIN | EPOLLET, on_empty, p, &src, e)) < 0 ||
	    (rc = loop_add(p->loop, p->signal_fd, EPOLLIN, on_signal, p, &src, e)) < 0 ||
	    (rc = loop_add(p->loop, p->agent.fd, EPOLLIN, on_agent, p, &src, e)) < 0 ||
	    (rc = loop_add(p->loop, p->vmm.sock, EPOLLIN, on_vmm, p, &src, e)) < 0)
		return rc;
	rc = wayback_open(p, e);
	if (rc >= 0)
		rc = settle_watch(p, e);
	return rc < 0 ? rc : control_open(p, e);
}

static int open_dirs(struct pod *p, struct err *e)
{
	p->rootfd = state_root_open(p->root, e);
	if (p->rootfd < 0)
		return p->rootfd;
	p->podsfd = state_pods_open(p->rootfd, e);
	if (p->podsfd < 0)
		return p->podsfd;
	p->dirfd = openat(p->podsfd, p->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dirfd < 0)
		return err_sys(e, "pod %s", p->id);
	return journal_open(p->dirfd, "journal", &p->journal, e);
}

/* Before any thread: one that does not block them would die of them, and we with it. */
static int block_signals(struct pod *p, struct err *e)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };

	p->signal_fd = signals_new(ends, ARRAY_LEN(ends), e);
	return p->signal_fd < 0 ? p->signal_fd : 0;
}

/* The config.json that the pod's first container is made of. */
static int load_first(const char *bundle, struct spec **ret, struct err *e)
{
	struct spec_source src;
	int rc = spec_source_take(bundle, POD_CONFIG_FD, &src, e);

	if (rc < 0)
		return rc;
	rc = spec_load_from(&src, ret, e);
	spec_source_done(&src);
	return rc;
}

static int start(struct pod *p, const char *bundle, int *empty_fd,
		 struct err *e)
{
	struct err why = { 0 };
	struct spec *spec;
	int rc;

	if ((rc = block_signals(p, e)) < 0 || (rc = open_dirs(p, e)) < 0 ||
	    (rc = config_load(&p->config, e)) < 0 ||
	    (rc = loop_new(&p->loop, e)) < 0 || (rc = load_first(bundle, &spec, e)) < 0)
		return rc;
	rc = place_pod(p, spec, e);
	if (!rc)
		rc = machine_start(p, spec, e);
	if (!rc)
		rc = watchdog_start(p, e);
	if (!rc && p->config.relay && !spec->relay_off && relayd_spawn(p, &why) < 0)
		log_warn("pod %s: relay: %s", p->id, why.text);
	spec_free(spec);
	return rc < 0 ? rc : watch(p, empty_fd, e);
}

/* The one way down, from any stage. */
static void finish(struct pod *p, bool gently)
{
	struct pod_undo u = { .busy = false };
	struct err e;
	int rc;

	machine_stop(p, gently);
	container_forget_all(p);
	fd_close(&p->listen_fd);
	place_leave(p);
	rc = p->journal ? journal_undo(p->journal, pod_undo, &u, &e) : 0;
	if (rc < 0)
		log_error("pod %s: clean-up: %s", p->id, e.text);
	if (rc)
		return; /* the directory stays for the next command */
	if (p->podsfd >= 0 && dir_remove(p->podsfd, p->id, &e) < 0)
		log_error("pod %s: %s", p->id, e.text);
}

/*
 * Until the pod ends or its machine does. An event that came with an answer of the
 * monitor does not make the socket readable, whoever it was that had asked.
 */
static int serve(struct pod *p, struct err *e)
{
	while (!p->dead && !p->ending) {
		int rc = loop_step(p->loop, -1, e);

		if (rc < 0)
			return rc;
		if (p->vmm.have_event)
			ending_monitor(p);
	}
	return 0;
}

/**
 * supervisor_main() - the supervisor's process; started by pod_ensure() only
 * @root:   state directory
 * @pod:    id; its directory exists and its lock is POD_LOCK_FD
 * @bundle: of the container that starts the pod; its config.json is POD_CONFIG_FD
 * @systemd: cgroups are scopes of systemd's
 *
 * Return: exit status
 */
int supervisor_main(const char *root, const char *pod, const char *bundle, bool systemd)
{
	static struct pod p;
	int empty_fd = -1, rc;
	struct err e = { 0 };

	log_open(2, LOG_LEVEL_INFO, false);
	signal(SIGPIPE, SIG_IGN); /* who started us may be gone */
	prctl(PR_SET_NAME, "podvm-pod", 0, 0, 0); /* not "exe", by which it was started */
	p.root = root;
	p.systemd = systemd;
	p.rootfd = p.podsfd = p.dirfd = p.netns_fd = p.cgroup_fd = p.listen_fd = p.signal_fd = -1;
	p.back_fd = p.told_fd = -1;
	p.settle_event = p.uevent_fd = -1;
	p.vmm.sock = p.vmm.pidfd = p.agent.fd = p.broker.sock = -1;
	p.relay.sock = p.relay.pidfd = -1;
	p.agent.on_event = on_event;
	p.agent.arg = &p;
	rc = state_check_id(pod, &e);
	if (!rc) {
		strcpy(p.id, pod); /* its length is checked */
		p.began_ns = pod_now_ns();
		pod_stamp(&p, p.began_ns, "supervisor began");
		rc = start(&p, bundle, &empty_fd, &e);
	}
	if (rc < 0) {
		finish(&p, false);
		pod_say_ready(POD_READY_FD, &e);
		return 1;
	}
	pod_say_ready(POD_READY_FD, NULL);
	rc = serve(&p, &e);
	if (rc < 0)
		log_error("pod %s: %s", p.id, e.text);
	finish(&p, !p.dead);
	return 0;
}
