// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads one layer's directory tree into memory: per file one statx, one listing
 * of attributes, and what these call for. Directories are opened one after the
 * other, breadth first, from the layer's root by a path that may not leave the
 * layer, follow a symlink or enter another mount; so neither a deep tree nor a
 * hostile one costs descriptors or stack. For the files, the calling thread
 * stands inside the directory (attributes can only be read by path on kernels
 * in use), and therefore must not share its working directory with others:
 * layers.c runs scans in threads of their own.
 *
 * Overlayfs keeps its marks in attributes below trusted.overlay. (or, with
 * userxattr, user.overlay.): opaque directories, whiteouts, metacopy, redirects.
 * They are turned into flags; merge.c knows what they mean. Names below trusted.overlay.overlay. are how overlayfs
 * stores attributes that only look like its own. In the guest an overlay lies on
 * top of the disk that is made from this tree; so that it shows the same, names
 * that would be marks there are written in this protected form.
 *
 * Limits: files that are mount points are refused by name, and so are attributes
 * of more than 65535 bytes. Memory is bounded by the arena's budget.
 *
 * Source: linux Documentation/filesystems/overlayfs.rst, "whiteouts and opaque
 * directories", "Nesting overlayfs mounts", "Metadata only copy up"
 */
#include "storage/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

/* A layer ends where its file system does. */
#define LAYER_RESOLVE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)

#define TRUSTED "trusted.overlay."
#define USER "user.overlay."
#define NESTED "overlay."

#define DENTS_BYTES 65536u
#define XATTR_BYTES 65536u

/* As the kernel fills them in; glibc's struct dirent has the same members. */
struct dent {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

/**
 * struct walk - state of one scan
 * @dirs:  directories that were seen, in order; [@at] is being read
 * @links: files with several names, by inode number, open addressing
 * @child: children of the directory being read
 */
struct walk {
	struct scan *s;
	struct tree_node **dirs, **child;
	struct tree_inode **links;
	size_t n_dirs, room_dirs, n_child, room_child, n_links, room_links, at;
	uint64_t mount_id;
	bool no_xattrs;
	char *dents, *names, *value;
};

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "out of memory, or the layers need more than %u MiB of metadata",
		       TREE_BYTES_MAX >> 20);
}

/* A failure that names the file. */
static int refuse(const struct tree_node *n, int code, struct err *e, const char *why)
{
	char path[TREE_PATH_BYTES], shown[400];

	if (tree_path(n, path) < 0)
		str_copy(path, sizeof(path), "(long path)");
	str_quote(shown, sizeof(shown), path);
	return err_set(e, code, "%s: %s", shown, why);
}

static int refuse_sys(const struct tree_node *n, struct err *e, const char *what)
{
	int code = errno ? errno : EIO;
	char why[200];

	snprintf(why, sizeof(why), "%s: %s", what, strerror(code));
	return refuse(n, code, e, why);
}

/* Room for one more pointer. */
static int grow(void *list_p, size_t n, size_t *room, struct err *e)
{
	void **list = list_p, *more;

	if (n < *room)
		return 0;
	more = realloc(*list, (*room ? *room * 2 : 1024) * sizeof(void *));
	if (!more)
		return no_memory(e);
	*list = more;
	*room = *room ? *room * 2 : 1024;
	return 0;
}

static size_t slot(const struct walk *w, uint64_t dev, uint64_t ino)
{
	size_t i = (size_t)((ino ^ dev << 17) * 0x9e3779b97f4a7c15ull >> 20);

	for (i &= w->room_links - 1; w->links[i]; i = (i + 1) & (w->room_links - 1))
		if (w->links[i]->ino == ino && w->links[i]->dev == dev)
			break;
	return i;
}

/* Keeps the table of hard links at most half full. */
static int grow_links(struct walk *w, struct err *e)
{
	size_t i, old_room = w->room_links;
	struct tree_inode **old = w->links;

	if (2 * w->n_links < old_room)
		return 0;
	w->room_links = old_room ? old_room * 2 : 1024;
	w->links = mem_new_n(struct tree_inode *, w->room_links);
	if (!w->links) {
		w->links = old;
		w->room_links = old_room;
		return no_memory(e);
	}
	for (i = 0; i < old_room; i++)
		if (old[i])
			w->links[slot(w, old[i]->dev, old[i]->ino)] = old[i];
	free(old);
	return 0;
}

/* new_encode_dev(): 12 bits of major, 20 bits of minor. */
static int encode_dev(const struct statx *sx, uint32_t *ret)
{
	if (sx->stx_rdev_major >= 1u << 12 || sx->stx_rdev_minor >= 1u << 20)
		return -ERANGE;
	*ret = (sx->stx_rdev_minor & 0xff) | sx->stx_rdev_major << 8 |
	       (sx->stx_rdev_minor & ~0xffu) << 12;
	return 0;
}

static void fill_inode(struct tree_inode *i, const struct statx *sx)
{
	i->ino = sx->stx_ino;
	i->dev = makedev(sx->stx_dev_major, sx->stx_dev_minor);
	i->size = S_ISREG(sx->stx_mode) || S_ISLNK(sx->stx_mode) ? sx->stx_size : 0;
	i->mtime_s = sx->stx_mtime.tv_sec;
	i->mtime_ns = sx->stx_mtime.tv_nsec;
	i->ctime_s = sx->stx_ctime.tv_sec;
	i->ctime_ns = sx->stx_ctime.tv_nsec;
	i->mode = sx->stx_mode;
	i->uid = sx->stx_uid;
	i->gid = sx->stx_gid;
}

/* The content of an attribute in w->value. Return: length, -ENODATA when it went. */
static ssize_t get_value(struct walk *w, const struct tree_node *n, const char *file,
			 const char *attr, struct err *e)
{
	ssize_t len = lgetxattr(file, attr, w->value, XATTR_BYTES);

	if (len >= 0 && len <= UINT16_MAX)
		return len;
	if (len < 0 && errno == ENODATA)
		return -ENODATA;
	if (len < 0)
		return refuse_sys(n, e, "reading an attribute");
	return refuse(n, EOPNOTSUPP, e, "an attribute longer than 65535 bytes cannot be put onto a disk");
}

/* Where the file is in the layers below; what is wrong with it is told when it is used. */
static int take_redirect(struct walk *w, struct tree_node *n, size_t len, struct err *e)
{
	struct tree_inode *i = n->inode;

	if (!S_ISDIR(i->mode) && !S_ISREG(i->mode))
		return 0;
	i->redirect = arena_text(w->s->arena, w->value, strnlen(w->value, len));
	w->s->marks = true;
	return i->redirect ? 0 : no_memory(e);
}

/* One of overlayfs's own attributes; @mark is what follows the prefix. */
static int take_mark(struct walk *w, struct tree_node *n, const char *file,
		     const char *attr, const char *mark, struct err *e)
{
	struct tree_inode *i = n->inode;
	ssize_t len;

	if (!strcmp(mark, "metacopy") && S_ISREG(i->mode)) {
		i->metacopy = true;
		w->s->marks = true;
	}
	if (!strcmp(mark, "whiteout") && S_ISREG(i->mode) && !i->size && n->parent &&
	    n->parent->flags & TREE_XWHITEOUTS)
		n->flags |= TREE_WHITEOUT;
	if ((strcmp(mark, "opaque") || !S_ISDIR(i->mode)) && strcmp(mark, "redirect"))
		return 0;
	len = get_value(w, n, file, attr, e);
	if (len == -ENODATA)
		return 0;
	if (len < 0)
		return (int)len;
	if (!strcmp(mark, "redirect"))
		return take_redirect(w, n, (size_t)len, e);
	if (len == 1 && w->value[0] == 'x' && !w->s->upper)
		n->flags |= TREE_XWHITEOUTS;
	/* The kernel merges the roots of all layers whatever they say. */
	if (len == 1 && w->value[0] == 'y' && n->parent)
		n->flags |= TREE_OPAQUE;
	return 0;
}

static int take_xattr(struct walk *w, struct tree_node *n, const char *file,
		      const char *attr, struct err *e)
{
	const char *own = w->s->userxattr ? USER : TRUSTED, *shown = attr;
	char name[XATTR_NAME_MAX + sizeof(TRUSTED NESTED)];
	struct arena *a = w->s->arena;
	struct tree_xattr *x;
	ssize_t len;

	if (str_starts(attr, own)) {
		const char *rest = attr + strlen(own);

		if (!str_starts(rest, NESTED))
			return take_mark(w, n, file, attr, rest, e);
		len = snprintf(name, sizeof(name), "%s%s", own, rest + strlen(NESTED));
		shown = name;
	}
	len = get_value(w, n, file, attr, e);
	if (len < 0)
		return len == -ENODATA ? 0 : (int)len;
	x = arena_alloc(a, sizeof(*x));
	if (!x)
		return no_memory(e);
	if (str_starts(shown, TRUSTED)) {
		char protect[sizeof(name)];

		snprintf(protect, sizeof(protect), TRUSTED NESTED "%.*s",
			 XATTR_NAME_MAX, shown + strlen(TRUSTED));
		x->name = arena_text(a, protect, strlen(protect));
	} else {
		x->name = arena_text(a, shown, strlen(shown));
	}
	x->value = arena_text(a, w->value, (size_t)len);
	x->len = (uint32_t)len;
	if (!x->name || !x->value)
		return no_memory(e);
	x->next = n->inode->xattrs;
	n->inode->xattrs = x;
	return 0;
}

static int take_xattrs(struct walk *w, struct tree_node *n, const char *file,
		       struct err *e)
{
	const char *attr;
	ssize_t len;
	int rc = 0;

	if (w->no_xattrs)
		return 0;
	len = llistxattr(file, w->names, XATTR_BYTES);
	if (len < 0 && errno == EOPNOTSUPP) {
		w->no_xattrs = !n->parent;
		return 0;
	}
	if (len < 0)
		return refuse_sys(n, e, "listing attributes");
	for (attr = w->names; !rc && attr < w->names + len; attr += strlen(attr) + 1)
		rc = take_xattr(w, n, file, attr, e);
	return rc;
}

static int take_target(struct walk *w, struct tree_node *n, const char *file,
		       struct err *e)
{
	ssize_t len = readlink(file, w->value, XATTR_BYTES);
	char *target;

	if (len < 0)
		return refuse_sys(n, e, "readlink");
	if (!len || len >= TREE_PATH_BYTES)
		return refuse(n, EOPNOTSUPP, e, "symlink target is empty or longer than 4095 bytes");
	target = arena_text(w->s->arena, w->value, (size_t)len);
	if (!target)
		return no_memory(e);
	n->inode->target = target;
	n->inode->size = (uint64_t)len;
	return 0;
}

/* Makes the inode of a node that was statted; @file is its path from here. */
static int take_inode(struct walk *w, struct tree_node *n, const char *file,
		      const struct statx *sx, struct err *e)
{
	struct tree_inode *i = NULL;
	bool dir = S_ISDIR(sx->stx_mode);
	size_t at = 0;
	int rc;

	if (!dir && sx->stx_nlink > 1) {
		rc = grow_links(w, e);
		if (rc < 0)
			return rc;
		at = slot(w, makedev(sx->stx_dev_major, sx->stx_dev_minor), sx->stx_ino);
		i = w->links[at];
	}
	if (i) {
		n->inode = i;
		return 0;
	}
	i = arena_alloc(w->s->arena, sizeof(*i));
	if (!i)
		return no_memory(e);
	n->inode = i;
	i->node = n;
	i->home = n;
	i->layer = w->s->index;
	fill_inode(i, sx);
	if (S_ISCHR(i->mode) && !sx->stx_rdev_major && !sx->stx_rdev_minor) {
		n->flags |= TREE_WHITEOUT;
		return 0;
	}
	if ((S_ISCHR(i->mode) || S_ISBLK(i->mode)) && encode_dev(sx, &i->rdev) < 0)
		return refuse(n, EOPNOTSUPP, e, "device number out of range");
	rc = take_xattrs(w, n, file, e);
	if (rc >= 0 && S_ISLNK(i->mode))
		rc = take_target(w, n, file, e);
	if (rc >= 0 && !dir && sx->stx_nlink > 1 && !(n->flags & TREE_WHITEOUT)) {
		w->links[at] = i;
		w->n_links++;
	}
	return rc;
}

static int take_entry(struct walk *w, struct tree_node *dir, const char *name,
		      struct err *e)
{
	size_t len = strlen(name);
	char path[TREE_PATH_BYTES];
	struct tree_node *n;
	struct statx sx;
	char *copy;
	int rc;

	if (len > NAME_MAX)
		return refuse(dir, EOPNOTSUPP, e, "holds a name longer than 255 bytes");
	n = arena_alloc(w->s->arena, sizeof(*n));
	copy = arena_text(w->s->arena, name, len);
	if (!n || !copy)
		return no_memory(e);
	n->parent = dir;
	tree_name(n, copy, len);
	if (statx(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_MNT_ID, &sx) < 0)
		return refuse_sys(n, e, "statx");
	if (sx.stx_mnt_id != w->mount_id)
		return refuse(n, EXDEV, e, "is a mount point inside a layer: unmount it");
	rc = take_inode(w, n, name, &sx, e);
	if (rc >= 0 && S_ISDIR(sx.stx_mode)) {
		/* Checked once per directory: its files are one name deeper. */
		if (tree_path(n, path) < 0 || strlen(path) > TREE_PATH_BYTES - 1 - 256)
			return refuse(dir, ENAMETOOLONG, e, "holds a directory whose path is longer than 3839 bytes");
		rc = grow(&w->dirs, w->n_dirs, &w->room_dirs, e);
		if (rc >= 0)
			w->dirs[w->n_dirs++] = n;
	}
	if (rc >= 0)
		rc = grow(&w->child, w->n_child, &w->room_child, e);
	if (rc >= 0)
		w->child[w->n_child++] = n;
	return rc;
}

static int read_entries(struct walk *w, struct tree_node *dir, int fd, struct err *e)
{
	for (;;) {
		long len = syscall(SYS_getdents64, fd, w->dents, DENTS_BYTES), at;

		if (len < 0)
			return refuse_sys(dir, e, "reading a directory");
		if (!len)
			return 0;
		for (at = 0; at < len;) {
			const struct dent *d = (const void *)(w->dents + at);
			int rc = 0;

			at += d->len;
			if (strcmp(d->name, ".") && strcmp(d->name, ".."))
				rc = take_entry(w, dir, d->name, e);
			if (rc < 0)
				return rc;
		}
	}
}

static int read_dir(struct walk *w, struct tree_node *dir, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[TREE_PATH_BYTES];
	int rc;

	tree_path(dir, path);
	fd = fd_openat2(w->s->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, LAYER_RESOLVE);
	if (fd < 0 && errno == EXDEV)
		return refuse(dir, EXDEV, e, "is a mount point inside a layer: unmount it");
	if (fd < 0)
		return refuse_sys(dir, e, "opening a directory");
	if (fchdir(fd) < 0)
		return refuse_sys(dir, e, "entering a directory");
	w->n_child = 0;
	rc = read_entries(w, dir, fd, e);
	if (rc < 0 || !w->n_child)
		return rc;
	dir->child = arena_alloc(w->s->arena, w->n_child * sizeof(*dir->child));
	if (!dir->child)
		return no_memory(e);
	memcpy(dir->child, w->child, w->n_child * sizeof(*dir->child));
	dir->n_children = (uint32_t)w->n_child;
	tree_sort(dir);
	w->s->n_nodes += w->n_child;
	return 0;
}

static int read_root(struct walk *w, struct err *e)
{
	struct tree_node *n = arena_alloc(w->s->arena, sizeof(*n));
	struct statx sx;
	int rc;

	if (!n)
		return no_memory(e);
	tree_name(n, "", 0);
	if (fchdir(w->s->fd) < 0)
		return refuse_sys(n, e, "entering the layer");
	if (statx(AT_FDCWD, ".", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_MNT_ID,
		  &sx) < 0)
		return refuse_sys(n, e, "statx");
	w->mount_id = sx.stx_mnt_id;
	w->s->root = n;
	w->s->n_nodes = 1;
	rc = take_inode(w, n, ".", &sx, e);
	if (rc >= 0)
		rc = grow(&w->dirs, 0, &w->room_dirs, e);
	if (rc >= 0)
		w->dirs[w->n_dirs++] = n;
	return rc;
}

/**
 * scan_layer() - read a layer
 * @s: request and result; what was taken from @s->arena stays taken after a failure
 *
 * Return: 0 or minus errno
 * Context: changes the working directory of the calling thread
 */
int scan_layer(struct scan *s, struct err *e)
{
	struct walk w = { .s = s };
	int rc = 0;

	w.dents = malloc(DENTS_BYTES);
	w.names = malloc(XATTR_BYTES);
	w.value = malloc(XATTR_BYTES);
	if (!w.dents || !w.names || !w.value)
		rc = no_memory(e);
	if (!rc)
		rc = read_root(&w, e);
	for (; rc >= 0 && w.at < w.n_dirs; w.at++)
		rc = read_dir(&w, w.dirs[w.at], e);
	free(w.dents);
	free(w.names);
	free(w.value);
	free(w.dirs);
	free(w.child);
	free(w.links);
	return rc < 0 ? rc : 0;
}

/**
 * scan_data() - look for a file in a data-only layer
 * @layer_fd: its root, borrowed
 * @index:    of the layer in the stack
 * @path:     from there, without a leading slash; kept
 * @a:        that the result comes from
 *
 * Return: 0; -ENOENT when the layer has no such regular file; else minus errno
 */
int scan_data(int layer_fd, uint16_t index, const char *path, struct arena *a,
	      struct tree_inode **ret, struct err *e)
{
	_cleanup_close_ int fd = fd_openat2(layer_fd, path, O_PATH | O_NOFOLLOW, 0,
					    LAYER_RESOLVE);
	struct tree_inode *i;
	char shown[400];
	struct statx sx;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
		       errno == EXDEV || errno == ENAMETOOLONG))
		return -ENOENT;
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) < 0) {
		int code = errno;

		str_quote(shown, sizeof(shown), path);
		return err_set(e, code, "data-only layer %u: %s: %s", index, shown, strerror(code));
	}
	if (!S_ISREG(sx.stx_mode))
		return -ENOENT;
	i = arena_alloc(a, sizeof(*i));
	if (!i)
		return no_memory(e);
	fill_inode(i, &sx);
	i->layer = index;
	i->path = path;
	*ret = i;
	return 0;
}
