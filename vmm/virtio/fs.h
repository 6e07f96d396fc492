/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_FS_H
#define VMM_VIRTIO_FS_H

#include <linux/virtio_fs.h>
#include <stdatomic.h>

#include "lib/share.h"
#include "vmm/sandbox.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

/* Threads that all shares have together. One share takes as many as it has channels. */
#define FS_WORKERS 4

/* Stack of one; what it works with lies in struct fs_worker. */
#define FS_STACK_BYTES (128u << 10)

/* Files and directories that guests hold open, all shares together and one share. */
#define FS_FILES_MAX 16384u
#define FS_SHARE_FILES_MAX 8192u

/* Owners of POSIX locks of one share, and requests that wait for a lock. */
#define FS_OWNERS_MAX 1024u
#define FS_PARKED_MAX 128u

/* Requests that a worker serves before others get their turn. */
#define FS_ROUND 16

/* Longest READ and WRITE: what the longest chain could carry. */
#define FS_IO_BYTES (1u << 20)

/* Body of a request without WRITE's data, and of an answer without READ's. */
#define FS_BODY_BYTES (SHARE_DATA_BYTES + 256u)

#define FS_DENTS_BYTES 32768u

struct fs;
struct fs_pool;

/**
 * struct fs_worker - a thread that serves requests of any share
 * @chain:  the request
 * @other:  room for the answer of a parked one
 * @part:   its data buffers, for READ and WRITE
 * @in:     body of the request; READDIR builds its answer here
 * @msg, @msg_len: struct share_request and its data, on the way to the broker
 * @answer: struct share_reply and its data
 * @forget, @n_forget: nodes that were forgotten, for one message
 */
struct fs_worker {
	struct fs_pool *pool;
	pthread_t thread;
	struct virtq_chain chain, other;
	struct iovec part[VIRTQ_SIZE_MAX];
	struct fuse_forget_one forget[SHARE_BATCH_MAX];
	uint32_t n_forget;
	size_t msg_len;
	uint8_t in[FS_BODY_BYTES] __attribute__((aligned(8)));
	uint8_t msg[SHARE_MSG_BYTES] __attribute__((aligned(8)));
	uint8_t answer[SHARE_MSG_BYTES] __attribute__((aligned(8)));
	uint8_t dents[FS_DENTS_BYTES] __attribute__((aligned(8)));
};

/**
 * struct fs_pool - the workers, parked while there is nothing to do
 * @filter:  borrowed until all are confined; NULL: none
 * @lock:    of all below, and of struct fs_turn; a device's lock is taken first
 * @work:    a share has something to do
 * @idle:    a worker has finished
 * @shares:  list, the one whose turn is next comes first
 * @waiting: workers that wait for @work
 * @ready:   workers that are confined
 * @rc, @why: first failure of one to confine itself
 * @n_files: open files of all shares
 */
struct fs_pool {
	const struct sandbox_filter *filter;
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct fs *shares;
	unsigned int n_workers, waiting, ready;
	bool stop;
	int rc;
	struct err why;
	atomic_uint n_files;
	struct fs_worker worker[FS_WORKERS];
};

/**
 * struct fs_turn - what a share wants of the pool; under its lock
 * @next:     list
 * @ready:    a queue may have a request
 * @ending:   a reset waits for the end of the session
 * @used:     there is a session to be ended
 * @busy:     workers that work for it
 * @channels: one bit for each that no worker has
 * @retry_ns: CLOCK_MONOTONIC when locks that are waited for are tried again; 0: never
 * @pause_ms: how long the next such pause is
 */
struct fs_turn {
	struct fs *next;
	bool ready, ending, used;
	unsigned int busy;
	uint32_t channels;
	uint64_t retry_ns;
	uint32_t pause_ms;
};

/**
 * struct fs_file - an open file or directory; FUSE calls its number a file handle
 * @node:    that it was opened by
 * @fd:      owned
 * @refs:    its table's and those of requests that use it
 * @locked:  flock(2) was called on it
 * @dir:     a directory
 * @dev_index: of its device, share_ino()
 * @pos:     held while a directory is read, since its position is one
 */
struct fs_file {
	uint64_t fh, node;
	int fd;
	uint32_t refs;
	atomic_bool locked;
	bool dir;
	uint32_t dev_index;
	pthread_mutex_t pos;
};

/**
 * struct fs_owner - one owner of POSIX locks of a file: a descriptor of its own
 * @fh:   file that its latest lock came by
 * @fd:   owned; its open file description is what Linux keeps the locks by
 * @refs: the list's and those of requests that use it
 */
struct fs_owner {
	struct fs_owner *next;
	uint64_t node, owner, fh;
	int fd;
	uint32_t refs;
};

/**
 * struct fs_parked - a request that waits for a lock
 * @in, @n_in: where its answer goes
 */
struct fs_parked {
	struct fs_parked *next;
	struct fuse_in_header h;
	struct fuse_lk_in lk;
	uint16_t queue, head;
	uint16_t n_in;
	struct iovec in[];
};

/**
 * struct fs_session - what the guest's mount has, from INIT to its end
 * @inited:      INIT was answered
 * @setxattr_ext: SETXATTR has its longer form
 * @lock:        of all below
 * @file, @room: table of open files, [0] unused
 * @n_files:     that are open
 * @hint:        where a free slot may be
 * @number:      upper half of the next file's number
 * @owners, @n_owners, @parked, @n_parked: lists
 */
struct fs_session {
	atomic_bool inited, setxattr_ext;
	pthread_mutex_t lock;
	struct fs_file **file;
	uint32_t room, n_files, hint, number;
	struct fs_owner *owners;
	unsigned int n_owners;
	struct fs_parked *parked;
	unsigned int n_parked;
};

/**
 * struct fs - a virtio-fs device
 * @pool:    borrowed
 * @turn:    under the pool's lock
 * @cache:   enum vmm_cache
 * @channel: sockets of lib/share.h, owned, @n_channels of them
 * @wake:    eventfd, owned: the session has ended, tell the driver
 */
struct fs {
	struct virtio_dev d;
	struct fs_pool *pool;
	struct fs_turn turn;
	struct fs_session session;
	struct virtio_fs_config config;
	uint8_t cache;
	int channel[SHARE_CHANNELS_MAX];
	unsigned int n_channels;
	int wake;
	struct loop_src *wake_src;
};

/**
 * struct fuse_req - a request under way
 * @w:     whose buffers it uses
 * @sock:  the broker's channel
 * @queue: that it came by
 * @h:     copied
 * @in, @in_len: what is behind its fixed part and its names, copied
 * @arg:   fixed part, copied and as long as the table says
 * @name, @name2: its names
 * @room:  bytes that the answer's body may have
 * @done:  bytes that it has
 * @taken: bytes of data that WRITE took
 */
struct fuse_req {
	struct fs *s;
	struct fs_worker *w;
	int sock;
	uint16_t queue;
	struct fuse_in_header h;
	const void *arg;
	const char *name, *name2;
	const uint8_t *in;
	uint32_t in_len;
	uint32_t room;
	uint32_t done;
	uint32_t taken;
};

/* What a request's function returns besides 0 and a negative errno. */
enum { FUSE_SILENT = 1, FUSE_PARKED = 2 };

/* fs-pool.c */
int fs_pool_new(struct fs_pool **ret, struct err *e);
int fs_pool_start(struct fs_pool *p, const struct sandbox_filter *filter, struct err *e);
int fs_pool_wait(struct fs_pool *p, struct err *e);
void fs_pool_free(struct fs_pool *p);
void fs_pool_add(struct fs_pool *p, struct fs *s);
void fs_pool_remove(struct fs_pool *p, struct fs *s);
void fs_pool_ready(struct fs *s);
void fs_pool_retry(struct fs *s, bool at_once);
bool fs_pool_end(struct fs *s);

/* fs.c */
void fs_serve(struct fs *s, struct fs_worker *w, int sock);
void fs_ended(struct fs *s);
void fs_finish(struct fs *s, uint16_t queue, uint16_t head, uint32_t written, uint32_t taken);

/* fuse.c */
int fuse_serve(struct fs *s, struct fs_worker *w, int sock, uint16_t queue, uint32_t *ret_written,
	       uint32_t *ret_taken);
void fuse_add(struct fuse_req *r, const void *data, uint32_t len);
uint32_t fuse_answer(struct virtq_chain *c, uint64_t unique, int error, uint32_t body);

/* fs-broker.c */
struct share_request *fs_rq(struct fuse_req *r, uint32_t op, uint64_t node);
void fs_rq_add(struct fuse_req *r, const void *data, size_t len);
void fs_rq_name(struct fuse_req *r, const char *name);
int fs_ask(struct fuse_req *r, int *ret_fd);
const void *fs_reply(const struct fuse_req *r, struct share_reply *ret);
void fs_forget(struct fs_worker *w, int sock, uint64_t node, uint64_t nlookup);
void fs_forget_send(struct fs_worker *w, int sock);
void fs_forget_all(struct fs_worker *w, int sock);

/* fs-session.c */
void session_init(struct fs_session *n);
void session_done(struct fs_session *n);
void session_end(struct fs *s, struct fs_worker *w);
int file_add(struct fs *s, uint64_t node, int fd, bool dir, uint32_t dev_index, uint64_t *ret_fh);
struct fs_file *file_get(struct fs *s, uint64_t node, uint64_t fh, bool dir);
void file_put(struct fs *s, struct fs_file *f);
int file_close(struct fs *s, uint64_t node, uint64_t fh, bool dir);

/* fs-name.c */
void fs_attr_valid(const struct fs *s, uint64_t *ret_s);
int fs_init(struct fuse_req *r);
int fs_destroy(struct fuse_req *r);
int fs_lookup(struct fuse_req *r);
int fs_forget_one(struct fuse_req *r);
int fs_forget_many(struct fuse_req *r);
int fs_make(struct fuse_req *r);
int fs_unlink(struct fuse_req *r);
int fs_rename(struct fuse_req *r);
int fs_link(struct fuse_req *r);
int fs_create(struct fuse_req *r);
int fs_open(struct fuse_req *r);
void fs_entry(const struct fs *s, const struct share_entry *x, struct fuse_entry_out *ret);

/* fs-attr.c */
int fs_getattr(struct fuse_req *r);
int fs_setattr(struct fuse_req *r);
int fs_readlink(struct fuse_req *r);
int fs_statfs(struct fuse_req *r);
int fs_syncfs(struct fuse_req *r);
int fs_access(struct fuse_req *r);
int fs_setxattr(struct fuse_req *r);
int fs_getxattr(struct fuse_req *r);
int fs_removexattr(struct fuse_req *r);

/* fs-file.c */
int fs_read(struct fuse_req *r);
int fs_write(struct fuse_req *r);
int fs_release(struct fuse_req *r);
int fs_flush(struct fuse_req *r);
int fs_fsync(struct fuse_req *r);
int fs_fallocate(struct fuse_req *r);
int fs_lseek(struct fuse_req *r);
int fs_copy(struct fuse_req *r);

/* fs-dir.c */
int fs_readdir(struct fuse_req *r);

/* fs-lock.c */
int fs_getlk(struct fuse_req *r);
int fs_setlk(struct fuse_req *r);
int fs_interrupt(struct fuse_req *r);
void locks_drop(struct fs *s, uint64_t node, uint64_t owner);
void locks_drop_file(struct fs *s, uint64_t node, uint64_t fh);
void locks_retry(struct fs *s, struct fs_worker *w, int sock);
void locks_end(struct fs *s, struct fs_worker *w);

#endif
