// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How a pod's machine has come to its end when no command wanted that: what is noticed
 * (an event of the monitor, its death, the agent's connection, the watchdog, a signal to
 * us) becomes one enum life_end and one line. The first one counts. Several are noticed at
 * once as a rule, and some only follow from others: a monitor that dies takes the agent's
 * connection along, so who notices the latter looks at the monitor first.
 *
 * A guest's kernel that panics reboots at once (panic=-1, reboot=t on its command line),
 * which is a reset to the monitor, as a triple fault is; an orderly end switches the power
 * off. What the kernel said last on the console tells a panic from the rest, and the death
 * of PID 1, which is the agent, from other panics. These are the guest's own words: they are
 * cut, masked, and decide nothing but the wording.
 *
 * A signal to us (systemctl stop, a host that goes down) is the one end that is not there
 * yet: containers are told by TERM, what they changed goes back, and the machine ends when
 * all have stopped. Who takes too long is killed; a second signal does not wait. An infra
 * container is not told: others may be in its pid namespace, which ends with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"

/* What a panic has to say: its reason, registers, a stack. */
#define CONSOLE_TAIL_BYTES 16384

/*
 * What containers have for an end of their own, as engines give them by default, and then
 * for what goes back to the host: together less than systemd gives a unit (90 s).
 */
#define TOLD_TERM_MS 10000
#define TOLD_KILL_MS 60000

/* How soon the monitor tells of an end of which the agent's connection told first. */
#define MONITOR_TELLS_MS 2000

static const char panic_words[] = "Kernel panic - not syncing: ";
static const char init_words[] = "Attempted to kill init!";

/* Why the pod ends, of which the first word counts. */
static void because(struct pod *p, enum life_end how, const char *why)
{
	if (p->end)
		return;
	p->end = how;
	snprintf(p->end_text, sizeof(p->end_text), "%s: %s", life_end_name(how), why);
	str_mask(p->end_text);
}

/**
 * pod_die() - the machine has come to its end, which leads to the way down
 * @why: what is known of it, for the log and the containers' records; masked
 */
void pod_die(struct pod *p, enum life_end how, const char *why)
{
	if (p->dead)
		return;
	p->dead = true;
	because(p, how, why);
	log_error("pod %s: machine ended: %s", p->id, p->end_text);
}

/* Whether a container has something to end in order. */
static bool has_work(const struct container *c)
{
	return c->committed && !c->infra && c->state->status != STATE_CREATED &&
	       c->state->status != STATE_STOPPED;
}

static void tell(struct pod *p, uint32_t sig)
{
	struct container *c;
	struct err e;

	for (c = p->containers; c; c = c->next)
		if (has_work(c) && container_signal(p, c->id, sig, false, &e) < 0)
			log_warn("container %s: signal %" PRIu32 ": %s", c->id, sig, e.text);
}

static void on_told(void *arg, uint32_t events)
{
	struct pod *p = arg;
	struct err e;

	(void)events;
	timer_ack(p->told_fd);
	if (p->told_kill || timer_set(p->told_fd, TOLD_KILL_MS, &e) < 0) {
		pod_die(p, LIFE_END_TOLD, "");
		return;
	}
	p->told_kill = true;
	tell(p, SIGKILL);
}

/**
 * ending_told() - we got a signal: the pod ends in order, or at once at the second one
 */
void ending_told(struct pod *p)
{
	struct loop_src *src;
	struct err e;

	if (p->end) {
		pod_die(p, LIFE_END_TOLD, "");
		return;
	}
	because(p, LIFE_END_TOLD, "the supervisor got a signal");
	log_warn("pod %s: %s: its containers are told by TERM", p->id, p->end_text);
	p->told_fd = timer_new(&e);
	if (p->told_fd < 0 || timer_set(p->told_fd, TOLD_TERM_MS, &e) < 0 ||
	    loop_add(p->loop, p->told_fd, EPOLLIN, on_told, p, &src, &e) < 0) {
		pod_die(p, LIFE_END_TOLD, "");
		return;
	}
	tell(p, SIGTERM);
	ending_settled(p);
}

/**
 * ending_settled() - a container has stopped, which may be what the end has waited for
 */
void ending_settled(struct pod *p)
{
	const struct container *c;

	for (c = p->containers; c && !has_work(c); c = c->next)
		;
	if (p->end && !c)
		pod_die(p, p->end, "");
}

/**
 * ending_console() - the end of what a guest wrote to its console
 * @dst: one line behind the other, without NULs
 */
void ending_console(const struct pod *p, char *dst, size_t room)
{
	_cleanup_close_ int fd = openat(p->dirfd, "console.log", O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t i, n = 0;
	off_t at;

	if (fd >= 0 && !fstat(fd, &st)) {
		at = st.st_size > (off_t)room - 1 ? st.st_size - (off_t)room + 1 : 0;
		n = pread(fd, dst, room - 1, at);
	}
	for (i = 0; i < n; i++)
		if (!dst[i])
			dst[i] = '?';
	dst[n < 0 ? 0 : n] = 0;
}

/* A guest that has reset itself. */
static void reset(struct pod *p, const char *event)
{
	char text[CONSOLE_TAIL_BYTES], *why;
	enum life_end how = LIFE_END_PANIC;

	ending_console(p, text, sizeof(text));
	why = strstr(text, panic_words);
	if (!why) {
		pod_die(p, LIFE_END_RESET, event);
		return;
	}
	why += sizeof(panic_words) - 1;
	why[strcspn(why, "\r\n")] = 0;
	if (str_starts(why, init_words))
		how = LIFE_END_AGENT_CRASH;
	pod_die(p, how, why);
}

/* The monitor has ended without a word. */
static void monitor_died(struct pod *p, const char *why)
{
	char text[80];
	int status;

	if (proc_wait(p->vmm.pidfd, MONITOR_TELLS_MS, &status, NULL) < 0)
		snprintf(text, sizeof(text), "%.79s", why);
	else if (status > 128)
		snprintf(text, sizeof(text), "the monitor was killed by signal %d", status - 128);
	else
		snprintf(text, sizeof(text), "the monitor ended with status %d", status);
	pod_die(p, LIFE_END_MONITOR, text);
}

/**
 * ending_monitor() - the monitor has something to say, or has ended
 */
void ending_monitor(struct pod *p)
{
	struct vmm_reply ev;
	struct err e;
	int rc = vmm_event(&p->vmm, &ev, &e);

	if (rc == -EPIPE)
		monitor_died(p, e.text);
	else if (rc < 0)
		pod_die(p, LIFE_END_MONITOR, e.text);
	else if (ev.event == VMM_EVENT_SHUTDOWN)
		pod_die(p, LIFE_END_OFF, ev.text);
	else if (ev.event == VMM_EVENT_RESET)
		reset(p, ev.text);
	else
		pod_die(p, LIFE_END_MONITOR, ev.text);
}

/**
 * ending_agent() - the agent has gone, or breaks the protocol
 * @rc:  minus errno of its connection
 * @why: the same in words
 */
void ending_agent(struct pod *p, int rc, const char *why)
{
	struct pollfd f = { .fd = p->vmm.sock, .events = POLLIN };
	char text[80];

	if (p->dead)
		return;
	if (watchdog_bit(p)) {
		snprintf(text, sizeof(text), "the agent has not answered for %llu ms",
			 (unsigned long long)p->config.watchdog_limit_ms);
		pod_die(p, LIFE_END_HANG, text);
		return;
	}
	if (rc == -EPIPE && !p->vmm.have_event && f.fd >= 0)
		poll(&f, 1, MONITOR_TELLS_MS);
	if (p->vmm.have_event || f.revents)
		ending_monitor(p);
	else
		pod_die(p, LIFE_END_AGENT, why);
}
