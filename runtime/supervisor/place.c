// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Who sits where in the host's cgroups (runtime/cgroup.c), and what the host limits:
 *
 *	the pod's place      CPU weight by the pod's shares, or those of its only container
 *	  supervisor
 *	  vmm                memory: what the machine has, and the monitor's own; processors
 *	                     and memory nodes that its containers name
 *	a container's place  shims of it and of its execs; no limits: the guest has them
 *
 * The monitor's memory is limited so that one that was taken over cannot use up the
 * host's; the limit is raised before the machine grows, and lowered with the first change
 * after it has shrunk. A host that does not give us the controllers is fine: then what its engine has limited
 * around us holds, as it does in any case.
 *
 * A scope of systemd's must begin with a process. The pod's begins with the supervisor,
 * which then goes into its leaf; a container's with the shim of its init.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cpus.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

/*
 * The monitor's memory beside the guest's: its own (3 MiB), the host kernel's tables and
 * queues for the machine (up to 2 % of its memory without EPT), and page cache of disks,
 * which the kernel reclaims first.
 */
#define MONITOR_BYTES (64ull << 20)
#define MONITOR_SHARE 32

static int leaf(const struct pod *p, const char *name, char path[PATH_MAX], struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", p->cgroup.path, name) >= PATH_MAX)
		return err_set(e, ENAMETOOLONG, "/linux/cgroupsPath: too long");
	return 0;
}

/**
 * place_pod() - the pod's place, with us in it
 * @spec: of the container that starts the pod
 *
 * Return: 0 or minus errno
 */
int place_pod(struct pod *p, const struct spec *spec, struct err *e)
{
	char own[PATH_MAX], monitor[PATH_MAX], home[PATH_MAX], text[STATE_ID_BYTES + 16];
	int rc;

	if (!proc_cgroup(home))
		p->cgroup_home = strdup(home); /* without it, place_leave() has the root only */
	snprintf(text, sizeof(text), "podvm: pod %s", p->id);
	if ((rc = cgroup_host_read(&p->cgroups, e)) < 0 ||
	    (rc = cgroup_of_pod(spec->cgroups_path, p->id, p->systemd, &p->cgroup, e)) < 0 ||
	    (rc = leaf(p, "supervisor", own, e)) < 0 || (rc = leaf(p, "vmm", monitor, e)) < 0 ||
	    (rc = cgroup_begin(&p->cgroups, &p->cgroup, text, getpid(), spec->cpu_shares,
			       p->journal, e)) < 0 ||
	    (rc = cgroup_make(&p->cgroups, own, p->journal, NULL, e)) < 0 ||
	    (rc = cgroup_enter(&p->cgroups, own, 0, e)) < 0 ||
	    (rc = cgroup_make(&p->cgroups, monitor, p->journal, NULL, e)) < 0)
		return rc;
	/* What is above a scope is systemd's to set. */
	cgroup_enable(&p->cgroups, p->cgroup.path, "cpu", !p->systemd);
	cgroup_enable(&p->cgroups, p->cgroup.path, "memory", !p->systemd);
	return p->cgroups.unified ? cgroup_open(&p->cgroups, monitor, &p->cgroup_fd, e) : 0;
}

/**
 * place_monitor() - the monitor is where it belongs, if it was not born there
 *
 * Return: 0 or minus errno
 */
int place_monitor(struct pod *p, struct err *e)
{
	char monitor[PATH_MAX];
	int rc = p->cgroups.unified ? 0 : leaf(p, "vmm", monitor, e);

	return rc < 0 || p->cgroups.unified ? rc :
	       cgroup_enter(&p->cgroups, monitor, p->vmm.pid, e);
}

/**
 * place_nowhere() - a process that works for more pods than this one leaves the pod's place
 *
 * To the root, where what it takes is counted to nobody; where that takes no processes, it
 * stays with us.
 */
void place_nowhere(struct pod *p, pid_t pid)
{
	struct err e;

	if (p->cgroups.n && cgroup_enter(&p->cgroups, "", pid, &e) < 0)
		log_info("pod %s: process %d counts as the pod's: %s", p->id, (int)pid, e.text);
}

/**
 * place_limit() - what the monitor may use, for a machine of a size
 * @bytes: of guest memory
 */
void place_limit(struct pod *p, uint64_t bytes)
{
	char monitor[PATH_MAX];
	struct err e;

	if (!p->cgroup.begun || leaf(p, "vmm", monitor, &e) < 0)
		return;
	if (cgroup_set(&p->cgroups, monitor, "memory.max", "memory.limit_in_bytes",
		       bytes + MONITOR_BYTES + bytes / MONITOR_SHARE, &e) < 0)
		log_info("pod %s: the monitor's memory is not limited: %s", p->id, e.text);
}

static int place_list(struct pod *p, const char *file, const cpu_set_t *set, cpu_set_t *now,
		      struct err *e)
{
	char monitor[PATH_MAX], text[CPUS_TEXT_BYTES];
	int rc;

	if (CPU_EQUAL(set, now) || !p->cgroup.begun)
		return 0;
	rc = leaf(p, "vmm", monitor, e);
	if (rc < 0)
		return rc;
	cpus_text(set, text);
	cgroup_enable(&p->cgroups, p->cgroup.path, "cpuset", !p->systemd);
	rc = cgroup_set_list(&p->cgroups, monitor, file, text, e);
	if (rc < 0)
		return err_wrap(e, "/linux/resources/cpu/%s: %s", file + strlen("cpuset."), text);
	*now = *set;
	pod_stamp(p, 0, "%s of the monitor: %.200s", file, *text ? text : "all");
	return 0;
}

/**
 * place_cpus() - the host's processors and memory nodes that the machine runs on
 * @cpus, @mems: empty: all that the pod's place has
 *
 * Return: 0; minus errno, naming the field: one of them may have been set
 */
int place_cpus(struct pod *p, const cpu_set_t *cpus, const cpu_set_t *mems, struct err *e)
{
	int rc = place_list(p, "cpuset.cpus", cpus, &p->cpus_now, e);

	return rc < 0 ? rc : place_list(p, "cpuset.mems", mems, &p->mems_now, e);
}

/**
 * place_weight() - the pod's weight follows its only container's shares
 * @c: in a pod of its own, or nothing is done: what a whole pod may use is its engine's to say
 */
void place_weight(struct pod *p, const struct container *c)
{
	struct err e;

	if (c->infra || strcmp(c->id, p->id) || !c->limits.shares || !p->cgroup.begun)
		return;
	if (cgroup_weigh(&p->cgroups, &p->cgroup, c->limits.shares, &e) < 0)
		log_warn("pod %s: its weight stays as it is: %s", p->id, e.text);
}

/**
 * place_shim() - a shim into its container's place, which begins with the first one
 *
 * Return: 0 or minus errno
 */
int place_shim(struct pod *p, struct container *c, pid_t pid, struct err *e)
{
	char text[STATE_ID_BYTES + 24];
	int rc = 0;

	snprintf(text, sizeof(text), "podvm: container %s", c->id);
	if (!c->cgroup.begun)
		rc = cgroup_begin(&p->cgroups, &c->cgroup, text, pid, 0, p->journal, e);
	return rc < 0 ? rc : cgroup_enter(&p->cgroups, c->cgroup.path, pid, e);
}

/**
 * place_container_end() - a container's processes have ended
 */
void place_container_end(struct pod *p, struct container *c)
{
	struct err e;

	if (cgroup_end(&c->cgroup, p->journal, &e))
		log_warn("container %s: %s", c->id, e.text);
}

/**
 * place_leave() - we leave the pod's place, so that it can be removed
 *
 * To the root, which is there as long as we are; or, where that is one of a namespace and
 * takes no processes since its children have controllers, to where we came from.
 */
void place_leave(struct pod *p)
{
	struct err e;

	if (p->cgroups.n && cgroup_enter(&p->cgroups, "", 0, &e) < 0 &&
	    (!p->cgroup_home || cgroup_enter(&p->cgroups, p->cgroup_home, 0, &e) < 0))
		log_warn("pod %s: its cgroup stays: %s", p->id, e.text);
	free(p->cgroup_home);
	p->cgroup_home = NULL;
}
