/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_OUTFILE_H
#define STORAGE_OUTFILE_H

#include <limits.h>
#include <stdbool.h>

#include "lib/err.h"

/**
 * struct outfile - a file that appears when it is whole
 * @fd:     its content, owned
 * @dir_fd: directory of the target, owned
 * @name:   of the target in it
 * @temp:   of the content in it, empty while it has no name
 * @force:  replace what is there
 */
struct outfile {
	int fd;
	int dir_fd;
	char name[NAME_MAX + 1];
	char temp[NAME_MAX + 1];
	bool force;
};

int outfile_open(struct outfile *o, const char *path, bool force, struct err *e);
int outfile_commit(struct outfile *o, struct err *e);
void outfile_done(struct outfile *o);

#endif
