// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The command "capture": packets of chosen hops into one pcapng file, with one clock.
 * Opening (the namespace, sockets, the file, the guest's agent) needs privileges;
 * they are given up before the first packet is looked at. It ends by a count, a time,
 * a signal, or a failure to write; then the counters follow, and the file is whole.
 */
#include "netplug/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "netplug/capture.h"
#include "netplug/order.h"
#include "netplug/pcapng.h"

/* How often a person is told how far it is, and how often the file gets what there is. */
#define TICK_MS 1000

/**
 * struct recorder - the state of one run
 * @file, @out: owned; @out -1: nothing is open
 * @limit:      packets after which it ends; UINT64_MAX: none
 * @written:    packets that are in the file, or on their way there
 * @end_ms:     of the loop's clock; UINT64_MAX: none
 * @person:     standard error is a terminal
 */
struct recorder {
	struct target target;
	const char *filter_text, *path, *port;
	uint64_t limit, seconds, snaplen;
	struct filter filter;
	struct hops hops;
	struct capture *capture;
	struct order *order;
	struct pcapng *file;
	int out, timer, signals;
	struct loop_src *timer_src, *signals_src;
	uint64_t written, end_ms;
	bool person;
};

static int write_packet(void *arg, size_t source, const struct packet *k, struct err *e)
{
	static const uint32_t addressed[] = {
		[PACKET_HOST] = PCAPNG_UNICAST, [PACKET_BROADCAST] = PCAPNG_BROADCAST,
		[PACKET_MULTICAST] = PCAPNG_MULTICAST, [PACKET_OTHERHOST] = PCAPNG_OTHER,
		[PACKET_OUTGOING] = 0,
	};
	struct recorder *r = arg;
	struct pcapng_packet p = { .interface = (uint32_t)source, .ts_ns = k->ts_ns,
				   .len = k->len, .caplen = k->caplen, .data = k->data };

	if (r->written >= r->limit)
		return 0;
	p.flags = (k->type == PACKET_OUTGOING ? PCAPNG_OUT : PCAPNG_IN) |
		  (k->type < ARRAY_LEN(addressed) ? addressed[k->type] : 0);
	if (++r->written == r->limit)
		loop_stop(capture_loop(r->capture));
	return pcapng_packet(r->file, &p, e);
}

static int on_packet(void *arg, size_t source, const struct packet *k, struct err *e)
{
	struct recorder *r = arg;

	return order_add(r->order, source, k, e);
}

static void say(void *arg, const char *text)
{
	struct recorder *r = arg;

	fprintf(stderr, "%spodvm-netplug capture: %s\n", r->person ? "\r" : "", text);
}

static void count(struct recorder *r, uint64_t *received, uint64_t *dropped)
{
	size_t i;

	*received = *dropped = 0;
	for (i = 0; i < capture_sources(r->capture); i++) {
		const struct capture_source *s = capture_source(r->capture, i);

		*received += s->received;
		*dropped += s->dropped;
	}
}

/* The next second, or the end if that comes before. A timer of 0 would never ring. */
static int set_tick(struct recorder *r, struct err *e)
{
	uint64_t now = clock_ms(), left = r->end_ms > now ? r->end_ms - now : 1;

	return timer_set(r->timer, left < TICK_MS ? left : TICK_MS, e);
}

static void on_tick(void *arg, uint32_t events)
{
	struct recorder *r = arg;
	uint64_t received, dropped;
	struct err e = { 0 };

	(void)events;
	timer_ack(r->timer);
	/* A failure is met again, with the next packet or at the end. */
	if (order_release(r->order, half_now_ns(), &e) < 0 || pcapng_flush(r->file, &e) < 0 ||
	    clock_ms() >= r->end_ms) {
		loop_stop(capture_loop(r->capture));
		return;
	}
	if (r->person) {
		count(r, &received, &dropped);
		fprintf(stderr, "\r%" PRIu64 " packets, %" PRIu64 " dropped ", received, dropped);
	}
	set_tick(r, &e);
}

static void on_signal(void *arg, uint32_t events)
{
	struct recorder *r = arg;
	struct signalfd_siginfo si;

	(void)events;
	if (read(r->signals, &si, sizeof(si)) > 0)
		loop_stop(capture_loop(r->capture));
}

static int watch(struct recorder *r, struct err *e)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct loop *l = capture_loop(r->capture);
	int rc;

	signal(SIGPIPE, SIG_IGN);
	r->signals = signals_new(ends, ARRAY_LEN(ends), e);
	if (r->signals < 0)
		return r->signals;
	rc = loop_add(l, r->signals, EPOLLIN, on_signal, r, &r->signals_src, e);
	if (!rc)
		rc = r->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(l, r->timer, EPOLLIN, on_tick, r, &r->timer_src, e);
	r->end_ms = r->seconds == UINT64_MAX ? UINT64_MAX : clock_ms() + r->seconds * 1000;
	return rc < 0 ? rc : set_tick(r, e);
}

static int open_file(struct recorder *r, struct err *e)
{
	bool standard = !r->path || !strcmp(r->path, "-");

	if (standard && isatty(STDOUT_FILENO))
		return err_set(e, EINVAL,
			       "packets do not go to a terminal: say -w FILE, or add | tcpdump -r -");
	r->out = standard ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) :
			    open(r->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
	if (r->out < 0)
		return err_sys(e, "%s", standard ? "standard output" : r->path);
	return pcapng_new(r->out, standard ? "standard output" : r->path, &r->file, e);
}

static const char *const described[HOP_SIDES] = {
	[HOP_HOST] = "host's side of the pod's interface",
	[HOP_POD] = "the pod's interface",
	[HOP_TAP] = "the virtual machine's tap",
	[HOP_GUEST] = "the guest's interface",
};

/* One pcapng interface per source, with the same numbers. */
static int describe(struct recorder *r, struct err *e)
{
	size_t i;

	for (i = 0; i < capture_sources(r->capture); i++) {
		const struct capture_source *s = capture_source(r->capture, i);
		const struct hop *h = s->hop;
		struct pcapng_interface d = { .filter = r->filter_text, .mac = h->mac,
					      .snaplen = (uint32_t)r->snaplen };
		char name[64], description[160], comment[256];
		int rc;

		snprintf(name, sizeof(name), "%s:%s", hop_side_name(h->side), h->name);
		snprintf(description, sizeof(description), "%s %s, %s; what it %s goes to the guest",
			 described[h->side], h->name, h->port, h->rx_inwards ? "receives" : "sends");
		snprintf(comment, sizeof(comment),
			 h->side == HOP_GUEST ?
				 "Times are the guest's, put onto the host's clock: the guest's was %+.6f s ahead, give or take %.6f s." :
				 "Times are of the host's kernel.",
			 (double)s->clock.ahead_ns / 1e9, (double)s->clock.within_ns / 1e9);
		d.name = name;
		d.description = description;
		d.comment = comment;
		rc = pcapng_interface(r->file, &d, e);
		if (rc < 0)
			return rc;
	}
	return pcapng_flush(r->file, e);
}

/* All that needs privileges. */
static int prepare(struct recorder *r, const char *hop_list, struct err *e)
{
	const struct capture_config config = { .filter = &r->filter, .fn = on_packet, .say = say,
					       .snaplen = (uint32_t)r->snaplen, .arg = r };
	unsigned int sides;
	int rc = hop_sides_parse(hop_list, &sides, e);

	if (!rc && (!r->snaplen || r->snaplen > PACKET_SNAPLEN_MAX))
		rc = err_set(e, EINVAL, "--snaplen: 1 to %u bytes", PACKET_SNAPLEN_MAX);
	if (!rc && r->seconds != UINT64_MAX && r->seconds > UINT32_MAX)
		rc = err_set(e, EINVAL, "--seconds: %u at most", UINT32_MAX);
	if (!rc)
		rc = filter_compile(r->filter_text, &r->filter, e);
	if (!rc)
		rc = target_open(&r->target, e);
	if (!rc)
		rc = hops_open(r->target.netns_fd, r->port, &r->hops, e);
	if (!rc)
		rc = capture_new(&config, &r->capture, e);
	if (!rc)
		rc = order_new(write_packet, r, &r->order, e);
	if (!rc)
		rc = open_file(r, e);
	if (!rc)
		rc = capture_add_hops(r->capture, &r->hops, sides,
				      hop_list && sides & 1u << HOP_GUEST, &r->target, e);
	if (!rc)
		rc = watch(r, e);
	if (!rc)
		rc = describe(r, e);
	return rc;
}

/* The counters, behind the last packet. */
static int finish(struct recorder *r, struct err *e)
{
	struct pcapng_stats st = { .end_ns = half_now_ns() };
	int rc = capture_finish(r->capture, e);
	size_t i;

	if (!rc)
		rc = order_release(r->order, UINT64_MAX, e);
	for (i = 0; i < capture_sources(r->capture) && !rc; i++) {
		const struct capture_source *s = capture_source(r->capture, i);

		st.start_ns = s->start_ns;
		st.received = s->received;
		st.dropped = s->dropped;
		rc = pcapng_stats(r->file, (uint32_t)i, &st, e);
	}
	return rc ? rc : pcapng_flush(r->file, e);
}

static void summary_text(struct recorder *r)
{
	size_t i;

	if (r->person)
		fprintf(stderr, "\r");
	for (i = 0; i < capture_sources(r->capture); i++) {
		const struct capture_source *s = capture_source(r->capture, i);

		fprintf(stderr, "%-5s %-15s %10" PRIu64 " packets %10" PRIu64 " dropped\n",
			hop_side_name(s->hop->side), s->hop->name, s->received, s->dropped);
	}
	fprintf(stderr, "%" PRIu64 " packets written\n", r->written);
}

static int summary_json(struct recorder *r, struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "netns", r->target.shown);
	json_out_u64(o, "written", r->written);
	json_out_arr(o, "hops");
	for (i = 0; i < capture_sources(r->capture); i++) {
		const struct capture_source *s = capture_source(r->capture, i);

		json_out_obj(o, NULL);
		json_out_str(o, "hop", hop_side_name(s->hop->side));
		json_out_str(o, "interface", s->hop->port);
		json_out_str(o, "device", s->hop->name);
		json_out_u64(o, "packets", s->received);
		json_out_u64(o, "dropped", s->dropped);
		if (s->hop->side == HOP_GUEST) {
			json_out_i64(o, "clockAheadNs", s->clock.ahead_ns);
			json_out_u64(o, "clockWithinNs", s->clock.within_ns);
		}
		json_out_end(o);
	}
	json_out_end(o);
	return json_out_print(o, true, stderr, e);
}

static void done(struct recorder *r)
{
	loop_del(r->timer_src);
	loop_del(r->signals_src);
	fd_close(&r->timer);
	fd_close(&r->signals);
	capture_free(r->capture);
	order_free(r->order);
	pcapng_free(r->file);
	filter_done(&r->filter);
	fd_close(&r->out);
	target_close(&r->target);
}

static int record(struct recorder *r, const char *hop_list, struct err *e)
{
	struct err why = { 0 };
	int rc = prepare(r, hop_list, e), ended;

	if (!rc)
		rc = capture_unprivileged(e);
	if (rc < 0)
		return rc;
	rc = capture_run(r->capture, e);
	/* Also after a failure: what can be written still is. */
	ended = finish(r, rc ? &why : e);
	if (!rc)
		rc = ended;
	if (!rc && r->target.json)
		return summary_json(r, e);
	if (!rc)
		summary_text(r);
	return rc;
}

/**
 * cmd_capture() - the command "capture"
 *
 * Return: exit status
 */
int cmd_capture(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug capture TARGET [OPTION...]\n"
		"\n"
		"Writes the packets of a pod as pcapng, which tcpdump and Wireshark read: as they\n"
		"pass the host's side of its interface, the interface, the virtual machine's tap\n"
		"and the guest's interface, each as an interface of the file, with one clock. A\n"
		"packet that is on one and not on the next was lost between them. Nothing is\n"
		"changed in the pod. It ends with --count, --seconds, or Ctrl-C.\n"
		"\n"
		"  podvm-netplug capture web-0 -w web.pcapng --seconds 10\n"
		"  podvm-netplug capture web-0 --hop tap --filter 'port 53' | tcpdump -n -r -\n"
		"  podvm-netplug capture /run/netns/cni-1234 --hop host,guest -w both.pcapng\n"
		"\n";
	struct recorder *r = mem_new(struct recorder);
	const char *hop_list = NULL;
	struct err e = { 0 };
	int rc;

	if (!r) {
		fprintf(stderr, "podvm-netplug capture: out of memory\n");
		return 1;
	}
	*r = (struct recorder){ .target = TARGET_INIT, .limit = UINT64_MAX, .seconds = UINT64_MAX,
				.snaplen = PACKET_SNAPLEN_MAX, .out = -1, .timer = -1,
				.signals = -1, .person = isatty(STDERR_FILENO) };
	{
		const struct opt table[] = {
			OPT_STR(0, "hop", &hop_list, "HOPS", "of host, pod, tap, guest, with commas (all that can be seen)"),
			OPT_STR('w', "write", &r->path, "FILE", "where to; - is standard output, which is the default"),
			OPT_STR('f', "filter", &r->filter_text, "EXPRESSION", "which packets, as pcap-filter(7) has it"),
			OPT_STR('i', "interface", &r->port, "NAME", "only this interface of the pod"),
			OPT_U64('c', "count", &r->limit, "N", "end after so many packets"),
			OPT_U64('s', "seconds", &r->seconds, "S", "end after so many seconds"),
			OPT_U64(0, "snaplen", &r->snaplen, "BYTES", "keep so much of each packet (262144)"),
			TARGET_OPTIONS(r->target),
			OPT_END,
		};

		rc = target_parse(table, &r->target, argc, argv, help, &e);
	}
	if (!rc)
		rc = record(r, hop_list, &e);
	done(r);
	free(r);
	if (rc < 0)
		fprintf(stderr, "podvm-netplug capture: %s\n", e.text);
	return rc < 0;
}
