// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A mount that is taken away for a while must come back as it was. mountinfo
 * shows its options as words: those of the mount (sixth field), and those of the
 * file system (last field), of which some are flags of mount(2) and the rest goes
 * to the file system as it is; what file systems show is what they take. A word
 * of the mount that is not known is refused, since it could not be given back.
 *
 * A file system that is writable behind a read-only mount is mounted writable
 * and the mount turned read-only at once: mount(2) has one flag for both.
 *
 * Source: proc(5), mount(2); Linux fs/proc_namespace.c
 */
#include "storage/mountopt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "storage/mountinfo.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

/* mount(2) takes a page of data, its end included. */
#define DATA_BYTES_MAX 4095

struct word {
	const char *name;
	unsigned long flag;
};

static const struct word mnt_words[] = {
	{ "rw", 0 },
	{ "ro", MS_RDONLY },
	{ "nosuid", MS_NOSUID },
	{ "nodev", MS_NODEV },
	{ "noexec", MS_NOEXEC },
	{ "noatime", MS_NOATIME },
	{ "nodiratime", MS_NODIRATIME },
	{ "relatime", MS_RELATIME },
	{ "nosymfollow", MS_NOSYMFOLLOW },
};

static const struct word sb_words[] = {
	{ "rw", 0 },
	{ "ro", MS_RDONLY },
	{ "sync", MS_SYNCHRONOUS },
	{ "dirsync", MS_DIRSYNC },
	{ "mand", MS_MANDLOCK },
	{ "lazytime", MS_LAZYTIME },
};

static const struct word *find(const struct word *t, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(t[i].name, name))
			return &t[i];
	return NULL;
}

static int parse_mnt(const char *text, unsigned long *ret, struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *name, shown[100];
	unsigned long flags = 0;

	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	while ((name = strsep(&rest, ","))) {
		const struct word *w = find(mnt_words, ARRAY_LEN(mnt_words), name);

		if (!w) {
			str_quote(shown, sizeof(shown), name);
			return err_set(e, EOPNOTSUPP, "its mount has the option %s, with which podvm could not mount it again: mount it without",
				       shown);
		}
		flags |= w->flag;
	}
	/* What the kernel does not show is not the default of mount(2). */
	if (!(flags & (MS_RELATIME | MS_NOATIME)))
		flags |= MS_STRICTATIME;
	*ret = flags;
	return 0;
}

static int parse_super(const char *text, unsigned long *ret, struct strbuf *data, struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *name, shown[100];

	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	while ((name = strsep(&rest, ","))) {
		const struct word *w = find(sb_words, ARRAY_LEN(sb_words), name);

		if (w) {
			*ret |= w->flag;
			continue;
		}
		if (!*name)
			continue;
		/* A comma or newline that was hidden would be taken for a separator. */
		if (mountinfo_decode(name) < 0 || strpbrk(name, ",\n")) {
			str_quote(shown, sizeof(shown), name);
			return err_set(e, EOPNOTSUPP, "its file system has the option %s, with which podvm could not mount it again",
				       shown);
		}
		strbuf_add(data, "%s%s", data->len ? "," : "", name);
	}
	return 0;
}

/**
 * mountopt_parse() - what mount(2) needs to make a mount again
 * @mnt:   options of the mount as mountinfo has them
 * @super: options of the file system as mountinfo has them, encoded
 * @ret:   its data is owned by the caller; untouched on failure
 *
 * Return: 0; -EOPNOTSUPP for an option that could not be given back; -ENOMEM
 */
int mountopt_parse(const char *mnt, const char *super, struct mount_opts *ret, struct err *e)
{
	struct mount_opts o = { 0 };
	struct strbuf data = { 0 };
	int rc = parse_mnt(mnt, &o.mnt, e);

	if (!rc)
		rc = parse_super(super, &o.sb, &data, e);
	if (!rc && data.len > DATA_BYTES_MAX)
		rc = err_set(e, EOPNOTSUPP, "the options of its file system are longer than %d bytes",
			     DATA_BYTES_MAX);
	o.data = !rc && !data.failed ? strdup(data.text ? data.text : "") : NULL;
	strbuf_done(&data);
	if (!rc && !o.data)
		rc = err_set(e, ENOMEM, "out of memory");
	if (rc < 0)
		return rc;
	*ret = o;
	return 0;
}

/**
 * mountopt_mount() - mount with such options
 *
 * Return: 0; minus errno, and nothing is mounted
 */
int mountopt_mount(const struct mount_opts *o, const char *source, const char *point,
		   const char *fstype, struct err *e)
{
	unsigned long flags = o->sb | (o->mnt & ~(unsigned long)MS_RDONLY);
	int rc;

	if (mount(source, point, fstype, flags, o->data) < 0)
		return err_sys(e, "mount of %s", source);
	if (!(o->mnt & MS_RDONLY) || (o->sb & MS_RDONLY))
		return 0;
	if (mount(NULL, point, NULL, MS_REMOUNT | MS_BIND | o->mnt, NULL) < 0) {
		rc = err_sys(e, "mount of %s: read-only", source);
		umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW);
		return rc;
	}
	return 0;
}
