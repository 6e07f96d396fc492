// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What the kernel keeps of a process beside ids, rights and limits: the scheduler, the
 * priority of input and output, the processors of an exec, the personality. They mean
 * the guest's kernel: its scheduler, its disks' queues, its processors, numbered from 0.
 *
 * An exec that says nothing of them has the container's, as it has with runc.
 *
 * Sources: OCI runtime-spec 1.2, config.md "Linux Process", config-linux.md
 * "Personality"; sched_setattr(2), ioprio_set(2).
 */
#include <errno.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/personality.h>

#include "lib/cpus.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"

#define NICE_MIN (-20)
#define NICE_MAX 19
#define PRIORITY_MAX 99
#define IO_LEVEL_MAX 7

struct word {
	const char *name;
	uint64_t value;
	const char *refused;	/* why; NULL: it is not */
};

static const struct word policies[] = {
	{ "SCHED_OTHER", SCHED_NORMAL, NULL },
	{ "SCHED_FIFO", SCHED_FIFO, NULL },
	{ "SCHED_RR", SCHED_RR, NULL },
	{ "SCHED_BATCH", SCHED_BATCH, NULL },
	{ "SCHED_IDLE", SCHED_IDLE, NULL },
	{ "SCHED_DEADLINE", SCHED_DEADLINE, NULL },
	{ "SCHED_ISO", 0, "Linux has no such policy; use SCHED_RR" },
};

static const struct word flags[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK, NULL },
	{ "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM, NULL },
	{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN, NULL },
	{ "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY, NULL },
	{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS, NULL },
	{ "SCHED_FLAG_UTIL_CLAMP_MIN", 0, "no field has its value; leave it out" },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", 0, "no field has its value; leave it out" },
};

static const struct word io_classes[] = {
	{ "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT, NULL },
	{ "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE, NULL },
	{ "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE, NULL },
};

static const struct word domains[] = {
	{ "LINUX", PER_LINUX, NULL },
	{ "LINUX32", PER_LINUX32, NULL },
};

/* @n, @key: where @name stands, for the message; @key NULL: @n itself. */
static int find(const struct word *t, size_t n_t, const char *what, const struct jnode *n,
		const char *key, const char *name, uint64_t *ret, struct err *e)
{
	size_t i;

	for (i = 0; i < n_t && strcmp(t[i].name, name); i++)
		;
	if (i == n_t)
		return json_fail(n, key, e, "unknown %s %s", what, SPEC_Q(name));
	if (t[i].refused)
		return json_fail(n, key, e, "not supported: %s: %s", name, t[i].refused);
	*ret = t[i].value;
	return 0;
}

/* A word that must be there. */
static int word(const struct word *t, size_t n_t, const char *what, const struct jnode *n,
		const char *key, uint64_t *ret, struct err *e)
{
	const char *name;
	int rc = json_str(n, key, &name, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return json_fail(n, key, e, "missing");
	return find(t, n_t, what, n, key, name, ret, e);
}

static int scheduler_flags(const struct jnode *n, Podvm__Scheduler *s, struct err *e)
{
	struct jnode arr, el;
	const char *name;
	uint64_t flag;
	size_t i;
	int rc = json_arr(n, "flags", &arr, e);

	for (i = 0; rc > 0 && i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		if (json_as_str(&el, &name, e) < 0 ||
		    find(flags, ARRAY_LEN(flags), "flag", &el, NULL, name, &flag, e) < 0)
			return -EINVAL;
		s->flags |= flag;
	}
	return rc < 0 ? rc : 0;
}

static int deadline(const struct jnode *n, Podvm__Scheduler *s, struct err *e)
{
	bool is = s->policy == SCHED_DEADLINE;

	if (json_u64(n, "runtime", &s->runtime_ns, e) < 0 ||
	    json_u64(n, "deadline", &s->deadline_ns, e) < 0 ||
	    json_u64(n, "period", &s->period_ns, e) < 0)
		return -EINVAL;
	if (!is && (s->runtime_ns || s->deadline_ns || s->period_ns))
		return json_fail(n, s->runtime_ns ? "runtime" : s->deadline_ns ? "deadline" : "period",
				 e, "is for SCHED_DEADLINE; leave it out");
	if (is && (!s->runtime_ns || s->runtime_ns > s->deadline_ns ||
		   (s->period_ns && s->deadline_ns > s->period_ns)))
		return json_fail(n, "runtime", e, "must be above 0, at most the deadline, and that "
				 "at most the period");
	return 0;
}

static int priority(const struct jnode *n, Podvm__Scheduler *s, struct err *e)
{
	bool realtime = s->policy == SCHED_FIFO || s->policy == SCHED_RR;
	int64_t nice = 0, level = 0;

	if (json_i64(n, "nice", &nice, e) < 0 || json_i64(n, "priority", &level, e) < 0)
		return -EINVAL;
	if (nice < NICE_MIN || nice > NICE_MAX)
		return json_fail(n, "nice", e, "must be %d to %d", NICE_MIN, NICE_MAX);
	if (realtime && (level < 1 || level > PRIORITY_MAX))
		return json_fail(n, "priority", e, "must be 1 to %d for this policy", PRIORITY_MAX);
	if (!realtime && level)
		return json_fail(n, "priority", e, "is for SCHED_FIFO and SCHED_RR; leave it out");
	s->nice = (int32_t)nice;
	s->priority = (uint32_t)level;
	return 0;
}

static int scheduler(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	Podvm__Scheduler *s;
	struct jnode o;
	uint64_t policy;
	int rc = json_obj(n, "scheduler", &o, e);

	if (rc <= 0 || !json_len(&o))
		return rc < 0 ? rc : 0;
	s = p->scheduler = mem_new(Podvm__Scheduler);
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	podvm__scheduler__init(s);
	rc = word(policies, ARRAY_LEN(policies), "policy", &o, "policy", &policy, e);
	if (rc < 0)
		return rc;
	s->policy = (uint32_t)policy;
	rc = priority(&o, s, e);
	if (!rc)
		rc = deadline(&o, s, e);
	return rc ? rc : scheduler_flags(&o, s, e);
}

/* Made if they are not there; NULL: out of memory, with @e set. */
static Podvm__Traits *traits(Podvm__Process *p, struct err *e)
{
	if (p->traits)
		return p->traits;
	p->traits = mem_new(Podvm__Traits);
	if (p->traits)
		podvm__traits__init(p->traits);
	else
		err_set(e, ENOMEM, "out of memory");
	return p->traits;
}

static int io_priority(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	Podvm__Traits *t;
	struct jnode o;
	uint64_t class;
	int64_t level;
	int rc = json_obj(n, "ioPriority", &o, e);

	if (rc <= 0 || !json_len(&o))
		return rc < 0 ? rc : 0;
	rc = word(io_classes, ARRAY_LEN(io_classes), "class", &o, "class", &class, e);
	if (rc < 0)
		return rc;
	rc = json_i64(&o, "priority", &level, e);
	if (rc < 0)
		return rc;
	if (!rc || level < 0 || level > IO_LEVEL_MAX)
		return json_fail(&o, "priority", e, "must be 0 to %d", IO_LEVEL_MAX);
	t = traits(p, e);
	if (!t)
		return -ENOMEM;
	t->io_priority = (uint32_t)(class << IOPRIO_CLASS_SHIFT | (uint64_t)level);
	return 0;
}

static int cpu_list(const struct jnode *n, const char *key, uint32_t **ret, size_t *ret_n,
		    struct err *e)
{
	const char *text;
	cpu_set_t set;
	uint32_t i;
	int rc = json_str(n, key, &text, e);

	if (rc <= 0 || !*text)
		return rc < 0 ? rc : 0;
	if (cpus_parse(text, &set) < 0)
		return json_fail(n, key, e, "must be a list such as 0-3,7 of processors of "
				 "the pod's machine, below %d", CPU_SETSIZE);
	*ret = mem_new_n(uint32_t, CPU_SETSIZE);
	if (!*ret)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			(*ret)[(*ret_n)++] = i;
	return 0;
}

static int affinity(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	Podvm__Traits *t;
	struct jnode o;
	int rc = json_obj(n, "execCPUAffinity", &o, e);

	if (rc <= 0 || !json_len(&o))
		return rc < 0 ? rc : 0;
	t = traits(p, e);
	if (!t)
		return -ENOMEM;
	rc = cpu_list(&o, "initial", &t->cpus_initial, &t->n_cpus_initial, e);
	return rc ? rc : cpu_list(&o, "final", &t->cpus_final, &t->n_cpus_final, e);
}

/**
 * spec_traits() - what a process object says of scheduling, I/O and processors
 * @n: the process object
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 */
int spec_traits(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	int rc = scheduler(n, p, e);

	if (!rc)
		rc = io_priority(n, p, e);
	return rc ? rc : affinity(n, p, e);
}

/**
 * spec_personality() - translate linux.personality
 * @n: the linux object
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 */
int spec_personality(const struct jnode *n, Podvm__Process *p, struct err *e)
{
	static const struct spec_refusal others[] = {
		{ "flags", "the specification defines none; leave it out" },
	};
	Podvm__Traits *t;
	struct jnode o;
	uint64_t domain;
	int rc = json_obj(n, "personality", &o, e);

	if (rc <= 0 || !json_len(&o))
		return rc < 0 ? rc : 0;
	rc = spec_refuse(&o, others, ARRAY_LEN(others), e);
	if (!rc)
		rc = word(domains, ARRAY_LEN(domains), "domain", &o, "domain", &domain, e);
	if (rc < 0)
		return rc;
	t = traits(p, e);
	if (!t)
		return -ENOMEM;
	t->personality = (uint32_t)domain;
	return 0;
}

/**
 * spec_seccomp_flags() - flags that a profile's filter is installed with
 *
 * Return: 0 or -ENOMEM
 */
int spec_seccomp_flags(Podvm__Process *p, uint32_t seccomp_flags, struct err *e)
{
	Podvm__Traits *t = seccomp_flags ? traits(p, e) : NULL;

	if (!t)
		return seccomp_flags ? -ENOMEM : 0;
	t->seccomp_flags = seccomp_flags;
	return 0;
}

static void take_list(uint32_t **v, size_t *n, uint32_t **from, size_t *n_from)
{
	free(*v);
	*v = mem_steal(*from);
	*n = *n_from;
	*n_from = 0;
}

/**
 * spec_inherit() - what an exec's own process object leaves to the container
 * @p:   of the exec
 * @own: the container's; loses what @p takes
 *
 * The seccomp filter and the personality are always the container's, the rest is where
 * @p says nothing.
 *
 * Return: 0 or -ENOMEM
 */
int spec_inherit(Podvm__Process *p, Podvm__Process *own, struct err *e)
{
	Podvm__Traits *t, *o = own->traits;

	free(p->seccomp.data);
	p->seccomp = own->seccomp;
	own->seccomp.data = NULL;
	own->seccomp.len = 0;
	if (!p->scheduler)
		p->scheduler = mem_steal(own->scheduler);
	if (!o)
		return 0;
	t = traits(p, e);
	if (!t)
		return -ENOMEM;
	t->personality = o->personality;
	t->seccomp_flags = o->seccomp_flags;
	if (!t->io_priority)
		t->io_priority = o->io_priority;
	if (!t->n_cpus_initial && !t->n_cpus_final) {
		take_list(&t->cpus_initial, &t->n_cpus_initial, &o->cpus_initial, &o->n_cpus_initial);
		take_list(&t->cpus_final, &t->n_cpus_final, &o->cpus_final, &o->n_cpus_final);
	}
	return 0;
}
