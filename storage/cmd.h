/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_CMD_H
#define STORAGE_CMD_H

#include "lib/err.h"
#include "lib/json.h"
#include "lib/opt.h"

struct storage_map;

/**
 * struct command - a verb of podvm-storage
 * @args: of the usage line
 * @help: one line
 * @text: what --help tells before the options; NULL: nothing more
 * @run:  gets argv[0] = verb; 0 or an exit status above 0, or minus errno with the
 *        reason (-EINVAL: a wrong command line)
 */
struct command {
	const char *name, *args, *help, *text;
	int (*run)(int argc, char **argv, struct err *e);
};

const struct command *cmd_table(void);

int cmd_inspect(int argc, char **argv, struct err *e);
int cmd_plan(int argc, char **argv, struct err *e);
int cmd_export(int argc, char **argv, struct err *e);
int cmd_serve(int argc, char **argv, struct err *e);
int cmd_test(int argc, char **argv, struct err *e);
int cmd_gc(int argc, char **argv, struct err *e);

int cmd_args(const struct opt *table, int argc, char **argv, const char **ret_path, struct err *e);
void cmd_json_name(struct json_out *o, const char *key, const char *name);

int export_image(const struct storage_map *m, int out_fd, struct err *e);

#endif
