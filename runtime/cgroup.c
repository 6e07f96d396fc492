// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Host cgroups, unified hierarchy (cgroup v2). The shim of a container sits in
 * the container's cgroupsPath; supervisor and monitor sit in leaves beside it,
 * since the pod's own cgroup has children and a v2 cgroup with children holds
 * no processes (kernel, cgroup-v2.rst, "No Internal Process Constraint"). The
 * monitor has a leaf of its own, so that what the machine uses is told apart, and
 * so that who kills it by its cgroup does not kill the one that cleans up. The
 * limits of containers are set inside the guest. Every directory that is made
 * is in the journal first, the missing parents too; removing leaves alone what
 * is not empty, which then belongs to somebody else as well.
 */
#include "runtime/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/proc.h"
#include "lib/str.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270

/* How long killed processes may take to leave a cgroup. */
#define CGROUP_EMPTY_MS 2000

/* Whether ".." is one of a path's components. */
static bool climbs(const char *path)
{
	const char *s;

	for (s = strstr(path, ".."); s; s = strstr(s + 1, ".."))
		if ((s == path || s[-1] == '/') && (!s[2] || s[2] == '/'))
			return true;
	return false;
}

static int check(const char *path, struct err *e)
{
	char shown[128];
	struct statfs st;

	str_quote(shown, sizeof(shown), path);
	if (strchr(path, ':'))
		return err_set(e, ENOTSUP,
			       "/linux/cgroupsPath: %s has systemd's form, which is not supported yet; use the engine's cgroupfs manager",
			       shown);
	if (climbs(path))
		return err_set(e, EINVAL, "/linux/cgroupsPath: %s must not hold '..'",
			       shown);
	if (statfs(CGROUP_ROOT, &st) < 0 || st.f_type != CGROUP2_MAGIC)
		return err_set(e, ENOTSUP,
			       "%s is not a cgroup v2 hierarchy, which podvm needs; boot with systemd.unified_cgroup_hierarchy=1",
			       CGROUP_ROOT);
	return 0;
}

/* Concatenates; fails when it does not fit. */
static int join(char *dst, size_t room, struct err *e, const char *dir,
		const char *mid, const char *name)
{
	size_t a = strlen(dir), b = strlen(mid), c = strlen(name);

	if (a + b + c >= room)
		return err_set(e, ENAMETOOLONG, "/linux/cgroupsPath: too long");
	memcpy(dst, dir, a);
	memcpy(dst + a, mid, b);
	memcpy(dst + a + b, name, c + 1);
	return 0;
}

/**
 * cgroup_of_container() - directory of a container's cgroup
 * @cgroups_path: linux.cgroupsPath, or NULL: /podvm/@id
 * @dst:          absolute path below /sys/fs/cgroup
 *
 * Return: 0; -ENOTSUP, -EINVAL naming the field
 */
int cgroup_of_container(const char *cgroups_path, const char *id, char *dst,
			size_t room, struct err *e)
{
	int rc = check(cgroups_path ? cgroups_path : "", e);

	if (rc < 0)
		return rc;
	if (!cgroups_path || !*cgroups_path)
		return join(dst, room, e, CGROUP_ROOT, "/podvm/", id);
	return join(dst, room, e, CGROUP_ROOT, "/",
		    cgroups_path + strspn(cgroups_path, "/"));
}

/**
 * cgroup_of_pod() - directory for the pod's supervisor and monitor
 * @cgroups_path: of the pod's first container, or NULL
 * @dst:          absolute path below /sys/fs/cgroup
 *
 * Return: as cgroup_of_container()
 */
int cgroup_of_pod(const char *cgroups_path, const char *pod, char *dst,
		  size_t room, struct err *e)
{
	char own[PATH_MAX];
	char *slash;
	int rc = cgroup_of_container(cgroups_path, "x", own, sizeof(own), e);

	if (rc < 0)
		return rc;
	slash = strrchr(own, '/');
	*slash = 0;
	return join(dst, room, e, own, "/podvm-", pod);
}

/**
 * cgroup_of_monitor() - directory for the pod's monitor, beside its supervisor's
 * @pod_cgroup: from cgroup_of_pod()
 *
 * Return: 0; -ENAMETOOLONG
 */
int cgroup_of_monitor(const char *pod_cgroup, char *dst, size_t room, struct err *e)
{
	return join(dst, room, e, pod_cgroup, "-vmm", "");
}

/**
 * cgroup_open() - a descriptor of a cgroup's directory, to start processes in it
 * @ret_fd: owned by the caller
 *
 * Return: 0 or minus errno
 */
int cgroup_open(const char *path, int *ret_fd, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "cgroup %s", path);
	*ret_fd = fd;
	return 0;
}

/**
 * cgroup_make() - make a cgroup and its missing parents
 * @path: from cgroup_of_container() or cgroup_of_pod()
 * @j:    gets one record per directory, before it is made
 *
 * Return: 0 or minus errno
 */
int cgroup_make(const char *path, struct journal *j, struct err *e)
{
	char p[PATH_MAX];
	char *s;
	int rc;

	if (str_copy(p, sizeof(p), path) < 0)
		return err_set(e, ENAMETOOLONG, "%s: too long", path);
	for (s = p + strlen(CGROUP_ROOT) + 1;; s++) {
		char c = *s;

		if (c && c != '/')
			continue;
		*s = 0;
		if (access(p, F_OK) < 0) {
			rc = journal_add(j, e, "cgroup", p, NULL);
			if (rc < 0)
				return rc;
			if (mkdir(p, 0755) < 0 && errno != EEXIST)
				return err_sys(e, "cgroup %s: mkdir", p);
		}
		*s = c;
		if (!c)
			return 0;
	}
}

/**
 * cgroup_enter() - move a process into a cgroup
 * @pid: 0 is the caller
 *
 * Return: 0 or minus errno
 */
int cgroup_enter(const char *path, pid_t pid, struct err *e)
{
	char file[PATH_MAX], text[24];
	int rc;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	snprintf(text, sizeof(text), "%d", pid);
	rc = file_write(AT_FDCWD, file, text, e);
	return rc < 0 ? err_wrap(e, "cgroup") : 0;
}

/**
 * cgroup_remove() - remove an empty cgroup; one that is missing, has children or is
 * in use by others is left as it is
 *
 * Return: 0 or minus errno
 */
int cgroup_remove(const char *path, struct err *e)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t end = clock_ms() + CGROUP_EMPTY_MS;
	char events[PATH_MAX + 16];

	snprintf(events, sizeof(events), "%s/cgroup.events", path);
	while (rmdir(path) < 0) {
		_cleanup_close_ int fd = -1;
		char text[64] = "";

		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY && errno != ENOTEMPTY)
			return err_sys(e, "cgroup %s: rmdir", path);
		/* Busy without processes: it has children of somebody else. */
		fd = open(events, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 ||
		    !strstr(text, "populated 1") || clock_ms() > end)
			return 0;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/**
 * cgroup_undo() - undo a journal record of kind "cgroup"
 *
 * Return: 0 or minus errno
 */
int cgroup_undo(const struct journal_rec *r, struct err *e)
{
	if (r->n != 2 || !str_starts(r->word[1], CGROUP_ROOT "/") ||
	    climbs(r->word[1]))
		return err_set(e, EINVAL, "journal: damaged cgroup record");
	return cgroup_remove(r->word[1], e);
}
