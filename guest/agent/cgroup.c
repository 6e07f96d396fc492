// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * cgroup v2, two places: the root holds the agent and the pod's pause process,
 * "podvm/<id>" one container each. "podvm" holds no process, so that every controller
 * can be enabled below it; the root may hold some all the same. A container may divide its
 * own cgroup; so processes are counted, killed and removed with all that is below.
 *
 * Source: kernel Documentation/admin-guide/cgroup-v2.rst.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"

/* A cgroup deeper than this is left alone: it is not of a sane program. */
#define DEPTH_MAX 32

/* One that cannot be enabled must not keep others off. */
static void enable_each(int dir, char *names)
{
	char *name, *save = NULL;
	struct err e;

	for (name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save))
		if (file_write(dir, "cgroup.subtree_control", name, &e) < 0)
			log_warn("boot: cgroup: %s: %s", name, e.text);
}

/* All in one write, if they can be: each write goes through the whole hierarchy. */
static void enable_controllers(const char *path)
{
	_cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct strbuf all = { 0 };
	char *name, *save = NULL;
	struct err e;

	if (dir < 0 || file_read(dir, "cgroup.controllers", 4096, &text, NULL, &e) < 0)
		return;
	for (name = strtok_r(text, " \n", &save); name; name = strtok_r(NULL, " \n", &save))
		strbuf_add(&all, "%s+%s", all.len ? " " : "", name);
	if (all.len && !all.failed &&
	    file_write(dir, "cgroup.subtree_control", all.text, &e) < 0)
		enable_each(dir, all.text);
	strbuf_done(&all);
}

/**
 * cgroup_boot() - all controllers for containers
 *
 * The agent stays in the root, which may have processes and children that are controlled:
 * to move it would wait for a grace period of RCU, several ticks of a clock.
 *
 * Return: 0 or minus errno
 */
int cgroup_boot(struct err *e)
{
	int rc;

	/* Before there is something below, that the kernel would have to go through. */
	enable_controllers(AGENT_CGROUP);
	rc = dir_make(AGENT_CGROUP_PODS, 0755, e);
	if (rc < 0)
		return err_wrap(e, "cgroup");
	enable_controllers(AGENT_CGROUP_PODS);
	return 0;
}

/**
 * cgroup_check_name() - whether a name is that of a controller's file
 *
 * Return: 0 or -EINVAL
 */
int cgroup_check_name(const char *name, struct err *e)
{
	if (!*name || strchr(name, '/') || str_starts(name, ".") || !strchr(name, '.') ||
	    str_starts(name, "cgroup."))
		return err_set(e, EINVAL, "cgroup: %s is not a controller's file", name);
	return 0;
}

/**
 * cgroup_write() - one value; of several lines each is a write, as io.max wants it
 * @dir: of the cgroup, borrowed
 *
 * Return: 0; -ENOENT when the kernel has no such file; what it says of the value
 */
int cgroup_write(int dir, const Podvm__KeyValue *kv, struct err *e)
{
	_cleanup_free_ char *text = strdup(kv->value);
	char *line, *save = NULL;
	int bad = cgroup_check_name(kv->key, e);

	if (bad)
		return bad;
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		int rc = file_write(dir, kv->key, line, e);

		if (rc == -ENOENT)
			return err_set(e, ENOENT, "cgroup: the guest's kernel has no %s", kv->key);
		if (rc < 0)
			return err_wrap(e, "cgroup: value %s", line);
	}
	return 0;
}

/**
 * cgroup_make() - a container's cgroup with its values
 * @id:     checked by the caller: a file name
 * @ret_fd: directory, owned by the caller
 *
 * Return: 0; -EEXIST; minus errno. Nothing is left after a failure
 */
int cgroup_make(const char *id, const Podvm__ContainerCreate *c, int *ret_fd,
		struct err *e)
{
	char path[sizeof(AGENT_CGROUP_PODS) + AGENT_ID_BYTES + 2];
	_cleanup_close_ int fd = -1;
	size_t i;
	int rc = 0;

	snprintf(path, sizeof(path), AGENT_CGROUP_PODS "/%s", id);
	if (mkdir(path, 0755) < 0)
		return err_sys(e, "%s: mkdir", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		rc = err_sys(e, "%s", path);
	for (i = 0; rc >= 0 && i < c->n_cgroup; i++)
		rc = cgroup_write(fd, c->cgroup[i], e);
	if (rc < 0) {
		rmdir(path);
		return rc;
	}
	*ret_fd = fd_steal(&fd);
	return 0;
}

/**
 * cgroup_kill() - SIGKILL for every process in it and below
 *
 * Return: 0 or minus errno
 */
int cgroup_kill(int cgroup_fd, struct err *e)
{
	return file_write(cgroup_fd, "cgroup.kill", "1", e);
}

/* The number behind a key of a flat keyed file; 0 when it is not there. */
static unsigned long long keyed(int dir, const char *file, const char *key)
{
	_cleanup_free_ char *text = NULL;
	char *line, *save = NULL;
	size_t len = strlen(key);

	if (file_read(dir, file, 4096, &text, NULL, NULL) < 0)
		return 0;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, key, len) && line[len] == ' ')
			return strtoull(line + len + 1, NULL, 10);
	return 0;
}

/**
 * cgroup_populated() - whether a process is in it or below
 */
bool cgroup_populated(int cgroup_fd)
{
	return keyed(cgroup_fd, "cgroup.events", "populated") != 0;
}

/**
 * cgroup_oom_kills() - how many processes the kernel's OOM killer has killed in it and below
 */
uint64_t cgroup_oom_kills(int cgroup_fd)
{
	return keyed(cgroup_fd, "memory.events", "oom_kill");
}

/**
 * cgroup_frozen() - whether all in it stands still
 */
bool cgroup_frozen(int cgroup_fd)
{
	return keyed(cgroup_fd, "cgroup.events", "frozen") != 0;
}

/**
 * cgroup_freeze() - let all in it stand still, or run again; follow by cgroup_frozen()
 *
 * Return: 0 or minus errno
 */
int cgroup_freeze(int cgroup_fd, bool frozen, struct err *e)
{
	return file_write(cgroup_fd, "cgroup.freeze", frozen ? "1" : "0", e);
}

struct pid_list {
	uint32_t *v;
	size_t n, room;
};

static int add_pids(int dir, struct pid_list *l, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *line, *save = NULL;
	int rc = file_read(dir, "cgroup.procs", 1u << 20, &text, NULL, e);

	if (rc < 0) /* a threaded or just removed one has no list */
		return rc == -EOPNOTSUPP || rc == -ENODEV || rc == -ENOENT ? 0 : rc;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (l->n == l->room) {
			size_t room = l->room ? l->room * 2 : 64;
			uint32_t *v = realloc(l->v, room * sizeof(*v));

			if (!v)
				return err_set(e, ENOMEM, "out of memory");
			l->v = v;
			l->room = room;
		}
		l->v[l->n++] = (uint32_t)strtoul(line, NULL, 10);
	}
	return 0;
}

/* Calls itself for the directories below @dir, the deepest first when removing. */
static int walk(int dir, struct pid_list *l, int depth, struct err *e)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	int rc = 0;

	if (!d) {
		fd_close(&fd);
		return err_sys(e, "cgroup");
	}
	if (l)
		rc = add_pids(fd, l, e);
	while (rc >= 0 && depth < DEPTH_MAX && (ent = readdir(d))) {
		_cleanup_close_ int sub = -1;

		if (ent->d_type != DT_DIR || ent->d_name[0] == '.')
			continue;
		sub = openat(fd, ent->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub < 0)
			continue;
		rc = walk(sub, l, depth + 1, e);
		if (rc >= 0 && !l && unlinkat(fd, ent->d_name, AT_REMOVEDIR) < 0 &&
		    errno != ENOENT)
			rc = err_sys(e, "cgroup %s: rmdir", ent->d_name);
	}
	closedir(d);
	return rc;
}

/**
 * cgroup_pids() - processes in it and below, as the agent sees them
 * @ret: malloc'd, owned by the caller
 *
 * Return: 0 or minus errno
 */
int cgroup_pids(int cgroup_fd, uint32_t **ret, size_t *ret_n, struct err *e)
{
	struct pid_list l = { 0 };
	int rc = walk(cgroup_fd, &l, 0, e);

	if (rc < 0) {
		free(l.v);
		return rc;
	}
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}

/**
 * cgroup_remove() - remove a container's empty cgroup with all below; a missing one is fine
 *
 * Return: 0; -EBUSY while a process is in it; minus errno
 */
int cgroup_remove(const char *id, struct err *e)
{
	char path[sizeof(AGENT_CGROUP_PODS) + AGENT_ID_BYTES + 2];
	_cleanup_close_ int fd = -1;
	int rc;

	snprintf(path, sizeof(path), AGENT_CGROUP_PODS "/%s", id);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", path);
	rc = walk(fd, NULL, 0, e);
	if (rc < 0)
		return rc;
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_sys(e, "%s: rmdir", path);
	return 0;
}

/* A file that is one number; 0 when it is not there. */
static uint64_t number(int dir, const char *file)
{
	_cleanup_free_ char *text = NULL;

	if (file_read(dir, file, 64, &text, NULL, NULL) < 0)
		return 0;
	return strtoull(text, NULL, 10);
}

/**
 * cgroup_figures() - what it uses, with all below
 * @ret: its id is left alone
 */
void cgroup_figures(int cgroup_fd, Podvm__GuestContainer *ret)
{
	ret->cpu_ns = keyed(cgroup_fd, "cpu.stat", "usage_usec") * 1000;
	ret->memory = number(cgroup_fd, "memory.current");
	ret->processes = number(cgroup_fd, "pids.current");
	ret->oom_kills = keyed(cgroup_fd, "memory.events", "oom_kill");
}
