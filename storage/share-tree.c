// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The trees of a share. Each is a clone (open_tree(2)) of a directory or regular file of
 * the host, a mount of our own which nobody else sees and which
 *
 * - ends at the directory: there is no way up from it, whatever is asked;
 * - has none of the mounts that lie below it on the host, so that names lead to what
 *   the directory's own file system has there (as with mount --bind), or, for a
 *   recursive one, those that lay there when it was made, and no later ones;
 * - is nodev, nosuid, noexec, follows no symbolic links, and is read-only for a
 *   read-only tree: the kernel refuses what a mistake of ours would let through.
 *
 * What shows the host's kernel and not files (proc, sysfs, cgroups, …) is no tree, and is
 * not entered in a recursive one.
 *
 * A set's root is a tmpfs that is mounted nowhere, and read-only but for the moment in
 * which we make or remove a name. It holds an empty directory or file for each tree, so that it can
 * be listed by anybody who has it open; a look-up of a name in it leads to the tree. Numbers are
 * never used again.
 *
 * States of a tree of a set: added, until share_remove(); gone, while nodes in calls
 * still hold it; freed.
 *
 * Sources: open_tree(2), mount_setattr(2), fsopen(2), open_by_handle_at(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/share.h"

#define XFS_MAGIC 0x58465342
#define F2FS_MAGIC 0xf2f52010

#ifndef CONFIGFS_MAGIC
#define CONFIGFS_MAGIC 0x62656570
#endif
#define FUSECTL_MAGIC 0x65735543
#define MQUEUE_MAGIC 0x19800202

/* Room for a number as a name. */
#define NUMBER_BYTES 12

/**
 * tree_shows() - whether a file system has files that are a guest's business
 * @fd: any descriptor of a file on it
 */
bool tree_shows(int fd)
{
	static const uint32_t kernel[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC,	  CGROUP_SUPER_MAGIC,	CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC,	  TRACEFS_MAGIC,  SECURITYFS_MAGIC,	BPF_FS_MAGIC,
		PSTOREFS_MAGIC,	  EFIVARFS_MAGIC, DEVPTS_SUPER_MAGIC,	CONFIGFS_MAGIC,
		SELINUX_MAGIC,	  FUSECTL_MAGIC,  MQUEUE_MAGIC,		NSFS_MAGIC,
		SOCKFS_MAGIC,	  BINFMTFS_MAGIC, RDTGROUP_SUPER_MAGIC,
	};
	struct statfs f;
	size_t i;

	if (fstatfs(fd, &f) < 0)
		return false;
	for (i = 0; i < ARRAY_LEN(kernel); i++)
		if ((uint32_t)f.f_type == kernel[i])
			return false;
	return true;
}

/* Whether handles name files for as long as these exist, and we can open them. */
static bool lasting_handles(int root)
{
	union {
		struct file_handle h;
		uint8_t room[sizeof(struct file_handle) + SHARE_HANDLE_BYTES];
	} u = { .h.handle_bytes = SHARE_HANDLE_BYTES };
	_cleanup_close_ int fd = -1;
	struct statfs f;
	int mount;

	if (root < 0 || fstatfs(root, &f) < 0)
		return false;
	switch ((uint32_t)f.f_type) {
	case EXT4_SUPER_MAGIC:
	case XFS_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case F2FS_MAGIC:
	case TMPFS_MAGIC:
		break;
	default:
		return false;
	}
	if (name_to_handle_at(root, "", &u.h, &mount, AT_EMPTY_PATH) < 0)
		return false;
	fd = open_by_handle_at(root, &u.h, O_PATH | O_CLOEXEC);
	return fd >= 0;
}

static int restrict_mount(const struct share_tree *t, struct err *e)
{
	/* Private: what the host mounts or unmounts later is none of its business. */
	struct mount_attr a = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					    MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW,
				.propagation = MS_PRIVATE };
	unsigned int deep = t->recursive ? AT_RECURSIVE : 0;

	if (t->readonly)
		a.attr_set |= MOUNT_ATTR_RDONLY;
	if (mount_setattr(t->mount, "", AT_EMPTY_PATH | deep, &a, sizeof(a)) < 0)
		return err_sys(e, "share: restrict the mount");
	return 0;
}

static int clone_mount(struct share_tree *t, int fd, struct err *e)
{
	unsigned int deep = t->recursive ? AT_RECURSIVE : 0;

	t->mount = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | deep);
	return t->mount < 0 ? err_sys(e, "share: clone the mount") : 0;
}

static int open_root(struct share_tree *t, struct err *e)
{
	struct statx sx;

	if (statx(t->mount, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, &sx) < 0)
		return err_sys(e, "share: statx");
	if (!(sx.stx_mask & STATX_MNT_ID))
		return err_set(e, EOPNOTSUPP, "share: statx tells no mount id: needs Linux 5.8");
	t->mount_id = sx.stx_mnt_id;
	if (S_ISREG(sx.stx_mode))
		return 0;
	t->root = openat(t->mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->root < 0 ? err_sys(e, "share: open the directory") : 0;
}

/* Clones @fd, or takes over the mount that nobody else has. */
static int make(int fd, int mount, struct share_tree init, struct share_tree **ret, struct err *e)
{
	struct share_tree *t = mem_new(struct share_tree);
	int rc;

	if (!t) {
		fd_close(&mount);
		return err_set(e, ENOMEM, "out of memory");
	}
	*t = init;
	t->mount = mount;
	t->root = -1;
	t->refs = 1;
	rc = mount < 0 ? clone_mount(t, fd, e) : 0;
	if (rc >= 0)
		rc = restrict_mount(t, e);
	if (rc >= 0)
		rc = open_root(t, e);
	if (rc < 0) {
		tree_free(t);
		return rc;
	}
	t->handles = lasting_handles(t->root);
	*ret = t;
	return 0;
}

/**
 * tree_new() - clone a directory or regular file
 * @fd:  any descriptor of it, borrowed; not needed afterwards
 * @ret: with one reference, tree_free()
 *
 * Return: 0; -EPERM without CAP_SYS_ADMIN; minus errno
 */
int tree_new(int fd, bool readonly, bool recursive, struct share_tree **ret, struct err *e)
{
	struct share_tree init = { .readonly = readonly, .recursive = recursive };

	return make(fd, -1, init, ret, e);
}

/**
 * tree_free() - close a tree that nobody uses; NULL is fine
 */
void tree_free(struct share_tree *t)
{
	if (!t)
		return;
	fd_close(&t->root);
	fd_close(&t->mount);
	free(t);
}

/**
 * tree_top() - make the root of a set
 *
 * Return: 0 or minus errno; share_free() is fine in both cases
 */
int tree_top(struct share *s, struct err *e)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int mount;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", "4k", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "8192", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(e, "share: tmpfs for its root");
	mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mount < 0)
		return err_sys(e, "share: mount its root");
	s->is_set = true;
	return make(-1, mount, (struct share_tree){ .readonly = true }, &s->top, e);
}

static struct share_tree *find(const struct share *s, uint32_t number)
{
	struct share_tree *t;

	for (t = s->trees; t && t->number != number; t = t->next)
		;
	return t;
}

/**
 * tree_lookup() - a tree's root by its name in the set's root; counted once
 *
 * Return: 0; -ENOENT; as node_found()
 */
int tree_lookup(struct share *s, const char *name, struct share_entry *ret)
{
	struct share_tree *t = NULL;
	uint64_t number;
	int fd, rc;

	if (*name == '0' || parse_u64(name, &number) < 0 || number > UINT32_MAX)
		return -ENOENT;
	pthread_mutex_lock(&s->lock);
	t = find(s, (uint32_t)number);
	if (t)
		t->refs++;
	pthread_mutex_unlock(&s->lock);
	if (!t)
		return -ENOENT;
	fd = fcntl(t->mount, F_DUPFD_CLOEXEC, 0);
	rc = fd < 0 ? -errno : node_found(s, t, fd, ret);
	pthread_mutex_lock(&s->lock);
	t = tree_unref(t);
	pthread_mutex_unlock(&s->lock);
	tree_free(t);
	return rc;
}

/* The tree behind @at in the list, or the first one, held; NULL behind the last. */
static struct share_tree *next_of(struct share *s, struct share_tree *at)
{
	struct share_tree *t, *end;

	pthread_mutex_lock(&s->lock);
	/* One that was removed meanwhile has no place in the list: those behind it had lower
	 * numbers. */
	for (t = s->trees; t && at && t->number >= at->number; t = t->next)
		;
	if (t)
		t->refs++;
	end = at ? tree_unref(at) : NULL;
	pthread_mutex_unlock(&s->lock);
	tree_free(end);
	return t;
}

static int sync_tree(const struct share_tree *t, uint64_t *last_dev)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (t->readonly || fstat(t->mount, &st) < 0 || st.st_dev == *last_dev)
		return 0;
	*last_dev = st.st_dev;
	if (t->root >= 0)
		return syncfs(t->root) < 0 ? -errno : 0;
	fd = open(fd_path(t->mount).s, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}

/**
 * trees_sync() - write out the file systems that the trees' roots are on
 *
 * Return: 0 or the first failure
 */
int trees_sync(struct share *s)
{
	uint64_t last_dev = UINT64_MAX;
	struct share_tree *t;
	int rc = sync_tree(s->top, &last_dev), one;

	for (t = next_of(s, NULL); t; t = next_of(s, t)) {
		one = sync_tree(t, &last_dev);
		rc = rc < 0 ? rc : one;
	}
	return rc;
}

static int check_kind(int fd, mode_t *ret_mode, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "share");
	*ret_mode = st.st_mode;
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "share: neither a directory nor a regular file");
	if (!tree_shows(fd))
		return err_set(e, EACCES, "share: shows the host's kernel, not files");
	return 0;
}

/* Whether the set's root can be written: for the moment in which a name is made. */
static int set_writable(const struct share *s, bool yes)
{
	struct mount_attr a = { 0 };

	*(yes ? &a.attr_clr : &a.attr_set) = MOUNT_ATTR_RDONLY;
	return mount_setattr(s->top->mount, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0 ? -errno : 0;
}

/* The name that the set's root is listed with. */
static int make_name(struct share *s, uint32_t number, mode_t mode, struct err *e)
{
	char name[NUMBER_BYTES];
	int rc = set_writable(s, true);

	snprintf(name, sizeof(name), "%u", number);
	if (rc >= 0)
		rc = S_ISDIR(mode) ? mkdirat(s->top->root, name, 0755)
				   : mknodat(s->top->root, name, S_IFREG | 0644, 0);
	if (rc < 0)
		err_sys(e, "share: tree %u", number);
	set_writable(s, false);
	return rc < 0 ? -e->code : 0;
}

static void remove_name(struct share *s, uint32_t number)
{
	char name[NUMBER_BYTES];

	snprintf(name, sizeof(name), "%u", number);
	set_writable(s, true);
	if (unlinkat(s->top->root, name, AT_REMOVEDIR) < 0)
		unlinkat(s->top->root, name, 0);
	set_writable(s, false);
}

/**
 * share_add() - add a tree to a set
 * @s:          from share_new_set()
 * @fd:         any descriptor of a directory or regular file, borrowed
 * @flags:      SHARE_READONLY, SHARE_RECURSIVE
 * @ret_number: its name in the share's root, as a decimal number
 *
 * Return: 0; -EINVAL for another kind of file; -EACCES for a file system that shows
 * the host's kernel; -ENOSPC; minus errno
 * Context: one thread adds and removes; calls may be under way
 */
int share_add(struct share *s, int fd, unsigned int flags, uint32_t *ret_number, struct err *e)
{
	struct share_tree *t;
	mode_t mode;
	int rc = check_kind(fd, &mode, e);

	if (rc < 0)
		return rc;
	if (s->n_trees >= SHARE_TREES_MAX || s->last_number == UINT32_MAX)
		return err_set(e, ENOSPC, "share: has %u trees, the most there can be", s->n_trees);
	rc = tree_new(fd, flags & SHARE_READONLY, flags & SHARE_RECURSIVE, &t, e);
	if (rc < 0)
		return rc;
	t->number = s->last_number + 1;
	rc = make_name(s, t->number, mode, e);
	if (rc < 0) {
		tree_free(t);
		return rc;
	}
	s->last_number = *ret_number = t->number;
	pthread_mutex_lock(&s->lock);
	t->next = s->trees;
	s->trees = t;
	s->n_trees++;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/**
 * share_remove() - take a tree away; a number that is not there is fine
 *
 * Its nodes are unknown from now on. What the monitor has open of it stays open until
 * the monitor closes it.
 * Context: as share_add(); does not wait for calls
 */
void share_remove(struct share *s, uint32_t number)
{
	struct share_tree **at, *t = NULL;

	pthread_mutex_lock(&s->lock);
	for (at = &s->trees; *at; at = &(*at)->next) {
		if ((*at)->number != number)
			continue;
		t = *at;
		*at = t->next;
		s->n_trees--;
		t->gone = true;
		nodes_forget_tree(s, t);
		t = tree_unref(t);
		remove_name(s, number);
		break;
	}
	pthread_mutex_unlock(&s->lock);
	tree_free(t);
}
