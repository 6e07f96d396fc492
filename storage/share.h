/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SHARE_H
#define STORAGE_SHARE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/err.h"
#include "lib/fd.h"
#include "lib/share.h"
#include "storage/storage.h"

/* Handles of file systems that keep them short; others hold descriptors. */
#define SHARE_HANDLE_BYTES 40

/* Most trees of one share at a time. */
#define SHARE_TREES_MAX 4096u

/**
 * struct share_tree - a directory or file of the host, in a mount of its own
 * @next:      list of the share
 * @number:    its name in the share's root; 0: it is the share's root
 * @mount:     the mount, from open_tree(2), owned
 * @root:      its directory, open for reading, owned; -1 for a file
 * @mount_id:  as statx(2) tells it
 * @readonly:  nothing in it is changed
 * @recursive: has the mounts that lie below it
 * @handles:   nodes on its own mount are kept as handles, not as descriptors
 * @gone:      was removed: nobody finds it any more
 * @refs:      the share's, and those of nodes and calls, under share.lock
 */
struct share_tree {
	struct share_tree *next;
	uint32_t number;
	int mount, root;
	uint64_t mount_id;
	bool readonly, recursive, handles, gone;
	uint32_t refs;
};

/**
 * struct node - a file that the monitor may name
 * @id:      slot and a number that no other node of the share had
 * @nlookup: answers that named it and were not forgotten
 * @refs:    calls that work on it
 * @bucket_next: slot of the next one in its bucket, 0 ends
 * @older, @newer: list of nodes whose descriptor may be closed; NULL ends
 * @tree:  that it lies in, one of its references
 * @gone:  its tree was removed: in no list, freed with its last call
 * @fd:      O_PATH, owned; -1 while only the handle is kept
 * @dev, @ino, @mode, @mount_id: as when it was found
 * @dev_index: of @dev, share_ino()
 * @handle_type, @handle_len, @handle: for open_by_handle_at(2); @handle_len is 0
 *           where the share keeps descriptors
 */
struct node {
	uint64_t id;
	uint64_t nlookup;
	uint32_t refs;
	uint32_t bucket_next;
	struct node *older, *newer;
	struct share_tree *tree;
	bool gone;
	int fd;
	uint32_t mode;
	uint32_t dev_index;
	uint64_t dev, ino, mount_id;
	int32_t handle_type;
	uint32_t handle_len;
	uint8_t handle[];
};

/**
 * struct share - a directory that is shared, or a set of trees under numbers
 * @config:   limits
 * @top:      tree of its root
 * @is_set:   @top lists the numbers of @trees
 * @seed:     for the hash, so that nobody can aim at one bucket
 * @lock:     of all below
 * @slot:     nodes, [0] unused, [FUSE_ROOT_ID] the root
 * @free_slot, @n_free: slots below @n_slots that are empty
 * @bucket:   slots by hash, a power of two of them
 * @next_number: upper half of the next node's id
 * @oldest, @newest: nodes with a descriptor, by use; only with @handles
 * @n_fds:    descriptors that nodes hold; @n_held: of those without a handle
 * @trees:    the others of a set
 * @n_trees:  how many; @last_number: that was given out
 * @dev, @n_devs: device numbers, by the index that share_ino() has them by
 */
struct share {
	struct share_config config;
	struct share_tree *top;
	bool is_set;
	uint64_t seed;
	pthread_mutex_t lock;
	struct node **slot;
	uint32_t *free_slot;
	uint32_t n_slots, room, n_free;
	uint32_t n_nodes;
	uint32_t *bucket;
	uint32_t n_buckets;
	uint32_t next_number;
	struct node *oldest, *newest;
	uint32_t n_fds, n_held;
	struct share_tree *trees;
	uint32_t n_trees, last_number;
	uint64_t *dev;
	uint32_t n_devs;
};

/**
 * struct call - one request under way
 * @rq:    copied out of the message
 * @name, @name2: that its data began with
 * @data, @len: what is behind them
 * @out, @out_len: data of the answer, room for SHARE_DATA_BYTES
 * @n:     of the answer
 * @fd:    that goes with the answer, owned; -1
 */
struct call {
	struct share *s;
	struct share_request rq;
	const char *name, *name2;
	const uint8_t *data;
	uint32_t len;
	uint8_t *out;
	uint32_t out_len;
	uint32_t n;
	int fd;
};

/* share-tree.c */
int tree_new(int fd, bool readonly, bool recursive, struct share_tree **ret, struct err *e);
void tree_free(struct share_tree *t);
int tree_top(struct share *s, struct err *e);
int tree_lookup(struct share *s, const char *name, struct share_entry *ret);
int trees_sync(struct share *s);
bool tree_shows(int fd);

/* share-node.c */
int nodes_init(struct share *s);
void nodes_done(struct share *s);
int node_use(struct share *s, uint64_t id, struct node **ret);
int node_use_dir(struct share *s, uint64_t id, struct node **ret);
void node_drop(struct share *s, struct node *n);
int node_found(struct share *s, struct share_tree *t, int fd, struct share_entry *ret);
int node_again(struct share *s, struct node *n, struct share_entry *ret);
void node_attr(struct share *s, const struct node *n, const struct stat *st, struct fuse_attr *ret);
bool node_readonly(struct share *s, uint64_t id);
struct share_tree *tree_unref(struct share_tree *t);
void nodes_forget_tree(struct share *s, struct share_tree *t);
void node_forget(struct share *s, uint64_t id, uint64_t nlookup);
void nodes_reset(struct share *s);
void share_count(struct share *s, uint32_t *ret_nodes, uint32_t *ret_fds);

/* share-cred.c */
int cred_act(uint32_t uid, uint32_t gid, uint32_t umask_bits);
int cred_act_weak(uint32_t uid, uint32_t gid);
void cred_keep_no_bits(void);
void cred_back(void);

/* share-name.c */
int share_lookup(struct call *c);
int share_symlink(struct call *c);
int share_mknod(struct call *c);
int share_mkdir(struct call *c);
int share_unlink(struct call *c);
int share_rename(struct call *c);
int share_link(struct call *c);
int share_create(struct call *c);
int share_tmpfile(struct call *c);

/* share-attr.c */
int share_getattr(struct call *c);
int share_setattr(struct call *c);
int share_readlink(struct call *c);
int share_open_node(const struct node *n, uint32_t flags, bool kill);
int share_open(struct call *c);
int share_opendir(struct call *c);
int share_statfs(struct call *c);
int share_syncfs(struct call *c);
int share_access(struct call *c);

/* share-xattr.c */
int share_setxattr(struct call *c);
int share_getxattr(struct call *c);
int share_listxattr(struct call *c);
int share_removexattr(struct call *c);

#endif
