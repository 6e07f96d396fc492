// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The command "trace": counts the packets of one flow at every hop of a pod, in both
 * directions, with the counters of what lies between before and after, and says where
 * it dies (trace-judge.c). Only the heads of packets are looked at.
 *
 * With --probe it makes the packets itself. Those to an address of the pod come from
 * the caller's namespace: a child of ours sends them, which keeps its privileges and
 * reads nothing; all others come from the guest, whose agent sends them. Otherwise
 * somebody else's are waited for.
 *
 * Stages: open everything, count, give privileges up, watch, count again, judge.
 */
#include "netplug/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/probe.h"
#include "lib/proc.h"
#include "netplug/netns.h"
#include "netplug/trace.h"

/* Enough for all heads that are looked at. */
#define HEAD_BYTES 128

#define SECONDS 10
#define PROBES 3
#define PROBES_MAX 1000
#define PROBE_MS 200

/* How long answers to the last probe are waited for. */
#define LINGER_MS 1000

/* Exit status where nothing can be said. */
#define STATUS_UNKNOWN 2

/**
 * struct tracer - the state of one run
 * @path:     by interface of the pod, @n_paths of them
 * @at:       of each source of the capture, the hop in @path
 * @probe:    packets that are still to be sent
 * @results:  what the child tells of its packets, owned; -1: there is none
 */
struct tracer {
	struct target target;
	const char *to, *from, *protocol, *port;
	bool ping, probing;
	uint64_t seconds, count;
	struct flow flow;
	struct filter filter;
	struct hops hops;
	struct nl *pod, *host;
	struct scan *scan;
	struct capture *capture;
	struct trace_path path[NETPLUG_PORTS_MAX];
	size_t n_paths;
	struct trace_hop *at[HOPS_MAX];
	Podvm__Probe probe;
	int results, timer, signals;
	struct loop_src *results_src, *timer_src, *signals_src;
};

static void say(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "podvm-netplug trace: %s\n", text);
}

static int on_packet(void *arg, size_t source, const struct packet *k, struct err *e)
{
	struct tracer *t = arg;
	struct trace_hop *h = t->at[source];
	bool inwards = (k->type != PACKET_OUTGOING) == h->hop->rx_inwards;
	enum trace_way way = inwards ? TRACE_TO_GUEST : TRACE_FROM_GUEST;
	enum flow_class class = flow_classify(k->data, k->caplen);

	(void)e;
	h->n[class][way]++;
	if (!h->first_ns[class][way] || k->ts_ns < h->first_ns[class][way])
		h->first_ns[class][way] = k->ts_ns;
	return 0;
}

/* ---- our own packets --------------------------------------------------------------------- */

static void stop_soon(struct tracer *t)
{
	struct err ignored;

	timer_set(t->timer, LINGER_MS, &ignored);
}

/* Whose interface has the address; NULL: it is not the pod's. */
static struct trace_path *path_of(struct tracer *t, const struct flow_end *end)
{
	size_t i, k;

	for (i = 0; i < t->scan->n_addrs; i++) {
		const struct scan_addr *a = &t->scan->addr[i];
		const struct scan_link *l = scan_link_at(t->scan, a->ifindex);

		if (a->family != end->family || memcmp(a->ip, end->ip, end->family == AF_INET ? 4 : 16))
			continue;
		for (k = 0; k < t->n_paths; k++)
			if (l && !strcmp(t->path[k].port, l->name))
				return &t->path[k];
	}
	return NULL;
}

/* The first address of the pod that can be reached from outside. */
static int own_address(struct tracer *t, struct flow_end *ret, struct err *e)
{
	size_t i;

	for (i = 0; i < t->scan->n_addrs; i++) {
		const struct scan_addr *a = &t->scan->addr[i];

		if (a->scope != RT_SCOPE_UNIVERSE)
			continue;
		ret->family = a->family;
		memcpy(ret->ip, a->ip, sizeof(ret->ip));
		if (path_of(t, ret))
			return 0;
	}
	return err_set(e, EADDRNOTAVAIL, "the pod's interfaces have no address; say --to");
}

static void note(struct tracer *t, const struct err *e, bool sent)
{
	size_t i;

	for (i = 0; i < t->n_paths; i++) {
		t->path[i].probes++;
		if (!sent)
			snprintf(t->path[i].probe_error, sizeof(t->path[i].probe_error), "%.150s",
				 e->text);
	}
}

/* What the child is: it knows what it sends and reads nothing. */
__attribute__((noreturn)) static void sender(struct tracer *t, int out)
{
	const struct timespec pause = { 0, PROBE_MS * 1000000 };
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (t->probe.sequence = 1; t->probe.sequence <= t->count; t->probe.sequence++) {
		struct err e = { 0 };

		probe_send(&t->probe, &e);
		if (write_full(out, &e, sizeof(e), NULL) < 0 || t->probe.sequence == t->count)
			break;
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

static void on_result(void *arg, uint32_t events)
{
	struct tracer *t = arg;
	struct err e;

	(void)events;
	if (read_full(t->results, &e, sizeof(e), NULL) == 0) {
		note(t, &e, !e.code);
		return;
	}
	loop_del(t->results_src);
	t->results_src = NULL;
	stop_soon(t);
}

static int start_sender(struct tracer *t, struct err *e)
{
	int pair[2];
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	fflush(NULL);
	pid = fork();
	if (!pid)
		sender(t, pair[1]);
	close(pair[1]);
	t->results = pair[0];
	if (pid < 0)
		return err_sys(e, "fork");
	return loop_add(capture_loop(t->capture), t->results, EPOLLIN, on_result, t,
			&t->results_src, e);
}

static void on_timer(void *arg, uint32_t events)
{
	struct tracer *t = arg;
	struct err e = { 0 };
	Podvm__Response *rs;
	int rc;

	(void)events;
	timer_ack(t->timer);
	if (!t->probing || t->results >= 0 || t->probe.sequence == t->count) {
		loop_stop(capture_loop(t->capture));
		return;
	}
	t->probe.sequence++;
	rc = half_ask(capture_agent(t->capture), NULL, &t->probe, &rs, &e);
	if (!rc)
		podvm__response__free_unpacked(rs, NULL);
	note(t, &e, !rc);
	if (t->probe.sequence == t->count)
		stop_soon(t);
	else
		timer_set(t->timer, PROBE_MS, &e);
}

static int prepare_probe(struct tracer *t, struct err *e)
{
	struct trace_path *at;
	size_t i;
	int rc = 0;

	if (!t->flow.to.family)
		rc = own_address(t, &t->flow.to, e);
	if (rc < 0)
		return rc;
	if (!t->flow.protocol)
		t->flow.protocol = IPPROTO_ICMP;
	if (t->flow.protocol != IPPROTO_ICMP && !t->flow.to.port)
		return err_set(e, EINVAL, "--probe needs the port: --to ADDRESS:PORT/PROTOCOL");
	if (!t->count || t->count > PROBES_MAX)
		return err_set(e, EINVAL, "--count: 1 to %d", PROBES_MAX);
	podvm__probe__init(&t->probe);
	t->probe.address.data = t->flow.to.ip;
	t->probe.address.len = t->flow.to.family == AF_INET ? 4 : 16;
	t->probe.port = t->flow.to.port;
	t->probe.protocol = t->flow.protocol;
	at = path_of(t, &t->flow.to);
	for (i = 0; i < t->n_paths; i++)
		t->path[i].probe_way = at ? TRACE_TO_GUEST : TRACE_FROM_GUEST;
	if (!at && t->target.sock < 0)
		return err_set(e, ENOENT, "--to is no address of the pod, so its guest must send the packets; no pod below %s has this network namespace",
			       t->target.root);
	return 0;
}

/* ---- watching ---------------------------------------------------------------------------- */

static struct trace_path *path_named(struct tracer *t, const char *port)
{
	size_t i;

	for (i = 0; i < t->n_paths && strcmp(t->path[i].port, port); i++)
		;
	if (i == t->n_paths) {
		snprintf(t->path[i].port, sizeof(t->path[i].port), "%s", port);
		t->n_paths++;
	}
	return &t->path[i];
}

static void on_signal(void *arg, uint32_t events)
{
	struct tracer *t = arg;
	struct signalfd_siginfo si;

	(void)events;
	if (read(t->signals, &si, sizeof(si)) > 0)
		loop_stop(capture_loop(t->capture));
}

static int watch(struct tracer *t, struct err *e)
{
	static const int ends[] = { SIGINT, SIGTERM };
	struct loop *l = capture_loop(t->capture);
	int rc;

	t->signals = signals_new(ends, ARRAY_LEN(ends), e);
	if (t->signals < 0)
		return t->signals;
	rc = loop_add(l, t->signals, EPOLLIN, on_signal, t, &t->signals_src, e);
	if (!rc)
		rc = t->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(l, t->timer, EPOLLIN, on_timer, t, &t->timer_src, e);
	if (rc >= 0 && t->probing && t->path[0].probe_way == TRACE_TO_GUEST)
		rc = start_sender(t, e);
	else if (rc >= 0)
		rc = timer_set(t->timer, t->probing || !t->seconds ? 1 : t->seconds * 1000, e);
	return rc < 0 ? rc : 0;
}

static int open_namespaces(struct tracer *t, struct err *e)
{
	_cleanup_close_ int self = -1;
	size_t i;
	int rc = target_open(&t->target, e);

	if (!rc)
		rc = self = netns_self(e);
	if (rc >= 0)
		rc = nl_open(self, &t->host, e);
	if (!rc)
		rc = nl_open(t->target.netns_fd, &t->pod, e);
	if (!rc)
		rc = scan_read(t->pod, &t->scan, e);
	if (!rc)
		rc = hops_open(t->target.netns_fd, t->port, &t->hops, e);
	for (i = 0; i < t->hops.n && !rc; i++) {
		const struct hop *hop = &t->hops.hop[i];
		struct trace_path *p = path_named(t, hop->port);

		/* A macvtap needs no redirect. */
		if (hop->side == HOP_TAP)
			p->tc = hops_at(&t->hops, hop->port, HOP_POD) && !hop->rx_inwards;
	}
	return rc;
}

static int count_all(struct tracer *t, bool before, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < t->n_paths && !rc; i++) {
		struct trace_path *p = &t->path[i];

		rc = trace_count(t->pod, t->host, &t->hops, p->port, &t->target,
				 capture_agent(t->capture), before ? &p->was : &p->is, e);
		p->protocol = t->flow.protocol;
		/* Also one whose tap is gone. */
		p->tc |= p->was.filter[TRACE_TO_GUEST].there;
	}
	return rc;
}

/* All that needs privileges. */
static int prepare(struct tracer *t, struct err *e)
{
	const struct capture_config config = { .filter = &t->filter, .snaplen = HEAD_BYTES,
					       .fn = on_packet, .say = say, .arg = t };
	char expression[FLOW_EXPRESSION_BYTES];
	size_t i;
	int rc = open_namespaces(t, e);

	if (!rc && t->probing)
		rc = prepare_probe(t, e);
	if (rc < 0)
		return rc;
	flow_expression(&t->flow, expression);
	rc = filter_compile(expression, &t->filter, e);
	if (!rc)
		rc = capture_new(&config, &t->capture, e);
	if (!rc)
		rc = capture_add_hops(t->capture, &t->hops, (1u << HOP_SIDES) - 1, false, &t->target,
				      e);
	if (rc < 0)
		return rc;
	for (i = 0; i < capture_sources(t->capture); i++) {
		const struct hop *h = capture_source(t->capture, i)->hop;

		t->at[i] = &path_named(t, h->port)->hop[h->side];
		t->at[i]->hop = h;
	}
	if (t->probing && t->path[0].probe_way == TRACE_FROM_GUEST && !capture_agent(t->capture))
		return err_set(e, ESRCH, "the guest's agent cannot be asked to send packets");
	rc = count_all(t, true, e);
	return rc ? rc : watch(t, e);
}

static uint64_t seen(const struct trace_path *p)
{
	uint64_t n = 0;
	int side, class;

	for (side = 0; side < HOP_SIDES; side++)
		for (class = 0; class < FLOW_CLASSES; class++)
			n += (p->hop[side].n[class][0] + p->hop[side].n[class][1]) *
			     (class == FLOW_PACKET ? 1000 : 1);
	return n;
}

static const char head[] = "network namespace %s%s%s: %s\n";

/* The interface that saw most of it. */
static int report(struct tracer *t, struct err *e)
{
	struct trace_path *p = &t->path[0];
	struct trace_verdict v;
	char text[192];
	size_t i;
	int rc = 0;

	for (i = 0; i < capture_sources(t->capture); i++)
		t->at[i]->lost = capture_source(t->capture, i)->dropped;
	if (t->probing && path_of(t, &t->flow.to))
		p = path_of(t, &t->flow.to);
	for (i = 0; i < t->n_paths; i++)
		if (seen(&t->path[i]) > seen(p))
			p = &t->path[i];
	trace_judge(p, &v);
	if (t->target.json) {
		rc = trace_json(&t->target, &t->flow, p, &v, stdout, e);
	} else {
		flow_text(&t->flow, text, sizeof(text));
		printf(head, t->target.shown, *t->target.pod ? ", pod " : "", t->target.pod, text);
		trace_print(p, &v, stdout);
	}
	if (!rc && (fflush(stdout) || ferror(stdout)))
		rc = err_sys(e, "write the output");
	return rc < 0 ? rc : v.outcome == TRACE_PASSES ? 0 : v.outcome == TRACE_UNSEEN ? STATUS_UNKNOWN : 1;
}

static void done(struct tracer *t)
{
	loop_del(t->results_src);
	loop_del(t->timer_src);
	loop_del(t->signals_src);
	fd_close(&t->results);
	fd_close(&t->timer);
	fd_close(&t->signals);
	capture_free(t->capture);
	filter_done(&t->filter);
	scan_free(t->scan);
	nl_free(t->pod);
	nl_free(t->host);
	target_close(&t->target);
}

static int trace(struct tracer *t, struct err *e)
{
	int rc;

	t->probing |= t->ping;
	if (t->to || t->from || t->protocol || !t->ping) {
		rc = flow_parse(t->to, t->from, t->ping ? "icmp" : t->protocol, &t->flow, e);
		if (rc < 0)
			return rc;
	}
	if (t->seconds > UINT32_MAX)
		return err_set(e, EINVAL, "--seconds: %u at most", UINT32_MAX);
	rc = prepare(t, e);
	if (!rc)
		rc = capture_unprivileged(e);
	if (!rc)
		rc = capture_run(t->capture, e);
	if (!rc)
		rc = count_all(t, false, e);
	if (!rc)
		rc = capture_finish(t->capture, e);
	return rc ? rc : report(t, e);
}

/**
 * cmd_trace() - the command "trace"
 *
 * Return: exit status: 0 it passes, 1 it dies or loses packets, 2 nothing can be said
 */
int cmd_trace(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug trace TARGET [OPTION...]\n"
		"\n"
		"Follows one flow through a pod: the host's side of its interface, the interface,\n"
		"tc's redirect, the tap, the virtio queue and the guest, in both directions, and\n"
		"names where it dies. It waits for packets that somebody else makes, or, with\n"
		"--probe or --ping, makes some: from here to an address of the pod, or from the\n"
		"guest to any other. Exit status: 0 the flow passes, 1 it does not, 2 nothing can\n"
		"be said.\n"
		"\n"
		"  podvm-netplug trace web-0 --ping\n"
		"  podvm-netplug trace web-0 --probe --to 10.1.2.3:443/tcp\n"
		"  podvm-netplug trace web-0 --to 8.8.8.8:53/udp --seconds 30\n"
		"\n";
	struct tracer *t = mem_new(struct tracer);
	struct err e = { 0 };
	int rc;

	if (!t) {
		fprintf(stderr, "podvm-netplug trace: out of memory\n");
		return STATUS_UNKNOWN;
	}
	t->target = (struct target)TARGET_INIT;
	t->results = t->timer = t->signals = -1;
	t->seconds = SECONDS;
	t->count = PROBES;
	{
		const struct opt table[] = {
			OPT_STR(0, "to", &t->to, "ADDRESS", "[:PORT][/PROTOCOL], where the flow goes; [ADDRESS]:PORT for IPv6"),
			OPT_STR(0, "from", &t->from, "ADDRESS", "[:PORT][/PROTOCOL], where it comes from"),
			OPT_STR('p', "proto", &t->protocol, "PROTOCOL", "tcp, udp or icmp"),
			OPT_FLAG(0, "probe", &t->probing, "make the packets"),
			OPT_FLAG(0, "ping", &t->ping, "the same with echo requests; to the pod, without --to"),
			OPT_U64('c', "count", &t->count, "N", "how many packets --probe makes (3)"),
			OPT_STR('i', "interface", &t->port, "NAME", "only this interface of the pod"),
			OPT_U64('s', "seconds", &t->seconds, "S", "how long to wait for packets of others (10)"),
			TARGET_OPTIONS(t->target),
			OPT_END,
		};

		rc = target_parse(table, &t->target, argc, argv, help, &e);
	}
	if (!rc)
		rc = trace(t, &e);
	else if (rc == 1)
		rc = 0;
	done(t);
	free(t);
	if (rc < 0)
		fprintf(stderr, "podvm-netplug trace: %s\n", e.text);
	return rc < 0 ? STATUS_UNKNOWN : rc;
}
