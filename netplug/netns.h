/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_NETNS_H
#define NETPLUG_NETNS_H

#include "lib/err.h"

int netns_open(const char *path, struct err *e);
int netns_self(struct err *e);
int netns_enter(int netns_fd, int *ret_back, struct err *e);
void netns_leave(int back);

#endif
