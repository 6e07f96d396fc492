// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Folds the trees of a stack of layers into the one that overlayfs shows, in
 * memory alone. Stacks without redirects and metadata-only copies, which are
 * nearly all, are folded from the top down (fold_dir()): the tree of the layers
 * above takes what the next one below adds.
 *
 *	above              below               result
 *	nothing            anything            below, with all that is in it
 *	directory          directory           merged, attributes from above
 *	opaque directory   anything            above
 *	directory          anything else       above, and opaque from here on
 *	anything else      anything            above
 *
 * "Anything else" includes whiteouts; they stay in the tree because they hide
 * names of the layers further down, and are left out when the disk is laid out.
 * Nodes move from a lower tree into the merged one and are never shared; so
 * every node has one parent, whose path is the same in its own layer. Folding
 * recurses as deep as a path has names (TREE_PATH_BYTES / 2), in small frames.
 *
 * With redirects, a directory of the merged tree can have other names in the
 * layers below, and one directory of a layer can be in two places. Then each
 * merged directory knows the directories that it is made of (struct work), and
 * each name in them is looked up as the kernel looks it up (struct look, whose
 * steps are those of ovl_lookup()); the result is made of new nodes. Directories
 * wait in a list: no recursion, and each takes part once. A redirect leads into
 * lower layers only; so there is an end, and the arena's budget is one as well.
 *
 * A metadata-only copy has its content in a layer below, or, by an absolute path,
 * in the first data-only layer that has the file. What the kernel would answer
 * with an error (a redirect that is not followed, a copy whose content is gone) is
 * refused by name.
 *
 * Source: linux Documentation/filesystems/overlayfs.rst; fs/overlayfs/namei.c of
 * Linux 6.1 and, for data-only layers, 6.16
 */
#include "storage/merge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/str.h"
#include "storage/scan.h"

/* Room for a file name below the longest path of a directory. */
#define DIR_PATH_MAX (TREE_PATH_BYTES - 1 - 256)

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "out of memory, or the layers need more than %u MiB of metadata",
		       TREE_BYTES_MAX >> 20);
}

/* Kept out of the recursion's stack frames, which a hostile image can pile up. */
__attribute__((noinline)) static int refuse(const struct tree_node *n, int code, struct err *e,
					    const char *why)
{
	char path[TREE_PATH_BYTES], shown[400];

	if (tree_path(n, path) < 0)
		str_copy(path, sizeof(path), "(long path)");
	str_quote(shown, sizeof(shown), path);
	return err_set(e, code, "%s: overlay: %s", shown, why);
}

/* ---- stacks without redirects ------------------------------------------------ */

static int fold_dir(struct arena *a, struct tree_node *up, struct tree_node *lo, struct err *e);

/* Both trees have the name. */
static int fold_node(struct arena *a, struct tree_node *up, struct tree_node *lo, struct err *e)
{
	if (up->flags & (TREE_WHITEOUT | TREE_OPAQUE) || !tree_is_dir(up))
		return 0;
	if (!(lo->flags & TREE_WHITEOUT) && tree_is_dir(lo))
		return fold_dir(a, up, lo, e);
	up->flags |= TREE_OPAQUE;
	return 0;
}

/* @up takes nodes of @lo, which must not be used afterwards. */
static int fold_dir(struct arena *a, struct tree_node *up, struct tree_node *lo, struct err *e)
{
	struct tree_node **child;
	size_t i = 0, k = 0, n = 0;
	int rc;

	child = arena_alloc(a, ((size_t)up->n_children + lo->n_children) * sizeof(*child));
	if (!child)
		return no_memory(e);
	while (i < up->n_children || k < lo->n_children) {
		int order = i == up->n_children	  ? 1 :
			    k == lo->n_children	  ? -1 :
						    tree_compare(up->child[i], lo->child[k]);

		if (!order) {
			rc = fold_node(a, up->child[i], lo->child[k++], e);
			if (rc < 0)
				return rc;
		}
		if (order <= 0) {
			child[n++] = up->child[i++];
		} else {
			lo->child[k]->parent = up;
			child[n++] = lo->child[k++];
		}
	}
	up->child = child;
	up->n_children = (uint32_t)n;
	if (lo->flags & TREE_OPAQUE)
		up->flags |= TREE_OPAQUE;
	return 0;
}

/* ---- looking a name up -------------------------------------------------------- */

/**
 * struct work - a merged directory whose children are to be found
 * @node:  of the merged tree
 * @dir:   what it is made of, topmost first
 * @layer: that they are in
 * @path_len: of its path
 */
struct work {
	struct work *next;
	struct tree_node *node;
	struct tree_node **dir;
	uint16_t *layer;
	size_t n, path_len;
};

/**
 * struct look - one name on its way down the layers
 * @w:        directories to look in; the roots after an absolute redirect
 * @name:     not NUL-terminated in general; an absolute path after a redirect
 * @last:     no layer below: nothing there says how to go on
 * @redirect: @name comes from one; @absolute: the last one was a path from the root
 * @past_copy, @past_redirect: was used to get to what was found
 * @dir, @layer: directories found; @n of them
 * @top:      first of what was found, in layer @top_layer
 */
struct look {
	const struct merge *m;
	const struct work *w;
	const char *name;
	size_t len;
	bool stop, is_dir, last, metacopy, redirect, absolute, past_copy, past_redirect;
	struct tree_node **dir, *top, *data;
	uint16_t *layer;
	size_t n;
};

static bool valid_component(const char *s, size_t len)
{
	return len && !(len == 1 && s[0] == '.') && !(len == 2 && s[0] == '.' && s[1] == '.');
}

static bool valid_redirect(const char *s)
{
	if (*s != '/')
		return valid_component(s, strlen(s)) && !strchr(s, '/');
	while (*s == '/') {
		size_t len = strcspn(++s, "/");

		if (!valid_component(s, len))
			return false;
		s += len;
	}
	return true;
}

/* Layers below have the file elsewhere: @pre and @post stay of the path so far. */
static int redirect(struct look *l, const struct tree_node *n, size_t pre, const char *post,
		    size_t post_len, struct err *e)
{
	const char *to = n->inode->redirect;
	size_t len = to ? strlen(to) : 0;
	char *path;

	l->absolute = false;
	if (!to)
		return 0;
	if (!valid_redirect(to))
		return refuse(n, EINVAL, e, "its redirect is no path: the layer is damaged");
	if (*to == '/') {
		/* A directory on the way may have been opaque: this leads past it. */
		l->stop = false;
		l->absolute = true;
		pre = 0;
	}
	if (pre + len + post_len >= TREE_PATH_BYTES)
		return refuse(n, ENAMETOOLONG, e, "its redirect is longer than 4095 bytes");
	path = arena_alloc(l->m->arena, pre + len + post_len + 1);
	if (!path)
		return no_memory(e);
	memcpy(path, l->name, pre);
	memcpy(path + pre, to, len);
	memcpy(path + pre + len, post, post_len);
	l->name = path;
	l->len = pre + len + post_len;
	l->redirect = true;
	return 0;
}

/* One component in one directory; @post is what follows it in the path. */
static int look_one(struct look *l, const struct tree_node *base, size_t pre, size_t len,
		    struct tree_node **ret, struct err *e)
{
	const char *post = l->name + pre + len;
	size_t post_len = l->len - pre - len;
	struct tree_node *n = tree_child_n(base, l->name + pre, len);

	*ret = NULL;
	if (!n)
		return 0;
	if (n->flags & TREE_WHITEOUT || (!post_len && l->metacopy && !S_ISREG(n->inode->mode))) {
		l->stop = true;
		return 0;
	}
	if (!tree_is_dir(n)) {
		if (l->is_dir || post_len) {
			l->stop = true;
			return 0;
		}
		l->metacopy = n->inode->metacopy;
		l->stop = !l->metacopy;
		*ret = n;
		return !l->metacopy || l->last ? 0 : redirect(l, n, pre, post, post_len, e);
	}
	if (!post_len)
		l->is_dir = true;
	*ret = n;
	if (l->last)
		return 0;
	if (n->flags & TREE_OPAQUE) {
		l->stop = true;
		return 0;
	}
	return redirect(l, n, pre, post, post_len, e);
}

/* The name, or the path from the root, in one layer. */
static int look_layer(struct look *l, struct tree_node *base, struct tree_node **ret,
		      struct err *e)
{
	/* Counted from the end, because redirects on the way change what is before. */
	size_t rest = l->len - 1, len;
	int rc;

	if (l->name[0] != '/')
		return look_one(l, base, 0, l->len, ret, e);
	for (*ret = NULL; base && tree_is_dir(base); rest -= len + 1) {
		const char *s = l->name + l->len - rest;

		len = 0;
		while (len < rest && s[len] != '/')
			len++;
		rc = look_one(l, base, (size_t)(s - l->name), len, &base, e);
		if (rc < 0)
			return rc;
		if (len == rest)
			break;
	}
	*ret = base;
	return 0;
}

/* Something was found in layer @layer, by a redirect of a layer above if @moved. */
static void take_found(struct look *l, struct tree_node *n, uint16_t layer, bool moved)
{
	l->past_redirect |= moved;
	l->past_copy |= l->top && !l->is_dir;
	if (!l->top)
		l->top = n;
	if (l->is_dir) {
		l->dir[l->n] = n;
		l->layer[l->n++] = layer;
	} else {
		l->data = n;
	}
}

static int look_down(struct look *l, const struct work *roots, struct err *e)
{
	const struct overlay *o = l->m->o;
	bool follow = o->follow == OVERLAY_ON || o->n_data;
	struct tree_node *n;
	size_t i;
	int rc;

	for (i = 0; !l->stop && i < l->w->n; i++) {
		uint16_t layer = l->w->layer[i];
		bool moved = l->redirect;

		if (!follow)
			l->last = i + 1 == l->w->n;
		else if (l->is_dir || !o->n_data)
			l->last = (size_t)layer + 1 == l->m->n;
		rc = look_layer(l, l->w->dir[i], &n, e);
		if (rc < 0)
			return rc;
		if (!n)
			continue;
		take_found(l, n, layer, moved);
		if (l->name[0] == '/' && l->w != roots) {
			l->w = roots;
			i = layer;
		}
	}
	return 0;
}

/* The content of a metadata-only copy by its path in the data-only layers. */
static int find_data(const struct look *l, struct tree_inode **ret, struct err *e)
{
	const struct overlay *o = l->m->o;
	size_t i;
	int rc;

	for (i = l->m->n; i < o->n_layers; i++) {
		rc = scan_data(o->layer[i].fd, (uint16_t)i, l->name + 1, l->m->arena, ret, e);
		if (rc != -ENOENT)
			return rc;
	}
	return -ENOENT;
}

static int no_content(const struct tree_node *n, struct err *e)
{
	return refuse(n, EIO, e, "the content of a metadata-only copy is not in the layers below");
}

/* Gives a metadata-only copy its content, and checks that the kernel would. */
static int settle(const struct look *l, const struct tree_node *n, struct err *e)
{
	const struct overlay *o = l->m->o;
	struct tree_inode *i = l->top->inode, *data = l->data ? l->data->inode : NULL;
	int rc;

	if (!l->is_dir && l->metacopy && o->n_data && l->absolute) {
		rc = find_data(l, &data, e);
		if (rc == -ENOENT)
			return no_content(n, e);
		if (rc < 0)
			return rc;
	} else if (!l->is_dir && l->metacopy) {
		return no_content(n, e);
	} else if (l->past_copy && o->metacopy != OVERLAY_ON) {
		return refuse(n, EPERM, e, "a metadata-only copy, which this mount does not follow: mount with metacopy=on");
	} else if (l->past_redirect && o->follow != OVERLAY_ON) {
		return refuse(n, EPERM, e, "a redirect, which this mount does not follow: mount with redirect_dir=follow");
	}
	if (l->is_dir || data == i)
		return 0;
	/* A copy that has got its content already. */
	if (data->data)
		data = data->data;
	if (data->size != i->size)
		return no_content(n, e);
	/* Another name of it may have been here before. */
	if (!i->data)
		i->data = data;
	i->metacopy = false;
	return 0;
}

/* ---- building the merged tree -------------------------------------------------- */

struct build {
	struct merge *m;
	struct work *first, **end, roots;
	struct tree_node **name, **swap;	/* of all directories of one work */
	size_t n_names;
	struct tree_node **dir;			/* of one look, as @layer */
	uint16_t *layer;
};

/* The names of all directories of @w, each once, in b->name. */
static int gather(struct build *b, const struct work *w, struct err *e)
{
	size_t total = 0, i, j, k, n;

	for (i = 0; i < w->n; i++)
		total += w->dir[i]->n_children;
	b->name = arena_alloc(b->m->arena, total * sizeof(*b->name));
	b->swap = arena_alloc(b->m->arena, total * sizeof(*b->name));
	if (!b->name || !b->swap)
		return no_memory(e);
	b->n_names = 0;
	for (i = 0; i < w->n; i++) {
		struct tree_node **old = b->name, **add = w->dir[i]->child;
		size_t n_add = w->dir[i]->n_children;

		if (!n_add)
			continue;
		for (j = k = n = 0; j < b->n_names || k < n_add;) {
			int order = j == b->n_names ? 1 :
				    k == n_add	    ? -1 :
						      tree_compare(old[j], add[k]);

			b->swap[n++] = order <= 0 ? old[j] : add[k];
			j += order <= 0;
			k += order >= 0;
		}
		b->name = b->swap;
		b->swap = old;
		b->n_names = n;
	}
	return 0;
}

static int add_work(struct build *b, const struct look *l, struct tree_node *n, size_t path_len,
		    struct err *e)
{
	struct arena *a = b->m->arena;
	struct work *w = arena_alloc(a, sizeof(*w));
	struct tree_node **dir = arena_alloc(a, l->n * sizeof(*dir));
	uint16_t *layer = arena_alloc(a, l->n * sizeof(*layer));

	if (path_len > DIR_PATH_MAX)
		return refuse(n, ENAMETOOLONG, e, "a directory whose path is longer than 3839 bytes");
	if (!w || !dir || !layer)
		return no_memory(e);
	memcpy(dir, l->dir, l->n * sizeof(*dir));
	memcpy(layer, l->layer, l->n * sizeof(*layer));
	*w = (struct work){ .node = n, .dir = dir, .layer = layer, .n = l->n,
			    .path_len = path_len };
	*b->end = w;
	b->end = &w->next;
	return 0;
}

/* A node of the merged tree; a directory gets an inode of its own. */
static struct tree_node *make_node(struct build *b, struct tree_node *parent,
				   const struct tree_node *name, const struct tree_node *top)
{
	struct tree_node *n = arena_alloc(b->m->arena, sizeof(*n));

	if (!n)
		return NULL;
	n->parent = parent;
	n->key = name->key;
	n->name = name->name;
	n->name_len = name->name_len;
	n->inode = top->inode;
	if (!tree_is_dir(top))
		return n;
	n->inode = arena_alloc(b->m->arena, sizeof(*n->inode));
	if (!n->inode)
		return NULL;
	*n->inode = *top->inode;
	n->inode->node = n;
	return n;
}

/* Looks one name up; what is found becomes the next child of @w->node. */
static int build_name(struct build *b, const struct work *w, const struct tree_node *name,
		      struct err *e)
{
	struct look l = { .m = b->m, .w = w, .name = name->name, .len = name->name_len,
			  .dir = b->dir, .layer = b->layer };
	struct tree_node *n;
	int rc;

	rc = look_down(&l, &b->roots, e);
	if (rc < 0 || !l.top)
		return rc;
	n = make_node(b, w->node, name, l.top);
	if (!n)
		return no_memory(e);
	rc = settle(&l, n, e);
	if (!rc && l.is_dir)
		rc = add_work(b, &l, n, w->path_len + name->name_len + 1, e);
	if (rc < 0)
		return rc;
	w->node->child[w->node->n_children++] = n;
	return 0;
}

static int build_dir(struct build *b, const struct work *w, struct err *e)
{
	size_t i;
	int rc = gather(b, w, e);

	if (rc < 0 || !b->n_names)
		return rc;
	w->node->child = b->swap;
	for (i = 0; !rc && i < b->n_names; i++)
		rc = build_name(b, w, b->name[i], e);
	return rc;
}

static int build(struct merge *m, struct tree_node **ret, struct err *e)
{
	struct build b = { .m = m };
	struct work *w;
	size_t i;
	int rc = 0;

	b.end = &b.first;
	b.roots.node = make_node(&b, NULL, m->root[0], m->root[0]);
	b.roots.dir = m->root;
	b.roots.n = m->n;
	b.roots.layer = arena_alloc(m->arena, m->n * sizeof(*b.roots.layer));
	b.layer = arena_alloc(m->arena, m->n * sizeof(*b.layer));
	b.dir = arena_alloc(m->arena, m->n * sizeof(struct tree_node *));
	if (!b.roots.node || !b.roots.layer || !b.layer || !b.dir)
		return no_memory(e);
	for (i = 0; i < m->n; i++)
		b.roots.layer[i] = (uint16_t)i;
	rc = build_dir(&b, &b.roots, e);
	for (w = b.first; !rc && w; w = w->next)
		rc = build_dir(&b, w, e);
	*ret = b.roots.node;
	return rc;
}

/**
 * merge_layers() - the tree that overlayfs shows
 * @m:   its trees must not be used afterwards, only the result's nodes
 * @ret: in @m->arena and in the trees; whiteouts are still in it
 *
 * Return: 0; -ENOMEM; -EIO for a metadata-only copy without content; -EPERM for
 * what the mount does not follow; -EINVAL for a damaged redirect
 */
int merge_layers(struct merge *m, struct tree_node **ret, struct err *e)
{
	size_t i;
	int rc = 0;

	if (m->marks)
		return build(m, ret, e);
	for (i = 1; !rc && i < m->n; i++)
		rc = fold_dir(m->arena, m->root[0], m->root[i], e);
	*ret = m->root[0];
	return rc;
}
