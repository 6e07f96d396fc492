/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_CLI_CLI_H
#define RUNTIME_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"
#include "lib/json.h"
#include "lib/opt.h"
#include "runtime/pod.h"
#include "runtime/state.h"

/**
 * struct cli - what every command starts from
 * @root:   state directory
 * @rootfd: the same, open, borrowed by commands
 * @systemd: linux.cgroupsPath names a scope of systemd's
 */
struct cli {
	const char *root;
	int rootfd;
	bool systemd;
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
int cmd_metrics(struct cli *c, int argc, char **argv, struct err *e);
int cmd_stats(struct cli *c, int argc, char **argv, struct err *e);
int cmd_resize(struct cli *c, int argc, char **argv, struct err *e);
int cmd_doctor(struct cli *c, int argc, char **argv, struct err *e);
int cmd_trust(struct cli *c, int argc, char **argv, struct err *e);
int cmd_features(struct cli *c, int argc, char **argv, struct err *e);
int cmd_spec(struct cli *c, int argc, char **argv, struct err *e);

/* Of cmd-create.c, for run; of cmd-delete.c, for run. */
struct create_args {
	const char *bundle;
	const char *pid_file;
	const char *console_socket;
	bool foreground;
};
int create_container(struct cli *c, const struct create_args *a, const char *id,
		     int *ret_shim, bool *ret_terminal, struct err *e);
int start_container(struct cli *c, const char *id, struct err *e);
int delete_container(struct cli *c, const char *id, bool force, struct err *e);

/* A row of list: id, pid, status, pod, created, runtime, bundle. */
#define CLI_LIST_ROW "%-24s %-8d %-9s %-24s %-21s %-13s %s\n"

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
int cli_write_pid(const char *path, pid_t pid, struct err *e);
int cli_connect(struct cli *c, const char *id, struct state **ret_state,
		int *ret_sock, struct err *e);
const struct command *cli_commands(void);
const struct command *cli_pod_commands(void);

/* Of cmd-pod-timeline.c, for inspect. */
int pod_timeline(struct cli *c, const char *pod, Podvm__Pod__Response **ret, struct err *e);
void pod_timeline_json(struct json_out *o, const Podvm__Pod__Response *rs);

#endif
