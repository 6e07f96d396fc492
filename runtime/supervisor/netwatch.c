// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The pod's network namespace while the machine runs. A notification of the kernel starts
 * a timer; when it runs off, whoever changes things has got somewhere, and a round brings
 * machine and guest to what the namespace is now: it is planned anew and compared with the plan
 * that has been carried out (netplug/plan-again.c, diff.c).
 * - An interface that has gone is taken from the guest and the machine, then what
 *   joined it is undone.
 * - A new one is joined, plugged, and set up by the agent. If that fails it is taken back, and
 *   the plan is made without it; it is tried again after a while, some times, and as soon as
 *   another one has gone.
 * - All else is one message to the agent: what to add and what to take back. The link of an
 *   interface that is down, or has no carrier, is down in the machine.
 * What we do causes notifications, too: the next round finds nothing to do.
 *
 * A container that starts does not wait for the timer: what an engine, or a hook, has put into
 * the namespace before is there when its program begins.
 *
 * A round has each resolv.conf looked at for an engine's DNS stub, too.
 *
 * What cannot be joined is named in the log, once; the pod lives. The same goes for a guest
 * that does not let go of an interface: the monitor keeps the device, with a tap that is gone.
 *
 * An agent that does not answer holds us up once, for one call: while it owes an answer no
 * round begins; nor does a round go on after ROUND_MS.
 *
 * The namespace of a pod without a path of it is ours alone, and is not watched; nor is one with
 * an interface that is joined by a macvtap, which has nothing of its own any more. One whose path
 * has gone lives on as long as the pod, but nothing can be joined any more, for no record
 * in the journal could lead back to it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

#define AGENT_UPDATE_MS 10000

/* Until a round begins; of what one may take before others get their turn. */
#define SETTLE_MS 100
#define ROUND_MS 10000

/* Before an interface, or the agent, is tried again: doubled each time, up to the second one. */
#define RETRY_MS 1000
#define RETRY_MAX_MS 64000

/* Interfaces that could not be joined and are remembered. */
#define APART_MAX 64

/* What was said of what is left out. */
#define SAID_MAX 32

/**
 * struct held - an interface of the machine
 * @port: as it was joined, without taps
 * @up:   its link in the machine
 * @left: the namespace does not have it any more, but the machine does
 */
struct held {
	struct netplug_port port;
	bool up, left;
};

/**
 * struct apart - an interface that could not be joined
 * @wait_ms:  that it has waited last
 * @until_ms: of clock_ms(): when it is tried again; UINT64_MAX: not by itself
 */
struct apart {
	uint32_t ifindex;
	uint64_t wait_ms, until_ms;
};

/**
 * struct netwatch - the watch of one pod
 * @path:  of the namespace, owned
 * @taps:  ends of each tap
 * @plan:  what has been carried out, owned
 * @sure:  the guest has been told all of @plan
 * @soon:  a round is about to begin
 * @heard: something has changed since the last one
 * @wait_ms: that a round after a failure has waited last; 0: none has failed
 * @said:  owned, @n_said of them
 */
struct netwatch {
	struct pod *pod;
	char *path;
	size_t taps;
	struct netplug_watch *watch;
	int timer;
	struct loop_src *watch_src, *timer_src;
	struct netplug_plan *plan;
	bool sure, soon, heard;
	uint64_t wait_ms;
	struct held held[2 * NETPLUG_PORTS_MAX];
	size_t n_held;
	struct apart apart[APART_MAX];
	size_t n_apart;
	char *said[SAID_MAX];
	size_t n_said;
};

static void arm(struct netwatch *w, uint64_t ms)
{
	struct err e;

	if (timer_set(w->timer, ms, &e) < 0)
		log_warn("pod %s: network: %s", w->pod->id, e.text);
}

/* ---- interfaces that are not joined -------------------------------------------------- */

static struct apart *find_apart(struct netwatch *w, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < w->n_apart; i++)
		if (w->apart[i].ifindex == ifindex)
			return &w->apart[i];
	return NULL;
}

/* @later: it has not failed, there was no time for it */
static void set_apart(struct netwatch *w, uint32_t ifindex, bool later)
{
	struct apart *a = find_apart(w, ifindex);

	if (!a) {
		if (w->n_apart == APART_MAX)
			memmove(w->apart, w->apart + 1, --w->n_apart * sizeof(*a));
		a = &w->apart[w->n_apart++];
		*a = (struct apart){ .ifindex = ifindex };
	}
	if (!later)
		a->wait_ms = a->wait_ms ? a->wait_ms * 2 : RETRY_MS;
	a->until_ms = a->wait_ms > RETRY_MAX_MS ? UINT64_MAX :
		      clock_ms() + (later ? SETTLE_MS : a->wait_ms);
}

static void not_apart(struct netwatch *w, uint32_t ifindex)
{
	struct apart *a = find_apart(w, ifindex);

	if (a)
		*a = w->apart[--w->n_apart];
}

/* There is room again. */
static void nobody_apart(struct netwatch *w)
{
	w->n_apart = 0;
}

static size_t list_apart(const struct netwatch *w, uint32_t list[APART_MAX])
{
	uint64_t now = clock_ms();
	size_t i, n = 0;

	for (i = 0; i < w->n_apart; i++)
		if (w->apart[i].until_ms > now)
			list[n++] = w->apart[i].ifindex;
	return n;
}

/* ---- what cannot be joined is said once ---------------------------------------------- */

static bool was_said(const struct netwatch *w, const char *note)
{
	size_t i;

	for (i = 0; i < w->n_said; i++)
		if (!strcmp(w->said[i], note))
			return true;
	return false;
}

static void forget_said(struct netwatch *w)
{
	while (w->n_said)
		free(w->said[--w->n_said]);
}

static void say_notes(struct netwatch *w, const struct netplug_plan *p)
{
	const char *note;
	size_t i;

	for (i = 0; (note = netplug_plan_note(p, i)); i++)
		if (!was_said(w, note))
			log_warn("pod %s: network: left out: %s", w->pod->id, note);
	forget_said(w);
	for (i = 0; i < SAID_MAX && (note = netplug_plan_note(p, i)); i++)
		if ((w->said[w->n_said] = strdup(note)))
			w->n_said++;
}

/* ---- interfaces that come and go ------------------------------------------------------- */

static struct held *find_held(struct netwatch *w, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < w->n_held; i++)
		if (w->held[i].port.ifindex == ifindex && !w->held[i].left)
			return &w->held[i];
	return NULL;
}

static void hold(struct netwatch *w, const struct netplug_port *port)
{
	struct held *h = &w->held[w->n_held++];

	*h = (struct held){ .port = *port, .up = true };
	h->port.n_taps = 0;
}

/* Takes the device from guest and machine. Return: whether it is gone */
static bool let_go(struct netwatch *w, struct held *h)
{
	struct err e;
	int rc = w->pod->agent.owed ? err_set(&e, EBUSY, "its agent does not answer") :
		 nic_remove(w->pod, h->port.mac, &e);

	if (rc < 0 && rc != -ENOENT) {
		log_warn("pod %s: network: interface %s stays in the guest: %s", w->pod->id,
			 h->port.name, e.text);
		h->left = true;
		return false;
	}
	log_info("pod %s: network: interface %s has gone", w->pod->id, h->port.name);
	pod_stamp(w->pod, 0, "interface %s has gone", h->port.name);
	*h = w->held[--w->n_held];
	nobody_apart(w);
	return true;
}

static void leave(struct netwatch *w, uint32_t ifindex)
{
	struct held *h = find_held(w, ifindex);
	struct netplug_port port;
	struct err e;

	if (!h)
		return;
	port = h->port;
	let_go(w, h);
	if (netplug_leave(&port, w->pod->journal, &e) < 0)
		log_warn("pod %s: network: %s", w->pod->id, e.text);
}

static int plug(struct netwatch *w, const struct netplug_plan *p, size_t i,
		const struct netplug_port *port, struct err *e)
{
	Podvm__Network net;
	int rc = netplug_plan_link(p, i, &net, e);

	if (rc < 0)
		return rc;
	rc = nic_add(w->pod, port, &net, e);
	free(net.links);
	free(net.neighbours);
	free(net.sysctls);
	return rc;
}

static int join(struct netwatch *w, struct netplug_plan *p, size_t i, struct err *e)
{
	struct pod *pod = w->pod;
	struct netplug_port port;
	struct err undo;
	int rc;

	if (w->n_held == ARRAY_LEN(w->held))
		return err_set(e, E2BIG, "the guest holds on to too many that have gone");
	rc = netplug_apply_port(p, i, pod->netns_fd, w->path, w->taps, pod->journal, &port, e);
	if (rc < 0)
		return rc;
	rc = plug(w, p, i, &port, e);
	/* The monitor has copies; ours would keep the tap alive after it. */
	netplug_port_close(&port);
	if (rc < 0) {
		if (netplug_leave(&port, pod->journal, &undo) < 0)
			log_warn("pod %s: network: %s", pod->id, undo.text);
		return rc;
	}
	hold(w, &port);
	not_apart(w, port.ifindex);
	log_info("pod %s: network: interface %s is joined", pod->id, port.name);
	pod_stamp(pod, 0, "interface %s is joined", port.name);
	return 0;
}

/* Return: whether all could be joined */
static bool join_all(struct netwatch *w, struct netplug_plan *p, const struct netplug_diff *d,
		     uint64_t end_ms)
{
	struct netplug_port port;
	bool all = true, carrier;
	struct err e;
	size_t i;

	for (i = 0; i < d->n_fresh; i++) {
		bool late = clock_ms() > end_ms || w->pod->agent.owed;

		netplug_plan_port(p, d->fresh[i], &port, &carrier);
		if (!late && join(w, p, d->fresh[i], &e) >= 0)
			continue;
		if (!late)
			log_warn("pod %s: network: interface %s is not joined: %s", w->pod->id,
				 port.name, e.text);
		set_apart(w, port.ifindex, late);
		all = false;
	}
	return all;
}

/*
 * Plans until all that is planned is joined; each time without what failed.
 * @ret: owned by the caller; ports that are new are joined
 */
static int settle_ports(struct netwatch *w, struct netplug_plan **ret, struct err *e)
{
	struct netplug_plan *base = w->plan, *next;
	uint64_t end_ms = clock_ms() + ROUND_MS;
	uint32_t apart[APART_MAX];
	struct netplug_diff d;
	bool all;
	size_t i;
	int rc;

	do {
		rc = netplug_plan_again(w->pod->netns_fd, base, apart, list_apart(w, apart), &next,
					e);
		if (rc >= 0 && (rc = netplug_diff(base, next, true, &d, e)) < 0)
			netplug_plan_free(next);
		if (rc >= 0) {
			for (i = 0; i < d.n_gone; i++)
				leave(w, d.gone[i]);
			all = join_all(w, next, &d, end_ms);
			netplug_diff_done(&d);
		}
		if (base != w->plan)
			netplug_plan_free(base);
		base = next;
	} while (rc >= 0 && !all);
	if (rc < 0)
		return rc;
	*ret = next;
	return 0;
}

/* ---- everything else --------------------------------------------------------------------- */

static void follow_port(struct netwatch *w, const struct netplug_plan *p, size_t i)
{
	struct netplug_port port;
	struct held *h;
	bool carrier;
	struct err e;

	netplug_plan_port(p, i, &port, &carrier);
	h = find_held(w, port.ifindex);
	if (!h)
		return;
	if (port.mtu != h->port.mtu && netplug_set_mtu(p, i, w->pod->netns_fd, &e) < 0)
		log_warn("pod %s: network: %s", w->pod->id, e.text);
	h->port.mtu = port.mtu;
	memcpy(h->port.name, port.name, sizeof(port.name));
	if (carrier == h->up)
		return;
	if (nic_link(w->pod, h->port.mac, carrier, &e) < 0) {
		log_warn("pod %s: network: interface %s: %s", w->pod->id, port.name, e.text);
		return;
	}
	h->up = carrier;
	log_info("pod %s: network: interface %s is %s", w->pod->id, port.name,
		 carrier ? "up" : "down");
}

static int tell_guest(struct netwatch *w, const struct netplug_plan *next, struct err *e)
{
	Podvm__NetworkUpdate m = PODVM__NETWORK_UPDATE__INIT;
	Podvm__Request rq = AGENT_REQUEST(network_update = &m, NETWORK_UPDATE);
	struct netplug_diff d;
	int rc = netplug_diff(w->plan, next, w->sure, &d, e);

	if (rc < 0)
		return rc;
	m.add = &d.add;
	m.remove = &d.remove;
	if (netplug_diff_tells(&d)) {
		log_debug("pod %s: network: the guest is told", w->pod->id);
		rc = agent_call(&w->pod->agent, &rq, AGENT_UPDATE_MS, NULL, e);
	}
	netplug_diff_done(&d);
	return rc;
}

/* Those that the guest did not let go of. */
static void let_go_later(struct netwatch *w)
{
	size_t i;

	for (i = w->n_held; i--;)
		if (w->held[i].left)
			let_go(w, &w->held[i]);
}

static int one_round(struct netwatch *w, struct err *e)
{
	struct netplug_plan *next;
	size_t i;
	int rc;

	let_go_later(w);
	rc = settle_ports(w, &next, e);
	if (rc < 0)
		return rc;
	say_notes(w, next);
	for (i = 0; i < netplug_plan_ports(next); i++)
		follow_port(w, next, i);
	rc = tell_guest(w, next, e);
	w->sure = rc >= 0;
	netplug_plan_settle(next);
	netplug_plan_free(w->plan);
	w->plan = next;
	return rc;
}

/* ---- when ---------------------------------------------------------------------------------- */

/* When the next round begins by itself, if it does. */
static void arm_again(struct netwatch *w, bool failed)
{
	uint64_t now = clock_ms(), at = UINT64_MAX;
	size_t i;

	w->wait_ms = !failed ? 0 : w->wait_ms ? w->wait_ms * 2 : RETRY_MS;
	if (failed && w->wait_ms <= RETRY_MAX_MS)
		at = now + w->wait_ms;
	for (i = 0; i < w->n_apart; i++)
		if (w->apart[i].until_ms < at)
			at = w->apart[i].until_ms;
	if (at != UINT64_MAX)
		arm(w, at > now ? at - now : 1);
}

static bool any_left(const struct netwatch *w)
{
	size_t i;

	for (i = 0; i < w->n_held && !w->held[i].left; i++)
		;
	return i < w->n_held;
}

/*
 * Docker writes its DNS stub into the resolv.conf of a running container before it plugs the
 * first network that has names.
 */
static void look_for_stub(struct pod *p)
{
	const struct container *c;

	for (c = p->containers; c; c = c->next)
		relayd_container(p, c);
}

static void begin_round(struct netwatch *w)
{
	struct err e;
	int rc;

	w->soon = w->heard = false;
	look_for_stub(w->pod);
	rc = one_round(w, &e);
	if (rc < 0)
		log_warn("pod %s: network: %s", w->pod->id, e.text);
	arm_again(w, rc < 0 || any_left(w));
}

static void on_timer(void *arg, uint32_t events)
{
	struct netwatch *w = arg;

	(void)events;
	timer_ack(w->timer);
	w->soon = false;
	if (w->pod->dead)
		return;
	if (w->pod->agent.owed)
		arm(w, RETRY_MS);
	else
		begin_round(w);
}

static void on_change(void *arg, uint32_t events)
{
	struct netwatch *w = arg;

	(void)events;
	if (!netplug_watch_read(w->watch))
		return;
	w->heard = true;
	/* Not put off by what comes later: changes without an end are followed, too. */
	if (w->soon)
		return;
	w->soon = true;
	arm(w, SETTLE_MS);
}

/**
 * netwatch_settle() - what has changed in the pod's namespace until now reaches the guest now
 *
 * What cannot be joined is named in the log, as in every round.
 *
 * Context: the supervisor's loop, not within a round
 */
void netwatch_settle(struct pod *p)
{
	struct netwatch *w = p->netwatch;

	if (!w || !w->plan || p->dead || p->agent.owed)
		return;
	if (netplug_watch_read(w->watch) || w->heard)
		begin_round(w);
}

/**
 * netwatch_open() - begin to watch the pod's namespace, before it is looked at
 * @path: that leads to it; NULL: it is the pod's alone, and nothing is watched
 * @taps: ends of each tap
 *
 * Return: 0 or minus errno
 */
int netwatch_open(struct pod *p, const char *path, size_t taps, struct err *e)
{
	struct netwatch *w;
	int rc;

	if (!path)
		return 0;
	w = mem_new(struct netwatch);
	if (!w)
		return err_set(e, ENOMEM, "out of memory");
	w->pod = p;
	w->taps = taps;
	w->timer = -1;
	p->netwatch = w;
	w->path = strdup(path);
	rc = w->path ? 0 : err_set(e, ENOMEM, "out of memory");
	if (!rc)
		rc = netplug_watch_new(p->netns_fd, &w->watch, e);
	if (rc >= 0)
		rc = w->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(p->loop, netplug_watch_fd(w->watch), EPOLLIN, on_change, w,
			      &w->watch_src, e);
	if (rc >= 0)
		rc = loop_add(p->loop, w->timer, EPOLLIN, on_timer, w, &w->timer_src, e);
	if (rc < 0)
		netwatch_done(p);
	return rc < 0 ? err_wrap(e, "network: watch") : 0;
}

/**
 * netwatch_begin() - from now on what changes reaches the guest
 * @plan:  what has been carried out, in the guest, too; taken over
 * @ports: of it, @n of them
 */
void netwatch_begin(struct pod *p, struct netplug_plan *plan, const struct netplug_port *ports,
		    size_t n)
{
	struct netwatch *w = p->netwatch;
	size_t i;

	if (w && !netplug_plan_follows(plan)) {
		log_info("pod %s: network: joined by a macvtap, and not watched", p->id);
		netwatch_done(p);
		w = NULL;
	}
	if (!w) {
		p->plan = plan;
		return;
	}
	netplug_plan_settle(plan);
	w->plan = plan;
	w->sure = true;
	for (i = 0; i < n; i++)
		hold(w, &ports[i]);
	/* What has changed since the plan was made, and links without a carrier. */
	w->soon = true;
	arm(w, SETTLE_MS);
}

/**
 * pod_plan() - what is carried out of the pod's network; NULL before it begins; borrowed
 */
const struct netplug_plan *pod_plan(const struct pod *p)
{
	return p->netwatch ? p->netwatch->plan : p->plan;
}

/**
 * netwatch_done() - end watching; fine when nothing was watched
 */
void netwatch_done(struct pod *p)
{
	struct netwatch *w = p->netwatch;

	if (!w)
		return;
	p->netwatch = NULL;
	loop_del(w->watch_src);
	loop_del(w->timer_src);
	fd_close(&w->timer);
	netplug_watch_free(w->watch);
	netplug_plan_free(w->plan);
	forget_said(w);
	free(w->path);
	free(w);
}
