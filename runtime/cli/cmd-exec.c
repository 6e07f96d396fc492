// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * exec: the process comes from --process, or is the container's own process
 * with other arguments and what the options change. A shim runs it; in the
 * foreground the command stands in front of the shim and exits as it does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "runtime/shim/shim.h"
#include "runtime/supervisor/supervisor.h"

struct exec_args {
	const char *process, *pid_file, *console_socket, *pidfd_socket, *user, *cwd;
	const char *apparmor, *label;
	struct opt_strs env, caps, gids, cgroups;
	uint64_t preserve_fds;
	bool tty, detach, no_new_privs, ignore_paused, no_subreaper;
};

static int append(char ***list, size_t *n, const char *s, struct err *e)
{
	char **more = realloc(*list, (*n + 1) * sizeof(**list));
	char *copy = strdup(s);

	if (more)
		*list = more;
	if (!more || !copy) {
		free(copy);
		return err_set(e, ENOMEM, "out of memory");
	}
	more[(*n)++] = copy;
	return 0;
}

/* What a process in the guest cannot have. */
static int refuse(const struct exec_args *a, struct err *e)
{
	size_t i;

	if (a->apparmor && *a->apparmor && strcmp(a->apparmor, "unconfined"))
		return err_set(e, ENOTSUP,
			       "--apparmor %s: not supported: the pod's virtual machine has no AppArmor; leave it out",
			       a->apparmor);
	if (a->label && *a->label)
		return err_set(e, ENOTSUP,
			       "--process-label %s: not supported: the pod's virtual machine has no SELinux; leave it out",
			       a->label);
	for (i = 0; i < a->cgroups.n; i++)
		if (*a->cgroups.v[i] && strcmp(a->cgroups.v[i], "/"))
			return err_set(e, ENOTSUP,
				       "--cgroup %s: not supported: a process begins in the container's own, which is /; leave it out",
				       a->cgroups.v[i]);
	if (a->process && (a->user || a->cwd || a->env.n || a->caps.n || a->gids.n ||
			   a->no_new_privs))
		return err_set(e, EINVAL,
			       "--process has the whole process: it excludes --user, --additional-gids, --cwd, --env, --cap and --no-new-privs");
	return cli_no_fds(a->preserve_fds, e);
}

static int add_gid(Podvm__Process *p, const char *text, struct err *e)
{
	uint32_t *more;
	uint64_t gid;

	if (parse_u64(text, &gid) < 0 || gid >= UINT32_MAX)
		return err_set(e, EINVAL, "--additional-gids %s: not a group's number", text);
	more = realloc(p->additional_gids, (p->n_additional_gids + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	more[p->n_additional_gids++] = (uint32_t)gid;
	p->additional_gids = more;
	return 0;
}

/* The container's own process, taken out of its bundle. */
static int own_process(const struct state *s, Podvm__Process **ret,
		       struct err *e)
{
	struct spec *spec;
	int rc = spec_load(s->bundle, &spec, e);

	if (rc < 0)
		return rc;
	*ret = mem_steal(spec->create->process);
	spec_free(spec);
	return 0;
}

/* What an OCI process object has no place for, or leaves open, is the container's. */
static int inherit(Podvm__Process *p, const struct state *s, struct err *e)
{
	Podvm__Process *own;
	int rc = own_process(s, &own, e);

	if (rc < 0)
		return rc;
	rc = spec_inherit(p, own, e);
	podvm__process__free_unpacked(own, NULL);
	return rc;
}

static int change(Podvm__Process *p, const struct exec_args *a, char **argv,
		  struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < p->n_args; i++)
		free(p->args[i]);
	p->n_args = 0;
	for (; *argv && !rc; argv++)
		rc = append(&p->args, &p->n_args, *argv, e);
	for (i = 0; i < a->env.n && !rc; i++) {
		if (!strchr(a->env.v[i], '='))
			return err_set(e, EINVAL, "--env %s: must be NAME=VALUE", a->env.v[i]);
		rc = append(&p->env, &p->n_env, a->env.v[i], e);
	}
	for (i = 0; i < a->caps.n && !rc; i++)
		rc = spec_capability_add(a->caps.v[i], p, e);
	for (i = 0; i < a->gids.n && !rc; i++)
		rc = add_gid(p, a->gids.v[i], e);
	if (!rc && a->user)
		rc = spec_user(a->user, p, e);
	if (!rc && a->cwd) {
		char *copy = strdup(a->cwd);

		if (a->cwd[0] != '/') {
			free(copy);
			return err_set(e, EINVAL, "--cwd %s: must be absolute", a->cwd);
		}
		if (!copy)
			return err_set(e, ENOMEM, "out of memory");
		if (p->cwd != protobuf_c_empty_string)
			free(p->cwd);
		p->cwd = copy;
	}
	p->terminal = a->tty;
	p->no_new_privileges |= a->no_new_privs;
	return rc;
}

static int make_process(const struct exec_args *a, const struct state *s,
			char **argv, Podvm__Process **ret, struct err *e)
{
	Podvm__Process *p;
	int rc;

	/* ID -- COMMAND, as some write it. */
	if (*argv && !strcmp(*argv, "--"))
		argv++;
	if (a->process && *argv)
		return err_set(e, EINVAL, "--process and a command exclude each other");
	if (a->process) {
		rc = spec_process_load(a->process, ret, e);
		if (rc < 0)
			return rc;
		(*ret)->terminal |= a->tty;
		rc = inherit(*ret, s, e);
		if (rc < 0)
			podvm__process__free_unpacked(*ret, NULL);
		return rc;
	}
	if (!*argv)
		return err_set(e, EINVAL, "exec needs a command, or --process");
	rc = own_process(s, &p, e);
	if (rc < 0)
		return rc;
	rc = change(p, a, argv, e);
	if (rc < 0)
		podvm__process__free_unpacked(p, NULL);
	else
		*ret = p;
	return rc;
}

static int run(const struct exec_args *a, const char *id, int sock,
	       const Podvm__Process *p, struct err *e)
{
	struct shim_start s = { .id = id, .control = sock, .process = p,
				.terminal = p->terminal,
				.console_socket = a->console_socket,
				.foreground = !a->detach };
	_cleanup_close_ int shim = -1;
	char exec_id[40];
	int rc, status;
	pid_t pid;

	if (p->terminal && a->detach && !a->console_socket)
		return err_set(e, EINVAL, "a detached exec with a terminal needs --console-socket");
	snprintf(exec_id, sizeof(exec_id), "e%d-%llx", getpid(),
		 (unsigned long long)pod_now_ns());
	s.exec_id = exec_id;
	rc = shim_spawn(&s, &pid, &shim, e);
	if (!rc)
		rc = cli_send_pidfd(a->pidfd_socket, shim, e);
	if (!rc)
		rc = cli_write_pid(a->pid_file, pid, e);
	if (rc < 0 || a->detach)
		return rc;
	rc = shim_foreground(shim, p->terminal && !a->console_socket, &status, e);
	return rc < 0 ? rc : status;
}

/**
 * cmd_exec() - podvm exec
 */
int cmd_exec(struct cli *c, int argc, char **argv, struct err *e)
{
	struct exec_args a = { 0 };
	const struct opt t[] = {
		OPT_STR('p', "process", &a.process, "FILE", "OCI process object as JSON"),
		OPT_FLAG('d', "detach", &a.detach, "return when the process runs"),
		OPT_FLAG('t', "tty", &a.tty, "give it a terminal"),
		OPT_STR(0, "pid-file", &a.pid_file, "FILE", "gets the pid that stands for the process"),
		OPT_STR(0, "console-socket", &a.console_socket, "PATH",
			"unix socket that gets the terminal's master"),
		OPT_STR('u', "user", &a.user, "UID[:GID]", "run as this user"),
		OPT_STR(0, "cwd", &a.cwd, "DIR", "working directory"),
		OPT_STRS('e', "env", &a.env, "NAME=VALUE", "add to the environment"),
		OPT_STRS('c', "cap", &a.caps, "CAP", "add a capability"),
		OPT_STRS('g', "additional-gids", &a.gids, "GID", "add to its groups"),
		OPT_FLAG(0, "no-new-privs", &a.no_new_privs, "set no_new_privs"),
		OPT_FLAG(0, "ignore-paused", &a.ignore_paused, "refused while it is paused"),
		OPT_STR(0, "pidfd-socket", &a.pidfd_socket, "PATH",
			"unix socket that gets a pidfd of what --pid-file names"),
		OPT_STRS(0, "cgroup", &a.cgroups, "PATH", "/, and no other"),
		OPT_U64(0, "preserve-fds", &a.preserve_fds, "N", "refused above 0: host's files"),
		OPT_STR(0, "apparmor", &a.apparmor, "PROFILE", "refused: not in the guest"),
		OPT_STR(0, "process-label", &a.label, "LABEL", "refused: not in the guest"),
		OPT_FLAG(0, "no-subreaper", &a.no_subreaper, "no effect: orphans are the guest's"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	Podvm__Process *p;
	struct state *s;
	int first, rc = cli_args(t, argc, argv, 1, -1, &first, e);

	if (rc <= 0)
		return rc;
	rc = refuse(&a, e);
	if (rc < 0)
		return rc;
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	if (s->status != STATE_RUNNING)
		rc = err_set(e, ESRCH, "container not running: it is %s%s",
			     state_status_name(s->status),
			     s->status != STATE_PAUSED ? "" : a.ignore_paused ?
			     "; --ignore-paused is not supported then: nothing of it would run before podvm resume" :
			     "; podvm resume lets it run");
	if (!rc)
		rc = make_process(&a, s, argv + first + 1, &p, e);
	state_free(s);
	if (rc < 0)
		return rc;
	rc = run(&a, argv[first], sock, p, e);
	podvm__process__free_unpacked(p, NULL);
	return rc;
}
