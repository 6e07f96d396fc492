/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_CMD_H
#define NETPLUG_CMD_H

#include <stdbool.h>
#include <stdio.h>

#include "lib/err.h"
#include "netplug/netplug.h"
#include "netplug/scan.h"

bool cmd_wait(uint64_t seconds);
int cmd_show(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_sync(int argc, char **argv);
int cmd_capture(int argc, char **argv);
int cmd_trace(int argc, char **argv);

int cmd_attach(int argc, char **argv);
int cmd_detach(int argc, char **argv);

void plan_print_guest(const struct netplug_plan *p, FILE *f);
void plan_print(const struct netplug_plan *p, const char *netns, FILE *f);
int cni_run(const char *command, int in, FILE *out);

#endif
