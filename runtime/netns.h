/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_NETNS_H
#define RUNTIME_NETNS_H

#include "lib/err.h"
#include "lib/journal.h"

int netns_new(int *ret_fd, struct err *e);
int netns_name(int netns_fd, int dirfd, struct journal *j, char **ret_path, struct err *e);
int netns_undo(const struct journal_rec *r, struct err *e);

#endif
