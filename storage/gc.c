// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a crash can leave on a host, found by collectors, one for each kind. A
 * collector decides by a lock or a connection, never by age or by a pid alone, that
 * nobody uses a thing any more, and holds the lock while it removes it. Removing is
 * idempotent: what another gc has removed meanwhile is fine.
 *
 * Of pods there is nothing to collect here: a pod's supervisor and every command of
 * podvm undo the journals of pods that have ended (runtime/pod.c), and scratch disks
 * have no name.
 */
#include "storage/gc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "storage/cache.h"
#include "storage/place.h"
#include "storage/socket.h"
#include "storage/workdir.h"

/**
 * gc_found() - a collector has found something that nobody uses
 * @remove: removes it, unless this run only looks
 */
void gc_found(struct gc *g, const char *kind, const char *what, uint64_t bytes,
	      gc_remove_fn *remove, void *arg)
{
	struct err e = {0};
	int rc = g->dry ? 0 : remove(arg, &e);

	if (rc == -EBUSY)
		return;
	g->found++;
	g->bytes += bytes;
	g->failed += rc < 0;
	if (g->say)
		g->say(g, kind, what, bytes, rc < 0 ? &e : NULL);
}

/* Calls @fn for each name in a directory that may be missing. */
static int each(const char *path,
		int (*fn)(struct gc *g, int dir_fd, const char *name, struct err *e), struct gc *g,
		struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		if (errno != ENOENT)
			rc = err_sys(e, "%s", path);
		fd_close(&fd);
		return rc;
	}
	while (!rc && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			rc = fn(g, fd, d->d_name, e);
	closedir(dir);
	return rc;
}

/* ---- sockets of servers that were killed -------------------------------------- */
struct socket_name {
	int dir_fd;
	const char *name;
};

static int remove_socket(void *arg, struct err *e)
{
	const struct socket_name *s = arg;
	int rc;

	if (flock(s->dir_fd, LOCK_EX) < 0)
		return err_sys(e, "lock");
	rc = socket_dead(s->dir_fd, s->name, true);
	flock(s->dir_fd, LOCK_UN);
	if (rc == -EADDRINUSE || rc == -EEXIST)
		return -EBUSY;
	return rc < 0 ? err_set(e, -rc, "%s: %s", s->name, strerror(-rc)) : 0;
}

static int one_socket(struct gc *g, int dir_fd, const char *name, struct err *e)
{
	struct socket_name s = {.dir_fd = dir_fd, .name = name};

	(void)e;
	if (socket_dead(dir_fd, name, false) == 1)
		gc_found(g, "server socket", name, 0, remove_socket, &s);
	return 0;
}

static int sockets(struct gc *g, struct err *e)
{
	return each(PLACE_SERVE, one_socket, g, e);
}

/* ---- tests that were killed ----------------------------------------------------- */
static uint64_t tree_bytes(int dir_fd, const char *name, int depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t bytes = 0;
	struct dirent *d;
	struct stat st;

	if (!dir) {
		fd_close(&fd);
		return 0;
	}
	while ((d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		bytes += (uint64_t)st.st_blocks * 512;
		if (S_ISDIR(st.st_mode) && depth)
			bytes += tree_bytes(fd, d->d_name, depth - 1);
	}
	closedir(dir);
	return bytes;
}

struct test_place {
	int dir_fd;
	const char *name;
};

static int remove_test(void *arg, struct err *e)
{
	const struct test_place *p = arg;

	return workdir_recover(p->dir_fd, p->name, e);
}

static int one_test(struct gc *g, int dir_fd, const char *name, struct err *e)
{
	struct test_place p = {.dir_fd = dir_fd, .name = name};
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct err ignored;
	ssize_t n;

	(void)e;
	if (workdir_lock(dir_fd, name, &fd, &ignored) < 0)
		return 0;
	n = readlinkat(fd, "path", path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = 0;
	fd_close(&fd);
	gc_found(g, "test", n < 0 ? name : path, n < 0 ? 0 : tree_bytes(AT_FDCWD, path, 40),
		 remove_test, &p);
	return 0;
}

static int tests(struct gc *g, struct err *e)
{
	return each(PLACE_TEST, one_test, g, e);
}

/* ---- what is remembered of layers that are gone --------------------------------- */
static int remove_nothing(void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	return 0;
}

/* The cache removes what it is told to: who reads the entry meanwhile has it open. */
static int one_entry(void *arg, const struct cache_entry *x, struct err *e)
{
	struct gc *g = arg;

	(void)e;
	if (!x->gone)
		return 0;
	gc_found(g, "layer cache", x->layer[0] ? x->layer : x->name, x->bytes, remove_nothing, NULL);
	return !g->dry;
}

static int layers(struct gc *g, struct err *e)
{
	struct cache *c;
	int rc;

	if (access(PLACE_CACHE, F_OK))
		return 0;
	rc = cache_open(PLACE_CACHE, &c, e);
	if (rc < 0)
		return rc;
	rc = cache_each(c, one_entry, g, e);
	cache_free(c);
	return rc;
}

/* What else leaves things behind adds its collector here. */
static const struct gc_collector collectors[] = {
	{"server socket", "sockets below " PLACE_SERVE " that no server listens at", sockets},
	{"layer cache", "what is remembered in " PLACE_CACHE " of layers that are gone", layers},
	{"test", "working directories, devices and pods of tests that were killed", tests},
	{NULL, NULL, NULL},
};

/**
 * gc_collectors() - all of them, closed by one without a kind
 */
const struct gc_collector *gc_collectors(void)
{
	return collectors;
}

/**
 * gc_run() - run all collectors
 * @g: with @dry and @say; its sums are set
 *
 * Return: 0; the first failure to look somewhere, after the others have run
 */
int gc_run(struct gc *g, struct err *e)
{
	const struct gc_collector *c;
	struct err one;
	int rc = 0;

	for (c = collectors; c->kind; c++) {
		one.code = 0;
		if (c->run(g, &one) < 0 && !rc) {
			*e = one;
			rc = -one.code;
			err_wrap(e, "%s", c->kind);
		}
	}
	return rc;
}

/**
 * gc_tests() - clean up after tests that were killed, silently
 */
void gc_tests(void)
{
	struct gc g = {0};
	struct err ignored;

	tests(&g, &ignored);
}
