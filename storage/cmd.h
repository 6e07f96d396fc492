/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_CMD_H
#define STORAGE_CMD_H

#include "lib/err.h"

struct storage_map;

/* A command gets its name as argv[0]; 0, or a negative errno and the reason. */
int cmd_inspect(int argc, char **argv, struct err *e);
int cmd_plan(int argc, char **argv, struct err *e);
int cmd_export(int argc, char **argv, struct err *e);

int export_image(const struct storage_map *m, int out_fd, struct err *e);

#endif
