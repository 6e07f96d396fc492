// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A directory that a guest uses as its own (lib/share.h), or a set of directories and
 * files, without the socket: one message in, one message out. Each is cloned into a mount
 * of its own, see share-tree.c.
 *
 * share_call() takes a message apart, checks everything that can be checked without
 * the file system (lengths, names, whether the share may be changed) and hands it to
 * one function; see share-node.c, share-name.c, share-attr.c, share-xattr.c, and
 * share-cred.c for whom they act as. Any number of threads may call at a time.
 *
 * Limits: config.nodes_max files known to the guest, config.fds_max and held_max
 * descriptors.
 */
#include "storage/share.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"

/* TEXT: not a name of a file but of an attribute, which may have slashes. */
enum { CHANGES = 1, NAME = 2, NAME2 = 4, TARGET = 8, TEXT = 16 };

typedef int call_fn(struct call *c);

static int forget(struct call *c)
{
	struct fuse_forget_one one;
	uint32_t at;

	for (at = 0; at < c->len; at += (uint32_t)sizeof(one)) {
		memcpy(&one, c->data + at, sizeof(one));
		node_forget(c->s, one.nodeid, one.nlookup);
	}
	return 0;
}

static int reset(struct call *c)
{
	nodes_reset(c->s);
	return 0;
}

/*
 * @parts: what its data begins with, and whether it changes something
 * @bytes: that must follow these, at least
 * @unit:  the rest is a multiple of this
 */
static const struct op {
	call_fn *fn;
	uint32_t parts;
	uint32_t bytes;
	uint32_t unit;
} ops[SHARE_OPS] = {
	[SHARE_LOOKUP] = { share_lookup, 0, 1, 1 },
	[SHARE_FORGET] = { forget, 0, 0, sizeof(struct fuse_forget_one) },
	[SHARE_RESET] = { reset, 0, 0, 0 },
	[SHARE_GETATTR] = { share_getattr, 0, 0, 0 },
	[SHARE_SETATTR] = { share_setattr, CHANGES, sizeof(struct fuse_setattr_in), 0 },
	[SHARE_READLINK] = { share_readlink, 0, 0, 0 },
	[SHARE_SYMLINK] = { share_symlink, CHANGES | NAME | TARGET, 0, 0 },
	[SHARE_MKNOD] = { share_mknod, CHANGES | NAME, 0, 0 },
	[SHARE_MKDIR] = { share_mkdir, CHANGES | NAME, 0, 0 },
	[SHARE_UNLINK] = { share_unlink, CHANGES | NAME, 0, 0 },
	[SHARE_RMDIR] = { share_unlink, CHANGES | NAME, 0, 0 },
	[SHARE_RENAME] = { share_rename, CHANGES | NAME | NAME2, 0, 0 },
	[SHARE_LINK] = { share_link, CHANGES | NAME, 0, 0 },
	[SHARE_OPEN] = { share_open, 0, 0, 0 },
	[SHARE_OPENDIR] = { share_opendir, 0, 0, 0 },
	[SHARE_CREATE] = { share_create, CHANGES | NAME, 0, 0 },
	[SHARE_TMPFILE] = { share_tmpfile, CHANGES, 0, 0 },
	[SHARE_STATFS] = { share_statfs, 0, 0, 0 },
	[SHARE_SYNCFS] = { share_syncfs, 0, 0, 0 },
	[SHARE_SETXATTR] = { share_setxattr, CHANGES | TEXT, 0, 1 },
	[SHARE_GETXATTR] = { share_getxattr, TEXT, 0, 0 },
	[SHARE_LISTXATTR] = { share_listxattr, 0, 0, 0 },
	[SHARE_REMOVEXATTR] = { share_removexattr, CHANGES | TEXT, 0, 0 },
	[SHARE_ACCESS] = { share_access, 0, 0, 0 },
};

static int check_length(const char *text, size_t max)
{
	size_t len = strlen(text);

	return !len ? -ENOENT : len > max ? -ENAMETOOLONG : 0;
}

static int check_name(const char *name)
{
	if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return check_length(name, SHARE_NAME_MAX);
}

/* Cuts a text that ends with a NUL off the data. */
static int take_text(struct call *c, const char **ret)
{
	const uint8_t *end = memchr(c->data, 0, c->len);

	if (!end)
		return -EPROTO;
	*ret = (const char *)c->data;
	c->len -= (uint32_t)(end + 1 - c->data);
	c->data = end + 1;
	return 0;
}

/* LOOKUP: names one after the other, and no more than fit into an answer. */
static int check_names(const struct call *c)
{
	const char *name = (const char *)c->data, *end = name + c->len;
	uint32_t n = 0;
	int rc;

	if (end[-1])
		return -EPROTO;
	for (; name < end; name += strlen(name) + 1) {
		if (++n > SHARE_BATCH_MAX)
			return -EPROTO;
		rc = check_name(name);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Return: 0; -EPROTO if it cannot be cut into its parts; what a name has wrong */
static int cut(struct call *c, const struct op *op)
{
	int rc;

	if (op->parts & (NAME | TEXT) && (rc = take_text(c, &c->name)) < 0)
		return rc;
	if (op->parts & (NAME2 | TARGET) && (rc = take_text(c, &c->name2)) < 0)
		return rc;
	if (c->len < op->bytes || (op->unit ? (c->len - op->bytes) % op->unit : c->len - op->bytes))
		return -EPROTO;
	if (c->rq.op == SHARE_LOOKUP)
		return check_names(c);
	if (op->parts & NAME && (rc = check_name(c->name)) < 0)
		return rc;
	if (op->parts & TEXT)
		return check_length(c->name, SHARE_NAME_MAX);
	if (op->parts & NAME2)
		return check_name(c->name2);
	return op->parts & TARGET ? check_length(c->name2, SHARE_TARGET_MAX) : 0;
}

static int perform(struct call *c)
{
	const struct op *op = c->rq.op < SHARE_OPS ? &ops[c->rq.op] : NULL;
	int rc;

	if (!op || !op->fn)
		return -EPROTO;
	rc = cut(c, op);
	if (rc < 0)
		return rc;
	if (op->parts & CHANGES && (c->s->config.readonly || node_readonly(c->s, c->rq.node)))
		return -EROFS;
	return op->fn(c);
}

/**
 * share_call() - serve one message of a monitor
 * @msg, @len: as it came; hostile
 * @reply:     room for SHARE_MSG_BYTES
 * @ret_fd:    a descriptor that goes with the answer, owned by the caller; -1
 *
 * Return: bytes of the answer; 0 when there is none; -EPROTO for a message that makes
 * no sense: its channel is of no use any more
 * Context: a thread after share_thread(); any number at a time
 */
ssize_t share_call(struct share *s, const void *msg, size_t len, void *reply, int *ret_fd)
{
	struct share_reply rp = { 0 };
	struct call c = { .s = s,
			  .fd = -1,
			  .out = (uint8_t *)reply + sizeof(rp),
			  .data = (const uint8_t *)msg + sizeof(c.rq) };
	int rc;

	*ret_fd = -1;
	if (len < sizeof(c.rq) || len > SHARE_MSG_BYTES)
		return -EPROTO;
	memcpy(&c.rq, msg, sizeof(c.rq));
	if (c.rq.len != len - sizeof(c.rq) || c.rq.reserved)
		return -EPROTO;
	c.len = c.rq.len;
	rc = perform(&c);
	if (rc == -EPROTO)
		return rc;
	if (c.rq.op == SHARE_FORGET)
		return 0;
	rp.seq = c.rq.seq;
	rp.error = rc;
	if (rc >= 0) {
		rp.n = c.n;
		rp.len = c.out_len;
		*ret_fd = c.fd;
	}
	memcpy(reply, &rp, sizeof(rp));
	return (ssize_t)(sizeof(rp) + rp.len);
}

static int new_share(int dirfd, const struct share_config *config, struct share **ret,
		     struct err *e)
{
	struct share *s;
	int rc;

	if (!config->nodes_max || !config->fds_max)
		return err_set(e, EINVAL, "share: no room for nodes or descriptors");
	s = mem_new(struct share);
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->config = *config;
	if (!s->config.held_max)
		s->config.held_max = s->config.fds_max;
	pthread_mutex_init(&s->lock, NULL);
	if (dirfd < 0)
		rc = tree_top(s, e);
	else
		rc = tree_new(dirfd, config->readonly, false, &s->top, e);
	if (rc >= 0) {
		rc = nodes_init(s);
		if (rc < 0)
			err_set(e, -rc, "share: first node");
	}
	if (rc < 0) {
		share_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/**
 * share_new() - share a directory
 * @dirfd:  any descriptor of it, borrowed; not needed afterwards
 * @config: copied
 * @ret:    owned by the caller, share_free()
 *
 * Return: 0; -ENOTDIR; -EPERM without CAP_SYS_ADMIN; minus errno
 */
int share_new(int dirfd, const struct share_config *config, struct share **ret, struct err *e)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return err_sys(e, "share");
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "share: not a directory");
	return new_share(dirfd, config, ret, e);
}

/**
 * share_new_set() - share what share_add() will add: nothing yet
 * @config: copied; its @readonly is of no meaning, each tree has its own
 * @ret:    owned by the caller, share_free()
 *
 * Return: as share_new()
 */
int share_new_set(const struct share_config *config, struct share **ret, struct err *e)
{
	return new_share(-1, config, ret, e);
}

/**
 * share_free() - end a share; NULL is fine
 * Context: no call is under way
 */
void share_free(struct share *s)
{
	if (!s)
		return;
	nodes_done(s);
	while (s->trees) {
		struct share_tree *t = s->trees;

		s->trees = t->next;
		tree_free(t);
	}
	tree_free(s->top);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
