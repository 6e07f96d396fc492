// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Hooks of the bundle (OCI config.md, "POSIX-platform Hooks"). On the host run
 *
 *   prestart, createRuntime   when the container is there, before its creation is
 *                             complete: state "creating"
 *   poststart                 when its program runs; one that fails ends it: "running"
 *   poststop                  when nothing of it is left, also of one whose creation a
 *                             hook has ended; all of them, whatever one says: "stopped"
 *
 * each with the state that names the shim as the container's process. In the guest run
 * createContainer, behind those of the host, and startContainer, before the start
 * (guest/agent/hooks.c); the command waits for them on a connection of its own, so that the
 * supervisor waits for nobody.
 */
#include "runtime/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/agent.h"
#include "lib/fd.h"
#include "lib/hook.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/pod.h"
#include "lib/str.h"
#include "runtime/trust.h"

static int run_one(const struct spec_hook *h, const char *state, struct err *e)
{
	const struct hook run = { .path = h->path, .argv = h->args, .envp = h->env,
				  .timeout_s = h->timeout_s, .state = state };

	return hook_run(&run, e);
}

/**
 * hooks_run() - run hooks on the host in order, up to the first that fails
 * @kind:   as config.json calls them, for the error
 * @status: of the container, as the specification spells it
 *
 * Return: 0; minus errno, with the hook's place, exit status and last words
 */
int hooks_run(const struct spec_hooks *h, const char *kind, const struct state *s,
	      const char *status, struct err *e)
{
	_cleanup_free_ char *json = NULL;
	size_t i;
	int rc = h->n ? state_hook_json(s, status, &json, e) : 0;

	for (i = 0; i < h->n && !rc; i++) {
		rc = run_one(&h->v[i], json, e);
		if (rc < 0)
			err_wrap(e, "/hooks/%s/%zu", kind, i);
	}
	return rc;
}

/**
 * hooks_poststop() - run the hooks of a container that is gone; failures are logged
 */
void hooks_poststop(const struct spec *spec, const struct state *s)
{
	_cleanup_free_ char *json = NULL;
	struct err e;
	size_t i;

	if (spec->poststop.n && state_hook_json(s, "stopped", &json, &e) < 0) {
		log_warn("container %s: %s", s->id, e.text);
		return;
	}
	for (i = 0; i < spec->poststop.n; i++)
		if (run_one(&spec->poststop.v[i], json, &e) < 0)
			log_warn("container %s: /hooks/poststop/%zu: %s", s->id, i, e.text);
}

/* Whether a mount may bring the path; then the guest will see. */
static bool is_mounted(const Podvm__ContainerCreate *c, const char *path)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++) {
		const char *at = c->mounts[i]->destination;

		if (str_starts(path, at) && (path[strlen(at)] == '/' || !path[strlen(at)]))
			return true;
	}
	return false;
}

static int check(const struct spec *s, const char *kind, const Podvm__Hooks *h, int root,
		 struct err *e)
{
	size_t i;

	for (i = 0; h && i < h->n_hooks; i++) {
		const char *path = h->hooks[i]->path;
		_cleanup_close_ int fd = -1;
		char shown[120];
		struct stat st;

		if (is_mounted(s->create, path))
			continue;
		fd = fd_openat2(root, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
			continue;
		str_quote(shown, sizeof(shown), path);
		return err_set(e, ENOENT, "/hooks/%s/%zu/path: %s: not in the container's root file "
			       "system, which is all that the pod's machine has of the host's: put it "
			       "into the image or bind-mount it there, or use %s, which runs on the "
			       "host, or a trusted runtime (" TRUST_SETTING ")", kind, i, shown,
			       *kind == 'c' ? "createRuntime" : "poststart");
	}
	return 0;
}

/**
 * hooks_check() - whether the hooks that run in the guest can be there
 * @s: its root file system is mounted
 *
 * Return: 0; -ENOENT naming the hook and what to do
 */
int hooks_check(const struct spec *s, struct err *e)
{
	const Podvm__ContainerCreate *c = s->create;
	_cleanup_close_ int root = -1;
	int rc;

	if (!c->create_hooks && !c->start_hooks)
		return 0;
	root = open(s->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, "/root/path: %s", s->rootfs);
	rc = check(s, "createContainer", c->create_hooks, root, e);
	return rc ? rc : check(s, "startContainer", c->start_hooks, root, e);
}

/**
 * hooks_in_guest() - have the hooks of a container run that run in the guest
 * @control: connection to the pod's supervisor, borrowed
 * @start:   those of its start, else those of its creation
 *
 * Return: 0; what failed, and the container ends
 * Context: blocks as long as the hooks run
 */
int hooks_in_guest(int control, const char *id, bool start, struct err *e)
{
	Podvm__ContainerHooks m = PODVM__CONTAINER_HOOKS__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_hooks = &m, CONTAINER_HOOKS);
	struct agent a = { .fd = -1 };
	int rc = pod_stream(control, &a.fd, e);

	if (rc < 0)
		return rc;
	m.id = strdupa(id);
	m.start = start;
	rc = agent_call(&a, &rq, -1, NULL, e);
	agent_done(&a);
	return rc;
}
