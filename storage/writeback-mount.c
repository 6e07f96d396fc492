// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The engine's own mount after its upper directory was exchanged: it still shows the
 * old one, which is gone, and a second start from it would be refused. So it is mounted
 * anew, with the options that it had, at the place where it was. That is for mounts that
 * somebody made by hand and will start from again; engines mount anew for each start, with
 * layers by relative paths, which a mount without their working directory cannot
 * name: those are left alone, and so is whatever is in use, and a volatile mount, which
 * overlayfs does not mount twice.
 *
 * If we are killed between the two steps, the new state is in the upper directory, and
 * nothing is mounted.
 *
 * Source: Linux Documentation/filesystems/overlayfs.rst; mount(2)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/mem.h"
#include "storage/mountopt.h"
#include "storage/writeback.h"

static bool absolute(const struct overlay *o)
{
	size_t i;

	for (i = 0; i < o->n_layers; i++)
		if (o->layer[i].path[0] != '/')
			return false;
	return o->work && o->work[0] == '/';
}

/**
 * remount_look() - whether and how a mount can be made anew
 * @s:   the overlay that is there
 * @ret: remount_done(); all zero: it is left alone
 */
void remount_look(const struct source *s, struct remount *ret)
{
	struct err ignored;

	*ret = (struct remount){ 0 };
	if (!absolute(s->overlay) || strstr(s->super, ",volatile") ||
	    mountopt_parse(s->opts, s->super, &ret->opts, &ignored) < 0)
		return;
	ret->id = s->id;
	ret->point = strdup(s->point);
	ret->source = strdup(s->from);
}

/**
 * remount() - mount the engine's overlay anew; the caller has nothing open on it
 *
 * Return: 0, also where it is left alone; minus errno: it is not mounted any more
 */
int remount(const struct remount *r, struct err *e)
{
	struct statx sx;

	if (!r->point || !r->source ||
	    statx(AT_FDCWD, r->point, AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &sx) < 0 ||
	    !(sx.stx_mask & STATX_MNT_ID) || sx.stx_mnt_id != r->id)
		return 0;
	if (umount2(r->point, UMOUNT_NOFOLLOW) < 0)
		return 0;
	return mountopt_mount(&r->opts, r->source, r->point, "overlay", e);
}

/**
 * remount_done() - free what remount_look() found
 */
void remount_done(struct remount *r)
{
	free(r->opts.data);
	free(r->point);
	free(r->source);
	*r = (struct remount){ 0 };
}
