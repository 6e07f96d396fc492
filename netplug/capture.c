// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Listens to several hops of a pod at once, in one loop, and hands each packet to a
 * function. The sockets of the host's side have one clock, the kernel's; the guest's
 * packets come by a connection for each of its interfaces, with their times put onto
 * that clock (half.c). A further connection measures the guest's clock again now and
 * then, since two clocks drift apart.
 *
 * Stages: add sources (privileged: packet sockets, entering a namespace), drop the
 * privileges, run until the loop is stopped, finish: what has arrived is still read,
 * and a guest gets a while for what it has. An interface that goes away, or a guest
 * that ends or lies, ends that source and no other.
 */
#include "netplug/capture.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "netplug/netns.h"

/* Tries of the first measurement of a guest's clock, and when it is measured again. */
#define CLOCK_TRIES 8
#define CLOCK_AGAIN_MS 10000

/* How long a guest has for its last packets. */
#define FINISH_MS 5000

/* Reads of a socket at the end; under a flood there is always one more. */
#define FINISH_READS 64

/* Messages of a guest before others have a turn. */
#define GUEST_TURNS 8

#define NOBODY 65534

/**
 * struct source - one hop that is listened to
 * @fd:    packet socket, owned; -1: a guest's
 * @guest: its half, @guest.agent.fd is owned; -1: ours
 */
struct source {
	struct capture *capture;
	struct capture_source pub;
	int fd;
	struct half guest;
	struct loop_src *src;
};

/**
 * struct capture - what is listened to
 * @agent:  to measure the guest's clock and ask its counters, owned; fd -1: no guest
 * @finishing: a guest's last message is expected
 * @rc:     why the loop was stopped by us, with @why
 */
struct capture {
	struct capture_config config;
	struct loop *loop;
	struct packet_reader *reader;
	struct agent agent;
	struct half_clock clock;
	int timer;
	struct loop_src *timer_src;
	struct source source[HOPS_MAX];
	size_t n;
	bool finishing;
	int rc;
	struct err why;
};

/**
 * capture_new() - a capture without sources
 * @config: copied; what it points to is borrowed
 * @ret:    owned by the caller, capture_free()
 *
 * Return: 0 or minus errno
 */
int capture_new(const struct capture_config *config, struct capture **ret, struct err *e)
{
	struct capture *c = mem_new(struct capture);
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->config = *config;
	c->agent.fd = -1;
	c->timer = -1;
	rc = packet_reader_new(config->snaplen, &c->reader, e);
	if (!rc)
		rc = loop_new(&c->loop, e);
	if (rc < 0) {
		capture_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

static void source_close(struct source *s)
{
	loop_del(s->src);
	s->src = NULL;
	fd_close(&s->fd);
	agent_done(&s->guest.agent);
}

/**
 * capture_free() - end a capture; NULL is fine
 */
void capture_free(struct capture *c)
{
	if (!c)
		return;
	while (c->n)
		source_close(&c->source[--c->n]);
	loop_del(c->timer_src);
	fd_close(&c->timer);
	agent_done(&c->agent);
	if (c->loop)
		loop_free(c->loop);
	packet_reader_free(c->reader);
	free(c);
}

/**
 * capture_loop() - its loop, for timers and signals of the caller; borrowed
 */
struct loop *capture_loop(struct capture *c)
{
	return c->loop;
}

/**
 * capture_agent() - a connection to the guest's agent, borrowed; NULL: there is no guest
 */
struct agent *capture_agent(struct capture *c)
{
	return c->agent.fd < 0 ? NULL : &c->agent;
}

/**
 * capture_sources() - how many hops are listened to
 */
size_t capture_sources(const struct capture *c)
{
	return c->n;
}

/**
 * capture_source() - one of them, with its counts up to now
 */
const struct capture_source *capture_source(struct capture *c, size_t i)
{
	struct source *s = &c->source[i];

	if (s->fd >= 0)
		packet_counts(s->fd, &s->pub.received, &s->pub.dropped);
	return &s->pub;
}

static void say(struct source *s, const char *what)
{
	char line[ERR_TEXT_BYTES + 64];

	snprintf(line, sizeof(line), "%s %s: %s", hop_side_name(s->pub.hop->side),
		 s->pub.hop->name, what);
	if (s->capture->config.say)
		s->capture->config.say(s->capture->config.arg, line);
}

/* One source has ended; without any the loop has, too. */
static void lose(struct source *s, const char *why)
{
	struct capture *c = s->capture;
	size_t i;

	say(s, why);
	if (s->fd >= 0)
		packet_counts(s->fd, &s->pub.received, &s->pub.dropped);
	source_close(s);
	for (i = 0; i < c->n && !c->source[i].src; i++)
		;
	if (i == c->n)
		loop_stop(c->loop);
}

static void stop(struct capture *c, int rc, const struct err *why)
{
	c->rc = rc;
	c->why = *why;
	loop_stop(c->loop);
}

static int on_packet(void *arg, const struct packet *k, struct err *e)
{
	struct source *s = arg;
	struct capture *c = s->capture;
	int rc;

	if (c->rc < 0)
		return c->rc;
	s->pub.packets++;
	rc = c->config.fn(c->config.arg, (size_t)(s - c->source), k, e);
	if (rc < 0)
		stop(c, rc, e);
	return rc;
}

static int read_socket(struct source *s)
{
	struct err e = { 0 };
	int rc = packet_read(s->capture->reader, s->fd, on_packet, s, &e);

	if (rc == -ENETDOWN)
		say(s, "the interface went down");
	else if (rc < 0 && !s->capture->rc)
		lose(s, e.text);
	return rc;
}

static void on_socket(void *arg, uint32_t events)
{
	(void)events;
	read_socket(arg);
}

/* Return: 1 for a message; 0: nothing has come; minus errno: the guest's half has ended */
static int read_guest(struct source *s)
{
	Podvm__Response *rs;
	struct err e = { 0 };
	int rc = agent_take(&s->guest.agent, &rs, &e);

	if (rc == 1) {
		rc = rs->body_case == PODVM__RESPONSE__BODY_CAPTURED ?
			     half_take(&s->guest, rs->captured, half_now_ns(), on_packet, s, &e) :
			     err_set(&e, EPROTO, "the guest's agent tells something else");
		podvm__response__free_unpacked(rs, NULL);
		s->pub.received = s->guest.received;
		s->pub.dropped = s->guest.dropped;
		if (!rc && !s->guest.last)
			return 1;
		if (!rc && s->capture->finishing) {
			source_close(s);
			return 0;
		}
		if (!rc)
			rc = err_set(&e, EPIPE, "the guest has ended the capture");
	}
	if (rc < 0 && !s->capture->rc)
		lose(s, e.text);
	return rc;
}

static void on_guest(void *arg, uint32_t events)
{
	struct source *s = arg;
	int turn;

	(void)events;
	for (turn = 0; turn < GUEST_TURNS && s->src && read_guest(s) == 1; turn++)
		;
}

static struct source *new_source(struct capture *c, const struct hop *hop)
{
	struct source *s = &c->source[c->n];

	memset(s, 0, sizeof(*s));
	s->capture = c;
	s->pub.hop = hop;
	s->pub.start_ns = half_now_ns();
	s->fd = s->guest.agent.fd = -1;
	return s;
}

/**
 * capture_add() - listen to a device of the host
 * @hop:      borrowed
 * @netns_fd: its namespace, borrowed; -1: the caller's
 *
 * Return: 0 or minus errno
 */
int capture_add(struct capture *c, const struct hop *hop, int netns_fd, struct err *e)
{
	const struct filter *f = c->config.filter;
	struct source *s;
	int back = -1, rc;

	if (c->n == HOPS_MAX)
		return err_set(e, E2BIG, "more than %d hops", HOPS_MAX);
	s = new_source(c, hop);
	rc = netns_fd < 0 ? 0 : netns_enter(netns_fd, &back, e);
	if (rc < 0)
		return rc;
	rc = packet_open(hop->ifindex, f->insn, f->n, &s->fd, e);
	if (back >= 0)
		netns_leave(back);
	if (!rc)
		rc = loop_add(c->loop, s->fd, EPOLLIN, on_socket, s, &s->src, e);
	if (rc < 0) {
		source_close(s);
		return err_wrap(e, "%s %s", hop_side_name(hop->side), hop->name);
	}
	c->n++;
	return 0;
}

/* A measurement that is as good as the first one, or nearly, replaces it. */
static void on_clock(void *arg, uint32_t events)
{
	struct capture *c = arg;
	struct half_clock now;
	struct err ignored;
	size_t i;

	(void)events;
	timer_ack(c->timer);
	if (half_clock(&c->agent, 2, &now, &ignored) < 0)
		return; /* what it tells of its packets will show why */
	if (now.within_ns < 2 * c->clock.within_ns) {
		for (i = 0; i < c->n; i++)
			c->source[i].guest.clock = now;
	}
	timer_set(c->timer, CLOCK_AGAIN_MS, &ignored);
}

static int open_agent(struct capture *c, const struct target *t, struct err *e)
{
	int rc = target_agent(t, &c->agent, e);

	if (!rc)
		rc = half_clock(&c->agent, CLOCK_TRIES, &c->clock, e);
	if (!rc)
		rc = c->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(c->loop, c->timer, EPOLLIN, on_clock, c, &c->timer_src, e);
	if (rc >= 0)
		rc = timer_set(c->timer, CLOCK_AGAIN_MS, e);
	if (rc < 0) {
		agent_done(&c->agent);
		c->agent.fd = -1;
	}
	return rc < 0 ? rc : 0;
}

/**
 * capture_add_guest() - listen to an interface in the guest
 * @hop: borrowed
 * @t:   open
 *
 * Return: 0; -ENOENT for a namespace that is no pod's; minus errno
 */
int capture_add_guest(struct capture *c, const struct hop *hop, const struct target *t,
		      struct err *e)
{
	struct source *s;
	int rc = c->agent.fd < 0 ? open_agent(c, t, e) : 0;

	if (c->n == HOPS_MAX)
		return err_set(e, E2BIG, "more than %d hops", HOPS_MAX);
	s = new_source(c, hop);
	if (!rc)
		rc = target_agent(t, &s->guest.agent, e);
	s->pub.clock = s->guest.clock = c->clock;
	if (!rc)
		rc = half_begin(&s->guest, hop->mac, c->config.filter, c->config.snaplen, e);
	if (!rc)
		rc = loop_add(c->loop, s->guest.agent.fd, EPOLLIN, on_guest, s, &s->src, e);
	if (rc < 0) {
		source_close(s);
		return err_wrap(e, "guest %s", hop->name);
	}
	c->n++;
	return 0;
}

/**
 * capture_add_hops() - listen to hops of a pod
 * @sides: bit n: those of side n
 * @must:  without a guest it is an error; else a line
 * @t:     open
 *
 * Return: 0; -ENOENT when there is nothing to listen to; minus errno
 */
int capture_add_hops(struct capture *c, const struct hops *h, unsigned int sides, bool must,
		     const struct target *t, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < h->n && !rc; i++) {
		const struct hop *hop = &h->hop[i];

		if (!(sides & 1u << hop->side))
			continue;
		if (hop->side != HOP_GUEST)
			rc = capture_add(c, hop, hop->side == HOP_HOST ? -1 : t->netns_fd, e);
		else if (must || t->sock >= 0)
			rc = capture_add_guest(c, hop, t, e);
		if (rc < 0 && hop->side == HOP_GUEST && !must) {
			if (c->config.say)
				c->config.say(c->config.arg, e->text);
			rc = 0;
		}
	}
	if (!rc && !c->n)
		rc = err_set(e, ENOENT, "none of these hops can be seen");
	return rc;
}

/**
 * capture_run() - hand out packets until the loop is stopped or no source is left
 *
 * Return: 0; what the function returned; minus errno
 */
int capture_run(struct capture *c, struct err *e)
{
	int rc = loop_run(c->loop, e);

	if (!rc && c->rc < 0) {
		*e = c->why;
		rc = c->rc;
	}
	return rc;
}

static bool guests_wait(const struct capture *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->source[i].src && c->source[i].fd < 0 && !c->source[i].guest.last)
			return true;
	return false;
}

static void finish_socket(struct source *s)
{
	int i;

	for (i = 0; i < FINISH_READS && s->src && read_socket(s) > 0; i++)
		;
}

/**
 * capture_finish() - hand out what has arrived; nothing comes afterwards
 *
 * Return: 0; what the function returned; minus errno
 */
int capture_finish(struct capture *c, struct err *e)
{
	uint64_t end = clock_ms() + FINISH_MS, now;
	size_t i;
	int rc = 0;

	c->finishing = true;
	for (i = 0; i < c->n && !c->rc; i++) {
		struct source *s = &c->source[i];

		if (s->src && s->fd < 0)
			shutdown(s->guest.agent.fd, SHUT_WR);
		else
			finish_socket(s);
	}
	while (rc >= 0 && !c->rc && guests_wait(c) && (now = clock_ms()) < end)
		rc = loop_step(c->loop, (int)(end - now), e);
	for (i = 0; i < c->n; i++) {
		struct source *s = &c->source[i];

		if (s->src && s->fd < 0 && rc >= 0 && !c->rc)
			say(s, "the guest does not end its capture; its last packets may be missing");
		if (s->guest.odd)
			say(s, "the times of some packets cannot be true; has the guest's clock been set?");
		loop_del(s->src);
		s->src = NULL;
	}
	if (rc >= 0 && c->rc < 0) {
		*e = c->why;
		rc = c->rc;
	}
	return rc < 0 ? rc : 0;
}

/**
 * capture_unprivileged() - give up all privileges of the process, for good
 *
 * What follows reads what anybody may send, and a guest. Sockets and files that are
 * open stay so. The user becomes nobody where there is one.
 *
 * Return: 0 or minus errno
 * Context: one thread only
 */
int capture_unprivileged(struct err *e)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	if (!geteuid()) {
		/* A user namespace may have no such user: then without capabilities only. */
		if (setgroups(0, NULL) < 0 && errno != EPERM)
			return err_sys(e, "setgroups");
		if ((setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		     setresuid(NOBODY, NOBODY, NOBODY) < 0) && errno != EINVAL)
			return err_sys(e, "become nobody");
	}
	if (syscall(SYS_capset, &h, none) < 0)
		return err_sys(e, "capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, "PR_SET_NO_NEW_PRIVS");
	return 0;
}
