// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Places for processes on the host, in one hierarchy of version 2 or in several of
 * version 1 (cgroup_host.c), as directories that we make or as scopes that systemd makes
 * (systemd.c). The shim of a container is in the container's place. In the pod's there
 * are two leaves, for supervisor and monitor, since a cgroup of version 2 with children
 * holds no processes (kernel, cgroup-v2.rst, "No Internal Process Constraint"); the
 * monitor has one of its own, so that what the machine uses is told apart, and so that
 * who kills it by its cgroup does not kill the one that cleans up. The limits of
 * containers are set inside the guest; the host's are the pod's: its weight, and the
 * memory of the monitor (supervisor/place.c).
 *
 * Everything that is made is in the journal first, missing parents too; a record is retired
 * when a container's place goes while its pod lives on. Removing leaves alone what has
 * children, which then belongs to somebody else as well. What still has processes, since
 * they take their time to end or somebody else has put them there, keeps its record, and so
 * do its parents: a later undo removes it (runtime/pod.c). A scope ends with its last process
 * even if nobody is left to stop it.
 */
#include "runtime/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/systemd.h"

/* How long killed processes may take to leave a cgroup. */
#define CGROUP_EMPTY_MS 2000

/* So many of its processes are told. */
#define PROCS_BYTES 4096

/* For an answer of systemd, and for one of its jobs. */
#define SYSTEMD_MS 15000

/* Room for a path below a hierarchy and a file in it. */
#define DIR_BYTES (PATH_MAX + 96)

static int write_in(const char *dir, const char *name, const char *text, struct err *e)
{
	char file[DIR_BYTES + 32];

	snprintf(file, sizeof(file), "%s/%s", dir, name);
	return file_write(AT_FDCWD, file, text, e);
}

/* Has a file of version 1 say what its parent's does. */
static int inherit(const char *dir, const char *file, struct err *e)
{
	_cleanup_free_ char *above = NULL;
	char path[DIR_BYTES + 32];
	int rc;

	snprintf(path, sizeof(path), "%s/../%s", dir, file);
	rc = file_read(AT_FDCWD, path, 4096, &above, NULL, e);
	return rc < 0 ? rc : write_in(dir, file, above, e);
}

/* An empty cpuset takes no process: a new one gets what its parent has. */
static int inherit_cpuset(const char *dir, struct err *e)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	size_t i;
	int rc = 0;

	for (i = 0; i < ARRAY_LEN(files) && !rc; i++) {
		_cleanup_free_ char *own = NULL;
		char path[DIR_BYTES + 32];

		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		rc = file_read(AT_FDCWD, path, 4096, &own, NULL, e);
		if (!rc && !own[strspn(own, " \n")])
			rc = inherit(dir, files[i], e);
	}
	return rc < 0 ? err_wrap(e, "cgroup %s", dir) : 0;
}

static int make_one(const char *dir, bool cpuset, struct journal *j, struct err *e)
{
	int rc;

	if (access(dir, F_OK) < 0) {
		rc = journal_add(j, e, "cgroup", dir, NULL);
		if (rc < 0)
			return rc;
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return err_sys(e, "cgroup %s: mkdir", dir);
	}
	return cpuset ? inherit_cpuset(dir, e) : 0;
}

/* All of @path but its last component, or that alone. */
static int make_in(const struct cgroup_hierarchy *h, const char *path, bool last,
		   struct journal *j, struct err *e)
{
	bool cpuset = strstr(h->controllers, "cpuset") != NULL;
	char p[DIR_BYTES];
	char *s;
	int rc = 0;

	if (snprintf(p, sizeof(p), "%s%s", h->dir, path) >= (int)sizeof(p))
		return err_set(e, ENAMETOOLONG, "cgroup %s: too long", path);
	if (last)
		return make_one(p, cpuset, j, e);
	for (s = strchr(p + strlen(h->dir) + 1, '/'); s && !rc; s = strchr(s + 1, '/')) {
		*s = 0;
		rc = make_one(p, cpuset, j, e);
		*s = '/';
	}
	return rc;
}

/**
 * cgroup_make() - make a cgroup and its missing parents, in every hierarchy
 * @path:     as in struct cgroup
 * @j:        gets one record per directory, before it is made
 * @ret_from: where those of the cgroup itself begin, behind its parents'; may be NULL
 *
 * Return: 0 or minus errno
 */
int cgroup_make(const struct cgroup_host *h, const char *path, struct journal *j,
		size_t *ret_from, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < h->n && !rc; i++)
		rc = make_in(&h->h[i], path, false, j, e);
	if (ret_from)
		*ret_from = journal_mark(j);
	for (i = 0; i < h->n && !rc; i++)
		rc = make_in(&h->h[i], path, true, j, e);
	return rc;
}

/**
 * cgroup_enter() - move a process into a cgroup, in every hierarchy
 * @path: "" is the root
 * @pid:  0 is the caller
 *
 * Return: 0 or minus errno; one that has failed may have moved in some
 */
int cgroup_enter(const struct cgroup_host *h, const char *path, pid_t pid, struct err *e)
{
	char file[DIR_BYTES], text[24];
	size_t i;
	int rc = 0;

	snprintf(text, sizeof(text), "%d", pid);
	for (i = 0; i < h->n && !rc; i++) {
		snprintf(file, sizeof(file), "%s%s/cgroup.procs", h->h[i].dir, path);
		rc = file_write(AT_FDCWD, file, text, e);
	}
	return rc < 0 ? err_wrap(e, "cgroup") : 0;
}

/**
 * cgroup_open() - a descriptor of a cgroup's directory, to start processes in it
 * @h:      of version 2; of version 1 they must be moved
 * @ret_fd: owned by the caller
 *
 * Return: 0 or minus errno
 */
int cgroup_open(const struct cgroup_host *h, const char *path, int *ret_fd, struct err *e)
{
	char dir[DIR_BYTES];
	int fd;

	snprintf(dir, sizeof(dir), "%s%s", h->h[0].dir, path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "cgroup %s", dir);
	*ret_fd = fd;
	return 0;
}

static void enable_one(const char *dir, const char *controller)
{
	char file[DIR_BYTES + 32], text[32];

	snprintf(file, sizeof(file), "%s/cgroup.subtree_control", dir);
	snprintf(text, sizeof(text), "+%s", controller);
	file_write(AT_FDCWD, file, text, NULL);
}

/**
 * cgroup_enable() - let what is below a cgroup have limits of a controller; of version 1 it has
 * @parents: also what is beside it and its parents
 *
 * Where the host does not let us, cgroup_set() finds no file.
 */
void cgroup_enable(const struct cgroup_host *h, const char *path, const char *controller,
		   bool parents)
{
	char dir[DIR_BYTES];
	char *s;

	if (!h->unified || snprintf(dir, sizeof(dir), "%s%s", h->h[0].dir, path) >= (int)sizeof(dir))
		return;
	for (s = dir + strlen(h->h[0].dir); parents && s; s = strchr(s + 1, '/')) {
		*s = 0;
		enable_one(dir, controller);
		*s = '/';
	}
	enable_one(dir, controller);
}

/* The directory of the controller that has a file: "memory.max". */
static int dir_of(const struct cgroup_host *h, const char *path, const char *name,
		  char ret[DIR_BYTES], struct err *e)
{
	const struct cgroup_hierarchy *in;
	char controller[24];

	snprintf(controller, sizeof(controller), "%.*s", (int)strcspn(name, "."), name);
	in = cgroup_host_find(h, controller);
	if (!in)
		return err_set(e, ENOENT, "cgroup: no controller %s on this host", controller);
	snprintf(ret, DIR_BYTES, "%s%s", in->dir, path);
	return 0;
}

/**
 * cgroup_set() - set a limit
 * @v2_file, @v1_file: its file in version 2, and in 1: "memory.max", "memory.limit_in_bytes"
 *
 * Return: 0; -ENOENT where the controller is not to be had; minus errno
 */
int cgroup_set(const struct cgroup_host *h, const char *path, const char *v2_file,
	       const char *v1_file, uint64_t value, struct err *e)
{
	const char *name = h->unified ? v2_file : v1_file;
	char dir[DIR_BYTES], text[24];
	int rc = dir_of(h, path, name, dir, e);

	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text), "%" PRIu64, value);
	rc = write_in(dir, name, text, e);
	return rc < 0 ? err_wrap(e, "cgroup") : 0;
}

/**
 * cgroup_set_list() - set what a cgroup may use of processors or memory nodes
 * @file: "cpuset.cpus" or "cpuset.mems"; both versions name them so
 * @list: "": all that its parent has
 *
 * Return: 0; -ENOENT where the controller is not to be had; minus errno: the kernel does not
 * know one of them, or the parent has none of them
 */
int cgroup_set_list(const struct cgroup_host *h, const char *path, const char *file,
		    const char *list, struct err *e)
{
	char dir[DIR_BYTES];
	int rc = dir_of(h, path, file, dir, e);

	if (rc < 0)
		return rc;
	if (*list || h->unified)
		rc = write_in(dir, file, *list ? list : "\n", e);
	else
		rc = inherit(dir, file, e);
	return rc < 0 ? err_wrap(e, "cgroup") : 0;
}

/* Then they are somebody else's: ours are removed before their parents. */
static bool has_children(const char *dir)
{
	struct stat st;

	return !stat(dir, &st) && st.st_nlink > 2;
}

/* Tells which processes keep a cgroup from being removed. */
static int say_busy(const char *dir, struct err *e)
{
	_cleanup_free_ char *pids = NULL;
	char file[DIR_BYTES + 32];
	size_t i;

	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	if (file_read(AT_FDCWD, file, PROCS_BYTES, &pids, NULL, NULL) < 0)
		return err_set(e, EBUSY, "cgroup %s: still has processes", dir);
	for (i = 0; pids[i]; i++)
		if (pids[i] == '\n')
			pids[i] = pids[i + 1] ? ' ' : 0;
	return err_set(e, EBUSY, "cgroup %s: still has processes: %s", dir, pids);
}

/**
 * cgroup_remove() - remove an empty cgroup of one hierarchy; a missing one is fine
 * @dir:  absolute
 * @wait: for processes that have been killed, up to CGROUP_EMPTY_MS
 *
 * Return: 0; CGROUP_BUSY, and @e tells which processes it has; CGROUP_PARENT: it has
 * children; minus errno
 */
int cgroup_remove(const char *dir, bool wait, struct err *e)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t end = clock_ms() + (wait ? CGROUP_EMPTY_MS : 0);

	while (rmdir(dir) < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY && errno != ENOTEMPTY)
			return err_sys(e, "cgroup %s: rmdir", dir);
		if (has_children(dir))
			return CGROUP_PARENT;
		/* It has processes, or had some until just now. */
		if (clock_ms() >= end) {
			say_busy(dir, e);
			return CGROUP_BUSY;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* Without systemd nobody needs to be asked: its scopes end with their last processes. */
static int stop_scope(const char *unit, struct err *e)
{
	int rc = systemd_scope_stop(unit, SYSTEMD_MS, e);

	return rc < 0 ? rc : 0;
}

/**
 * cgroup_undo() - undo a journal record of kind "cgroup" or "scope"
 * @busy: one of this undo was CGROUP_BUSY before, and is now when this one is: it has had the
 *        time for processes to end, and children may be ours; borrowed
 *
 * Return: 0; 1: it is to be tried again later, and @e tells why; minus errno
 */
int cgroup_undo(const struct journal_rec *r, bool *busy, struct err *e)
{
	bool is_scope = !strcmp(r->word[0], "scope");
	int rc;

	if (r->n == 2 && is_scope && r->word[1][0])
		return stop_scope(r->word[1], e);
	if (r->n != 2 || is_scope || !str_starts(r->word[1], CGROUP_ROOT "/") ||
	    path_climbs(r->word[1]))
		return err_set(e, EINVAL, "journal: damaged %s record", r->word[0]);
	rc = cgroup_remove(r->word[1], !*busy, e);
	if (rc == CGROUP_BUSY)
		*busy = true;
	else if (rc == CGROUP_PARENT && *busy)
		err_set(e, EBUSY, "cgroup %s: has others in it", r->word[1]);
	return rc < 0 ? rc : rc && *busy;
}

/**
 * cgroup_weigh() - give a place its CPU weight; a host without that controller is fine
 * @cpu_shares: not 0
 *
 * Return: 0 or minus errno
 */
int cgroup_weigh(const struct cgroup_host *h, const struct cgroup *c, uint64_t cpu_shares,
		 struct err *e)
{
	int rc;

	if (c->unit[0])
		return systemd_scope_weight(c->unit, cgroup_weight(cpu_shares), SYSTEMD_MS, e);
	cgroup_enable(h, c->path, "cpu", true);
	rc = cgroup_set(h, c->path, "cpu.weight", "cpu.shares",
			h->unified ? cgroup_weight(cpu_shares) : cpu_shares, e);
	return rc == -ENOENT ? 0 : rc;
}

static int begin_scope(struct cgroup *c, const char *description, pid_t pid, uint64_t cpu_shares,
		       struct journal *j, struct err *e)
{
	const struct systemd_scope s = { .unit = c->unit, .slice = c->slice,
					 .description = description, .pid = pid,
					 .cpu_weight = cgroup_weight(cpu_shares),
					 .timeout_ms = SYSTEMD_MS };
	int rc;

	c->scope_mark = journal_mark(j);
	rc = journal_add(j, e, "scope", c->unit, NULL);
	if (rc < 0)
		return rc;
	rc = systemd_scope_start(&s, e);
	/* Another's, which is not to be stopped. */
	if (rc == -EEXIST)
		journal_retire(j, c->scope_mark, NULL);
	return rc;
}

/**
 * cgroup_begin() - have a place made
 * @description: for people
 * @pid:         systemd's scope begins with it; into one that we make it does not move
 * @cpu_shares:  0: as it comes
 *
 * Return: 0 or minus errno; then the journal's undo takes back what there is of it
 */
int cgroup_begin(const struct cgroup_host *h, struct cgroup *c, const char *description,
		 pid_t pid, uint64_t cpu_shares, struct journal *j, struct err *e)
{
	int rc = c->unit[0] ? begin_scope(c, description, pid, cpu_shares, j, e) : 0;

	if (rc < 0)
		return rc;
	c->begun = true;
	/* Of version 1 systemd makes it where it accounts, and we make the rest. */
	rc = cgroup_make(h, c->path, j, &c->from, e);
	c->to = journal_mark(j);
	return rc < 0 || c->unit[0] || !cpu_shares ? rc : cgroup_weigh(h, c, cpu_shares, e);
}

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	return cgroup_undo(r, arg, e);
}

/**
 * cgroup_end() - take a place back whose processes have ended, and retire its records
 *
 * Parents stay until the pod ends: others may be below them.
 *
 * Return: 0, also for one that has not begun; 1: it still has processes, which @e tells, and
 * the journal's undo is left; minus errno: the same
 */
int cgroup_end(struct cgroup *c, struct journal *j, struct err *e)
{
	bool busy = false;
	int rc;

	if (!c->begun)
		return 0;
	c->begun = false;
	rc = journal_undo_span(j, c->from, c->to, undo, &busy, e);
	if (!rc && c->unit[0])
		rc = stop_scope(c->unit, e);
	if (!rc && c->unit[0])
		rc = journal_retire(j, c->scope_mark, e);
	return rc;
}
