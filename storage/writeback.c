// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Brings what a container changed in its guest into the upper directory that its
 * engine made on the host, so that the engine can compare, commit and start it again.
 * The guest's own file system is never looked at: the agent tells the changes as a
 * stream (lib/delta.h), and we carry them out.
 *
 * By overlayfs itself: a staging directory beside the upper directory gets a copy of
 * it (new directories, hard links to its files), which is mounted over the engine's
 * lower layers, with the engine's options. Carried out through that mount, a removal
 * becomes a whiteout exactly where a lower layer has the name, a replaced directory
 * becomes opaque, and overlayfs's own attributes are written by the kernel and by
 * nobody else. Files are never changed in place, since the old state shares them: they
 * are removed and made anew. Stages:
 *   1. new:    look at the mount, refuse by name what cannot be exchanged. Nothing is
 *              made. The caller writes the staging directory down in its journal.
 *   2. stage:  the directory, the copy, the mount, which is at once detached: only our
 *              descriptor holds it, and it is gone with us.
 *   3. apply:  the stream (storage/writeback-apply.c).
 *   4. commit: unmount, sync, one renameat2(RENAME_EXCHANGE) of copy and upper directory.
 *   5. remove the staging directory, which holds the old state now.
 * Until 4 the old state is in place, from then on the new one; undo removes the staging
 * directory and is right in both cases.
 *
 * The engine's own mount may be there still, and sees the old directory until it is
 * unmounted; engines do that before they look or mount again, and one that is not theirs
 * is made anew (storage/writeback-mount.c). When nothing has changed, nothing is exchanged. Mounts with an index
 * (index=on, nfs_export=on) remember the upper directory by its inode and would not
 * come up again with another one: refused.
 *
 * Sources: Linux Documentation/filesystems/overlayfs.rst ("Changes to underlying
 * filesystems", "Whiteouts and opaque directories", "index"); renameat2(2).
 */
#include "storage/writeback.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/journal.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "storage/source.h"

/* What mount(2) takes is a page. */
#define OPTIONS_BYTES 4096

#define PARAMETERS "/sys/module/overlay/parameters/"

/* Options that say how layers are read, and are the same in our mount. */
static const char *const kept_options[] = { "redirect_dir=", "metacopy=", "xino=", "userxattr",
					   "uuid="};

/**
 * struct writeback - the way back of one container
 * @source:  its root file system, with open layers, owned
 * @options: of kept_options, each with a comma in front; owned
 * @dir:     path of the directory that holds the upper directory, owned
 * @parent:  that directory, owned
 * @base:    name of the upper directory in it, part of @path
 * @path:    of the upper directory, owned
 * @name:    of the staging directory
 * @stage:   the staging directory, owned
 * @made:    it may exist
 * @again:   the engine's mount
 */
struct writeback {
	struct source *source;
	struct strbuf options;
	char *dir, *path;
	const char *base;
	int parent;
	char name[WRITEBACK_NAME_BYTES];
	int stage;
	bool made;
	struct remount again;
};

static int make_name(char *dst, size_t room, struct err *e)
{
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return err_sys(e, "getrandom");
	snprintf(dst, room, WRITEBACK_PREFIX "%016llx", (unsigned long long)r);
	return 0;
}

/* Whether a switch of overlayfs is on where the mount's options do not name it. */
static bool on_by_default(const char *name)
{
	_cleanup_free_ char *text = NULL;
	char path[100];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	return file_read(AT_FDCWD, path, 16, &text, NULL, NULL) >= 0 && text[0] == 'Y';
}

static int refuse_index(const char *name, const char *value, struct err *e)
{
	if (value ? strcmp(value, "on") : !on_by_default(name))
		return 0;
	return err_set(e, EOPNOTSUPP,
		       "the overlay is mounted with %s=on, which ties it to this very upper "
		       "directory: mount it with %s=off",
		       name, name);
}

static int read_options(struct writeback *w, struct err *e)
{
	_cleanup_free_ char *super = strdup(w->source->super);
	const char *index = NULL, *nfs = NULL;
	char *save = NULL, *o;
	size_t i;

	if (!super)
		return err_set(e, ENOMEM, "out of memory");
	for (o = strtok_r(super, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		if (str_starts(o, "index="))
			index = o + strlen("index=");
		if (str_starts(o, "nfs_export="))
			nfs = o + strlen("nfs_export=");
		for (i = 0; i < ARRAY_LEN(kept_options); i++)
			if (str_starts(o, kept_options[i]))
				strbuf_add(&w->options, ",%s", o);
	}
	if (w->options.failed)
		return err_set(e, ENOMEM, "out of memory");
	if (refuse_index("index", index, e) < 0)
		return -EOPNOTSUPP;
	return refuse_index("nfs_export", nfs, e);
}

/* The upper directory by its path, which must lead to the layer that is mounted. */
static int same_upper(const struct writeback *w)
{
	struct stat a, b;

	if (fstat(w->source->overlay->layer[0].fd, &a) < 0 ||
	    fstatat(w->parent, w->base, &b, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino && S_ISDIR(b.st_mode) ? 0 : -ESTALE;
}

static int find_parent(struct writeback *w, struct err *e)
{
	char path[PATH_MAX], *slash;
	struct stat up, dir;
	struct statx sx;

	if (fd_name(w->source->overlay->layer[0].fd, path, sizeof(path)) < 0)
		return err_sys(e, "upper directory");
	slash = strrchr(path, '/');
	if (!slash || !slash[1])
		return err_set(e, EINVAL, "upper directory: has no parent");
	w->path = strdup(path);
	if (slash == path)
		slash++;
	*slash = 0;
	w->dir = strdup(path);
	if (!w->path || !w->dir)
		return err_set(e, ENOMEM, "out of memory");
	w->base = strrchr(w->path, '/') + 1;
	w->parent = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->parent < 0)
		return err_sys(e, "directory of the upper directory");
	if (same_upper(w) < 0)
		return err_set(
			e, ESTALE,
			"upper directory: is not where its path leads: it was moved or replaced");
	if (fstat(w->source->overlay->layer[0].fd, &up) < 0 || fstat(w->parent, &dir) < 0 ||
	    statx(w->parent, w->base, AT_SYMLINK_NOFOLLOW, 0, &sx) < 0)
		return err_sys(e, "upper directory");
	if (up.st_dev != dir.st_dev || (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return err_set(e, EXDEV,
			       "upper directory: is a mount of its own or a volume of its own; it "
			       "cannot be exchanged for another directory");
	return 0;
}

static int look(struct writeback *w, const char *rootfs, struct err *e)
{
	int rc = source_probe(rootfs, &w->source, e);

	if (rc < 0)
		return rc;
	if (w->source->kind != SOURCE_OVERLAY || !w->source->overlay->has_upper)
		return err_set(e, EOPNOTSUPP,
			       "the root file system is no overlay with an upper directory");
	remount_look(w->source, &w->again);
	rc = read_options(w, e);
	if (rc >= 0)
		rc = find_parent(w, e);
	return rc < 0 ? rc : make_name(w->name, sizeof(w->name), e);
}

/**
 * writeback_new() - decide whether changes can come back; nothing is made
 * @rootfs: mount point of the engine's overlay
 * @ret:    owned by the caller, writeback_free(); untouched on failure
 *
 * Return: 0; -EOPNOTSUPP, -EXDEV, -ESTALE: refused, with the reason; minus errno
 */
int writeback_new(const char *rootfs, struct writeback **ret, struct err *e)
{
	struct writeback *w = mem_new(struct writeback);
	int rc;

	if (!w)
		return err_set(e, ENOMEM, "out of memory");
	w->parent = w->stage = -1;
	rc = look(w, rootfs, e);
	if (rc < 0) {
		writeback_free(w);
		return rc;
	}
	*ret = w;
	return 0;
}

/**
 * writeback_dir() - path of the directory that the staging directory is made in
 */
const char *writeback_dir(const struct writeback *w)
{
	return w->dir;
}

/**
 * writeback_name() - name of the staging directory; the journal's record is
 * "writeback", writeback_dir(), writeback_name()
 */
const char *writeback_name(const struct writeback *w)
{
	return w->name;
}

static int make_stage(struct writeback *w, struct err *e)
{
	if (mkdirat(w->parent, w->name, 0700) < 0)
		return err_sys(e, "staging directory");
	w->made = true;
	w->stage = openat(w->parent, w->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (w->stage < 0 || mkdirat(w->stage, WRITEBACK_NEW, 0700) < 0 ||
	    mkdirat(w->stage, WRITEBACK_WORK, 0700) < 0 ||
	    mkdirat(w->stage, WRITEBACK_MERGED, 0700) < 0)
		return err_sys(e, "staging directory");
	return 0;
}

static int copy_upper(const struct writeback *w, struct err *e)
{
	_cleanup_close_ int from = -1, to = -1;

	from = openat(w->source->overlay->layer[0].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = openat(w->stage, WRITEBACK_NEW, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || to < 0)
		return err_sys(e, "upper directory");
	return upper_copy(from, to, e);
}

/* Layers by descriptor: no path of theirs is looked up again, and none needs escapes. */
static int mount_options(const struct writeback *w, char *dst, size_t room, struct err *e)
{
	const struct overlay *o = w->source->overlay;
	struct strbuf b = { 0 };
	size_t i;

	for (i = 1; i < o->n_layers; i++)
		strbuf_add(&b, "%s/proc/self/fd/%d",
			   i == 1 ? "lowerdir=" : i >= o->n_layers - o->n_data ? "::" : ":",
			   o->layer[i].fd);
	strbuf_add(&b,
		   ",upperdir=/proc/self/fd/%d/" WRITEBACK_NEW
		   ",workdir=/proc/self/fd/%d/" WRITEBACK_WORK "%s",
		   w->stage, w->stage, w->options.text ? w->options.text : "");
	if (b.failed || str_copy(dst, room, b.text) < 0) {
		strbuf_done(&b);
		return err_set(
			e, E2BIG,
			"%zu layers are more than one mount call takes: squash the image's layers",
			o->n_layers - 1);
	}
	strbuf_done(&b);
	return 0;
}

/* Return: the merged root, held by nothing but this descriptor; or minus errno. */
static int mount_stage(const struct writeback *w, struct err *e)
{
	_cleanup_close_ int root = -1;
	char options[OPTIONS_BYTES], point[80];
	int rc = mount_options(w, options, sizeof(options), e);

	if (rc < 0)
		return rc;
	snprintf(point, sizeof(point), "/proc/self/fd/%d/" WRITEBACK_MERGED, w->stage);
	if (mount("overlay", point, "overlay", MS_NODEV | MS_NOSUID | MS_NOEXEC, options) < 0)
		return err_sys(e, "staging directory: mount overlay");
	root = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		err_sys(e, "staging directory");
	if (umount2(point, MNT_DETACH) < 0)
		return err_sys(e, "staging directory: detach");
	return root < 0 ? -e->code : fd_steal(&root);
}

static int exchange(const struct writeback *w)
{
	return renameat2(w->stage, WRITEBACK_NEW, w->parent, w->base, RENAME_EXCHANGE);
}

/* What must be on disk is there when this succeeds; when it fails, the old state is. */
static int commit(const struct writeback *w, struct err *e)
{
	int rc = same_upper(w);

	if (rc < 0)
		return err_set(e, -rc, "upper directory: was moved or replaced meanwhile");
	if (syncfs(w->stage) < 0)
		return err_sys(e, "upper directory: sync");
	if (exchange(w) < 0)
		return err_sys(e, "upper directory: exchange");
	/* The old state goes with the staging directory, which must not come before. */
	if (fsync(w->stage) >= 0 && fsync(w->parent) >= 0)
		return 0;
	rc = err_sys(e, "upper directory: sync of the exchange");
	exchange(w);
	return rc;
}

/* Device nodes are made only where nobody can open them by this path. */
static bool nodev(const struct writeback *w)
{
	struct statvfs v;

	return !fstatvfs(w->parent, &v) && (v.f_flag & ST_NODEV);
}

/* Return: 0; -ETIMEDOUT when no time is left of what all of it may take. */
static int time_left(uint64_t start_ms, uint64_t *ms_max, struct err *e)
{
	uint64_t took = clock_ms() - start_ms;

	if (!*ms_max)
		return 0;
	if (took >= *ms_max)
		return err_set(e, ETIMEDOUT, "the changes take longer than they may");
	*ms_max -= took;
	return 0;
}

static int stage_and_apply(struct writeback *w, int stream, const struct writeback_config *config,
			   struct writeback_stats *ret, struct err *e)
{
	struct writeback_config c = *config;
	uint64_t start = clock_ms();
	_cleanup_close_ int root = -1;
	int rc = make_stage(w, e);

	if (rc >= 0)
		rc = copy_upper(w, e);
	if (rc < 0)
		return rc;
	root = mount_stage(w, e);
	if (root < 0)
		return root;
	c.devices = c.devices && nodev(w);
	rc = time_left(start, &c.ms_max, e);
	return rc < 0 ? rc : delta_apply(root, stream, &c, ret, e);
}

/**
 * writeback_clean() - remove the staging directory, which holds the old state after a
 * commit; may be repeated
 *
 * Return: 0: nothing is left for writeback_undo(); minus errno
 */
int writeback_clean(struct writeback *w, struct err *e)
{
	int rc = w->made ? dir_remove(w->parent, w->name, e) : 0;

	fd_close(&w->stage);
	w->made = rc < 0;
	return rc;
}

/* The changes are back in any case. */
static void mount_again(struct writeback *w)
{
	struct err why;
	char shown[256];

	fd_close(&w->source->fd);
	if (remount(&w->again, &why) >= 0)
		return;
	str_quote(shown, sizeof(shown), w->again.point);
	log_warn("the overlay at %s is not mounted any more: %s", shown, why.text);
}

/**
 * writeback_run() - carry the changes out, and exchange the upper directory
 * @stream: connection that brings the delta, borrowed; blocking or not. Whoever
 *          wants to give up shuts it down
 * @ret:    what has come back; set on success
 *
 * Return: 0: the new state is in place; minus errno: the old one is. The staging
 * directory has gone in both cases, or stays for writeback_undo()
 * Context: any one thread; blocks for file systems, and for the guest in a bounded way
 */
int writeback_run(struct writeback *w, int stream, const struct writeback_config *config,
		  struct writeback_stats *ret, struct err *e)
{
	struct writeback_stats s = { 0 };
	struct err ignored;
	int rc = stage_and_apply(w, stream, config, &s, e);

	/* A mount that is still there goes on as it is when nothing has changed. */
	if (rc >= 0 && s.changed)
		rc = commit(w, e);
	if (rc >= 0 && s.changed)
		mount_again(w);
	/* The old state that cannot be removed now is removed by the next command. */
	writeback_clean(w, &ignored);
	if (rc >= 0)
		*ret = s;
	return rc;
}

/**
 * writeback_free() - close all; NULL is fine
 */
void writeback_free(struct writeback *w)
{
	if (!w)
		return;
	writeback_clean(w, NULL);
	remount_done(&w->again);
	source_free(w->source);
	strbuf_done(&w->options);
	fd_close(&w->parent);
	free(w->dir);
	free(w->path);
	free(w);
}

static bool is_stage_name(const char *name)
{
	size_t stem = strlen(WRITEBACK_PREFIX);

	return str_starts(name, WRITEBACK_PREFIX) && strlen(name) == stem + 16 &&
	       strspn(name + stem, "0123456789abcdef") == 16;
}

/**
 * writeback_undo() - undo one "writeback" record of a journal
 *
 * Return: 0, also when nothing is there; minus errno
 */
int writeback_undo(const struct journal_rec *r, struct err *e)
{
	_cleanup_close_ int dir = -1, stage = -1;
	char point[80];

	if (r->n != 3 || !is_stage_name(r->word[2]))
		return err_set(e, EINVAL, "journal: damaged writeback record");
	dir = open(r->word[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (dir < 0)
		return err_sys(e, "%s", r->word[1]);
	stage = openat(dir, r->word[2], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (stage >= 0) {
		/* Killed between mount and detach. */
		snprintf(point, sizeof(point), "/proc/self/fd/%d/" WRITEBACK_MERGED, stage);
		umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	return dir_remove(dir, r->word[2], e);
}
