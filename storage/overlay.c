// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The layers of an overlay mount are known only by its options. The kernel
 * shows each option's value with commas, blanks and backslashes in octal, so
 * options are split at commas first and decoded afterwards. What is left is the
 * text that the engine gave to mount: in lowerdir, upperdir and workdir a
 * backslash protects the next character, and lowerdir is split at colons that
 * are not protected; lowerdir+ is one path as it is. Values of security labels
 * are quoted instead.
 *
 * An option that is unknown here may change how layers are merged, and is
 * therefore refused. Engines mount with relative layers to keep the options
 * short (podman from its graph root, containerd from the common parent), and
 * the kernel does not tell relative to what. Every directory above the mount
 * point, the upper and the work directory is tried: it must hold all relative
 * layers, and all that do must mean the same directories. That the layers are
 * the right ones is checked again on the merged root (layers_verify()).
 *
 * Source: linux Documentation/filesystems/overlayfs.rst; fs/overlayfs/params.c
 */
#include "storage/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
	"ro", "rw", "default_permissions", "redirect_dir", "index", "uuid",
	"nfs_export", "xino", "metacopy", "volatile", "override_creds",
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

static int add_lowers(struct overlay *o, char *list, struct err *e)
{
	char *s = list;
	int rc;

	for (;;) {
		bool last;

		while (*s && *s != ':')
			s += s[0] == '\\' && s[1] ? 2 : 1;
		last = !*s;
		if (!last && s[1] == ':')
			return err_set(e, EOPNOTSUPP, "overlay: data-only layers (lowerdir with \"::\") are not supported yet: mount without them");
		*s = 0;
		unprotect(list);
		rc = add_layer(o, list, e);
		if (rc < 0 || last)
			return rc;
		list = ++s;
	}
}

static int set_option(struct overlay *o, const char *key, char *value,
		      char **upper, struct err *e)
{
	char shown[80];

	if (!strcmp(key, "userxattr")) {
		o->userxattr = true;
	} else if (!strcmp(key, "lowerdir") && value) {
		return add_lowers(o, value, e);
	} else if (!strcmp(key, "lowerdir+") && value) {
		return add_layer(o, value, e);
	} else if (!strcmp(key, "upperdir") && value && !*upper) {
		unprotect(value);
		*upper = value;
	} else if (!strcmp(key, "workdir") && value && !o->work) {
		unprotect(value);
		o->work = strdup(value);
		if (!o->work)
			return err_set(e, ENOMEM, "out of memory");
	} else if (!listed(key, harmless, ARRAY_LEN(harmless))) {
		str_quote(shown, sizeof(shown), key);
		return err_set(e, EOPNOTSUPP, "overlay: mount option %s is not supported yet: mount without it", shown);
	}
	return 0;
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
	if (!rc && !o->n_layers)
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
 * overlay_open() - open the directories of the stack
 * @o:     its layers get their descriptors
 * @point: mount point of the overlay, absolute
 *
 * Return: 0; -ENOENT and others when a layer is not to be found, -ENOTUNIQ when a
 * relative one is ambiguous
 */
int overlay_open(struct overlay *o, const char *point, struct err *e)
{
	char shown[256];
	bool relative = false;
	size_t i;

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
