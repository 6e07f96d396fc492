// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What hierarchies of cgroups a host has: one of version 2 at CGROUP_ROOT, or several of
 * version 1 below it. Of those, processes are placed in the ones that engines account and
 * limit by, and in systemd's own; who may use which devices is no matter of processes that
 * open none themselves, and the other controllers tell packets apart, of which none are
 * the monitor's. A host with both (systemd's "hybrid") is one of version 1: there
 * the other hierarchy has no controllers.
 *
 * Sources: proc_pid_mountinfo(5); kernel Documentation/admin-guide/cgroup-v1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cgroup.h"

#define CGROUP2_MAGIC 0x63677270
#define MOUNTINFO_MAX_BYTES (4u << 20)

static const char *const wanted[] = {
	"cpu", "cpuacct", "memory", "pids", "cpuset", "blkio", "freezer", "name=systemd",
};

/* One line of mountinfo; what is no hierarchy of version 1 that we want is left out. */
static int add_line(char *line, struct cgroup_host *ret, struct err *e)
{
	char *field[6], *save = NULL, *type, *options;
	struct cgroup_hierarchy *h = &ret->h[ret->n];
	size_t i, k;

	type = strstr(line, " - cgroup ");
	if (!type)
		return 0;
	options = strrchr(type, ' ') + 1;
	*type = 0;
	for (i = 0; i < 5; i++, line = NULL) {
		field[i] = strtok_r(line, " ", &save);
		if (!field[i])
			return 0;
	}
	if (!str_starts(field[4], CGROUP_ROOT "/"))
		return 0;
	for (i = 0; i < ARRAY_LEN(wanted) && !str_listed(options, wanted[i]); i++)
		;
	for (k = 0; k < ret->n && strcmp(ret->h[k].dir, field[4]); k++)
		;
	if (i == ARRAY_LEN(wanted) || k < ret->n)
		return 0;
	if (ret->n == CGROUP_HIERARCHIES_MAX ||
	    str_copy(h->dir, sizeof(h->dir), field[4]) < 0)
		return err_set(e, E2BIG, "%s: too many hierarchies, or too long a name",
			       field[4]);
	h->controllers[0] = 0;
	for (i = 0; i < ARRAY_LEN(wanted); i++)
		if (str_listed(options, wanted[i]))
			snprintf(h->controllers + strlen(h->controllers),
				 sizeof(h->controllers) - strlen(h->controllers), "%s%s",
				 h->controllers[0] ? "," : "", wanted[i]);
	ret->n++;
	return 0;
}

/**
 * cgroup_host_parse() - the hierarchies of version 1 in a table of mounts
 * @mountinfo: text of /proc/PID/mountinfo; used up
 * @ret:       untouched on failure
 *
 * Return: 0; -ENOTSUP when there is none; -E2BIG
 */
int cgroup_host_parse(char *mountinfo, struct cgroup_host *ret, struct err *e)
{
	struct cgroup_host h = { .unified = false };
	char *line, *save = NULL;
	int rc = 0;

	for (line = strtok_r(mountinfo, "\n", &save); line && !rc;
	     line = strtok_r(NULL, "\n", &save))
		rc = add_line(line, &h, e);
	if (!rc && !h.n)
		rc = err_set(e, ENOTSUP,
			     "no cgroups on this host: mount cgroup2 at " CGROUP_ROOT ", or controllers of version 1 below it");
	if (!rc)
		*ret = h;
	return rc;
}

/**
 * cgroup_host_read() - the hierarchies of this host
 *
 * Return: 0; -ENOTSUP when there is none; minus errno
 */
int cgroup_host_read(struct cgroup_host *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct statfs st;
	int rc;

	if (!statfs(CGROUP_ROOT, &st) && st.f_type == CGROUP2_MAGIC) {
		*ret = (struct cgroup_host){ .unified = true, .n = 1,
					     .h = { { .dir = CGROUP_ROOT } } };
		return 0;
	}
	rc = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX_BYTES, &text, NULL, e);
	return rc < 0 ? rc : cgroup_host_parse(text, ret, e);
}

/**
 * cgroup_host_find() - the hierarchy that a controller is in
 * @controller: of version 1: "cpu", "memory", "name=systemd"
 *
 * Return: borrowed; NULL: none; of version 2 its only one
 */
const struct cgroup_hierarchy *cgroup_host_find(const struct cgroup_host *h,
						const char *controller)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (h->unified || str_listed(h->h[i].controllers, controller))
			return &h->h[i];
	return NULL;
}
