// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A pod's machine follows its containers. It never has less than it began with, which is
 * the pod's own word or what its first container needs, or than an operator has asked
 * for (podvm resize). Beyond that it has what its containers need together:
 *
 *	memory      the guest's own + limits of the containers + rest
 *	processors  quotas of the containers + rest, rounded up
 *
 * The rest is what all containers without a limit have together: as much as a pod gets
 * that asks for nothing. A pod that says how large it is has counted them already, and
 * its infra container needs nothing. Containers that have ended count no more.
 *
 * It runs on the host's processors and memory nodes that its containers name together (cpus,
 * mems), and on all when one of them names none.
 *
 * Limits are no reservations, so their sum may be more than the machine can have, as it
 * may on a host: it has the most that it can, then. A limit that is by itself beyond
 * that could never be reached and is refused.
 *
 * Growing comes before what needs it, and is waited for, GROW_MS at most, in which the
 * supervisor does nothing else; a guest that does not follow makes the container fail
 * that needed it. Shrinking comes afterwards, as the guest can; nobody waits.
 */
#include "runtime/supervisor/grow.h"

#include <errno.h>
#include <time.h>

#include "lib/log.h"
#include "lib/num.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

/* Until the guest must have what it was given. */
#define GROW_MS 15000
#define GROW_POLL_NS 10000000

#define PERIOD_US 100000

/* Thousandths of a processor. */
static uint64_t milli(const struct spec_limits *l)
{
	uint64_t period = l->period_us ? l->period_us : PERIOD_US;

	return l->quota_us > UINT64_MAX / 1000 ? UINT64_MAX : l->quota_us * 1000 / period;
}

static uint64_t processors(uint64_t thousandths)
{
	return thousandths / 1000 + (thousandths % 1000 != 0);
}

static void add_set(cpu_set_t *all, bool *any, const cpu_set_t *set)
{
	*any |= !CPU_COUNT(set);
	CPU_OR(all, all, set);
}

/**
 * grow_add() - one more container that needs something
 * @l:     its limits
 * @infra: it is the pod's infra container, which needs nothing beyond them
 */
void grow_add(struct grow_need *n, const struct spec_limits *l, bool infra)
{
	n->memory_bytes = num_sum(n->memory_bytes, l->memory_bytes);
	n->milli = num_sum(n->milli, milli(l));
	n->rest_memory |= !l->memory_bytes && !infra;
	n->rest_vcpus |= !l->quota_us && !infra;
	if (infra)
		return;
	add_set(&n->cpus, &n->any_cpu, &l->cpus);
	add_set(&n->mems, &n->any_mem, &l->mems);
}

/**
 * grow_plan() - what a machine shall have; pure
 * @b:   the machine
 * @n:   what its containers need
 * @ret: between what @b has by itself and what it can have
 */
void grow_plan(const struct grow_base *b, const struct grow_need *n, struct grow_plan *ret)
{
	uint64_t memory = num_sum(b->overhead_bytes, n->memory_bytes), vcpus;

	if (n->rest_memory)
		memory = num_sum(memory, b->rest_bytes);
	vcpus = processors(num_sum(n->milli, n->rest_vcpus ? b->rest_vcpus * 1000ull : 0));
	if (memory > b->memory_max)
		memory = b->memory_max;
	if (vcpus > b->vcpus_max)
		vcpus = b->vcpus_max;
	ret->memory_bytes = memory > b->memory_bytes ? memory : b->memory_bytes;
	ret->vcpus = vcpus > b->vcpus ? (uint32_t)vcpus : b->vcpus;
	ret->cpus = ret->mems = (cpu_set_t){ 0 };
	if (!n->any_cpu)
		ret->cpus = n->cpus;
	if (!n->any_mem)
		ret->mems = n->mems;
}

/**
 * grow_check() - whether a machine can ever have what one container may use
 *
 * Return: 0; -ERANGE naming the limit and the most
 */
int grow_check(const struct grow_base *b, const struct spec_limits *l, struct err *e)
{
	uint64_t vcpus = processors(milli(l));
	uint64_t room = b->memory_max > b->overhead_bytes ? b->memory_max - b->overhead_bytes : 0;

	if (l->memory_bytes > room)
		return err_set(e, ERANGE,
			       "/linux/resources/memory/limit: %llu MiB: a container of this pod can have %llu MiB, and the guest itself the %llu MiB beside them (setting memory.max when the pod starts)",
			       (unsigned long long)l->memory_bytes >> 20,
			       (unsigned long long)room >> 20,
			       (unsigned long long)(b->memory_max - room) >> 20);
	if (vcpus > b->vcpus_max)
		return err_set(e, ERANGE,
			       "/linux/resources/cpu/quota: %llu processors: the pod can have 1 to %u (setting vcpusMax when it starts)",
			       (unsigned long long)vcpus, b->vcpus_max);
	return 0;
}

static struct grow_base base_of(const struct pod *p)
{
	return (struct grow_base){
		.memory_bytes = p->by_hand_bytes ? p->by_hand_bytes : p->ram_bytes,
		.memory_max = p->ram_bytes + p->hotplug_bytes,
		.overhead_bytes = p->overhead_bytes,
		.rest_bytes = p->rest_bytes,
		.vcpus = p->by_hand_vcpus ? p->by_hand_vcpus : p->vcpus,
		.vcpus_max = p->vcpus_max,
		.rest_vcpus = p->rest_vcpus,
	};
}

static void plan(const struct pod *p, struct grow_plan *ret)
{
	const struct grow_base b = base_of(p);
	struct grow_need need = { 0 };
	const struct container *c;

	for (c = p->containers; c; c = c->next)
		if (!c->state || c->state->status != STATE_STOPPED)
			grow_add(&need, &c->limits, c->infra);
	grow_plan(&b, &need, ret);
}

static int wait_plugged(struct pod *p, struct err *e)
{
	const struct timespec pause = { .tv_nsec = GROW_POLL_NS };
	uint64_t end = clock_ms() + GROW_MS;
	Podvm__Pod__Size s;

	for (;;) {
		int rc;

		podvm__pod__size__init(&s);
		rc = machine_get_size(p, &s, e);
		if (rc < 0)
			return rc;
		if (s.plugged >= s.plug_target)
			return 0;
		if (clock_ms() >= end)
			return err_set(e, ETIMEDOUT,
				       "the guest has taken %llu of the %llu MiB that the pod grows by in %d s",
				       (unsigned long long)s.plugged >> 20,
				       (unsigned long long)s.plug_target >> 20, GROW_MS / 1000);
		nanosleep(&pause, NULL);
	}
}

static int grow(struct pod *p, const struct grow_plan *want, struct err *e)
{
	uint32_t online = 0;
	int rc = place_cpus(p, &want->cpus, &want->mems, e);

	if (rc < 0)
		return rc;
	if (want->memory_bytes > p->memory_bytes) {
		rc = machine_set_memory(p, want->memory_bytes, e);
		if (!rc)
			rc = wait_plugged(p, e);
		if (!rc)
			pod_stamp(p, 0, "memory grew to %llu MiB",
				  (unsigned long long)p->memory_bytes >> 20);
	}
	if (rc || want->vcpus <= p->vcpus_now)
		return rc;
	rc = machine_set_vcpus(p, want->vcpus, &online, e);
	if (!rc && online < want->vcpus)
		rc = err_set(e, EIO, "the guest uses %u of the %u processors that the pod grew to",
			     online, want->vcpus);
	if (!rc)
		pod_stamp(p, 0, "processors grew to %u", want->vcpus);
	return rc;
}

/**
 * pod_resize_for() - note a container's limits, and let the machine grow to what they need
 * @c:      in the pod's list; its limits are @limits afterwards
 * @limits: new ones; zeros: none
 *
 * For a new container before the guest makes it, for an update before the guest changes
 * its limits; then pod_resize_shrink(), for a smaller limit and for an update that
 * failed, after which the old limits are noted in the same way.
 *
 * Return: 0: there is room, as far as the machine can have it; -ERANGE naming a limit that
 * it cannot; -ETIMEDOUT, minus errno: nothing has changed
 * Context: waits for the guest, GROW_MS at most
 */
int pod_resize_for(struct pod *p, struct container *c, const struct spec_limits *limits,
		   struct err *e)
{
	const struct grow_base b = base_of(p);
	const struct spec_limits before = c->limits;
	struct grow_plan want;
	int rc = grow_check(&b, limits, e);

	if (rc < 0)
		return rc;
	c->limits = *limits;
	plan(p, &want);
	rc = grow(p, &want, e);
	if (rc < 0) {
		c->limits = before;
		pod_resize_shrink(p);
	}
	return rc;
}

/**
 * pod_resize_shrink() - take back what no container needs any more, as the guest can
 *
 * Fine at any time; what fails is told in the log, and tried again the next time.
 */
void pod_resize_shrink(struct pod *p)
{
	struct grow_plan want;
	uint32_t online;
	struct err e;

	if (p->dead || p->vmm.sock < 0 || !p->containers)
		return;
	plan(p, &want);
	if (place_cpus(p, &want.cpus, &want.mems, &e) < 0)
		log_warn("pod %s: shrink: %s", p->id, e.text);
	if (want.memory_bytes < p->memory_bytes && machine_set_memory(p, want.memory_bytes, &e) < 0)
		log_warn("pod %s: shrink: %s", p->id, e.text);
	if (want.vcpus < p->vcpus_now && machine_set_vcpus(p, want.vcpus, &online, &e) < 0)
		log_warn("pod %s: shrink: %s", p->id, e.text);
}
