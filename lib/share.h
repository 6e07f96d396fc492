/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_SHARE_H
#define LIB_SHARE_H

#include <linux/fuse.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * DOC: Shares
 *
 * A share is a directory of the host that a guest mounts (virtio-fs). The
 * monitor speaks FUSE with the guest; whatever takes a name or privilege it asks
 * of the supervisor's broker, over SOCK_SEQPACKET sockets that stand for this one
 * share: one struct share_request with its data, then one struct share_reply
 * with its data, in order. A share has one to SHARE_CHANNELS_MAX such channels,
 * each with one request at a time.
 *
 * The broker treats the monitor as hostile. It knows files by node numbers that
 * it gave out itself; a number is good from the answer that counted it (@nlookup
 * of FUSE) until as many were forgotten, and is never used again. Names are single
 * components: not empty, no "/", not "." and not "..". Only regular files and
 * directories are opened. What a request brings beyond this is answered with an
 * errno; a message that cannot be cut into its parts closes its channel.
 *
 * A share is one directory, or a set of trees: then its root is a directory without
 * a place on the host, in which each tree has a number for its name. Nodes of different
 * trees never meet in one request (-EXDEV), and those of a tree that was removed are not
 * known any more.
 *
 * Inode numbers of files on different devices must not be the same, since the guest
 * sees one device: see share_ino(). Answers with a descriptor tell which device its file
 * is on, for who asks that descriptor.
 *
 * Attributes and the layout of changes are those of FUSE, as linux/fuse.h has
 * them: the monitor passes them through.
 */
#define SHARE_CHANNELS_MAX 4

/* Tag of the set of trees that a pod has, one for all of its containers. */
#define SHARE_POD_TAG "podvm"

/* The largest value of an attribute (xattr(7)), its name, and what is around it. */
#define SHARE_VALUE_BYTES 65536u
#define SHARE_DATA_BYTES (SHARE_VALUE_BYTES + 512u)
#define SHARE_MSG_BYTES (SHARE_DATA_BYTES + 128u)

/* Longest name of an entry, and target of a symbolic link, without their NULs. */
#define SHARE_NAME_MAX 255u
#define SHARE_TARGET_MAX 4095u

/* Names in one LOOKUP, and struct fuse_forget_one in one FORGET. */
#define SHARE_BATCH_MAX 256u

/*
 * Data of a request, and of its answer where there is more than an error. "Entry" is
 * a struct share_entry whose node was counted once; names end with a NUL.
 */
enum share_op {
	SHARE_LOOKUP = 1, /* names in @node; as many entries */
	SHARE_FORGET,	  /* struct fuse_forget_one, several; no answer at all */
	SHARE_RESET,	  /* forget all nodes */
	SHARE_GETATTR,	  /* ; struct fuse_attr */
	SHARE_SETATTR,	  /* struct fuse_setattr_in, its fh unused; struct fuse_attr */
	SHARE_READLINK,	  /* ; target without a NUL */
	SHARE_SYMLINK,	  /* name, target; entry */
	SHARE_MKNOD,	  /* name, @mode, @rdev; entry */
	SHARE_MKDIR,	  /* name, @mode; entry */
	SHARE_UNLINK,	  /* name */
	SHARE_RMDIR,	  /* name */
	SHARE_RENAME,	  /* name in @node, name in @node2, @flags of renameat2(2) */
	SHARE_LINK,	  /* name for @node2; entry */
	SHARE_OPEN,	  /* @flags of open(2), @kill; descriptor, its device in @n */
	SHARE_OPENDIR,	  /* ; descriptor, its device in @n */
	SHARE_CREATE,	  /* name, @mode, @flags, @kill; entry and descriptor, device in @n */
	SHARE_TMPFILE,	  /* @mode, @flags, in directory @node; as CREATE */
	SHARE_STATFS,	  /* ; struct fuse_kstatfs */
	SHARE_SYNCFS,
	SHARE_SETXATTR,	   /* name, value, @flags of setxattr(2), @kill */
	SHARE_GETXATTR,	   /* name; value, or with @size 0 its length in @n */
	SHARE_LISTXATTR,   /* ; names, or with @size 0 their length in @n */
	SHARE_REMOVEXATTR, /* name */
	SHARE_ACCESS,	   /* @mode: R_OK, W_OK, X_OK */
	SHARE_OPS
};

/**
 * struct share_request - a question of the monitor
 * @op:    enum share_op
 * @seq:   comes back with the answer
 * @node:  that it is about; FUSE_ROOT_ID is the share's own directory
 * @node2: RENAME, LINK
 * @uid, @gid: what is made belongs to them; ACCESS asks for them
 * @umask: for what is made
 * @kill:  1: clear set-user-ID and set-group-ID bits as for an owner without privilege
 * @size:  bytes of an answer that are wanted: GETXATTR, LISTXATTR
 * @len:   bytes of data behind this
 */
struct share_request {
	uint32_t op;
	uint32_t seq;
	uint64_t node;
	uint64_t node2;
	uint32_t uid, gid;
	uint32_t umask;
	uint32_t mode;
	uint32_t rdev;
	uint32_t flags;
	uint32_t kill;
	uint32_t size;
	uint32_t len;
	uint32_t reserved;
};

/**
 * struct share_reply - an answer of the broker
 * @error: 0, or a negative errno and nothing else
 * @n:     see enum share_op
 * @len:   bytes of data behind this
 */
struct share_reply {
	int32_t error;
	uint32_t seq;
	uint32_t n;
	uint32_t len;
};

/**
 * struct share_entry - a node and what it is
 * @error: of LOOKUP: a negative errno for this name, the rest is zero then
 * @dev_index: of its device, share_ino()
 */
struct share_entry {
	int32_t error;
	uint32_t dev_index;
	uint64_t node;
	struct fuse_attr attr;
};

/* Indices of devices: the first one is 0; for all that there is no room for; of a set's root. */
#define SHARE_DEV_OTHER 0x7ffeu
#define SHARE_DEV_ROOT 0x7fffu

uint64_t share_ino(uint32_t dev_index, uint64_t dev, uint64_t ino);
void share_attr(const struct stat *st, uint32_t dev_index, struct fuse_attr *ret);

#endif
