// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The files of a share that its monitor may name. A node is a file, not a path:
 * it stays the same file whoever renames it or what lies above it. It is found
 * again by device and inode number, and, since inode numbers come back, by its
 * handle.
 *
 * A guest may know a million files, so nodes are kept as file handles (24 to 40
 * bytes) and opened again when they are needed; the descriptors that were used
 * last stay open. Only the broker has handles, so none can be forged. File
 * systems whose handles do not last (overlayfs, network and FUSE) have a
 * descriptor for each node instead, and config.held_max bounds these nodes.
 *
 * A node lives while it was given out more often than forgotten, or a call works
 * on it. Its id is its slot and, above, a number that counts nodes up: an id that
 * was never given out, or was forgotten, is -ESTALE and never somebody else's.
 *
 * A directory that the host moves out of the share takes its nodes along. Before a
 * directory is used, ".." is looked up in it: the share is a mount of its own, and
 * Linux lets nobody go up from a directory that is not below a mount's root.
 *
 * A node belongs to the tree that it was found in: the same file in two trees is two
 * nodes, and so is one that two mounts of a recursive tree show, since each has rights
 * of its own. When a tree is removed all its nodes are unknown at once; one that a call
 * works on is freed with that call, and the tree's mount with the last of them.
 *
 * Locks: share.lock is never held across a system call, except close().
 *
 * Sources: open_by_handle_at(2); path_resolution(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "storage/share.h"

#define BUCKETS_MIN 256u
#define SLOTS_MIN 64u

/* Nodes that are looked at for one whose descriptor can be closed. */
#define EVICT_TRIES 16

/* Devices of one share that get an index of their own. */
#define DEVS_MAX 1024u

/* What a file is found by. */
struct key {
	struct share_tree *tree;
	uint64_t dev, ino, mount_id;
	uint32_t mode;
	int32_t handle_type;
	uint32_t handle_len;
	uint8_t handle[SHARE_HANDLE_BYTES];
};

union handle {
	struct file_handle h;
	uint8_t room[sizeof(struct file_handle) + SHARE_HANDLE_BYTES];
};

static uint32_t hash(const struct share *s, uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ s->seed) * 0x9e3779b97f4a7c15ull;

	h ^= h >> 32;
	h = (h ^ dev ^ s->seed >> 7) * 0xd6e8feb86659fd93ull;
	return (uint32_t)(h >> 32) & (s->n_buckets - 1);
}

static bool same(const struct node *n, const struct key *k)
{
	return n->ino == k->ino && n->dev == k->dev && n->tree == k->tree &&
	       n->mount_id == k->mount_id && n->handle_len == k->handle_len &&
	       n->handle_type == k->handle_type && !memcmp(n->handle, k->handle, k->handle_len);
}

static struct node *find_key(const struct share *s, const struct key *k)
{
	uint32_t at = s->bucket[hash(s, k->dev, k->ino)];

	while (at && !same(s->slot[at], k))
		at = s->slot[at]->bucket_next;
	return at ? s->slot[at] : NULL;
}

static struct node *find_id(const struct share *s, uint64_t id)
{
	uint32_t at = (uint32_t)id;
	struct node *n = at && at < s->n_slots ? s->slot[at] : NULL;

	return n && n->id == id ? n : NULL;
}

/* More buckets, twice as many as there are; fewer do as well. */
static void grow_buckets(struct share *s)
{
	uint32_t n = s->n_buckets * 2, i;
	uint32_t *b = mem_new_n(uint32_t, n);

	if (!b)
		return;
	free(s->bucket);
	s->bucket = b;
	s->n_buckets = n;
	for (i = 1; i < s->n_slots; i++) {
		uint32_t *at;

		if (!s->slot[i])
			continue;
		at = &b[hash(s, s->slot[i]->dev, s->slot[i]->ino)];
		s->slot[i]->bucket_next = *at;
		*at = i;
	}
}

static int grow_slots(struct share *s)
{
	uint32_t room = s->room ? s->room * 2 : SLOTS_MIN;
	struct node **slot = realloc(s->slot, room * sizeof(struct node *));
	uint32_t *free_slot;

	if (!slot)
		return -ENOMEM;
	s->slot = slot;
	free_slot = realloc(s->free_slot, room * sizeof(*free_slot));
	if (!free_slot)
		return -ENOMEM;
	s->free_slot = free_slot;
	s->room = room;
	return 0;
}

static int take_slot(struct share *s, uint32_t *ret)
{
	int rc;

	if (s->n_free) {
		*ret = s->free_slot[--s->n_free];
		return 0;
	}
	if (s->n_slots == s->room && (rc = grow_slots(s)) < 0)
		return rc;
	s->slot[s->n_slots] = NULL;
	*ret = s->n_slots++;
	return 0;
}

static void list_del(struct share *s, struct node *n)
{
	*(n->older ? &n->older->newer : &s->oldest) = n->newer;
	*(n->newer ? &n->newer->older : &s->newest) = n->older;
	n->older = n->newer = NULL;
}

static void list_add(struct share *s, struct node *n)
{
	n->older = s->newest;
	n->newer = NULL;
	*(s->newest ? &s->newest->newer : &s->oldest) = n;
	s->newest = n;
}

/* The root, and nodes without a handle, keep their descriptors. */
static bool may_close(const struct node *n)
{
	return n->handle_len && n->id != FUSE_ROOT_ID;
}

/* Takes a descriptor away from the node, for the caller to close. */
static int take_fd(struct share *s, struct node *n)
{
	if (n->fd < 0)
		return -1;
	if (may_close(n))
		list_del(s, n);
	s->n_fds--;
	s->n_held -= !n->handle_len;
	return fd_steal(&n->fd);
}

static void give_fd(struct share *s, struct node *n, int *fd)
{
	n->fd = fd_steal(fd);
	s->n_fds++;
	s->n_held += !n->handle_len;
	if (may_close(n))
		list_add(s, n);
}

/* Closes descriptors that were not used for long, when there are too many. */
static void evict(struct share *s)
{
	struct node *n = s->oldest, *next;
	int tries;

	for (tries = 0; n && s->n_fds - s->n_held > s->config.fds_max && tries < EVICT_TRIES;
	     tries++) {
		next = n->newer;
		if (!n->refs)
			close(take_fd(s, n));
		n = next;
	}
}

/* Nobody finds it any more. */
static void hide_node(struct share *s, struct node *n)
{
	uint32_t slot = (uint32_t)n->id, *at = &s->bucket[hash(s, n->dev, n->ino)];

	while (*at != slot)
		at = &s->slot[*at]->bucket_next;
	*at = n->bucket_next;
	s->slot[slot] = NULL;
	s->free_slot[s->n_free++] = slot;
	s->n_nodes--;
	n->gone = true;
}

/**
 * tree_unref() - let go of a tree; the share's lock is held
 *
 * Return: the tree when that was its end, for tree_free() without the lock; NULL
 */
struct share_tree *tree_unref(struct share_tree *t)
{
	return --t->refs ? NULL : t;
}

/*
 * A node that nobody knows and nobody works on is gone.
 * Return: its tree, when it was the last of a tree that was removed
 */
static struct share_tree *settle(struct share *s, struct node *n)
{
	struct share_tree *t;
	int fd;

	if (n->refs || (!n->gone && (n->nlookup || n->id == FUSE_ROOT_ID)))
		return NULL;
	fd = take_fd(s, n);
	if (!n->gone)
		hide_node(s, n);
	t = tree_unref(n->tree);
	free(n);
	fd_close(&fd);
	return t;
}

/* The index of a device; the share's lock is held. */
static uint32_t dev_index(struct share *s, uint64_t dev)
{
	uint32_t i;

	for (i = 0; i < s->n_devs; i++)
		if (s->dev[i] == dev)
			return i;
	if (i == DEVS_MAX)
		return SHARE_DEV_OTHER;
	if (!s->dev && !(s->dev = mem_new_n(uint64_t, DEVS_MAX)))
		return SHARE_DEV_OTHER;
	s->dev[s->n_devs++] = dev;
	return i;
}

static uint32_t dev_index_in(struct share *s, const struct share_tree *t, uint64_t dev)
{
	return t == s->top && s->is_set ? SHARE_DEV_ROOT : dev_index(s, dev);
}

static int add_node(struct share *s, const struct key *k, struct node **ret)
{
	struct node *n;
	uint32_t slot = 0;
	int rc;

	if (k->tree->gone)
		return -ESTALE;
	if (s->n_nodes >= s->config.nodes_max ||
	    (!k->handle_len && s->n_held >= s->config.held_max))
		return -ENFILE;
	n = calloc(1, sizeof(*n) + k->handle_len);
	if (!n)
		return -ENOMEM;
	rc = take_slot(s, &slot);
	if (rc < 0) {
		free(n);
		return rc;
	}
	if (s->n_nodes >= s->n_buckets)
		grow_buckets(s);
	n->id = (uint64_t)s->next_number++ << 32 | slot;
	n->fd = -1;
	n->tree = k->tree;
	n->tree->refs++;
	n->dev = k->dev;
	n->dev_index = dev_index_in(s, n->tree, n->dev);
	n->ino = k->ino;
	n->mount_id = k->mount_id;
	n->mode = k->mode;
	n->handle_type = k->handle_type;
	n->handle_len = k->handle_len;
	memcpy(n->handle, k->handle, k->handle_len);
	n->bucket_next = s->bucket[hash(s, n->dev, n->ino)];
	s->bucket[hash(s, n->dev, n->ino)] = slot;
	s->slot[slot] = n;
	s->n_nodes++;
	*ret = n;
	return 0;
}

/* A handle would lead to the file by the tree's own mount, whatever the other one is like. */
static int get_mount(struct share_tree *t, int fd, struct key *k)
{
	struct statx sx;

	k->mount_id = t->mount_id;
	if (!t->recursive)
		return 0;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0)
		return -errno;
	k->mount_id = sx.stx_mnt_id;
	return k->mount_id == t->mount_id || tree_shows(fd) ? 0 : -EACCES;
}

static int get_key(struct share_tree *t, int fd, const struct stat *st, struct key *ret)
{
	union handle u = { .h.handle_bytes = SHARE_HANDLE_BYTES };
	int mount, rc;

	*ret = (struct key){
		.tree = t, .dev = st->st_dev, .ino = st->st_ino, .mode = st->st_mode & S_IFMT
	};
	rc = get_mount(t, fd, ret);
	if (rc < 0 || !t->handles || ret->mount_id != t->mount_id)
		return rc;
	if (name_to_handle_at(fd, "", &u.h, &mount, AT_EMPTY_PATH) < 0)
		return errno == EOVERFLOW ? -EIO : -errno;
	ret->handle_type = u.h.handle_type;
	ret->handle_len = u.h.handle_bytes;
	memcpy(ret->handle, u.h.f_handle, u.h.handle_bytes);
	return 0;
}

static int open_handle(const struct node *n)
{
	union handle u = { .h.handle_bytes = n->handle_len, .h.handle_type = n->handle_type };
	int fd;

	if (!n->handle_len)
		return -ESTALE;
	memcpy(u.h.f_handle, n->handle, n->handle_len);
	fd = open_by_handle_at(n->tree->root, &u.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/**
 * nodes_init() - the table with the root in it
 * @s: @top is there
 *
 * Return: 0 or minus errno; nodes_done() is fine in both cases
 */
int nodes_init(struct share *s)
{
	struct node *n;
	struct stat st;
	struct key k;
	int fd, rc;

	s->bucket = mem_new_n(uint32_t, BUCKETS_MIN);
	if (!s->bucket || grow_slots(s) < 0)
		return -ENOMEM;
	s->n_buckets = BUCKETS_MIN;
	s->n_slots = 1;
	s->slot[0] = NULL;
	if (getrandom(&s->seed, sizeof(s->seed), 0) != sizeof(s->seed) ||
	    fstat(s->top->root, &st) < 0)
		return -errno;
	if ((rc = get_key(s->top, s->top->root, &st, &k)) < 0 || (rc = add_node(s, &k, &n)) < 0)
		return rc;
	fd = fcntl(s->top->root, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	give_fd(s, n, &fd);
	return 0;
}

/**
 * nodes_done() - free the table; no call is under way
 */
void nodes_done(struct share *s)
{
	uint32_t i;

	for (i = 1; i < s->n_slots; i++) {
		if (!s->slot[i])
			continue;
		fd_close(&s->slot[i]->fd);
		free(s->slot[i]);
	}
	free(s->slot);
	free(s->free_slot);
	free(s->bucket);
	free(s->dev);
}

/* The node of an id, held; its descriptor may be missing. */
static struct node *hold(struct share *s, uint64_t id)
{
	struct node *n;

	pthread_mutex_lock(&s->lock);
	n = find_id(s, id);
	if (n) {
		n->refs++;
		if (n->fd >= 0 && may_close(n)) {
			list_del(s, n);
			list_add(s, n);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

/**
 * node_use() - work on a node
 * @ret: its @fd is open until node_drop()
 *
 * Return: 0; -ESTALE for an id that is not known, or a file that is gone; minus errno
 */
int node_use(struct share *s, uint64_t id, struct node **ret)
{
	struct node *n = hold(s, id);
	int fd;

	if (!n)
		return -ESTALE;
	if (n->fd < 0) {
		fd = open_handle(n);
		if (fd < 0) {
			node_drop(s, n);
			return fd;
		}
		pthread_mutex_lock(&s->lock);
		if (n->fd < 0)
			give_fd(s, n, &fd);
		evict(s);
		pthread_mutex_unlock(&s->lock);
		fd_close(&fd);
	}
	*ret = n;
	return 0;
}

/**
 * node_use_dir() - node_use() of a directory that lies in the share
 *
 * Return: as node_use(); -ENOTDIR; -ESTALE when it was moved out
 */
int node_use_dir(struct share *s, uint64_t id, struct node **ret)
{
	struct node *n;
	int rc = node_use(s, id, &n);

	if (rc < 0)
		return rc;
	if (!S_ISDIR(n->mode))
		rc = -ENOTDIR;
	else if (id != FUSE_ROOT_ID && syscall(SYS_faccessat, n->fd, "..", F_OK) < 0)
		rc = -ESTALE;
	if (rc < 0)
		node_drop(s, n);
	else
		*ret = n;
	return rc;
}

/**
 * node_drop() - the end of what node_use() began
 */
void node_drop(struct share *s, struct node *n)
{
	struct share_tree *t;

	pthread_mutex_lock(&s->lock);
	n->refs--;
	t = settle(s, n);
	pthread_mutex_unlock(&s->lock);
	tree_free(t);
}

/**
 * node_attr() - attributes that FUSE tells of a node
 * @st: of the file now; an overlay may have moved it to another device
 */
void node_attr(struct share *s, const struct node *n, const struct stat *st, struct fuse_attr *ret)
{
	uint32_t index = n->dev_index;

	if (st->st_dev != n->dev) {
		pthread_mutex_lock(&s->lock);
		index = dev_index_in(s, n->tree, st->st_dev);
		pthread_mutex_unlock(&s->lock);
	}
	share_attr(st, index, ret);
}

/**
 * node_readonly() - whether a node lies in a tree that must not be changed
 *
 * Return: false also for one that is not known
 */
bool node_readonly(struct share *s, uint64_t id)
{
	const struct node *n;
	bool ro;

	pthread_mutex_lock(&s->lock);
	n = find_id(s, id);
	ro = n && n->tree->readonly;
	pthread_mutex_unlock(&s->lock);
	return ro;
}

/**
 * node_found() - the node of a file that was opened by its name; counted once
 * @t:   that it was found in; held by the caller
 * @fd:  O_PATH, taken over in any case
 * @ret: untouched on failure
 *
 * Return: 0; -ENFILE when the guest knows too many files; minus errno
 */
int node_found(struct share *s, struct share_tree *t, int fd, struct share_entry *ret)
{
	struct node *n;
	struct stat st;
	struct key k;
	int rc = fstat(fd, &st) < 0 ? -errno : get_key(t, fd, &st, &k);

	pthread_mutex_lock(&s->lock);
	if (rc >= 0) {
		n = find_key(s, &k);
		if (!n)
			rc = add_node(s, &k, &n);
	}
	if (rc >= 0) {
		n->nlookup++;
		if (n->fd < 0)
			give_fd(s, n, &fd);
		*ret = (struct share_entry){ .dev_index = n->dev_index, .node = n->id };
		share_attr(&st, n->dev_index, &ret->attr);
		evict(s);
	}
	pthread_mutex_unlock(&s->lock);
	fd_close(&fd);
	return rc;
}

/**
 * node_again() - give a node out once more
 * @n: in use
 *
 * Return: 0 or minus errno
 */
int node_again(struct share *s, struct node *n, struct share_entry *ret)
{
	struct stat st;

	if (fstat(n->fd, &st) < 0)
		return -errno;
	pthread_mutex_lock(&s->lock);
	n->nlookup++;
	pthread_mutex_unlock(&s->lock);
	*ret = (struct share_entry){ .dev_index = n->dev_index, .node = n->id };
	node_attr(s, n, &st, &ret->attr);
	return 0;
}

/**
 * node_forget() - the guest gives a node back
 * @id:      one that is not known is fine
 * @nlookup: more than it was given out is as many
 */
void node_forget(struct share *s, uint64_t id, uint64_t nlookup)
{
	struct node *n;

	pthread_mutex_lock(&s->lock);
	n = find_id(s, id);
	if (n) {
		n->nlookup = n->nlookup > nlookup ? n->nlookup - nlookup : 0;
		settle(s, n); /* not its tree's end, as in nodes_reset() */
	}
	pthread_mutex_unlock(&s->lock);
}

/**
 * nodes_reset() - the guest knows nothing any more
 */
void nodes_reset(struct share *s)
{
	uint32_t i;

	pthread_mutex_lock(&s->lock);
	for (i = 1; i < s->n_slots; i++) {
		if (!s->slot[i])
			continue;
		s->slot[i]->nlookup = 0;
		/* Never a tree's end: the share has a reference to each that has nodes here. */
		settle(s, s->slot[i]);
	}
	pthread_mutex_unlock(&s->lock);
}

/**
 * nodes_forget_tree() - no node of a tree is known any more
 * @t: one of its references is the caller's
 *
 * Calls that are under way end with what they have.
 * Context: the share's lock is held
 */
void nodes_forget_tree(struct share *s, struct share_tree *t)
{
	uint32_t i;

	for (i = 1; i < s->n_slots; i++) {
		struct node *n = s->slot[i];

		if (!n || n->tree != t)
			continue;
		hide_node(s, n);
		settle(s, n);
	}
}

/**
 * share_count() - nodes that the guest knows, the root among them, and their descriptors
 */
void share_count(struct share *s, uint32_t *ret_nodes, uint32_t *ret_fds)
{
	pthread_mutex_lock(&s->lock);
	*ret_nodes = s->n_nodes;
	*ret_fds = s->n_fds;
	pthread_mutex_unlock(&s->lock);
}
