// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Two token buckets, bytes and operations, in front of a queue. A request may
 * start while neither is empty, and is then paid for in full, which can leave
 * a debt: so a request larger than the burst passes, too, and the debt is waited
 * for before the next one. Over any time t a device moves at most
 * burst + t * per_s + one request.
 *
 * Tokens come with time, counted when somebody asks; there is no timer here.
 * Who is told to wait leaves the request in its ring (vmm/virtio/pace.h), so
 * nothing is queued.
 */
#include "vmm/virtio/limit.h"

#include <errno.h>
#include <time.h>

#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u

/* Larger figures are no limit, and would not leave room for a debt. */
#define TOKENS_MAX (1ull << 50)

/* Longest wait that is asked for at once; a debt may need several. */
#define WAIT_MAX_MS 1000u

static int fill(struct limit_bucket *b, uint64_t per_s, uint64_t burst, const char *what,
		struct err *e)
{
	if (per_s > TOKENS_MAX || burst > TOKENS_MAX)
		return err_set(e, EINVAL, "limit of %s: %llu above %llu", what,
			       (unsigned long long)(per_s > burst ? per_s : burst), TOKENS_MAX);
	if (burst && !per_s)
		return err_set(e, EINVAL, "limit of %s: a burst without a rate", what);
	/* Without a burst of its own: what comes in a tenth of a second. */
	if (per_s && !burst)
		burst = per_s / 10 + 1;
	*b = (struct limit_bucket){.per_s = per_s, .burst = (int64_t)burst, .left = (int64_t)burst};
	return 0;
}

/**
 * limit_init() - set the limits; both buckets begin full
 * @l:      untouched on failure
 * @cfg:    zeros: no limit
 * @now_ns: CLOCK_MONOTONIC
 *
 * Return: 0; -EINVAL for a burst without a rate, or figures above 2^50
 *
 * #syscalls none
 */
int limit_init(struct limit *l, const struct vmm_limit *cfg, uint64_t now_ns, struct err *e)
{
	struct limit n = {.refilled_ns = now_ns};
	int rc;

	if ((rc = fill(&n.bytes, cfg->bytes_per_s, cfg->burst_bytes, "bytes", e)) < 0 ||
	    (rc = fill(&n.ops, cfg->ops_per_s, cfg->burst_ops, "operations", e)) < 0)
		return rc;
	*l = n;
	return 0;
}

static void gain(struct limit_bucket *b, uint64_t ns)
{
	__int128 left = (__int128)b->left + (__int128)b->per_s * ns / NS_PER_S;

	b->left = left > b->burst ? b->burst : (int64_t)left;
}

/* Nanoseconds until the bucket has a token. */
static uint64_t missing_ns(const struct limit_bucket *b)
{
	if (!b->per_s || b->left > 0)
		return 0;
	return (uint64_t)(((unsigned __int128)(1 - b->left) * NS_PER_S + b->per_s - 1) / b->per_s);
}

/*
 * Time is taken in steps that give the slower bucket whole tokens, or a guest
 * that asks often would lose the fractions.
 */
static void refill(struct limit *l, uint64_t now_ns)
{
	uint64_t slow = l->bytes.per_s, ns;

	if (!slow || (l->ops.per_s && l->ops.per_s < slow))
		slow = l->ops.per_s;
	if (now_ns <= l->refilled_ns)
		return;
	ns = now_ns - l->refilled_ns;
	/* After so long each bucket is full, or has its debt paid. */
	if (ns / NS_PER_S < TOKENS_MAX / slow) {
		unsigned __int128 whole = (unsigned __int128)ns * slow / NS_PER_S;

		ns = (uint64_t)((whole * NS_PER_S + slow - 1) / slow);
	}
	gain(&l->bytes, ns);
	gain(&l->ops, ns);
	l->refilled_ns += ns;
}

/**
 * limit_wait_ms() - may a request start now?
 * @now_ns: CLOCK_MONOTONIC
 *
 * Return: 0 if it may; else milliseconds after which to ask again, 1 to 1000
 * Context: the device's lock
 *
 * #syscalls none
 */
uint64_t limit_wait_ms(struct limit *l, uint64_t now_ns)
{
	uint64_t a, b, ms;

	if (!limit_is_set(l))
		return 0;
	refill(l, now_ns);
	a = missing_ns(&l->bytes);
	b = missing_ns(&l->ops);
	if (!a && !b)
		return 0;
	l->waits++;
	ms = (a > b ? a : b) / NS_PER_MS + 1;
	return ms > WAIT_MAX_MS ? WAIT_MAX_MS : ms;
}

/**
 * limit_take() - pay for a request that limit_wait_ms() let through
 * @bytes: that it moves
 *
 * Context: the device's lock
 *
 * #syscalls none
 */
void limit_take(struct limit *l, uint64_t bytes)
{
	if (l->bytes.per_s)
		l->bytes.left -= (int64_t)(bytes < TOKENS_MAX ? bytes : TOKENS_MAX);
	if (l->ops.per_s)
		l->ops.left--;
}

/**
 * limit_is_set() - whether there is a limit at all
 *
 * #syscalls none
 */
bool limit_is_set(const struct limit *l)
{
	return l->bytes.per_s || l->ops.per_s;
}

/**
 * limit_now_ns() - the clock that limits count by
 *
 * #syscalls clock_gettime
 */
uint64_t limit_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}
