// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The guest's half of capture and trace, as its agent tells it (lib/agent.proto). All
 * of it is guest data: a length or a kind that cannot be ends the guest's half with an
 * error, and no count of the guest's makes us allocate.
 *
 * One clock: the guest is asked for its time, and the answer lies between question and
 * answer by ours. The middle is taken, half of the while is how wrong that can be, and
 * the shortest of a few tries counts. A packet's time is then put onto our clock.
 * One from before the capture or from the future is a lie, or somebody has set the
 * guest's clock: it gets the nearest time that is possible, and is counted.
 *
 * Source of the idea: RFC 5905, section 8 (on-wire protocol), without its filters.
 */
#include "netplug/half.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <time.h>

#include "lib/mem.h"

/**
 * half_now_ns() - our CLOCK_REALTIME, nanoseconds since 1970
 */
uint64_t half_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/**
 * half_ask() - ask what the guest's network counts
 * @mac:   of an interface; NULL: none
 * @probe: that the guest shall send before; NULL: none
 * @ret:   podvm__response__free_unpacked(); its member told is set
 *
 * Return: 0; -ENOSYS from an agent of an older version; minus errno
 */
int half_ask(struct agent *a, const uint8_t *mac, const Podvm__Probe *probe,
	      Podvm__Response **ret, struct err *e)
{
	Podvm__TraceAsk m = PODVM__TRACE_ASK__INIT;
	Podvm__Request rq = AGENT_REQUEST(trace_ask = &m, TRACE_ASK);
	Podvm__Response *rs;
	int rc;

	if (mac) {
		m.mac.data = (uint8_t *)(uintptr_t)mac;
		m.mac.len = 6;
	}
	m.probe = (Podvm__Probe *)(uintptr_t)probe;
	rc = agent_call(a, &rq, HALF_ANSWER_MS, &rs, e);
	if (rc < 0)
		return rc;
	if (rs->body_case != PODVM__RESPONSE__BODY_TOLD) {
		podvm__response__free_unpacked(rs, NULL);
		return err_set(e, EPROTO, "the guest's agent answers something else");
	}
	*ret = rs;
	return 0;
}

/**
 * half_clock() - measure how the guest's clock stands to ours
 * @times: tries, of which the best counts
 *
 * Return: 0 or minus errno
 */
int half_clock(struct agent *a, unsigned int times, struct half_clock *ret, struct err *e)
{
	struct half_clock best = { .within_ns = UINT64_MAX };

	while (times--) {
		uint64_t before = half_now_ns(), after, half;
		Podvm__Response *rs;
		int rc = half_ask(a, NULL, NULL, &rs, e);

		if (rc < 0)
			return rc;
		after = half_now_ns();
		half = after > before ? (after - before + 1) / 2 : 0;
		if (half < best.within_ns) {
			best.ahead_ns = (int64_t)(rs->told->realtime_ns - (before + half));
			best.within_ns = half;
		}
		podvm__response__free_unpacked(rs, NULL);
	}
	*ret = best;
	return 0;
}

/**
 * half_begin() - begin a capture in the guest
 * @h:       @h->agent is a connection of its own and @h->clock is known; the rest is set
 * @mac:     of the interface
 * @f:       borrowed
 * @snaplen: 1 to PACKET_SNAPLEN_MAX
 *
 * Return: 0; -ENODEV; -EBUSY; minus errno
 */
int half_begin(struct half *h, const uint8_t mac[6], const struct filter *f,
		  uint32_t snaplen, struct err *e)
{
	Podvm__CaptureOpen m = PODVM__CAPTURE_OPEN__INIT;
	Podvm__Request rq = AGENT_REQUEST(capture_open = &m, CAPTURE_OPEN);

	h->start_ns = half_now_ns();
	h->snaplen = snaplen;
	h->received = h->dropped = h->odd = 0;
	h->last = false;
	m.mac.data = (uint8_t *)(uintptr_t)mac;
	m.mac.len = 6;
	m.filter.data = (uint8_t *)f->insn;
	m.filter.len = f->n * sizeof(*f->insn);
	m.snaplen = snaplen;
	return agent_call(&h->agent, &rq, HALF_ANSWER_MS, NULL, e);
}

/* A guest's time on our clock. */
static uint64_t map_time(struct half *h, uint64_t guest_ns, uint64_t now_ns)
{
	uint64_t ours = guest_ns - (uint64_t)h->clock.ahead_ns;
	uint64_t first = h->start_ns - h->clock.within_ns;
	uint64_t last = now_ns + h->clock.within_ns;

	/* Differences, since a guest's number may wrap. */
	if ((int64_t)(ours - first) >= 0 && (int64_t)(last - ours) >= 0)
		return ours;
	h->odd++;
	return (int64_t)(ours - first) < 0 ? first : last;
}

static int take_packet(struct half *h, const Podvm__Packet *m, uint64_t now_ns,
		       packet_fn *fn, void *arg, struct err *e)
{
	struct packet k = { .len = m->len, .caplen = (uint32_t)m->data.len, .data = m->data.data };

	if (m->data.len > h->snaplen || m->len < m->data.len || m->len > PACKET_LEN_MAX)
		return err_set(e, EPROTO, "the guest's agent tells %zu bytes of a packet of %u",
			       m->data.len, m->len);
	if (m->type > PACKET_OUTGOING)
		return err_set(e, EPROTO, "the guest's agent tells a packet of kind %u", m->type);
	k.type = (uint8_t)m->type;
	k.ts_ns = map_time(h, m->ts_ns, now_ns);
	return fn(arg, &k, e);
}

/**
 * half_take() - take a batch of packets
 * @now_ns: our CLOCK_REALTIME when it came
 * @fn:     called for each packet
 *
 * Return: 0; -EPROTO; what @fn returned
 */
int half_take(struct half *h, const Podvm__Captured *m, uint64_t now_ns,
		   packet_fn *fn, void *arg, struct err *e)
{
	size_t i;

	if (m->n_packets > PACKET_BATCH_MAX)
		return err_set(e, EPROTO, "the guest's agent tells %zu packets at once",
			       m->n_packets);
	if (m->dropped > m->received || m->received < h->received || m->dropped < h->dropped)
		return err_set(e, EPROTO, "the guest's agent counts backwards");
	for (i = 0; i < m->n_packets; i++) {
		int rc = take_packet(h, m->packets[i], now_ns, fn, arg, e);

		if (rc < 0)
			return rc;
	}
	h->received = m->received;
	h->dropped = m->dropped;
	h->last = m->last;
	return 0;
}
