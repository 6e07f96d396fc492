// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The kernel's threads that move a machine's packets (vhost-net), made batch threads for the
 * reason that vmm/batch.c tells. The monitor may not do that: up to Linux 6.3 they are
 * kernel threads, which are root's, and it has no privileges. So who has started it does.
 *
 * They are found where their monitor is: a vhost thread joins its owner's cgroups (Linux
 * drivers/vhost/vhost.c, vhost_attach_cgroups()), and from 6.4 on it is a thread of its own.
 */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "vmm/vmm.h"

#define LIST_MAX_BYTES (1u << 20)

static bool is_vhost(int pid)
{
	_cleanup_free_ char *name = NULL;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return file_read(AT_FDCWD, path, 64, &name, NULL, NULL) >= 0 &&
	       str_starts(name, "vhost-");
}

/**
 * vmm_batch_vhosts() - vhost threads of a monitor do not preempt guests any more
 * @cgroup_fd: directory of the monitor's cgroup of version 2, borrowed; negative: nothing is
 *             done. Each thread in it is looked at
 *
 * After VMM_NET with vhost. A policy that somebody else has given them stays. Nothing depends
 * on it: without the right to do it things go on as they are.
 */
void vmm_batch_vhosts(int cgroup_fd)
{
	const struct sched_param none = { 0 };
	_cleanup_free_ char *list = NULL;
	char *line, *save = NULL;
	uint64_t pid;

	if (cgroup_fd < 0 ||
	    file_read(cgroup_fd, "cgroup.threads", LIST_MAX_BYTES, &list, NULL, NULL) < 0)
		return;
	for (line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		/* 0: of another pid namespace */
		if (parse_u64(line, &pid) < 0 || !pid || pid > INT_MAX)
			continue;
		if (is_vhost((int)pid) && sched_getscheduler((pid_t)pid) == SCHED_OTHER)
			sched_setscheduler((pid_t)pid, SCHED_BATCH, &none);
	}
}
