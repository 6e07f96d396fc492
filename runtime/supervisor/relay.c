// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The supervisor's side of the relay (relay-main.c): it starts the process when the guest
 * is set up, makes connections to the agent when asked to, and tells it when a container
 * has the engine's DNS stub in its resolv.conf. The process is a record of the journal,
 * and what it makes in the pod's network namespace are sockets, which end with it.
 *
 * A pod works without its relay: what goes wrong is told in the log and the timeline.
 * One that ends before the pod is started again, STARTS_MAX times in all, so that a guest
 * which brings it down each time does not keep the host busy.
 */
#include "runtime/supervisor/relay.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

#define STARTS_MAX 4
#define EXIT_MS 3000

static int send_msg(struct relay_child *r, uint32_t what, int fd, const struct err *why)
{
	struct relayd_msg m = { .what = what, .error = fd < 0 && why ? why->code : 0 };
	struct err e;

	return fd_send(r->sock, &m, sizeof(m), &fd, fd >= 0, &e);
}

static void give_link(struct pod *p)
{
	_cleanup_close_ int fd = -1;
	struct err e = { 0 };
	int rc = p->dead ? err_set(&e, ESRCH, "the pod's machine has ended")
			 : machine_connect(p, &fd, &e);

	if (rc < 0)
		log_warn("pod %s: relay: %s", p->id, e.text);
	send_msg(&p->relay, RELAYD_LINK, fd, &e);
}

static void ended(struct pod *p)
{
	struct err e = { 0 };

	relayd_stop(p);
	if (p->dead)
		return;
	log_warn("pod %s: relay: it has ended%s", p->id,
		 p->relay.starts < STARTS_MAX ? " and is started again" : "");
	pod_stamp(p, 0, "relay ended (start %u of %d)", p->relay.starts, STARTS_MAX);
	if (p->relay.starts < STARTS_MAX && relayd_spawn(p, &e) < 0)
		log_warn("pod %s: relay: %s", p->id, e.text);
}

static void on_relay(void *arg, uint32_t events)
{
	struct relayd_msg m = { 0 };
	struct pod *p = arg;
	size_t n_fds;
	struct err e;

	(void)events;
	if (fd_recv(p->relay.sock, &m, sizeof(m), NULL, 0, &n_fds, &e) != sizeof(m))
		ended(p);
	else if (m.what == RELAYD_LINK)
		give_link(p);
	else if (m.what == RELAYD_READY && !p->relay.ready++)
		pod_stamp(p, 0, "relay: the guest's listening ports are on the pod's localhost");
}

static int add_record(struct pod *p, pid_t pid, struct err *e)
{
	char text[24], start[24];
	uint64_t ticks;
	int rc = proc_start_ticks(pid, &ticks, e);

	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text), "%d", pid);
	snprintf(start, sizeof(start), "%llu", (unsigned long long)ticks);
	p->relay.mark = journal_mark(p->journal);
	rc = journal_add(p->journal, e, "proc", text, start, NULL);
	p->relay.recorded = !rc;
	return rc;
}

/**
 * relayd_spawn() - start the pod's relay
 *
 * Return: 0 or minus errno: the pod has none then
 */
int relayd_spawn(struct pod *p, struct err *e)
{
	char *const argv[] = { strdupa("podvm-relay"), strdupa("relay"), NULL };
	_cleanup_close_ int ours = -1, theirs = -1;
	struct relay_child *r = &p->relay;
	struct proc_fd map[] = { { 2, 2 }, { -1, RELAYD_SUP_FD },
				 { p->netns_fd, RELAYD_NETNS_FD } };
	struct proc_spec s = { .path = "/proc/self/exe", .argv = argv, .fds = map,
			       .n_fds = ARRAY_LEN(map) };
	pid_t pid;
	int sv[2], rc;

	r->starts++;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, "socketpair");
	ours = sv[0];
	map[1].fd = theirs = sv[1];
	rc = proc_spawn(&s, &pid, &r->pidfd, e);
	r->pid = pid;
	if (rc < 0)
		return rc;
	r->sock = fd_steal(&ours);
	rc = add_record(p, pid, e);
	if (!rc)
		rc = loop_add(p->loop, r->sock, EPOLLIN, on_relay, p, &r->src, e);
	if (!rc && r->dns)
		rc = send_msg(r, RELAYD_DNS, -1, NULL);
	if (rc < 0)
		relayd_stop(p);
	return rc;
}

/**
 * relayd_stop() - end the pod's relay; fine if there is none
 */
void relayd_stop(struct pod *p)
{
	struct relay_child *r = &p->relay;
	int status;

	loop_del(r->src);
	r->src = NULL;
	fd_close(&r->sock);
	if (r->pidfd < 0)
		return;
	proc_kill(r->pidfd, SIGKILL);
	if (!proc_wait(r->pidfd, EXIT_MS, &status, NULL) && r->recorded)
		journal_retire(p->journal, r->mark, NULL);
	r->recorded = false;
	fd_close(&r->pidfd);
}

/**
 * relayd_container() - a container is created or starts, or its network has changed: it may
 *			 use the engine's DNS stub
 *
 * Docker writes the stub into the file in its hook of the creation, or with a network that
 * comes later.
 */
void relayd_container(struct pod *p, const struct container *c)
{
	if (p->relay.dns || p->relay.sock < 0 || !c->resolv_conf || !spec_names_stub(c->resolv_conf))
		return;
	p->relay.dns = true;
	send_msg(&p->relay, RELAYD_DNS, -1, NULL);
	pod_stamp(p, 0, "relay: the guest reaches the engine's DNS stub");
}
