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

/* Threads of a process's cgroup of version 2, one in each line. Return: owned; NULL */
static char *neighbours(pid_t pid)
{
	/* Where version 1 has the controllers, version 2 is beside it. */
	static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	_cleanup_free_ char *text = NULL, *path = NULL;
	char *own, *list = NULL;
	size_t i;

	if (asprintf(&path, "/proc/%d/cgroup", (int)pid) < 0)
		return NULL;
	if (file_read(AT_FDCWD, path, LIST_MAX_BYTES, &text, NULL, NULL) < 0)
		return NULL;
	own = str_starts(text, "0::/") ? text : strstr(text, "\n0::/");
	if (!own)
		return NULL;
	own = strchr(own, '/');
	own[strcspn(own, "\n")] = 0;
	for (i = 0; i < ARRAY_LEN(mounts) && !list; i++) {
		_cleanup_free_ char *file = NULL;

		if (asprintf(&file, "%s%s/cgroup.threads", mounts[i], own) >= 0)
			file_read(AT_FDCWD, file, LIST_MAX_BYTES, &list, NULL, NULL);
	}
	return list;
}

static bool is_vhost(const char *tid)
{
	_cleanup_free_ char *path = NULL, *name = NULL;

	return asprintf(&path, "/proc/%s/comm", tid) >= 0 &&
	       file_read(AT_FDCWD, path, 64, &name, NULL, NULL) >= 0 &&
	       str_starts(name, "vhost-");
}

/**
 * vmm_batch_vhosts() - vhost threads of a monitor do not preempt guests any more
 *
 * After VMM_NET with vhost. Looks at each thread of the monitor's cgroup. A policy that
 * somebody else has given them stays. Nothing depends on it: without the right to do it, or
 * a cgroup of version 2, things go on as they are.
 */
void vmm_batch_vhosts(const struct vmm *v)
{
	_cleanup_free_ char *list = neighbours(v->pid);
	const struct sched_param none = { 0 };
	char *tid, *save = NULL;
	uint64_t pid;

	for (tid = list ? strtok_r(list, "\n", &save) : NULL; tid;
	     tid = strtok_r(NULL, "\n", &save)) {
		/* 0: of another pid namespace */
		if (parse_u64(tid, &pid) < 0 || !pid || pid > INT_MAX)
			continue;
		if (is_vhost(tid) && sched_getscheduler((pid_t)pid) == SCHED_OTHER)
			sched_setscheduler((pid_t)pid, SCHED_BATCH, &none);
	}
}
