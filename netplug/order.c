// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Puts the packets of several sources into the order of their times. Each socket is
 * read by itself, a batch at a time, and a guest's packets are under way for a while;
 * so a packet is held until all that can be older have come, as a rule: for HOLD_NS,
 * or until too much is held. A heap has the oldest on top.
 */
#include "netplug/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* How long a packet waits for older ones. */
#define HOLD_NS 200000000ull

/* What is held at most. */
#define HELD_PACKETS 16384
#define HELD_BYTES (32u << 20)

/**
 * struct held - a packet that waits
 * @seq: of equal times the one that came first goes first
 */
struct held {
	struct packet packet;
	size_t source;
	uint64_t seq;
	uint8_t data[];
};

struct order {
	capture_fn *fn;
	void *arg;
	struct held *heap[HELD_PACKETS];
	size_t n, bytes;
	uint64_t seq;
};

/**
 * order_new() - begin to order packets
 * @fn:  called for each packet, in order
 * @ret: owned by the caller, order_free()
 *
 * Return: 0 or -ENOMEM
 */
int order_new(capture_fn *fn, void *arg, struct order **ret, struct err *e)
{
	struct order *o = mem_new(struct order);

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	o->fn = fn;
	o->arg = arg;
	*ret = o;
	return 0;
}

/**
 * order_free() - forget what is held; NULL is fine
 */
void order_free(struct order *o)
{
	while (o && o->n)
		free(o->heap[--o->n]);
	free(o);
}

static bool before(const struct held *a, const struct held *b)
{
	return a->packet.ts_ns != b->packet.ts_ns ? a->packet.ts_ns < b->packet.ts_ns :
						    a->seq < b->seq;
}

static void push(struct order *o, struct held *h)
{
	size_t i = o->n++;

	for (; i && before(h, o->heap[(i - 1) / 2]); i = (i - 1) / 2)
		o->heap[i] = o->heap[(i - 1) / 2];
	o->heap[i] = h;
	o->bytes += h->packet.caplen;
}

static struct held *pop(struct order *o)
{
	struct held *top = o->heap[0], *last = o->heap[--o->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < o->n) {
		if (child + 1 < o->n && before(o->heap[child + 1], o->heap[child]))
			child++;
		if (!before(o->heap[child], last))
			break;
		o->heap[i] = o->heap[child];
		i = child;
	}
	o->heap[i] = last;
	o->bytes -= top->packet.caplen;
	return top;
}

static int release_one(struct order *o, struct err *e)
{
	struct held *h = pop(o);
	int rc = o->fn(o->arg, h->source, &h->packet, e);

	free(h);
	return rc;
}

/**
 * order_release() - hand out what has been held long enough
 * @now_ns: CLOCK_REALTIME; UINT64_MAX: everything
 *
 * Return: 0; what the function returned
 */
int order_release(struct order *o, uint64_t now_ns, struct err *e)
{
	int rc = 0;

	while (!rc && o->n && o->heap[0]->packet.ts_ns < now_ns - HOLD_NS)
		rc = release_one(o, e);
	while (!rc && o->n && now_ns == UINT64_MAX)
		rc = release_one(o, e);
	return rc;
}

/**
 * order_add() - one more packet; others may be handed out
 * @k: copied
 *
 * Return: 0; what the function returned; -ENOMEM
 */
int order_add(struct order *o, size_t source, const struct packet *k, struct err *e)
{
	struct held *h = malloc(sizeof(*h) + k->caplen);
	int rc = 0;

	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	h->packet = *k;
	h->source = source;
	h->seq = o->seq++;
	memcpy(h->data, k->data, k->caplen);
	h->packet.data = h->data;
	push(o, h);
	while (!rc && (o->n == HELD_PACKETS || o->bytes > HELD_BYTES))
		rc = release_one(o, e);
	return rc;
}
