// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * create: check the bundle, find or start the pod, have the supervisor make
 * the container, start its shim, run the hooks, first on the host, then in the guest,
 * write the pid file, commit. Until the commit the container belongs to our connection to the supervisor:
 * whatever fails, or kills us, before it, leaves nothing behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/cli/cli.h"
#include "runtime/handed.h"
#include "runtime/hooks.h"
#include "runtime/shim/shim.h"

static int check_terminal(const struct create_args *a, bool terminal,
			  struct err *e)
{
	if (terminal && !a->console_socket && !a->foreground)
		return err_set(e, EINVAL,
			       "/process/terminal: a detached container with a terminal needs --console-socket");
	if (!terminal && a->console_socket)
		return err_set(e, EINVAL,
			       "--console-socket: /process/terminal is not true");
	return 0;
}

/* Hooks that need the container's pid, which is the shim's. */
static int run_hooks(const struct spec *spec, struct state *s, int sock, struct err *e)
{
	int rc = hooks_run(&spec->prestart, "prestart", s, "creating", e);

	if (!rc)
		rc = hooks_run(&spec->create_runtime, "createRuntime", s, "creating", e);
	if (!rc && spec->create->create_hooks)
		rc = hooks_in_guest(sock, s->id, false, e);
	return rc;
}

static int commit(int sock, const char *id, pid_t shim, struct err *e)
{
	Podvm__Pod__Commit m = PODVM__POD__COMMIT__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(commit = &m, COMMIT);

	m.id = strdupa(id);
	m.shim_pid = (uint32_t)shim;
	return pod_call(sock, &rq, NULL, 0, NULL, e);
}

/*
 * The shim has a connection of its own: the answer to a question of one that dies would come
 * to us, in the place of the next answer that we wait for.
 */
static int spawn_shim(struct cli *c, const struct create_args *a, const struct spec *spec,
		      const struct state *st, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	_cleanup_close_ int control = -1;
	struct shim_start s = { .id = st->id,
				.terminal = spec->create->process->terminal,
				.console_socket = a->console_socket,
				.foreground = a->foreground };
	int rc = pod_connect(c->rootfd, st->pod, &control, e);

	s.control = control;
	return rc < 0 ? rc : shim_spawn(&s, ret_pid, ret_pidfd, e);
}

/* With the container made: shim, hooks, pid file, commit. */
static int bring_up(struct cli *c, const struct create_args *a, const struct spec *spec,
		    struct state *st, int sock, int *ret_shim, struct err *e)
{
	_cleanup_close_ int shim = -1;
	pid_t pid;
	int status, rc = spawn_shim(c, a, spec, st, &pid, &shim, e);

	if (rc < 0)
		return rc;
	st->pid = pid;
	rc = run_hooks(spec, st, sock, e);
	if (!rc)
		rc = cli_send_pidfd(a->pidfd_socket, shim, e);
	if (!rc)
		rc = cli_write_pid(a->pid_file, pid, e);
	if (!rc)
		rc = commit(sock, st->id, pid, e);
	if (rc < 0) {
		proc_kill(shim, SIGKILL);
		proc_wait(shim, -1, &status, NULL);
		if (a->pid_file)
			unlink(a->pid_file);
		return rc;
	}
	*ret_shim = fd_steal(&shim);
	return 0;
}

/* With the container made; whatever fails, nothing of it stays. */
static int complete(struct cli *c, const struct create_args *a, const char *id, const char *pod,
		    const char *bundle, const struct spec *spec, int sock, int *ret_shim,
		    struct err *e)
{
	struct state *s = NULL;
	int rc = state_new(id, pod, bundle, spec, &s, e);

	if (!rc)
		rc = bring_up(c, a, spec, s, sock, ret_shim, e);
	if (rc < 0)
		pod_abandon(c->rootfd, pod, sock, NULL);
	/* Its hooks may have run: runtime.md, "Lifecycle", has the others run, too. */
	if (rc < 0 && s)
		hooks_poststop(spec, s);
	state_free(s);
	return rc;
}

/* How often a pod may end under a command that wants a container in it. */
#define POD_TRIES 5

/*
 * Has the pod's supervisor make the container. A pod whose last container has just gone
 * ends, and its supervisor may have taken our call before: then there is a new one.
 */
static int call_create(struct cli *c, const char *id, const char *pod,
		       const struct spec_source *src, int *ret_sock, struct err *e)
{
	Podvm__Pod__Create m = PODVM__POD__CREATE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(create = &m, CREATE);
	int tries, rc = 0;

	m.id = strdupa(id);
	m.bundle = strdupa(src->bundle);
	m.systemd = c->systemd;
	for (tries = 0; tries < POD_TRIES; tries++) {
		_cleanup_close_ int sock = -1;

		rc = pod_ensure(c->root, c->rootfd, pod, src, c->systemd, &sock, e);
		if (rc < 0)
			return rc;
		rc = pod_call_give(sock, &rq, src->config, e);
		if (rc >= 0) {
			*ret_sock = fd_steal(&sock);
			return 0;
		}
		/* Whatever it was: nothing of ours stays. */
		pod_abandon(c->rootfd, pod, sock, NULL);
		if (rc != -ESHUTDOWN && rc != -EPIPE)
			break;
	}
	return rc;
}

static int create_in_pod(struct cli *c, const struct create_args *a,
			 const char *id, const struct spec_source *src,
			 const struct spec *spec, int *ret_shim, struct err *e)
{
	const char *pod = spec->sandbox_id ? spec->sandbox_id : id;
	_cleanup_close_ int sock = -1;
	struct state *old;
	int rc;

	if ((rc = state_check_id(id, e)) < 0 || (rc = state_check_id(pod, e)) < 0 ||
	    (rc = spec_check_id(spec, id, e)) < 0)
		return rc;
	if (!state_load(c->rootfd, id, &old, NULL)) {
		state_free(old);
		return err_set(e, EEXIST, "container %s exists already", id);
	}
	rc = call_create(c, id, pod, src, &sock, e);
	return rc < 0 ? rc : complete(c, a, id, pod, src->bundle, spec, sock, ret_shim, e);
}

static int create_from(struct cli *c, const struct create_args *a, const char *id,
		       const struct spec_source *src, int *ret_shim, bool *ret_terminal,
		       struct err *e)
{
	struct spec *spec;
	int rc = spec_load_from(src, &spec, e);

	if (rc < 0)
		return rc;
	rc = check_terminal(a, spec->create->process->terminal, e);
	if (!rc)
		rc = hooks_check(spec, e);
	if (!rc)
		rc = create_in_pod(c, a, id, src, spec, ret_shim, e);
	if (!rc)
		*ret_terminal = spec->create->process->terminal;
	handed_release(c->rootfd, id);
	spec_free(spec);
	return rc;
}

/**
 * create_container() - the whole of create
 * @ret_shim:     pidfd, owned by the caller
 * @ret_terminal: the process has a terminal
 *
 * Return: 0 or minus errno, with nothing left behind
 */
int create_container(struct cli *c, const struct create_args *a, const char *id,
		     int *ret_shim, bool *ret_terminal, struct err *e)
{
	struct spec_source own = SPEC_SOURCE_NONE;
	bool read = c->source && c->source->config >= 0;
	int rc = cli_no_fds(a->preserve_fds, e);

	if (!rc && !read)
		rc = spec_source_read(a->bundle, &own, e);
	if (!rc)
		rc = create_from(c, a, id, read ? c->source : &own, ret_shim, ret_terminal, e);
	spec_source_done(&own);
	return rc;
}

/**
 * cmd_create() - podvm create
 */
int cmd_create(struct cli *c, int argc, char **argv, struct err *e)
{
	struct create_args a = { .bundle = "." };
	const struct opt t[] = {
		CREATE_OPTIONS(&a),
		OPT_END
	};
	_cleanup_close_ int shim = -1;
	bool terminal;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	return rc <= 0 ? rc : create_container(c, &a, argv[first], &shim, &terminal, e);
}
