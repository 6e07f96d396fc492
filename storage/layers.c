// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A stack is read layer by layer (scan.c), by up to SCAN_THREADS threads that
 * have a working directory of their own, or taken from the cache (cache.c) if it
 * has them unchanged, and then merged (merge.c). Data-only
 * layers are not read: files in them are looked up by name.
 *
 * The layers come from mount options, that is from path names that may mean
 * something else by now (another mount namespace, an unmounted idmapped mount).
 * layers_verify() compares the merged root with the root that the kernel shows.
 *
 * Source: linux Documentation/filesystems/overlayfs.rst
 */
#include "storage/layers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/merge.h"
#include "storage/scan.h"

/* More do not help: the largest layer takes most of the time. */
#define SCAN_THREADS 4

/**
 * struct layers - a stack that was read
 * @scan: one for each layer but the data-only ones; owned
 * @n:    how many
 * @cached: of them came from the cache
 * @root: of the merged tree
 */
struct layers {
	atomic_llong budget;
	struct arena arena[SCAN_THREADS];
	struct scan *scan;
	size_t n;
	atomic_size_t cached;
	struct tree_node *root;
};

/**
 * struct crew - threads that share the layers of a stack
 * @next: first layer that nobody has taken
 * @n_threads: that have taken an arena
 * @lock: of @rc and @err: the first failure
 */
struct crew {
	struct layers *l;
	const struct overlay *o;
	const struct cache *cache;
	atomic_size_t next, n_threads;
	pthread_mutex_t lock;
	int rc;
	struct err err;
};

static void fail(struct crew *c, int rc, const struct err *e)
{
	pthread_mutex_lock(&c->lock);
	if (!c->rc) {
		c->rc = rc;
		c->err = *e;
	}
	pthread_mutex_unlock(&c->lock);
	atomic_store(&c->next, c->l->n);
}

/* From the cache, or by reading it; then the cache gets it. That it cannot is no failure. */
static int get_layer(struct crew *c, struct scan *s, struct err *e)
{
	int64_t now = time(NULL);
	struct err why;
	int rc = c->cache ? cache_load(c->cache, s, e) : 0;

	if (rc == 1)
		atomic_fetch_add(&c->l->cached, 1);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = scan_layer(s, e);
	if (!rc && c->cache && cache_store(c->cache, s, now, &why) < 0)
		log_warn("storage: %s", why.text);
	return rc;
}

static void *scan_thread(void *arg)
{
	struct crew *c = arg;
	char shown[200];
	struct err e = { 0 };
	struct arena *a;
	size_t i;
	int rc;

	if (unshare(CLONE_FS) < 0) {
		fail(c, err_sys(&e, "a working directory for a thread (unshare)"), &e);
		return NULL;
	}
	a = &c->l->arena[atomic_fetch_add(&c->n_threads, 1)];
	while ((i = atomic_fetch_add(&c->next, 1)) < c->l->n) {
		c->l->scan[i].arena = a;
		rc = get_layer(c, &c->l->scan[i], &e);
		if (rc < 0) {
			str_quote(shown, sizeof(shown), c->o->layer[i].path);
			err_wrap(&e, "layer %s", shown);
			fail(c, rc, &e);
		}
	}
	return NULL;
}

static int run_crew(struct crew *c, struct err *e)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t want = SCAN_THREADS, n = 0;
	pthread_t id[SCAN_THREADS];
	int rc = 0;

	if (cpus > 0 && (size_t)cpus < want)
		want = (size_t)cpus;
	if (c->l->n < want)
		want = c->l->n;
	for (; n < want; n++) {
		rc = pthread_create(&id[n], NULL, scan_thread, c);
		if (rc)
			break;
	}
	if (!n)
		return err_set(e, rc, "a thread to read layers: %s", strerror(rc));
	while (n)
		pthread_join(id[--n], NULL);
	if (c->rc && e)
		*e = c->err;
	return c->rc;
}

static int merge(struct layers *l, const struct overlay *o, struct err *e)
{
	struct tree_node *root[OVERLAY_LAYERS_MAX];
	struct merge m = { .o = o, .root = root, .n = l->n, .arena = &l->arena[0] };
	size_t i;

	for (i = 0; i < l->n; i++) {
		root[i] = l->scan[i].root;
		m.marks |= l->scan[i].marks;
	}
	return merge_layers(&m, &l->root, e);
}

/**
 * layers_read() - read and merge the layers of an overlay
 * @o:     with open layers, borrowed for the call
 * @cache: of layers, borrowed for the call; NULL: all are read
 * @ret:   owned by the caller, layers_free(); untouched on failure
 *
 * Return: 0 or minus errno, with the layer and the file named
 * Context: starts threads and waits for them; they touch nothing of the caller's
 */
int layers_read(const struct overlay *o, const struct cache *cache, struct layers **ret,
		struct err *e)
{
	struct crew c = { .o = o, .cache = cache, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct layers *l = mem_new(struct layers);
	size_t i;
	int rc;

	if (l)
		l->scan = mem_new_n(struct scan, o->n_layers);
	if (!l || !l->scan) {
		free(l);
		return err_set(e, ENOMEM, "out of memory");
	}
	l->n = o->n_layers - o->n_data;
	for (i = 0; i < SCAN_THREADS; i++)
		l->arena[i].budget = &l->budget;
	atomic_store(&l->budget, TREE_BYTES_MAX);
	for (i = 0; i < l->n; i++)
		l->scan[i] = (struct scan){
			.fd = o->layer[i].fd, .index = (uint16_t)i,
			.userxattr = o->userxattr, .upper = o->has_upper && !i,
		};
	c.l = l;
	rc = run_crew(&c, e);
	if (!rc)
		rc = merge(l, o, e);
	if (rc < 0) {
		layers_free(l);
		return rc;
	}
	*ret = l;
	return 0;
}

/**
 * layers_root() - the merged tree; whiteouts are still in it
 *
 * Return: valid until layers_free()
 */
struct tree_node *layers_root(struct layers *l)
{
	return l->root;
}

/**
 * layers_cached() - how many layers came from the cache
 */
size_t layers_cached(const struct layers *l)
{
	return atomic_load(&l->cached);
}

/**
 * layers_count() - names in a layer, before merging; 0 in data-only ones
 */
uint64_t layers_count(const struct layers *l, size_t layer)
{
	return layer < l->n ? l->scan[layer].n_nodes : 0;
}

static int mismatch(struct err *e, const char *name, const char *how)
{
	char shown[300];

	str_quote(shown, sizeof(shown), name);
	return err_set(e, ESTALE, "the layers of the mount options are not those that are mounted: %s is %s: were they mounted in another mount namespace, or changed since?",
		       shown, how);
}

/**
 * layers_verify() - compare the merged root directory with the mounted one
 * @rootfs_fd: root of the overlay mount, O_RDONLY, borrowed
 *
 * Return: 0; -ESTALE when names, mode or owners differ; else minus errno
 */
int layers_verify(const struct layers *l, int rootfs_fd, struct err *e)
{
	int fd = openat(rootfs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t i, seen = 0, wanted = 0;
	const struct tree_inode *r = l->root->inode;
	struct dirent *d;
	struct stat st;
	DIR *dir;
	int rc = 0;

	if (fd < 0 || fstat(fd, &st) < 0 || !(dir = fdopendir(fd))) {
		rc = err_sys(e, "reading the rootfs");
		fd_close(&fd);
		return rc;
	}
	if (st.st_mode != r->mode || st.st_uid != r->uid || st.st_gid != r->gid)
		rc = mismatch(e, "/", "of another mode or owner");
	while (!rc && (d = readdir(dir))) {
		const struct tree_node *n;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		n = tree_child(l->root, d->d_name);
		if (n && !(n->flags & TREE_WHITEOUT))
			seen++;
		else if (!faccessat(rootfs_fd, d->d_name, F_OK, AT_SYMLINK_NOFOLLOW))
			rc = mismatch(e, d->d_name, "not in them");
	}
	for (i = 0; i < l->root->n_children; i++)
		wanted += !(l->root->child[i]->flags & TREE_WHITEOUT);
	if (!rc && seen != wanted)
		rc = mismatch(e, "/", "short of names that they have");
	closedir(dir);
	return rc;
}

/**
 * layers_free() - free the trees; NULL is fine
 */
void layers_free(struct layers *l)
{
	size_t i;

	if (!l)
		return;
	for (i = 0; i < SCAN_THREADS; i++)
		arena_done(&l->arena[i]);
	free(l->scan);
	free(l);
}
