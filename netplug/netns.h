/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_NETNS_H
#define NETPLUG_NETNS_H

#include <stdbool.h>

#include "lib/err.h"

int netns_open(const char *path, struct err *e);
int netns_self(struct err *e);
int netns_same(int a, int b, struct err *e);
bool netns_leads(const char *path, int netns_fd);
int netns_enter(int netns_fd, int *ret_back, struct err *e);
void netns_leave(int back);

#endif
