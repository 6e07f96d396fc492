/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_WORKDIR_H
#define STORAGE_WORKDIR_H

#include <limits.h>

#include "lib/err.h"
#include "lib/journal.h"

/**
 * struct workdir - a directory for a test, with a journal of what is made beside it
 * @path:    of the directory
 * @fd:      the same, owned
 * @journal: owned; what needs undoing is added before it is made
 * @state_fd: place of journal and lock, owned
 */
struct workdir {
	char path[PATH_MAX];
	int fd;
	struct journal *journal;
	int state_fd;
	char state[32];
};

int workdir_make(struct workdir *w, struct err *e);
int workdir_done(struct workdir *w, struct err *e);
int workdir_lock(int places_fd, const char *name, int *ret_fd, struct err *e);
int workdir_recover(int places_fd, const char *name, struct err *e);

#endif
