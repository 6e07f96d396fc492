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
 * layers_verify() compares the merged root with the root that the kernel shows, and
 * of each layer below the upper one a few files: one that was replaced by a copy has
 * other times of change.
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
 * @warned: that a layer could not be kept; once is enough
 * @next: first layer that nobody has taken
 * @n_threads: that have taken an arena
 * @lock: of @rc and @err: the first failure
 */
struct crew {
	struct layers *l;
	const struct overlay *o;
	const struct cache *cache;
	atomic_bool warned;
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
	if (!rc && c->cache && cache_store(c->cache, s, now, &why) < 0 &&
	    !atomic_exchange(&c->warned, true))
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

/* Files of each layer that are compared with what is mounted. */
#define SAMPLES 2

static bool same_file(const struct stat *st, const struct tree_inode *i)
{
	return st->st_mode == i->mode && st->st_uid == i->uid && st->st_gid == i->gid &&
	       (uint64_t)st->st_size == i->size && st->st_mtim.tv_sec == i->mtime_s &&
	       (uint32_t)st->st_mtim.tv_nsec == i->mtime_ns && st->st_ctim.tv_sec == i->ctime_s &&
	       (uint32_t)st->st_ctim.tv_nsec == i->ctime_ns;
}

/* Regular files, and symlinks; other files' sizes are not in the tree. */
static bool is_sample(const struct tree_node *n)
{
	return !(n->flags & TREE_WHITEOUT) && (S_ISREG(n->inode->mode) || S_ISLNK(n->inode->mode));
}

/**
 * struct sampler - comparing some files of each layer
 * @left: how many of each layer are still to be compared
 * @open: layers of which any are
 * @bad:  first that is another file
 */
struct sampler {
	int rootfs_fd;
	uint8_t left[OVERLAY_LAYERS_MAX];
	size_t open;
	const struct tree_node *bad;
};

static void sample(struct sampler *s, const struct tree_node *dir)
{
	char path[TREE_PATH_BYTES];
	struct stat st;
	uint32_t i;

	for (i = 0; s->open && !s->bad && i < dir->n_children; i++) {
		const struct tree_node *n = dir->child[i];
		uint8_t *left = &s->left[n->inode->layer];

		tree_child_ahead(dir, i);
		if (!is_sample(n) || !*left)
			continue;
		if (!--*left)
			s->open--;
		if (tree_path(n, path) < 0 ||
		    fstatat(s->rootfs_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !same_file(&st, n->inode))
			s->bad = n;
	}
}

/* Frames are small: a tree is as deep as a path has names. */
static void sample_below(struct sampler *s, const struct tree_node *dir)
{
	uint32_t i;

	sample(s, dir);
	for (i = 0; s->open && !s->bad && i < dir->n_children; i++)
		if (!(dir->child[i]->flags & TREE_WHITEOUT) && tree_is_dir(dir->child[i]))
			sample_below(s, dir->child[i]);
}

static int mismatch(struct err *e, const char *name, const char *how)
{
	char shown[300];

	str_quote(shown, sizeof(shown), name);
	return err_set(e, ESTALE, "the layers of the mount options are not those that are mounted: %s is %s: were they mounted in another mount namespace, or changed since?",
		       shown, how);
}

/* Layers may be another copy of what is mounted, with the same names. */
static int verify_files(const struct layers *l, int rootfs_fd, struct err *e)
{
	struct sampler s = { .rootfs_fd = rootfs_fd };
	char path[TREE_PATH_BYTES];
	size_t i;

	for (i = 0; i < l->n; i++) {
		/* In the upper one, engines change modes while a container is prepared. */
		s.left[i] = l->scan[i].upper ? 0 : SAMPLES;
		s.open += s.left[i] > 0;
	}
	sample_below(&s, l->root);
	if (!s.bad)
		return 0;
	return mismatch(e, tree_path(s.bad, path) < 0 ? "a file" : path, "another file");
}

/**
 * layers_verify() - compare the merged tree with the mounted one
 * @rootfs_fd: root of the overlay mount, O_RDONLY, borrowed
 *
 * The root directory is compared as a whole, and a few files of each layer.
 *
 * Return: 0; -ESTALE when names, modes, owners or times differ; else minus errno
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
	return rc ? rc : verify_files(l, rootfs_fd, e);
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
