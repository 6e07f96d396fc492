// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Carries out a delta (lib/delta.h) in a directory tree that nobody else reaches: the
 * detached mount of a write-back. Every record comes from a guest. What holds:
 * - a name is one component, and is looked up in the directory where the walk stands,
 *   which is a descriptor of ours: there is no path, and no symbolic link is followed;
 * - nothing that exists is written into: it is removed, then made anew; directories are
 *   kept and get the attributes that are told. So nothing changes a file that has
 *   another name elsewhere;
 * - hard links go to objects that this delta has made, by their ids;
 * - attributes are those that a container without privilege could set on a host:
 *   user.*, ACLs, and security.capability where the container has CAP_SETFCAP, or the
 *   file that is replaced had the same. trusted.* never: overlayfs would act on it
 *   ("redirect", "metacopy" make one file show another);
 * - device nodes as the container could make them (CAP_MKNOD), but only where their
 *   file system is mounted nodev, since in the upper directory no device controller
 *   stands before them; others are counted and left out;
 * - bytes, names, depth and time are bounded: a slow guest gets so long as it has
 *   brought bytes for, and memory is what ids of hard links take;
 * - the thread has root's rights over files meanwhile, and no others: trusted.* could
 *   not be set if we tried to. What overlayfs itself does, it does as who mounted it.
 *
 * An object gets its owner first (which clears set-user-ID and capabilities), then
 * content and attributes, then its mode and times.
 *
 * Sources: Linux Documentation/filesystems/overlayfs.rst, "Permission model" and
 * "Metadata only copy up"; capabilities(7), "File capabilities"; xattr(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/delta.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/rights.h"
#include "storage/writeback.h"

#define CAP(name) (1ull << (name))

/* Over files, whoever owns them. Whether SETFCAP may be used is decided for each file. */
#define RIGHTS                                                                                     \
	(CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_FOWNER) | CAP(CAP_FSETID) |              \
	 CAP(CAP_SETFCAP))

/* What a name takes in a directory and in the table of inodes, at least. */
#define NAME_BYTES 256

/* What a file takes space by, as on the guest's disk. */
#define BLOCK_BYTES 4096u

/**
 * struct level - a directory that the walk is in
 * @fd:   owned
 * @attr: that it gets at its end
 */
struct level {
	int fd;
	struct delta_attr attr;
};

/**
 * struct apply - a delta being carried out
 * @in:     borrowed
 * @spent:  of the bytes that the guest may take
 * @level:  directories from the root to where the walk stands
 * @depth:  how many of them
 * @path:   of the last of them, from the root
 * @open:   an object is open until its END: @name, @attr, @fd (of a FILE, else -1)
 * @left_out: the open object was not made; its attributes are dropped
 * @at:     end of the open file's data
 * @caps:   of the file that the open one replaces
 * @links:  objects that may get more names
 */
struct apply {
	struct delta_reader *in;
	const struct writeback_config *config;
	struct writeback_stats stats;
	uint64_t spent;
	struct level level[DELTA_DEPTH_MAX + 1];
	unsigned int depth;
	struct strbuf path;
	bool open, left_out;
	uint8_t kind;
	char name[DELTA_NAME_MAX + 1];
	struct delta_attr attr;
	int fd;
	uint64_t at;
	struct object_caps caps;
	struct delta_links links;
	struct err *e;
};

static int broken(struct apply *a, const char *what)
{
	return err_set(a->e, EPROTO, "the guest's changes make no sense: %s", what);
}

static int failed(struct apply *a, const char *name, const char *what)
{
	return object_failed(name, what, a->e);
}

/* ---- objects ----------------------------------------------------------------- */

static int spend(struct apply *a, uint64_t bytes)
{
	a->spent += bytes;
	if (a->spent <= a->config->bytes_max)
		return 0;
	return err_set(a->e, EDQUOT,
		       "the changes take more than the %llu bytes of the writable disk",
		       (unsigned long long)a->config->bytes_max);
}

static int top(const struct apply *a)
{
	return a->level[a->depth - 1].fd;
}

static int bad_name(const char *name, size_t len)
{
	return !len || len > DELTA_NAME_MAX || memchr(name, '/', len) || memchr(name, 0, len) ||
	       (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
}

static int clear(struct apply *a, const char *name)
{
	return object_clear(top(a), name, &a->caps, a->e);
}

static int check_attr(struct apply *a, const struct delta_attr *x)
{
	uint32_t type = x->mode & S_IFMT;
	bool fits = false;

	switch (a->kind) {
	case DELTA_DIR:
		fits = type == S_IFDIR;
		break;
	case DELTA_FILE:
		fits = type == S_IFREG;
		break;
	case DELTA_SYMLINK:
		fits = type == S_IFLNK;
		break;
	case DELTA_NODE:
		fits = type == S_IFIFO || type == S_IFSOCK ||
		       ((type == S_IFCHR || type == S_IFBLK) && (type == S_IFBLK || x->rdev));
		break;
	}
	if (!fits || x->mode >> 16 || x->uid == UINT32_MAX || x->gid == UINT32_MAX ||
	    x->mtime_ns >= 1000000000 || x->atime_ns >= 1000000000 || x->size > INT64_MAX)
		return broken(a, "attributes of an object");
	return 0;
}

/* ---- hard links ---------------------------------------------------------------- */

static int remember(struct apply *a)
{
	if (!a->attr.id)
		return 0;
	return delta_links_add(&a->links, a->attr.id,
			       a->left_out || !a->path.len ? "" : a->path.text,
			       a->left_out ? "" : a->name, a->e);
}

static int on_link(struct apply *a, const uint8_t *data, uint32_t len)
{
	_cleanup_close_ int fd = -1;
	const char *path;
	uint64_t id;

	if (len != sizeof(id))
		return broken(a, "a hard link");
	memcpy(&id, data, sizeof(id));
	path = delta_links_find(&a->links, id);
	if (!path)
		return broken(a, "a hard link to an object that is not known");
	if (!*path) {
		a->stats.no_nodes++;
		return clear(a, a->name);
	}
	fd = object_open(a->level[0].fd, path, O_PATH);
	if (fd < 0)
		return failed(a, path, "hard link");
	if (clear(a, a->name) < 0)
		return -a->e->code;
	if (linkat(AT_FDCWD, fd_path(fd).s, top(a), a->name, AT_SYMLINK_FOLLOW) < 0)
		return failed(a, a->name, "hard link");
	return 0;
}

/* ---- records ------------------------------------------------------------------- */

static int enter(struct apply *a, int fd, const struct delta_attr *x)
{
	a->level[a->depth++] = (struct level){.fd = fd, .attr = *x};
	if (fchown(fd, x->uid, x->gid) < 0)
		return failed(a, a->name, "owner");
	return object_strip(fd, a->name, a->e);
}

static int on_dir(struct apply *a, const struct delta_head *h)
{
	struct stat st;
	int fd;

	if (a->depth > DELTA_DEPTH_MAX)
		return err_set(a->e, ELOOP, "more than %u directories inside each other",
			       DELTA_DEPTH_MAX);
	if ((h->flags & DELTA_OPAQUE) || fstatat(top(a), a->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISDIR(st.st_mode)) {
		if (clear(a, a->name) < 0)
			return -a->e->code;
		if (mkdirat(top(a), a->name, 0700) < 0)
			return failed(a, a->name, "mkdir");
	}
	fd = object_open(top(a), a->name, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return failed(a, a->name, "open");
	strbuf_add(&a->path, "%s/", a->name);
	if (a->path.failed) {
		close(fd);
		return err_set(a->e, ENOMEM, "out of memory");
	}
	return enter(a, fd, &a->attr);
}

/* Return: 1 made, 0 left out, minus errno. */
static int make_node(struct apply *a)
{
	uint32_t type = a->attr.mode & S_IFMT;
	dev_t dev = makedev(a->attr.rdev >> 20, a->attr.rdev & 0xfffff);

	if (type == S_IFIFO || type == S_IFSOCK) {
		dev = 0;
	} else if (!a->config->devices) {
		a->stats.no_nodes++;
		return 0;
	}
	return mknodat(top(a), a->name, type | 0600, dev) < 0 ? failed(a, a->name, "mknod") : 1;
}

static int make_symlink(struct apply *a, const uint8_t *data, uint32_t len)
{
	char target[DELTA_TARGET_MAX + 1];

	if (!len || len > DELTA_TARGET_MAX || memchr(data, 0, len))
		return broken(a, "target of a symbolic link");
	memcpy(target, data, len);
	target[len] = 0;
	return symlinkat(target, top(a), a->name) < 0 ? failed(a, a->name, "symlink") : 1;
}

static int make_file(struct apply *a)
{
	a->fd = object_open(top(a), a->name, O_WRONLY | O_CREAT | O_EXCL);
	if (a->fd < 0 || ftruncate(a->fd, (off_t)a->attr.size) < 0)
		return failed(a, a->name, "create");
	return 1;
}

static int on_object(struct apply *a, const uint8_t *data, uint32_t len)
{
	int rc = clear(a, a->name);

	if (rc < 0)
		return rc;
	a->open = true;
	a->at = 0;
	rc = a->kind == DELTA_FILE   ? make_file(a)
	     : a->kind == DELTA_NODE ? make_node(a)
				     : make_symlink(a, data, len);
	a->left_out = !rc;
	if (rc <= 0)
		return rc < 0 ? rc : remember(a);
	if (a->kind != DELTA_FILE)
		a->fd = object_open(top(a), a->name, O_PATH);
	if (a->fd < 0)
		return failed(a, a->name, "open");
	if (fchownat(a->fd, "", a->attr.uid, a->attr.gid, AT_EMPTY_PATH) < 0)
		return failed(a, a->name, "owner");
	rc = S_ISLNK(a->attr.mode) ? 0 : object_strip(a->fd, a->name, a->e);
	return rc < 0 ? rc : remember(a);
}

/* End of the block that byte @at - 1 is in. */
static uint64_t blocks_end(uint64_t at)
{
	return (at + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

static int on_data(struct apply *a, const uint8_t *data, uint32_t len)
{
	uint64_t offset, from, to, paid;
	int rc;

	if (!a->open || a->kind != DELTA_FILE || len <= sizeof(offset))
		return broken(a, "content without a file");
	memcpy(&offset, data, sizeof(offset));
	data += sizeof(offset);
	len -= (uint32_t)sizeof(offset);
	if (offset < a->at || offset > a->attr.size || len > a->attr.size - offset)
		return broken(a, "content outside of a file");
	/* A block is taken whole, and paid for once: offsets rise. */
	paid = blocks_end(a->at);
	from = offset / BLOCK_BYTES * BLOCK_BYTES;
	from = from < paid ? paid : from;
	to = blocks_end(offset + len);
	a->at = offset + len;
	a->stats.bytes += len;
	if (spend(a, to > from ? to - from : 0) < 0)
		return -a->e->code;
	rc = pwrite_full(a->fd, data, len, offset, NULL);
	errno = -rc;
	return rc < 0 ? failed(a, a->name, "write") : 0;
}

/* Capabilities of the initial user namespace, as programs on the host have them. */
static bool may_have_caps(const struct apply *a, const uint8_t *value, uint32_t len)
{
	uint32_t magic;

	if (len != XATTR_CAPS_SZ_2 || a->kind != DELTA_FILE)
		return false;
	memcpy(&magic, value, sizeof(magic));
	if ((magic & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_2)
		return false;
	return a->config->file_caps || (a->caps.len == (ssize_t)len && !memcmp(a->caps.value, value, len));
}

static int on_xattr(struct apply *a, const char *attr, const uint8_t *data, uint32_t len)
{
	int fd = a->open ? a->fd : top(a);

	if (len > DELTA_VALUE_MAX)
		return broken(a, "an attribute");
	if (a->open && a->left_out)
		return 0;
	if (spend(a, NAME_BYTES + len) < 0)
		return -a->e->code;
	if (!object_may_set(attr) || (!strcmp(attr, OBJECT_CAPABILITY) && !may_have_caps(a, data, len))) {
		a->stats.no_attrs++;
		return 0;
	}
	if (setxattr(fd_path(fd).s, attr, data, len, 0) >= 0)
		return 0;
	/* user.overlay.* of a mount with userxattr; and files that take none. */
	if (errno != EPERM && errno != EOPNOTSUPP)
		return failed(a, a->open ? a->name : NULL, attr);
	a->stats.no_attrs++;
	return 0;
}

static int on_end(struct apply *a)
{
	struct level *l = &a->level[a->depth - 1];
	char *slash;
	int rc = 0;

	if (a->open) {
		if (!a->left_out)
			rc = object_finish(a->fd, a->name, &a->attr, a->e);
		fd_close(&a->fd);
		a->open = false;
		return rc;
	}
	rc = object_finish(l->fd, a->path.text, &l->attr, a->e);
	fd_close(&l->fd);
	a->depth--;
	if (a->path.len) {
		a->path.text[--a->path.len] = 0;
		slash = strrchr(a->path.text, '/');
		a->path.len = slash ? (size_t)(slash + 1 - a->path.text) : 0;
		a->path.text[a->path.len] = 0;
	}
	return rc;
}

/* DIR, FILE, SYMLINK, NODE: begins with attributes. */
static int on_begin(struct apply *a, const struct delta_head *h, const uint8_t *data)
{
	if (h->len < sizeof(a->attr) || (h->kind != DELTA_SYMLINK && h->len != sizeof(a->attr)))
		return broken(a, "the length of a record");
	memcpy(&a->attr, data, sizeof(a->attr));
	a->kind = h->kind;
	if (check_attr(a, &a->attr) < 0)
		return -a->e->code;
	if (h->kind == DELTA_DIR)
		return on_dir(a, h);
	return on_object(a, data + sizeof(a->attr), h->len - (uint32_t)sizeof(a->attr));
}

/* The first record: the root itself. */
static int on_root(struct apply *a, int root, const struct delta_head *h, const uint8_t *data)
{
	_cleanup_close_ int fd = -1;

	if (h->kind != DELTA_DIR || h->name_len || h->len != sizeof(a->attr))
		return broken(a, "they do not begin with the root");
	memcpy(&a->attr, data, sizeof(a->attr));
	a->kind = h->kind;
	if (check_attr(a, &a->attr) < 0)
		return -a->e->code;
	fd = object_open(root, ".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return failed(a, NULL, "open");
	return enter(a, fd_steal(&fd), &a->attr);
}

/* A record that names an entry of the directory that the walk is in. */
static int on_entry(struct apply *a, const struct delta_head *h, const char *name,
		    const uint8_t *data)
{
	if (a->open || bad_name(name, h->name_len))
		return broken(a, a->open ? "an object within an object" : "a name");
	if (++a->stats.names > a->config->names_max)
		return err_set(a->e, EDQUOT, "more than %llu files changed",
			       (unsigned long long)a->config->names_max);
	if (spend(a, NAME_BYTES) < 0)
		return -a->e->code;
	memcpy(a->name, name, h->name_len + 1u);
	switch (h->kind) {
	case DELTA_WHITEOUT:
		return h->len ? broken(a, "a whiteout") : clear(a, a->name);
	case DELTA_LINK:
		return on_link(a, data, h->len);
	default:
		return on_begin(a, h, data);
	}
}

static int on_fail(struct apply *a, const uint8_t *data, uint32_t len)
{
	char text[DELTA_TEXT_MAX + 1], shown[2 * DELTA_TEXT_MAX];

	len = len > DELTA_TEXT_MAX ? DELTA_TEXT_MAX : len;
	memcpy(text, data, len);
	text[len] = 0;
	str_quote(shown, sizeof(shown), text);
	return err_set(a->e, EREMOTEIO, "the guest could not tell its changes: %s", shown);
}

/* Return: 1 to go on, 0 at the end, minus errno. */
static int carry_out(struct apply *a, const struct delta_head *h, const char *name,
		     const uint8_t *data)
{
	int rc;

	if (h->kind == DELTA_FAIL)
		return on_fail(a, data, h->len);
	if (!a->depth)
		return broken(a, "they go on after their end");
	switch (h->kind) {
	case DELTA_DIR:
	case DELTA_FILE:
	case DELTA_SYMLINK:
	case DELTA_NODE:
	case DELTA_LINK:
	case DELTA_WHITEOUT:
		rc = on_entry(a, h, name, data);
		break;
	case DELTA_DATA:
		rc = on_data(a, data, h->len);
		break;
	case DELTA_XATTR:
		rc = h->name_len && !memchr(name, 0, h->name_len) ? on_xattr(a, name, data, h->len)
								  : broken(a, "an attribute");
		break;
	case DELTA_END:
		rc = on_end(a);
		break;
	default:
		return broken(a, "a record of an unknown kind");
	}
	return rc < 0 ? rc : 1;
}

static int run_all(struct apply *a, int root)
{
	char name[DELTA_NAME_MAX + 1];
	const uint8_t *data = NULL;
	struct delta_head h;
	bool begun = false;
	int rc;

	for (;;) {
		rc = delta_read(a->in, &h, name, &data, a->e);
		if (rc < 0)
			return rc;
		if (!a->depth && begun && h.kind == DELTA_DONE)
			return 0;
		rc = begun || h.kind == DELTA_FAIL ? carry_out(a, &h, name, data)
						   : on_root(a, root, &h, data);
		if (rc < 0)
			return rc;
		begun = true;
	}
}

static int run(struct apply *a, int root)
{
	struct object_look before, after;
	int rc = object_look(root, &before, a->e);

	if (rc >= 0)
		rc = run_all(a, root);
	if (rc >= 0)
		rc = object_look(root, &after, a->e);
	if (rc >= 0)
		a->stats.changed = a->stats.names || !object_same(&before, &after);
	return rc;
}

static int run_reduced(struct apply *a, int root)
{
	uint64_t kept = RIGHTS | (a->config->devices ? CAP(CAP_MKNOD) : 0), before;
	int rc = rights_reduce(kept, &before, a->e);

	if (rc < 0)
		return rc;
	rc = run(a, root);
	rights_restore(before);
	return rc;
}

/**
 * delta_apply() - carry a guest's changes out
 * @root:   directory of the merged tree, borrowed; nobody else may reach it
 * @stream: that brings the delta, borrowed
 * @config: limits
 * @ret:    what was done; also on failure, up to it
 *
 * Return: 0 when all of it has come and is done; -EPROTO for a delta that makes no
 * sense; -EDQUOT, -E2BIG, -ELOOP, -ETIMEDOUT for one beyond a limit; -EREMOTEIO when
 * the guest gave up; minus errno
 * Context: umask of the caller must not matter: all modes are set
 */
int delta_apply(int root, int stream, const struct writeback_config *config,
		struct writeback_stats *ret, struct err *e)
{
	struct apply *a = mem_new(struct apply);
	int rc;

	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	a->config = config;
	a->fd = -1;
	a->caps.len = -1;
	a->e = e;
	rc = delta_reader_new(stream, config->ms_max, &a->in, e);
	if (rc >= 0)
		rc = run_reduced(a, root);
	*ret = a->stats;
	fd_close(&a->fd);
	while (a->depth)
		fd_close(&a->level[--a->depth].fd);
	delta_links_done(&a->links);
	strbuf_done(&a->path);
	delta_reader_free(a->in);
	free(a);
	return rc;
}
