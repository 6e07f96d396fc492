/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_CLI_CLI_H
#define RUNTIME_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"
#include "lib/json.h"
#include "lib/opt.h"
#include "runtime/pod.h"
#include "runtime/spec.h"
#include "runtime/state.h"

/**
 * struct cli - what every command starts from
 * @root:   state directory
 * @rootfd: the same, open, borrowed by commands
 * @systemd: linux.cgroupsPath names a scope of systemd's
 * @source:  the config.json of a container that is made, borrowed; NULL or closed: not
 *           read yet
 */
struct cli {
	const char *root;
	int rootfd;
	bool systemd;
	const struct spec_source *source;
};

/**
 * struct command - a verb
 * @run: gets argv[0] = verb; returns 0 or an exit status above 0, or minus
 *       errno with @e set
 */
struct command {
	const char *name;
	const char *args;
	const char *help;
	int (*run)(struct cli *c, int argc, char **argv, struct err *e);
};

/**
 * struct command_group - a verb that has commands of its own
 * @name:        the verb
 * @commands:    their names begin with it and a blank; closed by one without a name
 * @about, @more: what its help says in front of them and behind
 */
struct command_group {
	const char *name;
	const struct command *commands;
	const char *about, *more;
};

int cmd_create(struct cli *c, int argc, char **argv, struct err *e);
int cmd_run(struct cli *c, int argc, char **argv, struct err *e);
int cmd_start(struct cli *c, int argc, char **argv, struct err *e);
int cmd_state(struct cli *c, int argc, char **argv, struct err *e);
int cmd_kill(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pause(struct cli *c, int argc, char **argv, struct err *e);
int cmd_resume(struct cli *c, int argc, char **argv, struct err *e);
int cmd_update(struct cli *c, int argc, char **argv, struct err *e);
int cmd_events(struct cli *c, int argc, char **argv, struct err *e);
int cmd_delete(struct cli *c, int argc, char **argv, struct err *e);
int cmd_exec(struct cli *c, int argc, char **argv, struct err *e);
int cmd_list(struct cli *c, int argc, char **argv, struct err *e);
int cmd_ps(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod_list(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod_inspect(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod_stats(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod_console(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod_logs(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod_shell(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pod_timeline(struct cli *c, int argc, char **argv, struct err *e);
int cmd_template(struct cli *c, int argc, char **argv, struct err *e);
int cmd_metrics(struct cli *c, int argc, char **argv, struct err *e);
int cmd_stats(struct cli *c, int argc, char **argv, struct err *e);
int cmd_resize(struct cli *c, int argc, char **argv, struct err *e);
int cmd_doctor(struct cli *c, int argc, char **argv, struct err *e);
int cmd_trust(struct cli *c, int argc, char **argv, struct err *e);
int cmd_checkpoint(struct cli *c, int argc, char **argv, struct err *e);
int cmd_restore(struct cli *c, int argc, char **argv, struct err *e);
int cmd_features(struct cli *c, int argc, char **argv, struct err *e);
int cmd_spec(struct cli *c, int argc, char **argv, struct err *e);

/**
 * struct create_args - what create and run have in common, of cmd-create.c
 * @foreground: run without --detach
 * @pidfd_socket: unix socket that gets a pidfd of the process in @pid_file
 * @preserve_fds, @no_pivot, @no_new_keyring: see CREATE_OPTIONS
 */
struct create_args {
	const char *bundle;
	const char *pid_file;
	const char *console_socket;
	const char *pidfd_socket;
	uint64_t preserve_fds;
	bool no_pivot, no_new_keyring;
	bool foreground;
};

/* Their options. What has no effect says why: it is about the host's side of things. */
#define CREATE_OPTIONS(a)                                                                  \
	OPT_STR('b', "bundle", &(a)->bundle, "DIR", "directory of config.json (default .)"), \
	OPT_STR(0, "pid-file", &(a)->pid_file, "FILE",                                      \
		"gets the pid that stands for the container"),                             \
	OPT_STR(0, "console-socket", &(a)->console_socket, "PATH",                          \
		"unix socket that gets the terminal's master"),                            \
	OPT_STR(0, "pidfd-socket", &(a)->pidfd_socket, "PATH",                              \
		"unix socket that gets a pidfd of what --pid-file names"),                 \
	OPT_U64(0, "preserve-fds", &(a)->preserve_fds, "N", "refused above 0: host's files"), \
	OPT_FLAG(0, "no-pivot", &(a)->no_pivot, "no effect: the root is a disk of the guest"), \
	OPT_FLAG(0, "no-new-keyring", &(a)->no_new_keyring,                                 \
		 "no effect: the caller's keys are not in the guest")

int create_container(struct cli *c, const struct create_args *a, const char *id,
		     int *ret_shim, bool *ret_terminal, struct err *e);
int start_container(struct cli *c, const char *id, struct err *e);
int delete_container(struct cli *c, const char *id, bool force, struct err *e);

/* A row of list: id, pid, status, pod, created, runtime, bundle. */
#define CLI_LIST_ROW "%-24s %-8d %-9s %-24s %-21s %-8s %-24s %s\n"

/**
 * struct handed_rows - how to print what the trusted runtime has
 * @n: rows printed before; for JSON, which has commas between
 */
struct handed_rows {
	bool json, quiet;
	size_t n;
};

int handed_list(const struct cli *c, const struct handed_rows *rows, struct err *e);

int cli_args(const struct opt *t, int argc, char **argv, int min, int max,
	     int *ret_first, struct err *e);
int cli_no_fds(uint64_t n, struct err *e);
int cli_send_pidfd(const char *path, int pidfd, struct err *e);
int cli_write_pid(const char *path, pid_t pid, struct err *e);
int cli_connect(struct cli *c, const char *id, struct state **ret_state,
		int *ret_sock, struct err *e);
const struct command *cli_commands(void);
int cli_group_run(const struct command_group *g, struct cli *c, int argc, char **argv,
		  struct err *e);
extern const struct command_group cli_pod, cli_template;

/* Of cmd-pod-timeline.c, for inspect. */
int pod_timeline(struct cli *c, const char *pod, Podvm__Pod__Response **ret, struct err *e);
void pod_timeline_json(struct json_out *o, const Podvm__Pod__Response *rs);

#endif
