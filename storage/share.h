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
#include "lib/share.h"
#include "storage/storage.h"

/* Handles of file systems that keep them short; others hold descriptors. */
#define SHARE_HANDLE_BYTES 40

/**
 * struct node - a file that the monitor may name
 * @id:      slot and a number that no other node of the share had
 * @nlookup: answers that named it and were not forgotten
 * @refs:    calls that work on it
 * @bucket_next: slot of the next one in its bucket, 0 ends
 * @older, @newer: list of nodes whose descriptor may be closed; NULL ends
 * @fd:      O_PATH, owned; -1 while only the handle is kept
 * @dev, @ino, @mode: as when it was found
 * @handle_type, @handle_len, @handle: for open_by_handle_at(2); @handle_len is 0
 *           where the share keeps descriptors
 */
struct node {
	uint64_t id;
	uint64_t nlookup;
	uint32_t refs;
	uint32_t bucket_next;
	struct node *older, *newer;
	int fd;
	uint32_t mode;
	uint64_t dev, ino;
	int32_t handle_type;
	uint32_t handle_len;
	uint8_t handle[];
};

/**
 * struct share - a directory that is shared
 * @config:   limits
 * @tree:     the mount of our own that it lies in, owned
 * @root:     its directory, open for reading, owned
 * @handles:  nodes are kept as handles, not as descriptors
 * @seed:     for the hash, so that nobody can aim at one bucket
 * @lock:     of all below
 * @slot:     nodes, [0] unused, [FUSE_ROOT_ID] the root
 * @free_slot, @n_free: slots below @n_slots that are empty
 * @bucket:   slots by hash, a power of two of them
 * @next_number: upper half of the next node's id
 * @oldest, @newest: nodes with a descriptor, by use; only with @handles
 * @n_fds:    descriptors that nodes hold
 */
struct share {
	struct share_config config;
	int tree, root;
	bool handles;
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
	uint32_t n_fds;
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

/* /proc/self/fd/N: a way to reach the file of an O_PATH descriptor by name. */
struct fd_path {
	char s[32];
};

static inline struct fd_path fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.s, sizeof(p.s), "/proc/self/fd/%d", fd);
	return p;
}

/* share-node.c */
int nodes_init(struct share *s);
void nodes_done(struct share *s);
int node_use(struct share *s, uint64_t id, struct node **ret);
int node_use_dir(struct share *s, uint64_t id, struct node **ret);
void node_drop(struct share *s, struct node *n);
int node_found(struct share *s, int fd, struct share_entry *ret);
int node_again(struct share *s, struct node *n, struct share_entry *ret);
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
int share_open_node(struct share *s, struct node *n, uint32_t flags, bool kill);
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
