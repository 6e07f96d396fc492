// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What the kernel keeps of a process beside ids, rights and limits: scheduling,
 * priority of input and output, personality, processors. All of it is inherited by
 * what the process starts, and needs root's rights; so the child sets it on itself
 * before it takes on its user. The processors are this machine's.
 *
 * Sources: sched_setattr(2), ioprio_set(2), personality(2), sched_setaffinity(2);
 * OCI runtime-spec config.md "Linux Process", config-linux.md "Personality".
 */
#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/mem.h"

/* struct sched_attr of linux/sched/types.h, whose sched_param is the C library's, too. */
struct sched_attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

static int set_scheduler(const Podvm__Scheduler *s, struct err *e)
{
	struct sched_attributes a = {
		.size = sizeof(a),
		.policy = s->policy,
		.flags = s->flags,
		.nice = s->nice,
		.priority = s->priority,
		.runtime_ns = s->runtime_ns,
		.deadline_ns = s->deadline_ns,
		.period_ns = s->period_ns,
	};

	if (syscall(SYS_sched_setattr, 0, &a, 0) < 0)
		return err_sys(e, "/process/scheduler: policy %u", s->policy);
	return 0;
}

/**
 * traits_set() - scheduling, priority of input and output, personality
 *
 * Return: 0; minus errno, naming the field
 * Context: the child, root
 */
int traits_set(const Podvm__Process *p, struct err *e)
{
	const Podvm__Traits *t = p->traits;
	int rc = p->scheduler ? set_scheduler(p->scheduler, e) : 0;

	if (rc < 0 || !t)
		return rc;
	if (t->io_priority &&
	    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, (int)t->io_priority) < 0)
		return err_sys(e, "/process/ioPriority: 0x%x", t->io_priority);
	if (t->personality && personality(t->personality) < 0)
		return err_sys(e, "/linux/personality: 0x%x", t->personality);
	return 0;
}

/* None: any that the cgroup allows; the kernel leaves out what it does not. */
static int run_on(const uint32_t *v, size_t n, const char *what, struct err *e)
{
	cpu_set_t set;
	size_t i;

	CPU_ZERO(&set);
	for (i = 0; i < (n ? n : CPU_SETSIZE); i++)
		CPU_SET(n ? v[i] : i, &set);
	if (!sched_setaffinity(0, sizeof(set), &set))
		return 0;
	if (errno == EINVAL)
		return err_set(e, EINVAL, "/process/execCPUAffinity/%s: the container has "
			       "none of these processors", what);
	return err_sys(e, "/process/execCPUAffinity/%s", what);
}

/**
 * traits_cpus() - the processors of an exec
 * @last: it is about to run; else it is being prepared
 *
 * Return: 0; -EINVAL when the container has none of them; minus errno
 * Context: the child of an exec
 */
int traits_cpus(const Podvm__Process *p, bool last, struct err *e)
{
	const Podvm__Traits *t = p->traits;
	size_t i;

	for (i = 0; t && i < t->n_cpus_initial; i++)
		if (t->cpus_initial[i] >= CPU_SETSIZE)
			return err_set(e, EINVAL, "processor %u", t->cpus_initial[i]);
	for (i = 0; t && i < t->n_cpus_final; i++)
		if (t->cpus_final[i] >= CPU_SETSIZE)
			return err_set(e, EINVAL, "processor %u", t->cpus_final[i]);
	if (!t || (!t->n_cpus_initial && (!last || !t->n_cpus_final)))
		return 0;
	return last ? run_on(t->cpus_final, t->n_cpus_final, "final", e)
		    : run_on(t->cpus_initial, t->n_cpus_initial, "initial", e);
}
