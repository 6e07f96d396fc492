// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The layers of an overlay mount are known only by its options. The kernel
 * shows each option's value with commas, blanks and backslashes in octal, so
 * options are split at commas first and decoded afterwards. What is left is the
 * text that the engine gave to mount: in lowerdir, upperdir and workdir a
 * backslash protects the next character, and lowerdir is split at colons that
 * are not protected, where two colons begin a data-only layer; lowerdir+ and
 * datadir+ are one path as it is. Values of security labels are quoted instead.
 *
 * What the kernel does by its module's parameters is not among the options that
 * it shows; overlay_open() asks for them.
 *
 * An option that is unknown here may change how layers are merged, and is
 * therefore refused; so are hard links that index=on has copied up, because then
 * names in the lower layers show what is in the upper one. Engines mount with relative layers to keep the options
 * short (podman from its graph root, containerd from the common parent), and
 * the kernel does not tell relative to what. Every directory above the mount
 * point, the upper and the work directory is tried: it must hold all relative
 * layers, and all that do must mean the same directories. That the layers are
 * the right ones is checked again on the merged root (layers_verify()).
 *
 * Source: linux Documentation/filesystems/overlayfs.rst; fs/overlayfs/params.c
 */
#include "storage/overlay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/mountinfo.h"

/* Options without influence on what the merged tree looks like. */
static const char *const harmless[] = {
	"ro", "rw", "default_permissions", "uuid", "xino", "volatile", "override_creds",
	"nooverride_creds", "seclabel", "context", "fscontext", "defcontext",
	"rootcontext", "sync", "dirsync", "lazytime", "mand", "fsync",
};

static const char *const labels[] = { "context", "fscontext", "defcontext",
				      "rootcontext" };

static bool listed(const char *key, const char *const *list, size_t n)
{
	while (n)
		if (!strcmp(key, list[--n]))
			return true;
	return false;
}

/* Removes the backslash before each protected character, in place. */
static void unprotect(char *s)
{
	char *d = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1])
			s++;
		*d++ = *s;
	}
	*d = 0;
}

static int add_layer(struct overlay *o, const char *path, struct err *e)
{
	struct overlay_layer *l = &o->layer[o->n_layers];

	if (!*path)
		return err_set(e, EINVAL, "overlay: a lower directory has an empty name");
	if (o->n_layers == OVERLAY_LAYERS_MAX)
		return err_set(e, E2BIG, "overlay: more than %d layers",
			       OVERLAY_LAYERS_MAX - 1);
	l->path = strdup(path);
	if (!l->path)
		return err_set(e, ENOMEM, "out of memory");
	l->fd = -1;
	o->n_layers++;
	return 0;
}

static int add_lower(struct overlay *o, const char *path, bool data, struct err *e)
{
	int rc;

	if (!data && o->n_data)
		return err_set(e, EINVAL, "overlay: a layer follows a data-only layer in the mount options");
	rc = add_layer(o, path, e);
	if (!rc && data)
		o->n_data++;
	return rc;
}

static int add_lowers(struct overlay *o, char *list, struct err *e)
{
	bool data = false;
	char *s = list;
	int rc;

	for (;;) {
		bool last, next_data;

		while (*s && *s != ':')
			s += s[0] == '\\' && s[1] ? 2 : 1;
		last = !*s;
		next_data = !last && s[1] == ':';
		*s = 0;
		unprotect(list);
		rc = add_lower(o, list, data, e);
		if (rc < 0 || last)
			return rc;
		s += next_data ? 2 : 1;
		list = s;
		data = next_data;
	}
}

/* @on and others turn it on, @off and others off; "" ends a list. */
static int set_choice(enum overlay_choice *c, const char *key, const char *value,
		      const char *const *on, const char *const *off, struct err *e)
{
	char shown[80];

	for (; value && **on; on++)
		if (!strcmp(value, *on))
			*c = OVERLAY_ON;
	for (; value && **off; off++)
		if (!strcmp(value, *off))
			*c = OVERLAY_OFF;
	if (value && *c != OVERLAY_DEFAULT)
		return 0;
	str_quote(shown, sizeof(shown), value ? value : "");
	return err_set(e, EOPNOTSUPP, "overlay: mount option %s has the value %s, which is not supported yet: mount without it",
		       key, shown);
}

/* Options that say how layers are merged. Return: 1 if it is none of them. */
static int set_mode(struct overlay *o, const char *key, const char *value, struct err *e)
{
	static const char *const on[] = { "on", "" }, *const off[] = { "off", "" };
	static const char *const follow[] = { "on", "follow", "" }, *const nofollow[] = { "nofollow", "" };
	enum overlay_choice ignored = OVERLAY_DEFAULT;

	if (!strcmp(key, "metacopy"))
		return set_choice(&o->metacopy, key, value, on, off, e);
	if (!strcmp(key, "index"))
		return set_choice(&o->index, key, value, on, off, e);
	if (!strcmp(key, "nfs_export"))
		return set_choice(&ignored, key, value, on, off, e);
	if (!strcmp(key, "redirect_dir")) {
		/* "off" makes no new ones; whether it follows is the host's choice. */
		if (value && !strcmp(value, "off"))
			return 0;
		return set_choice(&o->follow, key, value, follow, nofollow, e);
	}
	if (!strcmp(key, "verity") && value && strcmp(value, "off"))
		return err_set(e, EOPNOTSUPP, "overlay: mount option verity=%s is not supported yet: the guest would read files that were not verified: mount with verity=off",
			       strcmp(value, "require") ? "on" : "require");
	return strcmp(key, "verity") ? 1 : 0;
}

static int set_option(struct overlay *o, const char *key, char *value,
		      char **upper, struct err *e)
{
	char shown[80];
	int rc = 0;

	if (!strcmp(key, "userxattr")) {
		o->userxattr = true;
	} else if (!strcmp(key, "lowerdir") && value) {
		return add_lowers(o, value, e);
	} else if (!strcmp(key, "lowerdir+") && value) {
		return add_lower(o, value, false, e);
	} else if (!strcmp(key, "datadir+") && value) {
		return add_lower(o, value, true, e);
	} else if (!strcmp(key, "upperdir") && value && !*upper) {
		unprotect(value);
		*upper = value;
	} else if (!strcmp(key, "workdir") && value && !o->work) {
		unprotect(value);
		o->work = strdup(value);
		if (!o->work)
			return err_set(e, ENOMEM, "out of memory");
	} else {
		rc = set_mode(o, key, value, e);
	}
	if (rc == 1 && !listed(key, harmless, ARRAY_LEN(harmless))) {
		str_quote(shown, sizeof(shown), key);
		return err_set(e, EOPNOTSUPP, "overlay: mount option %s is not supported yet: mount without it", shown);
	}
	return rc < 0 ? rc : 0;
}

/* Cuts the next option off; only labels are quoted, and only they may hold commas. */
static char *next_option(char **rest, char **ret_value)
{
	char *s = *rest, *v = s + strcspn(s, ",="), *end;

	*ret_value = NULL;
	end = v;
	if (*v == '=') {
		*v++ = 0;
		end = v;
		if (*v == '"' && listed(s, labels, ARRAY_LEN(labels)) && strchr(v + 1, '"'))
			end = strchr(v + 1, '"') + 1;
		*ret_value = v;
	}
	end += strcspn(end, ",");
	*rest = *end ? end + 1 : NULL;
	*end = 0;
	return s;
}

/**
 * overlay_parse() - the stack of an overlay mount
 * @super: file system options of its mountinfo line, encoded
 * @ret:   owned by the caller, overlay_free(); untouched on failure
 *
 * Return: 0; -EOPNOTSUPP for an option that we do not honour; -EINVAL; -E2BIG;
 * -ENOMEM
 */
int overlay_parse(const char *super, struct overlay **ret, struct err *e)
{
	_cleanup_free_ char *text = strdup(super);
	struct overlay *o = mem_new(struct overlay);
	char *rest = text, *upper = NULL, *value;
	int rc = 0;

	if (!text || !o)
		rc = err_set(e, ENOMEM, "out of memory");
	while (!rc && rest) {
		char *key = next_option(&rest, &value);

		if (mountinfo_decode(key) < 0 || (value && mountinfo_decode(value) < 0))
			rc = err_set(e, EINVAL, "overlay: malformed mount options");
		else if (*key)
			rc = set_option(o, key, value, &upper, e);
	}
	if (!rc && o->n_layers == o->n_data)
		rc = err_set(e, EINVAL, "overlay: no lower directory in the mount options");
	if (!rc && !upper != !o->work)
		rc = err_set(e, EINVAL, "overlay: upperdir and workdir must come together");
	if (!rc && upper) {
		rc = add_layer(o, upper, e);
		if (!rc) {
			struct overlay_layer top = o->layer[o->n_layers - 1];

			memmove(o->layer + 1, o->layer,
				(o->n_layers - 1) * sizeof(o->layer[0]));
			o->layer[0] = top;
			o->has_upper = true;
		}
	}
	if (rc) {
		overlay_free(o);
		return rc;
	}
	*ret = o;
	return 0;
}

/* A parameter of the kernel's module; @otherwise where it has none. */
static bool parameter(const char *name, bool otherwise)
{
	_cleanup_free_ char *text = NULL;
	char path[100];

	snprintf(path, sizeof(path), "/sys/module/overlay/parameters/%s", name);
	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return otherwise;
	return *text == 'Y' || *text == '1';
}

static enum overlay_choice choose(enum overlay_choice c, bool on)
{
	if (c != OVERLAY_DEFAULT)
		return c;
	return on ? OVERLAY_ON : OVERLAY_OFF;
}

/* What the mount took from the host. The kernel shows what differs from it. */
static void settle(struct overlay *o)
{
	bool own = !o->userxattr;

	o->metacopy = choose(o->metacopy, own && parameter("metacopy", false));
	o->follow = choose(o->follow, own && (parameter("redirect_dir", false) ||
					      parameter("redirect_always_follow", true)));
	o->index = choose(o->index, parameter("index", false));
}

/*
 * With index=on, a file of several names that was copied up has its new content in
 * the index, and all its names in lower layers show that.
 */
static int check_index(const struct overlay *o, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct dirent *d;
	struct stat st;
	DIR *dir;
	int rc = 0;

	if (o->index != OVERLAY_ON || !o->work)
		return 0;
	if (o->work[0] != '/' ||
	    snprintf(path, sizeof(path), "%s/index", o->work) >= (int)sizeof(path))
		return err_set(e, EOPNOTSUPP, "overlay: with index=on the work directory must be found: mount with index=off, or an absolute workdir");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return errno == ENOENT ? 0 : err_sys(e, "overlay: the index");
	fd_steal(&fd);
	while (!rc && (d = readdir(dir)))
		if (!fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    !S_ISDIR(st.st_mode) && !(S_ISCHR(st.st_mode) && !st.st_rdev))
			rc = err_set(e, EOPNOTSUPP, "overlay: with index=on a file of several names was changed, which is not supported yet: mount with index=off");
	closedir(dir);
	return rc;
}

static int open_layer(int base, const char *path)
{
	return openat(base, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool same_dir(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/*
 * Opens all relative layers below @base. Return: 1 when they are the first or the
 * same as before, 0 when one is missing, -ENOTUNIQ when they differ from before.
 */
static int try_base(struct overlay *o, const char *base)
{
	_cleanup_close_ int base_fd = open_layer(AT_FDCWD, base);
	int fd[OVERLAY_LAYERS_MAX];
	size_t i, n = 0;
	int rc = 1;

	if (base_fd < 0)
		return 0;
	for (; n < o->n_layers; n++) {
		fd[n] = -1;
		if (o->layer[n].path[0] == '/')
			continue;
		fd[n] = open_layer(base_fd, o->layer[n].path);
		if (fd[n] < 0) {
			rc = 0;
			break;
		}
	}
	for (i = 0; i < n; i++) {
		if (fd[i] >= 0 && rc > 0 && o->layer[i].fd < 0)
			o->layer[i].fd = fd_steal(&fd[i]);
		else if (fd[i] >= 0 && rc > 0 && !same_dir(fd[i], o->layer[i].fd))
			rc = -ENOTUNIQ;
	}
	for (i = 0; i < n; i++)
		fd_close(&fd[i]);
	return rc;
}

/* Tries every directory above @path. Return: 0 or -ENOTUNIQ. */
static int try_above(struct overlay *o, const char *path)
{
	char base[PATH_MAX];
	char *slash;

	if (!path || path[0] != '/' || str_copy(base, sizeof(base), path) < 0)
		return 0;
	while ((slash = strrchr(base, '/')) != NULL) {
		*(slash == base ? slash + 1 : slash) = 0;
		if (try_base(o, base) < 0)
			return -ENOTUNIQ;
		if (slash == base)
			break;
	}
	return 0;
}

/**
 * overlay_open() - open the directories of the stack, settle what the host decides
 * @o:     its layers get their descriptors; no choice is OVERLAY_DEFAULT any more
 * @point: mount point of the overlay, absolute
 *
 * Return: 0; -ENOENT and others when a layer is not to be found, -ENOTUNIQ when a
 * relative one is ambiguous; -EOPNOTSUPP for an index that is in use
 */
int overlay_open(struct overlay *o, const char *point, struct err *e)
{
	char shown[256];
	bool relative = false;
	size_t i;
	int rc;

	settle(o);
	rc = check_index(o, e);
	if (rc < 0)
		return rc;
	for (i = 0; i < o->n_layers; i++) {
		struct overlay_layer *l = &o->layer[i];

		if (l->path[0] != '/') {
			relative = true;
			continue;
		}
		l->fd = open_layer(AT_FDCWD, l->path);
		if (l->fd < 0) {
			int code = errno;

			str_quote(shown, sizeof(shown), l->path);
			errno = code;
			return err_sys(e, "overlay: layer %s", shown);
		}
	}
	if (!relative)
		return 0;
	if (try_above(o, point) < 0 || try_above(o, o->work) < 0 ||
	    (o->has_upper && try_above(o, o->layer[0].path) < 0))
		return err_set(e, ENOTUNIQ, "overlay: relative layers fit more than one directory: mount with absolute lowerdir paths");
	for (i = 0; i < o->n_layers; i++) {
		if (o->layer[i].fd >= 0)
			continue;
		str_quote(shown, sizeof(shown), o->layer[i].path);
		return err_set(e, ENOENT, "overlay: no directory above the mount point holds all relative layers (such as %s): mount with absolute lowerdir paths", shown);
	}
	return 0;
}

/**
 * overlay_free() - close and free; NULL is fine
 */
void overlay_free(struct overlay *o)
{
	size_t i;

	if (!o)
		return;
	for (i = 0; i < o->n_layers; i++) {
		fd_close(&o->layer[i].fd);
		free(o->layer[i].path);
	}
	free(o->work);
	free(o);
}
