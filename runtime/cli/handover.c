// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Before podvm looks at a command itself: is the container the trusted runtime's? A
 * command that makes one asks the rules (runtime/trust.c) and writes the decision
 * down (runtime/handed.c); any other finds it there. Then this process becomes the
 * trusted runtime: by exec, with the words it was called with, but for --root, which
 * becomes ROOT/trusted. Its pid, standard streams, environment, working directory and
 * the descriptors that it was given are kept; what podvm opened is closed by the exec.
 * So an engine cannot tell the difference from calling that runtime itself.
 *
 * A command that stays podvm's goes on with the config.json that the decision was made of.
 */
#include "runtime/cli/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cli/decide.h"
#include "runtime/handed.h"

/* Returns only when it fails. */
static int become(const struct call *c, const char *runtime, struct err *e)
{
	_cleanup_free_ char **argv = NULL;
	char root[PATH_MAX];
	int rc;

	if (snprintf(root, sizeof(root), "%s/" HANDED_ROOT, c->root) >= (int)sizeof(root))
		return err_set(e, ENAMETOOLONG, "--root: path too long");
	rc = call_argv(c, runtime, root, &argv, e);
	if (rc < 0)
		return rc;
	log_debug("container %s: handed to %s", c->id, runtime);
	execv(runtime, argv);
	return err_sys(e, "the trusted runtime %s (" TRUST_SETTING ")", runtime);
}

/* A command about a container that exists, or does not. */
static int find(const struct call *c, struct err *e)
{
	_cleanup_close_ int rootfd = open(c->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct handed h;
	int rc;

	if (rootfd < 0 || state_check_id(c->id, NULL) < 0)
		return 0;
	rc = handed_find(rootfd, c->id, &h, e);
	if (rc <= 0)
		return rc;
	if (c->own)
		return err_set(e, ENOTSUP, "container %s was handed to %s: it has no machine",
			       c->id, h.runtime);
	return become(c, h.runtime, e);
}

static int claim(const struct call *c, const struct decision *d, int rootfd, int dir, struct err *e)
{
	struct handed h = {.pid = 0};
	bool machine = d->verdict.choice == TRUST_MACHINE;
	int rc = 0;

	if (str_copy(h.id, sizeof(h.id), c->id) < 0 || str_copy(h.pod, sizeof(h.pod), d->pod) < 0 ||
	    str_copy(h.bundle, sizeof(h.bundle), d->source.bundle) < 0)
		return err_set(e, ENAMETOOLONG, "--bundle: path too long");
	if (!machine) {
		str_copy(h.runtime, sizeof(h.runtime), d->runtime);
		if (mkdirat(rootfd, HANDED_ROOT, 0700) < 0 && errno != EEXIST)
			rc = err_sys(e, HANDED_ROOT ": mkdir");
	}
	return rc < 0 ? rc : handed_claim(rootfd, dir, &h, e);
}

/* With the lock of the records, if there may be some. */
static int make_locked(const struct call *c, const struct config *config, int rootfd, int dir,
		       struct spec_source *ret, struct err *e)
{
	struct decision d;
	int rc = decision_make(c->bundle, c->id, &config->trust, rootfd, dir, &d, e);

	if (rc < 0)
		return rc;
	if (d.verdict.choice == TRUST_REFUSE)
		rc = err_set(e, EPERM, "%s", d.verdict.why);
	else if (dir >= 0)
		rc = claim(c, &d, rootfd, dir, e);
	if (!rc && d.verdict.choice == TRUST_HAND_OVER) {
		rc = become(c, d.runtime, e);
		handed_forget(dir, c->id);
	}
	if (!rc) {
		*ret = d.source;
		d.source.config = -1;
	}
	decision_done(&d);
	return rc;
}

/* A command that makes a container: it is decided which runtime does. */
static int make(const struct call *c, struct spec_source *ret, struct err *e)
{
	_cleanup_close_ int rootfd = -1, dir = -1;
	struct config config;
	int rc = config_load(&config, e);

	if (rc < 0)
		return rc;
	if (c->config || state_check_id(c->id, NULL) < 0)
		return 0;
	rootfd = state_root_open(c->root, e);
	if (rootfd < 0)
		return rootfd;
	dir = handed_open(rootfd, *config.trust.runtime, e);
	if (dir < 0 && dir != -ENOENT)
		return dir;
	if (dir >= 0) {
		rc = handed_sweep(rootfd, dir, e);
		if (rc < 0)
			return rc;
	}
	return make_locked(c, &config, rootfd, dir, ret, e);
}

/**
 * handover() - become the trusted runtime, if the command is its
 * @argc, @argv: of main()
 * @ret: what a command that makes a container has to make it of, spec_source_done();
 *       untouched where none was read: by any other one, and by one that will fail
 *
 * Return: 0: it is podvm's; minus errno when it is nobody's; does not return else
 */
int handover(int argc, char **argv, struct spec_source *ret, struct err *e)
{
	struct call c;

	if (!call_read(&c, argc, argv) || !c.id)
		return 0;
	return c.makes ? make(&c, ret, e) : find(&c, e);
}
