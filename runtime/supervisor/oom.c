// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Engines want to know whether a container was ended by the kernel for want of memory. The
 * one that knows is the guest's kernel, whose agent says so with the container's end. An
 * empty file "oom" in the bundle tells it on, as conmon writes it for containers
 * whose cgroup it watches on the host, and as CRI-O looks for it; it is there before
 * the container counts as stopped and its shim exits. It is the supervisor that writes it,
 * so it does not matter whether the shim was still there.
 *
 * A file of an earlier life in the same bundle would be a lie, and goes before the next.
 * It is made and removed by name in the bundle's directory, without following links.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "runtime/supervisor/supervisor.h"

#define OOM_FILE "oom"

static int bundle_open(const struct container *c)
{
	return open(c->state->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/**
 * oom_forget() - a container begins: nothing is known of it
 */
void oom_forget(const struct container *c)
{
	_cleanup_close_ int dir = bundle_open(c);

	if (dir >= 0 && unlinkat(dir, OOM_FILE, 0) < 0 && errno != ENOENT)
		log_warn("container %s: " OOM_FILE " of an earlier one stays: %m", c->id);
}

/**
 * oom_tell() - the guest's kernel has killed in a container for want of memory
 */
void oom_tell(const struct container *c)
{
	_cleanup_close_ int dir = bundle_open(c), fd = -1;

	fd = dir < 0 ? -1 : openat(dir, OOM_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		log_warn("container %s: was out of memory, which its bundle does not tell: %m", c->id);
	else
		log_info("container %s: was out of memory", c->id);
}
